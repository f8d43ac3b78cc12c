//! An image with all that its tag names: the images of every platform, as they are, and what goes with each.
//!
//! Nothing in it need be an image that imgforge can build upon: an index may list attestations, other systems and artifacts.
//!
//! <https://github.com/opencontainers/image-spec/blob/main/image-index.md>

use std::collections::BTreeSet;
use std::sync::Arc;

use oci_spec::image::{self as spec, ANNOTATION_REF_NAME};
use serde_json::Value;

use super::documents::{self, MAX_NESTING, read_document, root_of_index, stated_kind};
use super::{Blobs, SourceError, bring};
use crate::attest::{attestation_tag, signature_tag};
use crate::oci::image::{MediaType, from_value};
use crate::oci::{Descriptor, Digest};
use crate::store::Store;

/// The documents of an image, and those of each that goes with it: an index has some dozens of entries.
const MOST_DOCUMENTS: usize = 1000;
/// The documents that go with an image: signatures, attestations and bills of materials for each platform.
const MOST_ATTACHED: usize = 1000;

/// An image with all that its tag names, and what goes with it.
#[derive(Debug)]
pub struct WholeImage {
    /// Each after those that it names; the last is named by the tag.
    pub documents: Vec<WholeDocument>,
    /// The documents that go with one of them, or with another of these.
    pub attached: Vec<AttachedTree>,
    place: String,
    blobs: Arc<dyn Blobs>,
}

/// A manifest or an index, as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholeDocument {
    /// Its descriptor.
    pub descriptor: Descriptor,
    /// Its text.
    pub bytes: Vec<u8>,
    /// The blobs that it names, without those that may not be distributed with it.
    pub blobs: Vec<Descriptor>,
}

/// A manifest that goes with a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachedTree {
    /// Each after those that it names.
    pub documents: Vec<WholeDocument>,
    /// The way in which it is found.
    pub link: AttachmentLink,
}

/// The way in which a manifest that goes with another one is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttachmentLink {
    /// It refers to `subject`, and lists of referrers have the `entry`.
    Subject {
        /// The digest of the document that it goes with.
        subject: Digest,
        /// Its descriptor, as a list of referrers has it.
        entry: Value,
    },
    /// It has a tag that is made of the digest.
    Tag(String),
}

/// The ways from a document to what goes with it.
pub(super) trait Companions {
    /// The descriptors of the manifests that refer to `subject`.
    fn referrers(&self, subject: &Digest, place: &str) -> Result<Vec<Value>, SourceError>;

    /// The manifest that has the tag.
    fn tagged(&self, tag: &str, place: &str) -> Result<Option<Descriptor>, SourceError>;
}

/// Reads an image that an index of a layout names.
pub(super) fn of_index(
    index: &[u8],
    tag: Option<&str>,
    blobs: Arc<dyn Blobs>,
    place: &str,
) -> Result<WholeImage, SourceError> {
    let root = root_of_index(index, tag, &*blobs, place)?;
    let listed = ListedCompanions::read(index, &*blobs, place)?;
    read(root, blobs, &listed, place)
}

/// Reads the documents below `root`, and those that go with them.
pub(super) fn read(
    root: Descriptor,
    blobs: Arc<dyn Blobs>,
    companions: &dyn Companions,
    place: &str,
) -> Result<WholeImage, SourceError> {
    let documents = tree(&root, &*blobs, place)?;
    let mut seen: BTreeSet<Digest> = documents.iter().map(|it| it.descriptor.digest()).collect();
    let mut waiting: Vec<Digest> = documents.iter().map(|it| it.descriptor.digest()).collect();
    let mut attached = Vec::new();
    while let Some(digest) = waiting.pop() {
        for (descriptor, link) in companions_of(&digest, companions, place)? {
            if !seen.insert(descriptor.digest()) {
                continue;
            }
            if attached.len() == MOST_ATTACHED {
                return Err(SourceError::ManyDocuments { image: place.to_owned(), most: MOST_ATTACHED });
            }
            let documents = tree(&descriptor, &*blobs, place)?;
            waiting.extend(documents.iter().map(|it| it.descriptor.digest()));
            attached.push(AttachedTree { documents, link });
        }
    }
    Ok(WholeImage { documents, attached, place: place.to_owned(), blobs })
}

/// The manifests that go with the one of `digest`.
fn companions_of(
    digest: &Digest,
    companions: &dyn Companions,
    place: &str,
) -> Result<Vec<(Descriptor, AttachmentLink)>, SourceError> {
    let mut found = Vec::new();
    for entry in companions.referrers(digest, place)? {
        let descriptor = descriptor_of(&entry, "the list of referrers", place)?;
        found.push((descriptor, AttachmentLink::Subject { subject: *digest, entry }));
    }
    for tag in [attestation_tag(digest), signature_tag(digest)] {
        let tagged = companions.tagged(&tag, place)?;
        found.extend(tagged.map(|descriptor| (descriptor, AttachmentLink::Tag(tag))));
    }
    Ok(found)
}

/// The documents from `root` on, each after those that it names.
fn tree(root: &Descriptor, blobs: &dyn Blobs, place: &str) -> Result<Vec<WholeDocument>, SourceError> {
    let mut documents = Vec::new();
    add_tree(root, blobs, place, 0, &mut documents)?;
    Ok(documents)
}

