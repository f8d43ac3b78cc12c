//! Huffman codes as tables that tell with one look what the next bits mean.

use super::LONGEST_WORD;

/// The meaning of the next bits. From the lowest bit on: the number of bits that it takes (8 bits), of those that are
/// the word itself (4 bits), what kind it is (4 bits), and its value (16 bits).
#[derive(Debug, Clone, Copy)]
pub(super) struct Meaning(u32);

/// The kinds. A meaning of no kind is a number: the least length or distance, to which the bits behind the word are
/// added.
const LITERAL: u32 = 1 << 15;
/// Neither a literal nor a number.
const SPECIAL: u32 = 1 << 14;
/// Of what is special: the word goes on, and its further bits have a table of their own.
const FURTHER: u32 = 1 << 13;
/// Of what is special: the block ends.
const END: u32 = 1 << 12;

impl Meaning {
    /// Bits that are no word.
    pub(super) const NONE: Self = Self(SPECIAL);
    pub(super) const END_OF_BLOCK: Self = Self(SPECIAL | END);

    pub(super) const fn literal(byte: u8) -> Self {
        Self(LITERAL | (byte as u32) << 16)
    }

    /// A number of at least `least`, to which `further` bits are added.
    pub(super) const fn number(least: u16, further: u8) -> Self {
        Self((least as u32) << 16 | further as u32)
    }

    /// The same, behind a word of `length` bits.
    fn of_word(self, length: usize) -> Self {
        Self(self.0 + (length as u32 | (length as u32) << 8))
    }

    /// The start of the table for the further bits of a word, and the number of these bits.
    fn further(start: usize, bits: usize, word: usize) -> Self {
        Self(SPECIAL | FURTHER | (start as u32) << 16 | (bits as u32) << 8 | word as u32)
    }

    /// The number of bits that it takes.
    #[inline(always)]
    pub(super) fn bits(self) -> u32 {
        self.0 & 0xff
    }

    /// The same in its six lowest bits, with anything above them.
    #[inline(always)]
    pub(super) fn shift(self) -> u32 {
        self.0
    }

    #[inline(always)]
    pub(super) fn is_literal(self) -> bool {
        self.0 & LITERAL != 0
    }

    #[inline(always)]
    pub(super) fn is_special(self) -> bool {
        self.0 & SPECIAL != 0
    }

    #[inline(always)]
    pub(super) fn is_end_of_block(self) -> bool {
        self.0 & END != 0
    }

    #[inline(always)]
    pub(super) fn byte(self) -> u8 {
        (self.0 >> 16) as u8
    }

    /// The number, with the bits behind its word.
    #[inline(always)]
    pub(super) fn number_with(self, bits: u64) -> usize {
        let all = bits & !(u64::MAX << self.bits());
        (self.0 >> 16) as usize + (all >> (self.0 >> 8 & 0xf)) as usize
    }
}

/// The meanings of a code's words, by the next `BITS` bits; the meanings of longer words are behind them.
pub(super) struct Table<const BITS: usize, const SIZE: usize> {
    meanings: Box<[Meaning; SIZE]>,
}

impl<const BITS: usize, const SIZE: usize> Table<BITS, SIZE> {
    pub(super) fn new() -> Self {
        Self { meanings: Box::new([Meaning::NONE; SIZE]) }
    }

    /// The meaning of the first of `bits`.
    #[inline(always)]
    pub(super) fn meaning(&self, bits: u64) -> Meaning {
        self.meanings[bits as usize & ((1 << BITS) - 1)]
    }

    /// All of what `bits` begin with.
    pub(super) fn whole_meaning(&self, bits: u64) -> Meaning {
        let meaning = self.meaning(bits);
        if meaning.is_special() { self.special(meaning, bits) } else { meaning }
    }

