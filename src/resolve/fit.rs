//! One CUDA major for a distribution and those beside it: versions that are built for another major than what serves them are
//! passed over where the recipe leaves the version open, and refused where it does not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use uv_normalize::PackageName;
use uv_pep440::{Operator, Version, VersionSpecifier};
use uv_pep508::VersionOrUrl;

use super::binaries::{NeedyDistribution, NeedyDistributions, major_in_name, needy};
use super::components::{ComponentError, MixedProcess, mixed_process, prefetch_pages, requirement};
use super::demand::Demander;
use super::extras::{major_of, with_cuda_extras};
use super::siblings::{Siblings, apart};
use super::solve::{Catalog, Solution, SolveError, solve};
use super::{Preferences, ResolutionRequest, ResolveError, demanded, question};
use crate::failure::Hinted;
use crate::pypa::metadata::Requirement;
use crate::recipe::{Policy, RootRequirement};

/// The most versions of one distribution that are tried, newest first: torch has eight for CUDA 13.
const MOST_TRIED: usize = 16;
/// The most distributions that give way in one resolution.
const MOST_MOVED: usize = 16;

/// A distribution and the CUDA major that it is built for or needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MajorSide {
    /// The distribution.
    pub name: PackageName,
    /// Its version.
    pub version: Version,
    /// The CUDA major.
    pub major: u32,
    /// The library that a binary is linked with, or the requirement of the metadata, that tells the major.
    pub because: String,
}

/// Two distributions of one image that do not agree on a CUDA major.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MajorConflict {
    /// The one that nothing serves.
    pub unserved: MajorSide,
    /// The one whose CUDA is served.
    pub served: MajorSide,
}

impl fmt::Display for MajorConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MajorSide { name, version, major, because } = &self.unserved;
        write!(f, "{name} {version} is built for CUDA {major} ({because}), ")?;
        write!(f, "{} {} serves CUDA {}", self.served.name, self.served.version, self.served.major)
    }
}

/// A version that was not taken, because of the CUDA major that it is built for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PassedOver {
    /// The distribution that gave way.
    pub name: PackageName,
    /// The version that was taken.
    pub taken: Version,
    /// The disagreement that the newest version would have brought.
    pub conflict: MajorConflict,
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {} is taken", self.conflict, self.name, self.taken)
    }
}

/// A distribution that the recipe names, and that is built for a CUDA major that nothing beside it serves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{conflict}{}", fits.as_ref().map(|fits| format!(": {} {fits} fits", conflict.unserved.name)).unwrap_or_default())]
#[allow(missing_docs, reason = "the message is the documentation")]
pub struct OtherMajor {
    pub conflict: Box<MajorConflict>,
    pub fits: Option<Version>,
}

impl Hinted for OtherMajor {
    fn hint(&self) -> Option<String> {
        let MajorConflict { unserved, served } = &*self.conflict;
        Some(match &self.fits {
            Some(fits) => format!("write `{}=={fits}`, or leave its version open", unserved.name),
            None => format!(
                "choose a version of {} that is built for CUDA {}, or one of {} that is built for CUDA {}",
                unserved.name, served.major, served.name, unserved.major
            ),
        })
    }
}

/// A solution in which the CUDA majors fit.
pub(super) struct Fitted {
    pub roots: Vec<RootRequirement>,
    /// Those of the request, and those that pass over what does not fit.
    pub constraints: Vec<Requirement>,
    pub solution: Solution,
    /// The needs of the solution's binaries.
    pub needy: NeedyDistributions,
    pub passed_over: Vec<PassedOver>,
    /// Distributions that do not fit, and that the recipe does not name: their binaries demand nothing.
    pub unserved: BTreeSet<PackageName>,
}

