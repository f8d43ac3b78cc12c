//! The base's own interpreter, out of its layers.
//!
//! What is needed of it is little: the program, the loader, the C library and the few others that it links to, and of the
//! standard library the encodings that source text may be written in. It is run by its own loader, so that nothing of the
//! machine's has a part in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::worker::{Interpreter, SCRIPT};
use super::{BytecodeError, CompileTarget};
use crate::elf::architecture::{library_directory, loader_path};
use crate::elf::{FileNode, Root, dynamic};
use crate::layer::read::{decompressed, each_event};
use crate::observe::inventory_facts::InventoryFacts;
use crate::oci::tar::read::{MemberKind, TarEvent, TarMember};
use crate::oci::{Digest, Hasher};
use crate::sandbox::Confinement;
use crate::store::Store;

/// Part of the name of what is kept: raised when other files of a base are needed.
const FORMAT: u32 = 2;
/// The libraries that builds of CPython link to, without `lib` and what follows `.so`.
const LIBRARIES: [&str; 15] = [
    "c", "crypt", "dl", "expat", "gcc_s", "intl", "m", "mpdec", "nsl", "pthread", "rt", "stdc++", "tirpc",
    "util", "z",
];
/// The largest file that an interpreter is made of, in bytes.
const MAX_FILE: u64 = 256 << 20;
/// The bytes of all its files, and their number: that of Debian 12 has 12 MB in 132 files.
const MAX_TREE: u64 = 512 << 20;
const MAX_FILES: usize = 4096;

/// The places of an interpreter's parts in a base, and their names outside of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseInterpreter {
    /// The base's layers, bottom first.
    layers: Vec<Digest>,
    /// Names of the parts by their paths in the base, which are relative to its root and without symlinks.
    parts: BTreeMap<String, BTreeSet<String>>,
    /// The directory of the standard library, relative to the root.
    library: String,
    /// `(3, 11)`
    version: (u8, u8),
    /// The name of the loader.
    loader: &'static str,
}

impl BaseInterpreter {
    /// Locates the interpreter in a base of these `layers`, bottom first, by their `facts`; `None` when it
    /// cannot be told.
    pub fn locate(target: CompileTarget<'_>, facts: &InventoryFacts, layers: Vec<Digest>) -> Option<Self> {
        let version = target.scheme.version;
        let (directory, name) = target.scheme.interpreter.trim_start_matches('/').rsplit_once('/')?;
        let interpreter = find(facts, directory, |entry| entry == name).into_iter().next()?.0;
        let prefix = interpreter.rsplit_once('/')?.0.strip_suffix("bin")?;
        let mut parts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        parts.entry(interpreter.clone()).or_default().insert(program(version));
        let of_debian = library_directory(target.architecture);
        let (_, loader) = loader_path(target.architecture).rsplit_once('/')?;
        let mut known = BTreeSet::new();
        for directory in [
            format!("{prefix}lib"),
            of_debian.into(),
            format!("usr/{of_debian}"),
            "lib64".into(),
            "usr/lib64".into(),
            "lib".into(),
            "usr/lib".into(),
            "usr/local/lib".into(),
        ] {
            for (path, name) in find(facts, &directory, is_wanted) {
                if known.insert(name.clone()) {
                    parts.entry(path).or_default().insert(format!("libraries/{name}"));
                }
            }
        }
        let library = format!("{prefix}lib/python{}.{}", version.0, version.1);
        Some(Self { layers, parts, library, version, loader })
    }

    /// Extracts it from `store`'s blobs, at most once, and gives the way to call it, and the digest of everything that has
    /// a part in what it answers.
    pub(super) fn extract(
        &self,
        store: &Store,
        confinement: Confinement,
    ) -> Result<(Interpreter, Digest), BytecodeError> {
        let key = Digest::of(format!("{FORMAT} {self:?} {}", Digest::of(SCRIPT.1)));
        let tree = store.put_tree(&key, |directory| self.extract_into(store, directory))?;
        let digest =
            digest_of(&tree).map_err(|source| BytecodeError::Extract { path: tree.clone(), source })?;
        let interpreter = Interpreter::of_base(&tree, self.loader, &program(self.version), confinement);
        Ok((interpreter, digest))
    }

