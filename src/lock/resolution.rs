//! A resolution in a lock. The only place that knows both shapes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uv_distribution_filename::WheelFilename;
use uv_normalize::PackageName;
use uv_pep440::Version;
use uv_pep508::{MarkerTree, VersionOrUrl};

use super::{Decided, Lock, LockError, VERSION};
use crate::base::{BaseInventory, CudaCopy};
use crate::cuda::{Component, ComponentWheel, HostDrivers, Toolkit};
use crate::oci::{Architecture, Digest};
use crate::pypa::metadata::{Requirement, parse_requirement};
use crate::resolve::demand::{BinaryLink, Demand, Demander};
use crate::resolve::{
    BuiltFrom, ChosenWheel, ComponentPlace, Distribution, FoundBy, PipSees, PrivateComponent, Resolution,
    ResolveError, Role, Service, ServiceSource, ToolkitTree, driver_fits,
};

/// A distribution that is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedDistribution {
    name: PackageName,
    version: Version,
    role: LockedRole,
    /// Its place in the text is where an error about the distribution points.
    wheel: toml::Spanned<WheelFilename>,
    /// The digest of the wheel.
    digest: Digest,
    /// The URL of the wheel, where it is named by its place, as it is recorded in the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    direct_url: Option<String>,
    /// The size of the wheel in bytes, where the index tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// The size of its files in bytes.
    unpacked: u64,
    /// The digest of its core metadata.
    metadata: Digest,
    /// True if the recipe names it.
    #[serde(default, skip_serializing_if = "is_false")]
    requested: bool,
    /// The distributions that require it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    required_by: BTreeSet<PackageName>,
    /// The components that it asks for by itself: `NAME`, or `NAME==VERSION` where it pins them.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "requirements")]
    private: Vec<Requirement>,
    /// The toolkit in whose tree it is laid out: `12.5`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    toolkit: Option<ToolkitVersion>,
    /// Requirements of its metadata that are rewritten, and what takes their place.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    relaxed: BTreeMap<String, String>,
    /// The source distribution that the wheel was built from, and what with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<BuiltFrom>,
}

/// The supplier of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedComponent {
    pub(super) component: Component,
    /// The CUDA major that it is for.
    pub(super) cuda: u32,
    /// The name under which pip sees it.
    distribution: PackageName,
    pub(super) version: Version,
    from: LockedSource,
    /// The directory of the base's copy, relative to the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// The distribution of the copy that serves in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sibling: Option<PackageName>,
    /// The directory that gets links to the base's copy.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "read_directory")]
    linked_in: Option<String>,
    /// The way in which pip sees the base's copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pip_sees: Option<PipSees>,
    /// The demands on it: `torch 2.6.0 needs nvidia-cudnn-cu12==9.1.0.70`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    demands: Vec<LockedDemand>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum LockedSource {
    Base,
    Wheel,
    Sibling,
    Pip,
}

/// A toolkit's tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedTree {
    toolkit: ToolkitVersion,
    /// True if the base has its directory.
    of_base: bool,
    found_by: FoundBy,
}

/// The role of a distribution in CUDA.
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

