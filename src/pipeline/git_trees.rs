//! The files of commits in repositories of git: fetched once, and packed into the store.

use std::path::Path;

use super::Session;
use super::project_tree::{ProjectTreeError, TreeContent, pack};
use crate::beneath::{FileRoot, Outside, ReachError};
use crate::failure::{Fault, Hinted};
use crate::net::git::{GitCheckout, GitError};
use crate::oci::Digest;
use crate::pypa::git_reference::{GitCommit, GitReference};
use crate::store::{ScratchDirectory, StoreError};

/// Part of every key of such a record: raised when the same commit shall be packed in another way.
const FORMAT: u32 = 1;
/// The records of packed files, by repository and commit.
const TREE: &str = "git-tree";
/// The records of commits, by repository and revision: the last that was there.
const COMMIT: &str = "git-commit";

/// The reason why the files of a commit cannot be had.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum GitTreeError {
    #[error(transparent)]
    Git(#[from] GitError),
    #[error("could not read the repository `{path}`")]
    Reach { path: String, source: ReachError },
    #[error("`{repository}` was not fetched before, and this run is offline")]
    Offline { repository: String },
    #[error(transparent)]
    Pack(#[from] ProjectTreeError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Hinted for GitTreeError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Git(error) => error.hint(),
            Self::Reach { source: ReachError::Io(_), .. } => {
                Some("check the path: it is that of a repository's directory, `git+file:///srv/app`".into())
            }
            Self::Reach { source, .. } => source.hint(),
            Self::Offline { .. } => Some("run once without --offline".into()),
            Self::Pack(error) => error.hint(),
            Self::Store(error) => error.hint(),
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Reach { .. } => Fault::Input,
            _ => Fault::Job,
        }
    }
}

/// The commit that `reference` leads to now, or led to when there was a network.
pub(super) fn commit(reference: &GitReference, session: &Session<'_>) -> Result<GitCommit, GitTreeError> {
    if let Some(commit) = &reference.commit {
        return Ok(commit.clone());
    }
    let key = Digest::of(format!("{FORMAT} {}", reference.without_login()));
    if session.http.is_offline() {
        let offline = || GitTreeError::Offline { repository: reference.shown() };
        return session.store.record(COMMIT, &key).ok_or_else(offline);
    }
    let scratch = session.store.scratch_directory()?;
    let checkout = GitCheckout::new(reference, scratch.path());
    let commit = match checkout.listed()? {
        Some(commit) => commit,
        // The beginning of a commit's name, which only the whole repository tells.
        None => {
            session.progress.stage(&format!("fetching {}", reference.shown()));
            let commit = checkout.fetch()?;
            keep(&reference.clone().locked(commit.clone()), &scratch, session)?;
            commit
        }
    };
    session.store.put_record(COMMIT, &key, &commit)?;
    Ok(commit)
}

/// The digest of the packed files of a commit that is known.
pub(super) fn tree(
    reference: &GitReference,
    commit: &GitCommit,
    session: &Session<'_>,
) -> Result<Digest, GitTreeError> {
    let key = tree_key(reference, commit);
    let known: Option<Digest> = session.store.record(TREE, &key);
    if let Some(known) = known.filter(|known| session.store.has_blob(known, None)) {
        return Ok(known);
    }
    if session.http.is_offline() {
        return Err(GitTreeError::Offline { repository: reference.shown() });
    }
    session.progress.stage(&format!("fetching {}", reference.shown()));
    let reference = reference.clone().locked(commit.clone());
    let scratch = session.store.scratch_directory()?;
    GitCheckout::new(&reference, scratch.path()).fetch()?;
    keep(&reference, &scratch, session)
}

/// Packs what was checked out.
fn keep(
    reference: &GitReference,
    scratch: &ScratchDirectory,
    session: &Session<'_>,
) -> Result<Digest, GitTreeError> {
    let unreachable =
        |error: std::io::Error| GitTreeError::Reach { path: reference.shown(), source: error.into() };
    let root = FileRoot::open(scratch.path(), Outside::Refused).map_err(unreachable)?;
    let digest = pack(&root, scratch.path(), TreeContent::Repository, &session.store)?;
    if let Some(commit) = &reference.commit {
        session.store.put_record(TREE, &tree_key(reference, commit), &digest)?;
    }
    Ok(digest)
}

fn tree_key(reference: &GitReference, commit: &GitCommit) -> Digest {
    Digest::of(format!("{FORMAT} {} {commit}", reference.shown()))
}

/// Refuses a repository of this machine that the recipe may not read.
pub(super) fn check_place(
    reference: &GitReference,
    directory: &Path,
    session: &Session<'_>,
) -> Result<(), GitTreeError> {
    if reference.repository.scheme() != "file" {
        return Ok(());
    }
    let path = reference.repository.to_file_path().unwrap_or_default();
    let unreachable = |source| GitTreeError::Reach { path: path.display().to_string(), source };
    let root = FileRoot::open(directory, session.outside).map_err(|error| unreachable(error.into()))?;
    root.linked_names(&path).map(drop).map_err(unreachable)
}
