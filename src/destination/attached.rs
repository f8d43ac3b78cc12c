//! The companions of a published image: artifacts that refer to it, and signatures.

use std::fs;
use std::path::Path;

use oci_spec::image::MediaType;

use super::index::IndexDocument;
use super::layout::{alone, blobs_of, remove_unused, write};
use super::{PublishError, Publishing};
use crate::attest::signature::{self, ImageSignature, SignatureManifest};
use crate::attest::{Artifact, referrers_tag, referrers_with, signature_tag};
use crate::net::registry::{Repository, TaggedDocument};
use crate::oci::{Descriptor, Digest, ImageReference};
use crate::place::ImagePlace;

/// The companions of an image at one place.
#[derive(Debug, Clone, Default)]
pub struct Attachments {
    /// Artifacts that refer to the image.
    pub artifacts: Vec<Artifact>,
    /// The signature of the image under its name at the place.
    pub signature: Option<ImageSignature>,
}

/// Refuses places that take images alone.
pub fn check_takes_attachments(place: &ImagePlace) -> Result<(), PublishError> {
    match place {
        ImagePlace::OciLayout { .. } | ImagePlace::Registry(_) => Ok(()),
        ImagePlace::OciArchive { .. } | ImagePlace::DockerArchive { .. } | ImagePlace::Engine { .. } => {
            Err(PublishError::TakesNoAttachments { place: place.to_string() })
        }
    }
}

/// Publishes what goes with the image of `digest` that is at `place`.
pub fn attach(
    attachments: &Attachments,
    digest: &Digest,
    place: &ImagePlace,
    publishing: &Publishing<'_>,
) -> Result<(), PublishError> {
    check_takes_attachments(place)?;
    match place {
        ImagePlace::OciLayout { directory, .. } => to_layout(attachments, digest, directory),
        ImagePlace::Registry(reference) => to_registry(attachments, digest, reference, publishing),
        ImagePlace::OciArchive { .. } | ImagePlace::DockerArchive { .. } | ImagePlace::Engine { .. } => {
            Ok(())
        }
    }
}

/// Lists the artifacts without tags, as tools for layouts do, and the signatures under their tag.
fn to_layout(attachments: &Attachments, digest: &Digest, directory: &Path) -> Result<(), PublishError> {
    let _alone = alone(directory);
    let blobs = blobs_of(directory);
    let put = |bytes: &[u8]| write(&blobs.join(Digest::of(bytes).hex()), bytes);
    let path = directory.join("index.json");
    let mut index = IndexDocument::read(&path)?;
    for artifact in &attachments.artifacts {
        artifact.blobs.iter().try_for_each(|blob| put(blob))?;
        put(&artifact.manifest)?;
        index.add(&artifact.entry);
    }
    if let Some(signature) = &attachments.signature {
        let tag = signature_tag(digest);
        let there = index.tagged(&tag).and_then(|digest| fs::read(blobs.join(digest.hex())).ok());
        if let Some(SignatureManifest { manifest, config }) = signed(there.as_deref(), signature, &tag)? {
            [&signature.payload, &config, &manifest].into_iter().try_for_each(|bytes| put(bytes))?;
            let size = manifest.len() as u64;
            let entry = Descriptor::new(MediaType::ImageManifest, Digest::of(&manifest), size);
            let name = (oci_spec::image::ANNOTATION_REF_NAME.to_owned(), tag.clone());
            index.put(entry.with_annotations(&[name].into()), &tag);
        }
    }
    write(&path, &index.to_json().map_err(PublishError::write(&path))?)?;
    remove_unused(directory, &index)
}

fn to_registry(
    attachments: &Attachments,
    digest: &Digest,
    reference: &ImageReference,
    publishing: &Publishing<'_>,
) -> Result<(), PublishError> {
    let repository = publishing.registries.repository(reference)?;
    for artifact in &attachments.artifacts {
        repository.push_small_blobs(&artifact.blobs)?;
        if !repository.push_referrer(&artifact.manifest, digest)? {
            list(&repository, artifact, digest)?;
        }
    }
    let Some(signature) = &attachments.signature else { return Ok(()) };
    let tag = signature_tag(digest);
    repository.change_tagged(&tag, |there| {
        let changed = signed(there, signature, &tag)?;
        Ok::<_, PublishError>(changed.map(|SignatureManifest { manifest, config }| TaggedDocument {
            media_type: MediaType::ImageManifest,
            bytes: manifest,
            blobs: vec![signature.payload.clone(), config],
        }))
    })
}

/// Lists an artifact under the tag by which clients find it where the registry keeps no referrers.
fn list(repository: &Repository, artifact: &Artifact, digest: &Digest) -> Result<(), PublishError> {
    let tag = referrers_tag(digest);
    repository.change_tagged(&tag, |there| {
        let changed = referrers_with(there, &artifact.entry);
        let changed = changed.map_err(|source| PublishError::Attached {
            document: "the list of referrers",
            tag: tag.clone(),
            source,
        })?;
        Ok::<_, PublishError>(changed.map(|bytes| TaggedDocument {
            media_type: MediaType::ImageIndex,
            bytes,
            blobs: Vec::new(),
        }))
    })
}

fn signed(
    there: Option<&[u8]>,
    signature: &ImageSignature,
    tag: &str,
) -> Result<Option<SignatureManifest>, PublishError> {
    signature::with_signature(there, signature).map_err(|source| PublishError::Attached {
        document: "the list of signatures",
        tag: tag.to_owned(),
        source,
    })
}
