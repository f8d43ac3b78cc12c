//! The recipe of a command, and the one that is meant where none is named.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::failure::{Fault, Hinted, Result};
use crate::plain_file;

/// The recipe of a directory that has several files.
const USUAL: &str = "recipe.yaml";
/// The bytes of a file that may be a recipe.
const LONGEST_RECIPE: u64 = 1 << 20;
/// The files of a directory that are looked at.
const MOST_FILES: usize = 1000;

/// The recipe of a command.
#[derive(Debug, Args)]
pub(super) struct RecipeArgument {
    /// The recipe, a YAML file; - is standard input [default: recipe.yaml, or the only recipe in this directory].
    recipe: Option<PathBuf>,
}

/// A command without a recipe, in a directory that does not tell which is meant.
#[derive(Debug, thiserror::Error)]
#[error("no recipe is named, and {}", reason(recipes))]
struct NoRecipe {
    recipes: Vec<String>,
}

fn reason(recipes: &[String]) -> String {
    match recipes {
        [] => "this directory has none".to_owned(),
        recipes => format!("this directory has several: {}", recipes.join(", ")),
    }
}

impl Hinted for NoRecipe {
    fn hint(&self) -> Option<String> {
        Some(match &self.recipes[..] {
            [] => "`imgforge init` writes one to begin with; one that is elsewhere is named: `imgforge plan DIR/recipe.yaml`".into(),
            [first, ..] => format!("name one: `imgforge plan {first}`"),
        })
    }

    fn fault(&self) -> Fault {
        Fault::Input
    }
}

impl RecipeArgument {
    /// The recipe that is named, or else the one that the working directory has.
    pub(super) fn path(&self) -> Result<PathBuf> {
        match &self.recipe {
            Some(recipe) => Ok(recipe.clone()),
            None => Ok(of_directory(Path::new("."))?),
        }
    }
}

fn of_directory(directory: &Path) -> Result<PathBuf, NoRecipe> {
    if directory.join(USUAL).is_file() {
        return Ok(USUAL.into());
    }
    let mut recipes = recipes(directory);
    match recipes.len() {
        1 => Ok(recipes.remove(0).into()),
        _ => Err(NoRecipe { recipes }),
    }
}

/// The names of the files that are recipes by their name and the key that each has.
fn recipes(directory: &Path) -> Vec<String> {
    let Ok(entries) = directory.read_dir() else { return Vec::new() };
    let names = entries.flatten().take(MOST_FILES).filter_map(|entry| entry.file_name().into_string().ok());
    let is_yaml = |name: &String| name.ends_with(".yaml") || name.ends_with(".yml");
    let has_base = |name: &String| {
        let text = plain_file::read(&directory.join(name), LONGEST_RECIPE).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().any(|line| line.starts_with("base:"))
    };
    let mut recipes: Vec<String> = names.filter(|name| is_yaml(name) && has_base(name)).collect();
    recipes.sort();
    recipes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_recipe_of_a_directory_is_meant() {
        let directory = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        let found = || of_directory(directory.path()).map_err(|error| error.to_string());
        let none = "no recipe is named, and this directory has none".to_owned();
        assert_eq!(found(), Err(none));
        put("compose.yaml", "services: {}\n");
        put("app.yml", "# an app\nbase: debian-bookworm\n");
        assert_eq!(found(), Ok("app.yml".into()));
        put("other.yaml", "base: {suites: [bookworm]}\n");
        let several = "no recipe is named, and this directory has several: app.yml, other.yaml".to_owned();
        assert_eq!(found(), Err(several));
        put("recipe.yaml", "base: debian-bookworm\n");
        assert_eq!(found(), Ok("recipe.yaml".into()));
    }
}
