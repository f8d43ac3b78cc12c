//! An HTTP client that does not give up easily: retries, resumed downloads, checked hashes.
//!
//! Proxies come from the environment (`HTTPS_PROXY` and the like), certificates from the system or from
//! `SSL_CERT_FILE` and `SSL_CERT_DIR`.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{File, OpenOptions};
use std::future::Future;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use percent_encoding::percent_decode_str;
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_RANGE, RANGE, RETRY_AFTER,
};
use reqwest::{RequestBuilder, Response, StatusCode};
use tokio::runtime::Runtime;
use url::Url;

use crate::credentials::{redacted, without_credentials};
use crate::failure::Hinted;
use crate::oci::{Digest, Hasher};
use crate::store::{Store, StoreError};

/// The longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How patient the client is.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Attempts after the first one failed for a reason that may pass.
    pub retries: u32,
    /// The wait before the second attempt; it doubles with every further one.
    pub backoff: Duration,
    /// How long a connection may take to be made.
    pub connect: Duration,
    /// How long a connection may be silent.
    pub stall: Duration,
    /// Whether every request fails.
    pub offline: bool,
    /// The text of a netrc file, with passwords by host.
    pub netrc: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retries: 5,
            backoff: Duration::from_millis(500),
            connect: Duration::from_secs(15),
            stall: Duration::from_secs(30),
            offline: false,
            netrc: None,
        }
    }
}

/// Why something could not be fetched. URLs in messages carry no credentials.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("could not set up the HTTP client")]
    Client(#[source] reqwest::Error),
    #[error("could not start the threads of the HTTP client")]
    Runtime(#[source] io::Error),
    #[error("`{url}` is needed, but this is an offline build")]
    Offline { url: String },
    #[error("could not fetch `{url}`")]
    Request { url: String, source: reqwest::Error },
    #[error("nothing came from `{url}` for {silence:?}")]
    Stalled { url: String, silence: Duration },
    #[error("`{url}` answered {status}")]
    Status { url: String, status: StatusCode },
    #[error("`{url}` sent more than {limit} bytes")]
    TooLarge { url: String, limit: u64 },
    #[error("`{url}` sent other bytes than were asked for")]
    WrongRange { url: String },
    #[error("`{file}` has the wrong hash: expected {expected}, got {got}")]
    Hash { file: String, expected: Digest, got: Digest },
    #[error("`{file}` has the wrong size: expected {expected} bytes, got {got}")]
    Size { file: String, expected: u64, got: u64 },
    #[error("could not write the download `{path}`")]
    Write { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Hinted for HttpError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Offline { .. } => "run once without `--offline`".into(),
            Self::Status { status, .. } if matches!(status.as_u16(), 401 | 403 | 407) => {
                "give credentials in the URL or in ~/.netrc".into()
            }
            Self::Status { status, .. } if *status == StatusCode::NOT_FOUND => "check the URL".into(),
            Self::Request { .. } | Self::Stalled { .. } | Self::Status { .. } => {
                "check the network, and HTTPS_PROXY and SSL_CERT_FILE if you need them; a download is resumed"
                    .into()
            }
            Self::Hash { .. } | Self::Size { .. } => {
                "nothing of it was kept; if it happens again, the index and the file disagree".into()
            }
            Self::TooLarge { .. } | Self::WrongRange { .. } => {
                "something other than the server may have answered: check the URL and the proxy".into()
            }
            Self::Write { source, .. } => return source.hint(),
            Self::Store(error) => return error.hint(),
            _ => return None,
        })
    }
}

/// A small answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// Where the answer came from after redirects.
    pub url: Url,
}

/// A part of a file.
#[derive(Debug)]
pub enum Part {
    /// The bytes from `offset` on of a file of `total` bytes.
    Bytes { offset: u64, bytes: Vec<u8>, total: u64 },
    /// The server does not serve parts.
    Unsupported,
}

/// Which part of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Span {
    Range(Range<u64>),
    /// So many bytes at the end.
    Suffix(u64),
}

/// A file to download.
#[derive(Debug, Clone)]
pub struct Download {
    pub url: Url,
    /// What messages call it.
    pub name: String,
    pub digest: Digest,
    /// In bytes.
    pub size: Option<u64>,
}

impl Download {
    /// Whether nothing of it need be downloaded.
    pub fn is_in(&self, store: &Store) -> bool {
        store.has_blob(&self.digest, self.size)
    }
}

