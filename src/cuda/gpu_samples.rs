//! Fat binaries, cubins and libraries with them, for tests.

/// An image of a fat binary: machine code for an architecture with a suffix, and so many bytes of it.
pub(crate) fn sass_image(architecture: u32, suffix: &str, payload: usize) -> Vec<u8> {
    image(2, architecture, suffix, (1, 8), payload)
}

/// The same of PTX of a version.
pub(crate) fn ptx_image(architecture: u32, version: (u16, u16), payload: usize) -> Vec<u8> {
    image(1, architecture, "", version, payload)
}

fn image(kind: u16, architecture: u32, suffix: &str, (major, minor): (u16, u16), payload: usize) -> Vec<u8> {
    let flags: u64 = match suffix {
        "a" => 0x10_0011,
        "f" => 0x20_0011,
        _ => 0x11,
    };
    let mut bytes = Vec::new();
    bytes.extend(kind.to_le_bytes());
    bytes.extend(0x101_u16.to_le_bytes());
    bytes.extend(64_u32.to_le_bytes());
    bytes.extend((payload as u64).to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend(minor.to_le_bytes());
    bytes.extend(major.to_le_bytes());
    bytes.extend(architecture.to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend(flags.to_le_bytes());
    bytes.resize(64, 0);
    // What a payload may hold: the beginning of another fat binary, which is none.
    let begins = [0x50, 0xed, 0x55, 0xba, 1, 0, 16, 0];
    bytes.extend(begins.iter().copied().cycle().take(payload));
    bytes
}

/// A fat binary of these images.
pub(crate) fn fatbin(images: &[Vec<u8>]) -> Vec<u8> {
    let images = images.concat();
    let header = [&[0x50, 0xed, 0x55, 0xba, 1, 0, 16, 0][..], &(images.len() as u64).to_le_bytes()].concat();
    [header, images].concat()
}

/// The header of a cubin for an architecture, of CUDA 12, and some of its code.
pub(crate) fn cubin(architecture: u32) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01\x33\x07".to_vec();
    bytes.resize(64, 0);
    bytes[16..20].copy_from_slice(&[2, 0, 190, 0]);
    bytes[48..52].copy_from_slice(&(architecture << 16 | 0x500 | architecture).to_le_bytes());
    bytes[52..54].copy_from_slice(&64_u16.to_le_bytes());
    bytes.resize(200, 3);
    bytes
}

/// A library of these sections, by name, with a table of them at its end. It has no dynamic section.
pub(crate) fn library(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0".to_vec();
    bytes.resize(64, 0);
    let (mut names, mut table) = (vec![0], vec![[0; 64]]);
    let entry = |name: usize, at: usize, size: usize| {
        let mut entry = [0; 64];
        entry[..4].copy_from_slice(&(name as u32).to_le_bytes());
        entry[4..8].copy_from_slice(&1_u32.to_le_bytes());
        entry[24..32].copy_from_slice(&(at as u64).to_le_bytes());
        entry[32..40].copy_from_slice(&(size as u64).to_le_bytes());
        entry
    };
    for (name, content) in sections {
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        table.push(entry(names.len(), bytes.len(), content.len()));
        names.extend([name.as_bytes(), b"\0"].concat());
        bytes.extend(*content);
    }
    let name = names.len();
    names.extend(b".shstrtab\0");
    table.push(entry(name, bytes.len(), names.len()));
    bytes.extend(&names);
    let at = bytes.len() as u64;
    bytes[40..48].copy_from_slice(&at.to_le_bytes());
    let count = table.len() as u16;
    for (at, number) in [(52, 64), (54, 56), (58, 64), (60, count), (62, count - 1)] {
        bytes[at..at + 2].copy_from_slice(&number.to_le_bytes());
    }
    bytes.extend(table.concat());
    bytes
}
