//! Reads the layer of an image that others made: once, as a stream, for its digests and its [`InventoryFacts`].
//!
//! Inflating and hashing is nearly all of the work. One thread reads the blob, hashes and inflates it; another hashes
//! the tar and looks into it. Between them go a few buffers, so that memory does not grow with the layer.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{self, BufReader, Read};
use std::ops::ControlFlow;
use std::panic;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;

use flate2::bufread::MultiGzDecoder;
use serde::{Deserialize, Serialize};

use crate::elf::probe::ProbeBudget;
use crate::failure::Hinted;
use crate::observe::inventory_facts::{InventoryFacts, Relevance};
use crate::observe::{FileObserver, NeedsAnotherPass, ObservedLayer};
use crate::oci::paths::{LONGEST_NAME, LONGEST_PATH, MOST_NAMES, fits_a_file_system};
use crate::oci::tar::read::{MemberKind, TarError, TarEvent, TarMember, TarReader};
use crate::oci::{Digest, Entry, EntryKind, Hasher};

/// The bytes that pass between the threads at once.
const CHUNK: usize = 256 << 10;
/// The number of chunks that may wait.
const DEPTH: usize = 4;

/// The compression of a layer's tar, by its first bytes; container engines look at those too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DetectedCompression {
    /// A plain tar.
    None,
    /// Of any number of members.
    Gzip,
    /// Of any number of frames.
    Zstd,
}

impl DetectedCompression {
    /// The number of bytes that tell.
    pub const MAGIC: usize = 4;

    /// The compression of a stream that begins with `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        match bytes {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A frame to skip comes first in zstd:chunked layers.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// A blob that was read to its end.
#[derive(Debug)]
pub struct Passed {
    /// The digest of the blob's bytes.
    pub digest: Digest,
    /// Their count.
    pub size: u64,
    /// The contents of the layer; an error means nothing when the digest is not the expected one.
    pub content: Result<ReadLayer, ReadError>,
    /// Libraries of which too much passed unseen: see [`complete`].
    pub unfinished: Vec<NeedsAnotherPass>,
}

/// A layer that was read, before what was learned of it is kept.
#[derive(Debug)]
pub struct ReadLayer {
    /// The digest of the uncompressed tar.
    pub diff_id: Digest,
    /// The sum of the sizes of its files in bytes.
    pub unpacked: u64,
    /// The facts and the evidence of its files.
    pub learned: ObservedLayer,
}

/// The part of a layer that an inventory needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerContent {
    /// The digest of the uncompressed tar.
    pub diff_id: Digest,
    /// The sum of the sizes of its files in bytes.
    pub unpacked: u64,
    /// The facts of its files.
    pub facts: InventoryFacts,
}

/// The reason why a blob is no layer that can be built upon.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum ReadError {
    #[error("it cannot be decompressed")]
    Compression(#[source] io::Error),
    #[error("it is not a sound tar")]
    Tar(#[from] TarError),
    #[error("it contains `{path}`, {reason}")]
    Member { path: String, reason: LayerMemberFault },
}

impl Hinted for ReadError {}

/// The reason why a member of a layer is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum LayerMemberFault {
    #[error("a sparse file, which would have to be looked into")]
    Sparse,
    #[error("a hard link that leaves the layer")]
    LinkLeaves,
    #[error("a path that leaves the layer")]
    PathLeaves,
    #[error("a path with a NUL in it")]
    Nul,
    #[error("a path of more than {LONGEST_PATH} bytes, {MOST_NAMES} names, or {LONGEST_NAME} bytes in one")]
    Long,
    #[error("with which it has more than {MOST_ENTRIES} entries")]
    ManyEntries,
    #[error("with which its paths and links have more than {MOST_PATH_BYTES} bytes")]
    LongPaths,
}

/// The entries of a layer: images of whole distributions have some 500,000, in several.
const MOST_ENTRIES: u64 = 600_000;
/// The bytes of all paths and targets of links in a layer: 500,000 paths have some 45 MB.
const MOST_PATH_BYTES: u64 = 64 << 20;

