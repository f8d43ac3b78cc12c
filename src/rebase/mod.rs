//! The upper layers of an image that imgforge made, over another base.
//!
//! ```text
//! config ─ boundary ─► the layers of the base, those above
//! the base before and after ─ check ─► the same decisions, or the reason why not
//! both configs ─ config ─► the config of the image over the new base
//! ```
//!
//! A decision. Only what was decided from the base is held against the new one: what the loader and pip then see is proven by
//! the check of the finished image.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use uv_normalize::PackageName;
use uv_pep440::Version;

use crate::base::{BaseInventory, CudaCopy};
use crate::failure::Hinted;
use crate::oci::image::{rootfs, to_json};
use crate::oci::{Architecture, Digest};

/// The beginning of what imgforge says in the history of its layers.
const OURS: &str = "imgforge: ";

/// The title of the layer that ends every build.
const SYSTEM: &str = "system files";

/// The title of the layer with the loader's cache of a new base.
pub const LOADER_CACHE: &str = "loader cache";

/// The annotations by which an image names its base.
///
/// <https://github.com/opencontainers/image-spec/blob/main/annotations.md>
const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";
const BASE_NAME: &str = "org.opencontainers.image.base.name";

/// The reason why an image is not put over another base.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum NotRebased {
    #[error("its history does not end with a build of imgforge")]
    NotOurs,
    #[error("its history has {told} layers, and it has {layers}")]
    OtherHistory { told: usize, layers: usize },
    #[error("it has Debian packages that were added to its base")]
    AddedPackages,
    #[error("it is for {before}, and the new base for {after}")]
    Architecture { before: Architecture, after: Architecture },
    #[error("its base has Python {before}, and the new one has {after}")]
    Python { before: String, after: String },
    #[error("its Python installs into `{before}`, that of the new base into `{after}`")]
    Scheme { before: String, after: String },
    #[error("its base has glibc {before}, and the new one has {after}: its wheels may need the newer one")]
    Libc { before: String, after: String },
    #[error("{component} would be decided anew: the base has {before}, the new one has {after}")]
    Component { component: String, before: String, after: String },
    #[error("`{name}` would be decided anew: the base has {before}, the new one has {after}")]
    Distribution { name: PackageName, before: String, after: String },
    #[error("its users were made from `/{file}` of its base, which is another in the new one")]
    Accounts { file: &'static str },
}

impl Hinted for NotRebased {
    fn hint(&self) -> Option<String> {
        Some(
            match self {
                Self::NotOurs | Self::OtherHistory { .. } => {
                    "only images that `imgforge build` made know where their own layers begin"
                }
                Self::Libc { .. } | Self::Architecture { .. } => {
                    "choose a base of the same architecture and of the same or a later release"
                }
                _ => "build it again over the new base: `imgforge build` decides anew",
            }
            .to_owned(),
        )
    }
}

/// The place at which an image's own layers begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boundary {
    /// The number of layers of its base.
    pub below: usize,
    /// The number of its own layers above them.
    pub above: usize,
    /// True if it has users of its own.
    pub has_users: bool,
}

/// Finds where the own layers of an image with this config begin: the last build of imgforge in its history. A loader's cache
/// that an earlier move to another base put on top is not among them.
pub fn boundary(config: &Map<String, Value>, layers: usize) -> Result<Boundary, NotRebased> {
    let titles: Vec<Option<&str>> = told(config).map(title).collect();
    if titles.len() != layers {
        return Err(NotRebased::OtherHistory { told: titles.len(), layers });
    }
    let mut from_top = titles.iter().rev().copied().skip_while(|title| *title == Some(LOADER_CACHE));
    if from_top.next() != Some(Some(SYSTEM)) {
        return Err(NotRebased::NotOurs);
    }
    let is_own = |title: &&str| *title != SYSTEM && *title != LOADER_CACHE && !is_of_debian(title);
    let own: Vec<&str> = from_top.map_while(|title| title.filter(is_own)).collect();
    if own.iter().any(|title| title.ends_with(" system packages")) {
        return Err(NotRebased::AddedPackages);
    }
    let caches = titles.iter().rev().take_while(|title| **title == Some(LOADER_CACHE)).count();
    let above = own.len() + 1;
    Ok(Boundary { below: layers - above - caches, above, has_users: own.contains(&"accounts") })
}

/// The lines of a history that stand for layers.
fn told(config: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let lines = config.get("history").and_then(Value::as_array).into_iter().flatten();
    lines.filter(|line| line.get("empty_layer") != Some(&Value::Bool(true)))
}

