//! The reasons why a recipe's inputs cannot be read, at their places in the recipe.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use super::recipe_file::RecipeFileError;
use crate::beneath::ReachError;
use crate::failure::{Fault, Hinted};
use crate::pypa::pyproject::PyprojectError;
use crate::recipe::locks::ForeignLockError;
use crate::recipe::project_file::ProjectFileError;
use crate::recipe::requirements::MOST_REQUIREMENTS;
use crate::recipe::{Diagnostics, Problem, Recipe, Span, closest};

/// The requirements and constraints files of a recipe, with all that they include: real ones include a few.
pub(super) const MOST_FILES: usize = 256;

/// The reason why the inputs cannot be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum InputError {
    #[error(transparent)]
    RecipeFile { source: RecipeFileError },
    #[error("could not read `{path}`")]
    Read { path: PathBuf, source: io::Error },
    #[error("could not read `{path}`")]
    Reach { path: PathBuf, source: ReachError },
    #[error("{} has problems", problems.problems().first().map_or("the input", |problem| &problem.file))]
    Diagnostics { problems: Diagnostics },
    #[error("`{name}` is not a name for an image")]
    Name { name: String },
    #[error(
        "there is no base `{name}`: neither a built-in one nor `images/{name}.yaml` in `{directory}` or a directory above it"
    )]
    UnknownBase { name: String, directory: PathBuf, known: Vec<String> },
    #[error("a base cannot be read from {kind}: `{base}`")]
    BaseKind { kind: &'static str, base: String },
    #[error("the base does not tell the version of its CUDA: its environment has no `CUDA_VERSION`")]
    NoCudaVersion,
    #[error(transparent)]
    Lock { source: ForeignLockError },
    #[error(transparent)]
    ProjectFile { source: ProjectFileError },
    #[error("`{path}` includes itself")]
    Circle { path: PathBuf },
    #[error("`{path}` is the {}th requirements file", MOST_FILES + 1)]
    ManyFiles { path: PathBuf },
    #[error("could not read the name of the project in `{path}`")]
    Project { path: PathBuf, source: PyprojectError },
    #[error("`{path}` is not a Python project: it has no `pyproject.toml`")]
    NoProject { path: PathBuf },
    #[error("`{path}` names no project")]
    NoProjectName { path: PathBuf },
    #[error("with `{path}`, the requirements files have more than {MOST_REQUIREMENTS} requirements")]
    ManyRequirements { path: PathBuf },
}

impl Hinted for InputError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::InvalidData => {
                "write it as UTF-8 text".into()
            }
            Self::Read { .. } => "check the path; paths in a recipe are relative to the recipe".into(),
            Self::Diagnostics { .. } => return None,
            Self::RecipeFile { source } => return source.hint(),
            Self::Lock { source } => return source.hint(),
            Self::ProjectFile { source } => return source.hint(),
            Self::Reach { source, .. } => return source.hint(),
            Self::Name { .. } => "add `name:` to the recipe: lowercase letters, digits and separators".into(),
            Self::UnknownBase { name, known, .. } => unknown_base(name, known),
            Self::BaseKind { .. } => {
                "write the image's name in its registry, such as `base: ubuntu:24.04`; or save it, `docker save NAME -o base.tar`, \
                 and write `base: docker-archive:base.tar`"
                    .into()
            }
            Self::NoCudaVersion => {
                "write the version: `cuda: {compat: \"12.8\"}`; `imgforge plan` without `compat` shows which is installed".into()
            }
            Self::Circle { .. } => "remove the line that includes the file".into(),
            Self::ManyFiles { .. } => "join the files: no more than that are read".into(),
            Self::Project { source, .. } => return source.hint(),
            Self::NoProject { .. } => {
                "name the directory that contains one, `packages: [./app]`, or a wheel of the project: `packages: \
                 [./dist/NAME-VERSION-py3-none-any.whl]`"
                    .into()
            }
            Self::NoProjectName { .. } => {
                "write the project's name in front of its directory: `packages: [\"app @ ./app\"]`".into()
            }
            Self::ManyRequirements { .. } => "leave out what other requirements bring along".into(),
        })
    }

    fn fault(&self) -> Fault {
        Fault::Input
    }
}

/// Returns whether a name is that of a suite of Debian or Ubuntu behind the distribution's: `debian-trixie`.
fn is_suite(name: &str) -> bool {
    const SUITES: [&str; 9] =
        ["bullseye", "bookworm", "trixie", "forky", "sid", "focal", "jammy", "noble", "resolute"];
    let suite = ["debian-", "ubuntu-"].iter().find_map(|distribution| name.strip_prefix(distribution));
    suite.is_some_and(|suite| SUITES.contains(&suite))
}

/// The next step where no description of a base has a name.
fn unknown_base(name: &str, known: &[String]) -> String {
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    match closest(name, &names) {
        // Which another suite is near to, as well.
        Some(near) if !is_suite(name) => {
            format!("did you mean `{near}`? A description of your own is the file `images/{name}.yaml`")
        }
        _ if is_suite(name) => format!(
            "for another suite, write `base: {{suite: {}, packages: [python3, python3-venv]}}`",
            name.split_once('-').unwrap_or_default().1
        ),
        _ => format!(
            "an image of a registry has a tag, `base: {name}:TAG`; a description of your own is the file \
             `images/{name}.yaml`; built in is {}",
            known.join(", ")
        ),
    }
}

/// The same problem at its place in the recipe, where it has none yet.
pub(super) fn located(recipe: &Recipe, span: Span) -> impl FnOnce(InputError) -> InputError {
    move |error| match error {
        InputError::Read { .. }
        | InputError::Reach { .. }
        | InputError::UnknownBase { .. }
        | InputError::BaseKind { .. }
        | InputError::NoCudaVersion
        | InputError::NoProject { .. }
        | InputError::NoProjectName { .. } => {
            let mut message = error.to_string();
            let mut cause = error.source();
            while let Some(error) = cause {
                message = format!("{message}: {error}");
                cause = error.source();
            }
            let problem = Problem::error(span, message);
            diagnostics(recipe.report(match error.hint() {
                Some(hint) => problem.help(hint),
                None => problem,
            }))
        }
        error => error,
    }
}

/// Problems as the reason.
pub(super) fn diagnostics(problems: Diagnostics) -> InputError {
    InputError::Diagnostics { problems }
}
