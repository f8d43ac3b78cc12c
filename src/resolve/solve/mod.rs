//! The choice of versions: a solution of all requirements at once.
//!
//! The semantics are those of `uv pip compile --only-binary :all:` for one target: newest versions first, wheels
//! only, stable releases before pre-releases, yanked files only when pinned. The algorithm is [PubGrub]; a failure
//! is explained in sentences.
//!
//! * [`rules`]: what may be chosen, and what a choice requires;
//! * [`order`]: which package is decided next;
//! * [`search`]: the loop;
//! * [`explain`]: why there is no solution.
//!
//! [PubGrub]: https://nex3.medium.com/pubgrub-2fb6470504f

mod explain;
mod order;
mod platforms;
mod rules;
mod search;
#[cfg(test)]
pub(super) mod tests;
mod well_known;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use pubgrub::Ranges;
use uv_normalize::{ExtraName, PackageName};
use uv_pep440::Version;

use crate::elf::Symbols;
use crate::failure::Hinted;
use crate::pypa::metadata::{CoreMetadata, Requirement};
use crate::pypa::needs::BinaryNeeds;
use crate::pypa::simple::{DistFile, Project};
use crate::pypa::target::Target;
use crate::pypa::wheel::Outline;
use crate::recipe::{ProjectSet, RootRequirement};
use crate::resolve::overrides::Overrides;
use crate::resolve::request::DirectUrls;

/// The package indexes, as the solver asks them.
///
/// The solver asks for one thing at a time and says early what it will need, so that an implementation can fetch
/// many things at once.
pub trait Catalog {
    /// The files of a project.
    fn project(&self, name: &PackageName) -> Result<Arc<Project>, CatalogError>;

    /// The metadata of a wheel.
    fn metadata(&self, wheel: &DistFile) -> Result<Arc<CoreMetadata>, CatalogError>;

    /// The files in a wheel.
    fn outline(&self, wheel: &DistFile) -> Result<Arc<Outline>, CatalogError>;

    /// The shared libraries in a wheel, with their symbols.
    fn libraries(&self, wheel: &DistFile) -> Result<Arc<Vec<WheelLibrary>>, CatalogError>;

    /// The needs of the binaries in a wheel.
    fn needs(&self, wheel: &DistFile) -> Result<Arc<BinaryNeeds>, CatalogError>;
    /// Hints that `wants` will be asked for: their projects, the metadata of the wheels that `scout` guesses from
    /// them, and what that metadata wants in turn.
    fn prefetch(&self, wants: Vec<Want>, scout: &Arc<dyn Scout>);

    /// Hints that the metadata of `wheels` may be asked for.
    fn prefetch_metadata(&self, wheels: Vec<DistFile>);

    /// Hints that the files in `wheels` may be asked for.
    fn prefetch_outlines(&self, wheels: Vec<DistFile>);

    /// Hints that the libraries of `wheels` may be asked for.
    fn prefetch_libraries(&self, wheels: Vec<DistFile>);

    /// Hints that the needs of the binaries in `wheels` may be asked for.
    fn prefetch_needs(&self, wheels: Vec<DistFile>);
}

/// The questions that a catalog with an `inner` one hands on: all but those for projects and metadata.
macro_rules! ask_inner_for_the_rest {
    () => {
        fn outline(
            &self,
            wheel: &$crate::pypa::simple::DistFile,
        ) -> Result<Arc<$crate::pypa::wheel::Outline>, CatalogError> {
            self.inner.outline(wheel)
        }

        fn libraries(
            &self,
            wheel: &$crate::pypa::simple::DistFile,
        ) -> Result<Arc<Vec<$crate::resolve::solve::WheelLibrary>>, CatalogError> {
            self.inner.libraries(wheel)
        }

        fn needs(
            &self,
            wheel: &$crate::pypa::simple::DistFile,
        ) -> Result<Arc<$crate::pypa::needs::BinaryNeeds>, CatalogError> {
            self.inner.needs(wheel)
        }

        fn prefetch(
            &self,
            wants: Vec<$crate::resolve::solve::Want>,
            scout: &Arc<dyn $crate::resolve::solve::Scout>,
        ) {
            self.inner.prefetch(wants, scout);
        }

        fn prefetch_outlines(&self, wheels: Vec<$crate::pypa::simple::DistFile>) {
            self.inner.prefetch_outlines(wheels);
        }

        fn prefetch_libraries(&self, wheels: Vec<$crate::pypa::simple::DistFile>) {
            self.inner.prefetch_libraries(wheels);
        }

        fn prefetch_needs(&self, wheels: Vec<$crate::pypa::simple::DistFile>) {
            self.inner.prefetch_needs(wheels);
        }
    };
}
pub(super) use ask_inner_for_the_rest;

