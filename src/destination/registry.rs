//! An image in a registry: the blobs that it lacks, then the manifest under its tag.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{PublishError, Publishing};
use crate::image::{Image, ImageLayer};
use crate::net::registry::{BlobContent, LackedBlobs, OutgoingBlob, Pushed};
use crate::oci::{Digest, ImageReference};
use crate::pool;

/// The blobs that are pushed at once.
const PUSHES: usize = 4;

/// Pushes `image` to the repository and the tag that `reference` names.
///
/// The tag is last: it never names an image of which something is missing.
pub(super) fn publish(
    image: &Image,
    reference: &ImageReference,
    publishing: &Publishing<'_>,
) -> Result<(), PublishError> {
    let repository = publishing.registries.repository(reference)?;
    let mut blobs: BTreeMap<Digest, u64> =
        image.layers.iter().map(|layer: &ImageLayer| (layer.digest, layer.size)).collect();
    let mut ordered: Vec<Digest> = blobs.keys().copied().collect();
    // The largest first, so that the last one is small.
    ordered.sort_by_key(|digest| std::cmp::Reverse(blobs[digest]));
    blobs.insert(image.config.digest(), image.config.size());
    ordered.push(image.config.digest());
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
    repository.push_manifest(tag, image.manifest.media_type(), &image.manifest_bytes, resend).map(drop)
}

/// The bytes of a blob: the config is in memory, layers are in the store, or brought there when they are sent.
fn content(image: &Image, digest: &Digest, publishing: &Publishing<'_>) -> Result<BlobContent, PublishError> {
    if *digest == image.config.digest() {
        return Ok(BlobContent::Bytes(image.config_bytes.clone()));
    }
    if !publishing.store.has_blob(digest, None) {
        (publishing.cached)(digest)?;
    }
    publishing.bring(&|wanted| wanted == digest)?;
    Ok(BlobContent::File(Arc::new(publishing.store.open_blob(digest)?)))
}
