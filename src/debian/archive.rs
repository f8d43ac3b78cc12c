//! The `.deb` file: an `ar` archive of `debian-binary`, `control.tar` and `data.tar`, read as a stream.
//!
//! <https://manpages.debian.org/deb.5> · <https://manpages.debian.org/ar.5>

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read};
use std::ops::Range;

use super::packages;
use crate::failure::Hinted;
use crate::oci::paths::{LONGEST_NAME, PathFault, path_fault};
use crate::oci::tar::read::TarReader;
use crate::oci::{Entry, EntryKind};

/// The entries of a package: those with the most have some 150,000.
const MOST_ENTRIES: usize = 300_000;

/// The largest control file, and the largest control member, in bytes. The `md5sums` of the largest
/// packages are a few MB.
const CONTROL_FILE_LIMIT: u64 = 16 << 20;
const CONTROL_LIMIT: u64 = 64 << 20;

const CONTROL: &str = "control.tar";
const DATA: &str = "data.tar";

/// A `.deb` whose control member was read; its files wait to be read.
pub struct Deb<R> {
    members: Members<R>,
    /// Its control files.
    pub control: Control,
}

/// The members of `control.tar` by name: `control`, `conffiles`, `md5sums`, `postinst`, `triggers`…
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Control {
    /// By name: `control`, `postinst`, `md5sums`.
    pub files: BTreeMap<String, ControlFile>,
}

/// One member of `control.tar`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlFile {
    /// Permission bits: 0o755 for a maintainer script.
    pub mode: u32,
    /// Its content.
    pub bytes: Vec<u8>,
}

impl Control {
    /// A control file as text, `None` when it is absent. Bytes that are not UTF-8 are replaced.
    pub fn text(&self, name: &str) -> Option<std::borrow::Cow<'_, str>> {
        self.files.get(name).map(|file| String::from_utf8_lossy(&file.bytes))
    }
}

/// The reason why a `.deb` cannot be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum DebError {
    #[error("it is not a Debian package: {reason}")]
    Format { reason: FormatFault },
    #[error("its format is version `{version}`, and this reads 2.0")]
    FormatVersion { version: String },
    #[error("it has no `{member}`")]
    MissingMember { member: &'static str },
    #[error("its `{member}` is compressed in a way this does not read")]
    Compression { member: String },
    #[error("its `{member}` cannot be read")]
    Read { member: &'static str, source: io::Error },
    #[error("its control file `{name}` is larger than {limit} bytes")]
    ControlTooLarge { name: String, limit: u64 },
    #[error("it contains more than {MOST_ENTRIES} entries")]
    ManyEntries,
    #[error("it contains `{path}`, {reason}")]
    Entry { path: String, reason: EntryFault },
}

/// The reason why a file is no package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum FormatFault {
    #[error("it does not begin as an ar archive")]
    Magic,
    #[error("a member's header is damaged")]
    MemberHeader,
    #[error("a member has no size")]
    MemberSize,
}

/// The reason why an entry of a package is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum EntryFault {
    #[error("a control file in a directory")]
    ControlInDirectory,
    #[error("a link without a target")]
    NoTarget,
    #[error("a link to a name that is not UTF-8")]
    TargetNotUtf8,
    #[error("which is neither file, directory nor link")]
    Kind,
    #[error("a name that is not UTF-8")]
    NotUtf8,
    #[error("an absolute path")]
    Absolute,
    #[error("a path that leaves the package")]
    Leaves,
    #[error("a path that no file of an image can have: {0}")]
    Path(PathFault),
}

impl Hinted for DebError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Compression { .. } => {
                "packages of Debian and Ubuntu use xz, zst, gz or no compression".into()
            }
            _ => "the package is damaged or was not made by dpkg-deb; report it to its archive".into(),
        })
    }
}

impl<R: Read> Deb<R> {
    /// Reads the beginning of a `.deb`, up to and with its control member.
    pub fn open(reader: R) -> Result<Self, DebError> {
        let mut members = Members::open(reader)?;
        members.seek("debian-binary")?;
        check_format_version(&mut members)?;
        let name = members.seek(CONTROL)?;
        let control = read_control(decompress(&name, &mut members, CONTROL)?)?;
        Ok(Self { members, control })
    }

