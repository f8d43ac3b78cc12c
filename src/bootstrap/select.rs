//! The packages that make the base: the essential ones, the wanted ones, and all that these need.
//!
//! A closure over Pre-Depends and Depends, without Recommends. There is no search: the newest version
//! of every package is meant, as on a suite that is coherent, and what does not fit is reported.
//!
//! <https://www.debian.org/doc/debian-policy/ch-relationships.html>

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use strsim::levenshtein;

use crate::debian::packages::Package;
use crate::debian::relation::{self, Dependency, Relation, RelationError};
use crate::debian::version::DebianVersion;
use crate::failure::Hinted;
use crate::oci::Digest;

/// The program that makes a tree usr-merged. A base is made so from the start, and takes the alternative
/// that only says it is.
const USR_CONVERTER: &str = "usrmerge";

/// A request to the archive.
#[derive(Debug, Clone)]
pub struct SelectionRequest<'a> {
    /// `amd64`, `arm64`.
    pub architecture: &'a str,
    /// Package names.
    pub packages: &'a [String],
    /// True if the packages marked essential belong to the base: yes for any system dpkg can manage.
    pub essential: bool,
}

/// The chosen packages: first those that the essential ones need, then the rest, each after its own
/// dependencies as far as these are no circle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// In the order in which dpkg would unpack them.
    pub packages: Vec<Selected>,
}

/// One chosen package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selected {
    /// The package's name.
    pub name: String,
    /// The chosen version.
    pub version: DebianVersion,
    /// Debian's name of its architecture, or `all`.
    pub architecture: String,
    /// The number of its index.
    pub index: usize,
    /// The path of the `.deb`, under the archive's root.
    pub filename: String,
    /// The size of the `.deb`, in bytes.
    pub size: u64,
    /// The digest of the `.deb`.
    pub sha256: Digest,
    /// The reason why it is part of the base.
    pub reason: Reason,
    /// True if the essential packages need it, or it is one of them.
    pub system: bool,
}

/// The reason why a package is in the selection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// It is marked `Essential: yes`.
    Essential,
    /// The description names it.
    Requested,
    /// The first package found to need it, and the words it says so with.
    Needed {
        /// The package that depends on it.
        by: String,
        /// The dependency, as that package writes it.
        dependency: String,
    },
}

/// The reason why no selection fits.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum SelectError {
    #[error("there is no package `{name}`{chain}")]
    Unknown { chain: Chain, name: String, near: Vec<String> },
    #[error("no package meets `{dependency}`{chain}{}", list("; there is ", available))]
    Unmet { chain: Chain, dependency: String, available: Vec<String> },
    #[error("`{package}` {verb} `{other}`, and both are needed{package_chain}{other_chain}")]
    Conflict { package: String, verb: &'static str, other: String, package_chain: Chain, other_chain: Chain },
    #[error("`{field}` of `{package}` cannot be read")]
    Relation { package: String, field: &'static str, source: RelationError },
}

/// The chain of dependencies, from the request to the package in question.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chain(pub Vec<String>);

impl std::fmt::Display for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0[..] {
            [] => Ok(()),
            links => write!(f, " ({})", links.join("; ")),
        }
    }
}

fn list(intro: &str, items: &[String]) -> String {
    match items {
        [] => String::new(),
        items => format!("{intro}{}", items.join(", ")),
    }
}

impl Hinted for SelectError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unknown { near, .. } if !near.is_empty() => {
                format!("did you mean {}?", near.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or "))
            }
            Self::Unknown { .. } | Self::Unmet { .. } => {
                "it may be in another component (contrib, non-free), or in another suite such as SUITE-updates or \
                 SUITE-security"
                    .into()
            }
            Self::Conflict { .. } => "leave one of them out of the package list".into(),
            Self::Relation { .. } => "the mirror's package index is damaged; try another mirror".into(),
        })
    }
}

/// Chooses packages from `indexes`, the parsed Packages files of every suite and component in use.
pub fn select(
    indexes: &[Vec<Package<'_>>],
    request: &SelectionRequest<'_>,
) -> Result<Selection, SelectError> {
    let archive = Archive::new(indexes, request.architecture)?;
    let mut closure = Closure {
        archive: &archive,
        chosen: BTreeMap::new(),
        hard: VecDeque::new(),
        choices: VecDeque::new(),
    };
    if request.essential {
        for candidate in archive.essential() {
            closure.choose(candidate, Reason::Essential)?;
        }
        closure.complete()?;
        for chosen in closure.chosen.values_mut() {
            chosen.system = true;
        }
    }
    for name in request.packages {
        let candidate = archive.newest(name).ok_or_else(|| archive.unknown(name, Chain::default()))?;
        closure.choose(candidate, Reason::Requested)?;
    }
    closure.complete()?;
    closure.check_conflicts()?;
    closure.into_selection()
}

/// A package and the index it is in.
#[derive(Debug, Clone, Copy)]
struct Candidate<'a> {
    package: &'a Package<'a>,
    index: usize,
}

