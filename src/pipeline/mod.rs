//! The pipeline: a recipe becomes an image.
//!
//! [`build`] tells it; `plan`, `lock` and `check` are the same walk stopped elsewhere.
#![allow(clippy::disallowed_methods, reason = "this is where the stages meet the machine")]

mod announced;
mod archive_hashes;
mod attaching;
mod auditing;
mod base;
mod base_source;
mod built_wheels;
mod check;
mod comparison;
mod copying;
mod debian;
mod debian_lock;
mod decide;
mod decision_memory;
mod export;
mod git_trees;
mod gpus;
mod image_base;
mod image_files;
mod image_size;
mod input_error;
mod inputs;
mod inspect;
mod lock_file;
mod locked_projects;
mod locking;
mod matrix;
mod matrix_layers;
mod named_projects;
mod named_wheels;
mod outdated;
mod own_python;
mod pinning;
mod platforms;
mod progress;
mod project_tree;
mod quiet_images;
mod rebasing;
mod rebuilding;
mod recipe_file;
mod recipe_source;
mod sbom;
mod schedule;
mod session;
mod shared_cache;
mod shared_images;
mod shared_layers;
mod shared_records;
mod shared_writes;
mod sources;
mod system_packages;
mod wheel_sizes;
mod wheel_urls;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::base::BaseInventory;
use crate::check::Report;
use crate::compare::{self, ToldEntries};
use crate::destination::{self, LayersAhead, Publishing};
use crate::failure::Result;
use crate::image::{self, Image, ImageLayer, PublishedImage};
use crate::layer::Written;
use crate::lock::{Lock, LockChange};
use crate::oci::{Architecture, Digest};
use crate::place::ImagePlace;
use crate::plan::{LayerCompression, LayerPlan, Plan, PlanRequest, SystemLayer};
use crate::recipe::RecipeInputs;
use crate::resolve::Resolution;
use crate::source::SourceImage;
use attaching::Statements;
use built_wheels::BuildBase;
use decide::Decision;
use shared_writes::SharedImage;
use write::{BaseBlobs, LayerFinished, Sources, WriteNeeds};

pub use self::attaching::{DocumentPlacing, ReleaseOrder, verify};
pub use self::check::{CheckExtent, CheckFailed, CheckOrder, Checked, WantedMachines, write_picture};
pub use crate::beneath::Outside;
pub use crate::registry_cache::prune::PrunedEntries;
pub use auditing::{Audit, AuditOrder, audit};
pub use built_wheels::BuiltWheelError;
pub use comparison::{NotAPlan, Side, compare, summary_of};
pub use copying::{CopyExtent, CopyOrder, copy};
pub use decision_memory::DecisionMemory;
pub use export::export_pylock;
pub use git_trees::GitTreeError;
pub use gpus::PlannedGpus;
pub use image_base::OtherInventory;
pub use image_size::PlannedSize;
pub use input_error::InputError;
pub use inspect::{Inspected, describe, inspect};
pub use lock_file::{LockFileError, Locking, Upgrade};
pub use locked_projects::LockedProjectError;
pub use locking::lock;
pub use matrix::{
    ImagesOrder, LockedMatrix, MatrixLockOrder, MatrixOrder, Shard, build_images, lock_matrix, read_matrix,
};
pub use matrix_layers::{MatrixImagePlan, MatrixLayer, PlannedMatrix, ShardLayers, make_layers, plan_matrix};
pub use named_projects::NamedProjectError;
pub use named_wheels::NamedWheelError;
pub use outdated::outdated;
pub use own_python::OwnPythonError;
pub use pinning::OtherLayer;
pub use platforms::PlatformError;
pub use progress::{Meter, Progress, Task};
pub use project_tree::ProjectTreeError;
pub use quiet_images::QuietImages;
pub use rebasing::{RebaseOrder, rebase};
pub use recipe_file::RecipeFileError;
pub use recipe_source::{MatrixEntry, RecipeSource};
pub use sbom::sbom;
pub use session::{Network, Session};
pub use shared_cache::{CachePlaces, CachedBlobs, SharedCache};
pub use shared_writes::prune_cache;
pub use wheel_sizes::PrivateCuda;
pub use wheel_urls::ListedError;

