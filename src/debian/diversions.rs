//! `/var/lib/dpkg/diversions` and `/var/lib/dpkg/statoverride`: files of packages that are put elsewhere, and files with
//! other owners and permissions than they are shipped with.
//!
//! <https://manpages.debian.org/dpkg-divert.1> · <https://manpages.debian.org/dpkg-statoverride.1>

/// The package of a diversion that a person made.
pub const LOCAL: &str = ":";

/// A path whose file is put elsewhere, unless it is the file of the package that diverts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diversion {
    /// The path, absolute.
    pub from: String,
    /// The other path, absolute.
    pub to: String,
    /// The package that diverts it, or [`LOCAL`].
    pub package: String,
}

/// The diversions of a database.
pub fn parse(text: &str) -> Vec<Diversion> {
    let lines: Vec<&str> = text.lines().collect();
    let diversion = |lines: &[&str]| {
        let &[from, to, package] = lines else { return None };
        Some(Diversion { from: from.to_owned(), to: to.to_owned(), package: package.to_owned() })
    };
    lines.chunks(3).filter_map(diversion).collect()
}

/// The text of a database.
pub fn write(diversions: &[Diversion]) -> String {
    diversions.iter().map(|Diversion { from, to, package }| format!("{from}\n{to}\n{package}\n")).collect()
}

/// The owner and permissions that a path shall have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatOverride {
    /// A user's name, or `#` and a number.
    pub user: String,
    /// A group's name, or `#` and a number.
    pub group: String,
    /// Permission bits.
    pub mode: u32,
    /// The path, absolute.
    pub path: String,
}

/// The overrides of a database; lines that are none are left out.
pub fn parse_overrides(text: &str) -> Vec<StatOverride> {
    let one = |line: &str| {
        let mut words = line.splitn(4, ' ');
        let (user, group) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mode = u32::from_str_radix(words.next()?, 8).ok().filter(|mode| *mode <= 0o7777)?;
        Some(StatOverride { user, group, mode, path: words.next()?.to_owned() })
    };
    text.lines().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_written_as_it_was_read() {
        let text = "/bin/sh\n/bin/sh.distrib\ndash\n/sbin/initctl\n/sbin/initctl.distrib\n:\n";
        let read = parse(text);
        assert_eq!((read.len(), read[1].package.as_str()), (2, LOCAL));
        assert_eq!(write(&read), text);
        assert!(parse("/bin/sh\n/bin/sh.distrib\n").is_empty());
    }

    #[test]
    fn overrides_are_read() {
        let read = parse_overrides("root messagebus 4754 /usr/lib/a b\nroot root 99 /x\nroot root 0755\n");
        let expected = StatOverride {
            user: "root".into(),
            group: "messagebus".into(),
            mode: 0o4754,
            path: "/usr/lib/a b".into(),
        };
        assert_eq!(read, [expected]);
    }
}
