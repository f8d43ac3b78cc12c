//! OCI words: architectures, digests, descriptors, manifests and the layer tar.
//!
//! <https://github.com/opencontainers/image-spec>

mod architecture;
mod blocks;
mod capabilities;
mod descriptor;
mod digest;
pub mod docker;
pub mod dockerignore;
mod entry;
pub mod image;
pub mod paths;
mod reference;
pub mod tar;
pub mod time;

pub use architecture::{Architecture, ArchitectureError};
pub use blocks::{BLOCK, BlockHasher};
pub use capabilities::FileCapabilities;
pub use descriptor::Descriptor;
pub use digest::{Digest, DigestError, Hasher};
pub use entry::{Entry, EntryKind, Generated};
pub use reference::{ImageReference, ReferenceError};
