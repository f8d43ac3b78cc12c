//! `poetry.lock`: the packages of a project, each with its groups, markers and hashes, and without the places of its files.
//!
//! <https://python-poetry.org/docs/basic-usage/#installing-with-poetrylock>

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use url::Url;
use uv_normalize::{ExtraName, GroupName, PackageName};
use uv_pep440::Version;
use uv_pep508::{MarkerEnvironment, MarkerTree};

use super::super::source_place::SourcePlace;
use super::super::wheel_reference::FilePlace;
use super::package::{FileText, ForeignPackage, LockedContent};
use super::{ForeignLockError, LockReader, LockSelection, SelectionError};
use crate::oci::Digest;
use crate::pypa::git_reference::GitReference;

/// The group of what a project requires at any rate.
const MAIN: &str = "main";

/// The content of such a lock.
#[derive(Debug, Clone, PartialEq)]
pub struct PoetryLock {
    /// The packages, in the file's order.
    pub packages: Vec<PoetryPackage>,
    extras: BTreeSet<ExtraName>,
}

/// A package, for the environments of its markers in each of its groups.
#[derive(Debug, Clone, PartialEq)]
pub struct PoetryPackage {
    locked: ForeignPackage,
    /// By group, the environments and extras that it is for.
    markers: BTreeMap<GroupName, MarkerTree>,
}

#[derive(Deserialize)]
struct LockText {
    #[serde(default, rename = "package")]
    packages: Vec<PackageText>,
    #[serde(default)]
    extras: BTreeMap<ExtraName, Vec<String>>,
    metadata: MetadataText,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct MetadataText {
    lock_version: String,
    python_versions: Option<String>,
}

#[derive(Deserialize)]
struct PackageText {
    name: PackageName,
    version: Version,
    groups: Option<Vec<GroupName>>,
    markers: Option<MarkersText>,
    #[serde(default)]
    files: Vec<HashedText>,
    source: Option<PoetrySource>,
}

/// The markers of a package: of all its groups, or of each.
#[derive(Deserialize)]
#[serde(untagged)]
enum MarkersText {
    All(String),
    Each(BTreeMap<GroupName, String>),
}

#[derive(Deserialize)]
struct HashedText {
    #[serde(flatten)]
    file: FileText,
}

#[derive(Deserialize)]
struct PoetrySource {
    #[serde(rename = "type")]
    kind: Option<String>,
    url: String,
    reference: Option<String>,
    resolved_reference: Option<String>,
    subdirectory: Option<String>,
}

/// Reads a lock, and the Pythons that it is for.
pub(super) fn read(reader: &LockReader<'_>) -> Result<(Option<String>, PoetryLock), ForeignLockError> {
    let read: LockText = reader.document()?;
    let packages = read.packages.into_iter().map(|package| package.read(reader, &read.metadata));
    let packages = packages.collect::<Result<_, _>>()?;
    // Poetry writes `||` for what PEP 440 cannot say, and the markers of the packages say it again.
    let python = read.metadata.python_versions.filter(|python| !python.contains(['|', '^', '~', '*']));
    Ok((python, PoetryLock { packages, extras: read.extras.into_keys().collect() }))
}

impl PackageText {
    fn read(self, reader: &LockReader<'_>, of: &MetadataText) -> Result<PoetryPackage, ForeignLockError> {
        let Some(groups) = &self.groups else {
            return Err(
                reader.version(&of.lock_version, "lock-version 2.1 of Poetry 2, which tells the groups")
            );
        };
        let marker = |group: &GroupName| match &self.markers {
            None => Ok(MarkerTree::TRUE),
            Some(MarkersText::All(text)) => reader.marker(&self.name, Some(text)),
            Some(MarkersText::Each(texts)) => reader.marker(&self.name, texts.get(group).map(String::as_str)),
        };
        let markers = groups.iter().map(|group| Ok((group.clone(), marker(group)?)));
        let markers = markers.collect::<Result<_, ForeignLockError>>()?;
        let content = self.content(reader)?;
        Ok(PoetryPackage {
            locked: ForeignPackage { name: self.name, version: Some(self.version), content },
            markers,
        })
    }

    fn content(&self, reader: &LockReader<'_>) -> Result<LockedContent, ForeignLockError> {
        let source = self.source.as_ref();
        match source.and_then(|source| Some((source, source.kind.as_deref()?))) {
            None | Some((_, "legacy")) => Ok(LockedContent::Hashes(self.hashes().collect())),
            Some((source, "directory")) => {
                Ok(LockedContent::Source(SourcePlace::Directory(source.url.clone())))
            }
            Some((source, "git")) => Ok(LockedContent::Source(self.git(source, reader)?)),
            Some((source, "file")) => self.archive(FilePlace::Path(source.url.clone()), source, reader),
            Some((source, "url")) => {
                let url =
                    Url::parse(&source.url).map_err(|error| reader.place(&self.name, error.to_string()))?;
                self.archive(FilePlace::Url(url), source, reader)
            }
            Some((_, kind)) => Err(reader.place(&self.name, format!("its source is of type `{kind}`"))),
        }
    }

    fn hashes(&self) -> impl Iterator<Item = Digest> {
        self.files.iter().filter_map(|file| file.file.sha256())
    }

    fn git(&self, source: &PoetrySource, reader: &LockReader<'_>) -> Result<SourcePlace, ForeignLockError> {
        let git = reader.git(&self.name);
        let commit = source.resolved_reference.as_deref().unwrap_or_default().parse().map_err(&git)?;
        let reference = GitReference::of_remote(&source.url).map_err(&git)?;
        let reference = reference.at(source.reference.as_deref()).map_err(&git)?;
        let reference = reference.below(source.subdirectory.as_deref()).map_err(&git)?;
        Ok(SourcePlace::Git(reference.locked(commit)))
    }

    /// A wheel or a source at a place of its own.
    fn archive(
        &self,
        place: FilePlace,
        source: &PoetrySource,
        reader: &LockReader<'_>,
    ) -> Result<LockedContent, ForeignLockError> {
        reader.archive(&self.name, place, self.hashes().next(), source.subdirectory.as_deref())
    }
}

impl PoetryLock {
    /// The packages for a target: those of the main group and of the groups that are asked for.
    pub(super) fn select(
        &self,
        origin: &str,
        markers: &MarkerEnvironment,
        selection: &LockSelection,
    ) -> Result<Vec<&ForeignPackage>, SelectionError> {
        let groups: BTreeSet<&GroupName> =
            self.packages.iter().flat_map(|package| package.markers.keys()).collect();
        if let Some(group) = selection.groups.iter().find(|group| !groups.contains(group)) {
            let known = groups.into_iter().filter(|group| group.as_ref() != MAIN).cloned().collect();
            return Err(SelectionError::Group { origin: origin.to_owned(), group: group.clone(), known });
        }
        if let Some(extra) = selection.extras.iter().find(|extra| !self.extras.contains(extra)) {
            let known = self.extras.iter().cloned().collect();
            return Err(SelectionError::Extra { origin: origin.to_owned(), extra: extra.clone(), known });
        }
        let is_meant = |package: &&PoetryPackage| {
            let asked = package
                .markers
                .iter()
                .filter(|(group, _)| group.as_ref() == MAIN || selection.groups.contains(group));
            asked.map(|(_, marker)| marker).any(|marker| marker.evaluate(markers, &selection.extras))
        };
        Ok(self.packages.iter().filter(is_meant).map(|package| &package.locked).collect())
    }
}
