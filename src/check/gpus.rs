//! The GPUs and drivers that an image runs on, and those that it was to run on and does not.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use uv_normalize::PackageName;
use uv_pep440::Version;

use super::loader::split;
use super::observation::{Sample, ServingCopy};
use super::world::World;
use super::{About, DistributionId, Finding, Level, Observation, Subject};
use crate::base::{BaseInventory, CudaCopy};
use crate::cuda::{Component, ComponentWheel, Driver, DriverNeed, Gpu, GpuCode, GpuTarget, PtxVersion};

/// The GPUs and drivers that an image runs on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuSupport {
    /// The code for GPUs, by its owner; empty in an image for processors alone.
    pub code: Vec<OwnedGpuCode>,
    /// The drivers; `None` without CUDA, and where nothing tells its version.
    pub driver: Option<DriverNeed>,
}

/// The code for GPUs that belongs together: a GPU runs all of it, or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedGpuCode {
    /// The owner of its files.
    pub owner: GpuCodeOwner,
    /// All of it.
    pub code: GpuCode,
    /// The files, those with the most code first.
    pub libraries: Sample<GpuLibrary>,
}

/// The owner of files with code for GPUs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GpuCodeOwner {
    /// A distribution that is no component of CUDA.
    Distribution(DistributionId),
    /// A copy of a component.
    Component(ServingCopy),
    /// A directory, for files that nobody says to have installed.
    Directory(String),
}

/// A file with code for GPUs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuLibrary {
    /// Its absolute path.
    pub path: String,
    /// Its code.
    pub code: GpuCode,
}

/// The code for GPUs of other versions of distributions, as far as they were built before.
pub type VersionsSeen = BTreeMap<PackageName, BTreeMap<Version, GpuCode>>;

/// Components whose code every GPU needs that uses them. Without others, such as cuSPARSELt and NVSHMEM, which are for newer
/// GPUs alone, frameworks go on.
const FOR_ALL_GPUS: [&str; 9] =
    ["cublas", "cudnn", "cufft", "curand", "cusolver", "cusparse", "nccl", "npp", "nvjpeg"];

/// The support of an image.
pub(super) fn support(subject: &Subject<'_>, world: &World<'_>) -> GpuSupport {
    let code = owned_code(subject, world);
    let driver = driver(subject, &code);
    GpuSupport { code, driver }
}

/// The GPUs that the image was to run on and does not, and the driver that is too old for them.
pub(super) fn findings(subject: &Subject<'_>, world: &World<'_>, support: &GpuSupport) -> Vec<Finding> {
    let pairs = subject.gpus.iter().flat_map(|gpu| support.code.iter().map(move |owned| (gpu, owned)));
    let found = |(gpu, owned): (&Gpu, &OwnedGpuCode)| match owned.code.runs_on(gpu.capability) {
        false => missing(subject, world, gpu, owned),
        true => old_driver(subject, gpu, owned),
    };
    pairs.filter_map(found).collect()
}

fn owned_code(subject: &Subject<'_>, world: &World<'_>) -> Vec<OwnedGpuCode> {
    let copies = subject.inventory.map(copies).unwrap_or_default();
    let mut files: BTreeMap<GpuCodeOwner, Vec<GpuLibrary>> = BTreeMap::new();
    for (path, file) in subject.evidence.files() {
        let Some(code) = file.gpu_code().filter(|code| code.is_loaded() && file.first().is_none()) else {
            continue;
        };
        let library = GpuLibrary { path: format!("/{path}"), code: code.clone() };
        files.entry(owner(path, &copies, world)).or_default().push(library);
    }
    files.into_iter().filter_map(|(owner, libraries)| OwnedGpuCode::of(owner, libraries)).collect()
}

/// The copies of components, by the real paths of their libraries.
fn copies(inventory: &BaseInventory) -> BTreeMap<&str, &CudaCopy> {
    let mut copies = BTreeMap::new();
    for copy in &inventory.cuda {
        copies.extend(copy.libraries.iter().map(|library| (library.path.as_str(), copy)));
    }
    copies
}

