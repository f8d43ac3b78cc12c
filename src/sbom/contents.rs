//! The packages of a bill: from what is installed to names, versions, licences and origins.

use std::collections::BTreeMap;

use serde_json::Value;

use super::licence::Licence;
use super::{BillPackage, PackageKind, cuda_licence, debian_licence};
use crate::base::scan::InstalledSoftware;
use crate::base::{CudaCopy, InstalledDistribution, VersionSource};
use crate::debian::deb822::{self, Paragraph};
use crate::observe::check_facts::{CheckFacts, FileContent};
use crate::oci::Digest;
use crate::purl::purl;
use crate::pypa::described::{DistributionDescription, description};
use crate::pypa::{direct_url, metadata};

/// The supplier of CUDA.
const NVIDIA: &str = "NVIDIA Corporation";

/// The content of an image.
#[derive(Debug, Clone, Copy)]
pub struct BillContents<'a> {
    /// The installed software.
    pub software: &'a InstalledSoftware,
    /// The evidence of its layers, stacked: the texts that packages have of themselves.
    pub evidence: &'a CheckFacts,
    /// The digests of the files that it was made of.
    pub known: &'a KnownDigests,
}

/// The digests of the files that packages were installed from: a plan knows them, an image does not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownDigests {
    /// Of wheels, by name and version.
    pub wheels: BTreeMap<(String, String), Digest>,
    /// Of Debian packages, by name.
    pub debian: BTreeMap<String, Digest>,
}

/// Everything that is installed, sorted by kind, name, version and place.
pub fn packages(contents: &BillContents<'_>) -> Vec<BillPackage> {
    let software = contents.software;
    let distributions = software.distributions.iter().map(|it| distribution(it, contents));
    let conda = software.conda.iter().map(|(name, version)| conda(name, version));
    let programs = software.pythons.iter().map(|(path, version)| python(path, version));
    let mut packages: Vec<BillPackage> = distributions.chain(conda).chain(programs).collect();
    packages.extend(debian(contents));
    let copies: Vec<BillPackage> = software.cuda.iter().map(|copy| cuda(copy, software)).collect();
    packages.extend(copies);
    let key = |it: &BillPackage| (it.kind, it.name.clone(), it.version.clone(), it.location.clone());
    packages.sort_by_key(key);
    packages
}

fn distribution(installed: &InstalledDistribution, contents: &BillContents<'_>) -> BillPackage {
    let (name, version) = (installed.name.to_string(), installed.version.to_string());
    let text = |file: &str| contents.evidence.text(&format!("{}/{file}", installed.directory));
    let info = ["METADATA", "PKG-INFO"].into_iter().find_map(text);
    let info = info.or_else(|| contents.evidence.text(&installed.directory));
    let info = info.map(|bytes| metadata::decoded(bytes.to_vec())).unwrap_or_default();
    let DistributionDescription { author, home_page, .. } = &description(&info);
    let origin = text(direct_url::NAME).and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
    let url = origin.as_ref().and_then(|origin| origin.get("url")?.as_str());
    let told = || origin.as_ref()?.get("archive_info")?.get("hashes")?.get("sha256")?.as_str();
    let key = (name.clone(), version.clone());
    let sha256 = contents.known.wheels.get(&key).copied();
    BillPackage {
        kind: PackageKind::Python,
        purl: purl(&["pypi", &name], Some(&version), &[]),
        licence: Licence::of_metadata(&description(&info)),
        supplier: author.as_ref().map(|author| one_line(author)),
        home_page: home_page.clone(),
        sha256: sha256.or_else(|| Digest::from_hex(told()?).ok()),
        location: Some(installed.directory.clone()),
        origin: match (url, installed.of_system) {
            (Some(url), _) => format!("installed from {url}"),
            (None, true) => "installed by the system's package manager".to_owned(),
            (None, false) => "installed from a package index".to_owned(),
        },
        part_of: None,
        name,
        version: Some(version),
    }
}

fn conda(name: &str, version: &str) -> BillPackage {
    BillPackage {
        purl: purl(&["conda", name], Some(version), &[]),
        ..bare(PackageKind::Conda, name, Some(version), "installed by conda")
    }
}

fn python(path: &str, version: &str) -> BillPackage {
    BillPackage {
        purl: purl(&["generic", "python"], Some(version), &[]),
        licence: Licence::expression("PSF-2.0"),
        supplier: Some("Python Software Foundation".to_owned()),
        location: Some(path.to_owned()),
        ..bare(PackageKind::Program, "python", Some(version), "installed by no package manager")
    }
}

