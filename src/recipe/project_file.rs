//! `pyproject.toml` as a file of requirements: what a project requires, with uv's settings on where that comes from.
//!
//! <https://packaging.python.org/en/latest/specifications/pyproject-toml/> ·
//! <https://packaging.python.org/en/latest/specifications/dependency-groups/> ·
//! <https://docs.astral.sh/uv/reference/settings/>

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use url::Url;
use uv_normalize::{DEV_DEPENDENCIES as DEV, ExtraName, GroupName, PackageName};
use uv_pep508::MarkerTree;

use super::decode::Complaint;
use super::locks::SelectionError;
use super::packages::{parse_links, parse_location};
use super::project_reference::{ListedPackage, ProjectReference};
use super::project_sources::{ProjectPart, SourceTables, UvIndex};
use super::python::parse_requirement;
use super::{Index, IndexLocation, PackageRequirement, RequirementsEntry, Timestamp};
use crate::failure::{Fault, Hinted};
use crate::pypa::metadata::Requirement;

/// The settings of uv that change what is chosen, and that imgforge does not follow, or not with every value.
const REFUSED: [&str; 11] = [
    "build-constraint-dependencies",
    "config-settings",
    "config-settings-package",
    "dependency-metadata",
    "extra-build-dependencies",
    "index-strategy",
    "no-binary",
    "no-binary-package",
    "no-sources",
    "prerelease",
    "resolution",
];
/// The values of these settings by which they change nothing.
const DEFAULTS: [&str; 5] = ["first-index", "highest", "if-necessary", "if-necessary-or-explicit", "false"];

/// The groups that include each other: real ones are a few.
const DEEPEST_GROUP: usize = 32;

/// The requirements of a project, and the places that they come from.
#[derive(Debug, Default)]
pub struct ProjectFile {
    /// The requirements on indexes and wheels.
    pub requirements: Vec<PackageRequirement>,
    /// The projects that are named by the places of their sources.
    pub projects: Vec<ProjectReference>,
    /// Bounds on versions.
    pub constraints: Vec<Requirement>,
    /// Requirements that stand in place of all others on their projects.
    pub overrides: Vec<Requirement>,
    /// The indexes, in the order to ask them.
    pub indexes: Vec<Index>,
    /// The index instead of the default one.
    pub default_index: Option<Url>,
    /// Pre-releases are taken like other versions.
    pub prereleases: bool,
    /// Pages and directories of files.
    pub find_links: Vec<IndexLocation>,
    /// True if the default indexes are not asked.
    pub no_index: bool,
    /// Only what was uploaded before this instant is considered.
    pub exclude_newer: Option<Timestamp>,
}

