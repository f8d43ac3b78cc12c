//! Keys of ECDSA over P-256, in the forms that openssl and cosign write.
//!
//! * PKCS #8 and SEC 1 as PEM: <https://www.rfc-editor.org/rfc/rfc5958>, <https://www.rfc-editor.org/rfc/rfc5915>
//! * PKCS #8 under a password, by PBES2: <https://www.rfc-editor.org/rfc/rfc8018#section-6.2>
//! * cosign's encrypted form, a secretbox under a key that scrypt makes of the password:
//!   <https://github.com/secure-systems-lab/go-securesystemslib/blob/main/encrypted/encrypted.go>

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_secretbox::aead::Aead as _;
use crypto_secretbox::{KeyInit as _, XSalsa20Poly1305};
use p256::SecretKey;
use p256::ecdsa::signature::{Signer as _, Verifier as _};
use p256::ecdsa::{self, DerSignature};
use p256::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _};
use pkcs8::pkcs5::{self, pbes2};
use pkcs8::{EncryptedPrivateKeyInfo, PrivateKeyInfo};
use serde::Deserialize;

use crate::failure::{Fault, Hinted};

/// The memory in bytes that scrypt may take: cosign's parameters take 64 MiB.
const MOST_SCRYPT_MEMORY: u64 = 256 << 20;

/// The rounds of PBKDF2: openssl makes 2,048 unless it is told otherwise, careful people a million.
const MOST_ROUNDS: u32 = 10_000_000;

/// A private key.
pub struct SigningKey(ecdsa::SigningKey);

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(ecdsa::VerifyingKey);

/// The reason why a text is no key that can be used. Nothing of the text is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum KeyError {
    #[error("it is not PEM")]
    NotPem,
    #[error("it is a `{label}`, where a {wanted} key is needed")]
    Kind { label: String, wanted: &'static str },
    #[error("it is no key of ECDSA over the curve P-256")]
    Curve,
    #[error("it is encrypted in a form that imgforge does not read")]
    Encryption,
    #[error("it is encrypted, and COSIGN_PASSWORD is not set")]
    NoPassword,
    #[error("it does not open with the password in COSIGN_PASSWORD")]
    WrongPassword,
}

impl Hinted for KeyError {
    fn hint(&self) -> Option<String> {
        Some(
            match self {
                Self::NoPassword | Self::WrongPassword => "set COSIGN_PASSWORD to the password of the key",
                Self::Kind { wanted: "public", .. } => {
                    "give --key the public key: cosign writes it as cosign.pub, `openssl pkey -in key.pem -pubout` prints it"
                }
                Self::Encryption => {
                    "encrypt it anew with `openssl pkcs8 -topk8 -in key.pem`, decrypt it with `openssl pkey -in key.pem`, or make one with `cosign generate-key-pair`"
                }
                Self::NotPem | Self::Kind { .. } | Self::Curve => {
                    "make one with `cosign generate-key-pair`, or `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`"
                }
            }
            .to_owned(),
        )
    }

    fn fault(&self) -> Fault {
        Fault::Input
    }
}

/// Never the key itself.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

impl SigningKey {
    /// Reads a key; `password` opens an encrypted one.
    pub fn from_pem(text: &str, password: Option<&str>) -> Result<Self, KeyError> {
        let Pem { label, bytes } = Pem::parse(text)?;
        let secret = match label {
            "PRIVATE KEY" => SecretKey::from_pkcs8_der(&bytes).map_err(|_| KeyError::Curve)?,
            "EC PRIVATE KEY" => SecretKey::from_sec1_der(&bytes).map_err(|_| KeyError::Curve)?,
            "ENCRYPTED SIGSTORE PRIVATE KEY" | "ENCRYPTED COSIGN PRIVATE KEY" => {
                let opened = opened(&bytes, password.ok_or(KeyError::NoPassword)?)?;
                SecretKey::from_pkcs8_der(&opened).map_err(|_| KeyError::Curve)?
            }
            "ENCRYPTED PRIVATE KEY" => of_encrypted_pkcs8(&bytes, password.ok_or(KeyError::NoPassword)?)?,
            other => return Err(KeyError::Kind { label: shown(other), wanted: "private" }),
        };
        Ok(Self(secret.into()))
    }

    /// The signature of `bytes`, in base64: DER, as cosign has it. The same bytes get the same one (RFC 6979).
    pub fn sign(&self, bytes: &[u8]) -> String {
        let signature: DerSignature = self.0.sign(bytes);
        STANDARD.encode(signature.as_bytes())
    }

    /// The public key of the pair.
    pub fn public(&self) -> PublicKey {
        PublicKey(*self.0.verifying_key())
    }
}

impl PublicKey {
    /// Reads a key.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let Pem { label, bytes } = Pem::parse(text)?;
        match label {
            "PUBLIC KEY" => {
                let key = ecdsa::VerifyingKey::from_public_key_der(&bytes).map_err(|_| KeyError::Curve)?;
                Ok(Self(key))
            }
            other => Err(KeyError::Kind { label: shown(other), wanted: "public" }),
        }
    }

    /// Returns whether the signature, in base64, is this key's of these bytes.
    pub fn verifies(&self, bytes: &[u8], signature: &str) -> bool {
        let der = STANDARD.decode(signature).ok();
        let signature = der.and_then(|der| DerSignature::try_from(der.as_slice()).ok());
        signature.is_some_and(|signature| self.0.verify(bytes, &signature).is_ok())
    }
}

