//! The users that a recipe makes, as `useradd --create-home` makes them.
//!
//! <https://manpages.debian.org/useradd.8> · <https://manpages.debian.org/login.defs.5>

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::accounts::{AGELESS, NewUser, add_group, add_member, add_user, append};
use super::contents::Contents;
use super::ground::Ground;
use super::tree::{ConfigureError, ConfigureInput, Tree};
use crate::failure::{Fault, Hinted};
use crate::oci::{Entry, EntryKind, Generated};

const PASSWD: &str = "etc/passwd";
const GROUP: &str = "etc/group";
const SKELETON: &str = "etc/skel";
const DEFAULTS: &str = "etc/login.defs";
/// The first subordinate id, and how many a user gets.
const SUBORDINATE: (u64, u64) = (100_000, 65_536);
/// The files that a user is made of, beside those of the skeleton.
const FILES: [&str; 7] = [PASSWD, GROUP, "etc/shadow", "etc/gshadow", DEFAULTS, "etc/subuid", "etc/subgid"];
/// The largest file of these, in bytes.
const LARGEST: u64 = 4 << 20;

/// A user to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewAccount {
    /// The user's name, and that of the group of its own.
    pub name: String,
    /// The user's number.
    pub uid: u64,
    /// The number of its group.
    pub gid: u64,
    /// True if the group may be one that is there.
    pub may_share_group: bool,
    /// Further groups.
    pub groups: Vec<String>,
    /// The home directory: absolute.
    pub home: String,
    /// The login shell.
    pub shell: String,
    /// True for an account of the system.
    pub system: bool,
}

/// The reason why a user cannot be made.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum UserError {
    #[error("the user `{name}` cannot be made: the base has no /etc/{file}")]
    NoFile { name: String, file: &'static str },
    #[error("the user `{name}` cannot be made: the base's /etc/{file} has the {what} already, in `{line}`")]
    Taken { name: String, file: &'static str, what: &'static str, line: String },
    #[error("the user `{name}` cannot be in the group `{group}`, which the base does not have")]
    NoGroup { name: String, group: String, known: Vec<String> },
    #[error("the users cannot be made")]
    Files(#[source] ConfigureError),
}

impl Hinted for UserError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoFile { .. } => "build on an image with accounts, as those of distributions are".into(),
            Self::Taken { what: "name", .. } => "leave it out of `users`, or take another name".into(),
            Self::Taken { .. } => {
                "give the user another `uid` or `gid`; a `gid` that is there is shared".into()
            }
            Self::NoGroup { known, .. } => format!("it has {}", known.join(", ")),
            Self::Files(error) => return error.hint(),
        })
    }

    fn fault(&self) -> Fault {
        Fault::Input
    }
}

/// Returns whether an entry of an image is one that users are made by.
pub fn is_asked(entry: &Entry) -> bool {
    let EntryKind::File { size } = entry.kind else { return false };
    let path = entry.path.as_str();
    size <= LARGEST && (FILES.contains(&path) || path.starts_with(&format!("{SKELETON}/")))
}

/// The files that `accounts` change or add on `ground`, at the time `mtime`.
pub fn make(
    accounts: &[NewAccount],
    ground: &Ground,
    contents: &dyn Contents,
    mtime: u64,
) -> Result<Vec<Generated>, UserError> {
    let (entries, removed, lost, automatic) =
        (BTreeMap::new(), BTreeSet::new(), BTreeMap::new(), BTreeSet::new());
    let input = ConfigureInput {
        packages: &[],
        entries: &entries,
        ground,
        contents,
        removed: &removed,
        lost: &lost,
        automatic: &automatic,
        mtime,
        sources: &[],
        archive: "",
        architecture: "",
    };
    let mut tree = Tree::new(&input);
    for account in accounts {
        check(&tree, account)?;
        make_one(&mut tree, account);
    }
    let (generated, _) = tree.finish().map_err(UserError::Files)?;
    Ok(generated)
}

