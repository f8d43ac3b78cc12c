//! A job of GitHub Actions: the summary of its step, and annotations beside its run.
//!
//! * <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands>
//! * <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#adding-a-job-summary>

use std::fmt::Display;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use super::ending::{plain_text, platform_name, size};
use super::report::bytes;
use super::screen::{Runner, runner};
use super::text::PrintedText;
use super::{ProgressStyle, findings, summary};
use crate::check::{Level, Report};
use crate::escape::escaped;
use crate::failure::{Context, Failure, Result};
use crate::pipeline::{Built, BuiltImage, CheckFailed};

/// The variable that names the file of a step's summary.
const STEP_SUMMARY: &str = "GITHUB_STEP_SUMMARY";

/// The findings that a summary lists; the others are counted.
const LISTED: usize = 20;

/// Tells the job of an image: its digest and its warnings.
pub(super) fn built(built: &Built, style: ProgressStyle) -> Result<()> {
    if is_annotated(style) {
        built.reports().for_each(|report| findings::annotations(report, Level::Warning).tell());
    }
    append(&of_images(built))
}

/// Tells the job why there is none. What cannot be written is passed over: the job has failed already.
pub(super) fn failed(error: &Failure, style: ProgressStyle) {
    let report = error.downcast_ref().map(|CheckFailed { report }| report);
    if is_annotated(style) {
        match report {
            Some(report) => findings::annotations(report, Level::Warning).tell(),
            None => PrintedText::commands(std::iter::once(annotation(error))).tell(),
        }
    }
    let _ = append(&of_failure(error, report));
}

/// Annotations are lines on standard error, where programs that asked for JSON read nothing else.
fn is_annotated(style: ProgressStyle) -> bool {
    runner() == Runner::GitHub && !matches!(style, ProgressStyle::Json)
}

fn annotation(error: &Failure) -> String {
    let hint = error.hint().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    let text = format!("{}{hint}", plain_text(error));
    let lines: Vec<String> = text.lines().map(|line| escaped(line).replace('%', "%25")).collect();
    format!("::error title=imgforge::{}", lines.join("%0A"))
}

/// Adds to the summary of the step, where there is one.
fn append(text: &PrintedText) -> Result<()> {
    let Some(file) = std::env::var_os(STEP_SUMMARY).filter(|file| !file.is_empty()) else { return Ok(()) };
    let written =
        || File::options().append(true).create(true).open(&file)?.write_all(text.to_string().as_bytes());
    written().with_context(|| format!("could not write the summary `{}`", Path::new(&file).display()))
}

/// Markdown: cells are code, in which nothing of a name is markup.
fn of_images(built: &Built) -> PrintedText {
    let mut out = PrintedText::default();
    let name = built.images.first().map_or("", |built| built.planned.inputs.name.as_str());
    out.line(format_args!("### {}", code(&name)));
    out.blank();
    out.line("| | |");
    out.line("|---|---|");
    out.line(format_args!("| digest | {} |", code(&built.published.descriptor().digest())));
    for image in &built.images {
        let layers = image.image.layers.len();
        let of = of_platform(built, image);
        out.line(format_args!("| size{of} | {} in {layers} layers |", bytes(size(&image.image))));
    }
    for destination in &built.destinations {
        out.line(format_args!("| published | {} |", code(destination)));
    }
    for image in &built.images {
        if let Some(report) = &image.report {
            out.line(format_args!("| check{} | {} |", of_platform(built, image), summary::verdict(report)));
        }
    }
    out.blank();
    built.reports().for_each(|report| list(&mut out, report));
    out
}

/// The platform of an image, where there are several.
fn of_platform(built: &Built, image: &BuiltImage) -> String {
    match built.images.len() {
        1 => String::new(),
        _ => format!(" {}", platform_name(image)),
    }
}

fn of_failure(error: &Failure, report: Option<&Report>) -> PrintedText {
    let mut out = PrintedText::default();
    out.line("### imgforge failed");
    out.blank();
    plain_text(error).lines().for_each(|line| out.line(format_args!("    {line}")));
    out.blank();
    if let Some(hint) = error.hint() {
        out.line(format_args!("    hint: {hint}"));
        out.blank();
    }
    report.into_iter().for_each(|report| list(&mut out, report));
    out
}

/// The errors and warnings, with what to do.
fn list(out: &mut PrintedText, report: &Report) {
    let grave = || report.findings.iter().filter(|finding| finding.level <= Level::Warning);
    for finding in grave().take(LISTED) {
        let level = findings::word(finding.level);
        out.line(format_args!("* **{level}** {}: {}", finding.rule().id(), code(&finding.subject)));
        out.line(format_args!("  {}", code(&finding.seen())));
        out.line(format_args!("  fix: {}", code(&finding.fix())));
    }
    match grave().count() {
        count if count > LISTED => out.line(format_args!("* and {} more", count - LISTED)),
        0 => {}
        _ => out.blank(),
    }
}

/// Text as code, in which nothing is markup.
fn code(text: &dyn Display) -> String {
    format!("`{}`", text.to_string().replace(['`', '|'], "'"))
}
