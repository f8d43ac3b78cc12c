//! The work of a base's maintainer scripts, done natively.
//!
//! Each step looks for the package or the file it is about, and does nothing without it, so that a
//! small base, another suite and Ubuntu need no case of their own.

use super::scripts::{self, unfollowed::Unfollowed};
use super::tree::{ConfigureError, ConfigureInput, ShippedChanges, Tree};
use super::{accounts, apt, certificates, database, files, overrides, pam, triggers};
use crate::oci::Generated;

/// Everything that configuring the packages makes of them and of the system below.
#[derive(Debug)]
pub struct ConfiguredPackages {
    /// New files, sorted by path, to be written above the packages.
    pub generated: Vec<Generated>,
    /// Other owners and permissions of the packages' own files.
    pub changes: ShippedChanges,
    /// The commands of maintainer scripts whose effect the base lacks.
    pub unfollowed: Vec<Unfollowed>,
}

/// Does what the maintainer scripts would have done.
pub fn configure(input: &ConfigureInput<'_>) -> Result<ConfiguredPackages, ConfigureError> {
    let mut tree = Tree::new(input);
    merge_usr(&mut tree, input);
    overrides::apply(&mut tree);
    accounts::write(&mut tree);
    let unfollowed = scripts::follow(&mut tree);
    let unfollowed = unfollowed.into_iter().chain(triggers::follow(&mut tree)).collect();
    files::write(&mut tree);
    pam::write(&mut tree);
    certificates::write(&mut tree);
    apt::write(&mut tree, input.sources, input.archive);
    database::write(&mut tree)?;
    let (generated, changes) = tree.finish()?;
    Ok(ConfiguredPackages { generated, changes, unfollowed })
}

/// The links of a merged `/usr` that stand in for directories some package uses and none ships as links.
fn merge_usr(tree: &mut Tree<'_>, input: &ConfigureInput<'_>) {
    for path in input.packages.iter().flat_map(|package| &package.paths) {
        let top = path.split('/').next().unwrap_or_default();
        match input.ground.layout.link(top) {
            Some(target) if !input.entries.contains_key(top) && !input.ground.entries.contains_key(top) => {
                tree.symlink(top, &target)
            }
            _ => {}
        }
    }
}
