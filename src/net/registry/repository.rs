//! A repository of a registry, as images are read from it.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pull>

use std::io::{self, Read};
use std::ops::Deref;
use std::sync::Arc;

use oci_spec::image::MediaType;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response, StatusCode};
use url::Url;

use super::body::RequestBody;
use super::error::{AccessPurpose, RegistryError};
use super::host::{RegistryHost, RegistryRequest};
use super::known;
use crate::credentials::redacted;
use crate::net::download::{Arrivals, Download, LEAST_PROGRESS, range_from, unchanged};
use crate::net::http::{Attempts, FileServer, Http, HttpError, RequestFailure, content_range};
use crate::net::pace::Pace;
use crate::oci::{Descriptor, Digest, ImageReference, docker};
use crate::store::Store;

/// The bytes of a manifest or an index: registries take half of it.
const LONGEST_MANIFEST: u64 = 8 << 20;

/// The digest of what a registry sends or has taken.
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// The header by which a registry says that it lists a manifest among the referrers of another one.
pub(super) const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// A repository of a registry.
#[derive(Clone)]
pub struct Repository {
    pub(super) host: Arc<RegistryHost>,
    pub(super) image: ImageReference,
    pub(super) store: Store,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repository").field("image", &self.image).finish_non_exhaustive()
    }
}

/// A manifest or an index, as a registry sent it.
#[derive(Debug)]
pub struct ReceivedManifest {
    /// The kind that the registry states.
    pub media_type: MediaType,
    /// The text.
    pub bytes: Vec<u8>,
}

impl Repository {
    /// The image that it was opened for.
    pub fn image(&self) -> &ImageReference {
        &self.image
    }

    /// Returns whether every request fails.
    pub fn is_offline(&self) -> bool {
        self.host.http.is_offline()
    }

    /// The manifest or index that the reference names. One by digest is verified; one by tag is held against the digest that
    /// the registry tells, where it tells one.
    pub fn manifest(&self) -> Result<ReceivedManifest, HttpError> {
        let identifier = match (self.image.digest(), self.image.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.unwrap_or("latest").to_owned(),
        };
        self.received(&identifier, self.image.digest())
    }

    /// The manifest or index under another tag of the repository, held against the digest that the registry tells.
    pub(super) fn manifest_of(&self, tag: &str) -> Result<ReceivedManifest, HttpError> {
        self.received(tag, None)
    }

    fn received(&self, identifier: &str, digest: Option<&Digest>) -> Result<ReceivedManifest, HttpError> {
        let (manifest, told) = self.host.http.block_on(self.receive_manifest(identifier))?;
        let got = Digest::of(&manifest.bytes);
        let told = told.as_deref().and_then(|digest| digest.parse().ok());
        match digest.copied().or(told) {
            Some(expected) if expected != got => Err(self.other_document(expected, got)),
            _ => Ok(manifest),
        }
    }

    /// The bytes of a manifest or an index by its descriptor.
    pub fn document(&self, document: &Descriptor) -> Result<Vec<u8>, HttpError> {
        let identifier = document.digest().to_string();
        let (manifest, _) = self.host.http.block_on(self.receive_manifest(&identifier))?;
        let got = Digest::of(&manifest.bytes);
        match got == document.digest() {
            true => Ok(manifest.bytes),
            false => Err(self.other_document(document.digest(), got)),
        }
    }

    /// The same repository, seen by another tag.
    pub fn with_tag(&self, tag: &str) -> Self {
        Self { image: self.image.with_tag(tag), ..self.clone() }
    }

    /// The manifest or index that a tag names; `None` where the repository has no such tag, or is not there.
    pub fn tagged_manifest(&self, tag: &str) -> Result<Option<ReceivedManifest>, HttpError> {
        match self.with_tag(tag).manifest() {
            Err(HttpError::Registry(error)) if matches!(*error, RegistryError::NoImage { .. }) => Ok(None),
            manifest => manifest.map(Some),
        }
    }

    /// The bytes of a blob that is small enough to be held in memory, verified.
    pub fn blob_bytes(&self, blob: &Descriptor) -> Result<Vec<u8>, HttpError> {
        let (mut bytes, expected) = (Vec::new(), blob.digest());
        let mut passed = self.open_blob(blob)?.take(blob.size() + 1);
        let read = passed.read_to_end(&mut bytes);
        read.map_err(|error| error.downcast().unwrap_or_else(HttpError::Runtime))?;
        let got = Digest::of(&bytes);
        if got == expected { Ok(bytes) } else { Err(self.other_document(expected, got)) }
    }

