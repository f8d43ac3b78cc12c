//! The simple repository API: which files a project has in a package index.
//!
//! <https://packaging.python.org/en/latest/specifications/simple-repository-api/>

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
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
use super::html_tags::{HtmlTag, attribute, tags};
use super::source_file::SourceFile;
use crate::failure::Hinted;
use crate::oci::Digest;
use crate::oci::time::unix_seconds;
use crate::pypa::archive_hash::ArchiveHash;

/// The media type of a project page as JSON.
pub const JSON: &str = "application/vnd.pypi.simple.v1+json";

/// The `Accept` header for an index: JSON where it can, HTML otherwise.
pub const ACCEPT: &str =
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01";

/// More files than any project has: the largest have some ten thousand.
const MOST_FILES: usize = 1 << 15;
/// A file whose name or `requires-python` has more bytes is passed over: real ones have a few hundred.
const LONGEST_FIELD: usize = 4 << 10;

/// A project as a package index lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// The normalized name.
    pub name: PackageName,
    /// The wheels, in the order of the page.
    pub files: Vec<DistFile>,
    /// The names of the files that are not wheels: source distributions and older formats.
    pub others: Vec<String>,
    /// The source distributions among these.
    pub sources: Vec<SourceFile>,
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
    /// Another hash, where the index gives that instead.
    pub other_hash: Option<ArchiveHash>,
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
    /// The source distribution that it stands for, until that is built.
    pub source: Option<Box<SourceFile>>,
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
    #[error("the page of `{name}` lists more than {MOST_FILES} files")]
    TooMany { name: PackageName },
    #[error("the page lists more than {MOST_FILES} files")]
    TooManyLinks,
}

impl Hinted for PageError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Json { .. } | Self::TooMany { .. } => {
                Some("is the index URL that of a simple repository? It usually ends in `/simple/`".into())
            }
            Self::TooManyLinks => Some("name a page with fewer links, or an index".into()),
        }
    }
}

impl Project {
    /// A project without files.
    pub fn empty(name: PackageName) -> Self {
        Self { name, files: Vec::new(), others: Vec::new(), sources: Vec::new() }
    }
}

/// The upload time of files that nobody uploaded: `exclude-newer` leaves them, as it does for uv.
const NEVER_UPLOADED: i64 = i64::MIN;

impl DistFile {
    /// A wheel of which nothing is known beside its name and its place.
    pub fn bare(filename: WheelFilename, url: Url) -> Self {
        Self {
            filename,
            url,
            sha256: None,
            other_hash: None,
            size: None,
            upload_time: None,
            requires_python: None,
            yanked: None,
            core_metadata: CoreMetadataFile::Absent,
            source: None,
        }
    }

    /// A wheel for any target in place of the one that a source distribution is going to be built to; `None` where its
    /// version is none that a wheel can have.
    pub fn in_place_of(source: &SourceFile) -> Option<Self> {
        let name = source.name.as_dist_info_name();
        let filename = format!("{name}-{}-py3-none-any.whl", source.version).parse().ok()?;
        Some(Self {
            size: source.size,
            upload_time: source.upload_time,
            requires_python: source.requires_python.clone(),
            yanked: source.yanked.clone(),
            source: Some(Box::new(source.clone())),
            ..Self::bare(filename, source.url.clone())
        })
    }

    /// The same file as one that no index lists: whatever `exclude-newer` says, it may be chosen.
    pub fn unlisted(self) -> Self {
        Self { upload_time: Some(NEVER_UPLOADED), ..self }
    }

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
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = JsonPage(&mut listing).deserialize(&mut json).and_then(|()| json.end());
    let project = listing.finish(name)?;
    read.map(|()| project).map_err(|source| PageError::Json { name: name.clone(), source })
}

/// Parses a project page in HTML (PEP 503). Relative URLs are relative to `base`, or to the page's `<base>`.
///
/// Any text is HTML: one that is no page has no links.
pub fn parse_html(name: &PackageName, base: &Url, body: impl AsRef<[u8]>) -> Result<Project, PageError> {
    let mut listing = Listing::new(name, base);
    listing.read_html(body.as_ref());
    listing.finish(name)
}

/// Parses a page of links to wheels of any project, as `--find-links` takes it, in the order of the page.
pub fn parse_links(base: &Url, body: impl AsRef<[u8]>) -> Result<BTreeMap<PackageName, Project>, PageError> {
    let mut listing = Listing::of_all(base);
    listing.read_html(body.as_ref());
    match listing.is_full() {
        true => Err(PageError::TooManyLinks),
        false => Ok(listing.projects),
    }
}

