//! The modules that a process loads when it imports the distributions of an image: read from their code.
//!
//! <https://docs.python.org/3/reference/import.html>

use std::collections::BTreeMap;

use super::loader::split;
use super::world::{NOT_FOR_USERS, World};
use crate::observe::check_facts::{CheckFacts, FileContent};
use crate::oci::Architecture;

/// The force of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Force {
    /// The importing module goes on without it.
    Optional,
    /// The importing module cannot be imported without it.
    Needed,
}

/// The files that imports lead to.
#[derive(Debug, Default)]
pub(super) struct ImportedFiles(BTreeMap<String, Force>);

impl ImportedFiles {
    /// The files that the imports of every distribution lead to which no other one requires.
    pub fn of(evidence: &CheckFacts, world: &World<'_>, architecture: Architecture) -> Self {
        let mut walk = ImportWalk {
            evidence,
            suffixes: world.python.map(|python| suffixes(python, architecture)).unwrap_or_default(),
            path: world.search_path(),
            reached: BTreeMap::new(),
            waiting: Vec::new(),
        };
        for distribution in world.top_level() {
            for name in world.import_names(distribution) {
                walk.enter(&name);
            }
        }
        walk.run();
        Self(walk.reached)
    }

    /// The greatest force with which the file at the absolute path `path` is imported.
    pub fn force(&self, path: &str) -> Option<Force> {
        self.0.get(path.trim_start_matches('/')).copied()
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

/// A module that was found.
enum FoundModule {
    /// A package: its directories, and its `__init__`, which a namespace package lacks.
    Package { directories: Vec<String>, init: Option<String> },
    /// A file.
    File(String),
}

/// A source file whose imports are still to be followed.
struct ModuleVisit {
    file: String,
    /// The package that its relative imports count from: `a.b`.
    package: String,
    force: Force,
}

struct ImportWalk<'a> {
    evidence: &'a CheckFacts,
    suffixes: Vec<String>,
    path: Vec<String>,
    reached: BTreeMap<String, Force>,
    waiting: Vec<ModuleVisit>,
}

impl ImportWalk<'_> {
    /// Imports a distribution's module, and the public modules right below it: many packages load nothing by themselves.
    fn enter(&mut self, name: &str) {
        self.import(name, Force::Needed);
        let Some(FoundModule::Package { directories, .. }) = self.find(&self.path, name) else { return };
        for directory in directories {
            let below: Vec<String> = self.public_modules(&directory);
            for module in below {
                self.import(&format!("{name}.{module}"), Force::Needed);
            }
        }
    }

    /// The names of a package's modules that its users import.
    fn public_modules(&self, directory: &str) -> Vec<String> {
        let endings = self.endings();
        let inside = self.evidence.below(directory).filter_map(|(path, _)| path.get(directory.len() + 1..));
        let names = inside.filter_map(|path| {
            let of_file = || endings.clone().find_map(|ending| path.strip_suffix(ending));
            let name = path.strip_suffix("/__init__.py").or_else(of_file)?;
            let is_public = !name.starts_with('_') && !name.contains(['/', '.']);
            (is_public && !NOT_FOR_USERS.contains(&name)).then(|| name.to_owned())
        });
        names.collect()
    }

    fn run(&mut self) {
        while let Some(visit) = self.waiting.pop() {
            let Some((_, file)) = self.evidence.file(&visit.file) else { continue };
            let FileContent::Module(imports) = file.content() else { continue };
            for import in imports.iter() {
                let force = if import.is_guarded { Force::Optional } else { visit.force };
                let Some(module) = absolute_name(&visit.package, import.level, import.module) else {
                    continue;
                };
                self.import(&module, force);
                for name in import.names() {
                    self.import(&format!("{module}.{name}"), force);
                }
            }
        }
    }

    /// Imports a module, after the packages that it is in. What is not there is an attribute, or built in.
    fn import(&mut self, name: &str, force: Force) {
        let mut directories = self.path.clone();
        let mut package = String::new();
        for part in name.split('.') {
            let Some(found) = self.find(&directories, part) else { return };
            match found {
                FoundModule::Package { directories: inside, init } => {
                    package = join(&package, part);
                    self.reach(init, &package, force);
                    directories = inside;
                }
                FoundModule::File(file) => return self.reach(Some(file), &package, force),
            }
        }
    }

    fn reach(&mut self, file: Option<String>, package: &str, force: Force) {
        let Some(file) = file else { return };
        if self.reached.get(&file).is_some_and(|known| *known >= force) {
            return;
        }
        self.reached.insert(file.clone(), force);
        if file.ends_with(".py") {
            self.waiting.push(ModuleVisit { file, package: package.to_owned(), force });
        }
    }

    /// Searches the directories for a module, as the interpreter's finder does.
    fn find(&self, directories: &[String], name: &str) -> Option<FoundModule> {
        let mut portions = Vec::new();
        for directory in directories {
            let package = format!("{directory}/{name}");
            if self.evidence.is_directory(&package) {
                match self.file(&format!("{package}/__init__")) {
                    Some(init) => {
                        let directories = vec![split(&init).0.to_owned()];
                        return Some(FoundModule::Package { directories, init: Some(init) });
                    }
                    None => portions.extend(self.evidence.resolve(&package)),
                }
            }
            if let Some(file) = self.file(&package) {
                return Some(FoundModule::File(file));
            }
        }
        (!portions.is_empty()).then_some(FoundModule::Package { directories: portions, init: None })
    }

    /// The endings of modules, in the finder's order.
    fn endings(&self) -> impl Iterator<Item = &str> + Clone {
        self.suffixes.iter().map(String::as_str).chain([".py"])
    }

    /// The file of the module whose path is `stem` without its ending: an extension module before source.
    fn file(&self, stem: &str) -> Option<String> {
        let mut files = self.endings().filter_map(|ending| self.evidence.file(&format!("{stem}{ending}")));
        files.next().map(|(real, _)| real)
    }
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
