//! Reads a tar whose bytes pass once, as container engines read layers: ustar, PAX, GNU long names, and sparse files as
//! far as stepping over them.
//!
//! Nothing is allocated for a member, and what a header may make the reader keep is bounded.
//!
//! <https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html#tag_20_94_13_06> ·
//! <https://www.gnu.org/software/tar/manual/html_node/Standard.html>

use super::padding;

/// The most that a member's extended header may hold, in bytes; the readers of container engines have the same limit.
pub const MAX_EXTENSION: u64 = 1 << 20;

const HEADER: usize = 512;

/// The kind of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberKind {
    /// A regular file.
    File,
    /// A file of which only the parts between its holes are in the archive.
    SparseFile,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A hard link.
    Hardlink,
    /// A device, a pipe, or a kind that no layer has: there is something, and it has no content.
    Other,
}

/// A member's header, with what its extended headers say in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TarMember {
    /// As written: not yet relative, and of any bytes.
    pub path: Vec<u8>,
    /// The kind of the member.
    pub kind: MemberKind,
    /// The target of a link, as written.
    pub link: Vec<u8>,
    /// The size of the file in bytes, holes included.
    pub size: u64,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// The owner's number.
    pub uid: u64,
    /// The group's number.
    pub gid: u64,
    /// Seconds since the Unix epoch; 0 for what is before.
    pub mtime: u64,
}

/// The next event in an archive.
#[derive(Debug, PartialEq, Eq)]
pub enum TarEvent<'a> {
    /// A member begins: [`TarReader::member`].
    Begin,
    /// Content of the member that began last, as the archive has it.
    Content(&'a [u8]),
    /// The member that began last has passed.
    End,
}

/// The reason why bytes are not a tar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum TarError {
    #[error("the header at byte {position} {reason}")]
    Header { position: u64, reason: HeaderFault },
    #[error(
        "the extended header at byte {position} has {size} bytes; more than {MAX_EXTENSION} are not read"
    )]
    ExtensionSize { position: u64, size: u64 },
    #[error("it has more than {most} members")]
    ManyMembers { most: usize },
    #[error("it ends within `{path}`")]
    EndsWithin { path: String },
    #[error("it ends within a header")]
    EndsInHeader,
}

/// The reason why a header cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum HeaderFault {
    #[error("is missing behind its extended header")]
    Missing,
    #[error("follows a block of zeros, which is half of an archive's end")]
    AfterZeros,
    #[error("has a wrong checksum")]
    Checksum,
    #[error("has no size that a file can have")]
    Size,
    #[error("is not made of PAX records")]
    NotPax,
}

/// A tar being read: give it the bytes as they come, take the events.
pub struct TarReader {
    state: State,
    /// The number of bytes that have passed.
    position: u64,
    header: [u8; HEADER],
    /// The filled part of `header`, in bytes.
    filled: usize,
    member: TarMember,
    extensions: Extensions,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Header,
    /// A zero block has passed; the second of them ends the archive.
    FirstZeroBlock,
    Extension {
        kind: ExtensionKind,
        remaining: u64,
        padding: u64,
    },
    /// A block of an old GNU sparse map; the member's content has `stored` bytes.
    SparseMap {
        stored: u64,
    },
    Content {
        remaining: u64,
        padding: u64,
    },
    Padding {
        remaining: u64,
    },
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExtensionKind {
    LongPath,
    LongLink,
    Pax,
    /// Records for all that follows; engines do not apply them to layers.
    Ignored,
}

/// The extended headers before a member.
#[derive(Default)]
struct Extensions {
    pending: bool,
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    pax: Vec<u8>,
}

impl Default for TarReader {
    fn default() -> Self {
        Self {
            state: State::Header,
            position: 0,
            header: [0; HEADER],
            filled: 0,
            member: TarMember {
                path: Vec::new(),
                kind: MemberKind::File,
                link: Vec::new(),
                size: 0,
                mode: 0,
                uid: 0,
                gid: 0,
                mtime: 0,
            },
            extensions: Extensions::default(),
        }
    }
}

impl From<TarError> for std::io::Error {
    fn from(error: TarError) -> Self {
        Self::other(error)
    }
}

impl TarReader {
    /// The member that began last.
    pub fn member(&self) -> &TarMember {
        &self.member
    }

