//! A base's files, unpacked once: what builds see of the image.
//!
//! Owners, devices and rights beyond reading and running are left out, and so are a few directories that no build reads.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::tree::{TreeRoot, write_content};
use crate::failure::Hinted;
use crate::layer::read::{decompressed, each_event};
use crate::oci::Digest;
use crate::oci::paths::{WHITEOUT, fits_a_file_system};
use crate::oci::tar::read::{MemberKind, TarEvent, TarMember};
use crate::sandbox::{SandboxLink, SandboxTree, TreeAccess};
use crate::store::{Store, StoreError};

/// Part of the name of what is kept: raised when other files of a base are needed.
const FORMAT: u32 = 1;
/// The directories that no build reads.
const UNREAD: [&str; 8] = [
    "dev",
    "proc",
    "sys",
    "usr/share/doc",
    "usr/share/locale",
    "usr/share/man",
    "var/cache",
    "var/lib/apt/lists",
];
/// The files of a base, and their bytes: images with all of CUDA's toolkit have some 10 GB in 200,000.
const MOST_FILES: usize = 1 << 20;
const MOST_BYTES: u64 = 64 << 30;
const EXECUTABLE: u32 = 0o111;
/// The name by which a layer hides everything that is in a directory below it.
const OPAQUE: &str = ".wh..wh..opq";

/// The reason why a base cannot be unpacked.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum BaseTreeError {
    #[error("could not unpack the base's layer {layer}")]
    Layer { layer: Digest, source: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Hinted for BaseTreeError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Layer { source, .. } => source.hint(),
            Self::Store(error) => error.hint(),
        }
    }
}

/// The directory with the files of a base of these `layers`, bottom first, which `store` has.
pub fn base_tree(store: &Store, layers: &[Digest]) -> Result<PathBuf, BaseTreeError> {
    let key = Digest::of(format!("base {FORMAT} {layers:?}"));
    store.put_tree(&key, |directory| unpack(store, layers, directory))
}

/// Unpacks an image of these `layers`, bottom first, which `store` has, into an empty directory.
pub fn unpack(store: &Store, layers: &[Digest], directory: &Path) -> Result<(), BaseTreeError> {
    let mut room = Room::default();
    layers.iter().try_for_each(|layer| {
        let failed = |source| BaseTreeError::Layer { layer: *layer, source };
        apply(store.open_blob(layer)?, directory, &mut room).map_err(failed)
    })
}

/// The directories and links at the top of a base, as a sandbox has them: it has some of its own.
pub fn top_level(base: &Path) -> io::Result<(Vec<SandboxTree>, Vec<SandboxLink>)> {
    const OWN: [&str; 6] = ["dev", "imgforge", "proc", "run", "sys", "tmp"];
    let (mut trees, mut links) = (Vec::new(), Vec::new());
    let entries: Vec<_> = fs::read_dir(base)?.collect::<io::Result<_>>()?;
    for entry in entries {
        let name = entry.file_name();
        if OWN.iter().any(|own| name == *own) {
            continue;
        }
        let (source, path) = (entry.path(), Path::new("/").join(&name));
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            links.push(SandboxLink { path, target: fs::read_link(&source)? });
        } else if kind.is_dir() {
            trees.push(SandboxTree { source, target: path, access: TreeAccess::ReadOnly });
        }
    }
    trees.sort_by(|a, b| a.target.cmp(&b.target));
    links.sort_by(|a, b| a.path.cmp(&b.path));
    Ok((trees, links))
}

/// The files and bytes so far.
#[derive(Default)]
struct Room {
    files: usize,
    bytes: u64,
}