/// A shared library in a wheel.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct WheelLibrary {
    /// Its path in the wheel.
    pub path: String,
    /// Its SONAME; the name of the file where it has none.
    pub soname: String,
    /// Its DT_NEEDED entries.
    pub needed: Vec<String>,
    /// Its dynamic symbols.
    pub symbols: Symbols,
}

/// A requirement that the solver will come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// The normalized name.
    pub name: PackageName,
    /// The extras that are wanted.
    pub extras: Vec<ExtraName>,
    /// The versions that are wanted.
    pub versions: Ranges<Version>,
}

/// Guesses what the solver will choose, so that it can be fetched before it is asked for.
pub trait Scout: Send + Sync {
    /// The wheel that is chosen when nothing else has a say.
    fn wheel(&self, want: &Want, project: &Project) -> Option<DistFile>;

    /// The wants that `metadata` adds.
    fn wants(&self, want: &Want, metadata: &CoreMetadata) -> Vec<Want>;
}

/// The reason why a catalog could not answer.
#[derive(Debug, Clone, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum CatalogError {
    /// No index has the project.
    #[error("`{name}` is in no package index")]
    NotFound { name: PackageName, searched: Vec<String> },
    /// A wheel's metadata makes the wheel unusable; another version may do.
    #[error("the metadata of `{wheel}` cannot be used")]
    BadMetadata { wheel: String, source: Arc<dyn Error + Send + Sync> },
    /// A source distribution could not be built.
    #[error(transparent)]
    Unbuilt(Box<UnbuiltSource>),
    /// The index could not be asked.
    #[error("could not learn about `{subject}`")]
    Failed { subject: String, hint: Option<String>, source: Arc<dyn Error + Send + Sync> },
}

impl Hinted for CatalogError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { searched, .. } if searched.is_empty() => None,
            Self::NotFound { searched, .. } => Some(format!(
                "check the spelling, or add its index under `indexes:` (searched {})",
                searched.join(", ")
            )),
            Self::BadMetadata { .. } => {
                Some("exclude this version with a constraint such as `NAME!=VERSION`".into())
            }
            Self::Unbuilt(error) => error.hint(),
            Self::Failed { hint, .. } => hint.clone(),
        }
    }

    fn lines(&self) -> Vec<String> {
        match self {
            Self::Unbuilt(error) => error.lines(),
            Self::NotFound { .. } | Self::BadMetadata { .. } | Self::Failed { .. } => Vec::new(),
        }
    }
}

/// A source distribution that could not be built.
#[derive(Debug, Clone, thiserror::Error)]
#[error("could not build `{subject}`")]
pub struct UnbuiltSource {
    /// The distribution: `langdetect 1.0.9`.
    pub subject: String,
    /// The user's next step.
    pub hint: Option<String>,
    /// The message line by line, with the end of the build's output.
    pub lines: Vec<String>,
    /// The reason.
    pub source: Arc<dyn Error + Send + Sync>,
}

impl Hinted for UnbuiltSource {
    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }

    fn lines(&self) -> Vec<String> {
        self.lines.clone()
    }
}

/// Names whose requirements are collected instead of solved.
pub type SetAside = Arc<dyn Fn(&PackageName) -> bool + Send + Sync>;

/// A question to [`solve`].
pub struct Question<'a> {
    /// The target of wheels.
    pub target: &'a Target,
    /// The user's requirements.
    pub roots: Vec<RootRequirement>,
    /// Bounds on versions, for projects that something requires.
    pub constraints: Vec<Requirement>,
    /// Requirements that stand in place of all others on their projects.
    pub overrides: Overrides,
    /// The projects whose only wheel is at this URL: distributions may require it by that.
    pub direct: DirectUrls,
    /// Files uploaded at or after this moment, in seconds since the Unix epoch, are not considered. Neither are
    /// files of which the index does not say when they were uploaded.
    pub exclude_newer: Option<i64>,
    /// The projects whose pre-releases are taken like other versions, beside those of which a root or a bound names one.
    pub prereleases: ProjectSet,
    /// Versions to try first, such as those of a lock; they may be yanked, and pre-releases.
    pub preferences: BTreeMap<PackageName, Version>,
    /// Projects that do not enter the solution: what requires them is told by [`Chosen::set_aside`].
    pub set_aside: SetAside,
}

