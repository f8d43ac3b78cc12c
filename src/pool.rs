//! Threads that share a list of work.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{panic, thread};

/// Does `work` on each of `items`, on at most `threads` threads, and returns the results in the order of the items.
///
/// The first failure ends it: nothing is begun any more. Of several failures the earliest item's is returned, whichever
/// thread was faster.
pub fn run<T: Send, R: Send, E: Send>(
    items: impl IntoIterator<Item = T>,
    threads: usize,
    work: impl Fn(T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let queue: VecDeque<(usize, T)> = items.into_iter().enumerate().collect();
    let count = queue.len();
    let shared = Mutex::new(Shared { queue, results: (0..count).map(|_| None).collect(), failure: None });
    let next = || lock(&shared).next();
    let worker = || {
        while let Some((index, item)) = next() {
            let result = work(item);
            lock(&shared).end(index, result);
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.clamp(1, count.max(1))).map(|_| scope.spawn(worker)).collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic)));
    });
    let shared = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    match shared.failure {
        Some((_, failure)) => Err(failure),
        None => Ok(shared.results.into_iter().flatten().collect()),
    }
}

/// The work that is left and the results so far.
struct Shared<T, R, E> {
    queue: VecDeque<(usize, T)>,
    /// In the order of the items.
    results: Vec<Option<R>>,
    /// The failure of the earliest item that failed, with the item's number.
    failure: Option<(usize, E)>,
}

impl<T, R, E> Shared<T, R, E> {
    fn next(&mut self) -> Option<(usize, T)> {
        match self.failure {
            Some(_) => None,
            None => self.queue.pop_front(),
        }
    }

    fn end(&mut self, index: usize, result: Result<R, E>) {
        match result {
            Ok(result) => self.results[index] = Some(result),
            Err(failure) if self.failure.as_ref().is_none_or(|(earlier, _)| index < *earlier) => {
                self.failure = Some((index, failure));
            }
            Err(_) => {}
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_items() {
        let squares = run(0..100, 4, |number: u64| Ok::<_, ()>(number * number));
        assert_eq!(squares, Ok((0..100).map(|number| number * number).collect()));
        assert_eq!(run([], 4, |()| Ok::<_, ()>(())), Ok(Vec::new()));
    }

    #[test]
    fn the_first_failure_ends_all() {
        let begun = AtomicUsize::new(0);
        let failed = run([1, 2, 3, 4], 1, |number| {
            begun.fetch_add(1, Ordering::Relaxed);
            if number == 2 { Err(number) } else { Ok(number) }
        });
        assert_eq!(failed, Err(2));
        assert_eq!(begun.into_inner(), 2);
    }

    #[test]
    fn of_several_failures_the_earliest_items_is_returned() {
        let begun = Barrier::new(2);
        let failed = run([1, 2], 2, |number| {
            begun.wait();
            Err::<(), _>(number)
        });
        assert_eq!(failed, Err(1));
    }

    #[test]
    #[should_panic(expected = "on purpose")]
    fn a_panic_passes_on() {
        let _ = run([()], 1, |()| -> Result<(), ()> { panic!("on purpose") });
    }
}
