//! One zstd frame. What is deflated is compressed anew: smaller, and read several times as fast.
//!
//! <https://www.rfc-editor.org/rfc/rfc8878>

use std::io::Write;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use ::zstd::stream::write::Encoder;
use ::zstd::zstd_safe::CParameter;

use super::outlet::Outlet;
use super::{Description, Encoding, WriteError};
use crate::deflate::End;
use crate::oci::image::MediaType;

/// The distance over which repetitions are found is 2 to the power of this. Part of the layer's bytes.
///
/// Looking for them as far away as that makes libraries of CUDA smaller by 5 to 8 % in 10 to 15 % more time. A window of
/// 16 MiB takes half of the memory that threads with their usual windows take, any reader has room for it, and one of
/// 64 MiB finds less than half a per cent more.
const WINDOW_LOG: u32 = 24;
/// From this level on the library's own choice of what follows takes several times the memory, for one or two per cent.
const LARGE: u8 = 10;
/// The bytes that one thread compresses at once then, and the logarithm of its tables' entries. Part of the
/// layer's bytes.
const LARGE_JOB: u32 = 8 << 20;
const LARGE_TABLE_LOG: u32 = 22;
/// More threads for one frame take more memory than they gain time.
const MOST_WORKERS: u32 = 4;
/// The memory of all layers with such frames that are being written, in MB: others wait.
const MOST_MEMORY: u32 = 150;

static MEMORY: Memory = Memory::new();

/// The number of threads that compress one frame, of so many cores.
fn workers(level: u8, cores: u32) -> u32 {
    let most = cores.clamp(1, MOST_WORKERS);
    (1..=most).rev().find(|workers| memory(level, *workers) <= MOST_MEMORY).unwrap_or(1)
}

/// The most memory of a layer with such a frame, in MB, as measured with libzstd 1.5.7 on a library of CUDA.
fn memory(level: u8, workers: u32) -> u32 {
    let (frame, worker) = match level {
        ..=6 => (45, 5),
        7..LARGE => (60, 22),
        LARGE..=12 => (55, 36),
        13.. => (62, 44),
    };
    frame + worker * workers
}

/// Memory that several share.
struct Memory {
    taken: Mutex<u32>,
    freed: Condvar,
}

/// The share of one of them.
struct Share {
    memory: &'static Memory,
    size: u32,
}

impl Memory {
    const fn new() -> Self {
        Self { taken: Mutex::new(0), freed: Condvar::new() }
    }

    /// So much of it; waits until others have left that, or all.
    fn wait(&'static self, share: u32) -> Share {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |taken: &mut u32| *taken > 0 && *taken + share > MOST_MEMORY;
        *self.freed.wait_while(taken, is_full).unwrap_or_else(PoisonError::into_inner) += share;
        Share { memory: self, size: share }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        *self.memory.taken.lock().unwrap_or_else(PoisonError::into_inner) -= self.size;
        self.memory.freed.notify_all();
    }
}

/// A frame being written.
pub(super) struct Zstd {
    encoder: Encoder<'static, Vec<u8>>,
    _share: Share,
}

impl Zstd {
    /// Waits until there is memory for the frame: no thread may write two at once.
    pub(super) fn new(level: u8) -> Result<Self, WriteError> {
        let cores = thread::available_parallelism().map_or(1, |count| count.get() as u32);
        let workers = workers(level, cores);
        let share = MEMORY.wait(memory(level, workers));
        let mut encoder = Encoder::new(Vec::new(), level.into()).map_err(WriteError::Write)?;
        let mut parameters = vec![
            // Any number of them gives the same bytes; none gives others.
            CParameter::NbWorkers(workers),
            CParameter::EnableLongDistanceMatching(true),
            CParameter::WindowLog(WINDOW_LOG),
        ];
        if level >= LARGE {
            parameters.extend([
                CParameter::JobSize(LARGE_JOB),
                CParameter::HashLog(LARGE_TABLE_LOG),
                CParameter::ChainLog(LARGE_TABLE_LOG),
            ]);
        }
        for parameter in parameters {
            encoder.set_parameter(parameter).map_err(WriteError::Write)?;
        }
        Ok(Self { encoder, _share: share })
    }

    fn compress(&mut self, bytes: &[u8], out: &mut Outlet) -> Result<(), WriteError> {
        self.encoder.write_all(bytes).map_err(WriteError::Write)?;
        out.blob(self.encoder.get_ref())?;
        self.encoder.get_mut().clear();
        Ok(())
    }
}

impl Encoding for Zstd {
    fn plain(&mut self, bytes: &[u8], out: &mut Outlet) -> Result<(), WriteError> {
        self.compress(bytes, out)
    }

    fn begin(&mut self, _size: u64, _out: &mut Outlet) -> Result<(), WriteError> {
        Ok(())
    }

    fn continues(&self) -> bool {
        false
    }

    fn deflated(&mut self, _bytes: &[u8], _out: &mut Outlet) -> Result<(), WriteError> {
        Ok(())
    }

    fn inflated(&mut self, bytes: &[u8], out: &mut Outlet) -> Result<(), WriteError> {
        self.compress(bytes, out)
    }

    fn end(
        &mut self,
        _end: End,
        _size: u64,
        _crc32: &crc32fast::Hasher,
        _out: &mut Outlet,
    ) -> Result<(), WriteError> {
        Ok(())
    }

    fn finish(self: Box<Self>, out: &mut Outlet) -> Result<Description, WriteError> {
        let rest = self.encoder.finish().map_err(WriteError::Write)?;
        out.blob(&rest)?;
        Ok(Description::of(MediaType::ImageLayerZstd))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_as_many_threads_as_there_is_memory_for() {
        assert_eq!([1, 2, 64].map(|cores| workers(3, cores)), [1, 2, 4]);
        assert_eq!([6, 9, 12, 15, 19].map(|level| workers(level, 64)), [4, 4, 2, 2, 2]);
    }

    #[test]
    fn frames_that_are_written_at_once_never_take_more_memory_than_there_is() {
        static SHARED: Memory = Memory::new();
        let taken = || *SHARED.taken.lock().unwrap();
        thread::scope(|scope| {
            for share in [40, 100, 60, 90, MOST_MEMORY].repeat(20) {
                scope.spawn(move || {
                    let _share = SHARED.wait(share);
                    assert!((share..=MOST_MEMORY).contains(&taken()));
                    thread::yield_now();
                });
            }
        });
        assert_eq!(taken(), 0);
    }

    #[test]
    fn a_frame_that_needs_more_memory_than_there_is_waits_until_it_is_alone() {
        static SHARED: Memory = Memory::new();
        let large = SHARED.wait(MOST_MEMORY + 1);
        assert_eq!(*SHARED.taken.lock().unwrap(), MOST_MEMORY + 1);
        thread::scope(|scope| {
            scope.spawn(|| assert_eq!(*SHARED.wait(1).memory.taken.lock().unwrap(), 1));
            drop(large);
        });
    }
}
