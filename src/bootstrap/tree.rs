//! The file system while it is configured: the entries that the packages ship, and those generated so far.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::contents::Contents;
use super::ground::Ground;
use crate::debian::dpkg::{DpkgError, InstalledPackage};
use crate::debian::sources::AptSource;
use crate::debian::usrmerge;
use crate::failure::Hinted;
use crate::oci::{Entry, EntryKind, FileCapabilities, Generated};

/// The largest file that a configuration reads, in bytes: the largest that one needs is a keystore of 200 KB.
pub const LARGEST_READ: u64 = 4 << 20;

/// The unpacked packages and the choices that configure them.
#[derive(Clone, Copy)]
pub struct ConfigureInput<'a> {
    /// Every package that is configured.
    pub packages: &'a [InstalledPackage],
    /// Every entry that they put on the system below, by path.
    pub entries: &'a BTreeMap<&'a str, &'a Entry>,
    /// The system below them.
    pub ground: &'a Ground,
    /// The contents of the files of both; a package's go before.
    pub contents: &'a dyn Contents,
    /// The paths of the system below that are no more.
    pub removed: &'a BTreeSet<String>,
    /// The paths that packages below lost to new ones, by the names of their files under `info`.
    pub lost: &'a BTreeMap<String, BTreeSet<String>>,
    /// The names of the packages that only others need.
    pub automatic: &'a BTreeSet<&'a str>,
    /// The time of everything generated, in Unix seconds.
    pub mtime: u64,
    /// The sources of apt in the image; none when empty.
    pub sources: &'a [AptSource],
    /// The archive's name: `debian`, `ubuntu`.
    pub archive: &'a str,
    /// Debian's name of the architecture.
    pub architecture: &'a str,
}

impl<'a> ConfigureInput<'a> {
    /// The version of a package that is below, which the one that is configured takes the place of.
    pub fn before(&self, package: &InstalledPackage) -> Option<&'a InstalledPackage> {
        self.ground.package(&package.name, &package.architecture)
    }

    /// The packages below that stay as they are.
    pub fn kept(&self) -> impl Iterator<Item = &'a InstalledPackage> {
        let (packages, ground) = (self.packages, self.ground);
        ground.packages.iter().filter(move |below| {
            let mut new = packages.iter();
            !new.any(|new| {
                new.name == below.name
                    && ground.package(&new.name, &new.architecture).is_some_and(|it| std::ptr::eq(it, *below))
            })
        })
    }
}

/// The reason why a base cannot be configured.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum ConfigureError {
    #[error("the status of the package `{package}` cannot be written")]
    Status { package: String, source: DpkgError },
    #[error("could not read the base's packages")]
    Read(#[source] io::Error),
}

impl Hinted for ConfigureError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Status { source, .. } => source.hint(),
            Self::Read(error) => error.hint(),
        }
    }
}

/// The user and group that own the system.
pub(super) const ROOT: u64 = 0;

/// The owner and the permissions of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// The owner's number.
    pub uid: u64,
    /// The group's number.
    pub gid: u64,
    /// The capabilities of a program.
    pub capabilities: Option<FileCapabilities>,
}

impl Attributes {
    /// Those of `entry`, as it is shipped.
    pub fn of(entry: &Entry) -> Self {
        Self { mode: entry.mode, uid: entry.uid, gid: entry.gid, capabilities: None }
    }
}

/// The difference that the configuration makes to the packages' own entries, and to those below them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShippedChanges {
    /// Other owners and permissions, by path.
    pub attributes: BTreeMap<String, Attributes>,
    /// The paths that are no more.
    pub removed: BTreeSet<String>,
}

/// The shipped files, and the generated ones above them.
pub(super) struct Tree<'a> {
    input: &'a ConfigureInput<'a>,
    generated: BTreeMap<String, Generated>,
    changes: ShippedChanges,
    failure: RefCell<Option<io::Error>>,
}

impl<'a> Tree<'a> {
    /// The tree of `input`, before anything is generated.
    pub(super) fn new(input: &'a ConfigureInput<'a>) -> Self {
        Self {
            input,
            generated: BTreeMap::new(),
            changes: ShippedChanges { removed: input.removed.clone(), ..ShippedChanges::default() },
            failure: RefCell::new(None),
        }
    }

