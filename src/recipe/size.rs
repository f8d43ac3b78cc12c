//! Sizes as people write them: `1GiB`, `500MB`.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::decode::{Complaint, Decode, parsed};
use super::diagnostic::{Problems, quote};
use super::suggest::closest;
use super::yaml::Node;

/// The units of IEC 80000-13 and of the SI.
const UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("kB", 1000),
    ("MB", 1000 * 1000),
    ("GB", 1000 * 1000 * 1000),
    ("TB", 1000 * 1000 * 1000 * 1000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// A number of bytes, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(u64);

impl ByteSize {
    pub(super) const GIB: Self = Self(1 << 30);

    /// The number of bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = (&text[..split], text[split..].trim_start());
        let wrong = || Complaint::new(format!("{} is not a size", quote(text)));
        let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(wrong().help(unit_help(number, unit)));
        };
        match scaled(number, *factor) {
            Some(0) => Err(wrong().help("a size is more than nothing: `1GiB`")),
            Some(bytes) => Ok(Self(bytes)),
            None => Err(wrong().help("write a number and a unit: `1GiB`, `500MB`")),
        }
    }
}

impl fmt::Display for ByteSize {
    /// With the largest unit that divides the size.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = UNITS.iter().filter(|(_, factor)| self.0.is_multiple_of(*factor));
        let (unit, factor) = fits.max_by_key(|(_, factor)| *factor).copied().unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

/// Text that is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a size; write a number and a unit: `1GiB`, `500MB`")]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub struct ByteSizeError {
    text: String,
}

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, ByteSizeError> {
        Self::parse(text).map_err(|_| ByteSizeError { text: text.to_owned() })
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl Decode for ByteSize {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "a size", problems, Self::parse)
    }
}

fn unit_help(number: &str, unit: &str) -> String {
    let names = UNITS.map(|(name, _)| name);
    match closest(unit, &names).filter(|_| !number.is_empty()) {
        Some(close) => format!("did you mean `{number}{close}`?"),
        None => "write a number and one of the units B, kB, MB, GB, TB, KiB, MiB, GiB, TiB".to_owned(),
    }
}

/// `number` × `factor`, whole bytes, when `number` is digits with at most one point among them.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let whole: u64 = whole.parse().ok()?;
    let digits: u64 = fraction.parse().ok()?;
    let scale = 10_u128.checked_pow(fraction.len().try_into().ok()?)?;
    let part = u64::try_from(u128::from(digits) * u128::from(factor) / scale).ok()?;
    whole.checked_mul(factor)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_decimal_and_binary_units() {
        for (text, bytes, shown) in [
            ("1GiB", 1 << 30, "1GiB"),
            ("500MB", 500_000_000, "500MB"),
            ("1.5 GiB", 3 << 29, "1536MiB"),
            ("2kB", 2000, "2kB"),
            ("1024B", 1024, "1KiB"),
        ] {
            let size = ByteSize::parse(text).unwrap_or_else(|complaint| panic!("{complaint:?}"));
            assert_eq!((size.bytes(), size.to_string().as_str()), (bytes, shown), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_size() {
        for text in
            ["", "1", "GiB", "1gig", "-1GiB", "1.2.3GiB", "0B", "0.1B", "99999999999TiB", "1e3B", "1.GiB"]
        {
            assert!(ByteSize::parse(text).is_err(), "{text}");
        }
    }
}
