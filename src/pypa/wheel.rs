//! What a wheel contains, read from the end of the archive without reading the rest.
//!
//! <https://packaging.python.org/en/latest/specifications/binary-distribution-format/>
//!
//! The reader may be a local file or a [`Sparse`] view of a remote one. What the view does not have yet is
//! [`WheelError::Missing`]: fetch that range and read again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::str::FromStr;

use flate2::read::DeflateDecoder;
use rawzip::{CompressionMethod, ReaderAt, ZipArchive, ZipArchiveEntryWayfinder, ZipLocator};
use serde::{Deserialize, Serialize};
use uv_distribution_filename::WheelFilename;
use uv_normalize::PackageName;

/// The most bytes that an archive's end of central directory record and its comment take.
pub const TAIL: u64 = 66 * 1024;
/// A central directory larger than this is no wheel's.
const MAX_DIRECTORY: u64 = 128 << 20;
/// A METADATA or RECORD larger than this is no wheel's.
const MAX_TEXT: u64 = 64 << 20;

/// The files of a wheel, in the order of its central directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outline {
    pub entries: Vec<Entry>,
}

/// A file of a wheel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// As the archive writes it, with `/` between components.
    pub path: String,
    /// In bytes, unpacked.
    pub size: u64,
    /// In bytes, as stored.
    pub compressed_size: u64,
}

/// Why a wheel could not be read.
#[derive(Debug, thiserror::Error)]
pub enum WheelError {
    #[error("bytes {} to {} were not fetched", range.start, range.end)]
    Missing { range: Range<u64> },
    #[error("it is not a sound zip archive")]
    Zip(#[source] rawzip::Error),
    #[error("it could not be read")]
    Read(#[source] io::Error),
    #[error("the path of entry {index} is not UTF-8")]
    Path { index: usize },
    #[error("its {what} has {size} bytes, more than {limit}")]
    TooLarge { what: String, size: u64, limit: u64 },
    #[error("it has no directory `*.dist-info` for `{name}`")]
    NoDistInfo { name: PackageName },
    #[error("it has no file `{path}`")]
    NoMember { path: String },
    #[error("its `{path}` is compressed with method {method}")]
    Method { path: String, method: CompressionMethod },
    #[error("its `{path}` is corrupt")]
    Corrupt { path: String },
    #[error("its `{path}` is not UTF-8")]
    NotText { path: String },
}

impl WheelError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { .. } | Self::Read(_) => None,
            _ => Some(
                "the wheel is broken: exclude this version with a constraint such as `NAME!=VERSION`".into(),
            ),
        }
    }
}

/// A reader that knows which of its bytes are at hand.
pub trait Bytes: ReaderAt {
    /// The size of the whole file.
    fn len(&self) -> io::Result<u64>;

    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fails with [`WheelError::Missing`] unless all of `range` can be read.
    fn need(&self, range: Range<u64>) -> Result<(), WheelError>;
}

impl<R: Bytes> Bytes for &R {
    fn len(&self) -> io::Result<u64> {
        (**self).len()
    }

    fn need(&self, range: Range<u64>) -> Result<(), WheelError> {
        (**self).need(range)
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

    fn need(&self, _: Range<u64>) -> Result<(), WheelError> {
        Ok(())
    }
}

/// The fetched parts of a remote file.
#[derive(Debug, Clone)]
pub struct Sparse {
    len: u64,
    /// Keyed by offset; chunks neither touch nor overlap.
    chunks: BTreeMap<u64, Vec<u8>>,
}

impl Sparse {
    /// A file of `len` bytes of which none is at hand.
    pub fn new(len: u64) -> Self {
        Self { len, chunks: BTreeMap::new() }
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

    fn need(&self, range: Range<u64>) -> Result<(), WheelError> {
        let range = range.start..range.end.min(self.len);
        if range.is_empty() {
            return Ok(());
        }
        let have = self.at(range.start).map_or(0, <[u8]>::len) as u64;
        if have >= range.end - range.start {
            return Ok(());
        }
        Err(WheelError::Missing { range: range.start + have..range.end })
    }
}

/// A wheel whose central directory has been read.
pub struct Wheel<R> {
    archive: ZipArchive<R>,
    outline: Outline,
    places: Vec<Place>,
}

struct Place {
    entry: ZipArchiveEntryWayfinder,
    header_offset: u64,
    method: CompressionMethod,
    crc32: u32,
}

impl<R: Bytes> Wheel<R> {
    /// Reads the central directory.
    pub fn open(reader: R) -> Result<Self, WheelError> {
        let len = reader.len().map_err(WheelError::Read)?;
        reader.need(len.saturating_sub(TAIL)..len)?;
        let mut buffer = vec![0; TAIL as usize];
        let archive = ZipLocator::new()
            .max_search_space(TAIL)
            .locate_in_reader(reader, &mut buffer, len)
            .map_err(|(_, error)| WheelError::Zip(error))?;
        let (start, end) = (archive.directory_offset(), archive.eocd_offset());
        let size = end.saturating_sub(start);
        if size > MAX_DIRECTORY {
            return Err(WheelError::TooLarge { what: "directory".into(), size, limit: MAX_DIRECTORY });
        }
        archive.get_ref().need(start..end)?;
        let (outline, places) = read_directory(&archive, &mut buffer)?;
        Ok(Self { archive, outline, places })
    }

