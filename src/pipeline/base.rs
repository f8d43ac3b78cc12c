//! Opens the base of a recipe, of whatever kind, and brings its layers into the store.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::base_source::{BaseSource, DebianSource, OpenedBase};
use super::debian_lock::EarlierPackages;
use super::own_python::{self, OwnPython};
use super::{Session, debian, image_base, system_packages};
use crate::base::scan::{self, ImageConfigFacts, ScannedInterpreter};
use crate::bootstrap::inventory::with_cuda;
use crate::failure::{Failure, Result};
use crate::layer::{Written, records};
use crate::lock::LockedBase;
use crate::observe::inventory_facts::InventoryFacts;
use crate::oci::Digest;
use crate::place::ImagePlace;
use crate::plan::LayerPlan;
use crate::recipe::{BaseDescription, Debian, RecipeInputs};
use crate::source::{self, SourceImage};

/// Opens the base of a recipe. Of packages nothing but releases and indexes is fetched, and not even these when they are
/// `locked`; an image's layers are read unless they were before, or its inventory was recorded. Of what is locked the
/// packages that are `given_up` are chosen anew.
pub(super) fn open(
    inputs: &RecipeInputs,
    own: Option<&OwnPython>,
    locked: Option<&LockedBase>,
    given_up: &BTreeSet<String>,
    session: &Session<'_>,
) -> Result<OpenedBase> {
    let mut base = open_below(inputs, own, locked, given_up, session)?;
    base.planned.layers.extend(own.map(|own| own.layer.clone()));
    if base.may_have_cuda {
        look_for_cuda(&mut base, session)?;
    }
    Ok(base)
}

/// Opens what a Python of the recipe's `own` is put on.
fn open_below(
    inputs: &RecipeInputs,
    own: Option<&OwnPython>,
    locked: Option<&LockedBase>,
    given_up: &BTreeSet<String>,
    session: &Session<'_>,
) -> Result<OpenedBase> {
    let directory = &inputs.base_directory;
    let place = match &inputs.base {
        BaseDescription::Debian(debian) => {
            let own = own.map(|own| own.scan(debian.architecture)).transpose()?;
            return open_packages(debian, directory, own, locked, given_up, session);
        }
        BaseDescription::Registry { reference, digest, .. } => registry(reference, *digest, locked)?,
        BaseDescription::Layout { path, .. } => place("oci", directory, path)?,
        BaseDescription::Archive { path, .. } => archive(directory, path, session)?,
        BaseDescription::Engine { place } => place.parse()?,
    };
    let locked = match locked {
        Some(LockedBase::Image(image)) => Some(image),
        Some(LockedBase::Debian(_)) | None => None,
    };
    image_base::open(&place, inputs, own, locked, given_up, session)
}

fn open_packages(
    debian: &Debian,
    directory: &Path,
    own: Option<ScannedInterpreter>,
    locked: Option<&LockedBase>,
    given_up: &BTreeSet<String>,
    session: &Session<'_>,
) -> Result<OpenedBase> {
    session.progress.stage("choosing the base's packages");
    match locked {
        Some(LockedBase::Debian(decided)) if given_up.is_empty() => {
            debian::recall(debian, directory, own, decided, &session.http)
        }
        Some(LockedBase::Debian(decided)) => {
            debian::open(debian, directory, own, Some(EarlierPackages { decided, given_up }), session)
        }
        Some(LockedBase::Image(_)) | None => debian::open(debian, directory, own, None, session),
    }
}

/// Writes the layers of a base whose packages may carry CUDA, and reads them as those of any image: only the libraries
/// themselves tell their versions.
fn look_for_cuda(base: &mut OpenedBase, session: &Session<'_>) -> Result<()> {
    let mut facts = InventoryFacts::default();
    for written in base.source.write(&base.planned.layers, session)? {
        facts.stack(records::content_of(&session.store, &written.digest)?.facts);
    }
    let inventory = &mut base.planned.inventory;
    let python = inventory.python.clone();
    let scanned = scan::scan(&facts, &ImageConfigFacts::new(inventory.architecture, []), Some(&python))?;
    *inventory = with_cuda(inventory.clone(), scanned);
    Ok(())
}

