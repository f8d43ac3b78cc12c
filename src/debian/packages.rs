//! The Packages index of a suite: every binary package it offers.
//!
//! <https://wiki.debian.org/DebianRepository/Format#A.22Packages.22_Indices>

use std::io::{self, BufReader, Read};

use liblzma::read::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};
use url::Url;

use super::deb822::{self, Deb822Error, Paragraph};
use super::relation;
use super::version::{DebianVersion, VersionError};
use crate::failure::Hinted;
use crate::oci::{Digest, DigestError};

/// One binary package of an index, and its `.deb`.
#[derive(Debug, Clone)]
pub struct IndexedPackage<'a> {
    /// The package.
    pub package: Package<'a>,
    /// The path of the `.deb`, under the archive's root.
    pub filename: &'a str,
    /// The size of the `.deb`, in bytes.
    pub size: u64,
    /// The digest of the `.deb`.
    pub sha256: Digest,
}

/// One binary package, as an index or dpkg's `status` describes it. Text borrows from there; relationships are read when
/// they matter.
#[derive(Debug, Clone)]
pub struct Package<'a> {
    /// The package's name.
    pub name: &'a str,
    /// Its version.
    pub version: DebianVersion,
    /// `amd64`, or `all` for every architecture.
    pub architecture: &'a str,
    /// True if dpkg refuses to be without it.
    pub essential: bool,
    /// Its priority.
    pub priority: Priority,
    /// `same`, `foreign` or `allowed`.
    pub multi_arch: Option<&'a str>,
    /// The field `Depends`, as written.
    pub depends: &'a str,
    /// The field `Pre-Depends`, as written.
    pub pre_depends: &'a str,
    /// The field `Provides`, as written.
    pub provides: &'a str,
    /// The field `Conflicts`, as written.
    pub conflicts: &'a str,
    /// The field `Breaks`, as written.
    pub breaks: &'a str,
    /// The estimated unpacked size in KiB.
    pub installed_size: u64,
}

/// The priority of a package; the most needed first.
///
/// <https://www.debian.org/doc/debian-policy/ch-archive.html#priorities>
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// The system does not work without it.
    Required,
    /// Every Unix-like system has it.
    Important,
    /// A reasonably small character-mode system has it.
    Standard,
    /// Everything else.
    Optional,
    /// An old name of `optional`.
    Extra,
}

/// The reason why an index cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum PackagesError {
    #[error("could not decompress the package index `{name}`")]
    Decompress { name: String, source: io::Error },
    #[error("the package index `{name}` is larger than the {limit} bytes its Release file says")]
    TooLarge { name: String, limit: u64 },
    #[error("the package index cannot be read")]
    Syntax { source: Deb822Error },
    #[error("`{package}` has no `{field}` in the package index")]
    Missing { package: String, field: &'static str },
    #[error("`{field}: {text}` of `{package}` cannot be read")]
    Field { package: String, field: &'static str, text: String },
    #[error("the version of `{package}` cannot be read")]
    Version { package: String, source: VersionError },
    #[error("the digest of `{package}` cannot be read")]
    Digest { package: String, source: DigestError },
}

impl Hinted for PackagesError {
    fn hint(&self) -> Option<String> {
        Some("the mirror's package index is damaged; try again, or another mirror".into())
    }
}

/// The memory of the decompression of xz in bytes: its highest level takes 65 MB.
const MOST_XZ_MEMORY: u64 = 96 << 20;

/// Decompresses xz. The stream says how much memory that takes.
pub fn xz<R: Read>(reader: R) -> io::Result<XzDecoder<R>> {
    let stream = Stream::new_stream_decoder(MOST_XZ_MEMORY, CONCATENATED)?;
    Ok(XzDecoder::new_stream(reader, stream))
}

/// Decompresses an index by the extension of its `name`: `.xz`, `.zst`, `.gz` or none.
pub fn decompress<'r>(name: &str, reader: impl Read + 'r) -> io::Result<Box<dyn Read + 'r>> {
    Ok(match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("xz") => Box::new(xz(reader)?),
        Some("zst") => Box::new(zstd::Decoder::new(reader)?),
        Some("gz") => Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::new(reader))),
        _ => Box::new(reader),
    })
}

