//! The pipeline: a recipe becomes an image.
#![allow(clippy::disallowed_methods, reason = "this is where the stages meet the machine")]

mod base;
mod inputs;
mod listed;
mod locking;
mod outlines;
mod progress;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use uv_normalize::PackageName;

use crate::base::facts::Facts;
use crate::base::{BaseInventory, InventoryError};
use crate::cuda::Component;
use crate::destination::{self, Destination};
use crate::elf::{Architecture, Ldconfig};
use crate::image::{self, Image, ImageLayer, Settings};
use crate::layer::files::{Copy, Files};
use crate::layer::{Written, generated, wheels};
use crate::lock::{self, Change, Decided, Lock, LockedBase, Meaning};
use crate::net::config;
use crate::net::http::{Download, Http};
use crate::net::index::PackageIndex;
use crate::oci::Digest;
use crate::oci::image::RuntimeConfig;
use crate::plan::{self, Limits, SystemChoices, WheelLayer};
use crate::pypa::target::{Machine, Target};
use crate::recipe::{BaseDescription, ConfigChanges, Debian, ExternallyManaged, Policy, Timestamp};
use crate::resolve::{self, Components, Preferences, Request, Resolution};
use crate::store::Store;
use base::Base;
use inputs::Inputs;
use locking::{Held, Prior};
use outlines::Outlines;
use work::{Fetch, Job};

pub use base::BaseLayer;
pub use inputs::InputError;
pub use listed::ListedError;
pub use locking::{LockFileError, Locking, Upgrade};
pub use outlines::{NoHash, PrivateCuda};
pub use progress::{Meter, Progress, Task};

/// Part of every layer's key: raised when the same inputs shall give other bytes.
const LAYER_FORMAT: u32 = 2;

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
    pub environment: Environment,
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
    opened: Base,
    inputs: Inputs,
    http: Arc<Http>,
    catalog: PackageIndex,
}

/// What a build made.
pub struct Built {
    pub planned: Planned,
    pub image: Image,
    /// Where it was published.
    pub destinations: Vec<Destination>,
}

