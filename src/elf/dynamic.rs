//! What the loader reads of one ELF file.
//!
//! Everything is found as the loader finds it: the program headers name the dynamic section, and its addresses become
//! offsets through the `PT_LOAD` segments. No count or size of the file is trusted: at most [`MOST_BYTES`] are read.
//!
//! <https://gabi.xinuos.com/elf/08-dynamic.html>

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use serde::{Deserialize, Serialize};

use super::strings::StringTable;

use crate::failure::Hinted;

/// What one file may make [`read`] hold at once, in bytes: the program headers, the dynamic section, the notes and the
/// names together. The largest seen, in PyTorch's libraries, is under 100 KiB.
pub const MOST_BYTES: u64 = 4 << 20;

const MAGIC: &[u8] = b"\x7fELF";
const LONGEST_HEADER: u64 = 64;
/// The longest name, in bytes; C++ has made names of 20 KiB.
pub(super) const LONGEST_NAME: u64 = 64 << 10;
const NAME_STEP: u64 = 512;
/// How much of a long table is read at once, in bytes.
const PIECE: u64 = 256 << 10;

const PT_LOAD: u32 = 1;
const PF_W: u32 = 2;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const PT_NOTE: u32 = 4;
const PT_GNU_PROPERTY: u32 = 0x6474_e553;

pub(super) const DT_NULL: u64 = 0;
const DT_NEEDED: u64 = 1;
pub(super) const DT_STRTAB: u64 = 5;
pub(super) const DT_STRSZ: u64 = 10;
const DT_SONAME: u64 = 14;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;
const DT_FLAGS_1: u64 = 0x6fff_fffb;
const DF_1_NODEFLIB: u64 = 0x800;

const NT_GNU_ABI_TAG: u32 = 1;
const NT_GNU_PROPERTY_TYPE_0: u32 = 5;
const GNU_PROPERTY_X86_ISA_1_NEEDED: u32 = 0xc000_8002;

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

/// What the loader and `ldconfig` read of an ELF file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elf {
    pub class: Class,
    pub machine: Machine,
    pub kind: Kind,
    /// `e_flags`: on 32-bit ARM, the floating-point ABI.
    pub flags: u32,
    /// `PT_INTERP`: the loader an executable asks for.
    pub interpreter: Option<String>,
    /// `None` for what the loader does not link: static executables, object files, separate debug information.
    pub dynamic: Option<Dynamic>,
    /// The operating system and oldest kernel of the GNU ABI note, as glibc packs them: `0x00030200` is Linux 3.2.0.
    pub abi_tag: Option<u32>,
    /// The number of the highest bit in the x86 property "ISA needed": 0 baseline or unstated, 1 for x86-64-v2, 2 for
    /// v3, 3 for v4.
    pub isa_level: u32,
}

/// The dynamic section, as far as it says which files belong together.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Dynamic {
    pub soname: Option<String>,
    /// In the file's order, which is the loader's.
    pub needed: Vec<String>,
    /// Directories separated by `:`; the loader ignores them when there is a `runpath`.
    pub rpath: Option<String>,
    /// Directories separated by `:`.
    pub runpath: Option<String>,
    /// `DF_1_NODEFLIB`: neither the cache's default directories nor the default directories are searched.
    pub no_default_directories: bool,
}

/// The size of addresses: `EI_CLASS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Class {
    Elf32,
    Elf64,
}

/// `e_machine`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Machine {
    I386,
    Arm,
    X86_64,
    Aarch64,
    Other(u16),
}

