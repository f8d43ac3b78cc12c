//! Text for people: every line that is printed passes here, and is escaped as a whole, names of others included.

use std::fmt::{self, Display};
use std::io::{self, Write};

use serde::Serialize;

use super::table::{self, TableColumn};
use crate::escape;
use crate::failure::{Failure, Result};

/// The page that a text is written on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    /// The columns that a line has at most, where there is a limit.
    pub columns: Option<usize>,
    /// False where signs beyond ASCII would not be shown.
    pub unicode: bool,
}

impl Page {
    /// A page without an end at its right.
    pub(super) const ENDLESS: Self = Self { columns: None, unicode: true };

    /// The signs of imgforge's own in `text`, as the page can show them.
    fn shown(self, text: &str) -> String {
        match self.unicode {
            true => text.to_owned(),
            false => ascii(text),
        }
    }
}

/// The page, and how much is written on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    pub page: Page,
    /// All distributions and layers, where otherwise the most important ones are named and the others counted.
    pub all: bool,
    /// Every demand, on lines as long as they need.
    pub wide: bool,
}

/// `text` with the signs that imgforge writes replaced by those of ASCII.
pub(super) fn ascii(text: &str) -> String {
    text.replace('→', "->").replace('←', "<-").replace('…', "...")
}

/// Lines for people.
#[derive(Debug)]
pub(super) struct PrintedText {
    text: String,
    page: Page,
}

impl Default for PrintedText {
    fn default() -> Self {
        Self::on(Page::ENDLESS)
    }
}

/// The column in which what a fact is about ends.
const LABEL: usize = 11;

impl PrintedText {
    /// Lines on this page.
    pub(super) fn on(page: Page) -> Self {
        Self { text: String::new(), page }
    }

    /// Adds one line, whatever is in it.
    pub(super) fn line(&mut self, line: impl Display) {
        self.text.push_str(&escape::line(&self.page.shown(&line.to_string())));
        self.text.push('\n');
    }

    /// Adds a paragraph, broken at spaces.
    pub(super) fn paragraph(&mut self, text: impl Display) {
        self.hang("", &text.to_string(), 2);
    }

    /// Adds what is known about `label`, in lines of its own column.
    pub(super) fn fact(&mut self, label: &str, text: impl Display) {
        self.hang(&format!("{label:LABEL$}"), &text.to_string(), LABEL);
    }

    /// Adds a paragraph that is indented, broken at spaces.
    pub(super) fn indented(&mut self, text: impl Display) {
        self.hang("  ", &text.to_string(), 2);
    }

    /// Adds `text` behind `start`, its further lines indented.
    fn hang(&mut self, start: &str, text: &str, indent: usize) {
        let text = escape::escaped(&self.page.shown(text)).into_owned();
        let limit = self.page.columns.unwrap_or(usize::MAX);
        table::hanging(start, &text, indent, limit).iter().for_each(|line| self.line(line));
    }

    /// Adds an empty line.
    pub(super) fn blank(&mut self) {
        self.text.push('\n');
    }

    /// Adds a table that fits the page, and an empty line; nothing where it has no rows.
    pub(super) fn table(&mut self, columns: &[TableColumn], rows: Vec<Vec<String>>) {
        if rows.is_empty() {
            return;
        }
        let page = self.page;
        let cell = |cell: &String| escape::escaped(&page.shown(cell)).into_owned();
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(cell).collect()).collect();
        for line in table::lines(columns, &rows, page.columns) {
            self.line(line);
        }
        self.blank();
    }

    /// A document, with the escapes of JSON.
    pub(super) fn json(document: &impl Serialize) -> serde_json::Result<Self> {
        Ok(Self { text: escape::json(&serde_json::to_string_pretty(document)?) + "\n", ..Self::default() })
    }

    /// Commands of a runner, one a line: their maker has escaped what is from outside.
    pub(super) fn commands(commands: impl Iterator<Item = String>) -> Self {
        Self { text: commands.map(|command| command + "\n").collect(), ..Self::default() }
    }

    /// Prints it on standard output.
    pub(super) fn print(&self) -> Result<()> {
        print(&self.text)
    }

    /// Prints it on standard error.
    pub(super) fn tell(&self) {
        tell(&self.text);
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
                "free some space there, or send standard output elsewhere",
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
        f.write_str(&self.text)
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
        text.table(&[table::name("NAME"), table::name("V")], rows);
        let expected =
            "a b\\n::error::c\n\\u{3a}:error::d\nNAME        V\n\\u{1b}[2J   x\nlong\\nname  y\n\n";
        assert_eq!(text.to_string(), expected);
    }

    #[test]
    fn facts_go_on_in_their_own_column_and_in_the_signs_that_the_page_has() {
        let mut text = PrintedText::on(Page { columns: Some(24), unicode: false });
        text.fact("GPUs", "torch 2.6.0 ← vllm and more …");
        text.paragraph("a paragraph that has more words than a line takes");
        let expected = "GPUs       torch 2.6.0\n           <- vllm and\n           more ...\n\
                        a paragraph that has\n  more words than a line\n  takes\n";
        assert_eq!(text.to_string(), expected);
    }
}