/// Decompresses an index into text of at most `limit` bytes, the size its Release file gives it.
pub fn read_text(name: &str, reader: impl Read, limit: u64) -> Result<String, PackagesError> {
    let failed = |source| PackagesError::Decompress { name: name.to_owned(), source };
    let mut text = String::new();
    let mut stream = decompress(name, reader).map_err(failed)?.take(limit.saturating_add(1));
    stream.read_to_string(&mut text).map_err(failed)?;
    match text.len() as u64 > limit {
        true => Err(PackagesError::TooLarge { name: name.to_owned(), limit }),
        false => Ok(text),
    }
}

/// The packages of an index, in its order.
pub fn parse(text: &str) -> Result<Vec<IndexedPackage<'_>>, PackagesError> {
    deb822::paragraphs(text)
        .map(|paragraph| listed(&paragraph.map_err(|source| PackagesError::Syntax { source })?))
        .collect()
}

fn listed<'a>(fields: &Paragraph<'a>) -> Result<IndexedPackage<'a>, PackagesError> {
    let package = package(fields)?;
    let name = package.name;
    let filename = required(fields, name, "Filename")?;
    if !is_safe_location(filename) {
        return Err(wrong(name, "Filename", filename));
    }
    Ok(IndexedPackage {
        filename,
        size: number(name, "Size", required(fields, name, "Size")?)?,
        sha256: Digest::from_hex(required(fields, name, "SHA256")?)
            .map_err(|source| PackagesError::Digest { package: name.to_owned(), source })?,
        package,
    })
}

/// The package that a paragraph of an index, or of dpkg's `status`, describes.
pub fn package<'a>(fields: &Paragraph<'a>) -> Result<Package<'a>, PackagesError> {
    let name = fields.get("Package").unwrap_or("");
    if !relation::is_package_name(name) {
        return Err(wrong(name, "Package", name));
    }
    let optional = |field: &str| fields.get(field).unwrap_or("");
    Ok(Package {
        name,
        version: required(fields, name, "Version")?
            .parse()
            .map_err(|source| PackagesError::Version { package: name.to_owned(), source })?,
        architecture: required(fields, name, "Architecture")?,
        essential: fields.get("Essential") == Some("yes"),
        priority: Priority::parse(optional("Priority")),
        multi_arch: fields.get("Multi-Arch"),
        depends: optional("Depends"),
        pre_depends: optional("Pre-Depends"),
        provides: optional("Provides"),
        conflicts: optional("Conflicts"),
        breaks: optional("Breaks"),
        installed_size: number(name, "Installed-Size", fields.get("Installed-Size").unwrap_or("0"))?,
    })
}

fn required<'a>(fields: &Paragraph<'a>, name: &str, field: &'static str) -> Result<&'a str, PackagesError> {
    fields.get(field).ok_or_else(|| PackagesError::Missing { package: name.to_owned(), field })
}

fn number(name: &str, field: &'static str, text: &str) -> Result<u64, PackagesError> {
    text.parse().map_err(|_| wrong(name, field, text))
}

fn wrong(name: &str, field: &'static str, text: &str) -> PackagesError {
    let short = |text: &str| text.chars().take(100).collect();
    PackagesError::Field { package: short(name), field, text: short(text) }
}

/// Returns whether a path stays under the archive's root and can be part of a URL as it is: neither a scheme nor an encoded
/// dot makes something else of it.
pub fn is_safe_location(path: &str) -> bool {
    let printable = path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\\".contains(&byte));
    let first = path.split('/').next().unwrap_or_default();
    let is_safe = |part: &str| !part.is_empty() && part.to_ascii_lowercase().replace("%2e", ".") != "..";
    printable && !first.contains(':') && path.split('/').all(is_safe)
}

/// The URL of the file at `path` of the archive at `mirror`; `None` when it is not below that.
pub fn location(mirror: &Url, path: &str) -> Option<Url> {
    let url = mirror.join(path).ok().filter(|_| is_safe_location(path))?;
    let is_below = url.origin() == mirror.origin() && url.path().starts_with(mirror.path());
    is_below.then_some(url)
}

