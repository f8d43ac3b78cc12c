//! Projects that publish source distributions alone: all that a recipe needs are told at once.
//!
//! The solver stops at the first. So it goes on as if each had a wheel that requires nothing, until it finds no more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use url::Url;
use uv_distribution_filename::{DistFilename, WheelFilename};
use uv_normalize::PackageName;
use uv_pep440::Version;

use super::solve::{
    Catalog, CatalogError, Explanation, Question, Solution, SolveError, ask_inner_for_the_rest, solve,
};
use super::wheel_choice::is_of_python_2;
use crate::escape::escaped;
use crate::pypa::metadata::{self, CoreMetadata};
use crate::pypa::simple::{DistFile, Project};
use crate::recipe::ProjectSet;

/// The most projects without wheels that are looked for: each takes another search.
const MOST_LOOKED_FOR: usize = 64;

/// The scheme of the URLs of wheels that do not exist.
const SCHEME: &str = "unbuilt";

/// The same failure, or, where it is for want of wheels, that of all projects that publish none.
pub(super) fn told_at_once(
    question: &Question<'_>,
    builds: &ProjectSet,
    catalog: &dyn Catalog,
    error: SolveError,
) -> SolveError {
    let first = match &error {
        SolveError::NoSolution { explanation } if !explanation.source_only.is_empty() => {
            explanation.source_only.clone()
        }
        _ => return error,
    };
    let mut unbuilt = first;
    for _ in 0..MOST_LOOKED_FOR {
        let names = unbuilt.keys().cloned().collect();
        match solve(question, &WithUnbuilt { inner: catalog, names }) {
            Ok(solution) => return refusal(&unbuilt, Some(&solution), question, builds),
            Err(SolveError::NoSolution { explanation }) => {
                let before = unbuilt.len();
                unbuilt.extend(explanation.source_only);
                if unbuilt.len() == before {
                    break;
                }
            }
            Err(_) => break,
        }
    }
    refusal(&unbuilt, None, question, builds)
}

/// The refusal of `unbuilt`, as far as a `solution` with them tells their versions and who requires them.
fn refusal(
    unbuilt: &BTreeMap<PackageName, Version>,
    solution: Option<&Solution>,
    question: &Question<'_>,
    builds: &ProjectSet,
) -> SolveError {
    let chosen = |name: &PackageName| solution?.distributions.get(name).map(|chosen| chosen.version.clone());
    let needed: BTreeMap<&PackageName, Version> = unbuilt
        .iter()
        .filter(|(name, _)| solution.is_none_or(|solution| solution.distributions.contains_key(*name)))
        .map(|(name, version)| (name, chosen(name).unwrap_or_else(|| version.clone())))
        .collect();
    let what = match needed.len() {
        1 => "a project publishes".to_owned(),
        count => format!("{count} projects publish"),
    };
    let mut lines = vec![format!("{what} source distributions only, and imgforge installs wheels:")];
    lines.extend(needed.iter().map(|(name, version)| {
        format!("  {name} {version}, for {}", requirers(name, solution, question).join(", "))
    }));
    let lines: Vec<String> = lines.iter().map(|line| escaped(line).into_owned()).collect();
    let pins: Vec<String> = needed.iter().map(|(name, version)| format!("{name}=={version}")).collect();
    let names: Vec<String> = needed.keys().map(ToString::to_string).collect();
    let hint = format!(
        "no other base or Python helps. {}build the wheels with the image's Python, `pip wheel --no-deps -w wheels {}`, and \
         add their directory, `indexes: [{{path: wheels, packages: [{}]}}]`, or each of them: `packages: \
         [./wheels/NAME-VERSION-….whl]`",
        line_to_add(needed.keys().copied(), builds),
        pins.join(" "),
        names.join(", ")
    );
    SolveError::NoSolution {
        explanation: Explanation {
            text: lines.join("\n"),
            conflicts: Vec::new(),
            source_only: unbuilt.clone(),
            hint: Some(hint),
        },
    }
}

/// The line by which the recipe has the sources of `needed` built, too.
fn line_to_add<'a>(needed: impl Iterator<Item = &'a PackageName>, builds: &'a ProjectSet) -> String {
    match builds {
        ProjectSet::All => "None of their sources is an archive that is built, for this Python: ".to_owned(),
        ProjectSet::Projects(built) => {
            let all: BTreeSet<&PackageName> = built.iter().chain(needed).collect();
            let all: Vec<String> = all.into_iter().map(ToString::to_string).collect();
            format!("Have their sources built in a sandbox, `python: {{build: [{}]}}`; or ", all.join(", "))
        }
    }
}

/// The requirers of a project: files of the user, and distributions.
fn requirers(name: &PackageName, solution: Option<&Solution>, question: &Question<'_>) -> Vec<String> {
    let asked = question.roots.iter().filter(|root| root.requirement.name == *name);
    let asked: BTreeSet<String> = asked.map(|root| root.source.clone()).collect();
    let distributions = solution.into_iter().flat_map(|solution| solution.distributions.values());
    let requiring = distributions.filter(|chosen| chosen.requires.contains(name));
    let requiring = requiring.map(|chosen| format!("{} {}", chosen.name, chosen.version));
    let all: Vec<String> = asked.into_iter().chain(requiring).collect();
    if all.is_empty() { vec!["what the recipe asks for".to_owned()] } else { all }
}

/// A catalog in which source distributions of some projects stand as wheels that require nothing.
struct WithUnbuilt<'a> {
    inner: &'a dyn Catalog,
    names: BTreeSet<PackageName>,
}

fn is_unbuilt(file: &DistFile) -> bool {
    file.url.scheme() == SCHEME
}

/// A wheel in place of the source distribution `filename`.
fn unbuilt(name: &PackageName, filename: &str) -> Option<DistFile> {
    let version = DistFilename::try_from_filename(filename, name)?.into_version();
    let wheel = format!("{}-{version}-py3-none-any.whl", name.as_dist_info_name());
    let (filename, url) = (wheel.parse().ok()?, Url::parse(&format!("{SCHEME}:///{wheel}")).ok()?);
    Some(DistFile::bare(filename, url).unlisted())
}

impl Catalog for WithUnbuilt<'_> {
    fn project(&self, name: &PackageName) -> Result<Arc<Project>, CatalogError> {
        let project = self.inner.project(name)?;
        if !self.names.contains(name) {
            return Ok(project);
        }
        let wheels = project.files.iter().filter(|file| !is_of_python_2(file));
        let built: BTreeSet<&Version> = wheels.map(|file| &file.filename.version).collect();
        let sources = project.others.iter().filter_map(|other| unbuilt(name, other));
        let sources: Vec<DistFile> =
            sources.filter(|source| !built.contains(&source.filename.version)).collect();
        let mut project = (*project).clone();
        project.files.extend(sources);
        Ok(Arc::new(project))
    }

    fn metadata(&self, wheel: &DistFile) -> Result<Arc<CoreMetadata>, CatalogError> {
        if !is_unbuilt(wheel) {
            return self.inner.metadata(wheel);
        }
        let WheelFilename { name, version, .. } = &wheel.filename;
        let parsed = metadata::parse(&format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"));
        parsed.map(Arc::new).map_err(|source| CatalogError::BadMetadata {
            wheel: wheel.filename.to_string(),
            source: Arc::new(source),
        })
    }

    fn prefetch_metadata(&self, wheels: Vec<DistFile>) {
        self.inner.prefetch_metadata(wheels.into_iter().filter(|wheel| !is_unbuilt(wheel)).collect());
    }

    ask_inner_for_the_rest!();
}
