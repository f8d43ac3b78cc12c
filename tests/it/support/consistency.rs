//! The consistency of a resolution, judged by recorded metadata alone: nothing of the resolver is used.

use std::collections::{BTreeMap, BTreeSet};

use imgforge::cuda::{ComponentWheel, is_dispensable};
use imgforge::pypa::metadata::Requirement;
use imgforge::pypa::target::Target;
use imgforge::recipe::Policy;
use uv_normalize::{ExtraName, PackageName};
use uv_pep440::{Operator, Version, VersionSpecifier, VersionSpecifiers};
use uv_pep508::VersionOrUrl;

use super::record::Record;
use super::resolution::{Installed, Part, Resolved};

/// The judge of a resolution.
pub struct Judge<'a> {
    pub record: &'a Record,
    pub target: &'a Target,
    pub roots: &'a [Requirement],
    /// Nothing uploaded at or after this moment may be installed.
    pub exclude_newer: i64,
    pub policy: Policy,
}

type Extras = BTreeMap<PackageName, BTreeSet<ExtraName>>;
type Active = Vec<(String, Requirement)>;

impl Judge<'_> {
    /// The faults of `resolved`, a sentence each.
    pub fn faults(&self, resolved: &Resolved) -> Vec<String> {
        let extras = self.extras(resolved);
        let active = self.active(resolved, &extras);
        let wheels = resolved.installed.iter().flat_map(|installed| self.of_the_wheel(installed, &active));
        wheels
            .chain(twice(resolved))
            .chain(active.iter().filter_map(|(by, requirement)| self.unmet(by, requirement, resolved)))
            .chain(self.in_the_eyes_of_pip(resolved, &extras))
            .chain(needless(resolved, &active))
            .collect()
    }

    /// The extras that are asked for, by project.
    fn extras(&self, resolved: &Resolved) -> Extras {
        let mut extras = Extras::new();
        loop {
            let mut more = extras.clone();
            for (_, requirement) in self.active(resolved, &extras) {
                more.entry(requirement.name).or_default().extend(requirement.extras);
            }
            if more == extras {
                return extras;
            }
            extras = more;
        }
    }

    /// The requirements that apply, by who makes them.
    fn active(&self, resolved: &Resolved, extras: &Extras) -> Active {
        let none = BTreeSet::new();
        let roots = self.roots.iter().filter(|root| self.applies(root, &none));
        let mut active: Active = roots.map(|root| ("the recipe".to_owned(), root.clone())).collect();
        for installed in &resolved.installed {
            let extras = extras.get(&installed.name).unwrap_or(&none);
            let requires = installed.metadata.requires_dist.iter();
            let applying = requires.filter(|requirement| self.applies(requirement, extras));
            active.extend(applying.map(|requirement| (told(installed), requirement.clone())));
        }
        active
    }

    fn applies(&self, requirement: &Requirement, extras: &BTreeSet<ExtraName>) -> bool {
        let extras: Vec<ExtraName> = extras.iter().cloned().collect();
        requirement.evaluate_markers(self.target.markers(), &extras)
    }

    /// The faults of the wheel of `installed`, or of its metadata.
    fn of_the_wheel(&self, installed: &Installed, active: &Active) -> Vec<String> {
        let wheels = self.record.wheels(&installed.name);
        let recorded = wheels.iter().find(|(file, _)| file.filename == installed.wheel.filename);
        let Some((file, Some(metadata))) = recorded else {
            return vec![format!("{} is installed from a wheel of nowhere", told(installed))];
        };
        let admits = file.requires_python.as_ref().is_none_or(|python| self.target.admits(python));
        let is_pinned = active.iter().any(|(_, requirement)| {
            requirement.name == installed.name
                && specifiers(requirement)
                    .iter()
                    .any(|specifier| is_pin(specifier) && *specifier.version() == installed.version)
        });
        let claims = [
            (*file == installed.wheel, "another wheel than the index's"),
            (*metadata == installed.metadata, "other metadata than its wheel's"),
            (file.filename.version == installed.version, "another version than its wheel's"),
            (self.target.fit(&file.filename).is_ok() && admits, "a wheel for another target"),
            (file.upload_time.is_some_and(|time| time < self.exclude_newer), "a wheel that is too new"),
            (file.yanked.is_none() || is_pinned, "a yanked wheel"),
        ];
        let wrong = claims.into_iter().filter(|(holds, _)| !holds);
        wrong.map(|(_, fault)| format!("{} has {fault}", told(installed))).collect()
    }

    /// Returns whether nothing that is installed meets what `by` requires.
    fn unmet(&self, by: &str, requirement: &Requirement, resolved: &Resolved) -> Option<String> {
        let shared = self.policy == Policy::Shared;
        let mut candidates = resolved.installed.iter().filter(|i| i.name == requirement.name).peekable();
        if shared && candidates.peek().is_none() && is_dispensable(requirement.name.as_str()) {
            return None;
        }
        let as_floor = shared && ComponentWheel::of(requirement.name.as_str()).is_some();
        let asked = specifiers(requirement);
        let is_met = candidates.any(|installed| match as_floor {
            true => serves(&asked, &installed.version),
            false => asked.contains(&installed.version),
        });
        (!is_met).then(|| format!("nothing meets that {by} requires {requirement}"))
    }

    /// The findings of `pip check`, if it looked at extras too.
    fn in_the_eyes_of_pip(&self, resolved: &Resolved, extras: &Extras) -> Vec<String> {
        let seen: BTreeMap<&PackageName, &Installed> = resolved
            .installed
            .iter()
            .filter(|installed| installed.is_visible())
            .map(|installed| (&installed.name, installed))
            .collect();
        let mut faults = Vec::new();
        for installed in seen.values() {
            let extras = extras.get(&installed.name).cloned().unwrap_or_default();
            let written: BTreeMap<String, &Requirement> =
                installed.metadata.requires_dist.iter().map(|r| (r.to_string(), r)).collect();
            for (original, relaxed) in &installed.relaxed {
                let new: Requirement = relaxed.parse().unwrap();
                let is_faithful = written.get(original).is_some_and(|original| {
                    let is_component = ComponentWheel::of(original.name.as_str()).is_some();
                    let rest = |requirement: &Requirement| Requirement {
                        version_or_url: None,
                        ..requirement.clone()
                    };
                    is_component && rest(original) == rest(&new)
                });
                if !is_faithful {
                    faults.push(format!("{}: {original} was relaxed to {relaxed}", told(installed)));
                }
            }
            for (text, original) in written {
                let relaxed = installed.relaxed.get(&text).map(|relaxed| relaxed.parse().unwrap());
                let requirement: Requirement = relaxed.unwrap_or_else(|| original.clone());
                let is_met = seen
                    .get(&requirement.name)
                    .is_some_and(|seen| specifiers(&requirement).contains(&seen.version));
                let matters = self.applies(&requirement, &extras);
                if matters && !is_met && !is_dispensable(requirement.name.as_str()) {
                    faults.push(format!("pip sees that {} requires {requirement}", told(installed)));
                }
            }
        }
        faults
    }
}

