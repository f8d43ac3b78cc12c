//! Downloads of whole files into the store: resumed, and checked against their hashes.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use reqwest::header::{
    ACCEPT_ENCODING, ETAG, HeaderMap, HeaderName, HeaderValue, IF_RANGE, LAST_MODIFIED, RANGE,
};
use reqwest::{Response, StatusCode};
use url::Url;

use super::http::{FileServer, Http, HttpError, RequestFailure, content_range, successful};
use crate::credentials::redacted;
use crate::oci::{Digest, Hasher};
use crate::plain_file;
use crate::store::{BlobWriter, Store};

/// A file whose size nobody tells may have this many bytes: the largest wheels have a few GB.
const LARGEST_FILE: u64 = 16 << 30;
/// An attempt that brought at least this many bytes is followed by as many as there were at first; one that brought fewer is
/// counted.
pub(super) const LEAST_PROGRESS: u64 = 16 << 10;

/// The scheme of files on this machine: they are copied into the store when they are needed, as others are downloaded.
pub(super) const LOCAL: &str = "file";

/// A file to download.
#[derive(Debug, Clone)]
pub struct Download {
    /// The file's URL.
    pub url: Url,
    /// Its name in messages.
    pub name: String,
    /// The digest that the file must have.
    pub digest: Digest,
    /// In bytes.
    pub size: Option<u64>,
}

impl Download {
    /// Returns whether nothing of it need be downloaded.
    pub fn is_in(&self, store: &Store) -> bool {
        store.has_blob(&self.digest, self.size)
    }

    /// Compares what came with what must come.
    fn check(&self, size: u64, digest: Digest) -> Result<(), HttpError> {
        let file = self.name.clone();
        if let Some(expected) = self.size.filter(|expected| *expected != size) {
            return Err(HttpError::Size { file, expected, got: size });
        }
        match self.digest == digest {
            true => Ok(()),
            false => Err(HttpError::Hash { file, expected: self.digest, got: digest }),
        }
    }

    /// The error for a file of which `got` bytes came, and more than it may have.
    fn too_large(&self, got: u64) -> HttpError {
        match self.size {
            Some(expected) => HttpError::Size { file: self.name.clone(), expected, got },
            None => HttpError::TooLarge { url: redacted(&self.url), limit: LARGEST_FILE },
        }
    }
}

/// Called with the number of bytes that arrived since the last call.
pub type Arrivals<'a> = &'a (dyn Fn(u64) + Sync);

impl Http {
    /// Downloads `file` into `store`, unless it is there.
    ///
    /// What arrived of an interrupted download is resumed by the next one. Two builds that want the same file wait
    /// for each other. A file with the wrong hash or size is removed.
    pub fn download(&self, store: &Store, file: &Download, progress: Arrivals<'_>) -> Result<(), HttpError> {
        self.block_on(self.download_async(store, file, progress))
    }

    /// Downloads a file whose hash nobody knows into `store`, and tells it.
    pub fn download_unverified(
        &self,
        store: &Store,
        url: &Url,
        progress: Arrivals<'_>,
    ) -> Result<(Digest, u64), HttpError> {
        self.block_on(self.download_unverified_async(store, url, progress))
    }

    /// [`Self::download`], for callers inside the runtime.
    pub(super) async fn download_async(
        &self,
        store: &Store,
        file: &Download,
        progress: Arrivals<'_>,
    ) -> Result<(), HttpError> {
        if file.url.scheme() == LOCAL {
            return tokio::task::block_in_place(|| copy_local(store, file, progress));
        }
        self.download_from(self, store, file, progress).await
    }

    /// The same, from a server that is asked in a way of its own.
    pub(super) async fn download_from(
        &self,
        server: &impl FileServer,
        store: &Store,
        file: &Download,
        progress: Arrivals<'_>,
    ) -> Result<(), HttpError> {
        let path = store.partial_path(&file.digest);
        let write = |source| HttpError::Write { path: path.clone(), source };
        let Some(handle) = self.claim(store, file, &path).await? else { return Ok(()) };
        let mut partial = Partial::resume(handle).map_err(write)?;
        let resumed = partial.size;
        progress(resumed);
        let continued = self.fill(server, file, &path, &mut partial, progress).await;
        let is_wrong = |error: &HttpError| matches!(error, HttpError::Hash { .. } | HttpError::Size { .. });
        match continued {
            Ok(Filled::Complete) => {
                partial.file.sync_data().map_err(write)?;
                return Ok(store.adopt(&path, &file.digest)?);
            }
            Ok(Filled::Refused) => self.whole(server, store, file, progress).await?,
            // What an earlier build left may be of another file, or what came now.
            Err(error) if is_wrong(&error) && resumed > 0 => {
                if let Err(error) = self.whole(server, store, file, progress).await {
                    partial.file.set_len(if is_wrong(&error) { 0 } else { resumed }).map_err(write)?;
                    return Err(error);
                }
            }
            Err(error) if !is_wrong(&error) => return Err(error),
            Err(error) => {
                std::fs::remove_file(&path).map_err(write)?;
                return Err(error);
            }
        }
        // The name is still ours: the file behind it is locked.
        std::fs::remove_file(&path).map_err(write)
    }

