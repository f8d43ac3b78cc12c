//! Wheels that are built from source distributions: found in the store, or built with the base's own interpreter.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uv_distribution_filename::WheelFilename;
use uv_normalize::PackageName;
use uv_pep440::Version;

use super::base_source::BaseSource;
use super::named_wheels::fetched;
use super::wheel_urls::{ListedError, listed, listed_source};
use super::{Session, shared_layers};
use crate::base::BaseInventory;
use crate::failure::{Failure, Hinted, Result};
use crate::net::download::Download;
use crate::net::http::HttpError;
use crate::oci::{Architecture, Digest};
use crate::plan::{LayerPlan, PythonLayer, stack_key};
use crate::pypa::git_reference;
use crate::pypa::metadata::{CoreMetadata, Requirement};
use crate::pypa::pyproject;
use crate::pypa::simple::DistFile;
use crate::pypa::source_file::{SourceFile, SourceFormat};
use crate::pypa::subdirectory::Subdirectory;
use crate::pypa::target::Target;
use crate::recipe::ProjectSet;
use crate::resolve::solve::{Catalog, CatalogError, SolveError, UnbuiltSource};
use crate::resolve::{
    BuildRequirement, BuiltFrom, ChosenWheel, Distribution, Resolution, SourceBuilder, WithSources,
    build_requirements,
};
use crate::sdist::environment::{BuildPython, environment, python_of};
use crate::sdist::hooks::{BuildRoom, HookError};
use crate::sdist::{BuildError, BuiltWheel, ExpectedWheel, SourceTree, base_tree};
use crate::store::{Store, StoreError};

/// Part of every key of what builds gave: raised when the same source, base and environment shall give another wheel.
const FORMAT: u32 = 1;
/// The records of wheels, by the keys of their builds.
const WHEEL: &str = "built-wheel";
/// The records of the requirements that backends tell, by the keys of the environments that they were asked in.
const REQUIRES: &str = "build-requires";

/// The base that builds see.
#[derive(Clone, Copy)]
pub(super) struct BuildBase<'a> {
    pub inventory: &'a BaseInventory,
    pub layers: &'a [LayerPlan],
    pub source: &'a BaseSource,
}

impl BuildBase<'_> {
    /// The directories that its programs find libraries in beside the system's. A Python of the recipe's own finds its library
    /// from where it is, which needs a `/proc` that sandboxes lack.
    fn library_path(&self) -> Vec<String> {
        let is_own = self.layers.iter().any(|layer| matches!(layer, LayerPlan::Python(_)));
        let own = is_own.then(|| format!("/{}/lib", PythonLayer::PREFIX));
        self.inventory.library_path.iter().cloned().chain(own).collect()
    }
}

/// A wheel that was built, and where from.
#[derive(Debug)]
pub(super) struct BuiltSource {
    pub wheel: BuiltWheel,
    pub from: BuiltFrom,
}

/// A source whose archive is in the store.
pub(super) struct StoredSource<'a> {
    pub name: &'a PackageName,
    /// The version, where its file's name tells it.
    pub version: Option<&'a Version>,
    /// The name of its file, or the path of its directory.
    pub file: &'a str,
    pub format: SourceFormat,
    pub digest: Digest,
    /// The directory of the project in it.
    pub subdirectory: Option<&'a Subdirectory>,
}

impl<'a> StoredSource<'a> {
    fn of(source: &'a SourceFile, digest: Digest) -> Self {
        let (file, format) = (source.filename.as_str(), source.format);
        Self { name: &source.name, version: Some(&source.version), file, format, digest, subdirectory: None }
    }

    fn unpack(&self, store: &Store) -> Result<SourceTree, BuildError> {
        SourceTree::unpack(store, &self.digest, self.format, self.subdirectory)
    }

    /// The version of a commit, which its backend may want to take from the history, where something else tells it.
    fn version_of_commit(&self) -> Option<String> {
        let version = self.version.filter(|_| self.file.starts_with(git_reference::PREFIX));
        version.map(Version::to_string)
    }

    /// The identity of its files, and of what its backend is told beside them.
    fn identity(&self) -> String {
        let below = self.subdirectory.map(|below| format!("/{below}")).unwrap_or_default();
        let version = self.version_of_commit().map(|version| format!("=={version}")).unwrap_or_default();
        format!("{}{below}{version}", self.digest)
    }

    /// It for people: `langdetect 1.0.9`.
    fn subject(&self) -> String {
        subject(self.name, self.version)
    }
}

