//! The documents that a published image is given: bills of materials, provenance, a signature.

use serde_json::{Map, Value};

use super::recipe_source::RecipeSource;
use super::{Planned, Session, image_base, lock_file, sbom};
use crate::attest::attestation::{self, Attestation, PREDICATE_ANNOTATION, STATEMENT};
use crate::attest::key::{PublicKey, SigningKey};
use crate::attest::provenance::{self, BuildFacts, PREDICATE};
use crate::attest::signature::{self, ImageSignature};
use crate::attest::{self, Artifact, verification};
use crate::destination::{self, Attachments, Publishing};
use crate::failure::{Context, Result};
use crate::image::{Image, IndexCompanion, PublishedImage};
use crate::lock::RecipeFingerprint;
use crate::oci::Digest;
use crate::oci::image::from_json;
use crate::place::ImagePlace;
use crate::sbom::{Bill, BillFormat};
use crate::source;
use crate::store::Store;

/// The documents that a published image is to be given.
#[derive(Debug, Default)]
pub struct ReleaseOrder {
    /// The formats of its bill of materials.
    pub bills: Vec<BillFormat>,
    /// Says how it was built.
    pub provenance: bool,
    /// The key that signs it.
    pub key: Option<SigningKey>,
    /// The place of the documents.
    pub placing: DocumentPlacing,
}

/// The place of what is said about an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DocumentPlacing {
    /// Artifacts that refer to the image.
    #[default]
    Referrers,
    /// A manifest beside the image in an index.
    Index,
}

impl ReleaseOrder {
    fn is_empty(&self) -> bool {
        self.bills.is_empty() && !self.provenance && self.key.is_none()
    }

    /// Refuses, before anything is done, destinations that take images alone.
    pub(super) fn check(&self, destinations: &[ImagePlace]) -> Result<()> {
        let check = match (self.placing, &self.key) {
            _ if self.is_empty() => return Ok(()),
            (DocumentPlacing::Index, None) => destination::check_takes_index,
            _ => destination::check_takes_attachments,
        };
        Ok(destinations.iter().try_for_each(check)?)
    }
}

/// Statements about an image of this name.
#[derive(Debug)]
pub(super) struct Statements<'a> {
    name: &'a str,
    image: &'a Image,
    said: Vec<Said>,
}

/// Something that is said about an image.
#[derive(Debug)]
struct Said {
    /// The document that refers to the image.
    document: Value,
    media_type: &'static str,
    /// The type of the predicate, and the statement, as they are signed.
    predicate: &'static str,
    statement: Value,
}

impl<'a> Statements<'a> {
    /// No statement.
    pub(super) fn new(name: &'a str, image: &'a Image) -> Self {
        Self { name, image, said: Vec::new() }
    }

    /// Adds the bill in the formats that are asked for; it is made where there are any.
    pub(super) fn add_bill_of(
        &mut self,
        order: &ReleaseOrder,
        bill: impl FnOnce() -> Result<Bill>,
    ) -> Result<()> {
        if order.bills.is_empty() {
            return Ok(());
        }
        let (bill, digest) = (bill()?, self.image.manifest.digest());
        for format in &order.bills {
            let (document, predicate) = (bill.document(*format), format.predicate());
            let statement = attestation::statement(self.name, &digest, predicate, &document);
            let media_type = format.media_type();
            self.said.push(Said { document, media_type, predicate, statement });
        }
        Ok(())
    }

    /// Adds how the image was built.
    fn add_provenance(&mut self, statement: Value) {
        let document = statement.clone();
        self.said.push(Said { document, media_type: STATEMENT, predicate: PREDICATE, statement });
    }

    /// The statements that `order` asks for about an image that was built of `recipe`.
    pub(super) fn of_built(
        order: &ReleaseOrder,
        recipe: RecipeSource<'_>,
        planned: &'a Planned,
        image: &'a Image,
        store: &Store,
    ) -> Result<Self> {
        let mut statements = Self::new(&planned.inputs.name, image);
        statements.add_bill_of(order, || sbom::of_built(planned, image, store))?;
        if order.provenance {
            statements.add_provenance(provenance_of(recipe, planned, image)?);
        }
        Ok(statements)
    }

    /// The artifacts that refer to the image.
    fn artifacts(&self) -> Result<Vec<Artifact>> {
        let config: Map<String, Value> =
            from_json(&self.image.config_bytes).context("could not read the image's config")?;
        let created = image_base::created(&config);
        let artifacts = self.said.iter().map(|said| {
            let is_statement = said.media_type == STATEMENT;
            let predicate =
                is_statement.then(|| (PREDICATE_ANNOTATION.to_owned(), said.predicate.to_owned()));
            let (document, annotations) =
                (serde_json::to_vec(&said.document)?, predicate.into_iter().collect());
            Artifact::of(said.media_type, document, &annotations, &self.image.manifest, created)
        });
        Ok(artifacts.collect::<Result<_, _>>()?)
    }

