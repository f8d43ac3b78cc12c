//! The store: blobs by digest, and small records of what was learned, shared by every build of a user.
//!
//! ```text
//! blobs/sha256/<hex>       verified when written; an OCI layout's own form
//! seals/<hex>              what a blob's file looked like then: changed outside, it is hashed before it is believed
//! records/<kind>/<hex>     JSON, perhaps with a body of bytes, and a checksum; keyed by the digest of what it was made from
//! interpreters/<hex>/      directories of files out of blobs, keyed by what is in them: see [`Store::tree`]
//! lock                     held for moments: by all who mark a blob as used, alone by who removes one
//! tmp/partial-<hex>        downloads that were interrupted, waiting to be resumed
//! tmp/use-…                one for each process that uses the store now
//! tmp/making-<hex>         what such a process makes, so that others need not
//! ```
//!
//! A file has no name before it is whole (see [`UnnamedFile`]), so that `kill -9` and
//! builds at the same time leave nothing half-written visible. What a killed process leaves is in `tmp/`, and the next
//! one clears it. A blob is on disk before it has its name; everything else is made again where a loss of power took a
//! part of it. The directories are their user's alone, and what others may have put there is not [followed](guarded).
//!
//! Reading a blob or record marks it as used, by its access time, which is set whatever the file system is mounted with.
//! [`Store::prune`] goes by these marks.
#![allow(clippy::disallowed_methods, reason = "the store is where blobs meet the file system")]

mod checksum;
mod claim;
mod foreign;
mod guarded;
mod prune;
mod range;
mod seal;
mod temporary;
mod tree;
mod unnamed;
mod usage;
mod verify;

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::checksum::{with_checksum, without_checksum};
use self::guarded::Untrusted;
use self::seal::{KnownSeals, SEALS};
use crate::failure::Hinted;
use crate::oci::{Digest, Hasher};

pub use claim::{Claim, is_same_file};
pub use foreign::FileIdentity;
pub use prune::{Prune, Pruned};
pub use range::FileRange;
pub use tree::ScratchDirectory;
pub use unnamed::{UnnamedFile, clear_abandoned, copy_whole, sync_directory, write};
pub use usage::{Amount, BlobKind, Usage};
pub use verify::{Damage, Verified};

/// A directory of blobs and records.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    /// Tells others that this process uses the store. A store that cannot be written has none, and needs none.
    claim: Option<Arc<Claim>>,
    /// The seals that this process knows.
    seals: Arc<KnownSeals>,
}

/// The reason why the store could not keep or give something.
#[derive(Debug, thiserror::Error)]
#[error("could not {action} `{path}` in the store")]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub struct StoreError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl StoreError {
    /// The failure of an `action` on a path of the store: "read", "write".
    pub fn new(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self { action, path, source }
    }
}

impl Hinted for StoreError {
    fn hint(&self) -> Option<String> {
        if let Some(untrusted) = self.source.get_ref().and_then(|source| source.downcast_ref::<Untrusted>()) {
            return Some(untrusted.hint(&self.path));
        }
        match self.source.kind() {
            io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory => {
                Some("point IMGFORGE_CACHE_DIR at a directory you may write to".into())
            }
            _ => self.source.hint(),
        }
    }
}

