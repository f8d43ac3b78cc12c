//! Projects that are named by the places of their sources: found, built, and held against what was locked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Seek};
use std::path;

use url::Url;
use uv_normalize::PackageName;

use super::Session;
use super::built_wheels::{BuiltWheels, StoredSource};
use super::git_trees::{self, GitTreeError};
use super::named_wheels::{ChangedWheel, fetched};
use super::project_tree::{ProjectTreeError, TreeContent, pack};
use crate::beneath::{FileRoot, ReachError};
use crate::credentials::redacted;
use crate::failure::{Failure, Fault, Hinted, Result};
use crate::lock::Lock;
use crate::net::download::Download;
use crate::net::http::HttpError;
use crate::oci::Digest;
use crate::pypa::direct_url;
use crate::pypa::git_reference::GitReference;
use crate::pypa::simple::{DistFile, Project};
use crate::pypa::source_file::SourceFormat;
use crate::pypa::target::Target;
use crate::recipe::{FilePlace, NamedProject, ProjectSet, RecipeInputs, SourceArchive, SourcePlace};
use crate::resolve::solve::CatalogError;
use crate::resolve::{BuiltFrom, DirectUrls, Distribution, Resolution};
use crate::store::Store;

/// The bytes of an archive of a source: those of the largest have some 500 MB.
const LARGEST_ARCHIVE: u64 = 2 << 30;

/// The reason why the source of a project cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum NamedProjectError {
    #[error("could not use the project at `{place}` (from {origin})")]
    Directory { place: String, origin: String, source: ProjectTreeError },
    #[error("could not use the source `{place}` (from {origin})")]
    Git { place: String, origin: String, source: Box<GitTreeError> },
    #[error("could not read the source `{place}` (from {origin})")]
    Reach { place: String, origin: String, source: ReachError },
    #[error("could not fetch the source `{place}` (from {origin})")]
    Fetch { place: String, origin: String, source: Box<HttpError> },
    #[error("the source `{place}` has the wrong hash: {expected} is asked for, {found} was found")]
    Hash { place: String, expected: Digest, found: Digest },
    #[error("two sources of `{project}` are named: `{}` (from {}) and `{}` (from {})", first.0, first.1, second.0, second.1)]
    Two { project: PackageName, first: (String, String), second: (String, String) },
    #[error("sources of others are named, and nothing says that they are built ({})", sources.len())]
    Unbuilt { sources: Vec<(PackageName, String, String)>, builds: ProjectSet },
}

impl Hinted for NamedProjectError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Directory { source, .. } => return source.hint(),
            Self::Git { source, .. } => return source.hint(),
            Self::Reach { source: ReachError::Io(_), .. } => {
                "check the path: it begins at the recipe's directory, in requirements files too, and at that of a lock in \
                 a lock"
                    .into()
            }
            Self::Reach { source, .. } => return source.hint(),
            Self::Fetch { source, .. } => return source.hint(),
            Self::Hash { .. } => "find out which of the two is right, and write its hash behind `#sha256=`".into(),
            Self::Two { .. } => "keep one of the two, or tell them apart by markers".into(),
            Self::Unbuilt { sources, builds } => {
                let built = match builds {
                    ProjectSet::All => None,
                    ProjectSet::Projects(built) => Some(built),
                };
                let needed = sources.iter().map(|(name, ..)| name);
                let names: BTreeSet<&PackageName> = needed.chain(built.into_iter().flatten()).collect();
                let names: Vec<String> = names.iter().map(ToString::to_string).collect();
                format!("have them built in a sandbox: `python: {{build: [{}]}}`, or `build: all`", names.join(", "))
            }
        })
    }

    fn lines(&self) -> Vec<String> {
        let Self::Unbuilt { sources, .. } = self else { return Vec::new() };
        let listed = sources.iter().map(|(name, place, origin)| format!("  {name} @ {place}, for {origin}"));
        [format!("{self}:")].into_iter().chain(listed).collect()
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Git { source, .. } => source.fault(),
            Self::Fetch { .. } => Fault::Job,
            _ => Fault::Input,
        }
    }
}

/// The URLs that were recorded of projects that were built before.
pub(super) type KnownSources = Vec<String>;

