//! The files that imports lead to.

/// The force of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Force {
    /// The importing module goes on without it.
    Optional,
    /// It is a public module of a package, which users may import by itself.
    Separate,
    /// The distribution cannot be imported without it.
    Needed,
}

/// A file that an import leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReachedFile {
    /// The greatest force with which it is imported.
    pub force: Force,
    /// The name of the module.
    pub module: String,
    /// The file that imports it with that force; `None` for users.
    pub imported_by: Option<String>,
}
