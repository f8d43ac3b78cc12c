//! The lock beside a recipe: where it is, whether it agrees, and what a new one keeps of it.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use uv_normalize::PackageName;

use super::LockWriting;
use super::named_projects::{KnownSources, known_sources};
use super::named_wheels::{ChangedWheel, KnownWheels, known_wheels};
use super::recipe_file;
use super::recipe_source::{LockPlace, RecipeSource};
use crate::beneath::{FileRoot, Outside, ReachError};
use crate::failure::{Fault, Hinted};
use crate::lock::{Lock, LockDocument, LockError, LockedBase, LockedPython, RecipeFingerprint};
use crate::net::index::Freshness;
use crate::oci::{Architecture, Digest};
use crate::plain_file;
use crate::recipe::RecipeInputs;
use crate::resolve::Preferences;
use crate::store::{self, clear_abandoned};

/// A lock of more bytes is not read: one of a thousand wheels and packages has 1 MB, and takes twenty times its size.
const LONGEST_LOCK: u64 = 4 << 20;

/// The use of the lock beside a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locking {
    /// It decides when it agrees with the recipe, and otherwise its versions are tried first.
    Preferred,
    /// It decides, or nothing is built.
    Required,
}

/// The part of an earlier lock that a new one does not keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upgrade {
    /// Nothing of the earlier lock is kept.
    Everything,
    /// Only this is given up.
    Only {
        /// These distributions and Debian packages.
        names: BTreeSet<String>,
        /// The base: what its tag or its suites have now is taken.
        base: bool,
    },
}

impl Upgrade {
    /// Nothing is given up.
    pub(super) fn nothing() -> Self {
        Self::Only { names: BTreeSet::new(), base: false }
    }

    /// Returns whether the version of a distribution is given up.
    fn gives_up(names: &BTreeSet<String>, name: &PackageName) -> bool {
        names.iter().any(|given_up| given_up.parse().is_ok_and(|it: PackageName| it == *name))
    }

    /// The pages by which is decided: an upgrade trusts none that was fetched before.
    pub(super) fn freshness(&self) -> Freshness {
        match self {
            Self::Only { names, .. } if names.is_empty() => Freshness::Believed,
            Self::Only { .. } | Self::Everything => Freshness::Anew,
        }
    }
}

/// The reason why the lock beside a recipe cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum LockFileError {
    #[error("there is no lock `{path}`")]
    Missing { path: PathBuf, relock: String },
    #[error("the lock `{path}` is out of date: the recipe's {} changed", listed(keys))]
    Stale { path: PathBuf, relock: String, keys: Vec<String> },
    #[error("the lock `{path}` is out of date: the image that the recipe builds on is another now")]
    OtherBase { path: PathBuf, relock: String },
    #[error("`{wheel}` is another than was locked: {locked} is locked, {found} was found")]
    OtherWheel { relock: String, wheel: String, locked: Digest, found: Digest },
    #[error("could not use the lock `{path}`")]
    Unusable { path: PathBuf, source: LockError },
    #[error("could not read the lock `{path}`")]
    Read { path: PathBuf, source: io::Error },
    #[error("could not write the lock `{path}`")]
    Write { path: PathBuf, source: io::Error },
    #[error("could not remove the lock `{path}`, whose image the matrix no longer has")]
    Remove { path: PathBuf, source: io::Error },
    #[error("`{name}` cannot be upgraded: neither the recipe nor its lock has it")]
    Unknown { name: String },
}

impl LockFileError {
    pub(super) fn missing(lock: LockPlace) -> Self {
        Self::Missing { path: lock.path, relock: lock.relock }
    }

    pub(super) fn stale(lock: LockPlace, keys: Vec<String>) -> Self {
        Self::Stale { path: lock.path, relock: lock.relock, keys }
    }

    pub(super) fn other_wheel(lock: LockPlace, changed: ChangedWheel) -> Self {
        let ChangedWheel { wheel, locked, found } = changed;
        Self::OtherWheel { relock: lock.relock, wheel, locked, found }
    }

    pub(super) fn other_base(lock: LockPlace) -> Self {
        Self::OtherBase { path: lock.path, relock: lock.relock }
    }
}

impl Hinted for LockFileError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { relock, .. } => Some(format!("make it with `{relock}`")),
            Self::Stale { relock, .. } | Self::OtherBase { relock, .. } => {
                Some(format!("bring it up to date with `{relock}`"))
            }
            Self::OtherWheel { relock, .. } => {
                Some(format!("restore what was locked, or lock this one with `{relock}`"))
            }
            Self::Unusable { source, .. } => source.hint(),
            Self::Read { .. } => Some("restore the file, or remove it and run `imgforge lock`".into()),
            Self::Write { .. } => {
                Some("the lock is written beside the recipe: is its directory writable?".into())
            }
            Self::Remove { .. } => Some("remove it, or make its directory writable".into()),
            Self::Unknown { .. } => {
                Some("check the spelling; `imgforge plan` lists what is installed".into())
            }
        }
    }

    fn fault(&self) -> Fault {
        Fault::Input
    }
}

fn listed(keys: &[String]) -> String {
    keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}

/// The lock beside a recipe, as it was found.
pub(super) enum LockStatus {
    Missing,
    Agrees(Lock),
    /// The lock of another recipe, which differs in these keys.
    Differs(Lock, Vec<String>),
    /// The lock of another platform, where there is none of this one.
    OfAnotherPlatform(Lock),
}

