//! The verification of an image's signatures.

use super::key::PublicKey;
use super::signature::{ImageSignature, signed_digest};
use crate::failure::Hinted;
use crate::oci::Digest;

/// A signature as it was found: a payload that is another than its digest says is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundSignature {
    /// It is whole.
    Whole(ImageSignature),
    /// Its payload is not what the manifest of signatures names.
    Changed {
        /// The digest that it should have.
        expected: Digest,
    },
}

/// The reason why an image is not verified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum NotVerified {
    #[error("{digest} is not signed")]
    Unsigned { digest: Digest },
    #[error("none of the {count} signature(s) of {digest} is the key's")]
    OtherKey { digest: Digest, count: usize },
    #[error("the key signed {signed}, and this is {digest}")]
    OtherDigest { digest: Digest, signed: Digest },
    #[error("the key signed something that is no signature of an image")]
    OtherPayload { digest: Digest },
    #[error("the payload {expected} of a signature of {digest} was changed")]
    Changed { digest: Digest, expected: Digest },
}

impl Hinted for NotVerified {
    fn hint(&self) -> Option<String> {
        Some(
            match self {
                Self::Unsigned { .. } => {
                    "sign it where it is made: `--sign-by key.pem` of `imgforge build` and `imgforge copy`; what a tag names may have changed since"
                }
                Self::OtherKey { .. } => {
                    "give --key the public key of whoever signed it; an image that somebody else signed is somebody else's"
                }
                Self::OtherDigest { .. } | Self::OtherPayload { .. } | Self::Changed { .. } => {
                    "do not use it: a signature was moved here or changed"
                }
            }
            .to_owned(),
        )
    }
}

/// Verifies that one of the signatures is the key's, and of `digest`.
pub fn verify(key: &PublicKey, digest: &Digest, found: &[FoundSignature]) -> Result<(), NotVerified> {
    let mut reasons = Vec::new();
    for signature in found {
        match judge(key, digest, signature, found.len()) {
            Ok(()) => return Ok(()),
            Err(reason) => reasons.push(reason),
        }
    }
    // The one by which most is known.
    let reason = reasons.into_iter().max_by_key(|reason| match reason {
        NotVerified::Changed { .. } => 3,
        NotVerified::OtherDigest { .. } => 2,
        NotVerified::OtherPayload { .. } => 1,
        NotVerified::Unsigned { .. } | NotVerified::OtherKey { .. } => 0,
    });
    Err(reason.unwrap_or(NotVerified::Unsigned { digest: *digest }))
}

fn judge(key: &PublicKey, digest: &Digest, found: &FoundSignature, count: usize) -> Result<(), NotVerified> {
    let digest = *digest;
    let ImageSignature { payload, signature } = match found {
        FoundSignature::Whole(signature) => signature,
        FoundSignature::Changed { expected } => {
            return Err(NotVerified::Changed { digest, expected: *expected });
        }
    };
    if !key.verifies(payload, signature) {
        return Err(NotVerified::OtherKey { digest, count });
    }
    match signed_digest(payload) {
        Some(signed) if signed == digest => Ok(()),
        Some(signed) => Err(NotVerified::OtherDigest { digest, signed }),
        None => Err(NotVerified::OtherPayload { digest }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attest::key::SigningKey;
    use crate::attest::key::samples::{OTHER, PLAIN};
    use crate::attest::signature::sign;

    fn key(pem: &str) -> SigningKey {
        SigningKey::from_pem(pem, None).unwrap()
    }

    #[test]
    fn a_flipped_bit_anywhere_is_no_signature() {
        let (key, digest) = (key(PLAIN), Digest::of("an image"));
        let signed = sign(&key, "registry.test/app", &digest).unwrap();
        let verified = |signature: ImageSignature| {
            verify(&key.public(), &digest, &[FoundSignature::Whole(signature)]).is_ok()
        };
        assert!(verified(signed.clone()));
        for bit in 0..signed.payload.len() * 8 {
            let mut payload = signed.payload.clone();
            payload[bit / 8] ^= 1 << (bit % 8);
            assert!(!verified(ImageSignature { payload, ..signed.clone() }), "bit {bit} of the payload");
        }
        for bit in 0..signed.signature.len() * 8 {
            let mut signature = signed.signature.clone().into_bytes();
            signature[bit / 8] ^= 1 << (bit % 8);
            let Ok(signature) = String::from_utf8(signature) else { continue };
            assert!(!verified(ImageSignature { signature, ..signed.clone() }), "bit {bit} of the signature");
        }
    }

    #[test]
    fn the_reason_is_the_one_by_which_most_is_known() {
        let (digest, other) = (Digest::of("an image"), Digest::of("another"));
        let (mine, theirs) = (key(PLAIN), key(OTHER));
        let by = |key: &SigningKey, digest: &Digest| {
            FoundSignature::Whole(sign(key, "registry.test/app", digest).unwrap())
        };
        let signature = mine.sign(b"{}");
        let nonsense = FoundSignature::Whole(ImageSignature { payload: b"{}".to_vec(), signature });
        let changed = FoundSignature::Changed { expected: other };
        let check = |found: &[FoundSignature], expected: Result<(), NotVerified>| {
            assert_eq!(verify(&mine.public(), &digest, found), expected);
        };
        check(&[], Err(NotVerified::Unsigned { digest }));
        check(&[by(&theirs, &digest)], Err(NotVerified::OtherKey { digest, count: 1 }));
        check(&[by(&theirs, &digest), by(&mine, &digest)], Ok(()));
        check(
            &[by(&theirs, &digest), by(&mine, &other)],
            Err(NotVerified::OtherDigest { digest, signed: other }),
        );
        check(&[nonsense], Err(NotVerified::OtherPayload { digest }));
        check(&[by(&mine, &other), changed], Err(NotVerified::Changed { digest, expected: other }));
    }
}
