//! The objects that distributions load into the interpreter's process.

use std::collections::BTreeMap;

use super::linking::PythonProcess;
use super::loader::{Loaded, Loader, Process, Search};

/// A distribution with everything that its modules load.
pub(super) struct Loading<'a> {
    /// The distribution's number in the world.
    pub distribution: usize,
    /// The interpreter's process, with these objects at its end.
    pub process: Process<'a>,
    /// The index of the first object that is not the interpreter's.
    pub from: usize,
}

impl<'a> Loading<'a> {
    /// Every distribution with modules, each in a process of its own.
    pub(super) fn all(loader: &Loader<'a>, python: &PythonProcess<'a>) -> Vec<Self> {
        let mut loadings: BTreeMap<usize, Self> = BTreeMap::new();
        for module in &python.modules {
            let Some(distribution) = module.distribution else { continue };
            let loading = loadings.entry(distribution).or_insert_with(|| Self::nothing(distribution, python));
            loader.open(&mut loading.process, &module.path, Search::Path);
        }
        loadings.into_values().collect()
    }

    /// A distribution that has loaded nothing yet.
    pub(super) fn nothing(distribution: usize, python: &PythonProcess<'a>) -> Self {
        let process = python.process.clone();
        Self { distribution, from: process.objects.len(), process }
    }

    /// The objects that the distribution loads beside the interpreter.
    pub(super) fn loaded(&self) -> &[Loaded<'a>] {
        &self.process.objects[self.from..]
    }
}
