//! Decides everything about a recipe, anew or by the lock beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uv_normalize::PackageName;

use super::Session;
use super::announced::Announced;
use super::archive_hashes;
use super::base;
use super::base_source::OpenedBase;
use super::built_wheels::{BuildBase, BuiltWheels};
use super::lock_file::{self, KeptFromLock, LockFileError, LockStatus, Locking, Upgrade};
use super::locked_projects::LockedProjects;
use super::named_projects::{NamedProjects, known_sources};
use super::named_wheels::{ChangedWheel, NamedWheels, known_wheels};
use super::own_python::OwnPython;
use super::recipe_source::RecipeSource;
use super::sources::sources;
use super::wheel_sizes::{PrivateCuda, WheelSizes};
use super::wheel_urls::WheelUrls;
use crate::failure::{Failure, Hinted, Result};
use crate::lock::{Decided, Lock, LockedPython, RecipeFingerprint};
use crate::net::index::{Freshness, PackageIndex};
use crate::plan::{PlannedBase, Wheels};
use crate::pypa::simple::Project;
use crate::recipe::{RecipeInputs, Timestamp};
use crate::resolve::{self, Resolution, ResolutionRequest, WithSources};

/// Everything that was decided about a recipe, before it is planned as layers.
pub(super) struct Decision {
    /// The recipe and the files that it names.
    pub inputs: RecipeInputs,
    /// The base.
    pub base: OpenedBase,
    /// The Python in place of the base's.
    pub python: Option<LockedPython>,
    /// The resolution.
    pub resolution: Resolution,
    /// The sizes of the CUDA that each framework would have brought for itself.
    pub private: PrivateCuda,
    /// The wheels, by file name.
    pub wheels: Wheels,
    /// The URLs of the wheels.
    pub urls: WheelUrls,
    /// The time at which the newest of the inputs was published, in Unix seconds.
    pub published: u64,
}

/// The outcome of [`recall`].
enum Recalled {
    Decision(Box<Decision>),
    /// Something has changed since it was locked, as told: the lock decides nothing.
    Outdated(Box<RecipeInputs>, LockFileError),
}

/// Decides about a `recipe`, by its lock where that agrees, else anew.
///
/// Deciding anew fetches indexes and metadata. A lock that does not agree with the recipe is an error if it is required.
pub(super) fn decide(
    inputs: RecipeInputs,
    recipe: RecipeSource<'_>,
    locking: Locking,
    session: &Session<'_>,
) -> Result<Decision> {
    let fingerprint = RecipeFingerprint::of(&inputs)?;
    let locks = lock_file::read_locks(recipe)?;
    let (inputs, kept, problem) = match LockStatus::of(locks.as_ref(), inputs.platform, &fingerprint) {
        LockStatus::Missing if locking == Locking::Required => {
            return Err(LockFileError::missing(recipe.lock()).into());
        }
        LockStatus::Missing => return anew(inputs, KeptFromLock::default(), Freshness::Believed, session),
        LockStatus::Agrees(lock) => match recall(inputs, &lock, recipe, session)? {
            Recalled::Decision(decision) => return Ok(*decision),
            Recalled::Outdated(inputs, problem) => (*inputs, kept_of(&lock, &fingerprint), problem),
        },
        LockStatus::Differs(lock, keys) => {
            (inputs, kept_of(&lock, &fingerprint), LockFileError::stale(recipe.lock(), keys))
        }
        LockStatus::OfAnotherPlatform(lock) => {
            let kept = KeptFromLock::of_another_platform(&lock, &Upgrade::nothing());
            (inputs, kept, LockFileError::stale(recipe.lock(), vec!["platforms".to_owned()]))
        }
    };
    if locking == Locking::Required {
        return Err(problem.into());
    }
    let hint = problem.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
    session.progress.warn(&format!("{problem}{hint}"));
    anew(inputs, kept, Freshness::Believed, session)
}

