//! The machine's settings for registries: mirrors, other locations, those without TLS, and those that are blocked.
//!
//! Names without a registry are of the default one, as docker reads them: lists of registries to search, and short names, are
//! not read.
//!
//! <https://github.com/containers/image/blob/main/docs/containers-registries.conf.5.md>

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::RegistryError;
use crate::oci::ImageReference;
use crate::plain_file;

/// The bytes of a file of registries: each takes a hundred.
const LONGEST_FILE: u64 = 1 << 20;
/// The files of a directory of them.
const MOST_FILES: usize = 256;
/// The mirrors of one registry that are asked.
const MOST_MIRRORS: usize = 16;

/// The registries that the machine says something of.
#[derive(Debug, Clone, Default)]
pub struct RegistryConfiguration {
    files: Vec<PathBuf>,
    directories: Vec<PathBuf>,
}

/// The contents of all files together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct ConfiguredRegistries {
    #[serde(default, rename = "registry")]
    registries: Vec<ConfiguredRegistry>,
}

/// The settings of registries, or their repositories, below a prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct ConfiguredRegistry {
    prefix: String,
    location: String,
    insecure: bool,
    blocked: bool,
    mirror_by_digest_only: bool,
    #[serde(rename = "mirror")]
    mirrors: Vec<ConfiguredMirror>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct ConfiguredMirror {
    location: String,
    insecure: bool,
    pull_from_mirror: MirrorUse,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum MirrorUse {
    #[default]
    All,
    DigestOnly,
    TagOnly,
}

/// A place to pull an image from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullPlace {
    /// The image's name there.
    pub reference: ImageReference,
    /// True if the registry there may be without TLS.
    pub is_insecure: bool,
}

impl RegistryConfiguration {
    /// The files that the environment names.
    pub fn of(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(file) = set("CONTAINERS_REGISTRIES_CONF") {
            return Self { files: vec![file], directories: Vec::new() };
        }
        let of_user = set("HOME").map(|home| home.join(".config/containers"));
        let directories = of_user.into_iter().chain([PathBuf::from("/etc/containers")]);
        let (files, directories) = directories
            .map(|directory| (directory.join("registries.conf"), directory.join("registries.conf.d")))
            .unzip();
        Self { files, directories }
    }

    /// Reads what is there: of several main files the first, then the files of the directories, by name.
    pub(super) fn read(&self) -> Result<ConfiguredRegistries, RegistryError> {
        let mut all = ConfiguredRegistries::default();
        let main = self.files.iter().find(|file| file.exists());
        let further = self.directories.iter().flat_map(|directory| files(directory));
        for path in main.cloned().into_iter().chain(further) {
            let unusable = |reason: String| RegistryError::Configuration { path: path.clone(), reason };
            let text =
                plain_file::read_text(&path, LONGEST_FILE).map_err(|error| unusable(error.to_string()))?;
            let read: ConfiguredRegistries =
                toml::from_str(&text).map_err(|error| unusable(error.message().to_owned()))?;
            all.add(read);
        }
        Ok(all)
    }
}

/// The files of a directory, in the order of their names.
fn files(directory: &Path) -> Vec<PathBuf> {
    let list = || -> io::Result<Vec<PathBuf>> {
        fs::read_dir(directory)?.take(MOST_FILES).map(|entry| Ok(entry?.path())).collect()
    };
    let mut files = list().unwrap_or_default();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    files.sort();
    files
}

impl ConfiguredRegistries {
    /// Adds what a later file says, which holds for the prefixes that it names.
    fn add(&mut self, later: Self) {
        for registry in later.registries {
            self.registries.retain(|earlier| earlier.prefix() != registry.prefix());
            self.registries.push(registry);
        }
    }

    /// The settings for an image: those of the longest prefix of its name.
    fn of(&self, image: &ImageReference) -> Option<&ConfiguredRegistry> {
        let name = format!("{}/{}", image.registry(), image.repository());
        let fits = |registry: &&ConfiguredRegistry| is_below(&name, registry.prefix());
        self.registries.iter().filter(fits).max_by_key(|registry| registry.prefix().len())
    }

    /// Returns whether the image's registry may be without TLS.
    pub(super) fn is_insecure(&self, image: &ImageReference) -> bool {
        self.of(image).is_some_and(|registry| registry.insecure)
    }

    /// Returns whether nothing is asked of the image's registry.
    pub(super) fn is_blocked(&self, image: &ImageReference) -> bool {
        self.of(image).is_some_and(|registry| registry.blocked)
    }

    /// The places to pull an image from, one after the other: mirrors, then its own.
    pub(super) fn pull_places(&self, image: &ImageReference) -> Vec<PullPlace> {
        let Some(registry) = self.of(image) else {
            return vec![PullPlace { reference: image.clone(), is_insecure: false }];
        };
        let has_digest = image.digest().is_some();
        let is_used = |mirror: &&ConfiguredMirror| match mirror.pull_from_mirror {
            MirrorUse::DigestOnly => has_digest,
            MirrorUse::TagOnly => !has_digest,
            MirrorUse::All => has_digest || !registry.mirror_by_digest_only,
        };
        let mirrors = registry.mirrors.iter().filter(is_used).take(MOST_MIRRORS);
        let mirrors = mirrors.map(|mirror| (mirror.location.as_str(), mirror.insecure));
        let own = (registry.location.as_str(), registry.insecure);
        let at = |(location, is_insecure): (&str, bool)| {
            Some(PullPlace { reference: moved(image, registry.prefix(), location)?, is_insecure })
        };
        mirrors.chain([own]).filter_map(at).collect()
    }
}

