//! The word of an image on its packages: dpkg's `status`, and the archives and keys that its apt uses.
//!
//! <https://manpages.debian.org/sources.list.5> · <https://manpages.debian.org/apt-secure.8>

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};

use super::contents::Contents;
use super::ground::STATUS;
use crate::debian::sources::{self, AptSource, SignedBy, SourcesError};
use crate::debian::usrmerge::follow;
use crate::failure::Hinted;
use crate::oci::{Entry, EntryKind};

const SOURCES: &str = "etc/apt/sources.list";
const SOURCE_PARTS: &str = "etc/apt/sources.list.d/";
const TRUSTED: &str = "etc/apt/trusted.gpg";
const TRUSTED_PARTS: &str = "etc/apt/trusted.gpg.d/";
/// The directories from which sources name their keyrings.
const KEYRINGS: [&str; 3] = ["usr/share/keyrings/", "etc/apt/keyrings/", "usr/local/share/keyrings/"];
const RELEASES: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];
/// The databases of other package managers, and what people call these.
const OTHERS: [(&str, &str); 7] = [
    ("lib/apk/db/installed", "apk"),
    ("usr/lib/apk/db/installed", "apk"),
    ("var/lib/rpm", "rpm"),
    ("usr/lib/sysimage/rpm", "rpm"),
    ("usr/share/rpm", "rpm"),
    ("var/lib/pacman/local", "pacman"),
    ("var/lib/dpkg/status.d", "packages without dpkg, as in a distroless image"),
];
/// The largest file of these, in bytes: the `status` of a desktop has 6 MB.
const LARGEST: u64 = 64 << 20;

/// The files by which an image tells its packages and their archives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageArchives {
    /// The text of dpkg's `status`.
    pub status: String,
    /// `debian`, `ubuntu`: `ID` of the image's `os-release`.
    pub distribution: String,
    /// apt's lists of sources, with their paths.
    sources: Vec<(String, String)>,
    /// The keyrings by their paths.
    keyrings: BTreeMap<String, Vec<u8>>,
}

/// A suite that an image takes packages from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSuite {
    /// The suite's name; one that ends in `/` is a directory.
    pub name: String,
    /// The roots of its archive.
    pub uris: Vec<String>,
    /// The components of it that are used.
    pub components: Vec<String>,
    /// The keyrings that may sign it, with their paths in the image.
    pub keyrings: Vec<(String, Vec<u8>)>,
    /// The fingerprints of the only keys that may; all of the keyrings when empty.
    pub fingerprints: Vec<String>,
}

/// The reason why an image tells no packages, or no archives.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum ImageArchivesError {
    #[error("`system-packages` are Debian's, and the base has no dpkg")]
    NoDpkg,
    #[error("`system-packages` are Debian's, and the base is one of {manager}")]
    OtherManager { manager: &'static str },
    #[error("could not read `{path}` of the base")]
    Read { path: String, source: io::Error },
    #[error("could not read the sources in `{path}` of the base")]
    Sources { path: String, source: SourcesError },
    #[error("apt of the base has no source to take packages from")]
    NoSource,
    #[error("the base takes suite `{suite}` without a signature: `{path}` says that it is trusted")]
    Unsigned { suite: String, path: String },
    #[error("suite `{suite}` of the base is signed by `{keyring}`, which the base does not have")]
    NoKeyring { suite: String, keyring: String },
    #[error("the base has no keyring for suite `{suite}`")]
    NoKeys { suite: String },
}

impl Hinted for ImageArchivesError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoDpkg | Self::OtherManager { .. } => {
                "build on an image of Debian or Ubuntu, or install the packages in the base".into()
            }
            Self::Read { source, .. } => return source.hint(),
            Self::Sources { source, .. } => return source.hint(),
            Self::NoSource => {
                "build the base with `apt` among its packages and its archive in `files: [{from: debian.sources, to: \
                 /etc/apt/sources.list.d/}]`; or add the packages where the base is described"
                    .into()
            }
            Self::Unsigned { .. } => {
                "nothing is taken from an archive that nobody signed: name its key in `Signed-By`, or remove the source from the base".into()
            }
            Self::NoKeyring { .. } | Self::NoKeys { .. } => {
                "put the archive's keyring into the base, or remove the source from it".into()
            }
        })
    }
}

