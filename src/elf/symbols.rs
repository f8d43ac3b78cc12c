//! The dynamic symbols of a library: what it offers, and what it expects of others.
//!
//! As the loader does, [`Symbols::read`] finds everything through the dynamic section. That section does not say how many symbols
//! there are: the hash table does, which holds every defined symbol, and defined symbols stand last.
//!
//! * <https://gabi.xinuos.com/elf/05-symtab.html>, and for the hash table 08-dynamic.html
//! * GNU's hash table: <https://sourceware.org/legacy-ml/binutils/2006-10/msg00377.html>
//! * version needs: <https://refspecs.linuxfoundation.org/LSB_5.0.0/LSB-Core-generic/LSB-Core-generic/symversion.html>

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::dynamic::{self, DT_NULL, DT_STRSZ, DT_STRTAB};
use super::header::{Header, NumberFormat, Segment, offset_of};
use super::reader::PartReader;
use super::source::{ElfError, PartSource, ReadAt, Stop, read_with, utf8};
use super::strings::{Lookup, StringTable};

/// The most bytes of one file's tables together. cuBLASLt's take 30 KiB, those of LLVM 5 MiB.
pub const MOST_SYMBOL_BYTES: u64 = 32 << 20;
/// A version is told by 15 bits.
pub(super) const MOST_VERSIONS: usize = 1 << 15;
/// The bytes that are read first of a table whose length is unknown; then as much again as is read, so that a
/// stream passes a few times at most.
pub(super) const STEP: u64 = 4 << 10;

/// The numbers below stand for symbols without a version: local ones, and global ones.
const FIRST_VERSION: u16 = 2;
const DT_HASH: u64 = 4;
const DT_SYMTAB: u64 = 6;
const DT_GNU_HASH: u64 = 0x6fff_fef5;
const DT_VERSYM: u64 = 0x6fff_fff0;
const DT_VERDEF: u64 = 0x6fff_fffc;
const DT_VERDEFNUM: u64 = 0x6fff_fffd;
const DT_VERNEED: u64 = 0x6fff_fffe;
const DT_VERNEEDNUM: u64 = 0x6fff_ffff;

const SHN_UNDEF: u16 = 0;
const STB_GLOBAL: u8 = 1;
const STB_WEAK: u8 = 2;
const STB_GNU_UNIQUE: u8 = 10;
const STT_SECTION: u8 = 3;
const STT_FILE: u8 = 4;
/// `STV_INTERNAL` and `STV_HIDDEN`.
const NOT_VISIBLE: [u8; 2] = [1, 2];
/// The bit of a `DT_VERSYM` entry that is not part of the version's number.
pub(super) const VERSYM_HIDDEN: u16 = 0x8000;

/// The dynamic symbols of one file, as far as versions tell whose they are.
///
/// CUDA's minor versions differ by symbols alone: `libnvJitLink.so.12` of CUDA 12.4 has `__nvJitLinkCreate_12_4`, and
/// the `libcusparse.so.12` of CUDA 12.4 needs it. Version nodes carry the SONAME of the library that defines them.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Symbols {
    /// The defined symbols with a version, global or weak, sorted: others ask for no version, and nobody can tell whose they
    /// are.
    pub defined: BTreeSet<String>,
    /// The undefined symbols that are not weak, by the SONAME of the file that the version needs (`vn_file`) name.
    pub undefined: BTreeMap<String, BTreeSet<String>>,
}

impl Symbols {
    /// Reads a file; `None` when it is not ELF. A file without a dynamic section or a hash table has no symbols.
    pub fn read(file: &(impl ReadAt + ?Sized)) -> Result<Option<Self>, ElfError> {
        read_with(file, parse)
    }
}

