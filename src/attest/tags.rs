//! The tags under which others look for what goes with an image, made of its digest.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema>
//! <https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md>

use crate::oci::Digest;

/// The ending of the tag of signatures.
const SIGNATURES: &str = ".sig";

/// The ending of the tag of attestations.
const ATTESTATIONS: &str = ".att";

/// The tag of the list of an image's referrers, in a registry that keeps none itself.
pub fn referrers_tag(digest: &Digest) -> String {
    digest.to_string().replace(':', "-")
}

/// The tag of an image's signatures.
pub fn signature_tag(digest: &Digest) -> String {
    referrers_tag(digest) + SIGNATURES
}

/// The tag of the attestations of an image.
pub fn attestation_tag(digest: &Digest) -> String {
    referrers_tag(digest) + ATTESTATIONS
}

/// Returns whether what has this tag goes with an image and is none.
pub fn is_of_attachment(tag: &str) -> bool {
    let digits = tag.strip_prefix("sha256-").map(|rest| rest.split('.').next().unwrap_or_default());
    digits.is_some_and(|digits| digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_made_of_the_digest() {
        let digest = Digest::of("an image");
        let tag = signature_tag(&digest);
        assert_eq!(tag, format!("sha256-{}.sig", digest.hex()));
        assert!(is_of_attachment(&tag) && is_of_attachment(&referrers_tag(&digest)));
        for tag in ["latest", "sha256-1.sig", "v1.sig", "sha256-"] {
            assert!(!is_of_attachment(tag), "{tag}");
        }
    }
}
