//! Records of what was learned about wheels, and how far they are believed.
//!
//! A record that was read out of a whole wheel, whose digest was verified, is keyed by that digest and serves every index. What
//! an index or its file server said is a claim: it is keyed by the digest and the URL it came from, so that it cannot be
//! taken for another index's, and it is held against the wheel as soon as that is there ([`hold`]).

use std::collections::BTreeSet;

use rawzip::ReaderAt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use url::Url;
use uv_distribution_filename::WheelFilename;

use super::wheel_parts::{all_binaries, all_libraries, machine, text_and_outline};
use crate::credentials::redacted;
use crate::failure::Hinted;
use crate::oci::Digest;
use crate::pypa::metadata;
use crate::pypa::needs::BinaryNeeds;
use crate::pypa::simple::DistFile;
use crate::pypa::wheel::{Wheel, WheelError};
use crate::pypa::zip::{Bytes, Local, Sparse};
use crate::store::{Damage, Store, StoreError};

/// A kind of record about a wheel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Learned {
    /// The core metadata.
    Metadata,
    /// The files in it.
    Outline,
    /// The shared libraries in it.
    Libraries,
    /// The libraries that its binaries need of others.
    Needs,
}

impl Learned {
    const ALL: [Self; 4] = [Self::Metadata, Self::Outline, Self::Libraries, Self::Needs];

    /// The directory of its records in the store.
    fn kind(self) -> &'static str {
        match self {
            Self::Metadata => "core-metadata",
            Self::Outline => "wheel-outline",
            Self::Libraries => "wheel-libraries",
            Self::Needs => "wheel-needs",
        }
    }

    /// The subject in a message.
    fn subject(self) -> &'static str {
        match self {
            Self::Metadata => "the core metadata",
            Self::Outline => "the list of files",
            Self::Libraries => "the libraries",
            Self::Needs => "the needs of the binaries",
        }
    }
}

/// The source of a record: its first line in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RecordSource {
    /// The wheel's file name.
    wheel: String,
    /// `None` for what was read out of the whole wheel.
    claim: Option<IndexClaim>,
}

/// The word of a server about a wheel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct IndexClaim {
    /// The package index that lists the wheel.
    index: String,
    digest: Digest,
    /// The parts of the wheel that it was read from; none where a server gave the text of METADATA.
    parts: BTreeSet<ClaimedPart>,
}

/// A part of a wheel, as a server sent it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct ClaimedPart {
    offset: u64,
    size: u64,
    digest: Digest,
}

impl RecordSource {
    /// The source of what was read from all of a wheel, whose digest was verified where the index gives one.
    pub(super) fn whole(wheel: &DistFile) -> Self {
        Self { wheel: wheel.filename.to_string(), claim: None }
    }

