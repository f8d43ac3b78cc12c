//! The progress of single images, as a matrix shows it: nothing of their stages, and each warning once.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::progress::{Meter, Progress, Task};

/// Passes on warnings that were not told before, and tasks.
pub struct QuietImages<'a> {
    inner: &'a dyn Progress,
    told: Mutex<BTreeSet<String>>,
}

impl<'a> QuietImages<'a> {
    /// The progress of images whose matrix is shown by `inner`.
    pub fn new(inner: &'a dyn Progress) -> Self {
        Self { inner, told: Mutex::default() }
    }
}

impl Progress for QuietImages<'_> {
    fn stage(&self, _: &str) {}

    fn at(&self, _: &str) {}

    fn expect(&self, _: usize, _: u64) {}

    fn warn(&self, text: &str) {
        if self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(text.to_owned()) {
            self.inner.warn(text);
        }
    }

    fn start(&self, task: Task, name: &str, size: Option<u64>) -> Box<dyn Meter> {
        self.inner.start(task, name, size)
    }
}