/// Solves, until the CUDA majors fit.
pub(super) fn fitted(
    request: &ResolutionRequest<'_>,
    preferences: &Preferences,
    catalog: &dyn Catalog,
) -> Result<Fitted, ResolveError> {
    let search = FitSearch { request, preferences, catalog };
    let mut fitted = search.solve(&request.roots, request.constraints.clone())?;
    for _ in 0..MOST_MOVED {
        let Some(conflict) = search.conflict(&fitted)? else { break };
        match search.moved(&fitted, &conflict)? {
            Some(moved) => fitted = moved,
            None if search.mixed_process(&fitted)?.is_some() => break,
            None if search.names(&conflict.unserved.name) => return Err(search.refusal(&fitted, conflict)?),
            None => drop(fitted.unserved.insert(conflict.unserved.name)),
        }
    }
    match search.mixed_process(&fitted)? {
        Some(process) => {
            let binaries = binaries_of(&process, &fitted.needy);
            Err(ComponentError::OneProcess { process: Box::new(process), binaries }.into())
        }
        None => Ok(fitted),
    }
}

/// The binaries of a process that are linked with the older of its majors, in words.
fn binaries_of(process: &MixedProcess, needy: &NeedyDistributions) -> String {
    let chains = process.chains.iter().flat_map(|(chain, _)| chain);
    let names: BTreeSet<&PackageName> = chains.collect();
    let needy = names.into_iter().filter_map(|name| needy.get(name));
    needy.filter_map(|needy| needy.told(process.majors.0)).map(|told| format!("; {told}")).collect()
}

struct FitSearch<'a> {
    request: &'a ResolutionRequest<'a>,
    preferences: &'a Preferences,
    catalog: &'a dyn Catalog,
}

