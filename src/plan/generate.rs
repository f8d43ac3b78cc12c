//! Makes entries of generated files.

use crate::oci::{Entry, EntryKind, Generated};

pub(super) struct Maker {
    pub mtime: u64,
}

impl Maker {
    fn entry(&self, path: &str, mode: u32, kind: EntryKind) -> Entry {
        Entry { path: path.to_owned(), mode, uid: 0, gid: 0, mtime: self.mtime, kind }
    }

    pub fn directory(&self, path: &str) -> Generated {
        Generated { entry: self.entry(path, 0o755, EntryKind::Directory), bytes: Vec::new() }
    }

    pub fn link(&self, path: &str, target: &str) -> Generated {
        let kind = EntryKind::Symlink { target: target.to_owned() };
        Generated { entry: self.entry(path, 0o777, kind), bytes: Vec::new() }
    }

    pub fn file(&self, path: &str, content: String) -> Generated {
        let kind = EntryKind::File { size: content.len() as u64 };
        Generated { entry: self.entry(path, 0o644, kind), bytes: content.into_bytes() }
    }
}
