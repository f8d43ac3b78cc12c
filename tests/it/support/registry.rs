//! A registry on loopback, in memory, which a test can twist.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard};

use imgforge::oci::Digest;
use serde_json::{Value, json};

use super::layout::Layout;
use super::server::Acceptor;

/// A request.
#[derive(Debug, Clone, Default)]
pub struct Call {
    pub method: String,
    pub path: String,
    pub query: BTreeMap<String, String>,
    /// By lowercase name.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The bytes of the body after which the connection ends.
    pub cut: Option<usize>,
}

impl Reply {
    pub fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// An answer with an error of the specification.
    pub fn error(status: u16, code: &str) -> Self {
        let body = json!({"errors": [{"code": code, "message": format!("{code} it is")}]});
        Self::new(status).body(body.to_string())
    }
}

/// The content of a registry.
#[derive(Debug, Default)]
pub struct Content {
    /// By repository and digest.
    pub blobs: BTreeMap<(String, String), Vec<u8>>,
    /// By repository and tag or digest, with the media type.
    pub manifests: BTreeMap<(String, String), (String, Vec<u8>)>,
    /// The bytes so far, by the number of the upload.
    uploads: BTreeMap<usize, Vec<u8>>,
    begun: usize,
    /// The bytes of the next body of more than 100,000 that are taken before the connection ends.
    pub cut_upload: Option<usize>,
    /// True if it lists the manifests that refer to another one.
    pub keeps_referrers: bool,
}

/// Answers before the registry does.
type Twist = dyn Fn(&Call, &mut Content) -> Option<Reply> + Send + Sync;

struct State {
    content: Mutex<Content>,
    calls: Mutex<Vec<Call>>,
    twist: Box<Twist>,
}

/// A running registry. It stops when dropped.
pub struct Registry {
    acceptor: Acceptor,
    state: Arc<State>,
}

impl Registry {
    pub fn start() -> Self {
        Self::twisted(|_, _| None)
    }

    /// A registry that answers by `twist` where that has an answer.
    pub fn twisted(twist: impl Fn(&Call, &mut Content) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let state =
            Arc::new(State { content: Mutex::default(), calls: Mutex::default(), twist: Box::new(twist) });
        let shared = Arc::clone(&state);
        let acceptor = Acceptor::start(move |stream| shared.serve(stream));
        Self { acceptor, state }
    }

    /// `127.0.0.1:PORT`
    pub fn host(&self) -> String {
        self.acceptor.address.to_string()
    }

    /// `docker://127.0.0.1:PORT/NAME`
    pub fn place(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.acceptor.address)
    }

    pub fn content(&self) -> MutexGuard<'_, Content> {
        self.state.content.lock().unwrap()
    }

    /// The requests since the last call, but for those that only look for the registry: `GET /v2/x/manifests/latest`.
    pub fn take_calls(&self) -> Vec<Call> {
        let calls = std::mem::take(&mut *self.state.calls.lock().unwrap());
        calls.into_iter().filter(|call| call.path != "/v2/").collect()
    }

    /// The same in words.
    pub fn take_requests(&self) -> Vec<String> {
        self.take_calls().iter().map(|call| format!("{} {}", call.method, call.path)).collect()
    }

    /// Puts an image into the registry; gives its manifest's digest.
    pub fn add(&self, repository: &str, tag: &str, image: &Layout) -> Digest {
        let mut digest = None;
        let mut content = self.content();
        for (path, bytes) in image.files() {
            match path.as_str() {
                "index.json" => {
                    let index: Value = serde_json::from_slice(&bytes).unwrap();
                    digest = index["manifests"][0]["digest"].as_str().map(str::to_owned);
                }
                _ if path.starts_with("blobs/") => {
                    let key = (repository.to_owned(), Digest::of(&bytes).to_string());
                    content.blobs.insert(key, bytes);
                }
                _ => {}
            }
        }
        let digest = digest.unwrap();
        let media_type = image.manifest["mediaType"].as_str().unwrap().to_owned();
        let manifest = content.blobs.remove(&(repository.to_owned(), digest.clone())).unwrap();
        content.put_manifest(repository, tag, &media_type, manifest);
        digest.parse().unwrap()
    }
}

