//! The entries of packages on the system below them, as dpkg's unpacking treats what is there: directories stay, files are
//! replaced, configuration files that somebody changed are kept, and the files of an earlier version go.
//!
//! <https://manpages.debian.org/dpkg.1#confold> · <https://www.debian.org/doc/debian-policy/ch-maintainerscripts.html#details-of-unpack-phase-of-installation-or-upgrade>

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::contents::Contents;
use super::ground::{Ground, PathOwners};
use super::merge::{MergeError, UnpackedEntry, replaces};
use crate::debian::dpkg::{InstalledPackage, md5};
use crate::failure::Hinted;
use crate::oci::{Entry, EntryKind};

/// The ending of the shipped form of a configuration file that was kept as it is.
const SHIPPED_FORM: &str = ".dpkg-dist";

/// The entries of packages on a system, and what they change of it.
#[derive(Debug, Default)]
pub struct LaidOver {
    /// In the order of their paths; a hard link comes after its target.
    pub entries: Vec<UnpackedEntry>,
    /// The paths of the system below that are no more.
    pub removed: BTreeSet<String>,
    /// The paths that packages below lost to new ones, by the names of their files under `info`.
    pub lost: BTreeMap<String, BTreeSet<String>>,
}

/// The reason why packages cannot be put on a system.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum OverError {
    #[error(transparent)]
    Merge(#[from] MergeError),
    #[error("could not read `{path}` of the base")]
    Read { path: String, source: io::Error },
}

impl Hinted for OverError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Merge(error) => error.hint(),
            Self::Read { source, .. } => source.hint(),
        }
    }
}

/// Puts the merged `entries` of `packages` on `ground`, of which `contents` are the files.
pub fn lay_over(
    entries: Vec<UnpackedEntry>,
    ground: &Ground,
    contents: &dyn Contents,
    packages: &[InstalledPackage],
) -> Result<LaidOver, OverError> {
    let shipped: BTreeSet<&str> = entries.iter().map(|unpacked| unpacked.entry.path.as_str()).collect();
    let removed = left_behind(ground, packages, &shipped);
    let taken: BTreeSet<&str> =
        shipped.iter().copied().filter(|path| ground.entries.contains_key(*path)).collect();
    let owners = PathOwners::of(ground, &taken);
    let mut laying = Laying { ground, contents, packages, owners, lost: BTreeMap::new() };
    let mut kept = Vec::new();
    for unpacked in &entries {
        kept.extend(laying.lay(unpacked)?);
    }
    let lost = laying.lost;
    kept.sort_by(|one, other| one.entry.path.cmp(&other.entry.path));
    Ok(LaidOver { entries: kept, removed, lost })
}

/// The state between one entry and the next.
struct Laying<'a> {
    ground: &'a Ground,
    contents: &'a dyn Contents,
    packages: &'a [InstalledPackage],
    owners: PathOwners<'a>,
    lost: BTreeMap<String, BTreeSet<String>>,
}

impl Laying<'_> {
    /// The entry as it comes to lie; nothing where what is there stays.
    fn lay(&mut self, unpacked: &UnpackedEntry) -> Result<Option<UnpackedEntry>, OverError> {
        use EntryKind::{Directory, Symlink};
        let path = &unpacked.entry.path;
        let below = self.ground.entries.get(path).map(|entry| &entry.kind);
        match (&unpacked.entry.kind, below) {
            (Directory, _) if self.ground.has_directory(path) => Ok(None),
            // dpkg makes no link of a directory.
            (Symlink { .. }, Some(Directory)) => Ok(None),
            (_, Some(Directory)) => Err(self.collision(unpacked, "a directory of the base").into()),
            (_, None) => self.absent(unpacked),
            (_, Some(_)) => self.replace(unpacked),
        }
    }

    fn package(&self, unpacked: &UnpackedEntry) -> &InstalledPackage {
        &self.packages[unpacked.package]
    }

    fn collision(&self, unpacked: &UnpackedEntry, with: &str) -> MergeError {
        MergeError::Collision {
            path: unpacked.entry.path.clone(),
            first: with.to_owned(),
            second: format!("`{}`", self.package(unpacked).name),
        }
    }

    /// An entry where nothing is: a configuration file that was removed by hand stays away.
    fn absent(&self, unpacked: &UnpackedEntry) -> Result<Option<UnpackedEntry>, OverError> {
        let package = self.package(unpacked);
        let before = self.ground.package(&package.name, &package.architecture);
        let path = &unpacked.entry.path;
        let was_removed = package.conffiles.contains_key(path)
            && before.is_some_and(|before| before.conffiles.contains_key(path));
        Ok((!was_removed).then(|| unpacked.clone()))
    }

    /// An entry in place of a file.
    fn replace(&mut self, unpacked: &UnpackedEntry) -> Result<Option<UnpackedEntry>, OverError> {
        let path = unpacked.entry.path.clone();
        let package = &self.packages[unpacked.package];
        for owner in self.owners.owners(&path) {
            if owner.name == package.name {
                continue;
            }
            if replaces(owner, package) && !replaces(package, owner) {
                return Ok(None);
            }
            if !replaces(package, owner) {
                return Err(self.collision(unpacked, &format!("`{}` of the base", owner.name)).into());
            }
            self.lost.entry(owner.info_name()).or_default().insert(path.clone());
        }
        match package.conffiles.get(&path) {
            Some(shipped) => self.configuration_file(unpacked, shipped),
            None => Ok(Some(unpacked.clone())),
        }
    }

    /// A configuration file in place of another: one that nobody changed is replaced.
    fn configuration_file(
        &self,
        unpacked: &UnpackedEntry,
        shipped: &str,
    ) -> Result<Option<UnpackedEntry>, OverError> {
        let package = self.package(unpacked);
        let path = &unpacked.entry.path;
        let read = || self.contents.read(path).map(|bytes| md5(&bytes));
        let present = match self.ground.entries.get(path).map(|entry| &entry.kind) {
            Some(EntryKind::File { .. }) => {
                read().map_err(|source| OverError::Read { path: path.clone(), source })?
            }
            _ => String::new(),
        };
        let before = self.ground.package(&package.name, &package.architecture);
        let recorded = before.and_then(|before| before.conffiles.get(path));
        if present == *shipped || recorded.is_some_and(|recorded| recorded == shipped) {
            return Ok(None);
        }
        if recorded.is_some_and(|recorded| *recorded == present) {
            return Ok(Some(unpacked.clone()));
        }
        let entry = Entry { path: format!("{path}{SHIPPED_FORM}"), ..unpacked.entry.clone() };
        Ok(Some(UnpackedEntry { entry, ..unpacked.clone() }))
    }
}

