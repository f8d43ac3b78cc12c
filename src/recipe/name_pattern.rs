//! Patterns of names and destinations: `demo-py{python}`, in which a word in braces stands for a value.

use super::decode::{Complaint, Decode, unexpected};
use super::diagnostic::Problems;
use super::yaml::{Node, YamlValue};

/// A text with values in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamePattern {
    pieces: Vec<PatternPiece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum PatternPiece {
    Text(String),
    /// The value under this key.
    Value(String),
}

impl NamePattern {
    /// The pattern that a text is.
    pub(super) fn parse(text: &str) -> Result<Self, Complaint> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            let at = text.len() - after.len() - 1;
            let (key, behind) = after.split_once('}').ok_or_else(|| unclosed(at..text.len()))?;
            let key = key.trim();
            if before.ends_with('$') || key.contains('{') {
                let help = "write the axis in single braces, without `$`: `demo-{python}`";
                return Err(Complaint::new("a value is written in another way here")
                    .within(at..text.len())
                    .help(help));
            }
            pieces.push(PatternPiece::Text(before.to_owned()));
            pieces.push(PatternPiece::Value(key.to_owned()));
            rest = behind;
        }
        pieces.push(PatternPiece::Text(rest.to_owned()));
        pieces.retain(|piece| !matches!(piece, PatternPiece::Text(text) if text.is_empty()));
        Ok(Self { pieces })
    }

    /// The text with each value that `value_of` gives for a key, or the first key that has none.
    pub(super) fn filled(&self, value_of: impl Fn(&str) -> Option<String>) -> Result<String, &str> {
        let pieces = self.pieces.iter().map(|piece| match piece {
            PatternPiece::Text(text) => Ok(text.clone()),
            PatternPiece::Value(key) => value_of(key).ok_or(key.as_str()),
        });
        pieces.collect()
    }
}

impl Decode for NamePattern {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let YamlValue::Scalar(text) = &node.value else {
            let help = "quote a pattern that begins with a brace: `\"{recipe}-{python}\"`";
            problems.push(unexpected(node, "a text").help(help));
            return None;
        };
        match Self::parse(text) {
            Ok(pattern) => Some(pattern),
            Err(complaint) => {
                problems.push(complaint.narrowed(node.span, |within| node.verbatim(within)));
                None
            }
        }
    }
}

fn unclosed(within: std::ops::Range<usize>) -> Complaint {
    Complaint::new("the brace that opens here is not closed").within(within).help("close it: `demo-{python}`")
}

/// A value as a part of names: small letters and digits, and between them `-`, `_` and `.` alone.
///
/// `>=2.6` is `2.6`, `linux/amd64` is `linux-amd64`.
pub fn in_names(value: &str) -> String {
    let mut name = String::new();
    for c in value.to_lowercase().chars() {
        match c {
            'a'..='z' | '0'..='9' => name.push(c),
            '_' | '.' if name.ends_with(|c: char| c.is_ascii_alphanumeric()) => name.push(c),
            _ if name.ends_with(|c: char| c.is_ascii_alphanumeric()) => name.push('-'),
            _ => {}
        }
    }
    name.trim_end_matches(['-', '_', '.']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_in_their_places() {
        let check = |pattern: &str, expected: Result<&str, &str>| {
            let pattern = NamePattern::parse(pattern).unwrap();
            let value = |key: &str| (key == "python").then(|| "3.11".to_owned());
            assert_eq!(pattern.filled(value), expected.map(str::to_owned));
        };
        check("demo", Ok("demo"));
        check("a-{python}-b{ python }", Ok("a-3.11-b3.11"));
        check("a-{gone}", Err("gone"));
    }

    #[test]
    fn patterns_of_other_tools_are_told() {
        for (pattern, said) in [("a-{python", "not closed"), ("a-${{ matrix.python }}", "in another way")] {
            let refused = NamePattern::parse(pattern).unwrap_err().into_message();
            assert!(refused.contains(said), "{pattern}: {refused}");
        }
    }

    #[test]
    fn values_become_parts_of_names() {
        for (value, expected) in [
            ("3.11", "3.11"),
            (">=2.6", "2.6"),
            ("==2.6.0+cu124", "2.6.0-cu124"),
            ("linux/amd64", "linux-amd64"),
            ("Shared__x..", "shared_x"),
            ("*", ""),
        ] {
            assert_eq!(in_names(value), expected, "{value}");
        }
    }
}
