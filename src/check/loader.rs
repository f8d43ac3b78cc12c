//! The dynamic loader, simulated over an image's files: which file it takes for every name, and by which search.
//!
//! The rules are glibc's, as `ld.so(8)` tells them and `elf/dl-load.c` has them, and musl's (`ldso/dynlink.c`) for what
//! musl's loader interprets. Nothing is executed.
//!
//! * <https://man7.org/linux/man-pages/man8/ld.so.8.html>
//! * <https://sourceware.org/git/?p=glibc.git;a=blob;f=elf/dl-load.c>

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::elf::architecture::{library_directory, loader_path};
use crate::elf::library_search::cached_paths;
use crate::elf::{Cache, CacheError, Elf, Kind, LibrarySearch, Machine, Object};
use crate::observe::check_facts::{CheckFacts, FileContent, FileItem};
use crate::oci::Architecture;

/// The settings of a loader beside its files.
#[derive(Debug, Clone)]
pub struct LoaderSettings {
    /// The architecture of the image: the loader refuses objects for others.
    pub architecture: Architecture,
    /// The value of `LD_LIBRARY_PATH` in the image's config.
    pub library_path: Option<String>,
    /// The value of `LD_PRELOAD` in the image's config.
    pub preload: Option<String>,
    /// The level of the processor: 0 for the baseline, 2 for x86-64-v3. A proof must hold for the baseline.
    pub isa_level: u32,
}

/// The loader of an image.
#[derive(Debug)]
pub struct Loader<'a> {
    evidence: &'a CheckFacts,
    architecture: Architecture,
    /// The libraries that are loaded into every process.
    preload: Vec<String>,
    places: LibrarySearch,
    /// The value of `$LIB`.
    lib: &'static str,
}

/// One object of a process.
#[derive(Debug, Clone)]
pub struct Loaded<'a> {
    /// The path by which it was opened.
    pub path: String,
    /// The file itself: the same for two paths exactly when they are one file.
    pub real: String,
    /// The path that its name leads to, without symlinks: another name of a file with several.
    pub file: String,
    /// Its symbols and needs.
    pub object: &'a Object,
    /// The object of the process that asked for it; `None` for the program, and for objects that it opens by itself.
    pub asked_by: Option<usize>,
    /// The search that found it.
    pub search: Search,
    /// The objects of the process that it needs, in its order.
    pub needs: Vec<usize>,
    /// The name that it was first asked for under; its path, where it was named by that.
    pub name: String,
}

/// By which way a file was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Search {
    /// It was named by its path.
    Path,
    /// DT_RPATH of an object, or of one that led to it.
    Rpath,
    /// The config's `LD_LIBRARY_PATH`.
    LibraryPath,
    /// DT_RUNPATH of the object that needs it.
    Runpath,
    /// `/etc/ld.so.cache`.
    Cache,
    /// A directory that is always searched.
    Default,
    /// By none of them: something else loads it first.
    Preloaded,
}

impl fmt::Display for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Path => "path",
            Self::Rpath => "rpath",
            Self::LibraryPath => "library-path",
            Self::Runpath => "runpath",
            Self::Cache => "cache",
            Self::Default => "default",
            Self::Preloaded => "preloaded",
        })
    }
}

/// A search that was made, in these directories; the cache has no directories of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Searched {
    /// The search.
    pub by: Search,
    /// The directories, in the order of the search.
    pub directories: Vec<String>,
}

/// A name that leads to nothing the loader can link.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Miss {
    /// The object of the process that needs it.
    pub needed_by: usize,
    /// The name that was searched for.
    pub name: String,
    /// The file at fault, where there is one: it is no library, or damaged.
    pub refused: Option<String>,
}

/// The objects of a process, in the order in which they were loaded.
#[derive(Debug, Clone, Default)]
pub struct Process<'a> {
    /// The loaded objects, in the loader's order.
    pub objects: Vec<Loaded<'a>>,
    /// The names that were not found.
    pub misses: Vec<Miss>,
    /// The loader that the program asks for, where it is not there.
    pub missing_loader: Option<String>,
    by_name: BTreeMap<String, usize>,
    by_file: BTreeMap<String, usize>,
    musl: bool,
}

