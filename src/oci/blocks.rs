//! SHA-256 of messages that share bytes, as a layer's tar and the files in it do.
//!
//! Both are hashed in one pass: what SHA-256 makes of a block before the rounds is the same for both, and the processor is
//! in the rounds of one while it would wait for those of the other. The second costs next to nothing.
//!
//! <https://nvlpubs.nist.gov/nistpubs/FIPS/NIST.FIPS.180-4.pdf>

use sha2::block_api::compress256;

use super::Digest;

/// The bytes of a block.
pub const BLOCK: usize = 64;
/// The bytes of the length at a message's end.
const LENGTH: usize = 8;

/// The initial state of a digest.
const FIRST: HashState =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

type HashState = [u32; 8];

/// Hashes a message of whole blocks, and what is left of it, into a [`Digest`].
#[derive(Debug, Clone)]
pub struct BlockHasher {
    state: HashState,
    /// The number of blocks.
    passed: u64,
}

impl Default for BlockHasher {
    fn default() -> Self {
        Self { state: FIRST, passed: 0 }
    }
}

impl BlockHasher {
    /// Takes the next blocks of the message.
    pub fn update(&mut self, blocks: &[[u8; BLOCK]]) {
        compress256(&mut self.state, blocks);
        self.passed += blocks.len() as u64;
    }

    /// Takes the next blocks of two messages.
    pub fn update_both(&mut self, other: &mut Self, blocks: &[[u8; BLOCK]]) {
        compress_both([&mut self.state, &mut other.state], blocks);
        self.passed += blocks.len() as u64;
        other.passed += blocks.len() as u64;
    }

    /// The digest of the message, which ends with `rest`.
    pub fn finish(mut self, rest: &[u8]) -> Digest {
        let bits = (self.passed * BLOCK as u64 + rest.len() as u64) * 8;
        let (blocks, rest) = rest.as_chunks();
        self.update(blocks);
        let mut last = [[0; BLOCK]; 2];
        last.as_flattened_mut()[..rest.len()].copy_from_slice(rest);
        last.as_flattened_mut()[rest.len()] = 0x80;
        let last = &mut last[..(rest.len() + 1 + LENGTH).div_ceil(BLOCK)];
        let length = last.as_flattened().len();
        last.as_flattened_mut()[length - LENGTH..].copy_from_slice(&bits.to_be_bytes());
        self.update(last);
        let mut digest = [0; 32];
        for (bytes, word) in digest.chunks_exact_mut(4).zip(self.state) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        Digest::from_bytes(digest)
    }
}

fn compress_both(states: [&mut HashState; 2], blocks: &[[u8; BLOCK]]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("sha") && std::arch::is_x86_feature_detected!("sse4.1") {
        // SAFETY: the processor has the instructions that the function was compiled with.
        return unsafe { x86::compress_both(states, blocks) };
    }
    for state in states {
        compress256(state, blocks);
    }
}

/// With the processor's instructions for SHA-256, of which each state keeps but one busy in two cycles of four.
///
/// <https://www.intel.com/content/www/us/en/developer/articles/technical/intel-sha-extensions.html>
#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::BLOCK;

    /// The constants that are added to the words of a block: the first bits of the cube roots of the primes.
    const ADDED: [[u32; 4]; 16] = [
        [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5],
        [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
        [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3],
        [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
        [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc],
        [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
        [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7],
        [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
        [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13],
        [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
        [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3],
        [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
        [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5],
        [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
        [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208],
        [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
    ];

    #[target_feature(enable = "sha,sse4.1")]
    pub(super) fn compress_both(states: [&mut super::HashState; 2], blocks: &[[u8; BLOCK]]) {
        let halves =
            |order: [usize; 4]| [0, 1].map(|index: usize| words(order.map(|word| states[index][word])));
        let (mut abef, mut cdgh) = (halves([5, 4, 1, 0]), halves([7, 6, 3, 2]));
        for block in blocks {
            let (before_abef, before_cdgh) = (abef, cdgh);
            let (pairs, _) = block.as_chunks();
            let [first, second, third, fourth] = [0, 2, 4, 6].map(|at| [pairs[at], pairs[at + 1]]);
            let mut message = [big_endian(first), big_endian(second), big_endian(third), big_endian(fourth)];
            for (group, added) in ADDED.iter().enumerate() {
                let [next, second, third, last] = message;
                let sum = _mm_add_epi32(next, words(*added));
                let high = _mm_shuffle_epi32(sum, 0x0e);
                for index in 0..2 {
                    cdgh[index] = _mm_sha256rnds2_epu32(cdgh[index], abef[index], sum);
                }
                for index in 0..2 {
                    abef[index] = _mm_sha256rnds2_epu32(abef[index], cdgh[index], high);
                }
                // The last groups make words that nothing needs.
                let new = if group < 12 {
                    let sum =
                        _mm_add_epi32(_mm_sha256msg1_epu32(next, second), _mm_alignr_epi8(last, third, 4));
                    _mm_sha256msg2_epu32(sum, last)
                } else {
                    next
                };
                message = [second, third, last, new];
            }
            for index in 0..2 {
                abef[index] = _mm_add_epi32(abef[index], before_abef[index]);
                cdgh[index] = _mm_add_epi32(cdgh[index], before_cdgh[index]);
            }
        }
        for (index, state) in states.into_iter().enumerate() {
            let [a, c] = [abef[index], cdgh[index]];
            *state = [
                _mm_extract_epi32(a, 3),
                _mm_extract_epi32(a, 2),
                _mm_extract_epi32(c, 3),
                _mm_extract_epi32(c, 2),
                _mm_extract_epi32(a, 1),
                _mm_extract_epi32(a, 0),
                _mm_extract_epi32(c, 1),
                _mm_extract_epi32(c, 0),
            ]
            .map(i32::cast_unsigned);
        }
    }

    /// Four words, the first of which is the lowest.
    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn words(words: [u32; 4]) -> __m128i {
        let [first, second, third, fourth] = words.map(u32::cast_signed);
        _mm_set_epi32(fourth, third, second, first)
    }

    /// Four words of a block, as a message has them.
    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn big_endian([low, high]: [[u8; 8]; 2]) -> __m128i {
        let words = _mm_set_epi64x(i64::from_le_bytes(high), i64::from_le_bytes(low));
        _mm_shuffle_epi8(words, _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * at % 251) as u8).collect()
    }

    #[test]
    fn hashes_messages_of_every_length() {
        for length in 0..300 {
            let message = message(length);
            assert_eq!(BlockHasher::default().finish(&message), Digest::of(&message), "{length} bytes");
        }
    }

    #[test]
    fn hashes_two_messages_that_share_blocks() {
        let message = message(100 * BLOCK + 17);
        let blocks = message.as_chunks().0;
        for shared in [1..2, 0..100, 3..90, 5..5] {
            let (mut whole, mut part) = (BlockHasher::default(), BlockHasher::default());
            whole.update(&blocks[..shared.start]);
            whole.update_both(&mut part, &blocks[shared.clone()]);
            whole.update(&blocks[shared.end..]);
            assert_eq!(whole.finish(&message[100 * BLOCK..]), Digest::of(&message), "{shared:?}");
            let bytes = [blocks[shared.clone()].as_flattened(), b"rest"].concat();
            assert_eq!(part.finish(b"rest"), Digest::of(bytes), "{shared:?}");
        }
    }
}
