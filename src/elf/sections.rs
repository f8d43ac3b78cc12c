//! The symbols of a library whose dynamic section cannot be reached, read through its section headers.
//!
//! <https://gabi.xinuos.com/elf/03-sheader.html>

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use super::dynamic::PT_DYNAMIC;
use super::header::{Header, Machine, NumberFormat, Segment};
use super::reader::PartReader;
use super::source::{PartSource, Stop, utf8};
use super::strings::Lookup;
use super::symbols::{
    MOST_SYMBOL_BYTES, MOST_VERSIONS, Need, SymbolTables, Symbols, VER_FLG_WEAK, VERSYM_HIDDEN, entry_size,
    span,
};

const SHT_DYNSYM: u32 = 11;
const SHT_GNU_VERDEF: u32 = 0x6fff_fffd;
const SHT_GNU_VERNEED: u32 = 0x6fff_fffe;
const SHT_GNU_VERSYM: u32 = 0x6fff_ffff;

/// The symbols and needs of a library whose dynamic section cannot be reached: see
/// [`super::Incomplete::from_sections`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linkage {
    /// Its SONAME, where it has one.
    pub soname: Option<String>,
    /// The SONAMEs it needs, not in the loader's order.
    pub needed: BTreeSet<String>,
    /// The search path, RUNPATH or RPATH, with its directories separated by `:`; empty where it has none.
    pub search: String,
    /// The processor that it is for.
    pub machine: Machine,
    /// Its dynamic symbols.
    pub symbols: Symbols,
}

/// The places of the two tables of a file that lead to all others, in bytes from its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePlaces {
    /// The dynamic section, by the program headers.
    pub dynamic: Option<Range<u64>>,
    /// The section headers.
    pub sections: Option<Range<u64>>,
}

/// Reads the places from the headers; `None` when it is not ELF.
pub(super) fn places(source: &impl PartSource, size: u64) -> Result<Option<TablePlaces>, Stop> {
    let mut reader = PartReader::new(source, size, MOST_SYMBOL_BYTES);
    let Some(header) = Header::read(&mut reader)? else { return Ok(None) };
    let segments = header.segments(&mut reader)?;
    let dynamic =
        segments.iter().filter(|segment| segment.kind == PT_DYNAMIC).map(Segment::range).next_back();
    Ok(Some(TablePlaces { dynamic, sections: header.section_table() }))
}

/// Reads through the section headers what [`super::symbols::parse`] reads through the dynamic section; `None` when it
/// is not ELF, or has no section headers.
///
/// The names that only the dynamic section refers to are those in the string table that no symbol and no version has:
/// the SONAME, what is needed, and search paths. Which of them is the SONAME, its version definitions say; a library
/// that defines no versions has `None`.
pub(super) fn parse(source: &impl PartSource, size: u64) -> Result<Option<Linkage>, Stop> {
    let mut reader = PartReader::new(source, size, MOST_SYMBOL_BYTES);
    let Some(header) = Header::read(&mut reader)? else { return Ok(None) };
    let layout = header.layout;
    let sections: Vec<_> =
        header.sections(&mut reader)?.iter().map(|bytes| SectionHeader::new(bytes, layout)).collect();
    let of_kind = |kind| sections.iter().find(|section| section.kind == kind);
    let Some(symbols) = of_kind(SHT_DYNSYM) else { return Ok(None) };
    let Some(strings) = sections.get(symbols.link as usize) else { return Ok(None) };
    let strings = reader.strings(span(strings.offset, strings.size))?;
    let mut bytes = |what, section: Option<&SectionHeader>| match section {
        Some(section) => reader.bytes(what, span(section.offset, section.size)),
        None => Ok(Cow::Borrowed(&[][..])),
    };
    let symbols = bytes("its symbols", Some(symbols))?;
    let versions = bytes("its symbols' versions", of_kind(SHT_GNU_VERSYM))?;
    let definitions = bytes("its version definitions", of_kind(SHT_GNU_VERDEF))?;
    let needs = bytes("its version needs", of_kind(SHT_GNU_VERNEED))?;
    reader.complete()?;

    let needs = needs_of(&needs, layout);
    let defined_versions = definitions_of(&definitions, layout);
    let own = defined_versions.first().copied();
    let mut sonames = Lookup::default();
    own.into_iter().for_each(|name| sonames.want(name, Of::Itself));
    let needed: BTreeSet<u32> = needs.iter().map(|need| need.soname).collect();
    needed.iter().for_each(|name| sonames.want(*name, Of::Needed));
    let mut others: BTreeSet<u32> =
        defined_versions.into_iter().chain(needs.iter().map(|need| need.name)).collect();
    others.extend(symbols.chunks_exact(entry_size(layout) as usize).map(|entry| layout.u32(entry, 0)));

    let (mut soname, mut needed) = (None, BTreeSet::new());
    sonames.names(&strings, MOST_SYMBOL_BYTES, |of, name| {
        let name = utf8(name)?;
        match of {
            Of::Itself => soname = Some(name),
            Of::Needed => drop(needed.insert(name)),
        }
        Ok(())
    })?;
    let table = strings.bytes()?;
    let unknown: Vec<&str> = names_without(&table, &others).collect();
    let search = unknown.iter().copied().find(|name| name.starts_with(['/', '$'])).unwrap_or_default();
    let search = search.to_owned();
    let libraries = unknown.iter().filter(|name| name.contains(".so") && !name.contains(['/', ' ']));
    needed.extend(libraries.filter(|name| Some(**name) != soname.as_deref()).map(|name| (*name).to_owned()));
    let read = SymbolTables { symbols, strings, versions, needs, definitions: Vec::new() };
    Ok(Some(Linkage {
        soname,
        needed,
        search,
        machine: Machine::new(header.machine),
        symbols: read.symbols(layout)?,
    }))
}