/// The end of a search.
enum Hit<'a> {
    File(Found<'a>),
    Refused(String),
}

/// A file that the loader links.
struct Found<'a> {
    path: String,
    real: String,
    file: String,
    object: &'a Object,
}

impl<'a> Loader<'a> {
    /// The loader of the image of `evidence`.
    pub fn new(evidence: &'a CheckFacts, settings: LoaderSettings) -> Result<Self, CacheError> {
        let cache = match evidence.text("etc/ld.so.cache") {
            Some(bytes) => cached_paths(Cache::parse(bytes)?, settings.isa_level),
            None => BTreeMap::new(),
        };
        Ok(Self::with(evidence, settings, cache))
    }

    fn with(
        evidence: &'a CheckFacts,
        settings: LoaderSettings,
        cache: BTreeMap<String, Vec<String>>,
    ) -> Self {
        let of_debian = library_directory(settings.architecture);
        // Debian's loaders search the directories of the architecture, others the 64-bit ones.
        let is_debian = evidence.is_directory(&format!("usr/{of_debian}"));
        let (system, lib) = match is_debian {
            true => (
                vec![format!("/{of_debian}"), format!("/usr/{of_debian}"), "/lib".into(), "/usr/lib".into()],
                of_debian,
            ),
            false => (vec!["/lib64".into(), "/usr/lib64".into()], "lib64"),
        };
        let library_path = settings.library_path.as_deref().map(split_environment).unwrap_or_default();
        let of_file = evidence.text("etc/ld.so.preload").map(String::from_utf8_lossy).unwrap_or_default();
        let preload = [settings.preload.as_deref().unwrap_or_default(), &of_file];
        let preload = preload.iter().flat_map(|names| names.split([' ', ':', '\n', '\t']));
        let preload = preload.filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let LoaderSettings { architecture, isa_level, .. } = settings;
        let machine = Machine::from(architecture);
        Self {
            evidence,
            architecture,
            preload,
            places: LibrarySearch { machine, isa_level, library_path, cache, system },
            lib,
        }
    }

    /// The loader of an image whose cache cannot be read.
    pub fn without_cache(evidence: &'a CheckFacts, settings: LoaderSettings) -> Self {
        Self::with(evidence, settings, BTreeMap::new())
    }

