//! The reason why an image cannot be read.

use std::io;
use std::path::PathBuf;

use crate::failure::Hinted;
use crate::layer::read::ReadError;
use crate::net::engine::EngineError;
use crate::net::http::HttpError;
use crate::oci::tar::read::TarError;
use crate::oci::{Architecture, Digest};
use crate::store::StoreError;

/// The reason why an image cannot be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum SourceError {
    #[error("could not read `{path}`")]
    Read { path: PathBuf, source: io::Error },
    #[error("`{path}` is not an OCI layout: it has no `{missing}`")]
    NotALayout { path: PathBuf, missing: &'static str },
    #[error("`{path}` is not an image archive")]
    NotAnArchive { path: PathBuf, source: TarError },
    #[error("`{path}` is compressed")]
    CompressedArchive { path: PathBuf },
    #[error("`{path}` has no `{missing}`, so it is no archive of the kind `{transport}:`")]
    OtherArchive { path: PathBuf, missing: &'static str, transport: &'static str },
    #[error("{document} of `{image}` is not what the specification says")]
    Document { image: String, document: String, source: serde_json::Error },
    #[error("{document} of `{image}` has more than {limit} bytes")]
    DocumentSize { image: String, document: String, limit: u64 },
    #[error("`{image}` names something by the digest `{digest}`; only sha256 is supported")]
    Algorithm { image: String, digest: String },
    #[error("`{image}` is of a kind that has no signatures")]
    NoSignatures { image: String },
    #[error("`{image}` has no image")]
    Empty { image: String },
    #[error("`{image}` has no image `{tag}`")]
    NoTag { image: String, tag: String, present: Vec<String> },
    #[error("`{image}` has several images")]
    ManyTags { image: String, present: Vec<String> },
    #[error("`{image}` has no image for linux/{wanted}")]
    NoPlatform { image: String, wanted: String, present: Vec<String> },
    #[error("`{image}` is an image for {found}, not for linux/{wanted}")]
    Architecture { image: String, found: String, wanted: Architecture },
    #[error("`{image}` is an image for {platform}, for which there are no CUDA frameworks")]
    UnknownArchitecture { image: String, platform: String },
    #[error("`{image}` is in an engine, which has one image")]
    OneImage { image: String },
    #[error("`{image}` has more than {most} documents, or as many go with it")]
    ManyDocuments { image: String, most: usize },
    #[error("`{image}` nests its indexes too deeply")]
    Nested { image: String },
    #[error("`{image}` has {what} of the unknown media type `{media_type}`")]
    MediaType { image: String, what: &'static str, media_type: String },
    #[error("`{image}` has a manifest of docker's schema 1, which names no config to verify its layers by")]
    Schema1 { image: String },
    #[error("`{image}` has a layer that may not be distributed with it: its media type is `{media_type}`")]
    Foreign { image: String, media_type: String },
    #[error("`{image}` has an encrypted layer: its media type is `{media_type}`")]
    Encrypted { image: String, media_type: String },
    #[error("`{image}` has {layers} layers, and its config tells of {diff_ids}")]
    LayerCount { image: String, layers: usize, diff_ids: usize },
    #[error("`{image}` lacks the blob {digest}")]
    MissingBlob { image: String, digest: Digest },
    #[error("`{image}` lacks the file `{path}` that its manifest names")]
    MissingFile { image: String, path: String },
    #[error("could not read the blob {digest} of `{image}`")]
    Blob { image: String, digest: Digest, source: io::Error },
    #[error("the blob {digest} of `{image}` should have {expected} bytes, and has {}", sized(*.actual, *.expected))]
    Size { image: String, digest: Digest, expected: u64, actual: u64 },
    #[error("the blob {expected} of `{image}` is damaged: its digest is {actual}")]
    Digest { image: String, expected: Digest, actual: Digest },
    #[error("the layer {digest} of `{image}` has the diff_id {actual}, and the config says {expected}")]
    DiffId { image: String, digest: Digest, expected: Digest, actual: Digest },
    #[error("the layer {digest} of `{image}` cannot be read")]
    Layer { image: String, digest: Digest, source: ReadError },
    #[error("could not read `{image}`")]
    Http { image: String, source: HttpError },
    #[error("could not read `{image}` in its registry")]
    InDocker { image: String, place: String, source: Box<HttpError> },
    #[error("could not read `{image}`")]
    Engine { image: String, source: Box<EngineError> },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A blob is read no further than one byte beyond its end.
fn sized(actual: u64, expected: u64) -> String {
    if actual == expected.saturating_add(1) { "more".to_owned() } else { actual.to_string() }
}

impl SourceError {
    pub(super) fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Read { path, source }
    }

    pub(super) fn blob(image: &str, digest: &Digest, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound => Self::MissingBlob { image: image.to_owned(), digest: *digest },
            _ => match source.downcast() {
                Ok(source) => Self::http(image)(source),
                Err(source) => Self::Blob { image: image.to_owned(), digest: *digest, source },
            },
        }
    }

    pub(super) fn http(image: &str) -> impl FnOnce(HttpError) -> Self {
        let image = image.to_owned();
        move |source| Self::Http { image, source }
    }
}

