//! The recipe's words about Python: frameworks, packages, indexes and where CUDA comes from.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use url::Url;
use uv_normalize::{ExtraName, PackageName};
use uv_pep440::VersionSpecifiers;
use uv_pep508::{MarkerTree, VersionOrUrl};

use super::decode::{Complaint, Decode, Fields, entries, parsed, refuse_duplicates, unexpected, word};
use super::diagnostic::{Problem, Problems, quote};
use super::forward_compatibility::ForwardCompatibility;
use super::image::HostPath;
use super::python::{PythonVersion, parse_framework_key, parse_framework_version, parse_requirement};
use super::python_place::PythonPlaces;
use super::source::{Span, Spanned};
use super::suggest::closest;
use super::wheel_reference::{PackageRequirement, below, file_path};
use super::yaml::{Node, YamlValue};
use crate::cuda::{Capability, Component, Driver, Gpu};

/// The recipe's words on the base's Python.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Python {
    /// The version the base must have; without it, any.
    pub version: Option<Spanned<PythonVersion>>,
    /// A Python that the image gets in place of the base's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Spanned<PythonPlaces>>,
    /// The treatment of the marker against pip.
    pub externally_managed: ExternallyManaged,
    /// The constraints of a later `pip install`.
    pub constrain: Constrain,
    /// True if the modules of wheels are compiled.
    pub bytecode: bool,
    /// The projects whose source distributions are built.
    pub build: ProjectSet,
    /// The name `python` beside `python3`.
    pub unversioned: Unversioned,
}

impl Decode for Python {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        if let YamlValue::Scalar(_) = node.value {
            let version = Decode::decode(node, problems)?;
            return Some(Self { version: Some(version), ..Self::default() });
        }
        let mut fields = Fields::open(node, "`python`", problems)?;
        let version = fields.get("version", problems);
        let from = fields.get("from", problems);
        let externally_managed = fields.get("externally-managed", problems);
        let constrain = fields.get("constrain", problems);
        let bytecode = fields.get("bytecode", problems);
        let build = fields.get("build", problems);
        let unversioned = fields.get("unversioned", problems);
        fields.finish(problems);
        Some(Self {
            version,
            from,
            externally_managed: externally_managed.unwrap_or_default(),
            constrain: constrain.unwrap_or_default(),
            bytecode: bytecode.unwrap_or_default(),
            build: build.unwrap_or_default(),
            unversioned: unversioned.unwrap_or_default(),
        })
    }
}

/// The treatment of the marker by which a Linux distribution keeps pip from its Python.
///
/// <https://packaging.python.org/en/latest/specifications/externally-managed-environments/>
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ExternallyManaged {
    /// The marker is removed: pip works in the image without flags.
    #[default]
    Remove,
    /// The marker stays.
    Keep,
}

impl Decode for ExternallyManaged {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        word(node, "`keep` or `remove`", &[("keep", Self::Keep), ("remove", Self::Remove)], problems)
    }
}

/// The projects that a key is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProjectSet {
    /// Every project.
    All,
    /// These projects.
    Projects(BTreeSet<PackageName>),
}

impl Default for ProjectSet {
    fn default() -> Self {
        Self::Projects(BTreeSet::new())
    }
}

impl ProjectSet {
    /// Returns whether a project is among them.
    pub fn has(&self, project: &PackageName) -> bool {
        match self {
            Self::All => true,
            Self::Projects(projects) => projects.contains(project),
        }
    }

    /// Returns whether there is none.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Adds the projects of another set.
    pub fn extend(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::All, _) => {}
            (_, Self::All) => *self = Self::All,
            (Self::Projects(projects), Self::Projects(more)) => projects.extend(more.iter().cloned()),
        }
    }
}

impl Decode for ProjectSet {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        const HELP: &str = "name the projects, `[fvcore, langdetect]`, or write `all`";
        match &node.value {
            YamlValue::Scalar(text) if text == "all" => Some(Self::All),
            YamlValue::Scalar(text) => {
                let message = format!("{} is neither `all` nor a list of projects", quote(text));
                problems.push(Problem::error(node.span, message).help(HELP));
                None
            }
            _ => {
                let projects: Vec<Spanned<PackageName>> = Decode::decode(node, problems)?;
                refuse_duplicates(&projects, problems, PackageName::clone, PackageName::to_string);
                Some(Self::Projects(projects.into_iter().map(|project| project.value).collect()))
            }
        }
    }
}

/// The treatment of the name `python`, which Debian leaves to people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unversioned {
    /// It leads to the interpreter where the image calls nothing so.
    #[default]
    Link,
    /// It stays as the base has it.
    Keep,
}

