//! An HTTP client that does not give up easily: requests, answers and retries.
//!
//! Proxies come from the environment (`HTTPS_PROXY` and the like), certificates from the system or from
//! `SSL_CERT_FILE` and `SSL_CERT_DIR`.

use std::error::Error;
use std::future::Future;
use std::io;
use std::ops::Deref;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, HeaderMap, HeaderName, RANGE, RETRY_AFTER};
use reqwest::{Client, ClientBuilder, RequestBuilder, Response, StatusCode};
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

use super::credentials::Credentials;
use super::netrc::{Login, Netrc};
use super::pace::Pace;
use super::redirect::{self, RedirectError};
use super::registry::error::RegistryError;
use crate::credentials::{redacted, without_credentials};
use crate::failure::Hinted;
use crate::oci::Digest;
use crate::store::StoreError;

/// The longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The longest time for one small answer, from the request to the last byte: a page of the largest size comes in it at 110
/// KiB/s.
const LONGEST_ANSWER: Duration = Duration::from_secs(600);

/// The bytes from which on a body is large: metadata and most pages are smaller.
const LARGE: usize = 2 << 20;
/// The large bodies in memory at once, each of which may take all that its kind may.
const MOST_LARGE: usize = 3;

/// The patience of the client.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Attempts after the first one failed for a reason that may pass.
    pub retries: u32,
    /// The wait before the second attempt; it doubles with every further one.
    pub backoff: Duration,
    /// The longest wait between two attempts, whatever a server asks for.
    pub longest_wait: Duration,
    /// The time to make a connection.
    pub connect: Duration,
    /// The time that a connection may be silent.
    pub stall: Duration,
    /// True if every request fails.
    pub offline: bool,
    /// The logins of a netrc file.
    pub netrc: Netrc,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            retries: 5,
            backoff: Duration::from_millis(500),
            longest_wait: LONGEST_WAIT,
            connect: Duration::from_secs(15),
            stall: Duration::from_secs(30),
            offline: false,
            netrc: Netrc::default(),
        }
    }
}

/// The next step where something is not in the store.
pub(super) const ONLINE_FIRST: &str = "run the same command once without `--offline`: what it fetches stays in the store, which can be copied to another machine (IMGFORGE_CACHE_DIR names it)";

/// The reason why something could not be fetched. URLs in messages carry no credentials.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum HttpError {
    #[error("could not set up the HTTP client")]
    Client(#[source] reqwest::Error),
    #[error("could not start the threads of the HTTP client")]
    Runtime(#[source] io::Error),
    #[error("`{url}` would have to be fetched, and `--offline` forbids it")]
    Offline { url: String },
    #[error("could not fetch `{url}`")]
    Request { url: String, source: reqwest::Error },
    #[error("nothing came from `{url}` for {silence:?}")]
    Stalled { url: String, silence: Duration },
    #[error("`{url}` sends too slowly: too few bytes came in {interval:?}")]
    Slow { url: String, interval: Duration },
    #[error("`{url}` did not send all of its answer in {limit:?}")]
    Endless { url: String, limit: Duration },
    #[error("could not follow `{url}`")]
    Redirect { url: String, source: RedirectError },
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
    #[error("could not read `{path}`")]
    Local { path: PathBuf, source: io::Error },
    #[error("`{path}` changed while it was read")]
    LocalChanged { path: PathBuf },
    #[error("could not write the download `{path}`")]
    Write { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Registry(Box<RegistryError>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl HttpError {
    /// Returns whether the server is at fault, so that another one may do.
    pub fn is_of_server(&self) -> bool {
        !matches!(
            self,
            Self::Client(_)
                | Self::Runtime(_)
                | Self::Offline { .. }
                | Self::Local { .. }
                | Self::LocalChanged { .. }
                | Self::Write { .. }
                | Self::Store(_)
        )
    }
}

impl From<RegistryError> for HttpError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(Box::new(error))
    }
}

/// A server of files, with the login or the token that it wants.
pub(super) trait FileServer: Sync {
    /// Asks for `url`. A status that may pass is a failure.
    fn get(
        &self,
        url: &Url,
        headers: HeaderMap,
    ) -> impl Future<Output = Result<Response, RequestFailure>> + Send;
}

impl FileServer for Http {
    async fn get(&self, url: &Url, headers: HeaderMap) -> Result<Response, RequestFailure> {
        let request = self.request(url)?.headers(headers);
        self.send(url, request).await
    }
}

impl Hinted for HttpError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Offline { .. } => ONLINE_FIRST.into(),
            Self::Status { status, .. } if matches!(status.as_u16(), 401 | 403 | 407) => {
                "give credentials in the URL or in ~/.netrc".into()
            }
            Self::Status { status, .. } if *status == StatusCode::NOT_FOUND => "check the URL".into(),
            Self::Redirect { source, .. } => return source.hint(),
            Self::Slow { .. } | Self::Endless { .. } => {
                "use a faster mirror or index; the next build continues the download".into()
            }
            Self::Request { .. } | Self::Stalled { .. } | Self::Status { .. } => {
                "check the address and the network, and HTTPS_PROXY and SSL_CERT_FILE if you need them".into()
            }
            Self::Hash { .. } | Self::Size { .. } => {
                "nothing of it was kept. The lock, the index or the recipe says what is expected: where another file took its place on purpose, `imgforge lock --upgrade=NAME` locks that one; if not, run again, and then ask who serves it".into()
            }
            Self::TooLarge { .. } | Self::WrongRange { .. } => {
                "something other than the server may have answered: check the URL and the proxy".into()
            }
            Self::Write { source, .. } | Self::Local { source, .. } => return source.hint(),
            Self::LocalChanged { .. } => "run again when nothing writes to it any more".into(),
            Self::Registry(error) => return error.hint(),
            Self::Store(error) => return error.hint(),
            _ => return None,
        })
    }
}

