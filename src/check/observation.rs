//! The observations of rules, as data: who needs what, and where it was searched.

use std::fmt;

use serde::{Deserialize, Serialize};
use uv_normalize::PackageName;
use uv_pep440::Version;

use super::loader::{Search, Searched};
use super::{DistributionId, Rule};
use crate::cuda::{Component, Driver, DriverFit, Gpu, GpuTarget, PtxVersion};

/// An observation. Paths in it are absolute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Observation {
    /// An object needs libraries that the loader does not find.
    MissingLibraries {
        /// The chain of objects that leads to the needy one.
        chain: LoadChain,
        /// The names that were not found.
        missing: Vec<MissingName>,
        /// The searches that were made.
        searched: Vec<Searched>,
    },
    /// A library of cuDNN opens NVRTC by one of these names, and the loader finds none of them.
    MissingCompiler {
        /// The distribution of the library.
        distribution: DistributionId,
        /// The names that it opens.
        names: Vec<String>,
        /// The searches that were made.
        searched: Vec<Searched>,
    },
    /// An object needs a version of a library that the one which the loader finds does not define.
    MissingVersion {
        /// The chain of objects that leads to the needy one.
        chain: LoadChain,
        /// The symbol version.
        version: String,
        /// The SONAME of the library.
        library: String,
        /// The path of the library that was found.
        found: String,
    },
    /// An object needs symbols that nothing defines.
    MissingSymbols {
        /// The chain of objects that leads to the needy one.
        chain: LoadChain,
        /// The symbols.
        symbols: Sample<String>,
        /// The library that should define them, where the names tell.
        expected_in: Option<ExpectedIn>,
        /// The other distributions whose libraries the object needs, but for those of CUDA.
        linked_with: Vec<DistributionId>,
    },
    /// A requirement on CUDA that no copy in the image serves.
    MissingComponent {
        /// The requirement, with its distribution.
        requirement: String,
        /// The component.
        component: Component,
    },
    /// A requirement on CUDA that is served by an older version.
    OldComponent {
        /// The requirement, with its distribution.
        requirement: String,
        /// The copy that serves.
        copy: ServingCopy,
    },
    /// A library opens a component by names that no version in the image has.
    OtherSoname {
        /// The path of the object.
        object: String,
        /// The names that it opens.
        names: Vec<String>,
        /// The copy in the image.
        copy: ServingCopy,
        /// The searches that were made.
        searched: Vec<Searched>,
    },
    /// One process loads libraries of several CUDA majors.
    TwoMajors {
        /// A library of each major.
        majors: Vec<MajorOf>,
    },
    /// One process loads some libraries from pip's copy, and others from the system's.
    MixedCopies {
        /// A library of a wheel.
        of_pip: ComponentOf,
        /// A library of the system.
        of_system: ComponentOf,
    },
    /// The loader finds a part of cuDNN in another directory than cuDNN itself.
    MixedCudnn {
        /// The directory of the main library.
        directory: String,
        /// The part.
        part: String,
        /// The directory in which the loader finds the part.
        found_in: String,
    },
    /// Several files have one SONAME, and are loaded for different distributions.
    DuplicateSoname {
        /// The files of that SONAME.
        files: Vec<LoadedFor>,
    },
    /// NVRTC has other builtins beside it than its own.
    NvrtcBuiltins {
        /// The path of NVRTC.
        nvrtc: (u32, u32),
        /// The name of the builtins that it opens.
        expected: String,
        /// The builtins that lie beside it.
        beside: Vec<String>,
    },
    /// The loader finds the driver's library in the image.
    DriverFromImage {
        /// The path of the library.
        file: String,
    },
    /// Nothing leads the loader to the directory into which container runtimes put the driver.
    DriverPath {
        /// The directory of the driver's libraries.
        directory: String,
    },
    /// The driver is older than the one that a toolkit was released with.
    OldDriver {
        /// The oldest driver to serve.
        driver: Driver,
        /// The toolkit's version.
        toolkit: (u32, u32),
        /// The fit of both.
        fit: DriverFit,
    },
    /// Code for GPUs has none for one that the image shall run on.
    MissingGpu {
        /// The GPU.
        gpu: Gpu,
        /// The path of the library, or of the largest of several.
        library: String,
        /// The targets of the library's machine code.
        compiled_for: Vec<GpuTarget>,
        /// True if GPUs newer than these run its PTX.
        ptx_for_newer: bool,
        /// The distributions that use the library, where it is of a component.
        users: Vec<DistributionId>,
        /// Another version that runs on the GPU, where one was built before.
        other_version: Option<Version>,
    },
    /// The driver is older than the PTX that it would have to compile for a GPU.
    OldDriverForPtx {
        /// The oldest driver to serve.
        driver: Driver,
        /// The GPU.
        gpu: Gpu,
        /// The version of PTX.
        ptx: PtxVersion,
        /// The oldest driver that reads it.
        oldest: Driver,
    },
    /// XLA finds no ptxas.
    NoPtxas(Absence),
    /// XLA finds no libdevice.
    NoLibdevice(Absence),
    /// A library that compiles CUDA finds no headers.
    NoHeaders(Absence),
    /// A requirement without an extra that is not met.
    UnmetRequirement {
        /// The requirement.
        requirement: String,
        /// The required distribution.
        name: PackageName,
        /// Its installed version, if it is installed.
        installed: Option<Version>,
    },
    /// A requirement of a requirement's extra that is not met.
    UnmetExtra {
        /// The first requirement that is not met.
        requirement: String,
        /// The number of further ones.
        further: String,
        /// The required distribution.
        name: PackageName,
        /// Its installed version, if it is installed.
        installed: Option<Version>,
    },
    /// Files of a distribution differ from its RECORD.
    RecordMismatch {
        /// The files that differ.
        files: Sample<Mismatch>,
    },
    /// Several distributions installed other contents at these paths.
    FileCollision {
        /// The paths that several distributions wrote.
        paths: Sample<String>,
        /// The distributions that lost.
        others: Vec<DistributionId>,
        /// The distribution whose files are there.
        winner: Option<DistributionId>,
    },
    /// The wheel was built for another target than the image.
    WheelTag {
        /// The wheel's tags.
        tags: Vec<String>,
        /// The interpreter's version.
        python: String,
        /// The version of the C library.
        glibc: String,
    },
    /// The loader's cache cannot be read.
    LoaderCache {
        /// The fault of the cache.
        reason: String,
    },
    /// The interpreter is no program that a loader could start.
    DamagedInterpreter,
    /// The kernel finds no loader of this path for programs that ask for it.
    MissingLoader {
        /// The path of the loader.
        loader: String,
        /// The programs.
        programs: Sample<String>,
    },
    /// The interpreter does not find the part of the standard library without which it does not start.
    NoStandardLibrary {
        /// The module that it needs first.
        module: String,
        /// The directories in which it looks.
        directories: Vec<String>,
    },
    /// A name of the interpreter leads to nothing.
    BrokenInterpreter {
        /// The target of the symlink.
        target: String,
        /// The interpreter that is started by this name instead, or by another.
        instead: String,
    },
    /// Distributions that were installed where the interpreter does not look.
    UnfoundPackages {
        /// Their names.
        names: Sample<String>,
        /// The interpreter.
        interpreter: String,
    },
    /// A module that is imported and cannot be loaded.
    MissingModule {
        /// Its name.
        module: String,
        /// The file that imports it; `None` for one that users import.
        imported_by: Option<String>,
        /// The reason.
        fault: ModuleFault,
    },
    /// A module that the image's interpreter imported with an error.
    FailedImport {
        /// Its name.
        module: String,
        /// The error, as Python has it.
        error: String,
    },
    /// A file opens libraries by these names, and the loader finds none of them.
    MissingOpened {
        /// The file.
        file: String,
        /// The distribution that needs the library.
        distribution: Option<DistributionId>,
        /// The names that it opens.
        names: Vec<String>,
        /// The searches that were made.
        searched: Vec<Searched>,
    },
    /// A framework that is imported first answers calls which are meant for a library of another CUDA major.
    Interposed {
        /// The framework whose symbols are the whole process's.
        first: DistributionId,
        /// The object that calls.
        object: String,
        /// The first such symbol.
        symbol: String,
        /// The library that the call is meant for.
        meant: String,
        /// The library that answers.
        answered_by: String,
    },
    /// The image's config names what the image does not have.
    Config {
        /// The missing thing.
        missing: MissingOfConfig,
    },
    /// A library that begins as ELF and is none.
    DamagedFile {
        /// The fault of the file.
        reason: String,
    },
    /// A program runs as its owner; the mode is octal.
    SetUserId {
        /// The permission bits.
        mode: String,
    },
    /// A file or directory that everyone may write; the mode is octal.
    WorldWritable {
        /// The permission bits.
        mode: String,
        /// True if it is a directory.
        directory: bool,
    },
    /// A symbolic link to nothing.
    BrokenLink {
        /// The target of the link.
        target: String,
    },
}

