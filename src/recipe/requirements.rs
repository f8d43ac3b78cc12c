//! Requirements and constraints files, in pip's syntax.
//!
//! <https://pip.pypa.io/en/stable/reference/requirements-file-format/>

use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;
use url::Url;

use super::decode::Complaint;
use super::diagnostic::{Diagnostics, Problem, Problems, quote};
use super::option_words::{Given, MOST_WORDS, WordFault, pair_options, words};
use super::packages::{IndexLocation, parse_links, parse_url};
use super::project_reference::{ListedPackage, ProjectReference};
use super::source::{SourceText, Span, Spanned};
use super::source_place::SourcePlace;
use super::wheel_reference::PackageRequirement;
use crate::pypa::archive_hash::ArchiveHash;

/// The requirements of all requirements files of a recipe: exports of lock files have some thousand.
pub const MOST_REQUIREMENTS: usize = 16_384;
/// The places of one file that its options name: other files, indexes and pages. People write a handful.
const MOST_PLACES: usize = 1024;

/// A requirements file.
#[derive(Debug, Clone, Serialize)]
pub struct RequirementsFile {
    /// The requirements, in the file's order.
    pub requirements: Vec<HashedRequirement>,
    /// The projects that are named by the places of their sources.
    pub projects: Vec<HashedProject>,
    /// `-r`: paths of further requirements files, relative to this one.
    pub includes: Vec<Spanned<String>>,
    /// `-c`: paths of constraints files, relative to this one.
    pub constraints: Vec<Spanned<String>>,
    /// `-i`: the index instead of the default one; the last one counts.
    pub index_url: Option<Spanned<Url>>,
    /// `--extra-index-url`: indexes beside the default one.
    pub extra_index_urls: Vec<Spanned<Url>>,
    /// `-f`: pages and directories whose files stand beside those of the indexes.
    pub find_links: Vec<Spanned<IndexLocation>>,
    /// `--no-index`: the default indexes are not asked.
    pub no_index: bool,
    /// `--pre`: pre-releases are taken like other versions.
    pub prereleases: bool,
    /// `--require-hashes`: nothing may be installed without a hash.
    pub require_hashes: bool,
    #[serde(skip)]
    source: Arc<SourceText>,
}

/// A requirement of a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HashedRequirement {
    /// The requirement.
    pub requirement: Spanned<PackageRequirement>,
    /// `--hash`, and the hash behind the place of a wheel: the only archives allowed; when empty, any.
    pub hashes: Vec<ArchiveHash>,
}

/// A project of a file that is named by the place of its source.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HashedProject {
    /// The project.
    pub project: Spanned<ProjectReference>,
    /// As in [`HashedRequirement::hashes`].
    pub hashes: Vec<ArchiveHash>,
}

impl RequirementsFile {
    fn empty(source: Arc<SourceText>) -> Self {
        Self {
            requirements: Vec::new(),
            projects: Vec::new(),
            includes: Vec::new(),
            constraints: Vec::new(),
            index_url: None,
            extra_index_urls: Vec::new(),
            find_links: Vec::new(),
            no_index: false,
            prereleases: false,
            require_hashes: false,
            source,
        }
    }

    /// A problem found after parsing, at its place in this file.
    pub fn report(&self, problem: Problem) -> Diagnostics {
        Diagnostics::one(&self.source, problem)
    }

    /// The number of places that options have named so far.
    fn places(&self) -> usize {
        let Self { includes, constraints, extra_index_urls, find_links, .. } = self;
        includes.len() + constraints.len() + extra_index_urls.len() + find_links.len()
    }

    fn read(&mut self, line: &Line, problems: &mut Problems) {
        let (requirement, options) = line.without_options();
        let words = match words(&line.text, options) {
            Ok(words) => words,
            Err(fault) => return problems.push(undivided(line, &fault)),
        };
        let options = pair_options(&line.text, words);
        match requirement.is_empty() {
            true if self.places() + options.len() > MOST_PLACES => problems.push(many_places(line)),
            true => options.iter().for_each(|option| self.apply(line, option, problems)),
            false => self.require(line, requirement, &options, problems),
        }
    }

