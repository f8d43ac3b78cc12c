//! YAML as a tree of nodes that know where they are written.
//!
//! Scalars keep the text as written: `3.10` stays `3.10`, `0755` stays `0755`; what a scalar means is for
//! the decoder to say, from the type it wants. <https://yaml.org/spec/1.2.2/>

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, StrInput, Tag};

use super::diagnostic::{Problem, Problems, quote};
use super::source::{SourceText, Span, Spanned};

/// The longest text that a person writes, in bytes.
pub(super) const LONGEST_TEXT: usize = 1 << 20;
/// A recipe nests five deep.
const DEEPEST: usize = 32;
/// The most that the tree of a text may cost with every alias expanded, in bytes as counted by [`Node::cost`].
const LARGEST_TREE: usize = 8 << 20;

/// One YAML node.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) value: YamlValue,
    /// The start of a scalar's text, when the source holds it byte for byte.
    verbatim: Option<usize>,
}

/// The value of a [`Node`].
#[derive(Debug, Clone)]
pub(super) enum YamlValue {
    /// Nothing, or a plain `null` or `~`.
    Null,
    Scalar(String),
    Sequence(Vec<Node>),
    /// In the order written; no key is there twice.
    Mapping(Vec<(Spanned<String>, Node)>),
}

impl Node {
    pub(super) fn new(span: Span, value: YamlValue) -> Self {
        Self { span, value, verbatim: None }
    }

    /// The same node in a text that stands behind `start` bytes of another one.
    pub(super) fn behind(&self, start: usize) -> Self {
        let value = match &self.value {
            YamlValue::Sequence(items) => {
                YamlValue::Sequence(items.iter().map(|item| item.behind(start)).collect())
            }
            YamlValue::Mapping(entries) => {
                let entry = |(key, node): &(Spanned<String>, Self)| {
                    let key = Spanned { value: key.value.clone(), span: key.span.behind(start) };
                    (key, node.behind(start))
                };
                YamlValue::Mapping(entries.iter().map(entry).collect())
            }
            single => single.clone(),
        };
        let verbatim = self.verbatim.map(|own| start + own);
        Self { span: self.span.behind(start), value, verbatim }
    }

    /// Returns whether it says the same, wherever it is written.
    pub(super) fn says(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (YamlValue::Null, YamlValue::Null) => true,
            (YamlValue::Scalar(one), YamlValue::Scalar(other)) => one == other,
            (YamlValue::Sequence(one), YamlValue::Sequence(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.says(other))
            }
            (YamlValue::Mapping(one), YamlValue::Mapping(other)) => {
                let has = |key: &str, node: &Self| {
                    other.iter().any(|(written, value)| written.value == key && node.says(value))
                };
                one.len() == other.len() && one.iter().all(|(key, node)| has(key, node))
            }
            _ => false,
        }
    }

    /// The value for people, on one line.
    pub(super) fn told(&self) -> String {
        match &self.value {
            YamlValue::Null => "none".to_owned(),
            YamlValue::Scalar(text) => text.clone(),
            YamlValue::Sequence(items) => {
                format!("[{}]", items.iter().map(Self::told).collect::<Vec<_>>().join(", "))
            }
            YamlValue::Mapping(entries) => {
                let entry = |(key, node): &(Spanned<String>, Self)| format!("{}: {}", key.value, node.told());
                format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// The place of the bytes `within` a scalar's text, when they are written as they are read.
    pub(super) fn verbatim(&self, within: Range<usize>) -> Option<Span> {
        let (YamlValue::Scalar(text), Some(start)) = (&self.value, self.verbatim) else { return None };
        let from = within.start.min(text.len());
        Some(Span { start: start + from, end: start + within.end.clamp(from, text.len()) })
    }

    /// The kind of the node, as a noun with its article.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            YamlValue::Null => "nothing",
            YamlValue::Scalar(_) => "a single value",
            YamlValue::Sequence(_) => "a list",
            YamlValue::Mapping(_) => "a mapping",
        }
    }

    /// The memory the node takes without its children, roughly, in bytes.
    fn cost(&self) -> usize {
        let text = match &self.value {
            YamlValue::Null | YamlValue::Sequence(_) => 0,
            YamlValue::Scalar(text) => text.len(),
            YamlValue::Mapping(entries) => entries.iter().map(|(key, _)| key.len()).sum(),
        };
        size_of::<Self>() + text
    }

    /// [`Node::cost`] of the node and everything below it.
    fn total_cost(&self) -> usize {
        let children: usize = match &self.value {
            YamlValue::Null | YamlValue::Scalar(_) => 0,
            YamlValue::Sequence(items) => items.iter().map(Self::total_cost).sum(),
            YamlValue::Mapping(entries) => entries.iter().map(|(_, node)| node.total_cost()).sum(),
        };
        self.cost() + children
    }
}

