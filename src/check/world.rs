//! An image as the rules see it: distributions, extension modules, and requirements between them.

use std::collections::{BTreeMap, BTreeSet};

use uv_normalize::{ExtraName, PackageName};
use uv_pep440::Version;

use super::loader::split;
use super::standard_library::StandardLibrary;
use super::{DistributionId, Subject};
use crate::base::{InstalledDistribution, PythonStart};
use crate::cpython::path_files::{self, PathLine};
use crate::observe::check_facts::CheckFacts;
use crate::oci::Architecture;
use crate::pypa::metadata::{self, Requirement};
use crate::pypa::record::{self, Row};
use crate::pypa::target::Target;

/// Modules that come with a package and are none of what its users import.
pub(super) const NOT_FOR_USERS: [&str; 9] =
    ["tests", "test", "testing", "conftest", "setup", "benchmarks", "examples", "docs", "tools"];

/// The installed distributions and their files.
#[derive(Debug, Default)]
pub(super) struct World<'a> {
    pub distributions: Vec<ImageDistribution<'a>>,
    /// The absolute path of the interpreter; `None` without Python.
    pub interpreter: Option<String>,
    pub target: Option<Target>,
    pub architecture: Option<Architecture>,
    /// 3 and 11 of Python 3.11.
    pub python: Option<(u8, u8)>,
    /// The interpreter that is started, with its `sys.path`.
    pub start: Option<&'a PythonStart>,
    /// The standard library of the interpreter.
    pub standard: StandardLibrary,
    /// The directories of packages, without symlinks.
    pub packages: BTreeSet<String>,
    by_name: BTreeMap<PackageName, usize>,
    owners: BTreeMap<String, usize>,
}

/// The requirements of all distributions of an image that are read: 500 of them have some 15,000.
const MOST_REQUIREMENTS: usize = 1 << 17;
/// The extras of one distribution that others ask for: Airflow has 700.
const MOST_EXTRAS: usize = 1024;
/// The times that a distribution is looked at again for more extras: extras that ask for others are a few deep.
const MOST_VISITS: usize = 32;

/// The names by which a distribution is imported, by the file of its RECORD that they are known from.
pub(super) type ImportNames = BTreeMap<String, Vec<String>>;

/// An installed distribution.
#[derive(Debug)]
pub(super) struct ImageDistribution<'a> {
    pub installed: &'a InstalledDistribution,
    pub requires: Vec<Requirement>,
    /// The rows of its RECORD by real path.
    pub rows: BTreeMap<String, Row>,
}

impl<'a> World<'a> {
    /// The world of `subject`.
    pub(super) fn new(subject: &Subject<'a>) -> Self {
        let Some(inventory) = subject.inventory else { return Self::default() };
        let mut left = MOST_REQUIREMENTS;
        let distributions: Vec<ImageDistribution<'a>> = inventory
            .distributions
            .iter()
            .map(|installed| ImageDistribution::new(installed, subject.evidence, &mut left))
            .collect();
        let names = distributions.iter().enumerate();
        let by_name = names.clone().map(|(index, it)| (it.installed.name.clone(), index)).collect();
        let owners =
            names.flat_map(|(index, it)| it.rows.keys().map(move |path| (path.clone(), index))).collect();
        let directories = distributions.iter().map(|it| it.packages().to_owned());
        let interpreter = subject.python.map(|start| format!("/{}", start.program));
        let standard = subject.python.map(|start| StandardLibrary::find(subject.evidence, start));
        Self {
            packages: directories.collect(),
            interpreter,
            start: subject.python,
            standard: standard.unwrap_or_default(),
            target: inventory.target().ok(),
            architecture: Some(inventory.architecture),
            python: Some(inventory.scheme.version),
            by_name,
            owners,
            distributions,
        }
    }

    /// Returns whether the file at `path` is in a directory of packages.
    pub(super) fn is_in_packages(&self, path: &str) -> bool {
        let path = path.trim_start_matches('/');
        let is_in =
            |directory: &String| path.strip_prefix(&**directory).is_some_and(|rest| rest.starts_with('/'));
        self.packages.iter().any(is_in)
    }

    /// The directories in which modules are searched, without symlinks.
    pub(super) fn search_path(&self) -> Vec<String> {
        let of_start = self.start.iter().flat_map(|start| start.path.iter());
        self.standard.directories.iter().chain(of_start).cloned().collect()
    }

    /// The row of a RECORD for the file at a path, relative to the root.
    pub(super) fn is_recorded(&self, path: &str) -> bool {
        self.owners.contains_key(path)
    }

    /// The distributions that no other one requires.
    pub(super) fn top_level(&self) -> BTreeSet<usize> {
        let required: BTreeSet<&PackageName> = (0..self.distributions.len())
            .flat_map(|index| self.requirements(index, &[]))
            .map(|requirement| &requirement.name)
            .collect();
        let names = self.distributions.iter().map(|it| &it.installed.name).enumerate();
        names.filter(|(_, name)| !required.contains(name)).map(|(index, _)| index).collect()
    }

