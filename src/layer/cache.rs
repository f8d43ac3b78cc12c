//! Finished layers in a store, by the keys of their plans.

use super::writer::Written;
use crate::oci::Digest;
use crate::store::{Store, StoreError};

const RECORD: &str = "layer";

/// The layer of `key`, where it was written before and its blob is whole.
pub fn recall(store: &Store, key: &Digest) -> Option<Written> {
    store.record::<Written>(RECORD, key).filter(|written| store.has_blob(&written.digest, Some(written.size)))
}

/// Keeps a layer that was written.
pub fn keep(store: &Store, key: &Digest, written: &Written) -> Result<(), StoreError> {
    store.put_record(RECORD, key, written)
}

/// The layer of `key`, written by `write` unless it was before.
pub fn recall_or_write<E: From<StoreError>>(
    store: &Store,
    key: &Digest,
    write: impl FnOnce() -> Result<Written, E>,
) -> Result<Written, E> {
    if let Some(written) = recall(store, key) {
        return Ok(written);
    }
    let written = write()?;
    keep(store, key, &written)?;
    Ok(written)
}
