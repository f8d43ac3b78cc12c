//! The difference between two images, plans, recipes or locks: in all that both sides tell.

mod files;
mod platforms;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::base::{BaseInventory, CudaCopy};
use crate::oci::Digest;
use crate::oci::image::RuntimeConfig;
use crate::resolve::demand::soname;
use crate::resolve::{Resolution, Service, ServiceSource};

pub use files::FileState;
pub use platforms::{PlatformVersions, WithoutCuda, platform_versions, without_cuda};

/// One side of a comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The interpreter's version.
    #[serde(default)]
    pub python: Option<String>,
    /// The digest of the image that it is built on, where nothing else tells of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Versions by name, of those that pip manages.
    pub distributions: BTreeMap<String, String>,
    /// The same of those that packages of the system bring. A plan over packages does not tell them.
    #[serde(default)]
    pub system_distributions: Option<BTreeMap<String, String>>,
    /// Each component, by its name with the numbers of its SONAME: `cudnn 9 for CUDA 12`.
    pub components: BTreeMap<String, Served>,
    /// The versions of Debian packages, by name.
    #[serde(default)]
    pub system_packages: Option<ToldEntries<String>>,
    /// The settings of a container: `user`, `env PATH`, `label a`, as text.
    #[serde(default)]
    pub config: Option<BTreeMap<String, String>>,
    /// The annotations of the manifest.
    #[serde(default)]
    pub annotations: Option<ToldEntries<String>>,
    /// The files that belong to no distribution, by path.
    #[serde(default)]
    pub files: Option<ToldEntries<FileState>>,
    /// The layers, bottom first.
    #[serde(default)]
    pub layers: Option<Vec<LayerSummary>>,
    /// Sizes in bytes, by what they are of: `compressed layers`, `unpacked layers`, `unpacked wheels`.
    pub bytes: BTreeMap<String, u64>,
}

/// The entries that a side tells, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldEntries<T> {
    /// True if the side has nothing else: otherwise a name that is not told may be there all the same.
    pub complete: bool,
    /// By name.
    pub entries: BTreeMap<String, T>,
}

/// A layer of one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerSummary {
    /// The digest of the blob.
    pub digest: Digest,
    /// The size of the blob in bytes.
    pub size: u64,
}

/// A component as one side has it. The same version is the same, wherever it comes from: an image does not tell what
/// its plan did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// The version that serves.
    pub version: String,
    /// `at /usr/local/cuda-12.4/…`, `from wheel nvidia-cudnn-cu12`.
    pub from: String,
}

/// The difference between two sides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The change of Python, if it changed.
    pub python: Option<Change>,
    /// The change of the image that it is built on, if it changed.
    pub base: Option<Change>,
    /// The changes of components.
    pub components: Vec<Change>,
    /// The changes of distributions.
    pub distributions: Vec<Change>,
    /// The changes of Debian packages.
    pub system_packages: Vec<Change>,
    /// The changes of a container's settings.
    pub config: Vec<Change>,
    /// The changes of the manifest's annotations.
    pub annotations: Vec<Change>,
    /// The changes of files that belong to no distribution.
    pub files: Vec<Change>,
    /// The layers, where both sides tell them.
    pub layers: Option<LayerDifference>,
    /// Of what both sides tell the size.
    pub bytes: Vec<Growth>,
}

/// A name with what it stands for on each side; `None` where it is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The name of the changed item.
    pub name: String,
    /// The version before; `None` if it was added.
    pub before: Option<String>,
    /// The version after; `None` if it was removed.
    pub after: Option<String>,
}

/// The layers of both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LayerDifference {
    /// The number of layers before.
    pub before: usize,
    /// The number of layers after.
    pub after: usize,
    /// The number of layers after that are there before, too.
    pub shared: usize,
    /// The compressed size in bytes of those that are not: what has the one side pulls them for the other.
    pub bytes_to_pull: u64,
}

/// A size on each side, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Growth {
    /// The name of the layer or distribution.
    pub name: String,
    /// The size before, in bytes.
    pub before: u64,
    /// The size after, in bytes.
    pub after: u64,
}

impl Difference {
    /// Returns whether both sides have the same, as far as either tells.
    pub fn is_empty(&self) -> bool {
        let sizes = self.bytes.iter().all(|growth| growth.before == growth.after);
        let lists = [
            &self.components,
            &self.distributions,
            &self.system_packages,
            &self.config,
            &self.annotations,
            &self.files,
        ];
        let layers =
            self.layers.is_none_or(|layers| layers.shared == layers.after && layers.before == layers.after);
        self.python.is_none()
            && self.base.is_none()
            && lists.iter().all(|list| list.is_empty())
            && layers
            && sizes
    }
}

