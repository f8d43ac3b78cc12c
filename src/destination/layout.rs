//! An OCI image layout: a directory of blobs and an index.
//!
//! <https://github.com/opencontainers/image-spec/blob/main/image-layout.md>

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::PublishError;
use super::index::{IndexDocument, tagged};
use crate::image::PublishedImage;
use crate::oci::Digest;
use crate::store::{self, FileIdentity, Store, UnnamedFile, clear_abandoned, sync_directory};

pub(super) const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// Adds `image` to the layout at `directory` under `tag`; other images stay. Blobs that only the image formerly under
/// `tag` used are removed.
///
/// A process that is killed on the way leaves the layout as it was, and blobs that the next one makes use of or removes.
pub(super) fn publish(
    image: &PublishedImage,
    directory: &Path,
    tag: &str,
    store: &Store,
) -> Result<(), PublishError> {
    let LayoutWriting { mut index, blobs, _alone } = LayoutWriting::begin(directory)?;
    place_blobs(image, &blobs, store)?;
    let replaced = index.put(tagged(image.descriptor(), tag), tag);
    index.forget_attached(&replaced, &directory.join("blobs"));
    finish(directory, &index)
}

/// A layout that nobody else writes into meanwhile.
pub(super) struct LayoutWriting {
    /// Its index.
    pub index: IndexDocument,
    /// The directory of its blobs.
    pub blobs: PathBuf,
    /// Keeps others from it.
    pub _alone: Option<File>,
}

impl LayoutWriting {
    /// Begins to write into the layout at `directory`, and makes one where there is none.
    pub(super) fn begin(directory: &Path) -> Result<Self, PublishError> {
        clear_abandoned(directory);
        check(directory)?;
        fs::create_dir_all(directory).map_err(PublishError::write(directory))?;
        // First, so that the directory is never taken for something else.
        write(&directory.join("oci-layout"), LAYOUT.as_bytes())?;
        let _alone = alone(directory);
        let index = IndexDocument::read(&directory.join("index.json"))?;
        let blobs = blobs_of(directory);
        fs::create_dir_all(&blobs).map_err(PublishError::write(&blobs))?;
        clear_abandoned(&blobs);
        Ok(Self { index, blobs, _alone })
    }
}

/// Refuses a directory that is something else than a layout, and what is no directory.
pub(super) fn check(directory: &Path) -> Result<(), PublishError> {
    let is_foreign = match fs::metadata(directory) {
        Ok(there) if there.is_dir() => {
            !directory.join("oci-layout").exists()
                && fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some())
        }
        Ok(_) => true,
        Err(_) => false,
    };
    match is_foreign {
        true => Err(PublishError::NotALayout { path: directory.to_owned() }),
        false => Ok(()),
    }
}

/// Names what is in the layout, and removes the blobs that nothing names any more.
pub(super) fn finish(directory: &Path, index: &IndexDocument) -> Result<(), PublishError> {
    let path = directory.join("index.json");
    write(&path, &index.to_json().map_err(PublishError::write(&path))?)?;
    remove_unused(directory, index)
}

fn place_blobs(image: &PublishedImage, blobs: &Path, store: &Store) -> Result<(), PublishError> {
    for (digest, size) in image.layers() {
        place(store, blobs, &digest, size)?;
    }
    for document in image.small_blobs().into_values().chain(image.manifests()) {
        write(&blobs.join(document.descriptor.digest().hex()), document.bytes)?;
    }
    sync(blobs)
}

/// Has the disk keep what is placed: the index shall name only what is there, after a loss of power too: its blobs, and the
/// directories to them.
pub(super) fn sync(blobs: &Path) -> Result<(), PublishError> {
    let mut directories = blobs.ancestors().take(3);
    directories.try_for_each(|path| sync_directory(path).map_err(PublishError::write(path)))
}

/// The directory of a layout's blobs.
pub(super) fn blobs_of(directory: &Path) -> PathBuf {
    directory.join("blobs/sha256")
}

/// Waits until no other build publishes into the layout; where directories cannot be locked, builds trust their luck.
pub(super) fn alone(directory: &Path) -> Option<File> {
    let directory = File::open(directory).ok()?;
    directory.lock().ok()?;
    Some(directory)
}

/// Puts a blob of the store into the layout: a hard link where the file system allows one, else a copy.
///
/// A blob that is there already is left as it is where it is the store's, or was copied before and has not changed since.
pub(super) fn place(store: &Store, blobs: &Path, digest: &Digest, size: u64) -> Result<(), PublishError> {
    let target = blobs.join(digest.hex());
    if store.is_blob(digest, &target) || store.link_out(digest, &target) || has(store, blobs, digest) {
        return Ok(());
    }
    let source = store.open_blob(digest)?;
    let copy = || {
        let mut file = UnnamedFile::new_in(blobs)?;
        file.copy_from(&source, size)?;
        file.sync()?.persist(&target)
    };
    copy().map_err(PublishError::write(&target))?;
    if let Some(file) = FileIdentity::at(&target) {
        store.note_published(digest, &file);
    }
    Ok(())
}

/// Returns whether a blob is there that was verified before, and has not changed since.
pub(super) fn has(store: &Store, blobs: &Path, digest: &Digest) -> bool {
    FileIdentity::at(&blobs.join(digest.hex())).is_some_and(|file| store.has_seen(digest, &file))
}

/// Replaces the file at `path` in one step; leaves it alone when it has these bytes already.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), PublishError> {
    let is_file = fs::symlink_metadata(path).is_ok_and(|there| there.is_file());
    if is_file && fs::read(path).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    store::write(path, bytes).map_err(PublishError::write(path))
}

/// Removes the blobs that no image of the index names. A layout with a manifest that cannot be read is left as it is.
pub(super) fn remove_unused(directory: &Path, index: &IndexDocument) -> Result<(), PublishError> {
    let Some(used) = index.reached(&directory.join("blobs")) else { return Ok(()) };
    let blobs = blobs_of(directory);
    let entries = fs::read_dir(&blobs).map_err(PublishError::write(&blobs))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let digest = name.to_str().and_then(|name| Digest::from_hex(name).ok());
        if digest.is_some_and(|digest| !used.contains(&digest.to_string())) {
            fs::remove_file(entry.path()).map_err(PublishError::write(entry.path()))?;
        }
    }
    Ok(())
}
