//! The pipeline: a recipe becomes an image.
#![allow(clippy::disallowed_methods, reason = "this is where the stages meet the machine")]

mod base;
mod check;
mod comparison;
mod inputs;
mod inspect;
mod listed;
mod locking;
mod opened;
mod outlines;
mod progress;
mod work;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use uv_normalize::PackageName;

use crate::base::facts::Facts;
use crate::base::{BaseInventory, InventoryError};
use crate::check::Report;
use crate::destination::{self, Destination};
use crate::elf::{Architecture, Ldconfig};
use crate::failure::{Context, Failure, Fault, Hinted, Result};
use crate::image::{self, BaseImage, Image, ImageLayer, Settings};
use crate::layer::bytecode::{self, BaseInterpreter, Compiler};
use crate::layer::files::{Copy, Files};
use crate::layer::{Form, Written, generated, wheels};
use crate::lock::{self, Change, Decided, Lock, Meaning};
use crate::net::config;
use crate::net::http::{Download, Http};
use crate::net::index::PackageIndex;
use crate::oci::Digest;
use crate::oci::image::RuntimeConfig;
use crate::plan::{self, Limits, SystemChoices, WheelInstall, WheelLayer};
use crate::pypa::target::Target;
use crate::recipe::{Compression, Constrain, ExternallyManaged, Timestamp};
use crate::resolve::{self, Policies, Preferences, Request, Resolution};
use crate::store::Store;
use inputs::Inputs;
use listed::Wheels;
use locking::{Held, Prior};
use opened::{Below, Opened};
use outlines::Outlines;
use work::{Attempt, Fetch, Job};

pub use self::check::{CheckFailed, Checked, write_picture};
pub use base::BaseLayer;
pub use comparison::{NotAPlan, Side, compare, summary_of};
pub use inputs::InputError;
pub use inspect::{describe, inspect};
pub use listed::ListedError;
pub use locking::{LockFileError, Locking, Upgrade};
pub use opened::OtherInventory;
pub use outlines::{NoHash, PrivateCuda};
pub use progress::{Meter, Progress, Task};

/// Part of every layer's key: raised when the same inputs shall give other bytes.
const LAYER_FORMAT: u32 = 6;

/// What the process gives a build.
#[derive(Debug)]
pub struct Environment {
    pub store: Store,
    /// Whether only the store is asked.
    pub offline: bool,
    /// How many layers are written at once. It has no influence on their bytes.
    pub threads: usize,
    /// <https://reproducible-builds.org/specs/source-date-epoch/>
    pub source_date_epoch: Option<u64>,
}

/// What to build.
#[derive(Debug)]
pub struct BuildOrder<'a> {
    pub recipe: &'a Path,
    /// Where to publish; the default destination when empty.
    pub destinations: &'a [Destination],
    pub locking: Locking,
    pub checking: Checking,
    pub environment: Environment,
}

/// Whether a build proves that its image loads before it publishes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checking {
    Refuse,
    Skip,
}

/// What to lock.
#[derive(Debug)]
pub struct LockOrder<'a> {
    pub recipe: &'a Path,
    pub upgrade: Upgrade,
    pub environment: Environment,
}

/// A lock that is beside its recipe now.
pub struct Locked {
    pub path: PathBuf,
    pub lock: Lock,
    /// Whether the file is another than before.
    pub written: bool,
    /// What moved since the lock before, if there was one.
    pub changes: Vec<Change>,
}

/// Everything that was decided before anything is written.
pub struct Planned {
    pub name: String,
    pub base: BaseInventory,
    pub resolution: Resolution,
    pub layers: Vec<WheelLayer>,
    /// The unpacked size of each wheel in bytes, by file name.
    pub sizes: BTreeMap<String, u64>,
    /// What each framework would have brought as its own CUDA, in bytes unpacked.
    pub private: PrivateCuda,
    /// When the newest of the inputs was made, in Unix seconds; `SOURCE_DATE_EPOCH` where that is set.
    pub created: u64,
    opened: Opened,
    inputs: Inputs,
    http: Arc<Http>,
    wheels: Wheels,
}

