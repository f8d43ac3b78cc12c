//! Places in texts: a text with its name, and byte ranges in it.

use std::ops::Deref;

use serde::{Serialize, Serializer};

/// A text a user wrote, and the name to report it under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceText {
    origin: String,
    text: String,
}

impl SourceText {
    /// Takes `text`, without a leading byte order mark; every [`Span`] counts from behind it.
    pub fn new(text: &str, origin: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self { origin: origin.to_owned(), text: text.to_owned() }
    }

    /// The file's name as the user gave it.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The line and column of the byte at `offset`, both counted from 1, the column in characters.
    pub(super) fn position(&self, offset: usize) -> (usize, usize) {
        let before = &self.text[..self.text.floor_char_boundary(offset)];
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