/// The difference between `before` and `after`.
pub fn compare(before: &Summary, after: &Summary) -> Difference {
    let growth = |(name, size): (&String, &u64)| {
        Some(Growth { name: name.clone(), before: *size, after: *after.bytes.get(name)? })
    };
    Difference {
        python: moved("Python", before.python.as_ref(), after.python.as_ref()),
        base: moved("base", before.base.as_ref(), after.base.as_ref()),
        components: changes(
            &before.components,
            &after.components,
            |before, after| before.version != after.version,
            |served| format!("{} {}", served.version, served.from),
        ),
        distributions: distributions(before, after),
        system_packages: told(&before.system_packages, &after.system_packages, texts),
        config: match (&before.config, &after.config) {
            (Some(before), Some(after)) => texts(before, after),
            _ => Vec::new(),
        },
        annotations: told(&before.annotations, &after.annotations, texts),
        files: files::changed(before, after),
        layers: layers(before, after),
        bytes: before.bytes.iter().filter_map(growth).collect(),
    }
}

/// The changes of distributions, those of the system among them where both sides tell them.
fn distributions(before: &Summary, after: &Summary) -> Vec<Change> {
    let all = |side: &Summary, of_system: &BTreeMap<String, String>| {
        let mut all = of_system.clone();
        all.extend(side.distributions.clone());
        all
    };
    match (&before.system_distributions, &after.system_distributions) {
        (Some(one), Some(other)) => texts(&all(before, one), &all(after, other)),
        _ => texts(&before.distributions, &after.distributions),
    }
}

/// The change of what both sides tell.
fn moved(name: &str, before: Option<&String>, after: Option<&String>) -> Option<Change> {
    let (before, after) = (before?.clone(), after?.clone());
    let is_same = before == after;
    let change = Change { name: name.to_owned(), before: Some(before), after: Some(after) };
    (!is_same).then_some(change)
}

fn layers(before: &Summary, after: &Summary) -> Option<LayerDifference> {
    let (before, after) = (before.layers.as_ref()?, after.layers.as_ref()?);
    let present: BTreeSet<Digest> = before.iter().map(|layer| layer.digest).collect();
    let (shared, missing): (Vec<&LayerSummary>, Vec<&LayerSummary>) =
        after.iter().partition(|layer| present.contains(&layer.digest));
    Some(LayerDifference {
        before: before.len(),
        after: after.len(),
        shared: shared.len(),
        bytes_to_pull: missing.iter().map(|layer| layer.size).sum(),
    })
}

/// The changes of what both sides tell: of the names that the side has which does not tell all, where the other does.
fn told<T: Clone>(
    before: &Option<ToldEntries<T>>,
    after: &Option<ToldEntries<T>>,
    changes: impl Fn(&BTreeMap<String, T>, &BTreeMap<String, T>) -> Vec<Change>,
) -> Vec<Change> {
    let (Some(before), Some(after)) = (before, after) else { return Vec::new() };
    let kept = |all: &ToldEntries<T>, names: &ToldEntries<T>| {
        let entries = all.entries.iter().filter(|(name, _)| names.entries.contains_key(*name));
        entries.map(|(name, entry)| (name.clone(), entry.clone())).collect::<BTreeMap<_, _>>()
    };
    match (before.complete, after.complete) {
        (true, false) => changes(&kept(before, after), &after.entries),
        (false, true) => changes(&before.entries, &kept(after, before)),
        (true, true) | (false, false) => changes(&before.entries, &after.entries),
    }
}

fn texts(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<Change> {
    changes(before, after, |before, after| before != after, String::clone)
}

/// The names that one side has, or that `differ`, with what is shown of both sides.
fn changes<T>(
    before: &BTreeMap<String, T>,
    after: &BTreeMap<String, T>,
    differ: impl Fn(&T, &T) -> bool,
    shown: impl Fn(&T) -> String,
) -> Vec<Change> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differs = |name: &&String| match (before.get(*name), after.get(*name)) {
        (Some(before), Some(after)) => differ(before, after),
        _ => true,
    };
    let change = |name: &String| Change {
        name: name.clone(),
        before: before.get(name).map(&shown),
        after: after.get(name).map(&shown),
    };
    names.into_iter().filter(differs).map(change).collect()
}

impl Summary {
    /// The summary of an image's inventory.
    pub fn of_image(inventory: &BaseInventory) -> Self {
        let versions = |of_system: bool| {
            let all = inventory.distributions.iter().filter(|it| it.of_system == of_system);
            all.map(|it| (it.name.to_string(), it.version.to_string())).collect()
        };
        Self {
            python: Some(inventory.python.clone()),
            distributions: versions(false),
            system_distributions: Some(versions(true)),
            components: serving(&inventory.cuda.iter().collect::<Vec<_>>()),
            ..Self::default()
        }
    }