/// Returns whether an entry of an image is one of the files that [`ImageArchives`] are made of.
pub fn is_told_by(entry: &Entry) -> bool {
    let EntryKind::File { size } = entry.kind else { return false };
    let path = entry.path.as_str();
    let is_plain = [STATUS, SOURCES, TRUSTED].contains(&path) || RELEASES.contains(&path);
    let parts = KEYRINGS.iter().chain(&[SOURCE_PARTS, TRUSTED_PARTS]);
    size <= LARGEST && (is_plain || parts.into_iter().any(|directory| path.starts_with(directory)))
}

impl ImageArchives {
    /// Those of the image that `entries` are, of which `contents` has the files that [`is_told_by`] names.
    pub fn of(
        entries: &BTreeMap<String, Entry>,
        contents: &dyn Contents,
    ) -> Result<Self, ImageArchivesError> {
        let files = Files { entries, contents };
        let Some(status) = files.text(STATUS)? else {
            let has = |path: &&(&str, &str)| files.has(path.0);
            return Err(match OTHERS.iter().find(has) {
                Some((_, manager)) => ImageArchivesError::OtherManager { manager },
                None => ImageArchivesError::NoDpkg,
            });
        };
        let mut sources = Vec::new();
        for path in std::iter::once(SOURCES.to_owned()).chain(files.below(SOURCE_PARTS)) {
            sources.extend(files.text(&path)?.map(|text| (path, text)));
        }
        let mut keyrings = BTreeMap::new();
        let named = KEYRINGS.iter().flat_map(|directory| files.below(directory));
        let trusted = std::iter::once(TRUSTED.to_owned()).chain(files.below(TRUSTED_PARTS));
        for path in trusted.chain(named) {
            keyrings.extend(files.bytes(&path)?.map(|bytes| (path, bytes)));
        }
        Ok(Self { status, distribution: files.distribution()?, sources, keyrings })
    }

    /// The suites of the sources in use, for `architecture`; sources that are no web addresses are left out.
    pub fn suites(&self, architecture: &str) -> Result<Vec<ImageSuite>, ImageArchivesError> {
        let mut suites = Vec::new();
        for (path, source) in self.in_use()? {
            let is_meant =
                source.architectures.is_empty() || source.architectures.iter().any(|it| it == architecture);
            let is_web = |uri: &&String| uri.starts_with("http://") || uri.starts_with("https://");
            let uris: Vec<String> = source.uris.iter().filter(is_web).cloned().collect();
            for name in source.suites.iter().filter(|_| is_meant && !uris.is_empty()) {
                suites.push(self.suite(name, &uris, &source, &path)?);
            }
        }
        if suites.is_empty() { Err(ImageArchivesError::NoSource) } else { Ok(suites) }
    }

    fn in_use(&self) -> Result<Vec<(String, AptSource)>, ImageArchivesError> {
        let mut found = Vec::new();
        for (path, text) in &self.sources {
            let parsed = match path.rsplit('.').next() {
                Some("sources") => sources::parse_sources(text),
                Some("list") => sources::parse_list(text),
                _ => continue,
            };
            let parsed =
                parsed.map_err(|source| ImageArchivesError::Sources { path: path.clone(), source })?;
            found.extend(
                parsed.into_iter().filter(|source| source.enabled).map(|source| (path.clone(), source)),
            );
        }
        Ok(found)
    }