impl Hinted for SourceError {
    fn hint(&self) -> Option<String> {
        const AGAIN: &str = "the image is damaged; copy or save it again";
        Some(match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "check the path: on the command line it is relative to the working directory, in a recipe to the recipe".into()
            }
            Self::Read { source, .. } if source.kind() == io::ErrorKind::IsADirectory => {
                "name the archive in it; a directory is an OCI layout, `oci:DIR`".into()
            }
            Self::Read { .. } => "check that the file can be read".into(),
            Self::NotALayout { .. } => {
                "name the directory that holds `oci-layout`; write oci-archive: or docker-archive: before a file".into()
            }
            Self::NotAnArchive { .. } => {
                "archives are what `docker save`, `podman save` and `skopeo copy` write; write oci: before a directory"
                    .into()
            }
            Self::CompressedArchive { .. } => {
                "decompress it first (gunzip, unzstd): layers are then read in place, without another copy".into()
            }
            Self::OtherArchive { transport: "oci-archive", .. } => {
                "write docker-archive: before what `docker save` wrote".into()
            }
            Self::OtherArchive { .. } => "write oci-archive: before an OCI layout in a tar".into(),
            Self::Algorithm { .. } => "copy the image with a tool that writes sha256 digests, such as skopeo".into(),
            Self::NoTag { present, .. } | Self::ManyTags { present, .. } if !present.is_empty() => {
                format!("write one of its names behind the path: {}", present.join(", "))
            }
            Self::NoTag { .. } => "leave the tag out: the images there have no names".into(),
            Self::ManyTags { .. } => "none of them has a name: write `:@0` behind the path for the first, `:@1` for the second".into(),
            Self::NoPlatform { present, .. } if !present.is_empty() => {
                format!("it has images for {}", present.join(", "))
            }
            Self::NoSignatures { .. } => "name it in its registry, docker://HOST/NAME, or in an OCI layout, oci:DIR".into(),
            Self::Empty { .. } | Self::NoPlatform { .. } => "choose another image".into(),
            Self::UnknownArchitecture { .. } => "choose an image for linux/amd64 or linux/arm64".into(),
            Self::Architecture { wanted, .. } => format!("choose an image for linux/{wanted}"),
            Self::MediaType { what: "a layer", .. } => {
                "layers may be tar, tar+gzip or tar+zstd; convert the image, for example with skopeo".into()
            }
            Self::MediaType { .. } => "choose an image of a container; this is something else".into(),
            Self::Schema1 { .. } => {
                "push the image again with a current docker or skopeo, which convert it to schema 2 or OCI".into()
            }
            Self::Foreign { .. } => "choose a base all of whose layers may be copied".into(),
            Self::Encrypted { .. } => "decrypt the image first, for example with skopeo".into(),
            Self::Layer { source: ReadError::Member { .. }, .. } => {
                "no engine would unpack that file as its author meant it; build the image again without it".into()
            }
            Self::OneImage { .. } => "copy it without `--all`".into(),
            Self::ManyDocuments { .. } => "copy the images that are meant without `--all`, each by its digest".into(),
            Self::Nested { .. } | Self::Document { .. } | Self::DocumentSize { .. } | Self::LayerCount { .. } => {
                "the image was not written by the book; save it again, with another tool".into()
            }
            Self::MissingBlob { .. }
            | Self::MissingFile { .. }
            | Self::Blob { .. }
            | Self::Size { .. }
            | Self::Digest { .. }
            | Self::DiffId { .. }
            | Self::Layer { .. } => AGAIN.into(),
            Self::Http { source, .. } => return source.hint(),
            Self::InDocker { place, .. } => format!("Docker on this machine has an image of that name: write {place}"),
            Self::Engine { source, .. } => return source.hint(),
            Self::Store(error) => return error.hint(),
        })
    }
}
