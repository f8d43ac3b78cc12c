//! Finds the wheels of a resolution in the package indexes, by their names and digests.

use std::collections::BTreeMap;
use std::sync::Arc;

use url::Url;

use crate::failure::Hinted;
use crate::net::config::Index;
use crate::net::http::Http;
use crate::net::index::PackageIndex;
use crate::oci::Digest;
use crate::pypa::simple::DistFile;
use crate::resolve::Distribution;
use crate::resolve::solve::{Catalog, CatalogError};
use crate::store::Store;

/// Why a wheel is not found again.
#[derive(Debug, thiserror::Error)]
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

/// How the wheels of a plan are found.
pub(super) enum Wheels {
    /// Of a plan that was just made: the indexes said so, by file name.
    At(BTreeMap<String, Url>),
    /// Of a plan that was recalled: these are asked for what the store lacks.
    ListedBy(Vec<Index>),
}

impl Wheels {
    /// What tells where they are. What indexes say is kept no longer than it is: their pages are large.
    pub fn whereabouts(&self, http: &Arc<Http>, store: &Store) -> Whereabouts<'_> {
        match self {
            Self::At(urls) => Whereabouts::At(urls),
            Self::ListedBy(indexes) => {
                Whereabouts::ListedBy(PackageIndex::new(Arc::clone(http), store.clone(), indexes.clone()))
            }
        }
    }
}

pub(super) enum Whereabouts<'a> {
    At(&'a BTreeMap<String, Url>),
    ListedBy(PackageIndex),
}

impl Whereabouts<'_> {
    /// Where the wheel of `distribution` is.
    pub fn url(&self, distribution: &Distribution) -> Result<Url, ListedError> {
        let gone = |wheel: String| ListedError::Gone { wheel, name: distribution.name.to_string() };
        match self {
            Self::At(urls) => {
                let wheel = distribution.wheel.filename.to_string();
                urls.get(&wheel).cloned().ok_or_else(|| gone(wheel))
            }
            Self::ListedBy(catalog) => Ok(listed(distribution, catalog)?.url),
        }
    }
}

/// The file that the indexes list for the wheel of `distribution`.
pub(super) fn listed(distribution: &Distribution, catalog: &dyn Catalog) -> Result<DistFile, ListedError> {
    let wheel = distribution.wheel.filename.to_string();
    let name = distribution.name.to_string();
    let project = catalog
        .project(&distribution.name)
        .map_err(|source| ListedError::Catalog { wheel: wheel.clone(), source })?;
    let mut found = None;
    for file in project.files.iter().filter(|file| file.filename == distribution.wheel.filename) {
        match (distribution.wheel.sha256, file.sha256) {
            (Some(expected), Some(other)) if other != expected => found = Some((expected, other)),
            _ => return Ok(file.clone()),
        }
    }
    Err(match found {
        Some((expected, found)) => ListedError::Changed { wheel, name, expected, found },
        None => ListedError::Gone { wheel, name },
    })
}