/// Builds what `order` asks for and publishes it.
pub fn build(order: &BuildOrder<'_>, progress: &dyn Progress) -> Result<Built> {
    let environment = &order.environment;
    let planned = plan(order.recipe, order.locking, environment, progress)?;
    let layers = write_layers(&planned, environment, progress)?;
    let image = image::assemble(layers, &settings(&planned))?;
    let destinations = match order.destinations {
        [] => vec![default_destination(&planned.name)],
        destinations => destinations.to_vec(),
    };
    for destination in &destinations {
        progress.stage(&format!("publishing {destination}"));
        destination::publish(&image, destination, &planned.name, &environment.store)?;
    }
    Ok(Built { planned, image, destinations })
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
    refuse_what_is_not_built(&inputs)?;
    let meaning = inputs.meaning()?;
    let stale = |keys| LockFileError::Stale { path: locking::path(path), recipe: path.to_owned(), keys };
    match (Held::read(path, &meaning)?, locking) {
        (Held::Agrees(lock), _) => recall(inputs, &lock, environment),
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
    refuse_what_is_not_built(&inputs)?;
    let meaning = inputs.meaning()?;
    let held = match Held::read(order.recipe, &meaning) {
        // Nothing of it is kept.
        Err(LockFileError::Unusable { .. }) if order.upgrade == Upgrade::Everything => Held::Nothing,
        held => held?,
    };
    locking::check_names(&order.upgrade, &inputs, held.lock())?;
    let before = match held {
        Held::Agrees(lock) if order.upgrade == Upgrade::Only(BTreeSet::new()) => {
            return Ok(Locked {
                path: locking::path(order.recipe),
                lock,
                written: false,
                changes: Vec::new(),
            });
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
            base: LockedBase::Debian(planned.opened.decided.clone()),
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
    let store = &environment.store;
    let (http, catalog) = connect(&inputs, environment)?;

    progress.stage("choosing the base's packages");
    let base = match &prior.base {
        Some(decided) => base::recall(debian(&inputs)?, decided, &http)?,
        None => open_base(&inputs, &http, store)?,
    };
    check_python(&inputs, &base)?;
    let target = target(&base.inventory)?;

    progress.stage("resolving distributions and components");
    let request = request(&inputs, &target, prior.preferences);
    let resolution = resolve::resolve(&request, &catalog)?;
    check_hashes(&inputs, &resolution)?;
    let Outlines { wheels, private } = Outlines::read(&resolution, &catalog)?;

    let limits = limits(&inputs);
    let layers = plan::wheel_layers(&resolution, &wheels, &base.inventory.scheme, &limits);
    let published = published(&base, &resolution);
    let planned = Planned {
        name: inputs.name.clone(),
        base: base.inventory.clone(),
        created: environment.source_date_epoch.unwrap_or(published),
        sizes: sizes(wheels),
        private,
        layers,
        resolution,
        opened: base,
        inputs,
        http,
        catalog,
    };
    Ok(Decision { planned, published })
}

/// What was decided about `inputs` when `lock` was made; asks nobody.
fn recall(inputs: Inputs, lock: &Lock, environment: &Environment) -> Result<Planned> {
    let (http, catalog) = connect(&inputs, environment)?;
    let base = match &lock.base {
        LockedBase::Debian(decided) => base::recall(debian(&inputs)?, decided, &http)?,
        LockedBase::Image(_) => return Err(NotBuilt::Base { kind: "an image" }.into()),
    };
    check_python(&inputs, &base)?;
    let resolution = lock.resolution(machine(&base.inventory));
    let wheels = lock.wheels();
    let layers = plan::wheel_layers(&resolution, &wheels, &base.inventory.scheme, &limits(&inputs));
    let published = u64::try_from(lock.created.unix_seconds()).unwrap_or_default();
    Ok(Planned {
        name: inputs.name.clone(),
        base: base.inventory.clone(),
        created: environment.source_date_epoch.unwrap_or(published),
        sizes: sizes(wheels),
        private: PrivateCuda { by_framework: lock.private_cuda.clone() },
        layers,
        resolution,
        opened: base,
        inputs,
        http,
        catalog,
    })
}

/// The network, and the package indexes in it; nothing is asked yet.
fn connect(inputs: &Inputs, environment: &Environment) -> Result<(Arc<Http>, PackageIndex)> {
    let machine = config::Machine::here();
    let http = Arc::new(Http::new(http_settings(environment.offline, machine.netrc()))?);
    let catalog = catalog(inputs, &machine, &http, &environment.store)?;
    Ok((http, catalog))
}

/// The unpacked size of each wheel in bytes, by file name.
fn sizes(wheels: plan::Wheels) -> BTreeMap<String, u64> {
    wheels.into_iter().map(|(name, (_, size))| (name, size)).collect()
}

/// An input that asks for something a later version will do.
#[derive(Debug, thiserror::Error)]
pub enum NotBuilt {
    #[error("CUDA policy `base` is not built yet; `shared` and `pip` are")]
    BasePolicy,
    #[error("policies of single CUDA components are not built yet")]
    Exceptions,
    #[error("a base from {kind} is not built yet; Debian packages are")]
    Base { kind: &'static str },
    #[error("`{component}` under `cuda.components` is not a CUDA component")]
    Component { component: String },
}

impl NotBuilt {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::BasePolicy => "leave `cuda:` out of the recipe, or write `policy: shared`".into(),
            Self::Exceptions => "leave `components:` out of the recipe's `cuda:`".into(),
            Self::Base { .. } => "describe the base by `suites:` and `packages:`".into(),
            Self::Component { .. } => {
                format!("components are {}", Component::names().collect::<Vec<_>>().join(", "))
            }
        })
    }
}

fn refuse_what_is_not_built(inputs: &Inputs) -> Result<(), NotBuilt> {
    let cuda = &inputs.recipe.cuda;
    if let Some(component) = cuda.components.keys().find(|name| Component::named(name).is_none()) {
        return Err(NotBuilt::Component { component: component.clone() });
    }
    let exceptions = cuda.components.values().any(|policy| policy.value != cuda.policy);
    match cuda.policy {
        Policy::Shared | Policy::Pip if !exceptions => Ok(()),
        Policy::Base => Err(NotBuilt::BasePolicy),
        Policy::Shared | Policy::Pip => Err(NotBuilt::Exceptions),
    }
}

fn http_settings(offline: bool, netrc: Option<String>) -> crate::net::http::Settings {
    crate::net::http::Settings { offline, netrc, ..Default::default() }
}

fn debian(inputs: &Inputs) -> Result<&Debian, NotBuilt> {
    match &inputs.base {
        BaseDescription::Debian(debian) => Ok(debian),
        BaseDescription::Registry { .. } => Err(NotBuilt::Base { kind: "a registry" }),
        BaseDescription::Layout { .. } => Err(NotBuilt::Base { kind: "an OCI layout" }),
        BaseDescription::Archive { .. } => Err(NotBuilt::Base { kind: "an archive" }),
    }
}

fn open_base(inputs: &Inputs, http: &Http, store: &Store) -> Result<Base> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_secs();
    base::open(debian(inputs)?, &inputs.base_directory, http, store, now)
}