    /// The generated files in the order of their paths, and the changes of shipped ones.
    pub(super) fn finish(self) -> Result<(Vec<Generated>, ShippedChanges), ConfigureError> {
        match self.failure.into_inner() {
            Some(error) => Err(ConfigureError::Read(error)),
            None => Ok((self.generated.into_values().collect(), self.changes)),
        }
    }

    /// The packages and choices.
    pub(super) fn input(&self) -> &'a ConfigureInput<'a> {
        self.input
    }

    /// The installed package `name`.
    pub(super) fn package(&self, name: &str) -> Option<&'a InstalledPackage> {
        let below = || self.input.ground.packages.iter().find(|package| package.name == name);
        self.configured(name).or_else(below)
    }

    /// The package `name`, where it is among those that are configured.
    pub(super) fn configured(&self, name: &str) -> Option<&'a InstalledPackage> {
        self.input.packages.iter().find(|package| package.name == name)
    }

    /// Every installed package.
    pub(super) fn packages(&self) -> impl Iterator<Item = &'a InstalledPackage> + use<'a> {
        self.input.packages.iter().chain(self.input.kept())
    }

    /// A maintainer script or another control file of a package.
    pub(super) fn control(&self, package: &str, file: &str) -> Option<String> {
        Some(self.package(package)?.control.text(file)?.into_owned())
    }

    fn entry(&self, path: &str) -> Option<&Entry> {
        let below = || self.input.ground.entries.get(path);
        let shipped = || self.input.entries.get(path).copied().or_else(below);
        let generated = self.generated.get(path).map(|generated| &generated.entry);
        generated.or_else(|| shipped().filter(|_| !self.changes.removed.contains(path)))
    }

    /// The kind of the entry at `path`, whose directories' links are followed and which itself is not.
    pub(super) fn kind(&self, path: &str) -> Option<&EntryKind> {
        Some(&self.entry(&self.real(path)?)?.kind)
    }

    /// Returns whether something is at `path`, which may begin with a slash, once its directories' links are followed.
    pub(super) fn has(&self, path: &str) -> bool {
        self.real(path).is_some_and(|real| real.is_empty() || self.entry(&real).is_some())
    }

    /// Returns whether a directory is at `path`, or a link to one.
    pub(super) fn has_directory(&self, path: &str) -> bool {
        self.resolved(path)
            .is_some_and(|real| real.is_empty() || self.kind(&real) == Some(&EntryKind::Directory))
    }

    /// `path` with the links of its directories followed, relative to the root.
    pub(super) fn real(&self, path: &str) -> Option<String> {
        let link = |path: &str| match self.entry(path).map(|entry| &entry.kind) {
            Some(EntryKind::Symlink { target }) => Some(target.clone()),
            Some(_) => None,
            None => self.input.ground.layout.link(path),
        };
        usrmerge::follow(path, &link)
    }

    /// `path` with all links followed, itself too.
    pub(super) fn resolved(&self, path: &str) -> Option<String> {
        self.real(&format!("{path}/."))
    }

    /// The content of the file that `path` leads to: `None` where there is none, or one too large to be configured.
    pub(super) fn bytes(&self, path: &str) -> Option<Cow<'_, [u8]>> {
        let mut file = self.resolved(path)?;
        if let EntryKind::Hardlink { target } = self.kind(&file)? {
            file = target.clone();
        }
        match (self.generated.get(&file), self.kind(&file)?) {
            (Some(generated), EntryKind::File { .. }) => Some(Cow::Borrowed(&generated.bytes)),
            (None, EntryKind::File { size }) if *size <= LARGEST_READ => {
                match self.input.contents.read(&file) {
                    Ok(bytes) => Some(Cow::Owned(bytes)),
                    Err(error) => {
                        self.failure.replace(Some(error));
                        None
                    }
                }
            }
            _ => None,
        }
    }

    /// The text of the file at `path`, where it is UTF-8.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        self.bytes(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The id of a user in `etc/passwd`, or of a group in `etc/group`; root's when it is not there.
    pub(super) fn account_id(&self, file: &str, name: &str) -> u64 {
        let accounts = self.text(file).unwrap_or_default();
        let id =
            accounts.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.split(':').nth(1));
        id.and_then(|id| id.parse().ok()).unwrap_or(ROOT)
    }

    /// The paths of everything below `directory`, a real path, in order.
    pub(super) fn below(&self, directory: &str) -> Vec<String> {
        let prefix = format!("{directory}/");
        let shipped = self.input.entries.range(prefix.as_str()..).map(|(path, _)| (*path).to_owned());
        let generated = self.generated.range(prefix.clone()..).map(|(path, _)| path.clone());
        let is_below = |path: &String| path.starts_with(&prefix);
        let below = self.input.ground.below(directory).map(|(path, _)| path.to_owned());
        let shipped = shipped.take_while(is_below).chain(below);
        let shipped = shipped.filter(|path| !self.changes.removed.contains(path));
        let paths: BTreeSet<String> = shipped.chain(generated.take_while(is_below)).collect();
        paths.into_iter().collect()
    }

    /// The paths of the files below `directory`, in order.
    pub(super) fn files_below(&self, directory: &str) -> Vec<String> {
        let is_file = |path: &String| {
            matches!(self.kind(path), Some(EntryKind::File { .. } | EntryKind::Hardlink { .. }))
        };
        self.below(directory).into_iter().filter(is_file).collect()
    }

    /// The names in the directory that `path` leads to, in order.
    pub(super) fn names_in(&self, path: &str) -> Vec<String> {
        let directory = self.resolved(path).unwrap_or_default();
        let paths = if directory.is_empty() { self.top() } else { self.below(&directory) };
        let start = if directory.is_empty() { 0 } else { directory.len() + 1 };
        let names = paths.iter().map(|path| &path[start..]).filter_map(|rest| rest.split('/').next());
        names.map(str::to_owned).collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn top(&self) -> Vec<String> {
        let shipped = self.input.entries.keys().map(|path| (*path).to_owned());
        let all =
            shipped.chain(self.input.ground.entries.keys().cloned()).chain(self.generated.keys().cloned());
        all.filter(|path| !path.contains('/')).collect()
    }

    /// The owner and permissions of what `path` leads to.
    pub(super) fn attributes(&self, path: &str) -> Option<Attributes> {
        let file = self.holder(path)?;
        let changed = self.changes.attributes.get(&file).copied();
        changed.or_else(|| Some(Attributes::of(self.entry(&file)?)))
    }

    /// The path that holds the attributes of what `path` leads to.
    fn holder(&self, path: &str) -> Option<String> {
        let real = self.resolved(path)?;
        match self.kind(&real)? {
            EntryKind::Hardlink { target } => Some(target.clone()),
            _ => Some(real),
        }
    }

    /// Gives what `path` leads to another owner or other permissions.
    pub(super) fn set_attributes(&mut self, path: &str, attributes: Attributes) {
        let Some(file) = self.holder(path) else { return };
        match self.generated.get_mut(&file) {
            Some(Generated { entry, .. }) => {
                (entry.mode, entry.uid, entry.gid) = (attributes.mode, attributes.uid, attributes.gid);
            }
            None => drop(self.changes.attributes.insert(file, attributes)),
        }
    }

    /// Makes a directory unless one is there.
    pub(super) fn directory(&mut self, path: &str, mode: u32, gid: u64) {
        if !self.has(path) {
            self.add(path, mode, (ROOT, gid), EntryKind::Directory, Vec::new());
        }
    }

    /// Makes a directory that only the user `uid` may enter, or gives it to that user.
    pub(super) fn private_directory(&mut self, path: &str, uid: u64) {
        self.add(path, 0o700, (uid, ROOT), EntryKind::Directory, Vec::new());
    }

    /// Writes a file as the shell does: through links, and with the owner and permissions of the one before.
    pub(super) fn file_in_place(&mut self, path: &str, bytes: impl Into<Vec<u8>>) {
        let resolved = self.resolved(path).unwrap_or_else(|| path.to_owned());
        let before = self.attributes(&resolved).filter(|_| !self.has_directory(&resolved));
        let Attributes { mode, uid, gid, .. } =
            before.unwrap_or(Attributes { mode: 0o644, uid: ROOT, gid: ROOT, capabilities: None });
        let bytes = bytes.into();
        let kind = EntryKind::File { size: bytes.len() as u64 };
        self.add(&resolved, mode, (uid, gid), kind, bytes);
    }

    /// Makes a file of root's, in place of what is there.
    pub(super) fn file(&mut self, path: &str, mode: u32, bytes: impl Into<Vec<u8>>) {
        self.file_of(path, mode, ROOT, bytes);
    }

    /// Generates a file that belongs to root and to the group `gid`.
    pub(super) fn file_of(&mut self, path: &str, mode: u32, gid: u64, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        let kind = EntryKind::File { size: bytes.len() as u64 };
        self.add(path, mode, (ROOT, gid), kind, bytes);
    }

    /// Makes a link, in place of what is there.
    pub(super) fn symlink(&mut self, path: &str, target: &str) {
        self.add(path, 0o777, (ROOT, ROOT), EntryKind::Symlink { target: target.to_owned() }, Vec::new());
    }

    /// Copies a file with its permissions, or a link, in place of what is there; `false` where it is too large or no file.
    pub(super) fn copy(&mut self, from: &str, to: &str, follows: bool) -> bool {
        if let (false, Some(EntryKind::Symlink { target })) = (follows, self.kind(from).cloned()) {
            self.symlink(to, &target);
            return true;
        }
        let copied = self.attributes(from).zip(self.bytes(from).map(Cow::into_owned));
        let Some((Attributes { mode, uid, gid, .. }, bytes)) = copied else { return false };
        let kind = EntryKind::File { size: bytes.len() as u64 };
        self.add(to, mode, (uid, gid), kind, bytes);
        true
    }

    /// Removes the entry at `path`, not what it leads to, with everything below it.
    pub(super) fn remove(&mut self, path: &str) {
        let Some(real) = self.real(path).filter(|real| !real.is_empty()) else { return };
        for path in self.below(&real).into_iter().chain([real]) {
            self.generated.remove(&path);
            self.changes.attributes.remove(&path);
            if self.has_without_changes(&path) {
                self.changes.removed.insert(path);
            }
        }
    }

    /// Returns whether a package, or the system below, has something at `path`.
    fn has_without_changes(&self, path: &str) -> bool {
        self.input.entries.contains_key(path) || self.input.ground.entries.contains_key(path)
    }

    fn add(&mut self, path: &str, mode: u32, (uid, gid): (u64, u64), kind: EntryKind, bytes: Vec<u8>) {
        let Some(path) = self.real(path).filter(|path| !path.is_empty()) else { return };
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.directory(parent, 0o755, ROOT);
        }
        let entry = Entry { path: path.clone(), mode, uid, gid, mtime: self.input.mtime, kind };
        self.generated.insert(path, Generated { entry, bytes });
    }
}

