//! The names OpenSSL finds certificates by in a directory: a hash of the subject.
//!
//! <https://docs.openssl.org/3.0/man1/openssl-rehash/> · <https://datatracker.ietf.org/doc/html/rfc5280#section-4.1>

use pgp::crypto::hash::HashAlgorithm;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const UTF8_STRING: u8 = 0x0c;

/// The eight hexadecimal digits that begin the name of a certificate's link, or `None` when `pem` is not
/// exactly one certificate.
pub fn subject_hash(pem: &[u8]) -> Option<String> {
    let canonical = canonical_name(subject(&certificate(pem)?)?)?;
    let digest = HashAlgorithm::Sha1.digest(&canonical).ok()?;
    let first: [u8; 4] = digest.get(..4)?.try_into().ok()?;
    Some(format!("{:08x}", u32::from_le_bytes(first)))
}

/// The DER bytes of the only certificate of a PEM text.
fn certificate(pem: &[u8]) -> Option<Vec<u8>> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let text = String::from_utf8_lossy(pem);
    let (_, rest) = text.split_once(BEGIN)?;
    let (body, after) = rest.split_once(END)?;
    if after.contains(BEGIN) { None } else { base64(body) }
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut count) = (Vec::with_capacity(text.len() * 3 / 4), 0_u32, 0);
    for c in text.bytes().filter(|c| !c.is_ascii_whitespace() && *c != b'=') {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

/// Takes one DER element off `rest`: its tag and its content.
fn element<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&tag, after) = rest.split_first()?;
    let (&short, after) = after.split_first()?;
    let (length, after) = match short {
        0..=0x7f => (usize::from(short), after),
        0x81..=0x84 => {
            let (digits, after) = after.split_at_checked(usize::from(short & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), after)
        }
        _ => return None,
    };
    let (content, after) = after.split_at_checked(length)?;
    *rest = after;
    Some((tag, content))
}

fn expect<'a>(rest: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    element(rest).filter(|(found, _)| *found == tag).map(|(_, content)| content)
}

/// The content of the subject of a certificate.
fn subject(mut der: &[u8]) -> Option<&[u8]> {
    let mut certificate = expect(&mut der, SEQUENCE)?;
    let mut signed = expect(&mut certificate, SEQUENCE)?;
    if signed.first() == Some(&VERSION) {
        element(&mut signed)?;
    }
    // Serial number, signature algorithm, issuer, validity.
    for _ in 0..4 {
        element(&mut signed)?;
    }
    expect(&mut signed, SEQUENCE)
}

/// A name as OpenSSL compares it: text as UTF-8 in lower case, runs of spaces as one, none at the ends.
fn canonical_name(mut name: &[u8]) -> Option<Vec<u8>> {
    let mut canonical = Vec::new();
    while !name.is_empty() {
        let mut set = expect(&mut name, SET)?;
        let mut attributes = Vec::new();
        while !set.is_empty() {
            let mut attribute = expect(&mut set, SEQUENCE)?;
            let before = attribute;
            element(&mut attribute)?;
            let mut encoded = before[..before.len() - attribute.len()].to_vec();
            let whole = attribute;
            let (tag, value) = element(&mut attribute)?;
            match text(tag, value) {
                Some(text) => encoded.extend(der(UTF8_STRING, canonical_text(&text).as_bytes())),
                None => encoded.extend(whole),
            }
            attributes.push(der(SEQUENCE, &encoded));
        }
        attributes.sort();
        canonical.extend(der(SET, &attributes.concat()));
    }
    Some(canonical)
}

/// The text of a string type; `None` for what OpenSSL compares as bytes.
fn text(tag: u8, value: &[u8]) -> Option<String> {
    const PRINTABLE: u8 = 0x13;
    const T61: u8 = 0x14;
    const IA5: u8 = 0x16;
    const VISIBLE: u8 = 0x1a;
    const UNIVERSAL: u8 = 0x1c;
    const BMP: u8 = 0x1e;
    match tag {
        UTF8_STRING => String::from_utf8(value.to_vec()).ok(),
        PRINTABLE | T61 | IA5 | VISIBLE => Some(value.iter().copied().map(char::from).collect()),
        BMP => {
            let units = value.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units).collect::<Result<_, _>>().ok()
        }
        UNIVERSAL => value
            .chunks_exact(4)
            .map(|four| char::from_u32(u32::from_be_bytes([four[0], four[1], four[2], four[3]])))
            .collect(),
        _ => None,
    }
}

fn canonical_text(text: &str) -> String {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    words.join(" ").to_ascii_lowercase()
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let bytes = length.to_be_bytes();
    let digits = &bytes[bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1)..];
    let mut encoded = vec![tag];
    if length > 0x7f {
        encoded.push(0x80 | digits.len() as u8);
    }
    encoded.extend(digits);
    encoded.extend(content);
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISRG_ROOT_X2: &[u8] = include_bytes!("testdata/ISRG_Root_X2.crt");

    #[test]
    fn hashes_a_subject_as_openssl_does() {
        assert_eq!(subject_hash(ISRG_ROOT_X2).as_deref(), Some("0b9bc432"));
    }

    #[test]
    fn the_case_and_the_spaces_of_a_name_do_not_matter() {
        let name = |text: &[u8], tag| {
            let attribute = [der(0x06, &[0x55, 0x04, 0x03]), der(tag, text)].concat();
            canonical_name(&der(SET, &der(SEQUENCE, &attribute))).unwrap()
        };
        assert_eq!(name(b"  Test \t CA ", UTF8_STRING), name(b"test ca", 0x13));
        assert_eq!(name(b"\0T\0E\0S\0T\0 \0C\0A", 0x1e), name(b"test ca", 0x13));
        assert_ne!(name(b"test", UTF8_STRING), name(b"test", 0x03));
    }

    #[test]
    fn only_one_whole_certificate_has_a_hash() {
        let text = String::from_utf8_lossy(ISRG_ROOT_X2);
        let damaged = text.replace("MII", "MIJ");
        for pem in ["", "-----BEGIN CERTIFICATE-----", &text.repeat(2), &text[..300], &damaged] {
            assert_eq!(subject_hash(pem.as_bytes()), None, "{pem}");
        }
    }
}
