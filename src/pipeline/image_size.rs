//! The size of a planned image: that of the layers that were written before, and an estimate of the others.

use std::collections::BTreeMap;

use super::base_source::BaseSource;
use super::write::Sources;
use crate::bootstrap::groups::{self, DebianLayer, DebianPart};
use crate::layer::{cache, records};
use crate::oci::{Digest, EntryKind};
use crate::plan::{LayerPlan, Plan, WheelInstall, WheelLayer};
use crate::resolve::Resolution;
use crate::store::Store;

/// The size of a planned image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct PlannedSize {
    /// The number of its layers.
    pub layers: usize,
    /// The number of those that are the base's.
    pub of_base: usize,
    /// In bytes, of the files.
    pub unpacked: u64,
    /// In bytes, of the compressed layers, which a pull moves.
    pub compressed: u64,
    /// True if something of it is estimated, because no layer was written yet.
    pub estimated: bool,
    /// The bytes that a build downloads, because the store lacks them.
    pub to_download: u64,
}

/// The size of a layer, in bytes.
#[derive(Debug, Clone, Copy)]
struct LayerSize {
    unpacked: u64,
    compressed: u64,
    estimated: bool,
}

/// The files of Debian's packages are this many times as large as the packages.
const UNPACKED_PER_DEB: u64 = 4;
/// Compressed by DEFLATE, they are five quarters of the packages, which are compressed by LZMA.
const COMPRESSED_PER_DEB: (u64, u64) = (5, 4);
/// The files of an image's layer are this many times as large as the blob.
const UNPACKED_PER_BLOB: (u64, u64) = (5, 2);

/// The number of layers that the base has as it is: those of an image, without packages and a Python that are added to it; or
/// those of packages.
fn layers_of_base(plan: &Plan) -> usize {
    let count = |is_meant: fn(&LayerPlan) -> bool| plan.layers.iter().filter(|layer| is_meant(layer)).count();
    match count(|layer| matches!(layer, LayerPlan::Base(_))) {
        0 => count(|layer| matches!(layer, LayerPlan::Debian(_))),
        of_image => of_image,
    }
}

/// The size of the image of `plan`, whose parts come from `sources`.
pub(super) fn planned(plan: &Plan, resolution: &Resolution, sources: &Sources, store: &Store) -> PlannedSize {
    let files = wheel_files(resolution);
    let mut size =
        PlannedSize { layers: plan.layers.len(), of_base: layers_of_base(plan), ..PlannedSize::default() };
    let mut is_base_written = true;
    for layer in &plan.layers {
        let written = written(layer, store);
        is_base_written &= written.is_some() || !matches!(layer, LayerPlan::Debian(_));
        if let (None, LayerPlan::Wheels(layer)) = (written, layer) {
            size.to_download += missing(layer, &files, store);
        }
        let of_layer = written.unwrap_or_else(|| estimated(layer, &files));
        size.unpacked += of_layer.unpacked;
        size.compressed += of_layer.compressed;
        size.estimated |= of_layer.estimated;
    }
    if !is_base_written {
        size.to_download += packages_to_fetch(&sources.base, store);
    }
    size
}

/// The sizes of the layers of `plan`, compressed, in bytes: the same on every machine, whatever its store has.
pub(super) fn estimates(plan: &Plan, resolution: &Resolution) -> Vec<u64> {
    let files = wheel_files(resolution);
    plan.layers.iter().map(|layer| estimated(layer, &files).compressed).collect()
}

/// The sizes of the wheels, by their file names.
fn wheel_files(resolution: &Resolution) -> BTreeMap<String, u64> {
    let wheels = resolution.distributions.iter().map(|distribution| &distribution.wheel);
    wheels.filter_map(|wheel| Some((wheel.filename.to_string(), wheel.size?))).collect()
}

/// The size of a layer that the store has, or knows.
fn written(layer: &LayerPlan, store: &Store) -> Option<LayerSize> {
    let (unpacked, compressed) = match layer {
        LayerPlan::Base(layer) => {
            let blob = &layer.descriptor;
            (records::content(store, &blob.digest())?.unpacked, blob.size())
        }
        layer => cache::recall(store, &layer.key()).map(|written| (written.unpacked, written.size))?,
    };
    Some(LayerSize { unpacked, compressed, estimated: false })
}

fn estimated(layer: &LayerPlan, files: &BTreeMap<String, u64>) -> LayerSize {
    let (unpacked, compressed) = match layer {
        LayerPlan::Base(layer) => {
            let blob = layer.descriptor.size();
            (times(blob, UNPACKED_PER_BLOB), blob)
        }
        LayerPlan::Debian(layer) => of_packages(layer),
        LayerPlan::Wheels(layer) => of_wheels(layer, files),
        LayerPlan::Files(layer) => {
            let size = layer.files.iter().map(|file| match file.entry.kind {
                EntryKind::File { size } => size,
                _ => 0,
            });
            let size = size.sum();
            (size, size)
        }
        // Some files of text.
        LayerPlan::Accounts(_) | LayerPlan::Hidden(_) | LayerPlan::System(_) => (0, 0),
        // It was written when it was planned.
        LayerPlan::Python(_) => (0, 0),
    };
    LayerSize { unpacked, compressed, estimated: true }
}

fn of_packages(layer: &DebianLayer) -> (u64, u64) {
    let is_in =
        |package: &&groups::DebianPackage| layer.part == DebianPart::Added || package.part() == layer.part;
    let debs: u64 = layer.base.packages.iter().filter(is_in).map(|package| package.size).sum();
    (debs.saturating_mul(UNPACKED_PER_DEB), times(debs, COMPRESSED_PER_DEB))
}

/// The DEFLATE streams of wheels become those of layers, which are as large.
fn of_wheels(layer: &WheelLayer, files: &BTreeMap<String, u64>) -> (u64, u64) {
    let parts = layer.wheels.iter().map(|wheel| {
        let of = wheel.part.map_or(1, |part| part.of as u64);
        let file = files.get(&wheel.filename).copied().unwrap_or(wheel.unpacked);
        (wheel.unpacked / of, file / of)
    });
    parts.fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1))
}

/// The bytes of a layer's wheels that the store lacks; one that is cut over several layers is counted once.
fn missing(layer: &WheelLayer, files: &BTreeMap<String, u64>, store: &Store) -> u64 {
    let is_first = |wheel: &&WheelInstall| wheel.part.is_none_or(|part| part.index == 0);
    let lacks = |(wheel, size): &(Digest, u64)| !store.has_blob(wheel, Some(*size));
    let sized = |wheel: &WheelInstall| Some((wheel.wheel, *files.get(&wheel.filename)?));
    layer.wheels.iter().filter(is_first).filter_map(sized).filter(lacks).map(|(_, size)| size).sum()
}

fn packages_to_fetch(base: &BaseSource, store: &Store) -> u64 {
    let downloads = base.packages().iter().map(|fetch| &fetch.download);
    downloads.filter(|download| !download.is_in(store)).filter_map(|download| download.size).sum()
}

fn times(bytes: u64, (numerator, denominator): (u64, u64)) -> u64 {
    bytes.saturating_mul(numerator) / denominator
}
