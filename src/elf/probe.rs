//! The facts of [`super::object`] from a stream that passes once.
//!
//! A library in a wheel is inflated while it is written into a layer, and there is no going back. Where its names are is
//! known only when its dynamic section has passed, which usually lies behind them. A [`Probe`] therefore keeps
//! what the names are nearly always in: the beginning of the file and of each loaded segment, its end (where
//! `patchelf` moves things), and what the program headers point to. Should that not suffice, [`Incomplete`] says which
//! parts to hand over.
//!
//! Asked for, the same probe also tells the [`Symbols`]: in CUDA's libraries their tables lie in the same places.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::mem;
use std::ops::Range;

use super::buffer_pool::{Buffer, BufferPool};
use super::dynamic::{self, Elf, LoadedSegment};
use super::object::{self, Linked};
use super::packed::Packed;
use super::sections::{self, Linkage, TablePlaces};
use super::source::{ElfError, PartSource, Stop};
use super::symbols::{self, Symbols};

/// The most a [`Probe`] keeps of one file before it says what else it needs, in bytes.
pub const MOST_KEPT: u64 = 4 << 20;

/// The beginning that is always kept: the headers, and the whole of a small library.
const HEAD: u64 = 64 << 10;
/// The end that is always kept.
const TAIL: u64 = 256 << 10;
/// The size in bytes from which on the parts of a file that are kept come from a [`BufferPool`].
const SHELVED: usize = 1 << 20;
/// The beginning that is kept of a loaded segment: the names of cuDNN's 450 MB lie within; those of LLVM, with its thousands
/// of exported symbols, do not.
const SEGMENT_HEAD: u64 = 1 << 20;

/// The most a [`Probe`] keeps of one file that cannot be read again, in bytes: the last segment of cuSPARSELt 0.7, where
/// `patchelf` put 27 MB of names, and 9 MB more.
pub const MOST_KEPT_ONCE: u64 = 36 << 20;
/// The bytes kept then of the first segment, where linkers put the tables: those of PyTorch take 15 MB.
const FIRST_HEAD_ONCE: u64 = 16 << 20;
/// The bytes kept then of a writable segment, such as `patchelf` moves tables into.
const WRITABLE_HEAD_ONCE: u64 = 28 << 20;

/// Reads the facts `T` of what is kept of a file of so many bytes; `None` when it is not ELF.
type Parse<T> = fn(&KeptParts, u64) -> Result<Option<T>, Stop>;

/// Reads the facts of one file as its bytes pass.
#[derive(Debug)]
pub struct Probe {
    parse: Parse<Linked>,
    size: u64,
    position: u64,
    elf: bool,
    kept: KeptParts,
    wanted: Vec<Range<u64>>,
    budget: ProbeBudget,
    shelf: Option<&'static BufferPool>,
}

/// The bytes that may be kept of one file.
#[derive(Debug, Clone, Copy)]
pub struct ProbeBudget {
    most: u64,
    first_head: u64,
    writable_head: u64,
}

impl ProbeBudget {
    /// For a file that can be read again without much ado.
    pub const SMALL: Self = Self { most: MOST_KEPT, first_head: SEGMENT_HEAD, writable_head: SEGMENT_HEAD };
    /// For a file that passes as part of a stream.
    pub const LARGE: Self =
        Self { most: MOST_KEPT_ONCE, first_head: FIRST_HEAD_ONCE, writable_head: WRITABLE_HEAD_ONCE };
}

/// The outcome of a [`Probe`] when the file has passed.
#[derive(Debug)]
pub enum Outcome<T = Linked> {
    /// It does not begin as ELF.
    NotElf,
    /// Its facts.
    Elf(T),
    /// Parts of it are missing.
    Incomplete(Incomplete<T>),
}

/// An ELF file of which more must be seen.
#[derive(Debug)]
pub struct Incomplete<T = Linked> {
    parse: Parse<T>,
    size: u64,
    kept: KeptParts,
    missing: Vec<Range<u64>>,
}

impl Probe {
    /// Expects a file of `size` bytes, of which everything is wanted that the loader links.
    pub fn linking(size: u64) -> Self {
        Self::expecting(size, object::parse_linked)
    }

