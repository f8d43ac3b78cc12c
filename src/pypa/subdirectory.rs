//! The directory of a project within a source that has others beside it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A relative path that stays below where it begins, and is not that place itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subdirectory(String);

/// The path leads out of the source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` is no directory within a source")]
pub struct SubdirectoryError {
    path: String,
}

impl Subdirectory {
    /// The directory at `path`; `None` where that is the root of the source.
    pub fn new(path: &str) -> Result<Option<Self>, SubdirectoryError> {
        let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        let is_odd = path.starts_with('/') || parts.contains(&"..") || path.contains(['\\', '\0', '#', '&']);
        match (is_odd, parts.is_empty()) {
            (true, _) => Err(SubdirectoryError { path: path.to_owned() }),
            (false, true) => Ok(None),
            (false, false) => Ok(Some(Self(parts.join("/")))),
        }
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Subdirectory {
    type Error = SubdirectoryError;

    fn try_from(path: String) -> Result<Self, SubdirectoryError> {
        Self::new(&path)?.ok_or(SubdirectoryError { path })
    }
}

impl From<Subdirectory> for String {
    fn from(directory: Subdirectory) -> Self {
        directory.0
    }
}

impl fmt::Display for Subdirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