/// The identity of a built wheel in the store.
#[derive(Serialize, Deserialize)]
struct WheelRecord {
    filename: WheelFilename,
    digest: Digest,
    size: u64,
}

/// The reason why there is no wheel of a source distribution.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum BuiltWheelError {
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error("could not download its source")]
    Download(#[from] HttpError),
    #[error("the distributions that its build needs could not be chosen")]
    Requirements(#[from] SolveError),
    #[error("a distribution that its build needs has no wheel")]
    Required(#[source] CatalogError),
    #[error("its build needs itself: {path}")]
    Circle { path: String },
    #[error(transparent)]
    Listed(#[from] ListedError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("could not make the base's layers: {reason}")]
    Base { reason: String, hint: Option<String> },
}

impl Hinted for BuiltWheelError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Build(error) => error.hint(),
            Self::Download(error) => error.hint(),
            Self::Requirements(SolveError::NoSolution { explanation })
                if !explanation.source_only.is_empty() =>
            {
                let names: Vec<String> = explanation.source_only.keys().map(ToString::to_string).collect();
                let names = names.join("`, `");
                Some(format!(
                    "have what it needs built, too: add `{names}` to `python.build`, or write `build: all`"
                ))
            }
            Self::Requirements(error) => error.hint(),
            Self::Required(error) => error.hint(),
            Self::Circle { .. } => Some(
                "take a version of one of them that has a wheel, by a constraint or by `exclude-newer`"
                    .into(),
            ),
            Self::Listed(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Base { hint, .. } => hint.clone(),
        }
    }

    fn lines(&self) -> Vec<String> {
        match self {
            Self::Build(error) => error.lines(),
            Self::Requirements(error) => error.lines(),
            Self::Required(error) => error.lines(),
            _ => Vec::new(),
        }
    }
}

/// Builds wheels of source distributions, each once.
pub(super) struct BuiltWheels<'a> {
    pub session: &'a Session<'a>,
    pub base: BuildBase<'a>,
    pub target: &'a Target,
    /// The catalog of the wheels that builds need.
    pub catalog: &'a dyn Catalog,
    pub exclude_newer: Option<i64>,
    /// The projects whose sources are built, for what builds need too.
    pub builds: &'a ProjectSet,
    memory: Memory,
}

/// The answers so far.
#[derive(Default)]
struct Memory {
    /// The base's files, and its interpreter.
    base: OnceCell<(PathBuf, BuildPython)>,
    /// By file name, the metadata that sources tell of their wheels.
    metadata: RefCell<BTreeMap<String, Option<Arc<CoreMetadata>>>>,
    /// By the file name of their sources.
    built: RefCell<BTreeMap<String, Rc<BuiltSource>>>,
    /// The distributions that are being built, each for the build of the one before.
    building: RefCell<Vec<String>>,
}

impl SourceBuilder for BuiltWheels<'_> {
    fn metadata(&self, source: &SourceFile) -> Result<Arc<CoreMetadata>, CatalogError> {
        let told = self.told_metadata(source).map_err(|error| unbuilt(source, error))?;
        match told {
            Some(metadata) => Ok(metadata),
            None => Ok(Arc::new(self.built(source)?.wheel.metadata.clone())),
        }
    }

    fn wheel(&self, source: &SourceFile) -> Result<DistFile, CatalogError> {
        let BuiltSource { wheel, .. } = &*self.built(source)?;
        let file = DistFile::bare(wheel.filename.clone(), source.url.clone());
        let (sha256, size, upload_time) = (Some(wheel.digest), Some(wheel.size), source.upload_time);
        Ok(DistFile { sha256, size, upload_time, ..file })
    }
}

impl<'a> BuiltWheels<'a> {
    pub(super) fn new(
        base: BuildBase<'a>,
        target: &'a Target,
        catalog: &'a dyn Catalog,
        exclude_newer: Option<i64>,
        builds: &'a ProjectSet,
        session: &'a Session<'a>,
    ) -> Self {
        Self { session, base, target, catalog, exclude_newer, builds, memory: Memory::default() }
    }

    /// Puts the wheels that were built in the place of the sources that a resolution has chosen.
    pub(super) fn realize(&self, resolution: &mut Resolution) -> Result<(), CatalogError> {
        for distribution in &mut resolution.distributions {
            let Some(source) = distribution.wheel.source.take() else { continue };
            let BuiltSource { wheel, from } = &*self.built(&source)?;
            distribution.metadata = wheel.metadata.digest();
            distribution.wheel = ChosenWheel {
                filename: wheel.filename.clone(),
                sha256: Some(wheel.digest),
                size: Some(wheel.size),
                upload_time: source.upload_time,
                source: None,
            };
            distribution.built = Some(from.clone());
        }
        Ok(())
    }

