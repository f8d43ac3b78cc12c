//! Progress as lines of a log: in groups where a runner of CI folds them, with the times of all stages at the end.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::board::cut;
use super::screen::Runner;
use super::table::hanging;
use super::text::{tell, tell_line};
use crate::escape;

/// The columns that a line of a log has at most.
const WIDTH: usize = 160;
/// The stages that took less are not told.
const SHORTEST: Duration = Duration::from_millis(100);

/// A log that is being written.
#[derive(Debug)]
pub(super) struct PlainLog {
    runner: Runner,
    /// The stage, and the time at which it began, since the beginning of all.
    stage: Option<(String, Duration)>,
    /// The group that is open.
    group: Option<Group>,
    /// The number of groups so far.
    groups: usize,
    /// The stages that ended, with their times.
    times: Vec<(String, Duration)>,
}

/// An open group.
#[derive(Debug)]
struct Group {
    number: usize,
}

impl PlainLog {
    pub(super) fn new(runner: Runner) -> Self {
        Self { runner, stage: None, group: None, groups: 0, times: Vec::new() }
    }

    /// A stage begins.
    pub(super) fn enter(&mut self, stage: &str, now: Duration) {
        self.leave(now);
        self.stage = Some((stage.to_owned(), now));
        match self.runner {
            Runner::Other => say(stage),
            Runner::GitHub | Runner::GitLab => self.open(),
        }
    }

    /// A line within the stage.
    pub(super) fn line(&mut self, line: &str) {
        if self.group.is_none() && self.stage.is_some() && self.runner != Runner::Other {
            self.open();
        }
        tell_line(cut(line, WIDTH, false));
    }

    /// A line that no group folds away.
    pub(super) fn warn(&mut self, warning: &str) {
        self.close();
        say(&format!("warning: {warning}"));
    }

    /// Everything is done: tells how long it took.
    pub(super) fn finish(&mut self, now: Duration) {
        self.leave(now);
        let told: Vec<String> = self
            .times
            .iter()
            .filter(|(_, time)| *time >= SHORTEST)
            .map(|(stage, time)| format!("{stage} {}", seconds(*time)))
            .collect();
        if !told.is_empty() {
            say(&format!("took {}: {}", seconds(now), told.join(", ")));
        }
        self.times.clear();
    }

    /// Ends the stage and its group.
    pub(super) fn leave(&mut self, now: Duration) {
        self.close();
        if let Some((stage, begun)) = self.stage.take() {
            let time = now.saturating_sub(begun);
            match self.times.iter_mut().find(|(other, _)| *other == stage) {
                Some((_, sum)) => *sum += time,
                None => self.times.push((stage, time)),
            }
        }
    }

    fn open(&mut self) {
        let Some((stage, _)) = &self.stage else { return };
        self.groups += 1;
        let title = cut(&escape::escaped(stage), WIDTH, false);
        match self.runner {
            Runner::GitHub => tell(&format!("::group::{title}\n")),
            Runner::GitLab => tell(&section("start", self.groups, &title)),
            Runner::Other => {}
        }
        self.group = Some(Group { number: self.groups });
    }

    fn close(&mut self) {
        let Some(Group { number }) = self.group.take() else { return };
        match self.runner {
            Runner::GitHub => tell("::endgroup::\n"),
            Runner::GitLab => tell(&section("end", number, "")),
            Runner::Other => {}
        }
    }
}

/// The mark of a section of a job's log.
///
/// <https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections>
fn section(mark: &str, number: usize, title: &str) -> String {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    format!("\u{1b}[0Ksection_{mark}:{time}:imgforge_{number}\r\u{1b}[0K{title}\n")
}

fn say(text: &str) {
    hanging("", text, 2, WIDTH).iter().for_each(tell_line);
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
