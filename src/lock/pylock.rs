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
    environments: Vec<String>,
    requires_python: String,
    created_by: &'static str,
    packages: Vec<PylockPackage>,
}

#[derive(Default, PartialEq, Eq, Serialize)]
struct PylockPackage {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// The environments that it is for; without one, it is for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    marker: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    directory: Option<BTreeMap<&'static str, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vcs: Option<BTreeMap<&'static str, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    archive: Option<PylockFile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sdist: Option<PylockFile>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    wheels: Vec<PylockFile>,
}

#[derive(PartialEq, Eq, Serialize)]
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
            LockedOrigin::Wheel(file) => Self { wheels: vec![file.into()], ..bare },
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

/// The resolution of a recipe for one platform, as others install it.
#[derive(Debug)]
pub struct ExportedResolution<'a> {
    /// The resolution.
    pub resolution: &'a Resolution,
    /// The origin of each distribution, by the file name of its wheel.
    pub origins: &'a BTreeMap<String, LockedOrigin>,
    /// The version of Python, such as `3.11.2`.
    pub python: &'a str,
    /// The architecture of the platform.
    pub architecture: Architecture,
}

impl ExportedResolution<'_> {
    /// Its packages by name. Of a component with several SONAMEs there is the one that pip sees.
    fn packages(&self) -> Result<BTreeMap<&PackageName, PylockPackage>, LockError> {
        let mut packages = BTreeMap::new();
        // Sorted by version: the newest is the one that stays.
        for distribution in &self.resolution.distributions {
            let wheel = distribution.wheel.filename.to_string();
            let origin = self.origins.get(&wheel).cloned().ok_or_else(|| LockError::Unwritable {
                reason: format!("nothing is known of the wheel `{wheel}`"),
            })?;
            let (name, version) = (&distribution.name, &distribution.version);
            packages.insert(name, PylockPackage::new(name, version, origin));
        }
        Ok(packages)
    }

    fn machine(&self) -> String {
        format!("platform_machine == '{}'", self.architecture.machine_name())
    }

    fn requires_python(&self) -> String {
        let minor: String = self.python.split('.').take(2).collect::<Vec<_>>().join(".");
        format!("=={minor}.*")
    }
}

/// A package, and the machines that it is for.
struct MachinePackage {
    machines: Vec<String>,
    package: PylockPackage,
}

impl MachinePackage {
    /// Takes in the package of another machine where that is the same version, of wheels or of the same source; gives it back
    /// otherwise.
    fn join(&mut self, machine: &str, mut other: PylockPackage) -> Option<PylockPackage> {
        let wheels = std::mem::take(&mut other.wheels);
        let own = std::mem::take(&mut self.package.wheels);
        let is_same = self.package == other && own.is_empty() == wheels.is_empty();
        self.package.wheels = own;
        if !is_same {
            return Some(PylockPackage { wheels, ..other });
        }
        let new = wheels.into_iter().filter(|wheel| !self.package.wheels.contains(wheel));
        let new: Vec<PylockFile> = new.collect();
        self.package.wheels.extend(new);
        self.machines.push(machine.to_owned());
        None
    }

    /// The package, marked with its machines where they are not all.
    fn marked(self, all: usize) -> PylockPackage {
        let marker = (self.machines.len() < all).then(|| self.machines.join(" or "));
        PylockPackage { marker, ..self.package }
    }
}

/// The text of `pylock.toml` for resolutions on Linux, one for each machine.
pub fn pylock(resolutions: &[ExportedResolution<'_>]) -> Result<String, LockError> {
    let unwritable = |reason: String| LockError::Unwritable { reason };
    let mut packages: BTreeMap<&PackageName, Vec<MachinePackage>> = BTreeMap::new();
    for resolution in resolutions {
        let machine = resolution.machine();
        for (name, package) in resolution.packages()? {
            let known = packages.entry(name).or_default();
            let joined = known.iter_mut().try_fold(package, |package, one| one.join(&machine, package));
            known.extend(joined.map(|package| MachinePackage { machines: vec![machine.clone()], package }));
        }
    }
    let mut pythons: Vec<String> = resolutions.iter().map(ExportedResolution::requires_python).collect();
    pythons.dedup();
    let [requires_python] = &pythons[..] else {
        return Err(unwritable(format!("its platforms have different Pythons: {}", pythons.join(", "))));
    };
    let environment = |one: &ExportedResolution<'_>| format!("sys_platform == 'linux' and {}", one.machine());
    let packages = packages.into_values().flatten();
    let document = PylockDocument {
        lock_version: "1.0",
        environments: resolutions.iter().map(environment).collect(),
        requires_python: requires_python.clone(),
        created_by: "imgforge",
        packages: packages.map(|package| package.marked(resolutions.len())).collect(),
    };
    toml::to_string(&document).map_err(|error| unwritable(error.to_string()))
}
