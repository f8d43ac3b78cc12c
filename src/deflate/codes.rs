//! The Huffman codes of a block, as it describes them.
//!
//! <https://www.rfc-editor.org/rfc/rfc1951#section-3.2.7>

use super::table::{Meaning, Table};
use super::{CODE_LENGTHS_ORDER, DISTANCES, END_OF_BLOCK, LENGTHS};

/// The bits of a stream, the lowest of each byte first; zeros behind its end.
pub(super) trait Bits {
    /// The next bits, at least 33.
    fn peek(&mut self) -> u64;

    fn drop(&mut self, count: u32);

    /// The next `count` bits, at most 16.
    fn take(&mut self, count: u32) -> u32 {
        let value = self.peek() & !(u64::MAX << count);
        self.drop(count);
        value as u32
    }
}

/// The codes of a block.
pub(super) struct Codes {
    /// Literals, lengths, and the end of the block.
    pub literals: Table<11, 4096>,
    pub distances: Table<9, 1024>,
    /// The code by which the lengths of the words of the others are given.
    lengths: Table<7, 128>,
}

impl Codes {
    pub(super) fn new() -> Self {
        Self { literals: Table::new(), distances: Table::new(), lengths: Table::new() }
    }

    /// Sets the codes of blocks that describe none.
    pub(super) fn set_fixed(&mut self) -> bool {
        let mut literals = [8; 288];
        literals[144..256].fill(9);
        literals[256..280].fill(7);
        self.set(&literals, &[5; 32])
    }

    /// Reads the codes at the beginning of a block; `false` when they are none.
    pub(super) fn read(&mut self, input: &mut impl Bits) -> bool {
        let literals = input.take(5) as usize + 257;
        let distances = input.take(5) as usize + 1;
        let given = input.take(4) as usize + 4;
        if literals > 286 || distances > 30 {
            return false;
        }
        let mut of_lengths = [0; 19];
        for at in &CODE_LENGTHS_ORDER[..given] {
            of_lengths[*at] = input.take(3) as u8;
        }
        if !self.lengths.fill(&of_lengths, |symbol| Meaning::literal(symbol as u8)) {
            return false;
        }
        let total = literals + distances;
        let mut all = [0; 320];
        let mut known = 0;
        while known < total {
            let meaning = self.lengths.meaning(input.peek());
            if meaning.is_special() {
                return false;
            }
            input.drop(meaning.bits());
            let (length, count) = match meaning.byte() {
                16 if known == 0 => return false,
                16 => (all[known - 1], 3 + input.take(2)),
                17 => (0, 3 + input.take(3)),
                18 => (0, 11 + input.take(7)),
                length => (length, 1),
            };
            let end = known + count as usize;
            if end > total {
                return false;
            }
            all[known..end].fill(length);
            known = end;
        }
        all[usize::from(END_OF_BLOCK)] > 0 && self.set(&all[..literals], &all[literals..total])
    }

    fn set(&mut self, literals: &[u8], distances: &[u8]) -> bool {
        let literal = |symbol: usize| match symbol {
            0..256 => Meaning::literal(symbol as u8),
            256 => Meaning::END_OF_BLOCK,
            _ => number(&LENGTHS, symbol - 257),
        };
        self.literals.fill(literals, literal)
            && self.distances.fill(distances, |symbol| number(&DISTANCES, symbol))
    }
}

fn number(numbers: &[(u16, u8)], symbol: usize) -> Meaning {
    numbers.get(symbol).map_or(Meaning::NONE, |(least, further)| Meaning::number(*least, *further))
}
