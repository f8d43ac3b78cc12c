//! The recipe's `cuda.compat`: NVIDIA's forward-compatibility package, with which drivers of data-centre GPUs run a newer
//! CUDA than they were released with.
//!
//! <https://docs.nvidia.com/deploy/cuda-compatibility/forward-compatibility.html>

use serde::{Serialize, Serializer};

use super::decode::{Complaint, Decode, parsed};
use super::diagnostic::{Problems, quote};
use super::yaml::Node;

/// The CUDA whose forward-compatibility package is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardCompatibility {
    /// That of the base image, which its variable `CUDA_VERSION` names.
    OfBase,
    /// A version: its major and minor number.
    Toolkit(u32, u32),
}

impl ForwardCompatibility {
    /// The version, over a base with this environment of `NAME=value`; `None` where the base was to tell and does not.
    pub fn toolkit(self, base_env: &[String]) -> Option<(u32, u32)> {
        match self {
            Self::Toolkit(major, minor) => Some((major, minor)),
            Self::OfBase => {
                let text = base_env.iter().find_map(|variable| variable.strip_prefix("CUDA_VERSION="))?;
                version(text.splitn(3, '.').take(2))
            }
        }
    }
}

/// The Debian package of NVIDIA's repositories for this version.
pub fn package((major, minor): (u32, u32)) -> String {
    format!("cuda-compat-{major}-{minor}")
}

impl Serialize for ForwardCompatibility {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::OfBase => serializer.serialize_bool(true),
            Self::Toolkit(major, minor) => serializer.collect_str(&format_args!("{major}.{minor}")),
        }
    }
}

impl Decode for Option<ForwardCompatibility> {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "`true`, or a version of CUDA", problems, |text| {
            match text {
            "true" => Ok(Some(ForwardCompatibility::OfBase)),
            "false" => Ok(None),
            text => version(text.split('.'))
                .map(|(major, minor)| Some(ForwardCompatibility::Toolkit(major, minor)))
                .ok_or_else(|| {
                    Complaint::new(format!("{} is not a version of CUDA", quote(text))).help(
                        "write `compat: true` for the CUDA of the base image, or the version as `compat: \"12.8\"`",
                    )
                }),
        }
        })
    }
}

fn version<'t>(mut numbers: impl Iterator<Item = &'t str>) -> Option<(u32, u32)> {
    let mut number = || numbers.next()?.parse().ok();
    let version = (number()?, number()?);
    numbers.next().is_none().then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_recipes_or_the_bases() {
        let env = |text: &str| vec!["PATH=/bin".to_owned(), text.to_owned()];
        let of_base = |text| ForwardCompatibility::OfBase.toolkit(&env(text));
        assert_eq!(of_base("CUDA_VERSION=12.8.1"), Some((12, 8)));
        assert_eq!(of_base("CUDA_VERSION=12.8"), Some((12, 8)));
        for told in ["CUDA_VERSION=", "CUDA_VERSION=12", "CUDA_VERSION=new.1", "NV_CUDA_VERSION=12.8.1"] {
            assert_eq!(of_base(told), None, "{told}");
        }
        let own = ForwardCompatibility::Toolkit(13, 0);
        assert_eq!(own.toolkit(&env("CUDA_VERSION=12.8.1")), Some((13, 0)));
        assert_eq!(package((13, 0)), "cuda-compat-13-0");
    }
}