/// Reads the symbols of what `source` has of a file of `size` bytes; `None` when it is not ELF.
pub(super) fn parse(source: &impl PartSource, size: u64) -> Result<Option<Symbols>, Stop> {
    let mut reader = PartReader::new(source, size, MOST_SYMBOL_BYTES);
    let Some(header) = Header::read(&mut reader)? else { return Ok(None) };
    let layout = header.layout;
    let segments = header.segments(&mut reader)?;
    let Some(section) = dynamic::dynamic_section(&segments, layout) else {
        return Ok(Some(Symbols::default()));
    };
    let section = reader.bytes("its dynamic section", section)?;
    reader.complete()?;
    let tables = Tables::of(&section, layout);
    let file = SymbolFile { layout, segments: &segments };
    match tables.read(&file, &mut reader)? {
        Some(tables) => Ok(Some(tables.symbols(layout)?)),
        None => Ok(Some(Symbols::default())),
    }
}

/// The file in which addresses are looked up.
pub(super) struct SymbolFile<'a> {
    pub layout: NumberFormat,
    pub segments: &'a [Segment],
}

impl SymbolFile<'_> {
    fn offset(&self, table: &'static str, address: u64) -> Result<u64, ElfError> {
        offset_of(address, self.segments).ok_or(ElfError::UnmappedTable { table, address })
    }
}

/// The addresses of the tables.
#[derive(Default)]
pub(super) struct Tables {
    symbols: Option<u64>,
    strings: Option<u64>,
    strings_size: Option<u64>,
    hash: Option<u64>,
    gnu_hash: Option<u64>,
    versions: Option<u64>,
    needs: Option<u64>,
    needs_count: u64,
    definitions: Option<u64>,
    definitions_count: u64,
}

impl Tables {
    pub(super) fn of(section: &[u8], layout: NumberFormat) -> Self {
        let mut tables = Self::default();
        for entry in section.chunks_exact(2 * layout.word_size()) {
            let value = layout.word(entry, layout.word_size());
            match layout.word(entry, 0) {
                DT_NULL => break,
                DT_SYMTAB => tables.symbols = Some(value),
                DT_STRTAB => tables.strings = Some(value),
                DT_STRSZ => tables.strings_size = Some(value),
                DT_HASH => tables.hash = Some(value),
                DT_GNU_HASH => tables.gnu_hash = Some(value),
                DT_VERSYM => tables.versions = Some(value),
                DT_VERNEED => tables.needs = Some(value),
                DT_VERNEEDNUM => tables.needs_count = value,
                DT_VERDEF => tables.definitions = Some(value),
                DT_VERDEFNUM => tables.definitions_count = value,
                _ => {}
            }
        }
        tables
    }

