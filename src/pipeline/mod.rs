//! The pipeline: a recipe becomes an image.
#![allow(clippy::disallowed_methods, reason = "this is where the stages meet the machine")]

mod base;
mod inputs;
mod inspect;
mod opened;
mod outlines;
mod progress;
mod work;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use uv_normalize::PackageName;

use crate::base::facts::Facts;
use crate::base::{BaseInventory, InventoryError};
use crate::destination::{self, Destination};
use crate::elf::{Architecture, Ldconfig};
use crate::image::{self, BaseImage, Image, ImageLayer, Settings};
use crate::layer::files::{Copy, Files};
use crate::layer::{Written, generated, wheels};
use crate::net::config;
use crate::net::http::{Download, Http};
use crate::net::index::PackageIndex;
use crate::oci::Digest;
use crate::oci::image::{LAYER_GZIP, RuntimeConfig};
use crate::plan::{self, Limits, SystemChoices, WheelLayer};
use crate::pypa::target::{Machine, Target};
use crate::recipe::{Constrain, ExternallyManaged};
use crate::resolve::{self, Distribution, Policies, Preferences, Request, Resolution};
use crate::store::Store;
use inputs::Inputs;
use opened::{Below, Opened};
use outlines::Outlines;
use work::{Fetch, Job};

pub use base::BaseLayer;
pub use inputs::InputError;
pub use inspect::{describe, inspect};
pub use opened::OtherInventory;
pub use outlines::{NoHash, NotListed, PrivateCuda};
pub use progress::{Meter, Progress, Task};

/// Part of every layer's key: raised when the same inputs shall give other bytes.
const LAYER_FORMAT: u32 = 3;

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
    pub environment: Environment,
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
    /// When the newest of the inputs was made, in Unix seconds.
    pub created: u64,
    opened: Opened,
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
    let planned = plan(order.recipe, environment, progress)?;
    let (below, layers) = write_layers(&planned, environment, progress)?;
    let image = image::assemble(
        below.as_ref(),
        layers,
        &settings(&planned, &|of_base| runtime_config(&planned, of_base)),
    )?;
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

/// Decides everything about the recipe at `path`; fetches indexes and metadata, and writes no layer.
pub fn plan(path: &Path, environment: &Environment, progress: &dyn Progress) -> Result<Planned> {
    let inputs = Inputs::read(path)?;
    let store = &environment.store;
    let machine = config::Machine::here();
    let http = Arc::new(Http::new(http_settings(environment.offline, machine.netrc()))?);

    let python = inputs.recipe.python.version.as_ref().map(|version| version.value.to_string());
    let opened =
        opened::open(&inputs.base, &inputs.base_directory, python.as_deref(), &http, environment, progress)?;
    let base = opened.inventory().clone();
    check_python(&inputs, &base)?;
    let target = target(&base)?;

    progress.stage("resolving distributions and components");
    let catalog = catalog(&inputs, &machine, &http, store)?;
    let request = request(&inputs, &base, &target);
    let resolution = resolve::resolve(&request, &catalog)?;
    check_hashes(&inputs, &resolution)?;
    let outlines = Outlines::read(&resolution, &catalog)?;

    let limits = limits(&inputs, &opened);
    let layers = plan::wheel_layers(&resolution, &outlines.wheels, &base.scheme, &limits);
    Ok(Planned {
        name: inputs.name.clone(),
        created: created(environment, &opened, &resolution),
        base,
        sizes: outlines.wheels.into_iter().map(|(name, (_, size))| (name, size)).collect(),
        private: outlines.private,
        layers,
        resolution,
        opened,
        inputs,
        http,
        catalog,
    })
}

/// An input that asks for something a later version will do.
#[derive(Debug, thiserror::Error)]
pub enum NotBuilt {
    #[error("a base from {kind} is not built yet; layouts, archives and Debian packages are")]
    Base { kind: &'static str },
}

impl NotBuilt {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Base { .. } => {
                "copy it with `skopeo copy docker://NAME oci:base`, and write `base: oci:base`".into()
            }
        })
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