fn owner(path: &str, copies: &BTreeMap<&str, &CudaCopy>, world: &World<'_>) -> GpuCodeOwner {
    if let Some(copy) = copies.get(path) {
        return GpuCodeOwner::Component(serving(copy));
    }
    let distribution = world.owner(path).map(|index| world.distributions[index].id());
    // A distribution may bring what it can do without: Triton has a profiler of an older CUDA.
    let is_its_own = |distribution: &DistributionId| {
        let component = Component::of_library(split(path).1);
        ComponentWheel::of(distribution.name.as_ref()).is_none()
            && component.is_none_or(|it| FOR_ALL_GPUS.contains(&it.name()))
    };
    match distribution.filter(is_its_own) {
        Some(distribution) => GpuCodeOwner::Distribution(distribution),
        None => GpuCodeOwner::Directory(format!("/{}", split(path).0)),
    }
}

fn serving(copy: &CudaCopy) -> ServingCopy {
    ServingCopy {
        component: copy.component,
        version: copy.version.clone(),
        directory: format!("/{}", copy.directory),
    }
}

impl OwnedGpuCode {
    fn of(owner: GpuCodeOwner, mut libraries: Vec<GpuLibrary>) -> Option<Self> {
        let code = GpuCode::together(libraries.iter().map(|library| &library.code))?;
        let size = |library: &GpuLibrary| -> u64 {
            library.code.images().iter().map(|images| u64::from(images.count)).sum()
        };
        libraries.sort_by_cached_key(|library| (Reverse(size(library)), library.path.clone()));
        Some(Self { owner, code, libraries: Sample::of(libraries)? })
    }

    /// Returns whether work depends on it: frameworks go on without some components.
    fn is_essential(&self) -> bool {
        match &self.owner {
            GpuCodeOwner::Distribution(_) => true,
            GpuCodeOwner::Component(copy) => FOR_ALL_GPUS.contains(&copy.component.name()),
            GpuCodeOwner::Directory(_) => false,
        }
    }

    fn about(&self) -> About {
        match &self.owner {
            GpuCodeOwner::Distribution(distribution) => About::Distribution(distribution.clone()),
            GpuCodeOwner::Component(ServingCopy { directory, .. }) | GpuCodeOwner::Directory(directory) => {
                About::Path(directory.clone())
            }
        }
    }

    /// Its first file without code for a GPU; the first of all where each has some, and all together too little.
    fn lacking(&self, gpu: &Gpu) -> Option<&GpuLibrary> {
        let mut libraries = self.libraries.first.iter();
        let lacks = |library: &&GpuLibrary| !library.code.runs_on(gpu.capability);
        libraries.clone().find(lacks).or_else(|| libraries.next())
    }
}

/// The drivers: by the runtimes in the image, by the PTX that its GPUs must have compiled, and by that for newer ones.
fn driver(subject: &Subject<'_>, code: &[OwnedGpuCode]) -> Option<DriverNeed> {
    let essential: Vec<&GpuCode> = code.iter().filter(|it| it.is_essential()).map(|it| &it.code).collect();
    let of_distributions = code.iter().filter(|it| matches!(it.owner, GpuCodeOwner::Distribution(_)));
    let newer: Vec<PtxVersion> = of_distributions.filter_map(|it| it.code.newest_ptx()).collect();
    let mut majors: BTreeSet<u32> = BTreeSet::new();
    for copy in subject.inventory.iter().flat_map(|inventory| &inventory.cuda) {
        majors.extend(copy.cuda_major.filter(|_| copy.component.is_runtime() && !copy.is_hidden()));
    }
    // A runtime that is linked into a library tells no version; PTX is of the toolkit that wrote it.
    if majors.is_empty() {
        majors.extend(newer.iter().map(|ptx| ptx.toolkit().0));
    }
    let compiled = subject.gpus.iter().flat_map(|gpu| {
        let running = essential.iter().filter(|code| code.runs_on(gpu.capability));
        running.filter_map(|code| code.compiled_on(gpu.capability))
    });
    DriverNeed::of(majors, compiled, newer.iter().copied())
}

