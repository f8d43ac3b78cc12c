//! The simple repository API: which files a project has in a package index.
//!
//! <https://packaging.python.org/en/latest/specifications/simple-repository-api/>

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use url::Url;
use uv_distribution_filename::WheelFilename;
use uv_normalize::PackageName;
use uv_pep440::VersionSpecifiers;
use uv_pypi_types::LenientVersionSpecifiers;

use crate::failure::Hinted;
use crate::oci::Digest;

/// The media type of a project page as JSON.
pub const JSON: &str = "application/vnd.pypi.simple.v1+json";

/// What to ask an index for: JSON where it can, HTML otherwise.
pub const ACCEPT: &str =
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01";

/// A project as a package index lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    pub name: PackageName,
    /// The wheels, in the order of the page.
    pub files: Vec<DistFile>,
    /// The names of the files that are not wheels: source distributions and older formats.
    pub others: Vec<String>,
}

/// A wheel in a package index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DistFile {
    pub filename: WheelFilename,
    pub url: Url,
    pub sha256: Option<Digest>,
    /// In bytes.
    pub size: Option<u64>,
    /// Seconds since the Unix epoch.
    pub upload_time: Option<i64>,
    pub requires_python: Option<VersionSpecifiers>,
    /// Why the file was yanked (PEP 592); empty when no reason was given.
    pub yanked: Option<String>,
    pub core_metadata: CoreMetadataFile,
}

/// Whether the index serves a wheel's `METADATA` beside it, at the wheel's URL and `.metadata` (PEP 658, 714).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CoreMetadataFile {
    Absent,
    Present,
    Hashed(Digest),
}

/// Why a page is not a project page.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    #[error("the page of `{name}` is not the JSON of the simple repository API")]
    Json { name: PackageName, source: serde_json::Error },
    #[error("the page of `{name}` is not the HTML of the simple repository API: {reason}")]
    Html { name: PackageName, reason: String },
}

impl Hinted for PageError {
    fn hint(&self) -> Option<String> {
        Some("is the index URL that of a simple repository? It usually ends in `/simple/`".into())
    }
}

impl DistFile {
    /// Where the `METADATA` file is when [`Self::core_metadata`] says that there is one.
    pub fn metadata_url(&self) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}.metadata", self.url.path()));
        url
    }
}

/// Parses a project page in JSON (PEP 691). Relative URLs are relative to `base`.
pub fn parse_json(name: &PackageName, base: &Url, body: &[u8]) -> Result<Project, PageError> {
    let page: JsonPage<'_> =
        serde_json::from_slice(body).map_err(|source| PageError::Json { name: name.clone(), source })?;
    let mut listing = Listing::new(name, base);
    for file in page.files {
        let core_metadata = file.core_metadata.or(file.dist_info_metadata);
        listing.add(RawFile {
            filename: &file.filename.0,
            url: &file.url.0,
            sha256: file.hashes.sha256.as_ref().map(|hex| &*hex.0),
            size: file.size,
            upload_time: file.upload_time.as_ref().map(|time| &*time.0),
            requires_python: file.requires_python.as_ref().map(|specifiers| &*specifiers.0),
            yanked: file.yanked.0,
            core_metadata: core_metadata.map_or(CoreMetadataFile::Absent, |JsonCoreMetadata(file)| file),
        });
    }
    Ok(listing.project)
}

