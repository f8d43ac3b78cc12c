//! Package indexes: project pages and wheel metadata, many at once, kept in the store.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::try_join_all;
use tokio::sync::{OnceCell, Semaphore};
use uv_normalize::{ExtraName, PackageName};

use super::config::PackageSources;
use super::download::{Download, LOCAL, copy_local};
use super::http::{ByteSpan, FilePart, Http};
use super::index_error::IndexError;
use super::learned::{Learned, RecordSource, keep, recall};
pub use super::page::Freshness;
use super::projects::Projects;
use super::wheel_parts::{
    Learnt, all_binaries, all_libraries, first_part, is_better_whole, machine, searches, text_and_outline,
    wheel_binary, wheel_library,
};
use crate::credentials::redacted;
use crate::failure::Hinted;
use crate::oci::Digest;
use crate::pypa::library;
use crate::pypa::metadata::{self, CoreMetadata, LONGEST_METADATA};
use crate::pypa::needs::{self, BinaryNeeds};
use crate::pypa::simple::{CoreMetadataFile, DistFile, Project};
use crate::pypa::wheel::{Outline, Wheel, WheelError};
use crate::pypa::zip::{Local, Sparse};
use crate::resolve::solve::{Catalog, CatalogError, Scout, Want, WheelLibrary};
use crate::store::Store;

/// The most requests in flight.
const CONCURRENCY: usize = 48;
/// The most wheels of which the parts at their ends are kept, 1 MB of each at most.
const MOST_DIRECTORIES: usize = 64;
/// The most libraries that are read at once: most need three or four parts, one after the other.
const LIBRARIES_AT_ONCE: usize = 12;
/// The most wheels at once of which more than [`SHALLOW`] is read: one may take 150 MB.
const DEEP_AT_ONCE: usize = 2;
/// The bytes of a wheel that are read of each of many at once.
const SHALLOW: u64 = 3 << 20;

/// The package indexes of a build, as the solver's [`Catalog`].
pub struct PackageIndex {
    inner: Arc<Inner>,
}

type Slot<T> = Arc<OnceCell<Result<Arc<T>, CatalogError>>>;
type Slots<K, T> = Mutex<BTreeMap<K, Slot<T>>>;

struct Inner {
    http: Arc<Http>,
    store: Store,
    /// The lists of files.
    listed: Projects,
    requests: Arc<Semaphore>,
    reading: Semaphore,
    deep: Semaphore,
    projects: Slots<PackageName, Project>,
    metadata: Slots<Digest, CoreMetadata>,
    outlines: Slots<Digest, Outline>,
    libraries: Slots<Digest, Vec<WheelLibrary>>,
    needs: Slots<Digest, BinaryNeeds>,
    /// The parts that metadata was read from: they have the central directory, by which libraries are found.
    directories: Mutex<BTreeMap<Digest, Sparse>>,
    explored: Mutex<BTreeSet<(PackageName, Vec<ExtraName>, Digest)>>,
    /// Set when nobody will ask any more, so that what is fetched ahead stops.
    stopped: AtomicBool,
}

