//! An image with all that its tag names and all that goes with it, published as it is.
//!
//! The tag comes last: it never names an image of which something is missing. Nothing is brought that is there already.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::archive::{self, ArchivedName};
use super::archive_writer::{ArchiveWriter, blob_path};
use super::attached::list;
use super::index::{IndexDocument, named_in_archive, tagged};
use super::layout::{self, LayoutWriting, has, place, write};
use super::{PublishError, Publishing};
use crate::net::registry::{BlobContent, LackedBlobs, OutgoingBlob, Repository};
use crate::oci::{Descriptor, Digest, ImageReference};
use crate::place::ImagePlace;
use crate::pool;
use crate::source::{AttachedTree, AttachmentLink, WholeDocument, WholeImage};
use crate::store::Store;

/// The blobs that are brought at once.
const AT_ONCE: usize = 4;

/// Publishes `image` at `place`; archives call it `name` where their places do not say it.
pub fn publish_whole(
    image: &WholeImage,
    place: &ImagePlace,
    name: &str,
    publishing: &Publishing<'_>,
) -> Result<(), PublishError> {
    let whole = WholePublishing { image, publishing };
    match place {
        ImagePlace::Registry(reference) => whole.to_registry(reference),
        ImagePlace::OciLayout { directory, tag } => {
            whole.to_layout(directory, tag.as_deref().unwrap_or("latest"))
        }
        ImagePlace::OciArchive { file, tag } => whole.to_archive(file, name, tag.as_deref()),
        ImagePlace::DockerArchive { .. } | ImagePlace::Engine { .. } => {
            Err(PublishError::OneImage { place: place.to_string() })
        }
    }
}

/// Refuses places that hold one image.
pub fn check_holds_whole(place: &ImagePlace) -> Result<(), PublishError> {
    match super::holds_one_platform(place) {
        true => Err(PublishError::OneImage { place: place.to_string() }),
        false => Ok(()),
    }
}

/// An image on its way to a place.
struct WholePublishing<'a> {
    image: &'a WholeImage,
    publishing: &'a Publishing<'a>,
}

