//! Rules for what pip, uv and `importlib.metadata` read of an image.

use std::collections::BTreeMap;

use uv_normalize::ExtraName;
use uv_pep508::VersionOrUrl;

use super::finding::and_more;
use super::loader::split;
use super::world::World;
use super::{Finding, Level, Rule, Subject};
use crate::cuda::{Component, ComponentWheel};
use crate::observe::check_facts::{CheckFacts, FileItem};
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
    findings
}

/// What `pip check` says: every requirement without an extra, held against what is installed.
fn requirements(world: &World<'_>, index: usize) -> Vec<Finding> {
    let title = world.distributions[index].title();
    let mut findings = Vec::new();
    for requirement in world.requirements(index, &[]) {
        let installed = world.named(&requirement.name);
        if let Some(problem) = unmet(world, requirement) {
            findings.push(Finding {
                level: Level::Error,
                rule: Rule::UnmetRequirement,
                subject: title.clone(),
                seen: format!("it requires `{requirement}`, and {problem}"),
                fix: remedy(requirement),
            });
            continue;
        }
        let Some(installed) = installed.filter(|_| !requirement.extras.is_empty()) else { continue };
        findings.extend(extras(world, &title, requirement, installed));
    }
    findings
}

/// Extras stand for further requirements, which `pip check` does not look at.
fn extras(world: &World<'_>, title: &str, requirement: &Requirement, installed: usize) -> Vec<Finding> {
    let extras: &[ExtraName] = &requirement.extras;
    let plain = world.requirements(installed, &[]);
    let further =
        world.requirements(installed, extras).into_iter().filter(|further| !plain.contains(further));
    let unmet = further.filter_map(|further| unmet(world, further).map(|problem| (further, problem)));
    let finding = |(further, problem): (&Requirement, String)| Finding {
        level: Level::Warning,
        rule: Rule::UnmetExtra,
        subject: title.to_owned(),
        seen: format!("it requires `{requirement}`, which requires `{further}`, and {problem}"),
        fix: remedy(further),
    };
    unmet.map(finding).collect()
}

fn unmet(world: &World<'_>, requirement: &Requirement) -> Option<String> {
    let Some(installed) = world.named(&requirement.name) else {
        return Some("it is not installed".to_owned());
    };
    let version = world.distributions[installed].version();
    match &requirement.version_or_url {
        // pip lets pre-releases that are installed count.
        Some(VersionOrUrl::VersionSpecifier(specifiers)) if !specifiers.contains(version) => {
            Some(format!("{version} is installed"))
        }
        _ => None,
    }
}

fn remedy(requirement: &Requirement) -> String {
    match ComponentWheel::of(requirement.name.as_ref()) {
        Some(_) => {
            "build the image with imgforge, which writes metadata that is true of a shared CUDA".to_owned()
        }
        None => format!("add `{}` to `packages`", requirement.name),
    }
}

/// Holds the files of a distribution against its RECORD.
fn record(evidence: &CheckFacts, world: &World<'_>, index: usize) -> Option<Finding> {
    let distribution = &world.distributions[index];
    if distribution.installed.of_system {
        return None;
    }
    let mut wrong: Vec<String> = Vec::new();
    for (path, row) in &distribution.rows {
        let problem = match evidence.file(path) {
            None if path.ends_with(".pyc") => None,
            None => Some("is not there"),
            Some((_, file)) => differs(file, row),
        };
        wrong.extend(problem.map(|problem| format!("/{path} {problem}")));
    }
    let first = wrong.first()?;
    let more = match wrong.len() - 1 {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    Some(Finding {
        level: Level::Warning,
        rule: Rule::RecordMismatch,
        subject: distribution.title(),
        seen: format!("{first}{more}"),
        fix: format!("install `{}` again, last of those that share its files", distribution.installed.name),
    })
}

fn differs(file: &FileItem, row: &Row) -> Option<&'static str> {
    let size: Option<u64> = row.size.parse().ok();
    if size.is_some_and(|size| size != file.size) {
        return Some("has another size than its RECORD says");
    }
    let digest = file.digest.as_ref()?;
    let expected = Row::new("", digest, file.size).hash;
    let is_sha256 = row.hash.starts_with("sha256=");
    (is_sha256 && row.hash.trim_end_matches('=') != expected)
        .then_some("has another hash than its RECORD says")
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
    let finding = |(owners, paths): (Vec<usize>, Vec<&str>)| {
        let names: Vec<String> = owners.iter().map(|index| world.distributions[*index].title()).collect();
        let winner = owners.iter().find(|index| {
            let distribution = &world.distributions[**index];
            let file = evidence.file(paths[0]).map(|(_, file)| file);
            file.is_some_and(|file| differs(file, &distribution.rows[paths[0]]).is_none())
        });
        let winner =
            winner.map(|index| format!("; the file is that of {}", world.distributions[*index].title()));
        let more = and_more(paths.len() - 1);
        let named = |is: fn(&str) -> bool| paths.iter().any(|path| is(split(path).1));
        // One CUDA library in the place of another breaks what was built for that. Others are mostly variants of one package.
        let level = match () {
            () if named(|name| Component::of_library(name).is_some()) => Level::Error,
            () if named(|name| name.contains(".so")) => Level::Warning,
            () => Level::Note,
        };
        Finding {
            level,
            rule: Rule::FileCollision,
            subject: names[0].clone(),
            seen: format!(
                "/{}{more} are also of {}{}",
                paths[0],
                names[1..].join(" and "),
                winner.unwrap_or_default()
            ),
            fix: "keep one of them; of two CUDA majors imgforge serves each from a tree of its own"
                .to_owned(),
        }
    };
    pairs.into_iter().map(finding).collect()
}

/// Whether the wheel that a distribution was installed from suits the image.
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
        rule: Rule::WheelTag,
        subject: distribution.title(),
        seen: format!(
            "it was built for {}, and the image has Python {} with glibc {major}.{minor}",
            tags.join(", "),
            target.python()
        ),
        fix: "install the wheel for this image, or use another base".to_owned(),
    })
}
