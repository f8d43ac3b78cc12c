//! `grep` and `sed`, whose expressions are translated to those of a library.
//!
//! <https://pubs.opengroup.org/onlinepubs/9799919799/basedefs/V1_chap09.html>

use regex::Regex;

use super::super::system::{Done, System};
use super::filter::{filtered, read, unknown};
use super::options::Options;

/// An expression of `grep` or `sed` as one of [`Regex`]; `None` where it has no equal.
fn expression(text: &str, is_extended: bool) -> Option<Regex> {
    let mut translated = String::new();
    let mut signs = text.chars().peekable();
    let mut in_set = false;
    while let Some(c) = signs.next() {
        match c {
            '[' if in_set && signs.peek() != Some(&':') => translated.push_str("\\["),
            '[' => {
                let opens = !in_set;
                in_set = true;
                translated.push('[');
                if opens && signs.next_if_eq(&'^').is_some() {
                    translated.push('^');
                }
                if opens && signs.next_if_eq(&']').is_some() {
                    translated.push_str("\\]");
                }
            }
            ']' => {
                // The end of `[:digit:]` is not that of the set.
                in_set = in_set && translated.ends_with(':');
                translated.push(']');
            }
            '\\' if in_set => translated.push_str("\\\\"),
            '\\' => match signs.next()? {
                c @ ('(' | ')' | '{' | '}' | '|' | '+' | '?') if !is_extended => translated.push(c),
                c if c.is_ascii_digit() => return None,
                c @ ('s' | 'S' | 'w' | 'W' | 'b' | 'B') => translated.extend(['\\', c]),
                c if c.is_ascii_alphanumeric() => return None,
                c => translated.push_str(&regex::escape(&c.to_string())),
            },
            '(' | ')' | '{' | '}' | '|' | '+' | '?' if !is_extended && !in_set => {
                translated.extend(['\\', c])
            }
            c if in_set && "&~".contains(c) => translated.extend(['\\', c]),
            c => translated.push(c),
        }
    }
    Regex::new(&translated).ok()
}

pub(super) fn grep(system: &mut System<'_, '_>, name: &str, arguments: &[String]) -> Done {
    let options = Options::of(arguments, &["-e", "--regexp", "-m", "--max-count"]);
    let known = [
        "-q",
        "--quiet",
        "--silent",
        "-s",
        "--no-messages",
        "-v",
        "--invert-match",
        "-E",
        "-F",
        "-x",
        "-i",
        "-e",
        "--regexp",
        "--ignore-case",
        "--line-regexp",
        "--fixed-strings",
        "--extended-regexp",
        "-w",
    ];
    let (pattern, paths) = match options.value(&["-e", "--regexp"]) {
        Some(pattern) => (pattern, &options.operands[..]),
        None => match options.operands.split_first() {
            Some((pattern, paths)) => (*pattern, paths),
            None => return Done::FAILURE,
        },
    };
    let extended = name == "egrep" || options.has(&["-E", "--extended-regexp"]);
    let fixed = name == "fgrep" || options.has(&["-F", "--fixed-strings"]);
    let expression =
        if fixed { Regex::new(&regex::escape(pattern)).ok() } else { expression(pattern, extended) };
    let text = match read(system, paths) {
        Ok(text) => text,
        Err(_) => return Done::Status(2),
    };
    let (Some(expression), Some(text), true) = (expression, text, options.are_all(&known)) else {
        return unknown(system);
    };
    let wrap = |before: &str, after: &str| Regex::new(&format!("{before}{expression}{after}")).ok();
    let expression = match () {
        () if options.has(&["-x", "--line-regexp"]) => wrap("^(?:", ")$"),
        () if options.has(&["-w"]) => wrap("\\b(?:", ")\\b"),
        () if options.has(&["-i", "--ignore-case"]) => wrap("(?i:", ")"),
        () => Some(expression.clone()),
    };
    let Some(expression) = expression else { return unknown(system) };
    let inverted = options.has(&["-v", "--invert-match"]);
    let lines: Vec<&str> = text.lines().filter(|line| expression.is_match(line) != inverted).collect();
    if !options.has(&["-q", "--quiet", "--silent"]) {
        lines.iter().for_each(|line| system.write(&format!("{line}\n")));
    }
    Done::of(!lines.is_empty())
}

/// `s/expression/replacement/flags`.
struct Replacement {
    expression: Regex,
    replacement: String,
    all: bool,
}

