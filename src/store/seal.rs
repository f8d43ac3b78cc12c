//! Seals: what the file of a blob looked like when its bytes were last seen to be the blob's.
//!
//! A published layout may share a blob's file, disks decay, and stores are restored from archives. So a blob is believed
//! as long as size, time, mode and inode are those of its seal, and hashed again once they are not. Neither the time of
//! the inode's change takes part, which every link to the file sets, nor a device's number, which a restart may change.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::fs::{Mode, Timespec, Timestamps, UTIME_NOW};

use super::unnamed::{self, UnnamedFile};
use super::{Store, guarded, prune};
use crate::oci::{Digest, Hasher};

/// The directory of the seals, below the store's root.
pub(super) const SEALS: &str = "seals";

/// The permissions of a blob: nothing writes to it any more.
const BLOB: Mode = Mode::RUSR.union(Mode::RGRP).union(Mode::ROTH);

/// The time by which a blob's modification lies before its seal: an edit that follows within one tick of the kernel's
/// clock has another time nevertheless.
const BEFORE: Duration = Duration::from_secs(1);

/// The seals that this process has read or made.
pub(super) type KnownSeals = Mutex<BTreeMap<Digest, Seal>>;

/// The look of a blob's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seal {
    size: u64,
    modified: (i64, i64),
    mode: u32,
    inode: u64,
}

impl Seal {
    fn of(file: &Metadata) -> Self {
        let modified = (file.mtime(), file.mtime_nsec());
        Self { size: file.size(), modified, mode: file.mode(), inode: file.ino() }
    }

    fn to_text(self) -> String {
        let Self { size, modified: (seconds, nanoseconds), mode, inode } = self;
        format!("{size} {seconds} {nanoseconds} {mode:o} {inode}\n")
    }
}

/// Makes the open file one that nobody writes to, used now, whose time no later edit can have.
pub(super) fn close_to_writes(file: &File) -> io::Result<()> {
    rustix::fs::fchmod(file, BLOB)?;
    let modified = SystemTime::now()
        .checked_sub(BEFORE)
        .and_then(|then| then.duration_since(SystemTime::UNIX_EPOCH).ok());
    let modified = modified.unwrap_or_default();
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        last_modification: Timespec {
            tv_sec: modified.as_secs().cast_signed(),
            tv_nsec: modified.subsec_nanos().into(),
        },
    };
    Ok(rustix::fs::futimens(file, &times)?)
}

impl Store {
    /// Returns whether `file`, of this metadata, is as it was when it was known to be the blob `digest`.
    pub(super) fn is_sealed(&self, digest: &Digest, file: &Metadata) -> bool {
        let seal = Seal::of(file);
        if self.known_seal(digest) == Some(seal) {
            return true;
        }
        let sealed =
            guarded::read(&self.seal_path(digest)).is_ok_and(|text| text == seal.to_text().as_bytes());
        if sealed {
            self.note_seal(digest, seal);
        }
        sealed
    }

    /// Hashes the open file at the path of the blob `digest`, which its seal does not fit; seals it anew, or removes it
    /// when it is another one; gives whether it is the blob.
    pub(super) fn examine(&self, digest: &Digest, file: &mut File) -> io::Result<bool> {
        let before = Seal::of(&file.metadata()?);
        let mut hasher = Hasher::default();
        io::copy(file, &mut hasher)?;
        if hasher.finish() == *digest {
            let after = file.metadata()?;
            if Seal::of(&after) == before {
                self.seal(digest, &after);
            }
            return Ok(true);
        }
        let found = file.metadata()?;
        let path = self.blob_path(digest);
        self.alone_with(&path, |there| Ok(super::is_same_file(there, &found)), |_| self.remove_blob(&path))?;
        Ok(false)
    }

    /// Notes the look of the file that is the blob `digest`. A store that cannot be written has no seals, and hashes.
    pub(super) fn seal(&self, digest: &Digest, file: &Metadata) {
        let seal = Seal::of(file);
        let write = || {
            let mut file = UnnamedFile::new_in(&self.root.join("tmp"))?;
            file.write_all(seal.to_text().as_bytes())?;
            file.persist(&self.seal_path(digest))
        };
        let _ = write();
        self.note_seal(digest, seal);
    }

