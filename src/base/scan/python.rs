//! The Python of a base that is meant, and its directories of packages.

use std::collections::{BTreeMap, BTreeSet};

use super::ImageConfigFacts;
use super::packages::Dpkg;
use crate::base::InventoryError;
use crate::elf::Machine;
use crate::observe::inventory_facts::{FileFact, InventoryFacts, join};
use crate::oci::Architecture;
use crate::pypa::scheme::InstallScheme;

/// The `PATH` of a container whose image's config has none, as runtimes set it.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An interpreter and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BasePython {
    /// `3.11.2`
    pub version: String,
    pub scheme: InstallScheme,
    /// See [`BaseInventory::externally_managed`](crate::base::BaseInventory::externally_managed).
    pub externally_managed: String,
    /// The directories of `sys.path` that hold distributions, in its order, relative to the root.
    pub packages: Vec<String>,
}

/// An interpreter as it is called: the name through which, and the file that it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Called {
    /// Relative to the root: `usr/bin/python3`.
    name: String,
    /// Without symlinks: `usr/bin/python3.11`.
    file: String,
    /// 11 of Python 3.11.
    minor: u8,
}

/// Chooses the interpreter: of the `asked` version, such as `3.11`, or the one that `VIRTUAL_ENV` and `PATH` name.
pub(super) fn choose(
    facts: &InventoryFacts,
    dpkg: &Dpkg,
    config: &ImageConfigFacts,
    asked: Option<&str>,
) -> Result<BasePython, InventoryError> {
    let called = called(facts, config);
    let first = called.first().ok_or(InventoryError::NoPython)?;
    let versions: BTreeSet<u8> = called.iter().map(|python| python.minor).collect();
    let chosen = match asked {
        Some(asked) => called.iter().find(|python| is_asked(python.minor, asked)).ok_or_else(|| {
            InventoryError::OtherPython { found: named(&versions), asked: asked.to_owned() }
        })?,
        None if versions.len() > 1 && virtual_environment(facts, first).is_none() => {
            return Err(InventoryError::SeveralPythons {
                found: versions.iter().map(|minor| format!("3.{minor}")).collect(),
            });
        }
        None => first,
    };
    check_machine(facts, chosen, config)?;
    Ok(describe(facts, dpkg, chosen))
}

/// `asked` may name a release, `3.11.4`, whose last number any other may replace.
fn is_asked(minor: u8, asked: &str) -> bool {
    asked.strip_prefix("3.").and_then(|rest| rest.split('.').next()) == Some(minor.to_string().as_str())
}

fn named(versions: &BTreeSet<u8>) -> String {
    versions.iter().map(|minor| format!("3.{minor}")).collect::<Vec<_>>().join(" and ")
}

/// The interpreters that the config's environment leads to, the one that `python3` is first; where it leads to none, all
/// that there are.
fn called(facts: &InventoryFacts, config: &ImageConfigFacts) -> Vec<Called> {
    let of_environment = config.variable("VIRTUAL_ENV").map(|root| format!("{root}/bin"));
    let path = config.variable("PATH").unwrap_or(DEFAULT_PATH);
    let directories: Vec<&str> = of_environment
        .as_deref()
        .into_iter()
        .chain(path.split(':'))
        .filter(|part| part.starts_with('/'))
        .collect();
    let plain = directories.iter().flat_map(|directory| {
        ["python3", "python"].map(|name| format!("{}/{name}", directory.trim_matches('/')))
    });
    let mut names: Vec<String> = plain.collect();
    for directory in &directories {
        let Some(real) = facts.resolve(directory) else { continue };
        let numbered = facts.below(&real).map(|(path, _)| path).filter(|path| minor(path).is_some());
        names.extend(numbered.filter(|path| !path[real.len() + 1..].contains('/')).map(str::to_owned));
    }
    let mut found: Vec<Called> = Vec::new();
    for name in names {
        let python = call(facts, &name);
        found.extend(python.filter(|python| found.iter().all(|other| other.file != python.file)));
    }
    if found.is_empty() {
        // What conda downloaded is in `pkgs`, beside the environments it was installed into.
        let files = facts.files().map(|(path, _)| path).filter(|path| !path.contains("/pkgs/"));
        found.extend(files.filter(|path| minor(path).is_some()).filter_map(|path| call(facts, path)));
        found.sort();
    }
    found
}

fn call(facts: &InventoryFacts, name: &str) -> Option<Called> {
    let (file, fact) = facts.file(name)?;
    fact.elf.as_ref()?;
    let minor = minor(&file).or_else(|| two(fact.version.as_deref()?))?;
    Some(Called { name: name.to_owned(), file, minor })
}

/// 11 of `usr/bin/python3.11`.
fn minor(path: &str) -> Option<u8> {
    let (directory, name) = path.rsplit_once('/')?;
    let is_program = directory == "bin" || directory.ends_with("/bin");
    name.strip_prefix("python3.").filter(|_| is_program)?.parse().ok()
}

