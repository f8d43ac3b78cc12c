//! eStargz: a gzip file of many members, whose last ones are a table of what is where and a footer that tells where the
//! table is. A snapshotter that knows the form fetches the members of a file when the file is read; to anybody else it is
//! gzip.
//!
//! A file is cut into chunks, each a member of its own. A wheel's stream can be cut without compressing all of it anew:
//! what is more than a window behind a cut copies nothing from before it. So a chunk ends with a block of the stream, the
//! first window or so of the next one is compressed here, up to where a block begins, and from there on the stream goes
//! on as it is. A chunk is larger than [`CHUNK`] where a single block is, as all of
//! what zlib-ng writes at level 1.
//!
//! <https://github.com/containerd/stargz-snapshotter/blob/main/docs/estargz.md>

use std::mem;

use libdeflater::Compressor;
use serde::Serialize;

use super::gzip::{self, HEADER, align, deflate, open_blocks, trailer};
use super::outlet::Outlet;
use super::{Description, Encoding, WriteError};
use crate::deflate::{End, Inflater};
use crate::oci::image::MediaType;
use crate::oci::time::rfc3339;
use crate::oci::{Digest, Entry, EntryKind, Hasher, tar};

/// The bytes of a file that are fetched at once. Part of the layer's bytes: changing it changes digests.
const CHUNK: u64 = 4 << 20;
/// Streams copy from no further back, in bytes.
const WINDOW: u64 = 32 << 10;
/// The bytes that are gathered before they are compressed. Part of the layer's bytes.
const PIECE: usize = 1 << 20;

const TOC: &str = "stargz.index.json";
/// The digest of the table, which a snapshotter holds the table against.
const TOC_DIGEST: &str = "containerd.io/snapshot/stargz/toc.digest";
const UNCOMPRESSED_SIZE: &str = "io.containers.estargz.uncompressed-size";

/// The file that marks the end of what is fetched at once, or that nothing is.
pub(super) fn landmark(is_prefetched: bool) -> (Entry, &'static [u8]) {
    let path = if is_prefetched { ".prefetch.landmark" } else { ".no.prefetch.landmark" };
    (file(path, 1), &[0xf])
}

fn file(path: &str, size: u64) -> Entry {
    Entry { path: path.into(), mode: 0o644, uid: 0, gid: 0, mtime: 0, kind: EntryKind::File { size } }
}

/// The table of contents.
#[derive(Serialize)]
struct Toc<'a> {
    version: u32,
    entries: &'a [TocEntry],
}

/// An entry of the layer, or a further chunk of the file before it.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct TocEntry {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    #[serde(rename = "modtime", skip_serializing_if = "String::is_empty")]
    modified: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    link_name: String,
    #[serde(skip_serializing_if = "is_zero")]
    mode: u64,
    #[serde(skip_serializing_if = "is_zero")]
    uid: u64,
    #[serde(skip_serializing_if = "is_zero")]
    gid: u64,
    /// The start of the chunk's member in the blob.
    #[serde(skip_serializing_if = "is_zero")]
    offset: u64,
    /// Of the whole file.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    #[serde(skip_serializing_if = "is_zero")]
    chunk_offset: u64,
    /// Left out where the chunk is the whole file.
    #[serde(skip_serializing_if = "is_zero")]
    chunk_size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunk_digest: Option<Digest>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl TocEntry {
    fn of(entry: &Entry) -> Self {
        let slash = if entry.kind == EntryKind::Directory { "/" } else { "" };
        let (kind, size, link) = match &entry.kind {
            EntryKind::Directory => ("dir", 0, ""),
            EntryKind::File { size } => ("reg", *size, ""),
            EntryKind::Whiteout => ("reg", 0, ""),
            EntryKind::Symlink { target } => ("symlink", 0, target.as_str()),
            EntryKind::Hardlink { target } => ("hardlink", 0, target.as_str()),
        };
        Self {
            name: format!("{}{slash}", entry.path),
            kind,
            size,
            modified: rfc3339(entry.mtime),
            link_name: link.to_owned(),
            mode: entry.mode.into(),
            uid: entry.uid,
            gid: entry.gid,
            ..Self::default()
        }
    }
}

/// A chunk being written.
#[derive(Default)]
struct Chunk {
    /// Its start in the blob, and in the file.
    offset: u64,
    start: u64,
    size: u64,
    digest: Hasher,
    crc32: crc32fast::Hasher,
}

