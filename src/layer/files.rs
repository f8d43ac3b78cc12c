//! Lists the user's own files, and writes the layer of them.
#![allow(clippy::disallowed_methods, reason = "the recipe's files are on disk")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::writer::{LayerWriter, WriteError, Written};
use crate::beneath::{FileRoot, ReachError};
use crate::failure::{Fault, Hinted};
use crate::observe::layered::join;
use crate::oci::dockerignore::{DockerIgnore, PatternError};
use crate::oci::paths::{PathFault, ancestors, path_fault};
use crate::oci::{Digest, Entry, EntryKind, Hasher};
use crate::plan::{CopiedFile, FilesLayer};
use crate::store::Store;

/// A file or directory to copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// The path on disk.
    pub from: PathBuf,
    /// Relative to the image's root.
    pub to: String,
    /// True if a file goes into the directory `to`.
    pub into: bool,
    /// Permission bits of every file; without it, each keeps whether its owner may execute it.
    pub mode: Option<u32>,
    /// The numbers of the user and the group that own it.
    pub owner: (u32, u32),
    /// The files and directories that are left out.
    pub exclude: Vec<String>,
}

/// The reason why files could not be copied.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum FilesError {
    #[error("could not read `{path}`")]
    Read { path: PathBuf, source: io::Error },
    #[error("`{path}` changed while the image was built")]
    Changed { path: PathBuf },
    #[error("the content of `/{path}` is not at hand")]
    Absent { path: String },
    #[error("`{path}` has a name that is not UTF-8")]
    Name { path: PathBuf },
    #[error("`{path}` would be `/{to}` in the image: {fault}")]
    Path { path: PathBuf, to: String, fault: PathFault },
    #[error("`{path}` would be `/{to}` in the image, below a file of `files:`")]
    Below { path: PathBuf, to: String },
    #[error("`{pattern}` is no pattern")]
    Pattern { pattern: String, source: PatternError },
    #[error("could not read `{path}`")]
    Reach { path: PathBuf, source: ReachError },
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl FilesError {
    fn reach(path: &Path) -> impl FnOnce(ReachError) -> Self {
        let path = path.to_owned();
        move |source| match source {
            ReachError::Io(source) => Self::Read { path, source },
            source => Self::Reach { path, source },
        }
    }
}

impl Hinted for FilesError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Write(error) => return error.hint(),
            Self::Absent { .. } => "build where the recipe is, with the files that it names".into(),
            Self::Read { .. } => "check `files:`; paths in a recipe are relative to the recipe".into(),
            Self::Pattern { .. } => "write it as in a .dockerignore".into(),
            Self::Changed { .. } => "run again when nothing writes to it any more".into(),
            Self::Reach { source, .. } => return source.hint(),
            Self::Name { .. } | Self::Path { .. } | Self::Below { .. } => {
                "rename it, or leave it out of `files:`".into()
            }
        })
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Write(error) => error.fault(),
            _ => Fault::Input,
        }
    }
}

/// Files on disk, as a plan has them, and their paths.
#[derive(Debug, Default)]
pub struct FilesOnDisk {
    /// Sorted by path, each once; modification times are the plan's to decide.
    pub files: Vec<CopiedFile>,
    /// A file with each content.
    pub contents: FileContents,
}

/// The paths of files by their contents, and the directory that they are reached from.
#[derive(Debug, Default)]
pub struct FileContents {
    root: Option<FileRoot>,
    paths: BTreeMap<Digest, PathBuf>,
}

/// Lists the files below `root` that `copies` name, and hashes them; later copies win.
pub fn list(root: &FileRoot, copies: &[Copy]) -> Result<FilesOnDisk, FilesError> {
    let mut listing = DiskListing { root, entries: BTreeMap::new() };
    for copy in copies {
        listing.copy(copy)?;
    }
    listing.check_parents()?;
    let mut on_disk = FilesOnDisk::default();
    on_disk.contents.root = Some(root.clone());
    for (entry, path) in listing.entries.into_values() {
        let content =
            matches!(entry.kind, EntryKind::File { .. }).then(|| digest(root, &path)).transpose()?;
        on_disk.contents.paths.extend(content.map(|digest| (digest, path)));
        on_disk.files.push(CopiedFile { entry, content });
    }
    Ok(on_disk)
}

fn digest(root: &FileRoot, path: &Path) -> Result<Digest, FilesError> {
    let mut file = root.open_file(path).map_err(FilesError::reach(path))?;
    let mut hasher = Hasher::default();
    io::copy(&mut file, &mut hasher).map_err(|source| FilesError::Read { path: path.to_owned(), source })?;
    Ok(hasher.finish())
}

/// Entries by path in the image, with their paths on disk.
struct DiskListing<'a> {
    root: &'a FileRoot,
    entries: BTreeMap<String, (Entry, PathBuf)>,
}

