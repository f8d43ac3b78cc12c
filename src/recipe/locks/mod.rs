//! Locks of other tools: what each has for a target, with the extras and groups that a recipe asks for.
//!
//! ```text
//! text ─ ForeignLock::parse ─► ForeignLock ─ select(target, LockSelection) ─► ForeignPackage…
//! ```
//!
//! * [`pylock`]: PEP 751, where each package has a marker;
//! * [`uv`]: `uv.lock`, a graph that is walked from the projects that are asked for;
//! * [`poetry`]: `poetry.lock`, where each package has groups, markers and hashes;
//! * [`package`]: what all of them say of a package.

pub mod package;
pub mod poetry;
pub mod pylock;
pub mod uv;

use serde::Serialize;
use serde::de::DeserializeOwned;
use uv_normalize::{ExtraName, GroupName, PackageName};
use uv_pep440::VersionSpecifiers;
use uv_pep508::{MarkerEnvironment, MarkerTree};

use super::source_place::{SourceArchive, SourcePlace};
use super::wheel_reference::{FilePlace, WheelReference};
use crate::failure::{Fault, Hinted};
use crate::oci::Digest;
use crate::pypa::complexity::{check_specifiers, weigh_requirement};
use crate::pypa::git_reference::GitReferenceError;
use crate::pypa::metadata::Requirement;
use crate::pypa::subdirectory::Subdirectory;
use package::{ForeignPackage, LockedContent};
use poetry::PoetryLock;
use pylock::Pylock;
use uv::UvLock;

/// The values and lines of a lock of others: one of a thousand projects with all their wheels has some 300,000.
const MOST_VALUES: usize = 1 << 20;

/// The tool whose lock a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKind {
    /// `pylock.toml`, of any tool.
    Pylock,
    /// `uv.lock`.
    Uv,
    /// `poetry.lock`.
    Poetry,
}

impl LockKind {
    /// The kind of the lock at `path`, which its name tells; `None` for a file that is none.
    pub fn of(path: &str) -> Option<Self> {
        match path.rsplit('/').next().unwrap_or_default() {
            "uv.lock" => Some(Self::Uv),
            "poetry.lock" => Some(Self::Poetry),
            name if pylock::is_pylock(name) => Some(Self::Pylock),
            _ => None,
        }
    }
}

/// A lock of another tool.
#[derive(Debug, Clone, PartialEq)]
pub struct ForeignLock {
    /// The file's name for messages.
    pub origin: String,
    /// The digest of its text.
    pub digest: Digest,
    /// The Pythons that it is for.
    pub requires_python: Option<VersionSpecifiers>,
    content: LockContent,
}

#[derive(Debug, Clone, PartialEq)]
enum LockContent {
    Pylock(Pylock),
    Uv(UvLock),
    Poetry(PoetryLock),
}

/// The part of a lock that is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LockSelection {
    /// The extras.
    pub extras: Vec<ExtraName>,
    /// The dependency groups.
    pub groups: Vec<GroupName>,
    /// The groups that the tool takes where nobody asks for others, as far as there are such.
    pub default_groups: Vec<GroupName>,
    /// The projects of a workspace; when empty, the one at its root, or else all.
    pub members: Vec<PackageName>,
    /// True if only what these projects require is installed.
    pub without_project: bool,
}

/// A lock that a recipe names, with the part of it that it asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct SelectedLock {
    /// The lock.
    pub lock: ForeignLock,
    /// The directory that its paths begin at, relative to that of the recipe.
    pub directory: String,
    /// The part that is asked for.
    pub selection: LockSelection,
}

/// The reason why a file is no lock that can be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum ForeignLockError {
    #[error("line {line} of `{origin}` cannot be read: {reason}")]
    Syntax { origin: String, line: usize, reason: String },
    #[error("`{origin}` is of version {version}, and imgforge reads {read}")]
    Version { origin: String, version: String, read: &'static str },
    #[error("`{origin}` has no sha256 hash for `{file}`")]
    NoHash { origin: String, file: String },
    #[error("`{origin}` locks `{name}` in a way that cannot be followed: {reason}")]
    Place { origin: String, name: PackageName, reason: String },
    #[error("`{origin}` has more than {MOST_VALUES} values")]
    ManyValues { origin: String },
}

