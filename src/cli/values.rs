//! The values of arguments, and the reasons why a text is none.

use std::path::Path;

use crate::failure::Hinted;
use crate::oci::{Architecture, ImageReference};
use crate::pipeline::Side;
use crate::place::{ImagePlace, PlaceError};

/// The place of an image on the command line, or why the text is none.
pub(super) fn place(text: &str) -> Result<ImagePlace, String> {
    let place: Result<ImagePlace, PlaceError> = text.parse();
    match place {
        Ok(place) if !place.is_bare(text) => Ok(place),
        _ if Path::new(text).is_dir() => {
            Err(format!("`{text}` is a directory: write oci:{text}, if it is an OCI layout"))
        }
        _ if Path::new(text).exists() && is_recipe(text) => Err(format!(
            "`{text}` is no image: build it, `imgforge build {text} -o oci:DIR`, and name oci:DIR"
        )),
        _ if Path::new(text).exists() => Err(format!(
            "`{text}` is a file: write oci-archive:{text} or docker-archive:{text}, as it was saved"
        )),
        place => place.map_err(|error| no_place(&error)),
    }
}

/// Returns whether a file is a recipe, by its name.
fn is_recipe(text: &str) -> bool {
    [".yaml", ".yml"].iter().any(|end| text.ends_with(end))
}

/// The host of a registry on the command line, or why the text is none.
pub(super) fn registry_host(text: &str) -> Result<String, String> {
    match text.contains(['/', '@', ' ']) || text.is_empty() {
        false => Ok(text.to_owned()),
        true => Err("write HOST or HOST:PORT, without a scheme and a path: registry.example:5000".to_owned()),
    }
}

/// A destination on the command line, or why the text is none.
pub(super) fn destination(text: &str) -> Result<ImagePlace, String> {
    ImagePlace::destination(text).map_err(|error| no_place(&error))
}

/// A cache in a registry, or why the text is none: a repository, without a tag.
pub(super) fn cache_place(text: &str) -> Result<ImageReference, String> {
    let wrong =
        || "write docker://HOST/REPOSITORY, without a tag: the tags are the keys of what is kept".to_owned();
    let name = text.strip_prefix("docker://").ok_or_else(wrong)?;
    let has_tag = name.rsplit('/').next().is_some_and(|last| last.contains([':', '@']));
    name.parse().ok().filter(|_| !has_tag).ok_or_else(wrong)
}

/// An annotation on the command line, or why the text is none.
pub(super) fn annotation(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

/// An architecture on the command line: `linux/arm64`, as docker names platforms.
pub(super) fn platform(text: &str) -> Result<Architecture, String> {
    let architecture = text.strip_prefix("linux/").unwrap_or(text);
    architecture.parse().map_err(|_| "write linux/amd64 or linux/arm64".to_owned())
}

/// A side of a comparison, or why the text is none.
pub(super) fn side(text: &str) -> Result<Side, String> {
    Side::of(text).map_err(|error| no_place(&error))
}

fn no_place(error: &PlaceError) -> String {
    let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
    format!("{error}{hint}")
}