    /// Returns whether the blocks that end an archive have passed; what follows them is no part of it.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// The number of next bytes that are content and may be [passed over](Self::pass) unseen.
    pub fn content_ahead(&self) -> u64 {
        match self.state {
            State::Content { remaining, .. } => remaining,
            _ => 0,
        }
    }

    /// Notes that `count` bytes of content, at most [`Self::content_ahead`], went by elsewhere.
    pub fn pass(&mut self, count: u64) {
        if let State::Content { remaining, .. } = &mut self.state {
            *remaining -= count;
            self.position += count;
        }
    }

    /// Takes from `input` up to the next event; `None` when it is used up.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<TarEvent<'a>>, TarError> {
        loop {
            match self.state {
                State::Content { remaining: 0, padding } => {
                    self.state = State::Padding { remaining: padding };
                    return Ok(Some(TarEvent::End));
                }
                State::Padding { remaining: 0 } => self.state = State::Header,
                State::Extension { kind, remaining: 0, padding } => {
                    self.end_extension(kind)?;
                    self.state = State::Padding { remaining: padding };
                }
                _ if input.is_empty() => return Ok(None),
                State::Ended => {
                    let rest = input.len() as u64;
                    self.take(input, rest);
                }
                State::Content { remaining, padding } => {
                    let bytes = self.take(input, remaining);
                    self.state = State::Content { remaining: remaining - bytes.len() as u64, padding };
                    return Ok(Some(TarEvent::Content(bytes)));
                }
                State::Padding { remaining } => {
                    let bytes = self.take(input, remaining);
                    self.state = State::Padding { remaining: remaining - bytes.len() as u64 };
                }
                State::Extension { kind, remaining, padding } => {
                    let bytes = self.take(input, remaining);
                    self.extensions.extend(kind, bytes);
                    let remaining = remaining - bytes.len() as u64;
                    self.state = State::Extension { kind, remaining, padding };
                }
                State::Header | State::FirstZeroBlock | State::SparseMap { .. } => {
                    if self.fill_header(input) && self.end_header()? {
                        return Ok(Some(TarEvent::Begin));
                    }
                }
            }
        }
    }

    /// The archive has no more bytes.
    pub fn finish(&self) -> Result<(), TarError> {
        match self.state {
            State::Header if self.filled == 0 && !self.extensions.pending => Ok(()),
            State::FirstZeroBlock if self.filled == 0 => Ok(()),
            State::Ended => Ok(()),
            State::Padding { .. } if !self.extensions.pending => Ok(()),
            State::Content { .. } | State::SparseMap { .. } => {
                Err(TarError::EndsWithin { path: String::from_utf8_lossy(&self.member.path).into_owned() })
            }
            _ => Err(TarError::EndsInHeader),
        }
    }

