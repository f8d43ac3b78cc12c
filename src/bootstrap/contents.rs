//! The contents of files, wherever they are kept.

use std::io;

/// The contents of the files of packages, or of a system.
pub trait Contents {
    /// The content of the regular file at `path`, relative to the root.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;
}

/// The contents of a system without files.
#[derive(Debug, Clone, Copy)]
pub struct NoContents;

impl Contents for NoContents {
    fn read(&self, _path: &str) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }
}
