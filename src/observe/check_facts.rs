//! The evidence of a layer, from which the check proves: every path, and the parts of files that the loader and pip
//! read.
//!
//! Where [`InventoryFacts`](super::inventory_facts::InventoryFacts) are kept small so that a plan over a known base takes
//! no time, these have everything: they are read only to check a finished image.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::layered::{LayerNode, Layered};
use super::relevance::is_private;
use crate::cpython::imports::Imports;
use crate::cuda::GpuCode;
use crate::elf::Object;
use crate::oci::{Digest, Entry, EntryKind};

/// Raise when evidence is learned or written otherwise than before: records of it are made again.
pub const EVIDENCE_FORMAT: u32 = 5;

/// A layer's, or a whole image's, file system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckFacts(Layered<Item>);

/// The item at one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item {
    /// A directory.
    Directory {
        /// Permission bits.
        mode: u32,
    },
    /// A symlink, with its target as written.
    Symlink(Box<str>),
    /// A file.
    File(FileItem),
}

/// A regular file, or a device, socket or pipe, which is empty. An image has hundreds of thousands, of most of which no
/// more is known than mode and size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileItem {
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// In bytes.
    pub size: u64,
    known: Option<Box<KnownOfFile>>,
}

/// The knowledge of a file beyond its header.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownOfFile {
    /// Of files in a directory of Python's packages, which a RECORD may list.
    pub digest: Option<Digest>,
    /// The known part of its content.
    pub content: FileContent,
    /// The code for GPUs in it.
    pub gpu: Option<GpuCode>,
    /// The path of the layer's first entry for this file, where this one is a hard link to it.
    pub first: Option<String>,
}

/// The known part of a file's content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileContent {
    /// Nothing that matters.
    #[default]
    Plain,
    /// An ELF file, and the names that it may open.
    Object(Box<Object>, Opens),
    /// It begins as ELF and is none: why.
    Damaged(String),
    /// A text that pip or the loader reads.
    Text(Vec<u8>),
    /// The source of a Python module.
    Module(Imports),
}

/// The names of CUDA's libraries among the strings of a file, sorted: those that it may `dlopen`.
pub type Opens = Vec<String>;

/// The bytes of a METADATA, WHEEL or `ld.so.cache` that a proof reads: real ones stay below 1 MB.
const LONGEST_TEXT: u64 = 4 << 20;
/// The bytes of a RECORD that a proof reads: that of torch has 1.2 MB.
const LONGEST_RECORD: u64 = 24 << 20;

/// Returns whether a proof reads the text at `path`, up to how many bytes.
pub(super) fn text_limit(path: &str) -> Option<u64> {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    match name {
        "RECORD" if directory.ends_with(".dist-info") => Some(LONGEST_RECORD),
        "METADATA" | "WHEEL" if directory.ends_with(".dist-info") => Some(LONGEST_TEXT),
        "ld.so.cache" if directory == "etc" => Some(LONGEST_TEXT),
        _ => None,
    }
}

/// The largest module whose imports are read, in bytes: only tables of data are larger.
const LARGEST_MODULE: u64 = 1 << 20;

/// Returns whether the imports of the module at `path` matter, and up to how many bytes of source are read for them.
pub(super) fn module_limit(path: &str) -> Option<u64> {
    let is_on_path = is_private(path) || path.contains("lib/python3");
    let is_test = ["/tests/", "/test/"].iter().any(|part| path.contains(part));
    (path.ends_with(".py") && is_on_path && !is_test).then_some(LARGEST_MODULE)
}

/// Returns whether a file's digest is kept: a RECORD lists it.
pub(super) fn is_recorded(path: &str) -> bool {
    is_private(path) && !path.ends_with(".pyc")
}

impl LayerNode for Item {
    fn is_directory(&self) -> bool {
        matches!(self, Self::Directory { .. })
    }

    fn link(&self) -> Option<&str> {
        match self {
            Self::Symlink(target) => Some(target),
            _ => None,
        }
    }
}

impl CheckFacts {
    /// The evidence of an image of these layers, bottom first.
    pub fn stacked(layers: impl IntoIterator<Item = Self>) -> Self {
        let mut image = Self::default();
        layers.into_iter().for_each(|layer| image.0.stack(layer.0));
        image
    }