/// An order to plan.
#[derive(Debug, Clone, Copy)]
pub struct PlanOrder<'a> {
    /// The recipe.
    pub recipe: RecipeSource<'a>,
    /// The platforms to choose among those of the recipe; all of them when empty.
    pub platforms: &'a [Architecture],
    /// The use of the lock.
    pub locking: Locking,
}

/// An order to build.
#[derive(Debug)]
pub struct BuildOrder<'a> {
    /// The images to plan.
    pub plan: PlanOrder<'a>,
    /// The destinations; the default one when empty.
    pub destinations: &'a [ImagePlace],
    /// The use of the check.
    pub checking: Checking,
    /// Annotations of the manifest, which go before those of the recipe.
    pub annotations: &'a BTreeMap<String, String>,
    /// The documents that the published image is given.
    pub release: &'a ReleaseOrder,
}

/// The check of a built image before it is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checking {
    /// An image that would not load is not published.
    Refuse,
    /// There is no check.
    Skip,
}

/// An order to lock.
#[derive(Debug)]
pub struct LockOrder<'a> {
    /// The recipe.
    pub recipe: RecipeSource<'a>,
    /// The platforms to choose among those of the recipe; all of them when empty. The locks of the others stay.
    pub platforms: &'a [Architecture],
    /// The part of an earlier lock to give up.
    pub upgrade: Upgrade,
    /// The use of the new lock.
    pub writing: LockWriting,
    /// True if the layers are made, and pinned in the lock. They are as well where the lock before pinned them.
    pub layers: bool,
}

/// The use of a lock that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockWriting {
    /// It is written beside its recipe, where it differs from the one that is there.
    Write,
    /// Nothing is written: it is only told what would change.
    Tell,
}

/// The locks that were made of a recipe.
pub struct Locked {
    /// The path of the file.
    pub path: PathBuf,
    /// The lock of each platform that was decided about.
    pub locks: Vec<LockedPlatform>,
    /// True if the file is, or would be, another than before.
    pub changed: bool,
    /// True if nothing was there before.
    pub is_new: bool,
    /// The use of the locks.
    pub writing: LockWriting,
}

/// The lock of one platform, and what it changed.
pub struct LockedPlatform {
    /// The platform; without one, that of the base.
    pub platform: Option<Architecture>,
    /// The lock.
    pub lock: Lock,
    /// The changes since the lock before, if there was one.
    pub changes: Vec<LockChange>,
}

/// A recipe's plan, the decisions that led to it, and the places that its parts come from.
pub struct Planned {
    /// The recipe and the files that it names.
    pub inputs: RecipeInputs,
    /// The inventory of the base.
    pub base: BaseInventory,
    /// The resolution.
    pub resolution: Resolution,
    /// The sizes of the CUDA that each framework would have brought for itself.
    pub private: PrivateCuda,
    /// The GPUs and drivers that the image runs on, as far as that is known.
    pub gpus: PlannedGpus,
    /// The Debian packages that are decided about: all of them, where the base is made of packages.
    pub system_packages: ToldEntries<String>,
    /// The size of the image, as far as that is known.
    pub size: PlannedSize,
    /// The plan.
    pub plan: Plan,
    sources: Sources,
}

/// The images that were built and published.
pub struct Built {
    /// The image of each platform.
    pub images: Vec<BuiltImage>,
    /// The image or index that the tags name.
    pub published: PublishedImage,
    /// The places at which it was published.
    pub destinations: Vec<ImagePlace>,
}

impl Built {
    /// The reports of the checks of its images.
    pub fn reports(&self) -> impl Iterator<Item = &Report> {
        self.images.iter().filter_map(|image| image.report.as_ref())
    }
}

/// The image of one platform.
pub struct BuiltImage {
    /// The plan.
    pub planned: Planned,
    /// The image.
    pub image: Image,
    /// The check's report, which has no errors; `None` where the check was skipped.
    pub report: Option<Report>,
}

impl Planned {
    /// Builds again the wheels that a lock has, the store lacks, and a layer is made of.
    fn restore(&self, session: &Session<'_>) -> Result<()> {
        self.restore_wheels(&write::needed_wheels(&self.plan, session), session)
    }

