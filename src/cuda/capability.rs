//! Compute capabilities, and the code that runs on them.
//!
//! * <https://docs.nvidia.com/cuda/cuda-programming-guide/05-appendices/compute-capabilities.html>
//! * <https://docs.nvidia.com/cuda/cuda-compiler-driver-nvcc/#gpu-feature-list>

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The compute capability of a GPU: `9.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capability {
    /// 9 of 9.0.
    pub major: u16,
    /// 0 of 9.0.
    pub minor: u16,
}

/// The GPUs of one capability, or some of them, that code was compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GpuTarget {
    /// The lowest capability that runs it.
    pub capability: Capability,
    /// The features that it uses.
    pub features: GpuFeatures,
}

/// The features that code uses: the more, the fewer GPUs run it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GpuFeatures {
    /// Those that every later GPU has.
    Baseline,
    /// Those of the capability's family, `10.0f`: GPUs of the same major have them.
    Family,
    /// Those of this capability alone, `9.0a`.
    Architecture,
}

/// The form of code for GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CodeForm {
    /// Machine code, in a cubin.
    Sass,
    /// The text that a driver compiles for the GPU that it has.
    Ptx,
}

/// A text that is no compute capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no compute capability, such as 9.0")]
pub struct NoCapability;

impl Capability {
    /// The capability that compilers write as one number: 9.0 of `sm_90`, 10.3 of `sm_103`.
    pub fn of_architecture(number: u32) -> Option<Self> {
        const KNOWN: std::ops::RangeInclusive<u32> = 10..=999;
        let number = u16::try_from(number).ok().filter(|_| KNOWN.contains(&number))?;
        Some(Self { major: number / 10, minor: number % 10 })
    }
}

impl GpuTarget {
    /// Returns whether a GPU of this capability runs code of this target. Machine code runs on GPUs of its major, PTX on
    /// every later one.
    pub fn runs_on(self, form: CodeForm, gpu: Capability) -> bool {
        let is_family = gpu.major == self.capability.major && gpu >= self.capability;
        match (self.features, form) {
            (GpuFeatures::Architecture, _) => gpu == self.capability,
            (GpuFeatures::Family, _) | (GpuFeatures::Baseline, CodeForm::Sass) => is_family,
            (GpuFeatures::Baseline, CodeForm::Ptx) => gpu >= self.capability,
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl fmt::Display for GpuTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = match self.features {
            GpuFeatures::Baseline => "",
            GpuFeatures::Family => "f",
            GpuFeatures::Architecture => "a",
        };
        write!(f, "{}{suffix}", self.capability)
    }
}

impl FromStr for Capability {
    type Err = NoCapability;

    fn from_str(text: &str) -> Result<Self, NoCapability> {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let (major, minor) = text.split_once('.').ok_or(NoCapability)?;
        if !is_number(major) || !is_number(minor) || minor.len() > 1 {
            return Err(NoCapability);
        }
        let number: u32 = format!("{major}{minor}").parse().map_err(|_| NoCapability)?;
        Self::of_architecture(number).ok_or(NoCapability)
    }
}

impl FromStr for GpuTarget {
    type Err = NoCapability;

    fn from_str(text: &str) -> Result<Self, NoCapability> {
        let (number, features) = match text.as_bytes() {
            [.., b'a'] => (&text[..text.len() - 1], GpuFeatures::Architecture),
            [.., b'f'] => (&text[..text.len() - 1], GpuFeatures::Family),
            _ => (text, GpuFeatures::Baseline),
        };
        Ok(Self { capability: number.parse()?, features })
    }
}

impl Serialize for Capability {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Capability {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for GpuTarget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GpuTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_runs_on_gpus_of_its_major_or_family_or_on_one() {
        for (target, form, runs, fails) in [
            ("8.0", CodeForm::Sass, "8.0 8.6 8.9", "7.5 9.0 12.0"),
            ("8.6", CodeForm::Sass, "8.6 8.9", "8.0 9.0"),
            ("9.0a", CodeForm::Sass, "9.0", "8.9 10.0"),
            ("10.0f", CodeForm::Sass, "10.0 10.3", "9.0 11.0 12.0"),
            ("10.0a", CodeForm::Ptx, "10.0", "10.3 12.0"),
            ("12.0f", CodeForm::Ptx, "12.0 12.1", "10.3 13.0"),
            ("7.0", CodeForm::Ptx, "7.0 7.5 9.0 12.1", "6.1"),
        ] {
            let target: GpuTarget = target.parse().unwrap();
            for (gpus, expected) in [(runs, true), (fails, false)] {
                for gpu in gpus.split(' ') {
                    assert_eq!(target.runs_on(form, gpu.parse().unwrap()), expected, "{target} on {gpu}");
                }
            }
        }
    }

    #[test]
    fn capabilities_are_read_as_people_and_compilers_write_them() {
        for (number, text) in [(50, "5.0"), (90, "9.0"), (103, "10.3"), (121, "12.1")] {
            let capability = Capability::of_architecture(number).unwrap();
            assert_eq!(capability.to_string(), text);
            assert_eq!(text.parse(), Ok(capability));
        }
        for text in ["", "9", "9.", ".0", "9.00", "x.y", "-9.0", "0.0", "100.0", "9.0b", "90"] {
            assert!(text.parse::<GpuTarget>().is_err(), "{text}");
        }
        assert_eq!(Capability::of_architecture(7), None);
        let json = serde_json::to_string(&"9.0a".parse::<GpuTarget>().unwrap()).unwrap();
        assert_eq!(json, "\"9.0a\"");
        assert_eq!(serde_json::from_str::<GpuTarget>(&json).unwrap().to_string(), "9.0a");
    }
}
