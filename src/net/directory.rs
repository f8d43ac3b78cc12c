//! Directories of wheels as package indexes: flat ones, and simple repositories on disk.
//!
//! ```text
//! wheels/app-1.0-py3-none-any.whl         flat: as for `pip install --find-links wheels`
//! wheels/app/index.html                   a simple repository: links to the files, wherever they are
//! wheels/app/app-1.0-py3-none-any.whl     the same without a page
//! ```

use std::path::{self, Path, PathBuf};

use url::Url;
use uv_distribution_filename::{DistFilename, WheelFilename};
use uv_normalize::PackageName;

use super::download::LOCAL;
use crate::beneath::{FileRoot, Outside, ReachError};
use crate::failure::{Fault, Hinted};
use crate::oci::Digest;
use crate::pypa::simple::{self, DistFile, PageError, Project};
use crate::pypa::source_file::SourceFile;
use crate::store::Store;

/// The bytes of a project's page on disk: those of the largest indexes have 20 MB.
const LONGEST_PAGE: u64 = 32 << 20;
/// The names in a directory of wheels: the largest collections have some ten thousand.
const MOST_NAMES: usize = 1 << 17;

/// A directory of wheels.
#[derive(Debug, Clone, PartialEq)]
pub struct WheelDirectory {
    root: FileRoot,
    /// Absolute.
    path: PathBuf,
}

/// The reason why a directory of wheels cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum DirectoryError {
    #[error("could not read `{path}`")]
    Reach { path: PathBuf, source: ReachError },
    #[error("`{path}` has more than {MOST_NAMES} names")]
    ManyNames { path: PathBuf },
    #[error("could not read `{path}`")]
    Page { path: PathBuf, source: PageError },
    #[error("`{path}` has the wrong hash: {expected} is written in its project's page, {found} was found")]
    Hash { path: PathBuf, expected: Digest, found: Digest },
}

impl Hinted for DirectoryError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Reach { source: ReachError::Io(_), .. } => Some(
                "name a directory of wheels that you can read; paths in a recipe are relative to the recipe"
                    .into(),
            ),
            Self::Reach { source, .. } => source.hint(),
            Self::Page { source, .. } => source.hint(),
            Self::ManyNames { .. } => Some("give each project a directory of its own in it".into()),
            Self::Hash { .. } => Some("make the page again, or find out which of the two is right".into()),
        }
    }

    fn fault(&self) -> Fault {
        Fault::Input
    }
}

impl WheelDirectory {
    /// The directory at `path`, reached from `root`. Fails where it cannot be listed.
    pub fn open(root: FileRoot, path: &Path) -> Result<Self, DirectoryError> {
        let unreadable = |source: ReachError| DirectoryError::Reach { path: path.to_owned(), source };
        let absolute = path::absolute(path).map_err(|error| unreadable(error.into()))?;
        root.linked_names(path).map_err(unreadable)?;
        Ok(Self { root, path: absolute })
    }

