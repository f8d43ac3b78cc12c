//! Opens what a recipe builds on, of whatever kind, and brings its layers into the store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::base::{self, Base};
use super::inputs::Described;
use super::progress::{Progress, Task};
use super::{Environment, NotBuilt};
use crate::base::evidence::Evidence;
use crate::base::facts::Facts;
use crate::base::scan::{self, ImageConfigFacts};
use crate::base::{BaseInventory, InventoryError};
use crate::failure::{Failure, Hinted, Result};
use crate::image::{BaseImage, ImageLayer};
use crate::layer::read::{self, Content};
use crate::layer::records;
use crate::lock::{ImageBase, LockedBase};
use crate::net::http::Http;
use crate::oci::Digest;
use crate::pypa::simple::unix_seconds;
use crate::recipe::{BaseDescription, Debian, RecordedInventory};
use crate::source::{self, Place, SourceImage};
use crate::store::Store;

/// What is built upon, before any layer of it is written.
pub enum Opened {
    /// Made of Debian packages.
    Debian(Box<Base>),
    /// An image that others made.
    Image(Box<OpenedImage>),
}

/// An image that is built upon.
pub struct OpenedImage {
    pub inventory: BaseInventory,
    source: SourceImage,
    /// Of its layers, unless the inventory was recorded and they have not been read.
    contents: Option<Vec<Content>>,
    python: Option<String>,
}

/// What lies below the layers that a build adds.
pub struct Below {
    /// The image that is built upon, where there is one.
    pub image: Option<BaseImage>,
    /// Layers that imgforge makes of packages.
    pub layers: Vec<ImageLayer>,
    pub facts: Facts,
}

impl Below {
    /// The layers' digests, bottom first.
    pub fn digests(&self) -> Vec<Digest> {
        let of_image = self.image.iter().flat_map(|image| &image.layers).map(|layer| layer.descriptor.digest);
        of_image.chain(self.layers.iter().map(|layer| layer.digest)).collect()
    }
}

/// A recorded inventory that is not, or no more, that of the image.
#[derive(Debug, thiserror::Error)]
#[error("the inventory that was recorded of `{place}` is not what the image has")]
pub struct OtherInventory {
    place: String,
}

impl Hinted for OtherInventory {
    fn hint(&self) -> Option<String> {
        Some(format!("record it again: `imgforge inspect {} --record FILE`", self.place))
    }
}

/// Opens what is `described`. Of packages nothing but releases and indexes is fetched, and not even these when they are
/// `locked`; an image's layers are read unless they were before, or what they hold was recorded.
pub fn open(
    described: &Described<'_>,
    locked: Option<&LockedBase>,
    http: &Http,
    environment: &Environment,
    progress: &dyn Progress,
) -> Result<Opened> {
    let Described { description, directory, python } = described;
    let place = match description {
        BaseDescription::Debian(debian) => {
            return open_packages(debian, directory, locked, http, &environment.store, progress);
        }
        BaseDescription::Registry { .. } => return Err(NotBuilt::Base { kind: "a registry" }.into()),
        BaseDescription::Layout { path, .. } => place("oci", directory, path)?,
        BaseDescription::Archive { path, .. } => archive(directory, path)?,
    };
    let source = source::open(&place, None)?;
    let (inventory, contents) = match description.inventory() {
        Some(recorded) => (recorded_inventory(recorded)?, None),
        None => {
            let contents = scan(&source, environment, progress)?;
            (inventory(&source, &contents, python.as_deref())?, Some(contents))
        }
    };
    Ok(Opened::Image(Box::new(OpenedImage { inventory, source, contents, python: python.clone() })))
}

fn open_packages(
    debian: &Debian,
    directory: &Path,
    locked: Option<&LockedBase>,
    http: &Http,
    store: &Store,
    progress: &dyn Progress,
) -> Result<Opened> {
    progress.stage("choosing the base's packages");
    let mut base = match locked {
        Some(LockedBase::Debian(decided)) => base::recall(debian, decided, http)?,
        Some(LockedBase::Image(_)) | None => base::open(debian, directory, http, store, super::now()?)?,
    };
    look_for_cuda(&mut base, http, store, progress)?;
    Ok(Opened::Debian(Box::new(base)))
}