    fn other_document(&self, expected: Digest, got: Digest) -> HttpError {
        let (registry, image) = (self.host.name.clone(), self.image.to_string());
        RegistryError::OtherDocument { registry, image, expected, got }.into()
    }

    async fn receive_manifest(
        &self,
        identifier: &str,
    ) -> Result<(ReceivedManifest, Option<String>), HttpError> {
        let url = self.url(&["manifests", identifier])?;
        let request = self.request(Method::GET, url, accepted());
        let mut attempts = self.host.http.attempts();
        loop {
            match self.try_manifest(&request).await {
                Ok(manifest) => return Ok(manifest),
                Err(failure) => attempts.wait(failure).await?,
            }
        }
    }

    async fn try_manifest(
        &self,
        request: &RegistryRequest<'_>,
    ) -> Result<(ReceivedManifest, Option<String>), RequestFailure> {
        let response = self.host.exchange(request).await?;
        if response.status() == StatusCode::NOT_FOUND {
            let (registry, image) = (self.host.name.clone(), self.image.to_string());
            return Err(RegistryError::NoImage { registry, image }.into());
        }
        let response = self.successful(response, request).await?;
        let text = |name: HeaderName| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let (told, media_type) = (text(CONTENT_DIGEST), text(CONTENT_TYPE).unwrap_or_default());
        let media_type = media_type.split(';').next().unwrap_or_default().trim().to_owned();
        let (bytes, _) = self.host.http.body(&request.url, response, LONGEST_MANIFEST).await?;
        Ok((ReceivedManifest { media_type: MediaType::from(media_type.as_str()), bytes }, told))
    }

    /// Opens a blob as a stream, which goes on where its connection broke.
    pub fn open_blob(&self, blob: &Descriptor) -> Result<impl Read + Send + use<>, HttpError> {
        let url = self.blob_url(&blob.digest())?;
        let http = &self.host.http;
        let mut reader = BlobReader {
            repository: self.clone(),
            url,
            position: 0,
            response: None,
            pending: Box::new([]),
            taken: 0,
            attempts: http.attempts(),
            pace: Pace::new(http.stall()),
            since: 0,
        };
        http.block_on(reader.connect_patiently())?;
        Ok(reader)
    }

    /// Downloads a blob into the store, unless it is there; an interrupted download is resumed.
    pub fn fetch_blob(
        &self,
        blob: &Descriptor,
        store: &Store,
        progress: Arrivals<'_>,
    ) -> Result<(), HttpError> {
        let file = Download {
            url: self.blob_url(&blob.digest())?,
            name: blob.digest().to_string(),
            digest: blob.digest(),
            size: Some(blob.size()),
        };
        self.host.http.block_on(self.host.http.download_from(self, store, &file, progress))
    }

    /// Notes that the repository has a blob: where it is mounted from later.
    pub fn note_blob(&self, digest: &Digest) {
        known::note(&self.store, &self.host.name, digest, self.image.repository());
    }

    /// A request to read from it.
    pub(super) fn request(&self, method: Method, url: Url, headers: HeaderMap) -> RegistryRequest<'_> {
        let (body, purpose) = (RequestBody::None, AccessPurpose::Pull);
        RegistryRequest { method, url, headers, body, image: &self.image, purpose, mounted: None }
    }

    pub(super) fn blob_url(&self, digest: &Digest) -> Result<Url, HttpError> {
        self.url(&["blobs", &digest.to_string()])
    }

    /// A URL below the repository.
    pub(super) fn url(&self, parts: &[&str]) -> Result<Url, HttpError> {
        let path = format!("{}/{}", self.image.repository(), parts.join("/"));
        let registry = || RegistryError::Host { registry: self.host.name.clone() };
        Ok(self.host.root.join(&path).map_err(|_| registry())?)
    }

    /// An answer that is no refusal.
    pub(super) async fn successful(
        &self,
        response: Response,
        request: &RegistryRequest<'_>,
    ) -> Result<Response, RequestFailure> {
        match response.status().is_success() {
            true => Ok(response),
            false => Err(self.host.refusal(response, request).await),
        }
    }
}

