//! NVIDIA's layout of a toolkit: `/usr/local/cuda-X.Y` with `targets/<machine>-linux/{lib,include}`, `bin` and `nvvm`.
//!
//! <https://docs.nvidia.com/cuda/cuda-installation-guide-linux/>

use std::fmt;

use serde::{Deserialize, Serialize};
use uv_pep440::Version;

use crate::oci::Architecture;

/// One toolkit's tree in an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toolkit {
    /// `(12, 5)` for CUDA 12.5.
    pub version: (u32, u32),
    /// The architecture that its libraries are for.
    pub architecture: Architecture,
}

/// The version of the toolkit that a component of this version belongs to: `(12, 5)` of `12.5.82`.
pub fn toolkit_version(version: &Version) -> Option<(u32, u32)> {
    let number = |index: usize| u32::try_from(*version.release().get(index)?).ok();
    Some((number(0)?, number(1)?))
}

impl fmt::Display for Toolkit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.version.0, self.version.1)
    }
}

impl Toolkit {
    /// Its directory, relative to the image's root: `usr/local/cuda-12.5`.
    pub fn root(&self) -> String {
        format!("usr/local/cuda-{self}")
    }

    /// The name of its machine's directory below `targets`.
    pub fn target(&self) -> &'static str {
        match self.architecture {
            Architecture::Amd64 => "x86_64-linux",
            Architecture::Arm64 => "sbsa-linux",
        }
    }

    /// The directory of its libraries, relative to the image's root.
    pub fn library_directory(&self) -> String {
        format!("{}/targets/{}/lib", self.root(), self.target())
    }

    /// The place in the toolkit of the file at `wheel_path` in a component's wheel, relative to the image's root.
    ///
    /// Wheels keep their files below `nvidia/<name>` or `<name>`, in directories named as the toolkit's. The Python
    /// packages around them have no place in a toolkit: `None`.
    pub fn place(&self, distribution: &str, wheel_path: &str) -> Option<String> {
        let name = wheel_path.rsplit('/').next().unwrap_or(wheel_path);
        if ["__init__.py", "__init__.pyi", "py.typed"].contains(&name) {
            return None;
        }
        let root = self.root();
        let mut parts = wheel_path.split('/');
        let mut above = 0;
        while let Some(part) = parts.next() {
            let rest = || parts.clone().collect::<Vec<_>>().join("/");
            match part {
                "lib" | "lib64" if above > 0 => {
                    return Some(format!("{}/{}", self.library_directory(), rest()));
                }
                "include" if above > 0 => {
                    return Some(format!("{root}/targets/{}/include/{}", self.target(), rest()));
                }
                "bin" | "nvvm" if above > 0 => return Some(format!("{root}/{part}/{}", rest())),
                _ if part.ends_with(".py") => return None,
                _ => above += 1,
            }
        }
        Some(format!("{root}/share/doc/{distribution}/{wheel_path}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wheel_path: &str, expected: Option<&str>) {
        let toolkit = Toolkit { version: (12, 5), architecture: Architecture::Amd64 };
        let placed = toolkit.place("nvidia-demo-cu12", wheel_path);
        assert_eq!(placed.as_deref(), expected.map(|path| format!("usr/local/cuda-12.5/{path}")).as_deref());
    }

    #[test]
    fn wheels_are_laid_out_as_nvidia_does() {
        check("nvidia/cublas/lib/libcublas.so.12", Some("targets/x86_64-linux/lib/libcublas.so.12"));
        check("nvidia/cublas/include/cublas.h", Some("targets/x86_64-linux/include/cublas.h"));
        check("nvidia/cuda_nvcc/bin/ptxas", Some("bin/ptxas"));
        check("nvidia/cuda_nvcc/nvvm/libdevice/libdevice.10.bc", Some("nvvm/libdevice/libdevice.10.bc"));
        check("nvidia/cuda_nvcc/nvvm/bin/cicc", Some("nvvm/bin/cicc"));
        check("nvidia/cu13/lib/libcudart.so.13", Some("targets/x86_64-linux/lib/libcudart.so.13"));
        check("cusparselt/lib/libcusparseLt.so.0", Some("targets/x86_64-linux/lib/libcusparseLt.so.0"));
        check("nvidia/cublas/LICENSE", Some("share/doc/nvidia-demo-cu12/nvidia/cublas/LICENSE"));
        check("nvidia/cublas/__init__.py", None);
        check("nvidia/__init__.py", None);
        check("nvidia/cublas/lib/__init__.py", None);
        check("nvidia/cublas/include/__init__.py", None);
    }
}
