//! One entry of a layer: the fields of a tar header that OCI keeps.

use serde::{Deserialize, Serialize};

/// One entry of a layer tar.
///
/// <https://github.com/opencontainers/image-spec/blob/main/layer.md#file-attributes>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Relative to the image's root, without a leading or trailing slash: `usr/bin/env`.
    pub path: String,
    /// Permission bits, with setuid, setgid and sticky: at most `0o7777`.
    pub mode: u32,
    /// The owner's number.
    pub uid: u64,
    /// The group's number.
    pub gid: u64,
    /// Seconds since the Unix epoch.
    pub mtime: u64,
    /// The kind of the entry.
    pub kind: EntryKind,
}

/// The kind of an [`Entry`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A regular file of `size` bytes.
    File {
        /// In bytes.
        size: u64,
    },
    /// A symbolic link.
    Symlink {
        /// As written in the link.
        target: String,
    },
    /// Another name of the file at `target`, a path like [`Entry::path`], written earlier in the same layer.
    Hardlink {
        /// The path of an earlier entry, relative to the root.
        target: String,
    },
    /// An empty file whose name hides what lower layers have. No other entry of a layer that is written may have such a
    /// name.
    ///
    /// <https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts>
    Whiteout,
}

/// An entry whose content is at hand, because imgforge made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generated {
    /// The entry.
    pub entry: Entry,
    /// Empty for anything but a regular file. In JSON a string where it is UTF-8, else an array of bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "text_or_bytes")]
    pub bytes: Vec<u8>,
}

mod text_or_bytes {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Content {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => bytes.serialize(serializer),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        Ok(match Content::deserialize(deserializer)? {
            Content::Text(text) => text.into_bytes(),
            Content::Bytes(bytes) => bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_file_is_read_from_json_as_it_was_written() {
        for bytes in [&b"text\n"[..], b"\xff\x00", b""] {
            let kind = EntryKind::File { size: bytes.len() as u64 };
            let entry = Entry { path: "a".into(), mode: 0o644, uid: 0, gid: 0, mtime: 1, kind };
            let file = Generated { entry, bytes: bytes.to_vec() };
            let json = serde_json::to_string(&file).unwrap();
            assert_eq!(serde_json::from_str::<Generated>(&json).unwrap(), file, "{json}");
        }
    }
}
