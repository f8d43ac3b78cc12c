//! Destinations: where an image is published.
#![allow(clippy::disallowed_methods, reason = "destinations are files and registries")]

mod archive;
mod archive_writer;
mod attached;
mod engine;
mod index;
mod layout;
mod registry;

use std::io;
use std::path::PathBuf;

use crate::failure::Hinted;
use crate::image::Image;
use crate::net::engine::{EngineError, Engines};
use crate::net::http::HttpError;
use crate::net::registry::{Registries, TagContended};
use crate::oci::Digest;
use crate::place::{EngineKind, ImagePlace};
use crate::source::{SourceError, SourceImage};
use crate::store::{Store, StoreError};

pub use attached::{Attachments, attach, check_takes_attachments};
pub use engine::LayersAhead;

/// The reason why an image could not be published.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum PublishError {
    #[error("could not write `{path}`")]
    Write { path: PathBuf, source: io::Error },
    #[error("could not read `{path}`")]
    Read { path: PathBuf, source: io::Error },
    #[error("`{path}` is neither a file nor a pipe")]
    NoFile { path: PathBuf },
    #[error("`{path}` is there and is not an OCI layout")]
    NotALayout { path: PathBuf },
    #[error("`{path}` is not an image index")]
    NotAnIndex { path: PathBuf, source: serde_json::Error },
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("could not send the image to {engine}")]
    Send { engine: EngineKind, source: io::Error },
    #[error("`{place}` takes an image alone, without what goes with it")]
    TakesNoAttachments { place: String },
    #[error("{document} of the image under the tag `{tag}` is not what the specification says")]
    Attached { document: &'static str, tag: String, source: serde_json::Error },
    #[error(transparent)]
    Contended(#[from] TagContended),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PublishError {
    fn write(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Write { path, source }
    }
}

impl Hinted for PublishError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free some space, or write to another place with -o".into())
            }
            Self::Write { .. } => Some("check the path given with -o, or write to another one".into()),
            Self::Read { .. } => {
                Some("make the file readable, or choose another directory with -o oci:DIR: it may name other images".into())
            }
            Self::NoFile { .. } => Some("name a file with -o, or `-` for standard output".into()),
            Self::NotALayout { .. } | Self::NotAnIndex { .. } => {
                Some("choose another directory with -o oci:DIR, or remove this one".into())
            }
            Self::TakesNoAttachments { .. } => {
                Some("attach and sign where the image is pushed from: `imgforge copy` to docker://HOST/NAME or oci:DIR takes --sbom and --sign-by".into())
            }
            Self::Attached { .. } => {
                Some("look at the tag with `skopeo inspect --raw`, and remove it where it is damaged".into())
            }
            Self::Contended(error) => error.hint(),
            Self::Http(error) => error.hint(),
            Self::Engine(error) => error.hint(),
            Self::Source(error) => error.hint(),
            Self::Send { source, .. } => source.hint(),
            Self::Store(error) => error.hint(),
        }
    }
}

/// The means of publishing.
pub struct Publishing<'a> {
    /// The store that has the layers.
    pub store: &'a Store,
    /// The registries.
    pub registries: &'a Registries,
    /// The engines.
    pub engines: &'a Engines,
    /// The images that have the layers which the store lacks.
    pub origins: &'a [&'a SourceImage],
    /// Brings a layer that the store lacks, and a cache has, from there; does nothing about others.
    pub cached: &'a (dyn Fn(&Digest) -> Result<(), HttpError> + Sync),
    /// Told how many bytes of blobs a registry or an engine has got since the last time.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

impl Publishing<'_> {
    /// Brings the layers that are `wanted`, and that the store lacks, from where they are.
    fn bring(&self, wanted: &dyn Fn(&Digest) -> bool) -> Result<(), PublishError> {
        let mut origins = self.origins.iter();
        Ok(origins.try_for_each(|origin| origin.fetch_some(wanted, self.store, &|_| ()))?)
    }
}

/// Publishes `image` at `place`; archives call it `name`.
pub fn publish(
    image: &Image,
    place: &ImagePlace,
    name: &str,
    publishing: &Publishing<'_>,
) -> Result<(), PublishError> {
    let store = publishing.store;
    if matches!(
        place,
        ImagePlace::OciLayout { .. } | ImagePlace::OciArchive { .. } | ImagePlace::DockerArchive { .. }
    ) {
        publishing.bring(&|digest| image.layers.iter().any(|layer| layer.digest == *digest))?;
    }
    match place {
        ImagePlace::OciLayout { directory, tag } => {
            layout::publish(image, directory, tag.as_deref().unwrap_or("latest"), store)
        }
        // One form is both: docker's manifest beside the index of a layout, over the same blobs.
        ImagePlace::OciArchive { file, tag } | ImagePlace::DockerArchive { file, tag } => {
            archive::publish(image, file, name, tag.as_deref().unwrap_or("latest"), store)
        }
        ImagePlace::Registry(reference) => registry::publish(image, reference, publishing),
        ImagePlace::Engine { engine, name } => engine::publish(image, *engine, name, publishing),
    }
}
