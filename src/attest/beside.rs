//! Statements about an image beside it in an index, as BuildKit has them.
//!
//! <https://github.com/moby/buildkit/blob/master/docs/attestations/attestation-storage.md>

use oci_spec::image::{Arch, MediaType, Os, Platform, SCHEMA_VERSION};
use serde_json::{Value, json};

use super::attestation::{PREDICATE_ANNOTATION, STATEMENT};
use crate::image::IndexCompanion;
use crate::oci::image::to_json;
use crate::oci::{Descriptor, Digest};

/// The word for a platform that nothing runs on: engines pass over it.
const NONE: &str = "unknown";

/// The annotation of an entry that is about another one: its kind.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";

/// The annotation that names the other one.
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";

/// The manifest of `statements` about `image`, each with the type of its predicate.
pub fn beside(statements: &[(&str, &Value)], image: &Descriptor) -> serde_json::Result<IndexCompanion> {
    let mut blobs = Vec::new();
    let mut layers = Vec::new();
    for (predicate, statement) in statements {
        let bytes = serde_json::to_vec(statement)?;
        let annotations = [(PREDICATE_ANNOTATION.to_owned(), (*predicate).to_owned())].into();
        let layer = Descriptor::of(MediaType::Other(STATEMENT.to_owned()), &bytes);
        layers.push(layer.clone().with_annotations(&annotations));
        blobs.push((layer, bytes));
    }
    let diff_ids: Vec<Digest> = layers.iter().map(Descriptor::digest).collect();
    let config = to_json(&json!({
        "architecture": NONE,
        "os": NONE,
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }))?;
    let config_descriptor = Descriptor::of(MediaType::ImageConfig, &config);
    let bytes = to_json(&json!({
        "schemaVersion": SCHEMA_VERSION,
        "mediaType": MediaType::ImageManifest,
        "config": config_descriptor,
        "layers": layers,
    }))?;
    blobs.push((config_descriptor, config));
    let annotations = [
        (REFERENCE_DIGEST.to_owned(), image.digest().to_string()),
        (REFERENCE_TYPE.to_owned(), "attestation-manifest".to_owned()),
    ];
    let mut platform = Platform::default();
    platform.set_os(Os::Other(NONE.to_owned())).set_architecture(Arch::Other(NONE.to_owned()));
    let descriptor = Descriptor::of(MediaType::ImageManifest, &bytes);
    let descriptor = descriptor.with_annotations(&annotations.into()).with_platform(platform);
    Ok(IndexCompanion { descriptor, bytes, blobs })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_is_of_no_platform_and_names_the_image() {
        let image = Descriptor::new(MediaType::ImageManifest, Digest::of("image"), 5);
        let statement = json!({"predicateType": "https://spdx.dev/Document"});
        let companion = beside(&[("https://spdx.dev/Document", &statement)], &image).unwrap();
        let entry = serde_json::to_value(&companion.descriptor).unwrap();
        assert_eq!(entry["platform"], json!({"os": "unknown", "architecture": "unknown"}));
        assert_eq!(
            entry["annotations"],
            json!({REFERENCE_DIGEST: image.digest(), REFERENCE_TYPE: "attestation-manifest"})
        );
        let manifest: Value = serde_json::from_slice(&companion.bytes).unwrap();
        let [layer] = &manifest["layers"].as_array().unwrap()[..] else { panic!("{manifest}") };
        assert_eq!(layer["mediaType"], STATEMENT);
        assert_eq!(layer["annotations"], json!({PREDICATE_ANNOTATION: "https://spdx.dev/Document"}));
        let named = [&layer["digest"], &manifest["config"]["digest"]];
        let blobs: Vec<Value> = companion.blobs.iter().map(|(it, _)| json!(it.digest())).collect();
        assert_eq!(named, [&blobs[0], &blobs[1]]);
        assert!(companion.blobs.iter().all(|(it, bytes)| it.digest() == Digest::of(bytes)));
    }
}
