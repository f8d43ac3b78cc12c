//! `imgforge matrix`: many images of one recipe, or several, on one machine or many.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::files::write_file;
use super::options::{CacheOptions, locking, page};
use super::progress::Terminal;
use super::report;
use super::screen::{self, OutputStream};
use super::table::{name, number, prose};
use super::text::{Page, PrintedText};
use super::upgrades::UpgradeOption;
use super::{ProgressStyle, ending, job, release};
use crate::failure::{Failure, Result};
use crate::jobs::{JobEngine, MatrixJobs};
use crate::pipeline::{
    self, Built, Checking, DecisionMemory, ImagesOrder, LockWriting, LockedMatrix, MatrixEntry,
    MatrixLockOrder, MatrixOrder, PlannedMatrix, QuietImages, Session, Shard,
};
use crate::place::ImagePlace;
use crate::recipe;

/// The images or locks that are listed, unless all are asked for.
const LISTED: usize = 20;

#[derive(Debug, Subcommand)]
pub(super) enum MatrixCommand {
    /// Show the images of a matrix, and the layers that they share; builds nothing.
    Plan(PlanArguments),
    /// Lock every image: the locks lie in MATRIX.locks beside the matrix. Those of images that it no longer has are removed.
    Lock(LockArguments),
    /// Make the layers of all images, each once, in the share of this machine, and put them into a cache.
    Layers(LayersArguments),
    /// Build and publish the images in the share of this machine, of layers that a cache has.
    Images(ImagesArguments),
    /// Print both stages, layers and images, as jobs of an engine that starts processes on many machines.
    Emit(EmitArguments),
}

/// The matrix, and the files that it may name.
#[derive(Debug, Args)]
struct MatrixFile {
    /// The matrix, a YAML file: one with `recipe:` and `matrix:`, or a recipe with the key `matrix`.
    matrix: PathBuf,
    /// The places of the images, in place of the matrix's own pattern: docker://HOST/images/{name}:latest.
    #[arg(long, short, value_name = "PATTERN")]
    output: Option<String>,
    /// Let the matrix and its recipes name files outside of their directories.
    #[arg(long)]
    allow_outside: bool,
}

#[derive(Debug, Args)]
pub(super) struct PlanArguments {
    #[command(flatten)]
    file: MatrixFile,
    /// Show the split of the layers over so many machines as well.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    shards: Option<u16>,
    /// List all images, and not only the first ones.
    #[arg(long)]
    all: bool,
    /// Print JSON; `imgforge schema matrix-plan` describes it.
    #[arg(long)]
    json: bool,
    /// Show what the locks say; fail when one is missing or out of date.
    #[arg(long)]
    locked: bool,
    /// Use only what the store has; download nothing.
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    cache: CacheOptions,
}

#[derive(Debug, Args)]
pub(super) struct LockArguments {
    #[command(flatten)]
    file: MatrixFile,
    #[command(flatten)]
    upgrade: UpgradeOption,
    /// Write nothing; fail where a lock would change.
    #[arg(long, conflicts_with = "upgrade")]
    check: bool,
    /// Make all layers and pin their digests as well: nothing else is believed of a cache then.
    #[arg(long)]
    layers: bool,
    /// Use only what the store has; download nothing.
    #[arg(long)]
    offline: bool,
}

#[derive(Debug, Args)]
pub(super) struct LayersArguments {
    #[command(flatten)]
    file: MatrixFile,
    /// The share of this machine: the first of four has 1/4.
    #[arg(long, value_name = "I/N", default_value = "1/1", value_parser = shard)]
    shard: Shard,
    /// Make what the locks say; fail when one is missing or out of date.
    #[arg(long)]
    locked: bool,
    #[command(flatten)]
    cache: CacheOptions,
}

#[derive(Debug, Args)]
pub(super) struct ImagesArguments {
    #[command(flatten)]
    file: MatrixFile,
    /// The share of this machine: the first of four has 1/4.
    #[arg(long, value_name = "I/N", default_value = "1/1", value_parser = shard)]
    shard: Shard,
    /// Build what the locks say; fail when one is missing or out of date.
    #[arg(long)]
    locked: bool,
    /// Publish without proving that the images load.
    #[arg(long)]
    no_check: bool,
    /// Write JSON with the digest and the places of each image, by its name, into FILE; `imgforge schema matrix-metadata`
    /// describes it.
    #[arg(long, value_name = "FILE")]
    metadata_file: Option<PathBuf>,
    #[command(flatten)]
    cache: CacheOptions,
    #[command(flatten)]
    release: release::BuildReleaseOptions,
}

