//! The toolkits that a driver runs.
//!
//! A toolkit runs on the driver that it was released with, and newer ones. By minor-version compatibility it runs on every
//! driver from the first of its major on, but then the driver cannot compile the PTX that the toolkit's compilers make.
//!
//! <https://docs.nvidia.com/deploy/cuda-compatibility/>

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::gpu_code::PtxVersion;

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
    (13, "580.65.06", &["580.65.06", "590.44.01", "595.45.04", "610.43.02"]),
];

/// The drivers of the hosts that an image is to run on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostDrivers {
    /// The oldest of them, where one is named.
    pub oldest: Option<Driver>,
    /// The version of the forward-compatibility package that the image has for them.
    pub compat: Option<(u32, u32)>,
}

impl HostDrivers {
    /// The fit of the oldest one and a toolkit; `None` where none is named. Which drivers a forward-compatibility package
    /// takes is NVIDIA's to say: here it takes all.
    pub fn fit(&self, toolkit: (u32, u32)) -> Option<DriverFit> {
        let fit = self.oldest.as_ref()?.fit(toolkit);
        Some(match (self.compat, fit) {
            (Some(compat), _) if compat >= toolkit => DriverFit::Runs,
            (Some((major, _)), DriverFit::TooOld { .. }) if major == toolkit.0 => {
                DriverFit::WithoutPtx { released_with: Driver::released_with(toolkit) }
            }
            (_, fit) => fit,
        })
    }

    /// The oldest one, where it matters: a forward-compatibility package as new as all `toolkits` stands in for it.
    pub fn limiting<'t>(&self, mut toolkits: impl Iterator<Item = &'t (u32, u32)>) -> Option<&Driver> {
        let is_covered = self.compat.is_some_and(|compat| toolkits.all(|toolkit| *toolkit <= compat));
        self.oldest.as_ref().filter(|_| !is_covered)
    }
}

/// The drivers that an image needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DriverNeed {
    /// The oldest driver that runs the image.
    pub lowest: Driver,
    /// The toolkit, or the PTX, that needs it.
    pub because: DriverCause,
    /// The oldest driver that compiles the PTX which is all that newer GPUs find; `None` where there is none, or nobody
    /// knows.
    pub for_newer_gpus: Option<Driver>,
}

/// The part of an image that needs a driver.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DriverCause {
    /// A toolkit of this major, as all of them.
    Major(u32),
    /// PTX of this version, which is all there is for a GPU that the image shall run on.
    Ptx(PtxVersion),
}

impl DriverNeed {
    /// The need of toolkits of these majors, of `compiled`, the PTX that is all there is for a GPU which must run, and of
    /// `newer`, the PTX for GPUs newer than all. `None` without CUDA, and for majors that nobody knows.
    pub fn of(
        majors: impl IntoIterator<Item = u32>,
        compiled: impl IntoIterator<Item = PtxVersion>,
        newer: impl IntoIterator<Item = PtxVersion>,
    ) -> Option<Self> {
        let released = |ptx: PtxVersion| Driver::released_with(ptx.toolkit());
        let of_majors = majors
            .into_iter()
            .filter_map(|major| Some((Driver::oldest_of(major)?, DriverCause::Major(major))));
        let of_ptx = compiled.into_iter().filter_map(|ptx| Some((released(ptx)?, DriverCause::Ptx(ptx))));
        let (lowest, because) = of_majors.chain(of_ptx).max()?;
        let for_newer_gpus = newer.into_iter().filter_map(released).max().filter(|driver| *driver > lowest);
        Some(Self { lowest, because, for_newer_gpus })
    }
}

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

    /// The oldest driver that runs anything of a major.
    pub fn oldest_of(major: u32) -> Option<Self> {
        let (_, oldest, _) = MAJORS.iter().find(|(known, ..)| *known == major)?;
        oldest.parse().ok()
    }

    /// The driver that a toolkit was released with; for one that nobody knows of, that of the one before it, which is a
    /// lower bound.
    pub fn released_with((major, minor): (u32, u32)) -> Option<Self> {
        let (.., minors) = MAJORS.iter().find(|(known, ..)| *known == major)?;
        let known = minors.iter().take(usize::try_from(minor).ok()?.saturating_add(1));
        known.rev().find_map(|text| text.parse().ok())
    }

    /// A branch stands for its newest driver.
    pub fn is_older_than(&self, other: &Self) -> bool {
        let common = self.0.len().min(other.0.len());
        self.0[..common] < other.0[..common]
    }
}

