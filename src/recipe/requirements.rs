//! Requirements and constraints files, in pip's syntax.
//!
//! <https://pip.pypa.io/en/stable/reference/requirements-file-format/>

use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;
use url::Url;

use super::decode::Complaint;
use super::diagnostic::{Diagnostics, Problem, Problems, quote};
use super::packages::parse_url;
use super::python::parse_requirement;
use super::source::{SourceText, Span, Spanned};
use crate::oci::Digest;

/// A requirements file.
#[derive(Debug, Clone, Serialize)]
pub struct RequirementsFile {
    /// The requirements, in the file's order.
    pub requirements: Vec<HashedRequirement>,
    /// `-r`: paths of further requirements files, relative to this one.
    pub includes: Vec<Spanned<String>>,
    /// `-c`: paths of constraints files, relative to this one.
    pub constraints: Vec<Spanned<String>>,
    /// `-i`: the index instead of the default one; the last one counts.
    pub index_url: Option<Spanned<Url>>,
    /// `--extra-index-url`: indexes beside the default one.
    pub extra_index_urls: Vec<Spanned<Url>>,
    #[serde(skip)]
    source: Arc<SourceText>,
}

/// A requirement of a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HashedRequirement {
    /// Never a URL.
    pub requirement: Spanned<uv_pep508::Requirement>,
    /// `--hash`: the only archives allowed; when empty, any.
    pub hashes: Vec<Digest>,
}

impl RequirementsFile {
    fn empty(source: Arc<SourceText>) -> Self {
        Self {
            requirements: Vec::new(),
            includes: Vec::new(),
            constraints: Vec::new(),
            index_url: None,
            extra_index_urls: Vec::new(),
            source,
        }
    }

    /// A problem found after parsing, at its place in this file.
    pub fn report(&self, problem: Problem) -> Diagnostics {
        Diagnostics::one(&self.source, problem)
    }

    fn read(&mut self, line: &Line, problems: &mut Problems) {
        let tokens = tokens(&line.text);
        let is_option = |token: &Range<usize>| line.text[token.clone()].starts_with('-');
        let first_option = tokens.iter().position(is_option).unwrap_or(tokens.len());
        let (words, options) = tokens.split_at(first_option);
        let options = pair_options(&line.text, options);
        match words {
            [] => options.iter().for_each(|option| self.apply(line, option, problems)),
            [first, ..] => {
                let end = words.last().map_or(first.end, |last| last.end);
                self.require(line, first.start..end, &options, problems);
            }
        }
    }

    fn require(&mut self, line: &Line, at: Range<usize>, options: &[Given], problems: &mut Problems) {
        let hashes = options.iter().filter_map(|option| line.hash(option, problems)).collect();
        if let Some(requirement) = line.parsed(at, problems, parse_requirement) {
            self.requirements.push(HashedRequirement { requirement, hashes });
        }
    }

    /// Takes an option that stands on a line of its own.
    fn apply(&mut self, line: &Line, option: &Given, problems: &mut Problems) {
        match &line.text[option.name.clone()] {
            "-r" | "--requirement" => self.includes.extend(line.value(option, problems, parse_path)),
            "-c" | "--constraint" => self.constraints.extend(line.value(option, problems, parse_path)),
            "-i" | "--index-url" => self.index_url = line.value(option, problems, parse_url),
            "--extra-index-url" => self.extra_index_urls.extend(line.value(option, problems, parse_url)),
            // They ask for what imgforge does anyway: it takes nothing but wheels.
            "--prefer-binary" | "--only-binary" => {}
            "-e" | "--editable" => problems.push(editable(line.span(&option.name))),
            name => problems.push(unsupported(name, line.span(&option.name))),
        }
    }
}

/// Reads a requirements or constraints file; `origin` is its name for messages.
pub fn parse(text: &str, origin: &str) -> Result<RequirementsFile, Diagnostics> {
    let source = Arc::new(SourceText::new(text, origin));
    let mut problems = Problems::default();
    let mut file = RequirementsFile::empty(Arc::clone(&source));
    for line in logical_lines(source.text()) {
        match line.text.find("${") {
            Some(at) => problems.push(variable(line.span(&(at..at + 2)))),
            None => file.read(&line, &mut problems),
        }
    }
    problems.finish(Some(file), &source)
}

/// A line with its continuations joined and its comment removed.
#[derive(Debug, Default)]
struct Line {
    text: String,
    /// From which byte of `text` on it comes from which byte of the source.
    pieces: Vec<(usize, usize)>,
}

impl Line {
    fn push(&mut self, piece: &str, at: usize) {
        self.pieces.push((self.text.len(), at));
        self.text.push_str(piece);
    }

    fn source_offset(&self, offset: usize) -> usize {
        let piece = self.pieces.iter().rev().find(|(start, _)| *start <= offset);
        piece.map_or(offset, |(start, at)| at + (offset - start))
    }

    fn span(&self, range: &Range<usize>) -> Span {
        // The end is found from the last byte inside: the byte after it may be on another line.
        let last = range.end.max(range.start + 1) - 1;
        Span { start: self.source_offset(range.start), end: self.source_offset(last) + 1 }
    }

