//! The end of a DEFLATE stream whose beginning is not at hand.
//!
//! A stream has no index, but its blocks can be recognised: a block with codes of its own begins with a description of
//! them that random bits hardly ever are, and a wrong guess does not lead to a final block at the very last
//! byte. What is copied from before the first block that was found stays unknown. Everything else is as sure as the
//! stream itself, and its place is known from the end.

use super::codes::{Bits, Codes};
use super::table::Meaning;

/// The value that [`Tail::symbols`] has for a byte that was copied from an unknown place.
pub const UNKNOWN: u16 = 0x100;

/// The most bytes that are inflated of a tail: those of real libraries have a few million.
const MOST_INFLATED: usize = 36 << 20;
/// The same of a short one, and for each of its bytes.
const INFLATED: (usize, usize) = (8 << 20, 24);

/// The inflated blocks at the end of a stream.
#[derive(Debug)]
pub struct Tail {
    symbols: Vec<u16>,
}

impl Tail {
    /// Inflates the last `bytes` of a stream, from the first block from which the stream can be followed to its end.
    pub fn find(bytes: &[u8]) -> Option<Self> {
        let (least, share) = INFLATED;
        let most = bytes.len().saturating_mul(share).clamp(least, MOST_INFLATED);
        let mut codes = Codes::new();
        let mut symbols = Vec::new();
        for start in 0..bytes.len() * 8 {
            if !begins_block(bytes, start, &mut codes) {
                continue;
            }
            symbols.clear();
            if follow(bytes, start, most, &mut codes, &mut symbols).is_some() {
                return Some(Self { symbols });
            }
            if symbols.len() >= most {
                return None;
            }
        }
        None
    }

    /// The inflated bytes from the first block to the end; [`UNKNOWN`] for those that cannot be known.
    pub fn symbols(&self) -> &[u16] {
        &self.symbols
    }
}

/// The end of a stream as far as it was inflated, so that it is not inflated again while more of the stream is fetched.
#[derive(Debug, Default)]
pub struct KnownEnd {
    /// In bytes as stored.
    pub length: u64,
    /// `None` where no block was found in it.
    pub tail: Option<Tail>,
}

/// Returns whether a block that is not the last, with codes of its own, seems to begin at a bit.
fn begins_block(bytes: &[u8], start: usize, codes: &mut Codes) -> bool {
    let mut bits = Rest::at(bytes, start);
    bits.take(3) == 0b100 && codes.read(&mut bits) && !bits.is_exhausted
}

/// Inflates from the block at `start` to the end; `None` unless the final block ends within the last byte, and for more than
/// `most` bytes.
fn follow(bytes: &[u8], start: usize, most: usize, codes: &mut Codes, output: &mut Vec<u16>) -> Option<()> {
    let mut bits = Rest::at(bytes, start);
    loop {
        let last = bits.take(1) == 1;
        match bits.take(2) {
            0 => stored(&mut bits, output)?,
            1 => {
                codes.set_fixed();
                compressed(&mut bits, codes, most, output)?;
            }
            2 => {
                codes.read(&mut bits).then_some(())?;
                compressed(&mut bits, codes, most, output)?;
            }
            _ => return None,
        }
        if last {
            return (bits.left() < 8 && !bits.is_exhausted).then_some(());
        }
    }
}

fn stored(bits: &mut Rest<'_>, output: &mut Vec<u16>) -> Option<()> {
    bits.take(bits.count % 8);
    let length = bits.take(16);
    if bits.take(16) != !length & 0xffff || bits.left() < length as usize * 8 {
        return None;
    }
    for _ in 0..length {
        output.push(bits.take(8) as u16);
    }
    Some(())
}

fn compressed(bits: &mut Rest<'_>, codes: &Codes, most: usize, output: &mut Vec<u16>) -> Option<()> {
    while !bits.is_exhausted && output.len() < most {
        let meaning = codes.literals.whole_meaning(bits.peek());
        if meaning.is_literal() {
            output.push(meaning.byte().into());
            bits.drop(meaning.bits());
            continue;
        }
        if meaning.is_special() {
            bits.drop(meaning.bits());
            return meaning.is_end_of_block().then_some(());
        }
        let length = number(bits, meaning);
        let meaning = codes.distances.whole_meaning(bits.peek());
        if meaning.is_special() {
            return None;
        }
        let distance = number(bits, meaning);
        copy(output, length, distance);
    }
    None
}

fn number(bits: &mut Rest<'_>, meaning: Meaning) -> usize {
    let number = meaning.number_with(bits.peek());
    bits.drop(meaning.bits());
    number
}

/// Copies from `distance` before the end, which may be before the beginning.
fn copy(output: &mut Vec<u16>, length: usize, distance: usize) {
    match output.len().checked_sub(distance) {
        Some(from) if length <= distance => output.extend_from_within(from..from + length),
        Some(from) => {
            for at in from..from + length {
                output.push(output[at]);
            }
        }
        None => {
            for _ in 0..length {
                let symbol = output.len().checked_sub(distance).map_or(UNKNOWN, |at| output[at]);
                output.push(symbol);
            }
        }
    }
}

