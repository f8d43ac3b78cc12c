//! The search for a module, as the interpreter's finders make it for the image's user.
//!
//! <https://docs.python.org/3/library/importlib.html#importlib.machinery.FileFinder>

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::world::{NOT_FOR_USERS, World};
use super::{Subject, config};
use crate::observe::check_facts::{CheckFacts, FileOwner};
use crate::oci::Architecture;

/// A module that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FoundModule {
    /// A package: its directories, and its `__init__`, which a namespace package lacks.
    Package { directories: Vec<String>, init: Option<String> },
    /// A file.
    File(String),
}

/// A directory in which modules are searched, as far as it is known.
#[derive(Debug)]
struct SearchedDirectory<'a> {
    /// The names in it.
    names: BTreeSet<&'a str>,
    /// Those up to their first dots: nothing else can be a module of it.
    stems: BTreeSet<&'a str>,
    /// The modules that were asked for.
    found: BTreeMap<String, Option<FoundModule>>,
}

impl<'a> SearchedDirectory<'a> {
    fn of(evidence: &'a CheckFacts, directory: &str) -> Self {
        let real = evidence.resolve(directory);
        let names: BTreeSet<&str> = real.iter().flat_map(|real| evidence.names_in(real)).collect();
        let stems = names.iter().filter_map(|name| name.split('.').next()).collect();
        Self { names, stems, found: BTreeMap::new() }
    }
}

/// The finders of an interpreter.
#[derive(Debug)]
pub(super) struct ModuleFinder<'a> {
    pub evidence: &'a CheckFacts,
    /// The endings of extension modules, in the finder's order.
    suffixes: Vec<String>,
    path: Vec<String>,
    /// See [`PythonStart::mapped`](crate::base::PythonStart::mapped).
    mapped: BTreeMap<String, String>,
    /// The directories that were searched before: most imports are of what others import as well.
    searched: RefCell<BTreeMap<String, SearchedDirectory<'a>>>,
    /// True if there may be modules that nobody sees.
    pub is_open: bool,
    /// The image's user.
    pub user: FileOwner,
    /// The user's name in the config.
    pub user_name: &'a str,
}

impl<'a> ModuleFinder<'a> {
    pub(super) fn new(subject: &Subject<'a>, world: &World<'_>) -> Self {
        let (evidence, config) = (subject.evidence, subject.config);
        let user = config::account(evidence, config).map(|it| FileOwner { uid: it.uid, gid: it.gid });
        let python = world.python.unwrap_or_default();
        Self {
            evidence,
            suffixes: suffixes(python, config.architecture),
            path: world.search_path().into_iter().filter(|path| evidence.is_directory(path)).collect(),
            searched: RefCell::default(),
            mapped: world.start.map(|start| start.mapped.clone()).unwrap_or_default(),
            is_open: world.start.is_none_or(|start| start.is_open) || !world.standard.starts,
            user: user.unwrap_or(FileOwner { uid: 0, gid: 0 }),
            user_name: &config.user,
        }
    }

    /// The directories of modules without dots in their names.
    pub(super) fn path(&self) -> &[String] {
        &self.path
    }

    /// The module of a name without dots.
    pub(super) fn top(&self, name: &str) -> Option<FoundModule> {
        self.within(&self.path, name).or_else(|| self.mapped(name))
    }

    /// A module that code of a `.pth` file maps to its place.
    fn mapped(&self, name: &str) -> Option<FoundModule> {
        let place = self.mapped.get(name)?.trim_matches('/');
        match self.evidence.resolve(place).filter(|real| self.evidence.is_directory(real)) {
            Some(real) => {
                let init = self.file(&real, "__init__");
                Some(FoundModule::Package { directories: vec![real], init })
            }
            None => self.is_visible(place).then(|| FoundModule::File(place.to_owned())),
        }
    }