/// Called with the number of bytes that arrived since the last call.
pub type Progress<'a> = &'a (dyn Fn(u64) + Sync);

/// The client. Its methods may be called from many threads.
pub struct Http {
    client: reqwest::Client,
    settings: Settings,
    runtime: &'static Runtime,
    credentials: Mutex<Credentials>,
}

impl Http {
    pub fn new(settings: Settings) -> Result<Self, HttpError> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("imgforge/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(settings.connect)
            .read_timeout(settings.stall)
            .build()
            .map_err(HttpError::Client)?;
        let credentials = Mutex::new(Credentials::from_netrc(settings.netrc.as_deref().unwrap_or_default()));
        Ok(Self { client, settings, runtime: runtime()?, credentials })
    }

    /// Uses the credentials in `url` for everything from the same origin.
    pub fn remember(&self, url: &Url) {
        self.credentials.lock().unwrap_or_else(PoisonError::into_inner).remember(url);
    }

    pub fn is_offline(&self) -> bool {
        self.settings.offline
    }

    /// Fetches something small. Every status but those worth a retry is an answer.
    ///
    /// `limit` is the most bytes the body may have.
    pub fn get(&self, url: &Url, headers: &[(HeaderName, &str)], limit: u64) -> Result<Answer, HttpError> {
        self.block_on(self.get_async(url, headers, limit))
    }

    /// Downloads `file` into `store`, unless it is there.
    ///
    /// What arrived of an interrupted download is resumed by the next one. Two builds that want the same file wait
    /// for each other. A file with the wrong hash or size is removed.
    pub fn download(&self, store: &Store, file: &Download, progress: Progress<'_>) -> Result<(), HttpError> {
        self.block_on(self.download_async(store, file, progress))
    }

    /// Downloads a file whose hash nobody knows into `store`, and tells it.
    pub fn download_unverified(
        &self,
        store: &Store,
        url: &Url,
        progress: Progress<'_>,
    ) -> Result<(Digest, u64), HttpError> {
        self.block_on(self.download_unverified_async(store, url, progress))
    }