impl PackageIndex {
    /// The catalog of `sources`. Of the indexes the first that has a project is its only source, and an index that is
    /// limited to some projects is the only source of these. An offline `http` leaves what `store` knows.
    pub fn new(http: Arc<Http>, store: Store, sources: PackageSources, freshness: Freshness) -> Self {
        let requests = Arc::new(Semaphore::new(CONCURRENCY));
        let inner = Inner {
            listed: Projects::new(
                Arc::clone(&http),
                store.clone(),
                sources,
                freshness,
                Arc::clone(&requests),
            ),
            http,
            store,
            requests,
            reading: Semaphore::new(LIBRARIES_AT_ONCE),
            deep: Semaphore::new(DEEP_AT_ONCE),
            projects: Mutex::default(),
            metadata: Mutex::default(),
            outlines: Mutex::default(),
            libraries: Mutex::default(),
            needs: Mutex::default(),
            directories: Mutex::default(),
            explored: Mutex::default(),
            stopped: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Returns whether the needs of a wheel's binaries are known, or its files rule out that it has any.
    pub fn knows_needs(&self, wheel: &DistFile) -> bool {
        let store = &self.inner.store;
        recall::<BinaryNeeds>(store, Learned::Needs, wheel).is_some()
            || recall(store, Learned::Outline, wheel).is_some_and(|outline| needs::are_ruled_out(&outline))
    }

    /// Asks for something of each of `wheels` before anybody waits for it, all at once. Who asks for it later is told of
    /// what failed.
    fn ahead<F>(&self, wheels: Vec<DistFile>, ask: impl Fn(Arc<Inner>, DistFile) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        for wheel in wheels {
            let (inner, asking) = (self.inner.clone(), ask(self.inner.clone(), wheel));
            self.inner.http.spawn(async move {
                if !inner.stopped.load(Ordering::Relaxed) {
                    asking.await;
                }
            });
        }
    }
}

impl Drop for PackageIndex {
    fn drop(&mut self) {
        self.inner.stopped.store(true, Ordering::Relaxed);
    }
}

impl Catalog for PackageIndex {
    fn project(&self, name: &PackageName) -> Result<Arc<Project>, CatalogError> {
        self.inner.http.block_on(self.inner.project(name))
    }

    fn metadata(&self, wheel: &DistFile) -> Result<Arc<CoreMetadata>, CatalogError> {
        self.inner.http.block_on(self.inner.metadata(wheel))
    }

    fn outline(&self, wheel: &DistFile) -> Result<Arc<Outline>, CatalogError> {
        self.inner.http.block_on(self.inner.outline(wheel))
    }

    fn libraries(&self, wheel: &DistFile) -> Result<Arc<Vec<WheelLibrary>>, CatalogError> {
        self.inner.http.block_on(self.inner.libraries(wheel))
    }

    fn needs(&self, wheel: &DistFile) -> Result<Arc<BinaryNeeds>, CatalogError> {
        self.inner.http.block_on(self.inner.needs(wheel))
    }

    fn prefetch(&self, wants: Vec<Want>, scout: &Arc<dyn Scout>) {
        for want in wants {
            self.inner.explore(want, scout);
        }
    }

    fn prefetch_metadata(&self, wheels: Vec<DistFile>) {
        self.ahead(wheels, |inner, wheel| async move { drop(inner.metadata(&wheel).await) });
    }

    fn prefetch_outlines(&self, wheels: Vec<DistFile>) {
        self.ahead(wheels, |inner, wheel| async move { drop(inner.outline(&wheel).await) });
    }

    fn prefetch_libraries(&self, wheels: Vec<DistFile>) {
        self.ahead(wheels, |inner, wheel| async move { drop(inner.libraries(&wheel).await) });
    }

    fn prefetch_needs(&self, wheels: Vec<DistFile>) {
        self.ahead(wheels, |inner, wheel| async move { drop(inner.needs(&wheel).await) });
    }
}

impl Inner {
    async fn project(&self, name: &PackageName) -> Result<Arc<Project>, CatalogError> {
        let slot = slot(&self.projects, name);
        slot.get_or_init(|| async { self.listed.find(name).await.map(Arc::new) }).await.clone()
    }

    async fn metadata(&self, wheel: &DistFile) -> Result<Arc<CoreMetadata>, CatalogError> {
        let slot = slot(&self.metadata, &key(wheel));
        let learn =
            || async { self.learn_metadata(wheel).await.map(Arc::new).map_err(|error| about(wheel, error)) };
        slot.get_or_init(learn).await.clone()
    }

    async fn outline(&self, wheel: &DistFile) -> Result<Arc<Outline>, CatalogError> {
        let slot = slot(&self.outlines, &key(wheel));
        let learn =
            || async { self.learn_outline(wheel).await.map(Arc::new).map_err(|error| about(wheel, error)) };
        slot.get_or_init(learn).await.clone()
    }

    async fn libraries(&self, wheel: &DistFile) -> Result<Arc<Vec<WheelLibrary>>, CatalogError> {
        let slot = slot(&self.libraries, &key(wheel));
        let learn =
            || async { self.learn_libraries(wheel).await.map(Arc::new).map_err(|error| about(wheel, error)) };
        slot.get_or_init(learn).await.clone()
    }

    async fn needs(&self, wheel: &DistFile) -> Result<Arc<BinaryNeeds>, CatalogError> {
        let slot = slot(&self.needs, &key(wheel));
        let learn =
            || async { self.learn_needs(wheel).await.map(Arc::new).map_err(|error| about(wheel, error)) };
        slot.get_or_init(learn).await.clone()
    }

    /// Fetches ahead what `want` leads to.
    fn explore(self: &Arc<Self>, want: Want, scout: &Arc<dyn Scout>) {
        let versions = Digest::of(want.versions.to_string());
        let mut explored = self.explored.lock().unwrap_or_else(PoisonError::into_inner);
        if !explored.insert((want.name.clone(), want.extras.clone(), versions)) {
            return;
        }
        drop(explored);
        let (inner, scout) = (self.clone(), scout.clone());
        let step: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
            if inner.stopped.load(Ordering::Relaxed) {
                return;
            }
            let Ok(project) = inner.project(&want.name).await else { return };
            let Some(wheel) = scout.wheel(&want, &project) else { return };
            let Ok(metadata) = inner.metadata(&wheel).await else { return };
            for next in scout.wants(&want, &metadata) {
                inner.explore(next, &scout);
            }
        });
        self.http.spawn(step);
    }

