//! The reason why there is no solution, in sentences.
//!
//! PubGrub's proof names every version it tried. Here the facts of the proof are gathered by who requires whom,
//! and each project that nobody can agree on gets one sentence with the chains that lead to it.

use std::cmp::Reverse;
use std::collections::btree_map;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use pubgrub::{DerivationTree, External, Ranges};
use uv_normalize::PackageName;
use uv_pep440::Version;
use uv_platform_tags::LanguageTag;

use super::platforms::OtherPlatforms;
use super::rules::{Exclusion, KnownProject, Rules, other_version, specifiers, versions};
use super::well_known;
use super::{Conflict, Explanation, Question, Required, Requirer, SolverPackage};
use crate::escape::escaped;
use crate::pypa::specifiers::local_version;
use crate::pypa::target::Misfit;
use crate::resolve::wheel_choice::{Refusal, is_of_python_2};

/// PubGrub's proof that there is no solution.
pub(super) type Derivation = DerivationTree<SolverPackage, Ranges<Version>, Exclusion>;

/// At most so many wheels are listed of a project.
const WHEELS: usize = 10;
/// At most so many sentences are written.
const SENTENCES: usize = 6;

/// Writes the explanation of `tree`.
pub(super) fn explain(
    question: &Question<'_>,
    rules: &Rules,
    known: &BTreeMap<PackageName, Option<Arc<KnownProject>>>,
    tree: &Derivation,
) -> Explanation {
    let mut facts = Facts::default();
    facts.gather(tree);
    let mut writer =
        Writer { question, rules, known, facts: &facts, told: BTreeSet::new(), lists: Vec::new() };
    let contested = writer.contested();
    let conflicts = contested.iter().filter_map(|name| writer.conflict(name)).collect();
    let source_only = contested.iter().filter_map(|name| writer.source_only(name)).collect();
    let mut sentences: Vec<_> = contested.into_iter().map(|name| writer.sentence(name)).collect();
    let left_out = sentences.len().saturating_sub(SENTENCES);
    sentences.truncate(SENTENCES);
    if left_out > 0 {
        sentences.push(format!("(And {left_out} more projects that nobody can agree on.)"));
    }
    sentences.append(&mut writer.lists);
    let hint = writer.hint();
    let lines: Vec<_> = sentences.iter().map(|sentence| escaped(sentence)).collect();
    Explanation { text: lines.join("\n"), conflicts, source_only, hint }
}

/// Versions that require something, and the versions they require of it.
type Edge = (Ranges<Version>, Ranges<Version>);

/// The leaves of a proof.
#[derive(Default)]
struct Facts {
    /// The requirements between projects, with the versions of both: several when versions of the one differ in what
    /// they require of the other.
    requires: BTreeMap<(PackageName, SolverPackage), Vec<Edge>>,
    unusable: BTreeMap<PackageName, Vec<(Ranges<Version>, Exclusion)>>,
    /// In the order of the proof, the deepest first.
    order: Vec<PackageName>,
}

impl Facts {
    fn gather(&mut self, tree: &Derivation) {
        let mut seen = BTreeSet::new();
        let mut stack = vec![tree];
        while let Some(tree) = stack.pop() {
            match tree {
                DerivationTree::Derived(derived) => {
                    if derived.shared_id.is_none_or(|id| seen.insert(id)) {
                        stack.extend([&*derived.cause2, &*derived.cause1]);
                    }
                }
                DerivationTree::External(external) => self.add(external),
            }
        }
        self.order.reverse();
    }

    fn add(&mut self, external: &External<SolverPackage, Ranges<Version>, Exclusion>) {
        match external {
            External::NotRoot(..) => {}
            External::NoVersions(package, _) => self.order.extend(package.name().cloned()),
            External::Custom(package, versions, reason) => {
                let Some(name) = package.name() else { return };
                let unusable = self.unusable.entry(name.clone()).or_default();
                match unusable.iter_mut().find(|(_, known)| known == reason) {
                    Some((known, _)) => *known = known.union(versions),
                    None => unusable.push((versions.clone(), reason.clone())),
                }
                self.order.push(name.clone());
            }
            External::FromDependencyOf(dependent, from, dependency, to) => {
                let Some(name) = dependency.name() else { return };
                // An extra has its project's version: that says nothing.
                if dependent.name() == Some(name) && to.subset_of(from) {
                    return;
                }
                let edges = self.requires.entry((name.clone(), dependent.clone())).or_default();
                match edges.iter_mut().find(|(_, known)| known == to) {
                    Some((known, _)) => *known = known.union(from),
                    None => edges.push((from.clone(), to.clone())),
                }
                self.order.push(name.clone());
            }
        }
    }

