//! Resolution: which distributions are installed, who serves which component, and why.
//!
//! Requirements on CUDA components never enter the solver: frameworks pin them at versions that exclude each other. They
//! are set aside as demands, and met together afterwards, by the base's copies or by wheels. Components that are left to
//! pip are distributions like all others.

mod assemble;
mod binaries;
pub mod components;
pub mod demand;
mod drivers;
mod extras;
mod fit;
mod installed;
mod overrides;
mod request;
mod rewriting;
mod siblings;
pub mod solve;
mod source_only;
mod sources;
#[cfg(test)]
pub(crate) mod tests;
mod wheel_choice;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uv_distribution_filename::WheelFilename;
use uv_normalize::PackageName;
use uv_pep440::Version;
use uv_pep508::MarkerTree;

use crate::base::{CudaCopy, InstalledDistribution};
use crate::cuda::{Component, ComponentWheel, Driver, DriverFit, Toolkit, is_dispensable, toolkit_version};
use crate::failure::Hinted;
use crate::oci::Digest;
use crate::pypa::metadata::Requirement;
use crate::pypa::simple::DistFile;
use crate::pypa::source_file::SourceFile;
use crate::recipe::{Policy, RootRequirement};
use binaries::{NeedyDistribution, NeedyDistributions};
use components::{ComponentError, Demanded, Offer, Rejected};
use demand::{Demand, Demander};
use extras::major_of;
use installed::WithInstalled;
use overrides::Overrides;
use siblings::Siblings;
use solve::{Catalog, CatalogError, Chosen, Question, Solution, SolveError};

pub use drivers::driver_fits;
pub use fit::{MajorConflict, MajorSide, OtherMajor, PassedOver};

pub use sources::{BuildRequirement, BuiltFrom, SourceBuilder, WithSources, build_requirements};

pub use request::{
    AllowedArchives, DirectUrls, HashNotAllowed, Policies, Preferences, ResolutionRequest, check_hashes,
    check_python,
};

/// Every decision about what is installed.
#[derive(Debug, Clone, Default)]
pub struct Resolution {
    /// The distributions installed from wheels, sorted by name; components are among them.
    pub distributions: Vec<Distribution>,
    /// The supplier of each component, sorted by component.
    pub services: Vec<Service>,
    /// The distributions of the base that the resolution uses, sorted by name.
    pub kept: Vec<Kept>,
    /// The distributions of the base that the image hides, sorted by name.
    pub removed: Vec<Removed>,
    /// The toolkits' trees that the image adds to or makes, the loader's first.
    pub trees: Vec<ToolkitTree>,
    /// The versions of the toolkits, `(12, 5)` for CUDA 12.5, and how the oldest driver to serve runs them, where the
    /// recipe names one.
    pub toolkits: BTreeMap<(u32, u32), Option<DriverFit>>,
    /// The versions that were not taken because of the CUDA major that they are built for.
    pub passed_over: Vec<PassedOver>,
}

/// A distribution to install.
#[derive(Debug, Clone)]
pub struct Distribution {
    /// The normalized name.
    pub name: PackageName,
    /// The version.
    pub version: Version,
    /// The wheel that it is installed from.
    pub wheel: ChosenWheel,
    /// The URL of the wheel, where it is named by its place: see [`DirectUrls`].
    pub direct_url: Option<String>,
    /// The origin of the wheel, where it was built.
    pub built: Option<BuiltFrom>,
    /// The digest of the core metadata that the decisions about it were made from.
    pub metadata: Digest,
    /// True if the recipe names it.
    pub requested: bool,
    /// The distributions that require it, as far as they are known.
    pub required_by: BTreeSet<PackageName>,
    /// Requirements of its metadata to rewrite, and what takes their place.
    pub relaxed: BTreeMap<String, String>,
    /// Its role in CUDA.
    pub role: Role,
}

impl Distribution {
    /// The digest of the archive that is downloaded for it: its wheel, or the source that that was built from.
    pub fn archive(&self) -> Option<Digest> {
        self.built.as_ref().map(|built| built.digest).or(self.wheel.sha256)
    }
}

