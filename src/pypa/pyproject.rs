//! `pyproject.toml`: how a source tree is built.
//!
//! <https://packaging.python.org/en/latest/specifications/pyproject-toml/> · <https://peps.python.org/pep-0517/>

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use uv_normalize::{DEV_DEPENDENCIES as DEV, GroupName, PackageName};

use super::metadata::{MetadataError, Requirement, parse_requirement};
use crate::failure::Hinted;

/// The file's name, at the root of a source tree.
pub const NAME: &str = "pyproject.toml";
/// The bytes of the file: real ones have some ten thousand.
pub const LONGEST: u64 = 1 << 20;
/// The requirements of a build: real ones are a dozen at most.
const MOST_REQUIREMENTS: usize = 256;
/// The backend of trees that name none: it runs their `setup.py`.
const LEGACY_BACKEND: &str = "setuptools.build_meta:__legacy__";
/// The requirement of trees that name none, as pip and uv have it.
const LEGACY_REQUIREMENT: &str = "setuptools>=40.8.0";

/// The build backend of a source tree, and what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildSystem {
    /// The distributions that must be importable.
    pub requires: Vec<Requirement>,
    /// The backend: `setuptools.build_meta`, `module:object`.
    pub backend: String,
    /// The directories of a backend that is part of the tree, as written.
    pub backend_path: Vec<String>,
}

/// The reason why a `pyproject.toml` does not say how to build.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum PyprojectError {
    #[error("`pyproject.toml` is not TOML: {reason}")]
    Toml { reason: String },
    #[error("`pyproject.toml` has a table `build-system` without `requires`")]
    NoRequires,
    #[error("`pyproject.toml` says `{requirement}` in `build-system.requires`")]
    Requirement { requirement: String, source: MetadataError },
    #[error("`pyproject.toml` has more than {MOST_REQUIREMENTS} requirements of the build")]
    ManyRequirements,
}

impl Hinted for PyprojectError {
    fn hint(&self) -> Option<String> {
        Some("tell its authors, or exclude this version with a constraint such as `NAME!=VERSION`".into())
    }
}

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "build-system")]
    build_system: Option<BuildSystemTable>,
}

#[derive(Deserialize)]
struct NamedDocument {
    project: Option<ProjectTable>,
}

