//! A resolution as `pylock.toml`, which pip and uv install.
//!
//! <https://packaging.python.org/en/latest/specifications/pylock-toml/>

use std::collections::BTreeMap;

use serde::Serialize;
use uv_normalize::PackageName;
use uv_pep440::Version;

use super::LockError;
use crate::oci::{Architecture, Digest};
use crate::pypa::git_reference::GitReference;
use crate::resolve::Resolution;

/// The place of a wheel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LockedPlace {
    /// A URL without secrets.
    Url(String),
    /// A path, absolute or relative to the lock's directory.
    Path(String),
}

/// The origin of a distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockedOrigin {
    /// A wheel.
    Wheel(LockedFile),
    /// A source distribution, which whoever reads the lock builds.
    Sdist(LockedFile),
    /// A source at a place of its own, and the project's directory in it.
    Archive(LockedFile, Option<String>),
    /// A commit of a repository.
    Repository(GitReference),
    /// A project's directory, absolute or relative to the lock's.
    Directory(String),
}

/// A file with its digest, at its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedFile {
    /// The file's name.
    pub name: String,
    /// The digest of the file.
    pub digest: Digest,
    /// In bytes, where it is known.
    pub size: Option<u64>,
    /// The place of the file.
    pub place: LockedPlace,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct PylockDocument {
    lock_version: &'static str,
    environments: [String; 1],
    requires_python: String,
    created_by: &'static str,
    packages: Vec<PylockPackage>,
}

#[derive(Default, Serialize)]
struct PylockPackage {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    directory: Option<BTreeMap<&'static str, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vcs: Option<BTreeMap<&'static str, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    archive: Option<PylockFile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sdist: Option<PylockFile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wheels: Option<[PylockFile; 1]>,
}

#[derive(Serialize)]
struct PylockFile {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subdirectory: Option<String>,
    #[serde(flatten)]
    place: LockedPlace,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    hashes: BTreeMap<&'static str, String>,
}

impl From<LockedFile> for PylockFile {
    fn from(file: LockedFile) -> Self {
        let LockedFile { name, digest, size, place } = file;
        let hashes = BTreeMap::from([("sha256", digest.hex())]);
        Self { name: Some(name), subdirectory: None, place, size, hashes }
    }
}

impl PylockPackage {
    fn new(name: &PackageName, version: &Version, origin: LockedOrigin) -> Self {
        let bare = Self { name: name.to_string(), version: Some(version.to_string()), ..Self::default() };
        match origin {
            LockedOrigin::Wheel(file) => Self { wheels: Some([file.into()]), ..bare },
            LockedOrigin::Sdist(file) => Self { sdist: Some(file.into()), ..bare },
            LockedOrigin::Archive(file, subdirectory) => {
                // PEP 751 gives an archive no name.
                let archive = PylockFile { name: None, subdirectory, ..file.into() };
                Self { archive: Some(archive), ..bare }
            }
            LockedOrigin::Repository(reference) => Self { vcs: Some(repository(&reference)), ..bare },
            // The version of a directory is what it says when it is built.
            LockedOrigin::Directory(path) => {
                Self { version: None, directory: Some(BTreeMap::from([("path", path)])), ..bare }
            }
        }
    }
}

fn repository(reference: &GitReference) -> BTreeMap<&'static str, String> {
    let told = [
        ("type", Some("git".to_owned())),
        ("url", Some(reference.shown())),
        ("requested-revision", reference.revision.clone()),
        ("commit-id", reference.commit.as_ref().map(ToString::to_string)),
        ("subdirectory", reference.subdirectory.as_ref().map(ToString::to_string)),
    ];
    told.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

/// The text of `pylock.toml` for a resolution on Linux with this `python`, such as `3.11.2`, where `origins` has the origin of
/// each distribution, by the file name of its wheel. Of a component with several SONAMEs it has the one that pip sees.
pub fn pylock(
    resolution: &Resolution,
    origins: &BTreeMap<String, LockedOrigin>,
    python: &str,
    architecture: Architecture,
) -> Result<String, LockError> {
    let mut packages: BTreeMap<&PackageName, PylockPackage> = BTreeMap::new();
    // Sorted by version: the newest is the one that stays.
    for distribution in &resolution.distributions {
        let wheel = distribution.wheel.filename.to_string();
        let origin = origins.get(&wheel).cloned().ok_or_else(|| LockError::Unwritable {
            reason: format!("nothing is known of the wheel `{wheel}`"),
        })?;
        let (name, version) = (&distribution.name, &distribution.version);
        packages.insert(name, PylockPackage::new(name, version, origin));
    }
    let minor: String = python.split('.').take(2).collect::<Vec<_>>().join(".");
    let machine = architecture.machine_name();
    let document = PylockDocument {
        lock_version: "1.0",
        environments: [format!("sys_platform == 'linux' and platform_machine == '{machine}'")],
        requires_python: format!("=={minor}.*"),
        created_by: "imgforge",
        packages: packages.into_values().collect(),
    };
    toml::to_string(&document).map_err(|error| LockError::Unwritable { reason: error.to_string() })
}
