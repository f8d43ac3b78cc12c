//! Hashes of archives, as requirements files give them and package indexes list them.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Sha256, Sha384, Sha512};

use crate::oci::Digest;

/// A hash that no one can forge, of a wheel or a source distribution: `sha512:` and hexadecimal digits.
///
/// Those that pip calls strong: <https://pip.pypa.io/en/stable/topics/secure-installs/#hash-checking-mode>.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ArchiveHash {
    /// `sha256`, by which everything else here is known.
    Sha256(Digest),
    /// `sha384`.
    Sha384(Vec<u8>),
    /// `sha512`.
    Sha512(Vec<u8>),
}

/// A text that is no such hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a hash of sha256, sha384 or sha512")]
pub struct ArchiveHashError;

impl ArchiveHash {
    /// The hash of an algorithm, of its digits in small or capital letters.
    pub fn new(algorithm: &str, digits: &str) -> Result<Self, ArchiveHashError> {
        let bytes = hex::decode(digits).map_err(|_| ArchiveHashError)?;
        match (algorithm, bytes.len()) {
            ("sha256", 32) => {
                let digest = Digest::from_hex(&digits.to_ascii_lowercase());
                digest.map(Self::Sha256).map_err(|_| ArchiveHashError)
            }
            ("sha384", 48) => Ok(Self::Sha384(bytes)),
            ("sha512", 64) => Ok(Self::Sha512(bytes)),
            _ => Err(ArchiveHashError),
        }
    }

    /// The digest, of a hash of sha256.
    pub fn sha256(&self) -> Option<Digest> {
        match self {
            Self::Sha256(digest) => Some(*digest),
            Self::Sha384(_) | Self::Sha512(_) => None,
        }
    }

    /// Reads a file to its end, and returns whether this is its hash.
    pub fn is_of(&self, file: impl Read) -> io::Result<bool> {
        Ok(match self {
            Self::Sha256(digest) => hashed::<Sha256>(file)? == *digest.bytes(),
            Self::Sha384(bytes) => hashed::<Sha384>(file)? == **bytes,
            Self::Sha512(bytes) => hashed::<Sha512>(file)? == **bytes,
        })
    }
}

fn hashed<H: sha2::Digest>(file: impl Read) -> io::Result<Vec<u8>> {
    let (mut hasher, mut file) = (H::new(), BufReader::with_capacity(1 << 16, file));
    loop {
        let bytes = file.fill_buf()?;
        if bytes.is_empty() {
            return Ok(hasher.finalize().to_vec());
        }
        hasher.update(bytes);
        let count = bytes.len();
        file.consume(count);
    }
}

impl From<Digest> for ArchiveHash {
    fn from(digest: Digest) -> Self {
        Self::Sha256(digest)
    }
}

impl FromStr for ArchiveHash {
    type Err = ArchiveHashError;

    fn from_str(text: &str) -> Result<Self, ArchiveHashError> {
        let (algorithm, digits) = text.split_once(':').ok_or(ArchiveHashError)?;
        Self::new(algorithm, digits)
    }
}

impl fmt::Display for ArchiveHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(digest) => digest.fmt(f),
            Self::Sha384(bytes) => write!(f, "sha384:{}", hex::encode(bytes)),
            Self::Sha512(bytes) => write!(f, "sha512:{}", hex::encode(bytes)),
        }
    }
}

impl Serialize for ArchiveHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ArchiveHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_read_and_compared() {
        // `printf wheel | sha256sum`, `sha384sum` and `sha512sum`.
        for text in SUMS {
            let hash: ArchiveHash = text.parse().unwrap();
            assert_eq!(hash.to_string(), *text);
            assert!(hash.is_of(&b"wheel"[..]).unwrap(), "{text}");
            assert!(!hash.is_of(&b"wheels"[..]).unwrap(), "{text}");
            let (algorithm, digits) = text.split_once(':').unwrap();
            assert_eq!(ArchiveHash::new(algorithm, &digits.to_uppercase()), Ok(hash));
        }
        for text in ["md5:00", "sha256:00", "sha512", "sha384:zz", ""] {
            assert_eq!(text.parse::<ArchiveHash>(), Err(ArchiveHashError), "{text}");
        }
    }

    const SUMS: &[&str] = &[
        "sha256:ba59926159d2aa256eb8739b8da7e2b574b960e1202c6d624cbe981cef996c91",
        "sha384:392920cd6f492bd7ccabab0bd4fabcdf8e4507b8e0064f83448d22b6cca62dfcb504241cbb02e6b70c6ad46745439d9f",
        "sha512:2c7e17aec7b2c8363f4bcf38ac9f18d6f645eca8516a98039df9637f39aac3a98080da8a63b9f6261522fb3c3c2ff974a3670561f3c9befe424704c436c7f5bd",
    ];
}
