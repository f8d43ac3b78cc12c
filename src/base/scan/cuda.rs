//! Every copy of a CUDA component in a base: what it is, of which version, and for which CUDA.
//!
//! Libraries are known by their names; those of one component, directory and generation are one copy. `stubs` and
//! `compat` hold none: the first are for linkers, the second is the driver's.

use std::collections::{BTreeMap, BTreeSet};

use super::loader::BaseLoader;
use super::packages::{Owner, Owners};
use super::place;
use super::traces::Traces;
use crate::base::{CudaCopy, CudaLibrary};
use crate::cuda::{Component, library_stem};
use crate::elf::Elf;
use crate::observe::inventory_facts::{FileFact, InventoryFacts, Relevance, VersionText};

/// The files of one copy.
#[derive(Default)]
struct Group<'a> {
    libraries: Vec<(&'a str, &'a FileFact)>,
    programs: Vec<(&'a str, &'a FileFact)>,
}

/// The key by which files are one copy.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    component: Component,
    directory: String,
    /// The first number after `.so.` in the SONAMEs, so that cuDNN 8 and 9 in one directory are two.
    generation: String,
}

/// Every copy, sorted.
pub(super) fn copies(facts: &InventoryFacts, owners: &Owners<'_>, loader: &BaseLoader<'_>) -> Vec<CudaCopy> {
    let groups = groups(facts, owners);
    let runtimes = groups.keys().filter(|key| key.component.is_runtime());
    let majors: BTreeSet<u32> = runtimes.filter_map(|key| key.generation.parse().ok()).collect();
    let only_major = majors.first().copied().filter(|_| majors.len() == 1);
    let copy = |(key, group): (Key, Group<'_>)| {
        let libraries = group.libraries(loader);
        let traces = Traces {
            component: key.component,
            directory: &key.directory,
            generation: &key.generation,
            owner: group.first().and_then(|(path, file)| owners.of(path, file.size)),
            libraries: &libraries,
            programs: &group.programs,
        };
        let (version, version_from) = traces.version(facts);
        let library_bytes = libraries.iter().map(|library| library.size);
        let program_bytes = group.programs.iter().map(|(_, file)| file.size);
        CudaCopy {
            component: key.component,
            bytes: library_bytes.chain(program_bytes).sum(),
            cuda_major: traces.cuda_major(facts).or(only_major),
            version,
            version_from,
            toolkit: place::toolkit(&key.directory).map(str::to_owned),
            programs: group.programs(&key.directory),
            distribution: match traces.owner {
                Some(Owner::Distribution { name, .. }) => Some(name.clone()),
                _ => None,
            },
            libraries,
            directory: key.directory,
        }
    };
    let mut copies: Vec<CudaCopy> = groups.into_iter().map(copy).collect();
    copies.sort();
    copies
}

fn groups<'a>(facts: &'a InventoryFacts, owners: &Owners<'_>) -> BTreeMap<Key, Group<'a>> {
    let mut groups: BTreeMap<Key, Group<'a>> = BTreeMap::new();
    for (path, file) in facts.files().filter(|(path, _)| !place::is_no_copy(path)) {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let soname = soname(file, name);
        let component = Component::of_library(&soname).filter(|_| is_shared_library(file));
        if let Some(component) = component {
            let key = Key { component, directory: directory.to_owned(), generation: generation(&soname) };
            groups.entry(key).or_default().libraries.push((path, file));
        } else if is_program(path)
            && let Some(component) = program_component(owners.of(path, file.size))
        {
            let key = Key { component, directory: place::home(path).to_owned(), generation: String::new() };
            groups.entry(key).or_default().programs.push((path, file));
        }
    }
    joined(groups)
}

