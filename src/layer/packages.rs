//! Writes the layers of Debian packages: of a base that they make, or above one that is an image.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use super::debian::Unpacked;
use super::generated;
use super::system_files::SystemFiles;
use super::writer::{LayerWriter, WriteError, Written};
use crate::bootstrap::configure::{self, ConfiguredPackages};
use crate::bootstrap::contents::{Contents, NoContents};
use crate::bootstrap::ground::Ground;
use crate::bootstrap::groups::{DebianLayer, DebianPackages, DebianPart};
use crate::bootstrap::merge::{EntryContent, UnpackedEntry};
use crate::bootstrap::tree::{Attributes, ConfigureError, ConfigureInput, ShippedChanges};
use crate::failure::Hinted;
use crate::oci::paths::whiteout;
use crate::oci::{Entry, EntryKind, FileCapabilities, Generated};
use crate::plan::{GeneratedLayer, LayerCompression};
use crate::store::Store;

/// The system that packages are unpacked and configured on, with the contents of its files.
#[derive(Debug)]
pub struct BaseSystem {
    /// Its entries, and what dpkg knows of them.
    pub ground: Ground,
    /// The files of an image; none below a base of its own.
    pub files: Option<SystemFiles>,
}

/// The reason why a layer of packages could not be written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum PackagesLayerError {
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(
        "a script changes the owner or the permissions of `{path}`, which is too large to be written again"
    )]
    Large { path: String, source: io::Error },
}

impl Hinted for PackagesLayerError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Write(error) => error.hint(),
            Self::Large { .. } => Some("change it in the base".into()),
        }
    }
}

impl BaseSystem {
    /// The contents of the files that are there.
    pub fn contents(&self) -> &dyn Contents {
        match &self.files {
            Some(files) => files,
            None => &NoContents,
        }
    }
}

/// The contents of unpacked packages, found by path, and of the system below them.
struct UnpackedContents<'a> {
    unpacked: &'a Unpacked,
    places: BTreeMap<&'a str, EntryContent>,
    below: &'a dyn Contents,
}

impl Contents for UnpackedContents<'_> {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let Some(place) = self.places.get(path) else { return self.below.read(path) };
        let mut bytes = Vec::new();
        self.unpacked.reader(*place).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Configures the packages of `base`, which are `unpacked` on `system`.
pub fn configure(
    base: &DebianPackages,
    unpacked: &Unpacked,
    system: &BaseSystem,
) -> Result<ConfiguredPackages, ConfigureError> {
    let places = unpacked.entries.iter().map(|entry| (entry.entry.path.as_str(), entry.content)).collect();
    let mut architectures =
        unpacked.packages.iter().chain(&system.ground.packages).map(|package| package.architecture.as_str());
    let automatic = base.packages.iter().filter(|package| package.automatic);
    configure::configure(&ConfigureInput {
        packages: &unpacked.packages,
        entries: &unpacked.tree(),
        ground: &system.ground,
        contents: &UnpackedContents { unpacked, places, below: system.contents() },
        removed: &unpacked.removed,
        lost: &unpacked.lost,
        automatic: &automatic.map(|package| package.name.as_str()).collect(),
        mtime: base.published,
        sources: &base.sources,
        archive: &base.archive,
        architecture: architectures.find(|architecture| *architecture != "all").unwrap_or("all"),
    })
}

/// The packages of a layer, unpacked and configured on the system below them.
#[derive(Clone, Copy)]
pub struct Configured<'a> {
    /// The unpacked packages.
    pub unpacked: &'a Unpacked,
    /// The result of configuring them.
    pub configuration: &'a ConfiguredPackages,
    /// The system below them.
    pub system: &'a BaseSystem,
}

