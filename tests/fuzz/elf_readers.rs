//! Gives bytes to every reader of ELF and of `ld.so.cache`, as whole files and as streams.

use std::io;

use imgforge::cuda::{GpuCode, GpuCodeSearch, GpuFile};
use imgforge::elf::probe::ProbeBudget;
use imgforge::elf::{
    Cache, Elf, ElfError, Incomplete, Linkage, Linked, Object, Outcome, Probe, Symbols, dynamic,
};
use imgforge::failure::Hinted;
use imgforge::observe::{FileObserver, ObservedLayer};
use imgforge::oci::{Entry, EntryKind};

use crate::allocator::bounded;

/// The most times that a reader asks for more of a file: tables are read in steps that double, and a name in steps of
/// 512 bytes.
const MOST_ROUNDS: usize = 400;
/// The number of passes over a layer, as in `layer::read`.
const MOST_PASSES: usize = 4;

/// Paths of each kind that a watcher knows: a library, one of CUDA, programs whose version is looked for, a file of a
/// distribution, and texts.
const PATHS: [&str; 7] = [
    "usr/lib/x86_64-linux-gnu/libdemo.so.1",
    "usr/local/cuda/lib64/libcublas.so.12",
    "usr/bin/python3.11",
    "usr/local/cuda/bin/ptxas",
    "usr/lib/x86_64-linux-gnu/libc.so.6",
    "usr/lib/python3/dist-packages/demo/core.so",
    "etc/ld.so.cache",
];

/// Gives a file to every reader. Those that read the same must say the same.
pub fn read(bytes: &[u8]) {
    let mut steps = Steps(imgforge::elf::symbol_hash(bytes));
    let whole = bounded("the linked object", bytes.len(), || told(Object::read(bytes)));
    let symbols = bounded("the symbols", bytes.len(), || told(Symbols::read(bytes)));
    let elf = bounded("the headers", bytes.len(), || told(dynamic::read(bytes)));
    for budget in [ProbeBudget::SMALL, ProbeBudget::LARGE] {
        let probe = Probe::linking(bytes.len() as u64).keeping(budget);
        let streamed = bounded("a probe", bytes.len(), || stream(probe, bytes, &mut steps));
        assert_eq!(told(streamed.map(|linked| linked.map(|it| it.object))), whole);
        let probe = Probe::linking_with_symbols(bytes.len() as u64).keeping(budget);
        let streamed = bounded("a probe with symbols", bytes.len(), || stream(probe, bytes, &mut steps));
        if let Ok(Some(linked)) = streamed {
            assert_eq!(told(Ok(linked.symbols)), symbols);
        }
    }
    let size = bytes.len() as u64;
    let both = bounded("parts with symbols", bytes.len(), || {
        complete(Ok(Outcome::Incomplete(Incomplete::<(Elf, Symbols)>::with_symbols(size))), bytes)
    });
    if let Ok(Some((headers, _))) = &both {
        assert_eq!(told(Ok(Some(headers.clone()))), elf);
    }
    let _ = bounded("sections", bytes.len(), || {
        complete(Ok(Outcome::Incomplete(Incomplete::<Linkage>::from_sections(size))), bytes)
    });
    for file in [GpuFile::Elf, GpuFile::Images] {
        let whole = bounded("a search for code", bytes.len(), || code(file, bytes, |take| take(bytes)));
        let pieces = |take: &mut dyn FnMut(&[u8])| steps.pass(bytes, take);
        assert_eq!(bounded("the same in pieces", bytes.len(), || code(file, bytes, pieces)), whole);
    }
    let _ = bounded("a cache", bytes.len(), || Cache::parse(bytes));
    // What a name makes of a file is beside what its headers do: one name for each will do.
    let [path, other] = [0, 0].map(|_| PATHS[steps.next() % PATHS.len()]);
    bounded("a watcher", bytes.len(), || watch(path, bytes, &mut steps));
    bounded("a watcher of a stream", bytes.len(), || watch_once(other, bytes, &mut steps));
}

