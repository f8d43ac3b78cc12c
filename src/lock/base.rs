//! A base in a lock: everything decided about it, and nothing that can be derived from that.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::Url;

use crate::bootstrap::select::{Reason, Selected, Selection};
use crate::credentials::{redacted, without_secrets};
use crate::debian::packages::is_safe_location;
use crate::debian::relation::is_package_name;
use crate::debian::version::DebianVersion;
use crate::oci::{Architecture, Digest};
use crate::recipe::Timestamp;

/// The base that a recipe was locked with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockedBase {
    /// Packages of Debian.
    Debian(DebianBase),
    /// An image.
    Image(ImageBase),
}

impl LockedBase {
    /// The same base, whose added packages are to be chosen anew.
    pub fn without_added_packages(&self) -> Self {
        match self {
            Self::Image(image) => Self::Image(ImageBase { packages: None, ..image.clone() }),
            Self::Debian(_) => self.clone(),
        }
    }

    /// The Debian packages: those of the base, or those that are added to an image.
    pub fn packages(&self) -> &[LockedPackage] {
        match self {
            Self::Debian(base) => &base.packages,
            Self::Image(image) => image.packages.as_ref().map(|added| &*added.packages).unwrap_or_default(),
        }
    }
}

/// A base that is an image: it is the same while these are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ImageBase {
    /// The digest of its manifest.
    pub manifest: Digest,
    /// The digest of its inventory, with the packages that are added to it: everything about CUDA was decided from that.
    pub inventory: Digest,
    /// The Debian packages that are added to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packages: Option<DebianBase>,
}

/// Debian packages: those of a base, or those that are added to an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DebianBase {
    /// The architecture of its packages.
    pub architecture: Architecture,
    /// In the order of the description.
    #[serde(rename = "suite")]
    pub suites: Vec<LockedSuite>,
    /// In the order in which they are unpacked.
    #[serde(rename = "package")]
    pub packages: Vec<LockedPackage>,
}

/// A suite that packages were taken from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedSuite {
    /// The suite's name.
    pub name: String,
    /// The archive's root, without credentials: where the image's apt finds the suite again.
    #[serde(deserialize_with = "read_mirror")]
    pub mirror: Url,
    /// The components that packages are taken from.
    pub components: Vec<String>,
    /// The keyring in the image that signs the suite.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "read_keyring")]
    pub keyring: Option<String>,
    /// The publisher: `Debian`, `Ubuntu`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// `bookworm`, `jammy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codename: Option<String>,
    /// The time of its release's publication.
    pub published: Timestamp,
}

/// A package of a base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedPackage {
    /// The package's name.
    #[serde(deserialize_with = "read_name")]
    pub name: String,
    /// Its version.
    pub version: DebianVersion,
    /// Debian's name of its architecture, or `all`.
    #[serde(deserialize_with = "read_name")]
    pub architecture: String,
    /// The path of the `.deb`, under the archive's root.
    #[serde(deserialize_with = "read_location")]
    pub filename: String,
    /// The size of the `.deb`, in bytes.
    pub size: u64,
    /// The digest of the `.deb`.
    pub digest: Digest,
    /// The index that it is from, counted over the components of all suites.
    #[serde(default, skip_serializing_if = "is_default")]
    pub index: usize,
    /// True if the essential packages need it, or it is one of them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub system: bool,
    /// The reason why it is part of the base.
    #[serde(serialize_with = "write_reason", deserialize_with = "read_reason")]
    pub because: Reason,
}

/// A text of which `is_sound` must hold; what it should be is said where it does not.
fn sound<'de, D: Deserializer<'de>>(
    deserializer: D,
    what: &str,
    is_sound: impl Fn(&str) -> bool,
) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    match is_sound(&text) {
        true => Ok(text),
        false => Err(D::Error::custom(format!("`{}` is no {what}", text.escape_debug()))),
    }
}

fn read_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    sound(deserializer, "name of a package or an architecture", is_package_name)
}

fn read_location<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    sound(deserializer, "path below an archive", is_safe_location)
}

/// The keyring is named in the image's sources of apt: nothing else may be said there.
fn read_keyring<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let is_sound = |path: &str| {
        path.strip_prefix("/usr/share/keyrings/")
            .is_some_and(|name| is_safe_location(name) && !name.contains(':'))
    };
    sound(deserializer, "keyring of an image", is_sound).map(Some)
}

fn read_mirror<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    let url = Url::deserialize(deserializer)?;
    let is_plain = matches!(url.scheme(), "http" | "https") && url == without_secrets(&url);
    match is_plain && url.path().ends_with('/') {
        true => Ok(url),
        false => Err(D::Error::custom(format!("`{}` is no archive's root", redacted(&url)))),
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl DebianBase {
    /// The packages of `selection`, from `suites`.
    pub fn new(architecture: Architecture, suites: Vec<LockedSuite>, selection: Selection) -> Self {
        let packages = selection.packages.into_iter().map(LockedPackage::from).collect();
        Self { architecture, suites, packages }
    }

    /// The selection that was locked.
    pub fn selection(&self) -> Selection {
        Selection { packages: self.packages.iter().cloned().map(Selected::from).collect() }
    }

    /// The publication of the newest suite, in Unix seconds.
    pub fn published(&self) -> u64 {
        let newest = self.suites.iter().map(|suite| suite.published.unix_seconds()).max();
        newest.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or_default()
    }

    /// The suite that the index of this number belongs to.
    pub fn suite_of(&self, index: usize) -> Option<usize> {
        let suites = self.suites.iter().enumerate();
        suites.flat_map(|(at, suite)| std::iter::repeat_n(at, suite.components.len().max(1))).nth(index)
    }
}

impl From<Selected> for LockedPackage {
    fn from(selected: Selected) -> Self {
        let Selected { name, version, architecture, index, filename, size, sha256, reason, system } =
            selected;
        Self { name, version, architecture, filename, size, digest: sha256, index, system, because: reason }
    }
}

impl From<LockedPackage> for Selected {
    fn from(package: LockedPackage) -> Self {
        let LockedPackage { name, version, architecture, filename, size, digest, index, system, because } =
            package;
        Self { name, version, architecture, index, filename, size, sha256: digest, reason: because, system }
    }
}

/// A reason in words: `essential`, `requested`, `python3 needs libc6 (>= 2.36)`.
struct Words<'a>(&'a Reason);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Reason::Essential => f.write_str("essential"),
            Reason::Requested => f.write_str("requested"),
            Reason::Needed { by, dependency } => write!(f, "{by} needs {dependency}"),
        }
    }
}

fn write_reason<S: Serializer>(reason: &Reason, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Words(reason))
}

fn read_reason<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Reason, D::Error> {
    let text = String::deserialize(deserializer)?;
    match (text.as_str(), text.split_once(" needs ")) {
        ("essential", _) => Ok(Reason::Essential),
        ("requested", _) => Ok(Reason::Requested),
        (_, Some((by, dependency))) => {
            Ok(Reason::Needed { by: by.to_owned(), dependency: dependency.to_owned() })
        }
        _ => Err(D::Error::custom(format!("`{text}` is no reason for a package"))),
    }
}
