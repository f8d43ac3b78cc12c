//! Writes one layer: a canonical tar in one of several forms, without recompressing what is already deflated.
//!
//! Tar headers, padding and content that comes uncompressed are gathered and compressed here. The raw DEFLATE stream of a
//! wheel's entry is inflated once, for the `diff_id` and to hold it against what the wheel promises, and becomes part of
//! the layer as it is where the [compression](LayerCompression) has a place for it.
//!
//! Inflating or compressing is about as much work as hashing and writing, which [`Outlet`] does, with another core where
//! one is idle.

mod cores;
mod estargz;
mod gzip;
mod outlet;
mod zstd;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::mem;

use flate2::read::DeflateDecoder;

use super::read::ReadLayer;
use super::{plain_tar, records};
use crate::deflate::{End, Inflater, Invalid, Passage};
use crate::elf::buffer_pool::{BufferPool, Visit};
use crate::elf::probe::{MOST_KEPT_ONCE, ProbeBudget};
use crate::failure::Hinted;
use crate::observe::inventory_facts::InventoryFacts;
use crate::observe::{FileObserver, ObservedLayer};
use crate::oci::image::MediaType;
use crate::oci::paths::{PathFault, path_fault};
use crate::oci::{Digest, Entry, EntryKind, FileCapabilities, tar};
use crate::plan::LayerCompression;
use crate::store::{Store, StoreError};
use cores::CORES;
use estargz::Estargz;
use gzip::Gzip;
use outlet::Outlet;
use zstd::Zstd;

/// The bytes of one read.
const BUFFER: usize = 128 << 10;

fn encoding(compression: &LayerCompression) -> Result<Box<dyn Encoding>, WriteError> {
    Ok(match compression {
        LayerCompression::Gzip => Box::new(Gzip::new()),
        LayerCompression::Zstd { level } => Box::new(Zstd::new(*level)?),
        LayerCompression::Estargz { .. } => Box::new(Estargz::new()),
    })
}

/// Makes a blob of a tar that comes piece by piece.
trait Encoding {
    /// Begins an entry.
    fn entry(&mut self, _entry: &Entry) {}

    /// Takes bytes of the tar: headers, and what fills a block.
    fn plain(&mut self, bytes: &[u8], out: &mut Outlet) -> Result<(), WriteError>;

    /// Takes bytes of the entry's content.
    fn content(&mut self, bytes: &[u8], out: &mut Outlet) -> Result<(), WriteError> {
        self.plain(bytes, out)
    }

    /// The entry's content has ended.
    fn end_of_content(&mut self, _out: &mut Outlet) -> Result<(), WriteError> {
        Ok(())
    }

    /// The entry's content comes as a DEFLATE stream, which inflates to `size` bytes.
    fn begin(&mut self, size: u64, out: &mut Outlet) -> Result<(), WriteError>;

    /// Returns whether a stream's last block is followed by others, and hence is not marked as the last.
    fn continues(&self) -> bool;

    /// Returns whether it wants to be told where blocks of the stream begin.
    fn wants_blocks(&self) -> bool {
        false
    }

    /// A block of the stream begins at this bit of this byte, which comes next.
    fn block(&mut self, _byte: u8, _bit: u32, _out: &mut Outlet) -> Result<(), WriteError> {
        Ok(())
    }

    /// Takes bytes of the stream.
    fn deflated(&mut self, bytes: &[u8], out: &mut Outlet) -> Result<(), WriteError>;

    /// Takes bytes that the stream inflates to.
    fn inflated(&mut self, bytes: &[u8], out: &mut Outlet) -> Result<(), WriteError>;

    /// The stream has ended, and inflated to `size` bytes of this CRC-32.
    fn end(
        &mut self,
        end: End,
        size: u64,
        crc32: &crc32fast::Hasher,
        out: &mut Outlet,
    ) -> Result<(), WriteError>;

    /// The end of the tar.
    fn last(&mut self, _out: &mut Outlet) -> Result<Vec<u8>, WriteError> {
        Ok(tar::END.to_vec())
    }

    /// Ends the blob.
    fn finish(self: Box<Self>, out: &mut Outlet) -> Result<Description, WriteError>;
}

/// The part of a blob's descriptor beside its digest and size.
struct Description {
    media_type: MediaType,
    annotations: BTreeMap<String, String>,
}

impl Description {
    fn of(media_type: MediaType) -> Self {
        Self { media_type, annotations: BTreeMap::new() }
    }
}

