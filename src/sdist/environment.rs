//! The environment of a build: a virtual environment of the base's interpreter with the distributions that the build
//! needs, which are installed as in an image.
//!
//! <https://docs.python.org/3/library/venv.html> · <https://peps.python.org/pep-0518/>

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::tree::TreeRoot;
use crate::failure::Hinted;
use crate::layer::{RefusedWheel, WheelFile};
use crate::oci::Digest;
use crate::pypa::install::{self, Bookkeeping, Choices, Content, InstallError, InstallPlace};
use crate::pypa::scheme::InstallScheme;
use crate::store::{Store, StoreError};

/// Part of the name of what is kept: raised when an environment has other files.
const FORMAT: u32 = 1;
/// The directory of an environment in a sandbox.
pub(super) const IN_SANDBOX: &str = "/imgforge/environment";
/// The same as the install scheme has it.
const PREFIX: &str = "imgforge/environment";
/// The permission bits by which a file is run.
const EXECUTABLE: u32 = 0o111;

/// The interpreter that environments are made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildPython {
    /// Its absolute path in the base, without links: `/usr/bin/python3.11`.
    pub program: String,
    /// `3.11.2`
    pub version: String,
    /// `(3, 11)`
    pub minor: (u8, u8),
}

/// The reason why an environment cannot be made.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum EnvironmentError {
    #[error("could not read the wheel `{wheel}`, which the build needs")]
    Refused { wheel: String, source: RefusedWheel },
    #[error("could not install the wheel `{wheel}`, which the build needs")]
    Install { wheel: String, source: InstallError },
    #[error("could not write `{path}` for the build")]
    Write { path: String, source: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Hinted for EnvironmentError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { .. } | Self::Install { .. } => {
                Some("exclude the version by `exclude-newer`, and tell its authors".into())
            }
            Self::Write { source, .. } => source.hint(),
            Self::Store(error) => error.hint(),
        }
    }
}

/// The directory of the environment with these `wheels`, by the names of their files, which `store` has.
pub fn environment(
    store: &Store,
    python: &BuildPython,
    wheels: &[(String, Digest)],
) -> Result<PathBuf, EnvironmentError> {
    let key = Digest::of(format!("environment {FORMAT} {python:?} {wheels:?}"));
    let tree = store.put_tree(&key, |directory| {
        let root = TreeRoot::open(directory).map_err(unwritten(PREFIX))?;
        prepare(&root, python)?;
        wheels.iter().try_for_each(|(name, digest)| add(&root, store, python, name, digest))
    })?;
    Ok(tree.join(PREFIX))
}

/// Makes an environment without distributions.
fn prepare(root: &TreeRoot, python: &BuildPython) -> Result<(), EnvironmentError> {
    let BuildPython { program, version, minor } = python;
    let home = program.rsplit_once('/').map_or("/", |(home, _)| home);
    let text = format!("home = {home}\ninclude-system-site-packages = false\nversion = {version}\n");
    let scheme = scheme(python);
    let path = format!("{PREFIX}/pyvenv.cfg");
    write(root, &path, false, text.as_bytes())?;
    for name in ["python".to_owned(), "python3".to_owned(), format!("python{}.{}", minor.0, minor.1)] {
        let path = format!("{}/{name}", scheme.scripts);
        root.symlink(&path, program.as_bytes()).map_err(unwritten(&path))?;
    }
    root.directory(&scheme.purelib).map_err(unwritten(&scheme.purelib))
}

fn scheme(python: &BuildPython) -> InstallScheme {
    InstallScheme::prefix(PREFIX, python.minor, &format!("{IN_SANDBOX}/bin/python"))
}

/// Installs a wheel.
fn add(
    root: &TreeRoot,
    store: &Store,
    python: &BuildPython,
    name: &str,
    digest: &Digest,
) -> Result<(), EnvironmentError> {
    let refused = |source| EnvironmentError::Refused { wheel: name.to_owned(), source };
    let wheel = WheelFile::open(&store.blob_path(digest)).map_err(refused)?;
    let contents = wheel.contents().map_err(refused)?;
    let choices = Choices {
        scheme: &scheme(python),
        bookkeeping: Bookkeeping::DistInfo { requested: false },
        metadata: None,
        direct_url: None,
        relocate: &|_| InstallPlace::SitePackages,
        bytecode: &BTreeMap::new(),
    };
    let files = install::install(&contents, &choices)
        .map_err(|source| EnvironmentError::Install { wheel: name.to_owned(), source })?;
    for file in files {
        let is_executable = file.mode & EXECUTABLE != 0;
        match file.content {
            Content::Member(index) => {
                let mut written = root.file(&file.path, is_executable).map_err(unwritten(&file.path))?;
                io::copy(&mut wheel.checked(index), &mut written).map_err(unwritten(&file.path))?;
            }
            Content::Bytes(bytes) => write(root, &file.path, is_executable, &bytes)?,
            Content::Link(target) => {
                root.symlink(&file.path, target.as_bytes()).map_err(unwritten(&file.path))?;
            }
            Content::Bytecode(_) => {}
        }
    }
    Ok(())
}

fn write(root: &TreeRoot, path: &str, executable: bool, bytes: &[u8]) -> Result<(), EnvironmentError> {
    let write = || root.file(path, executable)?.write_all(bytes);
    write().map_err(unwritten(path))
}

fn unwritten(path: &str) -> impl FnOnce(io::Error) -> EnvironmentError {
    let path = path.to_owned();
    move |source| EnvironmentError::Write { path, source }
}

/// The interpreter of a base at `tree`, which `scheme` names; `None` where it is not there.
pub fn python_of(tree: &Path, scheme: &InstallScheme, version: &str) -> Option<BuildPython> {
    let root = TreeRoot::open(tree).ok()?;
    let program = root.real_path(&scheme.interpreter)?;
    let is_file = fs::metadata(tree.join(&program)).is_ok_and(|program| program.is_file());
    is_file.then(|| BuildPython {
        program: format!("/{program}"),
        version: version.to_owned(),
        minor: scheme.version,
    })
}
