//! Statements about an image, and their signed form as cosign makes and reads it: an envelope of DSSE.
//!
//! * <https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md>
//! * <https://github.com/secure-systems-lab/dsse/blob/master/protocol.md>
//! * <https://github.com/sigstore/cosign/blob/main/specs/ATTESTATION_SPEC.md>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::key::SigningKey;
use super::signature::{self, SignatureManifest};
use crate::oci::Digest;

/// The media type of a statement.
pub const STATEMENT: &str = "application/vnd.in-toto+json";

/// The annotation of a statement's descriptor that names its predicate.
pub const PREDICATE_ANNOTATION: &str = "in-toto.io/predicate-type";

/// The media type of an envelope.
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";

/// A signed statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attestation {
    /// The envelope.
    pub envelope: Vec<u8>,
    /// The type of the statement's predicate.
    pub predicate: String,
}

/// A statement about the image of `digest`.
pub fn statement(name: &str, digest: &Digest, predicate: &str, content: &Value) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": digest.hex()}}],
        "predicateType": predicate,
        "predicate": content,
    })
}

impl Attestation {
    /// Signs a statement with a predicate of this type.
    pub fn of(key: &SigningKey, statement: &Value, predicate: &str) -> serde_json::Result<Self> {
        let statement = serde_json::to_vec(statement)?;
        let envelope = serde_json::to_vec(&json!({
            "payloadType": STATEMENT,
            "payload": STANDARD.encode(&statement),
            "signatures": [{"keyid": "", "sig": key.sign(&authenticated(STATEMENT, &statement))}],
        }))?;
        Ok(Self { envelope, predicate: predicate.to_owned() })
    }
}

/// The bytes that are signed: type and body, each behind its length.
fn authenticated(kind: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {kind} {} ", kind.len(), body.len()).into_bytes();
    bytes.extend(body);
    bytes
}

/// The manifest of attestations with one more; `manifest` is the one that is there. `None` where it has it already.
pub fn with_attestation(
    manifest: Option<&[u8]>,
    attestation: &Attestation,
) -> serde_json::Result<Option<SignatureManifest>> {
    // cosign looks for the empty signature: the true one is in the envelope.
    let annotations = json!({signature::SIGNATURE: "", "predicateType": attestation.predicate});
    signature::with_layer(manifest, ENVELOPE, &attestation.envelope, annotations)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attest::key::samples::PLAIN;

    #[test]
    fn a_statement_is_signed_with_its_type_and_listed_once() {
        assert_eq!(authenticated("http://x", b"hello"), b"DSSEv1 8 http://x 5 hello");
        let key = SigningKey::from_pem(PLAIN, None).unwrap();
        let statement = statement("app", &Digest::of("image"), "p", &json!({"a": 1}));
        let attestation = Attestation::of(&key, &statement, "p").unwrap();
        let envelope: Value = serde_json::from_slice(&attestation.envelope).unwrap();
        let payload = STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap();
        let signature = envelope["signatures"][0]["sig"].as_str().unwrap();
        assert!(key.public().verifies(&authenticated(STATEMENT, &payload), signature));
        assert_eq!(serde_json::from_slice::<Value>(&payload).unwrap(), statement);
        let listed = with_attestation(None, &attestation).unwrap().unwrap();
        assert_eq!(with_attestation(Some(&listed.manifest), &attestation).unwrap(), None);
    }
}
