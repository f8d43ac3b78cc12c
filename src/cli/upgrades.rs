//! The values of `imgforge lock --upgrade`.

use std::collections::BTreeSet;

use uv_normalize::PackageName;

use crate::debian::relation::is_package_name;
use crate::pipeline::Upgrade;

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

/// The object that a value of `--upgrade` names, or why it names none.
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
