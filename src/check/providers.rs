//! The libraries that distributions carry for each other.

use std::collections::{BTreeMap, BTreeSet};

use super::loader::{Loader, Process, Search, split};
use super::world::World;
use crate::cuda::Component;
use crate::elf::Object;

/// The distributions that carry a SONAME or a file of that name, for code that loads libraries before they are needed.
pub(super) struct Providers<'a>(BTreeMap<String, Vec<(usize, String, &'a Object)>>);

impl<'a> Providers<'a> {
    /// The providers among the distributions of `world`.
    pub(super) fn of(loader: &Loader<'a>, world: &World<'_>) -> Self {
        let mut providers: BTreeMap<String, Vec<(usize, String, &'a Object)>> = BTreeMap::new();
        for (owner, distribution) in world.distributions.iter().enumerate() {
            let libraries = distribution.rows.keys().filter(|path| split(path).1.contains(".so"));
            for path in libraries.map(|path| format!("/{path}")) {
                let Some(object) = loader.object(&path) else { continue };
                let names: BTreeSet<&str> = object.elf.soname().into_iter().chain([split(&path).1]).collect();
                for name in names {
                    providers.entry(name.to_owned()).or_default().push((owner, path.clone(), object));
                }
            }
        }
        Self(providers)
    }

    /// Loads what is missed and carried by one of the distributions `among`: something of it is imported first, as
    /// `torch` is by `torchvision`.
    pub(super) fn preload(&self, loader: &Loader<'a>, process: &mut Process<'a>, among: &BTreeSet<usize>) {
        let mut done = BTreeSet::new();
        while let Some(miss) =
            process.misses.iter().find(|miss| miss.refused.is_none() && !done.contains(&miss.name)).cloned()
        {
            done.insert(miss.name.clone());
            let carried = self.0.get(&miss.name).into_iter().flatten();
            let Some((_, path, _)) = carried.into_iter().find(|(owner, ..)| among.contains(owner)) else {
                continue;
            };
            if loader.open(process, path, Search::Preloaded).is_some() {
                process.misses.retain(|other| other.name != miss.name);
            }
        }
    }

    /// Returns whether one of the distributions `among` carries a library of this name.
    pub(super) fn has(&self, name: &str, among: &BTreeSet<usize>) -> bool {
        self.0.get(name).into_iter().flatten().any(|(owner, ..)| among.contains(owner))
    }

    /// The libraries of each of the distributions `among` that are linked with those of another one, by the two; but for
    /// CUDA's, which are apart.
    pub(super) fn linked(
        &self,
        loader: &Loader<'a>,
        world: &World<'_>,
        among: &BTreeSet<usize>,
    ) -> BTreeMap<(usize, usize), Vec<String>> {
        let mut linked: BTreeMap<(usize, usize), Vec<String>> = BTreeMap::new();
        for (path, _, object) in loader.objects() {
            let Some(owner) = world.owner(&path).filter(|owner| among.contains(owner)) else { continue };
            for other in self.carriers(object).into_iter().filter(|carrier| *carrier != owner) {
                linked.entry((owner, other)).or_default().push(path.clone());
            }
        }
        linked
    }

    /// The distributions that carry what an object needs, but for libraries of CUDA.
    pub(super) fn carriers(&self, object: &Object) -> BTreeSet<usize> {
        let needed = object.elf.dynamic.iter().flat_map(|dynamic| &dynamic.needed);
        let needed = needed.filter(|name| Component::of_library(name).is_none());
        let carriers = needed.flat_map(|name| self.0.get(name).into_iter().flatten());
        carriers.map(|(carrier, ..)| *carrier).collect()
    }

    /// Everything that one of the distributions `among` carries.
    pub(super) fn carried<'b>(&'b self, among: &'b BTreeSet<usize>) -> impl Iterator<Item = &'a Object> + 'b {
        let all = self.0.values().flatten();
        all.filter(|(owner, ..)| among.contains(owner)).map(|(_, _, object)| *object)
    }
}
