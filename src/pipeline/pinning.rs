//! Layers that a lock pins: made for it, and held against what a build has.

use super::write::{Sources, WriteNeeds};
use super::{LockOrder, LockedPlatform, Locking, PlanOrder, Session, plan, write};
use crate::failure::{Hinted, Result};
use crate::image::ImageLayer;
use crate::layer::records;
use crate::lock::LockedLayer;
use crate::plan::{LayerPlan, Plan};
use crate::registry_cache::{RecordBytes, records_digest};

/// A layer that is not what its lock has of it.
#[derive(Debug, thiserror::Error)]
#[error("the layer `{title}` is not what was locked: {what} is {got}, and {expected} in the lock")]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub struct OtherLayer {
    title: String,
    what: &'static str,
    expected: String,
    got: String,
}

impl Hinted for OtherLayer {
    fn hint(&self) -> Option<String> {
        Some(
            "the same layer has the same bytes everywhere: the lock was edited, or a file of the store was; \
             `imgforge cache verify` looks for that, and `imgforge lock --layers` pins what is made here"
                .into(),
        )
    }
}

/// Makes all layers of a recipe that is locked, and pins them in its locks; gives whether these are others now. Where nobody
/// asks for it, those of the same plans stay.
pub(super) fn pin(
    locks: &mut [LockedPlatform],
    order: &LockOrder<'_>,
    session: &Session<'_>,
) -> Result<bool> {
    let order_of_plan =
        PlanOrder { recipe: order.recipe, platforms: order.platforms, locking: Locking::Required };
    let mut is_other = false;
    for planned in plan(&order_of_plan, session)? {
        let of_platform = locks.iter_mut().find(|locked| locked.platform == planned.inputs.platform);
        let Some(LockedPlatform { lock, .. }) = of_platform else { continue };
        let keys = planned.plan.layers.iter().map(LayerPlan::key);
        if !order.layers && lock.layers.iter().map(|layer| layer.key).eq(keys) {
            continue;
        }
        planned.restore(session)?;
        let layers = made(&planned.plan, &planned.sources, session)?;
        is_other |= layers != lock.layers;
        lock.layers = layers;
    }
    Ok(is_other)
}

fn made(plan: &Plan, sources: &Sources, session: &Session<'_>) -> Result<Vec<LockedLayer>> {
    let layers = write::write(plan, sources, WriteNeeds::in_the_end(), session)?;
    plan.layers.iter().zip(layers).map(|(plan, layer)| pinned(plan, layer, session)).collect()
}

/// The layer of `plan` as a lock pins it: what the store knows of it is a part of that.
pub(super) fn pinned(plan: &LayerPlan, layer: ImageLayer, session: &Session<'_>) -> Result<LockedLayer> {
    let store = &session.store;
    // Another version of imgforge may have written it: then it is read.
    records::evidence_of(store, &layer.digest)?;
    let key = records::key(&layer.digest);
    let record = |kind: &&str| Some(((*kind).to_owned(), store.record_bytes(kind, &key)?));
    let facts: RecordBytes = records::KINDS.iter().filter_map(record).collect();
    Ok(LockedLayer {
        title: layer.title,
        key: plan.key(),
        digest: layer.digest,
        size: layer.size,
        diff_id: layer.diff_id,
        facts: records_digest(&facts)?,
    })
}

/// Holds the layers of a build against its lock, where that pins them. Those whose plans have changed since are not in it.
pub(super) fn hold(plan: &Plan, layers: &[ImageLayer], session: &Session<'_>) -> Result<(), OtherLayer> {
    let Some(pins) = session.shared.pins() else { return Ok(()) };
    plan.layers.iter().zip(layers).try_for_each(|(plan, layer)| match pins.get(&plan.key()) {
        Some(pinned) => held(pinned, layer),
        None => Ok(()),
    })
}

fn held(pinned: &LockedLayer, layer: &ImageLayer) -> Result<(), OtherLayer> {
    match pinned.difference(layer.digest, layer.size, layer.diff_id) {
        None => Ok(()),
        Some((what, expected, got)) => Err(OtherLayer { title: layer.title.clone(), what, expected, got }),
    }
}
