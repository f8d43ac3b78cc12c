//! The code for GPUs in wheels, as far as they were built before: a plan shows it, and a check names versions that fit.
//!
//! It is no part of a decision: the same recipe gives the same image, whatever was built before.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uv_normalize::PackageName;
use uv_pep440::Version;

use super::{Planned, Session};
use crate::check::{DistributionId, GpuCodeOwner, GpuSupport, VersionsSeen};
use crate::cuda::{DriverNeed, Gpu, GpuCode, HostDrivers, declares_all, is_without_cuda};
use crate::failure::Result;
use crate::observe::check_facts::EVIDENCE_FORMAT;
use crate::oci::Digest;
use crate::plan::{Plan, WheelInstall, WheelPlacement};
use crate::recipe::RecipeInputs;
use crate::resolve::Resolution;
use crate::store::Store;

/// The records of wheels' code.
const OF_WHEEL: &str = "wheel-gpu-code";
/// The records of distributions' code, by version.
const OF_DISTRIBUTION: &str = "distribution-gpu-code";
/// The most versions of one distribution that are kept: the oldest give way.
const MOST_VERSIONS: usize = 64;

/// The GPUs and drivers that a planned image runs on, as far as that is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlannedGpus {
    /// The frameworks, and all that have code for GPUs; `None` for what was never built.
    pub distributions: Vec<(DistributionId, Option<GpuCode>)>,
    /// The GPUs of the recipe that some of them are known not to run on.
    pub lacking: Vec<(DistributionId, Gpu)>,
    /// The drivers; `None` without CUDA.
    pub driver: Option<DriverNeed>,
    /// The drivers of the hosts that the recipe names.
    pub hosts: HostDrivers,
}

/// The code in a wheel; `None` for none.
#[derive(Debug, Serialize, Deserialize)]
struct WheelGpuCode(Option<GpuCode>);

/// The versions of a distribution that have code.
#[derive(Debug, Default, Serialize, Deserialize)]
struct DistributionGpuCode(BTreeMap<Version, GpuCode>);

/// Remembers the code of the wheels in an image that was built.
pub(super) fn keep(planned: &Planned, support: &GpuSupport, store: &Store) -> Result<()> {
    let mut code: BTreeMap<String, &GpuCode> = BTreeMap::new();
    for owned in &support.code {
        if let GpuCodeOwner::Distribution(distribution) = &owned.owner {
            code.insert(distribution.to_string(), &owned.code);
        }
    }
    for wheel in wheels(&planned.plan) {
        let code = code.get(&title(wheel)).copied();
        let key = wheel_key(wheel);
        if store.has_record(OF_WHEEL, &key) {
            continue;
        }
        store.put_record(OF_WHEEL, &key, &WheelGpuCode(code.cloned()))?;
        if let (Some(code), Some((name, version))) = (code, identity(wheel)) {
            keep_version(&name, version, code, store)?;
        }
    }
    Ok(())
}

fn keep_version(name: &PackageName, version: Version, code: &GpuCode, store: &Store) -> Result<()> {
    let key = distribution_key(name);
    let DistributionGpuCode(mut versions) = store.record(OF_DISTRIBUTION, &key).unwrap_or_default();
    versions.insert(version, code.clone());
    while versions.len() > MOST_VERSIONS {
        versions.pop_first();
    }
    Ok(store.put_record(OF_DISTRIBUTION, &key, &DistributionGpuCode(versions))?)
}

/// The versions that were built before of the distributions in an image.
pub(super) fn seen(planned: &Planned, store: &Store) -> VersionsSeen {
    let names = wheels(&planned.plan).filter_map(|wheel| Some(identity(wheel)?.0));
    let versions = |name: PackageName| {
        let DistributionGpuCode(versions) = store.record(OF_DISTRIBUTION, &distribution_key(&name))?;
        Some((name, versions))
    };
    names.filter_map(versions).collect()
}

/// The GPUs and drivers of a plan over a base with this environment, as far as they are known.
pub(super) fn planned(
    inputs: &RecipeInputs,
    base_env: &[String],
    resolution: &Resolution,
    plan: &Plan,
    session: &Session<'_>,
) -> PlannedGpus {
    let mut distributions = Vec::new();
    for wheel in wheels(plan) {
        let Some((name, version)) = identity(wheel) else { continue };
        let known: Option<WheelGpuCode> = session.store.record(OF_WHEEL, &wheel_key(wheel));
        let code = match known {
            Some(WheelGpuCode(None)) => continue,
            Some(WheelGpuCode(code)) => code,
            None if resolution.has_cuda() && may_have_code(wheel) => None,
            None => continue,
        };
        distributions.push((DistributionId { name, version }, code));
    }
    let code = || distributions.iter().filter_map(|(_, code)| code.as_ref());
    let gpus = || inputs.recipe.cuda.gpus.iter().map(|gpu| &gpu.value);
    let compiled = gpus().flat_map(|gpu| code().filter_map(|code| code.compiled_on(gpu.capability)));
    let lacks = |code: &Option<GpuCode>, gpu: &Gpu| {
        code.as_ref().is_some_and(|code| code.is_loaded() && !code.runs_on(gpu.capability))
    };
    let pairs = gpus().flat_map(|gpu| distributions.iter().map(move |(id, code)| (gpu, id, code)));
    let lacking = pairs.filter(|(gpu, _, code)| lacks(code, gpu));
    let lacking = lacking.map(|(gpu, distribution, _)| (distribution.clone(), gpu.clone())).collect();
    let newer = code().filter_map(GpuCode::newest_ptx);
    let driver = DriverNeed::of(resolution.toolkits.keys().map(|(major, _)| *major), compiled, newer);
    PlannedGpus { driver, hosts: inputs.host_drivers(base_env), lacking, distributions }
}

/// Returns whether a wheel that was never built is likely to have code: of what is asked for, and of frameworks.
fn may_have_code(wheel: &WheelInstall) -> bool {
    let name = wheel.distribution.as_str();
    let is_pure = wheel.filename.ends_with("-any.whl");
    !is_pure && !is_without_cuda(name) && (wheel.requested || declares_all(name))
}

/// The wheels that are no components; one that is cut over several layers once.
fn wheels(plan: &Plan) -> impl Iterator<Item = &WheelInstall> {
    let is_first = |wheel: &&WheelInstall| wheel.part.is_none_or(|part| part.index == 0);
    let is_package = |wheel: &&WheelInstall| wheel.place == WheelPlacement::SitePackages;
    plan.wheels().filter(is_first).filter(is_package)
}

fn identity(wheel: &WheelInstall) -> Option<(PackageName, Version)> {
    Some((wheel.distribution.parse().ok()?, wheel.version.parse().ok()?))
}

/// `torch 2.6.0`, as [`DistributionId`] has it.
fn title(wheel: &WheelInstall) -> String {
    format!("{} {}", wheel.distribution, wheel.version)
}

fn wheel_key(wheel: &WheelInstall) -> Digest {
    Digest::of(format!("{EVIDENCE_FORMAT} {}", wheel.wheel))
}

fn distribution_key(name: &PackageName) -> Digest {
    Digest::of(format!("{EVIDENCE_FORMAT} {name}"))
}
