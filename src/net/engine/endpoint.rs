//! The addresses of engines, as docker's own commands choose them.
//!
//! <https://docs.docker.com/engine/manage-resources/contexts/> and
//! <https://docs.docker.com/reference/cli/docker/#environment-variables>

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{EngineError, EngineSettings};
use crate::oci::Digest;
use crate::plain_file;

/// The bytes of docker's configuration, or of a context.
const LONGEST_FILE: u64 = 4 << 20;
/// The context that is none.
const DEFAULT: &str = "default";

/// An engine's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EngineEndpoint {
    pub address: EngineAddress,
    /// The directory with `ca.pem`, `cert.pem` and `key.pem`, each where it is there.
    pub certificates: Option<PathBuf>,
    /// False for an engine whose certificate nobody vouches for.
    pub is_verified: bool,
}

/// The way to an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EngineAddress {
    /// A socket of this machine.
    Socket(PathBuf),
    /// A host and a port; with TLS where the endpoint has certificates, or is not verified.
    Network(String),
}

/// The part of docker's configuration that is read.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct DockerConfig {
    current_context: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContextFile {
    endpoints: ContextEndpoints,
}

#[derive(Deserialize)]
struct ContextEndpoints {
    docker: ContextEndpoint,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContextEndpoint {
    host: String,
    #[serde(default, rename = "SkipTLSVerify")]
    skip_tls_verify: bool,
}

impl EngineEndpoint {
    /// The one that docker's commands take: `DOCKER_HOST`, else the context, else a socket at a usual place.
    pub(super) fn of_docker(settings: &EngineSettings) -> Result<Self, EngineError> {
        if let Some(host) = settings.get("DOCKER_HOST") {
            return Self::of_variables(host, settings);
        }
        let config = settings.path("DOCKER_CONFIG").or_else(|| Some(settings.path("HOME")?.join(".docker")));
        let named = settings.get("DOCKER_CONTEXT").map(str::to_owned);
        let current = || Ok::<_, EngineError>(config.as_deref().map(current_context).transpose()?.flatten());
        let context = named.map_or_else(current, |name| Ok(Some(name)))?.filter(|name| name != DEFAULT);
        match (context, config) {
            (Some(name), Some(config)) => Self::of_context(&name, &config),
            _ => Ok(Self::of_socket(usual_socket(settings))),
        }
    }

    /// A socket of this machine.
    pub(super) fn of_socket(path: PathBuf) -> Self {
        Self { address: EngineAddress::Socket(path), certificates: None, is_verified: true }
    }

    /// An address as `DOCKER_HOST` has it.
    pub(super) fn of_host(host: &str, certificates: Option<PathBuf>) -> Result<Self, EngineError> {
        let address = match host.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => EngineAddress::Socket(path.into()),
            Some(("tcp", address)) if is_address(address) => {
                EngineAddress::Network(address.trim_end_matches('/').to_owned())
            }
            Some((scheme @ ("ssh" | "npipe" | "fd"), _)) => {
                return Err(EngineError::Scheme { scheme: scheme.to_owned(), host: host.to_owned() });
            }
            _ => return Err(EngineError::Address { host: host.to_owned() }),
        };
        Ok(Self { address, certificates, is_verified: true })
    }

    fn of_variables(host: &str, settings: &EngineSettings) -> Result<Self, EngineError> {
        let verifies = settings.get("DOCKER_TLS_VERIFY").is_some();
        let has_tls = verifies || settings.get("DOCKER_TLS").is_some();
        let home = || Some(settings.path("HOME")?.join(".docker"));
        let directory =
            || settings.path("DOCKER_CERT_PATH").or_else(|| settings.path("DOCKER_CONFIG")).or_else(home);
        let endpoint = Self::of_host(host, if has_tls { directory() } else { None })?;
        Ok(Self { is_verified: verifies || !has_tls, ..endpoint })
    }

    fn of_context(name: &str, config: &Path) -> Result<Self, EngineError> {
        let unusable = |reason: String| EngineError::Context { name: name.to_owned(), reason };
        let hex = Digest::of(name).hex();
        let file = config.join("contexts/meta").join(&hex).join("meta.json");
        let bytes = plain_file::read(&file, LONGEST_FILE).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => unusable("there is no such context".to_owned()),
            _ => EngineError::Read { path: file.clone(), source: error },
        })?;
        let context: ContextFile =
            serde_json::from_slice(&bytes).map_err(|error| unusable(error.to_string()))?;
        let ContextEndpoint { host, skip_tls_verify } = context.endpoints.docker;
        let certificates = config.join("contexts/tls").join(&hex).join("docker");
        let endpoint = Self::of_host(&host, certificates.is_dir().then_some(certificates))?;
        Ok(Self { is_verified: !skip_tls_verify, ..endpoint })
    }

    /// Returns whether it is reached by TLS.
    pub(super) fn has_tls(&self) -> bool {
        matches!(self.address, EngineAddress::Network(_))
            && (self.certificates.is_some() || !self.is_verified)
    }

    /// The address for people.
    pub(super) fn shown(&self) -> String {
        match &self.address {
            EngineAddress::Socket(path) => format!("unix://{}", path.display()),
            EngineAddress::Network(address) => format!("tcp://{address}"),
        }
    }
}

