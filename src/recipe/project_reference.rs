//! Projects that are named by the places of their sources: `.`, `./app[gpu]`, `app @ ./app ; python_version >= '3.11'`,
//! `app @ git+https://host/app@v1`, `./app-1.0.tar.gz`.

use std::fmt;

use serde::{Serialize, Serializer};
use uv_normalize::PackageName;

use super::decode::{Complaint, Decode, parsed};
use super::diagnostic::{Problems, quote};
use super::python::parse_requirement;
use super::source_place::SourcePlace;
use super::wheel_reference::{DirectText, PackageRequirement, parse_package};
use super::yaml::Node;
use crate::pypa::metadata::Requirement;

/// A name in place of one that only the project itself tells.
const UNNAMED: &str = "project";

/// A project whose source is built and installed.
#[derive(Debug, Clone, PartialEq)]
pub struct ProjectReference {
    /// The place of the source.
    pub place: SourcePlace,
    /// The project's name, where it is written: of all but directories it is.
    pub name: Option<PackageName>,
    /// The extras and the marker, of a project of any name.
    asked: Requirement,
}

/// An entry of `packages`, or a line of a requirements file.
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

    /// The source at `place`, with the extras and the marker of a requirement.
    pub(super) fn on(place: SourcePlace, asked: Requirement) -> Self {
        let asked = Requirement { version_or_url: None, ..asked };
        Self { place, name: Some(asked.name.clone()), asked }
    }

    /// It as it is seen from the directory at `above`, where its path begins at one that is relative to that.
    pub fn moved(self, above: &str) -> Self {
        Self { place: self.place.moved(above), ..self }
    }

    /// The directory at `path`.
    pub(super) fn directory(path: &str) -> Result<Self, Complaint> {
        let place = SourcePlace::Directory(path.to_owned());
        let asked = parse_requirement(UNNAMED).map_err(Complaint::anywhere)?;
        Ok(Self { place, name: None, asked })
    }

    /// The source that `text` names; `None` where it names something else.
    fn parse(text: &str) -> Option<Result<Self, Complaint>> {
        let direct = DirectText::split(text)?;
        let place = SourcePlace::parse(direct.place)?;
        Some(place.and_then(|place| Self::of(place, &direct)))
    }

    fn of(place: SourcePlace, direct: &DirectText<'_>) -> Result<Self, Complaint> {
        let told = SourcePlace::told_name(direct.place).filter(|_| direct.head.is_empty());
        if direct.head.is_empty() && told.is_none() && !place.is_directory() {
            let message = format!("{} does not tell the name of its project", quote(direct.place));
            return Err(Complaint::new(message).help(format!("write it in front: `NAME @ {}`", direct.place)));
        }
        let head = match (direct.head, &told) {
            ("", Some(told)) => format!("{told}{}", direct.extras),
            ("", None) => format!("{UNNAMED}{}", direct.extras),
            (head, _) => head.to_owned(),
        };
        let marker = if direct.marker.is_empty() { String::new() } else { format!(" ; {}", direct.marker) };
        let asked = parse_requirement(&format!("{head}{marker}")).map_err(Complaint::anywhere)?;
        let name = (!direct.head.is_empty() || told.is_some()).then(|| asked.name.clone());
        Ok(Self { place, name, asked })
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
        write!(f, "{head} @ {} ; {}", self.place, marker.trim())
    }
}

impl Serialize for ProjectReference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl ListedPackage {
    /// Reads a requirement that an index can answer, or that names a wheel or a source.
    pub(super) fn parse(text: &str) -> Result<Self, Complaint> {
        match ProjectReference::parse(text) {
            Some(project) => project.map(Self::Project),
            None => parse_package(text).map(Self::Requirement),
        }
    }
}

impl Decode for ListedPackage {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "a requirement", problems, Self::parse)
    }
}