#[derive(Deserialize)]
struct ProjectTable {
    name: Option<PackageName>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct UvDocument {
    #[serde(default)]
    dependency_groups: BTreeMap<GroupName, IgnoredAny>,
    tool: Option<ToolTable>,
}

#[derive(Deserialize)]
struct ToolTable {
    uv: Option<UvTable>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct UvTable {
    default_groups: Option<DefaultGroups>,
}

/// The value of uv's `default-groups`.
#[derive(Deserialize)]
#[serde(untagged)]
enum DefaultGroups {
    Named(Vec<GroupName>),
    Word(String),
}

/// The name of the project, where `pyproject.toml` says it.
pub fn project_name(text: &str) -> Result<Option<PackageName>, PyprojectError> {
    let document: NamedDocument = toml::from_str(text).map_err(not_toml)?;
    Ok(document.project.and_then(|project| project.name))
}

/// The parts of the table `project` that a recipe is drafted from.
///
/// <https://packaging.python.org/en/latest/specifications/pyproject-toml/#declaring-project-metadata-the-project-table>
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ProjectSummary {
    /// The versions of Python, as written.
    pub requires_python: Option<String>,
    /// The requirements, as written.
    pub dependencies: Vec<String>,
}

#[derive(Deserialize)]
struct SummarizedDocument {
    project: Option<ProjectSummary>,
}

impl ProjectSummary {
    /// The summary of a `pyproject.toml`; one that describes no project has nothing.
    pub fn of(text: &str) -> Result<Self, PyprojectError> {
        let document: SummarizedDocument = toml::from_str(text).map_err(not_toml)?;
        Ok(document.project.unwrap_or_default())
    }
}

/// The groups that uv takes by default: `dev`, unless `pyproject.toml` names others.
pub fn default_groups(text: &str) -> Result<Vec<GroupName>, PyprojectError> {
    let document: UvDocument = toml::from_str(text).map_err(not_toml)?;
    let named = document.tool.and_then(|tool| tool.uv).and_then(|uv| uv.default_groups);
    Ok(match named {
        Some(DefaultGroups::Named(groups)) => groups,
        Some(DefaultGroups::Word(word)) if word == "all" => document.dependency_groups.into_keys().collect(),
        Some(DefaultGroups::Word(word)) => {
            let reason = format!("`tool.uv.default-groups` is `{word}`, and not a list or `all`");
            return Err(PyprojectError::Toml { reason });
        }
        None => vec![DEV.clone()],
    })
}

fn not_toml(error: toml::de::Error) -> PyprojectError {
    PyprojectError::Toml { reason: error.message().lines().next().unwrap_or_default().to_owned() }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct BuildSystemTable {
    requires: Option<Vec<String>>,
    build_backend: Option<String>,
    #[serde(default)]
    backend_path: Vec<String>,
}

impl BuildSystem {
    /// The build system of a tree with this `pyproject.toml`, or without one.
    pub fn of(text: Option<&str>) -> Result<Self, PyprojectError> {
        let document: Document = toml::from_str(text.unwrap_or_default()).map_err(not_toml)?;
        let Some(table) = document.build_system else { return Self::legacy() };
        let requires = table.requires.ok_or(PyprojectError::NoRequires)?;
        Ok(Self {
            requires: requirements(&requires)?,
            backend: table.build_backend.unwrap_or_else(|| LEGACY_BACKEND.to_owned()),
            backend_path: table.backend_path,
        })
    }

    fn legacy() -> Result<Self, PyprojectError> {
        Ok(Self {
            requires: requirements(&[LEGACY_REQUIREMENT.to_owned()])?,
            backend: LEGACY_BACKEND.to_owned(),
            backend_path: Vec::new(),
        })
    }
}

/// The requirements of a build, as `pyproject.toml` or a backend writes them.
pub fn requirements(texts: &[String]) -> Result<Vec<Requirement>, PyprojectError> {
    if texts.len() > MOST_REQUIREMENTS {
        return Err(PyprojectError::ManyRequirements);
    }
    let read = |text: &String| {
        let requirement = text.clone();
        parse_requirement(text).map_err(|source| PyprojectError::Requirement { requirement, source })
    };
    texts.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: Option<&str>, expected: &str) {
        let shown = match BuildSystem::of(text) {
            Ok(BuildSystem { requires, backend, backend_path }) => {
                let requires: Vec<String> = requires.iter().map(ToString::to_string).collect();
                format!("{backend} {backend_path:?} needs {}", requires.join(", "))
            }
            Err(error) => error.to_string(),
        };
        assert!(shown.starts_with(expected), "{shown}");
    }

    #[test]
    fn a_tree_says_how_it_is_built_or_is_built_by_its_setup_py() {
        let legacy = "setuptools.build_meta:__legacy__ [] needs setuptools>=40.8.0";
        check(None, legacy);
        check(Some("[tool.black]\nline-length = 100\n"), legacy);
        check(
            Some("[build-system]\nrequires = ['setuptools', 'wheel']\n"),
            "setuptools.build_meta:__legacy__ [] needs setuptools, wheel",
        );
        check(
            Some("[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n"),
            "backend [\".\"] needs ",
        );
    }

    #[test]
    fn what_is_none_is_told() {
        check(Some("[build-system\n"), "`pyproject.toml` is not TOML");
        check(Some("[build-system]\nbuild-backend = 'x'\n"), "`pyproject.toml` has a table");
        check(Some("[build-system]\nrequires = ['a b c']\n"), "`pyproject.toml` says `a b c`");
        let many = format!("[build-system]\nrequires = [{}]\n", "'a',".repeat(300));
        check(Some(&many), "`pyproject.toml` has more than 256");
    }
}
