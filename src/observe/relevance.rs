//! The relevance of a layer's paths: which are kept, and how much of each.

use crate::cuda::Component;
use crate::elf::ldconfig::is_library_name;

/// The part of a file's content that its [`InventoryFacts`](super::inventory_facts::InventoryFacts) need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relevance {
    /// Nothing of it.
    None,
    /// The headers of an ELF file.
    Library,
    /// The headers of an ELF file and its dynamic symbols: CUDA's minor versions differ by those alone.
    CudaLibrary,
    /// The headers of an ELF file and the version that is written in it.
    Versioned(VersionText),
    /// The text, reduced to what matters.
    Text(TextForm),
}

/// The form in which a program or library carries its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionText {
    /// `3.11.2` between NULs, for Python 3.11; of which minor version the file's name does not say when it is `None`.
    Python {
        /// The minor version in the file's name, where it has one.
        minor: Option<u8>,
    },
    /// `Cuda compilation tools, release 12.2, V12.2.140`
    Cuda,
    /// `GNU C Library (Debian GLIBC 2.36-9+deb12u14) stable release version 2.36.`
    GnuLibc,
}

/// The kind of a text, which decides the part that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextForm {
    /// All of it.
    Whole,
    /// dpkg's `status`, or one package's paragraph of it.
    DpkgStatus,
    /// The paths of a package, one a line.
    DpkgList,
    /// A distribution's core metadata.
    Metadata,
    /// A distribution's `RECORD`.
    Record,
    /// conda's record of a package, in JSON.
    CondaMeta,
    /// A header of C, for the versions it defines.
    Defines,
    /// A program that is a script: what it starts.
    Script,
}

impl TextForm {
    /// The largest text that is read, in bytes; what is larger is none that imgforge knows.
    pub(crate) fn limit(self) -> u64 {
        match self {
            Self::Script => 64 << 10,
            Self::Whole | Self::Defines => 1 << 20,
            Self::Metadata => 4 << 20,
            Self::DpkgList => 8 << 20,
            Self::DpkgStatus | Self::Record | Self::CondaMeta => 24 << 20,
        }
    }
}

impl Relevance {
    /// The needs of an inventory from the file at `path`.
    pub fn of(path: &str) -> Self {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        match Self::of_loader(path) {
            Self::None => {}
            Self::Library if is_cuda_library(name) => return Self::CudaLibrary,
            Self::Library if name == "libc.so.6" || name.starts_with("libc-2.") => {
                return Self::Versioned(VersionText::GnuLibc);
            }
            Self::Library if name.starts_with("libpython3.") => {
                return Self::Versioned(VersionText::Python { minor: minor_after(name, "libpython3.") });
            }
            other => return other,
        }
        if is_cuda_library(name) {
            return Self::CudaLibrary;
        }
        let parent = directory.rsplit('/').next().unwrap_or(directory);
        if let Some(form) = text(directory, parent, name) {
            return Self::Text(form);
        }
        match (parent, name) {
            ("bin", "python" | "python3") => Self::Versioned(VersionText::Python { minor: None }),
            ("bin", name) if name.starts_with("python3.") => match minor_after(name, "python3.") {
                Some(minor) => Self::Versioned(VersionText::Python { minor: Some(minor) }),
                None => Self::None,
            },
            ("bin", "ptxas" | "nvcc" | "nvlink" | "cicc") => Self::Versioned(VersionText::Cuda),
            ("libdevice", "libdevice.10.bc") => Self::Library,
            _ => Self::None,
        }
    }

    /// The needs of an inventory from a file of this mode: of programs, those that may be scripts.
    pub(super) fn of_file(path: &str, mode: u32, size: u64) -> Self {
        let is_executable = mode & 0o111 != 0;
        match Self::of(path) {
            Self::None if is_executable && is_searched(path) && size <= TextForm::Script.limit() => {
                Self::Text(TextForm::Script)
            }
            other => other,
        }
    }

    /// The needs of the loader's cache from the file at `path`; an inventory needs as much and more.
    pub fn of_loader(path: &str) -> Self {
        let name = path.rsplit('/').next().unwrap_or(path);
        if path == "etc/ld.so.conf" || path.starts_with("etc/ld.so.conf.d/") {
            Self::Text(TextForm::Whole)
        } else if is_searched(path) && is_library_name(name) {
            Self::Library
        } else {
            Self::None
        }
    }
}

