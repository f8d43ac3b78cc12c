//! Directories of files that came out of blobs and are used where they are: interpreters.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::unnamed::PREFIX;
use super::{Store, StoreError, claim, guarded};
use crate::oci::Digest;

/// Their directory, below the store's root.
const TREES: &str = "interpreters";

/// An empty directory for one process, which is gone with this value, or is cleared once that process was killed.
#[derive(Debug)]
pub struct ScratchDirectory {
    directory: tempfile::TempDir,
    _lock: File,
}

impl ScratchDirectory {
    /// Its path.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Store {
    /// An empty directory that disappears with its handle.
    pub fn scratch_directory(&self) -> Result<ScratchDirectory, StoreError> {
        let (directory, lock) = self.begin_tree().map_err(StoreError::new("write", self.root.join("tmp")))?;
        Ok(ScratchDirectory { directory, _lock: lock })
    }

    /// The directory that stands for `key`, as an absolute path; `None` when there is none. One that there is stays as long
    /// as this process uses the store.
    pub fn tree(&self, key: &Digest) -> Option<PathBuf> {
        let _gate = self.gate();
        let path = self.tree_path(key);
        if !fs::symlink_metadata(&path).is_ok_and(|tree| tree.is_dir()) {
            return None;
        }
        let path = path.canonicalize().ok()?;
        // Its access time would be that of whoever looks into it last. A store that is only read has no marks.
        let _ = File::open(&path).and_then(|tree| tree.set_modified(SystemTime::now()));
        Some(path)
    }

    /// Makes the directory that stands for `key`, unless it is there: `fill` puts files into one that is seen once it is
    /// whole.
    pub fn put_tree<E: From<StoreError>>(
        &self,
        key: &Digest,
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<PathBuf, E> {
        if let Some(path) = self.tree(key) {
            return Ok(path);
        }
        let path = self.tree_path(key);
        let (unfinished, _lock) = self.begin_tree().map_err(StoreError::new("create", &path))?;
        fill(unfinished.path())?;
        // The store's own root decides who comes here; the user of a sandbox, who sees nothing else of it, must.
        let opened = fs::set_permissions(unfinished.path(), fs::Permissions::from_mode(0o755));
        opened.map_err(StoreError::new("open", &path))?;
        // Its files are believed for as long as the directory is there: they have to outlive a loss of power.
        File::open(unfinished.path())
            .and_then(|tree| Ok(rustix::fs::syncfs(tree)?))
            .map_err(StoreError::new("write", &path))?;
        let renamed = fs::rename(unfinished.path(), &path);
        // Another build may have been faster.
        let made = self.tree(key).ok_or_else(|| renamed.err().unwrap_or(io::ErrorKind::NotFound.into()));
        Ok(made.map_err(StoreError::new("create", &path))?)
    }

    /// An empty directory which the next one to open the store clears, when this process is killed: until then it is locked.
    fn begin_tree(&self) -> io::Result<(tempfile::TempDir, File)> {
        guarded::private_directory(&self.root.join(TREES))?;
        loop {
            let directory = tempfile::Builder::new().prefix(PREFIX).tempdir_in(self.root.join("tmp"))?;
            let lock = match File::open(directory.path()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                lock => lock?,
            };
            if claim::lock_made(&lock, directory.path()) {
                return Ok((directory, lock));
            }
        }
    }

    fn tree_path(&self, key: &Digest) -> PathBuf {
        self.root.join(TREES).join(key.hex())
    }

    /// Removes the directories that were not used since `before`; gives how many they are, and how many bytes that frees.
    pub(super) fn prune_trees(&self, before: SystemTime, dry: bool) -> io::Result<(u64, u64)> {
        let (mut count, mut freed) = (0, 0);
        let entries = match fs::read_dir(self.root.join(TREES)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((0, 0)),
            entries => entries?,
        };
        for entry in entries {
            if let Some(size) = self.remove_tree(&entry?.path(), before, dry)? {
                count += 1;
                freed += size;
            }
        }
        Ok((count, freed))
    }

    fn remove_tree(&self, path: &Path, before: SystemTime, dry: bool) -> io::Result<Option<u64>> {
        if dry {
            return self.unless_used(path, before, Metadata::modified, |_| size(path));
        }
        // Out of sight at once; the rest takes its time.
        let removed = self.unless_used(path, before, Metadata::modified, |_| {
            let (directory, lock) = self.begin_tree()?;
            fs::rename(path, directory.path().join("removed"))?;
            Ok((directory, lock))
        })?;
        let Some((directory, _lock)) = removed else { return Ok(None) };
        let freed = size(directory.path())?;
        directory.close()?;
        Ok(Some(freed))
    }
}

/// The bytes of all files below a directory.
fn size(path: &Path) -> io::Result<u64> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    fs::read_dir(path)?.try_fold(0, |sum, entry| Ok(sum + size(&entry?.path())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(store: &Store, key: &Digest) -> PathBuf {
        let fill =
            |path: &Path| fs::write(path.join("file"), "content").map_err(StoreError::new("write", path));
        store.put_tree(key, fill).unwrap()
    }

    fn names(path: &Path) -> Vec<String> {
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_tree_is_made_once_and_stays_while_it_is_used() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let key = Digest::of("an interpreter");
        assert_eq!(store.tree(&key), None);
        let path = put(&store, &key);
        assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "content");
        fs::write(path.join("file"), "as it is").unwrap();
        assert_eq!(put(&store, &key), path);
        assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "as it is");

        let now = SystemTime::now();
        assert_eq!(store.prune_trees(now - std::time::Duration::from_secs(60), false).unwrap(), (0, 0));
        let later = now + std::time::Duration::from_secs(60);
        assert_eq!(store.prune_trees(later, true).unwrap(), (1, 8));
        assert!(path.exists());
        assert_eq!(store.prune_trees(later, false).unwrap(), (1, 8));
        assert!(!path.exists() && store.tree(&key).is_none());
    }

    #[test]
    fn who_looks_into_a_tree_does_not_use_it() {
        const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let path = put(&store, &Digest::of("an interpreter"));
        let now = SystemTime::now();
        let long_ago = fs::FileTimes::new().set_accessed(now - DAY * 40).set_modified(now - DAY * 40);
        File::open(&path).unwrap().set_times(long_ago).unwrap();
        assert_eq!(store.prune_trees(now - DAY * 30, true).unwrap(), (1, 7));
        assert_eq!(names(&path), ["file"]);
        assert_eq!(store.prune_trees(now - DAY * 30, false).unwrap(), (1, 7));
    }

    #[test]
    fn what_a_killed_process_began_is_cleared() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let (unfinished, lock) = store.begin_tree().unwrap();
        fs::write(unfinished.path().join("file"), "half of it").unwrap();
        let abandoned = unfinished.keep();
        let is_there = || {
            Store::open(directory.path()).unwrap();
            names(&directory.path().join("tmp")).iter().any(|name| abandoned.ends_with(name))
        };
        assert!(is_there());
        drop(lock);
        assert!(!is_there());
    }
}
