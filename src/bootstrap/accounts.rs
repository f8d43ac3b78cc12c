//! `/etc/passwd` and its siblings, from base-passwd's lists of what every system has.
//!
//! <https://manpages.debian.org/passwd.5> · <https://manpages.debian.org/shadow.5>

use std::fmt::Write as _;

use super::tree::Tree;

/// The group that may read passwords.
const SHADOW_GROUP: u64 = 42;
const NOGROUP: u64 = 65_534;
/// The first user id that packages may take, and the first after.
const SYSTEM_IDS: std::ops::Range<u64> = 100..1000;
const SECONDS_PER_DAY: u64 = 86_400;

pub(super) fn write(tree: &mut Tree<'_>, now: u64) {
    let (Some(passwd), Some(group)) =
        (tree.text("usr/share/base-passwd/passwd.master"), tree.text("usr/share/base-passwd/group.master"))
    else {
        return;
    };
    let mut users: Vec<String> = passwd.lines().map(str::to_owned).collect();
    let groups: Vec<String> = group.lines().map(str::to_owned).collect();
    if tree.package("apt").is_some() {
        add_apt_user(&mut users);
    }
    let days = now / SECONDS_PER_DAY;
    // shadowconfig, which moves the passwords out of the public files, is of the package passwd.
    let shadowed = tree.package("passwd").is_some();
    if shadowed {
        let shadow = each_name(&users, |name| format!("{name}:*:{days}:0:99999:7:::"));
        tree.file_of("etc/shadow", 0o640, SHADOW_GROUP, shadow);
        tree.file_of("etc/gshadow", 0o640, SHADOW_GROUP, each_name(&groups, |name| format!("{name}:*::")));
    }
    tree.file("etc/passwd", 0o644, public(&users, shadowed));
    tree.file("etc/group", 0o644, public(&groups, shadowed));
}

/// The user apt downloads as, where base-passwd does not have it: the first free system id.
fn add_apt_user(users: &mut Vec<String>) {
    let field = |line: &str, at: usize| line.split(':').nth(at).unwrap_or("").to_owned();
    if users.iter().any(|line| field(line, 0) == "_apt") {
        return;
    }
    let taken: Vec<u64> = users.iter().filter_map(|line| field(line, 2).parse().ok()).collect();
    if let Some(id) = SYSTEM_IDS.into_iter().find(|id| !taken.contains(id)) {
        users.push(format!("_apt:*:{id}:{NOGROUP}::/nonexistent:/usr/sbin/nologin"));
    }
}

fn each_name(lines: &[String], write: impl Fn(&str) -> String) -> String {
    lines.iter().filter_map(|line| line.split(':').next()).fold(String::new(), |mut text, name| {
        let _ = writeln!(text, "{}", write(name));
        text
    })
}

/// The lines, with an `x` for the password when it is kept elsewhere.
fn public(lines: &[String], shadowed: bool) -> String {
    let lines = lines.iter().map(|line| match line.splitn(3, ':').collect::<Vec<_>>()[..] {
        [name, _, rest] if shadowed => format!("{name}:x:{rest}\n"),
        _ => format!("{line}\n"),
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::super::tree::example::Example;
    use super::*;

    fn example() -> Example {
        Example::default()
            .directory("etc")
            .file("usr/share/base-passwd/passwd.master", "root:*:0:0:root:/root:/bin/bash\n")
            .file("usr/share/base-passwd/group.master", "root:*:0:\nshadow:*:42:\n")
    }

    #[test]
    fn passwords_are_shadowed_when_passwd_is_there() {
        let generated =
            example().package("passwd", &[]).package("apt", &[]).run(|tree| write(tree, 86_400 * 20_000));
        let expected = [
            "etc/group 644 0:0 root:x:0:\nshadow:x:42:\n",
            "etc/gshadow 640 0:42 root:*::\nshadow:*::\n",
            "etc/passwd 644 0:0 root:x:0:0:root:/root:/bin/bash\n_apt:x:100:65534::/nonexistent:/usr/sbin/nologin\n",
            "etc/shadow 640 0:42 root:*:20000:0:99999:7:::\n_apt:*:20000:0:99999:7:::\n",
        ];
        assert_eq!(generated, expected);
    }

    #[test]
    fn without_passwd_and_apt_the_lists_are_copied() {
        let generated = example().run(|tree| write(tree, 0));
        let expected = [
            "etc/group 644 0:0 root:*:0:\nshadow:*:42:\n",
            "etc/passwd 644 0:0 root:*:0:0:root:/root:/bin/bash\n",
        ];
        assert_eq!(generated, expected);
    }

    #[test]
    fn without_base_passwd_there_are_no_accounts() {
        assert!(Example::default().run(|tree| write(tree, 0)).is_empty());
    }
}
