//! Compares with this machine's `ldconfig`, byte for byte, over its own libraries.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use super::probe::ProbeBudget;
use super::*;
use crate::failure::Hinted;
use crate::oci::Architecture;

const LIBRARIES: &str = "/usr/lib/x86_64-linux-gnu";

/// A directory of this machine as a root: symlinks resolve within it.
struct Disk(PathBuf);

impl Disk {
    /// The path on this machine of `path` within the root, without symlinks.
    fn resolve(&self, path: &str) -> Option<PathBuf> {
        let mut resolved = PathBuf::new();
        let mut rest: Vec<PathBuf> = components(Path::new(path));
        for _ in 0..100_000 {
            let Some(component) = rest.pop() else { return Some(self.0.join(resolved)) };
            if component == Path::new("..") {
                resolved.pop();
                continue;
            }
            let next = resolved.join(&component);
            match fs::read_link(self.0.join(&next)) {
                Ok(target) => {
                    if target.is_absolute() {
                        resolved = PathBuf::new();
                    }
                    rest.extend(components(&target));
                }
                Err(_) => resolved = next,
            }
        }
        None
    }

    fn entry(&self, directory: &str, entry: &fs::DirEntry) -> Option<DirectoryEntry> {
        let name = entry.file_name().into_string().ok()?;
        let resolved = self.resolve(&format!("{directory}/{name}"))?;
        let node = match fs::metadata(&resolved) {
            Err(_) => FileNode::Dangling,
            Ok(metadata) if metadata.is_dir() => FileNode::Directory { identity: identity(&metadata) },
            Ok(metadata) if metadata.is_file() => {
                let elf = ldconfig::is_library_name(&name).then(|| read(&resolved)).flatten();
                FileNode::File { identity: identity(&metadata), elf }
            }
            Ok(_) => FileNode::Other,
        };
        Some(DirectoryEntry { name, symlink: entry.file_type().ok()?.is_symlink(), node })
    }
}

/// The components of a path, the first last, without the root.
fn components(path: &Path) -> Vec<PathBuf> {
    let normal = path
        .components()
        .filter(|component| matches!(component, Component::Normal(_) | Component::ParentDir));
    normal.map(|component| PathBuf::from(component.as_os_str())).rev().collect()
}

fn identity(metadata: &fs::Metadata) -> String {
    format!("{}:{}", metadata.dev(), metadata.ino())
}

fn read(path: &Path) -> Option<Elf> {
    dynamic::read(&fs::File::open(path).unwrap()).unwrap_or_default()
}

impl Root for Disk {
    fn directory(&self, path: &str) -> Option<DirectoryListing> {
        let resolved = self.resolve(path)?;
        let entries =
            fs::read_dir(&resolved).ok()?.filter_map(|entry| self.entry(path, &entry.ok()?)).collect();
        Some(DirectoryListing { identity: identity(&fs::metadata(&resolved).ok()?), entries })
    }

    fn text(&self, path: &str) -> Option<Vec<u8>> {
        fs::read(self.resolve(path)?).ok()
    }
}

/// This machine's `ldconfig`, if it is one of those that are reproduced.
fn machine() -> Option<Ldconfig> {
    let package = Command::new("dpkg-query").args(["-W", "-f", "${Version}", "libc-bin"]).output();
    let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let vendor = if system.contains("ID=ubuntu") { "Ubuntu" } else { "Debian" };
    let version = package.map(|output| String::from_utf8(output.stdout).unwrap()).unwrap_or_default();
    let ldconfig = Ldconfig::new(Architecture::Amd64, vendor, &version).ok();
    if ldconfig.is_none() || !Path::new(LIBRARIES).is_dir() {
        eprintln!("skipped: this machine is no Debian or Ubuntu for x86-64");
        return None;
    }
    ldconfig
}

/// Runs the real `ldconfig` on a root, or on this machine, and returns the cache; `format` is `new` by default.
fn run(root: Option<&Path>, format: &str) -> Vec<u8> {
    let output = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new("/sbin/ldconfig");
    match root {
        Some(root) => command.arg("-r").arg(root).args(["-C", "/cache"]),
        None => command.arg("-X").arg("-C").arg(output.path()),
    };
    let result = command.args(["-c", format]).output().unwrap();
    assert!(result.status.success(), "{result:?}");
    fs::read(root.map_or(output.path().to_owned(), |root| root.join("cache"))).unwrap()
}

