//! Writes one layer: a canonical tar as many gzip members, without recompressing what is already deflated.
//!
//! A member is a whole gzip stream; RFC 1952 §2.2 lets a file be any number of them. Tar headers, padding and content
//! that comes uncompressed are gathered and deflated into members of their own; the raw DEFLATE stream of a wheel's
//! entry becomes a member by putting a gzip header before it and its CRC-32 and size behind it.
//!
//! <https://www.rfc-editor.org/rfc/rfc1952>

use std::io::{self, Read, Write};

use flate2::read::DeflateDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use libdeflater::{CompressionLvl, Compressor};

use super::read::ReadLayer;
use super::records;
use crate::base::facts::Facts;
use crate::base::learn::{Learned, Watcher};
use crate::elf::probe::Budget;
use crate::oci::{Digest, Entry, EntryKind, Hasher, tar};
use crate::store::{BlobWriter, Store, StoreError};

/// How much uncompressed tar goes into one member of our own. Part of the layer's bytes: changing it changes digests.
const MEMBER: usize = 1 << 20;
/// Part of the layer's bytes, as [`MEMBER`].
const LEVEL: i32 = 6;
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
const BUFFER: usize = 256 << 10;

/// A layer that was written: what a manifest and a config say of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Written {
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
    /// What the loader will want to know of it.
    pub facts: Facts,
}

/// What an entry's DEFLATE stream must inflate to.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// Compressed size in bytes.
    pub compressed: u64,
    /// Size in bytes once inflated.
    pub size: u64,
    pub crc32: u32,
}

