//! The outlet of a layer: its tar and the files in it are hashed and its blob is written, in the order they come.
//!
//! That is done at once, while what comes is in the cache of the core that made it; or on a thread of its own, as long as
//! a core has nothing else to do.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::mem;
use std::ops::Range;
use std::panic;
use std::sync::mpsc::{self, Receiver, SendError, Sender, SyncSender};
use std::thread::{self, JoinHandle};

use super::WriteError;
use super::cores::Core;
use crate::oci::{BLOCK, BlockHasher, Digest};
use crate::store::{self, BlobWriter};

/// The bytes that are handed over to a thread at once.
const CHUNK: usize = store::BUFFER;
/// The number of chunks that may wait.
const DEPTH: usize = 2;

/// A layer's tar and blob on their way.
pub(super) struct Outlet {
    /// The sizes of tar and blob so far, in bytes.
    tar_size: u64,
    size: u64,
    way: Way,
    /// The core that the writer of the layer keeps busy.
    core: Core,
}

/// The place where it is hashed and written.
enum Way {
    Here(Box<Sink>),
    There(Helper),
    /// An error has ended it.
    Nowhere,
}

/// The digests and sizes of a finished layer.
pub(super) struct Finished {
    /// The digest of the blob.
    pub digest: Digest,
    /// The blob's size in bytes.
    pub size: u64,
    /// The digest of the tar.
    pub diff_id: Digest,
    /// The digests of the files that were [to be hashed](Outlet::hash_next), in their order.
    pub files: Vec<Digest>,
}

impl Outlet {
    /// Of a layer whose writer keeps `core` busy.
    pub(super) fn new(blob: BlobWriter, core: Core) -> Self {
        let way = Way::Here(Box::new(Sink { digests: Digests::default(), blob }));
        Self { tar_size: 0, size: 0, way, core }
    }

    /// The size of the tar so far, in bytes.
    pub(super) fn tar_size(&self) -> u64 {
        self.tar_size
    }

    /// The size of the blob so far, in bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The next `size` bytes of the tar are a file whose digest is wanted. It begins where a block of the tar does.
    pub(super) fn hash_next(&mut self, size: u64) {
        let file = self.tar_size..self.tar_size + size;
        match &mut self.way {
            Way::Here(sink) => sink.digests.waiting.push_back(file),
            Way::There(helper) => helper.files.push(file),
            Way::Nowhere => {}
        }
    }

    /// Takes bytes of the tar.
    pub(super) fn tar(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.tar_size += bytes.len() as u64;
        self.suit()?;
        match &mut self.way {
            Way::Here(sink) => sink.digests.update(bytes),
            Way::There(helper) => {
                if helper.tar(bytes).is_err() {
                    return self.ended();
                }
            }
            Way::Nowhere => {}
        }
        Ok(())
    }

    /// Takes bytes of the blob.
    pub(super) fn blob(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.size += bytes.len() as u64;
        self.suit()?;
        match &mut self.way {
            Way::Here(sink) => {
                if let Err(error) = sink.blob.write_all(bytes) {
                    self.way = Way::Nowhere;
                    return Err(WriteError::Write(error));
                }
            }
            Way::There(helper) => {
                if helper.blob(bytes).is_err() {
                    return self.ended();
                }
            }
            Way::Nowhere => {}
        }
        Ok(())
    }

    /// Makes the blob visible in its store.
    pub(super) fn finish(self) -> Result<Finished, WriteError> {
        let sink = self.way.end()?;
        // Who waits for the disk keeps no core busy.
        drop(self.core);
        let (digest, size) = sink.blob.finish()?;
        let (diff_id, files) = sink.digests.finish();
        Ok(Finished { digest, size, diff_id, files })
    }

    /// Goes the way that suits what the machine's cores do now.
    fn suit(&mut self) -> Result<(), WriteError> {
        match &self.way {
            Way::Here(_) => {
                let Some(core) = self.core.take_another() else { return Ok(()) };
                let sink = mem::replace(&mut self.way, Way::Nowhere).end()?;
                self.way = Way::There(Helper::new(sink, core));
            }
            Way::There(_) if self.core.is_wanted() => {
                self.way = Way::Here(mem::replace(&mut self.way, Way::Nowhere).end()?);
            }
            Way::There(_) | Way::Nowhere => {}
        }
        Ok(())
    }

