//! Inflates a stream as it passes by: reads it in pieces, hands on what it inflates to, and tells where its last block is.
//!
//! The time goes into one loop ([`compressed`]), which looks neither for the end of the input nor for that of the output:
//! it stops where one of them is near, and behind the end of the stream there are zeros.

use super::WINDOW;
use super::codes::{Bits, Codes};

/// The bytes of a stream that are read at once.
const INPUT: usize = 128 << 10;
/// The number of zeros that are behind the end of a stream.
const ZEROS: usize = 64;
/// The bytes that one turn of the loop looks at: three times eight at most, of which those before were used up.
const INPUT_STEP: usize = 24;
/// A block's codes take fewer bytes: 316 lengths of 14 bits, 19 of 3, and 17 bits.
const CODES: usize = 640;
/// The number of inflated bytes that are handed on at once.
const OUTPUT: usize = 128 << 10;
/// The most bytes that one turn of the loop writes: two literals, the longest copy, and what a copy in pieces writes
/// beyond its end.
const OUTPUT_STEP: usize = 2 + 258 + 2 * PIECE;
const BUFFER: usize = WINDOW + OUTPUT + OUTPUT_STEP;
/// Copies are made in pieces of this many bytes.
const PIECE: usize = 16;

/// The passage of a stream: its source, and its destination.
pub trait Passage {
    /// The error of the source or the destination.
    type Error: From<Invalid>;

    /// Reads the next bytes of the stream; none at its end.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Self::Error>;

    /// Is given the byte that holds the mark of the last block, and the bit that the mark is, before anything of that
    /// byte [passed](Self::passed).
    fn last_block(&mut self, _byte: &mut u8, _bit: u8) {}

    /// Returns whether [`block`](Self::block) wants to be told.
    fn wants_blocks(&self) -> bool {
        false
    }

    /// A block has ended, and another one follows: it begins at this bit of this byte. Everything before that byte has
    /// [passed](Self::passed), and all that it [inflates to](Self::inflated); the byte passes next.
    fn block(&mut self, _byte: u8, _bit: u32) -> Result<(), Self::Error> {
        Ok(())
    }

    /// Takes bytes of the stream once they were followed. The bits behind the end of the stream are zero.
    fn passed(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Takes inflated bytes.
    fn inflated(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;
}

/// The fault of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum Invalid {
    #[error("its bits are not DEFLATE")]
    Bits,
    #[error("it is cut short")]
    Cut,
    #[error("bytes follow its last block")]
    Trailing,
}

/// The end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// The number of bits of the last byte that are not part of the stream: 0 to 7.
    pub unused: u32,
}

/// Inflates one stream after the other.
pub struct Inflater {
    input: Input,
    output: Output,
    codes: Codes,
}

impl Default for Inflater {
    fn default() -> Self {
        Self {
            input: Input::new(),
            output: Output { bytes: Box::new([0; BUFFER]), fresh: 0, end: 0 },
            codes: Codes::new(),
        }
    }
}

impl Inflater {
    /// Inflates the stream that `passage` gives, which must end with it.
    pub fn inflate<P: Passage>(&mut self, passage: &mut P) -> Result<End, P::Error> {
        self.input.begin();
        (self.output.fresh, self.output.end) = (0, 0);
        let mut is_last = false;
        while !is_last {
            self.input.need(CODES, passage)?;
            is_last = self.input.take(1) == 1;
            if is_last {
                let (byte, bit) = self.input.bit_before();
                passage.last_block(byte, bit);
            }
            match self.input.take(2) {
                0 => self.stored(passage)?,
                1 if self.codes.set_fixed() => self.compressed(passage)?,
                2 if self.codes.read(&mut self.input) => self.compressed(passage)?,
                _ => return Err(self.input.invalid().into()),
            }
            if !is_last && passage.wants_blocks() && !self.input.has_ended() {
                self.output.show(passage)?;
                let (byte, bit) = self.input.show(passage)?;
                passage.block(byte, bit)?;
            }
        }
        self.output.hand_on(passage)?;
        self.input.finish(passage)
    }

