//! The smallest shared libraries that a loader would take: a header, a dynamic section and its names.

/// A library of x86-64 with a SONAME, and `tail` behind its tables.
pub fn library(soname: &str, tail: &[u8]) -> Vec<u8> {
    linked(soname, &[], "", tail)
}

/// The same, linked with what it `needs`, and searched for in `runpath`.
pub fn linked(soname: &str, needs: &[&str], runpath: &str, tail: &[u8]) -> Vec<u8> {
    const HEADERS: u64 = 64 + 2 * 56;
    let mut names = b"\0".to_vec();
    let mut named = |tag: u64, name: &str| {
        let entry = (tag, names.len() as u64);
        names.extend([name.as_bytes(), b"\0"].concat());
        entry
    };
    // DT_SONAME, DT_NEEDED, DT_RUNPATH
    let mut entries = vec![named(14, soname)];
    entries.extend(needs.iter().map(|name| named(1, name)));
    entries.extend((!runpath.is_empty()).then(|| named(29, runpath)));
    let strings = HEADERS + (entries.len() as u64 + 5) * 16;
    // DT_STRTAB, DT_STRSZ, DT_SYMTAB, DT_SYMENT, DT_NULL
    entries.extend([(5, strings), (10, names.len() as u64), (6, strings), (11, 24), (0, 0)]);
    let dynamic_size = entries.len() as u64 * 16;
    let dynamic: Vec<u8> = entries
        .iter()
        .flat_map(|(tag, value): &(u64, u64)| [tag.to_le_bytes(), value.to_le_bytes()])
        .flatten()
        .collect();
    let size = strings + (names.len() + tail.len()) as u64;
    let segments = [segment(1, 0, size), segment(2, HEADERS, dynamic_size)].concat();
    [header(), segments, dynamic, names, tail.to_vec()].concat()
}

fn header() -> Vec<u8> {
    let mut header = b"\x7fELF\x02\x01\x01".to_vec();
    header.resize(16, 0);
    header.extend(3u16.to_le_bytes()); // ET_DYN
    header.extend(62u16.to_le_bytes()); // EM_X86_64
    header.extend(1u32.to_le_bytes());
    header.extend(0u64.to_le_bytes()); // entry
    header.extend(64u64.to_le_bytes()); // program headers
    header.extend(0u64.to_le_bytes()); // section headers
    header.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 2, 64, 0, 0] {
        header.extend(half.to_le_bytes());
    }
    header
}

/// A program header: of `kind`, at `offset`, `size` bytes.
fn segment(kind: u32, offset: u64, size: u64) -> Vec<u8> {
    let mut bytes = [kind.to_le_bytes(), 4u32.to_le_bytes()].concat();
    for word in [offset, offset, offset, size, size, 8] {
        bytes.extend(word.to_le_bytes());
    }
    bytes
}
