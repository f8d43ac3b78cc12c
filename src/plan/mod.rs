//! Decides the layers to write, as data.

mod environment;
mod generate;
mod grouping;
mod namespace;
mod parts;
mod pip;
mod removal;
mod system;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cuda::Toolkit;
use crate::oci::Digest;
use crate::pypa::scheme::InstallScheme;
use crate::resolve::{ComponentPlace, Distribution, Resolution, Role};

use grouping::Candidate;

pub use environment::environment;
pub use parts::parts;
pub use pip::{CONSTRAINTS, pins};
pub use removal::removals;
pub use system::{LOADER_CONFIGURATION, SystemChoices, system_files};

/// Wheels that are installed into one layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WheelLayer {
    pub scheme: InstallScheme,
    /// Sorted by distribution; where two write the same path the later one wins, as it does under pip.
    pub wheels: Vec<WheelInstall>,
    /// The full version of the Python that their modules are compiled for, where they are: `3.11.2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytecode: Option<String>,
}

/// One wheel's installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WheelInstall {
    /// The distribution's normalized name.
    pub distribution: String,
    pub version: String,
    pub filename: String,
    /// The digest of the wheel.
    pub wheel: Digest,
    /// The digest of its core metadata: what the plan was made from, which the wheel must hold.
    pub metadata: Digest,
    /// Whether the recipe names the distribution.
    pub requested: bool,
    /// Requirements of the metadata to rewrite, and what takes their place.
    pub relaxed: BTreeMap<String, String>,
    pub place: Place,
    /// Which of its files, where it is cut over several layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<WheelPart>,
}

/// The files of a wheel that [`parts`] puts into one of several layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WheelPart {
    /// From 0 on.
    pub index: usize,
    pub of: usize,
}

/// Where a wheel's files go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// Where its install scheme says.
    SitePackages,
    /// A component's: into the toolkit's tree.
    Toolkit(Toolkit),
    /// A component's libraries, and nothing else of it, into the toolkit's tree.
    ToolkitLibraries(Toolkit),
}

impl WheelLayer {
    /// What is in it, for people.
    pub fn title(&self) -> String {
        let named = |wheel: &WheelInstall| match wheel.part {
            None => format!("{} {}", wheel.distribution, wheel.version),
            Some(WheelPart { index, of }) => {
                format!("{} {}, part {} of {of}", wheel.distribution, wheel.version, index + 1)
            }
        };
        match self.wheels.as_slice() {
            [] => "no packages".to_owned(),
            [only] => named(only),
            [first, .., last] => {
                format!("{} packages, {} to {}", self.wheels.len(), first.distribution, last.distribution)
            }
        }
    }
}

/// What the wheels of a resolution are, once they were looked at, by file name: digest and unpacked size in bytes.
pub type Wheels = BTreeMap<String, (Digest, u64)>;

/// The layers of a resolution's wheels, at most `budget`: components first, then large wheels, then groups of small ones.
///
/// A small wheel's group depends on its name alone, so that adding one rewrites one small layer. A wheel larger than a
/// layer may be is cut over several.
pub fn wheel_layers(
    resolution: &Resolution,
    wheels: &Wheels,
    scheme: &InstallScheme,
    limits: &Limits,
) -> Vec<WheelLayer> {
    let mut candidates = Vec::new();
    for distribution in &resolution.distributions {
        let Some((digest, size)) = wheels.get(&distribution.wheel.filename.to_string()) else { continue };
        candidates.push(Candidate {
            install: wheel_install(distribution, *digest),
            is_component: matches!(distribution.role, Role::Component { .. }),
            size: *size,
        });
    }
    let layer = |wheels| WheelLayer { scheme: scheme.clone(), wheels, bytecode: limits.bytecode.clone() };
    grouping::grouped(candidates, limits).into_iter().map(layer).collect()
}

/// What a recipe says of its layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The most layers of wheels.
    pub budget: usize,
    /// The unpacked size in bytes above which a wheel, or a group of small ones, is cut, as far as the budget allows.
    pub max_size: u64,
    /// See [`WheelLayer::bytecode`].
    pub bytecode: Option<String>,
}

fn wheel_install(distribution: &Distribution, wheel: Digest) -> WheelInstall {
    let place = match &distribution.role {
        Role::Component { place: ComponentPlace::Whole, toolkit, .. } => Place::Toolkit(toolkit.clone()),
        Role::Component { place: ComponentPlace::LibrariesBeside, toolkit, .. } => {
            Place::ToolkitLibraries(toolkit.clone())
        }
        Role::Package { .. } | Role::Metapackage => Place::SitePackages,
    };
    WheelInstall {
        distribution: distribution.name.to_string(),
        version: distribution.version.to_string(),
        filename: distribution.wheel.filename.to_string(),
        wheel,
        metadata: distribution.metadata,
        requested: distribution.requested,
        relaxed: distribution.relaxed.clone(),
        place,
        part: None,
    }
}
