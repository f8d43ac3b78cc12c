//! The bootstrap of a Debian base: the choice of packages, their layers, and the configuration that their maintainer
//! scripts would have done.
//!
//! Pure decisions: indexes, control files and file contents come in; package lists, an inventory and generated entries
//! go out. [`crate::net::debian`] fetches the indexes, [`crate::layer::debian`] reads the `.deb` files.
//!
//! ```text
//! Packages… ─ select ─► Selection ─┬─ inventory ──► BaseInventory
//!                                  └─ groups ─► a group per package
//! entries of each package ─ merge ─► entries ─┐
//! control files, contents ────────────────────┴─ configure ─► generated entries
//! ```

mod accounts;
mod apt;
mod certificates;
pub mod configure;
mod database;
mod files;
pub mod groups;
pub mod inventory;
pub mod merge;
mod pam;
pub mod scripts;
pub mod select;
pub mod tree;
