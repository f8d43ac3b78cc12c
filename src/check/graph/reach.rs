//! Finds who reaches what: loads for each framework what its modules load, open, and require of CUDA.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Carrier, Graph, GraphFramework, GraphLibrary, GraphLink, GraphNode, LibraryState, LoadedBy, Reach, Step,
    name,
};
use crate::base::BaseInventory;
use crate::check::copies::cuda_wheel_extras;
use crate::check::linking::PythonProcess;
use crate::check::loader::{Loaded, Loader, Process, Search};
use crate::check::providers::Providers;
use crate::check::world::World;
use crate::check::{Subject, loader};
use crate::cuda::{Component, ComponentWheel, cuda_extras};

/// The graph of an image.
pub(super) fn graph(subject: &Subject<'_>) -> Graph {
    let (loader, _) = loader(subject);
    let world = World::new(subject);
    let mut survey = Survey::new(subject, &loader, &world);
    if let Some(python) = PythonProcess::of(&loader, &world) {
        for (head, companions) in heads(&world) {
            survey.add(&python, head, &companions);
        }
    }
    survey.finish()
}

/// The distributions that count as frameworks, by title, with those that their CUDA extras add.
fn heads(world: &World<'_>) -> Vec<(usize, BTreeSet<usize>)> {
    let name = |index: usize| world.distributions[index].installed.name.as_ref();
    let is_framework = |index: &usize| ComponentWheel::of(name(*index)).is_none();
    let all = (0..world.distributions.len()).filter(is_framework);
    let mut heads: Vec<_> = all.map(|index| (index, companions(world, index))).collect();
    heads.iter_mut().for_each(|(_, companions)| companions.retain(is_framework));
    let added: BTreeSet<usize> = heads.iter().flat_map(|(_, companions)| companions.clone()).collect();
    heads.retain(|(index, _)| !added.contains(index));
    heads.sort_by_key(|(index, _)| world.distributions[*index].title());
    heads
}

/// The distributions that a distribution's CUDA extras add to its requirements: JAX's plugins.
fn companions(world: &World<'_>, index: usize) -> BTreeSet<usize> {
    let extras = cuda_extras(world.distributions[index].installed.name.as_ref()).iter();
    let extras: Vec<_> = extras.filter_map(|extra| extra.extra.parse().ok()).collect();
    if extras.is_empty() {
        return BTreeSet::new();
    }
    let plain = world.closure(index);
    let asked = world.requirements(index, &extras).into_iter();
    let added = asked.filter_map(|requirement| world.named(&requirement.name));
    added.flat_map(|added| world.closure(added)).filter(|added| !plain.contains(added)).collect()
}

/// The key of a node while the graph grows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Framework(usize),
    /// The file itself.
    File(String),
    /// The name of what is missed.
    Missing(String),
}

/// Two nodes, and the objects between them.
type Found = (LoadedBy, Vec<String>);

struct Survey<'a, 'b> {
    subject: &'b Subject<'a>,
    loader: &'b Loader<'a>,
    world: &'b World<'b>,
    providers: Providers<'a>,
    /// The objects of each distribution that need or may open a library of CUDA.
    touching: BTreeMap<usize, Vec<String>>,
    frameworks: Vec<GraphFramework>,
    members: BTreeMap<usize, usize>,
    carriers: BTreeMap<String, (String, u64)>,
    libraries: BTreeMap<Key, GraphLibrary>,
    links: BTreeMap<(Key, Key), Found>,
}

impl<'a, 'b> Survey<'a, 'b> {
    fn new(subject: &'b Subject<'a>, loader: &'b Loader<'a>, world: &'b World<'b>) -> Self {
        let inventory = subject.inventory.into_iter();
        let libraries = inventory.flat_map(|inventory| libraries(subject, inventory)).collect();
        Self {
            providers: Providers::of(loader, world),
            touching: touching(loader, world),
            frameworks: Vec::new(),
            members: BTreeMap::new(),
            carriers: BTreeMap::new(),
            links: BTreeMap::new(),
            libraries,
            subject,
            loader,
            world,
        }
    }