impl Hinted for ForeignLockError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Syntax { .. } | Self::ManyValues { .. } => {
                "is it a whole lock, as its tool wrote it? `uv lock`, `poetry lock` and `uv export --format pylock.toml` \
                 write one"
                    .into()
            }
            Self::Version { .. } => "lock again with a version of the tool that writes this one".into(),
            Self::NoHash { .. } => "lock it again: what has no hash is not installed".into(),
            Self::Place { name, .. } => format!(
                "name the source of `{name}` under `packages`, or leave it out of the lock \
                 (`uv export --format pylock.toml --no-emit-package {name}`)"
            ),
        })
    }

    fn fault(&self) -> Fault {
        Fault::Input
    }
}

/// The reason why a lock does not have what is asked for.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum SelectionError {
    #[error("`{origin}` has no extra `{extra}`")]
    Extra { origin: String, extra: ExtraName, known: Vec<ExtraName> },
    #[error("`{origin}` has no dependency group `{group}`")]
    Group { origin: String, group: GroupName, known: Vec<GroupName> },
    #[error("`{origin}` has no project `{member}` of its own")]
    Member { origin: String, member: PackageName, known: Vec<PackageName> },
    #[error("`{origin}` says that {first} and {second} exclude each other")]
    Conflict { origin: String, first: String, second: String },
    #[error("`{origin}` does not have `{name}`, which it requires")]
    Unlocked { origin: String, name: PackageName },
}

impl Hinted for SelectionError {
    fn hint(&self) -> Option<String> {
        let listed = |known: Vec<String>, what: &str| match known.is_empty() {
            true => format!("it has no {what}: leave the key out"),
            false => format!("it has {}", known.join(", ")),
        };
        Some(match self {
            Self::Extra { known, .. } => {
                listed(known.iter().map(|name| format!("`{name}`")).collect(), "extras")
            }
            Self::Group { known, .. } => {
                listed(known.iter().map(|name| format!("`{name}`")).collect(), "dependency groups")
            }
            Self::Member { known, .. } => {
                listed(known.iter().map(|name| format!("`{name}`")).collect(), "projects of its own")
            }
            Self::Conflict { .. } => {
                "ask for one of the two; `default-groups: false` leaves out those that nobody asked for"
                    .into()
            }
            Self::Unlocked { .. } => "lock again: a part of it is missing".into(),
        })
    }

    fn fault(&self) -> Fault {
        Fault::Input
    }
}

impl ForeignLock {
    /// Reads a lock; `origin` is its name for messages.
    pub fn parse(kind: LockKind, text: &str, origin: &str) -> Result<Self, ForeignLockError> {
        if text.matches(['=', ',', '[', '{', '\n']).nth(MOST_VALUES).is_some() {
            return Err(ForeignLockError::ManyValues { origin: origin.to_owned() });
        }
        let reader = LockReader { text, origin };
        let (python, content) = match kind {
            LockKind::Pylock => {
                let (python, lock) = pylock::read(&reader)?;
                (python, LockContent::Pylock(lock))
            }
            LockKind::Uv => {
                let (python, lock) = uv::read(&reader)?;
                (python, LockContent::Uv(lock))
            }
            LockKind::Poetry => {
                let (python, lock) = poetry::read(&reader)?;
                (python, LockContent::Poetry(lock))
            }
        };
        let requires_python = python.map(|python| reader.specifiers(&python)).transpose()?;
        Ok(Self { origin: origin.to_owned(), digest: Digest::of(text), requires_python, content })
    }

    /// The packages that are asked for on a target with these `markers`.
    pub fn select(
        &self,
        markers: &MarkerEnvironment,
        selection: &LockSelection,
    ) -> Result<Vec<&ForeignPackage>, SelectionError> {
        match &self.content {
            LockContent::Pylock(lock) => Ok(lock.select(markers, selection)),
            LockContent::Uv(lock) => lock.select(&self.origin, markers, selection),
            LockContent::Poetry(lock) => lock.select(&self.origin, markers, selection),
        }
    }

    /// The requirements that stood in place of all others on their projects when it was made.
    pub fn overrides(&self) -> &[Requirement] {
        match &self.content {
            LockContent::Uv(lock) => &lock.overrides,
            LockContent::Pylock(_) | LockContent::Poetry(_) => &[],
        }
    }

