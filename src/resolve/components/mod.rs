//! Chooses who serves each CUDA component: a copy that the base has, or else the wheel of the lowest version that meets
//! every demand.
//!
//! The lowest, because it is the one a framework was built and tested with, and because it runs on the oldest driver.
//!
//! Choices lead to further demands: a wheel's metadata makes some, a toolkit's parts follow its runtime, and a library
//! needs the symbols of its companions. They are added and the choice is made again, until nothing is added. All that is
//! added are floors, so a choice whose companions cannot be had is banned, and never has to be tried again.
//!
//! * [`candidate`]: what could serve;
//! * [`pool`]: who of them serves the demands on one distribution;
//! * [`mod@toolkit`]: what the parts of a toolkit need of each other;
//! * [`companions`]: what libraries need of each other;
//! * [`majors`]: whether several CUDA majors can live in one image.

mod candidate;
mod companions;
pub(crate) mod majors;
mod pool;
#[cfg(test)]
mod properties;
mod toolkit;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pubgrub::Ranges;
use uv_normalize::{ExtraName, PackageName};
use uv_pep440::Version;

use super::demand::{Demand, Demander};
use super::solve::{Catalog, CatalogError, Scout, Want};
use super::{Policies, Preferences};
use crate::base::CudaCopy;
use crate::cuda::{Component, ComponentWheel};
use crate::failure::Hinted;
use crate::pypa::metadata::{CoreMetadata, Requirement};
use crate::pypa::simple::{DistFile, Project};
use crate::pypa::target::Target;
use crate::recipe::Policy;
use candidate::{Identity, ServiceCandidate};
use companions::Companion;
use pool::select;
use toolkit::{demands_of_toolkits, toolkit};

pub use candidate::{Rejected, RejectionReason};
pub(super) use majors::reachable;
pub use majors::{MixedProcess, mixed_process};
pub(super) use pool::unsuffixed;
pub(super) use toolkit::requirement;

/// A component, or the metapackage, and who serves it.
#[derive(Debug, Clone)]
pub struct ComponentChoice {
    /// The distribution of the component.
    pub distribution: PackageName,
    /// `None` for the metapackage.
    pub component: Option<Component>,
    /// The CUDA major that it is for; 0 for the metapackage.
    pub cuda_major: u32,
    /// As far as it is known.
    pub version: Version,
    /// The source of the component.
    pub supply: Supply,
    /// Sorted by who makes them.
    pub demands: Vec<Demand>,
    /// The base's copies that do not serve here.
    pub rejected: Vec<Rejected>,
}

/// The source of a component.
#[derive(Debug, Clone)]
pub enum Supply {
    /// A copy of the base.
    Base(CudaCopy),
    /// A wheel of an index.
    Wheel {
        /// The wheel.
        wheel: DistFile,
        /// The wheel's metadata.
        metadata: Arc<CoreMetadata>,
    },
}

/// Every component of an image, and the toolkits they make.
#[derive(Debug, Clone, Default)]
pub struct Components {
    /// The choices, sorted by distribution.
    pub choices: Vec<ComponentChoice>,
    /// By CUDA major: `(12, 5)` for CUDA 12.5, whose runtime is the one that is served, or else that of the base's
    /// toolkit.
    pub toolkits: BTreeMap<u32, (u32, u32)>,
    /// The requirements of the choices on components that are left to pip.
    pub left_to_pip: Vec<Demanded>,
    /// The SONAMEs of each CUDA major.
    pub sonames: BTreeMap<u32, BTreeSet<String>>,
}

