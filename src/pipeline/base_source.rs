//! An opened base, and where its layers come from.

use std::sync::atomic::AtomicBool;

use super::debian_lock::LockedPackages;
use super::schedule::Fetch;
use crate::base::BaseInventory;
use crate::layer::read::LayerContent;
use crate::lock::LockedBase;
use crate::plan::PlannedBase;
use crate::source::SourceImage;

/// A base that was opened.
pub(super) struct OpenedBase {
    /// The base as a plan sees it.
    pub planned: PlannedBase,
    /// The time at which it was made, or the newest of its parts was published, in Unix seconds.
    pub published: u64,
    /// Its identity in a lock.
    pub locked: LockedBase,
    /// True if libraries of CUDA may be in it that its inventory does not list yet.
    pub may_have_cuda: bool,
    /// The source of its layers.
    pub source: BaseSource,
}

/// The source of a base's layers.
pub(super) enum BaseSource {
    /// Made of Debian packages.
    Debian(DebianSource),
    /// Taken from an image that others made.
    Image(Box<ImageSource>),
    /// Of any kind, of which all parts are in the store.
    Store,
}

/// The downloads of a base's packages; none where the store has all of them.
#[derive(Default)]
pub(super) struct DebianSource {
    pub(super) fetches: Vec<Fetch>,
    /// The packages of a lock; `None` where signed indexes gave them.
    pub(super) locked: Option<Box<LockedPackages>>,
    /// True once the user was told of scripts that were not followed.
    pub(super) warned: AtomicBool,
}

/// The layers of an image that is built upon.
pub(super) struct ImageSource {
    pub(super) image: SourceImage,
    /// The recorded inventory, against which the layers are held when they are read.
    pub(super) recorded: Option<BaseInventory>,
    /// `None` while the inventory is a recorded one, and no layer has been read.
    pub(super) contents: Option<Vec<LayerContent>>,
    /// The version of Python that is meant, where there are several: `3.11`.
    pub(super) python: Option<String>,
    /// The packages that are added to it.
    pub(super) packages: DebianSource,
}

impl BaseSource {
    /// The downloads of its packages, whether the store has them or not.
    pub(super) fn packages(&self) -> &[Fetch] {
        match self {
            Self::Debian(packages) => &packages.fetches,
            Self::Image(image) => &image.packages.fetches,
            Self::Store => &[],
        }
    }
}
