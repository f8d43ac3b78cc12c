//! The loader's search for a library by its name, as far as no object has a say in it.
//!
//! * <https://man7.org/linux/man-pages/man8/ld.so.8.html>
//! * <https://sourceware.org/git/?p=glibc.git;a=blob;f=elf/dl-load.c>

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{Cache, Class, Elf, Hwcap, Machine};

/// The places that the loader of an image looks into, in the order of the fields.
#[derive(Debug, Clone)]
pub struct LibrarySearch {
    /// The processor of the image.
    pub machine: Machine,
    /// The level of the processor: 0 for the baseline, 2 for x86-64-v3.
    pub isa_level: u32,
    /// The directories of `LD_LIBRARY_PATH`.
    pub library_path: Vec<String>,
    /// The paths of the libraries in `/etc/ld.so.cache` by their names; of each name, the one that is taken comes first.
    pub cache: BTreeMap<String, Vec<String>>,
    /// The directories that are searched last.
    pub system: Vec<String>,
}

impl LibrarySearch {
    /// Returns whether the loader takes an object for its own machine; it passes over all others.
    pub fn suits(&self, elf: &Elf) -> bool {
        elf.class == Class::Elf64 && elf.machine == self.machine
    }

    /// The first that `look` finds below `directories`: in each, what is for newer processors comes first.
    pub fn within<T>(
        &self,
        directories: &[String],
        name: &str,
        look: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let levels = (2..=self.isa_level + 1).rev().filter(|_| self.machine == Machine::X86_64);
        let hwcaps = || levels.clone().map(|level| format!("glibc-hwcaps/x86-64-v{level}/{name}"));
        directories.iter().find_map(|directory| {
            let mut paths = hwcaps().chain([name.to_owned()]).map(|path| format!("{directory}/{path}"));
            paths.find_map(|path| look(&path))
        })
    }

    /// The library that the cache leads to; with `everywhere`, also in the directories that are searched last.
    ///
    /// The loader takes one entry: where its file cannot be opened, it goes on to the last directories.
    pub fn cached<T>(&self, name: &str, everywhere: bool, look: impl Fn(&str) -> Option<T>) -> Option<T> {
        let is_system = |path: &str| {
            let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
            self.system.iter().any(|system| system == directory)
        };
        look(self.cache.get(name)?.first().filter(|path| everywhere || !is_system(path))?)
    }
}

/// The paths of a cache's libraries by their names, of those that a processor of `isa_level` runs: the best for it first,
/// the others in the order of the cache.
pub fn cached_paths(cache: Cache, isa_level: u32) -> BTreeMap<String, Vec<String>> {
    let runs = |hwcap: &Hwcap| match hwcap {
        Hwcap::Any => true,
        Hwcap::Glibc { .. } => level(hwcap) <= isa_level,
        Hwcap::Legacy(_) => false,
    };
    let mut libraries = cache.libraries;
    libraries.retain(|library| runs(&library.hwcap));
    libraries.sort_by_key(|library| Reverse(level(&library.hwcap)));
    let mut paths: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for library in libraries {
        paths.entry(library.soname).or_default().push(library.path);
    }
    paths
}

/// The level of processors that an entry of the cache is for.
fn level(hwcap: &Hwcap) -> u32 {
    match hwcap {
        Hwcap::Glibc { name, .. } => name
            .strip_prefix("x86-64-v")
            .and_then(|level| level.parse::<u32>().ok())
            .map_or(u32::MAX, |level| level.saturating_sub(1)),
        Hwcap::Any | Hwcap::Legacy(_) => 0,
    }
}
