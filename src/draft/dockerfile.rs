//! Dockerfiles, as far as a recipe says the same: the base, what apt and pip install, files, and the config.
//!
//! <https://docs.docker.com/reference/dockerfile/>

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use super::accounts::{self, DraftGroups};
use super::text::{flow, scalar};
use super::{Draft, DraftFiles, ProjectFiles, add_once, requirement};
use crate::debian::shell;
use crate::debian::shell::syntax::{CommandKind, List, ParameterOperator, PartKind, ShellCommand, ShellWord};

const NO_COMMANDS: &str = "no command runs while an image is built";

/// An instruction on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Instruction {
    word: String,
    rest: String,
}

/// The values of `ARG` and `ENV`.
type Variables = BTreeMap<String, String>;

/// Takes over the stage that is built last, and those that it is built on.
pub(super) fn read(text: &str, name: &str, files: &ProjectFiles, draft: &mut Draft) {
    let mut variables = Variables::new();
    let stages = stages(&instructions(text), &mut variables);
    let Some(last) = stages.last() else { return draft.leave_out(name, "it has no FROM") };
    let mut chain = vec![last];
    while let Some(below) = chain.last().and_then(|stage| named(&stages, &stage.from)) {
        if chain.len() > stages.len() {
            return draft.leave_out(name, "its stages are built on each other in a circle");
        }
        chain.push(below);
    }
    let base = &chain.last().unwrap_or(&last).from;
    take_base(base, draft);
    let mut reader = DockerfileReader {
        draft,
        files,
        variables,
        workdir: "/".to_owned(),
        groups: DraftGroups::new(),
        made: Vec::new(),
    };
    for stage in chain.iter().rev() {
        stage.instructions.iter().for_each(|instruction| reader.take(instruction));
    }
    reader.leave_out_directories();
}

struct DockerfileStage {
    from: String,
    name: Option<String>,
    instructions: Vec<Instruction>,
}

fn named<'s>(stages: &'s [DockerfileStage], name: &str) -> Option<&'s DockerfileStage> {
    stages.iter().find(|stage| stage.name.as_deref() == Some(name) && stage.from != name)
}

fn stages(instructions: &[Instruction], variables: &mut Variables) -> Vec<DockerfileStage> {
    let mut stages: Vec<DockerfileStage> = Vec::new();
    for instruction in instructions {
        match (&*instruction.word, stages.last_mut()) {
            ("FROM", _) => stages.push(stage(&instruction.rest, variables)),
            (_, Some(stage)) => stage.instructions.push(instruction.clone()),
            ("ARG", None) => set(&instruction.rest, variables),
            (_, None) => {}
        }
    }
    stages
}

fn stage(from: &str, variables: &Variables) -> DockerfileStage {
    let words: Vec<&str> = from.split_whitespace().filter(|word| !word.starts_with("--")).collect();
    let name = match words.as_slice() {
        [_, as_word, name, ..] if as_word.eq_ignore_ascii_case("as") => Some((*name).to_owned()),
        _ => None,
    };
    let from = words.first().map_or_else(String::new, |word| expanded(word, variables).unwrap_or_default());
    DockerfileStage { from, name, instructions: Vec::new() }
}

/// The instructions of a Dockerfile, with continued lines joined and comments removed.
fn instructions(text: &str) -> Vec<Instruction> {
    let mut instructions = Vec::new();
    let mut lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    while let Some(line) = lines.next() {
        let mut joined = line.trim().to_owned();
        while let Some(part) = joined.strip_suffix('\\') {
            let next = lines.find(|line| !line.trim().is_empty()).unwrap_or_default();
            joined = format!("{} {}", part.trim_end(), next.trim());
        }
        if let Some(end) = here_document(&joined) {
            let body: Vec<&str> = lines.by_ref().take_while(|line| line.trim() != end).collect();
            joined = format!("RUN {}", body.join("\n"));
        }
        let (word, rest) = joined.split_once(char::is_whitespace).unwrap_or((&joined, ""));
        if !word.is_empty() {
            instructions.push(Instruction { word: word.to_uppercase(), rest: rest.trim().to_owned() });
        }
    }
    instructions
}