    /// The source of what was read from `parts` of a wheel that `index` lists, or from a text beside it.
    pub(super) fn claim<'a>(
        index: &str,
        wheel: &DistFile,
        parts: impl IntoIterator<Item = &'a Sparse>,
    ) -> Self {
        let part = |(offset, bytes): (u64, &[u8])| ClaimedPart {
            offset,
            size: bytes.len() as u64,
            digest: Digest::of(bytes),
        };
        let claim = wheel.sha256.map(|digest| IndexClaim {
            index: index.to_owned(),
            digest,
            parts: parts.into_iter().flat_map(Sparse::parts).map(part).collect(),
        });
        Self { claim, ..Self::whole(wheel) }
    }

    /// The same source, with the parts that `others` were read from too.
    pub(super) fn with_parts_of(mut self, others: Vec<Self>) -> Self {
        if let Some(claim) = &mut self.claim {
            claim
                .parts
                .extend(others.into_iter().filter_map(|other| other.claim).flat_map(|claim| claim.parts));
        }
        self
    }

    /// Compares a record, whose source this is, with the wheel of this digest in the store. `body` is the record's: another
    /// process, or a thread that needs the same wheel, may have moved it meanwhile.
    fn agrees(
        &self,
        store: &Store,
        learned: Learned,
        body: &[u8],
        digest: &Digest,
    ) -> Result<bool, FalseClaim> {
        let unreadable = |source| FalseClaim::Wheel { wheel: self.wheel.clone(), source };
        let local = Local(store.open_blob(digest)?);
        let says = match (learned, &self.claim) {
            // To read them out of the wheel takes as long as to inflate it.
            (Learned::Libraries | Learned::Needs, Some(claim)) => {
                Ok(claim.parts.iter().all(|part| part.is_of(&local)))
            }
            (Learned::Needs, None) => self.needs_are_of(body, &local),
            (Learned::Libraries, None) => all_libraries(&local).map(|read| says(body, &read)),
            (Learned::Outline | Learned::Metadata, _) => self.is_of(learned, body, &local),
        };
        says.map_err(unreadable)
    }

    fn needs_are_of(&self, body: &[u8], local: &Local) -> Result<bool, WheelError> {
        let Ok(filename) = self.wheel.parse::<WheelFilename>() else { return Ok(false) };
        let Ok(told) = serde_json::from_slice::<BinaryNeeds>(body) else { return Ok(false) };
        Ok(all_binaries(local, machine(&filename), told.searched)? == told)
    }

    fn is_of(&self, learned: Learned, body: &[u8], local: &Local) -> Result<bool, WheelError> {
        let Ok(filename) = self.wheel.parse::<WheelFilename>() else { return Ok(false) };
        let (text, outline) = text_and_outline(&filename, Wheel::open(local)?)?;
        Ok(match learned {
            Learned::Metadata => metadata::parse(&text).is_ok_and(|read| says(body, &read)),
            Learned::Outline | Learned::Libraries | Learned::Needs => says(body, &outline),
        })
    }
}

/// The record about `wheel`: of the wheel itself, or else, while that is not there, the claim that came from the same place.
pub(super) fn recall<T: DeserializeOwned>(store: &Store, learned: Learned, wheel: &DistFile) -> Option<T> {
    let of_wheel = || {
        let (source, value) = known::<T>(store, learned, &wheel.sha256?)?;
        source.claim.is_none().then_some(value)
    };
    if let Some(value) = of_wheel() {
        return Some(value);
    }
    match wheel.sha256.filter(|digest| store.has_blob(digest, wheel.size)) {
        Some(digest) => hold(store, &digest, &wheel.url).ok().and_then(|()| of_wheel()),
        None => Some(known(store, learned, &claim_key(wheel.sha256.as_ref(), &wheel.url))?.1),
    }
}

/// Keeps `value` about `wheel` for the next build.
pub(super) fn keep<T: Serialize>(
    store: &Store,
    learned: Learned,
    wheel: &DistFile,
    source: &RecordSource,
    value: &T,
) -> Result<(), StoreError> {
    let key = match (&source.claim, wheel.sha256) {
        (None, Some(digest)) => digest,
        _ => claim_key(wheel.sha256.as_ref(), &wheel.url),
    };
    // A value that cannot be written is one that is not kept.
    let value = serde_json::to_vec(value).unwrap_or_default();
    store.put_record_with_body(learned.kind(), &key, source, &value)
}

/// The key of a claim: an index that lists a wheel of the same digest at another URL has another.
fn claim_key(digest: Option<&Digest>, url: &Url) -> Digest {
    match digest {
        Some(digest) => Digest::of(format!("{digest}\n{}", redacted(url))),
        None => Digest::of(redacted(url)),
    }
}

fn known<T: DeserializeOwned>(store: &Store, learned: Learned, key: &Digest) -> Option<(RecordSource, T)> {
    let (source, value) = store.record_with_body(learned.kind(), key)?;
    Some((source, serde_json::from_slice(&value).ok()?))
}

/// A server's word about a wheel that is not what the wheel has.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum FalseClaim {
    #[error(
        "{what} of `{wheel}` that the package index `{index}` gave is not that of the wheel, whose hash is right"
    )]
    Differs { what: &'static str, wheel: String, index: String },
    #[error("could not read the wheel `{wheel}`")]
    Wheel { wheel: String, source: WheelError },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Hinted for FalseClaim {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Differs { index, .. } => Some(format!(
                "what it said was forgotten: build again, and the wheel itself is asked; lock again what was locked; tell the operator of `{index}`"
            )),
            Self::Wheel { source, .. } => source.hint(),
            Self::Store(error) => error.hint(),
        }
    }
}

