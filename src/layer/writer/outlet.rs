//! Where a layer goes: its tar and the files in it are hashed and its blob is written on a thread of their own, in the
//! order they come.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::mem;
use std::ops::Range;
use std::panic;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread::{self, JoinHandle};

use super::WriteError;
use crate::oci::{BLOCK, BlockHasher, Digest};
use crate::store::{self, BlobWriter};

/// What is handed over at once, in bytes.
const CHUNK: usize = store::BUFFER;
/// How many chunks may wait.
const DEPTH: usize = 2;

/// What is handed over.
enum Chunk {
    /// With where in the tar files are that begin here, and are to be hashed.
    Tar(Vec<u8>, Vec<Range<u64>>),
    Blob(Vec<u8>),
    /// Nothing more comes: without it, the blob does not become visible.
    End,
}

/// A layer's tar and blob on their way.
pub(super) struct Outlet {
    tar: Vec<u8>,
    blob: Vec<u8>,
    /// The files to be hashed that begin in `tar`.
    files: Vec<Range<u64>>,
    /// How many bytes tar and blob have so far.
    tar_size: u64,
    size: u64,
    full: SyncSender<Chunk>,
    empty: Receiver<Vec<u8>>,
    /// Until it was seen to end.
    thread: Option<JoinHandle<Result<Finished, WriteError>>>,
}

/// What is known of a layer at its end.
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
    pub(super) fn new(blob: BlobWriter) -> Self {
        let (full, chunks) = mpsc::sync_channel(DEPTH);
        let (emptied, empty) = mpsc::channel();
        let thread = thread::spawn(move || drain(blob, chunks, emptied));
        Self {
            tar: Vec::new(),
            blob: Vec::new(),
            files: Vec::new(),
            tar_size: 0,
            size: 0,
            full,
            empty,
            thread: Some(thread),
        }
    }

    /// How many bytes the tar has so far.
    pub(super) fn tar_size(&self) -> u64 {
        self.tar_size
    }

    /// How many bytes the blob has so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The next `size` bytes of the tar are a file whose digest is wanted.
    pub(super) fn hash_next(&mut self, size: u64) {
        self.files.push(self.tar_size..self.tar_size + size);
    }

    /// Takes bytes of the tar. Those of a file [to be hashed](Self::hash_next) begin where a block of the tar does.
    pub(super) fn tar(&mut self, mut bytes: &[u8]) -> Result<(), WriteError> {
        self.tar_size += bytes.len() as u64;
        while let Some(chunk) = add(&mut self.tar, &mut bytes) {
            let files = mem::take(&mut self.files);
            self.hand_over(Chunk::Tar(chunk, files))?;
            self.tar = self.emptied();
        }
        Ok(())
    }

    /// Takes bytes of the blob.
    pub(super) fn blob(&mut self, mut bytes: &[u8]) -> Result<(), WriteError> {
        self.size += bytes.len() as u64;
        while let Some(chunk) = add(&mut self.blob, &mut bytes) {
            self.hand_over(Chunk::Blob(chunk))?;
            self.blob = self.emptied();
        }
        Ok(())
    }

    /// Makes the blob visible in its store.
    pub(super) fn finish(mut self) -> Result<Finished, WriteError> {
        let (tar, blob) = (mem::take(&mut self.tar), mem::take(&mut self.blob));
        let files = mem::take(&mut self.files);
        self.hand_over(Chunk::Tar(tar, files))?;
        self.hand_over(Chunk::Blob(blob))?;
        self.hand_over(Chunk::End)?;
        self.ended()
    }

    fn hand_over(&mut self, chunk: Chunk) -> Result<(), WriteError> {
        match self.full.send(chunk) {
            Ok(()) => Ok(()),
            Err(_) => self.ended().map(|_| ()),
        }
    }

    /// How the thread has ended.
    fn ended(&mut self) -> Result<Finished, WriteError> {
        match self.thread.take() {
            Some(thread) => thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic)),
            None => Err(WriteError::Write(io::ErrorKind::BrokenPipe.into())),
        }
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
    mut blob: BlobWriter,
    chunks: Receiver<Chunk>,
    emptied: Sender<Vec<u8>>,
) -> Result<Finished, WriteError> {
    let mut digests = Digests::default();
    for chunk in chunks {
        let mut bytes = match chunk {
            Chunk::Tar(bytes, files) => {
                digests.update(&bytes, files);
                bytes
            }
            Chunk::Blob(bytes) => {
                blob.write_all(&bytes).map_err(WriteError::Write)?;
                bytes
            }
            Chunk::End => {
                let (digest, size) = blob.finish()?;
                let Digests { tar, files, .. } = digests;
                return Ok(Finished { digest, size, diff_id: tar.finish(&[]), files });
            }
        };
        bytes.clear();
        // Without a taker the last chunks are dropped.
        emptied.send(bytes).unwrap_or_default();
    }
    Err(WriteError::Write(io::ErrorKind::BrokenPipe.into()))
}

/// Hashes a tar, and some of the files in it, which begin where blocks of the tar do.
#[derive(Default)]
struct Digests {
    tar: BlockHasher,
    /// How many bytes of the tar have passed.
    passed: u64,
    /// The files that have not passed to their ends, in order.
    waiting: VecDeque<Range<u64>>,
    /// Hashes the first of them.
    file: BlockHasher,
    files: Vec<Digest>,
}

impl Digests {
    /// Takes the next blocks of the tar, with the files that begin in them.
    fn update(&mut self, mut bytes: &[u8], files: Vec<Range<u64>>) {
        self.waiting.extend(files);
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_hashed_wherever_the_pieces_end() {
        let tar: Vec<u8> = (0..5120_u32).map(|number| number as u8).collect();
        let files =
            [0..10_u64, 512..512, 512..1024, 1024..1700, 2048..2048, 2048..2049, 2560..2623, 3072..5120];
        let expected: Vec<_> =
            files.iter().map(|file| Digest::of(&tar[file.start as usize..file.end as usize])).collect();
        for step in [64, 128, 512, 704, 2048, 5120] {
            let mut digests = Digests::default();
            for (number, bytes) in tar.chunks(step).enumerate() {
                let here = (number * step) as u64..(number * step + bytes.len()) as u64;
                let begin = files.iter().filter(|file| here.contains(&file.start));
                digests.update(bytes, begin.cloned().collect());
            }
            assert_eq!(digests.files, expected, "in steps of {step}");
            assert_eq!(digests.tar.finish(&[]), Digest::of(&tar));
        }
    }
}