    /// The projects that require `name`.
    fn dependents<'a>(&'a self, name: &'a PackageName) -> impl Iterator<Item = &'a SolverPackage> + 'a {
        self.requires.keys().filter(move |(required, _)| required == name).map(|(_, dependent)| dependent)
    }

    /// The requirements that lead from the user to `package`, first to last.
    fn chain<'a>(&'a self, package: &'a SolverPackage) -> Vec<(&'a SolverPackage, &'a PackageName)> {
        let mut required_by: BTreeMap<&PackageName, &SolverPackage> = BTreeMap::new();
        let mut frontier = VecDeque::from([None]);
        while let Some(current) = frontier.pop_front() {
            for (name, dependent) in self.requires.keys().filter(|(_, dependent)| dependent.name() == current)
            {
                if let btree_map::Entry::Vacant(entry) = required_by.entry(name) {
                    entry.insert(dependent);
                    frontier.push_back(Some(name));
                }
            }
        }
        let mut chain = Vec::new();
        let mut at = package.name();
        while let Some((name, dependent)) = at.and_then(|name| Some((name, required_by.remove(name)?))) {
            chain.push((dependent, name));
            at = dependent.name();
        }
        chain.reverse();
        chain
    }
}

struct Writer<'a> {
    question: &'a Question<'a>,
    rules: &'a Rules,
    known: &'a BTreeMap<PackageName, Option<Arc<KnownProject>>>,
    facts: &'a Facts,
    /// The requirements that were already mentioned.
    told: BTreeSet<(SolverPackage, PackageName)>,
    /// Wheels and why they do not fit, below the sentences.
    lists: Vec<String>,
}

impl<'a> Writer<'a> {
    /// The projects nobody can agree on: required by several, or not to be had as required.
    fn contested(&self) -> Vec<&'a PackageName> {
        let mut names = Vec::new();
        for name in &self.facts.order {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let is_contested =
            |name: &&PackageName| self.facts.dependents(name).count() > 1 || self.is_unusable(name);
        let contested: Vec<_> = names.iter().copied().filter(is_contested).collect();
        if contested.is_empty() { names } else { contested }
    }

    /// Returns whether something is wrong with `name` itself.
    fn is_unusable(&self, name: &PackageName) -> bool {
        let mut reasons = self.facts.unusable.get(name).into_iter().flatten();
        let wrong = reasons.any(|(_, reason)| *reason != Exclusion::Refused);
        wrong || !self.unmet(name).is_empty() || !self.is_usable(name, &self.common(name))
    }

    /// Returns whether a version of `name` in `versions` may be chosen, or nobody knows.
    fn is_usable(&self, name: &PackageName, versions: &Ranges<Version>) -> bool {
        let known = self.known.get(name).and_then(Option::as_ref);
        known.is_none_or(|known| known.candidates.versions().any(|version| versions.contains(version)))
    }

    /// The versions of `name` that something requires although none of them may be chosen.
    fn unmet(&self, name: &PackageName) -> Ranges<Version> {
        let required = self.facts.requires.iter().filter(|((required, _), _)| required == name);
        let ranges = required.flat_map(|(_, edges)| edges).map(|(_, to)| to);
        ranges.filter(|to| !self.is_usable(name, to)).fold(Ranges::empty(), |unmet, to| unmet.union(to))
    }

    /// The requirements on `name`, if no version of it meets them all.
    fn conflict(&self, name: &PackageName) -> Option<Conflict> {
        let common = self.common(name);
        if !common.is_empty() && self.is_usable(name, &common) {
            return None;
        }
        let required = self.facts.requires.iter().filter(|((required, _), _)| required == name);
        let requirements = required.map(|((_, dependent), edges)| {
            let versions = edges.iter().fold(Ranges::empty(), |versions, (from, _)| versions.union(from));
            let by = match dependent.clone() {
                SolverPackage::Root => Requirer::User,
                SolverPackage::Project(name) => Requirer::Distribution { name, extra: None, versions },
                SolverPackage::Extra(name, extra) => {
                    Requirer::Distribution { name, extra: Some(extra), versions }
                }
            };
            Required { by, allowed: allowed(edges) }
        });
        Some(Conflict { project: name.clone(), requirements: requirements.collect() })
    }

