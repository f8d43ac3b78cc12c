//! Which library the loader takes for a SONAME.

use std::collections::BTreeMap;

use super::place;
use crate::base::{Found, InventoryError};
use crate::elf::ldconfig::Link;
use crate::elf::{Class, Elf, Hwcap, Ldconfig, Machine, ld_so_conf};
use crate::observe::inventory_facts::InventoryFacts;

/// The loader of a base, for a process that brings no search path of its own.
#[derive(Debug)]
pub(super) struct Loader<'a> {
    facts: &'a InventoryFacts,
    machine: Machine,
    library_path: &'a [String],
    /// The directories that the loader searches where the cache has nothing.
    system: [&'static str; 4],
    /// The file for each SONAME of the cache that `ldconfig` makes, without symlinks.
    cache: BTreeMap<String, String>,
}

impl<'a> Loader<'a> {
    pub(super) fn new(
        facts: &'a InventoryFacts,
        ldconfig: &Ldconfig,
        machine: Machine,
        library_path: &'a [String],
    ) -> Result<Self, InventoryError> {
        let directories = ld_so_conf::directories("/etc/ld.so.conf", facts)?;
        let scan = ldconfig.scan(&directories, facts);
        let links: BTreeMap<&str, &Link> = scan.links.iter().map(|link| (link.path.as_str(), link)).collect();
        let mut cache = BTreeMap::new();
        for library in scan.libraries.iter().filter(|library| library.hwcap == Hwcap::Any) {
            let directory = library.path.rsplit_once('/').map_or("", |(directory, _)| directory);
            let path = match links.get(library.path.as_str()) {
                Some(link) => format!("{directory}/{}", link.target),
                None => library.path.clone(),
            };
            let file = facts.file(&path).filter(|(_, file)| is_for(machine, file.elf.as_ref()));
            if let Some((real, _)) = file {
                cache.entry(library.soname.clone()).or_insert(real);
            }
        }
        Ok(Self { facts, machine, library_path, system: ldconfig.system_directories(), cache })
    }

    /// The file that a directory has under a SONAME, without symlinks.
    fn found_in(&self, directory: &str, soname: &str) -> Option<String> {
        let (real, file) = self.facts.file(&format!("{directory}/{soname}"))?;
        is_for(self.machine, file.elf.as_ref()).then_some(real)
    }

    /// By which way the file at the real path `path` is found under its SONAME.
    pub(super) fn finds(&self, soname: &str, path: &str) -> Found {
        let mut directories = self.library_path.iter();
        let of_library_path = directories.find_map(|directory| self.found_in(directory, soname));
        let of_default = || self.system.iter().find_map(|directory| self.found_in(directory, soname));
        let of_cache = self.cache.get(soname).cloned().or_else(of_default);
        match of_library_path {
            Some(real) if real == path => Found::LibraryPath,
            None if of_cache.is_some_and(|real| real == path) => Found::Cache,
            _ if place::in_cuda_wheel(path) => Found::SitePackages,
            _ => Found::Nowhere,
        }
    }
}

fn is_for(machine: Machine, elf: Option<&Elf>) -> bool {
    elf.is_some_and(|elf| elf.class == Class::Elf64 && elf.machine == machine)
}
