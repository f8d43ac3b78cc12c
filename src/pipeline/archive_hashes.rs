//! Hashes of archives beyond the sha256 of package indexes: taken of the archives themselves, and held against what was given.

use uv_normalize::PackageName;

use super::Session;
use super::locked_projects::LockedProjects;
use super::named_wheels::fetched;
use super::wheel_urls::{ListedError, listed, listed_source};
use crate::failure::{Hinted, Result};
use crate::net::download::Download;
use crate::oci::Digest;
use crate::pypa::archive_hash::ArchiveHash;
use crate::recipe::RecipeInputs;
use crate::resolve::solve::Catalog;
use crate::resolve::{AllowedArchives, Distribution, Resolution};
use crate::store::StoreError;

/// A wheel that is not the one that its index lists.
#[derive(Debug, thiserror::Error)]
#[error("`{wheel}` has not the hash that its package index lists: {expected}")]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub(super) struct OtherArchive {
    wheel: String,
    expected: ArchiveHash,
}

impl Hinted for OtherArchive {
    fn hint(&self) -> Option<String> {
        Some("ask whoever runs the index to repair it: the file is not the one that was uploaded".into())
    }
}

/// Fetches the wheels of which nobody gives the sha256, and takes that of what came: it is locked from then on.
pub(super) fn take(resolution: &mut Resolution, catalog: &dyn Catalog, session: &Session<'_>) -> Result<()> {
    let mut unproven = Vec::new();
    for distribution in resolution.distributions.iter_mut().filter(|it| it.wheel.sha256.is_none()) {
        let wheel = &mut distribution.wheel;
        let file = listed(&distribution.name, &wheel.filename, None, catalog)?;
        let digest = fetched(&file.url, session)?;
        match file.other_hash {
            Some(expected) if !is_of(&expected, &digest, session)? => {
                return Err(OtherArchive { wheel: wheel.filename.to_string(), expected }.into());
            }
            Some(_) => {}
            None => unproven.push(wheel.filename.to_string()),
        }
        wheel.sha256 = Some(digest);
    }
    if let Some(first) = unproven.first() {
        let others = match unproven.len() - 1 {
            0 => String::new(),
            count => format!(", and {count} more"),
        };
        session.progress.warn(&format!(
            "no hash is listed for {first}{others}: what came is what is locked (keep the lock beside the recipe)"
        ));
    }
    Ok(())
}

/// The only archives that requirements files and locks of other tools allow. Where they give no sha256 of the one that was
/// chosen, it is fetched and held against the hashes that they give.
pub(super) fn allowed(
    inputs: &RecipeInputs,
    locked: &LockedProjects,
    resolution: &Resolution,
    catalog: &dyn Catalog,
    session: &Session<'_>,
) -> Result<AllowedArchives> {
    let mut allowed = locked.hashes.clone();
    for (name, hashes) in &inputs.hashes {
        let digests = allowed.entry(name.clone()).or_default();
        *digests = hashes.iter().filter_map(ArchiveHash::sha256).collect();
        let others: Vec<&ArchiveHash> = hashes.iter().filter(|hash| hash.sha256().is_none()).collect();
        let chosen = resolution.distributions.iter().filter(|distribution| distribution.name == *name);
        for distribution in chosen {
            let Some(digest) = distribution.archive().filter(|digest| !digests.contains(digest)) else {
                continue;
            };
            if !others.is_empty() {
                bring(distribution, digest, name, catalog, session)?;
            }
            for hash in &others {
                if is_of(hash, &digest, session)? {
                    digests.insert(digest);
                }
            }
        }
    }
    Ok(allowed)
}

/// Brings the archive of a distribution into the store.
fn bring(
    distribution: &Distribution,
    digest: Digest,
    name: &PackageName,
    catalog: &dyn Catalog,
    session: &Session<'_>,
) -> Result<()> {
    let (filename, url) = match &distribution.built {
        Some(from) => (from.file.clone(), listed_source(name, from, catalog).map(|source| source.url)),
        None => {
            let filename = &distribution.wheel.filename;
            (filename.to_string(), listed(name, filename, Some(digest), catalog).map(|file| file.url))
        }
    };
    let url: Result<_, ListedError> = url;
    let download = Download { url: url?, name: filename, digest, size: None };
    Ok(session.http.download(&session.store, &download, &|_| {})?)
}

/// Returns whether a hash is that of a blob of the store.
fn is_of(hash: &ArchiveHash, blob: &Digest, session: &Session<'_>) -> Result<bool> {
    let unreadable = StoreError::new("read", session.store.blob_path(blob));
    Ok(hash.is_of(session.store.open_blob(blob)?).map_err(unreadable)?)
}
