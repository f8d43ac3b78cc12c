//! Writes the layers of a plan: those that the store lacks, several at once. Nothing is decided here.

use std::collections::{BTreeMap, BTreeSet};

use super::Session;
use super::base_source::BaseSource;
use super::progress::Task;
use super::schedule::{self, Attempt, Fetch, Job};
use super::shared_layers;
use super::wheel_urls::WheelUrls;
use crate::failure::{Context, Failure, Result};
use crate::image::ImageLayer;
use crate::layer::bytecode::{self, BaseInterpreter, CompileTarget, Compiler};
use crate::layer::files::FileContents;
use crate::layer::{Written, accounts, cache, files, generated, wheels};
use crate::observe::inventory_facts::InventoryFacts;
use crate::oci::Digest;
use crate::plan::{LayerPlan, Plan, SystemLayer, WheelInstall, WheelLayer};
use crate::pool;

/// The sources of a plan's parts.
pub(super) struct Sources {
    /// The source of the base's layers.
    pub base: BaseSource,
    /// The URLs of the wheels.
    pub wheels: WheelUrls,
    /// The recipe's files by their contents.
    pub files: FileContents,
}

impl Sources {
    /// The store alone: what a plan that was read as JSON is written from.
    pub(super) fn of_store() -> Self {
        Self { base: BaseSource::Store, wheels: WheelUrls::default(), files: FileContents::default() }
    }
}

/// The blobs of a base that is an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BaseBlobs {
    /// They are brought into the store, beside everything else.
    Brought,
    /// They stay at their place: where the image goes, they may be already.
    Left,
}

/// Told of each layer that is in the store, with its number in the plan.
pub(super) type LayerFinished<'a> = dyn Fn(usize, &Written) + Sync + 'a;

/// The needs of the places that a plan's layers go to.
#[derive(Clone, Copy)]
pub(super) struct WriteNeeds<'a> {
    /// The use of the base's blobs.
    pub blobs: BaseBlobs,
    /// Set for a place that wants the lowest layers first.
    pub finished: Option<&'a LayerFinished<'a>>,
}

impl WriteNeeds<'_> {
    /// All layers are used when all are there.
    pub(super) fn in_the_end() -> Self {
        Self { blobs: BaseBlobs::Brought, finished: None }
    }

    fn note(&self, first: usize, layers: &[Written]) {
        let Some(finished) = self.finished else { return };
        layers.iter().enumerate().for_each(|(index, layer)| finished(first + index, layer));
    }
}

/// Writes the layers of `plan` that the store lacks; gives all of them, in its order.
pub(super) fn write(
    plan: &Plan,
    sources: &Sources,
    used: WriteNeeds<'_>,
    session: &Session<'_>,
) -> Result<Vec<ImageLayer>> {
    session.progress.stage("writing layers");
    let Stages { base, added, system } = Stages::of(plan)?;
    let mut stack = Stack::default();
    let written = write_below(base, added, sources, used, session)?;
    for (layer, written) in plan.layers.iter().zip(written) {
        stack.push(layer.title(), written);
    }
    let (plan, layer) = system;
    let key = plan.key();
    let written = match shared_layers::recall(plan, &key, session) {
        Some(written) => written,
        None => cache::recall_or_write(&session.store, &key, || {
            Ok::<_, Failure>(generated::write_system(layer, &stack.facts, &session.store)?)
        })?,
    };
    stack.push(plan.title(), written);
    Ok(stack.layers)
}

/// The layers of a plan, by the order in which they can be written.
struct Stages<'a> {
    /// The base's.
    base: &'a [LayerPlan],
    /// Those that need nothing of each other, nor of the base, but for its interpreter where modules are compiled.
    added: &'a [LayerPlan],
    /// The one that needs all others.
    system: (&'a LayerPlan, &'a SystemLayer),
}

impl<'a> Stages<'a> {
    fn of(plan: &'a Plan) -> Result<Self> {
        let (top, below) = plan.layers.split_last().context("the plan has no layers")?;
        let LayerPlan::System(system) = top else {
            return Err(Failure::new("the plan's top layer is not the system's"));
        };
        let (base, added) = below.split_at(below.iter().take_while(|layer| layer.is_of_base()).count());
        Ok(Self { base, added, system: (top, system) })
    }
}

