//! A file system as layers make it: what a layer notes at each path, what it takes from those below, and how one is put
//! on top of another.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use crate::oci::paths::WHITEOUT;
use crate::oci::{Entry, EntryKind};

/// The file that hides all that lower layers have in its directory.
///
/// <https://github.com/opencontainers/image-spec/blob/main/layer.md#opaque-whiteout>
const OPAQUE: &str = ".wh..wh..opq";

/// The most symlinks in one path: Linux's `MAXSYMLINKS`.
const MAX_LINKS: usize = 40;

/// A node at one path of a layer.
pub trait LayerNode {
    /// Returns whether it is a directory.
    fn is_directory(&self) -> bool;

    /// The target of a symlink, as written.
    fn link(&self) -> Option<&str>;
}

/// The file system of a layer, or of a stack of layers, by path.
///
/// Paths are relative to the root. Directories are there when the layer says so or something is in them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layered<N> {
    nodes: BTreeMap<Box<str>, N>,
    /// The paths that the layer removes from those below, with everything under them.
    removed: BTreeSet<String>,
    /// The directories of which the layer hides what those below have in them.
    opaque: BTreeSet<String>,
}

impl<N> Default for Layered<N> {
    fn default() -> Self {
        Self { nodes: BTreeMap::new(), removed: BTreeSet::new(), opaque: BTreeSet::new() }
    }
}

/// Returns whether an entry stands for what is gone, and is no file itself.
///
/// <https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts>
pub fn is_whiteout(entry: &Entry) -> bool {
    let name = entry.path.rsplit_once('/').map_or(entry.path.as_str(), |(_, name)| name);
    matches!(entry.kind, EntryKind::File { .. } | EntryKind::Whiteout) && name.starts_with(WHITEOUT)
}

impl<N: LayerNode> Layered<N> {
    /// Notes a whiteout; gives whether `entry` is one.
    pub fn note_whiteout(&mut self, entry: &Entry) -> bool {
        let (directory, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
        let is_whiteout = is_whiteout(entry);
        if is_whiteout && name == OPAQUE {
            self.opaque.insert(directory.to_owned());
        } else if is_whiteout {
            self.removed.insert(join(directory, &name[WHITEOUT.len()..]));
        }
        is_whiteout
    }

    /// Puts a node at a path.
    pub fn insert(&mut self, path: impl Into<String>, node: N) {
        self.nodes.insert(path.into().into_boxed_str(), node);
    }

    /// The node at a path, without following links.
    pub fn get(&self, path: &str) -> Option<&N> {
        self.nodes.get(path)
    }

    /// Puts the layer that `above` describes on top.
    ///
    /// As runtimes unpack it: whatever is no directory replaces all that was at its path, a directory what is none, and the
    /// mode of one; and a path whose parent is a symlink of a lower layer leads where the symlink does.
    pub fn stack(&mut self, above: Self) {
        above.opaque.iter().for_each(|directory| self.cut_below(directory));
        above.removed.iter().for_each(|path| self.cut(path));
        let mut parent: Option<(String, String)> = None;
        for (path, node) in above.nodes {
            let (directory, name) = path.rsplit_once('/').unwrap_or(("", &path));
            if parent.as_ref().is_none_or(|(written, _)| written != directory) {
                let real = self.resolve(directory).unwrap_or_else(|| directory.to_owned());
                parent = Some((directory.to_owned(), real));
            }
            let path = join(parent.as_ref().map_or(directory, |(_, real)| real), name);
            if !node.is_directory() {
                self.cut_below(&path);
                self.insert(path, node);
            } else {
                self.insert(path, node);
            }
        }
    }

    fn cut(&mut self, path: &str) {
        self.nodes.remove(path);
        self.cut_below(path);
    }

    fn cut_below(&mut self, directory: &str) {
        let below: Vec<String> = self.below(directory).map(|(path, _)| path.to_owned()).collect();
        for path in below {
            self.nodes.remove(&*path);
        }
    }

    /// The same layer with other nodes: what it hides stays hidden.
    pub fn map<M: LayerNode>(self, other: impl Fn(N) -> M) -> Layered<M> {
        let Self { nodes, removed, opaque } = self;
        Layered {
            nodes: nodes.into_iter().map(|(path, node)| (path, other(node))).collect(),
            removed,
            opaque,
        }
    }

    /// Keeps of every node what `less` leaves of it.
    pub fn reduce(&mut self, less: impl Fn(&str, N) -> Option<N>) {
        let nodes = std::mem::take(&mut self.nodes).into_iter();
        let nodes = nodes.filter_map(|(path, node)| {
            let node = less(&path, node)?;
            Some((path, node))
        });
        self.nodes = nodes.collect();
    }

    /// Everything noted, sorted by path.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &N)> {
        self.nodes.iter().map(|(path, node)| (&**path, node))
    }