/// Everything of a lock that fits a recipe of this `fingerprint`.
fn kept_of(lock: &Lock, fingerprint: &RecipeFingerprint) -> KeptFromLock {
    KeptFromLock::of(lock, fingerprint, &Upgrade::nothing())
}

/// Decides everything about a recipe, trying first the choices in `kept`, by pages of this `freshness`.
pub(super) fn anew(
    inputs: RecipeInputs,
    kept: KeptFromLock,
    freshness: Freshness,
    session: &Session<'_>,
) -> Result<Decision> {
    let own = OwnPython::find(&inputs, kept.python.as_ref(), session)?;
    let base = base::open(&inputs, own.as_ref(), kept.base.as_ref(), &kept.given_up_packages, session)?;
    let inventory = &base.planned.inventory;
    resolve::check_python(&inputs, inventory)?;
    let target = inventory.target()?;
    session.progress.stage("resolving distributions and components");
    let locked = LockedProjects::select(&inputs, &target, session)?;
    let named = NamedWheels::find(&inputs, &locked.wheels, &target, &kept.wheels, session)?;
    named.check(&target, session)?;
    let packed = NamedProjects::find(&inputs, &locked.sources, &target, &kept.sources, session)?;
    let index = |files| {
        let sources = sources(&inputs, files, session)?;
        let open =
            |sources| PackageIndex::new(Arc::clone(&session.http), session.store.clone(), sources, freshness);
        let index = match &session.memory {
            Some(memory) => memory.index(sources, freshness, open),
            None => Arc::new(open(sources)),
        };
        Ok::<_, Failure>(Announced { index, session })
    };
    let exclude_newer = inputs.recipe.exclude_newer.map(|time| time.unix_seconds());
    let of_builds = index(files_of(&locked, &named))?;
    let builds = &inputs.recipe.python.build;
    let builder = BuiltWheels::new(build_base(&base), &target, &of_builds, exclude_newer, builds, session);
    let projects = packed.build(&builder)?;
    let mut direct = named.direct_urls();
    direct.extend(packed.direct_urls());
    let drivers = inputs.host_drivers(&base.planned.runtime.env);
    let mut request = ResolutionRequest::new(&inputs, drivers, inventory, &target, kept.preferences, direct);
    locked.ask(&mut request);
    let mut files = files_of(&locked, &named);
    files.extend(projects.projects());
    let catalog = index(files)?;
    let builds = &request.builds;
    let with_sources =
        WithSources { inner: &catalog, builder: &builder, builds, target: &target, exclude_newer };
    let mut resolution = resolve::resolve(&request, &with_sources)?;
    builder.realize(&mut resolution)?;
    projects.note(&mut resolution);
    archive_hashes::take(&mut resolution, &catalog, session)?;
    for component in request.policies.without_effect(&resolution) {
        session.progress.warn(&format!(
            "`cuda.components` names {component}, which nothing here needs: it has no effect"
        ));
    }
    let allowed = archive_hashes::allowed(&inputs, &locked, &resolution, &catalog, session)?;
    resolve::check_hashes(&allowed, inputs.require_hashes, &resolution)?;
    locked.check_complete(&inputs, &resolution)?;
    let WheelSizes { wheels, urls, private } = WheelSizes::read(&resolution, &catalog)?;
    let urls = WheelUrls::known(urls, &resolution);
    let published = base.published.max(resolution.newest_upload());
    let python = own.map(|own| own.locked);
    Ok(Decision { inputs, base, python, resolution, private, wheels, urls, published })
}

/// The base as builds of sources see it.
fn build_base(base: &OpenedBase) -> BuildBase<'_> {
    let PlannedBase { inventory, layers, .. } = &base.planned;
    BuildBase { inventory, layers, source: &base.source }
}

/// The projects of which only some files are taken: those of locks, and before them wheels that are named.
fn files_of(locked: &LockedProjects, named: &NamedWheels) -> BTreeMap<PackageName, Project> {
    let mut projects = locked.projects.clone();
    projects.extend(named.projects());
    projects
}