/// Finished layers, bottom first, and what the loader finds in them.
#[derive(Default)]
struct Stack {
    layers: Vec<ImageLayer>,
    facts: InventoryFacts,
}

impl Stack {
    fn push(&mut self, title: String, mut written: Written) {
        self.facts.stack(std::mem::take(&mut written.facts));
        self.layers.push(shared_layers::image_layer(title, written));
    }
}

/// A part of an image that is written beside others.
enum Part<'a> {
    Base,
    Added { layer: &'a LayerPlan, key: Digest, index: usize },
}

/// Writes the base's layers and the added ones, all at once. Layers that another build is writing are left to it, as
/// long as it lives.
fn write_below(
    base: &[LayerPlan],
    added: &[LayerPlan],
    sources: &Sources,
    used: WriteNeeds<'_>,
    session: &Session<'_>,
) -> Result<Vec<Written>> {
    let store = &session.store;
    let keyed: Vec<_> = added.iter().map(|layer| (layer, layer.key())).collect();
    let recalled: Vec<_> =
        keyed.iter().map(|(layer, key)| shared_layers::recall(layer, key, session)).collect();
    for (index, recalled) in recalled.iter().enumerate() {
        recalled.iter().for_each(|layer| used.note(base.len() + index, std::slice::from_ref(layer)));
    }
    let numbered = || (base.len()..).zip(keyed.iter().zip(&recalled));
    let missing = || numbered().filter(|(_, (_, recalled))| recalled.is_none()).map(|(at, (it, _))| (at, it));
    // The base's own interpreter compiles: there the base comes first.
    let target = missing().find_map(|(_, (layer, _))| compile_target(layer));
    // So it does where users are made: they are added to its accounts.
    let makes_users = missing().any(|(_, (layer, _))| matches!(layer, LayerPlan::Accounts(_)));
    let is_first = target.is_some() || makes_users;
    let write_base = || {
        if base.is_empty() {
            return Ok(Vec::new());
        }
        if is_first || used.blobs == BaseBlobs::Brought {
            sources.base.bring(session)?;
        }
        let written = sources.base.write(base, session)?;
        used.note(0, &written);
        Ok::<_, Failure>(written)
    };
    let early = is_first.then(write_base).transpose()?;
    let below: Vec<Digest> = early.iter().flatten().map(|layer| layer.digest).collect();
    below.iter().try_for_each(|digest| shared_layers::bring_left(digest, session))?;
    let compiler = match (target, &early) {
        (Some(target), Some(base)) => Some(compiler(target, base, session)?),
        _ => None,
    };
    let fetches = fetches(missing().map(|(_, (layer, _))| *layer), sources, session)?;
    // Nobody knows how long the base takes; it is begun first.
    let base_job = Job { fetches: Vec::new(), weight: u64::MAX, work: Part::Base };
    let mut jobs: Vec<_> = early.is_none().then_some(base_job).into_iter().collect();
    for (index, (layer, key)) in missing() {
        let fetches = wheels_of(layer).filter_map(|wheel| fetches.get(&wheel.wheel).cloned()).collect();
        // Who uses the layers at once begins at the bottom; the largest are there.
        let weight = used.finished.map_or(size(layer), |_| u64::MAX - 1 - index as u64);
        jobs.push(Job { fetches, weight, work: Part::Added { layer, key: *key, index } });
    }
    let sizes = || missing().map(|(_, (layer, _))| size(layer)).filter(|size| *size > 0);
    session.progress.expect(sizes().count(), sizes().sum());
    let written = schedule::staged(jobs, session, |part| match part {
        Part::Base => Ok(Attempt::Done(write_base()?)),
        Part::Added { layer, key, index } => {
            let Some(_making) = store.claim(key) else { return Ok(Attempt::Elsewhere) };
            let write = || write_added(layer, sources, compiler.as_ref(), &below, session);
            let written = vec![cache::recall_or_write(store, key, write)?];
            used.note(*index, &written);
            Ok(Attempt::Done(written))
        }
    })?;
    let mut written = early.into_iter().chain(written);
    let base = written.next().context("the base was not written")?;
    let mut written = written.flatten();
    let added = recalled.into_iter().filter_map(|recalled| recalled.or_else(|| written.next()));
    Ok(base.into_iter().chain(added).collect())
}