    pub(super) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(super) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(future);
    }

    /// [`Self::get`], for callers inside the runtime.
    pub(super) async fn get_async(
        &self,
        url: &Url,
        headers: &[(HeaderName, &str)],
        limit: u64,
    ) -> Result<Answer, HttpError> {
        let mut attempts = Attempts::new(&self.settings);
        loop {
            match self.try_get(url, headers, limit).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => attempts.wait(failure).await?,
            }
        }
    }

    async fn try_get(
        &self,
        url: &Url,
        headers: &[(HeaderName, &str)],
        limit: u64,
    ) -> Result<Answer, Failure> {
        let mut request = self.request(url)?;
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let mut response = self.send(url, request).await?;
        let (status, answer_url) = (response.status(), response.url().clone());
        let headers = std::mem::take(response.headers_mut());
        let body = self.body(url, response, limit).await?;
        Ok(Answer { status, headers, body, url: answer_url })
    }

    /// Fetches a part of a file.
    pub(super) async fn part(&self, url: &Url, span: &Span) -> Result<Part, HttpError> {
        let mut attempts = Attempts::new(&self.settings);
        loop {
            match self.try_part(url, span).await {
                Ok(part) => return Ok(part),
                Err(failure) => attempts.wait(failure).await?,
            }
        }
    }

    async fn try_part(&self, url: &Url, span: &Span) -> Result<Part, Failure> {
        let (range, wanted) = match span {
            Span::Range(range) => {
                (format!("bytes={}-{}", range.start, range.end.saturating_sub(1)), range.end - range.start)
            }
            Span::Suffix(count) => (format!("bytes=-{count}"), *count),
        };
        let request = self.request(url)?.header(RANGE, range).header(ACCEPT_ENCODING, "identity");
        let response = self.send(url, request).await?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {}
            // A server that does not know suffixes says that the range is not in the file.
            StatusCode::OK | StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::NOT_IMPLEMENTED => {
                return Ok(Part::Unsupported);
            }
            status => return Err(HttpError::Status { url: redacted(url), status }.into()),
        }
        let Some((offset, end, total)) = content_range(response.headers()) else {
            return Ok(Part::Unsupported);
        };
        let bytes = self.body(url, response, wanted).await?;
        let expected = match span {
            Span::Range(range) => range.start..range.end.min(total),
            Span::Suffix(count) => total.saturating_sub(*count)..total,
        };
        if (offset..end) != expected || bytes.len() as u64 != end - offset {
            return Err(HttpError::WrongRange { url: redacted(url) }.into());
        }
        Ok(Part::Bytes { offset, bytes, total })
    }

    /// [`Self::download_unverified`], for callers inside the runtime.
    pub(super) async fn download_unverified_async(
        &self,
        store: &Store,
        url: &Url,
        progress: Progress<'_>,
    ) -> Result<(Digest, u64), HttpError> {
        let mut attempts = Attempts::new(&self.settings);
        loop {
            let mut blob = store.new_blob()?;
            let request = self.request(url).map(|request| request.header(ACCEPT_ENCODING, "identity"));
            let received = async {
                let response = self.send(url, request?).await?;
                let response = successful(url, response)?;
                self.receive(url, response, |chunk| {
                    progress(chunk.len() as u64);
                    blob.write_all(chunk)
                        .map_err(|source| HttpError::Write { path: store.root().to_owned(), source })
                })
                .await
            };
            match received.await {
                Ok(()) => return Ok(blob.finish()?),
                Err(failure) => attempts.wait(failure).await?,
            }
        }
    }

    /// [`Self::download`], for callers inside the runtime.
    pub(super) async fn download_async(
        &self,
        store: &Store,
        file: &Download,
        progress: Progress<'_>,
    ) -> Result<(), HttpError> {
        let path = store.partial_path(&file.digest);
        let write = |source| HttpError::Write { path: path.clone(), source };
        let Some(handle) = self.claim(store, file, &path).await? else { return Ok(()) };
        let mut partial = Partial::resume(handle).map_err(write)?;
        progress(partial.size);
        let resumed = partial.size > 0;
        let mut result = self.fill(file, &path, &mut partial, progress).await;
        // What an earlier build left may be of another file.
        if resumed && matches!(result, Err(HttpError::Hash { .. } | HttpError::Size { .. })) {
            partial.restart().map_err(write)?;
            result = self.fill(file, &path, &mut partial, progress).await;
        }
        match result {
            Ok(()) => {
                partial.file.sync_data().map_err(write)?;
                store.adopt(&path, &file.digest)?;
                Ok(())
            }
            Err(error) => {
                if matches!(error, HttpError::Hash { .. } | HttpError::Size { .. }) {
                    // The name is still ours: the file behind it is locked.
                    std::fs::remove_file(&path).map_err(write)?;
                }
                Err(error)
            }
        }
    }

    /// Locks the partial file, waiting for whoever is downloading it; `None` when the blob is there.
    async fn claim(&self, store: &Store, file: &Download, path: &Path) -> Result<Option<File>, HttpError> {
        loop {
            if file.is_in(store) {
                return Ok(None);
            }
            if self.settings.offline {
                return Err(HttpError::Offline { url: redacted(&file.url) });
            }
            let opened = path.to_owned();
            let locked = tokio::task::spawn_blocking(move || lock(&opened)).await.map_err(io::Error::other);
            let handle =
                locked.flatten().map_err(|source| HttpError::Write { path: path.to_owned(), source })?;
            let Some(handle) = handle else { continue };
            if !file.is_in(store) {
                return Ok(Some(handle));
            }
            // Someone else was done between our looking and our locking, and the name is a new file's: ours.
            std::fs::remove_file(path)
                .map_err(|source| HttpError::Write { path: path.to_owned(), source })?;
        }
    }

    /// Appends to `partial` until it is complete, and checks it.
    async fn fill(
        &self,
        file: &Download,
        path: &Path,
        partial: &mut Partial,
        progress: Progress<'_>,
    ) -> Result<(), HttpError> {
        let mut attempts = Attempts::new(&self.settings);
        while file.size.is_none_or(|size| partial.size < size) {
            let before = partial.size;
            match self.try_fill(file, path, partial, progress).await {
                Ok(()) => break,
                Err(failure) => {
                    if partial.size > before {
                        attempts = Attempts::new(&self.settings);
                    }
                    attempts.wait(failure).await?;
                }
            }
        }
        partial.check(file)
    }

    async fn try_fill(
        &self,
        file: &Download,
        path: &Path,
        partial: &mut Partial,
        progress: Progress<'_>,
    ) -> Result<(), Failure> {
        let url = &file.url;
        let mut request = self.request(url)?.header(ACCEPT_ENCODING, "identity");
        if partial.size > 0 {
            request = request.header(RANGE, format!("bytes={}-", partial.size));
            if let Some(etag) = &partial.etag {
                request = request.header(IF_RANGE, etag);
            }
        }
        let response = self.send(url, request).await?;
        let write = |source| HttpError::Write { path: path.to_owned(), source };
        let continues = response.status() == StatusCode::PARTIAL_CONTENT
            && content_range(response.headers()).is_some_and(|(offset, _, _)| offset == partial.size);
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            // There is no more of it.
            return Ok(());
        }
        if !continues && partial.size > 0 {
            partial.restart().map_err(write)?;
        }
        let response = successful(url, response)?;
        partial.etag =
            response.headers().get(ETAG).filter(|etag| !etag.as_bytes().starts_with(b"W/")).cloned();
        self.receive(url, response, |chunk| {
            progress(chunk.len() as u64);
            partial.append(chunk).map_err(write)?;
            match file.size {
                Some(expected) if partial.size > expected => {
                    Err(HttpError::Size { file: file.name.clone(), expected, got: partial.size })
                }
                _ => Ok(()),
            }
        })
        .await
    }

    fn request(&self, url: &Url) -> Result<RequestBuilder, HttpError> {
        if self.settings.offline {
            return Err(HttpError::Offline { url: redacted(url) });
        }
        let login = self.credentials.lock().unwrap_or_else(PoisonError::into_inner).login(url);
        let request = self.client.get(without_credentials(url));
        Ok(match login {
            Some(Login { user, password }) => request.basic_auth(user, password),
            None => request,
        })
    }

    /// Sends a request. A status that may pass is a failure.
    async fn send(&self, url: &Url, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| self.failure(url, error))?;
        let status = response.status();
        if matches!(status.as_u16(), 408 | 429)
            || (status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED)
        {
            let after = retry_after(response.headers());
            return Err(Failure::passing(HttpError::Status { url: redacted(url), status }, after));
        }
        Ok(response)
    }

    async fn body(&self, url: &Url, response: Response, limit: u64) -> Result<Vec<u8>, Failure> {
        let promised = response.content_length().unwrap_or(0).min(limit);
        let mut body = Vec::with_capacity(usize::try_from(promised).unwrap_or(0));
        self.receive(url, response, |chunk| {
            if (body.len() + chunk.len()) as u64 > limit {
                return Err(HttpError::TooLarge { url: redacted(url), limit });
            }
            body.extend_from_slice(chunk);
            Ok(())
        })
        .await?;
        Ok(body)
    }

    async fn receive(
        &self,
        url: &Url,
        mut response: Response,
        mut take: impl FnMut(&[u8]) -> Result<(), HttpError>,
    ) -> Result<(), Failure> {
        while let Some(chunk) = response.chunk().await.map_err(|error| self.failure(url, error))? {
            take(&chunk)?;
        }
        Ok(())
    }

    /// Every error below HTTP may pass, except one that the request itself causes.
    fn failure(&self, url: &Url, error: reqwest::Error) -> Failure {
        let error = error.without_url();
        let passing = !error.is_builder() && !error.is_redirect() && !is_certificate(&error);
        let error = match error.is_timeout() && !error.is_connect() {
            true => HttpError::Stalled { url: redacted(url), silence: self.settings.stall },
            false => HttpError::Request { url: redacted(url), source: error },
        };
        match passing {
            true => Failure::passing(error, None),
            false => error.into(),
        }
    }
}

