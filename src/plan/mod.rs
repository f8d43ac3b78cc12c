//! Decides the layers to write, as data.

mod environment;
mod generate;
mod namespace;
mod pip;
mod removal;
mod system;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cuda::Toolkit;
use crate::oci::Digest;
use crate::pypa::scheme::InstallScheme;
use crate::resolve::{ComponentPlace, Distribution, Resolution, Role};

pub use environment::environment;
pub use pip::{CONSTRAINTS, pins};
pub use removal::removals;
pub use system::{LOADER_CONFIGURATION, SystemChoices, system_files};

/// A wheel that unpacks to this many bytes or more gets a layer of its own, budget permitting.
const LARGE: u64 = 64 << 20;
/// Small wheels share at most this many layers.
const MAX_GROUPS: usize = 8;

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
        let named = |wheel: &WheelInstall| format!("{} {}", wheel.distribution, wheel.version);
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
/// A small wheel's group depends on its name alone, so that adding one rewrites one small layer.
pub fn wheel_layers(
    resolution: &Resolution,
    wheels: &Wheels,
    scheme: &InstallScheme,
    limits: &Limits,
) -> Vec<WheelLayer> {
    let mut alone: Vec<(Rank, WheelInstall)> = Vec::new();
    let mut small = Vec::new();
    for distribution in &resolution.distributions {
        let Some((digest, size)) = wheels.get(&distribution.wheel.filename.to_string()) else { continue };
        let install = wheel_install(distribution, *digest);
        let is_component = matches!(distribution.role, Role::Component { .. });
        match is_component || *size >= LARGE {
            true => alone.push((Rank { is_package: !is_component, size: *size }, install)),
            false => small.push((*size, install)),
        }
    }
    let groups = MAX_GROUPS.min(limits.budget.saturating_sub(alone.len()).max(1));
    alone.sort_by_key(|(rank, _)| std::cmp::Reverse(rank.size));
    let room = limits.budget.saturating_sub(groups);
    small.extend(alone.drain(room.min(alone.len())..).map(|(rank, install)| (rank.size, install)));
    alone.sort_by(|(a, x), (b, y)| (a.is_package, &x.filename).cmp(&(b.is_package, &y.filename)));
    let layer = |wheels: Vec<WheelInstall>| WheelLayer {
        scheme: scheme.clone(),
        wheels,
        bytecode: limits.bytecode.clone(),
    };
    let alone = alone.into_iter().map(|(_, install)| layer(vec![install]));
    let spare = limits.budget.saturating_sub(alone.len() + groups);
    alone.chain(grouped(small, groups, spare, limits.max_size).into_iter().map(layer)).collect()
}

/// What a recipe says of its layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The most layers of wheels.
    pub budget: usize,
    /// The unpacked size in bytes from which on a group takes no further wheel, as far as the budget allows.
    pub max_size: u64,
    /// See [`WheelLayer::bytecode`].
    pub bytecode: Option<String>,
}

struct Rank {
    is_package: bool,
    size: u64,
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
    }
}

/// Groups by name; a group that grows beyond `max_size` is cut into several while there are `spare` layers.
fn grouped(
    mut small: Vec<(u64, WheelInstall)>,
    groups: usize,
    mut spare: usize,
    max_size: u64,
) -> Vec<Vec<WheelInstall>> {
    small.sort_by(|(_, a), (_, b)| a.filename.cmp(&b.filename));
    let mut by_group: BTreeMap<usize, Vec<(u64, WheelInstall)>> = BTreeMap::new();
    for (size, install) in small {
        let hash = Digest::of(&install.distribution);
        by_group.entry(usize::from(hash.bytes()[0]) % groups).or_default().push((size, install));
    }
    let mut layers = Vec::new();
    for group in by_group.into_values() {
        let mut layer: Vec<WheelInstall> = Vec::new();
        let mut filled = 0;
        for (size, install) in group {
            if filled >= max_size && spare > 0 {
                layers.push(std::mem::take(&mut layer));
                filled = 0;
                spare -= 1;
            }
            filled += size;
            layer.push(install);
        }
        layers.push(layer);
    }
    layers
}
