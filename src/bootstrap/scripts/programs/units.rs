//! Services: `deb-systemd-helper`, `systemctl enable` and `update-rc.d`, which make links.
//!
//! <https://manpages.debian.org/deb-systemd-helper.1p> · <https://manpages.debian.org/update-rc.d.8>

use std::collections::BTreeSet;

use super::super::system::{Done, System};
use super::options::Options;

/// An instance of systemd: units and links are in directories of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Instance {
    System,
    /// The services of users who are logged in.
    User,
}

impl Instance {
    fn of(options: &Options<'_>) -> Self {
        if options.has(&["--user", "--global"]) { Self::User } else { Self::System }
    }

    /// The directory below `/etc/systemd` and its like.
    fn directory(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
        }
    }

    /// The directory of links, and of units that the administrator wrote.
    fn links(self) -> String {
        format!("/etc/systemd/{}", self.directory())
    }

    /// The directory of what `deb-systemd-helper` remembers.
    fn state(self) -> &'static str {
        match self {
            Self::System => "/var/lib/systemd/deb-systemd-helper-enabled",
            Self::User => "/var/lib/systemd/deb-systemd-user-helper-enabled",
        }
    }
}

/// The directory of packages' units that is looked into first: the same unit has two paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UnitSearch {
    /// `/lib`, as `deb-systemd-helper` does.
    Lib,
    /// `/usr/lib`.
    Usr,
}

impl UnitSearch {
    /// That of the helper when it enables: since version 1.66 it asks `systemctl preset` to make the first links, where
    /// that is installed.
    fn of_helper(system: &System<'_, '_>) -> Self {
        let helper = system.tree.text("/usr/bin/deb-systemd-helper");
        let asks = helper.is_some_and(|text| text.contains("--preset-mode"));
        let is_installed = || system.is_file("/bin/systemctl") || system.is_file("/usr/bin/systemctl");
        if asks && is_installed() { Self::of_systemctl(system) } else { Self::Lib }
    }

    /// That of `systemctl`: the directory that systemd was built for.
    fn of_systemctl(system: &System<'_, '_>) -> Self {
        let paths = system.tree.package("systemd").map(|package| &package.paths);
        let is_split = paths.is_some_and(|paths| paths.iter().any(|path| path == "lib/systemd/systemd"));
        if is_split { Self::Lib } else { Self::Usr }
    }

    /// The directories of units, in the order of the search.
    fn directories(self, instance: Instance) -> [String; 3] {
        let directory = instance.directory();
        let (lib, usr) = (format!("/lib/systemd/{directory}"), format!("/usr/lib/systemd/{directory}"));
        match self {
            Self::Lib => [instance.links(), lib, usr],
            Self::Usr => [instance.links(), usr, lib],
        }
    }
}

/// Does `name` where it is one of these programs.
pub(super) fn run(system: &mut System<'_, '_>, name: &str, arguments: &[String]) -> Option<Done> {
    let options = Options::of(arguments, &["--root", "-s"]);
    let (verb, names) = options.operands.split_first().map_or(("", &[][..]), |(verb, names)| (*verb, names));
    let instance = Instance::of(&options);
    Some(match (name, verb) {
        ("deb-systemd-helper", "enable") => {
            let search = UnitSearch::of_helper(system);
            all(names, |unit| link(system, unit, instance, search) && remember(system, unit, instance, true))
        }
        ("deb-systemd-helper", "update-state") => all(names, |unit| remember(system, unit, instance, false)),
        ("deb-systemd-helper", "debian-installed") => Done::FAILURE,
        ("deb-systemd-helper", "was-enabled" | "unmask" | "reenable" | "is-enabled") => Done::SUCCESS,
        ("deb-systemd-helper", _) => Done::NotFollowed,
        ("systemctl", "enable") => {
            let search = UnitSearch::of_systemctl(system);
            all(names, |unit| link(system, unit, instance, search))
        }
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

/// Does something for each of the units; fails where one is not there.
fn all(units: &[&str], mut each: impl FnMut(&str) -> bool) -> Done {
    let mut all = true;
    for unit in units {
        all &= each(unit);
    }
    Done::of(all)
}

/// Links a unit to the targets that want it: `false` where it is not there.
fn link(system: &mut System<'_, '_>, unit: &str, instance: Instance, search: UnitSearch) -> bool {
    let directories = search.directories(instance);
    let Some(links) = closure(system, unit, &directories) else { return false };
    for Link { link, unit } in &links {
        if !system.tree.has(link) {
            system.tree.symlink(link, unit);
        }
    }
    true
}

/// Notes the links that a unit's package has, and with `made` that they were made: `false` where it is not there.
fn remember(system: &mut System<'_, '_>, unit: &str, instance: Instance, made: bool) -> bool {
    let directories = UnitSearch::Lib.directories(instance);
    let Some(links) = closure(system, unit, &directories) else { return false };
    let (state, root) = (instance.state(), instance.links());
    for link in links.iter().map(|link| &link.link).filter(|_| made) {
        system.tree.file(&format!("{state}{}", &link[root.len()..]), 0o644, "");
    }
    let lines: String = links.iter().map(|link| format!("{}\n", link.link)).collect();
    system.tree.file(&format!("{state}/{unit}.dsh-also"), 0o644, lines);
    true
}

/// A link to a unit's file.
struct Link {
    link: String,
    unit: String,
}

/// The links of a unit and of those that it takes along; `None` where it is in none of the directories.
fn closure(system: &System<'_, '_>, unit: &str, directories: &[String; 3]) -> Option<Vec<Link>> {
    let mut links = Vec::new();
    add_links(system, unit, directories, &mut BTreeSet::new(), &mut links).then_some(links)
}

fn add_links(
    system: &System<'_, '_>,
    unit: &str,
    directories: &[String; 3],
    seen: &mut BTreeSet<String>,
    links: &mut Vec<Link>,
) -> bool {
    if !seen.insert(unit.to_owned()) {
        return true;
    }
    let Some(path) = unit_path(system, unit, directories) else { return false };
    let keys = install_section(&system.tree.text(&path).unwrap_or_default());
    let of = |wanted: &'static str| {
        keys.iter().filter(move |(key, _)| key == wanted).map(|(_, value)| value.clone())
    };
    for other in of("Also") {
        add_links(system, &other, directories, seen, links);
    }
    let root = &directories[0];
    let mut push = |name: String| links.push(Link { link: format!("{root}/{name}"), unit: path.clone() });
    of("Alias").filter(|alias| alias != unit).for_each(&mut push);
    let instance = of("DefaultInstance").next();
    let name = match (unit.split_once("@."), instance) {
        (Some((name, kind)), Some(instance)) => format!("{name}@{instance}.{kind}"),
        _ => unit.to_owned(),
    };
    for (key, value) in &keys {
        match key.as_str() {
            "WantedBy" => push(format!("{value}.wants/{name}")),
            "RequiredBy" => push(format!("{value}.requires/{name}")),
            _ => {}
        }
    }
    true
}

/// The file of a unit, or of the template that it is an instance of.
fn unit_path(system: &System<'_, '_>, unit: &str, directories: &[String; 3]) -> Option<String> {
    let template = unit.split_once('@').map(|(name, instance)| {
        let kind = instance.rsplit_once('.').map_or("service", |(_, kind)| kind);
        format!("{name}@.{kind}")
    });
    let place = |name: &str| {
        let paths = directories.iter().map(|directory| format!("{directory}/{name}"));
        paths.into_iter().find(|path| system.is_file(path))
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
