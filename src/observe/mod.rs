//! The facts of a layer, observed once as its content passes.
//!
//! There are two kinds, because they are read at different times. [`InventoryFacts`] are the few that an inventory is
//! made of: every plan reads them, so they are kept small. [`CheckFacts`] have every path and every library's symbols:
//! only the check of a finished image reads them. Facts of layers stack to those of an image.

pub mod check_facts;
mod condense;
pub mod inventory_facts;
pub mod layered;
mod relevance;
mod version;

use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

use self::check_facts::{CheckFacts, FileContent, FileItem, KnownOfFile};
use self::inventory_facts::{FileFact, InventoryFacts, Relevance, TextForm};
use self::layered::is_whiteout;
use self::version::VersionSearch;
use crate::cpython::imports::Imports;
use crate::cuda::{GpuCode, GpuCodeSearch, GpuFile, OpensSearch};
use crate::debian::copyright;
use crate::elf::buffer_pool::BufferPool;
use crate::elf::probe::ProbeBudget;
use crate::elf::{ElfError, Incomplete, Linked, Outcome, Probe};
use crate::oci::{Entry, EntryKind, Hasher};

/// The facts of a layer.
#[derive(Debug, Default)]
pub struct ObservedLayer {
    /// For an inventory.
    pub facts: InventoryFacts,
    /// For a check.
    pub evidence: CheckFacts,
    /// The bytes of the texts that were kept.
    texts: u64,
    /// The bytes of the imports that were kept, as text.
    imports: u64,
}

/// The bytes of the texts of one layer that are kept: those of 500 distributions have 30 MB.
const MOST_TEXTS: u64 = 48 << 20;
/// The bytes of the imports of one layer that are kept: those of 14,000 modules, which have 230 MB, take 8 MB.
const MOST_IMPORTS: u64 = 48 << 20;

impl ObservedLayer {
    /// Notes an entry of a layer. Of a file more is noted when it has passed, by a [`FileObserver`].
    pub fn note(&mut self, entry: &Entry) {
        self.facts.note(entry);
        self.evidence.note(entry);
    }

    /// Returns whether a text may be kept beside those that were.
    fn has_room(&mut self, text: &[u8]) -> bool {
        self.texts = self.texts.saturating_add(text.len() as u64);
        self.texts <= MOST_TEXTS
    }

    /// Returns whether the imports of a module may be kept beside those that were.
    fn has_room_for(&mut self, imports: &Imports) -> bool {
        self.imports = self.imports.saturating_add(imports.as_str().len() as u64);
        self.imports <= MOST_IMPORTS
    }
}

/// Observes one file as its content passes.
#[derive(Debug)]
pub struct FileObserver {
    file: PassingFile,
    hasher: Option<Hasher>,
    text: Option<Vec<u8>>,
    probe: Probe,
    opens: OpensSearch,
    gpu: GpuCodeSearch,
    version: Option<VersionSearch>,
}

/// A file before its content has passed.
#[derive(Debug)]
struct PassingFile {
    path: String,
    mode: u32,
    size: u64,
    interest: Relevance,
    /// The code for GPUs that its name promises.
    gpu: Option<GpuFile>,
}

/// Everything but what the headers say.
#[derive(Debug)]
struct Seen {
    hasher: Option<Hasher>,
    text: Option<Vec<u8>>,
    opens: Vec<String>,
    gpu: Option<GpuCode>,
    version: Option<String>,
}

/// The result of reading the headers.
enum Headers {
    NotElf,
    Elf(Box<Linked>),
    Damaged(String),
}

