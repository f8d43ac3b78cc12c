//! The Release file: what a suite contains, and the digest of every index in it.
//!
//! <https://wiki.debian.org/DebianRepository/Format#A.22Release.22_files>

use std::collections::BTreeMap;

use jiff::civil::DateTime;

use super::deb822::{self, Deb822Error};
use crate::failure::Hinted;
use crate::oci::time::since_epoch;
use crate::oci::{Digest, DigestError};

/// A parsed Release file. Read it from verified text only: see [`super::signature`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The publisher: `Debian`, `Ubuntu`.
    pub origin: Option<String>,
    /// `stable`, `bookworm-security`, `jammy-updates`.
    pub suite: Option<String>,
    /// `bookworm`, `jammy`.
    pub codename: Option<String>,
    /// The release's number: `12.11`, `22.04`.
    pub version: Option<String>,
    /// The time of its publication, in Unix seconds.
    pub date: u64,
    /// The time from which on it is expired, in Unix seconds.
    pub valid_until: Option<u64>,
    /// The components of the suite.
    pub components: Vec<String>,
    /// The architectures of the suite.
    pub architectures: Vec<String>,
    /// True if its packages are only taken where they are asked for, as those of backports.
    pub not_automatic: bool,
    /// True if an index can be fetched by its digest, which no update of the mirror can tear.
    pub acquire_by_hash: bool,
    /// The indexes by their path under the suite's directory.
    pub indexes: BTreeMap<String, IndexFile>,
}

/// The size in bytes and the digest of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexFile {
    /// The digest of the index.
    pub digest: Digest,
    /// The size of the index in bytes.
    pub size: u64,
}

/// The reason why a Release file cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum ReleaseError {
    #[error("the Release file cannot be read")]
    Syntax { source: Deb822Error },
    #[error("the Release file has no `{field}`")]
    Missing { field: &'static str },
    #[error("the Release file's `{field}: {text}` is not a date")]
    Date { field: &'static str, text: String },
    #[error("the Release file's line `{line}` is not a digest, a size and a path")]
    Index { line: String },
    #[error("the Release file's digest of `{path}` cannot be read")]
    Digest { path: String, source: DigestError },
    #[error("the Release file of `{suite}` expired {} hours ago", seconds / 3600)]
    Expired { suite: String, seconds: u64 },
}

impl Hinted for ReleaseError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Expired { .. } => {
                "the mirror is stale, or this machine's clock is wrong; a snapshot of the past expires by design"
                    .into()
            }
            _ => "the mirror's InRelease is damaged, or is not a Debian archive's; try another mirror".into(),
        })
    }
}

impl Release {
    /// Reads the text of a Release file, without its signature.
    pub fn parse(text: &str) -> Result<Self, ReleaseError> {
        let fields = deb822::paragraph(text).map_err(|source| ReleaseError::Syntax { source })?;
        let owned = |name: &str| fields.get(name).map(str::to_owned);
        let words = |name: &str| fields.words(name).map(str::to_owned).collect();
        let date = |field: &'static str| {
            let parse =
                |text: &str| parse_date(text).ok_or(ReleaseError::Date { field, text: text.to_owned() });
            fields.get(field).map(parse).transpose()
        };
        let indexes = fields.get("SHA256").ok_or(ReleaseError::Missing { field: "SHA256" })?;
        Ok(Self {
            origin: owned("Origin"),
            suite: owned("Suite"),
            codename: owned("Codename"),
            version: owned("Version"),
            date: date("Date")?.ok_or(ReleaseError::Missing { field: "Date" })?,
            valid_until: date("Valid-Until")?,
            components: words("Components"),
            architectures: words("Architectures"),
            not_automatic: fields.get("NotAutomatic").is_some_and(|value| value == "yes"),
            acquire_by_hash: fields.get("Acquire-By-Hash").is_some_and(|value| value == "yes"),
            indexes: parse_indexes(indexes)?,
        })
    }

    /// The name for messages: the codename, else the suite.
    pub fn name(&self) -> &str {
        self.codename.as_deref().or(self.suite.as_deref()).unwrap_or("unnamed")
    }

    /// Refuses a release that expired before `now`, in Unix seconds.
    pub fn check_valid_until(&self, now: u64) -> Result<(), ReleaseError> {
        match self.valid_until {
            Some(end) if end < now => {
                Err(ReleaseError::Expired { suite: self.name().to_owned(), seconds: now - end })
            }
            _ => Ok(()),
        }
    }

    /// The smallest form of the Packages index of a component that [`super::packages::decompress`] reads.
    pub fn packages_index(&self, component: &str, architecture: &str) -> Option<(String, IndexFile)> {
        self.index(&format!("{component}/binary-{architecture}/Packages"))
    }

    /// The smallest form of the index at `path` that can be read.
    pub fn index(&self, path: &str) -> Option<(String, IndexFile)> {
        [".xz", ".zst", ".gz", ""].iter().find_map(|extension| {
            let path = format!("{path}{extension}");
            let file = *self.indexes.get(&path)?;
            Some((path, file))
        })
    }

    /// The location of the index `path`, under the suite's directory.
    pub fn location(&self, path: &str, file: &IndexFile) -> String {
        match path.rsplit_once('/') {
            Some((directory, _)) if self.acquire_by_hash => {
                format!("{directory}/by-hash/SHA256/{}", file.digest.hex())
            }
            _ => path.to_owned(),
        }
    }
}

