//! Opens a base made of Debian packages, and writes layers of packages.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use url::Url;

use super::base_source::{BaseSource, DebianSource, OpenedBase};
use super::debian_lock::{EarlierPackages, LockedPackages, PackageSuites, check_suites};
use super::progress::Task;
use super::schedule::{self, Fetch};
use super::{Session, shared_layers, shared_records};
use crate::base::scan::ScannedInterpreter;
use crate::bootstrap::ground::{self, Ground};
use crate::bootstrap::groups::{DebianLayer, DebianPackages, packages};
use crate::bootstrap::inventory::inventory;
use crate::bootstrap::scripts::unfollowed::Unfollowed;
use crate::bootstrap::select::{self, InstalledVersion, Selection};
use crate::bootstrap::tree::LARGEST_READ;
use crate::credentials::without_secrets;
use crate::cuda::is_debian_package;
use crate::debian::packages as package_index;
use crate::debian::sources::{AptSource, SignedBy};
use crate::debian::status::PackageState;
use crate::debian::usrmerge::UsrLayout;
use crate::failure::{Context, Failure, Result};
use crate::layer::debian::{self as debs, DebFile, Unpacked};
use crate::layer::packages::{self as packages_layer, BaseSystem, Configured};
use crate::layer::system_files::SystemFiles;
use crate::layer::{Written, cache};
use crate::lock::{DebianBase, LockedBase, LockedSuite};
use crate::net::debian::{MachineArchives, SuiteRequest, VerifiedSuite, mirrors_instead, open_suite};
use crate::net::download::Download;
use crate::net::http::Http;
use crate::oci::image::RuntimeConfig;
use crate::oci::{Digest, Entry, EntryKind};
use crate::plan::{LayerPlan, PlannedBase};
use crate::recipe::{Debian, Timestamp};
use crate::store::Store;

/// Part of the key of every selection that is kept: raised when the same indexes shall give another.
const SELECTION_FORMAT: u32 = 5;

/// The records of commands of maintainer scripts that were not followed, by the key of the layer that lacks their effect.
const UNFOLLOWED: &str = "debian-unfollowed";

/// The most commands of one package's scripts that are told in a warning.
const MOST_TOLD: usize = 3;

/// Chooses the packages of `description`, whose paths are relative to `directory`, and keeps the `earlier` ones that are not
/// given up; nothing but releases and indexes is fetched.
pub(super) fn open(
    description: &Debian,
    directory: &Path,
    own: Option<ScannedInterpreter>,
    earlier: Option<EarlierPackages<'_>>,
    session: &Session<'_>,
) -> Result<OpenedBase> {
    if let Some(earlier) = earlier {
        check_suites(description, earlier.decided)?;
    }
    let described =
        PackageSuites::Described { description: description.clone(), directory: directory.to_owned() };
    let opened_suites = open_suites(&described, session)?;
    let names: Vec<String> = description.packages.iter().map(|package| package.value.clone()).collect();
    let architecture = description.architecture.as_str();
    let wanted = WantedPackages { names: &names, architecture, essential: description.essential, status: "" };
    let selection = select_packages(&wanted, &opened_suites, &session.store)?;
    let selection = with_earlier(selection, earlier, &opened_suites, &session.store)?;
    let mirrors = mirrors_of(&opened_suites);
    let suites =
        opened_suites.into_iter().map(|suite| locked_suite(suite, &description.components)).collect();
    let decided = DebianBase::new(description.architecture, suites, selection);
    let held = earlier.map(|_| LockedPackages { suites: described, decided: decided.clone() });
    opened(decided, own, &mirrors, held)
}

/// The `fresh` selection, but for the packages of an earlier one that are not given up.
pub(super) fn with_earlier(
    fresh: Selection,
    earlier: Option<EarlierPackages<'_>>,
    suites: &[VerifiedSuite],
    store: &Store,
) -> Result<Selection> {
    let Some(EarlierPackages { decided, given_up }) = earlier else { return Ok(fresh) };
    let indexes = suites.iter().flat_map(|suite| &suite.indexes);
    let texts = indexes.map(|index| index.text(store)).collect::<Result<Vec<_>, _>>()?;
    let listed =
        |text| package_index::parse(text).map(|packages| select::PackageListing { packages, is_last: false });
    let listings = texts.iter().map(|text| listed(text)).collect::<Result<Vec<_>, _>>()?;
    let earlier = decided.selection();
    Ok(select::upgraded(&fresh, &earlier.packages, given_up, &listings)?)
}

