//! `pylock.toml`: what another tool has locked, as requirements.
//!
//! <https://packaging.python.org/en/latest/specifications/pylock-toml/>

use std::collections::BTreeMap;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::value::Datetime;
use url::Url;
use uv_distribution_filename::WheelFilename;
use uv_normalize::{ExtraName, GroupName, PackageName};
use uv_pep440::{Version, VersionSpecifiers};
use uv_pep508::MarkerTree;

use super::wheel_reference::{WheelPlace, WheelReference};
use crate::failure::{Fault, Hinted};
use crate::oci::Digest;
use crate::oci::time::unix_seconds;
use crate::pypa::complexity::{check_specifiers, weigh_requirement};
use crate::pypa::simple::DistFile;
use crate::pypa::source_file::SourceFile;

/// The values and lines of a lock of others: one of a thousand projects with all their wheels has some 300,000.
const MOST_VALUES: usize = 1 << 20;

/// A lock of another tool.
#[derive(Debug, Clone, PartialEq)]
pub struct Pylock {
    /// The file's name for messages.
    pub origin: String,
    /// The digest of its text.
    pub digest: Digest,
    /// The Pythons that it is for.
    pub requires_python: Option<VersionSpecifiers>,
    /// The packages, in the file's order.
    pub packages: Vec<PylockEntry>,
}

/// A package of a lock, for the environments of its marker.
#[derive(Debug, Clone, PartialEq)]
pub struct PylockEntry {
    /// The normalized name.
    pub name: PackageName,
    /// The version.
    pub version: Version,
    /// The environments, extras and groups that it is for.
    pub marker: MarkerTree,
    /// Wheels at URLs.
    pub files: Vec<DistFile>,
    /// Wheels at paths, which begin at the lock's directory.
    pub local: Vec<WheelReference>,
    /// The names of its source distributions.
    pub sources: Vec<String>,
    /// Those of them that can be built.
    pub sdists: Vec<SourceFile>,
}

/// The reason why a file is no lock that can be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum PylockError {
    #[error("line {line} of `{origin}` cannot be read: {reason}")]
    Syntax { origin: String, line: usize, reason: String },
    #[error("`{origin}` is of lock-version {version}, and imgforge reads 1.0")]
    Version { origin: String, version: String },
    #[error("`{origin}` has no sha256 hash for `{file}`")]
    NoHash { origin: String, file: String },
    #[error("`{origin}` locks `{name}` as {what}, and imgforge installs wheels")]
    NotBuilt { origin: String, name: PackageName, what: &'static str },
    #[error("`{origin}` has more than {MOST_VALUES} values")]
    ManyValues { origin: String },
}

impl Hinted for PylockError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Syntax { .. } | Self::ManyValues { .. } => {
                "is it a lock of PEP 751? `uv export --format pylock.toml` and `pip lock` write one".into()
            }
            Self::Version { .. } => "write it again with a tool that writes version 1.0".into(),
            Self::NoHash { .. } => "lock it again: what has no hash is not installed".into(),
            Self::NotBuilt { name, .. } => format!(
                "build a wheel of it, `pip wheel --no-deps -w dist …`, leave it out of the lock (`uv export \
                 --no-emit-package {name}`), and name the wheel under `packages`"
            ),
        })
    }

    fn fault(&self) -> Fault {
        Fault::Input
    }
}

