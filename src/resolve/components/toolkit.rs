//! The toolkits that the chosen components make, and the demands of each on its parts.

use uv_normalize::PackageName;
use uv_pep440::{Version, VersionSpecifier, VersionSpecifiers};

use super::{ComponentChoice, Demanded, Offer, Supply, majors_of};
use crate::cuda::{Component, toolkit_version};
use crate::pypa::metadata::Requirement;
use crate::resolve::demand::Demander;

/// The version of the toolkit of a CUDA major: that of the runtime that is served, or else of the base's toolkit that
/// other parts come from, or else of the runtime that pip installs, or else of the newest part that is numbered so.
pub(super) fn toolkit<'a>(
    choices: impl Iterator<Item = &'a ComponentChoice> + Clone,
    major: u32,
    offer: &Offer<'_>,
) -> Option<(u32, u32)> {
    let of_major = || choices.clone().filter(move |choice| choice.cuda_major == major);
    let runtime =
        of_major().find(|choice| choice.is_runtime()).and_then(|choice| toolkit_version(&choice.version));
    let of_base = || {
        let directories = of_major().filter_map(|choice| match &choice.supply {
            Supply::Base(copy) => toolkit_of_directory(copy.toolkit.as_deref()?),
            Supply::Wheel { .. } => None,
        });
        let default = offer.default_toolkit.and_then(|path| toolkit_of_directory(path));
        directories.chain(default).find(|version| version.0 == major)
    };
    let of_part = || {
        let parts =
            of_major().filter(|choice| choice.component.is_some_and(Component::is_numbered_as_toolkit));
        parts.filter_map(|choice| toolkit_version(&choice.version)).max()
    };
    runtime.or_else(of_base).or_else(|| offer.of_pip.get(&major).copied()).or_else(of_part)
}

/// `(12, 2)` of `usr/local/cuda-12.2`.
fn toolkit_of_directory(directory: &str) -> Option<(u32, u32)> {
    let (_, version) = directory.rsplit_once("cuda-")?;
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The demands of each toolkit on its parts: a version that names its directory, and parts that are not older than it.
pub(super) fn demands_of_toolkits(choices: &[ComponentChoice], offer: &Offer<'_>) -> Vec<Demanded> {
    let mut demands = Vec::new();
    let by_others =
        |choice: &&ComponentChoice| choice.demands.iter().any(|demand| demand.by != Demander::Layout);
    let demanded = choices.iter().filter(by_others);
    for major in majors_of(choices) {
        if toolkit(demanded.clone(), major, offer).is_none() {
            demands.extend(runtime_requirement(major).map(|requirement| (Demander::Layout, requirement)));
        }
        let Some((_, minor)) = toolkit(choices.iter(), major, offer) else { continue };
        let by = Demander::Toolkit { major: u64::from(major), minor: u64::from(minor), newest: None };
        let floor = Version::new([u64::from(major), u64::from(minor)]);
        let follows = |choice: &&ComponentChoice| {
            let follows = |component: Component| {
                component.is_numbered_as_toolkit() && component.numbers_in_soname(major.into()) == 1
            };
            choice.cuda_major == major && choice.component.is_some_and(follows) && !choice.is_runtime()
        };
        let parts = choices.iter().filter(follows);
        demands.extend(parts.map(|choice| (by.clone(), at_least(&choice.distribution, &floor))));
        demands.extend(demands_of_compiler(choices, major));
    }
    demands
}

/// The demands of `nvcc` on the headers and the compiler that it starts: those of another minor do not work with it.
fn demands_of_compiler(choices: &[ComponentChoice], major: u32) -> Vec<Demanded> {
    let is = |name: &'static str| {
        move |choice: &&ComponentChoice| {
            choice.cuda_major == major && choice.component.is_some_and(|component| component.name() == name)
        }
    };
    let Some(nvcc) = choices.iter().find(is("cuda-nvcc")) else { return Vec::new() };
    let Some((_, minor)) = toolkit_version(&nvcc.version) else { return Vec::new() };
    let floor = Version::new([u64::from(major), u64::from(minor)]);
    let parts = ["cuda-crt", "nvvm"].into_iter().filter_map(|name| choices.iter().find(is(name)));
    parts.map(|part| (nvcc.demander(), at_least(&part.distribution, &floor))).collect()
}

fn runtime_requirement(major: u32) -> Option<Requirement> {
    Component::named("cuda-runtime")?.distribution(major).parse().ok()
}

pub(super) fn at_least(distribution: &PackageName, floor: &Version) -> Requirement {
    requirement(distribution, [VersionSpecifier::greater_than_equal_version(floor.clone())])
}

pub(in crate::resolve) fn requirement(
    distribution: &PackageName,
    specifiers: impl IntoIterator<Item = VersionSpecifier>,
) -> Requirement {
    let specifiers: VersionSpecifiers = specifiers.into_iter().collect();
    let specifiers = Some(specifiers).filter(|specifiers| !specifiers.is_empty());
    Requirement {
        name: distribution.clone(),
        extras: Box::default(),
        version_or_url: specifiers.map(uv_pep508::VersionOrUrl::VersionSpecifier),
        marker: uv_pep508::MarkerTree::TRUE,
        origin: None,
    }
}