    fn stored<P: Passage>(&mut self, passage: &mut P) -> Result<(), P::Error> {
        self.input.align();
        let (length, check) = (self.input.take(16), self.input.take(16));
        if length != !check & 0xffff {
            return Err(self.input.invalid().into());
        }
        self.input.align();
        let mut left = length as usize;
        while left > 0 {
            self.input.need(1, passage)?;
            let (input, output) = (&mut self.input, &mut self.output);
            let available = input.filled.saturating_sub(input.next);
            let count = left.min(available).min(WINDOW + OUTPUT - output.end.min(WINDOW + OUTPUT));
            output.bytes[output.end..output.end + count]
                .copy_from_slice(&input.bytes[input.next..input.next + count]);
            input.next += count;
            output.end += count;
            left -= count;
            match count {
                0 if available == 0 => return Err(Invalid::Cut.into()),
                0 => output.hand_on(passage)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn compressed<P: Passage>(&mut self, passage: &mut P) -> Result<(), P::Error> {
        loop {
            match compressed(&self.codes, &mut self.input, &mut self.output) {
                StopReason::EndOfBlock => return Ok(()),
                StopReason::Output => self.output.hand_on(passage)?,
                StopReason::Input if self.input.has_ended() => return Err(Invalid::Cut.into()),
                StopReason::Input => self.input.need(CODES, passage)?,
                StopReason::Invalid => return Err(self.input.invalid().into()),
            }
        }
    }
}

/// The reason why the loop stopped.
enum StopReason {
    EndOfBlock,
    /// Little input is left.
    Input,
    /// The output is full.
    Output,
    Invalid,
}

/// Inflates a block until it ends, or until input or output are used up.
fn compressed(codes: &Codes, input: &mut Input, output: &mut Output) -> StopReason {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("bmi2") {
        // SAFETY: the processor has the instructions that the function was compiled with.
        return unsafe { compressed_with_bmi2(codes, input, output) };
    }
    follow(codes, input, output)
}

/// The same, where a shift by a number that is not known before is one instruction.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "bmi2")]
fn compressed_with_bmi2(codes: &Codes, input: &mut Input, output: &mut Output) -> StopReason {
    follow(codes, input, output)
}

#[inline(always)]
fn follow(codes: &Codes, input: &mut Input, output: &mut Output) -> StopReason {
    let bytes = &input.bytes[..input.end()];
    let out = &mut *output.bytes;
    let (mut bits, mut count, mut next) = (input.bits, input.count, input.next);
    let mut end = output.end;
    // Of `count`, the six lowest bits count here: what is above them spares a mask at each turn.
    macro_rules! take {
        ($meaning:expr) => {
            bits = bits.wrapping_shr($meaning.shift());
            count = count.wrapping_sub($meaning.shift());
        };
    }
    macro_rules! refill {
        ($ahead:expr, $start:expr) => {
            bits |= word($ahead, next - $start).wrapping_shl(count);
            next += (63 - (count & 63) as usize) >> 3;
            count |= 56;
        };
    }
    macro_rules! put {
        ($literal:expr) => {
            take!($literal);
            out[end] = $literal.byte();
            end += 1;
        };
    }
    let Some(ahead) = ahead(bytes, next) else { return StopReason::Input };
    let start = next;
    refill!(ahead, start);
    // Always of what comes next, and looked up before what came before is copied.
    let mut meaning = codes.literals.meaning(bits);
    let stop = loop {
        let Some(ahead) = self::ahead(bytes, next) else { break StopReason::Input };
        if end > WINDOW + OUTPUT {
            break StopReason::Output;
        }
        let start = next;
        // Three looks take 33 bits at most, a length after two of them 20.
        if meaning.is_literal() {
            put!(meaning);
            meaning = codes.literals.meaning(bits);
            if meaning.is_literal() {
                put!(meaning);
                meaning = codes.literals.meaning(bits);
            }
        }
        if meaning.is_special() {
            meaning = codes.literals.special(meaning, bits);
            if meaning.is_special() {
                take!(meaning);
                break if meaning.is_end_of_block() { StopReason::EndOfBlock } else { StopReason::Invalid };
            }
        }
        if meaning.is_literal() {
            put!(meaning);
            refill!(ahead, start);
            meaning = codes.literals.meaning(bits);
            continue;
        }
        let length = meaning.number_with(bits);
        take!(meaning);
        refill!(ahead, start);
        let mut of_distance = codes.distances.meaning(bits);
        if of_distance.is_special() {
            of_distance = codes.distances.special(of_distance, bits);
            if of_distance.is_special() {
                break StopReason::Invalid;
            }
        }
        let distance = of_distance.number_with(bits);
        take!(of_distance);
        if distance > end {
            break StopReason::Invalid;
        }
        refill!(ahead, start);
        meaning = codes.literals.meaning(bits);
        copy(out, end, distance, length);
        end += length;
    };
    (input.bits, input.count, input.next) = (bits, count & 63, next);
    output.end = end;
    stop
}

/// The bytes from `next` on that one turn of the loop looks at.
#[inline(always)]
fn ahead(bytes: &[u8], next: usize) -> Option<&[u8; INPUT_STEP]> {
    bytes.get(next..).and_then(|rest| rest.first_chunk())
}

/// The eight bytes at `at`, which is less than sixteen.
#[inline(always)]
fn word(bytes: &[u8; INPUT_STEP], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at % 16..][..8].try_into().unwrap_or_default())
}

/// Copies `length` bytes from `distance` before `end` to `end`; up to two [`PIECE`]s more are written.
#[inline(always)]
fn copy(out: &mut [u8; BUFFER], end: usize, distance: usize, length: usize) {
    let from = end - distance;
    if distance >= PIECE {
        copy_piece(out, from, end);
        copy_piece(out, from + PIECE, end + PIECE);
        let mut done = 2 * PIECE;
        while done < length {
            copy_piece(out, from + done, end + done);
            done += PIECE;
        }
    } else if distance == 1 {
        let byte = out[from];
        out[end..end + length].fill(byte);
    } else {
        // Of each piece as many bytes are right as lie between the two places.
        let mut done = 0;
        while done < length {
            copy_piece(out, from + done, end + done);
            done += distance;
        }
    }
}

#[inline(always)]
fn copy_piece(out: &mut [u8; BUFFER], from: usize, to: usize) {
    let piece: [u8; PIECE] = out[from..].first_chunk().copied().unwrap_or([0; PIECE]);
    out[to..][..PIECE].copy_from_slice(&piece);
}

/// The part of the stream that is at hand.
struct Input {
    bytes: Box<[u8; INPUT + ZEROS]>,
    /// The bytes up to here were handed on.
    passed: usize,
    /// The byte that comes after `bits`.
    next: usize,
    /// The bytes from here on are not of the stream.
    filled: usize,
    ended: bool,
    /// The next bits of the stream, the first one lowest; above `count` of them is what follows, or nothing.
    bits: u64,
    count: u32,
}

impl Input {
    fn new() -> Self {
        let bytes = Box::new([0; INPUT + ZEROS]);
        Self { bytes, passed: 0, next: 0, filled: 0, ended: false, bits: 0, count: 0 }
    }

