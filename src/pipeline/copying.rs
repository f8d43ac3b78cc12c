//! `copy`: an image from one place to another, as it is.

use std::collections::BTreeMap;

use super::attaching::Statements;
use super::{ReleaseOrder, Session, attaching, image_base, publish, publish_at, sbom};
use crate::destination;
use crate::failure::Result;
use crate::image::{self, Image, ImageLayer, PublishedImage};
use crate::oci::{Architecture, Digest};
use crate::place::ImagePlace;
use crate::sbom::KnownDigests;
use crate::source::{self, SourceImage, SourceLayer};

/// An order to copy.
#[derive(Debug)]
pub struct CopyOrder<'a> {
    /// The place of the image.
    pub from: &'a ImagePlace,
    /// The places that it goes to.
    pub to: &'a [ImagePlace],
    /// The architecture of the image, where there are several; this machine's without one.
    pub architecture: Option<Architecture>,
    /// The extent of the copy.
    pub extent: CopyExtent,
    /// The documents that the copy is given.
    pub release: &'a ReleaseOrder,
}

/// The extent of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyExtent {
    /// The image of one platform.
    OnePlatform,
    /// All that the tag names, and what goes with it.
    Everything,
}

/// Copies an image, or all that its tag names; layers are brought only as far as the destinations lack them. Gives the
/// digest of what the tag names at the destinations.
pub fn copy(order: &CopyOrder<'_>, session: &Session<'_>) -> Result<Digest> {
    order.to.iter().try_for_each(destination::check_place)?;
    match order.extent {
        CopyExtent::OnePlatform => copy_one(order, session).map(|published| published.descriptor().digest()),
        CopyExtent::Everything => copy_everything(order, session),
    }
}

fn copy_everything(order: &CopyOrder<'_>, session: &Session<'_>) -> Result<Digest> {
    order.to.iter().try_for_each(destination::check_holds_whole)?;
    session.progress.stage(&format!("reading {}", order.from));
    let image = source::open_whole(order.from, session.sources())?;
    let blobs: BTreeMap<Digest, u64> = image
        .all_documents()
        .flat_map(|document| &document.blobs)
        .map(|blob| (blob.digest(), blob.size()))
        .collect();
    for place in order.to {
        publish_at(place, blobs.values().sum(), &[], session, |publishing| {
            let name = order.from.short_name_with_tag();
            Ok(destination::publish_whole(&image, place, &name, publishing)?)
        })?;
    }
    Ok(image.root().descriptor.digest())
}

fn copy_one(order: &CopyOrder<'_>, session: &Session<'_>) -> Result<PublishedImage> {
    order.release.check(order.to)?;
    session.progress.stage(&format!("reading {}", order.from));
    let source = source::open(order.from, order.architecture, session.sources())?;
    let image = taken_over(&source)?;
    let name = order.from.short_name();
    let published = image.clone().into();
    publish(&published, &order.from.short_name_with_tag(), &[&source], order.to, session)?;
    let mut statements = Statements::new(&name, &image);
    statements.add_bill_of(order.release, || {
        image_base::scan(&source, session)?;
        let known = KnownDigests::default();
        sbom::of_image(&name, source.architecture, &image, &known, &session.store)
    })?;
    attaching::attach(order.release, &statements, order.to, session)?;
    Ok(published)
}

fn taken_over(source: &SourceImage) -> Result<Image> {
    let layers = source.layers.iter().map(layer_of);
    let manifest = source.manifest.clone().map(|manifest| (manifest.media_type, manifest.bytes));
    Ok(image::taken_over(source.architecture, source.config.clone(), manifest, layers.collect())?)
}

/// A layer of an image that others made.
pub(super) fn layer_of(layer: &SourceLayer) -> ImageLayer {
    ImageLayer {
        title: String::new(),
        media_type: layer.descriptor.media_type().clone(),
        annotations: layer.descriptor.annotations(),
        digest: layer.descriptor.digest(),
        size: layer.descriptor.size(),
        diff_id: layer.diff_id,
        unpacked: 0,
    }
}
