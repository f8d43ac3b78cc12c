//! Requirements that name a wheel by its place, instead of leaving the choice to an index.
//!
//! <https://packaging.python.org/en/latest/specifications/version-specifiers/#direct-references>

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use serde::{Serialize, Serializer};
use url::Url;
use uv_distribution_filename::WheelFilename;
use uv_pep440::VersionSpecifier;
use uv_pep508::VersionOrUrl;

use super::decode::{Complaint, Decode, parsed};
use super::diagnostic::{Problems, quote};
use super::python::{parse_requirement, too_complex};
use super::yaml::Node;
use crate::credentials::redacted;
use crate::oci::Digest;
use crate::pypa::complexity::weigh_requirement;
use crate::pypa::metadata::Requirement;
use crate::pypa::subdirectory::Subdirectory;

/// A requirement on a project, or on one wheel of it.
#[derive(Debug, Clone, PartialEq)]
pub struct PackageRequirement {
    /// The requirement. A wheel that is named is required at its own version.
    pub requirement: Requirement,
    /// The wheel that is named.
    pub wheel: Option<WheelReference>,
}

/// A wheel that the user names by its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelReference {
    /// The place.
    pub place: FilePlace,
    /// The file's name there.
    pub filename: WheelFilename,
    /// The digest that it must have, where the user gives it.
    pub sha256: Option<Digest>,
}

/// The place of a wheel, or of the archive of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilePlace {
    /// A path, absolute or relative to the recipe's directory.
    Path(String),
    /// A URL of HTTP, without a fragment.
    Url(Url),
}

impl From<Requirement> for PackageRequirement {
    fn from(requirement: Requirement) -> Self {
        Self { requirement, wheel: None }
    }
}

impl PackageRequirement {
    /// It as it is seen from the directory at `above`, where its path begins at one that is relative to that.
    pub fn moved(self, above: &str) -> Self {
        let wheel = self.wheel.map(|wheel| WheelReference { place: wheel.place.moved(above), ..wheel });
        Self { wheel, ..self }
    }

    /// The requirement on a wheel, with the extras and the marker of `asked`.
    pub(super) fn on(wheel: WheelReference, asked: Requirement) -> Self {
        let version = VersionSpecifier::equals_version(wheel.filename.version.clone());
        let version_or_url = Some(VersionOrUrl::VersionSpecifier(version.into()));
        Self { requirement: Requirement { version_or_url, ..asked }, wheel: Some(wheel) }
    }
}

/// As it is written: `app[extra] @ ./dist/app-1.0-py3-none-any.whl ; sys_platform == 'linux'`. URLs are without secrets.
impl fmt::Display for PackageRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(wheel) = &self.wheel else { return self.requirement.fmt(f) };
        let bare = Requirement { version_or_url: None, ..self.requirement.clone() };
        let bare = bare.to_string();
        let (name, marker) = bare.split_once(';').unwrap_or((&bare, ""));
        write!(f, "{} @ {wheel}", name.trim())?;
        match marker.trim() {
            "" => Ok(()),
            marker => write!(f, " ; {marker}"),
        }
    }
}

impl Serialize for PackageRequirement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for WheelReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)?;
        self.sha256.map_or(Ok(()), |digest| write!(f, "#sha256={}", digest.hex()))
    }
}

impl Decode for PackageRequirement {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "a requirement", problems, parse_package)
    }
}

/// Reads a requirement that an index can answer, or that names a wheel.
pub(super) fn parse_package(text: &str) -> Result<PackageRequirement, Complaint> {
    match DirectText::split(text) {
        None => parse_requirement(text).map(PackageRequirement::from),
        Some(direct) => {
            weigh_requirement(text).map_err(|reason| too_complex(text, reason))?;
            direct.parse()
        }
    }
}

/// A requirement that names a place, cut into its parts.
pub(super) struct DirectText<'t> {
    /// `app[extra]`; empty where the place alone is written.
    pub(super) head: &'t str,
    /// `./dist/app-1.0-py3-none-any.whl#sha256=…`
    pub(super) place: &'t str,
    /// `[extra]`, where it is written behind the place.
    pub(super) extras: &'t str,
    pub(super) marker: &'t str,
}