#[derive(Debug, Args)]
pub(super) struct EmitArguments {
    /// The engine.
    #[arg(value_enum)]
    engine: EmittedEngine,
    #[command(flatten)]
    file: MatrixFile,
    /// The number of machines that work at once.
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u16).range(1..))]
    shards: u16,
    /// The image, with imgforge in it, that containers are started of; for Kubernetes also with the matrix, in its working
    /// directory.
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    #[command(flatten)]
    cache: CacheOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EmittedEngine {
    /// A script that submits two job arrays to Slurm.
    Slurm,
    /// Two indexed jobs of Kubernetes.
    Kubernetes,
    /// A workflow of GitHub Actions.
    Github,
    /// A pipeline of GitLab.
    Gitlab,
}

impl EmittedEngine {
    fn engine(self) -> JobEngine {
        match self {
            Self::Slurm => JobEngine::Slurm,
            Self::Kubernetes => JobEngine::Kubernetes,
            Self::Github => JobEngine::Github,
            Self::Gitlab => JobEngine::Gitlab,
        }
    }
}

/// A share of the work, or why the text is none.
fn shard(text: &str) -> Result<Shard, String> {
    let parsed = text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
    match parsed {
        Some((number, of)) if (1..=of).contains(&number) => Ok(Shard { number, of }),
        _ => Err("write I/N, the number of this machine, from 1 on, and that of all: 1/4".to_owned()),
    }
}

/// A command on its way: the options of all commands, and those who watch.
struct MatrixRun<'a> {
    arguments: &'a super::Arguments,
    progress: &'a Terminal,
    quiet: &'a QuietImages<'a>,
}

impl MatrixFile {
    /// The images of the matrix, and the session in which they are read.
    fn open<'a>(&self, run: &MatrixRun<'a>, offline: bool) -> Result<(Session<'a>, Vec<MatrixEntry>)> {
        let session = run.arguments.session_for(offline, self.allow_outside, run.quiet)?;
        let session = Session { memory: Some(DecisionMemory::default()), ..session };
        let entries = pipeline::read_matrix(&self.matrix, self.output.as_deref(), &session)?;
        Ok((session, entries))
    }

    /// The arguments by which another process reads the same.
    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![self.matrix.display().to_string()];
        arguments.extend(self.output.iter().flat_map(|output| ["--output".to_owned(), output.clone()]));
        arguments.extend(self.allow_outside.then(|| "--allow-outside".to_owned()));
        arguments
    }
}

impl MatrixCommand {
    pub(super) fn execute(&self, arguments: &super::Arguments, progress: &Terminal) -> Result<()> {
        let quiet = QuietImages::new(progress);
        let run = MatrixRun { arguments, progress, quiet: &quiet };
        match self {
            Self::Plan(plan) => plan.execute(&run),
            Self::Lock(lock) => lock.execute(&run),
            Self::Layers(layers) => layers.execute(&run),
            Self::Images(images) => images.execute(&run),
            Self::Emit(emit) => emit.execute(&run),
        }
    }
}

/// The destinations of images; the default one of an image without is a layout.
fn destinations(entries: &[MatrixEntry]) -> Vec<ImagePlace> {
    let layout = ImagePlace::OciLayout { directory: PathBuf::new(), tag: None };
    entries.iter().map(|entry| entry.destination.clone().unwrap_or_else(|| layout.clone())).collect()
}

impl PlanArguments {
    fn execute(&self, run: &MatrixRun<'_>) -> Result<()> {
        let (session, entries) = self.file.open(run, self.offline)?;
        let session = run.arguments.with_caches(session, &self.cache.places()?, &destinations(&entries))?;
        let order = MatrixOrder { entries: &entries, locking: locking(self.locked), progress: run.progress };
        let planned = pipeline::plan_matrix(&order, &session)?;
        run.progress.finish();
        match self.json {
            true => PrintedText::json(&plan_json(&planned, self.shards))?.print(),
            false => self.table(&planned, page(OutputStream::Output, false)).print(),
        }
    }

