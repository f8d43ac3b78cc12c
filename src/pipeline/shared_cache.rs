//! The caches in registries that builds share: what is asked of them, and what is told of those that fail.
//!
//! A cache that does not answer, or refuses, is told once and set aside: the build goes on without it. An entry that is
//! wrong is told and ignored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::progress::Progress;
use crate::failure::{Failure, Result};
use crate::lock::{Lock, LockedLayer};
use crate::net::http::{Http, HttpSettings};
use crate::net::registry::{Registries, RegistrySettings};
use crate::oci::{Digest, ImageReference};
use crate::registry_cache::entry::{CacheTag, CachedLayer};
use crate::registry_cache::{CacheRepository, PutEntry, RegistryCacheError};
use crate::store::Store;

/// The attempts after the first one that failed: a cache that is not there costs little.
const RETRIES: u32 = 1;
/// The time that a cache may be silent.
const STALL: Duration = Duration::from_secs(10);
/// The longest wait that it may ask for.
const WAIT: Duration = Duration::from_secs(5);
/// The time to reach it.
const CONNECT: Duration = Duration::from_secs(5);

/// The repositories that are caches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CachePlaces {
    /// Read from, the first one first.
    pub from: Vec<ImageReference>,
    /// Written to.
    pub to: Vec<ImageReference>,
}

/// The use of the blobs that a cache has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CachedBlobs {
    /// They are brought into the store.
    #[default]
    Brought,
    /// They stay where they are: the image goes to registries alone, which may mount them.
    Left,
}

/// The caches that a process uses; none by default.
#[derive(Default)]
pub struct SharedCache {
    sources: Vec<Arc<SharedRepository>>,
    targets: Vec<Arc<SharedRepository>>,
    blobs: CachedBlobs,
    /// The layers of a lock that pins them, by their keys: then nothing else is believed.
    pins: Mutex<Option<Arc<BTreeMap<Digest, LockedLayer>>>>,
    memory: Mutex<CacheMemory>,
}

/// A cache, and whether it is still asked and given something.
pub(super) struct SharedRepository {
    cache: CacheRepository,
    is_unread: AtomicBool,
    is_unwritten: AtomicBool,
    /// The entries that were told to be wrong.
    told: Mutex<BTreeSet<CacheTag>>,
}

/// The answers so far.
#[derive(Default)]
struct CacheMemory {
    /// By the keys of their plans.
    layers: BTreeMap<Digest, Option<FoundLayer>>,
    /// The blobs that stay where they are, by their digests.
    left: BTreeMap<Digest, FoundLayer>,
    /// The blobs that were not there when they were needed.
    lost: BTreeSet<Digest>,
    has_begun_again: bool,
    /// The layers of which no cache has the facts, by their digests.
    without_facts: BTreeSet<Digest>,
    /// Records that may be of use to others: kinds and keys.
    records: BTreeSet<(&'static str, Digest)>,
}

/// A layer that a cache has.
#[derive(Clone)]
pub(super) struct FoundLayer {
    pub layer: CachedLayer,
    /// The tag of its entry.
    pub tag: CacheTag,
    /// The cache that has it.
    pub source: Arc<SharedRepository>,
}

impl SharedRepository {
    /// Its name, `HOST/REPOSITORY`.
    pub(super) fn place(&self) -> &str {
        self.cache.place()
    }

    /// The registry that it is in.
    pub(super) fn registry(&self) -> &str {
        self.place().split('/').next().unwrap_or_default()
    }

    /// Asks the cache, unless it is set aside.
    pub(super) fn ask<T>(
        &self,
        progress: &dyn Progress,
        question: impl FnOnce(&CacheRepository) -> Result<Option<T>, RegistryCacheError>,
    ) -> Option<T> {
        let question = || question(&self.cache);
        self.unless(&self.is_unread, "the build goes on without it", progress, question)
    }

    /// Puts something into the cache, unless it is set aside for that.
    pub(super) fn put(
        &self,
        progress: &dyn Progress,
        put: impl FnOnce(&CacheRepository) -> Result<PutEntry, RegistryCacheError>,
    ) {
        let put = || put(&self.cache).map(Some);
        self.unless(&self.is_unwritten, "nothing more is put there", progress, put);
    }

