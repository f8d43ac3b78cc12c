//! Files written below a directory that no path or link leaves: the kernel resolves every path as if the directory were
//! the root of a file system, as engines do that unpack layers.
//!
//! <https://man7.org/linux/man-pages/man2/openat2.2.html>

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps};
use rustix::io::Errno;

use crate::oci::tar::read::TarEvent;

/// The bits of what may be read, and of what may be run or searched, by every user of a sandbox.
const READABLE: Mode = Mode::from_raw_mode(0o644);
const SEARCHABLE: Mode = Mode::from_raw_mode(0o755);

/// A directory as the root of a tree that is being written.
pub(super) struct TreeRoot {
    path: PathBuf,
    descriptor: OwnedFd,
}

impl TreeRoot {
    /// The directory at `path`.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        // As the kernel names it, so that what it says of files in it can be compared.
        Ok(Self { path: fs::canonicalize(path)?, descriptor })
    }

    /// Makes a directory, and those above it, where they are not there.
    pub(super) fn directory(&self, path: &str) -> io::Result<()> {
        let parent = self.parent(path)?;
        match parent.kind() {
            Some(FileType::Directory) => Ok(()),
            Some(_) => parent.clear().and_then(|()| parent.make_directory()),
            None => parent.make_directory(),
        }
    }

    /// Makes a file, in place of whatever is there.
    pub(super) fn file(&self, path: &str, executable: bool) -> io::Result<File> {
        let parent = self.parent(path)?;
        parent.clear()?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = if executable { SEARCHABLE } else { READABLE };
        let file = rustix::fs::openat(&parent.directory, &parent.name, flags, mode)?;
        rustix::fs::fchmod(&file, mode)?;
        Ok(file.into())
    }

    /// Makes a symbolic link, in place of whatever is there. Where it leads is not looked at.
    pub(super) fn symlink(&self, path: &str, target: &[u8]) -> io::Result<()> {
        let parent = self.parent(path)?;
        parent.clear()?;
        Ok(rustix::fs::symlinkat(CString::new(target)?, &parent.directory, &parent.name)?)
    }

    /// Makes another name of the file at `target`, in place of whatever is there.
    pub(super) fn hardlink(&self, path: &str, target: &str) -> io::Result<()> {
        let (parent, source) = (self.parent(path)?, self.parent(target)?);
        parent.clear()?;
        let (from, to) = (&source.directory, &parent.directory);
        Ok(rustix::fs::linkat(from, &source.name, to, &parent.name, AtFlags::empty())?)
    }

    /// Removes what is at a path, with everything below it.
    pub(super) fn remove(&self, path: &str) -> io::Result<()> {
        self.parent(path)?.clear()
    }

    /// Removes everything in a directory.
    pub(super) fn empty(&self, path: &str) -> io::Result<()> {
        let Ok(directory) = self.resolve(path, OFlags::PATH | OFlags::DIRECTORY) else { return Ok(()) };
        for entry in fs::read_dir(by_descriptor(&directory))? {
            remove(&entry?.path())?;
        }
        Ok(())
    }

    /// The path of the file that `path` leads to through links, relative to the root; `None` where there is none.
    pub(super) fn real_path(&self, path: &str) -> Option<String> {
        let file = self.resolve(path.trim_start_matches('/'), OFlags::PATH).ok()?;
        let real = fs::read_link(by_descriptor(&file)).ok()?;
        Some(real.strip_prefix(&self.path).ok()?.to_str()?.to_owned())
    }

    fn resolve(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let path = if path.is_empty() { "." } else { path };
        rustix::fs::openat2(&self.descriptor, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
    }

    /// The open directory that a path lies in, which is made where it is not there, and the path's last name.
    fn parent(&self, path: &str) -> io::Result<Parent> {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let directory = match self.resolve(above, flags) {
            Err(Errno::NOENT) if !above.is_empty() => {
                self.directory(above)?;
                self.resolve(above, flags)?
            }
            directory => directory?,
        };
        Ok(Parent { directory, name: CString::new(name)? })
    }
}

