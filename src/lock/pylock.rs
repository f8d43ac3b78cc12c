//! A resolution as `pylock.toml`, which pip and uv install.
//!
//! <https://packaging.python.org/en/latest/specifications/pylock-toml/>

use std::collections::BTreeMap;

use serde::Serialize;
use uv_normalize::PackageName;

use super::LockError;
use crate::oci::{Architecture, Digest};
use crate::resolve::Resolution;

/// The place of a wheel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LockedPlace {
    /// A URL without secrets.
    Url(String),
    /// A path, absolute or relative to the lock's directory.
    Path(String),
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct PylockDocument {
    lock_version: &'static str,
    environments: [String; 1],
    requires_python: String,
    created_by: &'static str,
    packages: Vec<PylockPackage>,
}

#[derive(Serialize)]
struct PylockPackage {
    name: String,
    version: String,
    wheels: [PylockWheel; 1],
}

#[derive(Serialize)]
struct PylockWheel {
    name: String,
    #[serde(flatten)]
    place: LockedPlace,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    hashes: BTreeMap<&'static str, String>,
}

/// The text of `pylock.toml` for a resolution on Linux with this `python`, such as `3.11.2`, where `wheels` has the digest and
/// the place of each wheel, by file name. Of a component with several SONAMEs it has the one that pip sees.
pub fn pylock(
    resolution: &Resolution,
    wheels: &BTreeMap<String, (Digest, LockedPlace)>,
    python: &str,
    architecture: Architecture,
) -> Result<String, LockError> {
    let mut packages: BTreeMap<&PackageName, PylockPackage> = BTreeMap::new();
    // Sorted by version: the newest is the one that stays.
    for distribution in &resolution.distributions {
        let name = distribution.wheel.filename.to_string();
        let (digest, place) = wheels.get(&name).cloned().ok_or_else(|| LockError::Unwritable {
            reason: format!("nothing is known of the wheel `{name}`"),
        })?;
        let (size, hashes) = (distribution.wheel.size, BTreeMap::from([("sha256", digest.hex())]));
        let package = PylockPackage {
            name: distribution.name.to_string(),
            version: distribution.version.to_string(),
            wheels: [PylockWheel { name, place, size, hashes }],
        };
        packages.insert(&distribution.name, package);
    }
    let minor: String = python.split('.').take(2).collect::<Vec<_>>().join(".");
    let machine = architecture.machine_name();
    let document = PylockDocument {
        lock_version: "1.0",
        environments: [format!("sys_platform == 'linux' and platform_machine == '{machine}'")],
        requires_python: format!("=={minor}.*"),
        created_by: "imgforge",
        packages: packages.into_values().collect(),
    };
    toml::to_string(&document).map_err(|error| LockError::Unwritable { reason: error.to_string() })
}
