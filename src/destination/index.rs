//! The index of a layout: its entries are others' as well, and keep every member, also those that no specification has.
//!
//! <https://github.com/opencontainers/image-spec/blob/main/image-index.md>

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use oci_spec::image::{
    self as spec, ANNOTATION_REF_NAME, ImageIndex, ImageManifest, MediaType, SCHEMA_VERSION,
};
use rustix::fs::OFlags;
use serde_json::{Map, Value, json};

use super::PublishError;
use crate::oci::image::{from_json, from_value, to_json};
use crate::oci::{Descriptor, Digest, ImageReference};

/// The largest index in bytes: with 8 MiB it has some 20,000 images, and registries take half of it.
const LARGEST_INDEX: u64 = 8 << 20;

/// An index that is published.
#[derive(Debug)]
pub(super) struct IndexDocument {
    members: Map<String, Value>,
    manifests: Vec<Value>,
}

/// The bytes of a regular file that can be an index: a pipe would be waited for.
fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    if metadata.len() > LARGEST_INDEX {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {LARGEST_INDEX} bytes"),
        ));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST_INDEX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl IndexDocument {
    /// An index without images.
    pub(super) fn new() -> Self {
        let mut members = Map::new();
        members.insert("schemaVersion".into(), SCHEMA_VERSION.into());
        members.insert("mediaType".into(), MediaType::ImageIndex.as_ref().into());
        Self { members, manifests: Vec::new() }
    }

    /// Reads the index in the file `path`; a new one where there is no file.
    pub(super) fn read(path: &Path) -> Result<Self, PublishError> {
        match read_regular(path) {
            Ok(bytes) => Self::parse(&bytes)
                .map_err(|source| PublishError::NotAnIndex { path: path.to_owned(), source }),
            // A link that leads nowhere may lead somewhere again.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => Ok(Self::new()),
            Err(source) => Err(PublishError::Read { path: path.to_owned(), source }),
        }
    }

    fn parse(bytes: &[u8]) -> serde_json::Result<Self> {
        let mut members: Map<String, Value> = serde_json::from_slice(bytes)?;
        // Writers in Go write null for an empty list.
        if members.get("manifests") == Some(&Value::Null) {
            members.insert("manifests".into(), json!([]));
        }
        from_value::<ImageIndex>(members.clone().into())?;
        let manifests = serde_json::from_value(members.remove("manifests").unwrap_or_default())?;
        Ok(Self { members, manifests })
    }

    /// Adds an entry that has the tag, in place of the one that had it; gives the digests of images that have gone.
    pub(super) fn put(&mut self, entry: Descriptor, tag: &str) -> BTreeSet<String> {
        let mut gone = self.digests();
        self.manifests.retain(|entry| tag_of(entry) != Some(tag));
        self.manifests.push(json!(entry));
        let left = self.digests();
        gone.retain(|digest| !left.contains(digest));
        gone
    }

    /// Adds an entry without a tag, unless it is there.
    pub(super) fn add(&mut self, entry: &Value) {
        if !self.manifests.iter().any(|known| known.get("digest") == entry.get("digest")) {
            self.manifests.push(entry.clone());
        }
    }

    /// The digest of the entry that has the tag.
    pub(super) fn tagged(&self, tag: &str) -> Option<Digest> {
        let entry = self.manifests.iter().find(|entry| tag_of(entry) == Some(tag))?;
        entry.get("digest")?.as_str()?.parse().ok()
    }

    /// Removes what goes with images that have `gone`: their signatures, and manifests that refer to them.
    pub(super) fn forget_attached(&mut self, gone: &BTreeSet<String>, blobs: &Path) {
        let of_gone = |entry: &Value| {
            let tag = tag_of(entry).and_then(|tag| tag.split('.').next());
            if tag.is_some_and(|tag| gone.contains(&tag.replacen('-', ":", 1))) {
                return true;
            }
            let subject = || {
                entry.get("artifactType")?;
                Some(manifest(entry, blobs)?.1.subject().as_ref()?.digest().to_string())
            };
            subject().is_some_and(|subject| gone.contains(&subject))
        };
        self.manifests.retain(|entry| !of_gone(entry));
    }

    fn digests(&self) -> BTreeSet<String> {
        let digests = self.manifests.iter().filter_map(|entry| entry.get("digest")?.as_str());
        digests.map(str::to_owned).collect()
    }

    /// The bytes of `index.json`.
    pub(super) fn to_json(&self) -> io::Result<Vec<u8>> {
        Ok(to_json(&self.to_value())?)
    }

    fn to_value(&self) -> Value {
        let mut members = self.members.clone();
        members.insert("manifests".into(), self.manifests.clone().into());
        members.into()
    }

    /// The digests of all that its images consist of; `None` where the manifest of one cannot be read.
    ///
    /// `blobs` has a directory for each algorithm.
    pub(super) fn reached(&self, blobs: &Path) -> Option<BTreeSet<String>> {
        let (mut reached, mut read) = (BTreeSet::new(), BTreeSet::new());
        let digest = |entry: &Value| entry.get("digest")?.as_str()?.parse().ok();
        let mut waiting: Vec<spec::Digest> = self.manifests.iter().map(digest).collect::<Option<_>>()?;
        while let Some(digest) = waiting.pop() {
            // Something may refer to an image that is yet to be read.
            reached.insert(digest.to_string());
            if !read.insert(digest.to_string()) {
                continue;
            }
            let path = blobs.join(digest.algorithm().as_ref()).join(digest.digest());
            let bytes = fs::read(path).ok()?;
            if let Ok(index) = from_json::<ImageIndex>(&bytes) {
                waiting.extend(index.manifests().iter().map(|entry| entry.digest().clone()));
                continue;
            }
            let manifest: ImageManifest = from_json(&bytes).ok()?;
            let parts = manifest.layers().iter().chain([manifest.config()]).chain(manifest.subject());
            reached.extend(parts.map(|part| part.digest().to_string()));
        }
        Some(reached)
    }
}

