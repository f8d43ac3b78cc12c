//! The layers of a matrix's images: each once, whichever images have it, made in the share of one machine.

use std::collections::{BTreeMap, BTreeSet};

use super::matrix::{MatrixOrder, Shard, each, of_image};
use super::recipe_source::MatrixEntry;
use super::write;
use super::{PlanOrder, Planned, Session, image_size, plan, shared_layers, shared_writes};
use crate::failure::{Context, Failure, Result};
use crate::image::ImageLayer;
use crate::oci::{Architecture, Digest};
use crate::plan::{LayerPlan, LayerWork, LayersOfShards, stack_key};
use crate::pool;

/// The entries of a cache that are asked for at once.
const AT_ONCE: usize = 6;
/// The images whose layers are made at once: the layers of each are made beside each other.
const IMAGES_AT_ONCE: usize = 2;

/// The images of a matrix and their layers.
pub struct PlannedMatrix {
    /// In the order of the matrix.
    pub images: Vec<MatrixImagePlan>,
    /// By their keys.
    pub layers: BTreeMap<Digest, MatrixLayer>,
}

/// A planned image of a matrix.
pub struct MatrixImagePlan {
    /// The image.
    pub entry: MatrixEntry,
    /// Its platforms.
    pub platforms: Vec<Architecture>,
    /// The keys of its layers, but those of an image that it builds on.
    pub layers: Vec<Digest>,
    /// Its size in bytes, compressed, about.
    pub bytes: u64,
}

/// A layer that images of a matrix have.
pub struct MatrixLayer {
    /// The layer.
    pub plan: LayerPlan,
    /// Its share of the work.
    pub work: LayerWork,
    /// The number of images that have it.
    pub images: usize,
    /// The number of the first of them.
    first: usize,
    /// True if it is made before the images, by `make_layers`; the others are made of the layers below them.
    pub ahead: bool,
    /// True if the caches that are read have it; `None` without one.
    pub cached: Option<bool>,
}

impl PlannedMatrix {
    /// Returns whether a cache was asked for the layers.
    pub fn has_cache(&self) -> bool {
        self.layers.values().any(|layer| layer.cached.is_some())
    }

    /// The split of the layers that are made before the images.
    pub fn split(&self, count: usize) -> LayersOfShards {
        let ahead = self.layers.values().filter(|layer| layer.ahead);
        LayersOfShards::of(&ahead.map(|layer| layer.work.clone()).collect::<Vec<_>>(), count)
    }

    fn add(&mut self, entry: &MatrixEntry, planned: &[PlannedLayers]) {
        let index = self.images.len();
        let mut image = MatrixImagePlan {
            entry: entry.clone(),
            platforms: planned.iter().map(|of| of.platform).collect(),
            layers: Vec::new(),
            bytes: planned.iter().map(|of| of.bytes).sum(),
        };
        for layer in planned.iter().flat_map(|of| &of.layers) {
            let key = layer.work.key;
            let known = self.layers.entry(key).or_insert_with(|| MatrixLayer {
                plan: layer.plan.clone(),
                work: layer.work.clone(),
                images: 0,
                first: index,
                ahead: write::is_made_ahead(&layer.plan),
                cached: None,
            });
            known.work.parts.extend(layer.work.parts.iter().copied());
            known.images += usize::from(!image.layers.contains(&key));
            image.layers.push(key);
        }
        self.images.push(image);
    }
}

/// The layers of one platform of an image.
struct PlannedLayers {
    platform: Architecture,
    layers: Vec<PlannedLayer>,
    bytes: u64,
}

struct PlannedLayer {
    plan: LayerPlan,
    work: LayerWork,
}

impl PlannedLayers {
    fn of(planned: Planned) -> Self {
        let sizes = image_size::estimates(&planned.plan, &planned.resolution);
        let bytes = sizes.iter().sum();
        let layers = planned.plan.layers;
        let of_base = layers.iter().take_while(|layer| layer.is_of_base()).count();
        let base = stack_key(&layers[..of_base]);
        let made = layers.into_iter().zip(sizes).filter(|(plan, _)| !matches!(plan, LayerPlan::Base(_)));
        let layers = made.map(|(plan, bytes)| {
            let (key, in_one) = (plan.key(), plan.is_of_base());
            let parts = if in_one { BTreeSet::from([base]) } else { write::wheels_in(&plan) };
            PlannedLayer { plan, work: LayerWork { key, bytes, parts, in_one } }
        });
        Self { platform: planned.plan.architecture, layers: layers.collect(), bytes }
    }
}

