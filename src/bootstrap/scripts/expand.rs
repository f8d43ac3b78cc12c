//! Words become texts: parameters, outputs of commands, and names of files.

use super::shell::{Followed, Shell};
use super::system::ShellValue;
use crate::debian::shell::pattern;
use crate::debian::shell::syntax::{List, ParameterChange, ParameterOperator, PartKind, ShellWord, WordPart};

/// The most names of files that a pattern becomes.
const MOST_NAMES: usize = 10_000;

/// The longest text of which a pattern cuts a part off, in bytes: each of its lengths is tried.
const LONGEST_CUT: usize = 4096;

/// A field while it is put together.
#[derive(Default)]
struct Field {
    text: String,
    /// The same as a pattern, in which quoted signs stand for themselves.
    pattern: String,
    is_unknown: bool,
    /// True where it is a field although it may be empty.
    is_there: bool,
}

impl Field {
    fn push(&mut self, text: &str, quoted: bool) {
        self.text.push_str(text);
        match quoted {
            true => self.pattern += &pattern::escape(text),
            false => self.pattern.push_str(text),
        }
        self.is_there |= quoted || !text.is_empty();
    }

    fn push_unknown(&mut self) {
        self.is_unknown = true;
        self.is_there = true;
    }
}

impl Shell<'_, '_, '_> {
    /// The fields that a word of a command becomes.
    pub(super) fn fields(&mut self, word: &ShellWord) -> Vec<ShellValue> {
        let mut fields = vec![Field::default()];
        for part in &word.0 {
            self.add_fields(part, &mut fields);
        }
        let mut values = Vec::new();
        for field in fields.into_iter().filter(|field| field.is_there) {
            match field {
                Field { is_unknown: true, .. } => values.push(None),
                Field { pattern, text, .. } if pattern::is_wild(&pattern) => {
                    let names = self.names(&pattern);
                    let is_none = names.is_empty();
                    values.extend(names.into_iter().map(Some));
                    values.extend(is_none.then_some(Some(text)));
                }
                Field { text, .. } => values.push(Some(text)),
            }
        }
        values
    }

    fn add_fields(&mut self, part: &WordPart, fields: &mut Vec<Field>) {
        if let PartKind::Parameter { name, change: None } = &part.kind
            && (name == "@" || name == "*" && !part.quoted)
        {
            let arguments = self.arguments.clone();
            for (at, value) in arguments.into_iter().enumerate() {
                if at > 0 {
                    fields.push(Field::default());
                }
                add(fields, value, true);
            }
            return;
        }
        if let PartKind::Parameter { change: Some(change), .. } = &part.kind
            && !part.quoted
            && change.operator == ParameterOperator::Alternative
            && self.value(part).as_deref() != Some("")
        {
            // `${A:+--option="$B"}`: quotes in it are quotes.
            change.word.0.iter().for_each(|part| self.add_fields(part, fields));
            return;
        }
        let value = self.value(part);
        match (&part.kind, value) {
            (PartKind::Text(_), value) => add(fields, value, part.quoted),
            (_, value) if part.quoted => add(fields, value, true),
            (_, Some(text)) => {
                let separators = self.separators();
                split(fields, &text, &separators);
            }
            (_, None) => add(fields, None, false),
        }
    }

    /// The text that a word becomes where it is not split.
    pub(super) fn text(&mut self, word: &ShellWord) -> ShellValue {
        let mut text = String::new();
        for part in &word.0 {
            text += &self.value(part)?;
        }
        Some(text)
    }

    /// The pattern that a word becomes.
    pub(super) fn pattern(&mut self, word: &ShellWord) -> ShellValue {
        let mut text = String::new();
        for part in &word.0 {
            let value = self.value(part)?;
            text += &if part.quoted { pattern::escape(&value) } else { value };
        }
        Some(text)
    }

    fn value(&mut self, part: &WordPart) -> ShellValue {
        match &part.kind {
            PartKind::Text(text) => Some(text.clone()),
            PartKind::Arithmetic => None,
            PartKind::Output(list) => self.output_of(list),
            PartKind::Parameter { name, change: None } => self.parameter(name).unwrap_or(Some(String::new())),
            PartKind::Parameter { name, change: Some(change) } => self.changed(name, change),
        }
    }

    /// The value of `IFS`.
    pub(super) fn separators(&self) -> String {
        self.variables.get("IFS").cloned().flatten().unwrap_or_else(|| " \t\n".into())
    }

    fn output_of(&mut self, list: &List) -> ShellValue {
        let follow = |shell: &mut Self| -> Followed { shell.list(list) };
        let text = self.captured(|shell| shell.subshell(follow))?;
        Some(text.trim_end_matches('\n').to_owned())
    }

    /// The value of a parameter; `None` where it is not set.
    fn parameter(&self, name: &str) -> Option<ShellValue> {
        let number = |number: usize| Some(Some(number.to_string()));
        match name {
            "@" | "*" => {
                let known: Option<Vec<String>> = self.arguments.iter().cloned().collect();
                Some(known.map(|arguments| arguments.join(" ")))
            }
            "#" => number(self.arguments.len()),
            "?" => Some(self.status.map(|status| status.to_string())),
            "0" => Some(Some(format!("/var/lib/dpkg/info/{}.postinst", self.system.package.name))),
            "$" | "!" => Some(None),
            "-" => Some(Some(String::new())),
            _ => match name.parse::<usize>() {
                Ok(at) => self.arguments.get(at.checked_sub(1)?).cloned(),
                Err(_) => self.variables.get(name).cloned(),
            },
        }
    }

    fn changed(&mut self, name: &str, change: &ParameterChange) -> ShellValue {
        let value = self.parameter(name);
        let is_missing = match &value {
            None => true,
            Some(Some(text)) => change.or_empty && text.is_empty(),
            Some(None) => return None,
        };
        let value = value.flatten().unwrap_or_default();
        match change.operator {
            ParameterOperator::Alternative if is_missing => Some(String::new()),
            ParameterOperator::Alternative => self.text(&change.word),
            ParameterOperator::Default | ParameterOperator::Assign | ParameterOperator::Require
                if !is_missing =>
            {
                Some(value)
            }
            ParameterOperator::Default => self.text(&change.word),
            ParameterOperator::Require => None,
            ParameterOperator::Assign => {
                let value = self.text(&change.word);
                self.variables.insert(name.to_owned(), value.clone());
                value
            }
            _ if value.len() > LONGEST_CUT => None,
            ParameterOperator::Length => Some(value.chars().count().to_string()),
            ParameterOperator::Suffix { longest } => {
                let pattern = self.pattern(&change.word)?;
                Some(without_suffix(&value, &pattern, longest).to_owned())
            }
            ParameterOperator::Prefix { longest } => {
                let pattern = self.pattern(&change.word)?;
                Some(without_prefix(&value, &pattern, longest).to_owned())
            }
        }
    }

    /// The paths of the image that a pattern matches, in order.
    fn names(&self, pattern: &str) -> Vec<String> {
        let (start, relative) = match pattern.strip_prefix('/') {
            Some(rest) => ("/".to_owned(), rest),
            None => (String::new(), pattern),
        };
        let mut found = vec![start];
        for part in relative.split('/').filter(|part| !part.is_empty()) {
            found = found.iter().flat_map(|before| self.names_below(before, part)).take(MOST_NAMES).collect();
        }
        found
    }

    fn names_below(&self, before: &str, part: &str) -> Vec<String> {
        let join = |name: &str| match before {
            "" | "/" => format!("{before}{name}"),
            _ => format!("{before}/{name}"),
        };
        if !pattern::is_wild(part) {
            let path = join(&part.replace('\\', ""));
            return if self.system.tree.has(&self.system.path(&path)) { vec![path] } else { Vec::new() };
        }
        let names = self.system.tree.names_in(&self.system.path(before));
        let fits =
            |name: &&String| name.starts_with('.') == part.starts_with('.') && pattern::matches(part, name);
        names.iter().filter(fits).map(|name| join(name)).collect()
    }
}

