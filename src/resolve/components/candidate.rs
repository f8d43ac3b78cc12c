//! The candidates for a component: the base's copies, and the wheels of an index.

use std::collections::BTreeMap;

use serde::Serialize;
use uv_normalize::PackageName;
use uv_pep440::{Operator, Version, VersionSpecifier};

use super::{ComponentError, Offer};
use crate::base::{CudaCopy, LoaderRoute, VersionSource};
use crate::cuda::{Component, library_stem};
use crate::pypa::simple::DistFile;
use crate::resolve::demand::Demand;
use crate::resolve::wheel_choice::{WheelChoice, best_wheels};

/// One way to serve a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ServiceCandidate {
    Base(CudaCopy),
    Wheel { version: Version, file: DistFile },
}

/// The identity of a candidate among those of its distribution.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Identity {
    /// By its directory.
    Base(String),
    Wheel(Version),
}

impl ServiceCandidate {
    pub(super) fn identity(&self) -> Identity {
        match self {
            Self::Base(copy) => Identity::Base(copy.directory.clone()),
            Self::Wheel { version, .. } => Identity::Wheel(version.clone()),
        }
    }

    /// As far as it is known; a copy of unknown version is no candidate.
    pub(super) fn version(&self) -> Version {
        match self {
            Self::Base(copy) => copy.version.clone().unwrap_or_else(|| Version::new([0])),
            Self::Wheel { version, .. } => version.clone(),
        }
    }

    pub(super) fn meets(&self, demand: &Demand) -> bool {
        match self {
            Self::Base(copy) => meets(copy, demand),
            Self::Wheel { version, .. } => demand.serves.contains(version),
        }
    }
}

/// A copy of the base that does not serve, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// Its directory, from the root: `/usr/local/cuda-12.2/targets/x86_64-linux/lib`.
    pub path: String,
    /// The copy's version, where it is known.
    pub version: Option<Version>,
    /// Its size in bytes, which the image carries without use.
    pub bytes: u64,
    /// The reason why it does not serve.
    pub reason: RejectionReason,
}

/// The reason why a copy of the base does not serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum RejectionReason {
    /// It is for another CUDA major.
    OtherMajor {
        /// The CUDA major of the copy, where it is known.
        major: Option<u32>,
    },
    /// Nothing tells its version.
    UnknownVersion,
    /// Libraries or programs that belong to it are not there.
    Incomplete {
        /// The files that it lacks.
        missing: Vec<String>,
    },
    /// A demand asks for other versions.
    Version {
        /// The demand that it does not meet.
        demand: Demand,
    },
    /// A library needs symbols of another component that no version which may be served has, or lacks symbols itself.
    Symbols {
        /// The library and the symbol that it lacks.
        explanation: String,
    },
    /// Another copy serves.
    NotChosen,
}

impl std::fmt::Display for RejectionReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OtherMajor { major: Some(major) } => write!(f, "it is for CUDA {major}"),
            Self::OtherMajor { major: None } => f.write_str("nothing tells for which CUDA it is"),
            Self::UnknownVersion => f.write_str("nothing tells its version"),
            Self::Incomplete { missing } => write!(f, "it lacks {}", missing.join(", ")),
            Self::Version { demand } => write!(f, "{demand} asks for another version"),
            Self::Symbols { explanation } => f.write_str(explanation),
            Self::NotChosen => f.write_str("another copy serves"),
        }
    }
}

impl Rejected {
    pub(super) fn new(copy: &CudaCopy, reason: RejectionReason) -> Self {
        Self {
            path: format!("/{}", copy.directory),
            version: copy.version.clone(),
            bytes: copy.bytes,
            reason,
        }
    }
}

/// The base's copies of `component` for CUDA `major` that are whole, best first, and why the others are not.
pub(super) fn copies(offer: &Offer<'_>, component: Component, major: u32) -> (Vec<CudaCopy>, Vec<Rejected>) {
    let mut whole = Vec::new();
    let mut rejected = Vec::new();
    for copy in offer.copies.iter().filter(|copy| copy.component == component) {
        let missing = missing(copy);
        let reason = if copy.cuda_major != Some(major) {
            Some(RejectionReason::OtherMajor { major: copy.cuda_major })
        } else if copy.version.is_none() {
            Some(RejectionReason::UnknownVersion)
        } else if !missing.is_empty() {
            Some(RejectionReason::Incomplete { missing })
        } else {
            None
        };
        match reason {
            Some(reason) => rejected.push(Rejected::new(copy, reason)),
            None => whole.push(copy.clone()),
        }
    }
    whole.sort_by_key(|copy| (reach(copy), copy.toolkit.as_ref() != offer.default_toolkit));
    (whole, rejected)
}

/// The essential files that a copy lacks.
fn missing(copy: &CudaCopy) -> Vec<String> {
    let has = |name: &str| copy.libraries.iter().any(|library| library_stem(&library.soname) == Some(name));
    let libraries = copy.component.essential_libraries().filter(|name| !has(name)).map(str::to_owned);
    let has = |name: &str| copy.programs.iter().any(|program| program == name);
    let programs = copy.component.essential_programs().filter(|name| !has(name)).map(str::to_owned);
    libraries.chain(programs).collect()
}

/// The rank of the way to a copy, best first: as it is by the loader, then by frameworks' own search paths, then by
/// links.
fn reach(copy: &CudaCopy) -> u8 {
    let found = copy.asked_for().map(|library| library.found).max();
    match found {
        None | Some(LoaderRoute::LibraryPath | LoaderRoute::Cache) => 0,
        Some(LoaderRoute::Nowhere) => 1,
        Some(LoaderRoute::SitePackages) => 2,
    }
}

/// Returns whether a copy meets a demand. Where less of its version is known than the demand names, as much as is known
/// counts.
fn meets(copy: &CudaCopy, demand: &Demand) -> bool {
    let Some(version) = &copy.version else { return false };
    let whole = matches!(
        copy.version_from,
        VersionSource::DebianPackage | VersionSource::Distribution | VersionSource::CondaPackage
    );
    let known = version.release().len();
    demand.serves.iter().all(|specifier| {
        let floor = matches!(specifier.operator(), Operator::GreaterThanEqual | Operator::TildeEqual);
        let asked = specifier.version().release();
        match floor && !whole && asked.len() > known {
            true => version >= &Version::new(asked.iter().take(known).copied()),
            false => contains(specifier, version),
        }
    })
}

fn contains(specifier: &VersionSpecifier, version: &Version) -> bool {
    specifier.contains(version)
}

/// The wheels of `distribution` that may be chosen: for each version that fits, the best one.
pub(super) fn wheels(
    distribution: &PackageName,
    demands: &[Demand],
    offer: &Offer<'_>,
) -> Result<BTreeMap<Version, DistFile>, ComponentError> {
    let project = offer.catalog.project(distribution)?;
    let choice = WheelChoice { target: offer.target, exclude_newer: offer.exclude_newer };
    let judge = |file: &DistFile| {
        let version = &file.filename.version;
        let locked = offer.preferences.get(distribution).is_some_and(|versions| versions.contains(version));
        let pinned = locked || demands.iter().any(|demand| demand.pins(version));
        let fit = choice.judge(file, pinned).ok()?;
        (pinned || !version.any_prerelease()).then_some(fit)
    };
    let best = best_wheels(&project.files, judge).into_iter();
    Ok(best.map(|(version, index)| (version, project.files[index].clone())).collect())
}
