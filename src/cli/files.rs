//! The files that commands write beside their images.

use std::io;
use std::path::Path;

use crate::failure::{Context, Failure, Result};
use crate::pipeline::{self, Inspected};
use crate::place::ImagePlace;

/// Writes or updates the description of a base.
pub(super) fn record_inventory(file: &Path, image: &ImagePlace, inspected: &Inspected) -> Result<()> {
    if matches!(image, ImagePlace::Engine { .. }) {
        let message = format!("a description cannot name `{image}`: other machines have other engines");
        return Err(Failure::advised(
            message,
            "write it in the recipe, `base: docker-daemon:NAME:TAG`; or record the inventory of the registry's image, or of an archive",
        ));
    }
    let written = match std::fs::read_to_string(file) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| format!("could not read `{}`", file.display())),
    };
    write_file(file, pipeline::describe(file, written.as_deref(), image, inspected))
}

/// Writes a text.
pub(super) fn write_file(file: &Path, text: String) -> Result<()> {
    write_bytes(file, text.as_bytes())
}

/// Writes a file, in place of whatever is there.
pub(super) fn write_bytes(file: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(file, bytes).map_err(|error| {
        Failure::advised(
            format!("could not write `{}`: {error}", file.display()),
            "name a file in an existing directory that you can write to",
        )
    })
}
