//! Distributions that were installed where the interpreter that a container starts does not look.

use std::collections::{BTreeMap, BTreeSet};

use uv_normalize::PackageName;

use super::called::{Called, called};
use super::{ImageConfigFacts, installed, module_path, python};
use crate::base::{BaseInventory, InstalledDistribution, PythonStart, UnfoundPackages};
use crate::observe::inventory_facts::InventoryFacts;

/// Distributions that every environment has, for installing others.
const TOOLS: [&str; 5] = ["pip", "setuptools", "wheel", "uv", "pkg-resources"];

/// The distributions below the prefixes that `PATH` names, below homes, and beside an environment that is empty, which
/// neither this interpreter finds nor another that is called.
pub(super) fn packages(
    facts: &InventoryFacts,
    config: &ImageConfigFacts,
    python: &Called,
    start: &PythonStart,
    inventory: &BaseInventory,
) -> Vec<UnfoundPackages> {
    let found: BTreeSet<&PackageName> =
        inventory.distributions.iter().filter(|it| matters(it)).map(|it| &it.name).collect();
    let searched = searched(facts, config, python, start, !found.is_empty());
    let mut unfound = Vec::new();
    for (directory, names) in directories(facts) {
        let is_meant = is_prefix_named(facts, config, &directory) && !searched.contains(&directory);
        if is_meant || is_beside_empty(facts, python, &directory, found.is_empty()) {
            let names = names.into_iter().filter(|name| !found.contains(name));
            let names: BTreeSet<PackageName> = names.collect();
            unfound.push(UnfoundPackages { directory, names: names.into_iter().collect() });
        }
    }
    unfound.retain(|it| !it.names.is_empty());
    unfound
}

/// Every directory of packages, without those that Debian's own programs use, with its distributions but for tools.
fn directories(facts: &InventoryFacts) -> BTreeMap<String, Vec<PackageName>> {
    let mut directories: BTreeMap<String, Vec<PackageName>> = BTreeMap::new();
    for installed in installed::elsewhere(facts, &[]) {
        let distribution = installed.distribution;
        let Some((directory, _)) = distribution.directory.rsplit_once('/') else { continue };
        if matters(&distribution) {
            directories.entry(directory.to_owned()).or_default().push(distribution.name);
        }
    }
    directories
}

/// Returns whether somebody installed a distribution to use it.
fn matters(distribution: &InstalledDistribution) -> bool {
    !distribution.of_system && !TOOLS.contains(&distribution.name.as_ref())
}

/// The directories that called interpreters search: the one that is started, the ones that `python3` and `python` are in
/// `PATH`, and where the first has packages of its own also those that others have, called by their versions.
fn searched(
    facts: &InventoryFacts,
    config: &ImageConfigFacts,
    python: &Called,
    start: &PythonStart,
    has_own: bool,
) -> BTreeSet<String> {
    let mut searched: BTreeSet<String> = start.path.iter().cloned().collect();
    let is_plain = |it: &Called| it.name.ends_with("/python3") || it.name.ends_with("/python");
    let of_path = called(facts, config.path().collect());
    let first = of_path.iter().find(|it| is_plain(it)).cloned();
    let others = of_path.into_iter().filter(|it| has_own && it.file != python.file);
    for other in first.into_iter().chain(others) {
        searched.extend(module_path::start(facts, config, &other).path);
    }
    searched
}

/// Returns whether a directory of packages is below a prefix whose programs `PATH` names, or below a home:
/// `…/lib/python3.11/site-packages`.
fn is_prefix_named(facts: &InventoryFacts, config: &ImageConfigFacts, directory: &str) -> bool {
    let Some(prefix) = prefix_of(directory) else { return false };
    let in_path = |path: &str| facts.resolve(path).is_some_and(|real| real == format!("{prefix}/bin"));
    prefix.ends_with("/.local") || config.path().any(in_path)
}

/// `usr/local` of `usr/local/lib/python3.11/dist-packages`.
fn prefix_of(directory: &str) -> Option<&str> {
    let (library, packages) = directory.rsplit_once('/')?;
    let (prefix, version) = library.rsplit_once("/lib/python3.")?;
    let is_library = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
    (is_library && matches!(packages, "site-packages" | "dist-packages")).then_some(prefix)
}

