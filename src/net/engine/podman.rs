//! Podman by its program: it needs no service, and most machines run none.

use std::fs::File;
use std::io::PipeReader;

use serde::Deserialize;

use super::program::EngineProgram;
use super::{ContainerEngine, EngineError, EngineImage};
use crate::oci::{Digest, ImageReference};

const NAME: &str = "podman";

/// The program `podman`.
#[derive(Debug, Clone, Copy)]
pub struct PodmanProgram;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedImage {
    id: String,
    #[serde(rename = "RootFS")]
    root_fs: InspectedRootFs,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedRootFs {
    layers: Option<Vec<Digest>>,
}

impl PodmanProgram {
    fn program() -> EngineProgram {
        EngineProgram { engine: NAME, program: NAME, arguments: Vec::new() }
    }
}

impl ContainerEngine for PodmanProgram {
    fn image(&self, name: &str) -> Result<Option<EngineImage>, EngineError> {
        // 1 says that it is not there; every other failure is one.
        match Self::program().ask(&["image", "exists", name]) {
            Err(EngineError::Failed { status, .. }) if status.code() == Some(1) => return Ok(None),
            exists => exists?,
        };
        let described = Self::program().ask(&["image", "inspect", name])?;
        let images: Vec<InspectedImage> = serde_json::from_slice(&described)
            .map_err(|source| EngineError::Answer { engine: NAME, source })?;
        Ok(images.into_iter().find_map(|image| {
            let id = Digest::from_hex(&image.id).ok()?;
            Some(EngineImage { id, diff_ids: image.root_fs.layers.unwrap_or_default() })
        }))
    }

    fn image_ids(&self) -> Result<Vec<String>, EngineError> {
        let listed = Self::program().ask(&["images", "--quiet", "--no-trunc"])?;
        Ok(String::from_utf8_lossy(&listed)
            .lines()
            .map(|id| id.trim_start_matches("sha256:").to_owned())
            .collect())
    }

    fn load(&self, archive: PipeReader) -> Result<(), EngineError> {
        Self::program().feed(&["load", "--quiet"], archive)
    }

    fn tag(&self, id: &Digest, name: &ImageReference) -> Result<(), EngineError> {
        Self::program().ask(&["tag", &id.hex(), &name.to_string()]).map(drop)
    }

    fn remove(&self, id: &Digest) -> Result<(), EngineError> {
        Self::program().ask(&["rmi", "--no-prune", &id.hex()]).map(drop)
    }

    fn save(&self, name: &str, file: File) -> Result<(), EngineError> {
        if self.image(name)?.is_none() {
            return Err(EngineError::NoImage { engine: NAME, name: name.to_owned() });
        }
        let name = name.trim_start_matches("sha256:");
        Self::program().write(&["save", "--quiet", "--format", "docker-archive", name], file)
    }
}
