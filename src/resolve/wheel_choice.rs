//! The choice of a wheel: which wheels of a project may be installed, and the best of each version.

use std::collections::BTreeMap;

use uv_pep440::Version;

use crate::pypa::simple::DistFile;
use crate::pypa::target::{Fit, Misfit, Target};

/// The conditions that a wheel meets apart from the requirements on its version.
#[derive(Debug, Clone, Copy)]
pub(super) struct WheelChoice<'a> {
    pub target: &'a Target,
    /// Nothing uploaded at or after this moment, in Unix seconds, may be chosen.
    pub exclude_newer: Option<i64>,
}

/// The reason why a wheel may not be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    Misfit(Misfit),
    Yanked(String),
    TooNew,
    NoUploadTime,
}

impl WheelChoice<'_> {
    /// The fit of `file`, or the reason why it may not be chosen. A yanked file may be chosen only where its version is
    /// `pinned`.
    pub(super) fn judge(&self, file: &DistFile, pinned: bool) -> Result<Fit, Refusal> {
        if let Some(limit) = self.exclude_newer {
            match file.upload_time {
                None => return Err(Refusal::NoUploadTime),
                Some(time) if time >= limit => return Err(Refusal::TooNew),
                Some(_) => {}
            }
        }
        if let Some(reason) = file.yanked.as_ref().filter(|_| !pinned) {
            return Err(Refusal::Yanked(reason.clone()));
        }
        if let Some(wheel) = file.requires_python.as_ref().filter(|python| !self.target.admits(python)) {
            let (wheel, target) = (wheel.clone(), self.target.python().clone());
            return Err(Refusal::Misfit(Misfit::RequiresPython { wheel, target }));
        }
        self.target.fit(&file.filename).map_err(Refusal::Misfit)
    }
}

/// Returns whether a wheel is for Python 2 alone: no image has that, so it is as good as none.
pub(super) fn is_of_python_2(file: &DistFile) -> bool {
    file.filename.python_tags().iter().all(|tag| {
        let tag = tag.to_string();
        tag.trim_start_matches(|letter: char| letter.is_ascii_alphabetic()).starts_with('2')
    })
}

/// The index in `files` of the best wheel of each version, of those that `judge` lets pass: the one with the best tags,
/// of those the one with the highest build number, and of those the one that is listed first.
///
/// <https://packaging.python.org/en/latest/specifications/binary-distribution-format/#file-name-convention>
pub(super) fn best_wheels(
    files: &[DistFile],
    judge: impl Fn(&DistFile) -> Option<Fit>,
) -> BTreeMap<Version, usize> {
    let mut best: BTreeMap<Version, (usize, Fit)> = BTreeMap::new();
    for (index, file) in files.iter().enumerate() {
        let Some(fit) = judge(file) else { continue };
        let better = |(other, present): &(usize, Fit)| {
            let build = |index: usize| files[index].filename.build_tag();
            (*present, build(*other)) < (fit, build(index))
        };
        if best.get(&file.filename.version).is_none_or(better) {
            best.insert(file.filename.version.clone(), (index, fit));
        }
    }
    best.into_iter().map(|(version, (index, _))| (version, index)).collect()
}
