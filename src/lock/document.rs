//! The text beside a recipe: its lock, or one for each of its platforms.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{HEADER, Head, Lock, LockError, check_size, syntax_error};
use crate::oci::Architecture;

/// The version of the format with a lock for each platform.
pub(super) const PLATFORMS_VERSION: u32 = 2;

/// The locks beside a recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockDocument {
    /// The only one, where the base decides the platform.
    Single(Box<Lock>),
    /// That of each platform of the recipe.
    Platforms(BTreeMap<Architecture, Lock>),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlatformLocks<T> {
    version: u32,
    platform: T,
}

impl LockDocument {
    /// Reads the text of a lock.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        check_size(text)?;
        match toml::from_str(text) {
            Ok(Head { version: PLATFORMS_VERSION }) => {}
            _ => return Lock::parse(text).map(|lock| Self::Single(Box::new(lock))),
        }
        let locks: PlatformLocks<BTreeMap<Architecture, Lock>> =
            toml::from_str(text).map_err(|error| syntax_error(text, &error))?;
        locks.platform.values().try_for_each(|lock| lock.check(text))?;
        Ok(Self::Platforms(locks.platform))
    }

    /// The text of the locks: the same for the same ones.
    pub fn to_text(&self) -> Result<String, LockError> {
        let text = match self {
            Self::Single(lock) => return lock.to_text(),
            Self::Platforms(locks) => {
                toml::to_string_pretty(&PlatformLocks { version: PLATFORMS_VERSION, platform: locks })
            }
        };
        let text = text.map_err(|error| LockError::Unwritable { reason: error.to_string() })?;
        Ok(HEADER.to_owned() + &text)
    }

    /// The lock for a platform, or that of the base's own without one.
    pub fn lock(&self, platform: Option<Architecture>) -> Option<&Lock> {
        match (self, platform) {
            (Self::Single(lock), None) => Some(lock),
            (Self::Single(lock), Some(_)) => Some(&**lock).filter(|lock| lock.architecture() == platform),
            (Self::Platforms(locks), Some(platform)) => locks.get(&platform),
            (Self::Platforms(_), None) => None,
        }
    }

    /// Every lock.
    pub fn locks(&self) -> impl Iterator<Item = &Lock> {
        let (single, platforms) = match self {
            Self::Single(lock) => (Some(&**lock), None),
            Self::Platforms(locks) => (None, Some(locks.values())),
        };
        single.into_iter().chain(platforms.into_iter().flatten())
    }
}