    /// The newest version of `name` among those that are required, if all of them are source distributions.
    fn source_only(&self, name: &PackageName) -> Option<(PackageName, Version)> {
        let unmet = self.unmet(name);
        let wanted = if unmet.is_empty() { self.common(name) } else { unmet };
        let project = &self.known.get(name)?.as_ref()?.project;
        let mut wheels = project.files.iter().filter(|file| !is_of_python_2(file));
        let has_wheel = wheels.any(|file| wanted.contains(&file.filename.version));
        let sources = project.others.iter().filter_map(|other| other_version(other, name));
        let newest = sources
            .filter(|version| wanted.contains(version) && !has_wheel)
            .max_by_key(|version| (!version.any_prerelease(), version.clone()));
        Some((name.clone(), newest?))
    }

    /// The reason why nobody can agree on `name`.
    fn sentence(&mut self, name: &'a PackageName) -> String {
        let facts = self.facts;
        let mut chains = Vec::new();
        for dependent in facts.dependents(name) {
            let mut links = facts.chain(dependent);
            links.push((dependent, name));
            chains.push(self.chain(&links));
        }
        chains.retain(|chain| !chain.is_empty());
        let conclusion = self.conclusion(name, chains.len());
        match chains.as_slice() {
            [] => capitalized(&format!("{conclusion}.")),
            [only] => capitalized(&format!("{only}, but {conclusion}.")),
            several => format!("Because {}, {conclusion}.", several.join(", while ")),
        }
    }

    /// The requirements `links`, of which only the last is worth repeating from an earlier sentence.
    fn chain(&mut self, links: &[(&SolverPackage, &PackageName)]) -> String {
        let mut clauses = Vec::new();
        for (index, (dependent, name)) in links.iter().enumerate() {
            let is_new = self.told.insert(((*dependent).clone(), (*name).clone()));
            let is_last = index + 1 == links.len();
            if **dependent == SolverPackage::Root {
                // Otherwise the next clause says where its subject comes from.
                clauses.extend(is_last.then(|| self.root_clause(name)));
            } else if is_new || is_last {
                let from_root = index == 1;
                clauses.extend(self.edge_clause(dependent, name, from_root));
            }
        }
        clauses.join(", and ")
    }

    fn root_clause(&self, name: &PackageName) -> String {
        let roots = self.question.roots.iter().filter(|root| root.requirement.name == *name);
        let asked: Vec<_> = roots.map(|root| format!("{} asks for {}", root.source, root.shown())).collect();
        let bounds = self.question.constraints.iter().filter(|constraint| constraint.name == *name);
        let bounds = bounds.map(|constraint| format!("the constraints allow only {constraint}"));
        asked.into_iter().chain(bounds).collect::<Vec<_>>().join(" and ")
    }

    /// The clause for the requirement of `dependent` on `name`; with `from_root`, also who asked for `dependent`.
    fn edge_clause(&self, dependent: &SolverPackage, name: &PackageName, from_root: bool) -> Option<String> {
        let edges = self.facts.requires.get(&(name.clone(), dependent.clone()))?;
        let from = edges.iter().fold(Ranges::empty(), |from, (versions, _)| from.union(versions));
        let to = allowed(edges);
        let subject = self.subject(dependent, &from);
        let origin = if from_root { self.origin(dependent) } else { String::new() };
        let bounded = self.question.constraints.iter().any(|constraint| constraint.name == *name);
        let bounds = if bounded { " within the constraints" } else { "" };
        let versions = if edges.len() > 1 { self.bounds(name, &to) } else { specifiers(&to) };
        Some(format!("{subject}{origin} depends on {name}{versions}{bounds}"))
    }

    /// The place where the user asked for `package`: ` (from the recipe)`.
    fn origin(&self, package: &SolverPackage) -> String {
        let asked = |root: &&crate::recipe::RootRequirement| Some(&root.requirement.name) == package.name();
        let sources: BTreeSet<_> =
            self.question.roots.iter().filter(asked).map(|root| format!("from {}", root.source)).collect();
        match sources.is_empty() {
            true => String::new(),
            false => format!(" ({})", sources.into_iter().collect::<Vec<_>>().join(", ")),
        }
    }

