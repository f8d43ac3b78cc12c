//! A lock in the form of other tools.

use std::collections::BTreeMap;
use std::path::Path;

use url::Url;

use super::decide::{Decision, decide};
use super::lock_file::Locking;
use super::session::Session;
use super::wheel_urls::OpenWheelUrls;
use super::{PlanOrder, inputs, platforms};
use crate::credentials::redacted;
use crate::failure::Result;
use crate::lock::{ExportedResolution, LockedFile, LockedOrigin, LockedPlace, pylock};
use crate::oci::Digest;
use crate::pypa::git_reference::GitReference;
use crate::pypa::source_file::SourceFormat;
use crate::resolve::{BuiltFrom, Distribution};

/// The lock beside a recipe as `pylock.toml`, with all platforms in it that are ordered.
pub fn export_pylock(order: &PlanOrder<'_>, session: &Session<'_>) -> Result<String> {
    let inputs = inputs::read(order.recipe, session.outside)?;
    let chosen = platforms::chosen(&inputs, order.recipe.file, order.platforms)?;
    let decided = chosen.into_iter().map(|inputs| decide(inputs, order.recipe, Locking::Required, session));
    let decided: Vec<Decision> = decided.collect::<Result<_>>()?;
    let origins = decided.iter().map(|decision| origins(decision, session));
    let origins: Vec<BTreeMap<String, LockedOrigin>> = origins.collect::<Result<_>>()?;
    let exported = decided.iter().zip(&origins).map(|(decision, origins)| {
        let inventory = &decision.base.planned.inventory;
        let (python, architecture) = (inventory.python.as_str(), inventory.architecture);
        ExportedResolution { resolution: &decision.resolution, origins, python, architecture }
    });
    Ok(pylock(&exported.collect::<Vec<_>>())?)
}

/// The origin of each distribution, by the file name of its wheel.
fn origins(decision: &Decision, session: &Session<'_>) -> Result<BTreeMap<String, LockedOrigin>> {
    let Decision { inputs, resolution, wheels, urls, .. } = decision;
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
    Ok(origins)
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
    let subdirectory = from.subdirectory.as_ref().map(ToString::to_string);
    let Some(url) = &distribution.direct_url else {
        let place = place(&open.source_url(&distribution.name, from)?, directory);
        return Ok(LockedOrigin::Sdist(source_file(from, place)));
    };
    if let Ok(reference) = url.parse::<GitReference>() {
        return Ok(LockedOrigin::Repository(reference));
    }
    if from.format() == SourceFormat::Directory {
        return Ok(LockedOrigin::Directory(from.file.clone()));
    }
    let place = match url.split('#').next().filter(|url| !url.starts_with("file:")) {
        Some(url) => LockedPlace::Url(url.to_owned()),
        None => LockedPlace::Path(from.file.clone()),
    };
    Ok(LockedOrigin::Archive(source_file(from, place), subdirectory))
}

fn source_file(from: &BuiltFrom, place: LockedPlace) -> LockedFile {
    let name = from.file.rsplit('/').next().unwrap_or_default().to_owned();
    LockedFile { name, digest: from.digest, size: None, place }
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