impl FitSearch<'_> {
    /// The solution for `roots`, with the CUDA extras that suit it.
    fn solve(
        &self,
        roots: &[RootRequirement],
        constraints: Vec<Requirement>,
    ) -> Result<Fitted, ResolveError> {
        let question =
            |roots: &[RootRequirement]| question(self.request, roots, &constraints, self.preferences);
        let plain = solve(&question(roots), self.catalog)?;
        let asked = demanded(&plain);
        let components = asked.iter().map(|(_, requirement)| &requirement.name);
        prefetch_pages(components, &self.request.policies, self.catalog);
        let needs_of_plain = needy(self.request, &plain, self.catalog)?;
        let roots_with_extras = match self.request.policies.default {
            Policy::Cpu => roots.to_vec(),
            _ => {
                let majors =
                    needs_of_plain.values().map(NeedyDistribution::majors).filter(|it| it.len() == 1);
                with_cuda_extras(self.request, roots, &plain, majors.flatten().collect())
            }
        };
        let (solution, needy) = match roots_with_extras == roots {
            true => (plain, needs_of_plain),
            false => {
                let solution = solve(&question(&roots_with_extras), self.catalog)?;
                let needy = needy(self.request, &solution, self.catalog)?;
                (solution, needy)
            }
        };
        Ok(Fitted {
            roots: roots_with_extras,
            constraints,
            solution,
            needy,
            passed_over: Vec::new(),
            unserved: BTreeSet::new(),
        })
    }

    /// The first disagreement in a solution, apart from those of which it is known that nothing can be done.
    fn conflict(&self, fitted: &Fitted) -> Result<Option<MajorConflict>, ResolveError> {
        let solution = &fitted.solution;
        if let Some(process) = self.mixed_process(fitted)? {
            return Ok(self.of_process(&process, solution));
        }
        let needy = &fitted.needy;
        let siblings = self.siblings(fitted)?;
        let served = served(solution, &siblings, &self.request.frameworks);
        let mut open = needy.values().filter(|needy| !fitted.unserved.contains(&needy.name));
        Ok(open.find_map(|distribution| disagreement(distribution, &served, needy)))
    }

    fn siblings(&self, fitted: &Fitted) -> Result<Siblings, ResolveError> {
        Ok(Siblings::of(&demanded(&fitted.solution), &fitted.needy, self.request.base, self.catalog)?)
    }

    /// A distribution in whose process two majors would meet.
    fn mixed_process(&self, fitted: &Fitted) -> Result<Option<MixedProcess>, ResolveError> {
        let solution = &fitted.solution;
        let Some(process) = mixed_process(solution, major_of) else { return Ok(None) };
        let siblings = self.siblings(fitted)?;
        match siblings == Siblings::default() {
            true => Ok(Some(process)),
            false => Ok(mixed_process(solution, |requirement| major_of(&siblings.serving(requirement)))),
        }
    }

    /// The disagreement in one process; `None` where another version of neither may be chosen.
    fn of_process(&self, process: &MixedProcess, solution: &Solution) -> Option<MajorConflict> {
        let side = |(chain, because): &(Vec<PackageName>, String), major| {
            let chosen = solution.distributions.get(chain.last()?)?;
            let (name, version) = (chosen.name.clone(), chosen.version.clone());
            Some(MajorSide { name, version, major, because: because.clone() })
        };
        let [lower, upper] = &process.chains;
        let (lower, upper) = (side(lower, process.majors.0)?, side(upper, process.majors.1)?);
        let is_open = |side: &MajorSide| self.may_move(&side.name);
        (is_open(&lower) || is_open(&upper)).then_some(MajorConflict { unserved: lower, served: upper })
    }

    /// Returns whether the recipe names a distribution.
    fn names(&self, name: &PackageName) -> bool {
        self.request.roots.iter().any(|root| root.requirement.name == *name)
    }

    /// Returns whether the recipe leaves open which version of a distribution is taken, and another may be for another CUDA.
    fn may_move(&self, name: &PackageName) -> bool {
        let roots = self.request.roots.iter().map(|root| &root.requirement);
        let mut asked =
            roots.chain(&self.request.constraints).filter(|requirement| requirement.name == *name);
        major_in_name(name).is_none() && !asked.any(pins)
    }

    /// The solution in which one of the two gives way: first the one that the recipe does not name.
    fn moved(&self, fitted: &Fitted, conflict: &MajorConflict) -> Result<Option<Fitted>, ResolveError> {
        let MajorConflict { unserved, served } = conflict;
        let mut movers = [unserved, served];
        movers.sort_by_key(|side| self.names(&side.name));
        for mover in movers.into_iter().filter(|side| self.may_move(&side.name)) {
            if let Some(moved) = self.without(&self.request.roots, fitted, conflict, &mover.name)? {
                return Ok(Some(moved));
            }
        }
        Ok(None)
    }

    /// The solution without the versions of `mover` that take part in a disagreement; `None` when there is none, or none of
    /// the first that were tried.
    fn without(
        &self,
        roots: &[RootRequirement],
        fitted: &Fitted,
        conflict: &MajorConflict,
        mover: &PackageName,
    ) -> Result<Option<Fitted>, ResolveError> {
        let mut constraints = fitted.constraints.clone();
        let mut version = fitted.solution.distributions[mover].version.clone();
        let is_early = version.any_prerelease();
        for _ in 0..MOST_TRIED {
            let other = VersionSpecifier::not_equals_version(version);
            constraints.push(requirement(mover, [other]));
            let mut next = match self.solve(roots, constraints.clone()) {
                Ok(next) => next,
                Err(ResolveError::Solve(SolveError::NoSolution { .. })) => return Ok(None),
                Err(error) => return Err(error),
            };
            next.unserved = fitted.unserved.clone();
            let taken = next.solution.distributions.get(mover).map(|chosen| chosen.version.clone());
            // Nobody asks for a pre-release by asking for another CUDA.
            if taken.as_ref().is_some_and(Version::any_prerelease) && !is_early {
                return Ok(None);
            }
            let again = self.conflict(&next)?;
            let is_again = again.is_some_and(|it| it.unserved.name == *mover || it.served.name == *mover);
            match taken {
                Some(taken) if is_again => version = taken,
                taken => {
                    next.passed_over = fitted.passed_over.clone();
                    let passed =
                        |taken| PassedOver { conflict: conflict.clone(), name: mover.clone(), taken };
                    next.passed_over.extend(taken.map(passed));
                    return Ok(Some(next));
                }
            }
        }
        Ok(None)
    }

    /// The refusal of a disagreement, with the version that would fit if the recipe left it open.
    fn refusal(&self, fitted: &Fitted, conflict: MajorConflict) -> Result<ResolveError, ResolveError> {
        let name = conflict.unserved.name.clone();
        let open = |root: &RootRequirement| {
            let mut root = root.clone();
            if root.requirement.name == name {
                root.requirement.version_or_url = None;
            }
            root
        };
        let roots: Vec<RootRequirement> = self.request.roots.iter().map(open).collect();
        let fits = self.without(&roots, fitted, &conflict, &name)?;
        let fits = fits.and_then(|fits| Some(fits.solution.distributions.get(&name)?.version.clone()));
        Ok(OtherMajor { conflict: Box::new(conflict), fits }.into())
    }
}

