//! The lock: everything that a recipe's resolution decided, with hashes, as a text that is kept beside the recipe.
//!
//! ```text
//! Resolution + base ─ Lock ─► text ─ Lock::parse ─► Lock ─► Resolution + base, with no index asked
//! ```
//!
//! A lock names what it was made from ([`RecipeFingerprint`]), so that it can be told from one of another recipe. It names no
//! package index: a wheel that the store lacks is found again by its file's name and digest. What a recipe says of the
//! image itself (`config`, `files`, `layers`, …) decides nothing that is locked, and changes freely. For a recipe with
//! `platforms` the text has one lock for each ([`LockDocument`]).

mod base;
mod changes;
mod document;
mod fingerprint;
mod layers;
mod outdated;
mod pylock;
mod resolution;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uv_distribution_filename::WheelFilename;
use uv_normalize::PackageName;
use uv_pep440::Version;

use crate::cuda::Component;
use crate::failure::Hinted;
use crate::oci::{Architecture, Digest};
use crate::recipe::Timestamp;
use crate::resolve::{Kept, PassedOver, Preferences, Removed};

pub use base::{DebianBase, ImageBase, LockedBase, LockedPackage, LockedSuite};
pub use changes::{LockChange, changes};
pub use document::LockDocument;
pub use fingerprint::RecipeFingerprint;
pub use layers::LockedLayer;
pub use outdated::{LockedKind, OutdatedItem, outdated};
pub use pylock::{ExportedResolution, LockedFile, LockedOrigin, LockedPlace, pylock};
pub use resolution::{LockedComponent, LockedDistribution, LockedTree, ToolkitVersion};

/// The version of the format. Another one is refused.
const VERSION: u32 = 1;

/// The comment before the data.
const HEADER: &str = "# Written by `imgforge lock`: what the recipe beside it was resolved to. Commit it, and do not edit it.\n";

/// Everything decided about a recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Lock {
    version: u32,
    /// The publication of the newest locked item: the image's time.
    pub created: Timestamp,
    /// The versions of the CUDA toolkits in the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub toolkits: Vec<ToolkitVersion>,
    /// The fingerprint of its inputs.
    pub recipe: RecipeFingerprint,
    /// By framework: what the CUDA that it would have brought for itself weighs, in bytes unpacked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub private_cuda: BTreeMap<String, u64>,
    /// The base.
    pub base: LockedBase,
    /// The Python that the image gets in place of the base's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python: Option<LockedPython>,
    /// The toolkits' trees that the image adds to or makes.
    #[serde(default, rename = "tree", skip_serializing_if = "Vec::is_empty")]
    pub trees: Vec<LockedTree>,
    /// The supplier of each component.
    #[serde(default, rename = "component", skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<LockedComponent>,
    /// The distributions of the base that the resolution uses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<Kept>,
    /// The distributions of the base that the image hides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<Removed>,
    /// The versions that were not taken because of the CUDA major that they are built for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed_over: Vec<PassedOver>,
    /// Sorted by name and version.
    #[serde(default, rename = "distribution", skip_serializing_if = "Vec::is_empty")]
    pub distributions: Vec<LockedDistribution>,
    /// The layers of the image, bottom first, where they are pinned.
    #[serde(default, rename = "layer", skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LockedLayer>,
}

/// The reason why a text is not a lock.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum LockError {
    #[error("line {line} of the lock cannot be read: {reason}")]
    Syntax { line: usize, reason: String },
    #[error("the lock is of version {version}, which this imgforge does not know")]
    Version { version: u32 },
    #[error("the lock cannot be written: {reason}")]
    Unwritable { reason: String },
}

impl Hinted for LockError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Syntax { .. } => {
                Some("restore the file as it was committed, or remove it and run `imgforge lock`".into())
            }
            Self::Version { .. } => {
                Some("use a newer imgforge, or remove the file and run `imgforge lock`".into())
            }
            Self::Unwritable { .. } => None,
        }
    }
}

/// The values and lines of a lock: one of a thousand wheels and packages has some 30,000.
const MOST_VALUES: usize = 1 << 18;

/// The parts of a [`Lock`], apart from its distributions and toolkits, which are a resolution's.
#[derive(Debug, Clone)]
pub struct Decided {
    /// The image's time.
    pub created: Timestamp,
    /// The fingerprint of the recipe.
    pub recipe: RecipeFingerprint,
    /// The size of each framework's own CUDA, in bytes.
    pub private_cuda: BTreeMap<String, u64>,
    /// The base.
    pub base: LockedBase,
    /// The Python in place of the base's.
    pub python: Option<LockedPython>,
}

