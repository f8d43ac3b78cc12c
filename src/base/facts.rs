//! What later stages want to know of a layer, learned while the layer is written or read.

use std::collections::BTreeMap;
use std::io::{self, Read};

use serde::{Deserialize, Serialize};

use crate::elf::ldconfig::is_library_name;
use crate::elf::{self, Elf, Listing, Node, Outcome, Probe, Root};
use crate::oci::{Entry, EntryKind, Generated};

/// The prefix of a file that removes another of a lower layer.
///
/// <https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts>
const WHITEOUT: &str = ".wh.";

/// The part of a layer's, or of a whole image's, file system that decides what the loader finds.
///
/// Paths are relative to the root. Directories are there when something is in them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    nodes: BTreeMap<String, Fact>,
    /// The loader's configuration files.
    texts: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Fact {
    Symlink(String),
    Hardlink(String),
    /// A library, with what its headers say; `None` for what is named like one and is not.
    File(Option<Box<Elf>>),
    Removed,
}

/// How much of a file's content is needed for its [`Facts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    None,
    /// The headers of an ELF file.
    Library,
    /// All of it: it configures the loader.
    Text,
}

impl Interest {
    pub fn of(path: &str) -> Self {
        let name = path.rsplit('/').next().unwrap_or(path);
        if path == "etc/ld.so.conf" || path.starts_with("etc/ld.so.conf.d/") {
            Self::Text
        } else if is_searched(path) && is_library_name(name) {
            Self::Library
        } else {
            Self::None
        }
    }
}

/// Whether a loader might be configured to search here. Packages' own directories are found by other means.
fn is_searched(path: &str) -> bool {
    let private = ["/site-packages/", "/dist-packages/"].iter().any(|part| path.contains(part));
    let data = ["usr/share/", "var/", "usr/include/"].iter().any(|start| path.starts_with(start));
    !private && !data
}

impl Facts {
    /// The facts of generated files; libraries are not among them.
    pub fn of(files: &[Generated]) -> Self {
        let mut facts = Self::default();
        for file in files {
            facts.note(&file.entry);
            if Interest::of(&file.entry.path) == Interest::Text {
                facts.note_text(&file.entry.path, &file.bytes);
            }
        }
        facts
    }

    /// Notes an entry that has no content.
    pub fn note(&mut self, entry: &Entry) {
        let name = entry.path.rsplit('/').next().unwrap_or(&entry.path);
        match &entry.kind {
            EntryKind::Symlink { target } if is_searched(&entry.path) => {
                self.nodes.insert(entry.path.clone(), Fact::Symlink(target.clone()));
            }
            EntryKind::Hardlink { target } if Interest::of(&entry.path) == Interest::Library => {
                self.nodes.insert(entry.path.clone(), Fact::Hardlink(target.clone()));
            }
            EntryKind::File { .. } if name.starts_with(WHITEOUT) => {
                let removed = entry.path.replacen(WHITEOUT, "", 1);
                self.nodes.insert(removed, Fact::Removed);
            }
            _ => {}
        }
    }

    pub fn note_library(&mut self, path: &str, elf: Option<Elf>) {
        self.nodes.insert(path.to_owned(), Fact::File(elf.map(Box::new)));
    }

    pub fn note_text(&mut self, path: &str, text: &[u8]) {
        self.texts.insert(path.to_owned(), String::from_utf8_lossy(text).into_owned());
    }

    /// Puts the layer that `above` describes on top.
    pub fn stack(&mut self, above: Self) {
        for (path, fact) in above.nodes {
            match fact {
                Fact::Removed => {
                    self.nodes.remove(&path);
                    self.texts.remove(&path);
                }
                fact => drop(self.nodes.insert(path, fact)),
            }
        }
        self.texts.extend(above.texts);
    }

    /// The path with every symlink followed, without a leading slash; `None` for a loop.
    fn resolve(&self, path: &str) -> Option<String> {
        const MAX_LINKS: usize = 40;
        let mut links = 0;
        let mut todo: Vec<String> = components(path).rev().collect();
        let mut done: Vec<String> = Vec::new();
        while let Some(part) = todo.pop() {
            if part == ".." {
                done.pop();
                continue;
            }
            done.push(part);
            let here = done.join("/");
            match self.nodes.get(&here) {
                Some(Fact::Symlink(target)) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return None;
                    }
                    match target.starts_with('/') {
                        true => done.clear(),
                        false => drop(done.pop()),
                    }
                    todo.extend(components(target).rev());
                }
                Some(Fact::Hardlink(target)) => done = components(target).collect(),
                _ => {}
            }
        }
        Some(done.join("/"))
    }

    fn node(&self, path: &str) -> Node {
        let Some(resolved) = self.resolve(path) else { return Node::Dangling };
        match self.nodes.get(&resolved) {
            Some(Fact::File(elf)) => Node::File { identity: resolved, elf: elf.as_deref().cloned() },
            _ if self.is_directory(&resolved) => Node::Directory { identity: resolved },
            _ => Node::Dangling,
        }
    }

    fn is_directory(&self, path: &str) -> bool {
        let inside = format!("{path}/");
        self.nodes.range(inside.clone()..).next().is_some_and(|(next, _)| next.starts_with(&inside))
    }
}

fn components(path: &str) -> impl DoubleEndedIterator<Item = String> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned)
}

