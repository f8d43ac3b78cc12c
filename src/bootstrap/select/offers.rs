//! The offers of the indexes: packages by their names and by the names that they provide.

use std::collections::{BTreeMap, BTreeSet};

use strsim::levenshtein;

use super::PackageListing;
use super::error::{Chain, SelectError};
use crate::debian::packages::{IndexedPackage, Package};
use crate::debian::relation::{self, Dependency, Relation};
use crate::debian::version::DebianVersion;

/// A package and the index it is in.
#[derive(Debug, Clone, Copy)]
pub(super) struct OfferedPackage<'a> {
    pub listed: &'a IndexedPackage<'a>,
    pub index: usize,
    is_last: bool,
}

impl<'a> OfferedPackage<'a> {
    pub(super) fn package(self) -> &'a Package<'a> {
        &self.listed.package
    }
}

/// The packages by what they can be asked for as.
pub(super) struct PackageOffers<'a> {
    pub architecture: &'a str,
    /// By name, newest first.
    packages: BTreeMap<&'a str, Vec<OfferedPackage<'a>>>,
    /// By provided name, best first.
    provides: BTreeMap<String, Vec<(OfferedPackage<'a>, Option<DebianVersion>)>>,
}

impl<'a> PackageOffers<'a> {
    pub(super) fn new(indexes: &'a [PackageListing<'a>], architecture: &'a str) -> Result<Self, SelectError> {
        let mut archive = Self { architecture, packages: BTreeMap::new(), provides: BTreeMap::new() };
        for (index, PackageListing { packages, is_last }) in indexes.iter().enumerate() {
            let fits =
                |listed: &&IndexedPackage<'_>| [architecture, "all"].contains(&listed.package.architecture);
            for listed in packages.iter().filter(fits) {
                let candidate = OfferedPackage { listed, index, is_last: *is_last };
                archive.packages.entry(listed.package.name).or_default().push(candidate);
            }
        }
        for versions in archive.packages.values_mut() {
            // Stable: of one version in several indexes, the first index serves.
            versions.sort_by(|left, right| {
                let newer = right.package().version.cmp(&left.package().version);
                left.is_last.cmp(&right.is_last).then(newer)
            });
        }
        archive.index_provides()?;
        Ok(archive)
    }

    /// Only the newest version of a package can provide, as only it is ever chosen for a plain name.
    fn index_provides(&mut self) -> Result<(), SelectError> {
        for candidate in self.packages.values().filter_map(|versions| versions.first()) {
            for (name, version) in provided_by(candidate.package())? {
                self.provides.entry(name).or_default().push((*candidate, version));
            }
        }
        for providers in self.provides.values_mut() {
            providers
                .sort_by_key(|(candidate, _)| (!candidate.package().essential, candidate.package().priority));
        }
        Ok(())
    }

    pub(super) fn newest(&self, name: &str) -> Option<OfferedPackage<'a>> {
        self.packages.get(name)?.first().copied()
    }

    pub(super) fn essential(&self) -> Vec<OfferedPackage<'a>> {
        let newest = self.packages.values().filter_map(|versions| versions.first().copied());
        newest.filter(|candidate| candidate.package().essential).collect()
    }

    /// The best package for `relation`: the newest of that name, else the best provider.
    pub(super) fn candidate(&self, relation: &Relation) -> Option<OfferedPackage<'a>> {
        let named = self.packages.get(relation.name.as_str()).into_iter().flatten();
        let mut named = named.filter(|candidate| relation.admits(&candidate.package().version));
        let provided = self.provides.get(&relation.name).into_iter().flatten();
        let mut provided = provided.filter(|(_, version)| relation.admits_provided(version.as_ref()));
        named.next().copied().or_else(|| provided.next().map(|(candidate, _)| *candidate))
    }

    pub(super) fn unknown(&self, name: &str, chain: Chain) -> SelectError {
        let mut near: Vec<(usize, &str)> = self
            .packages
            .keys()
            .map(|known| (levenshtein(name, known), *known))
            .filter(|(distance, _)| *distance <= 1 + name.len() / 5)
            .collect();
        near.sort_unstable();
        let near = near.into_iter().take(3).map(|(_, known)| known.to_owned()).collect();
        SelectError::Unknown { chain, name: name.to_owned(), near }
    }

    /// The versions and providers of the packages a dependency names, none of which is enough.
    pub(super) fn available(&self, dependency: &Dependency) -> Vec<String> {
        let mut available = BTreeSet::new();
        for relation in &dependency.alternatives {
            let named = self.packages.get(relation.name.as_str()).into_iter().flatten();
            available
                .extend(named.map(|candidate| format!("{} {}", relation.name, candidate.package().version)));
        }
        available.into_iter().collect()
    }
}

/// The names that a package provides, each with its version.
pub(super) fn provided_by(
    package: &Package<'_>,
) -> Result<Vec<(String, Option<DebianVersion>)>, SelectError> {
    let provided = read_list(package, "Provides", package.provides)?.into_iter();
    Ok(provided.map(|one| (one.name, one.constraint.map(|constraint| constraint.version))).collect())
}

pub(super) fn read(
    package: &Package<'_>,
    field: &'static str,
    text: &str,
) -> Result<Vec<Dependency>, SelectError> {
    relation::parse(text).map_err(|source| SelectError::Relation {
        package: package.name.to_owned(),
        field,
        source,
    })
}

pub(super) fn read_list(
    package: &Package<'_>,
    field: &'static str,
    text: &str,
) -> Result<Vec<Relation>, SelectError> {
    relation::parse_list(text).map_err(|source| SelectError::Relation {
        package: package.name.to_owned(),
        field,
        source,
    })
}
