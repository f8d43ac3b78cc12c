//! Hashes every blob again.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::checksum::{is_unfinished, without_checksum};
use super::prune::{Listed, digest_of, leads_to, remove};
use super::{Store, StoreError, guarded, is_same_file};
use crate::oci::{Digest, Hasher};
use crate::pool;

/// The result of a verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The number of blobs that were hashed.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The number of records that were read.
    pub records: u64,
    /// The number of records that were half-written when power was lost, and were removed: nothing believed them.
    pub unfinished: u64,
    /// The damaged files, which were removed, by path.
    pub damages: Vec<Damage>,
}

/// A file of the store that was not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Damage {
    /// Its content has another digest than its name says.
    Blob {
        /// The blob's path.
        path: PathBuf,
        /// The digest that its bytes have.
        actual: Digest,
    },
    /// Its name is no digest, or it is no file.
    Stray {
        /// Its path.
        path: PathBuf,
    },
    /// It is not whole, or not JSON.
    Record {
        /// The record's path.
        path: PathBuf,
    },
    /// It led to a blob that is damaged.
    LedAstray {
        /// The record's path.
        path: PathBuf,
    },
    /// It says something else than the blob it is about.
    False {
        /// The record's path.
        path: PathBuf,
    },
}

impl Damage {
    /// Of the damaged file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Blob { path, .. }
            | Self::Stray { path }
            | Self::Record { path }
            | Self::LedAstray { path }
            | Self::False { path } => path,
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: ", self.path().display())?;
        match self {
            Self::Blob { actual, .. } => write!(f, "it has the content of {actual}"),
            Self::Stray { .. } => f.write_str("it is no blob"),
            Self::Record { .. } => f.write_str("it is not whole, or not JSON"),
            Self::LedAstray { .. } => f.write_str("it led to a damaged blob"),
            Self::False { .. } => f.write_str("it is not true of the wheel it is about"),
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
        let mut damages = self.damaged_blobs(&blobs, threads, progress)?;
        let damaged: BTreeSet<Digest> =
            damages.iter().filter_map(|damage| digest_of(damage.path())).collect();
        let (mut records, mut unfinished) = (0, 0);
        for Listed { path, .. } in self.records()? {
            let Some(found) = OpenedEntry::at(&path)? else { continue };
            records += 1;
            let mut record = Vec::new();
            if let Some(mut file) = found.file {
                file.read_to_end(&mut record)?;
            }
            if found.metadata.is_file() && is_unfinished(&record) {
                unfinished += u64::from(self.removed(Damage::Record { path }, &found.metadata)?.is_some());
                continue;
            }
            let damage = match without_checksum(record).filter(|record| is_record(record)) {
                None => Damage::Record { path },
                Some(record) if leads_to(&record, &damaged) => Damage::LedAstray { path },
                Some(_) => continue,
            };
            damages.extend(self.removed(damage, &found.metadata)?);
        }
        damages.sort();
        let bytes = blobs.iter().map(|blob| blob.size).sum();
        Ok(Verified { blobs: blobs.len() as u64, bytes, records, unfinished, damages })
    }

    /// Removes those of `blobs` that are damaged, and says which they are.
    fn damaged_blobs(
        &self,
        blobs: &[Listed],
        threads: usize,
        progress: &(dyn Fn(u64) + Sync),
    ) -> io::Result<Vec<Damage>> {
        let damages = pool::run(blobs, threads, |blob| self.verify_blob(&blob.path, progress))?;
        Ok(damages.into_iter().flatten().collect())
    }

    /// Hashes a blob, and removes it when it is damaged.
    fn verify_blob(&self, path: &Path, progress: &(dyn Fn(u64) + Sync)) -> io::Result<Option<Damage>> {
        let Some(found) = OpenedEntry::at(path)? else { return Ok(None) };
        let damage = match (digest_of(path), found.file) {
            (Some(expected), Some(mut file)) => {
                let actual = hash(&mut file, progress)?;
                if actual == expected {
                    self.seal_again(&expected, &found.metadata, &file)?;
                    return Ok(None);
                }
                Damage::Blob { path: path.to_owned(), actual }
            }
            _ => Damage::Stray { path: path.to_owned() },
        };
        self.removed(damage, &found.metadata)
    }