/// Refuses a user whom the image has no room for.
fn check(tree: &Tree<'_>, account: &NewAccount) -> Result<(), UserError> {
    let text = |file: &'static str| {
        let missing = || UserError::NoFile { name: account.name.clone(), file };
        tree.text(&format!("etc/{file}")).ok_or_else(missing)
    };
    let (passwd, group) = (text("passwd")?, text("group")?);
    let taken = |file, what, line: Option<&str>| match line {
        Some(line) => {
            let (name, line) = (account.name.clone(), line.to_owned());
            Err(UserError::Taken { name, file, what, line })
        }
        None => Ok(()),
    };
    taken("passwd", "name", line_with(&passwd, 0, &account.name))?;
    taken("passwd", "number", line_with(&passwd, 2, &account.uid.to_string()))?;
    let its_group = line_with(&group, 2, &account.gid.to_string());
    if !(account.may_share_group && its_group.is_some()) {
        taken("group", "name", line_with(&group, 0, &account.name))?;
        taken("group", "number", its_group)?;
    }
    for name in &account.groups {
        if line_with(&group, 0, name).is_none() {
            let known = group.lines().filter_map(|line| line.split(':').next()).map(str::to_owned).collect();
            return Err(UserError::NoGroup { name: account.name.clone(), group: name.clone(), known });
        }
    }
    Ok(())
}

/// The line of which the field at this place is `value`.
fn line_with<'t>(text: &'t str, field: usize, value: &str) -> Option<&'t str> {
    text.lines().find(|line| line.split(':').nth(field) == Some(value))
}

fn make_one(tree: &mut Tree<'_>, account: &NewAccount) {
    let NewAccount { name, uid, gid, home, shell, .. } = account;
    let group = tree.text(GROUP).unwrap_or_default();
    if line_with(&group, 2, &gid.to_string()).is_none() {
        add_group(tree, name, *gid);
    }
    let defaults = tree.text(DEFAULTS).unwrap_or_default();
    let aging = match account.system {
        true => AGELESS.to_owned(),
        false => {
            let number = |key| setting(&defaults, key).unwrap_or_default();
            format!("{}:{}:{}:::", number("PASS_MIN_DAYS"), number("PASS_MAX_DAYS"), number("PASS_WARN_AGE"))
        }
    };
    let (uid, gid) = (*uid, *gid);
    add_user(tree, &NewUser { name, uid, gid, comment: "", home, shell, password: "!", aging: &aging });
    account.groups.iter().for_each(|group| add_member(tree, group, name));
    if !account.system {
        ["etc/subuid", "etc/subgid"].iter().for_each(|path| add_subordinate(tree, path, name));
    }
    make_home(tree, account, &defaults);
}

/// The value of a key of `login.defs`.
fn setting<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some(key)).then(|| words.next())?
    })
}

/// Gives a user the next range of subordinate ids, where the image has such ranges.
fn add_subordinate(tree: &mut Tree<'_>, path: &str, name: &str) {
    let Some(text) = tree.text(path) else { return };
    let end = |line: &str| {
        let mut fields = line.split(':').skip(1).map(str::parse::<u64>);
        fields.next()?.ok()?.checked_add(fields.next()?.ok()?)
    };
    let start = text.lines().filter_map(end).max().unwrap_or_default().max(SUBORDINATE.0);
    append(tree, path, &format!("{name}:{start}:{}\n", SUBORDINATE.1));
}

