//! Demands: what distributions require of CUDA components, read as floors within one SONAME.

use std::fmt;

use serde::Serialize;
use uv_normalize::{ExtraName, PackageName};
use uv_pep440::{Operator, Version, VersionSpecifier, VersionSpecifiers};
use uv_pep508::VersionOrUrl;

use crate::cuda::{Component, ComponentWheel};
use crate::pypa::metadata::Requirement;
use crate::pypa::specifiers::{floors, is_pin, specifiers};

/// The author of a demand.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Demander {
    /// The recipe itself, or a requirements file.
    User,
    /// A distribution, by its metadata; `through` are the distributions by which the recipe comes to it.
    Distribution {
        /// The distribution's name.
        name: PackageName,
        /// The distribution's version.
        version: Version,
        /// The metapackages that lead to the component.
        through: Vec<PackageName>,
    },
    /// A distribution, by its binaries.
    Binary {
        /// The distribution's name.
        name: PackageName,
        /// The distribution's version.
        version: Version,
        /// The way in which the binary comes to the library.
        link: BinaryLink,
        /// The library, or the header.
        soname: String,
        /// The path of the binary in the wheel; of the first, where it is a header.
        path: String,
    },
    /// A library, which links to the component, or needs a symbol that what would serve otherwise lacks.
    Library {
        /// The distribution of the library.
        distribution: PackageName,
        /// The distribution's version.
        version: Version,
        /// The library that needs the symbol.
        library: String,
        /// The symbol.
        symbol: Option<String>,
    },
    /// The toolkit: what it contains is not older than itself, where there is such a version.
    Toolkit {
        /// 12 of CUDA 12.5.
        major: u64,
        /// 5 of CUDA 12.5.
        minor: u64,
        /// The newest version of the component for this major, where there is none of the toolkit's minor.
        #[serde(skip_serializing_if = "Option::is_none")]
        newest: Option<Version>,
    },
    /// The layout: a toolkit's directory is named after the version of its runtime.
    Layout,
}

/// The way in which a binary comes to a library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BinaryLink {
    /// By `DT_NEEDED`.
    Linked,
    /// By a name that it gives to `dlopen`.
    Opened,
    /// By a header of the component, which it compiles with in the container.
    Compiled,
}

impl BinaryLink {
    /// The words between the distribution and the library.
    pub fn words(self) -> &'static str {
        match self {
            Self::Linked => "is linked with",
            Self::Opened => "opens",
            Self::Compiled => "compiles with",
        }
    }
}

impl fmt::Display for Demander {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User => f.write_str("the recipe"),
            Self::Distribution { name, version, through } => {
                write!(f, "{name} {version}")?;
                match through.as_slice() {
                    [] => Ok(()),
                    names => write!(
                        f,
                        " through {}",
                        names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" → ")
                    ),
                }
            }
            Self::Binary { name, version, link, soname, .. } => {
                write!(f, "{name} {version} {} {soname}", link.words())
            }
            Self::Library { distribution, version, library, symbol: Some(symbol) } => {
                write!(f, "`{symbol}` in {library} of {distribution} {version}")
            }
            Self::Library { distribution, version, library, symbol: None } => {
                write!(f, "{library} of {distribution} {version}")
            }
            Self::Toolkit { major, minor, newest: None } => write!(f, "CUDA {major}.{minor}"),
            Self::Toolkit { major, minor, newest: Some(newest) } => {
                write!(f, "CUDA {major}.{minor}, for which {newest} is the newest")
            }
            Self::Layout => f.write_str("the layout"),
        }
    }
}

/// One requirement on a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Demand {
    /// The author of the demand.
    pub by: Demander,
    /// The versions that were asked for, as written.
    pub asked: VersionSpecifiers,
    /// The extras it asks for, of a metapackage.
    pub extras: Vec<ExtraName>,
    /// The versions that serve: a pin read as a floor, and a floor as one within its SONAME. What the recipe itself asks
    /// for is taken as it is written.
    pub serves: VersionSpecifiers,
}

impl Demand {
    /// The demand that `requirement` makes.
    pub fn new(by: Demander, requirement: &Requirement) -> Self {
        let asked = specifiers(requirement).cloned().unwrap_or_default();
        let serves = match by {
            Demander::User | Demander::Binary { .. } => asked.clone(),
            _ => within_soname(requirement, &asked),
        };
        Self { by, serves, asked, extras: requirement.extras.to_vec() }
    }

