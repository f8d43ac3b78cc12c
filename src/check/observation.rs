//! The observations of rules, as data: who needs what, and where it was searched.

use std::fmt;

use serde::{Deserialize, Serialize};
use uv_normalize::PackageName;
use uv_pep440::Version;

use super::loader::{Search, Searched};
use super::{DistributionId, Rule};
use crate::cuda::{Component, Driver, DriverFit};

/// An observation. Paths in it are absolute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Observation {
    /// An object needs libraries that the loader does not find.
    MissingLibraries { chain: LoadChain, missing: Vec<MissingName>, searched: Vec<Searched> },
    /// A library of cuDNN opens NVRTC by one of these names, and the loader finds none of them.
    MissingCompiler { distribution: DistributionId, names: Vec<String>, searched: Vec<Searched> },
    /// An object needs a version of a library that the one which the loader finds does not define.
    MissingVersion { chain: LoadChain, version: String, library: String, found: String },
    /// An object needs symbols that nothing defines.
    MissingSymbols { chain: LoadChain, symbols: Sample<String>, expected_in: Option<ExpectedIn> },
    /// A requirement on CUDA that no copy in the image serves.
    MissingComponent { requirement: String, component: Component },
    /// A requirement on CUDA that is served by an older version.
    OldComponent { requirement: String, copy: ServingCopy },
    /// A library opens a component by names that no version in the image has.
    OtherSoname { object: String, names: Vec<String>, copy: ServingCopy, searched: Vec<Searched> },
    /// One process loads libraries of several CUDA majors.
    TwoMajors { majors: Vec<MajorOf> },
    /// One process loads some libraries from pip's copy, and others from the system's.
    MixedCopies { of_pip: ComponentOf, of_system: ComponentOf },
    /// The loader finds a part of cuDNN in another directory than cuDNN itself.
    MixedCudnn { directory: String, part: String, found_in: String },
    /// Several files have one SONAME, and are loaded for different distributions.
    DuplicateSoname { files: Vec<LoadedFor> },
    /// NVRTC has other builtins beside it than its own.
    NvrtcBuiltins { nvrtc: (u32, u32), expected: String, beside: Vec<String> },
    /// The loader finds the driver's library in the image.
    DriverFromImage { file: String },
    /// Nothing leads the loader to the directory into which container runtimes put the driver.
    DriverPath { directory: String },
    /// The driver is older than the one that a toolkit was released with.
    OldDriver { driver: Driver, toolkit: (u32, u32), fit: DriverFit },
    /// XLA finds no ptxas.
    NoPtxas(Absence),
    /// XLA finds no libdevice.
    NoLibdevice(Absence),
    /// A library that compiles CUDA finds no headers.
    NoHeaders(Absence),
    /// A requirement without an extra that is not met.
    UnmetRequirement { requirement: String, name: PackageName, installed: Option<Version> },
    /// A requirement of a requirement's extra that is not met.
    UnmetExtra { requirement: String, further: String, name: PackageName, installed: Option<Version> },
    /// Files of a distribution differ from its RECORD.
    RecordMismatch { files: Sample<Mismatch> },
    /// Several distributions installed other contents at these paths.
    FileCollision { paths: Sample<String>, others: Vec<DistributionId>, winner: Option<DistributionId> },
    /// The wheel was built for another target than the image.
    WheelTag { tags: Vec<String>, python: String, glibc: String },
    /// The loader's cache cannot be read.
    LoaderCache { reason: String },
    /// The interpreter is no program that a loader could start.
    DamagedInterpreter,
    /// A library that begins as ELF and is none.
    DamagedFile { reason: String },
    /// A program runs as its owner; the mode is octal.
    SetUserId { mode: String },
    /// A file or directory that everyone may write; the mode is octal.
    WorldWritable { mode: String, directory: bool },
    /// A symbolic link to nothing.
    BrokenLink { target: String },
}

impl Observation {
    /// The rule that it breaks.
    pub fn rule(&self) -> Rule {
        match self {
            Self::MissingLibraries { .. } | Self::MissingCompiler { .. } => Rule::MissingLibrary,
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
            Self::OldDriver { .. } => Rule::OldDriver,
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
            Self::SetUserId { .. } => Rule::SetUserId,
            Self::WorldWritable { .. } => Rule::WorldWritable,
            Self::BrokenLink { .. } => Rule::BrokenLink,
        }
    }
}

/// The objects through which a program or module leads to an object, which is the last of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LoadChain {
    /// The distribution of the module; `None` for programs.
    pub distribution: Option<DistributionId>,
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
    pub name: String,
    /// The file of this name, which is no library.
    pub refused: Option<String>,
}

/// The library that should define a symbol, and the search by which it was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ExpectedIn {
    pub library: String,
    pub found_by: Search,
}

/// A copy of a component in the image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ServingCopy {
    pub component: Component,
    pub version: Option<Version>,
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
    pub major: u32,
    pub library: String,
}

/// The first library that a process loads of a component.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ComponentOf {
    pub component: Component,
    pub library: String,
}

/// A file, and the first distribution for which it is loaded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LoadedFor {
    pub file: String,
    pub distribution: DistributionId,
}

/// A file that is in none of the directories in which it is searched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Absence {
    /// Relative to each of the directories.
    pub file: String,
    pub directories: Vec<String>,
}

/// A file that differs from its row in a RECORD.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mismatch {
    pub file: String,
    pub is: Deviation,
}

/// A difference between a file and its row in a RECORD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deviation {
    Missing,
    OtherSize,
    OtherHash,
}

/// The first of many, and the number of the rest: a report stays small, whatever an image holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sample<T> {
    pub first: Vec<T>,
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
