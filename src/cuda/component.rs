//! Components and the wheels that carry them.

use std::fmt;

use serde::Serialize;

/// One CUDA library family: `cublas`, `cudnn`, `nccl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Component {
    name: &'static str,
}

/// A component's name, its wheel's name without the CUDA suffix, and whether its versions are those of the CUDA
/// toolkit (`12.5.82` belongs to CUDA 12.5).
struct Row {
    name: &'static str,
    wheel: &'static str,
    numbered_as_toolkit: bool,
}

const fn toolkit(name: &'static str, wheel: &'static str) -> Row {
    Row { name, wheel, numbered_as_toolkit: true }
}

const fn own(name: &'static str, wheel: &'static str) -> Row {
    Row { name, wheel, numbered_as_toolkit: false }
}

const COMPONENTS: &[Row] = &[
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

/// The metapackage that pins one toolkit's components behind extras.
const TOOLKIT_METAPACKAGE: &str = "cuda-toolkit";

/// What a distribution is to CUDA, judged by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComponentWheel {
    /// It carries a component's files; `major` is the CUDA major version its name ends in, if it does.
    Carries { component: Component, major: Option<u32> },
    /// It carries nothing but pins on components.
    Metapackage,
}

impl ComponentWheel {
    /// What the distribution of this normalized name is; `None` for everything that is not CUDA's.
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

    pub fn name(self) -> &'static str {
        self.name
    }

    /// Every component's name, sorted.
    pub fn names() -> impl Iterator<Item = &'static str> {
        COMPONENTS.iter().map(|row| row.name)
    }

    /// Whether `X.Y` of its version is that of the CUDA toolkit it belongs to.
    pub fn is_numbered_as_toolkit(self) -> bool {
        COMPONENTS.iter().any(|row| row.name == self.name && row.numbered_as_toolkit)
    }

    /// Whether it is the runtime, whose version is the toolkit's.
    pub fn is_runtime(self) -> bool {
        self.name == "cuda-runtime"
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn names_are_sorted_and_known() {
        let names: Vec<&str> = Component::names().collect();
        assert!(names.is_sorted());
        assert!(names.iter().all(|name| Component::named(name).is_some()));
    }
}
