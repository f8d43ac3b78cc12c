//! Container engines: the images that they have, archives that they load, and archives that they save.
//!
//! ```text
//! EngineSettings ─ Engines ─► docker:     EngineApi, on the socket of the endpoint that docker's own commands would take
//!                             podman:     EngineApi where its socket is there, else PodmanProgram
//!                             containerd: ContainerdProgram
//! ```
//!
//! containerd is asked through `ctr`: its own interface is gRPC, with protocols for content, leases, images and snapshots,
//! which would bring a second HTTP stack and some forty crates for what one program of containerd does already.

mod api;
mod containerd;
mod endpoint;
mod error;
mod podman;
mod program;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::PipeReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::net::http::Http;
use crate::oci::{Digest, ImageReference};

pub use api::{EngineApi, EngineStorage};
pub use containerd::ContainerdProgram;
pub use error::EngineError;
pub use podman::PodmanProgram;
pub use program::ProgramOutput;

use endpoint::EngineEndpoint;

/// The variables of the environment by which engines are found.
const VARIABLES: [&str; 11] = [
    "CONTAINERD_ADDRESS",
    "CONTAINERD_NAMESPACE",
    "CONTAINER_HOST",
    "DOCKER_CERT_PATH",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "DOCKER_HOST",
    "DOCKER_TLS",
    "DOCKER_TLS_VERIFY",
    "HOME",
    "XDG_RUNTIME_DIR",
];

/// The machine's settings for engines.
#[derive(Debug, Clone, Default)]
pub struct EngineSettings {
    variables: BTreeMap<&'static str, String>,
    is_root: bool,
}

impl EngineSettings {
    /// Those of this machine and its user.
    pub fn here() -> Self {
        let set = |name| Some((name, std::env::var(name).ok().filter(|value| !value.is_empty())?));
        let is_root = rustix::process::geteuid().is_root();
        Self { variables: VARIABLES.into_iter().filter_map(set).collect(), is_root }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }

    /// The socket of podman's service, where there is one.
    fn podman_socket(&self) -> Option<PathBuf> {
        let of_user = || Some(self.path("XDG_RUNTIME_DIR")?.join("podman/podman.sock"));
        let socket = if self.is_root { Some("/run/podman/podman.sock".into()) } else { of_user() };
        socket.filter(|path| path.exists())
    }
}

/// An image that an engine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineImage {
    /// The digest of its config; of its manifest in an engine that keeps images as containerd does.
    pub id: Digest,
    /// The digests of its layers' tars, bottom first.
    pub diff_ids: Vec<Digest>,
}

/// An engine that keeps images by their layers' tars.
pub trait ContainerEngine: Send + Sync {
    /// The image of this name or id; `None` where there is none.
    fn image(&self, name: &str) -> Result<Option<EngineImage>, EngineError>;

    /// The names of all images in it, by which it can be asked for each.
    fn image_ids(&self) -> Result<Vec<String>, EngineError>;

    /// Loads the archive that comes through a pipe.
    fn load(&self, archive: PipeReader) -> Result<(), EngineError>;

    /// Gives the image `id` a name, which another one may have had.
    fn tag(&self, id: &Digest, name: &ImageReference) -> Result<(), EngineError>;

    /// Removes the image `id`, which has no name; its layers stay where other images have them.
    fn remove(&self, id: &Digest) -> Result<(), EngineError>;

    /// Writes an archive of the image of this name or id as `docker save` does.
    fn save(&self, name: &str, file: File) -> Result<(), EngineError>;
}

/// The engines of a machine.
pub struct Engines {
    http: Arc<Http>,
    settings: EngineSettings,
}

impl Engines {
    /// Engines by these settings.
    pub fn new(http: Arc<Http>, settings: EngineSettings) -> Self {
        Self { http, settings }
    }

    /// The Docker engine that docker's own commands would talk to.
    pub fn docker(&self) -> Result<EngineApi, EngineError> {
        EngineApi::open(&self.http, "Docker", &EngineEndpoint::of_docker(&self.settings)?)
    }

    /// Podman: its service where `CONTAINER_HOST` names one or its socket is there, else its program.
    pub fn podman(&self) -> Result<Box<dyn ContainerEngine>, EngineError> {
        let endpoint = match (self.settings.get("CONTAINER_HOST"), self.settings.podman_socket()) {
            (Some(host), _) => Some(EngineEndpoint::of_host(host, None)?),
            (None, Some(socket)) => Some(EngineEndpoint::of_socket(socket)),
            (None, None) => None,
        };
        Ok(match endpoint {
            Some(endpoint) => Box::new(EngineApi::open(&self.http, "podman", &endpoint)?),
            None => Box::new(PodmanProgram),
        })
    }

    /// containerd at `CONTAINERD_ADDRESS`, in the namespace `CONTAINERD_NAMESPACE`.
    pub fn containerd(&self) -> ContainerdProgram {
        let address = self.settings.path("CONTAINERD_ADDRESS");
        let namespace = self.settings.get("CONTAINERD_NAMESPACE").unwrap_or("default");
        ContainerdProgram::new(
            address.unwrap_or_else(|| Path::new("/run/containerd/containerd.sock").to_owned()),
            namespace.to_owned(),
        )
    }
}