/// The word that ends the text of `RUN <<EOF`.
fn here_document(line: &str) -> Option<String> {
    let (run, rest) = line.split_once("<<")?;
    let is_run = run.trim().eq_ignore_ascii_case("run") || run.to_uppercase().starts_with("RUN --");
    let word = rest.split_whitespace().next()?.trim_start_matches('-').trim_matches(['"', '\'']);
    is_run.then(|| word.to_owned())
}

fn take_base(from: &str, draft: &mut Draft) {
    if from.is_empty() || from == "scratch" {
        return draft.leave_out(&format!("FROM {from}"), "a base has a Python and a C library");
    }
    match from.split_once("-alpine").or_else(|| from.strip_suffix(":alpine").map(|name| (name, ""))) {
        Some((name, _)) => {
            draft.leave_out(
                &format!("FROM {from}"),
                "wheels of frameworks need glibc, which Alpine does not have",
            );
            let tag = if name.contains(':') { "-slim" } else { ":slim" };
            draft.base = Some(format!("{name}{tag}"));
        }
        None => draft.base = Some(from.to_owned()),
    }
}

struct DockerfileReader<'a> {
    draft: &'a mut Draft,
    files: &'a ProjectFiles,
    variables: Variables,
    workdir: String,
    groups: DraftGroups,
    /// The directories that commands make, with the commands.
    made: Vec<(String, String)>,
}

