//! conda's `environment.yml`: its pip part as a requirements file, and the names of the rest.

use std::sync::Arc;

use super::decode::{text, unexpected};
use super::diagnostic::{Diagnostics, Problem, Problems};
use super::parse_document;
use super::source::SourceText;
use super::yaml::{LONGEST_TEXT, Node, YamlValue};

/// The most packages of conda that are named; the others are counted.
const MOST_NAMED: usize = 5;

/// The content of such a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CondaEnvironment {
    /// The list below `pip:`, as a requirements file whose lines are those of the environment's file.
    pub pip: String,
    /// The packages that conda would install.
    pub conda: Vec<String>,
}

impl CondaEnvironment {
    /// Reads such a file; `origin` is its name for messages.
    pub fn parse(content: &str, origin: &str) -> Result<Self, Diagnostics> {
        let source = Arc::new(SourceText::new(content, origin));
        parse_document(&source, LONGEST_TEXT, |root, problems| Self::decode(root, &source, problems))
    }

    /// A sentence on what is not installed; `None` where that is nothing.
    pub fn notice(&self, origin: &str) -> Option<String> {
        let mut named: Vec<String> =
            self.conda.iter().take(MOST_NAMED).map(|name| format!("`{name}`")).collect();
        if self.conda.len() > MOST_NAMED {
            named.push(format!("{} more", self.conda.len() - MOST_NAMED));
        }
        (!named.is_empty()).then(|| {
            format!(
                "of `{origin}` only the list below `pip:` is installed, and not what conda has: {} (add what the image \
                 needs of them to `packages` or `system-packages`)",
                named.join(", ")
            )
        })
    }

    fn decode(root: &Node, source: &SourceText, problems: &mut Problems) -> Option<Self> {
        let YamlValue::Mapping(entries) = &root.value else {
            problems.push(unexpected(root, "an environment of conda"));
            return None;
        };
        let dependencies = entries.iter().find(|(key, _)| key.value == "dependencies");
        let Some((_, dependencies)) = dependencies else {
            let help = "a file of conda has `dependencies:`, and in it a list below `pip:`";
            problems.push(Problem::error(root.span, "the environment has no `dependencies`").help(help));
            return None;
        };
        let mut found = Self { pip: String::new(), conda: Vec::new() };
        for dependency in items(dependencies, problems)? {
            match &dependency.value {
                YamlValue::Mapping(parts) => {
                    let lists = parts.iter().filter(|(key, _)| key.value == "pip");
                    lists.for_each(|(_, list)| found.add(list, source, problems));
                }
                _ => found.conda.extend(text(dependency, "a package of conda", problems).map(str::to_owned)),
            }
        }
        found.conda.retain(|name| name != "pip");
        Some(found)
    }

    /// Adds a list of requirements, each on the line that it is written on.
    fn add(&mut self, list: &Node, source: &SourceText, problems: &mut Problems) {
        for node in items(list, problems).unwrap_or_default() {
            let Some(requirement) = text(node, "a requirement", problems) else { continue };
            let (line, _) = source.position(node.span.start);
            let lines = self.pip.matches('\n').count() + 1;
            self.pip.extend(std::iter::repeat_n('\n', line.saturating_sub(lines)));
            self.pip.push_str(&requirement.replace(['\n', '\r'], " "));
        }
        self.pip.push('\n');
    }
}

fn items<'n>(node: &'n Node, problems: &mut Problems) -> Option<&'n [Node]> {
    match &node.value {
        YamlValue::Sequence(items) => Some(items),
        _ => {
            problems.push(unexpected(node, "a list"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pip_part_is_taken_and_the_rest_is_named() {
        let text = "name: x\ndependencies:\n  - python=3.11\n  - pip\n  - numpy>=1\n  - pip:\n    - six==1.17.0\n    - -r more.txt\n";
        let read = CondaEnvironment::parse(text, "environment.yml").unwrap();
        assert_eq!(read.pip, "\n\n\n\n\n\nsix==1.17.0\n-r more.txt\n");
        assert_eq!(read.conda, ["python=3.11", "numpy>=1"]);
        let notice = read.notice("environment.yml").unwrap();
        assert!(notice.contains("not what conda has: `python=3.11`, `numpy>=1` ("), "{notice}");
        assert!(CondaEnvironment::parse("dependencies: {}\n", "e").is_err());
        assert!(CondaEnvironment::parse("name: x\n", "e").is_err());
    }
}
