//! Rules for what the loader makes of programs and extension modules.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::{ImportedFiles, OpenedByModule};
use super::loader::{Loaded, Loader, Miss, Process, Search, split};
use super::observation::{ExpectedIn, LoadChain, MissingName, Sample};
use super::providers::Providers;
use super::reached_file::Force;
use super::world::World;
use super::{About, DistributionId, Finding, Level, Observation, Rule};
use crate::cuda::{Component, ComponentWheel, binary_use, library_stem};
use crate::elf::{Object, symbol_hash};

/// The findings of the rules, and the number of entry points.
pub(super) struct LinkingReport {
    pub findings: Vec<Finding>,
    pub entry_points: usize,
}

/// Python as a process: its interpreter, and the extension modules that it may open.
pub(super) struct PythonProcess<'a> {
    pub process: Process<'a>,
    /// Sorted by path.
    pub modules: Vec<Module>,
}

impl<'a> PythonProcess<'a> {
    /// `None` without an interpreter that can be started.
    pub(super) fn of(loader: &Loader<'a>, world: &World<'_>) -> Option<Self> {
        let process = loader.start(world.interpreter.as_ref()?)?;
        Some(Self { process, modules: modules(loader, world) })
    }

    /// Returns whether the interpreter starts, so that there is something to say of modules.
    pub(super) fn starts(&self) -> bool {
        let is_missed = |miss: &Miss| !is_of_driver(&miss.name);
        self.process.missing_loader.is_none() && !self.process.misses.iter().any(is_missed)
    }
}

/// Judges every program and extension module of an image.
pub(super) fn findings<'a>(
    loader: &Loader<'a>,
    world: &World<'_>,
    python: Option<&PythonProcess<'a>>,
    imported: &ImportedFiles,
) -> LinkingReport {
    let mut judge = Judge {
        loader,
        world,
        imported,
        settled: BTreeSet::new(),
        reached: BTreeSet::new(),
        providers: Providers::of(loader, world),
        found: BTreeMap::new(),
        loaders: BTreeMap::new(),
        entry_points: 0,
    };
    judge.programs();
    if let Some(python) = python.filter(|python| python.starts()) {
        judge.modules(python);
        judge.opened(python);
        let unreached = judge.unreached();
        judge.plugins(python, &unreached);
        judge.raise_total_failures(python, &unreached);
        judge.raise_misfits();
    }
    let unlinked = world.interpreter.as_deref().filter(|_| python.is_none()).map(no_program);
    let loaders = judge.loaders.into_values();
    let findings = judge.found.into_values().chain(unlinked).chain(loaders).collect();
    LinkingReport { findings, entry_points: judge.entry_points }
}

/// An interpreter that nobody can start: then its modules are not looked at.
fn no_program(path: &str) -> Finding {
    Finding {
        level: Level::Error,
        subject: About::Path(path.to_owned()),
        observation: Observation::DamagedInterpreter,
    }
}

/// An extension module, of a distribution or of the standard library.
#[derive(Debug)]
pub(super) struct Module {
    /// Absolute.
    pub path: String,
    pub distribution: Option<usize>,
}

/// A file with which a process, or a part of it, begins: a program, a module, or a library that code opens.
struct EntryFile {
    distribution: Option<usize>,
    /// The severity when a library that it needs is not there.
    level: Level,
    /// The severity when all libraries are there, and one was built for other versions of them.
    misfit: Level,
}

impl EntryFile {
    /// One that fails with the same severity for every reason.
    fn of_level(distribution: Option<usize>, level: Level) -> Self {
        Self { distribution, level, misfit: level }
    }
}

/// Every extension module, of packages and the standard library: what exports the function that Python calls to
/// initialise it.
///
/// <https://docs.python.org/3/extending/building.html>
fn modules(loader: &Loader<'_>, world: &World<'_>) -> Vec<Module> {
    let directories = world.search_path();
    let paths: BTreeSet<String> =
        directories.iter().flat_map(|directory| loader.below(directory, ".so")).collect();
    let modules = paths.into_iter().filter_map(|path| {
        let object = loader.object(&path)?;
        let stem = split(&path).1.split('.').next()?;
        let is_module = object.exports(symbol_hash(format!("PyInit_{stem}").as_bytes()));
        is_module.then(|| Module { distribution: world.owner(&path), path })
    });
    modules.collect()
}