    /// The bytes of the tables; `None` without symbols, names or a hash table.
    pub(super) fn read<'a, S: PartSource>(
        &self,
        file: &SymbolFile<'_>,
        reader: &mut PartReader<'a, S>,
    ) -> Result<Option<SymbolTables<'a, S>>, Stop> {
        let (Some(symbols), Some(strings), Some(strings_size)) =
            (self.symbols, self.strings, self.strings_size)
        else {
            return Ok(None);
        };
        let Some(count) = self.count(file, reader)? else { return Ok(None) };
        let symbols = file.offset("its symbol table", symbols)?;
        let strings = file.offset("its string table", strings)?;
        let versions = self.versions.map(|address| file.offset("its version table", address)).transpose()?;

        let symbols =
            reader.bytes("its symbols", span(symbols, u64::from(count) * entry_size(file.layout)))?;
        let strings = reader.strings(span(strings, strings_size))?;
        let versions = match versions {
            Some(start) => reader.bytes("its symbols' versions", span(start, u64::from(count) * 2))?,
            None => Cow::Borrowed(&[][..]),
        };
        let needs = self.needs(file, reader)?;
        let definitions = self.definitions(file, reader)?;
        reader.complete()?;
        Ok(Some(SymbolTables { symbols, strings, versions, needs, definitions }))
    }

    /// The number of symbols.
    fn count(
        &self,
        file: &SymbolFile<'_>,
        reader: &mut PartReader<impl PartSource>,
    ) -> Result<Option<u32>, Stop> {
        if let Some(address) = self.hash {
            let start = file.offset("its hash table", address)?;
            let head = reader.bytes("its hash table", span(start, 8))?;
            reader.complete()?;
            return Ok(Some(file.layout.u32(&head, 4)));
        }
        match self.gnu_hash {
            Some(address) => {
                let start = file.offset("its hash table", address)?;
                match gnu_count(start, file.layout, reader)? {
                    Count::Known(count) => Ok(Some(count)),
                    Count::NothingDefined => Ok(self.room(file.layout)),
                }
            }
            None => Ok(None),
        }
    }

    /// The number of symbols that fit in front of the table that follows theirs: for the rare file that defines
    /// nothing, where GNU's hash table does not count what is undefined. Linkers leave no more than padding between the
    /// two.
    fn room(&self, layout: NumberFormat) -> Option<u32> {
        let symbols = self.symbols?;
        let next = [self.strings, self.versions, self.needs, self.gnu_hash]
            .into_iter()
            .flatten()
            .filter(|address| *address > symbols)
            .min()?;
        u32::try_from((next - symbols) / entry_size(layout)).ok()
    }

    /// The versions of undefined symbols.
    fn needs(
        &self,
        file: &SymbolFile<'_>,
        reader: &mut PartReader<impl PartSource>,
    ) -> Result<Vec<Need>, Stop> {
        let Some(address) = self.needs else { return Ok(Vec::new()) };
        let layout = file.layout;
        let mut table = Growing::new("its version needs", file.offset("its version needs", address)?);
        let mut needs = Vec::new();
        let (mut at, mut steps) = (0, 0);
        for _ in 0..self.needs_count {
            let need = table.record(at, RECORD, reader)?;
            let (soname, first, next) = (layout.u32(need, 4), layout.u32(need, 8), layout.u32(need, 12));
            let versions = layout.u16(need, 2);
            let mut version_at = at.saturating_add(first.into());
            for _ in 0..versions {
                steps += 1;
                if steps > MOST_VERSIONS {
                    let limit = MOST_VERSIONS as u64 * RECORD;
                    return Err(ElfError::TooLarge { what: "its version needs", limit }.into());
                }
                let version = table.record(version_at, RECORD, reader)?;
                needs.push(Need {
                    number: layout.u16(version, 6) & !VERSYM_HIDDEN,
                    soname,
                    name: layout.u32(version, 8),
                    weak: layout.u16(version, 4) & VER_FLG_WEAK != 0,
                });
                let next = layout.u32(version, 12);
                version_at = version_at.saturating_add(next.into());
                if next == 0 {
                    break;
                }
            }
            at = at.saturating_add(next.into());
            steps += 1;
            if next == 0 || steps > MOST_VERSIONS {
                break;
            }
        }
        Ok(needs)
    }

    /// The names of the versions that are defined, as offsets of names; not that of the file itself, nor those that it
    /// only inherits.
    fn definitions(
        &self,
        file: &SymbolFile<'_>,
        reader: &mut PartReader<impl PartSource>,
    ) -> Result<Vec<u32>, Stop> {
        let Some(address) = self.definitions else { return Ok(Vec::new()) };
        let layout = file.layout;
        let what = "its version definitions";
        let mut table = Growing::new(what, file.offset(what, address)?);
        let mut names = Vec::new();
        let mut at = 0;
        for _ in 0..self.definitions_count.min(MOST_VERSIONS as u64) {
            let definition = table.record(at, DEFINITION, reader)?;
            let flags = layout.u16(definition, 2);
            let (first, next) = (layout.u32(definition, 12), layout.u32(definition, 16));
            let name = layout.u32(table.record(at.saturating_add(first.into()), NAME, reader)?, 0);
            if flags & VER_FLG_BASE == 0 {
                names.push(name);
            }
            at = at.saturating_add(next.into());
            if next == 0 {
                break;
            }
        }
        Ok(names)
    }
}

/// A version that undefined symbols have; names are offsets.
#[derive(Clone, Copy)]
pub(super) struct Need {
    pub number: u16,
    pub soname: u32,
    pub name: u32,
    pub weak: bool,
}

/// The number of symbols, as GNU's hash table tells it.
enum Count {
    Known(u32),
    NothingDefined,
}

