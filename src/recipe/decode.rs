//! From YAML nodes to types: every problem is collected, none stops the reading of the rest.

use std::collections::BTreeMap;
use std::ops::Range;

use super::diagnostic::{Problem, Problems, quote};
use super::other_tools::{translation, translation_of_value};
use super::source::{Span, Spanned};
use super::suggest::closest;
use super::yaml::{Node, YamlValue};

/// A type that can be read from a node; `None` means the reason is among the problems.
pub(super) trait Decode: Sized {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self>;
}

/// The reason why a text is not what it should be.
#[derive(Debug)]
pub(super) struct Complaint {
    message: String,
    /// The bytes of the text that are wrong; all of it when unknown.
    within: Option<Range<usize>>,
    label: Option<String>,
    help: Option<String>,
}

impl Complaint {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), within: None, label: None, help: None }
    }

    pub(super) fn within(mut self, range: Range<usize>) -> Self {
        self.within = Some(range);
        self
    }

    /// The same about all of the text: its parts were found in another one.
    pub(super) fn anywhere(self) -> Self {
        Self { within: None, ..self }
    }

    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Its message alone.
    pub(super) fn into_message(self) -> String {
        self.message
    }

    /// The complaint about a text written at `span`.
    pub(super) fn at(self, span: Span) -> Problem {
        let mut problem = Problem::error(span, self.message);
        if let Some(label) = self.label {
            problem = problem.label(label);
        }
        if let Some(help) = self.help {
            problem = problem.help(help);
        }
        problem
    }

    /// The complaint about a text written at `span`, narrowed to the wrong bytes when `locate` finds them.
    pub(super) fn narrowed(
        mut self,
        span: Span,
        locate: impl FnOnce(Range<usize>) -> Option<Span>,
    ) -> Problem {
        let narrowed = self.within.take().and_then(locate);
        self.at(narrowed.unwrap_or(span))
    }
}

/// Reads a scalar; `what` names it with its article.
pub(super) fn text<'n>(node: &'n Node, what: &str, problems: &mut Problems) -> Option<&'n str> {
    match &node.value {
        YamlValue::Scalar(text) => Some(text),
        _ => {
            problems.push(unexpected(node, what).help(of_one(node)));
            None
        }
    }
}

/// The way to write one value that was written as several.
fn of_one(node: &Node) -> String {
    match &node.value {
        YamlValue::Sequence(items) => match items.as_slice() {
            [Node { value: YamlValue::Scalar(only), .. }] => format!("write it without brackets: `{only}`"),
            _ => "write one value, without brackets and dashes".to_owned(),
        },
        YamlValue::Mapping(_) => "write one value in place of the `key: value` pairs".to_owned(),
        YamlValue::Scalar(_) | YamlValue::Null => "write a value, or leave the entry out".to_owned(),
    }
}

/// Reads a scalar through `parse`; `what` names it with its article.
pub(super) fn parsed<T>(
    node: &Node,
    what: &str,
    problems: &mut Problems,
    parse: impl FnOnce(&str) -> Result<T, Complaint>,
) -> Option<T> {
    let text = text(node, what, problems)?;
    match parse(text) {
        Ok(value) => Some(value),
        Err(complaint) => {
            problems.push(complaint.narrowed(node.span, |within| node.verbatim(within)));
            None
        }
    }
}

/// Reads one of a few words.
pub(super) fn word<T: Copy>(
    node: &Node,
    what: &str,
    words: &[(&str, T)],
    problems: &mut Problems,
) -> Option<T> {
    parsed(node, what, problems, |text| {
        words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let help = match closest(text, &known) {
                Some(close) => format!("did you mean `{close}`?"),
                None => format!("write one of {}", listed(&known)),
            };
            Complaint::new(format!("{} is not {what}", quote(text))).help(help)
        })
    })
}

/// A problem: `node` should have been `what`.
pub(super) fn unexpected(node: &Node, what: &str) -> Problem {
    Problem::error(node.span, format!("expected {what}, found {}", node.kind()))
}

/// Complains of every entry whose `key` an earlier one has.
pub(super) fn refuse_duplicates<T, K: Ord>(
    entries: &[Spanned<T>],
    problems: &mut Problems,
    key: impl Fn(&T) -> K,
    shown: impl Fn(&T) -> String,
) {
    let mut seen: BTreeMap<K, Span> = BTreeMap::new();
    for entry in entries {
        let first = *seen.entry(key(&entry.value)).or_insert(entry.span);
        if first != entry.span {
            let message = format!("{} is listed twice", quote(&shown(&entry.value)));
            let problem = Problem::error(entry.span, message).label("again here");
            problems.push(problem.related(first, "first here").help("keep one of the two"));
        }
    }
}

fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// A mapping with known keys, read key by key; [`Fields::finish`] complains of the keys nobody asked for.
pub(super) struct Fields<'n> {
    what: &'static str,
    span: Span,
    entries: &'n [(Spanned<String>, Node)],
    known: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// `what` names the mapping with its article.
    pub(super) fn open(node: &'n Node, what: &'static str, problems: &mut Problems) -> Option<Self> {
        match &node.value {
            YamlValue::Mapping(entries) => Some(Self { what, span: node.span, entries, known: Vec::new() }),
            _ => {
                let message = format!("{what} is a mapping, not {}", node.kind());
                let translated = match &node.value {
                    YamlValue::Scalar(text) => translation_of_value(what, text),
                    _ => None,
                };
                let help = translated.unwrap_or("write `key: value` lines, without `- ` before the key");
                problems.push(Problem::error(node.span, message).help(help));
                None
            }
        }
    }

    pub(super) fn span(&self) -> Span {
        self.span
    }

    /// Returns whether `key` is there and holds something.
    pub(super) fn has(&self, key: &str) -> bool {
        self.node(key).is_some()
    }

    /// The value of `key`; `None` when it is absent, holds nothing, or is wrong.
    pub(super) fn get<T: Decode>(&mut self, key: &'static str, problems: &mut Problems) -> Option<T> {
        self.known.push(key);
        self.node(key).and_then(|node| T::decode(node, problems))
    }

    /// Knows `key`, which somebody else reads.
    pub(super) fn pass_over(&mut self, key: &'static str) {
        self.known.push(key);
    }

    /// The value of `key`, which must be there.
    pub(super) fn require<T: Decode>(
        &mut self,
        key: &'static str,
        help: &str,
        problems: &mut Problems,
    ) -> Option<T> {
        if !self.has(key) && !self.is_meant_by_another(key) {
            let start = Span { start: self.span.start, end: self.span.start };
            let span = self.key_span(key).unwrap_or(start);
            let problem = Problem::error(span, format!("{} needs the key `{key}`", self.what));
            problems.push(problem.help(help));
        }
        self.get(key, problems)
    }

    /// Returns whether an unknown key stands for `key`: its own problem says so.
    fn is_meant_by_another(&self, key: &'static str) -> bool {
        let ours = format!("`{key}: ");
        self.entries.iter().any(|(written, _)| {
            let translated = translation(self.what, written).is_some_and(|text| text.contains(&ours));
            translated || (written.value != key && closest(written, &[key]).is_some())
        })
    }

    /// Returns whether a key is there that was not asked for.
    pub(super) fn has_unknown(&self) -> bool {
        self.entries.iter().any(|(key, _)| !self.known.contains(&key.as_str()))
    }

    /// Complains of every key that was not asked for.
    pub(super) fn finish(self, problems: &mut Problems) {
        for (key, _) in self.entries.iter().filter(|(key, _)| !self.known.contains(&key.as_str())) {
            let message = format!("unknown key {} in {}", quote(key), self.what);
            let help = match (translation(self.what, key), closest(key, &self.known)) {
                (Some(ours), _) => ours.to_owned(),
                (None, Some(close)) => format!("did you mean `{close}`?"),
                (None, None) => format!("the keys here are {}", listed(&self.known)),
            };
            problems.push(Problem::error(key.span, message).help(help));
        }
    }

    fn node(&self, key: &str) -> Option<&'n Node> {
        let (_, node) = self.entries.iter().find(|(written, _)| written.value == key)?;
        Some(node).filter(|node| !matches!(node.value, YamlValue::Null))
    }

    fn key_span(&self, key: &str) -> Option<Span> {
        self.entries.iter().find(|(written, _)| written.value == key).map(|(written, _)| written.span)
    }
}

/// The entries of a mapping whose keys are the user's.
pub(super) fn entries<'n>(
    node: &'n Node,
    what: &str,
    problems: &mut Problems,
) -> Option<&'n [(Spanned<String>, Node)]> {
    match &node.value {
        YamlValue::Mapping(entries) => Some(entries),
        _ => {
            let help = match &node.value {
                YamlValue::Sequence(items) => of_list(items),
                _ => "write `name: value` lines".to_owned(),
            };
            problems.push(unexpected(node, what).help(help));
            None
        }
    }
}

impl<T: Decode> Decode for Spanned<T> {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        Some(Self { value: T::decode(node, problems)?, span: node.span })
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let YamlValue::Sequence(items) = &node.value else {
            let help = match &node.value {
                YamlValue::Scalar(text) => format!("write a list: `[{text:?}]`, or `- ` before each entry"),
                YamlValue::Mapping(entries) => of_mapping(entries),
                _ => "write a list: `- ` before each entry".to_owned(),
            };
            problems.push(unexpected(node, "a list").help(help));
            return None;
        };
        Some(items.iter().filter_map(|item| T::decode(item, problems)).collect())
    }
}

/// The way to write the items of a list as a mapping: `torch==2.6.0` and `NAME=value` tell both.
fn of_list(items: &[Node]) -> String {
    let first = items.iter().find_map(|item| match &item.value {
        YamlValue::Scalar(text) => Some(text.split_once('=').unwrap_or((text, "*"))),
        _ => None,
    });
    match first {
        Some((name, value)) => {
            let value = value.trim_start_matches('=');
            format!("write `name: value` lines, without dashes: `{name}: {value:?}`")
        }
        None => "write `name: value` lines, without dashes".to_owned(),
    }
}

/// The way to write the entries of a mapping as a list.
fn of_mapping(entries: &[(Spanned<String>, Node)]) -> String {
    let pinned = entries.iter().find_map(|(name, value)| match &value.value {
        YamlValue::Scalar(version) if version.starts_with(|c: char| c.is_ascii_digit()) => {
            Some(format!("write a list: `- {}=={}`", name.value, version))
        }
        _ => None,
    });
    pinned.unwrap_or_else(|| "write a list: `- ` before each entry".to_owned())
}

impl Decode for String {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        text(node, "a text", problems).map(str::to_owned)
    }
}

impl Decode for bool {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        word(node, "`true` or `false`", &[("true", true), ("false", false)], problems)
    }
}