impl Installed {
    fn is_visible(&self) -> bool {
        !matches!(self.part, Part::Component { visible: false, .. })
    }
}

/// The components that are served or installed more than once.
fn twice(resolved: &Resolved) -> Vec<String> {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for installed in &resolved.installed {
        if installed.is_visible() {
            *counts.entry(format!("{} in pip's eyes", installed.name)).or_default() += 1;
        }
        if let Part::Component { name, .. } = installed.part {
            let (major, generation) = (cuda_major(installed), installed.version.release()[0]);
            *counts.entry(format!("{name} of SONAME {generation} in CUDA {major}")).or_default() += 1;
        }
    }
    counts.retain(|_, count| *count > 1);
    counts.into_keys().map(|what| format!("{what} is there twice")).collect()
}

/// The CUDA major version of a component's wheel. Names without one began with CUDA 13.
fn cuda_major(installed: &Installed) -> u32 {
    match ComponentWheel::of(installed.name.as_str()) {
        Some(ComponentWheel::Carries { major: Some(major), .. }) => major,
        _ => 13,
    }
}

/// The distributions that nothing requires. A toolkit has a runtime in any case: its directory is named after it.
fn needless(resolved: &Resolved, active: &Active) -> Vec<String> {
    let required: BTreeSet<&PackageName> = active.iter().map(|(_, requirement)| &requirement.name).collect();
    let is_needless = |installed: &&Installed| {
        let is_runtime = matches!(installed.part, Part::Component { name: "cuda-runtime", .. });
        !is_runtime && !required.contains(&installed.name)
    };
    let needless = resolved.installed.iter().filter(is_needless);
    needless.map(|installed| format!("{} is required by nothing", told(installed))).collect()
}

fn told(installed: &Installed) -> String {
    format!("{} {}", installed.name, installed.version)
}

/// Returns whether a component at `version` serves who asked for `asked`: a pin means as new, with the same first
/// number, which NVIDIA raises with the SONAME.
fn serves(asked: &VersionSpecifiers, version: &Version) -> bool {
    asked.iter().all(|specifier| match is_pin(specifier) {
        true => version >= specifier.version() && version.release()[0] == specifier.version().release()[0],
        false => specifier.contains(version),
    })
}

fn is_pin(specifier: &VersionSpecifier) -> bool {
    matches!(specifier.operator(), Operator::Equal | Operator::EqualStar | Operator::ExactEqual)
}

/// The versions that `requirement` asks for.
pub fn specifiers(requirement: &Requirement) -> VersionSpecifiers {
    match &requirement.version_or_url {
        Some(VersionOrUrl::VersionSpecifier(specifiers)) => specifiers.clone(),
        None => VersionSpecifiers::empty(),
        Some(VersionOrUrl::Url(_)) => panic!("{requirement} is by URL"),
    }
}
