//! The store's `tmp/`: who uses the store, and what killed processes left.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::claim::{self, Claim};
use super::unnamed::{clear_abandoned, remove_abandoned};
use super::{Store, guarded};

/// The time for which an interrupted download waits to be resumed.
const RESUMABLE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

const USE: &str = "use-";
const MAKING: &str = "making-";
const PARTIAL: &str = "partial-";

impl Store {
    /// Tells others that this process uses the store.
    pub(super) fn claim_use(&self) -> io::Result<Claim> {
        let directory = self.root.join("tmp");
        let process = std::process::id();
        for number in 0_u32.. {
            let path = directory.join(format!("{USE}{process}-{number}"));
            if let Some(claim) = Claim::try_take(&path)? {
                return Ok(claim);
            }
        }
        Err(io::ErrorKind::QuotaExceeded.into())
    }

    /// Removes from `tmp/` what no process has locked, but for downloads that may still be resumed.
    pub(super) fn clear_temporary(&self) {
        let directory = self.root.join("tmp");
        clear_abandoned(&directory);
        let Ok(entries) = fs::read_dir(&directory) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(USE)
                || name.starts_with(MAKING)
                || (name.starts_with(PARTIAL)
                    && (is_stale(&entry.path()) || guarded::metadata(&entry.path()).is_none()))
            {
                remove_abandoned(&entry.path());
            }
        }
    }

    /// The start of the process that has used the store for longest, by the clock of the file system.
    pub(super) fn used_since(&self) -> io::Result<SystemTime> {
        let own = self.claim.as_ref().ok_or(io::ErrorKind::ReadOnlyFilesystem)?;
        let mut oldest = own.since()?;
        for entry in fs::read_dir(self.root.join("tmp"))? {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().starts_with(USE) {
                continue;
            }
            // One that is gone by now was somebody's who is done.
            let Ok(file) = guarded::open(&entry.path()) else { continue };
            if !claim::try_lock(&file)? {
                oldest = oldest.min(file.metadata()?.modified()?);
            }
        }
        Ok(oldest)
    }
}

fn is_stale(path: &Path) -> bool {
    let written = fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
    let age = written.ok().and_then(|written| SystemTime::now().duration_since(written).ok());
    age.is_some_and(|age| age > RESUMABLE)
}