    pub fn outline(&self) -> &Outline {
        &self.outline
    }

    pub fn into_outline(self) -> Outline {
        self.outline
    }

    /// The text of the file `path`, such as [`dist_info`] and `/METADATA`.
    pub fn text(&self, path: &str) -> Result<String, WheelError> {
        let missing = || WheelError::NoMember { path: path.to_owned() };
        let index = self.outline.entries.iter().position(|entry| entry.path == path).ok_or_else(missing)?;
        let (entry, place) = (&self.outline.entries[index], &self.places[index]);
        let largest = entry.size.max(entry.compressed_size);
        if largest > MAX_TEXT {
            return Err(WheelError::TooLarge { what: format!("`{path}`"), size: largest, limit: MAX_TEXT });
        }
        // The local header repeats the path, and its extra fields may differ from the directory's.
        let slack = 30 + path.len() as u64 + 1024;
        self.archive
            .get_ref()
            .need(place.header_offset..place.header_offset + slack + entry.compressed_size)?;
        let bytes = self.inflate(entry, place)?;
        String::from_utf8(bytes).map_err(|_| WheelError::NotText { path: path.to_owned() })
    }

    fn inflate(&self, entry: &Entry, place: &Place) -> Result<Vec<u8>, WheelError> {
        let corrupt = || WheelError::Corrupt { path: entry.path.clone() };
        let (start, end) =
            self.archive.get_entry(place.entry).map_err(WheelError::Zip)?.compressed_data_range();
        self.archive.get_ref().need(start..end)?;
        let mut stored = vec![0; usize::try_from(end - start).map_err(|_| corrupt())?];
        self.archive.get_ref().read_exact_at(&mut stored, start).map_err(WheelError::Read)?;
        let bytes = match place.method {
            CompressionMethod::STORE => stored,
            CompressionMethod::DEFLATE => {
                let mut bytes = Vec::with_capacity(usize::try_from(entry.size).map_err(|_| corrupt())?);
                // One byte more than promised is enough to know a lie.
                let mut inflated = DeflateDecoder::new(&*stored).take(entry.size + 1);
                inflated.read_to_end(&mut bytes).map_err(|_| corrupt())?;
                bytes
            }
            method => return Err(WheelError::Method { path: entry.path.clone(), method }),
        };
        if bytes.len() as u64 != entry.size || crc32fast::hash(&bytes) != place.crc32 {
            return Err(corrupt());
        }
        Ok(bytes)
    }
}

impl Outline {
    /// The directory `NAME-VERSION.dist-info` of the wheel `filename`.
    pub fn dist_info(&self, filename: &WheelFilename) -> Result<&str, WheelError> {
        self.entries
            .iter()
            .filter_map(|entry| entry.path.split_once('/'))
            .map(|(directory, _)| directory)
            .find(|directory| is_dist_info(directory, &filename.name))
            .ok_or_else(|| WheelError::NoDistInfo { name: filename.name.clone() })
    }
}

fn is_dist_info(directory: &str, name: &PackageName) -> bool {
    let stem = directory.strip_suffix(".dist-info").and_then(|stem| stem.rsplit_once('-'));
    stem.is_some_and(|(prefix, _)| PackageName::from_str(prefix).is_ok_and(|prefix| prefix == *name))
}

fn read_directory<R: Bytes>(
    archive: &ZipArchive<R>,
    buffer: &mut [u8],
) -> Result<(Outline, Vec<Place>), WheelError> {
    let (mut entries, mut places) = (Vec::new(), Vec::new());
    let mut records = archive.entries(buffer);
    while let Some(record) = records.next_entry().map_err(WheelError::Zip)? {
        let path = std::str::from_utf8(record.file_path().as_ref())
            .map_err(|_| WheelError::Path { index: entries.len() })?
            .to_owned();
        let (size, compressed_size) = (record.uncompressed_size_hint(), record.compressed_size_hint());
        entries.push(Entry { path, size, compressed_size });
        places.push(Place {
            entry: record.wayfinder(),
            header_offset: record.local_header_offset(),
            method: record.compression_method(),
            crc32: record.crc32(),
        });
    }
    Ok((Outline { entries }, places))
}