    /// Calls `each` with every file system entry and its content, in the archive's order.
    ///
    /// Paths are checked, and without leading `./`; the root directory itself is left out. `each` may
    /// leave the content unread.
    pub fn entries<E: From<DebError>>(
        mut self,
        mut each: impl FnMut(Entry, &mut dyn Read) -> Result<(), E>,
    ) -> Result<(), E> {
        let failed = |source| DebError::Read { member: DATA, source };
        let name = self.members.seek(DATA)?;
        let mut tar = tar::Archive::new(BoundedTar::new(decompress(&name, &mut self.members, DATA)?));
        for (index, entry) in tar.entries().map_err(failed)?.enumerate() {
            let mut entry = entry.map_err(failed)?;
            if index == MOST_ENTRIES {
                return Err(DebError::ManyEntries.into());
            }
            if let Some(described) = describe(&entry, DATA)? {
                each(described, &mut entry)?;
            }
        }
        finish(tar, DATA)?;
        Ok(())
    }
}

fn check_format_version(member: &mut impl Read) -> Result<(), DebError> {
    let failed = |source| DebError::Read { member: "debian-binary", source };
    let mut version = String::new();
    member.take(100).read_to_string(&mut version).map_err(failed)?;
    let version = version.lines().next().unwrap_or("");
    match version.split_once('.') {
        Some(("2", _)) => Ok(()),
        _ => Err(DebError::FormatVersion { version: version.to_owned() }),
    }
}

fn read_control(stream: impl Read) -> Result<Control, DebError> {
    let failed = |source| DebError::Read { member: CONTROL, source };
    let mut tar = tar::Archive::new(BoundedTar::new(stream.take(CONTROL_LIMIT)));
    let mut control = Control::default();
    for entry in tar.entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        let Some(Entry { path, mode, kind: EntryKind::File { size }, .. }) = describe(&entry, CONTROL)?
        else {
            continue;
        };
        if size > CONTROL_FILE_LIMIT {
            return Err(DebError::ControlTooLarge { name: path, limit: CONTROL_FILE_LIMIT });
        }
        if path.contains('/') {
            return Err(DebError::Entry { path, reason: EntryFault::ControlInDirectory });
        }
        let mut bytes = Vec::with_capacity(size as usize);
        entry.read_to_end(&mut bytes).map_err(failed)?;
        control.files.insert(path, ControlFile { mode, bytes });
    }
    finish(tar, CONTROL)?;
    Ok(control)
}

/// Reads what follows the last entry, so that a stream cut off there, or with a wrong checksum, is noticed.
fn finish(tar: tar::Archive<impl Read>, member: &'static str) -> Result<(), DebError> {
    let copied = io::copy(&mut tar.into_inner(), &mut io::sink());
    copied.map(drop).map_err(|source| DebError::Read { member, source })
}

/// The tar entry as a layer keeps it, or `None` for the root directory.
fn describe<R: Read>(entry: &tar::Entry<'_, R>, member: &'static str) -> Result<Option<Entry>, DebError> {
    let failed = |source| DebError::Read { member, source };
    let raw = entry.path_bytes();
    let path = relative(&raw)?;
    if path.is_empty() {
        return Ok(None);
    }
    let wrong = |reason| DebError::Entry { path: path.clone(), reason };
    let target = || {
        let target = entry.link_name_bytes().ok_or_else(|| wrong(EntryFault::NoTarget))?;
        let target = String::from_utf8(target.into_owned()).map_err(|_| wrong(EntryFault::TargetNotUtf8))?;
        match target.is_empty() || target.contains('\0') {
            true => Err(wrong(EntryFault::NoTarget)),
            false => Ok(target),
        }
    };
    let kind = match entry.header().entry_type() {
        tar::EntryType::Directory => EntryKind::Directory,
        tar::EntryType::Regular | tar::EntryType::Continuous => EntryKind::File { size: entry.size() },
        tar::EntryType::Symlink => EntryKind::Symlink { target: target()? },
        tar::EntryType::Link => EntryKind::Hardlink { target: relative(target()?.as_bytes())? },
        _ => return Err(wrong(EntryFault::Kind)),
    };
    let header = entry.header();
    Ok(Some(Entry {
        mode: header.mode().map_err(failed)? & 0o7777,
        uid: header.uid().map_err(failed)?,
        gid: header.gid().map_err(failed)?,
        mtime: header.mtime().map_err(failed)?,
        path: path.clone(),
        kind,
    }))
}

