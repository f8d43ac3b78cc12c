//! Does many things at once: downloads beside each other, layers while later wheels still download.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};

use anyhow::Result;

use super::progress::{Progress, Task};
use crate::net::http::{Download, Http};
use crate::store::Store;

/// How many files are downloaded at once: enough to fill a line, few enough to be polite.
pub const DOWNLOADS: usize = 6;

/// A file to bring into the store.
pub struct Fetch {
    pub download: Download,
}

/// Brings files into the store, with one meter for all of them.
pub fn fetch_all(
    what: &str,
    wanted: &[Fetch],
    http: &Http,
    store: &Store,
    progress: &dyn Progress,
) -> Result<()> {
    let missing: Vec<&Fetch> = wanted.iter().filter(|fetch| !fetch.download.is_in(store)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let total = missing.iter().map(|fetch| fetch.download.size.unwrap_or_default()).sum();
    let meter = progress.start(Task::Download, &format!("{} {what}", missing.len()), Some(total));
    run(missing, DOWNLOADS, |fetch| Ok(http.download(store, &fetch.download, &|bytes| meter.add(bytes))?))?;
    Ok(())
}

/// Work that needs files first: what [`staged`] does.
pub struct Job<T> {
    pub fetches: Vec<Fetch>,
    pub work: T,
}

/// Fetches each job's files, in the order of the jobs, and does `work` on `threads` threads as soon as a job's files are
/// there. Results come in the order of the jobs.
pub fn staged<T: Send + Sync, R: Send>(
    jobs: Vec<Job<T>>,
    threads: usize,
    http: &Http,
    store: &Store,
    progress: &dyn Progress,
    work: impl Fn(&T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let fetch = |fetches: &[Fetch]| -> Result<()> {
        for Fetch { download } in fetches {
            if !download.is_in(store) {
                let meter = progress.start(Task::Download, &download.name, download.size);
                http.download(store, download, &|bytes| meter.add(bytes))?;
            }
        }
        Ok(())
    };
    let count = jobs.len();
    let queue = Mutex::new(jobs.into_iter().enumerate().collect::<VecDeque<_>>());
    let (ready, arrived) = mpsc::channel::<(usize, T)>();
    let arrived = Mutex::new(arrived);
    let failed = AtomicBool::new(false);
    let results: Mutex<Vec<Option<R>>> = Mutex::new((0..count).map(|_| None).collect());
    let error = Mutex::new(None);
    let fail = |problem: anyhow::Error| {
        failed.store(true, Ordering::Relaxed);
        lock(&error).get_or_insert(problem);
    };
    std::thread::scope(|scope| {
        for _ in 0..DOWNLOADS.min(count) {
            let ready = ready.clone();
            scope.spawn(|| {
                let ready = ready;
                while !failed.load(Ordering::Relaxed) {
                    let Some((index, job)) = lock(&queue).pop_front() else { break };
                    match fetch(&job.fetches) {
                        Ok(()) => drop(ready.send((index, job.work))),
                        Err(problem) => fail(problem),
                    }
                }
            });
        }
        drop(ready);
        for _ in 0..threads.min(count) {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let Ok((index, job)) = lock(&arrived).recv() else { break };
                    match work(&job) {
                        Ok(result) => lock(&results)[index] = Some(result),
                        Err(problem) => fail(problem),
                    }
                }
            });
        }
    });
    match error.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(problem) => Err(problem),
        None => {
            Ok(results.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten().collect())
        }
    }
}

/// Does `work` on every item, on `threads` threads; the first failure ends it.
pub fn run<T: Send, R: Send>(
    items: Vec<T>,
    threads: usize,
    work: impl Fn(T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let count = items.len();
    let queue = Mutex::new(items.into_iter().enumerate().collect::<VecDeque<_>>());
    let results: Mutex<Vec<Option<R>>> = Mutex::new((0..count).map(|_| None).collect());
    let error = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(count) {
            scope.spawn(|| {
                while lock(&error).is_none() {
                    let Some((index, item)) = lock(&queue).pop_front() else { break };
                    match work(item) {
                        Ok(result) => lock(&results)[index] = Some(result),
                        Err(problem) => drop(lock(&error).get_or_insert(problem)),
                    }
                }
            });
        }
    });
    match error.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(problem) => Err(problem),
        None => {
            Ok(results.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten().collect())
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
