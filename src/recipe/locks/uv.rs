//! `uv.lock`: the packages of a project for all its targets, as a graph that is walked for one.
//!
//! <https://docs.astral.sh/uv/concepts/projects/layout/#the-lockfile>

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use serde::Deserialize;
use url::Url;
use uv_distribution_filename::WheelFilename;
use uv_normalize::{ExtraName, GroupName, PackageName};
use uv_pep440::{Version, VersionSpecifiers};
use uv_pep508::{MarkerEnvironment, MarkerTree, VersionOrUrl};

use super::super::source_place::SourcePlace;
use super::super::wheel_reference::{FilePlace, WheelReference, below};
use super::package::{FileText, ForeignPackage, LockedContent, LockedFiles};
use super::{ForeignLockError, LockReader, LockSelection, SelectionError};
use crate::pypa::git_reference::GitReference;
use crate::pypa::metadata::Requirement;

/// The version of the format; its revisions add to it what may be passed over.
const VERSION: u32 = 1;
/// The walks through a lock: each makes parts of projects known that exclude others, and real ones need two.
const MOST_WALKS: usize = 32;

/// The content of such a lock.
#[derive(Debug, Clone, PartialEq)]
pub struct UvLock {
    /// The packages, in the file's order.
    pub packages: Vec<UvPackage>,
    /// The requirements that stood in place of all others on their projects.
    pub overrides: Vec<Requirement>,
    /// The projects of the workspace, where it has several.
    members: Vec<PackageName>,
    /// The groups of a workspace whose root is no project.
    root_groups: BTreeMap<GroupName, Vec<UvDependency>>,
    /// The sets of extras, groups and projects of which each excludes the others.
    conflicts: Vec<Vec<ConflictItem>>,
}

/// A package, and what it requires.
#[derive(Debug, Clone, PartialEq)]
pub struct UvPackage {
    /// The package.
    pub locked: ForeignPackage,
    /// The place that tells it from others of its name.
    source: UvSource,
    dependencies: Vec<UvDependency>,
    extras: BTreeMap<ExtraName, Vec<UvDependency>>,
    groups: BTreeMap<GroupName, Vec<UvDependency>>,
}

/// A requirement on a package of the lock.
#[derive(Debug, Clone, PartialEq)]
struct UvDependency {
    name: PackageName,
    /// The version and source, where there are several of its name.
    version: Option<Version>,
    source: Option<UvSource>,
    extras: Vec<ExtraName>,
    marker: MarkerTree,
}

/// A part of a project that excludes others.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct ConflictItem {
    package: PackageName,
    extra: Option<ExtraName>,
    group: Option<GroupName>,
}

impl ConflictItem {
    /// It in words: the extra `cpu` of `app`.
    fn shown(&self) -> String {
        let Self { package, extra, group } = self;
        match (extra, group) {
            (Some(extra), _) => format!("the extra `{extra}` of `{package}`"),
            (None, Some(group)) => format!("the group `{group}` of `{package}`"),
            (None, None) => format!("the project `{package}`"),
        }
    }

    /// The name under which markers ask for it.
    fn activation(&self) -> Option<ExtraName> {
        match (&self.extra, &self.group) {
            (Some(extra), _) => activation("extra", &self.package, Some(extra.as_ref())),
            (None, Some(group)) => activation("group", &self.package, Some(group.as_ref())),
            (None, None) => activation("project", &self.package, None),
        }
    }
}

