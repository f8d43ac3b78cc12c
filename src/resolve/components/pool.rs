//! The candidates for the demands on one distribution, and the one that serves them.

use std::collections::{BTreeMap, BTreeSet};

use uv_normalize::PackageName;
use uv_pep440::Version;

use super::candidate::{self, Identity, Rejected, RejectionReason, ServiceCandidate};
use super::toolkit::at_least;
use super::{Ban, Bans, ComponentChoice, ComponentError, Demanded, Missing, Offer, Supply, is_of_base};
use crate::cuda::{Component, ComponentWheel, FIRST_UNSUFFIXED};
use crate::resolve::demand::{Demand, Demander, soname};

/// Selects the candidate for all demands, or else one for those on each SONAME.
pub(super) fn select(
    distribution: PackageName,
    demanded: &[&Demanded],
    bans: &Bans,
    offer: &Offer<'_>,
) -> Result<Vec<SelectedCandidate>, ComponentError> {
    let mut demands: Vec<Demand> =
        demanded.iter().map(|(by, requirement)| Demand::new(by.clone(), requirement)).collect();
    demands.sort_by(|a, b| a.by.cmp(&b.by));
    demands.dedup();
    let pool = Pool::new(&distribution, &demands, bans, offer)?;
    demands.iter_mut().for_each(|demand| pool.grant(demand));
    let groups = match pool.serving(&demands, None) {
        Some(_) => vec![(None, demands.clone())],
        None => pool.by_soname(&demands).ok_or_else(|| pool.refusal(&demands))?,
    };
    let select = |(soname, demands): Group| {
        let candidate = pool.serving(&demands, soname.as_ref()).ok_or_else(|| pool.refusal(&demands))?;
        Ok(SelectedCandidate {
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

/// A candidate that was chosen, before its metadata was read.
pub(super) struct SelectedCandidate {
    distribution: PackageName,
    component: Option<Component>,
    cuda_major: u32,
    pub(super) candidate: ServiceCandidate,
    demands: Vec<Demand>,
    rejected: Vec<Rejected>,
}

impl SelectedCandidate {
    pub(super) fn choice(self, offer: &Offer<'_>) -> Result<ComponentChoice, ComponentError> {
        Ok(ComponentChoice {
            component: self.component,
            cuda_major: self.cuda_major,
            version: self.candidate.version(),
            supply: match self.candidate {
                ServiceCandidate::Base(copy) => Supply::Base(copy),
                ServiceCandidate::Wheel { file, .. } => {
                    Supply::Wheel { metadata: offer.catalog.metadata(&file)?, wheel: file }
                }
            },
            distribution: self.distribution,
            demands: self.demands,
            rejected: self.rejected,
        })
    }
}

/// Demands that one candidate is to meet, and the numbers that tell its SONAME where there are several.
type Group = (Option<Vec<u64>>, Vec<Demand>);

/// The candidates for the demands on one distribution.
struct Pool<'a> {
    distribution: &'a PackageName,
    component: Option<Component>,
    major: u32,
    of_base_only: bool,
    /// The base's copies in the order of preference, then wheels, oldest first.
    candidates: Vec<ServiceCandidate>,
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
            candidates.extend(copies.into_iter().map(ServiceCandidate::Base));
            unfit = rejected;
        }
        if !of_base_only {
            let wheels = candidate::wheels(distribution, demands, offer)?;
            candidates
                .extend(wheels.into_iter().map(|(version, file)| ServiceCandidate::Wheel { version, file }));
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

    /// Lowers a demand of the toolkit to the newest version of its major, where there is none of its minor.
    fn grant(&self, demand: &mut Demand) {
        let Demander::Toolkit { major, minor, newest: None } = demand.by else { return };
        if self.candidates.iter().any(|candidate| candidate.meets(demand)) {
            return;
        }
        let versions = self.candidates.iter().map(ServiceCandidate::version);
        let newest = versions.filter(|version| version.release().first() == Some(&major)).max();
        if let Some(newest) = newest {
            let asked = at_least(self.distribution, &newest);
            *demand = Demand::new(Demander::Toolkit { major, minor, newest: Some(newest) }, &asked);
        }
    }

    /// The candidate for all of `demands`, under one SONAME where it is given: a copy of the base, the preferred wheel,
    /// or else that of the lowest version; of the newest, when no demand has a floor.
    fn serving(&self, demands: &[Demand], soname: Option<&Vec<u64>>) -> Option<&ServiceCandidate> {
        let serves = |candidate: &&ServiceCandidate| {
            soname.is_none_or(|soname| self.soname(candidate) == *soname)
                && !self.bans.contains_key(&candidate.identity())
                && demands.iter().all(|demand| candidate.meets(demand))
        };
        let mut serving = self.candidates.iter().filter(serves);
        let is_base = |candidate: &&ServiceCandidate| matches!(candidate, ServiceCandidate::Base(_));
        let is_preferred = |candidate: &&ServiceCandidate| {
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
    fn soname(&self, candidate: &ServiceCandidate) -> Vec<u64> {
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
                let versions: BTreeSet<Version> =
                    self.candidates.iter().map(ServiceCandidate::version).collect();
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
    fn rejected(&self, chosen: Option<&ServiceCandidate>, demands: &[Demand]) -> Vec<Rejected> {
        let others = self.candidates.iter().filter(|candidate| Some(*candidate) != chosen);
        let reasoned = others.filter_map(|candidate| {
            let ServiceCandidate::Base(copy) = candidate else { return None };
            let refused = demands.iter().find(|demand| !candidate.meets(demand));
            let reason = match (refused, self.bans.get(&candidate.identity())) {
                (Some(demand), _) => RejectionReason::Version { demand: demand.clone() },
                (None, Some(ban)) => RejectionReason::Symbols { explanation: ban.explanation.clone() },
                (None, None) => RejectionReason::NotChosen,
            };
            Some(Rejected::new(copy, reason))
        });
        self.unfit.iter().cloned().chain(reasoned).collect()
    }
}

/// The CUDA major of an un-suffixed wheel: as its versions are the toolkit's, or else that of the first toolkit whose
/// wheels have no suffix.
pub(in crate::resolve) fn unsuffixed(component: Component, demands: &[Demand]) -> u32 {
    let floors = demands.iter().flat_map(Demand::floors);
    let newest = floors.filter_map(|specifier| specifier.version().release().first().copied()).max();
    match newest.and_then(|major| u32::try_from(major).ok()) {
        Some(major) if component.is_numbered_as_toolkit() => major.max(FIRST_UNSUFFIXED),
        _ => FIRST_UNSUFFIXED,
    }
}