/// Plans every image of a matrix; where caches are read, they are asked for each layer.
pub fn plan_matrix(matrix: &MatrixOrder<'_>, session: &Session<'_>) -> Result<PlannedMatrix> {
    matrix.progress.stage(&format!("planning {} images", matrix.entries.len()));
    let planned = each(matrix, session, |entry| {
        let planned = plan_entry(entry, matrix, session)?;
        Ok(planned.into_iter().map(PlannedLayers::of).collect::<Vec<_>>())
    })?;
    let mut all = PlannedMatrix { images: Vec::new(), layers: BTreeMap::new() };
    for (entry, planned) in matrix.entries.iter().zip(planned) {
        all.add(entry, &planned);
    }
    if session.shared.is_read() {
        matrix.progress.stage(&format!("asking the cache for {} layers", all.layers.len()));
        pool::run(&mut all.layers, AT_ONCE, |(key, layer)| {
            layer.cached = Some(shared_layers::is_shared(&layer.plan, key, session));
            Ok::<_, Failure>(())
        })?;
    }
    Ok(all)
}

fn plan_entry(entry: &MatrixEntry, matrix: &MatrixOrder<'_>, session: &Session<'_>) -> Result<Vec<Planned>> {
    let order = PlanOrder { recipe: entry.into(), platforms: &[], locking: matrix.locking };
    plan(&order, session).with_context(|| of_image(entry))
}

/// The layers of a shard.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ShardLayers {
    /// The number of layers of the shard.
    pub layers: usize,
    /// The number of those that were made, or taken from the store, and put into the cache.
    pub put: usize,
    /// Their size in bytes.
    pub put_bytes: u64,
}

/// Makes the layers of a shard that the cache lacks, and puts them there.
pub fn make_layers(matrix: &MatrixOrder<'_>, shard: Shard, session: &Session<'_>) -> Result<ShardLayers> {
    session.shared.check_written()?;
    let planned = plan_matrix(matrix, session)?;
    let mine = planned.split(shard.of).shards.swap_remove(shard.number - 1);
    let mut missing: BTreeMap<usize, BTreeSet<Digest>> = BTreeMap::new();
    let of_shard = planned.layers.iter().filter(|(key, _)| mine.keys.contains(key));
    for (key, layer) in of_shard.filter(|(_, layer)| layer.cached != Some(true)) {
        missing.entry(layer.first).or_default().insert(*key);
    }
    let count = missing.values().map(BTreeSet::len).sum::<usize>();
    matrix.progress.stage(&format!("making {count} of {} layers", mine.keys.len()));
    let made = pool::run(missing, IMAGES_AT_ONCE, |(index, keys)| {
        let entry = &planned.images[index].entry;
        make_of(entry, &keys, matrix, session).with_context(|| of_image(entry))
    })?;
    session.shared.check_written()?;
    let sizes: Vec<u64> = made.into_iter().flatten().collect();
    Ok(ShardLayers { layers: mine.keys.len(), put: sizes.len(), put_bytes: sizes.iter().sum() })
}

/// Makes those layers of an image that are under `keys`, and puts them into the cache; gives their sizes.
fn make_of(
    entry: &MatrixEntry,
    keys: &BTreeSet<Digest>,
    matrix: &MatrixOrder<'_>,
    session: &Session<'_>,
) -> Result<Vec<u64>> {
    let mut sizes = Vec::new();
    for planned in plan_entry(entry, matrix, session)? {
        planned.restore_for(keys, session)?;
        let made = write::write_ahead(&planned.plan, &planned.sources, keys, session)?;
        let layers = planned.plan.layers.iter().filter_map(|plan| Some((plan, made.get(&plan.key())?)));
        let layers: Vec<(&LayerPlan, &ImageLayer)> = layers.collect();
        shared_writes::put_layers(&layers, planned.plan.architecture, session);
        sizes.extend(made.values().map(|layer| layer.size));
    }
    Ok(sizes)
}