impl<'t> DirectText<'t> {
    /// The parts of `text`; `None` where it names no place.
    pub(super) fn split(text: &'t str) -> Option<Self> {
        // As in PEP 508, white space parts a place from the marker behind it.
        let (reference, marker) = text.split_once(" ;").unwrap_or((text, ""));
        let (reference, marker) = (reference.trim(), marker.trim());
        if let Some((head, place)) = reference.split_once('@').filter(|(head, _)| is_head(head)) {
            return Some(Self { head: head.trim(), place: place.trim(), extras: "", marker });
        }
        let extras = reference.rfind('[').filter(|_| reference.ends_with(']')).unwrap_or(reference.len());
        let (place, extras) = reference.split_at(extras);
        is_place(place).then_some(Self { head: "", place, extras, marker })
    }

    fn parse(&self) -> Result<PackageRequirement, Complaint> {
        let wheel = parse_place(self.place)?;
        let marker = if self.marker.is_empty() { String::new() } else { format!(" ; {}", self.marker) };
        let head = match self.head {
            "" => format!("{}{}", wheel.filename.name, self.extras),
            head => head.to_owned(),
        };
        let asked = parse_requirement(&format!("{head}{marker}")).map_err(Complaint::anywhere)?;
        match asked.name == wheel.filename.name {
            true => Ok(PackageRequirement::on(wheel, asked)),
            false => Err(Complaint::new(format!(
                "`{}` is asked for, and {} is a wheel of `{}`",
                asked.name,
                quote(&wheel.filename.to_string()),
                wheel.filename.name
            ))
            .help("write the name of the wheel's project, or name a wheel of the project that is meant")),
        }
    }
}

/// Returns whether `text` is a project's name, with its extras.
fn is_head(text: &str) -> bool {
    let name = text.split('[').next().unwrap_or_default().trim();
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && name.chars().all(is_part)
}

/// Returns whether `text` is a URL or a path: PEP 508 would take the name of a file for that of a project.
fn is_place(text: &str) -> bool {
    let path = text.split('#').next().unwrap_or_default();
    text.contains("://")
        || ["file:", ".", "/", "~"].iter().any(|start| text.starts_with(start))
        || ARCHIVES.iter().any(|suffix| path.ends_with(suffix))
}

/// The ends of the names of distributions' files.
pub(super) const ARCHIVES: [&str; 6] = [".whl", ".tar.gz", ".zip", ".tar.bz2", ".tgz", ".egg"];

/// Reads the place of a wheel.
fn parse_place(text: &str) -> Result<WheelReference, Complaint> {
    let (place, fragment) = text.split_once('#').unwrap_or((text, ""));
    if ["hg+", "svn+", "bzr+"].iter().any(|vcs| place.starts_with(vcs)) {
        return Err(source(text, "a version control URL of another program than git"));
    }
    let place = file_place(place, text)?;
    Ok(WheelReference {
        filename: filename(&place, text)?,
        sha256: FileFragment::parse(fragment)?.sha256,
        place,
    })
}

/// Reads the place of a file, which is part of `text`.
pub(super) fn file_place(place: &str, text: &str) -> Result<FilePlace, Complaint> {
    let scheme = place.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        Some("file") => Ok(FilePlace::Path(file_path(place)?)),
        Some("http" | "https") => match Url::parse(place) {
            Ok(url) => Ok(FilePlace::Url(url)),
            Err(_) => Err(Complaint::new(format!("{} is not a URL", quote(place)))),
        },
        Some(_) if place.contains("://") => {
            Err(Complaint::new(format!("{} is a URL of a kind that imgforge does not read", quote(text)))
                .help("write `https://` or `http://`, or a path"))
        }
        _ => Ok(FilePlace::Path(place.to_owned())),
    }
}

