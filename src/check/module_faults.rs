//! Modules that are imported and cannot be: which, by whom, and why.

use std::collections::{BTreeMap, BTreeSet};

use super::company::Companies;
use super::loader::split;
use super::module_finder::{FoundModule, ModuleFinder};
use super::observation::ModuleFault;
use super::reached_file::{Force, ReachedFile};
use super::world::{ImportNames, World};
use super::{About, Finding, Level, Observation};
use crate::cpython::built_in::is_built_in;
use crate::cpython::imports::Imports;
use crate::cpython::search_changes::SearchChange;
use crate::elf::Machine;
use crate::observe::check_facts::{FileContent, FileItem};

/// A module that cannot be imported, and the distribution or file that cannot do without it.
type Key = (String, About);

/// The faults of modules as imports meet them.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Each with the first file that imports the module.
    faults: BTreeMap<Key, (Option<String>, ModuleFault)>,
    /// The modules that change `sys.path` or its finders, by their files.
    change_search: BTreeSet<String>,
    /// The modules that others make.
    made: BTreeSet<String>,
}

impl Faults {
    /// Notes what a module does to the search for others.
    pub(super) fn note_search(&mut self, file: &str, imports: &Imports) {
        for change in imports.search_changes() {
            match change {
                SearchChange::Path => self.change_search.insert(file.to_owned()),
                SearchChange::Made(name) => self.made.insert(name.to_owned()),
            };
        }
    }

    /// Forgets the modules that were not found and may be there all the same: made by others, or among the files of a
    /// distribution in the importing one's `company` that changes `sys.path`, as setuptools does for what it carries.
    pub(super) fn forget_found(
        &mut self,
        finder: &ModuleFinder<'_>,
        world: &World<'_>,
        companies: &Companies,
    ) {
        let Self { faults, change_search, made } = self;
        faults.retain(|(module, _), (by, fault)| {
            let (ModuleFault::NotFound, Some(by)) = (&*fault, by) else { return true };
            let near = world.owner(by).map(|owner| companies.with(owner));
            let is_near = |file: &&String| {
                world.owner(file).is_none_or(|owner| near.is_some_and(|near| near.contains(&owner)))
            };
            let mut changing = change_search.iter().filter(is_near);
            !made.contains(module) && !changing.any(|file| carries(finder, world, file, module))
        });
    }

    /// Notes an import that found nothing: at the top of `sys.path`, or in the directories of a package.
    pub(super) fn miss(
        &mut self,
        finder: &ModuleFinder<'_>,
        world: &World<'_>,
        directories: Option<&[String]>,
        module: &str,
        (by, force): (&str, Force),
    ) {
        let name = module.rsplit('.').next().unwrap_or(module);
        let known = trace(finder, world, directories.unwrap_or(finder.path()), name);
        // In a package it may be an attribute, or made when the package is loaded.
        let is_surely_module = directories.is_none() && force == Force::Needed;
        let is_missing = || is_surely_module && !finder.is_open && !is_elsewhere(finder, name);
        let Some(fault) = known.or_else(|| is_missing().then_some(ModuleFault::NotFound)) else { return };
        if let Some(about) = importer(world, by) {
            let fault = (Some(format!("/{by}")), fault);
            let first = self.faults.entry((module.to_owned(), about)).or_insert_with(|| fault.clone());
            *first = first.clone().min(fault);
        }
    }

    /// Notes the modules of a distribution that nobody can import: `names` by what of its RECORD they are for.
    pub(super) fn of_distribution(
        &mut self,
        finder: &ModuleFinder<'_>,
        world: &World<'_>,
        index: usize,
        names: &ImportNames,
    ) {
        let distribution = &world.distributions[index];
        let about = About::Distribution(distribution.id());
        for (file, names) in names {
            for name in names {
                let is_gone = match finder.top(name) {
                    None => true,
                    Some(FoundModule::Package { init: None, .. }) => {
                        split(file).1.starts_with("__init__.")
                            && split(file).0 == format!("{}/{name}", distribution.packages())
                    }
                    Some(_) => false,
                };
                if is_gone {
                    let fault = match file.ends_with(".pth") {
                        true => ModuleFault::NotFound,
                        false => ModuleFault::Gone { file: format!("/{file}") },
                    };
                    self.faults.insert((name.clone(), about.clone()), (None, fault));
                }
            }
        }
    }
}

/// Returns whether a module is among the files of the distribution that installed `file`, or below its directory.
fn carries(finder: &ModuleFinder<'_>, world: &World<'_>, file: &str, module: &str) -> bool {
    let is_module = |path: &str| {
        let (above, name) = split(path);
        let ending = name.strip_prefix(module);
        above.split('/').any(|part| part == module)
            || ending.is_some_and(|ending| finder.endings().any(|it| it == ending))
    };
    match world.owner(file) {
        Some(owner) => world.distributions[owner].rows.keys().any(|path| is_module(path)),
        None => {
            let directory = split(file).0;
            let mut below =
                finder.evidence.below(directory).filter_map(|(path, _)| path.get(directory.len()..));
            below.any(is_module)
        }
    }
}

