//! Names of symbols, small: most are only compared, and few are ever told.

use serde::{Deserialize, Serialize};

/// The end of a name in a string table.
const END: u8 = 0;
/// Mangled names shrink to an eighth, in no time.
const LEVEL: i32 = 1;

/// A set of names, told apart by [`symbol_hash`].
///
/// A hundred of TensorFlow's modules import thousands of symbols each, of a hundred bytes: 40 MB if they were kept as they
/// are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolNames {
    /// Sorted.
    hashes: Vec<u64>,
    /// The names in the order of their hashes, each with its end: one zstd frame.
    packed: Vec<u8>,
}

impl SymbolNames {
    /// The names that are not empty, each once.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let hashed = names.into_iter().filter(|name| !name.is_empty()).map(|name| (symbol_hash(name), name));
        let mut hashed: Vec<(u64, &[u8])> = hashed.collect();
        hashed.sort_unstable();
        hashed.dedup_by_key(|(hash, _)| *hash);
        if hashed.is_empty() {
            return Self::default();
        }
        let text: Vec<u8> = hashed.iter().flat_map(|(_, name)| name.iter().copied().chain([END])).collect();
        Self {
            // Memory has no errors.
            packed: zstd::bulk::compress(&text, LEVEL).unwrap_or_default(),
            hashes: hashed.into_iter().map(|(hash, _)| hash).collect(),
        }
    }

    /// The hashes of all, sorted.
    pub fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// The names of `hashes`, as far as there are such, in the order of their hashes.
    pub fn of(&self, hashes: &[u64]) -> Vec<(u64, String)> {
        let text = zstd::decode_all(&*self.packed).unwrap_or_default();
        let named = self.hashes.iter().zip(text.split(|byte| *byte == END));
        let wanted = named.filter(|(hash, _)| hashes.contains(hash));
        wanted.map(|(hash, name)| (*hash, String::from_utf8_lossy(name).into_owned())).collect()
    }
}

/// The number that stands for a symbol's name: FNV-1a of 64 bits.
///
/// <https://datatracker.ietf.org/doc/html/draft-eastlake-fnv>
pub fn symbol_hash(name: &[u8]) -> u64 {
    name.iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_by_their_hashes() {
        let names = SymbolNames::new([&b"memcpy"[..], b"", b"abort", b"memcpy"]);
        let [memcpy, abort] = [&b"memcpy"[..], b"abort"].map(symbol_hash);
        assert_eq!(names.hashes().len(), 2);
        assert_eq!(names.of(&[memcpy, 7]), [(memcpy, "memcpy".to_owned())]);
        assert_eq!(names.of(&[abort]), [(abort, "abort".to_owned())]);
        assert_eq!(SymbolNames::new([]), SymbolNames::default());
        assert!(SymbolNames::default().of(&[7]).is_empty());
    }
}