fn title(line: &Value) -> Option<&str> {
    line.get("created_by")?.as_str()?.strip_prefix(OURS)
}

/// Returns whether a layer is one of those that a base of Debian packages has.
fn is_of_debian(title: &str) -> bool {
    let archive = ["essential packages", "packages", "configuration"]
        .iter()
        .find_map(|part| title.strip_suffix(part)?.strip_suffix(' '));
    archive.is_some_and(|archive| archive != "no" && archive.bytes().all(|byte| byte.is_ascii_lowercase()))
}

/// Refuses a new base over which something else would have been decided.
pub fn check(before: &BaseInventory, after: &BaseInventory) -> Result<(), NotRebased> {
    if before.architecture != after.architecture {
        return Err(NotRebased::Architecture { before: before.architecture, after: after.architecture });
    }
    if minor(&before.python) != minor(&after.python) {
        return Err(NotRebased::Python { before: before.python.clone(), after: after.python.clone() });
    }
    if before.scheme != after.scheme {
        let shown = |base: &BaseInventory| base.scheme.purelib.clone();
        return Err(NotRebased::Scheme { before: shown(before), after: shown(after) });
    }
    if before.glibc > after.glibc {
        let shown = |base: &BaseInventory| format!("{}.{}", base.glibc.0, base.glibc.1);
        return Err(NotRebased::Libc { before: shown(before), after: shown(after) });
    }
    check_components(&before.cuda, &after.cuda)?;
    check_distributions(before, after)
}

/// Refuses another file that users were made from, where the image has users: `text` gives it before and after.
pub fn check_accounts<'a>(
    text: impl Fn(&str) -> (Option<&'a [u8]>, Option<&'a [u8]>),
) -> Result<(), NotRebased> {
    let is_other = |file: &&str| {
        let (before, after) = text(file);
        before != after
    };
    match ["etc/passwd", "etc/group"].into_iter().find(|file| is_other(file)) {
        Some(file) => Err(NotRebased::Accounts { file }),
        None => Ok(()),
    }
}

/// `3.11` of `3.11.2`.
fn minor(version: &str) -> Vec<&str> {
    version.split('.').take(2).collect()
}

fn check_components(before: &[CudaCopy], after: &[CudaCopy]) -> Result<(), NotRebased> {
    let (before, after) = (copies(before), copies(after));
    let differs = before.keys().chain(after.keys()).find(|key| before.get(*key) != after.get(*key));
    let shown = |copies: &BTreeMap<(String, String), String>, key: &(String, String)| {
        copies.get(key).map_or("none".to_owned(), |version| format!("{version} in /{}", key.1))
    };
    match differs {
        None => Ok(()),
        Some(key) => Err(NotRebased::Component {
            component: key.0.clone(),
            before: shown(&before, key),
            after: shown(&after, key),
        }),
    }
}

/// The versions of copies by component and directory.
fn copies(copies: &[CudaCopy]) -> BTreeMap<(String, String), String> {
    let version = |copy: &CudaCopy| copy.version.as_ref().map_or("?".to_owned(), ToString::to_string);
    let key = |copy: &CudaCopy| (copy.component.to_string(), copy.directory.clone());
    copies.iter().map(|copy| (key(copy), version(copy))).collect()
}

fn check_distributions(before: &BaseInventory, after: &BaseInventory) -> Result<(), NotRebased> {
    let versions = |base: &BaseInventory| -> BTreeMap<PackageName, Version> {
        base.distributions.iter().map(|it| (it.name.clone(), it.version.clone())).collect()
    };
    let (before, after) = (versions(before), versions(after));
    let differs = before.keys().chain(after.keys()).find(|name| before.get(*name) != after.get(*name));
    let shown = |version: Option<&Version>| version.map_or("none".to_owned(), ToString::to_string);
    match differs {
        None => Ok(()),
        Some(name) => Err(NotRebased::Distribution {
            name: name.clone(),
            before: shown(before.get(name)),
            after: shown(after.get(name)),
        }),
    }
}

