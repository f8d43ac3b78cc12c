//! The upload of one blob: in one request with content, in parts where the registry takes no larger ones, and from where it
//! stopped when a connection breaks.
//!
//! A small blob is sent by the PUT that ends its upload. Of a large one the content goes by PATCH before: some registries keep
//! what arrived of that when the connection breaks, and it goes on from there. Where all of it is lost, it is sent in parts:
//! a proxy that passes on whole requests only keeps those that it has passed on. docker-registry by itself keeps no upload
//! whose PATCH broke, of whatever size (its state then tells of another offset than its file has), and the blob begins again.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-blobs>

use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};
use url::Url;

use super::body::RequestBody;
use super::error::RegistryError;
use super::push::OutgoingBlob;
use super::repository::Repository;
use crate::net::http::{HttpError, RequestFailure};

/// The sizes of parts that are tried, one after the other, where a registry or a proxy takes no larger ones.
const PARTS: [u64; 3] = [64 << 20, 16 << 20, 4 << 20];
/// The size from which on a blob is worth a request more, by which it can go on.
const LARGE: u64 = 4 << 20;
/// The least size of a part that a registry takes.
const LEAST_PART: HeaderName = HeaderName::from_static("oci-chunk-min-length");
/// The times that one upload is begun or goes on without having come further.
const MOST_BEGUN: u32 = 24;

/// An upload that was begun.
struct Begun {
    location: Url,
    /// The bytes that the registry has.
    offset: u64,
    /// The least size of a part.
    least: u64,
}

/// The manner of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// One PUT with everything.
    Whole,
    /// One PATCH with everything that is left, then a PUT.
    Stream,
    /// PATCHes of this size, then a PUT.
    Parts(u64),
}

impl Manner {
    /// The manner that is tried after a request was too large; `None` where there is none smaller.
    fn smaller(self, least: u64) -> Option<Self> {
        let size = match self {
            Self::Whole | Self::Stream => u64::MAX,
            Self::Parts(size) => size,
        };
        PARTS.into_iter().find(|part| *part < size && *part >= least).map(Self::Parts)
    }
}

/// The outcome of one request.
enum UploadStep {
    Done,
    /// The upload is further, or goes on in another manner.
    Further,
}

impl Repository {
    /// Sends a blob, to `location` where an upload was begun.
    pub(super) async fn upload(&self, blob: &OutgoingBlob, location: Option<Url>) -> Result<(), HttpError> {
        let mut upload = Upload {
            repository: self,
            blob,
            manner: if blob.size >= LARGE { Manner::Stream } else { Manner::Whole },
            takes_parts: true,
            refused: None,
            times_begun: 0,
            begun: location.map(|location| Begun { location, offset: 0, least: 0 }),
        };
        let mut attempts = self.host.http.attempts();
        let (mut idle, mut reached) = (0, 0);
        loop {
            let before = upload.offset();
            let failure = match upload.step().await {
                Ok(UploadStep::Done) => return Ok(()),
                Ok(UploadStep::Further) => None,
                Err(failure) => Some(failure),
            };
            if let Some(failure) = failure {
                if failure.passes() {
                    upload.recover().await;
                }
                if upload.offset() > reached {
                    attempts = self.host.http.attempts();
                }
                attempts.wait(failure).await?;
            }
            idle = if upload.offset() > before { 0 } else { idle + 1 };
            reached = reached.max(upload.offset());
            if idle.max(upload.times_begun) > MOST_BEGUN {
                return Err(upload.unfinished(idle.max(upload.times_begun)));
            }
        }
    }
}

struct Upload<'a> {
    repository: &'a Repository,
    blob: &'a OutgoingBlob,
    manner: Manner,
    /// False once the registry has refused a part for another reason than its size.
    takes_parts: bool,
    /// The offset from which on the registry did not take a part.
    refused: Option<u64>,
    begun: Option<Begun>,
    times_begun: u32,
}