/// A layer that was written: what a manifest and a config say of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Written {
    /// The media type of its descriptor.
    pub media_type: MediaType,
    /// The annotations of its descriptor.
    pub annotations: BTreeMap<String, String>,
    /// The digest of the compressed blob.
    pub digest: Digest,
    /// The compressed blob's size in bytes.
    pub size: u64,
    /// The digest of the uncompressed tar.
    ///
    /// <https://github.com/opencontainers/image-spec/blob/main/config.md>
    pub diff_id: Digest,
    /// The sum of the sizes of the layer's files in bytes.
    pub unpacked: u64,
    /// The facts that the loader's cache needs.
    pub facts: InventoryFacts,
}

/// The promise of an entry's DEFLATE stream: its sizes and CRC-32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// Compressed size in bytes.
    pub compressed: u64,
    /// Size in bytes once inflated.
    pub size: u64,
    /// The CRC-32 of the inflated bytes.
    pub crc32: u32,
}

/// The reason why an entry could not be written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum WriteError {
    #[error("could not read the content of `{path}`")]
    Read { path: String, source: io::Error },
    #[error("`{path}` has {actual} bytes where {expected} were promised")]
    Size { path: String, expected: u64, actual: u64 },
    #[error("`{path}` is damaged: its CRC-32 is {actual:08x} where {expected:08x} was promised")]
    Crc { path: String, expected: u32, actual: u32 },
    #[error("`{path}` is not a whole DEFLATE stream")]
    Deflate { path: String, source: Invalid },
    #[error("`{path}` inflates to more than the {expected} bytes that were promised")]
    TooLong { path: String, expected: u64 },
    #[error("`{path}` cannot be a path of a layer: {fault}")]
    Path { path: String, fault: PathFault },
    #[error("could not write the layer")]
    Write(#[source] io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Hinted for WriteError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Path { .. } => {
                Some("leave out what has the file: no engine would unpack it as it is".into())
            }
            _ => None,
        }
    }
}

/// A layer being written. Entries come sorted by the caller.
pub struct LayerWriter<'a> {
    progress: &'a (dyn Fn(u64) + Sync),
    compression: &'a LayerCompression,
    has_landmark: bool,
    out: Outlet,
    encoding: Box<dyn Encoding>,
    inflater: Inflater,
    buffer: Vec<u8>,
    unpacked: u64,
    learned: ObservedLayer,
    /// The files that [`Outlet`] hashes, in their order.
    hashed: Vec<String>,
    store: Store,
    _visit: Visit,
}

impl<'a> LayerWriter<'a> {
    /// Starts a layer of this `compression` in `store`; `progress` is told how many bytes of the uncompressed tar were written since
    /// the last time.
    pub fn new(
        store: &Store,
        compression: &'a LayerCompression,
        progress: &'a (dyn Fn(u64) + Sync),
    ) -> Result<Self, WriteError> {
        // One for which there is no memory waits, and keeps no core busy.
        let encoding = encoding(compression)?;
        Ok(Self {
            progress,
            compression,
            has_landmark: !matches!(compression, LayerCompression::Estargz { .. }),
            out: Outlet::new(store.new_blob()?, CORES.take()),
            encoding,
            inflater: Inflater::default(),
            buffer: vec![0; BUFFER],
            unpacked: 0,
            learned: ObservedLayer::default(),
            hashed: Vec::new(),
            store: store.clone(),
            _visit: SHELF.visit(),
        })
    }

    /// Writes an entry that has no content: a directory, a link or a whiteout.
    pub fn entry(&mut self, entry: &Entry) -> Result<(), WriteError> {
        check_path(entry)?;
        match entry.kind {
            EntryKind::Whiteout => {
                self.checked_file(&Entry { kind: EntryKind::File { size: 0 }, ..entry.clone() }, None, || {
                    Ok(io::empty())
                })
            }
            _ => self.begin(entry, None),
        }
    }

    fn begin(&mut self, entry: &Entry, capabilities: Option<FileCapabilities>) -> Result<(), WriteError> {
        if matches!(entry.kind, EntryKind::File { .. }) && !self.compression.fetches_first(&entry.path) {
            self.landmark()?;
        }
        self.learned.note(entry);
        self.encoding.entry(entry);
        self.plain(&tar::header_with(entry, capabilities))
    }

    /// Writes a file whose content `open` gives uncompressed; it may be opened more than once.
    pub fn file<R: Read>(
        &mut self,
        entry: &Entry,
        open: impl Fn() -> io::Result<R>,
    ) -> Result<(), WriteError> {
        self.file_with(entry, None, open)
    }