/// What a build made.
pub struct Built {
    pub planned: Planned,
    pub image: Image,
    /// What the check found, unless it was skipped: no errors.
    pub report: Option<Report>,
    /// Where it was published.
    pub destinations: Vec<Destination>,
}

/// Builds what `order` asks for and publishes it.
pub fn build(order: &BuildOrder<'_>, progress: &dyn Progress) -> Result<Built> {
    let environment = &order.environment;
    let planned = plan(order.recipe, order.locking, environment, progress)?;
    warn_of_zstd(&planned, order.destinations, progress);
    let (below, layers) = write_layers(&planned, environment, progress)?;
    let image = image::assemble(
        below.as_ref(),
        layers,
        &settings(&planned, &|of_base| runtime_config(&planned, of_base)),
    )?;
    let report = match order.checking {
        Checking::Refuse => Some(self::check::of_image(&planned, &image, environment, progress)?),
        Checking::Skip => None,
    };
    let destinations = match order.destinations {
        [] => vec![default_destination(&planned.name)],
        destinations => destinations.to_vec(),
    };
    for destination in &destinations {
        progress.stage(&format!("publishing {destination}"));
        destination::publish(&image, destination, &planned.name, &environment.store)?;
    }
    Ok(Built { planned, image, report, destinations })
}

/// Says before anything is written who will not load what is asked for.
fn warn_of_zstd(planned: &Planned, destinations: &[Destination], progress: &dyn Progress) {
    let is_archive = |destination: &Destination| matches!(destination, Destination::OciArchive { .. });
    if matches!(form(planned), Form::Zstd { .. }) && destinations.iter().any(is_archive) {
        progress.warn(
            "Docker before 23 does not load layers of zstd (any Docker loads those of `compression: gzip`)",
        );
    }
}

/// Decides everything about the recipe at `path`, or recalls it from the lock beside it; writes no layer.
///
/// Deciding fetches indexes and metadata. A lock that agrees with the recipe makes that needless; one that does not is an
/// error if it is required.
pub fn plan(
    path: &Path,
    locking: Locking,
    environment: &Environment,
    progress: &dyn Progress,
) -> Result<Planned> {
    let inputs = Inputs::read(path)?;
    let meaning = inputs.meaning()?;
    let stale = |keys| LockFileError::Stale { path: locking::path(path), recipe: path.to_owned(), keys };
    match (Held::read(path, &meaning)?, locking) {
        (Held::Agrees(lock), locking) => match recall(inputs, &lock, path, environment, progress) {
            Err(error) if locking == Locking::Preferred && is_of_another_base(&error) => {
                progress.warn(&format!("{error:#}"));
                let prior = Prior::of(&lock, &meaning, &Upgrade::Only(BTreeSet::new()));
                Ok(decide(Inputs::read(path)?, prior, environment, progress)?.planned)
            }
            recalled => recalled,
        },
        (Held::Differs(_, keys), Locking::Required) => Err(stale(keys).into()),
        (Held::Nothing, Locking::Required) => {
            Err(LockFileError::Missing { path: locking::path(path), recipe: path.to_owned() }.into())
        }
        (Held::Differs(lock, keys), Locking::Preferred) => {
            let stale = stale(keys);
            let hint = stale.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
            progress.warn(&format!("{stale}{hint}"));
            let prior = Prior::of(&lock, &meaning, &Upgrade::Only(BTreeSet::new()));
            Ok(decide(inputs, prior, environment, progress)?.planned)
        }
        (Held::Nothing, Locking::Preferred) => {
            Ok(decide(inputs, Prior::default(), environment, progress)?.planned)
        }
    }
}

