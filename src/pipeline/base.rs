//! Opens and writes a base made of Debian packages.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;

use super::progress::{Progress, Task};
use super::work::{self, Fetch};
use crate::base::debian::configure::{self, Input};
use crate::base::debian::facts::BaseFacts;
use crate::base::debian::layers::{Group, groups};
use crate::base::debian::select::{self, Selection};
use crate::base::{BaseInventory, InventoryError};
use crate::cuda::is_debian_package;
use crate::debian::packages;
use crate::debian::sources::{SignedBy, Source};
use crate::debian::usrmerge::UsrLayout;
use crate::failure::{Context, Result};
use crate::layer::debian::{self as debs, DebFile, Unpacked};
use crate::layer::{Form, LayerWriter, Written, generated};
use crate::lock::{DebianBase, LockedSuite};
use crate::net::debian::{Machine, Suite, SuiteRequest, mirror_instead, open_suite};
use crate::net::http::{Download, Http};
use crate::oci::{Digest, Entry, EntryKind};
use crate::pypa::scheme::InstallScheme;
use crate::recipe::{Debian, Timestamp};
use crate::store::Store;

/// Part of every key of what is made here: raised when the same packages shall give other bytes.
const FORMAT: u32 = 3;

/// What is essential, the other packages, and their configuration.
pub const MOST_LAYERS: usize = 3;

/// A base whose packages are chosen, before any is fetched.
pub struct Base {
    pub inventory: BaseInventory,
    /// Everything that was decided about it.
    pub decided: DebianBase,
    /// Where the packages of each suite are downloaded from.
    mirrors: Vec<Url>,
    selection: Selection,
    sources: Vec<Source>,
    layout: UsrLayout,
    archive: String,
}

/// A layer of the base, with what it is called in the image's history.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BaseLayer {
    pub title: String,
    pub written: Written,
}

/// Chooses the packages of `description`; nothing but releases and indexes is fetched.
pub fn open(
    description: &Debian,
    directory: &std::path::Path,
    http: &Http,
    store: &Store,
    now: u64,
) -> Result<Base> {
    let machine = Machine::read()?;
    let signed_by: Vec<PathBuf> =
        description.signed_by.iter().map(|path| directory.join(&path.value)).collect();
    let architecture = description.architecture.as_str();
    let mut suites = Vec::new();
    for suite in &description.suites {
        let request = SuiteRequest {
            name: &suite.name,
            mirror: suite.mirror.as_ref().or(description.mirror.as_ref()),
            signed_by: signed_by.clone(),
            components: &description.components,
            architecture,
        };
        let suite = open_suite(&request, &machine, http, store, now)?;
        http.remember(&suite.mirror);
        suites.push(suite);
    }
    let selection = selection(description, &suites, store)?;
    let mirrors = suites.iter().map(|suite| suite.mirror.clone()).collect();
    let suites = suites.into_iter().map(|suite| locked_suite(suite, description)).collect();
    Base::new(DebianBase::new(architecture, suites, selection), mirrors)
}

/// The base of `description` as it was `decided` before; nothing is fetched.
pub fn recall(description: &Debian, decided: &DebianBase, http: &Http) -> Result<Base> {
    let mut mirrors = Vec::new();
    for (at, suite) in decided.suites.iter().enumerate() {
        let described = description.suites.get(at).and_then(|suite| suite.mirror.as_ref());
        mirrors.push(match described.or(description.mirror.as_ref()) {
            Some(mirror) => {
                http.remember(mirror);
                suite.mirror.clone()
            }
            None => mirror_instead(&suite.name)?.unwrap_or_else(|| suite.mirror.clone()),
        });
    }
    Base::new(decided.clone(), mirrors)
}

