//! One tar that docker, podman, skopeo and containerd all load: an OCI layout with docker's `manifest.json` over the
//! same blobs.
//!
//! <https://github.com/moby/docker-image-spec/blob/main/v1.2.md#combined-image-json--filesystem-changeset-format>

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde::Serialize;

use super::index::{IndexDocument, tagged};
use super::{PublishError, layout};
use crate::image::Image;
use crate::oci::{Digest, Entry, EntryKind, tar};
use crate::store::{Store, UnnamedFile, clear_abandoned};

/// One image of docker's `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerManifest {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

/// Writes the archive at `file`, replacing what is there once it is whole.
pub(super) fn publish(
    image: &Image,
    file: &Path,
    name: &str,
    tag: &str,
    store: &Store,
) -> Result<(), PublishError> {
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(directory).map_err(PublishError::write(directory))?;
    clear_abandoned(directory);
    let temporary = UnnamedFile::new_in(directory).map_err(PublishError::write(directory))?;
    let mut archive = Archive { writer: BufWriter::with_capacity(1 << 20, temporary) };
    write(&mut archive, image, name, tag, store).map_err(PublishError::write(file))?;
    let temporary =
        archive.writer.into_inner().map_err(|error| error.into_error()).map_err(PublishError::write(file))?;
    temporary.persist(file).map_err(PublishError::write(file))
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
    writer: BufWriter<UnnamedFile>,
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