/// A small answer.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The HTTP headers.
    pub headers: HeaderMap,
    /// The body, decompressed.
    pub body: Vec<u8>,
    /// The URL of the answer, after redirects.
    pub url: Url,
    /// Held while a large body is in memory.
    _large: Option<OwnedSemaphorePermit>,
}

/// A part of a file.
#[derive(Debug)]
pub enum FilePart {
    /// The bytes from `offset` on of a file of `total` bytes.
    Bytes {
        /// The offset of the first byte in the file.
        offset: u64,
        /// The bytes.
        bytes: Vec<u8>,
        /// The size of the whole file.
        total: u64,
    },
    /// The server does not serve parts.
    Unsupported,
}

/// A part of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ByteSpan {
    /// These bytes.
    Range(Range<u64>),
    /// So many bytes at the end.
    Suffix(u64),
}

/// The client. Its methods may be called from many threads.
pub struct Http {
    client: Client,
    settings: HttpSettings,
    runtime: &'static Runtime,
    credentials: Mutex<Credentials>,
    large: Arc<Semaphore>,
}

impl Http {
    /// A client with these settings.
    pub fn new(settings: HttpSettings) -> Result<Self, HttpError> {
        // Fails where a provider is set already: by an earlier client.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = builder(&settings).read_timeout(settings.stall).build().map_err(HttpError::Client)?;
        let credentials = Mutex::new(Credentials::new(settings.netrc.clone()));
        let large = Arc::new(Semaphore::new(MOST_LARGE));
        Ok(Self { client, settings, runtime: runtime()?, credentials, large })
    }

    /// Notes that the user names `url` as an index or a mirror. The credentials in it are used for everything from the same
    /// origin.
    pub fn remember(&self, url: &Url) {
        self.credentials.lock().unwrap_or_else(PoisonError::into_inner).remember(url);
    }

    /// Returns whether every request fails.
    pub fn is_offline(&self) -> bool {
        self.settings.offline
    }

    /// Begins a client for the servers that want one of their own. How long it waits for an answer is its user's to say.
    pub(super) fn client_builder(&self) -> ClientBuilder {
        builder(&self.settings)
    }

    /// The time that a connection may be silent.
    pub(super) fn stall(&self) -> Duration {
        self.settings.stall
    }

