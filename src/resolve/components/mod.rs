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
//! * [`companions`]: what libraries need of each other;
//! * [`majors`]: whether several CUDA majors can live in one image.

mod candidate;
mod companions;
pub(crate) mod majors;
#[cfg(test)]
mod properties;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pubgrub::Ranges;
use uv_normalize::{ExtraName, PackageName};
use uv_pep440::{Version, VersionSpecifier, VersionSpecifiers};

use super::demand::{Demand, Demander, soname};
use super::solve::{Catalog, CatalogError, Scout, Want};
use super::{Policies, Preferences};
use crate::base::CudaCopy;
use crate::cuda::{Component, ComponentWheel, FIRST_UNSUFFIXED, toolkit_version};
use crate::failure::Hinted;
use crate::pypa::metadata::{CoreMetadata, Requirement};
use crate::pypa::simple::{DistFile, Project};
use crate::pypa::target::Target;
use crate::recipe::Policy;
use candidate::{Candidate, Identity};
use companions::Companion;

pub use candidate::{Reason, Rejected};
pub use majors::{Process, processes};

/// A component, or the metapackage, and who serves it.
#[derive(Debug, Clone)]
pub struct Choice {
    pub distribution: PackageName,
    /// `None` for the metapackage.
    pub component: Option<Component>,
    /// The CUDA major that it is for; 0 for the metapackage.
    pub cuda_major: u32,
    /// As far as it is known.
    pub version: Version,
    pub supply: Supply,
    /// Sorted by who makes them.
    pub demands: Vec<Demand>,
    /// The base's copies that do not serve here.
    pub rejected: Vec<Rejected>,
}

/// Where a component comes from.
#[derive(Debug, Clone)]
pub enum Supply {
    Base(CudaCopy),
    Wheel { wheel: DistFile, metadata: Arc<CoreMetadata> },
}

/// Every component of an image, and the toolkits they make.
#[derive(Debug, Clone, Default)]
pub struct Components {
    pub choices: Vec<Choice>,
    /// By CUDA major: `(12, 5)` for CUDA 12.5, whose runtime is the one that is served, or else that of the base's
    /// toolkit.
    pub toolkits: BTreeMap<u32, (u32, u32)>,
    /// What the choices require of components that are left to pip.
    pub left_to_pip: Vec<Demanded>,
}

/// Why the demands cannot be met.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    #[error("no version of `{distribution}` meets every demand on it: {}", listed(demands))]
    Unsatisfiable { distribution: PackageName, demands: Vec<Demand>, offered: String },
    #[error("the base does not serve {}", missing.iter().map(Missing::to_string).collect::<Vec<_>>().join("; "))]
    NotInBase { missing: Vec<Missing> },
    #[error("CUDA {} and CUDA {} are both needed in one process: {process}", process.majors.0, process.majors.1)]
    OneProcess { process: Box<Process> },
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
    pub distribution: PackageName,
    pub component: Component,
    pub demands: Vec<Demand>,
    pub rejected: Vec<Rejected>,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, which is needed by {}", self.component, listed(&self.demands))?;
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

/// Where components are looked for.
pub struct Offer<'a> {
    pub target: &'a Target,
    /// Nothing uploaded at or after this moment, in Unix seconds, is considered.
    pub exclude_newer: Option<i64>,
    pub catalog: &'a dyn Catalog,
    /// What the base has.
    pub copies: &'a [CudaCopy],
    /// Which toolkit's directory `/usr/local/cuda` leads to in the base.
    pub default_toolkit: Option<&'a String>,
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

/// Why a candidate is out.
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
        let mut next = demands_of(&choices, offer.target);
        next.extend(demands_of_toolkits(&choices, offer));
        let needs = companions::needs(&choices, offer)?;
        if let Some(companion) = needs.lacking.first().filter(|companion| companion.provider_is_base()) {
            companion.ban_provider(&mut bans);
            derived.clear();
            raised.clear();
            continue;
        }
        raised.retain(|old| old.is_of(&choices) && !needs.lacking.iter().any(|new| new.is_as(old)));
        raised.extend(needs.lacking);
        next.extend(raised.iter().map(Companion::demanded));
        let (next, left_to_pip): (Vec<_>, Vec<_>) =
            next.into_iter().partition(|(_, requirement)| offer.policies.sets_aside(&requirement.name));
        if next == derived {
            majors::separable(&needs.sonames, || demanders(demanded))?;
            let toolkits = majors_of(&choices)
                .into_iter()
                .map(|major| (major, toolkit(choices.iter(), major, offer).unwrap_or((major, 0))))
                .collect();
            return Ok(Components { choices, toolkits, left_to_pip });
        }
        derived = next;
    }
    Err(ComponentError::Unsettled)
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
) -> Result<Vec<Choice>, ComponentError> {
    let mut by_name: BTreeMap<PackageName, Vec<&Demanded>> = BTreeMap::new();
    for demand in demanded.iter().chain(derived) {
        by_name.entry(demand.1.name.clone()).or_default().push(demand);
    }
    let any = |name: &PackageName| Want { name: name.clone(), extras: Vec::new(), versions: Ranges::full() };
    let pages = by_name.keys().filter(|name| !is_of_base(name, offer)).map(any).collect();
    offer.catalog.prefetch(pages, &(Arc::new(PagesOnly) as Arc<dyn Scout>));
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
        Candidate::Wheel { file, .. } => Some(file.clone()),
        Candidate::Base(_) => None,
    });
    offer.catalog.prefetch_metadata(wheels.collect());
    selected.into_iter().map(|selected| selected.choice(offer)).collect()
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

