//! The values of `imgforge lock --upgrade`.

use std::collections::BTreeSet;

use clap::Args;
use uv_normalize::PackageName;

use crate::debian::relation::is_package_name;
use crate::pipeline::Upgrade;

/// The object of one `--upgrade`.
#[derive(Debug, Clone)]
enum Upgradable {
    Everything,
    Base,
    Package(String),
}

/// The part of a lock that is decided anew.
#[derive(Debug, Args)]
pub(super) struct UpgradeOption {
    /// Keep nothing, or everything but NAME: a distribution, a Debian package or `base`; may be given several times.
    #[arg(
        long,
        value_name = "NAME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = EVERYTHING,
        value_parser = upgradable
    )]
    upgrade: Vec<Upgradable>,
}

impl UpgradeOption {
    /// The union of all that is asked for.
    pub(super) fn asked(&self) -> Upgrade {
        asked(&self.upgrade)
    }
}

/// The value of `--upgrade` without a name: no distribution's name is this.
const EVERYTHING: &str = "*";

/// The value of `--upgrade` that means the base.
const BASE: &str = "base";

/// The object that a value of `--upgrade` names, or why it names none.
fn upgradable(text: &str) -> Result<Upgradable, String> {
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
fn asked(upgrades: &[Upgradable]) -> Upgrade {
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