/// A path of an archive without leading `./` and trailing `/`; empty for the root.
fn relative(raw: &[u8]) -> Result<String, DebError> {
    let shown = &raw[..raw.len().min(LONGEST_NAME)];
    let wrong = |reason| DebError::Entry { path: String::from_utf8_lossy(shown).into_owned(), reason };
    let path = std::str::from_utf8(raw).map_err(|_| wrong(EntryFault::NotUtf8))?;
    if path.starts_with('/') {
        return Err(wrong(EntryFault::Absolute));
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") || path.contains('\0') {
        return Err(wrong(EntryFault::Leaves));
    }
    let path = parts.join("/");
    match path_fault(&path) {
        Some(fault) => Err(wrong(EntryFault::Path(fault))),
        None => Ok(path),
    }
}

/// Holds a tar within bounds before it is parsed: the parser keeps a long name whatever its length.
struct BoundedTar<R> {
    reader: R,
    headers: TarReader,
}

impl<R> BoundedTar<R> {
    fn new(reader: R) -> Self {
        Self { reader, headers: TarReader::default() }
    }
}

impl<R: Read> Read for BoundedTar<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        let mut passed = &buffer[..count];
        while self.headers.next(&mut passed).map_err(io::Error::other)?.is_some() {}
        Ok(count)
    }
}

/// Decompresses a member by its extension.
fn decompress<'r>(
    name: &str,
    reader: impl Read + 'r,
    member: &'static str,
) -> Result<Box<dyn Read + 'r>, DebError> {
    let failed = |source| DebError::Read { member, source };
    Ok(match name.split_once(".tar").map(|(_, extension)| extension) {
        Some("") => Box::new(BufReader::new(reader)),
        Some(".xz") => Box::new(packages::xz(reader).map_err(failed)?),
        Some(".zst") => Box::new(zstd::Decoder::new(reader).map_err(failed)?),
        Some(".gz") => Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::new(reader))),
        _ => return Err(DebError::Compression { member: name.to_owned() }),
    })
}

/// The members of an `ar` archive in order, read without seeking.
struct Members<R> {
    reader: R,
    /// The rest of the current member, in bytes.
    rest: u64,
    /// The byte that makes an odd member even.
    padding: u64,
}

impl<R: Read> Members<R> {
    const MAGIC: &[u8; 8] = b"!<arch>\n";

    fn open(mut reader: R) -> Result<Self, DebError> {
        let mut magic = [0; 8];
        match reader.read_exact(&mut magic) {
            Ok(()) if &magic == Self::MAGIC => Ok(Self { reader, rest: 0, padding: 0 }),
            _ => Err(DebError::Format { reason: FormatFault::Magic }),
        }
    }

    /// Goes to the member whose name begins with `wanted`, and returns its name. Members named `_…` on
    /// the way are passed over, as deb(5) says.
    fn seek(&mut self, wanted: &'static str) -> Result<String, DebError> {
        let mut name = self.advance(wanted)?;
        while name.starts_with('_') {
            name = self.advance(wanted)?;
        }
        match name.starts_with(wanted) {
            true => Ok(name),
            false => Err(DebError::MissingMember { member: wanted }),
        }
    }

    fn advance(&mut self, wanted: &'static str) -> Result<String, DebError> {
        let failed = |source| DebError::Read { member: wanted, source };
        let mut before = self.reader.by_ref().take(self.rest + self.padding);
        io::copy(&mut before, &mut io::sink()).map_err(failed)?;
        let mut header = [0; 60];
        self.reader.read_exact(&mut header).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => DebError::MissingMember { member: wanted },
            _ => failed(source),
        })?;
        let text = |range: Range<usize>| std::str::from_utf8(&header[range]).unwrap_or("").trim_ascii_end();
        if &header[58..] != b"`\n" {
            return Err(DebError::Format { reason: FormatFault::MemberHeader });
        }
        let size = text(48..58).parse::<u32>();
        self.rest = size.map_err(|_| DebError::Format { reason: FormatFault::MemberSize })?.into();
        self.padding = self.rest % 2;
        Ok(text(0..16).trim_end_matches('/').to_owned())
    }
}

/// Reads the current member to its end; a file that ends before is an error.
impl<R: Read> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(usize::try_from(self.rest).unwrap_or(usize::MAX));
        let read = self.reader.read(&mut buffer[..length])?;
        if read == 0 && length > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.rest -= read as u64;
        Ok(read)
    }
}

/// Packages as dpkg-deb writes them, for tests.
#[cfg(test)]
pub(crate) mod example {
    use std::io::Write;

