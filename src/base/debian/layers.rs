//! Which layer a package belongs to, so that layers stay the same while a list of packages changes.

use super::select::Selection;

/// The layers of a base, lowest first; what is generated comes in one more, above them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// The essential packages and what they need: equal in every base of a suite at one time.
    System,
    /// What the description asks for, and what that needs.
    Packages,
}

impl Group {
    /// What the layer is called in its history.
    pub fn title(self) -> &'static str {
        match self {
            Self::System => "essential packages",
            Self::Packages => "packages",
        }
    }
}

/// The group of each package, in the order of the selection. A directory several packages share is of
/// the first of them, hence of the lowest layer.
pub fn groups(selection: &Selection) -> Vec<Group> {
    let group = |system| if system { Group::System } else { Group::Packages };
    selection.packages.iter().map(|package| group(package.system)).collect()
}
