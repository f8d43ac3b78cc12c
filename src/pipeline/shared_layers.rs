//! Layers that a shared cache has: described by it, or brought into the store.

use super::Session;
use super::progress::Task;
use super::shared_cache::FoundLayer;
use super::shared_records;
use crate::failure::{Failure, Result};
use crate::image::ImageLayer;
use crate::layer::read::LayerContent;
use crate::layer::{Written, cache, records};
use crate::net::http::HttpError;
use crate::oci::Digest;
use crate::plan::{LayerPlan, Plan};
use crate::pool;
use crate::registry_cache::RegistryCacheError;
use crate::registry_cache::entry::{CacheEntryFault, CacheTag, CachedKind, CachedLayer};

/// The entries that are asked for at once: enough to fill a line, few enough to be polite.
const AT_ONCE: usize = 6;

/// The layer of `plan` under `key`: of the store, or of a shared cache.
pub(super) fn recall(plan: &LayerPlan, key: &Digest, session: &Session<'_>) -> Option<Written> {
    cache::recall(&session.store, key).or_else(|| taken(&look_up(plan, key, session)?, key, session))
}

/// Asks the caches for all layers of `plan` that the store lacks, several at once.
pub(super) fn prepare(plan: &Plan, session: &Session<'_>) -> Result<()> {
    if !session.shared.is_read() {
        return Ok(());
    }
    session.progress.stage("asking the cache for layers");
    let layers = plan.layers.iter().filter(|layer| !matches!(layer, LayerPlan::Base(_)));
    let layers: Vec<(&LayerPlan, Digest)> = layers.map(|layer| (layer, layer.key())).collect();
    let is_missing = |(_, key): &&(&LayerPlan, Digest)| cache::recall(&session.store, key).is_none();
    let missing: Vec<_> = layers.iter().filter(is_missing).collect();
    let looked_up = pool::run(&missing, AT_ONCE, |(layer, key)| {
        Ok::<_, RegistryCacheError>(look_up(layer, key, session))
    })?;
    // Where all are there nobody needs to know what is in them.
    if session.shared.leaves_blobs() && looked_up.iter().all(Option::is_some) {
        return Ok(());
    }
    pool::run(missing, AT_ONCE, |(layer, key)| {
        recall(layer, key, session);
        Ok(())
    })
    .map(drop)
}

/// All layers of `plan`, where each is in the store or stays in a cache; `None` where one has to be made, or where they are
/// wanted in the store.
pub(super) fn all_left(plan: &Plan, session: &Session<'_>) -> Option<Vec<ImageLayer>> {
    if !session.shared.is_read() || !session.shared.leaves_blobs() {
        return None;
    }
    plan.layers.iter().map(|layer| left(layer, session)).collect()
}

fn left(plan: &LayerPlan, session: &Session<'_>) -> Option<ImageLayer> {
    if let LayerPlan::Base(layer) = plan {
        let unpacked = records::content(&session.store, &layer.descriptor.digest());
        let unpacked = unpacked.map_or(0, |content| content.unpacked);
        let base = CachedLayer { descriptor: layer.descriptor.clone(), diff_id: layer.diff_id, unpacked };
        return Some(base.into_image_layer(plan.title()));
    }
    let key = plan.key();
    if let Some(written) = cache::recall(&session.store, &key) {
        return Some(image_layer(plan.title(), written));
    }
    let found = look_up(plan, &key, session)?;
    session.shared.leave(&found);
    Some(found.layer.into_image_layer(plan.title()))
}

/// Returns whether a cache has the layer of `plan` under `key`.
pub(super) fn is_shared(plan: &LayerPlan, key: &Digest, session: &Session<'_>) -> bool {
    look_up(plan, key, session).is_some()
}

/// The layer that a cache has for `key`, if it is believed.
fn look_up(plan: &LayerPlan, key: &Digest, session: &Session<'_>) -> Option<FoundLayer> {
    let is_pinned = || session.shared.pins().is_none_or(|pins| pins.contains_key(key));
    if !session.shared.is_read() || matches!(plan, LayerPlan::Base(_)) || !is_pinned() {
        return None;
    }
    let tag = CacheTag { kind: CachedKind::Layer, key: *key };
    session.shared.found(key, || {
        session.shared.ask(session.progress, |cache, source| {
            let Some(layer) = cache.layer(key, &plan.media_type())? else { return Ok(None) };
            accept(key, &layer, session).map_err(|fault| cache.wrong(&tag, fault))?;
            if session.shared.is_lost(&layer.descriptor.digest()) {
                return Ok(None);
            }
            Ok(Some(FoundLayer { layer, tag, source: source.clone() }))
        })
    })
}

