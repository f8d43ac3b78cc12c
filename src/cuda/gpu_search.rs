//! Finds the code for GPUs in a file, as its content passes.
//!
//! Fat binaries are recognised by their first bytes and followed from image to image; what lies in between is not looked
//! at. They are where linkers and libraries put them, compressed or not: images' headers never are. Where a library's
//! sections are known at its end, they say which of it is [linked](CodePlace).

use std::collections::BTreeMap;
use std::mem;

use memchr::memmem;

use super::fatbin::{self, CUBIN_HEADER, CUBIN_MAGIC, FatImage, HEADER, IMAGE_HEADER, ImageHeader, MAGIC};
use super::gpu_code::{CodePlace, GpuCode, ImageKind};
use super::gpu_sections::SectionTable;

/// The bytes that tell whether a fat binary or a cubin begins: two headers.
const LOOK_AHEAD: usize = HEADER + IMAGE_HEADER;
/// The fat binaries of one file that are told apart: cuFFT has some 3,000. The images of others are counted with the last.
const MOST_BINARIES: usize = 1 << 16;
/// The kinds of images of all fat binaries of a file together that are kept: libraries have some thousand.
const MOST_KINDS: usize = 1 << 14;
/// The bytes of a file of PTX in which its first directives are.
const PTX_HEAD: usize = 4 << 10;

/// The kind of a file that may carry code for GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GpuFile {
    /// A program or library.
    Elf,
    /// Fat binaries or cubins as a file.
    Images,
    /// Objects for a linker, in an archive.
    Archive,
    /// PTX as text.
    Ptx,
}

impl GpuFile {
    /// The kind of the file at `path`, by its name; `None` where only its content can tell.
    pub fn of(path: &str) -> Option<Self> {
        match path.rsplit_once('.')?.1 {
            "cubin" | "fatbin" => Some(Self::Images),
            "a" => Some(Self::Archive),
            "ptx" => Some(Self::Ptx),
            _ => None,
        }
    }
}

/// Looks for code for GPUs in bytes that pass in pieces.
#[derive(Debug)]
pub struct GpuCodeSearch {
    file: GpuFile,
    size: u64,
    /// The number of bytes that have passed.
    position: u64,
    /// The offset of the first byte that matters next: those before it were looked at, or are a payload.
    cursor: u64,
    /// The bytes from `cursor` on that have passed, where too few have passed to decide.
    carried: Vec<u8>,
    /// The end of the fat binary whose images come next.
    end: Option<u64>,
    found: FoundBinaries,
    sections: SectionTable,
    /// The beginning, of a file of PTX.
    head: Vec<u8>,
}

impl GpuCodeSearch {
    /// A search in a file of `size` bytes.
    pub fn new(file: GpuFile, size: u64) -> Self {
        Self {
            file,
            size,
            position: 0,
            cursor: 0,
            carried: Vec::new(),
            end: None,
            found: FoundBinaries::default(),
            sections: SectionTable::default(),
            head: Vec::new(),
        }
    }

    /// Takes the next bytes of the file.
    pub fn update(&mut self, bytes: &[u8]) {
        let start = self.position;
        self.position += bytes.len() as u64;
        match self.file {
            GpuFile::Ptx => {
                let left = PTX_HEAD.saturating_sub(self.head.len()).min(bytes.len());
                self.head.extend_from_slice(&bytes[..left]);
            }
            GpuFile::Elf => {
                self.pass(bytes, start);
                self.sections.update(start, bytes, !self.found.is_empty());
            }
            GpuFile::Images | GpuFile::Archive => self.pass(bytes, start),
        }
    }

