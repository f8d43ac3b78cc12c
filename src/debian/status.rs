//! `/var/lib/dpkg/status`: the packages that an image has, paragraph by paragraph.
//!
//! <https://manpages.debian.org/dpkg-query.1> · <https://manpages.debian.org/dpkg.1#INFORMATION_ABOUT_PACKAGES>

use std::collections::BTreeSet;

use super::deb822::{self, Deb822Error, Paragraph};
use super::packages::{self, Package, PackagesError};
use crate::failure::Hinted;

/// The fields that only `status` has: what is left of a paragraph is the package's control file.
const OF_STATUS: [&str; 6] =
    ["Status", "Conffiles", "Config-Version", "Triggers-Pending", "Triggers-Awaited", "Status-Since"];

/// A package as dpkg knows it.
#[derive(Debug, Clone)]
pub struct StatusParagraph<'a> {
    /// The text of the paragraph, without the empty line behind it.
    pub text: &'a str,
    /// The package.
    pub package: Package<'a>,
    /// The state of the package.
    pub state: PackageState,
    /// True if it shall stay as it is, whatever is asked for.
    pub held: bool,
}

/// The states in which a package can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackageState {
    /// Unpacked and configured.
    Installed,
    /// Removed, but for its configuration files; or never there.
    Removed,
    /// Between these: dpkg was interrupted, or a script failed.
    Unfinished,
}

/// A database that no dpkg can have written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum StatusError {
    #[error("paragraph {number} cannot be read")]
    Syntax { number: usize, source: Deb822Error },
    #[error("paragraph {number} describes no package")]
    Package { number: usize, source: PackagesError },
    #[error("the state of `{package}` cannot be read: `{text}`")]
    State { package: String, text: String },
    #[error("`{package}` is there twice")]
    Twice { package: String },
}

impl Hinted for StatusError {
    fn hint(&self) -> Option<String> {
        Some("`dpkg --audit` in a container of the image tells what is wrong with it; restore its /var/lib/dpkg/status".into())
    }
}

/// The paragraphs of a `status` file, in their order.
pub fn parse(text: &str) -> Result<Vec<StatusParagraph<'_>>, StatusError> {
    let mut seen = BTreeSet::new();
    let texts = text.split("\n\n").map(|text| text.trim_matches('\n')).filter(|text| !text.is_empty());
    let parsed = texts.enumerate().map(|(at, text)| {
        let paragraph = read(text, at + 1)?;
        match seen.insert((paragraph.package.name, paragraph.package.architecture)) {
            true => Ok(paragraph),
            false => Err(StatusError::Twice { package: paragraph.package.name.to_owned() }),
        }
    });
    parsed.collect()
}

fn read(text: &str, number: usize) -> Result<StatusParagraph<'_>, StatusError> {
    let fields = deb822::paragraph(text).map_err(|source| StatusError::Syntax { number, source })?;
    let status = fields.get("Status").unwrap_or_default();
    let unknown = || StatusError::State {
        package: fields.get("Package").unwrap_or_default().chars().take(100).collect(),
        text: status.chars().take(100).collect(),
    };
    let words: Vec<&str> = status.split_ascii_whitespace().collect();
    let &[wanted, _, state] = words.as_slice() else { return Err(unknown()) };
    let state = match state {
        "installed" | "triggers-awaited" | "triggers-pending" => PackageState::Installed,
        "not-installed" | "config-files" => PackageState::Removed,
        "half-installed" | "unpacked" | "half-configured" => PackageState::Unfinished,
        _ => return Err(unknown()),
    };
    let package = packages::package(&fields).map_err(|source| StatusError::Package { number, source })?;
    Ok(StatusParagraph { text, package, state, held: wanted == "hold" })
}

impl StatusParagraph<'_> {
    /// The control file of the package, as far as `status` keeps it.
    pub fn control(&self) -> String {
        let Ok(fields) = deb822::paragraph(self.text) else { return String::new() };
        let is_own =
            |(name, _): &(&str, &str)| !OF_STATUS.iter().any(|other| other.eq_ignore_ascii_case(name));
        fields.fields().filter(is_own).map(|(name, value)| format!("{name}: {value}\n")).collect()
    }

    /// The MD5 of its configuration files as they were shipped, by path relative to the root.
    pub fn conffiles(&self) -> Vec<(String, String)> {
        let read = |fields: Paragraph<'_>| {
            let lines = fields.get("Conffiles").unwrap_or_default().lines();
            lines.filter_map(conffile).collect()
        };
        deb822::paragraph(self.text).map(read).unwrap_or_default()
    }
}

/// ` /PATH MD5`, maybe with `obsolete` or `remove-on-upgrade` behind it.
fn conffile(line: &str) -> Option<(String, String)> {
    let mut words = line.split_ascii_whitespace();
    let (path, md5) = (words.next()?.strip_prefix('/')?, words.next()?);
    Some((path.to_owned(), md5.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paragraph(name: &str, status: &str, more: &str) -> String {
        format!("Package: {name}\nStatus: {status}\nArchitecture: amd64\nVersion: 1.0-1\n{more}\n")
    }

    #[test]
    fn states_and_configuration_files_are_read() {
        let text = paragraph(
            "a",
            "install ok installed",
            "Conffiles:\n /etc/a d41d\n /etc/b 0123 obsolete\nDescription: x\n .\n y\n",
        ) + &paragraph("b", "deinstall ok config-files", "")
            + &paragraph("c", "hold ok triggers-pending", "Triggers-Pending: ldconfig\n")
            + &paragraph("d", "install ok half-configured", "");
        let read = parse(&text).unwrap();
        let states: Vec<_> = read.iter().map(|one| (one.package.name, one.state, one.held)).collect();
        let expected = [
            ("a", PackageState::Installed, false),
            ("b", PackageState::Removed, false),
            ("c", PackageState::Installed, true),
            ("d", PackageState::Unfinished, false),
        ];
        assert_eq!(states, expected);
        let pair = |path: &str, md5: &str| (path.to_owned(), md5.to_owned());
        assert_eq!(read[0].conffiles(), [pair("etc/a", "d41d"), pair("etc/b", "0123")]);
        assert_eq!(
            read[0].control(),
            "Package: a\nArchitecture: amd64\nVersion: 1.0-1\nDescription: x\n .\n y\n"
        );
        assert!(parse("").unwrap().is_empty());
    }

    #[test]
    fn what_dpkg_never_writes_is_refused() {
        let good = paragraph("a", "install ok installed", "");
        for (text, message) in [
            (format!("{good}{good}"), "`a` is there twice"),
            (paragraph("a", "installed", ""), "the state of `a` cannot be read: `installed`"),
            (paragraph("a", "install ok fine", ""), "the state of `a` cannot be read"),
            (good.replace("1.0-1", "a b"), "paragraph 1 describes no package"),
            (good.replace("Package: a", "Package: ../a"), "paragraph 1 describes no package"),
            (format!("{good}junk\n"), "paragraph 2 cannot be read"),
        ] {
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