/// Returns whether an extension module is among those of the standard library that most programs need.
fn is_essential(path: &str) -> bool {
    const NAMES: [&str; 10] =
        ["_ssl", "_hashlib", "_ctypes", "_sqlite3", "_bz2", "_lzma", "zlib", "_uuid", "_decimal", "pyexpat"];
    split(path).1.split('.').next().is_some_and(|name| NAMES.contains(&name))
}

/// Returns whether an object is linked with a library of CUDA.
fn needs_cuda(object: &Object) -> bool {
    let needed = object.elf.dynamic.iter().flat_map(|dynamic| &dynamic.needed);
    needed.into_iter().any(|name| Component::of_library(name).is_some())
}

/// Libraries of the driver, which the container runtime brings.
pub(super) fn is_of_driver(name: &str) -> bool {
    const NAMES: [&str; 6] =
        ["libcuda.so", "libnvcuvid.so", "libnvoptix.so", "libcudadebugger.so", "libnvidia-", "libnvidia_"];
    NAMES.iter().any(|start| name.starts_with(start))
}

/// Functions of the driver's libraries.
fn is_symbol_of_driver(name: &str) -> bool {
    let is_named = |prefix: &str| {
        name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
    };
    is_named("cu") || is_named("nvml") || is_named("cuvid") || is_named("NvEncode")
}

/// The rule, the object at fault and the name that it lacks: further entry points may lead to the same finding.
type Key = (Rule, String, String);

/// The symbols that none of these objects defines.
fn undefined(symbols: &[u64], scope: &[&Object]) -> Vec<u64> {
    let defined = |symbol: u64| scope.iter().any(|object| object.exports(symbol));
    symbols.iter().copied().filter(|symbol| !defined(*symbol)).collect()
}

struct Judge<'a, 'b> {
    loader: &'b Loader<'a>,
    world: &'b World<'b>,
    imported: &'b ImportedFiles,
    /// The files all of whose imports are defined by what they need themselves.
    settled: BTreeSet<String>,
    /// The files that a program or module leads to.
    reached: BTreeSet<String>,
    providers: Providers<'a>,
    found: BTreeMap<Key, Finding>,
    /// The findings about loaders that programs ask for and the image lacks, by their paths.
    loaders: BTreeMap<String, Finding>,
    entry_points: usize,
}