/// The reason why a `pyproject.toml` cannot be followed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum ProjectFileError {
    #[error("line {line} of `{origin}` cannot be read: {reason}")]
    Syntax { origin: String, line: usize, reason: String },
    #[error("`{origin}` has no table `project`")]
    NoProject { origin: String },
    #[error("`{origin}` says that its `{field}` are dynamic: only its build tells them")]
    Dynamic { origin: String, field: &'static str },
    #[error("`{origin}` says `{requirement}`: {reason}")]
    Requirement { origin: String, requirement: String, reason: String },
    #[error(
        "the group `{group}` of `{origin}` includes itself, or is in more than {DEEPEST_GROUP} groups that include each other"
    )]
    Circle { origin: String, group: GroupName },
    #[error("`{origin}` says in `tool.uv.sources` of `{name}` what cannot be followed: {reason}")]
    Source { origin: String, name: PackageName, reason: String },
    #[error("`{origin}` says `tool.uv.{key}`, which imgforge does not follow")]
    Setting { origin: String, key: String },
    #[error("`{origin}` says `{value}` in `tool.uv.{key}`: {reason}")]
    Value { origin: String, key: &'static str, value: String, reason: String },
    #[error(transparent)]
    Selection(#[from] SelectionError),
}

impl Hinted for ProjectFileError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoProject { .. } => {
                "only the standard table is read: lock with the project's own tool, and name `poetry.lock`, `uv.lock` or \
                 `pylock.toml`"
                    .into()
            }
            Self::Dynamic { .. } => "name the project itself, which is built: `packages: [.]`".into(),
            Self::Circle { .. } => "remove the `include-group` that leads back".into(),
            Self::Source { .. } | Self::Setting { .. } => {
                "name `uv.lock` in its place, where uv has decided it: `requirements: [uv.lock]`".into()
            }
            Self::Selection(error) => return error.hint(),
            Self::Syntax { .. } | Self::Requirement { .. } | Self::Value { .. } => {
                "mend the file: `uv lock` or `pip install .` would refuse it, too".into()
            }
        })
    }

    fn fault(&self) -> Fault {
        Fault::Input
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ProjectText {
    project: Option<StandardTable>,
    #[serde(default)]
    dependency_groups: BTreeMap<GroupName, Vec<GroupItem>>,
    #[serde(default)]
    tool: ToolText,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct StandardTable {
    name: Option<PackageName>,
    #[serde(default)]
    dependencies: Vec<String>,
    #[serde(default)]
    optional_dependencies: BTreeMap<ExtraName, Vec<String>>,
    #[serde(default)]
    dynamic: Vec<String>,
}

#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum GroupItem {
    Requirement(String),
    Include {
        #[serde(rename = "include-group")]
        include_group: GroupName,
    },
}

#[derive(Default, Deserialize)]
struct ToolText {
    #[serde(default)]
    uv: UvText,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct UvText {
    #[serde(default)]
    sources: SourceTables,
    #[serde(default)]
    index: Vec<UvIndex>,
    index_url: Option<String>,
    #[serde(default)]
    extra_index_url: Vec<String>,
    #[serde(default)]
    find_links: Vec<String>,
    #[serde(default)]
    no_index: bool,
    exclude_newer: Option<String>,
    #[serde(default)]
    override_dependencies: Vec<String>,
    #[serde(default)]
    constraint_dependencies: Vec<String>,
    #[serde(default)]
    exclude_dependencies: Vec<PackageName>,
    #[serde(default)]
    dev_dependencies: Vec<String>,
    #[serde(flatten)]
    others: BTreeMap<String, toml::Value>,
}

impl ProjectFile {
    /// Reads the part of a file that `entry` asks for; `origin` is its name for messages.
    pub fn read(text: &str, origin: &str, entry: &RequirementsEntry) -> Result<Self, ProjectFileError> {
        let read: ProjectText = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
            let reason = error.message().lines().collect::<Vec<_>>().join("; ");
            ProjectFileError::Syntax { origin: origin.to_owned(), line, reason }
        })?;
        let mut reader = ProjectReader {
            origin,
            text: &read,
            found: Self::default(),
            seen: BTreeSet::new(),
            pending: Vec::new(),
        };
        reader.settings()?;
        reader.requirements(entry)?;
        reader.indexes()?;
        Ok(reader.found)
    }
}

struct ProjectReader<'a> {
    origin: &'a str,
    text: &'a ProjectText,
    found: ProjectFile,
    /// The parts that were asked for.
    seen: BTreeSet<ProjectPart>,
    /// Those of them that were not read yet.
    pending: Vec<ProjectPart>,
}