/// Reads the only document of `source`, of at most `longest` bytes; what does not stop the reading goes to `problems`.
pub(super) fn read(source: &SourceText, longest: usize, problems: &mut Problems) -> Option<Node> {
    if source.text().len() > longest {
        let message = format!("the file is longer than {longest} bytes");
        problems.push(Problem::error(Span::default(), message));
        return None;
    }
    let mut reader = YamlReader::new(source, problems);
    match reader.document() {
        Ok(node) => node,
        Err(problem) => {
            problems.push(*problem);
            None
        }
    }
}

/// A problem after which nothing further can be read.
type Fatal = Box<Problem>;

struct YamlReader<'a> {
    events: Parser<'a, StrInput<'a>>,
    source: &'a SourceText,
    problems: &'a mut Problems,
    /// The byte offset of every character; none when the text is ASCII, where both are the same.
    offsets: Vec<usize>,
    anchors: BTreeMap<usize, Anchored>,
    spent: usize,
}

/// A finished node that aliases may repeat, and what repeating it costs.
#[derive(Clone)]
struct Anchored {
    node: Rc<Node>,
    cost: usize,
}

impl<'a> YamlReader<'a> {
    fn new(source: &'a SourceText, problems: &'a mut Problems) -> Self {
        let text = source.text();
        let offsets =
            if text.is_ascii() { Vec::new() } else { text.char_indices().map(|(at, _)| at).collect() };
        let events = Parser::new_from_str(text);
        Self { events, source, problems, offsets, anchors: BTreeMap::new(), spent: 0 }
    }