impl<'a> Judge<'a, '_> {
    fn programs(&mut self) {
        const DIRECTORIES: [&str; 5] = ["/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/", "/usr/local/bin/"];
        let is_program = |path: &str, object: &Object| {
            object.elf.interpreter.is_some() && DIRECTORIES.iter().any(|start| path.starts_with(start))
        };
        let interpreter = self.world.interpreter.as_ref().and_then(|path| self.loader.real(path));
        let programs = self.loader.objects().filter(|(path, _, object)| is_program(path, object));
        let programs: BTreeSet<String> = programs.map(|(path, ..)| path).chain(interpreter.clone()).collect();
        let mut lacking: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for path in programs {
            let Some(process) = self.loader.start(&path) else { continue };
            let level = if interpreter.as_ref() == Some(&path) { Level::Error } else { Level::Warning };
            self.entry_points += 1;
            if let Some(loader) = process.missing_loader.clone() {
                lacking.entry(loader).or_default().push(path);
                continue;
            }
            self.judge(&EntryFile::of_level(None, level), process, 0);
        }
        for (loader, programs) in lacking {
            self.lacking_loader(loader, programs, interpreter.as_ref());
        }
    }

    /// Programs whose loader is missing, which the kernel does not start; the interpreter is named first.
    fn lacking_loader(&mut self, loader: String, mut programs: Vec<String>, interpreter: Option<&String>) {
        programs.sort_by_key(|path| Some(path) != interpreter);
        let Some(programs) = Sample::of(programs) else { return };
        let level = Level::Error;
        let subject = About::Path(loader.clone());
        let observation = Observation::MissingLoader { loader: loader.clone(), programs };
        self.loaders.insert(loader, Finding { level, subject, observation });
    }

    /// The libraries that modules open while they are imported.
    fn opened(&mut self, python: &PythonProcess<'a>) {
        for opening in &self.imported.opened {
            let distribution = self.world.owner(&opening.module);
            let mut process = python.process.clone();
            let first = process.objects.len();
            if opening.library.starts_with('/') {
                self.loader.open(&mut process, &opening.library, Search::Path);
            } else if self.loader.open_by_name(&mut process, &opening.library, 0).is_none() {
                self.unopened(opening, distribution, &process);
            }
            if let Some(index) = distribution {
                self.providers.preload(self.loader, &mut process, self.imported.companies.with(index));
            }
            self.judge(&EntryFile::of_level(distribution, Level::Error), process, first);
        }
    }

    /// A name that the loader does not find, unless it is the driver's, or something else loads it before.
    fn unopened(&mut self, opening: &OpenedByModule, distribution: Option<usize>, process: &Process<'a>) {
        let name = &opening.library;
        let is_carried =
            distribution.is_some_and(|index| self.providers.has(name, self.imported.companies.with(index)));
        if is_of_driver(name) || is_carried {
            return;
        }
        let file = format!("/{}", opening.module);
        let observation = Observation::MissingOpened {
            file: file.clone(),
            distribution: distribution.map(|index| self.world.distributions[index].id()),
            names: vec![name.clone()],
            searched: self.loader.all_searched(process, 0),
        };
        let finding = Finding { level: Level::Error, subject: About::Path(file.clone()), observation };
        self.found.insert((finding.rule(), file, name.clone()), finding);
    }

    fn modules(&mut self, python: &PythonProcess<'a>) {
        for module in &python.modules {
            let mut process = python.process.clone();
            let first = process.objects.len();
            self.loader.open(&mut process, &module.path, Search::Path);
            if let Some(index) = module.distribution {
                self.providers.preload(self.loader, &mut process, self.imported.companies.with(index));
            }
            self.entry_points += 1;
            let level = self.level(&module.path);
            // A condition asks whether a module is there, and not whether it fits.
            let is_conditional = self.imported.force(&module.path) == Some(Force::Conditional);
            let misfit = if is_conditional { Level::Error } else { level };
            let entry = EntryFile { distribution: module.distribution, level, misfit };
            self.judge(&entry, process, first);
        }
    }

    /// The severity when a module cannot be loaded: an error where a distribution that no other one requires cannot be
    /// imported without it.
    fn level(&self, path: &str) -> Level {
        match self.imported.force(path) {
            Some(force) if force.is_certain() => Level::Error,
            _ if self.world.is_standard(path) && is_essential(path) => Level::Error,
            // Images leave out what other parts of the standard library need, as slim ones do Tk.
            _ if self.world.is_standard(path) => Level::Warning,
            Some(_) => Level::Warning,
            None => Level::Note,
        }
    }

    /// The libraries of distributions that nothing needs: their code opens them by path, should it get to that, and mostly
    /// goes on without those that lack something.
    fn plugins(&mut self, python: &PythonProcess<'a>, unreached: &BTreeMap<usize, Vec<String>>) {
        for (&distribution, paths) in unreached {
            let company = self.imported.companies.around(distribution);
            let mut process = python.process.clone();
            for module in python.modules.iter().filter(|module| module.distribution == Some(distribution)) {
                self.loader.open(&mut process, &module.path, Search::Path);
            }
            for path in paths {
                let mut process = process.clone();
                let first = process.objects.len();
                self.loader.open(&mut process, path, Search::Path);
                self.providers.preload(self.loader, &mut process, &company);
                let entry = EntryFile::of_level(Some(distribution), Level::Note);
                self.misses(&entry, &process, first);
                self.misfits(&entry, &process, first);
            }
        }
    }

    /// Makes errors of what keeps a distribution that no other one requires from CUDA, or from all of its variants: of those
    /// that lie side by side, each for another version of what it needs, one has to load.
    fn raise_total_failures(&mut self, python: &PythonProcess<'a>, unreached: &BTreeMap<usize, Vec<String>>) {
        let top_level = self.world.top_level();
        let with_modules: BTreeSet<usize> = python.modules.iter().filter_map(|it| it.distribution).collect();
        // What has no modules of its own and imports ctypes works by its libraries.
        let by_ctypes =
            |owner: &usize| !with_modules.contains(owner) && self.imported.with_ctypes.contains(owner);
        let mut of_cuda: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for (path, _, object) in self.loader.objects() {
            let owner = self.world.owner(&path).filter(|owner| top_level.contains(owner));
            if let Some(owner) = owner.filter(|_| needs_cuda(object)) {
                of_cuda.entry(owner).or_default().push(path);
            }
        }
        let variants = unreached
            .iter()
            .filter(|(owner, paths)| top_level.contains(owner) && paths.len() > 1 || by_ctypes(owner));
        let variants: Vec<&Vec<String>> = variants.map(|(_, paths)| paths).collect();
        for paths in variants {
            self.raise_if_all(paths, |_| true);
        }
        for paths in of_cuda.into_values() {
            self.raise_if_all(&paths, |name| Component::of_library(name).is_some());
        }
    }

    /// Makes errors of what was built for other versions of another distribution's libraries: where nothing that an imported
    /// distribution links with them can be loaded, its code has no way around.
    fn raise_misfits(&mut self) {
        let failing: BTreeSet<&str> = self.found.keys().map(|(_, path, _)| path.as_str()).collect();
        let linked = self.providers.linked(self.loader, self.world, &self.imported.owners(self.world));
        // A module that is imported with a handler is not missed.
        let is_missed =
            |path: &String| failing.contains(&**path) && self.imported.force(path) != Some(Force::Optional);
        let broken = linked.into_values().filter(|paths| paths.iter().all(is_missed));
        let broken: BTreeSet<String> = broken.flatten().collect();
        let misfits = self.found.iter_mut().filter(|((rule, path, _), _)| {
            matches!(rule, Rule::MissingSymbol | Rule::MissingVersion) && broken.contains(path)
        });
        misfits.for_each(|(_, finding)| finding.level = Level::Error);
    }

    /// Makes errors of the missing libraries of all these objects, if each lacks one whose name is `meant`.
    fn raise_if_all(&mut self, paths: &[String], meant: impl Fn(&str) -> bool) {
        let key = |path: &String| (Rule::MissingLibrary, path.clone(), String::new());
        let lacks = |path: &String| match self.found.get(&key(path)).map(|finding| &finding.observation) {
            Some(Observation::MissingLibraries { missing, .. }) => missing.iter().any(|it| meant(&it.name)),
            _ => false,
        };
        if paths.iter().all(lacks) {
            for path in paths {
                self.found.entry(key(path)).and_modify(|finding| finding.level = Level::Error);
            }
        }
    }

    /// The libraries that no program or module leads to, by their distributions; but for those of CUDA, which are what
    /// others open.
    fn unreached(&self) -> BTreeMap<usize, Vec<String>> {
        let mut unreached: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for (path, file, object) in self.loader.objects() {
            let Some(owner) = self.world.owner(&path) else { continue };
            let real = file.first().unwrap_or(path.trim_start_matches('/'));
            let is_component =
                ComponentWheel::of(self.world.distributions[owner].installed.name.as_ref()).is_some();
            let is_library = object.elf.dynamic.is_some() && split(&path).1.contains(".so");
            if is_library && !is_component && !self.reached.contains(real) {
                unreached.entry(owner).or_default().push(path);
            }
        }
        unreached
    }

    /// Judges the objects from `first` on of the process of `module`.
    fn judge(&mut self, entry: &EntryFile, process: Process<'a>, first: usize) {
        let new = process.objects[first..].iter().filter(|loaded| !self.reached.contains(&loaded.real));
        let new: Vec<String> = new.map(|loaded| loaded.real.clone()).collect();
        self.reached.extend(new);
        self.misses(entry, &process, first);
        self.misfits(entry, &process, first);
    }

    /// Finds the versions and symbols that the objects from `first` on lack.
    fn misfits(&mut self, entry: &EntryFile, process: &Process<'a>, first: usize) {
        for index in first..process.objects.len() {
            self.versions(entry, process, index);
        }
        for index in first..process.objects.len() {
            self.symbols(entry, process, index);
        }
    }

    /// Finds the names that the objects from `first` on lack, each object once.
    fn misses(&mut self, entry: &EntryFile, process: &Process<'a>, first: usize) {
        let mut lacking: BTreeMap<usize, Vec<&Miss>> = BTreeMap::new();
        for miss in &process.misses {
            if miss.needed_by >= first && !is_of_driver(&miss.name) {
                lacking.entry(miss.needed_by).or_default().push(miss);
            }
        }
        for (index, misses) in lacking {
            self.missed(entry, process, index, &misses);
        }
    }

    fn missed(&mut self, entry: &EntryFile, process: &Process<'a>, index: usize, misses: &[&Miss]) {
        let missing = |miss: &&Miss| MissingName { name: miss.name.clone(), refused: miss.refused.clone() };
        let observation = Observation::MissingLibraries {
            chain: self.chain(entry, process, index),
            missing: misses.iter().map(missing).collect(),
            searched: self.loader.all_searched(process, index),
        };
        let level = if is_optional(entry, self.world, misses) {
            entry.level.max(Level::Warning)
        } else {
            entry.level
        };
        self.note((level, ""), &process.objects[index], observation);
    }

    fn versions(&mut self, entry: &EntryFile, process: &Process<'a>, index: usize) {
        let loaded = &process.objects[index];
        for need in loaded.object.needs.iter().filter(|need| !need.weak) {
            let Some(found) = process.find(&need.file) else { continue };
            let defines = &process.objects[found].object.defines;
            if defines.is_empty() || defines.binary_search(&need.version).is_ok() {
                continue;
            }
            let observation = Observation::MissingVersion {
                chain: self.chain(entry, process, index),
                version: need.version.clone(),
                library: need.file.clone(),
                found: process.objects[found].path.clone(),
            };
            self.note((entry.misfit, &need.version), loaded, observation);
        }
    }

    fn symbols(&mut self, entry: &EntryFile, process: &Process<'a>, index: usize) {
        let loaded = &process.objects[index];
        if self.settled.contains(&loaded.real) {
            return;
        }
        let within = process.reachable(index);
        let own: Vec<&Object> = within.iter().map(|index| process.objects[*index].object).collect();
        let left = undefined(loaded.object.imports.hashes(), &own);
        if left.is_empty() {
            self.settled.insert(loaded.real.clone());
            return;
        }
        // What is missed already explains what is undefined.
        let misses: Vec<&Miss> =
            process.misses.iter().filter(|miss| within.contains(&miss.needed_by)).collect();
        if misses.iter().any(|miss| !is_of_driver(&miss.name)) {
            return;
        }
        let all: Vec<&Object> = process.objects.iter().map(|loaded| loaded.object).collect();
        let left = undefined(&left, &all);
        let left = if left.is_empty() { left } else { self.beyond(entry, loaded, &left) };
        if left.is_empty() {
            return;
        }
        let names = loaded.object.imports.of(&left).into_iter().map(|(_, name)| name);
        let mut left: Vec<String> = names.filter(|name| !is_symbol_of_driver(name)).collect();
        left.sort_unstable();
        let expected_in = left.first().and_then(|first| expected_in(process, index, first));
        let Some(symbols) = Sample::of(left) else { return };
        let chain = self.chain(entry, process, index);
        let linked_with = self.linked_with(loaded);
        let observation = Observation::MissingSymbols { chain, symbols, expected_in, linked_with };
        self.note((entry.misfit, ""), loaded, observation);
    }

    /// The other distributions whose libraries an object needs.
    fn linked_with(&self, loaded: &Loaded<'a>) -> Vec<DistributionId> {
        let own = self.world.owner(&self.place(loaded));
        let carriers = self.providers.carriers(loaded.object);
        let others = carriers.into_iter().filter(|carrier| Some(*carrier) != own);
        others.map(|other| self.world.distributions[other].id()).collect()
    }

    /// The imports that nothing of the distributions in the company of the object's own defines: what they load is in the
    /// same process, by means that only their code tells.
    fn beyond(&self, entry: &EntryFile, loaded: &Loaded<'a>, left: &[u64]) -> Vec<u64> {
        let owners = [entry.distribution, self.world.owner(&self.place(loaded))];
        let companies = owners.into_iter().flatten().map(|index| self.imported.companies.with(index));
        let company: BTreeSet<usize> = companies.flatten().copied().collect();
        let others: Vec<&Object> = self.providers.carried(&company).collect();
        undefined(left, &others)
    }

    /// The objects through which a module leads to an object.
    fn chain(&self, entry: &EntryFile, process: &Process<'a>, index: usize) -> LoadChain {
        let asked_by = |index: &usize| process.objects[*index].asked_by;
        let links =
            std::iter::successors(Some(index), asked_by).map(|index| self.place(&process.objects[index]));
        let mut objects: Vec<String> = links.collect();
        objects.reverse();
        let distribution = entry.distribution.map(|index| self.world.distributions[index].id());
        LoadChain { distribution, objects }
    }

    /// The path of an object for people: the one by which its distribution has it, or else the file's own.
    fn place(&self, loaded: &Loaded<'_>) -> String {
        match self.world.owner(&loaded.path) {
            Some(_) => loaded.path.clone(),
            None => format!("/{}", loaded.file),
        }
    }

    fn note(&mut self, (level, name): (Level, &str), loaded: &Loaded<'_>, observation: Observation) {
        let path = self.place(loaded);
        let finding = Finding { level, subject: About::Path(path.clone()), observation };
        let key = (finding.rule(), path, name.to_owned());
        match self.found.get_mut(&key) {
            Some(found) if found.level <= level => {}
            _ => drop(self.found.insert(key, finding)),
        }
    }
}