fn add_tree(
    root: &Descriptor,
    blobs: &dyn Blobs,
    place: &str,
    nesting: usize,
    documents: &mut Vec<WholeDocument>,
) -> Result<(), SourceError> {
    let image = || place.to_owned();
    if nesting > MAX_NESTING {
        return Err(SourceError::Nested { image: image() });
    }
    let bytes = read_document(root, blobs, place)?;
    let members: Value = documents::parse(&bytes, "the manifest", place)?;
    if members.get("schemaVersion").and_then(Value::as_u64) == Some(1) {
        return Err(SourceError::Schema1 { image: image() });
    }
    for child in listed(&members, "manifests", place)? {
        if !documents.iter().any(|known| known.descriptor.digest() == child.digest()) {
            add_tree(&child, blobs, place, nesting + 1, documents)?;
        }
    }
    if documents.len() == MOST_DOCUMENTS {
        return Err(SourceError::ManyDocuments { image: image(), most: MOST_DOCUMENTS });
    }
    let mut named = listed(&members, "layers", place)?;
    named.extend(listed(&members, "blobs", place)?);
    named.extend(members.get("config").map(|it| descriptor_of(it, "the manifest", place)).transpose()?);
    named.retain(|blob| is_distributed(blob.media_type()));
    let kind = stated_kind(&bytes, root.media_type().clone());
    let descriptor = Descriptor::new(kind, root.digest(), bytes.len() as u64);
    documents.push(WholeDocument { descriptor, bytes, blobs: named });
    Ok(())
}

/// The descriptors under a key of a document.
fn listed(members: &Value, key: &str, place: &str) -> Result<Vec<Descriptor>, SourceError> {
    let all = members.get(key).and_then(Value::as_array).into_iter().flatten();
    all.map(|entry| descriptor_of(entry, "the manifest", place)).collect()
}

fn descriptor_of(entry: &Value, document: &str, place: &str) -> Result<Descriptor, SourceError> {
    let wrong =
        |source| SourceError::Document { image: place.to_owned(), document: document.to_owned(), source };
    let descriptor: spec::Descriptor = from_value(entry.clone()).map_err(wrong)?;
    let digest = descriptor.digest().to_string();
    descriptor.try_into().map_err(|_| SourceError::Algorithm { image: place.to_owned(), digest })
}

/// The entries of an index, whatever members they have.
pub(super) fn entries(index: &[u8], document: &str, place: &str) -> Result<Vec<Value>, SourceError> {
    let mut members: Value = documents::parse(index, document, place)?;
    Ok(match members.get_mut("manifests").map(Value::take) {
        Some(Value::Array(entries)) => entries,
        _ => Vec::new(),
    })
}

/// Layers that other places have, and nobody else may give.
fn is_distributed(kind: &MediaType) -> bool {
    let name = kind.as_ref();
    !name.contains(".nondistributable.") && !name.contains(".foreign.")
}

/// The companions of a layout's images, as its index lists them.
struct ListedCompanions {
    entries: Vec<(Value, Option<Digest>)>,
}

impl ListedCompanions {
    fn read(index: &[u8], blobs: &dyn Blobs, place: &str) -> Result<Self, SourceError> {
        let subject = |entry: &Value| {
            let descriptor = descriptor_of(entry, "the index", place).ok()?;
            let bytes = read_document(&descriptor, blobs, place).ok()?;
            let members: Value = serde_json::from_slice(&bytes).ok()?;
            members.get("subject")?.get("digest")?.as_str()?.parse().ok()
        };
        let entries = entries(index, "the index", place)?;
        Ok(Self { entries: entries.into_iter().map(|entry| (entry.clone(), subject(&entry))).collect() })
    }
}

impl Companions for ListedCompanions {
    fn referrers(&self, subject: &Digest, _place: &str) -> Result<Vec<Value>, SourceError> {
        let of_subject = self.entries.iter().filter(|(_, of)| of.as_ref() == Some(subject));
        Ok(of_subject.map(|(entry, _)| entry.clone()).collect())
    }

    fn tagged(&self, tag: &str, place: &str) -> Result<Option<Descriptor>, SourceError> {
        let tag_of = |entry: &Value| {
            entry.get("annotations")?.get(ANNOTATION_REF_NAME)?.as_str().map(|found| found == tag)
        };
        let found = self.entries.iter().find(|(entry, _)| tag_of(entry) == Some(true));
        found.map(|(entry, _)| descriptor_of(entry, "the index", place)).transpose()
    }
}

impl WholeImage {
    /// The document that the tag names.
    pub fn root(&self) -> &WholeDocument {
        self.documents.last().expect("the documents of an image are those from its root on")
    }

    /// All documents, those that go with the image as well.
    pub fn all_documents(&self) -> impl Iterator<Item = &WholeDocument> {
        self.documents.iter().chain(self.attached.iter().flat_map(|tree| &tree.documents))
    }

    /// Brings a blob into the store, where it lacks it.
    pub fn bring(&self, blob: &Descriptor, store: &Store) -> Result<(), SourceError> {
        bring(blob, &*self.blobs, &self.place, store, &|_| ())
    }
}
