//! References of images in registries, as docker reads them.
//!
//! <https://github.com/distribution/reference>

use std::fmt;
use std::str::FromStr;

use oci_spec::distribution::Reference;

use super::Digest;

/// An image in a registry: by its tag, or by its digest, which holds where there are both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageReference {
    name: Reference,
    digest: Option<Digest>,
}

/// Text that is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an image reference")]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub struct ReferenceError {
    text: String,
}

impl ImageReference {
    /// The registry by its name in references.
    pub fn registry(&self) -> &str {
        self.name.registry()
    }

    /// The registry's host, with its port where it has one. It differs from the name for the registry that is meant where a
    /// reference names none.
    pub fn host(&self) -> &str {
        self.name.resolve_registry()
    }

    /// The path of the repository in its registry.
    pub fn repository(&self) -> &str {
        self.name.repository()
    }

    /// The tag; `latest` where neither tag nor digest was written.
    pub fn tag(&self) -> Option<&str> {
        self.name.tag()
    }

    /// The digest of the image's manifest or index.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same name without a digest.
    pub fn without_digest(self) -> Self {
        Self { digest: None, ..self }
    }

    /// The same name with this tag, and without a digest.
    pub fn with_tag(&self, tag: &str) -> Self {
        let (registry, repository) = (self.registry().to_owned(), self.repository().to_owned());
        Self { name: Reference::with_tag(registry, repository, tag.to_owned()), digest: None }
    }

    /// The same name, with this digest.
    pub fn with_digest(self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self }
    }
}

/// oci-spec takes letters of any script in a tag, any number as a port, and capitals before the first `/`, which registries
/// refuse.
fn is_usable(name: &Reference) -> bool {
    let port = name.registry().rsplit_once(':').map(|(_, port)| port);
    let is_lowercase = !name.repository().bytes().any(|byte| byte.is_ascii_uppercase());
    is_lowercase && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

impl FromStr for ImageReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let wrong = || ReferenceError { text: text.to_owned() };
        let name: Reference = text.parse().ok().filter(|_| text.is_ascii()).ok_or_else(wrong)?;
        let digest = name.digest().map(Digest::from_str).transpose().map_err(|_| wrong())?;
        match is_usable(&name) {
            true => Ok(Self { name, digest }),
            false => Err(wrong()),
        }
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry(), self.repository())?;
        self.tag().iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let shown = match text.parse::<ImageReference>() {
            Ok(read) => {
                format!("{} {} {:?} {:?}", read.registry(), read.repository(), read.tag(), read.digest())
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn names_are_read_as_docker_reads_them() {
        let digest = Digest::of("a manifest");
        check("localhost:5000/a/b", "localhost:5000 a/b Some(\"latest\") None");
        check("registry.test/a:v1", "registry.test a Some(\"v1\") None");
        check(&format!("registry.test/a@{digest}"), &format!("registry.test a None Some({digest})"));
        check(
            &format!("registry.test/a:v1@{digest}"),
            &format!("registry.test a Some(\"v1\") Some({digest})"),
        );
        for text in
            ["", "registry.test/A", "localhost:99999/a", "registry.test/a:", "registry.test/a:\u{e4}", "a//b"]
        {
            check(text, &format!("`{text}` is not an image reference"));
        }
        let sha512 = format!("registry.test/a@sha512:{}", "0".repeat(128));
        check(&sha512, &format!("`{sha512}` is not an image reference"));
    }

    #[test]
    fn a_name_without_a_registry_is_of_the_default_one() {
        let official: ImageReference = "python:3.12-slim".parse().unwrap();
        let named: ImageReference =
            format!("{}/library/python:3.12-slim", official.registry()).parse().unwrap();
        assert_eq!(official, named);
        assert_eq!(official.to_string(), format!("{}/library/python:3.12-slim", official.registry()));
        assert_ne!(official.host(), official.registry());
        let owned: ImageReference = "nvidia/cuda".parse().unwrap();
        assert_eq!((owned.registry(), owned.repository()), (official.registry(), "nvidia/cuda"));
    }
}
