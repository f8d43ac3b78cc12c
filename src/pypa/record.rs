//! `RECORD`: every file of an installed distribution, with its hash and size.
//!
//! <https://packaging.python.org/en/latest/specifications/recording-installed-packages/#the-record-file>

use std::borrow::Cow;
use std::io::{self, Read};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use csv::StringRecord;

use crate::oci::Digest;

/// The rows of a `RECORD`: that of torch has 15,000.
const MOST_ROWS: usize = 1 << 17;
/// The bytes of one row: a path has 4,096 at most.
const LONGEST_ROW: usize = 64 << 10;
/// The bytes of the fields of one row: written again, each may be a quote, which takes two.
const LONGEST_FIELDS: usize = LONGEST_ROW / 2 - 16;
/// The bytes of all rows: those of torch have 1.2 MB.
const MOST_ROW_BYTES: usize = 24 << 20;

/// One row of a `RECORD`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// Relative to the directory that holds the `.dist-info` directory.
    pub path: String,
    /// `sha256=` and unpadded URL-safe base64; empty for the `RECORD` itself.
    pub hash: String,
    /// In bytes; empty for the `RECORD` itself.
    pub size: String,
}

impl Row {
    /// The row of a file with this content.
    pub fn of(path: impl Into<String>, content: &[u8]) -> Self {
        Self::new(path, &Digest::of(content), content.len() as u64)
    }

    /// The row of a file with this digest and size.
    pub fn new(path: impl Into<String>, digest: &Digest, size: u64) -> Self {
        Self {
            path: path.into(),
            hash: format!("sha256={}", BASE64_URL_SAFE_NO_PAD.encode(digest.bytes())),
            size: size.to_string(),
        }
    }

    /// The row of a file that is listed without hash and size.
    pub fn bare(path: impl Into<String>) -> Self {
        Self { path: path.into(), hash: String::new(), size: String::new() }
    }
}

/// The reason why a `RECORD` could not be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum RecordError {
    #[error("RECORD is not the CSV it should be")]
    Csv(#[from] csv::Error),
    #[error("RECORD has more than {MOST_ROWS} rows")]
    ManyRows,
    #[error("RECORD has a row of more than {LONGEST_FIELDS} bytes")]
    LongRow,
    #[error("RECORD has more than {MOST_ROW_BYTES} bytes in its rows")]
    LongRows,
}

/// Reads a `RECORD`.
pub fn parse(text: &str) -> Result<Vec<Row>, RecordError> {
    read(text.as_bytes())
}

/// Reads a `RECORD` as a stream.
pub fn read(record: impl Read) -> Result<Vec<Row>, RecordError> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(BoundedRows { record, row: 0 });
    let (mut rows, mut bytes) = (Vec::new(), 0);
    let mut record = StringRecord::new();
    while reader.read_record(&mut record)? {
        let field = |index| record.get(index).unwrap_or_default().to_owned();
        let row = Row { path: field(0), hash: field(1), size: field(2) };
        let length = row.path.len() + row.hash.len() + row.size.len();
        bytes += length;
        match () {
            () if length > LONGEST_FIELDS => return Err(RecordError::LongRow),
            () if rows.len() == MOST_ROWS => return Err(RecordError::ManyRows),
            () if bytes > MOST_ROW_BYTES => return Err(RecordError::LongRows),
            () => rows.push(row),
        }
    }
    Ok(rows)
}

/// Ends with an error in a row that is too long, before it is all in memory.
struct BoundedRows<R> {
    record: R,
    /// The bytes of the row so far.
    row: usize,
}

impl<R: Read> Read for BoundedRows<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.record.read(buffer)?;
        for part in buffer[..count].split_inclusive(|byte| *byte == b'\n') {
            self.row += part.len();
            if self.row > LONGEST_ROW {
                return Err(io::Error::other(format!("a row has more than {LONGEST_ROW} bytes")));
            }
            if part.ends_with(b"\n") {
                self.row = 0;
            }
        }
        Ok(count)
    }
}

/// The path of a row's file, relative to the root, for a distribution in `directory`.
pub fn place(directory: &str, path: &str) -> String {
    let mut parts: Vec<&str> =
        if path.starts_with('/') { Vec::new() } else { directory.split('/').collect() };
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

/// Writes a `RECORD`, sorted by path.
pub fn write(mut rows: Vec<Row>) -> String {
    rows.sort();
    let mut text = String::new();
    for Row { path, hash, size } in rows {
        text += &format!("{},{},{}\n", quoted(&path), quoted(&hash), quoted(&size));
    }
    text
}

fn quoted(field: &str) -> Cow<'_, str> {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\"")).into()
    } else {
        field.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let rows = vec![
            Row::of("a,\"b\".py", b""),
            Row::bare("a-1.dist-info/RECORD"),
            Row::of("../../../bin/tool", b"#!/bin/sh\n"),
            Row { path: "lie".into(), hash: "sha256=\"\nother,sha256=,1".into(), size: "1,\r2".into() },
            Row { path: "\"".repeat(LONGEST_FIELDS), hash: String::new(), size: String::new() },
        ];
        let mut read = parse(&write(rows.clone())).unwrap();
        read.sort();
        let mut rows = rows;
        rows.sort();
        assert_eq!(read, rows);
    }

    #[test]
    fn writes_hashes_as_the_specification_says() {
        let row = Row::of("empty", b"");
        assert_eq!(row.hash, "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU");
    }
}
