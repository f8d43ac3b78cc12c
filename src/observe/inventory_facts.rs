//! The facts that an inventory is made of, kept small: a plan over a known base reads them all.
//!
//! [`Relevance`] says which paths matter, and how much of each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::elf::{self, DirectoryListing, Elf, FileNode, Root, Symbols};
use crate::oci::{Entry, EntryKind, Generated};

pub(crate) use super::condense::CondaPackage;
use super::condense::condense;
pub(crate) use super::layered::join;
use super::layered::{LayerNode, Layered};
use super::relevance;
pub use super::relevance::{Relevance, TextForm, VersionText};

/// Raise when the facts of a layer are learned or written otherwise than before: records of them are made again.
pub const FACTS_FORMAT: u32 = 9;

/// The part of a layer's, or of a whole image's, file system that decides what is installed and what the loader finds.
///
/// Paths are relative to the root. Directories are there when the layer says so or something is in them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InventoryFacts(Layered<Fact>);

/// The fact at one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Fact {
    Directory,
    Symlink(String),
    File(Box<FileFact>),
    Text(String),
    /// A file, or whatever else is no directory, of which nothing matters but that it is there.
    Other,
}

impl LayerNode for Fact {
    fn is_directory(&self) -> bool {
        matches!(self, Self::Directory)
    }

    fn link(&self) -> Option<&str> {
        match self {
            Self::Symlink(target) => Some(target),
            _ => None,
        }
    }
}

/// The facts of a library or a program.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFact {
    /// In bytes.
    pub size: u64,
    /// `None` for what is not ELF, or not well formed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elf: Option<Elf>,
    /// Of CUDA's libraries only.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub symbols: Symbols,
    /// The version that the file carries: `3.11.2`; of the C library, its whole banner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The path of the layer's first entry for this file, where this one is a hard link to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) first: Option<String>,
}

fn is_empty(symbols: &Symbols) -> bool {
    symbols.defined.is_empty() && symbols.undefined.is_empty()
}

impl InventoryFacts {
    /// The facts of generated files; libraries are not among them.
    pub fn of(files: &[Generated]) -> Self {
        let mut facts = Self::default();
        for file in files {
            facts.note(&file.entry);
            if let Relevance::Text(form) = Relevance::of_loader(&file.entry.path) {
                facts.note_text(&file.entry.path, form, &file.bytes);
            }
        }
        facts
    }

    /// Those that the loader's cache is made of; of other files, and of names of the interpreter, nothing but that they are
    /// there.
    pub fn of_loader(&self) -> Self {
        let mut facts = self.clone();
        facts.0.reduce(|path, fact| match fact {
            Fact::File(_) | Fact::Text(_) if Relevance::of_loader(path) == Relevance::None => {
                (relevance::may_hide(path) || relevance::may_be_interpreter(path)).then_some(Fact::Other)
            }
            fact => Some(fact),
        });
        facts
    }

    /// The facts of an image of these layers, bottom first.
    pub fn stacked(layers: impl IntoIterator<Item = Self>) -> Self {
        let mut image = Self::default();
        layers.into_iter().for_each(|layer| image.stack(layer));
        image
    }

    /// Notes an entry of a layer. Of a file whose content matters, more is noted when it has passed, by a
    /// [`FileObserver`](super::FileObserver).
    pub fn note(&mut self, entry: &Entry) {
        let path = &entry.path;
        if self.0.note_whiteout(entry) {
            return;
        }
        match &entry.kind {
            EntryKind::Directory => self.note_directory(path),
            EntryKind::Symlink { target } if relevance::may_lead_somewhere(path) => {
                self.0.insert(path.clone(), Fact::Symlink(target.clone()));
            }
            EntryKind::Hardlink { target } => self.note_hardlink(path, target),
            EntryKind::Whiteout => {}
            EntryKind::Symlink { .. } | EntryKind::File { .. } => self.note_other(path),
        }
    }

    pub(crate) fn note_file(&mut self, path: &str, file: FileFact) {
        self.0.insert(path.to_owned(), Fact::File(Box::new(file)));
    }

    pub(crate) fn note_text(&mut self, path: &str, form: TextForm, text: &[u8]) {
        self.0.insert(path.to_owned(), Fact::Text(condense(form, text)));
    }

    fn note_directory(&mut self, path: &str) {
        if relevance::may_lead_somewhere(path) {
            self.0.insert(path.to_owned(), Fact::Directory);
        }
    }

    fn note_other(&mut self, path: &str) {
        if relevance::may_hide(path) {
            self.0.insert(path.to_owned(), Fact::Other);
        }
    }

