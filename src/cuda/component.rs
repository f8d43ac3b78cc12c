//! Components and the wheels that carry them.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// One CUDA library family: `cublas`, `cudnn`, `nccl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Component {
    name: &'static str,
}

/// A component's name, its wheel's name without the CUDA suffix, and whether its versions are those of the CUDA
/// toolkit (`12.5.82` belongs to CUDA 12.5).
struct ComponentRow {
    name: &'static str,
    wheel: &'static str,
    numbered_as_toolkit: bool,
}

const fn toolkit(name: &'static str, wheel: &'static str) -> ComponentRow {
    ComponentRow { name, wheel, numbered_as_toolkit: true }
}

const fn own(name: &'static str, wheel: &'static str) -> ComponentRow {
    ComponentRow { name, wheel, numbered_as_toolkit: false }
}

const COMPONENTS: &[ComponentRow] = &[
    own("cublas", "nvidia-cublas"),
    toolkit("cuda-cccl", "nvidia-cuda-cccl"),
    toolkit("cuda-crt", "nvidia-cuda-crt"),
    toolkit("cuda-culibos", "nvidia-cuda-culibos"),
    toolkit("cuda-cuobjdump", "nvidia-cuda-cuobjdump"),
    toolkit("cuda-cupti", "nvidia-cuda-cupti"),
    toolkit("cuda-cuxxfilt", "nvidia-cuda-cuxxfilt"),
    toolkit("cuda-nvcc", "nvidia-cuda-nvcc"),
    toolkit("cuda-nvrtc", "nvidia-cuda-nvrtc"),
    toolkit("cuda-opencl", "nvidia-cuda-opencl"),
    toolkit("cuda-profiler-api", "nvidia-cuda-profiler-api"),
    toolkit("cuda-runtime", "nvidia-cuda-runtime"),
    toolkit("cuda-sanitizer-api", "nvidia-cuda-sanitizer-api"),
    own("cudnn", "nvidia-cudnn"),
    own("cudss", "nvidia-cudss"),
    own("cufft", "nvidia-cufft"),
    own("cufile", "nvidia-cufile"),
    own("curand", "nvidia-curand"),
    own("cusolver", "nvidia-cusolver"),
    own("cusparse", "nvidia-cusparse"),
    own("cusparselt", "nvidia-cusparselt"),
    own("cutensor", "cutensor"),
    own("nccl", "nvidia-nccl"),
    own("npp", "nvidia-npp"),
    toolkit("nvfatbin", "nvidia-nvfatbin"),
    toolkit("nvjitlink", "nvidia-nvjitlink"),
    own("nvjpeg", "nvidia-nvjpeg"),
    toolkit("nvml-dev", "nvidia-nvml-dev"),
    toolkit("nvptxcompiler", "nvidia-nvptxcompiler"),
    own("nvshmem", "nvidia-nvshmem"),
    toolkit("nvtx", "nvidia-nvtx"),
    toolkit("nvvm", "nvidia-nvvm"),
];

/// The libraries of each component, by their names without `.so` and what follows. Those before the bar are what
/// serves: a copy without one of them is no copy. A name that ends in `*` stands for all that begin with it.
const LIBRARIES: &[(&str, &str)] = &[
    ("cublas", "libcublas libcublasLt | libnvblas"),
    ("cuda-cupti", "libcupti | libnvperf_host libnvperf_target libcheckpoint libpcsamplingutil"),
    ("cuda-nvrtc", "libnvrtc libnvrtc-builtins | libnvrtc.alt libnvrtc-builtins.alt"),
    ("cuda-runtime", "libcudart"),
    ("cudnn", "libcudnn | libcudnn_*"),
    ("cudss", "libcudss | libcudss_*"),
    ("cufft", "libcufft | libcufftw"),
    ("cufile", "libcufile | libcufile_rdma"),
    ("curand", "libcurand"),
    ("cusolver", "libcusolver | libcusolverMg"),
    ("cusparse", "libcusparse"),
    ("cusparselt", "libcusparseLt"),
    ("cutensor", "libcutensor | libcutensorMg"),
    ("nccl", "libnccl | libnccl-*"),
    ("npp", "libnppc libnpps | libnppi*"),
    ("nvfatbin", "libnvfatbin"),
    ("nvjitlink", "libnvJitLink"),
    ("nvjpeg", "libnvjpeg"),
    ("nvshmem", "libnvshmem_host | libnvshmem* nvshmem_*"),
    ("nvtx", "| libnvToolsExt libnvtx3interop"),
    ("nvvm", "| libnvvm"),
];