    async fn learn_metadata(&self, wheel: &DistFile) -> Result<CoreMetadata, IndexError> {
        if let Some(metadata) = recall(&self.store, Learned::Metadata, wheel) {
            return Ok(metadata);
        }
        let (source, text) = match self.stored_wheel(wheel)? {
            Some(local) => self.read(wheel, local)?,
            None if self.http.is_offline() => {
                return Err(IndexError::MetadataNotCached { wheel: wheel.filename.to_string() });
            }
            None => match wheel.core_metadata {
                CoreMetadataFile::Absent => self.remote_text(wheel).await?,
                CoreMetadataFile::Present => self.served_text(wheel, None).await?,
                CoreMetadataFile::Hashed(digest) => self.served_text(wheel, Some(digest)).await?,
            },
        };
        let metadata = metadata::parse(&text)?;
        if (&metadata.name, &metadata.version) != (&wheel.filename.name, &wheel.filename.version) {
            let (name, version) = (metadata.name.to_string(), metadata.version.to_string());
            return Err(IndexError::Foreign { wheel: wheel.filename.to_string(), name, version });
        }
        keep(&self.store, Learned::Metadata, wheel, &source, &metadata)?;
        Ok(metadata)
    }

    async fn learn_outline(&self, wheel: &DistFile) -> Result<Outline, IndexError> {
        if let Some(outline) = recall(&self.store, Learned::Outline, wheel) {
            return Ok(outline);
        }
        match self.stored_wheel(wheel)? {
            Some(local) => drop(self.read(wheel, local)?),
            None if self.http.is_offline() => {
                return Err(IndexError::MetadataNotCached { wheel: wheel.filename.to_string() });
            }
            None => drop(self.remote_text(wheel).await?),
        }
        let gone = || IndexError::MetadataNotCached { wheel: wheel.filename.to_string() };
        recall(&self.store, Learned::Outline, wheel).ok_or_else(gone)
    }

    async fn learn_libraries(&self, wheel: &DistFile) -> Result<Vec<WheelLibrary>, IndexError> {
        if let Some(libraries) = recall(&self.store, Learned::Libraries, wheel) {
            return Ok(libraries);
        }
        let whole = |libraries| (RecordSource::whole(wheel), libraries);
        let (source, libraries) = match self.stored_wheel(wheel)? {
            Some(local) => whole(local_libraries(wheel, local)?),
            None if self.http.is_offline() => {
                return Err(IndexError::LibrariesNotCached { wheel: wheel.filename.to_string() });
            }
            None => match self.remote_libraries(wheel).await {
                Err(IndexError::Wheel { source: WheelError::TooDeep { .. }, .. }) => {
                    whole(local_libraries(wheel, self.whole(wheel).await?)?)
                }
                libraries => libraries?,
            },
        };
        keep(&self.store, Learned::Libraries, wheel, &source, &libraries)?;
        Ok(libraries)
    }

    /// Reads the libraries out of the remote wheel, part by part, all at once.
    async fn remote_libraries(
        &self,
        wheel: &DistFile,
    ) -> Result<(RecordSource, Vec<WheelLibrary>), IndexError> {
        let mut directory = self.directory(wheel);
        let outline = match self.in_parts(wheel, &mut directory, |wheel| Ok(wheel.into_outline())).await? {
            Learnt::Is(outline) => outline,
            Learnt::NoParts => return self.whole_libraries(wheel).await,
        };
        let source = RecordSource::claim(&self.listed.origin(wheel), wheel, &directory);
        keep(&self.store, Learned::Outline, wheel, &source, &outline)?;
        let read = |opened: &Wheel<&Sparse>, path: &str| wheel_library(opened, path);
        match self.each_in_parts(wheel, source, &directory, library::paths(&outline), read).await? {
            Some(read) => Ok(read),
            None => self.whole_libraries(wheel).await,
        }
    }

