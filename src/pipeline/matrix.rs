//! The images of a matrix: read, locked, and built in the share of one machine.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{self, Path, PathBuf};

use super::input_error::diagnostics;
use super::lock_file::directory_of;
use super::recipe_source::{MatrixEntry, RecipeSource};
use super::{
    BuildOrder, Built, Checking, InputError, LockFileError, LockOrder, LockWriting, Locked, Locking,
    PlanOrder, Progress, ReleaseOrder, Session, Upgrade, build, lock, lock_file, recipe_file,
};
use crate::beneath::{FileRoot, Outside, ReachError};
use crate::failure::{Context, Hinted, Result};
use crate::place::ImagePlace;
use crate::pool;
use crate::recipe::{Diagnostics, ImageName, Matrix, MatrixImage};

/// The share of one of several machines that work beside each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// The number of the machine, from 1 on.
    pub number: usize,
    /// The number of machines, at least as large.
    pub of: usize,
}

impl Shard {
    /// The only machine.
    pub const ALL: Self = Self { number: 1, of: 1 };

    /// Returns whether the machine builds the image of this number, from 0 on.
    fn has_image(self, index: usize) -> bool {
        index % self.of == self.number - 1
    }
}

/// The images of a matrix, and the use of their locks.
#[derive(Clone, Copy)]
pub struct MatrixOrder<'a> {
    /// The images.
    pub entries: &'a [MatrixEntry],
    /// The use of their locks.
    pub locking: Locking,
    /// The progress of the matrix: that of the session tells of single images.
    pub progress: &'a dyn Progress,
}

/// The way in which images are published.
#[derive(Debug, Clone, Copy)]
pub struct ImagesOrder<'a> {
    /// The share of this machine.
    pub shard: Shard,
    /// The use of the check.
    pub checking: Checking,
    /// The documents that each published image is given.
    pub release: &'a ReleaseOrder,
}

/// An order to lock the images of a matrix.
#[derive(Debug)]
pub struct MatrixLockOrder {
    /// The part of earlier locks to give up.
    pub upgrade: Upgrade,
    /// The use of the new locks.
    pub writing: LockWriting,
    /// As in [`LockOrder::layers`].
    pub layers: bool,
}

