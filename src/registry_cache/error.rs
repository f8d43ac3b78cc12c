//! The reasons why a cache gives or takes nothing.

use super::entry::{CacheEntryFault, CacheTag};
use crate::failure::Hinted;
use crate::net::http::HttpError;
use crate::net::registry::error::RegistryError;
use crate::store::StoreError;

/// The reason why a cache did not give or take an entry.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum RegistryCacheError {
    #[error("the entry `{tag}` of the cache `{place}` is wrong")]
    Wrong { place: String, tag: CacheTag, source: Box<CacheEntryFault> },
    #[error("the cache `{place}` cannot be used")]
    Unusable { place: String, source: HttpError },
    #[error("an entry of the cache `{place}` cannot be kept")]
    Store { place: String, source: StoreError },
    #[error("an entry for the cache `{place}` cannot be written")]
    Write { place: String, source: std::io::Error },
}

impl CacheEntryFault {
    /// The fault of an entry that a registry's answer shows; `None` for a registry that cannot be used.
    pub fn of_answer(error: &HttpError) -> Option<Self> {
        match error {
            HttpError::Hash { .. } | HttpError::Size { .. } => Some(Self::Content),
            HttpError::Registry(error) if error.is_missing() => Some(Self::Lost),
            HttpError::Registry(error) => {
                matches!(**error, RegistryError::OtherDocument { .. }).then_some(Self::Content)
            }
            _ => None,
        }
    }
}

impl Hinted for RegistryCacheError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Wrong { .. } => Some(
                "find out who wrote it, and remove its tag from the registry; `imgforge lock --layers` has nothing of a cache believed".into(),
            ),
            Self::Unusable { source, .. } => source.hint(),
            Self::Store { source, .. } => source.hint(),
            Self::Write { source, .. } => source.hint(),
        }
    }
}
