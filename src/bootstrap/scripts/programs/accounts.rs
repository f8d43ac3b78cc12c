//! Accounts: `adduser`, `addgroup`, `useradd`, `groupadd`, `usermod`, `getent`, `id`.
//!
//! <https://manpages.debian.org/adduser.8> · <https://manpages.debian.org/useradd.8>

use super::super::super::accounts::{
    AGELESS, NOGROUP, NewUser, SYSTEM_IDS, Taken, add_group, add_member, add_user, taken,
};
use super::super::system::{Done, System};
use super::options::Options;
use crate::debian::version::DebianVersion;

const NOLOGIN: &str = "/usr/sbin/nologin";
/// The ids of people's accounts.
const USER_IDS: std::ops::Range<u64> = 1000..60_000;

/// Does `name` where it is one of these programs.
pub(super) fn run(system: &mut System<'_, '_>, name: &str, arguments: &[String]) -> Option<Done> {
    Some(match name {
        "adduser" => add(system, arguments),
        "addgroup" => add_only_group(system, arguments),
        "useradd" => useradd(system, arguments),
        "groupadd" => groupadd(system, arguments),
        "usermod" => usermod(system, arguments),
        "getent" => tell_entry(system, arguments),
        "id" => tell_id(system, arguments),
        "whoami" => {
            system.write("root\n");
            Done::SUCCESS
        }
        _ => return None,
    })
}

const WITH_VALUE: [&str; 13] = [
    "--home",
    "--shell",
    "--gecos",
    "--comment",
    "--uid",
    "--gid",
    "--ingroup",
    "--firstuid",
    "--lastuid",
    "--firstgid",
    "--lastgid",
    "--conf",
    "--add_extra_groups",
];

fn add(system: &mut System<'_, '_>, arguments: &[String]) -> Done {
    let options = Options::of(arguments, &WITH_VALUE);
    match options.operands[..] {
        [user, group] => match system.group_id(group).is_some() && system.user_id(user).is_some() {
            true => {
                add_member(system.tree, group, user);
                Done::SUCCESS
            }
            false => Done::FAILURE,
        },
        [name] if options.has(&["--system"]) => add_system_user(system, name, &options),
        [group] if options.has(&["--group"]) => add_group_named(system, group, &options, USER_IDS),
        _ => Done::NotFollowed,
    }
}

fn add_system_user(system: &mut System<'_, '_>, name: &str, options: &Options<'_>) -> Done {
    if taken(system.tree, "etc/passwd").names.contains(name) {
        return Done::SUCCESS;
    }
    let mut users = taken(system.tree, "etc/passwd");
    let groups = taken(system.tree, "etc/group");
    let group = options.value(&["--ingroup"]).map(|group| system.group_id(group));
    let group = match (group, options.value(&["--gid"])) {
        (Some(None), _) => return Done::FAILURE,
        (Some(Some(gid)), _) => Some(gid),
        (None, gid) => gid.and_then(|gid| gid.parse().ok()),
    };
    let own_group = options.has(&["--group"]) && group.is_none();
    if own_group && !groups.names.contains(name) {
        users.ids.extend(&groups.ids);
    }
    let Some(uid) = chosen_id(options.value(&["--uid"]), &users, SYSTEM_IDS) else { return Done::FAILURE };
    let gid = match (own_group, system.group_id(name).filter(|_| groups.names.contains(name))) {
        (true, Some(gid)) => gid,
        (true, None) => {
            add_group(system.tree, name, uid);
            uid
        }
        (false, _) => group.unwrap_or(NOGROUP),
    };
    let home = options.value(&["--home"]).map_or_else(|| default_home(system, name), str::to_owned);
    let shell = options.value(&["--shell"]).unwrap_or(NOLOGIN);
    let comment = options.value(&["--gecos", "--comment"]).unwrap_or_default();
    add_user(
        system.tree,
        &NewUser { name, uid, gid, comment, home: &home, shell, password: "!", aging: AGELESS },
    );
    let wants_home = !options.has(&["--no-create-home"]) && home != "/nonexistent";
    if wants_home && system.kind(&home).is_none() {
        system.tree.directory(&home, 0o755, gid);
        system.change(&home, |attributes| (attributes.uid, attributes.gid) = (uid, gid));
    }
    Done::SUCCESS
}

/// The home of a system user for whom none is named: none since adduser 3.122.
fn default_home(system: &System<'_, '_>, name: &str) -> String {
    let version =
        system.tree.package("adduser").and_then(|package| package.version.parse::<DebianVersion>().ok());
    let has_none = match (version, "3.122".parse::<DebianVersion>()) {
        (Some(version), Ok(first)) => version >= first,
        _ => true,
    };
    if has_none { "/nonexistent".into() } else { format!("/home/{name}") }
}

fn chosen_id(given: Option<&str>, taken: &Taken, mut range: impl Iterator<Item = u64>) -> Option<u64> {
    match given {
        Some(given) => given.parse().ok(),
        None => range.find(|id| !taken.ids.contains(id)),
    }
}

fn add_only_group(system: &mut System<'_, '_>, arguments: &[String]) -> Done {
    let options = Options::of(arguments, &WITH_VALUE);
    match options.operands[..] {
        [name] => {
            let range = if options.has(&["--system"]) { SYSTEM_IDS } else { USER_IDS };
            add_group_named(system, name, &options, range)
        }
        [_, _] => add(system, arguments),
        _ => Done::NotFollowed,
    }
}

