//! The entries of all packages as one file system, each path once, as dpkg's writing of one after another leaves it.

use std::collections::{BTreeMap, BTreeSet};

use super::ground::Ground;
use crate::debian::dpkg::InstalledPackage;
use crate::debian::usrmerge::follow;
use crate::debian::{deb822, relation};
use crate::failure::Hinted;
use crate::oci::{Entry, EntryKind};

/// One entry, and the content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnpackedEntry {
    /// The entry, as a layer has it.
    pub entry: Entry,
    /// The package it belongs to, as an index of the packages: of a shared directory, the first.
    pub package: usize,
    /// The place of its content.
    pub content: EntryContent,
}

/// The place of an entry's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryContent {
    /// It has none: it is not a regular file.
    Nothing,
    /// In the spool, in bytes.
    Spool {
        /// The start in the spool, in bytes.
        offset: u64,
        /// The length in bytes.
        length: u64,
    },
}

/// Two packages, or one, whose entries have no place together.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum MergeError {
    #[error("`{path}` is in both {first} and {second}")]
    Collision { path: String, first: String, second: String },
    #[error("`{path}` of the package `{package}` leads through links in a circle, or out of the image")]
    Link { package: String, path: String },
    #[error("`{path}` of the package `{package}` is a hard link to `{target}`, which it does not contain")]
    HardlinkTarget { package: String, path: String, target: String },
}

impl Hinted for MergeError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Collision { .. } => "leave one of the two packages out of the package list".into(),
            Self::Link { .. } | Self::HardlinkTarget { .. } => {
                "the package is damaged: leave it out of the package list, or report it to its archive".into()
            }
        })
    }
}

/// The entries of `packages` in the order of their paths; a hard link comes after its target. They lie where the links,
/// diversions and filters of `ground` put them.
pub fn merge(
    entries: Vec<UnpackedEntry>,
    ground: &Ground,
    packages: &[InstalledPackage],
) -> Result<Vec<UnpackedEntry>, MergeError> {
    let is_wanted = |unpacked: &UnpackedEntry| {
        let may_hold_others = matches!(unpacked.entry.kind, EntryKind::Directory | EntryKind::Symlink { .. });
        !ground.filters.leaves_out(&unpacked.entry.path, may_hold_others)
    };
    let entries = entries.into_iter().filter(is_wanted).collect();
    let mut entries = follow_links(entries, ground, packages)?;
    divert(&mut entries, ground, packages);
    let entries = by_path(entries, packages)?;
    let entries = order_hardlinks(entries, packages)?;
    Ok(entries.into_values().collect())
}

/// Moves every entry to where it ends up when the links on its path are followed, as dpkg's writing does.
fn follow_links(
    mut entries: Vec<UnpackedEntry>,
    ground: &Ground,
    packages: &[InstalledPackage],
) -> Result<Vec<UnpackedEntry>, MergeError> {
    let links: BTreeMap<String, String> = entries
        .iter()
        .filter_map(|UnpackedEntry { entry, .. }| match &entry.kind {
            EntryKind::Symlink { target } => Some((entry.path.clone(), target.clone())),
            _ => None,
        })
        .collect();
    let link = |path: &str| match ground.entries.contains_key(path) {
        true => ground.link(path),
        false => ground.layout.link(path).or_else(|| links.get(path).cloned()),
    };
    for UnpackedEntry { entry, package, .. } in &mut entries {
        let circle =
            || MergeError::Link { package: packages[*package].name.clone(), path: entry.path.clone() };
        let mut path = follow(&entry.path, &link).ok_or_else(circle)?;
        if entry.kind == EntryKind::Directory {
            path = ground.layout.place(&path);
        }
        if let EntryKind::Hardlink { target } = &mut entry.kind {
            *target = follow(target, &link).ok_or_else(circle)?;
        }
        entry.path = path;
    }
    Ok(entries)
}

/// Moves the files that diversions of `ground` put elsewhere.
fn divert(entries: &mut [UnpackedEntry], ground: &Ground, packages: &[InstalledPackage]) {
    let real = |path: &str| ground.real(path);
    let diversions = ground.diversions.iter();
    let diverted: BTreeMap<String, (String, &str)> = diversions
        .filter_map(|one| Some((real(&one.from)?, (real(&one.to)?, one.package.as_str()))))
        .collect();
    for UnpackedEntry { entry, package, .. } in entries {
        if let Some((to, by)) = diverted.get(&entry.path)
            && packages[*package].name != *by
            && entry.kind != EntryKind::Directory
        {
            entry.path.clone_from(to);
        }
    }
}

