//! Finds the wheels of a plan in the package indexes, by their names and digests.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use url::Url;
use uv_distribution_filename::WheelFilename;
use uv_normalize::PackageName;

use super::Session;
use crate::failure::{Context, Hinted, Result};
use crate::net::config::PackageSources;
use crate::net::download::Download;
use crate::net::index::{Freshness, PackageIndex};
use crate::oci::Digest;
use crate::plan::WheelInstall;
use crate::pypa::simple::DistFile;
use crate::pypa::source_file::SourceFile;
use crate::resolve::solve::{Catalog, CatalogError};
use crate::resolve::{BuiltFrom, Resolution};

/// The reason why a wheel is not found again.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum ListedError {
    #[error("could not find `{wheel}` again")]
    Catalog { wheel: String, source: CatalogError },
    #[error("the package index does not list `{wheel}` any more")]
    Gone { wheel: String, name: String },
    #[error("the package index has another `{wheel}`: {expected} is locked, {found} is listed")]
    Changed { wheel: String, name: String, expected: Digest, found: Digest },
}

impl Hinted for ListedError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Catalog { source, .. } => source.hint(),
            Self::Gone { name, .. } => Some(format!(
                "use an index that still has it, or choose another version with `imgforge lock --upgrade={name}`"
            )),
            Self::Changed { name, .. } => Some(format!(
                "find out which of the two is right; to trust the index, run `imgforge lock --upgrade={name}`"
            )),
        }
    }
}

/// The whereabouts of a plan's wheels.
#[derive(Default)]
pub(super) struct WheelUrls {
    known: Known,
    /// The sizes of wheels in bytes, as far as indexes or a lock tell.
    sizes: BTreeMap<Digest, u64>,
}

impl Default for Known {
    fn default() -> Self {
        Self::Urls(BTreeMap::new())
    }
}

enum Known {
    /// The indexes told them while the plan was made.
    Urls(BTreeMap<Digest, Url>),
    /// These places are asked for the wheels that the store lacks.
    Sources(PackageSources),
}

impl WheelUrls {
    /// The wheels of `resolution`, at the URLs that the indexes gave for their digests.
    pub(super) fn known(urls: BTreeMap<Digest, Url>, resolution: &Resolution) -> Self {
        Self { known: Known::Urls(urls), sizes: sizes(resolution) }
    }

    /// The wheels of `resolution`, wherever `sources` list them.
    pub(super) fn listed_by(sources: PackageSources, resolution: &Resolution) -> Self {
        Self { known: Known::Sources(sources), sizes: sizes(resolution) }
    }

    /// The places that are asked for wheels; `None` where the plan has told them.
    pub(super) fn sources(&self) -> Option<&PackageSources> {
        match &self.known {
            Known::Urls(_) => None,
            Known::Sources(sources) => Some(sources),
        }
    }

    /// The size of a wheel in bytes, as far as it is known.
    pub(super) fn size(&self, wheel: &WheelInstall) -> Option<u64> {
        self.sizes.get(&wheel.wheel).copied()
    }

    /// Begins to look wheels up. The pages of indexes are large: they are kept no longer than the result is.
    pub(super) fn open(&self, session: &Session<'_>) -> OpenWheelUrls<'_> {
        let catalog = match &self.known {
            Known::Urls(_) => None,
            Known::Sources(sources) => {
                let (http, store) = (Arc::clone(&session.http), session.store.clone());
                Some(PackageIndex::new(http, store, sources.clone(), Freshness::Believed))
            }
        };
        OpenWheelUrls { urls: self, catalog }
    }
}

fn sizes(resolution: &Resolution) -> BTreeMap<Digest, u64> {
    let wheels = resolution.distributions.iter().map(|distribution| &distribution.wheel);
    wheels.filter_map(|wheel| Some((wheel.sha256?, wheel.size?))).collect()
}

/// [`WheelUrls`] with the indexes that are asked.
pub(super) struct OpenWheelUrls<'a> {
    urls: &'a WheelUrls,
    catalog: Option<PackageIndex>,
}

impl OpenWheelUrls<'_> {
    /// The download of a wheel.
    pub(super) fn download(&self, wheel: &WheelInstall) -> Result<Download> {
        let (name, digest) = (wheel.filename.clone(), wheel.wheel);
        let project = PackageName::from_str(&wheel.distribution)?;
        let url = self.url(&project, &WheelFilename::from_str(&wheel.filename)?, digest)?;
        Ok(Download { url, name, digest, size: self.urls.size(wheel) })
    }

    /// The URL of the source that a wheel was built from.
    pub(super) fn source_url(&self, name: &PackageName, from: &BuiltFrom) -> Result<Url> {
        let catalog = self.catalog.as_ref().context("a source of the plan is at no known URL")?;
        Ok(listed_source(name, from, catalog)?.url)
    }

    /// The URL of a wheel of the project `name`.
    pub(super) fn url(&self, name: &PackageName, filename: &WheelFilename, digest: Digest) -> Result<Url> {
        let url = match (&self.urls.known, &self.catalog) {
            (Known::Urls(urls), _) => urls.get(&digest).cloned(),
            (Known::Sources(_), Some(catalog)) => Some(listed(name, filename, Some(digest), catalog)?.url),
            (Known::Sources(_), None) => None,
        };
        url.context("a wheel of the plan is at no known URL")
    }
}

/// The source distribution that the indexes list for a wheel that was built.
pub(super) fn listed_source(
    name: &PackageName,
    from: &BuiltFrom,
    catalog: &dyn Catalog,
) -> Result<SourceFile, ListedError> {
    let wheel = from.file.clone();
    let project =
        catalog.project(name).map_err(|source| ListedError::Catalog { wheel: wheel.clone(), source })?;
    let is_it = |source: &&SourceFile| {
        source.filename == from.file && source.sha256.is_none_or(|digest| digest == from.digest)
    };
    let found = project.sources.iter().find(is_it);
    let found = found.ok_or_else(|| ListedError::Gone { wheel, name: name.to_string() })?;
    Ok(SourceFile { sha256: Some(from.digest), ..found.clone() })
}

/// The file that the indexes list for a wheel of the project `name`.
pub(super) fn listed(
    name: &PackageName,
    filename: &WheelFilename,
    digest: Option<Digest>,
    catalog: &dyn Catalog,
) -> Result<DistFile, ListedError> {
    let wheel = filename.to_string();
    let project =
        catalog.project(name).map_err(|source| ListedError::Catalog { wheel: wheel.clone(), source })?;
    let mut found = None;
    for file in project.files.iter().filter(|file| file.filename == *filename) {
        match (digest, file.sha256) {
            (Some(expected), Some(other)) if other != expected => found = Some((expected, other)),
            _ => return Ok(file.clone()),
        }
    }
    let name = name.to_string();
    Err(match found {
        Some((expected, found)) => ListedError::Changed { wheel, name, expected, found },
        None => ListedError::Gone { wheel, name },
    })
}
