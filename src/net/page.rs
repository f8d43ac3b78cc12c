//! A project's page as it was fetched, and the time for which it stays true.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::header::{
    AGE, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED,
};
use serde::{Deserialize, Serialize};
use url::Url;
use uv_normalize::PackageName;

use super::http::Answer;
use crate::credentials::without_secrets;
use crate::pypa::simple::{self, PageError, Project};

/// The longest time, in seconds, for which a page is believed without asking: that of the largest public index.
const LONGEST_FRESH: i64 = 600;

/// The use of pages that were fetched before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// They are believed as long as the index said, within bounds, and then asked for again.
    Believed,
    /// Every page is fetched anew.
    Anew,
}

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
    fresh_until: i64,
}

impl PageRecord {
    /// The record of an answer.
    pub(super) fn of(answer: Answer) -> (Self, Vec<u8>) {
        let header = |name: HeaderName| Some(answer.headers.get(name)?.to_str().ok()?.to_owned());
        let found = answer.status.is_success();
        let record = Self {
            found,
            content_type: header(CONTENT_TYPE),
            etag: header(ETAG),
            last_modified: header(LAST_MODIFIED),
            fresh_until: fresh_until(&answer.headers, now()),
            base: Some(without_secrets(&answer.url)),
        };
        (record, if found { answer.body } else { Vec::new() })
    }

    /// The record after the index confirmed it.
    pub(super) fn renewed(mut self, headers: &HeaderMap) -> Self {
        self.fresh_until = fresh_until(headers, now());
        self
    }

    /// Returns whether the page need not be asked for again. A clock that was set back does not keep it.
    pub(super) fn is_fresh(&self) -> bool {
        (1..=LONGEST_FRESH).contains(&self.fresh_until.saturating_sub(now()))
    }

    /// The headers that ask whether the page changed.
    pub(super) fn conditions(&self) -> Vec<(HeaderName, String)> {
        let etag = self.etag.iter().map(|etag| (IF_NONE_MATCH, etag.clone()));
        let modified = self.last_modified.iter().map(|time| (IF_MODIFIED_SINCE, time.clone()));
        etag.chain(modified).collect()
    }

    /// The project of the page.
    pub(super) fn project(
        &self,
        name: &PackageName,
        url: &Url,
        body: &[u8],
    ) -> Result<Option<Project>, PageError> {
        if !self.found {
            return Ok(None);
        }
        let base = self.base.as_ref().unwrap_or(url);
        let is_json = self.content_type.as_deref().is_some_and(|content_type| content_type.contains("json"));
        match is_json {
            true => simple::parse_json(name, base, body).map(Some),
            false => simple::parse_html(name, base, body).map(Some),
        }
    }
}

impl PageRecord {
    /// The projects of a page of links; `None` where there is no such page.
    pub(super) fn links(
        &self,
        url: &Url,
        body: &[u8],
    ) -> Result<Option<BTreeMap<PackageName, Project>>, PageError> {
        let base = self.base.as_ref().unwrap_or(url);
        self.found.then(|| simple::parse_links(base, body)).transpose()
    }
}

/// The moment up to which `Cache-Control: max-age` says that an answer stays true, in seconds since the Unix epoch: the
/// time that it spent in caches before is gone already, and no answer is believed for longer than [`LONGEST_FRESH`].
///
/// <https://www.rfc-editor.org/rfc/rfc9111#section-4.2>
fn fresh_until(headers: &HeaderMap, now: i64) -> i64 {
    let header = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let control = header(CACHE_CONTROL).unwrap_or_default().to_ascii_lowercase();
    let directives = || control.split(',').map(str::trim);
    if directives().any(|directive| matches!(directive, "no-cache" | "no-store")) {
        return 0;
    }
    // Of several, the shortest; one that is no number makes the answer stale.
    let seconds = |text: &str| text.trim_matches('"').parse::<u64>().unwrap_or_default();
    let lifetime = directives().filter_map(|directive| directive.strip_prefix("max-age=")).map(seconds).min();
    let age = header(AGE).map_or(Some(0), |age| age.trim().parse::<u64>().ok()).unwrap_or(u64::MAX);
    let left = lifetime.unwrap_or_default().saturating_sub(age).min(LONGEST_FRESH.unsigned_abs());
    now.saturating_add_unsigned(left)
}

/// The time in seconds since the Unix epoch.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn no_page_is_fresh_for_longer_than_ten_minutes() {
        let check = |control: &str, age: Option<&str>, expected: i64| {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, HeaderValue::from_str(control).unwrap());
            age.map(|age| headers.insert(AGE, HeaderValue::from_str(age).unwrap()));
            assert_eq!(fresh_until(&headers, 1000), expected, "{control} {age:?}");
        };
        check("max-age=60", None, 1060);
        check("public, Max-Age=60, immutable", None, 1060);
        check("max-age=600, public", Some("590"), 1010);
        check("max-age=99999999999", None, 1600);
        check("max-age=18446744073709551615", None, 1600);
        check("max-age=99999999999", Some("5"), 1600);
        check("max-age=99999999999999999999999", None, 1000);
        check("max-age=-1", None, 1000);
        check("max-age=60, max-age=99999", None, 1060);
        check("max-age=60", Some("61"), 1000);
        check("max-age=60", Some("-99999999999"), 1000);
        check("max-age=60", Some("99999999999999999999999"), 1000);
        check("max-age=60, no-cache", None, 0);
        check("s-maxage=60", None, 1000);
    }

    #[test]
    fn a_record_of_another_time_is_not_fresh() {
        let check = |from_now: i64, expected: bool| {
            let record = PageRecord {
                found: true,
                base: None,
                content_type: None,
                etag: None,
                last_modified: None,
                fresh_until: now().saturating_add(from_now),
            };
            assert_eq!(record.is_fresh(), expected, "{from_now}");
        };
        check(300, true);
        check(-1, false);
        check(3_600, false);
        check(i64::MAX, false);
        check(i64::MIN, false);
    }
}