/// Adds a value to the last field.
fn add(fields: &mut [Field], value: ShellValue, quoted: bool) {
    let Some(last) = fields.last_mut() else { return };
    match value {
        Some(text) => last.push(&text, quoted),
        None => last.push_unknown(),
    }
}

/// Adds a value that `separators` split into fields.
fn split(fields: &mut Vec<Field>, text: &str, separators: &str) {
    let is_blank = |c: char| separators.contains(c);
    if text.starts_with(is_blank) && fields.last().is_some_and(|field| field.is_there) {
        fields.push(Field::default());
    }
    for (at, piece) in text.split(is_blank).filter(|piece| !piece.is_empty()).enumerate() {
        if at > 0 {
            fields.push(Field::default());
        }
        add(fields, Some(piece.to_owned()), false);
    }
    if text.ends_with(is_blank) && fields.last().is_some_and(|field| field.is_there) {
        fields.push(Field::default());
    }
}

fn without_suffix<'t>(text: &'t str, pattern: &str, longest: bool) -> &'t str {
    let mut starts = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    let fits = |at: &usize| pattern::matches(pattern, &text[*at..]);
    let start = if longest { starts.find(fits) } else { starts.rfind(fits) };
    &text[..start.unwrap_or(text.len())]
}

fn without_prefix<'t>(text: &'t str, pattern: &str, longest: bool) -> &'t str {
    let mut ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    let fits = |at: &usize| pattern::matches(pattern, &text[..*at]);
    let end = if longest { ends.rfind(fits) } else { ends.find(fits) };
    &text[end.unwrap_or(0)..]
}