impl Store {
    /// Opens the store at `root`, making it when it is missing, and clears what killed processes left in its `tmp/`.
    ///
    /// Nothing that is used from now on is pruned, until the last clone is dropped or the process ends. A store of another
    /// user, or one that others may write to, is refused.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let mut store = Self { root: root.into(), claim: None, seals: Arc::default() };
        guarded::private_root(&store.root).map_err(unusable(&store.root))?;
        for directory in ["blobs", "blobs/sha256", "records", "tmp", SEALS] {
            let path = store.root.join(directory);
            match guarded::private_directory(&path) {
                // A store of an earlier version that can only be read has no seals.
                Err(error) if directory == SEALS && error.kind() == io::ErrorKind::ReadOnlyFilesystem => {}
                made => made.map_err(unusable(&path))?,
            }
        }
        store.clear_temporary();
        store.claim = store.claim_use().ok().map(Arc::new);
        Ok(store)
    }

    /// The store's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path of the blob `digest`, whether or not it is there.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// The size of the blob `digest`, or `None` when the store does not have it.
    pub fn blob_size(&self, digest: &Digest) -> Option<u64> {
        guarded::metadata(&self.blob_path(digest)).map(|metadata| metadata.len())
    }

    /// Returns whether the store has the blob `digest`, of this size where one is known. One that was changed outside is
    /// hashed, and gone if it is another now. One that it has stays as long as this process uses the store.
    pub fn has_blob(&self, digest: &Digest, size: Option<u64>) -> bool {
        let path = self.blob_path(digest);
        let gate = self.gate();
        let Some(found) =
            guarded::metadata(&path).filter(|found| size.is_none_or(|size| size == found.len()))
        else {
            return false;
        };
        mark_used(&path);
        // Who examines a blob may have to remove it, alone.
        drop(gate);
        self.is_sealed(digest, &found) || self.open_examined(digest).is_ok_and(|file| file.is_some())
    }

    /// Opens the blob `digest`, hashed where its seal is not its own; `None` when it is another one.
    fn open_examined(&self, digest: &Digest) -> io::Result<Option<File>> {
        let mut file = guarded::open(&self.blob_path(digest))?;
        let is_sound = self.is_sealed(digest, &file.metadata()?) || {
            let is_sound = self.examine(digest, &mut file)?;
            file.rewind()?;
            is_sound
        };
        Ok(is_sound.then_some(file))
    }

    /// Gives a blob that is whole its name and its seal.
    fn persist_blob(&self, file: UnnamedFile, digest: &Digest) -> io::Result<()> {
        seal::close_to_writes(file.as_file())?;
        let metadata = file.as_file().metadata()?;
        self.persist(file, &self.blob_path(digest))?;
        self.seal(digest, &metadata);
        Ok(())
    }

    /// Gives a file of the store its name. Who is about to remove what has it now waits, and sees what has it then.
    fn persist(&self, file: UnnamedFile, path: &Path) -> io::Result<()> {
        let _gate = self.gate();
        file.persist(path)
    }

    /// Keeps everyone from removing anything for a moment.
    fn gate(&self) -> Option<File> {
        // Who cannot lock the store cannot remove anything from it either.
        let file = self.open_gate().ok()?;
        file.lock_shared().ok()?;
        Some(file)
    }

    fn open_gate(&self) -> io::Result<File> {
        let path = self.root.join("lock");
        guarded::open(&path).or_else(|_| guarded::open_appending(&path))
    }

    /// Makes this process the one that makes what `key` stands for; `None` while another one is at it, which then has to
    /// be asked for again. A store without locks lets everyone make everything.
    pub fn claim(&self, key: &Digest) -> Option<Making> {
        match Claim::try_take(&self.making_path(key)) {
            Ok(claim) => claim.map(|claim| Making { _claim: Some(claim) }),
            Err(_) => Some(Making { _claim: None }),
        }
    }

    /// [`Self::claim`], waiting for another process to be done or to end.
    pub fn claim_patiently(&self, key: &Digest) -> Making {
        Making { _claim: Claim::take(&self.making_path(key)).ok() }
    }

    fn making_path(&self, key: &Digest) -> PathBuf {
        self.root.join("tmp").join(format!("making-{}", key.hex()))
    }

    /// Opens a blob for reading. One that was changed outside is hashed first, and refused if it is another now.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, StoreError> {
        let path = self.blob_path(digest);
        let opened = self.open_examined(digest).and_then(|file| Ok(file.ok_or(Untrusted::Changed)?));
        opened.map_err(StoreError::new("open", path))
    }

    /// Starts a blob whose digest is not known yet.
    pub fn new_blob(&self) -> Result<BlobWriter, StoreError> {
        let path = self.root.join("tmp");
        let file = UnnamedFile::new_in(&path).map_err(StoreError::new("write", path))?;
        Ok(BlobWriter {
            store: self.clone(),
            file: BufWriter::with_capacity(BUFFER, file),
            hasher: Hasher::default(),
            size: 0,
            sent: 0,
        })
    }

    /// Stores bytes that are at hand.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        if !self.has_blob(&digest, Some(bytes.len() as u64)) {
            let mut blob = self.new_blob()?;
            blob.write_all(bytes).map_err(StoreError::new("write", self.blob_path(&digest)))?;
            blob.finish()?;
        }
        Ok(digest)
    }

    /// The path at which an interrupted download of `digest` waits to be resumed.
    pub fn partial_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("tmp").join(format!("partial-{}", digest.hex()))
    }

    /// Opens the partial file at `path` to write at its end, making it where it is missing. What is there and is not this
    /// store's own file alone, such as a link, makes place for one.
    pub fn open_partial(path: &Path) -> io::Result<File> {
        guarded::open_appending(path)
    }

    /// Makes the file at `path`, whose content was just verified to be `digest`, the blob `digest`.
    pub fn adopt(&self, path: &Path, digest: &Digest) -> Result<(), StoreError> {
        let target = self.blob_path(digest);
        let adopt = || {
            let _gate = self.gate();
            let file = guarded::open(path)?;
            // It may have been begun long ago: now it is used.
            seal::close_to_writes(&file)?;
            fs::rename(path, &target)?;
            file.metadata()
        };
        let metadata = adopt().map_err(StoreError::new("write", &target))?;
        self.seal(digest, &metadata);
        Ok(())
    }

    /// A scratch file that disappears with its handle.
    pub fn scratch(&self) -> Result<File, StoreError> {
        let path = self.root.join("tmp");
        tempfile::tempfile_in(&path).map_err(StoreError::new("write", path))
    }

    /// The record of `kind` made from `key`; `None` when there is none, or it is of another format.
    pub fn record<T: DeserializeOwned>(&self, kind: &str, key: &Digest) -> Option<T> {
        serde_json::from_slice(&self.read_record(kind, key)?).ok()
    }

    /// Returns whether there is a record of `kind` made from `key`. One that there is stays as long as this process
    /// uses the store.
    pub fn has_record(&self, kind: &str, key: &Digest) -> bool {
        let _gate = self.gate();
        let path = self.record_path(kind, key);
        let present = guarded::metadata(&path).is_some();
        if present {
            mark_used(&path);
        }
        present
    }

    /// Keeps `record`, made from `key`, for the next build.
    pub fn put_record<T: Serialize>(&self, kind: &str, key: &Digest, record: &T) -> Result<(), StoreError> {
        self.write_record(kind, key, serde_json::to_vec(record).map_err(io::Error::from))
    }

    /// A record that was kept with a body of bytes.
    pub fn record_with_body<T: DeserializeOwned>(&self, kind: &str, key: &Digest) -> Option<(T, Vec<u8>)> {
        let mut bytes = self.read_record(kind, key)?;
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let record = serde_json::from_slice(&bytes[..end]).ok()?;
        bytes.drain(..=end);
        Some((record, bytes))
    }

    /// Keeps `record` and the bytes it is about. Records are JSON on one line: the body follows that line.
    pub fn put_record_with_body<T: Serialize>(
        &self,
        kind: &str,
        key: &Digest,
        record: &T,
        body: &[u8],
    ) -> Result<(), StoreError> {
        let json = serde_json::to_vec(record).map_err(io::Error::from);
        self.write_record(kind, key, json.map(|json| [&json, &b"\n"[..], body].concat()))
    }

    /// The bytes of the record of `kind` made from `key`: what [`Self::put_record_bytes`] keeps.
    pub fn record_bytes(&self, kind: &str, key: &Digest) -> Option<Vec<u8>> {
        self.read_record(kind, key)
    }

    /// Keeps the bytes of a record as they are.
    pub fn put_record_bytes(&self, kind: &str, key: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        self.write_record(kind, key, Ok(bytes.to_vec()))
    }

    /// The keys of all records of `kind`.
    pub fn record_keys(&self, kind: &str) -> Result<Vec<Digest>, StoreError> {
        let path = self.root.join("records").join(kind);
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(StoreError::new("list", &path))?,
        };
        let mut keys: Vec<Digest> =
            entries.flatten().filter_map(|entry| prune::digest_of(&entry.path())).collect();
        keys.sort();
        Ok(keys)
    }

    /// Removes the record of `kind` made from `key`, if there is one.
    pub fn remove_record(&self, kind: &str, key: &Digest) -> Result<(), StoreError> {
        let path = self.record_path(kind, key);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(StoreError::new("remove", path)),
        }
    }

    /// Removes the record of `kind` made from `key`, which was found to be false.
    pub fn refute(&self, kind: &str, key: &Digest) -> Result<Damage, StoreError> {
        self.remove_record(kind, key)?;
        Ok(Damage::False { path: self.record_path(kind, key) })
    }

    fn read_record(&self, kind: &str, key: &Digest) -> Option<Vec<u8>> {
        let path = self.record_path(kind, key);
        let bytes = without_checksum(guarded::read(&path).ok()?)?;
        mark_used(&path);
        Some(bytes)
    }

    fn write_record(&self, kind: &str, key: &Digest, bytes: io::Result<Vec<u8>>) -> Result<(), StoreError> {
        let path = self.record_path(kind, key);
        let directory = self.root.join("records").join(kind);
        let write = || {
            guarded::private_directory(&directory)?;
            let mut file = UnnamedFile::new_in(&self.root.join("tmp"))?;
            file.write_all(&with_checksum(bytes?))?;
            self.persist(file, &path)
        };
        write().map_err(StoreError::new("write", &path))
    }

    fn record_path(&self, kind: &str, key: &Digest) -> PathBuf {
        self.root.join("records").join(kind).join(key.hex())
    }
}

