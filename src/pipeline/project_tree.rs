//! A project's directory, packed as an archive whose bytes tell its files and nothing else.

use std::io::{self, Read, Write};
use std::path::Path;

use tar::{Builder, EntryType};

use crate::beneath::{FileRoot, ReachError};
use crate::failure::Hinted;
use crate::oci::Digest;
use crate::store::{Store, StoreError};

/// The names that are no part of a project: of version control and caches.
const LEFT_OUT: [&str; 12] = [
    ".bzr",
    ".eggs",
    ".git",
    ".hg",
    ".mypy_cache",
    ".nox",
    ".pytest_cache",
    ".ruff_cache",
    ".svn",
    ".tox",
    "__pycache__",
    "node_modules",
];
/// The ends of such names.
const LEFT_OUT_ENDS: [&str; 2] = [".egg-info", ".pyc"];
/// The directories of earlier builds, at the top of a project.
const EARLIER_BUILDS: [&str; 3] = ["build", "dist", "target"];
/// The files by which the directory of an environment or of an image is known.
const FOREIGN: [&str; 2] = ["pyvenv.cfg", "oci-layout"];
/// The files of a project's directory, and their bytes.
const MOST_FILES: usize = 1 << 16;
const MOST_BYTES: u64 = 1 << 30;
/// The directories in each other.
const DEEPEST: usize = 64;
/// The permission bits of files, which are those of Git.
const READABLE: u32 = 0o644;
const EXECUTABLE: u32 = 0o755;
const ANY_EXECUTES: u32 = 0o111;
/// The time of every file: 1980-01-01.
const EPOCH: u64 = 315_532_800;

/// The reason why a directory cannot be packed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum ProjectTreeError {
    #[error("could not read `{path}`")]
    Reach { path: String, source: ReachError },
    #[error("could not pack `{path}`")]
    Pack { path: String, source: io::Error },
    #[error(
        "it has more than {MOST_FILES} files, {MOST_BYTES} bytes, or {DEEPEST} directories in each other"
    )]
    Large,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Hinted for ProjectTreeError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Reach { source, .. } => source.hint(),
            Self::Pack { source, .. } => source.hint(),
            Self::Large => {
                Some("name the directory that has the project's `pyproject.toml` and little else".into())
            }
            Self::Store(error) => error.hint(),
        }
    }
}

/// The files of a directory that are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TreeContent {
    /// Those of a project that somebody works on.
    Project,
    /// Everything that a repository has.
    Repository,
}

/// Packs the directory at `directory`, which is reached from `root`, into `store`. Links stay links.
pub(super) fn pack(
    root: &FileRoot,
    directory: &Path,
    content: TreeContent,
    store: &Store,
) -> Result<Digest, ProjectTreeError> {
    let mut packing = Packing { root, content, archive: Builder::new(store.new_blob()?), files: 0, bytes: 0 };
    packing.add_all(directory, "", 0)?;
    let unpacked = |source| ProjectTreeError::Pack { path: directory.display().to_string(), source };
    let blob = packing.archive.into_inner().map_err(unpacked)?;
    Ok(blob.finish()?.0)
}

struct Packing<'a, W: Write> {
    root: &'a FileRoot,
    content: TreeContent,
    archive: Builder<W>,
    files: usize,
    bytes: u64,
}

