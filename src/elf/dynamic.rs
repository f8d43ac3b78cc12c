//! The headers and the dynamic section of one ELF file, as the loader reads them.
//!
//! Everything is found as the loader finds it: the program headers name the dynamic section, and its addresses become
//! offsets through the `PT_LOAD` segments. No count or size of the file is trusted: at most [`MOST_BYTES`] are read.
//!
//! <https://gabi.xinuos.com/elf/08-dynamic.html>

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::header::{Class, Header, Kind, Machine, NumberFormat, PT_LOAD, Segment, offset_of};
use super::notes::{abi_tag, isa_level};
use super::reader::PartReader;
use super::source::{ElfError, PartSource, ReadAt, Stop, read_with, until_nul, utf8};

/// The most bytes that one file may make [`read`] hold at once: the program headers, the dynamic section, the notes and
/// the names together. The largest seen, in PyTorch's libraries, is under 100 KiB.
pub const MOST_BYTES: u64 = 4 << 20;

const PF_W: u32 = 2;
pub(super) const PT_DYNAMIC: u32 = 2;
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

/// The part of an ELF file that the loader and `ldconfig` read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elf {
    /// The size of its addresses.
    pub class: Class,
    /// The processor that it is for.
    pub machine: Machine,
    /// Its type: `e_type`.
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
    /// `DT_SONAME`.
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

impl Elf {
    /// Its SONAME, where it has one.
    pub fn soname(&self) -> Option<&str> {
        self.dynamic.as_ref()?.soname.as_deref()
    }
}

/// Reads a file; `None` when it is not ELF.
pub fn read(file: &(impl ReadAt + ?Sized)) -> Result<Option<Elf>, ElfError> {
    read_with(file, parse)
}

/// Reads what `source` has of a file of `size` bytes; `None` when it is not ELF.
pub(super) fn parse(source: &impl PartSource, size: u64) -> Result<Option<Elf>, Stop> {
    let mut reader = PartReader::new(source, size, MOST_BYTES);
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

/// The places of a file's facts, as far as its program headers tell.
#[derive(Default)]
pub(super) struct Whereabouts {
    /// The parts that the program headers point to.
    pub parts: Vec<Range<u64>>,
    /// The segments that are loaded: the names are somewhere in them.
    pub loaded: Vec<LoadedSegment>,
}

/// The place of a loaded segment.
pub(super) struct LoadedSegment {
    pub range: Range<u64>,
    pub is_writable: bool,
}

/// Finds the parts of a file that [`parse`] will read; `None` when not even the program headers can be read.
pub(super) fn whereabouts(source: &impl PartSource, size: u64) -> Option<Whereabouts> {
    let mut reader = PartReader::new(source, size, MOST_BYTES);
    let header = Header::read(&mut reader).ok()??;
    let segments = header.segments(&mut reader).ok()?;
    let loaded = segments.iter().filter(|segment| segment.kind == PT_LOAD);
    let loaded =
        loaded.map(|it| LoadedSegment { range: it.range(), is_writable: it.flags & PF_W != 0 }).collect();
    let wanted = Wanted::of(&segments, header.layout);
    let parts =
        [wanted.dynamic, wanted.interpreter, wanted.properties].into_iter().flatten().chain(wanted.notes);
    Some(Whereabouts { parts: parts.collect(), loaded })
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
    fn of(segments: &[Segment], layout: NumberFormat) -> Self {
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
    fn of(bytes: &[u8], layout: NumberFormat) -> Self {
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
    fn names(
        self,
        segments: &[Segment],
        reader: &mut PartReader<impl PartSource>,
    ) -> Result<Option<Dynamic>, Stop> {
        let Some(address) = self.strings else { return Ok(None) };
        let start = offset_of(address, segments).ok_or(ElfError::Unmapped { address })?;
        let end = start.saturating_add(self.strings_size.unwrap_or(u64::MAX));
        let mut missing = Vec::new();
        let mut name = |offset: u64| {
            let bytes = reader.name(start.saturating_add(offset), end, offset)?;
            missing.append(&mut reader.take_missing());
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
pub(super) fn dynamic_section(segments: &[Segment], layout: NumberFormat) -> Option<Range<u64>> {
    Wanted::of(segments, layout).dynamic
}
