//! A base that is an image: reads its layers, and brings them into the store.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use serde_json::{Map, Value};

use super::base_source::{BaseSource, DebianSource, ImageSource, OpenedBase};
use super::debian_lock::EarlierPackages;
use super::own_python::{OwnPython, OwnPythonError};
use super::progress::{Meter, Task};
use super::system_packages::AddedPackages;
use super::{Session, shared_records, system_packages};
use crate::base::scan::{self, ImageConfigFacts, ScannedInterpreter};
use crate::base::{BaseInventory, InventoryError};
use crate::failure::{Hinted, Result};
use crate::image;
use crate::layer::Written;
use crate::layer::read::LayerContent;
use crate::layer::{plain_tar, records};
use crate::lock::{DebianBase, ImageBase, LockedBase};
use crate::observe::inventory_facts::InventoryFacts;
use crate::oci::time::unix_seconds;
use crate::oci::{Descriptor, Digest};
use crate::place::ImagePlace;
use crate::plan::{BaseLayer, LayerPlan, PlannedBase};
use crate::recipe::RecipeInputs;
use crate::source::{self, SourceImage, SourceLayer};
use crate::store::Store;

/// A recorded inventory that is not, or no more, that of the image.
#[derive(Debug, thiserror::Error)]
#[error("the inventory that was recorded of `{place}` is not what the image has")]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub struct OtherInventory {
    place: String,
}

impl Hinted for OtherInventory {
    fn hint(&self) -> Option<String> {
        Some(format!("record it again: `imgforge inspect {} --record FILE`", self.place))
    }
}

/// Opens the image at `place`, and chooses the packages that the recipe adds to it, or takes those that were `locked`. Its
/// layers are read unless they were before, or its inventory is recorded.
pub(super) fn open(
    place: &ImagePlace,
    inputs: &RecipeInputs,
    own: Option<&OwnPython>,
    locked: Option<&ImageBase>,
    given_up: &BTreeSet<String>,
    session: &Session<'_>,
) -> Result<OpenedBase> {
    let image = source::open(place, inputs.platform, session.sources())?;
    let recorded = inputs.base.inventory();
    let recorded = recorded.map(|recorded| BaseInventory::from_record(recorded.json())).transpose()?;
    // Of several platforms it is recorded of one.
    let is_of_platform =
        |recorded: &BaseInventory| inputs.platform.is_none_or(|it| it == recorded.architecture);
    let recorded = recorded.filter(is_of_platform).filter(|_| own.is_none());
    let own = own.map(|own| Ok::<_, OwnPythonError>((own, own.scan(image.architecture)?))).transpose()?;
    let mut contents = match recorded {
        Some(_) => None,
        None => Some(scan_to_build(&image, session)?),
    };
    let locked = locked.and_then(|locked| locked.packages.as_ref());
    let locked = locked.map(|decided| EarlierPackages { decided, given_up });
    let added = system_packages::open(inputs, &image, locked, session)?;
    let inventory = planned_inventory(
        &image,
        recorded.as_ref(),
        (own.as_ref(), added.as_ref()),
        &mut contents,
        inputs,
        session,
    )?;
    let config: Map<String, Value> = serde_json::from_slice(&image.config)?;
    let layer = |layer: &SourceLayer| {
        LayerPlan::Base(BaseLayer { descriptor: layer.descriptor.clone(), diff_id: layer.diff_id })
    };
    let (packages, above, source) = match added {
        Some(AddedPackages { decided, layers, source, .. }) => (Some(decided), layers, source),
        None => (None, Vec::new(), DebianSource::default()),
    };
    let published = packages.as_ref().map_or(0, DebianBase::published);
    Ok(OpenedBase {
        planned: PlannedBase {
            inventory: inventory.clone(),
            layers: image.layers.iter().map(layer).chain(above).collect(),
            runtime: image::runtime_of(&config)?,
            config: Some(config.clone()),
        },
        published: created(&config).max(published),
        may_have_cuda: false,
        locked: LockedBase::Image(ImageBase {
            manifest: image.digest.unwrap_or_else(|| Digest::of(&image.config)),
            inventory: Digest::of(inventory.to_record()),
            packages,
        }),
        source: BaseSource::Image(Box::new(ImageSource {
            image,
            recorded,
            contents,
            python: inputs.python(),
            packages: source,
        })),
    })
}

/// The inventory of an image with the packages that are added to it: as it was recorded, or as its layers tell it.
fn planned_inventory(
    image: &SourceImage,
    recorded: Option<&BaseInventory>,
    (own, added): (Option<&(&OwnPython, ScannedInterpreter)>, Option<&AddedPackages>),
    contents: &mut Option<Vec<LayerContent>>,
    inputs: &RecipeInputs,
    session: &Session<'_>,
) -> Result<BaseInventory> {
    let added = added.filter(|added| added.may_change_inventory);
    if let (Some(recorded), None) = (recorded, added) {
        return Ok(recorded.clone());
    }
    let read = match contents.take() {
        Some(read) => read,
        None => scan_to_build(image, session)?,
    };
    let above = added.map(|added| added.write_early(image, session)).transpose()?.unwrap_or_default();
    let facts = read.iter().map(|content| content.facts.clone());
    let above = above.into_iter().map(|written| written.facts);
    let own_facts = own.map(|(own, _)| own.facts.clone());
    let facts = InventoryFacts::stacked(facts.chain(above).chain(own_facts));
    let asked = own.map(|(_, python)| python.version.clone()).or(inputs.python());
    let inventory = inventory_of(image, &facts, asked.as_deref())?;
    *contents = Some(read);
    Ok(inventory)
}

