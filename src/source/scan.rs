//! Reads the layers of an image, each once and then never again.

use std::collections::BTreeMap;

use super::{SourceError, SourceImage, SourceLayer};
use crate::layer::read::{LayerContent, Passed};
use crate::layer::records::{self, LearnError};
use crate::oci::{Descriptor, Digest};
use crate::pool;
use crate::store::Store;

/// The number of layers that are read at once at most: each has a thread that inflates beside its own, and keeps up to
/// 40 MB of the library that passes.
const MOST_AT_ONCE: usize = 3;

/// The contents of the layers of `image`, bottom first.
///
/// A layer that was never seen is read, as many at once as `threads` says, and verified; what is learned is kept in
/// `store`, the layer is not. One that was is hashed again where its file has changed since. `progress` is told how many
/// bytes of blobs were read since the last time.
pub fn scan(
    image: &SourceImage,
    store: &Store,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Vec<LayerContent>, SourceError> {
    scan_unless(image, store, threads, progress, LayerUse::Looked)
}

/// The same for who takes the layers from `store` where that has them, whatever has become of their files since.
pub fn scan_to_build(
    image: &SourceImage,
    store: &Store,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Vec<LayerContent>, SourceError> {
    scan_unless(image, store, threads, progress, LayerUse::Built)
}

/// The use of an image's layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LayerUse {
    /// They are looked into, as they are at their place now.
    Looked,
    /// They are taken from the store: those that come by a network are brought there before they are read.
    Built,
}

fn scan_unless(
    image: &SourceImage,
    store: &Store,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
    layer_use: LayerUse,
) -> Result<Vec<LayerContent>, SourceError> {
    let mut known = BTreeMap::new();
    let mut unknown: BTreeMap<Digest, &SourceLayer> = BTreeMap::new();
    for layer in &image.layers {
        match records::content(store, &layer.descriptor.digest()) {
            Some(content) => drop(known.insert(layer.descriptor.digest(), content)),
            None => drop(unknown.insert(layer.descriptor.digest(), layer)),
        }
    }
    let is_known = |layer: &&SourceLayer| known.contains_key(&layer.descriptor.digest());
    let is_stored =
        |blob: &Descriptor| layer_use == LayerUse::Built && store.has_blob(&blob.digest(), Some(blob.size()));
    pool::run(image.layers.iter().filter(is_known), threads, |layer| match is_stored(&layer.descriptor) {
        true => Ok(()),
        false => image.verify(&layer.descriptor, store, progress),
    })?;
    let mut unknown: Vec<&SourceLayer> = unknown.into_values().collect();
    // The largest first, so that the last one to be read is small.
    unknown.sort_by_key(|layer| std::cmp::Reverse(layer.descriptor.size()));
    known.extend(read_all(image, &unknown, store, threads, progress, layer_use)?);
    let mut left = image.layers.iter().map(|layer| layer.descriptor.digest()).collect::<Vec<_>>().into_iter();
    let mut take = |digest: &Digest| {
        left.next();
        // The last time, the content need not be copied.
        match left.as_slice().contains(digest) {
            true => known.get(digest).cloned(),
            false => known.remove(digest),
        }
    };
    let contents = image.layers.iter().filter_map(|layer| Some((layer, take(&layer.descriptor.digest())?)));
    contents.map(|(layer, content)| checked(image, layer, content)).collect()
}

fn read_all(
    image: &SourceImage,
    layers: &[&SourceLayer],
    store: &Store,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
    layer_use: LayerUse,
) -> Result<BTreeMap<Digest, LayerContent>, SourceError> {
    let read = |layer: &&SourceLayer| {
        let content = match layer_use == LayerUse::Built && image.blobs.is_remote() {
            true => {
                image.fetch(&layer.descriptor, store, progress)?;
                read_layer(image, layer, store, &|_| ())?
            }
            false => read_layer(image, layer, store, progress)?,
        };
        Ok::<_, SourceError>((layer.descriptor.digest(), content))
    };
    Ok(pool::run(layers, threads.min(MOST_AT_ONCE), read)?.into_iter().collect())
}

fn read_layer(
    image: &SourceImage,
    layer: &SourceLayer,
    store: &Store,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<LayerContent, SourceError> {
    let blob = &layer.descriptor;
    let origin = image.blobs.identity(blob);
    let open = || image.open_blob(blob);
    let verify = |passed: &Passed| image.check(blob, passed.digest, passed.size);
    match records::learn(store, &blob.digest(), open, verify, progress) {
        Ok((content, _)) => {
            image.note_seen(blob, origin, store);
            Ok(content)
        }
        Err(LearnError::Blob(error)) => Err(error),
        Err(LearnError::Read(source)) => Err(SourceError::blob(&image.place, &blob.digest(), source)),
        Err(LearnError::Layer(source)) => {
            Err(SourceError::Layer { image: image.place.clone(), digest: blob.digest(), source })
        }
        Err(LearnError::Store(error)) => Err(error.into()),
    }
}

/// The content of a layer that is what the config says.
fn checked(
    image: &SourceImage,
    layer: &SourceLayer,
    content: LayerContent,
) -> Result<LayerContent, SourceError> {
    if content.diff_id == layer.diff_id {
        return Ok(content);
    }
    Err(SourceError::DiffId {
        image: image.place.clone(),
        digest: layer.descriptor.digest(),
        expected: layer.diff_id,
        actual: content.diff_id,
    })
}
