//! Registries of images, as the distribution specification has them.
//!
//! ```text
//! ImageReference ─ Registries::repository ─► Repository ─► manifests, blobs ─► push_blob…, push_manifest
//! ```
//!
//! A request goes out with nothing at first; what the registry then asks for (`challenge`) is got from the machine's logins
//! (`logins`, `helper`) and its token server (`token`), kept by the host (`host`), and renewed when it is refused.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>

mod attached;
mod body;
mod certificates;
mod challenge;
mod configuration;
pub mod error;
mod helper;
mod host;
mod known;
mod logins;
mod push;
mod repository;
mod tags;
mod token;
mod upload;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use reqwest::{Client, StatusCode};
use url::Url;

use self::configuration::ConfiguredRegistries;
use self::error::RegistryError;
use self::host::RegistryHost;
use super::http::{Http, HttpError};
use crate::oci::ImageReference;
use crate::store::Store;

pub use attached::{TagContended, TaggedDocument};
pub use configuration::{PullPlace, RegistryConfiguration};
pub use logins::{LoginError, Logins};
pub use push::{BlobContent, LackedBlobs, OutgoingBlob, Pushed};
pub use repository::{ReceivedManifest, Repository};
pub use tags::ManifestRemoval;

/// The machine's settings for registries.
#[derive(Debug, Clone, Default)]
pub struct RegistrySettings {
    /// The logins.
    pub logins: Logins,
    /// The directories that may have certificates by host.
    pub certificates: Vec<PathBuf>,
    /// Mirrors and blocked registries.
    pub configuration: RegistryConfiguration,
    /// The hosts that may be without TLS, or with a certificate that nobody vouches for.
    pub insecure: BTreeSet<String>,
}

impl RegistrySettings {
    /// Those of this machine and its user.
    pub fn here() -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        Self {
            logins: Logins::of(&variable, rustix::process::getuid().as_raw()),
            certificates: certificates::directories(&variable),
            configuration: RegistryConfiguration::of(&variable),
            insecure: BTreeSet::new(),
        }
    }
}

/// All registries.
pub struct Registries {
    http: Arc<Http>,
    store: Store,
    settings: RegistrySettings,
    configured: OnceLock<ConfiguredRegistries>,
    hosts: Mutex<BTreeMap<String, Arc<RegistryHost>>>,
}

impl Registries {
    /// Registries by `http`; what is known of their blobs is kept in `store`.
    pub fn new(http: Arc<Http>, store: Store, settings: RegistrySettings) -> Self {
        Self { http, store, settings, configured: OnceLock::new(), hosts: Mutex::default() }
    }

    /// The store in which is kept what is known of registries.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The settings of the machine, read when a registry is first asked.
    fn configured(&self) -> Result<&ConfiguredRegistries, RegistryError> {
        if let Some(configured) = self.configured.get() {
            return Ok(configured);
        }
        let read = self.settings.configuration.read()?;
        Ok(self.configured.get_or_init(|| read))
    }

    /// The places to pull an image from, one after the other: mirrors, then its own.
    pub fn pull_places(&self, image: &ImageReference) -> Result<Vec<PullPlace>, HttpError> {
        let configured = self.configured()?;
        if configured.is_blocked(image) {
            return Err(RegistryError::Blocked { image: image.to_string() }.into());
        }
        Ok(configured.pull_places(image))
    }

    /// The repository of `image`, to which it is pushed.
    pub fn repository(&self, image: &ImageReference) -> Result<Repository, HttpError> {
        let configured = self.configured()?;
        if configured.is_blocked(image) {
            return Err(RegistryError::Blocked { image: image.to_string() }.into());
        }
        let is_insecure = configured.is_insecure(image);
        self.repository_at(&PullPlace { reference: image.clone(), is_insecure })
    }

    /// The repository at a place that an image is pulled from.
    pub fn repository_at(&self, place: &PullPlace) -> Result<Repository, HttpError> {
        let image = &place.reference;
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let host = match hosts.get(image.registry()) {
            Some(host) => Arc::clone(host),
            None => {
                let host = Arc::new(self.open(image, place.is_insecure)?);
                hosts.insert(image.registry().to_owned(), Arc::clone(&host));
                host
            }
        };
        Ok(Repository { host, image: image.clone(), store: self.store.clone() })
    }

    fn open(&self, image: &ImageReference, may_be_insecure: bool) -> Result<RegistryHost, HttpError> {
        let host = image.host();
        let is_insecure = may_be_insecure || self.settings.insecure.contains(image.registry());
        // Uploads over one connection of HTTP/2 share its window: each has one of its own.
        let builder = self.http.client_builder().http1_only();
        let builder = certificates::with_certificates(builder, host, &self.settings.certificates)?;
        let builder = builder.tls_danger_accept_invalid_certs(is_insecure);
        // A proxy's loopback is another machine's.
        let builder = if is_loopback(host) { builder.no_proxy() } else { builder };
        let client = builder.build().map_err(HttpError::Client)?;
        let root = |scheme: &str| {
            let url = Url::parse(&format!("{scheme}://{host}/v2/"));
            url.map_err(|_| RegistryError::Host { registry: host.to_owned() })
        };
        let (plain, secure) = (root("http")?, root("https")?);
        let is_plain = match (is_insecure, is_loopback(host)) {
            _ if self.http.is_offline() => false,
            (_, true) => self.http.block_on(speaks_http(&client, &plain)),
            (true, false) => !self.http.block_on(answers(&client, &secure)),
            (false, false) => false,
        };
        Ok(RegistryHost {
            http: Arc::clone(&self.http),
            client,
            name: image.registry().to_owned(),
            root: if is_plain { plain } else { secure },
            logins: Arc::new(self.settings.logins.clone()),
            access: tokio::sync::Mutex::default(),
        })
    }
}

/// Returns whether a host is this machine, on which docker, too, takes registries without TLS.
fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Returns whether something answers.
async fn answers(client: &Client, root: &Url) -> bool {
    client.get(root.clone()).send().await.is_ok()
}

/// Returns whether plain HTTP is spoken: those that want TLS answer 400 to it, or nothing.
async fn speaks_http(client: &Client, root: &Url) -> bool {
    let answer = client.get(root.clone()).send().await;
    answer.is_ok_and(|answer| answer.status() != StatusCode::BAD_REQUEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_by_its_names() {
        for host in ["localhost", "localhost:5000", "127.0.0.1", "127.0.0.1:80", "127.3.2.1:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["registry.test", "localhost.test:5000", "10.0.0.1:5000", "127.registry.test"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
