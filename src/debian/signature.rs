//! The OpenPGP signature of an InRelease file, checked against the keys the user trusts.
//!
//! <https://www.rfc-editor.org/rfc/rfc9580.html#name-cleartext-signature-framewo> ·
//! <https://wiki.debian.org/DebianRepository/Format#A.22Release.22_files>

use std::io::Read;

use pgp::armor::Dearmor;
use pgp::composed::{CleartextSignedMessage, Deserializable, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Packet, PacketParser, Signature, SignatureType, SubpacketData};
use pgp::types::{KeyDetails, Tag};

use crate::failure::Hinted;

const ARMOR: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";

/// Keys that may sign a release.
#[derive(Debug, Clone)]
pub struct Keyring {
    name: String,
    keys: Vec<SignedPublicKey>,
}

/// A text with a good signature: all that may be used of the file it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The signed text, lines ending in `\n`.
    pub text: String,
    /// The fingerprint of the primary key of the signer, in capital hexadecimal digits.
    pub fingerprint: String,
    /// The time of the signature, in Unix seconds.
    pub created: u64,
}

/// The reason why a release is not trusted.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum SignatureError {
    #[error("the keyring `{keyring}` cannot be read")]
    Keyring { keyring: String, source: pgp::errors::Error },
    #[error("the keyring `{keyring}` contains no public key")]
    NoKeys { keyring: String },
    #[error("the InRelease file is not a signed text")]
    NotSigned { source: pgp::errors::Error },
    #[error("the InRelease file has no good signature: {}", findings.join("; "))]
    Untrusted {
        /// The fault of each signature, naming its key.
        findings: Vec<String>,
        keyrings: Vec<String>,
    },
}

impl Hinted for SignatureError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Keyring { .. } | Self::NoKeys { .. } => {
                "`signed-by` names a file of OpenPGP public keys, binary or armored".into()
            }
            Self::NotSigned { .. } => {
                "something other than the archive answered: check the mirror's address and the proxy".into()
            }
            Self::Untrusted { keyrings, .. } => format!(
                "trusted are the keys of {}; for a newer or another archive, install its keyring package or name its \
                 keyring in `signed-by`",
                keyrings.join(", ")
            ),
        })
    }
}

impl Keyring {
    /// Reads a keyring, binary or armored; `name` is for messages. Keys of unknown kinds are left out.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, SignatureError> {
        let failed = |source| SignatureError::Keyring { keyring: name.to_owned(), source };
        let mut keys = Vec::new();
        match std::str::from_utf8(bytes).ok().filter(|text| text.contains(ARMOR)) {
            Some(text) => {
                for block in text.split(ARMOR).skip(1) {
                    let mut binary = Vec::new();
                    Dearmor::new(format!("{ARMOR}{block}").as_bytes())
                        .read_to_end(&mut binary)
                        .map_err(|source| failed(source.into()))?;
                    keys.extend(read_keys(&binary));
                }
            }
            None => keys.extend(read_keys(bytes)),
        }
        match keys.is_empty() {
            true => Err(SignatureError::NoKeys { keyring: name.to_owned() }),
            false => Ok(Self { name: name.to_owned(), keys }),
        }
    }
}

/// The keys of a binary keyring. GnuPG's own notes of trust stand between the packets of a key in some
/// keyrings (Ubuntu's): they are left out, for the key would seem to end there.
fn read_keys(bytes: &[u8]) -> Vec<SignedPublicKey> {
    let packets = PacketParser::new(bytes).filter(|packet| {
        !matches!(packet, Err(_) | Ok(Packet::Trust(_) | Packet::Marker(_) | Packet::Padding(_)))
    });
    SignedPublicKey::from_packets(packets.peekable()).filter_map(Result::ok).collect()
}

/// Checks that a key of `keyrings` signed `inrelease`, and returns only what it signed.
///
/// One good signature is enough. It is good when it verifies, its hash is SHA-2 or SHA-3, it has not
/// expired at `now` (Unix seconds), and its key, or subkey with its bindings, could sign when it was
/// made: bound, capable of signing, not expired, and never revoked.
pub fn verify(inrelease: &[u8], keyrings: &[Keyring], now: u64) -> Result<Signed, SignatureError> {
    let (message, _) = CleartextSignedMessage::from_armor(inrelease)
        .map_err(|source| SignatureError::NotSigned { source })?;
    let text = message.signed_text();
    let mut findings = Vec::new();
    for signature in message.signatures() {
        match check(signature, &text, keyrings, now) {
            Ok((fingerprint, created)) => {
                return Ok(Signed { text: text.replace("\r\n", "\n"), fingerprint, created });
            }
            Err(finding) => findings.push(finding),
        }
    }
    if findings.is_empty() {
        findings.push("nobody signed it".into());
    }
    Err(SignatureError::Untrusted {
        findings,
        keyrings: keyrings.iter().map(|ring| ring.name.clone()).collect(),
    })
}

