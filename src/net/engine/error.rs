//! The reasons why an engine cannot be used.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use reqwest::StatusCode;

use crate::failure::Hinted;

/// The reason why an engine cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum EngineError {
    #[error("`{host}` is not the address of an engine")]
    Address { host: String },
    #[error("engines are not reached by `{scheme}:`, as in `{host}`")]
    Scheme { scheme: String, host: String },
    #[error("could not read `{path}`")]
    Read { path: PathBuf, source: io::Error },
    #[error("the docker context `{name}` cannot be used: {reason}")]
    Context { name: String, reason: String },
    #[error("the certificates in `{path}` cannot be used: {reason}")]
    Certificate { path: PathBuf, reason: String },
    #[error("could not set up the HTTP client")]
    Client(#[source] reqwest::Error),
    #[error("could not reach {engine} at `{address}`")]
    Reach { engine: &'static str, address: String, source: reqwest::Error },
    #[error("{engine} at `{address}` did not answer for {silence:?}")]
    Silent { engine: &'static str, address: String, silence: Duration },
    #[error("{engine} at `{address}` answered {status}: {said}")]
    Refused { engine: &'static str, address: String, status: StatusCode, said: String },
    #[error("{engine} did not take the image: {said}")]
    NotLoaded { engine: &'static str, said: String },
    #[error("{engine} has no image `{name}`")]
    NoImage { engine: &'static str, name: String },
    #[error("{engine} sent an answer that is not its own")]
    Answer { engine: &'static str, source: serde_json::Error },
    #[error("{engine} sent an answer of more than {limit} bytes")]
    LongAnswer { engine: &'static str, limit: u64 },
    #[error("could not run `{program}`")]
    Program { program: &'static str, source: io::Error },
    #[error("`{command}` ended with {status}: {said}")]
    Failed { command: String, status: ExitStatus, said: String },
    #[error("could not write what {engine} sent")]
    Write { engine: &'static str, source: io::Error },
}

impl EngineError {
    /// Returns whether the engine looked for a file of an archive that was left out of it.
    pub fn lacks_files(&self) -> bool {
        let said = match self {
            Self::NotLoaded { said, .. } | Self::Refused { said, .. } | Self::Failed { said, .. } => said,
            _ => return false,
        };
        ["no such file", "not found", "missing"].iter().any(|words| said.contains(words))
    }
}

impl Hinted for EngineError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Address { .. } => "write unix:///PATH or tcp://HOST:PORT".into(),
            Self::Scheme { .. } => {
                "forward the engine's socket (`ssh -nNT -L /tmp/engine.sock:/var/run/docker.sock HOST`), and name it: DOCKER_HOST=unix:///tmp/engine.sock".into()
            }
            Self::Context { .. } => "`docker context ls` shows them; DOCKER_HOST or DOCKER_CONTEXT chooses another".into(),
            Self::Certificate { .. } => "it has ca.pem, cert.pem and key.pem, as `docker context create` and DOCKER_CERT_PATH want them".into(),
            Self::Reach { engine: "podman", .. } => {
                "start its service (`systemctl --user start podman.socket`), or unset CONTAINER_HOST: then the program podman is used".into()
            }
            Self::Reach { .. } | Self::Silent { .. } => {
                "start the engine, or name another one by DOCKER_HOST or `docker context use`; its socket may be for root and the group docker only".into()
            }
            Self::Refused { .. } | Self::NotLoaded { .. } | Self::Failed { .. } => {
                "the engine must run, and you must be allowed to use it: see its own log; `-o docker-archive:FILE` writes an archive \
                 that can be loaded by hand"
                    .into()
            }
            Self::NoImage { .. } => "check the name; the engine's own list of images has them".into(),
            Self::Program { program, source } if source.kind() == io::ErrorKind::NotFound => {
                format!("install it, or put `{program}` on the PATH")
            }
            Self::Read { source, .. } | Self::Program { source, .. } | Self::Write { source, .. } => return source.hint(),
            Self::Client(_) | Self::Answer { .. } | Self::LongAnswer { .. } => return None,
        })
    }
}