/// Returns whether a file of this name is such a lock.
pub fn is_pylock(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name == "pylock.toml" || (name.starts_with("pylock.") && name.ends_with(".toml"))
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct PylockText {
    lock_version: String,
    requires_python: Option<String>,
    #[serde(default)]
    packages: Vec<PackageText>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct PackageText {
    name: PackageName,
    version: Option<Version>,
    marker: Option<String>,
    #[serde(default)]
    wheels: Vec<FileText>,
    sdist: Option<FileText>,
    archive: Option<FileText>,
    vcs: Option<IgnoredAny>,
    directory: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct FileText {
    name: Option<String>,
    url: Option<Url>,
    path: Option<String>,
    size: Option<u64>,
    upload_time: Option<Datetime>,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
}

/// Reads a lock; `origin` is its name for messages.
pub fn parse(text: &str, origin: &str) -> Result<Pylock, PylockError> {
    if text.matches(['=', ',', '[', '{', '\n']).nth(MOST_VALUES).is_some() {
        return Err(PylockError::ManyValues { origin: origin.to_owned() });
    }
    let syntax = |offset: usize, reason: String| PylockError::Syntax {
        origin: origin.to_owned(),
        line: text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1,
        reason,
    };
    let read: PylockText = toml::from_str(text).map_err(|error| {
        syntax(
            error.span().map_or(0, |span| span.start),
            error.message().lines().collect::<Vec<_>>().join("; "),
        )
    })?;
    if read.lock_version != "1.0" {
        return Err(PylockError::Version { origin: origin.to_owned(), version: read.lock_version });
    }
    let requires_python = read.requires_python.map(|python| {
        let allowed = check_specifiers(&python).map_err(|error| error.to_string());
        let parsed =
            allowed.and_then(|()| VersionSpecifiers::from_str(&python).map_err(|error| error.to_string()));
        parsed.map_err(|reason| syntax(0, format!("`requires-python`: {reason}")))
    });
    let packages = read.packages.into_iter().map(|package| {
        let reason = |reason: String| syntax(0, reason);
        package.read(origin, &reason)
    });
    Ok(Pylock {
        origin: origin.to_owned(),
        digest: Digest::of(text),
        requires_python: requires_python.transpose()?,
        packages: packages.collect::<Result<_, _>>()?,
    })
}

impl PackageText {
    fn read(self, origin: &str, syntax: &dyn Fn(String) -> PylockError) -> Result<PylockEntry, PylockError> {
        let not_built =
            |what| PylockError::NotBuilt { origin: origin.to_owned(), name: self.name.clone(), what };
        if self.vcs.is_some() {
            return Err(not_built("a version control URL"));
        }
        if self.directory.is_some() {
            return Err(not_built("a directory"));
        }
        let marker = marker(self.marker.as_deref())
            .map_err(|reason| syntax(format!("the marker of `{}`: {reason}", self.name)))?;
        let (mut files, mut local, mut sources) = (Vec::new(), Vec::new(), Vec::new());
        sources.extend(self.sdist.as_ref().map(FileText::filename));
        for file in self.wheels.iter().chain(&self.archive) {
            let Ok(filename) = WheelFilename::from_str(&file.filename()) else {
                sources.push(file.filename());
                continue;
            };
            let sha256 = file.sha256().ok_or_else(|| PylockError::NoHash {
                origin: origin.to_owned(),
                file: filename.to_string(),
            })?;
            match (&file.url, &file.path) {
                (Some(url), _) if url.scheme() != "file" => {
                    files.push(file.listed(filename, url.clone(), sha256));
                }
                (_, Some(path)) => {
                    let place = WheelPlace::Path(path.clone());
                    local.push(WheelReference { place, filename, sha256: Some(sha256) });
                }
                _ => return Err(syntax(format!("`{filename}` has neither a URL of HTTP nor a path"))),
            }
        }
        let of_wheel = || {
            let local = local.iter().map(|wheel| &wheel.filename);
            files.iter().map(|file| &file.filename).chain(local).next().map(|wheel| wheel.version.clone())
        };
        let version = self.version.clone().or_else(of_wheel);
        let version = version.ok_or_else(|| syntax(format!("`{}` has no version", self.name)))?;
        let sdists = self.sdist.iter().filter_map(|file| file.source(&self.name)).collect();
        Ok(PylockEntry { name: self.name, version, marker, files, local, sources, sdists })
    }
}

impl FileText {
    /// Its name, else that at the end of its place.
    fn filename(&self) -> String {
        let of_url = || Some(self.url.as_ref()?.path_segments()?.next_back()?.to_owned());
        let of_path = || Some(self.path.as_ref()?.rsplit('/').next()?.to_owned());
        let name = self.name.clone().or_else(of_path).or_else(of_url).unwrap_or_default();
        percent_decode_str(&name).decode_utf8_lossy().into_owned()
    }

    fn sha256(&self) -> Option<Digest> {
        Digest::from_hex(&self.hashes.get("sha256")?.to_ascii_lowercase()).ok()
    }

    /// It as a source distribution of a project; `None` for one without a hash, or that is not at a URL.
    fn source(&self, project: &PackageName) -> Option<SourceFile> {
        let mut url = self.url.clone().filter(|url| url.scheme() != "file")?;
        url.set_fragment(None);
        Some(SourceFile {
            sha256: Some(self.sha256()?),
            size: self.size,
            upload_time: self.upload_time.and_then(|time| unix_seconds(&time.to_string())),
            ..SourceFile::bare(project, &self.filename(), url)?
        })
    }

    fn listed(&self, filename: WheelFilename, mut url: Url, sha256: Digest) -> DistFile {
        url.set_fragment(None);
        DistFile {
            sha256: Some(sha256),
            size: self.size,
            upload_time: self.upload_time.and_then(|time| unix_seconds(&time.to_string())),
            ..DistFile::bare(filename, url)
        }
    }
}

fn marker(text: Option<&str>) -> Result<MarkerTree, String> {
    let Some(text) = text else { return Ok(MarkerTree::TRUE) };
    weigh_requirement(&format!("x ; {text}")).map_err(|reason| reason.to_string())?;
    MarkerTree::from_str(text)
        .map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())
}

/// A lock that a recipe names, with the extras and groups that it asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct SelectedLock {
    /// The lock.
    pub lock: Pylock,
    /// The directory that its paths begin at, relative to that of the recipe.
    pub directory: String,
    /// The extras.
    pub extras: Vec<ExtraName>,
    /// The dependency groups.
    pub groups: Vec<GroupName>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn refuse(text: &str, expected: &str) {
        let error = parse(&text.replace("HEX", HEX), "pylock.toml").unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn reads_wheels_wherever_they_are() {
        let text = format!(
            r#"
lock-version = "1.0"
requires-python = ">=3.11"
created-by = "test"
[[packages]]
name = "Demo.App"
version = "1.0"
marker = "'gpu' in extras and python_version < '4'"
sdist = {{ url = "http://localhost/demo_app-1.0.tar.gz", hashes = {{ sha256 = "{HEX}" }} }}
wheels = [
    {{ url = "http://localhost/demo_app-1.0-py3-none-any.whl", upload-time = 1970-01-02T00:00:01Z, size = 7, hashes = {{ sha256 = "{HEX}" }} }},
    {{ path = "dist/demo_app-1.0-cp311-cp311-linux_x86_64.whl", hashes = {{ sha256 = "{HEX}" }} }},
]
"#
        );
        let lock = parse(&text, "pylock.toml").unwrap();
        let package = &lock.packages[0];
        assert_eq!((package.name.as_ref(), package.version.to_string()), ("demo-app", "1.0".into()));
        assert_eq!((package.files[0].size, package.files[0].upload_time), (Some(7), Some(86_401)));
        assert_eq!(package.files[0].sha256, Some(Digest::of("")));
        assert_eq!(
            package.local[0].to_string(),
            format!("dist/demo_app-1.0-cp311-cp311-linux_x86_64.whl#sha256={HEX}")
        );
        assert_eq!(package.sources, ["demo_app-1.0.tar.gz"]);
        assert!(!package.marker.is_true());
    }

    #[test]
    fn says_what_cannot_be_used() {
        refuse(
            "lock-version = 1\n",
            "line 1 of `pylock.toml` cannot be read: invalid type: integer `1`, expected a string",
        );
        refuse("lock-version = \"2.0\"\n", "`pylock.toml` is of lock-version 2.0, and imgforge reads 1.0");
        let package = |lines: &str| format!("lock-version = \"1.0\"\n[[packages]]\nname = \"a\"\n{lines}\n");
        refuse(
            &package(
                "version = \"1\"\nwheels = [{url = \"http://h/a-1-py3-none-any.whl\", hashes = {md5 = \"0\"}}]",
            ),
            "`pylock.toml` has no sha256 hash for `a-1-py3-none-any.whl`",
        );
        refuse(
            &package("vcs = {type = \"git\", url = \"https://h/a\", commit-id = \"0\"}"),
            "`pylock.toml` locks `a` as a version control URL, and imgforge installs wheels",
        );
        refuse(
            &package("directory = {path = \".\"}"),
            "`pylock.toml` locks `a` as a directory, and imgforge installs wheels",
        );
        refuse(&package(""), "line 1 of `pylock.toml` cannot be read: `a` has no version");
    }

    #[test]
    fn is_known_by_its_name() {
        let names = ["pylock.toml", "a/pylock.gpu.toml", "uv.lock", "pylock.txt", "apylock.toml"];
        assert_eq!(names.map(is_pylock), [true, true, false, false, false]);
    }
}