impl DockerfileReader<'_> {
    fn take(&mut self, Instruction { word, rest }: &Instruction) {
        let line = format!("{word} {rest}");
        match &**word {
            "RUN" => self.run(rest),
            "COPY" | "ADD" => self.copy(rest, &line),
            "ARG" => set(rest, &mut self.variables),
            "ENV" => self.env(rest, &line),
            "WORKDIR" => {
                let Some(path) = expanded(rest, &self.variables) else {
                    return self.draft.leave_out(&line, "its variable has no value");
                };
                self.workdir = joined(&self.workdir, &path);
                let workdir = scalar(&self.workdir);
                self.config("workdir", workdir);
            }
            "USER" => match needs_no_account(rest) || self.makes(rest) {
                true => self.config("user", scalar(rest)),
                false => self.draft.leave_out(
                    &line,
                    "make the user, `users: [{name: app, uid: 1000}]`, and name it: `config: {user: app}`",
                ),
            },
            "EXPOSE" => {
                self.config("ports", format!("[{}]", rest.split_whitespace().collect::<Vec<_>>().join(", ")))
            }
            "VOLUME" => {
                let volumes =
                    json_words(rest).unwrap_or_else(|| rest.split_whitespace().map(str::to_owned).collect());
                self.config("volumes", flow(&volumes));
            }
            "CMD" => self.config("cmd", command(rest)),
            "ENTRYPOINT" => self.config("entrypoint", command(rest)),
            "STOPSIGNAL" => self.config("stop-signal", scalar(rest)),
            "SHELL" | "MAINTAINER" | "ONBUILD" => {}
            "LABEL" => self.draft.leave_out(&line, "write `config: {labels: {NAME: value}}`"),
            "HEALTHCHECK" => match accounts::healthcheck(rest) {
                Some(check) => self.config("healthcheck", check),
                None => self.draft.leave_out(&line, "write `config: {healthcheck: {test: […]}}`"),
            },
            _ => self.draft.leave_out(&line, "imgforge does not know it"),
        }
    }

    /// Returns whether the recipe makes the user that `USER` names.
    fn makes(&self, user: &str) -> bool {
        let name = user.split(':').next().unwrap_or_default().trim();
        self.draft.users.iter().any(|known| known.name == name)
    }

    fn config(&mut self, key: &'static str, value: String) {
        self.draft.config.retain(|(known, _)| *known != key);
        self.draft.config.push((key, value));
    }

    fn env(&mut self, rest: &str, line: &str) {
        for (name, value) in assignments(rest) {
            match value.and_then(|value| expanded(&value, &self.variables)) {
                Some(value) => {
                    self.variables.insert(name.clone(), value.clone());
                    self.draft.env.retain(|(known, _)| *known != name);
                    self.draft.env.push((name, value));
                }
                None => {
                    let whole = assignments(rest).len() == 1;
                    let told = rest.split_whitespace().find(|word| word.starts_with(&format!("{name}=")));
                    let told = told.filter(|_| !whole).map_or(line.to_owned(), |told| format!("ENV {told}"));
                    self.draft
                        .leave_out(&told, "write its value without variables, below `config: {env: …}`");
                }
            }
        }
    }

    fn copy(&mut self, rest: &str, line: &str) {
        let (flags, paths): (Vec<String>, Vec<String>) = json_words(rest)
            .unwrap_or_else(|| rest.split_whitespace().map(str::to_owned).collect())
            .into_iter()
            .partition(|word| word.starts_with("--"));
        let Some((to, from)) = paths.split_last() else { return };
        if flags.iter().any(|flag| flag.starts_with("--from")) {
            return self
                .draft
                .leave_out(line, "it comes from another stage: write `files:` for what it makes");
        }
        let flag = |name: &str| {
            flags.iter().find_map(|flag| flag.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
        };
        let (owner, mode) = (flag("--chown"), flag("--chmod"));
        let owner = owner.and_then(|owner| self.owner(&owner, line));
        let is_octal = |mode: &String| mode.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
        if mode.as_ref().is_some_and(|mode| !is_octal(mode)) {
            self.draft.leave_out(line, "write its mode in digits: `files: [{…, mode: 0755}]`");
        }
        let mode = mode.filter(is_octal).map(|mode| format!("{mode:0>4}"));
        let destination = joined(&self.workdir, to);
        for path in from {
            let path = path.trim_start_matches("./").trim_end_matches('/');
            let path = if path.is_empty() { "." } else { path };
            let top = path.split('/').next().unwrap_or(path);
            if self.files.texts.contains_key(path) && mode.is_none() {
                continue;
            }
            match path == "." || self.files.names.contains(top) && !path.contains(['*', '$']) {
                true => {
                    let is_file = path.contains('.') && path != ".";
                    let slash = if is_file && (to.ends_with('/') || to == ".") { "/" } else { "" };
                    let to = format!("{}{slash}", destination.trim_end_matches('/'));
                    self.draft.files.push(DraftFiles {
                        from: path.to_owned(),
                        to: if to.is_empty() { "/".to_owned() } else { to },
                        owner: owner.clone(),
                        mode: mode.clone(),
                    });
                }
                false => self.draft.leave_out(line, "it is not in the directory"),
            }
        }
    }

    /// The owner that `--chown` names, as a recipe names it: a user that it makes, or numbers.
    fn owner(&mut self, owner: &str, line: &str) -> Option<String> {
        let (user, group) = owner.split_once(':').unwrap_or((owner, ""));
        let is_number = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
        if self.draft.users.iter().any(|known| known.name == user) {
            return Some(if group.is_empty() || group == user { user.to_owned() } else { owner.to_owned() });
        }
        if is_number(user) && (group.is_empty() || is_number(group)) {
            return Some(owner.to_owned());
        }
        if user != "root" {
            self.draft
                .leave_out(line, "its owner is no user of the recipe: name one, `files: [{…, owner: app}]`");
        }
        None
    }

    /// Notes the directories that a command makes and nothing else in the recipe does.
    fn directories(&mut self, words: &[&str], text: &str) {
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "-m" | "--mode" => drop(words.next()),
                option if option.starts_with('-') => {}
                path => self.made.push((joined(&self.workdir, path), text.to_owned())),
            }
        }
    }

    /// Tells the directories that were made and that nothing brings into the image.
    fn leave_out_directories(&mut self) {
        const OF_OTHERS: [&str; 5] = ["/tmp", "/var/lib/apt", "/var/cache", "/etc/apt", "/root/.cache"];
        let mut told = BTreeSet::new();
        for (path, text) in mem::take(&mut self.made) {
            let is_within = |other: &str| {
                other == path || other.strip_prefix(&path).is_some_and(|rest| rest.starts_with('/'))
            };
            let is_there = is_within(&self.workdir)
                || self.draft.files.iter().any(|file| is_within(file.to.trim_end_matches('/')))
                || OF_OTHERS.iter().any(|other| path == *other || path.starts_with(&format!("{other}/")));
            if !is_there && told.insert(text.clone()) {
                self.draft.leave_out(
                    &text,
                    "copy an empty directory there: `files: [{from: empty, to: …, owner: app}]`",
                );
            }
        }
    }

    fn run(&mut self, rest: &str) {
        let mut text = rest.trim();
        while let Some(after) = text.strip_prefix("--") {
            text = after.split_once(char::is_whitespace).map_or("", |(_, rest)| rest.trim_start());
        }
        if let Some(words) = json_words(text) {
            return self.command(&words, text);
        }
        match shell::parse(text) {
            Ok(list) => simple_commands(&list).into_iter().for_each(|command| self.simple(command)),
            Err(_) => self.draft.leave_out(&format!("RUN {text}"), NO_COMMANDS),
        }
    }

    fn simple(&mut self, command: &ShellCommand) {
        let CommandKind::Simple { words, .. } = &command.kind else { return };
        let literal: Option<Vec<String>> = words.iter().map(|word| literal(word, &self.variables)).collect();
        match literal {
            Some(words) => self.command(&words, &command.text),
            None => self.draft.leave_out(&command.text, NO_COMMANDS),
        }
    }

    fn command(&mut self, words: &[String], text: &str) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let words = match words.as_slice() {
            ["sudo", rest @ ..] | ["python" | "python3", "-m", rest @ ..] | ["uv", rest @ ..]
                if !rest.is_empty() =>
            {
                rest
            }
            all => all,
        };
        match words {
            [] | ["set" | "echo" | "true" | ":" | "cd" | "export" | "ldconfig", ..] => {}
            ["mkdir", rest @ ..] => self.directories(rest, text),
            ["rm", rest @ ..] if rest.iter().any(|path| path.contains("apt") || path.contains("cache")) => {}
            ["apt-get" | "apt" | "aptitude", rest @ ..] => self.apt(rest),
            ["pip" | "pip3", "install", rest @ ..] => self.pip(rest, text),
            ["pip" | "pip3", "cache" | "check", ..] => {}
            ["sync", ..] => self.draft.leave_out(text, "name the lock: `requirements: [pylock.toml]`"),
            ["useradd" | "adduser" | "groupadd" | "addgroup", ..] => {
                if !accounts::take(words, &mut self.groups, self.draft) {
                    self.draft.leave_out(text, "write `users: [{name: app, uid: 1000}]`");
                }
            }
            ["curl" | "wget" | "git", ..] => {
                self.draft
                    .leave_out(text, "fetch it beside the recipe, and write `files: [{from: …, to: …}]`");
            }
            _ => self.draft.leave_out(text, NO_COMMANDS),
        }
    }

    fn apt(&mut self, words: &[&str]) {
        let Some(at) = words.iter().position(|word| *word == "install") else { return };
        for word in words[at + 1..].iter().filter(|word| !word.starts_with('-')) {
            let name = word.split(['=', '/']).next().unwrap_or(word);
            add_once(&mut self.draft.system_packages, name);
        }
    }

    fn pip(&mut self, words: &[&str], text: &str) {
        let mut rest = words.iter().copied();
        while let Some(word) = rest.next() {
            let (option, value) = match word.split_once('=').filter(|_| word.starts_with("--")) {
                Some((option, value)) => (option, Some(value)),
                None => (word, None),
            };
            let mut value = || value.or_else(|| rest.next()).unwrap_or_default().to_owned();
            match option {
                "-r" | "--requirement" => self.requirements(&value(), text),
                "-c" | "--constraint" => add_once(&mut self.draft.constraints, &value()),
                "-i" | "--index-url" | "--extra-index-url" | "--index" => {
                    let index = value();
                    add_once(&mut self.draft.indexes, &index);
                }
                "-f" | "--find-links" | "--target" | "--prefix" | "--platform" | "--trusted-host"
                | "--timeout" | "--retries" | "--python" | "-p" => drop(value()),
                "-e" | "--editable" => drop(value()),
                option if option.starts_with('-') => {}
                "pip" | "setuptools" | "wheel" | "uv"
                    if words.contains(&"--upgrade") || words.contains(&"-U") => {}
                "." => self.draft.leave_out(
                    text,
                    "its dependencies are taken; `packages: [.]` installs the project itself",
                ),
                word if requirement::is_of_index(word) => self.draft.require(word),
                word => self.draft.leave_out(word, "name its wheel under `packages`"),
            }
        }
    }

    /// Takes over a requirements file by its name in the project's directory.
    fn requirements(&mut self, path: &str, text: &str) {
        let known = |path: &str| self.files.names.contains(path.split('/').next().unwrap_or(path));
        let relative = path.trim_start_matches("./");
        let name = path.rsplit('/').next().unwrap_or(path);
        match [relative, name].into_iter().find(|path| known(path) && !path.starts_with('/')) {
            Some(found) => {
                let found = found.to_owned();
                self.draft.require_file(&found);
            }
            None => {
                self.draft.leave_out(text, "the file is not in the directory: write `requirements: [FILE]`")
            }
        }
    }
}

