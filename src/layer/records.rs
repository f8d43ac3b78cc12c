//! The observations of layers, kept in the store by their digests: a layer is never read twice.

use std::io::{self, BufWriter, Read};

use serde::de::DeserializeOwned;

use super::plain_tar;
use super::read::{self, LayerContent, Passed, ReadError, ReadLayer};
use crate::failure::Hinted;
use crate::observe::check_facts::{CheckFacts, EVIDENCE_FORMAT};
use crate::observe::inventory_facts::FACTS_FORMAT;
use crate::oci::Digest;
use crate::store::{Store, StoreError};

/// Part of every record's key, as the formats of facts and evidence are: raised when something else shall be kept.
const FORMAT: u32 = 3;
const CONTENT: &str = "layer-content";
const EVIDENCE: &str = "layer-evidence";
/// The kinds of the records that are kept of each layer.
pub const KINDS: [&str; 2] = [CONTENT, EVIDENCE];
/// Evidence is mostly paths: they shrink to a fifth, in no time.
const LEVEL: i32 = 1;

/// The reason why a layer could not be looked into.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum LearnError<E> {
    #[error("its blob could not be opened, or is another")]
    Blob(#[source] E),
    #[error("its blob could not be read")]
    Read(#[source] io::Error),
    #[error("it is no layer that can be built upon")]
    Layer(#[source] ReadError),
    #[error("what it holds could not be kept")]
    Store(#[source] StoreError),
}

/// A layer of the store that could not be looked into.
#[derive(Debug, thiserror::Error)]
#[error("could not look into the layer {digest}")]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub struct StoredLayerError {
    digest: Digest,
    source: LearnError<StoreError>,
}

impl<E: Hinted + 'static> Hinted for LearnError<E> {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Blob(error) => error.hint(),
            Self::Read(error) => error.hint(),
            Self::Layer(error) => error.hint(),
            Self::Store(error) => error.hint(),
        }
    }
}

impl Hinted for StoredLayerError {
    fn hint(&self) -> Option<String> {
        self.source.hint()
    }
}

