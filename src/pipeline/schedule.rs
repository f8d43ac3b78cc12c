//! Does many things at once: downloads beside each other, layers while later wheels still download.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use url::Url;

use super::Session;
use super::progress::Task;
use crate::failure::{Failure, Result};
use crate::net::download::{Arrivals, Download};
use crate::net::http::HttpError;
use crate::net::learned;
use crate::pool;

/// The number of files that are downloaded at once: enough to fill a line, few enough to be polite.
pub(super) const DOWNLOADS: usize = 6;

/// The number of jobs that are done at once, however many cores there are: what a job holds in memory is bounded, and
/// so is their sum.
const MOST_JOBS: usize = 12;

/// A file to bring into the store.
#[derive(Clone)]
pub(super) struct Fetch {
    /// The file to download.
    pub download: Download,
    /// Further servers that may have it.
    pub elsewhere: Vec<Url>,
}

impl Fetch {
    /// Downloads the file from the first server that has it.
    fn bring(&self, session: &Session<'_>, progress: Arrivals<'_>) -> Result<(), HttpError> {
        let Session { http, store, .. } = session;
        let first = match http.download(store, &self.download, progress) {
            Err(error) if error.is_of_server() => error,
            brought => return brought,
        };
        let elsewhere =
            self.elsewhere.iter().map(|url| Download { url: url.clone(), ..self.download.clone() });
        let mut brought = elsewhere.map(|download| http.download(store, &download, progress));
        brought.find(Result::is_ok).unwrap_or(Err(first))
    }
}

/// Brings files into the store, with one meter for all of them.
pub(super) fn fetch_all(what: &str, wanted: &[Fetch], session: &Session<'_>) -> Result<()> {
    let Session { store, progress, .. } = session;
    let missing: Vec<&Fetch> = wanted.iter().filter(|fetch| !fetch.download.is_in(store)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let total = missing.iter().map(|fetch| fetch.download.size.unwrap_or_default()).sum();
    let meter = progress.start(Task::Download, &format!("{} {what}", missing.len()), Some(total));
    pool::run(missing, DOWNLOADS, |fetch| fetch.bring(session, &|bytes| meter.add(bytes)))?;
    Ok(())
}

/// Work that needs files first: what [`staged`] does.
pub(super) struct Job<T> {
    /// The files that it needs.
    pub fetches: Vec<Fetch>,
    /// The relative duration of the work, in any unit: the longest is begun first.
    pub weight: u64,
    /// The work itself.
    pub work: T,
}

/// The outcome of an attempt at a job.
pub(super) enum Attempt<R> {
    /// The work is done.
    Done(R),
    /// Another process is at it.
    Elsewhere,
}

/// Fetches each job's files, and does `work` on the session's threads as soon as a job's files are there: of the jobs that
/// are ready the longest first. Jobs that other processes do are asked for again when there is nothing else to do.
/// Results come in the order of the jobs; the first failure ends all.
///
/// Downloads begin at both ends, with the longest and the shortest jobs, so that there is something to do early and
/// nothing long to do late. What is downloaded is on disk, and waits there.
pub(super) fn staged<T: Sync + Send, R: Send>(
    jobs: Vec<Job<T>>,
    session: &Session<'_>,
    work: impl Fn(&T) -> Result<Attempt<R>> + Sync,
) -> Result<Vec<R>> {
    let Session { http, store, threads, progress, .. } = session;
    let fetch = |fetches: &[Fetch]| -> Result<()> {
        for Fetch { download, .. } in fetches {
            if !download.is_in(store) {
                // Begun with the first bytes: who waits for another's download of the file has none to tell of.
                let meter = OnceLock::new();
                let start = || progress.start(Task::Download, &download.name, download.size);
                http.download(store, download, &|bytes| meter.get_or_init(start).add(bytes))?;
            }
            learned::hold(store, &download.digest, &download.url)?;
        }
        Ok(())
    };
    let downloads = jobs.iter().flat_map(|job| &job.fetches).map(|fetch| &fetch.download);
    let missing: Vec<u64> =
        downloads.filter(|it| !it.is_in(store)).map(|it| it.size.unwrap_or_default()).collect();
    progress.expect(missing.len(), missing.iter().sum());
    let count = jobs.len();
    let board = Board::new(jobs);
    std::thread::scope(|scope| {
        for number in 0..DOWNLOADS.min(count) {
            let (board, fetch) = (&board, &fetch);
            scope.spawn(move || {
                let _alarm = Alarm(board);
                let end = if number % 2 == 0 { QueueEnd::Longest } else { QueueEnd::Shortest };
                while let Some(job) = board.next_fetch(end) {
                    match fetch(&job.fetches) {
                        Ok(()) => board.fetched(job),
                        Err(problem) => board.fail(problem),
                    }
                }
            });
        }
        for _ in 0..(*threads).min(count).min(MOST_JOBS) {
            scope.spawn(|| {
                let _alarm = Alarm(&board);
                while let Some(job) = board.next_ready() {
                    match work(&job.work) {
                        Ok(Attempt::Done(result)) => board.done(job.index, result),
                        Ok(Attempt::Elsewhere) => board.elsewhere(job),
                        Err(problem) => board.fail(problem),
                    }
                }
            });
        }
    });
    board.results()
}

/// The time that a thread without work waits before it asks again for the work of other processes.
const AGAIN: Duration = Duration::from_millis(20);

/// The end of the queue of jobs that wait for their files.
#[derive(Clone, Copy)]
enum QueueEnd {
    Longest,
    Shortest,
}

/// Ends all when its thread panics: the others would wait for it forever, and the panic with them.
struct Alarm<'a, T, R>(&'a Board<T, R>);

