//! `outdated`: what is newer than the lock of a recipe; writes nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use uv_normalize::PackageName;
use uv_pep440::Version;

use super::lock_file::{self, KeptFromLock, LockFileError, Upgrade};
use super::recipe_source::RecipeSource;
use super::sources::sources;
use super::{Session, decide, platforms, read_inputs, recipe_file};
use crate::failure::Result;
use crate::lock::{self, Lock, OutdatedItem, RecipeFingerprint};
use crate::net::index::{Freshness, PackageIndex};
use crate::pypa::simple::Project;
use crate::recipe::RecipeInputs;
use crate::resolve::solve::{Catalog, CatalogError};

/// Decides about the recipe anew, as `lock --upgrade` would, and compares that with its lock.
pub fn outdated(path: &Path, session: &Session<'_>) -> Result<Vec<OutdatedItem>> {
    recipe_file::check_lockable(path)?;
    let recipe = RecipeSource::from(path);
    let missing = || LockFileError::missing(recipe.lock());
    let locks = lock_file::read_locks(recipe)?.ok_or_else(missing)?;
    let mut items = Vec::new();
    for inputs in platforms::chosen(&read_inputs(recipe, session)?, path, &[])? {
        let locked = locks.lock(inputs.platform).ok_or_else(missing)?;
        for item in outdated_on_platform(inputs, locked, session)? {
            if !items.contains(&item) {
                items.push(item);
            }
        }
    }
    Ok(items)
}

/// The same of the image for one platform.
fn outdated_on_platform(
    inputs: RecipeInputs,
    locked: &Lock,
    session: &Session<'_>,
) -> Result<Vec<OutdatedItem>> {
    let fingerprint = RecipeFingerprint::of(&inputs)?;
    let freshness = Upgrade::Everything.freshness();
    let latest = decide::anew(inputs, KeptFromLock::default(), freshness, session)?;
    let asked = sources(&latest.inputs, BTreeMap::new(), session)?;
    // The pages have just been fetched.
    let (http, store) = (Arc::clone(&session.http), session.store.clone());
    let index = PackageIndex::new(http, store, asked, Freshness::Believed);
    let newest = newest(locked, &index)?;
    Ok(lock::outdated(locked, &latest.lock(fingerprint)?, &newest))
}

/// The newest versions of the locked distributions that an index has.
fn newest(locked: &Lock, index: &PackageIndex) -> Result<BTreeMap<PackageName, Version>, CatalogError> {
    let mut found = BTreeMap::new();
    for name in locked.distributions.iter().map(|distribution| distribution.name()) {
        // What is built from a directory or an archive has no page.
        match index.project(name) {
            Ok(project) => found.extend(newest_of(&project).map(|version| (name.clone(), version))),
            Err(CatalogError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// The newest version that is meant for everyone: no preview, and not withdrawn.
fn newest_of(project: &Project) -> Option<Version> {
    let wheels = project.files.iter().filter(|file| file.yanked.is_none()).map(|file| &file.filename.version);
    let sources = project.sources.iter().filter(|file| file.yanked.is_none()).map(|file| &file.version);
    wheels.chain(sources).filter(|version| !version.any_prerelease()).max().cloned()
}
