//! Services: `deb-systemd-helper`, `systemctl enable` and `update-rc.d`, which make links.
//!
//! <https://manpages.debian.org/deb-systemd-helper.1p> · <https://manpages.debian.org/update-rc.d.8>

use std::collections::BTreeSet;

use super::super::system::{Done, System};
use super::options::Options;

const STATE: &str = "/var/lib/systemd/deb-systemd-helper-enabled";
const LINKS: &str = "/etc/systemd/system";

/// Does `name` where it is one of these programs.
pub(super) fn run(system: &mut System<'_, '_>, name: &str, arguments: &[String]) -> Option<Done> {
    let options = Options::of(arguments, &["--root", "-s"]);
    let (verb, names) = options.operands.split_first().map_or(("", &[][..]), |(verb, names)| (*verb, names));
    Some(match (name, verb) {
        ("deb-systemd-helper" | "systemctl", _) if options.has(&["--user", "--global"]) => match verb {
            // Services of logged-in users: their links are beside those of the system.
            "enable" | "update-state" => Done::NotFollowed,
            _ => Done::SUCCESS,
        },
        ("deb-systemd-helper", "enable" | "update-state") => {
            enable_all(system, names, verb == "enable", true)
        }
        ("deb-systemd-helper", "debian-installed") => Done::FAILURE,
        ("deb-systemd-helper", "was-enabled" | "unmask" | "reenable" | "is-enabled") => Done::SUCCESS,
        ("deb-systemd-helper", _) => Done::NotFollowed,
        ("systemctl", "enable") => enable_all(system, names, true, false),
        ("systemctl", "disable" | "mask" | "preset" | "set-default" | "link" | "revert") => Done::NotFollowed,
        ("systemctl", "is-active" | "is-enabled" | "is-system-running" | "is-failed") => Done::FAILURE,
        ("systemctl", _) => Done::SUCCESS,
        ("update-rc.d", service) => match names {
            ["defaults" | "defaults-disabled", ..] => run_levels(system, service, names[0] == "defaults"),
            ["remove", ..] => Done::SUCCESS,
            _ => Done::NotFollowed,
        },
        _ => return None,
    })
}

fn enable_all(system: &mut System<'_, '_>, units: &[&str], links: bool, remembers: bool) -> Done {
    let mut all = true;
    for unit in units {
        all &= enable(system, unit, links, remembers);
    }
    Done::of(all)
}

/// Links a unit to the targets that want it, or only remembers that its package would: `false` where it is not there.
fn enable(system: &mut System<'_, '_>, unit: &str, links: bool, remembers: bool) -> bool {
    let mut made = Vec::new();
    if !closure(system, unit, &mut BTreeSet::new(), &mut made) {
        return false;
    }
    for (link, path) in &made {
        if links && !system.tree.has(link) {
            system.tree.symlink(link, path);
        }
        if links && remembers {
            system.tree.file(&format!("{STATE}{}", &link[LINKS.len()..]), 0o644, "");
        }
    }
    if remembers {
        let lines: String = made.iter().map(|(link, _)| format!("{link}\n")).collect();
        system.tree.file(&format!("{STATE}/{unit}.dsh-also"), 0o644, lines);
    }
    true
}

/// Adds the links of a unit and of those that it takes along, each with what it leads to.
fn closure(
    system: &System<'_, '_>,
    unit: &str,
    seen: &mut BTreeSet<String>,
    links: &mut Vec<(String, String)>,
) -> bool {
    if !seen.insert(unit.to_owned()) {
        return true;
    }
    let Some(path) = unit_path(system, unit) else { return false };
    let keys = install_section(&system.tree.text(&path).unwrap_or_default());
    let of = |wanted: &'static str| {
        keys.iter().filter(move |(key, _)| key == wanted).map(|(_, value)| value.clone())
    };
    for other in of("Also") {
        closure(system, &other, seen, links);
    }
    links.extend(
        of("Alias").filter(|alias| alias != unit).map(|alias| (format!("{LINKS}/{alias}"), path.clone())),
    );
    let instance = of("DefaultInstance").next();
    let name = match (unit.split_once("@."), instance) {
        (Some((name, kind)), Some(instance)) => format!("{name}@{instance}.{kind}"),
        _ => unit.to_owned(),
    };
    for (key, value) in &keys {
        let kind = match key.as_str() {
            "WantedBy" => "wants",
            "RequiredBy" => "requires",
            _ => continue,
        };
        links.push((format!("{LINKS}/{value}.{kind}/{name}"), path.clone()));
    }
    true
}

/// The file of a unit, or of the template that it is an instance of.
fn unit_path(system: &System<'_, '_>, unit: &str) -> Option<String> {
    let template = unit.split_once('@').map(|(name, instance)| {
        let kind = instance.rsplit_once('.').map_or("service", |(_, kind)| kind);
        format!("{name}@.{kind}")
    });
    let place = |name: &str| {
        let directories = [LINKS, "/lib/systemd/system", "/usr/lib/systemd/system"];
        directories
            .map(|directory| format!("{directory}/{name}"))
            .into_iter()
            .find(|path| system.is_file(path))
    };
    place(unit).or_else(|| place(&template?))
}

/// The keys of a unit's `[Install]` section, each with one value.
fn install_section(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().map(str::trim).skip_while(|line| *line != "[Install]").skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    let pairs = lines.filter(|line| !line.starts_with(['#', ';'])).filter_map(|line| line.split_once('='));
    let each = pairs.flat_map(|(key, values)| {
        values.split_ascii_whitespace().map(|value| (key.trim().to_owned(), value.to_owned()))
    });
    each.collect()
}

/// Links an init script to the run levels that its header names.
fn run_levels(system: &mut System<'_, '_>, service: &str, starts: bool) -> Done {
    let Some(text) = system.tree.text(&format!("/etc/init.d/{service}")) else { return Done::FAILURE };
    let levels = |name: &str| -> Vec<String> {
        let line = text.lines().find_map(|line| line.trim_start_matches(['#', ' ', '\t']).strip_prefix(name));
        line.unwrap_or_default().split_ascii_whitespace().map(str::to_owned).collect()
    };
    let start = if starts { "S" } else { "K" };
    for (letter, levels) in [(start, levels("Default-Start:")), ("K", levels("Default-Stop:"))] {
        for level in levels {
            system
                .tree
                .symlink(&format!("/etc/rc{level}.d/{letter}01{service}"), &format!("../init.d/{service}"));
        }
    }
    Done::SUCCESS
}