    /// Fetches something small. Every status but those worth a retry is an answer.
    ///
    /// `limit` is the most bytes the body may have.
    pub fn get(&self, url: &Url, headers: &[(HeaderName, &str)], limit: u64) -> Result<Answer, HttpError> {
        self.block_on(self.get_async(url, headers, limit))
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
        let mut attempts = self.attempts();
        loop {
            match self.in_time(url, self.try_get(url, headers, limit)).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => attempts.wait(failure).await?,
            }
        }
    }

    /// Gives up what takes longer than any honest answer.
    async fn in_time<T>(
        &self,
        url: &Url,
        answer: impl Future<Output = Result<T, RequestFailure>>,
    ) -> Result<T, RequestFailure> {
        let endless = |_| HttpError::Endless { url: redacted(url), limit: LONGEST_ANSWER };
        tokio::time::timeout(LONGEST_ANSWER, answer).await.map_err(endless)?
    }

    /// The attempts that one request has.
    pub(super) fn attempts(&self) -> Attempts {
        Attempts::new(&self.settings)
    }

    async fn try_get(
        &self,
        url: &Url,
        headers: &[(HeaderName, &str)],
        limit: u64,
    ) -> Result<Answer, RequestFailure> {
        let mut request = self.request(url)?;
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let mut response = self.send(url, request).await?;
        let (status, answer_url) = (response.status(), response.url().clone());
        let headers = std::mem::take(response.headers_mut());
        let (body, large) = self.body(url, response, limit).await?;
        Ok(Answer { status, headers, body, url: answer_url, _large: large })
    }

    /// Fetches a part of a file.
    pub(super) async fn part(&self, url: &Url, span: &ByteSpan) -> Result<FilePart, HttpError> {
        let mut attempts = self.attempts();
        loop {
            match self.in_time(url, self.try_part(url, span)).await {
                Ok(part) => return Ok(part),
                Err(failure) => attempts.wait(failure).await?,
            }
        }
    }

    async fn try_part(&self, url: &Url, span: &ByteSpan) -> Result<FilePart, RequestFailure> {
        let (range, wanted) = match span {
            ByteSpan::Range(range) => {
                (format!("bytes={}-{}", range.start, range.end.saturating_sub(1)), range.end - range.start)
            }
            ByteSpan::Suffix(count) => (format!("bytes=-{count}"), *count),
        };
        let request = self.request(url)?.header(RANGE, range).header(ACCEPT_ENCODING, "identity");
        let response = self.send(url, request).await?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {}
            // A server that does not know suffixes says that the range is not in the file.
            StatusCode::OK | StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::NOT_IMPLEMENTED => {
                return Ok(FilePart::Unsupported);
            }
            status => return Err(HttpError::Status { url: redacted(url), status }.into()),
        }
        let Some((offset, end, total)) = content_range(response.headers()) else {
            return Ok(FilePart::Unsupported);
        };
        let (bytes, _) = self.body(url, response, wanted).await?;
        let expected = match span {
            ByteSpan::Range(range) => range.start..range.end.min(total),
            ByteSpan::Suffix(count) => total.saturating_sub(*count)..total,
        };
        if (offset..end) != expected || bytes.len() as u64 != end - offset {
            return Err(HttpError::WrongRange { url: redacted(url) }.into());
        }
        Ok(FilePart::Bytes { offset, bytes, total })
    }

    pub(super) fn request(&self, url: &Url) -> Result<RequestBuilder, HttpError> {
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
    pub(super) async fn send(&self, url: &Url, request: RequestBuilder) -> Result<Response, RequestFailure> {
        let response = request.send().await.map_err(|error| self.failure(url, error))?;
        let status = response.status();
        if matches!(status.as_u16(), 408 | 429)
            || (status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED)
        {
            let after = retry_after(response.headers());
            return Err(RequestFailure::passing(HttpError::Status { url: redacted(url), status }, after));
        }
        Ok(response)
    }

    /// The body of an answer. Of large ones a few are in memory at once; the others wait.
    pub(super) async fn body(
        &self,
        url: &Url,
        mut response: Response,
        limit: u64,
    ) -> Result<(Vec<u8>, Option<OwnedSemaphorePermit>), RequestFailure> {
        let promised = response.content_length().unwrap_or(0).min(limit);
        let mut body = Vec::with_capacity(usize::try_from(promised).unwrap_or(0));
        let (mut large, mut pace) = (None, Pace::new(self.settings.stall));
        while let Some(chunk) = self.chunk(url, &mut response, &mut pace).await? {
            if (body.len() + chunk.len()) as u64 > limit {
                return Err(HttpError::TooLarge { url: redacted(url), limit }.into());
            }
            if large.is_none() && body.len() + chunk.len() > LARGE {
                large = self.large.clone().acquire_owned().await.ok();
            }
            body.extend_from_slice(&chunk);
        }
        Ok((body, large))
    }

    pub(super) async fn receive(
        &self,
        url: &Url,
        mut response: Response,
        mut take: impl FnMut(&[u8]) -> Result<(), HttpError>,
    ) -> Result<(), RequestFailure> {
        let mut pace = Pace::new(self.settings.stall);
        while let Some(chunk) = self.chunk(url, &mut response, &mut pace).await? {
            take(&chunk)?;
        }
        Ok(())
    }

    /// The next bytes of an answer; `None` at its end.
    pub(super) async fn chunk(
        &self,
        url: &Url,
        response: &mut Response,
        pace: &mut Pace,
    ) -> Result<Option<impl Deref<Target = [u8]> + use<>>, RequestFailure> {
        let stall = self.settings.stall;
        let asked = Instant::now();
        // What is inflated to nothing is silence, too.
        let chunk = tokio::time::timeout(stall, response.chunk());
        let chunk = chunk.await.map_err(|_| self.stalled(url))?;
        let Some(chunk) = chunk.map_err(|error| self.failure(url, error))? else { return Ok(None) };
        if !pace.is_enough(asked.elapsed(), chunk.len() as u64) {
            let slow = HttpError::Slow { url: redacted(url), interval: stall };
            return Err(RequestFailure::passing(slow, None));
        }
        Ok(Some(chunk))
    }

    pub(super) fn stalled(&self, url: &Url) -> RequestFailure {
        let stalled = HttpError::Stalled { url: redacted(url), silence: self.settings.stall };
        RequestFailure::passing(stalled, None)
    }

    /// Every error below HTTP may pass, except one that the request itself causes.
    pub(super) fn failure(&self, url: &Url, error: reqwest::Error) -> RequestFailure {
        if let Some(source) = redirect::refusal(&error) {
            return HttpError::Redirect { url: redacted(url), source }.into();
        }
        let error = error.without_url();
        let passing = !error.is_builder() && !error.is_redirect() && !is_certificate(&error);
        if error.is_timeout() && !error.is_connect() {
            return self.stalled(url);
        }
        let error = HttpError::Request { url: redacted(url), source: error };
        match passing {
            true => RequestFailure::passing(error, None),
            false => error.into(),
        }
    }
}

