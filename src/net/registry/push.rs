//! Pushing: blobs that a repository lacks, then the manifest.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#push>

use std::collections::BTreeSet;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use oci_spec::image::MediaType;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Response, StatusCode};
use url::Url;

use super::body::{FilePiece, RequestBody};
use super::error::{AccessPurpose, RegistryError};
use super::host::RegistryRequest;
use super::known;
use super::repository::{CONTENT_DIGEST, OCI_SUBJECT, Repository, accepted};
use crate::net::http::HttpError;
use crate::oci::Digest;

/// A blob to push.
#[derive(Debug)]
pub struct OutgoingBlob {
    /// The digest.
    pub digest: Digest,
    /// The size in bytes.
    pub size: u64,
    /// The bytes.
    pub content: BlobContent,
}

/// The bytes of a blob to push.
#[derive(Debug)]
pub enum BlobContent {
    /// The whole content of a file.
    File(Arc<File>),
    /// Bytes in memory.
    Bytes(Vec<u8>),
}

/// The way by which a repository got a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It was there.
    Present,
    /// It was in another repository of the same registry.
    Mounted,
    /// It was sent.
    Sent,
}

impl OutgoingBlob {
    pub(super) fn body(&self, range: Range<u64>) -> RequestBody {
        match &self.content {
            BlobContent::File(file) => RequestBody::File(FilePiece { file: Arc::clone(file), range }),
            BlobContent::Bytes(bytes) => {
                let [start, end] =
                    [range.start, range.end].map(|at| usize::try_from(at).unwrap_or(usize::MAX));
                RequestBody::Bytes(bytes.get(start..end).unwrap_or_default().to_vec())
            }
        }
    }
}

impl Repository {
    /// Brings a blob into the repository, unless it is there; one that another repository of the registry is known to have
    /// is mounted from there. `content` is asked for where it has to be sent.
    pub fn push_blob<E: From<HttpError>>(
        &self,
        digest: Digest,
        size: u64,
        content: impl FnOnce() -> Result<BlobContent, E>,
    ) -> Result<Pushed, E> {
        let pushed = match self.host.http.block_on(self.find_blob(digest, size))? {
            FoundBlob::Present => Pushed::Present,
            FoundBlob::Mounted => Pushed::Mounted,
            FoundBlob::Missing(location) => {
                let blob = OutgoingBlob { digest, size, content: content()? };
                self.host.http.block_on(self.upload(&blob, location))?;
                Pushed::Sent
            }
        };
        self.note_blob(&digest);
        Ok(pushed)
    }

    /// Sends a blob, whatever the registry says that it has.
    pub fn send_blob(&self, blob: &OutgoingBlob) -> Result<(), HttpError> {
        self.host.http.block_on(self.upload(blob, None))
    }

    /// Makes `tag` name the manifest, whose blobs are in the repository; gives whether it named another one before.
    ///
    /// Where the registry lacks blobs of it nevertheless, `resend` is asked once to send those that are meant, and the
    /// manifest is put again.
    pub fn push_manifest<E: From<HttpError>>(
        &self,
        tag: &str,
        media_type: &MediaType,
        bytes: &[u8],
        resend: impl FnOnce(&LackedBlobs) -> Result<(), E>,
    ) -> Result<bool, E> {
        let digest = Digest::of(bytes);
        if self.host.http.block_on(self.tagged(tag))? == Some(digest) {
            return Ok(false);
        }
        let put = || self.host.http.block_on(self.put_manifest(tag, media_type, bytes, digest));
        match put() {
            Err(ManifestRefused::LacksBlobs(lacked, _)) => {
                resend(&lacked)?;
                put().map_err(ManifestRefused::into_error)?;
            }
            put => drop(put.map_err(ManifestRefused::into_error)?),
        }
        Ok(true)
    }

    async fn has_blob(&self, digest: Digest, size: u64) -> Result<bool, HttpError> {
        let request = self.request(Method::HEAD, self.blob_url(&digest)?, HeaderMap::new());
        let response = self.answer(&RegistryRequest { purpose: AccessPurpose::Push, ..request }).await?;
        let length =
            response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        // One of another size is not it, and sent again.
        Ok(response.status().is_success() && length.is_none_or(|length: u64| length == size))
    }

    /// The digest of the manifest that has the tag, where the registry tells it.
    pub(super) async fn tagged(&self, tag: &str) -> Result<Option<Digest>, HttpError> {
        let request = self.request(Method::HEAD, self.url(&["manifests", tag])?, accepted());
        let response = self.answer(&RegistryRequest { purpose: AccessPurpose::Push, ..request }).await?;
        let digest = response.headers().get(CONTENT_DIGEST).filter(|_| response.status().is_success());
        Ok(digest.and_then(|digest| digest.to_str().ok()?.parse().ok()))
    }

