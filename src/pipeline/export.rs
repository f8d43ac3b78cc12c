//! A lock in the form of other tools.

use std::collections::BTreeMap;
use std::path::Path;

use url::Url;

use super::decide::{Decision, decide};
use super::inputs;
use super::lock_file::Locking;
use super::session::Session;
use super::wheel_urls::OpenWheelUrls;
use crate::credentials::redacted;
use crate::failure::Result;
use crate::lock::{LockedFile, LockedOrigin, LockedPlace, pylock};
use crate::oci::Digest;
use crate::pypa::source_file::SourceFormat;
use crate::resolve::{BuiltFrom, Distribution};

/// The lock beside the recipe at `path` as `pylock.toml`.
pub fn export_pylock(path: &Path, session: &Session<'_>) -> Result<String> {
    let inputs = inputs::read(path, session.outside)?;
    let Decision { inputs, base, resolution, wheels, urls, .. } =
        decide(inputs, path, Locking::Required, session)?;
    let open = urls.open(session);
    let directory = std::path::absolute(&inputs.directory).unwrap_or_else(|_| inputs.directory.clone());
    let mut origins: BTreeMap<String, LockedOrigin> = BTreeMap::new();
    for distribution in &resolution.distributions {
        let filename = distribution.wheel.filename.to_string();
        let Some((digest, _)) = wheels.get(&filename) else { continue };
        let origin = match &distribution.built {
            Some(from) => of_source(distribution, from, &open, &directory)?,
            None => of_wheel(distribution, *digest, &open, &directory)?,
        };
        origins.insert(filename, origin);
    }
    let inventory = &base.planned.inventory;
    Ok(pylock(&resolution, &origins, &inventory.python, inventory.architecture)?)
}

fn of_wheel(
    distribution: &Distribution,
    digest: Digest,
    open: &OpenWheelUrls<'_>,
    directory: &Path,
) -> Result<LockedOrigin> {
    let filename = &distribution.wheel.filename;
    let url = open.url(&distribution.name, filename, digest)?;
    let (name, size) = (filename.to_string(), distribution.wheel.size);
    Ok(LockedOrigin::Wheel(LockedFile { name, digest, size, place: place(&url, directory) }))
}

/// The origin of a distribution whose wheel was built.
fn of_source(
    distribution: &Distribution,
    from: &BuiltFrom,
    open: &OpenWheelUrls<'_>,
    directory: &Path,
) -> Result<LockedOrigin> {
    if SourceFormat::of(&from.file).is_none() {
        return Ok(LockedOrigin::Directory(from.file.clone()));
    }
    let place = place(&open.source_url(&distribution.name, from)?, directory);
    Ok(LockedOrigin::Sdist(LockedFile { name: from.file.clone(), digest: from.digest, size: None, place }))
}

/// The place of a file, of one of this machine seen from `directory`.
fn place(url: &Url, directory: &Path) -> LockedPlace {
    match url.to_file_path().ok().filter(|_| url.scheme() == "file") {
        Some(path) => {
            let below = path.strip_prefix(directory).unwrap_or(&path);
            LockedPlace::Path(below.display().to_string())
        }
        None => LockedPlace::Url(redacted(url)),
    }
}