    fn begin(&mut self) {
        (self.passed, self.next, self.filled, self.ended) = (0, 0, 0, false);
        (self.bits, self.count) = (0, 0);
    }

    /// The end of the bytes that may be read: zeros are behind the stream.
    fn end(&self) -> usize {
        if self.ended { self.filled + ZEROS } else { self.filled }
    }

    /// The first byte of which no bit was taken yet.
    fn position(&self) -> usize {
        self.next - (self.count / 8) as usize
    }

    /// Returns whether more bits were taken than there are.
    fn has_ended(&self) -> bool {
        self.ended && self.next * 8 - self.count as usize > self.filled * 8
    }

    /// Reads until `count` bytes follow, or the stream ends.
    fn need<P: Passage>(&mut self, count: usize, passage: &mut P) -> Result<(), P::Error> {
        if self.next + count <= self.filled || self.ended {
            return Ok(());
        }
        let begun = self.next - self.count.div_ceil(8) as usize;
        self.hand_on(begun.min(self.filled), passage)?;
        while self.filled < INPUT && self.next + count > self.filled {
            match passage.read(&mut self.bytes[self.filled..INPUT])? {
                0 => {
                    self.bytes[self.filled..self.filled + ZEROS].fill(0);
                    self.ended = true;
                    break;
                }
                read => self.filled += read,
            }
        }
        Ok(())
    }

    /// Hands on the bytes up to `end`, and moves what follows to the front.
    fn hand_on<P: Passage>(&mut self, end: usize, passage: &mut P) -> Result<(), P::Error> {
        passage.passed(&self.bytes[self.passed..end])?;
        self.bytes.copy_within(end..self.filled, 0);
        self.passed = 0;
        self.next -= end;
        self.filled -= end;
        Ok(())
    }

