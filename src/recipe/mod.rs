//! The recipe: what the user writes, parsed once into types that need no further checking.
//!
//! ```text
//! text ─ yaml::read ─► Node, with spans ─ decode ─► Recipe, or every problem at once
//! ```
//!
//! Nothing here reads a file: paths stay as written, relative to the file that names them.

mod accounts;
mod base;
mod container_path;
mod decode;
mod diagnostic;
pub mod environment_file;
pub mod forward_compatibility;
mod healthcheck;
mod ignore;
mod image;
mod inputs;
pub mod locks;
mod matrix;
mod matrix_images;
mod name_pattern;
mod option_words;
mod other_files;
mod other_tools;
mod packages;
mod platforms;
pub mod project_file;
mod project_reference;
mod project_sources;
mod python;
mod python_place;
mod reference;
pub mod requirements;
mod requirements_entry;
mod size;
mod source;
mod source_place;
mod suggest;
#[cfg(test)]
mod tests;
mod timestamp;
mod values;
mod wheel_reference;
mod yaml;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use uv_normalize::PackageName;

pub use accounts::{AccountName, CopyOwner, UserAccount};
pub use base::{BaseDescription, BaseRef, Debian, RecordedInventory, Suite};
pub use container_path::ContainerPath;
pub use diagnostic::{Color, Diagnostic, Diagnostics, Label, Problem, Severity};
pub use forward_compatibility::ForwardCompatibility;
pub use healthcheck::Healthcheck;
pub use image::{Compression, ConfigChanges, FileCopy, ImageName, Layers};
pub use inputs::{NamedProject, NamedWheel, RECIPE, RecipeInputs, RootRequirement};
pub use matrix::Matrix;
pub use matrix_images::MatrixImage;
pub use name_pattern::in_names;
pub use other_files::OtherFile;
pub use packages::{
    Constrain, ConstraintEntry, Cuda, ExternallyManaged, Framework, Index, IndexLocation, MissingStatus,
    Policy, ProjectSet, Python, Unversioned,
};
pub use platforms::Platforms;
pub use project_reference::ProjectReference;
pub use python::PythonVersion;
pub use python_place::{PythonPlace, PythonPlaces};
pub use requirements_entry::{RequirementsEntry, RequirementsKind};
pub use size::{ByteSize, ByteSizeError};
pub use source::{SourceText, Span, Spanned};
pub use source_place::{SourceArchive, SourcePlace};
pub use suggest::closest;
pub use timestamp::Timestamp;
pub use values::RecipeValues;
pub use wheel_reference::{FilePlace, PackageRequirement, WheelReference};

use crate::check::Silence;
use base::system_packages;
use decode::{Fields, refuse_duplicates};
use diagnostic::Problems;
use ignore::Silences;
use image::Annotations;
use packages::Frameworks;
use project_reference::ListedPackage;
use yaml::Node;

/// A whole recipe. Serialised, it is the same for the same meaning: keys sorted, places left out.
#[derive(Debug, Clone, Serialize)]
pub struct Recipe {
    /// The name of the image; without it, that of the recipe's file.
    pub name: Option<ImageName>,
    /// The base.
    pub base: Spanned<BaseRef>,
    /// The platforms that the image is for; none where the base decides.
    #[serde(skip_serializing_if = "is_left_to_the_base")]
    pub platforms: Platforms,
    /// Debian packages that are added to the base.
    pub system_packages: Vec<Spanned<String>>,
    /// The choices about Python.
    pub python: Python,
    /// The frameworks that the image is for, by name.
    pub frameworks: BTreeMap<PackageName, Framework>,
    /// Further distributions: requirements on projects, and wheels that are named by their places.
    pub packages: Vec<Spanned<PackageRequirement>>,
    /// Projects that are named by the places of their sources, among the packages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub projects: Vec<Spanned<ProjectReference>>,
    /// Requirements files, and locks of other tools.
    pub requirements: Vec<Spanned<RequirementsEntry>>,
    /// Bounds on versions, for projects that something requires.
    pub constraints: Vec<Spanned<ConstraintEntry>>,
    /// Requirements that stand in place of all others on their projects.
    pub overrides: Vec<Spanned<uv_pep508::Requirement>>,
    /// Indexes beside the default one, in the order to ask them.
    pub indexes: Vec<Index>,
    /// Pages and directories whose wheels stand beside those of the indexes.
    pub find_links: Vec<Spanned<IndexLocation>>,
    /// The projects whose pre-releases are taken like other versions.
    pub prereleases: ProjectSet,
    /// Only what was uploaded before this instant is considered.
    pub exclude_newer: Option<Timestamp>,
    /// The choices about CUDA.
    pub cuda: Cuda,
    /// The users to make.
    pub users: Vec<Spanned<UserAccount>>,
    /// The files to copy into the image.
    pub files: Vec<FileCopy>,
    /// The changes to the image's config.
    pub config: ConfigChanges,
    /// The manifest's annotations.
    ///
    /// <https://github.com/opencontainers/image-spec/blob/main/annotations.md>
    pub annotations: BTreeMap<String, String>,
    /// The choices about layers.
    pub layers: Layers,
    /// The findings of a check that are taken as they are.
    pub ignore: Vec<Silence>,
    #[serde(skip)]
    source: Arc<SourceText>,
}

