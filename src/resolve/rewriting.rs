//! Requirements that are rewritten in installed metadata, so that pip is content with what is there.

use std::collections::BTreeMap;

use uv_normalize::PackageName;
use uv_pep440::Version;

use super::demand;
use super::overrides::Overrides;
use super::solve::Solution;
use crate::pypa::metadata::{CoreMetadata, Requirement};
use crate::pypa::specifiers;
use crate::pypa::target::Target;

/// The reasons to rewrite requirements.
pub(super) struct Rewriting<'a> {
    target: &'a Target,
    overrides: Overrides,
    /// The versions of distributions that are installed or kept.
    chosen: BTreeMap<PackageName, Version>,
    /// The version that pip sees of each component's distribution.
    visible: &'a BTreeMap<PackageName, Version>,
}

impl<'a> Rewriting<'a> {
    pub(super) fn new(
        target: &'a Target,
        overrides: &[Requirement],
        solution: &Solution,
        visible: &'a BTreeMap<PackageName, Version>,
    ) -> Self {
        let chosen = solution.distributions.iter();
        Self {
            target,
            overrides: Overrides::new(overrides),
            chosen: chosen.map(|(name, chosen)| (name.clone(), chosen.version.clone())).collect(),
            visible,
        }
    }

    /// The requirements of a distribution that are rewritten, and what takes their place.
    pub(super) fn of(&self, metadata: &CoreMetadata) -> BTreeMap<String, String> {
        let rewritten = metadata.requires_dist.iter().filter_map(|requirement| {
            let rewritten = match self.overriding(requirement, metadata) {
                Some(overriding) => self.relaxed(&overriding).or_else(|| Some(overriding.to_string())),
                None => self.relaxed(requirement),
            };
            Some((requirement.to_string(), rewritten?))
        });
        rewritten.collect()
    }

    fn relaxed(&self, requirement: &Requirement) -> Option<String> {
        demand::relaxed(requirement, self.visible.get(&requirement.name))
    }

    /// The override in place of a requirement that what is installed does not meet.
    fn overriding(&self, requirement: &Requirement, metadata: &CoreMetadata) -> Option<Requirement> {
        let overriding = self.overrides.of(requirement)?;
        let name = &requirement.name;
        let version = self.chosen.get(name).or_else(|| self.visible.get(name));
        let is_met = |version: &Version| {
            specifiers::specifiers(requirement).is_none_or(|specifiers| specifiers.contains(version))
        };
        if version.is_some_and(is_met) {
            return None;
        }
        let extras = &metadata.provides_extra;
        let holds = |it: &&Requirement| it.evaluate_markers(self.target.markers(), extras);
        overriding.iter().find(holds).or(overriding.first()).cloned()
    }
}