/// Makes the home directory of the skeleton, unless something is there.
fn make_home(tree: &mut Tree<'_>, account: &NewAccount, defaults: &str) {
    let home = &account.home;
    if tree.has(home) {
        return;
    }
    let octal = |key| setting(defaults, key).and_then(|mode| u32::from_str_radix(mode, 8).ok());
    let mode = octal("HOME_MODE").unwrap_or(0o777 & !octal("UMASK").unwrap_or(0o022));
    tree.directory(home, mode, account.gid);
    let skeleton = tree.below(SKELETON);
    for path in &skeleton {
        let place = format!("{home}{}", &path[SKELETON.len()..]);
        match tree.kind(path) {
            Some(EntryKind::Directory) => {
                let mode = tree.attributes(path).map_or(0o755, |attributes| attributes.mode);
                tree.directory(&place, mode, account.gid);
            }
            _ => drop(tree.copy(path, &place, false)),
        }
    }
    let below = tree.below(home.trim_start_matches('/'));
    for path in below.iter().map(String::as_str).chain([home.as_str()]) {
        if let Some(mut attributes) = tree.attributes(path) {
            (attributes.uid, attributes.gid) = (account.uid, account.gid);
            tree.set_attributes(path, attributes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::example::describe;
    use super::*;
    use crate::debian::usrmerge::UsrLayout;

    const BASE: [(&str, &str); 8] = [
        ("etc/passwd", "root:x:0:0:root:/root:/bin/bash\nubuntu:x:1000:1000::/home/ubuntu:/bin/bash\n"),
        ("etc/group", "root:x:0:\nvideo:x:44:\nubuntu:x:1000:\n"),
        ("etc/shadow", "root:*:1::::::\n"),
        ("etc/gshadow", "root:*::\nvideo:!::\n"),
        (
            "etc/login.defs",
            "# UMASK 077\nUMASK\t022\nHOME_MODE 0750\nPASS_MIN_DAYS 0\nPASS_MAX_DAYS 99999\nPASS_WARN_AGE 7\n",
        ),
        ("etc/subuid", "ubuntu:100000:65536\n"),
        ("etc/skel/.bashrc", "rc"),
        ("etc/skel/.config/a", "a"),
    ];

    fn account(name: &str, uid: u64) -> NewAccount {
        NewAccount {
            name: name.into(),
            uid,
            gid: uid,
            may_share_group: false,
            groups: vec!["video".into()],
            home: format!("/home/{name}"),
            shell: "/bin/sh".into(),
            system: false,
        }
    }

    fn run(account: NewAccount) -> Result<Vec<String>, String> {
        let entry =
            |path: &str, kind| Entry { path: path.into(), mode: 0o644, uid: 0, gid: 0, mtime: 0, kind };
        let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
        for (path, text) in BASE {
            entries.insert(path.into(), entry(path, EntryKind::File { size: text.len() as u64 }));
        }
        for path in ["etc", "etc/skel", "etc/skel/.config", "home"] {
            entries.insert(path.into(), Entry { mode: 0o755, ..entry(path, EntryKind::Directory) });
        }
        let contents: BTreeMap<String, Vec<u8>> =
            BASE.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect();
        let ground = Ground { entries, ..Ground::empty(UsrLayout::Separate) };
        let made =
            make(&[account], &ground, &contents, 86_400 * 20_000).map_err(|error| error.to_string())?;
        Ok(made.iter().map(describe).collect())
    }

    #[test]
    fn a_user_is_made_as_useradd_makes_it() {
        let expected = [
            "etc/group 644 0:0 root:x:0:\nvideo:x:44:app\nubuntu:x:1000:\napp:x:1001:\n",
            "etc/gshadow 644 0:0 root:*::\nvideo:!::app\napp:!::\n",
            "etc/passwd 644 0:0 root:x:0:0:root:/root:/bin/bash\nubuntu:x:1000:1000::/home/ubuntu:/bin/bash\napp:x:1001:1001::/home/app:/bin/sh\n",
            "etc/shadow 644 0:0 root:*:1::::::\napp:!:20000:0:99999:7:::\n",
            "etc/subuid 644 0:0 ubuntu:100000:65536\napp:165536:65536\n",
            "home/app/ 750 1001:1001",
            "home/app/.bashrc 644 1001:1001 rc",
            "home/app/.config/ 755 1001:1001",
            "home/app/.config/a 644 1001:1001 a",
        ];
        assert_eq!(run(account("app", 1001)).unwrap(), expected);
        let system = NewAccount { system: true, groups: vec![], home: "/home".into(), ..account("app", 999) };
        let made = run(system).unwrap();
        assert!(made[3].ends_with("app:!:20000::::::\n"), "{made:?}");
        assert_eq!(made.len(), 4, "a home that is there stays");
    }

    #[test]
    fn a_user_for_whom_there_is_no_room_is_refused_with_the_line() {
        for (account, message) in [
            (
                account("ubuntu", 1001),
                "the base's /etc/passwd has the name already, in `ubuntu:x:1000:1000::/home/ubuntu:/bin/bash`",
            ),
            (account("app", 1000), "the base's /etc/passwd has the number already, in `ubuntu:x:1000"),
            (account("app", 44), "the base's /etc/group has the number already, in `video:x:44:`"),
            (account("video", 1001), "the base's /etc/group has the name already, in `video:x:44:`"),
            (
                NewAccount { groups: vec!["gpu".into()], ..account("app", 1001) },
                "cannot be in the group `gpu`, which the base does not have",
            ),
        ] {
            let error = run(account).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
        let shared = NewAccount { gid: 44, may_share_group: true, ..account("app", 1001) };
        assert!(run(shared).unwrap()[2].contains("app:x:1001:44:"));
    }
}
