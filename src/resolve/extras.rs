//! The CUDA majors that a solution is for, and the extras of frameworks that ask for their components.

use std::collections::{BTreeMap, BTreeSet};

use uv_normalize::{ExtraName, PackageName};

use super::components::unsuffixed;
use super::demand::{Demand, Demander};
use super::solve::Solution;
use super::{ResolutionRequest, demanded};
use crate::cuda::{ComponentWheel, CudaExtra, cuda_extras};
use crate::pypa::metadata::Requirement;
use crate::recipe::RootRequirement;

/// The roots with the CUDA extra of each framework that has one: the extra of the CUDA major that the others use, by their
/// metadata or `of_binaries`, or else that the base has.
pub(super) fn with_cuda_extras(
    request: &ResolutionRequest<'_>,
    roots: &[RootRequirement],
    plain: &Solution,
    of_binaries: BTreeSet<u32>,
) -> Vec<RootRequirement> {
    let mut majors = majors(plain);
    majors.extend(of_binaries);
    let mut chosen: BTreeMap<PackageName, &'static str> = BTreeMap::new();
    let mut undecided = Vec::new();
    for name in &request.frameworks {
        let Some(distribution) = plain.distributions.get(name) else { continue };
        let offered: Vec<_> = cuda_extras(name.as_ref())
            .iter()
            .filter(|option| distribution.metadata.provides_extra.iter().any(|e| e.as_ref() == option.extra))
            .collect();
        let asked = |root: &RootRequirement| {
            root.requirement.name == *name
                && root
                    .requirement
                    .extras
                    .iter()
                    .any(|e| cuda_extras(name.as_ref()).iter().any(|o| o.extra == e.as_ref()))
        };
        if roots.iter().any(asked) {
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
        let of_base =
            |option: &&&CudaExtra| request.base.cuda.iter().any(|copy| copy.cuda_major == Some(option.major));
        let of_others = offered.iter().find(|option| majors.contains(&option.major));
        let fitting = of_others.or_else(|| offered.iter().find(of_base)).or(offered.first());
        if let Some(option) = fitting {
            chosen.insert(name.clone(), option.extra);
        }
    }
    roots.iter().map(|root| with_extra(root, chosen.get(&root.requirement.name))).collect()
}

fn with_extra(root: &RootRequirement, extra: Option<&&'static str>) -> RootRequirement {
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

/// The CUDA major that a requirement on a component is for.
pub(super) fn major_of(requirement: &Requirement) -> Option<u32> {
    let demand = Demand::new(Demander::Layout, requirement);
    match ComponentWheel::of(requirement.name.as_ref())? {
        ComponentWheel::Carries { major: Some(major), .. } => Some(major),
        ComponentWheel::Carries { component, major: None } => Some(unsuffixed(component, &[demand])),
        ComponentWheel::Metapackage => {
            u32::try_from(demand.serves.iter().next()?.version().release().first().copied()?).ok()
        }
    }
}