impl FileObserver {
    /// Watches the file of `entry`; how much is kept of it is `budget`'s. `None` for what is no regular file, or stands for
    /// one that is gone.
    pub fn new(entry: &Entry, budget: ProbeBudget) -> Option<Self> {
        let EntryKind::File { size } = entry.kind else { return None };
        if is_whiteout(entry) {
            return None;
        }
        let interest = Relevance::of_file(&entry.path, entry.mode, size);
        let probe = match interest {
            Relevance::CudaLibrary => Probe::linking_with_symbols(size),
            _ => Probe::linking(size),
        };
        let version = match interest {
            Relevance::Versioned(text) => Some(VersionSearch::new(text)),
            _ => None,
        };
        let limit = match interest {
            Relevance::Text(form) => Some(form.limit()),
            _ => check_facts::text_limit(&entry.path).or_else(|| check_facts::module_limit(&entry.path)),
        };
        let gpu = GpuFile::of(&entry.path);
        Some(Self {
            hasher: check_facts::is_recorded(&entry.path).then(Hasher::default),
            text: limit.filter(|limit| size <= *limit).map(|_| Vec::new()),
            probe: probe.keeping(budget),
            opens: OpensSearch::default(),
            gpu: GpuCodeSearch::new(gpu.unwrap_or(GpuFile::Elf), size),
            version,
            file: PassingFile { path: entry.path.clone(), mode: entry.mode, size, interest, gpu },
        })
    }

    /// Keeps as much as it would of a file that cannot be read again, while `shelf` has memory for it.
    pub fn shelved(self, shelf: &'static BufferPool) -> Self {
        Self { probe: self.probe.shelved(shelf), ..self }
    }

    /// Leaves the digest to the caller; gives whether there must be one: see [`CheckFacts::note_digests`].
    pub fn leave_digest(&mut self) -> bool {
        self.hasher.take().is_some()
    }

    /// Takes the next bytes of the file.
    pub fn update(&mut self, bytes: &[u8]) {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        if let Some(text) = &mut self.text {
            text.extend_from_slice(bytes);
        }
        self.probe.update(bytes);
        if self.file.gpu.is_some() || self.probe.is_elf() {
            self.gpu.update(bytes);
        }
        if self.probe.is_elf() {
            self.opens.update(bytes);
            if let Some(version) = &mut self.version {
                version.update(bytes);
            }
        }
    }

    /// Notes what was learned; `reopen` gives the content again for what had passed unseen.
    pub fn finish<R: Read>(
        self,
        learned: &mut ObservedLayer,
        reopen: impl Fn() -> io::Result<R>,
    ) -> io::Result<()> {
        let (file, seen, outcome) = self.end();
        let headers = complete(outcome, reopen)?;
        note(learned, file, seen, headers);
        Ok(())
    }

    /// Notes what was learned of content that passes as part of a stream; gives what cannot be told before the stream
    /// passes once more.
    pub fn finish_once(self, learned: &mut ObservedLayer) -> Option<NeedsAnotherPass> {
        let (file, seen, outcome) = self.end();
        NeedsAnotherPass::note(learned, file, seen, outcome)
    }

    fn end(self) -> (PassingFile, Seen, Result<Outcome, ElfError>) {
        let seen = Seen {
            hasher: self.hasher,
            text: self.text,
            opens: self.opens.finish(),
            gpu: self.gpu.finish(),
            version: self.version.and_then(|search| search.found),
        };
        (self.file, seen, self.probe.finish())
    }
}

/// A library of a stream of which too much passed unseen: its names lie behind what a watcher keeps, as where `patchelf`
/// moved many of them.
#[derive(Debug)]
pub struct NeedsAnotherPass {
    file: PassingFile,
    seen: Seen,
    incomplete: Incomplete,
}

/// The bytes kept behind a missed part: a table leads to the next one there.
const BEHIND: u64 = 8 << 20;
/// The same of all parts together.
const MOST_BEHIND: u64 = 32 << 20;

/// The most bytes read again behind each missed part: fewer, as they can be had again at once.
const REREAD_BEHIND: u64 = 2 << 20;

