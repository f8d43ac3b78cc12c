//! The shared libraries in a wheel, without reading all of it.
//!
//! A library of 400 MB tells its names and symbols in some ten kilobytes, which linkers put at its beginning and
//! `patchelf` at its end; the dynamic section, which says where they are, is near the end. A member of a wheel is one
//! DEFLATE stream, which can be inflated from its beginning as far as needed, and its end with [`crate::deflate`].

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::PoisonError;

use flate2::{Decompress, FlushDecompress, Status};
use rawzip::CompressionMethod;

use super::wheel::{OpenMember, Outline, Wheel, WheelError};
use super::zip::Bytes;
use crate::cuda;
use crate::deflate::{KnownEnd, Tail, UNKNOWN};
use crate::elf::{Elf, Incomplete, Linkage, Machine, Outcome, Symbols, TablePlaces};

/// The bytes of a member's beginning that are read first, as stored; and of its end.
const FIRST: u64 = 128 << 10;
/// The size up to which a file is fetched as a whole, in bytes as stored: a request takes as long as so many bytes.
const SMALL: u64 = 512 << 10;
/// The distance within which the names in a binary are taken from its dynamic section in any case: the section headers lead
/// to all names in its table, and tools that rename what it needs leave the old ones there.
const NEAR: u64 = 4 << 20;
/// The distance from either end of a stream, in bytes as stored, within which anything is worth reading; an eighth of the
/// stream, where that is more.
const DEEP: u64 = 8 << 20;
/// The bytes of the end of a stream that are read, if need be, before it is given up.
const LEAST_OF_END: u64 = 1 << 20;
/// The most bytes that are read of either end, should the distance turn out to be longer.
const MOST: u64 = 32 << 20;
/// The bytes that are inflated at once.
const STEP: usize = 64 << 10;
/// More rounds than a library needs, whose parts are found one after the other.
const MOST_ROUNDS: usize = 1 << 10;

/// The paths in a wheel of the files that are named as shared libraries are.
pub fn paths(outline: &Outline) -> impl Iterator<Item = &str> {
    let paths = outline.entries.iter().map(|entry| entry.path.as_str());
    paths.filter(|path| path.rsplit('/').next().and_then(cuda::library_stem).is_some())
}

/// The names, needs and symbols of a library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibraryOutline {
    /// Its SONAME, where it has one.
    pub soname: Option<String>,
    /// In the loader's order, unless the dynamic section is too deep within the file to be read: then sorted.
    pub needed: Vec<String>,
    /// Its dynamic symbols.
    pub symbols: Symbols,
}

/// Reads the library at `path`; `None` when it is not ELF, or nothing that the loader links.
///
/// Of a wheel that is not all at hand it says with [`WheelError::Missing`] what to fetch, and with
/// [`WheelError::TooDeep`] that fetching it in parts is not worth while.
pub fn read<R: Bytes>(wheel: &Wheel<R>, path: &str) -> Result<Option<LibraryOutline>, WheelError> {
    let member = wheel.member(path, fetched_first)?;
    member.learn_by(FIRST, Incomplete::with_symbols, LibraryOutline::of_facts, |linkage| {
        LibraryOutline::of_linkage(linkage, path)
    })
}

/// The names in a binary by which the loader finds libraries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoaderNames {
    /// The processor that it is for, where that is known.
    pub machine: Option<Machine>,
    /// Its SONAME, where it has one.
    pub soname: Option<String>,
    /// As in [`LibraryOutline`].
    pub needed: Vec<String>,
    /// The directories of RUNPATH, or else RPATH, separated by `:`.
    pub search: String,
}

/// Reads the names in the binary at `path` alone, as [`read`] does.
pub fn read_names<R: Bytes>(wheel: &Wheel<R>, path: &str) -> Result<Option<LoaderNames>, WheelError> {
    let member = wheel.member(path, fetched_first)?;
    member.learn_by(NEAR, Incomplete::without_symbols, LoaderNames::of_facts, |linkage| {
        LoaderNames::of_linkage(&linkage, path)
    })
}

/// The bytes, as stored, that [`read_names`] fetches of a remote file of this size.
pub fn likely_fetched(stored: u64) -> u64 {
    if stored <= SMALL { stored } else { 2 * FIRST }
}

/// The bytes, as stored, of the beginning of a file of this size that are fetched at once.
fn fetched_first(stored: u64) -> u64 {
    if stored <= SMALL { stored } else { FIRST }
}

