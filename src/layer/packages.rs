//! Writes the layers of a base made of Debian packages.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Read};

use super::debian::Unpacked;
use super::generated;
use super::writer::{LayerWriter, WriteError, Written};
use crate::bootstrap::configure::{self, ConfiguredPackages};
use crate::bootstrap::groups::{DebianLayer, DebianPackages, DebianPart};
use crate::bootstrap::merge::{EntryContent, UnpackedEntry};
use crate::bootstrap::tree::{Attributes, ConfigureError, ConfigureInput, Contents, ShippedChanges};
use crate::oci::{Entry, EntryKind, FileCapabilities};
use crate::plan::{GeneratedLayer, LayerCompression};
use crate::store::Store;

/// The contents of unpacked packages, found by path.
struct UnpackedContents<'a> {
    unpacked: &'a Unpacked,
    places: BTreeMap<&'a str, EntryContent>,
}

impl Contents for UnpackedContents<'_> {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let place = self.places.get(path).ok_or(io::ErrorKind::NotFound)?;
        let mut bytes = Vec::new();
        self.unpacked.reader(*place).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Configures the packages of `base`, which are `unpacked`.
pub fn configure(base: &DebianPackages, unpacked: &Unpacked) -> Result<ConfiguredPackages, ConfigureError> {
    let places = unpacked.entries.iter().map(|entry| (entry.entry.path.as_str(), entry.content)).collect();
    let mut architectures = unpacked.packages.iter().map(|package| package.architecture.as_str());
    configure::configure(&ConfigureInput {
        packages: &unpacked.packages,
        entries: &unpacked.tree(),
        contents: &UnpackedContents { unpacked, places },
        layout: base.layout,
        mtime: base.published,
        sources: &base.sources,
        archive: &base.archive,
        architecture: architectures.find(|architecture| *architecture != "all").unwrap_or("all"),
    })
}

/// Writes one layer of the base whose packages are `unpacked` and configured.
///
/// `progress` is told how many bytes were written since the last time.
pub fn write(
    layer: &DebianLayer,
    unpacked: &Unpacked,
    configuration: &ConfiguredPackages,
    store: &Store,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Written, WriteError> {
    match layer.part {
        DebianPart::Essential | DebianPart::Packages => {
            write_part(layer, unpacked, &configuration.changes, store, progress)
        }
        DebianPart::Configuration => {
            let files = configuration.generated.clone();
            generated::write(&GeneratedLayer { files, compression: LayerCompression::Gzip }, store)
        }
    }
}

fn write_part(
    layer: &DebianLayer,
    unpacked: &Unpacked,
    changes: &ShippedChanges,
    store: &Store,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Written, WriteError> {
    let is_in = |package: usize| layer.base.packages.get(package).is_some_and(|it| it.part() == layer.part);
    let mut writer = LayerWriter::new(store, &LayerCompression::Gzip, progress)?;
    for UnpackedEntry { entry, content, .. } in unpacked.entries.iter().filter(|entry| is_in(entry.package)) {
        if changes.removed.contains(&entry.path) {
            continue;
        }
        let (entry, capabilities) = changed(entry, changes);
        match entry.kind {
            EntryKind::File { .. } => {
                writer.file_with(&entry, capabilities, || Ok(unpacked.reader(*content)))?;
            }
            _ => writer.entry(&entry)?,
        }
    }
    writer.finish()
}

/// An entry with the owner and permissions that it has once it is configured: those of the file of which it is another name.
fn changed<'e>(entry: &'e Entry, changes: &ShippedChanges) -> (Cow<'e, Entry>, Option<FileCapabilities>) {
    let path = match &entry.kind {
        EntryKind::Hardlink { target } => target,
        _ => &entry.path,
    };
    match changes.attributes.get(path) {
        None => (Cow::Borrowed(entry), None),
        Some(Attributes { mode, uid, gid, capabilities }) => {
            let entry = Entry { mode: *mode, uid: *uid, gid: *gid, ..entry.clone() };
            (Cow::Owned(entry), *capabilities)
        }
    }
}