impl LockStatus {
    /// The lock for a platform among those beside a recipe, compared with the recipe's fingerprint.
    pub(super) fn of(
        locks: Option<&LockDocument>,
        platform: Option<Architecture>,
        fingerprint: &RecipeFingerprint,
    ) -> Self {
        let Some(locks) = locks else { return Self::Missing };
        let Some(lock) = locks.lock(platform).cloned() else {
            return locks.locks().next().cloned().map_or(Self::Missing, Self::OfAnotherPlatform);
        };
        let keys = lock.recipe.differences(fingerprint);
        match keys.is_empty() {
            true => Self::Agrees(lock),
            false => Self::Differs(lock, keys),
        }
    }
}

/// The locks of a recipe, where there are some.
pub(super) fn read_locks(recipe: RecipeSource<'_>) -> Result<Option<LockDocument>, LockFileError> {
    if recipe_file::is_standard_input(recipe.file) {
        return Ok(None);
    }
    match read(&recipe.lock().path) {
        Err(LockFileError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

/// The text of the lock, which no link may make that of a file elsewhere: what is wrong with it is told.
fn read_beside(path: &Path) -> io::Result<String> {
    let read = FileRoot::open(directory_of(path), Outside::Refused)?.read_text(path, LONGEST_LOCK);
    match read {
        Ok((text, _)) => Ok(text),
        Err(ReachError::Io(error)) => Err(error),
        Err(error) => Err(io::Error::other(error)),
    }
}

pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The locks in the file at `path`, wherever its recipe is.
pub(super) fn read(path: &Path) -> Result<LockDocument, LockFileError> {
    let text = read_beside(path).map_err(|source| LockFileError::Read { path: path.to_owned(), source })?;
    LockDocument::parse(&text).map_err(|source| LockFileError::Unusable { path: path.to_owned(), source })
}

/// Writes `locks` at `path`, unless it is only to be told; whether that is not what was there.
pub(super) fn write(path: &Path, locks: &LockDocument, writing: LockWriting) -> Result<bool, LockFileError> {
    let text = locks.to_text().map_err(|source| LockFileError::Unusable { path: path.to_owned(), source })?;
    if plain_file::read(path, LONGEST_LOCK).is_ok_and(|present| present == text.as_bytes()) {
        return Ok(false);
    }
    if writing == LockWriting::Tell {
        return Ok(true);
    }
    let unwritten = |source| LockFileError::Write { path: path.to_owned(), source };
    // Those of a matrix have a directory of their own.
    std::fs::create_dir_all(directory_of(path)).map_err(unwritten)?;
    clear_abandoned(directory_of(path));
    store::write(path, text.as_bytes()).map_err(unwritten)?;
    Ok(true)
}

/// The part of an earlier lock that is kept where possible.
#[derive(Debug, Default)]
pub(super) struct KeptFromLock {
    pub preferences: Preferences,
    /// The base, when the recipe describes it as before.
    pub base: Option<LockedBase>,
    /// The Debian packages of the base that are chosen anew.
    pub given_up_packages: BTreeSet<String>,
    /// The Python that was given.
    pub python: Option<LockedPython>,
    /// The wheels that were named by their places.
    pub wheels: KnownWheels,
    /// The origins of what was built from sources that were named.
    pub sources: KnownSources,
}

impl KeptFromLock {
    /// The part of `lock` that `upgrade` leaves, for a recipe of this `fingerprint`.
    pub(super) fn of(lock: &Lock, fingerprint: &RecipeFingerprint, upgrade: &Upgrade) -> Self {
        let Upgrade::Only { names, base: is_base_given_up } = upgrade else { return Self::default() };
        let mut preferences = lock.preferences();
        preferences.retain(|name, _| !Upgrade::gives_up(names, name));
        let is_base_kept = !is_base_given_up && lock.recipe.agrees_on("base", fingerprint);
        let base = is_base_kept.then(|| match lock.recipe.agrees_on("system-packages", fingerprint) {
            true => lock.base.clone(),
            false => lock.base.without_added_packages(),
        });
        let is_given_up = |url: &String| {
            let mut given_up =
                lock.distributions.iter().filter(|locked| Upgrade::gives_up(names, locked.name()));
            given_up.any(|locked| locked.direct_url() == Some(url))
        };
        let mut wheels = known_wheels(lock);
        wheels.retain(|url, _| !is_given_up(url));
        let given_up_packages = names.iter().filter(|name| lock.has_package(name)).cloned().collect();
        let mut sources = known_sources(lock);
        sources.retain(|url| !is_given_up(url));
        let python = lock.python.clone();
        Self { preferences, base, given_up_packages, python, wheels, sources }
    }

    /// The part of another platform's lock that `upgrade` leaves: its versions.
    pub(super) fn of_another_platform(lock: &Lock, upgrade: &Upgrade) -> Self {
        let Upgrade::Only { names, .. } = upgrade else { return Self::default() };
        let mut preferences = lock.preferences();
        preferences.retain(|name, _| !Upgrade::gives_up(names, name));
        Self { preferences, ..Self::default() }
    }
}

/// Refuses to upgrade what neither the recipe nor its locks name.
pub(super) fn check_names(
    upgrade: &Upgrade,
    inputs: &RecipeInputs,
    locks: Option<&LockDocument>,
) -> Result<(), LockFileError> {
    let Upgrade::Only { names, .. } = upgrade else { return Ok(()) };
    let locks: Vec<&Lock> = locks.map(|locks| locks.locks().collect()).unwrap_or_default();
    let is_distribution = |name: PackageName| {
        locks.iter().any(|lock| lock.has(&name))
            || inputs.roots.iter().any(|root| root.requirement.name == name)
    };
    let is_known = |name: &&String| {
        locks.iter().any(|lock| lock.has_package(name)) || name.parse().is_ok_and(is_distribution)
    };
    match names.iter().find(|name| !is_known(name)) {
        Some(name) => Err(LockFileError::Unknown { name: name.clone() }),
        None => Ok(()),
    }
}