/// The selection is a function of the indexes' bytes and the description, and is remembered as one.
fn selection(description: &Debian, suites: &[Suite], store: &Store) -> Result<Selection> {
    const RECORD: &str = "debian-selection";
    let indexes: Vec<_> = suites.iter().flat_map(|suite| &suite.indexes).collect();
    let wanted: Vec<String> = description.packages.iter().map(|package| package.value.clone()).collect();
    let architecture = description.architecture.as_str();
    let key = key(&(FORMAT, &indexes, &wanted, architecture, description.essential))?;
    if let Some(selection) = store.record(RECORD, &key) {
        return Ok(selection);
    }
    let mut texts = Vec::new();
    for index in indexes {
        texts.push(index.text(store)?);
    }
    let mut parsed = Vec::new();
    for text in &texts {
        parsed.push(packages::parse(text)?);
    }
    let request = select::Request { architecture, packages: &wanted, essential: description.essential };
    let selection = select::select(&parsed, &request)?;
    store.put_record(RECORD, &key, &selection)?;
    Ok(selection)
}

fn inventory(
    facts: BaseFacts,
    libc_bin: Option<crate::debian::version::Version>,
) -> Result<BaseInventory, InventoryError> {
    let python = facts.python.ok_or(InventoryError::NoPython)?;
    let glibc = facts.glibc.as_deref().and_then(two_numbers).ok_or(InventoryError::NoLibc)?;
    let short = two_numbers(&python.short).ok_or(InventoryError::NoPython)?;
    let version = (u8::try_from(short.0).unwrap_or(3), u8::try_from(short.1).unwrap_or_default());
    Ok(BaseInventory {
        architecture: facts.architecture,
        vendor: if facts.os == "ubuntu" { "Ubuntu".into() } else { "Debian".into() },
        glibc,
        libc_bin: libc_bin.ok_or(InventoryError::NoLibc)?,
        externally_managed: format!("usr/lib/python{}/EXTERNALLY-MANAGED", python.short),
        python: python.full,
        scheme: InstallScheme::debian(version),
        distributions: Vec::new(),
        cuda: Vec::new(),
        default_toolkit: None,
        library_path: Vec::new(),
    })
}