/// Our scan of a root and the cache of it.
fn imitate(ldconfig: &Ldconfig, root: &Path) -> (Scan, Vec<u8>) {
    let disk = Disk(root.to_owned());
    let directories = ld_so_conf::directories("/etc/ld.so.conf", &disk).unwrap();
    let scan = ldconfig.scan(&directories, &disk);
    let bytes = ldconfig.cache(&scan).to_bytes().unwrap();
    (scan, bytes)
}

/// One line for each library, to see where two caches differ before their bytes are compared.
fn lines(bytes: &[u8]) -> Vec<String> {
    let cache = Cache::parse(bytes).unwrap();
    cache
        .libraries
        .iter()
        .map(|library| format!("{library:?}"))
        .chain([format!("{:?}", cache.generator)])
        .collect()
}

fn assert_same(ours: &[u8], theirs: &[u8], what: &str) {
    assert_eq!(lines(ours), lines(theirs), "{what}");
    assert!(ours == theirs, "{what}: the same entries in other bytes");
}

/// An entry that a layout puts into a root.
enum Put<'a> {
    /// A copy of the first library of this machine whose name begins so.
    Library(&'a str),
    /// A library made with the C compiler: its SONAME and further options.
    Made {
        soname: &'a str,
        options: &'a [&'a str],
    },
    Text(&'a str),
    Symlink(&'a str),
    /// Another name for a file of the root.
    Hardlink(&'a str),
    Directory,
}

use Put::{Directory, Hardlink, Library as Copy, Made, Symlink, Text};

fn put(root: &Path, path: &str, what: &Put) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    match what {
        Copy(prefix) => drop(fs::copy(library(prefix), path).unwrap()),
        Made { soname, options } => make(&path, soname, options),
        Text(text) => fs::write(path, text).unwrap(),
        Symlink(target) => symlink(target, path).unwrap(),
        Hardlink(target) => fs::hard_link(root.join(target), path).unwrap(),
        Directory => fs::create_dir_all(path).unwrap(),
    }
}

fn library(prefix: &str) -> PathBuf {
    let entries = fs::read_dir(LIBRARIES).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    let mut names =
        files.filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix)));
    names.next().unwrap_or_else(|| panic!("no {prefix}* in {LIBRARIES}")).path()
}

fn has_gcc() -> bool {
    Command::new("gcc").arg("--version").output().is_ok_and(|output| output.status.success())
}

fn make(path: &Path, soname: &str, options: &[&str]) {
    let source = tempfile::Builder::new().suffix(".c").tempfile().unwrap();
    fs::write(source.path(), "int one(void) { return 1; }\n").unwrap();
    let mut command = Command::new("gcc");
    command.args(["-shared", "-fPIC", "-nostdlib", "-o"]).arg(path).arg(source.path()).args(options);
    if !soname.is_empty() {
        command.arg(format!("-Wl,-soname,{soname}"));
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Builds a root, and compares our cache and links with what `ldconfig` writes.
fn check(layout: &[(&str, Put)], expected_links: &[&str]) {
    let Some(ldconfig) = machine() else { return };
    if layout.iter().any(|(_, put)| matches!(put, Made { .. }))
        && Command::new("gcc").arg("-v").output().is_err()
    {
        return eprintln!("skipped: this machine has no gcc");
    }
    let root = tempfile::tempdir().unwrap();
    for (path, what) in layout {
        put(root.path(), path, what);
    }
    let (scan, ours) = imitate(&ldconfig, root.path());
    let links: Vec<String> =
        scan.links.iter().map(|link| format!("{} -> {}", link.path, link.target)).collect();
    assert_eq!(links, expected_links);

    let before = symlinks(root.path());
    assert_same(&ours, &run(Some(root.path()), "new"), "before the links");
    let mut expected = before;
    expected.retain(|(path, _)| !scan.stale.contains(path));
    expected.retain(|(path, _)| !scan.links.iter().any(|link| &link.path == path));
    expected.extend(scan.links.iter().map(|link| (link.path.clone(), link.target.clone())));
    expected.sort();
    assert_eq!(symlinks(root.path()), expected);

    // With its own links in place ldconfig finds the same again.
    let (scan, ours) = imitate(&ldconfig, root.path());
    assert_eq!((scan.links, scan.stale), (vec![], vec![]));
    assert_same(&ours, &run(Some(root.path()), "new"), "with the links");
}

/// Every symlink below a root and its target, in order.
fn symlinks(root: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap()) {
            let kind = entry.file_type().unwrap();
            assert!(!kind.is_socket());
            if kind.is_dir() {
                directories.push(entry.path());
            } else if kind.is_symlink() {
                let path = format!("/{}", entry.path().strip_prefix(root).unwrap().display());
                found.push((path, fs::read_link(entry.path()).unwrap().display().to_string()));
            }
        }
    }
    found.sort();
    found
}

