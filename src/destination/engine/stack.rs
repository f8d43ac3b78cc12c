//! Archives of a stack of layers, for engines that keep layers unpacked.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;

use serde_json::{Value, json};

use crate::destination::archive_writer::{ArchiveWriter, DockerManifest};
use crate::layer::plain_tar;
use crate::oci::Digest;
use crate::store::Store;

/// The bytes from which on layers have an archive of their own: less is not worth the questions around it.
pub(super) const LEAST_ARCHIVE: u64 = 128 << 20;

/// A layer of a stack.
#[derive(Debug, Clone, Copy)]
pub(super) struct StackLayer {
    /// The digest of its tar.
    pub diff_id: Digest,
    /// The digest of its blob in the store.
    pub blob: Digest,
    /// The size of the blob.
    pub size: u64,
}

/// The image that an archive makes of the lowest layers of a stack.
pub(super) struct ArchiveEnd<'a> {
    /// The image's config.
    pub config: &'a [u8],
    /// The names that it gets.
    pub names: Vec<String>,
}

/// Writes the tars of these layers, one that is there several times once; `written` is told the size of each blob.
pub(super) fn write_layers(
    archive: &mut ArchiveWriter,
    layers: &[StackLayer],
    store: &Store,
    written: &dyn Fn(u64),
) -> io::Result<()> {
    let mut seen = BTreeSet::new();
    for layer in layers {
        if seen.insert(layer.diff_id) {
            let size = plain_tar::size(store, &layer.blob)?;
            archive.content(&layer_path(&layer.diff_id), size, plain_tar::open(store, &layer.blob)?)?;
        }
        written(layer.size);
    }
    Ok(())
}

/// Ends an archive with the manifest of an image over `layers`, with which the engine begins to unpack.
pub(super) fn write_end(
    mut archive: ArchiveWriter,
    layers: &[StackLayer],
    end: ArchiveEnd<'_>,
) -> io::Result<()> {
    let path = format!("{}.json", Digest::of(end.config).hex());
    let manifest = [DockerManifest {
        config: path.clone(),
        repo_tags: end.names,
        layers: layers.iter().map(|layer| layer_path(&layer.diff_id)).collect(),
    }];
    archive.bytes(&path, end.config)?;
    archive.bytes("manifest.json", &serde_json::to_vec(&manifest)?)?;
    archive.finish().map(drop)
}

/// The config of an image of these layers that nobody runs.
pub(super) fn partial_config(architecture: &Value, layers: &[StackLayer]) -> Vec<u8> {
    let diff_ids: Vec<_> = layers.iter().map(|layer| layer.diff_id).collect();
    let config = json!({
        "architecture": architecture, "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    config.to_string().into_bytes()
}

/// The number of layers at the bottom that two stacks share.
pub(super) fn shared(one: &[Digest], other: &[StackLayer]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| **one == other.diff_id).count()
}

/// The layers of each archive, of which all but the last have `LEAST_ARCHIVE` bytes; `sizes` are those of the layers' tars.
pub(super) fn archives(sizes: &[u64], present: usize) -> Vec<Range<usize>> {
    let (mut archives, mut start, mut bytes) = (Vec::new(), present, 0);
    for (index, size) in sizes.iter().enumerate().skip(present) {
        bytes += size;
        if bytes >= LEAST_ARCHIVE && index + 1 < sizes.len() {
            archives.push(start..index + 1);
            (start, bytes) = (index + 1, 0);
        }
    }
    archives.push(start..sizes.len());
    archives
}

fn layer_path(diff_id: &Digest) -> String {
    format!("{}.tar", diff_id.hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_worth_their_while_and_end_with_the_image() {
        const MIB: u64 = 1 << 20;
        let check = |sizes: &[u64], present, expected: &str| {
            let sizes: Vec<u64> = sizes.iter().map(|size| size * MIB).collect();
            assert_eq!(format!("{:?}", archives(&sizes, present)), expected);
        };
        check(&[1, 2, 3], 0, "[0..3]");
        check(&[200, 100, 100, 1], 0, "[0..1, 1..3, 3..4]");
        check(&[200, 100, 100, 1], 2, "[2..4]");
        check(&[0, 200, 300], 1, "[1..2, 2..3]");
        check(&[0, 0], 2, "[2..2]");
    }

    #[test]
    fn stacks_share_what_is_at_the_bottom() {
        let [a, b, c] = ["a", "b", "c"].map(Digest::of);
        let stack = |ids: &[Digest]| -> Vec<StackLayer> {
            ids.iter().map(|id| StackLayer { diff_id: *id, blob: *id, size: 1 }).collect()
        };
        assert_eq!(shared(&[a, b, c], &stack(&[a, b])), 2);
        assert_eq!(shared(&[a, c, b], &stack(&[a, b, c])), 1);
        assert_eq!(shared(&[], &stack(&[a])), 0);
    }
}
