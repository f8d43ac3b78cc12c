//! Assembles an image from layers: its config, manifest and digest. A decision: nothing is written here.

mod base;
mod published;

use std::collections::BTreeMap;

use oci_spec::OciSpecError;
use oci_spec::image::{
    self as spec, History, ImageConfiguration, ImageManifest, ImageManifestBuilder, MediaType, Os, Platform,
    SCHEMA_VERSION,
};
use serde::Serialize;
use serde_json::Value;

use crate::failure::Hinted;
use crate::oci::image::{rootfs, to_json};
use crate::oci::time::rfc3339;
use crate::oci::{Architecture, Descriptor, Digest};
use crate::plan::{LayerPlan, Plan};

pub use base::{BaseConfigError, runtime_of};
pub use published::{ImageDocument, IndexCompanion, IndexedImages, PublishedImage};

/// A finished layer, with the words its history entry says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageLayer {
    /// Its content, for people: `torch 2.6.0`.
    pub title: String,
    /// The media type of its descriptor.
    pub media_type: MediaType,
    /// The annotations of its descriptor.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The digest of the compressed blob.
    pub digest: Digest,
    /// The compressed blob's size in bytes.
    pub size: u64,
    /// The digest of the uncompressed tar.
    pub diff_id: Digest,
    /// The sum of its files' sizes in bytes.
    pub unpacked: u64,
}

/// An image: the documents that describe it, as bytes, and the layers they name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The architecture of its platform.
    pub architecture: Architecture,
    /// The manifest's descriptor, whose digest is the image's.
    pub manifest: Descriptor,
    /// The manifest's JSON.
    pub manifest_bytes: Vec<u8>,
    /// The descriptor of the config.
    pub config: Descriptor,
    /// The config's JSON.
    pub config_bytes: Vec<u8>,
    /// The base's among them; bottom first.
    pub layers: Vec<ImageLayer>,
}

/// The reason why an image could not be assembled.
#[derive(Debug, thiserror::Error)]
#[error("could not write the image's {document} as JSON")]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub struct AssembleError {
    document: &'static str,
    source: OciSpecError,
}

impl Hinted for AssembleError {}

/// Puts the finished `layers` of `plan`, in its order, under a config and a manifest.
///
/// Layers of the image that is built upon keep their descriptors, and its config all that imgforge does not know of it.
pub fn assemble(plan: &Plan, layers: Vec<ImageLayer>) -> Result<Image, AssembleError> {
    let config_bytes = match &plan.base_config {
        Some(config) => base::extend_config(config, plan, &layers)?,
        None => json(&new_config(plan, &layers)?, "config")?,
    };
    let config = Descriptor::of(MediaType::ImageConfig, &config_bytes);
    let manifest_bytes = json(&manifest(plan, &config, &layers)?, "manifest")?;
    let manifest =
        Descriptor::of(MediaType::ImageManifest, &manifest_bytes).with_platform(platform(plan.architecture));
    let architecture = plan.architecture;
    Ok(Image { architecture, manifest, manifest_bytes, config, config_bytes, layers })
}

/// An image that others made: under the manifest that it has, or else one that lists its layers.
pub fn taken_over(
    architecture: Architecture,
    config_bytes: Vec<u8>,
    manifest: Option<(MediaType, Vec<u8>)>,
    layers: Vec<ImageLayer>,
) -> Result<Image, AssembleError> {
    let config = Descriptor::of(MediaType::ImageConfig, &config_bytes);
    let (media_type, manifest_bytes) = match manifest {
        Some(manifest) => manifest,
        None => {
            let listed = layers.iter().map(described).map(Into::into).collect();
            (MediaType::ImageManifest, json(&new_manifest(&config, listed)?, "manifest")?)
        }
    };
    let manifest = Descriptor::of(media_type, &manifest_bytes).with_platform(platform(architecture));
    Ok(Image { architecture, manifest, manifest_bytes, config, config_bytes, layers })
}

fn manifest(plan: &Plan, config: &Descriptor, layers: &[ImageLayer]) -> Result<ImageManifest, AssembleError> {
    let layers = plan.layers.iter().zip(layers).map(descriptor).map(Into::into);
    let mut manifest = new_manifest(config, layers.collect())?;
    if !plan.annotations.is_empty() {
        manifest.set_annotations(Some(plan.annotations.clone().into_iter().collect()));
    }
    Ok(manifest)
}

fn new_manifest(config: &Descriptor, layers: Vec<spec::Descriptor>) -> Result<ImageManifest, AssembleError> {
    ImageManifestBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageManifest)
        .config(config.clone())
        .layers(layers)
        .build()
        .map_err(|source| AssembleError { document: "manifest", source })
}

fn described(layer: &ImageLayer) -> Descriptor {
    Descriptor::new(layer.media_type.clone(), layer.digest, layer.size).with_annotations(&layer.annotations)
}

fn descriptor((plan, layer): (&LayerPlan, &ImageLayer)) -> Descriptor {
    match plan {
        LayerPlan::Base(base) => base.descriptor.clone(),
        _ => described(layer),
    }
}

fn platform(architecture: Architecture) -> Platform {
    let mut platform = Platform::default();
    platform.set_os(Os::Linux).set_architecture(architecture.into());
    platform
}

/// The config of an image without a base.
fn new_config(plan: &Plan, layers: &[ImageLayer]) -> Result<Value, AssembleError> {
    let created = rfc3339(plan.created);
    let history = layers.iter().map(|layer| history(layer, &created)).collect();
    let mut config = ImageConfiguration::default();
    config
        .set_created(Some(created))
        .set_architecture(plan.architecture.into())
        .set_os(Os::Linux)
        .set_rootfs(rootfs(layers.iter().map(|layer| layer.diff_id)))
        .set_history(Some(history));
    let mut config = to_value(&config, "config")?;
    config["config"] = to_value(&plan.runtime, "config")?;
    Ok(config)
}

/// umoci reads no history without a time.
fn history(layer: &ImageLayer, created: &str) -> History {
    let mut history = History::default();
    history.set_created(Some(created.to_owned())).set_created_by(Some(format!("imgforge: {}", layer.title)));
    history
}

fn json<T: Serialize>(document: &T, name: &'static str) -> Result<Vec<u8>, AssembleError> {
    to_json(document).map_err(|source| AssembleError { document: name, source: source.into() })
}

fn to_value<T: Serialize>(document: &T, name: &'static str) -> Result<Value, AssembleError> {
    serde_json::to_value(document).map_err(|source| AssembleError { document: name, source: source.into() })
}
