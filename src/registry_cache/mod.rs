//! A cache of layers, of what was learned of them, and of finished images, in a repository of a registry.
//!
//! ```text
//! l-<key of a layer's plan>      the layer
//! f-<kinds and key of records>   records of the store: facts and evidence of a layer, the report of a check
//! i-<key of a plan>              the finished image
//! ```
//!
//! Each is an ordinary [image](entry), so that any registry keeps it and lets other repositories mount its blobs. An entry is
//! put where there is none, and never replaced: the same key stands for the same content, and another one is a fault that is
//! told. Nothing is believed of an entry but that its key belongs to its digests; all else is verified.

pub mod entry;
mod error;
pub mod prune;
mod records;

use std::fs::File;
use std::sync::Arc;

use crate::net::http::HttpError;
use crate::net::registry::{BlobContent, LackedBlobs, OutgoingBlob, ReceivedManifest, Repository};
use crate::oci::image::MediaType;
use crate::oci::{Architecture, Descriptor, Digest, ImageReference};
use crate::store::Store;
use entry::{CacheEntry, CacheEntryFault, CacheTag, CachedKind, CachedLayer, EntryManifest};
use records::LARGEST_RECORDS;

pub use error::RegistryCacheError;
pub use records::{RecordBytes, RecordsName};

/// A repository that is a cache.
#[derive(Debug, Clone)]
pub struct CacheRepository {
    repository: Repository,
    place: String,
}

/// An entry to put.
pub struct NewEntry<'a> {
    /// Its tag.
    pub tag: CacheTag,
    /// The bytes of its config.
    pub config: Vec<u8>,
    /// Its layers, bottom first.
    pub layers: Vec<CachedLayer>,
    /// Now, in Unix seconds.
    pub now: u64,
    /// Gives the bytes of a layer that the repository lacks.
    pub content: &'a (dyn Fn(&Digest) -> Result<BlobContent, RegistryCacheError> + Sync),
}

/// The result of putting an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutEntry {
    /// It was put.
    Added,
    /// The same one was there.
    Present,
}

impl CacheRepository {
    /// The cache in `repository`.
    pub fn new(repository: Repository) -> Self {
        let image: &ImageReference = repository.image();
        let place = format!("{}/{}", image.registry(), image.repository());
        Self { repository, place }
    }

    /// Its name, `HOST/REPOSITORY`.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The error of an entry that is not believed.
    pub fn wrong(&self, tag: &CacheTag, source: CacheEntryFault) -> RegistryCacheError {
        RegistryCacheError::Wrong { place: self.place.clone(), tag: *tag, source: Box::new(source) }
    }

    fn failed(&self, tag: &CacheTag) -> impl Fn(HttpError) -> RegistryCacheError {
        move |source| match CacheEntryFault::of_answer(&source) {
            Some(fault) => self.wrong(tag, fault),
            None => RegistryCacheError::Unusable { place: self.place.clone(), source },
        }
    }

    /// The entry under `tag`, its manifest and config verified; `None` where there is none.
    pub fn entry(&self, tag: &CacheTag) -> Result<Option<CacheEntry>, RegistryCacheError> {
        let manifest = self.repository.tagged_manifest(&tag.to_string());
        let Some(ReceivedManifest { bytes, .. }) = manifest.map_err(self.failed(tag))? else {
            return Ok(None);
        };
        let wrong = |fault| self.wrong(tag, fault);
        let manifest = EntryManifest::parse(&bytes, tag).map_err(wrong)?;
        let config = self.repository.blob_bytes(&manifest.config).map_err(self.failed(tag))?;
        let entry = manifest.with_config(Digest::of(&bytes), &config).map_err(wrong)?;
        for layer in &entry.layers {
            self.repository.note_blob(&layer.descriptor.digest());
        }
        Ok(Some(entry))
    }