/// The wheel that a distribution is installed from, wherever it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChosenWheel {
    /// The wheel's file name.
    pub filename: WheelFilename,
    /// The digest, where the index gives it.
    pub sha256: Option<Digest>,
    /// In bytes.
    pub size: Option<u64>,
    /// Seconds since the Unix epoch, when an index said it.
    pub upload_time: Option<i64>,
    /// The source distribution that it stands for, until that is built.
    pub source: Option<Box<SourceFile>>,
}

impl From<DistFile> for ChosenWheel {
    fn from(file: DistFile) -> Self {
        let DistFile { filename, sha256, size, upload_time, source, .. } = file;
        Self { filename, sha256, size, upload_time, source }
    }
}

/// The role of a distribution in CUDA.
#[derive(Debug, Clone)]
pub enum Role {
    /// It is installed into site-packages; `private` are the components that it asks for by itself.
    Package {
        /// The components that it would have brought under pip.
        private: Vec<PrivateComponent>,
    },
    /// It carries a component, which is laid out in a toolkit's tree.
    Component {
        /// The component that it carries.
        component: Component,
        /// The toolkit that it is laid out in.
        toolkit: Toolkit,
        /// The part of the wheel that is laid out.
        place: ComponentPlace,
    },
    /// It carries pins on components and nothing else.
    Metapackage,
}

/// The part of a component's wheel that is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ComponentPlace {
    /// All of it, and pip sees it.
    Whole,
    /// Its libraries alone, beside another SONAME of the component, which is the one that pip sees.
    LibrariesBeside,
}

/// A component wheel that a framework would have brought for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivateComponent {
    /// The distribution of the component.
    pub distribution: PackageName,
    /// The version it pins; `None` when it takes what others have.
    pub pinned: Option<Version>,
}

/// The supplier of one component under one SONAME, with the reasons.
#[derive(Debug, Clone)]
pub struct Service {
    /// The component.
    pub component: Component,
    /// The CUDA major that it is for.
    pub cuda_major: u32,
    /// The name under which pip sees it: `nvidia-cublas-cu12`.
    pub distribution: PackageName,
    /// As far as it is known.
    pub version: Version,
    /// The supplier.
    pub source: ServiceSource,
    /// Sorted by who makes them.
    pub demands: Vec<Demand>,
    /// The base's copies that do not serve here.
    pub rejected: Vec<Rejected>,
}

/// The source of a component.
#[derive(Debug, Clone)]
pub enum ServiceSource {
    /// A copy that the base has.
    Base {
        /// The copy of the base.
        copy: CudaCopy,
        /// The directory of a tree in which it gets links, because no loader finds it where it is.
        linked_in: Option<String>,
        /// The way in which pip sees it.
        pip: PipSees,
    },
    /// A distribution among [`Resolution::distributions`], laid out in a toolkit's tree.
    Wheel,
    /// The copy of another CUDA major, which has the same SONAMEs; pip sees a distribution that imgforge makes up.
    Sibling {
        /// The distribution of the copy that serves.
        distribution: PackageName,
    },
    /// A distribution among [`Resolution::distributions`], or the base's, in site-packages.
    Pip,
}

/// The way in which pip sees a component that the base serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PipSees {
    /// A distribution that imgforge makes up.
    MadeUp,
    /// The distribution that brought it.
    Own,
    /// A newer SONAME of the component, which stands beside it.
    Another,
}

/// A distribution of the base that is used as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The normalized name.
    pub name: PackageName,
    /// The version.
    pub version: Version,
    /// True if the recipe names it.
    pub requested: bool,
    /// Requirements of its metadata to rewrite, and what takes their place.
    pub relaxed: BTreeMap<String, String>,
}

/// A distribution of the base whose files the image hides, as pip does that uninstalls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// The normalized name.
    pub name: PackageName,
    /// The version.
    pub version: Version,
}

/// A toolkit's tree that the image adds to or makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolkitTree {
    /// The toolkit.
    pub toolkit: Toolkit,
    /// True if the base has its directory.
    pub exists: bool,
    /// The searches that find its libraries.
    pub found: FoundBy,
}

/// The searches that find the libraries of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FoundBy {
    /// Everybody: the loader's cache has it.
    Loader,
    /// The frameworks that look into `nvidia/cuNN` of site-packages, which leads to it: another major's libraries, some
    /// of the same SONAMEs, are in the cache.
    Frameworks,
}