/// A candidate that was chosen, before its metadata was read.
struct Selected {
    distribution: PackageName,
    component: Option<Component>,
    cuda_major: u32,
    candidate: Candidate,
    demands: Vec<Demand>,
    rejected: Vec<Rejected>,
}

impl Selected {
    fn choice(self, offer: &Offer<'_>) -> Result<Choice, ComponentError> {
        Ok(Choice {
            component: self.component,
            cuda_major: self.cuda_major,
            version: self.candidate.version(),
            supply: match self.candidate {
                Candidate::Base(copy) => Supply::Base(copy),
                Candidate::Wheel { file, .. } => {
                    Supply::Wheel { metadata: offer.catalog.metadata(&file)?, wheel: file }
                }
            },
            distribution: self.distribution,
            demands: self.demands,
            rejected: self.rejected,
        })
    }
}

/// Whether only the base may serve what the wheel of this name carries.
fn is_of_base(distribution: &PackageName, offer: &Offer<'_>) -> bool {
    match ComponentWheel::of(distribution.as_ref()) {
        Some(ComponentWheel::Carries { component, .. }) => offer.policies.of(component) == Policy::Base,
        _ => false,
    }
}

/// Who serves all demands, or else who serves those on each SONAME.
fn select(
    distribution: PackageName,
    demanded: &[&Demanded],
    bans: &Bans,
    offer: &Offer<'_>,
) -> Result<Vec<Selected>, ComponentError> {
    let mut demands: Vec<Demand> =
        demanded.iter().map(|(by, requirement)| Demand::new(by.clone(), requirement)).collect();
    demands.sort_by(|a, b| a.by.cmp(&b.by));
    demands.dedup();
    let pool = Pool::new(&distribution, &demands, bans, offer)?;
    let groups = match pool.serving(&demands, None) {
        Some(_) => vec![(None, demands.clone())],
        None => pool.by_soname(&demands).ok_or_else(|| pool.refusal(&demands))?,
    };
    let select = |(soname, demands): Group| {
        let candidate = pool.serving(&demands, soname.as_ref()).ok_or_else(|| pool.refusal(&demands))?;
        Ok(Selected {
            rejected: pool.rejected(Some(candidate), &demands),
            candidate: candidate.clone(),
            distribution: distribution.clone(),
            component: pool.component,
            cuda_major: pool.major,
            demands,
        })
    };
    groups.into_iter().map(select).collect()
}

/// Demands that one candidate is to meet, and the numbers that tell its SONAME where there are several.
type Group = (Option<Vec<u64>>, Vec<Demand>);

/// What could serve the demands on one distribution.
struct Pool<'a> {
    distribution: &'a PackageName,
    component: Option<Component>,
    major: u32,
    of_base_only: bool,
    /// The base's copies in the order of preference, then wheels, oldest first.
    candidates: Vec<Candidate>,
    /// Copies that are no candidates.
    unfit: Vec<Rejected>,
    bans: BTreeMap<Identity, Ban>,
    preferred: Option<&'a BTreeSet<Version>>,
}

impl<'a> Pool<'a> {
    fn new(
        distribution: &'a PackageName,
        demands: &[Demand],
        bans: &Bans,
        offer: &'a Offer<'_>,
    ) -> Result<Self, ComponentError> {
        let of_base_only = is_of_base(distribution, offer);
        let (component, named) = match ComponentWheel::of(distribution.as_ref()) {
            Some(ComponentWheel::Carries { component, major }) => (Some(component), major),
            _ => (None, None),
        };
        let major = component.map_or(0, |component| named.unwrap_or_else(|| unsuffixed(component, demands)));
        let mut candidates = Vec::new();
        let mut unfit = Vec::new();
        if let Some(component) = component {
            let (copies, rejected) = candidate::copies(offer, component, major);
            candidates.extend(copies.into_iter().map(Candidate::Base));
            unfit = rejected;
        }
        if !of_base_only {
            let wheels = candidate::wheels(distribution, demands, offer)?;
            candidates.extend(wheels.into_iter().map(|(version, file)| Candidate::Wheel { version, file }));
        }
        Ok(Self {
            distribution,
            component,
            major,
            of_base_only,
            candidates,
            unfit,
            bans: bans.get(distribution).cloned().unwrap_or_default(),
            preferred: offer.preferences.get(distribution),
        })
    }

