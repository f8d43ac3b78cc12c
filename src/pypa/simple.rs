//! The simple repository API: which files a project has in a package index.
//!
//! <https://packaging.python.org/en/latest/specifications/simple-repository-api/>

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use url::Url;
use uv_distribution_filename::WheelFilename;
use uv_normalize::PackageName;
use uv_pep440::VersionSpecifiers;
use uv_pypi_types::LenientVersionSpecifiers;

use super::complexity::check_specifiers;
use super::html;
use crate::failure::Hinted;
use crate::oci::Digest;
use crate::oci::paths::LONGEST_NAME;
use crate::oci::time::unix_seconds;

/// The media type of a project page as JSON.
pub const JSON: &str = "application/vnd.pypi.simple.v1+json";

/// The `Accept` header for an index: JSON where it can, HTML otherwise.
pub const ACCEPT: &str =
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01";

/// The files of a project: those of the largest ones have some 10,000.
const MOST_FILES: usize = 1 << 15;

/// A page that lists more files than a project has.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("it lists more than {MOST_FILES} files")]
struct ManyFiles;

/// A project as a package index lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// The normalized name.
    pub name: PackageName,
    /// The wheels, in the order of the page.
    pub files: Vec<DistFile>,
    /// The names of the files that are not wheels: source distributions and older formats.
    pub others: Vec<String>,
}

/// A wheel in a package index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DistFile {
    /// The wheel's file name.
    pub filename: WheelFilename,
    /// The URL of the file.
    pub url: Url,
    /// The digest, where the index gives it.
    pub sha256: Option<Digest>,
    /// In bytes.
    pub size: Option<u64>,
    /// Seconds since the Unix epoch.
    pub upload_time: Option<i64>,
    /// `Requires-Python`, where the index gives it.
    pub requires_python: Option<VersionSpecifiers>,
    /// The reason why the file was yanked (PEP 592); empty when no reason was given.
    pub yanked: Option<String>,
    /// The offer of its `METADATA`.
    pub core_metadata: CoreMetadataFile,
}

/// The index's offer of a wheel's `METADATA` beside it, at the wheel's URL and `.metadata` (PEP 658, 714).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CoreMetadataFile {
    /// There is no such file.
    Absent,
    /// There is one, without a digest.
    Present,
    /// There is one, with this digest.
    Hashed(Digest),
}

/// The reason why a page is not a project page.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
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
    /// The URL of the `METADATA` file, when [`Self::core_metadata`] says that there is one.
    pub fn metadata_url(&self) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}.metadata", self.url.path()));
        url
    }
}

/// Parses a project page in JSON (PEP 691). Relative URLs are relative to `base`.
pub fn parse_json(name: &PackageName, base: &Url, body: &[u8]) -> Result<Project, PageError> {
    let mut listing = Listing::new(name, base);
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let read = JsonPage(&mut listing).deserialize(&mut deserializer).and_then(|()| deserializer.end());
    read.map_err(|source| PageError::Json { name: name.clone(), source })?;
    Ok(listing.project)
}

/// Parses a project page in HTML (PEP 503). Relative URLs are relative to `base`, or to the page's `<base>`.
pub fn parse_html(name: &PackageName, base: &Url, body: &str) -> Result<Project, PageError> {
    let of_page = html::tags(body).find_map(|tag| match tag {
        html::Tag::Base { href } => Some(href),
        html::Tag::Link(_) => None,
    });
    let base = of_page.and_then(|href| base.join(&href?).ok()).unwrap_or_else(|| base.clone());
    let mut listing = Listing::new(name, &base);
    for tag in html::tags(body) {
        let html::Tag::Link(link) = tag else { continue };
        let many = |ManyFiles| PageError::Html { name: name.clone(), reason: ManyFiles.to_string() };
        add_link(&mut listing, link).map_err(many)?;
    }
    Ok(listing.project)
}

