//! Writes layers of generated files, and makes the loader's cache for a finished stack of layers.

use std::collections::BTreeSet;

use super::writer::{LayerWriter, WriteError, Written};
use crate::elf::ld_so_conf::{self, LdSoConfError};
use crate::elf::ldconfig::LibcVersionError;
use crate::elf::{CacheError, Ldconfig, Root};
use crate::failure::Hinted;
use crate::observe::inventory_facts::InventoryFacts;
use crate::oci::{Entry, EntryKind, Generated};
use crate::plan::{GeneratedLayer, LdconfigPlan, PythonName, SystemLayer, UNVERSIONED_PYTHON};
use crate::store::Store;

/// The reason why the system's layer could not be written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum SystemLayerError {
    #[error("could not read the image's /etc/ld.so.conf")]
    Configuration(#[from] LdSoConfError),
    #[error("could not write the image's /etc/ld.so.cache")]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Libc(#[from] LibcVersionError),
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Hinted for SystemLayerError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Configuration(error) => error.hint(),
            Self::Cache(error) => error.hint(),
            Self::Libc(error) => error.hint(),
            Self::Write(error) => error.hint(),
        }
    }
}

/// Writes a layer of files whose contents are known.
pub fn write(layer: &GeneratedLayer, store: &Store) -> Result<Written, WriteError> {
    let mut writer = LayerWriter::new(store, &layer.compression, &|_| ())?;
    let files = layer.files.iter().map(|file| (file.entry.path.clone(), file)).collect();
    for (_, file) in layer.compression.in_order(&files) {
        match file.entry.kind {
            EntryKind::File { .. } => writer.file(&file.entry, || Ok(file.bytes.as_slice()))?,
            _ => writer.entry(&file.entry)?,
        }
    }
    writer.finish()
}

/// Writes the top layer over the layers that `below` describes, with the loader's cache of all of them.
pub fn write_system(
    layer: &SystemLayer,
    below: &InventoryFacts,
    store: &Store,
) -> Result<Written, SystemLayerError> {
    let mut files = layer.files.clone();
    files.extend(unversioned_python(layer, below));
    if let Some(directory) = &layer.searched {
        files.extend(loader_configuration(below, &files, directory, layer.mtime)?);
        files.sort_by(|a, b| a.entry.path.cmp(&b.entry.path));
    }
    let LdconfigPlan { architecture, vendor, libc_bin } = &layer.ldconfig;
    let ldconfig = Ldconfig::new(*architecture, vendor, libc_bin.as_str())?;
    let cache = loader_cache(below, &files, &ldconfig, layer.mtime)?;
    let compression = layer.compression.clone();
    Ok(write(&GeneratedLayer { files: merged(files, cache), compression }, store)?)
}

/// The link by which the interpreter is called `python`, where the layers that `below` describes have nothing of that name.
fn unversioned_python(layer: &SystemLayer, below: &InventoryFacts) -> Option<Generated> {
    let PythonName { searched, interpreter } = layer.unversioned_python.as_ref()?;
    let is_called = |directory: &String| below.is_file(&format!("{directory}/python"));
    (below.is_file(interpreter.trim_start_matches('/')) && !searched.iter().any(is_called)).then(|| {
        Generated {
            entry: Entry {
                path: format!("{UNVERSIONED_PYTHON}/python"),
                mode: 0o777,
                uid: 0,
                gid: 0,
                mtime: layer.mtime,
                kind: EntryKind::Symlink { target: interpreter.clone() },
            },
            bytes: Vec::new(),
        }
    })
}

/// The additions of `ldconfig` to an image of the layers that `below` describes with `files` on top: the cache, and the
/// links by which libraries are found under their SONAME.
fn loader_cache(
    below: &InventoryFacts,
    files: &[Generated],
    ldconfig: &Ldconfig,
    mtime: u64,
) -> Result<Vec<Generated>, SystemLayerError> {
    let mut facts = below.clone();
    facts.stack(InventoryFacts::of(files));
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
fn loader_configuration(
    below: &InventoryFacts,
    files: &[Generated],
    directory: &str,
    mtime: u64,
) -> Result<Option<Generated>, LdSoConfError> {
    const PATH: &str = "/etc/ld.so.conf";
    let mut facts = below.clone();
    facts.stack(InventoryFacts::of(files));
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
fn merged(files: Vec<Generated>, more: Vec<Generated>) -> Vec<Generated> {
    let replaced: BTreeSet<String> = more.iter().map(|file| file.entry.path.clone()).collect();
    let mut all: Vec<Generated> =
        files.into_iter().filter(|file| !replaced.contains(&file.entry.path)).chain(more).collect();
    all.sort_by(|a, b| a.entry.path.cmp(&b.entry.path));
    all
}
