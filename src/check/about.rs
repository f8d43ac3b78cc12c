//! The subjects of findings.

use std::fmt;

use serde::{Deserialize, Serialize};
use uv_normalize::PackageName;
use uv_pep440::Version;

/// The subject of a finding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum About {
    /// An absolute path in the image.
    Path(String),
    /// A distribution.
    Distribution(DistributionId),
    /// Libraries of one SONAME.
    Soname(String),
    /// A member of the image's config: `User`.
    Config(String),
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(text) | Self::Soname(text) => f.write_str(text),
            Self::Config(member) => write!(f, "config {member}"),
            Self::Distribution(distribution) => distribution.fmt(f),
        }
    }
}

/// An installed distribution: `torch 2.6.0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DistributionId {
    /// The normalized name.
    pub name: PackageName,
    /// The version.
    pub version: Version,
}

impl fmt::Display for DistributionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}
