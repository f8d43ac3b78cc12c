//! The plan: all that determines an image, as data, made by a pure function.
//!
//! ```text
//! RecipeInputs + PlannedBase + Resolution ─ plan ─► Plan { layers: Vec<LayerPlan>, runtime, annotations, created }
//! ```
//!
//! After it nothing is decided: [`crate::layer`] writes each [`LayerPlan`], and [`crate::image`] puts them under the
//! documents of an image. A plan that was written as JSON and read again gives the same image, with no recipe and no
//! index; of finished layers only the loader's cache is made (see [`SystemLayer`]).

mod accounts;
mod compression;
mod environment;
mod files;
mod generate;
mod grouping;
mod layer;
mod namespace;
mod parts;
mod pip;
mod removal;
mod runtime;
mod shards;
mod system;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uv_distribution_filename::WheelFilename;

use crate::base::BaseInventory;
use crate::cuda::Toolkit;
use crate::oci::image::RuntimeConfig;
use crate::oci::{Architecture, Digest};
use crate::pypa::scheme::InstallScheme;
use crate::recipe::RecipeInputs;
use crate::resolve::{ComponentPlace, Distribution, Resolution, Role};

use grouping::GroupedWheel;

pub use compression::LayerCompression;
pub use layer::{
    AccountsLayer, BaseLayer, CopiedFile, FORMAT, FilesLayer, GeneratedLayer, LayerPlan, LdconfigPlan,
    PythonLayer, PythonName, SystemLayer, stack_key,
};
pub use parts::parts;
pub use shards::{LayerWork, LayersOfShards};
pub use system::{LOADER_CONFIGURATION, UNVERSIONED_PYTHON};

/// All that determines an image: equal plans give equal digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The architecture that the image runs on.
    pub architecture: Architecture,
    /// The time of the image and of everything generated, in Unix seconds.
    pub created: u64,
    /// Bottom first: the base's, then those that are added, the system's last.
    pub layers: Vec<LayerPlan>,
    /// The settings that a container starts with.
    pub runtime: RuntimeConfig,
    /// The config of the image that is built upon, where there is one: members that imgforge does not know stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_config: Option<Map<String, Value>>,
    /// The manifest's annotations.
    ///
    /// <https://github.com/opencontainers/image-spec/blob/main/annotations.md>
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Plan {
    /// The name of the finished image in a cache: equal keys stand for equal images.
    pub fn key(&self) -> Digest {
        let layers: Vec<Digest> = self.layers.iter().map(LayerPlan::key).collect();
        let Self { architecture, created, runtime, base_config, annotations, .. } = self;
        let canonical = serde_json::to_vec(&(
            layer::FORMAT,
            (architecture, created),
            layers,
            (runtime, base_config),
            annotations,
        ));
        Digest::of(canonical.expect("a plan has string keys and no value that JSON lacks"))
    }
}

/// A base as a plan sees it, before any layer of it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedBase {
    /// The inventory of the base.
    pub inventory: BaseInventory,
    /// Bottom first, all of them [of the base](LayerPlan::is_of_base).
    pub layers: Vec<LayerPlan>,
    /// See [`Plan::base_config`].
    pub config: Option<Map<String, Value>>,
    /// The settings that its containers start with.
    pub runtime: RuntimeConfig,
}

/// The values that [`plan`] is a function of.
#[derive(Debug, Clone, Copy)]
pub struct PlanRequest<'a> {
    /// The recipe and the files that it names.
    pub inputs: &'a RecipeInputs,
    /// The base.
    pub base: &'a PlannedBase,
    /// The resolution.
    pub resolution: &'a Resolution,
    /// The wheels, by file name.
    pub wheels: &'a Wheels,
    /// The files that the recipe's `files` name, whatever their modification times.
    pub files: &'a [CopiedFile],
    /// See [`Plan::created`].
    pub created: u64,
}

