//! The design's module table, held against the source: who may use whom, and who may touch the world.
//!
//! The source is read as text: no type information is needed to see `crate::x` in a file of module `y`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// What kind of code a module holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One file per specification or format; no IO.
    Words,
    /// Pure functions from data to data; no IO, clock or environment.
    Decisions,
    /// The code that meets files, the network and the terminal.
    Outside,
}

/// One row of the design's table.
struct Row {
    module: &'static str,
    may_use: &'static [&'static str],
    kind: Kind,
}

const fn row(module: &'static str, may_use: &'static [&'static str], kind: Kind) -> Row {
    Row { module, may_use, kind }
}

const WORDS: &[&str] = &["oci", "pypa", "cuda", "elf", "debian"];

/// The module that every other one may use: what errors tell people.
const FAILURE: &str = "failure";

/// The design's table, "Folders". Words may use each other, nothing else of the crate.
const TABLE: &[Row] = &[
    row(FAILURE, &[], Kind::Words),
    row("oci", WORDS, Kind::Words),
    row("pypa", WORDS, Kind::Words),
    row("cuda", WORDS, Kind::Words),
    row("elf", WORDS, Kind::Words),
    row("debian", WORDS, Kind::Words),
    row("recipe", &["oci", "pypa", "cuda", "elf", "debian", "check"], Kind::Decisions),
    row("base", WORDS, Kind::Decisions),
    row("resolve", &["oci", "pypa", "cuda", "elf", "debian", "recipe", "base"], Kind::Decisions),
    row("plan", &["oci", "pypa", "cuda", "elf", "debian", "recipe", "base", "resolve"], Kind::Decisions),
    row(
        "lock",
        &["oci", "pypa", "cuda", "elf", "debian", "credentials", "recipe", "base", "resolve"],
        Kind::Decisions,
    ),
    row("compare", &["oci", "pypa", "cuda", "elf", "debian", "base", "resolve"], Kind::Decisions),
    row("image", &["oci", "plan"], Kind::Decisions),
    row("check", &["oci", "pypa", "cuda", "elf", "debian", "base"], Kind::Decisions),
    row("credentials", &[], Kind::Words),
    row("pool", &[], Kind::Decisions),
    row("store", &["oci", "pool"], Kind::Outside),
    row("net", &["oci", "pypa", "cuda", "elf", "debian", "credentials", "resolve", "store"], Kind::Outside),
    row("layer", &["oci", "pypa", "cuda", "elf", "debian", "base", "plan", "store", "pool"], Kind::Outside),
    row("source", &["oci", "base", "image", "layer", "store", "net", "pool"], Kind::Outside),
    row("destination", &["oci", "image", "store", "net"], Kind::Outside),
    row(
        "pipeline",
        &[
            "oci",
            "pypa",
            "cuda",
            "elf",
            "debian",
            "recipe",
            "base",
            "resolve",
            "lock",
            "plan",
            "compare",
            "image",
            "check",
            "store",
            "net",
            "layer",
            "source",
            "destination",
            "credentials",
            "pool",
        ],
        Kind::Outside,
    ),
    row(
        "cli",
        &[
            "oci",
            "pypa",
            "cuda",
            "elf",
            "debian",
            "recipe",
            "base",
            "resolve",
            "lock",
            "plan",
            "compare",
            "image",
            "check",
            "store",
            "net",
            "layer",
            "source",
            "destination",
            "pipeline",
        ],
        Kind::Outside,
    ),
];

#[test]
fn every_module_is_in_the_table() {
    let missing: BTreeSet<_> = sources()
        .iter()
        .filter(|source| source.row().is_none())
        .map(|source| source.module().to_owned())
        .collect();
    assert!(missing.is_empty(), "not in the design's module table (tests/it/architecture.rs): {missing:?}");
}

#[test]
fn modules_use_only_what_the_table_allows() {
    assert_none(sources().iter().flat_map(forbidden_uses).collect());
}

#[test]
fn only_outside_modules_opt_out_of_the_purity_lints() {
    assert_none(sources().iter().flat_map(forbidden_opt_outs).collect());
}

#[test]
fn no_error_swallows_the_hint_of_its_cause() {
    let sources = sources();
    let hints: BTreeMap<String, Vec<Hint>> = sources.iter().map(|it| (it.place(1), it.hints())).collect();
    let hinted: BTreeSet<&str> = hints.values().flatten().map(|hint| &*hint.error).collect();
    assert!(hinted.len() > 40, "only {hinted:?}");
    let swallowed = sources.iter().flat_map(|source| {
        let own = &hints[&source.place(1)];
        let causes = source.causes().into_iter().filter(|cause| hinted.contains(&*cause.kind));
        causes.filter(|cause| !own.iter().any(|hint| hint.covers(cause))).map(|cause| Violation {
            place: source.place(cause.line),
            rule: format!(
                "`{}::{}` loses the hint of its cause, `{}`",
                cause.error, cause.variant, cause.kind
            ),
        })
    });
    assert_none(swallowed.collect());
}

#[test]
fn finds_hints_that_are_swallowed() {
    const ERROR: &str =
        "#[derive(thiserror::Error)] enum E { #[error(\"\")] A { source: Cause }, B(#[from] Cause), C }";
    let lost = |text: &str| {
        let source = Source { path: "src/base/scan.rs".into(), text: format!("{ERROR} {text}") };
        let hints = source.hints();
        let causes = source.causes().into_iter().filter(|cause| cause.kind == "Cause");
        let lost = causes.filter(|cause| !hints.iter().any(|hint| hint.covers(cause)));
        lost.map(|cause| cause.variant).collect::<Vec<_>>().join(" ")
    };
    let method =
        |body: &str| format!("impl Hinted for E {{ fn hint(&self) -> Option<String> {{ {body} }} }}");
    assert_eq!(lost(""), "A B");
    assert_eq!(lost("impl Hinted for E {}"), "A B");
    assert_eq!(lost(&method("match self { Self::A { source } => source.hint(), _ => None }")), "B");
    assert_eq!(lost(&method("Some(match self { Self::B(it) => it.hint(), _ => return None })")), "A");
    assert_eq!(lost(&method("match self { Self::C => None, _ => Some(\"\".into()) }")), "");
}

#[test]
fn finds_uses_in_every_form_a_path_is_written() {
    let found = |text: &str| {
        let source = Source { path: "src/base/scan.rs".into(), text: text.into() };
        source.uses().into_iter().map(|used| used.name).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(found("use crate::store::Store;"), "store");
    assert_eq!(found("use crate::{\n    net,\n    oci::{Digest, Entry},\n};"), "net oci");
    assert_eq!(found("fn f() -> crate :: net::Client {}"), "net");
    assert_eq!(found("use super::super::net;"), "net");
    assert_eq!(found("use super::{super::plan, scan};"), "plan");
    assert_eq!(found("mod tests { use super::super::super::net; }"), "net");
    assert_eq!(found("use super::Inventory; mod tests { use super::super::Inventory; }"), "");
    assert_eq!(found("// crate::net\nconst A: &str = \"crate::net\"; /* crate::net */"), "");
    assert_eq!(found("const A: char = '\"'; use crate::net; const B: char = '\"';"), "net");
    assert_eq!(
        found("const A: &str = r#\"a \" crate::net\"#; fn f<'a>(a: &'a crate::oci::Digest) {}"),
        "oci"
    );
}

#[test]
fn finds_opt_outs_outside_tests_only() {
    let found =
        |text: &str| forbidden_opt_outs(&Source { path: "src/plan/mod.rs".into(), text: text.into() }).len();
    assert_eq!(found("#![allow(clippy::disallowed_methods, reason = \"none\")]"), 1);
    assert_eq!(found("#[expect(clippy::disallowed_types)] fn f() {}"), 1);
    assert_eq!(
        found("#[cfg(test)] mod tests { #![allow(clippy::disallowed_methods, reason = \"files\")] }"),
        0
    );
    assert_eq!(found("#[cfg(test)] use a; mod b { #![allow(clippy::disallowed_methods)] }"), 1);
    assert_eq!(found("#[cfg(test)] mod tests {} #[allow(clippy::disallowed_methods)] fn f() {}"), 1);
}

/// A place in the source that breaks a rule.
struct Violation {
    place: String,
    rule: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.rule)
    }
}

