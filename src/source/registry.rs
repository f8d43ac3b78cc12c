//! An image in a registry. Its documents are kept in the store, its layers where a base is made of them.

use std::io::{self, Cursor, Read};
use std::sync::Arc;

use serde_json::Value;

use super::documents::{DocumentRoot, MAX_DOCUMENT, open_documents, stated_kind};
use super::whole::{self, Companions, WholeImage};
use super::{Blobs, SourceError, SourceImage};
use crate::attest::referrers_tag;
use crate::net::http::HttpError;
use crate::net::registry::{PullPlace, Registries, Repository};
use crate::oci::image::MediaType;
use crate::oci::{Architecture, Descriptor, Digest, ImageReference, docker};
use crate::store::Store;

/// Records of the digests that tags had when they were last asked for.
const TAG: &str = "registry-tag";

/// Opens the image that `reference` names.
pub(super) fn open(
    reference: &ImageReference,
    architecture: Option<Architecture>,
    place: &str,
    registries: &Registries,
) -> Result<SourceImage, SourceError> {
    at_any(reference, place, registries, |pulled| open_at(pulled, architecture, place, registries))
}

/// Opens an image with all that it names and what goes with it.
pub(super) fn open_whole(
    reference: &ImageReference,
    place: &str,
    registries: &Registries,
) -> Result<WholeImage, SourceError> {
    at_any(reference, place, registries, |pulled| {
        let repository = registries.repository_at(pulled).map_err(SourceError::http(place))?;
        let blobs = Arc::new(RegistryBlobs { repository, store: registries.store().clone() });
        let root = blobs.root(place)?;
        whole::read(root, Arc::clone(&blobs) as Arc<dyn Blobs>, &*blobs, place)
    })
}

/// The result of `open` at the first of the registry and its mirrors that has the image.
fn at_any<T>(
    reference: &ImageReference,
    place: &str,
    registries: &Registries,
    open: impl Fn(&PullPlace) -> Result<T, SourceError>,
) -> Result<T, SourceError> {
    let places = registries.pull_places(reference).map_err(SourceError::http(place))?;
    let mut refused = None;
    for pulled in places {
        match open(&pulled) {
            // Another mirror, or the registry itself, may have it.
            Err(SourceError::Http { image, source })
                if source.is_of_server() || matches!(source, HttpError::Offline { .. }) =>
            {
                refused = Some(SourceError::Http { image, source });
            }
            opened => return opened,
        }
    }
    Err(refused.unwrap_or_else(|| SourceError::Empty { image: place.to_owned() }))
}

fn open_at(
    pulled: &PullPlace,
    architecture: Option<Architecture>,
    place: &str,
    registries: &Registries,
) -> Result<SourceImage, SourceError> {
    let repository = registries.repository_at(pulled).map_err(SourceError::http(place))?;
    let blobs = RegistryBlobs { repository: repository.clone(), store: registries.store().clone() };
    let root = DocumentRoot::Descriptor(Box::new(blobs.root(place)?));
    let image = open_documents(root, Arc::new(blobs), architecture, place)?;
    image.layers.iter().for_each(|layer| repository.note_blob(&layer.descriptor.digest()));
    Ok(image)
}

/// The blobs of a repository, those first that the store has.
#[derive(Debug)]
struct RegistryBlobs {
    repository: Repository,
    store: Store,
}