    /// Every path with its node, to be changed.
    pub fn nodes_mut(&mut self) -> impl Iterator<Item = (&str, &mut N)> {
        self.nodes.iter_mut().map(|(path, node)| (&**path, node))
    }

    /// Everything noted under a directory without symlinks in its path, sorted.
    pub fn below<'a>(&'a self, directory: &str) -> impl Iterator<Item = (&'a str, &'a N)> + use<'a, N> {
        let inside = join(directory, "");
        let range = self.nodes.range::<str, _>((Bound::Included(inside.as_str()), Bound::Unbounded));
        range.take_while(move |(path, _)| path.starts_with(&inside)).map(|(path, node)| (&**path, node))
    }

    /// The names right within a directory without symlinks in its path, in no order, some of them twice.
    pub fn names_in<'a>(&'a self, directory: &str) -> impl Iterator<Item = &'a str> + use<'a, N> {
        let inside = join(directory, "");
        let mut after = Bound::Included(inside.clone());
        std::iter::from_fn(move || {
            let bounds = (after.as_ref().map(String::as_str), Bound::Unbounded);
            let (path, _) = self.nodes.range::<str, _>(bounds).next()?;
            let below = path.strip_prefix(&*inside)?;
            let (name, is_deeper) = below.split_once('/').map_or((below, false), |(name, _)| (name, true));
            // Of what is in a directory, its first path says enough; `0` is next to `/`.
            after = match is_deeper {
                true => Bound::Included(format!("{inside}{name}0")),
                false => Bound::Excluded(path.to_string()),
            };
            Some(name)
        })
    }

    /// Everything noted whose path begins with `start`, sorted.
    pub fn starting_with<'a>(&'a self, start: &str) -> impl Iterator<Item = (&'a str, &'a N)> + use<'a, N> {
        let start = start.to_owned();
        let range = self.nodes.range::<str, _>((Bound::Included(start.as_str()), Bound::Unbounded));
        range.take_while(move |(path, _)| path.starts_with(&start)).map(|(path, node)| (&**path, node))
    }

    /// Returns whether a directory is at `path`, without following links.
    pub fn is_directory(&self, path: &str) -> bool {
        self.nodes.get(path).is_some_and(N::is_directory) || self.below(path).next().is_some()
    }

    /// The path with every symlink followed, without a leading slash; `None` for a loop.
    pub fn resolve(&self, path: &str) -> Option<String> {
        let mut links = 0;
        let mut todo: Vec<&str> = components(path).rev().collect();
        let mut done = String::with_capacity(path.len());
        while let Some(part) = todo.pop() {
            let above = done.len();
            if part == ".." {
                done.truncate(done.rfind('/').unwrap_or_default());
                continue;
            }
            if !done.is_empty() {
                done.push('/');
            }
            done.push_str(part);
            if let Some(target) = self.nodes.get(&*done).and_then(N::link) {
                links += 1;
                if links > MAX_LINKS {
                    return None;
                }
                done.truncate(if target.starts_with('/') { 0 } else { above });
                todo.extend(components(target).rev());
            }
        }
        Some(done)
    }
}

/// The path of `name` in a directory that may be the root.
pub(crate) fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

fn components(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Nothing;

    impl LayerNode for Nothing {
        fn is_directory(&self) -> bool {
            false
        }

        fn link(&self) -> Option<&str> {
            None
        }
    }

    #[test]
    fn the_names_in_a_directory_are_those_right_within() {
        let mut layer = Layered::default();
        for path in ["a", "a.py", "b/c", "b/c-d/e", "b/c.py", "b/c/f", "b/c/g/h", "b/c0", "b-i", "b0/j"] {
            layer.insert(path, Nothing);
        }
        for (directory, expected) in [
            ("", &["a", "a.py", "b", "b-i", "b0"][..]),
            ("b", &["c", "c-d", "c.py", "c0"]),
            ("b/c", &["f", "g"]),
            ("b/c/f", &[]),
            ("nowhere", &[]),
        ] {
            let names: BTreeSet<&str> = layer.names_in(directory).collect();
            assert_eq!(names.into_iter().collect::<Vec<_>>(), expected, "in {directory}");
        }
    }
}
