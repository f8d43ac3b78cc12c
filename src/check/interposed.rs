//! Symbols of one CUDA that come before those of another: what a framework loads for the whole process is searched before
//! the libraries that a later object needs itself.
//!
//! <https://man7.org/linux/man-pages/man3/dlopen.3.html>, `RTLD_GLOBAL`

use std::collections::{BTreeMap, BTreeSet};

use super::linking::PythonProcess;
use super::loader::{Loader, Process, Search, split};
use super::loading::Loading;
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
    loadings: &[Loading<'a>],
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
    let firsts: Vec<GlobalObjects<'a>> = all.filter_map(|index| scopes.global(index)).collect();
    let mut findings = Vec::new();
    for first in &firsts {
        findings.extend(loadings.iter().filter_map(|later| scopes.interposed(first, later)));
    }
    findings
}

/// The objects that a distribution loads for the whole process.
struct GlobalObjects<'a> {
    loading: Loading<'a>,
    /// The CUDA majors that it uses.
    majors: BTreeSet<u32>,
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
        let mut loading = Loading::nothing(index, self.python);
        for path in files {
            self.loader.open(&mut loading.process, &format!("/{path}"), Search::Path);
        }
        let majors = self.majors_of(&mut loading.process.clone(), loading.from);
        (!majors.is_empty()).then_some(GlobalObjects { loading, majors })
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
    fn interposed(&self, first: &GlobalObjects<'a>, later: &Loading<'a>) -> Option<Finding> {
        if self.world.closure(first.loading.distribution).contains(&later.distribution) {
            return None;
        }
        let objects = &later.process.objects;
        let call = (later.from..objects.len()).find_map(|index| self.call(first, &later.process, index))?;
        let id = |index: usize| self.world.distributions[index].id();
        let observation = Observation::Interposed {
            first: id(first.loading.distribution),
            object: format!("/{}", objects[call.object].file),
            symbol: call.symbol,
            meant: format!("/{}", objects[call.meant].file),
            answered_by: format!("/{}", call.answered_by),
        };
        let subject = About::Distribution(id(later.distribution));
        Some(Finding { level: Level::Warning, subject, observation })
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
            let others = || first.loading.loaded().iter().filter(|other| other.real != library.real);
            let answered = |hash: u64| Some((hash, others().find(|other| other.object.exports(hash))?));
            let meant_for_it = object.imports.hashes().iter().filter(|hash| library.object.exports(**hash));
            let Some((hash, other)) = meant_for_it.copied().find_map(answered) else { continue };
            let (_, symbol) = object.imports.of(&[hash]).into_iter().next()?;
            return Some(InterposedCall { object: index, symbol, meant, answered_by: other.file.clone() });
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