    /// The error that has ended a thread.
    fn ended(&mut self) -> Result<(), WriteError> {
        mem::replace(&mut self.way, Way::Nowhere).end().map(|_| ())
    }
}

impl Way {
    /// The sink that everything has gone into.
    fn end(self) -> Result<Box<Sink>, WriteError> {
        match self {
            Self::Here(sink) => Ok(sink),
            Self::There(helper) => helper.end(),
            Self::Nowhere => Err(WriteError::Write(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

/// Hashes and writes.
struct Sink {
    digests: Digests,
    blob: BlobWriter,
}

/// A chunk that is handed over to a thread.
enum Chunk {
    /// With where in the tar files are that begin here, and are to be hashed.
    Tar(Vec<u8>, Vec<Range<u64>>),
    Blob(Vec<u8>),
}

/// A thread that hashes and writes, and what is gathered for it.
struct Helper {
    tar: Vec<u8>,
    /// The files to be hashed that begin in `tar`.
    files: Vec<Range<u64>>,
    blob: Vec<u8>,
    full: SyncSender<Chunk>,
    empty: Receiver<Vec<u8>>,
    thread: JoinHandle<Result<Box<Sink>, WriteError>>,
}

/// A helper refuses chunks when an error has ended it.
impl Helper {
    fn new(sink: Box<Sink>, core: Core) -> Self {
        let (full, chunks) = mpsc::sync_channel(DEPTH);
        let (emptied, empty) = mpsc::channel();
        let thread = thread::spawn(move || {
            let _core = core;
            drain(sink, chunks, emptied)
        });
        Self { tar: Vec::new(), files: Vec::new(), blob: Vec::new(), full, empty, thread }
    }

    fn tar(&mut self, mut bytes: &[u8]) -> Result<(), SendError<Chunk>> {
        while let Some(chunk) = add(&mut self.tar, &mut bytes) {
            self.full.send(Chunk::Tar(chunk, mem::take(&mut self.files)))?;
            self.tar = self.emptied();
        }
        Ok(())
    }

    fn blob(&mut self, mut bytes: &[u8]) -> Result<(), SendError<Chunk>> {
        while let Some(chunk) = add(&mut self.blob, &mut bytes) {
            self.full.send(Chunk::Blob(chunk))?;
            self.blob = self.emptied();
        }
        Ok(())
    }

    /// Ends the thread, when it has done all that it was given.
    fn end(self) -> Result<Box<Sink>, WriteError> {
        for chunk in [Chunk::Tar(self.tar, self.files), Chunk::Blob(self.blob)] {
            // The thread tells what has stopped it.
            self.full.send(chunk).unwrap_or_default();
        }
        drop(self.full);
        self.thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
    }

    fn emptied(&mut self) -> Vec<u8> {
        self.empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(CHUNK))
    }
}

/// Moves what `chunk` has room for from the front of `bytes` into it; gives it when it is full.
fn add(chunk: &mut Vec<u8>, bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let (now, later) = bytes.split_at(bytes.len().min(CHUNK - chunk.len()));
    chunk.extend_from_slice(now);
    *bytes = later;
    (chunk.len() == CHUNK).then(|| mem::take(chunk))
}

fn drain(
    mut sink: Box<Sink>,
    chunks: Receiver<Chunk>,
    emptied: Sender<Vec<u8>>,
) -> Result<Box<Sink>, WriteError> {
    for chunk in chunks {
        let mut bytes = match chunk {
            Chunk::Tar(bytes, files) => {
                sink.digests.waiting.extend(files);
                sink.digests.update(&bytes);
                bytes
            }
            Chunk::Blob(bytes) => {
                sink.blob.write_all(&bytes).map_err(WriteError::Write)?;
                bytes
            }
        };
        bytes.clear();
        // Without a taker the last chunks are dropped.
        emptied.send(bytes).unwrap_or_default();
    }
    Ok(sink)
}

/// Hashes a tar, and some of the files in it, which begin where blocks of the tar do.
#[derive(Default)]
struct Digests {
    tar: BlockHasher,
    /// The number of bytes of the tar that have passed, in whole blocks.
    passed: u64,
    /// The beginning of the next block.
    begun: Vec<u8>,
    /// The files that have not passed to their ends, in order.
    waiting: VecDeque<Range<u64>>,
    /// Hashes the first of them.
    file: BlockHasher,
    files: Vec<Digest>,
}

impl Digests {
    /// Takes what comes next of the tar. Files that begin in it are waiting.
    fn update(&mut self, mut bytes: &[u8]) {
        if !self.begun.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.begun.len()));
            self.begun.extend_from_slice(now);
            bytes = later;
            if self.begun.len() < BLOCK {
                return;
            }
            let mut block = mem::take(&mut self.begun);
            self.blocks(&block);
            block.clear();
            self.begun = block;
        }
        let (blocks, begun) = bytes.split_at(bytes.len() / BLOCK * BLOCK);
        self.blocks(blocks);
        self.begun.extend_from_slice(begun);
    }

    /// Takes the next blocks of the tar.
    fn blocks(&mut self, mut bytes: &[u8]) {
        loop {
            let next = self.waiting.front().cloned();
            let is_here = next.as_ref().is_some_and(|file| file.start <= self.passed);
            let until = next.map_or(u64::MAX, |file| if is_here { file.end } else { file.start });
            let left = usize::try_from(until - self.passed).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(left.min(bytes.len()) / BLOCK * BLOCK);
            match is_here {
                true => self.tar.update_both(&mut self.file, now.as_chunks().0),
                false => self.tar.update(now.as_chunks().0),
            }
            self.passed += now.len() as u64;
            bytes = later;
            // Less than a block is left of a file; the tar goes on with what fills it.
            match bytes.get(..left - now.len()) {
                Some(rest) if is_here => {
                    self.files.push(mem::take(&mut self.file).finish(rest));
                    self.waiting.pop_front();
                }
                _ if bytes.is_empty() => break,
                _ => {}
            }
        }
    }

    /// The digests of the tar and of the files.
    fn finish(self) -> (Digest, Vec<Digest>) {
        (self.tar.finish(&self.begun), self.files)
    }
}

#[cfg(test)]
mod tests {
    use super::super::cores::Cores;
    use super::*;
    use crate::store::Store;

