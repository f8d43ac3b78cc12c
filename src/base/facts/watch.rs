//! Learns a file's facts as its content passes.

use std::io::{self, Read};
use std::ops::Range;

use super::interest::{Form, Interest, VersionText};
use super::{Facts, FileFact};
use crate::elf::{Elf, Incomplete, Outcome, Probe, Symbols};

/// Learns a file's [`Facts`] as its content passes.
#[derive(Debug)]
pub struct Watcher {
    path: String,
    size: u64,
    watched: Watched,
}

#[derive(Debug)]
enum Watched {
    Nothing,
    Library { probe: Probe, version: Option<VersionSearch> },
    CudaLibrary { probe: Probe<(Elf, Symbols)> },
    Text { form: Form, text: Vec<u8> },
}

impl Watcher {
    /// Watches a file of `size` bytes for what an inventory needs. Its content is part of a stream: nothing of it alone is
    /// read again.
    pub fn new(path: &str, size: u64) -> Self {
        let library = |version| Watched::Library { probe: Probe::new(size).once(), version };
        let watched = match Interest::of(path) {
            Interest::Library => library(None),
            Interest::CudaLibrary => Watched::CudaLibrary { probe: Probe::with_symbols(size).once() },
            Interest::Versioned(text) => library(Some(VersionSearch::new(text))),
            Interest::Text(form) => Watched::text(form, size),
            Interest::None => Watched::Nothing,
        };
        Self::of(path, size, watched)
    }

    /// Watches a file of `size` bytes for what the loader's cache needs, and keeps little: what is missing at the end
    /// is read again.
    pub fn for_loader(path: &str, size: u64) -> Self {
        let watched = match Interest::of_loader(path) {
            Interest::Library => Watched::Library { probe: Probe::new(size), version: None },
            Interest::Text(form) => Watched::text(form, size),
            Interest::CudaLibrary | Interest::Versioned(_) | Interest::None => Watched::Nothing,
        };
        Self::of(path, size, watched)
    }

    fn of(path: &str, size: u64, watched: Watched) -> Self {
        // A path that does not matter is not copied: most do not.
        let path = if matches!(watched, Watched::Nothing) { String::new() } else { path.to_owned() };
        Self { path, size, watched }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.watched {
            Watched::Nothing => {}
            Watched::Text { text, .. } => text.extend_from_slice(bytes),
            Watched::CudaLibrary { probe } => probe.update(bytes),
            Watched::Library { probe, version } => {
                probe.update(bytes);
                if let Some(version) = version {
                    version.update(bytes);
                }
            }
        }
    }

    /// Notes what was learned; `reopen` gives the content again for what had passed unseen.
    pub fn finish<R: Read>(self, facts: &mut Facts, reopen: impl Fn() -> io::Result<R>) -> io::Result<()> {
        let Self { path, size, watched } = self;
        match watched {
            Watched::Nothing => {}
            Watched::Text { form, text } => facts.note_text(&path, form, &text),
            Watched::Library { probe, version } => {
                let elf = complete(probe, reopen)?;
                let version = version.and_then(|search| search.found);
                facts.note_file(&path, FileFact { size, elf, version, ..FileFact::default() });
            }
            Watched::CudaLibrary { probe } => {
                let (elf, symbols) = complete(probe, reopen)?.unzip();
                let symbols = symbols.unwrap_or_default();
                facts.note_file(&path, FileFact { size, elf, symbols, ..FileFact::default() });
            }
        }
        Ok(())
    }

    /// Notes what was learned of content that passes as part of a stream; gives what cannot be told before the stream
    /// passes once more.
    pub fn finish_once(self, facts: &mut Facts) -> Option<Unfinished> {
        let Self { path, size, watched } = self;
        match watched {
            Watched::Nothing => None,
            Watched::Text { form, text } => {
                facts.note_text(&path, form, &text);
                None
            }
            Watched::Library { probe, version } => {
                let version = version.and_then(|search| search.found);
                Unfinished::note(facts, path, size, Known::Library { outcome: probe.finish().ok(), version })
            }
            Watched::CudaLibrary { probe } => {
                Unfinished::note(facts, path, size, Known::CudaLibrary { outcome: probe.finish().ok() })
            }
        }
    }
}

/// A library of a stream of which too much passed unseen: its names lie behind what a watcher keeps, as where `patchelf`
/// moved many of them.
#[derive(Debug)]
pub struct Unfinished {
    path: String,
    size: u64,
    library: Missed,
    /// What was handed over since it was last asked, by the offset of its first byte.
    supplied: Vec<(u64, Vec<u8>)>,
}

/// How much is kept behind what is missed, in bytes: the names of cuSPARSELt take 26 MB.
const BEHIND: u64 = 32 << 20;

#[derive(Debug)]
enum Missed {
    Library { incomplete: Incomplete<Elf>, version: Option<String> },
    CudaLibrary { incomplete: Incomplete<(Elf, Symbols)> },
}

