//! Zip archives: the central directory, and what it says of each member.
//!
//! The reader may be a local file or a [`Sparse`] view of a remote one. What the view does not have yet is
//! [`ZipError::Missing`]: fetch that range and read again.
//!
//! <https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT>

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use flate2::read::DeflateDecoder;
use rawzip::{CompressionMethod, ReaderAt, ZipArchive, ZipArchiveEntryWayfinder, ZipEntry, ZipLocator};

use crate::deflate::KnownEnd;

/// The most bytes that an archive's end of central directory record and its comment take.
pub const TAIL: u64 = 66 * 1024;
/// A central directory larger than this is no wheel's.
const MAX_DIRECTORY: u64 = 24 << 20;
/// The members of an archive: wheels with the most have some 30,000.
const MOST_MEMBERS: usize = 1 << 17;

/// The reason why an archive could not be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum ZipError {
    #[error("bytes {} to {} were not fetched", range.start, range.end)]
    Missing { range: Range<u64> },
    #[error("it is not a sound zip archive")]
    Malformed(#[from] rawzip::Error),
    #[error("it could not be read")]
    Read(#[from] io::Error),
    #[error("its directory has {size} bytes, more than {limit}")]
    TooLarge { size: u64, limit: u64 },
    #[error("it has more than {MOST_MEMBERS} members")]
    ManyMembers,
}

/// An archive whose central directory was read.
pub struct Zip<R> {
    archive: ZipArchive<R>,
    members: Vec<ZipMember>,
}

/// A member, as the central directory describes it.
#[derive(Debug, Clone)]
pub struct ZipMember {
    /// Its path, with `/` between components; whether it is text, and leads where it should, is not known.
    pub name: Vec<u8>,
    /// In bytes, unpacked.
    pub size: u64,
    /// In bytes, as stored.
    pub compressed_size: u64,
    /// The CRC-32 of the content.
    pub crc32: u32,
    /// The compression method.
    pub method: CompressionMethod,
    /// The mode of the file on Unix.
    pub mode: u32,
    /// True if its name ends in a slash.
    pub is_directory: bool,
    /// True if it is encrypted.
    pub is_encrypted: bool,
    /// True if sizes and CRC-32 follow the member's bytes.
    pub has_data_descriptor: bool,
    /// The start of its local header.
    pub header_offset: u64,
    entry: ZipArchiveEntryWayfinder,
}

/// The most that a local header takes. It repeats the name, and its extra fields may differ from the directory's.
fn local_header(member: &ZipMember) -> u64 {
    30 + member.name.len() as u64 + 1024
}

impl<R: Bytes> Zip<R> {
    /// Reads the central directory.
    pub fn open(reader: R) -> Result<Self, ZipError> {
        let len = reader.len()?;
        reader.need(len.saturating_sub(TAIL)..len)?;
        let mut buffer = vec![0; TAIL as usize];
        let archive = ZipLocator::new()
            .max_search_space(TAIL)
            .locate_in_reader(reader, &mut buffer, len)
            .map_err(|(_, error)| ZipError::Malformed(error))?;
        let (start, end) = (archive.directory_offset(), archive.eocd_offset());
        let size = end.saturating_sub(start);
        if size > MAX_DIRECTORY {
            return Err(ZipError::TooLarge { size, limit: MAX_DIRECTORY });
        }
        archive.get_ref().need(start..end)?;
        let members = members(&archive, &mut buffer)?;
        Ok(Self { archive, members })
    }

    /// In the order of the central directory.
    pub fn members(&self) -> &[ZipMember] {
        &self.members
    }

    /// The number of members that the end of the directory tells.
    pub fn told_members(&self) -> u64 {
        self.archive.entries_hint()
    }

    /// The start of the central directory.
    pub fn directory_offset(&self) -> u64 {
        self.archive.directory_offset()
    }

    /// The end of the archive.
    pub fn end_offset(&self) -> u64 {
        self.archive.end_offset()
    }

    /// The reader of the archive's bytes.
    pub fn reader(&self) -> &R {
        self.archive.get_ref()
    }

    /// A member's local header and bytes.
    pub fn entry(&self, member: &ZipMember) -> Result<ZipEntry<'_, R>, rawzip::Error> {
        self.archive.get_entry(member.entry)
    }

    /// A member's content, which is compared with its promised size and CRC-32 as it is read; `None` where it is compressed
    /// in a way that wheels do not use. Needs all of it.
    pub fn content(&self, member: &ZipMember) -> Result<Option<impl Read + '_>, ZipError> {
        let data = self.data(member, member.compressed_size)?;
        self.reader().need(data.clone())?;
        let stored = StoredBytes { reader: self.reader(), rest: data };
        let content = unpacked(stored, member.method);
        Ok(content.map(|content| CheckedReader::new(content, member.size, member.crc32)))
    }

    /// The place of a member's bytes. Needs the first `likely` of them, which are going to be read.
    pub fn data(&self, member: &ZipMember, likely: u64) -> Result<Range<u64>, ZipError> {
        let part = local_header(member).saturating_add(likely.min(member.compressed_size));
        self.reader().need(member.header_offset..member.header_offset.saturating_add(part))?;
        let (start, end) = self.entry(member)?.compressed_data_range();
        Ok(start..end.max(start))
    }
}