    /// The names of the modules that a distribution is imported by, each beside a file that RECORD lists for it: the one of
    /// its own name, or all that it has at the top, or those of the directories that its `.pth` files name.
    pub(super) fn import_names(&self, index: usize, evidence: &CheckFacts) -> ImportNames {
        let distribution = &self.distributions[index];
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        for (path, name) in distribution.rows.keys().filter_map(|path| distribution.module_at(path)) {
            let is_init = split(path).1.starts_with("__init__.");
            let file = names.entry(name.to_owned()).or_insert_with(|| path.to_owned());
            // The package's own file, where there is one.
            if is_init && path.matches('/').count() <= file.matches('/').count() {
                path.clone_into(file);
            }
        }
        let own = distribution.installed.name.as_dist_info_name();
        if names.keys().any(|name| name.eq_ignore_ascii_case(&own)) {
            names.retain(|name, _| name.eq_ignore_ascii_case(&own));
        }
        let mut by_file = ImportNames::new();
        if names.is_empty() {
            by_file = self.editable_names(distribution, evidence, &own);
        }
        for (name, file) in names {
            by_file.entry(file).or_default().push(name);
        }
        by_file
    }

    /// The modules of an editable installation, by its `.pth` file.
    fn editable_names(
        &self,
        distribution: &ImageDistribution<'_>,
        evidence: &CheckFacts,
        own: &str,
    ) -> ImportNames {
        let mut by_file = BTreeMap::new();
        for file in distribution.rows.keys().filter(|path| path.ends_with(".pth")) {
            let Some(text) = evidence.text(file) else { continue };
            let text = String::from_utf8_lossy(text);
            let mut names = Vec::new();
            for line in path_files::lines(&text) {
                match line {
                    PathLine::Directory(path) => names.extend(modules_in(evidence, path, own)),
                    PathLine::Finder(_) => {
                        names.extend(self.start.iter().flat_map(|start| start.mapped.keys().cloned()));
                    }
                    PathLine::Adds(_) | PathLine::Harmless | PathLine::Code => {}
                }
            }
            by_file.insert(file.clone(), names);
        }
        by_file
    }

    /// Returns whether the absolute path `path` is among the extension modules of the standard library.
    pub(super) fn is_standard(&self, path: &str) -> bool {
        self.standard.modules() == Some(split(path.trim_start_matches('/')).0)
    }

    /// The index of the distribution `name`.
    pub(super) fn named(&self, name: &PackageName) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The distribution that installed the file at the real path `path`, relative to the root.
    pub(super) fn owner(&self, path: &str) -> Option<usize> {
        self.owners.get(path.trim_start_matches('/')).copied()
    }

    /// The requirements of a distribution that count in this image, with these extras.
    pub(super) fn requirements(&self, index: usize, extras: &[ExtraName]) -> Vec<&Requirement> {
        let requires = self.distributions[index].requires.iter();
        let counts = |requirement: &&Requirement| match &self.target {
            Some(target) => requirement.marker.evaluate(target.markers(), extras),
            None => true,
        };
        requires.filter(counts).collect()
    }

    /// A distribution with all that it requires, directly or not: of each, also what the extras add that are asked for
    /// anywhere on the way.
    pub(super) fn closure(&self, index: usize) -> BTreeSet<usize> {
        let mut reached: BTreeMap<usize, BTreeSet<ExtraName>> = BTreeMap::from([(index, BTreeSet::new())]);
        let mut todo = vec![index];
        let mut visits = vec![0; self.distributions.len()];
        while let Some(index) = todo.pop() {
            visits[index] += 1;
            let extras: Vec<ExtraName> = reached.get(&index).into_iter().flatten().cloned().collect();
            for requirement in self.requirements(index, &extras) {
                let Some(next) = self.named(&requirement.name) else { continue };
                let known = reached.get(&next).map(BTreeSet::len);
                let extras = reached.entry(next).or_default();
                let room = MOST_EXTRAS.saturating_sub(extras.len());
                extras.extend(requirement.extras.iter().take(room).cloned());
                if known != Some(extras.len()) && visits[next] < MOST_VISITS {
                    todo.push(next);
                }
            }
        }
        reached.into_keys().collect()
    }
}

impl<'a> ImageDistribution<'a> {
    /// `left` is the number of requirements that may still be read.
    fn new(installed: &'a InstalledDistribution, evidence: &CheckFacts, left: &mut usize) -> Self {
        let texts = installed.requires_dist.iter().take(*left).map(String::as_str);
        let requires = metadata::requirements(texts);
        *left -= requires.len();
        let text = evidence.text(&format!("{}/RECORD", installed.directory));
        let text = text.map(String::from_utf8_lossy).unwrap_or_default();
        let rows = record::parse(&text).unwrap_or_default().into_iter();
        let directory = split(&installed.directory).0;
        let rows = rows.map(|row| (record::place(directory, &row.path), row)).collect();
        Self { installed, requires, rows }
    }

