//! `/etc/ld.so.cache`: where the loader finds a library by its SONAME.
//!
//! The file is, in little-endian numbers: a header of 48 bytes, an entry of 24 bytes for each library, the strings with
//! shared suffixes, and since glibc 2.33 a directory of extensions: the generator and the names of the
//! `glibc-hwcaps` subdirectories.
//!
//! The only specification is glibc: `sysdeps/generic/dl-cache.h`, `elf/cache.c` and `elf/stringtable.c` at
//! <https://sourceware.org/git/?p=glibc.git>.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};

use crate::failure::Hinted;

const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const OLD_MAGIC: &[u8] = b"ld.so-1.7.0";
const HEADER_SIZE: usize = 48;
const ENTRY_SIZE: usize = 24;
const LITTLE_ENDIAN: u8 = 2;

/// `PATH_MAX` of Linux: a cache cannot make its reader hold more for an entry.
const LONGEST_PATH: usize = 4096;
/// The most that a cache's names may take, in multiples of its size. Names share their bytes: a SONAME ends a path,
/// and a path stands for each processor; no writer shares more.
const MOST_SHARED: usize = 16;

const EXTENSION_MAGIC: u32 = 0xeaa4_2174;
const SECTION_SIZE: usize = 16;
const TAG_GENERATOR: u32 = 0;
const TAG_GLIBC_HWCAPS: u32 = 1;

/// The bit of an entry's hwcap that says: the low half is an index of a `glibc-hwcaps` name.
const HWCAP_EXTENSION: u64 = 1 << 62;
const ISA_LEVEL_SHIFT: u32 = 32;
const ISA_LEVEL_MASK: u64 = 0x3ff;

/// The cache's content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cache {
    /// In the order of the file, which is the loader's: of several libraries with one SONAME it takes the first that
    /// suits the processor.
    pub libraries: Vec<CachedLibrary>,
    /// The writer of the cache: `ldconfig (Debian GLIBC 2.36-9+deb12u10) stable release version 2.36`.
    pub generator: Option<String>,
    /// The `glibc-hwcaps` subdirectories without libraries. `ldconfig` leaves their names among the strings; nothing
    /// reads them.
    pub idle_hwcaps: BTreeSet<String>,
}

/// One library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedLibrary {
    /// The name that programs ask for.
    pub soname: String,
    /// The file to load.
    pub path: String,
    /// The kind of library and its ABI.
    pub flags: Flags,
    /// The ABI note, as [`super::Elf::abi_tag`]; 0 is none, and since 2.36 always.
    pub abi_tag: u32,
    /// The processors that can use it.
    pub hwcap: Hwcap,
}

/// The programs that can use a library: its C library and its ABI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flags(pub i32);

impl Flags {
    /// An i386 library that says nothing of its C library; before glibc 2.37.
    pub const I386_ANY: Self = Self(0x0001);
    /// An i386 library for the C library before glibc 2; before glibc 2.37.
    pub const I386_LIBC5: Self = Self(0x0002);
    /// 32-bit x86.
    pub const I386: Self = Self(0x0003);
    /// A 32-bit ARM library that suits both floating-point ABIs.
    pub const ARM_UNMARKED: Self = Self(0x0003);
    /// 64-bit x86.
    pub const X86_64: Self = Self(0x0303);
    /// 64-bit x86 with 32-bit addresses.
    pub const X32: Self = Self(0x0803);
    /// 32-bit ARM with floating-point registers.
    pub const ARM_HARD_FLOAT: Self = Self(0x0903);
    /// 64-bit ARM.
    pub const AARCH64: Self = Self(0x0a03);
    /// 32-bit ARM without floating-point registers.
    pub const ARM_SOFT_FLOAT: Self = Self(0x0b03);
}

/// The processors that can use a library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hwcap {
    /// All.
    Any,
    /// Those that suit a subdirectory of `glibc-hwcaps`, such as `x86-64-v3`, and the level that the library itself
    /// states, as [`super::Elf::isa_level`].
    Glibc {
        /// The subdirectory of `glibc-hwcaps`: `x86-64-v3`.
        name: String,
        /// The level of the x86 instruction set that it needs.
        isa_level: u32,
    },
    /// Those that have the bits of the directory's name; before glibc 2.37.
    Legacy(u64),
}

