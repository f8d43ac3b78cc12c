//! Source distributions, built to wheels: by their own backends (PEP 517), with the base's interpreter, in a sandbox.
//!
//! ```text
//! archive ─ unpack ─► SourceTree ─ requires ─► Requirement… ─ resolver ─► wheels ─ environment ─► BuildRoom
//!                         └───────────────────────── wheel ◄──────────────────────────────────────┘
//!                                                      └─► BuiltWheel
//! ```
//!
//! * [`archive`]: the source, unpacked within bounds; `tree`: files that stay below a directory;
//! * [`base_tree`]: the base's files, for all builds; [`environment`]: the distributions that one needs;
//! * [`hooks`]: the backend, called in the sandbox; [`fault`]: the reason why it failed.
#![allow(clippy::disallowed_methods, reason = "sources are unpacked, built and read")]

pub mod archive;
pub mod base_tree;
pub mod environment;
pub mod fault;
pub mod hooks;
mod tree;

use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use uv_distribution_filename::WheelFilename;
use uv_normalize::PackageName;
use uv_pep440::Version;

use crate::beneath::{FileRoot, Outside, ReachError};
use crate::failure::Hinted;
use crate::layer::{RefusedWheel, WheelFile};
use crate::oci::{Architecture, Digest, Hasher};
use crate::pypa::metadata::{self, CoreMetadata, LONGEST_METADATA, MetadataError};
use crate::pypa::pyproject::{self, BuildSystem, PyprojectError};
use crate::pypa::source_file::SourceFormat;
use crate::pypa::subdirectory::Subdirectory;
use crate::pypa::target::{Misfit, Target};
use crate::sandbox::Confinement;
use crate::store::{Store, StoreError};
use archive::SourceArchiveError;
pub use tree::open_to_all;

use base_tree::BaseTreeError;
use environment::EnvironmentError;
use hooks::{BuildDirectory, BuildRoom, Hook, HookError};

/// The largest wheel that is kept, in bytes.
const LARGEST_WHEEL: u64 = 4 << 30;

/// A source distribution that was unpacked to be built.
pub struct SourceTree {
    directory: BuildDirectory,
    /// The root of the source.
    root: PathBuf,
    /// Its backend.
    pub system: BuildSystem,
    /// Its core metadata, where it says that its wheels have the same.
    pub metadata: Option<CoreMetadata>,
}

/// A wheel that was built, and is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltWheel {
    /// The wheel's file name.
    pub filename: WheelFilename,
    /// The digest of the wheel.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    /// The core metadata in it.
    pub metadata: CoreMetadata,
}

/// The wheel that must come of a source.
#[derive(Debug, Clone, Copy)]
pub struct ExpectedWheel<'a> {
    /// The project.
    pub name: &'a PackageName,
    /// The version, where it is known before.
    pub version: Option<&'a Version>,
    /// The target.
    pub target: &'a Target,
    /// The digest of the wheel, where it was built before.
    pub digest: Option<Digest>,
}

