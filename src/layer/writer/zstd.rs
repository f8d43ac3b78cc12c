//! One zstd frame. What is deflated is compressed anew: smaller, and read several times as fast.
//!
//! <https://www.rfc-editor.org/rfc/rfc8878>

use std::io::Write;
use std::thread;

use ::zstd::stream::write::Encoder;
use ::zstd::zstd_safe::CParameter;

use super::outlet::Outlet;
use super::{Description, Encoding, WriteError};
use crate::oci::image::LAYER_ZSTD;
use crate::pypa::deflate::End;

/// The distance over which repetitions are found is 2 to the power of this. Part of the layer's bytes.
///
/// Looking for them as far away as that makes libraries of CUDA smaller by 5 to 8 % in 10 to 15 % more time. A window of
/// 16 MiB takes half of the memory that threads with their usual windows take, any reader has room for it, and one of
/// 64 MiB finds less than half a per cent more.
const WINDOW_LOG: u32 = 24;
/// More threads take more memory than they gain time.
const MAX_WORKERS: usize = 4;

/// A frame being written.
pub(super) struct Zstd {
    encoder: Encoder<'static, Vec<u8>>,
}

impl Zstd {
    pub(super) fn new(level: u8) -> Result<Self, WriteError> {
        let mut encoder = Encoder::new(Vec::new(), level.into()).map_err(WriteError::Write)?;
        // Any number of them gives the same bytes; none gives others.
        let workers = thread::available_parallelism().map_or(1, |count| count.get().min(MAX_WORKERS));
        for parameter in [
            CParameter::NbWorkers(workers as u32),
            CParameter::EnableLongDistanceMatching(true),
            CParameter::WindowLog(WINDOW_LOG),
        ] {
            encoder.set_parameter(parameter).map_err(WriteError::Write)?;
        }
        Ok(Self { encoder })
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
        Ok(Description::of(LAYER_ZSTD))
    }
}