/// The reason why a cache cannot be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum CacheError {
    #[error("the cache is not of the format `glibc-ld.so.cache1.1`")]
    Format,
    #[error("the cache is for big-endian machines")]
    BigEndian,
    #[error("the cache ends within {what}")]
    Truncated { what: &'static str },
    #[error("the cache places {what} at {offset}, beyond its {size} bytes")]
    BeyondEnd { what: &'static str, offset: u64, size: usize },
    #[error("{what} at {offset} of the cache does not end within {LONGEST_PATH} bytes")]
    Unterminated { what: &'static str, offset: usize },
    #[error("the string at {offset} of the cache is not UTF-8")]
    NotUtf8 { offset: usize },
    #[error("the names of the cache, which share their bytes, would take more than {limit} bytes")]
    Names { limit: usize },
    #[error("the cache would be larger than 4 GiB")]
    TooLarge,
}

impl Hinted for CacheError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::TooLarge => None,
            _ => Some("run `ldconfig` in the image the cache comes from".to_owned()),
        }
    }
}

impl Cache {
    /// Puts libraries into the order of the cache; those it does not order keep theirs.
    pub fn sort(libraries: &mut [CachedLibrary]) {
        libraries.sort_by(order);
    }

    /// The bytes of the file.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CacheError> {
        let hwcaps: BTreeSet<&str> =
            self.libraries.iter().filter_map(|library| library.hwcap.glibc_name()).collect();
        let idle = self.idle_hwcaps.iter().map(String::as_str);
        let names = self.libraries.iter().flat_map(|library| [library.soname.as_str(), &library.path]);
        let strings = Strings::new(names.chain(hwcaps.iter().copied()).chain(idle));
        let strings_start = HEADER_SIZE + ENTRY_SIZE * self.libraries.len();
        let extensions_start = (strings_start + strings.bytes.len()).next_multiple_of(4);

        let mut out = Writer::default();
        out.bytes(MAGIC);
        out.size(self.libraries.len())?;
        out.size(strings.bytes.len())?;
        out.bytes(&[LITTLE_ENDIAN, 0, 0, 0]);
        out.size(extensions_start)?;
        out.bytes(&[0; 12]);
        for library in &self.libraries {
            out.bytes(&library.flags.0.to_le_bytes());
            out.size(strings_start + strings.offset(&library.soname))?;
            out.size(strings_start + strings.offset(&library.path))?;
            out.number(library.abi_tag);
            out.bytes(&library.hwcap.to_bits(&hwcaps).to_le_bytes());
        }
        out.bytes(&strings.bytes);
        out.0.resize(extensions_start, 0);
        let hwcaps = hwcaps.iter().map(|name| strings_start + strings.offset(name)).collect::<Vec<_>>();
        out.extensions(self.generator.as_deref().unwrap_or_default(), &hwcaps)?;
        Ok(out.0)
    }

    /// Reads a file, also one with the format of 1997 in front, which glibc before 2.32 wrote.
    pub fn parse(bytes: &[u8]) -> Result<Self, CacheError> {
        let file = CacheReader(bytes);
        let start = file.start()?;
        let cache = CacheReader(bytes.get(start..).unwrap_or_default());
        if !cache.0.starts_with(MAGIC) {
            return Err(CacheError::Format);
        }
        // 0 is unset: before 2.33 only the machine itself could tell.
        if ![0, LITTLE_ENDIAN].contains(&(cache.part("the header", 28, 1)?[0] & 3)) {
            return Err(CacheError::BigEndian);
        }
        let mut names = Names::of(bytes);
        let extensions = Extensions::parse(&file, &cache, &mut names)?;
        let count = cache.number("the header", 20)? as usize;
        let length = count.checked_mul(ENTRY_SIZE).ok_or(CacheError::Truncated { what: "the entries" })?;
        let entries = cache.part("the entries", HEADER_SIZE, length)?;
        let libraries = entries
            .chunks_exact(ENTRY_SIZE)
            .map(|entry| library(&CacheReader(entry), &cache, &extensions.hwcaps, &mut names))
            .collect::<Result<_, _>>()?;
        Ok(Self { libraries, generator: extensions.generator, idle_hwcaps: BTreeSet::new() })
    }
}

