//! The documents of an image: from an index to the manifest that is meant, and its config.

use std::io::Read;
use std::sync::Arc;

use oci_spec::image::{self as spec, ANNOTATION_REF_NAME, Arch, ImageIndex, ImageManifest, MediaType, Os};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;

use super::selector::select;
use super::{Blobs, SourceError, SourceImage, SourceLayer, SourceManifest};
use crate::attest::is_of_attachment;
use crate::oci::image::{from_json, from_value};
use crate::oci::{Architecture, Descriptor, Digest, docker};

/// The annotation by which BuildKit marks what is about an image and no image itself.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";

/// The largest document that is read, in bytes; registries take manifests of half of it.
pub(super) const MAX_DOCUMENT: u64 = 8 << 20;
/// The indexes within each other.
pub(super) const MAX_NESTING: usize = 4;

/// The root of an image's documents.
#[derive(Debug)]
pub enum DocumentRoot {
    /// The text of an index, as `index.json` of a layout has it; the tag chooses among its images.
    Index {
        /// The text of the index.
        bytes: Vec<u8>,
        /// The tag that chooses among its images.
        tag: Option<String>,
    },
    /// A manifest or an index, by its descriptor.
    Descriptor(Box<Descriptor>),
}

/// Reads the documents of the image at `place` whose blobs are `blobs`.
///
/// A source of any kind ends here: what it must bring is where the documents begin, and [`Blobs`].
pub fn open_documents(
    root: DocumentRoot,
    blobs: Arc<dyn Blobs>,
    architecture: Option<Architecture>,
    place: &str,
) -> Result<SourceImage, SourceError> {
    let reader = Documents { place, blobs: &*blobs, architecture };
    let mut chosen = match root {
        DocumentRoot::Index { bytes, tag } => {
            let index: ImageIndex = reader.parse(&bytes, "the index")?;
            reader.choose_tagged(&index, tag.as_deref())?
        }
        DocumentRoot::Descriptor(descriptor) => *descriptor,
    };
    for _ in 0..MAX_NESTING {
        let bytes = reader.read(&chosen, "the manifest")?;
        match kind_of(&chosen, &bytes) {
            DocumentKind::Index => {
                let index: ImageIndex = reader.parse(&bytes, "the index")?;
                chosen = reader.choose_platform(images(&index))?;
            }
            DocumentKind::Manifest => {
                let (config, layers) = reader.parse_manifest(&bytes)?;
                let image = reader.assemble(layers, reader.read_config(&config)?, Arc::clone(&blobs))?;
                let manifest = SourceManifest { media_type: chosen.media_type().clone(), bytes };
                return Ok(SourceImage { digest: Some(chosen.digest()), manifest: Some(manifest), ..image });
            }
            DocumentKind::Schema1 => return Err(SourceError::Schema1 { image: place.to_owned() }),
            DocumentKind::Other(media_type) => return Err(reader.media_type("a manifest", &media_type)),
        }
    }
    Err(SourceError::Nested { image: place.to_owned() })
}

/// The manifest or index that a tag of an index names; its bytes are verified, and nothing below it is read.
pub(super) fn root_of_index(
    bytes: &[u8],
    tag: Option<&str>,
    blobs: &dyn Blobs,
    place: &str,
) -> Result<Descriptor, SourceError> {
    let reader = Documents { place, blobs, architecture: None };
    let root = reader.choose_tagged(&reader.parse(bytes, "the index")?, tag)?;
    reader.read(&root, "the manifest")?;
    Ok(root)
}

/// The bytes of a document, held against its descriptor.
pub(super) fn read_document(
    document: &Descriptor,
    blobs: &dyn Blobs,
    place: &str,
) -> Result<Vec<u8>, SourceError> {
    Documents { place, blobs, architecture: None }.read(document, "the manifest")
}

/// Puts an image together whose documents were read.
pub(super) fn assemble(
    layers: Vec<Descriptor>,
    config: Vec<u8>,
    blobs: Arc<dyn Blobs>,
    architecture: Option<Architecture>,
    place: &str,
) -> Result<SourceImage, SourceError> {
    Documents { place, blobs: &*blobs, architecture }.assemble(layers, config, Arc::clone(&blobs))
}

/// Holds a blob that was read against its descriptor.
pub(super) fn check(place: &str, blob: &Descriptor, digest: Digest, size: u64) -> Result<(), SourceError> {
    check_size(place, blob, size)?;
    if digest == blob.digest() {
        return Ok(());
    }
    Err(SourceError::Digest { image: place.to_owned(), expected: blob.digest(), actual: digest })
}

pub(super) fn check_size(place: &str, blob: &Descriptor, actual: u64) -> Result<(), SourceError> {
    if actual == blob.size() {
        return Ok(());
    }
    Err(SourceError::Size { image: place.to_owned(), digest: blob.digest(), expected: blob.size(), actual })
}

