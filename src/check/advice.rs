//! Advice about findings, as data; as a change of the recipe where it is one.

use serde::Serialize;
use serde_json::{Value, json};
use uv_normalize::PackageName;
use uv_pep440::Version;

use super::observation::ModuleFault;
use super::{About, Finding, Observation};
use crate::cuda::{Component, ComponentWheel, Gpu};
use crate::debian::libraries::{self, PackageOfSuites};

/// An advice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Advice {
    /// Let imgforge serve a component: `cuda: {components: {NAME: shared}}`.
    ServeComponent {
        /// The component.
        component: Component,
    },
    /// Let imgforge serve all of CUDA: `cuda: {policy: shared}`.
    ServeCuda,
    /// Use releases that fit each other.
    FittingReleases {
        /// The distributions, where they are known.
        names: Vec<PackageName>,
    },
    /// Add a package to `packages`.
    AddPackage {
        /// The package's normalized name.
        name: PackageName,
    },
    /// Add the package that has the libraries, to the base, to `packages` or to `system-packages`.
    AddLibraries {
        /// The SONAMEs of the libraries.
        names: Vec<String>,
    },
    /// Add Debian packages to `system-packages`.
    AddSystemPackages {
        /// The SONAMEs of the libraries.
        names: Vec<String>,
        /// The packages that have them.
        packages: Vec<PackageOfSuites>,
    },
    /// Install a distribution again.
    Reinstall {
        /// The distribution's normalized name.
        name: PackageName,
    },
    /// Install the package of the file again.
    ReinstallFile,
    /// Use a base with a newer version of a library, or an older release of what needs it.
    NewerLibrary {
        /// The SONAME of the library.
        library: String,
    },
    /// Use a release that is built for the component's version in the image.
    OtherRelease {
        /// The component.
        component: Component,
    },
    /// Choose frameworks of one CUDA major.
    OneMajor,
    /// Keep one of several distributions.
    OneDistribution {
        /// The distributions, of which one should stay.
        names: Vec<PackageName>,
    },
    /// Install the wheel for the image's target.
    OtherWheel,
    /// Use a base with Python for its architecture.
    OtherBase,
    /// State a newer driver, or choose frameworks of an older CUDA.
    NewerDriver,
    /// Use a release that is compiled for a GPU, or do without the GPU.
    ReleaseForGpu {
        /// The GPU.
        gpu: Gpu,
        /// A version of the distribution that is known to be.
        version: Option<Version>,
    },
    /// Hide the driver's library in the image from the loader.
    HideDriver,
    /// Name a directory to the loader.
    NameDirectory {
        /// The directory.
        directory: String,
    },
    /// Write the loader's cache again.
    RunLdconfig,
    /// Take the set-user-ID bit away, or leave the package out.
    DropSetUserId,
    /// Give the file one of these modes.
    Mode {
        /// The permission bits to set.
        modes: Vec<String>,
    },
    /// Install what the link leads to, or remove it.
    RepairLink,
    /// Install the package with the loader, or programs for the one in the image.
    InstallLoader,
    /// Install the interpreter's standard library, or set `PYTHONHOME` right.
    InstallStandardLibrary,
    /// Let the name lead to an interpreter that is there.
    RepairInterpreter,
    /// Install packages for the interpreter that is started, or start the one that finds them.
    InstallForInterpreter {
        /// The interpreter.
        interpreter: String,
    },
    /// Install the distribution that has a module.
    InstallModule {
        /// The module at the top.
        module: String,
    },
    /// Let the image's user read the file.
    MakeReadable,
    /// Import one distribution before another in the same process.
    ImportFirst {
        /// The distribution to import first.
        name: PackageName,
        /// The other.
        before: PackageName,
    },
    /// Change the config, or add what it names.
    ChangeConfig,
    /// Give the image what the error of an import asks for, or leave the distribution out.
    MeetError,
}

