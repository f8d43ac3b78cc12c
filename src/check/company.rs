//! The distributions that are in a process together.

use std::collections::{BTreeMap, BTreeSet};

use super::world::World;

/// The distributions whose company in a process is looked for: images have some 500.
const MOST_DISTRIBUTIONS: usize = 2048;

/// For each distribution those that are in a process with it when it is imported.
#[derive(Debug, Default)]
pub(super) struct Companies(Vec<BTreeSet<usize>>);

impl Companies {
    /// The requirements of distributions, direct or not, and the imports of their code: `imports` are those that each imports in
    /// any case.
    pub(super) fn of(world: &World<'_>, imports: &BTreeMap<usize, BTreeSet<usize>>) -> Self {
        let count = world.distributions.len().min(MOST_DISTRIBUTIONS);
        let closures: Vec<BTreeSet<usize>> = (0..count).map(|index| world.closure(index)).collect();
        let company = |index: usize| {
            let mut company = BTreeSet::new();
            let mut waiting = vec![index];
            while let Some(next) = waiting.pop() {
                if company.contains(&next) {
                    continue;
                }
                for &member in closures.get(next).into_iter().flatten() {
                    if company.insert(member) {
                        waiting.extend(imports.get(&member).into_iter().flatten());
                    }
                }
            }
            company
        };
        Self((0..count).map(company).collect())
    }

    /// A distribution with all that is in a process with it.
    pub(super) fn with(&self, index: usize) -> &BTreeSet<usize> {
        static NOBODY: BTreeSet<usize> = BTreeSet::new();
        self.0.get(index).unwrap_or(&NOBODY)
    }

    /// The same, with those that bring it into their processes, and all that is in these.
    pub(super) fn around(&self, index: usize) -> BTreeSet<usize> {
        let mut is_around = vec![false; self.0.len()];
        for member in self.0.iter().filter(|company| company.contains(&index)).flatten() {
            if let Some(is_around) = is_around.get_mut(*member) {
                *is_around = true;
            }
        }
        is_around.iter().enumerate().filter(|(_, is_around)| **is_around).map(|(index, _)| index).collect()
    }
}