/// A copy of a component: its licence is NVIDIA's, and whoever brought it is named.
fn cuda(copy: &CudaCopy, software: &InstalledSoftware) -> BillPackage {
    let version = copy.version.as_ref().map(ToString::to_string);
    let bringer = copy.distribution.as_ref().and_then(|name| {
        let of_name = |it: &&InstalledDistribution| it.name == *name;
        software.distributions.iter().find(of_name)
    });
    let origin = match (bringer, copy.version_from) {
        (Some(wheel), _) => format!("brought by the wheel {} {}", wheel.name, wheel.version),
        (None, VersionSource::DebianPackage) => "brought by a Debian package".to_owned(),
        (None, VersionSource::CondaPackage) => "brought by a package of conda".to_owned(),
        (None, _) => "part of the image that was built upon".to_owned(),
    };
    let major = copy.cuda_major.map(|major| major.to_string());
    BillPackage {
        purl: purl(
            &["generic", "nvidia", copy.component.name()],
            version.as_deref(),
            &[("cuda", major.as_deref())],
        ),
        licence: cuda_licence::licence(copy.component),
        supplier: Some(NVIDIA.to_owned()),
        location: Some(copy.directory.clone()),
        part_of: bringer.map(|it| purl(&["pypi", it.name.as_ref()], Some(&it.version.to_string()), &[])),
        ..bare(PackageKind::Cuda, copy.component.name(), version.as_deref(), &origin)
    }
}

/// The packages that dpkg has installed, by its `status` or, in images without dpkg, the paragraphs of `status.d`.
fn debian(contents: &BillContents<'_>) -> Vec<BillPackage> {
    let is_status = |path: &str| path == "var/lib/dpkg/status" || path.starts_with("var/lib/dpkg/status.d/");
    let texts = contents.evidence.files().filter(|(path, _)| is_status(path)).filter_map(|(_, file)| {
        match file.content() {
            FileContent::Text(text) => Some(String::from_utf8_lossy(text)),
            _ => None,
        }
    });
    let mut packages = Vec::new();
    for text in texts {
        let paragraphs = deb822::paragraphs(&text).map_while(Result::ok);
        packages.extend(paragraphs.filter_map(|paragraph| debian_package(&paragraph, contents)));
    }
    packages
}

fn debian_package(paragraph: &Paragraph<'_>, contents: &BillContents<'_>) -> Option<BillPackage> {
    let in_place = |status: &str| status.ends_with(" installed");
    if !paragraph.get("Status").is_none_or(in_place) {
        return None;
    }
    let (name, version) = (paragraph.get("Package")?, paragraph.get("Version")?);
    let architecture = paragraph.get("Architecture");
    let (id, release) = match &contents.software.system {
        Some((id, release)) => (id.as_str(), release.as_deref()),
        None => ("debian", None),
    };
    let distro = release.map(|release| format!("{id}-{release}"));
    // `Source: gcc-12 (12.2.0-14)`: without a field, it has the package's own name.
    let source = paragraph.get("Source").and_then(|source| source.split_whitespace().next());
    let upstream = source.filter(|source| *source != name);
    let qualifiers = [("arch", architecture), ("distro", distro.as_deref()), ("upstream", upstream)];
    let text = |field: &str| paragraph.get(field).map(str::to_owned);
    Some(BillPackage {
        licence: debian_licence(name, contents.evidence),
        purl: purl(&["deb", id, name], Some(version), &qualifiers),
        supplier: text("Maintainer").map(|maintainer| one_line(&maintainer)),
        home_page: text("Homepage"),
        sha256: contents.known.debian.get(name).copied(),
        ..bare(PackageKind::Debian, name, Some(version), "installed by dpkg")
    })
}

/// The licence that the copyright file of a package states, where it is in the readable form.
fn debian_licence(name: &str, evidence: &CheckFacts) -> Licence {
    let licence = || {
        let (path, file) = evidence.file(&format!("usr/share/doc/{name}/copyright"))?;
        let FileContent::Text(synopses) = file.content() else { return None };
        Some(debian_licence::licence(&String::from_utf8_lossy(synopses), &path))
    };
    licence().unwrap_or(Licence::Unknown)
}

fn bare(kind: PackageKind, name: &str, version: Option<&str>, origin: &str) -> BillPackage {
    BillPackage {
        kind,
        name: name.to_owned(),
        version: version.map(str::to_owned),
        purl: String::new(),
        licence: Licence::Unknown,
        supplier: None,
        home_page: None,
        sha256: None,
        location: None,
        origin: origin.to_owned(),
        part_of: None,
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