    fn extract_into(&self, store: &Store, directory: &Path) -> Result<(), BytecodeError> {
        let mut room = TreeRoom::default();
        for layer in &self.layers {
            let blob = store.open_blob(layer)?;
            self.extract_layer(blob, directory, &mut room)
                .map_err(|source| BytecodeError::Layer { layer: *layer, source })?;
        }
        let (name, text) = SCRIPT;
        let script = directory.join(name);
        create(&script)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|source| BytecodeError::Extract { path: script, source })?;
        check_libraries(directory, self.version)
    }

    /// Writes the parts that the layer has below `directory`; those of upper layers replace them.
    fn extract_layer(&self, blob: File, directory: &Path, room: &mut TreeRoom) -> io::Result<()> {
        let mut current: Vec<File> = Vec::new();
        each_event(decompressed(blob)?, |event, member| {
            match event {
                TarEvent::Begin => {
                    let names = self.names(member);
                    room.take(names.len(), member.size)?;
                    let files = names.iter().map(|name| create(&directory.join(name)));
                    current = files.collect::<io::Result<_>>()?;
                }
                TarEvent::Content(bytes) => {
                    current.iter_mut().try_for_each(|file| file.write_all(bytes))?;
                }
                TarEvent::End => current.clear(),
            }
            Ok(())
        })
    }

    /// The names of an archive's file outside of it; none when it is none of the parts.
    fn names(&self, member: &TarMember) -> Vec<String> {
        if member.kind != MemberKind::File || member.size > MAX_FILE {
            return Vec::new();
        }
        let path = String::from_utf8_lossy(&member.path);
        let path = path.trim_start_matches("./").trim_start_matches('/');
        if let Some(names) = self.parts.get(path) {
            return names.iter().cloned().collect();
        }
        let in_library = path.strip_prefix(&self.library).and_then(|rest| rest.strip_prefix('/'));
        let (major, minor) = self.version;
        let name = in_library.filter(|name| is_of_compiler(name));
        name.map(|name| format!("lib/python{major}.{minor}/{name}")).into_iter().collect()
    }
}

/// Returns whether compiling needs this file of the standard library: `os.py`, by which the interpreter knows its
/// library, what it starts with, and what source text is decoded by.
fn is_of_compiler(path: &str) -> bool {
    let module = |directory: &str| path.strip_prefix(directory).filter(|name| !name.contains('/'));
    // Before Python 3.11, what comes first is not part of the program.
    ["_bootlocale.py", "abc.py", "codecs.py", "io.py", "os.py"].contains(&path)
        || module("encodings/").is_some_and(|name| name.ends_with(".py"))
        || module("lib-dynload/").is_some_and(|name| {
            ["_codecs_", "_multibytecodec.", "unicodedata."].iter().any(|start| name.starts_with(start))
        })
}

fn is_wanted(name: &str) -> bool {
    let stem = || name.strip_prefix("lib")?.split_once(".so").map(|(stem, _)| stem);
    name.starts_with("ld-linux-")
        || stem().is_some_and(|stem| LIBRARIES.contains(&stem) || stem.starts_with("python3."))
}

/// The files in a directory whose names are `wanted`: their paths without symlinks, and their names.
fn find(facts: &InventoryFacts, directory: &str, wanted: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    let listing = facts.directory(directory);
    let entries = listing.into_iter().flat_map(|listing| listing.entries);
    let files = entries.filter(|entry| wanted(&entry.name)).filter_map(|entry| match entry.node {
        FileNode::File { identity, .. } => Some((identity, entry.name)),
        _ => None,
    });
    files.collect()
}

fn program((major, minor): (u8, u8)) -> String {
    format!("bin/python{major}.{minor}")
}

/// The files of an interpreter so far, and their bytes.
#[derive(Debug, Default)]
struct TreeRoom {
    files: usize,
    bytes: u64,
}

impl TreeRoom {
    /// Takes room for the copies of a file, or refuses an interpreter that no base has.
    fn take(&mut self, copies: usize, size: u64) -> io::Result<()> {
        self.files += copies;
        self.bytes = self.bytes.saturating_add(size.saturating_mul(copies as u64));
        if self.files > MAX_FILES || self.bytes > MAX_TREE {
            let most = format!("the base's Python has more than {MAX_FILES} files or {MAX_TREE} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, most));
        }
        Ok(())
    }
}

/// Creates a file that any user of a sandbox may read and run, with its directories.
fn create(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
        create_directory(directory)?;
    }
    let file = File::create(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o755))?;
    Ok(file)
}

