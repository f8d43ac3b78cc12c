//! The layer of a relocatable CPython, from the archive that uv would install.
//!
//! Such an archive has one directory, with `bin` and `lib` in it, which may lie anywhere: the interpreter finds its library
//! from where it is itself.
#![allow(clippy::disallowed_methods, reason = "layers are written from files")]

use std::collections::BTreeMap;
use std::io;

use super::system_files::{SystemFiles, SystemFilesError};
use super::writer::{LayerWriter, WriteError, Written};
use crate::failure::{Fault, Hinted};
use crate::layer::read::ReadError;
use crate::oci::{Entry, EntryKind};
use crate::plan::PythonLayer;
use crate::store::{Store, StoreError};

/// The bytes that an archive unpacks to: CPython with its tests and debug symbols has some 400 MB.
const MOST_UNPACKED: u64 = 4 << 30;

/// The reason why an archive is no Python for an image.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum PythonArchiveError {
    #[error("it is not a sound archive")]
    Archive(#[source] ReadError),
    #[error("it could not be read")]
    Read(#[source] io::Error),
    #[error("its files could not be kept")]
    Spool(#[source] io::Error),
    #[error("it unpacks to more than {MOST_UNPACKED} bytes")]
    Large,
    #[error("it has no `bin/python3` in one directory, as a relocatable Python has")]
    NoPython,
    #[error("its link `{path}` leads out of its directory, to `{target}`")]
    LinkLeaves { path: String, target: String },
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<SystemFilesError> for PythonArchiveError {
    fn from(error: SystemFilesError) -> Self {
        match error {
            SystemFilesError::Layer(source) => Self::Archive(source),
            SystemFilesError::Blob(source) => Self::Read(source),
            SystemFilesError::Spool(source) => Self::Spool(source),
            SystemFilesError::Large => Self::Large,
        }
    }
}

impl Hinted for PythonArchiveError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Write(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Spool(error) => error.hint(),
            Self::Archive(_) | Self::Read(_) | Self::Large | Self::NoPython | Self::LinkLeaves { .. } => {
                Some("take a build named `…-install_only.tar.gz`, such as those that uv installs".into())
            }
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Write(_) | Self::Store(_) | Self::Spool(_) => Fault::Job,
            _ => Fault::Input,
        }
    }
}

/// Writes the layer of a Python, of the archive that the store has.
pub fn write(
    layer: &PythonLayer,
    store: &Store,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Written, PythonArchiveError> {
    let archive = store.open_blob(&layer.archive)?;
    let files = SystemFiles::read([archive], &|_| true, store.scratch()?)?;
    let placed = placed(&files.entries)?;
    let mut writer = LayerWriter::new(store, &layer.compression, progress)?;
    for (source, entry) in &placed {
        match entry.kind {
            EntryKind::File { .. } => writer.file(entry, || files.reader(source))?,
            _ => writer.entry(entry)?,
        }
    }
    Ok(writer.finish()?)
}

/// The entries as the image has them, by the paths of their contents in the archive; sorted.
fn placed(entries: &BTreeMap<String, Entry>) -> Result<Vec<(String, Entry)>, PythonArchiveError> {
    let top = entries.keys().next().and_then(|first| first.split('/').next()).unwrap_or_default();
    let program = format!("{top}/bin/python3");
    let is_in_top = |path: &String| path == top || path.starts_with(&format!("{top}/"));
    if !entries.contains_key(&program) || !entries.keys().all(is_in_top) {
        return Err(PythonArchiveError::NoPython);
    }
    let size = |entry: &Entry| if let EntryKind::File { size } = entry.kind { size } else { 0 };
    if entries.values().map(size).fold(0, u64::saturating_add) > MOST_UNPACKED {
        return Err(PythonArchiveError::Large);
    }
    let below = entries.iter().filter_map(|(path, entry)| Some((path.strip_prefix(top)?, path, entry)));
    let below = below.filter(|(relative, ..)| !relative.is_empty());
    below.map(|(relative, path, entry)| place(relative, path, entry, entries)).collect()
}

/// An entry below the prefix, and the path of its content in the archive.
fn place(
    relative: &str,
    path: &str,
    entry: &Entry,
    entries: &BTreeMap<String, Entry>,
) -> Result<(String, Entry), PythonArchiveError> {
    let leaves = |target: &str| PythonArchiveError::LinkLeaves { path: path.into(), target: target.into() };
    let (source, kind) = match &entry.kind {
        EntryKind::Symlink { target } if leaves_root(relative, target) => return Err(leaves(target)),
        // Both names of a file get its content.
        EntryKind::Hardlink { target } => {
            let target = target.trim_start_matches("./").trim_start_matches('/');
            let first = entries.get(target).filter(|entry| matches!(entry.kind, EntryKind::File { .. }));
            (target, first.ok_or_else(|| leaves(target))?.kind.clone())
        }
        kind => (path, kind.clone()),
    };
    let mode = entry.mode & 0o777;
    let path = format!("{}{relative}", PythonLayer::PREFIX);
    Ok((source.to_owned(), Entry { path, mode, uid: 0, gid: 0, mtime: entry.mtime, kind }))
}

/// Returns whether a symlink at `path`, relative to the root as `/bin/python3`, leads out of that root.
fn leaves_root(path: &str, target: &str) -> bool {
    let above = path.split('/').count().saturating_sub(2);
    let mut depth = isize::try_from(above).unwrap_or(isize::MAX);
    let steps = target.split('/').map(|part| match part {
        "" | "." => 0,
        ".." => -1,
        _ => 1,
    });
    target.starts_with('/')
        || steps.into_iter().any(|step| {
            depth += step;
            depth < 0
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(entries: &[(&str, EntryKind)], expected: &str) {
        let entry = |(path, kind): &(&str, EntryKind)| Entry {
            path: (*path).to_owned(),
            mode: 0o4755,
            uid: 7,
            gid: 7,
            mtime: 1,
            kind: kind.clone(),
        };
        let entries: BTreeMap<String, Entry> =
            entries.iter().map(|it| (it.0.to_owned(), entry(it))).collect();
        let placed = placed(&entries).map(|placed| {
            let shown = placed.iter().map(|(_, entry)| format!("{} {:o}", entry.path, entry.mode));
            shown.collect::<Vec<_>>().join(", ")
        });
        assert_eq!(placed.unwrap_or_else(|error| error.to_string()), expected);
    }

    #[test]
    fn a_python_lies_below_usr_local() {
        let file = || EntryKind::File { size: 1 };
        let link = |target: &str| EntryKind::Symlink { target: target.into() };
        check(
            &[
                ("python", EntryKind::Directory),
                ("python/bin/python3", link("python3.12")),
                ("python/bin/python3.12", file()),
                (
                    "python/bin/python3.12-hard",
                    EntryKind::Hardlink { target: "python/bin/python3.12".into() },
                ),
            ],
            "usr/local/bin/python3 755, usr/local/bin/python3.12 755, usr/local/bin/python3.12-hard 755",
        );
        check(&[("demo/setup.py", file())], &PythonArchiveError::NoPython.to_string());
        check(&[("bin/python3", file())], &PythonArchiveError::NoPython.to_string());
        check(
            &[("other/a", file()), ("python/bin/python3", file())],
            &PythonArchiveError::NoPython.to_string(),
        );
        for target in ["/usr/bin/python3", "../../python3", "../lib/../../../etc/passwd"] {
            check(
                &[("python/bin/python3", link(target))],
                &format!("its link `python/bin/python3` leads out of its directory, to `{target}`"),
            );
        }
        check(
            &[("python/bin/python3", EntryKind::Hardlink { target: "/etc/passwd".into() })],
            "its link `python/bin/python3` leads out of its directory, to `etc/passwd`",
        );
    }
}