/// Decides what the lock beside a recipe leaves open or `upgrade` gives up, and writes the lock.
pub fn lock(order: &LockOrder<'_>, progress: &dyn Progress) -> Result<Locked> {
    let inputs = Inputs::read(order.recipe)?;
    let meaning = inputs.meaning()?;
    let held = match Held::read(order.recipe, &meaning) {
        // Nothing of it is kept.
        Err(LockFileError::Unusable { .. }) if order.upgrade == Upgrade::Everything => Held::Nothing,
        held => held?,
    };
    locking::check_names(&order.upgrade, &inputs, held.lock())?;
    let before = match held {
        Held::Agrees(lock) if order.upgrade == Upgrade::Only(BTreeSet::new()) => {
            let again = Inputs::read(order.recipe)?;
            match recall(again, &lock, order.recipe, &order.environment, progress) {
                Ok(_) => {
                    let path = locking::path(order.recipe);
                    return Ok(Locked { path, lock, written: false, changes: Vec::new() });
                }
                Err(error) if is_of_another_base(&error) => Some(lock),
                Err(error) => return Err(error),
            }
        }
        Held::Agrees(lock) | Held::Differs(lock, _) => Some(lock),
        Held::Nothing => None,
    };
    let prior = before.as_ref().map(|lock| Prior::of(lock, &meaning, &order.upgrade));
    let decision = decide(inputs, prior.unwrap_or_default(), &order.environment, progress)?;
    let lock = decision.lock(meaning)?;
    let changes = before.map(|before| lock::changes(&before, &lock)).unwrap_or_default();
    let path = locking::path(order.recipe);
    Ok(Locked { written: locking::write(&path, &lock)?, path, lock, changes })
}

/// Whether a lock could not be recalled because the base is another than it was locked with.
fn is_of_another_base(error: &Failure) -> bool {
    matches!(error.downcast_ref(), Some(LockFileError::OtherBase { .. }))
}

/// A plan that was made anew.
struct Decision {
    planned: Planned,
    /// When the newest of the inputs was published, in Unix seconds.
    published: u64,
}

impl Decision {
    /// The lock of all of it, for a recipe that means `meaning`.
    fn lock(&self, meaning: Meaning) -> Result<Lock> {
        let planned = &self.planned;
        let decided = Decided {
            created: Timestamp::from_unix_seconds(self.published),
            recipe: meaning,
            private_cuda: planned.private.by_framework.clone(),
            base: planned.opened.locked(),
        };
        Ok(Lock::new(decided, &planned.resolution, &planned.sizes)?)
    }
}

/// Decides everything about `inputs`, trying first what `prior` has.
fn decide(
    inputs: Inputs,
    prior: Prior,
    environment: &Environment,
    progress: &dyn Progress,
) -> Result<Decision> {
    let (http, indexes) = connect(&inputs, environment)?;

    let base = opened::open(&inputs.described(), prior.base.as_ref(), &http, environment, progress)?;
    let inventory = base.inventory().clone();
    check_python(&inputs, &inventory)?;
    let target = inventory.target()?;

    progress.stage("resolving distributions and components");
    let request = request(&inputs, &inventory, &target, prior.preferences);
    let catalog = PackageIndex::new(Arc::clone(&http), environment.store.clone(), indexes);
    let resolution = resolve::resolve(&request, &catalog)?;
    check_hashes(&inputs, &resolution)?;
    let Outlines { wheels, urls, private } = Outlines::read(&resolution, &catalog)?;

    let layers = plan::wheel_layers(&resolution, &wheels, &inventory.scheme, &limits(&inputs, &base));
    let published = published(&base, &resolution);
    let planned = Planned {
        name: inputs.name.clone(),
        base: inventory,
        created: environment.source_date_epoch.unwrap_or(published),
        sizes: sizes(wheels),
        private,
        layers,
        resolution,
        opened: base,
        inputs,
        http,
        wheels: Wheels::At(urls),
    };
    Ok(Decision { planned, published })
}

