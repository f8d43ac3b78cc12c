//! The modules that a process loads when it imports the distributions of an image: read from their code.
//!
//! <https://docs.python.org/3/reference/import.html>

use std::collections::{BTreeMap, BTreeSet};

use super::company::Companies;
use super::loader::split;
use super::module_faults::{self, Faults};
use super::module_finder::{FoundModule, ModuleFinder};
use super::reached_file::{Force, ReachedFile};
use super::world::{ImportNames, World};
use super::{Finding, Subject};
use crate::cpython::imports::OpenedLibrary;
use crate::observe::check_facts::FileContent;

/// Modules that packages import by the machinery of `importlib`, which their code sets up as no reader of imports sees.
const HIDDEN_IMPORTS: [(&str, &str); 1] = [("cv2", "cv2.cv2")];

/// A library that a module opens while it is imported.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct OpenedByModule {
    /// The file of the module: relative to the root.
    pub module: String,
    /// The name that the loader searches for, or an absolute path.
    pub library: String,
}

/// The files that imports lead to, by their paths in directories of modules.
#[derive(Debug, Default)]
pub(super) struct ImportedFiles {
    files: BTreeMap<String, ReachedFile>,
    /// The libraries that they open, unguarded.
    pub opened: BTreeSet<OpenedByModule>,
    /// The distributions that open libraries while they are used: what they need imports ctypes.
    pub with_ctypes: BTreeSet<usize>,
    /// The modules that cannot be imported.
    pub findings: Vec<Finding>,
    /// The distributions that are in processes together.
    pub companies: Companies,
}

impl ImportedFiles {
    /// The files that the imports of every distribution lead to which no other one requires.
    pub(super) fn of(subject: &Subject<'_>, world: &World<'_>) -> Self {
        let finder = ModuleFinder::new(subject, world);
        let mut walk = ImportWalk {
            world,
            finder: &finder,
            faults: Faults::default(),
            imported: Self::default(),
            imports: BTreeMap::new(),
            waiting: Vec::new(),
        };
        let names = world.top_level().into_iter();
        let names: Vec<(usize, ImportNames)> =
            names.map(|index| (index, world.import_names(index, subject.evidence))).collect();
        for (distribution, names) in &names {
            for name in names.values().flatten() {
                walk.import(name, Importing { force: Force::Needed, by: None });
            }
            walk.faults.of_distribution(&finder, world, *distribution, names);
        }
        walk.run();
        for name in names.iter().flat_map(|(_, names)| names.values().flatten()) {
            walk.enter(name);
        }
        walk.run();
        let ImportWalk { mut imported, mut faults, imports, .. } = walk;
        imported.companies = Companies::of(world, &imports);
        faults.forget_found(&finder, world, &imported.companies);
        imported.findings = module_faults::findings(&finder, world, &imported.files, faults);
        imported
    }

    /// The distributions of which something is imported in any case.
    pub(super) fn owners(&self, world: &World<'_>) -> BTreeSet<usize> {
        let certain = self.files.iter().filter(|(_, reached)| reached.force.is_certain());
        certain.filter_map(|(path, _)| world.owner(path)).collect()
    }

    /// The greatest force with which the file at the absolute path `path` is imported.
    pub(super) fn force(&self, path: &str) -> Option<Force> {
        self.files.get(path.trim_start_matches('/')).map(|reached| reached.force)
    }
}

/// Returns whether a file is that of a package itself.
fn is_init(file: &str) -> bool {
    split(file).1 == "__init__.py"
}

/// A source file whose imports are still to be followed.
struct ModuleVisit {
    file: String,
    /// The package that its relative imports count from: `a.b`.
    package: String,
    force: Force,
}

/// A file that imports.
#[derive(Clone, Copy)]
struct Importer<'a> {
    file: &'a str,
    /// The distribution that installed it.
    owner: Option<usize>,
}

/// An import on its way: who imports with which force.
#[derive(Clone, Copy)]
struct Importing<'a> {
    force: Force,
    by: Option<Importer<'a>>,
}

struct ImportWalk<'a, 'b> {
    world: &'a World<'b>,
    finder: &'a ModuleFinder<'a>,
    faults: Faults,
    imported: ImportedFiles,
    /// The distributions whose modules those of each import, unguarded.
    imports: BTreeMap<usize, BTreeSet<usize>>,
    waiting: Vec<ModuleVisit>,
}

impl ImportWalk<'_, '_> {
    /// Imports the public modules right below a distribution's module, which many packages leave to their users; but for
    /// those that the package imports itself, and goes on without.
    fn enter(&mut self, name: &str) {
        let Some(FoundModule::Package { directories, .. }) = self.finder.top(name) else { return };
        for directory in directories {
            for module in self.finder.public_modules(&directory) {
                if !self.is_guarded(&directory, &module) {
                    self.import(&format!("{name}.{module}"), Importing { force: Force::Separate, by: None });
                }
            }
        }
    }

    /// Returns whether a module of a package is imported by the package itself, under a guard.
    fn is_guarded(&self, package: &str, module: &str) -> bool {
        let file = match self.finder.within(&[package.to_owned()], module) {
            Some(FoundModule::File(file) | FoundModule::Package { init: Some(file), .. }) => file,
            _ => return false,
        };
        let is_within = |by: &String| by.strip_prefix(package).is_some_and(|rest| rest.starts_with('/'));
        self.imported.files.get(&file).is_some_and(|reached| {
            !reached.force.is_certain() && reached.imported_by.as_ref().is_some_and(is_within)
        })
    }

