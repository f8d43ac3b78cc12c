//! The share of this machine's cores that the writers of layers keep busy.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// The cores of this machine.
pub(super) static CORES: Cores = Cores::new(|| thread::available_parallelism().map_or(1, Into::into));

/// Some cores, and how many threads that write layers have something to do for them. What else runs is left out.
#[derive(Debug)]
pub(super) struct Cores {
    busy: AtomicUsize,
    all: LazyLock<usize>,
}

impl Cores {
    /// As many as `count` says.
    pub(super) const fn new(count: fn() -> usize) -> Self {
        Self { busy: AtomicUsize::new(0), all: LazyLock::new(count) }
    }

    /// Keeps a core busy, even where none is idle.
    pub(super) fn take(&'static self) -> Core {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Core(self)
    }
}

/// A core that is kept busy, until this is dropped.
#[derive(Debug)]
pub(super) struct Core(&'static Cores);

impl Core {
    /// Another core, which would be idle.
    pub(super) fn take_another(&self) -> Option<Self> {
        let Self(cores) = self;
        let taken = |busy| (busy < *cores.all).then_some(busy + 1);
        cores.busy.try_update(Ordering::Relaxed, Ordering::Relaxed, taken).ok().map(|_| Self(cores))
    }

    /// Returns whether there is more to do than there are cores.
    pub(super) fn is_wanted(&self) -> bool {
        self.0.busy.load(Ordering::Relaxed) > *self.0.all
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_what_is_idle_and_tells_when_it_is_missed() {
        static TWO: Cores = Cores::new(|| 2);
        let first = TWO.take();
        let second = first.take_another().unwrap();
        assert!(first.take_another().is_none() && !first.is_wanted());
        let third = TWO.take();
        assert!(second.is_wanted());
        drop(second);
        assert!(first.take_another().is_none() && !first.is_wanted());
        drop(third);
        assert!(first.take_another().is_some());
    }
}