    /// Notes an entry of a layer. What is known of a file's content is noted when it has passed.
    pub fn note(&mut self, entry: &Entry) {
        if self.0.note_whiteout(entry) {
            return;
        }
        let item = match &entry.kind {
            EntryKind::Directory => Item::Directory { mode: entry.mode },
            EntryKind::Symlink { target } => Item::Symlink(target.as_str().into()),
            EntryKind::File { size } => Item::File(FileItem::of_header(entry.mode, *size)),
            EntryKind::Whiteout => return,
            EntryKind::Hardlink { target } => match self.0.get(target) {
                Some(Item::File(file)) => Item::File(file.linked(target)),
                _ => Item::File(FileItem::of_header(entry.mode, 0)),
            },
        };
        self.0.insert(&*entry.path, item);
    }

    pub(super) fn note_file(&mut self, path: &str, file: FileItem) {
        self.0.insert(path, Item::File(file));
    }

    /// Notes the digests of files that had been left out, by the paths of the files.
    pub fn note_digests(&mut self, digests: &BTreeMap<String, Digest>) {
        for (path, item) in self.0.nodes_mut() {
            if let Item::File(file) = item
                && let Some(digest) = digests.get(file.first().unwrap_or(path))
            {
                file.known.get_or_insert_default().digest = Some(*digest);
            }
        }
    }

    /// Everything there is, sorted by path.
    pub fn items(&self) -> impl Iterator<Item = (&str, &Item)> {
        self.0.nodes()
    }

    /// Every file, sorted by path.
    pub fn files(&self) -> impl Iterator<Item = (&str, &FileItem)> {
        self.items().filter_map(|(path, item)| match item {
            Item::File(file) => Some((path, file)),
            _ => None,
        })
    }

    /// Everything under a directory without symlinks in its path, sorted.
    pub fn below<'a>(&'a self, directory: &str) -> impl Iterator<Item = (&'a str, &'a Item)> + use<'a> {
        self.0.below(directory)
    }

    /// The path with every symlink followed, without a leading slash; `None` for a loop.
    pub fn resolve(&self, path: &str) -> Option<String> {
        self.0.resolve(path)
    }

    /// Returns whether the path is a directory, or leads to one.
    pub fn is_directory(&self, path: &str) -> bool {
        self.0.is_directory(path)
    }

    /// Returns whether a path without symlinks in it leads to something.
    pub fn exists(&self, path: &str) -> bool {
        self.0.get(path).is_some() || self.0.is_directory(path)
    }

    /// The file that `path` leads to, and where it is.
    pub fn file(&self, path: &str) -> Option<(String, &FileItem)> {
        let real = self.resolve(path)?;
        match self.0.get(&real)? {
            Item::File(file) => Some((real, file)),
            _ => None,
        }
    }

    /// The text that `path` leads to.
    pub fn text(&self, path: &str) -> Option<&[u8]> {
        match self.file(path)?.1.content() {
            FileContent::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl FileItem {
    fn of_header(mode: u32, size: u64) -> Self {
        Self { mode, size, known: None }
    }

    pub(super) fn new(mode: u32, size: u64, known: KnownOfFile) -> Self {
        let known = Some(known).filter(|known| *known != KnownOfFile::default()).map(Box::new);
        Self { mode, size, known }
    }

    /// The same file under another name, of which `target` is the first.
    fn linked(&self, target: &str) -> Self {
        let mut known = self.known.clone().unwrap_or_default();
        known.first.get_or_insert_with(|| target.to_owned());
        Self { known: Some(known), ..*self }
    }

    /// The digest, of files in a directory of Python's packages, which a RECORD may list.
    pub fn digest(&self) -> Option<Digest> {
        self.known.as_ref()?.digest
    }

    /// The known part of its content.
    pub fn content(&self) -> &FileContent {
        self.known.as_ref().map_or(&FileContent::Plain, |known| &known.content)
    }

    /// The code for GPUs in it.
    pub fn gpu_code(&self) -> Option<&GpuCode> {
        self.known.as_ref()?.gpu.as_ref()
    }

    /// The path of the layer's first entry for this file, where this one is a hard link to it.
    pub fn first(&self) -> Option<&str> {
        self.known.as_ref()?.first.as_deref()
    }

    /// The object, where the loader links it.
    pub fn object(&self) -> Option<&Object> {
        match self.content() {
            FileContent::Object(object, _) => Some(object),
            _ => None,
        }
    }

    /// The names that it may hand to `dlopen`.
    pub fn opens(&self) -> &[String] {
        match self.content() {
            FileContent::Object(_, opens) => opens,
            _ => &[],
        }
    }
}