const CONF: (&str, Put) = ("etc/ld.so.conf", Text("include /etc/ld.so.conf.d/*.conf\n"));

#[test]
fn writes_the_cache_of_this_whole_machine() {
    let Some(ldconfig) = machine() else { return };
    let (scan, ours) = imitate(&ldconfig, Path::new("/"));
    assert_same(&ours, &run(None, "new"), "this machine");
    assert!(scan.libraries.len() > 50, "{}", scan.libraries.len());
    assert_eq!(Cache::parse(&ours).unwrap().libraries, scan.libraries);

    // Older releases wrote the format of 1997 in front.
    let compatible = run(None, "compat");
    assert!(compatible.starts_with(b"ld.so-1.7.0"));
    assert_eq!(lines(&compatible), lines(&ours));
}

#[test]
fn writes_the_cache_of_all_libraries_in_a_root_of_their_own() {
    if machine().is_none() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("opt/all");
    fs::create_dir_all(&directory).unwrap();
    for entry in fs::read_dir(LIBRARIES).unwrap().map(|entry| entry.unwrap()) {
        // Only the files: every SONAME link is missing.
        if entry.file_type().unwrap().is_file() {
            symlink_free_copy(&entry.path(), &directory.join(entry.file_name()));
        }
    }
    put(root.path(), "etc/ld.so.conf", &Text("/opt/all\n"));
    let ldconfig = machine().unwrap();
    let (scan, ours) = imitate(&ldconfig, root.path());
    assert_same(&ours, &run(Some(root.path()), "new"), "all libraries");
    let mut links: Vec<_> = scan.links.into_iter().map(|link| (link.path, link.target)).collect();
    links.sort();
    assert!(links.len() > 50, "{}", links.len());
    assert_eq!(symlinks(root.path()), links);
}

/// A hard link, or a copy when the directories are on two file systems.
fn symlink_free_copy(from: &Path, to: &Path) {
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to).unwrap();
    }
}

#[test]
fn links_each_soname_to_the_newest_file() {
    let soname = "libone.so.1";
    check(
        &[
            CONF,
            ("etc/ld.so.conf.d/one.conf", Text("/opt/one\n")),
            ("opt/one/libone.so.1.9", Made { soname, options: &[] }),
            ("opt/one/libone.so.1.10", Made { soname, options: &[] }),
            ("opt/one/libnone.so.3", Made { soname: "", options: &[] }),
            ("opt/one/libz.so.1.2.99", Copy("libz.so.1.")),
        ],
        &["/opt/one/libone.so.1 -> libone.so.1.10", "/opt/one/libz.so.1 -> libz.so.1.2.99"],
    );
}

#[test]
fn prefers_files_to_links_and_minds_what_a_link_is_for() {
    check(
        &[
            CONF,
            ("etc/ld.so.conf.d/links.conf", Text("/opt/dev\n/opt/bad\n/opt/wrong\n/opt/stale\n/opt/hard")),
            // As a development package has it.
            ("opt/dev/libz.so.1.2.99", Copy("libz.so.1.")),
            ("opt/dev/libz.so.1", Symlink("libz.so.1.2.99")),
            ("opt/dev/libz.so", Symlink("libz.so.1")),
            // A link of another name stands for a file.
            ("opt/bad/libother.so", Symlink("libz-1.2.so")),
            ("opt/bad/libz-1.2.so", Copy("libz.so.1.")),
            // The SONAME leads to an old file.
            ("opt/wrong/libz.so.1.1", Copy("libz.so.1.")),
            ("opt/wrong/libz.so.1.2", Copy("libz.so.1.")),
            ("opt/wrong/libz.so.1", Symlink("libz.so.1.1")),
            ("opt/stale/libgone.so.1", Symlink("libgone.so.1.2")),
            ("opt/stale/libgone.so", Symlink("libgone.so.1")),
            ("opt/hard/libz.so.1.2", Copy("libz.so.1.")),
            ("opt/hard/libz.so.1", Hardlink("opt/hard/libz.so.1.2")),
        ],
        &["/opt/bad/libz.so.1 -> libz-1.2.so", "/opt/wrong/libz.so.1 -> libz.so.1.2"],
    );
}