    /// Adds a framework, if it leads to CUDA.
    fn add(&mut self, python: &PythonProcess<'a>, head: usize, companions: &BTreeSet<usize>) {
        let members: BTreeSet<usize> = companions.iter().copied().chain([head]).collect();
        let mut loading = FrameworkProcess::begun(python);
        let closure: BTreeSet<usize> =
            members.iter().flat_map(|member| self.world.closure(*member)).collect();
        let own = python.modules.iter().filter(|it| it.distribution.is_some_and(|of| members.contains(&of)));
        for module in own {
            loading.open(self.loader, &module.path, LoadedBy::Imported);
        }
        let touching = members.iter().filter_map(|member| self.touching.get(member)).flatten();
        for path in touching {
            loading.open(self.loader, path, LoadedBy::Opened(Search::Path));
        }
        self.providers.preload(self.loader, &mut loading.process, &closure);
        let edges = loading.edges(self.loader);

        let framework = self.frameworks.len();
        let reached =
            self.libraries_of(framework, &loading) | self.required(framework, &members, &mut loading);
        if !reached {
            return;
        }
        self.members.extend(members.iter().map(|member| (*member, framework)));
        self.link(framework, &loading, &edges);
        let title = |index: &usize| self.world.distributions[*index].title();
        self.frameworks.push(GraphFramework {
            title: title(&head),
            companions: companions.iter().map(title).collect(),
            bytes: members.iter().map(|member| self.bytes(*member)).sum(),
        });
    }

    /// The size of a distribution's files.
    fn bytes(&self, index: usize) -> u64 {
        let rows = self.world.distributions[index].rows.keys();
        rows.filter_map(|path| self.subject.evidence.file(path)).map(|(_, file)| file.size).sum()
    }

    /// Notes how a framework comes to libraries; whether it does.
    fn libraries_of(&mut self, framework: usize, loading: &FrameworkProcess<'a>) -> bool {
        let mut reached = false;
        for (index, loaded) in loading.loaded() {
            if let Some(key) = self.library(loaded) {
                self.reach(key, Reach { framework, chain: loading.chain(index) });
                reached = true;
            }
        }
        for (by, missed) in loading.missed() {
            let Some(component) = Component::of_library(missed) else { continue };
            let key = Key::Missing(missed.to_owned());
            self.libraries.entry(key.clone()).or_insert_with(|| GraphLibrary {
                component,
                name: missed.to_owned(),
                version: None,
                path: None,
                bytes: 0,
                state: LibraryState::Missing,
                reaches: Vec::new(),
            });
            let mut chain = loading.chain(by);
            chain.push(Step { path: missed.to_owned(), way: LoadedBy::Missed });
            self.reach(key, Reach { framework, chain });
            reached = true;
        }
        reached
    }

    /// Notes what a framework requires of CUDA by its metadata, where nothing in its files tells that it is loaded;
    /// whether it requires anything that is there.
    fn required(
        &mut self,
        framework: usize,
        members: &BTreeSet<usize>,
        loading: &mut FrameworkProcess<'a>,
    ) -> bool {
        let Some(inventory) = self.subject.inventory else { return false };
        let mut reached = false;
        for member in members {
            for requirement in self.world.requirements(*member, &cuda_wheel_extras()) {
                let wheel = ComponentWheel::of(requirement.name.as_ref());
                let Some(ComponentWheel::Carries { component, .. }) = wheel else { continue };
                let copies = inventory.cuda.iter().filter(|copy| copy.component == component);
                let names: BTreeSet<&str> =
                    copies.flat_map(|copy| copy.asked_for()).map(|library| library.soname.as_str()).collect();
                for name in names {
                    let from = loading.from.min(loading.process.objects.len() - 1);
                    let Some(found) = self.loader.open_name(&mut loading.process, name, from) else {
                        continue;
                    };
                    let Some(key) = self.library(&loading.process.objects[found]) else { continue };
                    if self.is_reached(&key, framework) {
                        continue;
                    }
                    self.reach(key.clone(), Reach { framework, chain: Vec::new() });
                    self.links.insert((Key::Framework(framework), key), (LoadedBy::Required, Vec::new()));
                    reached = true;
                }
            }
        }
        reached
    }

    fn is_reached(&self, library: &Key, framework: usize) -> bool {
        let reaches =
            self.libraries.get(library).map(|library| library.reaches.as_slice()).unwrap_or_default();
        reaches.iter().any(|reach| reach.framework == framework)
    }

    fn reach(&mut self, library: Key, reach: Reach) {
        if !self.is_reached(&library, reach.framework)
            && let Some(library) = self.libraries.get_mut(&library)
        {
            library.reaches.push(reach);
        }
    }

    /// The key of a loaded object that is a library of CUDA; one that no copy has becomes one.
    fn library(&mut self, loaded: &Loaded<'_>) -> Option<Key> {
        let key = Key::File(loaded.real.clone());
        if !self.libraries.contains_key(&key) {
            let component = Component::of_library(loaded.soname())?;
            let file = self.loader.file(&loaded.path)?;
            self.libraries.insert(
                key.clone(),
                GraphLibrary {
                    component,
                    name: loaded.soname().to_owned(),
                    version: None,
                    path: Some(format!("/{}", loaded.real)),
                    bytes: file.size,
                    state: LibraryState::Idle,
                    reaches: Vec::new(),
                },
            );
        }
        Some(key)
    }

