//! `rebase`: an image's own layers over another base; its own are neither read again nor unpacked.

use serde_json::{Map, Value};

use super::attaching::{self, Statements};
use super::copying::layer_of;
use super::shared_layers::image_layer;
use super::{ReleaseOrder, Session, check, image_base, publish, sbom};
use crate::base::BaseInventory;
use crate::base::scan;
use crate::destination;
use crate::failure::{Context, Result};
use crate::image::{self, Image, ImageLayer};
use crate::layer::{Written, generated, records};
use crate::observe::check_facts::CheckFacts;
use crate::observe::inventory_facts::InventoryFacts;
use crate::oci::image::from_json;
use crate::oci::{Architecture, Digest};
use crate::place::ImagePlace;
use crate::plan::{LayerCompression, LdconfigPlan, SystemLayer};
use crate::rebase::{self, Boundary};
use crate::sbom::KnownDigests;
use crate::source::{self, SourceImage, SourceLayer};
use crate::store::Store;

/// An order to put an image over another base.
#[derive(Debug)]
pub struct RebaseOrder<'a> {
    /// The place of the image.
    pub image: &'a ImagePlace,
    /// The place of the new base.
    pub base: &'a ImagePlace,
    /// The destinations; the default one when empty.
    pub destinations: &'a [ImagePlace],
    /// The platform, where the images are for several; this machine's without one.
    pub architecture: Option<Architecture>,
    /// The documents that the published image is given.
    pub release: &'a ReleaseOrder,
}

/// Puts an image over another base, checks it, and publishes it.
pub fn rebase(order: &RebaseOrder<'_>, session: &Session<'_>) -> Result<Image> {
    order.destinations.iter().try_for_each(destination::check_place)?;
    order.release.check(order.destinations)?;
    session.progress.stage(&format!("reading {} and {}", order.image, order.base));
    let before = ReadStack::open(order.image, order.architecture, session)?;
    let base = ReadStack::open(order.base, Some(before.image.architecture), session)?;
    let refused = || format!("`{}` cannot be put over `{}`", order.image, order.base);
    let boundary = rebase::boundary(&before.config, before.image.layers.len()).with_context(refused)?;
    check_decisions(&before, &base, boundary, &session.store).with_context(refused)?;
    let layers = stacked(&before, &base, boundary, session)?;
    let base_name = match order.base {
        ImagePlace::Registry(reference) => Some(reference.to_string()),
        _ => None,
    };
    let image = assembled(&before, (&base, base_name), boundary, layers)?;
    check::of_rebased(&before.image, &image, session)?;
    let name = order.image.short_name();
    let origins = [&before.image, &base.image];
    let destinations = publish(&image.clone().into(), &name, &origins, order.destinations, session)?;
    let mut statements = Statements::new(&name, &image);
    statements.add_bill_of(order.release, || {
        let architecture = before.image.architecture;
        sbom::of_image(&name, architecture, &image, &KnownDigests::default(), &session.store)
    })?;
    attaching::attach(order.release, &statements, &destinations, session)?;
    Ok(image)
}

/// An image whose layers were all read, now or at another time.
struct ReadStack {
    image: SourceImage,
    config: Map<String, Value>,
}

impl ReadStack {
    fn open(place: &ImagePlace, architecture: Option<Architecture>, session: &Session<'_>) -> Result<Self> {
        let image = source::open(place, architecture, session.sources())?;
        image_base::scan(&image, session)?;
        let config = from_json(&image.config).context("could not read the image's config")?;
        Ok(Self { image, config })
    }

    fn facts(&self, layers: &[SourceLayer], store: &Store) -> Result<InventoryFacts> {
        let facts =
            layers.iter().map(|layer| Ok(records::content_of(store, &layer.descriptor.digest())?.facts));
        Ok(InventoryFacts::stacked(facts.collect::<Result<Vec<_>>>()?))
    }

