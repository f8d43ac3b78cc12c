//! The findings of `ldconfig` in its directories, decided without running it.
//!
//! In each directory `ldconfig` looks at the names of libraries, keeps for each SONAME the newest file, makes the SONAME
//! a symlink to it, and enters it into the cache. Directories come in the order of the configuration, the system's last;
//! one that was seen under another path is not searched again, but subdirectories of `glibc-hwcaps` are, each for the
//! processors of its name.
//!
//! `elf/ldconfig.c`, `elf/readlib.c` and `sysdeps/unix/sysv/linux/*/readelflib.c` at
//! <https://sourceware.org/git/?p=glibc.git>

use std::collections::{BTreeMap, BTreeSet};

use super::dynamic::Elf;
use super::header::{Class, Kind, Machine};
use super::ld_so_cache::{Cache, CachedLibrary, Flags, Hwcap, compare_names};
use super::root::{DirectoryEntry, FileNode, Root};
use crate::failure::Hinted;
use crate::oci::Architecture;

/// The `ldconfig` of one package: it enters libraries of its architecture, on amd64 those for i386 and x32 too, on arm64
/// those for 32-bit ARM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ldconfig {
    architecture: Architecture,
    /// The minor version of glibc 2.
    release: u32,
    generator: String,
}

/// A version of libc-bin that does not begin with glibc's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("libc-bin's version `{version}` does not begin with a version of glibc such as 2.36")]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub struct LibcVersionError {
    version: String,
}

impl Hinted for LibcVersionError {
    fn hint(&self) -> Option<String> {
        Some("use a base image of Debian or Ubuntu".to_owned())
    }
}

/// The result of a scan: the libraries that `ldconfig` would list, and the links that it would change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scan {
    /// In the cache's order.
    pub libraries: Vec<CachedLibrary>,
    /// The symlinks it creates, or points elsewhere, by path.
    pub links: Vec<LibraryLink>,
    /// The dangling symlinks it removes.
    pub stale: Vec<String>,
    idle_hwcaps: BTreeSet<String>,
}

/// A symlink.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LibraryLink {
    /// `/usr/lib/x86_64-linux-gnu/libz.so.1`
    pub path: String,
    /// A name in the same directory: `libz.so.1.2.13`.
    pub target: String,
}

impl Ldconfig {
    /// The `ldconfig` of Debian's or Ubuntu's package libc-bin; `vendor` is the distribution's name.
    ///
    /// ```
    /// # use imgforge::elf::Ldconfig;
    /// # use imgforge::oci::Architecture;
    /// let ldconfig = Ldconfig::new(Architecture::Amd64, "Debian", "2.36-9+deb12u10")?;
    /// assert_eq!(ldconfig.generator(), "ldconfig (Debian GLIBC 2.36-9+deb12u10) stable release version 2.36");
    /// # Ok::<(), imgforge::elf::ldconfig::LibcVersionError>(())
    /// ```
    pub fn new(architecture: Architecture, vendor: &str, version: &str) -> Result<Self, LibcVersionError> {
        let upstream = version.split(['-', '+', '~']).next().unwrap_or_default();
        let mut numbers = upstream.split('.');
        let release = match (numbers.next(), numbers.next().map(str::parse)) {
            (Some("2"), Some(Ok(release))) => release,
            _ => return Err(LibcVersionError { version: version.to_owned() }),
        };
        let generator = format!("ldconfig ({vendor} GLIBC {version}) stable release version {upstream}");
        Ok(Self { architecture, release, generator })
    }

    /// Its own name in the caches that it writes.
    pub fn generator(&self) -> &str {
        &self.generator
    }

    /// The directories that Debian's and Ubuntu's `ldconfig` searches without being told, after all others.
    pub fn system_directories(&self) -> [&'static str; 4] {
        match self.architecture {
            Architecture::Amd64 => ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib", "/usr/lib"],
            Architecture::Arm64 => {
                ["/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/lib", "/usr/lib"]
            }
        }
    }

