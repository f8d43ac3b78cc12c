//! The toolkits that a driver runs.
//!
//! A toolkit runs on the driver that it was released with, and newer ones. By minor-version compatibility it runs on every
//! driver from the first of its major on, but then the driver cannot compile the PTX that the toolkit's compilers make.
//!
//! <https://docs.nvidia.com/deploy/cuda-compatibility/>

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A version of NVIDIA's driver for Linux: `550.54.15`, or a branch, `550`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Driver(Vec<u32>);

/// The fit of a driver and a toolkit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DriverFit {
    /// It was released with it, or is newer.
    Runs,
    /// By minor-version compatibility: everything but what is compiled to PTX in the container.
    WithoutPtx {
        /// The driver that the toolkit was released with, where that is known.
        released_with: Option<Driver>,
    },
    /// It is older than the major's first.
    TooOld {
        /// The oldest driver that runs the toolkit.
        oldest: Driver,
    },
}

/// The oldest driver that runs anything of a major, and with which driver each minor was released. Facts of the past,
/// from the release notes' table "CUDA Toolkit and Corresponding Driver Versions"; they do not change.
const MAJORS: &[(u32, &str, &[&str])] = &[
    (
        11,
        "450.80.02",
        &[
            "450.51.05",
            "455.32",
            "460.32.03",
            "465.19.01",
            "470.57.02",
            "495.29.05",
            "510.47.03",
            "515.48.07",
            "520.61.05",
        ],
    ),
    (
        12,
        "525.60.13",
        &[
            "525.60.13",
            "530.30.02",
            "535.86.10",
            "545.23.08",
            "550.54.14",
            "555.42.06",
            "560.35.05",
            "",
            "570.26",
            "575.51.03",
        ],
    ),
    (13, "580.65.06", &["580.65.06"]),
];

impl Driver {
    /// Returns whether it runs the toolkit of this version, `(12, 5)` for CUDA 12.5. A major that is newer than all
    /// that is known is taken as too new for every driver older than the newest that is known.
    pub fn fit(&self, (major, minor): (u32, u32)) -> DriverFit {
        let known = MAJORS.iter().find(|(known, ..)| *known == major);
        let Some((_, oldest, minors)) = known.or(MAJORS.last()) else { return DriverFit::Runs };
        let oldest: Self = oldest.parse().unwrap_or_else(|_| Self(Vec::new()));
        if self.is_older_than(&oldest) {
            return DriverFit::TooOld { oldest };
        }
        let index = usize::try_from(minor).unwrap_or(usize::MAX);
        let released =
            minors.get(index).filter(|_| known.is_some()).and_then(|text| text.parse::<Self>().ok());
        match released {
            Some(released) if !self.is_older_than(&released) => DriverFit::Runs,
            released_with => DriverFit::WithoutPtx { released_with },
        }
    }

    /// A branch stands for its newest driver.
    fn is_older_than(&self, other: &Self) -> bool {
        let common = self.0.len().min(other.0.len());
        self.0[..common] < other.0[..common]
    }
}

impl FromStr for Driver {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split('.').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, number) in self.0.iter().enumerate() {
            match index {
                0 => write!(f, "{number}")?,
                _ => write!(f, ".{number:02}")?,
            }
        }
        Ok(())
    }
}

impl Serialize for Driver {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Driver {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(driver: &str, toolkit: (u32, u32), expected: &str) {
        let told = match driver.parse::<Driver>().unwrap().fit(toolkit) {
            DriverFit::Runs => "runs".to_owned(),
            DriverFit::WithoutPtx { released_with: Some(driver) } => format!("no PTX before {driver}"),
            DriverFit::WithoutPtx { released_with: None } => "perhaps no PTX".to_owned(),
            DriverFit::TooOld { oldest } => format!("too old, {oldest} is the oldest"),
        };
        assert_eq!(told, expected, "{driver} {toolkit:?}");
    }

    #[test]
    fn a_driver_runs_what_is_not_newer() {
        check("550.54.15", (12, 4), "runs");
        check("550", (12, 4), "runs");
        check("550.54.15", (11, 8), "runs");
        check("580.82.07", (13, 0), "runs");
    }

    #[test]
    fn a_newer_minor_runs_without_ptx() {
        check("550.54.15", (12, 5), "no PTX before 555.42.06");
        check("580.65.06", (13, 1), "perhaps no PTX");
    }

    #[test]
    fn a_newer_major_does_not_run() {
        check("470.57.02", (12, 0), "too old, 525.60.13 is the oldest");
        check("575.51.03", (13, 0), "too old, 580.65.06 is the oldest");
        check("570", (14, 0), "too old, 580.65.06 is the oldest");
    }
}
