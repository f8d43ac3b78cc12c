//! An OCI image layout in one tar; and the tar itself, whose files are read where they lie.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::documents::{DocumentRoot, check_document_size, open_documents};
use super::layout::INDEX_FILE;
use super::{Blobs, SourceError, SourceImage};
use crate::oci::paths::LONGEST_NAME;
use crate::oci::tar::read::{MemberKind, TarError, TarEvent, TarMember, TarReader};
use crate::oci::{Architecture, Descriptor, Digest};
use crate::plain_file;
use crate::store::{FileIdentity, FileRange};

/// The files of an archive: an image has some hundred blobs.
const MOST_MEMBERS: usize = 1 << 16;

/// Opens the image in an archive that was read from `file`.
pub(super) fn open(
    archive: &IndexedTar,
    file: &Path,
    tag: Option<&str>,
    architecture: Option<Architecture>,
    place: &str,
) -> Result<SourceImage, SourceError> {
    let bytes = archive.entry_document(INDEX_FILE, "oci-archive", file, place)?;
    let root = DocumentRoot::Index { bytes, tag: tag.map(str::to_owned) };
    open_documents(root, Arc::new(archive.blobs()), architecture, place)
}

/// A tar whose files are known by path.
#[derive(Debug)]
pub(super) struct IndexedTar {
    file: Arc<File>,
    members: BTreeMap<String, Place>,
}

#[derive(Debug)]
enum Place {
    /// The place of a file's content.
    File(Range<u64>),
    /// Another path of the archive.
    Link(String),
}

impl IndexedTar {
    /// Reads the headers of the tar at `path`.
    pub(super) fn open(path: &Path) -> Result<Self, SourceError> {
        Self::read(plain_file::open(path).map_err(SourceError::read(path))?, path)
    }

    /// Reads the headers of a tar that is at `path`.
    pub(super) fn read(file: File, path: &Path) -> Result<Self, SourceError> {
        let mut magic = [0; 6];
        let count = file.read_at(&mut magic, 0).map_err(SourceError::read(path))?;
        if is_compressed(&magic[..count]) {
            return Err(SourceError::CompressedArchive { path: path.to_owned() });
        }
        match members(&file) {
            Ok(Ok(members)) => Ok(Self { file: Arc::new(file), members }),
            Ok(Err(source)) => Err(SourceError::NotAnArchive { path: path.to_owned(), source }),
            Err(source) => Err(SourceError::read(path)(source)),
        }
    }

    /// The place of the content of the file `path`, followed through links.
    pub(super) fn range(&self, path: &str) -> Option<Range<u64>> {
        const MAX_LINKS: usize = 8;
        let mut path = path;
        for _ in 0..MAX_LINKS {
            match self.members.get(path)? {
                Place::File(range) => return Some(range.clone()),
                Place::Link(target) => path = target,
            }
        }
        None
    }

    /// The bytes of the file `path`, when there is one.
    pub(super) fn document(&self, path: &str, place: &str) -> Result<Option<Vec<u8>>, SourceError> {
        let Some(range) = self.range(path) else { return Ok(None) };
        check_document_size(place, &format!("`{path}`"), range.end - range.start)?;
        let mut bytes = Vec::new();
        self.reader(range).read_to_end(&mut bytes).map_err(SourceError::read(path))?;
        Ok(Some(bytes))
    }

    /// The bytes of the file that every archive of `transport` is read from first.
    ///
    /// # Errors
    ///
    /// As [`IndexedTar::document`], and [`SourceError::OtherArchive`] where the archive at `path` has no such file.
    pub(super) fn entry_document(
        &self,
        name: &'static str,
        transport: &'static str,
        path: &Path,
        place: &str,
    ) -> Result<Vec<u8>, SourceError> {
        let other = || SourceError::OtherArchive { path: path.to_owned(), missing: name, transport };
        self.document(name, place)?.ok_or_else(other)
    }