/// A label is shown where it is one: words of capitals.
fn shown(label: &str) -> String {
    let is_word = |c: char| c.is_ascii_uppercase() || c == ' ' || c.is_ascii_digit();
    if label.len() <= 40 && label.chars().all(is_word) {
        label.to_owned()
    } else {
        "PEM of another kind".to_owned()
    }
}

/// The first object of a PEM file.
struct Pem<'a> {
    label: &'a str,
    bytes: Vec<u8>,
}

impl<'a> Pem<'a> {
    /// Reads as leniently as Go and openssl do: what is around the object is passed over, and so are parameters of a curve.
    fn parse(text: &'a str) -> Result<Self, KeyError> {
        let mut rest = text;
        loop {
            let (_, after) = rest.split_once("-----BEGIN ").ok_or(KeyError::NotPem)?;
            let (label, after) = after.split_once("-----").ok_or(KeyError::NotPem)?;
            let (body, after) = after.split_once("-----END ").ok_or(KeyError::NotPem)?;
            rest = after;
            if label != "EC PARAMETERS" {
                let body: String = body.split_whitespace().collect();
                let bytes = STANDARD.decode(body).map_err(|_| KeyError::NotPem)?;
                return Ok(Self { label, bytes });
            }
        }
    }
}

/// cosign's encrypted form.
#[derive(Deserialize)]
struct Encrypted {
    kdf: Derivation,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Deserialize)]
struct Derivation {
    name: String,
    params: ScryptParameters,
    salt: String,
}

#[derive(Deserialize)]
struct ScryptParameters {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

fn opened(bytes: &[u8], password: &str) -> Result<Vec<u8>, KeyError> {
    let encrypted: Encrypted = serde_json::from_slice(bytes).map_err(|_| KeyError::Encryption)?;
    let decoded = |text: &str| STANDARD.decode(text).map_err(|_| KeyError::Encryption);
    let Encrypted { kdf, cipher, ciphertext } = &encrypted;
    if (kdf.name.as_str(), cipher.name.as_str()) != ("scrypt", "nacl/secretbox") {
        return Err(KeyError::Encryption);
    }
    let key = derived(&kdf.params, &decoded(&kdf.salt)?, password)?;
    let nonce: [u8; 24] = decoded(&cipher.nonce)?.try_into().map_err(|_| KeyError::Encryption)?;
    let secretbox = XSalsa20Poly1305::new(&key.into());
    let text = secretbox.decrypt(&nonce.into(), decoded(ciphertext)?.as_slice());
    text.map_err(|_| KeyError::WrongPassword)
}

/// The key in an encrypted PKCS #8.
fn of_encrypted_pkcs8(bytes: &[u8], password: &str) -> Result<SecretKey, KeyError> {
    let encrypted = EncryptedPrivateKeyInfo::try_from(bytes).map_err(|_| KeyError::Encryption)?;
    let scheme = encrypted.encryption_algorithm.pbes2().ok_or(KeyError::Encryption)?;
    let is_bounded = match &scheme.kdf {
        pbes2::Kdf::Pbkdf2(parameters) => parameters.iteration_count <= MOST_ROUNDS,
        pbes2::Kdf::Scrypt(parameters) => {
            let (r, p) = (parameters.block_size.into(), parameters.parallelization.into());
            ScryptParameters { n: parameters.cost_parameter, r, p }.is_bounded()
        }
        _ => false,
    };
    if !is_bounded {
        return Err(KeyError::Encryption);
    }
    let opened = encrypted.decrypt(password).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(
            pkcs5::Error::UnsupportedAlgorithm { .. } | pkcs5::Error::NoPbes1CryptSupport,
        ) => KeyError::Encryption,
        _ => KeyError::WrongPassword,
    })?;
    // The padding of what a wrong password opens fits now and then; what is behind it does not.
    let opened = PrivateKeyInfo::try_from(opened.as_bytes()).map_err(|_| KeyError::WrongPassword)?;
    SecretKey::try_from(opened).map_err(|_| KeyError::Curve)
}

impl ScryptParameters {
    /// Returns whether scrypt takes no more memory and time than a key is worth.
    fn is_bounded(&self) -> bool {
        let memory = self.n.checked_mul(u64::from(self.r)).and_then(|blocks| blocks.checked_mul(128));
        memory.is_some_and(|memory| memory <= MOST_SCRYPT_MEMORY) && self.p <= 16 && self.n.is_power_of_two()
    }
}

fn derived(parameters: &ScryptParameters, salt: &[u8], password: &str) -> Result<[u8; 32], KeyError> {
    let ScryptParameters { n, r, p } = *parameters;
    if !parameters.is_bounded() {
        return Err(KeyError::Encryption);
    }
    let logarithm = u8::try_from(n.trailing_zeros()).map_err(|_| KeyError::Encryption)?;
    let parameters = scrypt::Params::new(logarithm, r, p, 32).map_err(|_| KeyError::Encryption)?;
    let mut key = [0; 32];
    scrypt::scrypt(password.as_bytes(), salt, &parameters, &mut key).map_err(|_| KeyError::Encryption)?;
    Ok(key)
}

#[cfg(test)]
pub(super) mod samples;
#[cfg(test)]
mod tests;
