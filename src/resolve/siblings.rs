//! Components that are asked for by the wheels of two CUDA majors although one copy serves both: NCCL, cuDNN and others have
//! the same SONAMEs for every major, and where nothing else of a major is needed, the other's copy is the only one.

use std::collections::{BTreeMap, BTreeSet};

use uv_normalize::PackageName;

use super::binaries::NeedyDistributions;
use super::components::Demanded;
use super::demand::{Demand, Demander};
use super::extras::major_of;
use super::solve::{Catalog, CatalogError};
use crate::base::BaseInventory;
use crate::cuda::{Component, ComponentWheel};
use crate::pypa::metadata::Requirement;

/// By the name of a component's wheel, the wheel for another CUDA major that serves in its place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Siblings {
    by: BTreeMap<PackageName, PackageName>,
}

impl Siblings {
    /// The siblings that serve `demanded` beside what binaries need.
    pub(super) fn of(
        demanded: &[Demanded],
        needy: &NeedyDistributions,
        base: &BaseInventory,
        catalog: &dyn Catalog,
    ) -> Result<Self, CatalogError> {
        let toolkits = demanded.iter().filter(|(_, requirement)| apart(requirement).is_none());
        let mut toolkits: BTreeSet<u32> =
            toolkits.filter_map(|(_, requirement)| major_of(requirement)).collect();
        let others = needy.values().map(|needy| needy.majors());
        let others: Vec<u32> = others
            .filter(|majors| majors.is_disjoint(&toolkits))
            .filter_map(|it| it.last().copied())
            .collect();
        toolkits.extend(others);
        let (Some(serving), 1) = (toolkits.first().copied(), toolkits.len()) else {
            return Ok(Self::default());
        };
        let mut siblings = Self::default();
        for (by, requirement) in demanded.iter().filter(|(_, it)| major_of(it) != Some(serving)) {
            let Some(sibling) = apart(requirement).and_then(|it| it.distribution(serving).parse().ok())
            else {
                continue;
            };
            let is_installed = base.distributions.iter().any(|installed| installed.name == requirement.name);
            let demand = Demand::new(by.clone(), requirement);
            if is_installed || *by == Demander::User || !has_version_for(&sibling, &demand, catalog)? {
                return Ok(Self::default());
            }
            siblings.by.insert(requirement.name.clone(), sibling);
        }
        Ok(siblings)
    }

    /// The requirement on what serves in place of a component.
    pub(super) fn serving(&self, requirement: &Requirement) -> Requirement {
        let name = self.by.get(&requirement.name).unwrap_or(&requirement.name);
        Requirement { name: name.clone(), ..requirement.clone() }
    }

    /// Names that others serve, each with the name of what serves.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&PackageName, &PackageName)> {
        self.by.iter()
    }
}

/// The component of a requirement, if it is one that is released apart from the toolkit.
pub(super) fn apart(requirement: &Requirement) -> Option<Component> {
    match ComponentWheel::of(requirement.name.as_ref())? {
        ComponentWheel::Carries { component, .. } => {
            Some(component).filter(|component| component.is_apart_from_toolkit())
        }
        ComponentWheel::Metapackage => None,
    }
}

fn has_version_for(
    distribution: &PackageName,
    demand: &Demand,
    catalog: &dyn Catalog,
) -> Result<bool, CatalogError> {
    match catalog.project(distribution) {
        Ok(project) => Ok(project.files.iter().any(|file| demand.serves.contains(&file.filename.version))),
        Err(CatalogError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