fn is_address(address: &str) -> bool {
    !address.is_empty() && !address.contains(['@', '?', '#', ' '])
}

/// The context that docker's configuration names.
fn current_context(config: &Path) -> Result<Option<String>, EngineError> {
    let path = config.join("config.json");
    let bytes = match plain_file::read(&path, LONGEST_FILE) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        bytes => bytes.map_err(|source| EngineError::Read { path, source })?,
    };
    // Docker's own commands warn of a file that is broken, and go on without it.
    let config: DockerConfig = serde_json::from_slice(&bytes).unwrap_or_default();
    Ok(Some(config.current_context).filter(|name| !name.is_empty()))
}

/// The first socket that is there: root's, that of a rootless engine, or those of Docker Desktop.
fn usual_socket(settings: &EngineSettings) -> PathBuf {
    let below = |name: &str, path: &str| Some(settings.path(name)?.join(path));
    let places = [
        Some(PathBuf::from("/var/run/docker.sock")),
        below("XDG_RUNTIME_DIR", "docker.sock"),
        below("HOME", ".docker/run/docker.sock"),
        below("HOME", ".docker/desktop/docker.sock"),
    ];
    let mut there = places.iter().flatten().filter(|path| path.exists());
    there.next().cloned().unwrap_or_else(|| "/var/run/docker.sock".into())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn settings(variables: &[(&'static str, &str)]) -> EngineSettings {
        let variables = variables.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        EngineSettings { variables, is_root: false }
    }

    fn shown(settings: &EngineSettings) -> String {
        match EngineEndpoint::of_docker(settings) {
            Ok(endpoint) => format!(
                "{} tls={} verified={} {:?}",
                endpoint.shown(),
                endpoint.has_tls(),
                endpoint.is_verified,
                endpoint.certificates
            ),
            Err(error) => error.to_string(),
        }
    }

    fn check(variables: &[(&'static str, &str)], expected: &str) {
        let shown = shown(&settings(variables));
        assert!(shown.contains(expected), "{shown}");
    }

    #[test]
    fn the_host_of_the_environment_comes_first() {
        check(&[("DOCKER_HOST", "unix:///run/x.sock")], "unix:///run/x.sock tls=false");
        check(
            &[("DOCKER_HOST", "tcp://engine.test:2375")],
            "tcp://engine.test:2375 tls=false verified=true None",
        );
        let secured = [
            ("DOCKER_HOST", "tcp://engine.test:2376"),
            ("DOCKER_TLS_VERIFY", "1"),
            ("DOCKER_CERT_PATH", "/certs"),
        ];
        check(&secured, "tls=true verified=true Some(\"/certs\")");
        let unverified =
            [("DOCKER_HOST", "tcp://engine.test:2376"), ("DOCKER_TLS", "1"), ("HOME", "/home/me")];
        check(&unverified, "tls=true verified=false Some(\"/home/me/.docker\")");
    }

    #[test]
    fn addresses_that_cannot_be_used_are_named() {
        check(&[("DOCKER_HOST", "ssh://me@engine.test")], "not reached by `ssh:`");
        for host in ["engine.test:2375", "unix://relative", "tcp://", "http://x"] {
            check(&[("DOCKER_HOST", host)], "is not the address of an engine");
        }
    }

    #[test]
    fn contexts_are_read_as_docker_keeps_them() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().to_str().unwrap();
        let hex = Digest::of("remote").hex();
        let meta = directory.path().join("contexts/meta").join(&hex);
        fs::create_dir_all(&meta).unwrap();
        fs::create_dir_all(directory.path().join("contexts/tls").join(&hex).join("docker")).unwrap();
        let context = r#"{"Name":"remote","Endpoints":{"docker":{"Host":"tcp://engine.test:2376","SkipTLSVerify":true}}}"#;
        fs::write(meta.join("meta.json"), context).unwrap();
        check(
            &[("DOCKER_CONFIG", config), ("DOCKER_CONTEXT", "remote")],
            "tcp://engine.test:2376 tls=true verified=false",
        );
        check(
            &[("DOCKER_CONFIG", config), ("DOCKER_CONTEXT", "other")],
            "context `other` cannot be used: there is no such",
        );
        fs::write(directory.path().join("config.json"), r#"{"currentContext":"remote"}"#).unwrap();
        check(&[("DOCKER_CONFIG", config)], "tcp://engine.test:2376");
        check(&[("DOCKER_CONFIG", config), ("DOCKER_CONTEXT", "default")], "docker.sock");
        check(&[("DOCKER_CONFIG", config), ("DOCKER_HOST", "unix:///x")], "unix:///x");
        fs::write(directory.path().join("config.json"), "broken").unwrap();
        check(&[("DOCKER_CONFIG", config)], "docker.sock");
    }
}
