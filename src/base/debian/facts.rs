//! What a base is, known from its package list before anything is unpacked.

use super::select::Selection;
use crate::oci::Architecture;

/// What resolution needs to know of a Debian base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseFacts {
    /// The architecture of its packages.
    pub architecture: Architecture,
    /// `debian`, `ubuntu`.
    pub os: String,
    /// The C library's version: `2.36`.
    pub glibc: Option<String>,
    /// The default Python, when the base has one.
    pub python: Option<Python>,
}

/// The interpreter that `python3` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Python {
    /// `3.11`
    pub short: String,
    /// `3.11.2`
    pub full: String,
}

impl BaseFacts {
    /// Reads the facts off a selection from the archive of `origin`, which is Debian's where it does not say.
    pub fn of(selection: &Selection, origin: Option<&str>, architecture: Architecture) -> Self {
        let upstream = |name: &str| {
            let package = selection.packages.iter().find(|package| package.name == name)?;
            Some(package.version.upstream().to_owned())
        };
        Self {
            architecture,
            os: origin.unwrap_or("debian").to_ascii_lowercase(),
            glibc: upstream("libc6").map(|version| numeric_prefix(&version).to_owned()),
            python: default_python(&upstream),
        }
    }
}

/// `python3` (or its minimal part) says which Python is the default; that Python's package has the full version.
fn default_python(upstream: &impl Fn(&str) -> Option<String>) -> Option<Python> {
    let default = ["python3", "python3-minimal"].into_iter().find_map(upstream)?;
    let short: Vec<&str> = numeric_prefix(&default).split('.').take(2).collect();
    let short = short.join(".");
    let full = upstream(&format!("python{short}-minimal"))?;
    Some(Python { short, full: numeric_prefix(&full).to_owned() })
}

/// The leading numbers and dots of a version: `3.13.5` of `3.13.5~rc1`.
fn numeric_prefix(version: &str) -> &str {
    let end = version.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(version.len());
    version[..end].trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::super::select::{Reason, Selected};
    use super::*;
    use crate::oci::Digest;

    fn selection(packages: &[(&str, &str)]) -> Selection {
        let selected = |(name, version): &(&str, &str)| Selected {
            name: (*name).to_owned(),
            version: version.parse().expect("the example is a version"),
            architecture: "amd64".into(),
            index: 0,
            filename: String::new(),
            size: 0,
            sha256: Digest::of(b""),
            reason: Reason::Requested,
            system: *name == "libc6",
        };
        Selection { packages: packages.iter().map(selected).collect() }
    }

    fn facts(packages: &[(&str, &str)]) -> BaseFacts {
        BaseFacts::of(&selection(packages), Some("Debian"), Architecture::Amd64)
    }

    #[test]
    fn the_package_list_tells_the_c_library_and_the_python() {
        let facts = facts(&[
            ("libc6", "2.36-9+deb12u10"),
            ("python3", "3.11.2-1+b1"),
            ("python3.11-minimal", "3.11.2-6+deb12u8"),
            ("python3.12-minimal", "3.12.1~rc1-1"),
        ]);
        let python = Python { short: "3.11".into(), full: "3.11.2".into() };
        assert_eq!((facts.glibc.as_deref(), facts.python), (Some("2.36"), Some(python)));
        assert_eq!(facts.os, "debian");
    }

    #[test]
    fn a_base_may_be_without_python() {
        assert_eq!(facts(&[("libc6", "2.41-12"), ("python3.13-minimal", "3.13.5-2")]).python, None);
        assert_eq!(numeric_prefix("3.13.0~rc1"), "3.13.0");
    }
}