/// The packages by what they can be asked for as.
struct Archive<'a> {
    architecture: &'a str,
    /// By name, newest first.
    packages: BTreeMap<&'a str, Vec<Candidate<'a>>>,
    /// By provided name, best first.
    provides: BTreeMap<String, Vec<(Candidate<'a>, Option<DebianVersion>)>>,
}

impl<'a> Archive<'a> {
    fn new(indexes: &'a [Vec<Package<'a>>], architecture: &'a str) -> Result<Self, SelectError> {
        let mut archive = Self { architecture, packages: BTreeMap::new(), provides: BTreeMap::new() };
        for (index, packages) in indexes.iter().enumerate() {
            for package in
                packages.iter().filter(|package| [architecture, "all"].contains(&package.architecture))
            {
                archive.packages.entry(package.name).or_default().push(Candidate { package, index });
            }
        }
        for versions in archive.packages.values_mut() {
            // Stable: of one version in several indexes, the first index serves.
            versions.sort_by(|left, right| right.package.version.cmp(&left.package.version));
        }
        archive.index_provides()?;
        Ok(archive)
    }

    /// Only the newest version of a package can provide, as only it is ever chosen for a plain name.
    fn index_provides(&mut self) -> Result<(), SelectError> {
        for candidate in self.packages.values().filter_map(|versions| versions.first()) {
            for provided in read_list(candidate.package, "Provides", candidate.package.provides)? {
                let version = provided.constraint.map(|constraint| constraint.version);
                self.provides.entry(provided.name).or_default().push((*candidate, version));
            }
        }
        for providers in self.provides.values_mut() {
            providers
                .sort_by_key(|(candidate, _)| (!candidate.package.essential, candidate.package.priority));
        }
        Ok(())
    }

    fn newest(&self, name: &str) -> Option<Candidate<'a>> {
        self.packages.get(name)?.first().copied()
    }

    fn essential(&self) -> Vec<Candidate<'a>> {
        let newest = self.packages.values().filter_map(|versions| versions.first().copied());
        newest.filter(|candidate| candidate.package.essential).collect()
    }

    /// The best package for `relation`: the newest of that name, else the best provider.
    fn candidate(&self, relation: &Relation) -> Option<Candidate<'a>> {
        let named = self.packages.get(relation.name.as_str()).into_iter().flatten();
        let mut named = named.filter(|candidate| relation.admits(&candidate.package.version));
        let provided = self.provides.get(&relation.name).into_iter().flatten();
        let mut provided = provided.filter(|(_, version)| relation.admits_provided(version.as_ref()));
        named.next().copied().or_else(|| provided.next().map(|(candidate, _)| *candidate))
    }

    fn unknown(&self, name: &str, chain: Chain) -> SelectError {
        let mut near: Vec<(usize, &str)> = self
            .packages
            .keys()
            .map(|known| (levenshtein(name, known), *known))
            .filter(|(distance, _)| *distance <= 1 + name.len() / 5)
            .collect();
        near.sort_unstable();
        let near = near.into_iter().take(3).map(|(_, known)| known.to_owned()).collect();
        SelectError::Unknown { chain, name: name.to_owned(), near }
    }

    /// The versions and providers of the packages a dependency names, none of which is enough.
    fn available(&self, dependency: &Dependency) -> Vec<String> {
        let mut available = BTreeSet::new();
        for relation in &dependency.alternatives {
            let named = self.packages.get(relation.name.as_str()).into_iter().flatten();
            available
                .extend(named.map(|candidate| format!("{} {}", relation.name, candidate.package.version)));
        }
        available.into_iter().collect()
    }
}

/// The packages chosen so far and what they still need.
struct Closure<'a> {
    archive: &'a Archive<'a>,
    chosen: BTreeMap<&'a str, ChosenPackage<'a>>,
    /// Dependencies with one alternative, to be met before the others: they may settle them.
    hard: VecDeque<(&'a str, Dependency)>,
    choices: VecDeque<(&'a str, Dependency)>,
}

struct ChosenPackage<'a> {
    candidate: Candidate<'a>,
    reason: Reason,
    system: bool,
    dependencies: Vec<Dependency>,
}

