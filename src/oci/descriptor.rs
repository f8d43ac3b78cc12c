//! Descriptors of blobs by sha256.

use std::collections::BTreeMap;

use oci_spec::image as spec;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::image::in_order;
use super::{Digest, DigestError};

/// A descriptor whose digest is sha256; the other fields are kept as the specification has them.
///
/// Descriptors by other algorithms stay in the documents that have them, and are refused where their content is needed.
///
/// <https://github.com/opencontainers/image-spec/blob/main/descriptor.md>
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    digest: Digest,
    fields: spec::Descriptor,
}

impl Descriptor {
    /// The descriptor of `size` bytes.
    pub fn new(media_type: spec::MediaType, digest: Digest, size: u64) -> Self {
        Self { digest, fields: spec::Descriptor::new(media_type, size, digest) }
    }

    /// The descriptor of a document.
    pub fn of(media_type: spec::MediaType, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }

    /// The same with these annotations instead of its own.
    pub fn with_annotations(mut self, annotations: &BTreeMap<String, String>) -> Self {
        let annotations = (!annotations.is_empty()).then(|| annotations.clone().into_iter().collect());
        self.fields.set_annotations(annotations);
        self
    }

    /// The same with another media type.
    pub fn with_media_type(mut self, media_type: spec::MediaType) -> Self {
        self.fields.set_media_type(media_type);
        self
    }

    /// The same with a platform.
    pub fn with_platform(mut self, platform: spec::Platform) -> Self {
        self.fields.set_platform(Some(platform));
        self
    }

    /// The digest of the content.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The size of the content in bytes.
    pub fn size(&self) -> u64 {
        self.fields.size()
    }

    /// The kind of the content.
    pub fn media_type(&self) -> &spec::MediaType {
        self.fields.media_type()
    }

    /// The annotations, by name.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        self.fields
            .annotations()
            .iter()
            .flatten()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

impl From<Digest> for spec::Digest {
    fn from(digest: Digest) -> Self {
        digest.to_string().try_into().expect("`sha256:` and 64 lowercase hexadecimal digits are a digest")
    }
}

impl TryFrom<spec::Descriptor> for Descriptor {
    type Error = DigestError;

    fn try_from(fields: spec::Descriptor) -> Result<Self, DigestError> {
        Ok(Self { digest: fields.digest().as_ref().parse()?, fields })
    }
}

impl From<Descriptor> for spec::Descriptor {
    fn from(descriptor: Descriptor) -> Self {
        descriptor.fields
    }
}

impl Serialize for Descriptor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        in_order(&self.fields, serializer)
    }
}

impl<'de> Deserialize<'de> for Descriptor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        spec::Descriptor::deserialize(deserializer)?.try_into().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keeps_every_field_of_the_specification() {
        let whole = json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
            "digest": Digest::of("x"), "size": 7, "urls": ["https://example.test/x"], "data": "eA==",
            "annotations": {"b": "2", "a": "1"}, "artifactType": "application/x",
            "platform": {"architecture": "arm", "os": "linux", "variant": "v7"},
        });
        let fields: spec::Descriptor = serde_json::from_value(whole.clone()).unwrap();
        let descriptor = Descriptor::try_from(fields).unwrap();
        assert_eq!((descriptor.digest(), descriptor.size()), (Digest::of("x"), 7));
        assert_eq!(serde_json::to_value(&descriptor).unwrap(), whole);
    }

    #[test]
    fn has_a_digest_by_sha256() {
        for digest in [format!("sha512:{}", "ab".repeat(64)), "other:ab".to_owned()] {
            let fields = json!({"mediaType": "x", "digest": digest, "size": 7});
            let error = Descriptor::try_from(serde_json::from_value::<spec::Descriptor>(fields).unwrap());
            assert_eq!(error.unwrap_err().to_string(), format!("`{digest}` is not a sha256 digest"));
        }
    }
}