    /// Searches the directories of a configuration, and then the system's.
    ///
    /// Where `ldconfig` depends on the order in which a file system lists names (two sorts of library with one SONAME in
    /// one directory), the order of their bytes is taken.
    pub fn scan(&self, directories: &[String], root: &impl Root) -> Scan {
        let mut queue = Queue::default();
        for path in directories.iter().map(String::as_str).chain(self.system_directories()) {
            queue.add_configured(path, root);
        }
        let mut scan = Scan::default();
        let mut next = 0;
        while let Some(directory) = queue.directories.get(next).cloned() {
            self.search(&directory, root, &mut queue, &mut scan);
            next += 1;
        }
        Cache::sort(&mut scan.libraries);
        scan.links.sort();
        let used = scan.libraries.iter().filter_map(|library| match &library.hwcap {
            Hwcap::Glibc { name, .. } => Some(name),
            Hwcap::Any | Hwcap::Legacy(_) => None,
        });
        let used: BTreeSet<String> = used.cloned().collect();
        scan.idle_hwcaps = queue.hwcaps.difference(&used).cloned().collect();
        scan
    }

    /// The cache it writes for what a [`Scan`] found.
    pub fn cache(&self, scan: &Scan) -> Cache {
        Cache {
            libraries: scan.libraries.clone(),
            generator: Some(self.generator.clone()),
            idle_hwcaps: scan.idle_hwcaps.clone(),
        }
    }

    fn search(&self, directory: &Directory, root: &impl Root, queue: &mut Queue, scan: &mut Scan) {
        let Some(mut listing) = root.directory(&directory.path) else { return };
        listing.entries.sort_by(|left, right| left.name.cmp(&right.name));
        let mut found = Found::default();
        for entry in &listing.entries {
            let subdirectory = directory.hwcaps.is_none() && self.legacy_bit(&entry.name).is_some();
            if !(is_library_name(&entry.name) || subdirectory) {
                continue;
            }
            let path = format!("{}/{}", directory.path, entry.name);
            match &entry.node {
                FileNode::Dangling if entry.name.contains(".so.") => scan.stale.push(path),
                FileNode::Directory { identity } if subdirectory => queue.add(path, identity, None),
                FileNode::File { identity, elf: Some(elf) } => {
                    if let Some(flags) = self.flags(elf) {
                        found.add(Candidate::new(entry, identity, elf, flags));
                    }
                }
                _ => {}
            }
        }
        // As in ldconfig's list, the last is the first.
        for candidate in found.candidates.iter().rev() {
            scan.libraries.push(self.library(directory, candidate));
            if directory.hwcaps.is_none() {
                scan.links.extend(candidate.link(&directory.path, &listing.entries));
            }
        }
    }

    fn library(&self, directory: &Directory, candidate: &Candidate) -> CachedLibrary {
        let name = if directory.hwcaps.is_some() { candidate.name } else { &candidate.soname };
        let hwcap = match (&directory.hwcaps, self.legacy_bits(&directory.path)) {
            (Some(name), _) => Hwcap::Glibc { name: name.clone(), isa_level: candidate.elf.isa_level },
            (None, 0) => Hwcap::Any,
            (None, bits) => Hwcap::Legacy(bits),
        };
        let abi_tag = if self.release < 36 { candidate.elf.abi_tag.unwrap_or_default() } else { 0 };
        CachedLibrary {
            soname: candidate.soname.clone(),
            path: format!("{}/{name}", directory.path),
            flags: candidate.flags,
            abi_tag,
            hwcap,
        }
    }

    /// The flags of a shared library; `None` for what is none, or is for another machine.
    fn flags(&self, elf: &Elf) -> Option<Flags> {
        if elf.kind != Kind::Shared || elf.dynamic.is_none() {
            return None;
        }
        match (self.architecture, elf.machine, elf.class) {
            (Architecture::Amd64, Machine::X86_64, Class::Elf64) => Some(Flags::X86_64),
            (Architecture::Amd64, Machine::X86_64, Class::Elf32) => Some(Flags::X32),
            (Architecture::Amd64, Machine::I386, Class::Elf32) if self.release < 37 => Some(i386_flags(elf)),
            (Architecture::Amd64, Machine::I386, Class::Elf32) => Some(Flags::I386),
            (Architecture::Amd64, _, _) => None,
            // It looks at no machine: even a library for x86-64 is entered so.
            (Architecture::Arm64, _, Class::Elf64) => Some(Flags::AARCH64),
            (Architecture::Arm64, _, Class::Elf32) => Some(arm_flags(elf.flags)),
        }
    }