impl State {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut stream = stream;
        let Some(mut call) = read_head(&mut reader)? else { return Ok(()) };
        let length: usize = call.headers.get("content-length").and_then(|it| it.parse().ok()).unwrap_or(0);
        let is_cut = matches!(call.method.as_str(), "PUT" | "PATCH")
            && call.path.contains("/uploads/")
            && length > 100_000;
        let cut = is_cut.then(|| self.content.lock().unwrap().cut_upload.take()).flatten();
        call.body = vec![0; cut.unwrap_or(length).min(length)];
        reader.read_exact(&mut call.body)?;
        self.calls.lock().unwrap().push(call.clone());
        let reply = {
            let mut content = self.content.lock().unwrap();
            if cut.is_some() {
                content.append(&call);
                return Ok(());
            }
            (self.twist)(&call, &mut content).unwrap_or_else(|| content.answer(&call))
        };
        let mut head = format!(
            "HTTP/1.1 {} -\r\nContent-Length: {}\r\nConnection: close\r\n",
            reply.status,
            reply.body.len()
        );
        if call.method == "HEAD" {
            head = format!("HTTP/1.1 {} -\r\nConnection: close\r\n", reply.status);
        }
        for (name, value) in &reply.headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all(format!("{head}\r\n").as_bytes())?;
        if call.method != "HEAD" {
            stream.write_all(&reply.body[..reply.cut.unwrap_or(reply.body.len())])?;
        }
        stream.flush()
    }
}

fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Call>> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let mut call = Call { method: method.to_owned(), path: path.to_owned(), query, ..Call::default() };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => drop(call.headers.insert(name.to_ascii_lowercase(), value.to_owned())),
            None => return Ok(Some(call)),
        }
    }
}

impl Content {
    /// The bytes of each upload so far.
    pub fn uploads_mut(&mut self) -> &mut BTreeMap<usize, Vec<u8>> {
        &mut self.uploads
    }

    pub fn put_manifest(&mut self, repository: &str, tag: &str, media_type: &str, bytes: Vec<u8>) {
        let digest = Digest::of(&bytes).to_string();
        for name in [tag.to_owned(), digest] {
            self.manifests.insert((repository.to_owned(), name), (media_type.to_owned(), bytes.clone()));
        }
    }

    /// The answer of a registry without quirks.
    pub fn answer(&mut self, call: &Call) -> Reply {
        let Some(path) = call.path.strip_prefix("/v2/") else { return Reply::new(404) };
        if path.is_empty() {
            return Reply::new(200);
        }
        if let Some((repository, number)) = path.split_once("/blobs/uploads/") {
            return self.answer_upload(call, repository, number);
        }
        if let Some((repository, digest)) = path.split_once("/blobs/") {
            let blob = self.blobs.get(&(repository.to_owned(), digest.to_owned())).cloned();
            return blob.map_or_else(|| Reply::error(404, "BLOB_UNKNOWN"), |blob| part(call, blob));
        }
        if let Some(repository) = path.strip_suffix("/tags/list") {
            return self.answer_tags(call, repository);
        }
        if let Some((repository, digest)) = path.split_once("/referrers/") {
            return self.answer_referrers(repository, digest);
        }
        let Some((repository, name)) = path.split_once("/manifests/") else { return Reply::new(404) };
        match call.method.as_str() {
            "DELETE" => {
                self.manifests.retain(|(at, _), (_, bytes)| {
                    at != repository || Digest::of(&*bytes).to_string() != name
                });
                Reply::new(202)
            }
            "PUT" => self.take_manifest(call, repository, name),
            _ => match self.manifests.get(&(repository.to_owned(), name.to_owned())) {
                Some((media_type, bytes)) => Reply::new(200)
                    .with("Content-Type", media_type)
                    .with("Docker-Content-Digest", Digest::of(bytes))
                    .body(bytes.clone()),
                None => Reply::error(404, "MANIFEST_UNKNOWN"),
            },
        }
    }

    /// The tags of a repository, three on each page.
    fn answer_tags(&self, call: &Call, repository: &str) -> Reply {
        let last = call.query.get("last").cloned().unwrap_or_default();
        let tags = self.tags(repository).into_iter().filter(|tag| *tag > last);
        let page: Vec<String> = tags.take(3).collect();
        let next = page.last().filter(|_| page.len() == 3).cloned();
        let reply = Reply::new(200).body(json!({"name": repository, "tags": page}).to_string());
        match next {
            Some(last) => {
                reply.with("Link", format!("</v2/{repository}/tags/list?n=3&last={last}>; rel=\"next\""))
            }
            None => reply,
        }
    }

    /// The tags of a repository, sorted.
    pub fn tags(&self, repository: &str) -> Vec<String> {
        let tags = self.manifests.keys().filter(|(at, name)| at == repository && !name.contains(':'));
        tags.map(|(_, tag)| tag.clone()).collect()
    }

    /// The manifests that refer to the one of `digest`, as the specification lists them.
    fn answer_referrers(&self, repository: &str, digest: &str) -> Reply {
        if !self.keeps_referrers {
            return Reply::new(404);
        }
        let of_repository =
            self.manifests.iter().filter(|((of, name), _)| of == repository && name.contains(':'));
        let listed = of_repository.filter_map(|((_, name), (media_type, bytes))| {
            let manifest: Value = serde_json::from_slice(bytes).unwrap();
            (manifest["subject"]["digest"] == digest).then(|| {
                json!({
                    "mediaType": media_type, "digest": name, "size": bytes.len(),
                    "artifactType": manifest["artifactType"], "annotations": manifest["annotations"],
                })
            })
        });
        let media_type = "application/vnd.oci.image.index.v1+json";
        let list =
            json!({"schemaVersion": 2, "mediaType": media_type, "manifests": listed.collect::<Vec<_>>()});
        Reply::new(200).with("Content-Type", media_type).body(list.to_string())
    }