impl Machine {
    fn new(e_machine: u16) -> Self {
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
    Relocatable,
    /// An executable at fixed addresses.
    Executable,
    /// A shared library, or an executable that may be loaded anywhere.
    Shared,
    Other(u16),
}

impl Kind {
    fn new(e_type: u16) -> Self {
        match e_type {
            1 => Self::Relocatable,
            2 => Self::Executable,
            3 => Self::Shared,
            other => Self::Other(other),
        }
    }
}

/// Why a file that begins as ELF could not be read. The caller knows and names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
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

impl Elf {
    /// What it calls itself, where it is a library that does.
    pub fn soname(&self) -> Option<&str> {
        self.dynamic.as_ref()?.soname.as_deref()
    }
}

/// Reads a file; `None` when it is not ELF.
pub fn read(file: &(impl ReadAt + ?Sized)) -> Result<Option<Elf>, ElfError> {
    read_with(file, parse)
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

/// Where [`parse`] takes bytes from.
pub(super) trait Source {
    /// All bytes of `range`, or `None` when some of them are not at hand.
    fn fetch(&self, range: Range<u64>) -> io::Result<Option<Cow<'_, [u8]>>>;

    /// Whether all bytes of `range` are at hand.
    fn has(&self, range: Range<u64>) -> bool;

    /// Bytes from the beginning of `range`, as many as are at hand at little cost; empty when none is.
    fn piece(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>>;
}

pub(super) struct Seekable<'a, R: ?Sized>(&'a R);

impl<R: ReadAt + ?Sized> Source for Seekable<'_, R> {
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

/// Why [`parse`] has no result.
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

/// Reads what `source` has of a file of `size` bytes; `None` when it is not ELF.
pub(super) fn parse(source: &impl Source, size: u64) -> Result<Option<Elf>, Stop> {
    let mut reader = Reader::new(source, size, MOST_BYTES);
    let Some(header) = Header::read(&mut reader)? else { return Ok(None) };
    let segments = header.segments(&mut reader)?;
    let wanted = Wanted::of(&segments, header.layout);

    let interpreter =
        wanted.interpreter.map(|range| reader.bytes("the name of its loader", range)).transpose()?;
    let dynamic = wanted.dynamic.map(|range| reader.bytes("its dynamic section", range)).transpose()?;
    let properties = wanted.properties.map(|range| reader.bytes("its GNU properties", range)).transpose()?;
    let mut notes = Vec::new();
    for range in wanted.notes {
        notes.push(reader.bytes("a note", range)?);
    }
    reader.complete()?;

    let dynamic = match dynamic {
        Some(section) => Section::of(&section, header.layout).names(&segments, &mut reader)?,
        None => None,
    };
    Ok(Some(Elf {
        class: header.layout.class,
        machine: Machine::new(header.machine),
        kind: Kind::new(header.kind),
        flags: header.flags,
        interpreter: interpreter.map(|bytes| utf8(until_nul(&bytes))).transpose()?,
        dynamic,
        abi_tag: notes.iter().find_map(|notes| abi_tag(notes, header.layout)),
        isa_level: properties.map_or(0, |notes| isa_level(&notes, header.layout)),
    }))
}

/// Where the facts of a file are, as far as its program headers tell.
#[derive(Default)]
pub(super) struct Whereabouts {
    /// What the program headers point to.
    pub parts: Vec<Range<u64>>,
    /// The segments that are loaded: the names are somewhere in them.
    pub loaded: Vec<Loaded>,
}

/// Where a segment is that is loaded.
pub(super) struct Loaded {
    pub range: Range<u64>,
    pub is_writable: bool,
}

/// Finds the parts of a file that [`parse`] will read; `None` when not even the program headers can be read.
pub(super) fn whereabouts(source: &impl Source, size: u64) -> Option<Whereabouts> {
    let mut reader = Reader::new(source, size, MOST_BYTES);
    let header = Header::read(&mut reader).ok()??;
    let segments = header.segments(&mut reader).ok()?;
    let loaded = segments.iter().filter(|segment| segment.kind == PT_LOAD);
    let loaded = loaded.map(|it| Loaded { range: it.range(), is_writable: it.flags & PF_W != 0 }).collect();
    let wanted = Wanted::of(&segments, header.layout);
    let parts =
        [wanted.dynamic, wanted.interpreter, wanted.properties].into_iter().flatten().chain(wanted.notes);
    Some(Whereabouts { parts: parts.collect(), loaded })
}

/// Fetches parts of a file within its size and within a budget, and notes those that are not at hand.
pub(super) struct Reader<'a, S> {
    source: &'a S,
    size: u64,
    limit: u64,
    budget: u64,
    missing: Vec<Range<u64>>,
}

impl<'a, S: Source> Reader<'a, S> {
    /// Reads at most `limit` bytes of a file of `size` bytes.
    pub(super) fn new(source: &'a S, size: u64, limit: u64) -> Self {
        Self { source, size, limit, budget: limit, missing: Vec::new() }
    }

