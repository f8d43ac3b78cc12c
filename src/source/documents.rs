//! The documents of an image: from an index to the manifest that is meant, and its config.

use std::io::Read;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Blobs, SourceError, SourceImage, SourceLayer};
use crate::oci::Digest;
use crate::oci::image::{
    CONFIG, Descriptor, INDEX, Index, LAYER, LAYER_GZIP, LAYER_ZSTD, MANIFEST, Manifest, Platform, REF_NAME,
};

/// What Docker calls the same documents.
///
/// <https://distribution.github.io/distribution/spec/manifest-v2-2/>
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// The annotation by which BuildKit marks what is about an image and no image itself.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";

/// The largest document that is read, in bytes; registries take manifests of half of it.
const MAX_DOCUMENT: u64 = 8 << 20;
const MAX_NESTING: usize = 4;

/// Where the documents of an image begin.
#[derive(Debug)]
pub enum Root {
    /// The text of an index, as `index.json` of a layout has it; the tag chooses among its images.
    Index { bytes: Vec<u8>, tag: Option<String> },
    /// A manifest or an index, by its descriptor.
    Descriptor(Descriptor),
}

/// Reads the documents of the image at `place` whose blobs are `blobs`.
///
/// A source of any kind ends here: what it must bring is where the documents begin, and [`Blobs`].
pub fn open_documents(
    root: Root,
    blobs: Arc<dyn Blobs>,
    architecture: Option<&str>,
    place: &str,
) -> Result<SourceImage, SourceError> {
    let reader = Documents { place, blobs: &*blobs, architecture };
    let mut chosen = match root {
        Root::Index { bytes, tag } => {
            let index: Index = reader.parse(&bytes, "the index")?;
            reader.choose_tagged(&index, tag.as_deref())?
        }
        Root::Descriptor(descriptor) => descriptor,
    };
    for _ in 0..MAX_NESTING {
        let bytes = reader.read(&chosen, "the manifest")?;
        match media_type(&chosen, &bytes).as_str() {
            INDEX | DOCKER_LIST => {
                let index: Index = reader.parse(&bytes, "the index")?;
                chosen = reader.choose_platform(images(&index))?;
            }
            MANIFEST | DOCKER_MANIFEST => {
                let manifest: Manifest = reader.parse(&bytes, "the manifest")?;
                let config = reader.read_config(&manifest.config)?;
                let image = reader.assemble(manifest, config, Arc::clone(&blobs))?;
                return Ok(SourceImage { digest: Some(chosen.digest), ..image });
            }
            other => return Err(reader.media_type("a manifest", other)),
        }
    }
    Err(SourceError::Nested { image: place.to_owned() })
}

/// Puts an image together whose documents were read.
pub(super) fn assemble(
    manifest: Manifest,
    config: Vec<u8>,
    blobs: Arc<dyn Blobs>,
    architecture: Option<&str>,
    place: &str,
) -> Result<SourceImage, SourceError> {
    Documents { place, blobs: &*blobs, architecture }.assemble(manifest, config, Arc::clone(&blobs))
}

/// Holds a blob that was read against its descriptor.
pub(super) fn check(place: &str, blob: &Descriptor, digest: Digest, size: u64) -> Result<(), SourceError> {
    check_size(place, blob, size)?;
    if digest == blob.digest {
        return Ok(());
    }
    Err(SourceError::Digest { image: place.to_owned(), expected: blob.digest, actual: digest })
}

pub(super) fn check_size(place: &str, blob: &Descriptor, actual: u64) -> Result<(), SourceError> {
    if actual == blob.size {
        return Ok(());
    }
    Err(SourceError::Size { image: place.to_owned(), digest: blob.digest, expected: blob.size, actual })
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
    architecture: Option<&'a str>,
}

/// What is read of a config; the rest passes through as it is.
#[derive(Deserialize)]
struct Config {
    architecture: String,
    os: String,
    config: Option<Runtime>,
    rootfs: RootFs,
}

#[derive(Default, Deserialize)]
struct Runtime {
    #[serde(rename = "Env")]
    env: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Option<Vec<Digest>>,
}

/// The environment that an image's config sets: `NAME=value`.
pub fn environment(config: &[u8]) -> serde_json::Result<Vec<String>> {
    let config: Config = serde_json::from_slice(config)?;
    Ok(config.config.unwrap_or_default().env.unwrap_or_default())
}

