//! The files of projects, wherever they are listed: wheels that are named one by one, pages of links, indexes, directories.

use std::collections::BTreeMap;
use std::mem;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use percent_encoding::percent_decode_str;
use reqwest::StatusCode;
use reqwest::header::ACCEPT;
use tokio::sync::{OnceCell, Semaphore};
use url::Url;
use uv_distribution_filename::WheelFilename;
use uv_normalize::PackageName;

use super::config::{ConfiguredIndex, PackageSources, WheelPlaces, project_page};
use super::directory::WheelDirectory;
use super::http::Http;
use super::index_error::IndexError;
use super::page::{Freshness, PageRecord};
use crate::credentials::redacted;
use crate::failure::Hinted;
use crate::oci::Digest;
use crate::pypa::simple::{self, DistFile, PageError, Project};
use crate::resolve::solve::CatalogError;
use crate::store::Store;

/// The bytes of a project's page, unpacked: those of the largest ones have 20 MB.
const MAX_PAGE: u64 = 32 << 20;

/// The kind of the records of project pages.
const PAGE: &str = "simple-page";

/// The meaning of a page; `None` where the server does not have it.
type ReadPage<'a, T> = &'a (dyn Fn(&PageRecord, &[u8]) -> Result<Option<T>, PageError> + Sync);

/// The projects on a page of links.
type Links = Arc<BTreeMap<PackageName, Project>>;

/// The lists of files, as they are asked for one project after the other.
pub(super) struct Projects {
    http: Arc<Http>,
    store: Store,
    sources: PackageSources,
    freshness: Freshness,
    requests: Arc<Semaphore>,
    /// For each of the sources' pages of links, what it lists.
    links: Vec<OnceCell<Result<Links, CatalogError>>>,
    /// The place that each project is from.
    origins: Mutex<BTreeMap<PackageName, String>>,
}

impl Projects {
    /// The projects of `sources`.
    pub(super) fn new(
        http: Arc<Http>,
        store: Store,
        sources: PackageSources,
        freshness: Freshness,
        requests: Arc<Semaphore>,
    ) -> Self {
        let indexes = sources.indexes.iter().map(|index| &index.places);
        indexes.chain(&sources.links).filter_map(WheelPlaces::url).for_each(|url| http.remember(url));
        let links = sources.links.iter().map(|_| OnceCell::new()).collect();
        Self { http, store, sources, freshness, requests, links, origins: Mutex::default() }
    }

    /// The place that lists a wheel, as it may be shown.
    pub(super) fn origin(&self, wheel: &DistFile) -> String {
        let origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        origins.get(&wheel.filename.name).cloned().unwrap_or_else(|| redacted(&wheel.url))
    }

    /// Finds the files of a project: those that are named for it, or else those that pages of links and the first index
    /// that has it list.
    pub(super) async fn find(&self, name: &PackageName) -> Result<Project, CatalogError> {
        if let Some(project) = self.sources.projects.get(name) {
            return Ok(project.clone());
        }
        let mut project = Project::empty(name.clone());
        let mut searched = Vec::new();
        let indexes = self.indexes(name);
        let is_limited = indexes.first().is_some_and(|index| index.packages.is_some());
        for (places, slot) in self.sources.links.iter().zip(&self.links).filter(|_| !is_limited) {
            match self.linked(places, slot, name).await? {
                Some(linked) => self.add(&mut project, linked, places),
                None => searched.push(places.shown()),
            }
        }
        for index in indexes {
            match self.of_index(index, name).await.map_err(|error| about(name, error))? {
                Some(listed) => {
                    self.add(&mut project, listed, &index.places);
                    return Ok(project);
                }
                None => searched.push(index.shown()),
            }
        }
        match project.files.is_empty() && project.others.is_empty() {
            true => Err(CatalogError::NotFound { name: name.clone(), searched }),
            false => Ok(project),
        }
    }

    /// Adds what another place lists. Of two files of one name the first counts.
    fn add(&self, project: &mut Project, listed: Project, places: &WheelPlaces) {
        let is_new = |file: &DistFile| project.files.iter().all(|other| other.filename != file.filename);
        let files: Vec<DistFile> = match project.files.is_empty() {
            true => listed.files,
            false => listed.files.into_iter().filter(is_new).collect(),
        };
        project.files.extend(files);
        project.others.extend(listed.others);
        project.sources.extend(listed.sources);
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        origins.entry(project.name.clone()).or_insert_with(|| places.shown());
    }

    /// The indexes to ask for a project, in their order: the one that is limited to it, or else those of everything.
    fn indexes(&self, name: &PackageName) -> Vec<&ConfiguredIndex> {
        let indexes = &self.sources.indexes;
        let is_limited_to = |index: &&ConfiguredIndex| {
            index.packages.as_ref().is_some_and(|packages| packages.contains(name))
        };
        match indexes.iter().find(is_limited_to) {
            Some(only) => vec![only],
            None => indexes.iter().filter(|index| index.packages.is_none()).collect(),
        }
    }

