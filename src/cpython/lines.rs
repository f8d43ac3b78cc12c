//! The logical lines of a Python module: comments and the content of strings left out, continued lines joined.
//!
//! <https://docs.python.org/3/reference/lexical_analysis.html#line-structure>

/// The most bytes that are kept of one logical line: the longest import lists have a few thousand, tables of data megabytes.
const LONGEST: usize = 64 << 10;
/// The most bytes of a string that is kept: names of libraries have some dozens.
const LONGEST_STRING: usize = 256;
/// The most strings of a logical line that are kept.
const MOST_STRINGS: usize = 16;

/// A logical line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogicalLine {
    /// In columns; a tab leads to the next multiple of eight.
    pub indentation: usize,
    pub text: String,
    /// The short string literals in it, without their quotes.
    pub strings: Vec<String>,
}

/// Splits a source text into its logical lines; empty ones are left out.
#[derive(Debug)]
pub(super) struct LogicalLines<'a> {
    source: &'a [u8],
    at: usize,
}

impl<'a> LogicalLines<'a> {
    pub(super) fn new(source: &'a [u8]) -> Self {
        let at = if source.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        Self { source, at }
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

    /// The text up to the end of the logical line, which is passed, and its strings.
    fn text(&mut self) -> (Vec<u8>, Vec<String>) {
        let (mut text, mut strings) = (Vec::new(), Vec::new());
        let mut depth = 0_usize;
        while self.at < self.source.len() {
            let byte = self.peek(0);
            let kept = match byte {
                b'#' => {
                    self.skip_to_end_of_line();
                    continue;
                }
                b'\'' | b'"' => {
                    let start = self.at + 1;
                    self.skip_string(byte);
                    let string = self.source.get(start..self.at.saturating_sub(1)).unwrap_or_default();
                    if string.len() <= LONGEST_STRING && strings.len() < MOST_STRINGS {
                        strings.push(String::from_utf8_lossy(string).into_owned());
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
                        break;
                    }
                    b' '
                }
                b'(' | b'[' | b'{' => {
                    self.at += 1;
                    depth += 1;
                    byte
                }
                b')' | b']' | b'}' => {
                    self.at += 1;
                    depth = depth.saturating_sub(1);
                    byte
                }
                _ => {
                    self.at += 1;
                    byte
                }
            };
            if text.len() < LONGEST {
                text.push(kept);
            }
        }
        (text, strings)
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

impl Iterator for LogicalLines<'_> {
    type Item = LogicalLine;

    fn next(&mut self) -> Option<LogicalLine> {
        while self.at < self.source.len() {
            let indentation = self.indentation();
            let (text, strings) = self.text();
            if !text.trim_ascii().is_empty() {
                let text = String::from_utf8_lossy(text.trim_ascii()).into_owned();
                return Some(LogicalLine { indentation, text, strings });
            }
        }
        None
    }
}
