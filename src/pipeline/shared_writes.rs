//! Layers, records and images that a build has, put into the caches that are written to.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::progress::Task;
use super::shared_cache::SharedRepository;
use super::{Session, shared_layers};
use crate::failure::Result;
use crate::image::{Image, ImageLayer};
use crate::layer::records;
use crate::net::registry::BlobContent;
use crate::oci::{Architecture, Digest, ImageReference};
use crate::plan::{LayerPlan, Plan};
use crate::pool;
use crate::registry_cache::entry::{CacheTag, CachedKind, CachedLayer};
use crate::registry_cache::prune::PrunedEntries;
use crate::registry_cache::{CacheRepository, NewEntry, RecordBytes, RecordsName, RegistryCacheError};
use crate::source::SourceImage;

/// The entries that are put at once.
const AT_ONCE: usize = 4;

/// An image on its way into the caches that lack it.
pub(super) struct SharedImage<'a> {
    plan: &'a Plan,
    image: &'a Image,
    /// The image that is built upon, which has the layers that the store lacks.
    origin: Option<&'a SourceImage>,
    targets: Vec<Arc<SharedRepository>>,
    now: u64,
}

impl<'a> SharedImage<'a> {
    /// The image of `plan`, for the caches that lack it.
    pub(super) fn begin(
        plan: &'a Plan,
        image: &'a Image,
        origin: Option<&'a SourceImage>,
        session: &Session<'_>,
    ) -> Self {
        let tag = CacheTag { kind: CachedKind::Image, key: plan.key() };
        let lacks = |target: &&Arc<SharedRepository>| {
            target.ask(session.progress, |cache| Ok(cache.entry(&tag)?.is_none().then_some(()))).is_some()
        };
        let targets = session.shared.targets().iter().filter(lacks).cloned().collect();
        Self { plan, image, origin, targets, now: now() }
    }

    /// Puts the layers that were made here, with what is known of them: other registries' repositories mount them from there.
    pub(super) fn put_layers(&self, session: &Session<'_>) {
        for target in &self.targets {
            let layers: Vec<_> = self.plan.layers.iter().zip(&self.image.layers).collect();
            put_each(&layers, &self.entry(target), session);
        }
    }

    fn entry<'t>(&self, target: &'t Arc<SharedRepository>) -> EntryTarget<'t> {
        EntryTarget { target, architecture: self.plan.architecture, now: self.now }
    }

    /// Puts the records that were noted, and the image, whose layers a registry may have by now.
    pub(super) fn put_image(&self, session: &Session<'_>) {
        for target in &self.targets {
            put_noted(&session.shared.noted_records(), &self.entry(target), session);
            if self.is_elsewhere(target, session) {
                continue;
            }
            target.put(session.progress, |cache| {
                cache.put(&NewEntry {
                    tag: CacheTag { kind: CachedKind::Image, key: self.plan.key() },
                    config: self.image.config_bytes.clone(),
                    layers: self.image.layers.iter().map(CachedLayer::of).collect(),
                    now: self.now,
                    content: &|digest| self.content(digest, cache, session),
                })
            });
        }
    }

    /// Returns whether layers stayed in a cache of another registry: they are not moved for an entry.
    fn is_elsewhere(&self, target: &SharedRepository, session: &Session<'_>) -> bool {
        let left = self.image.layers.iter().filter_map(|layer| session.shared.left(&layer.digest));
        left.into_iter().any(|found| found.source.registry() != target.registry())
    }

    /// The bytes of a layer, brought from wherever it is.
    fn content(
        &self,
        digest: &Digest,
        cache: &CacheRepository,
        session: &Session<'_>,
    ) -> Result<BlobContent, RegistryCacheError> {
        let (store, place) = (&session.store, || cache.place().to_owned());
        let is_here = || store.has_blob(digest, None);
        if !is_here() {
            shared_layers::bring_left(digest, session)
                .map_err(|source| RegistryCacheError::Unusable { place: place(), source })?;
        }
        if let Some(origin) = self.origin.filter(|_| !is_here()) {
            let brought = origin.fetch_some(&|wanted| wanted == digest, store, &|_| ());
            brought.map_err(|error| RegistryCacheError::Write {
                place: place(),
                source: std::io::Error::other(error),
            })?;
        }
        let file = store.open_blob(digest);
        let file = file.map_err(|source| RegistryCacheError::Store { place: place(), source })?;
        Ok(BlobContent::File(Arc::new(file)))
    }
}