    /// Links a framework to its carriers, these to libraries, and libraries to each other.
    fn link(&mut self, framework: usize, loading: &FrameworkProcess<'a>, edges: &[Edge]) {
        let objects = &loading.process.objects;
        let mut leading = BTreeSet::new();
        for edge in edges {
            let Some(to) = self.library(&objects[edge.to]) else { continue };
            let from = Key::File(objects[edge.from].real.clone());
            let way = match edge.opened {
                true => LoadedBy::Opened(objects[edge.to].search),
                false => LoadedBy::Needed(objects[edge.to].search),
            };
            self.note(from.clone(), to, (way, Vec::new()));
            if !self.libraries.contains_key(&from) {
                leading.insert(edge.from);
            }
        }
        for (by, missed) in loading.missed() {
            let to = Key::Missing(missed.to_owned());
            let from = Key::File(objects[by].real.clone());
            if self.libraries.contains_key(&to) {
                self.note(from.clone(), to, (LoadedBy::Missed, Vec::new()));
                if !self.libraries.contains_key(&from) {
                    leading.insert(by);
                }
            }
        }
        for carrier in leading {
            let loaded = &objects[carrier];
            let bytes = self.loader.file(&loaded.path).map(|file| file.size).unwrap_or_default();
            self.carriers.entry(loaded.real.clone()).or_insert((format!("/{}", loaded.real), bytes));
            let mut chain = loading.chain(carrier);
            let doubtful = chain.iter().find(|step| !step.way.is_certain()).map(|step| step.way);
            let last = chain.pop().map(|step| step.way);
            let way = doubtful.or(last).unwrap_or(LoadedBy::Imported);
            let through = chain.into_iter().map(|step| step.path).collect();
            self.note(Key::Framework(framework), Key::File(loaded.real.clone()), (way, through));
        }
    }

    /// Notes a link; what is needed counts before what is opened.
    fn note(&mut self, from: Key, to: Key, found: Found) {
        match self.links.get(&(from.clone(), to.clone())) {
            Some((way, _)) if way.is_certain() || !found.0.is_certain() => {}
            _ => drop(self.links.insert((from, to), found)),
        }
    }

    fn finish(self) -> Graph {
        let mut libraries: Vec<(Key, GraphLibrary)> = self.libraries.into_iter().collect();
        judge(&mut libraries);
        libraries.sort_by(|(_, left), (_, right)| {
            let key = |it: &GraphLibrary| (it.component, it.name.clone(), it.path.clone());
            key(left).cmp(&key(right))
        });
        let owner = |path: &str| self.members.get(&self.world.owner(path)?).copied();
        let carriers = self.carriers.into_iter();
        let mut carriers: Vec<(String, Carrier)> = carriers
            .map(|(real, (path, bytes))| {
                let framework = owner(&real);
                (real, Carrier { path, framework, bytes })
            })
            .collect();
        carriers.sort_by_key(|(_, it)| (it.framework.unwrap_or(usize::MAX), it.path.clone()));

        let mut nodes: BTreeMap<Key, GraphNode> = BTreeMap::new();
        nodes.extend(
            (0..self.frameworks.len()).map(|index| (Key::Framework(index), GraphNode::Framework(index))),
        );
        nodes.extend(
            carriers
                .iter()
                .enumerate()
                .map(|(index, (real, _))| (Key::File(real.clone()), GraphNode::Carrier(index))),
        );
        nodes.extend(
            libraries.iter().enumerate().map(|(index, (key, _))| (key.clone(), GraphNode::Library(index))),
        );
        let links = self.links.into_iter().filter_map(|((from, to), (way, through))| {
            Some(GraphLink { from: *nodes.get(&from)?, to: *nodes.get(&to)?, way, through })
        });
        let mut links: Vec<GraphLink> = links.collect();
        links.sort_by_key(|link| (link.from, link.to));
        Graph {
            frameworks: self.frameworks,
            carriers: carriers.into_iter().map(|(_, carrier)| carrier).collect(),
            libraries: libraries.into_iter().map(|(_, library)| library).collect(),
            links,
        }
    }
}

/// Every library of CUDA that an inventory has, as nobody reaches it yet.
fn libraries(subject: &Subject<'_>, inventory: &BaseInventory) -> Vec<(Key, GraphLibrary)> {
    let mut libraries = Vec::new();
    for copy in &inventory.cuda {
        for library in &copy.libraries {
            let first =
                subject.evidence.file(&library.path).and_then(|(_, file)| Some(file.first()?.to_owned()));
            let key = Key::File(first.unwrap_or_else(|| library.path.clone()));
            libraries.push((
                key,
                GraphLibrary {
                    component: copy.component,
                    name: library.soname.clone(),
                    version: copy.version.as_ref().map(ToString::to_string),
                    path: Some(format!("/{}", library.path)),
                    bytes: library.size,
                    state: LibraryState::Idle,
                    reaches: Vec::new(),
                },
            ));
        }
    }
    libraries
}