    /// The bytes of `range`; empty, and noted as missing, when they are not at hand.
    pub(super) fn bytes(&mut self, what: &'static str, range: Range<u64>) -> Result<Cow<'a, [u8]>, ElfError> {
        self.allow(what, &range)?;
        let bytes = self.source.fetch(range.clone()).map_err(|source| ElfError::Read { what, source })?;
        Ok(bytes.unwrap_or_else(|| {
            self.missing.push(range);
            Cow::Borrowed(&[])
        }))
    }

    /// The string table at `range`, noted as missing when some of it is not at hand.
    pub(super) fn strings(&mut self, range: Range<u64>) -> Result<StringTable<'a, S>, ElfError> {
        self.allow("its names", &range)?;
        if !self.source.has(range.clone()) {
            self.missing.push(range.clone());
        }
        Ok(StringTable::new(self.source, range))
    }

    /// Refuses what lies beyond the end of the file, and more than the budget.
    fn allow(&mut self, what: &'static str, range: &Range<u64>) -> Result<(), ElfError> {
        let length = range.end.saturating_sub(range.start);
        if range.end > self.size {
            return Err(ElfError::BeyondEnd { what, offset: range.start, length, size: self.size });
        }
        self.budget =
            self.budget.checked_sub(length).ok_or(ElfError::TooLarge { what, limit: self.limit })?;
        Ok(())
    }

    /// The size of the whole file in bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Stops when anything asked for so far is missing.
    pub(super) fn complete(&mut self) -> Result<(), Stop> {
        if self.missing.is_empty() { Ok(()) } else { Err(Stop::Missing(std::mem::take(&mut self.missing))) }
    }

    /// The bytes up to a NUL that begin at `start` and lie before `end`; empty and noted when not at hand.
    fn name(&mut self, start: u64, end: u64, offset: u64) -> Result<Vec<u8>, ElfError> {
        let end = end.min(self.size).min(start.saturating_add(LONGEST_NAME));
        let mut name = Vec::new();
        let mut next = start;
        while next < end {
            let length = (name.len() as u64).max(NAME_STEP);
            let step = next..end.min(next.saturating_add(length));
            next = step.end;
            let bytes = self.bytes("its names", step)?;
            if !self.missing.is_empty() {
                return Ok(Vec::new());
            }
            name.extend_from_slice(until_nul(&bytes));
            if bytes.contains(&0) {
                return Ok(name);
            }
        }
        Err(ElfError::Unterminated { offset })
    }
}

/// How numbers are written: `EI_CLASS` and `EI_DATA`.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    class: Class,
    big_endian: bool,
}

impl Layout {
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
    pub(super) layout: Layout,
    kind: u16,
    machine: u16,
    flags: u32,
    program_headers: u64,
    program_header_size: u16,
    program_header_count: u16,
    sections: u64,
    section_size: u16,
    section_count: u16,
}

