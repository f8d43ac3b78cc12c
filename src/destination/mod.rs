//! Destinations: where an image is published.
#![allow(clippy::disallowed_methods, reason = "destinations are files and registries")]

mod archive;
mod archive_writer;
mod attached;
mod engine;
mod index;
mod layout;
mod registry;
mod whole;

use std::io;
use std::path::PathBuf;

use crate::failure::Hinted;
use crate::image::{Image, PublishedImage};
use crate::net::engine::{EngineError, Engines};
use crate::net::http::HttpError;
use crate::net::registry::{Registries, TagContended};
use crate::oci::{Architecture, Digest};
use crate::place::{EngineKind, ImagePlace};
use crate::source::{SourceError, SourceImage};
use crate::store::{Store, StoreError};

pub use attached::{Attachments, attach, check_takes_attachments, check_takes_index};
pub use engine::LayersAhead;
pub use whole::{check_holds_whole, publish_whole};

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
    #[error("`{place}` holds an image of one platform, and this one is for {}", listed(platforms))]
    Platforms { place: String, platforms: Vec<Architecture> },
    #[error("`{place}` holds one image, without those of other platforms and without what goes with it")]
    OneImage { place: String },
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
            Self::Platforms { platforms, .. } => Some(format!(
                "choose one with `--platform {}`, or publish them all: `oci:DIR`, `oci-archive:FILE`, `docker://NAME`",
                platforms.first().map_or("linux/ARCH", |first| first.platform())
            )),
            Self::OneImage { .. } => {
                Some("copy it without `--all`, or to docker://HOST/NAME, oci:DIR or oci-archive:FILE".into())
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

fn listed(platforms: &[Architecture]) -> String {
    platforms.iter().map(|it| it.platform()).collect::<Vec<_>>().join(" and ")
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

/// Returns whether a place holds an image of one platform alone.
pub fn holds_one_platform(place: &ImagePlace) -> bool {
    matches!(place, ImagePlace::DockerArchive { .. } | ImagePlace::Engine { .. })
}

/// Refuses, before anything is done, a place that is something else already.
pub fn check_place(place: &ImagePlace) -> Result<(), PublishError> {
    match place {
        ImagePlace::OciLayout { directory, .. } => layout::check(directory),
        _ => Ok(()),
    }
}

/// Refuses a place that holds an image of one platform, where several are published and none is for this machine.
pub fn check_platforms(place: &ImagePlace, platforms: &[Architecture]) -> Result<(), PublishError> {
    let is_own = |platform: &Architecture| Some(*platform) == Architecture::here();
    match holds_one_platform(place) && platforms.len() > 1 && !platforms.iter().any(is_own) {
        true => Err(PublishError::Platforms { place: place.to_string(), platforms: platforms.to_vec() }),
        false => Ok(()),
    }
}

/// The image for a place that holds one platform: the only one, or that of this machine.
fn of_one_platform<'a>(image: &'a PublishedImage, place: &ImagePlace) -> Result<&'a Image, PublishError> {
    let platforms: Vec<Architecture> = image.images().iter().map(|image| image.architecture).collect();
    let none = || PublishError::Platforms { place: place.to_string(), platforms };
    image.only_or_on(Architecture::here()).ok_or_else(none)
}

/// Publishes `image` at `place`; archives call it `name`, with a tag or without, where their places do not say it.
pub fn publish(
    image: &PublishedImage,
    place: &ImagePlace,
    name: &str,
    publishing: &Publishing<'_>,
) -> Result<(), PublishError> {
    let store = publishing.store;
    if matches!(
        place,
        ImagePlace::OciLayout { .. } | ImagePlace::OciArchive { .. } | ImagePlace::DockerArchive { .. }
    ) {
        let layers = image.layers();
        publishing.bring(&|digest| layers.contains_key(digest))?;
    }
    match place {
        ImagePlace::OciLayout { directory, tag } => {
            layout::publish(image, directory, tag.as_deref().unwrap_or("latest"), store)
        }
        // One form is both: docker's manifest beside the index of a layout, over the same blobs.
        ImagePlace::OciArchive { file, tag } => archive::publish(image, file, name, tag.as_deref(), store),
        ImagePlace::DockerArchive { file, tag } => {
            let image = of_one_platform(image, place)?.clone().into();
            archive::publish(&image, file, name, tag.as_deref(), store)
        }
        ImagePlace::Registry(reference) => registry::publish(image, reference, publishing),
        ImagePlace::Engine { engine, name } => {
            engine::publish(of_one_platform(image, place)?, *engine, name, publishing)
        }
    }
}
