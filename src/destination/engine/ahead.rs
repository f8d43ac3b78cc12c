//! Layers that an engine gets while others are still written.
//!
//! What is sent ahead becomes an image without a name of the lowest layers so far. When the whole image is published, its
//! lowest layers are found in there, as in any other image of the engine; then these are removed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use serde_json::json;

use super::stack::{ArchiveEnd, LEAST_ARCHIVE, StackLayer, partial_config, shared, write_end, write_layers};
use super::{joined, pipe, stacks, stream};
use crate::destination::archive_writer::ArchiveWriter;
use crate::layer::plain_tar;
use crate::net::engine::{ContainerEngine, EngineApi, EngineStorage, Engines};
use crate::oci::{Architecture, Digest};
use crate::place::{EngineKind, ImagePlace};
use crate::store::Store;

/// The bytes of layers in one archive that is sent ahead: when all layers are written, the rest is sent in a faster way.
const MOST_AHEAD: u64 = 1 << 30;

/// Sends layers to an engine as they are finished, until it is dropped.
pub struct LayersAhead {
    finished: Option<Sender<(usize, StackLayer)>>,
    is_over: Arc<AtomicBool>,
    sending: Option<JoinHandle<Vec<Digest>>>,
    engine: EngineApi,
}

impl LayersAhead {
    /// Begins, if one of the destinations is an engine that takes layers one after the other. One that cannot be reached is
    /// told of when the image is published.
    pub fn begin(
        destinations: &[ImagePlace],
        architecture: Architecture,
        store: &Store,
        engines: &Engines,
    ) -> Option<Self> {
        let is_docker =
            |place: &ImagePlace| matches!(place, ImagePlace::Engine { engine: EngineKind::Docker, .. });
        let engine = destinations.iter().any(is_docker).then(|| engines.docker().ok())??;
        let (finished, layers) = mpsc::channel();
        let is_over = Arc::new(AtomicBool::new(false));
        let feed = AheadFeed {
            engine: engine.clone(),
            store: store.clone(),
            architecture,
            is_over: Arc::clone(&is_over),
            partial: Vec::new(),
        };
        let sending = thread::spawn(move || feed.run(&layers));
        Some(Self { finished: Some(finished), is_over, sending: Some(sending), engine })
    }

    /// The layer at `index` of the image, bottom first, is in the store.
    pub fn finished(&self, index: usize, diff_id: Digest, blob: Digest, size: u64) {
        let layer = StackLayer { diff_id, blob, size };
        // Where nobody takes them any more, all are sent in the end.
        if let Some(finished) = &self.finished {
            let _ = finished.send((index, layer));
        }
    }

    /// Waits for what is on its way; nothing else is sent ahead. The images that it made stay until it is dropped.
    pub fn stop(&mut self) -> AheadImages {
        self.is_over.store(true, Ordering::Relaxed);
        self.finished = None;
        let ids = self.sending.take().map(|sending| sending.join().unwrap_or_default());
        AheadImages { engine: self.engine.clone(), ids: ids.unwrap_or_default() }
    }
}

impl Drop for LayersAhead {
    fn drop(&mut self) {
        drop(self.stop());
    }
}

/// Images of an engine that are removed when nobody needs them any more.
pub struct AheadImages {
    engine: EngineApi,
    ids: Vec<Digest>,
}

impl Drop for AheadImages {
    fn drop(&mut self) {
        for id in &self.ids {
            let _ = self.engine.remove(id);
        }
    }
}

struct AheadFeed {
    engine: EngineApi,
    store: Store,
    architecture: Architecture,
    is_over: Arc<AtomicBool>,
    partial: Vec<Digest>,
}

impl AheadFeed {
    /// Sends the lowest layers whenever enough of them are finished. A failure ends it: whoever publishes the image meets
    /// the same one, or none.
    fn run(mut self, layers: &Receiver<(usize, StackLayer)>) -> Vec<Digest> {
        let mut stack: Vec<Option<StackLayer>> = Vec::new();
        let mut sent = 0;
        if !matches!(self.engine.storage(), Ok(EngineStorage::Layers)) {
            return self.partial;
        }
        let Ok(present) = stacks(&self.engine) else { return self.partial };
        for (index, layer) in layers {
            stack.resize(stack.len().max(index + 1), None);
            stack[index] = Some(layer);
            let lowest: Vec<StackLayer> = stack.iter().map_while(|layer| *layer).collect();
            sent = present.iter().map(|there| shared(there, &lowest)).max().unwrap_or(0).max(sent);
            while let Ok(Some(end)) = self.worth_sending(&lowest, sent) {
                if self.is_over.load(Ordering::Relaxed) || self.send(&lowest[..end], sent).is_err() {
                    return self.partial;
                }
                sent = end;
            }
        }
        self.partial
    }

    /// The number of the lowest layers that are worth an archive; `None` while there are too few.
    fn worth_sending(&self, lowest: &[StackLayer], sent: usize) -> io::Result<Option<usize>> {
        let mut bytes = 0;
        for (index, layer) in lowest.iter().enumerate().skip(sent) {
            bytes += plain_tar::size(&self.store, &layer.blob)?;
            if bytes >= MOST_AHEAD {
                return Ok(Some(index + 1));
            }
        }
        Ok((bytes >= LEAST_ARCHIVE).then_some(lowest.len()))
    }

    /// Sends the layers above the lowest `sent` ones.
    fn send(&mut self, lowest: &[StackLayer], sent: usize) -> io::Result<()> {
        let config = partial_config(&json!(self.architecture.as_str()), lowest);
        let (reader, writer) = pipe()?;
        let loaded = thread::scope(|scope| {
            let loading = scope.spawn(|| self.engine.load(reader));
            let mut archive = ArchiveWriter::new(stream(writer));
            let written = write_layers(&mut archive, &lowest[sent..], &self.store, &|_| ());
            let end = ArchiveEnd { config: &config, names: Vec::new() };
            let written = written.and_then(|()| write_end(archive, lowest, end));
            joined(loading).map_err(io::Error::other).and(written)
        });
        self.partial.push(Digest::of(&config));
        loaded
    }
}