impl Recipe {
    /// Reads a recipe; `origin` is the file's name for messages. Every problem is reported at once.
    pub fn parse(text: &str, origin: &str) -> Result<Self, Diagnostics> {
        let source = Arc::new(SourceText::new(text, origin));
        parse_document(&source, yaml::LONGEST_TEXT, |root, problems| Self::decode(root, &source, problems))
    }

    /// The same with `values` in place of its own: their problems are told where they are written.
    pub fn parse_with(text: &str, origin: &str, values: &RecipeValues) -> Result<Self, Diagnostics> {
        let own = SourceText::new(text, origin);
        let (source, start) = own.followed_by(values.source());
        let source = Arc::new(source);
        let mut problems = Problems::default();
        let mut root = yaml::read(&own, yaml::LONGEST_TEXT, &mut problems);
        if let Some(root) = &mut root {
            values.set_in(root, start, &mut problems);
        }
        let recipe = root.and_then(|root| Self::decode(&root, &source, &mut problems));
        problems.finish(recipe, &source)
    }

    /// The requirements of the recipe: the frameworks in the order of their names, then the packages.
    pub fn roots(&self) -> impl Iterator<Item = PackageRequirement> {
        let frameworks = self.frameworks.iter().map(|(name, framework)| framework.requirement(name).into());
        frameworks.chain(self.packages.iter().map(|package| package.value.clone()))
    }

    /// The place where the recipe asks for `name`.
    pub fn locate(&self, name: &PackageName) -> Option<Span> {
        let package = || self.packages.iter().find(|package| package.requirement.name == *name);
        let framework = self.frameworks.get(name).map(|framework| framework.span);
        framework.or_else(|| package().map(|package| package.span))
    }

    /// The numbers of the user and the group that own what `file` copies.
    pub fn owner_of(&self, file: &FileCopy) -> (u32, u32) {
        file.owner.as_ref().and_then(|owner| owner.ids(&self.users)).unwrap_or_default()
    }

    /// A problem found after parsing, at its place in this recipe.
    pub fn report(&self, problem: Problem) -> Diagnostics {
        Diagnostics::one(&self.source, problem)
    }