impl LibraryOutline {
    fn of_facts((elf, symbols): (Elf, Symbols)) -> Option<Self> {
        let dynamic = elf.dynamic?;
        Some(Self { soname: dynamic.soname, needed: dynamic.needed, symbols })
    }

    fn of_linkage(linkage: Linkage, path: &str) -> Self {
        let LoaderNames { soname, needed, .. } = LoaderNames::of_linkage(&linkage, path);
        Self { soname, needed, symbols: linkage.symbols }
    }
}

impl LoaderNames {
    fn of_facts(elf: Elf) -> Option<Self> {
        let dynamic = elf.dynamic?;
        Some(Self {
            machine: Some(elf.machine),
            soname: dynamic.soname,
            needed: dynamic.needed,
            search: dynamic.runpath.or(dynamic.rpath).unwrap_or_default(),
        })
    }

    fn of_linkage(linkage: &Linkage, path: &str) -> Self {
        let mut needed = linkage.needed.clone();
        // Without versions nothing tells its SONAME from those it needs, but that no library needs itself.
        let own = || {
            let stem = path.rsplit('/').next().and_then(cuda::library_stem)?;
            linkage.needed.iter().find(|name| cuda::library_stem(name) == Some(stem))
        };
        let soname = linkage.soname.clone().or_else(|| needed.take(own()?));
        forget_replaced(&mut needed);
        let search = linkage.search.clone();
        Self { machine: Some(linkage.machine), soname, needed: needed.into_iter().collect(), search }
    }
}

/// Forgets the names in whose place `auditwheel` put others, and which stay in the table of strings: `libfoo.so.1` beside
/// `libfoo-1a2b3c4d.so.1.2.3`.
fn forget_replaced(needed: &mut BTreeSet<String>) {
    let original = |name: &String| {
        let (stem, digits) = cuda::library_stem(name)?.rsplit_once('-')?;
        let is_digest = digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_digest.then(|| stem.to_owned())
    };
    let replaced: BTreeSet<String> = needed.iter().filter_map(original).collect();
    needed.retain(|name| !cuda::library_stem(name).is_some_and(|stem| replaced.contains(stem)));
}

/// A part of a member, unpacked.
struct Part {
    range: Range<u64>,
    bytes: Vec<u8>,
}

impl Part {
    fn of(range: &Range<u64>) -> Self {
        Self { range: range.clone(), bytes: Vec::new() }
    }

    /// Takes what belongs to the part from bytes that begin at `offset` and follow those before.
    fn take(&mut self, offset: u64, bytes: &[u8]) {
        let within = self.range.start.max(offset)..self.range.end.min(offset + bytes.len() as u64);
        if within.start < within.end {
            let within = (within.start - offset) as usize..(within.end - offset) as usize;
            self.bytes.extend_from_slice(&bytes[within]);
        }
    }

    /// The same for bytes of which some are [`UNKNOWN`]: a part that has one stays incomplete.
    fn take_known(&mut self, offset: u64, symbols: &[u16]) {
        let end = offset + symbols.len() as u64;
        let within = self.range.start.clamp(offset, end)..self.range.end.clamp(offset, end);
        let symbols = &symbols[(within.start - offset) as usize..(within.end - offset) as usize];
        self.bytes.extend(symbols.iter().filter(|symbol| **symbol != UNKNOWN).map(|symbol| *symbol as u8));
    }

    fn is_complete(&self) -> bool {
        self.bytes.len() as u64 == self.range.end - self.range.start
    }
}