fn assert_none(violations: Vec<Violation>) {
    let lines: Vec<_> = violations.iter().map(Violation::to_string).collect();
    assert!(lines.is_empty(), "{} of the design's rules broken:\n{}\n", lines.len(), lines.join("\n"));
}

fn forbidden_uses(source: &Source) -> Vec<Violation> {
    let Some(row) = source.row() else { return Vec::new() };
    let allowed = |name: &str| name == row.module || name == FAILURE || row.may_use.contains(&name);
    let is_module = |name: &str| TABLE.iter().any(|row| row.module == name);
    source
        .uses()
        .into_iter()
        .filter(|used| is_module(&used.name) && !allowed(&used.name))
        .map(|used| Violation {
            place: source.place(used.line),
            rule: format!("`{}` may not use `{}`, only {:?}", row.module, used.name, row.may_use),
        })
        .collect()
}

fn forbidden_opt_outs(source: &Source) -> Vec<Violation> {
    let outside = source.row().is_some_and(|row| row.kind == Kind::Outside);
    source
        .opt_outs()
        .into_iter()
        .filter_map(|opt_out| {
            let rule = match opt_out {
                OptOut { in_tests: true, .. } => return None,
                _ if !outside => {
                    format!("`{}` is no outside module: it may not touch the world", source.module())
                }
                OptOut { has_reason: false, .. } => "an opt-out states its `reason`".to_owned(),
                _ => return None,
            };
            Some(Violation { place: source.place(opt_out.line), rule })
        })
        .collect()
}