    /// The files of a project that a page or directory lists beside the indexes; `None` where it has none.
    async fn linked(
        &self,
        places: &WheelPlaces,
        slot: &OnceCell<Result<Links, CatalogError>>,
        name: &PackageName,
    ) -> Result<Option<Project>, CatalogError> {
        match places {
            WheelPlaces::Directory(directory) => {
                self.of_directory(directory, name).map_err(|error| about(name, error))
            }
            WheelPlaces::Url(url) => {
                let read = || async { self.links(url).await.map_err(|error| unlisted(url, error)) };
                Ok(slot.get_or_init(read).await.clone()?.get(name).cloned())
            }
        }
    }

    /// The wheels that a page links to. As for uv, `exclude-newer` leaves them, whenever they were uploaded.
    async fn links(&self, url: &Url) -> Result<Links, IndexError> {
        if let Some(wheel) = wheel_at(url) {
            let name = wheel.filename.name.clone();
            let project = Project { files: vec![wheel], ..Project::empty(name.clone()) };
            return Ok(Arc::new(BTreeMap::from([(name, project)])));
        }
        let refused = |status| IndexError::Status { url: redacted(url), status };
        let read = |record: &PageRecord, body: &[u8]| record.links(url, body);
        let mut projects = self.page(url, &|_| false, &refused, &read).await?.unwrap_or_default();
        for project in projects.values_mut() {
            project.files = mem::take(&mut project.files).into_iter().map(DistFile::unlisted).collect();
        }
        Ok(Arc::new(projects))
    }

    fn of_directory(
        &self,
        directory: &WheelDirectory,
        name: &PackageName,
    ) -> Result<Option<Project>, IndexError> {
        // Hashing takes a while: other requests go on.
        Ok(tokio::task::block_in_place(|| directory.project(name, &self.store))?)
    }

    /// The files of a project in one index; `None` when the index does not have it.
    async fn of_index(
        &self,
        index: &ConfiguredIndex,
        name: &PackageName,
    ) -> Result<Option<Project>, IndexError> {
        let url = match &index.places {
            WheelPlaces::Url(url) => project_page(url, name),
            WheelPlaces::Directory(directory) => return self.of_directory(directory, name),
        };
        let is_absent = |status: StatusCode| index.is_absent(status.as_u16());
        let refused =
            |status| IndexError::Refused { index: index.shown(), project: name.to_string(), status };
        self.page(&url, &is_absent, &refused, &|record, body| record.project(name, &url, body)).await
    }

    /// The page at `url` as `read` understands it: from the store while that is believed, else from the server.
    async fn page<T>(
        &self,
        url: &Url,
        is_absent: &(dyn Fn(StatusCode) -> bool + Sync),
        refused: &(dyn Fn(StatusCode) -> IndexError + Sync),
        read: ReadPage<'_, T>,
    ) -> Result<Option<T>, IndexError> {
        let key = Digest::of(redacted(url));
        let cached: Option<(PageRecord, Vec<u8>)> = self.store.record_with_body(PAGE, &key);
        if self.http.is_offline() {
            let (record, body) = cached.ok_or_else(|| IndexError::PageNotCached { url: redacted(url) })?;
            return Ok(read(&record, &body)?);
        }
        if let Some((record, body)) = &cached
            && self.freshness == Freshness::Believed
            && record.is_fresh()
            && let Ok(value) = read(record, body)
        {
            return Ok(value);
        }
        let cached = cached.filter(|_| self.freshness == Freshness::Believed);
        let conditions = cached.as_ref().map(|(record, _)| record.conditions()).unwrap_or_default();
        let mut headers = vec![(ACCEPT, simple::ACCEPT)];
        headers.extend(conditions.iter().map(|(name, value)| (name.clone(), value.as_str())));
        let answer = {
            let _permit = self.requests.acquire().await;
            self.http.get_async(url, &headers, MAX_PAGE).await?
        };
        let (record, body) = match (answer.status, cached) {
            (StatusCode::NOT_MODIFIED, Some((record, body))) => (record.renewed(&answer.headers), body),
            (status, _) if status.is_success() || is_absent(status) => PageRecord::of(answer),
            (status, _) => return Err(refused(status)),
        };
        let value = read(&record, &body)?;
        self.store.put_record_with_body(PAGE, &key, &record, &body)?;
        Ok(value)
    }
}

/// The wheel that a URL leads to, if it leads to one and not to a page.
fn wheel_at(url: &Url) -> Option<DistFile> {
    let last = url.path_segments().and_then(Iterator::last)?;
    let filename = WheelFilename::from_str(&percent_decode_str(last).decode_utf8_lossy()).ok()?;
    let sha256 = url.fragment().and_then(|fragment| fragment.strip_prefix("sha256="));
    let sha256 = sha256.and_then(|digits| Digest::from_hex(&digits.to_ascii_lowercase()).ok());
    let mut bare = url.clone();
    bare.set_fragment(None);
    Some(DistFile { sha256, ..DistFile::bare(filename, bare).unlisted() })
}

fn about(name: &PackageName, error: IndexError) -> CatalogError {
    let hint = error.hint();
    CatalogError::Failed { subject: name.to_string(), hint, source: Arc::new(error) }
}

fn unlisted(url: &Url, error: IndexError) -> CatalogError {
    let hint = error.hint();
    CatalogError::Failed { subject: format!("the links of {}", redacted(url)), hint, source: Arc::new(error) }
}
