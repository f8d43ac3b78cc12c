//! The tars of layers in the store, without their compression: engines unpack these in a fraction of the time.

use std::io::{self, Read};

use super::read::decompressed;
use crate::oci::Digest;
use crate::store::Store;

/// Records of the sizes of layers' tars, by the digests of their blobs.
const RECORD: &str = "layer-tar-size";
/// Records of the blobs that layers are in, by the digests of their tars.
const BLOB: &str = "layer-of-tar";

/// Opens the tar of the layer whose blob is `digest`.
pub fn open(store: &Store, digest: &Digest) -> io::Result<Box<dyn Read + Send>> {
    Ok(Box::new(decompressed(store.open_blob(digest).map_err(io::Error::other)?)?))
}

/// The size of that tar in bytes. It was noted when the layer was written; the tar of a layer of others passes once to be
/// measured.
pub fn size(store: &Store, digest: &Digest) -> io::Result<u64> {
    if let Some(size) = store.record(RECORD, digest) {
        return Ok(size);
    }
    let size = io::copy(&mut open(store, digest)?, &mut io::sink())?;
    note_size(store, digest, size);
    Ok(size)
}

/// Notes the size of a layer's tar. Where that cannot be kept, the tar is measured when it is asked for.
pub fn note_size(store: &Store, digest: &Digest, size: u64) {
    let _ = store.put_record(RECORD, digest, &size);
}

/// The blob of which the tar with this diff_id is the content, as it was last noted.
pub fn blob_of(store: &Store, diff_id: &Digest) -> Option<Digest> {
    store.record(BLOB, diff_id)
}

/// The blob of the store that has the content of the layer `digest`: the compressed one, where that layer is the tar in it.
pub fn stored(store: &Store, digest: &Digest) -> Option<Digest> {
    let compressed = || blob_of(store, digest).filter(|blob| store.has_blob(blob, None));
    Some(*digest).filter(|digest| store.has_blob(digest, None)).or_else(compressed)
}

/// Notes that the blob `digest` is the layer of the tar `diff_id`. Where that cannot be kept, engines are asked for the tar.
pub fn note_blob(store: &Store, diff_id: &Digest, digest: &Digest) {
    if blob_of(store, diff_id).as_ref() != Some(digest) {
        let _ = store.put_record(BLOB, diff_id, digest);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    #[test]
    fn a_tar_is_measured_once_and_read_without_its_compression() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let tar = b"not really a tar".repeat(1000);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&tar).unwrap();
        let digest = store.put_blob(&gzip.finish().unwrap()).unwrap();
        assert_eq!(size(&store, &digest).unwrap(), 16_000);
        let mut read = Vec::new();
        open(&store, &digest).unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read, tar);
        note_size(&store, &digest, 7);
        assert_eq!(size(&store, &digest).unwrap(), 7);
    }
}
