//! The dynamic symbols of a library: what it offers, and what it expects of others.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// The dynamic symbols of one file, as far as versions tell whose they are.
///
/// CUDA's minor versions differ by symbols alone: `libnvJitLink.so.12` of CUDA 12.4 has `__nvJitLinkCreate_12_4`, and
/// the `libcusparse.so.12` of CUDA 12.4 needs it. Version nodes carry the SONAME of the library that defines them.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Symbols {
    /// The defined symbols, global or weak, sorted.
    pub defined: BTreeSet<String>,
    /// The undefined symbols that are not weak, by the SONAME of the file that the version needs (`vn_file`) name.
    pub undefined: BTreeMap<String, BTreeSet<String>>,
}