    /// A hard link shares what is known of its file, which came before it in the same layer; what happens to the file's
    /// other names in upper layers does not touch it.
    fn note_hardlink(&mut self, path: &str, target: &str) {
        match self.0.get(target) {
            Some(Fact::File(file)) => {
                let first = file.first.clone().unwrap_or_else(|| target.to_owned());
                let link = FileFact { first: Some(first), ..FileFact::clone(file) };
                self.note_file(path, link);
            }
            Some(Fact::Text(text)) => {
                let text = Fact::Text(text.clone());
                self.0.insert(path.to_owned(), text);
            }
            _ => self.note_other(path),
        }
    }

    /// Puts the layer that `above` describes on top.
    pub fn stack(&mut self, above: Self) {
        self.0.stack(above.0);
    }

    /// Everything known, sorted by path.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&str, &Fact)> {
        self.0.nodes()
    }

    /// Everything known under a directory without symlinks in its path, sorted.
    pub(crate) fn below<'a>(
        &'a self,
        directory: &str,
    ) -> impl Iterator<Item = (&'a str, &'a Fact)> + use<'a> {
        self.0.below(directory)
    }

    /// Every library and program, sorted by path.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &FileFact)> {
        self.nodes().filter_map(|(path, fact)| match fact {
            Fact::File(file) => Some((path, file.as_ref())),
            _ => None,
        })
    }

    /// Every text, sorted by path.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.nodes().filter_map(|(path, fact)| match fact {
            Fact::Text(text) => Some((path, text.as_str())),
            _ => None,
        })
    }

    /// The library or program that `path` leads to, and where it is.
    pub(crate) fn file(&self, path: &str) -> Option<(String, &FileFact)> {
        let real = self.resolve(path)?;
        match self.0.get(&real)? {
            Fact::File(file) => Some((real, file)),
            _ => None,
        }
    }

    /// Returns whether `path` leads to a file, whatever is known of it.
    pub(crate) fn is_file(&self, path: &str) -> bool {
        let fact = self.resolve(path).and_then(|real| self.0.get(&real));
        matches!(fact, Some(Fact::File(_) | Fact::Text(_) | Fact::Other))
    }

    /// The text that `path` leads to.
    pub(crate) fn read(&self, path: &str) -> Option<&str> {
        match self.0.get(&self.resolve(path)?)? {
            Fact::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The target of the symlink at a path whose directory is no symlink, as written.
    pub(crate) fn symlink(&self, path: &str) -> Option<&str> {
        self.0.get(path)?.link()
    }

    /// The path with every symlink followed, without a leading slash; `None` for a loop.
    pub(crate) fn resolve(&self, path: &str) -> Option<String> {
        self.0.resolve(path)
    }

    fn node(&self, path: &str) -> FileNode {
        let Some(resolved) = self.resolve(path) else { return FileNode::Dangling };
        match self.0.get(&resolved) {
            Some(Fact::File(file)) => {
                FileNode::File { identity: file.first.clone().unwrap_or(resolved), elf: file.elf.clone() }
            }
            Some(Fact::Text(_) | Fact::Other) => FileNode::File { identity: resolved, elf: None },
            _ if self.is_directory(&resolved) => FileNode::Directory { identity: resolved },
            _ => FileNode::Dangling,
        }
    }

    pub(crate) fn is_directory(&self, path: &str) -> bool {
        self.0.is_directory(path)
    }
}

impl Root for InventoryFacts {
    fn directory(&self, path: &str) -> Option<DirectoryListing> {
        let identity = self.resolve(path)?;
        if !self.is_directory(&identity) {
            return None;
        }
        let start = if identity.is_empty() { 0 } else { identity.len() + 1 };
        let mut entries: BTreeMap<&str, bool> = BTreeMap::new();
        for (path, fact) in self.below(&identity) {
            match path[start..].split_once('/') {
                Some((directory, _)) => drop(entries.entry(directory).or_insert(false)),
                None => drop(entries.insert(&path[start..], matches!(fact, Fact::Symlink(_)))),
            }
        }
        let entry = |(name, symlink): (&str, bool)| elf::DirectoryEntry {
            name: name.to_owned(),
            symlink,
            node: self.node(&join(&identity, name)),
        };
        let entries = entries.into_iter().map(entry).collect();
        Some(DirectoryListing { identity, entries })
    }

    fn text(&self, path: &str) -> Option<Vec<u8>> {
        self.read(path).map(|text| text.as_bytes().to_vec())
    }
}

#[cfg(test)]
pub(crate) mod tests;
