//! The end of a command: what was made, or why it failed, for people and for the programs that read `--progress json`.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::progress::event;
use super::report::bytes;
use super::text::{Page, PrintedText, View, tell, tell_line};
use super::{ProgressStyle, changes, findings, listing, summary, write_file};
use crate::check::Level;
use crate::failure::{Context, Failure, Result};
use crate::image::{Image, PublishedImage};
use crate::pipeline::{Built, BuiltImage, CheckFailed, InputError, LockWriting, Locked};
use crate::place::ImagePlace;
use crate::recipe::Color;

/// The variable by which GitHub Actions names the file of a step's summary.
const STEP_SUMMARY: &str = "GITHUB_STEP_SUMMARY";

/// Tells of a finished build.
pub(super) fn built(built: &Built, style: ProgressStyle, view: View) {
    match style {
        ProgressStyle::Json => event(&built_event(built)),
        _ => listing::built(built, view).tell(),
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

fn platform_name(built: &BuiltImage) -> &'static str {
    built.image.architecture.platform()
}

fn size(image: &Image) -> u64 {
    image.layers.iter().map(|layer| layer.size).sum()
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

/// Adds the image to the summary of a step of GitHub Actions, where there is one.
pub(super) fn summarize(built: &Built) -> Result<()> {
    let Some(file) = std::env::var_os(STEP_SUMMARY).filter(|file| !file.is_empty()) else { return Ok(()) };
    let append = || {
        File::options()
            .append(true)
            .create(true)
            .open(&file)?
            .write_all(step_summary(built).to_string().as_bytes())
    };
    append().with_context(|| format!("could not write the summary `{}`", Path::new(&file).display()))
}

/// Markdown: cells are code, in which nothing of a name is markup.
fn step_summary(built: &Built) -> PrintedText {
    let mut out = PrintedText::default();
    let cell = |text: &dyn std::fmt::Display| format!("`{}`", text.to_string().replace(['`', '|'], "'"));
    let name = built.images.first().map_or("", |built| built.planned.inputs.name.as_str());
    out.line(format_args!("### {}", cell(&name)));
    out.blank();
    out.line("| | |");
    out.line("|---|---|");
    out.line(format_args!("| digest | {} |", cell(&built.published.descriptor().digest())));
    for image in &built.images {
        let layers = image.image.layers.len();
        let of = of_platform(built, image);
        out.line(format_args!("| size{of} | {} in {layers} layers |", bytes(size(&image.image))));
    }
    for destination in &built.destinations {
        out.line(format_args!("| published | {} |", cell(destination)));
    }
    for image in &built.images {
        if let Some(report) = &image.report {
            out.line(format_args!("| check{} | {} |", of_platform(built, image), summary::verdict(report)));
        }
    }
    out.blank();
    out
}

/// The platform of an image, where there are several.
fn of_platform(built: &Built, image: &BuiltImage) -> String {
    match built.images.len() {
        1 => String::new(),
        _ => format!(" {}", platform_name(image)),
    }
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

fn error_event(error: &Failure) -> Value {
    let text = match error.downcast_ref() {
        Some(InputError::Diagnostics { problems }) => problems.render(Color::Plain).trim_end().to_owned(),
        _ => error.lines().join("\n"),
    };
    let findings = error.downcast_ref().map(|CheckFailed { report }| findings::document(report));
    json!({ "event": "error", "text": text, "hint": error.hint(), "findings": findings })
}

/// Prints the findings of the check of a built image.
fn print_findings(error: &Failure) {
    if let Some(CheckFailed { report }) = error.downcast_ref() {
        findings::table(report).tell();
        tell("\n");
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
