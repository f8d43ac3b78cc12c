//! The form of a layer's blob.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::oci::image::MediaType;
use crate::oci::paths::ancestors;
use crate::recipe;

/// The compression of a layer: the same tar has other bytes in another form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayerCompression {
    /// One gzip member, which any reader takes.
    Gzip,
    /// One zstd frame: smaller, and read faster, by engines that know it.
    Zstd {
        /// From 1 to 19.
        level: u8,
    },
    /// Many gzip members and a table of contents: a snapshotter fetches files when they are read.
    ///
    /// <https://github.com/containerd/stargz-snapshotter/blob/main/docs/estargz.md>
    Estargz {
        /// Paths in the image, without the leading slash: the files to fetch at once, or the directories that hold them.
        prefetch: Vec<String>,
    },
}

impl LayerCompression {
    /// The compression that a recipe's `layers` ask for.
    pub fn of(layers: &recipe::Layers) -> Self {
        match layers.compression {
            recipe::Compression::Gzip => Self::Gzip,
            recipe::Compression::Zstd { level } => Self::Zstd { level },
            recipe::Compression::Estargz => Self::Estargz {
                prefetch: layers.prefetch.iter().map(|path| path.relative().to_owned()).collect(),
            },
        }
    }

    /// The media type of a blob of this form.
    pub fn media_type(&self) -> MediaType {
        match self {
            Self::Gzip | Self::Estargz { .. } => MediaType::ImageLayerGzip,
            Self::Zstd { .. } => MediaType::ImageLayerZstd,
        }
    }

    /// Returns whether the file at `path` comes first in the layer, to be fetched at once.
    pub fn fetches_first(&self, path: &str) -> bool {
        let is_at = |named: &String| {
            path.strip_prefix(named.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        matches!(self, Self::Estargz { prefetch } if prefetch.iter().any(is_at))
    }

    /// The same entries: the files to fetch at once and the directories above them, then the rest.
    pub fn in_order<'a, T>(
        &self,
        entries: &'a BTreeMap<String, T>,
    ) -> impl Iterator<Item = (&'a str, &'a T)> {
        let fetched = || entries.keys().filter(|path| self.fetches_first(path));
        let above: BTreeSet<&str> = fetched().flat_map(|path| ancestors(path)).collect();
        let entries = entries.iter().map(|(path, entry)| (path.as_str(), entry));
        let is_first = |(path, _): &(&str, _)| above.contains(path) || self.fetches_first(path);
        let (first, rest): (Vec<_>, Vec<_>) = entries.partition(is_first);
        first.into_iter().chain(rest)
    }
}
