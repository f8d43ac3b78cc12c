//! An image in an engine: it is saved into a file of the store that has no name, and read from there.

use std::path::Path;

use super::archive::IndexedTar;
use super::{SourceAccess, SourceError, SourceImage, archive, docker};
use crate::net::engine::ContainerEngine;
use crate::oci::{Architecture, ImageReference};
use crate::place::EngineKind;

/// Opens the image that `name` names in an engine.
pub(super) fn open(
    engine: EngineKind,
    name: &ImageReference,
    architecture: Option<Architecture>,
    place: &str,
    access: SourceAccess<'_>,
) -> Result<SourceImage, SourceError> {
    let unreadable = |source| SourceError::Engine { image: place.to_owned(), source: Box::new(source) };
    let file = access.registries.store().scratch()?;
    let path = Path::new(place);
    let saved = file.try_clone().map_err(SourceError::read(path))?;
    match engine {
        EngineKind::Docker => access.engines.docker().and_then(|docker| docker.save(name, saved)),
        EngineKind::Podman => access.engines.podman().and_then(|podman| podman.save(name, saved)),
        EngineKind::Containerd => access.engines.containerd().save(name, saved),
    }
    .map_err(unreadable)?;
    let tar = IndexedTar::read(file, path)?;
    match engine {
        EngineKind::Docker | EngineKind::Podman => docker::open(&tar, path, None, architecture, place),
        EngineKind::Containerd => archive::open(&tar, path, None, architecture, place),
    }
}