    fn unless<T>(
        &self,
        is_aside: &AtomicBool,
        consequence: &str,
        progress: &dyn Progress,
        request: impl FnOnce() -> Result<Option<T>, RegistryCacheError>,
    ) -> Option<T> {
        if is_aside.load(Ordering::Relaxed) {
            return None;
        }
        match request() {
            Ok(answer) => answer,
            Err(RegistryCacheError::Wrong { place, tag, source }) => {
                if self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(tag) {
                    let error = RegistryCacheError::Wrong { place, tag, source };
                    progress.warn(&told(error, "it is ignored"));
                }
                None
            }
            Err(error) => {
                if !is_aside.swap(true, Ordering::Relaxed) {
                    progress.warn(&told(error, consequence));
                }
                None
            }
        }
    }
}

/// The error of a cache as a warning: the message with its causes, what becomes of it, the next step.
fn told(error: RegistryCacheError, consequence: &str) -> String {
    let failure = Failure::from(error);
    let hint = failure.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{failure}: {consequence}{hint}")
}

impl SharedCache {
    /// The caches at `places`. One that cannot be opened is told, and not used.
    pub fn open(
        places: &CachePlaces,
        blobs: CachedBlobs,
        settings: RegistrySettings,
        store: &Store,
        progress: &dyn Progress,
    ) -> Result<Self> {
        if *places == CachePlaces::default() {
            return Ok(Self::default());
        }
        let http = HttpSettings {
            retries: RETRIES,
            longest_wait: WAIT,
            stall: STALL,
            connect: CONNECT,
            ..HttpSettings::default()
        };
        let registries = Registries::new(Arc::new(Http::new(http)?), store.clone(), settings);
        let mut opened: BTreeMap<String, Option<Arc<SharedRepository>>> = BTreeMap::new();
        let mut open = |place: &ImageReference| {
            let open = || match registries.repository(place) {
                Ok(repository) => {
                    let cache = CacheRepository::new(repository);
                    let [is_unread, is_unwritten] = [false, false].map(AtomicBool::new);
                    let told = Mutex::default();
                    Some(Arc::new(SharedRepository { cache, is_unread, is_unwritten, told }))
                }
                Err(source) => {
                    let error = RegistryCacheError::Unusable { place: place.to_string(), source };
                    progress.warn(&told(error, "the build goes on without it"));
                    None
                }
            };
            opened.entry(place.to_string()).or_insert_with(open).clone()
        };
        let sources = places.from.iter().filter_map(&mut open).collect();
        let targets = places.to.iter().filter_map(&mut open).collect();
        Ok(Self { sources, targets, blobs, ..Self::default() })
    }

    /// Returns whether there is a cache to read from.
    pub fn is_read(&self) -> bool {
        !self.sources.is_empty()
    }

    /// The caches that are written to.
    pub(super) fn targets(&self) -> &[Arc<SharedRepository>] {
        &self.targets
    }

    /// Refuses to go on where no cache is written to, or one of them is set aside for that: the reason was told.
    pub(super) fn check_written(&self) -> Result<()> {
        if self.targets.is_empty() {
            return Err(Failure::advised(
                "no cache can be written to",
                "the reason was told above; name another with `--cache docker://HOST/REPOSITORY`",
            ));
        }
        match self.targets.iter().find(|target| target.is_unwritten.load(Ordering::Relaxed)) {
            Some(target) => Err(Failure::advised(
                format!("could not put all layers into the cache {}", target.place()),
                "run it again once the registry takes them: what is there stays, and is not made again",
            )),
            None => Ok(()),
        }
    }

    /// Returns whether the blobs that a cache has may stay there.
    pub(super) fn leaves_blobs(&self) -> bool {
        self.blobs == CachedBlobs::Left
    }

    /// Asks the caches one after the other.
    pub(super) fn ask<T>(
        &self,
        progress: &dyn Progress,
        question: impl Fn(&CacheRepository, &Arc<SharedRepository>) -> Result<Option<T>, RegistryCacheError>,
    ) -> Option<T> {
        self.sources.iter().find_map(|source| source.ask(progress, |cache| question(cache, source)))
    }

