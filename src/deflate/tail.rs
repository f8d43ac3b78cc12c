//! The end of a DEFLATE stream whose beginning is not at hand.
//!
//! A stream has no index, but its blocks can be recognised: a block with codes of its own begins with a description of
//! them that random bits hardly ever are, and a wrong guess does not lead to a final block at the very last
//! byte. What is copied from before the first block that was found stays unknown. Everything else is as sure as the
//! stream itself, and its place is known from the end.

use super::{CODE_LENGTHS_ORDER, DISTANCES, END_OF_BLOCK, LENGTHS, WINDOW};

/// What [`Tail::inflate`] tells of a byte that was copied from what is not at hand.
pub const UNKNOWN: u16 = 0x100;

/// The blocks at the end of a stream.
#[derive(Debug)]
pub struct Tail<'a> {
    bytes: &'a [u8],
    /// Where the first block begins, in bits.
    start: usize,
    len: u64,
}

impl<'a> Tail<'a> {
    /// Finds the first block in the last `bytes` of a stream from which the stream can be followed to its end.
    pub fn find(bytes: &'a [u8]) -> Option<Self> {
        (0..bytes.len() * 8).find_map(|start| {
            if !begins_block(bytes, start) {
                return None;
            }
            let mut counter = Counter(0);
            follow(bytes, start, &mut counter)?;
            Some(Self { bytes, start, len: counter.0 })
        })
    }

    /// The number of bytes from the first block to the end, inflated.
    pub fn inflated_len(&self) -> u64 {
        self.len
    }

    /// Passes the inflated bytes to `sink`, piece by piece; [`UNKNOWN`] for those that cannot be known.
    pub fn inflate(&self, sink: impl FnMut(&[u16])) {
        let mut window = Window { recent: vec![UNKNOWN; WINDOW], fresh: WINDOW, sink };
        // It was followed to its end before.
        let _ = follow(self.bytes, self.start, &mut window);
        window.flush();
    }
}

/// Whether a block that is not the last, with codes of its own, seems to begin at a bit.
fn begins_block(bytes: &[u8], start: usize) -> bool {
    let mut bits = Bits::at(bytes, start);
    bits.peek(3) == 0b100 && bits.take(3).is_some() && codes(&mut bits).is_some()
}

/// Inflates from the block at `start` to the end; `None` unless the final block ends within the last byte.
fn follow(bytes: &[u8], start: usize, output: &mut impl Output) -> Option<()> {
    let mut bits = Bits::at(bytes, start);
    loop {
        let last = bits.take(1)? == 1;
        match bits.take(2)? {
            0 => stored(&mut bits, output)?,
            1 => compressed(&mut bits, &fixed_codes()?, output)?,
            2 => {
                let codes = codes(&mut bits)?;
                compressed(&mut bits, &codes, output)?;
            }
            _ => return None,
        }
        if last {
            return (bits.left() < 8).then_some(());
        }
    }
}

fn stored(bits: &mut Bits<'_>, output: &mut impl Output) -> Option<()> {
    bits.take(bits.count % 8)?;
    let length = bits.take(16)?;
    if bits.take(16)? != !length & 0xffff {
        return None;
    }
    for _ in 0..length {
        output.literal(bits.take(8)? as u8);
    }
    Some(())
}

fn compressed(bits: &mut Bits<'_>, codes: &Codes, output: &mut impl Output) -> Option<()> {
    loop {
        let symbol = codes.literals.next(bits)?;
        if symbol < END_OF_BLOCK {
            output.literal(symbol as u8);
            continue;
        }
        if symbol == END_OF_BLOCK {
            return Some(());
        }
        let length = extended(bits, LENGTHS.get(usize::from(symbol - END_OF_BLOCK - 1))?)?;
        let distance = codes.distances.next(bits)?;
        let distance = extended(bits, DISTANCES.get(usize::from(distance))?)?;
        output.copy(length, distance);
    }
}

fn extended(bits: &mut Bits<'_>, (least, further): &(u16, u8)) -> Option<usize> {
    Some(usize::from(*least) + bits.take((*further).into())? as usize)
}

/// The two codes of a compressed block.
struct Codes {
    literals: Code,
    distances: Code,
}

fn fixed_codes() -> Option<Codes> {
    let literals: Vec<u8> = [(144, 8), (112, 9), (24, 7), (8, 8)]
        .into_iter()
        .flat_map(|(count, length)| std::iter::repeat_n(length, count))
        .collect();
    Some(Codes { literals: Code::complete(&literals)?, distances: Code::complete(&[5; 32])? })
}

/// Reads the codes at the beginning of a block.
fn codes(bits: &mut Bits<'_>) -> Option<Codes> {
    let [literals, distances, lengths] = [bits.take(5)? + 257, bits.take(5)? + 1, bits.take(4)? + 4];
    if literals > 286 || distances > 30 {
        return None;
    }
    let mut code_lengths = [0; 19];
    for at in &CODE_LENGTHS_ORDER[..lengths as usize] {
        code_lengths[*at] = bits.take(3)? as u8;
    }
    let code = Code::complete(&code_lengths)?;
    let total = (literals + distances) as usize;
    let mut all: Vec<u8> = Vec::with_capacity(total);
    while all.len() < total {
        let (length, count) = match code.next(bits)? {
            16 => (*all.last()?, bits.take(2)? + 3),
            17 => (0, bits.take(3)? + 3),
            18 => (0, bits.take(7)? + 11),
            length => (length as u8, 1),
        };
        all.extend(std::iter::repeat_n(length, count as usize));
    }
    let (literals, distances) = (all.get(..literals as usize)?, all.get(literals as usize..total)?);
    if all.len() != total || literals.get(usize::from(END_OF_BLOCK)) == Some(&0) {
        return None;
    }
    Some(Codes { literals: Code::complete(literals)?, distances: Code::of_distances(distances)? })
}

