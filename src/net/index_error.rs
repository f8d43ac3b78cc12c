//! The reasons why a package index could not be asked.

use reqwest::StatusCode;

use super::directory::DirectoryError;
use super::http::{HttpError, ONLINE_FIRST};
use crate::failure::Hinted;
use crate::oci::Digest;
use crate::pypa::metadata::MetadataError;
use crate::pypa::simple::PageError;
use crate::pypa::wheel::WheelError;
use crate::store::StoreError;

/// The reason why an index could not be asked. What the solver sees is a
/// [`CatalogError`](crate::resolve::solve::CatalogError) with one of these as its source.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum IndexError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error(transparent)]
    Page(#[from] PageError),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("`{url}` answered {status}")]
    Status { url: String, status: StatusCode },
    #[error("the package index `{index}` does not tell whether it has `{project}`: it answered {status}")]
    Refused { index: String, project: String, status: StatusCode },
    #[error("the page `{url}` is not in the cache, and this is an offline build")]
    PageNotCached { url: String },
    #[error("the metadata of `{wheel}` is not in the cache, and this is an offline build")]
    MetadataNotCached { wheel: String },
    #[error("the libraries of `{wheel}` are not in the cache, and this is an offline build")]
    LibrariesNotCached { wheel: String },
    #[error("the metadata at `{url}` has the wrong hash: expected {expected}, got {got}")]
    Hash { url: String, expected: Digest, got: Digest },
    #[error("could not read the wheel `{wheel}`")]
    Wheel { wheel: String, source: WheelError },
    #[error("could not open the wheel `{wheel}`")]
    Open { wheel: String, source: std::io::Error },
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error("`{wheel}` has the metadata of {name} {version}")]
    Foreign { wheel: String, name: String, version: String },
}

impl IndexError {
    /// Returns whether the wheel itself is at fault, so that another version may do.
    pub(super) fn is_wheels_fault(&self) -> bool {
        matches!(self, Self::Metadata(_) | Self::Wheel { .. } | Self::Foreign { .. })
    }
}

impl Hinted for IndexError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Http(error) => error.hint(),
            Self::Page(error) => error.hint(),
            Self::Directory(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Metadata(error) => error.hint(),
            Self::Wheel { source, .. } => source.hint(),
            Self::Refused { index, project, status } => Some(refused(index, project, *status)),
            Self::Status { status, .. } if matches!(status.as_u16(), 401 | 403 | 407) => {
                Some("give credentials in the index URL or in ~/.netrc".into())
            }
            Self::Status { .. } => Some("check the index URL".into()),
            Self::PageNotCached { .. } | Self::MetadataNotCached { .. } | Self::LibrariesNotCached { .. } => {
                Some(ONLINE_FIRST.into())
            }
            Self::Hash { .. } => {
                Some("the index and the file disagree; try again later or use another index".into())
            }
            Self::Open { .. } | Self::Foreign { .. } => None,
        }
    }
}

/// The next step where an index may have a project and does not show it. Another index is not asked: there, anybody may have
/// published the name.
fn refused(index: &str, project: &str, status: StatusCode) -> String {
    let status = status.as_u16();
    let access = match status {
        401 | 403 | 407 => "give credentials in the index URL or in ~/.netrc",
        _ => "check the index URL, or try again later",
    };
    format!(
        "{access}; no further index was asked for `{project}`. If the index answers {status} for what it does not have, list it in the recipe: `indexes: [{{url: {index}, missing: [{status}]}}]`"
    )
}
