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
use super::index::named_in_archive;
use crate::image::PublishedImage;
use crate::oci::Digest;
use crate::place::STANDARD_OUTPUT;
use crate::store::{FileIdentity, Store, UnnamedFile, clear_abandoned};

/// Writes the archive at `file`: replacing a regular file once it is whole, and byte by byte into anything else.
pub(super) fn publish(
    image: &PublishedImage,
    file: &Path,
    name: &str,
    tag: Option<&str>,
    store: &Store,
) -> Result<(), PublishError> {
    let ArchivedName { whole, tag } = &ArchivedName::of(name, tag);
    let archived = ArchivedImage {
        image,
        docker_name: whole.clone(),
        entry: named_in_archive(image.descriptor(), whole, tag),
        tag,
    };
    let layers: Vec<Digest> = image.layers().into_keys().collect();
    put(file, &layers, store, |archive| archived.write(archive, store, &BTreeSet::new(), &|_| ()))
}

/// Writes an archive at `file`, whose `blobs` are the store's.
pub(super) fn put(
    file: &Path,
    blobs: &[Digest],
    store: &Store,
    write: impl FnOnce(&mut ArchiveWriter) -> io::Result<()>,
) -> Result<(), PublishError> {
    match ArchiveOutlet::of(file)? {
        ArchiveOutlet::Stream(stream) => {
            let written = written(ArchiveFile::Stream(stream), write);
            written.map(drop).map_err(PublishError::write(file))
        }
        ArchiveOutlet::File(file) => replace(&file, blobs, store, write),
    }
}

/// The name of an image in an archive.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ArchivedName {
    /// `team/app:v1`
    pub whole: String,
    /// `v1`
    pub tag: String,
}

impl ArchivedName {
    /// The name that stands behind the file, `app:v1` or a tag alone; what it leaves open is the image's own.
    pub(super) fn of(name: &str, behind: Option<&str>) -> Self {
        let is_tag = |(_, tag): &(&str, &str)| !tag.contains('/');
        let split = |text: &str| {
            let (name, tag) = text.rsplit_once(':').filter(is_tag).unwrap_or((text, "latest"));
            (name.to_owned(), tag.to_owned())
        };
        let (name, tag) = match behind {
            Some(whole) if whole.contains([':', '/']) => split(whole),
            Some(tag) => (split(name).0, tag.to_owned()),
            None => split(name),
        };
        Self { whole: format!("{name}:{tag}"), tag }
    }
}

fn replace(
    file: &Path,
    blobs: &[Digest],
    store: &Store,
    write: impl FnOnce(&mut ArchiveWriter) -> io::Result<()>,
) -> Result<(), PublishError> {
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(directory).map_err(PublishError::write(directory))?;
    clear_abandoned(directory);
    let temporary = UnnamedFile::new_in(directory).map_err(PublishError::write(directory))?;
    let named = written(ArchiveFile::Temporary(temporary), write).and_then(|written| match written {
        ArchiveFile::Temporary(temporary) => temporary.persist(file),
        ArchiveFile::Stream(_) => Ok(()),
    });
    named.map_err(PublishError::write(file))?;
    if let Some(identity) = FileIdentity::at(file) {
        blobs.iter().for_each(|blob| store.note_published(blob, &identity));
    }
    Ok(())
}

fn written(
    file: ArchiveFile,
    write: impl FnOnce(&mut ArchiveWriter) -> io::Result<()>,
) -> io::Result<ArchiveFile> {
    let mut archive = ArchiveWriter::new(file);
    write(&mut archive)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_behind_the_file_goes_before_the_images_own() {
        let check = |name: &str, behind: Option<&str>, whole: &str, tag: &str| {
            let expected = ArchivedName { whole: whole.to_owned(), tag: tag.to_owned() };
            assert_eq!(ArchivedName::of(name, behind), expected);
        };
        check("app", None, "app:latest", "latest");
        check("app:12", None, "app:12", "12");
        check("app:12", Some("v7"), "app:v7", "v7");
        check("app", Some("team/web:v7"), "team/web:v7", "v7");
        check("app", Some("team/web"), "team/web:latest", "latest");
        check("app", Some("localhost:5000/web"), "localhost:5000/web:latest", "latest");
    }
}