/// The commands of a script that are run whatever happens, and those in its conditions and loops.
fn simple_commands(list: &List) -> Vec<&ShellCommand> {
    let mut found = Vec::new();
    let pipelines =
        list.iter().flat_map(|it| std::iter::once(&it.first).chain(it.rest.iter().map(|(_, next)| next)));
    for command in pipelines.flat_map(|pipeline| &pipeline.commands) {
        match &command.kind {
            CommandKind::Simple { .. } => found.push(command),
            CommandKind::Group(list) | CommandKind::Subshell(list) => found.extend(simple_commands(list)),
            CommandKind::If { branches, otherwise } => {
                let lists = branches.iter().map(|(_, then)| then).chain([otherwise]);
                found.extend(lists.flat_map(simple_commands));
            }
            CommandKind::For { body, .. } | CommandKind::While { body, .. } => {
                found.extend(simple_commands(body))
            }
            CommandKind::Case { .. } | CommandKind::Function { .. } => {}
        }
    }
    found
}

/// The text of a word, where its variables are known.
fn literal(word: &ShellWord, variables: &Variables) -> Option<String> {
    let part = |part: &PartKind| match part {
        PartKind::Text(text) => Some(text.clone()),
        PartKind::Parameter { name, change: None } => variables.get(name).cloned(),
        PartKind::Parameter { name, change: Some(change) } => match change.operator {
            ParameterOperator::Default => {
                variables.get(name).cloned().or_else(|| literal(&change.word, variables))
            }
            _ => None,
        },
        PartKind::Output(_) | PartKind::Arithmetic => None,
    };
    word.0.iter().map(|it| part(&it.kind)).collect()
}