    /// Downloads `file` from its first byte, beside what there is of it: that stays until the whole was verified.
    async fn whole(
        &self,
        server: &impl FileServer,
        store: &Store,
        file: &Download,
        progress: Arrivals<'_>,
    ) -> Result<(), HttpError> {
        let (blob, size) = self.receive_blob(server, store, &file.url, file.size, progress).await?;
        file.check(size, blob.digest())?;
        blob.finish()?;
        Ok(())
    }

    /// Locks the partial file, waiting for whoever is downloading it; `None` when the blob is there.
    async fn claim(&self, store: &Store, file: &Download, path: &Path) -> Result<Option<File>, HttpError> {
        loop {
            if file.is_in(store) {
                return Ok(None);
            }
            if self.is_offline() {
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
        server: &impl FileServer,
        file: &Download,
        path: &Path,
        partial: &mut Partial,
        progress: Arrivals<'_>,
    ) -> Result<Filled, HttpError> {
        let mut attempts = self.attempts();
        while file.size.is_none_or(|size| partial.size < size) {
            let before = partial.size;
            match self.try_fill(server, file, path, partial, progress).await {
                Ok(Filled::Complete) => break,
                Ok(Filled::Refused) if partial.check(file).is_ok() => break,
                Ok(Filled::Refused) => return Ok(Filled::Refused),
                Err(failure) => {
                    if partial.size - before >= LEAST_PROGRESS {
                        attempts = self.attempts();
                    }
                    attempts.wait(failure).await?;
                }
            }
        }
        partial.check(file).map(|()| Filled::Complete)
    }

    async fn try_fill(
        &self,
        server: &impl FileServer,
        file: &Download,
        path: &Path,
        partial: &mut Partial,
        progress: Arrivals<'_>,
    ) -> Result<Filled, RequestFailure> {
        let url = &file.url;
        let mut headers = unchanged();
        if partial.size > 0 {
            headers.extend(range_from(partial.size));
            let validator = partial.validator.as_ref().map(|(_, validator)| validator.clone());
            headers.extend(validator.map(|validator| (IF_RANGE, validator)));
        }
        let response = server.get(url, headers).await?;
        let is_refused =
            response.status() == StatusCode::RANGE_NOT_SATISFIABLE || response.status().is_success();
        if partial.size > 0 && is_refused && !partial.is_continued_by(&response, file) {
            return Ok(Filled::Refused);
        }
        let response = whole_or_part(url, response, partial.size > 0)?;
        partial.validator = validator(response.headers()).or(partial.validator.take());
        let limit = file.size.unwrap_or(LARGEST_FILE);
        self.receive(url, response, |chunk| {
            let got = partial.size + chunk.len() as u64;
            if got > limit {
                return Err(file.too_large(got));
            }
            progress(chunk.len() as u64);
            partial.append(chunk).map_err(|source| HttpError::Write { path: path.to_owned(), source })
        })
        .await?;
        Ok(Filled::Complete)
    }

    /// [`Self::download_unverified`], for callers inside the runtime.
    pub(super) async fn download_unverified_async(
        &self,
        store: &Store,
        url: &Url,
        progress: Arrivals<'_>,
    ) -> Result<(Digest, u64), HttpError> {
        let (blob, _) = self.receive_blob(self, store, url, None, progress).await?;
        Ok(blob.finish()?)
    }

    /// Downloads a file of `size` bytes as a blob that is not visible yet.
    async fn receive_blob(
        &self,
        server: &impl FileServer,
        store: &Store,
        url: &Url,
        size: Option<u64>,
        progress: Arrivals<'_>,
    ) -> Result<(BlobWriter, u64), HttpError> {
        let limit = size.unwrap_or(LARGEST_FILE);
        let mut attempts = self.attempts();
        loop {
            let (mut blob, mut got) = (store.new_blob()?, 0);
            let received = async {
                let response = server.get(url, unchanged()).await?;
                let response = whole_or_part(url, response, false)?;
                self.receive(url, response, |chunk| {
                    got += chunk.len() as u64;
                    if got > limit {
                        return Err(HttpError::TooLarge { url: redacted(url), limit });
                    }
                    progress(chunk.len() as u64);
                    blob.write_all(chunk)
                        .map_err(|source| HttpError::Write { path: store.root().to_owned(), source })
                })
                .await
            };
            match received.await {
                Ok(()) => return Ok((blob, got)),
                Err(failure) => attempts.wait(failure).await?,
            }
        }
    }
}

/// Copies a file of this machine into `store`, unless it is there. It must be what it was when its digest was taken.
pub(super) fn copy_local(store: &Store, file: &Download, progress: Arrivals<'_>) -> Result<(), HttpError> {
    if file.is_in(store) {
        return Ok(());
    }
    let path = file.url.to_file_path().unwrap_or_default();
    let unreadable = |source| HttpError::Local { path: path.clone(), source };
    let source = plain_file::open(&path).map_err(unreadable)?;
    let mut blob = store.new_blob()?;
    if !blob.share(&source, progress).map_err(unreadable)? {
        io::copy(&mut source.take(LARGEST_FILE), &mut blob).map_err(unreadable)?;
        progress(blob.size());
    }
    if file.check(blob.size(), blob.digest()).is_err() {
        return Err(HttpError::LocalChanged { path });
    }
    blob.finish()?;
    Ok(())
}

/// Headers that ask for the bytes as they are.
pub(super) fn unchanged() -> HeaderMap {
    HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))])
}

