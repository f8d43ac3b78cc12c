//! Layers: transcoding wheels, packages and generated files into layer blobs.

pub mod debian;
pub mod files;
pub mod generated;
mod wheel;
pub mod wheels;
mod writer;

pub use wheel::{WheelError, WheelFile};
pub use writer::{Expected, LayerWriter, WriteError, Written};