/// The reason why a source gives no wheel.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum BuildError {
    #[error(transparent)]
    Archive(#[from] SourceArchiveError),
    #[error(transparent)]
    Project(#[from] PyprojectError),
    #[error("could not read `{path}` of its source")]
    Read { path: &'static str, source: ReachError },
    #[error(transparent)]
    Base(#[from] BaseTreeError),
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    #[error(transparent)]
    Hook(#[from] HookError),
    #[error("could not prepare its build")]
    Prepare(#[source] io::Error),
    #[error("it would be built by Python for {}, which this machine does not run", architecture.platform())]
    OtherMachine { architecture: Architecture },
    #[error("the base has no `{python}`, by which it would be built")]
    NoPython { python: String },
    #[error("its source has no directory `{subdirectory}`")]
    NoSubdirectory { subdirectory: Subdirectory },
    #[error("its build gave `{name}`, which is not the name of a wheel")]
    Name { name: String },
    #[error("its build gave a wheel that could not be read")]
    Unreadable(#[source] ReachError),
    #[error("its build gave a wheel that is refused")]
    Refused(#[source] RefusedWheel),
    #[error("its build gave a wheel whose metadata cannot be used")]
    Metadata(#[source] MetadataError),
    #[error("its build gave a wheel of {found}, and {expected} was asked for")]
    Other { expected: String, found: String },
    #[error("its build gave `{wheel}`, which {misfit}")]
    Misfit { wheel: String, misfit: Misfit },
    #[error(
        "its build is not reproducible: the wheel {expected} is locked, and {found} was built of the same source with the same distributions"
    )]
    NotReproducible { expected: Digest, found: Digest },
    #[error("its wheel has other requirements than its PKG-INFO says, and says that its wheels have")]
    OtherMetadata,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Hinted for BuildError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Archive(error) => error.hint(),
            Self::Project(error) => error.hint(),
            Self::Read { source, .. } => source.hint(),
            Self::Base(error) => error.hint(),
            Self::Environment(error) => error.hint(),
            Self::Hook(error) => error.hint(),
            Self::Prepare(error) => error.hint(),
            Self::OtherMachine { architecture } => Some(format!(
                "build it on a machine for {0} and name the wheel (`packages: [./dist/NAME-VERSION-….whl]`), or build \
                 the image of that platform there: `--platform {0}`",
                architecture.platform()
            )),
            Self::NoPython { .. } => Some("add Python to the base, or build its wheel yourself".into()),
            Self::NoSubdirectory { .. } => Some("check the directory behind `#subdirectory=`".into()),
            Self::Store(error) => error.hint(),
            Self::Refused(_) => Some("tell its authors, and exclude this version with a constraint".into()),
            Self::Metadata(error) => error.hint(),
            Self::Name { .. }
            | Self::Unreadable(_)
            | Self::Other { .. }
            | Self::Misfit { .. }
            | Self::NotReproducible { .. }
            | Self::OtherMetadata => Some("choose another version, or build its wheel yourself".into()),
        }
    }

    /// The message, and the end of the build's output.
    fn lines(&self) -> Vec<String> {
        match self {
            Self::Hook(HookError::Failed { fault, said }) => {
                let said = said.iter().map(|line| format!("  {line}"));
                std::iter::once(fault.to_string()).chain(said).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl SourceTree {
    /// Unpacks the archive `digest`, which `store` has, of a project that is in a `subdirectory` of it.
    pub fn unpack(
        store: &Store,
        digest: &Digest,
        format: SourceFormat,
        subdirectory: Option<&Subdirectory>,
    ) -> Result<Self, BuildError> {
        let directory = BuildDirectory::new(store.scratch_directory()?).map_err(BuildError::Prepare)?;
        let root = archive::unpack(store.open_blob(digest)?, format, &directory.source())?;
        let root = match subdirectory {
            None => root,
            Some(below) => within(&root, below)?,
        };
        let files = FileRoot::open(&root, Outside::Refused).map_err(BuildError::Prepare)?;
        let read = |name: &'static str, limit| match files.read(&root.join(name), limit) {
            Ok((bytes, _)) => Ok(Some(bytes)),
            Err(ReachError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(BuildError::Read { path: name, source }),
        };
        let project = read(pyproject::NAME, pyproject::LONGEST)?.map(metadata::decoded);
        let system = BuildSystem::of(project.as_deref())?;
        let told = read("PKG-INFO", LONGEST_METADATA)?.map(metadata::decoded);
        let metadata = told.as_deref().and_then(metadata::of_wheels);
        Ok(Self { directory, root, system, metadata })
    }

    /// The requirements of the build that its backend tells, beside those of `pyproject.toml`, as it writes them.
    pub fn requires(&self, room: &BuildRoom, confinement: Confinement) -> Result<Vec<String>, BuildError> {
        Ok(self.directory.call(Hook::Requires, &self.root, &self.system, room, confinement)?)
    }

    /// Builds the wheel, and brings it into `store`.
    pub fn wheel(
        &self,
        room: &BuildRoom,
        expected: ExpectedWheel<'_>,
        store: &Store,
        confinement: Confinement,
    ) -> Result<BuiltWheel, BuildError> {
        let name: String = self.directory.call(Hook::Wheel, &self.root, &self.system, room, confinement)?;
        let filename = wheel_name(&name)?;
        let (files, directory) = self.directory.output().map_err(BuildError::Prepare)?;
        let file = files.open_file(&directory.join(&name)).map_err(BuildError::Unreadable)?;
        let metadata = sound_metadata(&file, &filename, expected)?;
        if self.metadata.as_ref().is_some_and(|told| !has_same_requirements(told, &metadata)) {
            return Err(BuildError::OtherMetadata);
        }
        let found = digest_of(&file).map_err(BuildError::Prepare)?;
        if let Some(expected) = expected.digest.filter(|expected| *expected != found) {
            return Err(BuildError::NotReproducible { expected, found });
        }
        let (digest, size) = keep(file, store)?;
        Ok(BuiltWheel { filename, digest, size, metadata })
    }
}

/// The directory of a project in a source, which no link leads out of.
fn within(root: &Path, subdirectory: &Subdirectory) -> Result<PathBuf, BuildError> {
    let path = root.join(subdirectory.as_str());
    let files = FileRoot::open(root, Outside::Refused).map_err(BuildError::Prepare)?;
    match files.find(&path) {
        Ok(found) if found.metadata.is_dir() => Ok(path),
        _ => Err(BuildError::NoSubdirectory { subdirectory: subdirectory.clone() }),
    }
}

impl BuiltWheel {
    /// A wheel that was built before.
    pub fn recalled(filename: WheelFilename, digest: Digest, size: u64, store: &Store) -> Option<Self> {
        if !store.has_blob(&digest, Some(size)) {
            return None;
        }
        let contents = WheelFile::open(&store.blob_path(&digest)).ok()?.contents().ok()?;
        let metadata = metadata::parse(&contents.metadata).ok()?;
        Some(Self { filename, digest, size, metadata })
    }
}

/// The wheel's name, which is that of a file and nothing else.
fn wheel_name(name: &str) -> Result<WheelFilename, BuildError> {
    let wrong = || BuildError::Name { name: name.chars().take(256).collect() };
    match name.contains('/') {
        true => Err(wrong()),
        false => name.parse().map_err(|_| wrong()),
    }
}

/// The metadata of a wheel that was built, once it is sound, fits, and is of the right project and version.
fn sound_metadata(
    file: &File,
    filename: &WheelFilename,
    expected: ExpectedWheel<'_>,
) -> Result<CoreMetadata, BuildError> {
    let opened = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let contents =
        WheelFile::open(&opened).and_then(|wheel| wheel.contents()).map_err(BuildError::Refused)?;
    let metadata = metadata::parse(&contents.metadata).map_err(BuildError::Metadata)?;
    let wanted = expected.version.unwrap_or(&filename.version);
    let is_expected = |name: &PackageName, version: &Version| (name, version) == (expected.name, wanted);
    let found = [(&filename.name, &filename.version), (&metadata.name, &metadata.version)];
    if let Some((name, version)) = found.into_iter().find(|(name, version)| !is_expected(name, version)) {
        return Err(BuildError::Other {
            expected: format!("{} {wanted}", expected.name),
            found: format!("{name} {version}"),
        });
    }
    match expected.target.fit(filename) {
        Ok(_) => Ok(metadata),
        Err(misfit) => Err(BuildError::Misfit { wheel: filename.to_string(), misfit }),
    }
}

fn has_same_requirements(told: &CoreMetadata, built: &CoreMetadata) -> bool {
    let sorted = |metadata: &CoreMetadata| {
        let mut requires: Vec<String> = metadata.requires_dist.iter().map(ToString::to_string).collect();
        requires.sort();
        requires
    };
    sorted(told) == sorted(built)
}

fn digest_of(mut file: &File) -> io::Result<Digest> {
    let mut hasher = Hasher::default();
    io::copy(&mut file, &mut hasher)?;
    file.rewind()?;
    Ok(hasher.finish())
}

/// Copies a wheel into the store.
fn keep(mut file: File, store: &Store) -> Result<(Digest, u64), BuildError> {
    let mut blob = store.new_blob()?;
    let size = file.metadata().map_err(BuildError::Prepare)?.len();
    if size > LARGEST_WHEEL {
        return Err(BuildError::Unreadable(io::Error::from(io::ErrorKind::FileTooLarge).into()));
    }
    io::copy(&mut file, &mut blob).map_err(BuildError::Prepare)?;
    Ok(blob.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wheels_name_is_that_of_a_file() {
        assert!(wheel_name("demo-1.0-py3-none-any.whl").is_ok());
        for name in ["../demo-1.0-py3-none-any.whl", "/etc/passwd", "demo", ""] {
            assert!(wheel_name(name).is_err(), "{name}");
        }
    }
}
