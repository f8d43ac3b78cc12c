//! Instants as recipes write them: a date, or an RFC 3339 date and time.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::decode::{Complaint, Decode, parsed};
use super::diagnostic::{Problems, quote};
use super::yaml::Node;

const DAY: i64 = 24 * 60 * 60;
/// 9999-12-31T23:59:59Z
const LAST: i64 = 253_402_300_799;

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

    fn parse(text: &str) -> Result<Self, Complaint> {
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
        let (year, month, day) = civil(self.0.div_euclid(DAY));
        let second = self.0.rem_euclid(DAY);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
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

/// <https://www.rfc-editor.org/rfc/rfc3339#section-5.6>
fn parse_instant(text: &str) -> Option<i64> {
    let (date, time) = match text.split_at_checked(10)? {
        (date, "") => (date, None),
        (date, rest) => (date, Some(rest.strip_prefix(['T', 't', ' '])?)),
    };
    let day = parse_date(date)?;
    match time {
        None => Some((day + 1) * DAY),
        Some(time) => Some(day * DAY + parse_time(time)?),
    }
}

/// Days since 1970-01-01.
fn parse_date(date: &str) -> Option<i64> {
    let mut parts = date.split('-');
    let year = digits(parts.next()?, 4, 1970..=9999)?;
    let month = digits(parts.next()?, 2, 1..=12)?;
    let day = digits(parts.next()?, 2, 1..=days_in_month(year, month))?;
    parts.next().is_none().then(|| days_before_year(year) + days_before_month(year, month) + day - 1)
}

/// Seconds since midnight in UTC, negative when the offset reaches into the day before.
fn parse_time(time: &str) -> Option<i64> {
    let (clock, rest) = time.split_at_checked(8)?;
    let mut parts = clock.split(':');
    let hour = digits(parts.next()?, 2, 0..=23)?;
    let minute = digits(parts.next()?, 2, 0..=59)?;
    let second = digits(parts.next()?, 2, 0..=59)?;
    let offset = parse_offset(without_fraction(rest)?)?;
    parts.next().is_none().then_some(hour * 3600 + minute * 60 + second - offset)
}

/// What follows the fraction of a second, which is dropped.
fn without_fraction(rest: &str) -> Option<&str> {
    let Some(fraction) = rest.strip_prefix('.') else { return Some(rest) };
    let zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
    (zone.len() < fraction.len()).then_some(zone)
}

/// Seconds east of UTC.
fn parse_offset(zone: &str) -> Option<i64> {
    if zone == "Z" || zone == "z" {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let (hour, minute) = zone.strip_prefix(['+', '-'])?.split_once(':')?;
    Some(sign * (digits(hour, 2, 0..=23)? * 3600 + digits(minute, 2, 0..=59)? * 60))
}

fn digits(text: &str, length: usize, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
    let all_digits = text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| all_digits)?;
    range.contains(&number).then_some(number)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_before_month(year: i64, month: i64) -> i64 {
    (1..month).map(|month| days_in_month(year, month)).sum()
}

/// Days from 1970-01-01 to the first day of `year`.
fn days_before_year(year: i64) -> i64 {
    let leap_days = |year: i64| (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    365 * (year - 1970) + leap_days(year) - leap_days(1970)
}

/// Year, month and day of a number of days since 1970-01-01, not negative.
fn civil(days: i64) -> (i64, i64, i64) {
    let mut year = 1970 + days / 366;
    while days_before_year(year + 1) <= days {
        year += 1;
    }
    let mut day = days - days_before_year(year);
    let mut month = 1;
    while day >= days_in_month(year, month) {
        day -= days_in_month(year, month);
        month += 1;
    }
    (year, month, day + 1)
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
            "2025-06-0\u{661}",
            "yesterday!",
        ] {
            assert!(Timestamp::parse(text).is_err(), "{text}");
        }
    }
}