#[test]
fn leaves_a_soname_that_is_a_file_itself() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: ldconfig -r without root looks for the file outside its root");
    }
    check(
        &[
            ("etc/ld.so.conf", Text("/opt/taken\n")),
            ("opt/taken/libz.so.1", Copy("libz.so.1.")),
            ("opt/taken/libz.so.1.2", Copy("libz.so.1.")),
        ],
        &[],
    );
}

#[test]
fn passes_over_what_is_no_library() {
    check(
        &[
            CONF,
            ("etc/ld.so.conf.d/a.conf", Text("/opt/a\n/opt/missing\n")),
            ("opt/a/libc.so", Text("/* GNU ld script */\nGROUP ( /lib/libc.so.6 )\n")),
            ("opt/a/libempty.so.1", Text("")),
            ("opt/a/libshort.so.1", Text("\x7fELF")),
            ("opt/a/libz.so.1.2-gdb.py", Text("import gdb\n")),
            ("opt/a/libdirectory.so.1", Directory),
            ("opt/a/libdirlink.so.1", Symlink("libdirectory.so.1")),
            ("opt/a/z.so.1", Copy("libz.so.1.")),
            ("opt/a/libz.a", Copy("libz.so.1.")),
            ("opt/a/libz.so.1.#prelink#", Copy("libz.so.1.")),
            ("opt/a/libz.so.1.#prelink#.abcdef", Copy("libz.so.1.")),
            ("opt/a/ld-linux-x86-64.so.2", Copy("ld-linux-x86-64.so.2")),
            ("opt/a/libobject.so", Made { soname: "", options: &["-r", "-no-pie"] }),
        ],
        &[],
    );
}

#[test]
fn searches_directories_in_order_and_each_once() {
    check(
        &[
            CONF,
            ("etc/ld.so.conf.d/b.conf", Text("/opt/b/\n/opt/alias\n /opt/a # again\n/opt/b\n")),
            ("etc/ld.so.conf.d/a.conf", Text("/usr/local/lib\n/lib/x86_64-linux-gnu\n")),
            ("opt/a/libz.so.1", Copy("libz.so.1.")),
            ("opt/b/libz.so.1", Copy("libz.so.1.")),
            ("opt/alias", Symlink("/opt/a")),
            ("lib", Symlink("usr/lib")),
            ("usr/lib/x86_64-linux-gnu/libz.so.1", Copy("libz.so.1.")),
            ("usr/lib/x86_64-linux-gnu/libc.so.6", Copy("libc.so.6")),
            ("usr/lib/libm.so.6", Copy("libm.so.6")),
            ("usr/local/lib/libz.so.1", Symlink("/opt/a/libz.so.1")),
        ],
        &[],
    );
}

#[test]
fn enters_libraries_for_particular_processors() {
    let soname = "libone.so.1";
    check(
        &[
            CONF,
            ("etc/ld.so.conf.d/a.conf", Text("/opt/a\n/opt/b\n")),
            ("opt/a/libone.so.1", Made { soname, options: &[] }),
            ("opt/a/glibc-hwcaps/x86-64-v2/libone.so.1.0", Made { soname, options: &["-Wl,-z,x86-64-v2"] }),
            ("opt/a/glibc-hwcaps/x86-64-v3/libone.so.1.0", Made { soname, options: &["-Wl,-z,x86-64-v3"] }),
            ("opt/a/glibc-hwcaps/x86-64-v4/libone.so.1.0", Made { soname, options: &["-Wl,-z,x86-64-v4"] }),
            ("opt/a/glibc-hwcaps/x86-64-v4/libone.so.1", Symlink("libone.so.1.0")),
            ("opt/a/glibc-hwcaps/unused", Directory),
            ("opt/a/glibc-hwcaps/.hidden/libone.so.1", Made { soname, options: &[] }),
            ("opt/b/glibc-hwcaps/x86-64-v3/libone.so.1.1", Made { soname, options: &[] }),
            ("opt/b/glibc-hwcaps/x86-64-v3/tls/libone.so.1", Made { soname, options: &[] }),
        ],
        &[],
    );
}