    /// Starts the program or library at the absolute path `path`; `None` when there is nothing to link.
    pub fn start(&self, path: &str) -> Option<Process<'a>> {
        let Hit::File(program) = self.look(path)? else { return None };
        let interpreter = program.object.elf.interpreter.as_deref();
        let musl = interpreter.is_some_and(|path| path.contains("/ld-musl-"));
        let mut process = Process { musl, ..Process::default() };
        process.add(program, path, None, Search::Path);
        // A library is never alone: the loader that maps it is there first.
        let asked = interpreter.unwrap_or(loader_path(self.architecture));
        match self.look(asked) {
            Some(Hit::File(loader)) => drop(process.add(loader, asked, None, Search::Path)),
            _ => process.missing_loader = interpreter.map(str::to_owned),
        }
        // One that is not found is passed over.
        for name in &self.preload {
            self.need(&mut process, 0, name);
        }
        process.misses.clear();
        self.link(&mut process, 0);
        Some(process)
    }

    /// Loads into `process` what is at the absolute path `path`, and all that it needs, as `dlopen` does; gives its
    /// number, or `None` when there is nothing to link.
    pub fn open(&self, process: &mut Process<'a>, path: &str, search: Search) -> Option<usize> {
        let Hit::File(found) = self.look(path)? else { return None };
        if let Some(present) = process.by_file.get(&found.real) {
            return Some(*present);
        }
        let next = process.add(found, path, None, search);
        self.link(process, next);
        Some(next)
    }

    /// Loads what `dlopen` finds for a bare `name` that the object `from` asks for; gives its number. Nothing is said of
    /// what is missed.
    pub fn open_name(&self, process: &mut Process<'a>, name: &str, from: usize) -> Option<usize> {
        let misses = process.misses.len();
        let opened = self.open_by_name(process, name, from);
        process.misses.truncate(misses);
        opened
    }

    /// The same, with what the library misses in its turn.
    pub fn open_by_name(&self, process: &mut Process<'a>, name: &str, from: usize) -> Option<usize> {
        let first = process.objects.len();
        self.need(process, from, name);
        process.misses.retain(|miss| miss.needed_by != from || miss.name != name);
        self.link(process, first);
        process.find(name)
    }

    /// Loads what the objects from `first` on need, breadth first.
    fn link(&self, process: &mut Process<'a>, first: usize) {
        let mut next = first;
        while let Some(loaded) = process.objects.get(next) {
            let object = loaded.object;
            for name in object.elf.dynamic.iter().flat_map(|dynamic| &dynamic.needed) {
                self.need(process, next, name);
            }
            next += 1;
        }
    }

    fn need(&self, process: &mut Process<'a>, from: usize, name: &str) {
        if let Some(present) = process.find(name) {
            process.objects[from].needs.push(present);
            return;
        }
        match self.search(process, from, name) {
            Some((Hit::File(found), search)) => {
                let to = match process.by_file.get(&found.real) {
                    Some(present) => *present,
                    None => process.add(found, name, Some(from), search),
                };
                process.by_name.entry(name.to_owned()).or_insert(to);
                process.objects[from].needs.push(to);
            }
            Some((Hit::Refused(path), _)) => {
                process.misses.push(Miss { needed_by: from, name: name.to_owned(), refused: Some(path) });
            }
            None => process.misses.push(Miss { needed_by: from, name: name.to_owned(), refused: None }),
        }
    }

    /// The file that the loader takes for `name`, which the object `from` needs.
    fn search(&self, process: &Process<'a>, from: usize, name: &str) -> Option<(Hit<'a>, Search)> {
        if name.contains('/') {
            let path = self.expand(name, &process.objects[from].path)?;
            return self.look(&path).map(|hit| (hit, Search::Path));
        }
        let searches = Self::searches(process, from);
        let everywhere = searches.contains(&Search::Default);
        let look = |path: &str| self.look(path);
        searches.iter().find_map(|search| {
            let hit = match search {
                Search::Cache => self.places.cached(name, everywhere, look),
                _ => self.places.within(&self.searched(process, from, *search), name, look),
            };
            hit.map(|hit| (hit, *search))
        })
    }

    /// The searches for a bare name that the object `from` needs, in the loader's order.
    fn searches(process: &Process<'_>, from: usize) -> &'static [Search] {
        const GLIBC: &[Search] =
            &[Search::Rpath, Search::LibraryPath, Search::Runpath, Search::Cache, Search::Default];
        const NO_DEFAULT: &[Search] = &[Search::Rpath, Search::LibraryPath, Search::Runpath, Search::Cache];
        const MUSL: &[Search] = &[Search::LibraryPath, Search::Rpath, Search::Runpath, Search::Default];
        let dynamic = process.objects[from].object.elf.dynamic.as_ref();
        match dynamic.is_some_and(|dynamic| dynamic.no_default_directories) {
            _ if process.musl => MUSL,
            true => NO_DEFAULT,
            false => GLIBC,
        }
    }

    /// The directories of one search for what the object `from` needs.
    fn searched(&self, process: &Process<'_>, from: usize, search: Search) -> Vec<String> {
        match search {
            Search::Rpath => self.rpath(process, from),
            Search::LibraryPath => self.places.library_path.clone(),
            Search::Runpath => self.runpath(process, from),
            Search::Default if process.musl => {
                ["/lib", "/usr/local/lib", "/usr/lib"].map(str::to_owned).to_vec()
            }
            Search::Default => self.places.system.clone(),
            Search::Path | Search::Cache | Search::Preloaded => Vec::new(),
        }
    }

    /// Every search that was made for a bare name which the object `from` needs and none of them found.
    pub fn all_searched(&self, process: &Process<'_>, from: usize) -> Vec<Searched> {
        let all = Self::searches(process, from).iter();
        let all = all.map(|by| Searched { by: *by, directories: self.searched(process, from, *by) });
        all.filter(|it| it.by == Search::Cache || !it.directories.is_empty()).collect()
    }

    /// The directories of DT_RPATH of an object, of those that led to it, and of the program. An object with a
    /// DT_RUNPATH asks for no DT_RPATH, neither its own nor others', and its own is none for others.
    fn rpath(&self, process: &Process<'_>, from: usize) -> Vec<String> {
        let runpath_of = |index: usize| {
            process.objects[index]
                .object
                .elf
                .dynamic
                .as_ref()
                .is_some_and(|dynamic| dynamic.runpath.is_some())
        };
        if runpath_of(from) && !process.musl {
            return Vec::new();
        }
        let chain = std::iter::successors(Some(from), |index| process.objects[*index].asked_by);
        let mut chain: Vec<usize> = chain.collect();
        if !chain.contains(&0) {
            chain.push(0);
        }
        let mut directories = Vec::new();
        for index in chain.into_iter().filter(|index| !runpath_of(*index)) {
            let loaded = &process.objects[index];
            let rpath = loaded.object.elf.dynamic.as_ref().and_then(|dynamic| dynamic.rpath.as_deref());
            directories.extend(self.directories(rpath.unwrap_or_default(), &loaded.path));
        }
        directories
    }

    /// The directories of DT_RUNPATH of an object; musl's loader asks those that led to it as well.
    fn runpath(&self, process: &Process<'_>, from: usize) -> Vec<String> {
        let chain = std::iter::successors(Some(from), |index| process.objects[*index].asked_by);
        let length = if process.musl { usize::MAX } else { 1 };
        let mut directories = Vec::new();
        for index in chain.take(length) {
            let loaded = &process.objects[index];
            let runpath = loaded.object.elf.dynamic.as_ref().and_then(|dynamic| dynamic.runpath.as_deref());
            directories.extend(self.directories(runpath.unwrap_or_default(), &loaded.path));
        }
        directories
    }

    /// The directories of a search path of the object at `path`.
    fn directories(&self, search_path: &str, path: &str) -> Vec<String> {
        let parts = search_path.split(':').filter(|_| !search_path.is_empty());
        parts.filter_map(|part| self.expand(part, path)).map(|part| absolute(&part)).collect()
    }

    /// The text with its dynamic string tokens replaced, for the object at `path`; `None` for tokens that nobody knows.
    fn expand(&self, text: &str, path: &str) -> Option<String> {
        if !text.contains('$') {
            return Some(text.to_owned());
        }
        let platform = self.architecture.machine_name();
        let origin = path.rsplit_once('/').map_or("/", |(directory, _)| directory);
        let origin = if origin.is_empty() { "/" } else { origin };
        let mut expanded = text.to_owned();
        for (token, value) in [("ORIGIN", origin), ("LIB", self.lib), ("PLATFORM", platform)] {
            expanded = expanded.replace(&format!("${{{token}}}"), value);
            expanded = replace_word(&expanded, &format!("${token}"), value);
        }
        Some(expanded)
    }

    /// Looks at the file at `path` as the loader does: `None` for one that is missing or for other processors.
    fn look(&self, path: &str) -> Option<Hit<'a>> {
        let (real, file) = self.evidence.file(path)?;
        match file.content() {
            FileContent::Object(object, _) if !self.places.suits(&object.elf) => None,
            FileContent::Object(object, _) if is_linkable(&object.elf) => {
                let first = file.first().unwrap_or(&real).to_owned();
                Some(Hit::File(Found { path: path.to_owned(), real: first, file: real, object }))
            }
            _ => Some(Hit::Refused(path.to_owned())),
        }
    }

    /// The directories that the loader searches for every object: those of `LD_LIBRARY_PATH`, those of the cache,
    /// and the ones that are always searched.
    pub fn configured_directories(&self) -> Vec<String> {
        let LibrarySearch { library_path, cache, system, .. } = &self.places;
        let cached = cache.values().flatten();
        let cached: BTreeSet<String> =
            cached.filter_map(|path| Some(path.rsplit_once('/')?.0.to_owned())).collect();
        library_path.iter().cloned().chain(cached).chain(system.iter().cloned()).collect()
    }

    /// The file that an absolute path leads to.
    pub fn file(&self, path: &str) -> Option<&'a FileItem> {
        self.evidence.file(path).map(|(_, file)| file)
    }

    /// The names that an object may hand to `dlopen`.
    pub fn opens(&self, loaded: &Loaded<'_>) -> &'a [String] {
        self.file(&loaded.path).map(FileItem::opens).unwrap_or_default()
    }

    /// The object that an absolute path leads to, where the loader links it.
    pub fn object(&self, path: &str) -> Option<&'a Object> {
        self.file(path)?.object().filter(|object| self.places.suits(&object.elf))
    }

    /// The absolute path that a path leads to, without symlinks.
    pub fn real(&self, path: &str) -> Option<String> {
        self.evidence.file(path).map(|(real, _)| format!("/{real}"))
    }

    /// The files and symlinks with this ending under a directory: absolute paths.
    pub fn below(&self, directory: &str, ending: &str) -> impl Iterator<Item = String> {
        let paths = self.evidence.below(directory).filter(move |(path, _)| path.ends_with(ending));
        paths.map(|(path, _)| format!("/{path}"))
    }

    /// Every file that could be linked, sorted by path: absolute paths.
    pub fn objects(&self) -> impl Iterator<Item = (String, &'a FileItem, &'a Object)> {
        self.evidence.files().filter_map(|(path, file)| {
            let object = file.object().filter(|object| self.places.suits(&object.elf))?;
            Some((format!("/{path}"), file, object))
        })
    }
}

