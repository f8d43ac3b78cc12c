//! The package indexes of the machine: those of pip and uv.
//!
//! <https://pip.pypa.io/en/stable/topics/configuration/>

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use url::Url;
use uv_distribution_types::PYPI_URL;
use uv_normalize::PackageName;

use super::directory::{DirectoryError, WheelDirectory};
use crate::credentials::redacted;
use crate::failure::Hinted;
use crate::plain_file;
use crate::pypa::simple::Project;

/// A file of pip's or uv's configuration of more bytes is passed over.
const LONGEST_FILE: u64 = 1 << 20;

/// The places that distributions come from.
#[derive(Debug, Clone, Default)]
pub struct PackageSources {
    /// The projects of which only these files are taken: wheels that are named, and what locks of other tools have.
    pub projects: BTreeMap<PackageName, Project>,
    /// Pages and directories whose files stand beside those of the indexes.
    pub links: Vec<WheelPlaces>,
    /// The package indexes, in the order in which they are asked.
    pub indexes: Vec<ConfiguredIndex>,
}

impl PackageSources {
    /// Returns whether both ask the same places, and have no files of their own.
    pub fn asks_as(&self, other: &Self) -> bool {
        let has_files = !self.projects.is_empty() || !other.projects.is_empty();
        !has_files && self.links == other.links && self.indexes == other.indexes
    }
}

/// A server's or this machine's collection of wheels.
#[derive(Debug, Clone, PartialEq)]
pub enum WheelPlaces {
    /// At a URL: of an index its simple repository, else a page of links. Credentials in it are used and never shown.
    Url(Url),
    /// In a directory.
    Directory(WheelDirectory),
}

impl WheelPlaces {
    /// Its URL without credentials, or its path.
    pub fn shown(&self) -> String {
        match self {
            Self::Url(url) => redacted(url),
            Self::Directory(directory) => directory.path().display().to_string(),
        }
    }

    /// Its URL, if it has one.
    pub fn url(&self) -> Option<&Url> {
        match self {
            Self::Url(url) => Some(url),
            Self::Directory(_) => None,
        }
    }
}

/// A package index.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfiguredIndex {
    /// The place of its simple repository.
    pub places: WheelPlaces,
    /// The only projects it serves, and their only source; `None` for an index of everything.
    pub packages: Option<Vec<PackageName>>,
    /// The statuses by which it says that it does not have a project, beside 404 and 410.
    pub missing: Vec<u16>,
}

impl ConfiguredIndex {
    /// An index of everything.
    pub fn new(url: Url) -> Self {
        Self::at(WheelPlaces::Url(url))
    }

    /// An index of everything that is at a place.
    pub fn at(places: WheelPlaces) -> Self {
        Self { places, packages: None, missing: Vec::new() }
    }

    /// Returns whether an answer with `status` means that it does not have a project. Any other failure may hide one, which a
    /// further index must not supply.
    pub fn is_absent(&self, status: u16) -> bool {
        matches!(status, 404 | 410) || self.missing.contains(&status)
    }

    /// Its place as it may be shown.
    pub fn shown(&self) -> String {
        self.places.shown()
    }
}

/// The page of the project `name` in the simple repository at `url`.
pub fn project_page(url: &Url, name: &PackageName) -> Url {
    let mut page = url.clone();
    page.set_path(&format!("{}/{name}/", url.path().trim_end_matches('/')));
    page.set_fragment(None);
    page
}

/// The reason why the machine's configuration could not be understood.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum ConfigError {
    #[error("{origin} names the package index `{value}`, which is not a URL")]
    NotAUrl { origin: String, value: String },
    #[error("{origin} names a directory of wheels that cannot be used")]
    Directory { origin: String, source: DirectoryError },
}

impl Hinted for ConfigError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NotAUrl { .. } => Some("an index URL looks like `https://HOST/simple/`".into()),
            Self::Directory { source, .. } => source.hint(),
        }
    }
}

/// The questions to the machine.
pub struct MachineConfig<'a> {
    /// An environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The text of a file, when it can be read.
    pub file: &'a dyn Fn(&Path) -> Option<String>,
}

impl MachineConfig<'static> {
    /// This machine.
    pub fn here() -> Self {
        Self {
            variable: &|name| std::env::var(name).ok(),
            file: &|path| plain_file::read_text(path, LONGEST_FILE).ok(),
        }
    }
}

impl MachineConfig<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.trim().is_empty())
    }

    /// The path of the user's netrc file.
    pub fn netrc(&self) -> Option<PathBuf> {
        let named = self.variable("NETRC").map(PathBuf::from);
        named.or_else(|| Some(Path::new(&self.variable("HOME")?).join(".netrc")))
    }
}

