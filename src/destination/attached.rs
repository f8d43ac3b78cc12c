//! The companions of a published image: artifacts that refer to it, and signatures.

use std::fs;
use std::path::Path;

use oci_spec::image::MediaType;
use serde_json::Value;

use super::index::IndexDocument;
use super::layout::{alone, blobs_of, remove_unused, write};
use super::{PublishError, Publishing};
use crate::attest::attestation::{self, Attestation};
use crate::attest::signature::{self, ImageSignature, SignatureManifest};
use crate::attest::{Artifact, attestation_tag, referrers_tag, referrers_with, signature_tag};
use crate::net::registry::{Repository, TaggedDocument};
use crate::oci::{Descriptor, Digest, ImageReference};
use crate::place::ImagePlace;

/// The companions of an image at one place.
#[derive(Debug, Clone, Default)]
pub struct Attachments {
    /// Artifacts that refer to the image.
    pub artifacts: Vec<Artifact>,
    /// Statements about the image that are signed.
    pub attestations: Vec<Attestation>,
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

/// Refuses places that hold an image without an index, in which anything could be beside it.
pub fn check_takes_index(place: &ImagePlace) -> Result<(), PublishError> {
    match super::holds_one_platform(place) {
        true => Err(PublishError::TakesNoAttachments { place: place.to_string() }),
        false => Ok(()),
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
    for document in attachments.tagged(digest) {
        let tag = &document.tag;
        let there = index.tagged(tag).and_then(|digest| fs::read(blobs.join(digest.hex())).ok());
        if let Some(SignatureManifest { manifest, config }) = document.added_to(there.as_deref())? {
            [document.blob, &config, &manifest].into_iter().try_for_each(put)?;
            let entry = Descriptor::of(MediaType::ImageManifest, &manifest);
            let name = (oci_spec::image::ANNOTATION_REF_NAME.to_owned(), tag.clone());
            index.put(entry.with_annotations(&[name].into()), tag);
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
        if !repository.push_referrer(&MediaType::ImageManifest, &artifact.manifest, digest)? {
            list(&repository, &artifact.entry, digest)?;
        }
    }
    for document in attachments.tagged(digest) {
        repository.change_tagged(&document.tag, |there| {
            let changed = document.added_to(there)?;
            Ok::<_, PublishError>(changed.map(|SignatureManifest { manifest, config }| TaggedDocument {
                media_type: MediaType::ImageManifest,
                bytes: manifest,
                blobs: vec![document.blob.to_vec(), config],
            }))
        })?;
    }
    Ok(())
}

/// Lists a referrer by its `entry` under the tag by which clients find it where the registry keeps no referrers.
pub(super) fn list(repository: &Repository, entry: &Value, digest: &Digest) -> Result<(), PublishError> {
    let tag = referrers_tag(digest);
    repository.change_tagged(&tag, |there| {
        let changed = referrers_with(there, entry);
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

/// A document under a tag that has others of its kind.
struct CompanionDocument<'a> {
    tag: String,
    blob: &'a [u8],
    kind: CompanionKind<'a>,
}

enum CompanionKind<'a> {
    Signature(&'a ImageSignature),
    Attestation(&'a Attestation),
}

impl Attachments {
    /// The documents under tags made of the image's digest; the signature is last, as it says that all is there.
    fn tagged(&self, digest: &Digest) -> Vec<CompanionDocument<'_>> {
        let attestations = self.attestations.iter().map(|it| CompanionDocument {
            tag: attestation_tag(digest),
            blob: &it.envelope,
            kind: CompanionKind::Attestation(it),
        });
        let signature = self.signature.iter().map(|it| CompanionDocument {
            tag: signature_tag(digest),
            blob: &it.payload,
            kind: CompanionKind::Signature(it),
        });
        attestations.chain(signature).collect()
    }
}

impl CompanionDocument<'_> {
    /// The manifest with it; `None` where it is there.
    fn added_to(&self, there: Option<&[u8]>) -> Result<Option<SignatureManifest>, PublishError> {
        let added = match self.kind {
            CompanionKind::Signature(signature) => signature::with_signature(there, signature),
            CompanionKind::Attestation(attestation) => attestation::with_attestation(there, attestation),
        };
        let tag = self.tag.clone();
        added.map_err(|source| PublishError::Attached { document: "the list of signatures", tag, source })
    }
}