    /// The code, where there is any.
    pub fn finish(self) -> Option<GpuCode> {
        let mut counts: BTreeMap<ImageKind, u32> = BTreeMap::new();
        let mut count = |place, FatImage { form, target, ptx }: FatImage, number: u32| {
            let sum = counts.entry(ImageKind { place, form, target, ptx }).or_default();
            *sum = sum.saturating_add(number);
        };
        fatbin::ptx(&self.head).into_iter().for_each(|image| count(CodePlace::Linked, image, 1));
        let places = self.sections.places();
        self.found.each(|offset, images| {
            let place = match self.file {
                GpuFile::Elf => places.of(offset),
                GpuFile::Images | GpuFile::Ptx => CodePlace::Linked,
                GpuFile::Archive => CodePlace::Relocatable,
            };
            images.iter().for_each(|(image, number)| count(place, *image, *number));
        });
        GpuCode::of(counts)
    }

    /// Looks at the next bytes, which begin at the offset `start`: first at the seam between them and those before.
    fn pass(&mut self, bytes: &[u8], start: u64) {
        if !self.carried.is_empty() {
            let mut seam = mem::take(&mut self.carried);
            let at = self.cursor;
            seam.extend_from_slice(&bytes[..bytes.len().min(LOOK_AHEAD)]);
            self.look(&seam, at);
            if self.cursor < start {
                seam.drain(..(self.cursor - at) as usize);
                self.carried = seam;
                return;
            }
        }
        self.look(bytes, start);
        if self.cursor < self.position {
            self.carried.extend_from_slice(&bytes[(self.cursor - start) as usize..]);
        }
    }

    /// Moves the cursor through `window`, which begins at the offset `at`, as far as its bytes decide where to.
    fn look(&mut self, window: &[u8], at: u64) {
        let end = at + window.len() as u64;
        let mut beginnings = Beginnings { window, binary: None, cubin: None };
        while self.cursor < end {
            let from = (self.cursor - at) as usize;
            let is_decided = match self.end {
                Some(end) => self.next_image(&window[from..], end),
                None => self.next_binary(&window[from..], beginnings.next(from).map(|found| found - from)),
            };
            if !is_decided {
                return;
            }
        }
    }

    /// Moves to the next image of the fat binary that ends at `end`; gives whether enough has passed to do so.
    fn next_image(&mut self, rest: &[u8], end: u64) -> bool {
        let available = end - self.cursor;
        if available < IMAGE_HEADER as u64 {
            (self.cursor, self.end) = (end, None);
            return true;
        }
        let Some(header) = rest.get(..IMAGE_HEADER) else { return false };
        match fatbin::image(header, available) {
            Some(ImageHeader { image, length }) => {
                image.into_iter().for_each(|image| self.found.note(image));
                self.cursor += length;
            }
            None => self.end = None,
        }
        true
    }

    /// Moves behind the beginning of the next fat binary or cubin, which may be `found` bytes further; gives whether enough has
    /// passed to do so.
    fn next_binary(&mut self, rest: &[u8], found: Option<usize>) -> bool {
        let Some(found) = found else {
            self.cursor += rest.len().saturating_sub(CUBIN_MAGIC.len() - 1) as u64;
            return false;
        };
        self.cursor += found as u64;
        let Some(header) = rest.get(found..found + LOOK_AHEAD) else { return false };
        let left = self.size.saturating_sub(self.cursor).saturating_sub(HEADER as u64);
        if let Some(body) = fatbin::body(header, left)
            && fatbin::image(&header[HEADER..], body).is_some()
        {
            self.found.begin(self.cursor);
            self.cursor += HEADER as u64;
            self.end = Some(self.cursor + body);
        } else if let Some(image) = fatbin::cubin(header) {
            self.found.begin(self.cursor);
            self.found.note(image);
            self.cursor += CUBIN_HEADER as u64;
        } else {
            self.cursor += 1;
        }
        true
    }
}

/// The places in a window at which fat binaries and cubins may begin. Each is searched once, however many there are.
struct Beginnings<'a> {
    window: &'a [u8],
    /// The first of each behind what was asked for before; the window's end where there is none.
    binary: Option<usize>,
    cubin: Option<usize>,
}