/// Walks the chain of the last bucket, whose end is the last symbol.
fn gnu_count(
    start: u64,
    layout: NumberFormat,
    reader: &mut PartReader<impl PartSource>,
) -> Result<Count, Stop> {
    let what = "its hash table";
    let head = reader.bytes(what, span(start, 16))?;
    reader.complete()?;
    let [buckets, first, words] = [0, 4, 8].map(|at| layout.u32(&head, at));
    let bloom = u64::from(words) * layout.word_size() as u64;
    let buckets_start = start.saturating_add(16).saturating_add(bloom);
    let heads = reader.bytes(what, span(buckets_start, u64::from(buckets) * 4))?;
    reader.complete()?;
    let last = heads.chunks_exact(4).map(|bucket| layout.u32(bucket, 0)).max().unwrap_or_default();
    if last == 0 {
        return Ok(Count::NothingDefined);
    }
    let Some(skipped) = last.checked_sub(first) else {
        return Err(ElfError::Hash { first, index: last }.into());
    };
    let mut index = last;
    let mut at = buckets_start.saturating_add(heads.len() as u64).saturating_add(u64::from(skipped) * 4);
    let mut step = STEP;
    loop {
        // What lies beyond the file's end is an error of the reader, as is what exceeds its budget.
        let whole = reader.size().saturating_sub(at).clamp(4, step) / 4 * 4;
        step = step.saturating_mul(2);
        let chain = reader.bytes(what, span(at, whole))?;
        reader.complete()?;
        for hash in chain.chunks_exact(4) {
            index = index.saturating_add(1);
            if layout.u32(hash, 0) & 1 == 1 {
                return Ok(Count::Known(index));
            }
        }
        at = at.saturating_add(whole);
    }
}

/// The bytes of a record of version needs.
const RECORD: u64 = 16;
/// The bytes of a version definition, and of the name behind it.
const DEFINITION: u64 = 20;
const NAME: u64 = 8;
const VER_FLG_BASE: u16 = 1;
pub(super) const VER_FLG_WEAK: u16 = 2;

/// A table whose length nothing tells, read as far as it is looked at.
struct Growing {
    what: &'static str,
    start: u64,
    bytes: Vec<u8>,
}

impl Growing {
    fn new(what: &'static str, start: u64) -> Self {
        Self { what, start, bytes: Vec::new() }
    }

    /// The record of `length` bytes at `at` from the beginning of the table.
    fn record(
        &mut self,
        at: u64,
        length: u64,
        reader: &mut PartReader<impl PartSource>,
    ) -> Result<&[u8], Stop> {
        let end = at.saturating_add(length);
        let have = self.bytes.len() as u64;
        if end > have {
            let start = self.start.saturating_add(have);
            let least = self.start.saturating_add(end);
            let range = start..start.saturating_add(have.max(STEP)).min(reader.size()).max(least);
            self.bytes.extend_from_slice(&reader.bytes(self.what, range)?);
            reader.complete()?;
        }
        Ok(self.bytes.get(at as usize..end as usize).unwrap_or_default())
    }
}

/// The tables of symbols as they are in the file.
pub(super) struct SymbolTables<'a, S> {
    pub symbols: Cow<'a, [u8]>,
    pub strings: StringTable<'a, S>,
    /// A number of 16 bits for each symbol; empty when nothing has versions.
    pub versions: Cow<'a, [u8]>,
    pub needs: Vec<Need>,
    /// The versions that are defined, as offsets of names.
    pub definitions: Vec<u32>,
}

/// The purpose of a name in the string table.
#[derive(Clone, Copy)]
enum Purpose {
    Defined,
    /// A symbol that the file with the SONAME at this offset shall define.
    Undefined(u32),
    /// The SONAME at this offset.
    Owner(u32),
}