/// Texts that say what is installed.
fn text(directory: &str, parent: &str, name: &str) -> Option<TextForm> {
    // Not only in directories of packages: installers link to their caches, and PYTHONPATH leads anywhere.
    let of_distribution = |suffix| parent.ends_with(suffix);
    Some(match (parent, name) {
        ("etc" | "lib", "os-release") if matches!(directory, "etc" | "usr/lib") => TextForm::Whole,
        ("dpkg", "status") if directory == "var/lib/dpkg" => TextForm::DpkgStatus,
        ("status.d", _) if directory == "var/lib/dpkg/status.d" && !name.ends_with(".md5sums") => {
            TextForm::DpkgStatus
        }
        ("info", _) if directory == "var/lib/dpkg/info" && name.ends_with(".list") => TextForm::DpkgList,
        ("conda-meta", _) if name.ends_with(".json") => TextForm::CondaMeta,
        (_, "METADATA") if of_distribution(".dist-info") => TextForm::Metadata,
        (_, "RECORD") if of_distribution(".dist-info") => TextForm::Record,
        (_, "INSTALLER") if of_distribution(".dist-info") => TextForm::Whole,
        (_, "PKG-INFO") if of_distribution(".egg-info") => TextForm::Metadata,
        (_, "requires.txt") if of_distribution(".egg-info") => TextForm::Whole,
        ("etc", "passwd" | "group") if directory == "etc" => TextForm::Whole,
        _ if name.ends_with(".pth") => TextForm::Whole,
        _ if name.starts_with("__editable___") && name.ends_with("_finder.py") => TextForm::Whole,
        ("site-packages" | "dist-packages", _) if name.ends_with(".egg-info") => TextForm::Metadata,
        (_, "version.json") if parent.starts_with("cuda") => TextForm::Whole,
        (_, "pyvenv.cfg" | "EXTERNALLY-MANAGED") => TextForm::Whole,
        (_, "nccl.h") => TextForm::Defines,
        _ if name.starts_with("cudnn_version") && name.ends_with(".h") => TextForm::Defines,
        _ => return None,
    })
}

/// Returns whether dpkg's list of a package need keep this path: the inventory asks whose it is.
pub(super) fn has_an_owner_worth_knowing(path: &str) -> bool {
    match Relevance::of(path) {
        Relevance::CudaLibrary | Relevance::Versioned(VersionText::Cuda | VersionText::Python { .. }) => true,
        Relevance::Library => path.ends_with("/libdevice.10.bc"),
        Relevance::Text(form) => form == TextForm::Defines,
        Relevance::Versioned(VersionText::GnuLibc) | Relevance::None => false,
    }
}

fn is_cuda_library(name: &str) -> bool {
    Component::of_library(name).is_some()
}

/// The number that a name begins with after `prefix`, as far as a `.` or its end: 11 of `libpython3.11.so.1.0`.
fn minor_after(name: &str, prefix: &str) -> Option<u8> {
    name.strip_prefix(prefix)?.split('.').next()?.parse().ok()
}

/// Returns whether a loader might be configured to search here. Packages' own directories are found by other means.
fn is_searched(path: &str) -> bool {
    let data = ["usr/share/", "var/", "usr/include/"].iter().any(|start| path.starts_with(start));
    !is_private(path) && !data
}

/// Returns whether the path is in a directory of Python's packages.
pub(crate) fn is_private(path: &str) -> bool {
    ["/site-packages/", "/dist-packages/"].iter().any(|part| path.contains(part))
}

/// Returns whether a symlink or a directory at this path can lead to what matters.
pub(super) fn may_lead_somewhere(path: &str) -> bool {
    let of_distribution = || {
        let of_info = [".dist-info", ".egg-info"].iter().any(|ending| path.ends_with(ending));
        of_info || Relevance::of(path) != Relevance::None
    };
    is_searched(path) || (is_private(path) && (path.contains("-packages/nvidia") || of_distribution()))
}

/// Returns whether a file of no interest at this path may stand where a lower layer has what matters: a directory of
/// it, or a symlink. Names with the extension of a file are no directories.
pub(super) fn may_hide(path: &str) -> bool {
    const EXTENSIONS: &[&str] = &[
        "a", "bat", "c", "cc", "cfg", "cmake", "conf", "cpp", "css", "csv", "cu", "cuh", "dat", "gif", "go",
        "gz", "h", "hpp", "html", "ini", "js", "json", "map", "md", "mo", "npy", "npz", "o", "pc", "pem",
        "pl", "pm", "png", "po", "ps1", "pxd", "py", "pyc", "pyi", "pyx", "rs", "rst", "sh", "so", "svg",
        "tcl", "tmpl", "toml", "ts", "txt", "typed", "xml", "yaml", "yml", "zip",
    ];
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_file = name.rsplit_once('.').is_some_and(|(_, extension)| EXTENSIONS.contains(&extension));
    !is_file && may_lead_somewhere(path)
}

