//! A lock in the form of other tools.

use std::collections::BTreeMap;
use std::path::Path;

use super::decide::{Decision, decide};
use super::inputs;
use super::lock_file::Locking;
use super::session::Session;
use crate::credentials::redacted;
use crate::failure::Result;
use crate::lock::{LockedPlace, pylock};
use crate::oci::Digest;

/// The lock beside the recipe at `path` as `pylock.toml`.
pub fn export_pylock(path: &Path, session: &Session<'_>) -> Result<String> {
    let inputs = inputs::read(path, session.outside)?;
    let Decision { inputs, base, resolution, wheels, urls, .. } =
        decide(inputs, path, Locking::Required, session)?;
    let open = urls.open(session);
    let directory = std::path::absolute(&inputs.directory).unwrap_or_else(|_| inputs.directory.clone());
    let mut places: BTreeMap<String, (Digest, LockedPlace)> = BTreeMap::new();
    for distribution in &resolution.distributions {
        let filename = distribution.wheel.filename.to_string();
        let Some((digest, _)) = wheels.get(&filename) else { continue };
        let url = open.url(&distribution.name, &distribution.wheel.filename, *digest)?;
        let path = url.to_file_path().ok().filter(|_| url.scheme() == "file");
        let place = match path {
            Some(path) => {
                let below = path.strip_prefix(&directory).unwrap_or(&path);
                LockedPlace::Path(below.display().to_string())
            }
            None => LockedPlace::Url(redacted(&url)),
        };
        places.insert(filename, (*digest, place));
    }
    let inventory = &base.planned.inventory;
    Ok(pylock(&resolution, &places, &inventory.python, inventory.architecture)?)
}
