//! Sources: where an image that others made is, and what is read of it.
//!
//! A place of any kind gives documents and blobs (see [`Blobs`]); everything else is the same for all of them. Nothing
//! read is used before it was held against its digest, but for a layer's facts that were recorded when it was.
#![allow(clippy::disallowed_methods, reason = "sources are files and registries")]

mod archive;
mod attached;
mod containerd;
mod docker;
mod documents;
mod engine;
mod error;
mod layout;
mod registry;
mod scan;
mod selector;
mod whole;

use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use crate::net::engine::{ContainerEngine, Engines};
use crate::net::registry::Registries;
use crate::oci::image::MediaType;
use crate::oci::{Architecture, Descriptor, Digest, Hasher, ImageReference};
use crate::place::ImagePlace;
use crate::plain_file;
use crate::pool;
use crate::store::{FileIdentity, Store};

use archive::IndexedTar;

pub use attached::{SignedImage, signed_image};
pub use documents::{DocumentRoot, open_documents};
pub use error::SourceError;
pub use scan::{scan, scan_to_build};
pub use whole::{AttachedTree, AttachmentLink, WholeDocument, WholeImage};

/// The layers that are downloaded at once: more share the same line.
const DOWNLOADS: usize = 4;

/// The blobs of an image.
pub trait Blobs: fmt::Debug + Send + Sync {
    /// Opens a blob as a stream of its bytes, which nobody has verified yet. An error of kind
    /// [`io::ErrorKind::NotFound`] says that there is no such blob.
    fn open(&self, blob: &Descriptor) -> io::Result<Box<dyn Read + Send>>;

    /// The size of a blob in bytes, where that is told without reading it.
    fn size(&self, blob: &Descriptor) -> io::Result<Option<u64>>;

    /// The file that is the blob, where a file is.
    fn file(&self, _blob: &Descriptor) -> Option<PathBuf> {
        None
    }

    /// Returns whether the blobs come by a network, each under its digest: what is known of one holds for it, and it is
    /// verified when it comes.
    fn is_remote(&self) -> bool {
        false
    }

    /// Brings a blob into the store in a way of its own; gives whether there is one.
    fn fetch(
        &self,
        _blob: &Descriptor,
        _store: &Store,
        _progress: &(dyn Fn(u64) + Sync),
    ) -> io::Result<bool> {
        Ok(false)
    }

    /// The identity of the file that has the blob's bytes, where there is one: while it does not change, neither do they.
    fn identity(&self, blob: &Descriptor) -> Option<FileIdentity> {
        FileIdentity::at(&self.file(blob)?)
    }
}

/// An image of which the documents were read, and whose layers can be.
#[derive(Debug, Clone)]
pub struct SourceImage {
    /// Its place, as the user would write it.
    pub place: String,
    /// The manifest's digest, where the source has a manifest.
    pub digest: Option<Digest>,
    /// The config's bytes, as they are.
    pub config: Vec<u8>,
    /// The architecture that its config names.
    pub architecture: Architecture,
    /// The config's environment: `NAME=value`.
    pub env: Vec<String>,
    /// Bottom first.
    pub layers: Vec<SourceLayer>,
    /// The manifest, where the source has one.
    pub manifest: Option<SourceManifest>,
    blobs: Arc<dyn Blobs>,
}

/// The manifest of a [`SourceImage`], as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceManifest {
    /// OCI's or docker's.
    pub media_type: MediaType,
    /// The text.
    pub bytes: Vec<u8>,
}

/// A layer of a [`SourceImage`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLayer {
    /// With the media type of OCI, whatever the source's is.
    pub descriptor: Descriptor,
    /// <https://github.com/opencontainers/image-spec/blob/main/config.md>
    pub diff_id: Digest,
}

/// The ways to images that are not files.
#[derive(Clone, Copy)]
pub struct SourceAccess<'a> {
    /// The registries, and the store with what is known of them.
    pub registries: &'a Registries,
    /// The engines.
    pub engines: &'a Engines,
}