    fn table(&self, planned: &PlannedMatrix, page: Page) -> PrintedText {
        let mut out = PrintedText::on(page);
        let listed = if self.all { planned.images.len() } else { LISTED };
        let rows = planned.images.iter().take(listed).map(|image| {
            let values = image.entry.image.shown.iter().map(|(key, value)| format!("{key} {value}"));
            let lacking =
                image.layers.iter().filter(|key| planned.layers[*key].cached == Some(false)).count();
            let mut row = vec![
                image.entry.image.name.clone(),
                values.collect::<Vec<_>>().join(", "),
                report::bytes(image.bytes),
                image.layers.len().to_string(),
            ];
            if planned.has_cache() {
                row.push(lacking.to_string());
            }
            row
        });
        let mut columns = vec![name("IMAGE"), prose("VALUES"), number("SIZE"), number("LAYERS")];
        if planned.has_cache() {
            columns.push(number("TO MAKE"));
        }
        out.table(&columns, rows.collect());
        match planned.images.len().saturating_sub(listed) {
            0 => {}
            more => out.line(format_args!("and {more} more (--all)")),
        }
        out.blank();
        let totals = Totals::of(planned);
        out.fact(
            "images",
            format_args!("{}, {} together", planned.images.len(), report::bytes(totals.images)),
        );
        out.fact(
            "layers",
            format_args!("{} different ones, {}", planned.layers.len(), report::bytes(totals.layers)),
        );
        if planned.has_cache() {
            out.fact("to make", format_args!("{}, {}", totals.lacking, report::bytes(totals.lacking_bytes)));
        }
        if let Some(count) = self.shards {
            let split = planned.split(usize::from(count));
            let shards = split.shards.iter().enumerate().map(|(index, shard)| {
                vec![
                    format!("{}/{count}", index + 1),
                    shard.keys.len().to_string(),
                    report::bytes(shard.bytes),
                ]
            });
            out.blank();
            out.table(&[name("SHARD"), number("LAYERS"), number("SIZE")], shards.collect());
        }
        out
    }
}

/// Sums over a matrix, in bytes.
#[derive(Default)]
struct Totals {
    images: u64,
    layers: u64,
    lacking: usize,
    lacking_bytes: u64,
}

impl Totals {
    fn of(planned: &PlannedMatrix) -> Self {
        let lacking = || planned.layers.values().filter(|layer| layer.cached == Some(false));
        Self {
            images: planned.images.iter().map(|image| image.bytes).sum(),
            layers: planned.layers.values().map(|layer| layer.work.bytes).sum(),
            lacking: lacking().count(),
            lacking_bytes: lacking().map(|layer| layer.work.bytes).sum(),
        }
    }
}

fn plan_json(planned: &PlannedMatrix, shards: Option<u16>) -> Value {
    let images = planned.images.iter().map(|image| {
        let entry = &image.entry;
        json!({
            "name": entry.image.name,
            "recipe": entry.recipe.display().to_string(),
            "values": entry.image.shown.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            "destination": entry.destination.as_ref().map(ToString::to_string),
            "platforms": image.platforms.iter().map(|platform| platform.platform()).collect::<Vec<_>>(),
            "bytes": image.bytes,
            "layers": image.layers,
        })
    });
    let layers = planned.layers.values().map(|layer| {
        json!({
            "key": layer.work.key,
            "title": layer.plan.title(),
            "bytes": layer.work.bytes,
            "images": layer.images,
            "ahead": layer.ahead,
            "cached": layer.cached,
        })
    });
    let split = shards.map(|count| planned.split(usize::from(count)).shards);
    let split = split.map(|shards| {
        let shard = shards.iter().map(|shard| json!({ "bytes": shard.bytes, "layers": shard.keys }));
        shard.collect::<Vec<_>>()
    });
    json!({
        "images": images.collect::<Vec<_>>(),
        "layers": layers.collect::<Vec<_>>(),
        "shards": split,
    })
}

impl LockArguments {
    fn execute(&self, run: &MatrixRun<'_>) -> Result<()> {
        let (session, entries) = self.file.open(run, self.offline)?;
        let order = MatrixOrder { entries: &entries, locking: locking(false), progress: run.progress };
        let writing = if self.check { LockWriting::Tell } else { LockWriting::Write };
        let lock = MatrixLockOrder { upgrade: self.upgrade.asked(), writing, layers: self.layers };
        let LockedMatrix { locks: locked, left } = pipeline::lock_matrix(&order, &lock, &session)?;
        run.progress.finish();
        let changed: Vec<&pipeline::Locked> = locked.iter().filter(|locked| locked.changed).collect();
        if !run.arguments.quiet {
            for locked in changed.iter().take(LISTED) {
                ending::locked(locked, run.arguments.progress, page(OutputStream::Error, false));
            }
            if let more @ 1.. = changed.len().saturating_sub(LISTED) {
                super::text::tell_line(format_args!("and {more} more locks"));
            }
            left_locks(&left, writing, run.arguments.progress);
            if changed.is_empty() && left.is_empty() && run.arguments.progress != ProgressStyle::Json {
                super::text::tell_line(format_args!("{} locks, nothing changed", locked.len()));
            }
        }
        match (self.check, changed.as_slice()) {
            (true, [first, ..]) => Err(Failure::advised(
                format!(
                    "{} of {} locks would change, `{}` among them",
                    changed.len(),
                    locked.len(),
                    first.path.display()
                ),
                self.up_to_date(),
            )),
            (true, []) if !left.is_empty() => Err(Failure::advised(
                format!(
                    "the matrix has no image for {} of its locks, `{}` among them",
                    left.len(),
                    left[0].display()
                ),
                self.up_to_date(),
            )),
            _ => Ok(()),
        }
    }