    fn document(&mut self) -> Result<Option<Node>, Fatal> {
        let mut root = None;
        loop {
            match self.next()? {
                (Event::StreamEnd, _) if root.is_none() => return Err(empty()),
                (Event::StreamEnd, _) => return Ok(root),
                (Event::DocumentStart(_), span) if root.is_some() => return Err(second_document(span)),
                (Event::DocumentStart(_), _) => {
                    let first = self.next()?;
                    root = Some(self.node(first, 0)?).filter(|root| !matches!(root.value, YamlValue::Null));
                }
                _ => {}
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Fatal> {
        match self.events.next_event() {
            Some(Ok((event, span))) => {
                let span = Span { start: self.byte(span.start.index()), end: self.byte(span.end.index()) };
                Ok((event, span))
            }
            Some(Err(error)) => Err(self.syntax_error(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, (event, span): (Event<'a>, Span), depth: usize) -> Result<Node, Fatal> {
        if depth > DEEPEST {
            return Err(too_deep(span));
        }
        let (anchor, node) = match event {
            Event::Alias(anchor) => return self.alias(anchor, span),
            Event::Scalar(text, style, anchor, tag) => {
                (anchor, self.scalar(&text, style, tag.as_deref(), span)?)
            }
            Event::SequenceStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), span);
                (anchor, self.sequence(span, depth)?)
            }
            Event::MappingStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), span);
                (anchor, self.mapping(span, depth)?)
            }
            _ => return Err(Problem::error(span, "a value is missing").into()),
        };
        self.spend(node.cost(), span)?;
        if anchor > 0 {
            self.remember(anchor, &node)?;
        }
        Ok(node)
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        span: Span,
    ) -> Result<Node, Fatal> {
        self.check_tag(tag, span);
        if text.contains('\0') {
            return Err(Problem::error(span, "a value holds a NUL character").into());
        }
        let is_null = style == ScalarStyle::Plain
            && tag.is_none_or(|tag| tag.suffix == "null")
            && matches!(text, "" | "~" | "null" | "Null" | "NULL");
        if is_null {
            return Ok(Node::new(span, YamlValue::Null));
        }
        // A plain scalar starts where its node does, a quoted one behind the quote.
        let written = |at: &usize| self.source.text().get(*at..).is_some_and(|rest| rest.starts_with(text));
        let verbatim = [span.start, span.start + 1].into_iter().find(written);
        Ok(Node { span, value: YamlValue::Scalar(text.to_owned()), verbatim })
    }

    fn sequence(&mut self, start: Span, depth: usize) -> Result<Node, Fatal> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, end) => {
                    let last = items.last().map(|node: &Node| node.span);
                    return Ok(Node::new(enclosing(start, last, end), YamlValue::Sequence(items)));
                }
                item => items.push(self.node(item, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, start: Span, depth: usize) -> Result<Node, Fatal> {
        let mut entries: Vec<(Spanned<String>, Node)> = Vec::new();
        let mut seen: BTreeMap<String, Span> = BTreeMap::new();
        loop {
            let key = match self.next()? {
                (Event::MappingEnd, end) => {
                    let last = entries.last().map(|(_, node)| node.span);
                    return Ok(Node::new(enclosing(start, last, end), YamlValue::Mapping(entries)));
                }
                key => self.node(key, depth + 1)?,
            };
            let value = self.next()?;
            let value = self.node(value, depth + 1)?;
            let Some(key) = self.key(key) else { continue };
            match seen.get(&key.value) {
                Some(first) => self.problems.push(duplicate_key(&key, *first)),
                None => {
                    seen.insert(key.value.clone(), key.span);
                    entries.push((key, value));
                }
            }
        }
    }

    fn key(&mut self, key: Node) -> Option<Spanned<String>> {
        match key.value {
            YamlValue::Scalar(text) => Some(Spanned { value: text, span: key.span }),
            _ => {
                let message = format!("a key is {}, not a name", key.kind());
                self.problems.push(Problem::error(key.span, message));
                None
            }
        }
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<Node, Fatal> {
        let Some(anchored) = self.anchors.get(&anchor).cloned() else {
            return Err(Problem::error(span, "an alias is inside the value it repeats").into());
        };
        self.spend(anchored.cost, span)?;
        Ok(Node::clone(&anchored.node))
    }

    fn remember(&mut self, anchor: usize, node: &Node) -> Result<(), Fatal> {
        let cost = node.total_cost();
        self.spend(cost, node.span)?;
        self.anchors.insert(anchor, Anchored { node: Rc::new(node.clone()), cost });
        Ok(())
    }

    fn spend(&mut self, cost: usize, span: Span) -> Result<(), Fatal> {
        self.spent = self.spent.saturating_add(cost);
        // A text that may be longer holds one long scalar.
        let most = LARGEST_TREE.max(2 * self.source.text().len());
        if self.spent <= most {
            return Ok(());
        }
        let message = format!("the file is too large: with every alias it takes more than {most} bytes");
        Err(Problem::error(span, message).into())
    }

    /// Tags of YAML's own schema say nothing a decoder needs; others would change what a value means.
    fn check_tag(&mut self, tag: Option<&Tag>, span: Span) {
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema() && !tag.suffix.is_empty()) {
            let message = format!("the tag {} means nothing here", quote(&tag.to_string()));
            self.problems.push(Problem::error(span, message).help("remove it, or quote the value"));
        }
    }

    fn byte(&self, index: usize) -> usize {
        let length = self.source.text().len();
        if self.offsets.is_empty() {
            index.min(length)
        } else {
            self.offsets.get(index).copied().unwrap_or(length)
        }
    }

    fn syntax_error(&self, error: &ScanError) -> Fatal {
        let at = self.byte(error.marker().index());
        let span = Span { start: at, end: at };
        // The parser's own limit, which it meets first where it must read ahead.
        if error.info().contains("recursion limit") {
            return too_deep(span);
        }
        if error.info().contains("quoted scalar") && error.info().contains("end of stream") {
            let help = "close it on this line with the quotation mark that it begins with: `\"numpy\"`";
            return Problem::error(span, "this is not YAML: the quote that begins here is not closed")
                .help(help)
                .into();
        }
        let message = format!("this is not YAML: {}", error.info());
        let problem = Problem::error(span, message);
        problem.help(syntax_help(error.info(), self.line_of(at))).into()
    }

    fn line_of(&self, at: usize) -> &str {
        let text = self.source.text();
        let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        text[start..].lines().next().unwrap_or_default()
    }
}

/// Help for the usual mistakes with versions and requirements in YAML.
fn syntax_help(reason: &str, line: &str) -> &'static str {
    let value = line.split_once(": ").map_or(line, |(_, value)| value);
    let value = value.trim_start_matches(['-', ' ', '{', '[']);
    if reason.contains("tab") {
        "indent with spaces, not tabs"
    } else if value.starts_with(['>', '<', '=', '~', '!', '*', '@', '&', '%', '`']) {
        "quote a value that starts with a special character: \">=2.5,<2.7\", \"*\""
    } else if value.contains('[') {
        "quote an entry that holds brackets or commas: [\"jax[cuda12]\", \"numpy>=1,<3\"]"
    } else if value.contains(": ") {
        "quote a value that holds a colon and a space"
    } else {
        "look at the indentation and the quotes, here and in the lines before"
    }
}

/// The next step of somebody who has no recipe yet.
const EMPTY: &str = "write at least `base: debian-bookworm` and `packages: [numpy]`; `imgforge init` writes a recipe from a project";

fn too_deep(span: Span) -> Fatal {
    Problem::error(span, format!("lists and mappings are nested more than {DEEPEST} deep")).into()
}

fn empty() -> Fatal {
    Problem::error(Span::default(), "the file is empty").help(EMPTY).into()
}

fn second_document(span: Span) -> Fatal {
    Problem::error(span, "a second YAML document starts here")
        .help("keep one document per file: remove the `---` line and what follows")
        .into()
}

fn duplicate_key(key: &Spanned<String>, first: Span) -> Problem {
    Problem::error(key.span, format!("the key {} is written twice", quote(key)))
        .label("again here")
        .related(first, "first here")
        .help("keep one of the two")
}

/// The span of a list or mapping: block styles have no closing character, so their end is their last child's.
fn enclosing(start: Span, last: Option<Span>, end: Span) -> Span {
    let end = if end.start < end.end { end.end } else { last.map_or(start.end, |last| last.end) };
    Span { start: start.start, end: end.max(start.start) }
}