impl RegistryBlobs {
    /// The manifest or index that the reference names. Without a network it is the one that a tag named last.
    fn root(&self, place: &str) -> Result<Descriptor, SourceError> {
        let reference = self.repository.image();
        let key = Digest::of(reference.to_string());
        let known = match reference.digest() {
            Some(digest) => Some(*digest),
            None => self.store.record(TAG, &key).filter(|_| self.repository.is_offline()),
        };
        if let Some(digest) = known.filter(|digest| self.store.has_blob(digest, None)) {
            let failed = |source| SourceError::blob(place, &digest, source);
            let bytes = self.stored(&digest).map_err(failed)?;
            return Ok(Descriptor::new(
                stated_kind(&bytes, MediaType::ImageManifest),
                digest,
                bytes.len() as u64,
            ));
        }
        let received = self.repository.manifest().map_err(SourceError::http(place))?;
        let digest = self.store.put_blob(&received.bytes)?;
        if reference.digest().is_none() {
            self.store.put_record(TAG, &key, &digest)?;
        }
        let kind = stated_kind(&received.bytes, received.media_type);
        Ok(Descriptor::new(kind, digest, received.bytes.len() as u64))
    }

    /// The bytes of a document in the store.
    fn stored(&self, digest: &Digest) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = self.store.open_blob(digest).map_err(io::Error::other)?;
        file.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The bytes of a document, which are kept when they are what they should be.
    fn document(&self, document: &Descriptor) -> io::Result<Vec<u8>> {
        let bytes = match is_manifest(document.media_type()) {
            true => self.repository.document(document).map_err(other)?,
            false => {
                let mut bytes = Vec::new();
                let blob = self.repository.open_blob(document).map_err(other)?;
                blob.take(document.size().min(MAX_DOCUMENT) + 1).read_to_end(&mut bytes)?;
                bytes
            }
        };
        if Digest::of(&bytes) == document.digest() {
            self.store.put_blob(&bytes).map_err(io::Error::other)?;
        }
        Ok(bytes)
    }
}

impl Companions for RegistryBlobs {
    fn referrers(&self, subject: &Digest, place: &str) -> Result<Vec<Value>, SourceError> {
        let failed = || SourceError::http(place);
        let pages = match self.repository.referrers(subject).map_err(failed())? {
            Some(pages) => pages,
            None => {
                let listed = self.repository.tagged_document(&referrers_tag(subject)).map_err(failed())?;
                listed.into_iter().collect()
            }
        };
        let entries = pages.iter().map(|page| whole::entries(page, "the list of referrers", place));
        Ok(entries.collect::<Result<Vec<_>, _>>()?.concat())
    }

    fn tagged(&self, tag: &str, place: &str) -> Result<Option<Descriptor>, SourceError> {
        let found = self.repository.tagged_manifest(tag).map_err(SourceError::http(place))?;
        found
            .map(|received| {
                let digest = self.store.put_blob(&received.bytes)?;
                let kind = stated_kind(&received.bytes, received.media_type);
                Ok(Descriptor::new(kind, digest, received.bytes.len() as u64))
            })
            .transpose()
    }
}

impl Blobs for RegistryBlobs {
    fn open(&self, blob: &Descriptor) -> io::Result<Box<dyn Read + Send>> {
        if self.store.has_blob(&blob.digest(), Some(blob.size())) {
            return Ok(Box::new(self.store.open_blob(&blob.digest()).map_err(io::Error::other)?));
        }
        match is_manifest(blob.media_type()) || is_config(blob.media_type()) {
            true => Ok(Box::new(Cursor::new(self.document(blob)?))),
            false => Ok(Box::new(self.repository.open_blob(blob).map_err(other)?)),
        }
    }

    fn size(&self, _blob: &Descriptor) -> io::Result<Option<u64>> {
        Ok(None)
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn fetch(&self, blob: &Descriptor, store: &Store, progress: &(dyn Fn(u64) + Sync)) -> io::Result<bool> {
        self.repository.fetch_blob(blob, store, progress).map_err(other)?;
        Ok(true)
    }
}

fn other(error: HttpError) -> io::Error {
    io::Error::other(error)
}

fn is_manifest(kind: &MediaType) -> bool {
    matches!(kind, MediaType::ImageIndex | MediaType::ImageManifest)
        || matches!(kind.as_ref(), docker::LIST | docker::MANIFEST)
}

fn is_config(kind: &MediaType) -> bool {
    *kind == MediaType::ImageConfig || kind.as_ref() == docker::CONFIG
}
