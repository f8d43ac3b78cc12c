//! From what is known of an image's files to what is installed in it.

mod cuda;
mod installed;
mod libc;
mod loader;
mod packages;
mod place;
mod python;
mod traces;

use std::collections::BTreeMap;

pub use self::libc::glibc_version;

use self::libc::Libc;
use self::loader::BaseLoader;
use self::packages::{Conda, Dpkg, Owners};
use super::{BaseInventory, InventoryError};
use crate::elf::Ldconfig;
use crate::observe::inventory_facts::InventoryFacts;
use crate::oci::Architecture;

/// The part of an image's config that an inventory depends on.
///
/// <https://github.com/opencontainers/image-spec/blob/main/config.md>
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfigFacts {
    /// `architecture`.
    pub architecture: Architecture,
    /// `config.Env`, by name.
    pub env: BTreeMap<String, String>,
}

impl ImageConfigFacts {
    /// Reads `config.Env`: `NAME=VALUE` each.
    pub fn new<'a>(architecture: Architecture, env: impl IntoIterator<Item = &'a str>) -> Self {
        let pairs = env.into_iter().filter_map(|entry| entry.split_once('='));
        Self { architecture, env: pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect() }
    }

    /// The value of a variable that is set to something.
    fn variable(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// Says what is installed in the image of these facts, its layers stacked. `python` is the version that the recipe asks
/// for: `3.11`.
pub fn scan(
    facts: &InventoryFacts,
    config: &ImageConfigFacts,
    python: Option<&str>,
) -> Result<BaseInventory, InventoryError> {
    let dpkg = Dpkg::read(facts);
    let libc = Libc::read(facts, &dpkg)?;
    let python = python::choose(facts, &dpkg, config, python)?;
    let conda = Conda::read(facts);
    let distributions = installed::distributions(facts, &python.packages);
    let known: Vec<_> =
        distributions.iter().cloned().chain(installed::elsewhere(facts, &python.packages)).collect();

    let library_path: Vec<String> = config
        .variable("LD_LIBRARY_PATH")
        .map(|path| path.split(':').filter(|part| !part.is_empty()).map(str::to_owned).collect())
        .unwrap_or_default();
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

fn default_toolkit(facts: &InventoryFacts) -> Option<String> {
    facts.resolve("usr/local/cuda").filter(|real| facts.is_directory(real))
}

#[cfg(test)]
mod tests;