/// The config of the image over its new base: its own settings, the new base's history below its own, and the layers `diff_ids`.
pub fn config(
    image: &Map<String, Value>,
    base: &Map<String, Value>,
    boundary: Boundary,
    diff_ids: &[Digest],
    base_layers: usize,
) -> serde_json::Result<Vec<u8>> {
    let created = image.get("created").cloned().unwrap_or_default();
    let line = |text: &str| {
        let mut line = Map::new();
        line.insert("created".to_owned(), created.clone());
        line.insert("created_by".to_owned(), text.into());
        Value::from(line)
    };
    let mut history: Vec<Value> = base.get("history").and_then(Value::as_array).cloned().unwrap_or_default();
    let untold = base_layers.saturating_sub(told(base).count());
    history.extend((0..untold).map(|_| line("a layer of the base")));
    history.extend(told(image).skip(boundary.below).take(boundary.above).cloned());
    let more = diff_ids.len().saturating_sub(base_layers + boundary.above);
    history.extend((0..more).map(|_| line(&format!("{OURS}{LOADER_CACHE}"))));
    let mut config = image.clone();
    config.insert("history".to_owned(), history.into());
    config.insert("rootfs".to_owned(), serde_json::to_value(rootfs(diff_ids.iter().copied()))?);
    serde_json::to_vec(&config)
}

/// A manifest with the annotations of the one before, and those that name the new base: its name in a registry, and its
/// digest.
pub fn annotated(
    manifest: &[u8],
    before: Option<&[u8]>,
    base: (Option<String>, Option<Digest>),
) -> serde_json::Result<Vec<u8>> {
    let mut manifest: Value = serde_json::from_slice(manifest)?;
    let before: Value = before.map(serde_json::from_slice).transpose()?.unwrap_or_default();
    let mut annotations = before.get("annotations").and_then(Value::as_object).cloned().unwrap_or_default();
    for (key, value) in [(BASE_NAME, base.0), (BASE_DIGEST, base.1.map(|digest| digest.to_string()))] {
        match value {
            Some(value) => annotations.insert(key.to_owned(), value.into()),
            None => annotations.remove(key),
        };
    }
    manifest["annotations"] = annotations.into();
    to_json(&manifest)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check_boundary(history: &[&str], expected: Result<(usize, usize, bool), NotRebased>) {
        let lines: Vec<Value> = history.iter().map(|text| json!({"created_by": text})).collect();
        let Value::Object(config) = json!({"history": lines}) else { panic!("it is an object") };
        let found = boundary(&config, history.len());
        assert_eq!(found.map(|it| (it.below, it.above, it.has_users)), expected, "{history:?}");
    }

    #[test]
    fn an_images_own_layers_are_those_of_its_last_build() {
        check_boundary(
            &["FROM debian", "imgforge: 3 packages, a to c", "imgforge: system files"],
            Ok((1, 2, false)),
        );
        check_boundary(
            &["imgforge: debian packages", "imgforge: torch 2.6.0", "imgforge: system files"],
            Ok((1, 2, false)),
        );
        check_boundary(
            &["imgforge: system files", "imgforge: no packages", "imgforge: system files"],
            Ok((1, 2, false)),
        );
        check_boundary(
            &["x", "imgforge: accounts", "imgforge: system files", "imgforge: loader cache"],
            Ok((1, 2, true)),
        );
        check_boundary(&["FROM debian", "RUN pip"], Err(NotRebased::NotOurs));
        check_boundary(&["imgforge: system files", "RUN pip"], Err(NotRebased::NotOurs));
        check_boundary(
            &["x", "imgforge: debian system packages", "imgforge: system files"],
            Err(NotRebased::AddedPackages),
        );
        let Value::Object(config) = json!({"history": [{"created_by": "x", "empty_layer": true}]}) else {
            panic!()
        };
        assert_eq!(boundary(&config, 1), Err(NotRebased::OtherHistory { told: 0, layers: 1 }));
    }

    #[test]
    fn the_history_is_the_new_bases_with_the_images_own_lines() {
        let Value::Object(image) = json!({
            "created": "t",
            "config": {"Env": ["A=1"]},
            "history": [{"created_by": "old"}, {"created_by": "imgforge: system files"}],
        }) else {
            panic!()
        };
        let Value::Object(base) = json!({"history": [{"created_by": "new"}]}) else { panic!() };
        let boundary = Boundary { below: 1, above: 1, has_users: false };
        let digests = ["a", "b", "c", "d"].map(Digest::of);
        let config = config(&image, &base, boundary, &digests, 2).unwrap();
        let config: Value = serde_json::from_slice(&config).unwrap();
        let lines: Vec<&str> =
            config["history"].as_array().unwrap().iter().filter_map(|it| it["created_by"].as_str()).collect();
        assert_eq!(lines, ["new", "a layer of the base", "imgforge: system files", "imgforge: loader cache"]);
        assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 4);
        assert_eq!(config["config"]["Env"][0], "A=1");
    }
}
