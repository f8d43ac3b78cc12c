//! uv's `sources` and `index` in a `pyproject.toml`: the places that requirements come from.
//!
//! <https://docs.astral.sh/uv/concepts/projects/dependencies/#dependency-sources>

use std::collections::BTreeMap;

use serde::Deserialize;
use url::Url;
use uv_normalize::{ExtraName, GroupName, PackageName};
use uv_pep508::MarkerTree;

use super::project_reference::{ListedPackage, ProjectReference};
use super::source::{Span, Spanned};
use super::source_place::{SourceArchive, SourcePlace};
use super::wheel_reference::{FilePlace, PackageRequirement, WheelReference};
use super::{Index, IndexLocation, MissingStatus};
use crate::pypa::complexity::weigh_requirement;
use crate::pypa::git_reference::GitReference;
use crate::pypa::metadata::Requirement;
use crate::pypa::source_file::SourceFormat;
use crate::pypa::subdirectory::Subdirectory;

/// The sources of one project: each halves the environments that are left.
const MOST_SOURCES: usize = 16;

/// The list of a project that a requirement is in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ProjectPart {
    Dependencies,
    Extra(ExtraName),
    Group(GroupName),
}

/// The sources of projects, by their names.
#[derive(Default, Deserialize)]
#[serde(transparent)]
pub(super) struct SourceTables(BTreeMap<PackageName, OneOrMany>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(Box<SourceTable>),
    Many(Vec<SourceTable>),
}

impl OneOrMany {
    fn all(&self) -> &[SourceTable] {
        match self {
            Self::One(table) => std::slice::from_ref(table),
            Self::Many(tables) => tables,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct SourceTable {
    git: Option<String>,
    rev: Option<String>,
    tag: Option<String>,
    branch: Option<String>,
    #[serde(default)]
    lfs: bool,
    url: Option<Url>,
    path: Option<String>,
    subdirectory: Option<String>,
    #[serde(default, rename = "editable")]
    _editable: bool,
    package: Option<bool>,
    #[serde(default)]
    workspace: bool,
    index: Option<String>,
    marker: Option<String>,
    extra: Option<ExtraName>,
    group: Option<GroupName>,
}

/// An index of uv.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct UvIndex {
    name: Option<String>,
    pub url: String,
    #[serde(default)]
    pub explicit: bool,
    #[serde(default)]
    pub default: bool,
    format: Option<String>,
    #[serde(default)]
    ignore_error_codes: Vec<u16>,
}

impl UvIndex {
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name.as_deref() == Some(name)
    }

    /// True for a page of links.
    pub(super) fn is_flat(&self) -> bool {
        self.format.as_deref() == Some("flat")
    }

    /// It for these projects alone; for all where there are none.
    pub(super) fn at(&self, location: IndexLocation, packages: Vec<PackageName>) -> Index {
        let missing = self.ignore_error_codes.iter().copied().map(MissingStatus).collect();
        Index { name: self.name.clone(), packages, missing, ..Self::unnamed(location) }
    }

    /// An index that has no name.
    pub(super) fn unnamed(location: IndexLocation) -> Index {
        let location = Spanned { value: location, span: Span { start: 0, end: 0 } };
        Index { location, name: None, packages: Vec::new(), missing: Vec::new() }
    }
}

impl SourceTables {
    /// The projects that come from one index, with its name.
    pub(super) fn pinned(&self) -> Vec<(&PackageName, &str)> {
        let tables =
            self.0.iter().flat_map(|(name, tables)| tables.all().iter().map(move |table| (name, table)));
        tables.filter_map(|(name, table)| Some((name, table.index.as_deref()?))).collect()
    }

