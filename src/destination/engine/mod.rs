//! An image in an engine: what the engine lacks of it is streamed, and nothing is sent that it has.

mod ahead;
mod layers;
mod stack;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::OwnedFd;
use std::thread;

use super::archive_writer::{ArchiveFile, ArchiveWriter, ArchivedImage};
use super::index::named;
use super::{PublishError, Publishing};
use crate::image::{Image, ImageLayer};
use crate::layer::{plain_tar, records};
use crate::net::engine::{ContainerEngine, EngineError, EngineStorage};
use crate::oci::{Digest, ImageReference};
use crate::place::EngineKind;
use crate::pool;
use crate::store::Store;

pub use ahead::LayersAhead;

/// The bytes of an archive that wait in a pipe.
const PIPE: usize = 1 << 20;
/// The images of an engine that are looked at: each takes a millisecond or two.
const MOST_IMAGES: usize = 1000;
/// The images that are asked for at once.
const QUESTIONS: usize = 4;

/// Brings `image` into an engine under `name`.
pub(super) fn publish(
    image: &Image,
    engine: EngineKind,
    name: &ImageReference,
    publishing: &Publishing<'_>,
) -> Result<(), PublishError> {
    send(image, engine, name, publishing)?;
    remember(image, publishing.store);
    Ok(())
}

/// Notes of an image what an engine will tell of it: who reads it there need not have it saved. Nothing fails where that
/// cannot be kept.
fn remember(image: &Image, store: &Store) {
    let _ = store.put_blob(&image.config_bytes);
    let unknown = |layer: &&ImageLayer| plain_tar::blob_of(store, &layer.diff_id).is_none();
    for layer in image.layers.iter().filter(unknown) {
        // A config may say of a layer of others what it is not.
        let content = records::content(store, &layer.digest);
        if content.is_some_and(|content| content.diff_id == layer.diff_id) {
            plain_tar::note_blob(store, &layer.diff_id, &layer.digest);
        }
    }
}

fn send(
    image: &Image,
    engine: EngineKind,
    name: &ImageReference,
    publishing: &Publishing<'_>,
) -> Result<(), PublishError> {
    match engine {
        EngineKind::Docker => {
            let docker = publishing.engines.docker()?;
            match docker.storage()? {
                EngineStorage::Layers => layers::publish(image, name, &docker, publishing),
                EngineStorage::Blobs => {
                    let manifest = image.manifest.digest();
                    if is_there(&docker, &manifest, name)? {
                        return Ok(());
                    }
                    let feed = EngineFeed { image, engine, name, publishing };
                    feed.send(&BTreeSet::new(), &|archive| docker.load(archive))
                }
            }
        }
        EngineKind::Podman => {
            let podman = publishing.engines.podman()?;
            if is_there(&*podman, &image.config.digest(), name)? {
                return Ok(());
            }
            let feed = EngineFeed { image, engine, name, publishing };
            feed.send_missing(&layers_of(image, &*podman)?, &|archive| podman.load(archive))
        }
        EngineKind::Containerd => {
            let containerd = publishing.engines.containerd();
            if containerd.image(name)? == Some(image.manifest.digest()) {
                return Ok(());
            }
            let feed = EngineFeed { image, engine, name, publishing };
            feed.send_missing(&containerd.blobs()?, &|archive| containerd.load(archive))
        }
    }
}

/// Gives the image `id` the name, if the engine has it; gives whether it has.
fn is_there(engine: &dyn ContainerEngine, id: &Digest, name: &ImageReference) -> Result<bool, EngineError> {
    if engine.image(&id.hex())?.is_none() {
        return Ok(false);
    }
    let is_named = engine.image(&name.to_string())?.is_some_and(|image| image.id == *id);
    if !is_named {
        engine.tag(id, name)?;
    }
    Ok(true)
}

/// The layers' tars of each image that an engine has.
fn stacks(engine: &dyn ContainerEngine) -> Result<Vec<Vec<Digest>>, EngineError> {
    let ids = engine.image_ids()?.into_iter().take(MOST_IMAGES);
    let images = pool::run(ids, QUESTIONS, |id| engine.image(&id))?;
    Ok(images.into_iter().flatten().map(|image| image.diff_ids).collect())
}

/// The blobs of the image whose content some image of the engine has.
fn layers_of(image: &Image, engine: &dyn ContainerEngine) -> Result<BTreeSet<Digest>, EngineError> {
    let there: BTreeSet<Digest> = stacks(engine)?.into_iter().flatten().collect();
    Ok(image.layers.iter().filter(|layer| there.contains(&layer.diff_id)).map(|layer| layer.digest).collect())
}

/// An image on its way into an engine that takes blobs as they are.
struct EngineFeed<'a> {
    image: &'a Image,
    engine: EngineKind,
    name: &'a ImageReference,
    publishing: &'a Publishing<'a>,
}

/// Loads an archive that comes through a pipe.
type Load<'a> = dyn Fn(PipeReader) -> Result<(), EngineError> + Sync + 'a;

impl EngineFeed<'_> {
    /// Sends what is not `there`; all of it, if the engine turns out to lack some of that, which may be removed meanwhile.
    fn send_missing(&self, there: &BTreeSet<Digest>, load: &Load<'_>) -> Result<(), PublishError> {
        match self.send(there, load) {
            Err(PublishError::Engine(error)) if error.lacks_files() && !there.is_empty() => {
                self.send(&BTreeSet::new(), load)
            }
            sent => sent,
        }
    }

    fn send(&self, there: &BTreeSet<Digest>, load: &Load<'_>) -> Result<(), PublishError> {
        self.publishing.bring(&|digest| !there.contains(digest))?;
        let name = self.name.to_string();
        let archived = ArchivedImage {
            image: &self.image.clone().into(),
            docker_name: name.clone(),
            entry: named(&self.image.manifest, &name),
            tag: &name,
        };
        let failed = |source| PublishError::Send { engine: self.engine, source };
        let (reader, writer) = pipe().map_err(failed)?;
        thread::scope(|scope| {
            let loading = scope.spawn(|| load(reader));
            let mut archive = ArchiveWriter::new(stream(writer));
            let written =
                archived.write(&mut archive, self.publishing.store, there, self.publishing.progress);
            let written = written.and_then(|()| archive.finish().map(drop));
            // An engine that refuses the archive reads no more of it: its own words tell more than the broken pipe.
            joined(loading)?;
            written.map_err(failed)
        })
    }
}

/// The result of a thread that loads.
fn joined<T>(loading: thread::ScopedJoinHandle<'_, T>) -> T {
    loading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A pipe to an engine.
fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    // A smaller one does as well.
    let _ = rustix::pipe::fcntl_setpipe_size(&writer, PIPE);
    Ok((reader, writer))
}

/// The end of a pipe that an archive is written to.
fn stream(writer: PipeWriter) -> ArchiveFile {
    ArchiveFile::Stream(File::from(OwnedFd::from(writer)))
}