impl<S: PartSource> SymbolTables<'_, S> {
    pub(super) fn symbols(&self, layout: NumberFormat) -> Result<Symbols, ElfError> {
        let owners: BTreeMap<u16, u32> = self.needs.iter().map(|need| (need.number, need.soname)).collect();
        let mut lookup = Lookup::default();
        for (index, entry) in self.symbols.chunks_exact(entry_size(layout) as usize).enumerate() {
            let symbol = Symbol::new(entry, layout);
            let version = layout.u16(&self.versions, 2 * index) & !VERSYM_HIDDEN;
            if symbol.is_offered() {
                if version >= FIRST_VERSION {
                    lookup.want(symbol.name, Purpose::Defined);
                }
            } else if symbol.is_required()
                && let Some(soname) = owners.get(&version)
            {
                lookup.want(symbol.name, Purpose::Undefined(*soname));
            }
        }
        owners.into_values().for_each(|soname| lookup.want(soname, Purpose::Owner(soname)));

        let mut defined = BTreeSet::new();
        let mut undefined = BTreeMap::<u32, BTreeSet<String>>::new();
        let mut sonames = BTreeMap::new();
        lookup.names(&self.strings, MOST_SYMBOL_BYTES, |purpose, name| {
            let name = utf8(name)?;
            match purpose {
                Purpose::Defined => drop(defined.insert(name)),
                Purpose::Undefined(soname) => drop(undefined.entry(soname).or_default().insert(name)),
                Purpose::Owner(soname) => drop(sonames.insert(soname, name)),
            }
            Ok(())
        })?;
        let mut symbols = Symbols { defined, undefined: BTreeMap::new() };
        for (soname, names) in undefined {
            let soname = sonames.get(&soname).cloned().unwrap_or_default();
            symbols.undefined.entry(soname).or_default().extend(names);
        }
        Ok(symbols)
    }
}

/// One entry of the symbol table.
pub(super) struct Symbol {
    pub name: u32,
    binding: u8,
    kind: u8,
    visibility: u8,
    section: u16,
}

impl Symbol {
    pub(super) fn new(entry: &[u8], layout: NumberFormat) -> Self {
        let [info, other] =
            layout.pick([12, 13], [4, 5]).map(|at| entry.get(at).copied().unwrap_or_default());
        Self {
            name: layout.u32(entry, 0),
            binding: info >> 4,
            kind: info & 0xf,
            visibility: other & 3,
            section: layout.u16(entry, layout.pick(14, 6)),
        }
    }

    pub(super) fn is_offered(&self) -> bool {
        self.section != SHN_UNDEF
            && matches!(self.binding, STB_GLOBAL | STB_WEAK | STB_GNU_UNIQUE)
            && !matches!(self.kind, STT_SECTION | STT_FILE)
            && !NOT_VISIBLE.contains(&self.visibility)
    }

    pub(super) fn is_required(&self) -> bool {
        self.section == SHN_UNDEF && self.binding == STB_GLOBAL
    }
}

pub(super) fn entry_size(layout: NumberFormat) -> u64 {
    layout.pick(16, 24)
}