/// A [`Tree`] over examples, for the tests of its users.
#[cfg(test)]
pub(super) mod example {
    use super::*;
    use crate::debian::archive::{Control, ControlFile};
    use crate::debian::usrmerge::UsrLayout;

    /// Packages and files to configure.
    #[derive(Default)]
    pub(crate) struct Example {
        entries: Vec<Entry>,
        files: BTreeMap<String, Vec<u8>>,
        packages: Vec<InstalledPackage>,
    }

    impl Example {
        /// A directory and those it is in.
        pub(crate) fn directory(mut self, path: &str) -> Self {
            let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
            self.entries.extend(ends.map(|end| entry(&path[..end], 0o755, EntryKind::Directory)));
            self
        }

        /// Adds a file that a package ships.
        pub(crate) fn file(mut self, path: &str, text: &str) -> Self {
            self.entries.push(entry(path, 0o644, EntryKind::File { size: text.len() as u64 }));
            self.files.insert(path.into(), text.as_bytes().to_vec());
            self
        }

        /// Adds a program that a package ships.
        pub(crate) fn program(mut self, path: &str, text: &str) -> Self {
            self = self.file(path, text);
            self.entries.last_mut().into_iter().for_each(|entry| entry.mode = 0o755);
            self
        }

        /// Adds an installed package with its control files.
        pub(crate) fn package(mut self, name: &str, control_files: &[(&str, &str)]) -> Self {
            let file = |mode, text: &str| ControlFile { mode, bytes: text.as_bytes().to_vec() };
            let control =
                format!("Package: {name}\nVersion: 1.0-1\nArchitecture: amd64\nDescription: {name}\n");
            let mut files = BTreeMap::from([("control".to_owned(), file(0o644, &control))]);
            files.extend(control_files.iter().map(|(name, text)| ((*name).to_owned(), file(0o755, text))));
            let paths = vec!["usr".into(), format!("usr/share/{name}")];
            let installed = InstalledPackage::new(Control { files }, paths, BTreeMap::new());
            self.packages.push(installed.expect("the example is a package"));
            self
        }

