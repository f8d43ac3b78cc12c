//! An image in a registry: the blobs that it lacks, then the manifests, and last what its tag names.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{PublishError, Publishing};
use crate::image::PublishedImage;
use crate::net::registry::{BlobContent, LackedBlobs, OutgoingBlob, Pushed};
use crate::oci::{Digest, ImageReference};
use crate::pool;

/// The blobs that are pushed at once.
const PUSHES: usize = 4;

/// Pushes `image` to the repository and the tag that `reference` names.
///
/// The tag is last: it never names an image of which something is missing.
pub(super) fn publish(
    image: &PublishedImage,
    reference: &ImageReference,
    publishing: &Publishing<'_>,
) -> Result<(), PublishError> {
    let repository = publishing.registries.repository(reference)?;
    let mut blobs: BTreeMap<Digest, u64> = image.layers();
    let mut ordered: Vec<Digest> = blobs.keys().copied().collect();
    // The largest first, so that the last one is small.
    ordered.sort_by_key(|digest| std::cmp::Reverse(blobs[digest]));
    for (digest, small) in image.small_blobs() {
        blobs.insert(digest, small.descriptor.size());
        ordered.push(digest);
    }
    let content = |digest: &Digest| content(image, digest, publishing);

    pool::run(&ordered, PUSHES, |digest| {
        let pushed = repository.push_blob(*digest, blobs[digest], || content(digest))?;
        (publishing.progress)(blobs[digest]);
        Ok::<Pushed, PublishError>(pushed)
    })?;
    let resend = |lacked: &LackedBlobs| {
        // It said to have them: they are sent once more, and then it has to.
        pool::run(&lacked.among(&ordered), PUSHES, |digest| {
            let blob = OutgoingBlob { digest: *digest, size: blobs[digest], content: content(digest)? };
            Ok::<_, PublishError>(repository.send_blob(&blob)?)
        })
        .map(drop)
    };
    let tag = reference.tag().unwrap_or("latest");
    image.manifests().into_iter().try_for_each(|manifest| {
        let digest = manifest.descriptor.digest();
        let is_tagged = digest == image.descriptor().digest();
        let name = if is_tagged { tag.to_owned() } else { digest.to_string() };
        repository.push_manifest(&name, manifest.descriptor.media_type(), manifest.bytes, resend).map(drop)
    })
}

/// The bytes of a blob: small ones are in memory, layers are in the store, or brought there when they are sent.
fn content(
    image: &PublishedImage,
    digest: &Digest,
    publishing: &Publishing<'_>,
) -> Result<BlobContent, PublishError> {
    if let Some(small) = image.small_blobs().get(digest) {
        return Ok(BlobContent::Bytes(small.bytes.to_vec()));
    }
    if !publishing.store.has_blob(digest, None) {
        (publishing.cached)(digest)?;
    }
    publishing.bring(&|wanted| wanted == digest)?;
    Ok(BlobContent::File(Arc::new(publishing.store.open_blob(digest)?)))
}