/// The places that pip and uv would take wheels from: of the indexes extra ones first, then the default.
///
/// The environment goes before pip's configuration files; without any, the default is the one of the Python world.
pub fn sources(machine: &MachineConfig<'_>) -> Result<PackageSources, ConfigError> {
    let pip = pip_options(machine);
    let first = |variables: &[&str], option: &str| {
        let variable =
            variables.iter().find_map(|name| Some((format!("the variable {name}"), machine.variable(name)?)));
        variable.or_else(|| pip.get(option).cloned())
    };
    let mut sources = PackageSources::default();
    if let Some((origin, value)) = first(&["PIP_FIND_LINKS", "UV_FIND_LINKS"], "find-links") {
        let links = value.split([' ', '\t', '\n', ',']).filter(|links| !links.is_empty());
        sources.links = links.map(|links| links_at(&origin, links)).collect::<Result<_, _>>()?;
    }
    let no_index = first(&["PIP_NO_INDEX", "UV_NO_INDEX"], "no-index");
    if no_index.is_some_and(|(_, value)| is_true(&value)) {
        return Ok(sources);
    }
    if let Some((origin, value)) =
        first(&["PIP_EXTRA_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL"], "extra-index-url")
    {
        for url in value.split_whitespace() {
            sources.indexes.push(ConfiguredIndex::at(parse(&origin, url)?));
        }
    }
    sources.indexes.push(match first(&["PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"], "index-url") {
        Some((origin, value)) => ConfiguredIndex::at(parse(&origin, &value)?),
        None => ConfiguredIndex::new(Url::clone(&PYPI_URL)),
    });
    Ok(sources)
}

/// Returns whether a switch is on, as pip reads it.
fn is_true(value: &str) -> bool {
    matches!(value.trim().to_ascii_lowercase().as_str(), "1" | "y" | "yes" | "t" | "true" | "on")
}

/// Parses a URL; uv allows `NAME=URL`.
fn parse(origin: &str, value: &str) -> Result<WheelPlaces, ConfigError> {
    let value = value.trim();
    let named = value.split_once('=').filter(|(name, _)| !name.contains(':')).map(|(_, url)| url);
    let url = Url::parse(named.unwrap_or(value)).ok();
    if let Some(path) =
        url.as_ref().filter(|url| url.scheme() == "file").and_then(|url| url.to_file_path().ok())
    {
        return directory(origin, &path);
    }
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.map(WheelPlaces::Url).ok_or_else(|| {
        let value = value.rsplit('@').next().unwrap_or_default().to_owned();
        ConfigError::NotAUrl { origin: origin.to_owned(), value }
    })
}

/// The place that a value of `find-links` names: a URL, or else a path.
fn links_at(origin: &str, value: &str) -> Result<WheelPlaces, ConfigError> {
    match value.contains("://") || value.starts_with("file:") {
        true => parse(origin, value),
        false => directory(origin, Path::new(value)),
    }
}

fn directory(origin: &str, path: &Path) -> Result<WheelPlaces, ConfigError> {
    let opened = WheelDirectory::of_machine(path);
    opened
        .map(WheelPlaces::Directory)
        .map_err(|source| ConfigError::Directory { origin: origin.to_owned(), source })
}

/// pip's options with where each was found. A later file goes before an earlier one, `[install]` before `[global]`.
fn pip_options(machine: &MachineConfig<'_>) -> BTreeMap<String, (String, String)> {
    let mut options = BTreeMap::new();
    let sections: Vec<_> = pip_files(machine)
        .into_iter()
        .filter_map(|path| Some((path.display().to_string(), (machine.file)(&path)?)))
        .collect();
    for section in ["global", "install"] {
        for (path, text) in &sections {
            for (key, value) in ini_section(text, section) {
                options.insert(key, (format!("`{path}`"), value));
            }
        }
    }
    options
}

/// pip's configuration files, the most general first.
fn pip_files(machine: &MachineConfig<'_>) -> Vec<PathBuf> {
    let explicit = machine.variable("PIP_CONFIG_FILE").map(PathBuf::from);
    if explicit.as_deref() == Some(Path::new("/dev/null")) {
        return Vec::new();
    }
    let home = machine.variable("HOME").map(PathBuf::from);
    let mut files = Vec::new();
    let directories = machine.variable("XDG_CONFIG_DIRS").unwrap_or_else(|| "/etc/xdg".into());
    files.extend(
        directories.split(':').filter(|dir| !dir.is_empty()).map(|dir| Path::new(dir).join("pip/pip.conf")),
    );
    files.push("/etc/pip.conf".into());
    files.extend(home.as_ref().map(|home| home.join(".pip/pip.conf")));
    let config = machine.variable("XDG_CONFIG_HOME").map(PathBuf::from);
    let config = config.or_else(|| Some(home?.join(".config")));
    files.extend(config.map(|config| config.join("pip/pip.conf")));
    files.extend(machine.variable("VIRTUAL_ENV").map(|environment| Path::new(&environment).join("pip.conf")));
    files.extend(explicit);
    files
}