/// The header that asks for everything from `start` on.
pub(super) fn range_from(start: u64) -> Option<(HeaderName, HeaderValue)> {
    HeaderValue::from_str(&format!("bytes={start}-")).ok().map(|range| (RANGE, range))
}

/// The outcome of an attempt to fill a partial file.
enum Filled {
    /// There is no more to come.
    Complete,
    /// The server does not continue it: it has other bytes, or none from there on.
    Refused,
}

/// A successful answer: a part where one was asked for, else the whole.
fn whole_or_part(url: &Url, response: Response, part: bool) -> Result<Response, HttpError> {
    let response = successful(url, response)?;
    match (response.status() == StatusCode::PARTIAL_CONTENT) == part {
        true => Ok(response),
        false => Err(HttpError::WrongRange { url: redacted(url) }),
    }
}

/// The header that tells one state of a file from another: a strong `ETag`, or else `Last-Modified`.
fn validator(headers: &HeaderMap) -> Option<(HeaderName, HeaderValue)> {
    let header = |name: HeaderName| Some((name.clone(), headers.get(name)?.clone()));
    header(ETAG).filter(|(_, etag)| !etag.as_bytes().starts_with(b"W/")).or_else(|| header(LAST_MODIFIED))
}

/// A download that is being written, and the hash of what is there.
struct Partial {
    file: File,
    hasher: Hasher,
    size: u64,
    /// The state of the file on the server, as this process saw it.
    validator: Option<(HeaderName, HeaderValue)>,
}

impl Partial {
    /// Continues where an earlier download stopped.
    fn resume(mut file: File) -> io::Result<Self> {
        let mut hasher = Hasher::default();
        let mut size = 0;
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(Self { file, hasher, size, validator: None }),
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

    /// Returns whether `response` goes on where this ends, in the same state of the same `file`.
    fn is_continued_by(&self, response: &Response, file: &Download) -> bool {
        let Some((offset, _, total)) = content_range(response.headers()) else { return false };
        let is_same = self
            .validator
            .as_ref()
            .is_none_or(|(name, value)| response.headers().get(name).is_none_or(|other| other == value));
        response.status() == StatusCode::PARTIAL_CONTENT
            && offset == self.size
            && file.size.is_none_or(|size| size == total)
            && is_same
    }

    fn check(&self, file: &Download) -> Result<(), HttpError> {
        file.check(self.size, self.hasher.clone().finish())
    }
}

/// Opens and locks the file at `path`; `None` when another process renamed or removed it meanwhile.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = Store::open_partial(path)?;
    file.lock()?;
    let (ours, theirs) = (file.metadata()?, std::fs::metadata(path));
    let same = theirs.is_ok_and(|theirs| (theirs.dev(), theirs.ino()) == (ours.dev(), ours.ino()));
    Ok(same.then_some(file))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    use std::time::Duration;