    /// Lets `read` look at each of the files at `paths` in the remote wheel, all at once, beyond the parts in `directory`,
    /// which are from `source`; `None` where the server does not serve parts.
    async fn each_in_parts<'p, T: Send>(
        &self,
        wheel: &DistFile,
        source: RecordSource,
        directory: &Option<Sparse>,
        paths: impl Iterator<Item = &'p str>,
        read: impl Fn(&Wheel<&Sparse>, &str) -> Result<Option<T>, WheelError> + Sync,
    ) -> Result<Option<(RecordSource, Vec<T>)>, IndexError> {
        let all = paths.map(async |path| {
            let _permit = self.reading.acquire().await;
            let mut parts = directory.clone();
            let read = self.in_parts(wheel, &mut parts, |opened| read(&opened, path)).await?;
            Ok::<_, IndexError>(read.is().map(|file| (RecordSource::claim("", wheel, &parts), file)))
        });
        let all: Option<Vec<_>> = try_join_all(all).await?.into_iter().collect();
        Ok(all.map(|all| {
            let (sources, files): (Vec<_>, Vec<_>) = all.into_iter().unzip();
            (source.with_parts_of(sources), files.into_iter().flatten().collect())
        }))
    }

    async fn whole_libraries(
        &self,
        wheel: &DistFile,
    ) -> Result<(RecordSource, Vec<WheelLibrary>), IndexError> {
        Ok((RecordSource::whole(wheel), local_libraries(wheel, self.whole(wheel).await?)?))
    }

    async fn learn_needs(&self, wheel: &DistFile) -> Result<BinaryNeeds, IndexError> {
        let search = searches(wheel);
        let known = recall(&self.store, Learned::Needs, wheel);
        if let Some(needs) = known.filter(|needs: &BinaryNeeds| needs.searched || !search) {
            return Ok(needs);
        }
        let outline = self.learn_outline(wheel).await?;
        if needs::are_ruled_out(&outline) {
            return Ok(BinaryNeeds { searched: search, ..BinaryNeeds::default() });
        }
        let (source, needs) = match self.stored_wheel(wheel)? {
            Some(local) => (RecordSource::whole(wheel), local_needs(wheel, local)?),
            None if self.http.is_offline() => {
                return Err(IndexError::LibrariesNotCached { wheel: wheel.filename.to_string() });
            }
            None if search || is_better_whole(wheel, &outline) => self.whole_needs(wheel).await?,
            None => match self.remote_needs(wheel, &outline).await {
                Ok(Some(read)) => read,
                Ok(None) | Err(IndexError::Wheel { source: WheelError::TooDeep { .. }, .. }) => {
                    self.whole_needs(wheel).await?
                }
                Err(error) => return Err(error),
            },
        };
        keep(&self.store, Learned::Needs, wheel, &source, &needs)?;
        Ok(needs)
    }

    async fn whole_needs(&self, wheel: &DistFile) -> Result<(RecordSource, BinaryNeeds), IndexError> {
        Ok((RecordSource::whole(wheel), local_needs(wheel, self.whole(wheel).await?)?))
    }

    /// Reads the names in the binaries of the remote wheel, all at once; `None` where the server does not serve parts.
    async fn remote_needs(
        &self,
        wheel: &DistFile,
        outline: &Outline,
    ) -> Result<Option<(RecordSource, BinaryNeeds)>, IndexError> {
        let mut directory = self.directory(wheel);
        let Learnt::Is(()) = self.in_parts(wheel, &mut directory, |_| Ok(())).await? else {
            return Ok(None);
        };
        let source = RecordSource::claim(&self.listed.origin(wheel), wheel, &directory);
        let machine = machine(&wheel.filename);
        let read = |opened: &Wheel<&Sparse>, path: &str| wheel_binary(opened, path, machine, false);
        let read = self.each_in_parts(wheel, source, &directory, needs::binaries(outline), read).await?;
        Ok(read.map(|(source, binaries)| (source, needs::of_binaries(outline, binaries, false))))
    }

    /// The wheel where nobody need be asked for it: in the store, or on this machine.
    fn stored_wheel(&self, wheel: &DistFile) -> Result<Option<Local>, IndexError> {
        let Some(digest) = wheel.sha256 else { return Ok(None) };
        if wheel.url.scheme() == LOCAL {
            let file = download(wheel, digest);
            tokio::task::block_in_place(|| copy_local(&self.store, &file, &|_| {}))?;
        }
        match self.store.has_blob(&digest, wheel.size) {
            true => Ok(Some(Local(self.store.open_blob(&digest)?))),
            false => Ok(None),
        }
    }

    /// Reads the outline, which is kept, and the text of METADATA of a whole wheel.
    fn read(&self, wheel: &DistFile, local: Local) -> Result<(RecordSource, String), IndexError> {
        let (text, outline) = Wheel::open(local)
            .and_then(|opened| text_and_outline(&wheel.filename, opened))
            .map_err(|source| IndexError::Wheel { wheel: wheel.filename.to_string(), source })?;
        let source = RecordSource::whole(wheel);
        keep(&self.store, Learned::Outline, wheel, &source, &outline)?;
        Ok((source, text))
    }

    /// The METADATA file that the index serves beside the wheel.
    async fn served_text(
        &self,
        wheel: &DistFile,
        expected: Option<Digest>,
    ) -> Result<(RecordSource, String), IndexError> {
        let url = wheel.metadata_url();
        let answer = {
            let _permit = self.requests.acquire().await;
            self.http.get_async(&url, &[], LONGEST_METADATA).await?
        };
        if !answer.status.is_success() {
            return Err(IndexError::Status { url: redacted(&url), status: answer.status });
        }
        let got = Digest::of(&answer.body);
        if let Some(expected) = expected.filter(|expected| *expected != got) {
            return Err(IndexError::Hash { url: redacted(&url), expected, got });
        }
        let text = metadata::decoded(answer.body);
        Ok((RecordSource::claim(&self.listed.origin(wheel), wheel, None), text))
    }

    /// Reads METADATA out of the remote wheel, part by part.
    async fn remote_text(&self, wheel: &DistFile) -> Result<(RecordSource, String), IndexError> {
        let read = |opened: Wheel<&Sparse>| text_and_outline(&wheel.filename, opened);
        let mut parts = None;
        match self.in_parts(wheel, &mut parts, read).await? {
            Learnt::Is((text, outline)) => {
                let source = RecordSource::claim(&self.listed.origin(wheel), wheel, &parts);
                keep(&self.store, Learned::Outline, wheel, &source, &outline)?;
                if let Some(parts) = parts.filter(|_| library::paths(&outline).next().is_some()) {
                    self.keep_directory(wheel, parts);
                }
                Ok((source, text))
            }
            Learnt::NoParts => self.read(wheel, self.whole(wheel).await?),
        }
    }

    fn keep_directory(&self, wheel: &DistFile, parts: Sparse) {
        let mut directories = self.directories.lock().unwrap_or_else(PoisonError::into_inner);
        if directories.len() < MOST_DIRECTORIES {
            directories.insert(key(wheel), parts);
        }
    }

    /// The parts that the metadata of a wheel was read from, for the one that asks first.
    fn directory(&self, wheel: &DistFile) -> Option<Sparse> {
        self.directories.lock().unwrap_or_else(PoisonError::into_inner).remove(&key(wheel))
    }

    /// Lets `read` look into the remote wheel, and fetches the parts that it misses into `parts`.
    async fn in_parts<T>(
        &self,
        wheel: &DistFile,
        parts: &mut Option<Sparse>,
        read: impl Fn(Wheel<&Sparse>) -> Result<T, WheelError>,
    ) -> Result<Learnt<T>, IndexError> {
        let mut span = first_part(wheel);
        let mut deep = None;
        loop {
            if deep.is_none() && parts.as_ref().is_some_and(|parts| parts.size() > SHALLOW) {
                deep = self.deep.acquire().await.ok();
            }
            if let Some(parts) = &*parts {
                // Inflating takes a while: other requests go on.
                match tokio::task::block_in_place(|| Wheel::open(parts).and_then(&read)) {
                    Ok(learnt) => return Ok(Learnt::Is(learnt)),
                    Err(WheelError::Missing { range }) => span = ByteSpan::Range(range),
                    Err(source) => {
                        return Err(IndexError::Wheel { wheel: wheel.filename.to_string(), source });
                    }
                }
            }
            let _permit = self.requests.acquire().await;
            match self.http.part(&wheel.url, &span).await? {
                FilePart::Bytes { offset, bytes, total } => {
                    parts.get_or_insert_with(|| Sparse::new(total)).add(offset, bytes);
                }
                FilePart::Unsupported => return Ok(Learnt::NoParts),
            }
        }
    }

    /// Downloads the wheel, from a server that does not serve parts.
    async fn whole(&self, wheel: &DistFile) -> Result<Local, IndexError> {
        let _permit = self.requests.acquire().await;
        let digest = match wheel.sha256 {
            Some(digest) => {
                self.http.download_async(&self.store, &download(wheel, digest), &|_| {}).await?;
                digest
            }
            None => self.http.download_unverified_async(&self.store, &wheel.url, &|_| {}).await?.0,
        };
        Ok(Local(self.store.open_blob(&digest)?))
    }
}