    /// Writes a file as [`Self::file`] does, with `capabilities` where it has some.
    pub fn file_with<R: Read>(
        &mut self,
        entry: &Entry,
        capabilities: Option<FileCapabilities>,
        open: impl Fn() -> io::Result<R>,
    ) -> Result<(), WriteError> {
        check_path(entry)?;
        self.checked_file(entry, capabilities, open)
    }

    fn checked_file<R: Read>(
        &mut self,
        entry: &Entry,
        capabilities: Option<FileCapabilities>,
        open: impl Fn() -> io::Result<R>,
    ) -> Result<(), WriteError> {
        let expected = file_size(entry);
        let unreadable = |source| WriteError::Read { path: entry.path.clone(), source };
        self.begin(entry, capabilities)?;
        let mut watcher = self.watcher(entry);
        let mut content = open().map_err(unreadable)?;
        let mut buffer = mem::take(&mut self.buffer);
        let mut actual = 0;
        loop {
            let count = content.read(&mut buffer).map_err(unreadable)?;
            actual += count as u64;
            if actual > expected || (count == 0 && actual < expected) {
                return Err(WriteError::Size { path: entry.path.clone(), expected, actual });
            }
            if count == 0 {
                break;
            }
            watcher.iter_mut().for_each(|watcher| watcher.update(&buffer[..count]));
            self.out.tar(&buffer[..count])?;
            (self.progress)(count as u64);
            self.encoding.content(&buffer[..count], &mut self.out)?;
        }
        self.encoding.end_of_content(&mut self.out)?;
        self.buffer = buffer;
        if let Some(watcher) = watcher {
            watcher.finish(&mut self.learned, open).map_err(unreadable)?;
        }
        self.end_of_file(expected)
    }

    /// Writes a file whose content `open` gives as a raw DEFLATE stream, which becomes part of the layer as it is.
    ///
    /// The stream is inflated once, for the `diff_id` and to hold it against `expected`.
    pub fn splice<R: Read>(
        &mut self,
        entry: &Entry,
        open: impl Fn() -> io::Result<R>,
        expected: Expected,
    ) -> Result<(), WriteError> {
        let path = || entry.path.clone();
        let unreadable = |source| WriteError::Read { path: path(), source };
        check_path(entry)?;
        self.begin(entry, None)?;
        let watcher = self.watcher(entry);
        self.encoding.begin(expected.size, &mut self.out)?;
        let mut splice = Splice {
            stream: open().map_err(unreadable)?.take(expected.compressed),
            limit: expected.size,
            size: 0,
            crc32: crc32fast::Hasher::new(),
            watcher,
            progress: self.progress,
            encoding: &mut *self.encoding,
            out: &mut self.out,
        };
        let end = self.inflater.inflate(&mut splice).map_err(|stopped| match stopped {
            Stopped::Invalid(source) => WriteError::Deflate { path: path(), source },
            Stopped::TooLong => WriteError::TooLong { path: path(), expected: expected.size },
            Stopped::Read(source) => unreadable(source),
            Stopped::Write(error) => error,
        })?;
        let Splice { size, crc32, watcher, .. } = splice;
        if size != expected.size {
            return Err(WriteError::Size { path: path(), expected: expected.size, actual: size });
        }
        let actual = crc32.clone().finalize();
        if actual != expected.crc32 {
            return Err(WriteError::Crc { path: path(), expected: expected.crc32, actual });
        }
        self.encoding.end(end, size, &crc32, &mut self.out)?;
        if let Some(watcher) = watcher {
            let reopen = || Ok(DeflateDecoder::new(open()?));
            watcher.finish(&mut self.learned, reopen).map_err(unreadable)?;
        }
        self.end_of_file(size)
    }

    /// Ends the archive and makes the blob visible in the store.
    pub fn finish(mut self) -> Result<Written, WriteError> {
        self.landmark()?;
        let last = self.encoding.last(&mut self.out)?;
        self.plain(&last)?;
        let Description { media_type, annotations } = self.encoding.finish(&mut self.out)?;
        let tar_size = self.out.tar_size();
        let finished = self.out.finish()?;
        plain_tar::note_size(&self.store, &finished.digest, tar_size);
        self.learned.evidence.note_digests(&self.hashed.into_iter().zip(finished.files).collect());
        let facts = self.learned.facts.of_loader();
        let layer = ReadLayer { diff_id: finished.diff_id, unpacked: self.unpacked, learned: self.learned };
        records::keep(&self.store, &finished.digest, layer)?;
        Ok(Written {
            media_type,
            annotations,
            digest: finished.digest,
            size: finished.size,
            diff_id: finished.diff_id,
            unpacked: self.unpacked,
            facts,
        })
    }

