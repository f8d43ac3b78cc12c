//! The places of sources: directories, archives, and repositories of git.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use uv_normalize::PackageName;

use super::decode::Complaint;
use super::diagnostic::quote;
use super::wheel_reference::{ARCHIVES, FileFragment, FilePlace, below, file_place};
use crate::oci::Digest;
use crate::pypa::git_reference::{self, GitReference};
use crate::pypa::source_file::SourceFormat;
use crate::pypa::subdirectory::Subdirectory;

/// The place of a source that is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourcePlace {
    /// A directory, absolute or relative to the recipe's.
    Directory(String),
    /// A source distribution, or another archive of a source.
    Archive(SourceArchive),
    /// A repository.
    Git(GitReference),
}

/// An archive of a source at its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceArchive {
    /// The place of the file.
    pub place: FilePlace,
    /// The digest that it must have, where somebody gives it.
    pub sha256: Option<Digest>,
    /// The directory of the project in it.
    pub subdirectory: Option<Subdirectory>,
}

impl SourcePlace {
    /// The place that `text` names; `None` where it names something else.
    pub(super) fn parse(text: &str) -> Option<Result<Self, Complaint>> {
        if text.starts_with(git_reference::PREFIX) {
            return Some(git(text).map(Self::Git));
        }
        let (place, fragment) = text.split_once('#').unwrap_or((text, ""));
        if SourceFormat::of(place).is_some() {
            return Some(SourceArchive::parse(place, fragment, text).map(Self::Archive));
        }
        let is_path =
            ["./", "../", "/"].iter().any(|start| place.starts_with(start)) || [".", ".."].contains(&place);
        // What follows `#` is said of archives alone.
        let is_directory =
            is_path && fragment.is_empty() && !ARCHIVES.iter().any(|suffix| place.ends_with(suffix));
        is_directory.then(|| Ok(Self::Directory(place.to_owned())))
    }

    /// The project's name, as far as the place tells it.
    pub(super) fn told_name(text: &str) -> Option<PackageName> {
        let (place, fragment) = text.split_once('#').unwrap_or((text, ""));
        let egg = fragment.split('&').find_map(|word| word.strip_prefix("egg="));
        let of_archive = || {
            let file = percent_decode_str(place.rsplit('/').next()?).decode_utf8().ok()?;
            SourceFormat::of(&file)?;
            Some(file.rsplit_once('-')?.0.to_owned())
        };
        let egg = egg.map(|egg| egg.split('[').next().unwrap_or_default().to_owned());
        PackageName::from_str(&egg.or_else(of_archive)?).ok()
    }

    /// True for the user's own files; false for what others made.
    pub fn is_directory(&self) -> bool {
        matches!(self, Self::Directory(_))
    }

    /// The directory of the project in it.
    pub fn subdirectory(&self) -> Option<&Subdirectory> {
        match self {
            Self::Directory(_) => None,
            Self::Archive(archive) => archive.subdirectory.as_ref(),
            Self::Git(reference) => reference.subdirectory.as_ref(),
        }
    }

    /// It as it is seen from the directory at `above`, where its path begins at one that is relative to that.
    pub fn moved(self, above: &str) -> Self {
        match self {
            Self::Directory(path) => Self::Directory(below(above, &path)),
            Self::Archive(archive) => {
                Self::Archive(SourceArchive { place: archive.place.moved(above), ..archive })
            }
            Self::Git(reference) => Self::Git(reference),
        }
    }
}

impl SourceArchive {
    fn parse(place: &str, fragment: &str, text: &str) -> Result<Self, Complaint> {
        let FileFragment { sha256, subdirectory } = FileFragment::parse(fragment)?;
        Ok(Self { place: file_place(place, text)?, sha256, subdirectory })
    }
}

fn git(text: &str) -> Result<GitReference, Complaint> {
    text.parse().map_err(|error| {
        Complaint::new(format!("{} is no repository of git: {error}", quote(text)))
            .help("write `NAME @ git+https://host/repository@REVISION#subdirectory=DIRECTORY`")
    })
}

/// Without secrets.
impl fmt::Display for SourcePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => f.write_str(path),
            Self::Archive(archive) => archive.fmt(f),
            Self::Git(reference) => reference.without_login().fmt(f),
        }
    }
}

impl fmt::Display for SourceArchive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            self.sha256.map(|digest| format!("sha256={}", digest.hex())),
            self.subdirectory.as_ref().map(|subdirectory| format!("subdirectory={subdirectory}")),
        ];
        let words: Vec<String> = words.into_iter().flatten().collect();
        let sign = if words.is_empty() { "" } else { "#" };
        write!(f, "{}{sign}{}", self.place, words.join("&"))
    }
}