/// `text` with the values of its variables; `None` where one has none.
fn expanded(text: &str, variables: &Variables) -> Option<String> {
    if !text.contains('$') {
        return Some(text.to_owned());
    }
    let list = shell::parse(&format!("echo \"{}\"", text.replace('"', ""))).ok()?;
    let command = simple_commands(&list).into_iter().next()?;
    match &command.kind {
        CommandKind::Simple { words, .. } => literal(words.get(1)?, variables),
        _ => None,
    }
}

/// Notes the default of an `ARG`.
fn set(rest: &str, variables: &mut Variables) {
    if let Some((name, value)) = rest.split_once('=') {
        let value = value.trim().trim_matches(['"', '\'']);
        if let Some(value) = expanded(value, variables) {
            variables.entry(name.trim().to_owned()).or_insert(value);
        }
    }
}

/// The names and values of `ENV`: `A=1 B="two words"`, or `A value`.
fn assignments(rest: &str) -> Vec<(String, Option<String>)> {
    let (first, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    if !first.contains('=') {
        return vec![(first.to_owned(), Some(after.trim().to_owned()))];
    }
    let mut found = Vec::new();
    let mut remaining = rest.trim();
    while let Some((name, value)) = remaining.split_once('=') {
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
        let (value, next) = match quote {
            Some(quote) => value[1..].split_once(quote).unwrap_or((&value[1..], "")),
            None => value.split_once(char::is_whitespace).unwrap_or((value, "")),
        };
        found.push((name.trim().to_owned(), Some(value.to_owned())));
        remaining = next.trim();
    }
    found
}

/// A command as a list: a text is one for the shell.
fn command(rest: &str) -> String {
    let words = json_words(rest).unwrap_or_else(|| vec!["sh".to_owned(), "-c".to_owned(), rest.to_owned()]);
    flow(&words)
}

fn json_words(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text).ok()
}

/// A path in the image, from the working directory on.
fn joined(workdir: &str, path: &str) -> String {
    let path = path.strip_prefix("./").unwrap_or(path);
    match path {
        "." | "" => workdir.to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("{}/{path}", workdir.trim_end_matches('/')),
    }
}

/// Returns whether `user`, as `USER` names it, is an id or of every Debian and Ubuntu.
fn needs_no_account(user: &str) -> bool {
    const ACCOUNTS: [&str; 5] = ["root", "nobody", "www-data", "daemon", "games"];
    let name = user.split(':').next().unwrap_or_default().trim();
    ACCOUNTS.contains(&name) || name.parse::<u32>().is_ok()
}