/// One file below `src/`.
struct Source {
    /// Relative to the repository: `src/net/index.rs`.
    path: PathBuf,
    text: String,
}

/// Every file of every module: all of `src/` but the two roots, which only name modules.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    collect(&root.join("src"), &mut paths);
    paths.sort();
    let sources: Vec<_> = paths
        .into_iter()
        .filter(|path| !path.ends_with("src/main.rs") && !path.ends_with("src/lib.rs"))
        .map(|path| Source {
            text: fs::read_to_string(&path).expect("a source file is readable text"),
            path: path.strip_prefix(root).expect("collected below the root").to_owned(),
        })
        .collect();
    assert!(sources.len() > 10, "only {} files found below {}/src", sources.len(), root.display());
    sources
}

fn collect(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a source directory is readable") {
        let path = entry.expect("a source directory is readable").path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// A module of the crate named in a path.
struct Use {
    name: String,
    line: usize,
}

/// An attribute that switches a purity lint off.
struct OptOut {
    line: usize,
    has_reason: bool,
    in_tests: bool,
}

/// An error's `hint`.
struct Hint {
    error: String,
    body: Vec<String>,
}

impl Hint {
    /// Whether it is decided what the hint of `cause` is: its variant is named, or what is not named has a hint.
    fn covers(&self, cause: &Cause) -> bool {
        let has = |words: &[&str]| self.body.windows(words.len()).any(|window| window == words);
        let gives_up = has(&["_", "=", ">", "None"]) || has(&["_", "=", ">", "return", "None"]);
        self.error == cause.error && (has(&["Self", "::", &cause.variant]) || !gives_up)
    }
}

/// A variant of an error that has another error as its cause.
struct Cause {
    error: String,
    variant: String,
    /// A name in the type of the cause.
    kind: String,
    line: usize,
}

impl Source {
    /// Every `impl Hinted` that has a `hint`.
    fn hints(&self) -> Vec<Hint> {
        let tokens = tokens(&self.text);
        let hint = |at: usize| {
            let opening = tokens[at..].iter().position(|token| token.text == "{")?;
            let body: Vec<String> =
                block(&tokens[at + opening..]).iter().map(|token| token.text.clone()).collect();
            body.iter().any(|word| word == "hint").then(|| Hint { error: tokens[at + 2].text.clone(), body })
        };
        let starts = (0..tokens.len()).filter(|&at| is(&tokens[at..], &["Hinted", "for"]));
        starts.filter_map(hint).collect()
    }

    /// The causes of every error enum.
    fn causes(&self) -> Vec<Cause> {
        let tokens = tokens(&self.text);
        let mut causes = Vec::new();
        for at in (0..tokens.len()).filter(|&at| is(&tokens[at..], &["thiserror", "::", "Error"])) {
            let Some(name) = (at..tokens.len()).find(|&at| matches!(&*tokens[at].text, "enum" | "struct"))
            else {
                continue;
            };
            if tokens[name].text == "enum" {
                causes.extend(variants(&tokens[name + 1].text, block(&tokens[name + 2..])));
            }
        }
        causes
    }

    /// The module path of the file: `["net", "index"]`.
    fn module_path(&self) -> Vec<String> {
        let inside = self.path.strip_prefix("src").expect("sources are below src").with_extension("");
        let mut path: Vec<_> =
            inside.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
        if path.last().is_some_and(|last| last == "mod") {
            path.pop();
        }
        path
    }

    fn module(&self) -> String {
        self.module_path().swap_remove(0)
    }

    fn row(&self) -> Option<&'static Row> {
        let module = self.module();
        TABLE.iter().find(|row| row.module == module)
    }

    fn place(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }

    /// Every name directly below the crate's root that a path in the file mentions.
    fn uses(&self) -> Vec<Use> {
        let tokens = tokens(&self.text);
        let file_depth = self.module_path().len();
        let mut uses = Vec::new();
        for (at, scopes) in scopes(&tokens).into_iter().enumerate() {
            let starts_path = at == 0 || tokens[at - 1].text != "::";
            let depth = match tokens[at].text.as_str() {
                "crate" if starts_path => 0,
                "super" if starts_path => file_depth + scopes.inline_modules,
                _ => continue,
            };
            follow(&tokens, at, depth, &mut uses);
        }
        uses
    }

    fn opt_outs(&self) -> Vec<OptOut> {
        let tokens = tokens(&self.text);
        let scopes = scopes(&tokens);
        let is_file_of_tests = self.path.ends_with("tests.rs");
        (0..tokens.len())
            .filter(|&at| matches!(tokens[at].text.as_str(), "disallowed_methods" | "disallowed_types"))
            .map(|at| OptOut {
                line: tokens[at].line,
                has_reason: tokens[at..]
                    .iter()
                    .take_while(|token| token.text != "]")
                    .any(|token| token.text == "reason"),
                in_tests: is_file_of_tests || scopes[at].in_tests,
            })
            .collect()
    }
}

