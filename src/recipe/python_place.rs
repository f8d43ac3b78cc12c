//! `python.from`: a relocatable CPython, by the place of its archive.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

use super::Platforms;
use super::decode::{Complaint, Decode, entries, parsed};
use super::diagnostic::{Problem, Problems, quote};
use super::platforms::platform;
use super::source::Span;
use super::wheel_reference::{FileFragment, FilePlace, file_place};
use super::yaml::{Node, YamlValue};
use crate::oci::{Architecture, Digest};

/// The place of an archive with a relocatable CPython, as uv installs them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PythonPlace {
    /// The place.
    pub place: FilePlace,
    /// The digest that it must have, where the user gives it.
    pub sha256: Option<Digest>,
}

/// The archives under `python.from`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum PythonPlaces {
    /// The only one, for the base's platform.
    Single(PythonPlace),
    /// That of each platform.
    Platforms(BTreeMap<Architecture, PythonPlace>),
}

impl PythonPlaces {
    /// The archive for a platform, or for that of the base.
    pub fn on(&self, platform: Option<Architecture>) -> Option<&PythonPlace> {
        match self {
            Self::Single(place) => Some(place),
            Self::Platforms(places) => places.get(&platform?),
        }
    }

    /// Complains where a platform of the recipe has no archive, or there is none to choose by.
    pub(super) fn check(&self, span: Span, platforms: &Platforms, problems: &mut Problems) {
        let named = platforms.architectures();
        let complain = |message: &str, help: String| Problem::error(span, message).help(help);
        let by_platform = || {
            let each = named.iter().map(|platform| format!("{}: …", platform.platform()));
            format!("write one for each: `from: {{{}}}`", each.collect::<Vec<_>>().join(", "))
        };
        match self {
            Self::Single(_) if named.len() > 1 => {
                problems.push(complain("one Python is given for several platforms", by_platform()));
            }
            Self::Platforms(_) if named.is_empty() => problems.push(complain(
                "Pythons are given by platforms, and the recipe names none",
                "add `platforms: [linux/amd64, linux/arm64]`, or write one place".into(),
            )),
            Self::Platforms(places) if named.iter().any(|platform| !places.contains_key(platform)) => {
                problems.push(complain("a platform of the recipe has no Python", by_platform()));
            }
            _ => {}
        }
    }
}

/// As it is written, without secrets.
impl fmt::Display for PythonPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)?;
        self.sha256.map_or(Ok(()), |digest| write!(f, "#sha256={}", digest.hex()))
    }
}

impl Serialize for PythonPlace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Decode for PythonPlace {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "the place of a Python", problems, |text| {
            let (place, fragment) = text.split_once('#').unwrap_or((text, ""));
            let place = file_place(place.trim(), text)?;
            let name = place.filename();
            if ![".tar.gz", ".tgz", ".tar.zst", ".tar"].iter().any(|end| name.ends_with(end)) {
                let complaint = Complaint::new(format!("{} is no archive of a Python", quote(text)));
                return Err(complaint.help(
                    "name a relocatable build, by path or URL: `./cpython-3.12.11-x86_64-unknown-linux-gnu-install_only.tar.gz`",
                ));
            }
            Ok(Self { place, sha256: FileFragment::parse(fragment)?.sha256 })
        })
    }
}

impl Decode for PythonPlaces {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let YamlValue::Mapping(_) = node.value else {
            return PythonPlace::decode(node, problems).map(Self::Single);
        };
        let mut places = BTreeMap::new();
        for (name, value) in entries(node, "a mapping of platforms to places", problems)? {
            match platform(&name.value) {
                Ok(platform) => {
                    places.extend(PythonPlace::decode(value, problems).map(|place| (platform, place)));
                }
                Err(complaint) => problems.push(complaint.at(name.span)),
            }
        }
        Some(Self::Platforms(places))
    }
}
