//! The inventory of a base: enough to decide without its layers.

use serde::{Deserialize, Serialize};
use uv_normalize::PackageName;
use uv_pep440::Version;

use crate::cuda::{Component, library_stem};
use crate::debian::version::DebianVersion;
use crate::elf::Symbols;
use crate::oci::Architecture;
use crate::pypa::scheme::InstallScheme;
use crate::pypa::target::{Target, TargetError};

/// The facts of a base that later stages need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseInventory {
    /// The architecture of its programs.
    pub architecture: Architecture,
    /// `Debian` or `Ubuntu`, as its C library calls itself.
    pub vendor: String,
    /// `(2, 36)` for glibc 2.36.
    pub glibc: (u16, u16),
    /// The version of the package with `ldconfig`.
    pub libc_bin: DebianVersion,
    /// The interpreter's full version: `3.11.2`.
    pub python: String,
    /// The install scheme of its Python.
    pub scheme: InstallScheme,
    /// The path of the marker that keeps pip from installing, relative to the root.
    ///
    /// <https://packaging.python.org/en/latest/specifications/externally-managed-environments/>
    pub externally_managed: String,
    /// The installed distributions that the interpreter finds, sorted by name.
    pub distributions: Vec<InstalledDistribution>,
    /// Every copy of a CUDA component, sorted.
    pub cuda: Vec<CudaCopy>,
    /// The toolkit's directory that `/usr/local/cuda` leads to, relative to the root: `usr/local/cuda-12.2`.
    pub default_toolkit: Option<String>,
    /// The directories of `LD_LIBRARY_PATH` in the base's config, as written.
    pub library_path: Vec<String>,
}

impl BaseInventory {
    /// The target that wheels must fit to be installed.
    pub fn target(&self) -> Result<Target, TargetError> {
        Target::new(&self.python, self.architecture, self.glibc)
    }
}

/// A distribution that the base has.
///
/// <https://packaging.python.org/en/latest/specifications/recording-installed-packages/>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstalledDistribution {
    /// The normalized name.
    pub name: PackageName,
    /// The version in its metadata.
    pub version: Version,
    /// Its `.dist-info` or `.egg-info`, relative to the root.
    pub directory: String,
    /// `Requires-Dist`, as written.
    pub requires_dist: Vec<String>,
    /// `Provides-Extra`, as written.
    pub provides_extra: Vec<String>,
    /// The paths that RECORD lists, relative to the root; empty when it has none.
    pub files: Vec<String>,
    /// True if a package manager of the system put it there, which pip must not undo.
    pub of_system: bool,
    /// Of one that requires CUDA components, which may have to be rewritten.
    pub texts: Option<InstalledTexts>,
}

/// Files of an installed distribution, as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstalledTexts {
    /// The text of `METADATA`.
    pub metadata: String,
    /// The text of `RECORD`.
    pub record: String,
}

/// One copy of a CUDA component in a base: its libraries and programs in one place, for one CUDA major.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CudaCopy {
    /// The component of its libraries.
    pub component: Component,
    /// The CUDA major version that it is for; `None` where nothing tells.
    pub cuda_major: Option<u32>,
    /// As far as anything tells: `8.9.6` where the name of a file is all there is, `12.2` where only a directory is.
    pub version: Option<Version>,
    /// The source of its version.
    pub version_from: VersionSource,
    /// The directory of its libraries, relative to the root and without symlinks; without libraries, its toolkit's.
    pub directory: String,
    /// The toolkit's directory that it is part of: `usr/local/cuda-12.2`.
    pub toolkit: Option<String>,
    /// Sorted by SONAME.
    pub libraries: Vec<CudaLibrary>,
    /// Its other files that frameworks look for, relative to the toolkit's directory, sorted: `bin/ptxas`,
    /// `nvvm/libdevice/libdevice.10.bc`.
    pub programs: Vec<String>,
    /// The size of its libraries and programs in bytes.
    pub bytes: u64,
    /// The wheel's distribution that it belongs to, when pip installed it.
    pub distribution: Option<PackageName>,
}

impl CudaCopy {
    /// Returns whether no loader finds it where it is: one of the libraries that others link to or ask for by SONAME.
    /// The parts that it loads by itself, and the compiler's own library, are found by other means.
    pub fn is_hidden(&self) -> bool {
        self.asked_for().any(|library| library.found == LoaderRoute::Nowhere)
    }

    /// Its libraries that others ask the loader for.
    pub fn asked_for(&self) -> impl Iterator<Item = &CudaLibrary> {
        let essential: Vec<&str> = self.component.essential_libraries().collect();
        let of_compiler = self.directory.contains("/nvvm/");
        self.libraries.iter().filter(move |library| {
            let is_essential = library_stem(&library.soname).is_some_and(|stem| essential.contains(&stem));
            (essential.is_empty() && !of_compiler) || is_essential
        })
    }
}

/// A library of a [`CudaCopy`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CudaLibrary {
    /// Its SONAME; the name of the file where it has none.
    pub soname: String,
    /// The file itself, relative to the root and without symlinks.
    pub path: String,
    /// In bytes.
    pub size: u64,
    /// Its visibility to the loader.
    pub found: LoaderRoute,
    /// Its DT_NEEDED entries.
    pub needed: Vec<String>,
    /// Its dynamic symbols.
    pub symbols: Symbols,
}

/// By which way the loader finds a library under its SONAME, in a process that brings no search path of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoaderRoute {
    /// In a directory of the config's `LD_LIBRARY_PATH`.
    LibraryPath,
    /// By the cache that `ldconfig` makes of the base's configuration, or in a directory that is always searched.
    Cache,
    /// In site-packages, where frameworks' own search paths lead.
    SitePackages,
    /// By none: another copy comes before it, or its directory is searched by nobody.
    Nowhere,
}

/// The source of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VersionSource {
    /// The Debian package that owns its files.
    DebianPackage,
    /// The Python distribution that owns its files.
    Distribution,
    /// The conda package that owns its files.
    CondaPackage,
    /// `version.json` of the toolkit.
    VersionJson,
    /// A `#define` of a header: `cudnn_version.h`.
    Header,
    /// A program says it itself: `ptxas`.
    Program,
    /// The name of a file.
    FileName,
    /// The name of the toolkit's directory.
    Directory,
    /// Nothing did.
    Unknown,
}