impl Finding {
    /// The advice for it.
    pub fn advice(&self) -> Advice {
        match &self.observation {
            Observation::MissingLibraries { missing, .. } => {
                library_advice(&missing.iter().map(|missing| missing.name.clone()).collect::<Vec<_>>())
            }
            Observation::MissingComponent { component, .. } => {
                Advice::ServeComponent { component: *component }
            }
            Observation::OldComponent { copy, .. } => Advice::ServeComponent { component: copy.component },
            Observation::MissingCompiler { .. } | Observation::NvrtcBuiltins { .. } => serve("cuda-nvrtc"),
            Observation::MixedCudnn { .. } => serve("cudnn"),
            Observation::NoPtxas(_) | Observation::NoLibdevice(_) => serve("cuda-nvcc"),
            Observation::NoHeaders(_) => serve("cuda-runtime"),
            Observation::MissingSymbols { chain, expected_in: None, linked_with, .. } => {
                let all = chain.distribution.iter().chain(linked_with);
                Advice::FittingReleases { names: all.map(|it| it.name.clone()).collect() }
            }
            Observation::MissingSymbols { .. }
            | Observation::MixedCopies { .. }
            | Observation::DuplicateSoname { .. } => Advice::ServeCuda,
            Observation::UnmetRequirement { name, installed, .. }
            | Observation::UnmetExtra { name, installed, .. } => {
                match (ComponentWheel::of(name.as_ref()), installed) {
                    (Some(_), _) => Advice::ServeCuda,
                    (None, Some(_)) => Advice::FittingReleases {
                        names: self.distribution().into_iter().chain([name.clone()]).collect(),
                    },
                    (None, None) => Advice::AddPackage { name: name.clone() },
                }
            }
            Observation::MissingVersion { library, .. } => Advice::NewerLibrary { library: library.clone() },
            Observation::OtherSoname { copy, .. } => Advice::OtherRelease { component: copy.component },
            Observation::TwoMajors { .. } => Advice::OneMajor,
            Observation::FileCollision { others, .. } => Advice::OneDistribution {
                names: self
                    .distribution()
                    .into_iter()
                    .chain(others.iter().map(|it| it.name.clone()))
                    .collect(),
            },
            Observation::RecordMismatch { .. } => match self.distribution() {
                Some(name) => Advice::Reinstall { name },
                None => Advice::ReinstallFile,
            },
            Observation::DamagedFile { .. } => Advice::ReinstallFile,
            Observation::WheelTag { .. } => Advice::OtherWheel,
            Observation::DamagedInterpreter => Advice::OtherBase,
            Observation::OldDriver { .. } | Observation::OldDriverForPtx { .. } => Advice::NewerDriver,
            Observation::MissingGpu { gpu, other_version, .. } => {
                Advice::ReleaseForGpu { gpu: gpu.clone(), version: other_version.clone() }
            }
            Observation::DriverFromImage { .. } => Advice::HideDriver,
            Observation::DriverPath { directory } => Advice::NameDirectory { directory: directory.clone() },
            Observation::LoaderCache { .. } => Advice::RunLdconfig,
            Observation::SetUserId { .. } => Advice::DropSetUserId,
            Observation::WorldWritable { directory: true, .. } => modes(&["0755", "1777"]),
            Observation::WorldWritable { directory: false, .. } => modes(&["0644"]),
            Observation::BrokenLink { .. } => Advice::RepairLink,
            Observation::MissingLoader { .. } => Advice::InstallLoader,
            Observation::NoStandardLibrary { .. } => Advice::InstallStandardLibrary,
            Observation::BrokenInterpreter { .. } => Advice::RepairInterpreter,
            Observation::UnfoundPackages { interpreter, .. } => {
                Advice::InstallForInterpreter { interpreter: interpreter.clone() }
            }
            Observation::MissingModule { module, fault, .. } => self.module_advice(module, fault),
            Observation::FailedImport { error, .. } => import_advice(error),
            Observation::MissingOpened { names, .. } => library_advice(names),
            Observation::Config { .. } => Advice::ChangeConfig,
            Observation::Interposed { first, .. } => match self.distribution() {
                Some(name) => Advice::ImportFirst { name, before: first.name.clone() },
                None => Advice::OneMajor,
            },
        }
    }

    fn module_advice(&self, module: &str, fault: &ModuleFault) -> Advice {
        let top = module.split('.').next().unwrap_or(module);
        match (fault, self.distribution()) {
            (ModuleFault::NotFound, ..) => Advice::InstallModule { module: top.to_owned() },
            (ModuleFault::NotReadable { .. }, ..) => Advice::MakeReadable,
            (ModuleFault::OtherInterpreter { .. } | ModuleFault::OtherMachine { .. }, ..) => {
                Advice::OtherWheel
            }
            (_, Some(name)) => Advice::Reinstall { name },
            _ => Advice::ReinstallFile,
        }
    }

    /// The distribution that it is about.
    fn distribution(&self) -> Option<PackageName> {
        match &self.subject {
            About::Distribution(distribution) => Some(distribution.name.clone()),
            About::Path(_) | About::Soname(_) | About::Config(_) => None,
        }
    }
}

/// The advice for an error of an import, as Python and the loader word them.
fn import_advice(error: &str) -> Advice {
    let module = error.split_once("No module named '").and_then(|(_, rest)| rest.split(['\'', '.']).next());
    let library = error.split_once(": cannot open shared object file").map(|(before, _)| before);
    let library = library.and_then(|before| before.rsplit(' ').next());
    match (module, library) {
        (Some(module), _) => Advice::InstallModule { module: module.to_owned() },
        (None, Some(library)) => library_advice(&[library.to_owned()]),
        (None, None) => Advice::MeetError,
    }
}

fn library_advice(names: &[String]) -> Advice {
    match names.iter().find_map(|name| Component::of_library(name)) {
        Some(component) => Advice::ServeComponent { component },
        None => system_package_advice(names),
    }
}

/// The advice to add the Debian packages that have the libraries, where all of these are known.
fn system_package_advice(names: &[String]) -> Advice {
    let names = names.to_vec();
    let mut packages = Vec::new();
    for name in &names {
        let found = libraries::packages_of(name);
        if found.is_empty() {
            return Advice::AddLibraries { names };
        }
        packages.extend(found.into_iter().filter(|package| !packages.contains(package)).collect::<Vec<_>>());
    }
    Advice::AddSystemPackages { names, packages }
}

fn serve(name: &str) -> Advice {
    Component::named(name).map_or(Advice::ServeCuda, |component| Advice::ServeComponent { component })
}

fn modes(modes: &[&str]) -> Advice {
    Advice::Mode { modes: modes.iter().map(|&mode| mode.to_owned()).collect() }
}

impl Advice {
    /// The change of the recipe, where nothing else is to be done: keys to set, and entries to add to lists.
    pub fn recipe(&self) -> Option<Value> {
        match self {
            Self::ServeComponent { component } => {
                Some(json!({"cuda": {"components": {component.name(): "shared"}}}))
            }
            Self::ServeCuda => Some(json!({"cuda": {"policy": "shared"}})),
            Self::AddPackage { name } => Some(json!({"packages": [name]})),
            Self::AddSystemPackages { packages, .. } if packages.iter().all(PackageOfSuites::is_of_all) => {
                let names: Vec<&str> = packages.iter().map(|package| package.package).collect();
                Some(json!({"system-packages": names}))
            }
            _ => None,
        }
    }
}
