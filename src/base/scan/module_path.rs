//! `sys.path` as an interpreter makes it when a container starts it.
//!
//! * <https://docs.python.org/3/library/sys_path_init.html>
//! * <https://docs.python.org/3/library/site.html>

use std::collections::{BTreeMap, BTreeSet};

use super::ImageConfigFacts;
use super::called::Called;
use super::python::{home, prefix, site_directories, virtual_environment};
use crate::base::{Account, PythonHome, PythonStart};
use crate::cpython::path_files::{self, PathLine};
use crate::observe::inventory_facts::{InventoryFacts, join};

/// The directories of `sys.path` that are followed: images have a handful, editable installations some dozens.
const MOST_DIRECTORIES: usize = 1024;

/// The interpreter of this name, with the places in which it searches.
pub(super) fn start(facts: &InventoryFacts, config: &ImageConfigFacts, python: &Called) -> PythonStart {
    let environment = virtual_environment(facts, python);
    let sees_system = environment.as_ref().is_none_or(|it| it.sees_system_packages);
    let prefixes = config.variable("PYTHONHOME").map(|value| {
        let prefixes = value.split(':').map(|prefix| config.absolute(prefix).trim_matches('/').to_owned());
        prefixes.collect::<Vec<_>>()
    });
    let directory = home(facts, python, environment.as_ref());
    let prefix =
        prefixes.as_ref().and_then(|all| all.first()).map_or(prefix(&directory), String::as_str).to_owned();
    let mut path = ModulePath::new(facts);
    for entry in config.variable("PYTHONPATH").into_iter().flat_map(|value| value.split(':')) {
        path.add(config.absolute(entry));
    }
    let of_system = if sees_system { site_directories(&prefix, python.minor) } else { Vec::new() };
    let user = user_directory(facts, config, python).filter(|_| sees_system);
    let own = environment.iter().flat_map(|it| site_directories(&it.root, python.minor));
    for directory in user.into_iter().chain(own).chain(of_system) {
        path.add_site(&directory);
    }
    let working_directory = config.working_directory.trim_matches('/');
    if !working_directory.is_empty() {
        // The directory of the program comes first; what is in it is mostly below the working directory.
        path.add(config.working_directory.clone());
    }
    PythonStart {
        program: python.name.clone(),
        version: (3, python.minor),
        home: prefixes.map_or(PythonHome::Above(directory), PythonHome::Set),
        path: path.directories,
        mapped: path.mapped,
        is_open: path.is_open,
        ..PythonStart::default()
    }
}

/// The directory of packages of the image's user.
///
/// <https://peps.python.org/pep-0370/>
fn user_directory(facts: &InventoryFacts, config: &ImageConfigFacts, python: &Called) -> Option<String> {
    if config.variable("PYTHONNOUSERSITE").is_some() {
        return None;
    }
    let of_home = || {
        let read = |path| facts.read(path).unwrap_or_default();
        let account = Account::named(&config.user, read("etc/passwd"), read("etc/group"));
        let home = config.variable("HOME").map(str::to_owned).or_else(|| Some(account?.home))?;
        Some(format!("{home}/.local"))
    };
    let base = config.variable("PYTHONUSERBASE").map(str::to_owned).or_else(of_home)?;
    site_directories(config.absolute(&base).trim_matches('/'), python.minor).into_iter().next()
}

/// `sys.path` as it grows.
struct ModulePath<'a> {
    facts: &'a InventoryFacts,
    directories: Vec<String>,
    known: BTreeSet<String>,
    mapped: BTreeMap<String, String>,
    is_open: bool,
}

impl<'a> ModulePath<'a> {
    fn new(facts: &'a InventoryFacts) -> Self {
        let (directories, known, mapped) = (Vec::new(), BTreeSet::new(), BTreeMap::new());
        Self { facts, directories, known, mapped, is_open: false }
    }

    /// Adds a directory once; modules of an archive are not seen.
    fn add(&mut self, path: impl AsRef<str>) {
        // Nobody keeps modules in the root directory, which an empty entry of PYTHONPATH mostly means.
        let Some(real) = self.facts.resolve(path.as_ref()).filter(|real| !real.is_empty()) else { return };
        self.is_open |= [".zip", ".egg", ".pyz"].iter().any(|ending| real.ends_with(ending));
        if self.directories.len() < MOST_DIRECTORIES && self.known.insert(real.clone()) {
            self.directories.push(real);
        }
    }

    /// Adds a directory of packages, and what its `.pth` files name.
    fn add_site(&mut self, directory: &str) {
        self.add(directory);
        let Some(real) = self.facts.resolve(directory) else { return };
        let files = self.facts.below(&real).map(|(path, _)| path);
        let files: Vec<String> = files
            .filter(|path| path.ends_with(".pth") && !path[real.len() + 1..].contains('/'))
            .map(str::to_owned)
            .collect();
        for file in files {
            let text = self.facts.read(&file).unwrap_or_default();
            for line in path_files::lines(text) {
                self.line(&real, line);
            }
        }
    }

