//! Rules for the copies of CUDA that each distribution ends up with.

use std::collections::{BTreeMap, BTreeSet};

use uv_normalize::ExtraName;
use uv_pep440::Version;

use super::loader::{Loaded, Loader, Process};
use super::loading::Loading;
use super::observation::{ComponentOf, LoadedFor, MajorOf, ServingCopy};
use super::world::World;
use super::{About, DistributionId, Finding, Level, Observation};
use crate::base::{BaseInventory, CudaCopy};
use crate::cuda::{Component, ComponentWheel};
use crate::pypa::metadata::Requirement;
use crate::pypa::specifiers::floor;

/// Libraries that must be of one copy, for they call each other by more than their names.
const COMPANIONS: [&str; 8] =
    ["cuda-runtime", "cublas", "cusparse", "cusolver", "cufft", "curand", "nvjitlink", "cuda-nvrtc"];

/// Extras by which frameworks ask for CUDA's wheels.
const CUDA_EXTRAS: [&str; 4] = ["and-cuda", "with-cuda", "cuda", "cudnn"];

/// The same, as requirements' markers are evaluated with them.
pub(super) fn cuda_wheel_extras() -> Vec<ExtraName> {
    CUDA_EXTRAS.iter().filter_map(|name| name.parse().ok()).collect()
}

pub(super) fn findings<'a>(
    inventory: &BaseInventory,
    world: &World<'_>,
    loader: &Loader<'a>,
    loadings: &[Loading<'a>],
) -> Vec<Finding> {
    CopyRules { world, loader, copies: Copies::of(inventory) }.judge(loadings)
}

/// The rules for which copies of CUDA each distribution ends up with.
struct CopyRules<'a, 'b> {
    world: &'b World<'b>,
    loader: &'b Loader<'a>,
    copies: Copies<'b>,
}

