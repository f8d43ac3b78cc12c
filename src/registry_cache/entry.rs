//! An entry of a cache: an ordinary image of one layer, or of all layers of a finished one, under its key as a tag.
//!
//! What else is to be known of it stands in annotations of its manifest. No registry refuses such an image: it has no
//! `artifactType`, and no media type of its own.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::failure::Hinted;
use crate::image::ImageLayer;
use crate::oci::image::{MediaType, from_json, rootfs, to_json};
use crate::oci::time::{rfc3339, unix_seconds};
use crate::oci::{Architecture, Descriptor, Digest};

/// The version of entries. One of another version is ignored.
const VERSION: &str = "1";
const VERSION_ANNOTATION: &str = "dev.imgforge.cache.version";
const KEY_ANNOTATION: &str = "dev.imgforge.cache.key";
/// The sums of the sizes of the files of each layer, with spaces between.
const UNPACKED_ANNOTATION: &str = "dev.imgforge.cache.unpacked";
/// <https://github.com/opencontainers/image-spec/blob/main/annotations.md>
const CREATED_ANNOTATION: &str = "org.opencontainers.image.created";
/// Entries tell the day of their making: those who make the same one at once make the same bytes.
const DAY: u64 = 24 * 60 * 60;
/// The bytes of a config of an entry: one of an image of 125 layers over a base with a long history takes 200 KB.
pub const LONGEST_CONFIG: u64 = 4 << 20;

/// The kind of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CachedKind {
    /// A layer, by the key of its plan.
    Layer,
    /// Records of the store, by their kinds and their key.
    Records,
    /// A finished image, by the key of its plan.
    Image,
}

impl CachedKind {
    const ALL: [Self; 3] = [Self::Layer, Self::Records, Self::Image];

    /// The letter that its tags begin with.
    fn letter(self) -> &'static str {
        match self {
            Self::Layer => "l",
            Self::Records => "f",
            Self::Image => "i",
        }
    }
}

/// The tag of an entry: `l-` and 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CacheTag {
    /// The kind of the entry.
    pub kind: CachedKind,
    /// The key of the entry.
    pub key: Digest,
}

impl CacheTag {
    /// The entry that `tag` names; `None` for a tag of something else.
    pub fn of(tag: &str) -> Option<Self> {
        let (letter, hex) = tag.split_once('-')?;
        let kind = CachedKind::ALL.into_iter().find(|kind| kind.letter() == letter)?;
        Some(Self { kind, key: format!("sha256:{hex}").parse().ok()? })
    }
}

impl fmt::Display for CacheTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.kind.letter(), self.key.hex())
    }
}

/// The reason why an entry is not believed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum CacheEntryFault {
    #[error("its {document} cannot be read")]
    Document { document: &'static str, source: serde_json::Error },
    #[error("it is not an entry of a cache of version {VERSION}")]
    Version,
    #[error("it is the entry of another key, {got}")]
    Key { got: String },
    #[error("it has {got} layers where {expected} are expected")]
    Layers { expected: usize, got: usize },
    #[error("its layer is {got} where {expected} is expected")]
    MediaType { expected: MediaType, got: MediaType },
    #[error("its config has {got} bytes")]
    Config { got: u64 },
    #[error("its layer {digest} has the diff_id {got}, and not {expected}")]
    DiffId { digest: Digest, expected: Digest, got: Digest },
    #[error("its layer is not the one of the base, {expected}")]
    OtherBase { expected: Digest },
    #[error("its layers do not give its config")]
    OtherImage,
    #[error("the lock has {what} {expected}, and the entry {got}")]
    Pinned { what: &'static str, expected: String, got: String },
    #[error("the lock has no such layer")]
    NotPinned,
    #[error("its layer cannot be read: {reason}")]
    Layer { reason: String },
    #[error("its records cannot be read: {reason}")]
    Records { reason: String },
    #[error("it has other content than was asked for by its digest")]
    Content,
    #[error("the registry lost a part of it")]
    Lost,
    #[error("it is {there}, and what was made here is {own}")]
    OtherContent { there: Digest, own: Digest },
}

impl Hinted for CacheEntryFault {}

/// An entry, as its manifest and its config describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheEntry {
    /// The digest of its manifest.
    pub digest: Digest,
    /// Bottom first.
    pub layers: Vec<CachedLayer>,
    /// The digest of its config.
    pub config: Digest,
}

