//! The changes between two locks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Lock, LockedBase};
use crate::oci::Digest;

/// Something that is locked at other versions than before.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LockChange {
    /// The name of the changed item: a distribution, `base`, or a package of the base.
    pub name: String,
    /// Its versions before; empty when it is new.
    pub before: Vec<String>,
    /// Its versions now; empty when it is gone.
    pub after: Vec<String>,
}

impl fmt::Display for LockChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, before, after } = self;
        let (gone, new) = (without(before, after), without(after, before));
        let [all_before, all_after] = [before, after].map(|versions| versions.join(" and "));
        match (before.is_empty(), after.is_empty()) {
            (true, _) => write!(f, "added {name} {all_after}"),
            (_, true) => write!(f, "removed {name} {all_before}"),
            _ if gone.is_empty() => write!(f, "added {name} {new} beside {all_before}"),
            _ if new.is_empty() => write!(f, "removed {name} {gone}, {all_after} stays"),
            _ => write!(f, "moved {name} {all_before} to {all_after}"),
        }
    }
}

/// Those of the versions that are not among `others`.
fn without(versions: &[String], others: &[String]) -> String {
    let rest: Vec<&str> = versions.iter().filter(|it| !others.contains(it)).map(String::as_str).collect();
    rest.join(" and ")
}

/// The changes from `before` to `after`: the base's packages first, then the distributions.
pub fn changes(before: &Lock, after: &Lock) -> Vec<LockChange> {
    let mut changes = moved(base_versions(&before.base), base_versions(&after.base));
    changes.extend(moved(distribution_versions(before), distribution_versions(after)));
    changes.extend(replaced(before, after));
    changes
}

/// The distributions whose file is another one under the same name.
fn replaced(before: &Lock, after: &Lock) -> Vec<LockChange> {
    let digests = |lock: &Lock| -> BTreeMap<String, (String, Digest)> {
        let wheels = lock.distributions.iter();
        wheels.map(|it| (it.wheel().0.to_string(), (it.name().to_string(), *it.wheel().1))).collect()
    };
    let before = digests(before);
    let told = |wheel: &String, digest: &Digest| vec![format!("{wheel} ({digest})")];
    let changed = digests(after).into_iter().filter_map(|(wheel, (name, digest))| {
        let (_, old) = before.get(&wheel).filter(|(_, old)| *old != digest)?;
        Some(LockChange { name, before: told(&wheel, old), after: told(&wheel, &digest) })
    });
    changed.collect()
}

type Versions = BTreeMap<String, Vec<String>>;

fn distribution_versions(lock: &Lock) -> Versions {
    let mut versions = Versions::new();
    for distribution in &lock.distributions {
        let name = distribution.name().to_string();
        versions.entry(name).or_default().push(distribution.version().to_string());
    }
    versions
}

fn base_versions(base: &LockedBase) -> Versions {
    let packages = base.packages().iter();
    let mut versions: Versions =
        packages.map(|package| (package.name.clone(), vec![package.version.as_str().to_owned()])).collect();
    if let LockedBase::Image(image) = base {
        versions.insert("base".to_owned(), vec![image.manifest.to_string()]);
    }
    versions
}

fn moved(before: Versions, after: Versions) -> Vec<LockChange> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let versions = |versions: &Versions, name: &String| versions.get(name).cloned().unwrap_or_default();
    names
        .into_iter()
        .map(|name| LockChange {
            name: name.clone(),
            before: versions(&before, name),
            after: versions(&after, name),
        })
        .filter(|change| change.before != change.after)
        .collect()
}