/// Parses a project page in HTML (PEP 503). Relative URLs are relative to `base`, or to the page's `<base>`.
pub fn parse_html(name: &PackageName, base: &Url, body: &str) -> Result<Project, PageError> {
    let invalid = |reason: String| PageError::Html { name: name.clone(), reason };
    let dom = tl::parse(body, tl::ParserOptions::default()).map_err(|error| invalid(error.to_string()))?;
    let attribute = |tag: &tl::HTMLTag<'_>, key: &str| {
        let value = tag.attributes().get(key)??;
        Some(unescape(&value.as_utf8_str()).into_owned())
    };
    let tags = || dom.nodes().iter().filter_map(tl::Node::as_tag);
    let base = tags()
        .find(|tag| tag.name().as_bytes().eq_ignore_ascii_case(b"base"))
        .and_then(|tag| base.join(&attribute(tag, "href")?).ok())
        .unwrap_or_else(|| base.clone());
    let mut listing = Listing::new(name, &base);
    for tag in tags().filter(|tag| tag.name().as_bytes().eq_ignore_ascii_case(b"a")) {
        let Some(href) = attribute(tag, "href") else { continue };
        let Ok(url) = base.join(&href) else { continue };
        let Some(filename) = url.path_segments().and_then(Iterator::last).map(percent_decode) else {
            continue;
        };
        let metadata =
            attribute(tag, "data-core-metadata").or_else(|| attribute(tag, "data-dist-info-metadata"));
        let requires_python = attribute(tag, "data-requires-python");
        listing.add(RawFile {
            filename: &filename,
            url: url.as_str(),
            sha256: None,
            size: None,
            upload_time: None,
            requires_python: requires_python.as_deref(),
            yanked: tag.attributes().get("data-yanked").map(|reason| {
                reason.map_or_else(String::new, |text| unescape(&text.as_utf8_str()).into_owned())
            }),
            core_metadata: metadata.map_or(CoreMetadataFile::Absent, |value| {
                match value.strip_prefix("sha256=").and_then(|hex| Digest::from_hex(hex).ok()) {
                    Some(digest) => CoreMetadataFile::Hashed(digest),
                    None if value == "false" => CoreMetadataFile::Absent,
                    None => CoreMetadataFile::Present,
                }
            }),
        });
    }
    Ok(listing.project)
}

/// A file as a page writes it.
struct RawFile<'a> {
    filename: &'a str,
    url: &'a str,
    sha256: Option<&'a str>,
    size: Option<u64>,
    upload_time: Option<&'a str>,
    requires_python: Option<&'a str>,
    yanked: Option<String>,
    core_metadata: CoreMetadataFile,
}

/// Collects the files of a page. A page has thousands of files and few distinct `requires-python`.
struct Listing<'a> {
    base: &'a Url,
    project: Project,
    specifiers: BTreeMap<String, Option<VersionSpecifiers>>,
}

impl<'a> Listing<'a> {
    fn new(name: &PackageName, base: &'a Url) -> Self {
        let project = Project { name: name.clone(), files: Vec::new(), others: Vec::new() };
        Self { base, project, specifiers: BTreeMap::new() }
    }

    /// Adds a file. As for uv, a file with a wrong name, URL or `requires-python` is not there.
    fn add(&mut self, file: RawFile<'_>) {
        if !file.filename.ends_with(".whl") {
            self.project.others.push(file.filename.to_owned());
            return;
        }
        let Ok(filename) = WheelFilename::from_str(file.filename) else { return };
        if filename.name != self.project.name {
            return;
        }
        let requires_python = match file.requires_python {
            None | Some("") => None,
            Some(text) => match self.requires_python(text) {
                None => return,
                specifiers => specifiers,
            },
        };
        let Ok(mut url) = Url::parse(file.url).or_else(|_| self.base.join(file.url)) else { return };
        let fragment = url.fragment().and_then(|fragment| fragment.strip_prefix("sha256="));
        let sha256 = file.sha256.or(fragment).and_then(|hex| Digest::from_hex(hex).ok());
        url.set_fragment(None);
        self.project.files.push(DistFile {
            filename,
            url,
            sha256,
            size: file.size,
            upload_time: file.upload_time.and_then(unix_seconds),
            requires_python,
            yanked: file.yanked,
            core_metadata: file.core_metadata,
        });
    }

    fn requires_python(&mut self, text: &str) -> Option<VersionSpecifiers> {
        if let Some(known) = self.specifiers.get(text) {
            return known.clone();
        }
        let parsed = LenientVersionSpecifiers::from_str(text).ok().map(VersionSpecifiers::from);
        self.specifiers.insert(text.to_owned(), parsed.clone());
        parsed
    }
}

#[derive(Deserialize)]
struct JsonPage<'a> {
    #[serde(borrow)]
    files: Vec<JsonFile<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct JsonFile<'a> {
    #[serde(borrow)]
    filename: Text<'a>,
    #[serde(borrow)]
    url: Text<'a>,
    #[serde(borrow, default)]
    hashes: Hashes<'a>,
    #[serde(borrow)]
    requires_python: Option<Text<'a>>,
    size: Option<u64>,
    #[serde(borrow)]
    upload_time: Option<Text<'a>>,
    #[serde(default)]
    yanked: Yanked,
    core_metadata: Option<JsonCoreMetadata>,
    dist_info_metadata: Option<JsonCoreMetadata>,
}