    /// Removes a blob with its seal.
    pub(super) fn remove_blob(&self, path: &Path) -> io::Result<()> {
        prune::remove(path)?;
        if let Some(digest) = prune::digest_of(path) {
            self.seals.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest);
            prune::remove(&self.seal_path(&digest))?;
        }
        Ok(())
    }

    fn known_seal(&self, digest: &Digest) -> Option<Seal> {
        self.seals.lock().unwrap_or_else(PoisonError::into_inner).get(digest).copied()
    }

    fn note_seal(&self, digest: &Digest, seal: Seal) {
        self.seals.lock().unwrap_or_else(PoisonError::into_inner).insert(*digest, seal);
    }

    fn seal_path(&self, digest: &Digest) -> PathBuf {
        self.root.join(SEALS).join(digest.hex())
    }

    /// Puts the file of the blob `digest` at `path` too, in place of whatever has the name: the very file that is sealed.
    /// Gives false where file systems do not allow that.
    pub fn link_out(&self, digest: &Digest, path: &Path) -> bool {
        let linked = self.open_blob(digest).is_ok_and(|file| unnamed::link_over(&file, path).is_ok());
        linked && fs::symlink_metadata(path).is_ok_and(|there| self.is_sealed(digest, &there))
    }

    /// Returns whether the file at `path` is the blob `digest` of this store, under another name.
    pub fn is_blob(&self, digest: &Digest, path: &Path) -> bool {
        let (Some(there), Some(own)) = (guarded::metadata(path), guarded::metadata(&self.blob_path(digest)))
        else {
            return false;
        };
        super::is_same_file(&there, &own) && self.is_sealed(digest, &own)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{OpenOptions, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn store() -> (tempfile::TempDir, Store, Digest) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store")).unwrap();
        let digest = store.put_blob(b"content").unwrap();
        (directory, store, digest)
    }

    fn overwrite(path: &Path, bytes: &[u8]) {
        OpenOptions::new().write(true).truncate(true).open(path).unwrap().write_all(bytes).unwrap();
    }

    /// A change of the blob's file, or of what has its name.
    type Change = fn(&Path);

    #[test]
    fn a_blob_that_was_changed_outside_is_gone_for_who_asks() {
        let changes: [Change; 6] = [
            |path| overwrite(path, b"CONTENT"),
            |path| overwrite(path, b""),
            |path| {
                fs::remove_file(path).unwrap();
                fs::write(path, "another").unwrap();
            },
            |path| {
                let other = path.with_extension("other");
                fs::write(&other, "another").unwrap();
                fs::rename(&other, path).unwrap();
            },
            |path| {
                let link = path.parent().unwrap().parent().unwrap().join("link");
                fs::hard_link(path, &link).unwrap();
                overwrite(&link, b"changed");
            },
            |path| {
                fs::remove_file(path).unwrap();
                std::os::unix::fs::symlink("/etc/hostname", path).unwrap();
            },
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let (_directory, store, digest) = store();
            change(&store.blob_path(&digest));
            // The process that made it, and the next one.
            for store in [store.clone(), Store::open(store.root()).unwrap()] {
                assert!(!store.has_blob(&digest, None), "change {number}");
                assert!(store.open_blob(&digest).is_err(), "change {number}");
            }
            assert_eq!(store.put_blob(b"content").unwrap(), digest);
            assert!(Store::open(store.root()).unwrap().has_blob(&digest, Some(7)), "change {number}");
        }
    }

    #[test]
    fn a_blob_whose_file_alone_changed_is_hashed_and_stays() {
        let changes: [Change; 4] = [
            |path| fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap(),
            |path| File::open(path).unwrap().set_modified(SystemTime::now()).unwrap(),
            |path| overwrite(path, b"content"),
            |path| {
                fs::remove_file(path).unwrap();
                fs::write(path, "content").unwrap();
            },
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let (_directory, store, digest) = store();
            let path = store.blob_path(&digest);
            change(&path);
            assert!(
                !Store::open(store.root()).unwrap().is_sealed(&digest, &fs::metadata(&path).unwrap()),
                "change {number}"
            );
            assert!(store.has_blob(&digest, Some(7)), "change {number}");
            assert!(
                Store::open(store.root()).unwrap().is_sealed(&digest, &fs::metadata(&path).unwrap()),
                "change {number}"
            );
        }
    }

    #[test]
    fn links_to_a_blob_and_its_use_break_no_seal() {
        let (directory, store, digest) = store();
        let path = store.blob_path(&digest);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o444);
        let link = directory.path().join("link");
        assert!(store.link_out(&digest, &link));
        fs::write(directory.path().join("other"), "other").unwrap();
        assert!(store.link_out(&digest, &directory.path().join("other")));
        assert!(store.is_blob(&digest, &link) && !store.is_blob(&digest, &directory.path().join("none")));
        fs::remove_file(&link).unwrap();
        assert!(store.has_blob(&digest, Some(7)));
        assert!(Store::open(store.root()).unwrap().is_sealed(&digest, &fs::metadata(&path).unwrap()));
    }
}
