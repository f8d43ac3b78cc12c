//! The content of a store, by kind.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use serde::Serialize;

use super::{Store, StoreError, guarded};

/// The number and size of a store's files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// All blobs.
    pub blobs: Amount,
    /// The blobs by kind.
    pub blob_kinds: BTreeMap<BlobKind, Amount>,
    /// The records of what was learned and decided, by kind.
    pub records: BTreeMap<String, Amount>,
    /// The downloads that are not whole yet.
    pub partial: Amount,
}

/// Some files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// Their number.
    pub count: u64,
    /// Their size in bytes.
    pub bytes: u64,
}

/// The kind of a blob, as its first bytes tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlobKind {
    /// Zip archives.
    Wheels,
    /// `.deb` files.
    DebianPackages,
    /// Compressed by gzip or zstd.
    Layers,
    /// JSON.
    Documents,
    /// Package indexes and whatever else.
    Others,
}

impl BlobKind {
    fn of(start: &[u8]) -> Self {
        match start {
            [b'P', b'K', ..] => Self::Wheels,
            [b'!', b'<', b'a', b'r', ..] => Self::DebianPackages,
            [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Layers,
            [b'{', ..] => Self::Documents,
            _ => Self::Others,
        }
    }

    /// The kind in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Wheels => "wheels",
            Self::DebianPackages => "Debian packages",
            Self::Layers => "layers and archives",
            Self::Documents => "documents of images",
            Self::Others => "others",
        }
    }
}

impl Amount {
    fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

impl Store {
    /// The number and size of the store's files.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        let mut usage = Usage::default();
        let blobs = self.root.join("blobs/sha256");
        let sort = |path: &Path, size: u64| {
            usage.blobs.add(size);
            usage.blob_kinds.entry(BlobKind::of(&start(path)?)).or_default().add(size);
            Ok(())
        };
        each_file(&blobs, sort).map_err(StoreError::new("list", &blobs))?;
        let records = self.root.join("records");
        let kinds = subdirectories(&records).map_err(StoreError::new("list", &records))?;
        for kind in kinds {
            let amount = usage.records.entry(kind.clone()).or_default();
            let count = |_: &Path, size| {
                amount.add(size);
                Ok(())
            };
            each_file(&records.join(kind), count).map_err(StoreError::new("list", &records))?;
        }
        let temporary = self.root.join("tmp");
        let count = |path: &Path, size| {
            let name = path.file_name().unwrap_or_default();
            if name.to_string_lossy().starts_with("partial-") {
                usage.partial.add(size);
            }
            Ok(())
        };
        each_file(&temporary, count).map_err(StoreError::new("list", &temporary))?;
        Ok(usage)
    }
}

/// Hands on every file of a directory with its size; one that is gone meanwhile is passed over.
fn each_file(directory: &Path, mut each: impl FnMut(&Path, u64) -> io::Result<()>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let seen = entry.metadata().and_then(|metadata| match metadata.is_file() {
            true => each(&entry.path(), metadata.len()),
            false => Ok(()),
        });
        match seen {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            seen => seen?,
        }
    }
    Ok(())
}

fn subdirectories(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

/// The first bytes of a file, which does not count as used by that.
fn start(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    guarded::open_unmarked(path)?.take(4).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;

    #[test]
    fn a_store_is_counted_by_kind() {
        let directory = tempfile::TempDir::new().unwrap();
        let store = Store::open(directory.path()).unwrap();
        for blob in [&b"PK\x03\x04wheel"[..], b"!<arch>\ndeb", b"\x1f\x8bgzip", b"{}", b"Package: a", b""] {
            store.put_blob(blob).unwrap();
        }
        store.put_record("layer", &Digest::of("a"), &1).unwrap();
        let usage = store.usage().unwrap();
        let kinds: Vec<_> = usage.blob_kinds.iter().map(|(kind, it)| (*kind, it.count, it.bytes)).collect();
        assert_eq!(
            kinds,
            [
                (BlobKind::Wheels, 1, 9),
                (BlobKind::DebianPackages, 1, 11),
                (BlobKind::Layers, 1, 6),
                (BlobKind::Documents, 1, 2),
                (BlobKind::Others, 2, 10)
            ]
        );
        assert_eq!((usage.blobs.count, usage.blobs.bytes), (6, 38));
        assert_eq!(usage.records["layer"].count, 1);
    }
}
