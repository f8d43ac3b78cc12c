//! Reads `.deb` files into the entries of layers, as dpkg would unpack them, without unpacking them.
//!
//! Contents go to a spool file on their way, so that memory holds names only; the entries can then be
//! written in their sorted order.
#![allow(clippy::disallowed_methods, reason = "packages are read from, and spooled to, the file system")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;

use crate::debian::archive::{ArchiveError, Deb};
use crate::debian::dpkg::{self, DpkgError, Installed};
use crate::debian::usrmerge::{UsrLayout, follow};
use crate::debian::{deb822, relation};
use crate::failure::Hinted;
use crate::oci::{Entry, EntryKind};
use crate::store::FileRange;

/// The largest configuration file whose MD5 is taken, in bytes.
const CONFFILE_LIMIT: u64 = 64 << 20;

/// A verified `.deb` on disk.
#[derive(Debug, Clone)]
pub struct DebFile {
    /// The name of its package, for messages.
    pub package: String,
    pub path: PathBuf,
}

/// What the packages ship, each path once.
#[derive(Debug)]
pub struct Unpacked {
    /// In the order of their paths; a hard link comes after its target.
    pub entries: Vec<UnpackedEntry>,
    /// In the order of the files given.
    pub packages: Vec<Installed>,
    spool: File,
}

/// One entry, and the content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnpackedEntry {
    pub entry: Entry,
    /// The package it belongs to, as an index of [`Unpacked::packages`]: of a shared directory, the first.
    pub package: usize,
    pub content: Content,
}

/// Where the content of an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// It has none: it is not a regular file.
    Nothing,
    /// In the spool, in bytes.
    Spool { offset: u64, length: u64 },
}

/// Why packages cannot be unpacked together.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    #[error("could not open the package `{package}` at `{path}`")]
    Open { package: String, path: PathBuf, source: io::Error },
    #[error("the package `{package}` cannot be read")]
    Archive { package: String, source: ArchiveError },
    #[error("the package `{package}` cannot be read")]
    Control { package: String, source: DpkgError },
    #[error("could not keep `{path}` of the package `{package}`")]
    Spool { package: String, path: String, source: io::Error },
    #[error("`{path}` is in both `{first}` and `{second}`")]
    Collision { path: String, first: String, second: String },
    #[error("`{path}` of the package `{package}` leads through links in a circle, or out of the image")]
    Link { package: String, path: String },
    #[error("`{path}` of the package `{package}` is a hard link to `{target}`, which it does not contain")]
    HardlinkTarget { package: String, path: String, target: String },
}

impl Hinted for UnpackError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Archive { source, .. } => source.hint(),
            Self::Control { source, .. } => source.hint(),
            Self::Collision { .. } => Some("leave one of the two packages out of the package list".into()),
            Self::Spool { .. } => Some("free some space where the cache is".into()),
            Self::Link { .. } | Self::HardlinkTarget { .. } => Some(
                "the package is damaged: leave it out of the package list, or report it to its archive"
                    .into(),
            ),
            Self::Open { .. } => None,
        }
    }
}

/// Reads `debs` in order; contents go to `spool`, an empty file of the caller's.
pub fn unpack(debs: &[DebFile], layout: UsrLayout, spool: File) -> Result<Unpacked, UnpackError> {
    let mut unpacking = Unpacking {
        layout,
        spool: BufWriter::with_capacity(1 << 20, spool),
        length: 0,
        entries: Vec::new(),
        packages: Vec::new(),
    };
    for deb in debs {
        unpacking.read(deb)?;
    }
    unpacking.finish()
}

impl Unpacked {
    /// A reader of an entry's content.
    pub fn reader(&self, content: Content) -> FileRange<&File> {
        let range = match content {
            Content::Nothing => 0..0,
            Content::Spool { offset, length } => offset..offset + length,
        };
        FileRange::new(&self.spool, range)
    }

    /// The entries by path.
    pub fn tree(&self) -> BTreeMap<&str, &Entry> {
        self.entries.iter().map(|unpacked| (unpacked.entry.path.as_str(), &unpacked.entry)).collect()
    }

    /// The contents of the files whose paths are `wanted`.
    pub fn contents(&self, wanted: impl Fn(&str) -> bool) -> io::Result<BTreeMap<String, Vec<u8>>> {
        let mut contents = BTreeMap::new();
        for UnpackedEntry { entry, content, .. } in &self.entries {
            if wanted(&entry.path) && matches!(entry.kind, EntryKind::File { .. }) {
                let mut bytes = Vec::new();
                self.reader(*content).read_to_end(&mut bytes)?;
                contents.insert(entry.path.clone(), bytes);
            }
        }
        Ok(contents)
    }
}

