//! The packages of other tools' locks that are for a target: as they stand, apart from CUDA's components.

use std::collections::{BTreeMap, BTreeSet};
use std::path::absolute;

use uv_normalize::PackageName;
use uv_pep440::VersionSpecifier;
use uv_pep508::{MarkerTree, VersionOrUrl};

use super::Session;
use crate::beneath::{FileRoot, ReachError};
use crate::cuda::ComponentWheel;
use crate::failure::{Fault, Hinted, Result};
use crate::net::directory::local_wheel;
use crate::oci::Digest;
use crate::pypa::metadata::Requirement;
use crate::pypa::simple::{DistFile, Project};
use crate::pypa::target::Target;
use crate::recipe::locks::SelectedLock;
use crate::recipe::locks::package::{ForeignPackage, LockedContent, LockedFiles};
use crate::recipe::{FilePlace, NamedProject, NamedWheel, RecipeInputs, RootRequirement, WheelReference};
use crate::resolve::{Resolution, ResolutionRequest, Role};

/// The reason why a lock of another tool cannot be followed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum LockedProjectError {
    #[error("`{origin}` is for Python {asked}, and the image has {python}")]
    Python { origin: String, asked: String, python: String },
    #[error("`{name}` is locked twice for the image: in `{first}` and in `{second}`")]
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
            Self::Two { first, second, .. } if first == second => {
                "lock again: a target has one version of a project".into()
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
    /// Their packages whose sources are at places of their own.
    pub sources: Vec<NamedProject>,
    /// Their packages of which a wheel is at a place of its own.
    pub wheels: Vec<NamedWheel>,
    /// The only archives that they allow of what an index has.
    pub hashes: BTreeMap<PackageName, BTreeSet<Digest>>,
    /// The requirements that stood in place of all others when they were made.
    pub overrides: Vec<Requirement>,
    /// The lock of each project.
    origins: BTreeMap<PackageName, String>,
}

impl LockedProjects {
    /// The packages of the recipe's locks that are for `target`.
    pub(super) fn select(inputs: &RecipeInputs, target: &Target, session: &Session<'_>) -> Result<Self> {
        let mut locked = Self::default();
        for selected in &inputs.locks {
            check(selected, target)?;
            let packages = selected.lock.select(target.markers(), &selected.selection)?;
            locked.overrides.extend_from_slice(selected.lock.overrides());
            // Which CUDA serves is decided for all of them together.
            let is_ours = |package: &&&ForeignPackage| ComponentWheel::of(package.name.as_ref()).is_none();
            for package in packages.iter().filter(is_ours) {
                locked.add(package, selected, inputs, session)?;
            }
        }
        Ok(locked)
    }

    fn add(
        &mut self,
        package: &ForeignPackage,
        selected: &SelectedLock,
        inputs: &RecipeInputs,
        session: &Session<'_>,
    ) -> Result<(), LockedProjectError> {
        if package.content == LockedContent::Nothing {
            return Ok(());
        }
        let (name, origin) = (package.name.clone(), selected.lock.origin.clone());
        if let Some(first) = self.origins.insert(name.clone(), origin.clone()) {
            return Err(LockedProjectError::Two { name, first, second: origin });
        }
        let requirement = requirement(package);
        let root = RootRequirement::new(requirement.clone().into(), origin.clone());
        match &package.content {
            LockedContent::Files(files) => {
                let files = project(package, files, selected, inputs, session)?;
                self.projects.insert(name, files);
            }
            LockedContent::Hashes(hashes) => drop(self.hashes.insert(name, hashes.clone())),
            LockedContent::Wheel(wheel) => {
                let wheel =
                    WheelReference { place: wheel.place.clone().moved(&selected.directory), ..wheel.clone() };
                self.wheels.push(NamedWheel { requirement, wheel, source: origin });
            }
            LockedContent::Source(place) => {
                let place = place.clone().moved(&selected.directory);
                let version = package.version.clone().filter(|_| !place.is_directory());
                self.sources.push(NamedProject { requirement, version, place, source: origin });
            }
            LockedContent::Nothing => {}
        }
        self.roots.push(root);
        Ok(())
    }

    /// Adds the recipe's own projects of which only some files are taken to what is asked of the resolver.
    pub(super) fn ask(&self, request: &mut ResolutionRequest<'_>) {
        request.roots.extend(self.roots.iter().cloned());
        let is_own =
            |requirement: &&Requirement| request.overrides.iter().all(|own| own.name != requirement.name);
        let overrides: Vec<Requirement> = self.overrides.iter().filter(is_own).cloned().collect();
        request.overrides.extend(overrides);
    }

    /// Refuses what a resolution has beyond the locks, where the recipe asks for nothing else.
    pub(super) fn check_complete(
        &self,
        inputs: &RecipeInputs,
        resolution: &Resolution,
    ) -> Result<(), LockedProjectError> {
        let Some(selected) = inputs.locks.first().filter(|_| inputs.roots.is_empty()) else {
            return Ok(());
        };
        let packages = resolution.distributions.iter().filter(|it| matches!(it.role, Role::Package { .. }));
        let names: BTreeSet<&PackageName> = packages.map(|distribution| &distribution.name).collect();
        match names.into_iter().find(|name| !self.origins.contains_key(*name)) {
            Some(name) if ComponentWheel::of(name.as_ref()).is_none() => {
                let origin = selected.lock.origin.clone();
                Err(LockedProjectError::Incomplete { name: name.clone(), origin })
            }
            _ => Ok(()),
        }
    }
}

/// The requirement on a package: of a directory any version, for what it says may be what only its build tells.
fn requirement(package: &ForeignPackage) -> Requirement {
    let is_directory = matches!(&package.content, LockedContent::Source(place) if place.is_directory());
    let version = package.version.clone().filter(|_| !is_directory).map(VersionSpecifier::equals_version);
    Requirement {
        name: package.name.clone(),
        extras: Box::default(),
        version_or_url: version.map(|version| VersionOrUrl::VersionSpecifier(version.into())),
        marker: MarkerTree::TRUE,
        origin: None,
    }
}

/// The files of a package, as an index would list them.
fn project(
    package: &ForeignPackage,
    files: &LockedFiles,
    selected: &SelectedLock,
    inputs: &RecipeInputs,
    session: &Session<'_>,
) -> Result<Project, LockedProjectError> {
    let mut wheels = files.wheels.clone();
    for wheel in &files.local {
        wheels.push(local(wheel, selected, inputs, session)?);
    }
    let (others, sources) = (files.others.clone(), files.sdists.clone());
    Ok(Project { name: package.name.clone(), files: wheels, others, sources })
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
        FilePlace::Path(path) => inputs.directory.join(&selected.directory).join(path),
        FilePlace::Url(url) => url.path().into(),
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