/// The owner of a SONAME in the tables.
#[derive(Clone, Copy)]
enum Of {
    Itself,
    Needed,
}

/// The names in the table that do not begin where one of `others` does.
fn names_without<'a>(table: &'a [u8], others: &'a BTreeSet<u32>) -> impl Iterator<Item = &'a str> {
    let mut at = 0;
    let names = table.split(|byte| *byte == 0).map(move |name| {
        let start = at;
        at += name.len() + 1;
        (start, name)
    });
    names
        .filter(|(start, _)| !u32::try_from(*start).is_ok_and(|start| others.contains(&start)))
        .filter_map(|(_, name)| std::str::from_utf8(name).ok())
}

/// The versions of undefined symbols.
fn needs_of(bytes: &[u8], layout: NumberFormat) -> Vec<Need> {
    let mut needs = Vec::new();
    for (at, need) in linked(bytes, 0, 12, layout) {
        let (first, soname) = (layout.u32(need, 8), layout.u32(need, 4));
        for (_, version) in linked(bytes, at.saturating_add(first as usize), 12, layout)
            .take(layout.u16(need, 2).into())
            .take(MOST_VERSIONS.saturating_sub(needs.len()))
        {
            needs.push(Need {
                number: layout.u16(version, 6) & !VERSYM_HIDDEN,
                soname,
                name: layout.u32(version, 8),
                weak: layout.u16(version, 4) & VER_FLG_WEAK != 0,
            });
        }
    }
    needs
}

/// The names of the versions that are defined, as offsets of names; first that of the library itself.
fn definitions_of(bytes: &[u8], layout: NumberFormat) -> Vec<u32> {
    let definitions = linked(bytes, 0, 16, layout).take(MOST_VERSIONS);
    let name = |(at, definition): (usize, &[u8])| {
        let name = at.saturating_add(layout.u32(definition, 12) as usize);
        layout.u32(bytes.get(name..).unwrap_or_default(), 0)
    };
    definitions.map(name).collect()
}

/// The records from `at` on, with their places, each of which tells at `next` how far it is to the next.
fn linked(
    bytes: &[u8],
    at: usize,
    next: usize,
    layout: NumberFormat,
) -> impl Iterator<Item = (usize, &[u8])> {
    let record = move |at: usize| Some((at, bytes.get(at..at.checked_add(next + 4)?)?));
    std::iter::successors(record(at), move |(at, bytes)| match layout.u32(bytes, next) {
        0 => None,
        distance => record(at.checked_add(distance as usize)?),
    })
}

/// One section header.
struct SectionHeader {
    kind: u32,
    offset: u64,
    size: u64,
    link: u32,
}

impl SectionHeader {
    fn new(bytes: &[u8], layout: NumberFormat) -> Self {
        Self {
            kind: layout.u32(bytes, 4),
            offset: layout.word(bytes, layout.pick(16, 24)),
            size: layout.word(bytes, layout.pick(20, 32)),
            link: layout.u32(bytes, layout.pick(24, 40)),
        }
    }
}