/// What was decided about `inputs` when `lock` was made; asks nobody.
fn recall(
    inputs: Inputs,
    lock: &Lock,
    recipe: &Path,
    environment: &Environment,
    progress: &dyn Progress,
) -> Result<Planned> {
    let (http, indexes) = connect(&inputs, environment)?;
    let opened = opened::open(&inputs.described(), Some(&lock.base), &http, environment, progress)?;
    let base = opened.inventory().clone();
    let stale = || LockFileError::OtherBase { path: locking::path(recipe), recipe: recipe.to_owned() };
    if opened.locked() != lock.base {
        return Err(stale().into());
    }
    check_python(&inputs, &base)?;
    let driver = inputs.recipe.cuda.driver.as_ref().map(|driver| &driver.value);
    let resolution = lock.resolution(&base, driver)?.ok_or_else(stale)?;
    let wheels = lock.wheels();
    let layers = plan::wheel_layers(&resolution, &wheels, &base.scheme, &limits(&inputs, &opened));
    let published = u64::try_from(lock.created.unix_seconds()).unwrap_or_default();
    Ok(Planned {
        name: inputs.name.clone(),
        base,
        created: environment.source_date_epoch.unwrap_or(published),
        sizes: sizes(wheels),
        private: PrivateCuda { by_framework: lock.private_cuda.clone() },
        layers,
        resolution,
        opened,
        inputs,
        http,
        wheels: Wheels::ListedBy(indexes),
    })
}

/// The network, and the package indexes in it; nothing is asked yet.
fn connect(inputs: &Inputs, environment: &Environment) -> Result<(Arc<Http>, Vec<config::Index>)> {
    let machine = config::Machine::here();
    let http = Arc::new(Http::new(http_settings(environment.offline, machine.netrc()))?);
    let indexes = indexes(inputs, &machine)?;
    Ok((http, indexes))
}

/// The unpacked size of each wheel in bytes, by file name.
fn sizes(wheels: plan::Wheels) -> BTreeMap<String, u64> {
    wheels.into_iter().map(|(name, (_, size))| (name, size)).collect()
}

/// An input that asks for something a later version will do.
#[derive(Debug, thiserror::Error)]
pub enum NotBuilt {
    #[error("a base from {kind} is not built yet; layouts, archives and Debian packages are")]
    Base { kind: &'static str },
}

impl Hinted for NotBuilt {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Base { .. } => {
                "copy it with `skopeo copy docker://NAME oci:base`, and write `base: oci:base`".into()
            }
        })
    }

    fn fault(&self) -> Fault {
        Fault::Input
    }
}

fn http_settings(offline: bool, netrc: Option<String>) -> crate::net::http::Settings {
    crate::net::http::Settings { offline, netrc, ..Default::default() }
}

/// Now, in Unix seconds: what says whether a release is still valid.
fn now() -> Result<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    Ok(since.as_secs())
}

fn check_python(inputs: &Inputs, base: &BaseInventory) -> Result<(), InventoryError> {
    match &inputs.recipe.python.version {
        Some(asked) if !base.python.parse().is_ok_and(|version| asked.admits(&version)) => {
            Err(InventoryError::OtherPython { found: base.python.clone(), asked: asked.value.to_string() })
        }
        _ => Ok(()),
    }
}

fn indexes(inputs: &Inputs, machine: &config::Machine<'_>) -> Result<Vec<config::Index>> {
    let mut indexes: Vec<config::Index> = inputs
        .recipe
        .indexes
        .iter()
        .map(|index| config::Index {
            packages: Some(index.packages.clone()).filter(|packages| !packages.is_empty()),
            ..config::Index::new(index.url.value.clone())
        })
        .collect();
    indexes.extend(inputs.extra_index_urls.iter().cloned().map(config::Index::new));
    match &inputs.index_url {
        Some(url) => indexes.push(config::Index::new(url.clone())),
        None => indexes.extend(config::indexes(machine)?),
    }
    Ok(indexes)
}

