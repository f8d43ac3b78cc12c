//! The rules of the choice: the candidates, and the requirements of each.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use pubgrub::Ranges;
use uv_distribution_filename::DistFilename;
use uv_normalize::{ExtraName, PackageName};
use uv_pep440::{Operator, Version, VersionSpecifiers, strip_local_version_sentinels};
use uv_pep508::VersionOrUrl;

use super::{Question, Scout, SetAside, Want};
use crate::credentials::redacted;
use crate::pypa::direct_url;
use crate::pypa::metadata::{CoreMetadata, Requirement};
use crate::pypa::simple::{DistFile, Project};
use crate::pypa::specifiers;
use crate::pypa::target::{Fit, Target};
use crate::recipe::ProjectSet;
use crate::resolve::overrides::Overrides;
use crate::resolve::request::DirectUrls;
use crate::resolve::wheel_choice::{Refusal, WheelChoice, best_wheels};

/// The question's answer to "may this be chosen?".
#[derive(Clone)]
pub(super) struct Rules {
    target: Target,
    exclude_newer: Option<i64>,
    prereleases: ProjectSet,
    set_aside: SetAside,
    overrides: Overrides,
    direct: DirectUrls,
    constraints: BTreeMap<PackageName, Vec<Requirement>>,
    /// Versions that the user pinned, which may be yanked.
    pinned: BTreeMap<PackageName, BTreeSet<Version>>,
    preferences: BTreeMap<PackageName, Version>,
}

/// The versions of a project that may be chosen, with the best wheel of each.
#[derive(Debug)]
pub(super) struct Candidates {
    versions: BTreeMap<Version, usize>,
    /// Takes pre-releases like other versions.
    prereleases: bool,
    /// One of the versions, which goes before all others.
    preferred: Option<Version>,
}

/// A requirement that applies, in the solver's terms.
#[derive(Debug, Clone)]
pub(super) struct Edge {
    pub want: Want,
    /// A direct reference, which no index can serve.
    pub url: Option<String>,
}

impl Rules {
    pub(super) fn new(question: &Question<'_>) -> Self {
        let mut constraints: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for constraint in &question.constraints {
            constraints.entry(constraint.name.clone()).or_default().push(constraint.clone());
        }
        let mut pinned: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        let roots: Vec<Requirement> = question.roots.iter().map(|root| root.requirement.clone()).collect();
        let roots = question.overrides.applied(&roots);
        let bounds = question.constraints.iter().chain(question.overrides.all());
        let mut early = BTreeSet::new();
        for requirement in roots.iter().chain(bounds) {
            pinned.entry(requirement.name.clone()).or_default().extend(pin(requirement));
            early.extend(names_prerelease(requirement).then(|| requirement.name.clone()));
        }
        let mut prereleases = question.prereleases.clone();
        prereleases.extend(&ProjectSet::Projects(early));
        Self {
            target: question.target.clone(),
            exclude_newer: question.exclude_newer,
            prereleases,
            set_aside: question.set_aside.clone(),
            overrides: question.overrides.clone(),
            direct: question.direct.clone(),
            constraints,
            pinned,
            preferences: question.preferences.clone(),
        }
    }

    pub(super) fn is_set_aside(&self, name: &PackageName) -> bool {
        (self.set_aside)(name)
    }

    /// The versions of `project` that may be chosen, with the best wheel of each.
    pub(super) fn candidates(&self, project: &Project) -> Candidates {
        let versions = best_wheels(&project.files, |file| self.judge(file).ok());
        let preferred = self.preferences.get(&project.name).filter(|version| versions.contains_key(version));
        Candidates {
            preferred: preferred.cloned(),
            prereleases: self.prereleases.has(&project.name),
            versions,
        }
    }

