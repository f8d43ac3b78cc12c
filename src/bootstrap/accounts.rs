//! `/etc/passwd` and its siblings: base-passwd's lists of what every system has, and accounts that are added.
//!
//! <https://manpages.debian.org/passwd.5> · <https://manpages.debian.org/shadow.5>

use std::collections::BTreeSet;

use super::tree::Tree;

/// The group that may read passwords.
const SHADOW_GROUP: u64 = 42;
/// The group of users that are in none.
pub(super) const NOGROUP: u64 = 65_534;
/// The first id that packages may take, and the first after.
pub(super) const SYSTEM_IDS: std::ops::Range<u64> = 100..1000;
const SECONDS_PER_DAY: u64 = 86_400;

/// The accounts that every system has, where there are none; and the passwords' own files, where they come with `passwd`.
pub(super) fn write(tree: &mut Tree<'_>) {
    let is_shadowed = tree.has("etc/shadow");
    let [passwd, group] = match tree.has("etc/passwd") {
        true if is_shadowed || tree.configured("passwd").is_none() => return,
        true => ["etc/passwd", "etc/group"],
        false => ["usr/share/base-passwd/passwd.master", "usr/share/base-passwd/group.master"],
    };
    let (Some(passwd), Some(group)) = (tree.text(passwd), tree.text(group)) else { return };
    let users: Vec<String> = passwd.lines().map(str::to_owned).collect();
    let groups: Vec<String> = group.lines().map(str::to_owned).collect();
    let days = days(tree);
    // shadowconfig, which moves the passwords out of the public files, is of the package passwd.
    let shadowed = tree.package("passwd").is_some();
    if shadowed {
        let shadow = each_line(&users, |name, password, _| format!("{name}:{password}:{days}:0:99999:7:::"));
        tree.file_of("etc/shadow", 0o640, SHADOW_GROUP, shadow);
        let gshadow = each_line(&groups, |name, password, members| format!("{name}:{password}::{members}"));
        tree.file_of("etc/gshadow", 0o640, SHADOW_GROUP, gshadow);
    }
    tree.file("etc/passwd", 0o644, public(&users, shadowed));
    tree.file("etc/group", 0o644, public(&groups, shadowed));
}

/// The day on which everything is made, counted from 1970.
fn days(tree: &Tree<'_>) -> u64 {
    tree.input().mtime / SECONDS_PER_DAY
}

/// A line for each of `lines`, of its name, its password and its last field.
fn each_line(lines: &[String], write: impl Fn(&str, &str, &str) -> String) -> String {
    let fields = lines.iter().map(|line| line.split(':').collect::<Vec<_>>());
    let written = fields.filter_map(|fields| match fields.as_slice() {
        [name, password, .., last] => Some(write(name, password, last) + "\n"),
        _ => None,
    });
    written.collect()
}

/// The lines, with an `x` for the password when it is kept elsewhere.
fn public(lines: &[String], shadowed: bool) -> String {
    let lines = lines.iter().map(|line| match line.splitn(3, ':').collect::<Vec<_>>()[..] {
        [name, _, rest] if shadowed => format!("{name}:x:{rest}\n"),
        _ => format!("{line}\n"),
    });
    lines.collect()
}

/// The names and ids in `etc/passwd` or `etc/group`.
pub(super) struct Taken {
    pub names: BTreeSet<String>,
    pub ids: BTreeSet<u64>,
}

/// The names and ids that the file at `path` has.
pub(super) fn taken(tree: &Tree<'_>, path: &str) -> Taken {
    let text = tree.text(path).unwrap_or_default();
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<Vec<String>> = text.lines().map(fields).collect();
    Taken {
        names: lines.iter().filter_map(|line| line.first().cloned()).collect(),
        ids: lines.iter().filter_map(|line| line.get(2)?.parse().ok()).collect(),
    }
}

/// The fields of an account whose password does not age.
pub(super) const AGELESS: &str = ":::::";
/// The fields of an account that expired on the first day of 1970, so that nobody can log in.
pub(super) const EXPIRED: &str = "::::1:";

