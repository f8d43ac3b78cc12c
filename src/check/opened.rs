//! Libraries of CUDA that a distribution for GPUs opens by name, and that the image does not have.

use std::collections::{BTreeMap, BTreeSet};

use super::copies::cuda_wheel_extras;
use super::linking::PythonProcess;
use super::loader::{Loader, Search, split};
use super::world::World;
use super::{About, Finding, Level, Observation};
use crate::base::BaseInventory;
use crate::cuda::{Component, ComponentWheel, asks_for_versions, binary_use};

/// Finds the names that none of a component's libraries in the image answers to: what lacks other versions of it is told
/// with the copies.
pub(super) fn findings<'a>(
    inventory: &BaseInventory,
    world: &World<'_>,
    loader: &Loader<'a>,
    python: &PythonProcess<'a>,
) -> Vec<Finding> {
    let present: BTreeSet<Component> = inventory.cuda.iter().map(|copy| copy.component).collect();
    let mut findings = Vec::new();
    for (index, distribution) in world.distributions.iter().enumerate() {
        let absent: BTreeSet<Component> = required(world, index).difference(&present).copied().collect();
        if absent.is_empty() {
            continue;
        }
        let parts = binary_use(distribution.installed.name.as_ref());
        let libraries = distribution.rows.keys().filter(|path| split(path).1.contains(".so"));
        let libraries = libraries.filter(|path| !parts.is_optional_file(path));
        let libraries: Vec<String> = libraries.map(|path| format!("/{path}")).collect();
        let mut opened: Vec<(&String, Component, Vec<String>)> = Vec::new();
        for path in &libraries {
            let absent = named(loader, path).into_iter().filter(|(component, _)| absent.contains(component));
            opened.extend(absent.map(|(component, names)| (path, component, names)));
        }
        if let Some(first) = libraries.first() {
            let is_named = |component: &Component| opened.iter().any(|(_, other, _)| other == component);
            let asked = components(asks_for_versions(distribution.installed.name.as_ref()));
            let asked = asked.filter(|component| absent.contains(component) && !is_named(component));
            let unnamed: Vec<Component> = asked.collect();
            opened.extend(unnamed.into_iter().map(|component| (first, component, libraries_of(component))));
        }
        for (path, _, names) in opened {
            let mut process = python.process.clone();
            let Some(from) = loader.open(&mut process, path, Search::Path) else { continue };
            let observation = Observation::MissingOpened {
                file: path.clone(),
                distribution: Some(distribution.id()),
                names,
                searched: loader.all_searched(&process, from),
            };
            let subject = About::Path(path.clone());
            findings.push(Finding { level: Level::Error, subject, observation });
        }
    }
    findings
}

/// The components without which a distribution that is made for GPUs does not do its work: those that it is known to
/// open, and those that its extras for CUDA ask for.
fn required(world: &World<'_>, index: usize) -> BTreeSet<Component> {
    let name = world.distributions[index].installed.name.as_ref();
    let is_known = name.starts_with("jax-cuda") || name.starts_with("cupy-cuda") || name.ends_with("-gpu");
    let asked = if is_known { world.requirements(index, &cuda_wheel_extras()) } else { Vec::new() };
    let asked =
        asked.into_iter().filter_map(|requirement| match ComponentWheel::of(requirement.name.as_ref()) {
            Some(ComponentWheel::Carries { component, .. }) if component.has_libraries() => Some(component),
            _ => None,
        });
    components(binary_use(name).opens).chain(components(asks_for_versions(name))).chain(asked).collect()
}

fn components(names: &'static [&'static str]) -> impl Iterator<Item = Component> {
    names.iter().filter_map(|name| Component::named(name))
}

fn libraries_of(component: Component) -> Vec<String> {
    component.essential_libraries().map(|name| format!("{name}.so")).collect()
}

/// The whole names that a file opens, by their components.
fn named(loader: &Loader<'_>, path: &str) -> BTreeMap<Component, Vec<String>> {
    let mut names: BTreeMap<Component, Vec<String>> = BTreeMap::new();
    for name in loader.file(path).into_iter().flat_map(|file| file.opens()) {
        let is_whole =
            name.split_once(".so.").is_some_and(|(_, rest)| rest.ends_with(|c: char| c.is_ascii_digit()));
        if let Some(component) = Component::of_library(name).filter(|_| is_whole) {
            names.entry(component).or_default().push(name.clone());
        }
    }
    names
}