/// One runtime for the whole process: its threads only wait.
fn runtime() -> Result<&'static Runtime, HttpError> {
    static RUNTIME: OnceLock<io::Result<Runtime>> = OnceLock::new();
    let start = || {
        let threads = std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 8));
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()
    };
    RUNTIME.get_or_init(start).as_ref().map_err(|error| HttpError::Runtime(io::Error::from(error.kind())))
}

fn successful(url: &Url, response: Response) -> Result<Response, HttpError> {
    match response.status() {
        status if status.is_success() => Ok(response),
        status => Err(HttpError::Status { url: redacted(url), status }),
    }
}

/// Whether the chain of causes ends at a certificate: trying again will not make it valid.
fn is_certificate(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.to_string().contains("certificate") {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The start, end and total of `Content-Range: bytes 0-9/100`.
fn content_range(headers: &HeaderMap) -> Option<(u64, u64, u64)> {
    let (range, total) =
        headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?.split_once('/')?;
    let (start, last) = range.split_once('-')?;
    let (start, last, total): (u64, u64, u64) =
        (start.parse().ok()?, last.parse().ok()?, total.parse().ok()?);
    (start <= last && last < total).then_some((start, last + 1, total))
}

/// `Retry-After` in seconds; a date is left to the usual wait.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// An error, and whether another attempt may succeed.
struct Failure {
    error: HttpError,
    passing: bool,
    /// How long the server asks to wait.
    after: Option<Duration>,
}

impl Failure {
    fn passing(error: HttpError, after: Option<Duration>) -> Self {
        Self { error, passing: true, after }
    }
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        Self { error, passing: false, after: None }
    }
}

struct Attempts {
    left: u32,
    wait: Duration,
}

impl Attempts {
    fn new(settings: &Settings) -> Self {
        Self { left: settings.retries, wait: settings.backoff }
    }

    /// Waits for the next attempt, or gives up with the error.
    async fn wait(&mut self, failure: Failure) -> Result<(), HttpError> {
        if !failure.passing || self.left == 0 {
            return Err(failure.error);
        }
        self.left -= 1;
        tokio::time::sleep(failure.after.unwrap_or(self.wait).min(LONGEST_WAIT)).await;
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        Ok(())
    }
}

/// A download that is being written, and the hash of what is there.
struct Partial {
    file: File,
    hasher: Hasher,
    size: u64,
    etag: Option<HeaderValue>,
}

impl Partial {
    /// Continues where an earlier download stopped.
    fn resume(mut file: File) -> io::Result<Self> {
        let mut hasher = Hasher::default();
        let mut size = 0;
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(Self { file, hasher, size, etag: None }),
                count => {
                    hasher.update(&buffer[..count]);
                    size += count as u64;
                }
            }
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        (self.hasher, self.size, self.etag) = (Hasher::default(), 0, None);
        Ok(())
    }

    fn check(&self, file: &Download) -> Result<(), HttpError> {
        let (name, got) = (file.name.clone(), self.size);
        if let Some(expected) = file.size.filter(|expected| *expected != got) {
            return Err(HttpError::Size { file: name, expected, got });
        }
        let (expected, got) = (file.digest, self.hasher.clone().finish());
        if expected != got {
            return Err(HttpError::Hash { file: name, expected, got });
        }
        Ok(())
    }
}