    /// Returns whether it asks for a version or newer. What a binary is linked with tells the SONAME, and no version within
    /// it.
    pub fn has_floor(&self) -> bool {
        !self.is_of_binary() && self.floors().next().is_some()
    }

    /// Returns whether a binary makes it.
    pub fn is_of_binary(&self) -> bool {
        matches!(self.by, Demander::Binary { .. })
    }

    /// The parts of what serves that ask for a version or newer.
    pub fn floors(&self) -> impl Iterator<Item = &VersionSpecifier> {
        floors(&self.serves)
    }

    /// Returns whether it is why nothing older than `version` serves.
    pub fn decides(&self, version: &Version) -> bool {
        self.serves.iter().any(|specifier| specifier.version() == version)
    }

    /// Returns whether it asks for exactly `version`.
    pub fn pins(&self, version: &Version) -> bool {
        self.asked.iter().any(|specifier| is_pin(specifier) && specifier.version() == version)
    }
}

impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.asked.is_empty() {
            _ if self.is_of_binary() => self.by.fmt(f),
            true => write!(f, "{} (any)", self.by),
            false => write!(f, "{} ({})", self.by, self.asked),
        }
    }
}

/// The replacement of a requirement on a component in installed metadata, where `visible` is the version that pip sees:
/// its pins relaxed, and its ceilings too where its own SONAME is served beside the one that pip sees. Where less is
/// known of the visible version than a floor names, the floor is what is known. `None` for a requirement that is true
/// as it is, or is on something else.
pub fn relaxed(requirement: &Requirement, visible: Option<&Version>) -> Option<String> {
    ComponentWheel::of(requirement.name.as_ref())?;
    let asked = specifiers(requirement).cloned().unwrap_or_default();
    let within = within_soname(requirement, &asked);
    let generation = |version: &Version| soname_numbers(requirement, version);
    let is_beside = visible.is_some_and(|version| {
        !within.contains(version)
            && !within
                .iter()
                .any(|floor| generation(floor.version()) == generation(version) && !is_ceiling(floor))
    });
    let is_short = !is_beside && visible.is_some_and(|version| !within.contains(version));
    if !is_beside && !is_short && !asked.iter().any(is_pin) {
        return None;
    }
    let shorten = |specifier: &VersionSpecifier| match visible {
        Some(version) if is_short && !specifier.contains(version) => {
            VersionSpecifier::greater_than_equal_version(version.clone())
        }
        _ => specifier.clone(),
    };
    let kept: VersionSpecifiers =
        within.iter().filter(|specifier| !(is_beside && is_ceiling(specifier))).map(shorten).collect();
    if kept == asked {
        return None;
    }
    let mut relaxed = requirement.clone();
    relaxed.version_or_url = Some(VersionOrUrl::VersionSpecifier(kept));
    Some(relaxed.to_string())
}

/// `==12.4.5.8` and `>=12.4.5.8` as `>=12.4.5.8, <13`: what links to one SONAME cannot use another. An own ceiling stays as
/// it is.
fn within_soname(requirement: &Requirement, asked: &VersionSpecifiers) -> VersionSpecifiers {
    let has_ceiling = asked.iter().any(is_ceiling);
    asked
        .iter()
        .flat_map(|specifier| {
            let floor = specifier.version().clone();
            let mut next = soname_numbers(requirement, &floor);
            if let Some(last) = next.last_mut() {
                *last += 1;
            }
            let ceiling = VersionSpecifier::less_than_version(Version::new(next));
            match specifier.operator() {
                _ if is_pin(specifier) => {
                    vec![VersionSpecifier::greater_than_equal_version(floor), ceiling]
                }
                Operator::GreaterThan | Operator::GreaterThanEqual if !has_ceiling => {
                    vec![specifier.clone(), ceiling]
                }
                _ => vec![specifier.clone()],
            }
        })
        .collect()
}

/// The numbers of a version that tell the SONAME.
fn soname_numbers(requirement: &Requirement, version: &Version) -> Vec<u64> {
    let numbers = match ComponentWheel::of(requirement.name.as_ref()) {
        Some(ComponentWheel::Carries { component, .. }) => soname(component, version),
        _ => version.release().iter().take(1).copied().collect(),
    };
    if numbers.is_empty() { vec![0] } else { numbers }
}

