//! Assembles an image from layers: its config, manifest and digest. A decision: nothing is written here.

mod base;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::failure::Hinted;
use crate::oci::Digest;
use crate::oci::image::{
    CONFIG, Descriptor, History, ImageConfig, MANIFEST, Manifest, Platform, RootFs, RuntimeConfig, rfc3339,
};

pub use base::{BaseImage, BaseLayer};

/// A finished layer, with the words its history entry says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageLayer {
    /// What is in it, for people: `torch 2.6.0`.
    pub title: String,
    pub media_type: String,
    /// What its descriptor says beside that.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    pub digest: Digest,
    /// The compressed blob's size in bytes.
    pub size: u64,
    pub diff_id: Digest,
    /// The sum of its files' sizes in bytes.
    pub unpacked: u64,
}

/// What an image is made of beside its layers.
#[derive(Clone)]
pub struct Settings<'a> {
    /// `amd64` or `arm64`.
    pub architecture: String,
    /// Seconds since the Unix epoch.
    pub created: u64,
    /// Makes what a container starts with of what the base says; without a base, of nothing.
    pub config: &'a dyn Fn(RuntimeConfig) -> RuntimeConfig,
    pub annotations: BTreeMap<String, String>,
}

impl fmt::Debug for Settings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("architecture", &self.architecture)
            .field("created", &self.created)
            .field("annotations", &self.annotations)
            .finish_non_exhaustive()
    }
}

/// An image: the documents that describe it, as bytes, and the layers they name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The manifest's descriptor, whose digest is the image's.
    pub manifest: Descriptor,
    pub manifest_bytes: Vec<u8>,
    pub config: Descriptor,
    pub config_bytes: Vec<u8>,
    /// The base's among them; bottom first.
    pub layers: Vec<ImageLayer>,
}

/// Why an image could not be assembled.
#[derive(Debug, thiserror::Error)]
#[error("could not write the image's {document} as JSON")]
pub struct AssembleError {
    document: &'static str,
    source: serde_json::Error,
}

impl Hinted for AssembleError {}

/// Puts `layers`, bottom first, on top of `base`, under a config and a manifest.
///
/// The base's layers keep their descriptors, and its config what imgforge does not know of it.
pub fn assemble(
    base: Option<&BaseImage>,
    layers: Vec<ImageLayer>,
    settings: &Settings<'_>,
) -> Result<Image, AssembleError> {
    let config_bytes = match base {
        Some(base) => json(&base::extend_config(base, &layers, settings)?, "config")?,
        None => json(&new_config(&layers, settings), "config")?,
    };
    let below = base.map(|base| base.layers.as_slice()).unwrap_or_default();
    let config = Descriptor::new(CONFIG, Digest::of(&config_bytes), config_bytes.len() as u64);
    let own = layers.iter().map(|layer| Descriptor {
        annotations: layer.annotations.clone(),
        ..Descriptor::new(&layer.media_type, layer.digest, layer.size)
    });
    let manifest = Manifest {
        schema_version: 2,
        media_type: MANIFEST.into(),
        config: config.clone(),
        layers: below.iter().map(|layer| layer.descriptor.clone()).chain(own).collect(),
        annotations: settings.annotations.clone(),
    };
    let manifest_bytes = json(&manifest, "manifest")?;
    let platform = Platform { architecture: settings.architecture.clone(), os: "linux".into() };
    let manifest = Descriptor {
        platform: Some(platform),
        ..Descriptor::new(MANIFEST, Digest::of(&manifest_bytes), manifest_bytes.len() as u64)
    };
    let layers = below.iter().map(of_base).chain(layers).collect();
    Ok(Image { manifest, manifest_bytes, config, config_bytes, layers })
}

fn new_config(layers: &[ImageLayer], settings: &Settings<'_>) -> ImageConfig {
    let created = rfc3339(settings.created);
    ImageConfig {
        created: created.clone(),
        architecture: settings.architecture.clone(),
        os: "linux".into(),
        config: (settings.config)(RuntimeConfig::default()),
        rootfs: RootFs {
            kind: "layers".into(),
            diff_ids: layers.iter().map(|layer| layer.diff_id).collect(),
        },
        history: layers.iter().map(|layer| history(layer, &created)).collect(),
    }
}

fn of_base(layer: &BaseLayer) -> ImageLayer {
    ImageLayer {
        title: "the base".into(),
        media_type: layer.descriptor.media_type.clone(),
        annotations: layer.descriptor.annotations.clone(),
        digest: layer.descriptor.digest,
        size: layer.descriptor.size,
        diff_id: layer.diff_id,
        unpacked: layer.unpacked,
    }
}

fn history(layer: &ImageLayer, created: &str) -> History {
    History {
        created: created.to_owned(),
        created_by: format!("imgforge: {}", layer.title),
        comment: String::new(),
    }
}

fn json<T: Serialize>(document: &T, name: &'static str) -> Result<Vec<u8>, AssembleError> {
    serde_json::to_vec(document).map_err(|source| AssembleError { document: name, source })
}

fn to_value<T: Serialize>(document: &T, name: &'static str) -> Result<Value, AssembleError> {
    serde_json::to_value(document).map_err(|source| AssembleError { document: name, source })
}
