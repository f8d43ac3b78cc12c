//! The files of an image's layers as one system: every path, and the contents of those that packages are configured by.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};

use super::read::{ReadError, decompressed, each_event, kind, refused, relative};
use crate::bootstrap::contents::Contents;
use crate::failure::Hinted;
use crate::observe::layered::{LayerNode, Layered, is_whiteout};
use crate::oci::paths::ancestors;
use crate::oci::tar::read::{MemberKind, TarError, TarEvent, TarMember};
use crate::oci::{Entry, EntryKind};
use crate::store::FileRange;

/// The bytes of all contents that are kept of a system: the small files of a large one have 2 GB.
const MOST_KEPT: u64 = 16 << 30;

/// The files of an image.
#[derive(Debug)]
pub struct SystemFiles {
    /// Every path.
    pub entries: BTreeMap<String, Entry>,
    places: BTreeMap<String, Place>,
    spool: File,
}

/// The place of a content in the spool.
#[derive(Debug, Clone, Copy)]
struct Place {
    offset: u64,
    length: u64,
}

/// The reason why the files of an image cannot be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum SystemFilesError {
    #[error("a layer of the base cannot be read")]
    Layer(#[source] ReadError),
    #[error("could not read a layer of the base")]
    Blob(#[from] io::Error),
    #[error("could not keep the files of the base")]
    Spool(#[source] io::Error),
    #[error("the base has more than {MOST_KEPT} bytes of small files")]
    Large,
}

impl From<TarError> for SystemFilesError {
    fn from(error: TarError) -> Self {
        Self::Layer(error.into())
    }
}

impl Hinted for SystemFilesError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Layer(error) => error.hint(),
            Self::Blob(error) | Self::Spool(error) => error.hint(),
            Self::Large => None,
        }
    }
}

/// A path of a layer.
#[derive(Debug)]
struct SystemNode {
    entry: Entry,
    place: Option<Place>,
}

impl LayerNode for SystemNode {
    fn is_directory(&self) -> bool {
        self.entry.kind == EntryKind::Directory
    }

    fn link(&self) -> Option<&str> {
        match &self.entry.kind {
            EntryKind::Symlink { target } => Some(target),
            _ => None,
        }
    }
}

impl Contents for SystemFiles {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.reader(path)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

impl SystemFiles {
    /// The content of a file that was kept.
    pub fn reader(&self, path: &str) -> io::Result<FileRange<&File>> {
        let Place { offset, length } = self.places.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(FileRange::new(&self.spool, *offset..offset + length))
    }

    /// Reads layers, bottom first, of which `spool`, an empty file of the caller's, gets the contents that `keeps` says.
    pub fn read<R: Read>(
        layers: impl IntoIterator<Item = R>,
        keeps: &dyn Fn(&Entry) -> bool,
        spool: File,
    ) -> Result<Self, SystemFilesError> {
        let mut spooling = Spooling { keeps, spool: BufWriter::with_capacity(1 << 20, spool), length: 0 };
        let mut system: Layered<SystemNode> = Layered::default();
        for layer in layers {
            system.stack(spooling.layer(layer)?);
        }
        let spool =
            spooling.spool.into_inner().map_err(|error| SystemFilesError::Spool(error.into_error()))?;
        let (mut entries, mut places) = (BTreeMap::new(), BTreeMap::new());
        for (path, SystemNode { entry, place }) in system.nodes() {
            entries.insert(path.to_owned(), Entry { path: path.to_owned(), ..entry.clone() });
            places.extend(place.map(|place| (path.to_owned(), place)));
        }
        with_ancestors(&mut entries);
        Ok(Self { entries, places, spool })
    }
}

/// Adds the directories that layers leave out: runtimes make them as root's.
fn with_ancestors(entries: &mut BTreeMap<String, Entry>) {
    let above = entries.keys().flat_map(|path| ancestors(path));
    let missing: BTreeSet<String> =
        above.filter(|path| !entries.contains_key(*path)).map(str::to_owned).collect();
    for path in missing {
        let kind = EntryKind::Directory;
        entries.insert(path.clone(), Entry { path, mode: 0o755, uid: 0, gid: 0, mtime: 0, kind });
    }
}

/// The spool between one layer and the next.
struct Spooling<'a> {
    keeps: &'a dyn Fn(&Entry) -> bool,
    spool: BufWriter<File>,
    /// Bytes in the spool.
    length: u64,
}

impl Spooling<'_> {
    fn layer(&mut self, blob: impl Read) -> Result<Layered<SystemNode>, SystemFilesError> {
        let (mut layer, mut current) = (Layered::default(), None);
        each_event(decompressed(blob)?, |event, member| {
            match event {
                TarEvent::Begin => current = self.begin(member, &mut layer)?,
                TarEvent::Content(content) => self.keep(current.as_mut(), content)?,
                TarEvent::End => insert(&mut layer, current.take()),
            }
            Ok::<_, SystemFilesError>(())
        })?;
        Ok(layer)
    }

    /// Notes the member that begins; gives the node whose content passes.
    fn begin(
        &self,
        member: &TarMember,
        layer: &mut Layered<SystemNode>,
    ) -> Result<Option<SystemNode>, SystemFilesError> {
        let mut path = String::new();
        let fault = |reason| SystemFilesError::Layer(refused(member, reason));
        if !relative(&member.path, &mut path).map_err(fault)? {
            return Ok(None);
        }
        let Some(kind) = kind(member).map_err(SystemFilesError::Layer)? else { return Ok(None) };
        let (mode, uid, gid, mtime) = (member.mode, member.uid, member.gid, member.mtime);
        let entry = Entry { path, mode, uid, gid, mtime, kind };
        if is_whiteout(&entry) {
            layer.note_whiteout(&entry);
            return Ok(None);
        }
        let is_kept = member.kind == MemberKind::File && (self.keeps)(&entry);
        let place = is_kept.then_some(Place { offset: self.length, length: 0 });
        Ok(Some(SystemNode { entry, place }))
    }

    fn keep(&mut self, node: Option<&mut SystemNode>, content: &[u8]) -> Result<(), SystemFilesError> {
        let Some(place) = node.and_then(|node| node.place.as_mut()) else { return Ok(()) };
        self.spool.write_all(content).map_err(SystemFilesError::Spool)?;
        place.length += content.len() as u64;
        self.length += content.len() as u64;
        if self.length > MOST_KEPT { Err(SystemFilesError::Large) } else { Ok(()) }
    }
}

fn insert(layer: &mut Layered<SystemNode>, node: Option<SystemNode>) {
    if let Some(node) = node {
        layer.insert(node.entry.path.clone(), node);
    }
}
