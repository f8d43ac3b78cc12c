//! Looks into the wheels of a resolution: how large they are unpacked, and what private copies of CUDA would have weighed.

use std::collections::BTreeMap;

use url::Url;
use uv_normalize::PackageName;
use uv_pep440::Version;

use super::listed::listed;
use crate::failure::{Hinted, Result};
use crate::plan::Wheels;
use crate::resolve::solve::Catalog;
use crate::resolve::{Distribution, Resolution, Role};

/// The CUDA that pip would have installed for each framework by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrivateCuda {
    /// By framework: the unpacked size in bytes of the components that it asks for.
    pub by_framework: BTreeMap<String, u64>,
}

/// What is in the wheels, as far as plans and reports need it.
pub(super) struct Outlines {
    pub wheels: Wheels,
    /// Where the wheels are, by file name.
    pub urls: BTreeMap<String, Url>,
    pub private: PrivateCuda,
}

/// A wheel that an index lists without a hash.
#[derive(Debug, thiserror::Error)]
#[error("the package index gives no sha256 hash for `{wheel}`")]
pub struct NoHash {
    wheel: String,
}

impl Hinted for NoHash {
    fn hint(&self) -> Option<String> {
        Some("use an index that lists hashes: imgforge installs nothing that it cannot verify".into())
    }
}

impl Outlines {
    pub fn read(resolution: &Resolution, catalog: &dyn Catalog) -> Result<Self> {
        let (mut wheels, mut urls) = (Wheels::new(), BTreeMap::new());
        for distribution in &resolution.distributions {
            let wheel = &distribution.wheel;
            let digest = wheel.sha256.ok_or_else(|| NoHash { wheel: wheel.filename.to_string() })?;
            let file = listed(distribution, catalog)?;
            let size = catalog.outline(&file)?.entries.iter().map(|entry| entry.size).sum();
            wheels.insert(wheel.filename.to_string(), (digest, size));
            urls.insert(wheel.filename.to_string(), file.url);
        }
        let private = private_cuda(resolution, &wheels, catalog)?;
        Ok(Self { wheels, urls, private })
    }
}

/// What every framework's own components would weigh: at the version it pins, or else at the one that is served.
fn private_cuda(resolution: &Resolution, wheels: &Wheels, catalog: &dyn Catalog) -> Result<PrivateCuda> {
    let mut by_framework = BTreeMap::new();
    for distribution in &resolution.distributions {
        let Role::Package { private } = &distribution.role else { continue };
        let mut sum = 0;
        for component in private {
            let served = served(resolution, &component.distribution)
                .and_then(|served| wheels.get(&served.wheel.filename.to_string()))
                .map(|(_, size)| *size);
            let own = match &component.pinned {
                Some(version) => pinned_size(resolution, &component.distribution, version, catalog)?,
                None => None,
            };
            sum += own.or(served).unwrap_or_default();
        }
        if sum > 0 {
            by_framework.insert(format!("{} {}", distribution.name, distribution.version), sum);
        }
    }
    Ok(PrivateCuda { by_framework })
}

/// The distribution of this name; of several SONAMEs side by side, the newest.
fn served<'a>(resolution: &'a Resolution, name: &PackageName) -> Option<&'a Distribution> {
    resolution.distributions.iter().rfind(|distribution| distribution.name == *name)
}

/// The unpacked size of the wheel with the platform of the one that is served, at another version.
fn pinned_size(
    resolution: &Resolution,
    name: &PackageName,
    version: &Version,
    catalog: &dyn Catalog,
) -> Result<Option<u64>> {
    let Some(served) = served(resolution, name) else {
        return Ok(None);
    };
    if served.version == *version {
        return Ok(None);
    }
    let machine = served.wheel.filename.platform_tags().iter().find_map(|tag| machine_of(&tag.to_string()));
    let project = catalog.project(name)?;
    let same_platform = project.files.iter().find(|file| {
        let tags = file.filename.platform_tags();
        file.filename.version == *version && tags.iter().any(|tag| machine_of(&tag.to_string()) == machine)
    });
    match same_platform {
        Some(file) => Ok(Some(catalog.outline(file)?.entries.iter().map(|entry| entry.size).sum())),
        None => Ok(None),
    }
}

fn machine_of(platform_tag: &str) -> Option<&'static str> {
    let linux = platform_tag.contains("linux");
    ["x86_64", "aarch64"].into_iter().find(|machine| linux && platform_tag.ends_with(machine))
}
