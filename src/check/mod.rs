//! Proves over a finished image that what its frameworks load is there, fits, and is there once; and that pip's
//! bookkeeping is true. Nothing is executed, no GPU is asked.
//!
//! ```text
//! Evidence ─ Loader ─► Process of every entry point ─┬─► Finding… ─► Report
//! Inventory ─ World (distributions, modules) ────────┴─► Graph ─► SVG or HTML
//! ```

mod about;
mod advice;
mod company;
mod config;
mod copies;
mod files;
mod finding;
mod gpus;
pub mod graph;
mod imports;
mod interposed;
mod linking;
pub mod loader;
mod loading;
mod module_faults;
mod module_finder;
pub mod observation;
mod opened;
mod pip;
mod providers;
mod python;
mod reached_file;
mod rule;
#[cfg(test)]
pub(crate) mod samples;
mod silence;
mod standard_library;
mod text;
mod toolkit;
mod trials;
mod world;

use std::{panic, thread};

use serde::{Deserialize, Serialize};

pub use about::{About, DistributionId};
pub use advice::Advice;
pub use finding::{Finding, Level};
pub use gpus::{GpuCodeOwner, GpuLibrary, GpuSupport, OwnedGpuCode, VersionsSeen, coverage};
pub use observation::Observation;
pub use rule::Rule;
pub use silence::Silence;
pub use trials::{ImportTrial, failed_imports, import_trials};

use crate::base::scan::ImageConfigFacts;
use crate::base::{BaseInventory, PythonStart};
use crate::cuda::{Driver, Gpu};
use crate::elf::CacheError;
use crate::observe::check_facts::CheckFacts;
use imports::ImportedFiles;
use linking::PythonProcess;
use loader::{Loader, LoaderSettings};
use loading::Loading;
use world::World;

/// Raise when the rules say something else of the same image: reports are made again.
pub const REPORT_FORMAT: u32 = 15;

/// The subject of a check.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The evidence of its layers, stacked.
    pub evidence: &'a CheckFacts,
    /// The inventory; `None` for an image without Python.
    pub inventory: Option<&'a BaseInventory>,
    /// The interpreter that a container starts; `None` for an image without Python.
    pub python: Option<&'a PythonStart>,
    /// The part of its config that matters.
    pub config: &'a ImageConfigFacts,
    /// The oldest driver to serve, where a recipe says.
    pub driver: Option<&'a Driver>,
    /// The GPUs to run on, where a recipe says.
    pub gpus: &'a [Gpu],
    /// The versions that are known to run on others.
    pub seen: &'a VersionsSeen,
    /// The findings that are taken as they are.
    pub silences: &'a [Silence],
}

/// The result of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The worst first, then by rule and subject.
    pub findings: Vec<Finding>,
    /// The accepted findings, each with its reason.
    pub ignored: Vec<(Finding, String)>,
    /// The GPUs and drivers that the image runs on.
    pub gpus: GpuSupport,
    /// The extent of the check.
    pub looked_at: LookedAt,
}

/// The extent of a check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookedAt {
    /// Files of any kind.
    pub files: usize,
    /// ELF files for the image's architecture.
    pub objects: usize,
    /// Programs and extension modules that were loaded with all they need.
    pub entry_points: usize,
    /// Installed distributions.
    pub distributions: usize,
    /// Modules that the image's interpreter imported, where that was asked for.
    pub imported: Option<usize>,
}

impl Report {
    /// Returns whether anything was found that keeps the image from working.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.level == Level::Error)
    }

    /// The errors in one line: `2 errors (missing-library in /opt/a.so, missing-module in demo 1.0)`.
    pub fn errors_in_short(&self) -> String {
        const NAMED: usize = 3;
        let errors: Vec<&Finding> = self.findings.iter().filter(|it| it.level == Level::Error).collect();
        let named = errors.iter().take(NAMED).map(|it| format!("{} in {}", it.rule().id(), it.subject));
        let more = errors.len().saturating_sub(NAMED);
        let named: Vec<String> = named.chain((more > 0).then(|| format!("{more} more"))).collect();
        let word = if errors.len() == 1 { "error" } else { "errors" };
        format!("{} {word} ({})", errors.len(), named.join(", "))
    }

    /// Adds findings, but for those that are silenced.
    pub fn add(&mut self, findings: Vec<Finding>, silences: &[Silence]) {
        for finding in findings {
            match silences.iter().find(|silence| silence.covers(&finding)) {
                Some(silence) => self.ignored.push((finding, silence.reason.clone())),
                None => self.findings.push(finding),
            }
        }
        self.findings.sort();
        self.findings.dedup();
        self.ignored.sort();
        self.ignored.dedup();
    }

    /// The number of findings of a level.
    pub fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }
}

/// Checks an image by every rule.
pub fn check(subject: &Subject<'_>) -> Report {
    let (loader, damage) = loader(subject);
    let mut findings: Vec<Finding> = damage.iter().map(damaged_cache).collect();
    let world = World::new(subject);
    let support = gpus::support(subject, &world);
    let linked = thread::scope(|scope| {
        let of_files = scope.spawn(|| [files::findings(subject.evidence), pip::findings(subject, &world)]);
        let imported = ImportedFiles::of(subject, &world);
        let python = PythonProcess::of(&loader, &world);
        let linked = linking::findings(&loader, &world, python.as_ref(), &imported);
        findings.extend(imported.findings);
        findings.extend(config::findings(subject));
        findings.extend(python::findings(&world));
        findings.extend(toolkit::findings(subject, &world, &loader));
        findings.extend(gpus::findings(subject, &world, &support));
        let python = python.as_ref().filter(|python| python.starts());
        if let (Some(inventory), Some(python)) = (subject.inventory, python) {
            findings.extend(opened::findings(inventory, &world, &loader, python));
            if !inventory.cuda.is_empty() {
                let loadings = Loading::all(&loader, python);
                findings.extend(copies::findings(inventory, &world, &loader, &loadings));
                findings.extend(interposed::findings(inventory, &world, &loader, python, &loadings));
            }
        }
        findings.extend(
            of_files.join().unwrap_or_else(|panic| panic::resume_unwind(panic)).into_iter().flatten(),
        );
        linked
    });
    findings.extend(linked.findings);
    let looked_at = LookedAt {
        files: subject.evidence.files().count(),
        objects: loader.objects().count(),
        entry_points: linked.entry_points,
        distributions: world.distributions.len(),
        imported: None,
    };
    let mut report = Report { looked_at, gpus: support, ..Report::default() };
    report.add(findings, subject.silences);
    report
}

/// The GPUs and drivers that an image runs on.
pub fn gpu_support(subject: &Subject<'_>) -> GpuSupport {
    gpus::support(subject, &World::new(subject))
}

/// The image's loader, and what is wrong with its cache.
fn loader<'a>(subject: &Subject<'a>) -> (Loader<'a>, Option<CacheError>) {
    let settings = LoaderSettings {
        architecture: subject.config.architecture,
        library_path: subject.config.env.get("LD_LIBRARY_PATH").cloned(),
        preload: subject.config.env.get("LD_PRELOAD").cloned(),
        isa_level: 0,
    };
    match Loader::new(subject.evidence, settings.clone()) {
        Ok(loader) => (loader, None),
        Err(error) => (Loader::without_cache(subject.evidence, settings), Some(error)),
    }
}

fn damaged_cache(error: &CacheError) -> Finding {
    Finding {
        level: Level::Error,
        subject: About::Path("/etc/ld.so.cache".to_owned()),
        observation: Observation::LoaderCache { reason: error.to_string() },
    }
}