/// The rest of a stream.
struct Rest<'a> {
    bytes: &'a [u8],
    buffer: u64,
    /// The bits in the buffer.
    count: u32,
    /// True if more bits were taken than there are.
    is_exhausted: bool,
}

impl<'a> Rest<'a> {
    fn at(bytes: &'a [u8], bit: usize) -> Self {
        let bytes = bytes.get(bit / 8..).unwrap_or_default();
        let mut rest = Self { bytes, buffer: 0, count: 0, is_exhausted: false };
        rest.take((bit % 8) as u32);
        rest
    }

    /// The bits that are left.
    fn left(&self) -> usize {
        self.bytes.len() * 8 + self.count as usize
    }

    fn fill(&mut self) {
        if let Some((word, rest)) = self.bytes.split_first_chunk::<4>().filter(|_| self.count <= 32) {
            self.buffer |= u64::from(u32::from_le_bytes(*word)) << self.count;
            self.count += 32;
            self.bytes = rest;
        }
        while self.count <= 32
            && let Some((byte, rest)) = self.bytes.split_first()
        {
            self.buffer |= u64::from(*byte) << self.count;
            self.count += 8;
            self.bytes = rest;
        }
    }
}

impl Bits for Rest<'_> {
    fn peek(&mut self) -> u64 {
        self.fill();
        self.buffer
    }

    fn drop(&mut self, count: u32) {
        self.is_exhausted |= count > self.count;
        self.buffer >>= count;
        self.count = self.count.saturating_sub(count);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::DeflateEncoder;

    use super::*;

    fn deflate(bytes: &[u8], level: u32) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Text that compresses, with much to copy, and noise, and zeros.
    fn mixed(length: usize) -> Vec<u8> {
        let mut state = 7_u64;
        let mut bytes = Vec::new();
        while bytes.len() < length {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let number = (state >> 33) as usize;
            match number % 5 {
                0 => bytes.extend(std::iter::repeat_n(0, number % 3_000)),
                1 => bytes.extend((number as u32).to_le_bytes()),
                2 => bytes.extend(format!("symbol_{}_of_a_library", number % 500).bytes()),
                _ => {
                    let from = bytes.len().saturating_sub(number % 40_000);
                    bytes.extend_from_within(from..bytes.len().min(from + number % 90));
                    bytes.extend(number.to_be_bytes());
                }
            }
        }
        bytes.truncate(length);
        bytes
    }

    /// Inflates the last `part` bytes of a stream; how many bytes that gave, and how many of them are known.
    #[track_caller]
    fn check(whole: &[u8], level: u32, part: usize) -> (u64, u64) {
        let stream = deflate(whole, level);
        let tail = Tail::find(&stream[stream.len() - part.min(stream.len())..]).expect("a block in the tail");
        let start = whole.len() - tail.symbols().len();
        for (at, symbol) in tail.symbols().iter().enumerate() {
            assert!(*symbol == UNKNOWN || *symbol == u16::from(whole[start + at]), "at {at}");
        }
        let known = tail.symbols().iter().filter(|symbol| **symbol != UNKNOWN).count();
        (tail.symbols().len() as u64, known as u64)
    }

    #[test]
    fn inflates_the_end_of_a_stream() {
        let whole = mixed(2_000_000);
        for level in [4, 6, 9] {
            let (len, known) = check(&whole, level, 200 << 10);
            assert!(len > 200 << 10, "{len}");
            assert!(known * 10 > len * 9, "{known} of {len} are known");
        }
        let (len, known) = check(&whole, 6, usize::MAX);
        assert_eq!((len, known), (2_000_000, 2_000_000), "all of it");
    }

    #[test]
    fn finds_nothing_in_what_is_no_stream() {
        let stream = deflate(&mixed(300_000), 6);
        for bytes in
            [&stream[..stream.len() - 1], &stream[..stream.len() / 2], &mixed(20_000), &[0; 999], b""]
        {
            assert!(Tail::find(bytes).is_none(), "{} bytes", bytes.len());
        }
        assert!(
            Tail::find(&[&*stream, &[0]].concat()).is_none(),
            "the final block ends before the last byte"
        );
    }

    #[test]
    fn survives_damage() {
        let stream = deflate(&mixed(100_000), 6);
        for at in (0..stream.len()).step_by(stream.len() / 40) {
            let mut damaged = stream.clone();
            damaged[at] ^= 0x55;
            if let Some(tail) = Tail::find(&damaged) {
                assert!(tail.symbols().len() <= MOST_INFLATED, "{at}");
                assert!(tail.symbols().iter().all(|symbol| *symbol <= UNKNOWN), "{at}");
            }
        }
    }

    #[test]
    fn a_stream_that_grows_without_bounds_is_left() {
        let stream = deflate(&vec![0; 3 * MOST_INFLATED], 6);
        assert!(Tail::find(&stream).is_none());
    }
}
