//! The images of one recipe for several platforms, side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use uv_normalize::PackageName;
use uv_pep440::Version;

use crate::oci::Architecture;
use crate::resolve::demand::Demander;
use crate::resolve::{Distribution, Resolution};

/// A distribution that uses CUDA on one platform, and asks for none on another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WithoutCuda {
    /// The distribution's name.
    pub name: PackageName,
    /// Its version on the platform without CUDA.
    pub version: Version,
    /// The platform without.
    pub without: Architecture,
    /// The platform with CUDA.
    pub with: Architecture,
}

impl fmt::Display for WithoutCuda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, version, without, with } = self;
        let (without, with) = (without.platform(), with.platform());
        write!(
            f,
            "{name} {version} uses CUDA on {with}, and its wheel for {without} asks for none: it is one for processors \
             alone, unless it brings a CUDA of its own (a later version, or an index of its makers, may have others: \
             `indexes: [{{url: …, packages: [{name}]}}]`)"
        )
    }
}

/// The distributions that use CUDA on some of the platforms alone.
pub fn without_cuda(decided: &[(Architecture, &Resolution)]) -> BTreeSet<WithoutCuda> {
    let pairs = decided.iter().flat_map(|one| decided.iter().map(move |other| (one, other)));
    pairs.flat_map(|((with, one), (without, other))| lost(one, other, *with, *without)).collect()
}

/// The distributions that use CUDA in `one`, and not in `other`.
fn lost(one: &Resolution, other: &Resolution, with: Architecture, without: Architecture) -> Vec<WithoutCuda> {
    let users = users_of_cuda(other);
    let is_lost = |distribution: &&Distribution| !users.contains(&distribution.name);
    let of = |distribution: &Distribution| WithoutCuda {
        name: distribution.name.clone(),
        version: distribution.version.clone(),
        without,
        with,
    };
    let names = users_of_cuda(one).into_iter().flat_map(|user| present(user, one, other));
    names.filter_map(|name| find(other, name)).filter(is_lost).map(of).collect()
}

/// The distribution itself where `other` has it, or else those that require it and are there.
fn present<'a>(user: &'a PackageName, one: &'a Resolution, other: &Resolution) -> Vec<&'a PackageName> {
    match find(other, user) {
        Some(_) => vec![user],
        None => find(one, user).into_iter().flat_map(|found| &found.required_by).collect(),
    }
}

fn find<'a>(resolution: &'a Resolution, name: &PackageName) -> Option<&'a Distribution> {
    resolution.distributions.iter().find(|distribution| distribution.name == *name)
}

/// The distributions that make demands on components.
fn users_of_cuda(resolution: &Resolution) -> BTreeSet<&PackageName> {
    let demands = resolution.services.iter().flat_map(|service| &service.demands);
    let user = demands.filter_map(|demand| match &demand.by {
        Demander::Distribution { name, .. } | Demander::Binary { name, .. } => Some(name),
        _ => None,
    });
    user.collect()
}

/// A distribution of which platforms have different versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformVersions {
    /// The distribution's name.
    pub name: PackageName,
    /// The versions on each platform, in the order given: none where it is not installed.
    pub versions: Vec<Vec<Version>>,
}

/// The distributions whose versions differ between platforms.
pub fn platform_versions(decided: &[&Resolution]) -> Vec<PlatformVersions> {
    let mut versions: BTreeMap<&PackageName, Vec<Vec<Version>>> = BTreeMap::new();
    for (at, resolution) in decided.iter().enumerate() {
        for distribution in &resolution.distributions {
            let of_name =
                versions.entry(&distribution.name).or_insert_with(|| vec![Vec::new(); decided.len()]);
            of_name[at].push(distribution.version.clone());
        }
    }
    let differ = |versions: &[Vec<Version>]| versions.windows(2).any(|pair| pair[0] != pair[1]);
    let differing = versions.into_iter().filter(|(_, versions)| differ(versions));
    differing.map(|(name, versions)| PlatformVersions { name: name.clone(), versions }).collect()
}
