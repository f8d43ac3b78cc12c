//! The processor architectures that images are built for.

use std::fmt;
use std::str::FromStr;

use oci_spec::image as spec;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A processor architecture for which CUDA frameworks exist.
///
/// Its name in text is Go's, which OCI and Debian use as well: `amd64`, `arm64`. The modules of other specifications
/// derive their names from it: [`crate::elf`] the machine and the loader, [`crate::pypa::target`] the wheel tags,
/// [`crate::cuda`] the toolkit's directory.
///
/// <https://github.com/opencontainers/image-spec/blob/main/config.md#properties>
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Architecture {
    /// 64-bit x86: `x86_64` to kernels and wheels.
    Amd64,
    /// 64-bit ARM: `aarch64` to kernels and wheels.
    Arm64,
}

impl Architecture {
    /// Every architecture.
    pub const ALL: [Self; 2] = [Self::Amd64, Self::Arm64];

    /// The name in OCI's documents and in Debian's archives.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// The name that the kernel gives: `uname -m`, and with it `platform_machine`, wheel tags and `$PLATFORM`.
    pub fn machine_name(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }

    /// The name of Linux on it among platforms, as docker and OCI's indexes write it.
    pub fn platform(self) -> &'static str {
        match self {
            Self::Amd64 => "linux/amd64",
            Self::Arm64 => "linux/arm64",
        }
    }

    /// The architecture of a platform by its name, `linux/arm64`. The variant that every machine of an architecture runs may be
    /// named: `linux/arm64/v8`.
    pub fn of_platform(name: &str) -> Option<Self> {
        let same = |known: &Self| known.platform() == name;
        let of_variant = match name {
            "linux/amd64/v1" => Some(Self::Amd64),
            "linux/arm64/v8" => Some(Self::Arm64),
            _ => None,
        };
        Self::ALL.into_iter().find(same).or(of_variant)
    }

    /// The architecture that this program was compiled for.
    pub fn here() -> Option<Self> {
        Self::ALL.into_iter().find(|architecture| architecture.machine_name() == std::env::consts::ARCH)
    }
}

/// The name of an architecture that is not supported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a supported architecture: these are amd64 and arm64")]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub struct ArchitectureError {
    name: String,
}

impl FromStr for Architecture {
    type Err = ArchitectureError;

    fn from_str(name: &str) -> Result<Self, ArchitectureError> {
        let mut all = Self::ALL.into_iter();
        let found = all.find(|architecture| architecture.as_str() == name);
        found.ok_or_else(|| ArchitectureError { name: name.to_owned() })
    }
}

impl From<Architecture> for spec::Arch {
    fn from(architecture: Architecture) -> Self {
        architecture.as_str().into()
    }
}

impl TryFrom<&spec::Arch> for Architecture {
    type Error = ArchitectureError;

    fn try_from(architecture: &spec::Arch) -> Result<Self, ArchitectureError> {
        architecture.to_string().parse()
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Architecture {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Architecture {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_it_is_written() {
        for architecture in Architecture::ALL {
            assert_eq!(architecture.to_string().parse(), Ok(architecture));
            let json = serde_json::to_string(&architecture).unwrap();
            assert_eq!(json, format!("\"{architecture}\""));
            assert_eq!(serde_json::from_str::<Architecture>(&json).unwrap(), architecture);
        }
    }

    #[test]
    fn platforms_are_named_as_docker_names_them() {
        for architecture in Architecture::ALL {
            assert_eq!(Architecture::of_platform(architecture.platform()), Some(architecture));
        }
        assert_eq!(Architecture::of_platform("linux/arm64/v8"), Some(Architecture::Arm64));
        for other in ["arm64", "linux/arm/v7", "windows/amd64", "linux/", "Linux/amd64"] {
            assert_eq!(Architecture::of_platform(other), None, "{other}");
        }
    }

    #[test]
    fn refuses_names_of_other_architectures() {
        for name in ["", "x86_64", "AMD64", "riscv64", "arm"] {
            let error = name.parse::<Architecture>().unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("`{name}` is not a supported architecture: these are amd64 and arm64")
            );
        }
    }
}