/// The reason why the demands cannot be met.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum ComponentError {
    #[error("no version of `{distribution}` meets every demand on it: {}", listed(demands))]
    Unsatisfiable { distribution: PackageName, demands: Vec<Demand>, offered: String },
    #[error("the base does not serve {}", missing.iter().map(Missing::to_string).collect::<Vec<_>>().join("; "))]
    NotInBase { missing: Vec<Missing> },
    #[error("CUDA {} and CUDA {} are both needed in one process: {process}{binaries}", process.majors.0, process.majors.1)]
    OneProcess { process: Box<MixedProcess>, binaries: String },
    #[error(
        "CUDA {} and CUDA {} are both demanded, and both have {}: the loader cannot tell them apart: {demands}",
        majors.0, majors.1, shared.join(", ")
    )]
    Inseparable { majors: (u32, u32), shared: Vec<String>, demands: String },
    #[error("the choice of components did not settle: they demand each other's newer versions in turn")]
    Unsettled,
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// A component that the policy `base` wants from a base that does not serve it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The distribution of the component.
    pub distribution: PackageName,
    /// The component.
    pub component: Component,
    /// The demands that nothing meets.
    pub demands: Vec<Demand>,
    /// The copies of the base that do not serve.
    pub rejected: Vec<Rejected>,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.demands.iter().all(Demand::is_of_binary) {
            true => write!(f, "{}: {}", self.component, listed(&self.demands))?,
            false => write!(f, "{}, which is needed by {}", self.component, listed(&self.demands))?,
        }
        for copy in &self.rejected {
            let version = copy.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
            write!(f, " (not{version} at {}: {})", copy.path, copy.reason)?;
        }
        Ok(())
    }
}

fn listed(demands: &[Demand]) -> String {
    demands.iter().map(Demand::to_string).collect::<Vec<_>>().join(", ")
}

impl Hinted for ComponentError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Unsatisfiable { offered, .. } => Some(format!(
                "the index offers {offered}; choose framework versions whose demands on it overlap"
            )),
            Self::NotInBase { missing } => {
                let first = missing.first()?.component;
                Some(format!(
                    "choose a base that has what is missing, or let wheels fill the gaps: `policy: shared`, or \
                     `components: {{{first}: shared}}`"
                ))
            }
            Self::OneProcess { .. } => {
                Some("choose versions of these distributions that are built for the same CUDA major".into())
            }
            Self::Inseparable { .. } => Some(
                "choose framework versions of one CUDA major; only CUDA 13 can stand beside an older one"
                    .into(),
            ),
            Self::Unsettled => None,
            Self::Catalog(error) => error.hint(),
        }
    }
}

/// The offer of components: the base's copies, and the indexes' wheels.
pub struct Offer<'a> {
    /// The target of wheels.
    pub target: &'a Target,
    /// Nothing uploaded at or after this moment, in Unix seconds, is considered.
    pub exclude_newer: Option<i64>,
    /// The indexes.
    pub catalog: &'a dyn Catalog,
    /// The copies of the base.
    pub copies: &'a [CudaCopy],
    /// The toolkit's directory that `/usr/local/cuda` leads to in the base.
    pub default_toolkit: Option<&'a String>,
    /// The policies of components.
    pub policies: &'a Policies,
    /// Versions of wheels to keep where they serve.
    pub preferences: &'a Preferences,
    /// By CUDA major, the toolkit whose runtime pip installs.
    pub of_pip: BTreeMap<u32, (u32, u32)>,
}

/// A requirement on a component and who makes it.
pub type Demanded = (Demander, Requirement);

/// Candidates that are out, by distribution.
type Bans = BTreeMap<PackageName, BTreeMap<Identity, Ban>>;

/// The reason why a candidate is out.
#[derive(Debug, Clone)]
struct Ban {
    explanation: String,
    /// The candidate with whose ban this one ends.
    because_of: Option<Needy>,
}

/// A candidate of a distribution, whose library needs something.
type Needy = (PackageName, Identity);