/// A directory, relative to the root, that stays below it.
fn read_directory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let is_part = |part: &str| !matches!(part, "" | "." | "..") && !part.starts_with(".wh.");
    match text.split('/').all(is_part) && !text.chars().any(char::is_control) {
        true => Ok(Some(text)),
        false => Err(de::Error::custom(format!("`{}` is no directory of an image", text.escape_debug()))),
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

impl Lock {
    /// The lock of `resolution`, where `wheels` has the digest and the unpacked size in bytes of each wheel, by file name.
    pub fn new(
        decided: Decided,
        resolution: &Resolution,
        wheels: &BTreeMap<String, (Digest, u64)>,
    ) -> Result<Self, LockError> {
        let Decided { created, recipe, private_cuda, base, python } = decided;
        let locked = resolution.distributions.iter().map(|distribution| {
            let wheel = distribution.wheel.filename.to_string();
            let (digest, unpacked) = wheels.get(&wheel).ok_or_else(|| LockError::Unwritable {
                reason: format!("nothing is known of the wheel `{wheel}`"),
            })?;
            Ok(LockedDistribution::of(distribution, *digest, *unpacked))
        });
        Ok(Self {
            version: VERSION,
            created,
            toolkits: resolution
                .toolkits
                .keys()
                .map(|(major, minor)| ToolkitVersion(*major, *minor))
                .collect(),
            recipe,
            private_cuda,
            base,
            python,
            trees: resolution.trees.iter().map(LockedTree::of).collect(),
            components: resolution.services.iter().map(LockedComponent::of).collect(),
            kept: resolution.kept.clone(),
            removed: resolution.removed.clone(),
            passed_over: resolution.passed_over.clone(),
            distributions: locked.collect::<Result<_, LockError>>()?,
            layers: Vec::new(),
        })
    }

    /// The resolution that was locked, on a base that has what it was locked with, for images that are to run on
    /// `drivers`. `None` for a base that lacks a copy of a component that serves.
    pub fn resolution(
        &self,
        base: &BaseInventory,
        drivers: &HostDrivers,
    ) -> Result<Option<Resolution>, ResolveError> {
        let architecture = base.architecture;
        let services: Option<Vec<Service>> =
            self.components.iter().map(|component| component.service(base)).collect();
        let Some(services) = services else { return Ok(None) };
        let toolkits = self.toolkits.iter().map(|version| ((version.0, version.1), None)).collect();
        Ok(Some(Resolution {
            distributions: self
                .distributions
                .iter()
                .map(|locked| locked.distribution(architecture))
                .collect(),
            services,
            kept: self.kept.clone(),
            removed: self.removed.clone(),
            trees: self.trees.iter().map(|tree| tree.tree(architecture)).collect(),
            toolkits: driver_fits(drivers, toolkits)?,
            passed_over: self.passed_over.clone(),
        }))
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
        let (role, private, toolkit) = match &distribution.role {
            Role::Package { private } => (LockedRole::Package, &private[..], None),
            Role::Component { toolkit, place: ComponentPlace::Whole, .. } => {
                (LockedRole::Component, &[][..], Some(toolkit))
            }
            Role::Component { toolkit, place: ComponentPlace::LibrariesBeside, .. } => {
                (LockedRole::Libraries, &[][..], Some(toolkit))
            }
            Role::Metapackage => (LockedRole::Metapackage, &[][..], None),
        };
        Self {
            name: distribution.name.clone(),
            version: distribution.version.clone(),
            role,
            wheel: toml::Spanned::new(0..0, distribution.wheel.filename.clone()),
            digest,
            direct_url: distribution.direct_url.clone(),
            size: distribution.wheel.size,
            unpacked,
            metadata: distribution.metadata,
            requested: distribution.requested,
            required_by: distribution.required_by.clone(),
            private: private.iter().map(pinned).collect(),
            toolkit: toolkit.map(ToolkitVersion::of),
            relaxed: distribution.relaxed.clone(),
            source: distribution.built.clone(),
        }
    }

    fn distribution(&self, architecture: Architecture) -> Distribution {
        Distribution {
            name: self.name.clone(),
            version: self.version.clone(),
            wheel: ChosenWheel {
                filename: self.wheel.get_ref().clone(),
                sha256: Some(self.digest),
                size: self.size,
                upload_time: None,
                source: None,
            },
            direct_url: self.direct_url.clone(),
            built: self.source.clone(),
            metadata: self.metadata,
            requested: self.requested,
            required_by: self.required_by.clone(),
            relaxed: self.relaxed.clone(),
            role: self.role(architecture),
        }
    }

    /// A contradiction between its fields, and its place in the text.
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
        if is_component && self.toolkit.is_none() {
            return at(format!("nothing says in which toolkit's tree `{}` is laid out", self.name));
        }
        None
    }

    fn role(&self, architecture: Architecture) -> Role {
        let place = match self.role {
            LockedRole::Component => Some(ComponentPlace::Whole),
            LockedRole::Libraries => Some(ComponentPlace::LibrariesBeside),
            LockedRole::Metapackage => return Role::Metapackage,
            LockedRole::Package => None,
        };
        match (place, self.component(), self.toolkit) {
            (Some(place), Some(component), Some(toolkit)) => {
                Role::Component { component, toolkit: toolkit.on(architecture), place }
            }
            _ => Role::Package { private: self.private.iter().map(private).collect() },
        }
    }

    fn component(&self) -> Option<Component> {
        match ComponentWheel::of(self.name.as_ref())? {
            ComponentWheel::Carries { component, .. } => Some(component),
            ComponentWheel::Metapackage => None,
        }
    }

    /// Its normalized name.
    pub fn name(&self) -> &PackageName {
        &self.name
    }

    /// Its version.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The URL of the wheel, where it is named by its place.
    pub fn direct_url(&self) -> Option<&str> {
        self.direct_url.as_deref()
    }

    /// The origin of the wheel, where it was built.
    pub fn built(&self) -> Option<&BuiltFrom> {
        self.source.as_ref()
    }

    /// The wheel's file name and digest.
    pub fn wheel(&self) -> (&WheelFilename, &Digest) {
        (self.wheel.get_ref(), &self.digest)
    }
}

