//! The problems of a text, each at its place, for people and for machines.

use std::fmt;
use std::sync::Arc;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Origin, Renderer, Snippet};
use serde::Serialize;

use super::source::{SourceText, Span};
use crate::escape::{self, escaped, is_visible};
use crate::failure::{Fault, Hinted};

/// More problems than this are counted, not kept: memory stays bounded.
const KEPT: usize = 100;
/// More problems than this are counted, not shown: nobody reads them.
const MOST_SHOWN: usize = 10;

/// One thing wrong at one place, before it is tied to a [`SourceText`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    severity: Severity,
    message: String,
    span: Span,
    label: Option<String>,
    related: Option<(Span, String)>,
    help: Option<String>,
}

impl Problem {
    /// An error at `span`; `message` is one sentence without a full stop.
    pub fn error(span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, span, message.into())
    }

    /// Something the user should know of that stops nothing.
    pub fn warning(span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, span, message.into())
    }

    fn new(severity: Severity, span: Span, message: String) -> Self {
        Self { severity, message, span, label: None, related: None, help: None }
    }

    /// Says beside the underline what is wrong with the underlined text.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Points at a second place.
    #[must_use]
    pub fn related(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related = Some((span, label.into()));
        self
    }

    /// Says what the user can do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn locate(self, source: &SourceText) -> Diagnostic {
        let label = |span, text: String| {
            let span = source.first_line(span);
            let (line, column) = source.position(span.start);
            Label { span, line, column, text: printable(&text) }
        };
        let primary = label(self.span, self.label.unwrap_or_default());
        Diagnostic {
            severity: self.severity,
            message: printable(&self.message),
            file: printable(source.origin(self.span.start)),
            span: primary.span,
            line: primary.line,
            column: primary.column,
            label: Some(primary.text).filter(|text| !text.is_empty()),
            // One excerpt shows both places: they are of one file.
            related: self
                .related
                .filter(|(span, _)| source.is_one_file(self.span.start, span.start))
                .map(|(span, text)| label(span, text)),
            help: self.help.as_deref().map(printable),
        }
    }
}

/// The severity of a [`Diagnostic`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It must be mended.
    Error,
    /// It should be mended.
    Warning,
}

/// One thing wrong, as data: what `--json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Its severity.
    pub severity: Severity,
    /// One sentence without a full stop.
    pub message: String,
    /// The file's name as the user gave it, control characters escaped as in every text here.
    pub file: String,
    /// The bytes meant, within one line.
    pub span: Span,
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// The label of the bytes at `span`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Another place that takes part, such as the first of two equal keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub related: Option<Label>,
    /// Advice for the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// A place and what to say about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Label {
    /// The bytes that it is about.
    pub span: Span,
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// The text of the label.
    pub text: String,
}

/// Every problem of one text, in its order; as an error it says how many, [`Diagnostics::render`] shows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    source: Arc<SourceText>,
    problems: Vec<Diagnostic>,
    omitted: usize,
    shows_text: bool,
}

impl Diagnostics {
    /// One problem in `source`, whose spans parsing the same text gave.
    pub fn one(source: &Arc<SourceText>, problem: Problem) -> Self {
        let mut problems = Problems::default();
        problems.push(problem);
        problems.into_diagnostics(source)
    }

    /// The same places with nothing of the text, which its reader need not be allowed to see: neither excerpts nor messages,
    /// which quote it.
    #[must_use]
    pub fn without_text(mut self) -> Self {
        for problem in &mut self.problems {
            problem.message = "this line cannot be read; its text is not shown, as the file is outside of the recipe's directory".to_owned();
            (problem.label, problem.related, problem.help) = (None, None, None);
        }
        self.shows_text = false;
        self
    }

    /// The problems, in the order of the text; never empty.
    pub fn problems(&self) -> &[Diagnostic] {
        &self.problems
    }

    /// The problems as a terminal shows them: message, place, source line, underline, help.
    pub fn render(&self, color: Color) -> String {
        let renderer = match color {
            Color::Plain => Renderer::plain(),
            Color::Ansi => Renderer::styled(),
        }
        .decor_style(DecorStyle::Ascii);
        let report = |problem| match self.shows_text {
            true => renderer.render(&[self.group(problem)]),
            false => renderer.render(&[place(problem)]),
        };
        let mut reports: Vec<String> = self.problems.iter().take(MOST_SHOWN).map(report).collect();
        let more = self.problems.len().saturating_sub(MOST_SHOWN) + self.omitted;
        match more {
            0 => {}
            1 => reports.push("and 1 more problem".to_owned()),
            more => reports.push(format!("and {more} more problems")),
        }
        reports.join("\n\n") + "\n"
    }

