//! The system that a maintainer script sees: the tree, where it stands in it, and what it reads and writes.

use std::collections::BTreeMap;

use super::super::tree::{Attributes, Tree};
use crate::debian::dpkg::{Alternative, InstalledPackage};
use crate::oci::EntryKind;

/// A text that a script works with; `None` where it depends on something that is not worked out.
pub(in super::super) type ShellValue = Option<String>;

/// The longest text that a script works with, in bytes: a package's list of files takes some 100 KB.
const LONGEST_VALUE: usize = 4 << 20;

/// The outcome of a program that is done natively.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Done {
    /// It ended with this status.
    Status(u8),
    /// Nothing of the image depends on it but its status, which is not known.
    Unknown,
    /// It asks for something that is not done natively.
    NotFollowed,
}

impl Done {
    pub(super) const SUCCESS: Self = Self::Status(0);
    pub(super) const FAILURE: Self = Self::Status(1);

    /// Success where `holds`, else failure.
    pub(super) fn of(holds: bool) -> Self {
        if holds { Self::SUCCESS } else { Self::FAILURE }
    }
}

/// The times at which dpkg runs scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Stage {
    /// Before the package's own files are there: what is removed then is unpacked later.
    BeforeUnpacking,
    /// After all packages are unpacked.
    Configuring,
}

/// The system as the scripts have made it so far.
pub(in super::super) struct System<'t, 'a> {
    pub tree: &'t mut Tree<'a>,
    /// The groups of `update-alternatives`, by name.
    pub alternatives: BTreeMap<String, Alternative>,
    /// The answers to debconf's questions, by their names.
    pub answers: BTreeMap<String, String>,
    /// The package whose script it is.
    pub package: &'a InstalledPackage,
    pub stage: Stage,
    /// The working directory, absolute.
    pub directory: String,
    pub umask: u32,
    /// The standard input.
    pub input: ShellValue,
    /// The standard output so far.
    pub output: ShellValue,
    /// The files that `mktemp` has named.
    pub temporary: Vec<String>,
}

impl<'t, 'a> System<'t, 'a> {
    /// A system on which no script has run.
    pub(super) fn new(tree: &'t mut Tree<'a>, package: &'a InstalledPackage) -> Self {
        Self {
            tree,
            alternatives: BTreeMap::new(),
            answers: BTreeMap::new(),
            package,
            stage: Stage::Configuring,
            directory: "/".into(),
            umask: 0o022,
            input: Some(String::new()),
            output: Some(String::new()),
            temporary: Vec::new(),
        }
    }

    /// `path` from the root, where it is relative to the working directory.
    pub(super) fn path(&self, path: &str) -> String {
        if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", self.directory) }
    }

    /// Writes to the standard output.
    pub(super) fn write(&mut self, text: &str) {
        let Some(output) = &mut self.output else { return };
        output.push_str(text);
        if output.len() > LONGEST_VALUE {
            self.output = None;
        }
    }

    /// Writes text that is not known.
    pub(super) fn write_unknown(&mut self) {
        self.output = None;
    }

    /// Takes all of the standard input.
    pub(super) fn read_all(&mut self) -> ShellValue {
        self.input.replace(String::new())
    }

    /// The kind of what `path` leads to.
    pub(super) fn kind(&self, path: &str) -> Option<EntryKind> {
        let resolved = self.tree.resolved(&self.path(path))?;
        match resolved.as_str() {
            "" => Some(EntryKind::Directory),
            resolved => self.tree.kind(resolved).cloned(),
        }
    }

    /// The kind of the entry at `path` itself.
    pub(super) fn kind_of_link(&self, path: &str) -> Option<EntryKind> {
        self.tree.kind(&self.path(path)).cloned()
    }

    /// Returns whether `path` leads to a regular file.
    pub(super) fn is_file(&self, path: &str) -> bool {
        matches!(self.kind(path), Some(EntryKind::File { .. } | EntryKind::Hardlink { .. }))
    }

    /// Returns whether `path` leads to a directory.
    pub(super) fn is_directory(&self, path: &str) -> bool {
        self.kind(path) == Some(EntryKind::Directory)
    }

    /// Returns whether `path` leads to a file that may be run.
    pub(super) fn is_program(&self, path: &str) -> bool {
        let mode = self.tree.attributes(&self.path(path)).map_or(0, |attributes| attributes.mode);
        self.is_file(path) && mode & 0o111 != 0
    }

    /// The place of a program in the directories for programs.
    pub(super) fn program(&self, name: &str) -> Option<String> {
        const DIRECTORIES: [&str; 6] =
            ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
        if name.contains('/') {
            return self.is_program(name).then(|| name.to_owned());
        }
        let places = DIRECTORIES.iter().map(|directory| format!("{directory}/{name}"));
        places.into_iter().find(|place| self.is_program(place))
    }

    /// Changes the owner or the permissions of what `path` leads to; fails where nothing is there.
    pub(super) fn change(&mut self, path: &str, change: impl FnOnce(&mut Attributes)) -> bool {
        let path = self.path(path);
        let Some(mut attributes) = self.tree.attributes(&path) else { return false };
        change(&mut attributes);
        self.tree.set_attributes(&path, attributes);
        true
    }

    /// Makes a directory; fails where something is there, or where it has no place.
    pub(super) fn make_directory(&mut self, path: &str, mode: Option<u32>) -> bool {
        let place = self.path(path);
        let parent = place.trim_end_matches('/').rsplit_once('/').map_or("/", |(parent, _)| parent);
        if self.tree.has(&place) || !self.tree.has_directory(if parent.is_empty() { "/" } else { parent }) {
            return false;
        }
        self.tree.directory(&place, mode.unwrap_or(0o777 & !self.umask), 0);
        true
    }

    /// Writes a file in place of what is there, or behind it.
    pub(super) fn write_file(&mut self, path: &str, text: &str, appends: bool) {
        let place = self.path(path);
        let is_new = !self.tree.has(&place);
        let before = if appends { self.tree.text(&place).unwrap_or_default() } else { String::new() };
        self.tree.file_in_place(&place, before + text);
        if is_new {
            let mode = 0o666 & !self.umask;
            self.change(path, |attributes| attributes.mode = mode);
        }
    }

    /// Removes what is at `path`, unless it is unpacked again later.
    pub(super) fn remove(&mut self, path: &str) {
        let place = self.path(path);
        let real = self.tree.real(&place).unwrap_or_default();
        let is_shipped = self.tree.input().entries.contains_key(real.as_str());
        if self.stage == Stage::Configuring || !is_shipped {
            self.tree.remove(&place);
        }
    }

    /// The id of a user, given by its name or number.
    pub(super) fn user_id(&self, name: &str) -> Option<u64> {
        name.parse().ok().or_else(|| self.id("etc/passwd", name))
    }

    /// The id of a group, given by its name or number.
    pub(super) fn group_id(&self, name: &str) -> Option<u64> {
        name.parse().ok().or_else(|| self.id("etc/group", name))
    }

    fn id(&self, file: &str, name: &str) -> Option<u64> {
        let text = self.tree.text(file)?;
        let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
        line.split(':').nth(2)?.parse().ok()
    }
}