/// The right to make something, until it is dropped.
#[derive(Debug)]
pub struct Making {
    _claim: Option<Claim>,
}

/// Sets the access time of the file at `path`. A store that is only read has marks nobody goes by.
fn mark_used(path: &Path) {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
    };
    let _ = rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW);
}

/// The failure to make or to use a directory of the store.
fn unusable(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |source| {
        let is_untrusted = source.get_ref().is_some_and(|source| source.is::<Untrusted>());
        StoreError::new(if is_untrusted { "trust" } else { "create" }, path)(source)
    }
}

/// A blob being written: hashed on its way, visible only once finished.
pub struct BlobWriter {
    store: Store,
    file: BufWriter<UnnamedFile>,
    hasher: Hasher,
    size: u64,
    /// The number of bytes that are on their way to the disk.
    sent: u64,
}

/// The number of bytes that are written at once; what comes in as many is not copied before. More than a processor's
/// own cache holds beside what it hashes takes several times as long to write.
pub const BUFFER: usize = 256 << 10;

/// The number of bytes of a blob that are sent to the disk at once, so that little is left to wait for at its end.
const SENT_AT_ONCE: u64 = 8 << 20;

impl BlobWriter {
    /// The digest of what was written so far.
    pub fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// Takes over the content of `source`, where the file system can share it between two files, and hashes it there;
    /// gives whether it can. The files are two from then on: a write to one does not change the other.
    ///
    /// <https://man7.org/linux/man-pages/man2/ioctl_ficlone.2.html>
    pub fn share(&mut self, source: &File, progress: &(dyn Fn(u64) + Sync)) -> io::Result<bool> {
        let file = self.file.get_ref().as_file();
        if rustix::fs::ioctl_ficlone(file, source).is_err() {
            return Ok(false);
        }
        let mut own = file.try_clone()?;
        own.rewind()?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = own.read(&mut buffer)?;
            if count == 0 {
                return Ok(true);
            }
            self.hasher.update(&buffer[..count]);
            self.size += count as u64;
            progress(count as u64);
        }
    }

    /// The number of bytes so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Makes the blob visible under its digest.
    pub fn finish(self) -> Result<(Digest, u64), StoreError> {
        let digest = self.hasher.finish();
        let path = self.store.blob_path(&digest);
        let file = self.file.into_inner().map_err(|error| error.into_error());
        let named = file.and_then(|file| self.store.persist_blob(file.sync()?, &digest));
        named.map_err(StoreError::new("write", &path))?;
        Ok((digest, self.size))
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        let in_file = self.size - self.file.buffer().len() as u64;
        if in_file - self.sent >= SENT_AT_ONCE {
            self.file.get_ref().send(self.sent..in_file);
            self.sent = in_file;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