impl<T, R> Drop for Alarm<'_, T, R> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(Failure::new("a thread of the build panicked"));
        }
    }
}

/// A job with its place among the results.
struct Placed<T> {
    index: usize,
    job: Job<T>,
}

impl<T> std::ops::Deref for Placed<T> {
    type Target = Job<T>;

    fn deref(&self) -> &Job<T> {
        &self.job
    }
}

/// The board from which the threads of [`staged`] take their work.
struct Board<T, R> {
    state: Mutex<State<T, R>>,
    changed: Condvar,
}

struct State<T, R> {
    /// The jobs whose files are to be fetched, shortest first.
    waiting: VecDeque<Placed<T>>,
    /// The jobs whose files are there, shortest first.
    ready: Vec<Placed<T>>,
    /// The jobs that another process was seen at, first the one that was asked for longest ago.
    elsewhere: VecDeque<Placed<T>>,
    /// By the jobs' order.
    results: Vec<Option<R>>,
    /// The number of results that are missing.
    missing: usize,
    failure: Option<Failure>,
}

impl<T, R> Board<T, R> {
    fn new(jobs: Vec<Job<T>>) -> Self {
        let missing = jobs.len();
        let mut jobs: Vec<Placed<T>> =
            jobs.into_iter().enumerate().map(|(index, job)| Placed { index, job }).collect();
        jobs.sort_by_key(|job| (job.weight, Reverse(job.index)));
        let (ready, waiting) = jobs.into_iter().partition(|job| job.fetches.is_empty());
        let results = (0..missing).map(|_| None).collect();
        let waiting = Vec::into(waiting);
        let state = State { waiting, ready, elsewhere: VecDeque::new(), results, missing, failure: None };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// The next job whose files are to be fetched.
    fn next_fetch(&self, end: QueueEnd) -> Option<Placed<T>> {
        let mut state = lock(&self.state);
        match (&state.failure, end) {
            (Some(_), _) => None,
            (None, QueueEnd::Longest) => state.waiting.pop_back(),
            (None, QueueEnd::Shortest) => state.waiting.pop_front(),
        }
    }

    /// The files of a job are there.
    fn fetched(&self, job: Placed<T>) {
        let ready = &mut lock(&self.state).ready;
        let at = ready.partition_point(|other| other.weight <= job.weight);
        ready.insert(at, job);
        self.changed.notify_one();
    }

    /// The next job to do; waits for one. `None` when nothing will be to do any more.
    fn next_ready(&self) -> Option<Placed<T>> {
        let mut state = lock(&self.state);
        let mut waited = false;
        loop {
            if state.failure.is_some() || state.missing == 0 {
                return None;
            }
            if let Some(job) = state.ready.pop() {
                return Some(job);
            }
            if waited && let Some(job) = state.elsewhere.pop_front() {
                return Some(job);
            }
            state = match state.elsewhere.is_empty() {
                true => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                false => self.changed.wait_timeout(state, AGAIN).unwrap_or_else(PoisonError::into_inner).0,
            };
            waited = true;
        }
    }

    fn elsewhere(&self, job: Placed<T>) {
        lock(&self.state).elsewhere.push_back(job);
        self.changed.notify_one();
    }

    fn done(&self, index: usize, result: R) {
        let mut state = lock(&self.state);
        state.results[index] = Some(result);
        state.missing -= 1;
        if state.missing == 0 {
            self.changed.notify_all();
        }
    }

    fn fail(&self, problem: Failure) {
        lock(&self.state).failure.get_or_insert(problem);
        self.changed.notify_all();
    }

    fn results(self) -> Result<Vec<R>> {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        match state.failure {
            Some(problem) => Err(problem),
            None => Ok(state.results.into_iter().flatten().collect()),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(weights: &[u64]) -> Board<&'static str, usize> {
        let names = ["a", "b", "c", "d", "e"];
        let job = |(weight, work): (&u64, &'static str)| Job { fetches: Vec::new(), weight: *weight, work };
        Board::new(weights.iter().zip(names).map(job).collect())
    }

    fn next(board: &Board<&'static str, usize>) -> Placed<&'static str> {
        board.next_ready().unwrap()
    }

    #[test]
    fn the_longest_job_that_is_ready_comes_first() {
        let board = board(&[2, 9, 2, 5]);
        let order = [(); 4].map(|()| next(&board).work);
        assert_eq!(order, ["b", "d", "a", "c"]);
    }

    #[test]
    fn what_another_process_does_is_asked_for_after_all_else() {
        let board = board(&[1, 2, 3]);
        let longest = next(&board);
        assert_eq!(longest.work, "c");
        board.elsewhere(longest);
        assert_eq!(
            [(); 4].map(|()| {
                let job = next(&board);
                let work = job.work;
                if work == "c" {
                    board.elsewhere(job)
                };
                work
            }),
            ["b", "a", "c", "c"]
        );
    }

    #[test]
    fn all_is_done_when_every_result_is_there() {
        let board = board(&[1, 2]);
        for result in [7, 8] {
            let job = next(&board);
            board.done(job.index, result);
        }
        assert!(board.next_ready().is_none());
        assert_eq!(board.results().unwrap(), [8, 7]);
    }

    #[test]
    fn a_panic_ends_all() {
        let board = board(&[1, 2]);
        std::thread::scope(|scope| {
            let panicking = scope.spawn(|| {
                let _alarm = Alarm(&board);
                panic!("on purpose");
            });
            assert!(panicking.join().is_err());
        });
        assert!(board.next_ready().is_none());
    }

    #[test]
    fn the_first_failure_ends_all() {
        let board = board(&[1, 2]);
        let job = next(&board);
        board.fail(Failure::new(format!("job {}", job.work)));
        assert!(board.next_ready().is_none() && board.next_fetch(QueueEnd::Longest).is_none());
        assert_eq!(board.results().unwrap_err().to_string(), "job b");
    }
}
