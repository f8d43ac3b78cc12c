//! Decides everything about a recipe, anew or by the lock beside it.

use std::path::Path;
use std::sync::Arc;

use super::Session;
use super::announced::Announced;
use super::base;
use super::base_source::OpenedBase;
use super::lock_file::{KeptFromLock, LockFileError, LockStatus, Locking, Upgrade};
use super::wheel_sizes::{PrivateCuda, WheelSizes};
use super::wheel_urls::WheelUrls;
use crate::failure::{Hinted, Result};
use crate::lock::{Decided, Lock, RecipeFingerprint};
use crate::net::config::{self, MachineConfig};
use crate::net::index::{Freshness, PackageIndex};
use crate::plan::Wheels;
use crate::recipe::{RecipeInputs, Timestamp};
use crate::resolve::{self, Resolution, ResolutionRequest};

/// Everything that was decided about a recipe, before it is planned as layers.
pub struct Decision {
    /// The recipe and the files that it names.
    pub inputs: RecipeInputs,
    /// The base.
    pub base: OpenedBase,
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
    /// The base has changed since it was locked: the lock decides nothing.
    OtherBase(Box<RecipeInputs>),
}

/// Decides about the recipe at `path`, by the lock beside it where that agrees, else anew.
///
/// Deciding anew fetches indexes and metadata. A lock that does not agree with the recipe is an error if it is required.
pub fn decide(
    inputs: RecipeInputs,
    path: &Path,
    locking: Locking,
    session: &Session<'_>,
) -> Result<Decision> {
    let fingerprint = RecipeFingerprint::of(&inputs)?;
    let (inputs, lock, problem) = match LockStatus::read(path, &fingerprint)? {
        LockStatus::Missing if locking == Locking::Required => {
            return Err(LockFileError::missing(path).into());
        }
        LockStatus::Missing => return anew(inputs, KeptFromLock::default(), Freshness::Believed, session),
        LockStatus::Agrees(lock) => match recall(inputs, &lock, session)? {
            Recalled::Decision(decision) => return Ok(*decision),
            Recalled::OtherBase(inputs) => (*inputs, lock, LockFileError::other_base(path)),
        },
        LockStatus::Differs(lock, keys) => (inputs, lock, LockFileError::stale(path, keys)),
    };
    if locking == Locking::Required {
        return Err(problem.into());
    }
    let hint = problem.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
    session.progress.warn(&format!("{problem}{hint}"));
    let kept = KeptFromLock::of(&lock, &fingerprint, &Upgrade::nothing());
    anew(inputs, kept, Freshness::Believed, session)
}

/// Decides everything about a recipe, trying first the choices in `kept`, by pages of this `freshness`.
pub fn anew(
    inputs: RecipeInputs,
    kept: KeptFromLock,
    freshness: Freshness,
    session: &Session<'_>,
) -> Result<Decision> {
    let base = base::open(&inputs, kept.base.as_ref(), session)?;
    let inventory = &base.planned.inventory;
    resolve::check_python(&inputs, inventory)?;
    let target = inventory.target()?;
    session.progress.stage("resolving distributions and components");
    let request = ResolutionRequest::new(&inputs, inventory, &target, kept.preferences);
    let (http, store) = (Arc::clone(&session.http), session.store.clone());
    let index = PackageIndex::new(http, store, indexes(&inputs)?, freshness);
    let catalog = Announced { index, session };
    let resolution = resolve::resolve(&request, &catalog)?;
    for component in request.policies.without_effect(&resolution) {
        session.progress.warn(&format!(
            "`cuda.components` names {component}, which nothing here needs: it has no effect"
        ));
    }
    resolve::check_hashes(&inputs, &resolution)?;
    let WheelSizes { wheels, urls, private } = WheelSizes::read(&resolution, &catalog)?;
    let urls = WheelUrls::known(urls, &resolution);
    let published = base.published.max(resolution.newest_upload());
    Ok(Decision { inputs, base, resolution, private, wheels, urls, published })
}

/// The decisions in `lock`, which was made of these inputs; asks nobody.
fn recall(inputs: RecipeInputs, lock: &Lock, session: &Session<'_>) -> Result<Recalled> {
    let base = base::open(&inputs, Some(&lock.base), session)?;
    resolve::check_python(&inputs, &base.planned.inventory)?;
    let driver = inputs.recipe.cuda.driver.as_ref().map(|driver| &driver.value);
    let is_same = base.locked == lock.base;
    let resolution = if is_same { lock.resolution(&base.planned.inventory, driver)? } else { None };
    let Some(resolution) = resolution else { return Ok(Recalled::OtherBase(Box::new(inputs))) };
    Ok(Recalled::Decision(Box::new(Decision {
        private: PrivateCuda { by_framework: lock.private_cuda.clone() },
        wheels: lock.wheels(),
        urls: WheelUrls::listed_by(indexes(&inputs)?, &resolution),
        published: u64::try_from(lock.created.unix_seconds()).unwrap_or_default(),
        inputs,
        base,
        resolution,
    })))
}

/// The decisions about `inputs` where `lock`, which was made of them, is no more right: the base has changed since.
pub fn unless_recalled(
    inputs: RecipeInputs,
    lock: &Lock,
    fingerprint: &RecipeFingerprint,
    session: &Session<'_>,
) -> Result<Option<Decision>> {
    match recall(inputs, lock, session)? {
        Recalled::Decision(_) => Ok(None),
        Recalled::OtherBase(inputs) => {
            let kept = KeptFromLock::of(lock, fingerprint, &Upgrade::nothing());
            anew(*inputs, kept, Freshness::Believed, session).map(Some)
        }
    }
}

/// The package indexes that a recipe's distributions come from, in the order in which they are asked.
fn indexes(inputs: &RecipeInputs) -> Result<Vec<config::ConfiguredIndex>> {
    let mut indexes: Vec<config::ConfiguredIndex> = inputs
        .recipe
        .indexes
        .iter()
        .map(|index| config::ConfiguredIndex {
            packages: Some(index.packages.clone()).filter(|packages| !packages.is_empty()),
            missing: index.missing.iter().map(|status| status.0).collect(),
            ..config::ConfiguredIndex::new(index.url.value.clone())
        })
        .collect();
    indexes.extend(inputs.extra_index_urls.iter().cloned().map(config::ConfiguredIndex::new));
    match &inputs.index_url {
        Some(url) => indexes.push(config::ConfiguredIndex::new(url.clone())),
        None => indexes.extend(config::indexes(&MachineConfig::here())?),
    }
    Ok(indexes)
}

impl Decision {
    /// The lock of all of it, for a recipe of this `fingerprint`.
    pub fn lock(&self, fingerprint: RecipeFingerprint) -> Result<Lock> {
        let decided = Decided {
            created: Timestamp::from_unix_seconds(self.published),
            recipe: fingerprint,
            private_cuda: self.private.by_framework.clone(),
            base: self.base.locked.clone(),
        };
        Ok(Lock::new(decided, &self.resolution, &self.wheels)?)
    }
}
