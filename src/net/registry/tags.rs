//! The tags of a repository, and the removal of manifests.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#content-discovery>

use reqwest::header::{HeaderMap, LINK};
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use url::Url;

use super::body::RequestBody;
use super::repository::Repository;
use crate::net::http::{HttpError, RequestFailure};
use crate::oci::Digest;

/// The bytes of one page of tags: registries send a thousand, of 128 bytes each at most.
const LONGEST_PAGE: u64 = 4 << 20;
/// The pages of tags that are read: with a thousand tags each, ten times the images that ECR keeps in a repository.
const MOST_PAGES: usize = 1_000;

/// The result of removing a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestRemoval {
    /// It is gone.
    Removed,
    /// The registry takes no removals.
    NotTaken,
}

impl Repository {
    /// All tags of the repository, in the order of the registry; none where it is not there.
    pub fn tags(&self) -> Result<Vec<String>, HttpError> {
        self.host.http.block_on(async {
            let (mut tags, mut next) = (Vec::new(), Some(self.url(&["tags", "list"])?));
            for _ in 0..MOST_PAGES {
                let Some(url) = next else { break };
                let page = self.page_patiently(&url).await?;
                tags.extend(page.tags);
                next = page.next.filter(|next| *next != url);
            }
            Ok(tags)
        })
    }

    async fn page_patiently(&self, url: &Url) -> Result<TagPage, HttpError> {
        let mut attempts = self.host.http.attempts();
        loop {
            match self.page(url).await {
                Ok(page) => return Ok(page),
                Err(failure) => attempts.wait(failure).await?,
            }
        }
    }

    async fn page(&self, url: &Url) -> Result<TagPage, RequestFailure> {
        let request = self.request(Method::GET, url.clone(), HeaderMap::new());
        let response = self.host.exchange(&request).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(TagPage::default());
        }
        let response = self.successful(response, &request).await?;
        let next = next_page(&response);
        let (body, _) = self.host.http.body(url, response, LONGEST_PAGE).await?;
        let listed: TagList = serde_json::from_slice(&body).unwrap_or_default();
        Ok(TagPage { tags: listed.tags.unwrap_or_default(), next })
    }

    /// Removes the manifest of `digest`, and with it every tag that names it.
    pub fn remove_manifest(&self, digest: &Digest) -> Result<ManifestRemoval, HttpError> {
        let url = self.url(&["manifests", &digest.to_string()])?;
        let request = self.upload_request(Method::DELETE, url, RequestBody::None);
        let response = self.host.http.block_on(self.answer(&request))?;
        match response.status() {
            status if status.is_success() => Ok(ManifestRemoval::Removed),
            StatusCode::NOT_FOUND => Ok(ManifestRemoval::Removed),
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => Ok(ManifestRemoval::NotTaken),
            _ => Err(self.host.http.block_on(self.host.refusal(response, &request)).into_error()),
        }
    }
}

/// A page of tags.
#[derive(Default)]
struct TagPage {
    tags: Vec<String>,
    next: Option<Url>,
}

#[derive(Default, Deserialize)]
struct TagList {
    tags: Option<Vec<String>>,
}

/// The next page, as `Link: <URL>; rel="next"` names it.
pub(super) fn next_page(response: &Response) -> Option<Url> {
    let link = response.headers().get(LINK)?.to_str().ok()?;
    let (url, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    let next = response.url().join(url).ok().filter(|_| rest.contains("next"))?;
    (next.origin() == response.url().origin()).then_some(next)
}
