//! Makes the record again: `cargo nextest run --run-ignored only records_what_the_conflicts_ask_for`, with a network.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Arc, Mutex};

use imgforge::cuda::ComponentWheel;
use imgforge::failure::Hinted;
use imgforge::net::config;
use imgforge::net::http::{Http, HttpSettings};
use imgforge::net::index::{Freshness, PackageIndex};
use imgforge::net::netrc::Netrc;
use imgforge::pypa::metadata::CoreMetadata;
use imgforge::pypa::needs::BinaryNeeds;
use imgforge::pypa::simple::{DistFile, Project};
use imgforge::pypa::target::Target;
use imgforge::pypa::wheel::Outline;
use imgforge::recipe::Policy;
use imgforge::resolve::solve::{Catalog, CatalogError, Scout, Want, WheelLibrary};
use imgforge::store::Store;
use uv_distribution_filename::DistFilename;
use uv_normalize::PackageName;
use uv_pep440::Version;

use crate::conflicts::{COMBINATIONS, moment, target};
use crate::support::record::{RecordedProject, directory, file, without};
use crate::support::resolution;

/// So many versions before and after one whose metadata is asked for are recorded too, so that a solver that looks
/// at versions in another order still finds them.
const AROUND: usize = 2;

#[test]
#[ignore = "asks the package index, and writes into the source tree"]
fn records_what_the_conflicts_ask_for() {
    let machine = config::MachineConfig::here();
    let netrc = config::MachineConfig::here().netrc().and_then(|path| Netrc::read(&path).unwrap());
    let settings = HttpSettings { netrc: netrc.unwrap_or_default(), ..HttpSettings::default() };
    let store = Store::open(concat!(env!("CARGO_TARGET_TMPDIR"), "/recorder")).unwrap();
    let sources = config::sources(&machine).unwrap();
    let index =
        PackageIndex::new(Arc::new(Http::new(settings).unwrap()), store, sources, Freshness::Believed);
    let recorder = Recorder { index, projects: Mutex::default(), metadata: Mutex::default() };
    for combination in COMBINATIONS {
        for policy in [Policy::Shared, Policy::Pip] {
            let target = target(combination.python);
            let answer = resolution::resolve(combination.frameworks, &target, moment(), policy, &recorder);
            let answer = answer.map_or_else(|error| error.to_string(), |_| "resolved".into());
            eprintln!("{} under {policy:?}: {answer}", combination.frameworks);
        }
    }
    recorder.widen();
    recorder.write();
}

/// The machine's package index, and what was asked of it.
struct Recorder {
    index: PackageIndex,
    projects: Mutex<BTreeMap<PackageName, Option<Arc<Project>>>>,
    metadata: Mutex<BTreeMap<String, Arc<CoreMetadata>>>,
}

impl Catalog for Recorder {
    fn project(&self, name: &PackageName) -> Result<Arc<Project>, CatalogError> {
        let answer = self.index.project(name);
        let known = match &answer {
            Ok(project) => Some(project.clone()),
            Err(CatalogError::NotFound { .. }) => None,
            Err(error) => panic!("{error}: {:?}", error.hint()),
        };
        self.projects.lock().unwrap().insert(name.clone(), known);
        answer
    }

    fn metadata(&self, wheel: &DistFile) -> Result<Arc<CoreMetadata>, CatalogError> {
        let answer = self.index.metadata(wheel)?;
        self.metadata.lock().unwrap().insert(wheel.filename.to_string(), answer.clone());
        Ok(answer)
    }

    fn outline(&self, wheel: &DistFile) -> Result<Arc<Outline>, CatalogError> {
        self.index.outline(wheel)
    }

    fn libraries(&self, wheel: &DistFile) -> Result<Arc<Vec<WheelLibrary>>, CatalogError> {
        self.index.libraries(wheel)
    }

    fn needs(&self, wheel: &DistFile) -> Result<Arc<BinaryNeeds>, CatalogError> {
        self.index.needs(wheel)
    }

    fn prefetch(&self, wants: Vec<Want>, scout: &Arc<dyn Scout>) {
        self.index.prefetch(wants, scout);
    }

    fn prefetch_metadata(&self, wheels: Vec<DistFile>) {
        self.index.prefetch_metadata(wheels);
    }

    fn prefetch_outlines(&self, wheels: Vec<DistFile>) {
        self.index.prefetch_outlines(wheels);
    }

    fn prefetch_libraries(&self, wheels: Vec<DistFile>) {
        self.index.prefetch_libraries(wheels);
    }

    fn prefetch_needs(&self, wheels: Vec<DistFile>) {
        self.index.prefetch_needs(wheels);
    }
}