fn add_link(listing: &mut Listing<'_>, link: html::Link) -> Result<(), ManyFiles> {
    let Some(url) = link.href.and_then(|href| listing.base.join(&href).ok()) else { return Ok(()) };
    let Some(filename) = url.path_segments().and_then(Iterator::last) else { return Ok(()) };
    let filename = percent_decode_str(filename).decode_utf8_lossy();
    let metadata = link.core_metadata.or(link.dist_info_metadata);
    listing.add(RawFile {
        filename: &filename,
        url: url.as_str(),
        sha256: None,
        size: None,
        upload_time: None,
        requires_python: link.requires_python.as_deref(),
        yanked: link.yanked,
        core_metadata: metadata.map_or(CoreMetadataFile::Absent, |value| {
            match value.strip_prefix("sha256=").and_then(sha256) {
                Some(digest) => CoreMetadataFile::Hashed(digest),
                None if value == "false" => CoreMetadataFile::Absent,
                None => CoreMetadataFile::Present,
            }
        }),
    })
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
    fn add(&mut self, file: RawFile<'_>) -> Result<(), ManyFiles> {
        if self.project.files.len() + self.project.others.len() >= MOST_FILES {
            return Err(ManyFiles);
        }
        if file.filename.ends_with(".whl") {
            let wheel = self.wheel(file);
            self.project.files.extend(wheel);
        } else if file.filename.len() <= LONGEST_NAME {
            self.project.others.push(file.filename.to_owned());
        }
        Ok(())
    }

    fn wheel(&mut self, file: RawFile<'_>) -> Option<DistFile> {
        let short = Some(file.filename).filter(|name| name.len() <= LONGEST_NAME);
        let filename = WheelFilename::from_str(short?).ok().filter(|it| it.name == self.project.name)?;
        let requires_python = match file.requires_python {
            None | Some("") => None,
            Some(text) => Some(self.requires_python(text)?),
        };
        let mut url = Url::parse(file.url).or_else(|_| self.base.join(file.url)).ok()?;
        let fragment = url.fragment().and_then(|fragment| fragment.strip_prefix("sha256="));
        let sha256 = file.sha256.or(fragment).and_then(sha256);
        url.set_fragment(None);
        Some(DistFile {
            filename,
            url,
            sha256,
            size: file.size,
            upload_time: file.upload_time.and_then(unix_seconds),
            requires_python,
            yanked: file.yanked,
            core_metadata: file.core_metadata,
        })
    }

    fn requires_python(&mut self, text: &str) -> Option<VersionSpecifiers> {
        if let Some(known) = self.specifiers.get(text) {
            return known.clone();
        }
        let allowed = check_specifiers(text).ok();
        let parsed = allowed.and_then(|()| LenientVersionSpecifiers::from_str(text).ok());
        let parsed = parsed.map(VersionSpecifiers::from);
        self.specifiers.insert(text.to_owned(), parsed.clone());
        parsed
    }
}

/// A digest as an index writes it, in small or capital digits: a hash passed over would be one not checked.
fn sha256(digits: &str) -> Option<Digest> {
    Digest::from_hex(&digits.to_ascii_lowercase()).ok()
}

/// Takes the files of a page in JSON one by one: a list of them takes many times the page's size.
struct JsonPage<'l, 'a>(&'l mut Listing<'a>);

impl<'de> DeserializeSeed<'de> for JsonPage<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for JsonPage<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the page of a project")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut has_files = false;
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            if key == "files" {
                has_files = true;
                map.next_value_seed(JsonFiles(&mut *self.0))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if has_files { Ok(()) } else { Err(de::Error::missing_field("files")) }
    }
}

/// The list in a [`JsonPage`].
struct JsonFiles<'l, 'a>(&'l mut Listing<'a>);

impl<'de> DeserializeSeed<'de> for JsonFiles<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for JsonFiles<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of files")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut files: A) -> Result<(), A::Error> {
        while let Some(file) = files.next_element::<JsonFile<'_>>()? {
            let core_metadata = file.core_metadata.or(file.dist_info_metadata);
            let added = self.0.add(RawFile {
                filename: &file.filename.0,
                url: &file.url.0,
                sha256: file.hashes.sha256.as_ref().map(|hex| &*hex.0),
                size: file.size,
                upload_time: file.upload_time.as_ref().map(|time| &*time.0),
                requires_python: file.requires_python.as_ref().map(|specifiers| &*specifiers.0),
                yanked: file.yanked.0,
                core_metadata: core_metadata.map_or(CoreMetadataFile::Absent, |JsonCoreMetadata(file)| file),
            });
            added.map_err(de::Error::custom)?;
        }
        Ok(())
    }
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
                    match sha256(&hex) {
                        Some(digest) if algorithm == "sha256" => file = CoreMetadataFile::Hashed(digest),
                        _ => {}
                    }
                }
                Ok(JsonCoreMetadata(file))
            }
        }
        deserializer.deserialize_any(Hashed)
    }
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
    fn a_hash_in_capital_digits_is_checked_too() {
        let capital = HASH.to_uppercase();
        let from_json = json(&format!(
            r#"{{"filename": "demo-1-py3-none-any.whl", "url": "a.whl", "hashes": {{"sha256": "{capital}"}}}}"#
        ));
        let link = format!(r#"<a href="demo-1-py3-none-any.whl#sha256={capital}">demo</a>"#);
        let from_html = parse_html(&name(), &base(), &link).unwrap();
        for project in [from_json, from_html] {
            assert_eq!(project.files[0].sha256, Some(Digest::of(b"")));
        }
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
}