    /// The meaning of the first of `bits` where the table does not tell all: bits that are no word, too.
    #[inline(always)]
    pub(super) fn special(&self, meaning: Meaning, bits: u64) -> Meaning {
        if meaning.0 & FURTHER == 0 {
            return meaning;
        }
        let further = (bits >> BITS) as usize & ((1 << (meaning.0 >> 8 & 0xf)) - 1);
        self.meanings[((meaning.0 >> 16) as usize + further) % SIZE]
    }

    /// Makes it the table of the code whose words have `lengths`, for what each means; `false` when no code has these.
    ///
    /// A code has a word for all bits, as far as there are any. One word alone has one bit, and leaves the other.
    pub(super) fn fill(&mut self, lengths: &[u8], meaning: impl Fn(usize) -> Meaning) -> bool {
        let mut counts = [0_usize; LONGEST_WORD + 1];
        lengths.iter().for_each(|length| counts[usize::from(*length) & LONGEST_WORD] += 1);
        counts[0] = 0;
        let used: usize = counts.iter().sum();
        let room = (1..=LONGEST_WORD).fold(1_isize, |room, length| 2 * room - counts[length] as isize);
        if room != 0 && !(used == 0 || used == 1 && counts[1] == 1) {
            return false;
        }
        if room != 0 {
            self.meanings[..1 << BITS].fill(Meaning::NONE);
        }
        let mut sorted = [0_u16; 288];
        let mut next = [0_usize; LONGEST_WORD + 2];
        for length in 1..=LONGEST_WORD {
            next[length + 1] = next[length] + counts[length];
        }
        for (symbol, length) in lengths.iter().enumerate().filter(|(_, length)| **length > 0) {
            let at = &mut next[usize::from(*length) & LONGEST_WORD];
            sorted[*at % sorted.len()] = symbol as u16;
            *at += 1;
        }
        self.place(&sorted[..used], &counts, meaning);
        true
    }

    /// Writes the meanings of `symbols`, which are sorted by the length of their words.
    fn place(&mut self, symbols: &[u16], counts: &[usize], meaning: impl Fn(usize) -> Meaning) {
        // Words stand with their first bit lowest. Of those longer than `BITS`, the ones that begin alike are neighbours.
        let mut symbols = symbols.iter().map(|symbol| meaning(usize::from(*symbol)));
        let mut word = 0_usize;
        let mut end = 1 << BITS;
        let mut table = (usize::MAX, 0, 0);
        for (length, count) in counts.iter().enumerate().skip(1) {
            for placed in 0..*count {
                let Some(meaning) = symbols.next() else { return };
                let meaning = meaning.of_word(length);
                let reversed = word.reverse_bits() >> (usize::BITS as usize - length);
                word += 1;
                if length <= BITS {
                    self.spread(reversed, 1 << length, 1 << BITS, meaning);
                    continue;
                }
                let prefix = reversed & ((1 << BITS) - 1);
                if prefix != table.0 {
                    let bits = further_bits(length - BITS, count - placed, &counts[length + 1..]);
                    table = (prefix, end, 1 << bits);
                    self.meanings[prefix] = Meaning::further(end, bits, BITS);
                    end += 1 << bits;
                }
                let (_, start, size) = table;
                self.spread(start + (reversed >> BITS), 1 << (length - BITS), start + size, meaning);
            }
            word <<= 1;
        }
    }

    fn spread(&mut self, from: usize, step: usize, end: usize, meaning: Meaning) {
        for at in (from..end).step_by(step) {
            self.meanings[at % SIZE] = meaning;
        }
    }
}

/// The number of bits of a subtable's words behind their common beginning, when the first has `first`: as many as make
/// the words that follow, `here` of the same length and then `counts`, fill it.
fn further_bits(first: usize, here: usize, counts: &[usize]) -> usize {
    let mut bits = first;
    let mut room = (1_isize << bits) - here as isize;
    for count in counts {
        if room <= 0 {
            break;
        }
        bits += 1;
        room = 2 * room - *count as isize;
    }
    bits
}
