//! The end of a record: a checksum, by which a record that a loss of power left half-written is told from a whole one.
//!
//! So no record has to be waited for: what is not whole counts as missing, and is made again. The checksum is written in
//! spaces and tabs, which JSON allows at its end: a record remains JSON for whoever looks at it.

/// The bits of a CRC-32, each a character.
const BITS: usize = 32;

/// The record with its checksum.
pub(super) fn with_checksum(mut record: Vec<u8>) -> Vec<u8> {
    let checksum = blanks(&record);
    record.extend(checksum);
    record
}

/// The record of a file, where that is whole.
pub(super) fn without_checksum(mut file: Vec<u8>) -> Option<Vec<u8>> {
    let end = file.len().checked_sub(BITS)?;
    let is_whole = file[end..] == blanks(&file[..end]);
    file.truncate(end);
    is_whole.then_some(file)
}

/// Returns whether a file ends in no checksum at all: its writing was not finished. One that ends in a checksum, but not in
/// its own, was changed later.
pub(super) fn is_unfinished(file: &[u8]) -> bool {
    let end = file.len().saturating_sub(BITS);
    file.len() < BITS || !file[end..].iter().all(|byte| matches!(byte, b' ' | b'\t'))
}

fn blanks(record: &[u8]) -> [u8; BITS] {
    let checksum = crc32fast::hash(record);
    std::array::from_fn(|bit| if checksum >> bit & 1 == 1 { b'\t' } else { b' ' })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_record_is_one() {
        for record in [&b""[..], b"{}", b"7\nbody\0of bytes\n"] {
            let file = with_checksum(record.to_vec());
            assert_eq!(without_checksum(file.clone()).as_deref(), Some(record));
            for length in 0..file.len() {
                assert_eq!(without_checksum(file[..length].to_vec()), None, "{length}");
                assert!(is_unfinished(&file[..length.saturating_sub(1)]), "{length}");
                let zeroed = [&file[..length], &vec![0; file.len() - length]].concat();
                assert!(is_unfinished(&zeroed));
                assert_eq!(without_checksum(zeroed), None, "{length}");
            }
        }
    }

    #[test]
    fn a_record_remains_json() {
        let file = with_checksum(b"{\"a\":1}".to_vec());
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&file).unwrap()["a"], 1);
    }
}
