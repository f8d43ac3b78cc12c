//! The sections of a library in which `nvcc` and its linker put code for GPUs.

use std::ops::Range;

use super::fatbin::CUBIN_MAGIC;
use super::gpu_code::CodePlace;

/// The bytes kept before and behind a table of sections: linkers put the names of sections before it, in some hundred bytes.
const AROUND: u64 = 64 << 10;
/// The sections of a table that is read: libraries have some 40.
const MOST_SECTIONS: usize = 1024;
/// The bytes of the ELF header of 64 bits.
const ELF_HEADER: usize = 64;
/// The bytes of an entry of the table.
const ENTRY: usize = 64;

/// The table of sections of a file that passes, and what is around it.
#[derive(Debug, Default)]
pub(super) struct SectionTable {
    head: Vec<u8>,
    kept: Vec<u8>,
    /// The offset of the first byte that is kept.
    kept_at: u64,
}

/// The places of code in a library; without a table of sections, all of it may be linked.
#[derive(Debug, Default)]
pub(super) struct CodePlaces(Option<Vec<(Range<u64>, CodePlace)>>);

impl SectionTable {
    /// Takes the next bytes of the file, which begin at the offset `start`; the table is kept of a file that is wanted.
    pub(super) fn update(&mut self, start: u64, bytes: &[u8], is_wanted: bool) {
        let left = ELF_HEADER.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..left]);
        let Some(range) = self.range().filter(|_| is_wanted) else { return };
        let (from, to) = (range.start.max(start), range.end.min(start + bytes.len() as u64));
        if from < to {
            if self.kept.is_empty() {
                self.kept_at = from;
            }
            self.kept.extend_from_slice(&bytes[(from - start) as usize..(to - start) as usize]);
        }
    }

    /// The part of the file that is kept.
    fn range(&self) -> Option<Range<u64>> {
        let at = word(&self.head, 40).filter(|_| self.head.len() == ELF_HEADER)?;
        let size = (half(&self.head, 60)?.min(MOST_SECTIONS) * ENTRY) as u64;
        Some(at.saturating_sub(AROUND)..at.checked_add(size)?.checked_add(AROUND)?)
    }

    /// The places of code.
    pub(super) fn places(&self) -> CodePlaces {
        CodePlaces(self.read())
    }

    /// The sections with code that nobody has to look for; `None` without a table.
    fn read(&self) -> Option<Vec<(Range<u64>, CodePlace)>> {
        let head = Some(&self.head[..]).filter(|head| head.starts_with(&CUBIN_MAGIC))?;
        let (entry, count, names) = (half(head, 58)?, half(head, 60)?, half(head, 62)?);
        let table =
            self.part(word(head, 40)?, (count * ENTRY) as u64).filter(|_| entry == ENTRY && count > 0)?;
        let sections: Vec<(usize, u64, u64)> = table.chunks_exact(ENTRY).filter_map(section).collect();
        let (_, at, size) = *sections.get(names)?;
        let names = self.part(at, size)?;
        let place = |(name, at, size): (usize, u64, u64)| {
            let name = names.get(name..)?.split(|byte| *byte == 0).next()?;
            let place = match name {
                b".nv_fatbin" => CodePlace::Linked,
                b"__nv_relfatbin" => CodePlace::Relocatable,
                _ => return None,
            };
            Some((at..at.checked_add(size)?, place))
        };
        Some(sections.into_iter().filter_map(place).collect())
    }

    /// A part of the file, where it was kept.
    fn part(&self, at: u64, size: u64) -> Option<&[u8]> {
        let start = usize::try_from(at.checked_sub(self.kept_at)?).ok()?;
        self.kept.get(start..start.checked_add(usize::try_from(size).ok()?)?)
    }
}

impl CodePlaces {
    /// The place of the fat binary or cubin at this offset.
    pub(super) fn of(&self, offset: u64) -> CodePlace {
        let Some(sections) = &self.0 else { return CodePlace::Linked };
        let section = sections.iter().find(|(range, _)| range.contains(&offset));
        section.map_or(CodePlace::Data, |(_, place)| *place)
    }
}

/// The offset of a section's name, the offset of its bytes, and their number.
fn section(entry: &[u8]) -> Option<(usize, u64, u64)> {
    let name = u32::from_le_bytes(entry.get(..4)?.try_into().ok()?);
    Some((usize::try_from(name).ok()?, word(entry, 24)?, word(entry, 32)?))
}

fn half(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?)))
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