impl Root for Facts {
    fn directory(&self, path: &str) -> Option<Listing> {
        let identity = self.resolve(path)?;
        let inside = if identity.is_empty() { String::new() } else { format!("{identity}/") };
        let mut entries: BTreeMap<&str, bool> = BTreeMap::new();
        let below = self.nodes.range(inside.clone()..).take_while(|(path, _)| path.starts_with(&inside));
        for (path, fact) in below {
            match path[inside.len()..].split_once('/') {
                Some((directory, _)) => drop(entries.entry(directory).or_insert(false)),
                None => drop(entries.insert(&path[inside.len()..], matches!(fact, Fact::Symlink(_)))),
            }
        }
        for (path, _) in self.texts.range(inside.clone()..).take_while(|(path, _)| path.starts_with(&inside))
        {
            let name = path[inside.len()..].split('/').next().unwrap_or_default();
            entries.entry(name).or_insert(false);
        }
        let entry = |(name, symlink): (&str, bool)| elf::Entry {
            name: name.to_owned(),
            symlink,
            node: match self.texts.contains_key(&format!("{inside}{name}")) {
                true => Node::File { identity: format!("{inside}{name}"), elf: None },
                false => self.node(&format!("{inside}{name}")),
            },
        };
        (!entries.is_empty()).then(|| Listing { identity, entries: entries.into_iter().map(entry).collect() })
    }

    fn text(&self, path: &str) -> Option<Vec<u8>> {
        let resolved = self.resolve(path)?;
        self.texts.get(&resolved).map(|text| text.clone().into_bytes())
    }
}

/// Learns a file's [`Facts`] as its content passes.
#[derive(Debug)]
pub enum Watcher {
    Indifferent,
    Library { path: String, probe: Probe },
    Text { path: String, text: Vec<u8> },
}

/// The loader's configuration is never larger, in bytes; what is, is not read by imgforge as configuration.
const MAX_CONFIGURATION: u64 = 1 << 20;

impl Watcher {
    pub fn new(path: &str, size: u64) -> Self {
        match Interest::of(path) {
            Interest::Library => Self::Library { path: path.to_owned(), probe: Probe::new(size) },
            Interest::Text if size <= MAX_CONFIGURATION => {
                Self::Text { path: path.to_owned(), text: Vec::new() }
            }
            Interest::Text | Interest::None => Self::Indifferent,
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Indifferent => {}
            Self::Library { probe, .. } => probe.update(bytes),
            Self::Text { text, .. } => text.extend_from_slice(bytes),
        }
    }

    /// Notes what was learned; `reopen` gives the content again for what had passed unseen.
    pub fn finish<R: Read>(self, facts: &mut Facts, reopen: impl Fn() -> io::Result<R>) -> io::Result<()> {
        match self {
            Self::Indifferent => {}
            Self::Text { path, text } => facts.note_text(&path, &text),
            Self::Library { path, probe } => facts.note_library(&path, library(probe, reopen)?),
        }
        Ok(())
    }
}

/// What the headers of a library say; `None` for what is not ELF, or not well formed.
fn library<R: Read>(probe: Probe, reopen: impl Fn() -> io::Result<R>) -> io::Result<Option<Elf>> {
    let mut outcome = probe.finish();
    loop {
        match outcome {
            Ok(Outcome::Elf(elf)) => return Ok(Some(elf)),
            Ok(Outcome::NotElf) | Err(_) => return Ok(None),
            Ok(Outcome::Incomplete(mut incomplete)) => {
                let mut content = reopen()?;
                let mut position = 0;
                for range in incomplete.missing().to_vec() {
                    position +=
                        io::copy(&mut content.by_ref().take(range.start - position), &mut io::sink())?;
                    let mut bytes = Vec::new();
                    position +=
                        content.by_ref().take(range.end - range.start).read_to_end(&mut bytes)? as u64;
                    incomplete.supply(range.start, bytes);
                }
                outcome = incomplete.finish();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(nodes: &[(&str, Fact)]) -> Facts {
        Facts {
            nodes: nodes.iter().map(|(path, fact)| ((*path).to_owned(), fact.clone())).collect(),
            texts: BTreeMap::from([("etc/ld.so.conf".to_owned(), "/usr/lib\n".to_owned())]),
        }
    }

    fn link(target: &str) -> Fact {
        Fact::Symlink(target.into())
    }

    #[test]
    fn directories_are_seen_through_symlinks() {
        let facts = facts(&[
            ("lib", link("usr/lib")),
            ("usr/lib/libz.so.1", link("libz.so.1.2")),
            ("usr/lib/libz.so.1.2", Fact::File(None)),
            ("usr/lib/loop.so", link("loop.so")),
        ]);
        let listing = facts.directory("/lib").unwrap();
        assert_eq!(listing.identity, "usr/lib");
        let shown: Vec<(&str, bool, &Node)> =
            listing.entries.iter().map(|e| (e.name.as_str(), e.symlink, &e.node)).collect();
        let file = Node::File { identity: "usr/lib/libz.so.1.2".into(), elf: None };
        assert_eq!(
            shown,
            [("libz.so.1", true, &file), ("libz.so.1.2", false, &file), ("loop.so", true, &Node::Dangling)]
        );
        assert_eq!(facts.text("/etc/ld.so.conf").unwrap(), b"/usr/lib\n");
        assert!(facts.directory("/nowhere").is_none());
    }

    #[test]
    fn an_upper_layer_adds_and_removes() {
        let mut lower =
            facts(&[("usr/lib/liba.so", Fact::File(None)), ("usr/lib/libb.so", Fact::File(None))]);
        lower.stack(Facts {
            nodes: BTreeMap::from([
                ("usr/lib/liba.so".to_owned(), Fact::Removed),
                ("usr/lib/libc.so".to_owned(), Fact::File(None)),
            ]),
            texts: BTreeMap::new(),
        });
        let names: Vec<String> =
            lower.directory("/usr/lib").unwrap().entries.into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["libb.so", "libc.so"]);
    }
}