/// Reads the matrix at `path`; its images go to places by `pattern`, where there is one.
pub fn read_matrix(path: &Path, pattern: Option<&str>, session: &Session<'_>) -> Result<Vec<MatrixEntry>> {
    recipe_file::check_lockable(path)?;
    let of_file = |source| InputError::RecipeFile { source };
    let text = recipe_file::read(path).map_err(of_file)?;
    let mut matrix = Matrix::parse(&text, &path.display().to_string()).map_err(diagnostics)?;
    if let Some(pattern) = pattern {
        matrix.go_to(pattern).map_err(diagnostics)?;
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let images = matrix.images(&stem).map_err(diagnostics)?;
    // A pattern of the command line is the user's own.
    let places = if pattern.is_some() { Outside::Allowed } else { session.outside };
    let entries = images.into_iter().map(|image| entry(image, path, &matrix, (session.outside, places)));
    Ok(entries.collect::<Result<_, Diagnostics>>().map_err(diagnostics)?)
}

fn entry(
    image: MatrixImage,
    path: &Path,
    matrix: &Matrix,
    (outside, places): (Outside, Outside),
) -> Result<MatrixEntry, Diagnostics> {
    let recipe = match &image.recipe {
        None => path.to_owned(),
        Some(recipe) if outside == Outside::Refused && is_outside(directory_of(path), Path::new(recipe)) => {
            let message = format!("the recipe `{recipe}` is outside of the matrix's directory");
            let help = "move it below the matrix, or allow that with `--allow-outside`";
            return Err(matrix.report_recipe(&image, message, help));
        }
        Some(recipe) => path.parent().unwrap_or(Path::new("")).join(recipe),
    };
    let destination = image.destination.as_deref().map(ImagePlace::destination).transpose();
    let destination =
        destination.map_err(|error| matrix.report_destination(error.to_string(), error.hint()))?;
    if places == Outside::Refused
        && let Some(place) = destination.as_ref().filter(|place| place.path().is_some_and(leaves_directory))
    {
        let message = format!("the place `{place}` is outside of the working directory");
        let help = "name one below it, or give it by `--output`".to_owned();
        return Err(matrix.report_destination(message, Some(help)));
    }
    Ok(MatrixEntry { image, recipe, destination, matrix: path.to_owned() })
}

/// Returns whether a path, or a link on the part of it that is there, leaves the working directory.
fn leaves_directory(path: &Path) -> bool {
    let here = path::absolute(".").unwrap_or_default();
    let path = path.strip_prefix(here).unwrap_or(path);
    path.ancestors().any(|part| is_outside(Path::new("."), part))
}

/// Returns whether a path, or a link on its way, leaves the directory.
fn is_outside(directory: &Path, path: &Path) -> bool {
    let found = FileRoot::open(directory, Outside::Refused).map(|root| root.open_linked(path));
    matches!(found, Ok(Err(ReachError::Outside)))
}

/// The locks of a matrix.
pub struct LockedMatrix {
    /// Those of its images.
    pub locks: Vec<Locked>,
    /// The paths of those that the matrix has no image for any more: they are removed, or would be.
    pub left: Vec<PathBuf>,
}

/// Decides about every image of a matrix what its lock leaves open, writes the locks, and removes those of images that it no
/// longer has.
pub fn lock_matrix(
    matrix: &MatrixOrder<'_>,
    order: &MatrixLockOrder,
    session: &Session<'_>,
) -> Result<LockedMatrix> {
    matrix.progress.stage(&format!("locking {} images", matrix.entries.len()));
    let locked =
        each(matrix, session, |entry| lock_entry(entry, order, session).with_context(|| of_image(entry)))?;
    let names = matches!(&order.upgrade, Upgrade::Only { names, .. } if !names.is_empty());
    let locks = match locked.iter().flatten().count() {
        // No image has what is to be upgraded: the first one's words say so.
        0 if names => lock_first(matrix, order, session)?,
        _ => locked.into_iter().flatten().collect(),
    };
    let left = left_locks(matrix.entries);
    if order.writing == LockWriting::Write {
        for path in &left {
            let failed = |source| LockFileError::Remove { path: path.clone(), source };
            fs::remove_file(path).map_err(failed)?;
        }
    }
    Ok(LockedMatrix { locks, left })
}

/// The locks beside a matrix that are called as its images are, and of which it has no image.
fn left_locks(entries: &[MatrixEntry]) -> Vec<PathBuf> {
    let of_images: BTreeSet<PathBuf> =
        entries.iter().map(|entry| RecipeSource::from(entry).lock().path).collect();
    let Some(directory) = of_images.first().and_then(|path| path.parent()) else { return Vec::new() };
    let is_left = |path: &PathBuf| {
        let stem =
            path.file_stem().and_then(OsStr::to_str).filter(|_| path.extension() == Some("lock".as_ref()));
        let is_named = stem.is_some_and(|stem| ImageName::new(stem).is_some());
        // A link is somebody's own, and so is a file that is no lock.
        let is_file = || fs::symlink_metadata(path).is_ok_and(|there| there.is_file());
        is_named && !of_images.contains(path) && is_file() && lock_file::read(path).is_ok()
    };
    let there = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut left: Vec<PathBuf> = there.map(|entry| entry.path()).filter(is_left).collect();
    left.sort();
    left
}

/// The results of `work` for each image, the first one by itself: what is learned of its base and indexes the others know.
pub(super) fn each<R: Send>(
    matrix: &MatrixOrder<'_>,
    session: &Session<'_>,
    work: impl Fn(&MatrixEntry) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let work = |entry: &MatrixEntry| {
        matrix.progress.at(&entry.image.name);
        work(entry)
    };
    let (first, others) = matrix.entries.split_at(matrix.entries.len().min(1));
    let mut results = pool::run(first, 1, work)?;
    results.extend(pool::run(others, session.threads, work)?);
    Ok(results)
}

/// The lock of an image; `None` where it has nothing of what is to be upgraded.
fn lock_entry(entry: &MatrixEntry, order: &MatrixLockOrder, session: &Session<'_>) -> Result<Option<Locked>> {
    match lock(&lock_order(entry, order), session) {
        Err(error) if matches!(error.downcast_ref(), Some(LockFileError::Unknown { .. })) => Ok(None),
        locked => locked.map(Some),
    }
}

fn lock_first(
    matrix: &MatrixOrder<'_>,
    order: &MatrixLockOrder,
    session: &Session<'_>,
) -> Result<Vec<Locked>> {
    let locked = matrix.entries.iter().take(1).map(|entry| lock(&lock_order(entry, order), session));
    locked.collect()
}

fn lock_order<'a>(entry: &'a MatrixEntry, order: &MatrixLockOrder) -> LockOrder<'a> {
    LockOrder {
        recipe: entry.into(),
        platforms: &[],
        upgrade: order.upgrade.clone(),
        writing: order.writing,
        layers: order.layers,
    }
}

/// Builds and publishes the images of a shard, one after the other, and tells `finished` how each ended; gives the number of
/// those that failed.
pub fn build_images(
    matrix: &MatrixOrder<'_>,
    order: &ImagesOrder<'_>,
    session: &Session<'_>,
    finished: &dyn Fn(&MatrixEntry, Result<Built>),
) -> usize {
    let in_shard = matrix.entries.iter().enumerate().filter(|(index, _)| order.shard.has_image(*index));
    let mut failed = 0;
    for (_, entry) in in_shard {
        matrix.progress.stage(&format!("image {}", entry.image.name));
        let built = build_entry(entry, matrix.locking, order, session);
        failed += usize::from(built.is_err());
        finished(entry, built);
    }
    failed
}

fn build_entry(
    entry: &MatrixEntry,
    locking: Locking,
    order: &ImagesOrder<'_>,
    session: &Session<'_>,
) -> Result<Built> {
    let order = BuildOrder {
        plan: PlanOrder { recipe: entry.into(), platforms: &[], locking },
        destinations: entry.destination.as_slice(),
        checking: order.checking,
        annotations: &std::collections::BTreeMap::new(),
        release: order.release,
    };
    build(&order, session).with_context(|| of_image(entry))
}

/// The words on an image before the reason for which it failed.
pub(super) fn of_image(entry: &MatrixEntry) -> String {
    format!("image `{}`", entry.image.name)
}
