//! Projects that a recipe names by their directories: packed, built, and held against what was locked.

use std::collections::BTreeMap;
use std::path;

use url::Url;
use uv_normalize::PackageName;

use super::Session;
use super::built_wheels::{BuiltWheels, StoredSource};
use super::named_wheels::ChangedWheel;
use super::project_tree::{ProjectTreeError, pack};
use crate::beneath::FileRoot;
use crate::failure::{Fault, Hinted};
use crate::lock::Lock;
use crate::oci::Digest;
use crate::pypa::direct_url;
use crate::pypa::simple::{DistFile, Project};
use crate::pypa::source_file::SourceFormat;
use crate::pypa::target::Target;
use crate::recipe::{NamedProject, RecipeInputs};
use crate::resolve::solve::CatalogError;
use crate::resolve::{BuiltFrom, DirectUrls, Resolution};

/// The reason why a project's directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("could not use the project at `{path}`")]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub struct NamedProjectError {
    path: String,
    source: ProjectTreeError,
}

impl Hinted for NamedProjectError {
    fn hint(&self) -> Option<String> {
        self.source.hint()
    }

    fn fault(&self) -> Fault {
        Fault::Input
    }
}

/// The projects that are named for a target, packed into the store.
#[derive(Default)]
pub(super) struct NamedProjects(BTreeMap<PackageName, PackedProject>);

struct PackedProject {
    named: NamedProject,
    digest: Digest,
}

/// The wheels that the projects were built to.
#[derive(Default)]
pub(super) struct BuiltProjects(BTreeMap<PackageName, (DistFile, BuiltFrom)>);

impl NamedProjects {
    /// Packs the directories that the recipe names for `target`.
    pub fn find(
        inputs: &RecipeInputs,
        target: &Target,
        session: &Session<'_>,
    ) -> Result<Self, NamedProjectError> {
        let mut found = BTreeMap::new();
        let is_meant = |named: &&NamedProject| named.requirement.evaluate_markers(target.markers(), &[]);
        for named in inputs.projects.iter().filter(is_meant) {
            let failed = |source| NamedProjectError { path: named.path.clone(), source };
            let digest = packed(inputs, &named.path, session).map_err(failed)?;
            let name = named.requirement.name.clone();
            found.insert(name, PackedProject { named: named.clone(), digest });
        }
        Ok(Self(found))
    }

    /// Builds each of them.
    pub fn build(&self, builder: &BuiltWheels<'_>) -> Result<BuiltProjects, CatalogError> {
        let built = self.0.iter().map(|(name, PackedProject { named, digest })| {
            let built = builder.build_tree(&StoredSource {
                name,
                version: None,
                file: &named.path,
                format: SourceFormat::Directory,
                digest: *digest,
            })?;
            let wheel = built.wheel;
            let url = Url::parse(&direct_url::of_local(&wheel.filename.to_string()));
            let url = url.map_err(|error| CatalogError::Failed {
                subject: name.to_string(),
                hint: None,
                source: std::sync::Arc::new(error),
            })?;
            let (sha256, size) = (Some(wheel.digest), Some(wheel.size));
            let file = DistFile { sha256, size, ..DistFile::bare(wheel.filename, url).unlisted() };
            Ok((name.clone(), (file, built.from)))
        });
        Ok(BuiltProjects(built.collect::<Result<_, _>>()?))
    }

    /// The first that is not what `lock` has.
    pub fn changed(&self, lock: &Lock) -> Option<ChangedWheel> {
        self.0.iter().find_map(|(name, PackedProject { named, digest })| {
            let locked = lock.distributions.iter().find(|locked| locked.name() == name)?.built()?.digest;
            (locked != *digest).then(|| ChangedWheel { wheel: named.path.clone(), locked, found: *digest })
        })
    }
}

impl BuiltProjects {
    /// As an index would list them.
    pub fn projects(&self) -> impl Iterator<Item = (PackageName, Project)> {
        self.0.iter().map(|(name, (file, _))| {
            let project = Project { files: vec![file.clone()], ..Project::empty(name.clone()) };
            (name.clone(), project)
        })
    }

    /// The URLs that are recorded of them.
    pub fn direct_urls(&self) -> DirectUrls {
        self.0.keys().map(|name| (name.clone(), direct_url::of_directory(name.as_ref()))).collect()
    }

    /// Notes in a resolution where their wheels are from.
    pub fn note(&self, resolution: &mut Resolution) {
        for distribution in &mut resolution.distributions {
            if let Some((_, from)) = self.0.get(&distribution.name) {
                distribution.built = Some(from.clone());
            }
        }
    }
}

fn packed(inputs: &RecipeInputs, path: &str, session: &Session<'_>) -> Result<Digest, ProjectTreeError> {
    let unreachable = |error: std::io::Error| ProjectTreeError::Reach {
        path: inputs.directory.display().to_string(),
        source: error.into(),
    };
    let root = FileRoot::open(&inputs.directory, session.outside).map_err(unreachable)?;
    let directory = path::absolute(inputs.directory.join(path)).map_err(unreachable)?;
    pack(&root, &directory, &session.store)
}
