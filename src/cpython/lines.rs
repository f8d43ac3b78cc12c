//! The logical lines of a Python module: comments and the content of strings left out, continued lines joined.
//!
//! <https://docs.python.org/3/reference/lexical_analysis.html#line-structure>

use std::borrow::Cow;

/// The most bytes that are kept of one logical line: the longest import lists have a few thousand, tables of data megabytes.
const LONGEST: usize = 64 << 10;
/// The most bytes of a string that is kept: names of libraries have some dozens.
const LONGEST_STRING: usize = 256;
/// The most strings of a logical line that are kept.
const MOST_STRINGS: usize = 16;

/// A logical line.
#[derive(Debug)]
pub(super) struct LogicalLine<'a> {
    /// In columns; a tab leads to the next multiple of eight.
    pub indentation: usize,
    pub text: Cow<'a, str>,
    /// The short string literals in it, without their quotes.
    strings: &'a [&'a [u8]],
}

impl LogicalLine<'_> {
    /// The short string literals in it, without their quotes.
    pub(super) fn strings(&self) -> Vec<String> {
        self.strings.iter().map(|string| String::from_utf8_lossy(string).into_owned()).collect()
    }
}

/// Splits a source text into its logical lines; empty ones are left out.
#[derive(Debug)]
pub(super) struct LogicalLines<'a> {
    source: &'a [u8],
    at: usize,
    /// The text and the strings of the line before.
    text: Vec<u8>,
    strings: Vec<&'a [u8]>,
}

/// The bytes that are more than text.
static IS_SPECIAL: [bool; 256] = {
    let mut all = [false; 256];
    let special = b"#'\"\\\n\r()[]{}";
    let mut at = 0;
    while at < special.len() {
        all[special[at] as usize] = true;
        at += 1;
    }
    all
};

impl<'a> LogicalLines<'a> {
    pub(super) fn new(source: &'a [u8]) -> Self {
        let at = if source.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        Self { source, at, text: Vec::new(), strings: Vec::new() }
    }

    /// The next line of those whose indentation is wanted.
    pub(super) fn next_line(&mut self, is_wanted: impl Fn(usize) -> bool) -> Option<LogicalLine<'_>> {
        while self.at < self.source.len() {
            let indentation = self.indentation();
            self.text.clear();
            self.strings.clear();
            if is_wanted(indentation) {
                self.pass::<true>();
            } else {
                self.pass::<false>();
            }
            if !self.text.trim_ascii().is_empty() {
                let text = String::from_utf8_lossy(self.text.trim_ascii());
                return Some(LogicalLine { indentation, text, strings: &self.strings });
            }
        }
        None
    }

    fn peek(&self, offset: usize) -> u8 {
        self.source.get(self.at + offset).copied().unwrap_or(b'\n')
    }

    fn indentation(&mut self) -> usize {
        let mut columns = 0;
        loop {
            columns = match self.peek(0) {
                b' ' => columns + 1,
                b'\t' => (columns / 8 + 1) * 8,
                b'\x0c' => 0,
                _ => return columns,
            };
            self.at += 1;
        }
    }

    /// Passes the rest of the logical line; takes its text and its strings where they are wanted.
    fn pass<const WANTED: bool>(&mut self) {
        let mut depth = 0_usize;
        while self.at < self.source.len() {
            let rest = &self.source[self.at..];
            let plain = rest.iter().position(|byte| IS_SPECIAL[usize::from(*byte)]).unwrap_or(rest.len());
            self.at += plain;
            if WANTED {
                self.keep(&rest[..plain]);
            }
            let Some(&byte) = rest.get(plain) else { return };
            let kept = match byte {
                b'#' => {
                    self.skip_to_end_of_line();
                    continue;
                }
                b'\'' | b'"' => {
                    let start = self.at + 1;
                    self.skip_string(byte);
                    let string = self.source.get(start..self.at.saturating_sub(1)).unwrap_or_default();
                    if WANTED && string.len() <= LONGEST_STRING && self.strings.len() < MOST_STRINGS {
                        self.strings.push(string);
                    }
                    b'"'
                }
                b'\\' if self.is_continued() => {
                    self.at += if self.peek(1) == b'\r' { 3 } else { 2 };
                    b' '
                }
                b'\n' | b'\r' => {
                    self.at += 1;
                    if depth == 0 {
                        return;
                    }
                    b' '
                }
                _ => {
                    self.at += 1;
                    match byte {
                        b'(' | b'[' | b'{' => depth += 1,
                        b')' | b']' | b'}' => depth = depth.saturating_sub(1),
                        _ => {}
                    }
                    byte
                }
            };
            if WANTED {
                self.keep(&[kept]);
            }
        }
    }

    /// Adds to the text of the line, which does not get longer than the longest.
    fn keep(&mut self, bytes: &[u8]) {
        let room = LONGEST.saturating_sub(self.text.len());
        self.text.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn is_continued(&self) -> bool {
        self.at + 1 < self.source.len()
            && (self.peek(1) == b'\n' || (self.peek(1) == b'\r' && self.peek(2) == b'\n'))
    }

    fn skip_to_end_of_line(&mut self) {
        let rest = &self.source[self.at..];
        self.at += memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
    }

    /// Passes the string that begins here; one that does not end ends with its line.
    fn skip_string(&mut self, quote: u8) {
        let is_triple = self.at + 2 < self.source.len() && self.peek(1) == quote && self.peek(2) == quote;
        self.at += if is_triple { 3 } else { 1 };
        loop {
            let rest = self.source.get(self.at..).unwrap_or_default();
            let found = if is_triple {
                memchr::memchr2(quote, b'\\', rest)
            } else {
                memchr::memchr3(quote, b'\\', b'\n', rest)
            };
            let Some(offset) = found else {
                self.at = self.source.len();
                return;
            };
            self.at += offset;
            match self.peek(0) {
                b'\\' => self.at += 2,
                b'\n' => return,
                _ if !is_triple => {
                    self.at += 1;
                    return;
                }
                _ if self.source[self.at..].starts_with(&[quote; 3]) => {
                    self.at += 3;
                    return;
                }
                _ => self.at += 1,
            }
        }
    }
}