/// A Python that was given by the place of its archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedPython {
    /// The place, without secrets.
    pub from: String,
    /// The digest of the archive.
    pub digest: Digest,
}

impl Lock {
    /// Reads the text of a lock.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        check_size(text)?;
        let lock: Self = toml::from_str(text).map_err(|error| match toml::from_str(text) {
            // A later format is told by its version, whatever else is new in it.
            Ok(Head { version }) if version != VERSION => LockError::Version { version },
            _ => syntax_error(text, &error),
        })?;
        lock.check(text).map(|()| lock)
    }

    /// Refuses a lock of `text` that contradicts itself.
    fn check(&self, text: &str) -> Result<(), LockError> {
        if self.version != VERSION {
            return Err(LockError::Version { version: self.version });
        }
        match self.distributions.iter().find_map(LockedDistribution::contradiction) {
            Some((offset, reason)) => Err(LockError::Syntax { line: line_of(text, offset), reason }),
            None => Ok(()),
        }
    }

    /// The architecture that it was made for, as far as it tells: that of its packages, or else of its wheels.
    pub fn architecture(&self) -> Option<Architecture> {
        let packages = match &self.base {
            LockedBase::Debian(packages) => Some(packages),
            LockedBase::Image(image) => image.packages.as_ref(),
        };
        let of_wheels = || self.distributions.iter().find_map(|locked| architecture_of(locked.wheel().0));
        packages.map(|packages| packages.architecture).or_else(of_wheels)
    }

    /// The text of the lock: the same for the same lock.
    pub fn to_text(&self) -> Result<String, LockError> {
        let unwritable = |error: toml::ser::Error| LockError::Unwritable { reason: error.to_string() };
        Ok(HEADER.to_owned() + &toml::to_string_pretty(self).map_err(unwritable)?)
    }

    /// The versions of everything locked.
    pub fn preferences(&self) -> Preferences {
        let mut preferences = Preferences::new();
        for distribution in &self.distributions {
            let versions = preferences.entry(distribution.name().clone()).or_default();
            versions.insert(distribution.version().clone());
        }
        preferences
    }

    /// Returns whether `text` is that of a lock, whatever is wrong with it.
    pub fn is_begun(text: &[u8]) -> bool {
        text.starts_with(HEADER.as_bytes())
    }

    /// Every component: its CUDA major and its version.
    pub fn component_versions(&self) -> impl Iterator<Item = (Component, u32, &Version)> {
        self.components.iter().map(|it| (it.component, it.cuda, &it.version))
    }

    /// Returns whether a Debian package of this name is locked.
    pub fn has_package(&self, name: &str) -> bool {
        self.base.packages().iter().any(|package| package.name == name)
    }

    /// Returns whether a distribution of this name is locked.
    pub fn has(&self, name: &PackageName) -> bool {
        self.distributions.iter().any(|distribution| distribution.name() == name)
    }
}

/// The architecture that a wheel is for, where it is for one alone.
fn architecture_of(wheel: &WheelFilename) -> Option<Architecture> {
    let is_for = |architecture: &Architecture| {
        let machine = architecture.machine_name();
        wheel.platform_tags().iter().all(|tag| tag.to_string().ends_with(machine))
    };
    Architecture::ALL.into_iter().find(is_for)
}

/// Refuses a text of more values than any lock has.
fn check_size(text: &str) -> Result<(), LockError> {
    match text.match_indices(['=', ',', '[', '{', '\n']).nth(MOST_VALUES) {
        Some((offset, _)) => {
            let reason = format!("it has more than {MOST_VALUES} values");
            Err(LockError::Syntax { line: line_of(text, offset), reason })
        }
        None => Ok(()),
    }
}

fn syntax_error(text: &str, error: &toml::de::Error) -> LockError {
    let line = line_of(text, error.span().map_or(0, |span| span.start));
    LockError::Syntax { line, reason: error.message().lines().collect::<Vec<_>>().join("; ") }
}

/// The beginning of every version of the format.
#[derive(Deserialize)]
struct Head {
    version: u32,
}

/// The line that the byte at `offset` is on, counted from 1.
fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}
