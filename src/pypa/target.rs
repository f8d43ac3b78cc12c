//! The interpreter and platform that is built for: its markers and the wheels that fit it.
//!
//! <https://packaging.python.org/en/latest/specifications/platform-compatibility-tags/>
//! <https://packaging.python.org/en/latest/specifications/dependency-specifiers/#environment-markers>

use std::fmt;
use std::str::FromStr;

use uv_distribution_filename::WheelFilename;
use uv_pep440::{Version, VersionSpecifiers, release_specifiers_to_ranges};
use uv_pep508::{MarkerEnvironment, MarkerEnvironmentBuilder};
use uv_platform_tags::{
    AbiTag, Arch, LanguageTag, Os, Platform, PlatformTag, TagCompatibility, TagPriority, Tags, TagsOptions,
};

use crate::failure::Hinted;
use crate::oci::Architecture;

/// CPython on a Linux machine with a known glibc.
#[derive(Debug, Clone)]
pub struct Target {
    python: Version,
    architecture: Architecture,
    glibc: (u16, u16),
    markers: MarkerEnvironment,
    tags: Tags,
}

/// The reason why there is no such target.
#[derive(Debug, Clone, thiserror::Error)]
#[error("`{python}` is not a Python version such as 3.11.2")]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub struct TargetError {
    python: String,
}

impl Hinted for TargetError {
    fn hint(&self) -> Option<String> {
        Some("write the version as MAJOR.MINOR.PATCH".into())
    }
}

/// The architecture in wheel tags.
fn arch_of(architecture: Architecture) -> Arch {
    match architecture {
        Architecture::Amd64 => Arch::X86_64,
        Architecture::Arm64 => Arch::Aarch64,
    }
}

/// The fit of a wheel and a [`Target`]: the greatest is the one that an installer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fit(TagPriority);

/// The reason why a wheel does not fit a [`Target`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    /// It is for other Python versions or implementations.
    Python {
        /// The wheel's Python tags.
        wheel: Vec<String>,
        /// The target's Python.
        target: String,
    },
    /// It is compiled against another Python ABI.
    Abi {
        /// The wheel's ABI tags.
        wheel: Vec<String>,
        /// The target's ABI.
        target: String,
    },
    /// It needs a newer glibc than the target has.
    Glibc {
        /// The glibc that the wheel needs.
        wheel: (u16, u16),
        /// The target's glibc.
        target: (u16, u16),
    },
    /// It is for other operating systems, C libraries or machines.
    Platform {
        /// The wheel's platform tags.
        wheel: Vec<String>,
        /// The target's architecture.
        architecture: Architecture,
    },
    /// Its project says that it needs another Python.
    RequiresPython {
        /// The wheel's `Requires-Python`.
        wheel: VersionSpecifiers,
        /// The target's Python.
        target: Version,
    },
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Python { wheel, target } => write!(f, "is for {}, not {target}", wheel.join(", ")),
            Self::Abi { wheel, target } => write!(f, "has the ABI {}, not {target}", wheel.join(", ")),
            Self::Glibc { wheel, target } => {
                write!(f, "needs glibc {}.{}, the image has {}.{}", wheel.0, wheel.1, target.0, target.1)
            }
            Self::Platform { wheel, architecture } => {
                let machine = architecture.machine_name();
                write!(f, "is for {}, not Linux with glibc on {machine}", wheel.join(", "))
            }
            Self::RequiresPython { wheel, target } => {
                write!(f, "needs Python {wheel}, the image has {target}")
            }
        }
    }
}

