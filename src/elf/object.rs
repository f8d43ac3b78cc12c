//! Everything that the loader reads of a file to link it: [`Elf`], the versions and the symbols.
//!
//! Names of exported symbols are kept as [`symbol_hash`] alone: TensorFlow's library exports 280,000 of them, whose names
//! take 54 MB.
//!
//! * <https://gabi.xinuos.com/elf/05-symtab.html>
//! * symbol versions: <https://refspecs.linuxfoundation.org/LSB_5.0.0/LSB-Core-generic/LSB-Core-generic/symversion.html>

use serde::{Deserialize, Serialize};

use super::dynamic::{self, Elf};
use super::header::{Header, NumberFormat};
use super::names::{SymbolNames, symbol_hash};
use super::reader::PartReader;
use super::source::{ElfError, PartSource, ReadAt, Stop, read_with, utf8};
use super::strings::Lookup;
use super::symbols::{self, Symbol, SymbolFile, SymbolTables, Symbols, Tables, entry_size};

/// The most bytes of one file's tables together: those of TensorFlow take 63 MB.
pub const MOST_OBJECT_BYTES: u64 = 128 << 20;

/// The object, where the loader links it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// Its headers and dynamic section.
    pub elf: Elf,
    /// The versions it needs of other files; the loader refuses a file that lacks one.
    pub needs: Vec<VersionNeed>,
    /// The versions it defines, sorted, without the one that is its own name.
    pub defines: Vec<String>,
    /// The [`symbol_hash`] of every symbol it defines for others, sorted.
    pub exports: Vec<u64>,
    /// The undefined symbols that are not weak.
    pub imports: SymbolNames,
}

/// The facts of a file, and its [`Symbols`] where they were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linked {
    /// Its headers, versions and symbols.
    pub object: Object,
    /// The symbols by name, where they were asked for.
    pub symbols: Option<Symbols>,
}

/// One entry of the version needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct VersionNeed {
    /// The name in DT_NEEDED of the file that shall define it.
    pub file: String,
    /// The name of the version: `GLIBC_2.34`.
    pub version: String,
    /// True if the loader goes on without it: `VER_FLG_WEAK`.
    pub weak: bool,
}

impl Object {
    /// Reads a file; `None` when it is not ELF.
    pub fn read(file: &(impl ReadAt + ?Sized)) -> Result<Option<Self>, ElfError> {
        read_with(file, parse)
    }

    /// Returns whether it defines this symbol for others.
    pub fn exports(&self, hash: u64) -> bool {
        self.exports.binary_search(&hash).is_ok()
    }
}

/// Reads what `source` has of a file of `size` bytes; `None` when it is not ELF.
pub(super) fn parse(source: &impl PartSource, size: u64) -> Result<Option<Object>, Stop> {
    // What both miss is asked for at once.
    let (elf, read) = match (dynamic::parse(source, size), tables(source, size)) {
        (Err(Stop::Missing(mut names)), Err(Stop::Missing(tables))) => {
            names.extend(tables);
            return Err(Stop::Missing(names));
        }
        (elf, read) => (elf?, read?),
    };
    let Some(elf) = elf else { return Ok(None) };
    let mut object = Object {
        elf,
        needs: Vec::new(),
        defines: Vec::new(),
        exports: Vec::new(),
        imports: SymbolNames::default(),
    };
    if let Some((read, layout)) = read {
        fill(&mut object, &read, layout)?;
    }
    Ok(Some(object))
}

pub(super) fn parse_linked(source: &impl PartSource, size: u64) -> Result<Option<Linked>, Stop> {
    Ok(parse(source, size)?.map(|object| Linked { object, symbols: None }))
}

pub(super) fn parse_linked_with_symbols(source: &impl PartSource, size: u64) -> Result<Option<Linked>, Stop> {
    let Some(object) = parse(source, size)? else { return Ok(None) };
    Ok(Some(Linked { object, symbols: symbols::parse(source, size)? }))
}