    /// Shows the whole bytes that were taken; gives the byte that follows and how many of its bits were taken.
    fn show<P: Passage>(&mut self, passage: &mut P) -> Result<(u8, u32), P::Error> {
        let end = self.next - self.count.div_ceil(8) as usize;
        passage.passed(&self.bytes[self.passed..end])?;
        self.passed = end;
        Ok((self.bytes[end], self.count.wrapping_neg() % 8))
    }

    fn fill(&mut self) {
        let word = self.bytes[..self.end()].get(self.next..).and_then(|rest| rest.first_chunk());
        match word {
            Some(word) => {
                self.bits |= u64::from_le_bytes(*word) << self.count;
                self.next += (63 - self.count as usize) >> 3;
                self.count |= 56;
            }
            // Behind the zeros.
            None if self.count < 56 => self.count += 8 * ((63 - self.count) >> 3),
            None => {}
        }
    }

    /// The byte that holds the bit that was taken last, and which of its bits it is.
    fn bit_before(&mut self) -> (&mut u8, u8) {
        let at = self.next * 8 - self.count as usize - 1;
        (&mut self.bytes[at / 8], (at % 8) as u8)
    }

    /// Goes on at the next whole byte.
    fn align(&mut self) {
        self.next = self.position();
        (self.bits, self.count) = (0, 0);
    }

    /// The fault of the bits that were taken last: behind the end of the stream, any.
    fn invalid(&self) -> Invalid {
        if self.has_ended() { Invalid::Cut } else { Invalid::Bits }
    }

    /// Hands on the rest of the stream, whose last block has ended.
    fn finish<P: Passage>(&mut self, passage: &mut P) -> Result<End, P::Error> {
        if self.has_ended() {
            return Err(Invalid::Cut.into());
        }
        let end = self.position();
        let unused = self.count % 8;
        if end < self.filled || !self.ended && passage.read(&mut self.bytes[self.filled..])? > 0 {
            return Err(Invalid::Trailing.into());
        }
        if let Some(last) = end.checked_sub(1) {
            self.bytes[last] &= 0xff >> unused;
        }
        self.hand_on(end, passage)?;
        Ok(End { unused })
    }
}

impl Bits for Input {
    fn peek(&mut self) -> u64 {
        self.fill();
        self.bits
    }

    fn drop(&mut self, count: u32) {
        self.bits >>= count;
        self.count -= count;
    }
}

/// The output that was inflated last.
struct Output {
    bytes: Box<[u8; BUFFER]>,
    /// The bytes from here on were not handed on yet.
    fresh: usize,
    end: usize,
}

impl Output {
    /// Shows what is fresh.
    fn show<P: Passage>(&mut self, passage: &mut P) -> Result<(), P::Error> {
        passage.inflated(&self.bytes[self.fresh..self.end])?;
        self.fresh = self.end;
        Ok(())
    }

    /// Hands on what is fresh, and keeps what may be copied from.
    fn hand_on<P: Passage>(&mut self, passage: &mut P) -> Result<(), P::Error> {
        self.show(passage)?;
        let kept = self.end.min(WINDOW);
        self.bytes.copy_within(self.end - kept..self.end, 0);
        (self.fresh, self.end) = (kept, kept);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::DeflateEncoder;
    use flate2::{Compression, Decompress, FlushDecompress, Status};
    use libdeflater::{CompressionLvl, Compressor};
    use proptest::prelude::*;

    use super::super::CODE_LENGTHS_ORDER;
    use super::*;

    /// A stream that is read in steps of a few bytes.
    struct Steps<'a> {
        stream: &'a [u8],
        step: usize,
        passed: Vec<u8>,
        inflated: Vec<u8>,
        marks: Vec<u8>,
    }

    impl Passage for Steps<'_> {
        type Error = Invalid;

        fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Invalid> {
            let (now, later) = self.stream.split_at(self.step.min(buffer.len()).min(self.stream.len()));
            buffer[..now.len()].copy_from_slice(now);
            self.stream = later;
            Ok(now.len())
        }

        fn last_block(&mut self, byte: &mut u8, bit: u8) {
            self.marks.push(*byte >> bit & 1);
            *byte &= !(1 << bit);
        }

        fn passed(&mut self, bytes: &[u8]) -> Result<(), Invalid> {
            self.passed.extend_from_slice(bytes);
            Ok(())
        }

