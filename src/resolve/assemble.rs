//! Puts a solution and the choice of components together: what is installed, kept, hidden, linked and relaxed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uv_normalize::PackageName;
use uv_pep440::Version;

use super::components::{ComponentChoice, Components, Demanded, Rejected, Supply, majors};
use super::demand::{Demand, Demander};
use super::installed::is_installed;
use super::rewriting::Rewriting;
use super::siblings::Siblings;
use super::solve::{Chosen, Solution};
use super::{
    ComponentPlace, Distribution, FoundBy, Kept, PipSees, PrivateComponent, Removed, Resolution,
    ResolutionRequest, Role, Service, ServiceSource, ToolkitTree, tree_of,
};
use crate::base::{BaseInventory, CudaCopy};
use crate::cuda::{Component, ComponentWheel, DriverFit, Toolkit, toolkit_version};
use crate::pypa::metadata::{CoreMetadata, Requirement};
use crate::pypa::target::Target;

pub(super) fn assemble(
    request: &ResolutionRequest<'_>,
    solution: Solution,
    components: Components,
    siblings: &Siblings,
    aliased: &[Demanded],
) -> Resolution {
    let requested = request.named();
    let mut visible = visible(&solution, &components);
    let of_siblings = sibling_services(siblings, aliased, &components);
    visible.extend(of_siblings.iter().map(|it| (it.distribution.clone(), it.version.clone())));
    let rewriting = Rewriting::new(request.target, &request.overrides, &solution, &visible);
    let trees = trees(&components, request);
    let removed = removed(&solution, &components, request.base);
    let mut services = services(&components, &visible, &trees);
    services.extend(of_siblings);
    services.extend(pip_services(&solution, request.target));
    services.sort_by(|a, b| {
        (a.component, a.cuda_major, &a.version).cmp(&(b.component, b.cuda_major, &b.version))
    });
    let toolkits = toolkits(&components, &services);
    let mut required_by = required_by(&solution);
    let (installed, chosen): (Vec<Chosen>, Vec<Chosen>) =
        solution.distributions.into_values().partition(|chosen| is_installed(&chosen.wheel));
    let kept = installed.into_iter().map(|chosen| Kept {
        requested: requested.contains(&chosen.name),
        relaxed: rewriting.of(&chosen.metadata),
        name: chosen.name,
        version: chosen.version,
    });
    let metapackages = metapackages(&components);
    let packages =
        chosen.into_iter().map(|chosen| package(chosen, &rewriting, &metapackages, request.target));
    let wheels =
        components.choices.into_iter().filter_map(|choice| component(choice, &rewriting, &visible, &trees));
    let mut distributions: Vec<Distribution> = packages.chain(wheels).collect();
    for distribution in &mut distributions {
        distribution.requested = requested.contains(&distribution.name);
        distribution.required_by = required_by.remove(&distribution.name).unwrap_or_default();
        distribution.direct_url = request.direct.get(&distribution.name).cloned();
    }
    distributions.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    Resolution {
        distributions,
        services,
        kept: kept.collect(),
        removed,
        trees,
        toolkits,
        passed_over: Vec::new(),
    }
}

/// The distributions of a solution that require each of the others.
fn required_by(solution: &Solution) -> BTreeMap<PackageName, BTreeSet<PackageName>> {
    let mut required: BTreeMap<PackageName, BTreeSet<PackageName>> = BTreeMap::new();
    for chosen in solution.distributions.values() {
        for name in chosen.requires.iter().filter(|name| **name != chosen.name) {
            required.entry(name.clone()).or_default().insert(chosen.name.clone());
        }
    }
    required
}

/// The versions of the toolkits, also of those that pip installs.
fn toolkits(components: &Components, services: &[Service]) -> BTreeMap<(u32, u32), Option<DriverFit>> {
    let of_pip = services.iter().filter(|service| matches!(service.source, ServiceSource::Pip));
    let runtimes = of_pip.filter(|service| service.component.is_runtime());
    let of_pip = runtimes.filter_map(|service| toolkit_version(&service.version));
    let versions = of_pip.chain(components.toolkits.values().copied());
    versions.map(|version| (version, None)).collect()
}

