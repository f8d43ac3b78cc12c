//! DEFLATE, the compression of zip and hence of wheels: a stream followed from its beginning, and the end of one whose
//! beginning is not at hand.
//!
//! <https://www.rfc-editor.org/rfc/rfc1951>

mod codes;
mod inflate;
mod table;
mod tail;

pub use inflate::{End, Inflater, Invalid, Passage};
pub use tail::{KnownEnd, Tail, UNKNOWN};

/// The distance in bytes that a stream may copy from.
const WINDOW: usize = 32 << 10;
/// No word of a Huffman code has more bits.
const LONGEST_WORD: usize = 15;
/// The order in which a block gives the lengths of the words by which it gives lengths.
const CODE_LENGTHS_ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
const END_OF_BLOCK: u16 = 256;
/// The shortest length and the number of further bits, from symbol 257 on.
const LENGTHS: [(u16, u8); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];
/// The shortest distance and the number of further bits.
const DISTANCES: [(u16, u8); 30] = [
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 0),
    (5, 1),
    (7, 1),
    (9, 2),
    (13, 2),
    (17, 3),
    (25, 3),
    (33, 4),
    (49, 4),
    (65, 5),
    (97, 5),
    (129, 6),
    (193, 6),
    (257, 7),
    (385, 7),
    (513, 8),
    (769, 8),
    (1025, 9),
    (1537, 9),
    (2049, 10),
    (3073, 10),
    (4097, 11),
    (6145, 11),
    (8193, 12),
    (12289, 12),
    (16385, 13),
    (24577, 13),
];
