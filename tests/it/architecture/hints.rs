//! No error swallows the hint of its cause.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, Token, sources, tokens};
use super::{Violation, assert_none};

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

/// An error's `hint`.
struct Hint {
    error: String,
    body: Vec<String>,
}

impl Hint {
    /// Returns whether it is decided what the hint of `cause` is: its variant is named, or what is not named has a
    /// hint.
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
    /// Every `impl Hinted` of an error of the crate that has a `hint`.
    fn hints(&self) -> Vec<Hint> {
        let tokens = tokens(&self.text);
        let hint = |at: usize| {
            let is_own = matches!(&*tokens[at + 3].text, "{" | "<");
            let opening = tokens[at..].iter().position(|token| token.text == "{").filter(|_| is_own)?;
            let body: Vec<String> =
                block(&tokens[at + opening..]).iter().map(|token| token.text.clone()).collect();
            body.iter().any(|word| word == "hint").then(|| Hint { error: tokens[at + 2].text.clone(), body })
        };
        let starts = (0..tokens.len().saturating_sub(4)).filter(|&at| is(&tokens[at..], &["Hinted", "for"]));
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
}

/// The tokens in the braces that `tokens` starts with.
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

/// Returns whether `tokens` starts with these words.
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