/// An account to add.
pub(super) struct NewUser<'a> {
    pub name: &'a str,
    pub uid: u64,
    pub gid: u64,
    pub comment: &'a str,
    pub home: &'a str,
    pub shell: &'a str,
    /// `!` or `*`: there is none.
    pub password: &'a str,
    /// The fields on the password's age in `etc/shadow`.
    pub aging: &'a str,
}

/// Adds a user to `etc/passwd` and `etc/shadow`.
pub(super) fn add_user(tree: &mut Tree<'_>, user: &NewUser<'_>) {
    let NewUser { name, uid, gid, comment, home, shell, password, aging } = user;
    let days = days(tree);
    append(tree, "etc/passwd", &format!("{name}:x:{uid}:{gid}:{comment}:{home}:{shell}\n"));
    append(tree, "etc/shadow", &format!("{name}:{password}:{days}:{aging}\n"));
}

/// Adds a group to `etc/group` and `etc/gshadow`.
pub(super) fn add_group(tree: &mut Tree<'_>, name: &str, gid: u64) {
    add_group_with(tree, name, gid, "!");
}

/// Adds a group with a password that none encrypts to.
pub(super) fn add_group_with(tree: &mut Tree<'_>, name: &str, gid: u64, password: &str) {
    append(tree, "etc/group", &format!("{name}:x:{gid}:\n"));
    append(tree, "etc/gshadow", &format!("{name}:{password}::\n"));
}

/// Makes a user a member of a group.
pub(super) fn add_member(tree: &mut Tree<'_>, group: &str, user: &str) {
    for path in ["etc/group", "etc/gshadow"] {
        let Some(text) = tree.text(path) else { continue };
        let mut changed = String::new();
        for line in text.lines() {
            changed.push_str(line);
            let members = line.rsplit(':').next().unwrap_or_default();
            if line.split(':').next() == Some(group) && !members.split(',').any(|member| member == user) {
                changed.push_str(if members.is_empty() { "" } else { "," });
                changed.push_str(user);
            }
            changed.push('\n');
        }
        tree.file_in_place(path, changed);
    }
}

/// Adds a line to a file that is there.
pub(super) fn append(tree: &mut Tree<'_>, path: &str, line: &str) {
    if let Some(text) = tree.text(path) {
        tree.file_in_place(path, text + line);
    }
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
        let generated = example().package("passwd", &[]).run(write);
        let expected = [
            "etc/group 644 0:0 root:x:0:\nshadow:x:42:\n",
            "etc/gshadow 640 0:42 root:*::\nshadow:*::\n",
            "etc/passwd 644 0:0 root:x:0:0:root:/root:/bin/bash\n",
            "etc/shadow 640 0:42 root:*:20000:0:99999:7:::\n",
        ];
        assert_eq!(generated, expected);
    }

    #[test]
    fn passwd_shadows_what_an_image_has() {
        let generated = Example::default()
            .directory("etc")
            .file("etc/passwd", "root:*:0:0:root:/root:/bin/bash\n")
            .file("etc/group", "root:*:0:me\n")
            .package("passwd", &[])
            .run(write);
        let expected = [
            "etc/group 644 0:0 root:x:0:me\n",
            "etc/gshadow 640 0:42 root:*::me\n",
            "etc/passwd 644 0:0 root:x:0:0:root:/root:/bin/bash\n",
            "etc/shadow 640 0:42 root:*:20000:0:99999:7:::\n",
        ];
        assert_eq!(generated, expected);
    }

    #[test]
    fn without_passwd_the_lists_are_copied() {
        let generated = example().run(write);
        let expected = [
            "etc/group 644 0:0 root:*:0:\nshadow:*:42:\n",
            "etc/passwd 644 0:0 root:*:0:0:root:/root:/bin/bash\n",
        ];
        assert_eq!(generated, expected);
    }

    #[test]
    fn without_base_passwd_there_are_no_accounts() {
        assert!(Example::default().run(write).is_empty());
    }

    #[test]
    fn a_member_is_added_once() {
        let generated = example().package("passwd", &[]).run(|tree| {
            write(tree);
            for user in ["a", "b", "a"] {
                add_member(tree, "shadow", user);
            }
        });
        assert_eq!(generated[0], "etc/group 644 0:0 root:x:0:\nshadow:x:42:a,b\n");
        assert_eq!(generated[1], "etc/gshadow 640 0:42 root:*::\nshadow:*::a,b\n");
    }
}
