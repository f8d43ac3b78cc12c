//! A resolution in a lock. The only place that knows both shapes.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::Spanned;
use uv_distribution_filename::WheelFilename;
use uv_normalize::PackageName;
use uv_pep440::Version;
use uv_pep508::{MarkerTree, VersionOrUrl};

use super::{Decided, Lock, LockError, VERSION};
use crate::cuda::{Component, ComponentWheel, Machine, Toolkit};
use crate::oci::Digest;
use crate::pypa::metadata::Requirement;
use crate::resolve::demand::{Demand, Demander};
use crate::resolve::{ChosenWheel, ComponentPlace, Distribution, PrivateComponent, Resolution, Role};

/// A distribution that is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedDistribution {
    name: PackageName,
    version: Version,
    role: LockedRole,
    /// Where it stands in the text is what an error about the distribution points at.
    wheel: Spanned<WheelFilename>,
    /// The digest of the wheel.
    digest: Digest,
    /// The size of the wheel in bytes, where the index tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// The size of its files in bytes.
    unpacked: u64,
    /// The digest of its core metadata.
    metadata: Digest,
    /// Whether the recipe names it.
    #[serde(default, skip_serializing_if = "is_false")]
    requested: bool,
    /// The components that it asks for by itself: `NAME`, or `NAME==VERSION` where it pins them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    private: Vec<Requirement>,
    /// Who needs it: `torch 2.6.0 needs nvidia-cudnn-cu12==9.1.0.70`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    demands: Vec<LockedDemand>,
    /// Requirements of its metadata that are rewritten, and what takes their place.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    relaxed: BTreeMap<String, String>,
}

/// What a distribution is to CUDA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum LockedRole {
    Package,
    /// A component, all of it.
    Component,
    /// A component's libraries alone, beside another SONAME of it.
    Libraries,
    Metapackage,
}

/// The version of a toolkit in an image: `12.5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToolkitVersion(u32, u32);

/// A demand in words that can be read back.
#[derive(Debug, Clone, PartialEq, Eq)]
struct LockedDemand {
    by: Demander,
    requirement: Requirement,
}

fn is_false(value: &bool) -> bool {
    !value
}

impl Lock {
    /// The lock of `resolution`, where `sizes` tells the unpacked size in bytes of each wheel, by file name.
    pub fn new(
        decided: Decided,
        resolution: &Resolution,
        sizes: &BTreeMap<String, u64>,
    ) -> Result<Self, LockError> {
        let Decided { created, recipe, private_cuda, base } = decided;
        let locked = resolution.distributions.iter().map(|distribution| {
            let wheel = distribution.wheel.filename.to_string();
            let known = distribution.wheel.sha256.zip(sizes.get(&wheel));
            let (digest, unpacked) = known.ok_or_else(|| LockError::Unwritable {
                reason: format!("nothing is known of the wheel `{wheel}`"),
            })?;
            Ok(LockedDistribution::of(distribution, digest, *unpacked))
        });
        Ok(Self {
            version: VERSION,
            created,
            toolkits: resolution.toolkit.iter().map(ToolkitVersion::of).collect(),
            recipe,
            private_cuda,
            base,
            distributions: locked.collect::<Result<_, LockError>>()?,
        })
    }

    /// The resolution that was locked, for an image of `machine`.
    pub fn resolution(&self, machine: Machine) -> Resolution {
        let toolkit = |version: &ToolkitVersion| Toolkit { version: (version.0, version.1), machine };
        Resolution {
            distributions: self.distributions.iter().map(LockedDistribution::distribution).collect(),
            toolkit: self.toolkits.first().map(toolkit),
        }
    }

    /// The digest and the unpacked size in bytes of each wheel, by file name.
    pub fn wheels(&self) -> BTreeMap<String, (Digest, u64)> {
        let wheel = |locked: &LockedDistribution| {
            (locked.wheel.get_ref().to_string(), (locked.digest, locked.unpacked))
        };
        self.distributions.iter().map(wheel).collect()
    }
}

impl LockedDistribution {
    fn of(distribution: &Distribution, digest: Digest, unpacked: u64) -> Self {
        let (role, private, demands) = match &distribution.role {
            Role::Package { private } => (LockedRole::Package, &private[..], &[][..]),
            Role::Component { demands, place: ComponentPlace::Whole, .. } => {
                (LockedRole::Component, &[][..], &demands[..])
            }
            Role::Component { demands, place: ComponentPlace::LibrariesBeside, .. } => {
                (LockedRole::Libraries, &[][..], &demands[..])
            }
            Role::Metapackage { demands } => (LockedRole::Metapackage, &[][..], &demands[..]),
        };
        let demand = |demand: &Demand| LockedDemand {
            by: demand.by.clone(),
            requirement: Requirement {
                extras: demand.extras.clone().into_boxed_slice(),
                version_or_url: (!demand.asked.is_empty())
                    .then(|| VersionOrUrl::VersionSpecifier(demand.asked.clone())),
                ..any(&distribution.name)
            },
        };
        Self {
            name: distribution.name.clone(),
            version: distribution.version.clone(),
            role,
            wheel: Spanned::new(0..0, distribution.wheel.filename.clone()),
            digest,
            size: distribution.wheel.size,
            unpacked,
            metadata: distribution.metadata,
            requested: distribution.requested,
            private: private.iter().map(pinned).collect(),
            demands: demands.iter().map(demand).collect(),
            relaxed: distribution.relaxed.clone(),
        }
    }