pub(super) fn check_layer_count(layers: usize, config: &Config, place: &str) -> Result<(), SourceError> {
    let diff_ids = config.diff_ids().len();
    if layers == diff_ids {
        return Ok(());
    }
    Err(SourceError::LayerCount { image: place.to_owned(), layers, diff_ids })
}

/// Refuses a document too large to be read as a whole.
pub(super) fn check_document_size(place: &str, document: &str, size: u64) -> Result<(), SourceError> {
    if size <= MAX_DOCUMENT {
        return Ok(());
    }
    let (image, document) = (place.to_owned(), document.to_owned());
    Err(SourceError::DocumentSize { image, document, limit: MAX_DOCUMENT })
}

struct Documents<'a> {
    place: &'a str,
    blobs: &'a dyn Blobs,
    architecture: Option<Architecture>,
}

/// The members of a config that are read.
///
/// The rest passes through as it is: oci-spec's type would refuse a config for any member that deviates from the
/// specification.
#[derive(Deserialize)]
pub(super) struct Config {
    architecture: String,
    os: String,
    config: Option<DockerRuntime>,
    rootfs: RootFs,
}

#[derive(Default, Deserialize)]
struct DockerRuntime {
    #[serde(rename = "Env")]
    env: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Option<Vec<Digest>>,
}

impl Config {
    /// The digests of the layers' tars, bottom first.
    pub(super) fn diff_ids(&self) -> &[Digest] {
        self.rootfs.diff_ids.as_deref().unwrap_or_default()
    }
}

