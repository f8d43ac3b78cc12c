//! Finds the wheels of a resolution in the package indexes, by their names and digests.

use crate::oci::Digest;
use crate::pypa::simple::DistFile;
use crate::resolve::Distribution;
use crate::resolve::solve::{Catalog, CatalogError};

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

impl ListedError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
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
