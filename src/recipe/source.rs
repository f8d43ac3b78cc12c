//! Places in texts: a text with its name, and byte ranges in it.

use std::ops::Deref;

use serde::{Serialize, Serializer};

/// A text a user wrote, and the name to report it under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceText {
    origin: String,
    text: String,
    /// The text of another file behind the first one's.
    second: Option<SecondText>,
}

/// The place at which a second text begins, and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SecondText {
    start: usize,
    origin: String,
}

impl SourceText {
    /// Takes `text`, without a leading byte order mark; every [`Span`] counts from behind it.
    pub fn new(text: &str, origin: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self { origin: origin.to_owned(), text: text.to_owned(), second: None }
    }

    /// This text and behind it `other`, each under its name; places in `other` begin at the number that is returned.
    pub(super) fn followed_by(&self, other: &Self) -> (Self, usize) {
        let text = format!("{}\n{}", self.text, other.text);
        let start = self.text.len() + 1;
        let second = Some(SecondText { start, origin: other.origin.clone() });
        (Self { origin: self.origin.clone(), text, second }, start)
    }

    /// The name, as the user gave it, of the file that has the byte at `offset`.
    pub fn origin(&self, offset: usize) -> &str {
        self.second_at(offset).map_or(&self.origin, |second| &second.origin)
    }

    /// Returns whether both places are in the same file.
    pub(super) fn is_one_file(&self, one: usize, other: usize) -> bool {
        self.second_at(one).is_some() == self.second_at(other).is_some()
    }

    fn second_at(&self, offset: usize) -> Option<&SecondText> {
        self.second.as_ref().filter(|second| offset >= second.start)
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The line and column of the byte at `offset`, both counted from 1, the column in characters.
    pub(super) fn position(&self, offset: usize) -> (usize, usize) {
        let start = self.second_at(offset).map_or(0, |second| second.start);
        let before = &self.text[start..self.text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        (line, before[line_start..].chars().count() + 1)
    }

    /// `span` made safe to slice with, and cut to its first line: an underline is for one line.
    pub(super) fn first_line(&self, span: Span) -> Span {
        let start = self.text.floor_char_boundary(span.start);
        let end = self.text.ceil_char_boundary(span.end).max(start);
        let line = self.text[start..end].lines().next().unwrap_or_default();
        Span { start, end: start + line.trim_end().len() }
    }
}

/// A range of bytes in a [`SourceText`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Span {
    /// The offset of the first byte.
    pub start: usize,
    /// The first byte after the range.
    pub end: usize,
}

impl Span {
    /// The same bytes in a text that stands behind `start` others.
    pub(super) fn behind(self, start: usize) -> Self {
        Self { start: start + self.start, end: start + self.end }
    }
}

/// A value and where it was written.
///
/// Two are equal when their values are, and the value alone is serialised: moving a line changes no build.
#[derive(Debug, Clone)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// The place where it is written.
    pub span: Span,
}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Spanned<T> {}

impl<T: Serialize> Serialize for Spanned<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}