/// Returns whether a path may be a name of the interpreter: `python`, `python3`, `python3.11`.
pub(super) fn may_be_interpreter(path: &str) -> bool {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    let version = name.strip_prefix("python");
    let is_version = |version: &str| version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    directory.rsplit('/').next() == Some("bin") && version.is_some_and(is_version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_what_matters_of_the_file() {
        let python = |minor| Relevance::Versioned(VersionText::Python { minor });
        let cuda = Relevance::Versioned(VersionText::Cuda);
        let packages = "usr/local/lib/python3.11/site-packages";
        for (path, expected) in [
            ("etc/ld.so.conf.d/cuda.conf", Relevance::Text(TextForm::Whole)),
            ("usr/lib/os-release", Relevance::Text(TextForm::Whole)),
            ("var/lib/dpkg/status", Relevance::Text(TextForm::DpkgStatus)),
            ("var/lib/dpkg/status.d/base", Relevance::Text(TextForm::DpkgStatus)),
            ("var/lib/dpkg/status.d/base.md5sums", Relevance::None),
            ("var/lib/dpkg/info/libc6:amd64.list", Relevance::Text(TextForm::DpkgList)),
            ("opt/conda/conda-meta/cudnn-9.1-0.json", Relevance::Text(TextForm::CondaMeta)),
            (&format!("{packages}/torch-2.6.0.dist-info/METADATA"), Relevance::Text(TextForm::Metadata)),
            (&format!("{packages}/torch-2.6.0.dist-info/RECORD"), Relevance::Text(TextForm::Record)),
            ("usr/lib/python3/dist-packages/six.egg-info", Relevance::Text(TextForm::Metadata)),
            ("usr/local/cuda-12.2/version.json", Relevance::Text(TextForm::Whole)),
            ("usr/include/x86_64-linux-gnu/cudnn_version_v9.h", Relevance::Text(TextForm::Defines)),
            ("usr/lib/x86_64-linux-gnu/libz.so.1.2.13", Relevance::Library),
            ("usr/lib/x86_64-linux-gnu/libcudnn.so.8.9.6", Relevance::CudaLibrary),
            (&format!("{packages}/nvidia/cublas/lib/libcublas.so.12"), Relevance::CudaLibrary),
            (&format!("{packages}/nvidia/nvshmem/lib/nvshmem_bootstrap_uid.so.3"), Relevance::CudaLibrary),
            (&format!("{packages}/numpy/core/_multiarray.so"), Relevance::None),
            (&format!("{packages}/numpy.libs/libopenblas.so"), Relevance::None),
            ("lib/x86_64-linux-gnu/libc.so.6", Relevance::Versioned(VersionText::GnuLibc)),
            ("usr/bin/python3.11", python(Some(11))),
            ("usr/bin/python3.11-config", Relevance::None),
            ("opt/venv/bin/python3", python(None)),
            ("usr/local/lib/libpython3.12.so.1.0", python(Some(12))),
            ("usr/local/cuda-12.2/bin/ptxas", cuda),
            (&format!("{packages}/nvidia/cu13/nvvm/bin/cicc"), cuda),
            ("usr/local/cuda-12.2/nvvm/libdevice/libdevice.10.bc", Relevance::Library),
            ("usr/bin/env", Relevance::None),
            ("root/.cache/uv/archive-v0/x/six-1.dist-info/METADATA", Relevance::Text(TextForm::Metadata)),
            ("app/src/demo.egg-info/requires.txt", Relevance::Text(TextForm::Whole)),
            (&format!("{packages}/__editable__.demo-1.0.pth"), Relevance::Text(TextForm::Whole)),
        ] {
            assert_eq!(Relevance::of(path), expected, "{path}");
        }
    }

    #[test]
    fn files_that_could_stand_in_for_a_directory_are_noted() {
        assert!(may_hide("usr/local/cuda"));
        assert!(may_hide("usr/lib/python3.11"));
        assert!(!may_hide("usr/lib/python3.11/os.py"));
        assert!(!may_hide("usr/share/zoneinfo/UTC"));
    }
}