    /// The inventory of some of its layers.
    fn inventory(&self, layers: &[SourceLayer], store: &Store) -> Result<BaseInventory> {
        let config = check::config_facts(self.image.architecture, &self.image.config)?;
        Ok(scan::scan_started(&self.facts(layers, store)?, &config, None)?.0)
    }
}

fn evidence(layers: &[SourceLayer], store: &Store) -> Result<CheckFacts> {
    let evidence = layers.iter().map(|layer| records::evidence_of(store, &layer.descriptor.digest()));
    Ok(CheckFacts::stacked(evidence.collect::<Result<Vec<_>, _>>()?))
}

fn check_decisions(before: &ReadStack, base: &ReadStack, boundary: Boundary, store: &Store) -> Result<()> {
    let below = &before.image.layers[..boundary.below];
    let inventory = before.inventory(below, store)?;
    rebase::check(&inventory, &base.inventory(&base.image.layers, store)?)?;
    if boundary.has_users {
        let (before, after) = (evidence(below, store)?, evidence(&base.image.layers, store)?);
        rebase::check_accounts(|file| (before.text(file), after.text(file)))?;
    }
    Ok(())
}

/// The layers of the new base, the image's own, and the loader's cache where that is another now.
fn stacked(
    before: &ReadStack,
    base: &ReadStack,
    boundary: Boundary,
    session: &Session<'_>,
) -> Result<Vec<ImageLayer>> {
    let store = &session.store;
    let own = &before.image.layers[boundary.below..boundary.below + boundary.above];
    let all: Vec<SourceLayer> = base.image.layers.iter().chain(own).cloned().collect();
    let mut layers: Vec<ImageLayer> = all.iter().map(layer_of).collect();
    let cache = loader_cache(base, &all, session)?;
    let text = |digest: &Digest| -> Result<Option<Vec<u8>>> {
        let evidence = records::evidence_of(store, digest)?;
        Ok(evidence.text("etc/ld.so.cache").map(<[u8]>::to_vec))
    };
    let there = evidence(&all, store)?.text("etc/ld.so.cache").map(<[u8]>::to_vec);
    if text(&cache.digest)? != there {
        layers.push(image_layer(rebase::LOADER_CACHE.to_owned(), cache));
    }
    Ok(layers)
}

/// A layer with the loader's cache of a stack.
fn loader_cache(base: &ReadStack, all: &[SourceLayer], session: &Session<'_>) -> Result<Written> {
    let inventory = base.inventory(&base.image.layers, &session.store)?;
    let digests: Vec<String> = all.iter().map(|layer| layer.diff_id.to_string()).collect();
    let layer = SystemLayer {
        files: Vec::new(),
        unversioned_python: None,
        searched: None,
        ldconfig: LdconfigPlan {
            architecture: inventory.architecture,
            vendor: inventory.vendor,
            libc_bin: inventory.libc_bin,
        },
        mtime: image_base::created(&base.config),
        below: Digest::of(digests.join("\n")),
        compression: LayerCompression::Gzip,
    };
    Ok(generated::write_system(&layer, &base.facts(all, &session.store)?, &session.store)?)
}

fn assembled(
    before: &ReadStack,
    (base, base_name): (&ReadStack, Option<String>),
    boundary: Boundary,
    layers: Vec<ImageLayer>,
) -> Result<Image> {
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.diff_id).collect();
    let base_layers = base.image.layers.len();
    let config = rebase::config(&before.config, &base.config, boundary, &diff_ids, base_layers)?;
    let architecture = before.image.architecture;
    let bare = image::taken_over(architecture, config, None, layers)?;
    let manifest = before.image.manifest.as_ref().map(|manifest| manifest.bytes.as_slice());
    let manifest = rebase::annotated(&bare.manifest_bytes, manifest, (base_name, base.image.digest))?;
    let media_type = bare.manifest.media_type().clone();
    Ok(image::taken_over(architecture, bare.config_bytes, Some((media_type, manifest)), bare.layers)?)
}
