//! Rules for CUDA as a whole: its driver, its compilers, its headers.

use std::collections::{BTreeMap, BTreeSet};

use super::loader::Loader;
use super::observation::Absence;
use super::world::{ImageDistribution, World};
use super::{About, Finding, Level, Observation, Subject};
use crate::base::{BaseInventory, CudaCopy};
use crate::cuda::{DriverFit, toolkit_version};

/// The frameworks that compile with XLA.
const COMPILED_BY_XLA: [&str; 6] = [
    "tensorflow",
    "jax-cuda12-plugin",
    "jax-cuda13-plugin",
    "jax-cuda11-plugin",
    "tensorflow-gpu",
    "torch-xla",
];

/// Those that compile CUDA C++ while they run: what of the toolkit's headers they include.
const COMPILES_CUDA: [(&str, &str); 4] = [
    ("cupy-cuda11x", "cuda_fp16.h"),
    ("cupy-cuda12x", "cuda_fp16.h"),
    ("cupy-cuda13x", "cuda_fp16.h"),
    ("pycuda", "cuda.h"),
];

pub(super) fn findings(subject: &Subject<'_>, world: &World<'_>, loader: &Loader<'_>) -> Vec<Finding> {
    let Some(inventory) = subject.inventory else { return Vec::new() };
    let mut findings = driver_from_image(subject, loader);
    if inventory.cuda.is_empty() {
        return findings;
    }
    findings.extend(driver_path(subject));
    findings.extend(old_driver(subject, inventory));
    findings.extend(inventory.cuda.iter().filter_map(nvrtc_builtins));
    findings.extend(xla(subject, world, inventory));
    findings.extend(headers(subject, world));
    findings
}

/// The driver's library comes from the machine, never from `compat` or `stubs`.
fn driver_from_image(subject: &Subject<'_>, loader: &Loader<'_>) -> Vec<Finding> {
    let directories = loader.configured_directories();
    let found = directories.iter().filter_map(|directory| {
        let path = format!("{}/libcuda.so.1", directory.trim_end_matches('/'));
        let (real, _) = subject.evidence.file(&path)?;
        Some((path, real))
    });
    let mut seen = BTreeSet::new();
    let finding = |(path, real): (String, String)| Finding {
        level: match ["/compat/", "/stubs/"].iter().any(|part| real.contains(part)) {
            true => Level::Error,
            false => Level::Warning,
        },
        subject: About::Path(path),
        observation: Observation::DriverFromImage { file: format!("/{real}") },
    };
    found.filter(|(_, real)| seen.insert(real.clone())).map(finding).collect()
}

/// Container runtimes that do not run `ldconfig` put the driver where NVIDIA's images tell the loader to look.
fn driver_path(subject: &Subject<'_>) -> Option<Finding> {
    const DIRECTORY: &str = "/usr/local/nvidia/lib64";
    let configured = subject.evidence.below("etc/ld.so.conf.d").any(|(path, _)| path.contains("nvidia"));
    let in_path = subject.config.env.get("LD_LIBRARY_PATH").is_some_and(|path| path.contains(DIRECTORY));
    (!configured && !in_path).then(|| Finding {
        level: Level::Note,
        subject: About::Path("/etc/ld.so.conf.d".to_owned()),
        observation: Observation::DriverPath { directory: DIRECTORY.to_owned() },
    })
}

fn old_driver(subject: &Subject<'_>, inventory: &BaseInventory) -> Vec<Finding> {
    let Some(driver) = subject.driver else { return Vec::new() };
    let mut findings = BTreeMap::new();
    for copy in inventory.cuda.iter().filter(|copy| copy.component.is_runtime() && !copy.is_hidden()) {
        let Some(toolkit) = copy.version.as_ref().and_then(toolkit_version) else { continue };
        let fit = driver.fit(toolkit);
        let level = match fit {
            DriverFit::Runs => continue,
            DriverFit::WithoutPtx { .. } => Level::Warning,
            DriverFit::TooOld { .. } => Level::Error,
        };
        let observation = Observation::OldDriver { driver: driver.clone(), toolkit, fit };
        let subject = About::Path(format!("/{}", copy.directory));
        findings.insert(toolkit, Finding { level, subject, observation });
    }
    findings.into_values().collect()
}

