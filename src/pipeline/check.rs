//! Checks a finished image: learns what is not known of its layers yet, and judges it by every rule.

use std::path::Path;
use std::{panic, thread};

use serde_json::{Map, Value};

use super::{Checking, Planned, Session, gpus, image_base, shared_layers, shared_records};
use crate::base::scan::{self, ImageConfigFacts};
use crate::base::{BaseInventory, InventoryError, PythonStart};
use crate::check::graph::Graph;
use crate::check::graph::html::ImagePage;
use crate::check::graph::sizes::layer_sizes;
use crate::check::{self, GpuSupport, REPORT_FORMAT, Report, Silence, Subject, VersionsSeen};
use crate::cuda::{Driver, Gpu};
use crate::failure::{Context, Hinted, Result};
use crate::image::{self, Image};
use crate::importing::{self, ImageInterpreter, UnpackedImage};
use crate::layer::{plain_tar, records};
use crate::observe::check_facts::{CheckFacts, EVIDENCE_FORMAT};
use crate::observe::inventory_facts::{FACTS_FORMAT, InventoryFacts};
use crate::oci::image::from_json;
use crate::oci::{Architecture, Digest};
use crate::place::ImagePlace;
use crate::source::{self, SourceImage};
use crate::store::{self, Store};

const RECORD: &str = "check";

/// An image as a check sees it, its layers having been read.
#[derive(Debug, Clone)]
pub struct Checked<'a> {
    /// The digests of its layers, bottom first.
    layers: Vec<Digest>,
    config: ImageConfigFacts,
    python: Option<String>,
    wanted: WantedMachines<'a>,
    silences: &'a [Silence],
    /// The versions of its distributions that are known to run on GPUs.
    seen: VersionsSeen,
}

/// The extent of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckExtent {
    /// The files alone.
    Files,
    /// The imports as well: the image's interpreter imports, in a sandbox, what no other distribution requires.
    Imports,
}

/// An order to check.
#[derive(Debug, Clone, Copy)]
pub struct CheckOrder<'a, 'w> {
    /// The place of the image.
    pub image: &'a ImagePlace,
    /// The platform that is meant, where there are several; this machine's without one.
    pub platform: Option<Architecture>,
    /// The version of Python that is meant, where there are several.
    pub python: Option<&'a str>,
    /// The machines that it shall run on.
    pub wanted: WantedMachines<'w>,
    /// The extent of the check.
    pub extent: CheckExtent,
}

/// The machines that an image shall run on.
#[derive(Debug, Clone, Copy, Default)]
pub struct WantedMachines<'a> {
    /// The oldest driver.
    pub driver: Option<&'a Driver>,
    /// The GPUs.
    pub gpus: &'a [Gpu],
}

impl<'a> Checked<'a> {
    /// An image: reads the layers that were never read before, and brings all into the store to be imported from.
    pub fn read(order: &CheckOrder<'_, 'a>, session: &Session<'_>) -> Result<Self> {
        let CheckOrder { image, platform, python, wanted, extent } = *order;
        let image = source::open(image, platform, session.sources())?;
        if extent == CheckExtent::Imports {
            importing::check_machine(image.architecture)?;
        }
        image_base::scan(&image, session)?;
        if extent == CheckExtent::Imports {
            image_base::bring_contents(&image, session)?;
        }
        session.progress.stage("checking");
        Self::of(&image, python, wanted)
    }

    /// An image whose layers were all read.
    pub(super) fn of(image: &SourceImage, python: Option<&str>, wanted: WantedMachines<'a>) -> Result<Self> {
        Ok(Self {
            layers: image.layers.iter().map(|layer| layer.descriptor.digest()).collect(),
            config: config_facts(image.architecture, &image.config)?,
            python: python.map(str::to_owned),
            wanted,
            silences: &[],
            seen: VersionsSeen::new(),
        })
    }

    /// The key of its report.
    fn key(&self) -> Digest {
        Digest::of(format!("{REPORT_FORMAT}.{FACTS_FORMAT}.{EVIDENCE_FORMAT} {self:?}"))
    }

    /// The findings of every rule.
    pub fn report(&self, extent: CheckExtent, session: &Session<'_>) -> Result<Report> {
        let report = of_layers(self, &session.store)?;
        match extent {
            CheckExtent::Files => Ok(report),
            CheckExtent::Imports => self.with_imports(report, session),
        }
    }

