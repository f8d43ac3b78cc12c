//! Python projects: their dependencies, and the Python that they need.

use uv_pep440::{Version, VersionSpecifiers};

use super::{Draft, requirement};
use crate::pypa::pyproject;

/// The Python of the default base.
const DEFAULT_PYTHON: (u64, u64) = (3, 11);
/// Versions of Python for which there are official images, in the order to try them.
const PYTHONS: [(u64, u64); 5] = [(3, 12), (3, 13), (3, 10), (3, 14), (3, 9)];

/// Takes over a `pyproject.toml`; where a lock is there, its dependencies are in that.
pub(super) fn read_project(text: &str, draft: &mut Draft) {
    let Ok(project) = pyproject::ProjectSummary::of(text) else {
        return draft.leave_out("pyproject.toml", "it is not TOML");
    };
    if draft.base.is_none() {
        draft.base = project.requires_python.as_deref().and_then(base_for);
    }
    if draft.has_lock() {
        return;
    }
    for dependency in &project.dependencies {
        match requirement::is_of_index(dependency) {
            true => draft.require(dependency),
            false => draft.leave_out(dependency, "name its wheel under `packages`"),
        }
    }
}

/// Takes over a lock, the first of several.
pub(super) fn read_lock(name: &str, draft: &mut Draft) {
    match draft.has_lock() {
        false => draft.require_file(name),
        true => draft.leave_out(name, "another lock has what it locks"),
    }
}

/// Takes over a requirements file, unless a lock has what it asks for.
pub(super) fn read_requirements(name: &str, draft: &mut Draft) {
    if !draft.has_lock() {
        draft.require_file(name);
    }
}

/// An image with a Python that these specifiers admit; `None` where the default base has one.
pub(super) fn base_for(requires_python: &str) -> Option<String> {
    let specifiers: VersionSpecifiers = requires_python.parse().ok()?;
    let admits = |(major, minor): (u64, u64)| specifiers.contains(&Version::new([major, minor, 99]));
    if admits(DEFAULT_PYTHON) {
        return None;
    }
    let (major, minor) = PYTHONS.into_iter().find(|python| admits(*python))?;
    Some(format!("python:{major}.{minor}-slim"))
}
