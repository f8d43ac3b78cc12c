//! The files of an image that belong to no distribution, as a comparison sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use super::Session;
use crate::base::BaseInventory;
use crate::bootstrap::contents::Contents;
use crate::compare::{FileState, ToldEntries};
use crate::failure::Result;
use crate::layer::records;
use crate::layer::system_files::SystemFiles;
use crate::observe::check_facts::{CheckFacts, Item};
use crate::oci::{Digest, Entry};
use crate::source::{SourceImage, SourceLayer};
use crate::store::Store;

/// The files that package managers and loaders write anew with every change.
const GENERATED: [&str; 5] = ["var/lib/dpkg/", "var/lib/apt/", "var/cache/", "var/log/", "etc/ld.so.cache"];

/// The files of an image.
pub(super) struct ImageFiles {
    image: SourceImage,
    states: BTreeMap<String, FileState>,
    /// By path: the number of the layer that has the file.
    layers: BTreeMap<String, usize>,
}

impl ImageFiles {
    /// The files of an image whose layers were all read before, but for those of its distributions.
    pub(super) fn read(image: SourceImage, inventory: Option<&BaseInventory>, store: &Store) -> Result<Self> {
        let distributions = inventory.iter().flat_map(|inventory| &inventory.distributions);
        let owned: BTreeSet<&str> = distributions.flat_map(|it| &it.files).map(String::as_str).collect();
        let is_compared = |path: &str| {
            let is_generated = GENERATED.iter().any(|start| path.starts_with(start));
            !is_generated && !owned.contains(path) && !path.contains("/__pycache__/")
        };
        let (mut evidence, mut layers) = (Vec::new(), BTreeMap::new());
        for (number, layer) in image.layers.iter().enumerate() {
            let of_layer = records::evidence_of(store, &layer.descriptor.digest())?;
            let paths = of_layer.items().map(|(path, _)| path).filter(|path| is_compared(path));
            layers.extend(paths.map(|path| (path.to_owned(), number)));
            evidence.push(of_layer);
        }
        let whole = CheckFacts::stacked(evidence);
        let files = whole.items().filter(|(path, _)| is_compared(path));
        let states = files.filter_map(|(path, item)| Some((path.to_owned(), state(item)?))).collect();
        Ok(Self { states, layers, image })
    }

    /// All of them.
    pub(super) fn told(self) -> ToldEntries<FileState> {
        ToldEntries { complete: true, entries: self.states }
    }

    fn layer_of(&self, path: &str) -> Option<&SourceLayer> {
        self.image.layers.get(*self.layers.get(path)?)
    }

    /// Reads the contents at these paths, from the layers that have them.
    fn read_contents(&mut self, paths: &BTreeSet<String>, session: &Session<'_>) -> Result<()> {
        let store = &session.store;
        let numbers: BTreeSet<usize> =
            paths.iter().filter_map(|path| self.layers.get(path).copied()).collect();
        let blobs = numbers.iter().map(|number| self.image.layers[*number].descriptor.clone());
        let open = |blob: crate::oci::Descriptor| -> Result<Box<dyn Read>> {
            match store.has_blob(&blob.digest(), Some(blob.size())) {
                true => Ok(Box::new(store.open_blob(&blob.digest())?)),
                false => Ok(Box::new(self.image.open_blob(&blob)?)),
            }
        };
        let layers = blobs.map(open).collect::<Result<Vec<_>>>()?;
        let is_wanted = |entry: &Entry| paths.contains(&entry.path);
        let files = SystemFiles::read(layers, &is_wanted, store.scratch()?)?;
        for path in paths {
            if let (Ok(bytes), Some(state)) = (files.read(path), self.states.get_mut(path)) {
                state.content = Some(Digest::of(&bytes));
            }
        }
        Ok(())
    }
}

/// Reads the contents of files that nothing else tells apart: those of one size, in layers that only one side has.
pub(super) fn read_contents(
    before: &mut ImageFiles,
    after: &mut ImageFiles,
    session: &Session<'_>,
) -> Result<()> {
    let is_open = |path: &String, one: &FileState, other: &FileState| {
        let blob = |files: &ImageFiles| files.layer_of(path).map(|layer| layer.descriptor.digest());
        let is_alike = (one.mode, one.size, &one.target) == (other.mode, other.size, &other.target);
        let is_known = one.content.is_some() && other.content.is_some();
        is_alike && !is_known && one.size > 0 && one.target.is_none() && blob(before) != blob(after)
    };
    let pairs = before.states.iter().filter_map(|(path, one)| Some((path, one, after.states.get(path)?)));
    let open: BTreeSet<String> =
        pairs.filter(|(path, one, other)| is_open(path, one, other)).map(|(path, ..)| path.clone()).collect();
    if open.is_empty() {
        return Ok(());
    }
    session.progress.stage("comparing the contents of files");
    before.read_contents(&open, session)?;
    after.read_contents(&open, session)
}

fn state(item: &Item) -> Option<FileState> {
    match item {
        Item::Directory { .. } => None,
        Item::Symlink(target) => {
            Some(FileState { mode: None, size: 0, content: None, target: Some(target.to_string()) })
        }
        Item::File(file) => {
            Some(FileState { mode: Some(file.mode), size: file.size, content: file.digest(), target: None })
        }
    }
}
