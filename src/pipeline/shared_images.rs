//! Finished images that a shared cache has, by their plans: one answer for an unchanged build.

use super::Session;
use super::base_source::BaseSource;
use super::shared_cache::FoundLayer;
use super::shared_layers::{accept, bring_found};
use crate::image::{self, Image, ImageLayer};
use crate::layer::cache;
use crate::plan::{LayerPlan, Plan};
use crate::pool;
use crate::registry_cache::RegistryCacheError;
use crate::registry_cache::entry::{CacheEntry, CacheEntryFault, CacheTag, CachedKind, CachedLayer};

/// The layers that are brought at once.
const AT_ONCE: usize = 6;

/// The image of `plan`, where a cache has it and the store lacks a layer of it. Its layers are in the store then, or stay in
/// the cache for a registry to mount.
pub(super) fn find(plan: &Plan, base: &BaseSource, session: &Session<'_>) -> Option<Image> {
    let is_added = |layer: &&LayerPlan| !matches!(layer, LayerPlan::Base(_));
    let is_here = |layer: &LayerPlan| cache::recall(&session.store, &layer.key()).is_some();
    if !session.shared.gives_images() || plan.layers.iter().filter(is_added).all(is_here) {
        return None;
    }
    session.progress.stage("asking the cache for the image");
    let tag = CacheTag { kind: CachedKind::Image, key: plan.key() };
    let (image, source) = session.shared.ask(session.progress, |cache, source| {
        let Some(entry) = cache.entry(&tag)? else { return Ok(None) };
        let image = assembled(plan, entry, session).map_err(|fault| cache.wrong(&tag, fault))?;
        Ok(Some((image, source.clone())))
    })?;
    let found =
        |layer: &ImageLayer| FoundLayer { layer: CachedLayer::of(layer), tag, source: source.clone() };
    if session.shared.leaves_blobs() {
        image.layers.iter().for_each(|layer| session.shared.leave(&found(layer)));
        return Some(image);
    }
    base.bring(session).ok()?;
    let added = plan.layers.iter().zip(&image.layers).filter(|(plan, _)| is_added(plan));
    let brought = pool::run(added, AT_ONCE, |(plan, layer)| {
        let key = plan.key();
        let is_here =
            cache::recall(&session.store, &key).is_some() || bring_found(&found(layer), &key, session);
        Ok::<bool, RegistryCacheError>(is_here)
    });
    brought.ok()?.into_iter().all(|is_here| is_here).then_some(image)
}

/// The image that the layers of an entry are under the config and the manifest of `plan`. The entry is wrong unless it has
/// this very config.
fn assembled(plan: &Plan, entry: CacheEntry, session: &Session<'_>) -> Result<Image, CacheEntryFault> {
    let (expected, got) = (plan.layers.len(), entry.layers.len());
    if expected != got {
        return Err(CacheEntryFault::Layers { expected, got });
    }
    let layers = plan.layers.iter().zip(entry.layers).map(|(plan, layer)| {
        held(plan, &layer, session)?;
        Ok(layer.into_image_layer(plan.title()))
    });
    let image = image::assemble(plan, layers.collect::<Result<_, _>>()?);
    image.ok().filter(|image| image.config.digest() == entry.config).ok_or(CacheEntryFault::OtherImage)
}

/// Holds a layer of an entry against its plan.
fn held(plan: &LayerPlan, layer: &CachedLayer, session: &Session<'_>) -> Result<(), CacheEntryFault> {
    if let LayerPlan::Base(base) = plan {
        let expected = base.descriptor.digest();
        let is_base = layer.descriptor == base.descriptor && layer.diff_id == base.diff_id;
        return if is_base { Ok(()) } else { Err(CacheEntryFault::OtherBase { expected }) };
    }
    match (plan.media_type(), layer.descriptor.media_type()) {
        (expected, got) if expected != *got => Err(CacheEntryFault::MediaType { expected, got: got.clone() }),
        _ => accept(&plan.key(), layer, session),
    }
}
