//! Opens in the store: it may have been restored from an archive of somebody else, or others may have written to it.
//!
//! A name is never followed to another one, and nothing is opened that is no regular file: a FIFO would wait for ever, a
//! symbolic link lead out of the store.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// The permissions of the store's directories: nobody else reads what a user builds.
const PRIVATE: u32 = 0o700;
/// The permissions by which others write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The reason for which something in the store is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub(super) enum Untrusted {
    #[error("it belongs to the user {owner}, not to {user}")]
    Owner { owner: u32, user: u32 },
    #[error("others may write to it: its mode is {mode:o}")]
    Writable { mode: u32 },
    #[error("it is not a directory")]
    NoDirectory,
    #[error("it is no regular file")]
    NoFile,
    #[error("it was changed outside of imgforge")]
    Changed,
}

impl Untrusted {
    /// The user's next step about `path`.
    pub(super) fn hint(&self, path: &Path) -> String {
        let path = path.display();
        let elsewhere = "point IMGFORGE_CACHE_DIR at a directory of your own";
        match self {
            Self::Owner { owner, .. } => format!("run imgforge as the user {owner}, or {elsewhere}"),
            Self::Writable { .. } => format!(
                "run `chmod go-w '{path}'` and `imgforge cache verify` if you trust who could write there, or {elsewhere}"
            ),
            Self::NoDirectory | Self::NoFile => format!("remove `{path}`, or {elsewhere}"),
            Self::Changed => "run it again: what was removed is made anew".into(),
        }
    }
}

impl From<Untrusted> for io::Error {
    fn from(untrusted: Untrusted) -> Self {
        Self::new(io::ErrorKind::InvalidData, untrusted)
    }
}

/// Opens a regular file for reading.
pub(super) fn open(path: &Path) -> io::Result<File> {
    open_with(OpenOptions::new().read(true), OFlags::empty(), path)
}

/// Opens a regular file as `options` and `flags` say; one that they create is its user's alone.
pub(super) fn open_with(options: &mut OpenOptions, flags: OFlags, path: &Path) -> io::Result<File> {
    let file = open_any(options, flags, path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(Untrusted::NoFile.into()),
    }
}

/// Opens what is at `path`, whatever it is but a symbolic link, without waiting for anybody.
pub(super) fn open_any(options: &mut OpenOptions, flags: OFlags, path: &Path) -> io::Result<File> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    options.mode(0o600).custom_flags(flags.bits().cast_signed()).open(path)
}

/// Opens a file for reading without its counting as used, where it is ours.
pub(super) fn open_unmarked(path: &Path) -> io::Result<File> {
    open_with(File::options().read(true), OFlags::NOATIME, path).or_else(|_| open(path))
}

/// The bytes of a regular file.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut open(path)?, &mut bytes)?;
    Ok(bytes)
}

/// The metadata of a regular file; `None` where there is none.
pub(super) fn metadata(path: &Path) -> Option<Metadata> {
    std::fs::symlink_metadata(path).ok().filter(Metadata::is_file)
}

/// Opens a file that is written at its end, making it where it is missing. Whatever else has the name, or shares the file
/// under another name, loses it.
pub(super) fn open_appending(path: &Path) -> io::Result<File> {
    let open = || {
        let file = open_with(OpenOptions::new().read(true).append(true).create(true), OFlags::empty(), path)?;
        match file.metadata()?.nlink() {
            0 | 1 => Ok(file),
            _ => Err(Untrusted::NoFile.into()),
        }
    };
    open().or_else(|error| match std::fs::symlink_metadata(path) {
        Ok(planted) if !planted.is_dir() && (!planted.is_file() || planted.nlink() > 1) => {
            std::fs::remove_file(path)?;
            open()
        }
        _ => Err(error),
    })
}

/// Makes the store's own directory at `path`, or holds the one that is there against what it has to be. An empty one of
/// this user's becomes private.
pub(super) fn private_root(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
        std::fs::create_dir_all(parent)?;
    }
    if make_private(path)? {
        return Ok(());
    }
    // The root itself may be a link that its user made.
    let found = std::fs::metadata(path)?;
    let is_empty = || std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    match check_private(&found) {
        Err(Untrusted::Writable { .. }) if is_empty() => make_mode_private(path),
        checked => Ok(checked?),
    }
}

/// Makes a directory within the store, or checks the one that is there.
pub(super) fn private_directory(path: &Path) -> io::Result<()> {
    match make_private(path)? {
        true => Ok(()),
        false => Ok(check_private(&std::fs::symlink_metadata(path)?)?),
    }
}

/// Makes a directory whose mode no umask changes; gives false where something is there.
fn make_private(path: &Path) -> io::Result<bool> {
    match DirBuilder::new().mode(PRIVATE).create(path) {
        Ok(()) => make_mode_private(path).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        // A file system that can only be read has it, or nothing.
        Err(_) if path.exists() => Ok(false),
        Err(error) => Err(error),
    }
}

fn make_mode_private(path: &Path) -> io::Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(PRIVATE))
}

fn check_private(found: &Metadata) -> Result<(), Untrusted> {
    let user = rustix::process::geteuid().as_raw();
    match found {
        _ if !found.is_dir() => Err(Untrusted::NoDirectory),
        _ if found.uid() != user => Err(Untrusted::Owner { owner: found.uid(), user }),
        _ if found.mode() & WRITABLE_BY_OTHERS != 0 => {
            Err(Untrusted::Writable { mode: found.mode() & 0o7777 })
        }
        _ => Ok(()),
    }
}
