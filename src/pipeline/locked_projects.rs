//! The packages of other tools' locks that are for a target: as they stand, apart from CUDA's components.

use std::collections::{BTreeMap, BTreeSet};
use std::path::absolute;

use uv_normalize::PackageName;
use uv_pep440::VersionSpecifier;
use uv_pep508::{MarkerTree, VersionOrUrl};

use super::Session;
use crate::beneath::{FileRoot, ReachError};
use crate::cuda::ComponentWheel;
use crate::failure::{Fault, Hinted};
use crate::net::directory::local_wheel;
use crate::oci::Digest;
use crate::pypa::metadata::Requirement;
use crate::pypa::simple::{DistFile, Project};
use crate::pypa::target::Target;
use crate::recipe::pylock::{PylockEntry, SelectedLock};
use crate::recipe::{RecipeInputs, RootRequirement, WheelPlace, WheelReference};
use crate::resolve::{Resolution, Role};

/// The reason why a lock of another tool cannot be followed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum LockedProjectError {
    #[error("`{origin}` is for Python {asked}, and the image has {python}")]
    Python { origin: String, asked: String, python: String },
    #[error("two locks have `{name}`: `{first}` and `{second}`")]
    Two { name: PackageName, first: String, second: String },
    #[error("could not read the wheel `{wheel}` of `{origin}`")]
    Reach { wheel: String, origin: String, source: ReachError },
    #[error("the wheel `{wheel}` of `{origin}` has the wrong hash: {expected} is locked, {found} was found")]
    Hash { wheel: String, origin: String, expected: Digest, found: Digest },
    #[error("`{name}` is needed, and `{origin}` does not have it")]
    Incomplete { name: PackageName, origin: String },
}

impl Hinted for LockedProjectError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Python { asked, .. } => {
                format!("lock again for the image's Python, or choose a base whose Python is {asked}")
            }
            Self::Two { .. } => "keep one of the two locks".into(),
            Self::Reach { source: ReachError::Io(_), .. } => {
                "check the path: it begins at the lock's directory".into()
            }
            Self::Reach { source, .. } => return source.hint(),
            Self::Hash { .. } => "lock again, or restore the wheel that was locked".into(),
            Self::Incomplete { .. } => {
                "lock again for the image's Python and platform, with all extras and groups that are needed"
                    .into()
            }
        })
    }

    fn fault(&self) -> Fault {
        Fault::Input
    }
}

/// The content of other tools' locks for a target.
#[derive(Default)]
pub(super) struct LockedProjects {
    /// Their packages, as requirements.
    pub roots: Vec<RootRequirement>,
    /// Their files: the only ones of their projects.
    pub projects: BTreeMap<PackageName, Project>,
    /// The lock of each project.
    origins: BTreeMap<PackageName, String>,
}

impl LockedProjects {
    /// The packages of the recipe's locks that are for `target`.
    pub fn select(
        inputs: &RecipeInputs,
        target: &Target,
        session: &Session<'_>,
    ) -> Result<Self, LockedProjectError> {
        let mut locked = Self::default();
        for selected in &inputs.locks {
            check(selected, target)?;
            let is_meant = |package: &&PylockEntry| {
                let (markers, extras, groups) = (target.markers(), &selected.extras, &selected.groups);
                package.marker.evaluate_pep751(markers, extras, groups)
            };
            // Which CUDA serves is decided for all of them together.
            let is_ours = |package: &&PylockEntry| ComponentWheel::of(package.name.as_ref()).is_none();
            for package in selected.lock.packages.iter().filter(is_meant).filter(is_ours) {
                locked.add(package, selected, inputs, session)?;
            }
        }
        Ok(locked)
    }

    fn add(
        &mut self,
        package: &PylockEntry,
        selected: &SelectedLock,
        inputs: &RecipeInputs,
        session: &Session<'_>,
    ) -> Result<(), LockedProjectError> {
        let (name, origin) = (package.name.clone(), selected.lock.origin.clone());
        if let Some(first) = self.origins.insert(name.clone(), origin.clone()) {
            return Err(LockedProjectError::Two { name, first, second: origin });
        }
        let mut files = package.files.clone();
        for wheel in &package.local {
            files.push(local(wheel, selected, inputs, session)?);
        }
        let version = VersionSpecifier::equals_version(package.version.clone());
        let requirement = Requirement {
            name: name.clone(),
            extras: Box::default(),
            version_or_url: Some(VersionOrUrl::VersionSpecifier(version.into())),
            marker: MarkerTree::TRUE,
            origin: None,
        };
        self.roots.push(RootRequirement::new(requirement.into(), origin));
        let (others, sources) = (package.sources.clone(), package.sdists.clone());
        self.projects.insert(name.clone(), Project { name, files, others, sources });
        Ok(())
    }

    /// Refuses what a resolution has beyond the locks, where the recipe asks for nothing else.
    pub fn check_complete(
        &self,
        inputs: &RecipeInputs,
        resolution: &Resolution,
    ) -> Result<(), LockedProjectError> {
        let Some(selected) = inputs.locks.first().filter(|_| inputs.roots.is_empty()) else {
            return Ok(());
        };
        let packages = resolution.distributions.iter().filter(|it| matches!(it.role, Role::Package { .. }));
        let names: BTreeSet<&PackageName> = packages.map(|distribution| &distribution.name).collect();
        match names.into_iter().find(|name| !self.projects.contains_key(*name)) {
            Some(name) if ComponentWheel::of(name.as_ref()).is_none() => {
                let origin = selected.lock.origin.clone();
                Err(LockedProjectError::Incomplete { name: name.clone(), origin })
            }
            _ => Ok(()),
        }
    }
}

fn check(selected: &SelectedLock, target: &Target) -> Result<(), LockedProjectError> {
    let lock = &selected.lock;
    match lock.requires_python.as_ref().filter(|python| !target.admits(python)) {
        Some(python) => Err(LockedProjectError::Python {
            origin: lock.origin.clone(),
            asked: python.to_string(),
            python: target.python().to_string(),
        }),
        None => Ok(()),
    }
}

fn local(
    wheel: &WheelReference,
    selected: &SelectedLock,
    inputs: &RecipeInputs,
    session: &Session<'_>,
) -> Result<DistFile, LockedProjectError> {
    let (shown, origin) = (wheel.filename.to_string(), selected.lock.origin.clone());
    let unreadable = |source: ReachError| LockedProjectError::Reach {
        wheel: shown.clone(),
        origin: origin.clone(),
        source,
    };
    let path = match &wheel.place {
        WheelPlace::Path(path) => inputs.directory.join(&selected.directory).join(path),
        WheelPlace::Url(url) => url.path().into(),
    };
    let io = |error: std::io::Error| unreadable(error.into());
    let root = FileRoot::open(&inputs.directory, session.outside).map_err(io)?;
    let path = absolute(path).map_err(io)?;
    let file = local_wheel(&root, &path, wheel.filename.clone(), &session.store).map_err(unreadable)?;
    match (wheel.sha256, file.sha256) {
        (Some(expected), Some(found)) if expected != found => {
            Err(LockedProjectError::Hash { wheel: shown, origin, expected, found })
        }
        _ => Ok(file),
    }
}
