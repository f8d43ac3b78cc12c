//! Instants as recipes write them: a date, or an RFC 3339 date and time.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::decode::{Complaint, Decode, parsed};
use super::diagnostic::{Problems, quote};
use super::yaml::Node;
use crate::oci::time::{LAST, rfc3339, unix_seconds};

const DAY: i64 = 24 * 60 * 60;

/// An instant between the years 1970 and 9999, in whole seconds.
///
/// As a cut-off (`exclude-newer`) it counts what was uploaded *before* it. A bare date stands for the end of
/// that day in UTC, hence for the first second of the next: `2025-06-01` still counts an upload at noon of
/// that day. (uv reads dates the same way, in the machine's time zone; imgforge's result depends on no zone.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The instant so many seconds after 1970-01-01T00:00:00Z, or else the last second of 9999.
    pub fn from_unix_seconds(seconds: u64) -> Self {
        Self(i64::try_from(seconds).map_or(LAST, |seconds| seconds.min(LAST)))
    }

    /// Seconds since 1970-01-01T00:00:00Z, leap seconds not counted.
    pub fn unix_seconds(self) -> i64 {
        self.0
    }

    /// Reads a date, or a date and a time.
    pub(super) fn parse(text: &str) -> Result<Self, Complaint> {
        let complaint = || {
            Complaint::new(format!("{} is not a date", quote(text)))
                .help("write a date, `2025-06-01`, or an RFC 3339 time, `2025-06-01T12:00:00Z`")
        };
        parse_instant(text).map(Self).ok_or_else(complaint)
    }
}

impl fmt::Display for Timestamp {
    /// As RFC 3339, in UTC: `2025-06-02T00:00:00Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&rfc3339(self.0.unsigned_abs()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_instant(&text).map(Self).ok_or_else(|| D::Error::custom(format!("`{text}` is not a date")))
    }
}

impl Decode for Timestamp {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "a date", problems, Self::parse)
    }
}

fn parse_instant(text: &str) -> Option<i64> {
    match text.len() {
        10 => Some((since_1970(&format!("{text}T00:00:00Z"))? + DAY).min(LAST)),
        _ => since_1970(text),
    }
}

fn since_1970(text: &str) -> Option<i64> {
    unix_seconds(text).filter(|seconds| (0..=LAST).contains(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_dates_and_times() {
        for (text, shown, seconds) in [
            ("1970-01-01", "1970-01-02T00:00:00Z", 86_400),
            ("2025-06-01", "2025-06-02T00:00:00Z", 1_748_822_400),
            ("2024-02-29", "2024-03-01T00:00:00Z", 1_709_251_200),
            ("2000-12-31T23:59:59Z", "2000-12-31T23:59:59Z", 978_307_199),
            ("2025-06-01T00:30:00.250+02:00", "2025-05-31T22:30:00Z", 1_748_730_600),
            ("2025-06-01 12:00:00-05:30", "2025-06-01T17:30:00Z", 1_748_799_000),
            ("9999-12-31T00:00:00Z", "9999-12-31T00:00:00Z", 253_402_214_400),
            ("9999-12-31", "9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            let instant = Timestamp::parse(text).unwrap_or_else(|complaint| panic!("{complaint:?}"));
            assert_eq!((instant.to_string().as_str(), instant.unix_seconds()), (shown, seconds), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_date() {
        for text in [
            "",
            "2025",
            "2025-6-1",
            "2025-02-29",
            "2025-13-01",
            "2025-00-01",
            "01.06.2025",
            "2025-06-01T",
            "2025-06-01T12:00:00",
            "2025-06-01T12:00Z",
            "2025-06-01T24:00:00Z",
            "2025-06-01T12:00:00.Z",
            "2025-06-01T12:00:00+0200",
            "1969-12-31",
            "1970-01-01T00:30:00+01:00",
            "9999-12-31T23:59:59-00:01",
            "2025-06-0\u{661}",
            "yesterday!",
        ] {
            assert!(Timestamp::parse(text).is_err(), "{text}");
        }
    }
}
