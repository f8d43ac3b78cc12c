//! Records of the store that a shared cache has: facts and evidence of layers, reports, warnings.

use super::Session;
use crate::layer::records;
use crate::oci::Digest;
use crate::pool;
use crate::registry_cache::entry::CacheEntryFault;
use crate::registry_cache::{RecordsName, RegistryCacheError};

/// The entries that are asked for at once.
const AT_ONCE: usize = 6;

/// Brings the record of `kind` made from `key` from a shared cache, where the store lacks it. Under a lock that pins layers
/// nothing is brought: it says nothing of such records.
pub(super) fn bring(kind: &str, key: &Digest, session: &Session<'_>) {
    if !session.shared.is_read() || session.shared.pins().is_some() || session.store.has_record(kind, key) {
        return;
    }
    let name = RecordsName { kinds: &[kind], key };
    let found = session.shared.ask(session.progress, |cache, _| cache.records(name));
    for bytes in found.iter().filter_map(|(_, records)| records.get(kind)) {
        // One that cannot be kept is one that is not there.
        let _ = session.store.put_record_bytes(kind, key, bytes);
    }
}

/// Brings what is known of the layers of these digests and diff_ids, where the store lacks it.
pub(super) fn bring_all_facts(layers: impl IntoIterator<Item = (Digest, Digest)>, session: &Session<'_>) {
    if !session.shared.is_read() {
        return;
    }
    let brought = pool::run(layers, AT_ONCE, |(digest, diff_id)| {
        bring_facts(&digest, diff_id, session);
        Ok::<_, RegistryCacheError>(())
    });
    // Nothing of it fails: what is not brought is learned from the layers.
    drop(brought);
}

/// Brings what is known of the layer of `digest`, where the store lacks it.
pub(super) fn bring_facts(digest: &Digest, diff_id: Digest, session: &Session<'_>) {
    let (store, key) = (&session.store, records::key(digest));
    if !session.shared.is_read() || records::content(store, digest).is_some() {
        return;
    }
    let locked = match pinned(digest, session) {
        Some(None) => return,
        locked => locked.flatten(),
    };
    let name = RecordsName { kinds: &records::KINDS, key: &key };
    let brought = session.shared.ask(session.progress, |cache, _| {
        let Some((facts, found)) = cache.records(name)? else { return Ok(None) };
        let wrong = |fault| cache.wrong(&name.tag(), fault);
        if let Some(expected) = locked.filter(|locked| *locked != facts) {
            let (expected, got) = (expected.to_string(), facts.to_string());
            return Err(wrong(CacheEntryFault::Pinned { what: "the facts", expected, got }));
        }
        for (kind, bytes) in &found {
            let kept = store.put_record_bytes(kind, &key, bytes);
            kept.map_err(|source| RegistryCacheError::Store { place: cache.place().to_owned(), source })?;
        }
        let content = records::content(store, digest);
        let is_sound = content.is_some_and(|content| content.diff_id == diff_id)
            && records::evidence(store, digest).is_some();
        if is_sound {
            return Ok(Some(()));
        }
        let forgotten = records::forget(store, digest);
        forgotten.map_err(|source| RegistryCacheError::Store { place: cache.place().to_owned(), source })?;
        Err(wrong(CacheEntryFault::Records { reason: "they are not those of the layer".to_owned() }))
    });
    if brought.is_none() {
        session.shared.miss_facts(*digest);
    }
}

/// The digest of the facts of a layer in a lock that pins layers: none, where that has no such layer.
fn pinned(digest: &Digest, session: &Session<'_>) -> Option<Option<Digest>> {
    let pins = session.shared.pins()?;
    let found = pins.values().find(|pinned| pinned.digest == *digest);
    Some(found.map(|pinned| pinned.facts))
}