    /// Reads a range of the archive.
    pub(super) fn reader(&self, range: Range<u64>) -> impl Read + Send + use<> {
        FileRange::new(Arc::clone(&self.file), range)
    }

    /// The blobs of the layout that the archive is.
    pub(super) fn blobs(&self) -> Parts {
        let digest = |path: &str| Digest::from_hex(path.strip_prefix("blobs/sha256/")?).ok();
        let blob = |path: &String| Some((digest(path)?, self.range(path)?));
        self.parts(self.members.keys().filter_map(blob).collect())
    }

    /// Blobs that lie in the archive.
    pub(super) fn parts(&self, blobs: BTreeMap<Digest, Range<u64>>) -> Parts {
        Parts { file: Arc::clone(&self.file), blobs }
    }
}

fn is_compressed(magic: &[u8]) -> bool {
    const GZIP: &[u8] = &[0x1f, 0x8b];
    const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
    const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
    [GZIP, ZSTD, XZ, b"BZh"].iter().any(|start| magic.starts_with(start))
}

/// Reads every header of a tar, and nothing of what lies between them.
fn members(file: &File) -> io::Result<Result<BTreeMap<String, Place>, TarError>> {
    let length = file.metadata()?.len();
    let mut members = BTreeMap::new();
    let mut reader = TarReader::default();
    let mut position = 0;
    let mut buffer = vec![0; 4096];
    while !reader.has_ended() {
        let ahead = reader.content_ahead().min(length.saturating_sub(position));
        reader.pass(ahead);
        position += ahead;
        let count = file.read_at(&mut buffer, position)?;
        if count == 0 {
            break;
        }
        let mut bytes = &buffer[..count];
        loop {
            match reader.next(&mut bytes) {
                Ok(Some(TarEvent::Begin)) => {
                    let start = position + (count - bytes.len()) as u64;
                    let end = start + reader.content_ahead();
                    if members.len() == MOST_MEMBERS {
                        return Ok(Err(TarError::ManyMembers { most: MOST_MEMBERS }));
                    }
                    members.extend(member(reader.member(), start..end));
                    if end > position + count as u64 {
                        break;
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => return Ok(Err(error)),
            }
        }
        position += (count - bytes.len()) as u64;
    }
    Ok(reader.finish().map(|()| members))
}

fn member(member: &TarMember, range: Range<u64>) -> Option<(String, Place)> {
    let named = |bytes: &'_ [u8]| bytes.len() <= LONGEST_NAME;
    if !named(&member.path) || !named(&member.link) {
        return None;
    }
    let path = relative(str::from_utf8(&member.path).ok()?, "")?;
    let link = str::from_utf8(&member.link).ok();
    let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
    let place = match member.kind {
        MemberKind::File => Place::File(range),
        MemberKind::Symlink => Place::Link(relative(link?, directory)?),
        MemberKind::Hardlink => Place::Link(relative(link?, "")?),
        _ => return None,
    };
    Some((path, place))
}

/// The path that `path` in `directory` means; `None` for one outside the archive.
fn relative(path: &str, directory: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in directory.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Blobs within a file.
#[derive(Debug)]
pub(super) struct Parts {
    file: Arc<File>,
    blobs: BTreeMap<Digest, Range<u64>>,
}

impl Parts {
    fn range(&self, blob: &Descriptor) -> io::Result<Range<u64>> {
        self.blobs.get(&blob.digest()).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Blobs for Parts {
    fn open(&self, blob: &Descriptor) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(FileRange::new(Arc::clone(&self.file), self.range(blob)?)))
    }

    fn size(&self, blob: &Descriptor) -> io::Result<Option<u64>> {
        self.range(blob).map(|range| Some(range.end - range.start))
    }

    fn identity(&self, blob: &Descriptor) -> Option<FileIdentity> {
        self.blobs.contains_key(&blob.digest()).then(|| FileIdentity::of_file(&self.file))?
    }
}