impl Decode for Unversioned {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        word(node, "`link` or `keep`", &[("link", Self::Link), ("keep", Self::Keep)], problems)
    }
}

/// The distributions that `pip install` in a container may not replace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Constrain {
    /// The frameworks and the components: a constraints file, which `PIP_CONSTRAINT` and `UV_CONSTRAINT` name.
    #[default]
    Frameworks,
    /// There is no constraints file.
    Nothing,
}

impl Decode for Constrain {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let words = [("frameworks", Self::Frameworks), ("nothing", Self::Nothing)];
        word(node, "`frameworks` or `nothing`", &words, problems)
    }
}

/// A framework, asked for by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Framework {
    /// The extras that the recipe asks for.
    pub extras: Vec<ExtraName>,
    /// Empty for any version.
    pub specifiers: VersionSpecifiers,
    /// The place of its name.
    #[serde(skip)]
    pub span: Span,
}

impl Framework {
    /// The framework as a PEP 508 requirement.
    pub fn requirement(&self, name: &PackageName) -> uv_pep508::Requirement {
        let specifiers = Some(&self.specifiers).filter(|specifiers| !specifiers.is_empty());
        uv_pep508::Requirement {
            name: name.clone(),
            extras: self.extras.clone().into_boxed_slice(),
            version_or_url: specifiers.cloned().map(VersionOrUrl::VersionSpecifier),
            marker: MarkerTree::TRUE,
            origin: None,
        }
    }
}

#[derive(Default)]
pub(super) struct Frameworks(pub(super) BTreeMap<PackageName, Framework>);

impl Decode for Frameworks {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut frameworks: BTreeMap<PackageName, Framework> = BTreeMap::new();
        for (key, version) in entries(node, "a mapping of names to versions", problems)? {
            let specifiers = framework_version(version, problems);
            let (name, extras) = match parse_framework_key(key) {
                Ok(parsed) => parsed,
                Err(complaint) => {
                    problems.push(complaint.at(key.span));
                    continue;
                }
            };
            if let Some(first) = frameworks.get(&name) {
                let message = format!("the framework `{name}` is written twice");
                let problem = Problem::error(key.span, message).label("again here");
                problems.push(problem.related(first.span, "first here").help("keep one of the two"));
            } else if let Some(specifiers) = specifiers {
                frameworks.insert(name, Framework { extras, specifiers, span: key.span });
            }
        }
        Some(Self(frameworks))
    }
}

fn framework_version(node: &Node, problems: &mut Problems) -> Option<VersionSpecifiers> {
    match node.value {
        YamlValue::Null => Some(VersionSpecifiers::empty()),
        _ => parsed(node, "a version", problems, parse_framework_version),
    }
}

/// Complains of packages that are asked for twice: as frameworks too, or twice for the same environments. A framework may
/// have a wheel of the user's.
pub(super) fn refuse_overlap(
    frameworks: &BTreeMap<PackageName, Framework>,
    packages: &[Spanned<PackageRequirement>],
    problems: &mut Problems,
) {
    let mut seen: BTreeMap<(&PackageName, MarkerTree), Span> = BTreeMap::new();
    for package in packages {
        let name = &package.requirement.name;
        if let Some(framework) = frameworks.get(name).filter(|_| package.wheel.is_none()) {
            let message = format!("`{name}` is a framework of this recipe already");
            let problem = Problem::error(package.span, message).related(framework.span, "here");
            problems.push(problem.help("write its version and extras there: `jax[cuda12]: \"0.5.3\"`"));
        }
        let first = *seen.entry((name, package.requirement.marker)).or_insert(package.span);
        if first != package.span {
            let message = format!("`{name}` is listed twice");
            let problem =
                Problem::error(package.span, message).label("again here").related(first, "first here");
            problems.push(match package.wheel {
                None => problem.help("write one requirement: `numpy>=1.26,<3`"),
                Some(_) => problem.help("keep one of the two, or tell them apart by markers"),
            });
        }
    }
}

/// A bound on versions: a file of them, or one that is written in the recipe.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ConstraintEntry {
    /// The path of a constraints file, relative to the recipe.
    File(String),
    /// A requirement, as in uv's `constraint-dependencies`.
    Bound(uv_pep508::Requirement),
}

impl Decode for ConstraintEntry {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "a path or a requirement", problems, |text| {
            // A bound compares; without that, a name is a file's.
            let compares = text.contains(['<', '>', '!', '~']) || text.contains("==");
            match compares {
                true => parse_requirement(text).map(Self::Bound),
                false if text.trim().is_empty() => Err(Complaint::new("the path is empty")),
                false => Ok(Self::File(text.to_owned())),
            }
        })
    }
}

