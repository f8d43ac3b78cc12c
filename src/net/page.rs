//! A project's page as it was fetched, and the time for which it stays true.

use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::header::{
    CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use serde::{Deserialize, Serialize};
use url::Url;
use uv_normalize::PackageName;

use super::http::Answer;
use crate::credentials::without_secrets;
use crate::pypa::simple::{self, PageError, Project};

/// The record of a page. The body follows it in the store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct PageRecord {
    /// True if the index has the project.
    found: bool,
    /// The URL of the body, to which its links are relative.
    base: Option<Url>,
    content_type: Option<String>,
    etag: Option<String>,
    last_modified: Option<String>,
    /// Seconds since the Unix epoch, up to which the page need not be asked for again.
    pub fresh_until: i64,
}

impl PageRecord {
    /// The record of an answer.
    pub fn of(answer: Answer) -> (Self, Vec<u8>) {
        let header = |name: HeaderName| Some(answer.headers.get(name)?.to_str().ok()?.to_owned());
        let found = answer.status.is_success();
        let record = Self {
            found,
            content_type: header(CONTENT_TYPE),
            etag: header(ETAG),
            last_modified: header(LAST_MODIFIED),
            fresh_until: fresh_until(&answer.headers),
            base: Some(without_secrets(&answer.url)),
        };
        (record, if found { answer.body } else { Vec::new() })
    }

    /// The record after the index confirmed it.
    pub fn renewed(mut self, headers: &HeaderMap) -> Self {
        self.fresh_until = fresh_until(headers);
        self
    }

    /// The headers that ask whether the page changed.
    pub fn conditions(&self) -> Vec<(HeaderName, String)> {
        let etag = self.etag.iter().map(|etag| (IF_NONE_MATCH, etag.clone()));
        let modified = self.last_modified.iter().map(|time| (IF_MODIFIED_SINCE, time.clone()));
        etag.chain(modified).collect()
    }

    /// The project of the page.
    pub fn project(&self, name: &PackageName, url: &Url, body: &[u8]) -> Result<Option<Project>, PageError> {
        if !self.found {
            return Ok(None);
        }
        let base = self.base.as_ref().unwrap_or(url);
        let is_json = self.content_type.as_deref().is_some_and(|content_type| content_type.contains("json"));
        match is_json {
            true => simple::parse_json(name, base, body).map(Some),
            false => simple::parse_html(name, base, &String::from_utf8_lossy(body)).map(Some),
        }
    }
}

/// The moment up to which `Cache-Control: max-age` says that an answer stays true, in seconds since the Unix epoch.
fn fresh_until(headers: &HeaderMap) -> i64 {
    let control = headers.get(CACHE_CONTROL).and_then(|control| control.to_str().ok()).unwrap_or_default();
    let directives = || control.split(',').map(str::trim);
    if directives().any(|directive| matches!(directive, "no-cache" | "no-store")) {
        return 0;
    }
    let age = directives().find_map(|directive| directive.strip_prefix("max-age=")?.parse::<i64>().ok());
    age.map_or(0, |age| now().saturating_add(age))
}

/// The time in seconds since the Unix epoch.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
