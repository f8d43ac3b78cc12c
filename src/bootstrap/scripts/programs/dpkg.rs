//! dpkg's programs: `dpkg`, `dpkg-query`, `dpkg-statoverride`, `dpkg-divert`.

use std::cmp::Ordering;

use super::super::system::{Done, System};
use super::modes;
use super::options::Options;
use crate::debian::diversions::{self, Diversion};
use crate::debian::version::DebianVersion;

const OVERRIDES: &str = "/var/lib/dpkg/statoverride";
const DIVERSIONS: &str = "/var/lib/dpkg/diversions";

/// Does `name` where it is one of these programs.
pub(super) fn run(system: &mut System<'_, '_>, name: &str, arguments: &[String]) -> Option<Done> {
    Some(match name {
        "dpkg" | "dpkg-query" => ask(system, arguments),
        "dpkg-statoverride" => override_attributes(system, arguments),
        "dpkg-divert" => divert(system, arguments),
        "dpkg-realpath" => {
            let path = arguments.last().and_then(|path| system.tree.resolved(path));
            system.write(&format!("/{}\n", path.unwrap_or_default()));
            Done::SUCCESS
        }
        _ => return None,
    })
}

fn ask(system: &mut System<'_, '_>, arguments: &[String]) -> Done {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).filter(|it| *it != "--").collect();
    match arguments[..] {
        ["--compare-versions", left, relation, right] => match compare(left, relation, right) {
            Some(holds) => Done::of(holds),
            None => Done::NotFollowed,
        },
        ["--print-architecture" | "--print-native-architecture"] => {
            system.write(&format!("{}\n", system.tree.input().architecture));
            Done::SUCCESS
        }
        ["-L" | "--listfiles", ref names @ ..] => {
            each(system, names, |system, name| Some(package(system, name)?.list()))
        }
        ["-s" | "--status", ref names @ ..] if !names.is_empty() => {
            each(system, names, |system, name| package(system, name)?.status().ok())
        }
        ["-S" | "--search", ref paths @ ..] => each(system, paths, |system, path| {
            let owners = owners(system, path);
            (!owners.is_empty()).then(|| owners.iter().map(|owner| format!("{owner}: {path}\n")).collect())
        }),
        ["-l" | "--list", ref names @ ..] if names.iter().all(|name| package(system, name).is_none()) => {
            Done::of(names.is_empty())
        }
        [option, ..] if option.starts_with("--assert-") => Done::SUCCESS,
        ["--print-foreign-architectures"] => Done::SUCCESS,
        _ => {
            system.write_unknown();
            Done::Unknown
        }
    }
}

/// Writes what is said of each of the names; fails where nothing is said of one, or there are none.
fn each(
    system: &mut System<'_, '_>,
    names: &[&str],
    say: impl Fn(&System<'_, '_>, &str) -> Option<String>,
) -> Done {
    let mut all = !names.is_empty();
    for name in names {
        match say(system, name) {
            Some(text) => system.write(&text),
            None => all = false,
        }
    }
    Done::of(all)
}

/// The packages that ship `path`.
fn owners(system: &System<'_, '_>, path: &str) -> Vec<String> {
    let path = path.trim_start_matches('/');
    let packages = system.tree.packages();
    packages
        .filter(|package| package.paths.iter().any(|own| own == path))
        .map(|one| one.name.clone())
        .collect()
}

fn package<'a>(system: &System<'_, 'a>, name: &str) -> Option<&'a crate::debian::dpkg::InstalledPackage> {
    system.tree.package(name.split(':').next().unwrap_or(name))
}

/// `dpkg --compare-versions`: without a version comes before every version, and after each with `-nl`.
fn compare(left: &str, relation: &str, right: &str) -> Option<bool> {
    let (relation, empty_is_later) = match relation.strip_suffix("-nl") {
        Some(relation) => (relation, true),
        None => (relation, false),
    };
    let order = match (left.is_empty(), right.is_empty()) {
        (true, true) => Ordering::Equal,
        (true, false) | (false, true) => {
            let first = if left.is_empty() { Ordering::Less } else { Ordering::Greater };
            if empty_is_later { first.reverse() } else { first }
        }
        (false, false) => left.parse::<DebianVersion>().ok()?.cmp(&right.parse::<DebianVersion>().ok()?),
    };
    Some(match relation {
        "lt" | "<<" => order.is_lt(),
        "le" | "<=" | "<" => order.is_le(),
        "eq" | "=" => order.is_eq(),
        "ne" => order.is_ne(),
        "ge" | ">=" | ">" => order.is_ge(),
        "gt" | ">>" => order.is_gt(),
        _ => return None,
    })
}

