//! The difference between two images, or two plans: in distributions, in components of CUDA, and in bytes.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::base::{BaseInventory, CudaCopy};
use crate::resolve::demand::soname;
use crate::resolve::{Resolution, Service, ServiceSource};

/// One side of a comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The interpreter's version.
    pub python: String,
    /// Versions by name.
    pub distributions: BTreeMap<String, String>,
    /// Each component, by its name with the numbers of its SONAME: `cudnn 9 for CUDA 12`.
    pub components: BTreeMap<String, Served>,
    /// Sizes in bytes, by what they are of: `compressed layers`, `unpacked layers`, `unpacked wheels`.
    pub bytes: BTreeMap<String, u64>,
}

/// A component as one side has it. The same version is the same, wherever it comes from: an image does not tell what
/// its plan did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// The version that serves.
    pub version: String,
    /// `at /usr/local/cuda-12.4/…`, `from wheel nvidia-cudnn-cu12`.
    pub from: String,
}

/// The difference between two sides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The change of Python, if it changed.
    pub python: Option<Change>,
    /// The changes of components.
    pub components: Vec<Change>,
    /// The changes of distributions.
    pub distributions: Vec<Change>,
    /// Of what both sides tell the size.
    pub bytes: Vec<Growth>,
}

/// A name with what it stands for on each side; `None` where it is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The name of the changed item.
    pub name: String,
    /// The version before; `None` if it was added.
    pub before: Option<String>,
    /// The version after; `None` if it was removed.
    pub after: Option<String>,
}

/// A size on each side, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Growth {
    /// The name of the layer or distribution.
    pub name: String,
    /// The size before, in bytes.
    pub before: u64,
    /// The size after, in bytes.
    pub after: u64,
}

impl Difference {
    /// Returns whether both sides have the same, as far as either tells.
    pub fn is_empty(&self) -> bool {
        let sizes = self.bytes.iter().all(|growth| growth.before == growth.after);
        self.python.is_none() && self.components.is_empty() && self.distributions.is_empty() && sizes
    }
}

/// The difference between `before` and `after`.
pub fn compare(before: &Summary, after: &Summary) -> Difference {
    let python = Change {
        name: "Python".into(),
        before: Some(before.python.clone()),
        after: Some(after.python.clone()),
    };
    let growth = |(name, size): (&String, &u64)| {
        Some(Growth { name: name.clone(), before: *size, after: *after.bytes.get(name)? })
    };
    Difference {
        python: (python.before != python.after).then_some(python),
        components: changes(
            &before.components,
            &after.components,
            |served| &served.version,
            |served| format!("{} {}", served.version, served.from),
        ),
        distributions: changes(&before.distributions, &after.distributions, |version| version, String::clone),
        bytes: before.bytes.iter().filter_map(growth).collect(),
    }
}

/// The names whose `key`s differ, with what is shown of both sides.
fn changes<T>(
    before: &BTreeMap<String, T>,
    after: &BTreeMap<String, T>,
    key: impl Fn(&T) -> &String,
    shown: impl Fn(&T) -> String,
) -> Vec<Change> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differs = |name: &&String| before.get(*name).map(&key) != after.get(*name).map(&key);
    let change = |name: &String| Change {
        name: name.clone(),
        before: before.get(name).map(&shown),
        after: after.get(name).map(&shown),
    };
    names.into_iter().filter(differs).map(change).collect()
}

impl Summary {
    /// The summary of an image.
    pub fn of_image(inventory: &BaseInventory) -> Self {
        let distributions = inventory.distributions.iter();
        Self {
            python: inventory.python.clone(),
            distributions: distributions.map(|it| (it.name.to_string(), it.version.to_string())).collect(),
            components: inventory.cuda.iter().map(of_copy).collect(),
            bytes: BTreeMap::new(),
        }
    }

    /// The summary of a plan: its base, and the distributions that it installs.
    pub fn of_plan(base: &BaseInventory, resolution: &Resolution) -> Self {
        let mut summary = Self::of_image(base);
        summary.components.extend(resolution.services.iter().map(of_service));
        for removed in &resolution.removed {
            summary.distributions.remove(&removed.name.to_string());
        }
        let installed = resolution.distributions.iter();
        summary.distributions.extend(installed.map(|it| (it.name.to_string(), it.version.to_string())));
        let served = resolution.services.iter();
        summary.distributions.extend(served.map(|it| (it.distribution.to_string(), it.version.to_string())));
        summary
    }
}

fn of_copy(copy: &CudaCopy) -> (String, Served) {
    let version = copy.version.as_ref();
    let numbers = version.map(|version| soname(copy.component, version)).unwrap_or_default();
    let name = name(copy.component.name(), &numbers, copy.cuda_major.unwrap_or_default());
    let version = version.map_or("unknown".into(), ToString::to_string);
    (name, Served { version, from: format!("at /{}", copy.directory) })
}

fn of_service(service: &Service) -> (String, Served) {
    let numbers = soname(service.component, &service.version);
    let from = match &service.source {
        ServiceSource::Base { copy, .. } => format!("at /{}", copy.directory),
        ServiceSource::Wheel => format!("from wheel {}", service.distribution),
        ServiceSource::Sibling { distribution } => format!("by the copy of {distribution}"),
        ServiceSource::Pip => format!("by pip from {}", service.distribution),
    };
    let name = name(service.component.name(), &numbers, service.cuda_major);
    (name, Served { version: service.version.to_string(), from })
}

fn name(component: &str, soname: &[u64], cuda_major: u32) -> String {
    let numbers = soname.iter().map(u64::to_string).collect::<Vec<_>>().join(".");
    format!("{component} {numbers} for CUDA {cuda_major}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(distributions: &str, size: u64) -> Summary {
        let pairs = distributions.split(", ").filter_map(|pair| pair.split_once(' '));
        Summary {
            python: "3.11.2".into(),
            distributions: pairs.map(|(name, version)| (name.to_owned(), version.to_owned())).collect(),
            components: BTreeMap::new(),
            bytes: BTreeMap::from([("unpacked layers".to_owned(), size)]),
        }
    }

    #[test]
    fn says_what_came_went_and_moved() {
        let difference = compare(&summary("a 1, b 1, c 1", 10), &summary("a 1, b 2, d 1", 30));
        let told = |change: &Change| {
            let version = |side: &Option<String>| side.clone().unwrap_or_else(|| "-".into());
            format!("{} {} {}", change.name, version(&change.before), version(&change.after))
        };
        let told: Vec<String> = difference.distributions.iter().map(told).collect();
        assert_eq!(told, ["b 1 2", "c 1 -", "d - 1"]);
        assert_eq!((difference.bytes[0].before, difference.bytes[0].after), (10, 30));
        assert!(!difference.is_empty());
    }

    #[test]
    fn the_same_is_no_difference() {
        assert!(compare(&summary("a 1", 10), &summary("a 1", 10)).is_empty());
    }

    #[test]
    fn a_plan_stands_for_the_image_it_would_make() {
        let lib = "usr/local/cuda-12.4/targets/x86_64-linux/lib";
        let base = crate::resolve::tests::base(&format!("cublas 12.4.5.8 cu12 {lib}"));
        let summary = Summary::of_plan(&base, &Resolution::default());
        let cublas = &summary.components["cublas 12 for CUDA 12"];
        assert_eq!((cublas.version.as_str(), cublas.from.clone()), ("12.4.5.8", format!("at /{lib}")));
    }
}
