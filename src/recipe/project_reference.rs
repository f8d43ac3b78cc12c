//! Projects that a recipe names by their directories: `.`, `./app[gpu]`, `app @ ./app ; python_version >= '3.11'`.

use std::fmt;

use serde::{Serialize, Serializer};
use uv_normalize::PackageName;

use super::decode::{Complaint, Decode, parsed};
use super::diagnostic::Problems;
use super::python::parse_requirement;
use super::wheel_reference::{ARCHIVES, DirectText, PackageRequirement, parse_package};
use super::yaml::Node;
use crate::pypa::metadata::Requirement;

/// A name in place of one that only the project itself tells.
const UNNAMED: &str = "project";

/// The directory of a project that is built and installed.
#[derive(Debug, Clone, PartialEq)]
pub struct ProjectReference {
    /// The path of the directory, absolute or relative to the recipe's.
    pub path: String,
    /// The project's name, where the recipe writes it.
    pub name: Option<PackageName>,
    /// The extras and the marker, of a project of any name.
    asked: Requirement,
}

/// An entry of `packages`.
#[derive(Debug)]
pub(super) enum ListedPackage {
    Requirement(PackageRequirement),
    Project(ProjectReference),
}

impl ProjectReference {
    /// The requirement on the project, which is called `name`.
    pub fn requirement(&self, name: PackageName) -> Requirement {
        Requirement { name, ..self.asked.clone() }
    }

    /// The directory that `text` names; `None` where it names something else.
    fn parse(text: &str) -> Option<Result<Self, Complaint>> {
        let direct = DirectText::split(text)?;
        let is_path = ["./", "../", "/"].iter().any(|start| direct.place.starts_with(start))
            || [".", ".."].contains(&direct.place);
        // What follows `#` is said of archives alone.
        let is_directory = is_path
            && !direct.place.contains('#')
            && !ARCHIVES.iter().any(|suffix| direct.place.ends_with(suffix));
        is_directory.then(|| Self::of(&direct))
    }

    fn of(direct: &DirectText<'_>) -> Result<Self, Complaint> {
        let head = match direct.head {
            "" => format!("{UNNAMED}{}", direct.extras),
            head => head.to_owned(),
        };
        let marker = if direct.marker.is_empty() { String::new() } else { format!(" ; {}", direct.marker) };
        let asked = parse_requirement(&format!("{head}{marker}")).map_err(Complaint::anywhere)?;
        let name = (!direct.head.is_empty()).then(|| asked.name.clone());
        Ok(Self { path: direct.place.to_owned(), name, asked })
    }
}

impl fmt::Display for ProjectReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = self.asked.to_string();
        let (head, marker) = asked.split_once(';').unwrap_or((&asked, ""));
        let head = match self.name {
            Some(_) => head.trim(),
            None => head.trim().trim_start_matches(UNNAMED),
        };
        write!(f, "{head} @ {} ; {}", self.path, marker.trim())
    }
}

impl Serialize for ProjectReference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Decode for ListedPackage {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "a requirement", problems, |text| match ProjectReference::parse(text) {
            Some(project) => project.map(Self::Project),
            None => parse_package(text).map(Self::Requirement),
        })
    }
}
