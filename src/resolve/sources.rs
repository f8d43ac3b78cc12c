//! Source distributions of projects that a recipe has built, offered to the solver for the versions without a wheel that
//! fits: as for uv, a wheel of the same version goes before its source.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uv_distribution_filename::WheelFilename;
use uv_normalize::PackageName;
use uv_pep440::Version;

use super::overrides::Overrides;
use super::solve::{self, Catalog, CatalogError, Question, Scout, SolveError, Want, WheelLibrary};
use super::wheel_choice::WheelChoice;
use crate::cuda::ComponentWheel;
use crate::oci::Digest;
use crate::pypa::git_reference;
use crate::pypa::metadata::{CoreMetadata, Requirement};
use crate::pypa::needs::BinaryNeeds;
use crate::pypa::simple::{DistFile, Project};
use crate::pypa::source_file::{SourceFile, SourceFormat};
use crate::pypa::subdirectory::Subdirectory;
use crate::pypa::target::Target;
use crate::pypa::wheel::Outline;
use crate::recipe::{ProjectSet, RootRequirement};

/// The origin of a wheel that was built, and what it was built with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BuiltFrom {
    /// The file name of the source distribution, the path of the directory, or the repository.
    pub file: String,
    /// The digest of the source distribution, or of the files packed.
    pub digest: Digest,
    /// The directory of the project in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subdirectory: Option<Subdirectory>,
    /// The wheels that the build's environment had, sorted by their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<BuildRequirement>,
}

impl BuiltFrom {
    /// The format of the source.
    pub fn format(&self) -> SourceFormat {
        let is_repository = self.file.starts_with(git_reference::PREFIX);
        let of_archive = SourceFormat::of(&self.file).filter(|_| !is_repository);
        of_archive.unwrap_or(SourceFormat::Directory)
    }
}

/// A wheel in the environment of a build.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BuildRequirement {
    /// The file name of the wheel.
    pub wheel: WheelFilename,
    /// The digest of the wheel.
    pub digest: Digest,
    /// The source that the wheel was built from, and what with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Box<BuiltFrom>>,
}

/// The answers about source distributions, for which they may have to be built.
pub trait SourceBuilder {
    /// The core metadata: what the source distribution says where that is final, otherwise that of its wheel.
    fn metadata(&self, source: &SourceFile) -> Result<Arc<CoreMetadata>, CatalogError>;

    /// The wheel that is built of it.
    fn wheel(&self, source: &SourceFile) -> Result<DistFile, CatalogError>;
}

/// A catalog in which source distributions stand among the wheels.
pub struct WithSources<'a> {
    /// The catalog of the wheels.
    pub inner: &'a dyn Catalog,
    /// The builder of the source distributions.
    pub builder: &'a dyn SourceBuilder,
    /// The projects whose source distributions are built.
    pub builds: &'a ProjectSet,
    /// The target of wheels.
    pub target: &'a Target,
    /// Nothing uploaded at or after this moment, in Unix seconds, is considered.
    pub exclude_newer: Option<i64>,
}

impl WithSources<'_> {
    /// The wheel of a file: built where it stands for a source distribution.
    fn built(&self, file: &DistFile) -> Result<DistFile, CatalogError> {
        match &file.source {
            Some(source) => self.builder.wheel(source),
            None => Ok(file.clone()),
        }
    }

    /// The source distributions of a project, for the versions that have no wheel that fits. Components of CUDA are taken
    /// from wheels alone.
    fn sources(&self, project: &Project) -> Vec<DistFile> {
        if !self.builds.has(&project.name) || ComponentWheel::of(project.name.as_ref()).is_some() {
            return Vec::new();
        }
        let choice = WheelChoice { target: self.target, exclude_newer: self.exclude_newer };
        let usable = project.files.iter().filter(|file| choice.judge(file, true).is_ok());
        let usable: BTreeSet<&Version> = usable.map(|file| &file.filename.version).collect();
        let sources = project.sources.iter().filter(|source| !usable.contains(&source.version));
        sources.filter_map(DistFile::in_place_of).collect()
    }
}

fn without_sources(wheels: Vec<DistFile>) -> Vec<DistFile> {
    wheels.into_iter().filter(|wheel| wheel.source.is_none()).collect()
}

impl Catalog for WithSources<'_> {
    fn project(&self, name: &PackageName) -> Result<Arc<Project>, CatalogError> {
        let project = self.inner.project(name)?;
        let sources = self.sources(&project);
        if sources.is_empty() {
            return Ok(project);
        }
        let mut project = (*project).clone();
        project.files.extend(sources);
        Ok(Arc::new(project))
    }

    fn metadata(&self, wheel: &DistFile) -> Result<Arc<CoreMetadata>, CatalogError> {
        match &wheel.source {
            Some(source) => self.builder.metadata(source),
            None => self.inner.metadata(wheel),
        }
    }

    fn outline(&self, wheel: &DistFile) -> Result<Arc<Outline>, CatalogError> {
        self.inner.outline(&self.built(wheel)?)
    }

    fn libraries(&self, wheel: &DistFile) -> Result<Arc<Vec<WheelLibrary>>, CatalogError> {
        self.inner.libraries(&self.built(wheel)?)
    }

    fn needs(&self, wheel: &DistFile) -> Result<Arc<BinaryNeeds>, CatalogError> {
        self.inner.needs(&self.built(wheel)?)
    }

    fn prefetch(&self, wants: Vec<Want>, scout: &Arc<dyn Scout>) {
        self.inner.prefetch(wants, scout);
    }

    fn prefetch_metadata(&self, wheels: Vec<DistFile>) {
        self.inner.prefetch_metadata(without_sources(wheels));
    }

    fn prefetch_outlines(&self, wheels: Vec<DistFile>) {
        self.inner.prefetch_outlines(without_sources(wheels));
    }

    fn prefetch_libraries(&self, wheels: Vec<DistFile>) {
        self.inner.prefetch_libraries(without_sources(wheels));
    }

    fn prefetch_needs(&self, wheels: Vec<DistFile>) {
        self.inner.prefetch_needs(without_sources(wheels));
    }
}