    /// The fit of `file`, or the reason why it may not be chosen.
    pub(super) fn judge(&self, file: &DistFile) -> Result<Fit, Refusal> {
        let choice = WheelChoice { target: &self.target, exclude_newer: self.exclude_newer };
        choice.judge(file, self.is_meant(&file.filename.name, &file.filename.version))
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// Returns whether exactly this version is pinned or preferred.
    fn is_meant(&self, name: &PackageName, version: &Version) -> bool {
        let pinned = self.pinned.get(name).is_some_and(|versions| versions.contains(version));
        pinned || self.preferences.get(name) == Some(version)
    }

    /// The requirements of `requirements` that apply on the target and are set aside or not, as `set_aside` says.
    ///
    /// With `extra`, only those that the extra adds.
    fn applicable<'a>(
        &'a self,
        requirements: &'a [Requirement],
        extra: Option<&'a ExtraName>,
        set_aside: bool,
    ) -> impl Iterator<Item = &'a Requirement> {
        requirements
            .iter()
            .filter(move |requirement| self.applies(requirement, extra))
            .filter(move |requirement| self.is_set_aside(&requirement.name) == set_aside)
    }

    /// The requirements of a distribution with `extras` that apply, as [`Self::applicable`]; each once.
    pub(super) fn applicable_with(
        &self,
        requirements: &[Requirement],
        extras: &BTreeSet<ExtraName>,
        set_aside: bool,
    ) -> Vec<Requirement> {
        let requirements = self.overrides.applied(requirements);
        let mut applicable: Vec<Requirement> = Vec::new();
        for extra in std::iter::once(None).chain(extras.iter().map(Some)) {
            for requirement in self.applicable(&requirements, extra, set_aside) {
                if !applicable.contains(requirement) {
                    applicable.push(requirement.clone());
                }
            }
        }
        applicable
    }

    fn applies(&self, requirement: &Requirement, extra: Option<&ExtraName>) -> bool {
        let markers = self.target.markers();
        let without = requirement.evaluate_markers(markers, &[]);
        match extra {
            None => without,
            Some(extra) => !without && requirement.evaluate_markers(markers, std::slice::from_ref(extra)),
        }
    }

    /// The solver's terms for `requirements`: each that applies, followed by the constraints on it.
    pub(super) fn edges(&self, requirements: &[Requirement], extra: Option<&ExtraName>) -> Vec<Edge> {
        let requirements = self.overrides.applied(requirements);
        let mut edges = Vec::new();
        for requirement in self.applicable(&requirements, extra, false) {
            edges.push(self.edge(requirement));
            let constraints = self.constraints.get(&requirement.name).into_iter().flatten();
            let applying = constraints.filter(|constraint| self.applies(constraint, None));
            edges.extend(applying.map(|constraint| self.edge(constraint)));
        }
        edges
    }

    fn edge(&self, requirement: &Requirement) -> Edge {
        let (versions, url) = match &requirement.version_or_url {
            None => (Ranges::full(), None),
            Some(VersionOrUrl::VersionSpecifier(specifiers)) => (Ranges::from(specifiers.clone()), None),
            Some(VersionOrUrl::Url(url)) => (Ranges::full(), Some(url)),
        };
        let direct = self.direct.get(&requirement.name);
        let is_direct = |url: &str| direct.is_some_and(|direct| direct_url::is_same_place(direct, url));
        let url = url.filter(|url| !is_direct(url.as_str()) && !is_direct(&redacted(url)));
        let extras = requirement.extras.to_vec();
        let want = Want { name: requirement.name.clone(), extras, versions };
        Edge { want, url: url.map(|url| redacted(url)) }
    }
}

impl Scout for Rules {
    fn wheel(&self, want: &Want, project: &Project) -> Option<DistFile> {
        let candidates = self.candidates(project);
        let (_, index) = candidates.best(&want.versions)?;
        Some(project.files[index].clone())
    }

    fn wants(&self, want: &Want, metadata: &CoreMetadata) -> Vec<Want> {
        let extras = want.extras.iter().map(Some);
        std::iter::once(None)
            .chain(extras)
            .flat_map(|extra| self.edges(&metadata.requires_dist, extra))
            .map(|edge| edge.want)
            .collect()
    }
}

impl Candidates {
    /// The preferred version if it is in `range`, else the newest there; a pre-release only when there is nothing else, or
    /// where they are taken like other versions.
    pub(super) fn best(&self, range: &Ranges<Version>) -> Option<(&Version, usize)> {
        let newest = |wanted: fn(&Version) -> bool| {
            let is_wanted = |version: &Version| self.prereleases || wanted(version);
            self.versions.iter().rev().find(|(version, _)| is_wanted(version) && range.contains(version))
        };
        let preferred = self
            .preferred
            .as_ref()
            .filter(|version| range.contains(version))
            .and_then(|version| self.versions.get_key_value(version));
        preferred
            .or_else(|| newest(|version| !version.any_prerelease()))
            .or_else(|| newest(Version::any_prerelease))
            .map(|(version, index)| (version, *index))
    }

