//! Files that have no name until they are whole: a process that is killed leaves nothing of them behind.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use tempfile::TempPath;

use super::{claim, guarded};

/// The prefix of names of files that are not whole yet.
pub(super) const PREFIX: &str = ".imgforge-";

/// A file being written. Dropped, or with its process killed, it is gone.
///
/// Where it needs a name before its own, for a moment or, on file systems without `O_TMPFILE`, from the beginning, that is
/// one that [`clear_abandoned`] removes when its process was killed: as long as it lives, the file is locked.
///
/// <https://man7.org/linux/man-pages/man2/open.2.html>
#[derive(Debug)]
pub struct UnnamedFile {
    file: File,
    name: Option<TempPath>,
    directory: PathBuf,
}

impl UnnamedFile {
    /// Begins a file in `directory` that will be given a name there, or elsewhere on the same file system.
    pub fn new_in(directory: &Path) -> io::Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::openat(CWD, directory, flags, Mode::from_raw_mode(0o644)) {
            Ok(descriptor) if Path::new("/proc/self/fd").exists() => {
                let file = File::from(descriptor);
                // A file system without locks has no clearing either.
                let _ = claim::try_lock(&file);
                Ok(Self { file, name: None, directory: directory.to_owned() })
            }
            _ => Self::named_in(directory),
        }
    }

    fn named_in(directory: &Path) -> io::Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        loop {
            let file = tempfile::Builder::new()
                .prefix(PREFIX)
                .permissions(fs::Permissions::from_mode(0o644))
                .tempfile_in(directory)?;
            let (file, name) = file.into_parts();
            if claim::lock_made(&file, &name) {
                return Ok(Self { file, name: Some(name), directory: directory.to_owned() });
            }
        }
    }

    /// Waits until the content is on disk, where a machine that loses power keeps it.
    pub fn sync(self) -> io::Result<Self> {
        self.file.sync_data()?;
        Ok(self)
    }

    /// Lets the disk begin with a part of the content, and waits for nothing. What that part is told not to be needed for is
    /// memory; what is still on its way to the disk stays there all the same.
    ///
    /// <https://man7.org/linux/man-pages/man2/posix_fadvise.2.html>
    pub(super) fn send(&self, part: Range<u64>) {
        let length = NonZeroU64::new(part.end - part.start);
        // A file system that cannot has all the more to do in the end.
        let _ = rustix::fs::fadvise(&self.file, part.start, length, rustix::fs::Advice::DontNeed);
    }

    /// Appends the first `size` bytes of `source`; a file system that can shares them instead of copying.
    pub fn copy_from(&mut self, source: &File, size: u64) -> io::Result<()> {
        copy_whole(source, size, &mut self.file)
    }

    /// The file itself.
    pub(super) fn as_file(&self) -> &File {
        &self.file
    }

    /// Gives the file its name, in place of whatever has it.
    pub fn persist(self, path: &Path) -> io::Result<()> {
        match self.name {
            Some(name) => Ok(name.persist(path)?),
            None => link_over_in(&self.file, path, &self.directory),
        }
    }
}

impl Write for UnnamedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Appends the first `size` bytes of `source` to `file`; the kernel does it where it can.
pub fn copy_whole(source: &File, size: u64, file: &mut File) -> io::Result<()> {
    let copied = io::copy(&mut source.take(size), file)?;
    match copied == size {
        true => Ok(()),
        false => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("{copied} bytes are there instead of {size}"),
        )),
    }
}

/// Puts a file with these bytes at `path` in one step, in place of whatever is there: whole on the disk before it has the
/// name, and there under that name before this returns.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = parent(path);
    let mut file = UnnamedFile::new_in(directory)?;
    file.write_all(bytes)?;
    file.sync()?.persist(path)?;
    sync_directory(directory)
}

/// Waits until the names in a directory are on disk.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    match File::open(path)?.sync_all() {
        // Not every file system can.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Gives an open file one more name, in place of whatever has it.
pub(super) fn link_over(file: &File, path: &Path) -> io::Result<()> {
    link_over_in(file, path, parent(path))
}

/// [`link_over`], with a first name in `directory` where the other one is taken.
fn link_over_in(file: &File, path: &Path, directory: &Path) -> io::Result<()> {
    match link(file, path) {
        // Of two names of one file the kernel would keep both.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !claim::is_at(file, path) => {
            let first =
                tempfile::Builder::new().prefix(PREFIX).make_in(directory, |name| link(file, name))?;
            first.into_temp_path().persist(path).map_err(Into::into)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

/// Gives an open file one more name, unless something has it.
fn link(file: &File, path: &Path) -> io::Result<()> {
    let descriptor = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    Ok(rustix::fs::linkat(CWD, &descriptor, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

/// Removes from `directory` what processes that were killed had begun there. Files that live processes write stay.
pub fn clear_abandoned(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            remove_abandoned(&entry.path());
        }
    }
}

/// Removes a file, or a directory, that no process has locked. What cannot be removed now is left for the next time.
pub(super) fn remove_abandoned(path: &Path) {
    let file = match guarded::open_any(File::options().read(true), OFlags::empty(), path) {
        // A symbolic link: nothing of ours is one.
        Err(_) if path.is_symlink() => return drop(fs::remove_file(path)),
        file => file,
    };
    if let Ok(file) = file
        && claim::try_lock(&file).is_ok_and(|locked| locked)
        && claim::is_at(&file, path)
    {
        let is_directory = file.metadata().is_ok_and(|metadata| metadata.is_dir());
        let _ = if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn check(make: impl Fn(&Path) -> io::Result<UnnamedFile>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        for content in ["first", "second"] {
            let mut file = make(directory.path()).unwrap();
            file.write_all(content.as_bytes()).unwrap();
            file.persist(&path).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        make(directory.path()).unwrap().write_all(b"dropped").unwrap();
        assert_eq!(names(directory.path()), ["file"]);
    }

    #[test]
    fn only_what_nobody_writes_any_more_is_cleared() {
        let directory = tempfile::tempdir().unwrap();
        let live = UnnamedFile::named_in(directory.path()).unwrap();
        let name = names(directory.path());
        fs::write(directory.path().join(".imgforge-dead"), "half").unwrap();
        fs::write(directory.path().join("other"), "whole").unwrap();
        clear_abandoned(directory.path());
        assert_eq!(names(directory.path()).len(), 2);
        assert!(directory.path().join(&name[0]).exists());
        live.persist(&directory.path().join("other")).unwrap();
        assert_eq!(names(directory.path()), ["other"]);
    }

    #[test]
    fn a_file_appears_whole_and_replaces_what_was_there() {
        check(UnnamedFile::new_in);
        check(UnnamedFile::named_in);
    }
}
