//! The files that imports lead to.

use crate::cpython::imports::Guard;

/// The force of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Force {
    /// The importing module goes on without it.
    Optional,
    /// A distribution imports its own part where a condition is met, and does not handle a failure.
    Conditional,
    /// It is a public module of a package, which users may import by itself.
    Separate,
    /// The distribution cannot be imported without it.
    Needed,
}

impl Force {
    /// Returns whether it is imported in any case.
    pub(super) fn is_certain(self) -> bool {
        self >= Self::Separate
    }

    /// The force of an import with this guard, in a file that is imported with this force itself.
    pub(super) fn behind(self, guard: Guard) -> Self {
        match guard {
            Guard::Nothing => self,
            Guard::Condition => self.min(Self::Conditional),
            Guard::Handler => Self::Optional,
        }
    }
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
