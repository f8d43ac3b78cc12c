//! The work of a base's maintainer scripts, done natively.
//!
//! Each step looks for the package or the file it is about, and does nothing without it, so that a
//! small base, another suite and Ubuntu need no case of their own.

use super::tree::{ConfigureError, ConfigureInput, Tree};
use super::{accounts, alternatives, apt, certificates, database, files, pam};
use crate::oci::Generated;

/// Returns whether [`configure`] needs the content of the file at `path`.
pub fn is_wanted(path: &str) -> bool {
    const DIRECTORIES: [&str; 9] = [
        "usr/share/base-files/",
        "usr/share/base-passwd/",
        "usr/share/ca-certificates/",
        "usr/share/debianutils/",
        "usr/share/libc-bin/",
        "usr/share/pam/",
        "usr/share/pam-configs/",
        "usr/share/readline/",
        "etc/shells",
    ];
    DIRECTORIES.iter().any(|directory| path.starts_with(directory))
}

/// Everything the maintainer scripts would have made, sorted by path, to be written above the packages.
pub fn configure(input: &ConfigureInput<'_>) -> Result<Vec<Generated>, ConfigureError> {
    let mut tree = Tree::new(input);
    merge_usr(&mut tree, input);
    accounts::write(&mut tree, input.mtime);
    files::write(&mut tree);
    alternatives::write(&mut tree, input.packages);
    pam::write(&mut tree);
    certificates::write(&mut tree);
    apt::write(&mut tree, input.sources, input.archive);
    database::write(&mut tree, input.packages)?;
    Ok(tree.into_generated())
}

/// The links of a merged `/usr` that stand in for directories some package uses and none ships as links.
fn merge_usr(tree: &mut Tree<'_>, input: &ConfigureInput<'_>) {
    for path in input.packages.iter().flat_map(|package| &package.paths) {
        let top = path.split('/').next().unwrap_or_default();
        match input.layout.link(top) {
            Some(target) if !input.entries.contains_key(top) => tree.symlink(top, &target),
            _ => {}
        }
    }
}