#[test]
fn searches_the_subdirectories_of_old_where_this_glibc_does() {
    let old = [
        "tls",
        "haswell",
        "avx512_1",
        "x86_64",
        "sse2",
        "i586",
        "i686",
        "xeon_phi",
        "tls/haswell",
        "none/tls",
    ];
    let paths: Vec<String> = old.iter().map(|name| format!("opt/a/{name}/libz.so.1")).collect();
    let mut layout = vec![CONF, ("etc/ld.so.conf.d/a.conf", Text("/opt/a\n/opt/b/tls\n"))];
    layout.extend(paths.iter().map(|path| (path.as_str(), Copy("libz.so.1."))));
    layout.push(("opt/b/tls/libz.so.1", Copy("libz.so.1.")));
    layout.push(("opt/a/libz.so.1", Copy("libz.so.1.")));
    check(&layout, &[]);
}

#[test]
fn tells_the_abis_of_one_machine_apart() {
    let soname = "libone.so.1";
    let libraries = tempfile::tempdir().unwrap();
    let libc6 = libraries.path().join("libc.so.6");
    if machine().is_some() && has_gcc() {
        make(&libc6, "libc.so.6", &["-m32"]);
    }
    check(
        &[
            CONF,
            ("etc/ld.so.conf.d/a.conf", Text("/opt/32\n/opt/x32\n/opt/64\n/opt/libc6\n")),
            ("opt/32/libone.so.1", Made { soname, options: &["-m32"] }),
            ("opt/libc6/libc.so.6", Made { soname: "libc.so.6", options: &["-m32"] }),
            (
                "opt/libc6/libone.so.1",
                Made { soname, options: &["-m32", "-Wl,--no-as-needed", libc6.to_str().unwrap()] },
            ),
            ("opt/x32/libone.so.1", Made { soname, options: &["-mx32"] }),
            ("opt/64/libone.so.1", Made { soname, options: &[] }),
        ],
        &[],
    );
}

#[test]
fn writes_a_cache_without_libraries() {
    check(&[("etc/ld.so.conf", Text(""))], &[]);
}

#[test]
fn reads_of_every_library_what_readelf_shows() {
    if machine().is_none() || Command::new("readelf").arg("-v").output().is_err() {
        return eprintln!("skipped: no readelf");
    }
    let mut seen = 0;
    for entry in fs::read_dir(LIBRARIES).unwrap().map(|entry| entry.unwrap().path()) {
        let Some(elf) = entry.is_file().then(|| read(&entry)).flatten() else { continue };
        let Some(dynamic) = elf.dynamic else { continue };
        let output = Command::new("readelf").args(["-dW"]).arg(&entry).output().unwrap().stdout;
        let text = String::from_utf8(output).unwrap();
        let shown = |tag: &str| -> Vec<String> {
            let lines = text.lines().filter(|line| line.contains(tag));
            lines.map(|line| line.split(['[', ']']).nth(1).unwrap().to_owned()).collect()
        };
        assert_eq!(shown("(NEEDED)"), dynamic.needed, "{entry:?}");
        assert_eq!(shown("(SONAME)"), Vec::from_iter(dynamic.soname), "{entry:?}");
        assert_eq!(shown("(RUNPATH)"), Vec::from_iter(dynamic.runpath), "{entry:?}");
        assert_eq!(shown("(RPATH)"), Vec::from_iter(dynamic.rpath), "{entry:?}");
        seen += 1;
    }
    assert!(seen > 50, "{seen}");
}

#[test]
fn reads_the_notes_and_the_loader_of_libc() {
    if machine().is_none() {
        return;
    }
    let elf = read(&library("libc.so.6")).unwrap();
    assert_eq!((elf.class, elf.machine, elf.kind), (Class::Elf64, Machine::X86_64, Kind::Shared));
    assert_eq!(elf.interpreter.as_deref(), Some("/lib64/ld-linux-x86-64.so.2"));
    assert_eq!(elf.abi_tag, Some(0x0003_0200), "Linux 3.2.0");
}

