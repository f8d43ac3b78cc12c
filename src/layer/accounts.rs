//! Writes the layer of the users that a recipe makes.

use super::generated;
use super::system_files::{SystemFiles, SystemFilesError};
use super::writer::{WriteError, Written};
use crate::bootstrap::ground::Ground;
use crate::bootstrap::users::{self, UserError};
use crate::debian::usrmerge::UsrLayout;
use crate::failure::{Fault, Hinted};
use crate::oci::Digest;
use crate::plan::{AccountsLayer, GeneratedLayer};
use crate::store::{Store, StoreError};

/// The reason why the users could not be made.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum AccountsError {
    #[error(transparent)]
    User(#[from] UserError),
    #[error(transparent)]
    Files(#[from] SystemFilesError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Hinted for AccountsError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::User(error) => error.hint(),
            Self::Files(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Write(error) => error.hint(),
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::User(error) => error.fault(),
            _ => Fault::Job,
        }
    }
}

/// Writes the layer above the blobs `below`, bottom first, which are in `store`.
pub fn write(layer: &AccountsLayer, below: &[Digest], store: &Store) -> Result<Written, AccountsError> {
    let blobs = below.iter().map(|digest| store.open_blob(digest)).collect::<Result<Vec<_>, _>>()?;
    let mut files = SystemFiles::read(blobs, &users::is_asked, store.scratch()?)?;
    let ground = Ground { entries: std::mem::take(&mut files.entries), ..Ground::empty(UsrLayout::Separate) };
    let files = users::make(&layer.users, &ground, &files, layer.mtime)?;
    let compression = layer.compression.clone();
    Ok(generated::write(&GeneratedLayer { files, compression }, store)?)
}