impl Beginnings<'_> {
    /// The first at `from` or behind it.
    fn next(&mut self, from: usize) -> Option<usize> {
        let window = self.window;
        let first = |known: Option<usize>, marker: &[u8]| match known.filter(|at| *at >= from) {
            Some(at) => at,
            None => memmem::find(&window[from..], marker).map_or(window.len(), |at| from + at),
        };
        let (binary, cubin) = (first(self.binary, &MAGIC), first(self.cubin, &CUBIN_MAGIC));
        (self.binary, self.cubin) = (Some(binary), Some(cubin));
        Some(binary.min(cubin)).filter(|at| *at < window.len())
    }
}

/// The images of one fat binary, or of several alike: each kind with its number.
type Images = Vec<(FatImage, u32)>;

/// The fat binaries and cubins of a file. Many have the same images.
#[derive(Debug, Default)]
struct FoundBinaries {
    /// The offset of each, and the number of its images in `sets`.
    closed: Vec<(u64, usize)>,
    sets: BTreeMap<Images, usize>,
    /// The kinds in all of `sets`.
    kinds: usize,
    /// The one whose images come next.
    open: Option<(u64, BTreeMap<FatImage, u32>)>,
}

impl FoundBinaries {
    fn is_empty(&self) -> bool {
        self.closed.is_empty() && self.open.is_none()
    }

    fn begin(&mut self, offset: u64) {
        if self.closed.len() < MOST_BINARIES {
            self.close();
            self.open = Some((offset, BTreeMap::new()));
        }
    }

    fn note(&mut self, image: FatImage) {
        let Some((_, images)) = &mut self.open else { return };
        let is_full = self.kinds + images.len() >= MOST_KINDS;
        match images.get_mut(&image) {
            Some(count) => *count = count.saturating_add(1),
            None if is_full => {}
            None => drop(images.insert(image, 1)),
        }
    }

    fn close(&mut self) {
        let Some((offset, images)) = self.open.take() else { return };
        let images: Images = images.into_iter().collect();
        let (next, kinds) = (self.sets.len(), images.len());
        let set = *self.sets.entry(images).or_insert(next);
        if set == next {
            self.kinds += kinds;
        }
        self.closed.push((offset, set));
    }

    /// Gives each binary with its images to `take`.
    fn each(mut self, mut take: impl FnMut(u64, &Images)) {
        self.close();
        let mut sets: Vec<(&Images, usize)> = self.sets.iter().map(|(images, set)| (images, *set)).collect();
        sets.sort_unstable_by_key(|(_, set)| *set);
        self.closed.iter().for_each(|(offset, set)| take(*offset, sets[*set].0));
    }
}

#[cfg(test)]
mod tests {
    use super::super::gpu_samples::{cubin, fatbin, library, ptx_image, sass_image};
    use super::*;

    /// The images that a search finds, in pieces of every size: `linked sass 9.0a 2`.
    #[track_caller]
    fn check(file: GpuFile, content: &[u8], expected: &[&str]) {
        for step in [1, 7, 63, 80, 4096, content.len().max(1)] {
            let mut search = GpuCodeSearch::new(file, content.len() as u64);
            content.chunks(step).for_each(|chunk| search.update(chunk));
            let code = search.finish().unwrap_or_default();
            let told: Vec<String> = code.images().iter().map(told).collect();
            assert_eq!(told, expected, "in steps of {step}");
        }
    }

    fn told(images: &super::super::gpu_code::GpuImages) -> String {
        let ImageKind { place, form, target, ptx } = images.kind;
        let version = ptx.map(|ptx| format!(" {ptx}")).unwrap_or_default();
        format!("{place:?} {form:?}{version} {target} {}", images.count)
    }

    #[test]
    fn fat_binaries_are_found_wherever_the_pieces_end() {
        let one = fatbin(&[sass_image(90, "", 1000), sass_image(90, "a", 77), ptx_image(90, (8, 4), 5)]);
        let other = fatbin(&[sass_image(90, "", 8), sass_image(103, "f", 3000)]);
        let content = [&[7; 500][..], &one, &[0; 16], &other, b"\x50\xed\x55", &[9; 90]].concat();
        let expected =
            ["Linked Sass 9.0 2", "Linked Sass 9.0a 1", "Linked Sass 10.3f 1", "Linked Ptx 8.4 9.0 1"];
        check(GpuFile::Images, &content, &expected);
        let in_archive = expected.map(|told| told.replace("Linked", "Relocatable"));
        check(GpuFile::Archive, &content, &in_archive.each_ref().map(String::as_str));
    }

