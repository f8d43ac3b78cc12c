//! Bytes that are kept for a while and read seldom, small.

use std::borrow::Cow;
use std::io;

/// The bytes that are packed together.
const BLOCK: usize = 256 << 10;
/// Tables of symbols shrink to a third, and their names to an eighth, in no time.
const LEVEL: i32 = 1;

/// Bytes to which more may be added, as zstd frames.
#[derive(Debug, Default)]
pub(super) struct Packed {
    /// Each stands for [`BLOCK`] bytes; one of that length is not compressed, as that made it no smaller.
    blocks: Vec<Vec<u8>>,
    /// The rest that is less than a block.
    last: Vec<u8>,
}

impl Packed {
    /// The number of bytes.
    pub(super) fn len(&self) -> usize {
        self.blocks.len() * BLOCK + self.last.len()
    }

    pub(super) fn extend(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.last.len()));
            self.last.extend_from_slice(now);
            bytes = later;
            if self.last.len() == BLOCK {
                let packed =
                    zstd::bulk::compress(&self.last, LEVEL).ok().filter(|packed| packed.len() < BLOCK);
                self.blocks.push(packed.unwrap_or_else(|| self.last.clone()));
                self.last.clear();
            }
        }
    }

    /// Bytes from `at` on, as many as were packed together; empty at the end.
    pub(super) fn piece(&self, at: usize) -> io::Result<Cow<'_, [u8]>> {
        let (block, within) = (at / BLOCK, at % BLOCK);
        Ok(match self.blocks.get(block) {
            Some(bytes) if bytes.len() == BLOCK => Cow::Borrowed(&bytes[within..]),
            Some(packed) => Cow::Owned(zstd::bulk::decompress(packed, BLOCK)?.split_off(within)),
            None if block == self.blocks.len() => Cow::Borrowed(self.last.get(within..).unwrap_or_default()),
            None => Cow::Borrowed(&[]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_it_was_given() {
        // Half of it cannot be packed.
        let mut state = 1_u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let bytes: Vec<u8> =
            (0..3 * BLOCK + 1000).map(|at| if at < 2 * BLOCK { noise() } else { 7 }).collect();
        for step in [1000, BLOCK, 2 * BLOCK + 1] {
            let mut packed = Packed::default();
            bytes.chunks(step).for_each(|chunk| packed.extend(chunk));
            assert_eq!(packed.len(), bytes.len());
            for start in [0, 1, BLOCK - 1, BLOCK, 3 * BLOCK - 5, 3 * BLOCK + 999] {
                let mut read = Vec::new();
                while start + read.len() < bytes.len() {
                    let piece = packed.piece(start + read.len()).unwrap();
                    assert!(!piece.is_empty());
                    read.extend_from_slice(&piece);
                }
                assert_eq!(read, bytes[start..]);
            }
            assert!(packed.piece(bytes.len()).unwrap().is_empty());
            assert!(packed.piece(10 * BLOCK).unwrap().is_empty());
            assert!(packed.blocks.iter().map(Vec::len).sum::<usize>() < 2 * BLOCK + 1000);
        }
    }
}