pub(super) fn span(start: u64, length: u64) -> Range<u64> {
    start..start.saturating_add(length)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use super::*;
    use crate::elf::{Linked, Outcome, Probe};
    use crate::failure::Hinted;

    const LIBRARIES: &str = "/usr/lib/x86_64-linux-gnu";

    /// This machine's libraries, when there is a `readelf` to compare with.
    fn libraries() -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(LIBRARIES) else { return Vec::new() };
        if Command::new("readelf").arg("-v").output().is_err() {
            eprintln!("skipped: no readelf");
            return Vec::new();
        }
        let is_library =
            |path: &Path| path.is_file() && !path.is_symlink() && path.to_string_lossy().contains(".so");
        let mut paths: Vec<_> =
            entries.map(|entry| entry.unwrap().path()).filter(|path| is_library(path)).collect();
        paths.sort();
        paths
    }

    fn library(name: &str) -> Option<Vec<u8>> {
        let paths = libraries();
        let path = paths.iter().find(|path| path.file_name().unwrap().to_string_lossy().starts_with(name))?;
        Some(std::fs::read(path).unwrap())
    }

    fn read(bytes: &[u8]) -> Result<Option<Symbols>, ElfError> {
        Symbols::read(bytes)
    }

    fn readelf(options: &str, path: &Path) -> String {
        let output = Command::new("readelf").args(["-W", options]).arg(path).output().unwrap();
        // Its word for a unique symbol, where the file does not say that it is for GNU.
        String::from_utf8_lossy(&output.stdout).replace("<OS specific>: 10", "UNIQUE")
    }

    /// The output of `readelf` for a file, brought into our shape.
    fn shown(path: &Path) -> Symbols {
        let versions = readelf("-V", path);
        let needs = versions.split("Version needs section").nth(1).unwrap_or_default();
        let (mut owners, mut file) = (BTreeMap::new(), "");
        for words in needs.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()) {
            let after = |label: &str| words.iter().skip_while(|word| **word != label).nth(1).copied();
            file = after("File:").unwrap_or(file);
            if after("Name:").is_some() {
                owners.insert(after("Version:").unwrap(), file);
            }
        }
        let mut symbols = Symbols::default();
        for line in readelf("--dyn-syms", path).lines() {
            let words: Vec<_> = line.split_whitespace().filter(|word| !word.starts_with('[')).collect();
            let [_, _, _, kind, binding, visibility, section, name, version @ ..] = &*words else { continue };
            if *section == "UND" && *binding == "GLOBAL" {
                let number = version.first().map(|version| version.trim_matches(['(', ')']));
                let Some(owner) = number.and_then(|number| owners.get(number)) else { continue };
                let name = name.split('@').next().unwrap().to_owned();
                symbols.undefined.entry((*owner).to_owned()).or_default().insert(name);
            } else if matches!(*binding, "GLOBAL" | "WEAK" | "UNIQUE")
                && *section != "UND"
                && !matches!(*kind, "SECTION" | "FILE")
                && matches!(*visibility, "DEFAULT" | "PROTECTED")
                && (name.contains('@') || *section == "ABS")
            // The latter are the versions themselves.
            {
                symbols.defined.insert(name.split('@').next().unwrap().to_owned());
            }
        }
        symbols
    }

    #[test]
    fn reads_of_every_library_what_readelf_shows() {
        let (mut seen, mut owners) = (0, 0);
        for path in libraries() {
            let bytes = std::fs::read(&path).unwrap();
            let symbols = read(&bytes).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            let Some(symbols) = symbols else { continue };
            assert_eq!(symbols, shown(&path), "{path:?}");
            seen += 1;
            owners += symbols.undefined.len();
        }
        assert!(seen == 0 || (seen > 50 && owners > seen), "{seen} libraries, {owners} owners");
    }

    #[test]
    fn reads_the_same_through_section_headers() {
        let mut same = 0;
        for path in libraries() {
            let bytes = std::fs::read(&path).unwrap();
            let Some(linkage) = read_with(&*bytes, crate::elf::sections::parse).unwrap() else { continue };
            let dynamic = crate::elf::dynamic::read(&*bytes).unwrap().unwrap().dynamic.unwrap();
            assert_eq!(Some(linkage.symbols), read(&bytes).unwrap(), "{path:?}");
            let mut needed: BTreeSet<_> = dynamic.needed.into_iter().collect();
            match linkage.soname {
                Some(soname) => assert_eq!(Some(soname), dynamic.soname, "{path:?}"),
                None => needed.extend(dynamic.soname),
            }
            // A library that is needed and names a symbol shares its name with it.
            assert_eq!(linkage.needed, needed, "{path:?}");
            same += 1;
        }
        assert!(same == 0 || same > 50, "{same} libraries");
    }

    #[test]
    fn tells_whose_an_undefined_symbol_is() {
        let Some(bytes) = library("libz.so.1.") else { return };
        let symbols = read(&bytes).unwrap().unwrap();
        assert!(symbols.defined.contains("inflateReset2"));
        assert!(!symbols.defined.contains("inflate"), "it has no version");
        assert!(symbols.undefined["libc.so.6"].contains("malloc"));
        assert!(!symbols.undefined.values().any(|names| names.contains("__cxa_finalize")), "it is weak");
    }

    #[test]
    fn sees_in_a_stream_what_a_seekable_file_shows() {
        let (mut seen, mut rounds) = (0, 0);
        for path in libraries() {
            let bytes = std::fs::read(&path).unwrap();
            let mut probe = Probe::linking_with_symbols(bytes.len() as u64);
            bytes.chunks(32 << 10).for_each(|chunk| probe.update(chunk));
            let (told, more) = supply(probe.finish().unwrap(), &bytes);
            let expected = read(&bytes).unwrap().zip(crate::elf::dynamic::read(&*bytes).unwrap());
            let told = told.map(|linked| (linked.symbols.unwrap_or_default(), linked.object.elf));
            assert_eq!(told, expected, "{path:?}");
            seen += 1;
            rounds += more;
        }
        assert!(rounds * 10 <= seen, "{rounds} more rounds for {seen} libraries");
    }

    /// Hands over what is missing until nothing is, and counts how often.
    fn supply(mut outcome: Outcome, bytes: &[u8]) -> (Option<Linked>, usize) {
        for rounds in 0..20 {
            let mut incomplete = match outcome {
                Outcome::Incomplete(incomplete) => incomplete,
                Outcome::Elf(facts) => return (Some(facts), rounds),
                Outcome::NotElf => return (None, rounds),
            };
            for range in incomplete.missing().to_vec() {
                incomplete.supply(range.start, &bytes[range.start as usize..range.end as usize]);
            }
            outcome = incomplete.finish().unwrap();
        }
        panic!("asks for parts again and again")
    }

    #[test]
    fn survives_every_kind_of_damage() {
        let Some(bytes) = library("libz.so.1.") else { return };
        let mut state = 1_u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let tables = bytes.len().min(16 << 10);
        for _ in 0..2_000 {
            let mut damaged = bytes.clone();
            for _ in 0..=random(8) {
                let at = random(tables);
                damaged[at] = [0, 1, 0x7f, 0x80, 0xff, random(256) as u8][random(6)];
            }
            if random(4) == 0 {
                damaged.truncate(random(bytes.len()));
            }
            // Whether it reads depends on the bytes; that it returns, in bounded memory, is the promise.
            let _ = read(&damaged);
        }
    }

    fn number(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    /// The offset of the value of a dynamic entry in a 64-bit library.
    fn value(bytes: &[u8], tag: u64) -> usize {
        let segment = (0..usize::from(bytes[56])).map(|index| 64 + 56 * index).find(|at| bytes[*at] == 2);
        let start = number(bytes, segment.unwrap() + 8) as usize;
        (start..).step_by(16).find(|at| number(bytes, *at) == tag).unwrap() + 8
    }

    fn patch(bytes: &mut [u8], tag: u64, new: u64) {
        let at = value(bytes, tag);
        bytes[at..at + 8].copy_from_slice(&new.to_le_bytes());
    }

    #[test]
    fn says_what_is_wrong_with_damaged_tables() {
        let Some(whole) = library("libz.so.1.") else { return };
        let check = |change: &dyn Fn(&mut [u8]), expected: &str| {
            let mut bytes = whole.clone();
            change(&mut bytes);
            let error = read(&bytes).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert!(error.hint().is_some(), "{error}");
        };
        let address = |tag| number(&whole, value(&whole, tag)) as usize;
        let (hash, needs) = (address(DT_GNU_HASH), address(DT_VERNEED));
        check(&|bytes| patch(bytes, DT_SYMTAB, 1 << 40), "its symbol table is at address 0x10000000000");
        check(&|bytes| patch(bytes, DT_STRSZ, 1 << 40), "its names is");
        check(&|bytes| patch(bytes, DT_STRSZ, 1), "does not end within the table");
        check(&|bytes| bytes[hash..hash + 4].fill(0xff), "its hash table is");
        check(&|bytes| bytes[hash + 4..hash + 8].fill(0xff), "its hash table counts from symbol 4294967295");
        check(&|bytes| bytes[needs + 8..needs + 12].fill(0xff), "its version needs is");
        // Needs that lead into each other end somewhere, whether or not that makes sense.
        let cyclic = |bytes: &mut [u8]| {
            patch(bytes, DT_VERNEEDNUM, u64::MAX);
            bytes[needs + 2..needs + 4].fill(0xff);
            bytes[needs + 12..needs + 16].copy_from_slice(&1_u32.to_le_bytes());
        };
        let mut bytes = whole.clone();
        cyclic(&mut bytes);
        let _ = read(&bytes);
    }
}
