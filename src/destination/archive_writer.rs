//! The tar that holds an image: blobs, the documents of a layout, and docker's `manifest.json` over them.
//!
//! <https://github.com/moby/docker-image-spec/blob/main/v1.2.md#combined-image-json--filesystem-changeset-format>

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};

use serde::Serialize;

use super::index::IndexDocument;
use super::layout;
use crate::image::{Image, PublishedImage};
use crate::oci::{Descriptor, Digest, Entry, EntryKind, tar};
use crate::store::{Store, UnnamedFile, copy_whole};

/// The bytes that are written at once.
const BUFFER: usize = 1 << 20;

/// One image of docker's `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerManifest {
    /// The path of the config.
    pub config: String,
    /// `NAME:TAG` each.
    pub repo_tags: Vec<String>,
    /// The paths of the layers, bottom first.
    pub layers: Vec<String>,
}

/// A file that an archive is written to.
pub(super) enum ArchiveFile {
    /// One that gets its name when it is whole.
    Temporary(UnnamedFile),
    /// A pipe, or what else only takes bytes.
    Stream(File),
}

impl ArchiveFile {
    fn copy_from(&mut self, source: &File, size: u64) -> io::Result<()> {
        match self {
            Self::Temporary(file) => file.copy_from(source, size),
            Self::Stream(stream) => copy_whole(source, size, stream),
        }
    }
}

impl Write for ArchiveFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Temporary(file) => file.write(bytes),
            Self::Stream(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Temporary(file) => file.flush(),
            Self::Stream(stream) => stream.flush(),
        }
    }
}

/// A tar being written.
pub(super) struct ArchiveWriter {
    writer: BufWriter<ArchiveFile>,
}

impl ArchiveWriter {
    /// Begins an archive.
    pub(super) fn new(file: ArchiveFile) -> Self {
        Self { writer: BufWriter::with_capacity(BUFFER, file) }
    }

    /// Adds the directories of a layout.
    pub(super) fn layout_directories(&mut self) -> io::Result<()> {
        self.directory("blobs")?;
        self.directory("blobs/sha256")
    }

    fn directory(&mut self, path: &str) -> io::Result<()> {
        self.writer.write_all(&tar::header(&entry(path, 0o755, EntryKind::Directory)))
    }

    /// Adds a file with these bytes.
    pub(super) fn bytes(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        self.content(path, content.len() as u64, content)
    }

    /// Adds a file of `size` bytes, which `content` gives.
    pub(super) fn content(&mut self, path: &str, size: u64, content: impl Read) -> io::Result<()> {
        self.writer.write_all(&tar::header(&entry(path, 0o644, EntryKind::File { size })))?;
        let copied = io::copy(&mut content.take(size.saturating_add(1)), &mut self.writer)?;
        if copied != size {
            let message = format!("`{path}` has {copied} bytes instead of {size}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        self.writer.write_all(&tar::END[..tar::padding(size)])
    }

    /// Copies a blob without looking at it: it was verified when it came into the store.
    pub(super) fn blob(&mut self, digest: &Digest, size: u64, content: &File) -> io::Result<()> {
        self.writer.write_all(&tar::header(&entry(&blob_path(digest), 0o644, EntryKind::File { size })))?;
        self.writer.flush()?;
        self.writer.get_mut().copy_from(content, size)?;
        self.writer.write_all(&tar::END[..tar::padding(size)])
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> io::Result<ArchiveFile> {
        self.writer.write_all(&tar::END)?;
        self.writer.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

/// An image as an archive names it.
pub(super) struct ArchivedImage<'a> {
    /// The image.
    pub image: &'a PublishedImage,
    /// Its name for docker: `NAME:TAG`.
    pub docker_name: String,
    /// Its entry in the layout's index.
    pub entry: Descriptor,
    /// The tag or name of that entry.
    pub tag: &'a str,
}

impl ArchivedImage<'_> {
    /// Writes the image as a layout, that of one platform with docker's manifest; the layers that are `left_out` are where the archive goes.
    /// `written` is told the size of each layer that is there then.
    pub(super) fn write(
        &self,
        archive: &mut ArchiveWriter,
        store: &Store,
        left_out: &BTreeSet<Digest>,
        written: &dyn Fn(u64),
    ) -> io::Result<()> {
        let image = self.image;
        let mut index = IndexDocument::new();
        index.put(self.entry.clone(), self.tag);
        archive.layout_directories()?;
        for document in image.small_blobs().into_values().chain(image.manifests()) {
            archive.bytes(&blob_path(&document.descriptor.digest()), document.bytes)?;
        }
        for (digest, size) in image.layers() {
            if !left_out.contains(&digest) {
                let content = store.open_blob(&digest).map_err(io::Error::other)?;
                archive.blob(&digest, size, &content)?;
            }
            written(size);
        }
        archive.bytes("index.json", &index.to_json()?)?;
        if let PublishedImage::Single(image) = image {
            archive.bytes("manifest.json", &serde_json::to_vec(&[self.docker_manifest(image)])?)?;
        }
        archive.bytes("oci-layout", layout::LAYOUT.as_bytes())
    }

    /// Docker's word on an image. It has none for several platforms.
    fn docker_manifest(&self, image: &Image) -> DockerManifest {
        DockerManifest {
            config: blob_path(&image.config.digest()),
            repo_tags: vec![self.docker_name.clone()],
            layers: image.layers.iter().map(|layer| blob_path(&layer.digest)).collect(),
        }
    }
}

/// The path of a blob in a layout.
pub(super) fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn entry(path: &str, mode: u32, kind: EntryKind) -> Entry {
    Entry { path: path.to_owned(), mode, uid: 0, gid: 0, mtime: 0, kind }
}
