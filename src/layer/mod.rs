//! Layers: transcoding wheels, packages and generated files into layer blobs; reading those that others made.

pub mod accounts;
pub mod bytecode;
pub mod cache;
pub mod debian;
pub mod files;
pub mod generated;
pub mod packages;
pub mod plain_tar;
pub mod python;
pub mod read;
pub mod records;
pub mod system_files;
mod wheel;
pub mod wheels;
mod writer;

pub use wheel::{RefusedWheel, WheelFile};
pub use writer::{Expected, LayerWriter, WriteError, Written};