fn parse_indexes(value: &str) -> Result<BTreeMap<String, IndexFile>, ReleaseError> {
    let lines = value.lines().map(str::trim_ascii).filter(|line| !line.is_empty());
    lines.map(parse_index).collect()
}

fn parse_index(line: &str) -> Result<(String, IndexFile), ReleaseError> {
    let invalid = || ReleaseError::Index { line: line.chars().take(200).collect() };
    let mut words = line.split_ascii_whitespace();
    let (Some(digest), Some(size), Some(path), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(invalid());
    };
    let digest =
        Digest::from_hex(digest).map_err(|source| ReleaseError::Digest { path: path.to_owned(), source })?;
    Ok((path.to_owned(), IndexFile { digest, size: size.parse().map_err(|_| invalid())? }))
}

/// Unix seconds of an RFC 822 date such as `Sat, 11 Jul 2026 10:16:37 UTC`, always in universal time. The day of the
/// week is not checked.
fn parse_date(text: &str) -> Option<u64> {
    let date = text.split_once(',').map_or(text, |(_, date)| date);
    let (date, zone) = date.trim_ascii().rsplit_once(' ')?;
    let time = DateTime::strptime("%d %b %Y %H:%M:%S", date).ok()?;
    let universal = matches!(zone, "UTC" | "GMT" | "Z" | "+0000");
    u64::try_from(since_epoch(time)).ok().filter(|_| universal)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn release(extra: &str) -> Result<Release, ReleaseError> {
        Release::parse(&format!(
            "Origin: Debian\nSuite: oldstable\nVersion: 12.11\nCodename: bookworm\n\
             Date: Sat, 11 Jul 2026 10:16:37 UTC\nAcquire-By-Hash: yes\nArchitectures: all amd64\n\
             Components: main contrib\n{extra}"
        ))
    }

    #[test]
    fn reads_a_release() {
        let parsed = release(&format!("SHA256:\n {HEX}  12 main/binary-amd64/Packages.xz\n")).unwrap();
        assert_eq!(parsed.name(), "bookworm");
        assert_eq!(parsed.date, 1_783_764_997);
        assert_eq!(parsed.components, ["main", "contrib"]);
        let (path, file) = parsed.packages_index("main", "amd64").unwrap();
        assert_eq!((path.as_str(), file.size), ("main/binary-amd64/Packages.xz", 12));
        assert_eq!(parsed.location(&path, &file), format!("main/binary-amd64/by-hash/SHA256/{HEX}"));
        assert_eq!(parsed.packages_index("contrib", "amd64"), None);
    }

    #[test]
    fn dates_are_unix_seconds() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 UTC", Some(0)),
            ("Thu, 29 Feb 2024 23:59:59 +0000", Some(1_709_251_199)),
            ("Fri, 1 Mar 2024 00:00:00 GMT", Some(1_709_251_200)),
            ("Tue, 31 Dec 2999 00:00:00 Z", Some(32_503_593_600)),
            ("Sat, 11 Jul 2026 10:16:37 +0200", None),
            ("Sat, 11 Foo 2026 10:16:37 UTC", None),
            ("Mon, 30 Feb 2026 10:16:37 UTC", None),
            ("Wed, 31 Dec 1969 23:59:59 UTC", None),
            ("Sat, 11 Jul 99999999999999999999 10:16:37 UTC", None),
            ("Sat, 00 Jul 2026 10:16 UTC", None),
            ("", None),
        ] {
            assert_eq!(parse_date(text), seconds, "{text}");
        }
    }

    #[test]
    fn an_expired_release_is_refused() {
        let parsed = release("Valid-Until: Sat, 18 Jul 2026 10:16:37 UTC\nSHA256:\n").unwrap();
        let end = parsed.valid_until.unwrap();
        assert!(parsed.check_valid_until(end).is_ok());
        let error = parsed.check_valid_until(end + 7200).unwrap_err();
        assert_eq!(error.to_string(), "the Release file of `bookworm` expired 2 hours ago");
    }

    #[test]
    fn a_damaged_release_names_what_is_wrong() {
        for (extra, message) in [
            ("", "has no `SHA256`"),
            ("SHA256:\n zz 1 a\n", "digest of `a`"),
            ("SHA256:\n 00 1\n", "line `00 1`"),
            ("Valid-Until: soon\nSHA256:\n", "`Valid-Until: soon` is not a date"),
            ("nonsense\n", "cannot be read"),
        ] {
            assert!(release(extra).unwrap_err().to_string().contains(message), "{extra}");
        }
    }
}