    /// The directory at `path`, which the machine's owner names.
    pub fn of_machine(path: &Path) -> Result<Self, DirectoryError> {
        let unreadable =
            |error: std::io::Error| DirectoryError::Reach { path: path.to_owned(), source: error.into() };
        Self::open(FileRoot::open(path, Outside::Allowed).map_err(unreadable)?, path)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files of a project that it has; `None` where it has none.
    pub(super) fn project(
        &self,
        name: &PackageName,
        store: &Store,
    ) -> Result<Option<Project>, DirectoryError> {
        let mut project = Project::empty(name.clone());
        self.add_listed(&self.path, &mut project, store)?;
        let own = self.path.join(name.as_ref());
        if own.is_dir() {
            match self.page(&own, name)? {
                Some(page) => self.add_linked(page, &mut project, store)?,
                None => self.add_listed(&own, &mut project, store)?,
            }
        }
        let is_empty = project.files.is_empty() && project.others.is_empty();
        Ok((!is_empty).then_some(project))
    }

    /// Adds the files of a project in a directory.
    fn add_listed(
        &self,
        directory: &Path,
        project: &mut Project,
        store: &Store,
    ) -> Result<(), DirectoryError> {
        let names = self.root.linked_names(directory).map_err(reach(directory))?;
        if names.len() > MOST_NAMES {
            return Err(DirectoryError::ManyNames { path: directory.to_owned() });
        }
        for name in names.iter().filter_map(|name| name.to_str()) {
            match DistFilename::try_from_filename(name, &project.name) {
                Some(DistFilename::WheelFilename(wheel)) if wheel.name == project.name => {
                    project.files.push(self.file(&directory.join(name), wheel, store)?);
                }
                Some(DistFilename::SourceDistFilename(_)) => {
                    project.others.push(name.to_owned());
                    project.sources.extend(self.source(&project.name, directory, name, store)?);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The page of a project, in its directory.
    fn page(&self, directory: &Path, name: &PackageName) -> Result<Option<Project>, DirectoryError> {
        let path = directory.join("index.html");
        let page = match self.root.read(&path, LONGEST_PAGE) {
            Ok((page, _)) => page,
            Err(ReachError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(DirectoryError::Reach { path, source }),
        };
        let Ok(base) = Url::from_directory_path(directory) else { return Ok(None) };
        let page = simple::parse_html(name, &base, page);
        page.map(Some).map_err(|source| DirectoryError::Page { path, source })
    }

    /// Adds the files that a page links to. Those of other servers stay where they are.
    fn add_linked(&self, page: Project, project: &mut Project, store: &Store) -> Result<(), DirectoryError> {
        project.others.extend(page.others);
        project.sources.extend(page.sources);
        for linked in page.files {
            let path = linked.url.to_file_path().ok().filter(|_| linked.url.scheme() == LOCAL);
            let Some(path) = path else {
                project.files.push(linked);
                continue;
            };
            let file = self.file(&path, linked.filename, store)?;
            if let (Some(expected), Some(found)) = (linked.sha256, file.sha256)
                && expected != found
            {
                return Err(DirectoryError::Hash { path, expected, found });
            }
            let (requires_python, yanked) = (linked.requires_python, linked.yanked);
            project.files.push(DistFile { requires_python, yanked, ..file });
        }
        Ok(())
    }

    /// A source distribution of a project; `None` for a kind of archive that is not built.
    fn source(
        &self,
        project: &PackageName,
        directory: &Path,
        name: &str,
        store: &Store,
    ) -> Result<Option<SourceFile>, DirectoryError> {
        let path = directory.join(name);
        let Ok(url) = Url::from_file_path(&path) else { return Ok(None) };
        let Some(source) = SourceFile::bare(project, name, url) else { return Ok(None) };
        let digest_of = || Ok::<_, ReachError>(store.digest_of(&mut self.root.open_linked(&path)?)?);
        let (digest, size) = digest_of().map_err(reach(&path))?;
        Ok(Some(SourceFile { sha256: Some(digest), size: Some(size), ..source.unlisted() }))
    }

    fn file(&self, path: &Path, filename: WheelFilename, store: &Store) -> Result<DistFile, DirectoryError> {
        local_wheel(&self.root, path, filename, store).map_err(reach(path))
    }
}

/// A wheel of this machine, at an absolute path, as an index would list it.
pub fn local_wheel(
    root: &FileRoot,
    path: &Path,
    filename: WheelFilename,
    store: &Store,
) -> Result<DistFile, ReachError> {
    let (digest, size) = store.digest_of(&mut root.open_linked(path)?)?;
    let url = Url::from_file_path(path).map_err(|()| ReachError::Kind)?;
    Ok(DistFile { sha256: Some(digest), size: Some(size), ..DistFile::bare(filename, url).unlisted() })
}

fn reach(path: &Path) -> impl FnOnce(ReachError) -> DirectoryError {
    let path = path.to_owned();
    move |source| DirectoryError::Reach { path, source }
}
