//! Bounds on dependency specifiers and version specifiers, held before they are parsed.
//!
//! The parser of markers recurses for each parenthesis, and makes a decision diagram of the conditions: small texts can
//! exhaust the stack, and a few dozen conditions all memory. Each text from outside passes here first.
//!
//! <https://packaging.python.org/en/latest/specifications/dependency-specifiers/>

use std::iter::Peekable;
use std::str::FromStr;

use uv_pep508::{MarkerTree, MarkerTreeKind};

/// The bytes of a requirement: `all` extras of real projects have markers of 3 KB.
const LONGEST_REQUIREMENT: usize = 32 << 10;
/// The parentheses of a requirement: SQLAlchemy's nest eight deep; the parser recurses.
const MOST_PARENTHESES: usize = 128;
/// The bounds on versions, or extras, in a requirement: each is compared with every other one.
const MOST_SPECIFIERS: usize = 512;
/// The conditions of a marker: `all` extras of real projects list some 100.
const MOST_CONDITIONS: usize = 128;
/// The ways through a marker's decision diagram; writing it as text compares each with every other one.
const MOST_WAYS: usize = 256;
/// The words of a quoted string in a marker: lists of versions behind `in` have a dozen.
const MOST_WORDS: usize = 256;
/// A marker of so few conditions is never large, whatever they are.
const FEW_CONDITIONS: usize = 8;

/// The reason why a requirement is not parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum TooComplex {
    #[error("it has {bytes} bytes; {LONGEST_REQUIREMENT} are allowed")]
    Length { bytes: usize },
    #[error("it has {count} parentheses; {MOST_PARENTHESES} are allowed")]
    Parentheses { count: usize },
    #[error("it has {count} extras and bounds on versions; {MOST_SPECIFIERS} are allowed")]
    Specifiers { count: usize },
    #[error("its marker has {count} conditions; {MOST_CONDITIONS} are allowed")]
    Conditions { count: usize },
    #[error("a string of its marker has {count} words; {MOST_WORDS} are allowed")]
    Words { count: usize },
    #[error("the conditions of its marker combine in more than {MOST_WAYS} ways")]
    Ways,
    #[error("its marker has {count} conditions, and not the form of a marker")]
    Form { count: usize },
}

/// Refuses a dependency specifier that is too costly to parse or to write; otherwise returns its weight, a measure of
/// the work that it makes.
pub fn weigh_requirement(text: &str) -> Result<usize, TooComplex> {
    check_length(text)?;
    let parentheses = text.matches('(').count();
    if parentheses > MOST_PARENTHESES {
        return Err(TooComplex::Parentheses { count: parentheses });
    }
    let (head, marker) = text.split_once(';').unwrap_or((text, ""));
    let specifiers = count_specifiers(head)?;
    Ok(specifiers + weigh_marker(marker)?)
}

/// Refuses a list of version specifiers that is too costly to parse or to intersect.
pub fn check_specifiers(text: &str) -> Result<(), TooComplex> {
    check_length(text)?;
    count_specifiers(text).map(drop)
}

fn check_length(text: &str) -> Result<(), TooComplex> {
    match text.len() {
        bytes if bytes > LONGEST_REQUIREMENT => Err(TooComplex::Length { bytes }),
        _ => Ok(()),
    }
}

/// The commas and operators of `text`: lenient parsing separates `>=1<2` at the operators.
fn count_specifiers(text: &str) -> Result<usize, TooComplex> {
    let is_operator = |byte: u8| matches!(byte, b'<' | b'>' | b'=' | b'!' | b'~' | b'^');
    let mut before = 0;
    let starts = |byte: u8| {
        let starts = byte == b',' || (is_operator(byte) && !is_operator(before));
        before = byte;
        starts
    };
    match text.bytes().map(starts).filter(|starts| *starts).count() {
        count if count > MOST_SPECIFIERS => Err(TooComplex::Specifiers { count }),
        count => Ok(count),
    }
}

fn weigh_marker(text: &str) -> Result<usize, TooComplex> {
    // Read without regard to quotes: what the parser takes for a condition is never missed.
    let is_break = |c: char| c.is_whitespace() || matches!(c, '(' | ')' | '"' | '\'');
    let count = 1 + text.split(is_break).filter(|word| matches!(*word, "and" | "or")).count();
    if count > MOST_CONDITIONS {
        return Err(TooComplex::Conditions { count });
    }
    let words = text.split(['"', '\'']).map(|part| part.split_whitespace().count()).max().unwrap_or(0);
    if words > MOST_WORDS {
        return Err(TooComplex::Words { count: words });
    }
    if count <= FEW_CONDITIONS {
        return Ok(count + words * words);
    }
    let mut diagram = Diagram { tokens: Tokens { text, at: 0 }.peekable(), weight: words * words };
    let tree = diagram.any()?.filter(|_| diagram.tokens.next().is_none());
    match tree {
        Some(tree) => Ok(diagram.weight + ways(tree)?.pow(3)),
        None => Err(TooComplex::Form { count }),
    }
}

