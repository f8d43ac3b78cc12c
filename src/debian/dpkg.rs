//! dpkg's database: `status`, the `info` files and the alternatives.
//!
//! <https://manpages.debian.org/dpkg.1#FILES> · <https://manpages.debian.org/update-alternatives.1>

use std::collections::BTreeMap;
use std::fmt::Write as _;

use pgp::crypto::hash::HashAlgorithm;

use super::archive::Control;
use super::deb822::{self, Deb822Error};

use crate::failure::Hinted;

/// A package whose files are in place: what dpkg remembers of it.
#[derive(Debug, Clone)]
pub struct InstalledPackage {
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Debian's name of its architecture, or `all`.
    pub architecture: String,
    /// `same`, `foreign` or `allowed`.
    pub multi_arch: Option<String>,
    /// Its control files.
    pub control: Control,
    /// The paths it shipped, in the order and the spelling of its archive, relative to the root.
    pub paths: Vec<String>,
    /// The MD5 of its configuration files as shipped, by path relative to the root.
    pub conffiles: BTreeMap<String, String>,
}

/// A `.deb` whose control file does not describe a package.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum DpkgError {
    #[error("its control file cannot be read")]
    Syntax { source: Deb822Error },
    #[error("its control file has no `{field}`")]
    Missing { field: &'static str },
}

impl Hinted for DpkgError {
    fn hint(&self) -> Option<String> {
        Some("the package was not made by dpkg-deb; report it to its archive".into())
    }
}

/// The order in which dpkg writes the fields it knows; the others follow as they came.
const FIELD_ORDER: [&str; 25] = [
    "Package",
    "Essential",
    "Protected",
    "Status",
    "Priority",
    "Section",
    "Installed-Size",
    "Origin",
    "Maintainer",
    "Bugs",
    "Architecture",
    "Multi-Arch",
    "Source",
    "Version",
    "Replaces",
    "Provides",
    "Depends",
    "Pre-Depends",
    "Recommends",
    "Suggests",
    "Breaks",
    "Conflicts",
    "Enhances",
    "Conffiles",
    "Description",
];

impl InstalledPackage {
    /// Reads the control file of an unpacked package.
    pub fn new(
        control: Control,
        paths: Vec<String>,
        conffiles: BTreeMap<String, String>,
    ) -> Result<Self, DpkgError> {
        let text = control.text("control").ok_or(DpkgError::Missing { field: "Package" })?.into_owned();
        let fields = deb822::paragraph(&text).map_err(|source| DpkgError::Syntax { source })?;
        let required =
            |field: &'static str| fields.get(field).map(str::to_owned).ok_or(DpkgError::Missing { field });
        Ok(Self {
            name: required("Package")?,
            version: required("Version")?,
            architecture: required("Architecture")?,
            multi_arch: fields.get("Multi-Arch").map(str::to_owned),
            control,
            paths,
            conffiles,
        })
    }

    /// The name of the package's files under `info`: with the architecture when several may be
    /// installed together.
    pub fn info_name(&self) -> String {
        match self.multi_arch.as_deref() {
            Some("same") => format!("{}:{}", self.name, self.architecture),
            _ => self.name.clone(),
        }
    }

    /// The text of `info/NAME.list`.
    pub fn list(&self) -> String {
        let lines = self.paths.iter().map(|path| format!("/{path}\n"));
        std::iter::once("/.\n".to_owned()).chain(lines).collect()
    }

    /// Its paragraph in `status`, installed and configured.
    pub fn status(&self) -> Result<String, DpkgError> {
        let text = self.control.text("control").unwrap_or_default();
        let paragraph = deb822::paragraph(&text).map_err(|source| DpkgError::Syntax { source })?;
        let mut fields: Vec<(&str, String)> =
            paragraph.fields().map(|(name, value)| (name, format!(" {value}"))).collect();
        fields.push(("Status", " install ok installed".into()));
        let conffiles = self.conffile_lines();
        if !conffiles.is_empty() {
            fields.push(("Conffiles", conffiles));
        }
        let rank = |name: &str| FIELD_ORDER.iter().position(|known| known.eq_ignore_ascii_case(name));
        fields.sort_by_key(|(name, _)| rank(name).unwrap_or(FIELD_ORDER.len()));
        let mut stanza = String::new();
        for (name, value) in fields {
            let _ = writeln!(stanza, "{name}:{value}");
        }
        Ok(stanza)
    }