impl Replacement {
    fn parse(command: &str, extended: bool) -> Option<Self> {
        let rest = command.trim().strip_prefix('s')?;
        let separator = rest.chars().next()?;
        let mut parts = vec![String::new()];
        let mut signs = rest[separator.len_utf8()..].chars();
        while let Some(c) = signs.next() {
            match c {
                '\\' => match signs.next()? {
                    c if c == separator => parts.last_mut()?.push(c),
                    c => parts.last_mut()?.extend(['\\', c]),
                },
                c if c == separator => parts.push(String::new()),
                c => parts.last_mut()?.push(c),
            }
        }
        let [pattern, replacement, flags] = <[String; 3]>::try_from(parts).ok()?;
        if !["", "g"].contains(&flags.as_str()) {
            return None;
        }
        Some(Self {
            expression: expression(&pattern, extended)?,
            replacement: replacement_text(&replacement)?,
            all: flags == "g",
        })
    }

    fn apply(&self, line: &str) -> String {
        let limit = usize::from(!self.all);
        self.expression.replacen(line, limit, self.replacement.as_str()).into_owned()
    }
}

/// sed's replacement in the form of [`Regex`]: `\1` is `${1}`, and `&` the whole.
fn replacement_text(text: &str) -> Option<String> {
    let mut translated = String::new();
    let mut signs = text.chars();
    while let Some(c) = signs.next() {
        match c {
            '\\' => match signs.next()? {
                c if c.is_ascii_digit() => translated.push_str(&format!("${{{c}}}")),
                '&' => translated.push('&'),
                'n' => translated.push('\n'),
                c if c.is_ascii_alphabetic() => return None,
                c => translated.push(c),
            },
            '&' => translated.push_str("${0}"),
            '$' => translated.push_str("$$"),
            c => translated.push(c),
        }
    }
    Some(translated)
}

pub(super) fn sed(system: &mut System<'_, '_>, arguments: &[String]) -> Done {
    let options = Options::of(arguments, &["-e", "--expression", "-f"]);
    let extended = options.has(&["-E", "-r", "--regexp-extended"]);
    let in_place = options.has(&["-i", "--in-place"]);
    let mut expressions: Vec<&str> = options.values(&["-e", "--expression"]);
    let mut paths = &options.operands[..];
    if expressions.is_empty()
        && let Some((first, rest)) = paths.split_first()
    {
        expressions.push(first);
        paths = rest;
    }
    let known = ["-e", "--expression", "-E", "-r", "--regexp-extended", "-i", "--in-place"];
    let commands =
        expressions.iter().flat_map(|it| it.split('\n')).map(|it| Replacement::parse(it, extended));
    let commands: Option<Vec<Replacement>> = commands.collect();
    let Some(commands) = commands.filter(|_| options.are_all(&known)) else {
        if in_place {
            return Done::NotFollowed;
        }
        // Of no lines, whatever is asked makes none.
        return filtered(system, paths, |text| text.is_empty().then(String::new));
    };
    let edit = |text: &str| {
        let lines = text.lines().map(|line| {
            let changed = commands.iter().fold(line.to_owned(), |line, command| command.apply(&line));
            changed + "\n"
        });
        lines.collect::<String>()
    };
    if !in_place {
        return filtered(system, paths, |text| Some(edit(text)));
    }
    for path in paths {
        match read(system, &[path]) {
            Ok(Some(text)) => system.write_file(path, &edit(&text), false),
            Ok(None) => return Done::NotFollowed,
            Err(done) => return done,
        }
    }
    Done::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_of_grep_and_sed_are_translated() {
        for (text, extended, subject, expected) in [
            ("^a\\(b\\)*$", false, "abb", Some(true)),
            ("a(b)", false, "a(b)", Some(true)),
            ("a+", false, "aa", Some(false)),
            ("a+", true, "aa", Some(true)),
            ("[[:space:]]x", false, " x", Some(true)),
            ("[]a]b", false, "]b", Some(true)),
            ("a\\.b", false, "axb", Some(false)),
            ("\\(a\\)\\1", false, "aa", None),
        ] {
            let found = expression(text, extended).map(|expression| expression.is_match(subject));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn replacements_are_made_as_sed_makes_them() {
        for (command, line, expected) in [
            ("s/a/b/", "aa", Some("ba")),
            ("s/a/b/g", "aa", Some("bb")),
            ("s|/usr|$&|", "/usr/bin", Some("$/usr/bin")),
            ("s/^\\(...\\).*/\\1/", "abcdef", Some("abc")),
            ("s/a\\/b/c/", "a/b", Some("c")),
            ("s/a/b/p", "a", None),
            ("/a/d", "a", None),
        ] {
            let changed = Replacement::parse(command, false).map(|it| it.apply(line));
            assert_eq!(changed.as_deref(), expected, "{command}");
        }
    }
}