/// The decisions in `lock`, which was made of the inputs of `recipe`; asks nobody.
fn recall(
    inputs: RecipeInputs,
    lock: &Lock,
    recipe: RecipeSource<'_>,
    session: &Session<'_>,
) -> Result<Recalled> {
    session.shared.pin(lock);
    let own = OwnPython::find(&inputs, lock.python.as_ref(), session)?;
    let python = own.as_ref().map(|own| own.locked.clone());
    if let Some(changed) = other_python(python.as_ref(), lock.python.as_ref()) {
        return Ok(Recalled::Outdated(Box::new(inputs), LockFileError::other_wheel(recipe.lock(), changed)));
    }
    let base = base::open(&inputs, own.as_ref(), Some(&lock.base), &BTreeSet::new(), session)?;
    let inventory = &base.planned.inventory;
    resolve::check_python(&inputs, inventory)?;
    let drivers = inputs.host_drivers(&base.planned.runtime.env);
    let is_same = base.locked == lock.base;
    let resolution = if is_same { lock.resolution(inventory, &drivers)? } else { None };
    let Some(resolution) = resolution else {
        return Ok(Recalled::Outdated(Box::new(inputs), LockFileError::other_base(recipe.lock())));
    };
    let target = inventory.target()?;
    let locked = LockedProjects::select(&inputs, &target, session)?;
    let named = NamedWheels::find(&inputs, &locked.wheels, &target, &known_wheels(lock), session)?;
    let packed = NamedProjects::find(&inputs, &locked.sources, &target, &known_sources(lock), session)?;
    if let Some(changed) = named.changed(lock).or_else(|| packed.changed(lock)) {
        return Ok(Recalled::Outdated(Box::new(inputs), LockFileError::other_wheel(recipe.lock(), changed)));
    }
    Ok(Recalled::Decision(Box::new(Decision {
        private: PrivateCuda { by_framework: lock.private_cuda.clone() },
        wheels: lock.wheels(),
        urls: WheelUrls::listed_by(sources(&inputs, files_of(&locked, &named), session)?, &resolution),
        published: u64::try_from(lock.created.unix_seconds()).unwrap_or_default(),
        inputs,
        base,
        python,
        resolution,
    })))
}

/// A Python that is not the one that was locked.
fn other_python(found: Option<&LockedPython>, locked: Option<&LockedPython>) -> Option<ChangedWheel> {
    let (found, locked) = (found?, locked?);
    let changed = ChangedWheel { wheel: found.from.clone(), locked: locked.digest, found: found.digest };
    (found.digest != locked.digest).then_some(changed)
}

/// The decisions about `inputs` where `lock`, which was made of them, is no more right: the base, or a wheel, has changed since.
pub(super) fn unless_recalled(
    inputs: RecipeInputs,
    lock: &Lock,
    fingerprint: &RecipeFingerprint,
    recipe: RecipeSource<'_>,
    session: &Session<'_>,
) -> Result<Option<Decision>> {
    match recall(inputs, lock, recipe, session)? {
        Recalled::Decision(_) => Ok(None),
        Recalled::Outdated(inputs, _) => {
            anew(*inputs, kept_of(lock, fingerprint), Freshness::Believed, session).map(Some)
        }
    }
}

impl Decision {
    /// The lock of all of it, for a recipe of this `fingerprint`.
    pub(super) fn lock(&self, fingerprint: RecipeFingerprint) -> Result<Lock> {
        let decided = Decided {
            created: Timestamp::from_unix_seconds(self.published),
            recipe: fingerprint,
            private_cuda: self.private.by_framework.clone(),
            base: self.base.locked.clone(),
            python: self.python.clone(),
        };
        Ok(Lock::new(decided, &self.resolution, &self.wheels)?)
    }
}
