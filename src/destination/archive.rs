//! One tar that docker, podman, skopeo and containerd all load: an OCI layout with docker's `manifest.json` over the
//! same blobs.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::PublishError;
use super::archive_writer::{ArchiveFile, ArchiveWriter, ArchivedImage};
use super::index::tagged;
use crate::image::PublishedImage;
use crate::place::STANDARD_OUTPUT;
use crate::store::{FileIdentity, Store, UnnamedFile, clear_abandoned};

/// Writes the archive at `file`: replacing a regular file once it is whole, and byte by byte into anything else.
pub(super) fn publish(
    image: &PublishedImage,
    file: &Path,
    name: &str,
    tag: &str,
    store: &Store,
) -> Result<(), PublishError> {
    let archived = ArchivedImage {
        image,
        docker_name: format!("{name}:{tag}"),
        entry: tagged(image.descriptor(), tag),
        tag,
    };
    match ArchiveOutlet::of(file)? {
        ArchiveOutlet::Stream(stream) => {
            let written = write(&archived, ArchiveFile::Stream(stream), store);
            written.map(drop).map_err(PublishError::write(file))
        }
        ArchiveOutlet::File(file) => replace(&archived, &file, store),
    }
}

fn replace(archived: &ArchivedImage<'_>, file: &Path, store: &Store) -> Result<(), PublishError> {
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(directory).map_err(PublishError::write(directory))?;
    clear_abandoned(directory);
    let temporary = UnnamedFile::new_in(directory).map_err(PublishError::write(directory))?;
    let named = write(archived, ArchiveFile::Temporary(temporary), store).and_then(|written| match written {
        ArchiveFile::Temporary(temporary) => temporary.persist(file),
        ArchiveFile::Stream(_) => Ok(()),
    });
    named.map_err(PublishError::write(file))?;
    if let Some(identity) = FileIdentity::at(file) {
        archived.image.layers().keys().for_each(|layer| store.note_published(layer, &identity));
    }
    Ok(())
}

fn write(archived: &ArchivedImage<'_>, file: ArchiveFile, store: &Store) -> io::Result<ArchiveFile> {
    let mut archive = ArchiveWriter::new(file);
    archived.write(&mut archive, store, &BTreeSet::new(), &|_| ())?;
    archive.finish()
}

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