/// The version that pip sees of each component's distribution: of several SONAMEs, the newest.
fn visible(solution: &Solution, components: &Components) -> BTreeMap<PackageName, Version> {
    let of_pip = solution.distributions.values().filter(|chosen| is_component(&chosen.name));
    let mut visible: BTreeMap<PackageName, Version> =
        of_pip.map(|chosen| (chosen.name.clone(), chosen.version.clone())).collect();
    for choice in &components.choices {
        let newest = visible.entry(choice.distribution.clone()).or_insert_with(|| choice.version.clone());
        *newest = choice.version.clone().max(newest.clone());
    }
    visible
}

fn is_component(name: &PackageName) -> bool {
    ComponentWheel::of(name.as_ref()).is_some()
}

/// The trees that something is laid out or linked in, or that must come first in a search.
fn trees(components: &Components, request: &ResolutionRequest<'_>) -> Vec<ToolkitTree> {
    let architecture = request.target.architecture();
    let first = components.toolkits.keys().next().copied();
    let first_is_small = first.is_some_and(|first| is_small(first, components));
    let tree = |(major, version): (&u32, &(u32, u32))| {
        let toolkit = Toolkit { version: *version, architecture };
        let beside = first != Some(*major) && *major >= majors::FIRST_SEPARABLE && !first_is_small;
        let of_major = components.choices.iter().filter(|choice| choice.cuda_major == *major);
        let needs_tree = |choice: &ComponentChoice| match &choice.supply {
            Supply::Wheel { .. } => choice.component.is_some(),
            Supply::Base(copy) => copy.is_hidden(),
        };
        let needed = beside || of_major.clone().any(needs_tree);
        let root = toolkit.root();
        let exists = request.base.default_toolkit.as_ref() == Some(&root)
            || request.base.cuda.iter().any(|copy| copy.toolkit.as_ref() == Some(&root));
        let found = if beside { FoundBy::Frameworks } else { FoundBy::Loader };
        needed.then_some(ToolkitTree { toolkit, exists, found })
    };
    let mut trees: Vec<ToolkitTree> = components.toolkits.iter().filter_map(tree).collect();
    trees.sort_by_key(|tree| (tree.found == FoundBy::Frameworks, std::cmp::Reverse(tree.toolkit.version)));
    trees
}

/// Returns whether a CUDA major is there for a few parts alone: nothing uses its runtime, and the loader can tell its libraries
/// from those of the others. Then the directories of another, whose runtime is used, stand first.
fn is_small(major: u32, components: &Components) -> bool {
    let uses_runtime = |major: u32| {
        let runtimes = components.choices.iter().filter(|choice| {
            choice.cuda_major == major && choice.component.is_some_and(Component::is_runtime)
        });
        let mut demands = runtimes.flat_map(|choice| &choice.demands);
        demands.any(|demand| !matches!(demand.by, Demander::Layout | Demander::Toolkit { .. }))
    };
    let own = components.sonames.get(&major);
    let others = || components.toolkits.keys().copied().filter(|other| *other != major);
    let is_apart = |other: u32| {
        own.zip(components.sonames.get(&other)).is_none_or(|(own, other)| own.is_disjoint(other))
    };
    !uses_runtime(major) && others().any(uses_runtime) && others().all(is_apart)
}

/// The distributions of the base that are replaced by another version, or whose copy of a component would stand before
/// the one that serves.
fn removed(solution: &Solution, components: &Components, base: &BaseInventory) -> Vec<Removed> {
    let serves = |name: &PackageName| {
        components.choices.iter().any(|choice| match &choice.supply {
            Supply::Base(copy) => copy.distribution.as_ref() == Some(name),
            Supply::Wheel { .. } => false,
        })
    };
    let replaced = |name: &PackageName| {
        let chosen = solution.distributions.get(name).is_some_and(|chosen| !is_installed(&chosen.wheel));
        chosen || (components.choices.iter().any(|choice| choice.distribution == *name) && !serves(name))
    };
    let gone =
        base.distributions.iter().filter(|installed| !installed.of_system && replaced(&installed.name));
    gone.map(|installed| Removed { name: installed.name.clone(), version: installed.version.clone() })
        .collect()
}