    fn require(&mut self, line: &Line, at: Range<usize>, options: &[Given], problems: &mut Problems) {
        let mut hashes: Vec<ArchiveHash> =
            options.iter().filter_map(|option| line.hash(option, problems)).collect();
        let Some(Spanned { value, span }) = line.parsed(at, problems, ListedPackage::parse) else { return };
        match value {
            ListedPackage::Requirement(value) => {
                hashes.extend(value.wheel.as_ref().and_then(|wheel| wheel.sha256).map(ArchiveHash::from));
                let requirement = Spanned { value, span };
                self.requirements.push(HashedRequirement { requirement, hashes });
            }
            ListedPackage::Project(value) => self.project(Spanned { value, span }, hashes),
        }
    }

    fn project(&mut self, project: Spanned<ProjectReference>, mut hashes: Vec<ArchiveHash>) {
        if let SourcePlace::Archive(archive) = &project.place {
            hashes.extend(archive.sha256.map(ArchiveHash::from));
        }
        self.projects.push(HashedProject { project, hashes });
    }

    /// Takes an option that stands on a line of its own.
    fn apply(&mut self, line: &Line, option: &Given, problems: &mut Problems) {
        match &*option.name.text {
            "-r" | "--requirement" => self.includes.extend(line.value(option, problems, parse_path)),
            "-c" | "--constraint" => self.constraints.extend(line.value(option, problems, parse_path)),
            "-e" | "--editable" => {
                if let Some(project) = line.value(option, problems, parse_editable) {
                    self.project(project, Vec::new());
                }
            }
            "-i" | "--index-url" | "--pypi-url" => self.index_url = line.value(option, problems, parse_url),
            "--extra-index-url" => self.extra_index_urls.extend(line.value(option, problems, parse_url)),
            "-f" | "--find-links" => self.find_links.extend(line.value(option, problems, parse_links)),
            "--no-index" => self.no_index = true,
            "--pre" => self.prereleases = true,
            "--require-hashes" => self.require_hashes = true,
            // They ask for what imgforge does anyway: it takes nothing but wheels.
            "--prefer-binary" | "--only-binary" => {}
            "--no-binary" if option.value.as_ref().is_some_and(|value| value.text == ":none:") => {}
            name => problems.push(refused(name, line.span(&option.name.at))),
        }
    }
}

/// The text of a requirements file: UTF-8, or UTF-16 with its byte order mark; `None` for anything else.
pub fn decoded(bytes: Vec<u8>) -> Option<String> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().map(|pair| unit(*pair)).collect();
        String::from_utf16(&units).ok().filter(|_| rest.is_empty())
    };
    match *bytes {
        [0xff, 0xfe, ref text @ ..] => utf16(text, u16::from_le_bytes),
        [0xfe, 0xff, ref text @ ..] => utf16(text, u16::from_be_bytes),
        _ => String::from_utf8(bytes).ok(),
    }
}