    /// `torch 2.6.0`, `every version of torch`, `torch>=2,<3`.
    fn subject(&self, package: &SolverPackage, versions: &Ranges<Version>) -> String {
        let Some(name) = package.name() else { return package.to_string() };
        let usable = self.usable(name);
        let inside: Vec<_> = usable.iter().filter(|version| versions.contains(version)).collect();
        match inside.as_slice() {
            [only] => format!("{package} {only}"),
            all if all.len() == usable.len() => format!("every version of {package}"),
            _ => {
                format!("{package}{}", specifiers(&versions.narrow_versions(&usable).simplify(usable.iter())))
            }
        }
    }

    /// The versions of `name` that may be chosen: nothing else requires anything.
    fn usable(&self, name: &PackageName) -> Vec<Version> {
        let known = self.known.get(name).and_then(Option::as_ref);
        known.map_or_else(Vec::new, |known| known.candidates.versions().cloned().collect())
    }

    fn bounds(&self, name: &PackageName, versions: &Ranges<Version>) -> String {
        specifiers(&versions.simplify(self.existing(name).iter()))
    }

    fn existing(&self, name: &PackageName) -> Vec<Version> {
        self.known.get(name).and_then(Option::as_ref).map_or_else(Vec::new, |known| versions(&known.project))
    }

    fn conclusion(&mut self, name: &'a PackageName, chains: usize) -> String {
        let mut conclusions = Vec::new();
        for (versions, reason) in self.facts.unusable.get(name).into_iter().flatten() {
            match reason {
                Exclusion::Refused => {}
                Exclusion::Unknown => conclusions.push(format!("`{name}` is in no package index")),
                reason => {
                    conclusions.push(format!(
                        "{} {reason}",
                        self.subject(&SolverPackage::Project(name.clone()), versions)
                    ));
                }
            }
        }
        let unmet = self.unmet(name);
        let everyone = if chains == 2 { "both" } else { "all" };
        if !unmet.is_empty() {
            conclusions.push(match self.inside(name, &unmet).is_empty() {
                true if self.is_empty(name) => "its page in the package index lists no files".to_owned(),
                true => format!("there is no such version{}", self.nearest(name, &unmet)),
                false => format!("no wheel of {} may be chosen", self.list_wheels(name, &unmet)),
            });
        } else if conclusions.is_empty() {
            let common = self.common(name);
            conclusions.push(match self.inside(name, &common).is_empty() {
                true if self.is_empty(name) => "its page in the package index lists no files".to_owned(),
                true if chains < 2 => format!("there is no such version{}", self.nearest(name, &common)),
                true => format!("no version of {name} suits {everyone}"),
                false => format!(
                    "of what suits {everyone}, {}, no wheel may be chosen",
                    self.list_wheels(name, &common)
                ),
            });
        }
        conclusions.join(", and ")
    }

    /// The versions of `name` that all who require it allow.
    fn common(&self, name: &PackageName) -> Ranges<Version> {
        let required = self.facts.requires.iter().filter(|((required, _), _)| required == name);
        required.fold(Ranges::full(), |common, (_, edges)| common.intersection(&allowed(edges)))
    }

    /// The existing versions of `name` in `versions`, oldest first.
    fn inside(&self, name: &PackageName, versions: &Ranges<Version>) -> Vec<Version> {
        self.existing(name).into_iter().filter(|version| versions.contains(version)).collect()
    }

    /// The versions of `name` that may be chosen and are nearest to `wanted`: those below and above it, or the newest.
    fn nearest(&self, name: &PackageName, wanted: &Ranges<Version>) -> String {
        let usable = self.final_versions(name);
        let bounds = wanted.bounding_range();
        let below = bounds.map_or(usable.len(), |(low, _)| match low {
            Bound::Included(low) | Bound::Excluded(low) => usable.partition_point(|version| version < low),
            Bound::Unbounded => 0,
        });
        if below == usable.len() || wanted.is_empty() {
            return shown_versions("newest that may be chosen", usable.iter().rev().take(3));
        }
        let near = &usable[below.saturating_sub(2)..usable.len().min(below + 2)];
        shown_versions("nearest that may be chosen", near.iter())
    }

    /// The versions of `name` that may be chosen, oldest first, without pre-releases where there are others.
    fn final_versions(&self, name: &PackageName) -> Vec<Version> {
        let all = self.usable(name);
        let only_early = all.iter().all(Version::any_prerelease);
        all.into_iter().filter(|version| only_early || !version.any_prerelease()).collect()
    }

    /// Returns whether an index lists a wheel of `name`, for any target.
    fn has_wheels(&self, name: &PackageName) -> bool {
        let known = self.known.get(name).and_then(Option::as_ref);
        known.is_some_and(|known| !known.project.files.is_empty())
    }