impl Documents<'_> {
    fn read(&self, blob: &Descriptor, document: &str) -> Result<Vec<u8>, SourceError> {
        let failed = |source| SourceError::blob(self.place, &blob.digest(), source);
        check_document_size(self.place, document, blob.size())?;
        let mut bytes = Vec::new();
        self.blobs
            .open(blob)
            .map_err(failed)?
            .take(blob.size() + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        check(self.place, blob, Digest::of(&bytes), bytes.len() as u64)?;
        Ok(bytes)
    }

    fn parse<T: DeserializeOwned>(&self, bytes: &[u8], document: &str) -> Result<T, SourceError> {
        parse(bytes, document, self.place)
    }

    /// The config and the layers of a manifest.
    fn parse_manifest(&self, bytes: &[u8]) -> Result<(Descriptor, Vec<Descriptor>), SourceError> {
        let value: Value = self.parse(bytes, "the manifest")?;
        let layers = value.get("layers").and_then(Value::as_array).into_iter().flatten();
        let descriptors = layers.chain(value.get("config"));
        check_algorithms(descriptors.filter_map(|descriptor| descriptor.get("digest")), self.place)?;
        let manifest: ImageManifest =
            from_value(value).map_err(|error| not_as_specified(error, "the manifest", self.place))?;
        let layers = manifest.layers().iter().map(|layer| self.by_sha256(layer.clone()));
        Ok((self.by_sha256(manifest.config().clone())?, layers.collect::<Result<_, _>>()?))
    }

    fn by_sha256(&self, descriptor: spec::Descriptor) -> Result<Descriptor, SourceError> {
        let digest = descriptor.digest().to_string();
        let other = |_| SourceError::Algorithm { image: self.place.to_owned(), digest };
        descriptor.try_into().map_err(other)
    }

    fn read_config(&self, config: &Descriptor) -> Result<Vec<u8>, SourceError> {
        match config.media_type() {
            MediaType::ImageConfig => self.read(config, "the config"),
            MediaType::Other(other) if other == docker::CONFIG => self.read(config, "the config"),
            other => Err(self.media_type("a config", other.as_ref())),
        }
    }

    fn assemble(
        &self,
        layers: Vec<Descriptor>,
        bytes: Vec<u8>,
        blobs: Arc<dyn Blobs>,
    ) -> Result<SourceImage, SourceError> {
        let layers: Vec<_> = layers.into_iter().map(|layer| self.layer(layer)).collect::<Result<_, _>>()?;
        let config = parse_config(&bytes, self.place)?;
        let architecture = self.check_platform(&config)?;
        check_layer_count(layers.len(), &config, self.place)?;
        Ok(SourceImage {
            place: self.place.to_owned(),
            digest: None,
            manifest: None,
            config: bytes,
            architecture,
            layers: layers
                .into_iter()
                .zip(config.diff_ids())
                .map(|(descriptor, diff_id)| SourceLayer { descriptor, diff_id: *diff_id })
                .collect(),
            env: config.config.unwrap_or_default().env.unwrap_or_default(),
            blobs,
        })
    }

    /// A layer that is there, by OCI's media type.
    fn layer(&self, layer: Descriptor) -> Result<Descriptor, SourceError> {
        let media_type = self.layer_media_type(layer.media_type())?;
        let size = self.blobs.size(&layer);
        let size = size.map_err(|source| SourceError::blob(self.place, &layer.digest(), source))?;
        size.map_or(Ok(()), |size| check_size(self.place, &layer, size))?;
        Ok(layer.with_media_type(media_type))
    }

    fn layer_media_type(&self, media_type: &MediaType) -> Result<MediaType, SourceError> {
        match media_type {
            MediaType::ImageLayer | MediaType::ImageLayerGzip | MediaType::ImageLayerZstd => {
                Ok(media_type.clone())
            }
            other => match other.as_ref() {
                docker::LAYER => Ok(MediaType::ImageLayer),
                docker::LAYER_GZIP => Ok(MediaType::ImageLayerGzip),
                docker::LAYER_ZSTD => Ok(MediaType::ImageLayerZstd),
                other => Err(self.unusable_layer(other)),
            },
        }
    }

    fn unusable_layer(&self, media_type: &str) -> SourceError {
        let (image, named) = (self.place.to_owned(), media_type.to_owned());
        if media_type.ends_with("+encrypted") {
            SourceError::Encrypted { image, media_type: named }
        } else if media_type.contains(".nondistributable.") || media_type.contains(".foreign.") {
            SourceError::Foreign { image, media_type: named }
        } else {
            self.media_type("a layer", media_type)
        }
    }

    fn media_type(&self, what: &'static str, media_type: &str) -> SourceError {
        SourceError::MediaType { image: self.place.to_owned(), what, media_type: media_type.to_owned() }
    }

    /// The architecture of an image that runs where it was asked for.
    fn check_platform(&self, config: &Config) -> Result<Architecture, SourceError> {
        let (image, platform) = (self.place.to_owned(), format!("{}/{}", config.os, config.architecture));
        let found = config.architecture.parse();
        let wanted = match (self.architecture, &found) {
            (Some(wanted), _) => wanted,
            (None, Ok(found)) => *found,
            (None, Err(_)) => return Err(SourceError::UnknownArchitecture { image, platform }),
        };
        match found {
            Ok(found) if found == wanted && config.os == "linux" => Ok(found),
            _ => Err(SourceError::Architecture { image, found: platform, wanted }),
        }
    }

    /// The image of a layout's index that has the tag, or the only one.
    fn choose_tagged(&self, index: &ImageIndex, tag: Option<&str>) -> Result<Descriptor, SourceError> {
        let image = || self.place.to_owned();
        let found = images(index);
        let mut present: Vec<String> = found.iter().filter_map(|it| tag_of(it)).cloned().collect();
        present.dedup();
        let found = select(found, |it| tag_of(it).cloned().into_iter().collect(), tag);
        let first = match (found.first(), tag) {
            (Some(first), _) => *first,
            (None, Some(tag)) => {
                return Err(SourceError::NoTag { image: image(), tag: tag.to_owned(), present });
            }
            (None, None) => return Err(SourceError::Empty { image: image() }),
        };
        let is_one = found.iter().all(|it| it.digest() == first.digest());
        let differ_by_platform =
            found.iter().all(|it| it.platform().is_some() && tag_of(it) == tag_of(first));
        match (is_one, differ_by_platform) {
            (true, _) => self.by_sha256(first.clone()),
            (_, true) => self.choose_platform(found),
            _ => Err(SourceError::ManyTags { image: image(), present }),
        }
    }

    fn choose_platform(&self, found: Vec<&spec::Descriptor>) -> Result<Descriptor, SourceError> {
        let wanted = self.architecture.or_else(Architecture::here);
        let fitting = found.iter().copied().filter_map(|it| {
            let platform = it.platform().as_ref().filter(|platform| fits(platform, wanted))?;
            Some((it, variant_rank(platform)))
        });
        let chosen = match found[..] {
            [only] if only.platform().is_none() => Some(only),
            _ => fitting.min_by_key(|(_, rank)| *rank).map(|(it, _)| it),
        };
        let chosen = chosen.cloned().ok_or_else(|| {
            let platforms = found.iter().filter_map(|it| it.platform().as_ref());
            SourceError::NoPlatform {
                image: self.place.to_owned(),
                wanted: wanted.map_or(std::env::consts::ARCH, Architecture::as_str).to_owned(),
                present: platforms.map(|it| format!("{}/{}", it.os(), it.architecture())).collect(),
            }
        })?;
        self.by_sha256(chosen)
    }
}

/// Returns whether an image for `platform` runs on Linux on the `wanted` architecture.
fn fits(platform: &spec::Platform, wanted: Option<Architecture>) -> bool {
    *platform.os() == Os::Linux && wanted.is_some_and(|wanted| *platform.architecture() == wanted.into())
}