/// What the braces enclose that `tokens` starts with.
fn block(tokens: &[Token]) -> &[Token] {
    let mut nesting = 0;
    let end = tokens.iter().position(|token| {
        nesting += match &*token.text {
            "{" | "(" | "[" => 1,
            "}" | ")" | "]" => -1,
            _ => 0,
        };
        nesting == 0
    });
    tokens.get(1..end.unwrap_or_default()).unwrap_or_default()
}

/// Whether `tokens` starts with these words.
fn is(tokens: &[Token], words: &[&str]) -> bool {
    tokens.len() >= words.len() && tokens.iter().zip(words).all(|(token, word)| token.text == *word)
}

/// The variants of the error enum `error` that have causes.
fn variants(error: &str, mut rest: &[Token]) -> Vec<Cause> {
    let mut causes = Vec::new();
    while let [first, after @ ..] = rest {
        rest = match &*first.text {
            "#" => &after[block(after).len() + 2..],
            "," => after,
            variant => {
                let fields = block(after);
                let is_cause = fields.iter().any(|token| matches!(&*token.text, "source" | "from"));
                causes.extend(fields.iter().filter(|_| is_cause).map(|token| Cause {
                    error: error.to_owned(),
                    variant: variant.to_owned(),
                    kind: token.text.clone(),
                    line: token.line,
                }));
                after.get(fields.len() + 2..).filter(|_| !fields.is_empty()).unwrap_or(after)
            }
        }
    }
    causes
}

/// Follows the path that starts at `at`, where `depth` is how many modules deep the file is at a
/// leading `super`, and 0 after `crate`; notes the names it reaches directly below the root.
fn follow(tokens: &[Token], mut at: usize, mut depth: usize, uses: &mut Vec<Use>) {
    loop {
        match tokens.get(at).map(|token| token.text.as_str()) {
            Some("super") => depth = depth.saturating_sub(1),
            Some("crate") => depth = 0,
            Some("{") => return follow_group(tokens, at, depth, uses),
            Some(name) if depth == 0 => {
                return uses.push(Use { name: name.to_owned(), line: tokens[at].line });
            }
            _ => return,
        }
        if tokens.get(at + 1).is_none_or(|token| token.text != "::") {
            return;
        }
        at += 2;
    }
}