/// A file as a page writes it.
struct RawFile<'a> {
    filename: &'a str,
    url: &'a str,
    hashes: RawHashes<'a>,
    size: Option<u64>,
    upload_time: Option<&'a str>,
    requires_python: Option<&'a str>,
    yanked: Option<String>,
    core_metadata: CoreMetadataFile,
}

/// Collects the files of a page. A page has thousands of files and few distinct `requires-python`.
struct Listing {
    base: Url,
    /// True once the page itself has named its base.
    has_base: bool,
    /// The project whose page it is; `None` for a page of all projects.
    only: Option<PackageName>,
    projects: BTreeMap<PackageName, Project>,
    /// The number of files so far, whatever they are.
    files: usize,
    specifiers: BTreeMap<String, Option<VersionSpecifiers>>,
}

impl Listing {
    fn new(name: &PackageName, base: &Url) -> Self {
        Self { only: Some(name.clone()), ..Self::of_all(base) }
    }

    fn of_all(base: &Url) -> Self {
        Self {
            base: base.clone(),
            has_base: false,
            only: None,
            projects: BTreeMap::new(),
            files: 0,
            specifiers: BTreeMap::new(),
        }
    }

    /// Returns whether there are more files than any project has.
    fn is_full(&self) -> bool {
        self.files > MOST_FILES
    }

    /// The project whose page was read.
    fn finish(mut self, name: &PackageName) -> Result<Project, PageError> {
        match self.is_full() {
            true => Err(PageError::TooMany { name: name.clone() }),
            false => Ok(self.projects.remove(name).unwrap_or_else(|| Project::empty(name.clone()))),
        }
    }

    fn project(&mut self, name: &PackageName) -> &mut Project {
        self.projects.entry(name.clone()).or_insert_with(|| Project::empty(name.clone()))
    }

    fn read_html(&mut self, body: &[u8]) {
        for tag in tags(body) {
            match &*tag.name {
                b"a" => self.add_link(&tag),
                _ => self.set_base(&tag),
            }
            if self.is_full() {
                break;
            }
        }
    }

    /// The first `<base>` holds.
    fn set_base(&mut self, tag: &HtmlTag) {
        let url = attribute(tag, "href").and_then(|href| self.base.join(&href).ok());
        if let Some(url) = url.filter(|_| !self.has_base) {
            (self.base, self.has_base) = (url, true);
        }
    }

    /// Adds the file that a link leads to.
    fn add_link(&mut self, tag: &HtmlTag) {
        let Some(href) = attribute(tag, "href") else { return };
        let Ok(url) = self.base.join(&href) else { return };
        let Some(filename) = url.path_segments().and_then(Iterator::last) else { return };
        let filename = percent_decode_str(filename).decode_utf8_lossy();
        let metadata =
            attribute(tag, "data-core-metadata").or_else(|| attribute(tag, "data-dist-info-metadata"));
        let requires_python = attribute(tag, "data-requires-python");
        self.add(RawFile {
            filename: &filename,
            url: url.as_str(),
            hashes: RawHashes::default(),
            size: None,
            upload_time: None,
            requires_python: requires_python.as_deref(),
            yanked: attribute(tag, "data-yanked").map(Cow::into_owned),
            core_metadata: metadata.map_or(CoreMetadataFile::Absent, |value| {
                match value.strip_prefix("sha256=").and_then(sha256) {
                    Some(digest) => CoreMetadataFile::Hashed(digest),
                    None if value == "false" => CoreMetadataFile::Absent,
                    None => CoreMetadataFile::Present,
                }
            }),
        });
    }

    /// Adds a file. As for uv, a file with a wrong name, URL or `requires-python` is not there.
    fn add(&mut self, file: RawFile<'_>) {
        self.files += 1;
        if self.is_full() || file.filename.len() > LONGEST_FIELD {
            return;
        }
        if !file.filename.ends_with(".whl") {
            return self.add_other(&file);
        }
        let Ok(filename) = WheelFilename::from_str(file.filename) else { return };
        if self.only.as_ref().is_some_and(|only| filename.name != *only) {
            return;
        }
        let Some(requires_python) = self.python_of(&file) else { return };
        let Some((url, hashes)) = self.place_of(&file) else { return };
        let name = filename.name.clone();
        self.project(&name).files.push(DistFile {
            filename,
            url,
            sha256: hashes.sha256(),
            other_hash: hashes.other(),
            size: file.size,
            upload_time: file.upload_time.and_then(unix_seconds),
            requires_python,
            yanked: file.yanked,
            core_metadata: file.core_metadata,
            source: None,
        });
    }

