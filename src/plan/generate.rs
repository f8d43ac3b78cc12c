//! Makes entries of generated files.

use crate::base::CudaCopy;
use crate::oci::{Entry, EntryKind, Generated, paths};
use crate::pypa::scheme::relative;

pub(super) struct Maker {
    pub mtime: u64,
}

impl Maker {
    fn entry(&self, path: &str, mode: u32, kind: EntryKind) -> Entry {
        Entry { path: path.to_owned(), mode, uid: 0, gid: 0, mtime: self.mtime, kind }
    }

    /// A directory.
    pub(super) fn directory(&self, path: &str) -> Generated {
        Generated { entry: self.entry(path, 0o755, EntryKind::Directory), bytes: Vec::new() }
    }

    /// The file that hides `path`.
    pub(super) fn whiteout(&self, path: &str) -> Generated {
        Generated { entry: self.entry(&paths::whiteout(path), 0o644, EntryKind::Whiteout), bytes: Vec::new() }
    }

    /// A symlink.
    pub(super) fn link(&self, path: &str, target: &str) -> Generated {
        let kind = EntryKind::Symlink { target: target.to_owned() };
        Generated { entry: self.entry(path, 0o777, kind), bytes: Vec::new() }
    }

    /// Links in `directory` to the libraries of a copy of the base, by their SONAMEs.
    pub(super) fn library_links(&self, copy: &CudaCopy, directory: &str) -> impl Iterator<Item = Generated> {
        copy.libraries.iter().map(move |library| {
            self.link(&format!("{directory}/{}", library.soname), &relative(directory, &library.path))
        })
    }

    /// A file.
    pub(super) fn file(&self, path: &str, content: String) -> Generated {
        let kind = EntryKind::File { size: content.len() as u64 };
        Generated { entry: self.entry(path, 0o644, kind), bytes: content.into_bytes() }
    }
}