fn missing(subject: &Subject<'_>, world: &World<'_>, gpu: &Gpu, owned: &OwnedGpuCode) -> Option<Finding> {
    let library = owned.lacking(gpu)?;
    let users = match &owned.owner {
        GpuCodeOwner::Component(copy) => users(subject, world, copy),
        GpuCodeOwner::Distribution(_) | GpuCodeOwner::Directory(_) => Vec::new(),
    };
    let is_used = matches!(owned.owner, GpuCodeOwner::Distribution(_)) || !users.is_empty();
    let level = match (owned.is_essential(), is_used) {
        (true, true) => Level::Error,
        (true, false) => Level::Warning,
        (false, _) => Level::Note,
    };
    let observation = Observation::MissingGpu {
        gpu: gpu.clone(),
        library: library.path.clone(),
        compiled_for: library.code.compiled_for(),
        ptx_for_newer: library.code.has_ptx_for_newer(),
        users,
        other_version: other_version(subject, gpu, owned),
    };
    Some(Finding { level, subject: owned.about(), observation })
}

/// A driver that is too old to compile the PTX which is all there is for a GPU.
fn old_driver(subject: &Subject<'_>, gpu: &Gpu, owned: &OwnedGpuCode) -> Option<Finding> {
    let ptx = owned.code.compiled_on(gpu.capability)?;
    let (driver, oldest) = (subject.driver?, Driver::released_with(ptx.toolkit())?);
    let level = if owned.is_essential() { Level::Error } else { Level::Note };
    driver.is_older_than(&oldest).then(|| Finding {
        level,
        subject: owned.about(),
        observation: Observation::OldDriverForPtx { driver: driver.clone(), gpu: gpu.clone(), ptx, oldest },
    })
}

/// The distributions with an object that is linked with a library of a copy, or opens one.
fn users(subject: &Subject<'_>, world: &World<'_>, copy: &ServingCopy) -> Vec<DistributionId> {
    let copies = subject.inventory.iter().flat_map(|inventory| &inventory.cuda);
    let of_copy = copies.filter(|it| serving(it) == *copy).flat_map(|it| &it.libraries);
    let sonames: BTreeSet<&str> = of_copy.map(|library| library.soname.as_str()).collect();
    let mut users = BTreeSet::new();
    for (path, file) in subject.evidence.files() {
        let Some(object) = file.object() else { continue };
        let needed = object.elf.dynamic.iter().flat_map(|dynamic| &dynamic.needed);
        if needed.chain(file.opens()).any(|name| sonames.contains(name.as_str())) {
            users.extend(world.owner(path));
        }
    }
    let distributions = users.into_iter().map(|index| world.distributions[index].id());
    distributions.filter(|it| ComponentWheel::of(it.name.as_ref()).is_none()).collect()
}

/// The newest other version of a distribution that was built before and runs on the GPU.
fn other_version(subject: &Subject<'_>, gpu: &Gpu, owned: &OwnedGpuCode) -> Option<Version> {
    let GpuCodeOwner::Distribution(DistributionId { name, version }) = &owned.owner else { return None };
    let mut seen = subject.seen.get(name)?.iter().rev();
    let other = seen.find(|(other, code)| *other != version && code.runs_on(gpu.capability))?;
    Some(other.0.clone())
}

/// `compiled for 7.5 8.0 9.0a; PTX for newer: no`
pub fn coverage(code: &GpuCode) -> String {
    described(&code.compiled_for(), code.has_ptx_for_newer())
}

/// The same of what is left of code in a finding.
pub(super) fn described(compiled_for: &[GpuTarget], ptx_for_newer: bool) -> String {
    let ptx = if ptx_for_newer { "yes" } else { "no" };
    let targets: Vec<String> = compiled_for.iter().map(ToString::to_string).collect();
    match targets.as_slice() {
        [] => format!("compiled for no GPU; PTX for newer: {ptx}"),
        targets => format!("compiled for {}; PTX for newer: {ptx}", targets.join(" ")),
    }
}
