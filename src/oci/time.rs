//! Times as the documents of an image, package indexes and recipes write them.
//!
//! <https://www.rfc-editor.org/rfc/rfc3339#section-5.6>

use jiff::SignedDuration;
use jiff::civil::DateTime;
use jiff::fmt::temporal::Pieces;

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
const DAY: i32 = 24 * 60 * 60;

/// 9999-12-31T23:59:59Z, the last second that RFC 3339 can write.
pub const LAST: i64 = 253_402_300_799;

/// The RFC 3339 time of so many seconds since the Unix epoch, in UTC. Later times are written as [`LAST`].
pub fn rfc3339(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(LAST).min(LAST);
    format!("{}Z", EPOCH.saturating_add(SignedDuration::from_secs(seconds)))
}

/// The Unix seconds of an RFC 3339 time such as `2024-05-01T12:34:56.789+02:00`, rounded down.
pub fn unix_seconds(text: &str) -> Option<i64> {
    let (time, rest) = text.split_at_checked(19)?;
    let text = format!("{time}{}", without_fraction(rest)?).to_ascii_uppercase();
    // The parser also takes ISO 8601's other forms: without separators, without minutes, with a zone's name.
    let form: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let (time, zone) = form.split_at_checked(19)?;
    if !matches!(time, "0000-00-00T00:00:00" | "0000-00-00 00:00:00")
        || !matches!(zone, "Z" | "+00:00" | "-00:00")
    {
        return None;
    }
    let pieces = Pieces::parse(&text).ok()?;
    let offset = pieces.to_numeric_offset().map(|offset| offset.seconds()).filter(|east| east.abs() < DAY)?;
    Some(since_epoch(DateTime::from_parts(pieces.date(), pieces.time()?)) - i64::from(offset))
}

/// Whole seconds from the Unix epoch to a time in UTC.
pub fn since_epoch(utc: DateTime) -> i64 {
    utc.duration_since(EPOCH).as_secs()
}

fn without_fraction(rest: &str) -> Option<&str> {
    let Some(fraction) = rest.strip_prefix('.') else { return Some(rest) };
    let zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
    (zone.len() < fraction.len()).then_some(zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_times_as_rfc_3339() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_748_735_999), "2025-05-31T23:59:59Z");
        assert_eq!(rfc3339(4_107_542_400), "2100-03-01T00:00:00Z");
        assert_eq!(rfc3339(u64::MAX), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn counts_seconds_since_the_epoch() {
        let check = |text: &str, expected: Option<i64>| assert_eq!(unix_seconds(text), expected, "{text}");
        check("1970-01-01T00:00:00Z", Some(0));
        check("2000-02-29T12:00:00+01:30", Some(951_820_200));
        check("2025-06-01T00:00:00.000001Z", Some(1_748_736_000));
        check("2025-06-01 00:00:00z", Some(1_748_736_000));
        check("1969-12-31T23:59:59Z", Some(-1));
        check("1969-12-31T23:59:59.5Z", Some(-1));
        check("9999-12-31T23:59:59Z", Some(LAST));
    }

    #[test]
    fn refuses_what_is_no_rfc_3339_time() {
        for text in [
            "",
            "2025-06-01",
            "2025-13-01T00:00:00Z",
            "2025-02-30T00:00:00Z",
            "2025-06-01T24:00:00Z",
            "2025-06-01T00:00:00",
            "2025-06-01T00:00:00.Z",
            "2025-06-01T00:00:00+1:00",
            "2025-06-01T00:00:00+0100",
            "2025-06-01T00:00:00+24:00",
            "2025-06-01T00:00:00+99:99",
            "2025-06-01T00:00:00+01:00:30",
            "2025-06-01T00:00:00Z[UTC]",
            "20250601T000000.0000Z",
            "é25-06-01T00:00:00Z",
        ] {
            assert_eq!(unix_seconds(text), None, "{text}");
        }
    }
}