/// A client that follows the redirects that are allowed.
fn builder(settings: &HttpSettings) -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("imgforge/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(settings.connect)
        .redirect(redirect::policy())
        .referer(false)
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

pub(super) fn successful(url: &Url, response: Response) -> Result<Response, HttpError> {
    match response.status() {
        status if status.is_success() => Ok(response),
        status => Err(HttpError::Status { url: redacted(url), status }),
    }
}

/// Returns whether the chain of causes ends at a certificate: trying again will not make it valid.
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
pub(super) fn content_range(headers: &HeaderMap) -> Option<(u64, u64, u64)> {
    let (range, total) =
        headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?.split_once('/')?;
    let (start, last) = range.split_once('-')?;
    let (start, last, total): (u64, u64, u64) =
        (start.parse().ok()?, last.parse().ok()?, total.parse().ok()?);
    (start <= last && last < total).then_some((start, last + 1, total))
}

/// The wait of `Retry-After`, which is in seconds or until a date.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let until_date = || {
        let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
        Some(date.duration_since(jiff::Timestamp::now()).unsigned_abs())
            .filter(|_| date > jiff::Timestamp::now())
    };
    value.parse().ok().map(Duration::from_secs).or_else(until_date)
}

/// An error, and whether another attempt may succeed.
pub(super) struct RequestFailure {
    error: HttpError,
    passing: bool,
    /// The wait that the server asks for.
    after: Option<Duration>,
}

impl RequestFailure {
    /// An error that may not come again.
    pub(super) fn passing(error: impl Into<HttpError>, after: Option<Duration>) -> Self {
        Self { error: error.into(), passing: true, after }
    }

    /// Returns whether another attempt may succeed.
    pub(super) fn passes(&self) -> bool {
        self.passing
    }

    /// The error alone.
    pub(super) fn into_error(self) -> HttpError {
        self.error
    }
}

impl From<HttpError> for RequestFailure {
    fn from(error: HttpError) -> Self {
        Self { error, passing: false, after: None }
    }
}

/// The attempts that are left for one request.
pub(super) struct Attempts {
    left: u32,
    wait: Duration,
    longest: Duration,
}

impl Attempts {
    fn new(settings: &HttpSettings) -> Self {
        Self { left: settings.retries, wait: settings.backoff, longest: settings.longest_wait }
    }

    /// Waits for the next attempt, or gives up with the error.
    pub(super) async fn wait(&mut self, failure: RequestFailure) -> Result<(), HttpError> {
        if !failure.passing || self.left == 0 {
            return Err(failure.error);
        }
        // Slowness lasts, and each attempt takes its whole time: there is one more.
        if matches!(failure.error, HttpError::Slow { .. }) {
            self.left = 1;
        }
        self.left -= 1;
        tokio::time::sleep(failure.after.unwrap_or_else(|| jittered(self.wait)).min(self.longest)).await;
        self.wait = (self.wait * 2).min(self.longest);
        Ok(())
    }
}