impl PlanRequest<'_> {
    /// The version of the forward-compatibility package that the recipe adds.
    fn forward_compatibility(&self) -> Option<(u32, u32)> {
        self.inputs.host_drivers(&self.base.runtime.env).compat
    }
}

/// The plan of an image.
pub fn plan(request: &PlanRequest<'_>) -> Plan {
    let PlanRequest { inputs, base, resolution, created, .. } = request;
    let pins = pip::constrained(resolution, &inputs.recipe);
    let mut layers = base.layers.clone();
    layers.extend(accounts::layer(request).map(LayerPlan::Accounts));
    layers.extend(removal::hidden(request).map(LayerPlan::Hidden));
    layers.extend(wheel_layers(request).into_iter().map(LayerPlan::Wheels));
    layers.extend(files::layer(request).map(LayerPlan::Files));
    layers.push(LayerPlan::System(system::layer(request, pins.as_ref(), layer::stack_key(&layers))));
    Plan {
        architecture: base.inventory.architecture,
        created: *created,
        layers,
        runtime: runtime::runtime(request, pins.is_some()),
        base_config: base.config.clone(),
        annotations: inputs.recipe.annotations.clone(),
    }
}

impl Plan {
    /// The layers of wheels, bottom first.
    pub fn wheel_layers(&self) -> impl Iterator<Item = &WheelLayer> {
        self.layers.iter().filter_map(|layer| match layer {
            LayerPlan::Wheels(layer) => Some(layer),
            _ => None,
        })
    }

    /// The wheels that are installed; one that is cut over several layers is there once for each.
    pub fn wheels(&self) -> impl Iterator<Item = &WheelInstall> {
        self.wheel_layers().flat_map(|layer| &layer.wheels)
    }

    /// The unpacked size of a wheel in bytes.
    pub fn wheel_size(&self, filename: &WheelFilename) -> Option<u64> {
        let filename = filename.to_string();
        self.wheels().find(|wheel| wheel.filename == filename).map(|wheel| wheel.unpacked)
    }
}

/// Wheels that are installed into one layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WheelLayer {
    /// The install scheme of its wheels.
    pub scheme: InstallScheme,
    /// Sorted by distribution; where two write the same path the later one wins, as it does under pip.
    pub wheels: Vec<WheelInstall>,
    /// The interpreter that their modules are compiled for, where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytecode: Option<BytecodePlan>,
    /// The compression of the layer.
    pub compression: LayerCompression,
}

/// The interpreter that modules are compiled for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BytecodePlan {
    /// The version of the bytecode's own form, raised when the same source shall give other bytes.
    pub format: u32,
    /// The full version of Python: `3.11.2`.
    pub python: String,
    /// The architecture of the interpreter.
    pub architecture: Architecture,
    /// The keys of the base's layers, bottom first, as one digest: the interpreter is theirs, and one base's bytecode is
    /// never another's.
    pub base: Digest,
}

/// One wheel's installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WheelInstall {
    /// The distribution's normalized name.
    pub distribution: String,
    /// The distribution's version.
    pub version: String,
    /// The wheel's file name.
    pub filename: String,
    /// The digest of the wheel.
    pub wheel: Digest,
    /// The URL that is recorded as the wheel's, where it was named by its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct_url: Option<String>,
    /// The sum of the sizes of its files in bytes.
    pub unpacked: u64,
    /// The digest of its core metadata: what the plan was made from, which the wheel must hold.
    pub metadata: Digest,
    /// True if the recipe names the distribution.
    pub requested: bool,
    /// Requirements of the metadata to rewrite, and what takes their place.
    pub relaxed: BTreeMap<String, String>,
    /// The place of its files.
    pub place: WheelPlacement,
    /// The part of its files, where it is cut over several layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<WheelPart>,
}

/// The files of a wheel that [`parts`] puts into one of several layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WheelPart {
    /// From 0 on.
    pub index: usize,
    /// The number of parts.
    pub of: usize,
}

