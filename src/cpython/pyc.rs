//! `.pyc` files that are based on the hash of their source: a header and a code object.
//!
//! <https://peps.python.org/pep-0552/>

use siphasher::sip::{SipHasher13, SipHasher24};

use super::marshal::without_unused_references;

/// The size of what comes before the code, in bytes.
const HEADER: usize = 16;
/// The pyc is based on a hash, and nobody checks it.
const UNCHECKED_HASH: u32 = 0b01;
/// The mark that marshal may set on any kind of object.
const REFERRED: u8 = 0x80;

/// The reasons for which bytes are not the bytecode of a module.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum InvalidPyc {
    #[error("it has {0} bytes, fewer than a header")]
    Short(usize),
    #[error("its magic number is {found}, where that of Python {}.{} is {wanted}", version.0, version.1)]
    Magic { found: u16, wanted: u16, version: (u8, u8) },
    #[error("its header is not one of bytecode without checks")]
    Header,
    #[error("it is made from another source")]
    OtherSource,
    #[error("its content is not a code object of Python {}.{}", .0.0, .0.1)]
    Code((u8, u8)),
}

/// The same `.pyc` of a module with this `source`, whichever build of CPython `version` wrote it.
///
/// Of a version that is not known here, only the header is checked, and the code stays as it is.
pub fn canonical(pyc: &[u8], source: &[u8], version: (u8, u8)) -> Result<Vec<u8>, InvalidPyc> {
    let (header, code) = pyc.split_at_checked(HEADER).ok_or(InvalidPyc::Short(pyc.len()))?;
    let number = |at: usize| header[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let magic = number(0);
    if magic.to_le_bytes()[2..] != *b"\r\n" || number(4) != UNCHECKED_HASH {
        return Err(InvalidPyc::Header);
    }
    let found = magic as u16;
    if let Some(wanted) = magic_number(version).filter(|wanted| *wanted != found) {
        return Err(InvalidPyc::Magic { found, wanted, version });
    }
    if header[8..] != source_hash(magic, source, version).to_le_bytes() {
        return Err(InvalidPyc::OtherSource);
    }
    let is_code = code.first().is_some_and(|kind| kind & !REFERRED == b'c');
    let code = match (magic_number(version), without_unused_references(code, version)) {
        (_, Some(canonical)) if is_code => canonical,
        (None, None) if is_code => code.to_vec(),
        _ => return Err(InvalidPyc::Code(version)),
    };
    Ok([header, &code].concat())
}

/// The number of a release's bytecode: `_RAW_MAGIC_NUMBER` of importlib.
fn magic_number(version: (u8, u8)) -> Option<u16> {
    Some(match version {
        (3, 8) => 3413,
        (3, 9) => 3425,
        (3, 10) => 3439,
        (3, 11) => 3495,
        (3, 12) => 3531,
        (3, 13) => 3571,
        (3, 14) => 3627,
        _ => return None,
    })
}

/// CPython's hash of a source: SipHash-1-3 since 3.11, SipHash-2-4 before.
fn source_hash(magic: u32, source: &[u8], version: (u8, u8)) -> u64 {
    match version >= (3, 11) {
        true => SipHasher13::new_with_keys(magic.into(), 0).hash(source),
        false => SipHasher24::new_with_keys(magic.into(), 0).hash(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &[u8] = b"X=1\n";
    /// `_imp.source_hash` of CPython 3.11 for it.
    const HASH: [u8; 8] = [0xfd, 0xb4, 0x24, 0xe6, 0xbe, 0xb2, 0xb6, 0xe2];

    fn pyc(magic: u16, flags: u32, hash: [u8; 8], code: &[u8]) -> Vec<u8> {
        [&magic.to_le_bytes()[..], b"\r\n", &flags.to_le_bytes(), &hash, code].concat()
    }

    fn code(kind: u8) -> Vec<u8> {
        let none = |count| b"N".repeat(count);
        [&[kind][..], &[0; 20], &none(8), &[0; 4], &none(2)].concat()
    }

    fn refused(pyc: &[u8]) -> String {
        canonical(pyc, SOURCE, (3, 11)).unwrap_err().to_string()
    }

    #[test]
    fn a_sound_pyc_is_made_canonical() {
        let marked = pyc(3495, 1, HASH, &code(b'c' | REFERRED));
        assert_eq!(canonical(&marked, SOURCE, (3, 11)).unwrap(), pyc(3495, 1, HASH, &code(b'c')));
    }

    #[test]
    fn what_is_no_bytecode_of_the_source_is_refused() {
        let check = |pyc: Vec<u8>, expected: &str| {
            let said = refused(&pyc);
            assert!(said.contains(expected), "{said}");
        };
        let code = code(b'c');
        check(Vec::new(), "0 bytes");
        check(pyc(3495, 1, HASH, &code)[..15].to_vec(), "15 bytes");
        check(pyc(3531, 1, HASH, &code), "magic number is 3531");
        check(pyc(3495, 0, HASH, &code), "header");
        check(pyc(3495, 3, HASH, &code), "header");
        check(b"MZ\x90\0padding of a program".to_vec(), "header");
        check(pyc(3495, 1, [0; 8], &code), "another source");
        check(pyc(3495, 1, HASH, b"EVIL"), "not a code object");
        check(pyc(3495, 1, HASH, b"N"), "not a code object");
        check(pyc(3495, 1, HASH, &code[..code.len() - 1]), "not a code object");
        check(pyc(3495, 1, HASH, &[&code[..], b"N"].concat()), "not a code object");
        check(pyc(3495, 1, HASH, &[b'('; 70]), "not a code object");
        check(pyc(3495, 1, HASH, b""), "not a code object");
    }

    #[test]
    fn a_hash_is_made_as_the_release_makes_it() {
        let magic = |number: u16| u32::from(number) | 0x0a0d_0000;
        assert_eq!(source_hash(magic(3495), SOURCE, (3, 13)).to_le_bytes(), HASH);
        assert_ne!(source_hash(magic(3495), SOURCE, (3, 10)).to_le_bytes(), HASH);
    }

    #[test]
    fn of_a_later_python_the_header_is_checked() {
        let hash = source_hash(u32::from(4000u16) | 0x0a0d_0000, SOURCE, (3, 99)).to_le_bytes();
        let later = pyc(4000, 1, hash, b"c of a new form");
        assert_eq!(canonical(&later, SOURCE, (3, 99)).unwrap(), later);
        assert!(canonical(&later, b"", (3, 99)).is_err());
    }
}