    #[test]
    fn sections_say_who_gives_code_to_the_driver() {
        let code = |architecture| fatbin(&[sass_image(architecture, "", 100)]);
        let sections: &[(&str, &[u8])] = &[
            (".rodata", &code(86)),
            ("__nv_relfatbin", &[code(80), code(80)].concat()),
            (".nv_fatbin", &code(75)),
            (".text", b"\x50\xed\x55\xba are the first bytes of what this function looks for"),
        ];
        let told = ["Linked Sass 7.5 1", "Data Sass 8.6 1", "Relocatable Sass 8.0 2"];
        check(GpuFile::Elf, &library(sections), &told);
        // Without its table of sections, all of it may be linked.
        let mut stripped = library(sections);
        stripped[60..62].fill(0);
        check(GpuFile::Elf, &stripped, &["Linked Sass 7.5 1", "Linked Sass 8.0 2", "Linked Sass 8.6 1"]);
    }

    #[test]
    fn cubins_and_ptx_are_found_as_files_and_in_data() {
        let cubins = [cubin(90), vec![1; 3000], cubin(75), vec![0; 40]].concat();
        check(GpuFile::Images, &cubins, &["Linked Sass 7.5 1", "Linked Sass 9.0 1"]);
        check(GpuFile::Ptx, b".version 8.4\n.target sm_90a\n", &["Linked Ptx 8.4 9.0a 1"]);
        check(GpuFile::Ptx, b"", &[]);
        let of_path = |path| GpuFile::of(path);
        assert_eq!(of_path("a/b.cubin"), Some(GpuFile::Images));
        assert_eq!(of_path("lib/libdevice.a"), Some(GpuFile::Archive));
        assert_eq!(of_path("lib/libtorch_cuda.so"), None);
    }

    #[test]
    fn what_only_begins_like_a_fat_binary_is_none() {
        let whole = fatbin(&[sass_image(90, "", 100)]);
        let changed = |at: usize, byte: u8| {
            let mut bytes = [&whole[..], &[0; 1000]].concat();
            bytes[at] = byte;
            bytes
        };
        // Another version, header or size; an image of no kind, whose header is too long, or for no architecture.
        for (at, byte) in [(4, 2), (6, 20), (13, 1), (16, 0), (22, 1), (44, 1), (45, 9)] {
            check(GpuFile::Images, &changed(at, byte), &[]);
        }
        check(GpuFile::Images, &whole[..whole.len() - 1], &[]);
        check(GpuFile::Images, &changed(999, 1), &["Linked Sass 9.0 1"]);
    }

    #[test]
    fn a_file_of_beginnings_is_searched_once() {
        for begins in [&CUBIN_MAGIC[..], &MAGIC] {
            let content = begins.repeat((16 << 20) / begins.len());
            let mut search = GpuCodeSearch::new(GpuFile::Elf, content.len() as u64);
            let start = std::time::Instant::now();
            search.update(&content);
            assert_eq!(search.finish(), None);
            assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
        }
    }

    #[test]
    fn a_file_that_is_made_of_fat_binaries_is_no_reason_to_keep_them_all() {
        let of = |index: u32| {
            fatbin(&[sass_image(10 + index % 900, ["", "a", "f"][(index / 900 % 3) as usize], 0)])
        };
        let content: Vec<u8> = (0..70_000).flat_map(of).collect();
        let mut search = GpuCodeSearch::new(GpuFile::Images, content.len() as u64);
        content.chunks(1 << 20).for_each(|chunk| search.update(chunk));
        assert_eq!(search.found.closed.len(), MOST_BINARIES);
        assert!(search.found.kinds <= MOST_KINDS);
        let total: u32 = search.finish().unwrap().images().iter().map(|images| images.count).sum();
        assert_eq!(total, 70_000);
    }
}