    /// Adds a file that is no wheel, of the project whose page it is.
    fn add_other(&mut self, file: &RawFile<'_>) {
        let Some(name) = self.only.clone() else { return };
        self.project(&name).others.push(file.filename.to_owned());
        let Some(requires_python) = self.python_of(file) else { return };
        let Some((url, hashes)) = self.place_of(file) else { return };
        let Some(source) = SourceFile::bare(&name, file.filename, url) else { return };
        self.project(&name).sources.push(SourceFile {
            sha256: hashes.sha256(),
            size: file.size,
            upload_time: file.upload_time.and_then(unix_seconds),
            requires_python,
            yanked: file.yanked.clone(),
            ..source
        });
    }

    /// The versions of Python that a file is for; `None` where they cannot be read.
    fn python_of(&mut self, file: &RawFile<'_>) -> Option<Option<VersionSpecifiers>> {
        match file.requires_python {
            None | Some("") => Some(None),
            Some(text) if text.len() > LONGEST_FIELD => None,
            Some(text) => self.requires_python(text).map(Some),
        }
    }

    /// The URL of a file without its fragment, and its hashes.
    fn place_of(&self, file: &RawFile<'_>) -> Option<(Url, ListedHashes)> {
        let mut url = Url::parse(file.url).or_else(|_| self.base.join(file.url)).ok()?;
        let words = url.fragment().unwrap_or_default().split('&').filter_map(|word| word.split_once('='));
        let hashes = words
            .chain(file.hashes.iter().copied())
            .filter_map(|(algorithm, digits)| ArchiveHash::new(algorithm, digits).ok());
        let hashes = ListedHashes(hashes.collect());
        url.set_fragment(None);
        Some((url, hashes))
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

/// The hashes of a file, by algorithm.
type RawHashes<'a> = Vec<(&'a str, &'a str)>;

/// The hashes of a file that cannot be forged.
struct ListedHashes(BTreeSet<ArchiveHash>);

impl ListedHashes {
    fn sha256(&self) -> Option<Digest> {
        self.0.iter().find_map(ArchiveHash::sha256)
    }

    /// The strongest one, where sha256 is not given.
    fn other(self) -> Option<ArchiveHash> {
        self.sha256().is_none().then_some(self.0)?.pop_last()
    }
}

/// A digest as an index writes it, in small or capital digits: a hash passed over would be one not checked.
fn sha256(digits: &str) -> Option<Digest> {
    Digest::from_hex(&digits.to_ascii_lowercase()).ok()
}

/// Reads a page into a listing, file by file.
struct JsonPage<'l>(&'l mut Listing);

impl<'de> DeserializeSeed<'de> for JsonPage<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for JsonPage<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a project page")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut has_files = false;
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            if key == "files" {
                map.next_value_seed(JsonFiles(self.0))?;
                has_files = true;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        has_files.then_some(()).ok_or_else(|| de::Error::missing_field("files"))
    }
}

/// Reads the files of a page.
struct JsonFiles<'l>(&'l mut Listing);

impl<'de> DeserializeSeed<'de> for JsonFiles<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for JsonFiles<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of files")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut files: A) -> Result<(), A::Error> {
        while let Some(file) = files.next_element::<JsonFile<'_>>()? {
            let core_metadata = file.core_metadata.or(file.dist_info_metadata);
            self.0.add(RawFile {
                filename: &file.filename.0,
                url: &file.url.0,
                hashes: file.hashes.all(),
                size: file.size,
                upload_time: file.upload_time.as_ref().map(|time| &*time.0),
                requires_python: file.requires_python.as_ref().map(|specifiers| &*specifiers.0),
                yanked: file.yanked.0,
                core_metadata: core_metadata.map_or(CoreMetadataFile::Absent, |JsonCoreMetadata(file)| file),
            });
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
    #[serde(borrow)]
    sha384: Option<Text<'a>>,
    #[serde(borrow)]
    sha512: Option<Text<'a>>,
}

