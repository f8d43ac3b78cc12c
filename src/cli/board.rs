//! The running tasks as data, and the lines that show them. Nothing is printed here.

use std::time::Duration;

use indicatif::HumanBytes;

use super::table::width;

/// The tasks that are shown at once: more of them are counted.
const SHOWN_TASKS: usize = 8;
/// The time from which on the rest can be told from what was done.
const BEFORE_ESTIMATES: Duration = Duration::from_secs(2);
/// The columns below which a task's bytes are left out.
const WIDE_ENOUGH: usize = 64;
/// The columns below which a stage is not told beside the whole.
const SHORTEST_STAGE: usize = 10;
/// The columns of a task's verb.
const VERB: usize = 11;

/// A task that runs.
#[derive(Debug, Clone)]
pub(super) struct RunningTask {
    pub id: u64,
    /// `downloading`
    pub verb: String,
    pub name: String,
    /// In bytes, where it is known.
    pub size: Option<u64>,
    /// The bytes that are done.
    pub done: u64,
    /// The time at which it began, since the beginning of all.
    pub begun: Duration,
}

/// Everything that is going on.
#[derive(Debug, Clone, Default)]
pub(super) struct ProgressBoard {
    /// The stage, and the part of it that is at hand.
    pub stage: String,
    pub detail: String,
    /// The tasks and bytes that were announced.
    pub expected: (usize, u64),
    /// The tasks that ended, and all their bytes.
    pub ended: (usize, u64),
    /// The time at which the first of the tasks that are counted began.
    pub counted_from: Option<Duration>,
    /// In the order in which they began.
    pub running: Vec<RunningTask>,
}

/// The page of a moving picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Canvas {
    pub columns: usize,
    pub unicode: bool,
    pub color: bool,
}

impl ProgressBoard {
    /// Begins a stage.
    pub(super) fn enter(&mut self, stage: &str) {
        stage.clone_into(&mut self.stage);
        self.detail.clear();
    }

    /// Ends a task.
    pub(super) fn end(&mut self, id: u64) -> Option<RunningTask> {
        let at = self.running.iter().position(|task| task.id == id)?;
        let task = self.running.remove(at);
        self.ended.0 += 1;
        self.ended.1 += task.size.unwrap_or_default().max(task.done);
        Some(task)
    }

    fn tasks(&self) -> usize {
        self.expected.0.max(self.ended.0 + self.running.len())
    }

    fn bytes(&self) -> (u64, u64) {
        let running = || self.running.iter();
        let done = self.ended.1 + running().map(|task| task.done).sum::<u64>();
        let known =
            self.ended.1 + running().map(|task| task.size.unwrap_or_default().max(task.done)).sum::<u64>();
        (done, self.expected.1.max(known))
    }

    /// The lines that show it, the one of the whole first.
    pub(super) fn lines(&self, now: Duration, canvas: Canvas) -> Vec<String> {
        let mut lines = vec![self.whole(now, canvas)];
        let shown = self.running.iter().take(SHOWN_TASKS);
        lines.extend(shown.map(|task| task.line(now, canvas)));
        if let Some(more) = self.running.len().checked_sub(SHOWN_TASKS).filter(|more| *more > 0) {
            lines.push(cut(&format!("{:>VERB$} {more} more", "and"), canvas.columns, canvas.unicode));
        }
        lines
    }

    /// `[14/37] 1.2 GiB of 3.8 GiB, 9 s left: writing layers`, or the stage alone before anything is counted.
    fn whole(&self, now: Duration, canvas: Canvas) -> String {
        let stage = match self.detail.as_str() {
            "" => self.stage.clone(),
            detail => format!("{}: {detail}", self.stage),
        };
        if self.tasks() == 0 {
            return cut(&format!("{} {stage}", spinner(now, canvas.unicode)), canvas.columns, canvas.unicode);
        }
        let (done, all) = self.bytes();
        let tasks = format!("[{}/{}]", self.ended.0, self.tasks());
        let bytes = match all {
            0 => tasks.clone(),
            all => format!("{tasks} {} of {}", HumanBytes(done), HumanBytes(all)),
        };
        let time = match self.left(now, done, all) {
            Some(left) => format!("{bytes}, {} left", span(left)),
            None => bytes.clone(),
        };
        let room = canvas.columns.saturating_sub(width(&time) + 2);
        if room >= SHORTEST_STAGE {
            return format!("{time}  {}", cut(&stage, room, canvas.unicode));
        }
        // The most that fits.
        [time, bytes, tasks].into_iter().find(|line| width(line) <= canvas.columns).unwrap_or_default()
    }

    /// The time that the rest takes at the pace so far.
    fn left(&self, now: Duration, done: u64, all: u64) -> Option<Duration> {
        let passed = now.checked_sub(self.counted_from?)?;
        let is_told = passed >= BEFORE_ESTIMATES && done > 0 && all > done;
        is_told.then(|| passed.mul_f64((all - done) as f64 / done as f64))
    }
}

