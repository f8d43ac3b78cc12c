//! A record of what a package index knew one day, as text below `tests/it/recorded/index`, and the catalog it makes.
//!
//! A project is a file, and a wheel a line in it, in the order of the index's page; what the wheel's metadata says
//! follows, indented, when it was recorded:
//!
//! ```text
//! without 0.1 0.2                      versions of which no wheel is recorded
//! python >=3.8                         what the index says of the wheels below it
//! wheel NAME UPLOADED SIZE SHA256      seconds since the Unix epoch, bytes
//!  Requires-Dist: numpy>=1.22
//! wheel NAME UPLOADED SIZE SHA256 yanked WHY
//!  same NAME                           its metadata is that of the wheel of this name, above it
//! ```
//!
//! A file that says `absent` stands for a project that the index does not have.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use imgforge::pypa::metadata::{self, CoreMetadata};
use imgforge::pypa::needs::BinaryNeeds;
use imgforge::pypa::simple::{CoreMetadataFile, DistFile, Project};
use imgforge::pypa::wheel::Outline;
use imgforge::resolve::solve::{Catalog, CatalogError, Scout, Want, WheelLibrary};
use url::Url;
use uv_distribution_filename::WheelFilename;
use uv_normalize::PackageName;
use uv_pep440::{Version, VersionSpecifiers};

/// A project as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedProject {
    pub project: Project,
    /// By file name, of the wheels whose metadata was recorded.
    pub metadata: BTreeMap<String, Arc<CoreMetadata>>,
}

/// The catalog of what was recorded. Asking for anything else is a panic that says how to record it.
#[derive(Default)]
pub struct Record {
    read: Mutex<BTreeMap<PackageName, Option<Arc<Read>>>>,
}

/// A project whose file was read.
struct Read {
    project: Arc<Project>,
    metadata: BTreeMap<String, Arc<CoreMetadata>>,
}

const AGAIN: &str = "is not in the record: make it again, as tests/it/recorder.rs says";

/// The directory of the recorded projects.
pub fn directory() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/recorded/index"))
}

/// The file of the recorded project `name`.
pub fn file(name: &PackageName) -> PathBuf {
    directory().join(format!("{name}.txt"))
}

impl Record {
    /// The record of `name`; `None` for a project that the index does not have.
    fn read(&self, name: &PackageName) -> Option<Arc<Read>> {
        let mut read = self.read.lock().unwrap();
        let load = || {
            let text = fs::read_to_string(file(name));
            let text = text.unwrap_or_else(|_| panic!("the project `{name}` {AGAIN}"));
            let recorded = RecordedProject::parse(name, &text)?;
            Some(Arc::new(Read { project: Arc::new(recorded.project), metadata: recorded.metadata }))
        };
        read.entry(name.clone()).or_insert_with(load).clone()
    }

    /// Returns whether anything was asked of `name`.
    pub fn has(&self, name: &PackageName) -> bool {
        file(name).exists()
    }

    /// The wheels of `name`, and the metadata of those that have one in the record.
    pub fn wheels(&self, name: &PackageName) -> Vec<(DistFile, Option<Arc<CoreMetadata>>)> {
        let Some(read) = self.read(name) else { return Vec::new() };
        let metadata = |file: &DistFile| read.metadata.get(&file.filename.to_string()).cloned();
        read.project.files.iter().map(|file| (file.clone(), metadata(file))).collect()
    }
}

impl Catalog for Record {
    fn project(&self, name: &PackageName) -> Result<Arc<Project>, CatalogError> {
        let absent = || CatalogError::NotFound { name: name.clone(), searched: vec!["the record".into()] };
        Ok(self.read(name).ok_or_else(absent)?.project.clone())
    }

    fn metadata(&self, wheel: &DistFile) -> Result<Arc<CoreMetadata>, CatalogError> {
        let read = self.read(&wheel.filename.name).unwrap();
        let recorded = read.metadata.get(&wheel.filename.to_string());
        Ok(recorded.unwrap_or_else(|| panic!("the metadata of `{}` {AGAIN}", wheel.filename)).clone())
    }

    fn outline(&self, _: &DistFile) -> Result<Arc<Outline>, CatalogError> {
        Ok(Arc::new(Outline { entries: Vec::new() }))
    }

    fn libraries(&self, _: &DistFile) -> Result<Arc<Vec<WheelLibrary>>, CatalogError> {
        Ok(Arc::default())
    }

    fn needs(&self, _: &DistFile) -> Result<Arc<BinaryNeeds>, CatalogError> {
        Ok(Arc::default())
    }

    fn prefetch(&self, _: Vec<Want>, _: &Arc<dyn Scout>) {}

    fn prefetch_metadata(&self, _: Vec<DistFile>) {}

    fn prefetch_outlines(&self, _: Vec<DistFile>) {}

    fn prefetch_libraries(&self, _: Vec<DistFile>) {}

    fn prefetch_needs(&self, _: Vec<DistFile>) {}
}

