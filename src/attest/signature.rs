//! Signatures of images as cosign 2 makes and reads them: a payload that names a digest, and a manifest of such payloads.
//!
//! * <https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md>
//! * <https://github.com/containers/image/blob/main/docs/containers-signature.5.md>

use oci_spec::image::{MediaType, SCHEMA_VERSION};
use serde::Deserialize;
use serde_json::{Value, json};

use super::key::SigningKey;
use crate::oci::Digest;
use crate::oci::image::{from_json, to_json};

/// The type that a payload states.
const TYPE: &str = "cosign container image signature";

/// The media type of a payload.
const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// The annotation of a payload's descriptor that has its signature.
pub(super) const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// The signatures of one image that are read: registries take manifests of some thousands.
pub const MOST_SIGNATURES: usize = 64;

/// A signature of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSignature {
    /// The signed bytes.
    pub payload: Vec<u8>,
    /// The signature in base64.
    pub signature: String,
}

/// A signature in a manifest, whose payload is a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSignature {
    /// The digest of the payload.
    pub payload: Digest,
    /// The size of the payload in bytes.
    pub size: u64,
    /// The signature in base64.
    pub signature: String,
}

/// The manifest of an image's signatures, with the config that it has as an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureManifest {
    /// The manifest.
    pub manifest: Vec<u8>,
    /// The config.
    pub config: Vec<u8>,
}

/// Signs an image: `repository` is its name without a tag, `digest` that of what the name names.
pub fn sign(key: &SigningKey, repository: &str, digest: &Digest) -> serde_json::Result<ImageSignature> {
    let payload = serde_json::to_vec(&json!({
        "critical": {
            "identity": {"docker-reference": repository},
            "image": {"docker-manifest-digest": digest},
            "type": TYPE,
        },
        "optional": null,
    }))?;
    let signature = key.sign(&payload);
    Ok(ImageSignature { payload, signature })
}

/// The digest that a payload names, where it is a payload of a signature.
pub fn signed_digest(payload: &[u8]) -> Option<Digest> {
    #[derive(Deserialize)]
    struct Payload {
        critical: Critical,
    }
    #[derive(Deserialize)]
    struct Critical {
        image: SignedImage,
        r#type: String,
    }
    #[derive(Deserialize)]
    struct SignedImage {
        #[serde(rename = "docker-manifest-digest")]
        digest: Digest,
    }
    let payload: Payload = serde_json::from_slice(payload).ok()?;
    (payload.critical.r#type == TYPE).then_some(payload.critical.image.digest)
}

/// The manifest of signatures with one more; `manifest` is the one that is there. `None` where it has the signature already.
pub fn with_signature(
    manifest: Option<&[u8]>,
    signature: &ImageSignature,
) -> serde_json::Result<Option<SignatureManifest>> {
    let annotations = json!({SIGNATURE: signature.signature});
    with_layer(manifest, PAYLOAD, &signature.payload, annotations)
}

/// A manifest with one blob more; `None` where it has it already.
pub(super) fn with_layer(
    manifest: Option<&[u8]>,
    media_type: &str,
    blob: &[u8],
    annotations: Value,
) -> serde_json::Result<Option<SignatureManifest>> {
    let mut layers: Vec<Value> = match manifest {
        Some(bytes) => {
            let there: Value = from_json(bytes)?;
            there.get("layers").and_then(Value::as_array).cloned().unwrap_or_default()
        }
        None => Vec::new(),
    };
    let layer = json!({
        "mediaType": media_type,
        "digest": Digest::of(blob),
        "size": blob.len(),
        "annotations": annotations,
    });
    let is_same =
        |other: &Value| ["digest", "annotations"].iter().all(|member| other.get(member) == layer.get(member));
    if layers.iter().any(is_same) {
        return Ok(None);
    }
    layers.push(layer);
    let digests: Vec<&Value> = layers.iter().filter_map(|layer| layer.get("digest")).collect();
    // The time of Go's beginning, as cosign has it: no clock has a say.
    let config = to_json(&json!({
        "architecture": "",
        "os": "",
        "config": {},
        "created": "0001-01-01T00:00:00Z",
        "history": vec![json!({"created": "0001-01-01T00:00:00Z"}); layers.len()],
        "rootfs": {"type": "layers", "diff_ids": digests},
    }))?;
    let manifest = to_json(&json!({
        "schemaVersion": SCHEMA_VERSION,
        "mediaType": MediaType::ImageManifest,
        "config": {
            "mediaType": MediaType::ImageConfig,
            "digest": Digest::of(&config),
            "size": config.len(),
        },
        "layers": layers,
    }))?;
    Ok(Some(SignatureManifest { manifest, config }))
}

/// The signatures that a manifest lists; what is none is passed over.
pub fn listed(manifest: &[u8]) -> serde_json::Result<Vec<ListedSignature>> {
    let manifest: Value = from_json(manifest)?;
    let layers = manifest.get("layers").and_then(Value::as_array).into_iter().flatten();
    let signature = |layer: &Value| {
        Some(ListedSignature {
            payload: layer.get("digest")?.as_str()?.parse().ok()?,
            size: layer.get("size")?.as_u64()?,
            signature: layer.get("annotations")?.get(SIGNATURE)?.as_str()?.to_owned(),
        })
    };
    Ok(layers.filter_map(signature).take(MOST_SIGNATURES).collect())
}