/// An index beside the default one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Index {
    /// Its simple repository, or its directory.
    #[serde(flatten)]
    pub location: Spanned<IndexLocation>,
    /// Its name in messages; without it, its URL.
    pub name: Option<String>,
    /// The only projects to look up there; when empty, every project.
    pub packages: Vec<PackageName>,
    /// The statuses by which it answers for a project that it does not have, beside 404 and 410.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<MissingStatus>,
}

/// The location of an index, or of a list of files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IndexLocation {
    /// A URL of HTTP.
    Url(Url),
    /// A directory, absolute or relative to the recipe's.
    Path(String),
}

impl IndexLocation {
    /// It as it is seen from the directory at `above`, where its path begins at one that is relative to that.
    pub fn moved(self, above: &str) -> Self {
        match self {
            Self::Path(path) => Self::Path(below(above, &path)),
            Self::Url(url) => Self::Url(url),
        }
    }
}

impl Index {
    /// As [`IndexLocation::moved`].
    pub fn moved(self, above: &str) -> Self {
        let Spanned { value, span } = self.location;
        Self { location: Spanned { value: value.moved(above), span }, ..self }
    }
}

impl Decode for Index {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        if let YamlValue::Scalar(_) = node.value {
            let location = Decode::decode(node, problems)?;
            return Some(Self { location, name: None, packages: Vec::new(), missing: Vec::new() });
        }
        let mut fields = Fields::open(node, "an index", problems)?;
        let path: Option<Spanned<HostPath>> = fields.get("path", problems);
        let url: Option<Spanned<Url>> = match (fields.has("path"), fields.has("url")) {
            (true, false) => fields.get("url", problems),
            (false, _) => {
                let help = "give its simple API, `{url: https://…/simple, packages: [torch]}`, or a directory of \
                            wheels, `{path: wheels}`";
                fields.require("url", help, problems)
            }
            (true, true) => {
                let problem = Problem::error(fields.span(), "the index has both `url` and `path`");
                problems.push(problem.help("make two indexes of it"));
                fields.get("url", problems)
            }
        };
        let name = fields.get("name", problems);
        let packages: Option<Vec<PackageName>> = fields.get("packages", problems);
        let missing: Option<Vec<MissingStatus>> = fields.get("missing", problems);
        fields.finish(problems);
        let path = path.map(|path| Spanned { value: IndexLocation::Path(path.value.0), span: path.span });
        let url = url.map(|url| Spanned { value: IndexLocation::Url(url.value), span: url.span });
        Some(Self {
            location: path.or(url)?,
            name,
            packages: packages.unwrap_or_default(),
            missing: missing.unwrap_or_default(),
        })
    }
}

impl Decode for IndexLocation {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "a URL or a path", problems, parse_location)
    }
}

/// Reads a URL, or the path of a directory: one that is not absolute begins with a dot.
pub(super) fn parse_location(text: &str) -> Result<IndexLocation, Complaint> {
    match text.strip_prefix("file:") {
        Some(_) => file_path(text).map(IndexLocation::Path),
        None if text.starts_with(['.', '/']) => Ok(IndexLocation::Path(text.to_owned())),
        None => parse_url(text).map(IndexLocation::Url).map_err(|complaint| {
            complaint
                .help("write `https://` or `http://`, the host, and the path; or a directory: `./wheels`")
        }),
    }
}

/// Reads the value of `--find-links`: a URL, or any path.
pub(super) fn parse_links(text: &str) -> Result<IndexLocation, Complaint> {
    match text.contains("://") || text.starts_with("file:") {
        true => parse_location(text),
        false => Ok(IndexLocation::Path(text.to_owned())),
    }
}

/// An HTTP status by which an index answers for a project that it does not have: one of the client errors that do not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct MissingStatus(pub u16);

impl Decode for MissingStatus {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "an HTTP status", problems, |text| {
            let status = text.parse().ok().filter(|status| (400..500).contains(status));
            let status = status.filter(|status| !matches!(status, 407 | 408 | 429));
            status.map(Self).ok_or_else(|| {
                Complaint::new(format!("{} is no status for a project that is missing", quote(text)))
                    .help("write the status that the index answers for an unknown project: `missing: [403]`")
            })
        })
    }
}

impl Decode for Url {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "a URL", problems, parse_url)
    }
}

/// Reads the URL of an index or a mirror.
pub(super) fn parse_url(text: &str) -> Result<Url, Complaint> {
    let complaint = || Complaint::new(format!("{} is not a URL", quote(text)));
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    url.ok_or_else(|| complaint().help("write `https://` or `http://`, the host, and the path"))
}

