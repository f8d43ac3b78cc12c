//! Counts what is allocated.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// The system's allocator, counted.
pub struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// In thousandths of a byte for each byte of input.
static WORST_RATIO: AtomicU64 = AtomicU64::new(0);
static WORST: AtomicUsize = AtomicUsize::new(0);

/// The bytes that a reader may need whatever the size of its file: what names and notes may take that overlap each
/// other (`elf::dynamic::MOST_BYTES`), twice while a table grows, and what a proof keeps of a file's strings.
const CONSTANT: usize = 16 << 20;
/// The bytes that it may need besides for each byte of the file: the file itself as kept, its tables, and names of up
/// to 16 times their table, by the loader's view and once more by that of symbols.
const FOR_EACH_BYTE: usize = 64;

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(now, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Runs `read`, which is given so many bytes, and fails when it needs more memory than it may.
pub fn bounded<T>(what: &str, size: usize, read: impl FnOnce() -> T) -> T {
    let before = NOW.load(Relaxed);
    PEAK.store(before, Relaxed);
    let result = read();
    let needed = PEAK.load(Relaxed).saturating_sub(before);
    WORST.fetch_max(needed, Relaxed);
    if needed > CONSTANT / 16 {
        WORST_RATIO.fetch_max(needed as u64 * 1_000 / size.max(1) as u64, Relaxed);
    }
    let bound = CONSTANT + FOR_EACH_BYTE * size;
    assert!(needed <= bound, "{what} needs {needed} bytes for an input of {size}, more than {bound}");
    result
}

/// The most that was needed so far.
pub fn worst() -> impl fmt::Display {
    let ratio = WORST_RATIO.load(Relaxed) as f64 / 1_000.0;
    format!(
        "at most {} KiB were needed at once, and {ratio:.1} bytes for each of an input where that is over 1 MiB",
        WORST.load(Relaxed) >> 10
    )
}