/// Components whose SONAMEs begin with the number of the CUDA major: `libcublas.so.12`, `libcudart.so.11.0`.
const MAJOR_IN_SONAME: [&str; 8] =
    ["cublas", "cuda-cupti", "cuda-nvrtc", "cuda-runtime", "npp", "nvfatbin", "nvjitlink", "nvjpeg"];
/// Components whose SONAMEs have numbers of their own, which versions do not follow: `libcufile.so.0` of 1.11.
const OWN_NUMBER_IN_SONAME: [&str; 3] = ["cufile", "nvtx", "nvvm"];

/// The first CUDA major whose toolkit's wheels have no suffix.
pub const FIRST_UNSUFFIXED: u32 = 13;
/// Components whose wheels keep the suffix, as they are released apart from the toolkit.
const ALWAYS_SUFFIXED: [&str; 6] = ["cudnn", "cudss", "cusparselt", "cutensor", "nccl", "nvshmem"];

/// The metapackage that pins one toolkit's components behind extras.
const TOOLKIT_METAPACKAGE: &str = "cuda-toolkit";

/// The role of a distribution in CUDA, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComponentWheel {
    /// It carries a component's files; `major` is the CUDA major version its name ends in, if it does.
    Carries {
        /// The component.
        component: Component,
        /// The CUDA major in the wheel's name.
        major: Option<u32>,
    },
    /// It carries nothing but pins on components.
    Metapackage,
}

impl ComponentWheel {
    /// The role of the distribution of this normalized name; `None` for everything that is not CUDA's.
    pub fn of(distribution: &str) -> Option<Self> {
        if distribution == TOOLKIT_METAPACKAGE {
            return Some(Self::Metapackage);
        }
        let (stem, major) = match distribution.rsplit_once("-cu") {
            Some((stem, digits)) if matches!(digits, "11" | "12" | "13") => (stem, digits.parse().ok()),
            _ => (distribution, None),
        };
        let row = COMPONENTS.iter().find(|row| row.wheel == stem)?;
        Some(Self::Carries { component: Component { name: row.name }, major })
    }
}

impl Component {
    /// The component of this name, as recipes write it.
    pub fn named(name: &str) -> Option<Self> {
        COMPONENTS.iter().find(|row| row.name == name).map(|row| Self { name: row.name })
    }