    /// The same for the layers under `keys` alone.
    fn restore_for(&self, keys: &BTreeSet<Digest>, session: &Session<'_>) -> Result<()> {
        let chosen = self.plan.layers.iter().filter(|layer| keys.contains(&layer.key()));
        self.restore_wheels(&chosen.flat_map(write::wheels_in).collect(), session)
    }

    fn restore_wheels(&self, needed: &BTreeSet<Digest>, session: &Session<'_>) -> Result<()> {
        let (base, urls) = (self.build_base(), &self.sources.wheels);
        rebuilding::restore(&self.inputs, &self.resolution, needed, base, urls, session)
    }

    /// The base as builds of sources see it.
    fn build_base(&self) -> BuildBase<'_> {
        let count = self.plan.layers.iter().take_while(|layer| layer.is_of_base()).count();
        BuildBase { inventory: &self.base, layers: &self.plan.layers[..count], source: &self.sources.base }
    }
}

/// Builds an image for each platform of a recipe, and publishes it: under an index, where there are several.
pub fn build(order: &BuildOrder<'_>, session: &Session<'_>) -> Result<Built> {
    order.destinations.iter().try_for_each(destination::check_place)?;
    order.release.check(order.destinations)?;
    let recipes = read_platforms(&order.plan, session)?;
    let platforms: Vec<Architecture> = recipes.iter().filter_map(|inputs| inputs.platform).collect();
    order.destinations.iter().try_for_each(|place| destination::check_platforms(place, &platforms))?;
    let mut planned = plan_all(recipes, &order.plan, session)?;
    for planned in &mut planned {
        planned.plan.annotations.extend(order.annotations.clone());
        warn_of_zstd(&planned.plan, order.destinations, session);
    }
    let made = match make_and_publish(&planned, order, session) {
        // The registry lost what its cache has, between the answer and the use.
        Err(_) if session.shared.begin_again() => make_and_publish(&planned, order, session)?,
        made => made?,
    };
    let images = planned.into_iter().zip(made.images);
    let images = images.map(|(planned, (image, report))| BuiltImage { planned, image, report }).collect();
    Ok(Built { images, published: made.published, destinations: made.destinations })
}

/// Images that are at their destinations.
struct MadeImages {
    /// By platform, each with what was found in it.
    images: Vec<(Image, Option<Report>)>,
    published: PublishedImage,
    destinations: Vec<ImagePlace>,
}

/// Makes the layers that neither the store nor a cache has, and publishes the images: under an index, where there are several.
fn make_and_publish(
    planned: &[Planned],
    order: &BuildOrder<'_>,
    session: &Session<'_>,
) -> Result<MadeImages> {
    let (mut aheads, mut images) = (Vec::new(), Vec::new());
    for of_platform in planned {
        let is_for_engines =
            planned.len() <= 1 || Architecture::here() == Some(of_platform.plan.architecture);
        let mut ahead =
            is_for_engines.then(|| layers_ahead(&of_platform.plan, order.destinations, session)).flatten();
        images.push(make(of_platform, order, ahead.as_mut(), session)?);
        aheads.extend(ahead);
    }
    let both = || planned.iter().zip(&images).map(|(planned, (image, _))| (planned, image));
    let statements = both().map(|(planned, image)| {
        Statements::of_built(order.release, order.plan.recipe, planned, image, &session.store)
    });
    let statements: Vec<Statements<'_>> = statements.collect::<Result<_>>()?;
    let published = attaching::published(order.release, &statements)?;
    let _aheads: Vec<_> = aheads.iter_mut().map(LayersAhead::stop).collect();
    let origins: Vec<&SourceImage> = planned.iter().filter_map(|it| it.sources.base.origin()).collect();
    let shared = both().map(|(planned, image)| {
        SharedImage::begin(&planned.plan, image, planned.sources.base.origin(), session)
    });
    let shared: Vec<SharedImage<'_>> = shared.collect();
    shared.iter().for_each(|shared| shared.put_layers(session));
    let name = planned.first().map_or("", |planned| planned.inputs.name.as_str());
    let destinations = publish(&published, name, &origins, order.destinations, session)?;
    let noted = session.shared.noted_records();
    shared.iter().for_each(|shared| shared.put_image(session));
    session.shared.forget_records(&noted);
    for statements in &statements {
        attaching::attach(order.release, statements, &destinations, session)?;
    }
    if let PublishedImage::Indexed(_) = published {
        attaching::sign(order.release, name, &published.descriptor().digest(), &destinations, session)?;
    }
    Ok(MadeImages { images, published, destinations })
}