/// Chooses who serves every component that `demanded`, and what is chosen, ask for.
pub fn choose(demanded: &[Demanded], offer: &Offer<'_>) -> Result<Components, ComponentError> {
    if demanded.is_empty() {
        return Ok(Components::default());
    }
    let mut bans = Bans::new();
    let mut derived: Vec<Demanded> = Vec::new();
    let mut raised: Vec<Companion> = Vec::new();
    for _ in 0..MAX_ROUNDS {
        let choices = match choose_round(demanded, &derived, &bans, offer) {
            Ok(choices) => choices,
            Err(error) => match culprit(&error, &raised, &bans) {
                Some((needy, explanation)) => {
                    companions::ban_needy(&mut bans, needy, explanation);
                    derived.clear();
                    raised.clear();
                    continue;
                }
                None => return Err(error),
            },
        };
        let mut stated = demands_of(&choices, offer.target);
        stated.extend(demands_of_toolkits(&choices, offer));
        raised.retain(|old| old.is_of(&choices));
        let next = next_demands(&stated, &raised, offer).0;
        if next != derived {
            // The libraries are read of what metadata and these demands settle on.
            derived = next;
            continue;
        }
        let needs = companions::needs(&choices, offer)?;
        if let Some(companion) = needs.lacking.first().filter(|companion| companion.provider_is_base()) {
            companion.ban_provider(&mut bans);
            derived.clear();
            raised.clear();
            continue;
        }
        raised.retain(|old| !needs.lacking.iter().any(|new| new.is_as(old)));
        raised.extend(needs.lacking);
        let (next, left_to_pip) = next_demands(&stated, &raised, offer);
        if next == derived {
            majors::separable(&needs.sonames, || demanders(demanded))?;
            let toolkits = majors_of(&choices)
                .into_iter()
                .map(|major| (major, toolkit(choices.iter(), major, offer).unwrap_or((major, 0))))
                .collect();
            return Ok(Components { choices, toolkits, left_to_pip, sonames: needs.sonames });
        }
        derived = next;
    }
    Err(ComponentError::Unsettled)
}

/// The demands of what is chosen, as metadata states and libraries raise them: on components that are served, and on those
/// that are left to pip.
fn next_demands(
    stated: &[Demanded],
    raised: &[Companion],
    offer: &Offer<'_>,
) -> (Vec<Demanded>, Vec<Demanded>) {
    let all = stated.iter().cloned().chain(raised.iter().map(Companion::demanded));
    all.partition(|(_, requirement)| offer.policies.sets_aside(&requirement.name))
}

fn demanders(demanded: &[Demanded]) -> String {
    let demands: BTreeSet<String> =
        demanded.iter().map(|(by, requirement)| format!("{by} needs {}", requirement.name)).collect();
    demands.into_iter().collect::<Vec<_>>().join(", ")
}

/// Every round bans a candidate, raises a version, or adds a component: real chains are a few long, and there are some
/// dozens of versions.
const MAX_ROUNDS: usize = 200;

/// The candidate whose need leads to a refusal, and the need: it made a demand that cannot be met, or led to the ban of
/// what would serve.
fn culprit(error: &ComponentError, raised: &[Companion], bans: &Bans) -> Option<(Needy, String)> {
    let refused: Vec<(&PackageName, &[Demand])> = match error {
        ComponentError::Unsatisfiable { distribution, demands, .. } => vec![(distribution, demands)],
        ComponentError::NotInBase { missing } => {
            missing.iter().map(|missing| (&missing.distribution, missing.demands.as_slice())).collect()
        }
        _ => Vec::new(),
    };
    refused.into_iter().find_map(|(distribution, demands)| {
        let blamed = raised.iter().rev().find(|companion| {
            let (by, requirement) = companion.demanded();
            requirement.name == *distribution && demands.iter().any(|demand| demand.by == by)
        });
        let banned = || {
            let bans = bans.get(distribution)?.values();
            bans.filter_map(|ban| Some((ban.because_of.clone()?, ban.explanation.clone()))).next()
        };
        blamed.map(|companion| (companion.needy(), companion.explanation())).or_else(banned)
    })
}