/// The result of a reader, to be compared; of several faults, each reader names the one that it meets first.
fn told<T>(read: Result<Option<T>, ElfError>) -> Option<Option<T>> {
    if let Err(error) = &read {
        assert!(!error.to_string().is_empty() && error.hint().is_none_or(|hint| !hint.is_empty()));
    }
    read.ok()
}

fn stream(mut probe: Probe, bytes: &[u8], steps: &mut Steps) -> Result<Option<Linked>, ElfError> {
    steps.pass(bytes, |chunk| probe.update(chunk));
    complete(probe.finish(), bytes)
}

/// Hands over what is asked for until nothing is.
fn complete<T>(mut outcome: Result<Outcome<T>, ElfError>, bytes: &[u8]) -> Result<Option<T>, ElfError> {
    for _ in 0..MOST_ROUNDS {
        let mut incomplete = match outcome? {
            Outcome::NotElf => return Ok(None),
            Outcome::Elf(facts) => return Ok(Some(facts)),
            Outcome::Incomplete(incomplete) => incomplete,
        };
        assert!(!incomplete.missing().is_empty(), "asks for nothing");
        for range in incomplete.missing().to_vec() {
            let part = bytes.get(range.start as usize..range.end as usize);
            incomplete.supply(range.start, part.expect("asks for what the file has"));
        }
        outcome = incomplete.finish();
    }
    panic!("asks for parts again and again")
}

/// The code for GPUs in a file that `pass` hands over.
fn code(file: GpuFile, bytes: &[u8], pass: impl FnOnce(&mut dyn FnMut(&[u8]))) -> Option<GpuCode> {
    let mut search = GpuCodeSearch::new(file, bytes.len() as u64);
    pass(&mut |piece| search.update(piece));
    search.finish()
}

fn entry(path: &str, bytes: &[u8]) -> Entry {
    let kind = EntryKind::File { size: bytes.len() as u64 };
    Entry { path: path.to_owned(), mode: 0o755, uid: 0, gid: 0, mtime: 0, kind }
}

fn watch(path: &str, bytes: &[u8], steps: &mut Steps) {
    let mut watcher = FileObserver::new(&entry(path, bytes), ProbeBudget::SMALL).expect("it is a file");
    steps.pass(bytes, |chunk| watcher.update(chunk));
    let mut learned = ObservedLayer::default();
    watcher.finish(&mut learned, || Ok::<_, io::Error>(bytes)).expect("memory can be read");
}

fn watch_once(path: &str, bytes: &[u8], steps: &mut Steps) {
    let mut watcher = FileObserver::new(&entry(path, bytes), ProbeBudget::LARGE).expect("it is a file");
    steps.pass(bytes, |chunk| watcher.update(chunk));
    let mut learned = ObservedLayer::default();
    let mut unfinished = watcher.finish_once(&mut learned);
    for _ in 0..MOST_PASSES {
        let Some(mut library) = unfinished else { return };
        let mut offset = 0;
        steps.pass(bytes, |chunk| {
            library.update(offset, chunk);
            offset += chunk.len() as u64;
        });
        assert!(library.wants_nothing_from(u64::MAX));
        unfinished = library.finish(&mut learned);
    }
    if let Some(library) = unfinished {
        library.give_up(&mut learned);
    }
}

/// Sizes of pieces: of one byte, of a page, of much.
struct Steps(u64);

impl Steps {
    fn pass(&mut self, bytes: &[u8], mut take: impl FnMut(&[u8])) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(self.next().min(rest.len()));
            take(now);
            rest = later;
        }
    }

    fn next(&mut self) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let random = (self.0 >> 33) as usize;
        match random % 8 {
            0 => 1 + random / 8 % 16,
            1 => 4096,
            2 => 1 + random / 8 % 100_000,
            _ => (64 << 10) + random / 8 % (1 << 20),
        }
    }
}
