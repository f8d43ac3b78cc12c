//! Control data: paragraphs of `Field: value` lines, values folded over lines that begin with a space.
//!
//! <https://www.debian.org/doc/debian-policy/ch-controlfields.html#syntax-of-control-files> · deb822(5)

use crate::failure::Hinted;

/// One paragraph. Names and values borrow from the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paragraph<'a> {
    fields: Vec<(&'a str, &'a str)>,
}

/// A line that no paragraph can contain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub struct Deb822Error {
    /// The line, from 1.
    pub line: usize,
    reason: Deb822Fault,
}

/// The reason why a line cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum Deb822Fault {
    #[error("there is no field")]
    Empty,
    #[error("a continuation of nothing")]
    Continuation,
    #[error("`{text}` is not a field")]
    NotAField { text: String },
    #[error("`{field}` is there twice")]
    Twice { field: String },
}

impl Hinted for Deb822Error {
    fn hint(&self) -> Option<String> {
        Some("every line is `Field: value`, or begins with a space and continues the value above".into())
    }
}

impl<'a> Paragraph<'a> {
    /// The value of `name`, whatever its case: as written, with the line breaks of a folded value.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// The fields in the order of the text.
    pub fn fields(&self) -> impl Iterator<Item = (&'a str, &'a str)> + '_ {
        self.fields.iter().copied()
    }

    /// The words of a whitespace-separated value, without comment lines; nothing when it is absent.
    pub fn words(&self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let value = self.get(name).unwrap_or("");
        value.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_ascii_whitespace)
    }
}

/// The paragraphs of `text`, in order.
pub fn paragraphs(text: &str) -> Paragraphs<'_> {
    Paragraphs { text, at: 0, line: 0 }
}

/// The only paragraph of `text`; with several, the first.
pub fn paragraph(text: &str) -> Result<Paragraph<'_>, Deb822Error> {
    let empty = || Deb822Error { line: 1, reason: Deb822Fault::Empty };
    paragraphs(text).next().unwrap_or_else(|| Err(empty()))
}

/// An iterator over paragraphs; see [`paragraphs`].
#[derive(Debug, Clone)]
pub struct Paragraphs<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl<'a> Paragraphs<'a> {
    /// The next line as its range in the text, without the line break.
    fn next_line(&mut self) -> Option<(usize, usize)> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        let length = rest.find('\n').unwrap_or(rest.len());
        let start = self.at;
        self.at += length + 1;
        self.line += 1;
        Some((start, start + length))
    }

    fn error(&self, reason: Deb822Fault) -> Deb822Error {
        Deb822Error { line: self.line, reason }
    }

    fn read(&mut self) -> Result<Vec<(&'a str, &'a str)>, Deb822Error> {
        // The fields as ranges first: a folded value grows with each of its lines.
        let mut fields: Vec<(&'a str, usize, usize)> = Vec::with_capacity(24);
        while let Some((start, end)) = self.next_line() {
            let line = &self.text[start..end];
            match line.as_bytes().first() {
                Some(b'#') => {}
                Some(b' ' | b'\t') if !line.trim_ascii().is_empty() => match fields.last_mut() {
                    Some((_, _, value_end)) => *value_end = end,
                    None => return Err(self.error(Deb822Fault::Continuation)),
                },
                _ if line.trim_ascii().is_empty() => {
                    if !fields.is_empty() {
                        break;
                    }
                }
                _ => {
                    let colon = line
                        .find(':')
                        .filter(|&colon| colon > 0 && !line[..colon].contains([' ', '\t']))
                        .ok_or_else(|| self.error(Deb822Fault::NotAField { text: clip(line).to_owned() }))?;
                    let name = &line[..colon];
                    if fields.iter().any(|(field, _, _)| field.eq_ignore_ascii_case(name)) {
                        return Err(self.error(Deb822Fault::Twice { field: clip(name).to_owned() }));
                    }
                    fields.push((name, start + colon + 1, end));
                }
            }
        }
        Ok(fields.into_iter().map(|(name, start, end)| (name, self.text[start..end].trim_ascii())).collect())
    }
}

impl<'a> Iterator for Paragraphs<'a> {
    type Item = Result<Paragraph<'a>, Deb822Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.read() {
            Ok(fields) if fields.is_empty() => None,
            Ok(fields) => Some(Ok(Paragraph { fields })),
            Err(error) => {
                self.at = self.text.len();
                Some(Err(error))
            }
        }
    }
}

/// The beginning of a text that may be long, for a message.
fn clip(text: &str) -> &str {
    text.char_indices().nth(60).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Vec<(&str, &str)>>, Deb822Error> {
        paragraphs(text).map(|paragraph| Ok(paragraph?.fields)).collect()
    }

    #[test]
    fn reads_paragraphs_and_folded_values() {
        let text =
            "\n# comment\nPackage: a\nDescription: short\n long\n .\n more\n\n \t\n\nPackage:b\r\nEmpty:\n";
        let expected = vec![
            vec![("Package", "a"), ("Description", "short\n long\n .\n more")],
            vec![("Package", "b"), ("Empty", "")],
        ];
        assert_eq!(parse(text), Ok(expected));
    }

    #[test]
    fn finds_fields_in_any_case_and_skips_comments_inside_a_value() {
        let text = "URIs: one\n# not this\n two\n";
        let paragraph = paragraph(text).unwrap();
        assert_eq!(paragraph.words("uris").collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(paragraph.get("Suites"), None);
    }

    #[test]
    fn names_the_line_it_cannot_read() {
        let not_a_field = |text: &str| Deb822Fault::NotAField { text: text.to_owned() };
        for (text, line, reason) in [
            (" x\n", 1, Deb822Fault::Continuation),
            ("A: b\nnonsense\n", 2, not_a_field("nonsense")),
            ("A: b\na: c\n", 2, Deb822Fault::Twice { field: "a".to_owned() }),
            ("A: b\n\n: x", 3, not_a_field(": x")),
            ("A b: c", 1, not_a_field("A b: c")),
        ] {
            assert_eq!(parse(text).unwrap_err(), Deb822Error { line, reason }, "{text}");
        }
    }

    #[test]
    fn a_text_without_fields_has_no_paragraph() {
        for text in ["", "\n\n", "# only this\n", "   \n"] {
            assert_eq!(parse(text), Ok(vec![]), "{text:?}");
        }
    }
}
