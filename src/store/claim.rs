//! Files that say what a process is at, as long as it lives: locked, so that the kernel ends them with it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

use super::guarded;

/// A name that one process has at a time. Dropped it is free again, and so it is when the process is killed: only the
/// file's name is left behind then, and says nothing.
///
/// <https://man7.org/linux/man-pages/man2/flock.2.html>
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    file: File,
}

impl Claim {
    /// Waits until nobody else has `path`.
    pub(super) fn take(path: &Path) -> io::Result<Self> {
        loop {
            let file = guarded::open_appending(path)?;
            file.lock()?;
            if is_at(&file, path) {
                return Ok(Self { path: path.to_owned(), file });
            }
        }
    }

    /// `None` while someone else has `path`.
    pub(super) fn try_take(path: &Path) -> io::Result<Option<Self>> {
        loop {
            let file = guarded::open_appending(path)?;
            if !try_lock(&file)? {
                return Ok(None);
            }
            if is_at(&file, path) {
                return Ok(Some(Self { path: path.to_owned(), file }));
            }
        }
    }

    /// Counts from now on only. A file's time is as coarse as the kernel's clock ticks: what was used up to now is told
    /// apart from what will be.
    pub(super) fn renew(&self) -> io::Result<()> {
        const LONGEST_TICK: Duration = Duration::from_millis(10);
        std::thread::sleep(2 * LONGEST_TICK);
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        };
        Ok(rustix::fs::futimens(&self.file, &times)?)
    }

    /// The time at which it was taken, by the clock of the file system.
    pub(super) fn since(&self) -> io::Result<SystemTime> {
        self.file.metadata()?.modified()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // The name is still ours: the file behind it is locked. Who waits for it sees that it is gone, and makes a new one.
        let _ = fs::remove_file(&self.path);
    }
}

/// Returns whether nobody else had the file locked.
pub(super) fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Returns whether what this process has just made at `path` is its own: between its making and its locking it looks
/// abandoned, and may be cleared. A file system without locks has no clearing either.
pub(super) fn lock_made(file: &File, path: &Path) -> bool {
    try_lock(file).unwrap_or(true) && is_at(file, path)
}

/// Returns whether `path` is a name of the open file.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(ours), Ok(theirs)) => is_same_file(&ours, &theirs),
        _ => false,
    }
}

/// Returns whether two names are of one file.
pub fn is_same_file(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn one_has_a_claim_at_a_time_and_leaves_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("claim");
        let first = Claim::take(&path).unwrap();
        assert!(Claim::try_take(&path).unwrap().is_none());
        let (done, waited) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| done.send(Claim::take(&path).map(drop)));
            assert!(waited.recv_timeout(Duration::from_millis(50)).is_err());
            drop(first);
            waited.recv().unwrap().unwrap();
        });
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_process_left_claims_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("claim");
        fs::write(&path, "").unwrap();
        assert!(Claim::try_take(&path).unwrap().is_some());
        assert!(!path.exists());
    }
}