impl LockedComponent {
    fn of(service: &Service) -> Self {
        let (from, path, linked_in, pip_sees) = match &service.source {
            ServiceSource::Base { copy, linked_in, pip } => {
                (LockedSource::Base, Some(copy.directory.clone()), linked_in.clone(), Some(*pip))
            }
            ServiceSource::Wheel => (LockedSource::Wheel, None, None, None),
            ServiceSource::Sibling { .. } => (LockedSource::Sibling, None, None, None),
            ServiceSource::Pip => (LockedSource::Pip, None, None, None),
        };
        let demand = |demand: &Demand| LockedDemand {
            by: demand.by.clone(),
            requirement: Requirement {
                extras: demand.extras.clone().into_boxed_slice(),
                version_or_url: (!demand.asked.is_empty())
                    .then(|| VersionOrUrl::VersionSpecifier(demand.asked.clone())),
                ..any(&service.distribution)
            },
        };
        Self {
            component: service.component,
            cuda: service.cuda_major,
            distribution: service.distribution.clone(),
            version: service.version.clone(),
            from,
            path,
            sibling: match &service.source {
                ServiceSource::Sibling { distribution } => Some(distribution.clone()),
                _ => None,
            },
            linked_in,
            pip_sees,
            demands: service.demands.iter().map(demand).collect(),
        }
    }

    /// The service, with the copy of `base` where the base serves; `None` when it does not have it.
    fn service(&self, base: &BaseInventory) -> Option<Service> {
        let is_this = |copy: &&CudaCopy| {
            copy.component == self.component
                && copy.cuda_major == Some(self.cuda)
                && Some(&copy.directory) == self.path.as_ref()
                && copy.version.as_ref() == Some(&self.version)
        };
        let demands = self.demands.iter();
        Some(Service {
            component: self.component,
            cuda_major: self.cuda,
            distribution: self.distribution.clone(),
            version: self.version.clone(),
            source: match self.from {
                LockedSource::Base => ServiceSource::Base {
                    copy: base.cuda.iter().find(is_this)?.clone(),
                    linked_in: self.linked_in.clone(),
                    pip: self.pip_sees?,
                },
                LockedSource::Wheel => ServiceSource::Wheel,
                LockedSource::Sibling => ServiceSource::Sibling { distribution: self.sibling.clone()? },
                LockedSource::Pip => ServiceSource::Pip,
            },
            demands: demands.map(|demand| Demand::new(demand.by.clone(), &demand.requirement)).collect(),
            rejected: Vec::new(),
        })
    }
}