    /// Adds the findings of imports; the image is unpacked for their time.
    fn with_imports(&self, mut report: Report, session: &Session<'_>) -> Result<Report> {
        let (trials, interpreter) = with_subject(self, &session.store, |subject| {
            (check::import_trials(subject), subject.python.map(|start| self.interpreter(start)))
        })?;
        let Some(interpreter) = interpreter.filter(|_| !trials.is_empty()) else { return Ok(report) };
        session.progress.stage("unpacking the image");
        let stored = |digest: &Digest| plain_tar::stored(&session.store, digest).unwrap_or(*digest);
        let blobs: Vec<Digest> = self.layers.iter().map(stored).collect();
        let unpacked = UnpackedImage::new(&session.store, &blobs)?;
        session.progress.stage("importing its distributions");
        let modules: Vec<String> = trials.iter().map(|trial| trial.module.clone()).collect();
        let errors = unpacked.import(&interpreter, &modules, session.confinement)?;
        report.looked_at.imported = Some(modules.len());
        report.add(check::failed_imports(&trials, &errors), self.silences);
        Ok(report)
    }

    fn interpreter(&self, start: &PythonStart) -> ImageInterpreter {
        ImageInterpreter {
            program: format!("/{}", start.program),
            environment: self.config.env.clone(),
            directory: match self.config.working_directory.as_str() {
                "" => "/".to_owned(),
                directory => directory.to_owned(),
            },
        }
    }

    /// The GPUs and drivers that it runs on.
    pub(super) fn gpu_support(&self, store: &Store) -> Result<GpuSupport> {
        with_subject(self, store, check::gpu_support)
    }

    /// The graph of frameworks and libraries of CUDA in it, its GPUs and its layers. Unlike a report they are not kept: few
    /// ask for them.
    pub fn page(&self, session: &Session<'_>) -> Result<ImagePage> {
        let store = &session.store;
        let (graph, gpus) =
            with_subject(self, store, |subject| (Graph::of(subject), check::gpu_support(subject)))?;
        let layers = self.layers.iter().map(|digest| records::evidence_of(store, digest));
        Ok(ImagePage { graph, gpus, layers: layer_sizes(&self.layers, layers.collect::<Result<_, _>>()?) })
    }
}

/// Writes a picture at `path`, in place of whatever is there, when it is whole.
pub fn write_picture(path: &Path, picture: &str) -> Result<()> {
    store::write(path, picture.as_bytes()).with_context(|| format!("could not write `{}`", path.display()))
}

/// An image that was built and would not work.
#[derive(Debug, thiserror::Error)]
#[error("the image would not work: the check found {}", .report.errors_in_short())]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub struct CheckFailed {
    pub report: Report,
}

impl Hinted for CheckFailed {
    fn hint(&self) -> Option<String> {
        Some("change the recipe as the findings say, or build with `--no-check` to look at the image".into())
    }
}

/// Checks an image that was built, before it is published; one that would not work is refused.
pub(super) fn before_publishing(
    checking: Checking,
    planned: &Planned,
    image: &Image,
    session: &Session<'_>,
) -> Result<Option<Report>> {
    match checking {
        Checking::Refuse => of_image(planned, image, session).map(Some),
        Checking::Skip => Ok(None),
    }
}

/// Checks an image that was just built; its layers were looked into when they were written.
fn of_image(planned: &Planned, image: &Image, session: &Session<'_>) -> Result<Report> {
    session.progress.stage("checking");
    let wanted_gpus: Vec<Gpu> = planned.inputs.recipe.cuda.gpus.iter().map(|gpu| gpu.value.clone()).collect();
    // They matter where a GPU is asked for alone: a report that needs none of them is taken again.
    let seen = if wanted_gpus.is_empty() { VersionsSeen::new() } else { gpus::seen(planned, &session.store) };
    let checked = Checked {
        layers: image.layers.iter().map(|layer| layer.digest).collect(),
        config: config_facts(planned.plan.architecture, &image.config_bytes)?,
        python: planned.inputs.python(),
        wanted: WantedMachines {
            driver: planned.gpus.hosts.limiting(planned.resolution.toolkits.keys()),
            gpus: &wanted_gpus,
        },
        silences: &planned.inputs.recipe.ignore,
        seen,
    };
    let key = checked.key();
    shared_records::bring(RECORD, &key, session);
    if !session.store.has_record(RECORD, &key) {
        let layers = image.layers.iter().map(|layer| (layer.digest, layer.diff_id));
        shared_records::bring_all_facts(layers, session);
        for layer in &image.layers {
            if records::content(&session.store, &layer.digest).is_none() {
                shared_layers::bring_left(&layer.digest, session)?;
            }
        }
    }
    let report = of_layers(&checked, &session.store)?;
    session.shared.note_record(RECORD, key);
    gpus::keep(planned, &report.gpus, &session.store)?;
    if report.has_errors() { Err(CheckFailed { report }.into()) } else { Ok(report) }
}

