//! Regular files: opened without waiting, read up to a bound.
//!
//! A path that a person, a recipe or a directory of somebody else's names may lead to a pipe nobody writes to, or to a
//! device without end.
#![allow(clippy::disallowed_methods, reason = "this is the one way to files that others name")]

use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Opens the regular file at `path`, following symbolic links; whatever else is there is refused by its kind.
pub fn open(path: &Path) -> io::Result<File> {
    // Looked at before, since opening is enough to start some devices, and after, since another may be there by then.
    refuse_others(&path.metadata()?)?;
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    refuse_others(&file.metadata()?)?;
    Ok(file)
}

/// The bytes of the regular file at `path`, of which it may have `limit`.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read_opened(open(path)?, limit)
}

/// The bytes of a regular file, of which it may have `limit`.
pub fn read_opened(file: File, limit: u64) -> io::Result<Vec<u8>> {
    refuse_large(file.metadata()?.len(), limit)?;
    let mut bytes = Vec::new();
    // Files of /proc tell no size; others may grow meanwhile.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    refuse_large(bytes.len() as u64, limit)?;
    Ok(bytes)
}

/// The text of the regular file at `path`, of which it may have `limit` bytes.
pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    text(read(path, limit)?)
}

/// The text that a file's bytes are.
pub fn text(bytes: Vec<u8>) -> io::Result<String> {
    let not_text = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not valid UTF-8 text");
    String::from_utf8(bytes).map_err(not_text)
}

fn refuse_large(size: u64, limit: u64) -> io::Result<()> {
    match size > limit {
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {limit} bytes"))),
        false => Ok(()),
    }
}

fn refuse_others(metadata: &Metadata) -> io::Result<()> {
    let kind = metadata.file_type();
    let error = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => io::ErrorKind::IsADirectory.into(),
        () => {
            let message = format!("it is {}, not a regular file", called(kind));
            io::Error::new(io::ErrorKind::InvalidInput, message)
        }
    };
    Err(error)
}

fn called(kind: FileType) -> &'static str {
    match () {
        () if kind.is_fifo() => "a named pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_regular_files_within_the_limit_are_read_and_nothing_waits() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("file"), "text").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("zero")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, at("fifo"), rustix::fs::Mode::RUSR).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        let check = |name: &str, expected: &str| {
            let read = read_text(&at(name), 4).unwrap_or_else(|error| error.to_string());
            assert_eq!(read, expected, "{name}");
        };
        check("file", "text");
        check("link", "text");
        check("zero", "it is a device, not a regular file");
        check("fifo", "it is a named pipe, not a regular file");
        check("socket", "it is a socket, not a regular file");
        check("", "is a directory");
        check("/dev/null", "it is a device, not a regular file");
        check("/proc/self/status", "it has more than 4 bytes");
        assert_eq!(read(&at("file"), 3).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read(&at("none"), 3).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
