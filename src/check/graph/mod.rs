//! The picture of a check: which framework reaches which library of CUDA, by which path.
//!
//! ```text
//! Subject ─ reach ─► Graph ─ layout ─► Layout ─ svg ─► the picture ─ html ─► a page with it and its table
//! ```
//!
//! From left to right: *frameworks*, which are distributions with what their CUDA extras add; *carriers*, their objects
//! that lead to CUDA; and *libraries* of CUDA, by component.

mod gpu_table;
pub mod html;
mod layer_map;
mod layout;
mod reach;
pub mod sizes;
pub mod svg;
mod treemap;

use super::Subject;
use super::loader::Search;
use crate::cuda::Component;

/// The frameworks, the libraries that they reach, and the paths between them. Everything is sorted: the same image
/// gives the same graph.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    /// The frameworks, by name.
    pub frameworks: Vec<GraphFramework>,
    /// By framework, then by path.
    pub carriers: Vec<Carrier>,
    /// By component, then by name and path.
    pub libraries: Vec<GraphLibrary>,
    /// By their ends; one between two nodes.
    pub links: Vec<GraphLink>,
}

/// A distribution that reaches libraries of CUDA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphFramework {
    /// `jax 0.5.3`
    pub title: String,
    /// The distributions that its CUDA extras add: `jax-cuda12-plugin 0.5.3`.
    pub companions: Vec<String>,
    /// The files of all of them, in bytes.
    pub bytes: u64,
}

/// An object that is none of CUDA's, and that needs or opens one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carrier {
    /// Absolute.
    pub path: String,
    /// The framework whose file it is; `None` for what belongs to others.
    pub framework: Option<usize>,
    /// In bytes.
    pub bytes: u64,
}

/// A library of CUDA: every one that the image has, and those that are missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphLibrary {
    /// The component that it belongs to.
    pub component: Component,
    /// Its SONAME, or else the name of its file.
    pub name: String,
    /// The version of the copy that it is part of, where anything tells.
    pub version: Option<String>,
    /// Absolute; `None` for what is missed.
    pub path: Option<String>,
    /// In bytes.
    pub bytes: u64,
    /// Its state in the image.
    pub state: LibraryState,
    /// At most one for each framework, in their order.
    pub reaches: Vec<Reach>,
}

/// The state of a library in the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LibraryState {
    /// It is reached, and no other of its name is.
    Served,
    /// It is reached, and so is another of its name.
    Duplicate,
    /// Another of its name is reached, and it is not.
    Shadowed,
    /// Nothing reaches it, as far as files tell.
    Idle,
    /// It is needed, and not there.
    Missing,
}

impl LibraryState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Served, Self::Duplicate, Self::Shadowed, Self::Idle, Self::Missing];

    /// Its name in the picture.
    pub fn word(self) -> &'static str {
        match self {
            Self::Served => "served once",
            Self::Duplicate => "duplicate",
            Self::Shadowed => "shadowed",
            Self::Idle => "not reached",
            Self::Missing => "missing",
        }
    }
}

/// The path from a framework to a library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// The index of the framework.
    pub framework: usize,
    /// From the object that is loaded first to the library. Empty where only metadata tells.
    pub chain: Vec<Step>,
}

/// One object on the way to a library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Absolute; the bare name of what is missed.
    pub path: String,
    /// The way by which this step loads the next.
    pub way: LoadedBy,
}

/// The way by which an object comes into a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LoadedBy {
    /// Python imports it as an extension module.
    Imported,
    /// DT_NEEDED, found by this search.
    Needed(Search),
    /// Its name, or that of what needs it, is among the strings of an object: `dlopen` finds it by this search.
    Opened(Search),
    /// A distribution requires its component; how the library is loaded, its code alone tells.
    Required,
    /// Nothing finds it.
    Missed,
}

impl LoadedBy {
    /// Returns whether the loader alone sees to it, without anything that code decides.
    pub fn is_certain(self) -> bool {
        matches!(self, Self::Imported | Self::Needed(_) | Self::Missed)
    }

    /// For people: `DT_NEEDED, found in ld.so.cache`.
    pub fn words(self) -> String {
        match self {
            Self::Imported => "imported by Python".to_owned(),
            Self::Needed(search) => format!("DT_NEEDED, {}", found(search)),
            Self::Opened(search) => format!("dlopen, {}", found(search)),
            Self::Required => "by its metadata; its code opens it".to_owned(),
            Self::Missed => "DT_NEEDED, found nowhere".to_owned(),
        }
    }
}

fn found(search: Search) -> &'static str {
    match search {
        Search::Path => "by its path",
        Search::Rpath => "found by DT_RPATH",
        Search::LibraryPath => "found by LD_LIBRARY_PATH",
        Search::Runpath => "found by DT_RUNPATH",
        Search::Cache => "found in ld.so.cache",
        Search::Default => "found in a default directory",
        Search::Preloaded => "loaded before by what it requires",
    }
}

/// A node, by its place in the graph's lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GraphNode {
    /// A framework, by index.
    Framework(usize),
    /// A carrier, by index.
    Carrier(usize),
    /// A library, by index.
    Library(usize),
}

/// One node leads to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphLink {
    /// The node at its left end.
    pub from: GraphNode,
    /// The node at its right end.
    pub to: GraphNode,
    /// The way by which one leads to the other.
    pub way: LoadedBy,
    /// The paths of the objects between the two, which lead to CUDA by this one only.
    pub through: Vec<String>,
}

impl Graph {
    /// The graph of an image.
    pub fn of(subject: &Subject<'_>) -> Self {
        reach::graph(subject)
    }

    /// The libraries of a state.
    pub fn of_state(&self, state: LibraryState) -> impl Iterator<Item = &GraphLibrary> {
        self.libraries.iter().filter(move |library| library.state == state)
    }

    /// One line on all of it.
    pub fn summary(&self) -> String {
        let bytes = self.libraries.iter().map(|library| library.bytes).sum();
        let counts = LibraryState::ALL.map(|state| (self.of_state(state).count(), state.word()));
        let counts =
            counts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}"));
        let counts: Vec<String> = counts.collect();
        format!(
            "{} frameworks, {} libraries of CUDA of {}: {}",
            self.frameworks.len(),
            self.libraries.len(),
            size(bytes),
            if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
        )
    }

    /// The path from a framework to a library, one line for each step.
    fn told(&self, reach: &Reach) -> String {
        let mut lines = vec![self.frameworks[reach.framework].title.clone()];
        lines.extend(reach.chain.iter().map(|step| format!("> {} ({})", step.path, step.way.words())));
        if reach.chain.is_empty() {
            lines.push(format!("> {}", LoadedBy::Required.words()));
        }
        lines.join("\n")
    }
}

/// A size for people.
fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

/// The name of the file at a path.
fn name(path: &str) -> &str {
    super::loader::split(path).1
}

/// Text as XML and HTML take it, in content and in attributes. What XML cannot say at all becomes U+FFFD.
///
/// <https://www.w3.org/TR/xml/#charsets>
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\t' | '\n' => escaped.push(c),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