    /// The hwcap of a directory that ends in the names of processors or their features.
    fn legacy_bits(&self, path: &str) -> u64 {
        path.rsplit('/')
            .map_while(|name| self.legacy_bit(name))
            .fold(0, |bits, bit| bits.wrapping_add(1 << bit))
    }

    /// The bit of a subdirectory that is searched, too, by glibc before 2.37.
    fn legacy_bit(&self, name: &str) -> Option<u32> {
        if self.release >= 37 {
            return None;
        }
        match (self.architecture, name) {
            (_, "tls") => Some(63),
            (Architecture::Amd64, "sse2") => Some(0),
            (Architecture::Amd64, "x86_64") => Some(1),
            (Architecture::Amd64, "avx512_1") => Some(2),
            (Architecture::Amd64, "i586") => Some(48),
            (Architecture::Amd64, "i686") => Some(49),
            (Architecture::Amd64, "haswell") => Some(50),
            (Architecture::Amd64, "xeon_phi") => Some(51),
            (Architecture::Arm64, "atomics") => Some(8),
            _ => None,
        }
    }
}

/// Returns whether `ldconfig` looks into a file of this name: `lib*.so*`, `ld-*.so*`, `ld.so.*` and `ld64.so.*`.
pub fn is_library_name(name: &str) -> bool {
    let library = (name.starts_with("lib") || name.starts_with("ld-")) && name.contains(".so");
    let loader = name.starts_with("ld.so.") || name.starts_with("ld64.so.");
    (library || loader) && !is_prelink_temporary(name)
}

/// `NAME.#prelink#` and `NAME.#prelink#.XXXXXX`, which prelink leaves when it is interrupted.
fn is_prelink_temporary(name: &str) -> bool {
    let suffix_start = name.len().checked_sub(6).and_then(|end| name.get(..end));
    name.ends_with(".#prelink#") || suffix_start.is_some_and(|start| start.ends_with(".#prelink#."))
}

/// The flags of an i386 library before glibc 2.37, when there was still a difference: the C library it says it is for.
fn i386_flags(elf: &Elf) -> Flags {
    let needed = elf.dynamic.iter().flat_map(|dynamic| &dynamic.needed);
    let known = elf.interpreter.iter().chain(needed).find_map(|name| match name.as_str() {
        "/lib/ld-linux.so.2" | "libc.so.6" | "libm.so.6" => Some(Flags::I386),
        "/lib/ld-linux.so.1" | "libc.so.5" | "libm.so.5" => Some(Flags::I386_LIBC5),
        _ => None,
    });
    known.unwrap_or(Flags::I386_ANY)
}

/// The flags of a 32-bit ARM library, by the floating-point ABI of version 5 of the EABI.
///
/// <https://github.com/ARM-software/abi-aa/blob/main/aaelf32/aaelf32.rst>
fn arm_flags(e_flags: u32) -> Flags {
    let eabi5 = e_flags & 0xff00_0000 == 0x0500_0000;
    match (eabi5, e_flags & 0x400 != 0, e_flags & 0x200 != 0) {
        (true, true, _) => Flags::ARM_HARD_FLOAT,
        (true, false, true) => Flags::ARM_SOFT_FLOAT,
        _ => Flags::ARM_UNMARKED,
    }
}

/// A directory to search.
#[derive(Clone)]
struct Directory {
    path: String,
    /// The name of a subdirectory of `glibc-hwcaps`, for which alone the directory is.
    hwcaps: Option<String>,
}

/// The directories to search, each once.
#[derive(Default)]
struct Queue {
    directories: Vec<Directory>,
    seen: BTreeSet<String>,
    hwcaps: BTreeSet<String>,
}

impl Queue {
    fn add(&mut self, path: String, identity: &str, hwcaps: Option<String>) {
        if self.seen.insert(identity.to_owned()) {
            self.directories.push(Directory { path, hwcaps });
        }
    }

