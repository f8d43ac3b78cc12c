//! Parts of one file, fetched within its size and within a budget.

use std::borrow::Cow;
use std::ops::Range;

use super::source::{ElfError, LONGEST_NAME, PartSource, Stop, until_nul};
use super::strings::StringTable;

const NAME_STEP: u64 = 512;

/// Fetches parts of a file within its size and within a budget, and notes those that are not at hand.
pub(super) struct PartReader<'a, S> {
    source: &'a S,
    size: u64,
    limit: u64,
    budget: u64,
    missing: Vec<Range<u64>>,
}

impl<'a, S: PartSource> PartReader<'a, S> {
    /// Reads at most `limit` bytes of a file of `size` bytes.
    pub(super) fn new(source: &'a S, size: u64, limit: u64) -> Self {
        Self { source, size, limit, budget: limit, missing: Vec::new() }
    }

    /// The bytes of `range`; empty, and noted as missing, when they are not at hand.
    pub(super) fn bytes(&mut self, what: &'static str, range: Range<u64>) -> Result<Cow<'a, [u8]>, ElfError> {
        self.allow(what, &range)?;
        let bytes = self.source.fetch(range.clone()).map_err(|source| ElfError::Read { what, source })?;
        Ok(bytes.unwrap_or_else(|| {
            self.missing.push(range);
            Cow::Borrowed(&[])
        }))
    }

    /// The string table at `range`, noted as missing when some of it is not at hand.
    pub(super) fn strings(&mut self, range: Range<u64>) -> Result<StringTable<'a, S>, ElfError> {
        self.allow("its names", &range)?;
        if !self.source.has(range.clone()) {
            self.missing.push(range.clone());
        }
        Ok(StringTable::new(self.source, range))
    }

    /// Refuses what lies beyond the end of the file, and more than the budget.
    fn allow(&mut self, what: &'static str, range: &Range<u64>) -> Result<(), ElfError> {
        let length = range.end.saturating_sub(range.start);
        if range.end > self.size {
            return Err(ElfError::BeyondEnd { what, offset: range.start, length, size: self.size });
        }
        self.budget =
            self.budget.checked_sub(length).ok_or(ElfError::TooLarge { what, limit: self.limit })?;
        Ok(())
    }

    /// The size of the whole file in bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Stops when anything asked for so far is missing.
    pub(super) fn complete(&mut self) -> Result<(), Stop> {
        if self.missing.is_empty() { Ok(()) } else { Err(Stop::Missing(self.take_missing())) }
    }

    /// Takes the parts that were asked for and not at hand.
    pub(super) fn take_missing(&mut self) -> Vec<Range<u64>> {
        std::mem::take(&mut self.missing)
    }

    /// The bytes up to a NUL that begin at `start` and lie before `end`; empty and noted when not at hand.
    pub(super) fn name(&mut self, start: u64, end: u64, offset: u64) -> Result<Vec<u8>, ElfError> {
        let end = end.min(self.size).min(start.saturating_add(LONGEST_NAME));
        let mut name = Vec::new();
        let mut next = start;
        while next < end {
            let length = (name.len() as u64).max(NAME_STEP);
            let step = next..end.min(next.saturating_add(length));
            next = step.end;
            let bytes = self.bytes("its names", step)?;
            if !self.missing.is_empty() {
                return Ok(Vec::new());
            }
            name.extend_from_slice(until_nul(&bytes));
            if bytes.contains(&0) {
                return Ok(name);
            }
        }
        Err(ElfError::Unterminated { offset })
    }
}