/// Reads a layer's blob to its end; `progress` is told how many of its bytes were read since the last time.
///
/// Errors of `blob` itself are returned; what is wrong with its bytes is in [`Passed::content`].
pub fn read(blob: impl Read + Send, progress: &(dyn Fn(u64) + Sync)) -> io::Result<Passed> {
    let mut blob = Blob { blob, progress, hasher: Hasher::default(), size: 0, failure: None };
    let (inflated, seen) = pass(&mut blob, |chunks, emptied| {
        let mut look = Look::new();
        each(chunks, emptied, |chunk| look.see(chunk).map(ControlFlow::Continue))?;
        look.finish()
    });
    io::copy(&mut blob, &mut io::sink())?;
    if let Some(failure) = blob.failure {
        return Err(failure);
    }
    let (content, unfinished) = match inflated.map_err(ReadError::Compression).and(seen) {
        Ok((content, unfinished)) => (Ok(content), unfinished),
        Err(error) => (Err(error), Vec::new()),
    };
    Ok(Passed { digest: blob.hasher.finish(), size: blob.size, content, unfinished })
}

/// The most passes over a layer for libraries whose names lie where nobody expects them: the dynamic section leads to
/// tables, and they to names.
const MOST_PASSES: usize = 4;

/// Reads a layer again for the libraries of which too much had passed unseen. The blob was verified before: what is read
/// again is held against nothing.
pub fn complete<R: Read + Send, E>(
    layer: &mut ReadLayer,
    mut unfinished: Vec<NeedsAnotherPass>,
    open: impl Fn() -> Result<R, E>,
    unsound: impl Fn(ReadError) -> E,
) -> Result<(), E> {
    for _ in 0..MOST_PASSES {
        if unfinished.is_empty() {
            break;
        }
        unfinished = read_again(open()?, unfinished, &mut layer.learned).map_err(&unsound)?;
    }
    unfinished.into_iter().for_each(|library| library.give_up(&mut layer.learned));
    Ok(())
}

/// Lets a layer pass once more, and notes in `learned` what is told by then; gives the libraries that miss something
/// still.
fn read_again(
    blob: impl Read + Send,
    unfinished: Vec<NeedsAnotherPass>,
    learned: &mut ObservedLayer,
) -> Result<Vec<NeedsAnotherPass>, ReadError> {
    let mut blob = Blob { blob, progress: &|_| (), hasher: Hasher::default(), size: 0, failure: None };
    let (inflated, seen) = pass(&mut blob, |chunks, emptied| {
        let waiting = (0..unfinished.len()).collect();
        let mut again =
            Again { tar: TarReader::default(), unfinished, waiting, path: String::new(), current: None };
        each(chunks, emptied, |chunk| again.see(chunk))?;
        Ok(again.unfinished)
    });
    let unfinished = inflated.map_err(ReadError::Compression).and(seen)?;
    Ok(unfinished.into_iter().filter_map(|library| library.finish(learned)).collect())
}

/// Inflates `blob` on a thread, and gives its tar in chunks to `see`.
fn pass<T>(
    blob: &mut Blob<'_, impl Read + Send>,
    see: impl FnOnce(Receiver<Vec<u8>>, Sender<Vec<u8>>) -> T,
) -> (io::Result<()>, T) {
    let (full, chunks) = mpsc::sync_channel(DEPTH);
    let (emptied, empty) = mpsc::channel();
    thread::scope(|scope| {
        let inflating = scope.spawn(|| inflate(blob, full, empty));
        let seen = see(chunks, emptied);
        (inflating.join().unwrap_or_else(|panic| panic::resume_unwind(panic)), seen)
    })
}

/// Hashes what is read of a blob, and remembers a failure that a decompressor would hide.
struct Blob<'a, R> {
    blob: R,
    progress: &'a (dyn Fn(u64) + Sync),
    hasher: Hasher,
    size: u64,
    failure: Option<io::Error>,
}

impl<R: Read> Read for Blob<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.failure.is_some() {
            return Ok(0);
        }
        match self.blob.read(buffer) {
            Ok(count) => {
                self.hasher.update(&buffer[..count]);
                self.size += count as u64;
                (self.progress)(count as u64);
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                self.failure = Some(error);
                Ok(0)
            }
        }
    }
}