    fn take<'a>(&mut self, input: &mut &'a [u8], most: u64) -> &'a [u8] {
        let count = usize::try_from(most).unwrap_or(usize::MAX).min(input.len());
        let (taken, rest) = input.split_at(count);
        *input = rest;
        self.position += count as u64;
        taken
    }

    /// Returns whether the block is whole.
    fn fill_header(&mut self, input: &mut &[u8]) -> bool {
        let bytes = self.take(input, (HEADER - self.filled) as u64);
        self.header[self.filled..self.filled + bytes.len()].copy_from_slice(bytes);
        self.filled += bytes.len();
        self.filled == HEADER
    }

    /// Returns whether a member begins with the block that is now whole.
    fn end_header(&mut self) -> Result<bool, TarError> {
        self.filled = 0;
        if let State::SparseMap { stored } = self.state {
            const HAS_MORE: usize = 504;
            if self.header[HAS_MORE] == 0 {
                self.state = State::Content { remaining: stored, padding: padding(stored) as u64 };
                return Ok(true);
            }
            return Ok(false);
        }
        if self.header.iter().all(|byte| *byte == 0) {
            if self.extensions.pending {
                return Err(self.wrong(HeaderFault::Missing));
            }
            self.state = match self.state {
                State::FirstZeroBlock => State::Ended,
                _ => State::FirstZeroBlock,
            };
            return Ok(false);
        }
        if matches!(self.state, State::FirstZeroBlock) {
            return Err(self.wrong(HeaderFault::AfterZeros));
        }
        self.check_sum()?;
        match self.header[156] {
            b'L' => self.begin_extension(ExtensionKind::LongPath),
            b'K' => self.begin_extension(ExtensionKind::LongLink),
            b'x' | b'X' => self.begin_extension(ExtensionKind::Pax),
            b'g' => self.begin_extension(ExtensionKind::Ignored),
            flag => self.begin_member(flag),
        }
    }

    fn wrong(&self, reason: HeaderFault) -> TarError {
        TarError::Header { position: self.position.saturating_sub(HEADER as u64), reason }
    }

    /// Old writers summed signed bytes.
    fn check_sum(&self) -> Result<(), TarError> {
        let bytes = || {
            self.header.iter().enumerate().map(|(at, byte)| match at {
                148..156 => b' ',
                _ => *byte,
            })
        };
        let unsigned: i64 = bytes().map(i64::from).sum();
        let signed: i64 = bytes().map(|byte| i64::from(byte.cast_signed())).sum();
        match number(&self.header[148..156]) {
            Some(sum) if sum == unsigned || sum == signed => Ok(()),
            _ => Err(self.wrong(HeaderFault::Checksum)),
        }
    }

    fn stored_size(&self) -> Result<u64, TarError> {
        let size = number(&self.header[124..136]).and_then(|size| u64::try_from(size).ok());
        size.filter(|size| *size < MAX_SIZE).ok_or_else(|| self.wrong(HeaderFault::Size))
    }

    fn begin_extension(&mut self, kind: ExtensionKind) -> Result<bool, TarError> {
        let size = self.stored_size()?;
        if size > MAX_EXTENSION {
            let position = self.position - HEADER as u64;
            return Err(TarError::ExtensionSize { position, size });
        }
        self.extensions.begin(kind);
        self.state = State::Extension { kind, remaining: size, padding: padding(size) as u64 };
        Ok(false)
    }

    fn end_extension(&mut self, kind: ExtensionKind) -> Result<(), TarError> {
        let whole = match kind {
            ExtensionKind::Pax => records(&self.extensions.pax).all(|record| record.is_some()),
            _ => true,
        };
        whole.then_some(()).ok_or(TarError::Header {
            position: self.position - self.extensions.pax.len() as u64,
            reason: HeaderFault::NotPax,
        })
    }

    fn begin_member(&mut self, flag: u8) -> Result<bool, TarError> {
        let mut stored = self.stored_size()?;
        let header = &self.header;
        let lenient = |range: std::ops::Range<usize>| {
            number(&header[range]).and_then(|value| u64::try_from(value).ok()).unwrap_or(0)
        };
        let member = &mut self.member;
        member.path.clear();
        let prefix = prefix(header);
        member.path.extend(prefix);
        member.path.extend((!prefix.is_empty()).then_some(b'/'));
        member.path.extend(text(&header[..100]));
        member.link.clear();
        member.link.extend(text(&header[157..257]));
        member.mode = (lenient(100..108) & 0o7777) as u32;
        member.uid = lenient(108..116);
        member.gid = lenient(116..124);
        member.mtime = lenient(136..148);
        let mut real_size = (flag == b'S').then(|| lenient(483..495));
        let mut sparse = flag == b'S';
        let sparse_map_follows = flag == b'S' && header[482] != 0;

        let mut sparse_path = None;
        for (key, value) in records(&self.extensions.pax).flatten() {
            match key {
                b"path" => replace(&mut member.path, value),
                b"linkpath" => replace(&mut member.link, value),
                b"uid" => member.uid = decimal(value).unwrap_or(member.uid),
                b"gid" => member.gid = decimal(value).unwrap_or(member.gid),
                b"mtime" => member.mtime = seconds(value),
                b"size" => {
                    stored = decimal(value).filter(|size| *size < MAX_SIZE).ok_or(TarError::Header {
                        position: self.position - HEADER as u64,
                        reason: HeaderFault::Size,
                    })?;
                }
                b"GNU.sparse.name" => sparse_path = Some(value),
                b"GNU.sparse.size" | b"GNU.sparse.realsize" => real_size = decimal(value),
                key if key.starts_with(b"GNU.sparse.") => sparse = true,
                _ => {}
            }
        }
        sparse_path.into_iter().for_each(|path| replace(&mut member.path, path));
        self.extensions.long_path.iter().for_each(|path| replace(&mut member.path, text(path)));
        self.extensions.long_link.iter().for_each(|link| replace(&mut member.link, text(link)));
        self.extensions.end();

        let sparse = sparse || real_size.is_some();
        member.kind = match flag {
            b'0' | b'\0' | b'7' if member.path.ends_with(b"/") => MemberKind::Directory,
            b'0' | b'\0' | b'7' | b'S' if sparse => MemberKind::SparseFile,
            b'0' | b'\0' | b'7' | b'S' => MemberKind::File,
            b'1' => MemberKind::Hardlink,
            b'2' => MemberKind::Symlink,
            b'5' => MemberKind::Directory,
            _ => MemberKind::Other,
        };
        // Whatever size the header of such a member states, engines take it to have no content.
        if matches!(flag, b'1'..=b'6') || member.kind == MemberKind::Directory {
            stored = 0;
        }
        member.size = real_size.unwrap_or(stored);
        if sparse_map_follows {
            self.state = State::SparseMap { stored };
            return Ok(false);
        }
        self.state = State::Content { remaining: stored, padding: padding(stored) as u64 };
        Ok(true)
    }
}