/// Opens and locks the file at `path`; `None` when another process renamed or removed it meanwhile.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    file.lock()?;
    let (ours, theirs) = (file.metadata()?, std::fs::metadata(path));
    let same = theirs.is_ok_and(|theirs| (theirs.dev(), theirs.ino()) == (ours.dev(), ours.ino()));
    Ok(same.then_some(file))
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Login {
    user: String,
    password: Option<String>,
}

/// Who to be where.
#[derive(Debug, Default)]
struct Credentials {
    /// By origin: scheme, host and port.
    origins: BTreeMap<String, Login>,
    /// By host, from netrc.
    hosts: BTreeMap<String, Login>,
    /// For hosts that netrc does not name.
    default: Option<Login>,
}

impl Credentials {
    /// Reads `machine HOST login USER password PASSWORD` entries and `default`.
    ///
    /// <https://www.gnu.org/software/inetutils/manual/html_node/The-_002enetrc-file.html>
    fn from_netrc(text: &str) -> Self {
        let mut credentials = Self::default();
        let mut words = text
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default())
            .flat_map(str::split_whitespace);
        let (mut host, mut login) = (None::<Option<String>>, Login { user: String::new(), password: None });
        let mut keep = |host: Option<Option<String>>, login: &mut Login| {
            let login = std::mem::replace(login, Login { user: String::new(), password: None });
            match host {
                Some(Some(host)) => drop(credentials.hosts.entry(host).or_insert(login)),
                Some(None) => credentials.default = Some(login),
                None => {}
            }
        };
        while let Some(word) = words.next() {
            match word {
                "machine" => {
                    keep(host.take(), &mut login);
                    host = Some(words.next().map(str::to_owned));
                }
                "default" => {
                    keep(host.take(), &mut login);
                    host = Some(None);
                }
                "login" => login.user = words.next().unwrap_or_default().to_owned(),
                "password" => login.password = words.next().map(str::to_owned),
                _ => {}
            }
        }
        keep(host, &mut login);
        credentials
    }

    fn remember(&mut self, url: &Url) {
        if let Some(login) = login_in(url) {
            self.origins.insert(url.origin().ascii_serialization(), login);
        }
    }

    fn login(&self, url: &Url) -> Option<Login> {
        login_in(url)
            .or_else(|| self.origins.get(&url.origin().ascii_serialization()).cloned())
            .or_else(|| self.hosts.get(url.host_str()?).cloned())
            .or_else(|| self.default.clone())
    }
}