/// Opens the image at `place`; of an image for several platforms the one of Linux on `architecture`, or on this machine's.
///
/// Only documents are read. That every layer is there, with the size it should have, is checked as far as the source
/// tells without reading them. An image that turns out to be of another architecture than the one asked for is
/// [refused](SourceError::Architecture), and so is one of an [unknown](SourceError::UnknownArchitecture) architecture.
pub fn open(
    place: &ImagePlace,
    architecture: Option<Architecture>,
    access: SourceAccess<'_>,
) -> Result<SourceImage, SourceError> {
    match place {
        ImagePlace::OciLayout { directory, tag } => {
            let (directory, tag) = selector::split(directory, tag.as_deref());
            layout::open(&directory, tag.as_deref(), architecture, &place.to_string())
        }
        ImagePlace::OciArchive { file, tag } => {
            let (file, tag) = selector::split(file, tag.as_deref());
            archive::open(&IndexedTar::open(&file)?, &file, tag.as_deref(), architecture, &place.to_string())
        }
        ImagePlace::DockerArchive { file, tag } => {
            let (file, tag) = selector::split(file, tag.as_deref());
            docker::open(&IndexedTar::open(&file)?, &file, tag.as_deref(), architecture, &place.to_string())
        }
        ImagePlace::Registry(reference) => {
            let opened = registry::open(reference, architecture, &place.to_string(), access.registries);
            opened.map_err(|error| looked_up_in_docker(error, reference, access.engines))
        }
        ImagePlace::Engine { engine, name } => {
            engine::open(*engine, name, architecture, &place.to_string(), access)
        }
    }
}

/// Says of an image that could not be read in its registry if Docker has one of its name, which was meant then.
fn looked_up_in_docker(error: SourceError, name: &ImageReference, engines: &Engines) -> SourceError {
    let SourceError::Http { image, source } = error else { return error };
    let found = engines.docker().and_then(|docker| docker.image(&name.to_string()));
    match found {
        Ok(Some(_)) => {
            SourceError::InDocker { image, place: format!("docker-daemon:{name}"), source: Box::new(source) }
        }
        _ => SourceError::Http { image, source },
    }
}

/// Reads the documents of the image at `place`, which is in a registry, a layout or an archive of one.
pub fn open_whole(place: &ImagePlace, access: SourceAccess<'_>) -> Result<WholeImage, SourceError> {
    let name = place.to_string();
    match place {
        ImagePlace::Registry(reference) => registry::open_whole(reference, &name, access.registries),
        ImagePlace::OciLayout { directory, tag } => {
            let (directory, tag) = selector::split(directory, tag.as_deref());
            let index = layout::read_index(&directory, &name)?;
            whole::of_index(&index, tag.as_deref(), layout::blobs(&directory), &name)
        }
        ImagePlace::OciArchive { file, tag } | ImagePlace::DockerArchive { file, tag } => {
            let (file, tag) = selector::split(file, tag.as_deref());
            let archive = IndexedTar::open(&file)?;
            let index = archive.entry_document(layout::INDEX_FILE, "oci-archive", &file, &name)?;
            whole::of_index(&index, tag.as_deref(), Arc::new(archive.blobs()), &name)
        }
        ImagePlace::Engine { .. } => Err(SourceError::OneImage { image: name }),
    }
}

impl SourceImage {
    /// Brings the layers' blobs into `store`, from where images are published; those that are there already stay. They are
    /// copies, which no write to the source changes; where the file system can, they share its blocks. Each is verified
    /// on its way.
    ///
    /// `progress` is told how many bytes of blobs were read since the last time.
    pub fn fetch_into(&self, store: &Store, progress: &(dyn Fn(u64) + Sync)) -> Result<(), SourceError> {
        self.fetch_some(&|_| true, store, progress)
    }

