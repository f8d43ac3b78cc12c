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
    pub uid: u64,
    pub gid: u64,
    /// Seconds since the Unix epoch.
    pub mtime: u64,
    pub kind: EntryKind,
}

/// What an [`Entry`] is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    Directory,
    /// A regular file of `size` bytes.
    File {
        size: u64,
    },
    Symlink {
        target: String,
    },
    /// Another name of the file at `target`, a path like [`Entry::path`], written earlier in the same layer.
    Hardlink {
        target: String,
    },
}

/// An entry whose content is at hand, because imgforge made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    pub entry: Entry,
    /// Empty for anything but a regular file.
    pub bytes: Vec<u8>,
}
