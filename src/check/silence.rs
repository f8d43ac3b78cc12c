//! Findings that a recipe takes as they are.

use serde::{Deserialize, Serialize};

use super::{Finding, Rule};

/// A rule that is silent about some subjects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// The rule whose findings it covers.
    pub rule: Rule,
    /// The subject of a finding: an absolute path, or a distribution. `*` stands for anything.
    pub subject: String,
    /// The reason why what it finds is as it should be.
    pub reason: String,
}

impl Silence {
    /// True for a finding that it silences.
    pub fn covers(&self, finding: &Finding) -> bool {
        self.rule == finding.rule() && matches(&self.subject, &finding.subject.to_string())
    }
}

/// Returns whether a text is that of a pattern in which `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let parts: Vec<&str> = rest.split('*').collect();
    let (end, between) = parts.split_last().unwrap_or((&"", &[]));
    for part in between {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.len() >= end.len() && text.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        let check =
            |pattern, text, expected| assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        check("/opt/a.so", "/opt/a.so", true);
        check("/opt/a.so", "/opt/a.so.1", false);
        check("/opt/*", "/opt/b/c.so", true);
        check("*/c.so", "/opt/b/c.so", true);
        check("/opt/*/c*.so", "/opt/b/cd.so", true);
        check("/opt/*c", "/opt/", false);
        check("torch *", "torch 2.6.0", true);
        check("ab*ba", "aba", false);
    }
}
