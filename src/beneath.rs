//! Files below a directory, reached without leaving it: what a recipe may name, as `docker build` holds it to its context.
//!
//! The kernel resolves each path below the open directory, whatever becomes of its parts meanwhile. Symbolic links within
//! are followed as long as they stay below.
//!
//! <https://man7.org/linux/man-pages/man2/openat2.2.html>

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{self, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, Dir, FsWord, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::failure::Hinted;
use crate::plain_file;
use crate::store::is_same_file;

/// The most symbolic links that are followed in one path where the kernel does not do it: Linux's MAXSYMLINKS.
const MAX_LINKS: usize = 40;

/// The most tries to open a file while others rename directories.
const MOST_TRIES: usize = 128;

/// The types of file systems whose files are the kernel's answers: `/proc` has the environment of processes.
///
/// <https://man7.org/linux/man-pages/man2/statfs.2.html>
const KERNELS: [FsWord; 2] = [0x9fa0, 0x6265_6572];

/// The use of files outside of the directory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Outside {
    /// They are refused.
    #[default]
    Refused,
    /// The user has allowed them.
    Allowed,
}

/// A directory, below which files are found.
#[derive(Debug, Clone)]
pub struct FileRoot {
    directory: PathBuf,
    absolute: PathBuf,
    descriptor: Arc<OwnedFd>,
    outside: Outside,
}

/// The reason for which a file cannot be reached.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum ReachError {
    #[error("it is outside of the directory of the recipe")]
    Outside,
    #[error("it is neither file, directory nor symbolic link")]
    Kind,
    #[error("it is a directory")]
    Directory,
    #[error(transparent)]
    Io(io::Error),
}

impl Hinted for ReachError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Outside => {
                "copy it into the directory of the recipe, or pass --allow-outside if you trust the recipe with every file \
                 that you can read"
                    .into()
            }
            Self::Kind => "name a file, or leave it out: devices, sockets, pipes and /proc have no content to copy".into(),
            Self::Directory => "name a file in it".into(),
            Self::Io(error) => return error.hint(),
        })
    }
}

impl From<Errno> for ReachError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::XDEV => Self::Outside,
            errno => Self::Io(errno.into()),
        }
    }
}

impl From<io::Error> for ReachError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A file, directory or symbolic link that was found.
#[derive(Debug)]
pub struct FoundFile {
    /// Its metadata.
    pub metadata: Metadata,
    handle: File,
}

impl FoundFile {
    /// The target of a symbolic link, as written.
    pub fn target(&self) -> io::Result<OsString> {
        let target = rustix::fs::readlinkat(&self.handle, "", Vec::new())?;
        Ok(OsString::from_vec(target.into_bytes()))
    }
}

/// Two are equal where they are the same directory by its path, however often that was opened.
impl PartialEq for FileRoot {
    fn eq(&self, other: &Self) -> bool {
        let identity = |root: &Self| (root.directory.clone(), root.absolute.clone(), root.outside);
        identity(self) == identity(other)
    }
}

