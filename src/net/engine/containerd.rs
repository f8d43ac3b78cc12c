//! containerd by `ctr`, its own program.

use std::collections::BTreeSet;
use std::io::PipeReader;
use std::path::PathBuf;

use super::EngineError;
use super::program::{EngineProgram, ProgramOutput};
use crate::oci::{Digest, ImageReference};

const NAME: &str = "containerd";

/// The program `ctr`, for one namespace.
#[derive(Debug, Clone)]
pub struct ContainerdProgram {
    program: EngineProgram,
}

impl ContainerdProgram {
    pub(super) fn new(address: PathBuf, namespace: String) -> Self {
        let address = address.to_string_lossy().into_owned();
        let arguments = ["--address".into(), address, "--namespace".into(), namespace];
        Self { program: EngineProgram { engine: NAME, program: "ctr", arguments: arguments.into() } }
    }

    /// The digest that the image of this name has.
    pub fn image(&self, name: &ImageReference) -> Result<Option<Digest>, EngineError> {
        let listed = self.program.ask(&["images", "ls", &format!("name=={name}")])?;
        let listed = String::from_utf8_lossy(&listed).into_owned();
        let row = listed.lines().find(|row| row.split_whitespace().next() == Some(&name.to_string()));
        Ok(row.and_then(|row| row.split_whitespace().nth(2)?.parse().ok()))
    }

    /// The blobs that it has.
    pub fn blobs(&self) -> Result<BTreeSet<Digest>, EngineError> {
        let listed = self.program.ask(&["content", "ls", "--quiet"])?;
        Ok(String::from_utf8_lossy(&listed).lines().filter_map(|digest| digest.trim().parse().ok()).collect())
    }

    /// Loads and unpacks the archive of a layout that comes through a pipe.
    pub fn load(&self, archive: PipeReader) -> Result<(), EngineError> {
        self.program.feed(&["images", "import", "-"], archive)
    }

    /// The bytes of a document in its content store, which are not verified.
    pub fn document(&self, digest: &Digest) -> Result<Vec<u8>, EngineError> {
        self.program.ask(&["content", "get", &digest.to_string()])
    }

    /// Opens a blob of its content store as a stream of its bytes, which are not verified.
    pub fn open_blob(&self, digest: &Digest) -> Result<ProgramOutput, EngineError> {
        self.program.open(&["content", "get", &digest.to_string()])
    }
}
