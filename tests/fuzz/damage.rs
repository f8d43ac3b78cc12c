//! The damage to a text or a container: what editors, truncated downloads and attackers make of it.

use std::ops::Range;

use proptest::prelude::*;
use proptest::sample::{Index, select};

/// The most bytes of an input.
const LARGEST: usize = 1 << 20;

/// One change. Places are fractions, so that any change suits any file.
#[derive(Debug, Clone)]
pub enum Damage {
    /// The file ends early.
    Cut(Index),
    /// One bit is another.
    Flip { at: Index, bit: u8 },
    /// Some bytes are others.
    Fill { at: Index, length: u8, byte: u8 },
    /// A number of a binary header, in little endian.
    Number { at: Index, width: usize, value: u64 },
    /// A number in digits, the first behind a place, is another one.
    Digits { at: Index, value: u64 },
    /// A word of the format, wherever.
    Word { at: Index, word: Index },
    /// A word of the format, many times: what nests, nests deeply.
    Words { at: Index, word: Index, count: u16 },
    /// A piece of the file follows itself so many times.
    Repeat { at: Index, length: u16, count: u16 },
    /// A line follows itself so many times.
    RepeatLine { line: Index, count: u16 },
    /// A line is gone.
    DropLine(Index),
    /// A line stands elsewhere.
    MoveLine { from: Index, to: Index },
    /// A piece of another sound file of the format.
    Splice { file: Index, from: Index, to: Index, length: u16 },
    /// The names in a line, or the words in it, are joined.
    DropByte(Index),
}

const NUMBERS: [u64; 12] = [
    0,
    1,
    9,
    0xff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 32,
    1 << 53,
    u64::MAX >> 1,
    u64::MAX - 1,
    u64::MAX,
];
const BYTES: [u8; 10] = [0, b'\n', b'\r', b' ', b'"', b'\\', b'/', b'%', 0x1b, 0xff];

impl Arbitrary for Damage {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with((): ()) -> Self::Strategy {
        let index = any::<Index>;
        // Most are few, some are many.
        let count = || prop_oneof![8 => 1..8_u16, 2 => 8..200_u16, 1 => any::<u16>()];
        let number = || prop_oneof![select(&NUMBERS[..]), any::<u64>(), 0..4096_u64];
        prop_oneof![
            1 => index().prop_map(Self::Cut),
            3 => (index(), 0..8_u8).prop_map(|(at, bit)| Self::Flip { at, bit }),
            1 => (index(), any::<u8>(), select(&BYTES[..]))
                .prop_map(|(at, length, byte)| Self::Fill { at, length, byte }),
            2 => (index(), 1..2_u8, select(&BYTES[..]))
                .prop_map(|(at, length, byte)| Self::Fill { at, length, byte }),
            3 => (index(), select(&[2_usize, 4, 8][..]), number())
                .prop_map(|(at, width, value)| Self::Number { at, width, value }),
            2 => (index(), number()).prop_map(|(at, value)| Self::Digits { at, value }),
            4 => (index(), index()).prop_map(|(at, word)| Self::Word { at, word }),
            2 => (index(), index(), count()).prop_map(|(at, word, count)| Self::Words { at, word, count }),
            2 => (index(), any::<u16>(), count())
                .prop_map(|(at, length, count)| Self::Repeat { at, length, count }),
            2 => (index(), count()).prop_map(|(line, count)| Self::RepeatLine { line, count }),
            2 => index().prop_map(Self::DropLine),
            1 => (index(), index()).prop_map(|(from, to)| Self::MoveLine { from, to }),
            2 => (index(), index(), index(), any::<u16>())
                .prop_map(|(file, from, to, length)| Self::Splice { file, from, to, length }),
            1 => index().prop_map(Self::DropByte),
        ]
        .boxed()
    }
}

impl Damage {
    /// Changes `bytes`, a file of a format that has these `words`, of which `files` are sound ones.
    pub fn apply(&self, bytes: &mut Vec<u8>, words: &[&str], files: &[Vec<u8>]) {
        if bytes.is_empty() {
            return;
        }
        match self {
            Self::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Self::Flip { at, bit } => flip(bytes, at, *bit),
            Self::Fill { at, length, byte } => fill(bytes, at, (*length).into(), *byte),
            Self::Number { at, width, value } => {
                let at = at.index(bytes.len());
                let end = bytes.len().min(at + width);
                bytes[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
            }
            Self::Digits { at, value } => {
                if let Some(digits) = digits(bytes, at.index(bytes.len())) {
                    bytes.splice(digits, value.to_string().into_bytes());
                }
            }
            Self::Word { at, word } => insert(bytes, at.index(bytes.len()), word.get(words).as_bytes(), 1),
            Self::Words { at, word, count } => {
                insert(bytes, at.index(bytes.len()), word.get(words).as_bytes(), (*count).into());
            }
            Self::Repeat { at, length, count } => {
                let at = at.index(bytes.len());
                let piece = bytes[at..bytes.len().min(at + usize::from(*length))].to_vec();
                insert(bytes, at, &piece, (*count).into());
            }
            Self::RepeatLine { line, count } => {
                let line = line_at(bytes, line.index(bytes.len()));
                let text = bytes[line.clone()].to_vec();
                insert(bytes, line.start, &text, (*count).into());
            }
            Self::DropLine(at) => drop(bytes.drain(line_at(bytes, at.index(bytes.len())))),
            Self::MoveLine { from, to } => {
                let line: Vec<u8> = bytes.drain(line_at(bytes, from.index(bytes.len()))).collect();
                let to = line_at(bytes, to.index(bytes.len().max(1))).start;
                insert(bytes, to, &line, 1);
            }
            Self::Splice { file, from, to, length } => {
                let other = file.get(files);
                let from = from.index(other.len().max(1));
                let piece = &other[from..other.len().min(from + usize::from(*length))];
                insert(bytes, to.index(bytes.len()), piece, 1);
            }
            Self::DropByte(at) => drop(bytes.remove(at.index(bytes.len()))),
        }
    }
}

/// Changes one bit.
pub fn flip(bytes: &mut [u8], at: &Index, bit: u8) {
    bytes[at.index(bytes.len())] ^= 1 << bit;
}

/// Sets so many bytes, or as many as there are.
pub fn fill(bytes: &mut [u8], at: &Index, length: usize, byte: u8) {
    let at = at.index(bytes.len());
    let end = bytes.len().min(at + length);
    bytes[at..end].fill(byte);
}

/// Puts `piece` so many times at `at`, as long as the input stays below [`LARGEST`].
fn insert(bytes: &mut Vec<u8>, at: usize, piece: &[u8], count: usize) {
    let count = count.min((LARGEST.saturating_sub(bytes.len())) / piece.len().max(1));
    bytes.splice(at..at, piece.repeat(count));
}

/// The first digits from `at` on.
fn digits(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let start = at + bytes[at..].iter().position(u8::is_ascii_digit)?;
    let length = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    Some(start..start + length)
}

/// The line that has the byte `at`, with its end.
fn line_at(bytes: &[u8], at: usize) -> Range<usize> {
    let at = at.min(bytes.len());
    let start = bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |before| before + 1);
    let end = bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| at + end + 1);
    start..end.max(start)
}