/// Holds the claims about a wheel that was just verified against it. Those that are right become records of the wheel, and
/// serve every index; one that is false is forgotten, and an error.
pub fn hold(store: &Store, digest: &Digest, url: &Url) -> Result<(), FalseClaim> {
    let key = claim_key(Some(digest), url);
    let mut differs = None;
    for learned in Learned::ALL {
        let Some((source, value)) = store.record_with_body::<RecordSource>(learned.kind(), &key) else {
            continue;
        };
        if source.agrees(store, learned, &value, digest)? {
            let whole = RecordSource { claim: None, ..source };
            store.put_record_with_body(learned.kind(), digest, &whole, &value)?;
        } else {
            let index = source.claim.map(|claim| claim.index).unwrap_or_default();
            let (what, wheel) = (learned.subject(), source.wheel);
            differs.get_or_insert(FalseClaim::Differs { what, wheel, index });
        }
        store.remove_record(learned.kind(), &key)?;
    }
    differs.map_or(Ok(()), Err)
}

/// Compares every record about a wheel that the store has with the wheel, and removes those that say something else.
pub fn verify(store: &Store) -> Result<Vec<Damage>, StoreError> {
    let mut damages = Vec::new();
    for learned in Learned::ALL {
        for key in store.record_keys(learned.kind())? {
            let Some((source, body)) = store.record_with_body::<RecordSource>(learned.kind(), &key) else {
                continue;
            };
            let digest = source.claim.as_ref().map_or(key, |claim| claim.digest);
            let is_there = store.blob_size(&digest).is_some();
            if !is_there || source.agrees(store, learned, &body, &digest).unwrap_or(false) {
                continue;
            }
            damages.push(store.refute(learned.kind(), &key)?);
        }
    }
    Ok(damages)
}

/// Returns whether a record with this body has this value.
fn says<T: DeserializeOwned + PartialEq>(body: &[u8], value: &T) -> bool {
    serde_json::from_slice::<T>(body).is_ok_and(|told| told == *value)
}

impl ClaimedPart {
    fn is_of(&self, wheel: &Local) -> bool {
        let is_inside =
            self.offset.checked_add(self.size).is_some_and(|end| wheel.len().is_ok_and(|len| end <= len));
        let mut bytes = vec![0; if is_inside { usize::try_from(self.size).unwrap_or(0) } else { 0 }];
        is_inside && wheel.read_exact_at(&mut bytes, self.offset).is_ok() && Digest::of(&bytes) == self.digest
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;
    use std::thread;

    use uv_normalize::PackageName;

    use super::*;
    use crate::pypa::metadata::CoreMetadata;
    use crate::pypa::simple;
    use crate::pypa::wheel::sample;

    #[test]
    fn a_claim_is_held_by_all_who_have_got_the_wheel_at_once() {
        let wheel = sample::wheel("1.0", "Requires-Dist: numpy>=1", 1000);
        let page = format!(
            r#"{{"files": [{{"filename": "demo-1.0-py3-none-any.whl", "url": "demo.whl",
                "hashes": {{"sha256": "{}"}}}}]}}"#,
            Digest::of(&wheel).hex()
        );
        let base = Url::parse("http://index/demo/").unwrap();
        let name = PackageName::from_str("demo").unwrap();
        let file = simple::parse_json(&name, &base, page.as_bytes()).unwrap().files.remove(0);
        let metadata: CoreMetadata =
            metadata::parse("Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nRequires-Dist: numpy>=1\n")
                .unwrap();
        for _ in 0..50 {
            let directory = tempfile::tempdir().unwrap();
            let store = Store::open(directory.path()).unwrap();
            let source = RecordSource::claim("http://index/", &file, None);
            keep(&store, Learned::Metadata, &file, &source, &metadata).unwrap();
            let digest = store.put_blob(&wheel).unwrap();
            thread::scope(|scope| {
                let holders: Vec<_> = (0..8)
                    .map(|_| {
                        scope.spawn(|| hold(&store, &digest, &file.url).map_err(|error| error.to_string()))
                    })
                    .collect();
                holders.into_iter().for_each(|holder| holder.join().unwrap().unwrap());
            });
            assert_eq!(recall::<CoreMetadata>(&store, Learned::Metadata, &file), Some(metadata.clone()));
        }
    }
}
