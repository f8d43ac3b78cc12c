//! Reads `.deb` files into the entries of layers, as dpkg would unpack them, without unpacking them.
//!
//! Contents go to a spool file on their way, so that memory holds names only; the entries can then be
//! written in their sorted order.
#![allow(clippy::disallowed_methods, reason = "packages are read from, and spooled to, the file system")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;

use crate::bootstrap::contents::Contents;
use crate::bootstrap::ground::Ground;
use crate::bootstrap::merge::{EntryContent, MergeError, UnpackedEntry, merge};
use crate::bootstrap::over::{LaidOver, OverError, lay_over};
use crate::debian::archive::{Deb, DebError};
use crate::debian::dpkg::{self, DpkgError, InstalledPackage};
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
    /// The file on disk.
    pub path: PathBuf,
}

/// The files of the packages, each path once.
#[derive(Debug)]
pub struct Unpacked {
    /// In the order of their paths; a hard link comes after its target.
    pub entries: Vec<UnpackedEntry>,
    /// In the order of the files given.
    pub packages: Vec<InstalledPackage>,
    /// The paths of the system below that are no more.
    pub removed: BTreeSet<String>,
    /// The paths that packages below lost to new ones, by the names of their files under `info`.
    pub lost: BTreeMap<String, BTreeSet<String>>,
    spool: File,
}

/// The reason why packages cannot be unpacked together.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum UnpackError {
    #[error("could not open the package `{package}` at `{path}`")]
    Open { package: String, path: PathBuf, source: io::Error },
    #[error("the package `{package}` cannot be read")]
    Archive { package: String, source: DebError },
    #[error("the package `{package}` cannot be read")]
    Control { package: String, source: DpkgError },
    #[error("could not keep the files of the package `{package}`")]
    Spool { package: String, source: io::Error },
    #[error(transparent)]
    Merge(#[from] MergeError),
    #[error(transparent)]
    Over(#[from] OverError),
}

impl Hinted for UnpackError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Archive { source, .. } => source.hint(),
            Self::Control { source, .. } => source.hint(),
            Self::Merge(error) => error.hint(),
            Self::Over(error) => error.hint(),
            Self::Spool { source, .. } | Self::Open { source, .. } => source.hint(),
        }
    }
}

/// Reads `debs` in order onto `ground`, of which `below` are the files; contents go to `spool`, an empty file of the
/// caller's.
pub fn unpack(
    debs: &[DebFile],
    ground: &Ground,
    below: &dyn Contents,
    spool: File,
) -> Result<Unpacked, UnpackError> {
    let mut unpacking = Unpacking {
        spool: BufWriter::with_capacity(1 << 20, spool),
        length: 0,
        entries: Vec::new(),
        packages: Vec::new(),
    };
    for deb in debs {
        unpacking.read(deb)?;
    }
    unpacking.finish(ground, below)
}

impl Unpacked {
    /// A reader of an entry's content.
    pub fn reader(&self, content: EntryContent) -> FileRange<&File> {
        let range = match content {
            EntryContent::Nothing => 0..0,
            EntryContent::Spool { offset, length } => offset..offset + length,
        };
        FileRange::new(&self.spool, range)
    }

    /// The entries by path.
    pub fn tree(&self) -> BTreeMap<&str, &Entry> {
        self.entries.iter().map(|unpacked| (unpacked.entry.path.as_str(), &unpacked.entry)).collect()
    }
}

/// The state between one package and the next.
struct Unpacking {
    spool: BufWriter<File>,
    /// Bytes in the spool.
    length: u64,
    entries: Vec<UnpackedEntry>,
    packages: Vec<InstalledPackage>,
}

/// The reasons to stop reading one package.
enum UnreadablePackage {
    Archive(DebError),
    Spool(io::Error),
}

impl From<DebError> for UnreadablePackage {
    fn from(error: DebError) -> Self {
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
            UnreadablePackage::Archive(source) => UnpackError::Archive { package: package(), source },
            UnreadablePackage::Spool(source) => UnpackError::Spool { package: package(), source },
        })?;
        let installed = InstalledPackage::new(control, paths, conffiles)
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
    ) -> Result<(EntryContent, Option<String>), UnreadablePackage> {
        let EntryKind::File { size } = entry.kind else { return Ok((EntryContent::Nothing, None)) };
        let failed = UnreadablePackage::Spool;
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
        Ok((EntryContent::Spool { offset, length: size }, md5))
    }

    fn finish(self, ground: &Ground, below: &dyn Contents) -> Result<Unpacked, UnpackError> {
        let Self { spool, entries, packages, .. } = self;
        let spool = spool.into_inner().map_err(|error| UnpackError::Spool {
            package: packages.last().map(|last| last.name.clone()).unwrap_or_default(),
            source: error.into_error(),
        })?;
        let merged = merge(entries, ground, &packages)?;
        let LaidOver { entries, removed, lost } = lay_over(merged, ground, below, &packages)?;
        Ok(Unpacked { entries, packages, removed, lost, spool })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::bootstrap::contents::NoContents;
    use crate::debian::archive::example::DebBuilder;
    use crate::debian::usrmerge::UsrLayout;

    /// Unpacks packages in order; the entries as `path kind content [package]`.
    fn run(layout: UsrLayout, debs: Vec<(&str, DebBuilder)>) -> Result<Vec<String>, UnpackError> {
        let directory = tempfile::tempdir().unwrap();
        let files = write(directory.path(), debs);
        let ground = Ground::empty(layout);
        let unpacked = unpack(&files, &ground, &NoContents, tempfile::tempfile().unwrap())?;
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
            EntryKind::File { .. } | EntryKind::Whiteout => format!("{} {text} [{package}]", entry.path),
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
            let ground = Ground::empty(UsrLayout::Merged);
            unpack(files, &ground, &NoContents, tempfile::tempfile().unwrap()).unwrap_err().to_string()
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
        let ground = Ground::empty(UsrLayout::Merged);
        let unpacked = unpack(&files, &ground, &NoContents, tempfile::tempfile().unwrap()).unwrap();
        let [package] = &unpacked.packages[..] else { panic!("{:?}", unpacked.packages) };
        assert_eq!(package.list(), "/.\n/lib\n/lib/x\n/etc/a.conf\n");
        let status = package.status().unwrap();
        assert!(status.contains("Conffiles:\n /etc/a.conf d41d8cd98f00b204e9800998ecf8427e\n"), "{status}");
    }
}
