//! One tar that docker, podman, skopeo and containerd all load: an OCI layout with docker's `manifest.json` over the
//! same blobs.
//!
//! <https://github.com/moby/docker-image-spec/blob/main/v1.2.md#combined-image-json--filesystem-changeset-format>

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::index::{IndexDocument, tagged};
use super::{PublishError, layout};
use crate::image::Image;
use crate::oci::{Digest, Entry, EntryKind, tar};
use crate::place::STANDARD_OUTPUT;
use crate::store::{FileIdentity, Store, UnnamedFile, clear_abandoned, copy_whole};

/// One image of docker's `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerManifest {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

/// Writes the archive at `file`: replacing a regular file once it is whole, and byte by byte into anything else.
pub(super) fn publish(
    image: &Image,
    file: &Path,
    name: &str,
    tag: &str,
    store: &Store,
) -> Result<(), PublishError> {
    match ArchiveOutlet::of(file)? {
        ArchiveOutlet::Stream(stream) => {
            let mut archive =
                Archive { writer: BufWriter::with_capacity(BUFFER, ArchiveFile::Stream(stream)) };
            let written = write(&mut archive, image, name, tag, store).and_then(|()| archive.writer.flush());
            written.map_err(PublishError::write(file))
        }
        ArchiveOutlet::File(file) => replace(image, &file, name, tag, store),
    }
}

fn replace(image: &Image, file: &Path, name: &str, tag: &str, store: &Store) -> Result<(), PublishError> {
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(directory).map_err(PublishError::write(directory))?;
    clear_abandoned(directory);
    let temporary = UnnamedFile::new_in(directory).map_err(PublishError::write(directory))?;
    let mut archive = Archive { writer: BufWriter::with_capacity(BUFFER, ArchiveFile::Temporary(temporary)) };
    write(&mut archive, image, name, tag, store).map_err(PublishError::write(file))?;
    let written = archive.writer.into_inner().map_err(|error| error.into_error());
    let named = written.and_then(|written| match written {
        ArchiveFile::Temporary(temporary) => temporary.persist(file),
        ArchiveFile::Stream(_) => Ok(()),
    });
    named.map_err(PublishError::write(file))?;
    if let Some(identity) = FileIdentity::at(file) {
        image.layers.iter().for_each(|layer| store.note_published(&layer.digest, &identity));
    }
    Ok(())
}

/// The bytes that are written at once.
const BUFFER: usize = 1 << 20;

/// The way of an archive to its place.
enum ArchiveOutlet {
    /// A file that takes the place of what is at the path.
    File(PathBuf),
    /// A pipe, a device or standard output, which nothing can take the place of.
    Stream(File),
}

impl ArchiveOutlet {
    fn of(file: &Path) -> Result<Self, PublishError> {
        if file == Path::new(STANDARD_OUTPUT) {
            let stream = io::stdout().as_fd().try_clone_to_owned().map_err(PublishError::write(file))?;
            return Ok(Self::Stream(stream.into()));
        }
        match std::fs::metadata(file) {
            // A link is kept: what it leads to is replaced.
            Ok(there) if there.is_file() => {
                Ok(Self::File(std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned())))
            }
            Ok(there) if there.file_type().is_fifo() || there.file_type().is_char_device() => {
                let stream = File::options().write(true).open(file).map_err(PublishError::write(file))?;
                Ok(Self::Stream(stream))
            }
            Ok(there) if !there.is_dir() => Err(PublishError::NoFile { path: file.to_owned() }),
            _ => Ok(Self::File(file.to_owned())),
        }
    }
}

/// A file that an archive is written to.
enum ArchiveFile {
    Temporary(UnnamedFile),
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

fn write(archive: &mut Archive, image: &Image, name: &str, tag: &str, store: &Store) -> io::Result<()> {
    let docker = [DockerManifest {
        config: blob(&image.config.digest()),
        repo_tags: vec![format!("{name}:{tag}")],
        layers: image.layers.iter().map(|layer| blob(&layer.digest)).collect(),
    }];
    let mut index = IndexDocument::new();
    index.put(tagged(image, tag), tag);
    archive.directory("blobs")?;
    archive.directory("blobs/sha256")?;
    archive.bytes(&blob(&image.config.digest()), &image.config_bytes)?;
    archive.bytes(&blob(&image.manifest.digest()), &image.manifest_bytes)?;
    let unique: BTreeMap<Digest, u64> = image.layers.iter().map(|layer| (layer.digest, layer.size)).collect();
    for (digest, size) in unique {
        let content = store.open_blob(&digest).map_err(io::Error::other)?;
        archive.blob(&digest, size, &content)?;
    }
    archive.bytes("index.json", &index.to_json()?)?;
    archive.bytes("manifest.json", &serde_json::to_vec(&docker)?)?;
    archive.bytes("oci-layout", layout::LAYOUT.as_bytes())?;
    archive.writer.write_all(&tar::END)
}

fn blob(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

struct Archive {
    writer: BufWriter<ArchiveFile>,
}

impl Archive {
    fn directory(&mut self, path: &str) -> io::Result<()> {
        self.writer.write_all(&tar::header(&entry(path, 0o755, EntryKind::Directory)))
    }

    fn bytes(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        let size = content.len() as u64;
        self.writer.write_all(&tar::header(&entry(path, 0o644, EntryKind::File { size })))?;
        self.writer.write_all(content)?;
        self.writer.write_all(&tar::END[..tar::padding(size)])
    }

    /// Copies a blob without looking at it: it was verified when it came into the store.
    fn blob(&mut self, digest: &Digest, size: u64, content: &File) -> io::Result<()> {
        self.writer.write_all(&tar::header(&entry(&blob(digest), 0o644, EntryKind::File { size })))?;
        self.writer.flush()?;
        self.writer.get_mut().copy_from(content, size)?;
        self.writer.write_all(&tar::END[..tar::padding(size)])
    }
}

fn entry(path: &str, mode: u32, kind: EntryKind) -> Entry {
    Entry { path: path.to_owned(), mode, uid: 0, gid: 0, mtime: 0, kind }
}
