//! The software in an image, whichever interpreter and loader finds it: what a bill of materials lists.

use std::collections::{BTreeMap, BTreeSet};

use super::installed::{self, InstalledFiles};
use super::libc::{self, Libc};
use super::loader::BaseLoader;
use super::packages::{Conda, Dpkg, Owners};
use super::{ImageConfigFacts, cuda, module_path, python};
use crate::base::{CudaCopy, InstalledDistribution};
use crate::elf::Ldconfig;
use crate::observe::inventory_facts::InventoryFacts;

/// The software in an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstalledSoftware {
    /// The distributions in every directory of packages, sorted by name and directory.
    pub distributions: Vec<InstalledDistribution>,
    /// Every copy of a CUDA component; none where the C library is not known.
    pub cuda: Vec<CudaCopy>,
    /// The packages of conda with their versions.
    pub conda: Vec<(String, String)>,
    /// The interpreters that no package manager installed: version by path.
    pub pythons: BTreeMap<String, String>,
    /// The system's name and version: `debian` and `12`, of the fields `ID` and `VERSION_ID` of os-release.
    pub system: Option<(String, Option<String>)>,
}

/// Says what software is in the image of these facts, its layers stacked.
pub fn software(facts: &InventoryFacts, config: &ImageConfigFacts) -> InstalledSoftware {
    let (dpkg, conda) = (Dpkg::read(facts), Conda::read(facts));
    let installed = distributions(facts, config, &dpkg);
    let owners = Owners { dpkg: &dpkg, conda: &conda, distributions: &installed };
    InstalledSoftware {
        cuda: copies(facts, config, &owners).unwrap_or_default(),
        pythons: pythons(facts, &owners),
        conda: conda.versions().map(|(name, version)| (name.to_owned(), version.to_owned())).collect(),
        system: libc::os_release(facts, "ID").map(|id| (id, libc::os_release(facts, "VERSION_ID"))),
        distributions: installed.into_iter().map(|it| it.distribution).collect(),
    }
}

/// The distributions on the `sys.path` of the interpreter that is started, and in every `site-packages` and
/// `dist-packages`: those that others carry in directories of their own, as setuptools does, are part of these.
fn distributions(facts: &InventoryFacts, config: &ImageConfigFacts, dpkg: &Dpkg) -> Vec<InstalledFiles> {
    let started = python::started(facts, dpkg, config, None).ok();
    let searched = started.map(|started| module_path::start(facts, config, &started.called).path);
    let is_info = |info: &str| info.ends_with(".dist-info") || info.ends_with(".egg-info");
    let of_text = facts.texts().filter_map(|(path, _)| {
        let (parent, _) = path.rsplit_once('/')?;
        let directory = if is_info(parent) { parent.rsplit_once('/')?.0 } else { parent };
        (is_info(parent) || is_info(path)).then_some(directory)
    });
    let is_of_packages = |directory: &&str| {
        ["site-packages", "dist-packages"].contains(&directory.rsplit('/').next().unwrap_or_default())
    };
    let found = of_text.filter(is_of_packages).map(str::to_owned);
    let directories: BTreeSet<String> =
        searched.unwrap_or_default().iter().filter_map(|it| facts.resolve(it)).chain(found).collect();
    let mut all: Vec<InstalledFiles> =
        directories.iter().flat_map(|directory| installed::in_directory(facts, directory)).collect();
    let key = |it: &InstalledFiles| (it.distribution.name.clone(), it.distribution.directory.clone());
    all.sort_by_key(key);
    all.dedup_by_key(|it| it.distribution.directory.clone());
    all
}

fn copies(facts: &InventoryFacts, config: &ImageConfigFacts, owners: &Owners<'_>) -> Option<Vec<CudaCopy>> {
    let libc = Libc::read(facts, owners.dpkg).ok()?;
    let ldconfig = Ldconfig::new(config.architecture, &libc.vendor, libc.libc_bin.as_str()).ok()?;
    let loader =
        BaseLoader::new(facts, &ldconfig, config.architecture.into(), &config.library_path()).ok()?;
    Some(cuda::copies(facts, owners, &loader))
}

fn pythons(facts: &InventoryFacts, owners: &Owners<'_>) -> BTreeMap<String, String> {
    let is_program = |path: &str| {
        path.rsplit('/').next().is_some_and(|name| {
            name.strip_prefix("python3.").is_some_and(|it| it.bytes().all(|byte| byte.is_ascii_digit()))
        })
    };
    let programs = facts.files().filter(|(path, _)| is_program(path));
    let unowned = programs.filter(|(path, file)| owners.of(path, file.size).is_none());
    unowned.filter_map(|(path, file)| Some((path.to_owned(), file.version.clone()?))).collect()
}
