//! The installed distributions of a base, offered to the solver beside those of the indexes.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use url::Url;
use uv_distribution_filename::WheelFilename;
use uv_normalize::PackageName;
use uv_pep440::Version;

use super::solve::{Catalog, CatalogError, ask_inner_for_the_rest};
use crate::base::InstalledDistribution;
use crate::pypa::metadata::{self, CoreMetadata};
use crate::pypa::simple::{DistFile, Project};

/// The scheme of the URLs of what is installed already.
const SCHEME: &str = "installed";

/// Returns whether a file stands for a distribution that the base has.
pub(super) fn is_installed(file: &DistFile) -> bool {
    file.url.scheme() == SCHEME
}

/// A catalog in which the versions that a base has stand among those of the indexes.
pub(super) struct WithInstalled<'a> {
    inner: &'a dyn Catalog,
    installed: BTreeMap<PackageName, (DistFile, Arc<CoreMetadata>)>,
}

impl<'a> WithInstalled<'a> {
    /// The catalog `inner`, with `distributions` beside its files.
    pub(super) fn new<'d>(
        inner: &'a dyn Catalog,
        distributions: impl Iterator<Item = &'d InstalledDistribution>,
    ) -> Self {
        let entries = distributions.filter_map(|distribution| {
            Some((distribution.name.clone(), (file(distribution)?, Arc::new(core_metadata(distribution)?))))
        });
        Self { inner, installed: entries.collect() }
    }

    /// The versions that the base has.
    pub(super) fn versions(&self) -> BTreeMap<PackageName, Version> {
        self.installed.iter().map(|(name, (file, _))| (name.clone(), file.filename.version.clone())).collect()
    }
}

/// A wheel that fits every target, in place of what is installed.
fn file(distribution: &InstalledDistribution) -> Option<DistFile> {
    let name = distribution.name.as_dist_info_name().into_owned();
    let filename =
        WheelFilename::from_str(&format!("{name}-{}-py3-none-any.whl", distribution.version)).ok()?;
    let url = Url::parse(&format!("{SCHEME}:///{}", distribution.directory)).ok()?;
    Some(DistFile::bare(filename, url).unlisted())
}

/// Requirements that cannot be read are left out: what is installed is there, whatever it says.
fn core_metadata(distribution: &InstalledDistribution) -> Option<CoreMetadata> {
    let mut text =
        format!("Metadata-Version: 2.1\nName: {}\nVersion: {}\n", distribution.name, distribution.version);
    for extra in &distribution.provides_extra {
        text.push_str(&format!("Provides-Extra: {extra}\n"));
    }
    for requirement in &distribution.requires_dist {
        text.push_str(&format!("Requires-Dist: {requirement}\n"));
    }
    let bare =
        || format!("Metadata-Version: 2.1\nName: {}\nVersion: {}\n", distribution.name, distribution.version);
    metadata::parse(&text).or_else(|_| metadata::parse(&bare())).ok()
}

impl Catalog for WithInstalled<'_> {
    fn project(&self, name: &PackageName) -> Result<Arc<Project>, CatalogError> {
        let Some((file, _)) = self.installed.get(name) else { return self.inner.project(name) };
        let mut project = match self.inner.project(name) {
            Ok(project) => (*project).clone(),
            Err(CatalogError::NotFound { .. }) => Project::empty(name.clone()),
            Err(error) => return Err(error),
        };
        project.files.retain(|other| other.filename.version != file.filename.version);
        project.files.push(file.clone());
        Ok(Arc::new(project))
    }

    fn metadata(&self, wheel: &DistFile) -> Result<Arc<CoreMetadata>, CatalogError> {
        match self.installed.get(&wheel.filename.name).filter(|_| is_installed(wheel)) {
            Some((_, metadata)) => Ok(metadata.clone()),
            None => self.inner.metadata(wheel),
        }
    }

    fn prefetch_metadata(&self, wheels: Vec<DistFile>) {
        self.inner.prefetch_metadata(wheels.into_iter().filter(|wheel| !is_installed(wheel)).collect());
    }

    ask_inner_for_the_rest!();
}