fn request<'a>(
    inputs: &Inputs,
    base: &'a BaseInventory,
    target: &'a Target,
    preferences: Preferences,
) -> Request<'a> {
    let cuda = &inputs.recipe.cuda;
    Request {
        target,
        base,
        roots: inputs.roots.clone(),
        policies: Policies {
            default: cuda.policy,
            exceptions: cuda
                .components
                .iter()
                .map(|(component, policy)| (*component, policy.value))
                .collect(),
        },
        frameworks: inputs.recipe.frameworks.keys().cloned().collect(),
        constraints: inputs.constraints.clone(),
        exclude_newer: inputs.recipe.exclude_newer.map(|time| time.unix_seconds()),
        preferences,
        driver: cuda.driver.as_ref().map(|driver| driver.value.clone()),
    }
}

/// A wheel that a requirements file does not allow.
#[derive(Debug, thiserror::Error)]
#[error("`{wheel}` has none of the hashes that the requirements files give for `{name}`")]
pub struct HashNotAllowed {
    wheel: String,
    name: PackageName,
}

impl Hinted for HashNotAllowed {
    fn hint(&self) -> Option<String> {
        Some("add its hash with `--hash=sha256:…`, or pin the version whose hashes are there".into())
    }
}

fn check_hashes(inputs: &Inputs, resolution: &Resolution) -> Result<(), HashNotAllowed> {
    for distribution in &resolution.distributions {
        let Some(allowed) = inputs.hashes.get(&distribution.name) else { continue };
        if !distribution.wheel.sha256.is_some_and(|digest| allowed.contains(&digest)) {
            let wheel = distribution.wheel.filename.to_string();
            return Err(HashNotAllowed { wheel, name: distribution.name.clone() });
        }
    }
    Ok(())
}

/// Beside wheels, an image has a layer of system files, and others where there is something in them: the recipe's own
/// files, and what the base has and the image hides. No image has more layers than docker takes.
fn limits(inputs: &Inputs, opened: &Opened) -> Limits {
    const MOST: usize = 125;
    let layers = &inputs.recipe.layers;
    let others = 2 + usize::from(!inputs.recipe.files.is_empty());
    let budget = usize::from(layers.budget).min(MOST.saturating_sub(opened.layers()));
    Limits {
        budget: budget.saturating_sub(others).max(1),
        max_size: layers.max_size.bytes(),
        bytecode: inputs.recipe.python.bytecode.then(|| opened.inventory().python.clone()),
    }
}

/// When the newest of the inputs was published, in Unix seconds.
fn published(base: &Opened, resolution: &Resolution) -> u64 {
    let uploads = resolution.distributions.iter().filter_map(|distribution| distribution.wheel.upload_time);
    let uploaded = uploads.filter_map(|time| u64::try_from(time).ok()).max().unwrap_or_default();
    uploaded.max(base.published())
}

fn write_layers(
    planned: &Planned,
    environment: &Environment,
    progress: &dyn Progress,
) -> Result<(Option<BaseImage>, Vec<ImageLayer>)> {
    let store = &environment.store;
    let files = recipe_files(planned)?;
    let form = form(planned);
    progress.stage("writing layers");
    let (below, wheels) = write_base_and_wheels(planned, &form, environment, progress)?;
    let mut stack = Stack { layers: below.layers, facts: below.facts };
    let removals = plan::removals(&planned.resolution, &planned.base, planned.created);
    if !removals.is_empty() {
        let key = Digest::of(format!("{LAYER_FORMAT} {form:?} {removals:?}"));
        let written = once(store, &key, || Ok(generated::write(&removals, store, &form)?))?;
        stack.push("what is hidden of the base".into(), written);
    }
    for (layer, written) in planned.layers.iter().zip(wheels) {
        stack.push(layer.title(), written);
    }
    if !files.is_empty() {
        let content = files.key()?;
        let key = Digest::of(format!("{LAYER_FORMAT} {form:?} {content}"));
        let written = once(store, &key, || {
            let written = files.write(store, &form)?;
            files.check_unchanged(&content)?;
            Ok(written)
        })?;
        stack.push("files of the recipe".into(), written);
    }
    let written = write_system(planned, &stack.facts, &form, store)?;
    stack.push("system files".into(), written);
    Ok((below.image, stack.layers))
}