/// Half of a wait at least, so that those who failed together do not all come back together.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::net::loopback::{Server, Told};

    fn http() -> Http {
        Http::new(HttpSettings {
            retries: 3,
            backoff: Duration::from_millis(1),
            stall: Duration::from_millis(300),
            ..HttpSettings::default()
        })
        .unwrap()
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
    fn an_answer_that_trickles_is_given_up() {
        let server = Server::start(|_| Told::new(200, [b'x'; 1000]).trickled(Duration::from_millis(5)));
        let error = http().get(&server.url, &[], 1000).unwrap_err().to_string();
        assert!(error.contains("sends too slowly"), "{error}");
        assert_eq!(server.log().len(), 2);
    }

    /// The URL of a server that sends `first`, and then `more` again and again, with a pause.
    fn endless(first: &'static [u8], more: &'static [u8], pause: Duration) -> Url {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || {
                    // What comes before the request is no answer.
                    let mut sent = stream.read(&mut [0; 4096]).and_then(|_| stream.write_all(first));
                    while sent.is_ok() {
                        std::thread::sleep(pause);
                        sent = stream.write_all(more);
                    }
                });
            }
        });
        url
    }

    #[test]
    fn an_answer_without_end_ends() {
        const GZIP: &[u8] = b"HTTP/1.1 200 -\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\0\0\0\0\0\0\xff";
        let check = |first, more, pause, expected: &str| {
            let url = endless(first, more, Duration::from_millis(pause));
            let error = http().get(&url, &[], 100_000).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(b"HTTP/1.1 200 -\r\n", b"x-header: and one more\r\n", 0, "could not fetch");
        check(b"HTTP/1.1 200 -\r\nx: ", b"a long value goes on and on, ", 0, "could not fetch");
        check(b"HTTP/1.1 200 -\r\n", b"x-header: and one more\r\n", 50, "for 300ms");
        check(
            b"HTTP/1.1 200 -\r\n\r\n",
            b"0123456789 0123456789 0123456789 0123456789",
            0,
            "sent more than 100000 bytes",
        );
        check(b"HTTP/1.1 200 -\r\n\r\n", b"0", 20, "sends too slowly");
        // Empty blocks, which inflate to nothing.
        check(GZIP, b"\0\0\0\xff\xff", 1, "for 300ms");
    }

    #[test]
    fn a_redirect_takes_no_login_and_no_query_to_another_origin() {
        let check = |host: Option<&str>, expected: Option<&str>| {
            let to = Server::start(|_| Told::new(200, "there"));
            let mut target = to.url.clone();
            if let Some(host) = host {
                target.set_host(Some(host)).unwrap();
            }
            let from = Server::start(move |_| Told::new(302, "").with("location", target.as_str()));
            let mut url = from.url.join("simple/?token=t0ken").unwrap();
            url.set_username("me").unwrap();
            url.set_password(Some("secret")).unwrap();
            let client = http();
            client.remember(&url);
            assert_eq!(client.get(&url, &[], 9).unwrap().body, b"there");
            let [asked] = &to.log()[..] else { panic!("{:?}", to.log()) };
            assert_eq!((asked.header("authorization"), asked.header("referer")), (expected, None));
            assert!(from.log()[0].header("authorization").is_some());
        };
        // Another port, another name of the same machine, and another address of it.
        check(None, None);
        check(Some("localhost"), None);
        check(Some("127.0.0.1"), None);
    }

    #[test]
    fn a_redirect_to_itself_ends() {
        let server = Server::start(|_| Told::new(302, "").with("location", "/"));
        let error = Http::new(HttpSettings::default()).unwrap().get(&server.url, &[], 9).unwrap_err();
        assert!(matches!(error, HttpError::Redirect { source: RedirectError::TooMany, .. }), "{error}");
        assert_eq!(server.log().len(), 11);
    }

    #[test]
    fn uses_credentials_and_never_shows_them() {
        let server = Server::start(|_| Told::new(500, ""));
        let host = server.url.host_str().unwrap();
        let netrc =
            format!("machine other login x password y\nmachine {host} login user password s3cret # note\n");
        let netrc = Netrc::parse(&netrc);
        let settings = HttpSettings { netrc, retries: 0, ..HttpSettings::default() };
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
        let http = Http::new(HttpSettings { offline: true, ..HttpSettings::default() }).unwrap();
        assert!(matches!(http.get(&server.url, &[], 9), Err(HttpError::Offline { .. })));
        assert!(server.log().is_empty());
    }
}