        /// Runs `step`, and tells what it generated: `path mode uid:gid content`.
        pub(crate) fn run(&self, step: impl FnOnce(&mut Tree<'_>)) -> Vec<String> {
            let entries = self.entries.iter().map(|entry| (entry.path.as_str(), entry)).collect();
            let ground = Ground::empty(UsrLayout::Merged);
            let input = ConfigureInput {
                packages: &self.packages,
                entries: &entries,
                ground: &ground,
                contents: &self.files,
                removed: &BTreeSet::new(),
                lost: &BTreeMap::new(),
                automatic: &BTreeSet::new(),
                mtime: 86_400 * 20_000,
                sources: &[],
                archive: "debian",
                architecture: "amd64",
            };
            let mut tree = Tree::new(&input);
            step(&mut tree);
            let (generated, changes) = tree.finish().expect("the example can be read");
            let changed = changes.attributes.iter().map(|(path, attributes)| {
                let Attributes { mode, uid, gid, capabilities } = attributes;
                let capable = if capabilities.is_some() { " capable" } else { "" };
                format!("{path} => {mode:o} {uid}:{gid}{capable}")
            });
            let removed = changes.removed.iter().map(|path| format!("{path} => removed"));
            generated.iter().map(describe).chain(changed).chain(removed).collect()
        }
    }