impl Hwcap {
    fn glibc_name(&self) -> Option<&str> {
        match self {
            Self::Glibc { name, .. } => Some(name),
            Self::Any | Self::Legacy(_) => None,
        }
    }

    fn legacy_bits(&self) -> u64 {
        match self {
            Self::Legacy(bits) => *bits,
            Self::Any | Self::Glibc { .. } => 0,
        }
    }

    fn to_bits(&self, names: &BTreeSet<&str>) -> u64 {
        match self {
            Self::Any => 0,
            Self::Legacy(bits) => *bits,
            Self::Glibc { name, isa_level } => {
                let index = names.iter().take_while(|other| **other < name.as_str()).count() as u64;
                HWCAP_EXTENSION | (u64::from(*isa_level) & ISA_LEVEL_MASK) << ISA_LEVEL_SHIFT | index
            }
        }
    }

    fn from_bits(bits: u64, names: &[String]) -> Self {
        let extension = bits >> ISA_LEVEL_SHIFT & !ISA_LEVEL_MASK == HWCAP_EXTENSION >> ISA_LEVEL_SHIFT;
        let name = names.get((bits & u64::from(u32::MAX)) as usize).filter(|_| extension);
        match name {
            Some(name) => Self::Glibc {
                name: name.clone(),
                isa_level: (bits >> ISA_LEVEL_SHIFT & ISA_LEVEL_MASK) as u32,
            },
            None if bits == 0 => Self::Any,
            None => Self::Legacy(bits),
        }
    }
}

/// The cache's order: SONAMEs and flags descending; `glibc-hwcaps` before all else, since the loader stops at the first
/// entry that is none; then more particular before less.
fn order(left: &CachedLibrary, right: &CachedLibrary) -> Ordering {
    let names = compare_names(&right.soname, &left.soname);
    let flags = right.flags.cmp(&left.flags);
    let glibc = |library: &CachedLibrary| Reverse(library.hwcap.glibc_name().is_some());
    let legacy = |library: &CachedLibrary| {
        let bits = library.hwcap.legacy_bits();
        Reverse((bits.count_ones(), bits, library.abi_tag))
    };
    names
        .then(flags)
        .then_with(|| glibc(left).cmp(&glibc(right)))
        .then_with(|| left.hwcap.glibc_name().cmp(&right.hwcap.glibc_name()))
        .then_with(|| legacy(left).cmp(&legacy(right)))
}

/// Compares names of libraries as glibc does: runs of digits by their value, and behind everything else, so that
/// `libx.so.9` comes before `libx.so.10`.
pub(super) fn compare_names(left: &str, right: &str) -> Ordering {
    name_parts(left.as_bytes()).cmp(name_parts(right.as_bytes()))
}

/// A part of a library's name; the order of the variants is the order of the parts.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum NamePart {
    /// Not ASCII: glibc compares signed characters, so that these come even before the end.
    Negative(i8),
    End,
    Character(u8),
    Number(i32),
}

/// The parts of a name and its end.
fn name_parts(name: &[u8]) -> impl Iterator<Item = NamePart> {
    let mut rest = Some(name);
    std::iter::from_fn(move || {
        let bytes = rest?;
        let Some((first, tail)) = bytes.split_first() else {
            rest = None;
            return Some(NamePart::End);
        };
        let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits > 0 {
            rest = Some(&bytes[digits..]);
            // As an `int` of C does in practice, a number too large wraps around.
            let append =
                |value: i32, digit: &u8| value.wrapping_mul(10).wrapping_add(i32::from(digit - b'0'));
            return Some(NamePart::Number(bytes[..digits].iter().fold(0, append)));
        }
        rest = Some(tail);
        Some(if first.is_ascii() { NamePart::Character(*first) } else { NamePart::Negative(*first as i8) })
    })
}

/// Strings in one sequence of bytes, each ended by NUL, a string that ends another being a part of it.
struct Strings {
    bytes: Vec<u8>,
    offsets: BTreeMap<String, usize>,
}