/// A Huffman code as a table from the next bits to a symbol and the length of its word.
struct Code {
    longest: u32,
    /// A symbol times 16, and the length; 0 for bits that are no word.
    table: Vec<u16>,
}

impl Code {
    /// The code of the words of these lengths, unless it has too many words, or bits that are no word.
    fn complete(lengths: &[u8]) -> Option<Self> {
        (room(lengths) == 0).then(|| Self::new(lengths))
    }

    /// A block may have no distance at all, or one, whose word is one bit long.
    fn of_distances(lengths: &[u8]) -> Option<Self> {
        let used = lengths.iter().filter(|length| **length > 0);
        let few = used.clone().count() < 2 && used.clone().all(|length| *length == 1);
        (few || room(lengths) == 0).then(|| Self::new(lengths))
    }

    fn new(lengths: &[u8]) -> Self {
        let longest = u32::from(lengths.iter().copied().max().unwrap_or_default()).max(1);
        let mut table = vec![0; 1 << longest];
        let mut word = 0_u32;
        for length in 1..=longest {
            for (symbol, _) in lengths.iter().enumerate().filter(|(_, of)| u32::from(**of) == length) {
                // Words stand with their first bit lowest.
                let first = word.reverse_bits() >> (32 - length);
                for at in (first as usize..table.len()).step_by(1 << length) {
                    table[at] = (symbol as u16) << 4 | length as u16;
                }
                word += 1;
            }
            word <<= 1;
        }
        Self { longest, table }
    }

    fn next(&self, bits: &mut Bits<'_>) -> Option<u16> {
        let entry = self.table[bits.peek(self.longest) as usize];
        let length = u32::from(entry & 0xf);
        (length > 0).then_some(())?;
        bits.take(length)?;
        Some(entry >> 4)
    }
}

/// How many words of the longest length could be added to a code: negative when it has too many words.
fn room(lengths: &[u8]) -> i32 {
    lengths.iter().filter(|length| **length > 0).fold(1 << 15, |room, length| room - (1 << (15 - length)))
}

/// Takes what a stream says.
trait Output {
    fn literal(&mut self, byte: u8);

    fn copy(&mut self, length: usize, distance: usize);
}

/// Counts the bytes.
struct Counter(u64);

impl Output for Counter {
    fn literal(&mut self, _: u8) {
        self.0 += 1;
    }

    fn copy(&mut self, length: usize, _: usize) {
        self.0 += length as u64;
    }
}

/// Holds the bytes that may be copied from, and passes them on.
struct Window<S> {
    recent: Vec<u16>,
    /// Where the bytes begin that were not passed on yet.
    fresh: usize,
    sink: S,
}

impl<S: FnMut(&[u16])> Window<S> {
    fn flush(&mut self) {
        (self.sink)(&self.recent[self.fresh..]);
        self.recent.drain(..self.recent.len() - WINDOW);
        self.fresh = WINDOW;
    }

    fn flush_when_full(&mut self) {
        if self.recent.len() >= 8 * WINDOW {
            self.flush();
        }
    }
}

impl<S: FnMut(&[u16])> Output for Window<S> {
    fn literal(&mut self, byte: u8) {
        self.recent.push(byte.into());
        self.flush_when_full();
    }

    fn copy(&mut self, length: usize, distance: usize) {
        let from = self.recent.len() - distance;
        for at in from..from + length {
            self.recent.push(self.recent[at]);
        }
        self.flush_when_full();
    }
}

/// Bits, the lowest of each byte first.
struct Bits<'a> {
    rest: &'a [u8],
    buffer: u64,
    /// The bits in the buffer.
    count: u32,
}

impl<'a> Bits<'a> {
    fn at(bytes: &'a [u8], bit: usize) -> Self {
        let mut bits = Self { rest: bytes.get(bit / 8..).unwrap_or_default(), buffer: 0, count: 0 };
        bits.take((bit % 8) as u32);
        bits
    }

    /// The bits that are left.
    fn left(&self) -> usize {
        self.rest.len() * 8 + self.count as usize
    }

    fn fill(&mut self) {
        if let Some((word, rest)) = self.rest.split_first_chunk::<4>().filter(|_| self.count <= 32) {
            self.buffer |= u64::from(u32::from_le_bytes(*word)) << self.count;
            self.count += 32;
            self.rest = rest;
        }
        while self.count <= 32
            && let Some((byte, rest)) = self.rest.split_first()
        {
            self.buffer |= u64::from(*byte) << self.count;
            self.count += 8;
            self.rest = rest;
        }
    }

    /// The next `count` bits, at most 16; zeros beyond the end.
    fn peek(&mut self, count: u32) -> u32 {
        if self.count < count {
            self.fill();
        }
        (self.buffer & ((1 << count) - 1)) as u32
    }

    /// The next `count` bits, at most 16.
    fn take(&mut self, count: u32) -> Option<u32> {
        let value = self.peek(count);
        self.count = self.count.checked_sub(count)?;
        self.buffer >>= count;
        Some(value)
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
        let mut at = whole.len() - tail.inflated_len() as usize;
        let mut known = 0;
        tail.inflate(|bytes| {
            for byte in bytes {
                assert!(*byte == UNKNOWN || *byte == u16::from(whole[at]), "at {at}");
                known += u64::from(*byte != UNKNOWN);
                at += 1;
            }
        });
        assert_eq!(at, whole.len());
        (tail.inflated_len(), known)
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
                let mut count = 0;
                tail.inflate(|bytes| count += bytes.len() as u64);
                assert_eq!(count, tail.inflated_len());
            }
        }
    }
}