    /// A path, and the name of the public module at the top that it belongs to.
    fn module_at<'b>(&self, path: &'b str) -> Option<(&'b str, &'b str)> {
        let inside = path.strip_prefix(self.packages())?.strip_prefix('/')?;
        // A directory is called as its package is; of a file, a suffix follows: `core.cpython-311-x86_64-linux-gnu.so`.
        let name = match inside.split_once('/') {
            Some((directory, _)) => directory,
            None => inside.split('.').next()?,
        };
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let is_module = (inside.ends_with(".py") || inside.ends_with(".so")) && name.chars().all(is_name);
        let is_public = !name.starts_with('_') && !NOT_FOR_USERS.contains(&name);
        (is_module && is_public).then_some((path, name))
    }

    /// Its name and version.
    pub(super) fn id(&self) -> DistributionId {
        DistributionId { name: self.installed.name.clone(), version: self.installed.version.clone() }
    }

    /// `torch 2.6.0`
    pub(super) fn title(&self) -> String {
        self.id().to_string()
    }

    /// Its version.
    pub(super) fn version(&self) -> &Version {
        &self.installed.version
    }

    /// The directory of packages that it is in.
    pub(super) fn packages(&self) -> &str {
        split(&self.installed.directory).0
    }
}

/// The module of the name `own` in a directory, or all that are there; where the directory is gone, the name itself.
fn modules_in(evidence: &CheckFacts, directory: &str, own: &str) -> Vec<String> {
    let real = evidence.resolve(directory).filter(|real| evidence.is_directory(real));
    let Some(real) = real else { return vec![own.to_owned()] };
    let inside = evidence.below(&real).filter_map(|(path, _)| path.get(real.len() + 1..));
    let names =
        inside.filter_map(|path| path.strip_suffix("/__init__.py").or_else(|| path.strip_suffix(".py")));
    let names = names.filter(|name| !name.contains(['/', '.']) && !name.starts_with('_'));
    let names: BTreeSet<&str> = names.filter(|name| !NOT_FOR_USERS.contains(name)).collect();
    match names.iter().find(|name| name.eq_ignore_ascii_case(own)) {
        Some(name) => vec![(*name).to_owned()],
        None => names.into_iter().map(str::to_owned).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed(name: &str) -> InstalledDistribution {
        InstalledDistribution {
            name: name.parse().unwrap(),
            version: Version::new([1]),
            directory: format!("packages/{name}-1.dist-info"),
            requires_dist: Vec::new(),
            provides_extra: Vec::new(),
            files: Vec::new(),
            of_system: false,
            texts: None,
        }
    }

    #[test]
    fn extras_that_ask_for_each_other_without_end_are_given_up() {
        let installed = installed("chain");
        let text = |i: usize| format!("chain[e{}]; extra == 'e{i}' or extra == 'e0'", i + 1);
        let texts: Vec<String> = std::iter::once("chain[e0]".to_owned()).chain((0..8000).map(text)).collect();
        let requires = metadata::requirements(texts.iter().map(String::as_str));
        assert!(requires.len() > 8000);
        let mut world = World { target: Some(target()), ..World::default() };
        world.by_name.insert(installed.name.clone(), 0);
        world.distributions.push(ImageDistribution {
            installed: &installed,
            requires,
            rows: BTreeMap::new(),
        });
        let start = std::time::Instant::now();
        assert_eq!(world.closure(0), BTreeSet::from([0]));
        assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
    }

    #[test]
    fn a_distribution_that_was_reached_without_an_extra_is_reached_again_with_it() {
        let requires = [
            ("app", vec!["plain", "library"]),
            ("plain", vec![]),
            ("library", vec!["plain[more]"]),
            ("added", vec![]),
        ];
        let all = requires.clone().map(|(name, _)| installed(name));
        let mut world = World { target: Some(target()), ..World::default() };
        for (index, (name, requires)) in requires.into_iter().enumerate() {
            let mut requires: Vec<Requirement> = metadata::requirements(requires);
            requires.extend(metadata::requirements((name == "plain").then_some("added; extra == 'more'")));
            world.by_name.insert(all[index].name.clone(), index);
            world.distributions.push(ImageDistribution {
                installed: &all[index],
                requires,
                rows: BTreeMap::new(),
            });
        }
        assert_eq!(world.closure(0), BTreeSet::from([0, 1, 2, 3]));
        assert_eq!(world.closure(1), BTreeSet::from([1]));
    }

    fn target() -> Target {
        Target::new("3.11.2", crate::oci::Architecture::Amd64, (2, 36)).unwrap()
    }
}
