//! The bytes that facts are read from, and the reasons why a file has none.

use crate::failure::Hinted;
use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// The longest name, in bytes; C++ has made names of 20 KiB.
pub(super) const LONGEST_NAME: u64 = 64 << 10;
/// The bytes of a long table that are read at once.
const PIECE: u64 = 256 << 10;

/// A file that can be read anywhere.
pub trait ReadAt {
    /// Reads from `offset`, as much as is there and fits; 0 at the end.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// The file's size in bytes.
    fn size(&self) -> io::Result<u64>;
}

impl ReadAt for File {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

/// The reason why a file that begins as ELF could not be read. The caller knows and names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum ElfError {
    #[error("could not read {what}")]
    Read { what: &'static str, source: io::Error },
    #[error("its ELF header names class {class} and data encoding {data}, which do not exist")]
    Identification { class: u8, data: u8 },
    #[error("its program headers are {size} bytes each instead of {expected}")]
    ProgramHeaderSize { size: u16, expected: u16 },
    #[error("{what} is {length} bytes at offset {offset}, beyond the end of the file at {size}")]
    BeyondEnd { what: &'static str, offset: u64, length: u64, size: u64 },
    #[error("{what} would need more than {limit} bytes")]
    TooLarge { what: &'static str, limit: u64 },
    #[error("its string table is at address {address:#x}, which no segment of the file holds")]
    Unmapped { address: u64 },
    #[error("{table} is at address {address:#x}, which no segment of the file holds")]
    UnmappedTable { table: &'static str, address: u64 },
    #[error("its hash table counts from symbol {first}, but names symbol {index}")]
    Hash { first: u32, index: u32 },
    #[error("the name at {offset} of its string table does not end within the table")]
    Unterminated { offset: u64 },
    #[error("{name:?} is not UTF-8")]
    NotUtf8 { name: String },
}

impl Hinted for ElfError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Read { .. } => None,
            Self::TooLarge { .. } | Self::NotUtf8 { .. } => {
                Some("no linker writes such a file: check where it comes from".to_owned())
            }
            _ => Some("the file is damaged or cut short: fetch it again".to_owned()),
        }
    }
}

/// The part of a file that is at hand.
pub(super) trait PartSource {
    /// All bytes of `range`, or `None` when some of them are not at hand.
    fn fetch(&self, range: Range<u64>) -> io::Result<Option<Cow<'_, [u8]>>>;

    /// Returns whether all bytes of `range` are at hand.
    fn has(&self, range: Range<u64>) -> bool;

    /// Bytes from the beginning of `range`, as many as are at hand at little cost; empty when none is.
    fn piece(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>>;
}

/// A file that can be read anywhere, as a [`PartSource`].
pub(super) struct Seekable<'a, R: ?Sized>(&'a R);

impl<R: ReadAt + ?Sized> PartSource for Seekable<'_, R> {
    fn fetch(&self, range: Range<u64>) -> io::Result<Option<Cow<'_, [u8]>>> {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            match self.0.read_at(range.start + filled as u64, &mut bytes[filled..]) {
                Ok(0) => return Ok(None),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Some(Cow::Owned(bytes)))
    }

    fn has(&self, _range: Range<u64>) -> bool {
        true
    }

    fn piece(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
        let step = range.start..range.end.min(range.start.saturating_add(PIECE));
        Ok(self.fetch(step)?.unwrap_or_default())
    }
}

/// The reason why facts cannot be read of what is at hand.
pub(super) enum Stop {
    Invalid(ElfError),
    /// These parts of the file are needed and not at hand.
    Missing(Vec<Range<u64>>),
}

impl From<ElfError> for Stop {
    fn from(error: ElfError) -> Self {
        Self::Invalid(error)
    }
}

/// Reads what `parse` understands of a file that is all at hand.
pub(super) fn read_with<'a, R: ReadAt + ?Sized, T>(
    file: &'a R,
    parse: impl FnOnce(&Seekable<'a, R>, u64) -> Result<Option<T>, Stop>,
) -> Result<Option<T>, ElfError> {
    let size = file.size().map_err(|source| ElfError::Read { what: "the size", source })?;
    match parse(&Seekable(file), size) {
        Ok(facts) => Ok(facts),
        Err(Stop::Invalid(error)) => Err(error),
        // Only a file that shrinks while it is read has less than its size says.
        Err(Stop::Missing(_)) => {
            Err(ElfError::Read { what: "all of it", source: io::ErrorKind::UnexpectedEof.into() })
        }
    }
}

pub(super) fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

pub(super) fn utf8(name: &[u8]) -> Result<String, ElfError> {
    String::from_utf8(name.to_vec())
        .map_err(|_| ElfError::NotUtf8 { name: String::from_utf8_lossy(name).into_owned() })
}