/// The fingerprint of the signer and the time of a good signature, or what is wrong with it.
fn check(signature: &Signature, text: &str, keyrings: &[Keyring], now: u64) -> Result<(String, u64), String> {
    let signer = signer(signature);
    let wrong = |reason: &str| Err(format!("the signature by key {signer} {reason}"));
    if !matches!(signature.typ(), Some(SignatureType::Text | SignatureType::Binary)) {
        return wrong("is not one of a document");
    }
    if !signature.hash_alg().is_some_and(is_strong) {
        return wrong("uses a hash that can be forged");
    }
    let Some(created) = signature.created().map(|time| u64::from(time.as_secs())) else {
        return wrong("has no date");
    };
    let lifetime = signature.signature_expiration_time().map_or(0, |duration| u64::from(duration.as_secs()));
    if lifetime != 0 && created + lifetime < now {
        return wrong("has expired");
    }
    let mut reason = "is by a key in no trusted keyring";
    for key in keyrings.iter().flat_map(|ring| &ring.keys) {
        match signed_by(signature, text, key, created) {
            Ok(()) => return Ok((format!("{:X}", key.fingerprint()), created)),
            Err(Some(better)) => reason = better,
            Err(None) => {}
        }
    }
    wrong(reason)
}

/// Returns whether `key` or one of its subkeys made the signature; `Err(None)` when it is by another key.
fn signed_by(
    signature: &Signature,
    text: &str,
    key: &SignedPublicKey,
    created: u64,
) -> Result<(), Option<&'static str>> {
    let primary = &key.primary_key;
    let subkey = key.public_subkeys.iter().find(|subkey| is_by(signature, &subkey.key));
    if !is_by(signature, primary) && subkey.is_none() {
        return Err(None);
    }
    let revocations = &key.details.revocation_signatures;
    if revocations.iter().any(|revocation| revocation.verify_key(primary).is_ok()) {
        return Err(Some("is by a revoked key"));
    }
    let own = newest(self_signatures(key)).ok_or(Some("is by a key that does not sign itself"))?;
    require_valid(primary, own, created)?;
    match subkey {
        Some(subkey) => {
            require_bound(key, subkey, created)?;
            signature.verify(&subkey.key, text.as_bytes())
        }
        None if can_sign(own) => signature.verify(primary, text.as_bytes()),
        None => return Err(Some("is by a key that may not sign")),
    }
    .map_err(|_| Some("does not verify: the text was changed"))
}

/// The verified statements of a key about itself.
fn self_signatures(key: &SignedPublicKey) -> impl Iterator<Item = &Signature> {
    let primary = &key.primary_key;
    let of_users = key.details.users.iter().flat_map(move |user| {
        let is_own = move |signature: &&Signature| {
            signature.is_certification()
                && signature.verify_certification(primary, Tag::UserId, &user.id).is_ok()
        };
        user.signatures.iter().filter(is_own)
    });
    let of_key = key.details.direct_signatures.iter();
    of_users.chain(of_key.filter(move |signature| signature.verify_key(primary).is_ok()))
}

fn require_bound(
    key: &SignedPublicKey,
    subkey: &SignedPublicSubKey,
    created: u64,
) -> Result<(), Option<&'static str>> {
    let primary = &key.primary_key;
    let verified = |wanted: SignatureType| {
        subkey.signatures.iter().filter(move |signature| {
            signature.typ() == Some(wanted) && signature.verify_subkey_binding(primary, &subkey.key).is_ok()
        })
    };
    if verified(SignatureType::SubkeyRevocation).next().is_some() {
        return Err(Some("is by a revoked subkey"));
    }
    let binding =
        newest(verified(SignatureType::SubkeyBinding)).ok_or(Some("is by a subkey nobody bound"))?;
    require_valid(&subkey.key, binding, created)?;
    let agrees = |back: &Signature| back.verify_primary_key_binding(&subkey.key, primary).is_ok();
    match can_sign(binding) && binding.embedded_signature().is_some_and(agrees) {
        true => Ok(()),
        false => Err(Some("is by a subkey that may not sign")),
    }
}

/// Returns whether the key existed and had not expired when the signature was made.
fn require_valid(key: &impl KeyDetails, own: &Signature, created: u64) -> Result<(), Option<&'static str>> {
    let begin = u64::from(key.created_at().as_secs());
    let lifetime = own.key_expiration_time().map_or(0, |duration| u64::from(duration.as_secs()));
    match created {
        time if time < begin => Err(Some("is older than its key")),
        time if lifetime != 0 && time >= begin + lifetime => Err(Some("is by a key that had expired")),
        _ => Ok(()),
    }
}

fn newest<'a>(signatures: impl Iterator<Item = &'a Signature>) -> Option<&'a Signature> {
    signatures.max_by_key(|signature| signature.created())
}

/// Returns whether a self-signature or binding lets its key sign. A key without flags may do all its algorithm can.
fn can_sign(own: &Signature) -> bool {
    let has_flags = own.config().is_some_and(|config| {
        config.hashed_subpackets().any(|subpacket| matches!(subpacket.data, SubpacketData::KeyFlags(_)))
    });
    !has_flags || own.key_flags().sign()
}

fn is_strong(hash: HashAlgorithm) -> bool {
    use HashAlgorithm::{Sha3_256, Sha3_512, Sha256, Sha384, Sha512};
    matches!(hash, Sha256 | Sha384 | Sha512 | Sha3_256 | Sha3_512)
}