fn members<R: Bytes>(archive: &ZipArchive<R>, buffer: &mut [u8]) -> Result<Vec<ZipMember>, ZipError> {
    let mut members = Vec::new();
    let mut records = archive.entries(buffer);
    while let Some(record) = records.next_entry()? {
        if members.len() == MOST_MEMBERS {
            return Err(ZipError::ManyMembers);
        }
        members.push(ZipMember {
            name: record.file_path().as_bytes().to_owned(),
            size: record.uncompressed_size_hint(),
            compressed_size: record.compressed_size_hint(),
            crc32: record.crc32(),
            method: record.compression_method(),
            mode: record.external_attributes() >> 16,
            is_directory: record.is_dir(),
            is_encrypted: record.flags().is_encrypted(),
            has_data_descriptor: record.flags().has_data_descriptor(),
            header_offset: record.local_header_offset(),
            entry: record.wayfinder(),
        });
    }
    Ok(members)
}

/// The content of a member whose bytes are `stored`; `None` where it is compressed in a way that wheels do not use.
pub fn unpacked<'a>(stored: impl Read + 'a, method: CompressionMethod) -> Option<Box<dyn Read + 'a>> {
    match method {
        CompressionMethod::STORE => Some(Box::new(stored)),
        CompressionMethod::DEFLATE => Some(Box::new(DeflateDecoder::new(stored))),
        _ => None,
    }
}

/// The bytes of a member, as stored.
struct StoredBytes<'a, R> {
    reader: &'a R,
    rest: Range<u64>,
}

impl<R: Bytes> Read for StoredBytes<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = (buffer.len() as u64).min(self.rest.end - self.rest.start) as usize;
        let count = self.reader.read_at(&mut buffer[..length], self.rest.start)?;
        self.rest.start += count as u64;
        Ok(count)
    }
}

/// Compares what it reads with a size, as it goes, and with a CRC-32, at the end.
pub struct CheckedReader<R> {
    reader: R,
    /// The number of bytes that have passed.
    passed: u64,
    passed_crc32: crc32fast::Hasher,
    size: u64,
    crc32: u32,
}

impl<R: Read> CheckedReader<R> {
    /// A reader that compares its bytes with this size and this CRC-32.
    pub fn new(reader: R, size: u64, crc32: u32) -> Self {
        Self { reader, passed: 0, passed_crc32: crc32fast::Hasher::new(), size, crc32 }
    }
}

impl<R: Read> Read for CheckedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.passed_crc32.update(&buffer[..count]);
        self.passed += count as u64;
        let is_end = count == 0 && !buffer.is_empty();
        let broken = if self.passed > self.size || (is_end && self.passed < self.size) {
            "it does not have the size that the wheel promises"
        } else if is_end && self.passed_crc32.clone().finalize() != self.crc32 {
            "it does not have the CRC-32 that the wheel promises"
        } else {
            return Ok(count);
        };
        Err(io::Error::new(io::ErrorKind::InvalidData, broken))
    }
}

/// A reader that knows which of its bytes are at hand.
pub trait Bytes: ReaderAt {
    /// The size of the whole file.
    fn len(&self) -> io::Result<u64>;

    /// Returns whether there are no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fails with [`ZipError::Missing`] unless all of `range` can be read.
    fn need(&self, range: Range<u64>) -> Result<(), ZipError>;

    /// The end of the stream that begins at `start`, as far as it was inflated before.
    fn known_end(&self, _start: u64) -> Arc<Mutex<KnownEnd>> {
        Arc::default()
    }
}

impl<R: Bytes> Bytes for &R {
    fn len(&self) -> io::Result<u64> {
        (**self).len()
    }

    fn need(&self, range: Range<u64>) -> Result<(), ZipError> {
        (**self).need(range)
    }