impl RunningTask {
    fn line(&self, now: Duration, canvas: Canvas) -> String {
        let end = match self.size.filter(|size| *size > 0) {
            Some(size) => {
                let size = size.max(self.done);
                let percent = self.done.saturating_mul(100) / size;
                match canvas.columns >= WIDE_ENOUGH {
                    true => format!(
                        "{percent:>3} % of {:>10} {:>12}",
                        HumanBytes(size).to_string(),
                        self.pace(now)
                    ),
                    false => format!("{percent:>3} %"),
                }
            }
            None if self.done > 0 => HumanBytes(self.done).to_string(),
            None => String::new(),
        };
        let room = canvas.columns.saturating_sub(VERB + 2 + width(&end));
        let name = cut(&self.name, room.max(1), canvas.unicode);
        let space = " ".repeat(room.saturating_sub(width(&name)));
        let verb = format!("{:>VERB$}", self.verb);
        let verb = if canvas.color { format!("\u{1b}[36m{verb}\u{1b}[0m") } else { verb };
        format!("{verb} {name}{space} {end}").trim_end().to_owned()
    }

    fn pace(&self, now: Duration) -> String {
        let seconds = now.saturating_sub(self.begun).as_secs_f64();
        match seconds >= 1.0 && self.done > 0 {
            true => format!("{}/s", HumanBytes((self.done as f64 / seconds) as u64)),
            false => String::new(),
        }
    }
}

/// `text` in at most `columns`, its middle left out: the ends tell names apart.
pub(super) fn cut(text: &str, columns: usize, unicode: bool) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mark = if unicode { "…" } else { "..." };
    let Some(room) = columns.checked_sub(width(mark)).filter(|room| *room > 0) else {
        return mark.chars().take(columns).collect();
    };
    let head = taken(text.chars(), room - room / 2);
    let tail: String = taken(text.chars().rev(), room / 2).chars().rev().collect();
    format!("{head}{mark}{tail}")
}

/// The first characters that fit.
fn taken(chars: impl Iterator<Item = char>, columns: usize) -> String {
    let mut taken = String::new();
    for c in chars {
        taken.push(c);
        if width(&taken) > columns {
            taken.pop();
            break;
        }
    }
    taken
}

fn spinner(now: Duration, unicode: bool) -> char {
    const ASCII: [char; 4] = ['-', '\\', '|', '/'];
    const BRAILLE: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
    let signs: &[char] = if unicode { &BRAILLE } else { &ASCII };
    signs[(now.as_millis() / 100) as usize % signs.len()]
}

/// A time for people: `9 s`, `2 min`, `1 h 5 min`.
pub(super) fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..100 => format!("{seconds} s"),
        seconds @ 100..5_400 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: u64, name: &str, size: Option<u64>, done: u64) -> RunningTask {
        let (verb, begun) = ("downloading".to_owned(), Duration::from_secs(1));
        RunningTask { id, verb, name: name.to_owned(), size, done, begun }
    }

    fn board() -> ProgressBoard {
        let mut board = ProgressBoard { expected: (37, 4_000_000_000), ..ProgressBoard::default() };
        board.enter("writing layers");
        board.ended = (14, 1_000_000_000);
        board.counted_from = Some(Duration::ZERO);
        board.running = vec![
            task(1, "jaxlib-0.5.3-cp311-cp311-manylinux2014_x86_64.whl", Some(105_100_000), 50_000_000),
            task(2, "torch 2.6.0, part 1 of 2", Some(10), 20),
            task(3, "日本語-1.0.whl", None, 0),
        ];
        board
    }

    fn check(columns: usize, unicode: bool, expected: &str) {
        let canvas = Canvas { columns, unicode, color: false };
        assert_eq!(board().lines(Duration::from_secs(11), canvas).join("\n"), expected, "in {columns}");
    }

    #[test]
    fn the_whole_stands_above_what_is_moving() {
        check(
            100,
            true,
            "[14/37] 1001.36 MiB of 3.73 GiB, 30 s left  writing layers\n\
             downloading jaxlib-0.5.3-cp311-cp311-manylinux2014_x86_64.whl        47 % of 100.23 MiB   4.77 MiB/s\n\
             downloading torch 2.6.0, part 1 of 2                                100 % of       20 B        2 B/s\n\
             downloading 日本語-1.0.whl",
        );
        check(
            40,
            false,
            "[14/37] 1001.36 MiB of 3.73 GiB\n\
             downloading jaxlib-0.5...86_64.whl  47 %\n\
             downloading torch 2.6....rt 1 of 2 100 %\n\
             downloading 日本語-1.0.whl",
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for columns in 40..=250 {
            let canvas = Canvas { columns, unicode: columns % 2 == 0, color: false };
            for line in board().lines(Duration::from_secs(11), canvas) {
                assert!(width(&line) <= columns, "{columns}: {line}");
            }
        }
    }

    #[test]
    fn a_stage_without_tasks_tells_what_is_at_hand() {
        let mut board = ProgressBoard::default();
        board.enter("resolving");
        board.detail = "torch".into();
        let lines = |unicode| {
            board.lines(Duration::from_millis(100), Canvas { columns: 40, unicode, color: false }).join("\n")
        };
        assert_eq!((lines(false), lines(true)), ("\\ resolving: torch".into(), "⠙ resolving: torch".into()));
    }

    #[test]
    fn a_task_that_ends_is_counted_with_all_its_bytes() {
        let mut board = board();
        board.end(1);
        assert_eq!((board.ended, board.running.len()), ((15, 1_105_100_000), 2));
        assert!(board.end(1).is_none());
    }
}