/// Follows each path of the group `{a::b, c}` that opens at `open`.
fn follow_group(tokens: &[Token], open: usize, depth: usize, uses: &mut Vec<Use>) {
    let mut nesting = 0;
    for at in open..tokens.len() {
        match tokens[at].text.as_str() {
            "{" => nesting += 1,
            "}" => nesting -= 1,
            _ => {}
        }
        if nesting == 0 {
            return;
        }
        let starts_path = nesting == 1 && matches!(tokens[at].text.as_str(), "{" | ",");
        if starts_path && tokens.get(at + 1).is_some_and(|token| token.text != "}") {
            follow(tokens, at + 1, depth, uses);
        }
    }
}

/// Where a token stands.
#[derive(Clone, Copy, Default)]
struct Scope {
    /// How many `mod name { … }` of this file enclose it.
    inline_modules: usize,
    /// Whether it belongs to an item behind `#[cfg(test)]`.
    in_tests: bool,
}

/// The scope of each token.
fn scopes(tokens: &[Token]) -> Vec<Scope> {
    let mut open = vec![Scope::default()];
    let mut scopes = Vec::with_capacity(tokens.len());
    let mut item_is_test = false;
    for (at, token) in tokens.iter().enumerate() {
        let outer = *open.last().expect("the file's own scope stays");
        item_is_test |= is_cfg_test(&tokens[at..]);
        scopes.push(Scope { in_tests: outer.in_tests || item_is_test, ..outer });
        match token.text.as_str() {
            "{" => {
                let is_module = at >= 2 && tokens[at - 2].text == "mod";
                open.push(Scope {
                    inline_modules: outer.inline_modules + usize::from(is_module),
                    in_tests: outer.in_tests || item_is_test,
                });
                item_is_test = false;
            }
            "}" if open.len() > 1 => {
                open.pop();
            }
            ";" => item_is_test = false,
            _ => {}
        }
    }
    scopes
}

fn is_cfg_test(tokens: &[Token]) -> bool {
    let mut texts = tokens.iter().map(|token| token.text.as_str());
    ["#", "[", "cfg", "(", "test", ")", "]"].into_iter().all(|expected| texts.next() == Some(expected))
}

/// A word or a mark of Rust.
struct Token {
    text: String,
    line: usize,
}

/// Splits Rust source into words and marks; comments and literals are left out.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let (length, is_token) = lexeme(rest, first);
        let (lexeme, after) = rest.split_at(length);
        if is_token {
            tokens.push(Token { text: lexeme.to_owned(), line });
        }
        line += lexeme.matches('\n').count();
        rest = after;
    }
    tokens
}

/// The length in bytes of what `rest` starts with, and whether it is a word or mark.
fn lexeme(rest: &str, first: char) -> (usize, bool) {
    let until = |end: Option<usize>| end.unwrap_or(rest.len());
    if rest.starts_with("//") {
        (until(rest.find('\n')), false)
    } else if rest.starts_with("/*") {
        (until(rest.find("*/").map(|at| at + 2)), false)
    } else if let Some(length) = raw_string(rest) {
        (length, false)
    } else if first == '"' {
        (1 + until_quote(&rest[1..], '"'), false)
    } else if first == '\'' {
        (quote_or_lifetime(rest), false)
    } else if rest.starts_with("::") {
        (2, true)
    } else if first.is_alphanumeric() || first == '_' {
        (until(rest.find(|c: char| !c.is_alphanumeric() && c != '_')), true)
    } else {
        (first.len_utf8(), !first.is_whitespace())
    }
}

/// The length of the raw string `rest` starts with, if it does: `r"…"`, `r#"…"#`, `br"…"`.
fn raw_string(rest: &str) -> Option<usize> {
    let after_r = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let body = after_r.trim_start_matches('#');
    let hashes = "#".repeat(after_r.len() - body.len());
    let body = body.strip_prefix('"')?;
    let close = format!("\"{hashes}");
    let end = body.find(&close)? + close.len();
    Some(rest.len() - body.len() + end)
}

/// The length of a literal's rest, up to and with the first `quote` that no backslash precedes.
fn until_quote(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

/// The length of the character literal, or else of the lifetime's mark, that `rest` starts with.
fn quote_or_lifetime(rest: &str) -> usize {
    let mut inside = rest[1..].chars();
    match (inside.next(), inside.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => 1 + until_quote(&rest[1..], '\''),
        _ => 1,
    }
}
