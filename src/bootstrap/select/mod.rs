//! The packages that make the base: the essential ones, the wanted ones, and all that these need.
//!
//! A closure over Pre-Depends and Depends, without Recommends. There is no search: the newest version
//! of every package is meant, as on a suite that is coherent, and what does not fit is reported.
//!
//! <https://www.debian.org/doc/debian-policy/ch-relationships.html>

mod error;
mod offers;
mod upgrade;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use self::offers::{OfferedPackage, PackageOffers, provided_by, read, read_list};
use crate::debian::packages::{IndexedPackage, Package};
use crate::debian::relation::{Dependency, Relation};
use crate::debian::version::DebianVersion;
use crate::oci::Digest;

pub use self::error::{Chain, SelectError};
pub use self::upgrade::upgraded;

/// The program that makes a tree usr-merged. A base is made so from the start, and takes the alternative
/// that only says it is.
const USR_CONVERTER: &str = "usrmerge";

/// A request to the archive.
#[derive(Debug, Clone)]
pub struct SelectionRequest<'a> {
    /// The packages that are installed already: they stay, but for those of which a newer version is needed.
    pub installed: &'a [InstalledVersion<'a>],
    /// `amd64`, `arm64`.
    pub architecture: &'a str,
    /// Package names.
    pub packages: &'a [String],
    /// True if the packages marked essential belong to the base: yes for any system dpkg can manage.
    pub essential: bool,
}

/// A package that is installed already.
#[derive(Debug, Clone)]
pub struct InstalledVersion<'a> {
    /// The package.
    pub package: Package<'a>,
    /// True if its version must stay.
    pub held: bool,
}

/// One index, of one component of one suite.
#[derive(Debug, Clone)]
pub struct PackageListing<'a> {
    /// The packages that it lists.
    pub packages: Vec<IndexedPackage<'a>>,
    /// True if it is only asked for what no other index has, as the suites of backports.
    pub is_last: bool,
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

