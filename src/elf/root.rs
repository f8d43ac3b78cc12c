//! The file system as `ldconfig` sees it, answered by whoever knows the image.

use std::collections::BTreeMap;

use super::dynamic::Elf;

/// A root file system: an image's, or in tests this machine's.
///
/// Paths are absolute within it, may lead through symlinks, and resolve without leaving it.
pub trait Root {
    /// The listing of the directory at `path`; `None` when there is no directory.
    fn directory(&self, path: &str) -> Option<DirectoryListing>;

    /// The bytes of the file at `path`; `None` when there is no file.
    fn text(&self, path: &str) -> Option<Vec<u8>>;
}

/// The contents of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DirectoryListing {
    /// The same for two paths exactly when they are one directory: `/lib` and `/usr/lib` on a merged root.
    /// The path without symlinks will do.
    pub identity: String,
    /// In any order.
    pub entries: Vec<DirectoryEntry>,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Its name in the directory.
    pub name: String,
    /// True if it is a symlink.
    pub symlink: bool,
    /// The node that the name leads to, every symlink followed.
    pub node: FileNode,
}

/// A node that a name leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileNode {
    /// A regular file.
    File {
        /// The same for two names exactly when they are one file, through symlinks or hard links.
        identity: String,
        /// `None` for what is not ELF, or not well formed. Only names that [`super::ldconfig::is_library_name`]
        /// accepts are looked at.
        elf: Option<Elf>,
    },
    /// A directory.
    Directory {
        /// As [`DirectoryListing::identity`].
        identity: String,
    },
    /// A device, socket or pipe.
    Other,
    /// A symlink that leads nowhere.
    Dangling,
}

/// A root given as data, without text files.
impl Root for BTreeMap<String, DirectoryListing> {
    fn directory(&self, path: &str) -> Option<DirectoryListing> {
        self.get(path).cloned()
    }

    fn text(&self, _: &str) -> Option<Vec<u8>> {
        None
    }
}