fn login_in(url: &Url) -> Option<Login> {
    let decode = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let password = url.password().map(decode);
    (!url.username().is_empty() || password.is_some())
        .then(|| Login { user: decode(url.username()), password })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    use tempfile::TempDir;

    use super::*;
    use crate::net::loopback::{Server, Told};

    const CONTENT: &[u8] = &[7; 100_000];

    fn http() -> Http {
        Http::new(Settings {
            retries: 3,
            backoff: Duration::from_millis(1),
            stall: Duration::from_millis(300),
            ..Settings::default()
        })
        .unwrap()
    }

    fn store() -> (TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        (directory, store)
    }

    fn wanted(server: &Server) -> Download {
        let url = server.url.join("file.whl").unwrap();
        Download {
            url,
            name: "file.whl".into(),
            digest: Digest::of(CONTENT),
            size: Some(CONTENT.len() as u64),
        }
    }

    fn partials(store: &Store) -> usize {
        let names =
            std::fs::read_dir(store.root().join("tmp")).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_str().unwrap().starts_with("partial-")).count()
    }

    #[test]
    fn resumes_a_download_that_breaks() {
        let first = AtomicUsize::new(0);
        let server = Server::start(move |asked| {
            let told = Told::part(asked, CONTENT).with("etag", "\"one\"");
            match first.fetch_add(1, Ordering::SeqCst) {
                0 => told.broken_after(30_000, Duration::ZERO),
                1 => told.broken_after(20_000, Duration::from_secs(2)),
                _ => told,
            }
        });
        let (_directory, store) = store();
        let arrived = AtomicU64::new(0);
        let count = |bytes| {
            arrived.fetch_add(bytes, Ordering::SeqCst);
        };
        http().download(&store, &wanted(&server), &count).unwrap();
        assert_eq!(std::fs::read(store.blob_path(&Digest::of(CONTENT))).unwrap(), CONTENT);
        assert_eq!(arrived.load(Ordering::SeqCst), CONTENT.len() as u64);
        let ranges: Vec<_> =
            server.log().iter().map(|asked| asked.header("range").map(str::to_owned)).collect();
        assert_eq!(ranges, [None, Some("bytes=30000-".into()), Some("bytes=50000-".into())]);
        assert_eq!(server.log()[1].header("if-range"), Some("\"one\""));
        assert_eq!(partials(&store), 0);
    }

    #[test]
    fn resumes_what_an_earlier_build_left() {
        let server = Server::start(|asked| Told::part(asked, CONTENT));
        let (_directory, store) = store();
        std::fs::write(store.partial_path(&Digest::of(CONTENT)), &CONTENT[..60_000]).unwrap();
        http().download(&store, &wanted(&server), &|_| {}).unwrap();
        assert_eq!(server.log()[0].header("range"), Some("bytes=60000-"));
        assert_eq!(store.blob_size(&Digest::of(CONTENT)), Some(100_000));
    }

    #[test]
    fn starts_again_when_what_was_left_is_of_another_file() {
        let server = Server::start(|asked| Told::part(asked, CONTENT));
        let (_directory, store) = store();
        std::fs::write(store.partial_path(&Digest::of(CONTENT)), [8; 60_000]).unwrap();
        http().download(&store, &wanted(&server), &|_| {}).unwrap();
        assert_eq!(store.blob_size(&Digest::of(CONTENT)), Some(100_000));
        assert_eq!(server.log().len(), 2);
    }

    #[test]
    fn keeps_nothing_of_a_file_with_the_wrong_hash_or_size() {
        let server = Server::start(|_| Told::new(200, [8; 100_000]));
        let (_directory, store) = store();
        let check = |file: Download, expected: &str| {
            let error = http().download(&store, &file, &|_| {}).unwrap_err();
            assert_eq!(error.to_string(), expected);
            assert_eq!((partials(&store), store.blob_size(&file.digest)), (0, None));
        };
        let (expected, got) = (Digest::of(CONTENT), Digest::of([8; 100_000]));
        check(wanted(&server), &format!("`file.whl` has the wrong hash: expected {expected}, got {got}"));
        let short = Download { size: Some(200_000), ..wanted(&server) };
        check(short, "`file.whl` has the wrong size: expected 200000 bytes, got 100000");
    }

    #[test]
    fn two_builds_download_a_file_once() {
        let server = Server::start(|asked| {
            std::thread::sleep(Duration::from_millis(100));
            Told::part(asked, CONTENT)
        });
        let (_directory, store) = store();
        let (one, two) = (http(), http());
        std::thread::scope(|scope| {
            for http in [&one, &two] {
                scope.spawn(|| http.download(&store, &wanted(&server), &|_| {}).unwrap());
            }
        });
        assert_eq!(server.log().len(), 1);
        assert_eq!(store.blob_size(&Digest::of(CONTENT)), Some(100_000));
    }

    #[test]
    fn tries_again_when_the_reason_may_pass() {
        let attempts = AtomicUsize::new(0);
        let server = Server::start(move |_| match attempts.fetch_add(1, Ordering::SeqCst) {
            0 => Told::new(503, ""),
            1 => Told::new(429, "").with("retry-after", "0"),
            _ => Told::new(200, "fine"),
        });
        let answer = http().get(&server.url, &[], 100).unwrap();
        assert_eq!((answer.body.as_slice(), server.log().len()), (&b"fine"[..], 3));
    }

    #[test]
    fn gives_up_on_what_does_not_pass() {
        let silent = Server::start(|_| Told::new(200, "x").broken_after(0, Duration::from_secs(60)));
        let busy = Server::start(|_| Told::new(500, ""));
        let large = Server::start(|_| Told::new(200, "0123456789"));
        let check = |server: &Server, expected: &str, attempts: usize| {
            let error = http().get(&server.url, &[], 9).unwrap_err();
            assert_eq!(error.to_string().replace(server.url.as_str(), "URL"), expected);
            assert_eq!(server.log().len(), attempts);
        };
        check(&silent, "nothing came from `URL` for 300ms", 4);
        check(&busy, "`URL` answered 500 Internal Server Error", 4);
        check(&large, "`URL` sent more than 9 bytes", 1);
    }

    #[test]
    fn uses_credentials_and_never_shows_them() {
        let server = Server::start(|_| Told::new(500, ""));
        let host = server.url.host_str().unwrap();
        let netrc =
            format!("machine other login x password y\nmachine {host} login user password s3cret # note\n");
        let settings = Settings { netrc: Some(netrc), retries: 0, ..Settings::default() };
        let http = Http::new(settings).unwrap();
        http.get(&server.url, &[], 9).unwrap_err();
        let mut url = server.url.clone();
        url.set_username("me").unwrap();
        url.set_password(Some("p%40ss")).unwrap();
        let error = http.get(&url.join("?token=t0ken").unwrap(), &[], 9).unwrap_err();
        http.remember(&url);
        http.get(&server.url, &[], 9).unwrap_err();
        let logins: Vec<_> =
            server.log().iter().map(|asked| asked.header("authorization").unwrap().to_owned()).collect();
        assert_eq!(logins, ["Basic dXNlcjpzM2NyZXQ=", "Basic bWU6cEBzcw==", "Basic bWU6cEBzcw=="]);
        let told = format!("{error} {error:?}");
        assert!(!told.contains("ss") && !told.contains("t0ken"), "{told}");
    }

    #[test]
    fn asks_nothing_offline() {
        let server = Server::start(|_| Told::new(200, ""));
        let http = Http::new(Settings { offline: true, ..Settings::default() }).unwrap();
        let (_directory, store) = store();
        assert!(matches!(http.get(&server.url, &[], 9), Err(HttpError::Offline { .. })));
        assert!(matches!(http.download(&store, &wanted(&server), &|_| {}), Err(HttpError::Offline { .. })));
        assert!(server.log().is_empty());
    }
}