fn missing(library: &Missed) -> &[Range<u64>] {
    match library {
        Missed::Library { incomplete, .. } => incomplete.missing(),
        Missed::CudaLibrary { incomplete } => incomplete.missing(),
    }
}

/// What is known of a library that passed; no outcome for one that is not well formed.
enum Known {
    Library { outcome: Option<Outcome<Elf>>, version: Option<String> },
    CudaLibrary { outcome: Option<Outcome<(Elf, Symbols)>> },
}

impl Unfinished {
    /// Notes what is known of a library, unless more of it must be seen.
    fn note(facts: &mut Facts, path: String, size: u64, known: Known) -> Option<Self> {
        let fact = match known {
            Known::Library { outcome: Some(Outcome::Incomplete(incomplete)), version } => {
                let library = Missed::Library { incomplete, version };
                return Some(Self { path, size, library, supplied: Vec::new() });
            }
            Known::CudaLibrary { outcome: Some(Outcome::Incomplete(incomplete)) } => {
                let library = Missed::CudaLibrary { incomplete };
                return Some(Self { path, size, library, supplied: Vec::new() });
            }
            Known::Library { outcome, version } => {
                let elf = match outcome {
                    Some(Outcome::Elf(elf)) => Some(elf),
                    _ => None,
                };
                FileFact { size, elf, version, ..FileFact::default() }
            }
            Known::CudaLibrary { outcome } => {
                let (elf, symbols) = match outcome {
                    Some(Outcome::Elf((elf, symbols))) => (Some(elf), symbols),
                    _ => (None, Symbols::default()),
                };
                FileFact { size, elf, symbols, ..FileFact::default() }
            }
        };
        facts.note_file(&path, fact);
        None
    }

    /// The path and the size in bytes of the file that must pass once more.
    pub fn file(&self) -> (&str, u64) {
        (&self.path, self.size)
    }

    /// Takes a part of the file that begins at `offset`, and keeps what is missed of it, with what lies behind: a table
    /// leads to the next one there. Parts come in order.
    pub fn update(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        let mut kept_to = offset;
        for range in missing(&self.library) {
            let (from, to) = (range.start.max(kept_to), range.end.saturating_add(BEHIND).min(end));
            if from < to {
                let part = &bytes[(from - offset) as usize..(to - offset) as usize];
                match self.supplied.last_mut().filter(|(start, kept)| start + kept.len() as u64 == from) {
                    Some((_, kept)) => kept.extend_from_slice(part),
                    None => self.supplied.push((from, part.to_vec())),
                }
                kept_to = to;
            }
        }
    }

    /// Whether nothing of the file is kept from `offset` on.
    pub fn wants_nothing_from(&self, offset: u64) -> bool {
        missing(&self.library).last().is_none_or(|range| range.end.saturating_add(BEHIND) <= offset)
    }

    /// Notes what is known now; gives itself back while something is still missing.
    pub fn finish(self, facts: &mut Facts) -> Option<Self> {
        let Self { path, size, library, supplied } = self;
        let known = match library {
            Missed::Library { mut incomplete, version } => {
                supplied.into_iter().for_each(|(offset, bytes)| incomplete.supply(offset, bytes));
                Known::Library { outcome: incomplete.finish().ok(), version }
            }
            Missed::CudaLibrary { mut incomplete } => {
                supplied.into_iter().for_each(|(offset, bytes)| incomplete.supply(offset, bytes));
                Known::CudaLibrary { outcome: incomplete.finish().ok() }
            }
        };
        Self::note(facts, path, size, known)
    }

    /// Notes that the file is there, and nothing of its content.
    pub fn give_up(self, facts: &mut Facts) {
        facts.note_file(&self.path, FileFact { size: self.size, ..FileFact::default() });
    }
}

impl Watched {
    fn text(form: Form, size: u64) -> Self {
        if size <= form.limit() { Self::Text { form, text: Vec::new() } } else { Self::Nothing }
    }
}

/// What the headers of a library say; `None` for what is not ELF, or not well formed.
fn complete<T, R: Read>(probe: Probe<T>, reopen: impl Fn() -> io::Result<R>) -> io::Result<Option<T>> {
    let mut outcome = probe.finish();
    loop {
        match outcome {
            Ok(Outcome::Elf(facts)) => return Ok(Some(facts)),
            Ok(Outcome::NotElf) | Err(_) => return Ok(None),
            Ok(Outcome::Incomplete(mut incomplete)) => {
                let mut content = reopen()?;
                let mut position = 0;
                for range in incomplete.missing().to_vec() {
                    position +=
                        io::copy(&mut content.by_ref().take(range.start - position), &mut io::sink())?;
                    let mut bytes = Vec::new();
                    let length =
                        content.by_ref().take(range.end.saturating_sub(position)).read_to_end(&mut bytes)?
                            as u64;
                    if position + length < range.end {
                        return Ok(None);
                    }
                    position += length;
                    incomplete.supply(range.start, bytes);
                }
                outcome = incomplete.finish();
            }
        }
    }
}

/// Looks for a version in bytes that pass in pieces.
#[derive(Debug)]
struct VersionSearch {
    text: VersionText,
    /// The end of what passed, in which a version may have begun.
    carried: Vec<u8>,
    found: Option<String>,
}