impl<R: Bytes> OpenMember<'_, R> {
    /// Learns from the dynamic section, or from the section headers where it is farther than `near` from both ends of the
    /// stream and they are not: to reach what is deep within costs several times as much as all else.
    fn learn_by<F, T>(
        &self,
        near: u64,
        by_dynamic: impl Fn(u64) -> Incomplete<F>,
        of_facts: impl Fn(F) -> Option<T>,
        of_linkage: impl Fn(Linkage) -> T,
    ) -> Result<Option<T>, WheelError> {
        if self.reader.need(self.data.clone()).is_err() && self.has_nearer_sections(near)? {
            match self.learn(Incomplete::from_sections(self.size)) {
                // The loader does not read them: they may be none.
                Ok(None) | Err(WheelError::TooDeep { .. } | WheelError::Library { .. }) => {}
                learnt => return Ok(learnt?.map(of_linkage)),
            }
        }
        Ok(self.learn(by_dynamic(self.size))?.and_then(of_facts))
    }

    /// Returns whether the dynamic section is deeper within the stream than `near`, and than the section headers by far.
    fn has_nearer_sections(&self, near: u64) -> Result<bool, WheelError> {
        let places = self.learn(Incomplete::places(self.size))?;
        let Some(TablePlaces { dynamic: Some(dynamic), sections: Some(sections) }) = places else {
            return Ok(false);
        };
        let depth = self.stored_depth(&dynamic);
        Ok(depth > u128::from(near) && self.stored_depth(&sections) < depth / 2)
    }

    /// Hands over what is missing until nothing is; `None` when it is not ELF.
    fn learn<T>(&self, mut incomplete: Incomplete<T>) -> Result<Option<T>, WheelError> {
        let unsound = |source| WheelError::Library { path: self.path.clone(), source };
        for _ in 0..MOST_ROUNDS {
            self.within_reach(incomplete.missing())?;
            for part in self.parts(incomplete.missing())? {
                incomplete.supply(part.range.start, &part.bytes);
            }
            match incomplete.finish().map_err(unsound)? {
                Outcome::NotElf => return Ok(None),
                Outcome::Elf(facts) => return Ok(Some(facts)),
                Outcome::Incomplete(more) => incomplete = more,
            }
        }
        Err(self.corrupt())
    }

    /// Refuses what is not at hand and probably far from both ends of the stream.
    fn within_reach(&self, ranges: &[Range<u64>]) -> Result<(), WheelError> {
        let deepest = ranges.iter().map(|range| self.stored_depth(range)).max().unwrap_or_default();
        let deep = (self.stored_size() / 8).clamp(DEEP, MOST);
        let is_far = self.method == CompressionMethod::DEFLATE && deepest > u128::from(deep);
        match is_far && self.reader.need(self.data.clone()).is_err() {
            true => Err(WheelError::TooDeep { path: self.path.clone() }),
            false => Ok(()),
        }
    }

    /// The likely distance of a part from the nearer end of the stream, in bytes as stored.
    fn stored_depth(&self, range: &Range<u64>) -> u128 {
        let depth = range.end.min(self.size.saturating_sub(range.start));
        u128::from(depth) * u128::from(self.stored_size()) / u128::from(self.size.max(1))
    }

    /// The parts of the member at `ranges`, in order, each from the side to which it is nearer.
    fn parts(&self, ranges: &[Range<u64>]) -> Result<Vec<Part>, WheelError> {
        match self.method {
            CompressionMethod::STORE => ranges.iter().map(|range| self.stored(range)).collect(),
            CompressionMethod::DEFLATE => {
                let (first, last): (Vec<_>, Vec<_>) = ranges
                    .iter()
                    .partition(|range| self.stored_size() <= SMALL || range.end <= self.size / 2);
                let mut parts = self.first_parts(&first)?;
                parts.extend(self.last_parts(&last)?);
                Ok(parts)
            }
            method => Err(WheelError::Method { path: self.path.clone(), method }),
        }
    }

    fn stored_size(&self) -> u64 {
        self.data.end - self.data.start
    }

    fn corrupt(&self) -> WheelError {
        WheelError::Corrupt { path: self.path.clone() }
    }

    fn stored(&self, range: &Range<u64>) -> Result<Part, WheelError> {
        let at = self.data.start.saturating_add(range.start)..self.data.start.saturating_add(range.end);
        if at.end > self.data.end {
            return Err(self.corrupt());
        }
        self.reader.need(at.clone())?;
        Ok(Part { range: range.clone(), bytes: self.bytes(at)? })
    }

    /// Bytes of the archive that are at hand.
    fn bytes(&self, range: Range<u64>) -> Result<Vec<u8>, WheelError> {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        self.reader.read_exact_at(&mut bytes, range.start).map_err(WheelError::Read)?;
        Ok(bytes)
    }

    /// Inflates from the beginning as far as the last of `ranges`.
    fn first_parts(&self, ranges: &[&Range<u64>]) -> Result<Vec<Part>, WheelError> {
        let mut parts: Vec<_> = ranges.iter().copied().map(Part::of).collect();
        let last = ranges.iter().map(|range| range.end).max().unwrap_or_default();
        let likely = self.data.start + self.likely_stored(last);
        let mut inflater = Decompress::new(false);
        let mut output = vec![0; STEP];
        let (mut input, mut used) = (Vec::new(), 0);
        while !parts.iter().all(Part::is_complete) {
            if used == input.len() {
                let start = self.data.start + inflater.total_in();
                input = self.next_stored(start, likely)?;
                used = 0;
            }
            let (before_in, before_out) = (inflater.total_in(), inflater.total_out());
            let status = inflater
                .decompress(&input[used..], &mut output, FlushDecompress::None)
                .map_err(|_| self.corrupt())?;
            let (read, written) = (inflater.total_in() - before_in, inflater.total_out() - before_out);
            used += read as usize;
            parts.iter_mut().for_each(|part| part.take(before_out, &output[..written as usize]));
            let ended = status == Status::StreamEnd || read + written == 0;
            if ended && !parts.iter().all(Part::is_complete) {
                return Err(self.corrupt());
            }
        }
        Ok(parts)
    }

    /// The bytes as stored of the first or last `inflated` ones, and a little more, at the rate of the whole stream.
    fn likely_stored(&self, inflated: u64) -> u64 {
        let size = u128::from(self.size.max(1));
        let likely = (u128::from(inflated) * u128::from(self.stored_size()) / size * 9 / 8) as u64;
        likely.max(FIRST).min(self.stored_size())
    }

    /// The bytes as stored from `start` on. What is not at hand is asked for up to the `likely` end of what is wanted, and
    /// beyond, should that be farther, as much as was read so far.
    fn next_stored(&self, start: u64, likely: u64) -> Result<Vec<u8>, WheelError> {
        let range = start..self.data.end.min(start + STEP as u64);
        if range.is_empty() {
            return Err(self.corrupt());
        }
        if self.reader.need(range.clone()).is_err() {
            let read = start - self.data.start;
            if read >= MOST {
                return Err(WheelError::TooDeep { path: self.path.clone() });
            }
            let more = likely.saturating_sub(start).max(read).clamp(FIRST, MOST).max(range.end - start);
            self.reader.need(start..self.data.end.min(start + more))?;
        }
        self.bytes(range)
    }

    /// Inflates the end, from as far back as the first of `ranges`.
    fn last_parts(&self, ranges: &[&Range<u64>]) -> Result<Vec<Part>, WheelError> {
        let Some(first) = ranges.iter().map(|range| range.start).min() else { return Ok(Vec::new()) };
        let likely = self.likely_stored(self.size - first);
        // Beyond that, what is unknown is a copy of a copy of what is far before, as zeros often are. Of a file that is all
        // at hand the beginning takes less time.
        let most = match self.reader.need(self.data.clone()) {
            Ok(()) => LEAST_OF_END,
            Err(_) => likely.saturating_mul(4).clamp(LEAST_OF_END, MOST),
        };
        let most = most.min(self.stored_size());
        let mut known = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(tail) = &known.tail
                && let Some(parts) = self.parts_of_tail(tail, first, ranges)?
            {
                return Ok(parts);
            }
            let length = match known.length {
                0 => likely.min(LEAST_OF_END),
                _ => next_length(&known, self.size - first),
            };
            let length = length.min(most);
            if length <= known.length {
                break;
            }
            self.reader.need(self.data.end - length..self.data.end - known.length)?;
            let bytes = self.bytes(self.data.end - length..self.data.end)?;
            *known = KnownEnd { length, tail: Tail::find(&bytes) };
        }
        // Some streams cannot be inflated from within, such as one that is a single block.
        match self.reader.need(self.data.clone()) {
            Ok(()) => self.first_parts(ranges),
            Err(_) => Err(WheelError::TooDeep { path: self.path.clone() }),
        }
    }

    /// The parts at `ranges`, the first of which begins at `first`; `None` when some of it is before the tail, or
    /// copied from there.
    fn parts_of_tail(
        &self,
        tail: &Tail,
        first: u64,
        ranges: &[&Range<u64>],
    ) -> Result<Option<Vec<Part>>, WheelError> {
        let length = tail.symbols().len() as u64;
        let start = self.size.checked_sub(length).ok_or_else(|| self.corrupt())?;
        if first < start {
            return Ok(None);
        }
        let mut parts: Vec<_> = ranges.iter().copied().map(Part::of).collect();
        parts.iter_mut().for_each(|part| part.take_known(start, tail.symbols()));
        Ok(parts.iter().all(Part::is_complete).then_some(parts))
    }
}

