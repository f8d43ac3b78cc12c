//! The end of a command: what was made, or why it failed, for people and for the programs that read `--progress json`.

use std::path::Path;

use serde_json::{Value, json};

use super::files::write_file;
use super::options::page;
use super::progress::event;
use super::screen::OutputStream;
use super::text::{Page, View, print, tell, tell_line};
use super::{ProgressStyle, changes, findings, listing};
use crate::check::Level;
use crate::failure::{Failure, Result};
use crate::image::{Image, PublishedImage};
use crate::oci::Digest;
use crate::pipeline::{Built, BuiltImage, CheckFailed, InputError, LockWriting, Locked};
use crate::place::ImagePlace;
use crate::recipe::Color;

/// Tells of a finished build.
pub(super) fn built(built: &Built, style: ProgressStyle, view: View) {
    match style {
        ProgressStyle::Json => event(&built_event(built)),
        _ => {
            listing::built(built, view).tell();
            built.reports().for_each(|report| findings::listed(report, Level::Warning, view.page).tell());
        }
    }
}

fn built_event(built: &Built) -> Value {
    let mut event = match &built.images[..] {
        [only] => image_event(only),
        images => {
            let platforms = images.iter().map(|image| (platform_name(image).to_owned(), image_event(image)));
            json!({ "platforms": Value::from_iter(platforms) })
        }
    };
    event["event"] = "built".into();
    event["digest"] = built.published.descriptor().digest().to_string().into();
    event["destinations"] = built.destinations.iter().map(ToString::to_string).collect();
    event
}

fn image_event(built: &BuiltImage) -> Value {
    let count = |level| built.report.as_ref().map(|report| report.count(level));
    json!({
        "digest": built.image.manifest.digest(),
        "layers": built.image.layers.len(),
        "bytes": size(&built.image),
        "warnings": count(Level::Warning),
        "notes": count(Level::Note),
    })
}

pub(super) fn platform_name(built: &BuiltImage) -> &'static str {
    built.image.architecture.platform()
}

pub(super) fn size(image: &Image) -> u64 {
    image.layers.iter().map(|layer| layer.size).sum()
}

/// Prints an image's digest, where the image does not go itself; a program that reads the progress has it from there.
pub(super) fn print_digest(digest: Digest, destinations: &[ImagePlace], style: ProgressStyle) -> Result<()> {
    let is_taken = destinations.iter().any(ImagePlace::is_standard_output);
    if !is_taken {
        return print(&format!("{digest}\n"));
    }
    tell_digest(digest, style);
    Ok(())
}

/// Tells an image's digest beside what is printed.
pub(super) fn tell_digest(digest: Digest, style: ProgressStyle) {
    match style {
        ProgressStyle::Json => {}
        ProgressStyle::Auto | ProgressStyle::Plain => tell_line(digest),
    }
}

/// Tells of a lock that was written, or agrees.
pub(super) fn locked(locked: &Locked, style: ProgressStyle, page: Page) {
    match style {
        ProgressStyle::Json => event(&json!({
            "event": "locked",
            "path": locked.path.display().to_string(),
            "written": locked.changed && locked.writing == LockWriting::Write,
            "changed": locked.changed,
            "changes": locked.locks.iter().map(|lock| lock.changes.len()).sum::<usize>(),
        })),
        _ => changes::locked(locked, page).tell(),
    }
}

/// The document of `--metadata-file`, with the keys that buildx has.
///
/// <https://docs.docker.com/reference/cli/docker/buildx/build/#metadata-file>
pub(super) fn write_metadata(file: &Path, image: &PublishedImage, destinations: &[ImagePlace]) -> Result<()> {
    let metadata = metadata(image, destinations);
    write_file(file, format!("{metadata:#}\n"))
}

fn metadata(image: &PublishedImage, destinations: &[ImagePlace]) -> Value {
    let name = |place: &ImagePlace| match place {
        ImagePlace::Registry(name) | ImagePlace::Engine { name, .. } => Some(name.to_string()),
        ImagePlace::OciLayout { .. } | ImagePlace::OciArchive { .. } | ImagePlace::DockerArchive { .. } => {
            None
        }
    };
    let names: Vec<String> = destinations.iter().filter_map(name).collect();
    let mut metadata = json!({
        "containerimage.descriptor": image.descriptor(),
        "containerimage.digest": image.descriptor().digest(),
    });
    // An index has none, and several images have several.
    if let PublishedImage::Single(image) = image {
        metadata["containerimage.config.digest"] = image.config.digest().to_string().into();
    }
    if !names.is_empty() {
        metadata["image.name"] = names.join(",").into();
    }
    metadata
}

/// Tells why a command failed.
pub(super) fn failed(error: &Failure, style: ProgressStyle, color: bool) {
    match style {
        ProgressStyle::Json => event(&error_event(error)),
        _ => {
            print_findings(error);
            print_error(error, color);
        }
    }
}

/// The message without colours, with every problem of a recipe at its place.
pub(super) fn plain_text(error: &Failure) -> String {
    match error.downcast_ref() {
        Some(InputError::Diagnostics { problems }) => problems.render(Color::Plain).trim_end().to_owned(),
        _ => error.lines().join("\n"),
    }
}

fn error_event(error: &Failure) -> Value {
    let text = plain_text(error);
    let findings = error.downcast_ref().map(|CheckFailed { report }| findings::document(report));
    json!({ "event": "error", "text": text, "hint": error.hint(), "findings": findings })
}

/// Prints the findings of the check of a built image.
fn print_findings(error: &Failure) {
    if let Some(CheckFailed { report }) = error.downcast_ref() {
        findings::told_of_build(report, page(OutputStream::Error, false)).tell();
    }
}

fn print_error(error: &Failure, color: bool) {
    if let Some(InputError::Diagnostics { problems }) = error.downcast_ref() {
        let shown = problems.render(if color { Color::Ansi } else { Color::Plain });
        return tell(&format!("{}\n", shown.trim_end()));
    }
    let (red, reset) = if color { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
    tell(&format!("{red}error{reset}: "));
    error.lines().iter().for_each(tell_line);
    if let Some(hint) = error.hint() {
        tell_line(format_args!("hint: {hint}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image;
    use crate::oci::{Architecture, Digest};

    #[test]
    fn metadata_has_the_keys_of_buildx() {
        let image = image::taken_over(Architecture::Amd64, b"{}".to_vec(), None, Vec::new()).unwrap();
        let places = ["oci:out", "docker://registry.test/team/app:v1", "podman:app"];
        let places: Vec<ImagePlace> = places.iter().map(|place| place.parse().unwrap()).collect();
        let metadata = metadata(&image.clone().into(), &places);
        assert_eq!(metadata["containerimage.digest"], image.manifest.digest().to_string());
        assert_eq!(metadata["containerimage.config.digest"], Digest::of("{}").to_string());
        assert_eq!(metadata["containerimage.descriptor"]["platform"]["architecture"], "amd64");
        assert_eq!(metadata["image.name"], "registry.test/team/app:v1,localhost/app:latest");
    }
}
