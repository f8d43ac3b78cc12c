//! An image in containerd: its content store has documents and layers by their digests, as a registry has.

use std::io::{self, Read};
use std::sync::Arc;

use super::documents::{DocumentRoot, open_documents, stated_kind};
use super::{Blobs, SourceError, SourceImage};
use crate::net::engine::{ContainerdProgram, EngineError};
use crate::oci::image::MediaType;
use crate::oci::{Architecture, Descriptor, ImageReference};

/// Opens the image that `name` names.
pub(super) fn open(
    containerd: ContainerdProgram,
    name: &ImageReference,
    architecture: Option<Architecture>,
    place: &str,
) -> Result<SourceImage, SourceError> {
    let unreadable = |source| SourceError::Engine { image: place.to_owned(), source: Box::new(source) };
    let none = || EngineError::NoImage { engine: "containerd", name: name.to_string() };
    let digest = containerd.image(name).and_then(|digest| digest.ok_or_else(none)).map_err(unreadable)?;
    let bytes = containerd.document(&digest).map_err(unreadable)?;
    let kind = stated_kind(&bytes, MediaType::ImageManifest);
    let root = DocumentRoot::Descriptor(Box::new(Descriptor::new(kind, digest, bytes.len() as u64)));
    open_documents(root, Arc::new(ContentStore(containerd)), architecture, place)
}

/// The blobs of a content store.
#[derive(Debug)]
struct ContentStore(ContainerdProgram);

impl Blobs for ContentStore {
    fn open(&self, blob: &Descriptor) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(self.0.open_blob(&blob.digest()).map_err(io::Error::other)?))
    }

    fn size(&self, _blob: &Descriptor) -> io::Result<Option<u64>> {
        Ok(None)
    }

    fn is_remote(&self) -> bool {
        true
    }
}