/// Layers, bottom first, and what the loader finds in them.
struct Stack {
    layers: Vec<ImageLayer>,
    facts: Facts,
}

impl Stack {
    fn push(&mut self, title: String, written: Written) {
        self.layers.push(ImageLayer {
            title,
            media_type: written.media_type,
            annotations: written.annotations,
            digest: written.digest,
            size: written.size,
            diff_id: written.diff_id,
            unpacked: written.unpacked,
        });
        self.facts.stack(written.facts);
    }
}

/// How the layers are compressed that are not the base's.
fn form(planned: &Planned) -> Form {
    let layers = &planned.inputs.recipe.layers;
    match layers.compression {
        Compression::Gzip => Form::Gzip,
        Compression::Zstd { level } => Form::Zstd { level },
        Compression::Estargz => Form::Estargz {
            prefetch: layers.prefetch.iter().map(|path| path.relative().to_owned()).collect(),
        },
    }
}

/// A part of an image that is made beside others.
enum Part<'a> {
    Base,
    Wheels { layer: &'a WheelLayer, key: Digest },
}

/// What became of a [`Part`].
enum Made {
    Base(Box<Below>),
    Wheels(Box<Written>),
}

/// Writes what the store lacks of the base's layers and the wheels', all at once. Layers that another build is at are
/// that build's to make, as long as it lives.
fn write_base_and_wheels(
    planned: &Planned,
    form: &Form,
    environment: &Environment,
    progress: &dyn Progress,
) -> Result<(Below, Vec<Written>)> {
    let store = &environment.store;
    let mut layers = Vec::new();
    for layer in &planned.layers {
        let key = layer_key(layer, form)?;
        layers.push((layer, key, remembered(store, &key)));
    }
    let missing = layers.iter().filter(|(_, _, present)| present.is_none()).map(|(layer, ..)| *layer);
    let write_base = || planned.opened.write(&planned.http, environment, progress);
    // The base's own interpreter compiles, so that the base must be there first.
    let compiles = missing.clone().any(|layer| layer.bytecode.is_some());
    let base = compiles.then(write_base).transpose()?;
    let compiler = base.as_ref().map(|base| {
        let interpreter = BaseInterpreter::locate(&planned.base, &base.facts, base.digests());
        Compiler::new(&planned.base, interpreter, store, environment.threads)
    });
    let compiler = compiler.transpose()?;
    let fetches = fetches(planned, missing, store)?;
    // Nothing tells how long the base takes; it is begun first.
    let base_job = Job { fetches: Vec::new(), weight: u64::MAX, work: Part::Base };
    let mut jobs: Vec<_> = base.is_none().then_some(base_job).into_iter().collect();
    for (layer, key, _) in layers.iter().filter(|(_, _, present)| present.is_none()) {
        let fetches = layer.wheels.iter().filter_map(|wheel| fetches.get(&wheel.filename).cloned()).collect();
        jobs.push(Job { fetches, weight: size(planned, layer), work: Part::Wheels { layer, key: *key } });
    }
    let threads = environment.threads;
    let made = work::staged(jobs, threads, &planned.http, store, progress, |part| match part {
        Part::Base => Ok(Attempt::Done(Made::Base(Box::new(write_base()?)))),
        Part::Wheels { layer, key } => {
            let Some(_making) = store.claim(key) else { return Ok(Attempt::Elsewhere) };
            let written = once(store, key, || {
                let meter = progress.start(Task::WriteLayer, &layer.title(), Some(size(planned, layer)));
                Ok(wheels::write(layer, store, form, compiler.as_ref(), &|bytes| meter.add(bytes))?)
            })?;
            Ok(Attempt::Done(Made::Wheels(Box::new(written))))
        }
    })?;
    let (mut below, mut written) = (base, VecDeque::new());
    for made in made {
        match made {
            Made::Base(made) => below = Some(*made),
            Made::Wheels(made) => written.push_back(*made),
        }
    }
    let wheels = layers.into_iter().filter_map(|(.., present)| present.or_else(|| written.pop_front()));
    Ok((below.context("the base was not written")?, wheels.collect()))
}

