//! The names of images that are files or directories.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::failure::Hinted;

/// A place where an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImagePlace {
    /// `oci:DIR[:TAG]`
    OciLayout {
        /// The layout's directory.
        directory: PathBuf,
        /// The image's tag in the layout.
        tag: Option<String>,
    },
    /// `oci-archive:FILE[:TAG]`
    OciArchive {
        /// The archive.
        file: PathBuf,
        /// The image's tag in the archive.
        tag: Option<String>,
    },
    /// `docker-archive:FILE[:TAG]`, as `docker save` writes it.
    DockerArchive {
        /// The archive.
        file: PathBuf,
        /// The image's tag in the archive.
        tag: Option<String>,
    },
}

/// Text that names no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the place of an image")]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub struct PlaceError {
    text: String,
}

impl Hinted for PlaceError {
    fn hint(&self) -> Option<String> {
        Some("write oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:TAG]".into())
    }
}

impl FromStr for ImagePlace {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let unknown = || PlaceError { text: text.to_owned() };
        let (transport, rest) = text.split_once(':').ok_or_else(unknown)?;
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') && !tag.is_empty() => (path, Some(tag.to_owned())),
            _ => (rest, None),
        };
        match transport {
            _ if path.is_empty() => Err(unknown()),
            "oci" => Ok(Self::OciLayout { directory: path.into(), tag }),
            "oci-archive" => Ok(Self::OciArchive { file: path.into(), tag }),
            "docker-archive" => Ok(Self::DockerArchive { file: path.into(), tag }),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for ImagePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (transport, path, tag) = match self {
            Self::OciLayout { directory, tag } => ("oci", directory, tag),
            Self::OciArchive { file, tag } => ("oci-archive", file, tag),
            Self::DockerArchive { file, tag } => ("docker-archive", file, tag),
        };
        write!(f, "{transport}:{}", path.display())?;
        tag.iter().try_for_each(|tag| write!(f, ":{tag}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let shown = match text.parse::<ImagePlace>() {
            Ok(place) => format!("{place} {place:?}"),
            Err(error) => error.to_string(),
        };
        assert!(shown.contains(expected), "{shown}");
    }

    #[test]
    fn reads_every_transport_with_and_without_a_tag() {
        check("oci:out/x", r#"oci:out/x OciLayout { directory: "out/x", tag: None }"#);
        check("oci-archive:a.tar:1.0", r#"OciArchive { file: "a.tar", tag: Some("1.0") }"#);
        check("docker-archive:/a:b/c.tar", r#"DockerArchive { file: "/a:b/c.tar", tag: None }"#);
        check("docker-archive:c.tar:latest", r#"DockerArchive { file: "c.tar", tag: Some("latest") }"#);
    }

    #[test]
    fn says_what_is_no_place() {
        for text in ["", "oci:", "c.tar", "oci::x", "tar:c.tar"] {
            check(text, "is not the place of an image");
        }
    }
}