    /// The layer of the entry under `tag`, which has one.
    fn single(&self, tag: &CacheTag) -> Result<Option<CachedLayer>, RegistryCacheError> {
        let Some(entry) = self.entry(tag)? else { return Ok(None) };
        let got = entry.layers.len();
        let mut layers = entry.layers.into_iter();
        match (layers.next(), layers.next()) {
            (Some(layer), None) => Ok(Some(layer)),
            _ => Err(self.wrong(tag, CacheEntryFault::Layers { expected: 1, got })),
        }
    }

    /// The layer of `key`, whose blob shall be of `media_type`.
    pub fn layer(
        &self,
        key: &Digest,
        media_type: &MediaType,
    ) -> Result<Option<CachedLayer>, RegistryCacheError> {
        let tag = CacheTag { kind: CachedKind::Layer, key: *key };
        let Some(layer) = self.single(&tag)? else { return Ok(None) };
        match layer.descriptor.media_type() {
            got if got == media_type => Ok(Some(layer)),
            got => {
                let (expected, got) = (media_type.clone(), got.clone());
                Err(self.wrong(&tag, CacheEntryFault::MediaType { expected, got }))
            }
        }
    }

    /// The records of that name, and the digest of their tar.
    pub fn records(
        &self,
        name: RecordsName<'_>,
    ) -> Result<Option<(Digest, RecordBytes)>, RegistryCacheError> {
        let tag = name.tag();
        let Some(layer) = self.single(&tag)? else { return Ok(None) };
        if layer.descriptor.size() > LARGEST_RECORDS {
            let reason = format!("they have {} bytes", layer.descriptor.size());
            return Err(self.wrong(&tag, CacheEntryFault::Records { reason }));
        }
        let blob = self.repository.blob_bytes(&layer.descriptor).map_err(self.failed(&tag))?;
        let records =
            records::unpacked(&blob, &layer, name.kinds).map_err(|fault| self.wrong(&tag, fault))?;
        Ok(Some((layer.diff_id, records)))
    }

