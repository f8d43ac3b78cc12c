//! Stands in for uv-cache-info (globs, time stamps of source trees), which uv-distribution-types links and imgforge
//! never calls.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CacheInfo {}
