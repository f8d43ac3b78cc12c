//! Debian words: versions, control files, relations, releases, indexes, packages and dpkg's database.
//!
//! One file per format. Everything here reads or writes text and streams that are passed in; what to
//! do with them is decided in `bootstrap`.
//!
//! <https://www.debian.org/doc/debian-policy/> · <https://wiki.debian.org/DebianRepository/Format>

pub mod archive;
pub mod copyright;
pub mod deb822;
pub mod diversions;
pub mod dpkg;
pub mod filters;
pub mod keystore;
pub mod libraries;
pub mod packages;
pub mod relation;
pub mod release;
pub mod script;
pub mod shell;
pub mod signature;
pub mod sources;
pub mod status;
pub mod usrmerge;
pub mod version;
pub mod x509;
