//! The places of images: where they are read from, and where they are published.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::failure::Hinted;
use crate::oci::{ImageReference, ReferenceError};

/// The name of standard output among files.
pub const STANDARD_OUTPUT: &str = "-";

/// A place where an image is, or will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImagePlace {
    /// `oci:DIR[:TAG]`
    OciLayout {
        /// The layout's directory.
        directory: PathBuf,
        /// The image's tag in the layout.
        tag: Option<String>,
    },
    /// `oci-archive:FILE[:TAG]`; as a destination, `-` is standard output.
    OciArchive {
        /// The archive.
        file: PathBuf,
        /// The image's tag in the archive.
        tag: Option<String>,
    },
    /// `docker-archive:FILE[:TAG]`, as `docker save` writes it; a whole name or `@N` may stand for the tag.
    DockerArchive {
        /// The archive.
        file: PathBuf,
        /// The image's tag in the archive.
        tag: Option<String>,
    },
    /// `docker://REFERENCE`
    Registry(ImageReference),
    /// `docker-daemon:NAME[:TAG]`, `podman:NAME[:TAG]` or `containerd:NAME[:TAG]`
    Engine {
        /// The engine.
        engine: EngineKind,
        /// The image's name in it.
        name: ImageReference,
    },
}

/// A kind of container engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineKind {
    /// The Docker engine.
    Docker,
    /// Podman.
    Podman,
    /// containerd by itself.
    Containerd,
}

impl EngineKind {
    const ALL: [Self; 3] = [Self::Docker, Self::Podman, Self::Containerd];

    /// The word before the colon.
    pub fn transport(self) -> &'static str {
        match self {
            Self::Docker => "docker-daemon",
            Self::Podman => "podman",
            Self::Containerd => "containerd",
        }
    }

    fn of_transport(transport: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.transport() == transport)
    }

    /// The image that `text` names. Podman looks for names without a registry among its own images.
    fn name(self, text: &str) -> Result<ImageReference, ReferenceError> {
        let first = text.split_once('/').map(|(first, _)| first);
        let has_host = first.is_some_and(|first| first.contains(['.', ':']) || first == "localhost");
        match self {
            Self::Podman if !has_host => format!("localhost/{text}").parse(),
            _ => text.parse(),
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Docker => "Docker",
            Self::Podman => "podman",
            Self::Containerd => "containerd",
        })
    }
}

/// Text that names no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum PlaceError {
    #[error("`{text}` is not the place of an image")]
    Unknown { text: String },
    #[error("`{text}` is not a destination")]
    NotADestination { text: String },
    #[error("`{transport}:` is not a kind of place")]
    NotBuilt { transport: String },
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    #[error(
        "`{tag}` is not a valid tag: a tag has at most 128 letters, digits, `_`, `.` and `-`, and begins with none of `.` and `-`"
    )]
    Tag { tag: String },
    #[error("`{text}` has a digest, and that of an image is known only after the build")]
    Digest { text: String },
}

impl Hinted for PlaceError {
    fn hint(&self) -> Option<String> {
        const PLACES: &str = "oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:TAG], docker://HOST/NAME[:TAG], \
            docker-daemon:NAME[:TAG], podman:NAME[:TAG] or containerd:NAME[:TAG]";
        Some(match self {
            Self::Unknown { text } | Self::NotADestination { text } => {
                near_places(text).unwrap_or_else(|| format!("write {PLACES}"))
            }
            Self::NotBuilt { transport } if transport == "docker" => {
                "write docker://HOST/NAME[:TAG] for a registry, docker-daemon:NAME[:TAG] for the Docker engine".into()
            }
            Self::NotBuilt { .. } => format!("write {PLACES}"),
            Self::Reference(_) => "write [HOST/]NAME[:TAG][@sha256:…], the name in lowercase".into(),
            Self::Tag { .. } => "write another tag behind the last colon, such as `v1`".into(),
            Self::Digest { .. } => "write a tag in place of the digest: docker://HOST/NAME:TAG".into(),
        })
    }
}