/// A blob whose first bytes were looked at.
type ProbedBlob<R> = BufReader<io::Chain<io::Cursor<Vec<u8>>, R>>;

/// The tar of a layer's blob, without its compression.
pub enum Decompressed<R: Read> {
    /// A plain tar.
    Plain(ProbedBlob<R>),
    /// Of gzip.
    Gzip(Box<MultiGzDecoder<ProbedBlob<R>>>),
    /// Of zstd.
    Zstd(zstd::Decoder<'static, ProbedBlob<R>>),
}

impl<R: Read> Read for Decompressed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(blob) => blob.read(buffer),
            Self::Gzip(blob) => blob.read(buffer),
            Self::Zstd(blob) => blob.read(buffer),
        }
    }
}

/// The tar of a layer's blob, however it is compressed.
pub fn decompressed<R: Read>(mut blob: R) -> io::Result<Decompressed<R>> {
    let mut magic = Vec::with_capacity(DetectedCompression::MAGIC);
    blob.by_ref().take(DetectedCompression::MAGIC as u64).read_to_end(&mut magic)?;
    let compression = DetectedCompression::of(&magic);
    let blob = BufReader::with_capacity(CHUNK, io::Cursor::new(magic).chain(blob));
    Ok(match compression {
        DetectedCompression::None => Decompressed::Plain(blob),
        DetectedCompression::Gzip => Decompressed::Gzip(Box::new(MultiGzDecoder::new(blob))),
        DetectedCompression::Zstd => Decompressed::Zstd(zstd::Decoder::with_buffer(blob)?),
    })
}

/// Gives every event of a tar to `take`, with the member that began last.
///
/// Errors are those of `tar` itself, of what is in it, and of `take`.
pub fn each_event<E: From<io::Error> + From<TarError>>(
    mut tar: impl Read,
    mut take: impl FnMut(TarEvent<'_>, &TarMember) -> Result<(), E>,
) -> Result<(), E> {
    let mut reader = TarReader::default();
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = match tar.read(&mut chunk) {
            Ok(0) => return Ok(reader.finish()?),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        let mut bytes = &chunk[..count];
        while let Some(event) = reader.next(&mut bytes)? {
            take(event, reader.member())?;
        }
    }
}

/// The bytes that a layer may inflate to however small it is.
const MOST_INFLATED: u64 = 16 << 30;
/// The ratio of DEFLATE is 1,032 at most; that of zstd has no bound.
const MAX_RATIO: u64 = 1100;

fn is_bomb(compressed: u64, inflated: u64) -> bool {
    inflated > MOST_INFLATED && inflated / MAX_RATIO > compressed
}

/// Counts the bytes that are read.
struct Counted<'a, R> {
    reader: R,
    passed: &'a Cell<u64>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.passed.set(self.passed.get() + count as u64);
        Ok(count)
    }
}