    fn known_end(&self, start: u64) -> Arc<Mutex<KnownEnd>> {
        (**self).known_end(start)
    }
}

/// A local file, all of which is at hand.
pub struct Local(pub File);

impl ReaderAt for Local {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.0, buffer, offset)
    }
}

impl Bytes for Local {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn need(&self, _: Range<u64>) -> Result<(), ZipError> {
        Ok(())
    }
}

/// The fetched parts of a remote file.
#[derive(Debug)]
pub struct Sparse {
    len: u64,
    /// Keyed by offset; chunks neither touch nor overlap.
    chunks: BTreeMap<u64, Vec<u8>>,
    /// Keyed by the beginnings of streams: those that were read of this copy.
    ends: Mutex<BTreeMap<u64, Arc<Mutex<KnownEnd>>>>,
}

impl Clone for Sparse {
    /// The same parts; what is inflated of one copy is not kept for the other.
    fn clone(&self) -> Self {
        Self { len: self.len, chunks: self.chunks.clone(), ends: Mutex::default() }
    }
}

impl Sparse {
    /// A file of `len` bytes of which none is at hand.
    pub fn new(len: u64) -> Self {
        Self { len, chunks: BTreeMap::new(), ends: Mutex::default() }
    }

    /// The fetched parts, each with its offset.
    pub fn parts(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.chunks.iter().map(|(offset, bytes)| (*offset, &bytes[..]))
    }

    /// The bytes that were fetched.
    pub fn size(&self) -> u64 {
        self.chunks.values().map(|bytes| bytes.len() as u64).sum()
    }

    /// Adds the bytes at `offset`.
    pub fn add(&mut self, offset: u64, bytes: Vec<u8>) {
        let mut start = offset;
        let mut chunk = bytes;
        let touching = |start: u64, chunk: &[u8], at: u64, other: &[u8]| {
            at <= start + chunk.len() as u64 && start <= at + other.len() as u64
        };
        while let Some(at) =
            self.chunks.iter().find(|(at, other)| touching(start, &chunk, **at, other)).map(|(at, _)| *at)
        {
            let Some(other) = self.chunks.remove(&at) else { break };
            (start, chunk) = join((start, chunk), (at, other));
        }
        self.chunks.insert(start, chunk);
    }

    /// The bytes at hand from `offset` on.
    fn at(&self, offset: u64) -> Option<&[u8]> {
        let (start, chunk) = self.chunks.range(..=offset).next_back()?;
        chunk.get(usize::try_from(offset - start).ok()?..).filter(|bytes| !bytes.is_empty())
    }
}

/// Joins two chunks that touch or overlap.
fn join(a: (u64, Vec<u8>), b: (u64, Vec<u8>)) -> (u64, Vec<u8>) {
    let ((start, mut first), (next, second)) = if a.0 <= b.0 { (a, b) } else { (b, a) };
    let overlap = usize::try_from(start + first.len() as u64 - next).unwrap_or(usize::MAX);
    if let Some(rest) = second.get(overlap..) {
        first.extend_from_slice(rest);
    }
    (start, first)
}

impl ReaderAt for Sparse {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset >= self.len {
            return Ok(0);
        }
        let bytes = self.at(offset).ok_or_else(|| io::Error::other("these bytes were not fetched"))?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }
}

impl Bytes for Sparse {
    fn len(&self) -> io::Result<u64> {
        Ok(self.len)
    }

    fn need(&self, range: Range<u64>) -> Result<(), ZipError> {
        let range = range.start..range.end.min(self.len);
        if range.is_empty() {
            return Ok(());
        }
        let have = self.at(range.start).map_or(0, <[u8]>::len) as u64;
        if have >= range.end - range.start {
            return Ok(());
        }
        Err(ZipError::Missing { range: range.start + have..range.end })
    }

    fn known_end(&self, start: u64) -> Arc<Mutex<KnownEnd>> {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(ends.entry(start).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_parts_that_touch_or_overlap() {
        let mut sparse = Sparse::new(10);
        sparse.add(6, vec![6, 7]);
        sparse.add(0, vec![0, 1, 2]);
        assert!(matches!(sparse.need(0..8), Err(ZipError::Missing { range }) if range == (3..8)));
        sparse.add(2, vec![2, 3, 4, 5, 6]);
        sparse.need(0..8).unwrap();
        let mut bytes = [9; 8];
        sparse.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes, [0, 1, 2, 3, 4, 5, 6, 7]);
        assert!(sparse.read_exact_at(&mut bytes, 4).is_err());
    }
}
