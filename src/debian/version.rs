//! Debian package versions: `[epoch:]upstream[-revision]`, and their order.
//!
//! <https://www.debian.org/doc/debian-policy/ch-controlfields.html#version>

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::failure::Hinted;

/// A package version, compared as policy 5.6.12 says; it remembers its spelling.
///
/// Two spellings of one version are equal: `1.0`, `0:1.0` and `1.0-0`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DebianVersion {
    text: String,
    epoch: u32,
    /// The start of the upstream part, in bytes.
    upstream: usize,
    /// The end of the upstream part, in bytes.
    end: usize,
}

/// Text that is not a Debian version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a Debian version: {reason}")]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub struct VersionError {
    text: String,
    reason: VersionFault,
}

/// The reason why a text is no version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum VersionFault {
    #[error("the epoch is not a number")]
    Epoch,
    #[error("the upstream part is empty")]
    NoUpstream,
    #[error("it has a character other than letters, digits and . + - ~ :")]
    Character,
}

impl Hinted for VersionError {
    fn hint(&self) -> Option<String> {
        Some("a version is written [epoch:]upstream[-revision], for example 1:2.36-9+deb12u4".into())
    }
}

impl TryFrom<String> for DebianVersion {
    type Error = VersionError;

    fn try_from(text: String) -> Result<Self, VersionError> {
        text.parse()
    }
}

impl From<DebianVersion> for String {
    fn from(version: DebianVersion) -> Self {
        version.text
    }
}

impl DebianVersion {
    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The number before `:`, 0 when there is none.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The part between epoch and revision: `3.11.2` of `3.11.2-6+deb12u6`.
    pub fn upstream(&self) -> &str {
        &self.text[self.upstream..self.end]
    }

    /// The part after the last `-`, empty when there is none.
    pub fn revision(&self) -> &str {
        self.text[self.end..].strip_prefix('-').unwrap_or("")
    }
}

impl FromStr for DebianVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let invalid = |reason| VersionError { text: text.to_owned(), reason };
        let (epoch, upstream) = match text.split_once(':') {
            Some((epoch, _)) => {
                let digits = !epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_digit());
                let value = epoch.parse().ok().filter(|_| digits);
                (value.ok_or_else(|| invalid(VersionFault::Epoch))?, epoch.len() + 1)
            }
            None => (0, 0),
        };
        let end = text.rfind('-').filter(|&end| end >= upstream).unwrap_or(text.len());
        if upstream == end {
            return Err(invalid(VersionFault::NoUpstream));
        }
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".+-~:".contains(&byte)) {
            return Err(invalid(VersionFault::Character));
        }
        Ok(Self { text: text.to_owned(), epoch, upstream, end })
    }
}

impl fmt::Display for DebianVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Ord for DebianVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| compare(self.upstream(), other.upstream()))
            .then_with(|| compare(self.revision(), other.revision()))
    }
}

impl PartialOrd for DebianVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for DebianVersion {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for DebianVersion {}

/// Compares two upstream parts or two revisions: by turns a run of non-digits and a run of digits.
fn compare(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    while !left.is_empty() || !right.is_empty() {
        let order = compare_text(take(&mut left, false), take(&mut right, false))
            .then_with(|| compare_number(take(&mut left, true), take(&mut right, true)));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// Takes the leading run of digits, or of non-digits, off `rest`.
fn take<'a>(rest: &mut &'a [u8], digits: bool) -> &'a [u8] {
    let end = rest.iter().position(|byte| byte.is_ascii_digit() != digits).unwrap_or(rest.len());
    let (run, after) = rest.split_at(end);
    *rest = after;
    run
}

/// `~` before the end, the end before letters, letters before everything else.
fn compare_text(left: &[u8], right: &[u8]) -> Ordering {
    let weight = |byte: Option<&u8>| match byte {
        Some(b'~') => -1,
        None => 0,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    };
    (0..left.len().max(right.len()))
        .map(|at| weight(left.get(at)).cmp(&weight(right.get(at))))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Numbers of any length; the empty run counts as zero.
fn compare_number(left: &[u8], right: &[u8]) -> Ordering {
    let significant = |digits: &[u8]| digits.iter().position(|&digit| digit != b'0').unwrap_or(digits.len());
    let (left, right) = (&left[significant(left)..], &right[significant(right)..]);
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(left: &str, order: Ordering, right: &str) {
        let version = |text: &str| text.parse::<DebianVersion>().unwrap();
        assert_eq!(version(left).cmp(&version(right)), order, "{left} {right}");
        assert_eq!(version(right).cmp(&version(left)), order.reverse(), "{right} {left}");
    }

    #[test]
    fn orders_as_dpkg_compare_versions_does() {
        let ascending = [
            "0~~",
            "0~~a",
            "0~",
            "0",
            "1.0~rc1-1",
            "1.0-1~bpo12+1",
            "1.0-1",
            "1.0-1+b1",
            "1.0-1+deb12u1",
            "1.0-10",
            "1.0a",
            "1.0+dfsg",
            "1.0.1",
            "1.2",
            "1.10",
            "2-1-1",
            "99999999999999999999999999",
            "1:0.1",
            "2:0",
        ];
        for (at, left) in ascending.iter().enumerate() {
            for right in &ascending[at + 1..] {
                check(left, Ordering::Less, right);
            }
        }
    }

    #[test]
    fn one_version_has_several_spellings() {
        for (left, right) in [("1.0", "0:1.0"), ("1.0", "1.0-0"), ("1.00", "1.0"), ("1.", "1.0")] {
            check(left, Ordering::Equal, right);
        }
    }

    #[test]
    fn splits_epoch_upstream_and_revision() {
        let version: DebianVersion = "1:3.11.2-6-x+deb12u6".parse().unwrap();
        assert_eq!((version.epoch(), version.upstream(), version.revision()), (1, "3.11.2-6", "x+deb12u6"));
        let native: DebianVersion = "12.4+deb12u5".parse().unwrap();
        assert_eq!((native.epoch(), native.upstream(), native.revision()), (0, "12.4+deb12u5", ""));
    }

    #[test]
    fn refuses_what_is_not_a_version() {
        for text in ["", ":", "a:1", "+1:1", "1:", "-1", "1 2", "1/2", "ü", "99999999999:1"] {
            assert!(text.parse::<DebianVersion>().is_err(), "{text}");
        }
    }
}