/// Returns whether the signature says `key` made it; that is a hint, verified later.
fn is_by(signature: &Signature, key: &impl KeyDetails) -> bool {
    signature.issuer_fingerprint().contains(&&key.fingerprint())
        || signature.issuer_key_id().contains(&&key.legacy_key_id())
}

/// The signer that a signature names: a fingerprint, else a key id.
fn signer(signature: &Signature) -> String {
    let fingerprint = signature.issuer_fingerprint().first().map(|fingerprint| format!("{fingerprint:X}"));
    let id = || signature.issuer_key_id().first().map(|id| format!("{id}").to_uppercase());
    fingerprint.or_else(id).unwrap_or_else(|| "without a name".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys made for these tests: A signs with its primary key and one subkey, its other signing subkeys
    /// are expired and revoked; C is revoked; D is an RSA key.
    const KEYRING: &[u8] = include_bytes!("testdata/keyring.asc");
    const JUNE_2025: u64 = 1_748_736_000;
    const DAY: u64 = 86_400;

    fn check(inrelease: &str, now: u64) -> Result<Signed, SignatureError> {
        verify(inrelease.as_bytes(), &[Keyring::parse("test.asc", KEYRING).unwrap()], now)
    }

    #[test]
    fn a_signature_of_a_trusted_key_yields_only_the_signed_text() {
        for inrelease in [
            include_str!("testdata/primary.asc"),
            include_str!("testdata/subkey.asc"),
            include_str!("testdata/both.asc"),
            include_str!("testdata/short.asc"),
        ] {
            let signed = check(inrelease, JUNE_2025).unwrap();
            assert!(signed.text.starts_with("Origin: Test\nSuite: stable\nCodename: demo\n- dashed line\n"));
            assert!(!signed.text.contains("PGP"));
            assert_eq!(signed.created, JUNE_2025);
            assert!(signed.fingerprint.ends_with("62A233B52ADE437C"));
        }
    }

    #[test]
    fn every_bad_signature_is_refused_with_its_reason() {
        for (inrelease, reason) in [
            (include_str!("testdata/stranger.asc"), "0023010BAC67A06B is by a key in no trusted keyring"),
            (include_str!("testdata/expired.asc"), "D78E50BC941818EF is by a key that had expired"),
            (include_str!("testdata/revoked.asc"), "AE1DD93572DB1FE6 is by a revoked subkey"),
            (include_str!("testdata/revoked-primary.asc"), "8043E62B74956310 is by a revoked key"),
            (include_str!("testdata/sha1.asc"), "6C52E6A50327FFC4 uses a hash that can be forged"),
        ] {
            let error = check(inrelease, JUNE_2025).unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
            assert!(error.hint().unwrap().contains("test.asc"));
        }
        let error = check(include_str!("testdata/short.asc"), JUNE_2025 + 31 * DAY).unwrap_err();
        assert!(error.to_string().contains("has expired"), "{error}");
    }

    #[test]
    fn a_changed_text_does_not_verify() {
        let good = include_str!("testdata/primary.asc");
        for (from, to) in
            [("Suite: stable", "Suite: stablf"), ("SHA256:\n", "SHA256:\n 00 1 a\n"), ("Origin", " Origin")]
        {
            let error = check(&good.replace(from, to), JUNE_2025).unwrap_err();
            assert!(error.to_string().contains("does not verify"), "{from}: {error}");
        }
    }

    #[test]
    fn text_outside_the_signature_is_refused() {
        let good = include_str!("testdata/primary.asc");
        for text in
            [format!("Suite: evil\n{good}"), format!("{good}Suite: evil\n"), good.replace("Hash:", "Suite:")]
        {
            assert!(matches!(check(&text, JUNE_2025), Err(SignatureError::NotSigned { .. })), "{text}");
        }
    }

    #[test]
    fn what_is_not_signed_is_refused() {
        for text in ["", "Origin: Test\n", "<html></html>", "-----BEGIN PGP SIGNED MESSAGE-----\n"] {
            assert!(matches!(check(text, 0), Err(SignatureError::NotSigned { .. })), "{text}");
        }
    }

    #[test]
    fn keyrings_are_binary_or_armored() {
        let binary = Keyring::parse("a.gpg", include_bytes!("testdata/keyring.gpg")).unwrap();
        let annotated = Keyring::parse("a.gpg", include_bytes!("testdata/keyring-trust.gpg")).unwrap();
        let twice = [KEYRING, KEYRING].concat();
        assert_eq!(binary.keys.len(), 1);
        assert_eq!(annotated.keys, binary.keys);
        assert_eq!(Keyring::parse("a.asc", KEYRING).unwrap().keys.len(), 3);
        assert_eq!(Keyring::parse("a.asc", &twice).unwrap().keys.len(), 6);
        for bytes in [&b""[..], b"junk", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n", &KEYRING[..200]] {
            let error = Keyring::parse("broken.gpg", bytes).unwrap_err();
            assert!(error.to_string().contains("`broken.gpg`"), "{error}");
        }
    }
}