/// The unpacked size in bytes of what is installed into a layer, as far as it is known before.
fn size(planned: &Planned, layer: &WheelLayer) -> u64 {
    let size = |wheel: &WheelInstall| {
        let whole = planned.sizes.get(&wheel.filename)?;
        Some(wheel.part.map_or(*whole, |part| whole / part.of as u64))
    };
    layer.wheels.iter().filter_map(size).sum()
}

const LAYER_RECORD: &str = "layer";

/// What a layer of wheels is made from.
fn layer_key(layer: &WheelLayer, form: &Form) -> Result<Digest> {
    Ok(Digest::of(match layer.bytecode {
        Some(_) => serde_json::to_vec(&(LAYER_FORMAT, bytecode::FORMAT, form, layer))?,
        None => serde_json::to_vec(&(LAYER_FORMAT, form, layer))?,
    }))
}

/// A layer that was written before and is still whole.
fn remembered(store: &Store, key: &Digest) -> Option<Written> {
    store
        .record::<Written>(LAYER_RECORD, key)
        .filter(|written| store.has_blob(&written.digest, Some(written.size)))
}

/// What is to be downloaded for `layers`, by file name: the indexes are asked for the wheels that the store lacks.
fn fetches<'a>(
    planned: &Planned,
    layers: impl Iterator<Item = &'a WheelLayer>,
    store: &Store,
) -> Result<BTreeMap<String, Fetch>> {
    let wheels: BTreeSet<&str> =
        layers.flat_map(|layer| &layer.wheels).map(|wheel| &*wheel.filename).collect();
    let distributions = planned.resolution.distributions.iter();
    let missing = distributions.filter_map(|distribution| {
        let wheel = &distribution.wheel;
        let (name, digest) = (wheel.filename.to_string(), wheel.sha256?);
        let is_missing = wheels.contains(&*name) && !store.has_blob(&digest, wheel.size);
        is_missing.then_some((name, digest, distribution))
    });
    let whereabouts = planned.wheels.whereabouts(&planned.http, store);
    let fetches = work::run(missing.collect(), work::DOWNLOADS, |(name, digest, distribution)| {
        let url = whereabouts.url(distribution)?;
        let download = Download { url, name: name.clone(), digest, size: distribution.wheel.size };
        Ok((name, Fetch { download }))
    })?;
    Ok(fetches.into_iter().collect())
}

/// The layer of `key`, written by `write` unless it was before.
fn once(store: &Store, key: &Digest, write: impl FnOnce() -> Result<Written>) -> Result<Written> {
    if let Some(written) = remembered(store, key) {
        return Ok(written);
    }
    let written = write()?;
    store.put_record(LAYER_RECORD, key, &written)?;
    Ok(written)
}

/// The recipe's own files, listed before anything is downloaded, so that a missing one is known at once.
fn recipe_files(planned: &Planned) -> Result<Files> {
    let inputs = &planned.inputs;
    let copies = inputs.recipe.files.iter().map(|file| Copy {
        from: inputs.directory.join(&file.from.value),
        to: file.to.relative().to_owned(),
        mode: file.mode,
    });
    let mut files = Files::collect(&copies.collect::<Vec<_>>(), planned.created)?;
    if inputs.recipe.python.bytecode {
        files.hide_bytecode(&planned.base.scheme, planned.created);
    }
    Ok(files)
}