fn choose_round(
    demanded: &[Demanded],
    derived: &[Demanded],
    bans: &Bans,
    offer: &Offer<'_>,
) -> Result<Vec<ComponentChoice>, ComponentError> {
    let mut by_name: BTreeMap<PackageName, Vec<&Demanded>> = BTreeMap::new();
    for demand in demanded.iter().chain(derived) {
        by_name.entry(demand.1.name.clone()).or_default().push(demand);
    }
    prefetch_pages(by_name.keys(), offer.policies, offer.catalog);
    let mut selected = Vec::new();
    let mut missing = Vec::new();
    for (name, demands) in by_name {
        match select(name, &demands, bans, offer) {
            Ok(selection) => selected.extend(selection),
            Err(ComponentError::NotInBase { missing: more }) => missing.extend(more),
            Err(error) => return Err(error),
        }
    }
    if !missing.is_empty() {
        return Err(ComponentError::NotInBase { missing });
    }
    let wheels = selected.iter().filter_map(|selected| match &selected.candidate {
        ServiceCandidate::Wheel { file, .. } => Some(file.clone()),
        ServiceCandidate::Base(_) => None,
    });
    offer.catalog.prefetch_metadata(wheels.collect());
    selected.into_iter().map(|selected| selected.choice(offer)).collect()
}

/// Hints that the pages of these components will be asked for.
pub(super) fn prefetch_pages<'a>(
    names: impl IntoIterator<Item = &'a PackageName>,
    policies: &Policies,
    catalog: &dyn Catalog,
) {
    let any = |name: &PackageName| Want { name: name.clone(), extras: Vec::new(), versions: Ranges::full() };
    let pages = names.into_iter().filter(|name| !serves_base_only(name, policies)).map(any).collect();
    catalog.prefetch(pages, &(Arc::new(PagesOnly) as Arc<dyn Scout>));
}

/// Components need their projects' pages; which wheel is chosen is known only from all of them.
struct PagesOnly;

impl Scout for PagesOnly {
    fn wheel(&self, _: &Want, _: &Project) -> Option<DistFile> {
        None
    }

    fn wants(&self, _: &Want, _: &CoreMetadata) -> Vec<Want> {
        Vec::new()
    }
}

/// Returns whether only the base may serve what the wheel of this name carries.
fn is_of_base(distribution: &PackageName, offer: &Offer<'_>) -> bool {
    serves_base_only(distribution, offer.policies)
}

fn serves_base_only(distribution: &PackageName, policies: &Policies) -> bool {
    match ComponentWheel::of(distribution.as_ref()) {
        Some(ComponentWheel::Carries { component, .. }) => policies.of(component) == Policy::Base,
        _ => false,
    }
}

/// The demands of the chosen wheels on each other.
fn demands_of(choices: &[ComponentChoice], target: &Target) -> Vec<Demanded> {
    let mut demanded = Vec::new();
    for choice in choices {
        let Supply::Wheel { metadata, .. } = &choice.supply else { continue };
        let extras: Vec<ExtraName> = choice.demanded_extras();
        for requirement in &metadata.requires_dist {
            let active = requirement.evaluate_markers(target.markers(), &extras);
            if active && ComponentWheel::of(requirement.name.as_ref()).is_some() {
                demanded.push((choice.demander(), requirement.clone()));
            }
        }
    }
    demanded
}

impl ComponentChoice {
    fn demanded_extras(&self) -> Vec<ExtraName> {
        let extras: BTreeSet<&ExtraName> = self.demands.iter().flat_map(|demand| &demand.extras).collect();
        extras.into_iter().cloned().collect()
    }

    fn demander(&self) -> Demander {
        Demander::Distribution {
            name: self.distribution.clone(),
            version: self.version.clone(),
            through: Vec::new(),
        }
    }

    fn is_runtime(&self) -> bool {
        self.component.is_some_and(Component::is_runtime)
    }
}

fn majors_of(choices: &[ComponentChoice]) -> BTreeSet<u32> {
    choices.iter().filter(|choice| choice.component.is_some()).map(|choice| choice.cuda_major).collect()
}
