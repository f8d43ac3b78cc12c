//! Inputs of decisions that the images of a matrix share: package indexes and suites, read once in a process.
//!
//! A single image does without: pages of indexes are large, and nobody asks for them twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::net::config::PackageSources;
use crate::net::debian::{ArchiveError, SuiteRequest, VerifiedSuite};
use crate::net::index::{Freshness, PackageIndex};

/// Indexes and suites, by what was asked for.
#[derive(Default)]
pub struct DecisionMemory {
    indexes: Mutex<Vec<RememberedIndex>>,
    suites: Mutex<BTreeMap<String, VerifiedSuite>>,
}

struct RememberedIndex {
    sources: PackageSources,
    freshness: Freshness,
    index: Arc<PackageIndex>,
}

impl DecisionMemory {
    /// The index over `sources`: that of an image before, where one asked the same places, else the one that `open` gives.
    pub(super) fn index(
        &self,
        sources: PackageSources,
        freshness: Freshness,
        open: impl FnOnce(PackageSources) -> PackageIndex,
    ) -> Arc<PackageIndex> {
        let mut known = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |it: &&RememberedIndex| it.freshness == freshness && it.sources.asks_as(&sources);
        if let Some(same) = known.iter().find(same) {
            return Arc::clone(&same.index);
        }
        let index = Arc::new(open(sources.clone()));
        if sources.projects.is_empty() {
            known.push(RememberedIndex { sources, freshness, index: Arc::clone(&index) });
        }
        index
    }

    /// The suite of a request: the one that was verified before, else the one that `open` gives.
    pub(super) fn suite(
        &self,
        request: &SuiteRequest<'_>,
        open: impl FnOnce() -> Result<VerifiedSuite, ArchiveError>,
    ) -> Result<VerifiedSuite, ArchiveError> {
        let key = format!("{request:?}");
        let known = || self.suites.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(suite) = known().get(&key) {
            return Ok(suite.clone());
        }
        let suite = open()?;
        known().insert(key, suite.clone());
        Ok(suite)
    }
}