fn write_added(
    layer: &LayerPlan,
    sources: &Sources,
    compiler: Option<&Compiler<'_>>,
    below: &[Digest],
    session: &Session<'_>,
) -> Result<Written> {
    let store = &session.store;
    Ok(match layer {
        LayerPlan::Accounts(layer) => accounts::write(layer, below, store)?,
        LayerPlan::Hidden(layer) => generated::write(layer, store)?,
        LayerPlan::Files(layer) => files::write(layer, &sources.files, store)?,
        LayerPlan::Wheels(wheels) => {
            let meter = session.progress.start(Task::WriteLayer, &layer.title(), Some(size(layer)));
            wheels::write(wheels, store, compiler, &|bytes| meter.add(bytes))?
        }
        LayerPlan::Base(_) | LayerPlan::Debian(_) | LayerPlan::Python(_) | LayerPlan::System(_) => {
            let wrong = format!("the layer `{}` is at a wrong place in the plan", layer.title());
            return Err(Failure::new(wrong));
        }
    })
}

/// A compiler of modules: the interpreter in the base's layers, or the machine's.
fn compiler<'a>(
    target: CompileTarget<'a>,
    base: &[Written],
    session: &'a Session<'_>,
) -> Result<Compiler<'a>> {
    let mut facts = InventoryFacts::default();
    base.iter().for_each(|layer| facts.stack(layer.facts.clone()));
    let digests = base.iter().map(|layer| layer.digest).collect();
    let interpreter = BaseInterpreter::locate(target, &facts, digests);
    Ok(Compiler::new(target, interpreter, &session.store, session.threads, session.confinement)?)
}

/// Refuses modules that nothing here compiles, before anything is downloaded for them.
pub(super) fn check_compilers(plan: &Plan, session: &Session<'_>) -> Result<()> {
    let is_missing = |layer: &&LayerPlan| cache::recall(&session.store, &layer.key()).is_none();
    let compiled = plan.layers.iter().filter(|layer| compile_target(layer).is_some());
    match compiled.filter(is_missing).find_map(compile_target) {
        Some(target) => Ok(bytecode::check_machine(target, &session.store)?),
        None => Ok(()),
    }
}

fn compile_target(layer: &LayerPlan) -> Option<CompileTarget<'_>> {
    match layer {
        LayerPlan::Wheels(layer) => CompileTarget::of(layer),
        _ => None,
    }
}

/// Makes the layers of `plan` under `keys`, by their keys, and no others than they need.
pub(super) fn write_some(
    plan: &Plan,
    sources: &Sources,
    keys: &BTreeSet<Digest>,
    session: &Session<'_>,
) -> Result<BTreeMap<Digest, ImageLayer>> {
    let is_chosen = |layer: &&LayerPlan| keys.contains(&layer.key());
    let chosen: Vec<LayerPlan> = plan.layers.iter().filter(is_chosen).cloned().collect();
    if !chosen.iter().all(stands_alone) {
        let all = write(plan, sources, WriteNeeds::in_the_end(), session)?;
        return Ok(plan.layers.iter().map(LayerPlan::key).zip(all).collect());
    }
    let needs = WriteNeeds { blobs: BaseBlobs::Left, finished: None };
    let written = write_below(&[], &chosen, sources, needs, session)?;
    let layers = chosen.iter().zip(written);
    Ok(layers
        .map(|(plan, written)| (plan.key(), shared_layers::image_layer(plan.title(), written)))
        .collect())
}