fn two_numbers(version: &str) -> Option<(u16, u16)> {
    let mut numbers = version.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn locked_suite(suite: Suite, description: &Debian) -> LockedSuite {
    let mut keyrings = suite.keyrings.iter().filter(|path| path.starts_with("/usr/share/keyrings"));
    LockedSuite {
        mirror: without_credentials(&suite.mirror),
        components: description.components.clone(),
        keyring: keyrings.next().map(|path| path.display().to_string()),
        origin: suite.release.origin,
        codename: suite.release.codename,
        published: Timestamp::from_unix_seconds(suite.release.date),
        name: suite.name,
    }
}

/// Where apt in the image finds the suite again.
fn source(suite: &LockedSuite) -> Source {
    Source {
        uris: vec![suite.mirror.to_string()],
        suites: vec![suite.name.clone()],
        components: suite.components.clone(),
        signed_by: suite.keyring.clone().map(|keyring| SignedBy::Names(vec![keyring])),
        enabled: true,
        ..Source::default()
    }
}

fn without_credentials(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_username("").and_then(|()| url.set_password(None)).ok();
    url
}

impl Base {
    fn new(decided: DebianBase, mirrors: Vec<Url>) -> Result<Self> {
        let selection = decided.selection();
        let first = decided.suites.first().context("the base has no suite")?;
        let facts = BaseFacts::of(&selection, first.origin.as_deref(), &decided.architecture);
        let libc_bin = selection.packages.iter().find(|package| package.name == "libc-bin");
        Ok(Self {
            inventory: inventory(facts, libc_bin.map(|package| package.version.clone()))?,
            sources: decided.suites.iter().map(source).collect(),
            layout: UsrLayout::of_codename(first.codename.as_deref().unwrap_or_default()),
            archive: first.origin.as_deref().unwrap_or("debian").to_ascii_lowercase(),
            selection,
            decided,
            mirrors,
        })
    }

    /// Whether a package may carry components of CUDA.
    pub fn may_have_cuda(&self) -> bool {
        self.selection.packages.iter().any(|package| is_debian_package(&package.name))
    }

    /// Fetches the packages that the store lacks, and writes the layers that it lacks.
    pub fn write(&self, http: &Http, store: &Store, progress: &dyn Progress) -> Result<Vec<BaseLayer>> {
        const RECORD: &str = "debian-base";
        let sources: Vec<String> = self.sources.iter().map(|source| format!("{source:?}")).collect();
        let key = key(&(FORMAT, &self.selection, sources, self.decided.published()))?;
        let is_whole = |layer: &BaseLayer| store.has_blob(&layer.written.digest, Some(layer.written.size));
        let present =
            || store.record::<Vec<BaseLayer>>(RECORD, &key).filter(|layers| layers.iter().all(is_whole));
        if let Some(layers) = present() {
            return Ok(layers);
        }
        let _making = store.claim_patiently(&key);
        if let Some(layers) = present() {
            return Ok(layers);
        }
        let debs = self.fetch(http, store, progress)?;
        progress.stage("unpacking the base's packages");
        let unpacked = debs::unpack(&debs, self.layout, store.scratch()?)?;
        progress.stage("writing layers");
        let size = unpacked.entries.iter().map(|entry| size(&entry.entry)).sum();
        let meter = progress.start(Task::WriteLayer, "the base", Some(size));
        let layers = self.write_layers(&unpacked, store, &|bytes| meter.add(bytes))?;
        store.put_record(RECORD, &key, &layers)?;
        Ok(layers)
    }

    fn fetch(&self, http: &Http, store: &Store, progress: &dyn Progress) -> Result<Vec<DebFile>> {
        let mut wanted = Vec::new();
        for package in &self.selection.packages {
            let suite = self.decided.suite_of(package.index);
            let mirror =
                suite.and_then(|suite| self.mirrors.get(suite)).context("a package is in no suite")?;
            wanted.push(Fetch {
                download: Download {
                    url: mirror.join(&package.filename)?,
                    name: package.name.clone(),
                    digest: package.sha256,
                    size: Some(package.size),
                },
            });
        }
        work::fetch_all("Debian packages", &wanted, http, store, progress)?;
        let deb = |package: &select::Selected| DebFile {
            package: package.name.clone(),
            path: store.blob_path(&package.sha256),
        };
        Ok(self.selection.packages.iter().map(deb).collect())
    }

    fn write_layers(
        &self,
        unpacked: &Unpacked,
        store: &Store,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<BaseLayer>> {
        let groups = groups(&self.selection);
        let mut layers = Vec::new();
        for group in [Group::System, Group::Packages] {
            let of_group = |package: usize| groups.get(package) == Some(&group);
            let mut writer = LayerWriter::new(store, &Form::Gzip, progress)?;
            let mut empty = true;
            for entry in unpacked.entries.iter().filter(|entry| of_group(entry.package)) {
                empty = false;
                match entry.entry.kind {
                    EntryKind::File { .. } => {
                        writer.file(&entry.entry, || Ok(unpacked.reader(entry.content)))?
                    }
                    _ => writer.entry(&entry.entry)?,
                }
            }
            if !empty {
                let title = format!("{} {}", self.archive, group.title());
                layers.push(BaseLayer { title, written: writer.finish()? });
            }
        }
        let entries: BTreeMap<_, _> =
            unpacked.entries.iter().map(|entry| (entry.entry.path.as_str(), &entry.entry)).collect();
        let files = unpacked.contents(configure::is_wanted).context("could not read the base's packages")?;
        let input = Input {
            packages: &unpacked.packages,
            entries: &entries,
            files: &files,
            layout: self.layout,
            mtime: self.decided.published(),
            sources: &self.sources,
            archive: &self.archive,
        };
        let made = configure::configure(&input)?;
        let written = generated::write(&made, store, &Form::Gzip)?;
        layers.push(BaseLayer { title: format!("{} configuration", self.archive), written });
        Ok(layers)
    }
}

/// The size of a file's content in bytes.
fn size(entry: &Entry) -> u64 {
    match entry.kind {
        EntryKind::File { size } => size,
        _ => 0,
    }
}

fn key(value: &impl Serialize) -> Result<Digest> {
    Ok(Digest::of(serde_json::to_vec(value)?))
}