impl DiskListing<'_> {
    /// Refuses a file below another file.
    fn check_parents(&self) -> Result<(), FilesError> {
        let is_directory =
            |path: &str| self.entries.get(path).is_none_or(|(entry, _)| entry.kind == EntryKind::Directory);
        match self.entries.iter().find(|(to, _)| !ancestors(to).all(is_directory)) {
            Some((to, (_, from))) => Err(FilesError::Below { path: from.clone(), to: to.clone() }),
            None => Ok(()),
        }
    }

    /// Lists what `COPY` of a Dockerfile would copy: what a directory holds, a file under its own name where it goes into a
    /// directory.
    fn copy(&mut self, copy: &Copy) -> Result<(), FilesError> {
        let is_directory =
            self.root.find(&copy.from).map_err(FilesError::reach(&copy.from))?.metadata.is_dir();
        let name = copy.from.file_name().filter(|_| copy.into && !is_directory);
        let to = match name {
            Some(name) => {
                let name = name.to_str().ok_or_else(|| FilesError::Name { path: copy.from.clone() })?;
                join(&copy.to, name)
            }
            None => copy.to.clone(),
        };
        let excluded = DockerIgnore::new(copy.exclude.iter().map(String::as_str));
        let excluded = excluded
            .map_err(|(pattern, source)| FilesError::Pattern { pattern: pattern.to_owned(), source })?;
        self.add(&copy.from, &to, copy, &excluded)
    }

    fn add(&mut self, from: &Path, to: &str, copy: &Copy, excluded: &DockerIgnore) -> Result<(), FilesError> {
        let mode = copy.mode;
        let inside = from.strip_prefix(&copy.from).ok().and_then(Path::to_str).unwrap_or_default();
        let is_excluded = !inside.is_empty() && excluded.excludes(inside);
        if is_excluded && !excluded.has_exceptions() {
            return Ok(());
        }
        let unreadable = |source| FilesError::Read { path: from.to_owned(), source };
        let found = self.root.find(from).map_err(FilesError::reach(from))?;
        let metadata = &found.metadata;
        let permissions = metadata.permissions().mode() & 0o777;
        let kind = if metadata.is_dir() {
            EntryKind::Directory
        } else if metadata.is_file() {
            EntryKind::File { size: metadata.len() }
        } else {
            let target = found.target().map_err(unreadable)?.into_string();
            EntryKind::Symlink { target: target.map_err(|_| FilesError::Name { path: from.to_owned() })? }
        };
        let permissions = match kind {
            EntryKind::File { .. } if permissions & 0o100 == 0 => mode.unwrap_or(0o644),
            EntryKind::File { .. } => mode.unwrap_or(0o755),
            EntryKind::Directory => 0o755,
            _ => 0o777,
        };
        if let Some(fault) = path_fault(to) {
            return Err(FilesError::Path { path: from.to_owned(), to: to.to_owned(), fault });
        }
        if !to.is_empty() && !is_excluded {
            let entry = Entry {
                path: to.to_owned(),
                mode: permissions,
                uid: copy.owner.0.into(),
                gid: copy.owner.1.into(),
                mtime: 0,
                kind: kind.clone(),
            };
            self.entries.insert(to.to_owned(), (entry, from.to_owned()));
        }
        if kind == EntryKind::Directory {
            for name in self.root.names(from).map_err(FilesError::reach(from))? {
                let path = from.join(&name);
                let name = name.into_string().map_err(|_| FilesError::Name { path: path.clone() })?;
                self.add(&path, &join(to, &name), copy, excluded)?;
            }
        }
        Ok(())
    }
}

/// Writes the layer, each content from the path that `contents` has for it. A file that is not what it was when it was
/// listed is refused.
pub fn write(layer: &FilesLayer, contents: &FileContents, store: &Store) -> Result<Written, FilesError> {
    let mut writer = LayerWriter::new(store, &layer.compression, &|_| ())?;
    let files = layer.files.iter().map(|file| (file.entry.path.clone(), file)).collect();
    for (_, file) in layer.compression.in_order(&files) {
        match &file.content {
            Some(digest) => copy(&mut writer, &file.entry, digest, contents)?,
            None => writer.entry(&file.entry)?,
        }
    }
    Ok(writer.finish()?)
}

fn copy(
    writer: &mut LayerWriter<'_>,
    entry: &Entry,
    digest: &Digest,
    contents: &FileContents,
) -> Result<(), FilesError> {
    let found = contents.root.as_ref().zip(contents.paths.get(digest));
    let (root, path) = found.ok_or_else(|| FilesError::Absent { path: entry.path.clone() })?;
    let changed = || FilesError::Changed { path: path.clone() };
    let hasher = RefCell::new(Hasher::default());
    let copied = writer.file(entry, || {
        let file = root.open_file(path).map_err(io::Error::other)?;
        Ok(Hashed { file, hasher: &hasher })
    });
    copied.map_err(|error| match error {
        WriteError::Size { .. } => changed(),
        error => error.into(),
    })?;
    if hasher.into_inner().finish() == *digest { Ok(()) } else { Err(changed()) }
}

/// A file that is hashed while it is read.
struct Hashed<'a> {
    file: File,
    hasher: &'a RefCell<Hasher>,
}

impl Read for Hashed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.hasher.borrow_mut().update(&buffer[..count]);
        Ok(count)
    }
}
