//! A range of a file.

use std::borrow::Borrow;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Reads a range of a file from its start to its end, or to the file's, without moving the file's position: threads can
/// share the file.
#[derive(Debug)]
pub struct FileRange<F> {
    file: F,
    /// The range that is not read yet.
    rest: Range<u64>,
}

impl<F: Borrow<File>> FileRange<F> {
    /// Reads `range` of `file`.
    pub fn new(file: F, range: Range<u64>) -> Self {
        Self { file, rest: range }
    }
}

impl<F: Borrow<File>> Read for FileRange<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(self.rest.end.saturating_sub(self.rest.start)).unwrap_or(usize::MAX);
        let length = buffer.len().min(rest);
        let count = self.file.borrow().read_at(&mut buffer[..length], self.rest.start)?;
        self.rest.start += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_range_ends_where_it_says_or_where_the_file_does() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let read = |range: Range<u64>| {
            let mut text = String::new();
            FileRange::new(&file, range).read_to_string(&mut text).unwrap();
            text
        };
        assert_eq!([read(2..5), read(5..5), read(8..20), read(30..40)], ["234", "", "89", ""]);
    }
}