    fn decode(root: &Node, source: &Arc<SourceText>, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(root, "the recipe", problems)?;
        let name = fields.get("name", problems);
        let base: Option<Spanned<BaseRef>> =
            fields.require("base", "name the image to build on: `base: debian-bookworm`", problems);
        let platforms: Platforms = fields.get("platforms", problems).unwrap_or_default();
        let system_packages = system_packages(&mut fields, problems);
        let python: Python = fields.get("python", problems).unwrap_or_default();
        if let Some(from) = &python.from {
            from.value.check(from.span, &platforms, problems);
        }
        let frameworks: Option<Frameworks> = fields.get("frameworks", problems);
        let packages: Option<Vec<Spanned<ListedPackage>>> = fields.get("packages", problems);
        let requirements: Option<Vec<Spanned<RequirementsEntry>>> = fields.get("requirements", problems);
        let requirements = requirements.unwrap_or_default();
        refuse_duplicates(&requirements, problems, |entry| entry.file.clone(), |entry| entry.file.clone());
        let constraints: Option<Vec<Spanned<ConstraintEntry>>> = fields.get("constraints", problems);
        let overrides: Option<Vec<Spanned<uv_pep508::Requirement>>> = fields.get("overrides", problems);
        let indexes: Option<Vec<Index>> = fields.get("indexes", problems);
        let find_links: Option<Vec<Spanned<IndexLocation>>> = fields.get("find-links", problems);
        let prereleases = fields.get("prereleases", problems);
        let exclude_newer = fields.get("exclude-newer", problems);
        let cuda = fields.get("cuda", problems);
        let users: Vec<Spanned<UserAccount>> = fields.get("users", problems).unwrap_or_default();
        accounts::refuse_equal_users(&users, problems);
        let files: Vec<FileCopy> = fields.get("files", problems).unwrap_or_default();
        let owners = files.iter().filter_map(|file| file.owner.as_ref());
        owners.for_each(|owner| accounts::check_owner(owner, &users, problems));
        let config = fields.get("config", problems);
        let annotations: Option<Annotations> = fields.get("annotations", problems);
        let layers = fields.get("layers", problems);
        let ignore: Option<Silences> = fields.get("ignore", problems);
        // Read by `Matrix`: the recipe by itself is one image.
        fields.pass_over("matrix");
        // An unknown key may be one of them.
        let installs = ["frameworks", "packages", "requirements", "system-packages"];
        let is_of_packages = |base: &Spanned<BaseRef>| matches!(&base.value, BaseRef::Inline(BaseDescription::Debian(debian)) if !debian.packages.is_empty());
        let installs =
            base.as_ref().is_some_and(is_of_packages) || installs.iter().any(|key| fields.has(key));
        if !installs && !fields.has_unknown() {
            problems.push(nothing_to_install(fields.span()));
        }
        fields.finish(problems);

        let frameworks = frameworks.unwrap_or_default().0;
        let (packages, projects) = told_apart(packages.unwrap_or_default());
        packages::refuse_overlap(&frameworks, &packages, problems);
        Some(Self {
            name,
            base: base?,
            platforms,
            system_packages,
            python,
            frameworks,
            packages,
            projects,
            requirements,
            constraints: constraints.unwrap_or_default(),
            overrides: overrides.unwrap_or_default(),
            indexes: indexes.unwrap_or_default(),
            find_links: find_links.unwrap_or_default(),
            prereleases: prereleases.unwrap_or_default(),
            exclude_newer,
            cuda: cuda.unwrap_or_default(),
            users,
            files,
            config: config.unwrap_or_default(),
            annotations: annotations.unwrap_or_default().0,
            layers: layers.unwrap_or_default(),
            ignore: ignore.unwrap_or_default().0,
            source: Arc::clone(source),
        })
    }
}

fn is_left_to_the_base(platforms: &Platforms) -> bool {
    platforms.architectures().is_empty()
}

/// The requirements among the entries of `packages`, and the projects.
fn told_apart(
    entries: Vec<Spanned<ListedPackage>>,
) -> (Vec<Spanned<PackageRequirement>>, Vec<Spanned<ProjectReference>>) {
    let (mut packages, mut projects) = (Vec::new(), Vec::new());
    for Spanned { value, span } in entries {
        match value {
            ListedPackage::Requirement(value) => packages.push(Spanned { value, span }),
            ListedPackage::Project(value) => projects.push(Spanned { value, span }),
        }
    }
    (packages, projects)
}

fn nothing_to_install(span: Span) -> Problem {
    let start = Span { start: span.start, end: span.start };
    Problem::error(start, "the recipe asks for nothing to install")
        .help("add `frameworks: {torch: \"2.6.0\"}`, `packages: [numpy]`, `requirements: [requirements.txt]` or `system-packages: [ffmpeg]`")
}

/// Reads the only document of `source`, of at most `longest` bytes, and gives it to `decode`.
fn parse_document<T>(
    source: &Arc<SourceText>,
    longest: usize,
    decode: impl FnOnce(&Node, &mut Problems) -> Option<T>,
) -> Result<T, Diagnostics> {
    let mut problems = Problems::default();
    let root = yaml::read(source, longest, &mut problems);
    let value = root.and_then(|root| decode(&root, &mut problems));
    problems.finish(value, source)
}
