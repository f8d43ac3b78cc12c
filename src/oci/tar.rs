//! The header of a layer tar's entry, in its one canonical form: ustar, with PAX records only for what ustar
//! cannot hold.
//!
//! <https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html#tag_20_94_13_06>

pub mod read;

use super::{Entry, EntryKind, FileCapabilities};

/// A tar is made of blocks of this many bytes.
pub const BLOCK: u64 = 512;

/// The two zero blocks that end an archive.
pub const END: [u8; 1024] = [0; 1024];

/// The largest number that a field of eleven octal digits holds.
const MAX_OCTAL_11: u64 = 0o77_777_777_777;
/// The largest number that a field of seven octal digits holds.
const MAX_OCTAL_7: u64 = 0o7_777_777;

/// The number of zero bytes that fill the last block behind `size` bytes of content.
pub fn padding(size: u64) -> usize {
    (size.next_multiple_of(BLOCK) - size) as usize
}

/// The name of the PAX record of an extended attribute, of which tools take this one from layers.
const CAPABILITIES: &str = "SCHILY.xattr.security.capability";

/// The header blocks of `entry`: what precedes its content in the archive.
pub fn header(entry: &Entry) -> Vec<u8> {
    header_with(entry, None)
}

/// The header blocks of a file with capabilities, where it has some.
pub fn header_with(entry: &Entry, capabilities: Option<FileCapabilities>) -> Vec<u8> {
    let name = match entry.kind {
        EntryKind::Directory => format!("{}/", entry.path),
        _ => entry.path.clone(),
    };
    let (flag, size, link) = match &entry.kind {
        EntryKind::Directory => (b'5', 0, ""),
        EntryKind::File { size } => (b'0', *size, ""),
        EntryKind::Whiteout => (b'0', 0, ""),
        EntryKind::Symlink { target } => (b'2', 0, target.as_str()),
        EntryKind::Hardlink { target } => (b'1', 0, target.as_str()),
    };
    let mut pax = Vec::new();
    if let Some(capabilities) = capabilities {
        pax.extend(pax_record(CAPABILITIES, &capabilities.to_attribute()));
    }
    pax.extend(pax_records(&name, link, size, entry));
    let mut bytes = Vec::with_capacity(1536);
    if !pax.is_empty() {
        bytes.extend(
            Ustar { name: b"PaxHeaders.0", flag: b'x', size: pax.len() as u64, link: b"", entry }.block(),
        );
        bytes.extend(&pax);
        bytes.resize(bytes.len() + padding(pax.len() as u64), 0);
    }
    bytes.extend(Ustar { name: name.as_bytes(), flag, size, link: link.as_bytes(), entry }.block());
    bytes
}

fn pax_records(name: &str, link: &str, size: u64, entry: &Entry) -> Vec<u8> {
    let mut records = Vec::new();
    let mut push = |key: &str, value: &str| records.extend(pax_record(key, value.as_bytes()));
    if entry.gid > MAX_OCTAL_7 {
        push("gid", &entry.gid.to_string());
    }
    if !fits(link) {
        push("linkpath", link);
    }
    if !fits(name) {
        push("path", name);
    }
    if size > MAX_OCTAL_11 {
        push("size", &size.to_string());
    }
    if entry.uid > MAX_OCTAL_7 {
        push("uid", &entry.uid.to_string());
    }
    records
}

fn fits(name: &str) -> bool {
    name.len() <= 100 && name.is_ascii()
}

/// `LENGTH KEY=VALUE\n`, where LENGTH counts the whole record, its own digits included.
fn pax_record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

struct Ustar<'a> {
    name: &'a [u8],
    flag: u8,
    size: u64,
    link: &'a [u8],
    entry: &'a Entry,
}

impl Ustar<'_> {
    fn block(&self) -> [u8; 512] {
        let mut block = [0; 512];
        text(&mut block[..100], self.name);
        octal(&mut block[100..108], u64::from(self.entry.mode));
        octal(&mut block[108..116], self.entry.uid.min(MAX_OCTAL_7));
        octal(&mut block[116..124], self.entry.gid.min(MAX_OCTAL_7));
        octal(&mut block[124..136], self.size.min(MAX_OCTAL_11));
        octal(&mut block[136..148], self.entry.mtime.min(MAX_OCTAL_11));
        block[148..156].fill(b' ');
        block[156] = self.flag;
        text(&mut block[157..257], self.link);
        block[257..265].copy_from_slice(b"ustar\x0000");
        octal(&mut block[329..337], 0);
        octal(&mut block[337..345], 0);
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        octal(&mut block[148..155], sum);
        block
    }
}

