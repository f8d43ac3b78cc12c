//! The files below `src/`, split into words and marks.

use std::fs;
use std::path::{Path, PathBuf};

/// One file below `src/`.
pub struct Source {
    /// Relative to the repository: `src/net/index.rs`.
    pub path: PathBuf,
    pub text: String,
}

/// Every file of every module: all of `src/` but the two roots, which only name modules.
pub fn sources() -> Vec<Source> {
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
pub struct Use {
    pub name: String,
    pub line: usize,
}

/// An attribute that switches a purity lint off.
pub struct OptOut {
    pub line: usize,
    pub has_reason: bool,
    pub in_tests: bool,
}

impl Source {
    /// The module path of the file: `["net", "index"]`.
    pub fn module_path(&self) -> Vec<String> {
        let inside = self.path.strip_prefix("src").expect("sources are below src").with_extension("");
        let mut path: Vec<_> =
            inside.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
        if path.last().is_some_and(|last| last == "mod") {
            path.pop();
        }
        path
    }

    pub fn module(&self) -> String {
        self.module_path().swap_remove(0)
    }

    pub fn place(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }

    /// Every name directly below the crate's root that a path in the file mentions.
    pub fn uses(&self) -> Vec<Use> {
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

    pub fn opt_outs(&self) -> Vec<OptOut> {
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

/// The scope of a token.
#[derive(Clone, Copy, Default)]
pub struct Scope {
    /// The number of enclosing `mod name { … }` of this file.
    pub inline_modules: usize,
    /// True if it belongs to an item behind `#[cfg(test)]`.
    pub in_tests: bool,
    /// The number of enclosing braces.
    pub depth: usize,
}

/// The scope of each token.
pub fn scopes(tokens: &[Token]) -> Vec<Scope> {
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
                    depth: outer.depth + 1,
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
pub struct Token {
    pub text: String,
    pub line: usize,
}

/// Splits Rust source into words and marks; comments and literals are left out.
pub fn tokens(text: &str) -> Vec<Token> {
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
