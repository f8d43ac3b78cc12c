//! The commands of scripts whose effect the image lacks, with the reasons.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::programs;
use crate::debian::dpkg::InstalledPackage;
use crate::debian::shell::syntax::{
    AndOr, CommandKind, List, PartKind, RedirectionTarget, ShellCommand, ShellWord, SyntaxError,
};

/// The longest text of a command that is told, in characters.
const LONGEST_COMMAND: usize = 100;

/// A command that a maintainer script would have run, and that was not done natively.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfollowed {
    /// The package whose script it is.
    pub package: String,
    /// `preinst` or `postinst`.
    pub script: String,
    /// The command's line, counted from one.
    pub line: usize,
    /// Its text, shortened.
    pub command: String,
    /// The reason why it was not done.
    pub reason: UnfollowedReason,
}

/// The reasons not to follow a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnfollowedReason {
    /// A program of the image would be run.
    Program,
    /// It depends on a text that only a run would show.
    Value,
    /// It is not known if the commands in it would be run.
    Condition,
    /// The script's text is not understood from there on.
    Syntax(String),
    /// It takes more steps than are followed.
    Bound,
    /// The script ends there with a failure.
    Failure(u8),
}

impl Unfollowed {
    /// That `command` of the package's script was not followed.
    pub fn new(
        package: &InstalledPackage,
        script: &str,
        command: &ShellCommand,
        reason: UnfollowedReason,
    ) -> Self {
        let short = command.text.chars().take(LONGEST_COMMAND).collect::<String>();
        let is_short = short.len() < command.text.len();
        Self {
            package: package.name.clone(),
            script: script.to_owned(),
            line: command.line,
            command: short + if is_short { "…" } else { "" },
            reason,
        }
    }

    /// That a script is not understood.
    pub fn of_syntax(package: &InstalledPackage, script: &str, error: &SyntaxError) -> Self {
        Self {
            package: package.name.clone(),
            script: script.to_owned(),
            line: error.line,
            command: String::new(),
            reason: UnfollowedReason::Syntax(error.fault.to_string()),
        }
    }

    /// That a script is written in another language, which its first line names.
    pub fn of_language(package: &InstalledPackage, script: &str, text: &str) -> Self {
        Self {
            package: package.name.clone(),
            script: script.to_owned(),
            line: 1,
            command: text.lines().next().unwrap_or_default().chars().take(LONGEST_COMMAND).collect(),
            reason: UnfollowedReason::Program,
        }
    }

    /// That the package's script ends with a failure.
    pub fn of_failure(package: &InstalledPackage, script: &str, status: u8) -> Self {
        Self {
            package: package.name.clone(),
            script: script.to_owned(),
            line: 0,
            command: String::new(),
            reason: UnfollowedReason::Failure(status),
        }
    }
}

impl fmt::Display for Unfollowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { script, line, command, reason, .. } = self;
        match reason {
            UnfollowedReason::Program => write!(f, "`{command}` ({script}, line {line}) is not run"),
            UnfollowedReason::Value => {
                write!(f, "`{command}` ({script}, line {line}) depends on what only a run would show")
            }
            UnfollowedReason::Condition => write!(
                f,
                "what `{command}` ({script}, line {line}) does depends on what only a run would show"
            ),
            UnfollowedReason::Syntax(fault) => {
                write!(f, "{script} is not understood at line {line}: {fault}")
            }
            UnfollowedReason::Bound => {
                write!(f, "`{command}` ({script}, line {line}) takes more steps than imgforge follows")
            }
            UnfollowedReason::Failure(status) => write!(f, "{script} would fail with status {status}"),
        }
    }
}

/// Commands that were left out: what they would have called and assigned.
#[derive(Debug, Default)]
pub(super) struct Skipped {
    pub assigned: BTreeSet<String>,
    /// The programs by name; `None` for one whose name is not plain, and for a file that is written.
    pub called: BTreeSet<Option<String>>,
    functions: BTreeSet<String>,
}

/// Returns whether one of the commands has an effect on an image.
pub(super) fn has_effect(called: &BTreeSet<Option<String>>) -> bool {
    called.iter().any(|name| name.as_ref().is_none_or(|name| programs::has_effect(name)))
}

/// Returns whether one of the commands may write to its standard output.
pub(super) fn may_write(called: &BTreeSet<Option<String>>) -> bool {
    called.iter().any(|name| name.as_ref().is_none_or(|name| programs::may_write(name)))
}

impl Skipped {
    pub(super) fn look_at(&mut self, list: &List, functions: &BTreeMap<String, Rc<ShellCommand>>) {
        for AndOr { first, rest } in list {
            let pipelines = rest.iter().map(|(_, pipeline)| pipeline).chain([first]);
            for command in pipelines.flat_map(|pipeline| &pipeline.commands) {
                self.look_at_command(command, functions);
            }
        }
    }

    fn look_at_command(&mut self, command: &ShellCommand, functions: &BTreeMap<String, Rc<ShellCommand>>) {
        for redirection in &command.redirections {
            if let RedirectionTarget::Write(word) | RedirectionTarget::Append(word) = &redirection.target
                && redirection.descriptor == 1
                && word.plain().is_none_or(|path| !path.starts_with("/dev/"))
            {
                self.called.insert(None);
            }
        }
        match &command.kind {
            CommandKind::Simple { assignments, words } => self.look_at_simple(assignments, words, functions),
            CommandKind::Group(list) | CommandKind::Subshell(list) => self.look_at(list, functions),
            CommandKind::If { branches, otherwise } => {
                let lists = branches.iter().flat_map(|(condition, body)| [condition, body]);
                lists.chain([otherwise]).for_each(|list| self.look_at(list, functions));
            }
            CommandKind::For { name, body, .. } => {
                self.assigned.insert(name.clone());
                self.look_at(body, functions);
            }
            CommandKind::While { condition, body, .. } => {
                self.look_at(condition, functions);
                self.look_at(body, functions);
            }
            CommandKind::Case { arms, .. } => {
                arms.iter().for_each(|(_, list)| self.look_at(list, functions));
            }
            CommandKind::Function { .. } => {}
        }
    }

    fn look_at_simple(
        &mut self,
        assignments: &[(String, ShellWord)],
        words: &[ShellWord],
        functions: &BTreeMap<String, Rc<ShellCommand>>,
    ) {
        let Some(name) = words.first().map(ShellWord::plain) else {
            self.assigned.extend(assignments.iter().map(|(name, _)| name.clone()));
            return;
        };
        let known: Vec<&str> = words[1..].iter().filter_map(ShellWord::ending).collect();
        match name.and_then(|name| functions.get_key_value(name)) {
            Some((name, body)) if self.functions.insert(name.clone()) => {
                self.look_at_command(body, functions);
            }
            Some(_) => {}
            None if programs::is_idle(name.unwrap_or("python3"), &known) => {}
            None => drop(self.called.insert(name.map(str::to_owned))),
        }
        if let Some("read" | "export" | "local" | "unset") = name {
            self.assigned.extend(words.iter().filter_map(declared));
        }
    }
}

/// The name that a word of `export` or `read` names.
fn declared(word: &ShellWord) -> Option<String> {
    match &word.0.first()?.kind {
        PartKind::Text(text) => text.split('=').next().map(str::to_owned),
        _ => None,
    }
}
