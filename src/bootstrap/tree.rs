//! The file system while it is configured: the entries that the packages ship, and those generated so far.

use std::collections::BTreeMap;

use crate::debian::dpkg::{DpkgError, InstalledPackage};
use crate::debian::script;
use crate::debian::sources::AptSource;
use crate::debian::usrmerge::{self, UsrLayout};
use crate::failure::Hinted;
use crate::oci::{Entry, EntryKind, Generated};

/// The unpacked packages and the choices that configure them.
#[derive(Debug, Clone, Copy)]
pub struct ConfigureInput<'a> {
    /// Every package of the base.
    pub packages: &'a [InstalledPackage],
    /// Every entry the packages ship, by path.
    pub entries: &'a BTreeMap<&'a str, &'a Entry>,
    /// The contents of the entries that are [wanted](super::configure::is_wanted).
    pub files: &'a BTreeMap<String, Vec<u8>>,
    /// The layout of `/bin`, `/lib` and their like.
    pub layout: UsrLayout,
    /// The time of everything generated, in Unix seconds.
    pub mtime: u64,
    /// The sources of apt in the image; none when empty.
    pub sources: &'a [AptSource],
    /// The archive's name: `debian`, `ubuntu`.
    pub archive: &'a str,
}

/// The reason why a base cannot be configured.
#[derive(Debug, thiserror::Error)]
#[error("the status of the package `{package}` cannot be written")]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub struct ConfigureError {
    pub(super) package: String,
    pub(super) source: DpkgError,
}

impl Hinted for ConfigureError {
    fn hint(&self) -> Option<String> {
        self.source.hint()
    }
}

/// The user and group that own the system.
pub(super) const ROOT: u64 = 0;

/// The shipped files, and the generated ones above them.
pub(super) struct Tree<'a> {
    input: &'a ConfigureInput<'a>,
    generated: BTreeMap<String, Generated>,
}

impl<'a> Tree<'a> {
    /// The tree of `input`, before anything is generated.
    pub fn new(input: &'a ConfigureInput<'a>) -> Self {
        Self { input, generated: BTreeMap::new() }
    }

    /// The generated files, by path.
    pub fn into_generated(self) -> Vec<Generated> {
        self.generated.into_values().collect()
    }