/// A layer of an entry: what a registry claims of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedLayer {
    /// The descriptor of its blob.
    pub descriptor: Descriptor,
    /// The digest of the uncompressed tar.
    pub diff_id: Digest,
    /// The sum of the sizes of its files in bytes.
    pub unpacked: u64,
}

impl CachedLayer {
    /// The layer of a finished image.
    pub fn of(layer: &ImageLayer) -> Self {
        let descriptor = Descriptor::new(layer.media_type.clone(), layer.digest, layer.size);
        let descriptor = descriptor.with_annotations(&layer.annotations);
        Self { descriptor, diff_id: layer.diff_id, unpacked: layer.unpacked }
    }

    /// The layer of an image, `title` to people.
    pub fn into_image_layer(self, title: String) -> ImageLayer {
        ImageLayer {
            title,
            media_type: self.descriptor.media_type().clone(),
            annotations: self.descriptor.annotations(),
            digest: self.descriptor.digest(),
            size: self.descriptor.size(),
            diff_id: self.diff_id,
            unpacked: self.unpacked,
        }
    }
}

/// The manifest of an entry, before its config was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryManifest {
    schema_version: u32,
    media_type: MediaType,
    /// The descriptor of the config.
    pub config: Descriptor,
    layers: Vec<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// The part of a config that an entry needs.
#[derive(Deserialize)]
struct ReadConfig {
    rootfs: ReadRootfs,
}

#[derive(Deserialize)]
struct ReadRootfs {
    diff_ids: Vec<Digest>,
}

impl EntryManifest {
    /// Reads the manifest that a registry has under `tag`.
    pub fn parse(bytes: &[u8], tag: &CacheTag) -> Result<Self, CacheEntryFault> {
        let unreadable = |source| CacheEntryFault::Document { document: "manifest", source };
        let manifest: Self = from_json(bytes).map_err(unreadable)?;
        let annotation = |name: &str| manifest.annotations.get(name).map(String::as_str);
        if annotation(VERSION_ANNOTATION) != Some(VERSION) {
            return Err(CacheEntryFault::Version);
        }
        let key = annotation(KEY_ANNOTATION).unwrap_or_default();
        if key != tag.key.to_string() {
            return Err(CacheEntryFault::Key { got: key.to_owned() });
        }
        match manifest.config.size() {
            got if got > LONGEST_CONFIG => Err(CacheEntryFault::Config { got }),
            _ => Ok(manifest),
        }
    }

    /// The entry with what its config says.
    pub fn with_config(self, digest: Digest, config: &[u8]) -> Result<CacheEntry, CacheEntryFault> {
        let unreadable = |source| CacheEntryFault::Document { document: "config", source };
        let ReadConfig { rootfs: ReadRootfs { diff_ids } } = from_json(config).map_err(unreadable)?;
        if diff_ids.len() != self.layers.len() {
            return Err(CacheEntryFault::Layers { expected: self.layers.len(), got: diff_ids.len() });
        }
        let unpacked = self.annotations.get(UNPACKED_ANNOTATION).map(String::as_str).unwrap_or_default();
        let mut unpacked = unpacked.split(' ').map(|size| size.parse().unwrap_or_default());
        let described = |(descriptor, diff_id)| CachedLayer {
            descriptor,
            diff_id,
            unpacked: unpacked.next().unwrap_or_default(),
        };
        let layers = self.layers.into_iter().zip(diff_ids).map(described).collect();
        Ok(CacheEntry { digest, layers, config: self.config.digest() })
    }
}

/// The time at which the entry of a manifest was made, in Unix seconds, where it tells one.
pub fn created(manifest: &[u8]) -> Option<u64> {
    let manifest: EntryManifest = from_json(manifest).ok()?;
    u64::try_from(unix_seconds(manifest.annotations.get(CREATED_ANNOTATION)?)?).ok()
}