impl Observation {
    /// The rule that it breaks.
    pub fn rule(&self) -> Rule {
        match self {
            Self::MissingLibraries { .. } | Self::MissingCompiler { .. } | Self::MissingOpened { .. } => {
                Rule::MissingLibrary
            }
            Self::MissingVersion { .. } => Rule::MissingVersion,
            Self::MissingSymbols { .. } => Rule::MissingSymbol,
            Self::MissingComponent { .. } => Rule::MissingComponent,
            Self::OldComponent { .. } => Rule::OldComponent,
            Self::OtherSoname { .. } => Rule::OtherSoname,
            Self::TwoMajors { .. } => Rule::TwoMajors,
            Self::MixedCopies { .. } => Rule::MixedCopies,
            Self::MixedCudnn { .. } => Rule::MixedCudnn,
            Self::DuplicateSoname { .. } => Rule::DuplicateSoname,
            Self::NvrtcBuiltins { .. } => Rule::NvrtcBuiltins,
            Self::DriverFromImage { .. } => Rule::DriverFromImage,
            Self::DriverPath { .. } => Rule::DriverPath,
            Self::OldDriver { .. } | Self::OldDriverForPtx { .. } => Rule::OldDriver,
            Self::MissingGpu { .. } => Rule::MissingGpu,
            Self::NoPtxas(_) => Rule::NoPtxas,
            Self::NoLibdevice(_) => Rule::NoLibdevice,
            Self::NoHeaders(_) => Rule::NoHeaders,
            Self::UnmetRequirement { .. } => Rule::UnmetRequirement,
            Self::UnmetExtra { .. } => Rule::UnmetExtra,
            Self::RecordMismatch { .. } => Rule::RecordMismatch,
            Self::FileCollision { .. } => Rule::FileCollision,
            Self::WheelTag { .. } => Rule::WheelTag,
            Self::LoaderCache { .. } => Rule::LoaderCache,
            Self::DamagedInterpreter | Self::DamagedFile { .. } => Rule::DamagedFile,
            Self::MissingLoader { .. } => Rule::MissingLoader,
            Self::NoStandardLibrary { .. } | Self::BrokenInterpreter { .. } => Rule::BrokenPython,
            Self::UnfoundPackages { .. } => Rule::UnfoundPackages,
            Self::MissingModule { .. } => Rule::MissingModule,
            Self::FailedImport { .. } => Rule::FailedImport,
            Self::Config { .. } => Rule::ImageConfig,
            Self::Interposed { .. } => Rule::TwoMajors,
            Self::SetUserId { .. } => Rule::SetUserId,
            Self::WorldWritable { .. } => Rule::WorldWritable,
            Self::BrokenLink { .. } => Rule::BrokenLink,
        }
    }
}