    /// Adds a directory and those below its `glibc-hwcaps`.
    fn add_configured(&mut self, path: &str, root: &impl Root) {
        let Some(listing) = root.directory(path).filter(|listing| !self.seen.contains(&listing.identity))
        else {
            return;
        };
        self.add(path.to_owned(), &listing.identity, None);
        let above = format!("{path}/glibc-hwcaps");
        let mut entries = root.directory(&above).unwrap_or_default().entries;
        entries.sort_by(|left, right| left.name.cmp(&right.name));
        for DirectoryEntry { name, node, .. } in entries {
            // The loader separates these names by `:`.
            if let (FileNode::Directory { identity }, false) =
                (node, name.starts_with('.') || name.contains(':'))
            {
                self.hwcaps.insert(name.clone());
                self.add(format!("{above}/{name}"), &identity, Some(name));
            }
        }
    }
}

/// A file that may stand for its SONAME.
struct Candidate<'a> {
    name: &'a str,
    soname: String,
    /// A symlink that is its SONAME, or is for the link editor: it gives way to files.
    link: bool,
    identity: &'a str,
    elf: &'a Elf,
    flags: Flags,
}

impl<'a> Candidate<'a> {
    fn new(entry: &'a DirectoryEntry, identity: &'a str, elf: &'a Elf, flags: Flags) -> Self {
        let name = entry.name.as_str();
        let soname = elf.soname().unwrap_or(name);
        let for_link_editor = name.ends_with(".so") && soname.starts_with(name);
        let link = entry.symlink && (name == soname || for_link_editor);
        let soname = if link { name } else { soname };
        Self { name, soname: soname.to_owned(), link, identity, elf, flags }
    }

    fn is_better_than(&self, other: &Self) -> bool {
        match (self.link, other.link) {
            (false, true) => true,
            (true, false) => false,
            _ => compare_names(other.name, self.name).is_lt(),
        }
    }

    /// The flags of the first stay, as in ldconfig; only what it knows of the C library may change.
    fn flags_in_place_of(&self, other: &Self) -> Flags {
        match (other.flags, self.flags) {
            (Flags::I386_ANY, Flags::I386 | Flags::I386_LIBC5) => self.flags,
            (Flags::I386 | Flags::I386_LIBC5, Flags::I386_ANY) => self.flags,
            _ => other.flags,
        }
    }

    /// The symlink to create from the SONAME, unless it leads to the file already, or is a file.
    fn link(&self, directory: &str, entries: &[DirectoryEntry]) -> Option<LibraryLink> {
        // A SONAME is what its file says: one that is a path could lead anywhere.
        let outside = self.soname.contains('/') || ["", ".", ".."].contains(&self.soname.as_str());
        if self.link || self.soname == self.name || outside {
            return None;
        }
        let present = entries.iter().find(|entry| entry.name == self.soname);
        let leave = present.is_some_and(|entry| match &entry.node {
            FileNode::File { identity, .. } => identity == self.identity || !entry.symlink,
            FileNode::Directory { .. } | FileNode::Other => !entry.symlink,
            FileNode::Dangling => false,
        });
        (!leave).then(|| LibraryLink {
            path: format!("{directory}/{}", self.soname),
            target: self.name.to_owned(),
        })
    }
}

/// The best file for each SONAME of a directory, in the order the SONAMEs appeared.
#[derive(Default)]
struct Found<'a> {
    candidates: Vec<Candidate<'a>>,
    by_soname: BTreeMap<String, usize>,
}

