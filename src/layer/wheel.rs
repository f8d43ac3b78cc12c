//! A wheel on disk: its members, held against each other before any of them is believed.
#![allow(clippy::disallowed_methods, reason = "layers are written from files")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use flate2::read::DeflateDecoder;
use rawzip::{CompressionMethod, ZipDataDescriptor, ZipLocalFileHeader};

use super::writer::Expected;
use crate::oci::Hasher;
use crate::oci::paths::{LONGEST_NAME, LONGEST_PATH, PathFault, below_another, path_fault};
use crate::pypa::install::{WheelContents, WheelMember, find_dist_info};
use crate::pypa::metadata::{self, LONGEST_METADATA};
use crate::pypa::record::{self, RecordError, Row};
use crate::pypa::zip::{CheckedReader, Local, Zip, ZipError, ZipMember};
use crate::store::FileRange;

/// The most bytes of a local header's name and extra fields: each has a length of 16 bits.
const LONGEST_HEADER: usize = 128 << 10;
/// The bytes of `WHEEL` or `entry_points.txt`: real ones have some kilobytes.
const LONGEST_TEXT: u64 = 1 << 20;
/// The bytes of `RECORD`, which is read as a stream: that of torch has 1.2 MB.
const LONGEST_RECORD: u64 = 64 << 20;
/// The bytes of all scripts that are written with another first line: they are kept in memory.
const MOST_SCRIPT_BYTES: u64 = 16 << 20;
/// A wheel may inflate to this many bytes however small it is.
const ALWAYS_ALLOWED: u64 = 256 << 20;
/// DEFLATE reaches ratios of 1032; what people put into wheels stays below 100.
const MAX_RATIO: u64 = 150;

/// A wheel whose central directory was read and found sound.
#[derive(Debug)]
pub struct WheelFile {
    file: File,
    members: Vec<PlacedMember>,
}

/// The place of a member's bytes, and the size and CRC-32 that they must inflate to.
#[derive(Debug)]
struct PlacedMember {
    member: WheelMember,
    offset: u64,
    deflated: bool,
    expected: Expected,
}

/// The reason why a wheel was refused.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum RefusedWheel {
    #[error("could not read the wheel")]
    Read(#[from] io::Error),
    #[error("it is not a whole zip archive")]
    Zip(#[from] rawzip::Error),
    #[error("as a zip archive it {problem}")]
    Framing { problem: FramingFault },
    #[error("its member `{path}` {problem}")]
    Member { path: String, problem: WheelMemberFault },
    #[error("its member `{path}` cannot be read")]
    Content { path: String, source: io::Error },
    #[error("it inflates from {compressed} to {size} bytes, as only a zip bomb does")]
    Bomb { compressed: u64, size: u64 },
    #[error("it has no `.dist-info` directory, or several")]
    DistInfo,
    #[error("it has no `{path}`")]
    Missing { path: String },
    #[error("its `{path}` is not UTF-8 text")]
    Text { path: String },
    #[error("its `{path}` has {size} bytes; texts of its kind have {limit} at most")]
    Large { path: String, size: u64, limit: u64 },
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// The reason why the archive as a whole is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum FramingFault {
    #[error("goes on behind its end")]
    Trailing,
    #[error("has another number of members than it says")]
    Count,
    #[error("has a larger directory than a wheel needs")]
    Directory,
}

/// The reason why a member of a wheel is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum WheelMemberFault {
    #[error("is encrypted")]
    Encrypted,
    #[error("is a symbolic link, which wheels cannot have")]
    Symlink,
    #[error("is compressed in a way that wheels do not use")]
    Compression,
    #[error("is there twice")]
    Twice,
    #[error("is not compressed, and yet has two sizes")]
    TwoSizes,
    #[error("has other sizes or another CRC-32 behind its bytes than in the directory")]
    DescriptorDiffers,
    #[error("lies behind the beginning of the directory")]
    WithinDirectory,
    #[error("lies below another member")]
    BelowMember,
    #[error("has a name that is not UTF-8")]
    NotUtf8,
    #[error("has a name that leaves the directory it is unpacked into")]
    Leaves,
    #[error("has a backslash in its name, which is a separator on one system and a letter on others")]
    Backslash,
    #[error("has a path of more than {LONGEST_PATH} bytes, or a name of more than {LONGEST_NAME}")]
    Long,
    #[error("has a name that stands for a file that is gone")]
    Whiteout,
    #[error("has another name in its local header")]
    LocalName,
    #[error("is described differently in its local header and in the central directory")]
    LocalKind,
    #[error("has other sizes or another CRC-32 in its local header")]
    LocalSizes,
    #[error("shares its bytes with another member")]
    Overlaps,
}

