//! One layer to write, as data.

use serde::{Deserialize, Serialize};

use super::{LayerCompression, WheelLayer};
use crate::bootstrap::groups::DebianLayer;
use crate::bootstrap::users::NewAccount;
use crate::debian::version::DebianVersion;
use crate::oci::image::MediaType;
use crate::oci::{Architecture, Descriptor, Digest, Entry, Generated};

/// The version of the layers' bytes: raised when an equal plan shall give other bytes. Part of every [key](LayerPlan::key).
pub const FORMAT: u32 = 10;

/// A layer of an image: all that decides its bytes.
///
/// A new kind of layer is a new variant here, a writer in [`crate::layer`], and an arm in `pipeline::write`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum LayerPlan {
    /// A layer of the image that the recipe builds on, taken over as it is.
    Base(BaseLayer),
    /// A layer of a base made of Debian packages.
    Debian(DebianLayer),
    /// A Python in place of the base's.
    Python(PythonLayer),
    /// Users, made of the base's files.
    Accounts(AccountsLayer),
    /// Whiteouts: what the base has and the image hides.
    Hidden(GeneratedLayer),
    /// Installed wheels.
    Wheels(WheelLayer),
    /// The recipe's own files.
    Files(FilesLayer),
    /// The files that make the parts one system: always the top layer.
    System(SystemLayer),
}

/// A layer of an image that others made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseLayer {
    /// With a media type of OCI, whatever the source's is.
    pub descriptor: Descriptor,
    /// <https://github.com/opencontainers/image-spec/blob/main/config.md>
    pub diff_id: Digest,
}

/// A relocatable CPython, laid out below [`PythonLayer::PREFIX`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PythonLayer {
    /// The digest of its archive.
    pub archive: Digest,
    /// The compression of the layer.
    pub compression: LayerCompression,
}

impl PythonLayer {
    /// The directory of its `bin` and `lib`, relative to the root: the first that `PATH` names.
    pub const PREFIX: &'static str = "usr/local";
}

/// The users that are made, by changes to the accounts of the layers below.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountsLayer {
    /// In the order in which they are made.
    pub users: Vec<NewAccount>,
    /// The time of everything generated, in Unix seconds.
    pub mtime: u64,
    /// The keys of the base's layers, bottom first, as one digest.
    pub below: Digest,
    /// The compression of the layer.
    pub compression: LayerCompression,
}

/// Files whose contents are part of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeneratedLayer {
    /// Sorted by path, each once.
    pub files: Vec<Generated>,
    /// The compression of the layer.
    pub compression: LayerCompression,
}

/// Files that the recipe's `files` name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesLayer {
    /// Sorted by path, each once.
    pub files: Vec<CopiedFile>,
    /// The compression of the layer.
    pub compression: LayerCompression,
}

/// An entry of a [`FilesLayer`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiedFile {
    /// The entry.
    pub entry: Entry,
    /// The digest of a regular file's content; `None` for anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Digest>,
}

/// The name `python` for an interpreter that has another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PythonName {
    /// The directories of `PATH`, relative to the root.
    pub searched: Vec<String>,
    /// The interpreter's absolute path.
    pub interpreter: String,
}

/// The top layer. Its `/etc/ld.so.cache`, where the base's configuration lacks the line its `/etc/ld.so.conf`, and where
/// nothing is called so the name `python`, are made when all other layers are there: nothing else of an image is decided by finished layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemLayer {
    /// Sorted by path, each once.
    pub files: Vec<Generated>,
    /// The name `python`, which is added where nothing of the finished layers has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unversioned_python: Option<PythonName>,
    /// The absolute directory that the loader must search, where the image has a CUDA of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub searched: Option<String>,
    /// The `ldconfig` whose cache the image gets.
    pub ldconfig: LdconfigPlan,
    /// The modification time of what is made, in Unix seconds.
    pub mtime: u64,
    /// The keys of the layers below, bottom first, as one digest: the cache lists what they hold.
    pub below: Digest,
    /// The compression of the layer.
    pub compression: LayerCompression,
}

/// The `ldconfig` whose cache the image gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LdconfigPlan {
    /// The architecture whose libraries it enters.
    pub architecture: Architecture,
    /// `Debian` or `Ubuntu`: who adapted it.
    pub vendor: String,
    /// The version of its package, `libc-bin`.
    pub libc_bin: DebianVersion,
}

impl LayerPlan {
    /// The name of the layer in a store, in a registry's cache and in a lock: equal keys stand for equal bytes.
    ///
    /// It is the SHA-256 of `[FORMAT,LAYER]` in compact JSON: fields in the order of their declaration, maps sorted, no
    /// floating-point numbers, absent fields left out.
    pub fn key(&self) -> Digest {
        let canonical = serde_json::to_vec(&(FORMAT, self));
        Digest::of(canonical.expect("a layer's plan has string keys and no value that JSON lacks"))
    }

    /// The media type of its blob.
    pub fn media_type(&self) -> MediaType {
        match self {
            Self::Base(layer) => layer.descriptor.media_type().clone(),
            Self::Debian(_) => LayerCompression::Gzip.media_type(),
            Self::Python(layer) => layer.compression.media_type(),
            Self::Accounts(layer) => layer.compression.media_type(),
            Self::Hidden(layer) => layer.compression.media_type(),
            Self::Wheels(layer) => layer.compression.media_type(),
            Self::Files(layer) => layer.compression.media_type(),
            Self::System(layer) => layer.compression.media_type(),
        }
    }

    /// Returns whether it is part of what the recipe's own layers are above.
    pub fn is_of_base(&self) -> bool {
        matches!(self, Self::Base(_) | Self::Debian(_) | Self::Python(_))
    }

    /// A line about its content, for people.
    pub fn title(&self) -> String {
        match self {
            Self::Base(_) => "the base".to_owned(),
            Self::Debian(layer) => layer.title(),
            Self::Python(_) => "Python".to_owned(),
            Self::Accounts(_) => "accounts".to_owned(),
            Self::Hidden(_) => "what is hidden of the base".to_owned(),
            Self::Wheels(layer) => layer.title(),
            Self::Files(_) => "files of the recipe".to_owned(),
            Self::System(_) => "system files".to_owned(),
        }
    }
}

/// The keys of `layers`, bottom first, as one digest.
pub fn stack_key(layers: &[LayerPlan]) -> Digest {
    let keys: Vec<String> = layers.iter().map(|layer| layer.key().to_string()).collect();
    Digest::of(keys.join("\n"))
}