/// Makes the layers of `plan` under `keys` that are made [ahead](is_made_ahead), by their keys, and beside them those of
/// the base that one of them needs.
pub(super) fn write_ahead(
    plan: &Plan,
    sources: &Sources,
    keys: &BTreeSet<Digest>,
    session: &Session<'_>,
) -> Result<BTreeMap<Digest, ImageLayer>> {
    let count = plan.layers.iter().take_while(|layer| layer.is_of_base()).count();
    let (base, above) = plan.layers.split_at(count);
    let is_chosen = |layer: &&LayerPlan| keys.contains(&layer.key());
    let chosen: Vec<LayerPlan> = above.iter().filter(is_chosen).cloned().collect();
    let needs_base = base.iter().any(|layer| is_chosen(&layer)) || !chosen.iter().all(stands_alone);
    let base = if needs_base { base } else { &[] };
    let needs = WriteNeeds { blobs: BaseBlobs::Left, finished: None };
    let written = write_below(base, &chosen, sources, needs, session)?;
    let layers = base.iter().chain(&chosen).zip(written).filter(|(layer, _)| is_chosen(layer));
    Ok(layers
        .map(|(plan, written)| (plan.key(), shared_layers::image_layer(plan.title(), written)))
        .collect())
}

/// Returns whether a layer of a matrix is made before its images: it needs nothing of them but their base.
pub(super) fn is_made_ahead(layer: &LayerPlan) -> bool {
    match layer {
        LayerPlan::Debian(_)
        | LayerPlan::Python(_)
        | LayerPlan::Hidden(_)
        | LayerPlan::Files(_)
        | LayerPlan::Wheels(_) => true,
        LayerPlan::Base(_) | LayerPlan::Accounts(_) | LayerPlan::System(_) => false,
    }
}

/// The digests of the wheels that a layer is made of.
pub(super) fn wheels_in(layer: &LayerPlan) -> BTreeSet<Digest> {
    wheels_of(layer).map(|wheel| wheel.wheel).collect()
}

/// Returns whether a layer is made without those below it.
fn stands_alone(layer: &LayerPlan) -> bool {
    match layer {
        LayerPlan::Hidden(_) | LayerPlan::Files(_) => true,
        LayerPlan::Wheels(_) => compile_target(layer).is_none(),
        LayerPlan::Base(_)
        | LayerPlan::Debian(_)
        | LayerPlan::Python(_)
        | LayerPlan::Accounts(_)
        | LayerPlan::System(_) => false,
    }
}

/// The wheels of the layers that have to be made.
pub(super) fn needed_wheels(plan: &Plan, session: &Session<'_>) -> BTreeSet<Digest> {
    let is_made = |layer: &&LayerPlan| shared_layers::recall(layer, &layer.key(), session).is_none();
    let made = plan.layers.iter().filter(|layer| wheels_of(layer).next().is_some()).filter(is_made);
    made.flat_map(wheels_of).map(|wheel| wheel.wheel).collect()
}

fn wheels_of(layer: &LayerPlan) -> impl Iterator<Item = &WheelInstall> {
    let wheels = match layer {
        LayerPlan::Wheels(WheelLayer { wheels, .. }) => wheels.as_slice(),
        _ => &[],
    };
    wheels.iter()
}

/// The unpacked size in bytes of the wheels in a layer.
fn size(layer: &LayerPlan) -> u64 {
    let size =
        |wheel: &WheelInstall| wheel.part.map_or(wheel.unpacked, |part| wheel.unpacked / part.of as u64);
    wheels_of(layer).map(size).sum()
}

/// The downloads for `layers`, by the wheels' digests: the indexes are asked for the wheels that the store lacks.
fn fetches<'a>(
    layers: impl Iterator<Item = &'a LayerPlan>,
    sources: &Sources,
    session: &Session<'_>,
) -> Result<BTreeMap<Digest, Fetch>> {
    // By name: of several that cannot be found, the first is told.
    let wheels: BTreeMap<&str, &WheelInstall> =
        layers.flat_map(wheels_of).map(|wheel| (wheel.filename.as_str(), wheel)).collect();
    let is_missing =
        |wheel: &&WheelInstall| !session.store.has_blob(&wheel.wheel, sources.wheels.size(wheel));
    let missing = wheels.into_values().filter(is_missing);
    let urls = sources.wheels.open(session);
    let fetches = pool::run(missing, schedule::DOWNLOADS, |wheel| {
        Ok::<_, Failure>((wheel.wheel, Fetch { download: urls.download(wheel)?, elsewhere: Vec::new() }))
    })?;
    Ok(fetches.into_iter().collect())
}