/// The bytes of the end to read when those known do not reach back to `wanted` inflated bytes.
fn next_length(known: &KnownEnd, wanted: u64) -> u64 {
    let length = known.length;
    let inflated = known.tail.as_ref().map_or(1, |tail| tail.symbols().len().max(1));
    // A little more than at the rate so far, which must not mislead far.
    let likely = (u128::from(length) * u128::from(wanted) / inflated as u128 * 9 / 8) as u64;
    likely.clamp(2 * length, 4 * length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::dynamic;
    use crate::failure::Hinted;
    use crate::pypa::wheel::sample;
    use crate::pypa::zip::Sparse;

    /// One of this machine's libraries.
    fn library(name: &str) -> Option<Vec<u8>> {
        let entries = std::fs::read_dir("/usr/lib/x86_64-linux-gnu").ok()?;
        let paths = entries.map(|entry| entry.unwrap().path());
        let path =
            paths.into_iter().find(|path| path.file_name().unwrap().to_string_lossy().starts_with(name));
        if path.is_none() {
            eprintln!("skipped: this machine has no {name}");
        }
        Some(std::fs::read(path?).unwrap())
    }

    type Told = Result<Option<LibraryOutline>, WheelError>;

    /// Reads the library at `path` of a remote wheel; also tells how many bytes were fetched in how many parts.
    fn read_sparsely(wheel: &[u8], path: &str) -> (Told, u64, usize) {
        let mut sparse = Sparse::new(wheel.len() as u64);
        let mut fetched = 0;
        for parts in 0..50 {
            match Wheel::open(&sparse).and_then(|wheel| read(&wheel, path)) {
                Err(WheelError::Missing { range }) => {
                    fetched += range.end - range.start;
                    sparse.add(range.start, wheel[range.start as usize..range.end as usize].to_vec());
                }
                result => return (result, fetched, parts),
            }
        }
        panic!("asks for parts again and again")
    }

    /// A wheel with a library between members that do not compress.
    fn wheel_with(library: &[u8]) -> Vec<u8> {
        let noise = sample::noise(400_000);
        let files = [("a", noise.as_bytes()), ("demo/lib/libdemo.so.1", library), ("z", noise.as_bytes())];
        sample::zip_of_bytes(&files)
    }

    /// Returns whether a part of a wheel tells of a library what all of it does, from at most so many bytes.
    #[track_caller]
    fn check(name: &str, most: u64) {
        let Some(bytes) = library(name) else { return };
        let facts = dynamic::read(&*bytes).unwrap().zip(Symbols::read(&*bytes).unwrap());
        let expected = facts.and_then(LibraryOutline::of_facts);
        let wheel = wheel_with(&bytes);
        let (found, fetched, parts) = read_sparsely(&wheel, "demo/lib/libdemo.so.1");
        assert_eq!(found.unwrap(), expected);
        assert!(fetched <= most, "{fetched} of {} bytes in {parts} parts", wheel.len());
    }

    #[test]
    fn reads_a_library_from_parts_of_its_wheel() {
        check("libz.so.1.", 250_000);
        check("libcrypto.so.3", 1_100_000);
        check("libstdc++.so.6.0", 800_000);
    }

    /// A library whose dynamic section is between `depth` bytes of noise on either side; its section headers stay last.
    fn buried(mut bytes: Vec<u8>, depth: usize) -> Vec<u8> {
        let number =
            |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
        let headers = bytes.split_off(number(&bytes, 40));
        let segment =
            (0..usize::from(bytes[56])).map(|index| 64 + 56 * index).find(|at| bytes[*at] == 2).unwrap();
        let (start, size) = (number(&bytes, segment + 8), number(&bytes, segment + 32));
        let dynamic = bytes[start..start + size].to_vec();
        let noise = sample::noise(depth);
        bytes.extend(noise.bytes());
        let deep = bytes.len() as u64;
        bytes[segment + 8..segment + 16].copy_from_slice(&deep.to_le_bytes());
        bytes.extend(dynamic);
        bytes.extend(noise.bytes().rev());
        let last = bytes.len() as u64;
        bytes[40..48].copy_from_slice(&last.to_le_bytes());
        bytes.extend(headers);
        bytes
    }

    #[test]
    fn asks_the_section_headers_for_what_is_too_deep() {
        let Some(bytes) = library("libz.so.1.") else { return };
        let expected = Symbols::read(&*bytes).unwrap().unwrap();
        let wheel = wheel_with(&buried(bytes, 12 << 20));
        let (found, fetched, _) = read_sparsely(&wheel, "demo/lib/libdemo.so.1");
        let found = found.unwrap().unwrap();
        assert_eq!(found.needed, ["libc.so.6"]);
        assert_eq!((found.soname.as_deref(), found.symbols), (Some("libz.so.1"), expected));
        assert!(fetched < 1 << 20, "{fetched}");
    }

    #[test]
    fn section_headers_that_are_none_are_left_as_the_loader_leaves_them() {
        let Some(bytes) = library("libz.so.1.") else { return };
        let mut bytes = buried(bytes, 1 << 20);
        let start = u64::from_le_bytes(bytes[40..48].try_into().unwrap()) as usize;
        for broken in [0xff, 0x00] {
            bytes[start..].fill(broken);
            let (found, _, _) = read_sparsely(&wheel_with(&bytes), "demo/lib/libdemo.so.1");
            let found = found.unwrap().unwrap();
            assert_eq!(
                (found.soname.as_deref(), found.needed),
                (Some("libz.so.1"), vec!["libc.so.6".into()])
            );
        }
    }

    #[test]
    fn reads_no_library_where_there_is_none() {
        let wheel =
            sample::zip(&[("libshort.so", "text"), ("liblong.so", "INPUT(libother.so.1) or such a script")]);
        for path in ["libshort.so", "liblong.so"] {
            assert!(matches!(read_sparsely(&wheel, path).0, Ok(None)), "{path}");
        }
        let error = read_sparsely(&wheel, "libother.so").0.unwrap_err();
        assert_eq!(error.to_string(), "it has no file `libother.so`");
    }

    #[test]
    fn refuses_a_broken_library() {
        let Some(bytes) = library("libz.so.1.") else { return };
        let check = |wheel: &[u8], expected: &str| {
            let error = read_sparsely(wheel, "demo/lib/libdemo.so.1").0.unwrap_err();
            assert_eq!(error.to_string(), expected);
            assert!(error.hint().is_some());
        };
        check(&wheel_with(&bytes[..60_000]), "its `demo/lib/libdemo.so.1` is not a sound library");
        let mut wheel = wheel_with(&bytes);
        let at = wheel.windows(9).position(|window| window == b"demo.so.1").unwrap() + 20;
        wheel[at..at + 2_000].fill(0xff);
        check(&wheel, "its `demo/lib/libdemo.so.1` is corrupt");
    }

    #[test]
    fn a_library_is_known_by_its_name() {
        let wheel = sample::zip(&[
            ("nvidia/cudnn/lib/libcudnn.so.9", ""),
            ("nvidia/cudnn/lib/libcudnn_static.a", ""),
            ("nvidia/nvshmem/lib/nvshmem_bootstrap_uid.so", ""),
            ("nvidia/cudnn/include/cudnn.h", ""),
        ]);
        let mut sparse = Sparse::new(wheel.len() as u64);
        sparse.add(0, wheel);
        let wheel = Wheel::open(&sparse).unwrap();
        let found: Vec<_> = paths(wheel.outline()).collect();
        assert_eq!(found, ["nvidia/cudnn/lib/libcudnn.so.9", "nvidia/nvshmem/lib/nvshmem_bootstrap_uid.so"]);
    }

    /// The SONAME and needs of a library at `path` with these names and no version definitions, by its section headers.
    fn told_by_sections(path: &str, names: &[&str]) -> (Option<String>, Vec<String>) {
        let linkage = Linkage {
            soname: None,
            needed: names.iter().map(ToString::to_string).collect(),
            search: String::new(),
            machine: Machine::X86_64,
            symbols: Symbols::default(),
        };
        let told = LoaderNames::of_linkage(&linkage, path);
        (told.soname, told.needed)
    }

    #[test]
    fn names_of_the_library_itself_and_replaced_ones_are_no_needs() {
        for (path, names, soname, needed) in [
            (
                "a/libnvvm.so.4.0.0",
                &["libc.so.6", "libnvvm.so.4"][..],
                Some("libnvvm.so.4"),
                &["libc.so.6"][..],
            ),
            ("a/libb.so", &["libc.so.6"], None, &["libc.so.6"]),
            (
                "a/b.abi3.so",
                &["libcudart-1a2b3c4d.so.12.4.127", "libcudart.so.12", "libx-y.so.1", "libx.so.1"],
                None,
                &["libcudart-1a2b3c4d.so.12.4.127", "libx-y.so.1", "libx.so.1"],
            ),
        ] {
            let told = told_by_sections(path, names);
            assert_eq!(told, (soname.map(str::to_owned), needed.iter().map(ToString::to_string).collect()));
        }
    }
}