/// Returns whether all that is missed are components that only optional modules of a distribution are linked with.
fn is_optional(entry: &EntryFile, world: &World<'_>, misses: &[&Miss]) -> bool {
    let Some(index) = entry.distribution else { return false };
    let parts = binary_use(world.distributions[index].installed.name.as_ref());
    let is_optional = |miss: &&Miss| {
        Component::of_library(&miss.name).is_some_and(|component| parts.is_optional(component))
    };
    misses.iter().all(is_optional)
}

/// The library among those that an object needs which should define a symbol, where the symbol's name tells.
fn expected_in(process: &Process<'_>, index: usize, symbol: &str) -> Option<ExpectedIn> {
    const STEMS: [(&str, &str); 9] = [
        ("__nvJitLink", "libnvJitLink"),
        ("nvJitLink", "libnvJitLink"),
        ("nccl", "libnccl"),
        ("cublasLt", "libcublasLt"),
        ("cublas", "libcublas"),
        ("cudnn", "libcudnn"),
        ("cusparseLt", "libcusparseLt"),
        ("cusparse", "libcusparse"),
        ("cuda", "libcudart"),
    ];
    let (_, stem) = STEMS.iter().find(|(start, _)| symbol.starts_with(start))?;
    let needed = process.reachable(index);
    let mut needed = needed.iter().map(|index| &process.objects[*index]);
    let library = needed.find(|loaded| library_stem(loaded.file_name()) == Some(*stem))?;
    Some(ExpectedIn { library: library.path.clone(), found_by: library.search })
}