    /// Brings the blob of a layer of the entry under `tag` into the store.
    pub fn fetch(
        &self,
        tag: &CacheTag,
        layer: &Descriptor,
        store: &Store,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(), RegistryCacheError> {
        self.repository.fetch_blob(layer, store, progress).map_err(self.failed(tag))
    }

    /// Puts `entry`, unless one is there; one with other content stays, and is the error.
    pub fn put(&self, entry: &NewEntry<'_>) -> Result<PutEntry, RegistryCacheError> {
        let NewEntry { tag, config, layers, now, content } = entry;
        if let Some(there) = self.entry(tag)? {
            return self.compared(entry, &there).map(|()| PutEntry::Present);
        }
        let write = |source: serde_json::Error| RegistryCacheError::Write {
            place: self.place.clone(),
            source: source.into(),
        };
        let bytes = entry::manifest(tag, config, layers, *now).map_err(write)?;
        let config_digest = Digest::of(config);
        let content = |digest: &Digest| match *digest == config_digest {
            true => Ok(BlobContent::Bytes(config.clone())),
            false => content(digest),
        };
        let described = layers.iter().map(|layer| (layer.descriptor.digest(), layer.descriptor.size()));
        let mut blobs: Vec<(Digest, u64)> = described.collect();
        blobs.push((config_digest, config.len() as u64));
        let failed = |source| RegistryCacheError::Unusable { place: self.place.clone(), source };
        for (digest, size) in &blobs {
            let pushed =
                self.repository.push_blob(*digest, *size, || content(digest).map_err(PutError::Cache));
            pushed.map_err(|error| error.into_cache_error(failed))?;
        }
        let resend = |lacked: &LackedBlobs| {
            let digests: Vec<Digest> = blobs.iter().map(|(digest, _)| *digest).collect();
            for digest in lacked.among(&digests) {
                let size = blobs.iter().find(|(other, _)| *other == digest).map_or(0, |(_, size)| *size);
                let blob = OutgoingBlob { digest, size, content: content(&digest).map_err(PutError::Cache)? };
                self.repository.send_blob(&blob)?;
            }
            Ok(())
        };
        let put = self.repository.push_manifest(&tag.to_string(), &MediaType::ImageManifest, &bytes, resend);
        put.map_err(|error: PutError| error.into_cache_error(failed))?;
        Ok(PutEntry::Added)
    }

    /// Holds an entry that is there against the one that was to be put. Of records their tar counts, which is compressed by
    /// whatever library is at hand.
    fn compared(&self, own: &NewEntry<'_>, there: &CacheEntry) -> Result<(), RegistryCacheError> {
        let blobs = |layers: &[CachedLayer]| -> Vec<(Digest, Option<Digest>)> {
            let is_layer = own.tag.kind != CachedKind::Records;
            let blob = |layer: &CachedLayer| is_layer.then(|| layer.descriptor.digest());
            layers.iter().map(|layer| (layer.diff_id, blob(layer))).collect()
        };
        let (found, made) = (blobs(&there.layers), blobs(&own.layers));
        let is_own_config = own.tag.kind != CachedKind::Image || there.config == Digest::of(&own.config);
        if found == made && is_own_config {
            return Ok(());
        }
        let differs = found.iter().zip(&made).find(|(found, made)| found != made);
        let shown = |(diff_id, blob): (Digest, Option<Digest>)| blob.unwrap_or(diff_id);
        let (there, own_digest) = match differs {
            Some((found, made)) => (shown(*found), shown(*made)),
            None => (there.digest, Digest::of(&own.config)),
        };
        Err(self.wrong(&own.tag, CacheEntryFault::OtherContent { there, own: own_digest }))
    }

    /// Puts records under their name, unless they are there.
    pub fn put_records(
        &self,
        name: RecordsName<'_>,
        records: &RecordBytes,
        architecture: Architecture,
        now: u64,
    ) -> Result<PutEntry, RegistryCacheError> {
        let write = |source| RegistryCacheError::Write { place: self.place.clone(), source };
        let (layer, blob) = records::packed(records).map_err(write)?;
        let config = entry::config(architecture, layer.diff_id, &name.title());
        self.put(&NewEntry {
            tag: name.tag(),
            config: config.map_err(|error| write(error.into()))?,
            layers: vec![layer],
            now,
            content: &|_| Ok(BlobContent::Bytes(blob.clone())),
        })
    }

    /// Puts the layer of `key`, whose blob the store has, unless it is there.
    pub fn put_layer(
        &self,
        key: &Digest,
        layer: &CachedLayer,
        (title, architecture): (&str, Architecture),
        store: &Store,
        now: u64,
    ) -> Result<PutEntry, RegistryCacheError> {
        let place = || self.place.clone();
        let config = entry::config(architecture, layer.diff_id, title);
        let open = |digest: &Digest| -> Result<BlobContent, RegistryCacheError> {
            let file: File = store
                .open_blob(digest)
                .map_err(|source| RegistryCacheError::Store { place: place(), source })?;
            Ok(BlobContent::File(Arc::new(file)))
        };
        self.put(&NewEntry {
            tag: CacheTag { kind: CachedKind::Layer, key: *key },
            config: config
                .map_err(|error| RegistryCacheError::Write { place: place(), source: error.into() })?,
            layers: vec![layer.clone()],
            now,
            content: &open,
        })
    }
}

/// The digest of records, as [`CacheRepository::records`] gives it of those that a cache has.
pub fn records_digest(records: &RecordBytes) -> std::io::Result<Digest> {
    Ok(records::packed(records)?.0.diff_id)
}

/// The reason why a blob or a manifest was not put.
enum PutError {
    Http(HttpError),
    Cache(RegistryCacheError),
}

impl From<HttpError> for PutError {
    fn from(error: HttpError) -> Self {
        Self::Http(error)
    }
}

impl PutError {
    fn into_cache_error(self, failed: impl Fn(HttpError) -> RegistryCacheError) -> RegistryCacheError {
        match self {
            Self::Http(error) => failed(error),
            Self::Cache(error) => error,
        }
    }
}
