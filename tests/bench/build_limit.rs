//! The least that any build of wheels must do, for `tests/bench/build`: inflate every file once, hash it before and
//! after, and write it as it was. The inflater and the hash are imgforge's own: what makes those faster raises the limit.
//! `limit OUTPUT THREADS WHEEL…` prints how many seconds that took.
#![allow(clippy::disallowed_methods, reason = "a benchmark meets the machine")]

use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use imgforge::deflate::{Inflater, Passage};
use imgforge::oci::{Digest, Hasher};
use rawzip::{CompressionMethod, RECOMMENDED_BUFFER_SIZE, ZipArchive};

const CHUNK: usize = 256 << 10;

type Failure = Box<dyn Error + Send + Sync>;

/// A file of a wheel: where its bytes are, and what they inflate to.
struct Member {
    wheel: usize,
    start: u64,
    end: u64,
    deflated: bool,
    size: u64,
}

fn main() -> Result<(), Failure> {
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
    let work = |number: usize| -> Result<Vec<(Digest, Digest)>, Failure> {
        let mut written =
            BufWriter::with_capacity(1 << 20, File::create(Path::new(output).join(number.to_string()))?);
        let (mut inflater, mut digests) = (Inflater::default(), Vec::new());
        while let Some(member) = members.get(next.fetch_add(1, Ordering::Relaxed)) {
            digests.push(pass(&files[member.wheel], member, &mut inflater, &mut written)?);
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
        Ok::<_, Failure>(count)
    })?;
    assert_eq!(count, members.len());
    println!("{:.4}", start.elapsed().as_secs_f64());
    Ok(())
}

fn list(path: &str, wheel: usize) -> Result<Vec<Member>, Failure> {
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

/// A member on its way: read, hashed, inflated, hashed and written.
struct Pass<'a, W> {
    file: &'a File,
    position: u64,
    end: u64,
    before: Hasher,
    after: Hasher,
    written: &'a mut W,
}

impl<W: Write> Passage for Pass<'_, W> {
    type Error = Failure;

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        let most = buffer.len().min((self.end - self.position) as usize);
        let count = self.file.read_at(&mut buffer[..most], self.position)?;
        self.position += count as u64;
        Ok(count)
    }

    fn passed(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.before.update(bytes);
        Ok(self.written.write_all(bytes)?)
    }

    fn inflated(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.after.update(bytes);
        Ok(())
    }
}

fn pass(
    file: &File,
    member: &Member,
    inflater: &mut Inflater,
    written: &mut impl Write,
) -> Result<(Digest, Digest), Failure> {
    let (before, after) = (Hasher::default(), Hasher::default());
    let mut pass = Pass { file, position: member.start, end: member.end, before, after, written };
    if member.deflated {
        inflater.inflate(&mut pass)?;
    } else {
        let mut buffer = vec![0; CHUNK];
        while let count @ 1.. = pass.read(&mut buffer)? {
            pass.passed(&buffer[..count])?;
            pass.inflated(&buffer[..count])?;
        }
    }
    Ok((pass.before.finish(), pass.after.finish()))
}
