//! An image in an engine that keeps layers unpacked, by the digests of their tars: Docker's own storage.
//!
//! Such an engine writes an archive to its disk, reads the layers from there and unpacks them one after the other, each upon
//! those below it. So the layers come
//!
//! * as plain tars: unpacking them takes a fraction of the time of compressed ones, and the image's id, the digest of its
//!   config, is the same;
//! * without those at the bottom that another image has already: an archive may leave out a layer's file where the engine
//!   has the layer upon the same ones below it;
//! * in several archives, one after the other: the engine unpacks the layers of one while the next one comes. Each but the
//!   last makes an image without a name of the layers so far, which is removed in the end.
//!
//! <https://github.com/moby/docker-image-spec/blob/main/v1.2.md#combined-image-json--filesystem-changeset-format>

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::thread::{self, ScopedJoinHandle};

use serde_json::{Value, json};

use super::{is_there, joined, pipe, stacks, stream};
use crate::destination::archive_writer::{ArchiveWriter, DockerManifest};
use crate::destination::{PublishError, Publishing};
use crate::image::Image;
use crate::layer::plain_tar;
use crate::net::engine::{ContainerEngine, EngineError};
use crate::oci::{Digest, ImageReference};
use crate::place::EngineKind;

/// The bytes from which on layers have an archive of their own: less is not worth the questions around it.
const LEAST_ARCHIVE: u64 = 128 << 20;

/// Brings `image` into the engine under `name`.
pub(super) fn publish(
    image: &Image,
    name: &ImageReference,
    engine: &dyn ContainerEngine,
    publishing: &Publishing<'_>,
) -> Result<(), PublishError> {
    if is_there(engine, &image.config.digest(), name)? {
        return Ok(());
    }
    let diff_ids: Vec<Digest> = image.layers.iter().map(|layer| layer.diff_id).collect();
    let present = stacks(engine)?.iter().map(|stack| shared(stack, &diff_ids)).max().unwrap_or(0);
    let feed = LayerFeed { image, name, engine, publishing };
    match feed.send(present) {
        // An image that had the layers may be removed meanwhile.
        Err(PublishError::Engine(error)) if present > 0 && error.lacks_files() => feed.send(0),
        sent => sent,
    }
}

