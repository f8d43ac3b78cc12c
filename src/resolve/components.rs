//! Chooses the version of each CUDA component: each is served once, at the lowest version that meets every demand.
//!
//! The lowest, because it is the one a framework was built and tested with, and because it runs on the oldest driver.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pubgrub::Ranges;
use uv_normalize::{ExtraName, PackageName};
use uv_pep440::{Version, VersionSpecifier, VersionSpecifiers};

use super::demand::{Demand, Demander};
use super::solve::{Catalog, CatalogError, Scout, Want};
use crate::cuda::{Component, ComponentWheel};
use crate::pypa::metadata::{CoreMetadata, Requirement};
use crate::pypa::simple::{DistFile, Project};
use crate::pypa::target::Target;

/// A component, or the metapackage, at the version that was chosen.
#[derive(Debug, Clone)]
pub struct ComponentChoice {
    pub distribution: PackageName,
    /// `None` for the metapackage.
    pub component: Option<Component>,
    pub version: Version,
    pub wheel: DistFile,
    pub metadata: Arc<CoreMetadata>,
    /// Sorted by who makes them.
    pub demands: Vec<Demand>,
}

/// Every component of an image, and the toolkit they make.
#[derive(Debug, Clone, Default)]
pub struct Components {
    pub choices: Vec<ComponentChoice>,
    /// `(12, 5)` for CUDA 12.5; `None` when nothing demands CUDA.
    pub toolkit: Option<(u32, u32)>,
}

/// Why the demands cannot be met.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    #[error("no version of `{distribution}` meets every demand on it: {demands}")]
    Unsatisfiable { distribution: PackageName, demands: String, offered: String },
    #[error("CUDA {} and CUDA {} are both demanded: {demands}", majors.0, majors.1)]
    TwoMajors { majors: (u32, u32), demands: String },
    #[error("the choice of components did not settle: they demand each other's newer versions in turn")]
    Unsettled,
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl ComponentError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unsatisfiable { offered, .. } => Some(format!(
                "the index offers {offered}; choose framework versions whose demands on it overlap"
            )),
            Self::TwoMajors { .. } => {
                Some("one image has one CUDA major so far; choose framework versions of the same one".into())
            }
            Self::Unsettled => None,
            Self::Catalog(error) => error.hint(),
        }
    }
}

/// Where component wheels are looked for.
pub struct Offer<'a> {
    pub target: &'a Target,
    /// Nothing uploaded at or after this moment, in Unix seconds, is considered.
    pub exclude_newer: Option<i64>,
    pub catalog: &'a dyn Catalog,
}

/// A requirement on a component and who makes it.
pub type Demanded = (Demander, Requirement);

/// Chooses a version for every component that `demanded`, and what is chosen, ask for.
pub fn choose(demanded: &[Demanded], offer: &Offer<'_>) -> Result<Components, ComponentError> {
    if demanded.is_empty() {
        return Ok(Components::default());
    }
    let mut transitive: Vec<Demanded> = Vec::new();
    for _ in 0..MAX_ROUNDS {
        let choices = choose_round(demanded, &transitive, offer)?;
        let mut next = demands_of(&choices, offer.target);
        next.extend(demands_of_toolkit(&choices, demanded)?);
        if next == transitive {
            let toolkit = toolkit_version(&choices);
            return Ok(Components { choices, toolkit });
        }
        transitive = next;
    }
    Err(ComponentError::Unsettled)
}

/// Demands lead to choices, whose metadata leads to demands; real chains are three long.
const MAX_ROUNDS: usize = 20;

