//! The files that are damaged.

use std::path::Path;

use imgforge::elf::{Cache, CachedLibrary, Flags, Hwcap};

use crate::ElfCase;
use crate::elf_files::{Form, Hash, Places, library, needing};
use crate::support::gpu;

/// Files of this machine, where it has them: programs, libraries and its cache.
const OF_MACHINE: [&str; 6] = [
    "/bin/true",
    "/lib/x86_64-linux-gnu/libz.so.1",
    "/lib/x86_64-linux-gnu/libm.so.6",
    "/lib/x86_64-linux-gnu/libc.so.6",
    "/lib64/ld-linux-x86-64.so.2",
    "/etc/ld.so.cache",
];
/// The distance of tables of which a stream's watcher does not keep all: more than it keeps in all.
const APART: usize = 1 << 20;

/// The size in bytes from which on a file takes long to read again and again.
const LARGE: usize = 64 << 10;

/// A file that is whole.
pub struct File {
    pub bytes: Vec<u8>,
    places: Option<Places>,
}

pub struct Corpus {
    /// Those of the test's making are the same on any machine.
    pub files: Vec<File>,
    /// From which on they are large.
    pub large: usize,
}

impl Corpus {
    pub fn load() -> Self {
        let mut files = Vec::new();
        for (wide, big_endian) in [(true, false), (true, true), (false, false), (false, true)] {
            for hash in [Hash::Sysv, Hash::Gnu] {
                for gap in [0, 100] {
                    let form = Form { wide, big_endian };
                    files.push(File::new(library(form, hash, gap)));
                }
            }
        }
        let form = Form { wide: true, big_endian: false };
        // Far apart.
        files.push(File::new(library(form, Hash::Gnu, APART)));
        // Needs that share a name.
        files.push(File::new(needing(3_000, 30_000)));
        files.push(File::new(gpu_code()));
        files.push(File::new(cache()));
        files.push(File::new(crowded()));
        for path in OF_MACHINE.map(Path::new).into_iter().filter(|path| path.exists()) {
            files.push(File::new(std::fs::read(path).expect("it can be read")));
        }
        files.sort_by_key(|file| file.bytes.len() > LARGE);
        let large = files.iter().take_while(|file| file.bytes.len() <= LARGE).count();
        Self { files, large }
    }

    /// The bytes of an input.
    pub fn damaged(&self, case: &ElfCase) -> Vec<u8> {
        let file = &self.files[case.file];
        let mut bytes = file.bytes.clone();
        case.mutations.iter().for_each(|mutation| mutation.apply(&mut bytes, file.places.as_ref()));
        bytes
    }
}

impl File {
    fn new(bytes: Vec<u8>) -> Self {
        Self { places: Places::of(&bytes), bytes }
    }
}

/// A library with code for GPUs where linkers put it, in its data, and as cubins.
fn gpu_code() -> Vec<u8> {
    let images = [gpu::sass_image(90, "", 40), gpu::sass_image(100, "f", 200), gpu::ptx_image(90, (8, 4), 9)];
    let binaries = [gpu::fatbin(&images), gpu::fatbin(&images[..1])].concat();
    let data = [gpu::fatbin(&images[1..]), gpu::cubin(75)].concat();
    gpu::library(&[("__nv_relfatbin", &binaries), (".rodata", &data), (".nv_fatbin", &binaries)])
}

fn cache() -> Vec<u8> {
    let library = |soname: &str, hwcap| CachedLibrary {
        soname: soname.to_owned(),
        path: format!("/usr/lib/{soname}"),
        flags: Flags::X86_64,
        abi_tag: 0,
        hwcap,
    };
    let hwcap = Hwcap::Glibc { name: "x86-64-v3".to_owned(), isa_level: 2 };
    let cache = Cache {
        libraries: vec![
            library("libb.so.1", hwcap),
            library("libb.so.1", Hwcap::Any),
            library("liba.so.1", Hwcap::Any),
        ],
        generator: Some("ldconfig".to_owned()),
        ..Cache::default()
    };
    cache.to_bytes().expect("three libraries fit")
}

/// Entries that all name the same path, as long as one may be.
fn crowded() -> Vec<u8> {
    let (count, length) = (3_000_u32, 4_000_u32);
    let start = 48 + 24 * count;
    let mut bytes = b"glibc-ld.so.cache1.1".to_vec();
    bytes.extend([count, length + 1, 2, 0, 0, 0, 0].iter().flat_map(|number| number.to_le_bytes()));
    let entry = [Flags::X86_64.0 as u32, start, start, 0, 0, 0];
    bytes.extend(entry.repeat(count as usize).iter().flat_map(|number| number.to_le_bytes()));
    bytes.extend(vec![b'a'; length as usize]);
    bytes.push(0);
    bytes
}