impl<'a> CopyRules<'a, '_> {
    fn judge(&self, loadings: &[Loading<'a>]) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut reached: BTreeMap<String, BTreeMap<String, DistributionId>> = BTreeMap::new();
        for loading in loadings {
            findings.extend(self.components(loading));
            findings.extend(self.opened(loading));
            findings.extend(self.majors(loading));
            findings.extend(self.mixed(loading));
            findings.extend(self.cudnn(loading));
            for loaded in &loading.process.objects {
                if Component::of_library(loaded.file_name()).is_some() {
                    let files = reached.entry(loaded.soname().to_owned()).or_default();
                    files.entry(loaded.real.clone()).or_insert_with(|| self.distribution(loading));
                }
            }
        }
        let several = reached.into_iter().filter(|(_, files)| files.len() > 1);
        findings.extend(several.map(|(soname, files)| duplicate(soname, files)));
        findings
    }

    fn distribution(&self, loading: &Loading<'_>) -> DistributionId {
        self.world.distributions[loading.distribution].id()
    }

    fn finding(&self, level: Level, loading: &Loading<'_>, observation: Observation) -> Finding {
        Finding { level, subject: About::Distribution(self.distribution(loading)), observation }
    }

    /// Compares a distribution's requirements on CUDA with the libraries that the loader finds.
    fn components(&self, loading: &Loading<'a>) -> Vec<Finding> {
        let index = loading.distribution;
        let extras = cuda_wheel_extras();
        let plain = self.world.requirements(index, &[]);
        let mut findings = Vec::new();
        let askers = self.askers(loading);
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
            // Older SONAMEs may stand beside the one that is meant, and each object has its own way to it.
            let found = asked.iter().flat_map(|soname| askers.iter().map(move |asker| (soname, *asker)));
            let found = found.filter_map(|(soname, asker)| {
                let mut process = loading.process.clone();
                let found = self.loader.open_name(&mut process, soname, asker)?;
                self.copies.at(&process.objects[found].real)
            });
            let found = found.max_by_key(|copy| &copy.version);
            let served = found.or_else(|| present.into_iter().find(|copy| self.is_private_wheel(copy)));
            findings.extend(self.component(loading, requirement, component, served));
        }
        findings
    }

    /// The objects of a distribution that search for libraries, one for each search path; the first that it loads where it
    /// has none of its own.
    fn askers(&self, loading: &Loading<'_>) -> Vec<usize> {
        let mut askers: BTreeMap<(&str, Option<&str>, Option<&str>), usize> = BTreeMap::new();
        for (index, loaded) in loading.process.objects.iter().enumerate().skip(loading.from) {
            let Some(dynamic) = &loaded.object.elf.dynamic else { continue };
            if self.is_own(loading, loaded) {
                let key = (loaded.directory(), dynamic.rpath.as_deref(), dynamic.runpath.as_deref());
                askers.entry(key).or_insert(index);
            }
        }
        match askers.is_empty() {
            true => vec![loading.from],
            false => askers.into_values().collect(),
        }
    }

    /// Returns whether a distribution brought an object.
    fn is_own(&self, loading: &Loading<'_>, loaded: &Loaded<'_>) -> bool {
        let owner = self.world.owner(&loaded.path).or_else(|| self.world.owner(&loaded.file));
        owner == Some(loading.distribution)
    }

    /// Returns whether a copy is one that frameworks load by its path in site-packages.
    fn is_private_wheel(&self, copy: &CudaCopy) -> bool {
        let is_wheel =
            copy.distribution.as_ref().is_some_and(|name| ComponentWheel::of(name.as_ref()).is_some());
        let within = self.world.is_in_packages(&copy.directory);
        within && is_wheel && copy.asked_for().next().is_some()
    }

    fn component(
        &self,
        loading: &Loading<'_>,
        requirement: &Requirement,
        component: Component,
        served: Option<&CudaCopy>,
    ) -> Option<Finding> {
        let text = requirement.to_string();
        let Some(copy) = served else {
            let observation = Observation::MissingComponent { requirement: text, component };
            return Some(self.finding(Level::Error, loading, observation));
        };
        let (floor, version) = (floor(requirement)?, copy.version.as_ref()?);
        // What a file name tells may be shorter than the version that was asked for.
        let shown = version.release().len().min(floor.release().len());
        if version.release()[..shown] >= floor.release()[..shown] {
            return None;
        }
        // cuDNN refuses to work for what was built with a newer minor version; others miss functions, which symbols tell.
        let level = if component.name() == "cudnn" { Level::Error } else { Level::Warning };
        let observation = Observation::OldComponent { requirement: text, copy: serving(copy) };
        Some(self.finding(level, loading, observation))
    }

    /// Checks the names that a distribution's own libraries open: of a component that the image has, one of the names
    /// must lead to a copy.
    fn opened(&self, loading: &Loading<'a>) -> Vec<Finding> {
        let mut process = loading.process.clone();
        let mut findings = Vec::new();
        for (index, loaded) in loading.process.objects.iter().enumerate().skip(loading.from) {
            if !self.is_own(loading, loaded) || self.copies.at(&loaded.real).is_some() {
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
                let observation = Observation::OtherSoname {
                    object: loaded.path.clone(),
                    names: names.into_iter().map(str::to_owned).collect(),
                    copy: serving(present),
                    searched: self.loader.all_searched(&process, index),
                };
                findings.push(self.finding(Level::Warning, loading, observation));
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
        let of = |(major, library): (u32, &str)| MajorOf { major, library: library.to_owned() };
        let majors: Vec<MajorOf> = majors.into_iter().map(of).collect();
        (majors.len() > 1).then(|| self.finding(Level::Error, loading, Observation::TwoMajors { majors }))
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
            let is_private = self.world.is_in_packages(&loaded.real);
            let side = if is_private { &mut of_pip } else { &mut of_system };
            side.entry(copy.component).or_insert(&loaded.path);
        }
        let first = |side: BTreeMap<Component, &String>| {
            let (component, library) = side.into_iter().next()?;
            Some(ComponentOf { component, library: library.clone() })
        };
        let (of_pip, of_system) = (first(of_pip)?, first(of_system)?);
        Some(self.finding(Level::Warning, loading, Observation::MixedCopies { of_pip, of_system }))
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
                    let observation = Observation::MixedCudnn {
                        directory: format!("/{home}"),
                        part: name,
                        found_in: format!("/{other}"),
                    };
                    findings.push(self.finding(Level::Error, loading, observation));
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
            subject: About::Path(format!("/{}", process.objects[part].real)),
            observation: Observation::MissingCompiler {
                distribution: self.distribution(loading),
                names: names.into_iter().collect(),
                searched: self.loader.all_searched(process, part),
            },
        })
    }
}

/// The suffixes that cuDNN tries for the names of its parts, in order: `.9.3.0`, `.9.3`, `.9`.
fn suffixes(version: Option<&Version>, major: &str) -> Vec<String> {
    let numbers = version.map(|version| version.release().to_vec()).unwrap_or_default();
    let suffix =
        |count: usize| Some(numbers.get(..count)?.iter().map(|number| format!(".{number}")).collect());
    [3, 2].into_iter().filter_map(suffix).chain([major.to_owned()]).collect()
}

fn duplicate(soname: String, files: BTreeMap<String, DistributionId>) -> Finding {
    let file = |(path, distribution)| LoadedFor { file: format!("/{path}"), distribution };
    Finding {
        level: Level::Warning,
        subject: About::Soname(soname),
        observation: Observation::DuplicateSoname { files: files.into_iter().map(file).collect() },
    }
}

fn serving(copy: &CudaCopy) -> ServingCopy {
    ServingCopy {
        component: copy.component,
        version: copy.version.clone(),
        directory: format!("/{}", copy.directory),
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

/// Returns whether a name is whole: `libnvrtc.so.12`, not the `libnvrtc.so.` to which code adds a number.
fn has_version(name: &str) -> bool {
    name.split_once(".so.").is_some_and(|(_, version)| version.ends_with(|c: char| c.is_ascii_digit()))
}