/// One version of every distribution that is required.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Solution {
    /// The chosen distributions, by name.
    pub distributions: BTreeMap<PackageName, Chosen>,
}

/// A distribution of a [`Solution`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The normalized name.
    pub name: PackageName,
    /// The version.
    pub version: Version,
    /// The wheel that fits the target best.
    pub wheel: DistFile,
    /// The core metadata.
    pub metadata: Arc<CoreMetadata>,
    /// The extras that something requires.
    pub extras: BTreeSet<ExtraName>,
    /// Its requirements on the target, with its extras, apart from those that were set aside.
    pub requires: BTreeSet<PackageName>,
    /// Its requirements, on the target and with its extras, on projects that were set aside.
    pub set_aside: Vec<Requirement>,
}

/// The reason why there is no [`Solution`].
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum SolveError {
    /// The requirements contradict each other or what the indexes have.
    #[error("{}", explanation.text)]
    NoSolution { explanation: Explanation },
    /// A requirement names a file instead of versions.
    #[error("`{requirement}` (from {origin}) is required by a URL that is no wheel's")]
    Url { requirement: String, origin: String },
    /// A catalog did not answer.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl Hinted for SolveError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoSolution { explanation } => explanation.hint.clone(),
            Self::Url { .. } => Some(
                "name a wheel: `packages: [\"NAME @ https://HOST/NAME-VERSION-py3-none-any.whl\"]`".into(),
            ),
            Self::Catalog(error) => error.hint(),
        }
    }

    fn lines(&self) -> Vec<String> {
        match self {
            Self::NoSolution { explanation } => explanation.text.lines().map(str::to_owned).collect(),
            Self::Url { .. } => Vec::new(),
            Self::Catalog(error) => error.lines(),
        }
    }
}

/// The way from the user's requirements to a contradiction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// It in sentences, one a line, as people read them.
    pub text: String,
    /// The projects that nobody can agree on, in the order of the sentences: several when versions of one distribution
    /// fail by different projects, none when something required does not exist or cannot be used.
    pub conflicts: Vec<Conflict>,
    /// The projects that publish, of what is required of them, source distributions only; with the newest version of these.
    pub source_only: BTreeMap<PackageName, Version>,
    /// Advice for the user.
    pub hint: Option<String>,
}

/// A project of which no version that may be chosen suits all who require it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The project that nobody can agree on.
    pub project: PackageName,
    /// The requirements on it.
    pub requirements: Vec<Required>,
}

/// The versions that one requirer of a project allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Required {
    /// The requirer.
    pub by: Requirer,
    /// The versions of the project, within the user's constraints.
    pub allowed: Ranges<Version>,
}

/// A requirer of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirer {
    /// The recipe, or a requirements file.
    User,
    /// The versions of a distribution that may be chosen in this place; with `extra`, only for who wants that extra.
    /// Versions that do not exist may lie between.
    Distribution {
        /// The normalized name.
        name: PackageName,
        /// The extra that requires it, if it is one.
        extra: Option<ExtraName>,
        /// The versions that require it.
        versions: Ranges<Version>,
    },
}

/// Solves `question` with what `catalog` knows.
pub fn solve(question: &Question<'_>, catalog: &dyn Catalog) -> Result<Solution, SolveError> {
    search::run(question, catalog)
}

/// A unit of the solver's decisions: a project, or an extra of one, which is always decided at its project's version.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum SolverPackage {
    /// The requirements of the user.
    Root,
    Project(PackageName),
    Extra(PackageName, ExtraName),
}

impl SolverPackage {
    fn name(&self) -> Option<&PackageName> {
        match self {
            Self::Root => None,
            Self::Project(name) | Self::Extra(name, _) => Some(name),
        }
    }
}

impl fmt::Display for SolverPackage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("the recipe"),
            Self::Project(name) => write!(f, "{name}"),
            Self::Extra(name, extra) => write!(f, "{name}[{extra}]"),
        }
    }
}