/// The origins of what a lock has built from sources that were named.
pub(super) fn known_sources(lock: &Lock) -> KnownSources {
    let built = lock.distributions.iter().filter(|locked| locked.built().is_some());
    built.filter_map(|locked| Some(locked.direct_url()?.to_owned())).collect()
}

/// The projects that are named for a target.
#[derive(Default)]
pub(super) struct NamedProjects(BTreeMap<PackageName, FoundProject>);

/// A project whose source was found.
struct FoundProject {
    named: NamedProject,
    content: FoundContent,
}

/// The content of a source.
enum FoundContent {
    /// It is in the store.
    Stored(Digest),
    /// An archive at a URL.
    Remote(Url, Digest),
    /// A commit, which is fetched when it is needed.
    Commit(GitReference),
}

/// The wheels that the projects were built to.
#[derive(Default)]
pub(super) struct BuiltProjects(BTreeMap<PackageName, (DistFile, BuiltFrom)>);

impl NamedProjects {
    /// Finds the sources that the recipe and its locks (`locked`) name for `target`. Where it led a branch, tag or URL
    /// without a hash before, `known` tells.
    pub(super) fn find(
        inputs: &RecipeInputs,
        locked: &[NamedProject],
        target: &Target,
        known: &KnownSources,
        session: &Session<'_>,
    ) -> Result<Self, NamedProjectError> {
        let is_meant = |named: &&NamedProject| named.requirement.evaluate_markers(target.markers(), &[]);
        let meant: Vec<&NamedProject> = inputs.projects.iter().chain(locked).filter(is_meant).collect();
        check_builds(&meant, &inputs.recipe.python.build)?;
        let finder = SourceFinder { inputs, known, session };
        let mut found: BTreeMap<PackageName, FoundProject> = BTreeMap::new();
        for named in meant {
            match found.get(&named.requirement.name) {
                Some(first) if first.named.place == named.place => {}
                Some(first) => return Err(two(&first.named, named)),
                None => {
                    let content = finder.content(named)?;
                    let named = named.clone();
                    found.insert(named.requirement.name.clone(), FoundProject { named, content });
                }
            }
        }
        Ok(Self(found))
    }

