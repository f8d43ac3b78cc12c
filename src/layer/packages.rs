//! Writes the layers of a base made of Debian packages.

use std::collections::BTreeMap;
use std::io;

use super::debian::Unpacked;
use super::generated;
use super::writer::{LayerWriter, WriteError, Written};
use crate::bootstrap::configure;
use crate::bootstrap::groups::{DebianLayer, DebianPart};
use crate::bootstrap::tree::{ConfigureError, ConfigureInput};
use crate::failure::Hinted;
use crate::oci::EntryKind;
use crate::plan::{GeneratedLayer, LayerCompression};
use crate::store::Store;

/// The reason why a layer of a base could not be written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum PackagesLayerError {
    #[error("could not read the base's packages")]
    Read(#[source] io::Error),
    #[error(transparent)]
    Configure(#[from] ConfigureError),
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Hinted for PackagesLayerError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Read(error) => error.hint(),
            Self::Configure(error) => error.hint(),
            Self::Write(error) => error.hint(),
        }
    }
}

/// Writes one layer of the base whose packages are `unpacked`.
///
/// `progress` is told how many bytes were written since the last time.
pub fn write(
    layer: &DebianLayer,
    unpacked: &Unpacked,
    store: &Store,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Written, PackagesLayerError> {
    match layer.part {
        DebianPart::Essential | DebianPart::Packages => write_part(layer, unpacked, store, progress),
        DebianPart::Configuration => write_configuration(layer, unpacked, store),
    }
}

fn write_part(
    layer: &DebianLayer,
    unpacked: &Unpacked,
    store: &Store,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Written, PackagesLayerError> {
    let is_in = |package: usize| layer.base.packages.get(package).is_some_and(|it| it.part() == layer.part);
    let mut writer = LayerWriter::new(store, &LayerCompression::Gzip, progress)?;
    for entry in unpacked.entries.iter().filter(|entry| is_in(entry.package)) {
        match entry.entry.kind {
            EntryKind::File { .. } => writer.file(&entry.entry, || Ok(unpacked.reader(entry.content)))?,
            _ => writer.entry(&entry.entry)?,
        }
    }
    Ok(writer.finish()?)
}

fn write_configuration(
    layer: &DebianLayer,
    unpacked: &Unpacked,
    store: &Store,
) -> Result<Written, PackagesLayerError> {
    let entries: BTreeMap<_, _> =
        unpacked.entries.iter().map(|entry| (entry.entry.path.as_str(), &entry.entry)).collect();
    let files = unpacked.contents(configure::is_wanted).map_err(PackagesLayerError::Read)?;
    let files = configure::configure(&ConfigureInput {
        packages: &unpacked.packages,
        entries: &entries,
        files: &files,
        layout: layer.base.layout,
        mtime: layer.base.published,
        sources: &layer.base.sources,
        archive: &layer.base.archive,
    })?;
    Ok(generated::write(&GeneratedLayer { files, compression: LayerCompression::Gzip }, store)?)
}