/// A cache that an entry is put into.
struct EntryTarget<'a> {
    target: &'a Arc<SharedRepository>,
    /// The architecture of its image.
    architecture: Architecture,
    now: u64,
}

/// Puts finished layers, with what is known of them, and the records that were noted.
pub(super) fn put_layers(
    layers: &[(&LayerPlan, &ImageLayer)],
    architecture: Architecture,
    session: &Session<'_>,
) {
    let noted = session.shared.noted_records();
    for target in session.shared.targets() {
        let into = EntryTarget { target, architecture, now: now() };
        put_each(layers, &into, session);
        put_noted(&noted, &into, session);
    }
    session.shared.forget_records(&noted);
}

/// Puts layers of an image, several at once; each is told where it fails, and stops nothing.
fn put_each(layers: &[(&LayerPlan, &ImageLayer)], into: &EntryTarget<'_>, session: &Session<'_>) {
    let size = layers.iter().map(|(_, layer)| layer.size).sum();
    let name = format!("the cache {}", into.target.place());
    let meter = session.progress.start(Task::Push, &name, Some(size));
    let done = pool::run(layers, AT_ONCE, |(plan, layer)| {
        put_layer(plan, layer, into, session);
        meter.add(layer.size);
        Ok::<_, RegistryCacheError>(())
    });
    drop(done);
}

fn put_noted(noted: &BTreeSet<(&'static str, Digest)>, into: &EntryTarget<'_>, session: &Session<'_>) {
    noted.iter().for_each(|(kind, key)| put_records(&[kind], key, into, session));
}

fn put_layer(plan: &LayerPlan, layer: &ImageLayer, into: &EntryTarget<'_>, session: &Session<'_>) {
    let (store, key, target) = (&session.store, plan.key(), into.target);
    let is_base = matches!(plan, LayerPlan::Base(_));
    let was_found = !is_base && session.shared.was_found(&key, target);
    if was_found && !session.shared.lacks_facts(&layer.digest) {
        return;
    }
    if !is_base && !was_found && store.has_blob(&layer.digest, Some(layer.size)) {
        let (described, about) = (CachedLayer::of(layer), (layer.title.as_str(), into.architecture));
        target.put(session.progress, |cache| cache.put_layer(&key, &described, about, store, into.now));
    }
    put_records(&records::KINDS, &records::key(&layer.digest), into, session);
}

/// Puts the records of these kinds under one key, where the store has all of them.
fn put_records(kinds: &[&str], key: &Digest, into: &EntryTarget<'_>, session: &Session<'_>) {
    let bytes = |kind: &&str| Some(((*kind).to_owned(), session.store.record_bytes(kind, key)?));
    let Some(found) = kinds.iter().map(bytes).collect::<Option<RecordBytes>>() else { return };
    let name = RecordsName { kinds, key };
    into.target.put(session.progress, |cache| cache.put_records(name, &found, into.architecture, into.now));
}

/// Removes the entries of the cache at `place` that are older than `age`; with `dry_run` none.
pub fn prune_cache(
    place: &ImageReference,
    age: Duration,
    dry_run: bool,
    session: &Session<'_>,
) -> Result<PrunedEntries> {
    let cache = CacheRepository::new(session.registries.repository(place)?);
    Ok(cache.prune(now().saturating_sub(age.as_secs()), dry_run)?)
}

/// Now, in Unix seconds; 0 before 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