impl FileRoot {
    /// The directory at `path`.
    pub fn open(path: &Path, outside: Outside) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        let absolute = path::absolute(path)?;
        Ok(Self { directory: path.to_owned(), absolute, descriptor: Arc::new(descriptor), outside })
    }

    /// The file at `path`, which begins with the directory's own or is absolute. A link at its end is not followed.
    pub fn find(&self, path: &Path) -> Result<FoundFile, ReachError> {
        let handle = File::from(self.descriptor(path, OFlags::PATH | OFlags::NOFOLLOW)?.0);
        let metadata = handle.metadata()?;
        let kind = metadata.file_type();
        match (kind.is_file() && !is_answer_of_kernel(&handle)) || kind.is_dir() || kind.is_symlink() {
            true => Ok(FoundFile { metadata, handle }),
            false => Err(ReachError::Kind),
        }
    }

    /// Opens the regular file at `path` for reading. A link at its end is not followed.
    pub fn open_file(&self, path: &Path) -> Result<File, ReachError> {
        self.open_regular(path, OFlags::NOFOLLOW).map(|(file, _)| file)
    }

    /// Opens the regular file at `path` for reading, links at its end followed.
    pub fn open_linked(&self, path: &Path) -> Result<File, ReachError> {
        self.open_regular(path, OFlags::empty()).map(|(file, _)| file)
    }

    /// The bytes of the file at `path`, of which it may have `limit`, links at its end followed; and whether it is below the
    /// directory.
    pub fn read(&self, path: &Path, limit: u64) -> Result<(Vec<u8>, bool), ReachError> {
        let (file, is_below) = self.open_regular(path, OFlags::empty())?;
        Ok((plain_file::read_opened(file, limit)?, is_below))
    }

    /// The text of the file at `path`, as [`FileRoot::read`] its bytes.
    pub fn read_text(&self, path: &Path, limit: u64) -> Result<(String, bool), ReachError> {
        let (bytes, is_below) = self.read(path, limit)?;
        Ok((plain_file::text(bytes)?, is_below))
    }

    /// Opens a regular file, which is looked at before it is opened: to open a device may be a command to it.
    fn open_regular(&self, path: &Path, flags: OFlags) -> Result<(File, bool), ReachError> {
        let handle = File::from(self.descriptor(path, flags | OFlags::PATH)?.0);
        let metadata = handle.metadata()?;
        if metadata.is_dir() {
            return Err(ReachError::Directory);
        }
        if !metadata.is_file() || is_answer_of_kernel(&handle) {
            return Err(ReachError::Kind);
        }
        let (descriptor, is_below) = self.descriptor(path, flags | OFlags::RDONLY | OFlags::NONBLOCK)?;
        let file = File::from(descriptor);
        match is_same_file(&file.metadata()?, &metadata) {
            true => Ok((file, is_below)),
            false => Err(io::Error::from(Errno::AGAIN).into()),
        }
    }

    /// The names in the directory at `path`, sorted.
    pub fn names(&self, path: &Path) -> Result<Vec<OsString>, ReachError> {
        self.names_in(path, OFlags::NOFOLLOW)
    }

    /// The names in the directory at `path`, sorted; links at its end are followed.
    pub fn linked_names(&self, path: &Path) -> Result<Vec<OsString>, ReachError> {
        self.names_in(path, OFlags::empty())
    }

    fn names_in(&self, path: &Path, flags: OFlags) -> Result<Vec<OsString>, ReachError> {
        let flags = flags | OFlags::RDONLY | OFlags::DIRECTORY;
        let (descriptor, _) = self.descriptor(path, flags)?;
        let mut names = Vec::new();
        for entry in Dir::new(descriptor)? {
            let name = OsString::from_vec(entry?.file_name().to_bytes().to_vec());
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Opens what is at `path`; gives whether it is below the directory.
    fn descriptor(&self, path: &Path, flags: OFlags) -> Result<(OwnedFd, bool), ReachError> {
        let flags = flags | OFlags::CLOEXEC;
        match (open_beneath(&self.descriptor, self.relative(path), flags), self.outside) {
            (Ok(descriptor), _) => Ok((descriptor, true)),
            (Err(Errno::XDEV), Outside::Allowed) => {
                Ok((rustix::fs::openat(CWD, path, flags, Mode::empty())?, false))
            }
            (Err(error), _) => Err(error.into()),
        }
    }

    /// `path` as the directory sees it.
    fn relative<'a>(&self, path: &'a Path) -> &'a Path {
        let below = path.strip_prefix(&self.directory).or_else(|_| path.strip_prefix(&self.absolute));
        match below.unwrap_or(path) {
            own if own.as_os_str().is_empty() => Path::new("."),
            below => below,
        }
    }
}

fn is_answer_of_kernel(file: &File) -> bool {
    rustix::fs::fstatfs(file).is_ok_and(|at| KERNELS.contains(&at.f_type))
}

fn open_beneath(root: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..MOST_TRIES {
        match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
            // Something was renamed meanwhile: the kernel is not sure that the path stayed below.
            Err(Errno::AGAIN) => {}
            // A kernel before 5.6, or a filter that does not know the call.
            Err(Errno::NOSYS | Errno::PERM) => return open_by_hand(root, path, flags),
            opened => return opened,
        }
    }
    Err(Errno::AGAIN)
}

/// The same, part by part: each directory is open before anything in it is looked at.
fn open_by_hand(root: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut above: Vec<OwnedFd> = Vec::new();
    let mut parts = parts_of(path)?;
    let mut links = 0;
    while let Some(part) = parts.pop() {
        let here = above.last().unwrap_or(root).as_fd();
        if part == ".." {
            above.pop().ok_or(Errno::XDEV)?;
            continue;
        }
        let is_last = parts.is_empty();
        let entry = rustix::fs::openat(
            here,
            &part,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&entry)?.st_mode);
        if kind.is_symlink() && !(is_last && flags.contains(OFlags::NOFOLLOW)) {
            links += 1;
            if links > MAX_LINKS {
                return Err(Errno::LOOP);
            }
            let target = rustix::fs::readlinkat(&entry, "", Vec::new())?;
            parts.extend(parts_of(Path::new(&OsString::from_vec(target.into_bytes())))?);
        } else if is_last {
            return rustix::fs::openat(here, &part, flags | OFlags::NOFOLLOW, Mode::empty());
        } else {
            above.push(entry);
        }
    }
    let here = above.last().unwrap_or(root).as_fd();
    rustix::fs::openat(here, ".", flags, Mode::empty())
}

