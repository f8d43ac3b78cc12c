//! Follows the commands of a script: what they decide, repeat and hand on. No program is run; those that are known are
//! done natively, and each of the others is noted.

use std::collections::BTreeMap;
use std::mem::replace;
use std::rc::Rc;

use super::programs;
use super::system::{Done, ShellValue, System};
use super::unfollowed::{Unfollowed, UnfollowedReason, has_effect, may_write};
use crate::debian::shell::pattern;
use crate::debian::shell::syntax::{
    AndOr, CommandKind, Join, List, Pipeline, Redirection, RedirectionTarget, ShellCommand, ShellWord,
};

/// The most commands that one script is followed for: the longest of Debian have some thousands.
const MOST_STEPS: usize = 50_000;

/// The deepest that commands, functions and scripts call each other.
const DEEPEST_CALL: usize = 60;

/// The status of a command; `None` where it is not known.
pub(super) type ShellStatus = Option<u8>;

/// The end of the commands around one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Jump {
    /// Out of loops.
    Break(usize),
    /// To the next round of a loop.
    Continue(usize),
    /// Out of a function or a file that is read.
    Return,
    /// Out of the script.
    Exit,
}

pub(super) type Followed = Result<(), Jump>;

/// A script while it is followed.
pub(super) struct Shell<'s, 't, 'a> {
    pub system: &'s mut System<'t, 'a>,
    pub variables: BTreeMap<String, ShellValue>,
    pub functions: BTreeMap<String, Rc<ShellCommand>>,
    /// The arguments, `$1` first.
    pub arguments: Vec<ShellValue>,
    /// The status of the last command.
    pub status: ShellStatus,
    /// True after `set -e`.
    pub ends_on_failure: bool,
    /// The variables of functions that are being followed, as they were outside.
    pub locals: Vec<Vec<(String, Option<ShellValue>)>>,
    pub unfollowed: Vec<Unfollowed>,
    script: &'static str,
    tested: usize,
    steps: usize,
    depth: usize,
}

impl<'s, 't, 'a> Shell<'s, 't, 'a> {
    /// A shell for the maintainer script `script` with its `arguments`.
    pub(super) fn new(system: &'s mut System<'t, 'a>, script: &'static str, arguments: &[&str]) -> Self {
        let package = system.package;
        let architecture = system.tree.input().architecture;
        let variables = [
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("HOME", "/root"),
            ("DEBIAN_FRONTEND", "noninteractive"),
            ("DPKG_ADMINDIR", "/var/lib/dpkg"),
            ("DPKG_MAINTSCRIPT_NAME", script),
            ("DPKG_MAINTSCRIPT_PACKAGE", package.name.as_str()),
            ("DPKG_MAINTSCRIPT_ARCH", architecture),
        ];
        let known = |text: &&str| Some((*text).to_owned());
        Self {
            variables: variables.iter().map(|(name, value)| ((*name).to_owned(), known(value))).collect(),
            arguments: arguments.iter().map(known).collect(),
            system,
            functions: BTreeMap::new(),
            status: Some(0),
            ends_on_failure: false,
            locals: Vec::new(),
            unfollowed: Vec::new(),
            script,
            tested: 0,
            steps: 0,
            depth: 0,
        }
    }

    pub(super) fn list(&mut self, list: &List) -> Followed {
        list.iter().try_for_each(|and_or| self.and_or(and_or))
    }