/// 11 of `3.11.2`.
fn two(version: &str) -> Option<u8> {
    version.split('.').nth(1)?.parse().ok()
}

fn check_machine(
    facts: &InventoryFacts,
    python: &Called,
    config: &ImageConfigFacts,
) -> Result<(), InventoryError> {
    let machine = facts.file(&python.file).and_then(|(_, file)| Some(file.elf.as_ref()?.machine));
    let found = machine.and_then(Machine::architecture);
    if found == Some(config.architecture) {
        return Ok(());
    }
    Err(InventoryError::OtherMachine {
        interpreter: format!("/{}", python.file),
        found: found.map_or("another machine", Architecture::as_str),
        architecture: config.architecture,
    })
}

/// The virtual environment of the interpreter, from its `pyvenv.cfg`.
///
/// <https://docs.python.org/3/library/venv.html>
#[derive(Debug, Clone, PartialEq, Eq)]
struct VirtualEnvironment {
    root: String,
    sees_system_packages: bool,
}

fn virtual_environment(facts: &InventoryFacts, python: &Called) -> Option<VirtualEnvironment> {
    let root = python.name.rsplit_once('/')?.0.strip_suffix("bin")?.trim_end_matches('/');
    let text = facts.read(&join(root, "pyvenv.cfg"))?;
    let values: BTreeMap<String, &str> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim().to_ascii_lowercase(), value.trim()))
        .collect();
    let sees_system_packages =
        values.get("include-system-site-packages").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    Some(VirtualEnvironment { root: facts.resolve(root)?, sees_system_packages })
}

fn describe(facts: &InventoryFacts, dpkg: &Dpkg, python: &Called) -> BasePython {
    let prefix = python
        .file
        .rsplit_once('/')
        .and_then(|(bin, _)| bin.rsplit_once('/'))
        .map_or("", |(prefix, _)| prefix);
    let minor = python.minor;
    let version = version(facts, dpkg, prefix, python);
    let externally_managed = join(prefix, &format!("lib/python3.{minor}/EXTERNALLY-MANAGED"));
    let system = system_scheme(prefix, python);
    if let Some(environment) = virtual_environment(facts, python) {
        let scheme = InstallScheme::prefix(&environment.root, (3, minor), &interpreter(&environment.root));
        let mut packages = vec![scheme.purelib.clone()];
        if environment.sees_system_packages {
            packages.extend(system.1);
        }
        // pip looks for the marker beside the standard library, and not at all in a virtual environment.
        return BasePython { version, scheme, externally_managed, packages };
    }
    let (scheme, packages) = system;
    BasePython { version, scheme, externally_managed, packages }
}

/// The scheme of an interpreter outside virtual environments, and where it looks for distributions.
fn system_scheme(prefix: &str, python: &Called) -> (InstallScheme, Vec<String>) {
    let minor = python.minor;
    if prefix != "usr" {
        let scheme = InstallScheme::prefix(prefix, (3, minor), &interpreter(prefix));
        let packages = vec![scheme.purelib.clone()];
        return (scheme, packages);
    }
    let mut scheme = InstallScheme::debian((3, minor));
    if python.name != "usr/bin/python3" {
        // Another than the system's, such as deadsnakes': `python3` is not its name.
        scheme.interpreter = format!("/usr/bin/python3.{minor}");
    }
    let packages = vec![
        scheme.purelib.clone(),
        "usr/lib/python3/dist-packages".into(),
        format!("usr/lib/python3.{minor}/dist-packages"),
    ];
    (scheme, packages)
}

fn interpreter(prefix: &str) -> String {
    format!("/{}", join(prefix, "bin/python3"))
}

/// The full version: as the interpreter says, or the library that it is in, or the package that brought it.
fn version(facts: &InventoryFacts, dpkg: &Dpkg, prefix: &str, python: &Called) -> String {
    let said = |file: &FileFact| file.version.clone();
    let minor = python.minor;
    let library = format!("libpython3.{minor}.so");
    let of_library = || {
        let mut files = facts.files().filter(|(path, _)| path.starts_with(prefix));
        files.find_map(|(path, file)| {
            file.version
                .clone()
                .filter(|_| path.rsplit('/').next().is_some_and(|name| name.starts_with(&library)))
        })
    };
    let of_package = || {
        let upstream = dpkg.version(&format!("python3.{minor}-minimal"))?.upstream();
        let end = upstream.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(upstream.len());
        Some(upstream[..end].to_owned())
    };
    facts
        .file(&python.file)
        .and_then(|(_, file)| said(file))
        .or_else(of_library)
        .or_else(of_package)
        .unwrap_or_else(|| format!("3.{minor}"))
}
