//! Symbols of one CUDA that come before those of another: what a framework loads for the whole process is searched before
//! the libraries that a later object needs itself.
//!
//! <https://man7.org/linux/man-pages/man3/dlopen.3.html>, `RTLD_GLOBAL`

use std::collections::{BTreeMap, BTreeSet};

use super::linking::PythonProcess;
use super::loader::{Loaded, Loader, Process, Search, split};
use super::world::World;
use super::{About, Finding, Level, Observation};
use crate::base::{BaseInventory, CudaCopy};
use crate::cuda::loaded_globally;

/// Finds pairs of distributions of which the first, once it is imported, answers calls of the second that are meant for
/// another CUDA major. The other order is safe: symbols are bound when an object is loaded.
pub(super) fn findings<'a>(
    inventory: &BaseInventory,
    world: &World<'_>,
    loader: &Loader<'a>,
    python: &PythonProcess<'a>,
) -> Vec<Finding> {
    let libraries = |copy: &'_ CudaCopy| copy.libraries.iter().map(|it| it.path.clone()).collect::<Vec<_>>();
    let majors = inventory.cuda.iter().filter_map(|copy| Some((copy.cuda_major?, libraries(copy))));
    let majors: BTreeMap<String, u32> =
        majors.flat_map(|(major, paths)| paths.into_iter().map(move |path| (path, major))).collect();
    if majors.values().collect::<BTreeSet<_>>().len() < 2 {
        return Vec::new();
    }
    let scopes = GlobalScopes { world, loader, python, majors };
    let all = 0..world.distributions.len();
    let firsts: Vec<GlobalObjects<'a>> = all.clone().filter_map(|index| scopes.global(index)).collect();
    let mut findings = Vec::new();
    for first in &firsts {
        findings.extend(all.clone().filter_map(|later| scopes.interposed(first, later)));
    }
    findings
}

/// The objects that a distribution loads for the whole process.
struct GlobalObjects<'a> {
    distribution: usize,
    process: Process<'a>,
    /// The index of the first that is not the interpreter's.
    from: usize,
    /// The CUDA majors that it uses.
    majors: BTreeSet<u32>,
}

impl<'a> GlobalObjects<'a> {
    fn objects(&self) -> &[Loaded<'a>] {
        &self.process.objects[self.from..]
    }
}

struct GlobalScopes<'a, 'b> {
    world: &'b World<'b>,
    loader: &'b Loader<'a>,
    python: &'b PythonProcess<'a>,
    /// The CUDA major of each library, by its path.
    majors: BTreeMap<String, u32>,
}

impl<'a> GlobalScopes<'a, '_> {
    fn global(&self, index: usize) -> Option<GlobalObjects<'a>> {
        let distribution = &self.world.distributions[index];
        let names = loaded_globally(distribution.installed.name.as_ref());
        let files = distribution.rows.keys().filter(|path| names.contains(&split(path).1));
        let mut process = self.python.process.clone();
        let from = process.objects.len();
        for path in files {
            self.loader.open(&mut process, &format!("/{path}"), Search::Path);
        }
        let majors = self.majors_of(&mut process.clone(), from);
        (!majors.is_empty()).then_some(GlobalObjects { distribution: index, process, from, majors })
    }

    /// The CUDA majors of the libraries in a process, and of those that its objects open by name.
    fn majors_of(&self, process: &mut Process<'a>, from: usize) -> BTreeSet<u32> {
        for index in from..process.objects.len() {
            for name in self.loader.opens(&process.objects[index]) {
                self.loader.open_name(process, name, index);
            }
        }
        process.objects[from..].iter().filter_map(|loaded| self.majors.get(&loaded.real).copied()).collect()
    }

    /// The first call of the distribution `later` that would be answered by `first`, for another CUDA major.
    fn interposed(&self, first: &GlobalObjects<'a>, later: usize) -> Option<Finding> {
        if self.world.closure(first.distribution).contains(&later) {
            return None;
        }
        let mut process = self.python.process.clone();
        let from = process.objects.len();
        for module in self.python.modules.iter().filter(|module| module.distribution == Some(later)) {
            self.loader.open(&mut process, &module.path, Search::Path);
        }
        let call = (from..process.objects.len()).find_map(|index| self.call(first, &process, index))?;
        let id = |index: usize| self.world.distributions[index].id();
        let observation = Observation::Interposed {
            first: id(first.distribution),
            object: format!("/{}", process.objects[call.object].file),
            symbol: call.symbol,
            meant: format!("/{}", process.objects[call.meant].file),
            answered_by: format!("/{}", call.answered_by),
        };
        Some(Finding { level: Level::Warning, subject: About::Distribution(id(later)), observation })
    }

    /// The first call of an object that is meant for a library of a CUDA major which `first` does not use.
    fn call(&self, first: &GlobalObjects<'a>, process: &Process<'a>, index: usize) -> Option<InterposedCall> {
        let object = process.objects[index].object;
        let needed = process.reachable(index).into_iter().filter(|needed| *needed != index);
        for meant in needed {
            let library = &process.objects[meant];
            if self.majors.get(&library.real).is_none_or(|major| first.majors.contains(major)) {
                continue;
            }
            let others = || first.objects().iter().filter(|other| other.real != library.real);
            let is_answered =
                |hash: &&u64| library.object.exports(**hash) && others().any(|it| it.object.exports(**hash));
            let Some(hash) = object.imports.hashes().iter().find(is_answered) else { continue };
            let answered_by = others().find(|it| it.object.exports(*hash))?.file.clone();
            let (_, symbol) = object.imports.of(&[*hash]).into_iter().next()?;
            return Some(InterposedCall { object: index, symbol, meant, answered_by });
        }
        None
    }
}

/// A call that another library answers than the one it is meant for.
struct InterposedCall {
    /// The index of the object that calls.
    object: usize,
    symbol: String,
    /// The index of the library that it is meant for.
    meant: usize,
    /// The path of the library that answers.
    answered_by: String,
}
