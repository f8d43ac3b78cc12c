//! A recipe together with the files it names, as they were read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use url::Url;
use uv_normalize::PackageName;

use super::{BaseDescription, Recipe};
use crate::oci::Digest;
use crate::pypa::metadata::Requirement;

/// Everything that the user wrote.
#[derive(Debug)]
pub struct RecipeInputs {
    /// The recipe.
    pub recipe: Recipe,
    /// The recipe's name, else its file's.
    pub name: String,
    /// The directory from which relative paths of the recipe start.
    pub directory: PathBuf,
    /// The description of its base.
    pub base: BaseDescription,
    /// The directory from which relative paths of the base's description start.
    pub base_directory: PathBuf,
    /// The recipe's own requirements, then those of requirements files.
    pub roots: Vec<RootRequirement>,
    /// The bounds of constraints files.
    pub constraints: Vec<Requirement>,
    /// The only archives that requirements files allow, by distribution.
    pub hashes: BTreeMap<PackageName, BTreeSet<Digest>>,
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
}

impl RecipeInputs {
    /// The requirements of requirements files.
    pub fn file_requirements(&self) -> &[RootRequirement] {
        self.roots.get(self.recipe.roots().count()..).unwrap_or_default()
    }

    /// The version of Python that the recipe asks for, such as `3.11`.
    pub fn python(&self) -> Option<String> {
        self.recipe.python.version.as_ref().map(|version| version.value.to_string())
    }
}
