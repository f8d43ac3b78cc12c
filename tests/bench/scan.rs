//! The programs that `tests/bench/scan` compares: imgforge's scan of a base, the least that any scan must do, and inflating
//! alone.
#![allow(clippy::disallowed_methods, reason = "a benchmark meets the machine")]

use std::error::Error;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use flate2::bufread::MultiGzDecoder;
use imgforge::net::engine::{EngineSettings, Engines};
use imgforge::net::http::{Http, HttpSettings};
use imgforge::net::registry::{Registries, RegistrySettings};
use imgforge::oci::{Digest, Hasher};
use imgforge::source::{self, SourceAccess, SourceImage, SourceLayer};
use imgforge::store::Store;

const CHUNK: usize = 256 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let start = Instant::now();
    match arguments[..] {
        ["scan", layout, threads, store] => {
            source::scan(&open(layout)?, &Store::open(store)?, threads.parse()?, &|_| ())?;
        }
        ["plain", layout, threads] => plain(&open(layout)?, Path::new(layout), threads.parse()?),
        ["inflate", layout, threads] => {
            each_layer(&open(layout)?, Path::new(layout), threads.parse()?, |blob, _| {
                let mut tar = MultiGzDecoder::new(BufReader::with_capacity(CHUNK, File::open(blob)?));
                let mut chunk = vec![0; CHUNK];
                while tar.read(&mut chunk)? > 0 {}
                Ok(())
            });
        }
        _ => {
            return Err(
                "usage: scan LAYOUT THREADS STORE, or (plain|inflate) LAYOUT THREADS; see tests/bench/scan"
                    .into(),
            );
        }
    }
    println!("{:.4}", start.elapsed().as_secs_f64());
    Ok(())
}

fn open(layout: &str) -> Result<SourceImage, Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let http = Arc::new(Http::new(HttpSettings::default())?);
    let engines = Engines::new(Arc::clone(&http), EngineSettings::default());
    let registries = Registries::new(http, Store::open(directory.path())?, RegistrySettings::default());
    let access = SourceAccess { registries: &registries, engines: &engines };
    Ok(source::open(&format!("oci:{layout}").parse()?, None, access)?)
}

/// Inflates every layer and hashes it before and after, several layers at once.
fn plain(image: &SourceImage, layout: &Path, threads: usize) {
    each_layer(image, layout, threads, |blob, layer| {
        assert_eq!(inflate(blob)?, (layer.descriptor.digest(), layer.diff_id));
        Ok(())
    });
}

/// Does `work` with the blob of every layer, several at once, the largest first.
fn each_layer(
    image: &SourceImage,
    layout: &Path,
    threads: usize,
    work: impl Fn(&Path, &SourceLayer) -> io::Result<()> + Sync,
) {
    let mut layers: Vec<_> = image.layers.iter().collect();
    layers.sort_by_key(|layer| std::cmp::Reverse(layer.descriptor.size()));
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(layer) = layers.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let blob = layout.join("blobs/sha256").join(layer.descriptor.digest().hex());
                    work(&blob, layer).expect("the layers of the benchmark are sound");
                }
            });
        }
    });
}

/// One thread reads, hashes and inflates the blob, another hashes the tar: as many threads as a scan has.
fn inflate(blob: &Path) -> io::Result<(Digest, Digest)> {
    let mut hashed = Hashed { blob: File::open(blob)?, hasher: Hasher::default() };
    let mut diff_id = Hasher::default();
    let (full, chunks) = mpsc::sync_channel::<Vec<u8>>(4);
    let (emptied, empty) = mpsc::channel();
    thread::scope(|scope| {
        let inflating = scope.spawn(|| -> io::Result<()> {
            let (full, empty): (_, mpsc::Receiver<Vec<u8>>) = (full, empty);
            let mut tar = MultiGzDecoder::new(BufReader::with_capacity(CHUNK, &mut hashed));
            loop {
                let mut chunk = empty.try_recv().unwrap_or_default();
                chunk.resize(CHUNK, 0);
                let count = tar.read(&mut chunk)?;
                chunk.truncate(count);
                if count == 0 || full.send(chunk).is_err() {
                    return Ok(());
                }
            }
        });
        for chunk in chunks {
            diff_id.update(&chunk);
            emptied.send(chunk).unwrap_or_default();
        }
        inflating.join().expect("nothing panics there")
    })?;
    Ok((hashed.hasher.finish(), diff_id.finish()))
}

struct Hashed {
    blob: File,
    hasher: Hasher,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.blob.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}