impl From<ZipError> for RefusedWheel {
    fn from(error: ZipError) -> Self {
        match error {
            ZipError::Malformed(error) => Self::Zip(error),
            ZipError::Read(error) => Self::Read(error),
            ZipError::TooLarge { .. } | ZipError::ManyMembers => {
                Self::Framing { problem: FramingFault::Directory }
            }
            ZipError::Missing { .. } => Self::Read(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl WheelFile {
    /// Opens the wheel at `path`.
    pub fn open(path: &Path) -> Result<Self, RefusedWheel> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let zip = Zip::open(Local(file.try_clone()?))?;
        if zip.end_offset() != size {
            return Err(RefusedWheel::Framing { problem: FramingFault::Trailing });
        }
        if zip.members().len() as u64 != zip.told_members() {
            return Err(RefusedWheel::Framing { problem: FramingFault::Count });
        }
        let files = zip.members().iter().filter(|member| !member.is_directory);
        let mut header = vec![0; LONGEST_HEADER];
        let members = files.map(|member| sound_member(&zip, member, &mut header));
        let members = members.collect::<Result<Vec<_>, _>>()?;
        refuse_overlaps(&members)?;
        refuse_bombs(&members, size)?;
        let mut wheel = Self { file, members };
        wheel.drop_repeated()?;
        refuse_names(&wheel.members)?;
        Ok(wheel)
    }

    /// Drops members that repeat an earlier one, byte by byte; pip and uv install such wheels. What has the name of an
    /// earlier member, and other content, stays and is refused.
    fn drop_repeated(&mut self) -> Result<(), RefusedWheel> {
        let mut first = BTreeMap::new();
        let mut repeated = BTreeSet::new();
        for (index, PlacedMember { member, .. }) in self.members.iter().enumerate() {
            match first.get(&*member.path) {
                None => drop(first.insert(&*member.path, index)),
                Some(earlier) if self.is_same(*earlier, index)? => drop(repeated.insert(index)),
                Some(_) => {}
            }
        }
        let mut index = 0..;
        self.members.retain(|_| !index.next().is_some_and(|index| repeated.contains(&index)));
        Ok(())
    }

    fn is_same(&self, a: usize, b: usize) -> Result<bool, RefusedWheel> {
        let told = |index: usize| {
            let PlacedMember { member, expected, .. } = &self.members[index];
            (member.executable, expected.size, expected.crc32)
        };
        let digest = |index: usize| {
            let mut hasher = Hasher::default();
            let copied = io::copy(&mut self.checked(index), &mut hasher);
            copied.map_err(|source| self.unreadable(index, source)).map(|_| hasher.finish())
        };
        Ok(told(a) == told(b) && digest(a)? == digest(b)?)
    }

    /// The contents of the wheel from which its installation is decided.
    pub fn contents(&self) -> Result<WheelContents, RefusedWheel> {
        let paths = self.members.iter().map(|member| member.member.path.as_str());
        let dist_info = find_dist_info(paths).ok_or(RefusedWheel::DistInfo)?;
        let path = |name: &str| format!("{dist_info}/{name}");
        let required =
            |name: &str| self.position(&path(name)).ok_or_else(|| RefusedWheel::Missing { path: path(name) });
        let metadata = self.bytes(required("METADATA")?, LONGEST_METADATA)?;
        let entry_points = self.position(&path("entry_points.txt"));
        Ok(WheelContents {
            members: self.members.iter().map(|member| member.member.clone()).collect(),
            metadata_is_utf8: std::str::from_utf8(&metadata).is_ok(),
            metadata: metadata::decoded(metadata),
            wheel: self.text(required("WHEEL")?, LONGEST_TEXT)?,
            record: self.rows(required("RECORD")?, &dist_info)?,
            entry_points: entry_points.map_or(Ok(String::new()), |index| self.text(index, LONGEST_TEXT))?,
            placeholder_scripts: self.placeholder_scripts()?,
            dist_info,
        })
    }

    /// The size and CRC-32 that a member's DEFLATE stream must inflate to; `None` when the member is stored.
    pub fn deflated(&self, index: usize) -> Option<Expected> {
        let member = &self.members[index];
        member.deflated.then_some(member.expected)
    }

    /// The bytes of a member as they are in the wheel.
    pub fn raw(&self, index: usize) -> impl Read + '_ {
        self.range(&self.members[index])
    }

    /// The content of a member; reading fails when it does not have the size and the CRC-32 that the wheel promises.
    pub fn checked(&self, index: usize) -> impl Read + '_ {
        let expected = self.members[index].expected;
        CheckedReader::new(self.inflated(index), expected.size, expected.crc32)
    }

    /// The content of a member, not held against what the wheel promises.
    fn inflated(&self, index: usize) -> Box<dyn Read + '_> {
        let member = &self.members[index];
        match member.deflated {
            true => Box::new(DeflateDecoder::new(self.range(member))),
            false => Box::new(self.range(member)),
        }
    }