/// The reason why a module cannot be loaded. Paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ModuleFault {
    /// No directory of `sys.path` has it.
    NotFound,
    /// It was installed, and its file is gone or cannot be seen.
    Gone {
        /// The file that was installed.
        file: String,
    },
    /// It is there for another interpreter.
    OtherInterpreter {
        /// The file, whose ending the interpreter does not look for.
        file: String,
    },
    /// Its file is for another machine.
    OtherMachine {
        /// The file.
        file: String,
    },
    /// Its file is no library, or damaged.
    NotLoadable {
        /// The file.
        file: String,
        /// The damage, where it is known.
        reason: Option<String>,
    },
    /// The image's user may not read its file.
    NotReadable {
        /// The file.
        file: String,
        /// The user.
        user: String,
    },
}

/// The thing that a config names and the image does not have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum MissingOfConfig {
    /// A user or group that the image's files do not list.
    User {
        /// The user, as written.
        name: String,
    },
    /// The program of the entrypoint or command.
    Program {
        /// The program, as written.
        name: String,
    },
    /// The program of the check of health.
    HealthProgram {
        /// The program, as written.
        name: String,
    },
    /// The working directory.
    Directory {
        /// The directory, as written.
        path: String,
    },
    /// A directory of `PATH`.
    PathDirectory {
        /// The directory, as written.
        path: String,
    },
}