/// The distribution of a file that imports, or the file itself; `None` for what is Debian's or the interpreter's own, and
/// for their programs to say.
fn importer(world: &World<'_>, by: &str) -> Option<About> {
    let owner = world.owner(by).map(|owner| &world.distributions[owner]);
    let is_of_system = match owner {
        Some(owner) => owner.installed.of_system,
        None => {
            let is_within =
                |directory: &String| by.strip_prefix(&**directory).is_some_and(|it| it.starts_with('/'));
            by.starts_with("usr/lib/python3") || world.standard.directories.iter().any(is_within)
        }
    };
    let about = owner.map_or_else(|| About::Path(format!("/{by}")), |owner| About::Distribution(owner.id()));
    (!is_of_system).then_some(about)
}

/// The findings about modules that were not found, and about the files of those that were.
pub(super) fn findings(
    finder: &ModuleFinder<'_>,
    world: &World<'_>,
    files: &BTreeMap<String, ReachedFile>,
    faults: Faults,
) -> Vec<Finding> {
    let of_files = files.iter().filter(|(_, reached)| reached.force.is_certain());
    let of_files = of_files.filter_map(|(file, reached)| {
        let fault = fault(finder, world, file)?;
        let imported_by = reached.imported_by.as_ref().map(|by| format!("/{by}"));
        Some(finding(About::Path(format!("/{file}")), reached.module.clone(), imported_by, fault))
    });
    let of_names = faults.faults.into_iter();
    let of_names =
        of_names.map(|((module, about), (imported_by, fault))| finding(about, module, imported_by, fault));
    of_files.chain(of_names).chain(gone_extensions(finder, world)).collect()
}

/// Extension modules at the top of a directory of packages that a RECORD lists and that are gone: others import them by
/// name, also from code that is not read.
fn gone_extensions(finder: &ModuleFinder<'_>, world: &World<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for distribution in world.distributions.iter().filter(|it| !it.installed.of_system) {
        let top = distribution.rows.keys().filter(|path| {
            path.ends_with(".so")
                && split(path).0 == distribution.packages()
                && finder.evidence.file(path).is_none()
        });
        for path in top {
            let Some(name) = split(path).1.split('.').next() else { continue };
            if finder.top(name).is_none() {
                let fault = ModuleFault::Gone { file: format!("/{path}") };
                findings.push(finding(About::Distribution(distribution.id()), name.to_owned(), None, fault));
            }
        }
    }
    findings
}

fn finding(subject: About, module: String, imported_by: Option<String>, fault: ModuleFault) -> Finding {
    let observation = Observation::MissingModule { module, imported_by, fault };
    Finding { level: Level::Error, subject, observation }
}

/// The trace of a module that was not found: a file for another interpreter, or a row of a RECORD.
fn trace(
    finder: &ModuleFinder<'_>,
    world: &World<'_>,
    directories: &[String],
    name: &str,
) -> Option<ModuleFault> {
    directories.iter().find_map(|directory| {
        let start = format!("{directory}/{name}.");
        let mut others = finder.evidence.starting_with(&start).map(|(path, _)| path);
        if let Some(other) = others.find(|path| path.ends_with(".so") && !path[start.len()..].contains('/')) {
            return Some(ModuleFault::OtherInterpreter { file: format!("/{other}") });
        }
        let stem = format!("{directory}/{name}");
        let files = finder.endings().map(|ending| format!("{stem}{ending}"));
        let mut files = files.chain([format!("{stem}/__init__.py")]);
        let gone = files.find(|file| world.is_recorded(file))?;
        Some(ModuleFault::Gone { file: format!("/{gone}") })
    })
}

/// Returns whether a module that has no file may be there all the same.
fn is_elsewhere(finder: &ModuleFinder<'_>, name: &str) -> bool {
    // setuptools stands in for the module that Python 3.12 has no more.
    is_built_in(name) || (name == "distutils" && finder.top("_distutils_hack").is_some())
}

/// The reason why the file of a module cannot be loaded.
fn fault(finder: &ModuleFinder<'_>, world: &World<'_>, path: &str) -> Option<ModuleFault> {
    let (real, item) = finder.evidence.file(path)?;
    let file = format!("/{path}");
    match () {
        () if !finder.evidence.is_readable(&real, finder.user) => {
            Some(ModuleFault::NotReadable { file, user: finder.user_name.to_owned() })
        }
        () if path.ends_with(".so") => of_extension(world, item, file),
        () => None,
    }
}

fn of_extension(world: &World<'_>, item: &FileItem, file: String) -> Option<ModuleFault> {
    let machine = world.architecture.map(Machine::from);
    match item.content() {
        FileContent::Object(object, _) if Some(object.elf.machine) == machine => None,
        FileContent::Object(..) => Some(ModuleFault::OtherMachine { file }),
        FileContent::Damaged(reason) => Some(ModuleFault::NotLoadable { file, reason: Some(reason.clone()) }),
        _ => Some(ModuleFault::NotLoadable { file, reason: None }),
    }
}