fn download(wheel: &DistFile, digest: Digest) -> Download {
    Download { url: wheel.url.clone(), name: wheel.filename.to_string(), digest, size: wheel.size }
}

/// The libraries of a wheel that is all at hand. Inflating takes a while: other requests go on.
fn local_libraries(wheel: &DistFile, local: Local) -> Result<Vec<WheelLibrary>, IndexError> {
    tokio::task::block_in_place(|| all_libraries(&local))
        .map_err(|source| IndexError::Wheel { wheel: wheel.filename.to_string(), source })
}

/// The needs of a wheel that is all at hand, as [`local_libraries`] its libraries.
fn local_needs(wheel: &DistFile, local: Local) -> Result<BinaryNeeds, IndexError> {
    tokio::task::block_in_place(|| all_binaries(&local, machine(&wheel.filename), searches(wheel)))
        .map_err(|source| IndexError::Wheel { wheel: wheel.filename.to_string(), source })
}

fn slot<K: Ord + Clone, T>(slots: &Slots<K, T>, key: &K) -> Slot<T> {
    let mut slots = slots.lock().unwrap_or_else(PoisonError::into_inner);
    slots.entry(key.clone()).or_default().clone()
}

/// The key of a wheel among those of this build: its hash, or its URL when the index tells none.
fn key(wheel: &DistFile) -> Digest {
    wheel.sha256.unwrap_or_else(|| Digest::of(redacted(&wheel.url)))
}