impl<W: Write> Packing<'_, W> {
    /// Adds everything in a directory, which is at `above` in the archive, in the order of the names.
    fn add_all(&mut self, directory: &Path, above: &str, depth: usize) -> Result<(), ProjectTreeError> {
        let unreachable = |source| ProjectTreeError::Reach { path: directory.display().to_string(), source };
        let names = match depth {
            0 => self.root.linked_names(directory),
            _ => self.root.names(directory),
        };
        let names = names.map_err(unreachable)?;
        let names: Vec<&str> = names.iter().filter_map(|name| name.to_str()).collect();
        let content = self.content;
        let is_left_out = |name: &&&str| match content {
            TreeContent::Project => is_left_out(name, &names, depth),
            TreeContent::Repository => **name == ".git",
        };
        for name in names.iter().filter(|name| !is_left_out(name)) {
            self.add(&directory.join(name), &format!("{above}{name}"), depth)?;
        }
        Ok(())
    }

    fn add(&mut self, path: &Path, name: &str, depth: usize) -> Result<(), ProjectTreeError> {
        let unreachable = |source| ProjectTreeError::Reach { path: path.display().to_string(), source };
        let unpacked = |source| ProjectTreeError::Pack { path: path.display().to_string(), source };
        let found = match self.root.find(path) {
            // Sockets and pipes are no part of a project.
            Err(ReachError::Kind) => return Ok(()),
            found => found.map_err(unreachable)?,
        };
        let kind = found.metadata.file_type();
        self.count(if kind.is_file() { found.metadata.len() } else { 0 }, depth)?;
        if kind.is_dir() {
            let is_foreign = self.content == TreeContent::Project
                && FOREIGN.iter().any(|file| self.root.find(&path.join(file)).is_ok());
            return if is_foreign { Ok(()) } else { self.add_all(path, &format!("{name}/"), depth + 1) };
        }
        if kind.is_symlink() {
            let target = found.target().map_err(unpacked)?;
            let mut header = header(EntryType::Symlink, 0, READABLE);
            return self.archive.append_link(&mut header, name, target).map_err(unpacked);
        }
        let file = self.root.open_file(path).map_err(unreachable)?;
        let metadata = file.metadata().map_err(unpacked)?;
        let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions());
        let mode = if mode & ANY_EXECUTES == 0 { READABLE } else { EXECUTABLE };
        let mut header = header(EntryType::Regular, metadata.len(), mode);
        self.archive.append_data(&mut header, name, file.take(metadata.len())).map_err(unpacked)
    }

    fn count(&mut self, size: u64, depth: usize) -> Result<(), ProjectTreeError> {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(size);
        match self.files > MOST_FILES || self.bytes > MOST_BYTES || depth > DEEPEST {
            true => Err(ProjectTreeError::Large),
            false => Ok(()),
        }
    }
}

/// Returns whether a name among `names` is no part of a project.
fn is_left_out(name: &str, names: &[&str], depth: usize) -> bool {
    let is_recipes_lock = name.strip_suffix(".lock").is_some_and(|stem| {
        [".yaml", ".yml"].iter().any(|end| names.contains(&format!("{stem}{end}").as_str()))
    });
    LEFT_OUT.contains(&name)
        || LEFT_OUT_ENDS.iter().any(|end| name.ends_with(end))
        || (depth == 0 && EARLIER_BUILDS.contains(&name))
        || is_recipes_lock
}

fn header(kind: EntryType, size: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(EPOCH);
    header
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::beneath::Outside;

    #[test]
    fn what_is_no_part_of_a_project_has_no_say() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store")).unwrap();
        let project = directory.path().join("project");
        let write = |path: &str, text: &str| {
            let path = project.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("pyproject.toml", "");
        write("recipe.yaml", "");
        write("app/build/__init__.py", "X = 1\n");
        let root = FileRoot::open(directory.path(), Outside::Refused).unwrap();
        let packed = || pack(&root, &project, TreeContent::Project, &store).unwrap();
        let mut last = packed();
        for path in [
            ".git/HEAD",
            "app/__pycache__/a.pyc",
            "build/lib/app.py",
            "out/demo/oci-layout",
            "environment/pyvenv.cfg",
            "recipe.lock",
        ] {
            write(path, "");
            assert_eq!(packed(), last, "{path}");
        }
        for path in ["app/build/__init__.py", "Cargo.lock", "out/demo.txt"] {
            write(path, "other");
            assert_ne!(packed(), last, "{path}");
            last = packed();
        }
    }
}