/// Says what becomes of each library beside the others of its name.
fn judge(libraries: &mut [(Key, GraphLibrary)]) {
    let mut reached: BTreeMap<String, usize> = BTreeMap::new();
    for (_, library) in libraries.iter().filter(|(_, it)| it.path.is_some() && !it.reaches.is_empty()) {
        *reached.entry(library.name.clone()).or_default() += 1;
    }
    for (_, library) in libraries {
        let of_name = reached.get(&library.name).copied().unwrap_or_default();
        library.state = match (&library.path, library.reaches.is_empty()) {
            (None, _) => LibraryState::Missing,
            (_, false) if of_name > 1 => LibraryState::Duplicate,
            (_, false) => LibraryState::Served,
            (_, true) if of_name > 0 => LibraryState::Shadowed,
            (_, true) => LibraryState::Idle,
        };
    }
}

/// The objects of each distribution that need or may open a library of CUDA, and are none; in the order of their paths.
fn touching(loader: &Loader<'_>, world: &World<'_>) -> BTreeMap<usize, Vec<String>> {
    let mut touching: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (path, file, object) in loader.objects() {
        let Some(owner) = world.owner(&path) else { continue };
        let needed = object.elf.dynamic.iter().flat_map(|dynamic| &dynamic.needed);
        let is_carrier = object.elf.interpreter.is_none()
            && name(&path).contains(".so")
            && Component::of_library(object.elf.soname().unwrap_or(name(&path))).is_none();
        if is_carrier && needed.chain(file.opens()).any(|name| Component::of_library(name).is_some()) {
            touching.entry(owner).or_default().push(path);
        }
    }
    touching
}

/// One object leads to another, by their numbers in a process.
struct Edge {
    from: usize,
    to: usize,
    opened: bool,
}

/// A process into which a framework is loaded.
struct FrameworkProcess<'a> {
    process: Process<'a>,
    /// The index of the first object that is not the interpreter's.
    from: usize,
    /// The ways of objects that no earlier object needs.
    roots: BTreeMap<usize, LoadedBy>,
}

impl<'a> FrameworkProcess<'a> {
    fn begun(python: &PythonProcess<'a>) -> Self {
        let process = python.process.clone();
        Self { from: process.objects.len(), roots: BTreeMap::new(), process }
    }

    fn open(&mut self, loader: &Loader<'a>, path: &str, way: LoadedBy) {
        let first = self.process.objects.len();
        loader.open(&mut self.process, path, Search::Path);
        if self.process.objects.len() > first {
            self.roots.insert(first, way);
        }
    }

    /// The edges between objects, when everything is opened that may be.
    fn edges(&mut self, loader: &Loader<'a>) -> Vec<Edge> {
        let mut edges = Vec::new();
        let mut from = self.from;
        while from < self.process.objects.len() {
            let needed = self.process.objects[from].needs.clone();
            edges.extend(needed.iter().map(|to| Edge { from, to: *to, opened: false }));
            for name in loader.opens(&self.process.objects[from]) {
                let first = self.process.objects.len();
                let Some(to) = loader.open_name(&mut self.process, name, from) else { continue };
                if to >= first {
                    self.roots.insert(to, LoadedBy::Opened(self.process.objects[to].search));
                }
                if to != from && !needed.contains(&to) {
                    edges.push(Edge { from, to, opened: true });
                }
            }
            from += 1;
        }
        edges
    }

    /// The objects that are not the interpreter's.
    fn loaded(&self) -> impl Iterator<Item = (usize, &Loaded<'a>)> {
        self.process.objects.iter().enumerate().skip(self.from)
    }

    /// The names that are needed and missing, each with the object that needs it.
    fn missed(&self) -> impl Iterator<Item = (usize, &str)> {
        let misses = self.process.misses.iter().filter(|miss| miss.needed_by >= self.from);
        misses.map(|miss| (miss.needed_by, miss.name.as_str()))
    }

    /// The objects that led to this one, and it.
    fn chain(&self, index: usize) -> Vec<Step> {
        let chain = std::iter::successors(Some(index), |index| self.process.objects[*index].asked_by);
        let step = |index: usize| {
            let loaded = &self.process.objects[index];
            let way = self.roots.get(&index).copied().unwrap_or(LoadedBy::Needed(loaded.search));
            Step { path: format!("/{}", loaded.real), way }
        };
        let mut steps: Vec<Step> = chain.filter(|index| *index >= self.from).map(step).collect();
        steps.reverse();
        steps
    }
}