/// The entries by path, each path once.
fn by_path(
    entries: Vec<UnpackedEntry>,
    packages: &[InstalledPackage],
) -> Result<BTreeMap<String, UnpackedEntry>, MergeError> {
    let mut merged: BTreeMap<String, UnpackedEntry> = BTreeMap::new();
    for entry in entries {
        match merged.get(&entry.entry.path) {
            Some(before) if !supersedes(&entry, before, packages)? => {}
            _ => drop(merged.insert(entry.entry.path.clone(), entry)),
        }
    }
    for (path, entry) in &merged {
        let ancestors = path.match_indices('/').filter_map(|(end, _)| merged.get(&path[..end]));
        let mut obstacles = ancestors.filter(|ancestor| ancestor.entry.kind != EntryKind::Directory);
        if let Some(obstacle) = obstacles.next() {
            return Err(collision(obstacle, entry, packages));
        }
    }
    Ok(merged)
}

/// Returns whether `later` takes the place of `before`, at the same path.
fn supersedes(
    later: &UnpackedEntry,
    before: &UnpackedEntry,
    packages: &[InstalledPackage],
) -> Result<bool, MergeError> {
    use EntryKind::{Directory, File, Symlink};
    match (&before.entry.kind, &later.entry.kind) {
        (Directory | Symlink { .. }, Directory) => Ok(false),
        (Directory, Symlink { .. }) => Ok(true),
        // Both spellings of a path of a merged /usr, one a link to the other.
        (File { .. }, Symlink { .. }) if before.package == later.package => Ok(false),
        (Symlink { .. }, File { .. }) if before.package == later.package => Ok(true),
        _ if replaces(&packages[later.package], &packages[before.package]) => Ok(true),
        _ if replaces(&packages[before.package], &packages[later.package]) => Ok(false),
        _ => Err(collision(before, later, packages)),
    }
}

fn collision(first: &UnpackedEntry, second: &UnpackedEntry, packages: &[InstalledPackage]) -> MergeError {
    let name = |entry: &UnpackedEntry| format!("`{}`", packages[entry.package].name);
    MergeError::Collision { path: first.entry.path.clone(), first: name(first), second: name(second) }
}

/// Returns whether `package` says that it takes over files of `other`.
///
/// <https://www.debian.org/doc/debian-policy/ch-relationships.html#overwriting-files-in-other-packages>
pub fn replaces(package: &InstalledPackage, other: &InstalledPackage) -> bool {
    let control = package.control.text("control").unwrap_or_default();
    let Ok(fields) = deb822::paragraph(&control) else { return false };
    let relations = relation::parse_list(fields.get("Replaces").unwrap_or("")).unwrap_or_default();
    let version = other.version.parse().ok();
    relations.iter().any(|relation| {
        relation.name == other.name && version.as_ref().is_some_and(|version| relation.admits(version))
    })
}

/// Makes the first path of every file the file, and its other names links to it.
fn order_hardlinks(
    mut entries: BTreeMap<String, UnpackedEntry>,
    packages: &[InstalledPackage],
) -> Result<BTreeMap<String, UnpackedEntry>, MergeError> {
    let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, entry) in &entries {
        if let EntryKind::Hardlink { target } = &entry.entry.kind {
            let file = linked_file(&entries, entry, target).ok_or_else(|| MergeError::HardlinkTarget {
                package: packages[entry.package].name.clone(),
                path: path.clone(),
                target: target.clone(),
            })?;
            groups.entry(file.to_owned()).or_default().insert(path.clone());
        }
    }
    for (file, mut names) in groups {
        let Some(UnpackedEntry { entry, content, .. }) = entries.get(&file).cloned() else { continue };
        names.insert(file);
        let mut names = names.into_iter();
        let Some(first) = names.next() else { continue };
        let link = EntryKind::Hardlink { target: first.clone() };
        let rest = names.map(|name| (name, link.clone(), EntryContent::Nothing));
        for (name, kind, content) in std::iter::once((first, entry.kind, content)).chain(rest) {
            if let Some(member) = entries.get_mut(&name) {
                member.entry.kind = kind;
                member.content = content;
            }
        }
    }
    Ok(entries)
}

/// The file of the same package that a hard link leads to, maybe through another.
fn linked_file<'a>(
    entries: &'a BTreeMap<String, UnpackedEntry>,
    from: &UnpackedEntry,
    target: &str,
) -> Option<&'a str> {
    let mut target = target;
    for _ in 0..=entries.len().min(1000) {
        let (path, entry) =
            entries.get_key_value(target).filter(|(_, entry)| entry.package == from.package)?;
        match &entry.entry.kind {
            EntryKind::File { .. } => return Some(path),
            EntryKind::Hardlink { target: next } => target = next,
            _ => return None,
        }
    }
    None
}
