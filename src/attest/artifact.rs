//! A document as an artifact of its own that refers to an image.
//!
//! <https://github.com/opencontainers/image-spec/blob/main/manifest.md#guidelines-for-artifact-usage>

use std::collections::BTreeMap;

use oci_spec::image::{ImageIndex, MediaType, SCHEMA_VERSION};
use serde_json::{Value, json};

use crate::oci::image::{from_json, from_value, to_json};
use crate::oci::time::rfc3339;
use crate::oci::{Descriptor, Digest};

/// The config of an artifact that needs none.
const EMPTY: (&str, &[u8]) = ("application/vnd.oci.empty.v1+json", b"{}");

/// A document under a manifest of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// The descriptor of its manifest, as a list of referrers has it.
    pub entry: Value,
    /// The digest of its manifest.
    pub digest: Digest,
    /// Its manifest.
    pub manifest: Vec<u8>,
    /// Its blobs.
    pub blobs: Vec<Vec<u8>>,
}

impl Artifact {
    /// The artifact of a `document` about the image `subject`, which was made at `created`; `annotations` say more about the
    /// document.
    pub fn of(
        media_type: &str,
        document: Vec<u8>,
        annotations: &BTreeMap<String, String>,
        subject: &Descriptor,
        created: u64,
    ) -> serde_json::Result<Self> {
        let (empty_type, empty) = EMPTY;
        let described = |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()});
        let mut layer = described(media_type, &document);
        let mut told = annotations.clone();
        told.insert("org.opencontainers.image.created".to_owned(), rfc3339(created));
        if !annotations.is_empty() {
            layer["annotations"] = json!(annotations);
        }
        let manifest = to_json(&json!({
            "schemaVersion": SCHEMA_VERSION,
            "mediaType": MediaType::ImageManifest,
            "artifactType": media_type,
            "config": described(empty_type, empty),
            "layers": [layer],
            "subject": {
                "mediaType": subject.media_type(),
                "digest": subject.digest(),
                "size": subject.size(),
            },
            "annotations": told,
        }))?;
        let mut entry = described(MediaType::ImageManifest.as_ref(), &manifest);
        entry["artifactType"] = media_type.into();
        entry["annotations"] = json!(told);
        let digest = Digest::of(&manifest);
        Ok(Self { entry, digest, manifest, blobs: vec![empty.to_vec(), document] })
    }
}

/// A list of referrers with one more: `list` is the text of the one that is there. `None` where it has it already.
pub fn referrers_with(list: Option<&[u8]>, entry: &Value) -> serde_json::Result<Option<Vec<u8>>> {
    let mut index: Value = match list {
        Some(bytes) => from_json(bytes)?,
        None => {
            json!({"schemaVersion": SCHEMA_VERSION, "mediaType": MediaType::ImageIndex, "manifests": []})
        }
    };
    from_value::<ImageIndex>(index.clone())?;
    let entries = index.get_mut("manifests").and_then(Value::as_array_mut);
    let Some(entries) = entries else { return Ok(None) };
    if entries.iter().any(|known| known.get("digest") == entry.get("digest")) {
        return Ok(None);
    }
    entries.push(entry.clone());
    to_json(&index).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artifact_refers_to_its_image_and_is_listed_once() {
        let subject = Descriptor::new(MediaType::ImageManifest, Digest::of("image"), 5);
        let artifact =
            Artifact::of("application/spdx+json", b"{}".to_vec(), &BTreeMap::new(), &subject, 0).unwrap();
        let manifest: Value = serde_json::from_slice(&artifact.manifest).unwrap();
        assert_eq!(manifest["subject"]["digest"], subject.digest().to_string());
        assert_eq!(manifest["artifactType"], "application/spdx+json");
        let list = referrers_with(None, &artifact.entry).unwrap().unwrap();
        assert_eq!(referrers_with(Some(&list), &artifact.entry).unwrap(), None);
        let other = Artifact::of("text/plain", b"x".to_vec(), &BTreeMap::new(), &subject, 0).unwrap();
        let list = referrers_with(Some(&list), &other.entry).unwrap().unwrap();
        let list: Value = serde_json::from_slice(&list).unwrap();
        assert_eq!(list["manifests"].as_array().unwrap().len(), 2);
        assert!(referrers_with(Some(b"[]"), &artifact.entry).is_err());
    }
}
