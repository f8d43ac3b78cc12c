//! The least that any build of wheels must do, for `tests/bench/build`: inflate every file once, hash it before and
//! after, and write it as it was. `limit OUTPUT THREADS WHEEL…` prints how many seconds that took.
#![allow(clippy::disallowed_methods, reason = "a benchmark meets the machine")]

use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use flate2::{Decompress, FlushDecompress, Status};
use imgforge::oci::{Digest, Hasher};
use rawzip::{CompressionMethod, RECOMMENDED_BUFFER_SIZE, ZipArchive};

const CHUNK: usize = 256 << 10;

/// A file of a wheel: where its bytes are, and what they inflate to.
struct Member {
    wheel: usize,
    start: u64,
    end: u64,
    deflated: bool,
    size: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    let [output, threads, wheels @ ..] = arguments.as_slice() else {
        return Err("usage: limit OUTPUT THREADS WHEEL…; see tests/bench/build".into());
    };
    let start = Instant::now();
    let files = wheels.iter().map(File::open).collect::<io::Result<Vec<File>>>()?;
    let mut members = Vec::new();
    for (wheel, path) in wheels.iter().enumerate() {
        members.extend(list(path, wheel)?);
    }
    // The largest first, so that the last ones are small.
    members.sort_by_key(|member| std::cmp::Reverse(member.size));
    let next = AtomicUsize::new(0);
    let work = |number: usize| -> io::Result<Vec<(Digest, Digest)>> {
        let mut written =
            BufWriter::with_capacity(1 << 20, File::create(Path::new(output).join(number.to_string()))?);
        let mut digests = Vec::new();
        while let Some(member) = members.get(next.fetch_add(1, Ordering::Relaxed)) {
            digests.push(pass(&files[member.wheel], member, &mut written)?);
        }
        // As a store must, before it calls a blob its own.
        written.into_inner().map_err(|error| error.into_error())?.sync_data()?;
        Ok(digests)
    };
    let count = thread::scope(|scope| {
        let workers: Vec<_> =
            (0..threads.parse()?).map(|number| scope.spawn(move || (number, work(number)))).collect();
        let mut count = 0;
        for worker in workers {
            count += worker.join().expect("nothing panics there").1?.len();
        }
        Ok::<_, Box<dyn Error>>(count)
    })?;
    assert_eq!(count, members.len());
    println!("{:.4}", start.elapsed().as_secs_f64());
    Ok(())
}

fn list(path: &str, wheel: usize) -> Result<Vec<Member>, Box<dyn Error>> {
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    let archive = ZipArchive::from_file(File::open(path)?, &mut buffer)?;
    let mut members = Vec::new();
    let mut entries = archive.entries(&mut buffer);
    while let Some(entry) = entries.next_entry()? {
        let (start, end) = archive.get_entry(entry.wayfinder())?.compressed_data_range();
        let deflated = entry.compression_method() == CompressionMethod::DEFLATE;
        members.push(Member { wheel, start, end, deflated, size: entry.uncompressed_size_hint() });
    }
    Ok(members)
}

/// Reads, hashes, inflates, hashes and writes.
fn pass(file: &File, member: &Member, written: &mut impl Write) -> io::Result<(Digest, Digest)> {
    let (mut before, mut after) = (Hasher::default(), Hasher::default());
    let mut inflater = Decompress::new(false);
    let (mut input, mut output) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut position = member.start;
    while position < member.end {
        let most = CHUNK.min((member.end - position) as usize);
        let count = file.read_at(&mut input[..most], position)?;
        position += count as u64;
        let mut rest = &input[..count];
        before.update(rest);
        written.write_all(rest)?;
        if !member.deflated {
            after.update(rest);
            continue;
        }
        loop {
            let (consumed, produced) = (inflater.total_in(), inflater.total_out());
            let status = inflater.decompress(rest, &mut output, FlushDecompress::None)?;
            rest = &rest[(inflater.total_in() - consumed) as usize..];
            let produced = (inflater.total_out() - produced) as usize;
            after.update(&output[..produced]);
            if status == Status::StreamEnd || (rest.is_empty() && produced < output.len()) {
                break;
            }
        }
    }
    Ok((before.finish(), after.finish()))
}
