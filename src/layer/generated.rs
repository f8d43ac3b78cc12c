//! Writes layers of generated files, and makes the loader's cache for a finished stack of layers.

use std::collections::BTreeSet;

use super::writer::{Form, LayerWriter, WriteError, Written};
use crate::base::facts::Facts;
use crate::elf::ld_so_conf::{self, LdSoConfError};
use crate::elf::{CacheError, Ldconfig, Root};
use crate::failure::Hinted;
use crate::oci::{Entry, EntryKind, Generated};
use crate::store::Store;

/// Why the loader's cache could not be made.
#[derive(Debug, thiserror::Error)]
pub enum LoaderCacheError {
    #[error("could not read the image's /etc/ld.so.conf")]
    Configuration(#[from] LdSoConfError),
    #[error("could not write the image's /etc/ld.so.cache")]
    Cache(#[from] CacheError),
}

impl Hinted for LoaderCacheError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Configuration(error) => error.hint(),
            Self::Cache(error) => error.hint(),
        }
    }
}

/// Writes `files`, each path once, into a layer.
pub fn write(files: &[Generated], store: &Store, form: &Form) -> Result<Written, WriteError> {
    let mut writer = LayerWriter::new(store, form, &|_| ())?;
    let files = files.iter().map(|file| (file.entry.path.clone(), file)).collect();
    for (_, file) in form.in_order(&files) {
        match file.entry.kind {
            EntryKind::File { .. } => writer.file(&file.entry, || Ok(file.bytes.as_slice()))?,
            _ => writer.entry(&file.entry)?,
        }
    }
    writer.finish()
}

/// What `ldconfig` would add to an image of the layers that `below` describes with `files` on top: the cache, and the
/// links by which libraries are found under their SONAME.
pub fn loader_cache(
    below: &Facts,
    files: &[Generated],
    ldconfig: &Ldconfig,
    mtime: u64,
) -> Result<Vec<Generated>, LoaderCacheError> {
    let mut facts = below.clone();
    facts.stack(Facts::of(files));
    let directories = ld_so_conf::directories("/etc/ld.so.conf", &facts)?;
    let scan = ldconfig.scan(&directories, &facts);
    let entry = |path: &str, mode, kind| Entry {
        path: path.trim_start_matches('/').to_owned(),
        mode,
        uid: 0,
        gid: 0,
        mtime,
        kind,
    };
    let cache = ldconfig.cache(&scan).to_bytes()?;
    let mut added: Vec<Generated> = scan
        .links
        .iter()
        .map(|link| Generated {
            entry: entry(&link.path, 0o777, EntryKind::Symlink { target: link.target.clone() }),
            bytes: Vec::new(),
        })
        .collect();
    let kind = EntryKind::File { size: cache.len() as u64 };
    added.push(Generated { entry: entry("etc/ld.so.cache", 0o644, kind), bytes: cache });
    Ok(added)
}

/// An `/etc/ld.so.conf` that includes what `files` add to `/etc/ld.so.conf.d`, where the one that `below` has does not:
/// where the loader would not search `directory`, which they name.
pub fn loader_configuration(
    below: &Facts,
    files: &[Generated],
    directory: &str,
    mtime: u64,
) -> Result<Option<Generated>, LdSoConfError> {
    const PATH: &str = "/etc/ld.so.conf";
    let mut facts = below.clone();
    facts.stack(Facts::of(files));
    if ld_so_conf::directories(PATH, &facts)?.iter().any(|searched| searched == directory) {
        return Ok(None);
    }
    let before = facts.text(PATH).unwrap_or_default();
    let bytes = [b"include /etc/ld.so.conf.d/*.conf\n", before.as_slice()].concat();
    let kind = EntryKind::File { size: bytes.len() as u64 };
    let entry = Entry { path: PATH[1..].to_owned(), mode: 0o644, uid: 0, gid: 0, mtime, kind };
    Ok(Some(Generated { entry, bytes }))
}

/// `files` and `more`, sorted by path, each path once: `more` wins.
pub fn merged(files: Vec<Generated>, more: Vec<Generated>) -> Vec<Generated> {
    let replaced: BTreeSet<String> = more.iter().map(|file| file.entry.path.clone()).collect();
    let mut all: Vec<Generated> =
        files.into_iter().filter(|file| !replaced.contains(&file.entry.path)).chain(more).collect();
    all.sort_by(|a, b| a.entry.path.cmp(&b.entry.path));
    all
}