    fn and_or(&mut self, and_or: &AndOr) -> Followed {
        let last = and_or.rest.len();
        let mut followed = &and_or.first;
        let mut is_last = last == 0;
        self.part_of_and_or(&and_or.first, is_last)?;
        for (at, (join, pipeline)) in and_or.rest.iter().enumerate() {
            let runs = match (join, self.status) {
                (Join::And, Some(status)) => status == 0,
                (Join::Or, Some(status)) => status != 0,
                // A program that is not run would have succeeded: an image is made of packages that install.
                (Join::Or, None) => false,
                (Join::And, None) => {
                    self.skip_pipeline(pipeline);
                    false
                }
            };
            is_last = runs && at + 1 == last;
            if runs {
                followed = pipeline;
                self.part_of_and_or(pipeline, is_last)?;
            }
        }
        match self.status {
            // A failure within `if` or a loop that ended nothing there ends nothing here.
            Some(status) if status != 0 && is_last && is_plain(followed) && self.tested == 0 => {
                if self.ends_on_failure { Err(Jump::Exit) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    fn part_of_and_or(&mut self, pipeline: &Pipeline, is_last: bool) -> Followed {
        let is_tested = !is_last || pipeline.negated;
        self.tested += usize::from(is_tested);
        let followed = self.pipeline(pipeline);
        self.tested -= usize::from(is_tested);
        followed
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> Followed {
        match &pipeline.commands[..] {
            [command] => self.command(command)?,
            commands => self.connected(commands)?,
        }
        if pipeline.negated {
            self.status = self.status.map(|status| u8::from(status == 0));
        }
        Ok(())
    }

    /// Follows commands of which each reads what the one before wrote.
    fn connected(&mut self, commands: &[ShellCommand]) -> Followed {
        let input = self.system.input.clone();
        for (at, command) in commands.iter().enumerate() {
            if at + 1 == commands.len() {
                self.subshell(|shell| shell.command(command));
            } else {
                let written = self.captured(|shell| shell.subshell(|shell| shell.command(command)));
                self.system.input = written;
            }
        }
        self.system.input = input;
        Ok(())
    }

    /// Follows commands that leave variables, functions and the working directory as they were.
    pub(super) fn subshell(&mut self, follow: impl FnOnce(&mut Self) -> Followed) {
        let variables = self.variables.clone();
        let functions = self.functions.clone();
        let arguments = self.arguments.clone();
        let (directory, umask) = (self.system.directory.clone(), self.system.umask);
        let ends_on_failure = self.ends_on_failure;
        let _ = follow(self);
        (self.variables, self.functions, self.arguments) = (variables, functions, arguments);
        (self.system.directory, self.system.umask) = (directory, umask);
        self.ends_on_failure = ends_on_failure;
    }

    /// The output of what is followed.
    pub(super) fn captured(&mut self, follow: impl FnOnce(&mut Self)) -> ShellValue {
        let outside = self.system.output.replace(String::new());
        follow(self);
        replace(&mut self.system.output, outside)
    }

    fn command(&mut self, command: &ShellCommand) -> Followed {
        self.steps += 1;
        if self.steps > MOST_STEPS || self.depth == DEEPEST_CALL {
            if self.steps == MOST_STEPS + 1 || self.depth == DEEPEST_CALL {
                self.note(command, UnfollowedReason::Bound);
            }
            self.status = None;
            return if self.steps > MOST_STEPS { Err(Jump::Exit) } else { Ok(()) };
        }
        self.depth += 1;
        let followed = match command.redirections.is_empty() {
            true => self.kind(command),
            false => self.redirected(command),
        };
        self.depth -= 1;
        followed
    }

    fn redirected(&mut self, command: &ShellCommand) -> Followed {
        let input = self.system.input.clone();
        let mut target = None;
        for redirection in &command.redirections {
            match self.redirection(redirection) {
                Redirected::Input(text) => self.system.input = text,
                Redirected::Output(output) => target = Some(output),
                Redirected::Missing => {
                    self.status = Some(1);
                    self.system.input = input;
                    return Ok(());
                }
                Redirected::Elsewhere => {}
            }
        }
        let mut followed = Ok(());
        match target {
            None => followed = self.kind(command),
            Some(Output { path, appends }) => {
                let written = self.captured(|shell| followed = shell.kind(command));
                self.write_output(command, path, written, appends);
            }
        }
        self.system.input = input;
        followed
    }

    fn redirection(&mut self, redirection: &Redirection) -> Redirected {
        let output = |shell: &mut Self, word: &ShellWord, appends| {
            let path = shell.text(word);
            match redirection.descriptor {
                1 => Redirected::Output(Output { path, appends }),
                _ => Redirected::Elsewhere,
            }
        };
        match &redirection.target {
            RedirectionTarget::Write(word) => output(self, word, false),
            RedirectionTarget::Append(word) => output(self, word, true),
            // Errors and what is said to debconf go nowhere.
            RedirectionTarget::Duplicate(word)
                if redirection.descriptor == 1 && word.plain() != Some("1") =>
            {
                Redirected::Output(Output { path: Some("/dev/null".into()), appends: false })
            }
            RedirectionTarget::Duplicate(_) => Redirected::Elsewhere,
            RedirectionTarget::Here(word) => {
                Redirected::Input(word.get().map_or(Some(String::new()), |word| self.text(word)))
            }
            RedirectionTarget::Read(word) => match self.text(word) {
                None => Redirected::Input(None),
                Some(path) if path.starts_with("/dev/") => Redirected::Input(Some(String::new())),
                Some(path) if self.system.is_file(&path) => {
                    Redirected::Input(self.system.tree.text(&self.system.path(&path)))
                }
                Some(_) => Redirected::Missing,
            },
        }
    }

    fn write_output(&mut self, command: &ShellCommand, path: ShellValue, written: ShellValue, appends: bool) {
        match (path, written) {
            (Some(path), _) if path.starts_with("/dev/") => {}
            (Some(path), Some(text)) if self.status.is_some() || !text.is_empty() => {
                self.system.write_file(&path, &text, appends);
            }
            // The program that would have written is noted itself.
            (Some(_), Some(_)) => {}
            _ => self.note(command, UnfollowedReason::Value),
        }
    }

    fn kind(&mut self, command: &ShellCommand) -> Followed {
        match &command.kind {
            CommandKind::Simple { assignments, words } => self.simple(command, assignments, words),
            CommandKind::Group(list) => self.list(list),
            CommandKind::Subshell(list) => {
                self.subshell(|shell| shell.list(list));
                Ok(())
            }
            CommandKind::If { branches, otherwise } => self.conditional(command, branches, otherwise),
            CommandKind::For { name, words, body } => self.repetition(command, name, words.as_deref(), body),
            CommandKind::While { until, condition, body } => {
                self.condition_loop(command, *until, condition, body)
            }
            CommandKind::Case { word, arms } => self.choice(command, word, arms),
            CommandKind::Function { name, body } => {
                self.functions.insert(name.clone(), Rc::clone(body));
                self.status = Some(0);
                Ok(())
            }
        }
    }

    fn conditional(
        &mut self,
        command: &ShellCommand,
        branches: &[(List, List)],
        otherwise: &List,
    ) -> Followed {
        for (at, (condition, body)) in branches.iter().enumerate() {
            self.tested += 1;
            let tested = self.list(condition);
            self.tested -= 1;
            tested?;
            match self.status {
                Some(0) => return self.list(body),
                Some(_) => {}
                None => {
                    let rest = branches[at..].iter().map(|(_, body)| body).chain([otherwise]);
                    self.skip(command, rest);
                    return Ok(());
                }
            }
        }
        self.status = Some(0);
        self.list(otherwise)
    }

    fn repetition(
        &mut self,
        command: &ShellCommand,
        name: &str,
        words: Option<&[ShellWord]>,
        body: &List,
    ) -> Followed {
        let values = match words {
            Some(words) => words.iter().flat_map(|word| self.fields(word)).collect(),
            None => self.arguments.clone(),
        };
        if values.iter().any(Option::is_none) {
            self.skip(command, [body]);
            return Ok(());
        }
        self.status = Some(0);
        for value in values {
            self.variables.insert(name.to_owned(), value);
            if self.round(body)?.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Follows the body of a loop once; `None` where the loop ends with it.
    fn round(&mut self, body: &List) -> Result<Option<()>, Jump> {
        match self.list(body) {
            Ok(()) | Err(Jump::Continue(0 | 1)) => Ok(Some(())),
            Err(Jump::Break(0 | 1)) => Ok(None),
            Err(Jump::Continue(levels)) => Err(Jump::Continue(levels - 1)),
            Err(Jump::Break(levels)) => Err(Jump::Break(levels - 1)),
            Err(other) => Err(other),
        }
    }

    fn condition_loop(
        &mut self,
        command: &ShellCommand,
        until: bool,
        condition: &List,
        body: &List,
    ) -> Followed {
        loop {
            self.tested += 1;
            let tested = self.list(condition);
            self.tested -= 1;
            tested?;
            match self.status {
                Some(status) if (status == 0) != until => {
                    if self.round(body)?.is_none() {
                        break;
                    }
                }
                Some(_) => break,
                None => {
                    self.skip(command, [body]);
                    return Ok(());
                }
            }
        }
        self.status = Some(0);
        Ok(())
    }

    fn choice(
        &mut self,
        command: &ShellCommand,
        word: &ShellWord,
        arms: &[(Vec<ShellWord>, List)],
    ) -> Followed {
        let value = self.text(word);
        self.status = Some(0);
        for (at, (patterns, body)) in arms.iter().enumerate() {
            let patterns: Vec<ShellValue> = patterns.iter().map(|word| self.pattern(word)).collect();
            match (&value, patterns.iter().all(Option::is_some)) {
                (Some(value), true) => {
                    if patterns.iter().flatten().any(|one| pattern::matches(one, value)) {
                        return self.list(body);
                    }
                }
                _ => {
                    self.skip(command, arms[at..].iter().map(|(_, body)| body));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn simple(
        &mut self,
        command: &ShellCommand,
        assignments: &[(String, ShellWord)],
        words: &[ShellWord],
    ) -> Followed {
        if let Some(("export" | "local" | "readonly", declared)) =
            words.split_first().map(|(name, rest)| (name.plain().unwrap_or_default(), rest))
        {
            self.declare(words[0].plain() == Some("local"), declared);
            return Ok(());
        }
        let words: Vec<ShellValue> = words.iter().flat_map(|word| self.fields(word)).collect();
        let Some(name) = words.first() else {
            self.status = Some(0);
            for (name, word) in assignments {
                let value = self.text(word);
                self.variables.insert(name.clone(), value);
            }
            return Ok(());
        };
        let before: Vec<(String, Option<ShellValue>)> = assignments
            .iter()
            .map(|(name, word)| {
                let value = self.text(word);
                (name.clone(), self.variables.insert(name.clone(), value))
            })
            .collect();
        let followed = match name.clone() {
            Some(name) => self.named(command, &name, &words[1..]),
            None => {
                self.note(command, UnfollowedReason::Value);
                self.status = None;
                Ok(())
            }
        };
        before.into_iter().for_each(|(name, value)| self.restore(name, value));
        followed
    }

    /// Gives a variable the value that it had.
    pub(super) fn restore(&mut self, name: String, value: Option<ShellValue>) {
        match value {
            Some(value) => drop(self.variables.insert(name, value)),
            None => drop(self.variables.remove(&name)),
        }
    }

    fn named(&mut self, command: &ShellCommand, name: &str, arguments: &[ShellValue]) -> Followed {
        if let Some(body) = self.functions.get(name).cloned() {
            return self.function(&body, arguments);
        }
        if let Some(followed) = self.builtin(command, name, arguments) {
            return followed;
        }
        let known: Option<Vec<String>> = arguments.iter().cloned().collect();
        let done = match known {
            Some(arguments) => programs::run(self.system, name, &arguments),
            None => {
                let known: Vec<&str> = arguments.iter().flatten().map(String::as_str).collect();
                programs::run_unknown(self.system, name, &known)
            }
        };
        match done {
            Some(Done::Status(status)) => self.status = Some(status),
            Some(Done::Unknown) => self.status = None,
            Some(Done::NotFollowed) => self.not_followed(command, arguments),
            None => return self.script_or_unknown(command, name, arguments),
        }
        Ok(())
    }

    /// Follows a script of the image, or notes that a program would be run.
    fn script_or_unknown(
        &mut self,
        command: &ShellCommand,
        name: &str,
        arguments: &[ShellValue],
    ) -> Followed {
        let script = self.system.program(name).and_then(|path| super::read_script(self.system, &path));
        match script {
            Some(Ok(list)) => {
                let arguments = arguments.to_vec();
                self.subshell(|shell| {
                    shell.arguments = arguments;
                    shell.functions.clear();
                    shell.ends_on_failure = false;
                    shell.list(&list)
                });
            }
            _ => self.not_followed(command, arguments),
        }
        Ok(())
    }

    fn not_followed(&mut self, command: &ShellCommand, arguments: &[ShellValue]) {
        let is_known = arguments.iter().all(Option::is_some);
        self.note(command, if is_known { UnfollowedReason::Program } else { UnfollowedReason::Value });
        self.system.write_unknown();
        self.status = None;
    }

    fn function(&mut self, body: &ShellCommand, arguments: &[ShellValue]) -> Followed {
        let outside = replace(&mut self.arguments, arguments.to_vec());
        self.locals.push(Vec::new());
        let followed = self.command(body);
        self.arguments = outside;
        let locals = self.locals.pop().unwrap_or_default();
        locals.into_iter().rev().for_each(|(name, value)| self.restore(name, value));
        match followed {
            Err(Jump::Return) => Ok(()),
            other => other,
        }
    }

    fn skip_pipeline(&mut self, pipeline: &Pipeline) {
        if let [command, ..] = &pipeline.commands[..] {
            let list = vec![AndOr { first: pipeline.clone(), rest: Vec::new() }];
            self.skip(command, [&list]);
        }
    }

    /// Leaves out commands of which it is not known if they are run: what they assign is not known from here on, nor is
    /// what is written where they may write.
    fn skip<'l>(&mut self, command: &ShellCommand, lists: impl IntoIterator<Item = &'l List>) {
        let mut skipped = super::unfollowed::Skipped::default();
        lists.into_iter().for_each(|list| skipped.look_at(list, &self.functions));
        for name in skipped.assigned {
            self.variables.insert(name, None);
        }
        if may_write(&skipped.called) {
            self.system.write_unknown();
        }
        if has_effect(&skipped.called) {
            self.note(command, UnfollowedReason::Condition);
        }
        self.status = None;
    }

    pub(super) fn note(&mut self, command: &ShellCommand, reason: UnfollowedReason) {
        self.unfollowed.push(Unfollowed::new(self.system.package, self.script, command, reason));
    }
}

/// Returns whether a pipeline ends the script with its failure: other than a compound command, it is no list of others.
fn is_plain(pipeline: &Pipeline) -> bool {
    match &pipeline.commands[..] {
        [command] => {
            matches!(command.kind, CommandKind::Simple { .. } | CommandKind::Subshell(_)) && !pipeline.negated
        }
        _ => !pipeline.negated,
    }
}

/// The standard output in a file.
struct Output {
    path: ShellValue,
    appends: bool,
}

/// The effect of a redirection.
enum Redirected {
    Input(ShellValue),
    Output(Output),
    /// There is nothing to read.
    Missing,
    /// Of no account here.
    Elsewhere,
}
