//! The argument of `-o`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The name of standard output among files.
pub(super) const STANDARD_OUTPUT: &str = "-";

/// A place to publish an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// `oci:DIR[:TAG]`
    OciLayout {
        /// The layout's directory.
        directory: PathBuf,
        /// The image's tag in the layout.
        tag: Option<String>,
    },
    /// `oci-archive:FILE[:TAG]`, where `-` is standard output.
    OciArchive {
        /// The archive.
        file: PathBuf,
        /// The image's tag in the archive.
        tag: Option<String>,
    },
}

impl Destination {
    /// Returns whether the image itself goes to standard output, where nothing else may be printed then.
    pub fn is_standard_output(&self) -> bool {
        match self {
            Self::OciLayout { .. } => false,
            Self::OciArchive { file, .. } => {
                let names = [STANDARD_OUTPUT, "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];
                names.iter().any(|name| file == Path::new(name))
            }
        }
    }
}

/// Text that names no destination.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum ReferenceError {
    #[error("`{transport}:` is not built yet; destinations are oci:DIR[:TAG] and oci-archive:FILE[:TAG]")]
    NotBuilt { transport: String },
    #[error("`{text}` is not a destination; write oci:DIR[:TAG] or oci-archive:FILE[:TAG]")]
    Unknown { text: String },
    #[error(
        "`{tag}` is not a tag: it has at most 128 letters, digits, `_`, `.` and `-`, and does not begin with `.` or `-`"
    )]
    Tag { tag: String },
}

impl FromStr for Destination {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let unknown = || ReferenceError::Unknown { text: text.to_owned() };
        let (transport, rest) = text.split_once(':').ok_or_else(unknown)?;
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(check_tag(tag)?)),
            _ => (rest, None),
        };
        match transport {
            "oci" | "oci-archive" if path.is_empty() => Err(unknown()),
            "oci" => Ok(Self::OciLayout { directory: path.into(), tag }),
            "oci-archive" => Ok(Self::OciArchive { file: path.into(), tag }),
            "docker" | "docker-daemon" | "docker-archive" | "containers-storage" => {
                Err(ReferenceError::NotBuilt { transport: transport.to_owned() })
            }
            _ => Err(unknown()),
        }
    }
}

/// <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests>
fn check_tag(tag: &str) -> Result<String, ReferenceError> {
    let first = tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let rest = tag.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    match first && rest && tag.len() <= 128 {
        true => Ok(tag.to_owned()),
        false => Err(ReferenceError::Tag { tag: tag.to_owned() }),
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (transport, path, tag) = match self {
            Self::OciLayout { directory, tag } => ("oci", directory, tag),
            Self::OciArchive { file, tag } => ("oci-archive", file, tag),
        };
        write!(f, "{transport}:{}", path.display())?;
        tag.iter().try_for_each(|tag| write!(f, ":{tag}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let shown = match text.parse::<Destination>() {
            Ok(destination) => format!("{destination:?}"),
            Err(error) => error.to_string(),
        };
        assert!(shown.contains(expected), "{shown}");
    }

    #[test]
    fn reads_layouts_and_archives_with_and_without_a_tag() {
        check("oci:out/x", r#"OciLayout { directory: "out/x", tag: None }"#);
        check("oci:out/x:v1", r#"OciLayout { directory: "out/x", tag: Some("v1") }"#);
        check("oci-archive:/tmp/a.tar:1.0", r#"OciArchive { file: "/tmp/a.tar", tag: Some("1.0") }"#);
        check("oci:/a:b/c", r#"OciLayout { directory: "/a:b/c", tag: None }"#);
    }

    #[test]
    fn says_what_a_destination_looks_like() {
        check("out/x", "write oci:DIR");
        check("oci:", "write oci:DIR");
        check("docker://example.test/x", "`docker:` is not built yet");
        check("oci:x:-bad", "not a tag");
    }
}
