//! The platforms that are decided about: those of the recipe, or the ones among them that are asked for.

use std::path::{Path, PathBuf};

use crate::failure::{Fault, Hinted};
use crate::oci::Architecture;
use crate::recipe::RecipeInputs;

/// The reason why a platform cannot be chosen.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum PlatformError {
    #[error("`{path}` names no platforms to choose {} from", asked.platform())]
    Unnamed { path: PathBuf, asked: Architecture },
    #[error("`{path}` is not for {}: it is for {}", asked.platform(), listed(of_recipe))]
    NotOfRecipe { path: PathBuf, asked: Architecture, of_recipe: Vec<Architecture> },
    #[error("`{path}` is for {}, and one of them is needed", listed(several))]
    Several { path: PathBuf, several: Vec<Architecture> },
}

impl Hinted for PlatformError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unnamed { asked, .. } => format!(
                "write `platforms: [{}]` in the recipe: without it the base decides",
                listed(&[*asked])
            ),
            Self::NotOfRecipe { asked, of_recipe, .. } => {
                let all = [&of_recipe[..], &[*asked]].concat();
                format!("write `platforms: [{}]` in the recipe", names(&all).join(", "))
            }
            Self::Several { several, .. } => {
                format!("choose it with `--platform {}`", several.first().map_or("", |it| it.platform()))
            }
        })
    }

    fn fault(&self) -> Fault {
        Fault::Input
    }
}

fn names(platforms: &[Architecture]) -> Vec<&'static str> {
    platforms.iter().map(|platform| platform.platform()).collect()
}

fn listed(platforms: &[Architecture]) -> String {
    names(platforms).join(" and ")
}

/// The inputs of the recipe at `path` for each of its platforms, or for those that are `asked` for; those of a recipe
/// without platforms as they are.
pub(super) fn chosen(
    inputs: &RecipeInputs,
    path: &Path,
    asked: &[Architecture],
) -> Result<Vec<RecipeInputs>, PlatformError> {
    let of_recipe = inputs.recipe.platforms.architectures();
    let is_of_another = |platform: &&Architecture| !of_recipe.contains(platform);
    match (of_recipe, asked.iter().find(is_of_another)) {
        ([], None) => return Ok(vec![inputs.clone()]),
        ([], Some(asked)) => return Err(PlatformError::Unnamed { path: path.to_owned(), asked: *asked }),
        (_, Some(asked)) => {
            let (path, of_recipe) = (path.to_owned(), of_recipe.to_vec());
            return Err(PlatformError::NotOfRecipe { path, asked: *asked, of_recipe });
        }
        (_, None) => {}
    }
    let is_asked_for = |platform: &&Architecture| asked.is_empty() || asked.contains(platform);
    Ok(of_recipe.iter().filter(is_asked_for).map(|platform| inputs.on(*platform)).collect())
}

/// The one of `several` platforms that is `asked` for, or else that of this machine, or the only one.
pub(super) fn one_of(
    several: &[Architecture],
    path: &Path,
    asked: Option<Architecture>,
) -> Result<Option<Architecture>, PlatformError> {
    let is_there = |platform: &Architecture| several.contains(platform);
    match (several, asked) {
        ([], None) => Ok(None),
        ([], Some(asked)) => Err(PlatformError::Unnamed { path: path.to_owned(), asked }),
        (_, Some(asked)) if is_there(&asked) => Ok(Some(asked)),
        (_, Some(asked)) => {
            let (path, of_recipe) = (path.to_owned(), several.to_vec());
            Err(PlatformError::NotOfRecipe { path, asked, of_recipe })
        }
        ([only], None) => Ok(Some(*only)),
        (_, None) => match Architecture::here().filter(is_there) {
            Some(here) => Ok(Some(here)),
            None => Err(PlatformError::Several { path: path.to_owned(), several: several.to_vec() }),
        },
    }
}