    /// The same, with [`Symbols`].
    pub fn linking_with_symbols(size: u64) -> Self {
        Self::expecting(size, object::parse_linked_with_symbols)
    }

    /// The same with another budget. To be said before any byte passes.
    pub fn keeping(self, budget: ProbeBudget) -> Self {
        Self { budget, ..self }
    }

    /// The same with the budget [`ProbeBudget::LARGE`] while `shelf` has memory for it. To be said before any byte passes.
    pub fn shelved(self, shelf: &'static BufferPool) -> Self {
        Self { shelf: Some(shelf), ..self }
    }

    /// Returns whether what has passed so far begins as ELF does.
    pub fn is_elf(&self) -> bool {
        self.elf
    }

    fn expecting(size: u64, parse: Parse<Linked>) -> Self {
        Self {
            parse,
            size,
            position: 0,
            elf: true,
            kept: KeptParts {
                passed: Buffer::with_capacity(HEAD.min(size) as usize),
                ..KeptParts::default()
            },
            wanted: std::iter::once(0..HEAD.min(size)).collect(),
            budget: ProbeBudget::SMALL,
            shelf: None,
        }
    }

    /// Takes the next bytes of the file.
    pub fn update(&mut self, mut chunk: &[u8]) {
        while self.elf && !chunk.is_empty() {
            let until_head = HEAD.min(self.size).saturating_sub(self.position);
            let length = if until_head == 0 { chunk.len() } else { chunk.len().min(until_head as usize) };
            let (now, later) = chunk.split_at(length);
            self.keep_wanted(now);
            self.position += length as u64;
            chunk = later;
            if until_head > 0 {
                self.look_at_head();
            }
        }
    }

    /// The facts, or what is missing for them.
    pub fn finish(self) -> Result<Outcome, ElfError> {
        if self.elf { outcome(self.parse, self.kept, self.size) } else { Ok(Outcome::NotElf) }
    }

    fn keep_wanted(&mut self, chunk: &[u8]) {
        let end = self.position + chunk.len() as u64;
        for range in &self.wanted {
            let overlap = range.start.max(self.position)..range.end.min(end);
            if overlap.start < overlap.end {
                let within = (overlap.start - self.position) as usize..(overlap.end - self.position) as usize;
                self.kept.append(overlap.start, &chunk[within]);
            }
        }
    }

    /// Gives a file up that is not ELF; plans what to keep of the rest once the head has passed.
    fn look_at_head(&mut self) {
        self.elf = self.kept.may_begin_elf();
        if self.elf && self.position >= HEAD.min(self.size) {
            self.plan_rest();
        }
        if !self.elf {
            self.kept = KeptParts::default();
        }
    }

    /// Decides what to keep of the rest, and where.
    fn plan_rest(&mut self) {
        let planned = |budget| {
            let wanted = plan(&self.kept, self.position..self.size, budget);
            let rest: u64 = wanted.iter().map(|range| range.end - range.start).sum();
            (wanted, self.kept.passed.len() + rest as usize)
        };
        let lent = self.shelf.and_then(|shelf| {
            let (wanted, length) = planned(ProbeBudget::LARGE);
            Some((wanted, (length >= SHELVED).then(|| shelf.take(length))??))
        });
        let (wanted, mut memory) = lent.unwrap_or_else(|| {
            let (wanted, length) = planned(self.budget);
            (wanted, Buffer::with_capacity(length))
        });
        memory.extend_from_slice(&self.kept.passed);
        self.kept.passed = memory;
        self.wanted = wanted;
    }
}

impl Incomplete<(Elf, Symbols)> {
    /// A file of `size` bytes of which nothing has been seen, whose symbols are wanted too.
    pub fn with_symbols(size: u64) -> Self {
        Self::begin(with_symbols, size)
    }
}

impl Incomplete<Elf> {
    /// The same of which the headers and the dynamic section are wanted, and no symbols.
    pub fn without_symbols(size: u64) -> Self {
        Self::begin(dynamic::parse, size)
    }
}