/// A text that is no version of a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write the version as `nvidia-smi` shows it, 550.54.15, or its branch, 550")]
pub struct NoDriver;

impl FromStr for Driver {
    type Err = NoDriver;

    fn from_str(text: &str) -> Result<Self, NoDriver> {
        text.split('.').map(str::parse).collect::<Result<_, _>>().map(Self).map_err(|_| NoDriver)
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
        check("580.65.06", (13, 1), "no PTX before 590.44.01");
        check("610.43.02", (13, 9), "perhaps no PTX");
    }

    #[test]
    fn an_image_needs_the_driver_of_its_newest_major_or_of_its_ptx() {
        let ptx = |text: &str| -> Vec<PtxVersion> {
            let versions = text.split(' ').filter_map(|word| word.split_once('.'));
            versions
                .map(|(major, minor)| PtxVersion {
                    major: major.parse().unwrap(),
                    minor: minor.parse().unwrap(),
                })
                .collect()
        };
        for (majors, compiled, newer, expected) in [
            (&[12][..], "", "", Some("525.60.13")),
            (&[12, 13], "", "", Some("580.65.06")),
            (&[12], "", "8.4", Some("525.60.13, 550.54.14 for newer GPUs")),
            (&[12], "8.5", "8.4", Some("555.42.06")),
            (&[13], "8.5", "9.0", Some("580.65.06")),
            (&[13], "", "9.2", Some("580.65.06, 595.45.04 for newer GPUs")),
            (&[12], "8.6", "", Some("560.35.05")),
            (&[], "", "8.4", None),
            (&[10], "", "", None),
        ] {
            let need = DriverNeed::of(majors.iter().copied(), ptx(compiled), ptx(newer));
            let told = need.map(|need| match need.for_newer_gpus {
                Some(newer) => format!("{}, {newer} for newer GPUs", need.lowest),
                None => need.lowest.to_string(),
            });
            assert_eq!(told.as_deref(), expected, "{majors:?} {compiled} {newer}");
        }
    }

    #[test]
    fn a_newer_major_does_not_run() {
        check("470.57.02", (12, 0), "too old, 525.60.13 is the oldest");
        check("575.51.03", (13, 0), "too old, 580.65.06 is the oldest");
        check("570", (14, 0), "too old, 580.65.06 is the oldest");
    }

    #[test]
    fn forward_compatibility_stands_in_for_a_newer_driver() {
        let fit = |compat, toolkit| {
            let hosts = HostDrivers { oldest: Some("470.57.02".parse().unwrap()), compat };
            (hosts.fit(toolkit), hosts.limiting([toolkit].iter()).is_some())
        };
        let too_old = |oldest: &str| Some(DriverFit::TooOld { oldest: oldest.parse().unwrap() });
        assert_eq!(fit(Some((12, 8)), (12, 8)), (Some(DriverFit::Runs), false));
        assert_eq!(fit(Some((13, 0)), (12, 8)), (Some(DriverFit::Runs), false));
        assert_eq!(fit(Some((12, 8)), (13, 0)), (too_old("580.65.06"), true));
        assert_eq!(fit(None, (12, 8)), (too_old("525.60.13"), true));
        let minor = DriverFit::WithoutPtx { released_with: Some("575.51.03".parse().unwrap()) };
        assert_eq!(fit(Some((12, 8)), (12, 9)), (Some(minor), true));
        assert_eq!(HostDrivers { oldest: None, compat: Some((12, 8)) }.fit((13, 0)), None);
    }
}