/// The state between one package and the next.
struct Unpacking {
    layout: UsrLayout,
    spool: BufWriter<File>,
    /// Bytes in the spool.
    length: u64,
    entries: Vec<UnpackedEntry>,
    packages: Vec<Installed>,
}

/// What stops the reading of one package.
enum ReadError {
    Archive(ArchiveError),
    Spool { path: String, source: io::Error },
}

impl From<ArchiveError> for ReadError {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

impl Unpacking {
    fn read(&mut self, file: &DebFile) -> Result<(), UnpackError> {
        let package = || file.package.clone();
        let reader = File::open(&file.path).map_err(|source| UnpackError::Open {
            package: package(),
            path: file.path.clone(),
            source,
        })?;
        let mut deb = Deb::open(BufReader::with_capacity(1 << 16, reader))
            .map_err(|source| UnpackError::Archive { package: package(), source })?;
        let control = std::mem::take(&mut deb.control);
        let listed: BTreeSet<String> = dpkg::conffiles(&control).into_iter().collect();
        let index = self.packages.len();
        let (mut paths, mut conffiles) = (Vec::new(), BTreeMap::new());
        deb.entries(|entry, content| {
            paths.push(entry.path.clone());
            let is_conffile = listed.contains(&entry.path);
            let (content, md5) = self.spool(&entry, content, is_conffile)?;
            conffiles.extend(md5.map(|md5| (entry.path.clone(), md5)));
            self.entries.push(UnpackedEntry { entry, package: index, content });
            Ok(())
        })
        .map_err(|error| match error {
            ReadError::Archive(source) => UnpackError::Archive { package: package(), source },
            ReadError::Spool { path, source } => UnpackError::Spool { package: package(), path, source },
        })?;
        let installed = Installed::new(control, paths, conffiles)
            .map_err(|source| UnpackError::Control { package: package(), source })?;
        self.packages.push(installed);
        Ok(())
    }

    /// Copies a file's content to the spool, and takes the MD5 of a configuration file.
    fn spool(
        &mut self,
        entry: &Entry,
        content: &mut dyn Read,
        is_conffile: bool,
    ) -> Result<(Content, Option<String>), ReadError> {
        let EntryKind::File { size } = entry.kind else { return Ok((Content::Nothing, None)) };
        let failed = |source| ReadError::Spool { path: entry.path.clone(), source };
        let (length, md5) = match is_conffile && size <= CONFFILE_LIMIT {
            true => {
                let mut bytes = Vec::new();
                content.read_to_end(&mut bytes).map_err(failed)?;
                self.spool.write_all(&bytes).map_err(failed)?;
                (bytes.len() as u64, Some(dpkg::md5(&bytes)))
            }
            false => (io::copy(content, &mut self.spool).map_err(failed)?, None),
        };
        if length != size {
            return Err(failed(io::ErrorKind::UnexpectedEof.into()));
        }
        let offset = self.length;
        self.length += size;
        Ok((Content::Spool { offset, length: size }, md5))
    }