/// Opens every suite that packages are taken from.
pub(super) fn open_suites(suites: &PackageSuites, session: &Session<'_>) -> Result<Vec<VerifiedSuite>> {
    let machine = MachineArchives::read()?;
    let now = now()?;
    let open = |request: SuiteRequest<'_>| {
        let open = || open_suite(&request, &machine, &session.http, &session.store, now);
        match &session.memory {
            Some(memory) => memory.suite(&request, open),
            None => open(),
        }
    };
    Ok(suites.requests().into_iter().map(open).collect::<Result<_, _>>()?)
}

/// The mirrors of each suite, the one that serves it first.
pub(super) fn mirrors_of(suites: &[VerifiedSuite]) -> Vec<Vec<Url>> {
    let of_suite = |suite: &VerifiedSuite| [std::slice::from_ref(&suite.mirror), &suite.others].concat();
    suites.iter().map(of_suite).collect()
}

/// The base of `description` as it was `decided` before; nothing is fetched.
pub(super) fn recall(
    description: &Debian,
    directory: &Path,
    own: Option<ScannedInterpreter>,
    decided: &DebianBase,
    http: &Http,
) -> Result<OpenedBase> {
    check_suites(description, decided)?;
    let mut mirrors = Vec::new();
    for (at, suite) in decided.suites.iter().enumerate() {
        let described = description.suites.get(at).and_then(|suite| suite.mirror.as_ref());
        let instead = match described.or(description.mirror.as_ref()) {
            Some(mirror) => {
                http.remember(mirror);
                Vec::new()
            }
            None => mirrors_instead(&suite.name)?,
        };
        instead.iter().for_each(|mirror| http.remember(mirror));
        mirrors.push(if instead.is_empty() { vec![suite.mirror.clone()] } else { instead });
    }
    let suites =
        PackageSuites::Described { description: description.clone(), directory: directory.to_owned() };
    opened(decided.clone(), own, &mirrors, Some(LockedPackages { suites, decided: decided.clone() }))
}

/// Now, in Unix seconds: a release is valid until a time that it names.
fn now() -> Result<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    Ok(since.as_secs())
}

/// The packages that are asked for.
pub(super) struct WantedPackages<'a> {
    pub names: &'a [String],
    /// Debian's name of the architecture.
    pub architecture: &'a str,
    /// True if the packages marked essential are asked for too.
    pub essential: bool,
    /// dpkg's `status` of the image that they are added to; empty for a base of their own.
    pub status: &'a str,
}

/// The selection is a function of the indexes' bytes and of what is wanted, and is remembered as one.
pub(super) fn select_packages(
    wanted: &WantedPackages<'_>,
    suites: &[VerifiedSuite],
    store: &Store,
) -> Result<Selection> {
    const RECORD: &str = "debian-selection";
    let WantedPackages { names, architecture, essential, status } = wanted;
    let of_suite = |suite: &'_ VerifiedSuite| {
        suite.indexes.iter().map(|index| (suite.release.not_automatic, index.clone())).collect::<Vec<_>>()
    };
    let indexes: Vec<_> = suites.iter().flat_map(of_suite).collect();
    let key = key(&(SELECTION_FORMAT, &indexes, names, architecture, essential, Digest::of(status)))?;
    if let Some(selection) = store.record(RECORD, &key) {
        return Ok(selection);
    }
    let mut texts = Vec::new();
    for (is_last, index) in &indexes {
        texts.push((*is_last, index.text(store)?));
    }
    let mut parsed = Vec::new();
    for (is_last, text) in &texts {
        parsed.push(select::PackageListing { packages: package_index::parse(text)?, is_last: *is_last });
    }
    let paragraphs =
        ground::read_status(status)?.into_iter().filter(|one| one.state == PackageState::Installed);
    let installed: Vec<InstalledVersion<'_>> =
        paragraphs.map(|one| InstalledVersion { held: one.held, package: one.package }).collect();
    let request = select::SelectionRequest {
        installed: &installed,
        architecture,
        packages: names,
        essential: *essential,
    };
    let selection = select::select(&parsed, &request)?;
    store.put_record(RECORD, &key, &selection)?;
    Ok(selection)
}

