//! Python packaging words, one file per specification.
//!
//! <https://packaging.python.org/en/latest/specifications/>

pub mod entry_points;
pub mod install;
pub mod record;
pub mod scheme;
