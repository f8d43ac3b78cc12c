//! Image references and names, as far as a recipe must know them.

use super::decode::Complaint;
use super::diagnostic::quote;
use crate::oci::{Digest, ImageReference};

/// Places that hold images, besides registries; each is followed by a path or a name.
const TRANSPORTS: [&str; 7] = [
    "oci:",
    "oci-archive:",
    "docker-archive:",
    "docker-daemon:",
    "podman:",
    "containerd:",
    "containers-storage:",
];

/// Returns whether `text` can only be the name of a file in `images/`: a reference has a `/`, `:` or `@`.
pub(super) fn is_bare_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte))
}

/// Returns whether `text` is one component of a repository's path.
///
/// <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests>
pub(super) fn is_path_component(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut separators = text.split(|c: char| c.is_ascii() && is_word(c as u8)).filter(|it| !it.is_empty());
    let bytes = text.as_bytes();
    bytes.first().copied().is_some_and(is_word)
        && bytes.last().copied().is_some_and(is_word)
        && separators.all(|it| matches!(it, "." | "_" | "__") || it.bytes().all(|byte| byte == b'-'))
}

/// Checks an image reference, or a transport and what follows it.
pub(super) fn check_image(text: &str) -> Result<(), Complaint> {
    if let Some(reference) = text.strip_prefix("docker://") {
        return check_reference(reference);
    }
    match TRANSPORTS.iter().find_map(|transport| text.strip_prefix(transport)) {
        Some("") => Err(Complaint::new(format!("{} names no image", quote(text)))
            .help("write a path after the colon: `oci:out/base`, `oci-archive:base.tar`")),
        Some(_) => Ok(()),
        None => check_reference(text),
    }
}

/// Checks a registry's image: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`.
pub(super) fn check_reference(text: &str) -> Result<(), Complaint> {
    let complaint = || {
        Complaint::new(format!("{} is not an image reference", quote(text)))
            .help("write `[HOST/]NAME[:TAG][@sha256:…]`, for example `ubuntu:24.04`")
    };
    let (named, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
    if digest.is_some_and(|digest| digest.parse::<Digest>().is_err()) {
        return Err(complaint().help("after `@` comes the digest: `sha256:` and 64 hexadecimal digits"));
    }
    if is_reference(named) {
        return Ok(());
    }
    Err(match is_reference(&named.to_ascii_lowercase()) {
        true => complaint().help("the name of an image is lowercase"),
        false => complaint(),
    })
}

fn is_reference(text: &str) -> bool {
    text.parse::<ImageReference>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn knows_references_from_other_text() {
        for text in [
            "ubuntu:24.04",
            "docker://ubuntu",
            "nvidia/cuda:12.5.1-runtime-ubuntu24.04",
            "localhost:5000/a/b",
            "registry.example:443/team/base:v1",
            &format!("ubuntu@{DIGEST}"),
            &format!("ubuntu:24.04@{DIGEST}"),
            "oci:out/base:latest",
            "oci-archive:base.tar",
            "podman:app:dev",
        ] {
            assert!(check_image(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "Ubuntu:24.04",
            "ubuntu:",
            "ubuntu:a b",
            "a//b",
            "ubuntu@sha256:12",
            "oci:",
            "docker://",
            "a.b:x/c",
            "-a",
            "ubuntu:24.04:x",
            "https://example/x",
            "Team/app",
            "ubuntu:ä",
            "localhost:99999/a",
            &format!("a/{}", "b".repeat(255)),
        ] {
            assert!(check_image(text).is_err(), "{text}");
        }
    }

    #[test]
    fn knows_a_repository_path_component() {
        for text in ["a", "colab-like", "a.b_c__d--e", "0"] {
            assert!(is_path_component(text), "{text}");
        }
        for text in ["", "A", "-a", "a-", "a..b", "a___b", "a._b", "a/b", "ä"] {
            assert!(!is_path_component(text), "{text}");
        }
    }
}
