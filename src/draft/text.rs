//! A draft as a recipe with comments.

use std::fmt::Write as _;

use super::{DEFAULT_BASE, Draft, DraftFiles};

pub(super) fn recipe(draft: &Draft) -> String {
    let mut text = beginning(draft);
    paragraph(
        &mut text,
        "The image, or the Debian packages, that everything is added to: a name in images/, or an image such as \
         python:3.12-slim.",
        &format!("base: {}", scalar(draft.base.as_deref().unwrap_or(DEFAULT_BASE))),
    );
    list(&mut text, "Debian packages, as apt-get would add them.", "system-packages", &draft.system_packages);
    if !draft.frameworks.is_empty() {
        let lines = draft.frameworks.iter().map(|(name, version)| format!("\n  {name}: {version:?}"));
        paragraph(
            &mut text,
            "The frameworks that share one CUDA: \"2.6.0\" is exactly that, \">=2.5,<2.7\" a range, \"*\" any.",
            &format!("frameworks:{}", lines.collect::<String>()),
        );
    }
    list(&mut text, "Further distributions, as pip takes them.", "packages", &draft.packages);
    list(
        &mut text,
        "Requirements files and locks, relative to this file.",
        "requirements",
        &draft.requirements,
    );
    list(&mut text, "Bounds for whatever is installed.", "constraints", &draft.constraints);
    list(&mut text, "Indexes that are asked before those of pip's configuration.", "indexes", &draft.indexes);
    users(&mut text, draft);
    files(&mut text, draft);
    config(&mut text, draft);
    left_out(&mut text, draft);
    text
}

fn beginning(draft: &Draft) -> String {
    let sources = match draft.sources.as_slice() {
        [] => String::new(),
        sources => format!(" from {}", sources.join(", ")),
    };
    format!(
        "# Written by `imgforge init`{sources}.\n\
         # `imgforge plan recipe.yaml` shows what it becomes; `imgforge build recipe.yaml -o docker-daemon:app` makes the image.\n\
         # Every key: `imgforge schema recipe`.\n"
    )
}

/// Adds a key with its comment.
fn paragraph(text: &mut String, comment: &str, lines: &str) {
    let _ = write!(text, "\n# {comment}\n{lines}\n");
}

fn list(text: &mut String, comment: &str, key: &str, entries: &[String]) {
    const LONGEST_LINE: usize = 100;
    if entries.is_empty() {
        return;
    }
    let entries: Vec<String> = entries.iter().map(|entry| scalar(entry)).collect();
    let line = format!("{key}: [{}]", entries.join(", "));
    let lines = match line.len() > LONGEST_LINE {
        true => format!("{key}:{}", entries.iter().map(|entry| format!("\n  - {entry}")).collect::<String>()),
        false => line,
    };
    paragraph(text, comment, &lines);
}

fn users(text: &mut String, draft: &Draft) {
    if draft.users.is_empty() {
        return;
    }
    let lines: String = draft.users.iter().map(|user| format!("\n  - {}", user.entry())).collect();
    paragraph(text, "Users to make, as useradd would.", &format!("users:{lines}"));
}

fn files(text: &mut String, draft: &Draft) {
    if draft.files.is_empty() {
        return;
    }
    let line = |DraftFiles { from, to, owner, mode }: &DraftFiles| {
        let mut members = vec![format!("from: {}", scalar(from)), format!("to: {}", scalar(to))];
        members.extend(owner.as_ref().map(|owner| format!("owner: {}", scalar(owner))));
        members.extend(mode.as_ref().map(|mode| format!("mode: {mode}")));
        members.extend((from == ".").then(|| "exclude: [.git, out, recipe.yaml, recipe.lock]".to_owned()));
        format!("\n  - {{{}}}", members.join(", "))
    };
    let lines: String = draft.files.iter().map(line).collect();
    paragraph(text, "Files to copy, relative to this file.", &format!("files:{lines}"));
}

fn config(text: &mut String, draft: &Draft) {
    let env: Vec<String> =
        draft.env.iter().map(|(name, value)| format!("{name}: {}", quoted_number(value))).collect();
    let mut lines = String::new();
    if !env.is_empty() {
        let _ = write!(lines, "\n  env: {{{}}}", env.join(", "));
    }
    for (key, value) in &draft.config {
        let _ = write!(lines, "\n  {key}: {value}");
    }
    if !lines.is_empty() {
        paragraph(
            text,
            "The container's configuration; what is not here is the base's.",
            &format!("config:{lines}"),
        );
    }
}

fn left_out(text: &mut String, draft: &Draft) {
    if draft.left_out.is_empty() {
        return;
    }
    text.push_str("\n# Left out:\n");
    draft.left_out.iter().for_each(|line| text.push_str(&format!("#   {}\n", one_line(line))));
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A text as a list of YAML.
pub(super) fn flow(entries: &[String]) -> String {
    let entries: Vec<String> = entries.iter().map(|entry| scalar(entry)).collect();
    format!("[{}]", entries.join(", "))
}

/// A text as a scalar of YAML: plain where it is plain everywhere, a number included.
pub(super) fn scalar(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/+@:".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '.' || c == '/')
        || text.starts_with('-') && text.len() > 1 && !text.starts_with("- ");
    let is_word = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "~"];
    let plain = begins
        && text.chars().all(is_plain)
        && !text.contains("://")
        && !text.ends_with(':')
        && !is_word.contains(&text.to_lowercase().as_str());
    if plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

/// A text as a scalar that is a text for every reader.
fn quoted_number(text: &str) -> String {
    let is_number = text.starts_with(|c: char| c.is_ascii_digit() || c == '.' || c == '-' || c == '+');
    if is_number { serde_json::Value::from(text).to_string() } else { scalar(text) }
}