    /// A manifest of them to stand beside the image in an index; `None` where nothing is said.
    fn beside(&self) -> Result<Option<IndexCompanion>> {
        let said: Vec<_> = self.said.iter().map(|said| (said.predicate, &said.statement)).collect();
        match said.is_empty() {
            true => Ok(None),
            false => Ok(Some(attest::beside(&said, &self.image.manifest)?)),
        }
    }

    /// The same, signed.
    fn attestations(&self, key: &SigningKey) -> Result<Vec<Attestation>> {
        let signed = self.said.iter().map(|said| Attestation::of(key, &said.statement, said.predicate));
        Ok(signed.collect::<Result<_, _>>()?)
    }
}

/// The images that `statements` are about, as they are published: in an index with these where that is asked for.
pub(super) fn published(order: &ReleaseOrder, statements: &[Statements<'_>]) -> Result<PublishedImage> {
    let images = statements.iter().map(|of_image| of_image.image.clone()).collect();
    let beside = match order.placing {
        DocumentPlacing::Referrers => Vec::new(),
        DocumentPlacing::Index => {
            let beside = statements.iter().filter_map(|of_image| of_image.beside().transpose());
            beside.collect::<Result<_>>()?
        }
    };
    Ok(PublishedImage::of(images, beside)?)
}

fn provenance_of(recipe: RecipeSource<'_>, planned: &Planned, image: &Image) -> Result<Value> {
    let lock = recipe.lock().path;
    let lock = match lock.is_file() {
        true => Some(Digest::of(lock_file::read(&lock)?.to_text()?)),
        false => None,
    };
    let base = planned.sources.base.origin();
    let base = base.and_then(|base| Some((base.place.as_str(), base.digest.as_ref()?)));
    Ok(provenance::statement(&BuildFacts {
        name: &planned.inputs.name,
        image: &image.manifest.digest(),
        recipe: &recipe.file.file_name().unwrap_or_default().to_string_lossy(),
        fingerprint: &RecipeFingerprint::of(&planned.inputs)?,
        lock: lock.as_ref(),
        base,
        plan: &planned.plan,
    })?)
}

/// Gives an image, which was published at `destinations`, its statements and its signature.
pub(super) fn attach(
    order: &ReleaseOrder,
    statements: &Statements<'_>,
    destinations: &[ImagePlace],
    session: &Session<'_>,
) -> Result<()> {
    let is_in_index = order.placing == DocumentPlacing::Index;
    if order.is_empty() || (is_in_index && order.key.is_none()) {
        return Ok(());
    }
    session.progress.stage("attaching what goes with the image");
    let attestations = order.key.as_ref().map(|key| statements.attestations(key)).transpose()?;
    let unsigned = Attachments {
        artifacts: if is_in_index { Vec::new() } else { statements.artifacts()? },
        attestations: attestations.unwrap_or_default(),
        signature: None,
    };
    let digest = statements.image.manifest.digest();
    attach_signed(order, statements.name, &digest, &unsigned, destinations, session)
}

/// Gives an index over images its signature; what is said of them goes with each.
pub(super) fn sign(
    order: &ReleaseOrder,
    name: &str,
    index: &Digest,
    destinations: &[ImagePlace],
    session: &Session<'_>,
) -> Result<()> {
    match order.key {
        Some(_) => attach_signed(order, name, index, &Attachments::default(), destinations, session),
        None => Ok(()),
    }
}

fn attach_signed(
    order: &ReleaseOrder,
    name: &str,
    digest: &Digest,
    unsigned: &Attachments,
    destinations: &[ImagePlace],
    session: &Session<'_>,
) -> Result<()> {
    for destination in destinations {
        let signature = order.key.as_ref().map(|key| signed(key, destination, name, digest));
        let attachments = Attachments { signature: signature.transpose()?, ..unsigned.clone() };
        let publishing = Publishing {
            store: &session.store,
            registries: &session.registries,
            engines: &session.engines,
            cached: &|_| Ok(()),
            origins: &[],
            progress: &|_| (),
        };
        destination::attach(&attachments, digest, destination, &publishing)?;
    }
    Ok(())
}

/// The signature of an image under the name that it has at a place.
fn signed(key: &SigningKey, place: &ImagePlace, name: &str, digest: &Digest) -> Result<ImageSignature> {
    let repository = match place {
        ImagePlace::Registry(reference) => format!("{}/{}", reference.registry(), reference.repository()),
        ImagePlace::OciLayout { .. }
        | ImagePlace::OciArchive { .. }
        | ImagePlace::DockerArchive { .. }
        | ImagePlace::Engine { .. } => name.to_owned(),
    };
    Ok(signature::sign(key, &repository, digest)?)
}

/// Verifies that the key signed what `place` names now; gives the digest of that.
pub fn verify(place: &ImagePlace, key: &PublicKey, session: &Session<'_>) -> Result<Digest> {
    session.progress.stage(&format!("reading {place}"));
    let image = source::signed_image(place, session.sources())?;
    verification::verify(key, &image.digest, &image.signatures)
        .with_context(|| format!("`{place}` is not verified"))?;
    Ok(image.digest)
}