fn about(wheel: &DistFile, error: IndexError) -> CatalogError {
    let (subject, hint) = (wheel.filename.to_string(), error.hint());
    let fault = error.is_wheels_fault();
    let source: Arc<dyn Error + Send + Sync> = Arc::new(error);
    match fault {
        true => CatalogError::BadMetadata { wheel: subject, source },
        false => CatalogError::Failed { subject, hint, source },
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;
    use std::sync::Condvar;
    use std::time::Duration;

    use tempfile::TempDir;
    use url::Url;

    use super::*;
    use crate::net::config::ConfiguredIndex;
    use crate::net::http::HttpSettings;
    use crate::net::loopback::{Asked, Server, Told};
    use crate::pypa::wheel::sample;

    /// An index with the wheel of `demo` 1.0. `part` answers requests for the wheel.
    fn index_of(
        wheel: Vec<u8>,
        file: &str,
        part: impl Fn(&Asked, &[u8]) -> Told + Send + Sync + 'static,
    ) -> Server {
        let file = file.replace("HASH", &Digest::of(&wheel).hex()).replace("SIZE", &wheel.len().to_string());
        Server::start(move |asked| match asked.path.as_str() {
            "/simple/demo/" if asked.header("if-none-match") == Some("\"v1\"") => Told::new(304, ""),
            "/simple/demo/" => Told::new(200, format!(r#"{{"files": [{file}]}}"#))
                .with("content-type", "application/vnd.pypi.simple.v1+json")
                .with("etag", "\"v1\""),
            "/simple/demo/demo-1.0-py3-none-any.whl" => part(asked, &wheel),
            _ => Told::new(404, ""),
        })
    }

    const FILE: &str = r#"{"filename": "demo-1.0-py3-none-any.whl", "url": "demo-1.0-py3-none-any.whl",
        "hashes": {"sha256": "HASH"}, "size": SIZE}"#;

    fn limited(url: &Url, packages: Option<&[&str]>) -> ConfiguredIndex {
        let names =
            |packages: &[&str]| packages.iter().map(|name| PackageName::from_str(name).unwrap()).collect();
        ConfiguredIndex { packages: packages.map(names), ..ConfiguredIndex::new(url.join("simple").unwrap()) }
    }

    fn open(directory: &TempDir, offline: bool, indexes: Vec<ConfiguredIndex>) -> PackageIndex {
        let backoff = Duration::from_millis(1);
        let http =
            Http::new(HttpSettings { offline, retries: 1, backoff, ..HttpSettings::default() }).unwrap();
        PackageIndex::new(
            Arc::new(http),
            Store::open(directory.path()).unwrap(),
            PackageSources { indexes, ..PackageSources::default() },
            Freshness::Believed,
        )
    }

    fn demo() -> PackageName {
        PackageName::from_str("demo").unwrap()
    }

    fn check_metadata(
        file: &str,
        part: impl Fn(&Asked, &[u8]) -> Told + Send + Sync + 'static,
        requests: usize,
    ) {
        let server = index_of(sample::wheel("1.0", "Requires-Dist: numpy>=1", 300_000), file, part);
        let directory = tempfile::tempdir().unwrap();
        let online = open(&directory, false, vec![limited(&server.url, None)]);
        let wheel = online.project(&demo()).unwrap().files[0].clone();
        let metadata = online.metadata(&wheel).unwrap();
        assert_eq!(metadata.requires_dist[0].to_string(), "numpy>=1");
        assert_eq!(online.outline(&wheel).unwrap().entries[0].path, "demo/__init__.py");
        assert_eq!(server.log().len(), requests);
        let offline = open(&directory, true, vec![limited(&server.url, None)]);
        let wheel = offline.project(&demo()).unwrap().files[0].clone();
        assert_eq!(offline.metadata(&wheel).unwrap(), metadata);
        assert_eq!(offline.outline(&wheel).unwrap(), online.outline(&wheel).unwrap());
        assert_eq!(server.log().len(), requests);
    }

    #[test]
    fn reads_metadata_from_the_end_of_a_wheel_and_keeps_it() {
        check_metadata(FILE, Told::part, 2);
    }

    #[test]
    fn downloads_the_wheel_from_a_server_without_parts() {
        check_metadata(FILE, |_, wheel| Told::new(200, wheel), 3);
        check_metadata(&FILE.replace("sha256", "md5"), |_, wheel| Told::new(200, wheel), 3);
    }

    #[test]
    fn trusts_no_metadata_file_with_the_wrong_hash() {
        let file = FILE.replace(
            r#""size""#,
            &format!(r#""core-metadata": {{"sha256": "{}"}}, "size""#, Digest::of("other").hex()),
        );
        let server = Server::start(move |asked| match asked.path.as_str() {
            "/simple/demo/" => Told::new(200, format!(r#"{{"files": [{}]}}"#, file.replace("SIZE", "1")))
                .with("content-type", "application/json"),
            _ => Told::new(200, "Name: demo\nVersion: 1.0\n"),
        });
        let directory = tempfile::tempdir().unwrap();
        let index = open(&directory, false, vec![limited(&server.url, None)]);
        let wheel = index.project(&demo()).unwrap().files[0].clone();
        let error = index.metadata(&wheel).unwrap_err();
        let source = error.source().unwrap().to_string();
        assert!(
            source.contains("has the wrong hash: expected") && source.contains(".whl.metadata"),
            "{source}"
        );
        assert_eq!(server.log().last().unwrap().path, "/simple/demo/demo-1.0-py3-none-any.whl.metadata");
    }

    #[test]
    fn asks_whether_a_page_changed() {
        let server = index_of(Vec::new(), FILE, Told::part);
        let directory = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let index = open(&directory, false, vec![limited(&server.url, None)]);
            assert_eq!(index.project(&demo()).unwrap().files.len(), 1);
            assert_eq!(index.project(&demo()).unwrap().files.len(), 1);
        }
        let conditions: Vec<_> =
            server.log().iter().map(|asked| asked.header("if-none-match").map(str::to_owned)).collect();
        assert_eq!(conditions, [None, Some("\"v1\"".into())]);
    }

    #[test]
    fn takes_a_project_from_the_first_index_that_has_it() {
        let has = |file: &str| index_of(Vec::new(), &FILE.replace("demo-1.0-py3", file), Told::part);
        let (first, second, empty) =
            (has("demo-1.0-py3"), has("demo-2.0-py3"), Server::start(|_| Told::new(404, "")));
        let check = |indexes: Vec<ConfiguredIndex>, expected: &str| {
            let directory = tempfile::tempdir().unwrap();
            let told = match open(&directory, false, indexes).project(&demo()) {
                Ok(project) => project.files[0].filename.version.to_string(),
                Err(error) => error.to_string(),
            };
            assert_eq!(told, expected);
        };
        check(vec![limited(&empty.url, None), limited(&second.url, None), limited(&first.url, None)], "2.0");
        check(vec![limited(&second.url, Some(&["other"])), limited(&first.url, None)], "1.0");
        check(vec![limited(&first.url, None), limited(&second.url, Some(&["demo"]))], "2.0");
        check(
            vec![limited(&empty.url, Some(&["demo"])), limited(&first.url, None)],
            "`demo` is in no package index",
        );
    }

    #[test]
    fn says_what_is_missing_offline() {
        let directory = tempfile::tempdir().unwrap();
        let index =
            open(&directory, true, vec![limited(&Url::parse("http://u:pw@localhost:1/").unwrap(), None)]);
        let error = index.project(&demo()).unwrap_err();
        assert_eq!(error.to_string(), "could not learn about `demo`");
        let source = error.source().unwrap().to_string();
        assert_eq!(
            source,
            "the page `http://localhost:1/simple/demo/` is not in the cache, and this is an offline build"
        );
        assert_eq!(error.hint().unwrap(), crate::net::http::ONLINE_FIRST);
    }

    #[test]
    fn says_which_index_cannot_be_reached() {
        let directory = tempfile::tempdir().unwrap();
        let index = open(&directory, false, vec![limited(&Url::parse("http://localhost:1/").unwrap(), None)]);
        let error = index.project(&demo()).unwrap_err();
        assert_eq!(error.source().unwrap().to_string(), "could not fetch `http://localhost:1/simple/demo/`");
    }

    #[test]
    fn refuses_a_wheel_with_the_metadata_of_another() {
        let server = index_of(sample::wheel("2.0", "", 0), FILE, Told::part);
        let directory = tempfile::tempdir().unwrap();
        let index = open(&directory, false, vec![limited(&server.url, None)]);
        let wheel = index.project(&demo()).unwrap().files[0].clone();
        let error = index.metadata(&wheel).unwrap_err();
        assert!(matches!(error, CatalogError::BadMetadata { .. }));
        assert_eq!(
            error.source().unwrap().to_string(),
            "`demo-1.0-py3-none-any.whl` has the metadata of demo 2.0"
        );
    }

    /// A wheel of `demo` with one of this machine's libraries, and what it is.
    fn wheel_with_library() -> Option<(Vec<u8>, WheelLibrary)> {
        let Ok(library) = std::fs::read("/usr/lib/x86_64-linux-gnu/libcrypto.so.3") else {
            eprintln!("skipped: this machine has no libcrypto.so.3");
            return None;
        };
        let noise = sample::noise(200_000);
        let wheel = sample::zip_of_bytes(&[
            ("demo/lib/libcrypto.so.3", &library),
            ("demo/lib/libscript.so", b"INPUT(libcrypto.so.3) and nothing that is ELF"),
            ("demo/data.bin", noise.as_bytes()),
            ("demo-1.0.dist-info/METADATA", b"Metadata-Version: 2.1\nName: Demo\nVersion: 1.0\n"),
        ]);
        let elf = crate::elf::dynamic::read(&*library).unwrap().unwrap();
        let symbols = crate::elf::Symbols::read(&*library).unwrap().unwrap();
        let (path, soname) = ("demo/lib/libcrypto.so.3".to_owned(), "libcrypto.so.3".to_owned());
        Some((wheel, WheelLibrary { path, soname, needed: elf.dynamic.unwrap().needed, symbols }))
    }

    /// The number of bytes of the wheel that were asked for.
    fn asked_for(server: &Server) -> usize {
        let ranges = server.log().into_iter().filter_map(|asked| asked.range());
        ranges.map(|(start, end)| end.unwrap() + 1 - start).sum()
    }

    #[test]
    fn reads_libraries_from_parts_of_a_wheel_and_keeps_them() {
        let Some((wheel, expected)) = wheel_with_library() else { return };
        let size = wheel.len();
        let server = index_of(wheel, FILE, Told::part);
        let directory = tempfile::tempdir().unwrap();
        let online = open(&directory, false, vec![limited(&server.url, None)]);
        let wheel = online.project(&demo()).unwrap().files[0].clone();
        online.prefetch_libraries(vec![wheel.clone()]);
        assert_eq!(online.libraries(&wheel).unwrap()[..], *std::slice::from_ref(&expected));
        assert!(asked_for(&server) * 3 < size * 2, "{} of {size} bytes", asked_for(&server));
        let requests = server.log().len();
        let offline = open(&directory, true, vec![limited(&server.url, None)]);
        let wheel = offline.project(&demo()).unwrap().files[0].clone();
        assert_eq!(*offline.libraries(&wheel).unwrap(), [expected]);
        assert_eq!(offline.outline(&wheel).unwrap().entries.len(), 4);
        assert_eq!(server.log().len(), requests);
    }

    #[test]
    fn outlines_are_fetched_beside_each_other() {
        const WHEELS: usize = 3;
        let (asked, all) = (Mutex::new(0), Condvar::new());
        let bytes = sample::wheel("1.0", "", 0);
        let server = Server::start(move |request| match request.path.as_str() {
            "/simple/demo/" => {
                let file = |number| {
                    let name = format!("demo-{number}-py3-none-any.whl");
                    format!(r#"{{"filename": "{name}", "url": "{name}", "hashes": {{}}}}"#)
                };
                let files = (0..WHEELS).map(file).collect::<Vec<_>>().join(",");
                Told::new(200, format!(r#"{{"files": [{files}]}}"#)).with("content-type", "application/json")
            }
            _ => {
                let mut asked = asked.lock().unwrap();
                *asked += 1;
                all.notify_all();
                let waits = |asked: &mut usize| *asked < WHEELS;
                let (asked, _) = all.wait_timeout_while(asked, Duration::from_secs(20), waits).unwrap();
                if *asked < WHEELS { Told::new(404, "") } else { Told::part(request, &bytes) }
            }
        });
        let directory = tempfile::tempdir().unwrap();
        let index = open(&directory, false, vec![limited(&server.url, None)]);
        let wheels = index.project(&demo()).unwrap().files.clone();
        index.prefetch_outlines(wheels.clone());
        assert_eq!(wheels.len(), WHEELS);
        for wheel in wheels {
            index.outline(&wheel).unwrap();
        }
    }

    #[test]
    fn reads_libraries_of_a_wheel_that_it_downloads_or_has() {
        let Some((bytes, expected)) = wheel_with_library() else { return };
        let server = index_of(bytes.clone(), FILE, |_, wheel| Told::new(200, wheel));
        let directory = tempfile::tempdir().unwrap();
        let index = open(&directory, false, vec![limited(&server.url, None)]);
        let wheel = index.project(&demo()).unwrap().files[0].clone();
        assert_eq!(index.libraries(&wheel).unwrap()[..], *std::slice::from_ref(&expected));

        let server = index_of(bytes.clone(), FILE, |_, _| Told::new(500, ""));
        let directory = tempfile::tempdir().unwrap();
        let index = open(&directory, false, vec![limited(&server.url, None)]);
        let wheel = index.project(&demo()).unwrap().files[0].clone();
        Store::open(directory.path()).unwrap().put_blob(&bytes).unwrap();
        assert_eq!(*index.libraries(&wheel).unwrap(), [expected]);
    }

    #[test]
    fn says_that_libraries_are_missing_offline() {
        let server = index_of(sample::wheel("1.0", "", 0), FILE, Told::part);
        let directory = tempfile::tempdir().unwrap();
        open(&directory, false, vec![limited(&server.url, None)]).project(&demo()).unwrap();
        let index = open(&directory, true, vec![limited(&server.url, None)]);
        let wheel = index.project(&demo()).unwrap().files[0].clone();
        let error = index.libraries(&wheel).unwrap_err();
        assert_eq!(
            error.source().unwrap().to_string(),
            "the libraries of `demo-1.0-py3-none-any.whl` are not in the cache, and this is an offline build"
        );
        assert_eq!(error.hint().unwrap(), crate::net::http::ONLINE_FIRST);
    }
}