/// The path in a URL of a file; a relative one, as pip and uv take it, stays relative.
pub(super) fn file_path(url: &str) -> Result<String, Complaint> {
    let rest = url.split_once(':').map_or(url, |(_, rest)| rest);
    let path = match rest.strip_prefix("//") {
        Some(rest) => rest.strip_prefix("localhost").unwrap_or(rest),
        None => rest,
    };
    if rest.starts_with("//") && !path.starts_with('/') {
        return Err(Complaint::new(format!("{} names a file of another machine", quote(url)))
            .help("write a path, or a URL of three slashes: `file:///srv/wheels/…`"));
    }
    let decoded = percent_decode_str(path).decode_utf8().map(|path| path.into_owned());
    decoded.map_err(|_| Complaint::new(format!("{} is not a path in UTF-8", quote(url))))
}

/// `path`, which begins at the directory `above`.
pub(super) fn below(above: &str, path: &str) -> String {
    match above.is_empty() || path.starts_with('/') {
        true => path.to_owned(),
        false => format!("{above}/{path}"),
    }
}

impl FilePlace {
    /// It as it is seen from the directory at `above`, where its path begins at one that is relative to that.
    pub fn moved(self, above: &str) -> Self {
        match self {
            Self::Path(path) => Self::Path(below(above, &path)),
            Self::Url(url) => Self::Url(url),
        }
    }

    /// The name of the file there.
    pub fn filename(&self) -> String {
        match self {
            Self::Path(path) => path.rsplit('/').next().unwrap_or_default().to_owned(),
            Self::Url(url) => {
                let last = url.path_segments().and_then(Iterator::last).unwrap_or_default();
                percent_decode_str(last).decode_utf8_lossy().into_owned()
            }
        }
    }
}

impl fmt::Display for FilePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => f.write_str(path),
            Self::Url(url) => f.write_str(&redacted(url)),
        }
    }
}

/// The name of the wheel at a place.
fn filename(place: &FilePlace, text: &str) -> Result<WheelFilename, Complaint> {
    let name = place.filename();
    if !name.ends_with(".whl") {
        let what = match ARCHIVES.iter().any(|suffix| name.ends_with(suffix)) {
            true => "an archive of a kind that is not built",
            false => "no wheel",
        };
        return Err(source(text, what));
    }
    WheelFilename::from_str(&name).map_err(|error| {
        Complaint::new(format!("{} is not the name of a wheel", quote(&name)))
            .label(error.to_string())
            .help("keep the name that it was built with: `NAME-VERSION-PYTHON-ABI-PLATFORM.whl`")
    })
}

/// The fragment of a file's place: `sha256=…&subdirectory=…`.
#[derive(Default)]
pub(super) struct FileFragment {
    pub(super) sha256: Option<Digest>,
    pub(super) subdirectory: Option<Subdirectory>,
}

impl FileFragment {
    /// Reads it, beside words that say nothing of a file's bytes.
    pub(super) fn parse(text: &str) -> Result<Self, Complaint> {
        let mut found = Self::default();
        for word in text.split('&').filter(|word| !word.is_empty()) {
            match word.split_once('=') {
                Some(("sha256", digits)) => {
                    let digest = Digest::from_hex(&digits.to_ascii_lowercase());
                    let complaint = |_| {
                        Complaint::new(format!("{} is not a sha256 hash", quote(digits)))
                            .help("write `#sha256=` and 64 hexadecimal digits: `sha256sum` computes them")
                    };
                    found.sha256 = Some(digest.map_err(complaint)?);
                }
                Some(("subdirectory", directory)) => {
                    let subdirectory = Subdirectory::new(directory);
                    found.subdirectory = subdirectory.map_err(|error| Complaint::new(error.to_string()))?;
                }
                Some(("egg" | "name", _)) => {}
                _ => {
                    return Err(Complaint::new(format!("{} is no hash that imgforge compares", quote(word)))
                        .help("write `#sha256=` and 64 hexadecimal digits: `sha256sum` computes them"));
                }
            }
        }
        Ok(found)
    }
}

/// A complaint about what would have to be built first.
fn source(text: &str, what: &str) -> Complaint {
    Complaint::new(format!("{} is {what}, and imgforge installs wheels", quote(text))).help(format!(
        "name a wheel, a source distribution (`.tar.gz`, `.zip`), `NAME @ git+https://…` or a directory; or build a wheel \
         of it, `pip wheel --no-deps -w dist {}`, and name that: `./dist/NAME-VERSION-py3-none-any.whl`",
        text.split('#').next().unwrap_or_default()
    ))
}