impl ProjectReader<'_> {
    fn settings(&mut self) -> Result<(), ProjectFileError> {
        let uv = &self.text.tool.uv;
        let allows = |value: &toml::Value| value.as_str() == Some("allow");
        self.found.prereleases = uv.others.get("prerelease").is_some_and(allows);
        let is_followed = |key: &str, value: &toml::Value| match value {
            toml::Value::String(word) if key == "prerelease" && word == "allow" => true,
            toml::Value::String(word) => DEFAULTS.contains(&word.as_str()),
            toml::Value::Boolean(set) => !set,
            toml::Value::Array(items) => items.is_empty(),
            toml::Value::Table(items) => items.is_empty(),
            _ => false,
        };
        let refused =
            uv.others.iter().find(|(key, value)| REFUSED.contains(&key.as_str()) && !is_followed(key, value));
        if let Some((key, _)) = refused {
            return Err(ProjectFileError::Setting { origin: self.origin.to_owned(), key: key.clone() });
        }
        self.found.overrides = self.bounds(&uv.override_dependencies)?;
        self.found.constraints = self.bounds(&uv.constraint_dependencies)?;
        // As uv's own: a project that nothing requires on any machine.
        let never = |name: &PackageName| Requirement {
            name: name.clone(),
            extras: Box::default(),
            version_or_url: None,
            marker: MarkerTree::FALSE,
            origin: None,
        };
        self.found.overrides.extend(uv.exclude_dependencies.iter().map(never));
        self.found.no_index = uv.no_index;
        if let Some(moment) = &uv.exclude_newer {
            let parsed = Timestamp::parse(moment).map_err(|complaint| ProjectFileError::Value {
                origin: self.origin.to_owned(),
                key: "exclude-newer",
                value: moment.clone(),
                reason: complaint.into_message(),
            });
            self.found.exclude_newer = Some(parsed?);
        }
        Ok(())
    }

    fn bounds(&self, texts: &[String]) -> Result<Vec<Requirement>, ProjectFileError> {
        let parse = |text: &String| parse_requirement(text).map_err(|complaint| self.wrong(text, complaint));
        texts.iter().map(parse).collect()
    }

    fn wrong(&self, requirement: &str, complaint: Complaint) -> ProjectFileError {
        ProjectFileError::Requirement {
            origin: self.origin.to_owned(),
            requirement: requirement.to_owned(),
            reason: complaint.into_message(),
        }
    }

    fn requirements(&mut self, entry: &RequirementsEntry) -> Result<(), ProjectFileError> {
        match &self.text.project {
            Some(_) => self.ask(ProjectPart::Dependencies),
            None if entry.groups.is_empty() => {
                return Err(ProjectFileError::NoProject { origin: self.origin.to_owned() });
            }
            None => {}
        }
        entry.extras.iter().for_each(|extra| self.ask(ProjectPart::Extra(extra.clone())));
        entry.groups.iter().for_each(|group| self.ask(ProjectPart::Group(group.clone())));
        while let Some(part) = self.pending.pop() {
            self.part(&part)?;
        }
        Ok(())
    }

    fn ask(&mut self, part: ProjectPart) {
        if self.seen.insert(part.clone()) {
            self.pending.push(part);
        }
    }

    /// Takes the requirements of one list of the project.
    fn part(&mut self, part: &ProjectPart) -> Result<(), ProjectFileError> {
        let texts = match part {
            ProjectPart::Dependencies => self.dependencies()?,
            ProjectPart::Extra(extra) => self.extra(extra)?,
            ProjectPart::Group(group) => {
                let mut texts = Vec::new();
                self.group(group, &mut Vec::new(), &mut BTreeSet::new(), &mut texts)?;
                texts
            }
        };
        texts.iter().try_for_each(|text| self.requirement(text, part))
    }

    fn dependencies(&self) -> Result<Vec<String>, ProjectFileError> {
        self.check_static("dependencies")?;
        Ok(self.text.project.as_ref().map(|project| project.dependencies.clone()).unwrap_or_default())
    }

    fn check_static(&self, field: &'static str) -> Result<(), ProjectFileError> {
        let dynamic =
            self.text.project.as_ref().is_some_and(|project| project.dynamic.iter().any(|it| it == field));
        match dynamic {
            true => Err(ProjectFileError::Dynamic { origin: self.origin.to_owned(), field }),
            false => Ok(()),
        }
    }

    fn extra(&self, extra: &ExtraName) -> Result<Vec<String>, ProjectFileError> {
        self.check_static("optional-dependencies")?;
        let extras = self.text.project.as_ref().map(|project| &project.optional_dependencies);
        let found = extras.and_then(|extras| extras.get(extra)).cloned();
        found.ok_or_else(|| {
            let known = extras.into_iter().flat_map(|extras| extras.keys().cloned()).collect();
            SelectionError::Extra { origin: self.origin.to_owned(), extra: extra.clone(), known }.into()
        })
    }

    /// Adds the requirements of a group, and of those that it includes.
    fn group(
        &self,
        group: &GroupName,
        above: &mut Vec<GroupName>,
        done: &mut BTreeSet<GroupName>,
        texts: &mut Vec<String>,
    ) -> Result<(), ProjectFileError> {
        if above.contains(group) || above.len() > DEEPEST_GROUP {
            return Err(ProjectFileError::Circle { origin: self.origin.to_owned(), group: group.clone() });
        }
        if !done.insert(group.clone()) {
            return Ok(());
        }
        let groups = &self.text.dependency_groups;
        let legacy = &self.text.tool.uv.dev_dependencies;
        if *group == *DEV {
            texts.extend(legacy.iter().cloned());
        }
        let Some(items) = groups.get(group) else {
            return match *group == *DEV && !legacy.is_empty() {
                true => Ok(()),
                false => Err(SelectionError::Group {
                    origin: self.origin.to_owned(),
                    group: group.clone(),
                    known: groups.keys().cloned().collect(),
                }
                .into()),
            };
        };
        above.push(group.clone());
        for item in items {
            match item {
                GroupItem::Requirement(text) => texts.push(text.clone()),
                GroupItem::Include { include_group } => self.group(include_group, above, done, texts)?,
            }
        }
        above.pop();
        Ok(())
    }

    fn requirement(&mut self, text: &str, part: &ProjectPart) -> Result<(), ProjectFileError> {
        let listed = ListedPackage::parse(text).map_err(|complaint| self.wrong(text, complaint))?;
        let package = match listed {
            ListedPackage::Project(project) => {
                self.found.projects.push(project);
                return Ok(());
            }
            ListedPackage::Requirement(package) => package,
        };
        let own = self.text.project.as_ref().and_then(|project| project.name.as_ref());
        if own == Some(&package.requirement.name) {
            let extras = package.requirement.extras.iter().cloned();
            extras.for_each(|extra| self.ask(ProjectPart::Extra(extra)));
            return Ok(());
        }
        if package.wheel.is_some() {
            self.found.requirements.push(package);
            return Ok(());
        }
        let sourced = self.text.tool.uv.sources.apply(package.requirement, part);
        let sourced = sourced.map_err(|(name, reason)| ProjectFileError::Source {
            origin: self.origin.to_owned(),
            name,
            reason,
        })?;
        for listed in sourced {
            match listed {
                ListedPackage::Project(project) => self.found.projects.push(project),
                ListedPackage::Requirement(package) => self.found.requirements.push(package),
            }
        }
        Ok(())
    }

    /// The indexes, those for some projects alone first.
    fn indexes(&mut self) -> Result<(), ProjectFileError> {
        let uv = &self.text.tool.uv;
        let origin = self.origin;
        let wrong = |key: &'static str, value: &str, complaint: Complaint| ProjectFileError::Value {
            origin: origin.to_owned(),
            key,
            value: value.to_owned(),
            reason: complaint.into_message(),
        };
        let pinned = uv.sources.pinned();
        if let Some((name, index)) =
            pinned.iter().find(|(_, index)| !uv.index.iter().any(|it| it.is_called(index)))
        {
            return Err(ProjectFileError::Source {
                origin: origin.to_owned(),
                name: (*name).clone(),
                reason: format!("no index is called `{index}`"),
            });
        }
        let (mut limited, mut general) = (Vec::new(), Vec::new());
        for index in &uv.index {
            let location =
                parse_location(&index.url).map_err(|complaint| wrong("index", &index.url, complaint))?;
            let packages =
                pinned.iter().filter(|(_, name)| index.is_called(name)).map(|(name, _)| (*name).clone());
            let packages: Vec<PackageName> = packages.collect();
            if !packages.is_empty() {
                limited.push(index.at(location.clone(), packages));
            }
            match (index.explicit, index.is_flat(), index.default, location) {
                (true, ..) => {}
                (_, true, _, location) => self.found.find_links.push(location),
                (_, _, true, IndexLocation::Url(url)) => self.found.default_index = Some(url),
                (_, _, _, location) => general.push(index.at(location, Vec::new())),
            }
        }
        for url in &uv.extra_index_url {
            let location =
                parse_location(url).map_err(|complaint| wrong("extra-index-url", url, complaint))?;
            general.push(UvIndex::unnamed(location));
        }
        if let Some(url) = &uv.index_url {
            let location = parse_location(url).map_err(|complaint| wrong("index-url", url, complaint))?;
            match location {
                IndexLocation::Url(url) => self.found.default_index = Some(url),
                IndexLocation::Path(_) => general.push(UvIndex::unnamed(location)),
            }
        }
        for links in &uv.find_links {
            let location = parse_links(links).map_err(|complaint| wrong("find-links", links, complaint))?;
            self.found.find_links.push(location);
        }
        self.found.indexes = limited.into_iter().chain(general).collect();
        Ok(())
    }
}
