//! The shared libraries in a wheel, without reading all of it.
//!
//! A library of 400 MB tells its names and symbols in some ten kilobytes, which linkers put at its beginning and
//! `patchelf` at its end; the dynamic section, which says where they are, is near the end. A member of a wheel is one
//! DEFLATE stream, which can be inflated from its beginning as far as needed, and its end with [`crate::deflate`].

use std::ops::Range;

use flate2::{Decompress, FlushDecompress, Status};
use rawzip::CompressionMethod;

use super::wheel::{OpenMember, Outline, Wheel, WheelError};
use super::zip::Bytes;
use crate::cuda;
use crate::deflate::{Tail, UNKNOWN};
use crate::elf::{Elf, Incomplete, Linkage, Machine, Outcome, Symbols};

/// The bytes of a member's beginning that are read first, as stored; and of its end.
const FIRST: u64 = 128 << 10;
/// The distance from either end of a stream, in bytes as stored, within which the dynamic section is worth reading.
const DEEP: u64 = 8 << 20;
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
    let member = wheel.member(path, FIRST)?;
    match member.learn(Incomplete::with_symbols(member.size)) {
        Ok(facts) => Ok(facts.and_then(LibraryOutline::of_facts)),
        Err(WheelError::TooDeep { .. }) => match member.learn(Incomplete::from_sections(member.size))? {
            Some(linkage) => Ok(Some(LibraryOutline::of_linkage(linkage, path))),
            None => Err(WheelError::TooDeep { path: path.to_owned() }),
        },
        Err(error) => Err(error),
    }
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
    let member = wheel.member(path, FIRST)?;
    let facts = member.learn(Incomplete::without_symbols(member.size))?;
    Ok(facts.and_then(|elf| {
        let dynamic = elf.dynamic?;
        Some(LoaderNames {
            machine: Some(elf.machine),
            soname: dynamic.soname,
            needed: dynamic.needed,
            search: dynamic.runpath.or(dynamic.rpath).unwrap_or_default(),
        })
    }))
}

/// The bytes, as stored, that [`read_names`] fetches of a remote file of this size.
pub fn likely_fetched(stored: u64) -> u64 {
    stored.min(2 * FIRST)
}

impl LibraryOutline {
    fn of_facts((elf, symbols): (Elf, Symbols)) -> Option<Self> {
        let dynamic = elf.dynamic?;
        Some(Self { soname: dynamic.soname, needed: dynamic.needed, symbols })
    }

