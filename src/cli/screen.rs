//! The terminal, as far as its owner and its environment tell of it.

use std::io::{self, IsTerminal};

use terminal_size::{Width, terminal_size_of};

use super::ColorChoice;

/// The columns of a text for people where no terminal tells its own.
const USUAL_WIDTH: usize = 80;
/// The fewest columns that anything is fitted into.
const LEAST_WIDTH: usize = 20;

/// A stream that people may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutputStream {
    Output,
    Error,
}

/// The columns of a stream: `COLUMNS`, those of its terminal, or else eighty.
pub(super) fn columns(stream: OutputStream) -> usize {
    let told = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()).filter(|count| *count > 0);
    let of_terminal = || match stream {
        OutputStream::Output => terminal_size_of(io::stdout()),
        OutputStream::Error => terminal_size_of(io::stderr()),
    };
    let count = told.or_else(|| of_terminal().map(|(Width(width), _)| usize::from(width)));
    count.filter(|count| *count > 0).unwrap_or(USUAL_WIDTH).max(LEAST_WIDTH)
}

/// Returns whether something can move on standard error: a terminal that moves its cursor.
pub(super) fn can_move() -> bool {
    io::stderr().is_terminal() && !is_dumb()
}

fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
}

/// Returns whether standard error is coloured.
///
/// <https://no-color.org>
pub(super) fn has_color(choice: ColorChoice) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && can_move(),
    }
}

/// Returns whether the locale has characters beyond ASCII: the first of these variables that is set says so.
///
/// <https://pubs.opengroup.org/onlinepubs/9799919799/basedefs/V1_chap08.html#tag_08_02>
pub(super) fn has_unicode() -> bool {
    let set = |name: &&str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(set).unwrap_or_default().to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// The runner of CI that this process is a job of, as its variables say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runner {
    GitHub,
    GitLab,
    Other,
}

/// The runner that shows standard error in sections.
pub(super) fn runner() -> Runner {
    let is_true = |name: &str| std::env::var_os(name).is_some_and(|value| value == "true");
    match () {
        () if is_true("GITHUB_ACTIONS") => Runner::GitHub,
        () if is_true("GITLAB_CI") => Runner::GitLab,
        () => Runner::Other,
    }
}