impl Strings {
    /// Strings follow each other by their ends, in descending order: one that ends others comes right behind them.
    fn new<'a>(strings: impl Iterator<Item = &'a str>) -> Self {
        let mut strings: Vec<&str> = strings.collect::<BTreeSet<_>>().into_iter().collect();
        strings.sort_by(|left, right| right.bytes().rev().cmp(left.bytes().rev()));
        let mut bytes = Vec::new();
        let mut offsets = BTreeMap::new();
        let mut previous = "";
        for string in strings {
            if bytes.is_empty() || !previous.ends_with(string) {
                bytes.extend_from_slice(string.as_bytes());
                bytes.push(0);
            }
            // What ends the previous string ends the bytes, since that one does.
            offsets.insert(string.to_owned(), bytes.len() - 1 - string.len());
            previous = string;
        }
        Self { bytes, offsets }
    }

    fn offset(&self, string: &str) -> usize {
        self.offsets.get(string).copied().unwrap_or_default()
    }
}

/// The file being written.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn number(&mut self, number: u32) {
        self.bytes(&number.to_le_bytes());
    }

    fn size(&mut self, size: usize) -> Result<(), CacheError> {
        self.number(u32::try_from(size).map_err(|_| CacheError::TooLarge)?);
        Ok(())
    }

    /// The directory of extensions, the offsets of the `glibc-hwcaps` names if there are any, and the generator.
    fn extensions(&mut self, generator: &str, hwcaps: &[usize]) -> Result<(), CacheError> {
        let sections = if hwcaps.is_empty() { 1 } else { 2 };
        let hwcaps_start = self.0.len() + 8 + SECTION_SIZE * sections;
        self.number(EXTENSION_MAGIC);
        self.size(sections)?;
        self.section(TAG_GENERATOR, hwcaps_start + 4 * hwcaps.len(), generator.len())?;
        if !hwcaps.is_empty() {
            self.section(TAG_GLIBC_HWCAPS, hwcaps_start, 4 * hwcaps.len())?;
        }
        for offset in hwcaps {
            self.size(*offset)?;
        }
        self.bytes(generator.as_bytes());
        Ok(())
    }

    fn section(&mut self, tag: u32, offset: usize, size: usize) -> Result<(), CacheError> {
        self.number(tag);
        self.number(0);
        self.size(offset)?;
        self.size(size)
    }
}

/// A file, or a part of it, being read.
struct CacheReader<'a>(&'a [u8]);

impl<'a> CacheReader<'a> {
    /// The start of the present format: behind the format of 1997, if that is there.
    fn start(&self) -> Result<usize, CacheError> {
        if !self.0.starts_with(OLD_MAGIC) {
            return Ok(0);
        }
        // The magic is 11 bytes, aligned to 12; entries are 12 bytes; the present format is aligned to 8.
        let count = u64::from(self.number("the old header", 12)?);
        usize::try_from((16 + 12 * count).next_multiple_of(8)).map_err(|_| CacheError::Format)
    }

    fn part(&self, what: &'static str, offset: usize, length: usize) -> Result<&'a [u8], CacheError> {
        let part = offset.checked_add(length).and_then(|end| self.0.get(offset..end));
        part.ok_or(CacheError::Truncated { what })
    }

    fn number(&self, what: &'static str, offset: usize) -> Result<u32, CacheError> {
        let bytes = self.part(what, offset, 4)?;
        Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    fn string(&self, what: &'static str, offset: usize) -> Result<String, CacheError> {
        let beyond = || CacheError::BeyondEnd { what, offset: offset as u64, size: self.0.len() };
        let rest = self.0.get(offset..).ok_or_else(beyond)?;
        let end = rest.iter().take(LONGEST_PATH).position(|byte| *byte == 0);
        let length = end.ok_or(CacheError::Unterminated { what, offset })?;
        utf8(&rest[..length], offset)
    }
}

fn utf8(bytes: &[u8], offset: usize) -> Result<String, CacheError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| CacheError::NotUtf8 { offset })
}

/// The bytes that a cache's names may still take. Names share their bytes, so that a small file could have many long
/// ones.
struct Names {
    limit: usize,
    left: usize,
}