    fn take_manifest(&mut self, call: &Call, repository: &str, tag: &str) -> Reply {
        let manifest: Value = serde_json::from_slice(&call.body).unwrap();
        let named = |name: &str| manifest[name].as_array().into_iter().flatten();
        let parts = named("layers").chain(named("manifests")).chain(manifest.get("config"));
        // Layers that nobody else may give are elsewhere.
        let parts =
            parts.filter(|part| !part["mediaType"].as_str().unwrap_or_default().contains(".foreign."));
        let digests: BTreeSet<&str> = parts.map(|part| part["digest"].as_str().unwrap()).collect();
        let has = |digest: &str| {
            let key = (repository.to_owned(), digest.to_owned());
            self.blobs.contains_key(&key) || self.manifests.contains_key(&key)
        };
        if !digests.iter().all(|digest| has(digest)) {
            return Reply::error(400, "MANIFEST_BLOB_UNKNOWN");
        }
        self.put_manifest(repository, tag, &call.headers["content-type"], call.body.clone());
        let reply = Reply::new(201).with("Docker-Content-Digest", Digest::of(&call.body));
        match manifest["subject"]["digest"].as_str().filter(|_| self.keeps_referrers) {
            Some(subject) => reply.with("OCI-Subject", subject),
            None => reply,
        }
    }

    fn answer_upload(&mut self, call: &Call, repository: &str, number: &str) -> Reply {
        if call.method == "POST" {
            if let (Some(digest), Some(from)) = (call.query.get("mount"), call.query.get("from"))
                && let Some(blob) = self.blobs.get(&(from.clone(), digest.clone())).cloned()
            {
                self.blobs.insert((repository.to_owned(), digest.clone()), blob);
                return Reply::new(201).with("Location", format!("/v2/{repository}/blobs/{digest}"));
            }
            self.begun += 1;
            self.uploads.insert(self.begun, Vec::new());
            return self.told(202, repository, self.begun);
        }
        let number: usize = number.parse().unwrap_or_default();
        if !self.uploads.contains_key(&number) || call.query.get("state").map(String::as_str) != Some("a b") {
            return Reply::error(404, "BLOB_UPLOAD_UNKNOWN");
        }
        let size = self.uploads[&number].len();
        if let Some(range) = call.headers.get("content-range")
            && range.split('-').next() != Some(&size.to_string())
        {
            return Reply::error(416, "RANGE_INVALID");
        }
        self.append(call);
        match call.method.as_str() {
            "GET" => self.told(204, repository, number),
            "PATCH" => self.told(202, repository, number),
            _ => {
                let bytes = self.uploads.remove(&number).unwrap();
                let digest = Digest::of(&bytes).to_string();
                if Some(&digest) != call.query.get("digest") {
                    return Reply::error(400, "DIGEST_INVALID");
                }
                self.blobs.insert((repository.to_owned(), digest.clone()), bytes);
                Reply::new(201).with("Docker-Content-Digest", digest)
            }
        }
    }

    /// Adds the bytes of a request to its upload.
    fn append(&mut self, call: &Call) {
        let number = call.path.rsplit('/').next().and_then(|number| number.parse().ok()).unwrap_or_default();
        if let Some(upload) = self.uploads.get_mut(&number) {
            upload.extend(&call.body);
        }
    }

    /// The place of an upload, with a query of its own, and how far it is.
    fn told(&self, status: u16, repository: &str, number: usize) -> Reply {
        let last = self.uploads[&number].len().saturating_sub(1);
        Reply::new(status)
            .with("Location", format!("/v2/{repository}/blobs/uploads/{number}?state=a%20b"))
            .with("Range", format!("0-{last}"))
    }
}

/// A blob, or the part of it that is asked for.
fn part(call: &Call, blob: Vec<u8>) -> Reply {
    if call.method == "HEAD" {
        return Reply::new(200).with("Content-Length", blob.len());
    }
    let start = call
        .headers
        .get("range")
        .and_then(|range| range.strip_prefix("bytes=")?.split('-').next()?.parse::<usize>().ok());
    match start {
        None => Reply::new(200).body(blob),
        Some(start) if start >= blob.len() => Reply::new(416),
        Some(start) => Reply::new(206)
            .with("Content-Range", format!("bytes {start}-{}/{}", blob.len() - 1, blob.len()))
            .body(&blob[start..]),
    }
}