    /// Writes, unless it is there, the file that marks where what is fetched at once has ended.
    fn landmark(&mut self) -> Result<(), WriteError> {
        if mem::replace(&mut self.has_landmark, true) {
            return Ok(());
        }
        let (entry, content) = estargz::landmark(self.unpacked > 0);
        self.file(&entry, || Ok(content))
    }

    /// The watcher for the content of `entry`, which comes next in the tar.
    fn watcher(&mut self, entry: &Entry) -> Option<FileObserver> {
        let mut watcher = FileObserver::new(entry, ProbeBudget::SMALL)?;
        // Beside compressing everything anew it counts for little that some is read again.
        if !matches!(self.compression, LayerCompression::Zstd { .. }) {
            watcher = watcher.shelved(&SHELF);
        }
        if watcher.leave_digest() {
            self.out.hash_next(file_size(entry));
            self.hashed.push(entry.path.clone());
        }
        Some(watcher)
    }

    fn end_of_file(&mut self, size: u64) -> Result<(), WriteError> {
        self.unpacked += size;
        self.plain(&tar::END[..tar::padding(size)])
    }

    /// Takes tar bytes that are not compressed yet.
    fn plain(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.out.tar(bytes)?;
        (self.progress)(bytes.len() as u64);
        self.encoding.plain(bytes, &mut self.out)
    }
}

/// Memory for what is kept of large libraries that pass, of all layers together: what it has no room for is read again
/// instead, so that memory does not grow with the number of threads. It has no influence on a layer's bytes.
static SHELF: BufferPool = BufferPool::new(2 * MOST_KEPT_ONCE as usize);

/// Refuses an entry that would hide files of lower layers without being a [whiteout](EntryKind::Whiteout), and a path
/// that no file can have, from whatever source it is.
fn check_path(entry: &Entry) -> Result<(), WriteError> {
    let fault = match (&entry.kind, path_fault(&entry.path)) {
        (EntryKind::Whiteout, Some(PathFault::Whiteout)) => None,
        (EntryKind::Whiteout, None) => Some(PathFault::Part),
        (EntryKind::Hardlink { target }, None) => path_fault(target),
        (EntryKind::Symlink { target }, None) if target.contains('\0') => Some(PathFault::Nul),
        (_, fault) => fault,
    };
    match fault {
        Some(fault) => Err(WriteError::Path { path: entry.path.clone(), fault }),
        None => Ok(()),
    }
}

fn file_size(entry: &Entry) -> u64 {
    match entry.kind {
        EntryKind::File { size } => size,
        _ => 0,
    }
}

/// A stream on its way into the layer.
struct Splice<'a, R> {
    stream: R,
    /// The number of bytes that it may inflate to.
    limit: u64,
    size: u64,
    crc32: crc32fast::Hasher,
    watcher: Option<FileObserver>,
    progress: &'a (dyn Fn(u64) + Sync),
    encoding: &'a mut dyn Encoding,
    out: &'a mut Outlet,
}

/// The reason why a stream was not inflated to its end.
enum Stopped {
    Invalid(Invalid),
    TooLong,
    Read(io::Error),
    Write(WriteError),
}

impl From<Invalid> for Stopped {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

impl<R: Read> Passage for Splice<'_, R> {
    type Error = Stopped;

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Stopped> {
        loop {
            match self.stream.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map_err(Stopped::Read),
            }
        }
    }

    fn last_block(&mut self, byte: &mut u8, bit: u8) {
        if self.encoding.continues() {
            *byte &= !(1 << bit);
        }
    }

    fn wants_blocks(&self) -> bool {
        self.encoding.wants_blocks()
    }

    fn block(&mut self, byte: u8, bit: u32) -> Result<(), Stopped> {
        self.encoding.block(byte, bit, self.out).map_err(Stopped::Write)
    }

    fn passed(&mut self, bytes: &[u8]) -> Result<(), Stopped> {
        self.encoding.deflated(bytes, self.out).map_err(Stopped::Write)
    }

    fn inflated(&mut self, bytes: &[u8]) -> Result<(), Stopped> {
        self.size += bytes.len() as u64;
        if self.size > self.limit {
            return Err(Stopped::TooLong);
        }
        self.crc32.update(bytes);
        self.watcher.iter_mut().for_each(|watcher| watcher.update(bytes));
        self.out.tar(bytes).map_err(Stopped::Write)?;
        (self.progress)(bytes.len() as u64);
        self.encoding.inflated(bytes, self.out).map_err(Stopped::Write)
    }
}

#[cfg(test)]
mod tests;
