//! Docker's media types of the documents and layers that OCI has its own for.
//!
//! <https://distribution.github.io/distribution/spec/manifest-v2-2/>

/// An index.
pub const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// A manifest.
pub const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// The start of the media types of manifests by schema 1, which have no config: there is nothing to verify a layer by.
pub const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+";
/// A config.
pub const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// A layer that is a plain tar.
pub const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// A layer by gzip.
pub const LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// A layer by zstd.
pub const LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