fn check_python(inputs: &Inputs, base: &Base) -> Result<(), InventoryError> {
    match &inputs.recipe.python.version {
        Some(asked) if !base.inventory.python.parse().is_ok_and(|version| asked.admits(&version)) => {
            let found = base.inventory.python.clone();
            Err(InventoryError::OtherPython { found, asked: asked.value.to_string() })
        }
        _ => Ok(()),
    }
}

/// The base's architecture, as toolkits call it.
fn machine(base: &BaseInventory) -> crate::cuda::Machine {
    match base.architecture.as_str() {
        "arm64" => crate::cuda::Machine::Aarch64,
        _ => crate::cuda::Machine::X86_64,
    }
}

fn target(base: &BaseInventory) -> Result<Target> {
    let machine = if base.architecture == "arm64" { Machine::Aarch64 } else { Machine::X86_64 };
    Ok(Target::new(&base.python, machine, base.glibc)?)
}

fn catalog(
    inputs: &Inputs,
    machine: &config::Machine<'_>,
    http: &Arc<Http>,
    store: &Store,
) -> Result<PackageIndex> {
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
    Ok(PackageIndex::new(Arc::clone(http), store.clone(), indexes))
}

fn request<'a>(inputs: &Inputs, target: &'a Target, preferences: Preferences) -> Request<'a> {
    Request {
        target,
        roots: inputs.roots.clone(),
        components: match inputs.recipe.cuda.policy {
            Policy::Pip => Components::Pip,
            Policy::Shared | Policy::Base => Components::Shared,
        },
        frameworks: inputs.recipe.frameworks.keys().cloned().collect(),
        constraints: inputs.constraints.clone(),
        exclude_newer: inputs.recipe.exclude_newer.map(|time| time.unix_seconds()),
        preferences,
    }
}

/// A wheel that a requirements file does not allow.
#[derive(Debug, thiserror::Error)]
#[error("`{wheel}` has none of the hashes that the requirements files give for `{name}`")]
pub struct HashNotAllowed {
    wheel: String,
    name: PackageName,
}

