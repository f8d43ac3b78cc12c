//! The package indexes of the machine: those of pip and uv.
//!
//! <https://pip.pypa.io/en/stable/topics/configuration/>

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use url::Url;
use uv_distribution_types::PYPI_URL;
use uv_normalize::PackageName;

use crate::credentials::redacted;
use crate::failure::Hinted;
use crate::plain_file;

/// A file of pip's or uv's configuration of more bytes is passed over.
const LONGEST_FILE: u64 = 1 << 20;

/// A package index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredIndex {
    /// The URL of its simple repository. Credentials in it are used and never shown.
    pub url: Url,
    /// The only projects it serves, and their only source; `None` for an index of everything.
    pub packages: Option<Vec<PackageName>>,
    /// The statuses by which it says that it does not have a project, beside 404 and 410.
    pub missing: Vec<u16>,
}

impl ConfiguredIndex {
    /// An index of everything.
    pub fn new(url: Url) -> Self {
        Self { url, packages: None, missing: Vec::new() }
    }

    /// The page of the project `name`.
    pub fn page(&self, name: &PackageName) -> Url {
        let mut url = self.url.clone();
        let path = format!("{}/{name}/", self.url.path().trim_end_matches('/'));
        url.set_path(&path);
        url.set_fragment(None);
        url
    }

    /// Returns whether an answer with `status` means that it does not have a project. Any other failure may hide one, which a
    /// further index must not supply.
    pub fn is_absent(&self, status: u16) -> bool {
        matches!(status, 404 | 410) || self.missing.contains(&status)
    }

    /// Its URL without credentials.
    pub fn shown(&self) -> String {
        redacted(&self.url)
    }
}

/// The reason why the machine's configuration could not be understood.
#[derive(Debug, thiserror::Error)]
#[error("{origin} names the package index `{value}`, which is not a URL")]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub struct ConfigError {
    origin: String,
    value: String,
}

impl Hinted for ConfigError {
    fn hint(&self) -> Option<String> {
        Some("an index URL looks like `https://HOST/simple/`".into())
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

/// The indexes that pip and uv would use, in the order in which they are asked: extra ones first, then the default.
///
/// The environment goes before pip's configuration files; without any, the default is the one of the Python world.
pub fn indexes(machine: &MachineConfig<'_>) -> Result<Vec<ConfiguredIndex>, ConfigError> {
    let pip = pip_options(machine);
    let first = |variables: &[&str], option: &str| {
        let variable =
            variables.iter().find_map(|name| Some((format!("the variable {name}"), machine.variable(name)?)));
        variable.or_else(|| pip.get(option).cloned())
    };
    let default = match first(&["PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"], "index-url") {
        Some((origin, value)) => parse(&origin, &value)?,
        None => Url::clone(&PYPI_URL),
    };
    let mut indexes = Vec::new();
    if let Some((origin, value)) =
        first(&["PIP_EXTRA_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL"], "extra-index-url")
    {
        for url in value.split_whitespace() {
            indexes.push(ConfiguredIndex::new(parse(&origin, url)?));
        }
    }
    indexes.push(ConfiguredIndex::new(default));
    Ok(indexes)
}

/// Parses a URL; uv allows `NAME=URL`.
fn parse(origin: &str, value: &str) -> Result<Url, ConfigError> {
    let value = value.trim();
    let named = value.split_once('=').filter(|(name, _)| !name.contains(':')).map(|(_, url)| url);
    let url = Url::parse(named.unwrap_or(value))
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.ok_or_else(|| {
        let value = value.rsplit('@').next().unwrap_or_default().to_owned();
        ConfigError { origin: origin.to_owned(), value }
    })
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
        let urls: Vec<_> =
            indexes(&machine).unwrap().into_iter().map(|index| index.url.to_string()).collect();
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
    fn names_what_is_not_a_url_without_its_password() {
        let machine = MachineConfig {
            variable: &|name| (name == "PIP_INDEX_URL").then(|| "user:secret@host".into()),
            file: &|_| None,
        };
        let error = indexes(&machine).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the variable PIP_INDEX_URL names the package index `host`, which is not a URL"
        );
    }

    #[test]
    fn appends_the_project_to_the_index() {
        let page = |url: &str| {
            ConfiguredIndex::new(Url::parse(url).unwrap()).page(&"a-b".parse().unwrap()).to_string()
        };
        assert_eq!(page("http://h/simple"), "http://h/simple/a-b/");
        assert_eq!(page("http://h/simple/?x=1"), "http://h/simple/a-b/?x=1");
    }
}
