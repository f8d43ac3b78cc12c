//! Java's keystore of trusted certificates, in the form that every Java reads.
//!
//! <https://docs.oracle.com/en/java/javase/17/docs/specs/security/standard-names.html#keystore-types>

use pgp::crypto::hash::HashAlgorithm;

/// The password of Java's own keystore, which only guards against damage.
const PASSWORD: &str = "changeit";
const MAGIC: u32 = 0xfeed_feed;
const VERSION: u32 = 2;
/// The tag of an entry that is a certificate without a key.
const TRUSTED: u32 = 2;

/// A keystore of `certificates`, each with its alias, that were trusted at `time`, in Unix seconds.
pub fn keystore(certificates: &[(String, Vec<u8>)], time: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let word = |bytes: &mut Vec<u8>, word: u32| bytes.extend(word.to_be_bytes());
    for value in [MAGIC, VERSION, certificates.len() as u32] {
        word(&mut bytes, value);
    }
    for (alias, certificate) in certificates {
        word(&mut bytes, TRUSTED);
        text(&mut bytes, alias);
        bytes.extend((time * 1000).to_be_bytes());
        text(&mut bytes, "X.509");
        word(&mut bytes, certificate.len() as u32);
        bytes.extend(certificate);
    }
    let mut signed: Vec<u8> = PASSWORD.encode_utf16().flat_map(u16::to_be_bytes).collect();
    signed.extend(b"Mighty Aphrodite");
    signed.extend(&bytes);
    bytes.extend(HashAlgorithm::Sha1.digest(&signed).unwrap_or_default());
    bytes
}

/// A short text after its length; aliases are names of files.
fn text(bytes: &mut Vec<u8>, text: &str) {
    let text = &text.as_bytes()[..text.len().min(usize::from(u16::MAX))];
    bytes.extend((text.len() as u16).to_be_bytes());
    bytes.extend(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keystore_is_as_keytool_writes_it() {
        // `keytool -list -storepass changeit -keystore FILE` names its entry; the last 20 bytes are the digest.
        let bytes = keystore(&[("debian:a.pem".into(), vec![0x30, 0x00])], 1_700_000_000);
        let (content, digest) = bytes.split_at(bytes.len() - 20);
        assert_eq!(
            hex::encode(content),
            "feedfeed0000000200000001000000020\
             00c64656269616e3a612e70656d0000018bcfe568000005582e353039000000023000"
        );
        assert_eq!(digest.len(), 20);
        assert_ne!(digest, [0; 20]);
    }
}