impl<'a> Closure<'a> {
    fn choose(&mut self, candidate: Candidate<'a>, reason: Reason) -> Result<(), SelectError> {
        let package = candidate.package;
        if self.chosen.contains_key(package.name) {
            return Ok(());
        }
        let mut dependencies = read(package, "Pre-Depends", package.pre_depends)?;
        dependencies.extend(read(package, "Depends", package.depends)?);
        for dependency in &mut dependencies {
            dependency.alternatives.retain(|relation| relation.applies_to(self.archive.architecture));
            dependency.alternatives.sort_by_key(|relation| relation.name == USR_CONVERTER);
        }
        dependencies.retain(|dependency| !dependency.alternatives.is_empty());
        for dependency in &dependencies {
            let queue = if dependency.alternatives.len() == 1 { &mut self.hard } else { &mut self.choices };
            queue.push_back((package.name, dependency.clone()));
        }
        self.chosen.insert(package.name, ChosenPackage { candidate, reason, system: false, dependencies });
        Ok(())
    }

    /// Chooses what is needed until nothing is.
    fn complete(&mut self) -> Result<(), SelectError> {
        while let Some((name, dependency)) = self.hard.pop_front().or_else(|| self.choices.pop_front()) {
            if self.meeting(&dependency).is_some() {
                continue;
            }
            let fitting =
                dependency.alternatives.iter().find_map(|relation| self.archive.candidate(relation));
            let candidate = fitting
                .filter(|candidate| !self.chosen.contains_key(candidate.package.name))
                .ok_or_else(|| self.unmet(name, &dependency))?;
            let dependency = dependency.to_string();
            self.choose(candidate, Reason::Needed { by: name.to_owned(), dependency })?;
        }
        Ok(())
    }

    /// The chosen package that meets a dependency, by its own name or as a provider.
    fn meeting(&self, dependency: &Dependency) -> Option<&'a str> {
        dependency.alternatives.iter().find_map(|relation| self.meeting_relation(relation).next())
    }

    fn meeting_relation(&self, relation: &Relation) -> impl Iterator<Item = &'a str> {
        let named = self.chosen.get_key_value(relation.name.as_str());
        let named = named.filter(|(_, chosen)| relation.admits(&chosen.candidate.package.version));
        let providers = self.archive.provides.get(&relation.name).into_iter().flatten();
        let provided = providers.filter_map(|(candidate, version)| {
            let (name, chosen) = self.chosen.get_key_value(candidate.package.name)?;
            let same = chosen.candidate.package.version == candidate.package.version;
            (same && relation.admits_provided(version.as_ref())).then_some(*name)
        });
        named.map(|(name, _)| *name).into_iter().chain(provided).collect::<Vec<_>>().into_iter()
    }

    fn unmet(&self, name: &str, dependency: &Dependency) -> SelectError {
        let mut chain = self.chain(name);
        chain.0.push(format!("`{name}` needs `{dependency}`"));
        let available = self.archive.available(dependency);
        match &dependency.alternatives[..] {
            [relation] if available.is_empty() => self.archive.unknown(&relation.name, chain),
            _ => SelectError::Unmet { chain, dependency: dependency.to_string(), available },
        }
    }

    /// The chain of dependencies from the request to `name`.
    fn chain(&self, name: &str) -> Chain {
        let mut links = Vec::new();
        let mut name = name;
        while let Some(chosen) = self.chosen.get(name) {
            match &chosen.reason {
                Reason::Essential => links.push(format!("`{name}` is essential")),
                Reason::Requested => links.push(format!("`{name}` is requested")),
                Reason::Needed { by, dependency } => {
                    links.push(format!("`{by}` needs `{dependency}`"));
                    name = by;
                    continue;
                }
            }
            break;
        }
        links.reverse();
        Chain(links)
    }

    fn check_conflicts(&self) -> Result<(), SelectError> {
        for (name, chosen) in &self.chosen {
            let package = chosen.candidate.package;
            for (field, verb, text) in
                [("Conflicts", "conflicts with", package.conflicts), ("Breaks", "breaks", package.breaks)]
            {
                for relation in read_list(package, field, text)? {
                    if !relation.applies_to(self.archive.architecture) {
                        continue;
                    }
                    if let Some(other) = self.meeting_relation(&relation).find(|other| other != name) {
                        return Err(SelectError::Conflict {
                            package: (*name).to_owned(),
                            verb,
                            other: match other == relation.name {
                                true => relation.to_string(),
                                false => format!("{relation} (provided by {other})"),
                            },
                            package_chain: self.chain(name),
                            other_chain: self.chain(other),
                        });
                    }
                }
            }
        }
        Ok(())
    }

    fn into_selection(self) -> Result<Selection, SelectError> {
        let order = self.order();
        let selected = order.into_iter().filter_map(|name| self.chosen.get(name)).map(|chosen| {
            let Candidate { package, index } = chosen.candidate;
            Selected {
                name: package.name.to_owned(),
                version: package.version.clone(),
                architecture: package.architecture.to_owned(),
                index,
                filename: package.filename.to_owned(),
                size: package.size,
                sha256: package.sha256,
                reason: chosen.reason.clone(),
                system: chosen.system,
            }
        });
        let (system, others): (Vec<_>, Vec<_>) = selected.partition(|selected| selected.system);
        Ok(Selection { packages: system.into_iter().chain(others).collect() })
    }

    /// Every package after what it needs, names deciding where that leaves a choice.
    fn order(&self) -> Vec<&'a str> {
        let mut ordered = Vec::with_capacity(self.chosen.len());
        let mut seen = BTreeSet::new();
        for name in self.chosen.keys() {
            // A stack instead of recursion: a chain may be as long as the archive.
            let mut stack = vec![(*name, false)];
            while let Some((name, met)) = stack.pop() {
                if met {
                    ordered.push(name);
                } else if seen.insert(name) {
                    stack.push((name, true));
                    let needed: BTreeSet<&str> = self.chosen[name]
                        .dependencies
                        .iter()
                        .filter_map(|needed| self.meeting(needed))
                        .collect();
                    stack.extend(needed.into_iter().rev().map(|name| (name, false)));
                }
            }
        }
        ordered
    }
}

