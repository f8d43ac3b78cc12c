//! Malformed ELF and `ld.so.cache` do no harm: whatever the bytes, every reader of them returns, panics nowhere, and needs
//! memory in proportion to the file.
//!
//! Files of this machine and of the test's making are damaged where it hurts ([`mutation`]) and given to every reader
//! ([`readers`]); [`allocator`] counts what they need. The same seed gives the same inputs.
//!
//! ```console
//! $ IMGFORGE_FUZZ_CASES=100000 IMGFORGE_FUZZ_SEED=7 cargo nextest run --test fuzz
//! $ IMGFORGE_FUZZ_INPUT=target/fuzz/failed.bin cargo nextest run --test fuzz    # what failed, again
//! ```
#![allow(clippy::disallowed_methods, reason = "tests meet files, the clock and the environment")]

mod allocator;
mod corpus;
mod elf;
mod mutation;
mod readers;
mod watchdog;

use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use allocator::Counting;
use corpus::Corpus;
use mutation::Mutation;
use watchdog::Watchdog;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The number of inputs of a run without `IMGFORGE_FUZZ_CASES`: under a minute on one core, unoptimised.
const CASES: u32 = 2_000;
/// The seed where `IMGFORGE_FUZZ_SEED` does not say.
const SEED: u64 = 1;
/// The most times that an input is damaged.
const MOST_MUTATIONS: usize = 6;

/// An input: a file of the corpus by its number, and what happens to it.
#[derive(Debug, Clone)]
struct Case {
    file: usize,
    mutations: Vec<Mutation>,
}

#[test]
fn malformed_files_do_no_harm() {
    let watchdog = Watchdog::start();
    if let Some(path) = std::env::var_os("IMGFORGE_FUZZ_INPUT") {
        let bytes = std::fs::read(path).expect("IMGFORGE_FUZZ_INPUT names a file");
        return readers::read(&bytes);
    }
    let (cases, seed) = (number("IMGFORGE_FUZZ_CASES", CASES), number("IMGFORGE_FUZZ_SEED", SEED));
    let corpus = Corpus::load();
    for file in &corpus.files {
        eprintln!("whole: {}", file.name);
        readers::read(&file.bytes);
    }
    // Large files take a hundred times as long.
    let file = prop_oneof![30 => 0..corpus.large, 1 => corpus.large..corpus.files.len()];
    let strategy = (file, vec(any::<Mutation>(), 1..=MOST_MUTATIONS))
        .prop_map(|(file, mutations)| Case { file, mutations });
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 200,
        max_shrink_time: 60_000,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, random(seed));
    let ran = runner.run(&strategy, |case| {
        let bytes = corpus.damaged(&case);
        watchdog.begin(&bytes);
        // A panic that leaves the closure is a failure too, and made smaller.
        readers::read(&bytes);
        watchdog.end();
        Ok::<_, TestCaseError>(())
    });
    watchdog.end();
    if let Err(TestError::Fail(reason, case)) = ran {
        let path = keep(&corpus.damaged(&case));
        panic!(
            "{reason}\nin {case:?} of {}, seed {seed}\nagain: IMGFORGE_FUZZ_INPUT={} cargo nextest run --test fuzz",
            corpus.files[case.file].name,
            path.display()
        );
    }
    eprintln!("{cases} inputs of seed {seed}; {}", allocator::worst());
}

fn number<T: std::str::FromStr>(variable: &str, default: T) -> T {
    match std::env::var(variable) {
        Ok(value) => value.parse().unwrap_or_else(|_| panic!("{variable} is `{value}`, which is no number")),
        Err(_) => default,
    }
}

fn random(seed: u64) -> TestRng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}

/// Writes an input down, to be read again.
fn keep(bytes: &[u8]) -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fuzz");
    std::fs::create_dir_all(&directory).expect("target can be written to");
    let path = directory.join("failed.bin");
    std::fs::write(&path, bytes).expect("target can be written to");
    path
}