    /// Seals a blob that was hashed, unless its file changed meanwhile.
    fn seal_again(&self, digest: &Digest, before: &Metadata, file: &File) -> io::Result<()> {
        let after = file.metadata()?;
        if before.modified()? == after.modified()? && !self.is_sealed(digest, &after) {
            self.seal(digest, &after);
        }
        Ok(())
    }

    /// Removes what was `seen` to be damaged; `None` when another file, which a build made meanwhile, has its name.
    fn removed(&self, damage: Damage, seen: &Metadata) -> io::Result<Option<Damage>> {
        let is_seen = |metadata: &Metadata| Ok(is_same_file(metadata, seen));
        let removed = self.alone_with(damage.path(), is_seen, |_| match (&damage, seen.is_dir()) {
            (_, true) => std::fs::remove_dir_all(damage.path()),
            (Damage::Blob { .. }, false) => self.remove_blob(damage.path()),
            (_, false) => remove(damage.path()),
        })?;
        Ok(removed.map(|()| damage))
    }
}

/// Something in the store, opened where it is a regular file.
struct OpenedEntry {
    metadata: Metadata,
    file: Option<File>,
}

impl OpenedEntry {
    /// `None` when it is gone.
    fn at(path: &Path) -> io::Result<Option<Self>> {
        let metadata = match std::fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            metadata => metadata?,
        };
        match metadata.is_file() {
            true => Ok(open_if_there(path)?.map(|file| Self { metadata, file: Some(file) })),
            false => Ok(Some(Self { metadata, file: None })),
        }
    }
}

fn hash(file: &mut File, progress: &(dyn Fn(u64) + Sync)) -> io::Result<Digest> {
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = match file.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            count => count?,
        };
        if count == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&buffer[..count]);
        progress(count as u64);
    }
}

/// Opens a file without its counting as used; `None` when it is gone.
fn open_if_there(path: &Path) -> io::Result<Option<File>> {
    match guarded::open_unmarked(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        file => file.map(Some),
    }
}

/// Returns whether the first line is JSON: the rest is a body.
fn is_record(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_a_build_put_in_the_place_of_a_damaged_blob_stays() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let blob = store.put_blob(b"content").unwrap();
        let path = store.blob_path(&blob);
        fs::write(&path, "half").unwrap();
        let seen = std::fs::metadata(&path).unwrap();
        store.put_blob(b"content").unwrap();
        let damage = || Damage::Blob { path: path.clone(), actual: Digest::of("half") };
        assert_eq!(store.removed(damage(), &seen).unwrap(), None);
        assert!(store.has_blob(&blob, Some(7)));
        assert_eq!(store.removed(damage(), &std::fs::metadata(&path).unwrap()).unwrap(), Some(damage()));
        assert!(!store.has_blob(&blob, None));
    }

    #[test]
    fn what_is_damaged_goes_with_the_records_that_lead_to_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let [sound, damaged] = ["sound", "damaged"].map(|text| store.put_blob(text.as_bytes()).unwrap());
        for (kind, blob) in [("sound", sound), ("damaged", damaged)] {
            store.put_record(kind, &Digest::of(kind), &blob).unwrap();
        }
        let broken = store.record_path("sound", &Digest::of("broken"));
        fs::write(&broken, format!("{{\"half{}", " ".repeat(32))).unwrap();
        let unfinished = store.record_path("sound", &Digest::of("unfinished"));
        fs::write(&unfinished, "{\"half").unwrap();
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
        assert_eq!((verified.blobs, verified.records, verified.unfinished), (3, 4, 1));
        assert!(!unfinished.exists());
        assert!(store.verify(3, &|_| ()).unwrap().damages.is_empty());
        assert!(store.has_blob(&sound, Some(5)) && !store.has_blob(&damaged, None));
        assert_eq!(store.record("sound", &Digest::of("sound")), Some(sound));
    }
}