    fn run(&mut self) {
        while let Some(visit) = self.waiting.pop() {
            let Some((_, file)) = self.finder.evidence.file(&visit.file) else { continue };
            let FileContent::Module(imports) = file.content() else { continue };
            self.faults.note_search(&visit.file, imports);
            let by = Some(Importer { file: &visit.file, owner: self.world.owner(&visit.file) });
            let hidden = HIDDEN_IMPORTS.iter().filter(|(by, _)| *by == visit.package && is_init(&visit.file));
            for (_, module) in hidden {
                self.import(module, Importing { force: visit.force, by });
            }
            for import in imports.iter() {
                let force = visit.force.behind(import.guard);
                let importing = Importing { force, by };
                let Some(module) = absolute_name(&visit.package, import.level, import.module) else {
                    continue;
                };
                // What is imported from a package may be a module of it as well.
                if let Some(inside) = self.import(&module, importing) {
                    for name in import.names() {
                        self.step(Some(&inside), &module, name, importing);
                    }
                }
                self.note_ctypes(&visit, &module);
            }
            if visit.force.is_certain() {
                let opened = imports.opened().map(|library| opening(&visit.file, library));
                self.imported.opened.extend(opened);
            }
        }
    }

    fn note_ctypes(&mut self, visit: &ModuleVisit, module: &str) {
        if visit.force.is_certain() && module == "ctypes" {
            self.imported.with_ctypes.extend(self.world.owner(&visit.file));
        }
    }

    /// Imports a module, after the packages that it is in; gives the directories of one that is a package. What is not there
    /// is an attribute, or built in.
    fn import(&mut self, name: &str, importing: Importing<'_>) -> Option<Vec<String>> {
        let mut directories: Option<Vec<String>> = None;
        let mut package = String::new();
        for part in name.split('.') {
            directories = Some(self.step(directories.as_deref(), &package, part, importing)?);
            package = join(&package, part);
        }
        directories
    }

    /// Imports a module of a package, or one at the top; gives the directories of one that is a package itself.
    fn step(
        &mut self,
        directories: Option<&[String]>,
        package: &str,
        part: &str,
        importing: Importing<'_>,
    ) -> Option<Vec<String>> {
        let full = join(package, part);
        let found = match directories {
            None => self.finder.top(part),
            Some(directories) => self.finder.within(directories, part),
        };
        match found {
            Some(FoundModule::Package { directories, init }) => {
                if let Some(init) = init {
                    self.reach(init, &full, &full, importing);
                }
                return Some(directories);
            }
            Some(FoundModule::File(file)) => self.reach(file, &full, package, importing),
            None => self.miss(directories, &full, importing),
        }
        None
    }

    fn miss(&mut self, directories: Option<&[String]>, module: &str, importing: Importing<'_>) {
        if let (Some(by), true) = (importing.by, importing.force.is_certain()) {
            self.faults.miss(self.finder, self.world, directories, module, (by.file, importing.force));
        }
    }

    fn reach(&mut self, file: String, module: &str, package: &str, importing: Importing<'_>) {
        let Importing { mut force, by } = importing;
        let owner = by.and_then(|_| self.world.owner(&file));
        if force == Force::Conditional && by.is_none_or(|by| by.owner != owner) {
            force = Force::Optional;
        }
        if let (Some(by), Some(of)) = (by.and_then(|by| by.owner), owner)
            && by != of
            && force.is_certain()
        {
            self.imports.entry(by).or_default().insert(of);
        }
        if self.imported.files.get(&file).is_some_and(|known| known.force >= force) {
            return;
        }
        let imported_by = by.map(|by| by.file.to_owned());
        self.imported
            .files
            .insert(file.clone(), ReachedFile { force, module: module.to_owned(), imported_by });
        if file.ends_with(".py") {
            self.waiting.push(ModuleVisit { file, package: package.to_owned(), force });
        }
    }
}

fn opening(module: &str, library: OpenedLibrary<'_>) -> OpenedByModule {
    let library = match library {
        OpenedLibrary::Named(name) => name.to_owned(),
        OpenedLibrary::Beside(path) => format!("/{}/{path}", split(module).0),
    };
    OpenedByModule { module: module.to_owned(), library }
}

/// The absolute name of a module that is imported from within `package`; `None` for one beyond the top.
fn absolute_name(package: &str, level: usize, module: &str) -> Option<String> {
    let Some(up) = level.checked_sub(1) else { return Some(module.to_owned()) };
    let mut parts: Vec<&str> = package.split('.').filter(|part| !part.is_empty()).collect();
    parts.truncate(parts.len().checked_sub(up).filter(|left| *left > 0)?);
    parts.extend(module.split('.').filter(|part| !part.is_empty()));
    Some(parts.join("."))
}

fn join(package: &str, name: &str) -> String {
    if package.is_empty() { name.to_owned() } else { format!("{package}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_imports_count_from_the_package() {
        for (level, module, expected) in [
            (0, "x.y", Some("x.y")),
            (1, "", Some("a.b")),
            (1, "c", Some("a.b.c")),
            (2, "c.d", Some("a.c.d")),
            (3, "c", None),
        ] {
            assert_eq!(absolute_name("a.b", level, module).as_deref(), expected, "{level} {module}");
        }
    }
}
