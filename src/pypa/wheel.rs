//! The contents of a wheel, read from the end of the archive without reading the rest.
//!
//! <https://packaging.python.org/en/latest/specifications/binary-distribution-format/>
//!
//! What a view of a remote wheel does not have yet is [`WheelError::Missing`]: fetch that range and read again.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::ops::Range;
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use rawzip::CompressionMethod;
use serde::{Deserialize, Serialize};
use uv_distribution_filename::WheelFilename;
use uv_normalize::PackageName;

use super::metadata::{self, LONGEST_METADATA};
use super::zip::{Bytes, CheckedReader, Zip, ZipError, ZipMember, unpacked};
use crate::deflate::KnownEnd;
use crate::elf::ElfError;
use crate::failure::Hinted;

/// The files of a wheel, in the order of its central directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outline {
    /// The files, in the archive's order.
    pub entries: Vec<WheelEntry>,
}

/// A file of a wheel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WheelEntry {
    /// As the archive writes it, with `/` between components.
    pub path: String,
    /// In bytes, unpacked.
    pub size: u64,
    /// In bytes, as stored.
    pub compressed_size: u64,
}

/// The reason why a wheel could not be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
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
    #[error("it has more members than any wheel")]
    ManyMembers,
    #[error("it has no directory `*.dist-info` for `{name}`")]
    NoDistInfo { name: PackageName },
    #[error("it has no file `{path}`")]
    NoMember { path: String },
    #[error("its `{path}` is compressed with method {method}")]
    Method { path: String, method: CompressionMethod },
    #[error("its `{path}` is corrupt")]
    Corrupt { path: String },
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

impl From<ZipError> for WheelError {
    fn from(error: ZipError) -> Self {
        match error {
            ZipError::Missing { range } => Self::Missing { range },
            ZipError::Malformed(error) => Self::Zip(error),
            ZipError::Read(error) => Self::Read(error),
            ZipError::ManyMembers => Self::ManyMembers,
            ZipError::TooLarge { size, limit } => Self::TooLarge { what: "directory".into(), size, limit },
        }
    }
}

/// A wheel whose central directory has been read.
pub struct Wheel<R> {
    zip: Zip<R>,
    outline: Outline,
}

/// A file of a wheel, to be read in part.
pub(super) struct OpenMember<'a, R> {
    pub reader: &'a R,
    pub path: String,
    pub method: CompressionMethod,
    /// Its place in the archive, as stored.
    pub data: Range<u64>,
    /// In bytes, unpacked.
    pub size: u64,
    /// The end of it that was inflated before.
    pub end: Arc<Mutex<KnownEnd>>,
}

impl<R: Bytes> Wheel<R> {
    /// Reads the central directory.
    pub fn open(reader: R) -> Result<Self, WheelError> {
        let zip = Zip::open(reader)?;
        let entries = zip.members().iter().enumerate().map(|(index, member)| entry(index, member));
        let mut entries = entries.collect::<Result<Vec<_>, _>>()?;
        let mut seen = BTreeSet::new();
        let is_first: Vec<bool> = entries.iter().map(|entry| seen.insert(entry.path.as_str())).collect();
        let mut is_first = is_first.into_iter();
        // A name that is there twice is one file, or the wheel is refused when it is whole.
        entries.retain(|_| is_first.next() == Some(true));
        Ok(Self { zip, outline: Outline { entries } })
    }

    /// The files in the wheel.
    pub fn outline(&self) -> &Outline {
        &self.outline
    }

    /// The files in the wheel, without the rest.
    pub fn into_outline(self) -> Outline {
        self.outline
    }

