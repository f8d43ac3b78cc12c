//! Layers: transcoding wheels, packages and generated files into layer blobs.

mod writer;

pub use writer::{Expected, LayerWriter, WriteError, Written};