impl Target {
    /// CPython `python_full` (such as `3.11.2`) on `architecture` with glibc `(major, minor)`.
    ///
    /// The markers `platform_release` and `platform_version` tell of the kernel, which an image does
    /// not have: they are empty.
    pub fn new(
        python_full: &str,
        architecture: Architecture,
        glibc: (u16, u16),
    ) -> Result<Self, TargetError> {
        let invalid = || TargetError { python: python_full.to_owned() };
        let python = Version::from_str(python_full).map_err(|_| invalid())?;
        let (major, minor) = match *python.release() {
            [major, minor, ..] => {
                (u8::try_from(major).map_err(|_| invalid())?, u8::try_from(minor).map_err(|_| invalid())?)
            }
            _ => return Err(invalid()),
        };
        let python_version = format!("{major}.{minor}");
        let markers = MarkerEnvironment::try_from(MarkerEnvironmentBuilder {
            implementation_name: "cpython",
            implementation_version: python_full,
            os_name: "posix",
            platform_machine: architecture.machine_name(),
            platform_python_implementation: "CPython",
            platform_release: "",
            platform_system: "Linux",
            platform_version: "",
            python_full_version: python_full,
            python_version: &python_version,
            sys_platform: "linux",
        })
        .map_err(|_| invalid())?;
        let platform = Platform::new(Os::Manylinux { major: glibc.0, minor: glibc.1 }, arch_of(architecture));
        let options = TagsOptions {
            manylinux_compatible: true,
            gil_disabled: false,
            debug_enabled: false,
            is_cross: false,
        };
        let tags = Tags::from_env(platform, (major, minor), "cpython", (major, minor), options)
            .map_err(|_| invalid())?;
        Ok(Self { python, architecture, glibc, markers, tags })
    }

    /// The full Python version.
    pub fn python(&self) -> &Version {
        &self.python
    }

    /// The Python version as in `python3.11`: major and minor.
    pub fn python_minor(&self) -> (u8, u8) {
        self.tags.python_version()
    }

    /// The architecture of the target.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// The glibc version, major and minor.
    pub fn glibc(&self) -> (u16, u16) {
        self.glibc
    }

    /// The values that environment markers are evaluated with.
    pub fn markers(&self) -> &MarkerEnvironment {
        &self.markers
    }

    /// Returns whether `requires_python` admits this Python. As installers do, only release numbers are compared.
    pub fn admits(&self, requires_python: &VersionSpecifiers) -> bool {
        release_specifiers_to_ranges(requires_python.clone()).contains(&self.python.only_release())
    }

    /// The fit of `wheel`, or the reason why it does not fit. `Requires-Python` is the index's to tell: see
    /// [`Self::admits`].
    pub fn fit(&self, wheel: &WheelFilename) -> Result<Fit, Misfit> {
        match wheel.compatibility(&self.tags) {
            TagCompatibility::Compatible(priority) => Ok(Fit(priority)),
            TagCompatibility::Incompatible(_) => Err(self.misfit(wheel)),
        }
    }

    /// Returns whether a wheel of this compatibility tag fits, as a `WHEEL` file lists it:
    /// `cp311-cp311-manylinux_2_28_x86_64`.
    pub fn suits(&self, tag: &str) -> bool {
        let filename = WheelFilename::from_str(&format!("wheel-0-{tag}.whl"));
        filename.is_ok_and(|wheel| self.fit(&wheel).is_ok())
    }

    /// Returns whether `wheel` is for this operating system, C library and machine, or for any, whatever else it needs.
    pub fn is_platform_of(&self, wheel: &WheelFilename) -> bool {
        wheel.platform_tags().iter().any(|tag| *tag == PlatformTag::Any || self.glibc_of(tag).is_some())
    }

    fn misfit(&self, wheel: &WheelFilename) -> Misfit {
        let fits_language =
            |language: &LanguageTag, abi: &AbiTag| self.tags.is_compatible_abi(*language, *abi);
        let abis = wheel.abi_tags();
        let languages = wheel.python_tags();
        let stable = |language| abis.contains(&AbiTag::Abi3) && fits_language(language, &AbiTag::Abi3);
        if !languages.iter().any(|language| fits_language(language, &AbiTag::None) || stable(language)) {
            let target = self.tags.python_tag().map_or_else(String::new, |tag| tag.to_string());
            return Misfit::Python { wheel: names(languages), target };
        }
        if !languages.iter().any(|language| abis.iter().any(|abi| fits_language(language, abi))) {
            let target = self.tags.abi_tag().map_or_else(String::new, |tag| tag.to_string());
            return Misfit::Abi { wheel: names(abis), target };
        }
        match wheel.platform_tags().iter().filter_map(|tag| self.glibc_of(tag)).min() {
            Some(needs) if needs > self.glibc => Misfit::Glibc { wheel: needs, target: self.glibc },
            _ => Misfit::Platform { wheel: names(wheel.platform_tags()), architecture: self.architecture },
        }
    }

