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

use std::io;
use std::ops::Range;
use std::thread::{self, ScopedJoinHandle};

use serde_json::Value;

use super::stack::{ArchiveEnd, StackLayer, archives, partial_config, shared, write_end, write_layers};
use super::{is_there, joined, pipe, stacks, stream};
use crate::destination::archive_writer::ArchiveWriter;
use crate::destination::{PublishError, Publishing};
use crate::image::Image;
use crate::layer::plain_tar;
use crate::net::engine::{ContainerEngine, EngineError};
use crate::oci::{Digest, ImageReference};
use crate::place::EngineKind;

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
    let layers: Vec<StackLayer> = image
        .layers
        .iter()
        .map(|layer| StackLayer { diff_id: layer.diff_id, blob: layer.digest, size: layer.size })
        .collect();
    let present = stacks(engine)?.iter().map(|stack| shared(stack, &layers)).max().unwrap_or(0);
    let feed = LayerFeed { image, layers, name, engine, publishing };
    match feed.send(present) {
        // An image that had the layers may be removed meanwhile.
        Err(PublishError::Engine(error)) if present > 0 && error.lacks_files() => feed.send(0),
        sent => sent,
    }
}

/// An image on its way into an engine.
struct LayerFeed<'a> {
    image: &'a Image,
    layers: Vec<StackLayer>,
    name: &'a ImageReference,
    engine: &'a dyn ContainerEngine,
    publishing: &'a Publishing<'a>,
}

/// A thread in which the engine loads an archive.
type ArchiveLoading<'scope> = ScopedJoinHandle<'scope, Result<(), EngineError>>;

impl LayerFeed<'_> {
    /// Sends the layers above the lowest `present` ones.
    fn send(&self, present: usize) -> Result<(), PublishError> {
        let missing = &self.layers[present..];
        self.publishing.bring(&|digest| missing.iter().any(|layer| layer.blob == *digest))?;
        self.layers[..present].iter().for_each(|layer| (self.publishing.progress)(layer.size));
        let size = |layer: &StackLayer| plain_tar::size(self.publishing.store, &layer.blob);
        let sizes = missing.iter().map(size).collect::<io::Result<Vec<u64>>>().map_err(failed)?;
        let sizes = [vec![0; present], sizes].concat();
        let archives = archives(&sizes, present);
        let sent = self.send_archives(&archives);
        // Those of an image that came whole are its own; the layers of one that did not are of no use.
        for archive in &archives[..archives.len() - 1] {
            let _ = self.engine.remove(&Digest::of(self.partial_config(archive.end)));
        }
        sent
    }

    fn send_archives(&self, archives: &[Range<usize>]) -> Result<(), PublishError> {
        thread::scope(|scope| {
            let mut before: Option<ArchiveLoading<'_>> = None;
            for layers in archives {
                let (reader, writer) = pipe().map_err(failed)?;
                let loading = scope.spawn(move || self.engine.load(reader));
                let archive = ArchiveWriter::new(stream(writer));
                if let Err(error) = self.write(archive, layers, before.take()) {
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

    /// Writes an archive; its end, with which the engine begins to unpack, when the layers `before` are there.
    fn write(
        &self,
        mut archive: ArchiveWriter,
        layers: &Range<usize>,
        before: Option<ArchiveLoading<'_>>,
    ) -> Result<(), PublishError> {
        let Publishing { store, progress, .. } = self.publishing;
        write_layers(&mut archive, &self.layers[layers.clone()], store, progress).map_err(failed)?;
        before.map_or(Ok(()), joined)?;
        let lowest = &self.layers[..layers.end];
        let written = match layers.end == self.layers.len() {
            true => {
                let names = vec![self.name.to_string()];
                write_end(archive, lowest, ArchiveEnd { config: &self.image.config_bytes, names })
            }
            false => {
                let config = self.partial_config(layers.end);
                write_end(archive, lowest, ArchiveEnd { config: &config, names: Vec::new() })
            }
        };
        written.map_err(failed)
    }

    fn partial_config(&self, layers: usize) -> Vec<u8> {
        let whole: Value = serde_json::from_slice(&self.image.config_bytes).unwrap_or_default();
        partial_config(&whole["architecture"], &self.layers[..layers])
    }
}

fn failed(source: io::Error) -> PublishError {
    PublishError::Send { engine: EngineKind::Docker, source }
}

fn is_broken(error: &PublishError) -> bool {
    matches!(error, PublishError::Send { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
}