impl Documents<'_> {
    fn read(&self, blob: &Descriptor, document: &str) -> Result<Vec<u8>, SourceError> {
        let failed = |source| SourceError::blob(self.place, &blob.digest, source);
        check_document_size(self.place, document, blob.size)?;
        let mut bytes = Vec::new();
        self.blobs.open(blob).map_err(failed)?.take(blob.size + 1).read_to_end(&mut bytes).map_err(failed)?;
        check(self.place, blob, Digest::of(&bytes), bytes.len() as u64)?;
        Ok(bytes)
    }

    fn parse<T: DeserializeOwned>(&self, bytes: &[u8], document: &str) -> Result<T, SourceError> {
        parse(bytes, document, self.place)
    }

    fn read_config(&self, config: &Descriptor) -> Result<Vec<u8>, SourceError> {
        match config.media_type.as_str() {
            CONFIG | DOCKER_CONFIG => self.read(config, "the config"),
            other => Err(self.media_type("a config", other)),
        }
    }

    fn assemble(
        &self,
        manifest: Manifest,
        bytes: Vec<u8>,
        blobs: Arc<dyn Blobs>,
    ) -> Result<SourceImage, SourceError> {
        let layers: Vec<_> =
            manifest.layers.iter().map(|layer| self.layer(layer)).collect::<Result<_, _>>()?;
        let config: Config = self.parse(&bytes, "the config")?;
        self.check_platform(&config)?;
        let diff_ids = config.rootfs.diff_ids.unwrap_or_default();
        if diff_ids.len() != layers.len() {
            let (layers, diff_ids) = (layers.len(), diff_ids.len());
            return Err(SourceError::LayerCount { image: self.place.to_owned(), layers, diff_ids });
        }
        Ok(SourceImage {
            place: self.place.to_owned(),
            digest: None,
            config: bytes,
            architecture: config.architecture,
            env: config.config.unwrap_or_default().env.unwrap_or_default(),
            layers: layers
                .into_iter()
                .zip(diff_ids)
                .map(|(descriptor, diff_id)| SourceLayer { descriptor, diff_id })
                .collect(),
            manifest,
            blobs,
        })
    }

    /// A layer that is there, by OCI's media type.
    fn layer(&self, layer: &Descriptor) -> Result<Descriptor, SourceError> {
        let media_type = self.layer_media_type(&layer.media_type)?.to_owned();
        let size = self.blobs.size(layer);
        let size = size.map_err(|source| SourceError::blob(self.place, &layer.digest, source))?;
        size.map_or(Ok(()), |size| check_size(self.place, layer, size))?;
        Ok(Descriptor { media_type, ..layer.clone() })
    }

    fn layer_media_type(&self, media_type: &str) -> Result<&'static str, SourceError> {
        match media_type {
            LAYER | "application/vnd.docker.image.rootfs.diff.tar" => Ok(LAYER),
            LAYER_GZIP | "application/vnd.docker.image.rootfs.diff.tar.gzip" => Ok(LAYER_GZIP),
            LAYER_ZSTD | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Ok(LAYER_ZSTD),
            other if other.ends_with("+encrypted") => {
                Err(SourceError::Encrypted { image: self.place.to_owned(), media_type: other.to_owned() })
            }
            other if other.contains(".nondistributable.") || other.contains(".foreign.") => {
                Err(SourceError::Foreign { image: self.place.to_owned(), media_type: other.to_owned() })
            }
            other => Err(self.media_type("a layer", other)),
        }
    }

    fn media_type(&self, what: &'static str, media_type: &str) -> SourceError {
        SourceError::MediaType { image: self.place.to_owned(), what, media_type: media_type.to_owned() }
    }

    fn check_platform(&self, config: &Config) -> Result<(), SourceError> {
        let wanted = self.architecture.unwrap_or(&config.architecture);
        if config.os == "linux" && config.architecture == wanted {
            return Ok(());
        }
        Err(SourceError::Architecture {
            image: self.place.to_owned(),
            found: format!("{}/{}", config.os, config.architecture),
            wanted: wanted.to_owned(),
        })
    }

    /// The image of a layout's index that has the tag, or the only one.
    fn choose_tagged(&self, index: &Index, tag: Option<&str>) -> Result<Descriptor, SourceError> {
        let image = || self.place.to_owned();
        let mut found = images(index);
        if found.is_empty() {
            return Err(SourceError::Empty { image: image() });
        }
        let mut present: Vec<String> = found.iter().filter_map(|it| tag_of(it)).map(str::to_owned).collect();
        present.dedup();
        if let Some(tag) = tag {
            found.retain(|descriptor| tag_of(descriptor) == Some(tag));
            if found.is_empty() {
                return Err(SourceError::NoTag { image: image(), tag: tag.to_owned(), present });
            }
        }
        let first = found[0];
        let is_one = found.iter().all(|it| it.digest == first.digest);
        let differ_by_platform = found.iter().all(|it| it.platform.is_some() && tag_of(it) == tag_of(first));
        match (is_one, differ_by_platform) {
            (true, _) => Ok(first.clone()),
            (_, true) => self.choose_platform(found),
            _ => Err(SourceError::ManyTags { image: image(), present }),
        }
    }

    fn choose_platform(&self, found: Vec<&Descriptor>) -> Result<Descriptor, SourceError> {
        let wanted = self.architecture.unwrap_or(HERE);
        let fits = |platform: &Platform| platform.os == "linux" && platform.architecture == wanted;
        let chosen = match found[..] {
            [only] if only.platform.is_none() => Some(only),
            _ => found.iter().copied().find(|it| it.platform.as_ref().is_some_and(fits)),
        };
        chosen.cloned().ok_or_else(|| {
            let platforms = found.iter().filter_map(|it| it.platform.as_ref());
            SourceError::NoPlatform {
                image: self.place.to_owned(),
                wanted: wanted.to_owned(),
                present: platforms.map(|it| format!("{}/{}", it.os, it.architecture)).collect(),
            }
        })
    }
}

