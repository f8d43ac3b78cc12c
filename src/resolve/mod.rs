//! Resolution: which distributions are installed, which component serves whom, and why.
//!
//! Requirements on CUDA components never enter the solver: frameworks pin them at versions that exclude each other. They
//! are set aside as demands, and met together afterwards.

pub mod components;
pub mod demand;
pub mod solve;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uv_distribution_filename::WheelFilename;
use uv_normalize::{ExtraName, PackageName};
use uv_pep440::Version;

use crate::cuda::{Component, ComponentWheel, Toolkit, cuda_extras, is_dispensable};
use crate::oci::Digest;
use crate::pypa::metadata::{CoreMetadata, Requirement};
use crate::pypa::simple::DistFile;
use crate::pypa::target::{Machine, Target};
use components::{ComponentChoice, ComponentError, Demanded, Offer};
use demand::{Demand, Demander};
use solve::{Catalog, Chosen, Question, Root, Solution, SolveError};

/// What is to be resolved.
pub struct Request<'a> {
    pub target: &'a Target,
    /// What the recipe asks for.
    pub roots: Vec<Root>,
    /// Where components come from.
    pub components: Components,
    /// The names under the recipe's `frameworks`, which get their CUDA extra.
    pub frameworks: BTreeSet<PackageName>,
    pub constraints: Vec<Requirement>,
    /// Nothing uploaded at or after this moment, in Unix seconds, is considered.
    pub exclude_newer: Option<i64>,
    /// The versions of an earlier resolution: each is kept while everything allows it.
    pub preferences: Preferences,
}

/// Versions by distribution; of a component with two SONAMEs there are two.
pub type Preferences = BTreeMap<PackageName, BTreeSet<Version>>;

/// Where components come from, as far as it is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Components {
    /// Each is served once, in a toolkit's tree.
    Shared,
    /// They are distributions like all others, at the versions that are pinned.
    Pip,
}

/// Every decision about what is installed.
#[derive(Debug, Clone)]
pub struct Resolution {
    /// Sorted by name; components are among them.
    pub distributions: Vec<Distribution>,
    /// `None` when nothing demands CUDA.
    pub toolkit: Option<Toolkit>,
}

/// A distribution to install.
#[derive(Debug, Clone)]
pub struct Distribution {
    pub name: PackageName,
    pub version: Version,
    pub wheel: ChosenWheel,
    /// The digest of the core metadata that the decisions about it were made from.
    pub metadata: Digest,
    /// Whether the recipe names it.
    pub requested: bool,
    /// Requirements of its metadata to rewrite, and what takes their place.
    pub relaxed: BTreeMap<String, String>,
    pub role: Role,
}

/// Which wheel a distribution is installed from, wherever it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChosenWheel {
    pub filename: WheelFilename,
    pub sha256: Option<Digest>,
    /// In bytes.
    pub size: Option<u64>,
    /// Seconds since the Unix epoch, when an index said it.
    pub upload_time: Option<i64>,
}

impl From<DistFile> for ChosenWheel {
    fn from(file: DistFile) -> Self {
        let DistFile { filename, sha256, size, upload_time, .. } = file;
        Self { filename, sha256, size, upload_time }
    }
}

/// What a distribution is to CUDA.
#[derive(Debug, Clone)]
pub enum Role {
    /// It is installed into site-packages; `private` are the components that it asks for by itself.
    Package { private: Vec<PrivateComponent> },
    /// It carries a component, which is laid out in the toolkit's tree.
    Component { component: Component, demands: Vec<Demand>, place: ComponentPlace },
    /// It carries pins on components and nothing else.
    Metapackage { demands: Vec<Demand> },
}

/// How much of a component's wheel is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComponentPlace {
    /// All of it, and pip sees it.
    Whole,
    /// Its libraries alone, beside another SONAME of the component, which is the one that pip sees.
    LibrariesBeside,
}

/// A component wheel that a framework would have brought for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivateComponent {
    pub distribution: PackageName,
    /// The version it pins; `None` when it takes what others have.
    pub pinned: Option<Version>,
}

/// Why a recipe cannot be resolved.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    #[error(transparent)]
    Solve(#[from] SolveError),
    #[error(transparent)]
    Components(#[from] ComponentError),
}

impl Resolution {
    /// Whether anything of CUDA is in the image.
    pub fn has_cuda(&self) -> bool {
        self.distributions.iter().any(|distribution| ComponentWheel::of(distribution.name.as_ref()).is_some())
    }
}

impl ResolveError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Solve(error) => error.hint(),
            Self::Components(error) => error.hint(),
        }
    }
}

