//! Text for people: every line that is printed passes here, and is escaped as a whole, names of others included.

use std::fmt::{self, Display};
use std::io::{self, Write};

use serde::Serialize;

use crate::escape;
use crate::failure::{Failure, Result};

/// Lines for people.
#[derive(Debug, Default)]
pub(super) struct PrintedText(String);

impl PrintedText {
    /// Adds one line, whatever is in it.
    pub fn line(&mut self, line: impl Display) {
        self.0.push_str(&escape::line(&line.to_string()));
        self.0.push('\n');
    }

    /// Adds an empty line.
    pub fn blank(&mut self) {
        self.0.push('\n');
    }

    /// Adds columns as wide as their widest cell, the last one ragged, and an empty line.
    pub fn table(&mut self, head: &[&str], rows: Vec<Vec<String>>) {
        let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
        let escaped = |row: Vec<String>| row.iter().map(|cell| escape::escaped(cell).into_owned()).collect();
        let all: Vec<Vec<String>> = std::iter::once(head).chain(rows.into_iter().map(escaped)).collect();
        let columns = all.first().map_or(0, Vec::len);
        let width =
            |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &all {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            self.line(cells.collect::<Vec<_>>().join("  ").trim_end());
        }
        self.blank();
    }

    /// A document, with the escapes of JSON.
    pub fn json(document: &impl Serialize) -> serde_json::Result<Self> {
        Ok(Self(escape::json(&serde_json::to_string_pretty(document)?) + "\n"))
    }

    /// Commands of a runner, one a line: their maker has escaped what is from outside.
    pub fn commands(commands: impl Iterator<Item = String>) -> Self {
        Self(commands.map(|command| command + "\n").collect())
    }

    /// Prints it on standard output.
    pub fn print(&self) -> Result<()> {
        print(&self.0)
    }

    /// Prints it on standard error.
    pub fn tell(&self) {
        tell(&self.0);
    }
}

/// Prints data on standard output; a closed pipe is the reader's choice.
pub(super) fn print(data: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(data.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| {
            Failure::advised(
                format!("could not write to standard output: {error}"),
                "let standard output be a file or pipe that takes it",
            )
        }),
    }
}

/// Prints what is escaped already on standard error. Where that is closed or full there is nobody to tell, and the exit
/// code still says how it went.
pub(super) fn tell(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Prints one line on standard error.
pub(super) fn tell_line(line: impl Display) {
    let mut text = PrintedText::default();
    text.line(line);
    text.tell();
}

impl Display for PrintedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_line_and_in_their_column() {
        let mut text = PrintedText::default();
        text.line(format_args!("a {}", "b\n::error::c"));
        text.line("::error::d");
        let rows =
            vec![vec!["\u{1b}[2J".to_owned(), "x".to_owned()], vec!["long\nname".to_owned(), "y".to_owned()]];
        text.table(&["NAME", "V"], rows);
        let expected =
            "a b\\n::error::c\n\\u{3a}:error::d\nNAME        V\n\\u{1b}[2J   x\nlong\\nname  y\n\n";
        assert_eq!(text.to_string(), expected);
    }
}
