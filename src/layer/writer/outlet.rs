//! Where a layer goes: its tar is hashed and its blob written on a thread of their own, in the order they come.

use std::io::{self, Write};
use std::mem;
use std::panic;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread::{self, JoinHandle};

use super::WriteError;
use crate::oci::{Digest, Hasher};
use crate::store::BlobWriter;

/// What is handed over at once, in bytes.
const CHUNK: usize = 256 << 10;
/// How many chunks may wait.
const DEPTH: usize = 4;

/// What is handed over.
enum Chunk {
    Tar(Vec<u8>),
    Blob(Vec<u8>),
    /// Nothing more comes: without it, the blob does not become visible.
    End,
}

/// A layer's tar and blob on their way.
pub(super) struct Outlet {
    tar: Vec<u8>,
    blob: Vec<u8>,
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
}

impl Outlet {
    pub(super) fn new(blob: BlobWriter) -> Self {
        let (full, chunks) = mpsc::sync_channel(DEPTH);
        let (emptied, empty) = mpsc::channel();
        let thread = thread::spawn(move || drain(blob, chunks, emptied));
        Self { tar: Vec::new(), blob: Vec::new(), tar_size: 0, size: 0, full, empty, thread: Some(thread) }
    }

    /// How many bytes the tar has so far.
    pub(super) fn tar_size(&self) -> u64 {
        self.tar_size
    }

    /// How many bytes the blob has so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Takes bytes of the tar.
    pub(super) fn tar(&mut self, mut bytes: &[u8]) -> Result<(), WriteError> {
        self.tar_size += bytes.len() as u64;
        while let Some(chunk) = add(&mut self.tar, &mut bytes) {
            self.hand_over(Chunk::Tar(chunk))?;
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
        self.hand_over(Chunk::Tar(tar))?;
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
    let mut diff_id = Hasher::default();
    for chunk in chunks {
        let mut bytes = match chunk {
            Chunk::Tar(bytes) => {
                diff_id.update(&bytes);
                bytes
            }
            Chunk::Blob(bytes) => {
                blob.write_all(&bytes).map_err(WriteError::Write)?;
                bytes
            }
            Chunk::End => {
                let (digest, size) = blob.finish()?;
                return Ok(Finished { digest, size, diff_id: diff_id.finish() });
            }
        };
        bytes.clear();
        // Without a taker the last chunks are dropped.
        emptied.send(bytes).unwrap_or_default();
    }
    Err(WriteError::Write(io::ErrorKind::BrokenPipe.into()))
}