/// Chooses packages from `indexes`, those of every suite and component in use.
pub fn select(
    indexes: &[PackageListing<'_>],
    request: &SelectionRequest<'_>,
) -> Result<Selection, SelectError> {
    let archive = PackageOffers::new(indexes, request.architecture)?;
    let mut closure = Closure {
        archive: &archive,
        chosen: BTreeMap::new(),
        provides: BTreeMap::new(),
        hard: VecDeque::new(),
        choices: VecDeque::new(),
    };
    closure.begin_with(request.installed)?;
    if request.essential {
        for candidate in archive.essential() {
            closure.choose(candidate, Reason::Essential)?;
        }
        closure.complete()?;
        for chosen in closure.chosen.values_mut() {
            chosen.system = true;
        }
    }
    for name in
        request.packages.iter().filter(|name| !closure.chosen.contains_key(name.as_str())).collect::<Vec<_>>()
    {
        let candidate = archive.newest(name).ok_or_else(|| archive.unknown(name, Chain::default()))?;
        closure.choose(candidate, Reason::Requested)?;
    }
    closure.complete()?;
    while closure.upgrade_for_conflicts()? {
        closure.complete()?;
    }
    closure.check_conflicts()?;
    closure.into_selection()
}

/// The packages chosen so far and what they still need.
struct Closure<'a> {
    archive: &'a PackageOffers<'a>,
    chosen: BTreeMap<&'a str, ChosenPackage<'a>>,
    /// The chosen packages that provide a name, and the version that each gives it.
    provides: BTreeMap<String, Vec<(&'a str, Option<DebianVersion>)>>,
    /// Dependencies with one alternative, to be met before the others: they may settle them.
    hard: VecDeque<(&'a str, Dependency)>,
    choices: VecDeque<(&'a str, Dependency)>,
}

struct ChosenPackage<'a> {
    package: &'a Package<'a>,
    standing: Standing<'a>,
    system: bool,
    dependencies: Vec<Dependency>,
}

/// The way a package came among the chosen ones.
enum Standing<'a> {
    /// It is installed already.
    Installed { held: bool },
    /// It is to be installed.
    Taken(OfferedPackage<'a>, Reason),
}

impl<'a> Closure<'a> {
    /// Takes what is installed as chosen. Nothing of it may lack anything: apt goes no further then either.
    fn begin_with(&mut self, installed: &'a [InstalledVersion<'a>]) -> Result<(), SelectError> {
        let architecture = self.archive.architecture;
        let is_own = |one: &&InstalledVersion<'_>| [architecture, "all"].contains(&one.package.architecture);
        for InstalledVersion { package, held } in installed.iter().filter(is_own) {
            self.insert(package, Standing::Installed { held: *held })?;
        }
        for (name, chosen) in &self.chosen {
            if let Some(dependency) = chosen.dependencies.iter().find(|it| self.meeting(it).is_none()) {
                return Err(SelectError::Broken {
                    package: (*name).to_owned(),
                    dependency: dependency.to_string(),
                });
            }
        }
        Ok(())
    }

    fn insert(&mut self, package: &'a Package<'a>, standing: Standing<'a>) -> Result<(), SelectError> {
        let mut dependencies = read(package, "Pre-Depends", package.pre_depends)?;
        dependencies.extend(read(package, "Depends", package.depends)?);
        for dependency in &mut dependencies {
            dependency.alternatives.retain(|relation| relation.applies_to(self.archive.architecture));
            dependency.alternatives.sort_by_key(|relation| relation.name == USR_CONVERTER);
        }
        dependencies.retain(|dependency| !dependency.alternatives.is_empty());
        if self.chosen.contains_key(package.name) {
            self.provides
                .values_mut()
                .for_each(|providers| providers.retain(|(name, _)| *name != package.name));
        }
        for (name, version) in provided_by(package)? {
            self.provides.entry(name).or_default().push((package.name, version));
        }
        self.chosen.insert(package.name, ChosenPackage { package, standing, system: false, dependencies });
        Ok(())
    }

    fn choose(&mut self, candidate: OfferedPackage<'a>, reason: Reason) -> Result<(), SelectError> {
        let package = candidate.package();
        let was_installed = match self.chosen.get(package.name).map(|chosen| &chosen.standing) {
            Some(Standing::Taken(..)) => return Ok(()),
            Some(Standing::Installed { .. }) => true,
            None => false,
        };
        self.insert(package, Standing::Taken(candidate, reason))?;
        self.await_dependencies(package.name);
        if was_installed {
            self.await_dependents();
        }
        Ok(())
    }

    fn await_dependencies(&mut self, name: &'a str) {
        let Some(chosen) = self.chosen.get(name) else { return };
        for dependency in &chosen.dependencies {
            let queue = if dependency.alternatives.len() == 1 { &mut self.hard } else { &mut self.choices };
            queue.push_back((name, dependency.clone()));
        }
    }

    /// The needs of installed packages may be gone with the version of another.
    fn await_dependents(&mut self) {
        let installed = self.chosen.iter().filter(|(_, chosen)| chosen.is_installed());
        let unmet = installed.flat_map(|(name, chosen)| {
            let unmet = chosen.dependencies.iter().filter(|dependency| self.meeting(dependency).is_none());
            unmet.map(|dependency| (*name, dependency.clone()))
        });
        let unmet: Vec<_> = unmet.collect();
        self.hard.extend(unmet);
    }

    /// Chooses what is needed until nothing is.
    fn complete(&mut self) -> Result<(), SelectError> {
        while let Some((name, dependency)) = self.hard.pop_front().or_else(|| self.choices.pop_front()) {
            let is_current = self.chosen.get(name).is_some_and(|it| it.dependencies.contains(&dependency));
            if is_current && self.meeting(&dependency).is_none() {
                self.meet(name, &dependency)?;
            }
        }
        Ok(())
    }

    /// Chooses a package that meets the dependency; for one that was installed, a newer version of that itself.
    fn meet(&mut self, name: &'a str, dependency: &Dependency) -> Result<(), SelectError> {
        if let Some(newer) = self.newer(name) {
            let dependency = dependency.to_string();
            return self.choose(newer, Reason::Needed { by: name.to_owned(), dependency });
        }
        let fitting = dependency.alternatives.iter().find_map(|relation| self.archive.candidate(relation));
        let candidate = fitting.ok_or_else(|| self.unmet(name, dependency))?;
        match self.chosen.get(candidate.package().name).map(|chosen| &chosen.standing) {
            Some(Standing::Taken(..)) => return Err(self.unmet(name, dependency)),
            Some(Standing::Installed { held: true }) => return Err(self.held(candidate.package().name, name)),
            Some(Standing::Installed { held: false }) | None => {}
        }
        let dependency = dependency.to_string();
        self.choose(candidate, Reason::Needed { by: name.to_owned(), dependency })
    }

    /// A newer version of a package that is installed.
    fn newer(&self, name: &str) -> Option<OfferedPackage<'a>> {
        let chosen = self.chosen.get(name).filter(|chosen| chosen.is_installed())?;
        self.archive.newest(name).filter(|newest| newest.package().version > chosen.package.version)
    }

    fn held(&self, package: &str, by: &str) -> SelectError {
        let version = self.chosen[package].package.version.clone();
        SelectError::Held { package: package.to_owned(), version, chain: self.chain(by) }
    }

    /// Upgrades one installed package that is in conflict with another where its newest version is not.
    fn upgrade_for_conflicts(&mut self) -> Result<bool, SelectError> {
        for (name, other, relation) in self.conflicts()? {
            for old in [name, other] {
                let Some(newer) = self.newer(old) else { continue };
                let still =
                    old == other && relation.name == other && relation.admits(&newer.package().version);
                if !still {
                    let reason = Reason::Needed { by: name.to_owned(), dependency: format!("no {relation}") };
                    self.choose(newer, reason)?;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The chosen package that meets a dependency, by its own name or as a provider.
    fn meeting(&self, dependency: &Dependency) -> Option<&'a str> {
        dependency.alternatives.iter().find_map(|relation| self.meeting_relation(relation).next())
    }

    fn meeting_relation(&self, relation: &Relation) -> impl Iterator<Item = &'a str> {
        let named = self.chosen.get_key_value(relation.name.as_str());
        let named = named.filter(|(_, chosen)| relation.admits(&chosen.package.version));
        let providers = self.provides.get(&relation.name).into_iter().flatten();
        let provided = providers.filter(|(_, version)| relation.admits_provided(version.as_ref()));
        let provided = provided.map(|(name, _)| *name);
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
        let (mut name, mut seen) = (name, BTreeSet::new());
        while let Some(chosen) = self.chosen.get(name).filter(|_| seen.insert(name.to_owned())) {
            match &chosen.standing {
                Standing::Installed { .. } => links.push(format!("`{name}` is in the base")),
                Standing::Taken(_, Reason::Essential) => links.push(format!("`{name}` is essential")),
                Standing::Taken(_, Reason::Requested) => links.push(format!("`{name}` is requested")),
                Standing::Taken(_, Reason::Needed { by, dependency }) => {
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

    /// The pairs of chosen packages that do not go together, unless both were installed so: the one that says it, the
    /// other, and its words.
    fn conflicts(&self) -> Result<Vec<(&'a str, &'a str, Relation)>, SelectError> {
        let mut conflicts = Vec::new();
        for (name, chosen) in &self.chosen {
            let package = chosen.package;
            for (field, text) in [("Conflicts", package.conflicts), ("Breaks", package.breaks)] {
                for relation in read_list(package, field, text)? {
                    if !relation.applies_to(self.archive.architecture) {
                        continue;
                    }
                    let is_new = |other: &&str| !(chosen.is_installed() && self.chosen[other].is_installed());
                    let mut others = self.meeting_relation(&relation).filter(|other| other != name);
                    let other = others.find(is_new);
                    drop(others);
                    if let Some(other) = other {
                        conflicts.push((*name, other, relation));
                    }
                }
            }
        }
        Ok(conflicts)
    }

    fn check_conflicts(&self) -> Result<(), SelectError> {
        let Some((name, other, relation)) = self.conflicts()?.into_iter().next() else { return Ok(()) };
        let breaks = read_list(self.chosen[name].package, "Breaks", self.chosen[name].package.breaks)?;
        Err(SelectError::Conflict {
            package: name.to_owned(),
            verb: if breaks.contains(&relation) { "breaks" } else { "conflicts with" },
            other: match other == relation.name {
                true => relation.to_string(),
                false => format!("{relation} (provided by {other})"),
            },
            package_chain: self.chain(name),
            other_chain: self.chain(other),
        })
    }

    fn into_selection(self) -> Result<Selection, SelectError> {
        let selected = self.order().into_iter().filter_map(|name| {
            let chosen = self.chosen.get(name)?;
            let Standing::Taken(candidate, reason) = &chosen.standing else { return None };
            let (package, listed) = (chosen.package, candidate.listed);
            Some(Selected {
                name: package.name.to_owned(),
                version: package.version.clone(),
                architecture: package.architecture.to_owned(),
                index: candidate.index,
                filename: listed.filename.to_owned(),
                size: listed.size,
                sha256: listed.sha256,
                reason: reason.clone(),
                system: chosen.system,
            })
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

impl ChosenPackage<'_> {
    fn is_installed(&self) -> bool {
        matches!(self.standing, Standing::Installed { .. })
    }
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
    use crate::failure::Hinted;

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
        select_from(&texts, wanted, &[], true)
    }

    fn select_from(
        texts: &[String],
        wanted: &[&str],
        installed: &[InstalledVersion<'_>],
        essential: bool,
    ) -> Result<Selection, SelectError> {
        let packages: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
        let request = SelectionRequest { installed, architecture: "amd64", packages: &packages, essential };
        select(&texts.iter().map(|text| listing(text)).collect::<Vec<_>>(), &request)
    }

    fn listing(text: &str) -> PackageListing<'_> {
        PackageListing { packages: packages::parse(text).unwrap(), is_last: text.contains("Backport") }
    }

    fn version(listed: IndexedPackage<'_>) -> InstalledVersion<'_> {
        let held = listed.package.priority == packages::Priority::Extra;
        InstalledVersion { package: listed.package, held }
    }

    /// The choice on a base with `installed`, as `name version`; or the error.
    fn on(installed: &str, listed: &[&str], wanted: &[&str]) -> Result<String, String> {
        let text = index(installed);
        let installed: Vec<_> = packages::parse(&text).unwrap().into_iter().map(version).collect();
        let texts: Vec<String> = listed.iter().map(|packages| index(packages)).collect();
        let selection = select_from(&texts, wanted, &installed, false).map_err(|error| error.to_string())?;
        let told = selection.packages.iter().map(|package| format!("{} {}", package.name, package.version));
        Ok(told.collect::<Vec<_>>().join(", "))
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

    #[test]
    fn what_is_installed_stays_unless_a_newer_version_is_needed() {
        let listed = "libc 2.1
                      ssl 3.1
                      ssl-tools 3.1 Depends: ssl (= 3.1)
                      git 1 Depends: libc (>= 2), ssl (>= 3.1), mta
                      exim 4 Provides: mta
                      plain 1 Depends: libc (>= 2)";
        let check = |installed: &str, wanted: &str, expected: &str| {
            assert_eq!(
                on(installed, &[listed], &[wanted]).as_deref(),
                Ok(expected),
                "{wanted} on {installed}"
            );
        };
        check("libc 2.0", "plain", "plain 1");
        check("libc 2.0", "libc", "");
        check("libc 2.0\nssl 3.1\npostfix 3 Provides: mta", "git", "git 1");
        check("libc 2.0\nssl 3.0", "git", "exim 4, ssl 3.1, git 1");
        // What was made for the old version comes along.
        check(
            "libc 2.0\nssl 3.0\nssl-tools 3.0 Depends: ssl (= 3.0)\npostfix 3 Provides: mta",
            "git",
            "ssl 3.1, git 1, ssl-tools 3.1",
        );
    }

    #[test]
    fn a_package_that_does_not_go_with_the_base_is_refused_or_upgrades_it() {
        let listed = "new 2 Breaks: old (<< 2)
                      old 2
                      other 1 Conflicts: old
                      needs 1 Depends: old (>= 2)";
        let check = |installed: &str, wanted: &str, expected: Result<&str, &str>| {
            let found = on(installed, &[listed], &[wanted]);
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{wanted} on {installed}");
        };
        check("old 1", "new", Ok("new 2, old 2"));
        check(
            "old 1",
            "other",
            Err(
                "`other` conflicts with `old`, and both are needed (`other` is requested) (`old` is in the base)",
            ),
        );
        check(
            "old 1 Priority: extra",
            "needs",
            Err("the base's `old` 1 would have to be upgraded, and it is held (`needs` is requested)"),
        );
        check(
            "old 1 Depends: gone",
            "new",
            Err("the base's `old` needs `gone`, which the base does not have"),
        );
        check("a 1 Conflicts: b\nb 1\nold 2", "new", Ok("new 2"));
    }

    #[test]
    fn backports_serve_only_what_nothing_else_has() {
        let listed = ["a 1", "a 2 X: Backport\nb 2 X: Backport"];
        assert_eq!(on("", &listed, &["a", "b"]).as_deref(), Ok("a 1, b 2"));
    }
}