/// Returns whether a rejected copy of a component serves another SONAME, or another CUDA major.
fn serves_elsewhere(components: &Components, component: Option<Component>, copy: &Rejected) -> bool {
    components.choices.iter().any(|choice| match &choice.supply {
        Supply::Base(serving) => {
            choice.component == component
                && serving.version == copy.version
                && format!("/{}", serving.directory) == copy.path
        }
        Supply::Wheel { .. } => false,
    })
}

fn services(
    components: &Components,
    visible: &BTreeMap<PackageName, Version>,
    trees: &[ToolkitTree],
) -> Vec<Service> {
    let service = |choice: &ComponentChoice| {
        let source = match &choice.supply {
            Supply::Wheel { .. } => ServiceSource::Wheel,
            Supply::Base(copy) => ServiceSource::Base {
                linked_in: linked_in(choice, copy, trees),
                pip: match &copy.distribution {
                    _ if visible.get(&choice.distribution) != Some(&choice.version) => PipSees::Another,
                    Some(_) => PipSees::Own,
                    None => PipSees::MadeUp,
                },
                copy: copy.clone(),
            },
        };
        Some(Service {
            component: choice.component?,
            cuda_major: choice.cuda_major,
            distribution: choice.distribution.clone(),
            version: choice.version.clone(),
            source,
            demands: choice.demands.clone(),
            rejected: choice
                .rejected
                .iter()
                .filter(|copy| !serves_elsewhere(components, choice.component, copy))
                .cloned()
                .collect(),
        })
    };
    components.choices.iter().filter_map(service).collect()
}

/// The directory in which a copy gets links, when nobody finds it where it is.
fn linked_in(choice: &ComponentChoice, copy: &CudaCopy, trees: &[ToolkitTree]) -> Option<String> {
    let tree = tree_of(trees, choice.cuda_major)?;
    let directory = tree.toolkit.library_directory();
    let hidden = copy.is_hidden() || (tree.found == FoundBy::Frameworks && !copy.libraries.is_empty());
    (hidden && copy.directory != directory).then_some(directory)
}

/// The components that the copy of another CUDA major serves.
fn sibling_services(siblings: &Siblings, aliased: &[Demanded], components: &Components) -> Vec<Service> {
    let service = |(alias, serving): (&PackageName, &PackageName)| {
        let Some(ComponentWheel::Carries { component, major: Some(cuda_major) }) =
            ComponentWheel::of(alias.as_ref())
        else {
            return None;
        };
        let choices = components.choices.iter().filter(|choice| choice.distribution == *serving);
        let of_alias = aliased.iter().filter(|(_, requirement)| requirement.name == *alias);
        let demands = of_alias.map(|(by, requirement)| Demand::new(by.clone(), requirement)).collect();
        Some(Service {
            component,
            cuda_major,
            distribution: alias.clone(),
            version: choices.map(|choice| &choice.version).max()?.clone(),
            source: ServiceSource::Sibling { distribution: serving.clone() },
            demands,
            rejected: Vec::new(),
        })
    };
    siblings.iter().filter_map(service).collect()
}

/// The components that are distributions like all others.
fn pip_services(solution: &Solution, target: &Target) -> Vec<Service> {
    let service = |chosen: &Chosen| {
        let ComponentWheel::Carries { component, major } = ComponentWheel::of(chosen.name.as_ref())? else {
            return None;
        };
        let own_major = || chosen.version.release().first().and_then(|major| u32::try_from(*major).ok());
        Some(Service {
            component,
            cuda_major: major.or_else(own_major).unwrap_or_default(),
            distribution: chosen.name.clone(),
            version: chosen.version.clone(),
            source: ServiceSource::Pip,
            demands: demands_on(&chosen.name, solution, target),
            rejected: Vec::new(),
        })
    };
    solution.distributions.values().filter_map(service).collect()
}

