//! An OCI image layout: a directory of blobs and an index.
//!
//! <https://github.com/opencontainers/image-spec/blob/main/image-layout.md>

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::documents::{DocumentRoot, MAX_DOCUMENT, check_document_size, open_documents};
use super::{Blobs, SourceError, SourceImage};
use crate::oci::{Architecture, Descriptor};
use crate::plain_file;

/// The index of a layout, and the file that says that it is one.
pub(super) const INDEX_FILE: &str = "index.json";
const LAYOUT_FILE: &str = "oci-layout";

#[derive(Debug)]
struct LayoutDirectory {
    directory: PathBuf,
}

/// Opens the image in the layout at `directory`.
pub(super) fn open(
    directory: &Path,
    tag: Option<&str>,
    architecture: Option<Architecture>,
    place: &str,
) -> Result<SourceImage, SourceError> {
    let bytes = read_index(directory, place)?;
    let root = DocumentRoot::Index { bytes, tag: tag.map(str::to_owned) };
    open_documents(root, blobs(directory), architecture, place)
}

/// The text of the index of the layout at `directory`.
pub(super) fn read_index(directory: &Path, place: &str) -> Result<Vec<u8>, SourceError> {
    let metadata = fs::metadata(directory).map_err(SourceError::read(directory))?;
    let not_a_layout = |missing| SourceError::NotALayout { path: directory.to_owned(), missing };
    for file in [LAYOUT_FILE, INDEX_FILE] {
        if !metadata.is_dir() || !directory.join(file).is_file() {
            return Err(not_a_layout(file));
        }
    }
    let index = directory.join(INDEX_FILE);
    let size = fs::metadata(&index).map_err(SourceError::read(&index))?.len();
    check_document_size(place, "the index", size)?;
    plain_file::read(&index, MAX_DOCUMENT).map_err(SourceError::read(&index))
}

/// The blobs of the layout at `directory`.
pub(super) fn blobs(directory: &Path) -> Arc<dyn Blobs> {
    Arc::new(LayoutDirectory { directory: directory.to_owned() })
}

impl LayoutDirectory {
    fn path(&self, blob: &Descriptor) -> PathBuf {
        self.directory.join("blobs/sha256").join(blob.digest().hex())
    }
}

impl Blobs for LayoutDirectory {
    fn open(&self, blob: &Descriptor) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(plain_file::open(&self.path(blob))?))
    }

    fn size(&self, blob: &Descriptor) -> io::Result<Option<u64>> {
        fs::metadata(self.path(blob)).map(|metadata| Some(metadata.len()))
    }

    fn file(&self, blob: &Descriptor) -> Option<PathBuf> {
        Some(self.path(blob))
    }
}
