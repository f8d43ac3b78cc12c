//! ELF words: what the loader and `ldconfig` read of a library, and the cache they share.
//!
//! * [`architecture`]: the machine, the loader and the library directory of each architecture.
//! * [`dynamic`]: class, machine, SONAME, NEEDED, RPATH and RUNPATH of one file, read as the loader does, through
//!   the program headers (never the section headers, which `strip` may remove).
//! * `source`, `reader`, `header`, `notes`: the bytes of a file at hand, the parts asked for within a budget, the headers,
//!   and the notes of GNU.
//! * [`probe`]: the same facts from a stream that cannot seek: a library inflated once, on its way into a layer.
//! * [`symbols`]: the dynamic symbols: what a library offers, and what it expects of which other.
//! * `sections`: the same through the section headers, where the dynamic section cannot be reached.
//! * [`object`]: all of that with symbol versions, as the loader needs it to link a file.
//! * [`ld_so_conf`]: `/etc/ld.so.conf` and its includes, as the list of directories it names.
//! * [`ldconfig`]: what `ldconfig` finds in those directories: the entries of its cache and the links it creates.
//! * [`ld_so_cache`]: the bytes of `/etc/ld.so.cache`, written and read.
//! * [`library_search`]: the directories, and the cache, in which the loader looks for a name.
//!
//! A cache is a chain of values, and none of them touches a disk: [`Root`] answers for the file system.
//!
//! ```text
//! ld.so.conf ─ ld_so_conf::directories ─► directories ─ ldconfig::scan ─► Scan ─ Scan::cache ─► Cache ─► bytes
//! ```
//!
//! Specifications:
//! * the System V gABI, chapters 4, 5 and "Dynamic Linking": <https://gabi.xinuos.com>
//! * the x86 psABI's program properties: <https://gitlab.com/x86-psABIs/x86-64-ABI>
//! * `ld.so(8)` and `ldconfig(8)`: <https://man7.org/linux/man-pages/man8/ldconfig.8.html>
//! * the cache has no specification but glibc: `sysdeps/generic/dl-cache.h`, `elf/cache.c`, `elf/ldconfig.c`,
//!   `elf/readelflib.c` and `elf/stringtable.c` at <https://sourceware.org/git/?p=glibc.git>
//!
//! What the releases of glibc that images carry write, and what is reproduced here:
//!
//! | release | differences | here |
//! |---|---|---|
//! | before 2.33 | the format of 1997 in front of the present one; no shared strings | the present format, which every loader since 2.2 reads |
//! | before 2.36 | the kernel version of the ABI note is recorded | the same |
//! | before 2.37 | `tls`, `haswell` and other such directories are searched; i386 libraries without libc are marked | the same |
//! | since 2.37 | only `glibc-hwcaps` is searched besides | the same |

pub mod architecture;
pub mod buffer_pool;
pub mod dynamic;
mod header;
pub mod ld_so_cache;
pub mod ld_so_conf;
pub mod ldconfig;
pub mod library_search;
pub mod names;
mod notes;
pub mod object;
mod overlap;
mod packed;
pub mod probe;
mod reader;
mod root;
mod sections;
mod source;
mod strings;
pub mod symbols;

pub use dynamic::{Dynamic, Elf};
pub use header::{Class, Kind, Machine};
pub use ld_so_cache::{Cache, CacheError, CachedLibrary, Flags, Hwcap};
pub use ldconfig::{Ldconfig, LibraryLink, Scan};
pub use library_search::LibrarySearch;
pub use names::{SymbolNames, symbol_hash};
pub use object::{Linked, Object, VersionNeed};
pub use overlap::Seam;
pub use probe::{Incomplete, Outcome, Probe};
pub use root::{DirectoryEntry, DirectoryListing, FileNode, Root};
pub use sections::{Linkage, TablePlaces};
pub use source::{ElfError, ReadAt};
pub use symbols::Symbols;

#[cfg(test)]
mod tests;
