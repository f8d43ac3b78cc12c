//! Rules for what pip, uv and `importlib.metadata` read of an image.

use std::collections::BTreeMap;

use uv_normalize::ExtraName;
use uv_pep440::Version;
use uv_pep508::VersionOrUrl;

use super::loader::split;
use super::observation::{Deviation, Mismatch, Sample};
use super::world::World;
use super::{About, Finding, Level, Observation, Subject};
use crate::cuda::Component;
use crate::observe::check_facts::{CheckFacts, FileItem, Item};
use crate::pypa::metadata::Requirement;
use crate::pypa::record::Row;

pub(super) fn findings(subject: &Subject<'_>, world: &World<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for index in 0..world.distributions.len() {
        findings.extend(requirements(world, index));
        findings.extend(record(subject.evidence, world, index));
        findings.extend(tags(subject.evidence, world, index));
    }
    findings.extend(collisions(subject.evidence, world));
    findings.extend(world.search_path().iter().flat_map(|directory| broken(subject.evidence, directory)));
    findings
}

/// Distributions whose metadata is a symlink to nothing: to the cache of an installer, which is gone.
fn broken(evidence: &CheckFacts, directory: &str) -> Vec<Finding> {
    let inside = directory.len() + 1;
    let metadata = evidence.below(directory).filter(|(path, _)| {
        path.ends_with(".dist-info/METADATA") && path[inside..].matches('/').count() == 1
    });
    let broken = metadata.filter_map(|(path, item)| match item {
        Item::Symlink(target) if evidence.file(path).is_none() => Some(Finding {
            level: Level::Error,
            subject: About::Path(format!("/{path}")),
            observation: Observation::BrokenLink { target: target.to_string() },
        }),
        _ => None,
    });
    broken.collect()
}

/// The findings of `pip check`: every requirement without an extra, compared with the installed distributions.
fn requirements(world: &World<'_>, index: usize) -> Vec<Finding> {
    let subject = About::Distribution(world.distributions[index].id());
    let mut findings = Vec::new();
    for requirement in world.requirements(index, &[]) {
        if let Some(Unmet { installed }) = unmet(world, requirement) {
            let (name, requirement) = (requirement.name.clone(), requirement.to_string());
            let observation = Observation::UnmetRequirement { requirement, name, installed };
            findings.push(Finding { level: Level::Error, subject: subject.clone(), observation });
            continue;
        }
        let installed = world.named(&requirement.name).filter(|_| !requirement.extras.is_empty());
        let Some(installed) = installed else { continue };
        findings.extend(extras(world, &subject, requirement, installed));
    }
    findings
}

/// Extras stand for further requirements, which `pip check` does not look at.
fn extras(world: &World<'_>, subject: &About, requirement: &Requirement, installed: usize) -> Vec<Finding> {
    let extras: &[ExtraName] = &requirement.extras;
    let plain = world.requirements(installed, &[]);
    let further =
        world.requirements(installed, extras).into_iter().filter(|further| !plain.contains(further));
    let unmet = further.filter_map(|further| unmet(world, further).map(|unmet| (further, unmet)));
    let finding = |(further, unmet): (&Requirement, Unmet)| Finding {
        level: Level::Warning,
        subject: subject.clone(),
        observation: Observation::UnmetExtra {
            requirement: requirement.to_string(),
            further: further.to_string(),
            name: further.name.clone(),
            installed: unmet.installed,
        },
    };
    unmet.map(finding).collect()
}

/// A requirement that nothing installed meets.
struct Unmet {
    /// The version that is installed instead.
    installed: Option<Version>,
}

fn unmet(world: &World<'_>, requirement: &Requirement) -> Option<Unmet> {
    let Some(installed) = world.named(&requirement.name) else { return Some(Unmet { installed: None }) };
    let version = world.distributions[installed].version();
    match &requirement.version_or_url {
        // pip lets pre-releases that are installed count.
        Some(VersionOrUrl::VersionSpecifier(specifiers)) if !specifiers.contains(version) => {
            Some(Unmet { installed: Some(version.clone()) })
        }
        _ => None,
    }
}