    /// The metadata that a source tells of all its wheels.
    fn told_metadata(&self, source: &SourceFile) -> Result<Option<Arc<CoreMetadata>>, BuiltWheelError> {
        if let Some(known) = self.memory.metadata.borrow().get(&source.filename) {
            return Ok(known.clone());
        }
        let digest = self.fetch(source)?;
        let tree = StoredSource::of(source, digest).unpack(&self.session.store)?;
        let is_own = |told: &CoreMetadata| (&told.name, &told.version) == (&source.name, &source.version);
        let told = tree.metadata.filter(is_own).map(Arc::new);
        self.memory.metadata.borrow_mut().insert(source.filename.clone(), told.clone());
        Ok(told)
    }

    fn built(&self, source: &SourceFile) -> Result<Rc<BuiltSource>, CatalogError> {
        if let Some(built) = self.memory.built.borrow().get(&source.filename) {
            return Ok(Rc::clone(built));
        }
        let built = self.build(source).map_err(|error| unbuilt(source, error))?;
        let built = Rc::new(built);
        self.memory.built.borrow_mut().insert(source.filename.clone(), Rc::clone(&built));
        Ok(built)
    }

    /// The wheel of a source distribution of an index.
    fn build(&self, source: &SourceFile) -> Result<BuiltSource, BuiltWheelError> {
        let digest = self.fetch(source)?;
        self.build_stored(&StoredSource::of(source, digest))
    }

    /// The wheel of a project's directory, which was packed into the store.
    pub(super) fn build_tree(&self, source: &StoredSource<'_>) -> Result<BuiltSource, CatalogError> {
        self.build_stored(source).map_err(|error| told(source.name.as_ref(), source.version, error))
    }

    /// The wheel of a source whose build needs what indexes have now.
    fn build_stored(&self, source: &StoredSource<'_>) -> Result<BuiltSource, BuiltWheelError> {
        let subject = source.subject();
        if self.memory.building.borrow().contains(&subject) {
            let path = self.memory.building.borrow().join(", which needs ");
            return Err(BuiltWheelError::Circle { path });
        }
        self.memory.building.borrow_mut().push(subject);
        let built = self.build_with_what_is_needed(source);
        self.memory.building.borrow_mut().pop();
        built
    }

    fn build_with_what_is_needed(&self, source: &StoredSource<'_>) -> Result<BuiltSource, BuiltWheelError> {
        let tree = source.unpack(&self.session.store)?;
        let declared = tree.system.requires.clone();
        let first = self.chosen(&declared, source)?;
        let told = self.told_requires(&tree, source, &first)?;
        let requires = match told.is_empty() {
            true => first,
            false => self.chosen(&[declared, told].concat(), source)?,
        };
        self.wheel_of(source, &tree, requires, None)
    }

    /// The wheel of a source whose build has these distributions: of the store, or built now. One that is `locked` must
    /// come of it.
    fn wheel_of(
        &self,
        source: &StoredSource<'_>,
        tree: &SourceTree,
        requires: Vec<BuildRequirement>,
        locked: Option<Digest>,
    ) -> Result<BuiltSource, BuiltWheelError> {
        let store = &self.session.store;
        let key = self.key(source, &requires);
        let recalled = || {
            let WheelRecord { filename, digest, size } = store.record(WHEEL, &key)?;
            let wheel = BuiltWheel::recalled(filename, digest, size, store)?;
            locked.is_none_or(|locked| locked == wheel.digest).then_some(wheel)
        };
        let subdirectory = source.subdirectory.cloned();
        let from = BuiltFrom { file: source.file.to_owned(), digest: source.digest, subdirectory, requires };
        if let Some(wheel) = recalled() {
            return Ok(BuiltSource { wheel, from });
        }
        let _making = store.claim_patiently(&key);
        if let Some(wheel) = recalled() {
            return Ok(BuiltSource { wheel, from });
        }
        let room = self.room(source, &from.requires)?;
        self.session.progress.stage(&format!("building {} from its source", source.subject()));
        let (name, version, target) = (source.name, source.version, self.target);
        let expected = ExpectedWheel { name, version, target, digest: locked };
        let wheel = tree.wheel(&room, expected, store, self.session.confinement)?;
        let (filename, size) = (wheel.filename.clone(), wheel.size);
        store.put_record(WHEEL, &key, &WheelRecord { filename, digest: wheel.digest, size })?;
        Ok(BuiltSource { wheel, from })
    }

