//! The interpreter that a container starts, and the places that it searches for modules.

use std::collections::BTreeMap;

use uv_normalize::PackageName;

/// An interpreter as a container of an image starts it. Paths are relative to the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PythonStart {
    /// The path under which it is called: `opt/venv/bin/python`.
    pub program: String,
    /// 3 and 11 of Python 3.11.
    pub version: (u8, u8),
    /// The place where it looks for its standard library.
    pub home: PythonHome,
    /// `sys.path` without the standard library, in its order; not all of it needs to be there.
    pub path: Vec<String>,
    /// Single modules that code of `.pth` files maps to files and directories elsewhere, by their names.
    pub mapped: BTreeMap<String, String>,
    /// True if code adds to `sys.path` what cannot be read from it: no module is surely missing then.
    pub is_open: bool,
    /// The names of interpreters in `PATH`, before the one that is started, that lead to nothing.
    pub broken: Vec<BrokenName>,
    /// Installed distributions that neither this interpreter finds nor another that is called.
    pub unfound: Vec<UnfoundPackages>,
}

/// The place where an interpreter looks for its standard library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PythonHome {
    /// In this directory and those above it: below the first with a landmark, `lib/python3.11/os.py`.
    Above(String),
    /// Below the prefixes that `PYTHONHOME` names.
    Set(Vec<String>),
}

impl Default for PythonHome {
    fn default() -> Self {
        Self::Set(Vec::new())
    }
}

/// The name of an interpreter that leads to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenName {
    /// The path of the symlink.
    pub path: String,
    /// Its target, as written.
    pub target: String,
}

/// Distributions that were installed where no interpreter looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfoundPackages {
    /// The directory of packages.
    pub directory: String,
    /// Their names, sorted.
    pub names: Vec<PackageName>,
}
