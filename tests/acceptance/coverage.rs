//! Prints the code for GPUs that imgforge finds in files, one JSON document a line, for `tests/acceptance/gpu_coverage` to
//! hold against cuobjdump: `coverage FILE…`.
//!
//! Beside the images it says how long the search took, and how long to hash the file takes, which a check does twice.
#![allow(clippy::disallowed_methods, reason = "a program of the tests")]

use std::error::Error;
use std::time::Instant;

use imgforge::cuda::{GpuCodeSearch, GpuFile};
use imgforge::oci::Digest;
use serde_json::json;

/// The bytes that pass at once, as when a layer is read.
const CHUNK: usize = 256 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    for path in std::env::args().skip(1) {
        let content = std::fs::read(&path)?;
        let started = Instant::now();
        Digest::of(&content);
        let hashed = started.elapsed();
        let started = Instant::now();
        let mut search = GpuCodeSearch::new(GpuFile::of(&path).unwrap_or(GpuFile::Elf), content.len() as u64);
        content.chunks(CHUNK).for_each(|chunk| search.update(chunk));
        let code = search.finish().unwrap_or_default();
        let searched = started.elapsed();
        println!(
            "{}",
            json!({
                "path": path,
                "images": code.images(),
                "bytes": content.len(),
                "searched": searched.as_secs_f64(),
                "hashed": hashed.as_secs_f64(),
            })
        );
    }
    Ok(())
}