/// Larger is no file, and a sum with it might overflow.
const MAX_SIZE: u64 = 1 << 62;

impl Extensions {
    /// The last header of a kind is the one that counts.
    fn begin(&mut self, kind: ExtensionKind) {
        self.pending |= kind != ExtensionKind::Ignored;
        match kind {
            ExtensionKind::LongPath => self.long_path = Some(Vec::new()),
            ExtensionKind::LongLink => self.long_link = Some(Vec::new()),
            ExtensionKind::Pax => self.pax.clear(),
            ExtensionKind::Ignored => {}
        }
    }

    fn extend(&mut self, kind: ExtensionKind, bytes: &[u8]) {
        match kind {
            ExtensionKind::LongPath => self.long_path.iter_mut().for_each(|path| path.extend(bytes)),
            ExtensionKind::LongLink => self.long_link.iter_mut().for_each(|link| link.extend(bytes)),
            ExtensionKind::Pax => self.pax.extend(bytes),
            ExtensionKind::Ignored => {}
        }
    }

    fn end(&mut self) {
        self.pending = false;
        self.long_path = None;
        self.long_link = None;
        self.pax.clear();
    }
}

fn replace(target: &mut Vec<u8>, value: &[u8]) {
    target.clear();
    target.extend(value);
}

/// The bytes of a field before its NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The beginning of a path too long for its own field, without the slash between.
fn prefix(header: &[u8; HEADER]) -> &[u8] {
    match (&header[257..263], &header[508..512]) {
        (b"ustar\0", b"tar\0") => text(&header[345..476]),
        (b"ustar\0", _) => text(&header[345..500]),
        _ => b"",
    }
}