    fn suite(
        &self,
        name: &str,
        uris: &[String],
        source: &AptSource,
        path: &str,
    ) -> Result<ImageSuite, ImageArchivesError> {
        if source.trusted {
            return Err(ImageArchivesError::Unsigned { suite: name.to_owned(), path: path.to_owned() });
        }
        let (mut keyrings, mut fingerprints) = (Vec::new(), Vec::new());
        match &source.signed_by {
            Some(SignedBy::Key(key)) => keyrings.push((path.to_owned(), key.clone().into_bytes())),
            Some(SignedBy::Names(names)) => {
                for named in names {
                    match named.strip_prefix('/') {
                        Some(keyring) => keyrings.push(self.keyring(name, keyring)?),
                        None => fingerprints.push(named.trim_end_matches('!').to_ascii_uppercase()),
                    }
                }
            }
            None => {}
        }
        if keyrings.is_empty() {
            let is_trusted = |(path, _): &(&String, &Vec<u8>)| path.starts_with(TRUSTED);
            let trusted = self.keyrings.iter().filter(is_trusted);
            keyrings.extend(trusted.map(|(path, bytes)| (path.clone(), bytes.clone())));
        }
        if keyrings.is_empty() {
            return Err(ImageArchivesError::NoKeys { suite: name.to_owned() });
        }
        let (name, uris, components) = (name.to_owned(), uris.to_vec(), source.components.clone());
        Ok(ImageSuite { name, uris, components, keyrings, fingerprints })
    }

    fn keyring(&self, suite: &str, path: &str) -> Result<(String, Vec<u8>), ImageArchivesError> {
        let missing =
            || ImageArchivesError::NoKeyring { suite: suite.to_owned(), keyring: format!("/{path}") };
        let bytes = self.keyrings.get(path).ok_or_else(missing)?;
        Ok((path.to_owned(), bytes.clone()))
    }
}

/// The files of an image.
struct Files<'a> {
    entries: &'a BTreeMap<String, Entry>,
    contents: &'a dyn Contents,
}