fn request<'a>(inputs: &Inputs, base: &'a BaseInventory, target: &'a Target) -> Request<'a> {
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
        preferences: Preferences::new(),
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

/// Beside wheels, an image has a layer of system files, and others where there is something in them: the recipe's own
/// files, and what the base has and the image hides. No image has more layers than docker takes.
fn limits(inputs: &Inputs, opened: &Opened) -> Limits {
    const MOST: usize = 125;
    let layers = &inputs.recipe.layers;
    let others = 2 + usize::from(!inputs.recipe.files.is_empty());
    let budget = usize::from(layers.budget).min(MOST.saturating_sub(opened.layers()));
    Limits { budget: budget.saturating_sub(others).max(1), max_size: layers.max_size.bytes() }
}

/// `SOURCE_DATE_EPOCH`, else when the newest of the inputs was published.
fn created(environment: &Environment, opened: &Opened, resolution: &Resolution) -> u64 {
    let uploads = resolution.distributions.iter().filter_map(|distribution| distribution.wheel.upload_time);
    let uploaded = uploads.filter_map(|time| u64::try_from(time).ok()).max().unwrap_or_default();
    environment.source_date_epoch.unwrap_or_else(|| uploaded.max(opened.published()))
}

fn write_layers(
    planned: &Planned,
    environment: &Environment,
    progress: &dyn Progress,
) -> Result<(Option<BaseImage>, Vec<ImageLayer>)> {
    let store = &environment.store;
    let files = recipe_files(planned)?;
    progress.stage("writing layers");
    let Below { image, layers, facts } = planned.opened.write(&planned.http, environment, progress)?;
    let mut stack = Stack { layers, facts };
    let removals = plan::removals(&planned.resolution, &planned.base, planned.created);
    if !removals.is_empty() {
        let key = Digest::of(format!("{LAYER_FORMAT} {removals:?}"));
        let written = once(store, &key, || Ok(generated::write(&removals, store)?))?;
        stack.push("what is hidden of the base".into(), written);
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
    Ok((image, stack.layers))
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
            media_type: LAYER_GZIP.into(),
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
    let by_file: BTreeMap<String, &Distribution> = planned
        .resolution
        .distributions
        .iter()
        .map(|distribution| (distribution.wheel.filename.to_string(), distribution))
        .collect();
    let mut jobs = Vec::new();
    for layer in &planned.layers {
        let key = Digest::of(serde_json::to_vec(&(LAYER_FORMAT, layer))?);
        let present = remembered(store, &key);
        let fetches = match present {
            Some(_) => Vec::new(),
            None => {
                let wheels = layer.wheels.iter().filter_map(|wheel| by_file.get(&wheel.filename));
                wheels.map(|distribution| fetch(distribution, &planned.catalog)).collect::<Result<_>>()?
            }
        };
        jobs.push(Job { fetches, work: (layer, key, present) });
    }
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

fn fetch(distribution: &Distribution, catalog: &PackageIndex) -> Result<Fetch> {
    let wheel = outlines::listed(distribution, catalog)?;
    let name = wheel.filename.to_string();
    let digest = wheel.sha256.ok_or_else(|| NoHash::of(&name))?;
    Ok(Fetch { download: Download { url: wheel.url, name, digest, size: wheel.size } })
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
    let architecture =
        if base.architecture == "arm64" { Architecture::Aarch64 } else { Architecture::X86_64 };
    let ldconfig = Ldconfig::new(architecture, &base.vendor, base.libc_bin.as_str())?;
    let cache = generated::loader_cache(below, &files, &ldconfig, planned.created)?;
    let files = generated::merged(files, cache);
    let key = Digest::of(format!("{LAYER_FORMAT} {files:?}"));
    once(store, &key, || Ok(generated::write(&files, store)?))
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