    /// Folded lines of path and MD5, in the order of the package's `conffiles`. Those that an upgrade is to remove have a
    /// word in the place of their hash.
    fn conffile_lines(&self) -> String {
        let text = self.control.text("conffiles").unwrap_or_default();
        let line = |listed: &str| match listed.strip_prefix("remove-on-upgrade ") {
            Some(path) => Some(format!("\n {} newconffile remove-on-upgrade", path.trim_ascii())),
            None => Some(format!("\n {listed} {}", self.conffiles.get(listed.trim_start_matches('/'))?)),
        };
        text.lines().map(str::trim_ascii).filter_map(line).collect()
    }
}

/// The configuration files a package names, relative to the root. Those it only wants removed are left out.
pub fn conffiles(control: &Control) -> Vec<String> {
    let text = control.text("conffiles").unwrap_or_default();
    let paths = text.lines().map(str::trim_ascii).filter(|line| line.starts_with('/') && !line.contains(' '));
    paths.map(|path| path.trim_start_matches('/').to_owned()).collect()
}

/// The MD5 of `bytes` in hexadecimal digits; dpkg uses it to notice changes, never to trust.
pub fn md5(bytes: &[u8]) -> String {
    hex::encode(HashAlgorithm::Md5.digest(bytes).unwrap_or_default())
}

/// One group of `update-alternatives`: a name that several packages can serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alternative {
    /// The name under `/etc/alternatives`: `awk`.
    pub name: String,
    /// True if a person chose, whom the priorities do not overrule.
    pub is_manual: bool,
    /// The generic path: `/usr/bin/awk`.
    pub link: String,
    /// The generic paths of what follows the choice (manual pages), by name.
    pub slaves: BTreeMap<String, String>,
    /// The candidates, by path.
    pub choices: BTreeMap<String, Choice>,
}

/// One way to serve an [`Alternative`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Choice {
    /// The highest serves.
    pub priority: i64,
    /// The path of each slave it has, by the slave's name.
    pub slaves: BTreeMap<String, String>,
}

impl Alternative {
    /// The choice in automatic mode: the highest priority, then the first path.
    pub fn best(&self) -> Option<(&str, &Choice)> {
        let best = self.choices.iter().min_by_key(|(_, choice)| std::cmp::Reverse(choice.priority));
        best.map(|(path, choice)| (path.as_str(), choice))
    }

    /// Reads the text of `/var/lib/dpkg/alternatives/NAME`; `None` where it is not one.
    pub fn parse(name: &str, text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let is_manual = match lines.next()? {
            "auto" => false,
            "manual" => true,
            _ => return None,
        };
        let link = lines.next()?.to_owned();
        let (mut slaves, mut order) = (BTreeMap::new(), Vec::new());
        while let Some(slave) = lines.next().filter(|slave| !slave.is_empty()) {
            slaves.insert(slave.to_owned(), lines.next()?.to_owned());
            order.push(slave);
        }
        let mut choices = BTreeMap::new();
        while let Some(path) = lines.next().filter(|path| !path.is_empty()) {
            let mut choice = Choice { priority: lines.next()?.parse().ok()?, slaves: BTreeMap::new() };
            for slave in &order {
                let path = lines.next()?;
                if !path.is_empty() {
                    choice.slaves.insert((*slave).to_owned(), path.to_owned());
                }
            }
            choices.insert(path.to_owned(), choice);
        }
        Some(Self { name: name.to_owned(), is_manual, link, slaves, choices })
    }

