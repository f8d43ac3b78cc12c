//! The file of a recipe, or standard input: its text, and what is told where it is something else.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::failure::{Fault, Hinted};
use crate::place::ImagePlace;
use crate::plain_file;
use crate::recipe::{OtherFile, closest};

/// The name of standard input among files.
const STANDARD_INPUT: &str = "-";
/// A recipe, or a text that it names, of more bytes is not read: recorded inventories take a few MB.
pub(super) const LONGEST_INPUT: u64 = 32 << 20;
/// The files of a directory that are named in a hint; the rest are counted.
const MOST_NAMED: usize = 10;
/// The entries of a directory that are looked at for a recipe.
const MOST_LOOKED_AT: usize = 1000;
/// The bytes of a file that tell if it is a recipe.
const LONGEST_LOOK: u64 = 64 << 10;

/// The reason why there is no recipe to read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum RecipeFileError {
    #[error("there is no recipe `{path}`")]
    Missing { path: PathBuf, beside: Vec<String> },
    #[error("`{path}` is a directory, and a recipe is a file")]
    Directory { path: PathBuf, recipes: Vec<String> },
    #[error("`{path}` is the name of an image, and a recipe is a file")]
    Image { path: PathBuf },
    #[error("`{path}` is {}, not a recipe", kind.kind())]
    OtherKind { path: PathBuf, kind: OtherFile },
    #[error("could not read `{path}`")]
    Read { path: PathBuf, source: io::Error },
    #[error("could not read the recipe from standard input")]
    StandardInput { source: io::Error },
    #[error("a recipe from standard input has no file, and so no lock beside it")]
    NoLock,
}

impl Hinted for RecipeFileError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Missing { path, beside } => {
                let name = file_name(path);
                let names: Vec<&str> = beside.iter().map(String::as_str).collect();
                match (closest(&name, &names), beside.is_empty()) {
                    (Some(near), _) => format!("did you mean `{}`?", path.with_file_name(near).display()),
                    (None, true) => {
                        "check the path; `imgforge init` writes a recipe to begin with".to_owned()
                    }
                    (None, false) => format!("check the path; there are {}", listed(beside)),
                }
            }
            Self::Directory { path, recipes } => match recipes.as_slice() {
                [] => format!(
                    "it has no recipe: `imgforge init {}` writes one from what is there",
                    path.join("recipe.yaml").display()
                ),
                [only] => format!("name the recipe: `{}`", path.join(only).display()),
                several => format!("name one of the recipes in it: {}", listed(several)),
            },
            Self::Image { path } => format!(
                "to build on this image, write a recipe with `base: {0}`; `imgforge inspect {0}` shows what is in it",
                path.display()
            ),
            Self::OtherKind { path, kind } => kind.advice(&path.display().to_string(), &file_name(path)),
            Self::Read { source, .. } | Self::StandardInput { source } => match source.kind() {
                io::ErrorKind::InvalidData => "write it as UTF-8 text".to_owned(),
                io::ErrorKind::PermissionDenied => {
                    "let your user read it: `chmod u+r`, or `ls -l` tells whose it is".to_owned()
                }
                _ => "check the path".to_owned(),
            },
            Self::NoLock => "write the recipe into a file: its lock lies beside it".to_owned(),
        })
    }

    fn fault(&self) -> Fault {
        Fault::Input
    }
}

/// Returns whether the recipe comes from standard input.
pub(super) fn is_standard_input(path: &Path) -> bool {
    path == Path::new(STANDARD_INPUT)
}

/// Refuses a recipe that no lock can lie beside.
pub(super) fn check_lockable(path: &Path) -> Result<(), RecipeFileError> {
    match is_standard_input(path) {
        true => Err(RecipeFileError::NoLock),
        false => Ok(()),
    }
}

/// The name of a recipe in messages.
pub(super) fn origin(path: &Path) -> String {
    match is_standard_input(path) {
        true => "standard input".to_owned(),
        false => path.display().to_string(),
    }
}

/// The text of the recipe at `path`.
pub(super) fn read(path: &Path) -> Result<String, RecipeFileError> {
    if is_standard_input(path) {
        return read_standard_input().map_err(|source| RecipeFileError::StandardInput { source });
    }
    plain_file::read_text(path, LONGEST_INPUT).map_err(|source| unreadable(path, source))
}

fn read_standard_input() -> io::Result<String> {
    let mut text = String::new();
    io::stdin().lock().take(LONGEST_INPUT).read_to_string(&mut text)?;
    Ok(text)
}

/// The error for a file whose text is no recipe, where it is known what it is instead.
pub(super) fn other_kind(path: &Path, text: &str) -> Option<RecipeFileError> {
    let kind = OtherFile::named(&file_name(path)).or_else(|| OtherFile::of_text(text))?;
    Some(RecipeFileError::OtherKind { path: path.to_owned(), kind })
}

fn unreadable(path: &Path, source: io::Error) -> RecipeFileError {
    let owned = path.to_owned();
    let text = path.to_string_lossy();
    match source.kind() {
        io::ErrorKind::NotFound if is_image(&text) => RecipeFileError::Image { path: owned },
        io::ErrorKind::NotFound => RecipeFileError::Missing { path: owned, beside: beside(path) },
        _ if path.is_dir() => RecipeFileError::Directory { path: owned, recipes: recipes_in(path) },
        io::ErrorKind::InvalidData => match OtherFile::named(&file_name(path)) {
            Some(kind) => RecipeFileError::OtherKind { path: owned, kind },
            None => RecipeFileError::Read { path: owned, source },
        },
        _ => RecipeFileError::Read { path: owned, source },
    }
}

/// Returns whether `text` can only name an image.
fn is_image(text: &str) -> bool {
    text.contains(':') && text.parse::<ImagePlace>().is_ok()
}

/// The files of YAML beside the path of one that is missing.
fn beside(path: &Path) -> Vec<String> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    files_of_yaml(directory)
}

/// The recipes in a directory: files of YAML that name a base.
fn recipes_in(directory: &Path) -> Vec<String> {
    let is_recipe = |name: &String| {
        let text = plain_file::read_text(&directory.join(name), LONGEST_LOOK).unwrap_or_default();
        text.lines().any(|line| line.starts_with("base:"))
    };
    files_of_yaml(directory).into_iter().filter(is_recipe).collect()
}

fn files_of_yaml(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let names = entries.take(MOST_LOOKED_AT).filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> =
        names.filter(|name| name.ends_with(".yaml") || name.ends_with(".yml")).collect();
    names.sort();
    names
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn listed(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(MOST_NAMED).map(|name| format!("`{name}`")).collect();
    match names.len().saturating_sub(MOST_NAMED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