    /// The place of the file `path` in the archive. Needs its first bytes as stored, which are going to be read: of a size,
    /// `likely` tells how many.
    pub(super) fn member(
        &self,
        path: &str,
        likely: impl Fn(u64) -> u64,
    ) -> Result<OpenMember<'_, R>, WheelError> {
        let member = self.find(path)?;
        let data = self.zip.data(member, likely(member.compressed_size))?;
        let reader = self.zip.reader();
        Ok(OpenMember {
            reader,
            path: path.to_owned(),
            method: member.method,
            end: reader.known_end(data.start),
            data,
            size: member.size,
        })
    }

    fn find(&self, path: &str) -> Result<&ZipMember, WheelError> {
        let mut members = self.zip.members().iter();
        let member = members.find(|member| member.name == path.as_bytes());
        member.ok_or_else(|| WheelError::NoMember { path: path.to_owned() })
    }

    /// The text of the METADATA file at `path`: [`dist_info`](Outline::dist_info) and `/METADATA`.
    pub fn metadata(&self, path: &str) -> Result<String, WheelError> {
        let member = self.find(path)?;
        let (size, limit) = (member.size.max(member.compressed_size), LONGEST_METADATA);
        if size > limit {
            return Err(WheelError::TooLarge { what: format!("`{path}`"), size, limit });
        }
        Ok(metadata::decoded(self.content(path, member)?))
    }

    /// The content of the file `path`, where it has at most `most` bytes and grows at most `growth` times when it is
    /// unpacked. Needs all of it.
    pub(super) fn binary(&self, path: &str, most: u64, growth: u64) -> Result<impl Read + '_, WheelError> {
        let member = self.find(path)?;
        let limit = most.min(member.compressed_size.saturating_mul(growth));
        if member.size > limit {
            return Err(WheelError::TooLarge { what: format!("`{path}`"), size: member.size, limit });
        }
        let method = || WheelError::Method { path: path.to_owned(), method: member.method };
        self.zip.content(member)?.ok_or_else(method)
    }

    fn content(&self, path: &str, member: &ZipMember) -> Result<Vec<u8>, WheelError> {
        let corrupt = || WheelError::Corrupt { path: path.to_owned() };
        let data = self.zip.data(member, member.compressed_size)?;
        self.zip.reader().need(data.clone())?;
        let mut stored = vec![0; usize::try_from(data.end - data.start).map_err(|_| corrupt())?];
        self.zip.reader().read_exact_at(&mut stored, data.start).map_err(WheelError::Read)?;
        let method = || WheelError::Method { path: path.to_owned(), method: member.method };
        let content = unpacked(&*stored, member.method).ok_or_else(method)?;
        let mut bytes = Vec::new();
        let mut checked = CheckedReader::new(content, member.size, member.crc32);
        checked.read_to_end(&mut bytes).map_err(|_| corrupt())?;
        Ok(bytes)
    }
}

fn entry(index: usize, member: &ZipMember) -> Result<WheelEntry, WheelError> {
    let path = std::str::from_utf8(&member.name).map_err(|_| WheelError::Path { index })?;
    Ok(WheelEntry { path: path.to_owned(), size: member.size, compressed_size: member.compressed_size })
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

/// Returns whether `directory` is the `.dist-info` of a distribution. As pip reads it, any dash may end the name: versions
/// such as `1.0-1` have one, too.
fn is_dist_info(directory: &str, name: &PackageName) -> bool {
    let is_name = |text: &str| PackageName::from_str(text).is_ok_and(|prefix| prefix == *name);
    let stem = directory.strip_suffix(".dist-info").unwrap_or_default();
    stem.match_indices('-').any(|(end, _)| is_name(&stem[..end]))
}

/// Wheels for tests.
#[cfg(test)]
pub(crate) mod sample {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::DeflateEncoder;
    use rawzip::{CompressionMethod, ZipArchiveWriter};

    /// A zip archive of `files`, the small ones stored and the others deflated.
    pub(crate) fn zip(files: &[(&str, &str)]) -> Vec<u8> {
        let files: Vec<_> = files.iter().map(|(path, content)| (*path, content.as_bytes())).collect();
        zip_of_bytes(&files)
    }

    /// The same of files that are not text.
    pub(crate) fn zip_of_bytes(files: &[(&str, &[u8])]) -> Vec<u8> {
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
    pub(crate) fn noise(length: usize) -> String {
        let mut state = 1u64;
        let next = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b' ' + 1 + (state >> 33) as u8 % 90)
        };
        (0..length).map(next).collect()
    }

    /// A wheel of the project `demo` with `padding` bytes that do not compress before its metadata.
    pub(crate) fn wheel(version: &str, requires: &str, padding: usize) -> Vec<u8> {
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
    use crate::pypa::zip::{Local, Sparse};

    fn filename() -> WheelFilename {
        WheelFilename::from_str("demo-1.0-py3-none-any.whl").unwrap()
    }

    fn read<R: Bytes>(reader: R) -> Result<(String, Outline), WheelError> {
        let wheel = Wheel::open(reader)?;
        let path = format!("{}/METADATA", wheel.outline().dist_info(&filename())?);
        Ok((wheel.metadata(&path)?, wheel.into_outline()))
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
}
