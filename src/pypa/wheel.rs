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

use crate::elf::ElfError;
use crate::failure::Hinted;

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
    #[error("its `{path}` is not a sound library")]
    Library { path: String, source: ElfError },
    #[error("what describes `{path}` is too deep within it to be read in part")]
    TooDeep { path: String },
}

impl Hinted for WheelError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { .. } | Self::Read(_) | Self::TooDeep { .. } => None,
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

/// A file of a wheel, to be read in part.
pub(super) struct Member<'a, R> {
    pub reader: &'a R,
    pub path: String,
    pub method: CompressionMethod,
    /// Where it is in the archive, as stored.
    pub data: Range<u64>,
    /// In bytes, unpacked.
    pub size: u64,
}

/// The most that a local header takes. It repeats the path, and its extra fields may differ from the directory's.
fn local_header(path: &str) -> u64 {
    30 + path.len() as u64 + 1024
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

    /// Where the file `path` is in the archive. Needs its first `likely` bytes as stored, which are going to be read.
    pub(super) fn member(&self, path: &str, likely: u64) -> Result<Member<'_, R>, WheelError> {
        let (entry, place) = self.find(path)?;
        let part = local_header(path).saturating_add(likely.min(entry.compressed_size));
        self.archive.get_ref().need(place.header_offset..place.header_offset.saturating_add(part))?;
        let (start, end) =
            self.archive.get_entry(place.entry).map_err(WheelError::Zip)?.compressed_data_range();
        Ok(Member {
            reader: self.archive.get_ref(),
            path: path.to_owned(),
            method: place.method,
            data: start..end.max(start),
            size: entry.size,
        })
    }

    fn find(&self, path: &str) -> Result<(&Entry, &Place), WheelError> {
        let missing = || WheelError::NoMember { path: path.to_owned() };
        let index = self.outline.entries.iter().position(|entry| entry.path == path).ok_or_else(missing)?;
        Ok((&self.outline.entries[index], &self.places[index]))
    }

    /// The text of the file `path`, such as [`dist_info`] and `/METADATA`.
    pub fn text(&self, path: &str) -> Result<String, WheelError> {
        let (entry, place) = self.find(path)?;
        let largest = entry.size.max(entry.compressed_size);
        if largest > MAX_TEXT {
            return Err(WheelError::TooLarge { what: format!("`{path}`"), size: largest, limit: MAX_TEXT });
        }
        let part = local_header(path).saturating_add(entry.compressed_size);
        self.archive.get_ref().need(place.header_offset..place.header_offset.saturating_add(part))?;
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

/// Wheels for tests.
#[cfg(test)]
pub(crate) mod sample {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::DeflateEncoder;
    use rawzip::{CompressionMethod, ZipArchiveWriter};

    /// A zip archive of `files`, the small ones stored and the others deflated.
    pub fn zip(files: &[(&str, &str)]) -> Vec<u8> {
        let files: Vec<_> = files.iter().map(|(path, content)| (*path, content.as_bytes())).collect();
        zip_of_bytes(&files)
    }

    /// The same of files that are not text.
    pub fn zip_of_bytes(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut archive = ZipArchiveWriter::new(&mut bytes);
        for (path, content) in files {
            let method =
                if content.len() < 20 { CompressionMethod::STORE } else { CompressionMethod::DEFLATE };
            let (mut entry, config) = archive.new_file(path).compression_method(method).start().unwrap();
            let descriptor = if method == CompressionMethod::STORE {
                let mut writer = config.wrap(&mut entry);
                writer.write_all(content).unwrap();
                writer.finish().unwrap().1
            } else {
                let mut writer = config.wrap(DeflateEncoder::new(&mut entry, Compression::default()));
                writer.write_all(content).unwrap();
                let (encoder, descriptor) = writer.finish().unwrap();
                encoder.finish().unwrap();
                descriptor
            };
            entry.finish(descriptor).unwrap();
        }
        archive.finish().unwrap();
        bytes
    }

    /// Letters that hardly compress.
    pub fn noise(length: usize) -> String {
        let mut state = 1u64;
        let next = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b' ' + 1 + (state >> 33) as u8 % 90)
        };
        (0..length).map(next).collect()
    }

    /// A wheel of the project `demo` with `padding` bytes that do not compress before its metadata.
    pub fn wheel(version: &str, requires: &str, padding: usize) -> Vec<u8> {
        let noise = noise(padding);
        let metadata =
            format!("Metadata-Version: 2.1\nName: Demo\nVersion: {version}\n{requires}\nA description.\n");
        zip(&[
            ("demo/__init__.py", "x = 1\n"),
            ("demo/data.bin", &noise),
            (&format!("demo-{version}.dist-info/METADATA"), &metadata),
            (&format!("demo-{version}.dist-info/RECORD"), ""),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filename() -> WheelFilename {
        WheelFilename::from_str("demo-1.0-py3-none-any.whl").unwrap()
    }

    fn read<R: Bytes>(reader: R) -> Result<(String, Outline), WheelError> {
        let wheel = Wheel::open(reader)?;
        let path = format!("{}/METADATA", wheel.outline().dist_info(&filename())?);
        Ok((wheel.text(&path)?, wheel.into_outline()))
    }

    /// Reads `bytes` part by part; also returns how many parts that took.
    fn read_sparsely(bytes: &[u8]) -> (Result<(String, Outline), WheelError>, usize) {
        let mut sparse = Sparse::new(bytes.len() as u64);
        for parts in 0..10 {
            match read(&sparse) {
                Err(WheelError::Missing { range }) => {
                    let part = &bytes[range.start as usize..range.end as usize];
                    sparse.add(range.start, part.to_vec());
                }
                result => return (result, parts),
            }
        }
        panic!("asks for the same parts again and again");
    }

    fn read_locally(bytes: &[u8]) -> Result<(String, Outline), WheelError> {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, bytes).unwrap();
        read(Local(file))
    }

    #[test]
    fn reads_the_same_from_parts_and_from_a_file() {
        let bytes = sample::wheel("1.0", "Requires-Dist: numpy", 500_000);
        let (sparse, parts) = read_sparsely(&bytes);
        let (text, outline) = sparse.unwrap();
        assert!(text.contains("Requires-Dist: numpy"));
        assert_eq!(outline.entries[1].size, 500_000);
        assert!(outline.entries[1].compressed_size < 500_000);
        assert_eq!((text, outline), read_locally(&bytes).unwrap());
        assert_eq!(parts, 1);
    }

    #[test]
    fn asks_for_the_metadata_when_it_stands_elsewhere() {
        let far = sample::noise(200_000);
        let metadata = format!("Name: demo\nVersion: 1.0\n\n{far}");
        let bytes = sample::zip(&[("demo-1.0.dist-info/METADATA", &metadata), ("z", &far)]);
        let (result, parts) = read_sparsely(&bytes);
        assert_eq!(result.unwrap().0, metadata);
        assert_eq!(parts, 2);
    }

    #[test]
    fn refuses_broken_wheels() {
        let sound = sample::wheel("1.0", "", 0);
        let check = |bytes: &[u8], expected: &str| {
            assert_eq!(read_locally(bytes).unwrap_err().to_string(), expected);
            assert_eq!(read_sparsely(bytes).0.unwrap_err().to_string(), expected);
        };
        check(b"", "it is not a sound zip archive");
        check(&sound[..sound.len() - 30], "it is not a sound zip archive");
        check(&sample::zip(&[("x", "")]), "it has no directory `*.dist-info` for `demo`");
        check(
            &sample::zip(&[("other-1.0.dist-info/METADATA", "")]),
            "it has no directory `*.dist-info` for `demo`",
        );
        check(
            &sample::zip(&[("demo-1.0.dist-info/WHEEL", "")]),
            "it has no file `demo-1.0.dist-info/METADATA`",
        );
        let mut corrupt = sound.clone();
        let at = corrupt.windows(8).position(|window| window == b"METADATA").unwrap() + 20;
        corrupt[at] ^= 0x55;
        check(&corrupt, "its `demo-1.0.dist-info/METADATA` is corrupt");
    }

    #[test]
    fn joins_parts_that_touch_or_overlap() {
        let mut sparse = Sparse::new(10);
        sparse.add(6, vec![6, 7]);
        sparse.add(0, vec![0, 1, 2]);
        assert!(matches!(sparse.need(0..8), Err(WheelError::Missing { range }) if range == (3..8)));
        sparse.add(2, vec![2, 3, 4, 5, 6]);
        sparse.need(0..8).unwrap();
        let mut bytes = [9; 8];
        sparse.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes, [0, 1, 2, 3, 4, 5, 6, 7]);
        assert!(sparse.read_exact_at(&mut bytes, 4).is_err());
    }
}