fn choose_round(
    demanded: &[Demanded],
    transitive: &[Demanded],
    offer: &Offer<'_>,
) -> Result<Vec<ComponentChoice>, ComponentError> {
    let mut by_name: BTreeMap<PackageName, Vec<&Demanded>> = BTreeMap::new();
    for demand in demanded.iter().chain(transitive) {
        by_name.entry(demand.1.name.clone()).or_default().push(demand);
    }
    let any = |name: &PackageName| Want { name: name.clone(), extras: Vec::new(), versions: Ranges::full() };
    offer.catalog.prefetch(by_name.keys().map(any).collect(), &(Arc::new(PagesOnly) as Arc<dyn Scout>));
    let mut selected = Vec::new();
    for (name, demands) in by_name {
        selected.extend(select(name, &demands, offer)?);
    }
    offer.catalog.prefetch_metadata(selected.iter().map(|selected| selected.wheel.clone()).collect());
    selected.into_iter().map(|selected| selected.with_metadata(offer)).collect()
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

/// A version that was chosen, before its metadata was read.
struct Selected {
    distribution: PackageName,
    version: Version,
    wheel: DistFile,
    demands: Vec<Demand>,
}

impl Selected {
    fn with_metadata(self, offer: &Offer<'_>) -> Result<ComponentChoice, ComponentError> {
        let component = match ComponentWheel::of(self.distribution.as_ref()) {
            Some(ComponentWheel::Carries { component, .. }) => Some(component),
            _ => None,
        };
        Ok(ComponentChoice {
            component,
            metadata: offer.catalog.metadata(&self.wheel)?,
            distribution: self.distribution,
            version: self.version,
            wheel: self.wheel,
            demands: self.demands,
        })
    }
}

/// The version that serves all demands, or else one for each SONAME that is demanded.
fn select(
    distribution: PackageName,
    demanded: &[&Demanded],
    offer: &Offer<'_>,
) -> Result<Vec<Selected>, ComponentError> {
    let mut demands: Vec<Demand> =
        demanded.iter().map(|(by, requirement)| Demand::new(by.clone(), requirement)).collect();
    demands.sort_by(|a, b| a.by.cmp(&b.by));
    demands.dedup();
    let offered = offered(&distribution, &demands, offer)?;
    let unsatisfiable = |demands: &[Demand]| {
        let shown = |list: Vec<String>| list.join(", ");
        ComponentError::Unsatisfiable {
            distribution: distribution.clone(),
            demands: shown(demands.iter().map(Demand::to_string).collect()),
            offered: shown(offered.keys().map(Version::to_string).collect()),
        }
    };
    let groups = match serving(&demands, &offered) {
        Some(_) => vec![demands],
        None => by_soname(&demands, &offered).ok_or_else(|| unsatisfiable(&demands))?,
    };
    let select = |demands: Vec<Demand>| {
        let (version, wheel) = serving(&demands, &offered).ok_or_else(|| unsatisfiable(&demands))?;
        Ok(Selected {
            version: version.clone(),
            wheel: wheel.clone(),
            distribution: distribution.clone(),
            demands,
        })
    };
    groups.into_iter().map(select).collect()
}

/// The lowest version that meets all demands; the newest, when none of them has a floor.
fn serving<'a>(
    demands: &[Demand],
    offered: &'a BTreeMap<Version, DistFile>,
) -> Option<(&'a Version, &'a DistFile)> {
    let mut serving =
        offered.iter().filter(|(version, _)| demands.iter().all(|d| d.serves.contains(version)));
    match demands.iter().any(Demand::has_floor) {
        true => serving.next(),
        false => serving.next_back(),
    }
}

/// The demands by the SONAME that serves them: one that several could serve goes to the newest that others need anyway.
fn by_soname(demands: &[Demand], offered: &BTreeMap<Version, DistFile>) -> Option<Vec<Vec<Demand>>> {
    let sonames = |demand: &Demand| -> BTreeSet<u64> {
        offered.keys().filter(|version| demand.serves.contains(version)).filter_map(soname).collect()
    };
    let mut groups: BTreeMap<u64, Vec<Demand>> = BTreeMap::new();
    for demand in demands {
        if let [only] = sonames(demand).into_iter().collect::<Vec<_>>()[..] {
            groups.entry(only).or_default().push(demand.clone());
        }
    }
    for demand in demands {
        let possible = sonames(demand);
        if possible.len() != 1 {
            let newest = possible.into_iter().rev().find(|soname| groups.contains_key(soname))?;
            groups.entry(newest).or_default().push(demand.clone());
        }
    }
    Some(groups.into_values().collect())
}

/// NVIDIA raises the first number of a component's version with its SONAME.
fn soname(version: &Version) -> Option<u64> {
    version.release().first().copied()
}

/// The versions that have a fitting wheel, each with its best one.
fn offered(
    distribution: &PackageName,
    demands: &[Demand],
    offer: &Offer<'_>,
) -> Result<BTreeMap<Version, DistFile>, ComponentError> {
    let project = offer.catalog.project(distribution)?;
    let mut best = BTreeMap::new();
    for file in &project.files {
        let version = &file.filename.version;
        let Ok(fit) = offer.target.fit(&file.filename) else { continue };
        let too_new =
            offer.exclude_newer.is_some_and(|limit| file.upload_time.is_none_or(|time| time >= limit));
        let pinned = demands.iter().any(|demand| demand.pins(version));
        let wrong_python = file.requires_python.as_ref().is_some_and(|python| !offer.target.admits(python));
        if too_new
            || wrong_python
            || (file.yanked.is_some() && !pinned)
            || (version.any_prerelease() && !pinned)
        {
            continue;
        }
        let better = best.get(version).is_none_or(|(present, _)| fit > *present);
        if better {
            best.insert(version.clone(), (fit, file.clone()));
        }
    }
    Ok(best.into_iter().map(|(version, (_, file))| (version, file)).collect())
}