    /// The requirements that a backend tells beside those of `pyproject.toml`.
    fn told_requires(
        &self,
        tree: &SourceTree,
        source: &StoredSource<'_>,
        first: &[BuildRequirement],
    ) -> Result<Vec<Requirement>, BuiltWheelError> {
        let store = &self.session.store;
        let key = self.key(source, first);
        let known: Option<Vec<String>> = store.record(REQUIRES, &key);
        let told = match known {
            Some(told) => told,
            None => {
                let told = tree.requires(&self.room(source, first)?, self.session.confinement)?;
                store.put_record(REQUIRES, &key, &told)?;
                told
            }
        };
        Ok(pyproject::requirements(&told).map_err(BuildError::from)?)
    }

    /// The wheels for the requirements of a build, all in the store.
    fn chosen(
        &self,
        requires: &[Requirement],
        source: &StoredSource<'_>,
    ) -> Result<Vec<BuildRequirement>, BuiltWheelError> {
        let origin = format!("the build of {}", source.subject());
        let Self { catalog: inner, builds, target, exclude_newer, .. } = *self;
        let catalog = WithSources { inner, builder: self, builds, target, exclude_newer };
        let files = build_requirements(requires, &origin, target, exclude_newer, &catalog)?;
        files.into_iter().map(|file| self.required(file)).collect()
    }

    /// A distribution that a build needs, whose wheel is in the store: of an index, or built, too.
    fn required(&self, file: DistFile) -> Result<BuildRequirement, BuiltWheelError> {
        let Some(source) = &file.source else { return self.fetch_wheel(file) };
        let BuiltSource { wheel, from } = &*self.built(source).map_err(BuiltWheelError::Required)?;
        let (filename, digest) = (wheel.filename.clone(), wheel.digest);
        Ok(BuildRequirement { wheel: filename, digest, source: Some(Box::new(from.clone())) })
    }

    fn fetch_wheel(&self, file: DistFile) -> Result<BuildRequirement, BuiltWheelError> {
        let digest = match file.sha256 {
            Some(digest) => digest,
            None => fetched(&file.url, self.session)?,
        };
        let (url, name, size) = (file.url, file.filename.to_string(), file.size);
        let download = Download { url, name, digest, size };
        self.session.http.download(&self.session.store, &download, &|_| {})?;
        Ok(BuildRequirement { wheel: file.filename, digest, source: None })
    }

    fn fetch(&self, source: &SourceFile) -> Result<Digest, HttpError> {
        let Some(digest) = source.sha256 else { return fetched(&source.url, self.session) };
        let (url, name, size) = (source.url.clone(), source.filename.clone(), source.size);
        self.session.http.download(&self.session.store, &Download { url, name, digest, size }, &|_| {})?;
        Ok(digest)
    }

    /// The key of everything that decides what a build gives.
    fn key(&self, source: &StoredSource<'_>, requires: &[BuildRequirement]) -> Digest {
        let requires: Vec<String> = requires.iter().map(|it| format!("{} {}", it.wheel, it.digest)).collect();
        let base = stack_key(self.base.layers);
        Digest::of(format!("{FORMAT} {} {base} {}", source.identity(), requires.join(" ")))
    }

    /// The base and an environment, unpacked, for the build of a source.
    fn room(
        &self,
        source: &StoredSource<'_>,
        requires: &[BuildRequirement],
    ) -> Result<BuildRoom, BuiltWheelError> {
        let store = &self.session.store;
        let (base, python) = self.unpacked_base()?;
        let wheels: Vec<(String, Digest)> =
            requires.iter().map(|it| (it.wheel.to_string(), it.digest)).collect();
        let environment = environment(store, &python, &wheels).map_err(BuildError::from)?;
        Ok(BuildRoom {
            base,
            environment,
            python,
            library_path: self.base.library_path(),
            version: source.version_of_commit(),
            longest: self.session.longest_build,
        })
    }