impl Header {
    pub(super) fn read(reader: &mut Reader<impl Source>) -> Result<Option<Self>, Stop> {
        let bytes = reader.bytes("its ELF header", 0..reader.size.min(LONGEST_HEADER))?;
        reader.complete()?;
        if !bytes.starts_with(MAGIC) {
            return Ok(None);
        }
        let layout = Layout::of(&bytes)?;
        let length = layout.pick(52, 64);
        if reader.size < length {
            return Err(
                ElfError::BeyondEnd { what: "its ELF header", offset: 0, length, size: reader.size }.into()
            );
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

    pub(super) fn segments(&self, reader: &mut Reader<impl Source>) -> Result<Vec<Segment>, Stop> {
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
}

impl Header {
    /// The bytes of each section header; none when there is no table of them.
    pub(super) fn sections(&self, reader: &mut Reader<impl Source>) -> Result<Vec<Vec<u8>>, Stop> {
        let expected = self.layout.pick(40, 64);
        if self.sections == 0 || self.section_size != expected {
            return Ok(Vec::new());
        }
        let length = u64::from(self.section_count) * u64::from(expected);
        let table =
            reader.bytes("its section headers", self.sections..self.sections.saturating_add(length))?;
        reader.complete()?;
        Ok(table.chunks_exact(expected.into()).map(<[u8]>::to_vec).collect())
    }
}

/// One program header.
pub(super) struct Segment {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    file_size: u64,
    alignment: u64,
}

impl Segment {
    fn new(bytes: &[u8], layout: Layout) -> Self {
        Self {
            kind: layout.u32(bytes, 0),
            flags: layout.u32(bytes, layout.pick(24, 4)),
            offset: layout.word(bytes, layout.pick(4, 8)),
            address: layout.word(bytes, layout.pick(8, 16)),
            file_size: layout.word(bytes, layout.pick(16, 32)),
            alignment: layout.word(bytes, layout.pick(28, 48)),
        }
    }

    fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.file_size)
    }
}

/// The segments that carry facts, as ranges of the file.
struct Wanted {
    dynamic: Option<Range<u64>>,
    interpreter: Option<Range<u64>>,
    properties: Option<Range<u64>>,
    notes: Vec<Range<u64>>,
}

impl Wanted {
    /// Of several segments of a kind the last counts, as for the loader.
    fn of(segments: &[Segment], layout: Layout) -> Self {
        let of_kind =
            |kind| segments.iter().filter(move |segment| segment.kind == kind && segment.file_size > 0);
        let word = layout.word_size() as u64;
        Self {
            dynamic: of_kind(PT_DYNAMIC).next_back().map(Segment::range),
            interpreter: of_kind(PT_INTERP).next_back().map(Segment::range),
            // As in glibc: properties aligned otherwise are not properties.
            properties: of_kind(PT_GNU_PROPERTY)
                .rfind(|segment| segment.alignment == word)
                .map(Segment::range),
            notes: of_kind(PT_NOTE)
                .filter(|segment| segment.file_size >= 32 && segment.alignment == 4)
                .map(Segment::range)
                .collect(),
        }
    }
}

/// The entries of the dynamic section that matter, names still offsets into the string table.
#[derive(Default)]
struct Section {
    strings: Option<u64>,
    strings_size: Option<u64>,
    soname: Option<u64>,
    needed: Vec<u64>,
    rpath: Option<u64>,
    runpath: Option<u64>,
    flags_1: u64,
}

impl Section {
    fn of(bytes: &[u8], layout: Layout) -> Self {
        let mut section = Self::default();
        for entry in bytes.chunks_exact(2 * layout.word_size()) {
            let value = layout.word(entry, layout.word_size());
            match layout.word(entry, 0) {
                DT_NULL => break,
                DT_STRTAB => section.strings = Some(value),
                DT_STRSZ => section.strings_size = Some(value),
                DT_SONAME => section.soname = section.soname.or(Some(value)),
                DT_NEEDED => section.needed.push(value),
                DT_RPATH => section.rpath = Some(value),
                DT_RUNPATH => section.runpath = Some(value),
                DT_FLAGS_1 => section.flags_1 = value,
                _ => {}
            }
        }
        section
    }