/// The mode in which a chunk's stream is written.
enum ChunkMode {
    /// As it comes. The lowest bits of the first byte, this many, are not the stream's but these.
    AsItIs { bits: u32, instead: u8 },
    /// Compressed from what it inflates to.
    Anew { inflated: Vec<u8> },
}

/// A blob being written.
pub(super) struct Estargz {
    compressor: Compressor,
    inflater: Inflater,
    /// Tar bytes beside files' contents that are not compressed yet.
    pending: Vec<u8>,
    /// Content that is not compressed yet.
    content: Vec<u8>,
    entries: Vec<TocEntry>,
    /// Of the current file: its content so far, and its size in the end.
    digest: Hasher,
    file_size: u64,
    chunk: Chunk,
    mode: ChunkMode,
    /// The start of the table's member, and the table's digest.
    toc: Option<(u64, Digest)>,
}

impl Estargz {
    pub(super) fn new() -> Self {
        Self {
            compressor: gzip::compressor(),
            inflater: Inflater::default(),
            pending: Vec::new(),
            content: Vec::new(),
            entries: Vec::new(),
            digest: Hasher::default(),
            file_size: 0,
            chunk: Chunk::default(),
            mode: ChunkMode::AsItIs { bits: 0, instead: 0 },
            toc: None,
        }
    }

    /// Compresses what is pending into a member of its own.
    fn flush(&mut self, out: &mut Outlet) -> Result<(), WriteError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = mem::take(&mut self.pending);
        out.blob(&HEADER)?;
        out.blob(&deflate(&pending, &mut self.compressor)?)?;
        out.blob(&trailer(crc32fast::hash(&pending), pending.len() as u64))?;
        self.pending = pending;
        self.pending.clear();
        Ok(())
    }

    fn begin_chunk(&mut self, out: &mut Outlet) -> Result<(), WriteError> {
        let start = self.chunk.start + self.chunk.size;
        self.chunk = Chunk { offset: out.size(), start, ..Chunk::default() };
        out.blob(&HEADER)
    }

    fn see(&mut self, bytes: &[u8]) {
        self.chunk.size += bytes.len() as u64;
        self.chunk.crc32.update(bytes);
        self.chunk.digest.update(bytes);
        if self.file_size > CHUNK {
            self.digest.update(bytes);
        }
    }

    fn end_chunk(&mut self, out: &mut Outlet) -> Result<(), WriteError> {
        out.blob(&trailer(self.chunk.crc32.clone().finalize(), self.chunk.size))?;
        let Chunk { offset, start, size, .. } = self.chunk;
        let digest = self.chunk.digest.clone().finish();
        let is_whole = size == self.file_size;
        if start > 0 {
            self.entries.push(TocEntry { kind: "chunk", chunk_offset: start, ..TocEntry::default() });
        }
        let file = self.entries.iter().rposition(|entry| entry.kind != "chunk").unwrap_or_default();
        let name = self.entries[file].name.clone();
        if start + size == self.file_size {
            let whole = mem::take(&mut self.digest).finish();
            self.entries[file].digest = Some(if is_whole { digest } else { whole });
        }
        if let Some(entry) = self.entries.last_mut().filter(|_| size > 0) {
            entry.name = name;
            entry.offset = offset;
            entry.chunk_size = if is_whole { 0 } else { size };
            entry.chunk_digest = Some(digest);
        }
        Ok(())
    }

    /// Compresses the content that was gathered into a chunk.
    fn flush_content(&mut self, out: &mut Outlet) -> Result<(), WriteError> {
        let content = mem::take(&mut self.content);
        self.begin_chunk(out)?;
        out.blob(&deflate(&content, &mut self.compressor)?)?;
        self.see(&content);
        self.end_chunk(out)?;
        self.content = content;
        self.content.clear();
        Ok(())
    }

    /// Compresses what was gathered of a chunk's stream; gives the bits of its last byte, where the stream goes on.
    fn blocks_of(&mut self, inflated: &[u8]) -> Result<(BitString, End), WriteError> {
        let (bytes, end) = open_blocks(inflated, &mut self.compressor, &mut self.inflater)?;
        Ok((BitString { bytes, used: (8 - end.unused) % 8 }, end))
    }
}