    /// The number of its packages.
    pub fn len(&self) -> usize {
        match &self.content {
            LockContent::Pylock(lock) => lock.packages.len(),
            LockContent::Uv(lock) => lock.packages.len(),
            LockContent::Poetry(lock) => lock.packages.len(),
        }
    }

    /// True if it has no packages.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The directories of the projects that are asked for, relative to the lock's: their `pyproject.toml` says which groups
    /// are theirs by default.
    pub fn project_directories(&self, members: &[PackageName]) -> Vec<String> {
        match &self.content {
            LockContent::Uv(lock) => lock.project_directories(members),
            LockContent::Pylock(_) | LockContent::Poetry(_) => Vec::new(),
        }
    }
}

/// The text of a lock on its way into types.
pub(super) struct LockReader<'a> {
    pub text: &'a str,
    pub origin: &'a str,
}

impl LockReader<'_> {
    fn document<T: DeserializeOwned>(&self) -> Result<T, ForeignLockError> {
        toml::from_str(self.text).map_err(|error| {
            let reason = error.message().lines().collect::<Vec<_>>().join("; ");
            self.syntax(error.span().map_or(0, |span| span.start), reason)
        })
    }

    fn syntax(&self, offset: usize, reason: String) -> ForeignLockError {
        let line = self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1;
        ForeignLockError::Syntax { origin: self.origin.to_owned(), line, reason }
    }

    fn version(&self, version: impl Into<String>, read: &'static str) -> ForeignLockError {
        ForeignLockError::Version { origin: self.origin.to_owned(), version: version.into(), read }
    }

    fn place(&self, name: &PackageName, reason: impl Into<String>) -> ForeignLockError {
        ForeignLockError::Place { origin: self.origin.to_owned(), name: name.clone(), reason: reason.into() }
    }

    fn git(&self, name: &PackageName) -> impl Fn(GitReferenceError) -> ForeignLockError {
        move |error| self.place(name, error.to_string())
    }

    /// A wheel or a source at a place of its own.
    fn archive(
        &self,
        name: &PackageName,
        place: FilePlace,
        sha256: Option<Digest>,
        subdirectory: Option<&str>,
    ) -> Result<LockedContent, ForeignLockError> {
        if let Ok(filename) = place.filename().parse() {
            return Ok(LockedContent::Wheel(WheelReference { place, filename, sha256 }));
        }
        let subdirectory = Subdirectory::new(subdirectory.unwrap_or_default());
        let subdirectory = subdirectory.map_err(|error| self.place(name, error.to_string()))?;
        Ok(LockedContent::Source(SourcePlace::Archive(SourceArchive { place, sha256, subdirectory })))
    }

    fn specifiers(&self, text: &str) -> Result<VersionSpecifiers, ForeignLockError> {
        let allowed = check_specifiers(text).map_err(|error| error.to_string());
        let parsed = allowed.and_then(|()| text.parse().map_err(|error| format!("{error}")));
        parsed.map_err(|reason| self.syntax(0, format!("`requires-python`: {reason}")))
    }

    fn marker(&self, name: &PackageName, text: Option<&str>) -> Result<MarkerTree, ForeignLockError> {
        let Some(text) = text else { return Ok(MarkerTree::TRUE) };
        let weighed = weigh_requirement(&format!("x ; {text}")).map_err(|reason| reason.to_string());
        let parsed = weighed.and_then(|_| {
            let first = |text: String| text.lines().next().unwrap_or_default().to_owned();
            text.parse::<MarkerTree>().map_err(|error| first(error.to_string()))
        });
        parsed.map_err(|reason| self.syntax(0, format!("the marker of `{name}`: {reason}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_known_by_its_name() {
        let names =
            ["pylock.toml", "a/pylock.gpu.toml", "uv.lock", "a/poetry.lock", "pylock.txt", "apylock.toml"];
        let kinds = [
            Some(LockKind::Pylock),
            Some(LockKind::Pylock),
            Some(LockKind::Uv),
            Some(LockKind::Poetry),
            None,
            None,
        ];
        assert_eq!(names.map(LockKind::of), kinds);
    }
}