/// Reads the layer of `digest` whose blob `open` opens, as often as its libraries need, and keeps what it holds once
/// `verify` has accepted the blob. `progress` is told how many bytes were read since the last time.
pub fn learn<R: Read + Send, E>(
    store: &Store,
    digest: &Digest,
    open: impl Fn() -> Result<R, E>,
    verify: impl FnOnce(&Passed) -> Result<(), E>,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(LayerContent, CheckFacts), LearnError<E>> {
    let passed = read::read(open().map_err(LearnError::Blob)?, progress).map_err(LearnError::Read)?;
    verify(&passed).map_err(LearnError::Blob)?;
    let mut layer = passed.content.map_err(LearnError::Layer)?;
    let open = || open().map_err(LearnError::Blob);
    read::complete(&mut layer, passed.unfinished, open, LearnError::Layer)?;
    keep(store, digest, layer).map_err(LearnError::Store)
}

/// The content of the layer of `digest` in the store.
///
/// It was kept when the layer was written, unless another version of imgforge wrote it: then the layer is read again, by
/// one process at a time. Blobs in the store were verified.
pub fn content_of(store: &Store, digest: &Digest) -> Result<LayerContent, StoredLayerError> {
    kept_or_learned(store, digest, content, |(content, _)| content)
}

/// The evidence of the layer of `digest` in the store, as [`content_of`].
pub fn evidence_of(store: &Store, digest: &Digest) -> Result<CheckFacts, StoredLayerError> {
    kept_or_learned(store, digest, evidence, |(_, evidence)| evidence)
}

/// Reads the layer of `digest` in the store, whatever is known of it, and keeps what it holds.
pub fn learn_anew(store: &Store, digest: &Digest) -> Result<LayerContent, StoredLayerError> {
    let learned = learn(store, digest, || store.open_blob(digest), |_| Ok(()), &|_| ());
    learned.map(|(content, _)| content).map_err(|source| StoredLayerError { digest: *digest, source })
}

fn kept_or_learned<T>(
    store: &Store,
    digest: &Digest,
    kept: impl Fn(&Store, &Digest) -> Option<T>,
    wanted: impl FnOnce((LayerContent, CheckFacts)) -> T,
) -> Result<T, StoredLayerError> {
    if let Some(kept) = kept(store, digest) {
        return Ok(kept);
    }
    let _making = store.claim_patiently(&Digest::of(format!("what is noted of {digest}")));
    if let Some(kept) = kept(store, digest) {
        return Ok(kept);
    }
    let learned = learn(store, digest, || store.open_blob(digest), |_| Ok(()), &|_| ());
    learned.map(wanted).map_err(|source| StoredLayerError { digest: *digest, source })
}

/// Makes what is known of the layer of `digest` known of its plain tar as well, which is a blob of its own: engines have
/// nothing else. Gives whether anything is known of the tar then.
pub fn know_of_tar(store: &Store, digest: &Digest, diff_id: &Digest) -> bool {
    if content(store, diff_id).is_some() {
        return true;
    }
    if content(store, digest).is_none_or(|content| content.diff_id != *diff_id) {
        return false;
    }
    KINDS.iter().all(|kind| {
        let bytes = store.record_bytes(kind, &key(digest));
        bytes.is_some_and(|bytes| store.put_record_bytes(kind, &key(diff_id), &bytes).is_ok())
    })
}

/// Removes what is known of the layer of `digest`.
pub fn forget(store: &Store, digest: &Digest) -> Result<(), StoreError> {
    KINDS.iter().try_for_each(|kind| store.remove_record(kind, &key(digest)))
}

/// The content of the layer of `digest`; `None` when it was never read, or its evidence is gone.
pub fn content(store: &Store, digest: &Digest) -> Option<LayerContent> {
    let key = key(digest);
    store.record(CONTENT, &key).filter(|_| store.has_record(EVIDENCE, &key))
}

/// The evidence of the layer of `digest`; `None` when it was never read.
pub fn evidence(store: &Store, digest: &Digest) -> Option<CheckFacts> {
    let (_, body) = store.record_with_body::<u32>(EVIDENCE, &key(digest))?;
    decoded(&body)
}

/// Keeps what was learned of the layer of `digest`; gives it back as it will be read.
pub fn keep(
    store: &Store,
    digest: &Digest,
    layer: ReadLayer,
) -> Result<(LayerContent, CheckFacts), StoreError> {
    let ReadLayer { diff_id, unpacked, learned } = layer;
    let content = LayerContent { diff_id, unpacked, facts: learned.facts };
    store.put_record_with_body(EVIDENCE, &key(digest), &EVIDENCE_FORMAT, &encoded(&learned.evidence))?;
    store.put_record(CONTENT, &key(digest), &content)?;
    plain_tar::note_blob(store, &diff_id, digest);
    Ok((content, learned.evidence))
}

/// Empty, which nobody can read, for what cannot be written: memory has no errors.
fn encoded(evidence: &CheckFacts) -> Vec<u8> {
    let encode = || {
        let encoder = BufWriter::new(zstd::Encoder::new(Vec::new(), LEVEL).ok()?);
        postcard::to_io(evidence, encoder).ok()?.into_inner().ok()?.finish().ok()
    };
    encode().unwrap_or_default()
}

fn decoded<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    postcard::from_bytes(&zstd::decode_all(bytes).ok()?).ok()
}

/// The key of both records of the layer of `digest`.
pub fn key(digest: &Digest) -> Digest {
    Digest::of(format!("{FORMAT}.{FACTS_FORMAT}.{EVIDENCE_FORMAT} {digest}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::ObservedLayer;
    use crate::oci::{Entry, EntryKind};

    #[test]
    fn evidence_is_read_as_it_was_kept() {
        let mut learned = ObservedLayer::default();
        for (path, kind) in [
            ("usr/lib/.wh.liba.so", EntryKind::File { size: 0 }),
            ("usr/lib", EntryKind::Directory),
            ("usr/lib/libb.so", EntryKind::Symlink { target: "libb.so.1".to_owned() }),
            ("usr/lib/libb.so.1", EntryKind::File { size: 7 }),
            ("usr/lib/libc.so.1", EntryKind::Hardlink { target: "usr/lib/libb.so.1".to_owned() }),
        ] {
            learned.note(&Entry { path: path.to_owned(), mode: 0o4755, uid: 0, gid: 0, mtime: 0, kind });
        }
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let (digest, expected) = (Digest::of("a layer"), learned.evidence.clone());
        let diff_id = Digest::of("its tar");
        keep(&store, &digest, ReadLayer { diff_id, unpacked: 7, learned }).unwrap();
        assert_eq!(evidence(&store, &digest), Some(expected));
        assert_eq!(content(&store, &digest).map(|content| content.diff_id), Some(diff_id));
    }
}