/// The reason why a recipe cannot be resolved.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum ResolveError {
    #[error(transparent)]
    Solve(#[from] SolveError),
    #[error(transparent)]
    Components(#[from] ComponentError),
    #[error(transparent)]
    OtherMajor(#[from] OtherMajor),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error("the policy `cpu` installs no CUDA, and {}", needs.join(", "))]
    NeedsCuda { needs: Vec<String> },
    #[error("driver {driver} does not run CUDA {}.{}: {oldest} is the oldest that does", toolkit.0, toolkit.1)]
    Driver { driver: Driver, oldest: Driver, toolkit: (u32, u32) },
    #[error(
        "`cuda.compat` is of CUDA {}.{}, and what is installed needs CUDA {}.{}",
        compat.0, compat.1, toolkit.0, toolkit.1
    )]
    OldCompatibility { compat: (u32, u32), toolkit: (u32, u32) },
}

impl Resolution {
    /// The time at which the newest wheel was uploaded, in Unix seconds; 0 where no index says.
    pub fn newest_upload(&self) -> u64 {
        let uploads = self.distributions.iter().filter_map(|distribution| distribution.wheel.upload_time);
        uploads.filter_map(|time| u64::try_from(time).ok()).max().unwrap_or_default()
    }

    /// Returns whether anything of CUDA is in the image.
    pub fn has_cuda(&self) -> bool {
        !self.services.is_empty()
    }

    /// The tree whose libraries the loader's cache has.
    pub fn loader_tree(&self) -> Option<&ToolkitTree> {
        self.trees.iter().find(|tree| tree.found == FoundBy::Loader)
    }

    /// The tree of a CUDA major.
    pub fn tree_of(&self, cuda_major: u32) -> Option<&ToolkitTree> {
        tree_of(&self.trees, cuda_major)
    }
}

/// The tree of a CUDA major: no two trees share one.
fn tree_of(trees: &[ToolkitTree], cuda_major: u32) -> Option<&ToolkitTree> {
    trees.iter().find(|tree| tree.toolkit.version.0 == cuda_major)
}

impl Hinted for ResolveError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Solve(error) => error.hint(),
            Self::Components(error) => error.hint(),
            Self::OtherMajor(error) => error.hint(),
            Self::Catalog(error) => error.hint(),
            Self::NeedsCuda { .. } => Some(
                "name an index that has wheels for the CPU, as `indexes: [{url: …, packages: [torch]}]`, or choose \
                 another policy"
                    .into(),
            ),
            Self::OldCompatibility { toolkit: (major, minor), .. } => {
                Some(format!("write `cuda: {{compat: \"{major}.{minor}\"}}`"))
            }
            Self::Driver { .. } => Some(
                "choose framework versions that are built for an older CUDA, or name a newer driver under \
                 `cuda.driver`"
                    .into(),
            ),
        }
    }

    fn lines(&self) -> Vec<String> {
        match self {
            Self::Solve(error) => error.lines(),
            Self::OtherMajor(error) => error.lines(),
            Self::Catalog(error) => error.lines(),
            Self::Components(_)
            | Self::NeedsCuda { .. }
            | Self::Driver { .. }
            | Self::OldCompatibility { .. } => Vec::new(),
        }
    }
}

/// Resolves `request` with what `catalog` offers.
pub fn resolve(request: &ResolutionRequest<'_>, catalog: &dyn Catalog) -> Result<Resolution, ResolveError> {
    let usable = |installed: &&InstalledDistribution| !request.direct.contains_key(&installed.name);
    let catalog = WithInstalled::new(catalog, request.base.distributions.iter().filter(usable));
    let preferences = preferences(request, &catalog);
    let mut fitted = fit::fitted(request, &preferences, &catalog)
        .map_err(|error| with_all_sources(request, &preferences, &catalog, error))?;
    loop {
        let solution = &fitted.solution;
        let needy = &fitted.needy;
        let mut asked = demanded_through(solution, &request.named());
        asked.extend(demanded_by_user(request));
        asked.extend(demanded_by_binaries(request, &asked, needy, &fitted.unserved));
        if request.policies.default == Policy::Cpu && !asked.is_empty() {
            return Err(needs_cuda(&asked));
        }
        let siblings = Siblings::of(&asked, needy, request.base, &catalog)?;
        let aliased = asked.iter().filter(|(_, requirement)| siblings.serving(requirement) != *requirement);
        let aliased: Vec<Demanded> = aliased.cloned().collect();
        asked.iter_mut().for_each(|(_, requirement)| *requirement = siblings.serving(requirement));
        let components = components::choose(&asked, &offer(request, &catalog, &preferences, solution))?;
        let left: Vec<RootRequirement> = components.left_to_pip.iter().map(root).collect();
        let more: Vec<RootRequirement> =
            left.into_iter().filter(|root| !fitted.roots.contains(root)).collect();
        if more.is_empty() {
            let mut resolution =
                assemble::assemble(request, fitted.solution, components, &siblings, &aliased);
            resolution.passed_over = fitted.passed_over;
            resolution.toolkits = driver_fits(&request.drivers, resolution.toolkits)?;
            return Ok(resolution);
        }
        fitted.roots.extend(more);
        let question = question(request, &fitted.roots, &fitted.constraints, &preferences);
        fitted.solution = solve::solve(&question, &catalog)?;
        fitted.needy = binaries::needy(request, &fitted.solution, &catalog)?;
    }
}