    /// Who serves all of `demands`, under one SONAME where it is given: a copy of the base, the preferred wheel, or else
    /// that of the lowest version; of the newest, when no demand has a floor.
    fn serving(&self, demands: &[Demand], soname: Option<&Vec<u64>>) -> Option<&Candidate> {
        let serves = |candidate: &&Candidate| {
            soname.is_none_or(|soname| self.soname(candidate) == *soname)
                && !self.bans.contains_key(&candidate.identity())
                && demands.iter().all(|demand| candidate.meets(demand))
        };
        let mut serving = self.candidates.iter().filter(serves);
        let is_base = |candidate: &&Candidate| matches!(candidate, Candidate::Base(_));
        let is_preferred = |candidate: &&Candidate| {
            !is_base(candidate)
                && self.preferred.is_some_and(|versions| versions.contains(&candidate.version()))
        };
        let copy = serving.clone().find(is_base).or_else(|| serving.clone().find(is_preferred));
        copy.or_else(|| match demands.iter().any(Demand::has_floor) {
            true => serving.next(),
            false => serving.next_back(),
        })
    }

    /// The demands by the SONAME that serves them. One that several could serve goes to the newest that others need
    /// anyway and that can take it, else to the newest that can.
    fn by_soname(&self, demands: &[Demand]) -> Option<Vec<Group>> {
        let sonames = |demand: &Demand| -> BTreeSet<Vec<u64>> {
            let meeting = self.candidates.iter().filter(|candidate| candidate.meets(demand));
            meeting.map(|candidate| self.soname(candidate)).collect()
        };
        let mut groups: BTreeMap<Vec<u64>, Vec<Demand>> = BTreeMap::new();
        let mut undecided = Vec::new();
        for demand in demands {
            let possible = sonames(demand);
            match (possible.len(), possible.first()) {
                (1, Some(only)) => groups.entry(only.clone()).or_default().push(demand.clone()),
                _ => undecided.push(demand),
            }
        }
        for demand in undecided {
            let takes = |soname: &Vec<u64>| {
                let mut group = groups.get(soname).cloned().unwrap_or_default();
                group.push(demand.clone());
                self.serving(&group, Some(soname)).is_some()
            };
            let possible: Vec<Vec<u64>> = sonames(demand).into_iter().rev().filter(takes).collect();
            let needed = possible.iter().find(|soname| groups.contains_key(*soname));
            groups.entry(needed.or(possible.first())?.clone()).or_default().push(demand.clone());
        }
        Some(groups.into_iter().map(|(soname, group)| (Some(soname), group)).collect())
    }

    /// The numbers of a candidate's version that tell its SONAME.
    fn soname(&self, candidate: &Candidate) -> Vec<u64> {
        let version = candidate.version();
        match self.component {
            Some(component) => soname(component, &version),
            None => version.release().iter().take(1).copied().collect(),
        }
    }

    fn refusal(&self, demands: &[Demand]) -> ComponentError {
        match self.component.filter(|_| self.of_base_only) {
            Some(component) => ComponentError::NotInBase {
                missing: vec![Missing {
                    distribution: self.distribution.clone(),
                    component,
                    demands: demands.to_vec(),
                    rejected: self.rejected(None, demands),
                }],
            },
            None => {
                let versions: BTreeSet<Version> = self.candidates.iter().map(Candidate::version).collect();
                let versions: Vec<String> = versions.iter().map(Version::to_string).collect();
                ComponentError::Unsatisfiable {
                    distribution: self.distribution.clone(),
                    demands: demands.to_vec(),
                    offered: if versions.is_empty() {
                        "nothing that fits".into()
                    } else {
                        versions.join(", ")
                    },
                }
            }
        }
    }

    /// The base's copies that do not serve `demands`, where `chosen` does.
    fn rejected(&self, chosen: Option<&Candidate>, demands: &[Demand]) -> Vec<Rejected> {
        let others = self.candidates.iter().filter(|candidate| Some(*candidate) != chosen);
        let reasoned = others.filter_map(|candidate| {
            let Candidate::Base(copy) = candidate else { return None };
            let refused = demands.iter().find(|demand| !candidate.meets(demand));
            let reason = match (refused, self.bans.get(&candidate.identity())) {
                (Some(demand), _) => Reason::Version { demand: demand.clone() },
                (None, Some(ban)) => Reason::Symbols { explanation: ban.explanation.clone() },
                (None, None) => Reason::NotChosen,
            };
            Some(Rejected::new(copy, reason))
        });
        self.unfit.iter().cloned().chain(reasoned).collect()
    }
}

