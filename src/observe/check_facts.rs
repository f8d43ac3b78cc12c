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
pub const EVIDENCE_FORMAT: u32 = 12;

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
        /// Its owner, where not everyone may enter it.
        owner: Option<Box<FileOwner>>,
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
    /// Its owner, where not everyone may read it.
    owner: Option<Box<FileOwner>>,
}

/// The numbers of a file's owner and group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileOwner {
    /// The user's.
    pub uid: u64,
    /// The group's.
    pub gid: u64,
}

impl FileOwner {
    /// The owner of an entry whose mode lacks `for_all`, by which all others would have the right.
    fn of(entry: &Entry, for_all: u32) -> Option<Box<Self>> {
        let is_closed = entry.mode & for_all == 0;
        is_closed.then(|| Box::new(Self { uid: entry.uid, gid: entry.gid }))
    }

    /// Returns whether a user of these numbers has the right that is `for_all` in `mode`.
    fn admits(&self, mode: u32, for_all: u32, user: Self) -> bool {
        match () {
            () if user.uid == 0 => true,
            () if user.uid == self.uid => mode & (for_all << 6) != 0,
            () if user.gid == self.gid => mode & (for_all << 3) != 0,
            () => mode & for_all != 0,
        }
    }
}

/// The right of all others to read a file.
const READ_BY_ALL: u32 = 0o004;
/// The right of all others to enter a directory.
const ENTERED_BY_ALL: u32 = 0o001;

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
    /// A text that pip, the loader or a bill of materials reads; of a Debian package's copyright file the licences, one a line.
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
/// The bytes of dpkg's `status`, which a bill of materials is made of: that of a desktop has 6 MB.
const LONGEST_STATUS: u64 = 24 << 20;

/// Returns whether a proof reads the text at `path`, up to how many bytes.
pub(super) fn text_limit(path: &str) -> Option<u64> {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    match name {
        "RECORD" if directory.ends_with(".dist-info") => Some(LONGEST_RECORD),
        "METADATA" | "WHEEL" | "direct_url.json" if directory.ends_with(".dist-info") => Some(LONGEST_TEXT),
        "PKG-INFO" if directory.ends_with(".egg-info") => Some(LONGEST_TEXT),
        _ if name.ends_with(".egg-info") && is_private(path) => Some(LONGEST_TEXT),
        "copyright" if is_copyright(path) => Some(LONGEST_TEXT),
        "status" if directory == "var/lib/dpkg" => Some(LONGEST_STATUS),
        _ if directory == "var/lib/dpkg/status.d" && !name.ends_with(".md5sums") => Some(LONGEST_TEXT),
        "ld.so.cache" | "ld.so.preload" | "passwd" | "group" if directory == "etc" => Some(LONGEST_TEXT),
        _ if name.ends_with(".pth") && is_private(path) => Some(LONGEST_TEXT),
        _ => None,
    }
}

/// Returns whether `path` is the copyright file of a Debian package.
pub(super) fn is_copyright(path: &str) -> bool {
    let package = path.strip_prefix("usr/share/doc/").and_then(|rest| rest.strip_suffix("/copyright"));
    package.is_some_and(|package| !package.contains('/'))
}

/// The largest module whose imports are read, in bytes: only tables of data are larger.
const LARGEST_MODULE: u64 = 1 << 20;

/// Returns whether the imports of the module at `path` matter, and up to how many bytes of source are read for them.
pub(super) fn module_limit(path: &str) -> Option<u64> {
    let is_test = ["/tests/", "/test/"].iter().any(|part| path.contains(part));
    (path.ends_with(".py") && !is_test).then_some(LARGEST_MODULE)
}