impl Files<'_> {
    fn has(&self, path: &str) -> bool {
        let inside = format!("{path}/");
        let mut below = self.entries.range(inside.clone()..);
        self.entries.contains_key(path) || below.next().is_some_and(|(path, _)| path.starts_with(&inside))
    }

    fn below(&self, directory: &str) -> impl Iterator<Item = String> {
        let range = self.entries.range(directory.to_owned()..);
        range
            .take_while(|(path, _)| path.starts_with(directory))
            .map(|(path, _)| path.clone())
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// The content of the file that `path` leads to.
    fn bytes(&self, path: &str) -> Result<Option<Vec<u8>>, ImageArchivesError> {
        let link = |path: &str| match self.entries.get(path).map(|entry| &entry.kind) {
            Some(EntryKind::Symlink { target }) => Some(target.clone()),
            _ => None,
        };
        let real = follow(&format!("{path}/."), &link).unwrap_or_default();
        match self.entries.get(&real).filter(|entry| is_told_by(entry)) {
            Some(entry) => match self.contents.read(&entry.path) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(source) => Err(ImageArchivesError::Read { path: path.to_owned(), source }),
            },
            None => Ok(None),
        }
    }

    fn text(&self, path: &str) -> Result<Option<String>, ImageArchivesError> {
        Ok(self.bytes(path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// `ID` of `os-release`; Debian's where it says none.
    fn distribution(&self) -> Result<String, ImageArchivesError> {
        for path in RELEASES {
            let text = self.text(path)?.unwrap_or_default();
            if let Some(id) = text.lines().find_map(|line| line.strip_prefix("ID=")) {
                return Ok(id.trim_matches(['"', '\'']).to_owned());
            }
        }
        Ok("debian".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Example = (BTreeMap<String, Entry>, BTreeMap<String, Vec<u8>>);

    fn example(files: &[(&str, &str)]) -> Example {
        let entry = |(path, text): &(&str, &str)| {
            let kind = match text.strip_prefix("-> ") {
                Some(target) => EntryKind::Symlink { target: target.to_owned() },
                None => EntryKind::File { size: text.len() as u64 },
            };
            let entry = Entry { path: (*path).to_owned(), mode: 0o644, uid: 0, gid: 0, mtime: 0, kind };
            ((*path).to_owned(), entry)
        };
        let contents = files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()));
        (files.iter().map(entry).collect(), contents.collect())
    }

    /// The suites of an image as `name uri components keyrings fingerprints`, or the error.
    fn suites(files: &[(&str, &str)]) -> Vec<String> {
        let (entries, contents) = example(&[&[(STATUS, "")], files].concat());
        let found = ImageArchives::of(&entries, &contents).and_then(|archives| archives.suites("amd64"));
        let told = |suite: &ImageSuite| {
            let keyrings: Vec<&str> = suite.keyrings.iter().map(|(path, _)| path.as_str()).collect();
            let ImageSuite { name, uris, components, fingerprints, .. } = suite;
            format!(
                "{name} {} {} {} {}",
                uris.join(" "),
                components.join(" "),
                keyrings.join(" "),
                fingerprints.join(" ")
            )
        };
        match found {
            Ok(suites) => suites.iter().map(|suite| told(suite).trim_end().to_owned()).collect(),
            Err(error) => vec![error.to_string()],
        }
    }

    #[test]
    fn sources_of_both_forms_are_used_with_the_keys_that_they_name() {
        let debian = "Types: deb\nURIs: http://a.test/debian\nSuites: x x-updates\nComponents: main\nSigned-By: /usr/share/keyrings/a.gpg\n";
        let found = suites(&[
            ("etc/apt/sources.list", "deb http://b.test/debian y main contrib\ndeb cdrom:[x]/ y main\n"),
            ("etc/apt/sources.list.d/a.sources", debian),
            ("etc/apt/sources.list.d/c.list", "deb [arch=arm64] http://c.test z main\n"),
            ("etc/apt/sources.list.d/d.list", "deb [signed-by=abcd!] http://d.test / \n"),
            ("etc/apt/sources.list.d/e.save", "deb http://e.test z main\n"),
            ("etc/apt/trusted.gpg.d/b.asc", "-> /usr/share/keyrings/a.gpg"),
            ("usr/share/keyrings/a.gpg", "key"),
        ]);
        let expected = [
            "y http://b.test/debian/ main contrib etc/apt/trusted.gpg.d/b.asc",
            "x http://a.test/debian/ main usr/share/keyrings/a.gpg",
            "x-updates http://a.test/debian/ main usr/share/keyrings/a.gpg",
            "/ http://d.test/  etc/apt/trusted.gpg.d/b.asc ABCD",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_cannot_be_verified_is_refused() {
        let source = |options: &str| format!("deb {options} http://a.test x main\n");
        for (options, message) in [
            (
                "[trusted=yes]",
                "the base takes suite `x` without a signature: `etc/apt/sources.list` says that it is trusted",
            ),
            (
                "[signed-by=/usr/share/keyrings/no.gpg]",
                "suite `x` of the base is signed by `/usr/share/keyrings/no.gpg`, which the base does not have",
            ),
            ("", "the base has no keyring for suite `x`"),
        ] {
            assert_eq!(suites(&[("etc/apt/sources.list", &source(options))]), [message]);
        }
        assert_eq!(suites(&[]), ["apt of the base has no source to take packages from"]);
    }

    #[test]
    fn an_image_without_dpkg_is_named() {
        for (path, message) in [
            ("lib/apk/db/installed", "the base is one of apk"),
            ("var/lib/rpm/rpmdb.sqlite", "the base is one of rpm"),
            ("var/lib/dpkg/status.d/libc6", "as in a distroless image"),
            ("etc/hosts", "the base has no dpkg"),
        ] {
            let (entries, contents) = example(&[(path, "")]);
            let error = ImageArchives::of(&entries, &contents).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