impl HashNotAllowed {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
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

/// Beside wheels, an image has a layer of system files, and one of the recipe's own where there are any.
fn limits(inputs: &Inputs) -> Limits {
    let layers = &inputs.recipe.layers;
    let others = 1 + usize::from(!inputs.recipe.files.is_empty());
    Limits {
        budget: usize::from(layers.budget).saturating_sub(others).max(1),
        max_size: layers.max_size.bytes(),
    }
}

/// When the newest of the inputs was published, in Unix seconds.
fn published(base: &Base, resolution: &Resolution) -> u64 {
    let uploads = resolution.distributions.iter().filter_map(|distribution| distribution.wheel.upload_time);
    let uploaded = uploads.filter_map(|time| u64::try_from(time).ok()).max().unwrap_or_default();
    uploaded.max(base.decided.published())
}

fn write_layers(
    planned: &Planned,
    environment: &Environment,
    progress: &dyn Progress,
) -> Result<Vec<ImageLayer>> {
    let store = &environment.store;
    let files = recipe_files(planned)?;
    progress.stage("writing layers");
    let mut stack = Stack::default();
    for layer in planned.opened.write(&planned.http, store, progress)? {
        stack.push(layer.title, layer.written);
    }
    for (layer, written) in planned.layers.iter().zip(write_wheels(planned, environment, progress)?) {
        stack.push(layer.title(), written);
    }
    if !files.is_empty() {
        let written = once(store, &files.key()?, || Ok(files.write(store)?))?;
        stack.push("files of the recipe".into(), written);
    }
    let written = write_system(planned, &stack.facts, store)?;
    stack.push("system files".into(), written);
    Ok(stack.layers)
}

/// Layers, bottom first, and what the loader finds in them.
#[derive(Default)]
struct Stack {
    layers: Vec<ImageLayer>,
    facts: Facts,
}

impl Stack {
    fn push(&mut self, title: String, written: Written) {
        self.layers.push(ImageLayer {
            title,
            digest: written.digest,
            size: written.size,
            diff_id: written.diff_id,
            unpacked: written.unpacked,
        });
        self.facts.stack(written.facts);
    }
}

fn write_wheels(
    planned: &Planned,
    environment: &Environment,
    progress: &dyn Progress,
) -> Result<Vec<Written>> {
    let store = &environment.store;
    let mut layers = Vec::new();
    for layer in &planned.layers {
        let key = Digest::of(serde_json::to_vec(&(LAYER_FORMAT, layer))?);
        let present = remembered(store, &key);
        layers.push((layer, key, present));
    }
    let missing = layers.iter().filter(|(_, _, present)| present.is_none()).map(|(layer, ..)| *layer);
    let mut fetches = fetches(planned, missing, store)?;
    let jobs = layers.into_iter().map(|work| {
        let of_layer = work.0.wheels.iter().filter_map(|wheel| fetches.remove(&wheel.filename));
        Job { fetches: of_layer.collect(), work }
    });
    let jobs = jobs.collect();
    work::staged(jobs, environment.threads, &planned.http, store, progress, |(layer, key, present)| {
        if let Some(written) = present {
            return Ok(written.clone());
        }
        let size = layer.wheels.iter().filter_map(|wheel| planned.sizes.get(&wheel.filename)).sum();
        let meter = progress.start(Task::WriteLayer, &layer.title(), Some(size));
        let written = wheels::write(layer, store, &|bytes| meter.add(bytes))?;
        store.put_record(LAYER_RECORD, key, &written)?;
        Ok(written)
    })
}

const LAYER_RECORD: &str = "layer";

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
    let fetches = work::run(missing.collect(), work::DOWNLOADS, |(name, digest, distribution)| {
        let url = listed::listed(distribution, &planned.catalog)?.url;
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
    Ok(Files::collect(&copies.collect::<Vec<_>>(), planned.created)?)
}

/// The top layer: what makes the parts one system, and the loader's cache over all of them.
fn write_system(planned: &Planned, below: &Facts, store: &Store) -> Result<Written> {
    let base = &planned.base;
    let keep = planned.inputs.recipe.python.externally_managed == ExternallyManaged::Keep;
    let workdir = planned.inputs.recipe.config.workdir.as_ref().map(|path| path.relative());
    let choices = SystemChoices {
        mtime: planned.created,
        externally_managed: (!keep).then_some(base.externally_managed.as_str()),
        workdir,
    };
    let files = plan::system_files(&planned.resolution, &choices);
    let architecture =
        if base.architecture == "arm64" { Architecture::Aarch64 } else { Architecture::X86_64 };
    let ldconfig = Ldconfig::new(architecture, &base.vendor, base.libc_bin.as_str())?;
    let cache = generated::loader_cache(below, &files, &ldconfig, planned.created)?;
    let files = generated::merged(files, cache);
    let key = Digest::of(format!("{LAYER_FORMAT} {files:?}"));
    once(store, &key, || Ok(generated::write(&files, store)?))
}

fn settings(planned: &Planned) -> Settings {
    Settings {
        architecture: planned.base.architecture.clone(),
        created: planned.created,
        config: runtime_config(&planned.inputs.recipe.config, &planned.resolution),
        annotations: planned.inputs.recipe.annotations.clone(),
    }
}

/// What a container starts with: the toolkit's variables where there is a toolkit, then the recipe's.
fn runtime_config(changes: &ConfigChanges, resolution: &Resolution) -> RuntimeConfig {
    const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let mut env = BTreeMap::from([("LANG", "C.UTF-8".to_owned()), ("PATH", PATH.to_owned())]);
    if let Some(toolkit) = &resolution.toolkit {
        env.insert("PATH", format!("/usr/local/cuda/bin:{PATH}"));
        env.insert("CUDA_HOME", "/usr/local/cuda".into());
        env.insert("CUDA_VERSION", toolkit.to_string());
    }
    if resolution.has_cuda() {
        env.insert("LD_LIBRARY_PATH", "/usr/local/nvidia/lib:/usr/local/nvidia/lib64".into());
        env.insert("NVIDIA_DRIVER_CAPABILITIES", "compute,utility".into());
        env.insert("NVIDIA_VISIBLE_DEVICES", "all".into());
    }
    env.extend(changes.env.iter().map(|(name, value)| (name.as_str(), value.clone())));
    RuntimeConfig {
        user: changes.user.clone().unwrap_or_default(),
        env: env.into_iter().map(|(name, value)| format!("{name}={value}")).collect(),
        entrypoint: changes.entrypoint.clone().unwrap_or_default(),
        cmd: changes.cmd.clone().unwrap_or_else(|| vec!["python3".into()]),
        working_dir: changes.workdir.as_ref().map(|path| path.as_str().to_owned()).unwrap_or_default(),
        labels: changes.labels.clone(),
    }
}

fn default_destination(name: &str) -> Destination {
    Destination::OciLayout { directory: Path::new("out").join(name), tag: None }
}
