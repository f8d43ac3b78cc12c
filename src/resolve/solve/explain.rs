//! Why there is no solution, in sentences.
//!
//! PubGrub's proof names every version it tried. Here the facts of the proof are gathered by who requires whom,
//! and each project that nobody can agree on gets one sentence with the chains that lead to it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use pubgrub::{DerivationTree, External, Ranges};
use uv_distribution_filename::DistFilename;
use uv_normalize::PackageName;
use uv_pep440::{Version, strip_local_version_sentinels};

use super::rules::{Refusal, Rules};
use super::search::{Known, Reason};
use super::{Explanation, Package, Question};
use crate::pypa::simple::Project;
use crate::pypa::target::Misfit;

/// PubGrub's proof that there is no solution.
pub(super) type Tree = DerivationTree<Package, Ranges<Version>, Reason>;

/// At most so many wheels are listed for one project.
const WHEELS: usize = 8;
/// At most so many sentences are written.
const SENTENCES: usize = 6;

/// Every version of `project` in the index, oldest first.
pub(super) fn versions(project: &Project) -> Vec<Version> {
    let wheels = project.files.iter().map(|file| file.filename.version.clone());
    let others = project.others.iter().filter_map(|name| other_version(name, &project.name));
    wheels.chain(others).collect::<BTreeSet<_>>().into_iter().collect()
}

fn other_version(filename: &str, name: &PackageName) -> Option<Version> {
    DistFilename::try_from_filename(filename, name).map(DistFilename::into_version)
}

/// Writes the explanation of `tree`.
pub(super) fn explain(
    question: &Question<'_>,
    rules: &Rules,
    known: &BTreeMap<PackageName, Option<Arc<Known>>>,
    tree: &Tree,
) -> Explanation {
    let mut facts = Facts::default();
    facts.gather(tree);
    let mut writer =
        Writer { question, rules, known, facts: &facts, told: BTreeSet::new(), lists: Vec::new() };
    let mut sentences: Vec<_> = facts.contested().into_iter().map(|name| writer.sentence(name)).collect();
    let left_out = sentences.len().saturating_sub(SENTENCES);
    sentences.truncate(SENTENCES);
    if left_out > 0 {
        sentences.push(format!("(And {left_out} more projects that nobody can agree on.)"));
    }
    sentences.append(&mut writer.lists);
    let hint = writer.hint();
    Explanation { text: sentences.join("\n"), hint }
}

/// The leaves of a proof.
#[derive(Default)]
struct Facts {
    /// Who requires which project, and the versions of both: several when versions of the one differ in what they
    /// require of the other.
    requires: BTreeMap<(PackageName, Package), Vec<(Ranges<Version>, Ranges<Version>)>>,
    missing: BTreeMap<PackageName, Ranges<Version>>,
    unusable: BTreeMap<PackageName, Vec<(Ranges<Version>, Reason)>>,
    /// In the order of the proof, the deepest first.
    order: Vec<PackageName>,
}