impl<'a> Process<'a> {
    fn add(&mut self, found: Found<'a>, name: &str, asked_by: Option<usize>, search: Search) -> usize {
        let Found { path, real, file, object } = found;
        let index = self.objects.len();
        for known in [Some(name), Some(&*path), object.elf.soname()].into_iter().flatten() {
            self.by_name.entry(known.to_owned()).or_insert(index);
        }
        self.by_file.entry(real.clone()).or_insert(index);
        let (needs, name) = (Vec::new(), name.to_owned());
        self.objects.push(Loaded { path, real, file, object, asked_by, search, needs, name });
        index
    }

    /// An object with all that it needs, directly or not.
    pub fn reachable(&self, index: usize) -> BTreeSet<usize> {
        let mut reached = BTreeSet::from([index]);
        let mut todo = vec![index];
        while let Some(from) = todo.pop() {
            todo.extend(self.objects[from].needs.iter().filter(|needed| reached.insert(**needed)));
        }
        reached
    }

    /// The object that goes by this name: the one it was asked for under, its path, or its SONAME.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }
}

impl Loaded<'_> {
    /// The name of its file, by which it was opened.
    pub fn file_name(&self) -> &str {
        split(&self.path).1
    }

    /// Its SONAME, or else the name of its file.
    pub fn soname(&self) -> &str {
        self.object.elf.soname().unwrap_or(self.file_name())
    }

    /// The directory of the file itself.
    pub fn directory(&self) -> &str {
        split(&self.file).0
    }
}

/// The directory of a path, empty for the root's, and the name in it.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// Returns whether the loader maps the file: a library or a program.
fn is_linkable(elf: &Elf) -> bool {
    matches!(elf.kind, Kind::Shared | Kind::Executable)
}

/// The directories of `LD_LIBRARY_PATH`, between colons or semicolons; an empty one is where the process was started.
fn split_environment(value: &str) -> Vec<String> {
    value.split([':', ';']).filter(|_| !value.is_empty()).map(absolute).collect()
}

/// Relative directories count from the root, where containers of most images start.
fn absolute(directory: &str) -> String {
    let trimmed = directory.trim_end_matches('/');
    if trimmed.starts_with('/') || directory.starts_with('/') {
        trimmed.to_owned()
    } else {
        format!("/{trimmed}")
    }
}

/// Replaces `$TOKEN` where no further letter of a name follows.
fn replace_word(text: &str, token: &str, value: &str) -> String {
    let mut replaced = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(token) {
        let (before, after) = (&rest[..at], &rest[at + token.len()..]);
        let ends = !after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        replaced.push_str(before);
        replaced.push_str(if ends { value } else { token });
        rest = after;
    }
    replaced.push_str(rest);
    replaced
}