/// The manifest of an entry, with its digest.
fn manifest(entry: &Value, blobs: &Path) -> Option<(String, ImageManifest)> {
    let digest: oci_spec::image::Digest = entry.get("digest")?.as_str()?.parse().ok()?;
    let path = blobs.join(digest.algorithm().as_ref()).join(digest.digest());
    Some((digest.to_string(), from_json(&fs::read(path).ok()?).ok()?))
}

/// The annotation by which containerd knows a name.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// The descriptor of an image, or of an index, as the index of a layout holds it.
pub(super) fn tagged(descriptor: &Descriptor, tag: &str) -> Descriptor {
    descriptor.clone().with_annotations(&[(ANNOTATION_REF_NAME.to_owned(), tag.to_owned())].into())
}

/// The descriptor of an image in an archive: its tag, and the whole name, which podman and containerd take from there.
pub(super) fn named_in_archive(descriptor: &Descriptor, name: &str, tag: &str) -> Descriptor {
    let mut names = vec![(ANNOTATION_REF_NAME.to_owned(), tag.to_owned())];
    let whole = name.parse::<ImageReference>().ok();
    names.extend(whole.map(|whole| (CONTAINERD_NAME.to_owned(), whole.to_string())));
    descriptor.clone().with_annotations(&names.into_iter().collect())
}

/// The descriptor of an image as engines read it, which take the whole name of an image from there.
pub(super) fn named(descriptor: &Descriptor, name: &str) -> Descriptor {
    let names = [ANNOTATION_REF_NAME, CONTAINERD_NAME].map(|key| (key.to_owned(), name.to_owned()));
    descriptor.clone().with_annotations(&names.into())
}

fn tag_of(entry: &Value) -> Option<&str> {
    entry.get("annotations")?.get(ANNOTATION_REF_NAME)?.as_str()
}
