//! The base: what is known of the image that a build starts from.

pub mod debian;

use crate::debian::version::Version;
use crate::pypa::scheme::InstallScheme;

/// What the later stages need to know of a base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseInventory {
    /// `amd64` or `arm64`: Debian's and OCI's word alike.
    pub architecture: String,
    /// `Debian` or `Ubuntu`, as its C library calls itself.
    pub vendor: String,
    /// `(2, 36)` for glibc 2.36.
    pub glibc: (u16, u16),
    /// The version of the package with `ldconfig`.
    pub libc_bin: Version,
    /// The interpreter's full version: `3.11.2`.
    pub python: String,
    pub scheme: InstallScheme,
    /// The path of the marker that keeps pip from installing, relative to the root.
    ///
    /// <https://packaging.python.org/en/latest/specifications/externally-managed-environments/>
    pub externally_managed: String,
}

/// Why a base cannot be built upon.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    #[error("the base has no Python")]
    NoPython,
    #[error("the base has Python {found}; the recipe asks for {asked}")]
    OtherPython { found: String, asked: String },
    #[error("the base has no GNU C library")]
    NoLibc,
}

impl InventoryError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoPython => "add `python3` to the base's packages".into(),
            Self::OtherPython { found, .. } => {
                format!("write `python: \"{found}\"`, or choose a base that has the other version")
            }
            Self::NoLibc => "add `libc6` and `libc-bin` to the base's packages".into(),
        })
    }
}