/// Why an entry could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("could not read the content of `{path}`")]
    Read { path: String, source: io::Error },
    #[error("`{path}` has {actual} bytes where {expected} were promised")]
    Size { path: String, expected: u64, actual: u64 },
    #[error("`{path}` is damaged: its CRC-32 is {actual:08x} where {expected:08x} was promised")]
    Crc { path: String, expected: u32, actual: u32 },
    #[error("`{path}` is not a whole DEFLATE stream: {problem}")]
    Deflate { path: String, problem: &'static str },
    #[error("could not write the layer")]
    Write(#[source] io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A layer being written. Entries come sorted by the caller.
pub struct LayerWriter<'a> {
    store: Store,
    progress: &'a (dyn Fn(u64) + Sync),
    blob: BlobWriter,
    diff_id: Hasher,
    unpacked: u64,
    learned: Learned,
    /// Tar bytes that are hashed but not yet compressed.
    pending: Vec<u8>,
    compressor: Compressor,
}

impl<'a> LayerWriter<'a> {
    /// Starts a layer in `store`; `progress` is told how many bytes of the uncompressed tar were written since the
    /// last time.
    pub fn new(store: &Store, progress: &'a (dyn Fn(u64) + Sync)) -> Result<Self, StoreError> {
        let level = CompressionLvl::new(LEVEL).unwrap_or_default();
        Ok(Self {
            store: store.clone(),
            progress,
            blob: store.new_blob()?,
            diff_id: Hasher::default(),
            unpacked: 0,
            learned: Learned::default(),
            pending: Vec::with_capacity(2 * MEMBER),
            compressor: Compressor::new(level),
        })
    }

    /// Writes an entry that has no content: a directory or a link.
    pub fn entry(&mut self, entry: &Entry) -> Result<(), WriteError> {
        self.learned.note(entry);
        self.gather(&tar::header(entry))
    }

    /// Writes a file whose content `open` gives uncompressed; it may be opened more than once.
    pub fn file<R: Read>(
        &mut self,
        entry: &Entry,
        open: impl Fn() -> io::Result<R>,
    ) -> Result<(), WriteError> {
        let expected = file_size(entry);
        let unreadable = |source| WriteError::Read { path: entry.path.clone(), source };
        self.learned.note(entry);
        self.gather(&tar::header(entry))?;
        let mut watcher = Watcher::new(entry, Budget::SMALL);
        let mut content = open().map_err(unreadable)?;
        let mut buffer = vec![0; BUFFER];
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
            self.gather(&buffer[..count])?;
        }
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
        let unreadable = |source| WriteError::Read { path: entry.path.clone(), source };
        let broken = |problem| WriteError::Deflate { path: entry.path.clone(), problem };
        self.learned.note(entry);
        self.gather(&tar::header(entry))?;
        self.flush_member()?;
        self.write(&GZIP_HEADER)?;

        let mut watcher = Watcher::new(entry, Budget::SMALL);
        let mut inflater = Inflater::new();
        let mut deflated = open().map_err(unreadable)?;
        let mut buffer = vec![0; BUFFER];
        let mut remaining = expected.compressed;
        while remaining > 0 {
            let limit = buffer.len().min(usize::try_from(remaining).unwrap_or(usize::MAX));
            let count = deflated.read(&mut buffer[..limit]).map_err(unreadable)?;
            if count == 0 {
                return Err(broken("it is cut short"));
            }
            remaining -= count as u64;
            self.write(&buffer[..count])?;
            let (diff_id, progress) = (&mut self.diff_id, self.progress);
            let see = |bytes: &[u8]| {
                diff_id.update(bytes);
                progress(bytes.len() as u64);
                watcher.iter_mut().for_each(|watcher| watcher.update(bytes));
            };
            inflater.feed(&buffer[..count], expected.size, see).map_err(broken)?;
        }
        let (size, crc32) = inflater.finish().map_err(broken)?;
        if size != expected.size {
            return Err(WriteError::Size { path: entry.path.clone(), expected: expected.size, actual: size });
        }
        if crc32 != expected.crc32 {
            return Err(WriteError::Crc {
                path: entry.path.clone(),
                expected: expected.crc32,
                actual: crc32,
            });
        }
        self.write(&crc32.to_le_bytes())?;
        self.write(&(size as u32).to_le_bytes())?;
        if let Some(watcher) = watcher {
            watcher.finish(&mut self.learned, || Ok(DeflateDecoder::new(open()?))).map_err(unreadable)?;
        }
        self.end_of_file(size)
    }

    /// Ends the archive and makes the blob visible in the store.
    pub fn finish(mut self) -> Result<Written, WriteError> {
        self.gather(&tar::END)?;
        self.flush_member()?;
        let (digest, size) = self.blob.finish()?;
        let (diff_id, unpacked) = (self.diff_id.finish(), self.unpacked);
        let facts = self.learned.facts.of_loader();
        records::keep(&self.store, &digest, ReadLayer { diff_id, unpacked, learned: self.learned })?;
        Ok(Written { digest, size, diff_id, unpacked, facts })
    }

    fn end_of_file(&mut self, size: u64) -> Result<(), WriteError> {
        self.unpacked += size;
        self.gather(&tar::END[..tar::padding(size)])
    }

    /// Takes tar bytes that are not compressed yet.
    fn gather(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.diff_id.update(bytes);
        (self.progress)(bytes.len() as u64);
        let mut bytes = bytes;
        while self.pending.len() + bytes.len() >= MEMBER {
            let (now, later) = bytes.split_at(MEMBER - self.pending.len());
            self.pending.extend_from_slice(now);
            self.flush_member()?;
            bytes = later;
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    /// Compresses what is pending into a member of its own.
    fn flush_member(&mut self) -> Result<(), WriteError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut member = vec![0; self.compressor.gzip_compress_bound(self.pending.len())];
        let size = self
            .compressor
            .gzip_compress(&self.pending, &mut member)
            .map_err(|error| WriteError::Write(io::Error::other(error.to_string())))?;
        self.pending.clear();
        self.write(&member[..size])
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.blob.write_all(bytes).map_err(WriteError::Write)
    }
}

fn file_size(entry: &Entry) -> u64 {
    match entry.kind {
        EntryKind::File { size } => size,
        _ => 0,
    }
}

/// A raw DEFLATE stream being inflated, counted and checked.
struct Inflater {
    stream: Decompress,
    crc32: crc32fast::Hasher,
    size: u64,
    ended: bool,
    buffer: Vec<u8>,
}

impl Inflater {
    fn new() -> Self {
        Self {
            stream: Decompress::new(false),
            crc32: crc32fast::Hasher::new(),
            size: 0,
            ended: false,
            buffer: vec![0; BUFFER],
        }
    }

    /// Inflates `input`, refusing to give more than `limit` bytes in all.
    fn feed(
        &mut self,
        mut input: &[u8],
        limit: u64,
        mut give: impl FnMut(&[u8]),
    ) -> Result<(), &'static str> {
        loop {
            if self.ended {
                return if input.is_empty() { Ok(()) } else { Err("bytes follow its last block") };
            }
            let (before_in, before_out) = (self.stream.total_in(), self.stream.total_out());
            let status = self
                .stream
                .decompress(input, &mut self.buffer, FlushDecompress::None)
                .map_err(|_| "its bits are not DEFLATE")?;
            let consumed = (self.stream.total_in() - before_in) as usize;
            let produced = (self.stream.total_out() - before_out) as usize;
            self.size += produced as u64;
            if self.size > limit {
                return Err("it inflates to more than promised");
            }
            self.crc32.update(&self.buffer[..produced]);
            give(&self.buffer[..produced]);
            input = &input[consumed..];
            self.ended = status == Status::StreamEnd;
            if !self.ended && input.is_empty() && produced < self.buffer.len() {
                return Ok(());
            }
            if !self.ended && consumed == 0 && produced == 0 {
                return Err("its bits are not DEFLATE");
            }
        }
    }

    fn finish(self) -> Result<(u64, u32), &'static str> {
        if self.ended { Ok((self.size, self.crc32.finalize())) } else { Err("it is cut short") }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::Compression;
    use flate2::read::{DeflateEncoder, MultiGzDecoder};

    use super::*;

    const TIME: u64 = 315_532_800;

    fn entry(path: &str, kind: EntryKind) -> Entry {
        Entry { path: path.into(), mode: 0o644, uid: 0, gid: 0, mtime: TIME, kind }
    }

    fn file(path: &str, content: &[u8]) -> Entry {
        entry(path, EntryKind::File { size: content.len() as u64 })
    }

    fn deflate(content: &[u8]) -> (Vec<u8>, Expected) {
        let mut deflated = Vec::new();
        DeflateEncoder::new(content, Compression::default()).read_to_end(&mut deflated).unwrap();
        let expected = Expected {
            compressed: deflated.len() as u64,
            size: content.len() as u64,
            crc32: crc32fast::hash(content),
        };
        (deflated, expected)
    }

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        (directory, store)
    }

    #[test]
    fn a_spliced_layer_reads_as_the_tar_it_stands_for() {
        let (_directory, store) = store();
        let large: Vec<u8> = (0..3_000_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let contents: [(&str, &[u8]); 4] = [("a", b""), ("b", b"hello"), ("c", &large), ("d", b"end")];
        let mut writer = LayerWriter::new(&store, &|_| ()).unwrap();
        writer.entry(&entry("dir", EntryKind::Directory)).unwrap();
        for (path, content) in contents {
            let (deflated, expected) = deflate(content);
            writer.splice(&file(path, content), || Ok(deflated.as_slice()), expected).unwrap();
            writer.file(&file(&format!("{path}-plain"), content), || Ok(content)).unwrap();
        }
        let written = writer.finish().unwrap();

        let mut tar_bytes = Vec::new();
        MultiGzDecoder::new(store.open_blob(&written.digest).unwrap()).read_to_end(&mut tar_bytes).unwrap();
        assert_eq!(Digest::of(&tar_bytes), written.diff_id);
        assert_eq!(store.blob_size(&written.digest), Some(written.size));
        let mut archive = ::tar::Archive::new(tar_bytes.as_slice());
        let read: Vec<(String, Vec<u8>)> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                (entry.path().unwrap().display().to_string(), content)
            })
            .collect();
        let mut expected = vec![("dir/".to_owned(), Vec::new())];
        for (path, content) in contents {
            expected.push((path.to_owned(), content.to_vec()));
            expected.push((format!("{path}-plain"), content.to_vec()));
        }
        assert!(read == expected);
    }

    fn refused(deflated: &[u8], expected: Expected) -> String {
        let (_directory, store) = store();
        let mut writer = LayerWriter::new(&store, &|_| ()).unwrap();
        let entry = entry("lib.so", EntryKind::File { size: expected.size });
        writer.splice(&entry, || Ok(deflated), expected).unwrap_err().to_string()
    }

    #[test]
    fn refuses_an_entry_that_is_not_what_it_promised() {
        let (deflated, expected) = deflate(&b"library ".repeat(10_000));
        let check = |deflated: &[u8], expected, message: &str| {
            let error = refused(deflated, expected);
            assert!(error.contains(message), "{error}");
        };
        check(&deflated, Expected { crc32: 1, ..expected }, "damaged");
        check(&deflated, Expected { size: expected.size + 1, ..expected }, "promised");
        check(&deflated, Expected { size: 100, ..expected }, "more than promised");
        check(&deflated[..20], expected, "cut short");
        check(&deflated[..20], Expected { compressed: 20, ..expected }, "cut short");
        let longer = [deflated.as_slice(), b"tail"].concat();
        check(&longer, Expected { compressed: longer.len() as u64, ..expected }, "follow");
        check(&[0xff; 40], Expected { compressed: 40, ..expected }, "not DEFLATE");
    }
}