/// Writes one layer of the packages that are `configured`.
///
/// `progress` is told how many bytes were written since the last time.
pub fn write(
    layer: &DebianLayer,
    configured: Configured<'_>,
    store: &Store,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Written, PackagesLayerError> {
    let Configured { unpacked, configuration, .. } = configured;
    match layer.part {
        DebianPart::Essential | DebianPart::Packages => {
            Ok(write_part(layer, unpacked, &configuration.changes, store, progress)?)
        }
        DebianPart::Configuration => {
            let files = configuration.generated.clone();
            Ok(generated::write(&GeneratedLayer { files, compression: LayerCompression::Gzip }, store)?)
        }
        DebianPart::Added => write_added(configured, store, progress),
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
    for shipped in unpacked.entries.iter().filter(|entry| is_in(entry.package)) {
        if !changes.removed.contains(&shipped.entry.path) {
            write_shipped(&mut writer, shipped, unpacked, changes)?;
        }
    }
    writer.finish()
}

fn write_shipped(
    writer: &mut LayerWriter<'_>,
    shipped: &UnpackedEntry,
    unpacked: &Unpacked,
    changes: &ShippedChanges,
) -> Result<(), WriteError> {
    let (entry, capabilities) = changed(&shipped.entry, changes);
    match entry.kind {
        EntryKind::File { .. } => {
            writer.file_with(&entry, capabilities, || Ok(unpacked.reader(shipped.content)))
        }
        _ => writer.entry(&entry),
    }
}

/// A path of a layer above an image.
enum AddedPath<'a> {
    Shipped(&'a UnpackedEntry),
    Generated(Cow<'a, Generated>),
}

/// The one layer above an image: what packages ship and what configuring them makes, with whiteouts for what is gone.
fn write_added(
    configured: Configured<'_>,
    store: &Store,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Written, PackagesLayerError> {
    let Configured { unpacked, configuration: ConfiguredPackages { generated, changes, .. }, system } =
        configured;
    let shipped = unpacked.entries.iter().filter(|shipped| !changes.removed.contains(&shipped.entry.path));
    let mut layer: BTreeMap<String, AddedPath<'_>> =
        shipped.map(|shipped| (shipped.entry.path.clone(), AddedPath::Shipped(shipped))).collect();
    for (path, attributes) in &changes.attributes {
        if let (Some(entry), false) = (system.ground.entries.get(path), layer.contains_key(path)) {
            let again = written_again(entry, *attributes, system)?;
            layer.insert(path.clone(), AddedPath::Generated(Cow::Owned(again)));
        }
    }
    let generated =
        generated.iter().map(|one| (one.entry.path.clone(), AddedPath::Generated(Cow::Borrowed(one))));
    layer.extend(generated);
    let present = layer.keys().cloned().collect();
    let gone = whiteouts(&changes.removed, &present, &system.ground);
    layer.extend(gone.into_iter().map(|one| (one.entry.path.clone(), AddedPath::Generated(Cow::Owned(one)))));
    let mut writer = LayerWriter::new(store, &LayerCompression::Gzip, progress)?;
    for item in layer.values() {
        match item {
            AddedPath::Shipped(shipped) => write_shipped(&mut writer, shipped, unpacked, changes)?,
            AddedPath::Generated(one) => match one.entry.kind {
                EntryKind::File { .. } => writer.file(&one.entry, || Ok(one.bytes.as_slice()))?,
                _ => writer.entry(&one.entry)?,
            },
        }
    }
    Ok(writer.finish()?)
}

/// An entry of the image with another owner or other permissions.
fn written_again(
    entry: &Entry,
    attributes: Attributes,
    system: &BaseSystem,
) -> Result<Generated, PackagesLayerError> {
    let Attributes { mode, uid, gid, .. } = attributes;
    let bytes = match entry.kind {
        EntryKind::File { .. } => system
            .contents()
            .read(&entry.path)
            .map_err(|source| PackagesLayerError::Large { path: entry.path.clone(), source })?,
        _ => Vec::new(),
    };
    Ok(Generated { entry: Entry { mode, uid, gid, ..entry.clone() }, bytes })
}

/// The files that hide what is gone of the image; one hides all that is below it.
fn whiteouts(removed: &BTreeSet<String>, present: &BTreeSet<String>, ground: &Ground) -> Vec<Generated> {
    let is_hidden = |path: &str| removed.contains(path) && !present.contains(path);
    let is_hidden_above = |path: &str| path.match_indices('/').any(|(end, _)| is_hidden(&path[..end]));
    let gone = removed.iter().filter(|path| ground.entries.contains_key(*path) && is_hidden(path));
    let gone = gone.filter(|path| !is_hidden_above(path)).map(|path| Generated {
        entry: Entry {
            path: whiteout(path),
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: 0,
            kind: EntryKind::Whiteout,
        },
        bytes: Vec::new(),
    });
    gone.collect()
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
