//! The sizes of an image's layers, and of what is in each.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::observe::check_facts::CheckFacts;
use crate::oci::Digest;

/// The parts of a layer that are told apart; the others are one.
const MOST_PARTS: usize = 12;

/// The directories that distributions are installed into.
const PACKAGES: [&str; 2] = ["site-packages/", "dist-packages/"];

/// A layer by size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SizedLayer {
    /// The digest of its blob.
    pub digest: Digest,
    /// Its files, in bytes; of one with several names, one.
    pub bytes: u64,
    /// Those of them that layers above replace or hide.
    pub wasted: u64,
    /// The parts that the image shows, the largest first.
    pub parts: Vec<LayerPart>,
}

/// Files of a layer that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerPart {
    /// A package of Python, a library of CUDA, or a directory.
    pub name: String,
    /// In bytes.
    pub bytes: u64,
}

/// The sizes of layers, bottom first.
pub fn layer_sizes(digests: &[Digest], layers: Vec<CheckFacts>) -> Vec<SizedLayer> {
    let sums: Vec<u64> = layers.iter().map(own_bytes).collect();
    let mut parts = vec![BTreeMap::<String, u64>::new(); layers.len()];
    for (path, layer, bytes) in CheckFacts::shown(layers) {
        *parts[layer].entry(part_of(&path)).or_default() += bytes;
    }
    let size = |((digest, bytes), parts): ((&Digest, u64), BTreeMap<String, u64>)| SizedLayer {
        digest: *digest,
        bytes,
        wasted: bytes.saturating_sub(parts.values().sum()),
        parts: largest(parts),
    };
    digests.iter().zip(sums).zip(parts).map(size).collect()
}

fn own_bytes(layer: &CheckFacts) -> u64 {
    let files = layer.files().filter(|(_, file)| file.first().is_none());
    files.map(|(_, file)| file.size).sum()
}

fn largest(parts: BTreeMap<String, u64>) -> Vec<LayerPart> {
    let parts = parts.into_iter().filter(|(_, bytes)| *bytes > 0);
    let mut parts: Vec<LayerPart> = parts.map(|(name, bytes)| LayerPart { name, bytes }).collect();
    parts.sort_by_key(|part| Reverse(part.bytes));
    if parts.len() > MOST_PARTS {
        let rest = parts.split_off(MOST_PARTS - 1);
        let name = format!("{} more", rest.len());
        parts.push(LayerPart { name, bytes: rest.iter().map(|part| part.bytes).sum() });
    }
    parts
}

/// The part that a path belongs to: `torch`, `nvidia/cudnn`, `libcublas`, or two directories of its path.
fn part_of(path: &str) -> String {
    let package = PACKAGES.iter().find_map(|directory| path.split_once(directory));
    if let Some((_, path)) = package {
        let mut names = path.split('/');
        let first = names.next().unwrap_or_default();
        return match names.next() {
            Some(second) if first == "nvidia" => format!("{first}/{second}"),
            _ => project(first).to_owned(),
        };
    }
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    if directory.starts_with("usr/local/cuda") {
        return name.split('.').next().unwrap_or(name).to_owned();
    }
    let ends: Vec<&str> = directory.splitn(3, '/').take(2).collect();
    format!("/{}", ends.join("/"))
}

/// The name of a package: of `torch-2.6.0.dist-info` and `torch.libs` that of their distribution.
fn project(name: &str) -> &str {
    let told = name.strip_suffix(".dist-info").and_then(|name| name.split_once('-'));
    let told = told.map(|(project, _)| project);
    told.or_else(|| name.strip_suffix(".libs")).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Entry, EntryKind};

    fn layer(entries: &[(&str, u64)]) -> CheckFacts {
        let mut facts = CheckFacts::default();
        for (path, size) in entries {
            let (path, kind) = ((*path).to_owned(), EntryKind::File { size: *size });
            facts.note(&Entry { path, mode: 0o644, uid: 0, gid: 0, mtime: 0, kind });
        }
        facts
    }

    #[test]
    fn what_layers_above_replace_is_wasted() {
        let packages = "usr/lib/python3/dist-packages";
        let lower = layer(&[
            ("usr/bin/tool", 7),
            (&format!("{packages}/torch/a.so"), 100),
            (&format!("{packages}/torch-2.6.0.dist-info/RECORD"), 5),
            (&format!("{packages}/nvidia/cudnn/lib/a.so"), 50),
        ]);
        let upper = layer(&[
            (&format!("{packages}/torch/a.so"), 110),
            ("usr/bin/.wh.tool", 0),
            ("usr/local/cuda-12.4/lib/libcublas.so.12", 9),
        ]);
        let digests = [Digest::of("lower"), Digest::of("upper")];
        let told = |size: &SizedLayer| {
            let parts = size.parts.iter().map(|part| format!(" {} {}", part.name, part.bytes));
            format!("{} of which {}:{}", size.bytes, size.wasted, parts.collect::<String>())
        };
        let sizes: Vec<String> = layer_sizes(&digests, vec![lower, upper]).iter().map(told).collect();
        assert_eq!(
            sizes,
            ["162 of which 107: nvidia/cudnn 50 torch 5", "119 of which 0: torch 110 libcublas 9"]
        );
    }

    #[test]
    fn small_parts_are_one() {
        let names: Vec<String> = (1..=40).map(|number| format!("opt/{number}/file")).collect();
        let files: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 10)).collect();
        let sizes = layer_sizes(&[Digest::of("")], vec![layer(&files)]);
        let last = sizes[0].parts.last().unwrap();
        assert_eq!((sizes[0].parts.len(), last.name.as_str(), last.bytes), (12, "29 more", 290));
    }
}