impl WholePublishing<'_> {
    fn store(&self) -> &Store {
        self.publishing.store
    }

    /// Every blob that a document names, once.
    fn blobs(&self) -> BTreeMap<Digest, &Descriptor> {
        let named = self.image.all_documents().flat_map(|document| &document.blobs);
        named.map(|blob| (blob.digest(), blob)).collect()
    }

    fn to_registry(&self, reference: &ImageReference) -> Result<(), PublishError> {
        let repository = self.publishing.registries.repository(reference)?;
        let mut blobs: Vec<&Descriptor> = self.blobs().into_values().collect();
        // The largest first, so that the last one is small.
        blobs.sort_by_key(|blob| std::cmp::Reverse(blob.size()));
        pool::run(blobs, AT_ONCE, |blob| {
            repository.push_blob(blob.digest(), blob.size(), || self.content(blob))?;
            (self.publishing.progress)(blob.size());
            Ok::<_, PublishError>(())
        })?;
        for document in &self.image.documents {
            self.push(&repository, &document.descriptor.digest().to_string(), document)?;
        }
        self.image.attached.iter().try_for_each(|tree| self.push_attached(&repository, tree))?;
        self.push(&repository, reference.tag().unwrap_or("latest"), self.image.root())
    }

    fn push(
        &self,
        repository: &Repository,
        name: &str,
        document: &WholeDocument,
    ) -> Result<(), PublishError> {
        let resend = |lacked: &LackedBlobs| {
            // It said to have them: they are sent once more, and then it has to.
            let named: Vec<Digest> = document.blobs.iter().map(Descriptor::digest).collect();
            let lacked = lacked.among(&named);
            let mut again = document.blobs.iter().filter(|blob| lacked.contains(&blob.digest()));
            again.try_for_each(|blob| {
                let content = self.content(blob)?;
                let blob = OutgoingBlob { digest: blob.digest(), size: blob.size(), content };
                Ok::<_, PublishError>(repository.send_blob(&blob)?)
            })
        };
        let kind = document.descriptor.media_type();
        repository.push_manifest(name, kind, &document.bytes, resend).map(drop)
    }

    fn push_attached(&self, repository: &Repository, tree: &AttachedTree) -> Result<(), PublishError> {
        let Some((root, below)) = tree.documents.split_last() else { return Ok(()) };
        for document in below {
            self.push(repository, &document.descriptor.digest().to_string(), document)?;
        }
        match &tree.link {
            AttachmentLink::Tag(tag) => self.push(repository, tag, root),
            AttachmentLink::Subject { subject, entry } => {
                let kind = root.descriptor.media_type();
                match repository.push_referrer(kind, &root.bytes, subject)? {
                    true => Ok(()),
                    false => list(repository, entry, subject),
                }
            }
        }
    }

    fn content(&self, blob: &Descriptor) -> Result<BlobContent, PublishError> {
        self.image.bring(blob, self.store())?;
        Ok(BlobContent::File(Arc::new(self.store().open_blob(&blob.digest())?)))
    }

    fn to_layout(&self, directory: &Path, tag: &str) -> Result<(), PublishError> {
        let LayoutWriting { mut index, blobs, _alone } = LayoutWriting::begin(directory)?;
        pool::run(self.blobs().into_values(), AT_ONCE, |blob| {
            if !has(self.store(), &blobs, &blob.digest()) {
                self.image.bring(blob, self.store())?;
                place(self.store(), &blobs, &blob.digest(), blob.size())?;
            }
            Ok::<_, PublishError>(())
        })?;
        for document in self.image.all_documents() {
            write(&blobs.join(document.descriptor.digest().hex()), &document.bytes)?;
        }
        layout::sync(&blobs)?;
        let replaced = index.put(tagged(&self.image.root().descriptor, tag), tag);
        index.forget_attached(&replaced, &directory.join("blobs"));
        self.list_attached(&mut index);
        layout::finish(directory, &index)
    }

    fn list_attached(&self, index: &mut IndexDocument) {
        for tree in &self.image.attached {
            match (&tree.link, tree.documents.last()) {
                (AttachmentLink::Subject { entry, .. }, _) => index.add(entry),
                (AttachmentLink::Tag(tag), Some(root)) => {
                    drop(index.put(tagged(&root.descriptor, tag), tag));
                }
                (AttachmentLink::Tag(_), None) => {}
            }
        }
    }

    fn to_archive(&self, file: &Path, name: &str, behind: Option<&str>) -> Result<(), PublishError> {
        let blobs = self.blobs();
        pool::run(blobs.values(), AT_ONCE, |blob| self.image.bring(blob, self.store()))?;
        let ArchivedName { whole, tag } = ArchivedName::of(name, behind);
        let mut index = IndexDocument::new();
        index.put(named_in_archive(&self.image.root().descriptor, &whole, &tag), &tag);
        self.list_attached(&mut index);
        let all: Vec<Digest> = blobs.keys().copied().collect();
        archive::put(file, &all, self.store(), |archive| self.write_archive(archive, &index))
    }

    fn write_archive(&self, archive: &mut ArchiveWriter, index: &IndexDocument) -> io::Result<()> {
        archive.layout_directories()?;
        let documents: BTreeMap<Digest, &[u8]> =
            self.image.all_documents().map(|it| (it.descriptor.digest(), &*it.bytes)).collect();
        for (digest, bytes) in documents {
            archive.bytes(&blob_path(&digest), bytes)?;
        }
        for (digest, blob) in self.blobs() {
            let content = self.store().open_blob(&digest).map_err(io::Error::other)?;
            archive.blob(&digest, blob.size(), &content)?;
        }
        archive.bytes("index.json", &index.to_json()?)?;
        archive.bytes("oci-layout", layout::LAYOUT.as_bytes())
    }
}
