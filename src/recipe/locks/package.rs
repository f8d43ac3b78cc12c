//! A package of a lock, wherever its files are.

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use toml::value::Datetime;
use url::Url;
use uv_distribution_filename::WheelFilename;
use uv_normalize::PackageName;
use uv_pep440::Version;

use super::super::source_place::SourcePlace;
use super::super::wheel_reference::{FilePlace, WheelReference};
use crate::oci::Digest;
use crate::oci::time::unix_seconds;
use crate::pypa::simple::DistFile;
use crate::pypa::source_file::SourceFile;

/// A package that a lock has.
#[derive(Debug, Clone, PartialEq)]
pub struct ForeignPackage {
    /// The normalized name.
    pub name: PackageName,
    /// The version, where the lock has it: of a directory it may be what only a build tells.
    pub version: Option<Version>,
    /// The files.
    pub content: LockedContent,
}

/// The files of a package of a lock.
#[derive(Debug, Clone, PartialEq)]
pub enum LockedContent {
    /// Those that an index had.
    Files(LockedFiles),
    /// Those that an index has by these hashes.
    Hashes(BTreeSet<Digest>),
    /// A wheel at a place of its own.
    Wheel(WheelReference),
    /// A source at a place of its own.
    Source(SourcePlace),
    /// None: it is there for what it requires.
    Nothing,
}

/// The files of a version of a project, as its index had them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LockedFiles {
    /// Wheels at URLs.
    pub wheels: Vec<DistFile>,
    /// Wheels at paths, which begin at the lock's directory.
    pub local: Vec<WheelReference>,
    /// The names of its source distributions.
    pub others: Vec<String>,
    /// Those of them that can be built.
    pub sdists: Vec<SourceFile>,
}

/// A file of a lock.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct FileText {
    #[serde(alias = "filename")]
    name: Option<String>,
    pub url: Option<Url>,
    pub path: Option<String>,
    size: Option<u64>,
    upload_time: Option<TimeText>,
    pub hash: Option<String>,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
    pub subdirectory: Option<String>,
}

/// A moment, as a value of TOML or as text.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum TimeText {
    Value(Datetime),
    Text(String),
}

impl FileText {
    /// Its name, else that at the end of its place.
    pub(super) fn filename(&self) -> String {
        let of_url = || Some(self.url.as_ref()?.path_segments()?.next_back()?.to_owned());
        let of_path = || Some(self.path.as_ref()?.rsplit('/').next()?.to_owned());
        let name = self.name.clone().or_else(of_path).or_else(of_url).unwrap_or_default();
        percent_decode_str(&name).decode_utf8_lossy().into_owned()
    }

    pub(super) fn sha256(&self) -> Option<Digest> {
        let of_hash = || self.hash.as_deref()?.strip_prefix("sha256:");
        let digits = self.hashes.get("sha256").map(String::as_str).or_else(of_hash)?;
        Digest::from_hex(&digits.to_ascii_lowercase()).ok()
    }

    /// Its URL, unless that is of a file, without a fragment.
    pub(super) fn remote(&self) -> Option<Url> {
        let mut url = self.url.clone().filter(|url| url.scheme() != "file")?;
        url.set_fragment(None);
        Some(url)
    }

    /// Its place: a URL, or else a path.
    pub(super) fn file_place(&self) -> Option<FilePlace> {
        let of_url = || percent_decode_str(self.url.as_ref()?.path()).decode_utf8().ok().map(Into::into);
        let path = || self.path.clone().or_else(of_url);
        self.remote().map(FilePlace::Url).or_else(|| path().map(FilePlace::Path))
    }

    fn seconds(&self) -> Option<i64> {
        match self.upload_time.as_ref()? {
            TimeText::Value(time) => unix_seconds(&time.to_string()),
            TimeText::Text(text) => unix_seconds(text),
        }
    }

    /// It as a source distribution of a project; `None` for one that is not at a URL, or not one that can be built.
    pub(super) fn source(&self, project: &PackageName) -> Option<SourceFile> {
        let bare = SourceFile::bare(project, &self.filename(), self.remote()?)?;
        Some(SourceFile { sha256: self.sha256(), size: self.size, upload_time: self.seconds(), ..bare })
    }

    /// It as an index would list it.
    pub(super) fn listed(&self, filename: WheelFilename, url: Url) -> DistFile {
        let file = DistFile::bare(filename, url);
        let file = DistFile { sha256: self.sha256(), size: self.size, ..file };
        match self.seconds() {
            None => file.unlisted(),
            upload_time => DistFile { upload_time, ..file },
        }
    }
}