/// Sends the tar in chunks, until it ends or nobody wants more.
fn inflate(
    blob: &mut (impl Read + Send),
    full: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
) -> io::Result<()> {
    let passed = Cell::new(0);
    let mut tar = decompressed(Counted { reader: blob, passed: &passed })?;
    let mut inflated = 0;
    loop {
        let mut chunk = empty.try_recv().unwrap_or_default();
        chunk.resize(CHUNK, 0);
        let mut filled = 0;
        while filled < CHUNK {
            match tar.read(&mut chunk[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        chunk.truncate(filled);
        inflated += filled as u64;
        if is_bomb(passed.get(), inflated) {
            let message = format!("its {} bytes inflate to more than {inflated}", passed.get());
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        if filled == 0 || full.send(chunk).is_err() {
            return Ok(());
        }
    }
}

fn each(
    chunks: Receiver<Vec<u8>>,
    emptied: Sender<Vec<u8>>,
    mut see: impl FnMut(&[u8]) -> Result<ControlFlow<()>, ReadError>,
) -> Result<(), ReadError> {
    for chunk in chunks {
        if see(&chunk)?.is_break() {
            break;
        }
        // Without a taker the last chunks are dropped.
        emptied.send(chunk).unwrap_or_default();
    }
    Ok(())
}

/// A layer's tar of which a few files pass once more.
struct Again {
    tar: TarReader,
    unfinished: Vec<NeedsAnotherPass>,
    /// The unfinished files that have not passed yet; a path that the layer has twice waits twice.
    waiting: BTreeSet<usize>,
    /// The member that passes; its text is used again for the next one.
    path: String,
    /// The unfinished file that passes, and the number of its bytes that have passed.
    current: Option<(usize, u64)>,
}

impl Again {
    /// Breaks off once nothing of the rest matters.
    fn see(&mut self, mut bytes: &[u8]) -> Result<ControlFlow<()>, ReadError> {
        while let Some(event) = self.tar.next(&mut bytes)? {
            match event {
                TarEvent::Begin => {
                    let member = self.tar.member();
                    let known = relative(&member.path, &mut self.path).unwrap_or_default();
                    let is_this =
                        |index: &&usize| self.unfinished[**index].file() == (&*self.path, member.size);
                    let index = self.waiting.iter().find(is_this).copied();
                    self.current = index.filter(|_| known).map(|index| (index, 0));
                }
                TarEvent::Content(content) => {
                    if let Some((index, position)) = &mut self.current {
                        let library = &mut self.unfinished[*index];
                        library.update(*position, content);
                        *position += content.len() as u64;
                        if library.wants_nothing_from(*position) {
                            self.pass();
                        }
                    }
                }
                TarEvent::End => self.pass(),
            }
            if self.waiting.is_empty() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Has no more use for the member that passes.
    fn pass(&mut self) {
        if let Some((index, _)) = self.current.take() {
            self.waiting.remove(&index);
        }
    }
}

/// A layer's tar being looked into.
struct Look {
    tar: TarReader,
    diff_id: Hasher,
    unpacked: u64,
    learned: ObservedLayer,
    entries: u64,
    path_bytes: u64,
    /// The last member that was noted; its texts are used again for the next one.
    entry: Entry,
    /// The watcher of the content that passes.
    watcher: Option<FileObserver>,
    unfinished: Vec<NeedsAnotherPass>,
}

impl Look {
    fn new() -> Self {
        Self {
            tar: TarReader::default(),
            diff_id: Hasher::default(),
            unpacked: 0,
            learned: ObservedLayer::default(),
            entries: 0,
            path_bytes: 0,
            entry: Entry {
                path: String::new(),
                mode: 0,
                uid: 0,
                gid: 0,
                mtime: 0,
                kind: EntryKind::Directory,
            },
            watcher: None,
            unfinished: Vec::new(),
        }
    }

    fn see(&mut self, mut bytes: &[u8]) -> Result<(), ReadError> {
        self.diff_id.update(bytes);
        while let Some(event) = self.tar.next(&mut bytes)? {
            match event {
                TarEvent::Begin => self.watcher = self.begin()?,
                TarEvent::Content(content) => {
                    self.watcher.iter_mut().for_each(|watcher| watcher.update(content));
                }
                TarEvent::End => self.end(),
            }
        }
        Ok(())
    }

    /// Notes the member that begins; gives who watches its content, when somebody does.
    fn begin(&mut self) -> Result<Option<FileObserver>, ReadError> {
        let member = self.tar.member();
        let entry = &mut self.entry;
        if !relative(&member.path, &mut entry.path).map_err(|reason| refused(member, reason))? {
            return Ok(None);
        }
        self.entries += 1;
        self.path_bytes += (entry.path.len() + member.link.len()) as u64;
        let fault = match () {
            () if !fits_a_file_system(&entry.path) => Some(LayerMemberFault::Long),
            () if member.link.len() > LONGEST_PATH => Some(LayerMemberFault::Long),
            () if self.entries > MOST_ENTRIES => Some(LayerMemberFault::ManyEntries),
            () if self.path_bytes > MOST_PATH_BYTES => Some(LayerMemberFault::LongPaths),
            () => None,
        };
        if let Some(reason) = fault {
            return Err(refused(member, reason));
        }
        let Some(kind) = kind(member)? else { return Ok(None) };
        entry.kind = kind;
        entry.mode = member.mode;
        entry.uid = member.uid;
        entry.gid = member.gid;
        entry.mtime = member.mtime;
        self.learned.note(entry);
        let EntryKind::File { size } = entry.kind else { return Ok(None) };
        self.unpacked = self.unpacked.saturating_add(size);
        match member.kind {
            MemberKind::Other => Ok(None),
            MemberKind::SparseFile if Relevance::of(&entry.path) == Relevance::None => Ok(None),
            MemberKind::SparseFile => Err(refused(member, LayerMemberFault::Sparse)),
            _ => Ok(FileObserver::new(entry, ProbeBudget::LARGE)),
        }
    }

    fn end(&mut self) {
        let Some(watcher) = self.watcher.take() else { return };
        self.unfinished.extend(watcher.finish_once(&mut self.learned));
    }

    fn finish(self) -> Result<(ReadLayer, Vec<NeedsAnotherPass>), ReadError> {
        self.tar.finish()?;
        let Self { diff_id, unpacked, learned, unfinished, .. } = self;
        Ok((ReadLayer { diff_id: diff_id.finish(), unpacked, learned }, unfinished))
    }
}

pub(super) fn refused(member: &TarMember, reason: LayerMemberFault) -> ReadError {
    let shown = &member.path[..member.path.len().min(LONGEST_NAME)];
    ReadError::Member { path: String::from_utf8_lossy(shown).into_owned(), reason }
}

/// The kind of a layer's entry; `None` for a link to a name that is not UTF-8.
pub(super) fn kind(member: &TarMember) -> Result<Option<EntryKind>, ReadError> {
    Ok(Some(match member.kind {
        MemberKind::File | MemberKind::SparseFile => EntryKind::File { size: member.size },
        MemberKind::Directory => EntryKind::Directory,
        // Whatever has its name below is gone.
        MemberKind::Other => EntryKind::File { size: 0 },
        MemberKind::Symlink => match str::from_utf8(&member.link) {
            Ok(target) => EntryKind::Symlink { target: target.to_owned() },
            Err(_) => return Ok(None),
        },
        MemberKind::Hardlink => {
            let mut target = String::new();
            match relative(&member.link, &mut target) {
                Ok(true) => EntryKind::Hardlink { target },
                Ok(false) => return Ok(None),
                Err(_) => return Err(refused(member, LayerMemberFault::LinkLeaves)),
            }
        }
    }))
}

/// Writes into `path` what `raw` names within the root, to which absolute paths are relative too. Gives whether there
/// is something to note: not for the root itself, nor for names that are not UTF-8, which nobody looks for.
pub(super) fn relative(raw: &[u8], path: &mut String) -> Result<bool, LayerMemberFault> {
    path.clear();
    let mut depth = 0usize;
    let mut is_text = true;
    for part in raw.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                depth = depth.checked_sub(1).ok_or(LayerMemberFault::PathLeaves)?;
                path.truncate(path.rfind('/').unwrap_or(0));
            }
            part if part.contains(&0) => return Err(LayerMemberFault::Nul),
            part => {
                depth += 1;
                let separator = if path.is_empty() { "" } else { "/" };
                path.push_str(separator);
                match str::from_utf8(part) {
                    Ok(part) => path.push_str(part),
                    Err(_) => {
                        is_text = false;
                        path.push(char::REPLACEMENT_CHARACTER);
                    }
                }
            }
        }
    }
    Ok(is_text && depth > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_may_be_compressed_and_a_bomb_may_not() {
        const GIB: u64 = 1 << 30;
        for (compressed, inflated, expected) in [
            (1, 16 * GIB, false),
            (17 << 20, 17 * GIB, false),
            (1 << 20, 17 * GIB, true),
            (GIB, 2000 * GIB, true),
        ] {
            assert_eq!(is_bomb(compressed, inflated), expected, "{compressed} to {inflated}");
        }
    }
}