/// Writes the layers of a base whose packages may carry CUDA, and reads them as those of any image: only libraries tell
/// what they are.
fn look_for_cuda(base: &mut Base, http: &Http, store: &Store, progress: &dyn Progress) -> Result<()> {
    if !base.may_have_cuda() {
        return Ok(());
    }
    let mut facts = Facts::default();
    for layer in base.write(http, store, progress)? {
        facts.stack(content(&layer.written.digest, store)?.facts);
    }
    let config = ImageConfigFacts::new(&base.inventory.architecture, []);
    let found = scan::scan(&facts, &config, None)?;
    base.inventory.cuda = found.cuda;
    base.inventory.default_toolkit = found.default_toolkit;
    Ok(())
}

/// What a layer of ours holds: it was noted when the layer was written, unless another version of imgforge wrote it.
pub(super) fn content(digest: &Digest, store: &Store) -> Result<Content> {
    learned(digest, store, records::content, |(content, _)| content)
}

/// What a proof needs of a layer of ours.
pub(super) fn evidence(digest: &Digest, store: &Store) -> Result<Evidence> {
    learned(digest, store, records::evidence, |(_, evidence)| evidence)
}

/// What is `noted` of a layer; where nothing is, or not any more, it is read again, by one at a time.
fn learned<T>(
    digest: &Digest,
    store: &Store,
    noted: impl Fn(&Store, &Digest) -> Option<T>,
    wanted: impl FnOnce((Content, Evidence)) -> T,
) -> Result<T> {
    if let Some(noted) = noted(store, digest) {
        return Ok(noted);
    }
    let _making = store.claim_patiently(&Digest::of(format!("what is noted of {digest}")));
    if let Some(noted) = noted(store, digest) {
        return Ok(noted);
    }
    let open = || Ok::<_, Failure>(store.open_blob(digest)?);
    let passed = read::read(open()?, &|_| ())?;
    let mut layer = passed.content?;
    read::complete(&mut layer, passed.unfinished, open, Failure::from)?;
    Ok(wanted(records::keep(store, digest, layer)?))
}

/// The place that a path and perhaps a tag name, seen from `directory`.
fn place(transport: &str, directory: &Path, path: &str) -> Result<Place> {
    let joined: PathBuf = directory.join(path);
    Ok(format!("{transport}:{}", joined.display()).parse()?)
}

/// What is in an archive, judged by the documents that it has.
fn archive(directory: &Path, path: &str) -> Result<Place> {
    let oci = place("oci-archive", directory, path)?;
    match source::open(&oci, None) {
        Err(source::SourceError::OtherArchive { .. }) => place("docker-archive", directory, path),
        _ => Ok(oci),
    }
}

fn recorded_inventory(recorded: &RecordedInventory) -> Result<BaseInventory, InventoryError> {
    BaseInventory::from_record(recorded.json())
}

/// What the layers of an image hold, bottom first.
pub fn scan(
    source: &SourceImage,
    environment: &Environment,
    progress: &dyn Progress,
) -> Result<Vec<Content>> {
    progress.stage("reading the base's layers");
    let size = source.layers.iter().map(|layer| layer.descriptor.size).sum();
    let meter = progress.start(Task::ReadLayers, &source.place, Some(size));
    Ok(source::scan(source, &environment.store, environment.threads, &|bytes| meter.add(bytes))?)
}

/// What is installed in an image; `python` is the version meant where there are several.
pub fn inventory(
    source: &SourceImage,
    contents: &[Content],
    python: Option<&str>,
) -> Result<BaseInventory, InventoryError> {
    let config = ImageConfigFacts::new(&source.architecture, source.env.iter().map(String::as_str));
    scan::scan(&stacked(contents), &config, python)
}