impl Encoding for Estargz {
    fn entry(&mut self, entry: &Entry) {
        self.entries.push(TocEntry::of(entry));
        self.digest = Hasher::default();
        self.chunk = Chunk::default();
        self.file_size = match entry.kind {
            EntryKind::File { size } => size,
            _ => 0,
        };
    }

    fn plain(&mut self, bytes: &[u8], out: &mut Outlet) -> Result<(), WriteError> {
        self.pending.extend_from_slice(bytes);
        // The table is in one member, however large.
        if self.pending.len() >= PIECE && self.toc.is_none() { self.flush(out) } else { Ok(()) }
    }

    fn content(&mut self, mut bytes: &[u8], out: &mut Outlet) -> Result<(), WriteError> {
        self.flush(out)?;
        while self.content.len() + bytes.len() >= CHUNK as usize {
            let (now, later) = bytes.split_at(CHUNK as usize - self.content.len());
            self.content.extend_from_slice(now);
            self.flush_content(out)?;
            bytes = later;
        }
        self.content.extend_from_slice(bytes);
        Ok(())
    }

    fn end_of_content(&mut self, out: &mut Outlet) -> Result<(), WriteError> {
        if self.content.is_empty() { Ok(()) } else { self.flush_content(out) }
    }

    fn begin(&mut self, _size: u64, out: &mut Outlet) -> Result<(), WriteError> {
        self.flush(out)?;
        self.mode = ChunkMode::AsItIs { bits: 0, instead: 0 };
        self.begin_chunk(out)
    }

    fn continues(&self) -> bool {
        false
    }

    fn wants_blocks(&self) -> bool {
        self.file_size > CHUNK
    }

