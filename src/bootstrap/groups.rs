//! The layers of a base made of packages, as data; packages are grouped so that layers stay the same while a list of
//! packages changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::select::{Reason, Selected, Selection};
use crate::debian::sources::AptSource;
use crate::debian::usrmerge::UsrLayout;
use crate::oci::Digest;

/// The most layers that a base of packages has.
pub const MOST_LAYERS: usize = 3;

/// One layer of a base made of packages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DebianLayer {
    /// The part of the base that it is.
    pub part: DebianPart,
    /// The whole base: packages divert, replace and configure each other across layers.
    pub base: Arc<DebianPackages>,
}

/// The layers of a base, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DebianPart {
    /// The essential packages and their dependencies: equal in every base of a suite at one time.
    Essential,
    /// The packages of the description, and their dependencies.
    Packages,
    /// The result of configuring them: accounts, alternatives, certificates, dpkg's database.
    Configuration,
    /// Packages that are added to an image, configured.
    Added,
}

/// The packages of a base, and what decides how they are unpacked and configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DebianPackages {
    /// The diff_ids of the image that they are added to, bottom first; none where they make a base of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub onto: Vec<Digest>,
    /// In the order in which they are unpacked.
    pub packages: Vec<DebianPackage>,
    /// The layout of `/bin`, `/lib` and their like.
    pub layout: UsrLayout,
    /// The archive's name, as in `base-files`: `debian`, `ubuntu`.
    pub archive: String,
    /// The sources of apt in the image.
    pub sources: Vec<AptSource>,
    /// The time of everything generated, in Unix seconds.
    pub published: u64,
}

/// A `.deb` of a base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DebianPackage {
    /// The package's name.
    pub name: String,
    /// The digest of the `.deb`.
    pub deb: Digest,
    /// The size of the `.deb` in bytes.
    pub size: u64,
    /// True if it belongs to [`DebianPart::Essential`].
    pub essential: bool,
    /// True if it is added to an image because others need it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub automatic: bool,
}

impl DebianLayer {
    /// A line about its content, for people.
    pub fn title(&self) -> String {
        let part = match self.part {
            DebianPart::Essential => "essential packages",
            DebianPart::Packages => "packages",
            DebianPart::Configuration => "configuration",
            DebianPart::Added => "system packages",
        };
        format!("{} {part}", self.base.archive)
    }
}

impl DebianPackages {
    /// The layers, lowest first: a part without packages has none, and packages that are added to an image have one.
    pub fn layers(self) -> Vec<DebianLayer> {
        if !self.onto.is_empty() {
            return vec![DebianLayer { part: DebianPart::Added, base: Arc::new(self) }];
        }
        let parts: BTreeSet<DebianPart> = self.packages.iter().map(DebianPackage::part).collect();
        let base = Arc::new(self);
        let parts = parts.into_iter().chain([DebianPart::Configuration]);
        parts.map(|part| DebianLayer { part, base: Arc::clone(&base) }).collect()
    }
}

impl DebianPackage {
    /// The layer of its files. A directory that several packages share is of the first of them, hence of the lowest layer.
    pub fn part(&self) -> DebianPart {
        if self.essential { DebianPart::Essential } else { DebianPart::Packages }
    }
}

impl From<&Selected> for DebianPackage {
    fn from(selected: &Selected) -> Self {
        Self {
            name: selected.name.clone(),
            deb: selected.sha256,
            size: selected.size,
            essential: selected.system,
            automatic: false,
        }
    }
}

/// The packages of a selection that is added to an image, in its order.
pub fn added_packages(selection: &Selection) -> Vec<DebianPackage> {
    let package = |selected: &Selected| DebianPackage {
        automatic: matches!(selected.reason, Reason::Needed { .. }),
        ..DebianPackage::from(selected)
    };
    selection.packages.iter().map(package).collect()
}

/// The packages of a selection, in its order.
pub fn packages(selection: &Selection) -> Vec<DebianPackage> {
    selection.packages.iter().map(DebianPackage::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(essential: &[bool]) -> Vec<DebianPart> {
        let package = |essential: &bool| DebianPackage {
            name: "p".into(),
            deb: Digest::of("p"),
            size: 1,
            essential: *essential,
            automatic: false,
        };
        let base = DebianPackages {
            onto: Vec::new(),
            packages: essential.iter().map(package).collect(),
            layout: UsrLayout::Merged,
            archive: "debian".into(),
            sources: Vec::new(),
            published: 0,
        };
        base.layers().into_iter().map(|layer| layer.part).collect()
    }

    #[test]
    fn a_base_has_a_layer_for_each_part_that_has_packages_and_its_configuration() {
        use DebianPart::{Configuration, Essential, Packages};
        assert_eq!(parts(&[true, false, true]), [Essential, Packages, Configuration]);
        assert_eq!(parts(&[true]), [Essential, Configuration]);
        assert_eq!(parts(&[]), [Configuration]);
    }
}