/// The places that somebody means who writes the name of an image without any.
fn near_places(text: &str) -> Option<String> {
    let is_path = text.is_empty() || text.starts_with(['.', '/']) || text.ends_with(".tar");
    text.parse::<ImageReference>().ok().filter(|_| !is_path)?;
    let first = text.split_once('/').map(|(first, _)| first);
    Some(match first.is_some_and(|first| first.contains(['.', ':']) || first == "localhost") {
        true => format!("write docker://{text}"),
        false => format!(
            "write docker-daemon:{text} or podman:{text} for an engine, docker://HOST/{text} for a registry, or \
             oci:{text} for a directory"
        ),
    })
}

/// Places of other tools, which are no registries of these names.
const NOT_BUILT: [&str; 2] = ["containers-storage", "dir"];

impl ImagePlace {
    /// A name for archives and documents: the last part of the place's, in lowercase.
    pub fn short_name(&self) -> String {
        let path = match self {
            Self::OciLayout { directory, .. } => directory.file_name(),
            Self::OciArchive { file, .. } | Self::DockerArchive { file, .. } => file.file_stem(),
            Self::Registry(name) | Self::Engine { name, .. } => {
                return name.repository().rsplit('/').next().unwrap_or_default().to_owned();
            }
        };
        let stem = path.unwrap_or_default().to_string_lossy().to_lowercase();
        let is_usual = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let usual: String = stem.chars().map(|c| if is_usual(c) { c } else { '-' }).collect();
        match usual.trim_matches('-') {
            "" => "image".to_owned(),
            name => name.to_owned(),
        }
    }

    /// The short name of an image in a registry or an engine with its tag, `app:v1`; of others the short name alone.
    pub fn short_name_with_tag(&self) -> String {
        let tag = match self {
            Self::Registry(name) | Self::Engine { name, .. } => name.tag(),
            Self::OciLayout { .. } | Self::OciArchive { .. } | Self::DockerArchive { .. } => None,
        };
        tag.map_or_else(|| self.short_name(), |tag| format!("{}:{tag}", self.short_name()))
    }

    /// An archive with the whole name of its image, `FILE.tar:team/app:v1`, as skopeo writes it.
    fn with_name_of_archive(self) -> Result<Self, PlaceError> {
        const END: &str = ".tar:";
        let split = |file: PathBuf, tag: Option<String>| {
            let Some((path, name)) = file.to_str().and_then(|text| text.split_once(END)) else {
                return Ok((file, tag));
            };
            let name = tag.map_or_else(|| name.to_owned(), |tag| format!("{name}:{tag}"));
            name.parse::<ImageReference>()?;
            Ok::<_, PlaceError>((PathBuf::from(format!("{path}.tar")), Some(name)))
        };
        Ok(match self {
            Self::OciArchive { file, tag } => {
                let (file, tag) = split(file, tag)?;
                Self::OciArchive { file, tag }
            }
            Self::DockerArchive { file, tag } => {
                let (file, tag) = split(file, tag)?;
                Self::DockerArchive { file, tag }
            }
            place => place,
        })
    }

    /// The destination that `text` names: its transport is written out.
    pub fn destination(text: &str) -> Result<Self, PlaceError> {
        if let Some((transport @ "docker", rest)) = text.split_once(':')
            && !rest.starts_with("//")
        {
            return Err(PlaceError::NotBuilt { transport: transport.to_owned() });
        }
        let place: Self = match text.parse() {
            Err(PlaceError::Unknown { text }) => return Err(PlaceError::NotADestination { text }),
            place => place?,
        };
        let place = place.with_name_of_archive()?;
        match &place {
            Self::Registry(_) if place.is_bare(text) => {
                Err(PlaceError::NotADestination { text: text.to_owned() })
            }
            Self::Registry(name) | Self::Engine { name, .. } if name.digest().is_some() => {
                Err(PlaceError::Digest { text: text.to_owned() })
            }
            Self::Registry(_) | Self::Engine { .. } => Ok(place),
            _ if text.ends_with(':') => Err(PlaceError::Tag { tag: String::new() }),
            Self::OciLayout { tag, .. } | Self::OciArchive { tag, .. } | Self::DockerArchive { tag, .. } => {
                let bare = tag.as_deref().filter(|tag| !tag.contains([':', '/']));
                bare.map_or(Ok(()), check_tag).map(|()| place)
            }
        }
    }

