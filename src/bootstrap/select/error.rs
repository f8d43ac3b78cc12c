//! The reasons why no packages fit together, in the words that people read.

use crate::debian::relation::RelationError;
use crate::debian::version::DebianVersion;
use crate::failure::Hinted;

/// The reason why no selection fits.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum SelectError {
    #[error("there is no package `{name}`{chain}")]
    Unknown { chain: Chain, name: String, near: Vec<String> },
    #[error("no package meets `{dependency}`{chain}{}", list("; there is ", available))]
    Unmet { chain: Chain, dependency: String, available: Vec<String> },
    #[error("`{package}` {verb} `{other}`, and both are needed{package_chain}{other_chain}")]
    Conflict { package: String, verb: &'static str, other: String, package_chain: Chain, other_chain: Chain },
    #[error("the base's `{package}` needs `{dependency}`, which the base does not have")]
    Broken { package: String, dependency: String },
    #[error("the base's `{package}` {version} would have to be upgraded, and it is held{chain}")]
    Held { package: String, version: DebianVersion, chain: Chain },
    #[error("`{field}` of `{package}` cannot be read")]
    Relation { package: String, field: &'static str, source: RelationError },
}

/// The chain of dependencies, from the request to the package in question.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chain(pub Vec<String>);

impl std::fmt::Display for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0[..] {
            [] => Ok(()),
            links => write!(f, " ({})", links.join("; ")),
        }
    }
}

fn list(intro: &str, items: &[String]) -> String {
    match items {
        [] => String::new(),
        items => format!("{intro}{}", items.join(", ")),
    }
}

impl Hinted for SelectError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unknown { near, .. } if !near.is_empty() => {
                format!("did you mean {}?", near.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or "))
            }
            Self::Unknown { .. } | Self::Unmet { .. } => {
                "it may be in another component (contrib, non-free), or in another suite such as SUITE-updates or \
                 SUITE-security"
                    .into()
            }
            Self::Broken { .. } => "dpkg's database of the base lies, or the base was put together by force: mend it with `apt-get --fix-broken install` in a container of it".into(),
            Self::Held { .. } => "release it in the base with `apt-mark unhold`, or build on a newer base".into(),
            Self::Conflict { .. } => "leave one of them out of the package list".into(),
            Self::Relation { .. } => "the mirror's package index is damaged; try another mirror".into(),
        })
    }
}
