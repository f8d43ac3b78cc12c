//! One gzip member: a header, DEFLATE blocks of many origins one after the other, the CRC-32 and the size of it all.
//!
//! A stream becomes part of another when its last block is not marked as the last, and what follows begins at a whole
//! byte: an empty stored block fills the bits up to there (RFC 1951 §3.2.4).
//!
//! <https://www.rfc-editor.org/rfc/rfc1952>

use std::io;
use std::mem;

use libdeflater::{CompressionLvl, Compressor};

use super::outlet::Outlet;
use super::{Description, Encoding, WriteError};
use crate::deflate::{End, Inflater, Invalid, Passage};
use crate::oci::image::MediaType;

/// The bytes of uncompressed tar in one stream of our own. Part of the layer's bytes: changing it changes digests.
const PIECE: usize = 1 << 20;
/// Part of the layer's bytes, as [`PIECE`].
const LEVEL: i32 = 6;
/// No name, no time, and a system that is not said.
pub(super) const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// A last block without anything in it.
const LAST_BLOCK: [u8; 2] = [3, 0];
/// The bytes of an empty stored block behind its header bits.
const EMPTY_STORED: [u8; 4] = [0, 0, 0xff, 0xff];

/// A member being written.
pub(super) struct Gzip {
    crc32: crc32fast::Hasher,
    /// Of all of the tar so far, in bytes.
    size: u64,
    /// Tar bytes that are not compressed yet.
    pending: Vec<u8>,
    compressor: Compressor,
    inflater: Inflater,
    has_begun: bool,
}

impl Gzip {
    pub(super) fn new() -> Self {
        Self {
            crc32: crc32fast::Hasher::new(),
            size: 0,
            pending: Vec::new(),
            compressor: compressor(),
            inflater: Inflater::default(),
            has_begun: false,
        }
    }

    /// Compresses what is pending into blocks of their own.
    fn flush(&mut self, out: &mut Outlet) -> Result<(), WriteError> {
        if !self.has_begun {
            self.has_begun = true;
            out.blob(&HEADER)?;
        }
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = mem::take(&mut self.pending);
        let (blocks, end) = open_blocks(&pending, &mut self.compressor, &mut self.inflater)?;
        out.blob(&blocks)?;
        align(end, out)?;
        self.crc32.update(&pending);
        self.size += pending.len() as u64;
        self.pending = pending;
        self.pending.clear();
        Ok(())
    }
}

impl Encoding for Gzip {
    fn plain(&mut self, mut bytes: &[u8], out: &mut Outlet) -> Result<(), WriteError> {
        while self.pending.len() + bytes.len() >= PIECE {
            let (now, later) = bytes.split_at(PIECE - self.pending.len());
            self.pending.extend_from_slice(now);
            self.flush(out)?;
            bytes = later;
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    fn begin(&mut self, _size: u64, out: &mut Outlet) -> Result<(), WriteError> {
        self.flush(out)
    }

    fn continues(&self) -> bool {
        true
    }

    fn deflated(&mut self, bytes: &[u8], out: &mut Outlet) -> Result<(), WriteError> {
        out.blob(bytes)
    }

    fn inflated(&mut self, _bytes: &[u8], _out: &mut Outlet) -> Result<(), WriteError> {
        Ok(())
    }

    fn end(
        &mut self,
        end: End,
        size: u64,
        crc32: &crc32fast::Hasher,
        out: &mut Outlet,
    ) -> Result<(), WriteError> {
        self.crc32.combine(crc32);
        self.size += size;
        align(end, out)
    }

    fn finish(mut self: Box<Self>, out: &mut Outlet) -> Result<Description, WriteError> {
        self.flush(out)?;
        out.blob(&LAST_BLOCK)?;
        out.blob(&trailer(self.crc32.finalize(), self.size))?;
        Ok(Description::of(MediaType::ImageLayerGzip))
    }
}

/// The trailer of a member: the CRC-32 and the size modulo 2³² of its content.
pub(super) fn trailer(crc32: u32, size: u64) -> [u8; 8] {
    let [a, b, c, d] = crc32.to_le_bytes();
    let [e, f, g, h] = (size as u32).to_le_bytes();
    [a, b, c, d, e, f, g, h]
}

pub(super) fn compressor() -> Compressor {
    Compressor::new(CompressionLvl::new(LEVEL).unwrap_or_default())
}

/// The DEFLATE stream of `bytes`.
pub(super) fn deflate(bytes: &[u8], compressor: &mut Compressor) -> Result<Vec<u8>, WriteError> {
    let mut stream = vec![0; compressor.deflate_compress_bound(bytes.len())];
    let size = compressor
        .deflate_compress(bytes, &mut stream)
        .map_err(|error| WriteError::Write(io::Error::other(error.to_string())))?;
    stream.truncate(size);
    Ok(stream)
}

/// Fills the bits up to a whole byte. The three bits that mark an empty stored block as such are zero, as those that are
/// left of the last byte.
pub(super) fn align(end: End, out: &mut Outlet) -> Result<(), WriteError> {
    match end.unused {
        0 => Ok(()),
        1 | 2 => {
            out.blob(&[0])?;
            out.blob(&EMPTY_STORED)
        }
        _ => out.blob(&EMPTY_STORED),
    }
}

/// `bytes`, deflated into blocks of which none is marked as the last.
pub(super) fn open_blocks(
    bytes: &[u8],
    compressor: &mut Compressor,
    inflater: &mut Inflater,
) -> Result<(Vec<u8>, End), WriteError> {
    let stream = deflate(bytes, compressor)?;
    let mut opening = Opening { stream: &stream, blocks: Vec::with_capacity(stream.len()) };
    // Only following the stream tells where its last block is. What libdeflate writes is never invalid.
    let end =
        inflater.inflate(&mut opening).map_err(|invalid| WriteError::Write(io::Error::other(invalid)))?;
    Ok((opening.blocks, end))
}

/// A stream of our own whose last block loses its mark.
struct Opening<'a> {
    stream: &'a [u8],
    blocks: Vec<u8>,
}

impl Passage for Opening<'_> {
    type Error = Invalid;

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Invalid> {
        let (now, later) = self.stream.split_at(self.stream.len().min(buffer.len()));
        buffer[..now.len()].copy_from_slice(now);
        self.stream = later;
        Ok(now.len())
    }

    fn last_block(&mut self, byte: &mut u8, bit: u8) {
        *byte &= !(1 << bit);
    }

    fn passed(&mut self, bytes: &[u8]) -> Result<(), Invalid> {
        self.blocks.extend_from_slice(bytes);
        Ok(())
    }

    fn inflated(&mut self, _bytes: &[u8]) -> Result<(), Invalid> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_told_modulo_four_gibibytes() {
        assert_eq!(trailer(0x0403_0201, (9 << 32) + 5), [1, 2, 3, 4, 5, 0, 0, 0]);
    }
}