/// The base that was `decided`, with the mirrors of each of its suites, and the packages that are still to be held against
/// them; the Python that is put on it, where that is not its `own`.
fn opened(
    decided: DebianBase,
    own: Option<ScannedInterpreter>,
    mirrors: &[Vec<Url>],
    locked: Option<LockedPackages>,
) -> Result<OpenedBase> {
    let selection = decided.selection();
    let first = decided.suites.first().context("the base has no suite")?;
    let inventory = inventory(&selection, first.origin.as_deref(), decided.architecture, own)?;
    let base = DebianPackages {
        onto: Vec::new(),
        packages: packages(&selection),
        layout: UsrLayout::of_codename(first.codename.as_deref().unwrap_or_default()),
        archive: first.origin.as_deref().unwrap_or("debian").to_ascii_lowercase(),
        sources: decided.suites.iter().map(source).collect(),
        published: decided.published(),
    };
    Ok(OpenedBase {
        source: BaseSource::Debian(DebianSource {
            fetches: fetches(&decided, mirrors)?,
            locked: locked.map(Box::new),
            warned: AtomicBool::new(false),
        }),
        planned: PlannedBase {
            inventory,
            layers: base.layers().into_iter().map(LayerPlan::Debian).collect(),
            config: None,
            runtime: RuntimeConfig {
                env: vec!["LANG=C.UTF-8".into()],
                cmd: vec!["python3".into()],
                ..RuntimeConfig::default()
            },
        },
        published: decided.published(),
        may_have_cuda: selection.packages.iter().any(|package| is_debian_package(&package.name)),
        locked: LockedBase::Debian(decided),
    })
}

/// The downloads of the packages that were `decided`, with the mirrors of each suite.
pub(super) fn fetches(decided: &DebianBase, mirrors: &[Vec<Url>]) -> Result<Vec<Fetch>> {
    let fetches = decided.packages.iter().map(|package| {
        let suite = decided.suite_of(package.index);
        let mirrors = suite.and_then(|suite| mirrors.get(suite)).context("a package is in no suite")?;
        let url = |mirror| package_index::location(mirror, &package.filename);
        let mut urls = mirrors.iter().filter_map(url);
        let first = urls.next();
        let url = first.with_context(|| format!("`{}` is no path below an archive", package.filename))?;
        let (name, digest) = (package.name.clone(), package.digest);
        let download = Download { url, name, digest, size: Some(package.size) };
        Ok(Fetch { download, elsewhere: urls.collect() })
    });
    fetches.collect()
}

pub(super) fn locked_suite(suite: VerifiedSuite, components: &[String]) -> LockedSuite {
    let mut keyrings = suite.keyrings.iter().filter(|path| path.starts_with("/usr/share/keyrings"));
    LockedSuite {
        mirror: without_secrets(&suite.mirror),
        components: components.to_vec(),
        keyring: keyrings.next().map(|path| path.display().to_string()),
        origin: suite.release.origin,
        codename: suite.release.codename,
        published: Timestamp::from_unix_seconds(suite.release.date),
        name: suite.name,
    }
}

/// The entry by which apt in the image finds the suite again.
fn source(suite: &LockedSuite) -> AptSource {
    AptSource {
        uris: vec![suite.mirror.to_string()],
        suites: vec![suite.name.clone()],
        components: suite.components.clone(),
        signed_by: suite.keyring.clone().map(|keyring| SignedBy::Names(vec![keyring])),
        enabled: true,
        ..AptSource::default()
    }
}

impl DebianSource {
    /// The `layers` of packages: those that the store lacks are written, of packages that are fetched where it lacks them.
    /// `below` are the blobs of the image that they are above, bottom first.
    pub(super) fn write(
        &self,
        layers: &[LayerPlan],
        below: &[Digest],
        session: &Session<'_>,
    ) -> Result<Vec<Written>> {
        let store = &session.store;
        if let Some(written) = self.recall(layers, session) {
            return Ok(written);
        }
        let keys: Vec<Digest> = layers.iter().map(LayerPlan::key).collect();
        let _making = keys.last().map(|key| store.claim_patiently(key));
        if let Some(written) = self.recall(layers, session) {
            return Ok(written);
        }
        if let Some(locked) = &self.locked {
            locked.hold(session, now()?)?;
        }
        let layers = layers.iter().map(as_debian).collect::<Result<Vec<_>>>()?;
        let (written, unfollowed) = self.write_layers(&layers, below, session)?;
        if let Some(key) = keys.last() {
            store.put_record(UNFOLLOWED, key, &unfollowed)?;
            session.shared.note_record(UNFOLLOWED, *key);
        }
        self.warn(&unfollowed, session);
        for (key, written) in keys.iter().zip(&written) {
            cache::keep(store, key, written)?;
        }
        Ok(written)
    }

