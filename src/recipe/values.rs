//! Values that another file sets in a recipe: they take the place of its own before it is decoded, so that every problem
//! is told where the value is written.

use std::sync::Arc;

use super::diagnostic::{Problem, Problems, quote};
use super::source::{SourceText, Spanned};
use super::yaml::{Node, YamlValue};

/// The axis that sets one of the recipe's `platforms`.
pub(super) const PLATFORM: &str = "platform";

/// Values to set in a recipe, and the text that has them.
#[derive(Debug, Clone)]
pub struct RecipeValues {
    source: Arc<SourceText>,
    values: Vec<(Spanned<String>, Node)>,
}

impl RecipeValues {
    /// The `values` of keys that are written in `source`: `python`, `frameworks.torch`.
    pub(super) fn new(source: Arc<SourceText>, values: Vec<(Spanned<String>, Node)>) -> Self {
        Self { source, values }
    }

    /// The text that has them.
    pub(super) fn source(&self) -> &SourceText {
        &self.source
    }

    /// Sets them in the recipe at `root`, where their places begin at `start`. Nothing takes a key away.
    pub(super) fn set_in(&self, root: &mut Node, start: usize, problems: &mut Problems) {
        for (key, value) in &self.values {
            let key = Spanned { value: key.value.clone(), span: key.span.behind(start) };
            set(root, &key, value.behind(start), problems);
        }
    }
}

fn set(root: &mut Node, key: &Spanned<String>, value: Node, problems: &mut Problems) {
    let (path, value) = match key.as_str() {
        PLATFORM => ("platforms", in_list(value)),
        path => (path, value),
    };
    let (above, last) = path.rsplit_once('.').unwrap_or(("", path));
    let mut node = root;
    for name in above.split('.').filter(|name| !name.is_empty()) {
        let Some(entries) = entries_of(node) else { return problems.push(no_mapping(key, name)) };
        let at = entries.iter().position(|(written, _)| written.value == name).unwrap_or_else(|| {
            let empty = Node::new(key.span, YamlValue::Mapping(Vec::new()));
            entries.push((Spanned { value: name.to_owned(), span: key.span }, empty));
            entries.len() - 1
        });
        node = &mut entries[at].1;
    }
    let Some(entries) = entries_of(node) else { return problems.push(no_mapping(key, last)) };
    entries.retain(|(written, _)| written.value != last);
    if !matches!(value.value, YamlValue::Null) {
        entries.push((Spanned { value: last.to_owned(), span: key.span }, value));
    }
}

/// The entries of a mapping, which nothing becomes; `None` of anything else.
fn entries_of(node: &mut Node) -> Option<&mut Vec<(Spanned<String>, Node)>> {
    if matches!(node.value, YamlValue::Null) {
        node.value = YamlValue::Mapping(Vec::new());
    }
    match &mut node.value {
        YamlValue::Mapping(entries) => Some(entries),
        YamlValue::Null | YamlValue::Scalar(_) | YamlValue::Sequence(_) => None,
    }
}

/// One platform as the list of all of them.
fn in_list(value: Node) -> Node {
    match value.value {
        YamlValue::Scalar(_) => Node::new(value.span, YamlValue::Sequence(vec![value])),
        _ => value,
    }
}

fn no_mapping(key: &Spanned<String>, name: &str) -> Problem {
    let message = format!("{} cannot be set: the recipe has a single value or a list there", quote(key));
    let help = format!("write a mapping in the recipe, which then has the key `{name}`, or set all of it");
    Problem::error(key.span, message).help(help)
}