    /// Its name, as recipes write it.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Every component's name, sorted.
    pub fn names() -> impl Iterator<Item = &'static str> {
        COMPONENTS.iter().map(|row| row.name)
    }

    /// The component that a library of this SONAME or file name belongs to: `libcublasLt.so.12`.
    pub fn of_library(soname: &str) -> Option<Self> {
        let stem = library_stem(soname)?;
        let has = |names: &str| {
            names.split_whitespace().any(|name| match name.strip_suffix('*') {
                Some(start) => stem.starts_with(start),
                None => stem == name,
            })
        };
        let (name, _) = LIBRARIES.iter().find(|(_, names)| has(names))?;
        Self::named(name)
    }

    /// The names without `.so` of the libraries without which a copy of the component does not serve.
    pub fn essential_libraries(self) -> impl Iterator<Item = &'static str> {
        let names = LIBRARIES.iter().find(|(name, _)| *name == self.name).map_or("", |(_, names)| names);
        names.split('|').next().unwrap_or_default().split_whitespace()
    }

    /// The other files without which a copy does not serve, relative to its toolkit's directory.
    pub fn essential_programs(self) -> impl Iterator<Item = &'static str> {
        let names: &[&str] = match self.name {
            "cuda-nvcc" => &["bin/ptxas", "nvvm/libdevice/libdevice.10.bc"],
            _ => &[],
        };
        names.iter().copied()
    }

    /// The count of a version's numbers that its SONAMEs follow: one, as NVIDIA raises the first number with the
    /// SONAME; two for CUDA 11's CUPTI, whose SONAMEs are `libcupti.so.11.7`, `libcupti.so.11.8`.
    pub fn numbers_in_soname(self, first_number: u64) -> usize {
        match (self.name, first_number) {
            ("cuda-cupti", 11) => 2,
            _ => 1,
        }
    }

    /// The CUDA major that a library of this SONAME is for, where the SONAME alone tells it.
    pub fn major_of_library(self, soname: &str) -> Option<u32> {
        let number = soname_numbers(soname).next()?;
        MAJOR_IN_SONAME.contains(&self.name).then_some(number)
    }

    /// The first numbers of the versions that have a library of this SONAME; empty where versions do not tell it.
    pub fn version_of_library(self, soname: &str) -> Vec<u64> {
        if OWN_NUMBER_IN_SONAME.contains(&self.name) {
            return Vec::new();
        }
        let numbers: Vec<u64> = soname_numbers(soname).map(u64::from).collect();
        let count = numbers.first().map_or(0, |first| self.numbers_in_soname(*first));
        numbers.into_iter().take(count).collect()
    }

    /// Returns whether it is released apart from the toolkit, with libraries of the same SONAME for several CUDA majors:
    /// NCCL, cuDNN.
    pub fn is_apart_from_toolkit(self) -> bool {
        ALWAYS_SUFFIXED.contains(&self.name)
    }

    /// The name of the wheel that carries it for a CUDA major: `nvidia-cublas-cu12`, `nvidia-cublas`, `nvidia-cudnn-cu13`.
    pub fn distribution(self, cuda_major: u32) -> String {
        let wheel = COMPONENTS.iter().find(|row| row.name == self.name).map_or(self.name, |row| row.wheel);
        match cuda_major >= FIRST_UNSUFFIXED && !ALWAYS_SUFFIXED.contains(&self.name) {
            true => wheel.to_owned(),
            false => format!("{wheel}-cu{cuda_major}"),
        }
    }

    /// The directory of its wheel's files for a CUDA major, below `nvidia` of site-packages: `cuda_nvrtc`, `cudnn`, `cu13`.
    /// `None` for wheels that have none there.
    pub fn wheel_directory(self, cuda_major: u32) -> Option<String> {
        let name = self.distribution(cuda_major);
        match name.strip_suffix(&format!("-cu{cuda_major}")) {
            Some(stem) => stem.strip_prefix("nvidia-").map(|folder| folder.replace('-', "_")),
            None => Some(format!("cu{cuda_major}")),
        }
    }

    /// Returns whether its wheel for a CUDA major has the directory `nvvm`: NVVM has a wheel of its own since CUDA 13.
    pub fn brings_nvvm(self, cuda_major: u32) -> bool {
        self.name == if cuda_major >= FIRST_UNSUFFIXED { "nvvm" } else { "cuda-nvcc" }
    }

    /// Returns whether it has libraries.
    pub fn has_libraries(self) -> bool {
        LIBRARIES.iter().any(|(name, _)| *name == self.name)
    }

    /// Returns whether `X.Y` of its version is that of the CUDA toolkit it belongs to.
    pub fn is_numbered_as_toolkit(self) -> bool {
        COMPONENTS.iter().any(|row| row.name == self.name && row.numbered_as_toolkit)
    }

    /// Returns whether it is the runtime, whose version is the toolkit's.
    pub fn is_runtime(self) -> bool {
        self.name == "cuda-runtime"
    }
}

impl<'de> Deserialize<'de> for Component {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::named(&name).ok_or_else(|| D::Error::custom(format!("`{name}` is not a CUDA component")))
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Returns whether a Debian package of this name may carry a component: one of NVIDIA's, `cuda-cudart-12-2`, or one
/// that is named after its library as Debian does, `libcublaslt11`.
pub fn is_debian_package(name: &str) -> bool {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || ".-".contains(c));
    let libraries = LIBRARIES.iter().flat_map(|(_, names)| names.split_whitespace());
    name.starts_with("cuda-") || libraries.into_iter().any(|library| library.eq_ignore_ascii_case(stem))
}

/// `11` and `0` of `libcudart.so.11.0`.
fn soname_numbers(soname: &str) -> impl Iterator<Item = u32> {
    let version = soname.split_once(".so.").map_or("", |(_, version)| version);
    version.split('.').map_while(|number| number.parse().ok())
}

