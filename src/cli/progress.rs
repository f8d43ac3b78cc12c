//! Progress on standard error: a moving picture where one watches, lines or JSON elsewhere.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle as BarStyle};
use serde_json::{Value, json};

use super::board::{Canvas, ProgressBoard, RunningTask};
use super::plain::PlainLog;
use super::screen::{self, OutputStream};
use super::text::{tell, tell_line};
use super::{ColorChoice, ProgressStyle};
use crate::escape::{json as escaped_json, line};
use crate::pipeline::{Meter, Progress, Task};

/// The time between two pictures.
const BETWEEN_PICTURES: Duration = Duration::from_millis(100);
/// The time between two counts of one task.
const BETWEEN_COUNTS: Duration = Duration::from_secs(1);

/// Shows progress on standard error.
#[derive(Clone)]
pub(super) struct Terminal(Arc<Shown>);

/// The progress as it is shown, by all threads.
struct Shown {
    style: Style,
    begun: Instant,
    ids: AtomicU64,
    /// Set when nothing may be drawn any more.
    ended: AtomicBool,
}

enum Style {
    Quiet,
    Plain(Mutex<PlainLog>),
    Json,
    Moving { bar: ProgressBar, board: Mutex<ProgressBoard>, color: bool, unicode: bool },
}

impl Terminal {
    pub(super) fn new(quiet: bool, style: ProgressStyle, color: ColorChoice) -> Self {
        let style = match style {
            _ if quiet => Style::Quiet,
            ProgressStyle::Json => Style::Json,
            ProgressStyle::Auto if screen::can_move() => Style::Moving {
                bar: bar(),
                board: Mutex::new(ProgressBoard::default()),
                color: screen::has_color(color),
                unicode: screen::has_unicode(),
            },
            ProgressStyle::Auto | ProgressStyle::Plain => {
                Style::Plain(Mutex::new(PlainLog::new(screen::runner())))
            }
        };
        let (ids, ended) = (AtomicU64::new(0), AtomicBool::new(false));
        let shown = Arc::new(Shown { style, begun: Instant::now(), ids, ended });
        if matches!(shown.style, Style::Moving { .. }) {
            let drawn = Arc::downgrade(&shown);
            thread::spawn(move || {
                while let Some(shown) = drawn.upgrade().filter(|it| !it.ended.load(Ordering::Relaxed)) {
                    shown.draw();
                    drop(shown);
                    thread::sleep(BETWEEN_PICTURES);
                }
            });
        }
        Self(shown)
    }

    /// Ends what was done in full: takes everything that moves off the terminal, or tells the times of a log.
    pub(super) fn finish(&self) {
        match &self.0.style {
            Style::Plain(log) => held(log).finish(self.0.begun.elapsed()),
            _ => self.abandon(),
        }
    }

    /// Takes everything that moves off the terminal, and ends what was begun in a log.
    pub(super) fn abandon(&self) {
        self.0.ended.store(true, Ordering::Relaxed);
        match &self.0.style {
            Style::Moving { bar, .. } => bar.finish_and_clear(),
            Style::Plain(log) => held(log).leave(self.0.begun.elapsed()),
            Style::Quiet | Style::Json => {}
        }
    }

    /// Returns whether a program reads what is told.
    pub(super) fn is_json(&self) -> bool {
        matches!(self.0.style, Style::Json)
    }
}

/// The place of the moving picture, which is one message of several lines.
fn bar() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = BarStyle::with_template("{msg}") {
        bar.set_style(style);
    }
    bar
}

impl Shown {
    fn draw(&self) {
        let Style::Moving { bar, board, color, unicode } = &self.style else { return };
        let canvas = Canvas {
            // The last column stays free: some terminals go on in the next line behind it.
            columns: screen::columns(OutputStream::Error) - 1,
            unicode: *unicode,
            color: *color,
        };
        let lines = {
            let board = held(board);
            if board.stage.is_empty() && board.running.is_empty() {
                return;
            }
            board.lines(self.begun.elapsed(), canvas)
        };
        if !self.ended.load(Ordering::Relaxed) {
            bar.set_message(lines.join("\n"));
        }
    }
}

impl Progress for Terminal {
    fn stage(&self, text: &str) {
        match &self.0.style {
            Style::Quiet => {}
            Style::Plain(log) => held(log).enter(text, self.0.begun.elapsed()),
            Style::Json => event(&json!({ "event": "stage", "text": text })),
            Style::Moving { board, .. } => held(board).enter(&line(text)),
        }
    }

    fn at(&self, text: &str) {
        if let Style::Moving { board, .. } = &self.0.style {
            held(board).detail = line(text);
        }
    }

    fn expect(&self, tasks: usize, bytes: u64) {
        match &self.0.style {
            Style::Moving { board, .. } => {
                let expected = &mut held(board).expected;
                *expected = (expected.0 + tasks, expected.1 + bytes);
            }
            Style::Json if tasks > 0 => {
                event(&json!({ "event": "expected", "tasks": tasks, "bytes": bytes }));
            }
            Style::Quiet | Style::Plain(_) | Style::Json => {}
        }
    }

    fn warn(&self, text: &str) {
        match &self.0.style {
            Style::Quiet => {}
            Style::Plain(log) => held(log).warn(text),
            Style::Json => event(&json!({ "event": "warning", "text": text })),
            Style::Moving { bar, .. } => bar.suspend(|| tell_line(format_args!("warning: {text}"))),
        }
    }

    fn start(&self, task: Task, name: &str, size: Option<u64>) -> Box<dyn Meter> {
        match &self.0.style {
            Style::Quiet => Box::new(Silent),
            Style::Plain(log) => {
                let size = size.map(|size| format!(" ({})", HumanBytes(size))).unwrap_or_default();
                held(log).line(&format!("{task} {name}{size}"));
                Box::new(Silent)
            }
            Style::Json => {
                event(&json!({ "event": "start", "task": task.to_string(), "name": name, "bytes": size }));
                Box::new(Counting { task, name: name.to_owned(), counted: Mutex::new((0, Instant::now())) })
            }
            Style::Moving { board, .. } => {
                let id = self.0.ids.fetch_add(1, Ordering::Relaxed);
                let (verb, begun) = (task.to_string(), self.0.begun.elapsed());
                let mut board = held(board);
                board.counted_from.get_or_insert(begun);
                board.running.push(RunningTask { id, verb, name: line(name), size, done: 0, begun });
                Box::new(OnBoard { shown: Arc::clone(&self.0), id })
            }
        }
    }
}

/// Tells a program of something, in JSON on a line.
pub(super) fn event(event: &Value) {
    tell(&format!("{}\n", escaped_json(&event.to_string())));
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

/// A task of the moving picture.
struct OnBoard {
    shown: Arc<Shown>,
    id: u64,
}

impl OnBoard {
    fn board(&self) -> Option<MutexGuard<'_, ProgressBoard>> {
        match &self.shown.style {
            Style::Moving { board, .. } => Some(held(board)),
            _ => None,
        }
    }
}

impl Meter for OnBoard {
    fn add(&self, bytes: u64) {
        if let Some(mut board) = self.board()
            && let Some(task) = board.running.iter_mut().find(|task| task.id == self.id)
        {
            task.done += bytes;
        }
    }
}

impl Drop for OnBoard {
    fn drop(&mut self) {
        if let Some(mut board) = self.board() {
            board.end(self.id);
        }
    }
}