impl Incomplete<Linkage> {
    /// The same of which the section headers are asked: for a file whose dynamic section is hard to reach, while both
    /// ends of the file are not.
    pub fn from_sections(size: u64) -> Self {
        Self::begin(sections::parse, size)
    }
}

impl Incomplete<TablePlaces> {
    /// The same of which only the places of its tables are wanted.
    pub fn places(size: u64) -> Self {
        Self::begin(sections::places, size)
    }
}

impl<T> Incomplete<T> {
    fn begin(parse: Parse<T>, size: u64) -> Self {
        let missing = std::iter::once(0..HEAD.min(size)).collect();
        Self { parse, size, kept: KeptParts::default(), missing }
    }

    /// The parts of the file to hand over, in bytes from its beginning, in order; never empty. Names lie early: in
    /// libraries of 100 MB, within the first 5.
    pub fn missing(&self) -> &[Range<u64>] {
        &self.missing
    }

    /// The number of bytes of the file that are kept, before they are packed.
    pub fn kept(&self) -> u64 {
        self.kept.packed.values().map(|part| part.len() as u64).sum()
    }

    /// Takes bytes of the file that begin at `offset`. A part may come in pieces, in order.
    pub fn supply(&mut self, offset: u64, bytes: &[u8]) {
        self.kept.supply(offset, bytes);
    }

    /// The facts, or what is still missing for them: first the program headers may be, then the dynamic section, then
    /// names. Each round is bounded, and a part once supplied is not asked for again.
    pub fn finish(self) -> Result<Outcome<T>, ElfError> {
        outcome(self.parse, self.kept, self.size)
    }
}

fn outcome<T>(parse: Parse<T>, mut kept: KeptParts, size: u64) -> Result<Outcome<T>, ElfError> {
    match parse(&kept, size) {
        Ok(None) => Ok(Outcome::NotElf),
        Ok(Some(facts)) => Ok(Outcome::Elf(facts)),
        Err(Stop::Invalid(error)) => Err(error),
        Err(Stop::Missing(ranges)) => {
            let missing = merge(ranges);
            kept.pack(&missing);
            Ok(Outcome::Incomplete(Incomplete { parse, size, kept, missing }))
        }
    }
}

/// The facts of [`dynamic`] together with the symbols. Both say at once what they miss, so that it is fetched at once.
fn with_symbols(source: &KeptParts, size: u64) -> Result<Option<(Elf, Symbols)>, Stop> {
    match (dynamic::parse(source, size), symbols::parse(source, size)) {
        (Err(Stop::Missing(mut names)), Err(Stop::Missing(tables))) => {
            names.extend(tables);
            Err(Stop::Missing(names))
        }
        (elf, symbols) => Ok(elf?.zip(symbols?)),
    }
}

/// Plans the parts to keep of the `rest` of a file whose head is `kept`: all of it where the budget allows that, or
/// else what the program headers point to, its end, and the beginnings of its segments, in this order of importance.
/// Small segments come first: `patchelf` puts what it moves into segments of their own.
fn plan(kept: &KeptParts, rest: Range<u64>, budget: ProbeBudget) -> Vec<Range<u64>> {
    let ProbeBudget { most, first_head, writable_head } = budget;
    let mut budget = most - HEAD;
    if rest.end - rest.start <= budget {
        return merge([rest]);
    }
    let mut known = dynamic::whereabouts(kept, rest.end).unwrap_or_default();
    let first = known.loaded.iter().map(|segment| segment.range.start).min();
    known.loaded.sort_by_key(|segment| segment.range.end - segment.range.start);
    let tail = rest.end.saturating_sub(TAIL)..rest.end;
    let heads = known.loaded.into_iter().map(|LoadedSegment { range: Range { start, end }, is_writable }| {
        let head = match is_writable {
            true => writable_head,
            false if Some(start) == first => first_head,
            false => SEGMENT_HEAD,
        };
        // The last step in which a table is read may lead beyond the segment.
        start..end.saturating_add(symbols::STEP).min(start.saturating_add(head))
    });
    let mut ranges = Vec::new();
    for range in known.parts.into_iter().chain([tail]).chain(heads) {
        let start = range.start.max(rest.start);
        let length = range.end.min(rest.end).saturating_sub(start).min(budget);
        if length > 0 {
            budget -= length;
            ranges.push(start..start + length);
        }
    }
    merge(ranges)
}

