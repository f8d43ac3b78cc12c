//! The base: what is known of the image that a build starts from.

pub mod debian;
pub mod facts;
mod inventory;

pub use inventory::{
    BaseInventory, CudaCopy, CudaLibrary, Found, InstalledDistribution, InstalledTexts, VersionSource,
};

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
