//! Several CUDA majors in one image: each process may load one only, and the loader must be able to tell their
//! libraries apart.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use uv_normalize::PackageName;
use uv_pep440::Version;

use super::ComponentError;
use crate::pypa::metadata::Requirement;
use crate::resolve::solve::{Chosen, Solution};

/// The first CUDA major whose frameworks look for it in a directory of its own, `nvidia/cu13`, before they ask the
/// loader: only it can stand beside another major that has libraries of the same SONAMEs.
pub(crate) const FIRST_SEPARABLE: u32 = 13;

/// A distribution whose process would load two CUDA majors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MixedProcess {
    /// The distribution whose process it is.
    pub name: PackageName,
    /// Its version.
    pub version: Version,
    /// The two majors.
    pub majors: (u32, u32),
    /// For each of the two: the distributions from this one to the one that requires the component, and the requirement.
    pub chains: [(Vec<PackageName>, String); 2],
}

impl fmt::Display for MixedProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)?;
        for (index, (chain, requirement)) in self.chains.iter().enumerate() {
            let and = if index == 0 { " needs" } else { ", and" };
            let path: String = chain.iter().skip(1).map(|name| format!(" {name} →")).collect();
            write!(f, "{and}{path} {requirement}")?;
        }
        Ok(())
    }
}

/// The first distribution of `solution` in whose process two CUDA majors would meet; `major_of` tells which major a
/// requirement on a component is for.
pub fn mixed_process(
    solution: &Solution,
    major_of: impl Fn(&Requirement) -> Option<u32>,
) -> Option<MixedProcess> {
    solution.distributions.values().find_map(|chosen| {
        let mut found: BTreeMap<u32, (Vec<PackageName>, String)> = BTreeMap::new();
        for (chain, other) in reachable(chosen, solution) {
            for requirement in &other.set_aside {
                if let Some(major) = major_of(requirement) {
                    found.entry(major).or_insert_with(|| (chain.clone(), requirement.to_string()));
                }
            }
        }
        let mut found = found.into_iter();
        let ((lower, first), (upper, second)) = (found.next()?, found.next()?);
        Some(MixedProcess {
            name: chosen.name.clone(),
            version: chosen.version.clone(),
            majors: (lower, upper),
            chains: [first, second],
        })
    })
}

/// `from` and everything that it requires, nearest first, each with the distributions that lead to it.
pub(in crate::resolve) fn reachable<'a>(
    from: &'a Chosen,
    solution: &'a Solution,
) -> Vec<(Vec<PackageName>, &'a Chosen)> {
    let mut seen = BTreeSet::from([&from.name]);
    let mut queue = VecDeque::from([(vec![from.name.clone()], from)]);
    let mut reached = Vec::new();
    while let Some((chain, chosen)) = queue.pop_front() {
        for name in &chosen.requires {
            if let Some(next) = solution.distributions.get(name)
                && seen.insert(&next.name)
            {
                let chain = chain.iter().cloned().chain([next.name.clone()]).collect();
                queue.push_back((chain, next));
            }
        }
        reached.push((chain, chosen));
    }
    reached
}

/// Refuses two majors whose libraries the loader would mix up; `sonames` are those of each major.
pub(super) fn separable(
    sonames: &BTreeMap<u32, BTreeSet<String>>,
    demands: impl Fn() -> String,
) -> Result<(), ComponentError> {
    let majors: Vec<u32> = sonames.keys().copied().collect();
    for (index, lower) in majors.iter().enumerate() {
        for upper in &majors[index + 1..] {
            let shared: Vec<String> = sonames[lower].intersection(&sonames[upper]).cloned().collect();
            if *upper < FIRST_SEPARABLE && !shared.is_empty() {
                return Err(ComponentError::Inseparable {
                    majors: (*lower, *upper),
                    shared,
                    demands: demands(),
                });
            }
        }
    }
    Ok(())
}