    fn unreadable(&self, index: usize, source: io::Error) -> RefusedWheel {
        RefusedWheel::Content { path: self.members[index].member.path.clone(), source }
    }

    /// The size in bytes of a member once inflated.
    pub fn size(&self, index: usize) -> u64 {
        self.members[index].expected.size
    }

    fn range(&self, member: &PlacedMember) -> FileRange<&File> {
        FileRange::new(&self.file, member.offset..member.offset + member.expected.compressed)
    }

    fn position(&self, path: &str) -> Option<usize> {
        self.members.iter().position(|member| member.member.path == path)
    }

    fn text(&self, index: usize, limit: u64) -> Result<String, RefusedWheel> {
        let refuse = |_| RefusedWheel::Text { path: self.members[index].member.path.clone() };
        String::from_utf8(self.bytes(index, limit)?).map_err(refuse)
    }

    fn bytes(&self, index: usize, limit: u64) -> Result<Vec<u8>, RefusedWheel> {
        let PlacedMember { member, expected, .. } = &self.members[index];
        if expected.size > limit {
            return Err(RefusedWheel::Large { path: member.path.clone(), size: expected.size, limit });
        }
        let mut bytes = Vec::new();
        self.checked(index).read_to_end(&mut bytes).map_err(|source| self.unreadable(index, source))?;
        Ok(bytes)
    }

    /// The rows of `RECORD`, with a row made for each member that it leaves out.
    fn rows(&self, index: usize, dist_info: &str) -> Result<Vec<Row>, RefusedWheel> {
        let PlacedMember { member, expected, .. } = &self.members[index];
        if expected.size > LONGEST_RECORD {
            let (path, size) = (member.path.clone(), expected.size);
            return Err(RefusedWheel::Large { path, size, limit: LONGEST_RECORD });
        }
        let mut rows = record::read(self.checked(index))?;
        let listed: BTreeMap<&str, &Row> = rows.iter().map(|row| (row.path.as_str(), row)).collect();
        let mut healed = Vec::new();
        for (index, PlacedMember { member, .. }) in self.members.iter().enumerate() {
            let bookkeeping = member.path.starts_with(&format!("{dist_info}/RECORD"));
            let known = listed.get(member.path.as_str()).is_some_and(|row| !row.hash.is_empty());
            if !known && !bookkeeping {
                let mut hasher = Hasher::default();
                io::copy(&mut self.checked(index), &mut hasher)
                    .map_err(|source| self.unreadable(index, source))?;
                healed.push(Row::new(&member.path, &hasher.finish(), member.size));
            }
        }
        rows.retain(|row| !row.hash.is_empty());
        rows.extend(healed);
        Ok(rows)
    }

    fn placeholder_scripts(&self) -> Result<BTreeMap<usize, Vec<u8>>, RefusedWheel> {
        const PLACEHOLDER: &[u8] = b"#!python";
        let mut scripts = BTreeMap::new();
        let mut left = MOST_SCRIPT_BYTES;
        for (index, PlacedMember { member, .. }) in self.members.iter().enumerate() {
            if !member.path.contains(".data/scripts/") {
                continue;
            }
            let mut content = Vec::new();
            self.inflated(index).take(PLACEHOLDER.len() as u64).read_to_end(&mut content)?;
            if content == PLACEHOLDER {
                let (path, size, limit) = (member.path.clone(), member.size, MOST_SCRIPT_BYTES);
                let too_large = RefusedWheel::Large { path, size, limit };
                left = left.checked_sub(member.size).ok_or(too_large)?;
                content.clear();
                let unreadable = |source| self.unreadable(index, source);
                self.checked(index).read_to_end(&mut content).map_err(unreadable)?;
                scripts.insert(index, content);
            }
        }
        Ok(scripts)
    }
}

/// A member whose description in the directory is that in its local header, and that can be written.
fn sound_member(
    zip: &Zip<Local>,
    described: &ZipMember,
    header: &mut [u8],
) -> Result<PlacedMember, RefusedWheel> {
    let path = member_path(&described.name)?;
    let refuse = |problem| RefusedWheel::Member { path: path.clone(), problem };
    if described.is_encrypted {
        return Err(refuse(WheelMemberFault::Encrypted));
    }
    if described.mode & 0o170_000 == 0o120_000 {
        return Err(refuse(WheelMemberFault::Symlink));
    }
    let deflated = match described.method {
        CompressionMethod::DEFLATE => true,
        CompressionMethod::STORE => false,
        _ => return Err(refuse(WheelMemberFault::Compression)),
    };
    let entry = zip.entry(described)?;
    let (start, end) = entry.compressed_data_range();
    let expected = Expected { compressed: end - start, size: described.size, crc32: described.crc32 };
    if !deflated && expected.compressed != expected.size {
        return Err(refuse(WheelMemberFault::TwoSizes));
    }
    let local = entry.local_header(header)?;
    same_in_local_header(described, &local, expected).map_err(refuse)?;
    if let Some(descriptor) = entry.reader().data_descriptor()?
        && expected != of_descriptor(&descriptor)
    {
        return Err(refuse(WheelMemberFault::DescriptorDiffers));
    }
    if end > zip.directory_offset() {
        return Err(refuse(WheelMemberFault::WithinDirectory));
    }
    let executable = described.mode & 0o111 != 0;
    Ok(PlacedMember {
        member: WheelMember { path, size: expected.size, executable },
        offset: start,
        deflated,
        expected,
    })
}

