//! Patterns of a `.dockerignore`: files of a build's context that are left out.
//!
//! <https://docs.docker.com/build/concepts/context/#syntax>

use regex::Regex;

use super::paths::ancestors;

/// The longest pattern, in bytes: its expression takes some hundred times that.
pub const LONGEST_PATTERN: usize = 1000;

/// A pattern, with or without the `!` that takes files back in.
#[derive(Debug, Clone)]
struct Pattern {
    includes: bool,
    expression: Regex,
}

/// Patterns in their order: the last that matches a file, or a directory that it is in, decides.
#[derive(Debug, Clone, Default)]
pub struct DockerIgnore(Vec<Pattern>);

/// The reason why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum PatternError {
    #[error("it is empty")]
    Empty,
    #[error("it is longer than {LONGEST_PATTERN} bytes")]
    Long,
    #[error("a `[` in it is not closed")]
    Set,
}

impl DockerIgnore {
    /// Reads patterns; the first that is none is returned with its text.
    pub fn new<'p>(patterns: impl IntoIterator<Item = &'p str>) -> Result<Self, (&'p str, PatternError)> {
        let read = |text: &'p str| Pattern::parse(text).map_err(|error| (text, error));
        patterns.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Returns whether the file or directory at `path`, relative to what is copied, is left out.
    pub fn excludes(&self, path: &str) -> bool {
        let matches = |pattern: &&Pattern| {
            ancestors(path).chain([path]).any(|candidate| pattern.expression.is_match(candidate))
        };
        self.0.iter().rfind(matches).is_some_and(|pattern| !pattern.includes)
    }

    /// Returns whether something in a directory that is left out may be taken back in.
    pub fn has_exceptions(&self) -> bool {
        self.0.iter().any(|pattern| pattern.includes)
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, PatternError> {
        let (includes, pattern) = match text.trim().strip_prefix('!') {
            Some(rest) => (true, rest.trim_start()),
            None => (false, text.trim()),
        };
        let parts = pattern.split('/').filter(|part| !matches!(*part, "" | "."));
        let parts: Vec<&str> = parts.collect();
        match () {
            () if parts.is_empty() => return Err(PatternError::Empty),
            () if text.len() > LONGEST_PATTERN => return Err(PatternError::Long),
            () => {}
        }
        let mut expression = String::from("^");
        for (at, part) in parts.iter().enumerate() {
            let is_last = at + 1 == parts.len();
            match (*part, is_last) {
                ("**", true) => expression.push_str(".*"),
                ("**", false) => expression.push_str("(?:.*/)?"),
                (part, _) => {
                    push_name(&mut expression, part)?;
                    expression.push_str(if is_last { "" } else { "/" });
                }
            }
        }
        expression.push('$');
        let expression = Regex::new(&expression).map_err(|_| PatternError::Set)?;
        Ok(Self { includes, expression })
    }
}

/// Writes one name of a pattern as an expression.
fn push_name(expression: &mut String, part: &str) -> Result<(), PatternError> {
    let mut signs = part.chars();
    while let Some(sign) = signs.next() {
        match sign {
            '*' => expression.push_str("[^/]*"),
            '?' => expression.push_str("[^/]"),
            '[' => {
                let rest = signs.as_str();
                let (set, after) =
                    rest.split_once(']').filter(|(set, _)| !set.is_empty()).ok_or(PatternError::Set)?;
                let (negated, set) = set.strip_prefix('^').map_or(("", set), |set| ("^", set));
                let set: String = set
                    .chars()
                    .map(|c| if "[]\\&~^".contains(c) { format!("\\{c}") } else { c.to_string() })
                    .collect();
                expression.push_str(&format!("[{negated}{set}]"));
                signs = after.chars();
            }
            '\\' => expression.push_str(&regex::escape(&signs.next().map(String::from).unwrap_or_default())),
            plain => expression.push_str(&regex::escape(&plain.to_string())),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_pattern_that_matches_decides() {
        let check = |patterns: &[&str], path: &str, expected: bool| {
            let ignore = DockerIgnore::new(patterns.iter().copied()).unwrap();
            assert_eq!(ignore.excludes(path), expected, "{patterns:?} {path}");
        };
        check(&["*.pyc"], "a.pyc", true);
        check(&["*.pyc"], "lib/a.pyc", false);
        check(&["**/*.pyc"], "a.pyc", true);
        check(&["**/*.pyc"], "lib/deep/a.pyc", true);
        check(&[".git"], ".git/config", true);
        check(&["/.git/"], ".git", true);
        check(&["data/**"], "data/a/b", true);
        check(&["data", "!data/kept"], "data/kept", false);
        check(&["data", "!data/kept"], "data/kept/inside", false);
        check(&["data", "!data/kept"], "data/other", true);
        check(&["!data/kept", "data"], "data/kept", true);
        check(&["a?c", "x[0-9]", "l\\*l"], "abc", true);
        check(&["a?c", "x[0-9]", "l\\*l"], "x7", true);
        check(&["a?c", "x[^0-9]", "l\\*l"], "x7", false);
        check(&["a?c", "x[0-9]", "l\\*l"], "l*l", true);
        check(&["a?c", "x[0-9]", "l\\*l"], "lol", false);
        check(&["a+b(c"], "a+b(c", true);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for (text, error) in
            [("", PatternError::Empty), ("!/", PatternError::Empty), ("a[b", PatternError::Set)]
        {
            assert_eq!(DockerIgnore::new([text]).unwrap_err(), (text, error));
        }
        assert_eq!(DockerIgnore::new([&*"a".repeat(2000)]).unwrap_err().1, PatternError::Long);
    }
}