    /// A `.deb` being written.
    pub(crate) struct DebBuilder {
        control: tar::Builder<Vec<u8>>,
        data: tar::Builder<Vec<u8>>,
        /// `xz`, `zst`, `gz`, or empty.
        pub compression: &'static str,
    }

    impl DebBuilder {
        /// A package with this name and these control fields.
        pub(crate) fn new(name: &str, fields: &str) -> Self {
            let text = format!(
                "Package: {name}\nVersion: 1.0-1\nArchitecture: amd64\n{fields}Description: {name}\n"
            );
            let new = || tar::Builder::new(Vec::new());
            Self { control: new(), data: new(), compression: "xz" }.control("control", &text)
        }

        /// Adds a control file.
        pub(crate) fn control(mut self, name: &str, text: &str) -> Self {
            append(&mut self.control, &format!("./{name}"), "", tar::EntryType::Regular, text.as_bytes());
            self
        }

        /// Adds a file.
        pub(crate) fn file(self, path: &str, text: &str) -> Self {
            self.raw(path, "", tar::EntryType::Regular, text.as_bytes())
        }

        /// Adds a directory.
        pub(crate) fn directory(self, path: &str) -> Self {
            self.raw(path, "", tar::EntryType::Directory, b"")
        }

        /// Adds a symlink.
        pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
            self.raw(path, target, tar::EntryType::Symlink, b"")
        }

        /// Adds a hard link.
        pub(crate) fn hardlink(self, path: &str, target: &str) -> Self {
            self.raw(path, target, tar::EntryType::Link, b"")
        }

        /// Adds an entry of any kind, whatever its path.
        pub(crate) fn raw(mut self, path: &str, target: &str, kind: tar::EntryType, bytes: &[u8]) -> Self {
            append(&mut self.data, path, target, kind, bytes);
            self
        }

        /// The bytes of the package.
        pub(crate) fn build(self) -> Vec<u8> {
            let extension = if self.compression.is_empty() { "" } else { "." };
            let name = |member: &str| format!("{member}{extension}{}", self.compression);
            let members = [("control.tar", self.control), ("data.tar", self.data)].map(|(member, tar)| {
                (name(member), compress(self.compression, tar.into_inner().expect("memory")))
            });
            let mut deb = b"!<arch>\n".to_vec();
            member(&mut deb, "debian-binary", b"2.0\n");
            members.iter().for_each(|(name, bytes)| member(&mut deb, name, bytes));
            deb
        }
    }

    /// Writes a header by hand: the builder of the library refuses hostile paths.
    fn append(tar: &mut tar::Builder<Vec<u8>>, path: &str, target: &str, kind: tar::EntryType, bytes: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(if kind == tar::EntryType::Directory { 0o755 } else { 0o644 });
        header.set_size(bytes.len() as u64);
        header.set_mtime(1_700_000_000);
        header.set_uid(0);
        header.set_gid(0);
        let gnu = header.as_gnu_mut().expect("it was made as one");
        gnu.name[..path.len()].copy_from_slice(path.as_bytes());
        gnu.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        tar.append(&header, bytes).expect("memory");
    }

    fn compress(compression: &str, bytes: Vec<u8>) -> Vec<u8> {
        match compression {
            "xz" => {
                let mut writer = liblzma::write::XzEncoder::new(Vec::new(), 1);
                writer.write_all(&bytes).and_then(|()| writer.finish()).expect("memory")
            }
            "gz" => {
                let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                writer.write_all(&bytes).and_then(|()| writer.finish()).expect("memory")
            }
            "zst" => zstd::encode_all(&bytes[..], 1).expect("memory"),
            _ => bytes,
        }
    }

    pub(crate) fn member(deb: &mut Vec<u8>, name: &str, bytes: &[u8]) {
        let header = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "100644", bytes.len());
        deb.extend(header.as_bytes());
        deb.extend(bytes);
        deb.extend(vec![b'\n'; bytes.len() % 2]);
    }
}

#[cfg(test)]
mod tests {
    use super::example::{DebBuilder, member};
    use super::*;

