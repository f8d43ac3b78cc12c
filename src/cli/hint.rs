//! What to do next: the hint of whichever error in a chain has one.

use std::error::Error;
use std::fmt;

use anyhow::Error as AnyError;

use crate::base::InventoryError;
use crate::bootstrap::select::SelectError;
use crate::bootstrap::tree::ConfigureError;
use crate::debian::packages::PackagesError;
use crate::destination::PublishError;
use crate::layer::bytecode::BytecodeError;
use crate::layer::debian::UnpackError;
use crate::layer::files::FilesError;
use crate::layer::wheels::WheelLayerError;
use crate::lock::LockError;
use crate::net::config::ConfigError;
use crate::net::debian::ArchiveError;
use crate::net::http::HttpError;
use crate::net::index::IndexError;
use crate::pipeline::{
    CheckFailed, InputError, ListedError, LockFileError, NoHash, NotAPlan, NotBuilt, OtherInventory,
};
use crate::resolve::components::ComponentError;
use crate::resolve::solve::{CatalogError, SolveError};
use crate::resolve::{HashNotAllowed, ResolveError};
use crate::source::{PlaceError, SourceError};
use crate::store::StoreError;

/// An error of the command line itself, with its hint.
#[derive(Debug)]
struct Advised {
    message: String,
    hint: String,
}

impl fmt::Display for Advised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Advised {}

/// An error with a hint.
pub(super) fn advised(message: &str, hint: &str) -> AnyError {
    Advised { message: message.to_owned(), hint: hint.to_owned() }.into()
}

/// The first hint in the chain of `error`.
pub(super) fn of(error: &AnyError) -> Option<String> {
    error.chain().find_map(|cause| {
        macro_rules! first_of {
            ($($kind:ty),*) => {
                $(if let Some(error) = cause.downcast_ref::<$kind>() && let Some(hint) = error.hint() {
                    return Some(hint);
                })*
            };
        }
        first_of!(
            ArchiveError,
            BytecodeError,
            CatalogError,
            ComponentError,
            ConfigError,
            ConfigureError,
            FilesError,
            HashNotAllowed,
            HttpError,
            IndexError,
            InputError,
            InventoryError,
            ListedError,
            LockError,
            LockFileError,
            NoHash,
            NotAPlan,
            CheckFailed,
            NotBuilt,
            OtherInventory,
            PackagesError,
            PublishError,
            ResolveError,
            PlaceError,
            SelectError,
            SolveError,
            SourceError,
            StoreError,
            UnpackError,
            WheelLayerError
        );
        cause.downcast_ref::<Advised>().map(|error| error.hint.clone()).or_else(|| of_io(cause))
    })
}

fn of_io(cause: &(dyn Error + 'static)) -> Option<String> {
    match cause.downcast_ref::<std::io::Error>()?.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            Some("free some space, or point IMGFORGE_CACHE_DIR at a file system with more of it".into())
        }
        _ => None,
    }
}

/// Whether the recipe is at fault, or what it names.
pub(super) fn is_users_recipe(error: &AnyError) -> bool {
    error.chain().any(|cause| {
        cause.is::<InputError>()
            || cause.is::<LockFileError>()
            || cause.is::<NotAPlan>()
            || cause.is::<NotBuilt>()
            || cause.is::<InventoryError>()
            || cause.is::<FilesError>()
    })
}