impl Names {
    fn of(file: &[u8]) -> Self {
        let limit = MOST_SHARED.saturating_mul(file.len());
        Self { limit, left: limit }
    }

    fn take(&mut self, name: &str) -> Result<(), CacheError> {
        let left = self.left.checked_sub(name.len()).ok_or(CacheError::Names { limit: self.limit })?;
        self.left = left;
        Ok(())
    }

    /// The name at `offset` of a cache.
    fn string(
        &mut self,
        cache: &CacheReader,
        what: &'static str,
        offset: usize,
    ) -> Result<String, CacheError> {
        let name = cache.string(what, offset)?;
        self.take(&name)?;
        Ok(name)
    }
}

fn library(
    entry: &CacheReader,
    cache: &CacheReader,
    hwcaps: &[String],
    names: &mut Names,
) -> Result<CachedLibrary, CacheError> {
    let number = |at| entry.number("an entry", at);
    let hwcap = Hwcap::from_bits(u64::from(number(16)?) | u64::from(number(20)?) << 32, hwcaps);
    names.take(hwcap.glibc_name().unwrap_or_default())?;
    Ok(CachedLibrary {
        flags: Flags(number(0)? as i32),
        soname: names.string(cache, "a SONAME", number(4)? as usize)?,
        path: names.string(cache, "a path", number(8)? as usize)?,
        abi_tag: number(12)?,
        hwcap,
    })
}

/// The contents of the directory of extensions.
#[derive(Default)]
struct Extensions {
    generator: Option<String>,
    hwcaps: Vec<String>,
}

