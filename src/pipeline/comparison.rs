//! Reads the two sides of a comparison, whatever they are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::image_files::{self, ImageFiles};
use super::platforms::one_of;
use super::{Locking, PlanOrder, Planned, Session, image_base, lock_file, plan_platform, read_inputs};
use crate::base::{InventoryError, scan};
use crate::compare::{self, Difference, FileState, LayerSummary, Summary, ToldEntries};
use crate::failure::{Context, Fault, Hinted, Result};
use crate::image;
use crate::layer::cache;
use crate::lock::{Lock, LockDocument, LockedBase};
use crate::observe::inventory_facts::InventoryFacts;
use crate::oci::image::from_json;
use crate::oci::{Architecture, EntryKind};
use crate::place::{ImagePlace, PlaceError};
use crate::plain_file;
use crate::plan::{CopiedFile, LayerPlan};
use crate::resolve::demand::soname;
use crate::source::{self, SourceLayer, SourceManifest};

/// A plan of more bytes is not read: that of a thousand wheels has 2 MB.
const LONGEST_PLAN: u64 = 16 << 20;

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// An image.
    Image(ImagePlace),
    /// The output of `imgforge plan --json`.
    Plan(PathBuf),
    /// A lock.
    Lock(PathBuf),
    /// A recipe, which is resolved.
    Recipe(PathBuf),
}

impl Side {
    /// The side that `text` names: the place of an image, a file of JSON, or a recipe.
    pub fn of(text: &str) -> Result<Self, PlaceError> {
        let place = text.parse();
        // What can be a file and a reference is the file that is there.
        let is_written_out = |place: &ImagePlace| !place.is_bare(text);
        match plain_file::read(Path::new(text), LONGEST_PLAN) {
            Err(_) if place.is_ok() => place.map(Self::Image),
            Ok(_) if place.as_ref().is_ok_and(is_written_out) => place.map(Self::Image),
            Ok(bytes) if bytes.trim_ascii_start().starts_with(b"{") => Ok(Self::Plan(text.into())),
            Ok(bytes) if Lock::is_begun(&bytes) => Ok(Self::Lock(text.into())),
            Err(_) if text.contains(':') => place.map(Self::Image),
            _ => Ok(Self::Recipe(text.into())),
        }
    }
}

/// The difference between two sides; of several platforms, that of `platform` or of this machine.
pub fn compare(
    before: &Side,
    after: &Side,
    platform: Option<Architecture>,
    session: &Session<'_>,
) -> Result<Difference> {
    let mut before = ReadSide::of(before, platform, session)?;
    let mut after = ReadSide::of(after, platform, session)?;
    if let (Some(before), Some(after)) = (&mut before.files, &mut after.files) {
        image_files::read_contents(before, after, session)?;
    }
    Ok(compare::compare(&before.summary(), &after.summary()))
}

/// A side that was read.
struct ReadSide {
    summary: Summary,
    /// The files of an image.
    files: Option<ImageFiles>,
}

impl ReadSide {
    fn of(side: &Side, platform: Option<Architecture>, session: &Session<'_>) -> Result<Self> {
        let summary = match side {
            Side::Image(place) => return of_image(place, platform, session),
            Side::Plan(path) => of_json(path, platform)?,
            Side::Lock(path) => of_lock(path, platform)?,
            Side::Recipe(path) => {
                let planned = plan_one(path, platform, session)?;
                Summary { layers: written_layers(&planned, session), ..summary_of(&planned) }
            }
        };
        Ok(Self { summary, files: None })
    }

    fn summary(self) -> Summary {
        match self.files {
            Some(files) => Summary { files: Some(files.told()), ..self.summary },
            None => self.summary,
        }
    }
}

fn of_image(place: &ImagePlace, platform: Option<Architecture>, session: &Session<'_>) -> Result<ReadSide> {
    let image = source::open(place, platform, session.sources())?;
    let contents = image_base::scan(&image, session)?;
    let inventory = match image_base::inventory(&image, &contents, None) {
        Ok(inventory) => Some(inventory),
        Err(InventoryError::NoPython | InventoryError::NoLibc) => None,
        Err(error) => return Err(error.into()),
    };
    let config: Map<String, Value> = from_json(&image.config).context("could not read the image's config")?;
    let mut summary = inventory.as_ref().map(Summary::of_image).unwrap_or_default();
    let facts = contents.iter().map(|content| content.facts.clone());
    let packages = scan::debian_packages(&InventoryFacts::stacked(facts));
    summary.system_packages = Some(ToldEntries { complete: true, entries: packages });
    summary.config = Some(compare::settings(&image::runtime_of(&config)?));
    summary.annotations = image.manifest.as_ref().map(annotations).transpose()?;
    let layer = |layer: &SourceLayer| LayerSummary {
        digest: layer.descriptor.digest(),
        size: layer.descriptor.size(),
    };
    let layers: Vec<LayerSummary> = image.layers.iter().map(layer).collect();
    summary.bytes.insert("compressed layers".into(), layers.iter().map(|layer| layer.size).sum());
    summary.bytes.insert("unpacked layers".into(), contents.iter().map(|content| content.unpacked).sum());
    summary.layers = Some(layers);
    let files = ImageFiles::read(image, inventory.as_ref(), &session.store)?;
    Ok(ReadSide { summary, files: Some(files) })
}

fn annotations(manifest: &SourceManifest) -> Result<ToldEntries<String>> {
    #[derive(Default, serde::Deserialize)]
    struct Annotated {
        #[serde(default)]
        annotations: BTreeMap<String, String>,
    }
    let Annotated { annotations } =
        from_json(&manifest.bytes).context("could not read the image's manifest")?;
    Ok(ToldEntries { complete: true, entries: annotations })
}

