//! Debian packages as layers: the choice of packages, their layers, and the configuration that their maintainer scripts would
//! have done. They make a base of their own, or are added to one that is an image.
//!
//! Pure decisions: indexes, control files and file contents come in; package lists, an inventory and generated entries
//! go out. [`crate::net::debian`] fetches the indexes, [`crate::layer::debian`] reads the `.deb` files.
//!
//! ```text
//! Packages… ─ select ─► Selection ─┬─ inventory ──► BaseInventory
//!                                  └─ groups ─► a group per package
//! entries of each package ─ merge ─► entries ─ over the system below ─► entries ─┐
//! control files, contents ───────────────────────────────────────────────────────┴─ configure ─► generated entries
//! ```

mod accounts;
mod apt;
mod certificates;
pub mod configure;
pub mod contents;
mod database;
mod files;
pub mod ground;
pub mod groups;
pub mod image_archives;
pub mod inventory;
pub mod merge;
pub mod over;
mod overrides;
mod pam;
pub mod scripts;
pub mod select;
pub mod tree;
mod triggers;
pub mod users;
