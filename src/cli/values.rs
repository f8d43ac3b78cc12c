//! The values of arguments, and the reasons why a text is none.

use std::collections::BTreeSet;
use std::path::Path;

use uv_normalize::PackageName;

use crate::debian::relation::is_package_name;
use crate::failure::Hinted;
use crate::oci::Architecture;
use crate::pipeline::{Side, Upgrade};
use crate::place::{ImagePlace, PlaceError};

/// The place of an image on the command line, or why the text is none.
pub(super) fn place(text: &str) -> Result<ImagePlace, String> {
    let place: Result<ImagePlace, PlaceError> = text.parse();
    match place {
        Ok(place) if !place.is_bare(text) => Ok(place),
        _ if Path::new(text).is_dir() => {
            Err(format!("`{text}` is a directory: write oci:{text}, if it is an OCI layout"))
        }
        _ if Path::new(text).exists() => Err(format!(
            "`{text}` is a file: write oci-archive:{text} or docker-archive:{text}, as it was saved"
        )),
        place => place.map_err(|error| no_place(&error)),
    }
}

/// A destination on the command line, or why the text is none.
pub(super) fn destination(text: &str) -> Result<ImagePlace, String> {
    ImagePlace::destination(text).map_err(|error| no_place(&error))
}

/// An annotation on the command line, or why the text is none.
pub(super) fn annotation(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

/// An architecture on the command line: `linux/arm64`, as docker names platforms.
pub(super) fn platform(text: &str) -> Result<Architecture, String> {
    let found = Architecture::of_platform(text).or_else(|| text.parse().ok());
    found.ok_or_else(|| "write linux/amd64 or linux/arm64".to_owned())
}

/// The object of one `--upgrade`.
#[derive(Debug, Clone)]
pub(super) enum Upgradable {
    Everything,
    Base,
    Package(String),
}

/// The value of `--upgrade` without a name: no distribution's name is this.
pub(super) const EVERYTHING: &str = "*";

/// The value of `--upgrade` that means the base.
const BASE: &str = "base";

pub(super) fn upgradable(text: &str) -> Result<Upgradable, String> {
    match text {
        EVERYTHING => Ok(Upgradable::Everything),
        BASE => Ok(Upgradable::Base),
        name if name.parse::<PackageName>().is_ok() || is_package_name(name) => {
            Ok(Upgradable::Package(name.to_owned()))
        }
        _ => Err("it is neither the name of a distribution nor of a Debian package".to_owned()),
    }
}

/// The union of all `--upgrade`s.
pub(super) fn asked(upgrades: &[Upgradable]) -> Upgrade {
    let (mut names, mut base) = (BTreeSet::new(), false);
    for upgrade in upgrades {
        match upgrade {
            Upgradable::Everything => return Upgrade::Everything,
            Upgradable::Base => base = true,
            Upgradable::Package(name) => drop(names.insert(name.clone())),
        }
    }
    Upgrade::Only { names, base }
}

/// A side of a comparison, or why the text is none.
pub(super) fn side(text: &str) -> Result<Side, String> {
    Side::of(text).map_err(|error| no_place(&error))
}

fn no_place(error: &PlaceError) -> String {
    let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
    format!("{error}{hint}")
}