    /// Builds each of them.
    pub(super) fn build(&self, builder: &BuiltWheels<'_>) -> Result<BuiltProjects> {
        let built = self.0.iter().map(|(name, project)| {
            let digest = project.bring(builder.session)?;
            let file = project.file();
            let built = builder.build_tree(&StoredSource {
                name,
                version: project.named.version.as_ref(),
                file: &file,
                format: project.format(),
                digest,
                subdirectory: project.named.place.subdirectory(),
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
            Ok::<_, Failure>((name.clone(), (file, built.from)))
        });
        Ok(BuiltProjects(built.collect::<Result<_>>()?))
    }

    /// The URLs that are recorded of them.
    pub(super) fn direct_urls(&self) -> DirectUrls {
        self.0.iter().map(|(name, project)| (name.clone(), project.recorded())).collect()
    }

    /// The first that is not what `lock` has.
    pub(super) fn changed(&self, lock: &Lock) -> Option<ChangedWheel> {
        self.0.iter().find_map(|(name, project)| {
            let locked = lock.distributions.iter().find(|locked| locked.name() == name)?.built()?.digest;
            let found = project.content.digest().filter(|found| *found != locked)?;
            Some(ChangedWheel { wheel: project.named.place.to_string(), locked, found })
        })
    }

    /// Brings the source of a distribution into the store, as it was when its wheel was built, where it is one of these.
    pub(super) fn bring(
        &self,
        distribution: &Distribution,
        session: &Session<'_>,
    ) -> Result<(), NamedProjectError> {
        let Some(project) = self.0.get(&distribution.name) else { return Ok(()) };
        let found = project.bring(session)?;
        match &distribution.built {
            Some(from) if from.digest != found => Err(NamedProjectError::Hash {
                place: project.named.place.to_string(),
                expected: from.digest,
                found,
            }),
            _ => Ok(()),
        }
    }
}

/// Refuses sources of others that nothing says are built: all of them at once.
fn check_builds(named: &[&NamedProject], builds: &ProjectSet) -> Result<(), NamedProjectError> {
    let is_unbuilt =
        |named: &&&NamedProject| !named.place.is_directory() && !builds.has(&named.requirement.name);
    let told = |named: &&NamedProject| {
        (named.requirement.name.clone(), named.place.to_string(), named.source.clone())
    };
    let sources: Vec<_> = named.iter().filter(is_unbuilt).map(told).collect();
    match sources.is_empty() {
        true => Ok(()),
        false => Err(NamedProjectError::Unbuilt { sources, builds: builds.clone() }),
    }
}

fn two(first: &NamedProject, second: &NamedProject) -> NamedProjectError {
    let told = |named: &NamedProject| (named.place.to_string(), named.source.clone());
    NamedProjectError::Two {
        project: first.requirement.name.clone(),
        first: told(first),
        second: told(second),
    }
}

impl FoundContent {
    /// The digest, as far as it is known without fetching anything.
    fn digest(&self) -> Option<Digest> {
        match self {
            Self::Stored(digest) | Self::Remote(_, digest) => Some(*digest),
            Self::Commit(_) => None,
        }
    }
}

impl FoundProject {
    /// Brings the source into the store.
    fn bring(&self, session: &Session<'_>) -> Result<Digest, NamedProjectError> {
        let (place, origin) = (self.named.place.to_string(), self.named.source.clone());
        match &self.content {
            FoundContent::Stored(digest) => Ok(*digest),
            FoundContent::Remote(url, digest) => {
                let (url, name, digest) = (url.clone(), self.file(), *digest);
                let download = Download { url, name, digest, size: None };
                let came = session.http.download(&session.store, &download, &|_| {});
                came.map_err(|source| NamedProjectError::Fetch { place, origin, source: Box::new(source) })?;
                Ok(digest)
            }
            FoundContent::Commit(reference) => {
                let tree = git_trees::commit(reference, session)
                    .and_then(|commit| git_trees::tree(reference, &commit, session));
                tree.map_err(|source| NamedProjectError::Git { place, origin, source: Box::new(source) })
            }
        }
    }

    /// The name of its file, the path of its directory, or its repository.
    fn file(&self) -> String {
        match (&self.named.place, &self.content) {
            (_, FoundContent::Commit(reference)) => reference.without_login().to_string(),
            (SourcePlace::Archive(archive), _) => match &archive.place {
                FilePlace::Path(path) => path.clone(),
                FilePlace::Url(_) => archive.place.filename(),
            },
            (place, _) => place.to_string(),
        }
    }

    fn format(&self) -> SourceFormat {
        match &self.named.place {
            SourcePlace::Archive(archive) => {
                SourceFormat::of(&archive.place.filename()).unwrap_or(SourceFormat::TarGz)
            }
            SourcePlace::Directory(_) | SourcePlace::Git(_) => SourceFormat::Directory,
        }
    }

    /// The URL that is recorded of it in the image.
    fn recorded(&self) -> String {
        let name = &self.named.requirement.name;
        match (&self.named.place, &self.content) {
            (_, FoundContent::Commit(reference)) => reference.without_login().to_string(),
            (SourcePlace::Archive(archive), content) => {
                let url = match &archive.place {
                    FilePlace::Path(_) => direct_url::of_local(&archive.place.filename()),
                    FilePlace::Url(url) => redacted(url),
                };
                let digest = content.digest().or(archive.sha256);
                let of = |digest| direct_url::of_source_archive(&url, &digest, archive.subdirectory.as_ref());
                digest.map_or(url.clone(), of)
            }
            (SourcePlace::Directory(_) | SourcePlace::Git(_), _) => direct_url::of_directory(name.as_ref()),
        }
    }
}

impl BuiltProjects {
    /// As an index would list them.
    pub(super) fn projects(&self) -> impl Iterator<Item = (PackageName, Project)> {
        self.0.iter().map(|(name, (file, _))| {
            let project = Project { files: vec![file.clone()], ..Project::empty(name.clone()) };
            (name.clone(), project)
        })
    }

    /// Notes in a resolution where their wheels are from.
    pub(super) fn note(&self, resolution: &mut Resolution) {
        for distribution in &mut resolution.distributions {
            if let Some((_, from)) = self.0.get(&distribution.name) {
                distribution.built = Some(from.clone());
            }
        }
    }
}

struct SourceFinder<'a> {
    inputs: &'a RecipeInputs,
    known: &'a KnownSources,
    session: &'a Session<'a>,
}

impl SourceFinder<'_> {
    fn content(&self, named: &NamedProject) -> Result<FoundContent, NamedProjectError> {
        let (place, origin) = (named.place.to_string(), named.source.clone());
        match &named.place {
            SourcePlace::Directory(path) => {
                let failed = |source| NamedProjectError::Directory { place, origin, source };
                self.packed(path).map(FoundContent::Stored).map_err(failed)
            }
            SourcePlace::Archive(archive) => match &archive.place {
                FilePlace::Path(path) => Ok(FoundContent::Stored(self.local(path, archive, named)?)),
                FilePlace::Url(url) => self.remote(url, archive, named),
            },
            SourcePlace::Git(reference) => {
                let failed = |source| NamedProjectError::Git { place, origin, source: Box::new(source) };
                self.commit(reference).map_err(failed)
            }
        }
    }