/// Checks an image that was put over another base: what is wrong with it and was not before is refused.
pub(super) fn of_rebased(before: &SourceImage, image: &Image, session: &Session<'_>) -> Result<()> {
    session.progress.stage("checking");
    let of_before = Checked::of(before, None, WantedMachines::default())?;
    let after = Checked {
        layers: image.layers.iter().map(|layer| layer.digest).collect(),
        config: config_facts(before.architecture, &image.config_bytes)?,
        ..of_before.clone()
    };
    let known = of_layers(&of_before, &session.store)?.findings;
    let mut report = of_layers(&after, &session.store)?;
    report.findings.retain(|finding| !known.contains(finding));
    if report.has_errors() { Err(CheckFailed { report }.into()) } else { Ok(()) }
}

/// Checks an image whose layers were all read or written; the report of an image that was checked before is kept.
fn of_layers(checked: &Checked<'_>, store: &Store) -> Result<Report> {
    let key = checked.key();
    if let Some(report) = store.record(RECORD, &key) {
        return Ok(report);
    }
    // A thread of its own takes over the memory that those which wrote the layers gave back: allocators keep it by thread.
    let judging = thread::scope(|scope| scope.spawn(|| with_subject(checked, store, check::check)).join());
    let report = judging.unwrap_or_else(|panic| panic::resume_unwind(panic))?;
    store.put_record(RECORD, &key, &report)?;
    Ok(report)
}

/// Applies `look` to the image, its layers stacked.
fn with_subject<T>(checked: &Checked<'_>, store: &Store, look: impl FnOnce(&Subject<'_>) -> T) -> Result<T> {
    let (inventory, evidence) = thread::scope(|scope| {
        let inventory = scope.spawn(|| inventory(checked, store));
        let evidence = evidence(checked, store);
        (inventory.join().unwrap_or_else(|panic| panic::resume_unwind(panic)), evidence)
    });
    let (inventory, evidence) = (inventory?, evidence?);
    Ok(look(&Subject {
        evidence: &evidence,
        inventory: inventory.as_ref().map(|(inventory, _)| inventory),
        python: inventory.as_ref().map(|(_, start)| start),
        config: &checked.config,
        driver: checked.wanted.driver,
        gpus: checked.wanted.gpus,
        seen: &checked.seen,
        silences: checked.silences,
    }))
}

fn evidence(checked: &Checked<'_>, store: &Store) -> Result<CheckFacts> {
    let layers = checked.layers.iter().map(|digest| records::evidence_of(store, digest));
    Ok(CheckFacts::stacked(layers.collect::<Result<Vec<_>, _>>()?))
}

/// The settings of a config that matter.
pub(super) fn config_facts(architecture: Architecture, config: &[u8]) -> Result<ImageConfigFacts> {
    let members: Map<String, Value> = from_json(config).context("could not read the image's config")?;
    Ok(ImageConfigFacts::of_runtime(architecture, image::runtime_of(&members)?))
}

/// The inventory, and the interpreter that a container starts; `None` for an image without Python or without a C library,
/// such as one program on nothing, in which there is less to check.
fn inventory(checked: &Checked<'_>, store: &Store) -> Result<Option<(BaseInventory, PythonStart)>> {
    let mut facts = InventoryFacts::default();
    for digest in &checked.layers {
        facts.stack(records::content_of(store, digest)?.facts);
    }
    match scan::scan_started(&facts, &checked.config, checked.python.as_deref()) {
        Ok(inventory) => Ok(Some(inventory)),
        Err(InventoryError::NoPython | InventoryError::NoLibc) => Ok(None),
        Err(error) => Err(error.of_image().into()),
    }
}