fn add_group_named(
    system: &mut System<'_, '_>,
    name: &str,
    options: &Options<'_>,
    range: std::ops::Range<u64>,
) -> Done {
    let groups = taken(system.tree, "etc/group");
    if groups.names.contains(name) {
        return Done::of(range == SYSTEM_IDS);
    }
    let Some(gid) = chosen_id(options.value(&["--gid"]), &groups, range) else { return Done::FAILURE };
    add_group(system.tree, name, gid);
    Done::SUCCESS
}

fn groupadd(system: &mut System<'_, '_>, arguments: &[String]) -> Done {
    let options = Options::of(arguments, &["-g", "--gid", "-K", "--key", "-p", "--password"]);
    let [name] = options.operands[..] else { return Done::NotFollowed };
    let groups = taken(system.tree, "etc/group");
    if groups.names.contains(name) {
        return if options.has(&["-f", "--force"]) { Done::SUCCESS } else { Done::Status(9) };
    }
    let given = options.value(&["-g", "--gid"]);
    let gid = match options.has(&["-r", "--system"]) {
        true => chosen_id(given, &groups, SYSTEM_IDS.rev()),
        false => chosen_id(given, &groups, USER_IDS),
    };
    let Some(gid) = gid else { return Done::FAILURE };
    add_group(system.tree, name, gid);
    Done::SUCCESS
}

fn useradd(system: &mut System<'_, '_>, arguments: &[String]) -> Done {
    let with_value = [
        "-d",
        "--home-dir",
        "--home",
        "-g",
        "--gid",
        "-G",
        "--groups",
        "-s",
        "--shell",
        "-u",
        "--uid",
        "-c",
        "--comment",
        "-K",
        "--key",
        "-k",
        "-b",
        "-e",
        "-f",
        "-p",
        "--password",
    ];
    let options = Options::of(arguments, &with_value);
    let [name] = options.operands[..] else { return Done::NotFollowed };
    let users = taken(system.tree, "etc/passwd");
    if users.names.contains(name) {
        return Done::Status(9);
    }
    let is_system = options.has(&["-r", "--system"]);
    let given = options.value(&["-u", "--uid"]);
    let uid = match is_system {
        true => chosen_id(given, &users, SYSTEM_IDS.rev()),
        false => chosen_id(given, &users, USER_IDS),
    };
    let Some(uid) = uid else { return Done::FAILURE };
    let gid = match options.value(&["-g", "--gid"]) {
        Some(group) => system.group_id(group),
        None if options.has(&["-N", "--no-user-group"]) => Some(100),
        None => {
            add_group(system.tree, name, uid);
            Some(uid)
        }
    };
    let Some(gid) = gid else { return Done::Status(6) };
    let home =
        options.value(&["-d", "--home-dir", "--home"]).map_or_else(|| format!("/home/{name}"), str::to_owned);
    let shell = options.value(&["-s", "--shell"]).unwrap_or("/bin/sh");
    let comment = options.value(&["-c", "--comment"]).unwrap_or_default();
    let password = options.value(&["-p", "--password"]).unwrap_or("!");
    add_user(system.tree, &NewUser { name, uid, gid, comment, home: &home, shell, password, aging: AGELESS });
    for group in options.value(&["-G", "--groups"]).into_iter().flat_map(|groups| groups.split(',')) {
        add_member(system.tree, group, name);
    }
    if options.has(&["-m", "--create-home"]) && system.kind(&home).is_none() {
        system.tree.directory(&home, 0o755, gid);
        system.change(&home, |attributes| (attributes.uid, attributes.gid) = (uid, gid));
    }
    Done::SUCCESS
}

fn usermod(system: &mut System<'_, '_>, arguments: &[String]) -> Done {
    let options = Options::of(arguments, &["-G", "--groups"]);
    let known = ["-G", "--groups", "-a", "--append"];
    match (&options.operands[..], options.value(&["-G", "--groups"])) {
        ([user], Some(groups)) if options.are_all(&known) && options.has(&["-a", "--append"]) => {
            if system.user_id(user).is_none() {
                return Done::Status(6);
            }
            groups.split(',').for_each(|group| add_member(system.tree, group, user));
            Done::SUCCESS
        }
        _ => Done::NotFollowed,
    }
}

fn tell_entry(system: &mut System<'_, '_>, arguments: &[String]) -> Done {
    let [database, rest @ ..] = arguments else { return Done::FAILURE };
    let path = match database.as_str() {
        "passwd" | "group" | "shadow" | "gshadow" => format!("etc/{database}"),
        _ => return Done::Unknown,
    };
    let text = system.tree.text(&path).unwrap_or_default();
    let is_meant = |line: &&str| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next(), fields.nth(1));
        rest.is_empty() || rest.iter().any(|key| Some(key.as_str()) == name || Some(key.as_str()) == id)
    };
    let lines: Vec<&str> = text.lines().filter(is_meant).collect();
    lines.iter().for_each(|line| system.write(&format!("{line}\n")));
    if lines.is_empty() { Done::Status(2) } else { Done::SUCCESS }
}

fn tell_id(system: &mut System<'_, '_>, arguments: &[String]) -> Done {
    let options = Options::of(arguments, &[]);
    let user = options.operands.first().copied().unwrap_or("root");
    let users = system.tree.text("etc/passwd").unwrap_or_default();
    let Some(line) = users.lines().find(|line| line.split(':').next() == Some(user)) else {
        return Done::FAILURE;
    };
    let field = |at: usize| line.split(':').nth(at).unwrap_or_default();
    let told = match () {
        () if options.has(&["-n"]) && options.has(&["-u"]) => user,
        () if options.has(&["-u", "--user"]) => field(2),
        () if options.has(&["-g", "--group"]) && !options.has(&["-n"]) => field(3),
        () => {
            system.write_unknown();
            return Done::SUCCESS;
        }
    };
    system.write(&format!("{told}\n"));
    Done::SUCCESS
}
