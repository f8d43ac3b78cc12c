//! Users and the check of health, as Dockerfiles make them, in the words of a recipe.
//!
//! <https://manpages.debian.org/useradd.8> · <https://manpages.debian.org/adduser.8> ·
//! <https://docs.docker.com/reference/dockerfile/#healthcheck>

use std::collections::BTreeMap;

use super::Draft;
use super::text::{flow, scalar};

/// The first number of a person, as `useradd` and `adduser` give it.
const FIRST_UID: u32 = 1000;
/// The first number of a user of the system, from which they go down.
const FIRST_SYSTEM_UID: u32 = 999;

/// A user to make.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DraftUser {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// The number of its group, where that is another.
    pub gid: Option<u32>,
    /// Further groups.
    pub groups: Vec<String>,
    /// The home directory, where it is named.
    pub home: Option<String>,
    /// The shell, where it is named.
    pub shell: Option<String>,
    /// True for a user of the system.
    pub system: bool,
}

impl DraftUser {
    /// The entry of a recipe.
    pub fn entry(&self) -> String {
        let mut members = vec![format!("name: {}", scalar(&self.name)), format!("uid: {}", self.uid)];
        members.extend(self.gid.filter(|gid| *gid != self.uid).map(|gid| format!("gid: {gid}")));
        members.extend((!self.groups.is_empty()).then(|| format!("groups: {}", flow(&self.groups))));
        members.extend(self.home.as_ref().map(|home| format!("home: {}", scalar(home))));
        members.extend(self.shell.as_ref().map(|shell| format!("shell: {}", scalar(shell))));
        members.extend(self.system.then(|| "system: true".to_owned()));
        format!("{{{}}}", members.join(", "))
    }
}

/// The groups that a Dockerfile made so far, with the numbers that it gave them.
pub(super) type DraftGroups = BTreeMap<String, Option<u32>>;

/// Takes over a command that makes an account; gives whether a recipe says the same.
pub(super) fn take(words: &[&str], groups: &mut DraftGroups, draft: &mut Draft) -> bool {
    let Some((program, rest)) = words.split_first() else { return false };
    let options = AccountOptions::read(rest, *program == "useradd" || *program == "groupadd");
    match (*program, &options.names[..]) {
        ("groupadd" | "addgroup", [name]) => {
            groups.insert(name.clone(), options.number("gid"));
            true
        }
        ("adduser", [user, group]) => {
            let known = draft.users.iter_mut().find(|known| known.name == *user);
            known.map(|known| known.groups.push(group.clone())).is_some()
        }
        ("useradd" | "adduser", [name]) => {
            let user = user(name, &options, groups, draft);
            draft.users.retain(|known| known.name != user.name);
            draft.users.push(user);
            true
        }
        _ => false,
    }
}

fn user(name: &str, options: &AccountOptions, groups: &DraftGroups, draft: &Draft) -> DraftUser {
    let system = options.has("system");
    let group = options.values.get("gid").or_else(|| options.values.get("ingroup"));
    let number = |group: &String| group.parse().ok().or_else(|| groups.get(group).copied().flatten());
    let own = || groups.get(name).copied().flatten();
    let named = |key: &str| options.values.get(key).cloned();
    let further = named("groups").unwrap_or_default();
    DraftUser {
        name: name.to_owned(),
        uid: options.number("uid").unwrap_or_else(|| free_number(system, draft)),
        gid: group.map_or_else(own, number),
        groups: further.split(',').filter(|group| !group.is_empty()).map(str::to_owned).collect(),
        home: named("home").filter(|home| *home != format!("/home/{name}")),
        shell: named("shell").filter(|shell| shell != "/bin/sh"),
        system,
    }
}

/// The number that the program would give. Ubuntu has a user since 24.04.
fn free_number(system: bool, draft: &Draft) -> u32 {
    let is_taken = |uid: &u32| draft.users.iter().any(|user| user.uid == *uid);
    let base = draft.base.as_deref().unwrap_or_default();
    let has_user = base.contains("ubuntu:24") || base.contains("ubuntu24");
    match system {
        true => (1..=FIRST_SYSTEM_UID).rev().find(|uid| !is_taken(uid)).unwrap_or(FIRST_SYSTEM_UID),
        false => (FIRST_UID + u32::from(has_user)..u32::MAX).find(|uid| !is_taken(uid)).unwrap_or(FIRST_UID),
    }
}

/// The options of a command, by the names that they have in full, and its other words.
#[derive(Debug, Default)]
struct AccountOptions {
    values: BTreeMap<&'static str, String>,
    names: Vec<String>,
}

impl AccountOptions {
    /// Reads the words behind the program; short options have the meaning of `useradd` or of busybox's and Debian's `adduser`.
    fn read(words: &[&str], is_of_useradd: bool) -> Self {
        let mut options = Self::default();
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            if !word.starts_with('-') {
                options.names.push(word.to_owned());
                continue;
            }
            let (option, value) =
                word.split_once('=').map_or((word, None), |(option, value)| (option, Some(value)));
            // Of short options that stand together the last may have a value.
            let last =
                option.chars().last().filter(|_| !option.starts_with("--")).map(|last| format!("-{last}"));
            if !option.starts_with("--") && option.chars().skip(1).any(|flag| flag == 'r' || flag == 'S') {
                options.values.insert("system", String::new());
            }
            let name = last.as_deref().unwrap_or(option);
            let Some(key) = key_of(name, is_of_useradd) else { continue };
            let value = match key {
                "system" => String::new(),
                _ => value.or_else(|| words.next()).unwrap_or_default().to_owned(),
            };
            options.values.insert(key, value);
        }
        options
    }

    fn number(&self, key: &str) -> Option<u32> {
        self.values.get(key)?.parse().ok()
    }

    fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }
}

