//! Downloads of whole files into the store: resumed, and checked against their hashes.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use reqwest::StatusCode;
use reqwest::header::{ACCEPT_ENCODING, ETAG, HeaderValue, IF_RANGE, RANGE};
use url::Url;

use super::http::{Http, HttpError, RequestFailure, content_range, successful};
use crate::credentials::redacted;
use crate::oci::{Digest, Hasher};
use crate::store::Store;

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
        file: &Download,
        path: &Path,
        partial: &mut Partial,
        progress: Arrivals<'_>,
    ) -> Result<(), HttpError> {
        let mut attempts = self.attempts();
        while file.size.is_none_or(|size| partial.size < size) {
            let before = partial.size;
            match self.try_fill(file, path, partial, progress).await {
                Ok(()) => break,
                Err(failure) => {
                    if partial.size > before {
                        attempts = self.attempts();
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
        progress: Arrivals<'_>,
    ) -> Result<(), RequestFailure> {
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

    /// [`Self::download_unverified`], for callers inside the runtime.
    pub(super) async fn download_unverified_async(
        &self,
        store: &Store,
        url: &Url,
        progress: Arrivals<'_>,
    ) -> Result<(Digest, u64), HttpError> {
        let mut attempts = self.attempts();
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
    use crate::net::loopback::{Server, Told};

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
    fn asks_nothing_offline() {
        let server = Server::start(|_| Told::new(200, ""));
        let http = Http::new(HttpSettings { offline: true, ..HttpSettings::default() }).unwrap();
        let (_directory, store) = store();
        assert!(matches!(http.download(&store, &wanted(&server), &|_| {}), Err(HttpError::Offline { .. })));
        assert!(server.log().is_empty());
    }
}