/// NVRTC opens `libnvrtc-builtins.so.12.4`, with its own minor version.
fn nvrtc_builtins(copy: &CudaCopy) -> Option<Finding> {
    const BUILTINS: &str = "libnvrtc-builtins.so.";
    let named =
        |start| copy.libraries.iter().map(|it| &*it.soname).filter(move |name| name.starts_with(start));
    if copy.component.name() != "cuda-nvrtc" || named("libnvrtc.so.").next().is_none() {
        return None;
    }
    let (major, minor) = toolkit_version(copy.version.as_ref()?)?;
    let expected = format!("{BUILTINS}{major}.{minor}");
    let others: Vec<&str> = named(BUILTINS).collect();
    if others.contains(&expected.as_str()) {
        return None;
    }
    let beside = others.into_iter().map(str::to_owned).collect();
    Some(Finding {
        level: Level::Error,
        subject: About::Path(format!("/{}", copy.directory)),
        observation: Observation::NvrtcBuiltins { nvrtc: (major, minor), expected, beside },
    })
}

/// XLA looks for ptxas and libdevice in the toolkits it knows of.
fn xla(subject: &Subject<'_>, world: &World<'_>, inventory: &BaseInventory) -> Vec<Finding> {
    const PTXAS: &str = "bin/ptxas";
    const LIBDEVICE: &str = "nvvm/libdevice/libdevice.10.bc";
    let is_user = |it: &ImageDistribution<'_>| COMPILED_BY_XLA.contains(&it.installed.name.as_ref());
    let serves = inventory.cuda.iter().any(|copy| copy.component.is_runtime());
    let Some(user) = world.distributions.iter().find(|it| is_user(it)).filter(|_| serves) else {
        return Vec::new();
    };
    let home = subject.config.env.get("CUDA_HOME").map(|path| path.trim_start_matches('/').to_owned());
    let mut roots: Vec<String> = home.filter(|home| home != "usr/local/cuda").into_iter().collect();
    roots.push("usr/local/cuda".to_owned());
    for directory in &world.packages {
        roots.extend(["nvidia/cuda_nvcc", "nvidia/cu13"].map(|root| format!("{directory}/{root}")));
    }
    let has =
        |name: &str| roots.iter().any(|root| subject.evidence.file(&format!("{root}/{name}")).is_some());
    let in_path = subject.config.env.get("PATH").is_some_and(|path| {
        path.split(':').any(|directory| subject.evidence.file(&format!("{directory}/ptxas")).is_some())
    });
    let libdevice = has(LIBDEVICE);
    // JAX's plugin may bring one of its own.
    let mut users = world.distributions.iter().filter(|it| is_user(it));
    let of_plugin = users.any(|it| {
        let mut files = it.rows.keys();
        files.any(|path| path.ends_with("/libdevice.10.bc") && subject.evidence.file(path).is_some())
    });
    let absence = |file: &str| Absence { file: file.to_owned(), directories: absolute(&roots) };
    let no_ptxas = (!has(PTXAS) && !in_path).then(|| Observation::NoPtxas(absence(PTXAS)));
    let no_libdevice = (!libdevice && !of_plugin).then(|| Observation::NoLibdevice(absence(LIBDEVICE)));
    let finding =
        |observation| Finding { level: Level::Warning, subject: About::Distribution(user.id()), observation };
    no_ptxas.into_iter().chain(no_libdevice).map(finding).collect()
}

/// The directories with the root before them.
fn absolute(directories: &[String]) -> Vec<String> {
    directories.iter().map(|directory| format!("/{directory}")).collect()
}

fn headers(subject: &Subject<'_>, world: &World<'_>) -> Vec<Finding> {
    let installed = |name: &str| world.distributions.iter().find(|it| it.installed.name.as_ref() == name);
    let mut places = vec!["usr/local/cuda/include".to_owned(), "usr/include".to_owned()];
    for directory in &world.packages {
        places.extend(["cuda_runtime", "cu13"].map(|name| format!("{directory}/nvidia/{name}/include")));
    }
    let users = COMPILES_CUDA.iter().filter_map(|(name, header)| Some((installed(name)?, header)));
    let lacking = users.filter(|(_, header)| {
        !places.iter().any(|place| subject.evidence.file(&format!("{place}/{header}")).is_some())
    });
    let finding = |(user, header): (&ImageDistribution<'_>, &&str)| Finding {
        level: Level::Warning,
        subject: About::Distribution(user.id()),
        observation: Observation::NoHeaders(Absence {
            file: (*header).to_owned(),
            directories: absolute(&places),
        }),
    };
    lacking.map(finding).collect()
}