    /// Looks for a blob in the repository, and mounts it where another one has it.
    async fn find_blob(&self, digest: Digest, size: u64) -> Result<FoundBlob, HttpError> {
        if self.has_blob(digest, size).await? {
            return Ok(FoundBlob::Present);
        }
        let known = known::repositories(&self.store, &self.host.name, &digest);
        for repository in known.iter().filter(|repository| *repository != self.image.repository()) {
            match self.mount(&digest, repository).await {
                Ok(Mount::Done) => return Ok(FoundBlob::Mounted),
                Ok(Mount::Upload(location)) => return Ok(FoundBlob::Missing(Some(location))),
                // Whatever keeps a registry from a mount, it may take the blob: Harbor answers 401, Artifactory 202.
                Ok(Mount::Refused) | Err(HttpError::Registry(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(FoundBlob::Missing(None))
    }

    async fn mount(&self, digest: &Digest, from: &str) -> Result<Mount, HttpError> {
        let mut url = self.uploads_url()?;
        url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from);
        let request = self.upload_request(Method::POST, url, RequestBody::Bytes(Vec::new()));
        let request = RegistryRequest { mounted: Some(from), ..request };
        let response = self.answer(&request).await?;
        Ok(match response.status() {
            StatusCode::CREATED => Mount::Done,
            StatusCode::ACCEPTED => match self.location(&response) {
                Some(location) => Mount::Upload(location),
                None => Mount::Refused,
            },
            _ => Mount::Refused,
        })
    }

    /// Puts a manifest under a tag or its digest; gives whether the registry lists it among referrers.
    pub(super) async fn put_manifest(
        &self,
        tag: &str,
        media_type: &MediaType,
        bytes: &[u8],
        digest: Digest,
    ) -> Result<bool, ManifestRefused> {
        let body = RequestBody::Bytes(bytes.to_vec());
        let mut request = self.upload_request(Method::PUT, self.url(&["manifests", tag])?, body);
        request
            .headers
            .extend(HeaderValue::from_str(media_type.as_ref()).ok().map(|value| (CONTENT_TYPE, value)));
        let response = self.answer(&request).await?;
        if response.status().is_success() {
            self.check_digest(&response, digest)?;
            return Ok(response.headers().contains_key(OCI_SUBJECT));
        }
        let refusal = self.host.refusal(response, &request).await.into_error();
        let lacked = match &refusal {
            HttpError::Registry(error) => match &**error {
                RegistryError::Refused(refusal) if refusal.said.contains("BLOB_UNKNOWN") => {
                    Some(LackedBlobs { named: refusal.digests.clone() })
                }
                _ => None,
            },
            _ => None,
        };
        Err(match lacked {
            Some(lacked) => ManifestRefused::LacksBlobs(lacked, refusal),
            None => refusal.into(),
        })
    }

    /// Holds the digest that a registry has noted of what it was sent against the true one.
    pub(super) fn check_digest(&self, response: &Response, expected: Digest) -> Result<(), HttpError> {
        let noted = response.headers().get(CONTENT_DIGEST).and_then(|noted| noted.to_str().ok());
        match noted.filter(|noted| *noted != expected.to_string()) {
            None => Ok(()),
            Some(got) => {
                let (registry, image) = (self.host.name.clone(), self.image.to_string());
                Err(RegistryError::OtherDigest { registry, image, expected, got: got.to_owned() }.into())
            }
        }
    }

    pub(super) fn uploads_url(&self) -> Result<Url, HttpError> {
        self.url(&["blobs", "uploads", ""])
    }

    pub(super) fn upload_request(&self, method: Method, url: Url, body: RequestBody) -> RegistryRequest<'_> {
        let request = self.request(method, url, HeaderMap::new());
        RegistryRequest { body, purpose: AccessPurpose::Push, ..request }
    }

    /// The answer to a request that is sent until the registry is no longer busy.
    pub(super) async fn answer(&self, request: &RegistryRequest<'_>) -> Result<Response, HttpError> {
        let mut attempts = self.host.http.attempts();
        loop {
            match self.host.exchange(request).await {
                Ok(response) => return Ok(response),
                Err(failure) => attempts.wait(failure).await?,
            }
        }
    }

    /// The place where an upload goes on, absolute or seen from who answered. Behind a proxy that ends TLS, a registry may
    /// give its own place as one of plain HTTP.
    pub(super) fn location(&self, response: &Response) -> Option<Url> {
        let mut url = super::host::location(response)?;
        let root = &self.host.root;
        if root.scheme() == "https" && url.scheme() == "http" {
            let is_own = url.host_str() == root.host_str();
            url.set_scheme("https").ok().filter(|()| is_own)?;
            url.set_port(root.port()).ok()?;
        }
        Some(url)
    }
}

/// The state of a blob in a repository.
enum FoundBlob {
    Present,
    Mounted,
    /// With the place of an upload that was begun for it.
    Missing(Option<Url>),
}

/// The answer to a mount.
enum Mount {
    Done,
    /// Not mounted, but the blob may be sent there.
    Upload(Url),
    Refused,
}

/// The blobs of a manifest that a registry said to have, and lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LackedBlobs {
    /// Empty where the registry does not name them.
    named: BTreeSet<Digest>,
}

impl LackedBlobs {
    /// Those of a manifest's `blobs` that are meant: all of them where none is named.
    pub fn among(&self, blobs: &[Digest]) -> Vec<Digest> {
        let named: Vec<Digest> = blobs.iter().filter(|digest| self.named.contains(digest)).copied().collect();
        if named.is_empty() { blobs.to_vec() } else { named }
    }
}

/// The reason why a manifest was not taken.
pub(super) enum ManifestRefused {
    LacksBlobs(LackedBlobs, HttpError),
    Other(HttpError),
}

impl ManifestRefused {
    /// The error, whichever it is.
    pub(super) fn into_error(self) -> HttpError {
        match self {
            Self::LacksBlobs(_, error) | Self::Other(error) => error,
        }
    }
}

impl From<HttpError> for ManifestRefused {
    fn from(error: HttpError) -> Self {
        Self::Other(error)
    }
}
