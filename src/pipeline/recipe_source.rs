//! The recipe of an image: a file, or a file in which a matrix sets values, and its lock.

use std::path::{Path, PathBuf};

use crate::place::ImagePlace;
use crate::recipe::MatrixImage;

/// The recipe of an image.
#[derive(Debug, Clone, Copy)]
pub struct RecipeSource<'a> {
    /// The file of the recipe.
    pub file: &'a Path,
    /// The image of a matrix, which sets values in it.
    pub entry: Option<&'a MatrixEntry>,
}

/// An image of a matrix.
#[derive(Debug, Clone)]
pub struct MatrixEntry {
    /// The image.
    pub image: MatrixImage,
    /// The file of its recipe.
    pub recipe: PathBuf,
    /// The place that the matrix gives it.
    pub destination: Option<ImagePlace>,
    /// The file of the matrix.
    pub matrix: PathBuf,
}

/// The file of a lock.
#[derive(Debug, Clone)]
pub(super) struct LockPlace {
    /// Its path.
    pub path: PathBuf,
    /// The command that makes it.
    pub relock: String,
}

impl<'a> From<&'a Path> for RecipeSource<'a> {
    fn from(file: &'a Path) -> Self {
        Self { file, entry: None }
    }
}

impl<'a> From<&'a MatrixEntry> for RecipeSource<'a> {
    fn from(entry: &'a MatrixEntry) -> Self {
        Self { file: &entry.recipe, entry: Some(entry) }
    }
}

impl RecipeSource<'_> {
    /// Its lock: `NAME.lock` beside `NAME.yaml`, or in the directory `MATRIX.locks` beside a matrix that of each image.
    pub(super) fn lock(self) -> LockPlace {
        match self.entry {
            None => LockPlace {
                path: lock_beside(self.file),
                relock: format!("imgforge lock {}", self.file.display()),
            },
            Some(entry) => LockPlace {
                path: entry.matrix.with_extension("locks").join(format!("{}.lock", entry.image.name)),
                relock: format!("imgforge matrix lock {}", entry.matrix.display()),
            },
        }
    }
}

/// `NAME.lock` beside `NAME.yaml`; never the recipe itself.
fn lock_beside(recipe: &Path) -> PathBuf {
    match recipe.extension() {
        Some(extension) if extension == "lock" => recipe.with_added_extension("lock"),
        _ => recipe.with_extension("lock"),
    }
}
