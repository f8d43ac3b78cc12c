//! The removal of entries that were made long ago.

use super::entry::{self, CacheTag};
use super::{CacheRepository, RegistryCacheError};
use crate::failure::Hinted;
use crate::net::http::HttpError;
use crate::net::registry::ManifestRemoval;
use crate::oci::Digest;

/// The reason why a cache was not pruned.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum CachePruneError {
    #[error("the registry of the cache `{place}` takes no removals")]
    NotTaken { place: String },
    #[error(transparent)]
    Cache(#[from] RegistryCacheError),
}

impl Hinted for CachePruneError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NotTaken { .. } => Some(
                "let the registry remove old tags itself, by the prefixes `l-`, `f-` and `i-`, or have its owner allow removals"
                    .into(),
            ),
            Self::Cache(error) => error.hint(),
        }
    }
}

/// The entries that a prune found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PrunedEntries {
    /// Removed, or to be removed.
    pub removed: usize,
    /// Those that stay.
    pub left: usize,
    /// The tags that are no entries, of which nothing is done.
    pub others: usize,
}

impl CacheRepository {
    /// Removes the manifests of the entries that were made before `limit`, in Unix seconds; with `dry_run` none. Their blobs
    /// are the registry's to collect. Tags of others stay.
    pub fn prune(&self, limit: u64, dry_run: bool) -> Result<PrunedEntries, CachePruneError> {
        let unusable = |source: HttpError| RegistryCacheError::Unusable { place: self.place.clone(), source };
        let mut pruned = PrunedEntries::default();
        for tag in self.repository.tags().map_err(unusable)? {
            if CacheTag::of(&tag).is_none() {
                pruned.others += 1;
                continue;
            }
            let Some(manifest) = self.repository.tagged_manifest(&tag).map_err(unusable)? else { continue };
            // One that tells no time is none of ours, or damaged.
            if entry::created(&manifest.bytes).is_none_or(|created| created >= limit) {
                pruned.left += 1;
                continue;
            }
            let remove = || self.repository.remove_manifest(&Digest::of(&manifest.bytes));
            if !dry_run && remove().map_err(unusable)? == ManifestRemoval::NotTaken {
                return Err(CachePruneError::NotTaken { place: self.place.clone() });
            }
            pruned.removed += 1;
        }
        Ok(pruned)
    }
}