/// Text that is copied only when it contains escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize, Default)]
struct Hashes<'a> {
    #[serde(borrow)]
    sha256: Option<Text<'a>>,
}

#[derive(Default)]
struct Yanked(Option<String>);

/// `true`, `false`, or the reason as a string.
impl<'de> Deserialize<'de> for Yanked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reason;
        impl Visitor<'_> for Reason {
            type Value = Yanked;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a boolean or a string")
            }

            fn visit_bool<E: de::Error>(self, yanked: bool) -> Result<Yanked, E> {
                Ok(Yanked(yanked.then(String::new)))
            }

            fn visit_str<E: de::Error>(self, reason: &str) -> Result<Yanked, E> {
                Ok(Yanked(Some(reason.to_owned())))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Yanked, E> {
                Ok(Yanked(None))
            }
        }
        deserializer.deserialize_any(Reason)
    }
}

struct JsonCoreMetadata(CoreMetadataFile);

/// `true`, `false`, or an object of hashes.
impl<'de> Deserialize<'de> for JsonCoreMetadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Hashed;
        impl<'de> Visitor<'de> for Hashed {
            type Value = JsonCoreMetadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a boolean or an object of hashes")
            }

            fn visit_bool<E: de::Error>(self, present: bool) -> Result<JsonCoreMetadata, E> {
                Ok(JsonCoreMetadata(if present {
                    CoreMetadataFile::Present
                } else {
                    CoreMetadataFile::Absent
                }))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonCoreMetadata, A::Error> {
                let mut file = CoreMetadataFile::Present;
                while let Some((algorithm, hex)) = map.next_entry::<Cow<'_, str>, Cow<'_, str>>()? {
                    match Digest::from_hex(&hex) {
                        Ok(digest) if algorithm == "sha256" => file = CoreMetadataFile::Hashed(digest),
                        _ => {}
                    }
                }
                Ok(JsonCoreMetadata(file))
            }
        }
        deserializer.deserialize_any(Hashed)
    }
}