/// A place in an open directory.
struct Parent {
    directory: OwnedFd,
    name: CString,
}

impl Parent {
    fn kind(&self) -> Option<FileType> {
        let stat = rustix::fs::statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some(FileType::from_raw_mode(stat.st_mode))
    }

    fn make_directory(&self) -> io::Result<()> {
        rustix::fs::mkdirat(&self.directory, &self.name, SEARCHABLE)?;
        fs::set_permissions(self.path(), PermissionsExt::from_mode(0o755))
    }

    fn clear(&self) -> io::Result<()> {
        match self.kind() {
            None => Ok(()),
            Some(_) => remove(&self.path()),
        }
    }

    /// A path through the open directory, which nobody can move.
    fn path(&self) -> PathBuf {
        by_descriptor(&self.directory).join(std::ffi::OsStr::from_bytes(self.name.as_bytes()))
    }
}

fn by_descriptor(descriptor: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", descriptor.as_raw_fd()))
}

/// Removes a file, a link, or a directory with everything below it.
fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path)?.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    }
}

/// Writes the content of an archive's member that passes into its file, which gets its modification time at the end.
pub(super) fn write_content(event: TarEvent<'_>, member: &mut Option<(File, u64)>) -> io::Result<()> {
    match (event, &mut *member) {
        (TarEvent::Content(bytes), Some((file, _))) => file.write_all(bytes),
        (TarEvent::End, Some((file, modified))) => {
            set_modified(file, *modified)?;
            *member = None;
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Sets the time at which a file was last modified, in Unix seconds.
fn set_modified(file: &File, seconds: u64) -> io::Result<()> {
    let time = Timespec { tv_sec: i64::try_from(seconds).unwrap_or_default(), tv_nsec: 0 };
    Ok(rustix::fs::futimens(file, &Timestamps { last_access: time, last_modification: time })?)
}

/// Lets the user of a sandbox, who is none of this machine where root builds, write to everything below a directory. Others
/// cannot reach it: the store is its owner's alone.
pub fn open_to_all(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_symlink() {
        return Ok(());
    }
    let all = if metadata.is_dir() { 0o777 } else { 0o666 };
    let mode = metadata.permissions().mode() & 0o777 | all;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            open_to_all(&entry?.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn root() -> (tempfile::TempDir, TreeRoot) {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("tree")).unwrap();
        let root = TreeRoot::open(&directory.path().join("tree")).unwrap();
        (directory, root)
    }

    fn write(root: &TreeRoot, path: &str, text: &str) {
        root.file(path, false).unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn links_lead_nowhere_but_into_the_tree() {
        let (directory, root) = root();
        for (link, target) in [("absolute", "/outside"), ("above", "../../outside")] {
            root.symlink(link, target.as_bytes()).unwrap();
        }
        root.directory("outside").unwrap();
        write(&root, "absolute/a", "a");
        write(&root, "above/b", "b");
        let read = |path: &str| fs::read_to_string(directory.path().join("tree/outside").join(path)).unwrap();
        assert_eq!((read("a"), read("b")), ("a".into(), "b".into()));
        assert_eq!(root.real_path("/absolute/a").as_deref(), Some("outside/a"));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_comes_later_replaces_what_was_there() {
        let (directory, root) = root();
        let tree = directory.path().join("tree");
        write(&root, "a/b/c", "1");
        write(&root, "a/b", "2");
        assert_eq!(fs::read_to_string(tree.join("a/b")).unwrap(), "2");
        root.directory("a/b").unwrap();
        root.symlink("a/b", b"../x").unwrap();
        write(&root, "x", "3");
        root.hardlink("y", "x").unwrap();
        assert_eq!(root.real_path("a/b").as_deref(), Some("x"));
        root.empty("a").unwrap();
        root.remove("x").unwrap();
        root.remove("gone").unwrap();
        assert_eq!(fs::read_dir(tree.join("a")).unwrap().count(), 0);
        assert_eq!(fs::read_to_string(tree.join("y")).unwrap(), "3");
    }
}