/// The objects through which a program or module leads to an object, which is the last of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LoadChain {
    /// The distribution of the module; `None` for programs.
    pub distribution: Option<DistributionId>,
    /// The paths of the objects, each of which needs the next.
    pub objects: Vec<String>,
}

/// `torch 2.10.0: /…/_C.so > /…/libtorch_cuda.so`
impl fmt::Display for LoadChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(distribution) = &self.distribution {
            write!(f, "{distribution}: ")?;
        }
        f.write_str(&self.objects.join(" > "))
    }
}

/// A needed name that leads to nothing the loader can link.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MissingName {
    /// The name.
    pub name: String,
    /// The file of this name, which is no library.
    pub refused: Option<String>,
}

/// The library that should define a symbol, and the search by which it was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ExpectedIn {
    /// The library.
    pub library: String,
    /// The search that found it.
    pub found_by: Search,
}

/// A copy of a component in the image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ServingCopy {
    /// The component.
    pub component: Component,
    /// Its version, where it is known.
    pub version: Option<Version>,
    /// The directory of its libraries.
    pub directory: String,
}

/// `cudnn 9.8.0 in /usr/lib/x86_64-linux-gnu`
impl fmt::Display for ServingCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.component)?;
        if let Some(version) = &self.version {
            write!(f, " {version}")?;
        }
        write!(f, " in {}", self.directory)
    }
}

/// The first library that a process loads of a CUDA major.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MajorOf {
    /// The CUDA major.
    pub major: u32,
    /// The library.
    pub library: String,
}

/// The first library that a process loads of a component.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ComponentOf {
    /// The component.
    pub component: Component,
    /// The library.
    pub library: String,
}

/// A file, and the first distribution for which it is loaded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LoadedFor {
    /// The path of the library.
    pub file: String,
    /// The distribution whose process loads it.
    pub distribution: DistributionId,
}

/// A file that is in none of the directories in which it is searched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Absence {
    /// Relative to each of the directories.
    pub file: String,
    /// The directories that were searched.
    pub directories: Vec<String>,
}

/// A file that differs from its row in a RECORD.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mismatch {
    /// The path of the file.
    pub file: String,
    /// The difference.
    pub is: Deviation,
}

/// A difference between a file and its row in a RECORD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deviation {
    /// The file is not there.
    Missing,
    /// It has another size.
    OtherSize,
    /// It has another hash.
    OtherHash,
}

/// The first of many, and the number of the rest: a report stays small, whatever an image holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sample<T> {
    /// The first ones.
    pub first: Vec<T>,
    /// The number of the others.
    pub more: usize,
}

/// The most that a report lists of a kind.
const MOST_LISTED: usize = 20;

impl<T> Sample<T> {
    /// `None` for nothing.
    pub(super) fn of(mut all: Vec<T>) -> Option<Self> {
        let more = all.len().saturating_sub(MOST_LISTED);
        all.truncate(MOST_LISTED);
        (!all.is_empty()).then_some(Self { first: all, more })
    }

    /// The number of those after the first.
    pub(super) fn rest(&self) -> usize {
        (self.first.len() + self.more).saturating_sub(1)
    }
}