/// The same failure; one for want of wheels names all projects that publish none.
fn with_all_sources(
    request: &ResolutionRequest<'_>,
    preferences: &Preferences,
    catalog: &dyn Catalog,
    error: ResolveError,
) -> ResolveError {
    match error {
        ResolveError::Solve(error) => {
            let question = question(request, &request.roots, &request.constraints, preferences);
            source_only::told_at_once(&question, &request.builds, catalog, error).into()
        }
        error => error,
    }
}

/// The demands of binaries, each on the CUDA major that serves its distribution: one that `demanded` has, or else that it
/// is built for.
fn demanded_by_binaries(
    request: &ResolutionRequest<'_>,
    demanded: &[Demanded],
    needy: &NeedyDistributions,
    unserved: &BTreeSet<PackageName>,
) -> Vec<Demanded> {
    let mut served: BTreeSet<u32> =
        demanded.iter().filter_map(|(_, requirement)| major_of(requirement)).collect();
    if served.is_empty() {
        served = needy.values().filter_map(|needy| needy.majors().last().copied()).collect();
    }
    let of_distribution = |needy: &NeedyDistribution| {
        let built_for = needy.majors();
        let major = match built_for.is_empty() {
            true => served.last().copied(),
            false => built_for.intersection(&served).last().or(built_for.last()).copied(),
        };
        major.map(|major| needy.demanded(major)).unwrap_or_default()
    };
    let fitting = needy.values().filter(|needy| !unserved.contains(&needy.name));
    let demands = fitting.flat_map(of_distribution);
    demands.filter(|(_, requirement)| request.policies.sets_aside(&requirement.name)).collect()
}

/// The versions of a lock, and else those that the base has.
fn preferences(request: &ResolutionRequest<'_>, catalog: &WithInstalled<'_>) -> Preferences {
    let installed = catalog.versions().into_iter().map(|(name, version)| (name, BTreeSet::from([version])));
    let mut preferences: Preferences = installed.collect();
    preferences.extend(request.preferences.clone());
    preferences
}

fn offer<'a>(
    request: &'a ResolutionRequest<'_>,
    catalog: &'a dyn Catalog,
    preferences: &'a Preferences,
    solution: &Solution,
) -> Offer<'a> {
    let runtimes = solution.distributions.values().filter(|chosen| {
        let carries = ComponentWheel::of(chosen.name.as_ref());
        matches!(carries, Some(ComponentWheel::Carries { component, .. }) if component.is_runtime())
    });
    Offer {
        of_pip: runtimes.filter_map(|chosen| toolkit_version(&chosen.version)).map(|it| (it.0, it)).collect(),
        target: request.target,
        exclude_newer: request.exclude_newer,
        catalog,
        copies: &request.base.cuda,
        default_toolkit: request.base.default_toolkit.as_ref(),
        policies: &request.policies,
        preferences,
    }
}