/// The place of a wheel's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WheelPlacement {
    /// The directories of its install scheme.
    SitePackages,
    /// A component's: into the toolkit's tree.
    Toolkit(Toolkit),
    /// A component's libraries, and nothing else of it, into the toolkit's tree.
    ToolkitLibraries(Toolkit),
}

impl WheelLayer {
    /// Its content, for people.
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

/// The wheels of a resolution, by file name: digest and unpacked size in bytes.
pub type Wheels = BTreeMap<String, (Digest, u64)>;

/// The layers of a resolution's wheels: components first, then large wheels, then groups of small ones.
///
/// A small wheel's group depends on its name alone, so that adding one rewrites one small layer. A wheel larger than a
/// layer may be is cut over several.
fn wheel_layers(request: &PlanRequest<'_>) -> Vec<WheelLayer> {
    let PlanRequest { inputs, base, resolution, wheels, .. } = request;
    let mut candidates = Vec::new();
    for distribution in &resolution.distributions {
        let Some((digest, size)) = wheels.get(&distribution.wheel.filename.to_string()) else { continue };
        candidates.push(GroupedWheel {
            install: wheel_install(distribution, *digest, *size),
            is_component: matches!(distribution.role, Role::Component { .. }),
            size: *size,
        });
    }
    let bytecode = inputs.recipe.python.bytecode.then(|| BytecodePlan {
        format: BYTECODE_FORMAT,
        python: base.inventory.python.clone(),
        architecture: base.inventory.architecture,
        base: layer::stack_key(&base.layers),
    });
    let layer = |wheels| WheelLayer {
        scheme: base.inventory.scheme.clone(),
        wheels,
        bytecode: bytecode.clone(),
        compression: LayerCompression::of(&inputs.recipe.layers),
    };
    grouping::grouped(candidates, &Limits::new(inputs, base)).into_iter().map(layer).collect()
}

/// The version of the bytecode's own form: see [`BytecodePlan::format`].
pub const BYTECODE_FORMAT: u32 = 1;

/// The bounds on the layers of wheels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limits {
    /// The most layers of wheels.
    budget: usize,
    /// The unpacked size in bytes above which a wheel, or a group of small ones, is cut, as far as the budget allows.
    max_size: u64,
}

impl Limits {
    /// Beside wheels, an image has a layer of system files, and others where there is something in them: the recipe's
    /// users, its own files, and the whiteouts. No image has more layers than docker takes.
    fn new(inputs: &RecipeInputs, base: &PlannedBase) -> Self {
        const MOST: usize = 125;
        let layers = &inputs.recipe.layers;
        let others =
            2 + usize::from(!inputs.recipe.files.is_empty()) + usize::from(!inputs.recipe.users.is_empty());
        let budget = usize::from(layers.budget).min(MOST.saturating_sub(base.layers.len()));
        Self { budget: budget.saturating_sub(others).max(1), max_size: layers.max_size.bytes() }
    }
}

fn wheel_install(distribution: &Distribution, wheel: Digest, unpacked: u64) -> WheelInstall {
    let place = match &distribution.role {
        Role::Component { place: ComponentPlace::Whole, toolkit, .. } => {
            WheelPlacement::Toolkit(toolkit.clone())
        }
        Role::Component { place: ComponentPlace::LibrariesBeside, toolkit, .. } => {
            WheelPlacement::ToolkitLibraries(toolkit.clone())
        }
        Role::Package { .. } | Role::Metapackage => WheelPlacement::SitePackages,
    };
    WheelInstall {
        distribution: distribution.name.to_string(),
        version: distribution.version.to_string(),
        filename: distribution.wheel.filename.to_string(),
        wheel,
        direct_url: distribution.direct_url.clone(),
        unpacked,
        metadata: distribution.metadata,
        requested: distribution.requested,
        relaxed: distribution.relaxed.clone(),
        place,
        part: None,
    }
}
