//! The companions of an image in its repository: referrers, and documents under tags made of the image's digest.
//!
//! * <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests-with-subject>
//! * <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers>

use std::time::Duration;

use oci_spec::image::MediaType;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use url::Url;

use super::error::RegistryError;
use super::push::{BlobContent, ManifestRefused};
use super::repository::Repository;
use super::tags::next_page;
use crate::net::http::HttpError;
use crate::oci::Digest;

/// The rounds of reading, changing and writing a tag that others change, too.
const MOST_ROUNDS: u32 = 8;

/// The longest wait between two rounds, in milliseconds.
const LONGEST_WAIT: u64 = 400;

/// The bytes of one page of referrers: registries send some hundred, of a KB each.
const LONGEST_PAGE: u64 = 4 << 20;

/// The pages of referrers that are read.
const MOST_PAGES: usize = 100;

/// A list of referrers that others changed as often as it was written.
#[derive(Debug, thiserror::Error)]
#[error("others changed the tag `{tag}` of `{repository}` as often as it was written")]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub struct TagContended {
    repository: String,
    tag: String,
}

impl crate::failure::Hinted for TagContended {
    fn hint(&self) -> Option<String> {
        Some("run it again: what has arrived is not sent again".into())
    }
}

/// A document to put under a tag.
#[derive(Debug)]
pub struct TaggedDocument {
    /// Its media type.
    pub media_type: MediaType,
    /// Its text.
    pub bytes: Vec<u8>,
    /// The blobs that it names.
    pub blobs: Vec<Vec<u8>>,
}

impl Repository {
    /// Pushes the manifest of a referrer under its digest; gives whether the registry lists it among the referrers of its
    /// subject.
    pub fn push_referrer(
        &self,
        media_type: &MediaType,
        manifest: &[u8],
        subject: &Digest,
    ) -> Result<bool, HttpError> {
        let digest = Digest::of(manifest);
        let tag = digest.to_string();
        self.host.http.block_on(async {
            if self.tagged(&tag).await? != Some(digest) {
                let put = self.put_manifest(&tag, media_type, manifest, digest).await;
                if put.map_err(ManifestRefused::into_error)? {
                    return Ok(true);
                }
            }
            // Some list what they have and do not say so.
            let url = self.url(&["referrers", &subject.to_string()])?;
            let response = self.answer(&self.request(Method::GET, url, HeaderMap::new())).await?;
            Ok(response.status() == StatusCode::OK)
        })
    }

    /// The list of what refers to the manifest of `subject`, an index for each page of it; `None` where the registry keeps
    /// none.
    pub fn referrers(&self, subject: &Digest) -> Result<Option<Vec<Vec<u8>>>, HttpError> {
        let (mut pages, mut next) = (Vec::new(), Some(self.url(&["referrers", &subject.to_string()])?));
        for _ in 0..MOST_PAGES {
            let Some(url) = next else { break };
            let Some((page, following)) = self.host.http.block_on(self.referrers_page(&url))? else {
                return Ok(None);
            };
            pages.push(page);
            next = following.filter(|following| *following != url);
        }
        Ok(Some(pages))
    }

    async fn referrers_page(&self, url: &Url) -> Result<Option<(Vec<u8>, Option<Url>)>, HttpError> {
        let mut attempts = self.host.http.attempts();
        loop {
            let request = self.request(Method::GET, url.clone(), HeaderMap::new());
            let response = self.answer(&request).await?;
            // Registries without such lists have many words for it.
            if response.status() != StatusCode::OK {
                return Ok(None);
            }
            let next = next_page(&response);
            match self.host.http.body(url, response, LONGEST_PAGE).await {
                Ok((page, _)) => return Ok(Some((page, next))),
                Err(failure) => attempts.wait(failure).await?,
            }
        }
    }

    /// Pushes blobs of a few bytes.
    pub fn push_small_blobs(&self, blobs: &[Vec<u8>]) -> Result<(), HttpError> {
        blobs.iter().try_for_each(|blob| {
            let content = || Ok::<_, HttpError>(BlobContent::Bytes(blob.clone()));
            self.push_blob(Digest::of(blob), blob.len() as u64, content).map(drop)
        })
    }

    /// The document under a tag, where there is one.
    pub fn tagged_document(&self, tag: &str) -> Result<Option<Vec<u8>>, HttpError> {
        match self.manifest_of(tag) {
            Ok(received) => Ok(Some(received.bytes)),
            Err(HttpError::Registry(error)) if matches!(*error, RegistryError::NoImage { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Changes the document under a tag until it is as `change` leaves it alone: others may write between a reading and a
    /// writing, for which registries have no lock.
    pub fn change_tagged<E: From<HttpError> + From<TagContended>>(
        &self,
        tag: &str,
        change: impl Fn(Option<&[u8]>) -> Result<Option<TaggedDocument>, E>,
    ) -> Result<(), E> {
        for round in 0..MOST_ROUNDS {
            if round > 1 {
                std::thread::sleep(Duration::from_millis(fastrand::u64(..LONGEST_WAIT)));
            }
            let there = self.tagged_document(tag)?;
            let Some(changed) = change(there.as_deref())? else { return Ok(()) };
            self.push_small_blobs(&changed.blobs)?;
            self.push_manifest(tag, &changed.media_type, &changed.bytes, |_| {
                self.push_small_blobs(&changed.blobs)
            })?;
        }
        let repository = self.image().repository().to_owned();
        Err(TagContended { repository, tag: tag.to_owned() }.into())
    }
}