fn question<'a>(
    request: &'a ResolutionRequest<'a>,
    roots: &[RootRequirement],
    constraints: &[Requirement],
    preferences: &Preferences,
) -> Question<'a> {
    let named: BTreeSet<PackageName> = roots.iter().map(|root| root.requirement.name.clone()).collect();
    let policies = request.policies.clone();
    Question {
        target: request.target,
        roots: roots.to_vec(),
        constraints: constraints.to_vec(),
        overrides: Overrides::new(&request.overrides),
        direct: request.direct.clone(),
        exclude_newer: request.exclude_newer,
        prereleases: request.prereleases.clone(),
        preferences: preferences
            .iter()
            .filter_map(|(name, versions)| Some((name.clone(), versions.last()?.clone())))
            .collect(),
        set_aside: Arc::new(move |name| {
            let is_dispensable = || is_dispensable(name.as_ref()) && !named.contains(name);
            policies.sets_aside(name) || (policies.default != Policy::Pip && is_dispensable())
        }),
    }
}

/// The requirement of a served component on one that is left to pip.
fn root((by, requirement): &Demanded) -> RootRequirement {
    // Its marker was found to hold, by extras that a root does not have.
    let requirement = Requirement { marker: MarkerTree::TRUE, ..requirement.clone() };
    RootRequirement::new(requirement.into(), by.to_string())
}

fn needs_cuda(demanded: &[Demanded]) -> ResolveError {
    let mut by: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (demander, requirement) in demanded {
        by.entry(demander.to_string()).or_default().push(requirement.name.to_string());
    }
    ResolveError::NeedsCuda {
        needs: by.into_iter().map(|(by, names)| format!("{by} needs {}", names.join(", "))).collect(),
    }
}

/// The demands of a solution's distributions.
fn demanded(solution: &Solution) -> Vec<Demanded> {
    demanded_through(solution, &BTreeSet::new())
}

/// The same, by the chains that begin at what the recipe has `named`, or at what nothing else requires.
fn demanded_through(solution: &Solution, named: &BTreeSet<&PackageName>) -> Vec<Demanded> {
    let parents = parents(solution, named);
    let of_components = |chosen: &Chosen| {
        let by = Demander::Distribution {
            name: chosen.name.clone(),
            version: chosen.version.clone(),
            through: through(&chosen.name, &parents),
        };
        let requirements = chosen.set_aside.clone().into_iter();
        requirements
            .filter(|requirement| ComponentWheel::of(requirement.name.as_ref()).is_some())
            .map(move |requirement| (by.clone(), requirement))
    };
    solution.distributions.values().flat_map(of_components).collect()
}

/// Through which distribution each is reached first, from those that are named or that nothing else requires; those are not
/// in it.
fn parents<'a>(
    solution: &'a Solution,
    named: &BTreeSet<&PackageName>,
) -> BTreeMap<&'a PackageName, &'a PackageName> {
    let required: BTreeSet<&PackageName> =
        solution.distributions.values().flat_map(|chosen| &chosen.requires).collect();
    let mut level: Vec<&PackageName> = solution
        .distributions
        .keys()
        .filter(|name| named.contains(name) || !required.contains(name))
        .collect();
    let mut seen: BTreeSet<&PackageName> = level.iter().copied().collect();
    let mut parents = BTreeMap::new();
    while !level.is_empty() {
        let mut next = Vec::new();
        for parent in level {
            let Some(chosen) = solution.distributions.get(parent) else { continue };
            for child in chosen.requires.iter().filter(|child| seen.insert(child)) {
                parents.insert(child, parent);
                next.push(child);
            }
        }
        level = next;
    }
    parents
}

/// The distributions that lead to `name`, from the one that nothing requires.
fn through(name: &PackageName, parents: &BTreeMap<&PackageName, &PackageName>) -> Vec<PackageName> {
    let above = std::iter::successors(parents.get(name), |name| parents.get(*name));
    let mut chain: Vec<PackageName> = above.map(|name| (*name).clone()).collect();
    chain.reverse();
    chain
}

/// The recipe's own requirements on components, which the solver set aside with all others.
fn demanded_by_user(request: &ResolutionRequest<'_>) -> Vec<Demanded> {
    let requirements = request.roots.iter().map(|root| &root.requirement);
    let active =
        requirements.filter(|requirement| requirement.evaluate_markers(request.target.markers(), &[]));
    let components = active.filter(|requirement| {
        ComponentWheel::of(requirement.name.as_ref()).is_some()
            && request.policies.sets_aside(&requirement.name)
    });
    components.map(|requirement| (Demander::User, requirement.clone())).collect()
}