fn read(package: &Package<'_>, field: &'static str, text: &str) -> Result<Vec<Dependency>, SelectError> {
    relation::parse(text).map_err(|source| SelectError::Relation {
        package: package.name.to_owned(),
        field,
        source,
    })
}

fn read_list(package: &Package<'_>, field: &'static str, text: &str) -> Result<Vec<Relation>, SelectError> {
    relation::parse_list(text).map_err(|source| SelectError::Relation {
        package: package.name.to_owned(),
        field,
        source,
    })
}

impl Selection {
    /// The packages as a table of name, version and reason, for people.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for selected in &self.packages {
            let reason = match &selected.reason {
                Reason::Essential => "essential".to_owned(),
                Reason::Requested => "requested".to_owned(),
                Reason::Needed { by, dependency } => format!("{by} needs {dependency}"),
            };
            let _ = writeln!(text, "{} {} ({reason})", selected.name, selected.version);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debian::packages;

    /// An index of `name version [field: value; …]` lines.
    fn index(packages: &str) -> String {
        let mut text = String::new();
        for line in packages.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let mut words = line.splitn(3, ' ');
            let (name, version) = (words.next().unwrap(), words.next().unwrap());
            let fields = words.next().unwrap_or("").replace("; ", "\n");
            let digest = Digest::of(name).hex();
            let architecture = if fields.contains("Architecture:") { "" } else { "Architecture: amd64\n" };
            let _ = write!(
                text,
                "Package: {name}\nVersion: {version}\n{architecture}Filename: pool/{name}.deb\nSize: 1\nSHA256: {digest}\n{fields}\n\n"
            );
        }
        text
    }

    fn run(indexes: &[&str], wanted: &[&str]) -> Result<Selection, SelectError> {
        let texts: Vec<String> = indexes.iter().map(|packages| index(packages)).collect();
        let parsed: Vec<_> = texts.iter().map(|text| packages::parse(text).unwrap()).collect();
        let packages: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
        select(&parsed, &SelectionRequest { architecture: "amd64", packages: &packages, essential: true })
    }

    fn check(packages: &str, wanted: &[&str], expected: &str) {
        let selection = run(&[packages], wanted).unwrap();
        let names: Vec<&str> = selection.packages.iter().map(|package| package.name.as_str()).collect();
        assert_eq!(names.join(" "), expected);
    }

    fn fails(packages: &str, wanted: &[&str], message: &str) -> SelectError {
        let error = run(&[packages], wanted).unwrap_err();
        assert_eq!(error.to_string(), message);
        error
    }

    #[test]
    fn essential_packages_come_first_each_after_what_it_needs() {
        check(
            "bash 5 Essential: yes; Pre-Depends: libc
             libc 2
             a 1 Depends: b, libc
             b 1
             unrelated 1",
            &["a"],
            "libc bash b a",
        );
    }

    #[test]
    fn the_first_alternative_is_taken_unless_another_is_there() {
        let packages = "x 1 Depends: m | n
                        y 1 Depends: n
                        m 1
                        n 1";
        check(packages, &["x"], "m x");
        check(packages, &["x", "y"], "n x y");
    }

    #[test]
    fn a_merged_base_needs_no_converter() {
        check(
            "init 1 Essential: yes; Depends: usrmerge | usr-is-merged
             usrmerge 1 Depends: perl
             perl 1
             usr-is-merged 1",
            &[],
            "usr-is-merged init",
        );
    }

    #[test]
    fn a_virtual_package_is_provided_by_the_most_needed() {
        let packages = "base 1 Pre-Depends: awk
                        gawk 1 Provides: awk; Priority: optional
                        mawk 1 Provides: awk; Priority: required
                        v 1 Depends: api (>= 2)
                        old 1 Provides: api (= 1); Priority: required
                        new 1 Provides: api (= 2)
                        none 1 Provides: api; Priority: required";
        check(packages, &["base"], "mawk base");
        check(packages, &["base", "gawk"], "gawk base");
        check(packages, &["v"], "new v");
    }

    #[test]
    fn the_newest_version_of_all_suites_serves() {
        let main = "a 1.0-1 Depends: b (>= 1)
                    b 1
                    c 1 Architecture: i386";
        let security = "a 1.0-1+deb12u1 Depends: b (= 1)";
        let selection = run(&[main, security], &["a"]).unwrap();
        let a = selection.packages.iter().find(|package| package.name == "a").unwrap();
        assert_eq!((a.version.as_str(), a.index, &a.reason), ("1.0-1+deb12u1", 1, &Reason::Requested));
        assert!(run(&[main], &["c"]).is_err(), "another architecture's package");
    }

    #[test]
    fn circles_are_broken_the_same_way_every_time() {
        let packages = "libc6 1 Depends: libgcc
                        libgcc 1 Depends: libc6
                        z 1 Depends: libgcc
                        a 1 Depends: libc6";
        check(packages, &["z", "a"], "libgcc libc6 a z");
    }

    #[test]
    fn an_unknown_package_is_named_with_its_neighbours() {
        let error = fails("python3 1\npython3-pip 1", &["pyhton3"], "there is no package `pyhton3`");
        assert_eq!(error.hint().unwrap(), "did you mean `python3`?");
        fails(
            "a 1 Depends: b\nb 1 Depends: missing",
            &["a"],
            "there is no package `missing` (`a` is requested; `a` needs `b`; `b` needs `missing`)",
        );
    }

    #[test]
    fn an_unmet_version_tells_who_needs_it_and_what_there_is() {
        fails(
            "a 1 Depends: b (>= 2) | c\nb 1.5",
            &["a"],
            "no package meets `b (>= 2) | c` (`a` is requested; `a` needs `b (>= 2) | c`); there is b 1.5",
        );
        fails(
            "a 1 Depends: b\nc 1 Depends: b (>> 2)\nb 2",
            &["a", "c"],
            "no package meets `b (>> 2)` (`c` is requested; `c` needs `b (>> 2)`); there is b 2",
        );
    }

    #[test]
    fn conflicts_are_reported_with_both_reasons() {
        fails(
            "a 1 Depends: c\nb 1 Breaks: c (<< 2)\nc 1",
            &["a", "b"],
            "`b` breaks `c (<< 2)`, and both are needed (`b` is requested) (`a` is requested; `a` needs `c`)",
        );
        fails(
            "a 1 Conflicts: mta; Provides: mta\nb 1 Provides: mta",
            &["a", "b"],
            "`a` conflicts with `mta (provided by b)`, and both are needed (`a` is requested) (`b` is requested)",
        );
        check("a 1 Conflicts: mta; Provides: mta", &["a"], "a");
    }

    #[test]
    fn a_damaged_relationship_names_its_package() {
        fails("a 1 Depends: b (>= )", &["a"], "`Depends` of `a` cannot be read");
    }
}