impl NeedsAnotherPass {
    /// Notes what is known of a file, unless more of it must be seen.
    fn note(
        learned: &mut ObservedLayer,
        file: PassingFile,
        seen: Seen,
        outcome: Result<Outcome, ElfError>,
    ) -> Option<Self> {
        let headers = match outcome {
            Ok(Outcome::Incomplete(incomplete)) => {
                return Some(Self { file, seen, incomplete });
            }
            Ok(Outcome::Elf(linked)) => Headers::Elf(Box::new(linked)),
            Ok(Outcome::NotElf) => Headers::NotElf,
            Err(error) => Headers::Damaged(error.to_string()),
        };
        note(learned, file, seen, headers);
        None
    }

    /// The path and the size in bytes of the file that must pass once more.
    pub fn file(&self) -> (&str, u64) {
        (&self.file.path, self.file.size)
    }

    /// Takes a part of the file that begins at `offset`, and keeps what is missed of it, with what lies behind. Parts come
    /// in order.
    pub fn update(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        let behind = self.behind();
        let mut kept_to = offset;
        for range in self.incomplete.missing().to_vec() {
            let (from, to) = (range.start.max(kept_to), range.end.saturating_add(behind).min(end));
            if from < to {
                self.incomplete.supply(from, &bytes[(from - offset) as usize..(to - offset) as usize]);
                kept_to = to;
            }
        }
    }

    /// The number of bytes kept behind each missed part.
    fn behind(&self) -> u64 {
        behind(&self.incomplete, BEHIND)
    }

    /// Returns whether nothing of the file is kept from `offset` on.
    pub fn wants_nothing_from(&self, offset: u64) -> bool {
        self.incomplete.missing().last().is_none_or(|range| range.end.saturating_add(self.behind()) <= offset)
    }

    /// Notes what is known now; gives itself back while something is still missing.
    pub fn finish(self, learned: &mut ObservedLayer) -> Option<Self> {
        Self::note(learned, self.file, self.seen, self.incomplete.finish())
    }

    /// Notes that the file is there, and nothing of its headers.
    pub fn give_up(self, learned: &mut ObservedLayer) {
        let missing = Headers::Damaged("its names are scattered all over it".to_owned());
        note(learned, self.file, self.seen, missing);
    }
}

fn note(learned: &mut ObservedLayer, file: PassingFile, mut seen: Seen, headers: Headers) {
    let may_be_script = file.interest == Relevance::Text(TextForm::Script);
    let is_text = check_facts::text_limit(&file.path).is_some();
    let is_module = !is_text && check_facts::module_limit(&file.path).is_some();
    let is_read = |text: &Vec<u8>| !may_be_script || is_script(text) || is_text || is_module;
    seen.text = seen.text.filter(is_read);
    if check_facts::is_copyright(&file.path) {
        // Only the names of licences are kept, of files of which an image may have thousands.
        seen.text = seen.text.and_then(licences);
    }
    let imports = seen.text.as_deref().filter(|_| is_module).map(Imports::read);
    let module = imports.filter(|imports| learned.has_room_for(imports)).map(FileContent::Module);
    // Of a module's text nothing is kept but that.
    let is_kept = is_text || matches!(file.interest, Relevance::Text(_));
    seen.text = seen.text.filter(|text| is_kept && learned.has_room(text));
    let (linked, content) = match headers {
        Headers::Elf(linked) => (Some(linked), None),
        Headers::NotElf => (None, None),
        Headers::Damaged(reason) => (None, Some(FileContent::Damaged(reason))),
    };
    match (file.interest, &seen.text) {
        (Relevance::Text(TextForm::Script), Some(text)) if !is_script(text) => {}
        (Relevance::Text(form), Some(text)) => learned.facts.note_text(&file.path, form, text),
        (Relevance::Library | Relevance::CudaLibrary | Relevance::Versioned(_), _) => {
            learned.facts.note_file(
                &file.path,
                FileFact {
                    size: file.size,
                    elf: linked.as_ref().map(|linked| linked.object.elf.clone()),
                    symbols: linked.as_ref().and_then(|linked| linked.symbols.clone()).unwrap_or_default(),
                    version: seen.version,
                    ..FileFact::default()
                },
            );
        }
        _ => {}
    }
    let text = seen.text.filter(|_| is_text).map(FileContent::Text);
    let object = linked.map(|linked| FileContent::Object(Box::new(linked.object), seen.opens));
    learned.evidence.note_file(
        &file.path,
        FileItem::new(
            file.mode,
            file.size,
            KnownOfFile {
                digest: seen.hasher.map(Hasher::finish),
                content: object.or(content).or(module).or(text).unwrap_or(FileContent::Plain),
                gpu: seen.gpu,
                first: None,
            },
        ),
    );
}

