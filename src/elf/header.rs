//! The ELF header and the tables that it points to: the program headers and the section headers.
//!
//! * <https://gabi.xinuos.com/elf/02-eheader.html>
//! * <https://gabi.xinuos.com/elf/07-pheader.html>

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::reader::PartReader;
use super::source::{ElfError, PartSource, Stop};

const MAGIC: &[u8] = b"\x7fELF";
const LONGEST_HEADER: u64 = 64;

pub(super) const PT_LOAD: u32 = 1;

/// The size of addresses: `EI_CLASS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Class {
    /// 32 bits.
    Elf32,
    /// 64 bits.
    Elf64,
}

/// `e_machine`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Machine {
    /// 32-bit x86.
    I386,
    /// 32-bit ARM.
    Arm,
    /// 64-bit x86.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
    /// Any other, by its number.
    Other(u16),
}

impl Machine {
    pub(super) fn new(e_machine: u16) -> Self {
        match e_machine {
            3 => Self::I386,
            40 => Self::Arm,
            62 => Self::X86_64,
            183 => Self::Aarch64,
            other => Self::Other(other),
        }
    }
}

/// `e_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// An object file.
    Relocatable,
    /// An executable at fixed addresses.
    Executable,
    /// A shared library, or an executable that may be loaded anywhere.
    Shared,
    /// Any other, by its number.
    Other(u16),
}

impl Kind {
    pub(super) fn new(e_type: u16) -> Self {
        match e_type {
            1 => Self::Relocatable,
            2 => Self::Executable,
            3 => Self::Shared,
            other => Self::Other(other),
        }
    }
}

/// The encoding of numbers: `EI_CLASS` and `EI_DATA`.
#[derive(Clone, Copy)]
pub(super) struct NumberFormat {
    pub(super) class: Class,
    big_endian: bool,
}

impl NumberFormat {
    fn of(header: &[u8]) -> Result<Self, ElfError> {
        let [class, data] = [4, 5].map(|at| header.get(at).copied().unwrap_or_default());
        let class_known = match class {
            1 => Some(Class::Elf32),
            2 => Some(Class::Elf64),
            _ => None,
        };
        match (class_known, data) {
            (Some(class), 1 | 2) => Ok(Self { class, big_endian: data == 2 }),
            _ => Err(ElfError::Identification { class, data }),
        }
    }

    /// One of two values, the first for 32-bit files.
    pub(super) fn pick<T>(self, elf32: T, elf64: T) -> T {
        if self.class == Class::Elf32 { elf32 } else { elf64 }
    }

    /// The bytes of a word: an address, offset or size.
    pub(super) fn word_size(self) -> usize {
        self.pick(4, 8)
    }

    /// The number of `width` bytes at `at`; 0 beyond the end, which callers exclude by asking for whole records.
    fn number(self, bytes: &[u8], at: usize, width: usize) -> u64 {
        let bytes = at.checked_add(width).and_then(|end| bytes.get(at..end)).unwrap_or_default();
        let append = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        if self.big_endian { bytes.iter().fold(0, append) } else { bytes.iter().rev().fold(0, append) }
    }

    pub(super) fn u16(self, bytes: &[u8], at: usize) -> u16 {
        self.number(bytes, at, 2) as u16
    }

    pub(super) fn u32(self, bytes: &[u8], at: usize) -> u32 {
        self.number(bytes, at, 4) as u32
    }

    pub(super) fn word(self, bytes: &[u8], at: usize) -> u64 {
        self.number(bytes, at, self.word_size())
    }
}

/// The ELF header.
pub(super) struct Header {
    pub(super) layout: NumberFormat,
    pub(super) kind: u16,
    pub(super) machine: u16,
    pub(super) flags: u32,
    program_headers: u64,
    program_header_size: u16,
    program_header_count: u16,
    sections: u64,
    section_size: u16,
    section_count: u16,
}