/// Returns whether a file's digest is kept: a RECORD lists it, or a file of uv's cache that is linked to.
pub(super) fn is_recorded(path: &str) -> bool {
    (is_private(path) || path.contains("/archive-v0/")) && !path.ends_with(".pyc")
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

/// An item, and the layer that it is of, by index.
struct ItemOfLayer {
    layer: usize,
    item: Item,
}

impl LayerNode for ItemOfLayer {
    fn is_directory(&self) -> bool {
        self.item.is_directory()
    }

    fn link(&self) -> Option<&str> {
        self.item.link()
    }
}

impl CheckFacts {
    /// The evidence of an image of these layers, bottom first.
    pub fn stacked(layers: impl IntoIterator<Item = Self>) -> Self {
        let mut image = Self::default();
        layers.into_iter().for_each(|layer| image.0.stack(layer.0));
        image
    }

    /// The files that an image of these layers, bottom first, shows: each with the layer that it is of, by index.
    pub fn shown(layers: impl IntoIterator<Item = Self>) -> Vec<(String, usize, u64)> {
        let mut image = Layered::<ItemOfLayer>::default();
        for (layer, facts) in layers.into_iter().enumerate() {
            image.stack(facts.0.map(|item| ItemOfLayer { layer, item }));
        }
        let file = |(path, node): (&str, &ItemOfLayer)| match &node.item {
            Item::File(file) if file.first().is_none() => Some((path.to_owned(), node.layer, file.size)),
            _ => None,
        };
        image.nodes().filter_map(file).collect()
    }

    /// Notes an entry of a layer. What is known of a file's content is noted when it has passed.
    pub fn note(&mut self, entry: &Entry) {
        if self.0.note_whiteout(entry) {
            return;
        }
        let item = match &entry.kind {
            EntryKind::Directory => {
                Item::Directory { mode: entry.mode, owner: FileOwner::of(entry, ENTERED_BY_ALL) }
            }
            EntryKind::Symlink { target } => Item::Symlink(target.as_str().into()),
            EntryKind::File { size } => Item::File(FileItem::of_header(entry, *size)),
            EntryKind::Whiteout => return,
            EntryKind::Hardlink { target } => match self.0.get(target) {
                Some(Item::File(file)) => Item::File(file.linked(target)),
                _ => Item::File(FileItem::of_header(entry, 0)),
            },
        };
        self.0.insert(&*entry.path, item);
    }

    /// Notes what is known of the content of a file whose entry was noted before.
    pub(super) fn note_file(&mut self, path: &str, file: FileItem) {
        let owner = match self.0.get(path) {
            Some(Item::File(noted)) => noted.owner.clone(),
            _ => None,
        };
        self.0.insert(path, Item::File(FileItem { owner, ..file }));
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

    /// The names right within a directory without symlinks in its path, in no order, some of them twice.
    pub fn names_in<'a>(&'a self, directory: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.0.names_in(directory)
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

    /// Everything whose path begins with `start`, in a directory without symlinks in its path, sorted.
    pub fn starting_with<'a>(&'a self, start: &str) -> impl Iterator<Item = (&'a str, &'a Item)> + use<'a> {
        self.0.starting_with(start)
    }

    /// Returns whether a user may enter every directory on the way to a path.
    pub fn is_reachable(&self, path: &str, user: FileOwner) -> bool {
        let enters = |directory: &str| match self.0.get(directory) {
            Some(Item::Directory { mode, owner: Some(owner) }) => owner.admits(*mode, ENTERED_BY_ALL, user),
            _ => true,
        };
        path.match_indices('/').all(|(end, _)| enters(&path[..end]))
    }

    /// Returns whether a user may read the file at a path without symlinks in it, and enter every directory on the way.
    pub fn is_readable(&self, path: &str, user: FileOwner) -> bool {
        let is_closed = |file: &FileItem| {
            file.owner.as_ref().is_some_and(|owner| !owner.admits(file.mode, READ_BY_ALL, user))
        };
        !matches!(self.0.get(path), Some(Item::File(file)) if is_closed(file))
            && self.is_reachable(path, user)
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
    fn of_header(entry: &Entry, size: u64) -> Self {
        Self { mode: entry.mode, size, known: None, owner: FileOwner::of(entry, READ_BY_ALL) }
    }

    pub(super) fn new(mode: u32, size: u64, known: KnownOfFile) -> Self {
        let known = Some(known).filter(|known| *known != KnownOfFile::default()).map(Box::new);
        Self { mode, size, known, owner: None }
    }

    /// The same file under another name, of which `target` is the first.
    fn linked(&self, target: &str) -> Self {
        let mut known = self.known.clone().unwrap_or_default();
        known.first.get_or_insert_with(|| target.to_owned());
        Self { mode: self.mode, size: self.size, known: Some(known), owner: self.owner.clone() }
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