/// The keys of a section of an INI file as Python's `configparser` reads it: values may continue on indented lines.
fn ini_section(text: &str, wanted: &str) -> Vec<(String, String)> {
    let mut options: Vec<(String, String)> = Vec::new();
    let mut inside = false;
    let mut continues = false;
    for line in text.lines().filter(|line| !line.trim_start().starts_with(['#', ';'])) {
        let trimmed = line.trim();
        if trimmed.is_empty() {
            continues = false;
        } else if let Some(section) = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            (inside, continues) = (section == wanted, false);
        } else if line.starts_with([' ', '\t']) && continues {
            if let Some((_, value)) = options.last_mut().filter(|_| inside) {
                value.push(' ');
                value.push_str(trimmed);
            }
        } else if let Some((key, value)) = trimmed.split_once(['=', ':']) {
            if inside {
                let key = key.trim().to_ascii_lowercase().replace('_', "-");
                options.push((key, value.trim().to_owned()));
            }
            continues = true;
        }
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variables: &[(&str, &str)], files: &[(&str, &str)], expected: &[&str]) {
        let find = |pairs: &[(&str, &str)], key: &str| {
            pairs.iter().find(|(name, _)| *name == key).map(|(_, value)| (*value).to_owned())
        };
        let machine = MachineConfig {
            variable: &|name| find(variables, name),
            file: &|path| find(files, path.to_str().unwrap_or_default()),
        };
        let urls: Vec<_> = sources(&machine).unwrap().indexes.iter().map(ConfiguredIndex::shown).collect();
        assert_eq!(urls, expected);
    }

    #[test]
    fn uses_the_index_that_pip_uses() {
        let python_world = PYPI_URL.to_string();
        check(&[], &[], &[&python_world]);
        check(&[("PIP_INDEX_URL", "http://a/simple")], &[], &["http://a/simple"]);
        check(&[("UV_DEFAULT_INDEX", "name=http://a/simple")], &[], &["http://a/simple"]);
        check(
            &[("PIP_INDEX_URL", "http://a/"), ("PIP_EXTRA_INDEX_URL", "http://b/ http://c/")],
            &[],
            &["http://b/", "http://c/", "http://a/"],
        );
    }

    #[test]
    fn reads_pip_configuration_in_its_order() {
        let global = ("/etc/pip.conf", "# comment\n[global]\nindex-url = http://global/\n");
        let user = (
            "/home/u/.config/pip/pip.conf",
            "[global]\nindex_url: http://user/\nextra-index-url =\n    http://b/\n    http://c/\n",
        );
        let legacy = (
            "/home/u/.pip/pip.conf",
            "[install]\nindex-url=http://install/\n[download]\nindex-url=http://x/",
        );
        let home = ("HOME", "/home/u");
        check(&[], &[global], &["http://global/"]);
        check(&[home], &[global, user], &["http://b/", "http://c/", "http://user/"]);
        check(&[home], &[global, legacy], &["http://install/"]);
        check(
            &[home, ("VIRTUAL_ENV", "/venv")],
            &[global, ("/venv/pip.conf", "[global]\nindex-url = http://venv/\n")],
            &["http://venv/"],
        );
        check(&[home, ("PIP_INDEX_URL", "http://env/")], &[global], &["http://env/"]);
        check(&[("PIP_CONFIG_FILE", "/dev/null")], &[global], &[&PYPI_URL.to_string()]);
        check(
            &[("PIP_CONFIG_FILE", "/my.conf")],
            &[global, ("/my.conf", "[global]\nindex-url=http://my/")],
            &["http://my/"],
        );
    }

    #[test]
    fn finds_links_where_pip_does() {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path().to_str().unwrap();
        let check = |variables: &[(&str, &str)], links: &[&str], indexes: usize| {
            let find =
                |key: &str| variables.iter().find(|(name, _)| *name == key).map(|(_, value)| (*value).into());
            let found = sources(&MachineConfig { variable: &find, file: &|_| None }).unwrap();
            let shown: Vec<String> = found.links.iter().map(WheelPlaces::shown).collect();
            assert_eq!(
                (shown, found.indexes.len()),
                (links.iter().map(|it| (*it).to_owned()).collect(), indexes)
            );
        };
        check(&[], &[], 1);
        check(
            &[("PIP_FIND_LINKS", &format!("http://a/links.html {here}"))],
            &["http://a/links.html", here],
            1,
        );
        check(&[("UV_FIND_LINKS", &format!("file://{here},http://b/"))], &[here, "http://b/"], 1);
        check(&[("PIP_FIND_LINKS", here), ("PIP_NO_INDEX", "1")], &[here], 0);
        check(&[("PIP_EXTRA_INDEX_URL", &format!("file://{here}")), ("PIP_NO_INDEX", "0")], &[], 2);
    }

    #[test]
    fn names_what_is_not_a_url_without_its_password() {
        let machine = MachineConfig {
            variable: &|name| (name == "PIP_INDEX_URL").then(|| "user:secret@host".into()),
            file: &|_| None,
        };
        let error = sources(&machine).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the variable PIP_INDEX_URL names the package index `host`, which is not a URL"
        );
    }

    #[test]
    fn appends_the_project_to_the_index() {
        let page = |url: &str| project_page(&Url::parse(url).unwrap(), &"a-b".parse().unwrap()).to_string();
        assert_eq!(page("http://h/simple"), "http://h/simple/a-b/");
        assert_eq!(page("http://h/simple/?x=1"), "http://h/simple/a-b/?x=1");
    }
}