impl Facts {
    fn gather(&mut self, tree: &Tree) {
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

    fn add(&mut self, external: &External<Package, Ranges<Version>, Reason>) {
        match external {
            External::NotRoot(..) => {}
            External::NoVersions(package, versions) => {
                let Some(name) = package.name() else { return };
                let missing = self.missing.entry(name.clone()).or_insert_with(Ranges::empty);
                *missing = missing.union(versions);
                self.order.push(name.clone());
            }
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

    /// Who requires `name`.
    fn dependents<'a>(&'a self, name: &'a PackageName) -> impl Iterator<Item = &'a Package> + 'a {
        self.requires.keys().filter(move |(required, _)| required == name).map(|(_, dependent)| dependent)
    }

    /// The projects nobody can agree on: required by several, or not to be had as required.
    fn contested(&self) -> Vec<&PackageName> {
        let mut contested = Vec::new();
        for name in &self.order {
            let required = self.dependents(name).count();
            let unusable = self.unusable.contains_key(name);
            let missing = self.missing.contains_key(name) && self.is_missing_as_required(name);
            if (required > 1 || unusable || missing) && !contested.contains(&name) {
                contested.push(name);
            }
        }
        contested
    }

    /// Whether something requires versions of `name` of which none exists, apart from those another sentence is about.
    fn is_missing_as_required(&self, name: &PackageName) -> bool {
        let Some(missing) = self.missing.get(name) else { return false };
        self.requires
            .iter()
            .filter(|((required, _), _)| required == name)
            .any(|(_, edges)| edges.iter().any(|(_, to)| to.subset_of(missing)))
    }

    /// The requirements that lead from the user to `package`, first to last.
    fn chain<'a>(&'a self, package: &'a Package) -> Vec<(&'a Package, &'a PackageName)> {
        let mut required_by: BTreeMap<&PackageName, &Package> = BTreeMap::new();
        let mut frontier = VecDeque::from([None]);
        while let Some(current) = frontier.pop_front() {
            for (name, dependent) in self.requires.keys().filter(|(_, dependent)| dependent.name() == current)
            {
                if let Entry::Vacant(entry) = required_by.entry(name) {
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
    known: &'a BTreeMap<PackageName, Option<Arc<Known>>>,
    facts: &'a Facts,
    /// The requirements that were already mentioned.
    told: BTreeSet<(Package, PackageName)>,
    /// Wheels and why they do not fit, below the sentences.
    lists: Vec<String>,
}

impl Writer<'_> {
    /// Why nobody can agree on `name`.
    fn sentence(&mut self, name: &PackageName) -> String {
        let mut clauses = Vec::new();
        let facts = self.facts;
        for dependent in facts.dependents(name) {
            for (dependent, name) in facts.chain(dependent) {
                self.clause(dependent, name, &mut clauses);
            }
            self.clause(dependent, name, &mut clauses);
        }
        let conclusion = self.conclusion(name);
        match clauses.is_empty() {
            true => capitalized(&format!("{conclusion}.")),
            false => format!("Because {}, {conclusion}.", clauses.join(", and ")),
        }
    }

    /// What `dependent` requires of `name`. Only the last of a chain to a contested project is worth repeating.
    fn clause(&mut self, dependent: &Package, name: &PackageName, clauses: &mut Vec<String>) {
        let direct_root = *dependent == Package::Root;
        let told = !self.told.insert((dependent.clone(), name.clone()));
        if direct_root {
            let clause = self.root_clause(name);
            if !clauses.contains(&clause) && !told {
                clauses.push(clause);
            }
            return;
        }
        let Some(edges) = self.facts.requires.get(&(name.clone(), dependent.clone())) else { return };
        let clause = self.edge_clause(dependent, name, edges);
        if !clauses.contains(&clause) {
            clauses.push(clause);
        }
    }

    fn root_clause(&self, name: &PackageName) -> String {
        let roots = self.question.roots.iter().filter(|root| root.requirement.name == *name);
        let asked: Vec<_> =
            roots.map(|root| format!("{} asks for {}", root.source, root.requirement)).collect();
        let bounds = self.question.constraints.iter().filter(|constraint| constraint.name == *name);
        let bounds = bounds.map(|constraint| format!("the constraints allow only {constraint}"));
        asked.into_iter().chain(bounds).collect::<Vec<_>>().join(", and ")
    }

    fn edge_clause(
        &self,
        dependent: &Package,
        name: &PackageName,
        edges: &[(Ranges<Version>, Ranges<Version>)],
    ) -> String {
        let union = |pick: fn(&(Ranges<Version>, Ranges<Version>)) -> &Ranges<Version>| {
            edges.iter().fold(Ranges::empty(), |union, edge| union.union(pick(edge)))
        };
        let (from, to) = (union(|edge| &edge.0), union(|edge| &edge.1));
        let subject = self.subject(dependent, &from);
        let bounds = self.question.constraints.iter().any(|constraint| constraint.name == *name);
        let allowed = if bounds { " within the constraints" } else { "" };
        format!("{subject} depends on {}{allowed}", self.object(name, &to))
    }

    /// `torch 2.6.0`, `every version of torch`, `torch>=2,<3`.
    fn subject(&self, package: &Package, versions: &Ranges<Version>) -> String {
        let Some(name) = package.name() else { return package.to_string() };
        let existing = self.existing(name);
        let inside: Vec<_> = existing.iter().filter(|version| versions.contains(version)).collect();
        match inside.as_slice() {
            [only] => format!("{package} {only}"),
            all if all.len() == existing.len() => format!("every version of {package}"),
            _ => format!("{package}{}", self.bounds(name, versions)),
        }
    }

    fn object(&self, name: &PackageName, versions: &Ranges<Version>) -> String {
        format!("{name}{}", specifiers(versions))
    }

    fn bounds(&self, name: &PackageName, versions: &Ranges<Version>) -> String {
        specifiers(&versions.simplify(self.existing(name).iter()))
    }

    fn existing(&self, name: &PackageName) -> Vec<Version> {
        self.known.get(name).and_then(Option::as_ref).map_or_else(Vec::new, |known| versions(&known.project))
    }

    fn conclusion(&mut self, name: &PackageName) -> String {
        let facts = self.facts;
        let mut conclusions = Vec::new();
        for (versions, reason) in facts.unusable.get(name).into_iter().flatten() {
            conclusions.push(match reason {
                Reason::Unknown => format!("`{name}` is in no package index"),
                Reason::Refused => {
                    self.list_wheels(name, versions);
                    format!("no wheel of {} may be chosen", self.refused(name, versions))
                }
                reason => format!("{} {reason}", self.subject(&Package::Project(name.clone()), versions)),
            });
        }
        if facts.is_missing_as_required(name) {
            conclusions.push(format!("there is no such version of {name}{}", self.newest(name)));
        }
        match conclusions.is_empty() {
            true => format!("no version of {name} suits all of them"),
            false => conclusions.join(", and "),
        }
    }

    fn refused(&self, name: &PackageName, versions: &Ranges<Version>) -> String {
        let existing = self.existing(name);
        let inside: Vec<_> = existing.iter().filter(|version| versions.contains(version)).collect();
        match inside.as_slice() {
            [only] => format!("{name} {only}"),
            all if all.len() == existing.len() => format!("{name}"),
            _ => format!("{name}{}", self.bounds(name, versions)),
        }
    }

    fn newest(&self, name: &PackageName) -> String {
        let Some(Some(known)) = self.known.get(name) else { return String::new() };
        let newest: Vec<_> = known.candidates.versions().rev().take(3).map(Version::to_string).collect();
        match newest.is_empty() {
            true => String::new(),
            false => format!(" (the newest that may be chosen: {})", newest.join(", ")),
        }
    }

    /// Lists the files of `name` in `versions` and why each may not be chosen, the most relevant first.
    fn list_wheels(&mut self, name: &PackageName, versions: &Ranges<Version>) {
        let Some(Some(known)) = self.known.get(name) else { return };
        let mut lines = Vec::new();
        for file in known.project.files.iter().filter(|file| versions.contains(&file.filename.version)) {
            let Err(refusal) = self.rules.judge(file) else { continue };
            let version = file.filename.version.clone();
            lines.push((
                std::cmp::Reverse(version),
                distance(&refusal),
                format!("  {} {}", file.filename, told(&refusal)),
            ));
        }
        for other in &known.project.others {
            let Some(version) = other_version(other, name).filter(|version| versions.contains(version))
            else {
                continue;
            };
            lines.push((std::cmp::Reverse(version), u8::MAX, format!("  {other} is not a wheel")));
        }
        lines.sort();
        let more = lines.len().saturating_sub(WHEELS);
        self.lists.extend(lines.into_iter().take(WHEELS).map(|(_, _, line)| line));
        if more > 0 {
            self.lists.push(format!("  and {more} more files of {name}"));
        }
    }

    fn hint(&self) -> Option<String> {
        let reasons = || {
            self.facts
                .unusable
                .iter()
                .flat_map(|(name, reasons)| reasons.iter().map(move |(_, reason)| (name, reason)))
        };
        if let Some((name, _)) = reasons().find(|(_, reason)| **reason == Reason::Unknown) {
            return Some(format!(
                "check the spelling of `{name}`, or add the index that has it under `indexes:`"
            ));
        }
        if let Some((name, _)) = reasons().find(|(_, reason)| **reason == Reason::Refused) {
            let versions = self.newest(name);
            return Some(match versions.is_empty() {
                true => {
                    format!("`{name}` has no wheel for this target at all: another base or Python may fit")
                }
                false => format!("allow another version of `{name}`{versions}"),
            });
        }
        let asked: Vec<_> = self
            .question
            .roots
            .iter()
            .filter(|root| self.told.contains(&(Package::Root, root.requirement.name.clone())))
            .map(|root| format!("`{}`", root.requirement))
            .collect();
        (!asked.is_empty()).then(|| format!("relax or drop one of {}", asked.join(", ")))
    }
}

fn capitalized(sentence: &str) -> String {
    let mut characters = sentence.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// How far a file is from being chosen.
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

/// `versions` as version specifiers: `>=1,<2`; alternatives are joined with `or`.
fn specifiers(versions: &Ranges<Version>) -> String {
    let plain = |version: &Version| version.clone().with_min(None).with_max(None).to_string();
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