    fn line(&mut self, directory: &str, line: PathLine<'_>) {
        match line {
            PathLine::Directory(path) if path.starts_with('/') => self.add(path),
            PathLine::Directory(path) => self.add(format!("{directory}/{path}")),
            PathLine::Finder(module) => {
                let text = self.facts.read(&join(directory, &format!("{module}.py")));
                let mapping = text.map(path_files::mapping).unwrap_or_default();
                self.is_open |= mapping.is_empty();
                self.mapped
                    .extend(mapping.into_iter().map(|(name, path)| (name.to_owned(), path.to_owned())));
            }
            PathLine::Adds(paths) => paths.iter().for_each(|path| self.add(path)),
            PathLine::Harmless => {}
            PathLine::Code => self.is_open = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::scan::called::call;
    use crate::base::scan::tests::facts;
    use crate::oci::Architecture;

    const LAYOUT: &str = "
        etc/passwd: root:x:0:0::/root:/bin/sh\\napp:x:1000:1000::/home/app:/bin/sh\\n
        usr/bin/python3 -> python3.11
        usr/bin/python3.11 says 3.11.2
        usr/local/lib/python3.11/dist-packages/a.pth: # nothing\\n/app/src\\nlib\\n
        usr/local/lib/python3.11/dist-packages/b.pth: import sys; sys.path.append('/app/lib')\\n
        usr/local/lib/python3.11/dist-packages/c.pth: import __editable___c_1_0_finder; __editable___c_1_0_finder.install()\\n
        usr/local/lib/python3.11/dist-packages/__editable___c_1_0_finder.py: MAPPING: dict[str, str] = {'c': '/app/c'}\\n
        usr/local/lib/python3.11/dist-packages/distutils-precedence.pth: import os; __import__('_distutils_hack')\\n
        opt/venv/bin/python -> /usr/bin/python3.11
        opt/venv/pyvenv.cfg: home = /usr/bin\\ninclude-system-site-packages = false\\n
        opt/seeing/bin/python -> /usr/bin/python3.11
        opt/seeing/pyvenv.cfg: home = /usr/bin\\ninclude-system-site-packages = True\\n
    ";
    const SYSTEM: [&str; 6] = [
        "usr/local/lib/python3.11/dist-packages",
        "app/src",
        "usr/local/lib/python3.11/dist-packages/lib",
        "app/lib",
        "usr/lib/python3/dist-packages",
        "usr/lib/python3.11/dist-packages",
    ];

    /// Checks the path of the interpreter `name`, in which `SYSTEM` stands for the system's directories.
    fn check(
        name: &str,
        env: &[&str],
        change: impl Fn(&mut ImageConfigFacts),
        expected: &[&str],
    ) -> PythonStart {
        let facts = facts(LAYOUT);
        let mut config = ImageConfigFacts::new(Architecture::Amd64, env.iter().copied());
        change(&mut config);
        let start = start(&facts, &config, &call(&facts, name).unwrap());
        let expected = expected.join(",").replace("SYSTEM", &SYSTEM.join(","));
        assert_eq!(start.path.join(","), expected, "{name} {env:?}");
        start
    }

    #[test]
    fn every_way_to_name_a_directory_is_followed() {
        let nothing = |_: &mut ImageConfigFacts| {};
        let user = "root/.local/lib/python3.11/site-packages";
        let system = "usr/bin/python3";
        let start = check(system, &[], nothing, &[user, "SYSTEM"]);
        assert_eq!(start.mapped, BTreeMap::from([("c".to_owned(), "/app/c".to_owned())]));
        assert_eq!((start.is_open, start.home), (false, PythonHome::Above("usr/bin".to_owned())));
        check(system, &["PYTHONNOUSERSITE=1"], nothing, &["SYSTEM"]);
        check(system, &["PYTHONUSERBASE=/u"], nothing, &["u/lib/python3.11/site-packages", "SYSTEM"]);
        check(system, &["HOME=/h"], nothing, &["h/.local/lib/python3.11/site-packages", "SYSTEM"]);
        let app = |config: &mut ImageConfigFacts| {
            config.user = "app".to_owned();
            config.working_directory = "/work".to_owned();
        };
        let user = "home/app/.local/lib/python3.11/site-packages";
        check(system, &["PYTHONPATH=lib:/opt/x"], app, &["work/lib", "opt/x", user, "SYSTEM", "work"]);
        let own = "opt/venv/lib/python3.11/site-packages";
        check("opt/venv/bin/python", &[], nothing, &[own]);
        let user = "root/.local/lib/python3.11/site-packages";
        let own = "opt/seeing/lib/python3.11/site-packages";
        check("opt/seeing/bin/python", &[], nothing, &[user, own, "SYSTEM"]);
    }

    #[test]
    fn another_home_brings_its_own_packages() {
        let facts = facts(LAYOUT);
        let config =
            ImageConfigFacts::new(Architecture::Amd64, ["PYTHONHOME=/opt/python", "PYTHONNOUSERSITE=1"]);
        let start = start(&facts, &config, &call(&facts, "usr/bin/python3").unwrap());
        assert_eq!(start.home, PythonHome::Set(vec!["opt/python".to_owned()]));
        assert_eq!(start.path, ["opt/python/lib/python3.11/site-packages"]);
    }
}