/// The source of each CUDA component.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Cuda {
    /// The policy of components without an exception.
    pub policy: Policy,
    /// The oldest driver that the image is to run on.
    pub driver: Option<Spanned<Driver>>,
    /// The forward-compatibility package to add.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compat: Option<Spanned<ForwardCompatibility>>,
    /// The GPUs that the image is to run on. They decide nothing that a lock holds.
    #[serde(skip)]
    pub gpus: Vec<Spanned<Gpu>>,
    /// Exceptions; each span is the name's.
    pub components: BTreeMap<Component, Spanned<Policy>>,
}

impl Decode for Cuda {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(node, "`cuda`", problems)?;
        let policy = fields.get("policy", problems);
        let driver = fields.get("driver", problems);
        let compat: Option<Spanned<Option<ForwardCompatibility>>> = fields.get("compat", problems);
        let gpus: Option<Vec<Spanned<Gpu>>> = fields.get("gpus", problems);
        let components: Option<ComponentPolicies> = fields.get("components", problems);
        fields.finish(problems);
        let components = components.unwrap_or_default().0;
        Some(Self {
            policy: policy.unwrap_or_default(),
            driver,
            compat: compat.and_then(|Spanned { value, span }| Some(Spanned { value: value?, span })),
            gpus: gpus.unwrap_or_default(),
            components,
        })
    }
}

#[derive(Default)]
struct ComponentPolicies(BTreeMap<Component, Spanned<Policy>>);

impl Decode for ComponentPolicies {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut components = BTreeMap::new();
        for (name, policy) in entries(node, "a mapping of components to policies", problems)? {
            let Some(component) = Component::named(name) else {
                problems.push(unknown_component(name));
                continue;
            };
            if matches!(policy.value, YamlValue::Null) {
                problems.push(unexpected(policy, "a policy").help(Policy::HELP));
            } else if let Some(value) = word(policy, "a policy of one component", &Policy::WORDS, problems) {
                components.insert(component, Spanned { value, span: name.span });
            }
        }
        Some(Self(components))
    }
}

fn unknown_component(name: &Spanned<String>) -> Problem {
    let names: Vec<&str> = Component::names().collect();
    let help = match closest(name, &names) {
        Some(close) => format!("did you mean `{close}`?"),
        None => format!("components are {}", names.join(", ")),
    };
    Problem::error(name.span, format!("{} is not a CUDA component", quote(name))).help(help)
}

impl Decode for Driver {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "a version of the driver", problems, |text| {
            text.parse().map_err(|_| {
                Complaint::new(format!("{} is not a version of NVIDIA's driver", quote(text)))
                    .help("write it as `nvidia-smi` shows it: `\"550.54.15\"`, or its branch: `\"550\"`")
            })
        })
    }
}

impl Decode for Gpu {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "a GPU or a compute capability", problems, |text| {
            text.parse().map_err(|_| {
                let names: Vec<&str> = Self::names().collect();
                let help = match (capability_of(text), closest(text, &names)) {
                    (Some(capability), _) => format!("write its compute capability: `\"{capability}\"`"),
                    (None, Some(close)) => format!("did you mean `{close}`?"),
                    (None, None) => {
                        "write a compute capability, as `nvidia-smi --query-gpu=compute_cap` shows it, \
                                     `\"9.0\"`, or a card as NVIDIA calls it: `T4`, `A100`, `RTX 4090`"
                            .to_owned()
                    }
                };
                Complaint::new(format!("{} is no GPU that imgforge knows", quote(text))).help(help)
            })
        })
    }
}

/// The capability of known cards that compilers write so: 9.0 of `sm_90`, `compute_90a` and `90`.
fn capability_of(text: &str) -> Option<Capability> {
    let number = ["sm_", "sm", "compute_", ""].iter().find_map(|start| text.strip_prefix(start))?;
    let number = number.trim_end_matches(['a', 'f']).parse().ok()?;
    Capability::of_architecture(number).filter(|capability| !Gpu::names_of(*capability).is_empty())
}

/// The source of a CUDA component.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Served once, system-wide: from the base when its copy meets every demand, else from its wheel.
    #[default]
    Shared,
    /// From the base only; what is missing there is an error.
    Base,
    /// As pip would install it.
    Pip,
    /// Not at all: frameworks run on the CPU. Only for a whole recipe.
    Cpu,
}

impl Policy {
    const HELP: &str = "write `shared`, `base` or `pip`";
    const WORDS: [(&'static str, Self); 3] =
        [("shared", Self::Shared), ("base", Self::Base), ("pip", Self::Pip)];
}

impl Decode for Policy {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let words: Vec<_> = Self::WORDS.into_iter().chain([("cpu", Self::Cpu)]).collect();
        word(node, "a policy", &words, problems)
    }
}