    /// The glibc that `tag` asks for, when it is for this machine.
    fn glibc_of(&self, tag: &PlatformTag) -> Option<(u16, u16)> {
        let (glibc, arch) = match tag {
            PlatformTag::Manylinux { major, minor, arch } => ((*major, *minor), arch),
            PlatformTag::Manylinux1 { arch } => ((2, 5), arch),
            PlatformTag::Manylinux2010 { arch } => ((2, 12), arch),
            PlatformTag::Manylinux2014 { arch } => ((2, 17), arch),
            _ => return None,
        };
        (*arch == arch_of(self.architecture)).then_some(glibc)
    }
}

fn names<T: fmt::Display>(tags: &[T]) -> Vec<String> {
    tags.iter().map(T::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wheel: &str, expected: &str) {
        let target = Target::new("3.11.2", Architecture::Amd64, (2, 36)).unwrap();
        let wheel = WheelFilename::from_str(wheel).unwrap();
        let actual = match target.fit(&wheel) {
            Ok(_) => "fits".to_owned(),
            Err(misfit) => misfit.to_string(),
        };
        assert_eq!(actual, expected, "{wheel}");
    }

    #[test]
    fn says_why_a_wheel_does_not_fit() {
        check("a-1-py3-none-any.whl", "fits");
        check("a-1-cp311-cp311-manylinux_2_28_x86_64.whl", "fits");
        check("a-1-cp38-abi3-manylinux2014_x86_64.whl", "fits");
        check("a-1-cp312-cp312-manylinux_2_28_x86_64.whl", "is for cp312, not cp311");
        check("a-1-cp312-abi3-manylinux_2_28_x86_64.whl", "is for cp312, not cp311");
        check("a-1-cp35-cp35m-manylinux1_x86_64.whl", "is for cp35, not cp311");
        check("a-1-py2-none-any.whl", "is for py2, not cp311");
        check("a-1-cp311-cp311t-manylinux_2_28_x86_64.whl", "has the ABI cp311t, not cp311");
        check("a-1-cp311-cp311-manylinux_2_39_x86_64.whl", "needs glibc 2.39, the image has 2.36");
        check(
            "a-1-cp311-cp311-manylinux_2_28_aarch64.whl",
            "is for manylinux_2_28_aarch64, not Linux with glibc on x86_64",
        );
        check("a-1-cp311-cp311-win_amd64.whl", "is for win_amd64, not Linux with glibc on x86_64");
        check(
            "a-1-cp311-cp311-musllinux_1_2_x86_64.whl",
            "is for musllinux_1_2_x86_64, not Linux with glibc on x86_64",
        );
    }

    #[test]
    fn prefers_the_most_specific_wheel() {
        let target = Target::new("3.11.2", Architecture::Amd64, (2, 36)).unwrap();
        let fit = |name: &str| target.fit(&WheelFilename::from_str(name).unwrap()).unwrap();
        assert!(
            fit("a-1-cp311-cp311-manylinux_2_28_x86_64.whl")
                > fit("a-1-cp311-cp311-manylinux2014_x86_64.whl")
        );
        assert!(
            fit("a-1-cp311-cp311-manylinux2014_x86_64.whl") > fit("a-1-cp38-abi3-manylinux2014_x86_64.whl")
        );
        assert!(fit("a-1-cp38-abi3-manylinux2014_x86_64.whl") > fit("a-1-py3-none-any.whl"));
    }

    #[test]
    fn compares_only_release_numbers_with_requires_python() {
        let target = Target::new("3.11.2", Architecture::Amd64, (2, 36)).unwrap();
        for (specifiers, admits) in
            [(">=3.8", true), (">=3.11.2,<4", true), (">=3.12", false), ("!=3.11.*", false)]
        {
            assert_eq!(
                target.admits(&VersionSpecifiers::from_str(specifiers).unwrap()),
                admits,
                "{specifiers}"
            );
        }
    }

    #[test]
    fn refuses_what_is_not_a_python_version() {
        for text in ["", "3", "three", "300.1"] {
            assert!(Target::new(text, Architecture::Amd64, (2, 36)).is_err(), "{text}");
        }
    }
}
