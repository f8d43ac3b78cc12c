//! Python's words in a recipe: interpreter versions, requirements and versions of frameworks.
//!
//! Grammars: PEP 440 (versions), PEP 508 (requirements), the names of core metadata, all through uv's crates.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use url::Url;
use uv_normalize::{ExtraName, PackageName};
use uv_pep440::{Version, VersionPattern, VersionSpecifier, VersionSpecifiers};
use uv_pep508::{Pep508Error, Pep508ErrorSource, VersionOrUrl};

use super::decode::{Complaint, Decode, parsed};
use super::diagnostic::{Problems, quote};
use super::other_tools::translation_of_requirement;
use super::yaml::Node;
use crate::pypa::complexity::{TooComplex, check_specifiers, weigh_requirement};

/// A Python version to insist on: `3.11`, or exactly `3.11.2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PythonVersion {
    /// 3 of `3.11.2`.
    pub major: u32,
    /// 11 of `3.11.2`.
    pub minor: u32,
    /// 2 of `3.11.2`; `None` for any.
    pub patch: Option<u32>,
}

impl PythonVersion {
    /// Returns whether an interpreter of `version` is what was insisted on.
    pub fn admits(&self, version: &Version) -> bool {
        let wanted = [Some(self.major), Some(self.minor), self.patch];
        let given = version.release();
        wanted.iter().flatten().enumerate().all(|(i, part)| given.get(i) == Some(&u64::from(*part)))
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let complaint = || {
            Complaint::new(format!("{} is not a Python version", quote(text)))
                .help("write the version of the base's interpreter: \"3.11\" or \"3.11.2\"")
        };
        let number = |part: &str| {
            let plain = part.bytes().all(|byte| byte.is_ascii_digit());
            part.parse().ok().filter(|_| plain).ok_or_else(complaint)
        };
        let parts: Vec<u32> = text.split('.').take(4).map(number).collect::<Result<_, _>>()?;
        match parts[..] {
            [major, minor] => Ok(Self { major, minor, patch: None }),
            [major, minor, patch] => Ok(Self { major, minor, patch: Some(patch) }),
            _ => Err(complaint()),
        }
    }
}

impl fmt::Display for PythonVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        self.patch.map_or(Ok(()), |patch| write!(f, ".{patch}"))
    }
}

impl Serialize for PythonVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Decode for PythonVersion {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "a Python version", problems, Self::parse)
    }
}

impl Decode for PackageName {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "a package name", problems, parse_name)
    }
}

impl Decode for uv_pep508::Requirement {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "a requirement", problems, parse_requirement)
    }
}

fn parse_name(text: &str) -> Result<PackageName, Complaint> {
    PackageName::from_str(text).map_err(|_| {
        Complaint::new(format!("{} is not a package name", quote(text)))
            .help("a name is letters, digits, `-`, `_` and `.`, and starts and ends with a letter or digit")
    })
}

/// Reads the key of a framework: a name, and extras in brackets.
pub(super) fn parse_framework_key(text: &str) -> Result<(PackageName, Vec<ExtraName>), Complaint> {
    weigh_requirement(text).map_err(|reason| too_complex(text, reason))?;
    let requirement =
        uv_pep508::Requirement::<Url>::from_str(text).map_err(|error| from_pep508(&error, text))?;
    if requirement.version_or_url.is_some() || !requirement.marker.is_true() {
        let complaint = Complaint::new(format!("{} is more than a name", quote(text)));
        return Err(complaint.help("write the version after the colon: `torch: \"2.6.0\"`"));
    }
    Ok((requirement.name, requirement.extras.into_vec()))
}

/// Reads the version of a framework: `2.6.0` is `==2.6.0`, `*` is any.
pub(super) fn parse_framework_version(text: &str) -> Result<VersionSpecifiers, Complaint> {
    let text = text.trim();
    if text == "*" {
        return Ok(VersionSpecifiers::empty());
    }
    check_specifiers(text).map_err(|reason| too_complex(text, reason))?;
    let exact = VersionPattern::from_str(text).ok();
    if let Some(exact) =
        exact.and_then(|it| VersionSpecifier::from_pattern(uv_pep440::Operator::Equal, it).ok())
    {
        return Ok(exact.into());
    }
    VersionSpecifiers::from_str(text).map_err(|_| {
        Complaint::new(format!("{} is not a version or a range of versions", quote(text)))
            .help("write \"2.6.0\" for exactly that, \">=2.5,<2.7\" for a range, \"*\" for any (PEP 440)")
    })
}