/// The CUDA major of an un-suffixed wheel: as its versions are the toolkit's, or else that of the first toolkit whose
/// wheels have no suffix.
pub(super) fn unsuffixed(component: Component, demands: &[Demand]) -> u32 {
    let floors = demands.iter().flat_map(Demand::floors);
    let newest = floors.filter_map(|specifier| specifier.version().release().first().copied()).max();
    match newest.and_then(|major| u32::try_from(major).ok()) {
        Some(major) if component.is_numbered_as_toolkit() => major.max(FIRST_UNSUFFIXED),
        _ => FIRST_UNSUFFIXED,
    }
}

/// What the chosen wheels require of each other.
fn demands_of(choices: &[Choice], target: &Target) -> Vec<Demanded> {
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

impl Choice {
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

fn majors_of(choices: &[Choice]) -> BTreeSet<u32> {
    choices.iter().filter(|choice| choice.component.is_some()).map(|choice| choice.cuda_major).collect()
}

/// The version of the toolkit of a CUDA major: that of the runtime that is served, or else of the base's toolkit that
/// other parts come from, or else of the runtime that pip installs, or else of the newest part that is numbered so.
fn toolkit<'a>(
    choices: impl Iterator<Item = &'a Choice> + Clone,
    major: u32,
    offer: &Offer<'_>,
) -> Option<(u32, u32)> {
    let of_major = || choices.clone().filter(move |choice| choice.cuda_major == major);
    let runtime =
        of_major().find(|choice| choice.is_runtime()).and_then(|choice| toolkit_version(&choice.version));
    let of_base = || {
        let directories = of_major().filter_map(|choice| match &choice.supply {
            Supply::Base(copy) => toolkit_of_directory(copy.toolkit.as_deref()?),
            Supply::Wheel { .. } => None,
        });
        let default = offer.default_toolkit.and_then(|path| toolkit_of_directory(path));
        directories.chain(default).find(|version| version.0 == major)
    };
    let of_part = || {
        let parts =
            of_major().filter(|choice| choice.component.is_some_and(Component::is_numbered_as_toolkit));
        parts.filter_map(|choice| toolkit_version(&choice.version)).max()
    };
    runtime.or_else(of_base).or_else(|| offer.of_pip.get(&major).copied()).or_else(of_part)
}

/// `(12, 2)` of `usr/local/cuda-12.2`.
fn toolkit_of_directory(directory: &str) -> Option<(u32, u32)> {
    let (_, version) = directory.rsplit_once("cuda-")?;
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// What each toolkit demands of its parts: a version that names its directory, and parts that are not older than it.
fn demands_of_toolkits(choices: &[Choice], offer: &Offer<'_>) -> Vec<Demanded> {
    let mut demands = Vec::new();
    let by_others = |choice: &&Choice| choice.demands.iter().any(|demand| demand.by != Demander::Layout);
    let demanded = choices.iter().filter(by_others);
    for major in majors_of(choices) {
        if toolkit(demanded.clone(), major, offer).is_none() {
            demands.extend(runtime_requirement(major).map(|requirement| (Demander::Layout, requirement)));
        }
        let Some((_, minor)) = toolkit(choices.iter(), major, offer) else { continue };
        let by = Demander::Toolkit { major: u64::from(major), minor: u64::from(minor) };
        let floor = Version::new([u64::from(major), u64::from(minor)]);
        let follows = |choice: &&Choice| {
            let follows = |component: Component| {
                component.is_numbered_as_toolkit() && component.numbers_in_soname(major.into()) == 1
            };
            choice.cuda_major == major && choice.component.is_some_and(follows) && !choice.is_runtime()
        };
        let parts = choices.iter().filter(follows);
        demands.extend(parts.map(|choice| (by.clone(), at_least(&choice.distribution, &floor))));
    }
    demands
}

fn runtime_requirement(major: u32) -> Option<Requirement> {
    Component::named("cuda-runtime")?.distribution(major).parse().ok()
}

fn at_least(distribution: &PackageName, floor: &Version) -> Requirement {
    requirement(distribution, [VersionSpecifier::greater_than_equal_version(floor.clone())])
}

fn requirement(
    distribution: &PackageName,
    specifiers: impl IntoIterator<Item = VersionSpecifier>,
) -> Requirement {
    let specifiers: VersionSpecifiers = specifiers.into_iter().collect();
    let specifiers = Some(specifiers).filter(|specifiers| !specifiers.is_empty());
    Requirement {
        name: distribution.clone(),
        extras: Box::default(),
        version_or_url: specifiers.map(uv_pep508::VersionOrUrl::VersionSpecifier),
        marker: uv_pep508::MarkerTree::TRUE,
        origin: None,
    }
}