/// What the chosen components require of each other.
fn demands_of(choices: &[ComponentChoice], target: &Target) -> Vec<Demanded> {
    let mut demanded = Vec::new();
    for choice in choices {
        let extras: Vec<ExtraName> = choice.demanded_extras();
        let by =
            Demander::Distribution { name: choice.distribution.clone(), version: choice.version.clone() };
        for requirement in &choice.metadata.requires_dist {
            let active = requirement.evaluate_markers(target.markers(), &extras);
            if active && ComponentWheel::of(requirement.name.as_ref()).is_some() {
                demanded.push((by.clone(), requirement.clone()));
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

    fn is_runtime(&self) -> bool {
        self.component.is_some_and(Component::is_runtime)
    }

    /// The CUDA major version its name ends in, or else its own.
    fn cuda_major(&self) -> Option<u32> {
        match ComponentWheel::of(self.distribution.as_ref())? {
            ComponentWheel::Carries { major: Some(major), .. } => Some(major),
            ComponentWheel::Carries { component, .. } if component.is_numbered_as_toolkit() => {
                self.version_major()
            }
            ComponentWheel::Carries { .. } => None,
            ComponentWheel::Metapackage => self.version_major(),
        }
    }

    fn version_major(&self) -> Option<u32> {
        self.version.release().first().and_then(|major| u32::try_from(*major).ok())
    }
}

fn toolkit_version(choices: &[ComponentChoice]) -> Option<(u32, u32)> {
    let runtime = choices.iter().find(|choice| choice.is_runtime())?;
    let number = |index: usize| runtime.version.release().get(index).and_then(|n| u32::try_from(*n).ok());
    Some((number(0)?, number(1)?))
}

/// What the toolkit demands of its parts: a runtime, and parts that are not older than it.
fn demands_of_toolkit(
    choices: &[ComponentChoice],
    demanded: &[Demanded],
) -> Result<Vec<Demanded>, ComponentError> {
    let majors: BTreeSet<u32> = choices.iter().filter_map(ComponentChoice::cuda_major).collect();
    let mut majors = majors.into_iter();
    let (first, second) = (majors.next(), majors.next());
    if let (Some(first), Some(second)) = (first, second) {
        let demands = demanded.iter().map(|(by, requirement)| format!("{by} needs {}", requirement.name));
        let demands: BTreeSet<String> = demands.collect();
        let demands = demands.into_iter().collect::<Vec<_>>().join(", ");
        return Err(ComponentError::TwoMajors { majors: (first, second), demands });
    }
    let Some((major, minor)) = toolkit_version(choices) else {
        let name = match first {
            Some(major @ ..13) => format!("nvidia-cuda-runtime-cu{major}"),
            _ => "nvidia-cuda-runtime".to_owned(),
        };
        return Ok(runtime_requirement(&name)
            .map(|requirement| (Demander::Layout, requirement))
            .into_iter()
            .collect());
    };
    let by = Demander::Toolkit { major: u64::from(major), minor: u64::from(minor) };
    let floor = Version::new([u64::from(major), u64::from(minor)]);
    let part = |choice: &ComponentChoice| {
        let numbered = choice.component.is_some_and(Component::is_numbered_as_toolkit);
        numbered && !choice.is_runtime()
    };
    let mut demands: Vec<Demanded> = choices
        .iter()
        .filter(|choice| part(choice))
        .map(|choice| (by.clone(), at_least(&choice.distribution, &floor)))
        .collect();
    demands.extend(
        choices.iter().filter(|choice| choice.is_runtime() && choice.demanded_by_layout()).filter_map(
            |choice| Some((Demander::Layout, runtime_requirement(choice.distribution.as_ref())?)),
        ),
    );
    Ok(demands)
}

impl ComponentChoice {
    fn demanded_by_layout(&self) -> bool {
        self.demands.iter().any(|demand| demand.by == Demander::Layout)
    }
}

fn runtime_requirement(name: &str) -> Option<Requirement> {
    name.parse().ok()
}

fn at_least(distribution: &PackageName, floor: &Version) -> Requirement {
    let specifier = VersionSpecifier::greater_than_equal_version(floor.clone());
    Requirement {
        name: distribution.clone(),
        extras: Box::default(),
        version_or_url: Some(uv_pep508::VersionOrUrl::VersionSpecifier(VersionSpecifiers::from(specifier))),
        marker: uv_pep508::MarkerTree::TRUE,
        origin: None,
    }
}