/// The parts of a relative path, the last one first.
fn parts_of(path: &Path) -> Result<Vec<OsString>, Errno> {
    let part = |component: path::Component<'_>| match component {
        path::Component::CurDir => None,
        path::Component::Normal(_) | path::Component::ParentDir => Some(Ok(component.as_os_str().to_owned())),
        path::Component::RootDir | path::Component::Prefix(_) => Some(Err(Errno::XDEV)),
    };
    path.components().rev().filter_map(part).collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::fs::symlink;

    use std::io::Read as _;

    use super::*;

    /// A directory `in` with a tree, beside a file that is outside of it.
    fn tree() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("in");
        fs::create_dir_all(root.join("sub/deep")).unwrap();
        fs::write(root.join("file"), "inside").unwrap();
        fs::write(root.join("sub/deep/file"), "deep").unwrap();
        fs::write(directory.path().join("outside"), "secret").unwrap();
        let link = |target: &str, name: &str| symlink(target, root.join(name)).unwrap();
        link("sub/deep", "within");
        link("../outside", "leaves");
        link("/etc", "absolute");
        link("sub/deep/../../..", "above");
        link("loop", "loop");
        symlink("../../file", root.join("sub/deep/up")).unwrap();
        directory
    }

    /// The text that is read at `path` by the kernel's resolution and by hand.
    fn check(path: &str, expected: Result<&str, Errno>) {
        let directory = tree();
        let root = FileRoot::open(&directory.path().join("in"), Outside::Refused).unwrap();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        for (how, open) in
            [("kernel", open_beneath as fn(&OwnedFd, &Path, OFlags) -> _), ("by hand", open_by_hand)]
        {
            let read = open(&root.descriptor, Path::new(path), flags).map(|descriptor| {
                let mut text = String::new();
                File::from(descriptor).read_to_string(&mut text).unwrap();
                text
            });
            assert_eq!(read.as_deref().map_err(|error| *error), expected, "{path} {how}");
        }
    }

    #[test]
    fn no_path_leads_out_of_the_directory() {
        check("file", Ok("inside"));
        check("./sub/../file", Ok("inside"));
        check("within/file", Ok("deep"));
        check("within/up", Ok("inside"));
        check("sub/deep/../../file", Ok("inside"));
        for path in [
            "../outside",
            "sub/../../outside",
            "leaves",
            "absolute/hostname",
            "/etc/hostname",
            "above/outside",
        ] {
            check(path, Err(Errno::XDEV));
        }
        check("loop", Err(Errno::LOOP));
        check("none", Err(Errno::NOENT));
        check("file/x", Err(Errno::NOTDIR));
    }

    #[test]
    fn what_is_allowed_outside_is_told_from_what_is_below() {
        let directory = tree();
        let below = directory.path().join("in");
        let read =
            |path: PathBuf, outside| FileRoot::open(&below, outside).unwrap().read_text(&path, 1 << 20);
        let outside = || directory.path().join("outside");
        assert!(matches!(read(outside(), Outside::Refused), Err(ReachError::Outside)));
        assert_eq!(read(outside(), Outside::Allowed).unwrap(), ("secret".to_owned(), false));
        assert_eq!(read(below.join("leaves"), Outside::Allowed).unwrap(), ("secret".to_owned(), false));
        assert_eq!(read(below.join("within/up"), Outside::Allowed).unwrap(), ("inside".to_owned(), true));
        for path in ["/proc/self/environ", "/dev/zero"] {
            assert!(matches!(read(path.into(), Outside::Allowed), Err(ReachError::Kind)), "{path}");
        }
        assert!(matches!(read("/dev".into(), Outside::Allowed), Err(ReachError::Directory)));
    }

    #[test]
    fn what_is_no_file_is_not_opened() {
        let directory = tree();
        let root = FileRoot::open(&directory.path().join("in"), Outside::Refused).unwrap();
        let fifo = directory.path().join("in/fifo");
        rustix::fs::mknodat(CWD, &fifo, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(directory.path().join("in/socket")).unwrap();
        for name in ["fifo", "socket"] {
            let path = directory.path().join("in").join(name);
            assert!(matches!(root.find(&path), Err(ReachError::Kind)), "{name}");
            assert!(matches!(root.open_file(&path), Err(ReachError::Kind)), "{name}");
            assert!(matches!(root.read_text(&path, 1 << 20), Err(ReachError::Kind)), "{name}");
        }
        let link = root.find(&directory.path().join("in/leaves")).unwrap();
        assert_eq!(link.target().unwrap(), OsStr::new("../outside"));
        assert!(root.open_file(&directory.path().join("in/leaves")).is_err());
        let names = root.names(&directory.path().join("in/sub")).unwrap();
        assert_eq!(names, [OsStr::new("deep")]);
    }
}
