//! The names OpenSSL finds certificates by in a directory: a hash of the subject.
//!
//! <https://docs.openssl.org/3.0/man1/openssl-rehash/> · <https://datatracker.ietf.org/doc/html/rfc5280#section-4.1>

use der::asn1::AnyRef;
use der::{Decode as _, Encode, Reader as _, SliceReader, Tag, TagNumber, Tagged};
use pgp::crypto::hash::HashAlgorithm;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// The eight hexadecimal digits that begin the name of a certificate's link, or `None` when `pem` is not
/// exactly one certificate.
pub fn subject_hash(pem: &[u8]) -> Option<String> {
    let canonical = canonical_name(subject(&certificate(pem)?)?)?;
    let digest = HashAlgorithm::Sha1.digest(&canonical).ok()?;
    let first: [u8; 4] = digest.get(..4)?.try_into().ok()?;
    Some(format!("{:08x}", u32::from_le_bytes(first)))
}

/// The only certificate of a PEM text.
pub fn certificate(pem: &[u8]) -> Option<CertificateDer<'static>> {
    let mut certificates = CertificateDer::pem_slice_iter(pem);
    let certificate = certificates.next()?.ok()?;
    certificates.next().is_none().then_some(certificate)
}

/// The content of the subject of a certificate.
fn subject(certificate: &[u8]) -> Option<&[u8]> {
    const VERSION: Tag = Tag::ContextSpecific { constructed: true, number: TagNumber::N0 };
    let signed = *elements(elements(certificate)?.first()?.value())?.first()?;
    let mut fields = elements(signed.value())?.into_iter().skip_while(|field| field.tag() == VERSION);
    // After serial number, signature algorithm, issuer and validity.
    fields.nth(4).map(AnyRef::value)
}

/// The elements that stand one after another in `content`.
fn elements(content: &[u8]) -> Option<Vec<AnyRef<'_>>> {
    let mut reader = SliceReader::new(content).ok()?;
    let mut elements = Vec::new();
    while !reader.is_finished() {
        elements.push(AnyRef::decode(&mut reader).ok()?);
    }
    Some(elements)
}

/// A name as OpenSSL compares it: text as UTF-8 in lower case, runs of spaces as one, none at the ends.
fn canonical_name(name: &[u8]) -> Option<Vec<u8>> {
    let mut canonical = Vec::new();
    for set in elements(name)? {
        let attributes = elements(set.value())?;
        let mut attributes: Vec<_> = attributes
            .iter()
            .map(|attribute| canonical_attribute(attribute.value()))
            .collect::<Option<_>>()?;
        attributes.sort();
        canonical.extend(der(Tag::Set, &attributes.concat())?);
    }
    Some(canonical)
}

/// The type of an attribute as it is and its value in canonical form.
fn canonical_attribute(attribute: &[u8]) -> Option<Vec<u8>> {
    let [kind, value] = elements(attribute)?[..] else { return None };
    let value = match text(value) {
        Some(text) => der(Tag::Utf8String, canonical_text(&text).as_bytes()),
        None => value.to_der().ok(),
    };
    der(Tag::Sequence, &[kind.to_der().ok()?, value?].concat())
}

/// The text of a string type; `None` for what OpenSSL compares as bytes.
fn text(value: AnyRef<'_>) -> Option<String> {
    let bytes = value.value();
    match value.tag() {
        Tag::Utf8String => String::from_utf8(bytes.to_vec()).ok(),
        Tag::PrintableString | Tag::TeletexString | Tag::Ia5String | Tag::VisibleString => {
            Some(bytes.iter().copied().map(char::from).collect())
        }
        Tag::BmpString => {
            let units = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units).collect::<Result<_, _>>().ok()
        }
        _ => None,
    }
}

fn canonical_text(text: &str) -> String {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    words.join(" ").to_ascii_lowercase()
}

fn der(tag: Tag, content: &[u8]) -> Option<Vec<u8>> {
    AnyRef::new(tag, content).ok()?.to_der().ok()
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
            let attribute = [der(Tag::ObjectIdentifier, &[0x55, 0x04, 0x03]), der(tag, text)]
                .map(Option::unwrap)
                .concat();
            canonical_name(&der(Tag::Set, &der(Tag::Sequence, &attribute).unwrap()).unwrap()).unwrap()
        };
        assert_eq!(name(b"  Test \t CA ", Tag::Utf8String), name(b"test ca", Tag::PrintableString));
        assert_eq!(name(b"\0T\0E\0S\0T\0 \0C\0A", Tag::BmpString), name(b"test ca", Tag::PrintableString));
        assert_ne!(name(b"test", Tag::Utf8String), name(b"test", Tag::BitString));
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