    fn packed(&self, path: &str) -> Result<Digest, ProjectTreeError> {
        let directory = &self.inputs.directory;
        let unreachable = |error: io::Error| ProjectTreeError::Reach {
            path: directory.display().to_string(),
            source: error.into(),
        };
        let root = FileRoot::open(directory, self.session.outside).map_err(unreachable)?;
        let path = path::absolute(directory.join(path)).map_err(unreachable)?;
        pack(&root, &path, TreeContent::Project, &self.session.store)
    }

    /// Brings an archive of this machine into the store.
    fn local(
        &self,
        path: &str,
        archive: &SourceArchive,
        named: &NamedProject,
    ) -> Result<Digest, NamedProjectError> {
        let unreachable = |source| NamedProjectError::Reach {
            place: named.place.to_string(),
            origin: named.source.clone(),
            source,
        };
        let io = |error: io::Error| unreachable(error.into());
        let root = FileRoot::open(&self.inputs.directory, self.session.outside).map_err(io)?;
        let path = path::absolute(self.inputs.directory.join(path)).map_err(io)?;
        let file = root.open_linked(&path).map_err(unreachable)?;
        let found = kept(file, &self.session.store).map_err(io)?;
        match archive.sha256.filter(|expected| *expected != found) {
            Some(expected) => {
                Err(NamedProjectError::Hash { place: archive.place.to_string(), expected, found })
            }
            None => Ok(found),
        }
    }

    fn remote(
        &self,
        url: &Url,
        archive: &SourceArchive,
        named: &NamedProject,
    ) -> Result<FoundContent, NamedProjectError> {
        self.session.http.remember(url);
        let recorded = redacted(url);
        let known = || {
            let mut known = self.known.iter().filter_map(|known| known.split_once("#sha256="));
            let (_, digits) = known.find(|(place, _)| *place == recorded)?;
            Digest::from_hex(digits.split('&').next()?).ok()
        };
        let digest = match archive.sha256.or_else(known) {
            Some(digest) => digest,
            None => fetched(url, self.session).map_err(|source| NamedProjectError::Fetch {
                place: named.place.to_string(),
                origin: named.source.clone(),
                source: Box::new(source),
            })?,
        };
        Ok(FoundContent::Remote(url.clone(), digest))
    }

    /// The commit of a reference: the one that it says, that was locked, or that is there now.
    fn commit(&self, reference: &GitReference) -> Result<FoundContent, GitTreeError> {
        git_trees::check_place(reference, &self.inputs.directory, self.session)?;
        let known = || {
            let mut known = self.known.iter().filter_map(|known| known.parse::<GitReference>().ok());
            known.find(|known| known.asks_as(reference))?.commit
        };
        let commit = match reference.commit.clone().or_else(known) {
            Some(commit) => commit,
            None => git_trees::commit(reference, self.session)?,
        };
        Ok(FoundContent::Commit(reference.clone().locked(commit)))
    }
}

/// The digest of an open file, whose bytes are in the store then.
fn kept(mut file: File, store: &Store) -> io::Result<Digest> {
    if file.metadata()?.len() > LARGEST_ARCHIVE {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let (digest, size) = store.digest_of(&mut file)?;
    if store.has_blob(&digest, Some(size)) {
        return Ok(digest);
    }
    file.rewind()?;
    let mut blob = store.new_blob().map_err(io::Error::other)?;
    io::copy(&mut file, &mut blob)?;
    Ok(blob.finish().map_err(io::Error::other)?.0)
}