fn stacked(contents: &[Content]) -> Facts {
    Facts::stacked(contents.iter().map(|content| content.facts.clone()))
}

impl Opened {
    pub fn inventory(&self) -> &BaseInventory {
        match self {
            Self::Debian(base) => &base.inventory,
            Self::Image(image) => &image.inventory,
        }
    }

    /// When it was made, or the newest of its parts was published, in Unix seconds.
    pub fn published(&self) -> u64 {
        match self {
            Self::Debian(base) => base.decided.published(),
            Self::Image(image) => image.created(),
        }
    }

    /// What a lock keeps of it.
    pub fn locked(&self) -> LockedBase {
        match self {
            Self::Debian(base) => LockedBase::Debian(base.decided.clone()),
            Self::Image(image) => LockedBase::Image(ImageBase {
                manifest: image.source.digest.unwrap_or_else(|| Digest::of(&image.source.config)),
                inventory: Digest::of(image.inventory.to_record()),
            }),
        }
    }

    /// How many layers it has at most.
    pub fn layers(&self) -> usize {
        match self {
            Self::Debian(_) => base::MOST_LAYERS,
            Self::Image(image) => image.source.layers.len(),
        }
    }

    /// The variables that its containers start with.
    pub fn environment(&self) -> BTreeMap<String, String> {
        match self {
            Self::Debian(_) => BTreeMap::from([("LANG".to_owned(), "C.UTF-8".to_owned())]),
            Self::Image(image) => {
                let pairs = image.source.env.iter().filter_map(|entry| entry.split_once('='));
                pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
            }
        }
    }

    /// Brings into the store what it lacks of the layers.
    pub fn write(&self, http: &Http, environment: &Environment, progress: &dyn Progress) -> Result<Below> {
        match self {
            Self::Debian(base) => debian_layers(base, http, &environment.store, progress),
            Self::Image(image) => image.fetch(environment, progress),
        }
    }
}

fn debian_layers(base: &Base, http: &Http, store: &Store, progress: &dyn Progress) -> Result<Below> {
    let mut below = Below { image: None, layers: Vec::new(), facts: Facts::default() };
    for layer in base.write(http, store, progress)? {
        below.layers.push(ImageLayer {
            title: layer.title,
            media_type: layer.written.media_type,
            annotations: layer.written.annotations,
            digest: layer.written.digest,
            size: layer.written.size,
            diff_id: layer.written.diff_id,
            unpacked: layer.written.unpacked,
        });
        below.facts.stack(layer.written.facts);
    }
    Ok(below)
}

impl OpenedImage {
    fn fetch(&self, environment: &Environment, progress: &dyn Progress) -> Result<Below> {
        let contents = match &self.contents {
            Some(contents) => contents.clone(),
            None => self.scan_as_recorded(environment, progress)?,
        };
        let size = self.source.layers.iter().map(|layer| layer.descriptor.size).sum();
        let meter = progress.start(Task::ReadLayers, &self.source.place, Some(size));
        self.source.fetch_into(&environment.store, &|bytes| meter.add(bytes))?;
        Ok(Below { image: Some(self.source.base(&contents)), layers: Vec::new(), facts: stacked(&contents) })
    }

    /// Reads the layers that a recorded inventory spared so far, and holds them against it.
    fn scan_as_recorded(&self, environment: &Environment, progress: &dyn Progress) -> Result<Vec<Content>> {
        let contents = scan(&self.source, environment, progress)?;
        match inventory(&self.source, &contents, self.python.as_deref())? == self.inventory {
            true => Ok(contents),
            false => Err(OtherInventory { place: self.source.place.clone() }.into()),
        }
    }

    /// When its config says that it was created, in Unix seconds; 0 when it does not.
    fn created(&self) -> u64 {
        let config: Option<Value> = serde_json::from_slice(&self.source.config).ok();
        let created = config.as_ref().and_then(|config| config.get("created")).and_then(Value::as_str);
        created.and_then(unix_seconds).and_then(|time| u64::try_from(time).ok()).unwrap_or_default()
    }
}