    /// The `layers` of packages, where the store or a shared cache has all of them.
    pub(super) fn recall(&self, layers: &[LayerPlan], session: &Session<'_>) -> Option<Vec<Written>> {
        let keys: Vec<Digest> = layers.iter().map(LayerPlan::key).collect();
        let recalled =
            layers.iter().zip(&keys).map(|(layer, key)| shared_layers::recall(layer, key, session));
        let written = recalled.collect::<Option<Vec<_>>>()?;
        self.tell(keys.last()?, session).then_some(written)
    }

    /// Tells of scripts that were not followed for the layer of `key`, if that is known; gives whether it is.
    pub(super) fn tell(&self, key: &Digest, session: &Session<'_>) -> bool {
        shared_records::bring(UNFOLLOWED, key, session);
        session.shared.note_record(UNFOLLOWED, *key);
        let unfollowed: Option<Vec<Unfollowed>> = session.store.record(UNFOLLOWED, key);
        unfollowed.iter().for_each(|unfollowed| self.warn(unfollowed, session));
        unfollowed.is_some() || session.shared.pins().is_some()
    }

    /// Tells of scripts that were not followed, once.
    fn warn(&self, unfollowed: &[Unfollowed], session: &Session<'_>) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            warn_of_scripts(unfollowed, session);
        }
    }

    fn write_layers(
        &self,
        layers: &[&DebianLayer],
        below: &[Digest],
        session: &Session<'_>,
    ) -> Result<(Vec<Written>, Vec<Unfollowed>)> {
        let Session { store, progress, .. } = session;
        let base = &layers.first().context("a base has no layers")?.base;
        schedule::fetch_all("Debian packages", &self.fetches, session)?;
        let system = system(base, below, session)?;
        let unpacked = unpack(base, &system, session)?;
        progress.stage("configuring the packages");
        let configuration = &packages_layer::configure(base, &unpacked, &system)?;
        progress.stage("writing layers");
        let size = unpacked.entries.iter().map(|entry| size(&entry.entry)).sum();
        let meter = progress.start(Task::WriteLayer, "Debian packages", Some(size));
        let configured = Configured { unpacked: &unpacked, configuration, system: &system };
        let written = layers
            .iter()
            .map(|layer| Ok(packages_layer::write(layer, configured, store, &|bytes| meter.add(bytes))?));
        Ok((written.collect::<Result<_>>()?, configuration.unfollowed.clone()))
    }
}

/// The system that the packages of `base` are put on: nothing, or the image of the blobs `below`.
fn system(base: &DebianPackages, below: &[Digest], session: &Session<'_>) -> Result<BaseSystem> {
    if below.is_empty() {
        return Ok(BaseSystem { ground: Ground::empty(base.layout), files: None });
    }
    session.progress.stage("reading the base's files");
    let store = &session.store;
    let layers = below.iter().map(|digest| store.open_blob(digest)).collect::<Result<Vec<_>, _>>()?;
    let keeps = |entry: &Entry| size(entry) <= LARGEST_READ || entry.path.starts_with("var/lib/dpkg/");
    let mut files = SystemFiles::read(layers, &keeps, store.scratch()?)?;
    let ground = Ground::of_image(std::mem::take(&mut files.entries), &files)?;
    Ok(BaseSystem { ground, files: Some(files) })
}

fn unpack(base: &DebianPackages, system: &BaseSystem, session: &Session<'_>) -> Result<Unpacked> {
    session.progress.stage("unpacking the packages");
    let deb = |package: &crate::bootstrap::groups::DebianPackage| DebFile {
        package: package.name.clone(),
        path: session.store.blob_path(&package.deb),
    };
    let debs: Vec<DebFile> = base.packages.iter().map(deb).collect();
    Ok(debs::unpack(&debs, &system.ground, system.contents(), session.store.scratch()?)?)
}

/// Tells of the packages that the base has as dpkg unpacks them, and not as it configures them.
fn warn_of_scripts(unfollowed: &[Unfollowed], session: &Session<'_>) {
    for of_package in unfollowed.chunk_by(|one, next| one.package == next.package) {
        let shown: Vec<String> = of_package.iter().take(MOST_TOLD).map(Unfollowed::to_string).collect();
        let rest = match of_package.len().saturating_sub(MOST_TOLD) {
            0 => String::new(),
            rest => format!("; and {rest} more"),
        };
        let package = of_package.first().map_or("", |one| &one.package);
        session
            .progress
            .warn(&format!("`{package}` is not configured as dpkg would do: {}{rest}", shown.join("; ")));
    }
}

fn as_debian(layer: &LayerPlan) -> Result<&DebianLayer> {
    match layer {
        LayerPlan::Debian(layer) => Ok(layer),
        other => {
            Err(Failure::new(format!("the layer `{}` is not one of a base made of packages", other.title())))
        }
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