/// The paths of earlier versions of `packages` that neither the new ones nor others ship.
fn left_behind(ground: &Ground, packages: &[InstalledPackage], shipped: &BTreeSet<&str>) -> BTreeSet<String> {
    let upgraded = packages.iter().filter_map(|package| ground.package(&package.name, &package.architecture));
    let mut old: BTreeSet<String> = BTreeSet::new();
    for before in upgraded {
        let own = before.paths.iter().filter(|path| !before.conffiles.contains_key(*path));
        let real = own.filter_map(|path| ground.real(path));
        old.extend(real.filter(|real| ground.entries.contains_key(real) && !shipped.contains(real.as_str())));
    }
    let of_others: BTreeSet<String> = ground
        .packages
        .iter()
        .filter(|package| !packages.iter().any(|new| new.name == package.name))
        .flat_map(|package| &package.paths)
        .filter_map(|path| ground.real(path))
        .filter(|real| old.contains(real))
        .collect();
    let mut removed = BTreeSet::new();
    // What is in a directory comes before it.
    for path in old.into_iter().rev().filter(|path| !of_others.contains(path)) {
        let is_full = || ground.below(&path).any(|(inside, _)| !removed.contains(inside));
        let is_directory = ground.entries.get(&path).is_some_and(|entry| entry.kind == EntryKind::Directory);
        if !is_directory || !is_full() {
            removed.insert(path);
        }
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::super::merge::EntryContent;
    use super::*;
    use crate::debian::archive::{Control, ControlFile};
    use crate::debian::diversions::Diversion;
    use crate::debian::usrmerge::UsrLayout;

    /// A package with files, of which those below `etc` are configuration files with the MD5 of their texts.
    fn package(name: &str, fields: &str, files: &[(&str, &str)]) -> InstalledPackage {
        let control = format!("Package: {name}\nVersion: 1.0\nArchitecture: amd64\n{fields}");
        let file = ControlFile { mode: 0o644, bytes: control.into_bytes() };
        let files_of = Control { files: BTreeMap::from([("control".to_owned(), file)]) };
        let conffiles = files.iter().filter(|(path, _)| path.starts_with("etc/"));
        let conffiles = conffiles.map(|(path, text)| ((*path).to_owned(), md5(text.as_bytes()))).collect();
        let paths = files.iter().map(|(path, _)| (*path).to_owned()).collect();
        InstalledPackage::new(files_of, paths, conffiles).unwrap()
    }

    fn entry(path: &str, text: &str) -> Entry {
        let kind = match (text.strip_prefix("-> "), text) {
            (Some(target), _) => EntryKind::Symlink { target: target.to_owned() },
            (None, "/") => EntryKind::Directory,
            (None, text) => EntryKind::File { size: text.len() as u64 },
        };
        Entry { path: path.to_owned(), mode: 0o644, uid: 0, gid: 0, mtime: 0, kind }
    }

    /// The place of `new` on a base with files, of which `old` are those of an installed package.
    fn run(
        base: &[(&str, &str)],
        old: InstalledPackage,
        (new, files): (InstalledPackage, &[(&str, &str)]),
    ) -> Result<(Vec<String>, Vec<String>), String> {
        let mut ground = Ground::empty(UsrLayout::Separate);
        ground.entries = base.iter().map(|(path, text)| ((*path).to_owned(), entry(path, text))).collect();
        ground.packages = vec![old];
        let diversion = ["/bin/a", "/bin/a.other", ":"].map(str::to_owned);
        let [from, to, package] = diversion;
        ground.diversions = vec![Diversion { from, to, package }];
        let contents: BTreeMap<String, Vec<u8>> =
            base.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect();
        let shipped = |(path, text): &(&str, &str)| UnpackedEntry {
            entry: entry(path, text),
            package: 0,
            content: EntryContent::Nothing,
        };
        let packages = [new];
        let merged = super::super::merge::merge(files.iter().map(shipped).collect(), &ground, &packages);
        let merged = merged.map_err(|error| error.to_string())?;
        let over = lay_over(merged, &ground, &contents, &packages).map_err(|error| error.to_string())?;
        let paths = over.entries.into_iter().map(|unpacked| unpacked.entry.path).collect();
        let lost = over
            .lost
            .into_iter()
            .flat_map(|(name, paths)| paths.into_iter().map(move |it| format!("{name} {it}")));
        Ok((paths, over.removed.into_iter().chain(lost).collect()))
    }

    fn check(
        base: &[(&str, &str)],
        old: InstalledPackage,
        files: &[(&str, &str)],
        fields: &str,
        expected: (&[&str], &[&str]),
    ) {
        let found = run(base, old, (package("new", fields, files), files)).unwrap();
        assert_eq!((&found.0[..], &found.1[..]), (&expected.0.map_owned()[..], &expected.1.map_owned()[..]));
    }

    trait Owned {
        fn map_owned(&self) -> Vec<String>;
    }

    impl Owned for &[&str] {
        fn map_owned(&self) -> Vec<String> {
            self.iter().map(|text| (*text).to_owned()).collect()
        }
    }

    const NOTHING: &[&str] = &[];

    #[test]
    fn directories_of_the_base_stay_and_files_go_where_its_links_lead() {
        let base = [
            ("bin", "-> usr/bin"),
            ("usr", "/"),
            ("usr/bin", "/"),
            ("var/run", "-> /run"),
            ("run", "/"),
            ("d", "/"),
        ];
        let files =
            [("bin", "/"), ("bin/x", "x"), ("bin/a", "a"), ("var/run/y", "y"), ("d", "-> e"), ("new", "/")];
        let expected: &[&str] = &["new", "run/y", "usr/bin/a.other", "usr/bin/x"];
        let diverted = [&base[..], &[("usr/bin/a", "own")]].concat();
        check(&diverted, package("old", "", &[]), &files, "", (expected, NOTHING));
    }

    #[test]
    fn a_file_of_another_package_is_taken_over_with_its_word() {
        let (base, files) =
            ([("usr/x", "old"), ("usr/free", "by hand")], [("usr/x", "new"), ("usr/free", "new")]);
        let old = || package("old", "", &[("usr/x", "old")]);
        check(&base, old(), &files, "Replaces: old\n", (&["usr/free", "usr/x"], &["old usr/x"]));
        let error = run(&base, old(), (package("new", "", &files), &files)).unwrap_err();
        assert_eq!(error, "`usr/x` is in both `old` of the base and `new`");
        let error = run(&[("usr/x", "/")], old(), (package("new", "", &files), &files)).unwrap_err();
        assert_eq!(error, "`usr/x` is in both a directory of the base and `new`");
    }

    #[test]
    fn configuration_files_that_somebody_changed_are_kept() {
        let files = [("etc/c", "2")];
        let old = |text| package("new", "", &[("etc/c", text)]);
        let other = || package("old", "", &[]);
        check(&[], other(), &files, "", (&["etc/c"], NOTHING));
        check(&[("etc/c", "2")], other(), &files, "", (NOTHING, NOTHING));
        check(&[("etc/c", "mine")], other(), &files, "", (&["etc/c.dpkg-dist"], NOTHING));
        // The base has an earlier version: whose file, and whether the new version has another, decides.
        check(&[("etc/c", "1")], old("1"), &files, "", (&["etc/c"], NOTHING));
        check(&[("etc/c", "mine")], old("1"), &files, "", (&["etc/c.dpkg-dist"], NOTHING));
        check(&[("etc/c", "mine")], old("2"), &files, "", (NOTHING, NOTHING));
        check(&[], old("1"), &files, "", (NOTHING, NOTHING));
    }

    #[test]
    fn what_a_new_version_does_not_have_goes() {
        let base = [
            ("usr/d", "/"),
            ("usr/d/x", "x"),
            ("usr/e", "/"),
            ("usr/e/by-hand", "h"),
            ("usr/y", "y"),
            ("etc/c", "c"),
        ];
        let old = package(
            "new",
            "",
            &[
                ("usr/d", "/"),
                ("usr/d/x", "x"),
                ("usr/e", "/"),
                ("usr/y", "y"),
                ("etc/c", "c"),
                ("usr/gone", ""),
            ],
        );
        check(&base, old, &[("usr/y", "y")], "", (&["usr/y"], &["usr/d", "usr/d/x"]));
    }
}