/// The licences that a copyright file names in the readable form, one a line.
fn licences(text: Vec<u8>) -> Option<Vec<u8>> {
    Some(copyright::synopses(&String::from_utf8_lossy(&text))?.join("\n").into_bytes())
}

fn is_script(text: &[u8]) -> bool {
    text.starts_with(b"#!")
}

/// The number of bytes to keep behind each missed part: `most`, while the parts are few.
fn behind(incomplete: &Incomplete, most: u64) -> u64 {
    most.min(MOST_BEHIND / incomplete.missing().len().max(1) as u64)
}

/// The bytes of one read.
const READ: u64 = 128 << 10;

/// Held while a library is read again: the symbols of one may take 20 MB, and those of several several times that.
static REREADING: Mutex<()> = Mutex::new(());

/// The headers of a file, which is read again as long as they lead to an unseen part.
fn complete<R: Read>(
    mut outcome: Result<Outcome, ElfError>,
    reopen: impl Fn() -> io::Result<R>,
) -> io::Result<Headers> {
    let mut reading = None;
    loop {
        let mut incomplete = match outcome {
            Ok(Outcome::Elf(linked)) => return Ok(Headers::Elf(Box::new(linked))),
            Ok(Outcome::NotElf) => return Ok(Headers::NotElf),
            Err(error) => return Ok(Headers::Damaged(error.to_string())),
            Ok(Outcome::Incomplete(incomplete)) => incomplete,
        };
        reading.get_or_insert_with(|| REREADING.lock().unwrap_or_else(PoisonError::into_inner));
        let behind = behind(&incomplete, REREAD_BEHIND);
        let mut buffer = Vec::with_capacity(READ as usize);
        let mut content = reopen()?;
        let mut position = 0;
        for range in incomplete.missing().to_vec() {
            if range.end <= position {
                continue;
            }
            let start = range.start.max(position);
            position += io::copy(&mut content.by_ref().take(start - position), &mut io::sink())?;
            let missing = range.end - start;
            let mut part = content.by_ref().take(missing + behind);
            let mut length = 0;
            while part.by_ref().take(READ).read_to_end(&mut buffer)? > 0 {
                incomplete.supply(start + length, &buffer);
                length += buffer.len() as u64;
                buffer.clear();
            }
            if length < missing {
                return Ok(Headers::Damaged("it is cut short".to_owned()));
            }
            position += length;
        }
        outcome = incomplete.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: u64 = 9 << 20;

    /// The head of a library that needs `count` libraries, whose names lie far apart in what follows it: zeros.
    fn scattered(count: u64) -> (Vec<u8>, u64) {
        let size = (count + 1) * FAR;
        let numbers =
            |numbers: &[u64]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
        let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0".to_vec();
        bytes.extend(numbers(&[0, 64, 0]));
        // Flags, and how large each header is and how many there are: two program headers.
        bytes.extend([0_u16, 0, 64, 56, 2, 64, 0, 0].iter().flat_map(|half| half.to_le_bytes()));
        let names = (1..=count).flat_map(|index| [1, index * FAR]);
        let dynamic: Vec<u64> = names.chain([5, 0, 10, size, 0, 0]).collect();
        bytes.extend(numbers(&[1, 0, 0, 0, size, size, 4096]));
        bytes.extend(numbers(&[2, 176, 176, 176, 8 * dynamic.len() as u64, 8 * dynamic.len() as u64, 8]));
        bytes.extend(numbers(&dynamic));
        bytes.resize(1 << 20, 0);
        (bytes, size)
    }

    /// The file in pieces of a MiB, with their offsets.
    fn pass(head: &[u8], size: u64, mut take: impl FnMut(u64, &[u8])) {
        let zeros = vec![0; head.len()];
        for offset in (0..size).step_by(head.len()) {
            take(offset, if offset == 0 { head } else { &zeros });
        }
    }

    #[test]
    fn what_is_gone_is_no_file() {
        let path = "etc/ld.so.conf.d/.wh.nvidia.conf".to_owned();
        let entry = Entry { path, mode: 0, uid: 0, gid: 0, mtime: 0, kind: EntryKind::File { size: 0 } };
        let mut learned = ObservedLayer::default();
        learned.note(&entry);
        assert!(FileObserver::new(&entry, ProbeBudget::SMALL).is_none());
        assert_eq!(learned.evidence.below("etc/ld.so.conf.d").count(), 0);
    }

    #[test]
    fn modules_take_no_room_from_the_metadata_behind_them() {
        let mut learned = ObservedLayer::default();
        let mut pass = |path: String, text: &[u8]| {
            let kind = EntryKind::File { size: text.len() as u64 };
            let entry = Entry { path, mode: 0o644, uid: 0, gid: 0, mtime: 0, kind };
            let mut observer = FileObserver::new(&entry, ProbeBudget::SMALL).unwrap();
            observer.update(text);
            observer.finish(&mut learned, || Ok(io::empty())).unwrap();
        };
        const PACKAGES: &str = "usr/local/lib/python3.11/dist-packages";
        let module = [b"import json\n#".to_vec(), vec![b'x'; (1 << 20) - 20], b"\n".to_vec()].concat();
        for number in 0..=MOST_TEXTS >> 20 {
            pass(format!("{PACKAGES}/large/m{number}.py"), &module);
        }
        pass(format!("{PACKAGES}/large/script.py"), b"import late\n");
        let metadata = format!("{PACKAGES}/zeta-1.0.dist-info/METADATA");
        pass(metadata.clone(), b"Metadata-Version: 2.1\nName: zeta\nVersion: 1.0\n");
        assert!(learned.evidence.text(&metadata).is_some());
        assert!(
            learned.imports < 1 << 10 && learned.texts < 1 << 10,
            "{} {}",
            learned.imports,
            learned.texts
        );
    }

    #[test]
    fn names_that_are_scattered_all_over_a_file_do_not_keep_all_of_it() {
        let (head, size) = scattered(20);
        let entry = Entry {
            path: "usr/lib/libdemo.so".to_owned(),
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: 0,
            kind: EntryKind::File { size },
        };
        let mut watcher = FileObserver::new(&entry, ProbeBudget::LARGE).unwrap();
        pass(&head, size, |_, bytes| watcher.update(bytes));
        let mut learned = ObservedLayer::default();
        let mut unfinished = watcher.finish_once(&mut learned).expect("names passed unseen");
        assert!(unfinished.incomplete.missing().len() > 10, "{unfinished:?}");
        let before = unfinished.incomplete.kept();
        pass(&head, size, |offset, bytes| unfinished.update(offset, bytes));
        let kept = unfinished.incomplete.kept() - before;
        assert!(kept <= MOST_BEHIND + (1 << 20), "{kept} bytes are kept of {size}");
        assert!(unfinished.finish(&mut learned).is_none());
        let needed = learned.evidence.file("usr/lib/libdemo.so").and_then(|(_, file)| file.object());
        assert_eq!(needed.unwrap().elf.dynamic.as_ref().unwrap().needed.len(), 20);
    }
}