    /// Searches directories for a module.
    pub(super) fn within(&self, directories: &[String], name: &str) -> Option<FoundModule> {
        let mut portions = Vec::new();
        for directory in directories {
            match self.in_directory(directory, name) {
                Some(FoundModule::Package { directories, init: None }) => portions.extend(directories),
                Some(found) => return Some(found),
                None => {}
            }
        }
        (!portions.is_empty()).then_some(FoundModule::Package { directories: portions, init: None })
    }

    /// The module in one directory.
    fn in_directory(&self, directory: &str, name: &str) -> Option<FoundModule> {
        let known = self.directory(directory, |searched| {
            (!searched.stems.contains(name)).then_some(None).or_else(|| searched.found.get(name).cloned())
        });
        known.unwrap_or_else(|| {
            let found = self.look(directory, name);
            self.directory(directory, |searched| searched.found.insert(name.to_owned(), found.clone()));
            found
        })
    }

    /// Gives what is known of a directory to `look`.
    fn directory<T>(&self, directory: &str, look: impl FnOnce(&mut SearchedDirectory<'a>) -> T) -> T {
        let mut searched = self.searched.borrow_mut();
        match searched.get_mut(directory) {
            Some(known) => look(known),
            None => {
                let new = SearchedDirectory::of(self.evidence, directory);
                look(searched.entry(directory.to_owned()).or_insert(new))
            }
        }
    }

    /// The module of a directory, if nothing is known of it.
    fn look(&self, directory: &str, name: &str) -> Option<FoundModule> {
        let real = self.evidence.resolve(&format!("{directory}/{name}"));
        let real = real.filter(|real| self.evidence.is_directory(real));
        let package = real.map(|real| {
            let init = self.file(&real, "__init__");
            FoundModule::Package { directories: vec![real], init }
        });
        match package {
            Some(FoundModule::Package { init: Some(_), .. }) => package,
            namespace => self.file(directory, name).map(FoundModule::File).or(namespace),
        }
    }

    /// The names of a package's modules that its users import.
    pub(super) fn public_modules(&self, directory: &str) -> Vec<String> {
        let inside = self.evidence.below(directory).filter_map(|(path, _)| path.get(directory.len() + 1..));
        let names = inside.filter_map(|path| {
            let of_file = || self.endings().find_map(|ending| path.strip_suffix(ending));
            let name = path.strip_suffix("/__init__.py").or_else(of_file)?;
            let is_public = !name.starts_with('_') && !name.contains(['/', '.']);
            (is_public && !NOT_FOR_USERS.contains(&name)).then(|| name.to_owned())
        });
        names.collect()
    }

    /// The endings of modules, in the finder's order.
    pub(super) fn endings(&self) -> impl Iterator<Item = &str> + Clone {
        self.suffixes.iter().map(String::as_str).chain([".py", ".pyc"])
    }

    /// The file of the module of a directory: an extension module before source.
    fn file(&self, directory: &str, stem: &str) -> Option<String> {
        let is_there = |name: &String| self.directory(directory, |it| it.names.contains(name.as_str()));
        let names = self.endings().map(|ending| format!("{stem}{ending}")).filter(is_there);
        names.map(|name| format!("{directory}/{name}")).find(|path| self.is_visible(path))
    }

    /// Returns whether a file is at a path, and the user may enter the directories on the way.
    fn is_visible(&self, path: &str) -> bool {
        let Some((real, _)) = self.evidence.file(path) else { return false };
        let enters = |path: &str| self.evidence.is_reachable(path, self.user);
        enters(path) && (real == path || enters(&real))
    }
}

/// The endings of extension modules that an interpreter of this version takes, in its order.
///
/// <https://peps.python.org/pep-3149/>
fn suffixes((major, minor): (u8, u8), architecture: Architecture) -> Vec<String> {
    let machine = architecture.machine_name();
    vec![
        format!(".cpython-{major}{minor}-{machine}-linux-gnu.so"),
        format!(".abi{major}.so"),
        ".so".to_owned(),
    ]
}