    /// [`Self::fetch_into`] for the layers whose blobs are `wanted`.
    pub fn fetch_some(
        &self,
        wanted: &dyn Fn(&Digest) -> bool,
        store: &Store,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(), SourceError> {
        let threads = if self.blobs.is_remote() { DOWNLOADS } else { 1 };
        let layers: Vec<_> = self.layers.iter().filter(|layer| wanted(&layer.descriptor.digest())).collect();
        pool::run(layers, threads, |layer| self.fetch(&layer.descriptor, store, progress)).map(drop)
    }

    fn fetch(
        &self,
        blob: &Descriptor,
        store: &Store,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(), SourceError> {
        bring(blob, &*self.blobs, &self.place, store, progress)
    }

    /// Holds the bytes of a layer, as the source has them now, against its digest: hashes them unless `store` tells that
    /// the file with them was hashed before and has not changed since.
    fn verify(
        &self,
        blob: &Descriptor,
        store: &Store,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(), SourceError> {
        let is_blob = |path: PathBuf| store.is_blob(&blob.digest(), &path);
        if self.blobs.is_remote() || self.blobs.file(blob).is_some_and(is_blob) {
            return Ok(());
        }
        let origin = self.blobs.identity(blob);
        if origin.as_ref().is_some_and(|origin| store.has_seen(&blob.digest(), origin)) {
            return Ok(());
        }
        let unreadable = |source| SourceError::blob(&self.place, &blob.digest(), source);
        let mut bytes = match self.open_blob(blob) {
            // Nothing is there that could be something else.
            Err(SourceError::MissingBlob { .. }) => return Ok(()),
            bytes => bytes?,
        };
        let mut hasher = Hasher::default();
        let size = copy(&mut bytes, &mut hasher, progress).map_err(unreadable)?;
        self.check(blob, hasher.finish(), size)?;
        self.note_seen(blob, origin, store);
        Ok(())
    }

    /// Notes that a blob was read whole from the file that had this identity before, and still has it.
    fn note_seen(&self, blob: &Descriptor, origin: Option<FileIdentity>, store: &Store) {
        if let Some(origin) = origin.filter(|origin| self.blobs.identity(blob).as_ref() == Some(origin)) {
            store.note_seen(&blob.digest(), &origin);
        }
    }

    /// The blob's bytes: one more than it should have at most.
    pub fn open_blob(&self, blob: &Descriptor) -> Result<impl Read + Send + use<>, SourceError> {
        let bytes = self.blobs.open(blob);
        let bytes = bytes.map_err(|source| SourceError::blob(&self.place, &blob.digest(), source))?;
        Ok(bytes.take(blob.size().saturating_add(1)))
    }

    /// Holds what was read against what the manifest says.
    fn check(&self, blob: &Descriptor, digest: Digest, size: u64) -> Result<(), SourceError> {
        documents::check(&self.place, blob, digest, size)
    }
}

/// Brings a blob of `blobs` into the store, where it lacks it.
fn bring(
    blob: &Descriptor,
    blobs: &dyn Blobs,
    place: &str,
    store: &Store,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(), SourceError> {
    if store.has_blob(&blob.digest(), Some(blob.size())) {
        return Ok(());
    }
    let unreadable = |source| SourceError::blob(place, &blob.digest(), source);
    if blobs.fetch(blob, store, progress).map_err(unreadable)? {
        return Ok(());
    }
    let mut writer = store.new_blob()?;
    let is_shared = match blobs.file(blob) {
        Some(path) => {
            let file = plain_file::open(&path).map_err(unreadable)?;
            writer.share(&file, progress).map_err(unreadable)?
        }
        None => false,
    };
    if !is_shared {
        let bytes = blobs.open(blob).map_err(unreadable)?;
        copy(&mut bytes.take(blob.size().saturating_add(1)), &mut writer, progress).map_err(unreadable)?;
    }
    documents::check(place, blob, writer.digest(), writer.size())?;
    writer.finish()?;
    Ok(())
}

fn copy(from: &mut impl Read, to: &mut impl io::Write, progress: &(dyn Fn(u64) + Sync)) -> io::Result<u64> {
    let mut buffer = vec![0; 256 << 10];
    let mut size = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(size),
            Ok(count) => {
                to.write_all(&buffer[..count])?;
                progress(count as u64);
                size += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
