//! A recipe together with the files it names, as they were read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use url::Url;
use uv_normalize::PackageName;
use uv_pep440::Version;

use super::locks::SelectedLock;
use super::{
    BaseDescription, Debian, Index, IndexLocation, PackageRequirement, PythonPlace, Recipe, SourcePlace,
    WheelReference,
};
use crate::cuda::HostDrivers;
use crate::oci::Architecture;
use crate::pypa::archive_hash::ArchiveHash;
use crate::pypa::metadata::Requirement;

/// Everything that the user wrote.
#[derive(Debug, Clone)]
pub struct RecipeInputs {
    /// The recipe.
    pub recipe: Recipe,
    /// The recipe's name, else its file's.
    pub name: String,
    /// The directory from which relative paths of the recipe start.
    pub directory: PathBuf,
    /// The platform that is decided about, by its architecture; without one, that of the base.
    pub platform: Option<Architecture>,
    /// The description of its base.
    pub base: BaseDescription,
    /// The directory from which relative paths of the base's description start.
    pub base_directory: PathBuf,
    /// The recipe's own requirements, then those of requirements files.
    pub roots: Vec<RootRequirement>,
    /// The bounds of constraints files.
    pub constraints: Vec<Requirement>,
    /// The requirements that stand in place of all others on their projects.
    pub overrides: Vec<Requirement>,
    /// Warnings about the files that were read.
    pub notices: Vec<String>,
    /// The indexes that a `pyproject.toml` names, in the order to ask them.
    pub project_indexes: Vec<Index>,
    /// The locks of other tools.
    pub locks: Vec<SelectedLock>,
    /// The wheels that are named by their places.
    pub wheels: Vec<NamedWheel>,
    /// The projects that are named by the places of their sources; their requirements are the last of the roots.
    pub projects: Vec<NamedProject>,
    /// The pages and directories that requirements files name beside the indexes.
    pub find_links: Vec<IndexLocation>,
    /// `--no-index`: only the recipe's own indexes are asked, beside what `--find-links` names.
    pub no_index: bool,
    /// The only archives that requirements files allow, by distribution.
    pub hashes: BTreeMap<PackageName, BTreeSet<ArchiveHash>>,
    /// `--pre` in a requirements file: pre-releases of every project are taken like other versions.
    pub file_prereleases: bool,
    /// `--require-hashes`: nothing is installed without such a hash.
    pub require_hashes: bool,
    /// The index that a requirements file names instead of the default one.
    pub index_url: Option<Url>,
    /// The indexes that requirements files name beside the default one.
    pub extra_index_urls: Vec<Url>,
}

/// A requirement of the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootRequirement {
    /// The requirement.
    pub requirement: Requirement,
    /// The file with it: `the recipe` or `requirements.txt`.
    pub source: String,
    /// The wheel that it names.
    pub wheel: Option<WheelReference>,
}

/// A wheel that a requirement or a constraint names by its place.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedWheel {
    /// The requirement on its version, with extras and marker.
    pub requirement: Requirement,
    /// The wheel.
    pub wheel: WheelReference,
    /// As in [`RootRequirement::source`].
    pub source: String,
}

/// A project that is named by the place of its source.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedProject {
    /// The requirement on it, with extras and marker.
    pub requirement: Requirement,
    /// The version, where a lock tells it.
    pub version: Option<Version>,
    /// The place, where a path begins at the recipe's directory.
    pub place: SourcePlace,
    /// As in [`RootRequirement::source`].
    pub source: String,
}

impl NamedProject {
    /// It as it is written, without secrets.
    pub fn shown(&self) -> String {
        format!("{} @ {}", self.requirement, self.place)
    }
}

/// The origin of what the recipe itself asks for.
pub const RECIPE: &str = "the recipe";

impl RootRequirement {
    /// The requirement of a file or a recipe.
    pub fn new(package: PackageRequirement, source: impl Into<String>) -> Self {
        Self { requirement: package.requirement, source: source.into(), wheel: package.wheel }
    }

    /// The requirement as it is written, without secrets.
    pub fn shown(&self) -> String {
        PackageRequirement { requirement: self.requirement.clone(), wheel: self.wheel.clone() }.to_string()
    }

    /// The wheel that it names.
    pub fn named_wheel(&self) -> Option<NamedWheel> {
        let (requirement, source) = (self.requirement.clone(), self.source.clone());
        Some(NamedWheel { requirement, wheel: self.wheel.clone()?, source })
    }
}

impl RecipeInputs {
    /// The same for one of the recipe's platforms. A base of packages is made of that one's.
    #[must_use]
    pub fn on(&self, platform: Architecture) -> Self {
        let base = match &self.base {
            BaseDescription::Debian(debian) => {
                BaseDescription::Debian(Debian { architecture: platform, ..debian.clone() })
            }
            of_image => of_image.clone(),
        };
        Self { platform: Some(platform), base, ..self.clone() }
    }

    /// The requirements of requirements files.
    pub fn file_requirements(&self) -> &[RootRequirement] {
        let end = self.roots.len().saturating_sub(self.projects.len());
        self.roots.get(self.recipe.roots().count()..end).unwrap_or_default()
    }

    /// The archive of the Python that the recipe gives for the platform.
    pub fn python_place(&self) -> Option<&PythonPlace> {
        self.recipe.python.from.as_ref().and_then(|from| from.value.on(self.platform))
    }

    /// The drivers that the image is to run on, over a base with this environment of `NAME=value`.
    pub fn host_drivers(&self, base_env: &[String]) -> HostDrivers {
        let cuda = &self.recipe.cuda;
        HostDrivers {
            oldest: cuda.driver.as_ref().map(|driver| driver.value.clone()),
            compat: cuda.compat.as_ref().and_then(|compat| compat.value.toolkit(base_env)),
        }
    }

    /// The version of Python that the recipe asks for, such as `3.11`.
    pub fn python(&self) -> Option<String> {
        self.recipe.python.version.as_ref().map(|version| version.value.to_string())
    }
}
