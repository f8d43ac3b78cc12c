//! The output of `docker save`: a tar with a `manifest.json` that names the config and the layers by path.
//!
//! Its layers have no descriptors. A layer that is a plain tar is the blob whose digest is its diff_id; others are
//! hashed once to learn theirs, unless they lie in a layout, whose names are digests.
//!
//! <https://github.com/moby/docker-image-spec/blob/main/v1.2.md#combined-image-json--filesystem-changeset-format>

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::archive::{IndexedTar, Parts};
use super::documents::{self, parse};
use super::selector::select;
use super::{SourceError, SourceImage};
use crate::layer::read::DetectedCompression;
use crate::oci::image::MediaType;
use crate::oci::{Architecture, Descriptor, Digest, Hasher};

const MANIFEST_FILE: &str = "manifest.json";

/// One image of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Vec<String>,
    #[serde(default)]
    layers: Vec<String>,
}

/// Opens the image in an archive that was read from `file`.
pub(super) fn open(
    archive: &IndexedTar,
    file: &Path,
    tag: Option<&str>,
    architecture: Option<Architecture>,
    place: &str,
) -> Result<SourceImage, SourceError> {
    let (config, layers, parts) = opened(archive, file, tag, place)?;
    documents::assemble(layers, config, Arc::new(parts), architecture, place)
}

/// The blobs of the only image in an archive.
pub(super) fn parts(archive: &IndexedTar, file: &Path, place: &str) -> Result<Parts, SourceError> {
    Ok(opened(archive, file, None, place)?.2)
}

/// The config, the layers and the blobs of an image.
fn opened(
    archive: &IndexedTar,
    file: &Path,
    tag: Option<&str>,
    place: &str,
) -> Result<(Vec<u8>, Vec<Descriptor>, Parts), SourceError> {
    let bytes = archive.entry_document(MANIFEST_FILE, "docker-archive", file, place)?;
    let saved = choose(parse(&bytes, "`manifest.json`", place)?, tag, place)?;
    let missing = |path: &str| SourceError::MissingFile { image: place.to_owned(), path: path.to_owned() };
    let config = archive.document(&saved.config, place)?.ok_or_else(|| missing(&saved.config))?;
    check_name(&saved.config, &config, place)?;
    let parsed = documents::parse_config(&config, place)?;
    documents::check_layer_count(saved.layers.len(), &parsed, place)?;

    let mut layers = Vec::new();
    let mut blobs = BTreeMap::new();
    for (path, diff_id) in saved.layers.iter().zip(parsed.diff_ids()) {
        let range = archive.range(path).ok_or_else(|| missing(path))?;
        let open = || archive.reader(range.clone());
        let (media_type, digest) = describe(path, diff_id, open).map_err(SourceError::read(file))?;
        layers.push(Descriptor::new(media_type, digest, range.end - range.start));
        blobs.insert(digest, range);
    }
    Ok((config, layers, archive.parts(blobs)))
}

/// The image that is meant, or the only one.
fn choose(saved: Vec<Saved>, tag: Option<&str>, place: &str) -> Result<Saved, SourceError> {
    let image = place.to_owned();
    let present: Vec<String> = saved.iter().flat_map(|it| it.repo_tags.clone()).collect();
    let mut fitting = select(saved, |it| it.repo_tags.clone(), tag);
    match (fitting.len(), tag) {
        (1, _) => Ok(fitting.remove(0)),
        (0, Some(tag)) => Err(SourceError::NoTag { image, tag: tag.to_owned(), present }),
        (0, None) => Err(SourceError::Empty { image }),
        _ => Err(SourceError::ManyTags { image, present }),
    }
}

/// The config's name is its digest, which is the image's id.
fn check_name(path: &str, config: &[u8], place: &str) -> Result<(), SourceError> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let actual = Digest::of(config);
    match Digest::from_hex(name.trim_end_matches(".json")) {
        Ok(expected) if expected != actual => {
            Err(SourceError::Digest { image: place.to_owned(), expected, actual })
        }
        _ => Ok(()),
    }
}

/// The media type and the digest of the layer at `path`.
fn describe<R: Read>(path: &str, diff_id: &Digest, open: impl Fn() -> R) -> io::Result<(MediaType, Digest)> {
    let mut magic = Vec::new();
    open().take(DetectedCompression::MAGIC as u64).read_to_end(&mut magic)?;
    let media_type = match DetectedCompression::of(&magic) {
        DetectedCompression::None => return Ok((MediaType::ImageLayer, *diff_id)),
        DetectedCompression::Gzip => MediaType::ImageLayerGzip,
        DetectedCompression::Zstd => MediaType::ImageLayerZstd,
    };
    let named = path.strip_prefix("blobs/sha256/").and_then(|hex| Digest::from_hex(hex).ok());
    if let Some(digest) = named {
        return Ok((media_type, digest));
    }
    let mut hasher = Hasher::default();
    io::copy(&mut open(), &mut hasher)?;
    Ok((media_type, hasher.finish()))
}