/// The member's path, when it stays inside the directory it is unpacked into.
fn member_path(name: &[u8]) -> Result<String, RefusedWheel> {
    let shown = String::from_utf8_lossy(name).into_owned();
    let refuse = |problem| RefusedWheel::Member { path: shown.clone(), problem };
    let path = std::str::from_utf8(name).map_err(|_| refuse(WheelMemberFault::NotUtf8))?;
    if path.contains('\\') {
        return Err(refuse(WheelMemberFault::Backslash));
    }
    match path_fault(path) {
        None if path.is_empty() => Err(refuse(WheelMemberFault::Leaves)),
        None => Ok(path.to_owned()),
        Some(PathFault::Nul | PathFault::Part) => Err(refuse(WheelMemberFault::Leaves)),
        Some(PathFault::Whiteout) => Err(refuse(WheelMemberFault::Whiteout)),
        Some(PathFault::LongName | PathFault::LongPath | PathFault::Deep) => {
            Err(refuse(WheelMemberFault::Long))
        }
    }
}

/// Compares the local header of a member with the directory: other readers go by it. Where sizes and CRC-32 follow the
/// bytes, it leaves them out.
fn same_in_local_header(
    described: &ZipMember,
    local: &ZipLocalFileHeader<'_>,
    expected: Expected,
) -> Result<(), WheelMemberFault> {
    if local.file_path().as_bytes() != described.name {
        return Err(WheelMemberFault::LocalName);
    }
    let is_same_kind = local.compression_method() == described.method
        && local.flags().is_encrypted() == described.is_encrypted
        && local.flags().has_data_descriptor() == described.has_data_descriptor;
    if !is_same_kind {
        return Err(WheelMemberFault::LocalKind);
    }
    let told = [local.compressed_size_hint(), local.uncompressed_size_hint(), local.crc32().into()];
    let promised = [expected.compressed, expected.size, expected.crc32.into()];
    let differs =
        |(told, promised): (u64, u64)| told != promised && !(described.has_data_descriptor && told == 0);
    match told.into_iter().zip(promised).any(differs) {
        true => Err(WheelMemberFault::LocalSizes),
        false => Ok(()),
    }
}

fn of_descriptor(descriptor: &ZipDataDescriptor) -> Expected {
    Expected {
        compressed: descriptor.compressed_size(),
        size: descriptor.uncompressed_size(),
        crc32: descriptor.crc32(),
    }
}

/// Refuses a name that is there twice, or lies below another.
fn refuse_names(members: &[PlacedMember]) -> Result<(), RefusedWheel> {
    let mut names = BTreeSet::new();
    let refuse = |path: &str, problem| Err(RefusedWheel::Member { path: path.to_owned(), problem });
    for path in members.iter().map(|member| member.member.path.as_str()) {
        if !names.insert(path) {
            return refuse(path, WheelMemberFault::Twice);
        }
    }
    match below_another(&names) {
        Some(path) => refuse(path, WheelMemberFault::BelowMember),
        None => Ok(()),
    }
}

/// Members that share bytes are how small bombs inflate without bound.
fn refuse_overlaps(members: &[PlacedMember]) -> Result<(), RefusedWheel> {
    let mut ranges: Vec<(u64, u64, usize)> = members
        .iter()
        .enumerate()
        .map(|(index, member)| (member.offset, member.offset + member.expected.compressed, index))
        .collect();
    ranges.sort_unstable();
    match ranges.windows(2).find(|pair| pair[1].0 < pair[0].1) {
        Some(pair) => Err(RefusedWheel::Member {
            path: members[pair[1].2].member.path.clone(),
            problem: WheelMemberFault::Overlaps,
        }),
        None => Ok(()),
    }
}

fn refuse_bombs(members: &[PlacedMember], compressed: u64) -> Result<(), RefusedWheel> {
    let size = members.iter().fold(0u64, |sum, member| sum.saturating_add(member.expected.size));
    match size > ALWAYS_ALLOWED && size / MAX_RATIO > compressed {
        true => Err(RefusedWheel::Bomb { compressed, size }),
        false => Ok(()),
    }
}
