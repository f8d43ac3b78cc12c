//! The library that the loader takes for a SONAME.

use std::collections::BTreeMap;

use super::place;
use crate::base::{InventoryError, LoaderRoute};
use crate::elf::ldconfig::LibraryLink;
use crate::elf::{Hwcap, Ldconfig, LibrarySearch, Machine, ld_so_conf};
use crate::observe::inventory_facts::InventoryFacts;

/// The loader of a base, for a process that brings no search path of its own.
#[derive(Debug)]
pub(super) struct BaseLoader<'a> {
    facts: &'a InventoryFacts,
    /// With the cache that `ldconfig` makes.
    search: LibrarySearch,
}

impl<'a> BaseLoader<'a> {
    pub(super) fn new(
        facts: &'a InventoryFacts,
        ldconfig: &Ldconfig,
        machine: Machine,
        library_path: &[String],
    ) -> Result<Self, InventoryError> {
        let search = LibrarySearch {
            machine,
            isa_level: 0,
            library_path: library_path.to_vec(),
            cache: BTreeMap::new(),
            system: ldconfig.system_directories().map(str::to_owned).to_vec(),
        };
        let mut loader = Self { facts, search };
        let directories = ld_so_conf::directories("/etc/ld.so.conf", facts)?;
        let scan = ldconfig.scan(&directories, facts);
        let links: BTreeMap<&str, &LibraryLink> =
            scan.links.iter().map(|link| (link.path.as_str(), link)).collect();
        for library in scan.libraries.iter().filter(|library| library.hwcap == Hwcap::Any) {
            let directory = library.path.rsplit_once('/').map_or("", |(directory, _)| directory);
            let path = match links.get(library.path.as_str()) {
                Some(link) => format!("{directory}/{}", link.target),
                None => library.path.clone(),
            };
            if loader.look(&path).is_some() {
                loader.search.cache.entry(library.soname.clone()).or_default().push(path);
            }
        }
        Ok(loader)
    }

    /// The library at a path, without symlinks.
    fn look(&self, path: &str) -> Option<String> {
        let (real, file) = self.facts.file(path)?;
        file.elf.as_ref().is_some_and(|elf| self.search.suits(elf)).then_some(real)
    }

    /// By which way the file at the real path `path` is found under its SONAME.
    pub(super) fn finds(&self, soname: &str, path: &str) -> LoaderRoute {
        let look = |path: &str| self.look(path);
        let within = |directories: &[String]| self.search.within(directories, soname, look);
        let of_cache = || self.search.cached(soname, true, look).or_else(|| within(&self.search.system));
        match within(&self.search.library_path) {
            Some(real) if real == path => LoaderRoute::LibraryPath,
            None if of_cache().is_some_and(|real| real == path) => LoaderRoute::Cache,
            _ if place::in_cuda_wheel(path) => LoaderRoute::SitePackages,
            _ => LoaderRoute::Nowhere,
        }
    }
}