/// The text of a marker, cut where conditions are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MarkerToken<'a> {
    Open,
    Close,
    And,
    Or,
    /// A whole condition, such as `python_version < "3.12"`.
    Condition(&'a str),
}

struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    /// The next word, string, or parenthesis; empty at the end.
    fn piece(&self, from: usize) -> (usize, &'a str) {
        let rest = &self.text[from..];
        let start = from + (rest.len() - rest.trim_start().len());
        let rest = &self.text[start..];
        let length = match rest.chars().next() {
            None => 0,
            Some('(' | ')') => 1,
            Some(quote @ ('"' | '\'')) => rest[1..].find(quote).map_or(rest.len(), |end| end + 2),
            Some(_) => rest
                .find(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '"' | '\''))
                .unwrap_or(rest.len()),
        };
        (start, &rest[..length])
    }

    fn token(piece: &str) -> Option<MarkerToken<'static>> {
        Some(match piece {
            "(" => MarkerToken::Open,
            ")" => MarkerToken::Close,
            "and" => MarkerToken::And,
            "or" => MarkerToken::Or,
            _ => return None,
        })
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = MarkerToken<'a>;

    fn next(&mut self) -> Option<MarkerToken<'a>> {
        let (start, piece) = self.piece(self.at);
        self.at = start + piece.len();
        if piece.is_empty() {
            return None;
        }
        if let Some(token) = Self::token(piece) {
            return Some(token);
        }
        loop {
            let (next, piece) = self.piece(self.at);
            if piece.is_empty() || Self::token(piece).is_some() {
                return Some(MarkerToken::Condition(&self.text[start..self.at]));
            }
            self.at = next + piece.len();
        }
    }
}

/// Builds a marker's decision diagram, in the parser's order, and stops where it grows too large.
struct Diagram<'a> {
    tokens: Peekable<Tokens<'a>>,
    weight: usize,
}

impl Diagram<'_> {
    /// Conditions joined by `or`; `None` where the text does not have the form of a marker.
    fn any(&mut self) -> Result<Option<MarkerTree>, TooComplex> {
        self.joined(MarkerToken::Or, MarkerTree::or, Self::all)
    }

    fn all(&mut self) -> Result<Option<MarkerTree>, TooComplex> {
        self.joined(MarkerToken::And, MarkerTree::and, Self::one)
    }

    fn joined(
        &mut self,
        by: MarkerToken<'_>,
        join: fn(MarkerTree, MarkerTree) -> MarkerTree,
        operand: fn(&mut Self) -> Result<Option<MarkerTree>, TooComplex>,
    ) -> Result<Option<MarkerTree>, TooComplex> {
        let Some(mut tree) = operand(self)? else { return Ok(None) };
        while self.tokens.next_if(|token| *token == by).is_some() {
            let Some(next) = operand(self)? else { return Ok(None) };
            tree = join(tree, next);
            self.weight += ways(tree)?;
        }
        Ok(Some(tree))
    }

    fn one(&mut self) -> Result<Option<MarkerTree>, TooComplex> {
        match self.tokens.next() {
            Some(MarkerToken::Condition(text)) => Ok(MarkerTree::from_str(text).ok()),
            // As deep as there are parentheses, which were counted.
            Some(MarkerToken::Open) => {
                let tree = self.any()?;
                Ok(tree.filter(|_| self.tokens.next() == Some(MarkerToken::Close)))
            }
            _ => Ok(None),
        }
    }
}

