//! Removes what no build used lately, and nothing that a running one uses.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::unnamed::clear_abandoned;
use super::{Store, StoreError, guarded};
use crate::oci::Digest;

/// The rule by which blobs are removed from a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune {
    /// Removes everything that no build has used for so long.
    UnusedFor(Duration),
    /// Removes the least recently used until all blobs take at most so many bytes.
    ToSize(u64),
    /// Removes everything.
    Everything,
}

/// The result of a removal from a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The number of removed blobs.
    pub blobs: u64,
    /// The number of removed records.
    pub records: u64,
    /// The directories of files out of blobs: see [`Store::tree`].
    pub trees: u64,
    /// The bytes that the file system gets back: none for a blob that an image layout shares.
    pub freed: u64,
    /// The bytes of all blobs that are left.
    pub left: u64,
    /// True if other processes use the store, so that what they may use was left.
    pub in_use: bool,
}

/// A file of the store.
pub(super) struct Listed {
    pub path: PathBuf,
    /// The time of its last mark of use.
    pub used: SystemTime,
    /// In bytes.
    pub size: u64,
}

impl Store {
    /// Removes what `what` says, as far as nothing used it since the oldest running build began. What this process used
    /// itself counts as used by nobody. `dry` removes nothing, and tells what would be.
    ///
    /// Records that lead to a removed blob go with it.
    pub fn prune(&self, what: Prune, dry: bool) -> Result<Pruned, StoreError> {
        let pruned = self.try_prune(what, dry);
        pruned.map_err(StoreError::new("remove something from", self.root.join("blobs/sha256")))
    }

    fn try_prune(&self, what: Prune, dry: bool) -> io::Result<Pruned> {
        let own = self.claim.as_ref().ok_or(io::ErrorKind::ReadOnlyFilesystem)?;
        own.renew()?;
        let (own, running) = (own.since()?, self.used_since()?);
        let before = match what {
            Prune::UnusedFor(age) => SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH),
            Prune::ToSize(_) | Prune::Everything => running,
        };
        let before = before.min(running);
        let mut blobs = self.blobs()?;
        blobs.sort_by(|a, b| (a.used, &a.path).cmp(&(b.used, &b.path)));
        let mut pruned = Pruned {
            left: blobs.iter().map(|blob| blob.size).sum(),
            in_use: running < own,
            ..Pruned::default()
        };
        let mut removed = BTreeSet::new();
        for blob in blobs {
            if matches!(what, Prune::ToSize(size) if pruned.left <= size) {
                break;
            }
            if let Some(freed) = self.remove_unused(&blob.path, before, dry, |path| self.remove_blob(path))? {
                pruned.blobs += 1;
                pruned.freed += freed;
                pruned.left -= blob.size;
                removed.extend(digest_of(&blob.path));
            }
        }
        for record in self.records()? {
            let leads_astray = !removed.is_empty() && leads_to(&read(&record.path)?, &removed);
            let freed = match what {
                _ if leads_astray => {
                    if !dry {
                        remove(&record.path)?;
                    }
                    Some(record.size)
                }
                Prune::ToSize(_) => None,
                Prune::UnusedFor(_) | Prune::Everything => {
                    self.remove_unused(&record.path, before, dry, remove)?
                }
            };
            if let Some(freed) = freed {
                pruned.records += 1;
                pruned.freed += freed;
            }
        }
        if !matches!(what, Prune::ToSize(_)) {
            let (trees, freed) = self.prune_trees(before, dry)?;
            pruned.trees = trees;
            pruned.freed += freed;
        }
        Ok(pruned)
    }

    /// Removes the file at `path` unless it was used since `before`; gives how many bytes the file system gets back.
    fn remove_unused(
        &self,
        path: &Path,
        before: SystemTime,
        dry: bool,
        remove: impl FnOnce(&Path) -> io::Result<()>,
    ) -> io::Result<Option<u64>> {
        self.unless_used(path, before, Metadata::accessed, |metadata| {
            if !dry {
                remove(path)?;
            }
            Ok(if metadata.nlink() == 1 { metadata.len() } else { 0 })
        })
    }

    /// Does `act` with what is at `path`, unless that is gone or was `used` since `before`.
    pub(super) fn unless_used<T>(
        &self,
        path: &Path,
        before: SystemTime,
        used: impl Fn(&Metadata) -> io::Result<SystemTime>,
        act: impl FnOnce(&Metadata) -> io::Result<T>,
    ) -> io::Result<Option<T>> {
        self.alone_with(path, |metadata| Ok(used(metadata)? < before), act)
    }

    /// Does `act` with what is at `path`, where that is there and `wanted`; nobody marks anything as used meanwhile, or
    /// gives it a name.
    pub(super) fn alone_with<T>(
        &self,
        path: &Path,
        wanted: impl FnOnce(&Metadata) -> io::Result<bool>,
        act: impl FnOnce(&Metadata) -> io::Result<T>,
    ) -> io::Result<Option<T>> {
        let gate = self.open_gate()?;
        gate.lock()?;
        let metadata = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            metadata => metadata?,
        };
        if wanted(&metadata)? { act(&metadata).map(Some) } else { Ok(None) }
    }

    /// Every blob.
    pub(super) fn blobs(&self) -> io::Result<Vec<Listed>> {
        let directory = self.root.join("blobs/sha256");
        // Only versions that did not begin everything in `tmp/` left something here.
        clear_abandoned(&directory);
        list(&directory)
    }

    /// Every record.
    pub(super) fn records(&self) -> io::Result<Vec<Listed>> {
        let mut records = Vec::new();
        for kind in fs::read_dir(self.root.join("records"))? {
            let directory = kind?.path();
            clear_abandoned(&directory);
            records.extend(list(&directory)?);
        }
        Ok(records)
    }
}