/// The tables of symbols; `None` for what has none.
fn tables<S: PartSource>(source: &S, size: u64) -> Result<Option<(SymbolTables<'_, S>, NumberFormat)>, Stop> {
    let mut reader = PartReader::new(source, size, MOST_OBJECT_BYTES);
    let Some(header) = Header::read(&mut reader)? else { return Ok(None) };
    let segments = header.segments(&mut reader)?;
    let Some(section) = dynamic::dynamic_section(&segments, header.layout) else { return Ok(None) };
    let section = reader.bytes("its dynamic section", section)?;
    reader.complete()?;
    let file = SymbolFile { layout: header.layout, segments: &segments };
    let read = Tables::of(&section, header.layout).read(&file, &mut reader)?;
    Ok(read.map(|read| (read, header.layout)))
}

/// The purpose of a name in the string table.
#[derive(Clone, Copy)]
enum Purpose {
    Export,
    Import,
    /// The name of the file that has the version of this index.
    File(usize),
    Version(usize),
    Definition,
}

fn fill(
    object: &mut Object,
    read: &SymbolTables<'_, impl PartSource>,
    layout: NumberFormat,
) -> Result<(), ElfError> {
    let mut lookup = Lookup::default();
    for entry in read.symbols.chunks_exact(entry_size(layout) as usize) {
        let symbol = Symbol::new(entry, layout);
        if symbol.is_offered() {
            lookup.want(symbol.name, Purpose::Export);
        } else if symbol.is_required() {
            lookup.want(symbol.name, Purpose::Import);
        }
    }
    for (index, need) in read.needs.iter().enumerate() {
        lookup.want(need.soname, Purpose::File(index));
        lookup.want(need.name, Purpose::Version(index));
        object.needs.push(VersionNeed { file: String::new(), version: String::new(), weak: need.weak });
    }
    read.definitions.iter().for_each(|name| lookup.want(*name, Purpose::Definition));

    let mut imports = Vec::new();
    lookup.names(&read.strings, MOST_OBJECT_BYTES, |purpose, name| {
        match purpose {
            Purpose::Export => object.exports.push(symbol_hash(name)),
            Purpose::Import => imports.push(name.to_vec()),
            Purpose::File(index) => object.needs[index].file = utf8(name)?,
            Purpose::Version(index) => object.needs[index].version = utf8(name)?,
            Purpose::Definition => object.defines.push(utf8(name)?),
        }
        Ok(())
    })?;
    object.imports = SymbolNames::new(imports.iter().map(Vec::as_slice));
    object.exports.sort_unstable();
    object.exports.dedup();
    object.defines.sort_unstable();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The C library of this machine, which every test program is linked with.
    fn libc() -> Object {
        let file = std::fs::read("/lib/x86_64-linux-gnu/libc.so.6").unwrap();
        Object::read(&file[..]).unwrap().unwrap()
    }

    #[test]
    fn a_library_says_what_it_defines() {
        let libc = libc();
        assert!(libc.defines.contains(&"GLIBC_2.34".to_owned()), "{:?}", libc.defines);
        assert!(!libc.defines.contains(&"libc.so.6".to_owned()));
        for name in ["memcpy", "pthread_create", "malloc"] {
            assert!(libc.exports(symbol_hash(name.as_bytes())), "{name}");
        }
        assert!(!libc.exports(symbol_hash(b"ncclCommShrink")));
    }

    #[test]
    fn a_program_says_what_it_needs_and_finds_it() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let program = Object::read(&bytes[..]).unwrap().unwrap();
        let libc = libc();
        let of_libc: Vec<_> = program.needs.iter().filter(|need| need.file == "libc.so.6").collect();
        assert!(!of_libc.is_empty());
        assert!(of_libc.iter().all(|need| libc.defines.contains(&need.version)));
        let imports = program.imports.hashes();
        assert!(imports.contains(&symbol_hash(b"memcpy")));
        let found = imports.iter().filter(|hash| libc.exports(**hash)).count();
        assert!(found * 10 > imports.len() * 8, "{found} of {}", imports.len());
    }
}
