//! Progress on the terminal: bars where one watches, lines elsewhere.

use std::io::{self, IsTerminal};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle as BarStyle};
use serde_json::{Value, json};

use super::ProgressStyle;
use super::text::{tell, tell_line};
use crate::escape::{json as escaped_json, line};
use crate::pipeline::{Meter, Progress, Task};

/// Shows progress on standard error.
pub(super) struct Terminal {
    style: Style,
}

enum Style {
    Quiet,
    Plain,
    Json,
    Bars { bars: MultiProgress, stage: Mutex<Option<ProgressBar>> },
}

impl Terminal {
    pub(super) fn new(quiet: bool, style: ProgressStyle) -> Self {
        let style = match style {
            _ if quiet => Style::Quiet,
            ProgressStyle::Json => Style::Json,
            ProgressStyle::Auto if io::stderr().is_terminal() => {
                Style::Bars { bars: MultiProgress::new(), stage: Mutex::new(None) }
            }
            ProgressStyle::Auto | ProgressStyle::Plain => Style::Plain,
        };
        Self { style }
    }

    /// Takes everything that moves off the terminal.
    pub(super) fn finish(&self) {
        if let Style::Bars { bars, stage } = &self.style {
            clear(stage);
            bars.clear().ok();
        }
    }
}

impl Progress for Terminal {
    fn stage(&self, text: &str) {
        match &self.style {
            Style::Quiet => {}
            Style::Plain => tell_line(text),
            Style::Json => event(&json!({ "event": "stage", "text": text })),
            Style::Bars { bars, stage } => {
                clear(stage);
                let bar = bars.insert(0, ProgressBar::new_spinner());
                bar.set_message(line(text));
                bar.enable_steady_tick(Duration::from_millis(100));
                if let Ok(mut stage) = stage.lock() {
                    *stage = Some(bar);
                }
            }
        }
    }

    fn warn(&self, text: &str) {
        match &self.style {
            Style::Quiet => {}
            Style::Plain => tell_line(format_args!("warning: {text}")),
            Style::Json => event(&json!({ "event": "warning", "text": text })),
            Style::Bars { bars, .. } => bars.suspend(|| tell_line(format_args!("warning: {text}"))),
        }
    }

    fn start(&self, task: Task, name: &str, size: Option<u64>) -> Box<dyn Meter> {
        match &self.style {
            Style::Quiet => Box::new(Silent),
            Style::Plain => {
                let size = size.map(|size| format!(" ({})", HumanBytes(size))).unwrap_or_default();
                tell_line(format_args!("{task} {name}{size}"));
                Box::new(Silent)
            }
            Style::Json => {
                event(&json!({ "event": "start", "task": task.to_string(), "name": name, "bytes": size }));
                Box::new(Counting { task, name: name.to_owned(), counted: Mutex::new((0, Instant::now())) })
            }
            Style::Bars { bars, .. } => {
                let bar = bars.add(match size {
                    Some(size) => ProgressBar::new(size),
                    None => ProgressBar::new_spinner(),
                });
                if let Ok(style) = BarStyle::with_template(TEMPLATE) {
                    bar.set_style(style.progress_chars("━╸─"));
                }
                bar.set_prefix(task.to_string());
                bar.set_message(line(name));
                Box::new(Bar(bar))
            }
        }
    }
}

/// Tells a program of something, in JSON on a line.
pub(super) fn event(event: &Value) {
    tell(&format!("{}\n", escaped_json(&event.to_string())));
}

/// The time between two counts of one task.
const BETWEEN_COUNTS: Duration = Duration::from_secs(1);

const TEMPLATE: &str =
    "{prefix:>11.cyan} {wide_msg} {bar:20} {bytes:>10}/{total_bytes:10} {bytes_per_sec:>12} {eta:>4}";

fn clear(stage: &Mutex<Option<ProgressBar>>) {
    if let Some(bar) = stage.lock().ok().and_then(|mut stage| stage.take()) {
        bar.finish_and_clear();
    }
}

struct Silent;

impl Meter for Silent {
    fn add(&self, _: u64) {}
}

/// Tells now and then how far a task is, and when it ends.
struct Counting {
    task: Task,
    name: String,
    /// The bytes so far, and the time at which they were told.
    counted: Mutex<(u64, Instant)>,
}

impl Counting {
    fn tell(&self, kind: &str, bytes: u64) {
        event(&json!({ "event": kind, "task": self.task.to_string(), "name": self.name, "bytes": bytes }));
    }
}

impl Meter for Counting {
    fn add(&self, bytes: u64) {
        let Ok(mut counted) = self.counted.lock() else { return };
        counted.0 += bytes;
        if counted.1.elapsed() >= BETWEEN_COUNTS {
            counted.1 = Instant::now();
            self.tell("bytes", counted.0);
        }
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        let bytes = self.counted.get_mut().map(|counted| counted.0).unwrap_or_default();
        self.tell("end", bytes);
    }
}

struct Bar(ProgressBar);

impl Meter for Bar {
    fn add(&self, bytes: u64) {
        self.0.inc(bytes);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
