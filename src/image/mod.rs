//! Assembles an image from layers: its config, manifest and digest. A decision: nothing is written here.

mod base;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::oci::Digest;
use crate::oci::image::{CONFIG, Descriptor, History, ImageConfig, MANIFEST, Manifest, Platform, RootFs};
use crate::oci::time::rfc3339;
use crate::plan::{LayerPlan, Plan};

pub use base::{BaseConfigError, runtime_of};

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

/// Puts the finished `layers` of `plan`, in its order, under a config and a manifest.
///
/// Layers of the image that is built upon keep their descriptors, and its config all that imgforge does not know of it.
pub fn assemble(plan: &Plan, layers: Vec<ImageLayer>) -> Result<Image, AssembleError> {
    let config_bytes = match &plan.base_config {
        Some(config) => json(&base::extend_config(config, plan, &layers)?, "config")?,
        None => json(&new_config(plan, &layers), "config")?,
    };
    let config = Descriptor::new(CONFIG, Digest::of(&config_bytes), config_bytes.len() as u64);
    let manifest = Manifest {
        schema_version: 2,
        media_type: MANIFEST.into(),
        config: config.clone(),
        layers: plan.layers.iter().zip(&layers).map(descriptor).collect(),
        annotations: plan.annotations.clone(),
    };
    let manifest_bytes = json(&manifest, "manifest")?;
    let platform = Platform { architecture: plan.architecture.clone(), os: "linux".into() };
    let manifest = Descriptor {
        platform: Some(platform),
        ..Descriptor::new(MANIFEST, Digest::of(&manifest_bytes), manifest_bytes.len() as u64)
    };
    Ok(Image { manifest, manifest_bytes, config, config_bytes, layers })
}

fn descriptor((plan, layer): (&LayerPlan, &ImageLayer)) -> Descriptor {
    match plan {
        LayerPlan::Base(base) => base.descriptor.clone(),
        _ => Descriptor {
            annotations: layer.annotations.clone(),
            ..Descriptor::new(&layer.media_type, layer.digest, layer.size)
        },
    }
}

fn new_config(plan: &Plan, layers: &[ImageLayer]) -> ImageConfig {
    let created = rfc3339(plan.created);
    ImageConfig {
        created: created.clone(),
        architecture: plan.architecture.clone(),
        os: "linux".into(),
        config: plan.runtime.clone(),
        rootfs: RootFs {
            kind: "layers".into(),
            diff_ids: layers.iter().map(|layer| layer.diff_id).collect(),
        },
        history: layers.iter().map(|layer| history(layer, &created)).collect(),
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
