//! The standard library of an interpreter: where it is, and whether the interpreter starts with it.
//!
//! <https://docs.python.org/3/library/sys_path_init.html>

use crate::base::{PythonHome, PythonStart};
use crate::observe::check_facts::CheckFacts;

/// The module that CPython imports first, from the file system: without it, it does not start.
pub(super) const FIRST_MODULE: &str = "encodings";

/// The standard library of an interpreter. Paths are relative to the root.
#[derive(Debug, Default)]
pub(super) struct StandardLibrary {
    /// The directory of its modules, and that of its extension modules.
    pub directories: Vec<String>,
    /// True if the interpreter finds the module that it starts with.
    pub starts: bool,
}

impl StandardLibrary {
    /// The standard library that an interpreter finds.
    pub(super) fn find(evidence: &CheckFacts, start: &PythonStart) -> Self {
        let (major, minor) = start.version;
        let name = format!("lib/python{major}.{minor}");
        let prefixes = prefixes(evidence, &start.home, &name);
        let below = |prefix: &String, name: &str| {
            let path = format!("{prefix}/{name}");
            evidence.resolve(&path).unwrap_or(path)
        };
        let of_modules = prefixes.first().map(|prefix| below(prefix, &name));
        let of_extensions = prefixes.last().map(|prefix| below(prefix, &format!("{name}/lib-dynload")));
        let directories: Vec<String> = of_modules.into_iter().chain(of_extensions).collect();
        let mut archives = prefixes.iter().map(|prefix| format!("{prefix}/lib/python{major}{minor}.zip"));
        let has_first = |directory: &String| {
            let package = format!("{directory}/{FIRST_MODULE}/__init__");
            [".py", ".pyc"].iter().any(|ending| evidence.file(&format!("{package}{ending}")).is_some())
        };
        let starts = directories.iter().chain(&start.path).any(has_first)
            || archives.any(|archive| evidence.file(&archive).is_some());
        Self { directories, starts }
    }

    /// The directory of its extension modules.
    pub(super) fn modules(&self) -> Option<&str> {
        self.directories.last().map(String::as_str)
    }
}

/// The prefix of the modules, and the one of the extension modules.
fn prefixes(evidence: &CheckFacts, home: &PythonHome, library: &str) -> Vec<String> {
    let directory = match home {
        PythonHome::Set(prefixes) => return prefixes.clone(),
        PythonHome::Above(directory) => directory,
    };
    let mut above =
        std::iter::successors(Some(directory.as_str()), |it| it.rsplit_once('/').map(|(above, _)| above));
    let has_landmark = |prefix: &&str| {
        ["os.py", "os.pyc"].iter().any(|name| evidence.file(&format!("{prefix}/{library}/{name}")).is_some())
    };
    let found = above.find(has_landmark);
    // What it was compiled for is not known; mostly it is where the interpreter is.
    let fallback = directory.rsplit_once('/').map_or("", |(above, _)| above);
    vec![found.unwrap_or(fallback).to_owned()]
}
