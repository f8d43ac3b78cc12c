//! Decides the layers to write, as data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cuda::Toolkit;
use crate::oci::Digest;
use crate::pypa::scheme::InstallScheme;

/// Wheels that are installed into one layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WheelLayer {
    pub scheme: InstallScheme,
    /// Sorted by distribution; where two write the same path the later one wins, as it does under pip.
    pub wheels: Vec<WheelInstall>,
}

/// One wheel's installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WheelInstall {
    /// The distribution's normalized name.
    pub distribution: String,
    pub version: String,
    pub filename: String,
    /// The digest of the wheel.
    pub wheel: Digest,
    /// Whether the recipe names the distribution.
    pub requested: bool,
    /// `Requires-Dist` values to rewrite: the wheel's text, and what takes its place.
    pub relaxed: BTreeMap<String, String>,
    /// The toolkit whose tree takes the files of a component's wheel.
    pub toolkit: Option<Toolkit>,
}
