//! The interpreter of Python that the command of an image starts, directly or by scripts.

use super::ImageConfigFacts;
use super::called::call;
use crate::observe::inventory_facts::InventoryFacts;

/// The scripts that start each other on the way to an interpreter: entrypoints have one or two.
const MOST_SCRIPTS: usize = 4;
/// The words of a command that are looked at: a wrapper's options, and the program after them.
const MOST_WORDS: usize = 16;

/// Programs that start the one which they are given.
const WRAPPERS: [&str; 14] = [
    "tini",
    "dumb-init",
    "catatonit",
    "env",
    "exec",
    "nice",
    "su-exec",
    "gosu",
    "setpriv",
    "timeout",
    "stdbuf",
    "tini-static",
    "nvidia_entrypoint.sh",
    "xvfb-run",
];
const SHELLS: [&str; 5] = ["sh", "bash", "dash", "ash", "zsh"];

/// The path under which the command of an image calls an interpreter; `None` where it calls none.
pub(super) fn interpreter(facts: &InventoryFacts, config: &ImageConfigFacts) -> Option<String> {
    let path = config.path().map(str::to_owned).collect();
    let mut caller = Caller { facts, config, path, scripts: 0 };
    let words: Vec<&str> = config.command.iter().map(String::as_str).collect();
    caller.of_words(&words)
}

/// The path of the program that a word of a command names, as the kernel or a shell finds it.
pub(super) fn program<'a>(
    facts: &InventoryFacts,
    config: &ImageConfigFacts,
    mut path: impl Iterator<Item = &'a str>,
    word: &str,
) -> Option<String> {
    let is_there = |path: &String| facts.file(path).is_some() || facts.read(path).is_some();
    if word.contains('/') {
        return Some(config.absolute(word).trim_start_matches('/').to_owned()).filter(is_there);
    }
    path.find_map(|directory| Some(format!("{}/{word}", directory.trim_matches('/'))).filter(is_there))
}

/// A shell, or what stands for one, on its way to an interpreter.
struct Caller<'a> {
    facts: &'a InventoryFacts,
    config: &'a ImageConfigFacts,
    /// The directories of `PATH`, with those of environments that scripts activate.
    path: Vec<String>,
    scripts: usize,
}

impl Caller<'_> {
    fn of_words(&mut self, words: &[&str]) -> Option<String> {
        for (at, word) in words.iter().enumerate().take(MOST_WORDS) {
            if word.starts_with('-') || word.contains('=') {
                continue;
            }
            let name = word.rsplit('/').next().unwrap_or(word);
            let rest = &words[at + 1..];
            if SHELLS.contains(&name) {
                return self.of_shell(rest);
            }
            let path = self.path.iter().map(String::as_str);
            let found = program(self.facts, self.config, path, word);
            if let Some(found) = &found
                && let Some(python) = self.of_program(found, rest)
            {
                return Some(python);
            }
            if found.is_some() && !WRAPPERS.contains(&name) {
                return None;
            }
        }
        None
    }

    /// `sh -c 'exec python …'`, or `sh script`.
    fn of_shell(&mut self, words: &[&str]) -> Option<String> {
        let first = words.iter().position(|word| !word.starts_with('-'))?;
        let is_text = words[..first].iter().any(|option| option.ends_with('c'));
        match is_text {
            true => self.of_lines(words[first].split([';', '\n', '&']), &[]),
            false => self.of_words(&words[first..]),
        }
    }

    fn of_program(&mut self, path: &str, rest: &[&str]) -> Option<String> {
        if call(self.facts, path).is_some() {
            return Some(path.to_owned());
        }
        let text = self.facts.read(path)?.strip_prefix("#!")?;
        self.scripts += 1;
        if self.scripts > MOST_SCRIPTS {
            return None;
        }
        let (first, lines) = text.split_once('\n').unwrap_or((text, ""));
        let words: Vec<&str> = first.split_whitespace().collect();
        let name = words.first().and_then(|word| word.rsplit('/').next()).unwrap_or_default();
        match SHELLS.contains(&name) || name == "env" && words.get(1).is_some_and(|it| SHELLS.contains(it)) {
            true => self.of_lines(lines.lines(), rest),
            false => self.of_words(&words),
        }
    }

    /// The interpreter that the lines of a shell's script end with; `rest` is what the script is given.
    fn of_lines<'b>(&mut self, lines: impl Iterator<Item = &'b str>, rest: &[&str]) -> Option<String> {
        let mut last = None;
        for line in lines.map(str::trim) {
            let words: Vec<&str> =
                line.split_whitespace().map(|word| word.trim_matches(['"', '\''])).collect();
            match words.as_slice() {
                ["." | "source", activate, ..] => {
                    self.path.extend(activate.strip_suffix("/activate").map(str::to_owned));
                    self.path.rotate_right(usize::from(activate.ends_with("/activate")));
                }
                ["exec", "$@" | "${@}", ..] => return self.of_words(rest).or(last),
                // What pip and uv write where the interpreter's path is too long for a line of `#!`.
                ["exec", words @ ..] | ["'''exec", words @ ..] => return self.of_words(words).or(last),
                words => last = self.of_words(words).or(last),
            }
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::scan::tests::facts;
    use crate::oci::Architecture;

    #[test]
    fn a_command_leads_to_its_interpreter() {
        let layout = "
            usr/bin/python3 -> python3.11
            usr/bin/python3.11 says 3.11.2
            usr/bin/tini is tini
            usr/sbin/nginx is nginx
            opt/venv/bin/python -> /usr/bin/python3.11
            opt/venv/bin/serve: #!/opt/venv/bin/python\\n
            opt/venv/bin/long: #!/bin/sh\\n'''exec' /opt/venv/bin/python \"$0\" \"$@\"\\n
            usr/local/bin/run: #!/usr/bin/env bash\\nsource /opt/venv/bin/activate\\nexec serve\\n
            start: #!/bin/sh\\nexec /opt/venv/bin/python -m app \"$@\"\\n
            given: #!/bin/sh\\nexec \"$@\"\\n
            loop: #!/loop\\n
        ";
        let facts = facts(layout);
        let check = |command: &[&str], expected: Option<&str>| {
            let mut config = ImageConfigFacts::new(Architecture::Amd64, []);
            config.command = command.iter().map(|&word| word.to_owned()).collect();
            assert_eq!(interpreter(&facts, &config).as_deref(), expected, "{command:?}");
        };
        let (system, venv) = (Some("usr/bin/python3"), Some("opt/venv/bin/python"));
        check(&[], None);
        check(&["python3", "-m", "app"], system);
        check(&["/opt/venv/bin/python", "-m", "app"], venv);
        check(&["tini", "--", "/opt/venv/bin/serve"], venv);
        check(&["/opt/venv/bin/long"], venv);
        check(&["run"], venv);
        check(&["/start", "--port", "80"], venv);
        check(&["/given", "python3", "app.py"], system);
        check(&["/bin/sh", "-c", "cd /app && exec /opt/venv/bin/serve"], venv);
        check(&["nginx", "/usr/bin/python3"], None);
        check(&["bash"], None);
        check(&["/loop"], None);
    }
}