/// The meaning of an option that has a value, or that makes a user one of the system; `None` for a flag that says nothing
/// which a recipe does not say anyway.
fn key_of(option: &str, is_of_useradd: bool) -> Option<&'static str> {
    Some(match (option, is_of_useradd) {
        ("-u" | "--uid", _) => "uid",
        ("-g" | "--gid", true) | ("--gid", false) => "gid",
        ("-G" | "--groups", true) => "groups",
        ("-G" | "--ingroup", false) => "ingroup",
        ("-d" | "--home-dir" | "--home", true) | ("-h" | "--home", false) => "home",
        ("-s" | "--shell", _) => "shell",
        ("-r" | "--system", true) | ("-S" | "--system", false) => "system",
        ("-c" | "--comment" | "-g" | "--gecos", _) => "comment",
        (
            "-k" | "--skel" | "-K" | "--key" | "-e" | "--expiredate" | "-f" | "--inactive" | "-p"
            | "--password",
            true,
        ) => "unused",
        ("-b" | "--base-dir", true) => "unused",
        _ => return None,
    })
}

/// The key `healthcheck` of what follows `HEALTHCHECK`; `None` where a recipe cannot say it.
pub(super) fn healthcheck(rest: &str) -> Option<String> {
    let mut rest = rest.trim();
    let mut members = Vec::new();
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option.split_once(char::is_whitespace)?;
        let (name, value) = option.split_once('=')?;
        let is_known = ["interval", "timeout", "start-period", "start-interval", "retries"].contains(&name);
        is_known.then(|| members.push(format!("{name}: {value}")))?;
        rest = after.trim_start();
    }
    if rest.eq_ignore_ascii_case("none") {
        return Some("none".to_owned());
    }
    let command = rest.strip_prefix("CMD").or_else(|| rest.strip_prefix("cmd"))?.trim();
    let test = match serde_json::from_str::<Vec<String>>(command) {
        Ok(words) => flow(&words),
        Err(_) => serde_json::Value::from(command).to_string(),
    };
    members.insert(0, format!("test: {test}"));
    (!command.is_empty()).then(|| format!("{{{}}}", members.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(commands: &[&str], expected: &[&str]) {
        let (mut draft, mut groups) = (Draft::default(), DraftGroups::new());
        for command in commands {
            let words: Vec<&str> = command.split_whitespace().collect();
            assert!(take(&words, &mut groups, &mut draft), "{command}");
        }
        let entries: Vec<String> = draft.users.iter().map(DraftUser::entry).collect();
        assert_eq!(entries, expected, "{commands:?}");
    }

    #[test]
    fn users_are_those_that_the_programs_would_make() {
        check(&["useradd app"], &["{name: app, uid: 1000}"]);
        check(&["useradd -m -u 1001 -s /bin/bash app"], &["{name: app, uid: 1001, shell: /bin/bash}"]);
        check(
            &["groupadd -g 2000 app", "useradd -l -u 1500 -g app -d /srv/app app"],
            &["{name: app, uid: 1500, gid: 2000, home: /srv/app}"],
        );
        check(
            &["groupadd --gid 1000 app", "useradd --uid 1000 --gid 1000 -m app"],
            &["{name: app, uid: 1000}"],
        );
        check(
            &["useradd -rm -G video,render one", "useradd two"],
            &["{name: one, uid: 999, groups: [video, render], system: true}", "{name: two, uid: 1000}"],
        );
        check(&["adduser --disabled-password --gecos An-app app"], &["{name: app, uid: 1000}"]);
        check(
            &[
                "adduser --system --uid 200 --home /app --shell /usr/sbin/nologin --group app",
                "adduser app video",
            ],
            &["{name: app, uid: 200, groups: [video], home: /app, shell: /usr/sbin/nologin, system: true}"],
        );
        check(&["addgroup --system app", "adduser -D -u 1234 app"], &["{name: app, uid: 1234}"]);
    }

    #[test]
    fn a_check_of_health_keeps_its_times() {
        let check = |rest: &str, expected: Option<&str>| {
            assert_eq!(healthcheck(rest).as_deref(), expected, "{rest}");
        };
        check("NONE", Some("none"));
        check(
            "CMD curl -f http://localhost/ || exit 1",
            Some("{test: \"curl -f http://localhost/ || exit 1\"}"),
        );
        check(
            "--interval=30s --retries=3 CMD [\"curl\", \"-f\", \"http://localhost/\"]",
            Some("{test: [curl, -f, \"http://localhost/\"], interval: 30s, retries: 3}"),
        );
        check("--mystery=1 CMD true", None);
        check("CMD", None);
    }
}