impl<'a> Found<'a> {
    fn add(&mut self, candidate: Candidate<'a>) {
        let index = self.by_soname.get(&candidate.soname).copied();
        match index.and_then(|index| self.candidates.get_mut(index)) {
            Some(present) if candidate.is_better_than(present) => {
                let flags = candidate.flags_in_place_of(present);
                *present = Candidate { flags, ..candidate };
            }
            Some(_) => {}
            None => {
                self.by_soname.insert(candidate.soname.clone(), self.candidates.len());
                self.candidates.push(candidate);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::{DirectoryListing, Dynamic};

    fn elf(machine: Machine, soname: &str) -> Elf {
        let dynamic = Dynamic { soname: Some(soname.to_owned()), ..Dynamic::default() };
        Elf {
            class: Class::Elf64,
            machine,
            kind: Kind::Shared,
            flags: 0,
            interpreter: None,
            dynamic: Some(dynamic),
            abi_tag: Some(0x0003_0200),
            isa_level: 0,
        }
    }

    fn listing(path: &str, entries: Vec<DirectoryEntry>) -> (String, DirectoryListing) {
        (path.to_owned(), DirectoryListing { identity: path.to_owned(), entries })
    }

    fn file(directory: &str, name: &str, elf: Elf) -> DirectoryEntry {
        let node = FileNode::File { identity: format!("{directory}/{name}"), elf: Some(elf) };
        DirectoryEntry { name: name.to_owned(), symlink: false, node }
    }

    /// A library in `/usr/lib`, and another in a subdirectory `tls`.
    fn root(machine: Machine, soname: &str) -> BTreeMap<String, DirectoryListing> {
        let tls = FileNode::Directory { identity: "/usr/lib/tls".to_owned() };
        let tls = DirectoryEntry { name: "tls".to_owned(), symlink: false, node: tls };
        BTreeMap::from([
            listing("/usr/lib", vec![file("/usr/lib", "liba.so.1.0", elf(machine, soname)), tls]),
            listing("/usr/lib/tls", vec![file("/usr/lib/tls", "libt.so", elf(machine, "libt.so"))]),
        ])
    }

    fn scan(architecture: Architecture, version: &str, machine: Machine, soname: &str) -> Vec<String> {
        let ldconfig = Ldconfig::new(architecture, "Debian", version).unwrap();
        let scan = ldconfig.scan(&[], &root(machine, soname));
        let libraries = scan.libraries.iter();
        let libraries =
            libraries.map(|found| format!("{} {:#x} {:#x}", found.path, found.flags.0, found.abi_tag));
        libraries.chain(scan.links.iter().map(|link| format!("{} -> {}", link.path, link.target))).collect()
    }

    #[test]
    fn calls_itself_as_the_package_does() {
        for (vendor, version, expected) in [
            (
                "Debian",
                "2.36-9+deb12u10",
                "ldconfig (Debian GLIBC 2.36-9+deb12u10) stable release version 2.36",
            ),
            ("Debian", "2.41-12", "ldconfig (Debian GLIBC 2.41-12) stable release version 2.41"),
            (
                "Ubuntu",
                "2.39-0ubuntu8.4",
                "ldconfig (Ubuntu GLIBC 2.39-0ubuntu8.4) stable release version 2.39",
            ),
        ] {
            let ldconfig = Ldconfig::new(Architecture::Amd64, vendor, version).unwrap();
            assert_eq!(ldconfig.generator(), expected);
        }
        for version in ["", "2", "3.0-1", "2.x-1", "1.2.3-r4"] {
            let error = Ldconfig::new(Architecture::Amd64, "Alpine", version).unwrap_err();
            assert!(error.to_string().contains(&format!("`{version}`")), "{error}");
        }
    }

    #[test]
    fn follows_the_release_of_glibc() {
        let of = |version| scan(Architecture::Amd64, version, Machine::X86_64, "liba.so.1");
        let link = "/usr/lib/liba.so.1 -> liba.so.1.0";
        let [tls, plain] = ["/usr/lib/tls/libt.so 0x303", "/usr/lib/liba.so.1 0x303"];
        assert_eq!(of("2.35-0ubuntu3.8"), [&format!("{tls} 0x30200"), &format!("{plain} 0x30200"), link]);
        assert_eq!(of("2.36-9+deb12u10"), [&format!("{tls} 0x0"), &format!("{plain} 0x0"), link]);
        assert_eq!(of("2.41-12"), [&format!("{plain} 0x0"), link]);
    }

    #[test]
    fn enters_libraries_of_its_own_machine() {
        let of = |architecture, machine| scan(architecture, "2.41-12", machine, "liba.so.1.0");
        assert_eq!(of(Architecture::Arm64, Machine::Aarch64), ["/usr/lib/liba.so.1.0 0xa03 0x0"]);
        assert_eq!(of(Architecture::Amd64, Machine::X86_64), ["/usr/lib/liba.so.1.0 0x303 0x0"]);
        assert_eq!(of(Architecture::Amd64, Machine::Aarch64), [""; 0]);
    }

    #[test]
    fn makes_no_link_outside_the_directory() {
        for soname in ["../../etc/passwd", "/etc/passwd", "..", "."] {
            let found = scan(Architecture::Amd64, "2.41-12", Machine::X86_64, soname);
            assert_eq!(found, [format!("/usr/lib/{soname} 0x303 0x0")]);
        }
    }
}
