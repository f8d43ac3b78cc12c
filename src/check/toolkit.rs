//! Rules for CUDA as a whole: its copies, its compiler, its driver.

use std::collections::{BTreeMap, BTreeSet};

use uv_normalize::ExtraName;
use uv_pep440::Version;

use super::linking::Python;
use super::loader::{Loaded, Loader, Process, Search};
use super::world::{Distribution, World};
use super::{Finding, Level, Rule, Subject};
use crate::base::{BaseInventory, CudaCopy};
use crate::cuda::{Component, ComponentWheel, DriverFit, toolkit_version};
use crate::pypa::metadata::Requirement;
use crate::pypa::specifiers::floor;

/// Libraries that must be of one copy, for they call each other by more than their names.
const COMPANIONS: [&str; 8] =
    ["cuda-runtime", "cublas", "cusparse", "cusolver", "cufft", "curand", "nvjitlink", "cuda-nvrtc"];

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

/// Extras by which frameworks ask for CUDA's wheels.
const CUDA_EXTRAS: [&str; 4] = ["and-cuda", "with-cuda", "cuda", "cudnn"];

/// The same, as requirements' markers are evaluated with them.
pub(super) fn cuda_wheel_extras() -> Vec<ExtraName> {
    CUDA_EXTRAS.iter().filter_map(|name| name.parse().ok()).collect()
}

pub(super) fn findings<'a>(
    subject: &Subject<'_>,
    world: &World<'_>,
    loader: &Loader<'a>,
    python: Option<&Python<'a>>,
) -> Vec<Finding> {
    let Some(inventory) = subject.inventory else { return Vec::new() };
    let mut findings = Vec::new();
    findings.extend(driver_from_image(subject, loader));
    if inventory.cuda.is_empty() {
        return findings;
    }
    findings.extend(driver_path(subject));
    findings.extend(old_driver(subject, inventory));
    findings.extend(inventory.cuda.iter().filter_map(nvrtc_builtins));
    findings.extend(xla(subject, world, inventory));
    findings.extend(headers(subject, world));
    if let Some(python) = python {
        findings.extend(Rules { world, loader, copies: Copies::of(inventory) }.judge(python));
    }
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
    found
        .filter(|(_, real)| seen.insert(real.clone()))
        .map(|(path, real)| Finding {
            level: if ["/compat/", "/stubs/"].iter().any(|part| real.contains(part)) {
                Level::Error
            } else {
                Level::Warning
            },
            rule: Rule::DriverFromImage,
            subject: path,
            seen: format!("the loader finds the driver's library in the image, at /{real}"),
            fix: "take its directory out of LD_LIBRARY_PATH and /etc/ld.so.conf.d, or leave its package out"
                .to_owned(),
        })
        .collect()
}

/// Container runtimes that do not run `ldconfig` put the driver where NVIDIA's images tell the loader to look.
fn driver_path(subject: &Subject<'_>) -> Option<Finding> {
    const DIRECTORY: &str = "/usr/local/nvidia/lib64";
    let configured = subject.evidence.below("etc/ld.so.conf.d").any(|(path, _)| path.contains("nvidia"));
    let in_path = subject.config.env.get("LD_LIBRARY_PATH").is_some_and(|path| path.contains(DIRECTORY));
    (!configured && !in_path).then(|| Finding {
        level: Level::Note,
        rule: Rule::DriverPath,
        subject: "/etc/ld.so.conf.d".to_owned(),
        seen: format!("nothing leads to {}", DIRECTORY),
        fix: format!("name {} in a file of /etc/ld.so.conf.d, as imgforge's images do", DIRECTORY),
    })
}