    /// The summary of a plan: its base, and the distributions that it installs.
    pub fn of_plan(base: &BaseInventory, resolution: &Resolution) -> Self {
        let is_served = |copy: &&CudaCopy| {
            let mut services = resolution.services.iter();
            services.any(|service| {
                let is_major = copy.cuda_major.is_none_or(|major| major == service.cuda_major);
                service.component == copy.component && is_major
            })
        };
        let left: Vec<&CudaCopy> = base.cuda.iter().filter(|copy| !is_served(copy)).collect();
        let mut summary = Self { components: serving(&left), ..Self::of_image(base) };
        summary.components.extend(resolution.services.iter().map(of_service));
        for removed in &resolution.removed {
            summary.distributions.remove(&removed.name.to_string());
        }
        let installed = resolution.distributions.iter();
        summary.distributions.extend(installed.map(|it| (it.name.to_string(), it.version.to_string())));
        let served = resolution.services.iter();
        summary.distributions.extend(served.map(|it| (it.distribution.to_string(), it.version.to_string())));
        summary
    }
}

/// The settings of a container by name, as text.
pub fn settings(config: &RuntimeConfig) -> BTreeMap<String, String> {
    let list = |words: &[String]| match words {
        [] => String::new(),
        words => serde_json::Value::from(words).to_string(),
    };
    let mut settings = BTreeMap::from([
        ("user".to_owned(), config.user.clone()),
        ("workdir".to_owned(), config.working_dir.clone()),
        ("entrypoint".to_owned(), list(&config.entrypoint)),
        ("cmd".to_owned(), list(&config.cmd)),
        ("shell".to_owned(), list(&config.shell)),
        ("stop-signal".to_owned(), config.stop_signal.clone()),
        ("healthcheck".to_owned(), config.healthcheck.as_ref().map(ToString::to_string).unwrap_or_default()),
    ]);
    settings.retain(|_, value| !value.is_empty());
    let env = config.env.iter().map(|entry| entry.split_once('=').unwrap_or((entry, "")));
    settings.extend(env.map(|(name, value)| (format!("env {name}"), value.to_owned())));
    settings.extend(config.labels.iter().map(|(name, value)| (format!("label {name}"), value.clone())));
    settings.extend(config.exposed_ports.keys().map(|port| (format!("port {port}"), "exposed".to_owned())));
    settings.extend(config.volumes.keys().map(|path| (format!("volume {path}"), "declared".to_owned())));
    settings
}

/// The copies that serve: those that no loader finds do not, where another one of the component does.
fn serving(copies: &[&CudaCopy]) -> BTreeMap<String, Served> {
    let is_passed_by = |copy: &CudaCopy| {
        let mut others = copies.iter().filter(|other| other.component == copy.component);
        copy.is_hidden() && others.any(|other| !other.is_hidden())
    };
    let mut serving: Vec<&CudaCopy> = copies.iter().copied().filter(|copy| !is_passed_by(copy)).collect();
    serving.sort_by(|one, other| one.version.cmp(&other.version));
    serving.into_iter().map(of_copy).collect()
}

fn of_copy(copy: &CudaCopy) -> (String, Served) {
    let version = copy.version.as_ref();
    let numbers = version.map(|version| soname(copy.component, version)).unwrap_or_default();
    let name = component_name(copy.component.name(), &numbers, copy.cuda_major.unwrap_or_default());
    let version = version.map_or("unknown".into(), ToString::to_string);
    (name, Served { version, from: format!("at /{}", copy.directory) })
}

fn of_service(service: &Service) -> (String, Served) {
    let numbers = soname(service.component, &service.version);
    let from = match &service.source {
        ServiceSource::Base { copy, .. } => format!("at /{}", copy.directory),
        ServiceSource::Wheel => format!("from wheel {}", service.distribution),
        ServiceSource::Sibling { distribution } => format!("by the copy of {distribution}"),
        ServiceSource::Pip => format!("by pip from {}", service.distribution),
    };
    let name = component_name(service.component.name(), &numbers, service.cuda_major);
    (name, Served { version: service.version.to_string(), from })
}

/// A component by name, with the numbers of its SONAME: `cudnn 9 for CUDA 12`.
pub fn component_name(component: &str, soname: &[u64], cuda_major: u32) -> String {
    let numbers = soname.iter().map(u64::to_string).collect::<Vec<_>>().join(".");
    format!("{component} {numbers} for CUDA {cuda_major}")
}

#[cfg(test)]
mod tests;
