//! Inputs of decisions that the images of a matrix share: package indexes and suites, read once in a process.
//!
//! A single image does without: pages of indexes are large, and nobody asks for them twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Session;
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

/// The index over `sources`: that of an image before, where one asked the same places.
pub fn index(sources: PackageSources, freshness: Freshness, session: &Session<'_>) -> Arc<PackageIndex> {
    let (http, store) = (Arc::clone(&session.http), session.store.clone());
    let index = Arc::new(PackageIndex::new(http, store, sources.clone(), freshness));
    let Some(memory) = &session.memory else { return index };
    let mut known = memory.indexes.lock().unwrap_or_else(PoisonError::into_inner);
    let same = |it: &&RememberedIndex| it.freshness == freshness && it.sources.asks_as(&sources);
    if let Some(same) = known.iter().find(same) {
        return Arc::clone(&same.index);
    }
    if sources.projects.is_empty() {
        known.push(RememberedIndex { sources, freshness, index: Arc::clone(&index) });
    }
    index
}

/// The suite of a request: the one that was verified before, else the one that `open` gives.
pub fn suite(
    request: &SuiteRequest<'_>,
    session: &Session<'_>,
    open: impl FnOnce() -> Result<VerifiedSuite, ArchiveError>,
) -> Result<VerifiedSuite, ArchiveError> {
    let Some(memory) = &session.memory else { return open() };
    let key = format!("{request:?}");
    let known = || memory.suites.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(suite) = known().get(&key) {
        return Ok(suite.clone());
    }
    let suite = open()?;
    known().insert(key, suite.clone());
    Ok(suite)
}
