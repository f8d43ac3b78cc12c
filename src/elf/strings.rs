//! Names of a string table, looked up in one pass over it: that of TensorFlow has 54 MB, and a window of it is enough.
//!
//! <https://gabi.xinuos.com/elf/04-strtab.html>

use std::borrow::Cow;
use std::ops::Range;

use super::source::{ElfError, LONGEST_NAME, PartSource};

/// Symbols share a name, or the end of one, when they have several versions, or a linker merged them: names never take
/// together as many bytes as so many times the table.
const MOST_SHARED: u64 = 16;

const WHAT: &str = "its names";

/// A string table whose bytes are at hand.
pub(super) struct StringTable<'a, S> {
    source: &'a S,
    /// In bytes from the beginning of the file.
    range: Range<u64>,
}

impl<'a, S: PartSource> StringTable<'a, S> {
    /// The table at `range` of the file, which the caller knows to be there.
    pub(super) fn new(source: &'a S, range: Range<u64>) -> Self {
        Self { source, range }
    }

    /// All of its bytes.
    pub(super) fn bytes(&self) -> Result<Cow<'a, [u8]>, ElfError> {
        let bytes = self.source.fetch(self.range.clone()).map_err(unreadable)?;
        bytes.ok_or_else(|| unreadable(std::io::ErrorKind::UnexpectedEof.into()))
    }

    fn len(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }
}

fn unreadable(source: std::io::Error) -> ElfError {
    ElfError::Read { what: WHAT, source }
}

/// Names to look up, each with its purpose.
pub(super) struct Lookup<T> {
    wanted: Vec<(u32, T)>,
}

impl<T> Default for Lookup<T> {
    fn default() -> Self {
        Self { wanted: Vec::new() }
    }
}

impl<T: Copy> Lookup<T> {
    /// Wants the name that begins at `offset` of the table.
    pub(super) fn want(&mut self, offset: u32, purpose: T) {
        self.wanted.push((offset, purpose));
    }

    /// Hands over the wanted names in the order of their offsets. Many symbols may share the bytes of one name: at most
    /// `limit` bytes are handed over.
    pub(super) fn names(
        mut self,
        table: &StringTable<'_, impl PartSource>,
        limit: u64,
        mut take: impl FnMut(T, &[u8]) -> Result<(), ElfError>,
    ) -> Result<(), ElfError> {
        self.wanted.sort_unstable_by_key(|(offset, _)| *offset);
        let limit = limit.min(table.len().saturating_mul(MOST_SHARED));
        let mut budget = limit;
        let mut window = Window::default();
        for (offset, purpose) in self.wanted {
            let name = window.name(table, offset)?;
            let too_large = ElfError::TooLarge { what: WHAT, limit };
            budget = budget.checked_sub(name.len() as u64).ok_or(too_large)?;
            take(purpose, name)?;
        }
        Ok(())
    }
}

/// The part of a table that is looked at.
#[derive(Default)]
struct Window {
    /// Its start in the table, in bytes.
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// The name that begins at `offset`, where none was asked for behind it.
    fn name(&mut self, table: &StringTable<'_, impl PartSource>, offset: u32) -> Result<&[u8], ElfError> {
        let unterminated = ElfError::Unterminated { offset: offset.into() };
        let offset = u64::from(offset);
        let mut searched = 0;
        loop {
            let at = offset.saturating_sub(self.start) as usize;
            let rest = self.bytes.get(at..).unwrap_or_default();
            let rest = &rest[..rest.len().min(LONGEST_NAME as usize)];
            if let Some(length) = rest[searched..].iter().position(|byte| *byte == 0) {
                return Ok(&self.bytes[at..at + searched + length]);
            }
            searched = rest.len();
            if searched == LONGEST_NAME as usize || !self.advance(table, offset)? {
                return Err(unterminated);
            }
        }
    }

    /// Takes the next bytes of the table, and gives up those before `offset`; whether there were more.
    fn advance(&mut self, table: &StringTable<'_, impl PartSource>, offset: u64) -> Result<bool, ElfError> {
        let end = self.start + self.bytes.len() as u64;
        if offset >= end {
            self.bytes.clear();
            self.start = offset;
        } else {
            self.bytes.drain(..(offset - self.start) as usize);
            self.start = offset;
        }
        let next = table.range.start.saturating_add(self.start + self.bytes.len() as u64);
        if next >= table.range.end {
            return Ok(false);
        }
        let piece = table.source.piece(next..table.range.end).map_err(unreadable)?;
        self.bytes.extend_from_slice(&piece);
        Ok(!piece.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// A file that is read in pieces of so many bytes.
    struct Pieces<'a>(&'a [u8], usize);

    impl PartSource for Pieces<'_> {
        fn fetch(&self, range: Range<u64>) -> io::Result<Option<Cow<'_, [u8]>>> {
            Ok(self.0.get(range.start as usize..range.end as usize).map(Cow::Borrowed))
        }

        fn has(&self, range: Range<u64>) -> bool {
            range.end <= self.0.len() as u64
        }

        fn piece(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
            let length = ((range.end - range.start) as usize).min(self.1);
            Ok(Cow::Borrowed(&self.0[range.start as usize..][..length]))
        }
    }

    fn looked_up(table: &[u8], step: usize, offsets: &[u32]) -> Result<Vec<(u32, String)>, ElfError> {
        let file = [b"before".as_slice(), table, b"behind\0"].concat();
        let source = Pieces(&file, step);
        let table = StringTable::new(&source, 6..6 + table.len() as u64);
        let mut lookup = Lookup::default();
        offsets.iter().for_each(|offset| lookup.want(*offset, *offset));
        let mut names = Vec::new();
        lookup.names(&table, u64::MAX, |offset, name| {
            names.push((offset, String::from_utf8(name.to_vec()).unwrap()));
            Ok(())
        })?;
        Ok(names)
    }

    #[test]
    fn finds_names_whatever_the_pieces() {
        let table = b"\0memcpy\0strlen\0abort\0";
        for step in 1..=table.len() {
            let names = looked_up(table, step, &[15, 1, 4, 0, 8, 4]).unwrap();
            let names: Vec<_> = names.iter().map(|(offset, name)| (*offset, name.as_str())).collect();
            let expected = [(0, ""), (1, "memcpy"), (4, "cpy"), (4, "cpy"), (8, "strlen"), (15, "abort")];
            assert_eq!(names, expected, "{step}");
        }
    }

    #[test]
    fn a_name_ends_within_the_table() {
        for (table, offset) in
            [(b"\0last".as_slice(), 1), (b"\0", 1), (b"\0", 7), (b"", 0), (b"\0", u32::MAX)]
        {
            for step in [1, 100] {
                let error = looked_up(table, step, &[offset]).unwrap_err();
                assert!(matches!(error, ElfError::Unterminated { .. }), "{error}");
            }
        }
        let long = [vec![b'x'; LONGEST_NAME as usize], vec![0]].concat();
        assert!(matches!(looked_up(&long, 1000, &[0]), Err(ElfError::Unterminated { .. })));
        assert_eq!(looked_up(&long, 1000, &[1]).unwrap()[0].1.len() as u64, LONGEST_NAME - 1);
    }

    #[test]
    fn names_that_share_bytes_are_bounded_together() {
        let table = [vec![b'x'; 100], vec![0]].concat();
        assert!(looked_up(&table, 100, &[0; 16]).is_ok());
        assert!(matches!(looked_up(&table, 100, &[0; 17]), Err(ElfError::TooLarge { .. })));
    }
}