/// Downloads ask for parts, and decide themselves about an answer that has none.
impl FileServer for Repository {
    async fn get(&self, url: &Url, headers: HeaderMap) -> Result<Response, RequestFailure> {
        let request = self.request(Method::GET, url.clone(), headers);
        let response = self.host.exchange(&request).await?;
        match response.status() {
            StatusCode::RANGE_NOT_SATISFIABLE => Ok(response),
            _ => self.successful(response, &request).await,
        }
    }
}

/// The header that names every kind of manifest and index.
pub(super) fn accepted() -> HeaderMap {
    let kinds = [MediaType::ImageIndex, MediaType::ImageManifest].map(|kind| kind.to_string());
    let kinds = [kinds.join(", "), docker::LIST.to_owned(), docker::MANIFEST.to_owned()].join(", ");
    HeaderValue::from_str(&kinds).ok().map(|value| (ACCEPT, value)).into_iter().collect()
}

/// A blob as a stream.
struct BlobReader {
    repository: Repository,
    url: Url,
    /// The bytes that have come.
    position: u64,
    response: Option<Response>,
    pending: Box<[u8]>,
    /// The bytes of `pending` that were read.
    taken: usize,
    attempts: Attempts,
    pace: Pace,
    /// The position at which the last attempt began.
    since: u64,
}

impl BlobReader {
    fn http(&self) -> &Http {
        &self.repository.host.http
    }

    async fn connect_patiently(&mut self) -> Result<(), HttpError> {
        while self.response.is_none() {
            if let Err(failure) = self.connect().await {
                self.attempts.wait(failure).await?;
            }
        }
        Ok(())
    }

    /// Asks for the bytes from the position on.
    async fn connect(&mut self) -> Result<(), RequestFailure> {
        let mut headers = unchanged();
        headers.extend(range_from(self.position).filter(|_| self.position > 0));
        let mut response = self.repository.get(&self.url, headers).await?;
        self.pace = Pace::new(self.http().stall());
        self.since = self.position;
        let wrong = || HttpError::WrongRange { url: redacted(&self.url) };
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let start = content_range(response.headers()).map(|(start, _, _)| start);
                if start != Some(self.position) {
                    return Err(wrong().into());
                }
            }
            StatusCode::OK => self.skip(&mut response).await?,
            _ => return Err(wrong().into()),
        }
        self.response = Some(response);
        Ok(())
    }

    /// Passes over what has come before, of an answer that begins at the first byte.
    async fn skip(&mut self, response: &mut Response) -> Result<(), RequestFailure> {
        let mut left = self.position;
        while left > 0 {
            let mut pace = Pace::new(self.http().stall());
            let chunk = self.repository.host.http.chunk(&self.url, response, &mut pace).await?;
            let Some(chunk) = chunk else {
                return Err(HttpError::WrongRange { url: redacted(&self.url) }.into());
            };
            let passed = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            left -= passed as u64;
            self.pending = chunk[passed..].into();
            self.taken = 0;
            self.position += self.pending.len() as u64;
        }
        Ok(())
    }

    /// The next bytes; none at the end.
    async fn advance(&mut self) -> Result<(), HttpError> {
        loop {
            self.connect_patiently().await?;
            // An answer from the first byte on may have brought them already.
            if self.taken < self.pending.len() {
                return Ok(());
            }
            let host = Arc::clone(&self.repository.host);
            let Some(mut response) = self.response.take() else { continue };
            match host.http.chunk(&self.url, &mut response, &mut self.pace).await {
                Ok(chunk) => {
                    self.response = Some(response);
                    self.pending = chunk.map(|chunk| chunk.deref().into()).unwrap_or_default();
                    self.taken = 0;
                    self.position += self.pending.len() as u64;
                    return Ok(());
                }
                Err(failure) => {
                    if self.position - self.since >= LEAST_PROGRESS {
                        self.attempts = host.http.attempts();
                    }
                    self.attempts.wait(failure).await?;
                }
            }
        }
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.pending.len() {
            let host = Arc::clone(&self.repository.host);
            host.http.block_on(self.advance()).map_err(io::Error::other)?;
        }
        let count = buffer.len().min(self.pending.len() - self.taken);
        buffer[..count].copy_from_slice(&self.pending[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}