impl Hashes<'_> {
    fn all(&self) -> RawHashes<'_> {
        let all = [("sha256", &self.sha256), ("sha384", &self.sha384), ("sha512", &self.sha512)];
        all.into_iter().filter_map(|(algorithm, text)| Some((algorithm, &*text.as_ref()?.0))).collect()
    }
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
    fn the_first_value_of_an_attribute_holds_and_faults_of_a_page_take_no_memory() {
        let name: PackageName = "demo".parse().unwrap();
        let base = Url::parse("https://index.example/simple/demo/").unwrap();
        let parse = |page: &[u8]| parse_html(&name, &base, page).unwrap();
        let twice = parse(b"<a href='demo-1.0-py3-none-any.whl' href='demo-2.0-py3-none-any.whl'>\0\x01</a>");
        assert_eq!(twice.files.len(), 1);
        assert_eq!(twice.files[0].filename.version.to_string(), "1.0");
        assert_eq!(parse(b"<a href='' href='demo-2.0-py3-none-any.whl'></a>").files.len(), 0);
        let noise = [&[0; 9_000][..], b"<A HREF=demo-3.0-py3-none-any.whl data-yanked>"].concat();
        assert_eq!(parse(&noise).files[0].yanked.as_deref(), Some(""));
    }

    #[test]
    fn reads_the_same_project_from_json_and_html() {
        let from_json = json(&format!(
            r#"{{"filename": "demo-1.0+cpu-py3-none-any.whl", "url": "../../files/demo-1.0%2Bcpu-py3-none-any.whl",
                "hashes": {{"blake2": "00", "sha256": "{HASH}"}}, "requires-python": ">=3.8", "yanked": "broken & old",
                "core-metadata": {{"sha256": "{HASH}"}}, "dist-info-metadata": true}},
               {{"filename": "demo-1.0.tar.gz", "url": "../../files/demo-1.0.tar.gz", "hashes": {{"sha256": "{HASH}"}}}}"#
        ));
        let from_html = parse_html(
            &name(),
            &base(),
            format!(
                r#"<!DOCTYPE html><html><head><base href="../../files/"></head><body>
                <a href="demo-1.0%2Bcpu-py3-none-any.whl#sha256={HASH}" data-requires-python="&gt;=3.8"
                   data-yanked="broken &amp; old" data-core-metadata="sha256={HASH}">demo</a>
                <A href="demo-1.0.tar.gz#sha256={HASH}">sdist</A></body></html>"#
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
        let source = &from_json.sources[0];
        assert_eq!(source.url.as_str(), "http://localhost/files/demo-1.0.tar.gz");
        assert_eq!((source.version.to_string().as_str(), source.sha256), ("1.0", Some(Digest::of(b""))));
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
    fn a_page_with_more_files_than_any_project_has_is_refused() {
        let check = |count: usize, expected: bool| {
            let file = r#"{"filename": "a", "url": "b"}"#;
            let json = format!(r#"{{"files": [{}]}}"#, vec![file; count].join(","));
            let html = r#"<a href="demo-1.tar.gz">"#.repeat(count);
            let read = [parse_json(&name(), &base(), json.as_bytes()), parse_html(&name(), &base(), &html)];
            for read in read {
                assert_eq!(read.is_ok(), expected);
                assert!(read.err().is_none_or(|error| matches!(error, PageError::TooMany { .. })));
            }
        };
        check(MOST_FILES, true);
        check(MOST_FILES + 1, false);
    }

    #[test]
    fn a_file_with_words_longer_than_any_real_ones_is_passed_over() {
        let long = ">=3,".repeat(LONGEST_FIELD);
        let file =
            format!(r#"{{"filename": "demo-1-py3-none-any.whl", "url": "x", "requires-python": "{long}"}}"#);
        assert!(json(&file).files.is_empty());
        let link = format!(r#"<a href="demo-1-py3-none-any.whl" data-requires-python="{long}">"#);
        assert!(parse_html(&name(), &base(), link).unwrap().files.is_empty());
        let others = json(&format!(r#"{{"filename": "{long}.tar.gz", "url": "x"}}"#)).others;
        assert!(others.is_empty());
    }

    #[test]
    fn reads_the_links_of_any_html() {
        let check = |html: &[u8], expected: &[&str]| {
            let project = parse_html(&name(), &base(), html).unwrap();
            let files: Vec<_> = project.files.iter().map(|file| file.url.as_str()).collect();
            assert_eq!(files, expected, "{}", String::from_utf8_lossy(html));
        };
        let file = "http://localhost/simple/demo/demo-1-py3-none-any.whl";
        check(b"<a href=demo-1-py3-none-any.whl>", &[file]);
        check(b"<A class='x' HREF='demo-1-py3-none-any.whl'>x</A", &[file]);
        check(b"<!-- <a href=demo-1-py3-none-any.whl> --><p>", &[]);
        check(b"<a href=\"demo-1-py3-none-any.whl\" title=\"\xff > \">\xff", &[file]);
        check(b"<a href=\"demo&#45;1-py3-none-any.whl\">", &[file]);
        check(
            b"<base href='/files/'><base href='/x/'><a href=demo-1-py3-none-any.whl>",
            &["http://localhost/files/demo-1-py3-none-any.whl"],
        );
        check(b"<a", &[]);
        check(b"", &[]);
    }

    #[test]
    fn names_the_page_that_is_no_project_page() {
        let error = parse_json(&name(), &base(), b"<html>").unwrap_err();
        assert_eq!(error.to_string(), "the page of `demo` is not the JSON of the simple repository API");
    }
}