    /// Returns whether `text`, which names this place, is a reference without its transport.
    pub fn is_bare(&self, text: &str) -> bool {
        matches!(self, Self::Registry(_)) && !text.starts_with("docker://")
    }

    /// The file or directory of this machine that it is, where it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::OciLayout { directory: path, .. }
            | Self::OciArchive { file: path, .. }
            | Self::DockerArchive { file: path, .. } => Some(path),
            Self::Registry(_) | Self::Engine { .. } => None,
        }
    }

    /// Returns whether an image that is published here goes to standard output, where nothing else may be printed then.
    pub fn is_standard_output(&self) -> bool {
        let names = [STANDARD_OUTPUT, "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];
        match self {
            Self::OciArchive { file, .. } | Self::DockerArchive { file, .. } => {
                names.iter().any(|name| file == Path::new(name))
            }
            Self::OciLayout { .. } | Self::Registry(_) | Self::Engine { .. } => false,
        }
    }
}

/// <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests>
fn check_tag(tag: &str) -> Result<(), PlaceError> {
    let first = tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let rest = tag.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    match first && rest && tag.len() <= 128 {
        true => Ok(()),
        false => Err(PlaceError::Tag { tag: tag.to_owned() }),
    }
}

/// Returns whether `text` can be a reference without a transport: one with a tag, a digest or a host. Others are rather
/// paths whose transport was forgotten.
fn is_bare_reference(text: &str) -> bool {
    let (first, rest) = text.split_once('/').map_or((text, None), |(first, rest)| (first, Some(rest)));
    let has_host = rest.is_some() && (first.contains(['.', ':']) || first == "localhost");
    let name = text.rsplit('/').next().unwrap_or(text);
    !first.is_empty() && first != "." && first != ".." && (has_host || name.contains([':', '@']))
}

