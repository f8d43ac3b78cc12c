//! Reads what the user wrote: the recipe, the requirements files it names, and the base's description.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use uv_normalize::{GroupName, PackageName};

use super::input_error::{InputError, MOST_FILES, diagnostics, located};
use super::recipe_file::{self, LONGEST_INPUT};
use super::recipe_source::RecipeSource;
use crate::beneath::{FileRoot, Outside, ReachError};
use crate::layer::files::{self, Copy, FilesError, FilesOnDisk};
use crate::pypa::archive_hash::ArchiveHash;
use crate::pypa::pyproject;
use crate::recipe::environment_file::CondaEnvironment;
use crate::recipe::locks::{ForeignLock, LockKind, SelectedLock};
use crate::recipe::project_file::ProjectFile;
use crate::recipe::requirements::{
    self, HashedProject, HashedRequirement, MOST_REQUIREMENTS, RequirementsFile,
};
use crate::recipe::{
    BaseDescription, BaseRef, ConstraintEntry, Diagnostics, ImageName, IndexLocation, NamedProject, Problem,
    ProjectReference, RECIPE, Recipe, RecipeInputs, RequirementsEntry, RequirementsKind, RootRequirement,
    SourcePlace, Span, Spanned, forward_compatibility,
};

/// The bytes of a requirements or constraints file: the export of a lock of a thousand wheels, with all hashes, has 6 MB.
const LONGEST_REQUIREMENTS: u64 = 8 << 20;
/// The bytes of a lock of another tool: one of a thousand projects for all platforms has some 10 MB.
const LONGEST_LOCK: u64 = 32 << 20;

/// The name of an image whose recipe has neither a name nor a file.
const UNNAMED: &str = "image";

