//! The newer versions of what is locked.

use std::collections::BTreeMap;

use serde::Serialize;
use uv_normalize::PackageName;
use uv_pep440::Version;

use super::{Lock, LockedBase};

/// The kind of something that is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockedKind {
    /// The image that is built upon.
    Base,
    /// A Debian package.
    Debian,
    /// A Python distribution.
    Distribution,
}

/// Something that is locked, where something newer is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutdatedItem {
    /// Its kind.
    pub kind: LockedKind,
    /// Its name; `base` for the image.
    pub name: String,
    /// The version, or digest, that is locked.
    pub locked: String,
    /// The newest that the recipe allows together with everything else; `None` where it would no longer be needed.
    pub allowed: Option<String>,
    /// The newest that its index or suite has.
    pub newest: Option<String>,
}

/// The items of `locked` that `latest`, a lock made of the same recipe now, has in other versions, or of which the index has a
/// newer one: its newest versions are `newest`.
pub fn outdated(locked: &Lock, latest: &Lock, newest: &BTreeMap<PackageName, Version>) -> Vec<OutdatedItem> {
    let mut items: Vec<OutdatedItem> = base(locked, latest).into_iter().collect();
    items.extend(debian(locked, latest));
    items.extend(distributions(locked, latest, newest));
    items
}

fn base(locked: &Lock, latest: &Lock) -> Option<OutdatedItem> {
    let digest = |lock: &Lock| match &lock.base {
        LockedBase::Image(image) => Some(image.manifest.to_string()),
        LockedBase::Debian(_) => None,
    };
    let (locked, latest) = (digest(locked)?, digest(latest));
    (Some(&locked) != latest.as_ref()).then(|| OutdatedItem {
        kind: LockedKind::Base,
        name: "base".to_owned(),
        locked,
        allowed: latest.clone(),
        newest: latest,
    })
}

fn debian(locked: &Lock, latest: &Lock) -> Vec<OutdatedItem> {
    let versions = |lock: &Lock| -> BTreeMap<String, String> {
        let packages = lock.base.packages().iter();
        packages.map(|package| (package.name.clone(), package.version.to_string())).collect()
    };
    let now = versions(latest);
    let item = |(name, locked): (String, String)| {
        let allowed = now.get(&name).cloned();
        (allowed.as_ref() != Some(&locked)).then(|| OutdatedItem {
            kind: LockedKind::Debian,
            name,
            locked,
            newest: allowed.clone(),
            allowed,
        })
    };
    versions(locked).into_iter().filter_map(item).collect()
}

fn distributions(locked: &Lock, latest: &Lock, newest: &BTreeMap<PackageName, Version>) -> Vec<OutdatedItem> {
    // Of one name there may be several, for several toolkits: the highest is told.
    let versions = |lock: &Lock| {
        let mut versions = BTreeMap::<PackageName, Version>::new();
        for distribution in &lock.distributions {
            let version =
                versions.entry(distribution.name().clone()).or_insert(distribution.version().clone());
            *version = distribution.version().max(version).clone();
        }
        versions
    };
    let now = versions(latest);
    let item = |(name, locked): (PackageName, Version)| {
        let (allowed, newest) = (now.get(&name), newest.get(&name));
        let is_newer = allowed != Some(&locked) || newest.is_some_and(|newest| *newest > locked);
        is_newer.then(|| OutdatedItem {
            kind: LockedKind::Distribution,
            name: name.to_string(),
            locked: locked.to_string(),
            allowed: allowed.map(Version::to_string),
            newest: newest.or(allowed).map(Version::to_string),
        })
    };
    versions(locked).into_iter().filter_map(item).collect()
}