impl Recorder {
    /// Asks for what a slightly different solver would ask for: neighbouring versions, and everything of components.
    fn widen(&self) {
        let asked: BTreeSet<String> = self.metadata.lock().unwrap().keys().cloned().collect();
        for project in self.known() {
            let wheels = match ComponentWheel::of(project.name.as_str()) {
                Some(ComponentWheel::Carries { .. }) => fitting(&project),
                Some(ComponentWheel::Metapackage) | None => neighbours(&project, &asked),
            };
            self.ask(wheels);
        }
        loop {
            let unknown = self.unknown_components();
            if unknown.is_empty() {
                return;
            }
            for name in unknown {
                if let Ok(project) = self.project(&name) {
                    self.ask(fitting(&project));
                }
            }
        }
    }

    fn ask(&self, wheels: Vec<DistFile>) {
        self.prefetch_metadata(wheels.clone());
        for wheel in wheels {
            if let Err(error) = self.metadata(&wheel) {
                eprintln!("passed over: {error}");
            }
        }
    }

    fn known(&self) -> Vec<Arc<Project>> {
        self.projects.lock().unwrap().values().flatten().cloned().collect()
    }

    /// Components that recorded metadata names and nobody asked about.
    fn unknown_components(&self) -> BTreeSet<PackageName> {
        let projects = self.projects.lock().unwrap();
        let metadata = self.metadata.lock().unwrap();
        let named =
            metadata.values().flat_map(|metadata| &metadata.requires_dist).map(|requires| &requires.name);
        named
            .filter(|name| ComponentWheel::of(name.as_str()).is_some() && !projects.contains_key(name))
            .cloned()
            .collect()
    }

    fn write(&self) {
        let directory = directory();
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        for (name, project) in &*self.projects.lock().unwrap() {
            let text = match project {
                Some(project) => self.recorded(project).text(),
                None => "absent\n".into(),
            };
            fs::write(file(name), text).unwrap();
        }
    }

    fn recorded(&self, project: &Project) -> RecordedProject {
        let files = fitting(project);
        let all = self.metadata.lock().unwrap();
        let metadata = files.iter().filter_map(|file| {
            let name = file.filename.to_string();
            let metadata = all.get(&name)?.clone();
            Some((name, metadata))
        });
        let metadata = metadata.collect();
        let others = lacking(project, &files).iter().map(|version| without(&project.name, version)).collect();
        RecordedProject {
            project: Project { files, others, ..Project::empty(project.name.clone()) },
            metadata,
        }
    }
}

/// The versions that none of `files` is of, and that were not uploaded as wheels too late.
fn lacking(project: &Project, files: &[DistFile]) -> BTreeSet<Version> {
    let (old, new): (Vec<_>, Vec<_>) = project.files.iter().partition(|file| is_old(file));
    let version = |file: &DistFile| file.filename.version.clone();
    let has: BTreeSet<Version> = files.iter().chain(new).map(version).collect();
    let sources = project.others.iter().filter_map(|name| {
        DistFilename::try_from_filename(name, &project.name).map(DistFilename::into_version)
    });
    old.into_iter().map(version).chain(sources).filter(|version| !has.contains(version)).collect()
}

fn is_old(file: &DistFile) -> bool {
    file.upload_time.is_some_and(|time| time < moment())
}

/// The wheels that fit one of the targets, in the order of the page.
fn fitting(project: &Project) -> Vec<DistFile> {
    let targets = targets();
    let fits = |file: &&DistFile| is_old(file) && targets.iter().any(|target| is_for(target, file));
    project.files.iter().filter(fits).cloned().collect()
}

fn is_for(target: &Target, file: &DistFile) -> bool {
    let admits = file.requires_python.as_ref().is_none_or(|python| target.admits(python));
    admits && target.fit(&file.filename).is_ok()
}

fn targets() -> Vec<Target> {
    let pythons: BTreeSet<&str> = COMBINATIONS.iter().map(|combination| combination.python).collect();
    pythons.into_iter().map(target).collect()
}

/// For each target the best wheels of the versions around those that were asked for.
fn neighbours(project: &Project, asked: &BTreeSet<String>) -> Vec<DistFile> {
    let mut wheels = BTreeMap::new();
    for target in targets() {
        let mut best: BTreeMap<&Version, &DistFile> = BTreeMap::new();
        for file in project.files.iter().filter(|file| is_old(file) && is_for(&target, file)) {
            let present = best.entry(&file.filename.version).or_insert(file);
            if target.fit(&file.filename).ok() > target.fit(&present.filename).ok() {
                *present = file;
            }
        }
        let best: Vec<&DistFile> = best.into_values().filter(|file| file.yanked.is_none()).collect();
        for (at, file) in best.iter().enumerate() {
            if asked.contains(&file.filename.to_string()) {
                let around = at.saturating_sub(AROUND)..(at + AROUND + 1).min(best.len());
                wheels.extend(best[around].iter().map(|file| (file.filename.to_string(), (*file).clone())));
            }
        }
    }
    wheels.into_values().collect()
}

#[test]
fn the_record_is_read_as_it_was_written() {
    for entry in fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        if let Some(recorded) = RecordedProject::parse(&name, &text) {
            assert_eq!(recorded.text(), text, "{name}");
        }
    }
}