    /// Looks the names up; `None` without a string table, as in separate debug information.
    fn names(self, segments: &[Segment], reader: &mut Reader<impl Source>) -> Result<Option<Dynamic>, Stop> {
        let Some(address) = self.strings else { return Ok(None) };
        let start = offset_of(address, segments).ok_or(ElfError::Unmapped { address })?;
        let end = start.saturating_add(self.strings_size.unwrap_or(u64::MAX));
        let mut missing = Vec::new();
        let mut name = |offset: u64| {
            let bytes = reader.name(start.saturating_add(offset), end, offset)?;
            missing.append(&mut reader.missing);
            utf8(&bytes)
        };
        let dynamic = Dynamic {
            soname: self.soname.map(&mut name).transpose()?,
            needed: self.needed.into_iter().map(&mut name).collect::<Result<_, _>>()?,
            rpath: self.rpath.map(&mut name).transpose()?,
            runpath: self.runpath.map(&mut name).transpose()?,
            no_default_directories: self.flags_1 & DF_1_NODEFLIB != 0,
        };
        if missing.is_empty() { Ok(Some(dynamic)) } else { Err(Stop::Missing(missing)) }
    }
}

/// The dynamic section's range of the file.
pub(super) fn dynamic_section(segments: &[Segment], layout: Layout) -> Option<Range<u64>> {
    Wanted::of(segments, layout).dynamic
}

/// The offset in the file of what is loaded at `address`.
pub(super) fn offset_of(address: u64, segments: &[Segment]) -> Option<u64> {
    segments
        .iter()
        .filter(|segment| segment.kind == PT_LOAD)
        .find(|segment| address.checked_sub(segment.address).is_some_and(|within| within < segment.file_size))
        .and_then(|segment| segment.offset.checked_add(address - segment.address))
}

/// One note: its type and descriptor, when its owner is `GNU`.
struct GnuNote<'a> {
    kind: u32,
    descriptor: &'a [u8],
}

/// The notes of a segment that GNU owns. A note that ends beyond the segment ends the list.
fn gnu_notes(bytes: &[u8], alignment: usize, layout: Layout) -> impl Iterator<Item = GnuNote<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let header = rest.get(..12)?;
        let name_size = layout.u32(header, 0) as usize;
        let descriptor_size = layout.u32(header, 4) as usize;
        let descriptor_start = 12_usize.checked_add(name_size)?.checked_next_multiple_of(alignment)?;
        let descriptor_end = descriptor_start.checked_add(descriptor_size)?;
        let name = rest.get(12..12 + name_size)?;
        let descriptor = rest.get(descriptor_start..descriptor_end)?;
        rest = rest.get(descriptor_end.checked_next_multiple_of(alignment)?..).unwrap_or_default();
        Some((name == b"GNU\0").then_some(GnuNote { kind: layout.u32(header, 8), descriptor }))
    })
    .flatten()
}

/// The ABI tag among the notes of a segment.
///
/// <https://refspecs.linuxfoundation.org/LSB_5.0.0/LSB-Core-generic/LSB-Core-generic/noteabitag.html>
fn abi_tag(notes: &[u8], layout: Layout) -> Option<u32> {
    let note = gnu_notes(notes, 4, layout)
        .find(|note| note.kind == NT_GNU_ABI_TAG && note.descriptor.len() == 16)?;
    let [os, major, minor, patch] = [0, 4, 8, 12].map(|at| layout.u32(note.descriptor, at));
    Some(os << 24 | (major & 0xff) << 16 | (minor & 0xff) << 8 | patch & 0xff)
}

/// The ISA level among a segment's GNU properties, as `ldconfig` records it.
fn isa_level(notes: &[u8], layout: Layout) -> u32 {
    let alignment = layout.word_size();
    let Some(note) = gnu_notes(notes, alignment, layout).find(|note| note.kind == NT_GNU_PROPERTY_TYPE_0)
    else {
        return 0;
    };
    let mut rest = note.descriptor;
    while let Some(header) = rest.get(..8) {
        let length = layout.u32(header, 4) as usize;
        let Some(data) = rest.get(8..8_usize.saturating_add(length)) else { return 0 };
        if layout.u32(header, 0) == GNU_PROPERTY_X86_ISA_1_NEEDED && length == 4 {
            return layout.u32(data, 0).checked_ilog2().unwrap_or_default();
        }
        let next = 8_usize.saturating_add(length).checked_next_multiple_of(alignment).unwrap_or(usize::MAX);
        rest = rest.get(next..).unwrap_or_default();
    }
    0
}

pub(super) fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

pub(super) fn utf8(name: &[u8]) -> Result<String, ElfError> {
    String::from_utf8(name.to_vec())
        .map_err(|_| ElfError::NotUtf8 { name: String::from_utf8_lossy(name).into_owned() })
}