/// `libcublas` of `libcublas.so.12`; `None` for what is not named as a shared library is.
pub fn library_stem(soname: &str) -> Option<&str> {
    let (stem, version) = soname.split_once(".so")?;
    (version.is_empty() || version.starts_with('.')).then_some(stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_known_by_its_soname() {
        let found = |soname: &str| Component::of_library(soname).map(Component::name);
        assert_eq!(found("libcublasLt.so.12"), Some("cublas"));
        assert_eq!(found("libcudnn_ops_infer.so.8.9.6"), Some("cudnn"));
        assert_eq!(found("libnvrtc-builtins.so.12.2"), Some("cuda-nvrtc"));
        assert_eq!(found("libnvshmem_host.so.3"), Some("nvshmem"));
        assert_eq!(found("nvshmem_bootstrap_uid.so.3"), Some("nvshmem"));
        assert_eq!(found("libnvToolsExt.so.1"), Some("nvtx"));
        for other in ["libc.so.6", "libcuda.so.1", "libcublas_static.a", "libcudnn.social"] {
            assert_eq!(found(other), None, "{other}");
        }
        let wheel = |name: &str, major| Component::named(name).unwrap().distribution(major);
        assert_eq!(wheel("cublas", 12), "nvidia-cublas-cu12");
        assert_eq!(wheel("cublas", 13), "nvidia-cublas");
        assert_eq!(wheel("cudnn", 13), "nvidia-cudnn-cu13");
        assert_eq!(wheel("cutensor", 11), "cutensor-cu11");
        let folder = |name: &str, major| Component::named(name).unwrap().wheel_directory(major);
        assert_eq!(folder("cuda-nvrtc", 12).as_deref(), Some("cuda_nvrtc"));
        assert_eq!(folder("cublas", 13).as_deref(), Some("cu13"));
        assert_eq!(folder("cudnn", 13).as_deref(), Some("cudnn"));
        assert_eq!(folder("cutensor", 12), None);
        let essential: Vec<&str> = Component::named("cublas").unwrap().essential_libraries().collect();
        assert_eq!(essential, ["libcublas", "libcublasLt"]);
        assert_eq!(Component::named("nvtx").unwrap().essential_libraries().count(), 0);
    }

    #[test]
    fn a_soname_tells_its_cuda_and_its_versions() {
        let told = |soname: &str| {
            let component = Component::of_library(soname).unwrap();
            (component.major_of_library(soname), component.version_of_library(soname))
        };
        assert_eq!(told("libcublas.so.12"), (Some(12), vec![12]));
        assert_eq!(told("libcudart.so.11.0"), (Some(11), vec![11]));
        assert_eq!(told("libcupti.so.11.7"), (Some(11), vec![11, 7]));
        assert_eq!(told("libcufft.so.11"), (None, vec![11]));
        assert_eq!(told("libcusparse.so.12"), (None, vec![12]));
        assert_eq!(told("libcufile.so.0"), (None, vec![]));
        assert_eq!(told("libnvrtc.so"), (None, vec![]));
    }

    fn check(distribution: &str, expected: Option<(&str, Option<u32>)>) {
        let found = ComponentWheel::of(distribution).map(|wheel| match wheel {
            ComponentWheel::Carries { component, major } => (component.name(), major),
            ComponentWheel::Metapackage => ("metapackage", None),
        });
        assert_eq!(found, expected, "{distribution}");
    }

    #[test]
    fn a_wheel_is_known_by_its_name() {
        check("nvidia-cublas-cu12", Some(("cublas", Some(12))));
        check("nvidia-cublas", Some(("cublas", None)));
        check("nvidia-cuda-nvcc-cu12", Some(("cuda-nvcc", Some(12))));
        check("cutensor-cu13", Some(("cutensor", Some(13))));
        check("cuda-toolkit", Some(("metapackage", None)));
        check("nvidia-ml-py", None);
        check("torch", None);
        check("cuda-bindings", None);
        check("cupy-cuda12x", None);
    }

    #[test]
    fn a_debian_package_is_known_by_its_name() {
        for name in
            ["libcublaslt11", "libcupti11.8", "libnccl2", "libcublas-12-2", "cuda-cudart-12-2", "libcudnn8"]
        {
            assert!(is_debian_package(name), "{name}");
        }
        for name in ["libc6", "libcurl4", "python3", "libcudart"] {
            assert_eq!(is_debian_package(name), name == "libcudart", "{name}");
        }
    }

    #[test]
    fn names_are_sorted_and_known() {
        let names: Vec<&str> = Component::names().collect();
        assert!(names.is_sorted());
        assert!(names.iter().all(|name| Component::named(name).is_some()));
    }
}