    /// A requirement of a project's part, in the environments of each source with that, and otherwise as it is; or the
    /// project and the reason why a source cannot be followed.
    pub(super) fn apply(
        &self,
        requirement: Requirement,
        part: &ProjectPart,
    ) -> Result<Vec<ListedPackage>, (PackageName, String)> {
        let tables = self.0.get(&requirement.name).map(OneOrMany::all).unwrap_or_default();
        if tables.len() > MOST_SOURCES {
            return Err((requirement.name, format!("it has more than {MOST_SOURCES} sources")));
        }
        let mut found = Vec::new();
        let mut rest = requirement.marker;
        for table in tables.iter().filter(|table| table.is_for(part)) {
            let failed = |reason: String| (requirement.name.clone(), reason);
            let marker = table.marker().map_err(failed)?;
            let both = rest.and(marker);
            rest = rest.and(marker.negate());
            if !both.is_false() {
                let requirement = Requirement { marker: both, ..requirement.clone() };
                found.push(table.package(requirement).map_err(failed)?);
            }
        }
        if !rest.is_false() || requirement.marker.is_false() {
            let requirement = Requirement { marker: rest, ..requirement };
            found.push(ListedPackage::Requirement(requirement.into()));
        }
        Ok(found)
    }
}

impl SourceTable {
    fn is_for(&self, part: &ProjectPart) -> bool {
        match (&self.extra, &self.group) {
            (Some(extra), _) => *part == ProjectPart::Extra(extra.clone()),
            (None, Some(group)) => *part == ProjectPart::Group(group.clone()),
            (None, None) => true,
        }
    }

    fn marker(&self) -> Result<MarkerTree, String> {
        let Some(text) = &self.marker else { return Ok(MarkerTree::TRUE) };
        weigh_requirement(&format!("x ; {text}")).map_err(|reason| reason.to_string())?;
        text.parse().map_err(|_| format!("`{text}` is not a marker"))
    }

    /// The requirement on what is at this place.
    fn package(&self, requirement: Requirement) -> Result<ListedPackage, String> {
        if self.index.is_some() {
            return Ok(ListedPackage::Requirement(requirement.into()));
        }
        if self.workspace {
            return Err("it is a project of the workspace, which only `uv.lock` tells".into());
        }
        if self.package == Some(false) {
            return Err("it is there for what it requires alone (`package = false`)".into());
        }
        let place = match (&self.git, &self.url, &self.path) {
            (Some(git), None, None) => return Ok(on(SourcePlace::Git(self.git(git)?), requirement)),
            (None, Some(url), None) if matches!(url.scheme(), "http" | "https") => {
                FilePlace::Url(url.clone())
            }
            (None, Some(url), None) => FilePlace::Path(url.path().to_owned()),
            (None, None, Some(path)) => FilePlace::Path(path.clone()),
            _ => return Err("it names no place, or several".into()),
        };
        let filename = place.filename();
        if let Ok(filename) = filename.parse() {
            let wheel = WheelReference { place, filename, sha256: None };
            return Ok(ListedPackage::Requirement(PackageRequirement::on(wheel, requirement)));
        }
        let subdirectory = Subdirectory::new(self.subdirectory.as_deref().unwrap_or_default());
        let subdirectory = subdirectory.map_err(|error| error.to_string())?;
        match (place, SourceFormat::of(&filename)) {
            (FilePlace::Path(path), None) => Ok(on(SourcePlace::Directory(path), requirement)),
            (FilePlace::Url(url), None) => {
                Err(format!("`{}` is neither a wheel nor a source distribution", url.path()))
            }
            (place, Some(_)) => {
                let archive = SourceArchive { place, sha256: None, subdirectory };
                Ok(on(SourcePlace::Archive(archive), requirement))
            }
        }
    }

    fn git(&self, url: &str) -> Result<GitReference, String> {
        if self.lfs {
            return Err("files of Git LFS are not fetched".into());
        }
        let revision = [&self.rev, &self.tag, &self.branch].into_iter().find_map(Option::as_deref);
        let reference = GitReference::of_remote(url).and_then(|reference| reference.at(revision));
        let reference = reference.and_then(|reference| reference.below(self.subdirectory.as_deref()));
        reference.map_err(|error| error.to_string())
    }
}

fn on(place: SourcePlace, requirement: Requirement) -> ListedPackage {
    ListedPackage::Project(ProjectReference::on(place, requirement))
}