/// Resolves `request` with what `catalog` offers.
pub fn resolve(request: &Request<'_>, catalog: &dyn Catalog) -> Result<Resolution, ResolveError> {
    let plain = solve::solve(&question(request, &request.roots), catalog)?;
    let roots = with_cuda_extras(request, &plain);
    let solution = match roots == request.roots {
        true => plain,
        false => solve::solve(&question(request, &roots), catalog)?,
    };
    let offer = Offer { target: request.target, exclude_newer: request.exclude_newer, catalog };
    let mut demanded = demanded(&solution);
    demanded.extend(demanded_by_user(request));
    let components = components::choose(&demanded, &offer)?;
    Ok(assemble(request, solution, components))
}

fn question<'a>(request: &'a Request<'a>, roots: &[Root]) -> Question<'a> {
    Question {
        target: request.target,
        roots: roots.to_vec(),
        constraints: request.constraints.clone(),
        exclude_newer: request.exclude_newer,
        preferences: request
            .preferences
            .iter()
            .filter_map(|(name, versions)| Some((name.clone(), versions.last()?.clone())))
            .collect(),
        set_aside: match request.components {
            Components::Shared => {
                let named: BTreeSet<PackageName> =
                    roots.iter().map(|root| root.requirement.name.clone()).collect();
                Arc::new(move |name| {
                    let is_component = ComponentWheel::of(name.as_ref()).is_some();
                    is_component || (is_dispensable(name.as_ref()) && !named.contains(name))
                })
            }
            Components::Pip => Arc::new(|_| false),
        },
    }
}

/// The roots with the CUDA extra of each framework that has one: the extra of the CUDA major that the others use.
fn with_cuda_extras(request: &Request<'_>, plain: &Solution) -> Vec<Root> {
    let mut majors = majors(plain);
    let mut chosen: BTreeMap<PackageName, &'static str> = BTreeMap::new();
    let mut undecided = Vec::new();
    for name in &request.frameworks {
        let Some(distribution) = plain.distributions.get(name) else { continue };
        let offered: Vec<_> = cuda_extras(name.as_ref())
            .iter()
            .filter(|option| distribution.metadata.provides_extra.iter().any(|e| e.as_ref() == option.extra))
            .collect();
        let asked = |root: &Root| {
            root.requirement.name == *name
                && root
                    .requirement
                    .extras
                    .iter()
                    .any(|e| cuda_extras(name.as_ref()).iter().any(|o| o.extra == e.as_ref()))
        };
        if request.roots.iter().any(asked) {
            continue;
        }
        match offered.as_slice() {
            [] => {}
            [only] => {
                majors.insert(only.major);
                chosen.insert(name.clone(), only.extra);
            }
            _ => undecided.push((name, offered)),
        }
    }
    for (name, offered) in undecided {
        let fitting = offered.iter().find(|option| majors.contains(&option.major)).or(offered.first());
        if let Some(option) = fitting {
            chosen.insert(name.clone(), option.extra);
        }
    }
    request.roots.iter().map(|root| with_extra(root, chosen.get(&root.requirement.name))).collect()
}

fn with_extra(root: &Root, extra: Option<&&'static str>) -> Root {
    let mut root = root.clone();
    if let Some(extra) = extra.and_then(|extra| extra.parse::<ExtraName>().ok()) {
        let mut extras = root.requirement.extras.to_vec();
        extras.push(extra);
        root.requirement.extras = extras.into_boxed_slice();
    }
    root
}

/// The CUDA majors that a solution's distributions are for.
fn majors(solution: &Solution) -> BTreeSet<u32> {
    let demanded = demanded(solution);
    let demanded = demanded.iter().filter_map(|(_, requirement)| major_of(requirement));
    let installed = solution.distributions.values().filter_map(|chosen| {
        match ComponentWheel::of(chosen.name.as_ref())? {
            ComponentWheel::Carries { major, .. } => major,
            ComponentWheel::Metapackage => {
                chosen.version.release().first().and_then(|major| u32::try_from(*major).ok())
            }
        }
    });
    demanded.chain(installed).collect()
}

/// The CUDA major that a requirement on a component is for, as far as its name or pin says.
fn major_of(requirement: &Requirement) -> Option<u32> {
    match ComponentWheel::of(requirement.name.as_ref())? {
        ComponentWheel::Carries { major: Some(major), .. } => Some(major),
        ComponentWheel::Metapackage => {
            let demand = Demand::new(Demander::Layout, requirement);
            let floor = demand.serves.iter().next()?.version().release().first().copied()?;
            u32::try_from(floor).ok()
        }
        ComponentWheel::Carries { .. } => None,
    }
}