/// The bytes of a new entry's manifest. `now` is in Unix seconds.
pub fn manifest(
    tag: &CacheTag,
    config: &[u8],
    layers: &[CachedLayer],
    now: u64,
) -> serde_json::Result<Vec<u8>> {
    let unpacked: Vec<String> = layers.iter().map(|layer| layer.unpacked.to_string()).collect();
    let annotations = [
        (VERSION_ANNOTATION, VERSION.to_owned()),
        (KEY_ANNOTATION, tag.key.to_string()),
        (UNPACKED_ANNOTATION, unpacked.join(" ")),
        (CREATED_ANNOTATION, rfc3339(now / DAY * DAY)),
    ];
    to_json(&EntryManifest {
        schema_version: 2,
        media_type: MediaType::ImageManifest,
        config: Descriptor::of(MediaType::ImageConfig, config),
        layers: layers.iter().map(|layer| layer.descriptor.clone()).collect(),
        annotations: annotations.map(|(name, value)| (name.to_owned(), value)).into(),
    })
}

/// The bytes of the config of an entry of one layer, `title` to people.
pub fn config(architecture: Architecture, diff_id: Digest, title: &str) -> serde_json::Result<Vec<u8>> {
    let created = rfc3339(0);
    to_json(&json!({
        "created": created,
        "architecture": architecture.as_str(),
        "os": "linux",
        "config": {},
        "rootfs": rootfs([diff_id]),
        "history": [{"created": created, "created_by": format!("imgforge: {title}")}],
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(letter: &str, key: &str) -> CacheTag {
        CacheTag::of(&format!("{letter}-{}", Digest::of(key).hex())).unwrap()
    }

    fn layer() -> CachedLayer {
        let descriptor = Descriptor::new(MediaType::ImageLayerGzip, Digest::of("blob"), 4);
        CachedLayer { descriptor, diff_id: Digest::of("tar"), unpacked: 77 }
    }

    /// The entry that is read under `tag` of one that was made under `key`, with changes to its documents.
    fn read(change: impl Fn(String) -> String, of_config: impl Fn(String) -> String) -> String {
        let tag = tag("l", "a key");
        let config = config(Architecture::Amd64, Digest::of("tar"), "torch").unwrap();
        let manifest = manifest(&tag, &config, &[layer()], 1_700_000_000).unwrap();
        let manifest = change(String::from_utf8(manifest).unwrap());
        let config = of_config(String::from_utf8(config).unwrap());
        let read = EntryManifest::parse(manifest.as_bytes(), &tag)
            .and_then(|read| read.with_config(Digest::of(&manifest), config.as_bytes()));
        match read {
            Ok(entry) => format!("{:?}", entry.layers == [layer()]),
            Err(fault) => fault.to_string(),
        }
    }

    #[test]
    fn an_entry_is_read_as_it_was_written_and_nothing_else_is() {
        let same = |text: String| text;
        assert_eq!(read(same, same), "true");
        let other = Digest::of("another key").to_string();
        let check = |from: &str, to: &str, expected: &str| {
            let told = read(|text| text.replace(from, to), same);
            assert!(told.contains(expected), "{told}");
        };
        check(&Digest::of("a key").to_string(), &other, &format!("the entry of another key, {other}"));
        check("cache.version\":\"1", "cache.version\":\"2", "not an entry of a cache of version 1");
        check("schemaVersion", "x", "its manifest cannot be read");
        check(
            &format!("\"size\":{}", config(Architecture::Amd64, Digest::of("tar"), "torch").unwrap().len()),
            "\"size\":99999999",
            "99999999 bytes",
        );
        let told = read(same, |text| text.replace("\"diff_ids\":[", &format!("\"diff_ids\":[\"{other}\",")));
        assert_eq!(told, "it has 2 layers where 1 are expected");
    }

    #[test]
    fn tags_are_told_from_those_of_others() {
        let layer = tag("l", "x");
        assert_eq!(CacheTag::of(&layer.to_string()), Some(layer));
        for text in ["latest", "l-12", "x-", &format!("q-{}", Digest::of("x").hex()), "v1-rc"] {
            assert_eq!(CacheTag::of(text), None, "{text}");
        }
    }

    #[test]
    fn entries_that_are_made_on_one_day_are_equal() {
        let manifest = |now| manifest(&tag("f", "x"), b"{}", &[layer()], now).unwrap();
        assert_eq!(manifest(1_700_006_400), manifest(1_700_092_799));
        assert_ne!(manifest(1_700_006_400), manifest(1_700_092_800));
        assert_eq!(created(&manifest(1_700_092_799)), Some(1_700_006_400));
    }
}
