//! The Python of an image that is meant, and its directories of packages.

use std::collections::{BTreeMap, BTreeSet};

use super::called::{Called, call, called};
use super::packages::Dpkg;
use super::{ImageConfigFacts, command};
use crate::base::{BrokenName, InventoryError};
use crate::elf::Machine;
use crate::observe::inventory_facts::{FileFact, InventoryFacts, join};
use crate::oci::Architecture;
use crate::pypa::scheme::InstallScheme;

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

/// The interpreter that a container starts.
pub(super) struct StartedPython {
    pub called: Called,
    pub python: BasePython,
    /// See [`PythonStart::broken`](crate::base::PythonStart::broken).
    pub broken: Vec<BrokenName>,
}

/// Chooses the interpreter: of the `asked` version, such as `3.11`, or the one that `VIRTUAL_ENV` and `PATH` name.
pub(super) fn choose(
    facts: &InventoryFacts,
    dpkg: &Dpkg,
    config: &ImageConfigFacts,
    asked: Option<&str>,
) -> Result<BasePython, InventoryError> {
    let environment = config.variable("VIRTUAL_ENV").map(|root| format!("{root}/bin"));
    let called = called(facts, environment.as_deref().into_iter().chain(config.path()).collect());
    let first = called.first().ok_or(InventoryError::NoPython)?;
    let versions: BTreeSet<u8> = called.iter().map(|python| python.minor).collect();
    let chosen = match asked {
        Some(asked) => of_version(&called, asked)?,
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

/// The interpreter that a container of the image starts: of the `asked` version, or else the one that its command calls,
/// or that `python3` is in its `PATH`.
pub(super) fn started(
    facts: &InventoryFacts,
    dpkg: &Dpkg,
    config: &ImageConfigFacts,
    asked: Option<&str>,
) -> Result<StartedPython, InventoryError> {
    let of_command = command::interpreter(facts, config).and_then(|name| call(facts, &name));
    let is_in_path = |it: &Called| {
        let directory = it.name.rsplit_once('/').map_or("", |(directory, _)| directory);
        config.path().any(|path| path.trim_matches('/') == directory)
    };
    let is_elsewhere = of_command.as_ref().is_some_and(|it| !is_in_path(it));
    let of_path = called(facts, config.path().collect());
    let called: Vec<Called> = of_command.into_iter().chain(of_path).collect();
    let chosen = match asked {
        Some(asked) => of_version(&called, asked)?,
        None => called.first().ok_or(InventoryError::NoPython)?,
    };
    check_machine(facts, chosen, config)?;
    Ok(StartedPython {
        called: chosen.clone(),
        python: describe(facts, dpkg, chosen),
        broken: if is_elsewhere { Vec::new() } else { broken_names(facts, config) },
    })
}

fn of_version<'a>(called: &'a [Called], asked: &str) -> Result<&'a Called, InventoryError> {
    let versions: BTreeSet<u8> = called.iter().map(|python| python.minor).collect();
    called.iter().find(|python| is_asked(python.minor, asked)).ok_or_else(|| match versions.is_empty() {
        true => InventoryError::NoPython,
        false => InventoryError::OtherPython { found: named(&versions), asked: asked.to_owned() },
    })
}

/// The symlinks `python3` in `PATH` that lead to nothing, before the first that leads to an interpreter.
fn broken_names(facts: &InventoryFacts, config: &ImageConfigFacts) -> Vec<BrokenName> {
    let names = config.path().map(|directory| format!("{}/python3", directory.trim_matches('/')));
    let mut broken = Vec::new();
    for name in names {
        if call(facts, &name).is_some() {
            break;
        }
        let real = name.rsplit_once('/').and_then(|(directory, _)| facts.resolve(directory));
        let path = join(&real.unwrap_or_default(), "python3");
        let target = facts.symlink(&path).map(str::to_owned);
        broken.extend(target.map(|target| BrokenName { path, target }));
    }
    broken.dedup();
    broken
}

/// `asked` may name a release, `3.11.4`, whose last number any other may replace.
fn is_asked(minor: u8, asked: &str) -> bool {
    asked.strip_prefix("3.").and_then(|rest| rest.split('.').next()) == Some(minor.to_string().as_str())
}

fn named(versions: &BTreeSet<u8>) -> String {
    versions.iter().map(|minor| format!("3.{minor}")).collect::<Vec<_>>().join(" and ")
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
pub(super) struct VirtualEnvironment {
    pub root: String,
    pub sees_system_packages: bool,
    /// The directory of the interpreter that it was made from: absolute.
    home: Option<String>,
}

pub(super) fn virtual_environment(facts: &InventoryFacts, python: &Called) -> Option<VirtualEnvironment> {
    let directory = python.name.rsplit_once('/')?.0;
    let above = directory.rsplit_once('/').map_or("", |(above, _)| above);
    let read = |root| Some((root, facts.read(&join(root, "pyvenv.cfg"))?));
    let (root, text) = read(directory).or_else(|| read(above))?;
    let values: BTreeMap<String, &str> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim().to_ascii_lowercase(), value.trim()))
        .collect();
    let sees_system_packages =
        values.get("include-system-site-packages").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let home = values.get("home").filter(|home| home.starts_with('/')).map(|home| (*home).to_owned());
    Some(VirtualEnvironment { root: facts.resolve(root)?, sees_system_packages, home })
}

/// The directory of the interpreter itself: where a virtual environment says, or where its file is.
pub(super) fn home(
    facts: &InventoryFacts,
    python: &Called,
    environment: Option<&VirtualEnvironment>,
) -> String {
    let of_file = || python.file.rsplit_once('/').map_or("", |(directory, _)| directory).to_owned();
    let named = environment.and_then(|environment| environment.home.as_deref());
    named.and_then(|home| facts.resolve(home)).unwrap_or_else(of_file)
}

/// The prefix of an interpreter whose file is in this directory.
pub(super) fn prefix(home: &str) -> &str {
    home.rsplit_once('/').map_or("", |(prefix, _)| prefix)
}

fn describe(facts: &InventoryFacts, dpkg: &Dpkg, python: &Called) -> BasePython {
    let environment = virtual_environment(facts, python);
    let home = home(facts, python, environment.as_ref());
    let prefix = prefix(&home);
    let minor = python.minor;
    let version = version(facts, dpkg, prefix, python);
    let externally_managed = join(prefix, &format!("lib/python3.{minor}/EXTERNALLY-MANAGED"));
    let system = system_scheme(prefix, python);
    if let Some(environment) = environment {
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
    let packages = site_directories(prefix, minor);
    if prefix != "usr" {
        return (InstallScheme::prefix(prefix, (3, minor), &interpreter(prefix)), packages);
    }
    let mut scheme = InstallScheme::debian((3, minor));
    if python.name != "usr/bin/python3" {
        // Another than the system's, such as deadsnakes': `python3` is not its name.
        scheme.interpreter = format!("/usr/bin/python3.{minor}");
    }
    (scheme, packages)
}

/// The directories of packages of an interpreter below a prefix, in its order.
pub(super) fn site_directories(prefix: &str, minor: u8) -> Vec<String> {
    if prefix != "usr" {
        return vec![join(prefix, &format!("lib/python3.{minor}/site-packages"))];
    }
    vec![
        InstallScheme::debian((3, minor)).purelib,
        "usr/lib/python3/dist-packages".into(),
        format!("usr/lib/python3.{minor}/dist-packages"),
    ]
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
