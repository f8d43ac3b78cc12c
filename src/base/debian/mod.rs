//! What a Debian base is made of: which packages, in which layers, and what their scripts would have done.
//!
//! Pure decisions: indexes, control files and file contents come in; package lists and generated
//! entries go out.
//!
//! ```text
//! Packages… ─ select ─► Selection ─┬─ facts ──► BaseFacts
//!                                  └─ layers ─► a group per package
//! control files, entries, contents ─ configure ─► generated entries
//! ```

mod accounts;
mod alternatives;
mod apt;
mod certificates;
pub mod configure;
mod database;
pub mod facts;
mod files;
pub mod layers;
mod pam;
pub mod select;
mod tree;
