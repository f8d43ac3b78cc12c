//! Source distributions, as package indexes list them.
//!
//! <https://packaging.python.org/en/latest/specifications/source-distribution-format/>

use serde::{Deserialize, Serialize};
use url::Url;
use uv_distribution_filename::DistFilename;
use uv_normalize::PackageName;
use uv_pep440::{Version, VersionSpecifiers};

use crate::oci::Digest;

/// A source distribution of a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// The project's normalized name.
    pub name: PackageName,
    /// The version in the file's name.
    pub version: Version,
    /// The file's name: `demo-1.0.tar.gz`.
    pub filename: String,
    /// The format of the archive.
    pub format: SourceFormat,
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
}

/// The format of a source distribution's archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceFormat {
    /// `.tar.gz`, the format of the specification.
    TarGz,
    /// `.zip`, which was one before.
    Zip,
    /// A project's directory, packed as a tar.
    Directory,
}

impl SourceFormat {
    /// The format that a file's name tells.
    pub fn of(filename: &str) -> Option<Self> {
        let ends = |end: &str| filename.ends_with(end);
        match () {
            () if ends(".tar.gz") || ends(".tgz") => Some(Self::TarGz),
            () if ends(".zip") => Some(Self::Zip),
            () => None,
        }
    }
}

/// The upload time of files that nobody uploaded.
const NEVER_UPLOADED: i64 = i64::MIN;

impl SourceFile {
    /// A source distribution of which nothing is known beside its name and its place; `None` where that is not the name
    /// of one.
    pub fn bare(project: &PackageName, filename: &str, url: Url) -> Option<Self> {
        let format = SourceFormat::of(filename)?;
        let DistFilename::SourceDistFilename(parsed) = DistFilename::try_from_filename(filename, project)?
        else {
            return None;
        };
        Some(Self {
            name: parsed.name,
            version: parsed.version,
            filename: filename.to_owned(),
            format,
            url,
            sha256: None,
            size: None,
            upload_time: None,
            requires_python: None,
            yanked: None,
        })
    }

    /// The same file as one that no index lists: whatever `exclude-newer` says, it may be chosen.
    pub fn unlisted(self) -> Self {
        Self { upload_time: Some(NEVER_UPLOADED), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_time_tell_project_and_version() {
        let check = |project: &str, filename: &str, expected: Option<(&str, SourceFormat)>| {
            let url = Url::parse("https://host/file").unwrap();
            let read = SourceFile::bare(&project.parse().unwrap(), filename, url);
            let read = read.map(|source| (source.version.to_string(), source.format));
            let expected = expected.map(|(version, format)| (version.to_owned(), format));
            assert_eq!(read, expected, "{filename}");
        };
        check(
            "antlr4-python3-runtime",
            "antlr4-python3-runtime-4.9.3.tar.gz",
            Some(("4.9.3", SourceFormat::TarGz)),
        );
        check(
            "antlr4-python3-runtime",
            "antlr4_python3_runtime-4.13.2.tar.gz",
            Some(("4.13.2", SourceFormat::TarGz)),
        );
        check("zope-interface", "zope.interface-3.6.zip", Some(("3.6", SourceFormat::Zip)));
        check("demo", "demo-1.0.tar.bz2", None);
        check("demo", "demo-1.0-py3-none-any.whl", None);
        check("demo", "other-1.0.tar.gz", None);
        check("demo", "demo-one.tar.gz", None);
    }
}