    /// The text of `/var/lib/dpkg/alternatives/NAME`.
    pub fn database(&self) -> String {
        let mode = if self.is_manual { "manual" } else { "auto" };
        let mut text = format!("{mode}\n{}\n", self.link);
        for (name, link) in &self.slaves {
            let _ = writeln!(text, "{name}\n{link}");
        }
        text.push('\n');
        for (path, choice) in &self.choices {
            let _ = writeln!(text, "{path}\n{}", choice.priority);
            for name in self.slaves.keys() {
                let _ = writeln!(text, "{}", choice.slaves.get(name).map_or("", String::as_str));
            }
        }
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::archive::ControlFile;
    use super::*;

    fn control(files: &[(&str, &str)]) -> Control {
        let file = |(name, text): &(&str, &str)| {
            ((*name).to_owned(), ControlFile { mode: 0o644, bytes: text.as_bytes().to_vec() })
        };
        Control { files: files.iter().map(file).collect() }
    }

    const HOSTNAME: &str = "Package: demo\nSource: demo (1.0)\nVersion: 1.0+nmu1\nArchitecture: amd64\nEssential: yes\n\
        Maintainer: A <a@test>\nMulti-Arch: same\nDepends: libc6 (>= 2.34)\nSection: admin\nHomepage: http://demo.test/\n\
        Tag: x::y\nPriority: required\nDescription: short\n long\n .\n more\n";

    #[test]
    fn writes_status_in_the_order_of_dpkg() {
        let control =
            control(&[("control", HOSTNAME), ("conffiles", "/etc/b\n/etc/a\nremove-on-upgrade /etc/old\n")]);
        assert_eq!(conffiles(&control), ["etc/b", "etc/a"]);
        let hashes = [("etc/a", md5(b"")), ("etc/b", md5(b"b"))].map(|(path, md5)| (path.to_owned(), md5));
        let installed =
            InstalledPackage::new(control, vec!["etc".into(), "etc/a".into()], hashes.into()).unwrap();
        let expected = "Package: demo\nEssential: yes\nStatus: install ok installed\nPriority: required\n\
            Section: admin\nMaintainer: A <a@test>\nArchitecture: amd64\nMulti-Arch: same\nSource: demo (1.0)\n\
            Version: 1.0+nmu1\nDepends: libc6 (>= 2.34)\n\
            Conffiles:\n /etc/b 92eb5ffee6ae2fec3ad71c777531578f\n /etc/a d41d8cd98f00b204e9800998ecf8427e\n \
            /etc/old newconffile remove-on-upgrade\n\
            Description: short\n long\n .\n more\nHomepage: http://demo.test/\nTag: x::y\n";
        assert_eq!(installed.status().unwrap(), expected);
        assert_eq!(installed.info_name(), "demo:amd64");
        assert_eq!(installed.list(), "/.\n/etc\n/etc/a\n");
    }

    #[test]
    fn a_control_file_without_a_name_is_refused() {
        let result = InstalledPackage::new(control(&[("control", "Version: 1\n")]), vec![], BTreeMap::new());
        assert_eq!(result.unwrap_err().to_string(), "its control file has no `Package`");
        assert!(InstalledPackage::new(Control::default(), vec![], BTreeMap::new()).is_err());
    }

    #[test]
    fn writes_an_alternative_as_update_alternatives_does() {
        let mut alternative = Alternative {
            name: "awk".into(),
            is_manual: false,
            link: "/usr/bin/awk".into(),
            slaves: [("awk.1.gz", "/man/awk.1.gz"), ("nawk", "/usr/bin/nawk")]
                .map(|(name, link)| (name.to_owned(), link.to_owned()))
                .into(),
            choices: BTreeMap::new(),
        };
        let slaves = BTreeMap::from([("nawk".to_owned(), "/usr/bin/mawk".to_owned())]);
        alternative.choices.insert("/usr/bin/mawk".into(), Choice { priority: 5, slaves });
        alternative.choices.insert("/usr/bin/gawk".into(), Choice { priority: 10, ..Choice::default() });
        let expected = "auto\n/usr/bin/awk\nawk.1.gz\n/man/awk.1.gz\nnawk\n/usr/bin/nawk\n\n\
            /usr/bin/gawk\n10\n\n\n/usr/bin/mawk\n5\n\n/usr/bin/mawk\n\n";
        assert_eq!(alternative.database(), expected);
        assert_eq!(alternative.best().unwrap().0, "/usr/bin/gawk");
        assert_eq!(Alternative::parse("awk", expected), Some(alternative.clone()));
        let manual = Alternative { is_manual: true, ..alternative };
        assert_eq!(Alternative::parse("awk", &manual.database()), Some(manual));
        for text in ["", "auto\n", "other\n/usr/bin/awk\n\n", "auto\n/usr/bin/awk\n\n/usr/bin/mawk\nhigh\n\n"]
        {
            assert_eq!(Alternative::parse("awk", text), None, "{text}");
        }
    }
}