/// The variant of a platform among those of its architecture: the one that every such machine runs comes first.
///
/// <https://github.com/opencontainers/image-spec/blob/main/image-index.md#platform-variants>
fn variant_rank(platform: &spec::Platform) -> u32 {
    let variant = platform.variant().as_deref().unwrap_or_default();
    let number = variant.trim_start_matches('v').parse().unwrap_or_default();
    match (platform.architecture(), number) {
        (Arch::Amd64, 1) | (Arch::ARM64, 8) => 0,
        _ => number,
    }
}

/// The entries of an index that are images: attestations, referrers and signatures are not.
fn images(index: &ImageIndex) -> Vec<&spec::Descriptor> {
    let unknown = |it: &spec::Platform| {
        (it.os(), it.architecture()) == (&Os::Other("unknown".into()), &Arch::Other("unknown".into()))
    };
    let is_image = |it: &&spec::Descriptor| {
        let of_another = it.annotations().as_ref().is_some_and(|all| all.contains_key(REFERENCE_TYPE));
        let is_artifact = it.artifact_type().is_some() || tag_of(it).is_some_and(|tag| is_of_attachment(tag));
        !it.platform().as_ref().is_some_and(unknown) && !of_another && !is_artifact
    };
    index.manifests().iter().filter(is_image).collect()
}

fn tag_of(descriptor: &spec::Descriptor) -> Option<&String> {
    descriptor.annotations().as_ref()?.get(ANNOTATION_REF_NAME)
}

/// A document between a place and a config.
enum DocumentKind {
    Index,
    Manifest,
    /// A manifest of docker's before there were configs.
    Schema1,
    /// By its media type.
    Other(String),
}

/// The kind that a document states itself, or else its descriptor.
fn kind_of(descriptor: &Descriptor, bytes: &[u8]) -> DocumentKind {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Document {
        media_type: Option<MediaType>,
        schema_version: Option<u64>,
    }
    let document = serde_json::from_slice::<Document>(bytes).ok();
    if document.as_ref().and_then(|document| document.schema_version) == Some(1) {
        return DocumentKind::Schema1;
    }
    let stated = document.and_then(|document| document.media_type);
    match stated.unwrap_or_else(|| descriptor.media_type().clone()) {
        MediaType::ImageIndex => DocumentKind::Index,
        MediaType::ImageManifest => DocumentKind::Manifest,
        MediaType::Other(docker) if docker == docker::LIST => DocumentKind::Index,
        MediaType::Other(docker) if docker == docker::MANIFEST => DocumentKind::Manifest,
        other => DocumentKind::Other(other.to_string()),
    }
}

/// The kind of a manifest or an index: as it states itself, as its place `told`, or by what it has.
pub(super) fn stated_kind(bytes: &[u8], told: MediaType) -> MediaType {
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "camelCase")]
    struct Stated {
        media_type: Option<MediaType>,
        manifests: Option<IgnoredAny>,
    }
    let stated: Stated = serde_json::from_slice(bytes).unwrap_or_default();
    match (stated.media_type, stated.manifests) {
        (Some(kind), _) => kind,
        (None, Some(_)) => MediaType::ImageIndex,
        (None, None) if told.as_ref().starts_with("application/vnd.") => told,
        (None, None) => MediaType::ImageManifest,
    }
}

/// Reads a document. What is `null` in it is taken as absent, as writers in Go mean it.
pub(super) fn parse<T: DeserializeOwned>(
    bytes: &[u8],
    document: &str,
    place: &str,
) -> Result<T, SourceError> {
    from_json(bytes).map_err(|error| not_as_specified(error, document, place))
}

/// Reads a config, of which every diff_id is by sha256.
pub(super) fn parse_config(bytes: &[u8], place: &str) -> Result<Config, SourceError> {
    let value: Value = parse(bytes, "the config", place)?;
    let diff_ids = value.pointer("/rootfs/diff_ids").and_then(Value::as_array);
    check_algorithms(diff_ids.into_iter().flatten(), place)?;
    from_value(value).map_err(|error| not_as_specified(error, "the config", place))
}

fn not_as_specified(source: serde_json::Error, document: &str, place: &str) -> SourceError {
    SourceError::Document { image: place.to_owned(), document: document.to_owned(), source }
}

/// Refuses digests by another algorithm.
fn check_algorithms<'a>(digests: impl Iterator<Item = &'a Value>, place: &str) -> Result<(), SourceError> {
    let mut digests = digests.filter_map(Value::as_str);
    let is_foreign = |digest: &&str| digest.split_once(':').is_some_and(|(name, _)| name != "sha256");
    match digests.find(is_foreign) {
        Some(digest) => Err(SourceError::Algorithm { image: place.to_owned(), digest: digest.to_owned() }),
        None => Ok(()),
    }
}