fn create_directory(path: &Path) -> io::Result<()> {
    if let Some(above) = path.parent().filter(|above| !above.exists()) {
        create_directory(above)?;
    }
    fs::create_dir(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

/// The digest of the names and contents of all files below `directory`.
fn digest_of(directory: &Path) -> io::Result<Digest> {
    let mut files = Vec::new();
    collect(directory, &mut files)?;
    files.sort_unstable();
    let mut all = Hasher::default();
    for path in files {
        let mut content = Hasher::default();
        io::copy(&mut File::open(&path)?, &mut content)?;
        let name = path.strip_prefix(directory).unwrap_or(&path);
        writeln!(all, "{} {name:?}", content.finish())?;
    }
    Ok(all.finish())
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        match path.is_dir() {
            true => collect(&path, files)?,
            false => files.push(path),
        }
    }
    Ok(())
}

/// Refuses an interpreter whose libraries are not all there: the machine's would take their place.
fn check_libraries(directory: &Path, version: (u8, u8)) -> Result<(), BytecodeError> {
    let libraries = directory.join("libraries");
    let mut waiting = vec![directory.join(program(version))];
    let mut seen = BTreeSet::new();
    while let Some(path) = waiting.pop() {
        let lacking = || BytecodeError::Lacking {
            path: path.strip_prefix(directory).unwrap_or(&path).display().to_string(),
        };
        let file = File::open(&path).map_err(|_| lacking())?;
        let elf = dynamic::read(&file).ok().flatten().ok_or_else(lacking)?;
        let needed = elf.dynamic.map(|dynamic| dynamic.needed).unwrap_or_default();
        waiting.extend(
            needed.into_iter().filter(|name| seen.insert(name.clone())).map(|name| libraries.join(name)),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{LayerWriter, Written};
    use crate::oci::{Architecture, Entry, EntryKind};
    use crate::plan::LayerCompression;
    use crate::pypa::scheme::InstallScheme;

    enum File {
        Link(&'static str, &'static str),
        Regular(&'static str, &'static str),
    }
    use File::{Link, Regular};

    fn write_layer(store: &Store, files: &[File]) -> Written {
        let entry =
            |path: &str, kind| Entry { path: path.into(), mode: 0o755, uid: 0, gid: 0, mtime: 0, kind };
        let mut writer = LayerWriter::new(store, &LayerCompression::Gzip, &|_| ()).unwrap();
        for file in files {
            match *file {
                Link(path, target) => {
                    writer.entry(&entry(path, EntryKind::Symlink { target: target.into() })).unwrap()
                }
                Regular(path, content) => {
                    let kind = EntryKind::File { size: content.len() as u64 };
                    writer.file(&entry(path, kind), || Ok(content.as_bytes())).unwrap()
                }
            }
        }
        writer.finish().unwrap()
    }

    fn target(architecture: Architecture, scheme: &InstallScheme) -> CompileTarget<'_> {
        CompileTarget { python: "3.11.2", architecture, scheme }
    }

    /// The files extracted from layers, by name.
    fn extracted(layers: &[&[File]], target: CompileTarget<'_>) -> Option<BTreeMap<String, String>> {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store")).unwrap();
        let layers: Vec<Written> = layers.iter().map(|files| write_layer(&store, files)).collect();
        let facts = InventoryFacts::stacked(layers.iter().map(|layer| layer.facts.clone()));
        let digests: Vec<Digest> = layers.iter().map(|layer| layer.digest).collect();
        let interpreter = BaseInterpreter::locate(target, &facts, digests.clone())?;
        let output = directory.path().join("output");
        fs::create_dir(&output).unwrap();
        for digest in &digests {
            let blob = store.open_blob(digest).unwrap();
            interpreter.extract_layer(blob, &output, &mut TreeRoom::default()).unwrap();
        }
        let mut found = BTreeMap::new();
        let mut waiting = vec![output.clone()];
        while let Some(path) = waiting.pop() {
            if path.is_dir() {
                waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else {
                let name = path.strip_prefix(&output).unwrap().display().to_string();
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
        Some(found)
    }

    #[track_caller]
    fn check(layers: &[&[File]], target: CompileTarget<'_>, expected: &[(&str, &str)]) {
        let expected = expected.iter().map(|(name, content)| ((*name).into(), (*content).into())).collect();
        assert_eq!(extracted(layers, target), Some(expected));
    }

    #[test]
    fn what_an_interpreter_needs_is_found_behind_links_and_in_upper_layers() {
        let lower = [
            Link("lib", "usr/lib"),
            Link("lib64", "usr/lib64"),
            Link("usr/bin/python3", "python3.11"),
            Regular("usr/bin/python3.11", "program"),
            Regular("usr/lib/python3.11/ast.py", "not needed"),
            Regular("usr/lib/python3.11/encodings/utf_8.py", "codec"),
            Regular("usr/lib/python3.11/lib-dynload/_codecs_jp.cpython-311-x86_64-linux-gnu.so", "codecs"),
            Regular("usr/lib/python3.11/lib-dynload/_ssl.cpython-311-x86_64-linux-gnu.so", "not needed"),
            Regular("usr/lib/python3.11/os.py", "os"),
            Regular("usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "loader"),
            Regular("usr/lib/x86_64-linux-gnu/libc.so.6", "libc"),
            Regular("usr/lib/x86_64-linux-gnu/libssl.so.3", "not needed"),
            Link("usr/lib/x86_64-linux-gnu/libz.so.1", "libz.so.1.2.13"),
            Regular("usr/lib/x86_64-linux-gnu/libz.so.1.2.13", "zlib"),
            Link("usr/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"),
        ];
        let upper = [Regular("usr/lib/x86_64-linux-gnu/libc.so.6", "a newer libc")];
        check(
            &[&lower, &upper],
            target(Architecture::Amd64, &InstallScheme::debian((3, 11))),
            &[
                ("bin/python3.11", "program"),
                ("lib/python3.11/encodings/utf_8.py", "codec"),
                ("lib/python3.11/lib-dynload/_codecs_jp.cpython-311-x86_64-linux-gnu.so", "codecs"),
                ("lib/python3.11/os.py", "os"),
                ("libraries/ld-linux-x86-64.so.2", "loader"),
                ("libraries/libc.so.6", "a newer libc"),
                ("libraries/libz.so.1", "zlib"),
                ("libraries/libz.so.1.2.13", "zlib"),
            ],
        );
    }

    #[test]
    fn the_interpreter_behind_a_virtual_environment_is_taken() {
        let files = [
            Link("opt/venv/bin/python3", "/usr/local/bin/python3.11"),
            Regular("usr/local/bin/python3.11", "program"),
            Regular("usr/local/lib/libpython3.11.so.1.0", "python"),
            Regular("usr/local/lib/python3.11/os.py", "os"),
        ];
        check(
            &[&files],
            target(Architecture::Arm64, &InstallScheme::prefix("opt/venv", (3, 11), "/opt/venv/bin/python3")),
            &[
                ("bin/python3.11", "program"),
                ("lib/python3.11/os.py", "os"),
                ("libraries/libpython3.11.so.1.0", "python"),
            ],
        );
    }

    #[test]
    fn every_file_of_an_interpreter_has_a_part_in_its_digest() {
        let digest = |files: &[(&str, &str)]| {
            let directory = tempfile::tempdir().unwrap();
            for (name, content) in files {
                create(&directory.path().join(name)).unwrap().write_all(content.as_bytes()).unwrap();
            }
            digest_of(directory.path()).unwrap()
        };
        let honest =
            [("bin/python3.11", "program"), ("lib/python3.11/os.py", "os"), ("libraries/ld.so", "loader")];
        let first = digest(&honest);
        assert_eq!(digest(&[honest[2], honest[0], honest[1]]), first);
        for changed in 0..honest.len() {
            let mut files = honest;
            files[changed].1 = "hostile";
            assert_ne!(digest(&files), first);
            files = honest;
            files[changed].0 = "elsewhere";
            assert_ne!(digest(&files), first);
        }
        assert_ne!(digest(&honest[..2]), first);
    }

    #[test]
    fn an_interpreter_larger_than_any_is_refused() {
        let taken = |copies, size, times| {
            let mut room = TreeRoom::default();
            (0..times).try_for_each(|_| room.take(copies, size)).is_ok()
        };
        assert!(taken(1, 1 << 20, 400) && taken(0, u64::MAX, 9));
        assert!(!taken(2, 1 << 20, 400) && !taken(1, 0, MAX_FILES + 1) && !taken(2, u64::MAX, 1));
    }

    #[test]
    fn a_base_whose_interpreter_is_nowhere_has_none() {
        let files = [Link("usr/bin/python3", "python3.11")];
        assert_eq!(extracted(&[&files], target(Architecture::Amd64, &InstallScheme::debian((3, 11)))), None);
    }
}
