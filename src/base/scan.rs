//! From what is known of an image's files to what is installed in it.

mod called;
mod command;
mod cuda;
mod installed;
mod libc;
mod loader;
mod module_path;
mod packages;
mod place;
mod python;
mod software;
mod traces;
mod unfound;

use std::collections::BTreeMap;

use serde_json::Value;

pub use self::libc::glibc_version;
pub use self::software::{InstalledSoftware, software};

use self::libc::Libc;
use self::loader::BaseLoader;
use self::packages::{Conda, Dpkg, Owners};
use self::python::BasePython;
use super::{BaseInventory, InstalledDistribution, InventoryError, PythonStart};
use crate::elf::Ldconfig;
use crate::observe::inventory_facts::InventoryFacts;
use crate::oci::Architecture;
use crate::oci::image::RuntimeConfig;
use crate::pypa::scheme::InstallScheme;

/// The part of an image's config that an inventory depends on.
///
/// <https://github.com/opencontainers/image-spec/blob/main/config.md>
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfigFacts {
    /// `architecture`.
    pub architecture: Architecture,
    /// `config.Env`, by name.
    pub env: BTreeMap<String, String>,
    /// `config.User`; empty for root.
    pub user: String,
    /// `config.WorkingDir`; empty for the root directory.
    pub working_directory: String,
    /// `config.Entrypoint`, and `config.Cmd` after it.
    pub command: Vec<String>,
    /// The program of `config.Healthcheck`, where it is known without running anything.
    pub health_program: Option<String>,
}

impl ImageConfigFacts {
    /// Reads `config.Env`: `NAME=VALUE` each. What a container starts is left open.
    pub fn new<'a>(architecture: Architecture, env: impl IntoIterator<Item = &'a str>) -> Self {
        let pairs = env.into_iter().filter_map(|entry| entry.split_once('='));
        Self {
            architecture,
            env: pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            user: String::new(),
            working_directory: String::new(),
            command: Vec::new(),
            health_program: None,
        }
    }

    /// The facts of a config with these settings for containers.
    pub fn of_runtime(architecture: Architecture, runtime: RuntimeConfig) -> Self {
        Self {
            user: runtime.user,
            working_directory: runtime.working_dir,
            command: runtime.entrypoint.into_iter().chain(runtime.cmd).collect(),
            health_program: runtime.healthcheck.as_ref().and_then(health_program),
            ..Self::new(architecture, runtime.env.iter().map(String::as_str))
        }
    }

    /// The value of a variable that is set to something.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The directories of `PATH`, in its order: absolute ones.
    pub fn path(&self) -> impl Iterator<Item = &str> {
        self.variable("PATH").unwrap_or(DEFAULT_PATH).split(':').filter(|part| part.starts_with('/'))
    }

    /// The directories of `LD_LIBRARY_PATH`, as written.
    fn library_path(&self) -> Vec<String> {
        let directories = self.variable("LD_LIBRARY_PATH").into_iter().flat_map(|path| path.split(':'));
        directories.filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    /// A path as a container's first process sees it: relative ones count from the working directory.
    pub fn absolute(&self, path: &str) -> String {
        match path.starts_with('/') {
            true => path.to_owned(),
            false => format!("/{}/{path}", self.working_directory.trim_matches('/')),
        }
    }
}

/// The program of a check of health: its first word, or that of a line for the shell, unless the shell does it itself or
/// decides about it.
///
/// <https://github.com/moby/docker-image-spec/blob/main/spec.md>
fn health_program(member: &Value) -> Option<String> {
    const OF_SHELL: [&str; 14] =
        ["[", "[[", ".", ":", "cd", "echo", "eval", "exec", "exit", "export", "if", "set", "test", "true"];
    let mut words = member.get("Test")?.as_array()?.iter().map(Value::as_str);
    match (words.next()??, words.next()??) {
        ("CMD", program) => Some(program.to_owned()),
        ("CMD-SHELL", line) => {
            let first = line.split_whitespace().next()?;
            let is_plain = first.chars().all(|c| c.is_ascii_alphanumeric() || "/._+-".contains(c));
            (is_plain && !OF_SHELL.contains(&first)).then(|| first.to_owned())
        }
        _ => None,
    }
}

/// The `PATH` of a container whose image's config has none, as runtimes set it.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Says what is installed in the image of these facts, its layers stacked. `python` is the version that the recipe asks
/// for: `3.11`.
pub fn scan(
    facts: &InventoryFacts,
    config: &ImageConfigFacts,
    python: Option<&str>,
) -> Result<BaseInventory, InventoryError> {
    let image = ScannedImage::read(facts, config)?;
    let python = python::choose(facts, &image.dpkg, config, python)?;
    let packages = python.packages.clone();
    image.inventory(python, &packages)
}

