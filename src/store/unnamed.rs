//! Files that have no name until they are whole: a process that is killed leaves nothing of them behind.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use tempfile::TempPath;

/// A file being written. Dropped, or with its process killed, it is gone.
///
/// On file systems without `O_TMPFILE` it has a temporary name, which only a killed process leaves behind.
///
/// <https://man7.org/linux/man-pages/man2/open.2.html>
#[derive(Debug)]
pub struct UnnamedFile {
    file: File,
    name: Option<TempPath>,
}

impl UnnamedFile {
    /// Begins a file that will be given a name in `directory`, or on the same file system.
    pub fn new_in(directory: &Path) -> io::Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::openat(CWD, directory, flags, Mode::from_raw_mode(0o644)) {
            Ok(descriptor) if Path::new("/proc/self/fd").exists() => {
                Ok(Self { file: descriptor.into(), name: None })
            }
            _ => Self::named_in(directory),
        }
    }

    fn named_in(directory: &Path) -> io::Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::Builder::new()
            .prefix(".imgforge-")
            .permissions(fs::Permissions::from_mode(0o644))
            .tempfile_in(directory)?;
        let (file, name) = file.into_parts();
        Ok(Self { file, name: Some(name) })
    }

    /// Waits until the content is on disk, where a machine that loses power keeps it.
    pub fn sync(self) -> io::Result<Self> {
        self.file.sync_data()?;
        Ok(self)
    }

    /// Gives the file its name, in place of whatever has it.
    pub fn persist(self, path: &Path) -> io::Result<()> {
        match self.name {
            Some(name) => Ok(name.persist(path)?),
            None => link(&self.file, path),
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

/// Gives an open file one more name, in place of whatever has it.
pub(super) fn link(file: &File, path: &Path) -> io::Result<()> {
    let descriptor = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let link_at = |path: &Path| rustix::fs::linkat(CWD, &descriptor, CWD, path, AtFlags::SYMLINK_FOLLOW);
    match link_at(path) {
        Err(rustix::io::Errno::EXIST) => {
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let beside = tempfile::Builder::new()
                .prefix(".imgforge-")
                .make_in(directory.unwrap_or(Path::new(".")), |name| Ok(link_at(name)?))?;
            beside.into_temp_path().persist(path).map_err(Into::into)
        }
        result => Ok(result?),
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
    fn a_file_appears_whole_and_replaces_what_was_there() {
        check(UnnamedFile::new_in);
        check(UnnamedFile::named_in);
    }
}
