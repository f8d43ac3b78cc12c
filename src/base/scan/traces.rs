//! The traces around a copy of its version, and of the CUDA that it is for.

use std::collections::BTreeMap;
use std::str::FromStr;

use uv_pep440::Version;

use super::packages::Owner;
use super::place;
use crate::base::{CudaLibrary, VersionSource};
use crate::cuda::{Component, ComponentWheel};
use crate::debian::version::DebianVersion;
use crate::observe::inventory_facts::{FileFact, InventoryFacts, join};

/// One copy, as far as its files and their owner are known.
pub(super) struct Traces<'a> {
    pub component: Component,
    pub directory: &'a str,
    /// `12` of `libcublas.so.12`; empty where there are only programs.
    pub generation: &'a str,
    pub owner: Option<Owner<'a>>,
    pub libraries: &'a [CudaLibrary],
    pub programs: &'a [(&'a str, &'a FileFact)],
}

impl Traces<'_> {
    /// The version, by what tells it best.
    pub(super) fn version(&self, facts: &InventoryFacts) -> (Option<Version>, VersionSource) {
        use VersionSource as From;
        let told = self
            .of_owner()
            .or_else(|| Some((self.of_version_json(facts)?, From::VersionJson)))
            .or_else(|| Some((self.of_header(facts)?, From::Header)))
            .or_else(|| Some((self.of_program()?, From::Program)))
            .or_else(|| Some((self.of_file_name()?, From::FileName)))
            .or_else(|| Some((self.of_directory()?, From::Directory)));
        told.map_or((None, From::Unknown), |(version, from)| (Some(version), from))
    }

    fn of_owner(&self) -> Option<(Version, VersionSource)> {
        match self.owner? {
            Owner::Debian(package) => Some((of_debian(package.version)?, VersionSource::DebianPackage)),
            Owner::Distribution { name, version } => {
                ComponentWheel::of(name.as_str())?;
                Some((version.clone(), VersionSource::Distribution))
            }
            // A package of many components is numbered as none of them.
            Owner::Conda { name, version } if name.contains(library_word(self.component)) => {
                Some((Version::from_str(version).ok()?, VersionSource::CondaPackage))
            }
            Owner::Conda { .. } => None,
        }
    }

    /// The toolkit's `version.json` names components as NVIDIA's archives do: `cuda_cudart`, `libcublas`.
    fn of_version_json(&self, facts: &InventoryFacts) -> Option<Version> {
        let versions = version_json(facts, place::toolkit(self.directory)?)?;
        let word = library_word(self.component);
        let names = [format!("cuda_{word}"), format!("lib{word}"), word.to_owned()];
        let version = names.iter().find_map(|name| versions.get(name.as_str()))?;
        Version::from_str(version).ok()
    }

    /// A header in the same place whose major version is that of the SONAME.
    fn of_header(&self, facts: &InventoryFacts) -> Option<Version> {
        let prefix = match self.component.name() {
            "cudnn" => "CUDNN",
            "nccl" => "NCCL",
            _ => return None,
        };
        let home = place::home(self.directory);
        facts.texts().filter(|(path, _)| place::home(path) == home).find_map(|(_, text)| {
            let number = |names: &[&str]| {
                let mut lines = text.lines().map(|line| line.split_whitespace().skip(1));
                lines.find_map(|mut words| {
                    let name = words.next()?.strip_prefix(prefix)?;
                    words.next().filter(|_| names.contains(&name))
                })
            };
            let major = number(&["_MAJOR"]).filter(|major| *major == self.generation)?;
            let (minor, patch) = (number(&["_MINOR"])?, number(&["_PATCHLEVEL", "_PATCH"])?);
            Version::from_str(&format!("{major}.{minor}.{patch}")).ok()
        })
    }

    fn of_program(&self) -> Option<Version> {
        self.programs.iter().find_map(|(_, file)| Version::from_str(file.version.as_deref()?).ok())
    }

    /// `12.2.5.6` of `libcublas.so.12.2.5.6`. The files of CUPTI, NVTX and NVVM are numbered otherwise.
    fn of_file_name(&self) -> Option<Version> {
        if ["cuda-cupti", "nvtx", "nvvm"].contains(&self.component.name()) {
            return None;
        }
        let numbers =
            self.libraries.iter().filter_map(|library| library.path.rsplit_once(".so.").map(|(_, it)| it));
        let whole = numbers.filter(|numbers| numbers.split('.').count() >= 3);
        whole.filter_map(|numbers| Version::from_str(numbers).ok()).max()
    }

    fn of_directory(&self) -> Option<Version> {
        let (major, minor) = place::toolkit_version(place::toolkit(self.directory)?)?;
        let version = format!("{major}.{}", minor?);
        Version::from_str(&version).ok().filter(|_| self.component.is_numbered_as_toolkit())
    }

    /// The CUDA major version it is for, as far as it tells by itself.
    pub(super) fn cuda_major(&self, facts: &InventoryFacts) -> Option<u32> {
        self.major_of_owner()
            .or_else(|| place::wheel_major(self.directory))
            .or_else(|| self.major_of_toolkit(facts))
            .or_else(|| self.major_of_needed())
            .or_else(|| self.major_of_soname())
            .or_else(|| self.major_of_program())
    }

    fn major_of_owner(&self) -> Option<u32> {
        match self.owner? {
            Owner::Debian(package) => major_of_debian(package.name, package.version),
            Owner::Distribution { name, version } => match ComponentWheel::of(name.as_str())? {
                ComponentWheel::Carries { major: Some(major), .. } => Some(major),
                ComponentWheel::Carries { component, .. } if component.is_numbered_as_toolkit() => {
                    u32::try_from(*version.release().first()?).ok()
                }
                _ => None,
            },
            Owner::Conda { name, version } if name.starts_with("cuda") => {
                version.split('.').next()?.parse().ok()
            }
            Owner::Conda { .. } => None,
        }
    }

    fn major_of_toolkit(&self, facts: &InventoryFacts) -> Option<u32> {
        let toolkit = place::toolkit(self.directory)?;
        let of_json = || version_json(facts, toolkit)?.get("cuda")?.split('.').next()?.parse().ok();
        place::toolkit_version(toolkit).map(|(major, _)| major).or_else(of_json)
    }

    fn major_of_needed(&self) -> Option<u32> {
        self.libraries.iter().flat_map(|library| &library.needed).find_map(|name| major_of_soname(name))
    }

    fn major_of_soname(&self) -> Option<u32> {
        self.libraries.iter().find_map(|library| major_of_soname(&library.soname))
    }

    fn major_of_program(&self) -> Option<u32> {
        let version = self.of_program()?;
        u32::try_from(*version.release().first()?).ok()
    }
}