#[test]
fn probes_of_every_library_what_a_seekable_file_shows() {
    if machine().is_none() {
        return;
    }
    let (mut seen, mut incomplete) = (0, 0);
    for entry in fs::read_dir(LIBRARIES).unwrap().map(|entry| entry.unwrap()) {
        if !entry.file_type().unwrap().is_file() {
            continue;
        }
        let bytes = fs::read(entry.path()).unwrap();
        let mut probe = Probe::linking(bytes.len() as u64).keeping(ProbeBudget::LARGE);
        bytes.chunks(32 << 10).for_each(|chunk| probe.update(chunk));
        let (linked, rounds) = supply(probe.finish(), &bytes);
        assert_eq!(linked.map(|linked| linked.object.elf), read(&entry.path()), "{entry:?}");
        assert!(rounds <= 2, "{entry:?}: {rounds}");
        seen += 1;
        incomplete += usize::from(rounds > 0);
    }
    assert!(seen > 50, "{seen}");
    assert!(incomplete * 20 < seen, "{incomplete} of {seen} had to be read twice");
}

/// Hands over what is missing until nothing is, and counts how often.
fn supply(mut outcome: Result<Outcome, ElfError>, bytes: &[u8]) -> (Option<Linked>, usize) {
    for rounds in 0.. {
        let mut incomplete = match outcome {
            Ok(Outcome::Incomplete(incomplete)) => incomplete,
            Ok(Outcome::Elf(linked)) => return (Some(linked), rounds),
            Ok(Outcome::NotElf) | Err(_) => return (None, rounds),
        };
        for range in incomplete.missing().to_vec() {
            incomplete.supply(range.start, &bytes[range.start as usize..range.end as usize]);
        }
        outcome = incomplete.finish();
    }
    unreachable!("the loop returns")
}

#[test]
fn says_what_is_wrong_with_a_damaged_file() {
    if machine().is_none() {
        return;
    }
    let whole = fs::read(library("libz.so.1.")).unwrap();
    let check = |change: &dyn Fn(&mut Vec<u8>), expected: &str| {
        let mut bytes = whole.clone();
        change(&mut bytes);
        let error = dynamic::read(&bytes[..]).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.hint().is_some(), "{error}");
    };
    check(
        &|bytes| bytes.truncate(40),
        "its ELF header is 64 bytes at offset 0, beyond the end of the file at 40",
    );
    check(&|bytes| bytes[4] = 9, "its ELF header names class 9");
    check(&|bytes| bytes[54] = 57, "its program headers are 57 bytes each instead of 56");
    check(&|bytes| bytes[32..40].fill(0xff), "its program headers is");
    check(&|bytes| bytes.truncate(0x1000), "its dynamic section is");
    // The string table moves where nothing is loaded.
    check(&|bytes| patch_dynamic(bytes, 5, 1 << 40), "its string table is at address 0x10000000000");
    check(
        &|bytes| patch_dynamic(bytes, 14, 1 << 40),
        "the name at 1099511627776 of its string table does not end",
    );
    check(&|bytes| patch_dynamic(bytes, 10, 1), "does not end within the table");
}

/// Changes the value of a dynamic entry of a 64-bit library.
fn patch_dynamic(bytes: &mut [u8], tag: u64, value: u64) {
    let number = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let headers = (0..usize::from(bytes[56])).map(|index| 64 + 56 * index);
    let segment = headers.into_iter().find(|at| bytes[*at] == 2).unwrap();
    let start = number(bytes, segment + 8) as usize;
    let entry = (start..).step_by(16).find(|at| number(bytes, *at) == tag).unwrap();
    bytes[entry + 8..entry + 16].copy_from_slice(&value.to_le_bytes());
}

#[test]
fn survives_every_damaged_byte_of_the_headers() {
    let Some(_) = machine() else { return };
    let bytes = fs::read(library("libz.so.1.")).unwrap();
    let whole = dynamic::read(&bytes[..]).unwrap().unwrap();
    for length in (0..bytes.len()).step_by(97) {
        // A part is an error, or not ELF, or, when only unread bytes are cut off, the same.
        let part = dynamic::read(&bytes[..length]);
        assert!(matches!(&part, Err(_) | Ok(None)) || part.unwrap() == Some(whole.clone()), "{length}");
    }
    for index in 0..1024 {
        for value in [0, 0x7f, 0xff] {
            let mut damaged = bytes.clone();
            damaged[index] = value;
            // Whether it reads depends on the byte; that it returns, in bounded memory, is the promise.
            let _ = dynamic::read(&damaged[..]);
        }
    }
}