/// Compares the files of a distribution with its RECORD.
fn record(evidence: &CheckFacts, world: &World<'_>, index: usize) -> Option<Finding> {
    let distribution = &world.distributions[index];
    if distribution.installed.of_system {
        return None;
    }
    let mismatch = |(path, row): (&String, &Row)| {
        let is = match evidence.file(path) {
            // Interpreters and installers write bytecode again.
            _ if path.ends_with(".pyc") => None,
            None => Some(Deviation::Missing),
            Some((_, file)) => deviation(file, row),
        };
        is.map(|is| Mismatch { file: format!("/{path}"), is })
    };
    let files = Sample::of(distribution.rows.iter().filter_map(mismatch).collect())?;
    Some(Finding {
        level: Level::Warning,
        subject: About::Distribution(distribution.id()),
        observation: Observation::RecordMismatch { files },
    })
}

fn deviation(file: &FileItem, row: &Row) -> Option<Deviation> {
    let size: Option<u64> = row.size.parse().ok();
    if size.is_some_and(|size| size != file.size) {
        return Some(Deviation::OtherSize);
    }
    let expected = Row::new("", &file.digest()?, file.size).hash;
    let is_sha256 = row.hash.starts_with("sha256=");
    (is_sha256 && row.hash.trim_end_matches('=') != expected).then_some(Deviation::OtherHash)
}

/// Paths that two distributions claim, with different contents.
fn collisions(evidence: &CheckFacts, world: &World<'_>) -> Vec<Finding> {
    let mut claims: BTreeMap<&str, Vec<(usize, &Row)>> = BTreeMap::new();
    for (index, distribution) in world.distributions.iter().enumerate() {
        for (path, row) in &distribution.rows {
            claims.entry(path).or_default().push((index, row));
        }
    }
    let mut pairs: BTreeMap<Vec<usize>, Vec<&str>> = BTreeMap::new();
    for (path, claims) in claims {
        let [(_, first), others @ ..] = claims.as_slice() else { continue };
        if others.iter().any(|(_, row)| row.hash != first.hash && !row.hash.is_empty()) {
            pairs.entry(claims.iter().map(|(index, _)| *index).collect()).or_default().push(path);
        }
    }
    pairs.into_iter().filter_map(|(owners, paths)| collision(evidence, world, &owners, &paths)).collect()
}

/// The paths that these distributions claim, each with other contents.
fn collision(evidence: &CheckFacts, world: &World<'_>, owners: &[usize], paths: &[&str]) -> Option<Finding> {
    let id = |index: &usize| world.distributions[*index].id();
    let (first, others) = owners.split_first()?;
    let file = evidence.file(paths.first()?).map(|(_, file)| file);
    let winner = owners.iter().find(|index| {
        let row = &world.distributions[**index].rows[paths[0]];
        file.is_some_and(|file| deviation(file, row).is_none())
    });
    let named = |is: fn(&str) -> bool| paths.iter().any(|path| is(split(path).1));
    // One CUDA library in the place of another breaks what was built for that. Others are mostly variants of one package.
    let level = match () {
        () if named(|name| Component::of_library(name).is_some()) => Level::Error,
        () if named(|name| name.contains(".so")) => Level::Warning,
        () => Level::Note,
    };
    let observation = Observation::FileCollision {
        paths: Sample::of(paths.iter().map(|path| format!("/{path}")).collect())?,
        others: others.iter().map(id).collect(),
        winner: winner.map(id),
    };
    Some(Finding { level, subject: About::Distribution(id(first)), observation })
}

/// Returns whether the wheel that a distribution was installed from suits the image.
fn tags(evidence: &CheckFacts, world: &World<'_>, index: usize) -> Option<Finding> {
    let distribution = &world.distributions[index];
    let target = world.target.as_ref()?;
    let text = evidence.text(&format!("{}/WHEEL", distribution.installed.directory))?;
    let text = String::from_utf8_lossy(text);
    let tags = text.lines().filter_map(|line| line.strip_prefix("Tag:")).map(str::trim);
    // Some say less than a tag, which tells nothing: `py3-manylinux_2_28_x86_64`.
    let tags: Vec<&str> = tags.filter(|tag| tag.split('-').count() == 3).collect();
    if tags.is_empty() || tags.iter().any(|tag| target.suits(tag)) {
        return None;
    }
    let (major, minor) = target.glibc();
    Some(Finding {
        level: Level::Error,
        subject: About::Distribution(distribution.id()),
        observation: Observation::WheelTag {
            tags: tags.into_iter().map(str::to_owned).collect(),
            python: target.python().to_string(),
            glibc: format!("{major}.{minor}"),
        },
    })
}