/// Returns whether a requirement leaves one version, or one file.
fn pins(requirement: &Requirement) -> bool {
    match &requirement.version_or_url {
        Some(VersionOrUrl::Url(_)) => true,
        Some(VersionOrUrl::VersionSpecifier(specifiers)) => specifiers
            .iter()
            .any(|specifier| matches!(specifier.operator(), Operator::Equal | Operator::ExactEqual)),
        None => false,
    }
}

/// By CUDA major, who asks for it by its metadata; a framework first.
type Served = BTreeMap<u32, Vec<MajorSide>>;

fn served(solution: &Solution, siblings: &Siblings, frameworks: &BTreeSet<PackageName>) -> Served {
    let mut served = Served::new();
    let demands = demanded(solution);
    // What both majors have under one SONAME tells none of them.
    let tells = |requirement: &Requirement| apart(requirement).is_none();
    let has_toolkit = demands.iter().any(|(_, requirement)| tells(requirement));
    for (by, requirement) in demands.into_iter().filter(|(_, it)| !has_toolkit || tells(it)) {
        let requirement = siblings.serving(&requirement);
        let Demander::Distribution { name, version, .. } = by else { continue };
        if let Some(major) = major_of(&requirement) {
            let side = MajorSide { name, version, major, because: requirement.to_string() };
            served.entry(major).or_default().push(side);
        }
    }
    for sides in served.values_mut() {
        sides.sort_by_key(|side| (!frameworks.contains(&side.name), side.name.as_ref() != "torch"));
    }
    served
}

/// The disagreement of a distribution with those beside it, or else with all that is served.
fn disagreement(
    distribution: &NeedyDistribution,
    served: &Served,
    needy: &NeedyDistributions,
) -> Option<MajorConflict> {
    let majors = distribution.majors();
    let own = *majors.last()?;
    let sides = || served.values().flatten();
    let beside: Vec<&MajorSide> = sides().filter(|side| distribution.beside.contains(&side.name)).collect();
    let others: Vec<MajorSide> = match (beside.is_empty(), served.is_empty()) {
        (false, _) => beside.into_iter().cloned().collect(),
        (true, false) => sides().cloned().collect(),
        (true, true) => needy.values().filter_map(side_of_binaries).filter(|side| side.major < own).collect(),
    };
    if others.is_empty() || others.iter().any(|side| majors.contains(&side.major)) {
        return None;
    }
    let unserved = side_of_binaries(distribution)?;
    let served = others.into_iter().next()?;
    Some(MajorConflict { unserved, served })
}

/// A distribution as its binaries tell its CUDA.
fn side_of_binaries(distribution: &NeedyDistribution) -> Option<MajorSide> {
    let major = *distribution.majors().last()?;
    let because = distribution.evidence(major).map(|need| need.soname.clone());
    Some(MajorSide {
        name: distribution.name.clone(),
        version: distribution.version.clone(),
        major,
        because: because.unwrap_or_else(|| "as its name says".to_owned()),
    })
}
