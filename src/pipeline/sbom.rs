//! `sbom`: the bill of materials of an image.

use serde_json::{Map, Value};

use super::check::config_facts;
use super::{Planned, Session, image_base};
use crate::base::scan;
use crate::failure::{Context, Result};
use crate::image::Image;
use crate::layer::records;
use crate::observe::check_facts::CheckFacts;
use crate::observe::inventory_facts::InventoryFacts;
use crate::oci::image::from_json;
use crate::oci::{Architecture, Digest};
use crate::place::ImagePlace;
use crate::plan::LayerPlan;
use crate::sbom::{self, Bill, BillContents, BillSubject, KnownDigests};
use crate::source;
use crate::store::Store;

/// The bill of the image at `place`: reads the layers that were never read before.
pub fn sbom(place: &ImagePlace, architecture: Option<Architecture>, session: &Session<'_>) -> Result<Bill> {
    let image = source::open(place, architecture, session.sources())?;
    image_base::scan(&image, session)?;
    let layers: Vec<Digest> = image.layers.iter().map(|layer| layer.descriptor.digest()).collect();
    let read = ReadImage {
        name: &place.short_name(),
        digest: image.digest.unwrap_or_else(|| Digest::of(&image.config)),
        architecture: image.architecture,
        config: &image.config,
        layers: &layers,
    };
    read.bill(&KnownDigests::default(), &session.store)
}

/// The bill of an image that was built.
pub(super) fn of_built(planned: &Planned, image: &Image, store: &Store) -> Result<Bill> {
    of_image(&planned.inputs.name, planned.plan.architecture, image, &known(planned), store)
}

/// The bill of an image, whose layers were all read or written.
pub(super) fn of_image(
    name: &str,
    architecture: Architecture,
    image: &Image,
    known: &KnownDigests,
    store: &Store,
) -> Result<Bill> {
    let layers: Vec<Digest> = image.layers.iter().map(|layer| layer.digest).collect();
    let digest = image.manifest.digest();
    let read = ReadImage { name, digest, architecture, config: &image.config_bytes, layers: &layers };
    read.bill(known, store)
}

/// The digests of all that a plan installs.
pub(super) fn known(planned: &Planned) -> KnownDigests {
    let wheels = planned.plan.wheels();
    let debian = planned.plan.layers.iter().filter_map(|layer| match layer {
        LayerPlan::Debian(layer) => Some(&layer.base.packages),
        _ => None,
    });
    KnownDigests {
        wheels: wheels.map(|it| ((it.distribution.clone(), it.version.clone()), it.wheel)).collect(),
        debian: debian.flatten().map(|package| (package.name.clone(), package.deb)).collect(),
    }
}

/// An image whose layers were all read.
struct ReadImage<'a> {
    name: &'a str,
    digest: Digest,
    architecture: Architecture,
    config: &'a [u8],
    layers: &'a [Digest],
}

impl ReadImage<'_> {
    fn bill(&self, known: &KnownDigests, store: &Store) -> Result<Bill> {
        let facts = self.layers.iter().map(|layer| Ok(records::content_of(store, layer)?.facts));
        let facts = InventoryFacts::stacked(facts.collect::<Result<Vec<_>>>()?);
        let evidence = self.layers.iter().map(|layer| records::evidence_of(store, layer));
        let evidence = CheckFacts::stacked(evidence.collect::<Result<Vec<_>, _>>()?);
        let members: Map<String, Value> =
            from_json(self.config).context("could not read the image's config")?;
        let software = scan::software(&facts, &config_facts(self.architecture, self.config)?);
        let contents = BillContents { software: &software, evidence: &evidence, known };
        Ok(Bill {
            subject: BillSubject {
                name: self.name.to_owned(),
                digest: self.digest,
                architecture: self.architecture,
                created: image_base::created(&members),
            },
            packages: sbom::packages(&contents),
        })
    }
}