    /// The installed package `name`.
    pub fn package(&self, name: &str) -> Option<&'a InstalledPackage> {
        self.input.packages.iter().find(|package| package.name == name)
    }

    /// A maintainer script or another control file of a package.
    pub fn control(&self, package: &str, file: &str) -> Option<String> {
        Some(self.package(package)?.control.text(file)?.into_owned())
    }

    /// Returns whether the postinst of some package speaks of `path`.
    pub fn is_in_a_postinst(&self, path: &str) -> bool {
        let speaks = |package: &InstalledPackage| {
            package.control.text("postinst").is_some_and(|text| text.contains(path))
        };
        self.input.packages.iter().any(speaks)
    }

    /// The commands of a package's postinst that need no shell to be understood.
    pub fn postinst_commands(&self, package: &str) -> Vec<Vec<String>> {
        script::literal_commands(&self.control(package, "postinst").unwrap_or_default())
    }

    fn entry(&self, path: &str) -> Option<&Entry> {
        self.generated
            .get(path)
            .map(|generated| &generated.entry)
            .or_else(|| self.input.entries.get(path).copied())
    }

    /// Returns whether something is at `path`, which may begin with a slash, once its directories' links are followed.
    pub fn has(&self, path: &str) -> bool {
        self.real(path).is_some_and(|real| real.is_empty() || self.entry(&real).is_some())
    }

    /// Returns whether a directory is at `path`, or a link to one.
    pub fn has_directory(&self, path: &str) -> bool {
        let inside = format!("{path}/.");
        let real = self.real(&inside).unwrap_or_default();
        self.entry(&real).is_some_and(|entry| entry.kind == EntryKind::Directory)
    }

    /// `path` with the links of its directories followed, relative to the root.
    pub fn real(&self, path: &str) -> Option<String> {
        let link = |path: &str| match self.entry(path).map(|entry| &entry.kind) {
            Some(EntryKind::Symlink { target }) => Some(target.clone()),
            Some(_) => None,
            None => self.input.layout.link(path),
        };
        usrmerge::follow(path, &link)
    }

    /// The content of a file, if it was asked for with [`super::configure::is_wanted`].
    pub fn bytes(&self, path: &str) -> Option<&[u8]> {
        let real = self.real(path)?;
        let file = match self.entry(&real).map(|entry| &entry.kind) {
            Some(EntryKind::Hardlink { target }) => target.clone(),
            _ => real,
        };
        match self.generated.get(&file) {
            Some(generated) => Some(&generated.bytes),
            None => self.input.files.get(&file).map(Vec::as_slice),
        }
    }

    /// The text of the file at `path`, where it is UTF-8.
    pub fn text(&self, path: &str) -> Option<String> {
        self.bytes(path).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// The id of a user in `etc/passwd`, or of a group in `etc/group`; root's when it is not there.
    pub fn account_id(&self, file: &str, name: &str) -> u64 {
        let accounts = self.text(file).unwrap_or_default();
        let id =
            accounts.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.split(':').nth(1));
        id.and_then(|id| id.parse().ok()).unwrap_or(ROOT)
    }

    /// The paths of the wanted files below `directory`, in order, relative to the root.
    pub fn wanted_below(&self, directory: &str) -> Vec<&'a str> {
        let prefix = format!("{directory}/");
        let files = self.input.files.range(prefix.clone()..);
        files.take_while(|(path, _)| path.starts_with(&prefix)).map(|(path, _)| path.as_str()).collect()
    }

    /// Makes a directory unless one is there.
    pub fn directory(&mut self, path: &str, mode: u32, gid: u64) {
        if !self.has(path) {
            self.add(path, mode, (ROOT, gid), EntryKind::Directory, Vec::new());
        }
    }

    /// Makes a directory that only the user `uid` may enter, or gives it to that user.
    pub fn private_directory(&mut self, path: &str, uid: u64) {
        self.add(path, 0o700, (uid, ROOT), EntryKind::Directory, Vec::new());
    }

    /// Makes a file of root's, in place of what is there.
    pub fn file(&mut self, path: &str, mode: u32, bytes: impl Into<Vec<u8>>) {
        self.file_of(path, mode, ROOT, bytes);
    }

    /// Generates a file that belongs to root and to the group `gid`.
    pub fn file_of(&mut self, path: &str, mode: u32, gid: u64, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        let kind = EntryKind::File { size: bytes.len() as u64 };
        self.add(path, mode, (ROOT, gid), kind, bytes);
    }

    /// Makes a link, in place of what is there.
    pub fn symlink(&mut self, path: &str, target: &str) {
        self.add(path, 0o777, (ROOT, ROOT), EntryKind::Symlink { target: target.to_owned() }, Vec::new());
    }

    /// Copies a shipped file with its permissions to where nothing is.
    pub fn copy(&mut self, from: &str, to: &str) {
        if self.has(to) {
            return;
        }
        let mode = self.real(from).and_then(|real| Some(self.entry(&real)?.mode));
        if let (Some(mode), Some(bytes)) = (mode, self.bytes(from).map(<[u8]>::to_vec)) {
            self.file(to, mode, bytes);
        }
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
    pub struct Example {
        entries: Vec<Entry>,
        files: BTreeMap<String, Vec<u8>>,
        packages: Vec<InstalledPackage>,
    }

    impl Example {
        /// A directory and those it is in.
        pub fn directory(mut self, path: &str) -> Self {
            let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
            self.entries.extend(ends.map(|end| entry(&path[..end], 0o755, EntryKind::Directory)));
            self
        }

        /// Adds a file that a package ships.
        pub fn file(mut self, path: &str, text: &str) -> Self {
            self.entries.push(entry(path, 0o644, EntryKind::File { size: text.len() as u64 }));
            self.files.insert(path.into(), text.as_bytes().to_vec());
            self
        }

        /// Adds an installed package with its control files.
        pub fn package(mut self, name: &str, control_files: &[(&str, &str)]) -> Self {
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
        pub fn run(&self, step: impl FnOnce(&mut Tree<'_>)) -> Vec<String> {
            let entries = self.entries.iter().map(|entry| (entry.path.as_str(), entry)).collect();
            let input = ConfigureInput {
                packages: &self.packages,
                entries: &entries,
                files: &self.files,
                layout: UsrLayout::Merged,
                mtime: 86_400 * 20_000,
                sources: &[],
                archive: "debian",
            };
            let mut tree = Tree::new(&input);
            step(&mut tree);
            tree.into_generated().iter().map(describe).collect()
        }
    }

    fn entry(path: &str, mode: u32, kind: EntryKind) -> Entry {
        Entry { path: path.into(), mode, uid: 0, gid: 0, mtime: 0, kind }
    }

    pub fn describe(generated: &Generated) -> String {
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
            tree.copy("usr/share/a", "etc/a");
            tree.copy("usr/share/a", "etc/a");
            tree.copy("usr/share/missing", "etc/b");
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