impl Priority {
    fn parse(text: &str) -> Self {
        match text {
            "required" => Self::Required,
            "important" => Self::Important,
            "standard" => Self::Standard,
            "extra" => Self::Extra,
            _ => Self::Optional,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn stanza(extra: &str) -> String {
        format!(
            "Package: libc6\nArchitecture: amd64\nVersion: 2.36-9+deb12u10\nMulti-Arch: same\nPriority: optional\n\
             Depends: libgcc-s1, libcrypt1 (>= 1:4.4.10-10)\nSize: 2757000\nSHA256: {HEX}\nInstalled-Size: 12988\n\
             {extra}\n"
        )
    }

    #[test]
    fn reads_an_index() {
        let text =
            stanza("Filename: pool/main/g/glibc/libc6_2.36-9+deb12u10_amd64.deb\nEssential: yes\n").repeat(2);
        let packages = parse(&text).unwrap();
        let [IndexedPackage { package: first, size, .. }, _] = &packages[..] else { panic!("{packages:?}") };
        assert_eq!((first.name, first.version.upstream(), *size), ("libc6", "2.36", 2_757_000));
        assert_eq!((first.essential, first.multi_arch), (true, Some("same")));
        assert_eq!((first.priority, first.pre_depends), (Priority::Optional, ""));
    }

    #[test]
    fn a_damaged_stanza_names_its_package_and_field() {
        let good = stanza("Filename: pool/a.deb\n");
        for (text, message) in [
            (stanza(""), "`libc6` has no `Filename`"),
            (stanza("Filename: ../../etc/passwd"), "`Filename: ../../etc/passwd` of `libc6`"),
            (stanza("Filename: /a.deb"), "`Filename: /a.deb`"),
            (stanza("Filename: a.deb?x"), "`Filename: a.deb?x`"),
            (good.replace("2757000", "-1"), "`Size: -1` of `libc6`"),
            (good.replace("2.36-9", "a b"), "version of `libc6`"),
            (good.replace(HEX, "abc"), "digest of `libc6`"),
            (good.replace("Package: libc6", "Package: ../x"), "`Package: ../x`"),
        ] {
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn no_location_leaves_the_archive() {
        let check = |path: &str, expected: Option<&str>| {
            for mirror in ["http://mirror/debian/", "https://user:pw@mirror:8443/debian/"] {
                let mirror = Url::parse(mirror).unwrap();
                let url = location(&mirror, path);
                assert_eq!(url.as_ref().map(|url| url.path()), expected, "{path}");
                assert!(url.is_none_or(|url| url.origin() == mirror.origin()));
            }
        };
        check("pool/main/a.deb", Some("/debian/pool/main/a.deb"));
        check("./a_1%3a2.deb", Some("/debian/a_1%3a2.deb"));
        check("pool/a:b.deb", Some("/debian/pool/a:b.deb"));
        for path in [
            "http://evil/a.deb",
            "https:evil/a.deb",
            "http:a.deb",
            "HTTPS:evil/a.deb",
            "file:a.deb",
            "//evil/a.deb",
            "/a.deb",
            "\\\\evil\\a.deb",
            "../a.deb",
            "pool/../../a.deb",
            "%2e%2E/a.deb",
            ".%2e/a.deb",
            "pool/%2E./%2e%2e/a.deb",
            "a.deb?x",
            "a.deb#x",
            "a b.deb",
            "a.deb\n",
            "",
        ] {
            check(path, None);
        }
    }

    #[test]
    fn decompresses_what_mirrors_offer() {
        let text = stanza("Filename: a.deb");
        let mut xz = liblzma::write::XzEncoder::new(vec![], 1);
        xz.write_all(text.as_bytes()).unwrap();
        let mut gz = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        gz.write_all(text.as_bytes()).unwrap();
        for (name, bytes) in [
            ("Packages.xz", xz.finish().unwrap()),
            ("Packages.gz", gz.finish().unwrap()),
            ("Packages.zst", zstd::encode_all(text.as_bytes(), 1).unwrap()),
            ("main/binary-amd64/Packages", text.clone().into_bytes()),
        ] {
            assert_eq!(read_text(name, &bytes[..], text.len() as u64).unwrap(), text, "{name}");
            let error = read_text(name, &bytes[..], 10).unwrap_err();
            assert!(matches!(error, PackagesError::TooLarge { limit: 10, .. }), "{name}: {error}");
        }
        assert!(matches!(read_text("Packages.xz", &b"junk"[..], 9), Err(PackagesError::Decompress { .. })));
    }
}