/// The wheels that a build needs to have `requires`, which `origin` asks for: sorted by their names.
pub fn build_requirements(
    requires: &[Requirement],
    origin: &str,
    target: &Target,
    exclude_newer: Option<i64>,
    catalog: &dyn Catalog,
) -> Result<Vec<DistFile>, SolveError> {
    let root = |requirement: &Requirement| RootRequirement {
        requirement: requirement.clone(),
        source: origin.to_owned(),
        wheel: None,
    };
    let question = Question {
        target,
        roots: requires.iter().map(root).collect(),
        constraints: Vec::new(),
        overrides: Overrides::default(),
        direct: BTreeMap::new(),
        exclude_newer,
        prereleases: ProjectSet::default(),
        preferences: BTreeMap::new(),
        set_aside: Arc::new(|_| false),
    };
    let solution = solve::solve(&question, catalog)?;
    Ok(solution.distributions.into_values().map(|chosen| chosen.wheel).collect())
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;
    use crate::oci::Architecture;

    struct Unasked;

    impl SourceBuilder for Unasked {
        fn metadata(&self, _: &SourceFile) -> Result<Arc<CoreMetadata>, CatalogError> {
            unreachable!("nobody asks for metadata")
        }

        fn wheel(&self, _: &SourceFile) -> Result<DistFile, CatalogError> {
            unreachable!("nobody asks for a wheel")
        }
    }

    struct Listing(Project);

    impl Catalog for Listing {
        fn project(&self, _: &PackageName) -> Result<Arc<Project>, CatalogError> {
            Ok(Arc::new(self.0.clone()))
        }

        fn metadata(&self, _: &DistFile) -> Result<Arc<CoreMetadata>, CatalogError> {
            unreachable!("nobody asks for metadata")
        }

        fn outline(&self, _: &DistFile) -> Result<Arc<Outline>, CatalogError> {
            unreachable!("nobody asks for files")
        }

        fn libraries(&self, _: &DistFile) -> Result<Arc<Vec<WheelLibrary>>, CatalogError> {
            unreachable!("nobody asks for libraries")
        }

        fn needs(&self, _: &DistFile) -> Result<Arc<BinaryNeeds>, CatalogError> {
            unreachable!("nobody asks for needs")
        }

        fn prefetch(&self, _: Vec<Want>, _: &Arc<dyn Scout>) {}
        fn prefetch_metadata(&self, _: Vec<DistFile>) {}
        fn prefetch_outlines(&self, _: Vec<DistFile>) {}
        fn prefetch_libraries(&self, _: Vec<DistFile>) {}
        fn prefetch_needs(&self, _: Vec<DistFile>) {}
    }

    /// The versions of the source distributions of `name` that are offered, where the page has these files.
    #[track_caller]
    fn check(name: &str, builds: &ProjectSet, files: &[&str], expected: &[&str]) {
        let name: PackageName = name.parse().unwrap();
        let url = Url::parse("https://host/file").unwrap();
        let mut project = Project::empty(name.clone());
        for file in files {
            match file.parse::<WheelFilename>() {
                Ok(wheel) => project.files.push(DistFile::bare(wheel, url.clone())),
                Err(_) => project.sources.push(SourceFile::bare(&name, file, url.clone()).unwrap()),
            }
        }
        let target = Target::new("3.11.2", Architecture::Amd64, (2, 36)).unwrap();
        let inner = Listing(project);
        let (builder, exclude_newer) = (&Unasked, None);
        let catalog = WithSources { inner: &inner, builder, builds, target: &target, exclude_newer };
        let offered = catalog.project(&name).unwrap();
        let sources = offered.files.iter().filter_map(|file| file.source.as_ref());
        let versions: Vec<String> = sources.map(|source| source.version.to_string()).collect();
        assert_eq!(versions, expected);
    }

    #[test]
    fn sources_are_offered_where_no_wheel_fits() {
        let files = [
            "demo-3.tar.gz",
            "demo-2.tar.gz",
            "demo-2-cp312-cp312-win_amd64.whl",
            "demo-1.tar.gz",
            "demo-1-py3-none-any.whl",
        ];
        let named = ProjectSet::Projects(BTreeSet::from(["demo".parse().unwrap()]));
        check("demo", &named, &files, &["3", "2"]);
        check("demo", &ProjectSet::All, &files, &["3", "2"]);
        check("demo", &ProjectSet::default(), &files, &[]);
        check("other", &named, &["other-1.tar.gz"], &[]);
        check("nvidia-cublas-cu12", &ProjectSet::All, &["nvidia-cublas-cu12-0.0.1.tar.gz"], &[]);
    }
}
