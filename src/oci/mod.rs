//! OCI words: digests, descriptors, manifests and the layer tar.
//!
//! <https://github.com/opencontainers/image-spec>

mod blocks;
mod digest;
mod entry;
pub mod image;
pub mod paths;
pub mod tar;
pub mod time;

pub use blocks::{BLOCK, BlockHasher};
pub use digest::{Digest, DigestError, Hasher};
pub use entry::{Entry, EntryKind, Generated};
