//! The archive of a source distribution, unpacked: every member stays below one directory, within bounds.
//!
//! <https://packaging.python.org/en/latest/specifications/source-distribution-format/#source-distribution-archive-features>

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::tree::{TreeRoot, write_content};
use crate::failure::Hinted;
use crate::layer::read::{decompressed, each_event};
use crate::oci::paths::fits_a_file_system;
use crate::oci::tar::read::{MemberKind, TarError, TarEvent, TarMember};
use crate::pypa::source_file::SourceFormat;
use crate::pypa::zip::{Local, Zip, ZipError, ZipMember};

/// The members of a source distribution: those of scipy have some 15,000.
const MOST_MEMBERS: usize = 1 << 17;
/// The bytes that a source distribution unpacks to: the largest have some 500 MB.
const MOST_UNPACKED: u64 = 2 << 30;
/// Sets what a member of a zip is apart from its permission bits.
const ZIP_KIND: u32 = 0o170_000;
const ZIP_SYMLINK: u32 = 0o120_000;
const EXECUTABLE: u32 = 0o111;

/// The reason why an archive is refused.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum SourceArchiveError {
    #[error("its archive could not be read")]
    Read(#[from] io::Error),
    #[error("its archive is not a sound tar")]
    Tar(#[from] TarError),
    #[error("its archive is not a sound zip")]
    Zip(#[from] ZipError),
    #[error("its member `{path}` {fault}")]
    Member { path: String, fault: SourceMemberFault },
    #[error("its member `{path}` could not be written")]
    Write { path: String, source: io::Error },
    #[error("it has more than {MOST_MEMBERS} members")]
    ManyMembers,
    #[error("it unpacks to more than {MOST_UNPACKED} bytes")]
    Large,
}

impl Hinted for SourceArchiveError {
    fn hint(&self) -> Option<String> {
        let exclude = || {
            Some(
                "exclude this version with a constraint such as `NAME!=VERSION`, and tell its authors".into(),
            )
        };
        match self {
            Self::Read(error) => error.hint().or_else(exclude),
            Self::Write { source, .. } => source.hint(),
            Self::Tar(_) | Self::Zip(_) | Self::Member { .. } | Self::ManyMembers | Self::Large => exclude(),
        }
    }
}

/// The reason why a member is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum SourceMemberFault {
    #[error("has a path that leaves the directory it is unpacked into")]
    Leaves,
    #[error("is a link that leaves the directory it is unpacked into")]
    LinkLeaves,
    #[error("is neither file, directory nor link")]
    Kind,
    #[error("is compressed in a way that source distributions do not use, or encrypted")]
    Compression,
}

/// Unpacks an archive into the empty directory at `directory`, and gives the root of the source tree: the only directory
/// in it, or else itself.
pub fn unpack(archive: File, format: SourceFormat, directory: &Path) -> Result<PathBuf, SourceArchiveError> {
    let mut unpacking = Unpacking { root: TreeRoot::open(directory)?, members: 0, bytes: 0 };
    match format {
        SourceFormat::TarGz | SourceFormat::Directory => unpacking.tar(archive)?,
        SourceFormat::Zip => unpacking.zip(archive)?,
    }
    let entries: Vec<_> = fs::read_dir(directory)?.collect::<io::Result<_>>()?;
    match &entries[..] {
        [only] if format != SourceFormat::Directory && only.file_type()?.is_dir() => Ok(only.path()),
        _ => Ok(directory.to_owned()),
    }
}

/// An archive on its way into a directory.
struct Unpacking {
    root: TreeRoot,
    members: usize,
    bytes: u64,
}

impl Unpacking {
    fn tar(&mut self, archive: File) -> Result<(), SourceArchiveError> {
        let mut current = None;
        each_event(decompressed(archive)?, |event, member| {
            match event {
                TarEvent::Begin => current = self.tar_member(member)?,
                event => write_content(event, &mut current)?,
            }
            Ok(())
        })
    }

    /// Makes a member; gives the file whose content follows, and its modification time.
    fn tar_member(&mut self, member: &TarMember) -> Result<Option<(File, u64)>, SourceArchiveError> {
        let Some(path) = path_of(&member.path)? else { return Ok(None) };
        self.count(member.size)?;
        let fault = |fault| SourceArchiveError::Member { path: path.clone(), fault };
        let unwritten = |source| SourceArchiveError::Write { path: path.clone(), source };
        match member.kind {
            MemberKind::File => {
                let file = self.root.file(&path, member.mode & EXECUTABLE != 0).map_err(unwritten)?;
                return Ok(Some((file, member.mtime)));
            }
            MemberKind::Directory => self.root.directory(&path),
            MemberKind::Symlink if leaves(&path, &member.link) => {
                return Err(fault(SourceMemberFault::LinkLeaves));
            }
            MemberKind::Symlink => self.root.symlink(&path, &member.link),
            MemberKind::Hardlink => {
                let target = path_of(&member.link)?.ok_or_else(|| fault(SourceMemberFault::LinkLeaves))?;
                self.root.hardlink(&path, &target)
            }
            MemberKind::SparseFile | MemberKind::Other => return Err(fault(SourceMemberFault::Kind)),
        }
        .map_err(unwritten)?;
        Ok(None)
    }

    fn zip(&mut self, archive: File) -> Result<(), SourceArchiveError> {
        let zip = Zip::open(Local(archive))?;
        zip.members().iter().try_for_each(|member| self.zip_member(&zip, member))
    }

    fn zip_member(&mut self, zip: &Zip<Local>, member: &ZipMember) -> Result<(), SourceArchiveError> {
        let Some(path) = path_of(&member.name)? else { return Ok(()) };
        self.count(member.size)?;
        let fault = |fault| SourceArchiveError::Member { path: path.clone(), fault };
        let unwritten = |source| SourceArchiveError::Write { path: path.clone(), source };
        if member.is_directory {
            return self.root.directory(&path).map_err(unwritten);
        }
        if member.mode & ZIP_KIND == ZIP_SYMLINK {
            return Err(fault(SourceMemberFault::Kind));
        }
        let content = if member.is_encrypted { None } else { zip.content(member)? };
        let mut content = content.ok_or_else(|| fault(SourceMemberFault::Compression))?;
        let mut file = self.root.file(&path, member.mode & EXECUTABLE != 0).map_err(unwritten)?;
        io::copy(&mut content, &mut file).map_err(unwritten)?;
        Ok(())
    }

    /// Takes a member and its bytes into account.
    fn count(&mut self, size: u64) -> Result<(), SourceArchiveError> {
        self.members += 1;
        self.bytes = self.bytes.saturating_add(size);
        match (self.members > MOST_MEMBERS, self.bytes > MOST_UNPACKED) {
            (true, _) => Err(SourceArchiveError::ManyMembers),
            (false, true) => Err(SourceArchiveError::Large),
            (false, false) => Ok(()),
        }
    }
}

/// The path of a member below the root; `None` for the root itself.
fn path_of(path: &[u8]) -> Result<Option<String>, SourceArchiveError> {
    let leaves = || SourceArchiveError::Member {
        path: String::from_utf8_lossy(path).into_owned(),
        fault: SourceMemberFault::Leaves,
    };
    let text = std::str::from_utf8(path).map_err(|_| leaves())?;
    let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let plain = parts.join("/");
    let is_sound = !text.starts_with('/') && !parts.contains(&"..") && !text.contains('\0');
    match plain.as_str() {
        _ if !is_sound || !fits_a_file_system(&plain) => Err(leaves()),
        "" => Ok(None),
        _ => Ok(Some(plain)),
    }
}

/// Returns whether a symbolic link at `path` leads out of the root.
fn leaves(path: &str, target: &[u8]) -> bool {
    let Ok(target) = std::str::from_utf8(target) else { return true };
    let mut depth = path.split('/').count() - 1;
    if target.starts_with('/') {
        return true;
    }
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if depth == 0 => return true,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_links_stay_below_the_root() {
        let path = |text: &str| path_of(text.as_bytes()).ok().map(Option::unwrap_or_default);
        assert_eq!(path("demo-1.0/a.py").as_deref(), Some("demo-1.0/a.py"));
        assert_eq!(path("./demo-1.0//").as_deref(), Some("demo-1.0"));
        assert_eq!(path("./").as_deref(), Some(""));
        for wrong in ["/etc/passwd", "../a", "demo/../../a", "a\0b", &"a".repeat(300)] {
            assert_eq!(path(wrong), None, "{wrong}");
        }
        for (target, expected) in
            [("b", false), ("../b", false), ("../../b", true), ("/b", true), ("c/../../../b", true)]
        {
            assert_eq!(leaves("demo/a", target.as_bytes()), expected, "{target}");
        }
    }
}
