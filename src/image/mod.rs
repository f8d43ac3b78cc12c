//! Assembles an image from layers: its config, manifest and digest. A decision: nothing is written here.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::oci::Digest;
use crate::oci::image::{
    CONFIG, Descriptor, History, ImageConfig, LAYER_GZIP, MANIFEST, Manifest, Platform, RootFs,
    RuntimeConfig, rfc3339,
};

/// A finished layer, with the words its history entry says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageLayer {
    /// What is in it, for people: `torch 2.6.0`.
    pub title: String,
    pub digest: Digest,
    /// The compressed blob's size in bytes.
    pub size: u64,
    pub diff_id: Digest,
    /// The sum of its files' sizes in bytes.
    pub unpacked: u64,
}

/// What an image is made of beside its layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `amd64` or `arm64`.
    pub architecture: String,
    /// Seconds since the Unix epoch.
    pub created: u64,
    pub config: RuntimeConfig,
    pub annotations: BTreeMap<String, String>,
}

/// An image: the documents that describe it, as bytes, and the layers they name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The manifest's descriptor, whose digest is the image's.
    pub manifest: Descriptor,
    pub manifest_bytes: Vec<u8>,
    pub config: Descriptor,
    pub config_bytes: Vec<u8>,
    pub layers: Vec<ImageLayer>,
}

/// Why an image could not be assembled.
#[derive(Debug, thiserror::Error)]
#[error("could not write the image's {document} as JSON")]
pub struct AssembleError {
    document: &'static str,
    source: serde_json::Error,
}

/// Puts `layers`, bottom first, under a config and a manifest.
pub fn assemble(layers: Vec<ImageLayer>, settings: &Settings) -> Result<Image, AssembleError> {
    let created = rfc3339(settings.created);
    let config = ImageConfig {
        created: created.clone(),
        architecture: settings.architecture.clone(),
        os: "linux".into(),
        config: settings.config.clone(),
        rootfs: RootFs {
            kind: "layers".into(),
            diff_ids: layers.iter().map(|layer| layer.diff_id).collect(),
        },
        history: layers.iter().map(|layer| history(layer, &created)).collect(),
    };
    let config_bytes = json(&config, "config")?;
    let config = Descriptor::new(CONFIG, Digest::of(&config_bytes), config_bytes.len() as u64);
    let manifest = Manifest {
        schema_version: 2,
        media_type: MANIFEST.into(),
        config: config.clone(),
        layers: layers.iter().map(|layer| Descriptor::new(LAYER_GZIP, layer.digest, layer.size)).collect(),
        annotations: settings.annotations.clone(),
    };
    let manifest_bytes = json(&manifest, "manifest")?;
    let platform = Platform { architecture: settings.architecture.clone(), os: "linux".into() };
    let manifest = Descriptor {
        platform: Some(platform),
        ..Descriptor::new(MANIFEST, Digest::of(&manifest_bytes), manifest_bytes.len() as u64)
    };
    Ok(Image { manifest, manifest_bytes, config, config_bytes, layers })
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