/// A numeric field: octal digits, or big-endian two's complement behind a set high bit.
fn number(field: &[u8]) -> Option<i64> {
    if field[0] & 0x80 == 0 {
        let digits = text(field).trim_ascii();
        let digits = std::str::from_utf8(digits).ok()?;
        return if digits.is_empty() { Some(0) } else { i64::from_str_radix(digits, 8).ok() };
    }
    let negative = field[0] & 0x40 != 0;
    let first = if negative { field[0] } else { field[0] & 0x7f };
    let start: i128 = if negative { -1 } else { 0 };
    let value = field[1..].iter().fold(start << 8 | i128::from(first), |value, byte| {
        value.checked_mul(256).unwrap_or(i128::MAX) | i128::from(*byte)
    });
    i64::try_from(value).ok()
}

fn decimal(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// The whole seconds of a PAX time, which may have a fraction.
fn seconds(value: &[u8]) -> u64 {
    value.split(|byte| *byte == b'.').next().and_then(decimal).unwrap_or(0)
}

/// The records `LENGTH KEY=VALUE\n` of a PAX header; the last is `None` where the bytes are not of that form.
fn records(mut bytes: &[u8]) -> impl Iterator<Item = Option<(&[u8], &[u8])>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let record = record(bytes);
        bytes = record.map_or(&[], |(_, rest)| rest);
        Some(record.map(|(pair, _)| pair))
    })
}

type Record<'a> = ((&'a [u8], &'a [u8]), &'a [u8]);

