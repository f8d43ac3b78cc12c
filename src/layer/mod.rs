//! Layers: transcoding wheels, packages and generated files into layer blobs.

pub mod debian;
mod facts;
pub mod files;
pub mod generated;
mod wheel;
pub mod wheels;
mod writer;

pub use facts::Facts;
pub use wheel::{WheelError, WheelFile};
pub use writer::{Expected, LayerWriter, WriteError, Written};