/// Makes the image of one platform, and checks it.
fn make(
    planned: &Planned,
    order: &BuildOrder<'_>,
    ahead: Option<&mut LayersAhead>,
    session: &Session<'_>,
) -> Result<(Image, Option<Report>)> {
    let image = match shared_images::find(&planned.plan, &planned.sources.base, session) {
        Some(image) => image,
        None => {
            let layers = write_layers(planned, order.destinations, ahead.as_deref(), session)?;
            pinning::hold(&planned.plan, &layers, session)?;
            image::assemble(&planned.plan, layers)?
        }
    };
    if session.shared.is_read() {
        planned.sources.base.tell(&planned.plan.layers, session);
    }
    let report = self::check::before_publishing(order.checking, planned, &image, session)?;
    Ok((image, report))
}

/// Decides everything about a recipe for each of its platforms, or recalls it from the lock beside it, and plans the layers;
/// writes nothing.
pub fn plan(order: &PlanOrder<'_>, session: &Session<'_>) -> Result<Vec<Planned>> {
    plan_all(read_platforms(order, session)?, order, session)
}

/// Reads a recipe and the files that it names, for each of its platforms.
fn read_platforms(order: &PlanOrder<'_>, session: &Session<'_>) -> Result<Vec<RecipeInputs>> {
    if order.locking == Locking::Required {
        recipe_file::check_lockable(order.recipe.file)?;
    }
    Ok(platforms::chosen(&read_inputs(order.recipe, session)?, order.recipe.file, order.platforms)?)
}

fn plan_all(
    recipes: Vec<RecipeInputs>,
    order: &PlanOrder<'_>,
    session: &Session<'_>,
) -> Result<Vec<Planned>> {
    let planned: Vec<Planned> =
        recipes.into_iter().map(|inputs| plan_platform(inputs, order, session)).collect::<Result<_>>()?;
    let decided = planned.iter().map(|it| (it.plan.architecture, &it.resolution)).collect::<Vec<_>>();
    for without_cuda in compare::without_cuda(&decided) {
        session.progress.warn(&without_cuda.to_string());
    }
    Ok(planned)
}

fn plan_platform(inputs: RecipeInputs, order: &PlanOrder<'_>, session: &Session<'_>) -> Result<Planned> {
    let files = inputs::list_files(&inputs, session.outside)?;
    let Decision { inputs, base, resolution, private, wheels, urls, published, .. } =
        decide::decide(inputs, order.recipe, order.locking, session)?;
    let plan = crate::plan::plan(&PlanRequest {
        inputs: &inputs,
        base: &base.planned,
        resolution: &resolution,
        wheels: &wheels,
        files: &files.files,
        created: session.source_date_epoch.unwrap_or(published),
    });
    write::check_compilers(&plan, session)?;
    let gpus = gpus::planned(&inputs, &base.planned.runtime.env, &resolution, &plan, session);
    let system_packages = comparison::told_packages(&base.locked);
    let sources = Sources { base: base.source, wheels: urls, files: files.contents };
    let size = image_size::planned(&plan, &resolution, &sources, &session.store);
    let base = base.planned.inventory;
    Ok(Planned { inputs, base, resolution, private, gpus, system_packages, size, plan, sources })
}

/// Reads a recipe and the files that it names, and tells what is to be told about these.
fn read_inputs(recipe: RecipeSource<'_>, session: &Session<'_>) -> Result<RecipeInputs> {
    let inputs = inputs::read(recipe, session.outside)?;
    inputs.notices.iter().for_each(|notice| session.progress.warn(notice));
    Ok(inputs)
}

