//! The documents that a published image is given: bills of materials, provenance, a signature.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::{Planned, Session, image_base, lock_file, sbom};
use crate::attest::key::{PublicKey, SigningKey};
use crate::attest::provenance::{self, BuildFacts, PREDICATE, PREDICATE_ANNOTATION, STATEMENT};
use crate::attest::signature::{self, ImageSignature};
use crate::attest::{Artifact, verification};
use crate::destination::{self, Attachments, Publishing};
use crate::failure::{Context, Result};
use crate::image::Image;
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
}

impl ReleaseOrder {
    fn is_empty(&self) -> bool {
        self.bills.is_empty() && !self.provenance && self.key.is_none()
    }

    /// Refuses, before anything is done, destinations that take images alone.
    pub(super) fn check(&self, destinations: &[ImagePlace]) -> Result<()> {
        match self.is_empty() {
            true => Ok(()),
            false => Ok(destinations.iter().try_for_each(destination::check_takes_attachments)?),
        }
    }
}

/// Statements about an image: each by its media type, with annotations.
#[derive(Debug, Default)]
pub(super) struct Statements {
    documents: Vec<(&'static str, Vec<u8>, BTreeMap<String, String>)>,
}

impl Statements {
    /// Adds the bill in the formats that are asked for; it is made where there are any.
    pub fn add_bill_of(&mut self, order: &ReleaseOrder, bill: impl FnOnce() -> Result<Bill>) -> Result<()> {
        if order.bills.is_empty() {
            return Ok(());
        }
        let bill = bill()?;
        for format in &order.bills {
            let document = serde_json::to_vec(&bill.document(*format))?;
            self.documents.push((format.media_type(), document, BTreeMap::new()));
        }
        Ok(())
    }

    /// Adds how an image was built.
    fn add_statement(&mut self, statement: &Value) -> Result<()> {
        let annotations = [(PREDICATE_ANNOTATION.to_owned(), PREDICATE.to_owned())].into();
        self.documents.push((STATEMENT, serde_json::to_vec(statement)?, annotations));
        Ok(())
    }

    /// The statements that `order` asks for about an image that was built of the recipe at `path`.
    pub fn of_built(
        order: &ReleaseOrder,
        path: &Path,
        planned: &Planned,
        image: &Image,
        store: &Store,
    ) -> Result<Self> {
        let mut statements = Self::default();
        statements.add_bill_of(order, || sbom::of_built(planned, image, store))?;
        if order.provenance {
            statements.add_statement(&provenance_of(path, planned, image)?)?;
        }
        Ok(statements)
    }

    /// The artifacts that refer to an image.
    fn artifacts(self, image: &Image) -> Result<Vec<Artifact>> {
        let config: Map<String, Value> =
            from_json(&image.config_bytes).context("could not read the image's config")?;
        let created = image_base::created(&config);
        let artifacts = self.documents.into_iter().map(|(media_type, document, annotations)| {
            Artifact::of(media_type, document, &annotations, &image.manifest, created)
        });
        Ok(artifacts.collect::<Result<_, _>>()?)
    }
}

fn provenance_of(path: &Path, planned: &Planned, image: &Image) -> Result<Value> {
    let lock = lock_file::path(path);
    let lock = match lock.is_file() {
        true => Some(Digest::of(lock_file::read(&lock)?.to_text()?)),
        false => None,
    };
    let base = planned.sources.base.origin();
    let base = base.and_then(|base| Some((base.place.as_str(), base.digest.as_ref()?)));
    Ok(provenance::statement(&BuildFacts {
        name: &planned.inputs.name,
        image: &image.manifest.digest(),
        recipe: &path.file_name().unwrap_or_default().to_string_lossy(),
        fingerprint: &RecipeFingerprint::of(&planned.inputs)?,
        lock: lock.as_ref(),
        base,
        plan: &planned.plan,
    })?)
}

/// Gives the image, which was published at `destinations`, its statements and its signature.
pub(super) fn attach(
    order: &ReleaseOrder,
    statements: Statements,
    image: &Image,
    name: &str,
    destinations: &[ImagePlace],
    session: &Session<'_>,
) -> Result<()> {
    if order.is_empty() {
        return Ok(());
    }
    session.progress.stage("attaching what goes with the image");
    let artifacts = statements.artifacts(image)?;
    let digest = image.manifest.digest();
    for destination in destinations {
        let signature = order.key.as_ref().map(|key| signed(key, destination, name, &digest));
        let attachments = Attachments { artifacts: artifacts.clone(), signature: signature.transpose()? };
        let publishing = Publishing {
            store: &session.store,
            registries: &session.registries,
            engines: &session.engines,
            origins: &[],
            progress: &|_| (),
        };
        destination::attach(&attachments, &digest, destination, &publishing)?;
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
