//! The question that a recipe asks of the resolver, and the checks of its answer that need the recipe.

use std::collections::{BTreeMap, BTreeSet};

use uv_normalize::PackageName;
use uv_pep440::Version;

use super::Resolution;
use crate::base::{BaseInventory, InventoryError};
use crate::cuda::{Component, ComponentWheel, HostDrivers};
use crate::failure::Hinted;
use crate::oci::Digest;
use crate::pypa::metadata::Requirement;
use crate::pypa::target::Target;
use crate::recipe::{Cuda, Policy, ProjectSet, RecipeInputs, RootRequirement};

/// The values that a resolution is a function of, beside the package indexes.
pub struct ResolutionRequest<'a> {
    /// The target of wheels.
    pub target: &'a Target,
    /// The base.
    pub base: &'a BaseInventory,
    /// The requirements of the recipe.
    pub roots: Vec<RootRequirement>,
    /// The policies for components.
    pub policies: Policies,
    /// The names under the recipe's `frameworks`, which get their CUDA extra.
    pub frameworks: BTreeSet<PackageName>,
    /// The constraints of the constraints files.
    pub constraints: Vec<Requirement>,
    /// Requirements that stand in place of all others on their projects.
    pub overrides: Vec<Requirement>,
    /// Nothing uploaded at or after this moment, in Unix seconds, is considered.
    pub exclude_newer: Option<i64>,
    /// The versions of an earlier resolution: each is kept while everything allows it.
    pub preferences: Preferences,
    /// The drivers that the image is to run on.
    pub drivers: HostDrivers,
    /// The projects whose only wheel is named by its place.
    pub direct: DirectUrls,
    /// The projects whose source distributions are built.
    pub builds: ProjectSet,
    /// The projects whose pre-releases are taken like other versions.
    pub prereleases: ProjectSet,
}

/// By project, the URL of its only wheel, as it is recorded where that is installed.
///
/// <https://packaging.python.org/en/latest/specifications/direct-url/>
pub type DirectUrls = BTreeMap<PackageName, String>;

/// Versions by distribution; of a component with two SONAMEs there are two.
pub type Preferences = BTreeMap<PackageName, BTreeSet<Version>>;

/// The policy of each component.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policies {
    /// The policy of components without an exception.
    pub default: Policy,
    /// The exceptions, by component.
    pub exceptions: BTreeMap<Component, Policy>,
}

impl Policies {
    /// The policy of a component.
    pub fn of(&self, component: Component) -> Policy {
        self.exceptions.get(&component).copied().unwrap_or(self.default)
    }

    /// The exceptions for components of which the resolution has none: nothing in it needs them.
    pub fn without_effect<'a>(&'a self, resolution: &'a Resolution) -> impl Iterator<Item = Component> + 'a {
        let is_served =
            |component: &Component| resolution.services.iter().any(|service| service.component == *component);
        self.exceptions.keys().copied().filter(move |component| !is_served(component))
    }

    /// Returns whether requirements on the distribution of this name are met apart from the solver.
    pub(super) fn sets_aside(&self, name: &PackageName) -> bool {
        match ComponentWheel::of(name.as_ref()) {
            Some(ComponentWheel::Carries { component, .. }) => self.of(component) != Policy::Pip,
            Some(ComponentWheel::Metapackage) => self.default != Policy::Pip,
            None => false,
        }
    }
}

impl<'a> ResolutionRequest<'a> {
    /// The distributions that the recipe names.
    pub(super) fn named(&self) -> BTreeSet<&PackageName> {
        self.roots.iter().map(|root| &root.requirement.name).collect()
    }

    /// The question of a recipe over a base, for an image that is to run on `drivers`.
    pub fn new(
        inputs: &RecipeInputs,
        drivers: HostDrivers,
        base: &'a BaseInventory,
        target: &'a Target,
        preferences: Preferences,
        direct: DirectUrls,
    ) -> Self {
        let RecipeInputs { recipe, roots, constraints, overrides, .. } = inputs;
        Self {
            target,
            base,
            roots: roots.clone(),
            policies: Policies::new(&recipe.cuda),
            frameworks: recipe.frameworks.keys().cloned().collect(),
            constraints: constraints.clone(),
            overrides: overrides.clone(),
            exclude_newer: recipe.exclude_newer.map(|time| time.unix_seconds()),
            preferences,
            drivers,
            direct,
            builds: recipe.python.build.clone(),
            prereleases: match inputs.file_prereleases {
                true => ProjectSet::All,
                false => recipe.prereleases.clone(),
            },
        }
    }
}

impl Policies {
    /// The policies of a recipe's `cuda`.
    pub fn new(cuda: &Cuda) -> Self {
        let exceptions = cuda.components.iter().map(|(component, policy)| (*component, policy.value));
        Self { default: cuda.policy, exceptions: exceptions.collect() }
    }
}

/// Refuses a base whose Python is not the version that the recipe asks for.
pub fn check_python(inputs: &RecipeInputs, base: &BaseInventory) -> Result<(), InventoryError> {
    match &inputs.recipe.python.version {
        Some(asked) if !base.python.parse().is_ok_and(|version| asked.admits(&version)) => {
            Err(InventoryError::OtherPython { found: base.python.clone(), asked: asked.value.to_string() })
        }
        _ => Ok(()),
    }
}

/// A wheel that a requirements file does not allow.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum HashNotAllowed {
    #[error("`{wheel}` has none of the hashes that are given for `{name}`")]
    Other { wheel: String, name: PackageName },
    #[error("a requirements file says `--require-hashes`, and none gives a hash for `{name}` ({wheel})")]
    Unlisted { wheel: String, name: PackageName },
}

impl Hinted for HashNotAllowed {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Other { .. } => {
                "add its hash with `--hash=sha256:…`, or pin the version whose hashes are there".into()
            }
            Self::Unlisted { .. } => {
                "list everything that is installed, with its hashes: `uv pip compile --generate-hashes`"
                    .into()
            }
        })
    }
}

/// The only archives of projects that are allowed.
pub type AllowedArchives = BTreeMap<PackageName, BTreeSet<Digest>>;

/// Refuses wheels for which there are `allowed` archives, and other ones; with `all_listed` those for which there are none, too.
pub fn check_hashes(
    allowed: &AllowedArchives,
    all_listed: bool,
    resolution: &Resolution,
) -> Result<(), HashNotAllowed> {
    for distribution in &resolution.distributions {
        let name = || distribution.name.clone();
        let wheel = || distribution.wheel.filename.to_string();
        match allowed.get(&distribution.name) {
            None if all_listed => {
                return Err(HashNotAllowed::Unlisted { wheel: wheel(), name: name() });
            }
            Some(allowed) if !distribution.archive().is_some_and(|digest| allowed.contains(&digest)) => {
                return Err(HashNotAllowed::Other { wheel: wheel(), name: name() });
            }
            _ => {}
        }
    }
    Ok(())
}
