//! An image in an engine that keeps layers unpacked, by the digests of their tars: Docker's own storage, and podman's.
//!
//! Such an engine tells the image's id, the digest of its config, and its diff_ids at once, and takes minutes to write its
//! layers out. So these are saved when something is needed that nobody knows yet, and then once:
//!
//! * a config that the store has is known by the image's id;
//! * what a layer holds is known by its diff_id, whether it was saved before or is the content of a blob that was read or is
//!   in the store;
//! * the bytes of a layer come from the store, or are saved when they are asked for.
//!
//! An image is the same either way: its layers are plain tars, as engines save them.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::archive::{IndexedTar, Parts};
use super::documents::{MAX_DOCUMENT, assemble, parse_config};
use super::{Blobs, SourceAccess, SourceError, SourceImage, containerd, docker};
use crate::layer::{plain_tar, records};
use crate::net::engine::{ContainerEngine, EngineError, EngineImage};
use crate::oci::image::MediaType;
use crate::oci::{Architecture, Descriptor, Digest, ImageReference};
use crate::place::EngineKind;
use crate::store::Store;

/// Opens the image that `name` names in an engine.
pub(super) fn open(
    engine: EngineKind,
    name: &ImageReference,
    architecture: Option<Architecture>,
    place: &str,
    access: SourceAccess<'_>,
) -> Result<SourceImage, SourceError> {
    let opened: Result<Box<dyn ContainerEngine>, EngineError> = match engine {
        EngineKind::Docker => access.engines.docker().map(|docker| Box::new(docker) as _),
        EngineKind::Podman => access.engines.podman(),
        EngineKind::Containerd => {
            return containerd::open(access.engines.containerd(), name, architecture, place);
        }
    };
    let opened = opened.map_err(unreadable(place))?;
    let image = opened.image(&name.to_string()).map_err(unreadable(place))?;
    // Who has none says so when it is to be saved.
    let wanted = image.as_ref().map_or_else(|| name.to_string(), |image| image.id.to_string());
    let layers = EngineLayers {
        store: access.registries.store().clone(),
        engine: opened,
        wanted,
        place: place.to_owned(),
        saved: Mutex::default(),
    };
    match image.and_then(|image| known(&image, &layers.store, place)) {
        Some((config, descriptors)) => assemble(descriptors, config, Arc::new(layers), architecture, place),
        None => saved(layers, architecture, place),
    }
}

/// The config and the layers of an image of which everything is known.
fn known(image: &EngineImage, store: &Store, place: &str) -> Option<(Vec<u8>, Vec<Descriptor>)> {
    let mut config = Vec::new();
    if !store.has_blob(&image.id, None) {
        return None;
    }
    store.open_blob(&image.id).ok()?.take(MAX_DOCUMENT).read_to_end(&mut config).ok()?;
    // In an engine that keeps blobs the id is a manifest's.
    let is_config = parse_config(&config, place).is_ok_and(|config| config.diff_ids() == image.diff_ids);
    let layers = image.diff_ids.iter().map(|diff_id| known_layer(diff_id, store));
    is_config.then(|| Some((config, layers.collect::<Option<_>>()?)))?
}

/// The plain tar `diff_id`, where its size is known, and what it holds or its bytes.
fn known_layer(diff_id: &Digest, store: &Store) -> Option<Descriptor> {
    let blob = plain_tar::blob_of(store, diff_id).unwrap_or(*diff_id);
    let size = || plain_tar::size(store, diff_id).or_else(|_| plain_tar::size(store, &blob)).ok();
    let is_known = records::know_of_tar(store, &blob, diff_id)
        || store.has_blob(&blob, None)
        || store.has_blob(diff_id, None);
    is_known.then(|| Some(Descriptor::new(MediaType::ImageLayer, *diff_id, size()?)))?
}

/// The image as the engine saves it. What an engine tells of it the next time is noted.
fn saved(
    layers: EngineLayers,
    architecture: Option<Architecture>,
    place: &str,
) -> Result<SourceImage, SourceError> {
    let tar = layers.save()?;
    let path = Path::new(place);
    let image = docker::open(&tar, path, None, architecture, place)?;
    let store = layers.store.clone();
    store.put_blob(&image.config)?;
    for layer in image.layers.iter().filter(|layer| layer.descriptor.digest() == layer.diff_id) {
        plain_tar::note_size(&store, &layer.diff_id, layer.descriptor.size());
    }
    let parts = docker::parts(&tar, path, place)?;
    *layers.saved.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(parts));
    Ok(SourceImage { blobs: Arc::new(layers), ..image })
}

fn unreadable(place: &str) -> impl Fn(EngineError) -> SourceError {
    move |source| SourceError::Engine { image: place.to_owned(), source: Box::new(source) }
}

/// The layers of an image in an engine: those first that the store has.
struct EngineLayers {
    store: Store,
    engine: Box<dyn ContainerEngine>,
    /// The image's id, or its name where it has none.
    wanted: String,
    place: String,
    /// The blobs of the archive that the engine saved, once it has.
    saved: Mutex<Option<Arc<Parts>>>,
}

impl fmt::Debug for EngineLayers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineLayers").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

impl EngineLayers {
    /// Has the engine save the image into a file without a name.
    fn save(&self) -> Result<IndexedTar, SourceError> {
        let path = Path::new(&self.place);
        let file = self.store.scratch()?;
        let saved = file.try_clone().map_err(SourceError::read(path))?;
        self.engine.save(&self.wanted, saved).map_err(unreadable(&self.place))?;
        IndexedTar::read(file, path)
    }

    /// The blobs of the archive that the engine saves, which it does once.
    fn saved(&self) -> Result<Arc<Parts>, SourceError> {
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(parts) = &*saved {
            return Ok(Arc::clone(parts));
        }
        let parts = Arc::new(docker::parts(&self.save()?, Path::new(&self.place), &self.place)?);
        *saved = Some(Arc::clone(&parts));
        Ok(parts)
    }
}

impl Blobs for EngineLayers {
    fn open(&self, blob: &Descriptor) -> io::Result<Box<dyn Read + Send>> {
        let digest = blob.digest();
        if self.store.has_blob(&digest, Some(blob.size())) {
            return Ok(Box::new(self.store.open_blob(&digest).map_err(io::Error::other)?));
        }
        let compressed = plain_tar::blob_of(&self.store, &digest);
        match compressed.filter(|compressed| self.store.has_blob(compressed, None)) {
            Some(compressed) => plain_tar::open(&self.store, &compressed),
            None => self.saved().map_err(io::Error::other)?.open(blob),
        }
    }

    fn size(&self, _blob: &Descriptor) -> io::Result<Option<u64>> {
        Ok(None)
    }

    fn is_remote(&self) -> bool {
        true
    }
}