/// The layers of a plan, where all of them were written before.
fn written_layers(planned: &Planned, session: &Session<'_>) -> Option<Vec<LayerSummary>> {
    let layers = planned.plan.layers.iter().map(|layer| match layer {
        LayerPlan::Base(layer) => {
            Some(LayerSummary { digest: layer.descriptor.digest(), size: layer.descriptor.size() })
        }
        layer => {
            let written = cache::recall(&session.store, &layer.key())?;
            Some(LayerSummary { digest: written.digest, size: written.size })
        }
    });
    layers.collect()
}

fn of_lock(path: &Path, platform: Option<Architecture>) -> Result<Summary> {
    let locks = lock_file::read(path)?;
    let platform = match &locks {
        // It is that of any platform that it does not contradict.
        LockDocument::Single(_) => None,
        LockDocument::Platforms(locks) => one_of(&locks.keys().copied().collect::<Vec<_>>(), path, platform)?,
    };
    Ok(locks.lock(platform).map(of_one_lock).unwrap_or_default())
}

fn of_one_lock(lock: &Lock) -> Summary {
    let components = lock.component_versions().map(|(component, cuda_major, version)| {
        let name = compare::component_name(component.name(), &soname(component, version), cuda_major);
        (name, compare::Served { version: version.to_string(), from: String::new() })
    });
    let distributions = lock.distributions.iter();
    Summary {
        base: match &lock.base {
            LockedBase::Debian(_) => None,
            LockedBase::Image(image) => Some(image.manifest.to_string()),
        },
        distributions: distributions.map(|it| (it.name().to_string(), it.version().to_string())).collect(),
        components: components.collect(),
        system_packages: Some(told_packages(&lock.base)),
        ..Summary::default()
    }
}

/// The Debian packages that a base tells: of an image the ones that are added to it.
pub(super) fn told_packages(base: &LockedBase) -> ToldEntries<String> {
    let packages = base.packages().iter();
    ToldEntries {
        complete: matches!(base, LockedBase::Debian(_)),
        entries: packages.map(|package| (package.name.clone(), package.version.to_string())).collect(),
    }
}

/// The part of a plan's JSON that a comparison reads.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Printed {
    One { summary: Box<Summary> },
    Platforms { platforms: BTreeMap<String, PrintedPlatform> },
}

#[derive(serde::Deserialize)]
struct PrintedPlatform {
    summary: Summary,
}

/// A file that is no such plan.
#[derive(Debug, thiserror::Error)]
#[error("`{path}` is not a plan that imgforge printed")]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub struct NotAPlan {
    path: PathBuf,
}

impl Hinted for NotAPlan {
    fn hint(&self) -> Option<String> {
        Some("write it with `imgforge plan RECIPE --json > FILE`".into())
    }

    fn fault(&self) -> Fault {
        Fault::Input
    }
}

fn of_json(path: &Path, platform: Option<Architecture>) -> Result<Summary> {
    let bytes = plain_file::read(path, LONGEST_PLAN)
        .with_context(|| format!("could not read `{}`", path.display()))?;
    let not_a_plan = || NotAPlan { path: path.to_owned() };
    match serde_json::from_slice(&bytes).map_err(|_| not_a_plan())? {
        Printed::One { summary } => Ok(*summary),
        Printed::Platforms { mut platforms } => {
            let known: Vec<Architecture> =
                platforms.keys().filter_map(|name| Architecture::of_platform(name)).collect();
            let chosen = one_of(&known, path, platform)?.and_then(|it| platforms.remove(it.platform()));
            Ok(chosen.ok_or_else(not_a_plan)?.summary)
        }
    }
}

/// The plan of a recipe for one of its platforms.
fn plan_one(path: &Path, platform: Option<Architecture>, session: &Session<'_>) -> Result<Planned> {
    let inputs = read_inputs(path.into(), session)?;
    let platform = one_of(inputs.recipe.platforms.architectures(), path, platform)?;
    let inputs = platform.map_or_else(|| inputs.clone(), |platform| inputs.on(platform));
    let order = PlanOrder { recipe: path.into(), platforms: &[], locking: Locking::Preferred };
    plan_platform(inputs, &order, session)
}

/// The summary in a plan's JSON, for a later comparison.
pub fn summary_of(planned: &Planned) -> Summary {
    let mut summary = Summary::of_plan(&planned.base, &planned.resolution);
    let wheels: BTreeMap<&str, u64> =
        planned.plan.wheels().map(|wheel| (wheel.filename.as_str(), wheel.unpacked)).collect();
    summary.bytes.insert("unpacked wheels".into(), wheels.values().sum());
    if planned.system_packages.complete {
        summary.system_distributions = None;
    }
    summary.system_packages = Some(planned.system_packages.clone());
    summary.config = Some(compare::settings(&planned.plan.runtime));
    summary.annotations = Some(ToldEntries { complete: false, entries: planned.plan.annotations.clone() });
    let files = planned.plan.layers.iter().filter_map(|layer| match layer {
        LayerPlan::Files(layer) => Some(&layer.files),
        _ => None,
    });
    let files = files.flatten().filter_map(copied).collect();
    summary.files = Some(ToldEntries { complete: false, entries: files });
    summary
}

/// A file that the recipe copies.
fn copied(file: &CopiedFile) -> Option<(String, FileState)> {
    let entry = &file.entry;
    let (mode, size, target) = match &entry.kind {
        EntryKind::File { size } => (Some(entry.mode), *size, None),
        EntryKind::Symlink { target } => (None, 0, Some(target.clone())),
        EntryKind::Directory | EntryKind::Hardlink { .. } | EntryKind::Whiteout => return None,
    };
    Some((entry.path.clone(), FileState { mode, size, content: file.content, target }))
}