/// Reads a requirements or constraints file; `origin` is its name for messages. `variable` gives the value of an
/// environment variable.
pub fn parse(
    text: &str,
    origin: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<RequirementsFile, Diagnostics> {
    let source = Arc::new(SourceText::new(text, origin));
    let mut problems = Problems::default();
    let mut file = RequirementsFile::empty(Arc::clone(&source));
    for line in logical_lines(source.text()) {
        // One more than may be there is enough to refuse them all.
        if file.requirements.len() + file.projects.len() > MOST_REQUIREMENTS {
            break;
        }
        if let Some(line) = line.expanded(variable, &mut problems) {
            file.read(&line, &mut problems);
        }
    }
    let found = problems.finish(Some(file), &source)?;
    found.with_all_hashes()
}

impl RequirementsFile {
    /// Refuses a requirement without hashes where the file requires them.
    fn with_all_hashes(self) -> Result<Self, Diagnostics> {
        let of_requirements = self.requirements.iter().map(|it| (&it.hashes, it.requirement.span));
        let of_projects = self.projects.iter().map(|it| (&it.hashes, it.project.span));
        let bare = of_requirements.chain(of_projects).find(|(hashes, _)| hashes.is_empty());
        match bare.filter(|_| self.require_hashes) {
            Some((_, span)) => Err(self.report(
                Problem::error(span, "there is no hash, and the file says `--require-hashes`").help(
                    "add `--hash=sha256:…` to each requirement: `uv pip compile --generate-hashes`; directories and \
                     repositories have none",
                ),
            )),
            None => Ok(self),
        }
    }
}

/// A line with its continuations joined, its comment removed and its variables replaced.
#[derive(Debug, Default)]
struct Line {
    text: String,
    /// From which byte of `text` on it comes from which byte of the source, and how many of them there are.
    pieces: Vec<Piece>,
}

/// A part of a [`Line`].
#[derive(Debug, Clone, Copy)]
struct Piece {
    /// Its start in the line.
    start: usize,
    /// Its start in the source.
    at: usize,
    /// The bytes of the variable in the source whose value it is.
    variable: Option<usize>,
}

impl Line {
    fn push(&mut self, piece: &str, at: usize) {
        self.pieces.push(Piece { start: self.text.len(), at, variable: None });
        self.text.push_str(piece);
    }

    fn push_value(&mut self, value: &str, at: Range<usize>) {
        self.pieces.push(Piece { start: self.text.len(), at: at.start, variable: Some(at.len()) });
        self.text.push_str(value);
    }

    /// The place in the source of the byte at `offset`: all of the variable where it is part of a value.
    fn source_range(&self, offset: usize) -> Range<usize> {
        let after = self.pieces.partition_point(|piece| piece.start <= offset);
        match after.checked_sub(1).map(|index| self.pieces[index]) {
            Some(Piece { at, variable: Some(length), .. }) => at..at + length,
            Some(Piece { at, start, .. }) => at + (offset - start)..at + (offset - start) + 1,
            None => offset..offset + 1,
        }
    }

    fn source_offset(&self, offset: usize) -> usize {
        self.source_range(offset).start
    }

    fn span(&self, range: &Range<usize>) -> Span {
        // The end is found from the last byte inside: the byte after it may be on another line.
        let last = range.end.max(range.start + 1) - 1;
        Span { start: self.source_offset(range.start), end: self.source_range(last).end }
    }

    /// Returns whether a value of a variable is within `range`.
    fn has_value(&self, range: &Range<usize>) -> bool {
        let ends = self.pieces.iter().skip(1).map(|piece| piece.start).chain([usize::MAX]);
        let mut pieces = self.pieces.iter().zip(ends);
        pieces.any(|(piece, end)| piece.variable.is_some() && piece.start < range.end && range.start < end)
    }

    /// The span of the bytes `within` the text at `at`.
    fn within(&self, at: &Range<usize>, within: Range<usize>) -> Option<Span> {
        let start = at.start + within.start.min(at.len());
        let end = at.start + within.end.min(at.len());
        Some(self.span(&(start..end.max(start))))
    }

    /// The line up to its comment: a `#` starts one at the start of a line or after white space.
    fn without_comment(mut self) -> Self {
        let is_start = |at: usize| self.text[..at].chars().next_back().is_none_or(char::is_whitespace);
        if let Some(end) = self.text.match_indices('#').map(|(at, _)| at).find(|at| is_start(*at)) {
            self.text.truncate(end);
        }
        self
    }

    /// The line with the values of its variables, `${NAME}`; `None` where one has none, which is among the problems.
    fn expanded(self, variable: &dyn Fn(&str) -> Option<String>, problems: &mut Problems) -> Option<Self> {
        let mut line = Self::default();
        let mut from = 0;
        while let Some((at, name)) = find_variable(&self.text, from) {
            let value = variable(name).filter(|value| !value.is_empty());
            let end = at + name.len() + "${}".len();
            let Some(value) = value else {
                problems.push(missing_variable(name, self.span(&(at..end))));
                return None;
            };
            line.take(&self, from..at);
            line.push_value(&value, self.source_offset(at)..self.source_range(end - 1).end);
            from = end;
        }
        if from == 0 {
            return Some(self);
        }
        line.take(&self, from..self.text.len());
        Some(line)
    }

    /// Adds a part of another line.
    fn take(&mut self, other: &Self, range: Range<usize>) {
        let ends = other.pieces.iter().map(|piece| piece.start).filter(|start| range.contains(start));
        let starts: Vec<usize> =
            std::iter::once(range.start).chain(ends.filter(|at| *at > range.start)).collect();
        for (index, start) in starts.iter().enumerate() {
            let end = starts.get(index + 1).copied().unwrap_or(range.end);
            self.push(&other.text[*start..end], other.source_offset(*start));
        }
    }

    /// The requirement and the options behind it, which begin with the first word that begins with a dash.
    fn without_options(&self) -> (Range<usize>, Range<usize>) {
        let text = &self.text;
        let is_start = |at: usize| text[..at].chars().next_back().is_none_or(char::is_whitespace);
        let options =
            text.match_indices('-').map(|(at, _)| at).find(|at| is_start(*at)).unwrap_or(text.len());
        let head = text[..options].trim_end();
        let start = head.len() - head.trim_start().len();
        (start..head.len(), options..text.len())
    }

    fn parsed<T>(
        &self,
        at: Range<usize>,
        problems: &mut Problems,
        parse: impl FnOnce(&str) -> Result<T, Complaint>,
    ) -> Option<Spanned<T>> {
        self.parsed_as(&self.text[at.clone()], at, problems, parse)
    }

    /// Parses `text`, which is written at `at`.
    fn parsed_as<T>(
        &self,
        text: &str,
        at: Range<usize>,
        problems: &mut Problems,
        parse: impl FnOnce(&str) -> Result<T, Complaint>,
    ) -> Option<Spanned<T>> {
        let span = self.span(&at);
        match parse(text) {
            Ok(value) => Some(Spanned { value, span }),
            Err(_) if self.has_value(&at) => {
                problems.push(wrong_value(span));
                None
            }
            Err(complaint) => {
                let is_verbatim = text == &self.text[at.clone()];
                let locate = |within: Range<usize>| self.within(&at, within).filter(|_| is_verbatim);
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
        let Some(value) = &option.value else {
            let name = &option.name;
            problems.push(Problem::error(self.span(&name.at), format!("`{}` needs a value", name.text)));
            return None;
        };
        self.parsed_as(&value.text, value.at.clone(), problems, parse)
    }

    /// The digest of an option behind a requirement, where only `--hash` may stand.
    fn hash(&self, option: &Given, problems: &mut Problems) -> Option<ArchiveHash> {
        if option.name.text != "--hash" {
            let message = format!("{} is not supported behind a requirement", quote(&option.name.text));
            problems.push(
                Problem::error(self.span(&option.name.at), message).help("only `--hash` may stand there"),
            );
            return None;
        }
        self.value(option, problems, parse_hash).map(|hash| hash.value)
    }
}

/// Joins lines that end in a backslash, as pip does: a comment line ends what came before it. Comments are removed from
/// the joined line.
fn logical_lines(text: &str) -> impl Iterator<Item = Line> + '_ {
    let mut at = 0;
    let mut physical = text.split_inclusive('\n').map(move |line| {
        let start = at;
        at += line.len();
        (start, line.trim_end_matches(['\n', '\r']))
    });
    std::iter::from_fn(move || {
        let (mut at, mut content) = physical.next()?;
        let mut line = Line::default();
        let is_comment = |content: &str| content.trim_start().starts_with('#');
        while let Some(continued) = content.strip_suffix('\\').filter(|_| !is_comment(content)) {
            line.push(continued, at);
            match physical.next() {
                Some(next) => (at, content) = next,
                None => return Some(line.without_comment()),
            }
        }
        // A comment is one whatever came before it.
        if is_comment(content) {
            line.push(" ", at);
        }
        line.push(content, at);
        Some(line.without_comment())
    })
}

/// The next `${NAME}` from `from` on, and the name: capital letters, digits and underscores, as for pip.
fn find_variable(text: &str, from: usize) -> Option<(usize, &str)> {
    let is_name = |name: &str| {
        let allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        !name.is_empty() && name.bytes().all(allowed)
    };
    text[from..].match_indices("${").find_map(|(at, opening)| {
        let start = from + at + opening.len();
        let name = &text[start..start + text[start..].find('}')?];
        is_name(name).then_some((from + at, name))
    })
}

fn parse_path(text: &str) -> Result<String, Complaint> {
    if text.contains("://") {
        let complaint = Complaint::new(format!("{} is a URL, not a path", quote(text)));
        return Err(complaint.help("download the file and name it by its path"));
    }
    Ok(text.to_owned())
}

fn parse_hash(text: &str) -> Result<ArchiveHash, Complaint> {
    text.parse().map_err(|_| match text.split_once(':') {
        Some(("md5" | "sha1" | "sha224", _)) => {
            Complaint::new(format!("{} is a hash that can be forged", quote(text)))
                .help("write the wheel's `--hash=sha256:…`: `pip hash` computes it")
        }
        _ => Complaint::new(format!("{} is not a hash of sha256, sha384 or sha512", quote(text)))
            .help("write `--hash=sha256:` and 64 hexadecimal digits"),
    })
}

/// A problem: an option of pip that asks for something else than imgforge does.
fn refused(name: &str, span: Span) -> Problem {
    let (message, help) = match name {
        "--no-binary" => (
            "`--no-binary` asks for source distributions, which are built where the recipe says so"
                .to_owned(),
            "remove the line, and name the project in the recipe: `python: {build: [NAME]}`",
        ),
        "--trusted-host" => (
            "`--trusted-host` gives up the proof of who answers, which imgforge does not".to_owned(),
            "add the host's certificate authority to the system's",
        ),
        name => (
            format!("{} is not supported in a requirements file", quote(name)),
            "supported are `-r`, `-c`, `-e`, `-i`, `--extra-index-url`, `-f`, `--no-index`, `--pre`, `--require-hashes` and, behind a requirement, `--hash`",
        ),
    };
    Problem::error(span, message).help(help)
}

/// Reads the source of `-e`, which is installed as it is, and not for changes to it to take effect.
fn parse_editable(text: &str) -> Result<ProjectReference, Complaint> {
    match ListedPackage::parse(text) {
        Ok(ListedPackage::Project(project)) => Ok(project),
        Ok(ListedPackage::Requirement(_)) => ProjectReference::directory(text),
        Err(complaint) => Err(complaint),
    }
}

/// The problem of a line that is not split into words.
fn undivided(line: &Line, fault: &WordFault) -> Problem {
    let (at, message, help) = match *fault {
        WordFault::Unclosed(at) => (
            at,
            "this quote is not closed".to_owned(),
            "options are words of a shell: close the quote, or write a backslash before it",
        ),
        WordFault::TooMany(at) => (
            at,
            format!("the options of this line have more than {MOST_WORDS} words"),
            "write each option on a line of its own; of hashes, those of the files for your platforms are enough",
        ),
    };
    Problem::error(line.span(&(at..at + 1)), message).help(help)
}

fn many_places(line: &Line) -> Problem {
    let message = format!("the file names more than {MOST_PLACES} other files, indexes and pages");
    Problem::error(line.span(&(0..line.text.len())), message)
        .help("put the requirements of the files that it names into fewer ones")
}

/// A problem in a text with a variable's value, which may be a secret.
fn wrong_value(span: Span) -> Problem {
    Problem::error(span, "with the values of its variables, this is not what may stand here").help(
        "check the variables where imgforge runs; their values are not shown, since they may be secrets",
    )
}

fn missing_variable(name: &str, span: Span) -> Problem {
    Problem::error(span, format!("the environment has no variable {}", quote(name)))
        .help(format!("set it where imgforge runs: `{name}=… imgforge …`"))
}