    #[test]
    fn a_layer_is_the_same_wherever_it_is_hashed_and_written() {
        static CORES: Cores = Cores::new(|| 2);
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let mut out = Outlet::new(store.new_blob().unwrap(), CORES.take());
        let (mut tar, mut blob, mut files, mut others) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for number in 0..200_usize {
            // Others come and go.
            match number % 5 {
                0 => others.push(CORES.take()),
                3 => others.clear(),
                _ => {}
            }
            let is_there = matches!(out.way, Way::There(_));
            assert_eq!(is_there, number > 0 && !(1..=3).contains(&(number % 5)), "{number}");
            let file: Vec<u8> = (0..number * number * 3).map(|at| (at * number) as u8).collect();
            if number % 3 == 0 {
                out.hash_next(file.len() as u64);
                files.push(Digest::of(&file));
            }
            let padding = vec![0; file.len().next_multiple_of(512) - file.len()];
            for bytes in [&file, &padding] {
                out.tar(bytes).unwrap();
                tar.extend_from_slice(bytes);
            }
            out.blob(&file).unwrap();
            blob.extend_from_slice(&file);
        }
        let finished = out.finish().unwrap();
        assert_eq!(finished.diff_id, Digest::of(&tar));
        assert_eq!((finished.digest, finished.size), (Digest::of(&blob), blob.len() as u64));
        assert_eq!(finished.files, files);
        assert_eq!(std::fs::read(store.blob_path(&finished.digest)).unwrap(), blob);
    }

    #[test]
    fn files_are_hashed_wherever_the_pieces_end() {
        let tar: Vec<u8> = (0..5120_u32).map(|number| number as u8).collect();
        let files =
            [0..10_u64, 512..512, 512..1024, 1024..1700, 2048..2048, 2048..2049, 2560..2623, 3072..5120];
        let expected: Vec<_> =
            files.iter().map(|file| Digest::of(&tar[file.start as usize..file.end as usize])).collect();
        for step in [1, 63, 64, 65, 128, 500, 512, 704, 2048, 5120] {
            let mut digests = Digests::default();
            for (number, bytes) in tar.chunks(step).enumerate() {
                let here = (number * step) as u64..(number * step + bytes.len()) as u64;
                let begin = files.iter().filter(|file| here.contains(&file.start));
                digests.waiting.extend(begin.cloned());
                digests.update(bytes);
            }
            assert_eq!(digests.finish(), (Digest::of(&tar), expected.clone()), "in steps of {step}");
        }
    }
}