    fn distribution(&self) -> Distribution {
        Distribution {
            name: self.name.clone(),
            version: self.version.clone(),
            wheel: ChosenWheel {
                filename: self.wheel.get_ref().clone(),
                sha256: Some(self.digest),
                size: self.size,
                upload_time: None,
            },
            metadata: self.metadata,
            requested: self.requested,
            relaxed: self.relaxed.clone(),
            role: self.role(),
        }
    }

    /// What its fields say of each other that cannot be true, and where in the text.
    pub(super) fn contradiction(&self) -> Option<(usize, String)> {
        let wheel = self.wheel.get_ref();
        let at = |text| Some((self.wheel.span().start, text));
        let is_component = matches!(self.role, LockedRole::Component | LockedRole::Libraries);
        if (&self.name, &self.version) != (&wheel.name, &wheel.version) {
            return at(format!("`{wheel}` is no wheel of {} {}", self.name, self.version));
        }
        if is_component && self.component().is_none() {
            return at(format!("`{}` carries no component of CUDA", self.name));
        }
        None
    }

    fn role(&self) -> Role {
        let demands =
            || self.demands.iter().map(|demand| Demand::new(demand.by.clone(), &demand.requirement));
        let component = |component, place| Role::Component { component, demands: demands().collect(), place };
        match (self.role, self.component()) {
            (LockedRole::Component, Some(carried)) => component(carried, ComponentPlace::Whole),
            (LockedRole::Libraries, Some(carried)) => component(carried, ComponentPlace::LibrariesBeside),
            (LockedRole::Metapackage, _) => Role::Metapackage { demands: demands().collect() },
            _ => Role::Package { private: self.private.iter().map(private).collect() },
        }
    }

    fn component(&self) -> Option<Component> {
        match ComponentWheel::of(self.name.as_ref())? {
            ComponentWheel::Carries { component, .. } => Some(component),
            ComponentWheel::Metapackage => None,
        }
    }

    pub fn name(&self) -> &PackageName {
        &self.name
    }

    pub fn version(&self) -> &Version {
        &self.version
    }
}

/// A requirement on any version.
fn any(name: &PackageName) -> Requirement {
    Requirement {
        name: name.clone(),
        extras: Box::default(),
        version_or_url: None,
        marker: MarkerTree::TRUE,
        origin: None,
    }
}

fn pinned(component: &PrivateComponent) -> Requirement {
    let pin = |version: &Version| uv_pep440::VersionSpecifier::equals_version(version.clone());
    let specifiers = component.pinned.as_ref().map(|version| pin(version).into());
    Requirement {
        version_or_url: specifiers.map(VersionOrUrl::VersionSpecifier),
        ..any(&component.distribution)
    }
}

fn private(requirement: &Requirement) -> PrivateComponent {
    let pinned = match &requirement.version_or_url {
        Some(VersionOrUrl::VersionSpecifier(specifiers)) => specifiers.iter().next(),
        _ => None,
    };
    PrivateComponent {
        distribution: requirement.name.clone(),
        pinned: pinned.map(|specifier| specifier.version().clone()),
    }
}

impl ToolkitVersion {
    fn of(toolkit: &Toolkit) -> Self {
        Self(toolkit.version.0, toolkit.version.1)
    }
}

impl fmt::Display for ToolkitVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl FromStr for ToolkitVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = || {
            let (major, minor) = text.split_once('.')?;
            Some(Self(major.parse().ok()?, minor.parse().ok()?))
        };
        numbers().ok_or_else(|| format!("`{text}` is no version of a toolkit"))
    }
}

impl fmt::Display for LockedDemand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} needs {}", self.by, self.requirement)
    }
}

impl FromStr for LockedDemand {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let demand = || {
            let (by, requirement) = text.split_once(" needs ")?;
            Some(Self { by: demander(by)?, requirement: requirement.parse().ok()? })
        };
        demand().ok_or_else(|| format!("`{text}` is no demand on a component"))
    }
}

/// The demander that calls itself so.
fn demander(text: &str) -> Option<Demander> {
    match text.split_once(' ')? {
        ("the", "recipe") => Some(Demander::User),
        ("the", "layout") => Some(Demander::Layout),
        ("CUDA", version) => {
            let ToolkitVersion(major, minor) = version.parse().ok()?;
            Some(Demander::Toolkit { major: major.into(), minor: minor.into() })
        }
        (name, version) => {
            Some(Demander::Distribution { name: name.parse().ok()?, version: version.parse().ok()? })
        }
    }
}

/// Parses a text while the deserializer still knows where it stands.
struct Text<T>(PhantomData<T>);

impl<T: FromStr<Err = String>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// Gives types that are written as their text the same form in a lock.
macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Text(PhantomData))
            }
        }
    )*};
}

as_text!(ToolkitVersion, LockedDemand);