fn record(bytes: &[u8]) -> Option<Record<'_>> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&bytes[..space])?).ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    let pair = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    Some(((&pair[..equals], &pair[equals + 1..]), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{END, header, padding};
    use super::*;
    use crate::oci::{Entry, EntryKind};

    /// Reads `archive` in pieces of `chunk` bytes: each member with its content.
    fn read(archive: &[u8], chunk: usize) -> Result<Vec<(TarMember, Vec<u8>)>, TarError> {
        let mut reader = TarReader::default();
        let mut members = Vec::new();
        for mut piece in archive.chunks(chunk) {
            while let Some(event) = reader.next(&mut piece)? {
                match event {
                    TarEvent::Begin => members.push((reader.member().clone(), Vec::new())),
                    TarEvent::Content(bytes) => members.last_mut().unwrap().1.extend(bytes),
                    TarEvent::End => {}
                }
            }
        }
        reader.finish().map(|()| members)
    }

    fn entry(path: &str, kind: EntryKind) -> Entry {
        Entry { path: path.into(), mode: 0o644, uid: 3_000_000, gid: 7, mtime: 315_532_800, kind }
    }

    fn archive(files: &[(Entry, Vec<u8>)]) -> Vec<u8> {
        let mut archive = Vec::new();
        for (entry, content) in files {
            archive.extend(header(entry));
            archive.extend(content);
            archive.resize(archive.len() + padding(content.len() as u64), 0);
        }
        archive.extend(END);
        archive
    }

    fn path() -> impl Strategy<Value = String> {
        prop_oneof!["[a-z]{1,9}", "([a-zé]{1,40}/){3,8}[a-z]{1,9}"]
    }

    fn file() -> impl Strategy<Value = (Entry, Vec<u8>)> {
        let content = proptest::collection::vec(any::<u8>(), 0..1500);
        (path(), path(), content, 0..4).prop_map(|(path, target, content, kind)| match kind {
            0 => (entry(&path, EntryKind::Symlink { target }), Vec::new()),
            1 => (entry(&path, EntryKind::Hardlink { target }), Vec::new()),
            2 => (entry(&path, EntryKind::Directory), Vec::new()),
            _ => (entry(&path, EntryKind::File { size: content.len() as u64 }), content),
        })
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_in_pieces_of_any_size(
            files in proptest::collection::vec(file(), 0..6),
            chunk in 1usize..2000,
        ) {
            let read = read(&archive(&files), chunk).unwrap();
            prop_assert_eq!(read.len(), files.len());
            for ((member, content), (entry, expected)) in read.iter().zip(&files) {
                let (kind, link, end) = match &entry.kind {
                    EntryKind::File { .. } | EntryKind::Whiteout => (MemberKind::File, "", ""),
                    EntryKind::Directory => (MemberKind::Directory, "", "/"),
                    EntryKind::Symlink { target } => (MemberKind::Symlink, target.as_str(), ""),
                    EntryKind::Hardlink { target } => (MemberKind::Hardlink, target.as_str(), ""),
                };
                let read = TarMember {
                    path: format!("{}{end}", entry.path).into_bytes(),
                    kind,
                    link: link.into(),
                    size: expected.len() as u64,
                    mode: entry.mode,
                    uid: entry.uid,
                    gid: entry.gid,
                    mtime: entry.mtime,
                };
                prop_assert_eq!(member, &read);
                prop_assert_eq!(content, expected);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(
            files in proptest::collection::vec(file(), 1..3),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
            repair in any::<bool>(),
            chunk in 1usize..2000,
        ) {
            let mut archive = archive(&files);
            for (at, byte) in changes {
                let at = at.index(archive.len());
                archive[at] = byte;
                if repair {
                    seal(&mut archive[at / HEADER * HEADER..][..HEADER]);
                }
            }
            prop_assert_eq!(read(&archive, chunk).is_ok(), read(&archive, 1 << 20).is_ok());
        }
    }

    /// Makes the checksum right.
    fn seal(block: &mut [u8]) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }

    /// A block with the fields put at their places.
    fn block(fields: &[(usize, &[u8])]) -> Vec<u8> {
        let mut block = vec![0; HEADER];
        for (at, bytes) in fields {
            block[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        seal(&mut block);
        block
    }

    #[test]
    fn numbers_are_octal_or_binary() {
        for (field, expected) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0", Some(0)),
            (b"\x80\0\0\0\0\0\0\0\0\x01\0\0", Some(65536)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"9", None),
        ] {
            assert_eq!(number(field), expected, "{field:?}");
        }
    }

    #[test]
    fn old_headers_are_read() {
        let ustar =
            block(&[(0, b"name"), (124, b"0"), (156, b"0"), (257, b"ustar\x0000"), (345, b"long/way")]);
        let star = block(&[(0, b"name"), (156, b"0"), (257, b"ustar\x0000"), (345, b"way"), (508, b"tar\0")]);
        let v7 = block(&[(0, b"dir/"), (156, b"\0")]);
        let gnu = block(&[(0, b"name"), (156, b"0"), (257, b"ustar  \0"), (345, b"0000")]);
        let read = read(&[ustar, star, v7, gnu].concat(), 512).unwrap();
        let shown: Vec<(&[u8], MemberKind)> =
            read.iter().map(|(member, _)| (member.path.as_slice(), member.kind)).collect();
        let file = MemberKind::File;
        assert_eq!(
            shown,
            [
                (&b"long/way/name"[..], file),
                (b"way/name", file),
                (b"dir/", MemberKind::Directory),
                (b"name", file)
            ]
        );
    }

    #[test]
    fn sparse_files_are_stepped_over_with_their_maps() {
        let sparse = [(0, &b"sparse"[..]), (124, b"5"), (156, b"S"), (482, b"\x01"), (483, b"7777777\0")];
        let mut more = vec![0; HEADER];
        more[504] = 1;
        let last = vec![0; HEADER];
        let mut content = b"12345".to_vec();
        content.resize(HEADER, 0);
        let next = block(&[(0, b"next"), (156, b"0")]);
        let archive = [block(&sparse), more, last, content, next].concat();
        for chunk in [1, 512, 4096] {
            let read = read(&archive, chunk).unwrap();
            assert_eq!((read[0].0.kind, read[0].0.size), (MemberKind::SparseFile, 0o7777777));
            assert_eq!(read[0].1, b"12345");
            assert_eq!(read[1].0.path, b"next");
        }
    }

    #[test]
    fn members_that_have_no_content_have_none_whatever_their_size_says() {
        let link = block(&[(0, b"link"), (124, b"5000"), (156, b"1"), (157, b"target")]);
        let next = block(&[(0, b"next"), (156, b"0")]);
        let read = read(&[link, next].concat(), 512).unwrap();
        assert_eq!((read[0].0.size, read[1].0.path.as_slice()), (0, &b"next"[..]));
    }
}