/// Writes and assembles the image of a plan that was read, not made: its parts come from the store.
pub fn realize(plan: &Plan, session: &Session<'_>) -> Result<Image> {
    let layers = write::write(plan, &Sources::of_store(), WriteNeeds::in_the_end(), session)?;
    Ok(image::assemble(plan, layers)?)
}

/// Begins to send layers to an engine while others are written, if the image goes to one.
fn layers_ahead(plan: &Plan, destinations: &[ImagePlace], session: &Session<'_>) -> Option<LayersAhead> {
    LayersAhead::begin(destinations, plan.architecture, &session.store, &session.engines)
}

fn write_layers(
    planned: &Planned,
    destinations: &[ImagePlace],
    ahead: Option<&LayersAhead>,
    session: &Session<'_>,
) -> Result<Vec<ImageLayer>> {
    shared_layers::prepare(&planned.plan, session)?;
    if let Some(layers) = shared_layers::all_left(&planned.plan, session) {
        return Ok(layers);
    }
    planned.restore(session)?;
    let finished = |index: usize, layer: &Written| {
        ahead.iter().for_each(|ahead| ahead.finished(index, layer.diff_id, layer.digest, layer.size));
    };
    let finished: &LayerFinished<'_> = &finished;
    let used = WriteNeeds { blobs: base_blobs(destinations), finished: ahead.map(|_| finished) };
    write::write(&planned.plan, &planned.sources, used, session)
}

/// The use of the base's blobs: registries and engines may have them.
fn base_blobs(destinations: &[ImagePlace]) -> BaseBlobs {
    let may_have = |place: &ImagePlace| matches!(place, ImagePlace::Registry(_) | ImagePlace::Engine { .. });
    match !destinations.is_empty() && destinations.iter().all(may_have) {
        true => BaseBlobs::Left,
        false => BaseBlobs::Brought,
    }
}

/// Says before anything is written which engines will not load the image.
fn warn_of_zstd(plan: &Plan, destinations: &[ImagePlace], session: &Session<'_>) {
    let is_archive = |place: &ImagePlace| {
        matches!(place, ImagePlace::OciArchive { .. } | ImagePlace::DockerArchive { .. })
    };
    let is_zstd = |layer: &LayerPlan| {
        matches!(layer, LayerPlan::System(SystemLayer { compression: LayerCompression::Zstd { .. }, .. }))
    };
    if plan.layers.iter().any(is_zstd) && destinations.iter().any(is_archive) {
        session.progress.warn(
            "Docker before 23 does not load layers of zstd (any Docker loads those of `compression: gzip`)",
        );
    }
}

/// Publishes an image at all destinations, or else at the default one.
fn publish(
    image: &PublishedImage,
    name: &str,
    origins: &[&SourceImage],
    destinations: &[ImagePlace],
    session: &Session<'_>,
) -> Result<Vec<ImagePlace>> {
    let destinations = match destinations {
        [] => vec![ImagePlace::OciLayout { directory: Path::new("out").join(name), tag: None }],
        destinations => destinations.to_vec(),
    };
    for destination in &destinations {
        publish_at(destination, image.layers().values().sum(), origins, session, |publishing| {
            Ok(destination::publish(image, destination, name, publishing)?)
        })?;
    }
    Ok(destinations)
}

/// Has `publish` bring `size` bytes to a place, and shows how far it is.
fn publish_at(
    place: &ImagePlace,
    size: u64,
    origins: &[&SourceImage],
    session: &Session<'_>,
    publish: impl FnOnce(&Publishing<'_>) -> Result<()>,
) -> Result<()> {
    session.progress.stage(&format!("publishing {place}"));
    let start = || session.progress.start(Task::Push, &place.to_string(), Some(size));
    let is_sent = matches!(place, ImagePlace::Registry(_) | ImagePlace::Engine { .. });
    let meter = is_sent.then(start);
    publish(&Publishing {
        store: &session.store,
        registries: &session.registries,
        engines: &session.engines,
        origins,
        cached: &|digest| shared_layers::bring_left(digest, session),
        progress: &|bytes| meter.iter().for_each(|meter| meter.add(bytes)),
    })
}
