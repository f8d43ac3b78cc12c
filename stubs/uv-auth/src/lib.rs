//! Stands in for uv-auth (keyrings, D-Bus, cloud signers), which uv-distribution-types links and imgforge never calls.

use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthPolicy {
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {}

impl Credentials {
    pub fn from_env(_name: impl AsRef<str>) -> Option<Self> {
        unreachable!("a stub")
    }

    pub fn from_url<Url>(_url: &Url) -> Result<Option<Self>, CredentialsFromUrlError> {
        unreachable!("a stub")
    }
}

#[derive(Debug)]
pub enum CredentialsFromUrlError {}

impl fmt::Display for CredentialsFromUrlError {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl std::error::Error for CredentialsFromUrlError {}

pub struct Index<Url> {
    pub url: Url,
    pub root_url: Url,
    pub auth_policy: AuthPolicy,
}

pub enum Indexes {}

impl Indexes {
    pub fn from_indexes<Url>(_indexes: impl IntoIterator<Item = Index<Url>>) -> Self {
        unreachable!("a stub")
    }
}

#[derive(PartialEq)]
pub struct RealmRef<'a>(PhantomData<&'a str>);

impl<'a, Url> From<&'a Url> for RealmRef<'a> {
    fn from(_url: &'a Url) -> Self {
        unreachable!("a stub")
    }
}