    /// The wheels of the next `count` versions below `version` in `range`, pre-releases or not as `version` is, where it
    /// matters.
    pub(super) fn below<'a>(
        &'a self,
        version: &'a Version,
        range: &'a Ranges<Version>,
        count: usize,
    ) -> impl Iterator<Item = usize> + 'a {
        self.versions
            .range(..version.clone())
            .rev()
            .filter(move |(other, _)| {
                let is_alike = || other.any_prerelease() == version.any_prerelease();
                (self.prereleases || is_alike()) && range.contains(other)
            })
            .take(count)
            .map(|(_, index)| *index)
    }

    pub(super) fn versions(&self) -> impl DoubleEndedIterator<Item = &Version> {
        self.versions.keys()
    }

    pub(super) fn wheel(&self, version: &Version) -> Option<usize> {
        self.versions.get(version).copied()
    }
}

/// Returns whether a requirement names a pre-release in one of its bounds: such releases are meant, as for pip and uv.
fn names_prerelease(requirement: &Requirement) -> bool {
    let specifiers = specifiers::specifiers(requirement);
    let is_exclusion = |operator: &Operator| matches!(operator, Operator::NotEqual | Operator::NotEqualStar);
    specifiers
        .into_iter()
        .flat_map(|all| all.iter())
        .any(|it| !is_exclusion(it.operator()) && it.version().any_prerelease())
}

/// The version that `requirement` pins with `==` or `===`.
fn pin(requirement: &Requirement) -> Option<Version> {
    specifiers::specifiers(requirement)?
        .iter()
        .find(|specifier| matches!(specifier.operator(), Operator::Equal | Operator::ExactEqual))
        .map(|specifier| specifier.version().clone())
}

/// The reason why a package or version cannot be chosen, beyond what other packages require.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Exclusion {
    /// No index has the project.
    Unknown,
    /// There are versions, but no wheel of them may be chosen.
    Refused,
    /// The metadata of the version is wrong, as told.
    Metadata(String),
    /// The version's metadata asks for another Python than the index said.
    Python(VersionSpecifiers),
    /// The version requires something by URL.
    Url(String),
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("is in no package index"),
            Self::Refused => f.write_str("has no wheel that may be chosen"),
            Self::Metadata(reason) => write!(f, "has wrong metadata ({reason})"),
            Self::Python(specifiers) => write!(f, "needs Python {specifiers}"),
            Self::Url(requirement) => write!(f, "requires `{requirement}` by URL"),
        }
    }
}

/// A project that the solver came across.
pub(super) struct KnownProject {
    pub project: Arc<Project>,
    pub candidates: Candidates,
}

/// Every version of `project` in the index, oldest first.
pub(super) fn versions(project: &Project) -> Vec<Version> {
    let wheels = project.files.iter().map(|file| file.filename.version.clone());
    let others = project.others.iter().filter_map(|name| other_version(name, &project.name));
    wheels.chain(others).collect::<BTreeSet<_>>().into_iter().collect()
}

pub(super) fn other_version(filename: &str, name: &PackageName) -> Option<Version> {
    DistFilename::try_from_filename(filename, name).map(DistFilename::into_version)
}

/// `versions` as version specifiers: `>=1,<2`; alternatives are joined with `or`.
pub(super) fn specifiers(versions: &Ranges<Version>) -> String {
    // An open local part is written as a bare plus.
    let plain = |version: &Version| version.to_string().trim_end_matches('+').to_owned();
    let segments: Vec<_> = strip_local_version_sentinels(versions)
        .iter()
        .map(|(lower, upper)| match (lower, upper) {
            (Bound::Included(lower), Bound::Included(upper)) if lower == upper => {
                format!("=={}", plain(lower))
            }
            (lower, upper) => {
                let lower = match lower {
                    Bound::Included(version) => Some(format!(">={}", plain(version))),
                    Bound::Excluded(version) => Some(format!(">{}", plain(version))),
                    Bound::Unbounded => None,
                };
                let upper = match upper {
                    Bound::Included(version) => Some(format!("<={}", plain(version))),
                    Bound::Excluded(version) => Some(format!("<{}", plain(version))),
                    Bound::Unbounded => None,
                };
                lower.into_iter().chain(upper).collect::<Vec<_>>().join(",")
            }
        })
        .collect();
    segments.join(" or ")
}