    fn up_to_date(&self) -> String {
        format!("bring them up to date with `imgforge matrix lock {}`", self.file.matrix.display())
    }
}

/// Tells the locks of images that the matrix no longer has.
fn left_locks(left: &[PathBuf], writing: LockWriting, style: ProgressStyle) {
    let is_written = writing == LockWriting::Write;
    if style == ProgressStyle::Json {
        for path in left {
            let path = path.display().to_string();
            super::progress::event(&json!({"event": "lock-removed", "path": path, "written": is_written}));
        }
        return;
    }
    let done = if is_written { "removed" } else { "would remove" };
    for path in left.iter().take(LISTED) {
        let path = path.display();
        super::text::tell_line(format_args!("{done} {path}: the matrix has no such image"));
    }
    if let more @ 1.. = left.len().saturating_sub(LISTED) {
        super::text::tell_line(format_args!("{done} {more} more of the kind"));
    }
}

impl LayersArguments {
    fn execute(&self, run: &MatrixRun<'_>) -> Result<()> {
        let (session, entries) = self.file.open(run, false)?;
        let places = [ImagePlace::Registry(self.cache.target()?)];
        let session = run.arguments.with_caches(session, &self.cache.places()?, &places)?;
        let order = MatrixOrder { entries: &entries, locking: locking(self.locked), progress: run.progress };
        let made = pipeline::make_layers(&order, self.shard, &session)?;
        run.progress.finish();
        let Shard { number, of } = self.shard;
        let size = report::bytes(made.put_bytes);
        super::text::print(&format!(
            "shard {number} of {of}: {} layers, of which {} were put into the cache ({size})\n",
            made.layers, made.put
        ))
    }
}

impl ImagesArguments {
    fn execute(&self, run: &MatrixRun<'_>) -> Result<()> {
        let release = self.release.order()?;
        let (session, entries) = self.file.open(run, false)?;
        let session = run.arguments.with_caches(session, &self.cache.places()?, &destinations(&entries))?;
        let matrix = MatrixOrder { entries: &entries, locking: locking(self.locked), progress: run.progress };
        let checking = if self.no_check { Checking::Skip } else { Checking::Refuse };
        let order = ImagesOrder { shard: self.shard, checking, release: &release };
        let images = std::cell::RefCell::new(serde_json::Map::new());
        let printed = std::cell::Cell::new(Ok(()));
        let finished = |entry: &MatrixEntry, built: Result<Built>| match built {
            Ok(built) => {
                images.borrow_mut().insert(entry.image.name.clone(), built_json(&built));
                let digest = built.published.descriptor().digest();
                let line = super::text::print(&format!("{digest} {}\n", entry.image.name));
                printed.set(printed.replace(Ok(())).and(line));
            }
            Err(error) => {
                run.progress.abandon();
                ending::failed(&error, run.arguments.progress, screen::has_color(run.arguments.color));
                job::failed(&error, run.arguments.progress);
            }
        };
        let failed = pipeline::build_images(&matrix, &order, &session, &finished);
        run.progress.finish();
        printed.into_inner()?;
        let images = Value::Object(images.into_inner());
        if let Some(file) = &self.metadata_file {
            write_file(file, format!("{images:#}\n"))?;
        }
        match failed {
            0 => Ok(()),
            failed => Err(Failure::advised(
                format!("{failed} images were not built"),
                "the reasons stand above; run it again: what is published stays as it is",
            )),
        }
    }
}

impl EmitArguments {
    fn execute(&self, run: &MatrixRun<'_>) -> Result<()> {
        self.file.open(run, true)?;
        let insecure = run.arguments.insecure_registry.iter();
        let insecure = insecure.flat_map(|host| ["--insecure-registry".to_owned(), host.clone()]);
        let locked = ["--locked".to_owned()];
        let all =
            self.file.arguments().into_iter().chain(locked).chain(self.cache.arguments()).chain(insecure);
        let jobs = MatrixJobs {
            name: recipe::in_names(&self.file.matrix.file_stem().unwrap_or_default().to_string_lossy()),
            shards: self.shards,
            arguments: all.collect(),
            image: self.image.clone(),
        };
        super::text::print(&jobs.text(self.engine.engine())?)
    }
}

fn built_json(built: &Built) -> Value {
    json!({
        "digest": built.published.descriptor().digest(),
        "destinations": built.destinations.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}