    fn group<'a>(&'a self, problem: &'a Diagnostic) -> annotate_snippets::Group<'a> {
        let places = || std::iter::once(problem.span).chain(problem.related.iter().map(|other| other.span));
        let window = self.window(places());
        let range = |span: Span| span.start - window.start..span.end - window.start;
        let related = problem
            .related
            .iter()
            .map(|other| AnnotationKind::Context.span(range(other.span)).label(&other.text));
        let primary = AnnotationKind::Primary.span(range(problem.span)).label(problem.label.as_deref());
        let snippet = Snippet::source(harmless(&self.source.text()[window.start..window.end]))
            .line_start(self.source.position(window.start).0)
            .path(&problem.file)
            .annotation(primary)
            .annotations(related);
        let group = level(problem.severity).primary_title(&problem.message).element(snippet);
        match &problem.help {
            Some(help) => group.element(annotate_snippets::Level::HELP.message(help)),
            None => group,
        }
    }

    /// The whole lines that hold all of `places`, so that rendering does not cost the whole text each time.
    fn window(&self, places: impl Iterator<Item = Span> + Clone) -> Span {
        let text = self.source.text();
        let first = places.clone().map(|span| span.start).min().unwrap_or(0);
        let last = places.map(|span| span.end).max().unwrap_or(text.len());
        let line_end = text[last..].find(['\r', '\n']).map_or(text.len(), |end| last + end);
        Span { start: text[..first].rfind('\n').map_or(0, |newline| newline + 1), end: line_end }
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len() + self.omitted;
        let file =
            self.problems.first().map_or_else(|| printable(self.source.origin(0)), |it| it.file.clone());
        write!(f, "`{file}` has {}", problems_counted(count))
    }
}

impl std::error::Error for Diagnostics {}

/// The help of the only problem; several problems are rendered with the help of each.
impl Hinted for Diagnostics {
    fn hint(&self) -> Option<String> {
        match self.problems.as_slice() {
            [only] if self.omitted == 0 => only.help.clone(),
            _ => None,
        }
    }

    fn fault(&self) -> Fault {
        Fault::Input
    }
}

impl Serialize for Diagnostics {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.problems.serialize(serializer)
    }
}

fn problems_counted(count: usize) -> String {
    if count == 1 { "1 problem".to_owned() } else { format!("{count} problems") }
}

/// A problem with its place alone.
fn place(problem: &Diagnostic) -> annotate_snippets::Group<'_> {
    let origin = Origin::path(&problem.file).line(problem.line);
    level(problem.severity).primary_title(&problem.message).element(origin)
}

fn level(severity: Severity) -> annotate_snippets::Level<'static> {
    match severity {
        Severity::Error => annotate_snippets::Level::ERROR,
        Severity::Warning => annotate_snippets::Level::WARNING,
    }
}

/// The colours of [`Diagnostics::render`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    /// Without colours.
    Plain,
    /// With ANSI escape sequences.
    Ansi,
}

/// Collects problems while a text is read.
#[derive(Debug, Default)]
pub(super) struct Problems {
    kept: Vec<Problem>,
    omitted: usize,
}

impl Problems {
    pub(super) fn push(&mut self, problem: Problem) {
        if self.kept.len() < KEPT {
            self.kept.push(problem);
        } else {
            self.omitted += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// `value` when there was no problem.
    pub(super) fn finish<T>(self, value: Option<T>, source: &Arc<SourceText>) -> Result<T, Diagnostics> {
        match value {
            Some(value) if self.kept.is_empty() => Ok(value),
            _ => Err(self.into_diagnostics(source)),
        }
    }

    pub(super) fn into_diagnostics(mut self, source: &Arc<SourceText>) -> Diagnostics {
        self.kept.sort_by_key(|problem| problem.span);
        Diagnostics {
            source: Arc::clone(source),
            problems: self.kept.into_iter().map(|problem| problem.locate(source)).collect(),
            omitted: self.omitted,
            shows_text: true,
        }
    }
}

/// User text in a message: between backticks, on one line, not too long.
pub(super) fn quote(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.is_empty() {
        return "an empty text".to_owned();
    }
    let shown: String = text.chars().take(LONGEST).collect();
    let more = if text.chars().nth(LONGEST).is_some() { "…" } else { "" };
    format!("`{}{more}`", printable(&shown))
}

/// `text` on one line, with nothing that a terminal or a runner of CI obeys.
fn printable(text: &str) -> String {
    escaped(text).into_owned()
}

/// Lines of source in which every invisible character and every runner's command is replaced by something of the same
/// length, so that places in it stay. The renderer itself replaces ASCII's control characters, tabs among them.
fn harmless(lines: &str) -> String {
    let shown = |c: char| match c.len_utf8() {
        _ if is_visible(c) || c.is_ascii() => String::from(c),
        2 => "¿".to_owned(),
        3 => "�".to_owned(),
        _ => "¿¿".to_owned(),
    };
    let shown: String = lines.chars().map(shown).collect();
    escape::MARKS.iter().fold(shown, |shown, mark| shown.replace(mark, &mark.replacen("##", "#?", 1)))
}