fn old_driver(subject: &Subject<'_>, inventory: &BaseInventory) -> Vec<Finding> {
    let Some(driver) = subject.driver else { return Vec::new() };
    let mut findings = BTreeMap::new();
    for copy in inventory.cuda.iter().filter(|copy| copy.component.is_runtime() && !copy.is_hidden()) {
        let Some((major, minor)) = copy.version.as_ref().and_then(toolkit_version) else { continue };
        let (level, seen) = match driver.fit((major, minor)) {
            DriverFit::Runs => continue,
            DriverFit::WithoutPtx { released_with } => {
                let with = released_with.map(|with| format!(", which came with {with}")).unwrap_or_default();
                (
                    Level::Warning,
                    format!(
                        "driver {driver} runs CUDA {major}.{minor}{with}, but not what is compiled to PTX"
                    ),
                )
            }
            DriverFit::TooOld { oldest } => (
                Level::Error,
                format!("driver {driver} runs no CUDA {major}: the oldest that does is {oldest}"),
            ),
        };
        findings.insert(
            (major, minor),
            Finding {
                level,
                rule: Rule::OldDriver,
                subject: format!("/{}", copy.directory),
                seen,
                fix: "state a newer driver in `cuda.driver`, or choose frameworks of an older CUDA"
                    .to_owned(),
            },
        );
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
    Some(Finding {
        level: Level::Error,
        rule: Rule::NvrtcBuiltins,
        subject: format!("/{}", copy.directory),
        seen: match others.as_slice() {
            [] => format!("NVRTC {major}.{minor} has no {expected} beside it"),
            others => format!("NVRTC {major}.{minor} has {} beside it, not {expected}", others.join(", ")),
        },
        fix: "let imgforge serve it whole (`cuda: {components: {cuda-nvrtc: shared}}`)".to_owned(),
    })
}

/// XLA looks for ptxas and libdevice in the toolkits it knows of.
fn xla(subject: &Subject<'_>, world: &World<'_>, inventory: &BaseInventory) -> Vec<Finding> {
    let is_user = |it: &Distribution<'_>| COMPILED_BY_XLA.contains(&it.installed.name.as_ref());
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
    let missing = |rule, what: &str, there: bool| {
        (!there).then(|| Finding {
            level: Level::Warning,
            rule,
            subject: user.title(),
            seen: format!("no {what} in {}", absolute(&roots)),
            fix: "let imgforge serve it (`cuda: {components: {cuda-nvcc: shared}}`)".to_owned(),
        })
    };
    let libdevice = has("nvvm/libdevice/libdevice.10.bc");
    // JAX's plugin may bring one of its own.
    let mut users = world.distributions.iter().filter(|it| is_user(it));
    let of_plugin = users.any(|it| {
        let mut files = it.rows.keys();
        files.any(|path| path.ends_with("/libdevice.10.bc") && subject.evidence.file(path).is_some())
    });
    [
        missing(Rule::NoPtxas, "bin/ptxas", has("bin/ptxas") || in_path),
        missing(Rule::NoLibdevice, "nvvm/libdevice/libdevice.10.bc", libdevice || of_plugin),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The directories as people write them.
fn absolute(directories: &[String]) -> String {
    directories.iter().map(|directory| format!("/{directory}")).collect::<Vec<_>>().join(", ")
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
    lacking
        .map(|(user, header)| Finding {
            level: Level::Warning,
            rule: Rule::NoHeaders,
            subject: user.title(),
            seen: format!("no {header} in {}", absolute(&places)),
            fix: "let imgforge serve the runtime's wheel, which has them (`cuda: {components: {cuda-runtime: shared}}`)".to_owned(),
        })
        .collect()
}

/// A distribution with everything that its modules load.
struct Loading<'a> {
    distribution: usize,
    process: Process<'a>,
    /// What is not the interpreter's begins here.
    from: usize,
}

impl<'a> Loading<'a> {
    /// What the distribution's modules load beside the interpreter.
    fn loaded(&self) -> &[Loaded<'a>] {
        &self.process.objects[self.from..]
    }
}

/// The rules for which copies of CUDA each distribution ends up with.
struct Rules<'a, 'b> {
    world: &'b World<'b>,
    loader: &'b Loader<'a>,
    copies: Copies<'b>,
}

impl<'a> Rules<'a, '_> {
    fn judge(&self, python: &Python<'a>) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut reached: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for loading in self.loadings(python) {
            findings.extend(self.components(&loading));
            findings.extend(self.opened(&loading));
            findings.extend(self.majors(&loading));
            findings.extend(self.mixed(&loading));
            findings.extend(self.cudnn(&loading));
            for loaded in &loading.process.objects {
                if Component::of_library(loaded.file_name()).is_some() {
                    let files = reached.entry(loaded.soname().to_owned()).or_default();
                    files.entry(loaded.real.clone()).or_insert_with(|| self.title(&loading));
                }
            }
        }
        let several = reached.iter().filter(|(_, files)| files.len() > 1);
        findings.extend(several.map(|(soname, files)| duplicate(soname, files)));
        findings
    }

    /// What each distribution loads that has modules.
    fn loadings(&self, python: &Python<'a>) -> Vec<Loading<'a>> {
        let from = python.process.objects.len();
        let mut loadings: BTreeMap<usize, Loading<'a>> = BTreeMap::new();
        for module in &python.modules {
            let Some(distribution) = module.distribution else { continue };
            let process = || python.process.clone();
            let loading = loadings.entry(distribution).or_insert_with(|| Loading {
                distribution,
                process: process(),
                from,
            });
            self.loader.open(&mut loading.process, &module.path, Search::Path);
        }
        loadings.into_values().collect()
    }

    fn title(&self, loading: &Loading<'_>) -> String {
        self.world.distributions[loading.distribution].title()
    }

    /// What a distribution requires of CUDA, held against what the loader finds.
    fn components(&self, loading: &Loading<'a>) -> Vec<Finding> {
        let index = loading.distribution;
        let extras = cuda_wheel_extras();
        let plain = self.world.requirements(index, &[]);
        let mut findings = Vec::new();
        let mut process = loading.process.clone();
        for requirement in self.world.requirements(index, &extras) {
            let Some(ComponentWheel::Carries { component, major, .. }) =
                ComponentWheel::of(requirement.name.as_ref())
            else {
                continue;
            };
            let present: Vec<&CudaCopy> = self.copies.of_component(component, major).collect();
            if !component.has_libraries() || (present.is_empty() && !plain.contains(&requirement)) {
                continue;
            }
            let asked: BTreeSet<&str> = present
                .iter()
                .flat_map(|copy| copy.asked_for())
                .map(|library| library.soname.as_str())
                .collect();
            // Older SONAMEs may stand beside the one that is meant.
            let found = asked.iter().filter_map(|soname| {
                let found = self.loader.open_name(&mut process, soname, loading.from)?;
                self.copies.at(&process.objects[found].real)
            });
            let found = found.max_by_key(|copy| &copy.version);
            let served = found.or_else(|| present.into_iter().find(|copy| self.is_private_wheel(copy)));
            findings.extend(self.component(loading, requirement, component, served));
        }
        findings
    }

    /// Whether a copy is one that frameworks load by its path in site-packages.
    fn is_private_wheel(&self, copy: &CudaCopy) -> bool {
        let is_wheel =
            copy.distribution.as_ref().is_some_and(|name| ComponentWheel::of(name.as_ref()).is_some());
        let within = self.world.within_packages(&copy.directory).is_some();
        within && is_wheel && copy.asked_for().next().is_some()
    }

    fn component(
        &self,
        loading: &Loading<'_>,
        requirement: &Requirement,
        component: Component,
        served: Option<&CudaCopy>,
    ) -> Option<Finding> {
        let finding = |level, rule, seen| Finding {
            level,
            rule,
            subject: self.title(loading),
            seen: format!("it requires `{requirement}`, and the loader finds {seen}"),
            fix: format!("let imgforge serve it (`cuda: {{components: {{{component}: shared}}}}`)"),
        };
        let Some(copy) = served else {
            let seen = format!("no copy of {component}");
            return Some(finding(Level::Error, Rule::MissingComponent, seen));
        };
        let (floor, version) = (floor(requirement)?, copy.version.as_ref()?);
        // What a file name tells may be shorter than the version that was asked for.
        let shown = version.release().len().min(floor.release().len());
        if version.release()[..shown] >= floor.release()[..shown] {
            return None;
        }
        // cuDNN refuses to work for what was built with a newer minor version; others miss functions, which symbols tell.
        let level = if component.name() == "cudnn" { Level::Error } else { Level::Warning };
        let seen = format!("{component} {version} in /{}", copy.directory);
        Some(finding(level, Rule::OldComponent, seen))
    }

    /// What a distribution's own libraries open by name: of a component that the image has, one of the names must lead
    /// to a copy.
    fn opened(&self, loading: &Loading<'a>) -> Vec<Finding> {
        let mut process = loading.process.clone();
        let mut findings = Vec::new();
        for (index, loaded) in loading.process.objects.iter().enumerate().skip(loading.from) {
            let is_own = self.world.owner(&loaded.real) == Some(loading.distribution);
            if !is_own || self.copies.at(&loaded.real).is_some() {
                continue;
            }
            let mut names: BTreeMap<Component, Vec<&str>> = BTreeMap::new();
            for name in self.loader.opens(loaded).iter().filter(|name| has_version(name)) {
                if let Some(component) = Component::of_library(name) {
                    names.entry(component).or_default().push(name);
                }
            }
            for (component, names) in names {
                let Some(present) = self.copies.of_component(component, None).next() else { continue };
                if names.iter().any(|name| self.loader.open_name(&mut process, name, index).is_some()) {
                    continue;
                }
                let version =
                    present.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
                findings.push(Finding {
                    level: Level::Warning,
                    rule: Rule::OtherSoname,
                    subject: self.title(loading),
                    seen: format!(
                        "{} opens {}, which the loader does not find; the image has {component}{version} in /{}",
                        loaded.path,
                        names.join(" or "),
                        present.directory
                    ),
                    fix: format!(
                        "use a release that is built for this {component}, or add the other one beside it"
                    ),
                });
            }
        }
        findings
    }

    /// Two CUDA majors in one process.
    fn majors(&self, loading: &Loading<'_>) -> Option<Finding> {
        let mut majors: BTreeMap<u32, &str> = BTreeMap::new();
        for loaded in loading.loaded() {
            if let Some(major) = self.copies.at(&loaded.real).and_then(|copy| copy.cuda_major) {
                majors.entry(major).or_insert(&loaded.path);
            }
        }
        let told: Vec<String> = majors.iter().map(|(major, path)| format!("CUDA {major}: {path}")).collect();
        (majors.len() > 1).then(|| Finding {
            level: Level::Error,
            rule: Rule::TwoMajors,
            subject: self.title(loading),
            seen: told.join(", "),
            fix: "choose frameworks of one CUDA major, or let imgforge give each major a tree of its own"
                .to_owned(),
        })
    }

    /// Companions of which pip's copy serves some, and the system's others.
    fn mixed(&self, loading: &Loading<'_>) -> Option<Finding> {
        let mut of_pip = BTreeMap::new();
        let mut of_system = BTreeMap::new();
        for loaded in loading.loaded() {
            let copy = self.copies.at(&loaded.real);
            let Some(copy) = copy.filter(|copy| COMPANIONS.contains(&copy.component.name())) else {
                continue;
            };
            let is_private = self.world.within_packages(&loaded.real).is_some();
            let side = if is_private { &mut of_pip } else { &mut of_system };
            side.entry(copy.component.name()).or_insert(&loaded.path);
        }
        let (pip, pip_path) = of_pip.first_key_value()?;
        let (system, system_path) = of_system.first_key_value()?;
        Some(Finding {
            level: Level::Warning,
            rule: Rule::MixedCopies,
            subject: self.title(loading),
            seen: format!("{pip} comes from {pip_path}, and {system} from {system_path}"),
            fix: "remove the wheel that pip installed, or serve all of them alike (`cuda: {policy: shared}`)"
                .to_owned(),
        })
    }

    /// cuDNN loads its parts by name, which must all be of one copy, and compiles with NVRTC.
    fn cudnn(&self, loading: &Loading<'a>) -> Vec<Finding> {
        let is_of =
            |name: &str, component| Component::of_library(name).is_some_and(|it| it.name() == component);
        let mut process = loading.process.clone();
        let objects = &process.objects;
        let main = objects.iter().position(|loaded| loaded.file_name().starts_with("libcudnn.so"));
        let Some(main) = main else { return Vec::new() };
        let home = objects[main].directory().to_owned();
        let copy = self.copies.at(&objects[main].real);
        let major = objects[main].soname().strip_prefix("libcudnn.so").unwrap_or_default().to_owned();
        let suffixes = suffixes(copy.and_then(|copy| copy.version.as_ref()), &major);

        let is_part = |loaded: &Loaded<'_>| is_of(loaded.file_name(), "cudnn");
        let mut parts: Vec<usize> = (0..objects.len()).filter(|index| is_part(&objects[*index])).collect();
        let (mut asked, mut compiles, mut findings) = (BTreeSet::new(), None, Vec::new());
        let mut next = 0;
        while let Some(part) = parts.get(next).copied() {
            next += 1;
            for name in self.loader.opens(&process.objects[part]) {
                if is_of(name, "cuda-nvrtc") {
                    compiles.get_or_insert(part);
                }
                if !is_of(name, "cudnn") || !asked.insert(name) {
                    continue;
                }
                let names = suffixes.iter().filter(|_| name.ends_with(".so"));
                let names = names.map(|suffix| format!("{name}{suffix}")).chain([name.clone()]);
                let found = names
                    .into_iter()
                    .find_map(|name| Some((self.loader.open_name(&mut process, &name, part)?, name)));
                let Some((found, name)) = found else { continue };
                if !parts.contains(&found) {
                    parts.push(found);
                }
                let other = process.objects[found].directory();
                if other != home {
                    findings.push(Finding {
                        level: Level::Error,
                        rule: Rule::MixedCudnn,
                        subject: self.title(loading),
                        seen: format!("cuDNN is in /{home}, and the loader finds its {name} in /{other}"),
                        fix: "keep one copy of cuDNN (`cuda: {components: {cudnn: shared}}`)".to_owned(),
                    });
                }
            }
        }
        let cuda = copy.and_then(|copy| copy.cuda_major);
        findings.extend(compiles.and_then(|part| self.compiler(loading, &mut process, part, cuda)));
        findings
    }

    /// NVRTC, which a library opens by its SONAME, where neither its search nor anything loaded before leads to it.
    fn compiler(
        &self,
        loading: &Loading<'_>,
        process: &mut Process<'a>,
        part: usize,
        cuda: Option<u32>,
    ) -> Option<Finding> {
        const NAME: &str = "libnvrtc.so.";
        let nvrtc = Component::of_library(NAME)?;
        let copies: Vec<&CudaCopy> = self.copies.of_component(nvrtc, cuda).collect();
        let present = copies.iter().flat_map(|copy| &copy.libraries).map(|library| library.soname.clone());
        let mut names: BTreeSet<String> = present.filter(|name| name.starts_with(NAME)).collect();
        names.extend(cuda.map(|major| format!("{NAME}{major}")));
        if names.is_empty() || names.iter().any(|name| self.loader.open_name(process, name, part).is_some()) {
            return None;
        }
        let is_private = copies.iter().any(|copy| self.is_private_wheel(copy));
        Some(Finding {
            // A framework may have loaded its wheel's copy before.
            level: if is_private { Level::Note } else { Level::Warning },
            rule: Rule::MissingLibrary,
            subject: format!("/{}", process.objects[part].real),
            seen: format!(
                "{} opens {}, which the loader does not find",
                self.title(loading),
                names.into_iter().collect::<Vec<_>>().join(" or ")
            ),
            fix: format!("let imgforge serve it (`cuda: {{components: {{{nvrtc}: shared}}}}`)"),
        })
    }
}

/// What cuDNN adds to the names of its parts, in the order in which it tries them: `.9.3.0`, `.9.3`, `.9`.
fn suffixes(version: Option<&Version>, major: &str) -> Vec<String> {
    let numbers = version.map(|version| version.release().to_vec()).unwrap_or_default();
    let suffix =
        |count: usize| Some(numbers.get(..count)?.iter().map(|number| format!(".{number}")).collect());
    [3, 2].into_iter().filter_map(suffix).chain([major.to_owned()]).collect()
}

fn duplicate(soname: &str, files: &BTreeMap<String, String>) -> Finding {
    let told: Vec<String> = files.iter().map(|(path, by)| format!("/{path} for {by}")).collect();
    Finding {
        level: Level::Warning,
        rule: Rule::DuplicateSoname,
        subject: soname.to_owned(),
        seen: told.join(", "),
        fix: "let imgforge serve it once (`cuda: {policy: shared}`)".to_owned(),
    }
}

/// The copies of an image by the files of their libraries.
struct Copies<'a> {
    all: &'a [CudaCopy],
    by_file: BTreeMap<&'a str, &'a CudaCopy>,
}

impl<'a> Copies<'a> {
    fn of(inventory: &'a BaseInventory) -> Self {
        let files = inventory
            .cuda
            .iter()
            .flat_map(|copy| copy.libraries.iter().map(move |library| (library.path.as_str(), copy)));
        Self { all: &inventory.cuda, by_file: files.collect() }
    }

    fn at(&self, real: &str) -> Option<&'a CudaCopy> {
        self.by_file.get(real).copied()
    }

    /// The copies of a component for a CUDA major, or for any where a wheel's name does not tell.
    fn of_component(&self, component: Component, major: Option<u32>) -> impl Iterator<Item = &'a CudaCopy> {
        self.all.iter().filter(move |copy| {
            let fits = major.is_none() || copy.cuda_major.is_none() || copy.cuda_major == major;
            copy.component == component && fits
        })
    }
}

/// Whether a name is whole: `libnvrtc.so.12`, not the `libnvrtc.so.` to which code adds a number.
fn has_version(name: &str) -> bool {
    name.split_once(".so.").is_some_and(|(_, version)| version.ends_with(|c: char| c.is_ascii_digit()))
}