impl RecordedProject {
    /// Reads a file of the record; `None` for one of an absent project.
    pub fn parse(name: &PackageName, text: &str) -> Option<Self> {
        if text.trim() == "absent" {
            return None;
        }
        let project = Project::empty(name.clone());
        let mut recorded = Self { project, metadata: BTreeMap::new() };
        let mut python = None;
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            match line.split_once(' ').unwrap_or((line, "")) {
                ("without", versions) => {
                    let source = |version| format!("{}-{version}.tar.gz", name.as_dist_info_name());
                    recorded.project.others = versions.split(' ').map(source).collect();
                }
                ("python", specifiers) => {
                    python = (!specifiers.is_empty()).then(|| specifiers.parse().unwrap());
                }
                ("wheel", wheel) => {
                    let mut said = Vec::new();
                    while let Some(line) = lines.next_if(|line| line.starts_with(' ')) {
                        said.push(line.trim_start());
                    }
                    recorded.add(wheel, python.clone(), &said);
                }
                _ => panic!("a line of the record of {name}: {line}"),
            }
        }
        Some(recorded)
    }

    fn add(&mut self, wheel: &str, requires_python: Option<VersionSpecifiers>, said: &[&str]) {
        let (words, yanked) = match wheel.split_once(" yanked") {
            Some((words, reason)) => (words, Some(reason.trim_start().to_owned())),
            None => (wheel, None),
        };
        let [name, uploaded, size, sha256] = words.split(' ').collect::<Vec<_>>()[..] else {
            panic!("a wheel of the record: {wheel}");
        };
        let filename = WheelFilename::from_str(name).unwrap();
        let metadata = match said {
            [] => None,
            [only] if only.starts_with("same ") => self.metadata.get(&only["same ".len()..]).cloned(),
            fields => Some(Arc::new(parsed(&filename, fields))),
        };
        if let Some(metadata) = metadata {
            self.metadata.insert(name.to_owned(), metadata);
        }
        self.project.files.push(DistFile {
            url: Url::parse(&format!("http://localhost/{name}")).unwrap(),
            filename,
            sha256: Some(format!("sha256:{sha256}").parse().unwrap()),
            other_hash: None,
            size: Some(size.parse().unwrap()),
            upload_time: Some(uploaded.parse().unwrap()),
            requires_python,
            yanked,
            core_metadata: CoreMetadataFile::Absent,
            source: None,
        });
    }

    /// The text that [`Self::parse`] reads.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let version = |other: &String| {
            let stem = other.strip_suffix(".tar.gz").unwrap();
            stem.rsplit_once('-').unwrap().1.to_owned()
        };
        let others: Vec<String> = self.project.others.iter().map(version).collect();
        if !others.is_empty() {
            writeln!(text, "without {}", others.join(" ")).unwrap();
        }
        let mut python = None;
        let mut written: Vec<(&str, &Arc<CoreMetadata>)> = Vec::new();
        for file in &self.project.files {
            if python != file.requires_python {
                python.clone_from(&file.requires_python);
                let specifiers = python.as_ref().map(ToString::to_string).unwrap_or_default();
                writeln!(text, "{}", format!("python {specifiers}").trim_end()).unwrap();
            }
            let name = file.filename.to_string();
            let (uploaded, size) = (file.upload_time.unwrap(), file.size.unwrap());
            let sha256 = file.sha256.unwrap();
            write!(text, "wheel {name} {uploaded} {size} {}", sha256.hex()).unwrap();
            if let Some(reason) = &file.yanked {
                let words: Vec<&str> =
                    reason.split_whitespace().filter(|word| !word.contains("://")).collect();
                write!(text, " {}", format!("yanked {}", words.join(" ")).trim_end()).unwrap();
            }
            text.push('\n');
            if let Some((name, metadata)) = self.metadata.get_key_value(&name) {
                match written.iter().find(|(_, other)| *other == metadata) {
                    Some((same, _)) => writeln!(text, " same {same}").unwrap(),
                    None => text.push_str(&fields(metadata)),
                }
                written.push((name, metadata));
            }
        }
        text
    }
}

/// A version of which no wheel is recorded, as [`Project::others`] has it.
pub fn without(name: &PackageName, version: &Version) -> String {
    format!("{}-{version}.tar.gz", name.as_dist_info_name())
}

fn parsed(filename: &WheelFilename, fields: &[&str]) -> CoreMetadata {
    let text = format!("Name: {}\nVersion: {}\n{}\n", filename.name, filename.version, fields.join("\n"));
    metadata::parse(&text).unwrap()
}

/// The fields of `metadata`, a line each; a wheel that requires nothing still says that it was looked at.
fn fields(metadata: &CoreMetadata) -> String {
    let python = metadata.requires_python.iter().map(|python| format!(" Requires-Python: {python}\n"));
    let extras = metadata.provides_extra.iter().map(|extra| format!(" Provides-Extra: {extra}\n"));
    let requires =
        metadata.requires_dist.iter().map(|requirement| format!(" Requires-Dist: {requirement}\n"));
    let fields: String = python.chain(extras).chain(requires).collect();
    if fields.is_empty() { " Metadata-Version: 2.1\n".into() } else { fields }
}