    /// Has nothing believed but the layers of `lock`, if it pins them, beside those of the locks for other platforms; without
    /// such a lock, the writers of a cache are believed.
    pub(super) fn pin(&self, lock: &Lock) {
        if lock.layers.is_empty() {
            return;
        }
        let mut pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        let mut by_key = pins.as_deref().cloned().unwrap_or_default();
        by_key.extend(lock.layers.iter().map(|layer| (layer.key, layer.clone())));
        *pins = Some(Arc::new(by_key));
    }

    /// The layers that are pinned, by their keys; `None` where no lock pins any.
    ///
    /// Signatures of entries, by keys that a recipe trusts, would be a third answer here.
    pub(super) fn pins(&self) -> Option<Arc<BTreeMap<Digest, LockedLayer>>> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The layer that a cache has for `key`, asked for once.
    pub(super) fn found(
        &self,
        key: &Digest,
        look_up: impl FnOnce() -> Option<FoundLayer>,
    ) -> Option<FoundLayer> {
        if let Some(known) = self.memory().layers.get(key) {
            return known.clone();
        }
        let found = look_up();
        self.memory().layers.entry(*key).or_insert(found).clone()
    }

    /// Returns whether `cache` is known to have the layer of `key`.
    pub(super) fn was_found(&self, key: &Digest, cache: &Arc<SharedRepository>) -> bool {
        let memory = self.memory();
        memory
            .layers
            .get(key)
            .is_some_and(|found| found.as_ref().is_some_and(|found| Arc::ptr_eq(&found.source, cache)))
    }

    /// Notes that no cache has the facts of a layer.
    pub(super) fn miss_facts(&self, digest: Digest) {
        self.memory().without_facts.insert(digest);
    }

    /// Returns whether no cache was found to have the facts of a layer.
    pub(super) fn lacks_facts(&self, digest: &Digest) -> bool {
        self.memory().without_facts.contains(digest)
    }

    /// Notes a record of the store that is put into the caches with the image.
    pub(super) fn note_record(&self, kind: &'static str, key: Digest) {
        if !self.targets.is_empty() {
            self.memory().records.insert((kind, key));
        }
    }

    /// The records that were noted.
    pub(super) fn noted_records(&self) -> BTreeSet<(&'static str, Digest)> {
        self.memory().records.clone()
    }

    /// Forgets these records, which were put.
    pub(super) fn forget_records(&self, put: &BTreeSet<(&'static str, Digest)>) {
        self.memory().records.retain(|record| !put.contains(record));
    }

    /// Has the layer of `key` made anew: what a cache has of it cannot be used.
    pub(super) fn give_up(&self, key: &Digest) {
        self.memory().layers.insert(*key, None);
    }

    /// Notes a blob that stays where it is.
    pub(super) fn leave(&self, found: &FoundLayer) {
        self.memory().left.insert(found.layer.descriptor.digest(), found.clone());
    }

    /// The cache that has a blob which was left there.
    pub(super) fn left(&self, digest: &Digest) -> Option<FoundLayer> {
        self.memory().left.get(digest).cloned()
    }

    /// Notes that a blob was gone when it was needed.
    pub(super) fn lose(&self, digest: Digest) {
        self.memory().lost.insert(digest);
    }

    /// Returns whether a blob was gone when it was needed.
    pub(super) fn is_lost(&self, digest: &Digest) -> bool {
        self.memory().lost.contains(digest)
    }

    /// Gives up what was found, if a blob of it was gone when it was needed: everything is asked for once again. Gives whether
    /// that is so, once.
    pub(super) fn begin_again(&self) -> bool {
        let mut memory = self.memory();
        if memory.lost.is_empty() || memory.has_begun_again {
            return false;
        }
        memory.has_begun_again = true;
        memory.layers.clear();
        memory.left.clear();
        true
    }

    /// Returns whether finished images are asked for: not where a part of one was gone.
    pub(super) fn gives_images(&self) -> bool {
        self.is_read() && !self.memory().has_begun_again
    }

    fn memory(&self) -> MutexGuard<'_, CacheMemory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
