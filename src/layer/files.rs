//! Writes a layer of the user's own files.
#![allow(clippy::disallowed_methods, reason = "the recipe's files are on disk")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::writer::{Form, LayerWriter, WriteError, Written};
use crate::failure::{Fault, Hinted};
use crate::oci::paths::{ancestors, has_whiteout, whiteout};
use crate::oci::{Digest, Entry, EntryKind, Hasher};
use crate::pypa::bytecode;
use crate::pypa::scheme::InstallScheme;
use crate::store::Store;

/// A file or directory to copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    pub from: PathBuf,
    /// Relative to the image's root.
    pub to: String,
    /// Permission bits of every file; without it, each keeps whether its owner may execute it.
    pub mode: Option<u32>,
}

/// Why files could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error("could not read `{path}`")]
    Read { path: PathBuf, source: io::Error },
    #[error("what `files:` names changed while it was read")]
    Changed,
    #[error("`{path}` has a name that is not UTF-8")]
    Name { path: PathBuf },
    #[error("`{path}` would be `/{to}` in the image, where it stands for a file that is gone")]
    Whiteout { path: PathBuf, to: String },
    #[error("`{path}` would be `/{to}` in the image, below a file of `files:`")]
    Below { path: PathBuf, to: String },
    #[error("`{path}` is neither file, directory nor symbolic link")]
    Kind { path: PathBuf },
}

impl Hinted for FilesError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Read { .. } => "check `files:`; paths in a recipe are relative to the recipe".into(),
            Self::Changed => "run again when nothing writes to it any more".into(),
            Self::Name { .. } | Self::Kind { .. } | Self::Whiteout { .. } | Self::Below { .. } => {
                "rename it, or leave it out of `files:`".into()
            }
        })
    }

    fn fault(&self) -> Fault {
        Fault::Input
    }
}

/// What was found on disk, by path in the image.
#[derive(Debug)]
pub struct Files {
    /// A file that hides another of a lower layer has no path on disk.
    entries: BTreeMap<String, (Entry, Option<PathBuf>)>,
}

impl Files {
    /// Lists what `copies` name; later copies win. Every file belongs to root and has the modification time `mtime`.
    pub fn collect(copies: &[Copy], mtime: u64) -> Result<Self, FilesError> {
        let mut files = Self { entries: BTreeMap::new() };
        for copy in copies {
            files.add(&copy.from, &copy.to, copy.mode, mtime)?;
        }
        let is_directory =
            |path: &str| files.entries.get(path).is_none_or(|(entry, _)| entry.kind == EntryKind::Directory);
        let below = files.entries.iter().find(|(to, _)| !ancestors(to).all(is_directory));
        if let Some((to, (_, Some(from)))) = below {
            return Err(FilesError::Below { path: from.clone(), to: to.clone() });
        }
        Ok(files)
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn add(&mut self, from: &Path, to: &str, mode: Option<u32>, mtime: u64) -> Result<(), FilesError> {
        let unreadable = |source| FilesError::Read { path: from.to_owned(), source };
        let metadata = fs::symlink_metadata(from).map_err(unreadable)?;
        let permissions = metadata.permissions().mode() & 0o777;
        let kind = if metadata.is_dir() {
            EntryKind::Directory
        } else if metadata.is_file() {
            EntryKind::File { size: metadata.len() }
        } else if metadata.is_symlink() {
            let target = fs::read_link(from).map_err(unreadable)?;
            let target = target.into_os_string().into_string();
            EntryKind::Symlink { target: target.map_err(|_| FilesError::Name { path: from.to_owned() })? }
        } else {
            return Err(FilesError::Kind { path: from.to_owned() });
        };
        let permissions = match kind {
            EntryKind::File { .. } if permissions & 0o100 == 0 => mode.unwrap_or(0o644),
            EntryKind::File { .. } => mode.unwrap_or(0o755),
            EntryKind::Directory => 0o755,
            _ => 0o777,
        };
        if has_whiteout(to) {
            return Err(FilesError::Whiteout { path: from.to_owned(), to: to.to_owned() });
        }
        if !to.is_empty() {
            let entry =
                Entry { path: to.to_owned(), mode: permissions, uid: 0, gid: 0, mtime, kind: kind.clone() };
            self.entries.insert(to.to_owned(), (entry, Some(from.to_owned())));
        }
        if kind == EntryKind::Directory {
            for child in fs::read_dir(from).map_err(unreadable)? {
                let child = child.map_err(unreadable)?;
                let name = child.file_name().into_string();
                let name = name.map_err(|_| FilesError::Name { path: child.path() })?;
                let to = if to.is_empty() { name } else { format!("{to}/{name}") };
                self.add(&child.path(), &to, mode, mtime)?;
            }
        }
        Ok(())
    }

    /// Hides the bytecode that lower layers may have of the modules here, which an interpreter would not hold against them.
    pub fn hide_bytecode(&mut self, scheme: &InstallScheme, mtime: u64) {
        let modules = self.entries.keys().filter(|path| scheme.has_module(path));
        let compiled: Vec<String> =
            modules.filter_map(|path| bytecode::cached(path, scheme.version)).collect();
        for path in compiled {
            if !self.entries.contains_key(&path) {
                let path = whiteout(&path);
                let kind = EntryKind::File { size: 0 };
                let entry = Entry { path: path.clone(), mode: 0o644, uid: 0, gid: 0, mtime, kind };
                self.entries.insert(path, (entry, None));
            }
        }
    }

    /// What the layer is made from: the same for the same names, modes and contents.
    pub fn key(&self) -> Result<Digest, FilesError> {
        let mut hasher = Hasher::default();
        for (entry, path) in self.entries.values() {
            hasher.update(format!("{entry:?}\0").as_bytes());
            if let Some(path) = path
                && matches!(entry.kind, EntryKind::File { .. })
            {
                let read = |source| FilesError::Read { path: path.clone(), source };
                io::copy(&mut File::open(path).map_err(read)?, &mut hasher).map_err(read)?;
            }
        }
        Ok(hasher.finish())
    }

    /// Refuses files that are not what they were when [`Self::key`] gave `key`: a layer was made of something between.
    pub fn check_unchanged(&self, key: &Digest) -> Result<(), FilesError> {
        match self.key()? == *key {
            true => Ok(()),
            false => Err(FilesError::Changed),
        }
    }

    /// Writes the layer.
    pub fn write(&self, store: &Store, form: &Form) -> Result<Written, WriteError> {
        let mut writer = LayerWriter::new(store, form, &|_| ())?;
        for (_, (entry, path)) in form.in_order(&self.entries) {
            match (path, &entry.kind) {
                (Some(path), EntryKind::File { .. }) => writer.file(entry, || File::open(path))?,
                (None, EntryKind::File { .. }) => writer.file(entry, || Ok(io::empty()))?,
                _ => writer.entry(entry)?,
            }
        }
        writer.finish()
    }
}
