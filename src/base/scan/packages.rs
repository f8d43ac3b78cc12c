//! The records of package managers: versions of packages, and the owners of files.

use std::collections::BTreeMap;

use uv_normalize::PackageName;
use uv_pep440::Version;

use super::installed::InstalledFiles;
use crate::debian::deb822;
use crate::debian::version::DebianVersion;
use crate::observe::inventory_facts::{CondaPackage, InventoryFacts, join};

/// The packages that dpkg has installed.
///
/// <https://manpages.debian.org/dpkg.1#FILES>
#[derive(Debug, Default)]
pub(super) struct Dpkg {
    versions: BTreeMap<String, DebianVersion>,
    /// The package by the real path of its file; of the files whose owner matters.
    owners: BTreeMap<String, String>,
}

/// One package that dpkg has installed.
#[derive(Debug, Clone, Copy)]
pub(super) struct DebianPackage<'a> {
    pub name: &'a str,
    pub version: &'a DebianVersion,
}

impl Dpkg {
    pub(super) fn read(facts: &InventoryFacts) -> Self {
        let mut dpkg = Self::default();
        for (path, text) in facts.texts() {
            if path == "var/lib/dpkg/status" || path.starts_with("var/lib/dpkg/status.d/") {
                dpkg.versions.extend(installed(text));
            }
        }
        for (path, text) in facts.texts() {
            let Some(list) = path.strip_prefix("var/lib/dpkg/info/") else { continue };
            let name = list.trim_end_matches(".list").split(':').next().unwrap_or_default();
            for real in text.lines().filter_map(|line| facts.resolve(line)) {
                dpkg.owners.insert(real, name.to_owned());
            }
        }
        dpkg
    }

    /// Every package with its version, sorted by name.
    pub(super) fn versions(&self) -> impl Iterator<Item = (&String, &DebianVersion)> {
        self.versions.iter()
    }

    pub(super) fn version(&self, package: &str) -> Option<&DebianVersion> {
        self.versions.get(package)
    }

    /// The package that owns the file at this real path.
    pub(super) fn owner(&self, path: &str) -> Option<DebianPackage<'_>> {
        let (name, version) = self.versions.get_key_value(self.owners.get(path)?)?;
        Some(DebianPackage { name, version })
    }
}

/// The packages of a `status` whose files are in place. A paragraph without a status is an image's without dpkg, which
/// has what it names.
fn installed(status: &str) -> impl Iterator<Item = (String, DebianVersion)> {
    deb822::paragraphs(status).map_while(Result::ok).filter_map(|paragraph| {
        let in_place = |status: &str| status.ends_with(" installed");
        let version = paragraph.get("Version")?.parse().ok()?;
        let name = paragraph.get("Package")?.to_owned();
        paragraph.get("Status").is_none_or(in_place).then_some((name, version))
    })
}

/// The packages that conda has installed, in all prefixes.
#[derive(Debug, Default)]
pub(super) struct Conda {
    packages: Vec<CondaPackage>,
    /// The package's place in the list by the real path of its file.
    owners: BTreeMap<String, usize>,
}

impl Conda {
    pub(super) fn read(facts: &InventoryFacts) -> Self {
        let mut conda = Self::default();
        for (path, text) in facts.texts() {
            let Some((directory, _)) = path.rsplit_once('/') else { continue };
            let Some(prefix) = directory.strip_suffix("/conda-meta") else { continue };
            let Ok(package) = serde_json::from_str::<CondaPackage>(text) else { continue };
            let files = package.files.iter().filter_map(|file| facts.resolve(&join(prefix, file)));
            conda.owners.extend(files.map(|file| (file, conda.packages.len())));
            conda.packages.push(package);
        }
        conda
    }

    /// Every package's name and version.
    pub(super) fn versions(&self) -> impl Iterator<Item = (&str, &str)> {
        self.packages.iter().map(|package| (package.name.as_str(), package.version.as_str()))
    }

    pub(super) fn owner(&self, path: &str) -> Option<&CondaPackage> {
        self.packages.get(*self.owners.get(path)?)
    }
}

/// The records that name the owners of files.
pub(super) struct Owners<'a> {
    pub dpkg: &'a Dpkg,
    pub conda: &'a Conda,
    pub distributions: &'a [InstalledFiles],
}

/// The package that a file belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Owner<'a> {
    Debian(DebianPackage<'a>),
    Distribution { name: &'a PackageName, version: &'a Version },
    Conda { name: &'a str, version: &'a str },
}

impl<'a> Owners<'a> {
    pub(super) fn of(&self, path: &str, size: u64) -> Option<Owner<'a>> {
        if let Some(package) = self.dpkg.owner(path) {
            return Some(Owner::Debian(package));
        }
        // Wheels for two CUDA majors may claim one path; the one that names the file's size was installed last.
        let claims = || self.distributions.iter().filter(|installed| installed.sizes.contains_key(path));
        let exact = claims().find(|installed| installed.sizes.get(path) == Some(&Some(size)));
        if let Some(installed) = exact.or_else(|| claims().next()) {
            let distribution = &installed.distribution;
            return Some(Owner::Distribution { name: &distribution.name, version: &distribution.version });
        }
        let package = self.conda.owner(path)?;
        Some(Owner::Conda { name: &package.name, version: &package.version })
    }
}
