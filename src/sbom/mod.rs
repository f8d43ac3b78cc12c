//! The bill of materials of an image: what is really installed in it, with licences and origins.
//!
//! ```text
//! InstalledSoftware + CheckFacts ─ contents ─► Bill ─ spdx | cyclonedx ─► JSON
//! ```
//!
//! A decision: the same image gives the same bytes. There is no clock but the image's own time, and identifiers are derived.

mod contents;
mod cuda_licence;
mod cyclonedx;
mod debian_licence;
mod licence;
mod spdx;

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use crate::oci::{Architecture, Digest};

pub use contents::{BillContents, KnownDigests, packages};
pub use licence::Licence;

/// The name and version of this program, as documents name their maker.
pub const TOOL: (&str, &str) = ("imgforge", env!("CARGO_PKG_VERSION"));

/// A bill of materials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    /// The image.
    pub subject: BillSubject,
    /// Sorted by kind, name, version and place.
    pub packages: Vec<BillPackage>,
}

/// The image that a bill is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillSubject {
    /// Its name: `app`.
    pub name: String,
    /// The digest of its manifest, or of its config where it has no manifest.
    pub digest: Digest,
    /// The architecture that it runs on.
    pub architecture: Architecture,
    /// The time of its creation, in Unix seconds.
    pub created: u64,
}

/// The kind of a package, which decides the type of its purl.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PackageKind {
    /// A package that conda installed.
    Conda,
    /// A copy of a CUDA component.
    Cuda,
    /// A package that dpkg installed.
    Debian,
    /// A program that no package manager installed.
    Program,
    /// A Python distribution.
    Python,
}

/// Something that is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillPackage {
    /// Its kind.
    pub kind: PackageKind,
    /// Its name, as its package manager has it.
    pub name: String,
    /// Its version, where anything tells it.
    pub version: Option<String>,
    /// <https://github.com/package-url/purl-spec>
    pub purl: String,
    /// Its licence, as it states it.
    pub licence: Licence,
    /// Its maker, as it states it.
    pub supplier: Option<String>,
    /// Its home on the web.
    pub home_page: Option<String>,
    /// The digest of the file that it was installed from, where that is known.
    pub sha256: Option<Digest>,
    /// Its place in the image, relative to the root.
    pub location: Option<String>,
    /// Its origin, for people.
    pub origin: String,
    /// The purl of the package that brought it, where another one did.
    pub part_of: Option<String>,
}

impl PackageKind {
    /// The type in a purl.
    pub fn purl_type(self) -> &'static str {
        match self {
            Self::Conda => "conda",
            Self::Cuda | Self::Program => "generic",
            Self::Debian => "deb",
            Self::Python => "pypi",
        }
    }
}

/// The formats of bills.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BillFormat {
    /// SPDX 2.3, as JSON.
    Spdx,
    /// CycloneDX 1.6, as JSON.
    CycloneDx,
}

impl BillFormat {
    /// The media type of a document, by which a registry names it too.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Spdx => "application/spdx+json",
            Self::CycloneDx => "application/vnd.cyclonedx+json",
        }
    }
}

impl BillFormat {
    /// The type of a statement's predicate that is such a document.
    pub fn predicate(self) -> &'static str {
        match self {
            Self::Spdx => "https://spdx.dev/Document",
            Self::CycloneDx => "https://cyclonedx.org/bom",
        }
    }
}

impl FromStr for BillFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "spdx-json" => Ok(Self::Spdx),
            "cyclonedx-json" => Ok(Self::CycloneDx),
            _ => Err("write spdx-json or cyclonedx-json"),
        }
    }
}

impl fmt::Display for BillFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spdx => "spdx-json",
            Self::CycloneDx => "cyclonedx-json",
        })
    }
}

impl Bill {
    /// The document in a format.
    pub fn document(&self, format: BillFormat) -> Value {
        match format {
            BillFormat::Spdx => spdx::document(self),
            BillFormat::CycloneDx => cyclonedx::document(self),
        }
    }

    /// Identifiers of the packages, in their order: letters, digits, `.` and `-`, and each once.
    fn identifiers(&self) -> Vec<String> {
        let mut seen = std::collections::BTreeMap::<String, u32>::new();
        let named = |package: &BillPackage| {
            let version = package.version.as_deref().unwrap_or("unknown");
            let text = format!("{}-{}-{version}", package.kind.purl_type(), package.name);
            let usual = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
            text.chars().map(usual).collect::<String>()
        };
        let numbered = self.packages.iter().map(|package| {
            let name = named(package);
            let count = seen.entry(name.clone()).and_modify(|count| *count += 1).or_insert(1);
            if *count == 1 { name } else { format!("{name}-{count}") }
        });
        numbered.collect()
    }

    /// The place in the list of the package that brought the one at a place.
    fn bringer(&self, package: &BillPackage) -> Option<usize> {
        let purl = package.part_of.as_ref()?;
        self.packages.iter().position(|other| other.purl == *purl && other.kind != package.kind)
    }
}

#[cfg(test)]
mod tests;
