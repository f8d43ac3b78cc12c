//! The package that is decided next.
//!
//! The order decides which of several solutions is found and how fast. It is uv's: pinned packages first, then
//! packages that were part of many conflicts, then in the order of discovery.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use pubgrub::Ranges;
use uv_normalize::PackageName;
use uv_pep440::{Version, strip_local_version_sentinels};

use super::SolverPackage;

/// So many conflicts move a package forward.
const CONFLICTS: u32 = 5;

/// The rank of a package: the greatest is decided next. Ranks are per name, so that a project and its extras are
/// decided together; the second number keeps them in the order of discovery.
pub(super) type Rank = (Urgency, Reverse<usize>, Reverse<usize>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    Free,
    /// Its choice often ruled others out.
    Culprit,
    /// It was often ruled out by the choice of others.
    Affected,
    /// A requirement allows one version only.
    Pinned,
    Root,
}

/// Ranks by what is known so far.
#[derive(Debug, Default)]
pub(super) struct Order {
    names: BTreeMap<PackageName, (Urgency, usize)>,
    packages: BTreeMap<SolverPackage, usize>,
    affected: BTreeMap<SolverPackage, u32>,
    culprits: BTreeMap<SolverPackage, u32>,
}

impl Order {
    /// Notes that `package` is required in `versions`.
    pub(super) fn discover(&mut self, package: &SolverPackage, versions: &Ranges<Version>) {
        let found = self.packages.len();
        self.packages.entry(package.clone()).or_insert(found);
        let Some(name) = package.name() else { return };
        let found = self.names.len();
        let (class, _) = self.names.entry(name.clone()).or_insert((Urgency::Free, found));
        if is_pin(versions) {
            *class = Urgency::Pinned.max(*class);
        }
    }

    pub(super) fn rank(&self, package: &SolverPackage) -> Rank {
        let found = self.packages.get(package).copied().unwrap_or(usize::MAX);
        match package.name() {
            None => (Urgency::Root, Reverse(0), Reverse(0)),
            Some(name) => {
                let (class, order) = self.names.get(name).copied().unwrap_or((Urgency::Free, usize::MAX));
                (class, Reverse(order), Reverse(found))
            }
        }
    }

    /// Counts a conflict in which `affected` was ruled out; whether it was one too many.
    pub(super) fn count_affected(&mut self, affected: &SolverPackage) -> bool {
        count(&mut self.affected, affected)
    }

    /// Counts a conflict that the choice of `culprit` caused; whether it was one too many.
    pub(super) fn count_culprit(&mut self, culprit: &SolverPackage) -> bool {
        count(&mut self.culprits, culprit)
    }

    /// Moves `package` before everything that is not pinned by conflict.
    pub(super) fn prefer_affected(&mut self, package: &SolverPackage) {
        if let Some((class, _)) = package.name().and_then(|name| self.names.get_mut(name)) {
            *class = Urgency::Affected;
        }
    }

    /// Moves `package` behind the affected ones; whether that is new.
    pub(super) fn defer_culprit(&mut self, package: &SolverPackage) -> bool {
        match package.name().and_then(|name| self.names.get_mut(name)) {
            Some((class, _)) if !matches!(class, Urgency::Culprit | Urgency::Affected) => {
                *class = Urgency::Culprit;
                true
            }
            _ => false,
        }
    }
}

fn count(counts: &mut BTreeMap<SolverPackage, u32>, package: &SolverPackage) -> bool {
    let count = counts.entry(package.clone()).or_default();
    *count += 1;
    *count == CONFLICTS
}

/// Returns whether `versions` is what `==` means: one public version, with any local part.
fn is_pin(versions: &Ranges<Version>) -> bool {
    versions.as_singleton().is_some() || strip_local_version_sentinels(versions).as_singleton().is_some()
}