    /// Returns whether an index lists a source distribution of `name` that can be built.
    fn has_sources(&self, name: &PackageName) -> bool {
        let known = self.known.get(name).and_then(Option::as_ref);
        known.is_some_and(|known| !known.project.sources.is_empty())
    }

    /// Lists the files of `name` in `versions` and why each may not be chosen, the most relevant first. Returns what
    /// a sentence calls them.
    fn list_wheels(&mut self, name: &PackageName, versions: &Ranges<Version>) -> String {
        let title = match self.inside(name, versions).as_slice() {
            [only] => format!("{name} {only}"),
            _ => format!("{name}{}", self.bounds(name, versions)),
        };
        let Some(Some(known)) = self.known.get(name) else { return title };
        let (mut lines, mut elsewhere) = (Vec::new(), OtherPlatforms::default());
        for file in known.project.files.iter().filter(|file| versions.contains(&file.filename.version)) {
            let Err(refusal) = self.rules.judge(file) else { continue };
            match self.rules.target().is_platform_of(&file.filename) {
                true => {
                    let line = format!("  {} {}", file.filename, told(&refusal));
                    lines.push((Reverse(file.filename.version.clone()), distance(&refusal), line));
                }
                false => elsewhere.add(&file.filename),
            }
        }
        for other in &known.project.others {
            let Some(version) = other_version(other, name).filter(|version| versions.contains(version))
            else {
                continue;
            };
            lines.push((Reverse(version), u8::MAX, format!("  {other} is not a wheel")));
        }
        lines.sort();
        let more = lines.len().saturating_sub(WHEELS);
        self.lists.extend(lines.into_iter().take(WHEELS).map(|(_, _, line)| line));
        if more > 0 {
            self.lists.push(format!("  and {more} more files of {name}"));
        }
        self.lists.extend(elsewhere.line());
        title
    }

    /// The hint on a project that has the versions that are asked for, none of which may be chosen.
    fn way_around(&self, name: &PackageName) -> String {
        let unmet = self.unmet(name);
        let nearest = self.nearest(name, &unmet);
        let python = self.other_python(name, &unmet).map(|(major, minor)| {
            format!("choose a base with Python {major}.{minor}: `base: python:{major}.{minor}-slim`")
        });
        match (nearest.is_empty(), python) {
            (false, None) => format!("allow another version of `{name}`{nearest}"),
            (false, Some(python)) => format!("allow another version of `{name}`{nearest}, or {python}"),
            (true, python) if self.has_wheels(name) => {
                let built = match self.has_sources(name) {
                    true => format!(", or have its source built: `python: {{build: [{name}]}}`"),
                    false => String::new(),
                };
                match python {
                    Some(python) => format!("{python}{built}"),
                    None => format!(
                        "`{name}` has no wheel for this target at all: another base or Python may fit{built}"
                    ),
                }
            }
            (true, _) => format!(
                "`{name}` publishes source distributions only, so no base or Python helps: build a wheel of it, and \
                 name that under `packages`"
            ),
        }
    }

    /// The newest Python for which there are wheels of `versions`, where they are only for others than the target's.
    fn other_python(&self, name: &PackageName, versions: &Ranges<Version>) -> Option<(u8, u8)> {
        let known = self.known.get(name)?.as_ref()?;
        let files = known.project.files.iter().filter(|file| versions.contains(&file.filename.version));
        let of_platform = files.filter(|file| self.rules.target().is_platform_of(&file.filename));
        let pythons = of_platform.flat_map(|file| match self.rules.judge(file) {
            Err(Refusal::Misfit(Misfit::Python { .. } | Misfit::Abi { .. })) => file.filename.python_tags(),
            _ => &[],
        });
        pythons
            .filter_map(|tag| match tag {
                LanguageTag::CPython { python_version } => Some(*python_version),
                _ => None,
            })
            .max()
    }

    /// Returns whether an index has a page of `name` without files.
    fn is_empty(&self, name: &PackageName) -> bool {
        let known = self.known.get(name).and_then(Option::as_ref);
        known.is_some_and(|known| known.project.files.is_empty() && known.project.others.is_empty())
    }