impl Extensions {
    /// Offsets of extensions count from the beginning of the file, those of strings from that of the present format.
    fn parse(file: &CacheReader, cache: &CacheReader, names: &mut Names) -> Result<Self, CacheError> {
        let what = "the extensions";
        let mut extensions = Self::default();
        let start = cache.number("the header", 32)? as usize;
        if start == 0 {
            return Ok(extensions);
        }
        if file.number(what, start)? != EXTENSION_MAGIC {
            return Err(CacheError::Format);
        }
        let count = file.number(what, start + 4)? as usize;
        let length = count.checked_mul(SECTION_SIZE).ok_or(CacheError::Truncated { what })?;
        // Of several with one tag the last counts, as for the loader.
        let (mut generator, mut hwcaps) = (None, None);
        for section in file.part(what, start + 8, length)?.chunks_exact(SECTION_SIZE).map(CacheReader) {
            let [tag, offset, size] =
                [section.number(what, 0)?, section.number(what, 8)?, section.number(what, 12)?];
            let content = file.part(what, offset as usize, size as usize)?;
            match tag {
                TAG_GENERATOR => generator = Some((content, offset)),
                TAG_GLIBC_HWCAPS => hwcaps = Some(content),
                _ => {}
            }
        }
        if let Some((content, offset)) = generator {
            extensions.generator = Some(utf8(content, offset as usize)?);
        }
        for offset in hwcaps.unwrap_or_default().chunks_exact(4) {
            let offset = CacheReader(offset).number(what, 0)? as usize;
            extensions.hwcaps.push(names.string(cache, "a glibc-hwcaps name", offset)?);
        }
        Ok(extensions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(soname: &str, path: &str, flags: Flags, hwcap: Hwcap) -> CachedLibrary {
        CachedLibrary { soname: soname.to_owned(), path: path.to_owned(), flags, abi_tag: 0, hwcap }
    }

    fn cache() -> Cache {
        let v3 = Hwcap::Glibc { name: "x86-64-v3".to_owned(), isa_level: 2 };
        let mut libraries = vec![
            library("libz.so.1", "/lib/libz.so.1", Flags::X86_64, Hwcap::Any),
            library("libz.so.1", "/lib/glibc-hwcaps/x86-64-v3/libz.so.1.3", Flags::X86_64, v3),
            library("libz.so.1", "/lib/tls/libz.so.1", Flags::X86_64, Hwcap::Legacy(1 << 63)),
            library("libz.so.1", "/lib32/libz.so.1", Flags::I386, Hwcap::Any),
            library("liba.so.9", "/lib/liba.so.9", Flags::X86_64, Hwcap::Any),
            library("liba.so.10", "/lib/liba.so.10", Flags::X86_64, Hwcap::Any),
        ];
        Cache::sort(&mut libraries);
        Cache { libraries, generator: Some("test".to_owned()), idle_hwcaps: BTreeSet::new() }
    }

    #[test]
    fn lists_the_best_library_for_a_name_first_and_names_backwards() {
        let paths: Vec<String> = cache().libraries.into_iter().map(|library| library.path).collect();
        let expected = [
            "/lib/glibc-hwcaps/x86-64-v3/libz.so.1.3",
            "/lib/tls/libz.so.1",
            "/lib/libz.so.1",
            "/lib32/libz.so.1",
            "/lib/liba.so.10",
            "/lib/liba.so.9",
        ];
        assert_eq!(paths, expected);
    }

    #[test]
    fn reads_what_it_writes() {
        assert_eq!(Cache::parse(&cache().to_bytes().unwrap()), Ok(cache()));
        assert_eq!(Cache::parse(&Cache::default().to_bytes().unwrap()).unwrap().libraries, []);
    }

    #[test]
    fn survives_every_truncation_and_every_damaged_byte() {
        let bytes = cache().to_bytes().unwrap();
        for length in 0..bytes.len() {
            assert!(Cache::parse(&bytes[..length]).is_err(), "{length}");
        }
        for index in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[index] ^= 0xff;
            // Whether it reads depends on the byte; that it returns is the promise.
            let _ = Cache::parse(&damaged);
        }
    }

    /// A cache of `count` numbers in one section of `glibc-hwcaps` names, all of which lead to one name of `length` bytes.
    fn crowded(sections: usize, count: usize, length: usize) -> Vec<u8> {
        let number = |number: usize| (number as u32).to_le_bytes();
        let name = HEADER_SIZE;
        let extensions = (name + length + 1).next_multiple_of(4);
        let content = extensions + 8 + SECTION_SIZE * sections;
        let mut bytes =
            [MAGIC, &number(0), &number(length + 1), &[LITTLE_ENDIAN, 0, 0, 0], &number(extensions)].concat();
        bytes.resize(HEADER_SIZE, 0);
        bytes.resize(name + length, b'a');
        bytes.resize(extensions, 0);
        bytes.extend([EXTENSION_MAGIC.to_le_bytes(), number(sections)].concat());
        for _ in 0..sections {
            bytes.extend(
                [number(TAG_GLIBC_HWCAPS as usize), number(0), number(content), number(4 * count)].concat(),
            );
        }
        bytes.extend(number(name).repeat(count));
        bytes
    }

    #[test]
    fn names_that_share_bytes_take_no_more_than_a_multiple_of_the_file() {
        assert_eq!(
            Cache::parse(&crowded(1, 20, 4000)).map(|cache| cache.libraries),
            Err(CacheError::Names { limit: 16 * 4156 })
        );
        assert_eq!(Cache::parse(&crowded(1, 12, 4000)).map(|cache| cache.libraries), Ok(Vec::new()));
        // Of sections with one tag only one is looked into: this takes no time.
        let bytes = crowded(1 << 18, 1 << 18, 1);
        assert_eq!(Cache::parse(&bytes).map(|cache| cache.libraries), Ok(Vec::new()));
    }

    #[test]
    fn shares_the_ends_of_strings() {
        let strings = Strings::new(["b", "ab", "cab", "", "x"].into_iter());
        assert_eq!(strings.bytes, b"x\0cab\0");
        let offsets = ["x", "cab", "ab", "b", ""].map(|string| strings.offset(string));
        assert_eq!(offsets, [0, 2, 3, 4, 5]);
    }

    #[test]
    fn compares_numbers_in_names_by_value() {
        for (left, right, expected) in [
            ("libx.so.9", "libx.so.10", Ordering::Less),
            ("libx.so.01", "libx.so.1", Ordering::Equal),
            ("libx", "libx.so", Ordering::Less),
            ("lib1", "liba", Ordering::Greater),
            ("libé", "lib", Ordering::Less),
        ] {
            assert_eq!(compare_names(left, right), expected, "{left} {right}");
            assert_eq!(compare_names(right, left), expected.reverse(), "{right} {left}");
        }
    }
}