    fn block(&mut self, byte: u8, bit: u32, out: &mut Outlet) -> Result<(), WriteError> {
        let left = self.file_size.saturating_sub(self.chunk.start + self.chunk.size);
        match &mut self.mode {
            ChunkMode::AsItIs { .. } if self.chunk.size >= CHUNK && left > 2 * WINDOW => {
                let mut end = BitString { bytes: Vec::new(), used: 0 };
                end.put(byte.into(), bit);
                end.last_block();
                out.blob(&end.bytes)?;
                self.end_chunk(out)?;
                self.begin_chunk(out)?;
                self.mode = ChunkMode::Anew { inflated: Vec::new() };
                Ok(())
            }
            ChunkMode::Anew { inflated } if self.chunk.size >= WINDOW => {
                let inflated = mem::take(inflated);
                let (mut blocks, _) = self.blocks_of(&inflated)?;
                blocks.fill_to(bit);
                let instead = if bit > 0 { blocks.bytes.pop().unwrap_or_default() } else { 0 };
                out.blob(&blocks.bytes)?;
                self.mode = ChunkMode::AsItIs { bits: bit, instead };
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn deflated(&mut self, bytes: &[u8], out: &mut Outlet) -> Result<(), WriteError> {
        let ChunkMode::AsItIs { bits, instead } = &mut self.mode else { return Ok(()) };
        let Some((first, rest)) = bytes.split_first() else { return Ok(()) };
        let kept = 0xff_u8.unbounded_shl(*bits);
        out.blob(&[first & kept | *instead])?;
        (*bits, *instead) = (0, 0);
        out.blob(rest)
    }

    fn inflated(&mut self, bytes: &[u8], out: &mut Outlet) -> Result<(), WriteError> {
        self.see(bytes);
        let ChunkMode::Anew { inflated } = &mut self.mode else { return Ok(()) };
        inflated.extend_from_slice(bytes);
        if inflated.len() < PIECE {
            return Ok(());
        }
        // A block that inflates to this much is not waited for.
        let gathered = mem::take(inflated);
        let (blocks, end) = self.blocks_of(&gathered)?;
        out.blob(&blocks.bytes)?;
        align(end, out)
    }

    fn end(
        &mut self,
        _end: End,
        _size: u64,
        _crc32: &crc32fast::Hasher,
        out: &mut Outlet,
    ) -> Result<(), WriteError> {
        if let ChunkMode::Anew { inflated } = &self.mode {
            out.blob(&deflate(inflated, &mut self.compressor)?)?;
        }
        self.end_chunk(out)
    }

    fn last(&mut self, out: &mut Outlet) -> Result<Vec<u8>, WriteError> {
        self.flush(out)?;
        let toc = Toc { version: 1, entries: &self.entries };
        let json = serde_json::to_vec(&toc).map_err(|error| WriteError::Write(error.into()))?;
        self.toc = Some((out.size(), Digest::of(&json)));
        let size = json.len() as u64;
        let header = tar::header(&file(TOC, size));
        Ok([&header, &json, &tar::END[..tar::padding(size)], &tar::END].concat())
    }

    fn finish(mut self: Box<Self>, out: &mut Outlet) -> Result<Description, WriteError> {
        self.flush(out)?;
        let mut description = Description::of(MediaType::ImageLayerGzip);
        if let Some((offset, digest)) = self.toc {
            out.blob(&footer(offset))?;
            description.annotations = [
                (TOC_DIGEST.to_owned(), digest.to_string()),
                (UNCOMPRESSED_SIZE.to_owned(), out.tar_size().to_string()),
            ]
            .into();
        }
        Ok(description)
    }
}

/// A member without content, of 51 bytes, whose header has an extra field that tells where the table is.
fn footer(toc: u64) -> Vec<u8> {
    const HAS_EXTRA: u8 = 4;
    let mut header = HEADER;
    header[3] = HAS_EXTRA;
    let field = format!("{toc:016x}STARGZ");
    let length = field.len() as u16;
    let lengths = [(length + 4).to_le_bytes(), *b"SG", length.to_le_bytes()].concat();
    // A stored block without anything in it is the last.
    [&header, lengths.as_slice(), field.as_bytes(), &[1, 0, 0, 0xff, 0xff], &trailer(0, 0)].concat()
}

/// Bits, the lowest of each byte first.
struct BitString {
    bytes: Vec<u8>,
    /// The number of used bits of the last byte; none when all are.
    used: u32,
}

impl BitString {
    fn put(&mut self, value: u32, count: u32) {
        for bit in 0..count {
            let bit = ((value >> bit & 1) << self.used) as u8;
            match self.bytes.last_mut().filter(|_| self.used > 0) {
                Some(last) => *last |= bit,
                None => self.bytes.push(bit),
            }
            self.used = (self.used + 1) % 8;
        }
    }

    /// A block of the fixed codes, with nothing in it, that is the last.
    fn last_block(&mut self) {
        self.put(0b011, 3);
        self.put(0, 7);
    }

    /// Adds blocks with nothing in them until the last byte has `bit` bits.
    fn fill_to(&mut self, bit: u32) {
        if (bit + self.used) % 2 == 1 {
            self.odd_block();
        }
        while self.used != bit {
            self.put(0b010, 3);
            self.put(0, 7);
        }
    }

    /// A block of an odd number of bits, 95, with nothing in it: one of the fixed codes has ten. Its own codes have words
    /// of one bit, for a literal that does not come and for the end, and for two distances.
    fn odd_block(&mut self) {
        self.put(0b100, 3);
        // 257 literals, 2 distances, and 19 lengths of the words for lengths: of 18, which is "zeros", and of 1.
        for (value, count) in [(0, 5), (1, 5), (15, 4), (0, 6), (1, 3), (0, 21), (0, 21), (1, 3), (0, 3)] {
            self.put(value, count);
        }
        let (one, zeros) = (0, 1);
        for (value, count) in
            [(one, 1), (zeros, 1), (138 - 11, 7), (zeros, 1), (117 - 11, 7), (one, 1), (one, 1), (one, 1)]
        {
            self.put(value, count);
        }
        // The end of the block.
        self.put(1, 1);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::DeflateDecoder;

    use super::*;

    #[test]
    fn empty_blocks_lead_from_any_bit_to_any_other() {
        for (from, to) in (0..8).flat_map(|from| (0..8).map(move |to| (from, to))) {
            let mut bits = BitString { bytes: Vec::new(), used: 0 };
            bits.fill_to(from);
            bits.fill_to(to);
            assert_eq!(bits.used, to);
            bits.last_block();
            let mut inflated = Vec::new();
            let mut decoder = DeflateDecoder::new(bits.bytes.as_slice());
            decoder.read_to_end(&mut inflated).unwrap();
            assert_eq!((inflated.len(), decoder.total_in()), (0, bits.bytes.len() as u64), "{from} to {to}");
        }
    }

    #[test]
    fn a_footer_has_the_size_by_which_readers_find_it() {
        assert_eq!(footer(u64::MAX).len(), 51);
    }
}
