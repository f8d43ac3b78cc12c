//! The audit of a cache: layers are made again, by themselves, and held against what it has.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Locking, PlanOrder, Planned, Session, pinning, plan, write};
use crate::failure::{Failure, Result};
use crate::image::ImageLayer;
use crate::layer::records;
use crate::oci::{Digest, ImageReference};
use crate::plan::LayerPlan;
use crate::registry_cache::entry::{CacheTag, CachedKind, CachedLayer};
use crate::registry_cache::{CacheRepository, RecordsName, RegistryCacheError};

/// An order to audit a cache.
#[derive(Debug)]
pub struct AuditOrder<'a> {
    /// The cache.
    pub place: &'a ImageReference,
    /// The recipe whose layers are made again.
    pub recipe: &'a Path,
    /// The percentage of those of them that the cache has.
    pub sample: u8,
}

/// The result of an audit.
#[derive(Debug, Default)]
pub struct Audit {
    /// The number of the recipe's layers that the cache has.
    pub found: usize,
    /// The titles of the layers that were made again.
    pub compared: Vec<String>,
    /// Sentences on the entries that are false.
    pub differences: Vec<String>,
}

/// A layer of a recipe that a cache has.
struct AuditedLayer<'a> {
    plan: &'a LayerPlan,
    key: Digest,
    layer: CachedLayer,
}

/// Makes a sample of the layers of a recipe in the store of `fresh`, which is empty, and compares them and what is known of
/// them with the entries of a cache. An entry that is wrong by itself is a difference, too.
pub fn audit(order: &AuditOrder<'_>, session: &Session<'_>, fresh: &Session<'_>) -> Result<Audit> {
    let order_of_plan =
        PlanOrder { recipe: order.recipe.into(), platforms: &[], locking: Locking::Preferred };
    let planned = plan(&order_of_plan, session)?;
    let cache = CacheRepository::new(session.registries.repository(order.place)?);
    session.progress.stage(&format!("asking the cache {}", cache.place()));
    let mut audit = Audit::default();
    for planned in &planned {
        audit_platform(planned, &cache, order.sample, fresh, &mut audit)?;
    }
    Ok(audit)
}

fn audit_platform(
    planned: &Planned,
    cache: &CacheRepository,
    percent: u8,
    fresh: &Session<'_>,
    audit: &mut Audit,
) -> Result<()> {
    let mut found = Vec::new();
    for layer in planned.plan.layers.iter().filter(|layer| !matches!(layer, LayerPlan::Base(_))) {
        let key = layer.key();
        if let Some(Some(cached)) = differing(cache.layer(&key, &layer.media_type()), audit)? {
            found.push(AuditedLayer { plan: layer, key, layer: cached });
        }
    }
    audit.found += found.len();
    let sample = sampled(found, percent);
    let keys: BTreeSet<Digest> = sample.iter().map(|audited| audited.key).collect();
    planned.restore(fresh)?;
    let made = write::write_some(&planned.plan, &planned.sources, &keys, fresh)?;
    for audited in &sample {
        audit.compared.push(audited.plan.title());
        let Some(layer) = made.get(&audited.key) else { continue };
        let own = pinning::pinned(audited.plan, layer.clone(), fresh)?;
        let (descriptor, tag) =
            (&audited.layer.descriptor, CacheTag { kind: CachedKind::Layer, key: audited.key });
        let differs = own.difference(descriptor.digest(), descriptor.size(), audited.layer.diff_id);
        audit.differences.extend(differs.map(|(what, own, got)| {
            format!("`{tag}` ({}): {what} is {got}, and {own} when it is made anew", layer.title)
        }));
        audit.compare_facts(cache, layer, own.facts)?;
    }
    Ok(())
}

impl Audit {
    /// Compares what a cache says of a layer that was made again with what was learned of it.
    fn compare_facts(&mut self, cache: &CacheRepository, layer: &ImageLayer, own: Digest) -> Result<()> {
        let key = records::key(&layer.digest);
        let name = RecordsName { kinds: &records::KINDS, key: &key };
        let Some(Some((facts, _))) = differing(cache.records(name), self)? else { return Ok(()) };
        if facts != own {
            let (tag, title) = (name.tag(), &layer.title);
            let told =
                format!("`{tag}` (what is known of {title}): it is {facts}, and {own} when it is made anew");
            self.differences.push(told);
        }
        Ok(())
    }
}

/// The answer of a cache; `None` for an entry that is wrong by itself, which is noted.
fn differing<T>(answer: Result<T, RegistryCacheError>, audit: &mut Audit) -> Result<Option<T>> {
    match answer {
        Err(error @ RegistryCacheError::Wrong { .. }) => {
            audit.differences.push(Failure::from(error).to_string());
            Ok(None)
        }
        answer => Ok(Some(answer?)),
    }
}

/// A sample of so many percent that nobody can foresee; one at least.
fn sampled(mut found: Vec<AuditedLayer<'_>>, percent: u8) -> Vec<AuditedLayer<'_>> {
    fastrand::shuffle(&mut found);
    let count = (found.len() * usize::from(percent)).div_ceil(100);
    found.truncate(count);
    found
}
