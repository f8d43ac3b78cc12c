//! Tables that fit a width: no word is broken, and only a name that cannot be is longer than its line.

use unicode_width::UnicodeWidthStr;

/// The spaces between two columns.
const GAP: usize = 2;
/// The spaces before what stands below its row.
const INDENT: usize = 4;
/// The width below which a column of prose is not pressed: it stands below its row instead.
const NARROWEST: usize = 24;

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct TableColumn {
    head: &'static str,
    form: ColumnForm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ColumnForm {
    /// It keeps its place and its width.
    Name,
    /// The same, aligned at its right.
    Number,
    /// It goes on in further lines, or stands below its row where there is no room beside it.
    Prose,
}

/// A column of names, which are never broken.
pub(super) const fn name(head: &'static str) -> TableColumn {
    TableColumn { head, form: ColumnForm::Name }
}

/// A column of numbers and sizes.
pub(super) const fn number(head: &'static str) -> TableColumn {
    TableColumn { head, form: ColumnForm::Number }
}

/// A column of words, which may go on in further lines.
pub(super) const fn prose(head: &'static str) -> TableColumn {
    TableColumn { head, form: ColumnForm::Prose }
}

/// The columns that a terminal shows `text` in.
pub(super) fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// `text` in lines of at most `limit` columns, broken at spaces; a word that is longer has a line of its own.
pub(super) fn wrapped(text: &str, limit: usize) -> Vec<String> {
    wrapped_behind(text, 0, 0, limit)
}

/// The same, where the first line begins behind so many columns, and the others are to be indented.
pub(super) fn wrapped_behind(text: &str, start: usize, indent: usize, limit: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let room = limit.saturating_sub(if lines.len() == 1 { start } else { indent });
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if width(line) + 1 + width(word) <= room {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// `text` behind `start` in lines of at most `limit` columns, of which all but the first are indented.
pub(super) fn hanging(start: &str, text: &str, indent: usize, limit: usize) -> Vec<String> {
    let lines = wrapped_behind(text, width(start), indent, limit).into_iter().enumerate();
    let begun = |(at, line): (usize, String)| match at {
        0 => format!("{start}{line}"),
        _ => format!("{:indent$}{line}", ""),
    };
    lines.map(begun).collect()
}

/// The lines of a table of at most `limit` columns, where there is a limit.
pub(super) fn lines(columns: &[TableColumn], rows: &[Vec<String>], limit: Option<usize>) -> Vec<String> {
    // A column without a word in it says nothing.
    let is_used = |at: &usize| rows.iter().any(|row| !row[*at].is_empty());
    let used: Vec<usize> = (0..columns.len()).filter(|at| rows.is_empty() || is_used(at)).collect();
    let layout = FittedTable::of(columns, rows, used, limit);
    let head: Vec<String> = columns.iter().map(|column| column.head.to_owned()).collect();
    let mut lines = layout.row(columns, &head);
    for row in rows {
        lines.extend(layout.row(columns, row));
        lines.extend(layout.below(columns, row, limit));
    }
    lines
}

/// The columns that stand beside each other, with their widths, and those that stand below.
struct FittedTable {
    beside: Vec<(usize, usize)>,
    below: Vec<usize>,
}

impl FittedTable {
    fn of(
        columns: &[TableColumn],
        rows: &[Vec<String>],
        mut beside: Vec<usize>,
        limit: Option<usize>,
    ) -> Self {
        let natural = |at: usize| {
            let cells = rows.iter().map(|row| width(&row[at]));
            cells.chain([width(columns[at].head)]).max().unwrap_or_default()
        };
        let mut below = Vec::new();
        loop {
            let widths: Vec<(usize, usize)> = beside.iter().map(|at| (*at, natural(*at))).collect();
            let Some(limit) = limit else { return Self { beside: widths, below } };
            if let Some(beside) = pressed(columns, rows, &widths, limit) {
                return Self { beside, below };
            }
            let last = beside.iter().rposition(|at| columns[*at].form == ColumnForm::Prose);
            match last {
                Some(last) => below.insert(0, beside.remove(last)),
                None => return Self { beside: widths, below },
            }
        }
    }

    /// The lines of a row: as many as its longest cell of prose.
    fn row(&self, columns: &[TableColumn], row: &[String]) -> Vec<String> {
        let cell = |(at, width): &(usize, usize)| match columns[*at].form {
            ColumnForm::Prose => wrapped(&row[*at], *width),
            ColumnForm::Name | ColumnForm::Number => vec![row[*at].clone()],
        };
        let cells: Vec<Vec<String>> = self.beside.iter().map(cell).collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or_default();
        let line = |number: usize| {
            let parts = self.beside.iter().zip(&cells).map(|((at, width), cell)| {
                padded(cell.get(number).map_or("", String::as_str), *width, columns[*at].form)
            });
            parts.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end().to_owned()
        };
        (0..height).map(line).collect()
    }

    fn below(&self, columns: &[TableColumn], row: &[String], limit: Option<usize>) -> Vec<String> {
        let said = self.below.iter().filter(|at| !row[**at].is_empty());
        let lines = said.flat_map(|at| {
            let text = format!("{}: {}", columns[*at].head.to_lowercase(), row[*at]);
            hanging(&" ".repeat(INDENT), &text, INDENT + GAP, limit.unwrap_or(usize::MAX))
        });
        lines.collect()
    }
}

/// The widths of columns in `limit`, where those of prose may be narrower than they are; `None` where that is not enough.
fn pressed(
    columns: &[TableColumn],
    rows: &[Vec<String>],
    widths: &[(usize, usize)],
    limit: usize,
) -> Option<Vec<(usize, usize)>> {
    let gaps = GAP * widths.len().saturating_sub(1);
    let least = |(at, natural): &(usize, usize)| match columns[*at].form {
        ColumnForm::Name | ColumnForm::Number => *natural,
        ColumnForm::Prose => {
            let words = rows.iter().flat_map(|row| row[*at].split(' ')).map(width);
            words.chain([width(columns[*at].head), NARROWEST.min(*natural)]).max().unwrap_or_default()
        }
    };
    let mut room = limit.checked_sub(gaps + widths.iter().map(least).sum::<usize>())?;
    let fit = widths.iter().map(|column| {
        let least = least(column);
        let more = room.min(column.1 - least);
        room -= more;
        (column.0, least + more)
    });
    Some(fit.collect())
}

fn padded(text: &str, width_of_column: usize, form: ColumnForm) -> String {
    let space = " ".repeat(width_of_column.saturating_sub(width(text)));
    match form {
        ColumnForm::Number => space + text,
        ColumnForm::Name | ColumnForm::Prose => text.to_owned() + &space,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [TableColumn; 4] = [name("NAME"), number("SIZE"), prose("FROM"), prose("BECAUSE OF")];

    fn check(limit: Option<usize>, expected: &str) {
        let rows = [
            ["cublas", "9 MiB", "wheel nvidia-cublas-cu12", "torch 2.6.0 (==12.4.5.8), +4 more"],
            ["nvrtc", "10 MiB", "the base", ""],
        ];
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.map(str::to_owned).to_vec()).collect();
        assert_eq!(lines(&COLUMNS, &rows, limit).join("\n"), expected, "in {limit:?}");
    }

    #[test]
    fn a_table_goes_on_below_where_it_does_not_fit() {
        check(
            None,
            "NAME      SIZE  FROM                      BECAUSE OF\n\
             cublas   9 MiB  wheel nvidia-cublas-cu12  torch 2.6.0 (==12.4.5.8), +4 more\n\
             nvrtc   10 MiB  the base",
        );
        check(
            Some(66),
            "NAME      SIZE  FROM                      BECAUSE OF\n\
             cublas   9 MiB  wheel nvidia-cublas-cu12  torch 2.6.0\n\
             \x20                                         (==12.4.5.8), +4 more\n\
             nvrtc   10 MiB  the base",
        );
        check(
            Some(50),
            "NAME      SIZE  FROM\n\
             cublas   9 MiB  wheel nvidia-cublas-cu12\n    because of: torch 2.6.0 (==12.4.5.8), +4 more\n\
             nvrtc   10 MiB  the base",
        );
        check(
            Some(30),
            "NAME      SIZE\n\
             cublas   9 MiB\n    from: wheel\n      nvidia-cublas-cu12\n    because of: torch 2.6.0\n      (==12.4.5.8), +4 more\n\
             nvrtc   10 MiB\n    from: the base",
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_unless_a_name_is() {
        let rows = vec![vec!["a-name-of-twenty-four-xx".to_owned(), "日本語".into(), String::new()]];
        let columns = [name("NAME"), prose("WORDS"), prose("NOTHING")];
        assert_eq!(
            lines(&columns, &rows, Some(10)),
            ["NAME", "a-name-of-twenty-four-xx", "    words:", "      日本語"]
        );
    }

    #[test]
    fn no_table_is_wider_than_its_words_make_it() {
        for limit in 40..250 {
            let rows = vec![vec!["cublas".to_owned(), "1 B".into(), "wheel a-b".into(), "x ".repeat(200)]];
            let widest = lines(&COLUMNS, &rows, Some(limit)).iter().map(|line| width(line)).max();
            assert!(widest <= Some(limit), "{widest:?} in {limit}");
        }
    }
}