/// The same bytes as ranges in order, none touching another.
fn merge(ranges: impl IntoIterator<Item = Range<u64>>) -> Vec<Range<u64>> {
    let mut ranges: Vec<_> = ranges.into_iter().collect();
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// Parts of a file.
#[derive(Debug, Default)]
struct KeptParts {
    /// The parts kept as they passed, one behind the other.
    passed: Buffer,
    /// The place of each part in `passed`, by the offset of its first byte in the file.
    parts: BTreeMap<u64, Range<usize>>,
    /// The parts handed over later, and those that had passed by then, by the offset of the first byte.
    packed: BTreeMap<u64, Packed>,
}

impl KeptParts {
    /// Adds bytes that lie behind all that have passed.
    fn append(&mut self, offset: u64, bytes: &[u8]) {
        let at = self.passed.len();
        self.passed.extend_from_slice(bytes);
        match self.parts.last_entry().filter(|last| last.key() + last.get().len() as u64 == offset) {
            Some(mut last) => last.get_mut().end = self.passed.len(),
            None => drop(self.parts.insert(offset, at..self.passed.len())),
        }
    }

    /// Adds bytes in no order; those that lie behind a part become part of it.
    fn supply(&mut self, offset: u64, bytes: &[u8]) {
        match self.packed.range_mut(..=offset).next_back() {
            Some((start, part)) if start + part.len() as u64 == offset => part.extend(bytes),
            Some((start, part)) if *start == offset && part.len() >= bytes.len() => {}
            _ => {
                let mut part = Packed::default();
                part.extend(bytes);
                self.packed.insert(offset, part);
            }
        }
    }

    /// Packs what had passed, as more of the file will be there only when it is read again. What is handed over again with
    /// the rest of these ranges is given up: half of the names of TensorFlow take 24 MB.
    fn pack(&mut self, missing: &[Range<u64>]) {
        let (passed, parts) = (mem::take(&mut self.passed), mem::take(&mut self.parts));
        for (start, part) in parts {
            let end = start + part.len() as u64;
            let is_cut = |range: &&Range<u64>| range.contains(&start) || (start..end).contains(&range.start);
            let again = missing.iter().find(is_cut).filter(|range| end <= range.end);
            let left = again.map_or(part.len(), |range| range.start.saturating_sub(start) as usize);
            if left > 0 {
                self.supply(start, &passed[part.start..part.start + left]);
            }
        }
    }

    /// The part that had passed and has a byte at `offset`: its bytes from there on.
    fn passed_at(&self, offset: u64) -> Option<&[u8]> {
        let (start, part) = self.parts.range(..=offset).next_back()?;
        let bytes = self.passed[part.clone()].get(usize::try_from(offset - start).ok()?..)?;
        Some(bytes).filter(|bytes| !bytes.is_empty())
    }

    /// The part that is packed and has a byte at `offset`, and where in the part that is.
    fn packed_at(&self, offset: u64) -> Option<(&Packed, usize)> {
        let parts = self.packed.range(..=offset).rev();
        let mut parts =
            parts.map(|(start, part)| (part, usize::try_from(offset - start).unwrap_or(usize::MAX)));
        parts.find(|(part, at)| *at < part.len())
    }

    /// The number of bytes that are at hand from `offset` on, or at least how many of one part.
    fn length_at(&self, offset: u64) -> usize {
        let packed = || self.packed_at(offset).map_or(0, |(part, at)| part.len() - at);
        self.passed_at(offset).map_or_else(packed, <[u8]>::len)
    }

    fn may_begin_elf(&self) -> bool {
        let magic = b"\x7fELF";
        let head = self.passed_at(0).unwrap_or_default();
        head.starts_with(magic) || magic.starts_with(head)
    }
}

impl PartSource for KeptParts {
    fn fetch(&self, range: Range<u64>) -> io::Result<Option<Cow<'_, [u8]>>> {
        let length = (range.end - range.start) as usize;
        if let Some(bytes) = self.passed_at(range.start).and_then(|bytes| bytes.get(..length)) {
            return Ok(Some(Cow::Borrowed(bytes)));
        }
        if !self.has(range.clone()) {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.piece(range.start + bytes.len() as u64..range.end)?);
        }
        Ok(Some(Cow::Owned(bytes)))
    }

    fn has(&self, range: Range<u64>) -> bool {
        let mut offset = range.start;
        while offset < range.end {
            match self.length_at(offset) {
                0 => return false,
                length => offset += length as u64,
            }
        }
        true
    }

    fn piece(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
        let length = (range.end - range.start) as usize;
        let bytes = match (self.passed_at(range.start), self.packed_at(range.start)) {
            (Some(bytes), _) => Cow::Borrowed(bytes),
            (None, Some((part, at))) => part.piece(at)?,
            (None, None) => Cow::Borrowed(&[][..]),
        };
        Ok(match bytes {
            Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[..bytes.len().min(length)]),
            Cow::Owned(mut bytes) => {
                bytes.truncate(length);
                Cow::Owned(bytes)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the test program in chunks of `step` bytes.
    fn probe(bytes: &[u8], step: usize) -> Outcome<Linked> {
        let mut probe = Probe::linking(bytes.len() as u64);
        for chunk in bytes.chunks(step) {
            probe.update(chunk);
        }
        probe.finish().unwrap()
    }

    #[test]
    fn sees_in_a_stream_what_a_seekable_file_shows() {
        let path = std::env::current_exe().unwrap();
        let bytes = std::fs::read(path).unwrap();
        let expected = dynamic::read(&bytes[..]).unwrap().unwrap();
        assert!(!expected.dynamic.as_ref().unwrap().needed.is_empty());
        for step in [1 << 20, 65_537, 4_099] {
            match probe(&bytes, step) {
                Outcome::Elf(linked) => assert_eq!(linked.object.elf, expected),
                outcome => panic!("{outcome:?}"),
            }
        }
    }

    #[test]
    fn says_which_parts_it_missed_and_takes_them_later() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let expected = dynamic::read(&bytes[..]).unwrap();
        let mut outcome = outcome(dynamic::parse, KeptParts::default(), bytes.len() as u64).unwrap();
        let mut rounds = 0;
        loop {
            match outcome {
                Outcome::Incomplete(mut incomplete) => {
                    for range in incomplete.missing().to_vec() {
                        incomplete.supply(range.start, &bytes[range.start as usize..range.end as usize]);
                    }
                    outcome = incomplete.finish().unwrap();
                    rounds += 1;
                }
                Outcome::Elf(elf) => break assert_eq!(Some(elf), expected),
                Outcome::NotElf => panic!("not ELF"),
            }
        }
        assert!((3..10).contains(&rounds), "{rounds}");
    }

    const WRITABLE: u64 = 2;

    /// The head of a file with loaded segments at these places, with these flags.
    fn head(segments: &[(Range<u64>, u64)]) -> Vec<u8> {
        let words = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0".to_vec();
        bytes.extend(words(&[0, 64, 0]));
        let halves = [0, 0, 64, 56, segments.len() as u16, 64, 0, 0];
        bytes.extend(halves.iter().flat_map(|half: &u16| half.to_le_bytes()));
        for (Range { start, end }, flags) in segments {
            bytes.extend(words(&[1 | flags << 32, *start, *start, *start, end - start, end - start, 4096]));
        }
        bytes.resize(HEAD as usize, 0);
        bytes
    }

    fn planned(segments: &[(Range<u64>, u64)]) -> Vec<Range<u64>> {
        let mut kept = KeptParts::default();
        kept.append(0, &head(segments));
        plan(&kept, HEAD..700 << 20, ProbeBudget::LARGE)
    }

    #[test]
    fn a_table_at_the_end_of_a_segment_is_read_a_step_further() {
        let (large, small) = (0..500 << 20, 600 << 20..602 << 20);
        let ranges = planned(&[(large, 0), (small.clone(), WRITABLE)]);
        assert!(ranges.contains(&(small.start..small.end + symbols::STEP)), "{ranges:?}");
    }

    #[test]
    fn keeps_little_where_no_linker_puts_a_table() {
        let (first, constants, data) = (0..200 << 20, 200 << 20..300 << 20, 300 << 20..350 << 20);
        let ranges = planned(&[(first, 0), (constants.clone(), 0), (data.clone(), WRITABLE)]);
        let kept_from = |start| ranges.iter().find(|range| range.start == start).map(|it| it.end - it.start);
        assert_eq!(kept_from(constants.start), Some(SEGMENT_HEAD));
        assert_eq!(kept_from(data.start), Some(WRITABLE_HEAD_ONCE));
        // What the budget leaves of it.
        assert!(kept_from(HEAD).is_some_and(|length| length > 6 << 20), "{ranges:?}");
    }

    /// Probes a library of 20 MB: the kept part, and its memory that is not the shelf's.
    fn kept_with(shelf: &'static BufferPool) -> (Range<u64>, KeptParts) {
        let size = 20 << 20;
        let mut file = head(&[(0..size, 0)]);
        file.resize(size as usize, 0);
        let mut probe = Probe::linking(size).shelved(shelf);
        file.chunks(64 << 10).for_each(|chunk| probe.update(chunk));
        let first = probe.kept.parts.first_key_value().unwrap();
        (*first.0..first.1.len() as u64, probe.kept)
    }

    #[test]
    fn keeps_more_while_the_shelf_has_memory_for_it() {
        static SHELF: BufferPool = BufferPool::new(MOST_KEPT_ONCE as usize);
        let _visit = SHELF.visit();
        let (all, first) = kept_with(&SHELF);
        assert_eq!(all, 0..20 << 20);
        let (some, _second) = kept_with(&SHELF);
        assert!(some.end <= MOST_KEPT, "{some:?}");
        let memory = first.passed.as_ptr();
        drop(first);
        assert_eq!(kept_with(&SHELF).1.passed.as_ptr(), memory);
    }

    #[test]
    fn gives_up_what_is_handed_over_again() {
        let mut kept = KeptParts::default();
        for (at, bytes) in [(0, &[1; 10][..]), (20, &[2; 5]), (30, &[3; 9])] {
            kept.append(at, bytes);
        }
        kept.pack(&[6..28, 32..35, 55..70]);
        assert!(kept.passed.is_empty() && kept.parts.is_empty());
        for (range, expected) in
            [(0..6, Some([1; 6].as_slice())), (6..7, None), (20..21, None), (30..39, Some(&[3; 9]))]
        {
            assert_eq!(kept.fetch(range.clone()).unwrap().as_deref(), expected, "{range:?}");
        }
    }

    #[test]
    fn parts_come_in_pieces_and_overlap() {
        let file: Vec<u8> = (0..100).collect();
        let mut kept = KeptParts::default();
        for range in [10..20, 40..50, 20..30, 10..15, 25..45] {
            kept.supply(range.start as u64, &file[range]);
        }
        for range in [10..50, 29..41, 10..10, 49..50] {
            let bytes = kept.fetch(range.start as u64..range.end as u64).unwrap();
            assert_eq!(bytes.as_deref(), Some(&file[range]));
        }
        for range in [9..11, 49..51, 0..1, 60..61] {
            assert!(!kept.has(range.clone()) && kept.fetch(range).unwrap().is_none());
        }
    }

    #[test]
    fn keeps_nothing_of_a_file_that_is_not_elf() {
        for bytes in [&b""[..], b"\x7f", b"\x7fELF but no more", b"#!/usr/bin/python3\n"] {
            for step in [1, 3, 100] {
                let mut probe = Probe::linking(bytes.len() as u64);
                bytes.chunks(step).for_each(|chunk| probe.update(chunk));
                let elf = probe.elf;
                let kept = probe.kept.parts.len();
                let finished = probe.finish();
                assert!(!matches!(finished, Ok(Outcome::Elf(_) | Outcome::Incomplete(_))), "{bytes:?}");
                assert!(elf || kept == 0, "{bytes:?}");
            }
        }
    }
}
