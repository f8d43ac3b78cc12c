//! The base: what is known of the image that a build starts from.

mod account;
mod inventory;
mod python_start;
mod record;
pub mod scan;

use crate::elf::ld_so_conf::LdSoConfError;
use crate::elf::ldconfig::LibcVersionError;
use crate::failure::{Fault, Hinted};
use crate::oci::Architecture;

pub use account::Account;
pub use inventory::{
    BaseInventory, CudaCopy, CudaLibrary, InstalledDistribution, InstalledTexts, LoaderRoute, VersionSource,
};
pub use python_start::{BrokenName, PythonHome, PythonStart, UnfoundPackages};

/// The reason why a base cannot be built upon.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum InventoryError {
    #[error("the base has no Python")]
    NoPython,
    #[error("the base has Python {found}; the recipe asks for {asked}")]
    OtherPython { found: String, asked: String },
    #[error("the image has Python {found}, and no {asked}")]
    NoSuchPython { found: String, asked: String },
    #[error("the base has several Pythons: {}", found.join(", "))]
    SeveralPythons { found: Vec<String> },
    #[error("`{interpreter}` is for {found}, and the image says it is for {architecture}")]
    OtherMachine { interpreter: String, found: &'static str, architecture: Architecture },
    #[error("the base has no GNU C library")]
    NoLibc,
    #[error(
        "the base, {system}, has musl as its C library, for which there are no wheels of CUDA frameworks"
    )]
    Musl { system: String },
    #[error("the base is {system}, whose `ldconfig` imgforge does not know")]
    NotDebian { system: String },
    #[error("the version of the base's C library cannot be used")]
    LibcVersion(#[from] LibcVersionError),
    #[error("the configuration of the base's loader cannot be followed")]
    LoaderConfiguration(#[from] LdSoConfError),
    #[error("the recorded inventory of the base cannot be read")]
    Recorded(#[source] serde_json::Error),
}

/// The way to a Python that no base need have.
const OWN_PYTHON: &str = "give one to any base, `python: {from: ./cpython-…-install_only.tar.gz}`";

/// The suites whose `python3` is of this version, as their releases have it.
fn suite_with(minor: &str) -> String {
    let suites = match minor {
        "3.9" => "[bullseye]",
        "3.10" => "[jammy]",
        "3.11" => "[bookworm]",
        "3.12" => "[noble]",
        "3.13" => "[trixie]",
        _ => return String::new(),
    };
    format!(" or `base: {{suites: {suites}, packages: [python3]}}`")
}

/// `3.11` of `3.11.2`.
fn minor_of(version: &str) -> &str {
    version.match_indices('.').nth(1).map_or(version, |(end, _)| &version[..end])
}

impl InventoryError {
    /// The same about an image that is looked at, of which no recipe asks for anything.
    pub fn of_image(self) -> Self {
        match self {
            Self::OtherPython { found, asked } => Self::NoSuchPython { found, asked },
            error => error,
        }
    }
}

impl Hinted for InventoryError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoPython => {
                format!("choose a base with Python, add `python3` to the base's packages, or {OWN_PYTHON}")
            }
            Self::OtherPython { found, asked } => match found.split_once(" and ") {
                Some(_) => format!("write `python:` with one of {found}, or choose another base"),
                None => format!(
                    "write `python: \"{}\"`, choose a base that has {asked}, `base: python:{asked}-slim`{}, or {OWN_PYTHON}",
                    minor_of(found),
                    suite_with(minor_of(asked))
                ),
            },
            Self::NoSuchPython { found, .. } => match found.split_once(" and ") {
                Some(_) => format!("give `--python` one of {found}"),
                None => format!("give `--python {}`, or leave the option out", minor_of(found)),
            },
            Self::SeveralPythons { found } => {
                let first = found.first().map_or("3.11", String::as_str);
                format!(
                    "say which is meant: write `python: \"{first}\"` in the recipe, or give `--python {first}`"
                )
            }
            Self::OtherMachine { .. } => "choose an image whose config and files are for one machine".into(),
            Self::NoLibc => "add `libc6` and `libc-bin` to the base's packages".into(),
            Self::Musl { .. } | Self::NotDebian { .. } => "use a base image of Debian or Ubuntu".into(),
            Self::Recorded(_) => "record it again: `imgforge inspect IMAGE --record FILE`".into(),
            Self::LibcVersion(source) => return source.hint(),
            Self::LoaderConfiguration(source) => return source.hint(),
        })
    }

    fn fault(&self) -> Fault {
        Fault::Input
    }
}
