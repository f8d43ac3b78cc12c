//! The notes of GNU: the ABI tag and the x86 properties.
//!
//! * <https://gabi.xinuos.com/elf/07-pheader.html>, "Note Section"
//! * the x86 psABI's program properties: <https://gitlab.com/x86-psABIs/x86-64-ABI>

use super::header::NumberFormat;

const NT_GNU_ABI_TAG: u32 = 1;
const NT_GNU_PROPERTY_TYPE_0: u32 = 5;
const GNU_PROPERTY_X86_ISA_1_NEEDED: u32 = 0xc000_8002;

/// The ABI tag among the notes of a segment.
///
/// <https://refspecs.linuxfoundation.org/LSB_5.0.0/LSB-Core-generic/LSB-Core-generic/noteabitag.html>
pub(super) fn abi_tag(notes: &[u8], layout: NumberFormat) -> Option<u32> {
    let note = gnu_notes(notes, 4, layout)
        .find(|note| note.kind == NT_GNU_ABI_TAG && note.descriptor.len() == 16)?;
    let [os, major, minor, patch] = [0, 4, 8, 12].map(|at| layout.u32(note.descriptor, at));
    Some(os << 24 | (major & 0xff) << 16 | (minor & 0xff) << 8 | patch & 0xff)
}

/// The ISA level among a segment's GNU properties, as `ldconfig` records it.
pub(super) fn isa_level(notes: &[u8], layout: NumberFormat) -> u32 {
    let alignment = layout.word_size();
    let Some(note) = gnu_notes(notes, alignment, layout).find(|note| note.kind == NT_GNU_PROPERTY_TYPE_0)
    else {
        return 0;
    };
    let mut rest = note.descriptor;
    while let Some(header) = rest.get(..8) {
        let length = layout.u32(header, 4) as usize;
        let Some(data) = rest.get(8..8_usize.saturating_add(length)) else { return 0 };
        if layout.u32(header, 0) == GNU_PROPERTY_X86_ISA_1_NEEDED && length == 4 {
            return layout.u32(data, 0).checked_ilog2().unwrap_or_default();
        }
        let next = 8_usize.saturating_add(length).checked_next_multiple_of(alignment).unwrap_or(usize::MAX);
        rest = rest.get(next..).unwrap_or_default();
    }
    0
}

/// One note: its type and descriptor, when its owner is `GNU`.
struct GnuNote<'a> {
    kind: u32,
    descriptor: &'a [u8],
}

/// The notes of a segment that GNU owns. A note that ends beyond the segment ends the list.
fn gnu_notes(bytes: &[u8], alignment: usize, layout: NumberFormat) -> impl Iterator<Item = GnuNote<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let header = rest.get(..12)?;
        let name_size = layout.u32(header, 0) as usize;
        let descriptor_size = layout.u32(header, 4) as usize;
        let descriptor_start = 12_usize.checked_add(name_size)?.checked_next_multiple_of(alignment)?;
        let descriptor_end = descriptor_start.checked_add(descriptor_size)?;
        let name = rest.get(12..12 + name_size)?;
        let descriptor = rest.get(descriptor_start..descriptor_end)?;
        rest = rest.get(descriptor_end.checked_next_multiple_of(alignment)?..).unwrap_or_default();
        Some((name == b"GNU\0").then_some(GnuNote { kind: layout.u32(header, 8), descriptor }))
    })
    .flatten()
}
