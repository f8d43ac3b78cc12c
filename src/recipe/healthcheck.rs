//! The check by which an engine learns if a container does its work.
//!
//! <https://docs.docker.com/reference/dockerfile/#healthcheck>

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use super::decode::{Complaint, Decode, Fields, parsed};
use super::diagnostic::{Problems, quote};
use super::yaml::{Node, YamlValue};

/// A check, or the word that the base's is not wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Healthcheck {
    /// `none`.
    None,
    /// A command that succeeds while all is well.
    Command {
        /// The words of the command, or one for a shell.
        test: HealthcheckTest,
        /// The time between two checks; without it, the engine's.
        interval: Option<Duration>,
        /// The time that one may take.
        timeout: Option<Duration>,
        /// The time after the start in which failures do not count.
        start_period: Option<Duration>,
        /// The time between two checks within that.
        start_interval: Option<Duration>,
        /// The failures in a row that make a container unhealthy.
        retries: Option<u32>,
    },
}

/// The command of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum HealthcheckTest {
    /// A program and its arguments.
    Words(Vec<String>),
    /// A line for the image's shell.
    Shell(String),
}

impl Healthcheck {
    /// The member `Healthcheck` of a config, as Docker's own images have it; times are in nanoseconds.
    pub fn to_member(&self) -> Value {
        let Self::Command { test, interval, timeout, start_period, start_interval, retries } = self else {
            return serde_json::json!({ "Test": ["NONE"] });
        };
        let words = match test {
            HealthcheckTest::Words(words) => std::iter::once("CMD".to_owned()).chain(words.clone()).collect(),
            HealthcheckTest::Shell(line) => vec!["CMD-SHELL".to_owned(), line.clone()],
        };
        let mut member = Map::from_iter([("Test".to_owned(), Value::from(words))]);
        let times = [
            ("Interval", interval),
            ("Timeout", timeout),
            ("StartPeriod", start_period),
            ("StartInterval", start_interval),
        ];
        for (name, time) in times {
            let nanoseconds = time.and_then(|time| u64::try_from(time.as_nanos()).ok());
            member.extend(nanoseconds.map(|time| (name.to_owned(), Value::from(time))));
        }
        member.extend(retries.map(|retries| ("Retries".to_owned(), Value::from(retries))));
        Value::Object(member)
    }
}

impl Decode for Healthcheck {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        if let YamlValue::Scalar(text) = &node.value
            && text == "none"
        {
            return Some(Self::None);
        }
        let mut fields = Fields::open(node, "`healthcheck`", problems)?;
        let test =
            fields.require("test", "name the command: `test: [curl, -f, http://localhost:8080/]`", problems);
        let interval: Option<Time> = fields.get("interval", problems);
        let timeout: Option<Time> = fields.get("timeout", problems);
        let start_period: Option<Time> = fields.get("start-period", problems);
        let start_interval: Option<Time> = fields.get("start-interval", problems);
        let retries: Option<Retries> = fields.get("retries", problems);
        fields.finish(problems);
        let time = |time: Option<Time>| time.map(|time| time.0);
        Some(Self::Command {
            test: test?,
            interval: time(interval),
            timeout: time(timeout),
            start_period: time(start_period),
            start_interval: time(start_interval),
            retries: retries.map(|retries| retries.0),
        })
    }
}

impl Decode for HealthcheckTest {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        match &node.value {
            YamlValue::Scalar(line) if !line.trim().is_empty() => Some(Self::Shell(line.clone())),
            _ => Vec::decode(node, problems).map(Self::Words),
        }
    }
}

struct Retries(u32);

impl Decode for Retries {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "a number", problems, |text| {
            let number = text.parse().ok().filter(|number| *number > 0).map(Self);
            number.ok_or_else(|| {
                Complaint::new(format!("{} is not a number of failures", quote(text)))
                    .help("write a whole number: `3`")
            })
        })
    }
}

/// A time as Docker writes it: `30s`, `1m30s`, `500ms`.
struct Time(Duration);

impl Time {
    fn parse(text: &str) -> Option<Self> {
        const UNITS: [(&str, u64); 4] = [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
        let mut rest = text;
        let mut milliseconds: u64 = 0;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            let number: u64 = rest[..digits].parse().ok()?;
            let (unit, factor) = UNITS.iter().find(|(unit, _)| rest[digits..].starts_with(unit))?;
            milliseconds = milliseconds.checked_add(number.checked_mul(*factor)?)?;
            rest = &rest[digits + unit.len()..];
        }
        (milliseconds > 0).then_some(Self(Duration::from_millis(milliseconds)))
    }
}

impl Decode for Time {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "a time", problems, |text| {
            Self::parse(text).ok_or_else(|| {
                Complaint::new(format!("{} is not a time", quote(text)))
                    .help("write numbers with units: `30s`, `1m30s`, `500ms`")
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_docker_reads_them() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(Time::parse(text).map(|time| time.0.as_millis() as u64), expected, "{text}");
        };
        check("30s", Some(30_000));
        check("1m30s", Some(90_000));
        check("500ms", Some(500));
        check("2h", Some(7_200_000));
        for text in ["", "30", "s", "0s", "1d", "-1s", "99999999999999999999s", "99999999999999999h"] {
            check(text, None);
        }
    }
}
