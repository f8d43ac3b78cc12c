//! Malformed input does no harm: whatever the bytes, every reader of them returns, panics nowhere, and needs memory in
//! proportion to the input.
//!
//! Sound files are damaged where it hurts and given to the readers of their format; [`allocator`] counts what they need.
//! ELF has mutations of its own ([`elf_mutation`]), every other format ([`formats`]) those of texts and containers
//! ([`damage`]). The same seed gives the same inputs.
//!
//! ```console
//! $ IMGFORGE_FUZZ_CASES=1000000 IMGFORGE_FUZZ_SEED=7 cargo nextest run --release --test fuzz tar
//! $ IMGFORGE_FUZZ_INPUT=target/fuzz/tar.bin cargo nextest run --test fuzz tar    # what failed, again
//! ```
#![allow(unreachable_pub, reason = "nothing is reached from outside of a test")]
#![allow(clippy::disallowed_methods, reason = "tests meet files, the clock and the environment")]

mod allocator;
mod damage;
mod elf_corpus;
mod elf_files;
mod elf_mutation;
mod elf_readers;
mod formats;
mod seeds;
#[allow(dead_code, reason = "shared with tests/it, which uses the rest")]
#[path = "../it/support/mod.rs"]
mod support;
mod watchdog;

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use allocator::Counting;
use elf_corpus::Corpus;
use elf_mutation::Mutation;
use watchdog::Watchdog;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The seed where `IMGFORGE_FUZZ_SEED` does not say.
const SEED: u64 = 1;
/// The most times that an input is damaged.
const MOST_MUTATIONS: usize = 6;

/// A damaged ELF file: a file of the corpus by its number, and what happens to it.
#[derive(Debug, Clone)]
struct ElfCase {
    file: usize,
    mutations: Vec<Mutation>,
}

#[test]
fn malformed_elf() {
    let corpus = Corpus::load();
    // Large files take a hundred times as long.
    let file = prop_oneof![30 => 0..corpus.large, 1 => corpus.large..corpus.files.len()];
    let strategy = (file, vec(any::<Mutation>(), 1..=MOST_MUTATIONS))
        .prop_map(|(file, mutations)| ElfCase { file, mutations });
    let whole: Vec<&[u8]> = corpus.files.iter().map(|file| &*file.bytes).collect();
    // Under a minute on one core, unoptimised.
    fuzz("elf", 1_000, &whole, &strategy, |case| corpus.damaged(case), elf_readers::read);
}

/// Gives every file of `whole`, and so many damaged inputs, to `read`.
fn fuzz<C: Debug>(
    name: &str,
    cases: u32,
    whole: &[&[u8]],
    strategy: &impl Strategy<Value = C>,
    bytes: impl Fn(&C) -> Vec<u8>,
    read: impl Fn(&[u8]),
) {
    let watchdog = Watchdog::start(name);
    if let Some(path) = std::env::var_os("IMGFORGE_FUZZ_INPUT") {
        return read(&std::fs::read(path).expect("IMGFORGE_FUZZ_INPUT names a file"));
    }
    whole.iter().for_each(|file| read(file));
    // A stack that overflows ends the process at once: a long run writes every input down before it is read.
    let is_long = std::env::var_os("IMGFORGE_FUZZ_CASES").is_some();
    let (cases, seed) = (number("IMGFORGE_FUZZ_CASES", cases), number("IMGFORGE_FUZZ_SEED", SEED));
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 200,
        max_shrink_time: 60_000,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, random(seed));
    let ran = runner.run(strategy, |case| {
        let bytes = bytes(&case);
        watchdog.begin(&bytes);
        if is_long {
            keep(&format!("{name}-being-read"), &bytes);
        }
        // A panic that leaves the closure is a failure too, and made smaller.
        read(&bytes);
        watchdog.end();
        Ok::<_, TestCaseError>(())
    });
    watchdog.end();
    if let Err(TestError::Fail(reason, case)) = ran {
        let path = keep(name, &bytes(&case));
        panic!(
            "{reason}\nin {case:?}, seed {seed}\nagain: IMGFORGE_FUZZ_INPUT={} cargo nextest run --test fuzz {name}",
            path.display()
        );
    }
    eprintln!("{name}: {cases} inputs of seed {seed}; {}; {}", allocator::worst(), watchdog.longest());
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
fn keep(name: &str, bytes: &[u8]) -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fuzz");
    std::fs::create_dir_all(&directory).expect("target can be written to");
    let path = directory.join(format!("{name}.bin"));
    std::fs::write(&path, bytes).expect("target can be written to");
    path
}