impl Upload<'_> {
    fn offset(&self) -> u64 {
        self.begun.as_ref().map_or(0, |begun| begun.offset)
    }

    fn unfinished(&self, attempts: u32) -> HttpError {
        RegistryError::Unfinished {
            registry: self.repository.host.name.clone(),
            repository: self.repository.image.repository().to_owned(),
            digest: self.blob.digest,
            attempts,
        }
        .into()
    }

    /// Sends the next request.
    async fn step(&mut self) -> Result<UploadStep, RequestFailure> {
        match (&self.begun, self.manner) {
            (None, _) => self.begin().await,
            (Some(begun), Manner::Whole) if begun.offset == 0 => self.put(0).await,
            (Some(begun), _) if begun.offset == self.blob.size => self.put(begun.offset).await,
            (Some(_), _) => self.patch().await,
        }
    }

    async fn begin(&mut self) -> Result<UploadStep, RequestFailure> {
        self.times_begun += 1;
        let url = self.repository.uploads_url()?;
        let request = self.repository.upload_request(Method::POST, url, RequestBody::Bytes(Vec::new()));
        let response = self.repository.host.exchange(&request).await?;
        let response = self.repository.successful(response, &request).await?;
        let location = self.repository.location(&response).ok_or_else(|| self.no_location())?;
        let least = response.headers().get(LEAST_PART).and_then(|value| value.to_str().ok()?.parse().ok());
        self.begun = Some(Begun { location, offset: 0, least: least.unwrap_or_default() });
        Ok(UploadStep::Further)
    }

    fn no_location(&self) -> RegistryError {
        RegistryError::NoLocation {
            registry: self.repository.host.name.clone(),
            repository: self.repository.image.repository().to_owned(),
        }
    }

    /// Sends what is left from `start` on, and ends the upload.
    async fn put(&mut self, start: u64) -> Result<UploadStep, RequestFailure> {
        let Some(begun) = &self.begun else { return Ok(UploadStep::Further) };
        let mut url = begun.location.clone();
        url.query_pairs_mut().append_pair("digest", &self.blob.digest.to_string());
        let body = match start == self.blob.size {
            true => RequestBody::Bytes(Vec::new()),
            false => self.blob.body(start..self.blob.size),
        };
        let request = self.repository.upload_request(Method::PUT, url, body);
        let request = super::host::RegistryRequest { headers: bytes_type(), ..request };
        let response = self.repository.host.exchange(&request).await?;
        match response.status() {
            status if status.is_success() => {
                self.repository.check_digest(&response, self.blob.digest)?;
                Ok(UploadStep::Done)
            }
            StatusCode::PAYLOAD_TOO_LARGE if let Some(manner) = self.manner.smaller(begun.least) => {
                self.restart(manner)
            }
            // Some registries end uploads by PUT, and take content by PATCH only.
            StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::NOT_IMPLEMENTED
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
                if self.manner == Manner::Whole && start < self.blob.size =>
            {
                self.restart(Manner::Stream)
            }
            // The upload is not there any more.
            StatusCode::NOT_FOUND => {
                let failure = self.repository.host.refusal(response, &request).await;
                self.begun = None;
                Err(RequestFailure::passing(failure.into_error(), None))
            }
            _ => Err(self.repository.host.refusal(response, &request).await),
        }
    }

    fn restart(&mut self, manner: Manner) -> Result<UploadStep, RequestFailure> {
        (self.manner, self.begun) = (manner, None);
        Ok(UploadStep::Further)
    }

    /// Sends the next part.
    async fn patch(&mut self) -> Result<UploadStep, RequestFailure> {
        let Some(begun) = &self.begun else { return Ok(UploadStep::Further) };
        let (start, least) = (begun.offset, begun.least);
        let end = match self.manner {
            Manner::Whole | Manner::Stream => self.blob.size,
            Manner::Parts(size) => (start + size.max(least)).min(self.blob.size),
        };
        let mut request =
            self.repository.upload_request(Method::PATCH, begun.location.clone(), self.blob.body(start..end));
        request.headers = bytes_type();
        // Registries that take one PATCH without end limit those that say their range.
        if (start, end) != (0, self.blob.size) {
            let range = HeaderValue::from_str(&format!("{start}-{}", end - 1)).ok();
            request.headers.extend(range.map(|range| (CONTENT_RANGE, range)));
        }
        let response = self.repository.host.exchange(&request).await?;
        match response.status() {
            status if status.is_success() => {
                let offset = taken(&response).unwrap_or(end);
                let location = self.repository.location(&response);
                if offset > self.blob.size || offset < start {
                    return Err(RequestFailure::passing(self.unfinished(1), None));
                }
                let location = location.unwrap_or_else(|| begun.location.clone());
                self.begun = Some(Begun { location, offset, least });
                Ok(UploadStep::Further)
            }
            StatusCode::PAYLOAD_TOO_LARGE
                if self.takes_parts
                    && let Some(manner) = self.manner.smaller(least) =>
            {
                self.restart(manner)
            }
            // Some registries take no parts at all.
            StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED
                if start == 0 && matches!(self.manner, Manner::Parts(_)) =>
            {
                self.takes_parts = false;
                self.restart(Manner::Stream)
            }
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED if self.manner == Manner::Stream => {
                self.restart(Manner::Whole)
            }
            // It has more or less than was thought, or nothing any more; one that refuses the same again is begun anew.
            StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::NOT_FOUND => {
                let failure = self.repository.host.refusal(response, &request).await;
                if self.refused.replace(start) == Some(start) {
                    self.begun = None;
                }
                Err(RequestFailure::passing(failure.into_error(), None))
            }
            _ => Err(self.repository.host.refusal(response, &request).await),
        }
    }

    /// Goes on after a request that broke: where the upload has come to, and in parts if nothing is left of it.
    async fn recover(&mut self) {
        let was_sending = self.begun.is_some();
        self.find_place().await;
        let is_lost = was_sending && self.offset() == 0;
        if is_lost && self.takes_parts && self.manner == Manner::Stream && self.blob.size > PARTS[0] {
            self.manner = Manner::Parts(PARTS[0]);
        }
    }

    /// Asks how far the upload is; one of which that is not known is begun again.
    async fn find_place(&mut self) {
        let Some(begun) = self.begun.take() else { return };
        let request = self.repository.upload_request(Method::GET, begun.location.clone(), RequestBody::None);
        let Ok(response) = self.repository.host.exchange(&request).await else { return };
        let offset = taken(&response).filter(|offset| *offset <= self.blob.size);
        if let Some(offset) = offset.filter(|_| response.status().is_success()) {
            let location = self.repository.location(&response).unwrap_or(begun.location);
            self.begun = Some(Begun { location, offset, ..begun });
        }
    }
}

fn bytes_type() -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))])
}

/// The bytes that a registry says to have of an upload: `Range: 0-99` stands for a hundred. `0-0` stands for none in
/// registries that have not begun to count.
fn taken(response: &Response) -> Option<u64> {
    let range = response.headers().get(RANGE)?.to_str().ok()?;
    let range = range.strip_prefix("bytes=").or_else(|| range.strip_prefix("bytes ")).unwrap_or(range);
    let (start, last) = range.trim().split_once('-')?;
    let last: u64 = last.parse().ok().filter(|_| start == "0")?;
    Some(if last == 0 { 0 } else { last + 1 })
}
