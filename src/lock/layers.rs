//! Layers that a lock pins: what the keys of their plans stand for.

use serde::{Deserialize, Serialize};

use crate::oci::Digest;

/// A layer that a lock pins: nothing of it is believed that a cache says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedLayer {
    /// Its content, for people: `torch 2.6.0`.
    pub title: String,
    /// The key of its plan.
    pub key: Digest,
    /// The digest of its blob.
    pub digest: Digest,
    /// The size of its blob in bytes.
    pub size: u64,
    /// The digest of the uncompressed tar.
    pub diff_id: Digest,
    /// The digest of the facts of its files, as a cache keeps them.
    pub facts: Digest,
}

impl LockedLayer {
    /// The first thing in which a layer of this digest, size and diff_id differs from it: what it is, what is locked, and what
    /// the layer has.
    pub fn difference(
        &self,
        digest: Digest,
        size: u64,
        diff_id: Digest,
    ) -> Option<(&'static str, String, String)> {
        let differs = |what, locked: String, got: String| (locked != got).then_some((what, locked, got));
        differs("the digest", self.digest.to_string(), digest.to_string())
            .or_else(|| differs("the size", self.size.to_string(), size.to_string()))
            .or_else(|| differs("the diff_id", self.diff_id.to_string(), diff_id.to_string()))
    }
}
