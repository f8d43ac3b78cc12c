//! The JSON that any test gets from the program, held to the schema that is published for it.

use std::fs;
use std::path::Path;
use std::process::Command;

use boon::{Compiler, Schemas};
use serde_json::Value;

use super::Outcome;

/// The schemas of what the program prints or writes: `imgforge schema` names them so.
pub const PRINTED: [&str; 10] = [
    "plan",
    "inspect",
    "findings",
    "diff",
    "outdated",
    "matrix-plan",
    "cache-info",
    "metadata",
    "matrix-metadata",
    "progress",
];

/// A schema that documents are held to.
pub struct Judge {
    schemas: Schemas,
    index: boon::SchemaIndex,
}

impl Judge {
    /// The judge of one of [`PRINTED`]; the schema itself is held to that of JSON Schema.
    pub fn of(name: &str) -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource(name, text(name)).unwrap();
        let index = compiler.compile(name, &mut schemas).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        Self { schemas, index }
    }

    /// The reason why a document is not as the schema says.
    pub fn objection(&self, document: &Value) -> Option<String> {
        self.schemas.validate(document, self.index).err().map(|error| format!("{error:#}"))
    }
}

/// The schema of this name.
pub fn text(name: &str) -> Value {
    let file = format!("{}/src/cli/{}.schema.json", env!("CARGO_MANIFEST_DIR"), name.replace('-', "_"));
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

/// Holds the JSON of a run to its schemas: what it printed, what it told while it ran, and the metadata that it wrote.
#[track_caller]
pub fn hold(command: &Command, outcome: &Outcome) {
    let words: Vec<String> =
        command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let follows = |option: &str, value: &str| words.windows(2).any(|pair| pair == [option, value]);
    let has = |word: &str| words.iter().any(|other| other == word);
    let is_matrix = words.first().is_some_and(|word| word == "matrix");
    let is_json = has("--json") || follows("--format", "json");
    let name = printed(&words).filter(|_| is_json);
    if let (Some(name), Ok(document)) = (name, serde_json::from_str(&outcome.stdout)) {
        demand(name, &document, &words);
    }
    if follows("--progress", "json") {
        let lines = outcome.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let lines: Vec<Value> = lines.collect();
        demand_all("progress", &lines, &words);
        let findings = lines.iter().map(|line| &line["findings"]).filter(|findings| findings.is_object());
        demand_all("findings", findings, &words);
    }
    let metadata = words.iter().position(|word| word == "--metadata-file");
    let file = metadata.and_then(|at| words.get(at + 1));
    if let (Some(file), 0) = (file, outcome.code) {
        let directory = command.get_current_dir().unwrap_or(Path::new("."));
        let document = serde_json::from_slice(&fs::read(directory.join(file)).unwrap()).unwrap();
        demand(if is_matrix { "matrix-metadata" } else { "metadata" }, &document, &words);
    }
}

/// The schema of what a command prints.
fn printed(words: &[String]) -> Option<&'static str> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["plan", ..] => Some("plan"),
        ["inspect", ..] => Some("inspect"),
        ["check", ..] => Some("findings"),
        ["diff", ..] => Some("diff"),
        ["outdated", ..] => Some("outdated"),
        ["matrix", "plan", ..] => Some("matrix-plan"),
        ["cache", "info", ..] => Some("cache-info"),
        _ => None,
    }
}

#[track_caller]
fn demand(name: &str, document: &Value, words: &[String]) {
    demand_all(name, [document], words);
}

#[track_caller]
fn demand_all<'v>(name: &str, documents: impl IntoIterator<Item = &'v Value>, words: &[String]) {
    let judge = Judge::of(name);
    for document in documents {
        if let Some(objection) = judge.objection(document) {
            panic!("`{}` is not as the schema `{name}` says:\n{objection}\n{document:#}", words.join(" "));
        }
    }
}