/// The ways through a decision diagram, from its root to its ends.
fn ways(tree: MarkerTree) -> Result<usize, TooComplex> {
    let (mut todo, mut ways) = (vec![tree], 0);
    while let Some(tree) = todo.pop() {
        match tree.kind() {
            MarkerTreeKind::True | MarkerTreeKind::False => ways += 1,
            MarkerTreeKind::Version(marker) => {
                for (range, child) in marker.edges() {
                    todo.extend(range.iter().map(|_| child));
                }
            }
            MarkerTreeKind::String(marker) => {
                for (range, child) in marker.children() {
                    todo.extend(range.iter().map(|_| child));
                }
            }
            MarkerTreeKind::In(marker) => todo.extend(marker.children().map(|(_, child)| child)),
            MarkerTreeKind::Contains(marker) => todo.extend(marker.children().map(|(_, child)| child)),
            MarkerTreeKind::List(marker) => todo.extend(marker.children().map(|(_, child)| child)),
            MarkerTreeKind::Extra(marker) => todo.extend(marker.children().map(|(_, child)| child)),
        }
        if ways + todo.len() > MOST_WAYS {
            return Err(TooComplex::Ways);
        }
    }
    Ok(ways)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::pypa::metadata::Requirement;

    fn extras(count: usize, by: &str) -> String {
        (0..count).map(|i| format!("extra == 'e{i}'")).collect::<Vec<_>>().join(by)
    }

    /// `(a0 and b0 …) or (a1 and b1 …) …`, each group of `width`.
    fn groups(count: usize, width: usize, named: impl Fn(usize, usize) -> String) -> String {
        let group = |i| (0..width).map(|j| named(i, j)).collect::<Vec<_>>().join(" and ");
        (0..count).map(|i| format!("({})", group(i))).collect::<Vec<_>>().join(" or ")
    }

    #[test]
    fn takes_what_projects_write() {
        let machines = ["aarch64", "ppc64le", "x86_64", "amd64", "AMD64", "win32", "WIN32"];
        let nested = machines.iter().rev().fold(String::from("os_name == 'x'"), |inner, machine| {
            format!("(platform_machine == '{machine}' or {inner})")
        });
        let markers = [
            String::new(),
            "python_version < '3.12'".into(),
            format!("python_version < '3.14' and {nested}"),
            extras(110, " or "),
            format!("python_version >= '3.9' and ({}) and sys_platform == 'linux'", extras(90, " or ")),
            groups(24, 3, |i, j| {
                ["os_name", "sys_platform", "platform_machine"][j].to_owned() + &format!(" == 'v{i}'")
            }),
            "python_version in '2.6 2.7 3.0 3.1 3.2'".into(),
        ];
        for marker in markers {
            let text = format!("greenlet>=1,!=0.4.17; {marker}");
            assert!(weigh_requirement(&text).is_ok(), "{text}");
            assert!(marker.is_empty() || Requirement::from_str(&text).is_ok(), "{text}");
        }
    }

    #[test]
    fn refuses_what_would_exhaust_stack_memory_or_time_and_does_so_at_once() {
        let nested = |count| format!("{}extra == 'x'{}", "(".repeat(count), ")".repeat(count));
        let markers = [
            nested(100_000),
            nested(200),
            "(".repeat(4000),
            extras(20_000, " or "),
            extras(300, " and "),
            groups(14, 3, |i, j| format!("extra == 'e{i}{j}'")),
            groups(20, 2, |i, j| format!("extra == '{}{i}'", ["a", "b"][j])),
            groups(12, 4, |i, j| format!("'v{i}{j}' in platform_version")),
            groups(9, 3, |i, j| format!("'g{i}{j}' in extras")),
            groups(40, 2, |i, j| format!("{} == 'v{i}'", ["os_name", "sys_platform"][j]))
                + " and "
                + &groups(14, 3, |i, j| format!("platform_release != '{i}{j}'"))
                + &extras(30, ") or ("),
            format!("python_version in '{}'", "3.1 ".repeat(4000)),
            format!("{} or extra = 'x'", extras(20, " or ")),
            format!("os_name == '{}'", "x".repeat(100_000)),
        ];
        let heads = [
            format!("foo{}", (0..100_000).map(|i| format!("!={i}")).collect::<Vec<_>>().join(",")),
            format!("foo{}", (0..2000).map(|i| format!(">{i}")).collect::<String>()),
            format!("foo[{}]", (0..2000).map(|i| format!("e{i}")).collect::<Vec<_>>().join(",")),
        ];
        let texts = markers.iter().map(|marker| format!("foo; {marker}")).chain(heads);
        for text in texts {
            let start = Instant::now();
            assert!(weigh_requirement(&text).is_err(), "{}", &text[..text.len().min(200)]);
            assert!(start.elapsed() < Duration::from_secs(5), "{}", &text[..text.len().min(200)]);
        }
    }

    /// The most that passes is parsed and written in a moment, on the small stack of a thread.
    #[test]
    fn all_that_passes_is_parsed_and_written() {
        let nested = |count| format!("{}extra == 'x'{}", "(".repeat(count), ")".repeat(count));
        for marker in
            [nested(MOST_PARENTHESES), extras(MOST_CONDITIONS, " or "), extras(MOST_CONDITIONS, " and ")]
        {
            let text = format!("foo; {marker}");
            weigh_requirement(&text).unwrap();
            let start = Instant::now();
            let written = Requirement::from_str(&text).unwrap().to_string();
            assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
            eprintln!("{:?}", start.elapsed());
            assert!(written.starts_with("foo ;"));
        }
    }
}