/// Returns whether the packages in a directory are those of the interpreter that an environment was made from, while the
/// environment has none itself.
fn is_beside_empty(facts: &InventoryFacts, python: &Called, directory: &str, is_empty: bool) -> bool {
    let Some(environment) = python::virtual_environment(facts, python).filter(|_| is_empty) else {
        return false;
    };
    let home = python::home(facts, python, Some(&environment));
    let of_home = python::site_directories(python::prefix(&home), python.minor);
    !environment.sees_system_packages && of_home.iter().any(|it| it == directory)
}

#[cfg(test)]
mod tests {
    use crate::base::scan::tests::facts;
    use crate::base::scan::{ImageConfigFacts, scan_started};
    use crate::observe::inventory_facts::InventoryFacts;
    use crate::oci::Architecture;

    const DEBIAN: &str = "
        etc/os-release: ID=debian\\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\\n
        usr/lib/x86_64-linux-gnu/libc.so.6 says GNU C Library (Debian GLIBC 2.36-9+deb12u10) stable release version 2.36
        usr/bin/python3 -> python3.11
        usr/bin/python3.11 says 3.11.2
        usr/lib/python3/dist-packages/apt-1.dist-info/METADATA: Name: apt\\nVersion: 1\\n
        usr/local/lib/python3.11/dist-packages/pip-1.dist-info/METADATA: Name: pip\\nVersion: 1\\n
        opt/venv/pyvenv.cfg: home = /usr/bin\\n
        opt/venv/bin/python3 -> /usr/bin/python3.11
    ";

    /// Checks which directories have distributions that nobody finds, where `paths` are directories with one each.
    fn check(paths: &[&str], more: &str, env: &[&str], command: &[&str], expected: &[&str]) {
        let text =
            paths.iter().map(|path| format!("{path}/a-1.dist-info/METADATA: Name: a\\nVersion: 1\\n\n"));
        let layers = [facts(DEBIAN), facts(&text.collect::<String>()), facts(more)];
        let mut config = ImageConfigFacts::new(Architecture::Amd64, env.iter().copied());
        config.command = command.iter().map(|&word| word.to_owned()).collect();
        let (_, start) = scan_started(&InventoryFacts::stacked(layers), &config, None).unwrap();
        let found: Vec<&str> = start.unfound.iter().map(|it| it.directory.as_str()).collect();
        assert_eq!(found, expected, "{paths:?} {env:?} {command:?}");
    }

    #[test]
    fn packages_are_missed_where_somebody_meant_them_to_be_found() {
        let system = "usr/local/lib/python3.11/dist-packages";
        let other = "usr/local/lib/python3.11/site-packages";
        let of_venv = "opt/venv/lib/python3.11/site-packages";
        let (venv, in_path) = (&["/opt/venv/bin/python3"], &["PATH=/opt/venv/bin:/usr/local/bin:/usr/bin"]);
        check(&[system], "", &[], &[], &[]);
        check(&[other], "", &[], &[], &[other]);
        // One that is found elsewhere is not missed.
        check(&[other, system], "", &[], &[], &[]);
        check(&["root/.local/lib/python3.11/site-packages"], "", &[], &[], &[]);
        let homes = ["root/.local/lib/python3.11/site-packages"];
        check(&homes, "", &["PYTHONNOUSERSITE=1"], &[], &homes);
        // An environment that nobody starts, and directories that programs may add.
        check(&[of_venv], "", &[], &[], &[]);
        check(&["app/lib"], "", &[], &[], &[]);
        check(&[system], "", &[], venv, &[system]);
        check(&[system, of_venv], "", &[], venv, &[]);
        check(
            &["opt/venv/lib/python3.12/site-packages"],
            "",
            in_path,
            &[],
            &["opt/venv/lib/python3.12/site-packages"],
        );
        let gone = "opt/venv/bin/python3 -> /usr/local/bin/python3.11";
        check(&[of_venv], gone, in_path, &[], &[of_venv]);
    }

    #[test]
    fn packages_of_another_python_are_its_own() {
        let system = "usr/local/lib/python3.11/dist-packages";
        let newer = "opt/new/bin/python3 -> python3.12\nopt/new/bin/python3.12 says 3.12.1\n";
        let first = &["PATH=/opt/new/bin:/usr/local/bin:/usr/bin"];
        check(&[system], newer, &[], &[], &[]);
        check(&[system], newer, first, &[], &[system]);
        check(&[], newer, first, &[], &[]);
        check(&[system], newer, &[], &["/opt/new/bin/python3"], &[]);
        let own = "opt/new/lib/python3.12/site-packages/b-1.dist-info/METADATA: Name: b\\nVersion: 1\\n";
        check(&[system], &format!("{newer}{own}"), first, &[], &[]);
    }
}