/// The extra by which markers of uv ask whether a part of a project is installed: `extra-3-app-cpu`.
fn activation(kind: &str, package: &PackageName, part: Option<&str>) -> Option<ExtraName> {
    let length = package.as_ref().len();
    let part = part.map(|part| format!("-{part}")).unwrap_or_default();
    ExtraName::from_str(&format!("{kind}-{length}-{package}{part}")).ok()
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct LockText {
    version: u32,
    requires_python: Option<String>,
    #[serde(default)]
    conflicts: Vec<Vec<ConflictItem>>,
    #[serde(default)]
    manifest: ManifestText,
    #[serde(default, rename = "package")]
    packages: Vec<PackageText>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ManifestText {
    #[serde(default)]
    members: Vec<PackageName>,
    #[serde(default)]
    overrides: Vec<OverrideText>,
    #[serde(default)]
    dependency_groups: BTreeMap<GroupName, Vec<DependencyText>>,
}

#[derive(Deserialize)]
struct OverrideText {
    name: PackageName,
    specifier: Option<VersionSpecifiers>,
    #[serde(default)]
    extras: Vec<ExtraName>,
    marker: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct PackageText {
    name: PackageName,
    version: Option<Version>,
    source: UvSource,
    #[serde(default)]
    dependencies: Vec<DependencyText>,
    #[serde(default)]
    optional_dependencies: BTreeMap<ExtraName, Vec<DependencyText>>,
    #[serde(default)]
    dev_dependencies: BTreeMap<GroupName, Vec<DependencyText>>,
    #[serde(default)]
    metadata: MetadataText,
    sdist: Option<FileText>,
    #[serde(default)]
    wheels: Vec<FileText>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct MetadataText {
    #[serde(default)]
    provides_extras: Vec<ExtraName>,
    #[serde(default)]
    requires_dev: BTreeMap<GroupName, toml::Value>,
}

#[derive(Deserialize)]
struct DependencyText {
    name: PackageName,
    version: Option<Version>,
    source: Option<UvSource>,
    #[serde(default, alias = "extras")]
    extra: Vec<ExtraName>,
    marker: Option<String>,
}

/// The place of a package, as the lock tells it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum UvSource {
    Registry(String),
    Git(String),
    Path(String),
    Directory(String),
    Editable(String),
    Virtual(String),
    #[serde(untagged)]
    Url {
        url: Url,
        subdirectory: Option<String>,
    },
}

/// Reads a lock, and the Pythons that it is for.
pub(super) fn read(reader: &LockReader<'_>) -> Result<(Option<String>, UvLock), ForeignLockError> {
    let read: LockText = reader.document()?;
    if read.version != VERSION {
        return Err(reader.version(read.version.to_string(), "version 1 of uv's locks"));
    }
    let ManifestText { members, overrides, dependency_groups } = read.manifest;
    let packages = read.packages.into_iter().map(|package| package.read(reader));
    let lock = UvLock {
        packages: packages.collect::<Result<_, _>>()?,
        overrides: overrides.into_iter().map(|it| it.read(reader)).collect::<Result<_, _>>()?,
        members,
        root_groups: parts(dependency_groups, reader)?,
        conflicts: read.conflicts,
    };
    Ok((read.requires_python, lock))
}

fn parts<K: Ord>(
    texts: BTreeMap<K, Vec<DependencyText>>,
    reader: &LockReader<'_>,
) -> Result<BTreeMap<K, Vec<UvDependency>>, ForeignLockError> {
    texts.into_iter().map(|(key, texts)| Ok((key, dependencies(texts, reader)?))).collect()
}

fn dependencies(
    texts: Vec<DependencyText>,
    reader: &LockReader<'_>,
) -> Result<Vec<UvDependency>, ForeignLockError> {
    let read = |text: DependencyText| {
        let marker = reader.marker(&text.name, text.marker.as_deref())?;
        let DependencyText { name, version, source, extra, .. } = text;
        Ok(UvDependency { name, version, source, extras: extra, marker })
    };
    texts.into_iter().map(read).collect()
}

impl OverrideText {
    fn read(self, reader: &LockReader<'_>) -> Result<Requirement, ForeignLockError> {
        Ok(Requirement {
            marker: reader.marker(&self.name, self.marker.as_deref())?,
            name: self.name,
            extras: self.extras.into_boxed_slice(),
            version_or_url: self.specifier.map(VersionOrUrl::VersionSpecifier),
            origin: None,
        })
    }
}

impl PackageText {
    fn read(self, reader: &LockReader<'_>) -> Result<UvPackage, ForeignLockError> {
        let content = self.content(reader)?;
        let mut extras = parts(self.optional_dependencies, reader)?;
        let mut groups = parts(self.dev_dependencies, reader)?;
        // Those that require nothing are named here alone.
        for extra in self.metadata.provides_extras {
            extras.entry(extra).or_default();
        }
        for group in self.metadata.requires_dev.into_keys() {
            groups.entry(group).or_default();
        }
        let (name, version) = (self.name, self.version);
        Ok(UvPackage {
            locked: ForeignPackage { name, version, content },
            source: self.source,
            dependencies: dependencies(self.dependencies, reader)?,
            extras,
            groups,
        })
    }

    fn content(&self, reader: &LockReader<'_>) -> Result<LockedContent, ForeignLockError> {
        let source = |place| Ok(LockedContent::Source(place));
        match &self.source {
            UvSource::Registry(registry) => Ok(LockedContent::Files(self.files(registry, reader)?)),
            UvSource::Git(text) => source(SourcePlace::Git(self.git(text, reader)?)),
            UvSource::Directory(path) | UvSource::Editable(path) => {
                source(SourcePlace::Directory(path.clone()))
            }
            UvSource::Virtual(_) => Ok(LockedContent::Nothing),
            UvSource::Path(path) => self.archive(FilePlace::Path(path.clone()), None, reader),
            UvSource::Url { url, subdirectory } => {
                self.archive(FilePlace::Url(url.clone()), subdirectory.as_deref(), reader)
            }
        }
    }

    fn git(&self, text: &str, reader: &LockReader<'_>) -> Result<GitReference, ForeignLockError> {
        let git = reader.git(&self.name);
        let mut url = Url::parse(text).map_err(|error| reader.place(&self.name, error.to_string()))?;
        let commit = url.fragment().unwrap_or_default().parse().map_err(&git)?;
        let asked: BTreeMap<String, String> =
            url.query_pairs().map(|(key, value)| (key.into_owned(), value.into_owned())).collect();
        url.set_fragment(None);
        url.set_query(None);
        let revision = ["rev", "tag", "branch"].iter().find_map(|key| asked.get(*key));
        let reference = GitReference::new(url).map_err(&git)?;
        let reference = reference.at(revision.map(String::as_str)).map_err(&git)?;
        let subdirectory = asked.get("subdirectory").map(String::as_str);
        Ok(reference.below(subdirectory).map_err(&git)?.locked(commit))
    }

    /// A wheel or a source at a place of its own.
    fn archive(
        &self,
        place: FilePlace,
        subdirectory: Option<&str>,
        reader: &LockReader<'_>,
    ) -> Result<LockedContent, ForeignLockError> {
        let file = self.wheels.first().or(self.sdist.as_ref());
        reader.archive(&self.name, place, file.and_then(FileText::sha256), subdirectory)
    }

    /// The files of an index, whose URL or directory is `registry`.
    fn files(&self, registry: &str, reader: &LockReader<'_>) -> Result<LockedFiles, ForeignLockError> {
        let mut files = LockedFiles::default();
        for file in &self.wheels {
            let Ok(filename) = file.filename().parse::<WheelFilename>() else {
                files.others.push(file.filename());
                continue;
            };
            match (file.remote(), &file.path) {
                (Some(url), _) => files.wheels.push(file.listed(filename, url)),
                (None, Some(path)) => {
                    let place = FilePlace::Path(below(registry, path));
                    files.local.push(WheelReference { place, filename, sha256: file.sha256() });
                }
                (None, None) => return Err(reader.place(&self.name, format!("`{filename}` is at no place"))),
            }
        }
        files.others.extend(self.sdist.as_ref().map(FileText::filename));
        files.sdists.extend(self.sdist.as_ref().and_then(|file| file.source(&self.name)));
        Ok(files)
    }
}

impl UvLock {
    /// The packages for a target: those that the projects that are asked for require there, with them.
    pub(super) fn select(
        &self,
        origin: &str,
        markers: &MarkerEnvironment,
        selection: &LockSelection,
    ) -> Result<Vec<&ForeignPackage>, SelectionError> {
        let roots = self.roots(origin, &selection.members)?;
        self.check_names(origin, &roots, selection)?;
        let mut walk = Walk::new(self, origin, markers);
        // What is reached may make more markers hold: the walk is repeated until it changes nothing.
        for _ in 0..MOST_WALKS {
            let active = walk.active.clone();
            walk.from(&roots, selection)?;
            if walk.active == active {
                break;
            }
        }
        self.check_conflicts(origin, &walk.active)?;
        let found: BTreeSet<usize> = walk.seen.into_iter().map(|(index, _)| index).collect();
        let is_left_out = |index: &usize| selection.without_project && roots.contains(index);
        let found = found.into_iter().filter(|index| !is_left_out(index));
        Ok(found.map(|index| &self.packages[index].locked).collect())
    }

    /// The directories of the projects that are asked for; that of the lock where there is none.
    pub(super) fn project_directories(&self, members: &[PackageName]) -> Vec<String> {
        if members.is_empty() {
            return vec![".".to_owned()];
        }
        let is_meant = |package: &&UvPackage| members.contains(&package.locked.name);
        self.packages.iter().filter(is_meant).filter_map(|package| package.source.own_directory()).collect()
    }

    /// The projects that are asked for; without `members` the one at the root, or else all of the workspace.
    fn roots(&self, origin: &str, members: &[PackageName]) -> Result<Vec<usize>, SelectionError> {
        let own = |(index, package): (usize, &UvPackage)| Some((index, package.source.own_directory()?));
        let own: Vec<(usize, String)> = self.packages.iter().enumerate().filter_map(own).collect();
        let named = |name: &PackageName| {
            let mut projects = own.iter().map(|(index, _)| *index);
            projects.find(|index| self.packages[*index].locked.name == *name)
        };
        if !members.is_empty() {
            let known = || own.iter().map(|(index, _)| self.packages[*index].locked.name.clone()).collect();
            let unknown = |name: &PackageName| SelectionError::Member {
                origin: origin.to_owned(),
                member: name.clone(),
                known: known(),
            };
            return members.iter().map(|name| named(name).ok_or_else(|| unknown(name))).collect();
        }
        let root = own.iter().find(|(_, directory)| matches!(directory.as_str(), "." | ""));
        Ok(match root {
            Some((index, _)) => vec![*index],
            None => self.members.iter().filter_map(named).collect(),
        })
    }

    /// Refuses extras and groups that none of the projects has.
    fn check_names(
        &self,
        origin: &str,
        roots: &[usize],
        selection: &LockSelection,
    ) -> Result<(), SelectionError> {
        let roots = || roots.iter().map(|index| &self.packages[*index]);
        let extras: BTreeSet<&ExtraName> = roots().flat_map(|root| root.extras.keys()).collect();
        let groups = roots().flat_map(|root| root.groups.keys());
        let groups: BTreeSet<&GroupName> =
            groups.chain(self.groups_beside(selection).map(|(group, _)| group)).collect();
        if let Some(extra) = selection.extras.iter().find(|extra| !extras.contains(extra)) {
            let (origin, extra) = (origin.to_owned(), extra.clone());
            let known = extras.into_iter().cloned().collect();
            return Err(SelectionError::Extra { origin, extra, known });
        }
        match selection.groups.iter().find(|group| !groups.contains(group)) {
            Some(group) => {
                let (origin, group) = (origin.to_owned(), group.clone());
                let known = groups.into_iter().cloned().collect();
                Err(SelectionError::Group { origin, group, known })
            }
            None => Ok(()),
        }
    }

    /// The groups of a workspace whose root is no project, unless some of its projects are asked for alone.
    fn groups_beside(
        &self,
        selection: &LockSelection,
    ) -> impl Iterator<Item = (&GroupName, &Vec<UvDependency>)> {
        self.root_groups.iter().filter(|_| selection.members.is_empty())
    }

    fn check_conflicts(&self, origin: &str, active: &[ExtraName]) -> Result<(), SelectionError> {
        for set in &self.conflicts {
            let is_active =
                |item: &&ConflictItem| item.activation().is_some_and(|name| active.contains(&name));
            let mut both = set.iter().filter(is_active).map(ConflictItem::shown);
            if let (Some(first), Some(second)) = (both.next(), both.next()) {
                return Err(SelectionError::Conflict { origin: origin.to_owned(), first, second });
            }
        }
        Ok(())
    }
}

impl UvSource {
    /// The directory of a project of the workspace.
    fn own_directory(&self) -> Option<String> {
        match self {
            Self::Editable(path) | Self::Virtual(path) | Self::Directory(path) => Some(path.clone()),
            Self::Registry(_) | Self::Git(_) | Self::Path(_) | Self::Url { .. } => None,
        }
    }
}

/// A walk through the graph of a lock, for one target.
struct Walk<'a> {
    lock: &'a UvLock,
    origin: &'a str,
    markers: &'a MarkerEnvironment,
    /// The packages by their names.
    named: BTreeMap<&'a PackageName, Vec<usize>>,
    /// The parts of projects that markers may ask for: those that exclude others.
    asked: BTreeSet<ExtraName>,
    /// Those of them that are installed.
    active: Vec<ExtraName>,
    /// The packages so far, each alone and with its extras.
    seen: BTreeSet<(usize, Option<&'a ExtraName>)>,
    /// Those of them whose requirements were not followed yet.
    pending: Vec<(usize, Option<&'a ExtraName>)>,
}

impl<'a> Walk<'a> {
    fn new(lock: &'a UvLock, origin: &'a str, markers: &'a MarkerEnvironment) -> Self {
        let mut named: BTreeMap<&PackageName, Vec<usize>> = BTreeMap::new();
        for (index, package) in lock.packages.iter().enumerate() {
            named.entry(&package.locked.name).or_default().push(index);
        }
        let asked = lock.conflicts.iter().flatten().filter_map(ConflictItem::activation).collect();
        let (active, seen, pending) = (Vec::new(), BTreeSet::new(), Vec::new());
        Self { lock, origin, markers, named, asked, active, seen, pending }
    }

    /// Takes the projects at `roots` with everything that they require.
    fn from(&mut self, roots: &[usize], selection: &LockSelection) -> Result<(), SelectionError> {
        self.seen.clear();
        let lock = self.lock;
        let groups: BTreeSet<&GroupName> = selection.groups.iter().chain(&selection.default_groups).collect();
        for &root in roots {
            let package = &lock.packages[root];
            self.activate("project", &package.locked.name, None);
            self.reach(root, None);
            for (extra, _) in package.extras.iter().filter(|(extra, _)| selection.extras.contains(extra)) {
                self.reach(root, Some(extra));
            }
            for (group, dependencies) in package.groups.iter().filter(|(group, _)| groups.contains(group)) {
                self.activate("group", &package.locked.name, Some(group.as_ref()));
                self.follow(dependencies)?;
            }
        }
        for (_, dependencies) in lock.groups_beside(selection).filter(|(group, _)| groups.contains(group)) {
            self.follow(dependencies)?;
        }
        while let Some((index, extra)) = self.pending.pop() {
            let package = &lock.packages[index];
            match extra {
                None => self.follow(&package.dependencies)?,
                Some(extra) => {
                    let dependencies = package.extras.get(extra);
                    dependencies.map_or(Ok(()), |dependencies| self.follow(dependencies))?;
                }
            }
        }
        Ok(())
    }

    fn activate(&mut self, kind: &str, package: &PackageName, part: Option<&str>) {
        let name = activation(kind, package, part).filter(|name| self.asked.contains(name));
        self.active.extend(name.filter(|name| !self.active.contains(name)));
    }

    /// Takes a package, or an extra of it.
    fn reach(&mut self, index: usize, extra: Option<&'a ExtraName>) {
        if !self.seen.insert((index, extra)) {
            return;
        }
        if let Some(extra) = extra {
            let name = &self.lock.packages[index].locked.name;
            self.activate("extra", name, Some(extra.as_ref()));
        }
        self.pending.push((index, extra));
    }

    fn follow(&mut self, dependencies: &'a [UvDependency]) -> Result<(), SelectionError> {
        for dependency in dependencies {
            if !dependency.marker.evaluate(self.markers, &self.active) {
                continue;
            }
            let index = self.find(dependency).ok_or_else(|| SelectionError::Unlocked {
                origin: self.origin.to_owned(),
                name: dependency.name.clone(),
            })?;
            self.reach(index, None);
            dependency.extras.iter().for_each(|extra| self.reach(index, Some(extra)));
        }
        Ok(())
    }

    /// The package that a dependency leads to.
    fn find(&self, dependency: &UvDependency) -> Option<usize> {
        let UvDependency { name, version, source, .. } = dependency;
        let mut named = self.named.get(name)?.iter().copied();
        named.find(|index| {
            let package = &self.lock.packages[*index];
            let is_version = version.is_none() || *version == package.locked.version;
            is_version && source.as_ref().is_none_or(|source| *source == package.source)
        })
    }
}
