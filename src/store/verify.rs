//! Hashes every blob again.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::OFlags;

use super::prune::{Listed, digest_of, leads_to, remove};
use super::{Store, StoreError};
use crate::oci::{Digest, Hasher};

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// How many blobs were hashed.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many records were read.
    pub records: u64,
    /// What was damaged and removed, by path.
    pub damages: Vec<Damage>,
}

/// A file of the store that was not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Damage {
    /// Its content has another digest than its name says.
    Blob { path: PathBuf, actual: Digest },
    /// Its name is no digest.
    Stray { path: PathBuf },
    /// It is not JSON.
    Record { path: PathBuf },
    /// It led to a blob that is damaged.
    LedAstray { path: PathBuf },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blob { path, actual } => write!(f, "`{}`: it has the content of {actual}", path.display()),
            Self::Stray { path } => write!(f, "`{}`: it is no blob", path.display()),
            Self::Record { path } => write!(f, "`{}`: it is not JSON", path.display()),
            Self::LedAstray { path } => write!(f, "`{}`: it led to a damaged blob", path.display()),
        }
    }
}

impl Store {
    /// Hashes every blob again on `threads` threads; removes what is damaged, and the records that lead to it, so that
    /// the next build makes it anew. `progress` is told how many bytes were read since the last time.
    pub fn verify(&self, threads: usize, progress: &(dyn Fn(u64) + Sync)) -> Result<Verified, StoreError> {
        let verified = self.try_verify(threads, progress);
        verified.map_err(StoreError::new("verify", self.root.join("blobs/sha256")))
    }

    fn try_verify(&self, threads: usize, progress: &(dyn Fn(u64) + Sync)) -> io::Result<Verified> {
        let blobs = self.blobs()?;
        let mut verified =
            Verified { blobs: 0, bytes: 0, records: 0, damages: damages(&blobs, threads, progress)? };
        let mut damaged = BTreeSet::new();
        for damage in &verified.damages {
            if let Damage::Blob { path, .. } | Damage::Stray { path } = damage {
                remove(path)?;
                damaged.extend(digest_of(path));
            }
        }
        verified.blobs = blobs.len() as u64;
        verified.bytes = blobs.iter().map(|blob| blob.size).sum();
        for Listed { path, .. } in self.records()? {
            let record = match fs::read(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                record => record?,
            };
            verified.records += 1;
            if !is_record(&record) {
                remove(&path)?;
                verified.damages.push(Damage::Record { path });
            } else if leads_to(&record, &damaged) {
                remove(&path)?;
                verified.damages.push(Damage::LedAstray { path });
            }
        }
        verified.damages.sort();
        Ok(verified)
    }
}

/// Which of `blobs` are damaged.
fn damages(blobs: &[Listed], threads: usize, progress: &(dyn Fn(u64) + Sync)) -> io::Result<Vec<Damage>> {
    let (queue, found) = (Mutex::new(blobs.iter()), Mutex::new(Ok(Vec::new())));
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, blobs.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(blob) = next else { break };
                    let damage = damage(&blob.path, progress);
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    match (damage, &mut *found) {
                        (Ok(damage), Ok(damages)) => damages.extend(damage),
                        (Err(error), found) => *found = Err(error),
                        (Ok(_), Err(_)) => break,
                    }
                }
            });
        }
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn damage(path: &Path, progress: &(dyn Fn(u64) + Sync)) -> io::Result<Option<Damage>> {
    let Some(expected) = digest_of(path) else { return Ok(Some(Damage::Stray { path: path.to_owned() })) };
    let mut file = match open_unmarked(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = match io::Read::read(&mut file, &mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            count => count?,
        };
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        progress(count as u64);
    }
    let actual = hasher.finish();
    Ok((actual != expected).then(|| Damage::Blob { path: path.to_owned(), actual }))
}

/// Opens a blob without its counting as used, where the file is ours.
fn open_unmarked(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOATIME.bits().cast_signed();
    let unmarked = OpenOptions::new().read(true).custom_flags(flags).open(path);
    unmarked.or_else(|_| File::open(path))
}

/// Whether the first line is JSON: the rest is a body.
fn is_record(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_goes_with_the_records_that_lead_to_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let [sound, damaged] = ["sound", "damaged"].map(|text| store.put_blob(text.as_bytes()).unwrap());
        for (kind, blob) in [("sound", sound), ("damaged", damaged)] {
            store.put_record(kind, &Digest::of(kind), &blob).unwrap();
        }
        let broken = store.record_path("sound", &Digest::of("broken"));
        fs::write(&broken, "{\"half").unwrap();
        let stray = directory.path().join("blobs/sha256/stray");
        fs::write(&stray, "").unwrap();
        fs::write(store.blob_path(&damaged), "damagee").unwrap();

        let verified = store.verify(3, &|_| ()).unwrap();
        let actual = Digest::of("damagee");
        let led = store.record_path("damaged", &Digest::of("damaged"));
        assert_eq!(
            verified.damages,
            [
                Damage::Blob { path: store.blob_path(&damaged), actual },
                Damage::Stray { path: stray },
                Damage::Record { path: broken },
                Damage::LedAstray { path: led },
            ]
        );
        assert_eq!((verified.blobs, verified.records), (3, 3));
        assert!(store.verify(3, &|_| ()).unwrap().damages.is_empty());
        assert!(store.has_blob(&sound, Some(5)) && !store.has_blob(&damaged, None));
        assert_eq!(store.record("sound", &Digest::of("sound")), Some(sound));
    }
}