/// The place that a path and perhaps a tag name, seen from `directory`.
fn place(transport: &str, directory: &Path, path: &str) -> Result<ImagePlace> {
    let joined: PathBuf = directory.join(path);
    Ok(format!("{transport}:{}", joined.display()).parse()?)
}

/// The place of an image in a registry: the one that was locked, or else the one that the description names by its digest.
fn registry(reference: &str, digest: Option<Digest>, locked: Option<&LockedBase>) -> Result<ImagePlace> {
    let ImagePlace::Registry(image) = format!("docker://{reference}").parse()? else {
        return Err(Failure::new(format!("`{reference}` names no image of a registry")));
    };
    let locked = match locked {
        Some(LockedBase::Image(image)) => Some(image.manifest),
        Some(LockedBase::Debian(_)) | None => None,
    };
    Ok(ImagePlace::Registry(match locked.or(digest) {
        Some(digest) => image.with_digest(digest),
        None => image,
    }))
}

/// An archive's place, of the kind that its documents show.
fn archive(directory: &Path, path: &str, session: &Session<'_>) -> Result<ImagePlace> {
    let oci = place("oci-archive", directory, path)?;
    match source::open(&oci, None, session.sources()) {
        Err(source::SourceError::OtherArchive { .. }) => place("docker-archive", directory, path),
        _ => Ok(oci),
    }
}

impl BaseSource {
    /// Writes `layers`, the base's, where the store lacks them. Those of an image may stay at its place.
    pub(super) fn write(&self, layers: &[LayerPlan], session: &Session<'_>) -> Result<Vec<Written>> {
        match layers {
            [below @ .., LayerPlan::Python(own)] => {
                let mut written = self.write_below(below, session)?;
                written.push(own_python::write(own, session)?);
                Ok(written)
            }
            below => self.write_below(below, session),
        }
    }

    fn write_below(&self, layers: &[LayerPlan], session: &Session<'_>) -> Result<Vec<Written>> {
        match self {
            Self::Debian(packages) => with_packages(Vec::new(), layers, packages, session),
            Self::Image(image) => {
                let (_, added) = system_packages::split(layers)?;
                if !added.is_empty() && image.packages.recall(added, session).is_none() {
                    // Packages are added to what its files say.
                    image.fetch(session)?;
                }
                with_packages(image.describe(session)?, layers, &image.packages, session)
            }
            Self::Store => from_store(layers, session),
        }
    }

    /// Tells of what `layers` lack that nobody here has made: those of a finished image.
    pub(super) fn tell(&self, layers: &[LayerPlan], session: &Session<'_>) {
        let packages = match self {
            Self::Debian(packages) => packages,
            Self::Image(image) => &image.packages,
            Self::Store => return,
        };
        if let Some(layer) = layers.iter().rfind(|layer| matches!(layer, LayerPlan::Debian(_))) {
            packages.tell(&layer.key(), session);
        }
    }

    /// Brings all of them into the store.
    pub(super) fn bring(&self, session: &Session<'_>) -> Result<()> {
        match self {
            Self::Image(image) => image.fetch(session),
            Self::Debian(_) | Self::Store => Ok(()),
        }
    }

    /// The image that has the layers which are not in the store.
    pub(super) fn origin(&self) -> Option<&SourceImage> {
        match self {
            Self::Image(image) => Some(&image.image),
            Self::Debian(_) | Self::Store => None,
        }
    }
}

/// The layers of an image that are `written`, and those of the packages that `layers` add to it.
fn with_packages(
    mut written: Vec<Written>,
    layers: &[LayerPlan],
    packages: &DebianSource,
    session: &Session<'_>,
) -> Result<Vec<Written>> {
    let (below, added) = system_packages::split(layers)?;
    if !added.is_empty() {
        written.extend(packages.write(added, &below, session)?);
    }
    Ok(written)
}

/// The layers of a base of which the store has the layers themselves, or the packages.
fn from_store(layers: &[LayerPlan], session: &Session<'_>) -> Result<Vec<Written>> {
    let of_image = layers.iter().filter_map(|layer| match layer {
        LayerPlan::Base(layer) => Some(image_base::stored(layer, &session.store)),
        _ => None,
    });
    with_packages(of_image.collect::<Result<_>>()?, layers, &DebianSource::default(), session)
}