impl FromStr for ImagePlace {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let unknown = || PlaceError::Unknown { text: text.to_owned() };
        if let Some(reference) = text.strip_prefix("docker://") {
            return Ok(Self::Registry(reference.parse()?));
        }
        let (transport, rest) = text.split_once(':').unwrap_or((text, ""));
        if let Some(engine) = EngineKind::of_transport(transport).filter(|_| !rest.is_empty()) {
            return Ok(Self::Engine { engine, name: engine.name(rest)? });
        }
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') && !tag.is_empty() => (path, Some(tag.to_owned())),
            _ => (rest, None),
        };
        match transport {
            "oci" | "oci-archive" | "docker-archive" if path.is_empty() => Err(unknown()),
            "oci" => Ok(Self::OciLayout { directory: path.into(), tag }),
            "oci-archive" => Ok(Self::OciArchive { file: path.into(), tag }),
            "docker-archive" => Ok(Self::DockerArchive { file: path.into(), tag }),
            _ if NOT_BUILT.contains(&transport) && !rest.is_empty() => {
                Err(PlaceError::NotBuilt { transport: transport.to_owned() })
            }
            _ if is_bare_reference(text) => text.parse().map(Self::Registry).map_err(|_| unknown()),
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
            Self::Registry(reference) => return write!(f, "docker://{reference}"),
            Self::Engine { engine, name } => return write!(f, "{}:{name}", engine.transport()),
        };
        write!(f, "{transport}:{}", path.display())?;
        tag.iter().try_for_each(|tag| write!(f, ":{tag}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(place: Result<ImagePlace, PlaceError>) -> String {
        match place {
            Ok(place) => format!("{place} {place:?}"),
            Err(error) => format!("{error}; {}", error.hint().unwrap()),
        }
    }

    fn check(text: &str, expected: &str) {
        let shown = shown(text.parse());
        assert!(shown.contains(expected), "{shown}");
    }

    fn check_destination(text: &str, expected: &str) {
        let shown = shown(ImagePlace::destination(text));
        assert!(shown.contains(expected), "{shown}");
    }

    #[test]
    fn reads_every_transport_with_and_without_a_tag() {
        check("oci:out/x", r#"oci:out/x OciLayout { directory: "out/x", tag: None }"#);
        check("oci-archive:a.tar:1.0", r#"OciArchive { file: "a.tar", tag: Some("1.0") }"#);
        check("docker-archive:/a:b/c.tar", r#"DockerArchive { file: "/a:b/c.tar", tag: None }"#);
        check("docker-archive:c.tar:latest", r#"DockerArchive { file: "c.tar", tag: Some("latest") }"#);
        check("docker://registry.test/a/b", "docker://registry.test/a/b:latest Registry(");
    }

    #[test]
    fn a_reference_without_a_transport_has_a_tag_a_digest_or_a_host() {
        check("registry.test/a:v1", "docker://registry.test/a:v1 Registry");
        check("localhost:5000/a", "docker://localhost:5000/a:latest Registry");
        check("python:3.12-slim", "/library/python:3.12-slim Registry");
        check("nvidia/cuda:12.8.1-base", "/nvidia/cuda:12.8.1-base Registry");
        check("nvidia/cuda", "is not the place of an image");
    }

    #[test]
    fn says_what_is_no_place() {
        for text in ["", "oci:", "c.tar", "oci::x", "./x:y", "../a.b/c:d", "/srv/x:y"] {
            check(text, "is not the place of an image; write oci:DIR");
        }
        check("containers-storage:x", "`containers-storage:` is not a kind of place; write oci:DIR");
        check("docker://A/b", "is not an image reference; write [HOST/]NAME");
        check("docker-daemon:", "is not the place of an image");
        check("docker-daemon:A", "is not an image reference");
    }

    #[test]
    fn engines_name_images_as_they_do_themselves() {
        check("docker-daemon:app", "/library/app:latest Engine { engine: Docker");
        check("containerd:team/app:v1", "/team/app:v1 Engine { engine: Containerd");
        check("podman:team/app:v1", "podman:localhost/team/app:v1 Engine { engine: Podman");
        check("podman:registry.test/app", "podman:registry.test/app:latest Engine");
        check("podman:localhost:5000/app", "podman:localhost:5000/app:latest Engine");
        check_destination("docker-daemon:registry.test/app:v1", "docker-daemon:registry.test/app:v1");
        let digest = crate::oci::Digest::of("x");
        check_destination(&format!("docker-daemon:app@{digest}"), "has a digest");
    }

    #[test]
    fn a_destination_has_a_transport_and_a_tag_that_is_one() {
        check_destination("oci:out/x", r#"OciLayout { directory: "out/x", tag: None }"#);
        check_destination("oci:/a:b/c", r#"OciLayout { directory: "/a:b/c", tag: None }"#);
        check_destination(
            "oci-archive:/tmp/a.tar:1.0",
            r#"OciArchive { file: "/tmp/a.tar", tag: Some("1.0") }"#,
        );
        check_destination("docker://registry.test/a:v1", "docker://registry.test/a:v1");
        check_destination("registry.test/a:v1", "is not a destination; write docker://registry.test/a:v1");
        check_destination(
            "out/x",
            "`out/x` is not a destination; write docker-daemon:out/x or podman:out/x for an engine",
        );
        check_destination("oci:", "write oci:DIR");
        check_destination("docker:x", "`docker:` is not a kind of place");
        check_destination("oci:x:-bad", "not a valid tag");
        check_destination("oci-archive:y.tar:app:v7", r#"OciArchive { file: "y.tar", tag: Some("app:v7") }"#);
        check_destination(
            "docker-archive:a/y.tar:team/app",
            r#"DockerArchive { file: "a/y.tar", tag: Some("team/app") }"#,
        );
        check_destination("docker-archive:y.tar:v7", r#"DockerArchive { file: "y.tar", tag: Some("v7") }"#);
        check_destination("docker-archive:y.tar:App:v7", "is not an image reference");
        check_destination("oci:x:", "not a valid tag");
        let digest = crate::oci::Digest::of("x");
        check_destination(&format!("docker://registry.test/a@{digest}"), "has a digest");
    }

    #[test]
    fn archives_are_named_after_the_place() {
        let check = |place: &str, expected: &str| {
            assert_eq!(place.parse::<ImagePlace>().unwrap().short_name(), expected);
        };
        check("oci:/srv/My Image:v1", "my-image");
        check("oci-archive:/srv/app.tar", "app");
        check("docker://registry.test/team/app:v1", "app");
        check("docker-daemon:app", "app");
        check("oci:/", "image");
    }
}
