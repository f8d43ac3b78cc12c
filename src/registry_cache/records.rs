//! Records of the store as the layer of an entry: a tar with one file for each of them, called as its kind.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use flate2::write::GzEncoder;

use super::entry::{CacheEntryFault, CacheTag, CachedKind, CachedLayer};
use crate::layer::read::decompressed;
use crate::oci::image::MediaType;
use crate::oci::{Descriptor, Digest, Entry, EntryKind, tar};

/// The bytes of the records in one entry: those of a layer of 200,000 files take some 60 MB.
pub(super) const LARGEST_RECORDS: u64 = 256 << 20;

/// The records that stand in one entry: those of these kinds under one key of the store.
#[derive(Debug, Clone, Copy)]
pub struct RecordsName<'a> {
    /// The kinds, as the store has them.
    pub kinds: &'a [&'a str],
    /// Their key, of which the number of their format is a part.
    pub key: &'a Digest,
}

/// Records by their kinds, as the store keeps them.
pub type RecordBytes = BTreeMap<String, Vec<u8>>;

impl RecordsName<'_> {
    /// The tag of their entry.
    pub fn tag(&self) -> CacheTag {
        let key = Digest::of(format!("{} {}", self.kinds.join("+"), self.key));
        CacheTag { kind: CachedKind::Records, key }
    }

    /// A line about them, for people.
    pub fn title(&self) -> String {
        format!("{} of {}", self.kinds.join(" and "), self.key)
    }
}

/// The layer of an entry of `records`: its description and its blob.
pub(super) fn packed(records: &RecordBytes) -> std::io::Result<(CachedLayer, Vec<u8>)> {
    let mut bytes = Vec::new();
    for (kind, record) in records {
        bytes.extend(tar::header(&file(kind, record.len() as u64)));
        bytes.extend(record);
        bytes.extend(&tar::END[..tar::padding(record.len() as u64)]);
    }
    bytes.extend(tar::END);
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&bytes)?;
    let blob = encoder.finish()?;
    let descriptor = Descriptor::of(MediaType::ImageLayerGzip, &blob);
    let unpacked = records.values().map(|record| record.len() as u64).sum();
    Ok((CachedLayer { descriptor, diff_id: Digest::of(&bytes), unpacked }, blob))
}

fn file(kind: &str, size: u64) -> Entry {
    let kind_of_entry = EntryKind::File { size };
    Entry { path: kind.to_owned(), mode: 0o644, uid: 0, gid: 0, mtime: 0, kind: kind_of_entry }
}

/// The records of `kinds` in the blob of `layer`, which was hashed.
pub(super) fn unpacked(
    blob: &[u8],
    layer: &CachedLayer,
    kinds: &[&str],
) -> Result<RecordBytes, CacheEntryFault> {
    let unreadable = |error: std::io::Error| CacheEntryFault::Records { reason: error.to_string() };
    let mut bytes = Vec::new();
    let mut passed = decompressed(blob).map_err(unreadable)?.take(LARGEST_RECORDS + 1);
    passed.read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST_RECORDS {
        return Err(CacheEntryFault::Records {
            reason: format!("they have more than {LARGEST_RECORDS} bytes"),
        });
    }
    let (digest, expected, got) = (layer.descriptor.digest(), layer.diff_id, Digest::of(&bytes));
    if got != expected {
        return Err(CacheEntryFault::DiffId { digest, expected, got });
    }
    let mut records = RecordBytes::new();
    for member in ::tar::Archive::new(bytes.as_slice()).entries().map_err(unreadable)? {
        let mut member = member.map_err(unreadable)?;
        let mut record = Vec::new();
        member.read_to_end(&mut record).map_err(unreadable)?;
        let kind = String::from_utf8_lossy(&member.path_bytes()).into_owned();
        records.insert(kind, record);
    }
    match records.keys().map(String::as_str).eq(kinds.iter().copied()) {
        true => Ok(records),
        false => Err(CacheEntryFault::Records { reason: "they are of other kinds".to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [&str; 2] = ["layer-content", "layer-evidence"];

    fn records() -> RecordBytes {
        KINDS
            .iter()
            .map(|kind| ((*kind).to_owned(), format!("{kind} {}", "x".repeat(700)).into_bytes()))
            .collect()
    }

    #[test]
    fn records_are_read_as_they_were_packed() {
        let (layer, blob) = packed(&records()).unwrap();
        assert_eq!(unpacked(&blob, &layer, &KINDS).unwrap(), records());
        assert_eq!(packed(&records()).unwrap().0, layer);
    }

    #[test]
    fn what_is_not_packed_so_is_refused() {
        let (layer, blob) = packed(&records()).unwrap();
        let check = |blob: &[u8], layer: &CachedLayer, kinds: &[&str], expected: &str| {
            let told = unpacked(blob, layer, kinds).unwrap_err().to_string();
            assert!(told.contains(expected), "{told}");
        };
        check(&blob, &layer, &KINDS[..1], "of other kinds");
        check(&blob, &CachedLayer { diff_id: Digest::of("x"), ..layer.clone() }, &KINDS, "has the diff_id");
        check(&blob[..blob.len() / 2], &layer, &KINDS, "cannot be read");
        let mut zeros = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::copy(&mut std::io::repeat(0).take(LARGEST_RECORDS + 512), &mut zeros).unwrap();
        check(&zeros.finish().unwrap(), &layer, &KINDS, "more than 268435456 bytes");
    }
}