fn list(directory: &Path) -> io::Result<Vec<Listed>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = match entry.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            metadata => metadata?,
        };
        files.push(Listed { path: entry.path(), used: metadata.accessed()?, size: metadata.len() });
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// The content of a file: nothing, when another process was faster to remove it, or it is no file.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    match guarded::metadata(path) {
        Some(_) => guarded::read(path),
        None => Ok(Vec::new()),
    }
}

/// Removes a file; another process may have been faster.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// The digest that a blob's name says.
pub(super) fn digest_of(path: &Path) -> Option<Digest> {
    Digest::from_hex(path.file_name()?.to_str()?).ok()
}

/// Returns whether a record promises one of `blobs`. Those with a body do not: they hold what servers said, who name
/// much that was never in the store.
pub(super) fn leads_to(record: &[u8], blobs: &BTreeSet<Digest>) -> bool {
    if record.contains(&b'\n') {
        return false;
    }
    record.split(|byte| !byte.is_ascii_hexdigit()).filter(|word| word.len() == 64).any(|word| {
        let digest = std::str::from_utf8(word).ok().and_then(|hex| Digest::from_hex(hex).ok());
        digest.is_some_and(|digest| blobs.contains(&digest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// A store with blobs of 100 bytes, used so many days ago, each with a record that leads to it.
    fn store(days: &[u32]) -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        for days in days {
            let digest = store.put_blob(&[u8::try_from(*days).unwrap(); 100]).unwrap();
            store.put_record("made", &Digest::of(digest.hex()), &digest).unwrap();
            let then = SystemTime::now() - DAY * *days;
            let times = fs::FileTimes::new().set_accessed(then);
            for path in [store.blob_path(&digest), store.record_path("made", &Digest::of(digest.hex()))] {
                fs::File::open(path).unwrap().set_times(times).unwrap();
            }
        }
        (directory, store)
    }

    fn check(what: Prune, expected: &[u32]) {
        let days = [1, 3, 40, 60];
        let (directory, store) = store(&days);
        let dry = store.prune(what, true).unwrap();
        assert_eq!(store.usage().unwrap().blobs.count, 4);
        let pruned = store.prune(what, false).unwrap();
        assert_eq!(pruned, dry);
        let left: Vec<u32> = days
            .into_iter()
            .filter(|days| store.has_blob(&Digest::of([u8::try_from(*days).unwrap(); 100]), Some(100)))
            .collect();
        assert_eq!(left, expected);
        assert_eq!((pruned.blobs, pruned.records), (4 - left.len() as u64, 4 - left.len() as u64));
        assert_eq!(pruned.left, 100 * left.len() as u64);
        assert_eq!(fs::read_dir(directory.path().join("records/made")).unwrap().count(), left.len());
    }

    #[test]
    fn what_was_not_used_for_long_goes_first() {
        check(Prune::UnusedFor(DAY * 30), &[1, 3]);
        check(Prune::UnusedFor(DAY * 100), &[1, 3, 40, 60]);
        check(Prune::ToSize(300), &[1, 3, 40]);
        check(Prune::ToSize(299), &[1, 3]);
        check(Prune::ToSize(1000), &[1, 3, 40, 60]);
        check(Prune::Everything, &[]);
    }

    #[test]
    fn what_a_running_build_asked_for_stays() {
        let (directory, build) = store(&[40, 60]);
        let used = Digest::of([40; 100]);
        assert!(build.has_blob(&used, Some(100)));
        let made = build.put_blob(b"made by the build").unwrap();
        let pruning = Store::open(directory.path()).unwrap();
        let pruned = pruning.prune(Prune::Everything, false).unwrap();
        assert_eq!(pruned.blobs, 1);
        assert!(pruned.in_use);
        assert!(build.has_blob(&used, Some(100)) && build.has_blob(&made, None));
    }

    #[test]
    fn what_a_running_build_has_seen_or_taken_over_stays() {
        let (directory, build) = store(&[60]);
        let key = Digest::of(Digest::of([60; 100]).hex());
        build.put_record("noted", &key, &"leads nowhere").unwrap();
        assert!(build.has_record("made", &key));
        let partial = build.partial_path(&Digest::of("downloaded"));
        fs::write(&partial, "downloaded").unwrap();
        let long_ago = fs::FileTimes::new().set_accessed(SystemTime::now() - DAY * 60);
        let noted = fs::File::open(build.record_path("noted", &key)).unwrap();
        for file in [&fs::File::open(&partial).unwrap(), &noted] {
            file.set_times(long_ago).unwrap();
        }
        assert!(build.has_record("noted", &key));
        build.put_blob(b"").unwrap();
        build.adopt(&partial, &Digest::of("downloaded")).unwrap();
        let pruning = Store::open(directory.path()).unwrap();
        let pruned = pruning.prune(Prune::UnusedFor(DAY), false).unwrap();
        // The record leads to the one blob that nobody asked for.
        assert_eq!((pruned.blobs, pruned.records), (1, 1));
        assert!(build.has_record("noted", &key));
        assert!(
            build.has_blob(&Digest::of(""), Some(0)) && build.has_blob(&Digest::of("downloaded"), Some(10))
        );
    }

    #[test]
    fn only_records_made_here_lead_to_blobs() {
        let digest = Digest::of("layer");
        let blobs = BTreeSet::from([digest]);
        let check = |record: &str, expected| assert_eq!(leads_to(record.as_bytes(), &blobs), expected);
        check(&format!(r#"{{"digest":"{digest}"}}"#), true);
        check(&format!(r#"{{"digest":"{}"}}"#, Digest::of("other")), false);
        check(&format!("{{\"etag\":null}}\nlists {}", digest.hex()), false);
        check("", false);
    }
}