fn demands_on(name: &PackageName, solution: &Solution, target: &Target) -> Vec<Demand> {
    let demands = solution.distributions.values().flat_map(|chosen| {
        let extras: Vec<_> = chosen.extras.iter().cloned().collect();
        let by = Demander::Distribution {
            name: chosen.name.clone(),
            version: chosen.version.clone(),
            through: Vec::new(),
        };
        let requirements = chosen.metadata.requires_dist.iter().filter(move |requirement| {
            requirement.name == *name && requirement.evaluate_markers(target.markers(), &extras)
        });
        requirements.map(move |requirement| Demand::new(by.clone(), requirement))
    });
    let mut demands: Vec<Demand> = demands.collect();
    demands.sort_by(|a, b| a.by.cmp(&b.by));
    demands
}

/// The metadata of the metapackages that are served, by name.
type Metapackages = BTreeMap<PackageName, Arc<CoreMetadata>>;

fn metapackages(components: &Components) -> Metapackages {
    let choices = components.choices.iter().filter(|choice| choice.component.is_none());
    let metadata = choices.filter_map(|choice| match &choice.supply {
        Supply::Wheel { metadata, .. } => Some((choice.distribution.clone(), metadata.clone())),
        Supply::Base(_) => None,
    });
    metadata.collect()
}

/// A requirement on a component, or those that a metapackage makes in its place.
fn expanded(requirement: &Requirement, metapackages: &Metapackages, target: &Target) -> Vec<Requirement> {
    let of_metapackage = metapackages.get(&requirement.name).into_iter();
    let requirements = of_metapackage.flat_map(|metadata| &metadata.requires_dist);
    let active = requirements.filter(|it| it.evaluate_markers(target.markers(), &requirement.extras));
    std::iter::once(requirement).chain(active).cloned().collect()
}

fn package(
    chosen: Chosen,
    rewriting: &Rewriting<'_>,
    metapackages: &Metapackages,
    target: &Target,
) -> Distribution {
    let required = chosen.set_aside.iter().flat_map(|it| expanded(it, metapackages, target));
    let components: Vec<Requirement> =
        required.filter(|requirement| is_component(&requirement.name)).collect();
    let private = components
        .iter()
        .map(|requirement| PrivateComponent {
            distribution: requirement.name.clone(),
            pinned: pinned(requirement),
        })
        .collect();
    Distribution {
        relaxed: rewriting.of(&chosen.metadata),
        metadata: chosen.metadata.digest(),
        name: chosen.name,
        version: chosen.version,
        wheel: chosen.wheel.into(),
        requested: false,
        required_by: BTreeSet::new(),
        direct_url: None,
        built: None,
        role: Role::Package { private },
    }
}

fn component(
    choice: ComponentChoice,
    rewriting: &Rewriting<'_>,
    visible: &BTreeMap<PackageName, Version>,
    trees: &[ToolkitTree],
) -> Option<Distribution> {
    let tree = tree_of(trees, choice.cuda_major);
    let Supply::Wheel { wheel, metadata } = choice.supply else { return None };
    let place = match visible.get(&choice.distribution) == Some(&choice.version) {
        true => ComponentPlace::Whole,
        false => ComponentPlace::LibrariesBeside,
    };
    Some(Distribution {
        relaxed: rewriting.of(&metadata),
        metadata: metadata.digest(),
        name: choice.distribution,
        version: choice.version,
        wheel: wheel.into(),
        requested: false,
        required_by: BTreeSet::new(),
        direct_url: None,
        built: None,
        role: match choice.component {
            Some(component) => Role::Component { component, toolkit: tree?.toolkit.clone(), place },
            None => Role::Metapackage,
        },
    })
}

fn pinned(requirement: &Requirement) -> Option<Version> {
    let demand = Demand::new(Demander::Layout, requirement);
    let version = demand.asked.iter().next()?.version().clone();
    demand.pins(&version).then_some(version)
}