/// Reads a requirement that an index can answer.
pub(super) fn parse_requirement(text: &str) -> Result<uv_pep508::Requirement, Complaint> {
    weigh_requirement(text).map_err(|reason| too_complex(text, reason))?;
    // Parsed with plain URLs: the other kind would expand the environment's variables.
    let requirement = uv_pep508::Requirement::<Url>::from_str(text)
        .map_err(|error| not_from_an_index(text).unwrap_or_else(|| from_pep508(&error, text)))?;
    let version_or_url = match requirement.version_or_url {
        Some(VersionOrUrl::Url(_)) => return Err(direct_reference(text, &requirement.name)),
        Some(VersionOrUrl::VersionSpecifier(specifiers)) => Some(VersionOrUrl::VersionSpecifier(specifiers)),
        None if is_archive(text) => return Err(unindexed(text, "a file")),
        None => None,
    };
    Ok(uv_pep508::Requirement {
        name: requirement.name,
        extras: requirement.extras,
        version_or_url,
        marker: requirement.marker,
        origin: None,
    })
}

/// A complaint about a requirement that pip would take from somewhere other than an index.
fn not_from_an_index(text: &str) -> Option<Complaint> {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.trim_start());
    let what = match scheme {
        Some(scheme) if ["git+", "hg+", "svn+", "bzr+"].iter().any(|vcs| scheme.starts_with(vcs)) => {
            "a version control URL"
        }
        Some(scheme) if scheme.bytes().all(|byte| byte.is_ascii_alphabetic()) => "a URL",
        _ if text.trim_start().starts_with(['.', '/', '~']) || is_archive(text) => "a path",
        _ => return None,
    };
    Some(unindexed(text, what))
}

/// Returns whether `text` is the name of a distribution's file; PEP 508 takes it for a project's name.
fn is_archive(text: &str) -> bool {
    [".whl", ".tar.gz", ".zip"].iter().any(|suffix| text.trim_end().ends_with(suffix))
}

pub(super) fn too_complex(text: &str, reason: TooComplex) -> Complaint {
    Complaint::new(format!("{} is too complex: {reason}", quote(text)))
        .help("split it into several requirements, or leave out conditions that cannot hold")
}

fn direct_reference(text: &str, name: &PackageName) -> Complaint {
    let complaint = Complaint::new(format!("{} names a URL", quote(text)));
    complaint.help(format!("write the versions of `{name}` here, and name its wheel under `packages`"))
}

fn unindexed(text: &str, what: &str) -> Complaint {
    let complaint = Complaint::new(format!("{} is {what}, not a requirement", quote(text)));
    complaint.help("write the project's name and versions here, and name its wheel under `packages`")
}

fn from_pep508(error: &Pep508Error<Url>, text: &str) -> Complaint {
    let reason = match &error.message {
        Pep508ErrorSource::String(reason) | Pep508ErrorSource::UnsupportedRequirement(reason) => {
            reason.clone()
        }
        Pep508ErrorSource::UrlError(error) => error.to_string(),
    };
    let complaint = Complaint::new(format!("{} is not a requirement", quote(text)))
        .within(error.start..error.start.saturating_add(error.len.max(1)))
        .label(reason.lines().next().unwrap_or_default());
    if let Some(ours) = translation_of_requirement(text) {
        return complaint.help(ours);
    }
    if text.starts_with(['<', '>', '=', '!', '~']) {
        return complaint.help("quote a requirement that holds a comma: [\"numpy>=1.26,<3\"]");
    }
    complaint.help("write it as pip takes it: `numpy`, `transformers>=4.40`, `jax[cuda12]==0.5.3` (PEP 508)")
}