/// This machine's architecture, as Go writes it.
const HERE: &str = match std::env::consts::ARCH.as_bytes() {
    b"x86_64" => "amd64",
    b"aarch64" => "arm64",
    _ => std::env::consts::ARCH,
};

/// The entries of an index that are images: attestations are not.
fn images(index: &Index) -> Vec<&Descriptor> {
    let is_image = |it: &&Descriptor| {
        let unknown =
            it.platform.as_ref().is_some_and(|it| it.os == "unknown" && it.architecture == "unknown");
        !unknown && !it.annotations.contains_key(REFERENCE_TYPE)
    };
    index.manifests.iter().filter(is_image).collect()
}

fn tag_of(descriptor: &Descriptor) -> Option<&str> {
    descriptor.annotations.get(REF_NAME).map(String::as_str)
}

/// What a document is: as it says itself, or else as its descriptor does.
fn media_type(descriptor: &Descriptor, bytes: &[u8]) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Document {
        media_type: Option<String>,
    }
    let document = serde_json::from_slice::<Document>(bytes).ok().and_then(|document| document.media_type);
    document.unwrap_or_else(|| descriptor.media_type.clone())
}

/// Reads a document. What is `null` in it is taken as absent, as writers in Go mean it.
pub(super) fn parse<T: DeserializeOwned>(
    bytes: &[u8],
    document: &str,
    place: &str,
) -> Result<T, SourceError> {
    let failed =
        |source| SourceError::Document { image: place.to_owned(), document: document.to_owned(), source };
    let mut value: Value = serde_json::from_slice(bytes).map_err(failed)?;
    remove_nulls(&mut value);
    if let Some(digest) = foreign_digest(&value) {
        return Err(SourceError::Algorithm { image: place.to_owned(), digest });
    }
    serde_json::from_value(value).map_err(failed)
}

fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(remove_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_nulls),
        _ => {}
    }
}

/// A digest by another algorithm, among those that count.
fn foreign_digest(value: &Value) -> Option<String> {
    let foreign = |digest: &Value| {
        let digest = digest.as_str()?;
        let (algorithm, _) = digest.split_once(':')?;
        (algorithm != "sha256").then(|| digest.to_owned())
    };
    let list =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let descriptors = ["manifests", "layers"].into_iter().flat_map(|key| list(value, key));
    let mut digests = descriptors
        .chain(value.get("config").cloned())
        .filter_map(|descriptor| descriptor.get("digest").cloned())
        .chain(value.get("rootfs").map(|rootfs| list(rootfs, "diff_ids")).unwrap_or_default());
    digests.find_map(|digest| foreign(&digest))
}
