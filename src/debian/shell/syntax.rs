//! The tree of a script.

use std::cell::OnceCell;
use std::rc::Rc;

/// The longest script, in bytes: those of Debian reach 20 KB.
pub const LONGEST_SCRIPT: usize = 256 << 10;

/// The depth of constructs within each other: scripts of Debian reach ten.
pub const DEEPEST: usize = 40;

/// The reason why a script is not understood as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of it is not understood: {fault}")]
pub struct SyntaxError {
    /// Counted from one.
    pub line: usize,
    /// The fault at that line.
    pub fault: SyntaxFault,
}

/// The faults of a script's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum SyntaxFault {
    #[error("it is longer than {LONGEST_SCRIPT} bytes")]
    TooLong,
    #[error("it nests deeper than {DEEPEST} levels")]
    TooDeep,
    #[error("a quote is not closed")]
    OpenQuote,
    #[error("there is no `{0}`")]
    Missing(&'static str),
    #[error("a parameter has no name")]
    Parameter,
    #[error("a redirection leads nowhere")]
    Redirection,
}

/// Commands one after the other.
pub type List = Vec<AndOr>;

/// Pipelines that `&&` and `||` join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AndOr {
    /// The first of them.
    pub first: Pipeline,
    /// The others: each is run when what is before it ended as [`Join`] says.
    pub rest: Vec<(Join, Pipeline)>,
}

/// The condition under which the next pipeline is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// `&&`: after success.
    And,
    /// `||`: after failure.
    Or,
}

/// Commands of which each reads what the one before it writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    /// True after `!`.
    pub negated: bool,
    /// At least one.
    pub commands: Vec<ShellCommand>,
}

/// A command with its redirections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShellCommand {
    /// The kind of command.
    pub kind: CommandKind,
    /// In their order.
    pub redirections: Vec<Redirection>,
    /// The line where it begins, counted from one.
    pub line: usize,
    /// Its text on one line.
    pub text: String,
}

/// The kinds of commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandKind {
    /// `A=1 command words`.
    Simple {
        /// The names and values before the command.
        assignments: Vec<(String, ShellWord)>,
        /// The command and its arguments; none where there are only assignments.
        words: Vec<ShellWord>,
    },
    /// `{ …; }`.
    Group(List),
    /// `( … )`.
    Subshell(List),
    /// `if …; then …; elif …; else …; fi`.
    If {
        /// Each condition with what follows it.
        branches: Vec<(List, List)>,
        /// After `else`; empty where there is none.
        otherwise: List,
    },
    /// `for NAME in WORDS; do …; done`.
    For {
        /// The variable.
        name: String,
        /// `None` for the script's own arguments.
        words: Option<Vec<ShellWord>>,
        /// The commands that are repeated.
        body: List,
    },
    /// `while …; do …; done`, or `until`.
    While {
        /// True for `until`.
        until: bool,
        /// The condition.
        condition: List,
        /// The commands that are repeated.
        body: List,
    },
    /// `case WORD in PATTERN) …;; esac`.
    Case {
        /// The word that is compared.
        word: ShellWord,
        /// Patterns, and what follows them.
        arms: Vec<(Vec<ShellWord>, List)>,
    },
    /// `NAME() { …; }`.
    Function {
        /// Its name.
        name: String,
        /// The command that it stands for.
        body: Rc<ShellCommand>,
    },
}

/// A place that a command reads from or writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirection {
    /// The file descriptor: 0, 1, 2…
    pub descriptor: u32,
    /// The other end.
    pub target: RedirectionTarget,
}

/// The other end of a redirection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedirectionTarget {
    /// `< FILE`
    Read(ShellWord),
    /// `> FILE`
    Write(ShellWord),
    /// `>> FILE`
    Append(ShellWord),
    /// `>&N` or `<&N`
    Duplicate(ShellWord),
    /// `<<WORD`: filled where the text was read.
    Here(Rc<OnceCell<ShellWord>>),
}

/// A word before its expansion.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShellWord(pub Vec<WordPart>);

/// A part of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WordPart {
    /// The content.
    pub kind: PartKind,
    /// True within quotes: neither split nor expanded to file names.
    pub quoted: bool,
}

/// The content of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartKind {
    /// As it stands.
    Text(String),
    /// `$NAME`, `${NAME:-word}`.
    Parameter {
        /// The name, digit or sign.
        name: String,
        /// The change of its value.
        change: Option<ParameterChange>,
    },
    /// `$(…)` and backquotes.
    Output(List),
    /// `$((…))`, whose value is not worked out.
    Arithmetic,
}

/// The change that `${…}` makes to a parameter's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterChange {
    /// The operator.
    pub operator: ParameterOperator,
    /// True with a colon: an empty value is as none.
    pub or_empty: bool,
    /// The word behind the operator.
    pub word: ShellWord,
}

/// The operators of `${…}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterOperator {
    /// `-`
    Default,
    /// `=`
    Assign,
    /// `?`
    Require,
    /// `+`
    Alternative,
    /// `%`, and `%%` which removes the longest.
    Suffix {
        /// True for `%%`.
        longest: bool,
    },
    /// `#`, and `##` which removes the longest.
    Prefix {
        /// True for `##`.
        longest: bool,
    },
    /// `${#NAME}`
    Length,
}

impl ShellWord {
    /// The word where it is one of plain letters, without quotes or expansions.
    pub fn plain(&self) -> Option<&str> {
        match &self.0[..] {
            [WordPart { kind: PartKind::Text(text), quoted: false }] => Some(text),
            _ => None,
        }
    }

    /// The text that the word ends with, whatever its expansions before it are.
    pub fn ending(&self) -> Option<&str> {
        match self.0.last() {
            Some(WordPart { kind: PartKind::Text(text), .. }) => Some(text),
            _ => None,
        }
    }
}