/// The libraries whose SONAME says which CUDA they are of.
fn major_of_soname(soname: &str) -> Option<u32> {
    let (stem, numbers) = soname.split_once(".so.")?;
    let tells = ["libcudart", "libcublas", "libcublasLt", "libnvJitLink", "libnvrtc"].contains(&stem);
    numbers.split('.').next()?.parse().ok().filter(|_| tells)
}

/// The word for a component in the names of libraries, of conda's packages and of NVIDIA's archives.
fn library_word(component: Component) -> &'static str {
    match component.name() {
        "cuda-runtime" => "cudart",
        name => name.strip_prefix("cuda-").unwrap_or(name),
    }
}

/// `12.2.5.6` of `12.2.5.6-1`, `2.19.3` of `2.19.3-1+cuda12.2`; of Debian's own, `11.11.3.6` of `11.11.3.6~11.8.0-5`, and
/// `10.9.0.58` of `11.1.1+~10.9.0.58~11.8.0-5`, whose first number only keeps the version from falling.
fn of_debian(version: &DebianVersion) -> Option<Version> {
    let own = match toolkit_of_debian(version) {
        Some((own, _)) => own.rsplit('~').next().unwrap_or(own),
        None => version.upstream(),
    };
    Version::from_str(own.split('+').next().unwrap_or(own)).ok()
}

/// The parts of a version before and after the last `~` in Debian's own packages of CUDA: the library's and the
/// toolkit's.
fn toolkit_of_debian(version: &DebianVersion) -> Option<(&str, &str)> {
    version.upstream().rsplit_once('~')
}

/// 12 of `libcublas-12-2`, `libcudnn9-cuda-12`, and a version such as `2.19.3-1+cuda12.2` or Debian's own
/// `11.11.3.6~11.8.0-5`.
fn major_of_debian(name: &str, version: &DebianVersion) -> Option<u32> {
    let number =
        |text: &str| text.split(['.', '-', '~']).next().and_then(|digits| digits.parse::<u32>().ok());
    let mut parts = name.rsplit('-');
    let of_name = match (parts.next(), parts.next()) {
        (Some(major), Some("cuda")) => major.parse().ok(),
        (Some(minor), Some(major)) if minor.parse::<u32>().is_ok() => major.parse().ok(),
        _ => None,
    };
    of_name
        .or_else(|| number(version.as_str().split_once("+cuda")?.1))
        .or_else(|| number(toolkit_of_debian(version)?.1))
}

/// The versions by component of a toolkit's `version.json`.
fn version_json(facts: &InventoryFacts, toolkit: &str) -> Option<BTreeMap<String, String>> {
    let json: serde_json::Value = serde_json::from_str(facts.read(&join(toolkit, "version.json"))?).ok()?;
    let entries = json.as_object()?.iter();
    let version = |(name, value): (&String, &serde_json::Value)| {
        Some((name.clone(), value.get("version")?.as_str()?.to_owned()))
    };
    Some(entries.filter_map(version).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_versions_of_packages() {
        let check = |name: &str, version: &str, expected: (&str, u32)| {
            let version: DebianVersion = version.parse().unwrap();
            assert_eq!(of_debian(&version).map(|version| version.to_string()).as_deref(), Some(expected.0));
            assert_eq!(major_of_debian(name, &version), Some(expected.1));
        };
        check("libcublas-12-2", "12.2.5.6-1", ("12.2.5.6", 12));
        check("libnccl2", "2.19.3-1+cuda12.2", ("2.19.3", 12));
        check("libcudnn9-cuda-12", "9.2.1.18-1", ("9.2.1.18", 12));
        check("libcublas11", "11.11.3.6~11.8.0-5~deb12u1", ("11.11.3.6", 11));
        check("libcufft10", "11.1.1+~10.9.0.58~11.8.0-5~deb12u1", ("10.9.0.58", 11));
    }
}
