//! The files that a recipe's `requirements` names: pip's requirements files, locks and projects of other tools.

use std::str::FromStr;

use serde::Serialize;
use uv_normalize::{ExtraName, GroupName, PackageName};

use super::decode::{Complaint, Decode, Fields, parsed};
use super::diagnostic::{Problem, Problems, quote};
use super::image::HostPath;
use super::locks::{LockKind, LockSelection};
use super::yaml::{Node, YamlValue};
use crate::pypa::pyproject;

/// The kind of such a file, which its name tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequirementsKind {
    /// pip's format.
    Pip,
    /// A lock of another tool.
    Lock(LockKind),
    /// `pyproject.toml`: what a project requires.
    Project,
    /// conda's `environment.yml`, of which the pip part is taken.
    Environment,
}

impl RequirementsKind {
    /// The kind of the file at `path`.
    pub fn of(path: &str) -> Self {
        match path.rsplit('/').next().unwrap_or_default() {
            pyproject::NAME => Self::Project,
            "environment.yml" | "environment.yaml" => Self::Environment,
            name => LockKind::of(name).map_or(Self::Pip, Self::Lock),
        }
    }

    /// Returns whether it has extras and groups to choose from.
    fn has_parts(self) -> bool {
        matches!(self, Self::Lock(_) | Self::Project)
    }
}

/// A file of requirements, and the part of it that is asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RequirementsEntry {
    /// The path, relative to the recipe.
    pub file: String,
    /// The extras.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extras: Vec<ExtraName>,
    /// The dependency groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupName>,
    /// The projects of a workspace of uv; when empty, the one at its root.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<PackageName>,
    /// False if the groups are left out that uv takes by default.
    #[serde(skip_serializing_if = "is_true")]
    pub default_groups: bool,
    /// False if the project itself is left out.
    #[serde(skip_serializing_if = "is_true")]
    pub project: bool,
}

fn is_true(value: &bool) -> bool {
    *value
}

impl RequirementsEntry {
    fn whole(file: String) -> Self {
        let (extras, groups, packages) = (Vec::new(), Vec::new(), Vec::new());
        Self { file, extras, groups, packages, default_groups: true, project: true }
    }

    /// These extras and groups of the file at `path`; names that are none are left out.
    pub fn of(path: &str, extras: &[&str], groups: &[&str]) -> Self {
        Self {
            extras: extras.iter().filter_map(|extra| extra.parse().ok()).collect(),
            groups: groups.iter().filter_map(|group| group.parse().ok()).collect(),
            ..Self::whole(path.to_owned())
        }
    }

    /// The kind of the file.
    pub fn kind(&self) -> RequirementsKind {
        RequirementsKind::of(&self.file)
    }

    /// The part of a lock that is asked for, where `default_groups` are the groups that its tool takes by default.
    pub fn selection(&self, default_groups: Vec<GroupName>) -> LockSelection {
        LockSelection {
            extras: self.extras.clone(),
            groups: self.groups.clone(),
            default_groups: if self.default_groups { default_groups } else { Vec::new() },
            members: self.packages.clone(),
            without_project: !self.project,
        }
    }
}

impl Decode for RequirementsEntry {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        if let YamlValue::Scalar(_) = node.value {
            let file: HostPath = Decode::decode(node, problems)?;
            return known_file(Self::whole(file.0), node, problems);
        }
        let mut fields = Fields::open(node, "a file of requirements", problems)?;
        let help = "name the file: `{file: uv.lock, extras: [gpu], groups: [serve]}`";
        let file: Option<HostPath> = fields.require("file", help, problems);
        let extras: Option<Vec<ExtraName>> = fields.get("extras", problems);
        let groups: Option<Vec<GroupName>> = fields.get("groups", problems);
        let packages: Option<Vec<PackageName>> = fields.get("packages", problems);
        let default_groups = fields.get("default-groups", problems);
        let project = fields.get("project", problems);
        fields.finish(problems);
        let entry = Self {
            file: file?.0,
            extras: extras.unwrap_or_default(),
            groups: groups.unwrap_or_default(),
            packages: packages.unwrap_or_default(),
            default_groups: default_groups.unwrap_or(true),
            project: project.unwrap_or(true),
        };
        known_file(entry, node, problems)
    }
}

/// Complains of a file whose name tells that it is of a kind that is not read, or that has no such parts.
fn known_file(entry: RequirementsEntry, node: &Node, problems: &mut Problems) -> Option<RequirementsEntry> {
    let name = entry.file.rsplit('/').next().unwrap_or_default();
    if let Some(help) = other_kind(name) {
        let message = format!("{} is no requirements file, and imgforge does not read it", quote(name));
        problems.push(Problem::error(node.span, message).help(help));
        return None;
    }
    let kind = entry.kind();
    let has_choice = !entry.extras.is_empty() || !entry.groups.is_empty();
    if has_choice && !kind.has_parts() {
        let message = format!("{} has neither extras nor groups", quote(name));
        let help = "only locks (`uv.lock`, `pylock.toml`, `poetry.lock`) and `pyproject.toml` have";
        problems.push(Problem::error(node.span, message).help(help));
        return None;
    }
    let is_whole = entry.packages.is_empty() && entry.default_groups && entry.project;
    if kind != RequirementsKind::Lock(LockKind::Uv) && !is_whole {
        let message = format!("{} has no workspace of which a part could be chosen", quote(name));
        let help = "`packages`, `default-groups` and `project` are for `uv.lock`";
        problems.push(Problem::error(node.span, message).help(help));
        return None;
    }
    Some(entry)
}

/// The way from a file of another tool to one that is read; `None` for any other file.
fn other_kind(name: &str) -> Option<String> {
    let (export, written) = match name {
        "pdm.lock" => ("pdm export -f pylock -o pylock.toml", "pylock.toml"),
        "Pipfile.lock" => ("pipenv requirements --hash > requirements.txt", "requirements.txt"),
        _ => return None,
    };
    Some(format!("export it with `{export}`, and name `{written}` here"))
}

impl Decode for ExtraName {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "an extra", problems, |text| {
            ExtraName::from_str(text).map_err(|_| Complaint::new(format!("{} is not an extra", quote(text))))
        })
    }
}

impl Decode for GroupName {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "a dependency group", problems, |text| {
            let complaint = || Complaint::new(format!("{} is not a dependency group", quote(text)));
            GroupName::from_str(text).map_err(|_| complaint())
        })
    }
}