/// The number of layers at the bottom that two stacks share.
fn shared(one: &[Digest], other: &[Digest]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

/// The layers of each archive, of which all but the last have `LEAST_ARCHIVE` bytes; `sizes` are those of the layers' tars.
fn archives(sizes: &[u64], present: usize) -> Vec<Range<usize>> {
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

/// An image on its way into an engine.
struct LayerFeed<'a> {
    image: &'a Image,
    name: &'a ImageReference,
    engine: &'a dyn ContainerEngine,
    publishing: &'a Publishing<'a>,
}

/// A thread in which the engine loads an archive.
type Loading<'scope> = ScopedJoinHandle<'scope, Result<(), EngineError>>;

impl LayerFeed<'_> {
    /// Sends the layers above the lowest `present` ones.
    fn send(&self, present: usize) -> Result<(), PublishError> {
        let missing = &self.image.layers[present..];
        self.publishing.bring(&|digest| missing.iter().any(|layer| layer.digest == *digest))?;
        let size = |index: usize| plain_tar::size(self.publishing.store, &self.image.layers[index].digest);
        let sizes =
            (0..self.image.layers.len()).map(|index| if index < present { Ok(0) } else { size(index) });
        let sizes = sizes.collect::<io::Result<Vec<u64>>>().map_err(failed)?;
        self.image.layers[..present].iter().for_each(|layer| (self.publishing.progress)(layer.size));
        let archives = archives(&sizes, present);
        let sent = self.send_archives(&archives, &sizes);
        // Those of an image that came whole are its own; the layers of one that did not are of no use.
        for archive in &archives[..archives.len() - 1] {
            let _ = self.engine.remove(&Digest::of(self.partial_config(archive.end)));
        }
        sent
    }

    fn send_archives(&self, archives: &[Range<usize>], sizes: &[u64]) -> Result<(), PublishError> {
        thread::scope(|scope| {
            let mut before: Option<Loading<'_>> = None;
            for layers in archives {
                let (reader, writer) = pipe().map_err(failed)?;
                let loading = scope.spawn(move || self.engine.load(reader));
                let archive = ArchiveWriter::new(stream(writer));
                if let Err(error) = self.write(archive, layers, sizes, before.take()) {
                    // The engine's own words tell more than a broken pipe.
                    return Err(joined(loading)
                        .err()
                        .filter(|_| is_broken(&error))
                        .map_or(error, Into::into));
                }
                before = Some(loading);
            }
            before.map_or(Ok(()), joined).map_err(Into::into)
        })
    }

    /// Writes an archive; its manifest, with which the engine begins to unpack, when the layers `before` are there.
    fn write(
        &self,
        mut archive: ArchiveWriter,
        layers: &Range<usize>,
        sizes: &[u64],
        before: Option<Loading<'_>>,
    ) -> Result<(), PublishError> {
        let mut written = BTreeSet::new();
        for index in layers.clone() {
            let layer = &self.image.layers[index];
            if written.insert(layer.diff_id) {
                let tar = plain_tar::open(self.publishing.store, &layer.digest).map_err(failed)?;
                archive.content(&layer_path(&layer.diff_id), sizes[index], tar).map_err(failed)?;
            }
            (self.publishing.progress)(layer.size);
        }
        before.map_or(Ok(()), joined)?;
        let is_last = layers.end == self.image.layers.len();
        let config = if is_last { self.image.config_bytes.clone() } else { self.partial_config(layers.end) };
        let path = format!("{}.json", Digest::of(&config).hex());
        let manifest = [DockerManifest {
            config: path.clone(),
            repo_tags: if is_last { vec![self.name.to_string()] } else { Vec::new() },
            layers: self.image.layers[..layers.end].iter().map(|layer| layer_path(&layer.diff_id)).collect(),
        }];
        let end = || {
            archive.bytes(&path, &config)?;
            archive.bytes("manifest.json", &serde_json::to_vec(&manifest)?)?;
            archive.finish().map(drop)
        };
        end().map_err(failed)
    }

    /// The config of an image of the lowest `layers`.
    fn partial_config(&self, layers: usize) -> Vec<u8> {
        let whole: Value = serde_json::from_slice(&self.image.config_bytes).unwrap_or_default();
        let diff_ids: Vec<_> = self.image.layers[..layers].iter().map(|layer| layer.diff_id).collect();
        let partial = json!({
            "architecture": whole["architecture"], "os": whole["os"], "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        partial.to_string().into_bytes()
    }
}

fn layer_path(diff_id: &Digest) -> String {
    format!("{}.tar", diff_id.hex())
}

fn failed(source: io::Error) -> PublishError {
    PublishError::Send { engine: EngineKind::Docker, source }
}

fn is_broken(error: &PublishError) -> bool {
    matches!(error, PublishError::Send { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_worth_their_while_and_end_with_the_image() {
        const MIB: u64 = 1 << 20;
        let check = |sizes: &[u64], present, expected: &[Range<usize>]| {
            let sizes: Vec<u64> = sizes.iter().map(|size| size * MIB).collect();
            assert_eq!(archives(&sizes, present), expected);
        };
        check(&[1, 2, 3], 0, &[0..3]);
        check(&[200, 100, 100, 1], 0, &[0..1, 1..3, 3..4]);
        check(&[200, 100, 100, 1], 2, &[2..4]);
        check(&[0, 200, 300], 1, &[1..2, 2..3]);
        check(&[0, 0], 2, &[2..2]);
    }

    #[test]
    fn stacks_share_what_is_at_the_bottom() {
        let [a, b, c] = ["a", "b", "c"].map(Digest::of);
        assert_eq!(shared(&[a, b, c], &[a, b]), 2);
        assert_eq!(shared(&[a, c, b], &[a, b, c]), 1);
        assert_eq!(shared(&[], &[a]), 0);
    }
}
