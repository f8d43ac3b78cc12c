//! The truth of a refusal: the named projects must be installed, have the stated requirements, and these
//! excludes each other. Judged by recorded metadata alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imgforge::pypa::metadata::{CoreMetadata, Requirement};
use imgforge::pypa::target::Target;
use imgforge::resolve::solve::{Conflict, Required, Requirer};
use pubgrub::Ranges;
use uv_normalize::{ExtraName, PackageName};
use uv_pep440::{Version, strip_local_version_sentinels};

use super::consistency::specifiers;
use super::record::Record;

/// The witness of a refusal.
pub struct Witness<'a> {
    pub record: &'a Record,
    pub target: &'a Target,
    pub roots: &'a [Requirement],
}

/// The consequences of the roots without a choice: the versions of each project, and the extras.
type Forced = BTreeMap<PackageName, (Ranges<Version>, BTreeSet<ExtraName>)>;

impl Witness<'_> {
    /// The faults of `conflict`, a sentence each.
    pub fn faults(&self, conflict: &Conflict) -> Vec<String> {
        let forced = self.forced();
        let made = conflict.requirements.iter().flat_map(|required| match &required.by {
            Requirer::User => self.by_user(conflict, required),
            Requirer::Distribution { name, extra, versions } => {
                self.by_distribution(conflict, required, name, extra.as_ref(), versions, &forced)
            }
        });
        let mut faults: Vec<String> = made.collect();
        let common = conflict.requirements.iter().map(|required| &required.allowed);
        let common = common.fold(Ranges::full(), |common, allowed| common.intersection(allowed));
        if let [_] | [] = conflict.requirements[..] {
            faults.push(format!("{} is required by less than two", conflict.project));
        } else if !common.is_empty() {
            faults.push(format!("all allow {} {}", conflict.project, strip_local_version_sentinels(&common)));
        }
        faults
    }

    fn by_user(&self, conflict: &Conflict, required: &Required) -> Vec<String> {
        let asked = self.roots.iter().filter(|root| root.name == conflict.project);
        let asked = asked.fold(Ranges::full(), |asked, root| asked.intersection(&ranges(root)));
        match asked == required.allowed {
            true => Vec::new(),
            false => vec![format!(
                "the recipe asks for {} {}",
                conflict.project,
                strip_local_version_sentinels(&asked)
            )],
        }
    }

    fn by_distribution(
        &self,
        conflict: &Conflict,
        required: &Required,
        name: &PackageName,
        extra: Option<&ExtraName>,
        versions: &Ranges<Version>,
        forced: &Forced,
    ) -> Vec<String> {
        let Some((range, extras)) = forced.get(name) else {
            return vec![format!("nothing leads to {name}")];
        };
        if !extra.is_none_or(|extra| extras.contains(extra)) {
            return vec![format!("nothing leads to that extra of {name}")];
        }
        let candidates = self.candidates(name, range);
        let mut faults = Vec::new();
        if candidates.is_empty() {
            faults.push(format!("{name} cannot be installed"));
        }
        for (version, metadata) in candidates {
            if !versions.contains(&version) {
                faults.push(format!("{name} {version} may be installed instead"));
            }
            let metadata = metadata.unwrap_or_else(|| panic!("no metadata of {name} {version} is recorded"));
            let extras: BTreeSet<ExtraName> = extra.cloned().into_iter().collect();
            let requires: Vec<Requirement> = self
                .applying(&metadata, &extras)
                .filter(|requirement| requirement.name == conflict.project)
                .cloned()
                .collect();
            let allowed = requires.iter().fold(Ranges::full(), |all, one| all.intersection(&ranges(one)));
            if requires.is_empty() || !allowed.subset_of(&required.allowed) {
                let allowed = strip_local_version_sentinels(&allowed);
                faults.push(format!("{name} {version} allows {} {allowed}", conflict.project));
            }
        }
        faults
    }

    /// Follows every requirement of what has one version left.
    fn forced(&self) -> Forced {
        let mut forced = Forced::new();
        let mut pending: Vec<Requirement> = self.roots.to_vec();
        let mut followed: BTreeSet<(PackageName, Version, BTreeSet<ExtraName>)> = BTreeSet::new();
        while let Some(requirement) = pending.pop() {
            let (range, extras) =
                forced.entry(requirement.name.clone()).or_insert_with(|| (Ranges::full(), BTreeSet::new()));
            *range = range.intersection(&ranges(&requirement));
            extras.extend(requirement.extras.iter().cloned());
            let (range, extras) = (range.clone(), extras.clone());
            if let [(version, Some(metadata))] = &self.candidates(&requirement.name, &range)[..]
                && followed.insert((requirement.name.clone(), version.clone(), extras.clone()))
            {
                pending.extend(self.applying(metadata, &extras).cloned());
            }
        }
        forced
    }

    fn applying<'a>(
        &'a self,
        metadata: &'a CoreMetadata,
        extras: &BTreeSet<ExtraName>,
    ) -> impl Iterator<Item = &'a Requirement> {
        let extras: Vec<ExtraName> = extras.iter().cloned().collect();
        let requires = metadata.requires_dist.iter();
        requires.filter(move |requirement| requirement.evaluate_markers(self.target.markers(), &extras))
    }

    /// The versions of `name` in `range` that have a wheel for the target, with their metadata as far as recorded. None
    /// of a project that was not asked for: who named the culprits did without it.
    fn candidates(
        &self,
        name: &PackageName,
        range: &Ranges<Version>,
    ) -> Vec<(Version, Option<Arc<CoreMetadata>>)> {
        let mut candidates: BTreeMap<Version, Option<Arc<CoreMetadata>>> = BTreeMap::new();
        let wheels = if self.record.has(name) { self.record.wheels(name) } else { Vec::new() };
        for (file, metadata) in wheels {
            let admits = file.requires_python.as_ref().is_none_or(|python| self.target.admits(python));
            let version = &file.filename.version;
            let fits = admits && file.yanked.is_none() && self.target.fit(&file.filename).is_ok();
            if fits && range.contains(version) {
                let known = candidates.entry(version.clone()).or_default();
                *known = known.take().or(metadata);
            }
        }
        candidates.into_iter().collect()
    }
}

/// `PROJECT: WHO VERSIONS & WHO VERSIONS`.
pub fn told(conflict: &Conflict) -> String {
    let required = |required: &Required| {
        let by = match &required.by {
            Requirer::User => "the recipe".to_owned(),
            Requirer::Distribution { name, extra: None, .. } => name.to_string(),
            Requirer::Distribution { name, extra: Some(extra), .. } => format!("{name}[{extra}]"),
        };
        let allowed = strip_local_version_sentinels(&required.allowed);
        let pin = allowed.as_singleton().map(|version| format!("{by} =={version}"));
        pin.unwrap_or_else(|| format!("{by} {allowed}"))
    };
    let requirements: Vec<String> = conflict.requirements.iter().map(required).collect();
    format!("{}: {}", conflict.project, requirements.join(" & "))
}

fn ranges(requirement: &Requirement) -> Ranges<Version> {
    Ranges::from(specifiers(requirement))
}