/// Holds a layer against the lock, where that pins layers.
pub(super) fn accept(
    key: &Digest,
    layer: &CachedLayer,
    session: &Session<'_>,
) -> Result<(), CacheEntryFault> {
    let Some(pins) = session.shared.pins() else { return Ok(()) };
    let pinned = pins.get(key).ok_or(CacheEntryFault::NotPinned)?;
    let (digest, size) = (layer.descriptor.digest(), layer.descriptor.size());
    match pinned.difference(digest, size, layer.diff_id) {
        None => Ok(()),
        Some((what, expected, got)) => Err(CacheEntryFault::Pinned { what, expected, got }),
    }
}

/// The layer that a cache has: described, where its blob may stay there, else brought.
fn taken(found: &FoundLayer, key: &Digest, session: &Session<'_>) -> Option<Written> {
    let taken = match session.shared.leaves_blobs() {
        true => described(found, session).or_else(|| brought(found, key, session)),
        false => brought(found, key, session),
    };
    if taken.is_none() {
        session.shared.give_up(key);
    }
    taken
}

/// A layer of which a cache has the facts as well.
fn described(found: &FoundLayer, session: &Session<'_>) -> Option<Written> {
    let digest = found.layer.descriptor.digest();
    shared_records::bring_facts(&digest, found.layer.diff_id, session);
    let content = records::content(&session.store, &digest)?;
    session.shared.leave(found);
    Some(written(&found.layer, content))
}

/// Brings a layer into the store, and reads it: nothing is believed of it that its bytes tell.
fn brought(found: &FoundLayer, key: &Digest, session: &Session<'_>) -> Option<Written> {
    let FoundLayer { layer, tag, source } = found;
    let (descriptor, store) = (&layer.descriptor, &session.store);
    let digest = descriptor.digest();
    let content = source.ask(session.progress, |cache| {
        let meter = session.progress.start(Task::Download, &tag.to_string(), Some(descriptor.size()));
        cache.fetch(tag, descriptor, store, &|bytes| meter.add(bytes))?;
        let unread = |error: records::StoredLayerError| {
            cache.wrong(tag, CacheEntryFault::Layer { reason: Failure::from(error).to_string() })
        };
        let content = records::learn_anew(store, &digest).map_err(unread)?;
        match (layer.diff_id, content.diff_id) {
            // The blob is nobody's, and what was learned of it is true.
            (expected, got) if expected != got => {
                Err(cache.wrong(tag, CacheEntryFault::DiffId { digest, expected, got }))
            }
            _ => Ok(Some(content)),
        }
    })?;
    let written = written(layer, content);
    cache::keep(store, key, &written).ok()?;
    Some(written)
}

/// Brings the layer of `key` into the store: a layer of a finished image in a cache.
pub(super) fn bring_found(found: &FoundLayer, key: &Digest, session: &Session<'_>) -> bool {
    brought(found, key, session).is_some()
}

/// Brings a blob that stays in a cache into the store; does nothing about others. One that is gone meanwhile is noted.
pub(super) fn bring_left(digest: &Digest, session: &Session<'_>) -> Result<(), HttpError> {
    let Some(found) = session.shared.left(digest) else { return Ok(()) };
    if session.store.has_blob(digest, Some(found.layer.descriptor.size())) {
        return Ok(());
    }
    let fetched = found.source.ask(session.progress, |cache| {
        cache.fetch(&found.tag, &found.layer.descriptor, &session.store, &|_| ()).map(Some)
    });
    if fetched.is_none() {
        session.shared.lose(*digest);
    }
    Ok(())
}

fn written(layer: &CachedLayer, content: LayerContent) -> Written {
    Written {
        media_type: layer.descriptor.media_type().clone(),
        annotations: layer.descriptor.annotations(),
        digest: layer.descriptor.digest(),
        size: layer.descriptor.size(),
        diff_id: layer.diff_id,
        unpacked: content.unpacked,
        facts: content.facts.of_loader(),
    }
}

/// A finished layer of an image, `title` to people.
pub(super) fn image_layer(title: String, written: Written) -> ImageLayer {
    ImageLayer {
        title,
        media_type: written.media_type,
        annotations: written.annotations,
        digest: written.digest,
        size: written.size,
        diff_id: written.diff_id,
        unpacked: written.unpacked,
    }
}