    /// The span of the bytes `within` the text at `at`.
    fn within(&self, at: &Range<usize>, within: Range<usize>) -> Option<Span> {
        let start = at.start + within.start.min(at.len());
        let end = at.start + within.end.min(at.len());
        Some(self.span(&(start..end.max(start))))
    }

    fn parsed<T>(
        &self,
        at: Range<usize>,
        problems: &mut Problems,
        parse: impl FnOnce(&str) -> Result<T, Complaint>,
    ) -> Option<Spanned<T>> {
        let (text, span) = (&self.text[at.clone()], self.span(&at));
        match parse(text) {
            Ok(value) => Some(Spanned { value, span }),
            Err(complaint) => {
                let locate = |within: Range<usize>| self.within(&at, within);
                problems.push(complaint.narrowed(span, locate));
                None
            }
        }
    }

    fn value<T>(
        &self,
        option: &Given,
        problems: &mut Problems,
        parse: impl FnOnce(&str) -> Result<T, Complaint>,
    ) -> Option<Spanned<T>> {
        let Some(value) = option.value.clone() else {
            let name = &self.text[option.name.clone()];
            problems.push(Problem::error(self.span(&option.name), format!("`{name}` needs a value")));
            return None;
        };
        self.parsed(value, problems, parse)
    }

    /// The digest of an option behind a requirement, where only `--hash` may stand.
    fn hash(&self, option: &Given, problems: &mut Problems) -> Option<Digest> {
        let name = &self.text[option.name.clone()];
        if name != "--hash" {
            let message = format!("`{name}` is not supported behind a requirement");
            problems
                .push(Problem::error(self.span(&option.name), message).help("only `--hash` may stand there"));
            return None;
        }
        self.value(option, problems, parse_hash).map(|hash| hash.value)
    }
}

/// An option and its value, as ranges of a [`Line`].
struct Given {
    name: Range<usize>,
    value: Option<Range<usize>>,
}

/// Splits options from their values: `--name=value`, `--name value`, `-n value`, `-nvalue`.
fn pair_options(text: &str, tokens: &[Range<usize>]) -> Vec<Given> {
    let mut options: Vec<Given> = Vec::new();
    for token in tokens.iter().cloned() {
        let written = &text[token.clone()];
        let split = match written.find('=') {
            Some(equals) if written.starts_with("--") => Some((equals, equals + 1)),
            None if written.starts_with("--") => None,
            _ => written.char_indices().nth(2).map(|(at, _)| (at, at)),
        };
        match (split, options.last_mut()) {
            (_, Some(before)) if !written.starts_with('-') && before.value.is_none() => {
                before.value = Some(token);
            }
            (Some((name, value)), _) => options.push(Given {
                name: token.start..token.start + name,
                value: Some(token.start + value..token.end),
            }),
            (None, _) => options.push(Given { name: token, value: None }),
        }
    }
    options
}

/// The ranges of `text` between white space.
fn tokens(text: &str) -> Vec<Range<usize>> {
    let mut at = 0;
    let piece_range = |piece: &str| {
        let start = at;
        at += piece.len();
        start..start + piece.trim_end().len()
    };
    let pieces = text.split_inclusive(char::is_whitespace).map(piece_range);
    pieces.filter(|range| !range.is_empty()).collect()
}

/// Joins lines that end in a backslash, as pip does: a comment line ends what came before it.
fn logical_lines(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut current = Line::default();
    let mut at = 0;
    for physical in text.split_inclusive('\n') {
        let content = physical.trim_end_matches(['\n', '\r']);
        let is_comment = content.trim_start().starts_with('#');
        match content.strip_suffix('\\') {
            Some(continued) if !is_comment => current.push(continued, at),
            _ => {
                current.push(without_comment(content), at);
                lines.push(std::mem::take(&mut current));
            }
        }
        at += physical.len();
    }
    lines.push(current);
    lines
}

/// A `#` starts a comment at the start of a line or after white space.
fn without_comment(line: &str) -> &str {
    let is_start = |at: usize| line[..at].chars().next_back().is_none_or(char::is_whitespace);
    line.match_indices('#').find(|(at, _)| is_start(*at)).map_or(line, |(at, _)| &line[..at])
}

fn parse_path(text: &str) -> Result<String, Complaint> {
    if text.contains("://") {
        let complaint = Complaint::new(format!("{} is a URL, not a path", quote(text)));
        return Err(complaint.help("download the file and name it by its path"));
    }
    Ok(text.to_owned())
}

fn parse_hash(text: &str) -> Result<Digest, Complaint> {
    text.parse().map_err(|_| {
        let complaint = Complaint::new(format!("{} is not a sha256 hash", quote(text)));
        complaint.help("write `--hash=sha256:` and 64 hexadecimal digits")
    })
}

fn editable(span: Span) -> Problem {
    Problem::error(span, "`-e` installs from a source tree, which imgforge does not build")
        .help("build a wheel of it and serve it from an index, or copy it in with the recipe's `files`")
}

fn unsupported(name: &str, span: Span) -> Problem {
    Problem::error(span, format!("{} is not supported in a requirements file", quote(name)))
        .help("supported are `-r`, `-c`, `-i`, `--extra-index-url` and, behind a requirement, `--hash`")
}

fn variable(span: Span) -> Problem {
    Problem::error(span, "variables of the environment are not replaced here")
        .help("write the value itself: the same file then always means the same")
}