    impl Contents for BTreeMap<String, Vec<u8>> {
        fn read(&self, path: &str) -> io::Result<Vec<u8>> {
            self.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
        }
    }

    fn entry(path: &str, mode: u32, kind: EntryKind) -> Entry {
        Entry { path: path.into(), mode, uid: 0, gid: 0, mtime: 0, kind }
    }

    pub(crate) fn describe(generated: &Generated) -> String {
        let Entry { path, mode, uid, gid, kind, .. } = &generated.entry;
        match kind {
            EntryKind::Directory => format!("{path}/ {mode:o} {uid}:{gid}"),
            EntryKind::Symlink { target } | EntryKind::Hardlink { target } => format!("{path} -> {target}"),
            EntryKind::File { .. } | EntryKind::Whiteout => {
                format!("{path} {mode:o} {uid}:{gid} {}", String::from_utf8_lossy(&generated.bytes))
            }
        }
    }

    #[test]
    fn what_is_generated_goes_where_links_lead_and_brings_its_directories() {
        let example = Example::default().directory("usr").file("usr/share/a", "text");
        let generated = example.run(|tree| {
            tree.symlink("/var/run", "/run");
            tree.file("/var/run/lock", 0o600, "x");
            assert!(tree.copy("usr/share/a", "etc/a", true));
            assert!(!tree.copy("usr/share/missing", "etc/b", true));
            tree.directory("bin", 0o755, 0);
        });
        let expected = [
            "etc/ 755 0:0",
            "etc/a 644 0:0 text",
            "run/ 755 0:0",
            "run/lock 600 0:0 x",
            "var/ 755 0:0",
            "var/run -> /run",
        ];
        assert_eq!(generated[1..], expected);
        assert_eq!(generated[0], "bin/ 755 0:0");
    }
}
