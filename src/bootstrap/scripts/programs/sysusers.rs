//! `systemd-sysusers`: accounts that files in `sysusers.d` declare.
//!
//! <https://manpages.debian.org/sysusers.d.5>

use super::super::super::accounts::{
    AGELESS, EXPIRED, NOGROUP, NewUser, SYSTEM_IDS, add_group_with, add_member, add_user, taken,
};
use super::super::system::{Done, System};
use super::options::Options;
use super::tmpfiles::{configuration, fields};

/// The password of what it makes: locked, and not one that anything encrypts to.
const LOCKED: &str = "!*";

/// Does `name` where it is this program.
pub(super) fn run(system: &mut System<'_, '_>, name: &str, arguments: &[String]) -> Option<Done> {
    (name == "systemd-sysusers").then(|| declare(system, arguments))
}

fn declare(system: &mut System<'_, '_>, arguments: &[String]) -> Done {
    let options = Options::of(arguments, &["--root", "--replace"]);
    let Some(lines) = configuration(system, "sysusers.d", &options) else { return Done::NotFollowed };
    let lines: Vec<Vec<String>> = lines.iter().map(|line| fields(line)).collect();
    // Groups come first, then users, then who is in which group.
    for kind in ["g", "u", "m"] {
        for line in lines.iter().filter(|line| line[0].trim_end_matches('!') == kind) {
            let field = |at: usize| line.get(at).map(String::as_str).filter(|field| *field != "-");
            let Some(name) = field(1) else { continue };
            match kind {
                "g" => drop(make_group(system, name, field(2).and_then(|id| id.parse().ok()))),
                "u" => {
                    let aging = if line[0].ends_with('!') { EXPIRED } else { AGELESS };
                    make_user(system, name, field(2), [field(3), field(4), field(5)], aging);
                }
                _ => {
                    let Some(group) = field(2) else { continue };
                    make_user(system, name, None, [None; 3], AGELESS);
                    make_group(system, group, None);
                    add_member(system.tree, group, name);
                }
            }
        }
    }
    Done::SUCCESS
}

/// The id of a group that is made unless it is there.
fn make_group(system: &mut System<'_, '_>, name: &str, given: Option<u64>) -> Option<u64> {
    let groups = taken(system.tree, "etc/group");
    if groups.names.contains(name) {
        return system.group_id(name);
    }
    let users = taken(system.tree, "etc/passwd");
    let is_free = |id: &u64| !groups.ids.contains(id) && !users.ids.contains(id);
    let gid = given.filter(|gid| !groups.ids.contains(gid)).or_else(|| SYSTEM_IDS.rev().find(is_free))?;
    add_group_with(system.tree, name, gid, LOCKED);
    Some(gid)
}

fn make_user(
    system: &mut System<'_, '_>,
    name: &str,
    id: Option<&str>,
    [comment, home, shell]: [Option<&str>; 3],
    aging: &str,
) {
    let users = taken(system.tree, "etc/passwd");
    if users.names.contains(name) {
        return;
    }
    let (id, group) = id.unwrap_or("-").split_once(':').unwrap_or((id.unwrap_or("-"), ""));
    let groups = taken(system.tree, "etc/group");
    let is_free = |id: &u64| !groups.ids.contains(id) && !users.ids.contains(id);
    let Some(uid) = id.parse().ok().or_else(|| SYSTEM_IDS.rev().find(is_free)) else { return };
    let gid = match group {
        "" => make_group(system, name, Some(uid)),
        group => system.group_id(group),
    };
    let shell = shell.unwrap_or(if uid == 0 { "/bin/sh" } else { "/usr/sbin/nologin" });
    let user = NewUser {
        name,
        uid,
        gid: gid.unwrap_or(NOGROUP),
        comment: comment.unwrap_or_default(),
        home: home.unwrap_or("/"),
        shell,
        password: LOCKED,
        aging,
    };
    add_user(system.tree, &user);
}