    /// The control files and the entries of a package: `path kind content`.
    fn read(deb: &[u8]) -> Result<(Vec<String>, Vec<String>), DebError> {
        let deb = Deb::open(deb)?;
        let control = deb.control.files.keys().cloned().collect();
        let mut entries = Vec::new();
        deb.entries(|entry, content| {
            let mut text = String::new();
            content.read_to_string(&mut text).map_err(|source| DebError::Read { member: DATA, source })?;
            entries.push(match entry.kind {
                EntryKind::Directory => format!("{}/", entry.path),
                EntryKind::File { size } => format!("{} {:o} {size} {text}", entry.path, entry.mode),
                EntryKind::Whiteout => format!("{} whiteout", entry.path),
                EntryKind::Symlink { target } => format!("{} -> {target}", entry.path),
                EntryKind::Hardlink { target } => format!("{} = {target}", entry.path),
            });
            Ok::<(), DebError>(())
        })?;
        Ok((control, entries))
    }

    fn sample(compression: &'static str) -> Vec<u8> {
        let mut builder = DebBuilder::new("demo", "")
            .control("postinst", "#! /bin/sh\n")
            .directory("./")
            .directory("./usr/")
            .file("./usr/a", "text")
            .symlink("./usr/b", "a")
            .hardlink("./usr/c", "./usr/a");
        builder.compression = compression;
        builder.build()
    }

    #[test]
    fn reads_every_compression_dpkg_deb_writes() {
        for compression in ["xz", "zst", "gz", ""] {
            let (control, entries) = read(&sample(compression)).unwrap();
            assert_eq!(control, ["control", "postinst"]);
            assert_eq!(entries, ["usr/", "usr/a 644 4 text", "usr/b -> a", "usr/c = usr/a"], "{compression}");
        }
    }

    #[test]
    fn paths_stay_inside_the_package() {
        use tar::EntryType::{Block, Char, Fifo, Link, Regular, Symlink};
        let whiteout = || EntryFault::Path(PathFault::Whiteout);
        let hostile: [(&str, &str, tar::EntryType, EntryFault); 12] = [
            ("./usr/bin/.wh.sh", "", Regular, whiteout()),
            ("./etc/.wh..wh..opq", "", Regular, whiteout()),
            ("./etc/.wh.d/a", "", Regular, whiteout()),
            ("./etc/a", "./etc/.wh.passwd", Link, whiteout()),
            ("../etc/passwd", "", Regular, EntryFault::Leaves),
            ("./usr/../../etc/passwd", "", Regular, EntryFault::Leaves),
            ("/etc/passwd", "", Regular, EntryFault::Absolute),
            ("./a", "../../etc/passwd", Link, EntryFault::Leaves),
            ("./a", "", Symlink, EntryFault::NoTarget),
            ("./dev/sda", "", Block, EntryFault::Kind),
            ("./dev/tty", "", Char, EntryFault::Kind),
            ("./run/x", "", Fifo, EntryFault::Kind),
        ];
        for (path, target, kind, expected) in hostile {
            let deb = DebBuilder::new("demo", "").raw(path, target, kind, b"").build();
            let error = read(&deb).unwrap_err();
            let refused = matches!(&error, DebError::Entry { reason, .. } if *reason == expected);
            assert!(refused, "{path}: {error}");
        }
    }

    #[test]
    fn a_truncated_package_is_an_error_wherever_it_ends() {
        let whole = sample("xz");
        for length in (0..whole.len() - 1).step_by(7) {
            assert!(read(&whole[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_package_of_another_shape_is_refused_by_name() {
        let deb = |members: &[(&str, &[u8])]| {
            let mut deb = b"!<arch>\n".to_vec();
            members.iter().for_each(|(name, bytes)| member(&mut deb, name, bytes));
            deb
        };
        for (deb, message) in [
            (b"PK\x03\x04".to_vec(), "does not begin as an ar archive"),
            (deb(&[]), "no `debian-binary`"),
            (deb(&[("debian-binary", b"3.0\n")]), "version `3.0`"),
            (deb(&[("debian-binary", b"2.0\n"), ("data.tar.xz", b"")]), "no `control.tar`"),
            (
                deb(&[("debian-binary", b"2.0\n"), ("control.tar.bz2", b"")]),
                "`control.tar.bz2` is compressed",
            ),
            (
                deb(&[("debian-binary", b"2.0\n"), ("control.tar.lzma", b"")]),
                "`control.tar.lzma` is compressed",
            ),
        ] {
            let error = read(&deb).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn a_control_file_cannot_fill_the_memory() {
        let large = "x".repeat(CONTROL_FILE_LIMIT as usize + 1);
        let error = read(&DebBuilder::new("demo", "").control("md5sums", &large).build()).unwrap_err();
        assert!(matches!(error, DebError::ControlTooLarge { .. }), "{error}");
    }
}