/// The top layer: what makes the parts one system, and the loader's cache over all of them.
fn write_system(planned: &Planned, below: &Facts, form: &Form, store: &Store) -> Result<Written> {
    let base = &planned.base;
    let keep = planned.inputs.recipe.python.externally_managed == ExternallyManaged::Keep;
    let workdir = planned.inputs.recipe.config.workdir.as_ref().map(|path| path.relative());
    let constraints = constraints(planned);
    let choices = SystemChoices {
        mtime: planned.created,
        base,
        remove_marker: !keep && !base.externally_managed.is_empty(),
        workdir,
        constraints: constraints.as_ref(),
    };
    let mut files = plan::system_files(&planned.resolution, &choices);
    if let Some(tree) = planned.resolution.loader_tree() {
        let directory = format!("/{}", tree.toolkit.library_directory());
        files.extend(generated::loader_configuration(below, &files, &directory, planned.created)?);
        files.sort_by(|a, b| a.entry.path.cmp(&b.entry.path));
    }
    let architecture = Architecture::named(&base.architecture).unwrap_or(Architecture::X86_64);
    let ldconfig = Ldconfig::new(architecture, &base.vendor, base.libc_bin.as_str())?;
    let cache = generated::loader_cache(below, &files, &ldconfig, planned.created)?;
    let files = generated::merged(files, cache);
    let key = Digest::of(format!("{LAYER_FORMAT} {form:?} {files:?}"));
    once(store, &key, || Ok(generated::write(&files, store, form)?))
}

/// What a later `pip install` in the image must not replace.
fn constraints(planned: &Planned) -> Option<BTreeMap<String, String>> {
    let recipe = &planned.inputs.recipe;
    let pins = plan::pins(&planned.resolution, |name| recipe.frameworks.contains_key(name));
    (recipe.python.constrain == Constrain::Frameworks && !pins.is_empty()).then_some(pins)
}

fn settings<'a>(planned: &Planned, config: &'a dyn Fn(RuntimeConfig) -> RuntimeConfig) -> Settings<'a> {
    Settings {
        architecture: planned.base.architecture.clone(),
        created: planned.created,
        config,
        annotations: planned.inputs.recipe.annotations.clone(),
    }
}

/// What a container starts with: the base's, then what CUDA needs, then the recipe's. A new entrypoint comes without the
/// base's arguments, as docker has it.
fn runtime_config(planned: &Planned, of_base: RuntimeConfig) -> RuntimeConfig {
    let changes = &planned.inputs.recipe.config;
    let constrained = constraints(planned).is_some();
    let mut env =
        plan::environment(&planned.opened.environment(), &planned.base, &planned.resolution, constrained);
    env.extend(changes.env.clone());
    let cmd = match (&planned.opened, &changes.entrypoint) {
        (_, Some(_)) => Vec::new(),
        (Opened::Debian(_), None) => vec!["python3".to_owned()],
        (Opened::Image(_), None) => of_base.cmd,
    };
    RuntimeConfig {
        user: changes.user.clone().unwrap_or(of_base.user),
        env: env.into_iter().map(|(name, value)| format!("{name}={value}")).collect(),
        entrypoint: changes.entrypoint.clone().unwrap_or(of_base.entrypoint),
        cmd: changes.cmd.clone().unwrap_or(cmd),
        working_dir: changes.workdir.as_ref().map_or(of_base.working_dir, |path| path.as_str().to_owned()),
        labels: of_base.labels.into_iter().chain(changes.labels.clone()).collect(),
    }
}

fn default_destination(name: &str) -> Destination {
    Destination::OciLayout { directory: Path::new("out").join(name), tag: None }
}