impl ConfiguredRegistry {
    fn prefix(&self) -> &str {
        if self.prefix.is_empty() { &self.location } else { &self.prefix }
    }
}

/// Returns whether a name is below a prefix: `*.HOST` stands for all hosts below one.
fn is_below(name: &str, prefix: &str) -> bool {
    if let Some(domain) = prefix.strip_prefix("*.") {
        let host = name.split('/').next().unwrap_or(name);
        return host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    }
    !prefix.is_empty()
        && name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':']))
}

/// The image's name with `location` in place of the prefix; `None` where that is no name.
fn moved(image: &ImageReference, prefix: &str, location: &str) -> Option<ImageReference> {
    if location.is_empty() || prefix == location {
        return Some(image.clone());
    }
    let name = format!("{}/{}", image.registry(), image.repository());
    let rest = match prefix.starts_with("*.") {
        true => &name[name.find('/').unwrap_or(name.len())..],
        false => name.strip_prefix(prefix)?,
    };
    let tag = image.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
    let digest = image.digest().map(|digest| format!("@{digest}")).unwrap_or_default();
    format!("{location}{rest}{tag}{digest}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;

    const CONFIGURATION: &str = r#"
unqualified-search-registries = ["other.test"]
[[registry]]
location = "registry.test"
insecure = true
[[registry.mirror]]
location = "mirror.test/cache"
insecure = true
[[registry.mirror]]
location = "exact.test"
pull-from-mirror = "digest-only"
[[registry]]
prefix = "registry.test/team"
location = "inner.test/x"
[[registry]]
prefix = "*.blocked.test"
blocked = true
[[registry]]
prefix = "sealed.test"
location = "sealed.test"
mirror-by-digest-only = true
[[registry.mirror]]
location = "mirror.test"
"#;

    fn places(image: &str) -> String {
        let configured: ConfiguredRegistries = toml::from_str(CONFIGURATION).unwrap();
        let places = configured.pull_places(&image.parse().unwrap());
        let shown = |place: &PullPlace| {
            format!("{}{}", place.reference, if place.is_insecure { " insecure" } else { "" })
        };
        places.iter().map(shown).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn images_are_pulled_from_mirrors_first_and_by_the_longest_prefix() {
        let digest = Digest::of("x");
        assert_eq!(
            places("registry.test/app:v1"),
            "mirror.test/cache/app:v1 insecure, registry.test/app:v1 insecure"
        );
        assert_eq!(places("registry.test/team/app:v1"), "inner.test/x/app:v1");
        assert_eq!(places("registry.test/teams/app:v1").split(", ").count(), 2);
        assert_eq!(
            places(&format!("registry.test/app@{digest}")).split(", ").nth(1),
            Some(&*format!("exact.test/app@{digest}"))
        );
        assert_eq!(places("sealed.test/app:v1"), "sealed.test/app:v1");
        assert_eq!(places(&format!("sealed.test/app@{digest}")).split(", ").count(), 2);
        assert_eq!(places("else.test/app:v1"), "else.test/app:v1");
    }

    #[test]
    fn registries_are_blocked_and_insecure_by_prefix() {
        let configured: ConfiguredRegistries = toml::from_str(CONFIGURATION).unwrap();
        let image = |text: &str| text.parse::<ImageReference>().unwrap();
        assert!(configured.is_blocked(&image("a.blocked.test/app")));
        assert!(!configured.is_blocked(&image("blocked.test/app")));
        assert!(configured.is_insecure(&image("registry.test/app")));
        assert!(!configured.is_insecure(&image("registry.test.other/app")));
    }

    #[test]
    fn later_files_hold_and_broken_ones_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join(".config/containers/registries.conf.d");
        fs::create_dir_all(&below).unwrap();
        let home = directory.path().to_str().unwrap().to_owned();
        let configuration = RegistryConfiguration::of(&|name| (name == "HOME").then(|| home.clone()));
        let main = below.with_file_name("registries.conf");
        fs::write(&main, "[[registry]]\nlocation = \"a.test\"\nblocked = true\n").unwrap();
        assert!(configuration.read().unwrap().is_blocked(&"a.test/x".parse().unwrap()));
        fs::write(below.join("1.conf"), "[[registry]]\nlocation = \"a.test\"\n").unwrap();
        assert!(!configuration.read().unwrap().is_blocked(&"a.test/x".parse().unwrap()));
        fs::write(&main, "registry = 7").unwrap();
        let error = configuration.read().unwrap_err().to_string();
        assert!(error.contains("registries.conf` cannot be used"), "{error}");
    }
}