impl Header {
    pub(super) fn read(reader: &mut PartReader<impl PartSource>) -> Result<Option<Self>, Stop> {
        let bytes = reader.bytes("its ELF header", 0..reader.size().min(LONGEST_HEADER))?;
        reader.complete()?;
        if !bytes.starts_with(MAGIC) {
            return Ok(None);
        }
        let layout = NumberFormat::of(&bytes)?;
        let length = layout.pick(52, 64);
        if reader.size() < length {
            return Err(ElfError::BeyondEnd {
                what: "its ELF header",
                offset: 0,
                length,
                size: reader.size(),
            }
            .into());
        }
        Ok(Some(Self {
            layout,
            kind: layout.u16(&bytes, 16),
            machine: layout.u16(&bytes, 18),
            flags: layout.u32(&bytes, layout.pick(36, 48)),
            program_headers: layout.word(&bytes, layout.pick(28, 32)),
            program_header_size: layout.u16(&bytes, layout.pick(42, 54)),
            program_header_count: layout.u16(&bytes, layout.pick(44, 56)),
            sections: layout.word(&bytes, layout.pick(32, 40)),
            section_size: layout.u16(&bytes, layout.pick(46, 58)),
            section_count: layout.u16(&bytes, layout.pick(48, 60)),
        }))
    }

    pub(super) fn segments(&self, reader: &mut PartReader<impl PartSource>) -> Result<Vec<Segment>, Stop> {
        if self.program_header_count == 0 {
            return Ok(Vec::new());
        }
        let expected = self.layout.pick(32, 56);
        if self.program_header_size != expected {
            return Err(ElfError::ProgramHeaderSize { size: self.program_header_size, expected }.into());
        }
        let length = u64::from(self.program_header_count) * u64::from(expected);
        let range = self.program_headers..self.program_headers.saturating_add(length);
        let table = reader.bytes("its program headers", range)?;
        reader.complete()?;
        Ok(table.chunks_exact(expected.into()).map(|bytes| Segment::new(bytes, self.layout)).collect())
    }

    /// The place of the section headers; `None` when there is no table of them.
    pub(super) fn section_table(&self) -> Option<Range<u64>> {
        let is_known = self.sections != 0 && self.section_size == self.layout.pick(40, 64);
        let length = u64::from(self.section_count) * u64::from(self.section_size);
        is_known.then(|| self.sections..self.sections.saturating_add(length))
    }

    /// The bytes of each section header; none when there is no table of them.
    pub(super) fn sections(&self, reader: &mut PartReader<impl PartSource>) -> Result<Vec<Vec<u8>>, Stop> {
        let Some(range) = self.section_table() else { return Ok(Vec::new()) };
        let table = reader.bytes("its section headers", range)?;
        reader.complete()?;
        Ok(table.chunks_exact(self.section_size.into()).map(<[u8]>::to_vec).collect())
    }
}

/// One program header.
pub(super) struct Segment {
    pub(super) kind: u32,
    pub(super) flags: u32,
    offset: u64,
    address: u64,
    pub(super) file_size: u64,
    pub(super) alignment: u64,
}

impl Segment {
    fn new(bytes: &[u8], layout: NumberFormat) -> Self {
        Self {
            kind: layout.u32(bytes, 0),
            flags: layout.u32(bytes, layout.pick(24, 4)),
            offset: layout.word(bytes, layout.pick(4, 8)),
            address: layout.word(bytes, layout.pick(8, 16)),
            file_size: layout.word(bytes, layout.pick(16, 32)),
            alignment: layout.word(bytes, layout.pick(28, 48)),
        }
    }

    pub(super) fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.file_size)
    }
}

/// The offset in the file of what is loaded at `address`.
pub(super) fn offset_of(address: u64, segments: &[Segment]) -> Option<u64> {
    segments
        .iter()
        .filter(|segment| segment.kind == PT_LOAD)
        .find(|segment| address.checked_sub(segment.address).is_some_and(|within| within < segment.file_size))
        .and_then(|segment| segment.offset.checked_add(address - segment.address))
}
