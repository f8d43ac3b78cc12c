//! Memory for what is kept of files that pass: bounded over all of them, and used again, as most of what it costs to keep
//! something is the first touch of each page.

use std::mem;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Sizes are rounded up to a multiple of so many bytes, so that a buffer fits more than one file.
const STEP: usize = 4 << 20;

/// A pool of large buffers.
#[derive(Debug)]
pub struct BufferPool {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The number of [`Visit`]s.
    visits: usize,
    /// The size of all buffers that are in use, in bytes; with the others' it is never more than the shelf's.
    taken: usize,
    idle: Vec<Vec<u8>>,
}

impl BufferPool {
    /// One whose buffers take at most `most` bytes together.
    pub const fn new(most: usize) -> Self {
        Self { most, state: Mutex::new(State { visits: 0, taken: 0, idle: Vec::new() }) }
    }

    /// Keeps what is given back for the next to take. Without any visit, the memory is the system's again.
    pub fn visit(&'static self) -> Visit {
        self.state().visits += 1;
        Visit(self)
    }

    /// An empty buffer with room for `size` bytes; `None` while there are too many in use.
    pub(super) fn take(&'static self, size: usize) -> Option<Buffer> {
        let size = size.next_multiple_of(STEP);
        let mut state = self.state();
        let capacity = |state: &State, index: usize| state.idle[index].capacity();
        let fitting = (0..state.idle.len()).filter(|&index| capacity(&state, index) >= size);
        let fitting = fitting.min_by_key(|&index| capacity(&state, index));
        let is_full = state.size() + size > self.most;
        let bytes = match fitting {
            // A large one is for little only when there is no other memory.
            Some(index) if is_full || capacity(&state, index) <= 2 * size => state.idle.swap_remove(index),
            _ if state.taken + size > self.most => return None,
            _ => {
                while state.size() + size > self.most {
                    state.idle.pop();
                }
                Vec::with_capacity(size)
            }
        };
        let taken = bytes.capacity();
        state.taken += taken;
        Some(Buffer { bytes, lent: Some(Lent { shelf: self, size: taken }) })
    }

    fn give(&self, mut bytes: Vec<u8>, size: usize) {
        let mut state = self.state();
        state.taken -= size;
        if bytes.capacity() == size && state.visits > 0 {
            bytes.clear();
            state.idle.push(bytes);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Someone who will take buffers of a [`BufferPool`], as long as this is not dropped.
#[derive(Debug)]
pub struct Visit(&'static BufferPool);

impl Drop for Visit {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.visits -= 1;
        if state.visits == 0 {
            state.idle.clear();
        }
    }
}

impl State {
    fn size(&self) -> usize {
        self.taken + self.idle.iter().map(Vec::capacity).sum::<usize>()
    }
}

/// Bytes that may be in memory of a [`BufferPool`], which gets it back.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    lent: Option<Lent>,
}

#[derive(Debug)]
struct Lent {
    shelf: &'static BufferPool,
    size: usize,
}

impl Buffer {
    /// An empty buffer with room for `size` bytes.
    pub(super) fn with_capacity(size: usize) -> Self {
        Self { bytes: Vec::with_capacity(size), lent: None }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(Lent { shelf, size }) = self.lent.take() {
            shelf.give(mem::take(&mut self.bytes), size);
        }
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lends_the_memory_of_one_to_the_next() {
        static SHELF: BufferPool = BufferPool::new(10 * STEP);
        let visit = SHELF.visit();
        let memory = [3 * STEP - 5, 3 * STEP, 2 * STEP + 1].map(|size| {
            let mut buffer = SHELF.take(size).unwrap();
            assert!(buffer.is_empty() && buffer.capacity() >= size);
            buffer.push(1);
            buffer.as_ptr()
        });
        assert!(memory.iter().all(|pointer| *pointer == memory[0]));
        assert_eq!(SHELF.state().size(), 3 * STEP);
        drop(visit);
        assert_eq!(SHELF.state().size(), 0);
    }

    #[test]
    fn lends_no_more_than_there_is() {
        static SHELF: BufferPool = BufferPool::new(5 * STEP);
        let _visit = SHELF.visit();
        let (large, small) = (SHELF.take(3 * STEP).unwrap(), SHELF.take(1).unwrap());
        assert!(SHELF.take(2 * STEP).is_none());
        drop(large);
        // A large one is given away for little when there is no other memory; what is idle makes room for more.
        let others = [1, 1].map(|size| SHELF.take(size).unwrap());
        assert_eq!([others[0].capacity(), others[1].capacity()], [STEP, 3 * STEP]);
        assert!(SHELF.take(1).is_none());
        drop((small, others));
        assert!(SHELF.take(5 * STEP).is_some() && SHELF.take(6 * STEP).is_none());
        assert_eq!(SHELF.state().size(), 5 * STEP);
    }

    #[test]
    fn a_buffer_that_grew_does_not_come_back() {
        static SHELF: BufferPool = BufferPool::new(STEP);
        let _visit = SHELF.visit();
        let mut grown = SHELF.take(STEP).unwrap();
        grown.resize(STEP + 1, 0);
        drop(grown);
        assert_eq!(SHELF.state().size(), 0);
    }
}
