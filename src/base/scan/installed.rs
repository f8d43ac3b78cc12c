//! The distributions that an interpreter finds.

use std::collections::BTreeMap;

use crate::base::{InstalledDistribution, InstalledTexts};
use crate::cuda::ComponentWheel;
use crate::observe::inventory_facts::{InventoryFacts, join};
use crate::pypa::metadata::{self, MOST_REQUIREMENTS};
use crate::pypa::record;
use crate::pypa::record::Row;

/// An installed distribution and the rows of its `RECORD`, by real path.
#[derive(Debug, Clone)]
pub(super) struct InstalledFiles {
    pub distribution: InstalledDistribution,
    /// The size in bytes by path, where the record has it.
    pub sizes: BTreeMap<String, Option<u64>>,
}

/// The distributions in the directories of `sys.path`, sorted by name; of one name, the first counts.
///
/// <https://packaging.python.org/en/latest/specifications/recording-installed-packages/>
pub(super) fn distributions(facts: &InventoryFacts, directories: &[String]) -> Vec<InstalledFiles> {
    let mut found = BTreeMap::new();
    for directory in directories {
        for installed in in_directory(facts, directory) {
            found.entry(installed.distribution.name.clone()).or_insert(installed);
        }
    }
    found.into_values().collect()
}

/// The distributions in every other directory of packages, which the chosen interpreter does not search but whose
/// CUDA libraries are there all the same.
pub(super) fn elsewhere(facts: &InventoryFacts, directories: &[String]) -> Vec<InstalledFiles> {
    let mut others: Vec<String> = Vec::new();
    for (path, _) in facts.texts() {
        let Some((info, "METADATA")) = path.rsplit_once('/') else { continue };
        let Some((directory, _)) = info.rsplit_once('/') else { continue };
        let known = directories.iter().chain(&others).any(|known| known == directory);
        if !known && info.ends_with(".dist-info") {
            others.push(directory.to_owned());
        }
    }
    others.iter().flat_map(|directory| in_directory(facts, directory)).collect()
}

/// The distributions in one directory.
pub(super) fn in_directory(facts: &InventoryFacts, directory: &str) -> Vec<InstalledFiles> {
    let Some(real) = facts.resolve(directory) else { return Vec::new() };
    let inside = real.len() + 1;
    let texts = facts.below(&real).filter_map(|(path, _)| {
        let depth = path[inside..].matches('/').count();
        let info = match path.rsplit_once('/')? {
            (info, "METADATA") if info.ends_with(".dist-info") && depth == 1 => info,
            (info, "PKG-INFO") if info.ends_with(".egg-info") && depth == 1 => info,
            _ if path.ends_with(".egg-info") && depth == 0 => path,
            _ => return None,
        };
        Some((info, facts.read(path)?))
    });
    // What has no name or version is installed as far as no one can tell.
    texts.filter_map(|(info, text)| read(facts, &real, info, text)).collect()
}

fn read(facts: &InventoryFacts, directory: &str, info: &str, text: &str) -> Option<InstalledFiles> {
    let fields = |name: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        lines
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
            .take(MOST_REQUIREMENTS)
            .collect()
    };
    // Their requirements are kept as written: one that is malformed is for whoever asks what it says.
    let named = format!("Name: {}\nVersion: {}\n", fields("Name").first()?, fields("Version").first()?);
    let known = metadata::parse(&named).ok()?;
    let rows =
        facts.read(&join(info, "RECORD")).and_then(|text| record::parse(text).ok()).unwrap_or_default();
    let sizes: BTreeMap<String, Option<u64>> = rows
        .iter()
        .map(|Row { path, size, .. }| (record::place(directory, path), size.parse().ok()))
        .collect();
    let installer = facts.read(&join(info, "INSTALLER")).map(str::trim).unwrap_or_default();
    let of_system = is_of_debian(directory) || ["conda", "debian", "dpkg", "rpm"].contains(&installer);
    Some(InstalledFiles {
        distribution: InstalledDistribution {
            name: known.name,
            version: known.version,
            directory: info.to_owned(),
            requires_dist: requires(facts, info, fields("Requires-Dist")),
            provides_extra: fields("Provides-Extra"),
            files: sizes.keys().cloned().collect(),
            of_system,
            texts: texts(facts, info, text),
        },
        sizes,
    })
}

/// The requirements of a distribution: those of an `.egg-info` may be in a file of their own.
fn requires(facts: &InventoryFacts, info: &str, of_metadata: Vec<String>) -> Vec<String> {
    match facts.read(&join(info, "requires.txt")).filter(|_| of_metadata.is_empty()) {
        Some(text) => metadata::requires_of_egg(text),
        None => of_metadata,
    }
}

/// The files of a distribution that requires CUDA components.
fn texts(facts: &InventoryFacts, info: &str, metadata: &str) -> Option<InstalledTexts> {
    let requirements = metadata.lines().filter_map(|line| line.strip_prefix("Requires-Dist:"));
    let names = requirements.filter_map(|requirement| {
        requirement.trim().split(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))).next()
    });
    let normalized = |name: &str| name.to_ascii_lowercase().replace(['_', '.'], "-");
    let asks = names.map(normalized).any(|name| ComponentWheel::of(&name).is_some());
    let record = facts.read(&join(info, "RECORD")).filter(|_| asks)?;
    Some(InstalledTexts { metadata: metadata.to_owned(), record: record.to_owned() })
}

/// Returns whether only Debian's packages put things here.
fn is_of_debian(directory: &str) -> bool {
    directory.starts_with("usr/lib/python3") && directory.ends_with("/dist-packages")
}