/// The numbers of a component's version that tell its SONAME.
pub fn soname(component: Component, version: &Version) -> Vec<u64> {
    let release = version.release();
    let count = component.numbers_in_soname(release.first().copied().unwrap_or_default());
    release.iter().take(count).copied().collect()
}

fn is_ceiling(specifier: &VersionSpecifier) -> bool {
    matches!(specifier.operator(), Operator::LessThan | Operator::LessThanEqual | Operator::TildeEqual)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(requirement: &str, expected: Option<&str>) {
        let requirement: Requirement = requirement.parse().unwrap();
        assert_eq!(relaxed(&requirement, None).as_deref(), expected);
    }

    #[test]
    fn a_ceiling_goes_where_pip_sees_the_other_soname() {
        let visible = "9.1.0.70".parse().ok();
        let relaxed = |text: &str| relaxed(&text.parse().unwrap(), visible.as_ref());
        assert_eq!(relaxed("nvidia-cudnn-cu12==8.9.7.29").as_deref(), Some("nvidia-cudnn-cu12>=8.9.7.29"));
        assert_eq!(
            relaxed("nvidia-cudnn-cu12>=8.9.2.26,<9.0").as_deref(),
            Some("nvidia-cudnn-cu12>=8.9.2.26")
        );
        assert_eq!(relaxed("nvidia-cudnn-cu12>=9.0,<10"), None);
    }

    #[test]
    fn a_pin_becomes_a_floor_within_its_soname() {
        check("nvidia-cublas-cu12==12.4.5.8", Some("nvidia-cublas-cu12>=12.4.5.8,<13"));
        check("nvidia-cusparselt-cu12==0.6.2", Some("nvidia-cusparselt-cu12>=0.6.2,<1"));
        check(
            "nvidia-nccl-cu12==2.21.5 ; platform_machine == 'x86_64'",
            Some("nvidia-nccl-cu12>=2.21.5,<3 ; platform_machine == 'x86_64'"),
        );
        check("cuda-toolkit[cublas,cudart]==13.0.2", Some("cuda-toolkit[cublas,cudart]>=13.0.2,<14"));
    }

    #[test]
    fn a_floor_is_no_higher_than_what_is_known_of_the_visible_version() {
        let visible = "8.9.6".parse().ok();
        let relaxed = |text: &str| relaxed(&text.parse().unwrap(), visible.as_ref());
        assert_eq!(relaxed("nvidia-cudnn-cu12==8.9.6.50").as_deref(), Some("nvidia-cudnn-cu12>=8.9.6,<9"));
        assert_eq!(relaxed("nvidia-cudnn-cu12>=8.9.2,<9"), None);
    }

    #[test]
    fn a_floor_serves_within_its_soname() {
        let serves = |by: Demander, text: &str| Demand::new(by, &text.parse().unwrap()).serves.to_string();
        assert_eq!(serves(Demander::Layout, "nvidia-cudnn-cu12>=8.9.7.29"), ">=8.9.7.29, <9");
        assert_eq!(serves(Demander::Layout, "nvidia-cudnn-cu12>=8.9.7.29,<10"), ">=8.9.7.29, <10");
        assert_eq!(serves(Demander::User, "nvidia-cudnn-cu12>=8.9.7.29"), ">=8.9.7.29");
        assert_eq!(serves(Demander::User, "nvidia-cudnn-cu12==8.9.7.29"), "==8.9.7.29");
    }

    #[test]
    fn cuda_11s_cupti_has_a_soname_for_each_minor() {
        check("nvidia-cuda-cupti-cu11==11.7.101", Some("nvidia-cuda-cupti-cu11>=11.7.101,<11.8"));
        check("nvidia-cuda-cupti-cu12==12.1.105", Some("nvidia-cuda-cupti-cu12>=12.1.105,<13"));
        check("nvidia-cuda-runtime-cu11==11.7.99", Some("nvidia-cuda-runtime-cu11>=11.7.99,<12"));
    }

    #[test]
    fn what_is_no_pin_on_a_component_stays() {
        check("nvidia-cudnn-cu12>=9.1,<10", None);
        check("nvidia-nvjitlink-cu12", None);
        check("triton==3.2.0", None);
    }
}