/// The seconds since the Unix epoch of an RFC 3339 time such as `2024-05-01T12:34:56.789Z`, rounded down.
///
/// <https://www.rfc-editor.org/rfc/rfc3339#section-5.6>
pub fn unix_seconds(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| {
        let digits = text.get(range)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<i64>().ok())?
    };
    let separated =
        |at: usize, allowed: &[u8]| text.as_bytes().get(at).is_some_and(|byte| allowed.contains(byte));
    if !(separated(4, b"-")
        && separated(7, b"-")
        && separated(10, b"Tt ")
        && separated(13, b":")
        && separated(16, b":"))
    {
        return None;
    }
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let rest = text.get(19..)?;
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|digit: char| digit.is_ascii_digit()),
        None => rest,
    };
    let offset = match zone.as_bytes() {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) =
                (zone.get(1..3)?.parse::<i64>().ok()?, zone.get(4..6)?.parse::<i64>().ok()?);
            (hours * 3600 + minutes * 60) * if *sign == b'+' { 1 } else { -1 }
        }
        _ => return None,
    };
    Some(days_since_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Years are counted from March, so that the leap day
/// is the last of its year.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Replaces the character references that appear in attributes: the five named ones and numbers.
fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let reference = rest[1..].split_once(';').and_then(|(name, _)| Some((name, character(name)?)));
        match reference {
            Some((name, character)) => {
                plain.push(character);
                rest = &rest[name.len() + 2..];
            }
            None => {
                plain.push('&');
                rest = &rest[1..];
            }
        }
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

fn character(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

/// Decodes `%2B` and the like; what is not an escape stays as it is.
pub(crate) fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn name() -> PackageName {
        PackageName::from_str("demo").unwrap()
    }

    fn base() -> Url {
        Url::parse("http://localhost/simple/demo/").unwrap()
    }

    fn json(file: &str) -> Project {
        parse_json(
            &name(),
            &base(),
            format!(r#"{{"meta": {{"api-version": "1.1"}}, "files": [{file}]}}"#).as_bytes(),
        )
        .unwrap()
    }

    #[test]
    fn reads_the_same_project_from_json_and_html() {
        let from_json = json(&format!(
            r#"{{"filename": "demo-1.0+cpu-py3-none-any.whl", "url": "../../files/demo-1.0%2Bcpu-py3-none-any.whl",
                "hashes": {{"blake2": "00", "sha256": "{HASH}"}}, "requires-python": ">=3.8", "yanked": "broken & old",
                "core-metadata": {{"sha256": "{HASH}"}}, "dist-info-metadata": true}},
               {{"filename": "demo-1.0.tar.gz", "url": "demo-1.0.tar.gz", "hashes": {{}}}}"#
        ));
        let from_html = parse_html(
            &name(),
            &base(),
            &format!(
                r#"<!DOCTYPE html><html><head><base href="../../files/"></head><body>
                <a href="demo-1.0%2Bcpu-py3-none-any.whl#sha256={HASH}" data-requires-python="&gt;=3.8"
                   data-yanked="broken &amp; old" data-core-metadata="sha256={HASH}">demo</a>
                <A href="demo-1.0.tar.gz">sdist</A></body></html>"#
            ),
        )
        .unwrap();
        assert_eq!(from_json, from_html);
        let file = &from_json.files[0];
        assert_eq!(file.url.as_str(), "http://localhost/files/demo-1.0%2Bcpu-py3-none-any.whl");
        assert_eq!(file.filename.version.to_string(), "1.0+cpu");
        assert_eq!(file.yanked.as_deref(), Some("broken & old"));
        assert_eq!(file.core_metadata, CoreMetadataFile::Hashed(Digest::of(b"")));
        assert_eq!(file.metadata_url().path(), "/files/demo-1.0%2Bcpu-py3-none-any.whl.metadata");
        assert_eq!(from_json.others, ["demo-1.0.tar.gz"]);
    }

    #[test]
    fn reads_sizes_times_and_flags() {
        let project = json(
            r#"{"filename": "demo-1-py3-none-any.whl", "url": "a.whl", "hashes": {}, "size": 12, "yanked": false,
                "upload-time": "1970-01-02T00:00:01.999999Z", "core-metadata": false}"#,
        );
        let file = &project.files[0];
        assert_eq!((file.size, file.upload_time), (Some(12), Some(86_401)));
        assert_eq!((&file.yanked, file.core_metadata), (&None, CoreMetadataFile::Absent));
    }

    #[test]
    fn passes_over_files_that_no_installer_could_take() {
        let file = |filename: &str, requires_python: &str| {
            format!(
                r#"{{"filename": "{filename}", "url": "x", "hashes": {{}}, "requires-python": "{requires_python}"}}"#
            )
        };
        assert!(json(&file("demo-1-py3-none-any.whl", "junk")).files.is_empty());
        assert!(json(&file("other-1-py3-none-any.whl", "")).files.is_empty());
        assert!(json(&file("demo-x-py3.whl", "")).files.is_empty());
        assert_eq!(json(&file("demo-1-py3-none-any.whl", ">=3.6,")).files.len(), 1);
    }

    #[test]
    fn names_the_page_that_is_no_project_page() {
        let error = parse_json(&name(), &base(), b"<html>").unwrap_err();
        assert_eq!(error.to_string(), "the page of `demo` is not the JSON of the simple repository API");
    }

    #[test]
    fn counts_seconds_since_the_epoch() {
        let check = |text: &str, expected: Option<i64>| assert_eq!(unix_seconds(text), expected, "{text}");
        check("1970-01-01T00:00:00Z", Some(0));
        check("2000-02-29T12:00:00+01:30", Some(951_820_200));
        check("2025-06-01T00:00:00.000001Z", Some(1_748_736_000));
        check("1969-12-31T23:59:59Z", Some(-1));
        for junk in [
            "",
            "2025-06-01",
            "2025-13-01T00:00:00Z",
            "2025-06-01T00:00:00",
            "2025-06-01T00:00:00+1:00",
            "é25-06-01T00:00:00Z",
        ] {
            check(junk, None);
        }
    }
}