/// The same for the interpreter that a container of the image starts, by its entrypoint or its `PATH`, and with all
/// that this one finds; a version that is asked for comes before it.
pub fn scan_started(
    facts: &InventoryFacts,
    config: &ImageConfigFacts,
    python: Option<&str>,
) -> Result<(BaseInventory, PythonStart), InventoryError> {
    let image = ScannedImage::read(facts, config)?;
    let started = python::started(facts, &image.dpkg, config, python)?;
    let mut start = module_path::start(facts, config, &started.called);
    let inventory = image.inventory(started.python, &start.path)?;
    start.broken = started.broken;
    start.unfound = unfound::packages(facts, config, &started.called, &start, &inventory);
    Ok((inventory, start))
}

/// An interpreter, apart from the system that it is put on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScannedInterpreter {
    /// The full version: `3.12.11`.
    pub version: String,
    /// The install scheme.
    pub scheme: InstallScheme,
    /// See [`BaseInventory::externally_managed`].
    pub externally_managed: String,
    /// The distributions that it finds, sorted by name.
    pub distributions: Vec<InstalledDistribution>,
    /// The libraries that it is linked with.
    pub needed: Vec<String>,
}

/// The interpreter in the files of one layer, whatever is below it.
pub fn interpreter(
    facts: &InventoryFacts,
    config: &ImageConfigFacts,
) -> Result<ScannedInterpreter, InventoryError> {
    let python = python::choose(facts, &Dpkg::read(facts), config, None)?;
    let program = facts.file(python.scheme.interpreter.trim_start_matches('/'));
    let dynamic = program.and_then(|(_, file)| file.elf.as_ref()?.dynamic.as_ref());
    let found = installed::distributions(facts, &python.packages);
    Ok(ScannedInterpreter {
        version: python.version,
        scheme: python.scheme,
        externally_managed: python.externally_managed,
        distributions: found.into_iter().map(|installed| installed.distribution).collect(),
        needed: dynamic.map(|dynamic| dynamic.needed.clone()).unwrap_or_default(),
    })
}

/// The versions of Debian packages in the image of these facts, by name.
pub fn debian_packages(facts: &InventoryFacts) -> BTreeMap<String, String> {
    Dpkg::read(facts).versions().map(|(name, version)| (name.clone(), version.to_string())).collect()
}

/// An image whose C library and records of packages were read.
struct ScannedImage<'a> {
    facts: &'a InventoryFacts,
    config: &'a ImageConfigFacts,
    dpkg: Dpkg,
    libc: Libc,
}

impl<'a> ScannedImage<'a> {
    fn read(facts: &'a InventoryFacts, config: &'a ImageConfigFacts) -> Result<Self, InventoryError> {
        let dpkg = Dpkg::read(facts);
        let libc = Libc::read(facts, &dpkg)?;
        Ok(Self { facts, config, dpkg, libc })
    }

    /// The inventory for an interpreter that finds distributions in the directories `packages`.
    fn inventory(self, python: BasePython, packages: &[String]) -> Result<BaseInventory, InventoryError> {
        let Self { facts, config, dpkg, libc } = self;
        let conda = Conda::read(facts);
        let distributions = installed::distributions(facts, packages);
        let known: Vec<_> =
            distributions.iter().cloned().chain(installed::elsewhere(facts, packages)).collect();

        let library_path = config.library_path();
        let ldconfig = Ldconfig::new(config.architecture, &libc.vendor, libc.libc_bin.as_str())?;
        let loader = BaseLoader::new(facts, &ldconfig, config.architecture.into(), &library_path)?;
        let owners = Owners { dpkg: &dpkg, conda: &conda, distributions: &known };
        Ok(BaseInventory {
            architecture: config.architecture,
            cuda: cuda::copies(facts, &owners, &loader),
            vendor: libc.vendor,
            glibc: libc.version,
            libc_bin: libc.libc_bin,
            python: python.version,
            scheme: python.scheme,
            externally_managed: python.externally_managed,
            distributions: distributions.into_iter().map(|installed| installed.distribution).collect(),
            default_toolkit: default_toolkit(facts),
            library_path,
        })
    }
}

fn default_toolkit(facts: &InventoryFacts) -> Option<String> {
    facts.resolve("usr/local/cuda").filter(|real| facts.is_directory(real))
}

#[cfg(test)]
mod tests;