/// Companions may be numbered otherwise (`libcufile_rdma.so.1` beside `libcufile.so.0`) or not at all: libraries without
/// an essential one among them join those in their directory that have one, the newest of several.
fn joined(groups: BTreeMap<Key, Group<'_>>) -> BTreeMap<Key, Group<'_>> {
    let leading: BTreeSet<Key> = groups
        .iter()
        .filter(|(key, group)| group.serves(key.component))
        .map(|(key, _)| key.clone())
        .collect();
    let mut joined: BTreeMap<Key, Group<'_>> = BTreeMap::new();
    for (key, group) in groups {
        let same = |other: &&Key| other.component == key.component && other.directory == key.directory;
        let joins = !leading.contains(&key) && !group.libraries.is_empty();
        let leader =
            leading.iter().filter(|_| joins).filter(same).max_by_key(|other| number(&other.generation));
        let whole = joined.entry(leader.unwrap_or(&key).clone()).or_default();
        whole.libraries.extend(group.libraries);
        whole.programs.extend(group.programs);
    }
    joined
}

fn number(generation: &str) -> u32 {
    generation.parse().unwrap_or_default()
}

impl<'a> Group<'a> {
    /// The file that speaks for the copy.
    fn first(&self) -> Option<(&'a str, &'a FileFact)> {
        self.libraries.first().or(self.programs.first()).copied()
    }

    /// Returns whether a library is here without which there is no copy.
    fn serves(&self, component: Component) -> bool {
        let stems: Vec<&str> = component.essential_libraries().collect();
        let mut names = self.libraries.iter().map(|(path, file)| soname(file, file_name(path)));
        names.any(|soname| library_stem(&soname).is_some_and(|stem| stems.contains(&stem)))
    }

    fn libraries(&self, loader: &BaseLoader<'_>) -> Vec<CudaLibrary> {
        let mut libraries: Vec<CudaLibrary> = self
            .libraries
            .iter()
            .map(|(path, file)| {
                let soname = soname(file, file_name(path));
                let dynamic = file.elf.as_ref().and_then(|elf| elf.dynamic.as_ref());
                CudaLibrary {
                    found: loader.finds(&soname, path),
                    soname,
                    path: (*path).to_owned(),
                    size: file.size,
                    needed: dynamic.map(|dynamic| dynamic.needed.clone()).unwrap_or_default(),
                    symbols: file.symbols.clone(),
                }
            })
            .collect();
        libraries.sort();
        libraries
    }

    /// The programs, relative to the directory `root`.
    fn programs(&self, root: &str) -> Vec<String> {
        let relative =
            |path: &str| path.strip_prefix(root).unwrap_or(path).trim_start_matches('/').to_owned();
        let names: BTreeSet<String> = self.programs.iter().map(|(path, _)| relative(path)).collect();
        names.into_iter().collect()
    }
}

fn soname(file: &FileFact, name: &str) -> String {
    file.elf.as_ref().and_then(Elf::soname).unwrap_or(name).to_owned()
}

fn is_shared_library(file: &FileFact) -> bool {
    file.elf.as_ref().is_some_and(|elf| elf.dynamic.is_some())
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// `12` of `libcublas.so.12` and of `libnvrtc-builtins.so.12.2`; empty where nothing follows `.so`.
fn generation(soname: &str) -> String {
    let numbers = soname.split_once(".so.").map_or("", |(_, numbers)| numbers);
    numbers.split('.').next().unwrap_or_default().to_owned()
}

fn is_program(path: &str) -> bool {
    let compiles = Relevance::of(path) == Relevance::Versioned(VersionText::Cuda);
    compiles || path.ends_with("/libdevice.10.bc")
}

/// In CUDA 12, all programs are the compiler's; in CUDA 13, those of NVVM are in a package of their own.
fn program_component(owner: Option<Owner<'_>>) -> Option<Component> {
    let name = match owner {
        Some(Owner::Debian(package)) => package.name,
        Some(Owner::Distribution { name, .. }) => name.as_str(),
        Some(Owner::Conda { name, .. }) => name,
        None => "",
    };
    Component::named(if name.contains("nvvm") { "nvvm" } else { "cuda-nvcc" })
}
