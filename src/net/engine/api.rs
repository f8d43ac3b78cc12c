//! The API that Docker has, and podman's service as well, on a socket or a port.
//!
//! <https://docs.docker.com/reference/api/engine/>

use std::fmt;
use std::fs::{self, File};
use std::io::{self, PipeReader, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::try_unfold;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Body, Certificate, Client, ClientBuilder, Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::endpoint::{EngineAddress, EngineEndpoint};
use super::{ContainerEngine, EngineError, EngineImage};
use crate::net::http::Http;
use crate::oci::{Digest, ImageReference};
use crate::plain_file;

/// The bytes of an answer: a list of a thousand images has some hundred KB.
const LONGEST_REPLY: u64 = 16 << 20;
/// The characters of an engine's own words that are shown.
const MOST_SAID: usize = 500;
/// The time for an answer to a question.
const LONGEST_ANSWER: Duration = Duration::from_secs(60);
/// The time to load an archive, from the request to the answer: engines unpack some GB a minute, and answer then.
const LONGEST_LOAD: Duration = Duration::from_secs(2 * 3600);
/// The bytes of an archive that are sent at once.
const PIECE: usize = 512 << 10;
/// The largest file of a certificate or key.
const LONGEST_CERTIFICATE: u64 = 1 << 20;

/// An engine with Docker's API.
#[derive(Clone)]
pub struct EngineApi {
    http: Arc<Http>,
    client: Client,
    engine: &'static str,
    root: Url,
    address: String,
}

impl fmt::Debug for EngineApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineApi").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The form in which an engine keeps its images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineStorage {
    /// Unpacked layers, by the digests of their tars; an image is known by its config.
    Layers,
    /// containerd's: blobs as they came; an image is known by its manifest.
    Blobs,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ImageReply {
    id: String,
    #[serde(rename = "RootFS", default)]
    root_fs: RootFsReply,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct RootFsReply {
    layers: Option<Vec<Digest>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedImage {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InfoReply {
    #[serde(default)]
    driver_status: Option<Vec<Vec<String>>>,
}

impl EngineApi {
    pub(super) fn open(
        http: &Arc<Http>,
        engine: &'static str,
        endpoint: &EngineEndpoint,
    ) -> Result<Self, EngineError> {
        let builder = http.client_builder().http1_only().no_proxy();
        let builder = match &endpoint.certificates {
            Some(directory) => with_certificates(builder, directory)?,
            None => builder,
        };
        let builder = builder.tls_danger_accept_invalid_certs(!endpoint.is_verified);
        let (builder, root) = match &endpoint.address {
            EngineAddress::Socket(path) => {
                (builder.unix_socket(path.clone()), "http://engine.invalid/".to_owned())
            }
            EngineAddress::Network(address) if endpoint.has_tls() => (builder, format!("https://{address}/")),
            EngineAddress::Network(address) => (builder, format!("http://{address}/")),
        };
        let root = Url::parse(&root).map_err(|_| EngineError::Address { host: endpoint.shown() })?;
        let client = builder.build().map_err(EngineError::Client)?;
        Ok(Self { http: Arc::clone(http), client, engine, root, address: endpoint.shown() })
    }

    /// The form in which the engine keeps its images.
    pub fn storage(&self) -> Result<EngineStorage, EngineError> {
        let info: InfoReply = self.ask("info")?;
        let is_containerd = |pair: &Vec<String>| {
            pair.first().is_some_and(|name| name == "driver-type")
                && pair.get(1).is_some_and(|kind| kind.starts_with("io.containerd."))
        };
        Ok(match info.driver_status.unwrap_or_default().iter().any(is_containerd) {
            true => EngineStorage::Blobs,
            false => EngineStorage::Layers,
        })
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<RequestBuilder, EngineError> {
        let wrong = || EngineError::Address { host: self.address.clone() };
        let mut url = self.root.join(path).map_err(|_| wrong())?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(self.client.request(method, url))
    }

    /// The answer to a question, as JSON.
    fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T, EngineError> {
        let body = self.http.block_on(async {
            let response = self.send(self.request(Method::GET, path, &[])?, LONGEST_ANSWER).await?;
            let response = self.successful(response).await?;
            self.body(response).await
        })?;
        serde_json::from_slice(&body).map_err(|source| EngineError::Answer { engine: self.engine, source })
    }

    /// Has something done that takes no body and gives none.
    fn order(&self, method: Method, path: &str, query: &[(&str, &str)]) -> Result<(), EngineError> {
        self.http.block_on(async {
            let response = self.send(self.request(method, path, query)?, LONGEST_ANSWER).await?;
            self.successful(response).await.map(drop)
        })
    }

    async fn send(&self, request: RequestBuilder, limit: Duration) -> Result<Response, EngineError> {
        let answer = tokio::time::timeout(limit, request.send()).await;
        answer.map_err(|_| self.silent(limit))?.map_err(|error| self.unreachable(error))
    }

    async fn successful(&self, response: Response) -> Result<Response, EngineError> {
        let status = response.status();
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        let body = self.body(response).await.unwrap_or_default();
        let (engine, address) = (self.engine, self.address.clone());
        Err(EngineError::Refused { engine, address, status, said: said(&body) })
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, EngineError> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk(&mut response, LONGEST_LOAD).await? {
            body.extend_from_slice(&chunk);
            if body.len() as u64 > LONGEST_REPLY {
                return Err(EngineError::LongAnswer { engine: self.engine, limit: LONGEST_REPLY });
            }
        }
        Ok(body)
    }

    async fn chunk(
        &self,
        response: &mut Response,
        limit: Duration,
    ) -> Result<Option<impl std::ops::Deref<Target = [u8]> + use<>>, EngineError> {
        let chunk = tokio::time::timeout(limit, response.chunk()).await;
        chunk.map_err(|_| self.silent(limit))?.map_err(|error| self.unreachable(error))
    }

    fn silent(&self, silence: Duration) -> EngineError {
        EngineError::Silent { engine: self.engine, address: self.address.clone(), silence }
    }

    fn unreachable(&self, error: reqwest::Error) -> EngineError {
        EngineError::Reach { engine: self.engine, address: self.address.clone(), source: error.without_url() }
    }
}

impl ContainerEngine for EngineApi {
    fn image(&self, name: &str) -> Result<Option<EngineImage>, EngineError> {
        let found: ImageReply = match self.ask(&format!("images/{name}/json")) {
            Err(EngineError::Refused { status: StatusCode::NOT_FOUND, .. }) => return Ok(None),
            found => found?,
        };
        let Some(id) = parse_id(&found.id) else { return Ok(None) };
        Ok(Some(EngineImage { id, diff_ids: found.root_fs.layers.unwrap_or_default() }))
    }

    fn image_ids(&self) -> Result<Vec<String>, EngineError> {
        let listed: Vec<ListedImage> = self.ask("images/json")?;
        Ok(listed.into_iter().filter_map(|image| Some(parse_id(&image.id)?.to_string())).collect())
    }

    fn load(&self, archive: PipeReader) -> Result<(), EngineError> {
        let body = self.http.block_on(async {
            let request = self.request(Method::POST, "images/load", &[("quiet", "1")])?;
            let request = request.header(CONTENT_TYPE, "application/x-tar").body(pipe_body(archive));
            let response = self.send(request, LONGEST_LOAD).await?;
            let response = self.successful(response).await?;
            self.body(response).await
        })?;
        match load_error(&body) {
            Some(said) => Err(EngineError::NotLoaded { engine: self.engine, said }),
            None => Ok(()),
        }
    }

    fn tag(&self, id: &Digest, name: &ImageReference) -> Result<(), EngineError> {
        let (repository, tag) = repository_and_tag(name);
        self.order(Method::POST, &format!("images/{id}/tag"), &[("repo", &repository), ("tag", &tag)])
    }

    fn remove(&self, id: &Digest) -> Result<(), EngineError> {
        self.order(Method::DELETE, &format!("images/{id}"), &[("noprune", "1")])
    }

    fn save(&self, name: &str, mut file: File) -> Result<(), EngineError> {
        self.http.block_on(async {
            let response =
                self.send(self.request(Method::GET, &format!("images/{name}/get"), &[])?, LONGEST_LOAD);
            let response = response.await?;
            if response.status() == StatusCode::NOT_FOUND {
                return Err(EngineError::NoImage { engine: self.engine, name: name.to_owned() });
            }
            let mut response = self.successful(response).await?;
            while let Some(chunk) = self.chunk(&mut response, LONGEST_ANSWER).await? {
                let written = file.write_all(&chunk);
                written.map_err(|source| EngineError::Write { engine: self.engine, source })?;
            }
            Ok(())
        })
    }
}

/// A name's parts, as the engine wants them.
fn repository_and_tag(name: &ImageReference) -> (String, String) {
    let repository = format!("{}/{}", name.registry(), name.repository());
    (repository, name.tag().unwrap_or("latest").to_owned())
}

/// The id of an image; podman writes the digest alone.
fn parse_id(id: &str) -> Option<Digest> {
    id.parse().ok().or_else(|| Digest::from_hex(id).ok())
}

/// The body of a request that comes through a pipe.
fn pipe_body(archive: PipeReader) -> Body {
    Body::wrap_stream(try_unfold(archive, |mut archive| async move {
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; PIECE];
            let count = archive.read(&mut bytes)?;
            bytes.truncate(count);
            Ok::<_, io::Error>((bytes, archive))
        });
        let (bytes, archive) = read.await.map_err(io::Error::other)??;
        Ok::<_, io::Error>((!bytes.is_empty()).then_some((bytes, archive)))
    }))
}

/// The error in the answer to a load, which is a line of JSON for each step: its status is that of the first one.
fn load_error(body: &[u8]) -> Option<String> {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct LoadStep {
        error: Option<String>,
    }
    let steps = serde_json::Deserializer::from_slice(body).into_iter::<LoadStep>();
    steps.flatten().find_map(|step| step.error).map(|error| shortened(&error))
}

/// The words of a refusal.
fn said(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct RefusalBody {
        message: Option<String>,
        cause: Option<String>,
    }
    let text = match serde_json::from_slice::<RefusalBody>(body) {
        Ok(RefusalBody { message, cause }) => message.or(cause).unwrap_or_default(),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    shortened(&text)
}

fn shortened(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.chars().take(MOST_SAID).collect()
}

/// A client with the authority and the certificate of a directory, as docker has them.
fn with_certificates(builder: ClientBuilder, directory: &Path) -> Result<ClientBuilder, EngineError> {
    let unusable = |error: &dyn fmt::Display| EngineError::Certificate {
        path: directory.to_owned(),
        reason: error.to_string(),
    };
    let read = |name: &str| {
        let path = directory.join(name);
        match fs::exists(&path) {
            Ok(true) => {
                plain_file::read(&path, LONGEST_CERTIFICATE).map(Some).map_err(|error| unusable(&error))
            }
            _ => Ok(None),
        }
    };
    let builder = match read("ca.pem")? {
        Some(authorities) => {
            let authorities = Certificate::from_pem_bundle(&authorities).map_err(|error| unusable(&error))?;
            builder.tls_certs_only(authorities)
        }
        None => builder,
    };
    Ok(match (read("cert.pem")?, read("key.pem")?) {
        (Some(certificate), Some(key)) => {
            let both = [certificate, key].join(&b'\n');
            builder.identity(reqwest::Identity::from_pem(&both).map_err(|error| unusable(&error))?)
        }
        _ => builder,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_load_is_in_any_of_its_lines() {
        let check = |body: &str, expected: Option<&str>| {
            assert_eq!(load_error(body.as_bytes()).as_deref(), expected);
        };
        check("{\"stream\":\"Loaded image: a:b\\n\"}\n", None);
        check(
            "{\"stream\":\"x\"}\n{\"errorDetail\":{\"message\":\"no\"},\"error\":\"no\\n space\"}\n",
            Some("no space"),
        );
        check("", None);
        check("Loaded", None);
    }

    #[test]
    fn the_words_of_a_refusal_are_read_and_bounded() {
        assert_eq!(said(br#"{"message":"no such image: x"}"#), "no such image: x");
        assert_eq!(said(br#"{"cause":"busy"}"#), "busy");
        assert_eq!(said(b"plain\ntext"), "plain text");
        assert_eq!(said(&[b'x'; 10_000]).len(), MOST_SAID);
    }
}
