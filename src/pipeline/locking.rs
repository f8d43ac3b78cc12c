//! `lock`: everything that is decided about a recipe, written beside it.

use std::collections::BTreeMap;

use super::decide::{self, Decision};
use super::lock_file::{self, KeptFromLock, LockFileError, LockStatus, Upgrade};
use super::{
    LockOrder, LockWriting, Locked, LockedPlatform, Session, pinning, platforms, read_inputs, recipe_file,
};
use crate::failure::Result;
use crate::lock::{self, Lock, LockDocument, RecipeFingerprint};
use crate::oci::Architecture;
use crate::recipe::RecipeInputs;

/// Decides what the locks beside a recipe leave open or `upgrade` gives up, and writes the locks.
pub fn lock(order: &LockOrder<'_>, session: &Session<'_>) -> Result<Locked> {
    recipe_file::check_lockable(order.recipe.file)?;
    let inputs = read_inputs(order.recipe, session)?;
    let before = match lock_file::read_locks(order.recipe) {
        // Nothing of it is kept.
        Err(LockFileError::Unusable { .. }) if order.upgrade == Upgrade::Everything => None,
        read => read?,
    };
    lock_file::check_names(&order.upgrade, &inputs, before.as_ref())?;
    let of_recipe = inputs.recipe.platforms.architectures();
    let chosen = platforms::chosen(&inputs, order.recipe.file, order.platforms)?;
    let locks = chosen.into_iter().map(|inputs| lock_platform(inputs, before.as_ref(), order, session));
    let mut locks: Vec<LockedPlatform> = locks.collect::<Result<_>>()?;
    let path = order.recipe.lock().path;
    let (is_new, writing) = (before.is_none(), order.writing);
    let write = |locks: &[LockedPlatform]| match document(of_recipe, before.as_ref(), locks) {
        Some(after) if before.as_ref() != Some(&after) => lock_file::write(&path, &after, writing),
        _ => Ok(false),
    };
    let mut changed = write(&locks)?;
    let has_pins = order.layers || locks.iter().any(|locked| !locked.lock.layers.is_empty());
    // Of a lock that would change and does not, the layers are not those of what is there.
    let is_there = writing == LockWriting::Write || !changed;
    if has_pins && is_there && pinning::pin(&mut locks, order, session)? {
        changed |= write(&locks)?;
    }
    Ok(Locked { path, locks, changed, is_new, writing })
}

/// The lock for one platform.
fn lock_platform(
    inputs: RecipeInputs,
    before: Option<&LockDocument>,
    order: &LockOrder<'_>,
    session: &Session<'_>,
) -> Result<LockedPlatform> {
    let platform = inputs.platform;
    let fingerprint = RecipeFingerprint::of(&inputs)?;
    let anew = |inputs, kept| decide::anew(inputs, kept, order.upgrade.freshness(), session);
    let (decision, before) = match LockStatus::of(before, platform, &fingerprint) {
        LockStatus::Agrees(lock) if order.upgrade == Upgrade::nothing() => {
            match decide::unless_recalled(inputs, &lock, &fingerprint, order.recipe, session)? {
                Some(decision) => (decision, Some(lock)),
                None => return Ok(LockedPlatform { platform, lock, changes: Vec::new() }),
            }
        }
        LockStatus::Agrees(lock) | LockStatus::Differs(lock, _) => {
            (anew(inputs, KeptFromLock::of(&lock, &fingerprint, &order.upgrade))?, Some(lock))
        }
        LockStatus::OfAnotherPlatform(lock) => {
            (anew(inputs, KeptFromLock::of_another_platform(&lock, &order.upgrade))?, None)
        }
        LockStatus::Missing => (anew(inputs, KeptFromLock::default())?, None),
    };
    of_decision(platform, &decision, fingerprint, before.as_ref())
}

fn of_decision(
    platform: Option<Architecture>,
    decision: &Decision,
    fingerprint: RecipeFingerprint,
    before: Option<&Lock>,
) -> Result<LockedPlatform> {
    let mut lock = decision.lock(fingerprint)?;
    // Until they are made again.
    lock.layers = before.map(|before| before.layers.clone()).unwrap_or_default();
    let changes = before.map(|before| lock::changes(before, &lock)).unwrap_or_default();
    Ok(LockedPlatform { platform, lock, changes })
}

/// The locks of a recipe: those that were made, and for its other platforms the ones from `before`.
fn document(
    of_recipe: &[Architecture],
    before: Option<&LockDocument>,
    locks: &[LockedPlatform],
) -> Option<LockDocument> {
    if of_recipe.is_empty() {
        return locks.first().map(|only| LockDocument::Single(Box::new(only.lock.clone())));
    }
    let kept = |platform: &Architecture| Some((*platform, before?.lock(Some(*platform))?.clone()));
    let mut platforms: BTreeMap<Architecture, Lock> = of_recipe.iter().filter_map(kept).collect();
    platforms.extend(locks.iter().filter_map(|locked| Some((locked.platform?, locked.lock.clone()))));
    Some(LockDocument::Platforms(platforms))
}
