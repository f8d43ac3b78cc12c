//! Files of others whose bytes were hashed: they are hashed again only when they have changed.

use std::fs::{File, Metadata};
use std::io::{self, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::Store;
use crate::oci::{Digest, Hasher};

/// The kind of the records of blobs that were seen in files.
const RECORD: &str = "file-content";
/// The kind of the records of the digests of files.
const DIGEST: &str = "file-digest";

/// The time after which an edit shows: the kernel's clock ticks more often.
const SETTLED: Duration = Duration::from_millis(20);

/// The identity of a file's content: it changes with every write. Here the time of the inode's change takes part, which
/// nobody can set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileIdentity {
    text: String,
    changed: SystemTime,
}

impl FileIdentity {
    /// The identity of the file at `path`; `None` where there is none.
    pub fn at(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().filter(Metadata::is_file).map(|file| Self::of(&file))
    }

    /// The identity of an open file; `None` for what is no regular file.
    pub fn of_file(file: &File) -> Option<Self> {
        file.metadata().ok().filter(Metadata::is_file).map(|file| Self::of(&file))
    }

    fn of(file: &Metadata) -> Self {
        let (modified, changed) = ((file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec()));
        let text = format!("{} {} {} {modified:?} {changed:?}", file.dev(), file.ino(), file.size());
        let since = Duration::new(
            file.ctime().max(0).cast_unsigned(),
            file.ctime_nsec().max(0).cast_unsigned() as u32,
        );
        Self { text, changed: SystemTime::UNIX_EPOCH + since }
    }

    fn key(&self, blob: &Digest) -> Digest {
        Digest::of(format!("{} {blob}", self.text))
    }

    /// Returns whether a change from now on shows: a file that has just changed may do so again within the same tick.
    fn is_settled(&self) -> bool {
        SystemTime::now().duration_since(self.changed).is_ok_and(|age| age > SETTLED)
    }
}

impl Store {
    /// Returns whether the bytes of `blob` in the file of this identity were seen to be its.
    pub fn has_seen(&self, blob: &Digest, file: &FileIdentity) -> bool {
        self.has_record(RECORD, &file.key(blob))
    }

    /// Notes that `blob` was read from the file of this identity, taken before that was read. A file that has just changed
    /// may do so again within the same tick: it is hashed once more. A store that cannot be written notes nothing.
    pub fn note_seen(&self, blob: &Digest, file: &FileIdentity) {
        if file.is_settled() {
            self.note_published(blob, file);
        }
    }

    /// The digest of an open file's bytes, and their number. The file is read once, until it changes.
    pub fn digest_of(&self, file: &mut File) -> io::Result<(Digest, u64)> {
        let identity = FileIdentity::of_file(file).ok_or(io::ErrorKind::InvalidInput)?;
        let key = Digest::of(&identity.text);
        if let Some(known) = self.record::<(Digest, u64)>(DIGEST, &key) {
            return Ok(known);
        }
        let settled = identity.is_settled();
        let mut hasher = Hasher::default();
        file.rewind()?;
        let size = io::copy(file, &mut hasher)?;
        let found = (hasher.finish(), size);
        if settled && FileIdentity::of_file(file).as_ref() == Some(&identity) {
            // A store that cannot be written notes nothing.
            let _ = self.put_record(DIGEST, &key, &found);
        }
        Ok(found)
    }

    /// Notes that this process has just written `blob` to the file of this identity.
    pub fn note_published(&self, blob: &Digest, file: &FileIdentity) {
        let _ = self.put_record(RECORD, &file.key(blob), &true);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_hashed_again_when_it_was_written_to() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store")).unwrap();
        let path = directory.path().join("file");
        for content in ["content", "CONTENT"] {
            fs::write(&path, content).unwrap();
            for _ in 0..2 {
                let mut file = fs::File::open(&path).unwrap();
                assert_eq!(store.digest_of(&mut file).unwrap(), (Digest::of(content), 7));
                std::thread::sleep(2 * SETTLED);
            }
        }
        assert_eq!(store.record_keys(DIGEST).unwrap().len(), 2);
    }

    #[test]
    fn a_file_that_was_written_to_has_not_been_seen() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store")).unwrap();
        let (path, blob) = (directory.path().join("file"), Digest::of("content"));
        fs::write(&path, "content").unwrap();
        let fresh = FileIdentity::at(&path).unwrap();
        store.note_seen(&blob, &fresh);
        assert!(!store.has_seen(&blob, &fresh), "it may change within the tick");
        std::thread::sleep(2 * SETTLED);
        store.note_seen(&blob, &fresh);
        assert!(store.has_seen(&blob, &FileIdentity::at(&path).unwrap()));
        assert!(!store.has_seen(&Digest::of("other"), &fresh));
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, "CONTENT").unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        assert!(!store.has_seen(&blob, &FileIdentity::at(&path).unwrap()));
        assert_eq!(FileIdentity::at(directory.path()), None);
    }
}