        fn inflated(&mut self, bytes: &[u8]) -> Result<(), Invalid> {
            self.inflated.extend_from_slice(bytes);
            Ok(())
        }
    }

    /// Inflates the stream.
    fn inflate(stream: &[u8], step: usize) -> Result<Vec<u8>, Invalid> {
        let mut steps = Steps { stream, step, passed: Vec::new(), inflated: Vec::new(), marks: Vec::new() };
        let End { unused } = Inflater::default().inflate(&mut steps)?;
        let Steps { passed, inflated, marks, .. } = steps;
        assert_eq!(marks, [1], "one last block");
        let changed: Vec<u32> =
            passed.iter().zip(stream).map(|(a, b)| (a ^ b).count_ones()).filter(|bits| *bits > 0).collect();
        let last = stream.last().map_or(0, |last| (u32::from(*last) >> (8 - unused)).count_ones());
        assert_eq!(passed.len(), stream.len());
        assert_eq!(changed.iter().sum::<u32>(), 1 + last, "the mark, and bits that mean nothing");
        Ok(inflated)
    }

    /// Inflates the stream with zlib-rs; `None` unless that takes all of it.
    fn inflate_by_zlib(stream: &[u8]) -> Option<Vec<u8>> {
        let mut zlib = Decompress::new(false);
        let mut inflated = Vec::new();
        loop {
            let mut piece = Vec::with_capacity(64 << 10);
            let before = zlib.total_in();
            let rest = &stream[before as usize..];
            let status = zlib.decompress_vec(rest, &mut piece, FlushDecompress::None).ok()?;
            inflated.extend_from_slice(&piece);
            if status == Status::StreamEnd {
                return (zlib.total_in() == stream.len() as u64).then_some(inflated);
            }
            if piece.is_empty() && zlib.total_in() == before {
                return None;
            }
        }
    }

    #[track_caller]
    fn check_agreement(stream: &[u8]) {
        let ours = inflate(stream, 4096);
        let theirs = inflate_by_zlib(stream);
        assert!(ours.clone().ok() == theirs, "{ours:.100?}, zlib {:.100?}", theirs.map(|bytes| bytes.len()));
    }

    fn by_zlib(bytes: &[u8], level: u32) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn by_libdeflate(bytes: &[u8], level: i32) -> Vec<u8> {
        let mut compressor = Compressor::new(CompressionLvl::new(level).unwrap());
        let mut stream = vec![0; compressor.deflate_compress_bound(bytes.len())];
        let size = compressor.deflate_compress(bytes, &mut stream).unwrap();
        stream.truncate(size);
        stream
    }