    /// The hint on a project that no index has.
    fn spelling(&self, name: &PackageName) -> String {
        let known = self.known.iter().filter(|(_, known)| known.is_some()).map(|(name, _)| name.as_ref());
        match well_known::meant(name.as_ref(), known) {
            Some(meant) => format!(
                "did you mean `{meant}`? If `{name}` is meant, add the index that has it under `indexes:`"
            ),
            None => format!("check the spelling of `{name}`, and what `indexes:` and their `packages` say"),
        }
    }

    fn hint(&self) -> Option<String> {
        let reasons = || {
            self.facts
                .unusable
                .iter()
                .flat_map(|(name, reasons)| reasons.iter().map(move |(_, reason)| (name, reason)))
        };
        if let Some((name, _)) = reasons().find(|(_, reason)| **reason == Exclusion::Unknown) {
            return Some(self.spelling(name));
        }
        if let Some((name, Exclusion::Url(url))) =
            reasons().find(|(_, reason)| matches!(reason, Exclusion::Url(_)))
        {
            return Some(format!(
                "imgforge takes no file that {name} alone names: if you trust it, add the wheel at `{url}` to `packages`"
            ));
        }
        let refused =
            self.contested().into_iter().find(|name| !self.inside(name, &self.unmet(name)).is_empty());
        if let Some(name) = refused {
            return Some(self.way_around(name));
        }
        if let Some(name) = self.facts.order.iter().find(|name| self.is_empty(name)) {
            return Some(format!(
                "check the spelling of `{name}`, or add the index that has files of it under `indexes:`"
            ));
        }
        let is_told = |root: &&crate::recipe::RootRequirement| {
            self.told.contains(&(SolverPackage::Root, root.requirement.name.clone()))
        };
        let told: Vec<_> = self.question.roots.iter().filter(is_told).collect();
        if let Some(local) = told.iter().find_map(|root| local_version(&root.requirement)) {
            return Some(format!(
                "versions with `+{local}` are in an index of their own: add it under `indexes:`; without `+{local}`, \
                 `cuda: {{policy: cpu}}` leaves CUDA out, and a framework brings its usual CUDA otherwise"
            ));
        }
        let asked: Vec<_> = told.iter().map(|root| format!("`{}`", root.shown())).collect();
        match asked.as_slice() {
            [] => None,
            [only] => Some(format!("change the version in {only}")),
            several => Some(format!("change a version in, or drop, one of {}", several.join(", "))),
        }
    }
}

/// Versions in brackets, behind a space; nothing where there are none.
fn shown_versions<'v>(kind: &str, versions: impl Iterator<Item = &'v Version>) -> String {
    let versions: Vec<String> = versions.map(Version::to_string).collect();
    match versions.is_empty() {
        true => String::new(),
        false => format!(" (the {kind}: {})", versions.join(", ")),
    }
}

/// The versions that one dependent allows: all requirements of one version hold together, those of several versions are
/// choices.
fn allowed(edges: &[Edge]) -> Ranges<Version> {
    let is_one = edges.iter().all(|(from, _)| Some(from) == edges.first().map(|(first, _)| first));
    match is_one {
        true => edges.iter().fold(Ranges::full(), |allowed, (_, to)| allowed.intersection(to)),
        false => edges.iter().fold(Ranges::empty(), |allowed, (_, to)| allowed.union(to)),
    }
}

/// Starts a sentence; a name keeps its case.
fn capitalized(sentence: &str) -> String {
    match ["the ", "every ", "there ", "no "].iter().any(|word| sentence.starts_with(word)) {
        true => sentence[..1].to_uppercase() + &sentence[1..],
        false => sentence.to_owned(),
    }
}

/// The distance of a file from being chosen.
fn distance(refusal: &Refusal) -> u8 {
    match refusal {
        Refusal::Yanked(_) | Refusal::TooNew | Refusal::NoUploadTime => 0,
        Refusal::Misfit(Misfit::Glibc { .. }) => 1,
        Refusal::Misfit(Misfit::RequiresPython { .. }) => 2,
        Refusal::Misfit(Misfit::Abi { .. }) => 3,
        Refusal::Misfit(Misfit::Platform { .. }) => 4,
        Refusal::Misfit(Misfit::Python { .. }) => 5,
    }
}

fn told(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Misfit(misfit) => misfit.to_string(),
        Refusal::Yanked(reason) if reason.is_empty() => "was yanked".into(),
        Refusal::Yanked(reason) => format!("was yanked: {reason}"),
        Refusal::TooNew => "was uploaded after `exclude-newer`".into(),
        Refusal::NoUploadTime => "has no upload time in the index, which `exclude-newer` needs".into(),
    }
}