fn demanded(solution: &Solution) -> Vec<Demanded> {
    solution
        .distributions
        .values()
        .flat_map(|chosen| {
            let by = Demander::Distribution { name: chosen.name.clone(), version: chosen.version.clone() };
            let components = chosen
                .set_aside
                .iter()
                .filter(|requirement| ComponentWheel::of(requirement.name.as_ref()).is_some());
            components.map(move |requirement| (by.clone(), requirement.clone()))
        })
        .collect()
}

/// What the recipe itself requires of components, which the solver set aside as all others'.
fn demanded_by_user(request: &Request<'_>) -> Vec<Demanded> {
    let requirements = request.roots.iter().map(|root| &root.requirement);
    let active =
        requirements.filter(|requirement| requirement.evaluate_markers(request.target.markers(), &[]));
    let components = active.filter(|requirement| ComponentWheel::of(requirement.name.as_ref()).is_some());
    match request.components {
        Components::Shared => components.map(|requirement| (Demander::User, requirement.clone())).collect(),
        Components::Pip => Vec::new(),
    }
}

fn assemble(request: &Request<'_>, solution: Solution, components: components::Components) -> Resolution {
    let requested: BTreeSet<&PackageName> = request.roots.iter().map(|root| &root.requirement.name).collect();
    let mut visible: BTreeMap<PackageName, Version> = BTreeMap::new();
    for choice in &components.choices {
        let newest = visible.entry(choice.distribution.clone()).or_insert_with(|| choice.version.clone());
        *newest = choice.version.clone().max(newest.clone());
    }
    let packages = solution.distributions.into_values().map(|chosen| package(chosen, &visible));
    let components_and_metapackages =
        components.choices.into_iter().map(|choice| component(choice, &visible));
    let mut distributions: Vec<Distribution> = packages.chain(components_and_metapackages).collect();
    for distribution in &mut distributions {
        distribution.requested = requested.contains(&distribution.name);
    }
    distributions.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    let machine = match request.target.machine() {
        Machine::X86_64 => crate::cuda::Machine::X86_64,
        Machine::Aarch64 => crate::cuda::Machine::Aarch64,
    };
    Resolution { distributions, toolkit: components.toolkit.map(|version| Toolkit { version, machine }) }
}

fn package(chosen: Chosen, visible: &BTreeMap<PackageName, Version>) -> Distribution {
    let private = chosen
        .set_aside
        .iter()
        .filter(|requirement| ComponentWheel::of(requirement.name.as_ref()).is_some())
        .map(|requirement| PrivateComponent {
            distribution: requirement.name.clone(),
            pinned: pinned(requirement),
        })
        .collect();
    Distribution {
        relaxed: relaxed(&chosen.metadata, visible),
        metadata: chosen.metadata.digest(),
        name: chosen.name,
        version: chosen.version,
        wheel: chosen.wheel.into(),
        requested: false,
        role: Role::Package { private },
    }
}

fn component(choice: ComponentChoice, visible: &BTreeMap<PackageName, Version>) -> Distribution {
    let demands = choice.demands;
    let place = match visible.get(&choice.distribution) == Some(&choice.version) {
        true => ComponentPlace::Whole,
        false => ComponentPlace::LibrariesBeside,
    };
    Distribution {
        relaxed: relaxed(&choice.metadata, visible),
        metadata: choice.metadata.digest(),
        name: choice.distribution,
        version: choice.version,
        wheel: choice.wheel.into(),
        requested: false,
        role: match choice.component {
            Some(component) => Role::Component { component, demands, place },
            None => Role::Metapackage { demands },
        },
    }
}

fn pinned(requirement: &Requirement) -> Option<Version> {
    let demand = Demand::new(Demander::Layout, requirement);
    let version = demand.asked.iter().next()?.version().clone();
    demand.pins(&version).then_some(version)
}

fn relaxed(metadata: &CoreMetadata, visible: &BTreeMap<PackageName, Version>) -> BTreeMap<String, String> {
    metadata
        .requires_dist
        .iter()
        .filter_map(|requirement| {
            let relaxed = demand::relaxed(requirement, visible.get(&requirement.name))?;
            Some((requirement.to_string(), relaxed))
        })
        .collect()
}