impl LockedTree {
    fn of(tree: &ToolkitTree) -> Self {
        Self { toolkit: ToolkitVersion::of(&tree.toolkit), of_base: tree.exists, found_by: tree.found }
    }

    fn tree(&self, architecture: Architecture) -> ToolkitTree {
        ToolkitTree { toolkit: self.toolkit.on(architecture), exists: self.of_base, found: self.found_by }
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

    fn on(self, architecture: Architecture) -> Toolkit {
        Toolkit { version: (self.0, self.1), architecture }
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
        match &self.by {
            Demander::Binary { path, .. } => {
                write!(f, "{} by {path} and needs {}", self.by, self.requirement)
            }
            by => write!(f, "{by} needs {}", self.requirement),
        }
    }
}

impl FromStr for LockedDemand {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let demand = || {
            let (by, requirement) = text.rsplit_once(" needs ")?;
            let by = match by.strip_suffix(" and") {
                Some(text) => binary(text)?,
                None => demander(by)?,
            };
            Some(Self { by, requirement: parse_requirement(requirement).ok()? })
        };
        demand().ok_or_else(|| format!("`{text}` is no demand on a component"))
    }
}

/// The demander that calls itself so.
fn demander(text: &str) -> Option<Demander> {
    if let Some((symbol, rest)) = text.strip_prefix('`').and_then(|rest| rest.split_once("` in ")) {
        return library(rest, Some(symbol.to_owned()));
    }
    if text.contains(" of ") {
        return library(text, None);
    }
    match text.split_once(' ')? {
        ("the", "recipe") => Some(Demander::User),
        ("the", "layout") => Some(Demander::Layout),
        ("CUDA", version) => {
            let (version, newest) = match version.split_once(", for which ") {
                Some((version, rest)) => (version, Some(rest.strip_suffix(" is the newest")?.parse().ok()?)),
                None => (version, None),
            };
            let ToolkitVersion(major, minor) = version.parse().ok()?;
            Some(Demander::Toolkit { major: major.into(), minor: minor.into(), newest })
        }
        (name, rest) => {
            let (version, through) = rest.split_once(" through ").unwrap_or((rest, ""));
            let through = through.split(" → ").filter(|name| !name.is_empty()).map(str::parse);
            Some(Demander::Distribution {
                name: name.parse().ok()?,
                version: version.parse().ok()?,
                through: through.collect::<Result<_, _>>().ok()?,
            })
        }
    }
}

/// `cupy-cuda12x 12.3.0 is linked with libcublas.so.12 by cupy/_core/core.so`
fn binary(text: &str) -> Option<Demander> {
    let links = [BinaryLink::Linked, BinaryLink::Opened, BinaryLink::Compiled];
    let (link, (distribution, rest)) =
        links.into_iter().find_map(|link| Some((link, text.split_once(&format!(" {} ", link.words()))?)))?;
    let (name, version) = distribution.split_once(' ')?;
    let (soname, path) = rest.split_once(" by ")?;
    Some(Demander::Binary {
        name: name.parse().ok()?,
        version: version.parse().ok()?,
        link,
        soname: soname.to_owned(),
        path: path.to_owned(),
    })
}

/// `libcusparse.so.12 of nvidia-cusparse-cu12 12.5.1.3`
fn library(text: &str, symbol: Option<String>) -> Option<Demander> {
    let (library, distribution) = text.rsplit_once(" of ")?;
    let (name, version) = distribution.split_once(' ')?;
    Some(Demander::Library {
        distribution: name.parse().ok()?,
        version: version.parse().ok()?,
        library: library.to_owned(),
        symbol,
    })
}

/// Parses requirements within the bounds for those of strangers.
fn requirements<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Requirement>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| parse_requirement(text).map_err(de::Error::custom)).collect()
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