fn text(field: &mut [u8], text: &[u8]) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
}

/// Octal digits, filled with zeros, ended by a NUL.
fn octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    let value = format!("{value:0digits$o}");
    field[..digits].copy_from_slice(value.as_bytes());
    field[digits] = 0;
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn file(path: &str, size: u64) -> Entry {
        Entry {
            path: path.into(),
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: 315_532_800,
            kind: EntryKind::File { size },
        }
    }

    /// Writes one entry and reads it back with the `tar` crate.
    fn check(entry: Entry) {
        let mut archive = header(&entry);
        assert_eq!(archive.len() % 512, 0);
        archive.extend(END);
        let mut archive = tar::Archive::new(archive.as_slice());
        let read = archive.entries().unwrap().next().unwrap().unwrap();
        let path = read.path().unwrap().display().to_string();
        let directory = if entry.kind == EntryKind::Directory { "/" } else { "" };
        assert_eq!(path, format!("{}{directory}", entry.path));
        assert_eq!(read.header().mode().unwrap(), entry.mode);
        assert_eq!(read.header().mtime().unwrap(), entry.mtime);
        assert_eq!(read.header().uid().unwrap(), entry.uid);
        match &entry.kind {
            EntryKind::File { size } => assert_eq!(read.size(), *size),
            EntryKind::Whiteout => assert_eq!(read.size(), 0),
            EntryKind::Directory => assert!(read.header().entry_type().is_dir()),
            EntryKind::Symlink { target } | EntryKind::Hardlink { target } => {
                assert_eq!(read.link_name().unwrap().unwrap().to_str().unwrap(), target);
            }
        }
    }

    #[test]
    fn a_reader_sees_the_entry_that_was_written() {
        check(file("usr/bin/env", 12));
        check(file(&format!("{}end", "long/".repeat(60)), 0));
        check(file("etc/ssl/certs/Főtanúsítvány.pem", 1));
        check(file("huge", 9 << 30));
        check(Entry { kind: EntryKind::Directory, mode: 0o1777, ..file("tmp", 0) });
        check(Entry { uid: 3_000_000, ..file("owned", 0) });
        for target in ["usr/lib".to_owned(), format!("{}end", "x/".repeat(80))] {
            check(Entry { kind: EntryKind::Symlink { target: target.clone() }, ..file("lib", 0) });
            check(Entry { kind: EntryKind::Hardlink { target }, ..file("lib", 0) });
        }
    }

    #[test]
    fn a_pax_record_counts_its_own_digits() {
        for length in [1, 5, 80, 86, 87, 88, 89, 90, 981, 985, 990, 9_990] {
            let record = pax_record("path", "a".repeat(length).as_bytes());
            let counted = record.split(|byte| *byte == b' ').next().unwrap();
            assert_eq!(std::str::from_utf8(counted).unwrap().parse(), Ok(record.len()));
        }
    }

    #[test]
    fn capabilities_are_a_record_that_readers_find() {
        let capabilities = FileCapabilities::parse("cap_net_raw+ep").unwrap();
        let entry = file(&format!("{}ping", "long/".repeat(60)), 0);
        let mut archive = header_with(&entry, Some(capabilities));
        archive.extend(END);
        let mut archive = tar::Archive::new(archive.as_slice());
        let mut read = archive.entries().unwrap().next().unwrap().unwrap();
        let records: Vec<(String, Vec<u8>)> = read
            .pax_extensions()
            .unwrap()
            .unwrap()
            .map(|record| record.unwrap())
            .map(|record| (record.key().unwrap().to_owned(), record.value_bytes().to_vec()))
            .collect();
        assert_eq!(records[0], (CAPABILITIES.to_owned(), capabilities.to_attribute().to_vec()));
        assert_eq!(records[1], ("path".to_owned(), entry.path.into_bytes()));
    }

    #[test]
    fn content_is_padded_to_whole_blocks() {
        let mut archive = header(&file("a", 3));
        archive.extend(b"abc");
        archive.resize(archive.len() + padding(3), 0);
        archive.extend(END);
        let mut text = String::new();
        tar::Archive::new(archive.as_slice())
            .entries()
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "abc");
    }
}