    /// Bytes as they are in wheels: text, code, zeros, noise, and repetitions from near and far.
    fn content() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..3000),
            proptest::collection::vec(prop_oneof![Just(b' '), b'a'..b'f'], 0..3000),
            (any::<u8>(), 0usize..3000).prop_map(|(byte, count)| vec![byte; count]),
            (1usize..40, 1usize..400).prop_map(|(period, times)| {
                (0..period).map(|byte| byte as u8).collect::<Vec<u8>>().repeat(times)
            }),
        ];
        (proptest::collection::vec(part, 0..8), any::<bool>()).prop_map(|(parts, twice)| {
            let bytes = parts.concat();
            if twice { bytes.repeat(2) } else { bytes }
        })
    }

    /// The bits of a stream, the first of each number lowest.
    #[derive(Default)]
    struct BitWriter {
        bytes: Vec<u8>,
        used: u32,
    }

    impl BitWriter {
        fn put(&mut self, value: u32, count: u32) {
            for bit in 0..count {
                if self.used.is_multiple_of(8) {
                    self.bytes.push(0);
                }
                let at = self.bytes.len() - 1;
                self.bytes[at] |= ((value >> bit & 1) << (self.used % 8)) as u8;
                self.used += 1;
            }
        }

        /// A last block with codes of these lengths, and `rest`.
        fn with_codes(literals: &[u8], distances: &[u8], rest: &[u8]) -> Vec<u8> {
            let mut bits = Self::default();
            bits.put(0b101, 3);
            bits.put(literals.len() as u32 - 257, 5);
            bits.put(distances.len() as u32 - 1, 5);
            bits.put(15, 4);
            // Each of the lengths from 0 to 15 has a word of four bits.
            for at in CODE_LENGTHS_ORDER {
                bits.put(if at < 16 { 4 } else { 0 }, 3);
            }
            for length in literals.iter().chain(distances) {
                bits.put(u32::from(*length).reverse_bits() >> 28, 4);
            }
            rest.iter().for_each(|byte| bits.put(u32::from(*byte), 8));
            bits.bytes
        }
    }

    /// Lengths of words, of which a few are used.
    fn lengths(count: usize) -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec((0..count, 1u8..16), 0..12).prop_map(move |used| {
            let mut lengths = vec![0; count];
            used.into_iter().for_each(|(at, length)| lengths[at] = length);
            lengths
        })
    }

    /// Lengths for which there is a code: one word after the other is cut in two.
    fn complete_lengths(count: usize) -> impl Strategy<Value = Vec<u8>> {
        (proptest::collection::vec(any::<prop::sample::Index>(), 1..count), any::<u64>()).prop_map(
            move |(cuts, seed)| {
                let mut words = vec![1_u8, 1];
                for cut in cuts {
                    let at = cut.index(words.len());
                    if words[at] < 15 {
                        words[at] += 1;
                        words.push(words[at]);
                    }
                }
                words.truncate(count);
                let mut lengths = vec![0; count];
                let mut at = seed as usize % count;
                for word in words {
                    // A step that has no divisor in common with 286 or 30.
                    at = (at + 7) % count;
                    lengths[at] = word;
                }
                lengths
            },
        )
    }

    #[test]
    fn inflates_streams_longer_than_what_is_at_hand() {
        let noise = |n: u32| (n.wrapping_mul(2_654_435_761) >> 9).to_le_bytes();
        let whole: Vec<u8> = (0..300_000).flat_map(|n| noise(n / 3)).collect();
        for stream in
            [by_zlib(&whole, 0), by_zlib(&whole, 6), by_libdeflate(&whole, 1), by_libdeflate(&whole, 9)]
        {
            for step in [1000, 77_777, usize::MAX] {
                assert!(inflate(&stream, step).unwrap() == whole);
            }
            for cut in [1, 2, stream.len() / 2, stream.len() - 1] {
                assert_eq!(inflate(&stream[..cut], 4096), Err(Invalid::Cut), "{cut} of {}", stream.len());
            }
            let longer = [stream.as_slice(), &[0]].concat();
            assert_eq!(inflate(&longer, 4096), Err(Invalid::Trailing));
        }
    }

    #[test]
    fn refuses_what_zlib_refuses() {
        for stream in [
            &[][..],
            &[7],
            &[3],
            &[3, 0],
            &[3, 0, 0],
            &[1, 0, 0, 0xff, 0xff],
            &[1, 0, 0, 0xff, 0xfe],
            &[1, 1, 0, 0xfe, 0xff],
            &[1, 1, 0, 0xfe, 0xff, 9],
            &[0, 1, 0, 0xfe, 0xff, 9, 3, 0],
            // A copy from before the beginning, and the words of the fixed codes that mean nothing.
            &[0x4b, 0x04, 0x06, 0, 0],
            &[0x1b, 0x03, 0, 0],
            &[0x4b, 0xe4, 0x1f, 0],
        ] {
            check_agreement(stream);
        }
    }

    proptest! {
        #[test]
        fn inflates_what_compressors_write(bytes in content(), level in 0u32..10, step in 1usize..5000) {
            for stream in [by_zlib(&bytes, level), by_libdeflate(&bytes, level as i32)] {
                prop_assert!(inflate(&stream, step) == Ok(bytes.clone()));
            }
        }

        #[test]
        fn agrees_with_zlib_about_damage(
            bytes in content(),
            level in 1u32..10,
            damages in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut stream = by_zlib(&bytes, level);
            for (at, byte) in damages {
                let at = at.index(stream.len());
                stream[at] = byte;
            }
            check_agreement(&stream);
        }

        #[test]
        fn agrees_with_zlib_about_noise(stream in proptest::collection::vec(any::<u8>(), 0..200)) {
            check_agreement(&stream);
        }

        #[test]
        fn agrees_with_zlib_about_codes(
            literals in prop_oneof![lengths(286), complete_lengths(286)],
            distances in prop_oneof![lengths(30), complete_lengths(30)],
            rest in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            check_agreement(&BitWriter::with_codes(&literals, &distances, &rest));
        }
    }
}
