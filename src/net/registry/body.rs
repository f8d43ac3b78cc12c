//! Bodies of requests, which can be sent again.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::stream::try_unfold;
use reqwest::Body;

/// The bytes that are read and sent at once.
const PIECE: u64 = 512 << 10;

/// The body of a request.
#[derive(Debug, Clone)]
pub(super) enum RequestBody {
    None,
    Bytes(Vec<u8>),
    File(FilePiece),
}

/// A part of a file.
#[derive(Debug, Clone)]
pub(super) struct FilePiece {
    pub file: Arc<File>,
    pub range: Range<u64>,
}

impl FilePiece {
    pub(super) fn size(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// A stream of the bytes, which counts those that were taken from it.
    pub(super) fn stream(&self, sent: Arc<AtomicU64>) -> Body {
        let (file, end) = (Arc::clone(&self.file), self.range.end);
        Body::wrap_stream(try_unfold(self.range.start, move |position| {
            let (file, sent) = (Arc::clone(&file), Arc::clone(&sent));
            async move {
                let size = (end - position).min(PIECE);
                if size == 0 {
                    return Ok(None);
                }
                let read = tokio::task::spawn_blocking(move || read(&file, position, size));
                let bytes = read.await.map_err(io::Error::other)??;
                sent.fetch_add(size, Ordering::Relaxed);
                Ok::<_, io::Error>(Some((bytes, position + size)))
            }
        }))
    }
}

fn read(file: &File, position: u64, size: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut bytes, position)?;
    Ok(bytes)
}