    fn finish(self) -> Result<Unpacked, UnpackError> {
        let Self { layout, spool, entries, packages, .. } = self;
        let spool = spool.into_inner().map_err(|error| UnpackError::Spool {
            package: packages.last().map(|last| last.name.clone()).unwrap_or_default(),
            path: "the last of its files".into(),
            source: error.into_error(),
        })?;
        let entries = follow_links(entries, layout, &packages)?;
        let entries = merge(entries, &packages)?;
        let entries = order_hardlinks(entries, &packages)?;
        Ok(Unpacked { entries: entries.into_values().collect(), packages, spool })
    }
}

/// Moves every entry to where it ends up when the links on its path are followed, as dpkg's writing does.
fn follow_links(
    mut entries: Vec<UnpackedEntry>,
    layout: UsrLayout,
    packages: &[Installed],
) -> Result<Vec<UnpackedEntry>, UnpackError> {
    let links: BTreeMap<String, String> = entries
        .iter()
        .filter_map(|UnpackedEntry { entry, .. }| match &entry.kind {
            EntryKind::Symlink { target } => Some((entry.path.clone(), target.clone())),
            _ => None,
        })
        .collect();
    let link = |path: &str| layout.link(path).or_else(|| links.get(path).cloned());
    for UnpackedEntry { entry, package, .. } in &mut entries {
        let circle =
            || UnpackError::Link { package: packages[*package].name.clone(), path: entry.path.clone() };
        let mut path = follow(&entry.path, &link).ok_or_else(circle)?;
        if entry.kind == EntryKind::Directory {
            path = layout.place(&path);
        }
        if let EntryKind::Hardlink { target } = &mut entry.kind {
            *target = follow(target, &link).ok_or_else(circle)?;
        }
        entry.path = path;
    }
    Ok(entries)
}

/// The entries by path, each path once.
fn merge(
    entries: Vec<UnpackedEntry>,
    packages: &[Installed],
) -> Result<BTreeMap<String, UnpackedEntry>, UnpackError> {
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

/// Whether `later` takes the place of `before`, at the same path.
fn supersedes(
    later: &UnpackedEntry,
    before: &UnpackedEntry,
    packages: &[Installed],
) -> Result<bool, UnpackError> {
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

fn collision(first: &UnpackedEntry, second: &UnpackedEntry, packages: &[Installed]) -> UnpackError {
    let name = |entry: &UnpackedEntry| packages[entry.package].name.clone();
    UnpackError::Collision { path: first.entry.path.clone(), first: name(first), second: name(second) }
}

/// Whether `package` says that it takes over files of `other`.
///
/// <https://www.debian.org/doc/debian-policy/ch-relationships.html#overwriting-files-in-other-packages>
fn replaces(package: &Installed, other: &Installed) -> bool {
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
    packages: &[Installed],
) -> Result<BTreeMap<String, UnpackedEntry>, UnpackError> {
    let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, entry) in &entries {
        if let EntryKind::Hardlink { target } = &entry.entry.kind {
            let file = linked_file(&entries, entry, target).ok_or_else(|| UnpackError::HardlinkTarget {
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
        let rest = names.map(|name| (name, link.clone(), Content::Nothing));
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::debian::archive::example::DebBuilder;

    /// Unpacks packages in order; the entries as `path kind content [package]`.
    fn run(layout: UsrLayout, debs: Vec<(&str, DebBuilder)>) -> Result<Vec<String>, UnpackError> {
        let directory = tempfile::tempdir().unwrap();
        let unpacked = unpack(&write(directory.path(), debs), layout, tempfile::tempfile().unwrap())?;
        Ok(unpacked.entries.iter().map(|entry| describe(&unpacked, entry)).collect())
    }

    fn write(directory: &Path, debs: Vec<(&str, DebBuilder)>) -> Vec<DebFile> {
        let write = |(name, deb): (&str, DebBuilder)| {
            let path = directory.join(name);
            std::fs::write(&path, deb.build()).unwrap();
            DebFile { package: name.to_owned(), path }
        };
        debs.into_iter().map(write).collect()
    }

    fn describe(unpacked: &Unpacked, UnpackedEntry { entry, package, content }: &UnpackedEntry) -> String {
        let mut text = String::new();
        unpacked.reader(*content).read_to_string(&mut text).unwrap();
        let package = &unpacked.packages[*package].name;
        match &entry.kind {
            EntryKind::Directory => format!("{}/ [{package}]", entry.path),
            EntryKind::File { .. } => format!("{} {text} [{package}]", entry.path),
            EntryKind::Symlink { target } => format!("{} -> {target} [{package}]", entry.path),
            EntryKind::Hardlink { target } => format!("{} = {target} [{package}]", entry.path),
        }
    }

    fn deb(name: &str) -> DebBuilder {
        DebBuilder::new(name, "")
    }

    #[test]
    fn a_merged_usr_has_every_program_in_one_place() {
        let a = || {
            deb("a")
                .directory("./bin/")
                .file("./bin/x", "x")
                .hardlink("./bin/a", "./bin/x")
                .file("./usr/bin/y", "y")
        };
        let merged = ["usr/bin/ [a]", "usr/bin/a x [a]", "usr/bin/x = usr/bin/a [a]", "usr/bin/y y [a]"];
        assert_eq!(run(UsrLayout::Merged, vec![("a", a())]).unwrap(), merged);
        let separate = ["bin/ [a]", "bin/a x [a]", "bin/x = bin/a [a]", "usr/bin/y y [a]"];
        assert_eq!(run(UsrLayout::Separate, vec![("a", a())]).unwrap(), separate);
    }

    #[test]
    fn the_links_that_merge_may_be_shipped() {
        let base = deb("base-files").symlink("./bin", "usr/bin").directory("./usr/").directory("./usr/bin/");
        let old = deb("old").directory("./bin/").file("./bin/sh", "sh");
        let expected = [
            "bin -> usr/bin [base-files]",
            "usr/ [base-files]",
            "usr/bin/ [base-files]",
            "usr/bin/sh sh [old]",
        ];
        assert_eq!(run(UsrLayout::Merged, vec![("base-files", base), ("old", old)]).unwrap(), expected);
    }

    #[test]
    fn files_go_where_the_links_of_other_packages_lead() {
        let a = deb("a").directory("./var/").symlink("./var/run", "/run").directory("./run/");
        let b = deb("b").directory("./var/run/").directory("./var/run/b/").file("./var/run/b/pid", "1");
        let expected = ["run/ [a]", "run/b/ [b]", "run/b/pid 1 [b]", "var/ [a]", "var/run -> /run [a]"];
        assert_eq!(run(UsrLayout::Merged, vec![("a", a), ("b", b)]).unwrap(), expected);
    }

    #[test]
    fn a_shared_file_needs_replaces() {
        let a = || deb("a").file("./etc/x", "a");
        let b = |fields| DebBuilder::new("b", fields).file("./etc/x", "b");
        let error = run(UsrLayout::Merged, vec![("a", a()), ("b", b(""))]).unwrap_err();
        assert_eq!(error.to_string(), "`etc/x` is in both `a` and `b`");
        for fields in ["Replaces: a (<< 1.0)\n", "Replaces: c\n"] {
            assert!(run(UsrLayout::Merged, vec![("a", a()), ("b", b(fields))]).is_err(), "{fields}");
        }
        for order in [["a", "b"], ["b", "a"]] {
            let debs = order.map(|name| (name, if name == "a" { a() } else { b("Replaces: a (<< 2), c\n") }));
            assert_eq!(run(UsrLayout::Merged, debs.into()).unwrap(), ["etc/x b [b]"]);
        }
    }

    #[test]
    fn hostile_packages_are_refused() {
        let circle = deb("a").symlink("./a", "b").symlink("./b", "a").file("./a/x", "");
        let through_file = deb("a").file("./a", "").file("./a/x", "");
        let dangling = deb("a").hardlink("./a", "./missing");
        let itself = deb("a").hardlink("./a", "./a");
        let to_directory = deb("a").directory("./d/").hardlink("./a", "./d");
        for (deb, message) in [
            (circle, "`a/x` of the package `a` leads through links in a circle"),
            (through_file, "`a` is in both `a` and `a`"),
            (dangling, "hard link to `missing`, which it does not contain"),
            (itself, "hard link to `a`"),
            (to_directory, "hard link to `d`"),
        ] {
            let error = run(UsrLayout::Merged, vec![("a", deb)]).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        let outside = deb("a").symlink("./up", "../../..").file("./up/x", "x");
        let expected = ["up -> ../../.. [a]", "x x [a]"];
        assert_eq!(
            run(UsrLayout::Merged, vec![("a", outside)]).unwrap(),
            expected,
            "the root is the end of the way up"
        );
    }

    #[test]
    fn a_damaged_package_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = write(directory.path(), vec![("broken", deb("broken").file("./x", "x"))]);
        let bytes = std::fs::read(&files[0].path).unwrap();
        std::fs::write(&files[0].path, &bytes[..bytes.len() - 20]).unwrap();
        let failed = |files: &[DebFile]| {
            unpack(files, UsrLayout::Merged, tempfile::tempfile().unwrap()).unwrap_err().to_string()
        };
        assert!(failed(&files).contains("`broken`"));
        files[0].path.push("missing");
        assert!(failed(&files).contains("could not open the package `broken`"));
    }

    #[test]
    fn dpkg_learns_the_shipped_paths_and_the_conffiles() {
        let directory = tempfile::tempdir().unwrap();
        let deb = deb("a")
            .control("conffiles", "/etc/a.conf\n")
            .directory("./lib/")
            .file("./lib/x", "x")
            .file("./etc/a.conf", "");
        let files = write(directory.path(), vec![("a", deb)]);
        let unpacked = unpack(&files, UsrLayout::Merged, tempfile::tempfile().unwrap()).unwrap();
        let [package] = &unpacked.packages[..] else { panic!("{:?}", unpacked.packages) };
        assert_eq!(package.list(), "/.\n/lib\n/lib/x\n/etc/a.conf\n");
        let status = package.status().unwrap();
        assert!(status.contains("Conffiles:\n /etc/a.conf d41d8cd98f00b204e9800998ecf8427e\n"), "{status}");
        let contents = unpacked.contents(|path| path.starts_with("usr/")).unwrap();
        assert_eq!(contents, BTreeMap::from([("usr/lib/x".to_owned(), b"x".to_vec())]));
    }
}