/// The time of creation in a config, in Unix seconds; 0 without one.
pub(super) fn created(config: &Map<String, Value>) -> u64 {
    let created = config.get("created").and_then(Value::as_str).and_then(unix_seconds);
    created.and_then(|time| u64::try_from(time).ok()).unwrap_or_default()
}

/// The contents of an image's layers, bottom first, as they are at its place now.
pub(super) fn scan(image: &SourceImage, session: &Session<'_>) -> Result<Vec<LayerContent>> {
    let reading = LayerReading::of(image, session, ("reading the layers", Task::ReadLayers));
    Ok(source::scan(image, &session.store, session.threads, &|bytes| reading.add(bytes))?)
}

/// The same of a base, whose layers are taken from the store where that has them.
fn scan_to_build(image: &SourceImage, session: &Session<'_>) -> Result<Vec<LayerContent>> {
    let layers = image.layers.iter().map(|layer| (layer.descriptor.digest(), layer.diff_id));
    shared_records::bring_all_facts(layers, session);
    let reading = LayerReading::of(image, session, ("reading the base's layers", Task::ReadLayers));
    Ok(source::scan_to_build(image, &session.store, session.threads, &|bytes| reading.add(bytes))?)
}

/// The reading of an image's layers, which is told when the first bytes come: mostly nothing has to be read.
struct LayerReading<'a> {
    image: &'a SourceImage,
    session: &'a Session<'a>,
    /// The words on it, for the stage and for the task.
    told: (&'static str, Task),
    meter: OnceLock<Box<dyn Meter>>,
}

impl<'a> LayerReading<'a> {
    fn of(image: &'a SourceImage, session: &'a Session<'a>, told: (&'static str, Task)) -> Self {
        Self { image, session, told, meter: OnceLock::new() }
    }

    fn add(&self, bytes: u64) {
        let begin = || {
            let (stage, task) = self.told;
            self.session.progress.stage(stage);
            let size = self.image.layers.iter().map(|layer| layer.descriptor.size()).sum();
            self.session.progress.start(task, &self.image.place, Some(size))
        };
        self.meter.get_or_init(begin).add(bytes);
    }
}

/// The inventory of an image; `python` is the version that is meant where there are several.
pub(super) fn inventory(
    image: &SourceImage,
    contents: &[LayerContent],
    python: Option<&str>,
) -> Result<BaseInventory, InventoryError> {
    let facts = InventoryFacts::stacked(contents.iter().map(|content| content.facts.clone()));
    inventory_of(image, &facts, python)
}

fn inventory_of(
    image: &SourceImage,
    facts: &InventoryFacts,
    python: Option<&str>,
) -> Result<BaseInventory, InventoryError> {
    let config = ImageConfigFacts::new(image.architecture, image.env.iter().map(String::as_str));
    scan::scan(facts, &config, python)
}

impl ImageSource {
    /// The layers, read where they never were. Their blobs may stay where they are until somebody wants them.
    pub(super) fn describe(&self, session: &Session<'_>) -> Result<Vec<Written>> {
        let contents = match &self.contents {
            Some(contents) => contents.clone(),
            None => self.scan_as_recorded(session)?,
        };
        let layers = self.image.layers.iter().zip(contents);
        Ok(layers.map(|(layer, content)| written(&layer.descriptor, layer.diff_id, content)).collect())
    }

    /// Brings the layers into the store, where it lacks them.
    pub(super) fn fetch(&self, session: &Session<'_>) -> Result<()> {
        bring(&self.image, session)
    }

    /// Reads the layers that a recorded inventory spared so far, and compares them with it.
    fn scan_as_recorded(&self, session: &Session<'_>) -> Result<Vec<LayerContent>> {
        let contents = scan_to_build(&self.image, session)?;
        let found = inventory(&self.image, &contents, self.python.as_deref())?;
        match self.recorded.as_ref().is_none_or(|recorded| *recorded == found) {
            true => Ok(contents),
            false => Err(OtherInventory { place: self.image.place.clone() }.into()),
        }
    }
}

/// Brings the layers of an image into the store, where it lacks them.
pub(super) fn bring(image: &SourceImage, session: &Session<'_>) -> Result<()> {
    let reading = LayerReading::of(image, session, ("copying the layers into the store", Task::KeepLayers));
    Ok(image.fetch_into(&session.store, &|bytes| reading.add(bytes))?)
}

/// Brings the layers of an image into the store whose contents it has in no form: the tar of an engine may be in a layer that
/// imgforge wrote.
pub(super) fn bring_contents(image: &SourceImage, session: &Session<'_>) -> Result<()> {
    let is_missing = |digest: &Digest| plain_tar::stored(&session.store, digest).is_none();
    if !image.layers.iter().any(|layer| is_missing(&layer.descriptor.digest())) {
        return Ok(());
    }
    let reading = LayerReading::of(image, session, ("copying the layers into the store", Task::KeepLayers));
    Ok(image.fetch_some(&is_missing, &session.store, &|bytes| reading.add(bytes))?)
}

/// A layer of an image whose blob is in the store, as if imgforge had written it.
pub(super) fn stored(layer: &BaseLayer, store: &Store) -> Result<Written> {
    Ok(written(&layer.descriptor, layer.diff_id, records::content_of(store, &layer.descriptor.digest())?))
}

fn written(descriptor: &Descriptor, diff_id: Digest, content: LayerContent) -> Written {
    Written {
        media_type: descriptor.media_type().clone(),
        annotations: descriptor.annotations(),
        digest: descriptor.digest(),
        size: descriptor.size(),
        diff_id,
        unpacked: content.unpacked,
        facts: content.facts,
    }
}