    fn of_linkage(linkage: Linkage, path: &str) -> Self {
        let mut needed = linkage.needed;
        // Without versions nothing tells its SONAME from those it needs, but that no library needs itself.
        let soname = linkage.soname.or_else(|| needed.take(path.rsplit('/').next()?));
        Self { soname, needed: needed.into_iter().collect(), symbols: linkage.symbols }
    }
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
        let depth = |range: &Range<u64>| range.end.min(self.size.saturating_sub(range.start));
        let deepest = ranges.iter().map(depth).max().unwrap_or_default();
        let stored = u128::from(deepest) * u128::from(self.stored_size()) / u128::from(self.size.max(1));
        let is_far = self.method == CompressionMethod::DEFLATE && stored > u128::from(DEEP);
        match is_far && self.reader.need(self.data.clone()).is_err() {
            true => Err(WheelError::TooDeep { path: self.path.clone() }),
            false => Ok(()),
        }
    }

    /// The parts of the member at `ranges`, in order, each from the side to which it is nearer.
    fn parts(&self, ranges: &[Range<u64>]) -> Result<Vec<Part>, WheelError> {
        match self.method {
            CompressionMethod::STORE => ranges.iter().map(|range| self.stored(range)).collect(),
            CompressionMethod::DEFLATE => {
                let (first, last): (Vec<_>, Vec<_>) = ranges
                    .iter()
                    .partition(|range| self.stored_size() <= FIRST || range.end <= self.size / 2);
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
        let mut inflater = Decompress::new(false);
        let mut output = vec![0; STEP];
        let (mut input, mut used) = (Vec::new(), 0);
        while !parts.iter().all(Part::is_complete) {
            if used == input.len() {
                let start = self.data.start + inflater.total_in();
                input = self.next_stored(start)?;
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

    /// The bytes as stored from `start` on. Of what is not at hand, as much is asked for as was read so far.
    fn next_stored(&self, start: u64) -> Result<Vec<u8>, WheelError> {
        let range = start..self.data.end.min(start + STEP as u64);
        if range.is_empty() {
            return Err(self.corrupt());
        }
        if self.reader.need(range.clone()).is_err() {
            let read = start - self.data.start;
            if read >= MOST {
                return Err(WheelError::TooDeep { path: self.path.clone() });
            }
            let more = read.clamp(FIRST, MOST).max(range.end - start);
            self.reader.need(start..self.data.end.min(start + more))?;
        }
        self.bytes(range)
    }

    /// Inflates the end, from as far back as the first of `ranges`.
    fn last_parts(&self, ranges: &[&Range<u64>]) -> Result<Vec<Part>, WheelError> {
        let Some(first) = ranges.iter().map(|range| range.start).min() else { return Ok(Vec::new()) };
        let most = MOST.min(self.stored_size());
        let (mut length, mut longer) = (0, FIRST.min(most));
        while longer > length {
            self.reader.need(self.data.end - longer..self.data.end - length)?;
            length = longer;
            let bytes = self.bytes(self.data.end - length..self.data.end)?;
            let tail = Tail::find(&bytes);
            if let Some(tail) = &tail
                && let Some(parts) = self.parts_of_tail(tail, first, ranges)?
            {
                return Ok(parts);
            }
            longer = next_length(length, tail.as_ref(), self.size - first).min(most);
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
        tail: &Tail<'_>,
        first: u64,
        ranges: &[&Range<u64>],
    ) -> Result<Option<Vec<Part>>, WheelError> {
        let start = self.size.checked_sub(tail.inflated_len()).ok_or_else(|| self.corrupt())?;
        if first < start {
            return Ok(None);
        }
        let mut parts: Vec<_> = ranges.iter().copied().map(Part::of).collect();
        let mut offset = start;
        tail.inflate(|symbols| {
            for part in &mut parts {
                part.take_known(offset, symbols);
            }
            offset += symbols.len() as u64;
        });
        Ok(parts.iter().all(Part::is_complete).then_some(parts))
    }
}

/// The bytes of the end to read when the last `length` do not reach back to `wanted` inflated bytes.
fn next_length(length: u64, tail: Option<&Tail<'_>>, wanted: u64) -> u64 {
    let inflated = tail.map_or(0, Tail::inflated_len).max(1);
    // A little more than at the rate so far, which must not mislead far.
    let likely = (u128::from(length) * u128::from(wanted) / u128::from(inflated) * 9 / 8) as u64;
    likely.clamp(length + length / 2, 4 * length)
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

    #[test]
    fn asks_the_section_headers_for_what_is_too_deep() {
        let Some(mut bytes) = library("libz.so.1.") else { return };
        let expected = Symbols::read(&*bytes).unwrap().unwrap();
        // The section headers, which stand last, stay last; in between there is noise, with a dynamic section in it.
        let number =
            |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
        let headers = bytes.split_off(number(&bytes, 40));
        let segment =
            (0..usize::from(bytes[56])).map(|index| 64 + 56 * index).find(|at| bytes[*at] == 2).unwrap();
        let (start, size) = (number(&bytes, segment + 8), number(&bytes, segment + 32));
        let dynamic = bytes[start..start + size].to_vec();
        let noise = sample::noise(12 << 20);
        bytes.extend(noise.bytes());
        let deep = bytes.len() as u64;
        bytes[segment + 8..segment + 16].copy_from_slice(&deep.to_le_bytes());
        bytes.extend(dynamic);
        bytes.extend(noise.bytes().rev());
        let last = bytes.len() as u64;
        bytes[40..48].copy_from_slice(&last.to_le_bytes());
        bytes.extend(headers);
        let wheel = wheel_with(&bytes);
        let (found, fetched, _) = read_sparsely(&wheel, "demo/lib/libdemo.so.1");
        let found = found.unwrap().unwrap();
        assert_eq!(found.needed, ["libc.so.6"]);
        assert_eq!((found.soname.as_deref(), found.symbols), (Some("libz.so.1"), expected));
        assert!(fetched < 1 << 20, "{fetched}");
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
}