/// No version is longer, in bytes, with what surrounds it.
const LONGEST_VERSION: usize = 256;

impl VersionSearch {
    fn new(text: VersionText) -> Self {
        Self { text, carried: Vec::new(), found: None }
    }

    fn update(&mut self, bytes: &[u8]) {
        if self.found.is_some() {
            return;
        }
        // The seam first, then the piece itself, which is not copied.
        self.carried.extend_from_slice(&bytes[..bytes.len().min(LONGEST_VERSION)]);
        self.found = self.text.find(&self.carried).or_else(|| self.text.find(bytes));
        if bytes.len() >= LONGEST_VERSION {
            self.carried.clear();
            self.carried.extend_from_slice(&bytes[bytes.len() - LONGEST_VERSION..]);
        } else {
            let surplus = self.carried.len().saturating_sub(LONGEST_VERSION);
            self.carried.drain(..surplus);
        }
    }
}

impl VersionText {
    /// The first version in `bytes` that is whole.
    fn find(self, bytes: &[u8]) -> Option<String> {
        let marker: &[u8] = match self {
            Self::Python { .. } => b"\x003.",
            Self::Cuda => b"Cuda compilation tools, release ",
            Self::GnuLibc => b"GNU C Library (",
        };
        occurrences(bytes, marker).find_map(|start| {
            let rest = &bytes[start..];
            let rest = &rest[..rest.len().min(LONGEST_VERSION)];
            let read = |bytes| std::str::from_utf8(bytes).ok();
            match self {
                Self::Python { minor } => {
                    let end = 1 + rest[1..].iter().position(|byte| *byte == 0)?;
                    read(&rest[1..end]).and_then(|text| python_version(text, minor))
                }
                Self::Cuda => {
                    let end = rest.iter().position(|byte| matches!(byte, 0 | b'\n'))?;
                    let (_, version) = read(&rest[..end])?.rsplit_once(", V")?;
                    Some(version.trim_end().to_owned())
                }
                Self::GnuLibc => {
                    let end = rest.iter().position(|byte| matches!(byte, 0 | b'\n'))?;
                    Some(read(&rest[..end])?.trim_end_matches('.').to_owned())
                }
            }
        })
    }
}

/// `3.11.2` of `3.11.2+`, as builds between releases call themselves; `None` for other texts.
fn python_version(text: &str, minor: Option<u8>) -> Option<String> {
    let text = text.strip_suffix('+').unwrap_or(text);
    let mut parts = text.split('.');
    let (major, found, patch) = (parts.next()?, parts.next()?.parse::<u8>().ok()?, parts.next()?);
    let known = major == "3" && parts.next().is_none() && minor.is_none_or(|minor| minor == found);
    let digits = patch.find(|c: char| !c.is_ascii_digit()).unwrap_or(patch.len());
    let release = digits > 0 && patch[digits..].chars().all(|c| c.is_ascii_digit() || "abrc".contains(c));
    // The oldest Python that wheels of CUDA frameworks were made for; older numbers are of other things.
    const OLDEST: u8 = 6;
    (known && release && found >= OLDEST).then(|| text.to_owned())
}

fn occurrences(bytes: &[u8], marker: &[u8]) -> impl Iterator<Item = usize> {
    let first = marker[0];
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let at = from + bytes.get(from..)?.iter().position(|byte| *byte == first)?;
            from = at + 1;
            if bytes[at..].starts_with(marker) {
                return Some(at);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: VersionText, bytes: &[u8], expected: Option<&str>) {
        for step in [1, 7, 300, 1 << 16] {
            let mut search = VersionSearch::new(text);
            bytes.chunks(step).for_each(|chunk| search.update(chunk));
            assert_eq!(search.found.as_deref(), expected, "in steps of {step}");
        }
    }

    #[test]
    fn a_version_is_found_wherever_the_pieces_end() {
        let padded = |text: &[u8]| [&[b'x'; 700][..], text, &[b'y'; 700][..]].concat();
        let python = VersionText::Python { minor: Some(11) };
        check(python, &padded(b"\x003.2.0\x003.11.2\x00"), Some("3.11.2"));
        check(python, &padded(b"\x003.11.0rc1+\x00"), Some("3.11.0rc1"));
        check(python, &padded(b"\x003.12.1\x003.11\x00 3.11.4\x00"), None);
        check(VersionText::Python { minor: None }, &padded(b"\x003.2.0\x00\x003.13.5\x00"), Some("3.13.5"));
        check(
            VersionText::Cuda,
            &padded(b"Cuda compilation tools, release 12.2, V12.2.140\nBuild"),
            Some("12.2.140"),
        );
        let banner = b"GNU C Library (Debian GLIBC 2.36-9+deb12u14) stable release version 2.36.\n";
        let expected = "GNU C Library (Debian GLIBC 2.36-9+deb12u14) stable release version 2.36";
        check(VersionText::GnuLibc, &padded(banner), Some(expected));
    }
}