    fn unpacked_base(&self) -> Result<(PathBuf, BuildPython), BuiltWheelError> {
        if let Some(known) = self.memory.base.get() {
            return Ok(known.clone());
        }
        let BuildBase { inventory, layers, source } = self.base;
        let architecture = inventory.architecture;
        if Architecture::here() != Some(architecture) {
            return Err(BuildError::OtherMachine { architecture }.into());
        }
        let failed = |failure: Failure| BuiltWheelError::Base {
            reason: failure.to_string(),
            hint: failure.hint().map(str::to_owned),
        };
        let written =
            source.bring(self.session).and_then(|()| source.write(layers, self.session)).map_err(failed)?;
        self.session.progress.stage("unpacking the base to build in");
        let digests: Vec<Digest> = written.iter().map(|layer| layer.digest).collect();
        digests.iter().try_for_each(|digest| shared_layers::bring_left(digest, self.session))?;
        let tree = base_tree::base_tree(&self.session.store, &digests).map_err(BuildError::from)?;
        let scheme = &inventory.scheme;
        let python = python_of(&tree, scheme, &inventory.python);
        let python = python.ok_or_else(|| BuildError::NoPython { python: scheme.interpreter.clone() })?;
        Ok(self.memory.base.get_or_init(|| (tree, python)).clone())
    }

    /// Builds the wheel of a locked distribution again, with the distributions that were locked.
    pub(super) fn rebuild(&self, distribution: &Distribution, from: &BuiltFrom) -> Result<(), CatalogError> {
        let (name, version) = (&distribution.name, &distribution.version);
        let rebuilt = self.rebuilt(&LockedBuild { name, version, from, digest: distribution.wheel.sha256 });
        rebuilt.map_err(|error| told(name.as_ref(), Some(version), error))
    }

    fn rebuilt(&self, wheel: &LockedBuild<'_>) -> Result<(), BuiltWheelError> {
        let LockedBuild { name, version, from, digest } = *wheel;
        if !self.session.store.has_blob(&from.digest, None) {
            self.fetch(&listed_source(name, from, self.catalog)?)?;
        }
        from.requires.iter().try_for_each(|requirement| self.bring(requirement))?;
        let source = StoredSource {
            name,
            version: Some(version),
            file: &from.file,
            format: from.format(),
            digest: from.digest,
            subdirectory: from.subdirectory.as_ref(),
        };
        let tree = source.unpack(&self.session.store)?;
        self.wheel_of(&source, &tree, from.requires.clone(), digest)?;
        Ok(())
    }

    /// Brings a distribution that a locked build needs into the store.
    fn bring(&self, requirement: &BuildRequirement) -> Result<(), BuiltWheelError> {
        let BuildRequirement { wheel, digest, source } = requirement;
        match source {
            Some(_) if self.session.store.has_blob(digest, None) => Ok(()),
            Some(from) => {
                let (name, version) = (&wheel.name, &wheel.version);
                self.rebuilt(&LockedBuild { name, version, from, digest: Some(*digest) })
            }
            None => {
                let file = listed(&wheel.name, wheel, Some(*digest), self.catalog)?;
                self.fetch_wheel(DistFile { sha256: Some(*digest), ..file })?;
                Ok(())
            }
        }
    }
}

/// A wheel of a lock, and what it was built from.
struct LockedBuild<'a> {
    name: &'a PackageName,
    version: &'a Version,
    from: &'a BuiltFrom,
    digest: Option<Digest>,
}

/// A distribution for people: `langdetect 1.0.9`.
fn subject(name: impl fmt::Display, version: Option<&Version>) -> String {
    version.map_or_else(|| name.to_string(), |version| format!("{name} {version}"))
}

fn unbuilt(source: &SourceFile, error: BuiltWheelError) -> CatalogError {
    told(source.name.as_ref(), Some(&source.version), error)
}

/// The failure to build a distribution, with the next step and the end of the build's output.
fn told(name: &str, version: Option<&Version>, error: BuiltWheelError) -> CatalogError {
    let subject = subject(name, version);
    let pinned = version.map_or_else(|| ".".to_owned(), |version| format!("{name}=={version}"));
    let yourself = format!(
        "build its wheel yourself, `pip wheel --no-deps -w wheels {pinned}`, and add its directory, \
         `indexes: [{{path: wheels, packages: [{name}]}}]`"
    );
    let hint = match &error {
        BuiltWheelError::Build(BuildError::Hook(HookError::Failed { fault, .. })) => {
            Some(fault.hint(&yourself))
        }
        BuiltWheelError::Build(BuildError::NotReproducible { .. }) => {
            Some(format!("{yourself}; to lock what was built now, run `imgforge lock --upgrade={name}`"))
        }
        error => error.hint(),
    };
    let mut lines = error.lines();
    if let Some(first) = lines.first_mut() {
        *first = format!("could not build `{subject}`: {first}");
    }
    CatalogError::Unbuilt(Box::new(UnbuiltSource { subject, hint, lines, source: Arc::new(error) }))
}
