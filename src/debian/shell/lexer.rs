//! The text of a script: a position in it, blanks, comments, reserved words, and texts that follow later.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use super::syntax::{DEEPEST, ShellWord, SyntaxError, SyntaxFault};

/// The text of a here-document, awaited at the end of the line.
pub(super) struct Awaited {
    pub end: String,
    pub strips_tabs: bool,
    pub expands: bool,
    pub place: Rc<OnceCell<ShellWord>>,
}

/// A position in a script.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    /// A position before `at`, and its line: every command asks for its own, and lines are counted once.
    counted: Cell<(usize, usize)>,
    depth: usize,
    pub awaited: Vec<Awaited>,
}

impl<'a> Lexer<'a> {
    /// The beginning of `text`, which is itself `depth` levels deep.
    pub(super) fn new(text: &'a str, first_line: usize, depth: usize) -> Self {
        Self { text, at: 0, counted: Cell::new((0, first_line)), depth, awaited: Vec::new() }
    }

    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    pub(super) fn line(&self) -> usize {
        let (before, line) = self.counted.get();
        let line = line + self.text[before..self.at].matches('\n').count();
        self.counted.set((self.at, line));
        line
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// The text from `start` to here, on one line.
    pub(super) fn since(&self, start: usize) -> String {
        let words = self.text[start..self.at].replace("\\\n", " ");
        words.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    pub(super) fn fault(&self, fault: SyntaxFault) -> SyntaxError {
        SyntaxError { line: self.line(), fault }
    }

    /// Goes one level deeper for the time of `parse`.
    pub(super) fn nested<T>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<T, SyntaxError>,
    ) -> Result<T, SyntaxError> {
        if self.depth == DEEPEST {
            return Err(self.fault(SyntaxFault::TooDeep));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    /// Passes `text` if it comes next.
    pub(super) fn take(&mut self, text: &str) -> bool {
        let comes = self.rest().starts_with(text);
        if comes {
            self.at += text.len();
        }
        comes
    }

    /// Passes and returns everything up to the next `end`, which is passed too.
    pub(super) fn take_until(&mut self, end: char) -> Result<&'a str, SyntaxError> {
        let rest = self.rest();
        let length = rest.find(end).ok_or_else(|| self.fault(SyntaxFault::OpenQuote))?;
        self.at += length + end.len_utf8();
        Ok(&rest[..length])
    }

    /// Passes the letters that `fits`.
    pub(super) fn take_while(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|c| !fits(c)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// Passes blanks, continued lines and a comment.
    pub(super) fn skip_blanks(&mut self) {
        loop {
            self.take_while(|c| c == ' ' || c == '\t' || c == '\r');
            if self.take("\\\n") {
                continue;
            }
            if self.peek() == Some('#') {
                self.take_while(|c| c != '\n');
            }
            return;
        }
    }

    /// The reserved word or plain name that comes next, which is not passed.
    pub(super) fn peek_name(&self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| is_word_end(c) || "\\'\"$`".contains(c)).unwrap_or(rest.len());
        let quoted = rest[end..].starts_with(['\\', '\'', '"', '$', '`']);
        if quoted { "" } else { &rest[..end] }
    }

    /// Passes the reserved word `word` if it comes next.
    pub(super) fn take_reserved(&mut self, word: &str) -> bool {
        let comes = self.peek_name() == word;
        if comes {
            self.at += word.len();
        }
        comes
    }

    pub(super) fn require(&mut self, word: &'static str) -> Result<(), SyntaxError> {
        self.skip_blanks();
        match self.take_reserved(word) {
            true => Ok(()),
            false => Err(self.fault(SyntaxFault::Missing(word))),
        }
    }

    /// The lines of the here-document that ends with `end`, which are passed.
    pub(super) fn take_document(&mut self, awaited: &Awaited) -> String {
        let mut text = String::new();
        while !self.rest().is_empty() {
            let rest = self.rest();
            let length = rest.find('\n').unwrap_or(rest.len());
            self.at += (length + 1).min(rest.len());
            let line = &rest[..length];
            let line = if awaited.strips_tabs { line.trim_start_matches('\t') } else { line };
            if line == awaited.end {
                break;
            }
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}

/// Returns whether `c` ends a word that is not quoted.
pub(super) fn is_word_end(c: char) -> bool {
    c.is_ascii_whitespace() || ";&|<>()".contains(c)
}

/// Returns whether `text` can name a variable.
pub(super) fn is_name(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