impl Room {
    fn take(&mut self, size: u64) -> io::Result<()> {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(size);
        if self.files > MOST_FILES || self.bytes > MOST_BYTES {
            let most = format!("the base has more than {MOST_FILES} files or {MOST_BYTES} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, most));
        }
        Ok(())
    }
}

/// Writes what a layer has over what is below it.
fn apply(blob: File, directory: &Path, room: &mut Room) -> io::Result<()> {
    let root = TreeRoot::open(directory)?;
    let mut current = None;
    each_event(decompressed(blob)?, |event, member| {
        match event {
            TarEvent::Begin => {
                room.take(member.size)?;
                current = place(&root, member)?;
            }
            event => write_content(event, &mut current)?,
        }
        Ok(())
    })
}

/// Makes a member; gives the file whose content follows, and its modification time.
fn place(root: &TreeRoot, member: &TarMember) -> io::Result<Option<(File, u64)>> {
    let Some(path) = path_of(&member.path) else { return Ok(None) };
    let (above, name) = path.rsplit_once('/').unwrap_or(("", &path));
    if name == OPAQUE {
        return root.empty(above).map(|()| None);
    }
    if let Some(hidden) = name.strip_prefix(WHITEOUT) {
        let hidden = if above.is_empty() { hidden.to_owned() } else { format!("{above}/{hidden}") };
        return root.remove(&hidden).map(|()| None);
    }
    match member.kind {
        MemberKind::File => {
            let file = root.file(&path, member.mode & EXECUTABLE != 0)?;
            return Ok(Some((file, member.mtime)));
        }
        MemberKind::Directory => root.directory(&path)?,
        MemberKind::Symlink => root.symlink(&path, &member.link)?,
        // What it names may be among the files that are left out.
        MemberKind::Hardlink => match path_of(&member.link) {
            Some(target) if root.real_path(&target).is_some() => root.hardlink(&path, &target)?,
            _ => {}
        },
        MemberKind::SparseFile | MemberKind::Other => {}
    }
    Ok(None)
}

/// The path of a member that builds may read, relative to the root.
fn path_of(path: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(path).ok()?;
    let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let plain = parts.join("/");
    let is_unread = |directory: &&str| {
        plain.strip_prefix(*directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let is_sound = !parts.is_empty() && !parts.contains(&"..") && fits_a_file_system(&plain);
    (is_sound && !UNREAD.iter().any(is_unread)).then_some(plain)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn layer(store: &Store, files: &[(&str, &str)]) -> Digest {
        let mut layer = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o4755);
            header.set_mtime(1_000_000_000);
            match content.strip_prefix("-> ") {
                Some(target) => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    header.set_size(0);
                    layer.append_link(&mut header, path, target).unwrap();
                }
                None => {
                    header.set_size(content.len() as u64);
                    layer.append_data(&mut header, path, content.as_bytes()).unwrap();
                }
            }
        }
        store.put_blob(&layer.into_inner().unwrap()).unwrap()
    }

    #[test]
    fn layers_are_put_over_each_other_as_runtimes_do_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let lower = layer(
            &store,
            &[
                ("bin", "-> usr/bin"),
                ("etc/gone", "1"),
                ("opt/all/gone", "1"),
                ("usr/bin/python3", "-> python3.11"),
                ("usr/bin/python3.11", "1"),
                ("usr/share/doc/python3/README", "1"),
            ],
        );
        let upper =
            layer(&store, &[("etc/.wh.gone", ""), ("opt/all/.wh..wh..opq", ""), ("usr/bin/python3.11", "2")]);
        let tree = base_tree(&store, &[lower, upper]).unwrap();
        let read = |path: &str| fs::read_to_string(tree.join(path)).ok();
        assert_eq!(read("bin/python3").as_deref(), Some("2"));
        for gone in ["etc/gone", "opt/all/gone", "usr/share/doc/python3/README"] {
            assert_eq!(read(gone), None, "{gone}");
        }
        let mode = fs::metadata(tree.join("usr/bin/python3.11")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755);
        assert_eq!(
            TreeRoot::open(&tree).unwrap().real_path("/bin/python3").as_deref(),
            Some("usr/bin/python3.11")
        );
    }
}