    use tempfile::TempDir;

    use super::*;
    use crate::net::http::HttpSettings;
    use crate::net::loopback::{Asked, Server, Told};

    const CONTENT: &[u8] = &[7; 100_000];

    fn http() -> Http {
        Http::new(HttpSettings {
            retries: 3,
            backoff: Duration::from_millis(1),
            stall: Duration::from_millis(300),
            ..HttpSettings::default()
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
    fn what_is_there_stays_until_the_server_is_seen_to_have_better() {
        fn check(answer: impl Fn(&Asked) -> Told + Send + Sync + 'static, expected: &str) {
            let server = Server::start(answer);
            let (_directory, store) = store();
            let partial = store.partial_path(&Digest::of(CONTENT));
            std::fs::write(&partial, &CONTENT[..60_000]).unwrap();
            let error = http().download(&store, &wanted(&server), &|_| {}).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(std::fs::read(&partial).unwrap() == CONTENT[..60_000], "{expected}");
            let sound = Server::start(|asked| Told::part(asked, CONTENT));
            http().download(&store, &wanted(&sound), &|_| {}).unwrap();
            assert_eq!(sound.log()[0].header("range"), Some("bytes=60000-"));
            assert_eq!((partials(&store), store.blob_size(&Digest::of(CONTENT))), (0, Some(100_000)));
        }
        check(|_| Told::new(401, "log in"), "answered 401");
        check(|_| Told::new(403, "expired"), "answered 403");
        check(|_| Told::new(404, ""), "answered 404");
        check(|_| Told::new(410, ""), "answered 410");
        check(|_| Told::new(416, ""), "answered 416");
        check(|_| Told::new(500, ""), "answered 500");
        check(|_| Told::new(304, ""), "answered 304");
        check(|_| Told::new(200, "<html>log in first</html>"), "wrong size");
        check(|_| Told::new(200, [9; 100_000]), "wrong hash");
        check(|_| Told::new(200, [9; 200_000]), "sent more than 100000 bytes");
        check(|_| Told::new(200, CONTENT).broken_after(70_000, Duration::ZERO), "could not fetch");
        // A part of another file, or from another place.
        check(|_| Told::new(206, [9; 40_000]), "other bytes than were asked for");
        for range in
            ["bytes 0-39999/100000", "bytes 60000-99999/100001", "bytes 60001-99999/100000", "nonsense"]
        {
            check(move |_| Told::new(206, [9; 40_000]).with("content-range", range), "other bytes");
        }
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
    fn a_file_that_changes_while_it_is_downloaded_is_begun_again() {
        for validator in ["etag", "last-modified"] {
            let asked_before = AtomicUsize::new(0);
            let server = Server::start(move |asked| match asked_before.fetch_add(1, Ordering::SeqCst) {
                0 => Told::new(200, [9; 100_000]).with(validator, "one").broken_after(30_000, Duration::ZERO),
                _ => Told::part(asked, CONTENT).with(validator, "two"),
            });
            let (_directory, store) = store();
            http().download(&store, &wanted(&server), &|_| {}).unwrap();
            assert_eq!(server.log()[1].header("if-range"), Some("one"));
            assert_eq!((server.log().len(), partials(&store)), (3, 0));
        }
    }

    #[test]
    fn a_download_that_never_ends_is_given_up() {
        let trickle = |_: &Asked| Told::new(200, CONTENT).trickled(Duration::from_millis(5));
        let few = |asked: &Asked| Told::part(asked, CONTENT).broken_after(1, Duration::ZERO);
        let check = |server: Server, size: Option<u64>, expected: &str| {
            let (_directory, store) = store();
            let wanted = Download { size, ..wanted(&server) };
            let error = http().download(&store, &wanted, &|_| {}).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(server.log().len() <= 4, "{}", server.log().len());
        };
        for size in [Some(100_000), None] {
            check(Server::start(trickle), size, "sends too slowly: too few bytes came in 300ms");
            check(Server::start(few), size, "could not fetch");
        }
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
    fn asks_nothing_offline() {
        let server = Server::start(|_| Told::new(200, ""));
        let http = Http::new(HttpSettings { offline: true, ..HttpSettings::default() }).unwrap();
        let (_directory, store) = store();
        assert!(matches!(http.download(&store, &wanted(&server), &|_| {}), Err(HttpError::Offline { .. })));
        assert!(server.log().is_empty());
    }
}
