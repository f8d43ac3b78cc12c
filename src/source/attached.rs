//! The signatures that go with an image, as they are at its place.

use std::io::Read;
use std::path::Path;

use oci_spec::image::{ANNOTATION_REF_NAME, ImageIndex};

use super::documents::{self, MAX_DOCUMENT};
use super::layout::{self, INDEX_FILE};
use super::{SourceAccess, SourceError, selector};
use crate::attest::signature::{ImageSignature, ListedSignature, listed};
use crate::attest::signature_tag;
use crate::attest::verification::FoundSignature;
use crate::net::registry::Repository;
use crate::oci::image::MediaType;
use crate::oci::{Descriptor, Digest, ImageReference};
use crate::place::ImagePlace;
use crate::plain_file;

/// The bytes of a signature's payload: real ones have some 250.
const LONGEST_PAYLOAD: u64 = 64 << 10;

/// The digest of what a place names, and its signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedImage {
    /// The digest of the manifest or index.
    pub digest: Digest,
    /// Its signatures, whoever made them.
    pub signatures: Vec<FoundSignature>,
}

/// Reads the digest of what `place` names, and its signatures.
pub fn signed_image(place: &ImagePlace, access: SourceAccess<'_>) -> Result<SignedImage, SourceError> {
    match place {
        ImagePlace::Registry(reference) => in_registry(reference, &place.to_string(), access),
        ImagePlace::OciLayout { directory, tag } => {
            let (directory, tag) = selector::split(directory, tag.as_deref());
            in_layout(&directory, tag.as_deref(), &place.to_string())
        }
        ImagePlace::OciArchive { .. } | ImagePlace::DockerArchive { .. } | ImagePlace::Engine { .. } => {
            Err(SourceError::NoSignatures { image: place.to_string() })
        }
    }
}

fn in_registry(
    reference: &ImageReference,
    place: &str,
    access: SourceAccess<'_>,
) -> Result<SignedImage, SourceError> {
    let failed = SourceError::http(place);
    let repository = access.registries.repository(reference).map_err(failed)?;
    let received = repository.manifest().map_err(SourceError::http(place))?;
    let digest = Digest::of(&received.bytes);
    let manifest = repository.tagged_document(&signature_tag(&digest)).map_err(SourceError::http(place))?;
    let payload = |listed: &ListedSignature| payload_in_registry(&repository, listed, place);
    Ok(SignedImage { digest, signatures: found(manifest.as_deref(), place, payload)? })
}

fn payload_in_registry(
    repository: &Repository,
    listed: &ListedSignature,
    place: &str,
) -> Result<Vec<u8>, SourceError> {
    let blob = Descriptor::new(MediaType::Other(String::new()), listed.payload, listed.size);
    let failed = |source| SourceError::blob(place, &listed.payload, source);
    let mut bytes = Vec::new();
    let opened = repository.open_blob(&blob).map_err(SourceError::http(place))?;
    opened.take(listed.size.min(LONGEST_PAYLOAD) + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn in_layout(directory: &Path, tag: Option<&str>, place: &str) -> Result<SignedImage, SourceError> {
    let index = directory.join(INDEX_FILE);
    let bytes = plain_file::read(&index, MAX_DOCUMENT).map_err(SourceError::read(&index))?;
    let root = documents::root_of_index(&bytes, tag, layout::blobs(directory).as_ref(), place)?;
    let index: ImageIndex = documents::parse(&bytes, "the index", place)?;
    let tag = signature_tag(&root.digest());
    let has_tag = |it: &&oci_spec::image::Descriptor| {
        it.annotations().as_ref().is_some_and(|all| all.get(ANNOTATION_REF_NAME) == Some(&tag))
    };
    let read = |digest: &str, limit| {
        let digest: Digest = digest
            .parse()
            .map_err(|_| SourceError::Algorithm { image: place.to_owned(), digest: digest.to_owned() })?;
        let path = directory.join("blobs/sha256").join(digest.hex());
        let bytes =
            plain_file::read(&path, limit).map_err(|error| SourceError::blob(place, &digest, error))?;
        Ok::<_, SourceError>((digest, bytes))
    };
    let manifest = match index.manifests().iter().find(has_tag) {
        Some(entry) => {
            let (expected, bytes) = read(entry.digest().as_ref(), MAX_DOCUMENT)?;
            match Digest::of(&bytes) {
                actual if actual == expected => Some(bytes),
                actual => return Err(SourceError::Digest { image: place.to_owned(), expected, actual }),
            }
        }
        None => None,
    };
    let payload = |listed: &ListedSignature| Ok(read(&listed.payload.to_string(), LONGEST_PAYLOAD)?.1);
    Ok(SignedImage { digest: root.digest(), signatures: found(manifest.as_deref(), place, payload)? })
}

/// The signatures of a manifest, whose payloads are held against their digests.
fn found(
    manifest: Option<&[u8]>,
    place: &str,
    payload: impl Fn(&ListedSignature) -> Result<Vec<u8>, SourceError>,
) -> Result<Vec<FoundSignature>, SourceError> {
    let Some(manifest) = manifest else { return Ok(Vec::new()) };
    let listed = listed(manifest).map_err(|source| SourceError::Document {
        image: place.to_owned(),
        document: "the list of signatures".to_owned(),
        source,
    })?;
    let whole = |listed: ListedSignature| {
        let payload = payload(&listed)?;
        Ok(match Digest::of(&payload) == listed.payload {
            true => FoundSignature::Whole(ImageSignature { payload, signature: listed.signature }),
            false => FoundSignature::Changed { expected: listed.payload },
        })
    };
    listed.into_iter().map(whole).collect()
}