/// Descriptions of bases that come with the program, so that it needs no checkout.
const BUILT_IN: [(&str, &str); 1] =
    [("debian-bookworm", include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/images/debian-bookworm.yaml")))];

/// Reads the recipe at `source` and the files that it names, those outside of its directory as `outside` says.
pub(super) fn read(source: RecipeSource<'_>, outside: Outside) -> Result<RecipeInputs, InputError> {
    let path = source.file;
    let recipe = recipe(source)?;
    let directory = parent(path);
    let of_base = base_description(&recipe, &directory, outside);
    let (base, base_directory) = of_base.map_err(located(&recipe, recipe.base.span))?;
    let base = match base {
        BaseDescription::Debian(debian) => {
            BaseDescription::Debian(debian.with_packages(&system_packages(&recipe, &[])?))
        }
        of_image => of_image,
    };
    let roots: Vec<RootRequirement> =
        recipe.roots().map(|package| RootRequirement::new(package, RECIPE)).collect();
    let root = root(&directory, outside)?;
    let inputs = RecipeInputs {
        name: image_name(&recipe, path)?,
        wheels: roots.iter().filter_map(RootRequirement::named_wheel).collect(),
        roots,
        constraints: Vec::new(),
        overrides: recipe.overrides.iter().map(|requirement| requirement.value.clone()).collect(),
        notices: Vec::new(),
        project_indexes: Vec::new(),
        locks: Vec::new(),
        projects: Vec::new(),
        platform: None,
        find_links: Vec::new(),
        no_index: false,
        hashes: BTreeMap::new(),
        index_url: None,
        extra_index_urls: Vec::new(),
        base,
        base_directory,
        directory: directory.clone(),
        recipe: recipe.clone(),
        file_prereleases: false,
        require_hashes: false,
    };
    let projects = recipe.projects.iter();
    let projects =
        projects.map(|project| (project.value.clone(), RECIPE.to_owned(), Some(project.span))).collect();
    let mut reader = InputReader { root, inputs, projects, seen: BTreeSet::new(), requirements: 0 };
    for entry in &recipe.requirements {
        let path = directory.join(&entry.file);
        let read = match entry.kind() {
            RequirementsKind::Lock(kind) => reader.read_lock(kind, entry),
            RequirementsKind::Project => reader.read_project_file(&path, entry),
            RequirementsKind::Environment => reader.read_environment(&path),
            RequirementsKind::Pip => reader.read_requirements(&path, &mut Vec::new()),
        };
        read.map_err(located(&recipe, entry.span))?;
    }
    for constraint in &recipe.constraints {
        match &constraint.value {
            ConstraintEntry::File(path) => {
                let read = reader.read_constraints(&directory.join(path), &mut Vec::new());
                read.map_err(located(&recipe, constraint.span))?;
            }
            ConstraintEntry::Bound(bound) => reader.inputs.constraints.push(bound.clone()),
        }
    }
    reader.name_projects()?;
    Ok(reader.inputs)
}

/// The Debian packages to add to a base with this environment of `NAME=value`.
pub(super) fn system_packages(
    recipe: &Recipe,
    base_env: &[String],
) -> Result<Vec<Spanned<String>>, InputError> {
    let mut packages = recipe.system_packages.clone();
    if let Some(Spanned { value: compat, span }) = recipe.cuda.compat {
        let of_base = compat.toolkit(base_env).ok_or(InputError::NoCudaVersion);
        let toolkit = of_base.map_err(located(recipe, span))?;
        packages.push(Spanned { value: forward_compatibility::package(toolkit), span });
    }
    Ok(packages)
}

/// The recipe at `source`, with the values that a matrix sets in it.
fn recipe(source: RecipeSource<'_>) -> Result<Recipe, InputError> {
    let path = source.file;
    let of_file = |source| InputError::RecipeFile { source };
    let text = recipe_file::read(path).map_err(of_file)?;
    let origin = recipe_file::origin(path);
    let recipe = match source.entry {
        Some(entry) => Recipe::parse_with(&text, &origin, &entry.image.values),
        None => Recipe::parse(&text, &origin),
    };
    recipe.map_err(|problems| {
        recipe_file::other_kind(path, &text).map_or_else(|| diagnostics(problems), of_file)
    })
}

/// Lists the files that the recipe's `files` name, before anything is downloaded.
pub(super) fn list_files(inputs: &RecipeInputs, outside: Outside) -> Result<FilesOnDisk, FilesError> {
    if inputs.recipe.files.is_empty() {
        return Ok(FilesOnDisk::default());
    }
    let unreadable = |source| FilesError::Read { path: inputs.directory.clone(), source };
    let root = FileRoot::open(&inputs.directory, outside).map_err(unreadable)?;
    let copies = inputs.recipe.files.iter().map(|file| Copy {
        from: inputs.directory.join(&file.from.value),
        to: file.to.relative().to_owned(),
        into: file.into,
        mode: file.mode,
        owner: inputs.recipe.owner_of(file),
        exclude: file.exclude.clone(),
    });
    files::list(&root, &copies.collect::<Vec<_>>())
}

/// The role in which a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum FileRole {
    Requirements,
    Constraints,
}

/// Adds the files that a recipe names to its inputs.
struct InputReader {
    root: FileRoot,
    inputs: RecipeInputs,
    /// The projects that are named by the places of their sources, the files that name them, and where the recipe does.
    projects: Vec<(ProjectReference, String, Option<Span>)>,
    /// The files that were read. Files may lead to each other on many ways: a second time would add nothing.
    seen: BTreeSet<(FileRole, PathBuf)>,
    /// The number of requirements so far.
    requirements: usize,
}

impl InputReader {
    fn read_lock(&mut self, kind: LockKind, entry: &RequirementsEntry) -> Result<(), InputError> {
        let path = self.inputs.directory.join(&entry.file);
        let read = self.root.read_text(&path, LONGEST_LOCK);
        let (text, is_below) = read.map_err(|source| unreachable_file(&path, source))?;
        let lock = ForeignLock::parse(kind, &text, &path.display().to_string());
        let lock = lock.map_err(|source| match is_below {
            true => InputError::Lock { source },
            false => InputError::Read { path, source: io::ErrorKind::InvalidData.into() },
        })?;
        self.requirements += lock.len();
        if self.requirements > MOST_REQUIREMENTS {
            return Err(InputError::ManyRequirements { path: lock.origin.into() });
        }
        let directory = entry.file.rsplit_once('/').map_or("", |(directory, _)| directory).to_owned();
        let selection = entry.selection(self.default_groups(&lock, &directory, entry)?);
        self.inputs.locks.push(SelectedLock { lock, directory, selection });
        Ok(())
    }

    /// The groups that uv takes by default of the projects that are asked for, as their `pyproject.toml` says.
    fn default_groups(
        &self,
        lock: &ForeignLock,
        directory: &str,
        entry: &RequirementsEntry,
    ) -> Result<Vec<GroupName>, InputError> {
        let mut groups = BTreeSet::new();
        for project in lock.project_directories(&entry.packages) {
            let path = self.inputs.directory.join(directory).join(project).join(pyproject::NAME);
            let text = match self.root.read_text(&path, pyproject::LONGEST) {
                Err(ReachError::Io(error)) if error.kind() == io::ErrorKind::NotFound => String::new(),
                read => read.map_err(|source| unreachable_file(&path, source))?.0,
            };
            let found = pyproject::default_groups(&text)
                .map_err(|source| InputError::Project { path: path.clone(), source })?;
            groups.extend(found);
        }
        Ok(groups.into_iter().collect())
    }

    /// Adds the projects that are named by the places of their sources, the last of all requirements.
    fn name_projects(&mut self) -> Result<(), InputError> {
        for (project, source, span) in std::mem::take(&mut self.projects) {
            let name = self.project_name(&project).map_err(|error| match span {
                Some(span) => located(&self.inputs.recipe, span)(error),
                None => error,
            })?;
            let requirement = project.requirement(name);
            self.inputs.roots.push(RootRequirement::new(requirement.clone().into(), source.clone()));
            self.inputs.projects.push(NamedProject {
                requirement,
                version: None,
                place: project.place,
                source,
            });
        }
        Ok(())
    }

    /// The name of a project, which a directory tells itself where nothing else does.
    fn project_name(&self, project: &ProjectReference) -> Result<PackageName, InputError> {
        let (SourcePlace::Directory(directory), None) = (&project.place, &project.name) else {
            return project.name.clone().ok_or(InputError::NoProjectName { path: PathBuf::new() });
        };
        let path = self.inputs.directory.join(directory).join(pyproject::NAME);
        let read = self.root.read_text(&path, pyproject::LONGEST);
        let (text, _) = read.map_err(|source| no_project(directory, &path, source))?;
        let name = pyproject::project_name(&text)
            .map_err(|source| InputError::Project { path: path.clone(), source })?;
        name.ok_or(InputError::NoProjectName { path })
    }

    /// Adds what a project requires.
    fn read_project_file(&mut self, path: &Path, entry: &RequirementsEntry) -> Result<(), InputError> {
        let read = self.root.read_text(path, pyproject::LONGEST);
        let (text, is_below) = read.map_err(|source| unreachable_file(path, source))?;
        let origin = path.display().to_string();
        let file = ProjectFile::read(&text, &origin, entry).map_err(|source| match is_below {
            true => InputError::ProjectFile { source },
            false => InputError::Read { path: path.to_owned(), source: io::ErrorKind::InvalidData.into() },
        })?;
        self.requirements += file.requirements.len() + file.projects.len();
        if self.requirements > MOST_REQUIREMENTS {
            return Err(InputError::ManyRequirements { path: path.to_owned() });
        }
        let above = entry.file.rsplit_once('/').map_or("", |(directory, _)| directory);
        for package in file.requirements {
            let root = RootRequirement::new(package.moved(above), origin.clone());
            self.inputs.wheels.extend(root.named_wheel());
            self.inputs.roots.push(root);
        }
        let projects = file.projects.into_iter().map(|project| (project.moved(above), origin.clone(), None));
        self.projects.extend(projects);
        let inputs = &mut self.inputs;
        inputs.constraints.extend(file.constraints);
        inputs.overrides.extend(file.overrides);
        inputs.no_index |= file.no_index;
        inputs.file_prereleases |= file.prereleases;
        inputs.index_url = file.default_index.or(inputs.index_url.take());
        inputs.recipe.exclude_newer = inputs.recipe.exclude_newer.or(file.exclude_newer);
        inputs.find_links.extend(file.find_links.into_iter().map(|links| links.moved(above)));
        let indexes = file.indexes.into_iter().map(|index| index.moved(above));
        inputs.project_indexes.extend(indexes);
        Ok(())
    }

    /// Adds the pip part of an environment of conda.
    fn read_environment(&mut self, path: &Path) -> Result<(), InputError> {
        let read = self.root.read_text(path, LONGEST_REQUIREMENTS);
        let (text, is_below) = read.map_err(|source| unreachable_file(path, source))?;
        let shown = |problems: Diagnostics| if is_below { problems } else { problems.without_text() };
        let origin = path.display().to_string();
        let environment = CondaEnvironment::parse(&text, &origin).map_err(|it| diagnostics(shown(it)))?;
        self.inputs.notices.extend(environment.notice(&origin));
        let file = requirements::parse(&environment.pip, &origin, &|name| std::env::var(name).ok());
        let file = file.map_err(|problems| diagnostics(shown(problems)))?;
        self.add_requirements(file, path, &mut Vec::new())
    }

    fn read_requirements(&mut self, path: &Path, above: &mut Vec<PathBuf>) -> Result<(), InputError> {
        match self.read_file(FileRole::Requirements, path, above)? {
            Some(file) => self.add_requirements(file, path, above),
            None => Ok(()),
        }
    }

    /// Adds what a requirements file at `path` has, and the files that it includes.
    fn add_requirements(
        &mut self,
        file: RequirementsFile,
        path: &Path,
        above: &mut Vec<PathBuf>,
    ) -> Result<(), InputError> {
        for requirement in file.requirements {
            let root = self.root(requirement, path);
            self.inputs.roots.push(root);
        }
        for HashedProject { project, hashes } in file.projects {
            if let Some(name) = &project.name {
                self.note_hashes(name, hashes);
            }
            self.projects.push((project.value, path.display().to_string(), None));
        }
        let directory = parent(path);
        above.push(path.to_owned());
        for include in &file.includes {
            self.read_requirements(&directory.join(&include.value), above)?;
        }
        for constraints in &file.constraints {
            self.read_constraints(&directory.join(&constraints.value), above)?;
        }
        above.pop();
        self.inputs.require_hashes |= file.require_hashes;
        self.inputs.file_prereleases |= file.prereleases;
        self.inputs.no_index |= file.no_index;
        for links in file.find_links {
            let links = self.links_of(directory.as_path(), links.value);
            self.inputs.find_links.push(links);
        }
        self.inputs.index_url = file.index_url.map(|url| url.value).or(self.inputs.index_url.take());
        self.inputs.extra_index_urls.extend(file.extra_index_urls.into_iter().map(|url| url.value));
        Ok(())
    }

    fn read_constraints(&mut self, path: &Path, above: &mut Vec<PathBuf>) -> Result<(), InputError> {
        let Some(file) = self.read_file(FileRole::Constraints, path, above)? else { return Ok(()) };
        if let Some(project) = file.projects.first() {
            let problem = Problem::error(project.project.span, "a constraint names the source of a project");
            let help = "name it under `packages` or in a requirements file: constraints bound versions";
            return Err(diagnostics(file.report(problem.help(help))));
        }
        for requirement in file.requirements {
            let constraint = self.root(requirement, path);
            self.inputs.constraints.push(constraint.requirement);
        }
        above.push(path.to_owned());
        for include in file.includes.iter().chain(&file.constraints) {
            self.read_constraints(&parent(path).join(&include.value), above)?;
        }
        above.pop();
        Ok(())
    }

    /// Reads a file; `None` where it was read before.
    fn read_file(
        &mut self,
        role: FileRole,
        path: &Path,
        above: &[PathBuf],
    ) -> Result<Option<RequirementsFile>, InputError> {
        if above.iter().any(|including| including == path) {
            return Err(InputError::Circle { path: path.to_owned() });
        }
        if !self.seen.insert((role, path.to_owned())) {
            return Ok(None);
        }
        if self.seen.len() > MOST_FILES {
            return Err(InputError::ManyFiles { path: path.to_owned() });
        }
        let (bytes, is_below) =
            self.root.read(path, LONGEST_REQUIREMENTS).map_err(|source| unreachable_file(path, source))?;
        let unreadable = |source| InputError::Read { path: path.to_owned(), source };
        let text =
            requirements::decoded(bytes).ok_or_else(|| unreadable(io::ErrorKind::InvalidData.into()))?;
        let file = requirements::parse(&text, &path.display().to_string(), &|name| std::env::var(name).ok());
        let file =
            file.map_err(|problems| diagnostics(if is_below { problems } else { problems.without_text() }))?;
        self.requirements += file.requirements.len();
        if self.requirements > MOST_REQUIREMENTS {
            return Err(InputError::ManyRequirements { path: path.to_owned() });
        }
        Ok(Some(file))
    }

    /// A requirement of the file at `path`; its hashes and its wheel are noted.
    fn root(&mut self, requirement: HashedRequirement, path: &Path) -> RootRequirement {
        self.note_hashes(&requirement.requirement.requirement.name, requirement.hashes);
        let root = RootRequirement::new(requirement.requirement.value, path.display().to_string());
        self.inputs.wheels.extend(root.named_wheel());
        root
    }

    /// A list of files that a requirements file names. As for pip, a path begins at the file's own directory where it leads
    /// to something there, and otherwise at that of the recipe.
    fn links_of(&self, directory: &Path, links: IndexLocation) -> IndexLocation {
        let IndexLocation::Path(path) = &links else { return links };
        let beside = directory.join(path);
        let below = beside.strip_prefix(&self.inputs.directory).unwrap_or(&beside);
        match self.root.find(&beside).ok().and(below.to_str()) {
            Some(below) => IndexLocation::Path(below.to_owned()),
            None => links,
        }
    }

    fn note_hashes(&mut self, name: &PackageName, hashes: Vec<ArchiveHash>) {
        if !hashes.is_empty() {
            self.inputs.hashes.entry(name.clone()).or_default().extend(hashes);
        }
    }
}

fn base_description(
    recipe: &Recipe,
    directory: &Path,
    outside: Outside,
) -> Result<(BaseDescription, PathBuf), InputError> {
    let name = match &recipe.base.value {
        BaseRef::Inline(description) => return Ok((description.clone(), directory.to_owned())),
        BaseRef::Image(image) => return Ok((image_description(image)?, directory.to_owned())),
        BaseRef::Named(name) => name,
    };
    let file = format!("images/{name}.yaml");
    let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    if let Some(above) = absolute.ancestors().find(|above| above.join(&file).is_file()) {
        let path = above.join(&file);
        let read = root(above, outside)?.read_text(&path, LONGEST_INPUT);
        let (text, is_below) = read.map_err(|source| unreachable_file(&path, source))?;
        let description = BaseDescription::parse(&text, &path.display().to_string());
        let description = description
            .map_err(|problems| diagnostics(if is_below { problems } else { problems.without_text() }))?;
        return Ok((description, parent(&path)));
    }
    match BUILT_IN.iter().find(|(known, _)| known == name) {
        Some((_, built_in)) => {
            let description = BaseDescription::parse(built_in, &file).map_err(diagnostics)?;
            Ok((description, directory.to_owned()))
        }
        None => Err(InputError::UnknownBase {
            name: name.clone(),
            directory: directory.to_owned(),
            known: BUILT_IN.iter().map(|(name, _)| (*name).to_owned()).collect(),
        }),
    }
}

/// The description of a base that is named by its place alone.
fn image_description(image: &str) -> Result<BaseDescription, InputError> {
    match image.split_once(':') {
        Some(("oci", path)) => Ok(BaseDescription::Layout { path: path.to_owned(), inventory: None }),
        Some(("oci-archive" | "docker-archive", path)) => {
            Ok(BaseDescription::Archive { path: path.to_owned(), inventory: None })
        }
        Some(("docker-daemon" | "podman" | "containerd", _)) => {
            Ok(BaseDescription::Engine { place: image.to_owned() })
        }
        Some(("containers-storage", _)) => {
            Err(InputError::BaseKind { kind: "a local storage", base: image.to_owned() })
        }
        _ => {
            let reference = image.strip_prefix("docker://").unwrap_or(image).to_owned();
            Ok(BaseDescription::Registry { reference, digest: None, inventory: None })
        }
    }
}

/// The recipe's name, else its file's without the extension.
fn image_name(recipe: &Recipe, path: &Path) -> Result<String, InputError> {
    if let Some(name) = &recipe.name {
        return Ok(name.as_str().to_owned());
    }
    if recipe_file::is_standard_input(path) {
        return Ok(UNNAMED.to_owned());
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    let name = ImageName::new(&stem).ok_or(InputError::Name { name: stem })?;
    Ok(name.as_str().to_owned())
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// The directory at `path`, in which files are found.
fn root(path: &Path, outside: Outside) -> Result<FileRoot, InputError> {
    FileRoot::open(path, outside).map_err(|source| InputError::Read { path: path.to_owned(), source })
}

fn unreachable_file(path: &Path, source: ReachError) -> InputError {
    match source {
        ReachError::Io(source) => InputError::Read { path: path.to_owned(), source },
        source => InputError::Reach { path: path.to_owned(), source },
    }
}

/// The error for a project whose `pyproject.toml` at `path` cannot be read.
fn no_project(directory: &str, path: &Path, source: ReachError) -> InputError {
    match source {
        ReachError::Io(source) if source.kind() == io::ErrorKind::NotFound => {
            InputError::NoProject { path: directory.into() }
        }
        source => unreachable_file(path, source),
    }
}