fn override_attributes(system: &mut System<'_, '_>, arguments: &[String]) -> Done {
    let options = Options::of(arguments, &["--root", "--admindir"]);
    let database = system.tree.text(OVERRIDES).unwrap_or_default();
    let path_of = |line: &str| line.splitn(4, ' ').nth(3).unwrap_or_default().to_owned();
    match options.operands[..] {
        _ if options.has(&["--remove"]) => {
            let kept =
                database.lines().filter(|line| Some(&path_of(line).as_str()) != options.operands.first());
            let kept: String = kept.map(|line| format!("{line}\n")).collect();
            system.write_file(OVERRIDES, &kept, false);
            Done::SUCCESS
        }
        [path] if options.has(&["--list"]) => {
            let found: Vec<&str> = database.lines().filter(|line| path_of(line) == path).collect();
            found.iter().for_each(|line| system.write(&format!("{line}\n")));
            Done::of(!found.is_empty())
        }
        [user, group, mode, path] if options.has(&["--add"]) => {
            if database.lines().any(|line| path_of(line) == path) {
                return Done::Status(2);
            }
            let ids = system.user_id(user).zip(system.group_id(group));
            let (Some((uid, gid)), Some(mode)) = (ids, modes::apply(mode, 0, false, 0)) else {
                return Done::Status(2);
            };
            if options.has(&["--update"]) {
                system.change(path, |it| (it.uid, it.gid, it.mode) = (uid, gid, mode));
            }
            system.write_file(OVERRIDES, &format!("{user} {group} {mode:o} {path}\n{database}"), false);
            Done::SUCCESS
        }
        _ => Done::NotFollowed,
    }
}

fn diversions(system: &System<'_, '_>) -> Vec<Diversion> {
    diversions::parse(&system.tree.text(DIVERSIONS).unwrap_or_default())
}

fn divert(system: &mut System<'_, '_>, arguments: &[String]) -> Done {
    let options = Options::of(
        arguments,
        &["--package", "--divert", "--root", "--admindir", "--truename", "--listpackage"],
    );
    let known = diversions(system);
    let of = |path: &str| known.iter().find(|diversion| diversion.from == path);
    if let Some(path) = options.value(&["--truename"]) {
        let place = of(path).map_or(path, |diversion| &diversion.to);
        system.write(&format!("{place}\n"));
        return Done::SUCCESS;
    }
    if let Some(path) = options.value(&["--listpackage"]) {
        if let Some(Diversion { package, .. }) = of(path) {
            let shown = if package == diversions::LOCAL { "LOCAL" } else { package };
            system.write(&format!("{shown}\n"));
        }
        return Done::SUCCESS;
    }
    if options.has(&["--list"]) {
        for Diversion { from, to, package } in &known {
            system.write(&format!("diversion of {from} to {to} by {package}\n"));
        }
        return Done::SUCCESS;
    }
    let [path] = options.operands[..] else { return Done::NotFollowed };
    let renames = options.has(&["--rename"]) && !options.has(&["--no-rename"]);
    match (of(path).cloned(), options.has(&["--remove"])) {
        (None, true) | (Some(_), false) => Done::SUCCESS,
        (Some(Diversion { from, to, .. }), true) => {
            let others: Vec<Diversion> = known.iter().filter(|other| other.from != from).cloned().collect();
            write_diversions(system, &others);
            move_back(system, &to, &from, renames);
            Done::SUCCESS
        }
        (None, false) => {
            let to = options.value(&["--divert"]).map_or_else(|| format!("{path}.distrib"), str::to_owned);
            let package = if options.has(&["--local"]) {
                Some(diversions::LOCAL)
            } else {
                options.value(&["--package"])
            };
            let package = package.map_or_else(|| system.package.name.clone(), str::to_owned);
            let new = Diversion { from: path.to_owned(), to: to.clone(), package };
            write_diversions(system, &known.into_iter().chain([new]).collect::<Vec<_>>());
            move_back(system, path, &to, renames);
            Done::SUCCESS
        }
    }
}

fn move_back(system: &mut System<'_, '_>, from: &str, to: &str, renames: bool) {
    if renames && system.kind_of_link(from).is_some() && system.tree.copy(from, to, false) {
        system.remove(from);
    }
}

fn write_diversions(system: &mut System<'_, '_>, known: &[Diversion]) {
    system.write_file(DIVERSIONS, &diversions::write(known), false);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_dpkg_does() {
        for (left, relation, right, expected) in [
            ("", "lt", "1", Some(true)),
            ("", "lt-nl", "1", Some(false)),
            ("", "le-nl", "1", Some(false)),
            ("", "eq", "", Some(true)),
            ("1", "gt", "", Some(true)),
            ("1~", "lt", "1", Some(true)),
            ("1", "?", "1", None),
        ] {
            assert_eq!(compare(left, relation, right), expected, "{left} {relation} {right}");
        }
    }
}
