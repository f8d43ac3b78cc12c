//! An HTTP server on loopback that can misbehave.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// A resource that is served at a path.
#[derive(Debug, Clone)]
pub struct Resource {
    bytes: Arc<Vec<u8>>,
    /// Other bytes, of which parts are served.
    parts: Option<Arc<Vec<u8>>>,
    media_type: &'static str,
    manner: Manner,
}

/// The manner of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Whole, or the range that is asked for.
    Ranges,
    /// Whole, whatever is asked for.
    NoRanges,
    /// With this status; a client that asks may try again at once.
    Status(u16),
    /// A request for the whole gets so many bytes, and a connection closed too early.
    Cut(usize),
    /// The first request for the whole gets so many bytes, and then silence.
    StallOnce(usize),
    /// A request for the whole gets so many bytes, as if there were no more.
    Short(usize),
}

/// A request that came, in words: `GET /simple/demo/`, with ` bytes=0-9` when it asked for a range.
pub type Request = String;

impl Resource {
    pub fn file(bytes: impl Into<Vec<u8>>) -> Self {
        let media_type = "application/octet-stream";
        Self { bytes: Arc::new(bytes.into()), parts: None, media_type, manner: Manner::Ranges }
    }

    /// A file of which parts are those of another one.
    pub fn two_faced(whole: impl Into<Vec<u8>>, parts: impl Into<Vec<u8>>) -> Self {
        Self { parts: Some(Arc::new(parts.into())), ..Self::file(whole) }
    }

    pub fn json(value: &serde_json::Value) -> Self {
        let media_type = "application/vnd.pypi.simple.v1+json";
        Self { media_type, ..Self::file(value.to_string()) }
    }

    /// A page in JSON, or what claims to be one.
    pub fn text_json(text: String) -> Self {
        Self { media_type: "application/vnd.pypi.simple.v1+json", ..Self::file(text) }
    }

    pub fn html(text: &str) -> Self {
        Self { media_type: "text/html", ..Self::file(text) }
    }

    /// JSON that claims to stay true for so many seconds.
    pub fn lasting_json(value: &serde_json::Value) -> Self {
        let media_type =
            "application/vnd.pypi.simple.v1+json\r\nETag: \"same\"\r\nCache-Control: max-age=99999999999";
        Self { media_type, ..Self::file(value.to_string()) }
    }

    /// A body that a client inflates before it reads it.
    pub fn gzip(bytes: Vec<u8>) -> Self {
        Self { media_type: "text/html\r\nContent-Encoding: gzip", ..Self::file(bytes) }
    }

    pub fn status(status: u16) -> Self {
        Self { manner: Manner::Status(status), ..Self::file(Vec::new()) }
    }
}

/// A running server. It stops when dropped.
pub struct Server {
    acceptor: Acceptor,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    resources: Mutex<BTreeMap<String, Resource>>,
    requests: Mutex<Vec<Request>>,
    /// The paths that were asked for with a login, and the login.
    logins: Mutex<Vec<(String, String)>>,
}

/// A port on loopback, with a thread for each connection. It is given up when this is dropped.
pub struct Acceptor {
    pub address: SocketAddr,
    stopped: Arc<AtomicBool>,
}

impl Acceptor {
    pub fn start(answer: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let stopped = Arc::new(AtomicBool::new(false));
        let (answer, has_stopped) = (Arc::new(answer), Arc::clone(&stopped));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if has_stopped.load(Ordering::Relaxed) {
                    return;
                }
                let answer = Arc::clone(&answer);
                // A client that hangs up is a client's choice.
                thread::spawn(move || drop(answer(stream)));
            }
        });
        Self { address, stopped }
    }

    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts, which then gives up the port.
        drop(TcpStream::connect(self.address));
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Server {
    pub fn start() -> Self {
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let acceptor = Acceptor::start(move |stream| shared.answer(stream));
        Self { acceptor, state }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.acceptor.address)
    }

    pub fn set(&self, path: &str, resource: Resource) {
        self.state.resources.lock().unwrap().insert(path.to_owned(), resource);
    }

    /// Answers the next requests for `path` in another manner.
    pub fn behave(&self, path: &str, manner: Manner) {
        self.state.resources.lock().unwrap().get_mut(path).unwrap().manner = manner;
    }

    /// Answers nobody any more.
    pub fn stop(&self) {
        self.acceptor.stop();
    }

    /// The requests since the last call.
    pub fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state.requests.lock().unwrap())
    }
}

impl Server {
    /// The paths that were asked for with a login since the last call, each with the `Authorization` header.
    pub fn take_logins(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.state.logins.lock().unwrap())
    }
}

impl State {
    fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        let RequestHead { path, range, login } = read_request(&stream)?;
        if let Some(login) = login {
            self.logins.lock().unwrap().push((path.clone(), login));
        }
        let shown = range.as_ref().map(|range| format!(" {range}")).unwrap_or_default();
        self.requests.lock().unwrap().push(format!("GET {path}{shown}"));
        let Some(resource) = self.take(&path, range.is_none()) else {
            return respond(&mut stream, 404, "text/plain", "", b"", 0);
        };
        let range = range.filter(|_| resource.manner != Manner::NoRanges);
        let parts = resource.parts.as_ref().filter(|_| range.is_some());
        let bytes = &parts.unwrap_or(&resource.bytes)[..];
        match (resource.manner, range) {
            (Manner::Status(status), _) => {
                respond(&mut stream, status, "text/plain", "Retry-After: 0\r\n", b"", 0)
            }
            (_, Some(range)) => match parse_range(&range, bytes.len()) {
                Some(part) => {
                    let header =
                        format!("Content-Range: bytes {}-{}/{}\r\n", part.start, part.end - 1, bytes.len());
                    let part = &bytes[part];
                    respond(&mut stream, 206, resource.media_type, &header, part, part.len())
                }
                None => respond(&mut stream, 416, "text/plain", "", b"", 0),
            },
            (Manner::Cut(at), None) => {
                respond(&mut stream, 200, resource.media_type, "", &bytes[..at], bytes.len())
            }
            (Manner::StallOnce(at), None) => {
                respond(&mut stream, 200, resource.media_type, "", &bytes[..at], bytes.len())?;
                // Until the client gives up.
                stream.read(&mut [0]).map(drop)
            }
            (Manner::Short(at), None) => respond(&mut stream, 200, resource.media_type, "", &bytes[..at], at),
            _ => respond(&mut stream, 200, resource.media_type, "", bytes, bytes.len()),
        }
    }

    fn take(&self, path: &str, whole: bool) -> Option<Resource> {
        let mut resources = self.resources.lock().unwrap();
        let resource = resources.get_mut(path)?;
        let taken = resource.clone();
        if whole && matches!(taken.manner, Manner::StallOnce(_)) {
            resource.manner = Manner::Ranges;
        }
        Some(taken)
    }
}

/// The part of a request that matters here.
#[derive(Default)]
struct RequestHead {
    path: String,
    /// The value of the `Range` header.
    range: Option<String>,
    /// The value of the `Authorization` header.
    login: Option<String>,
}

fn read_request(stream: &TcpStream) -> io::Result<RequestHead> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut head = RequestHead { path, ..RequestHead::default() };
    for line in lines {
        let line = line?;
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("range") => head.range = Some(value.to_owned()),
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                head.login = Some(value.to_owned());
            }
            Some(_) => {}
            None => break,
        }
    }
    Ok(head)
}

fn parse_range(text: &str, total: usize) -> Option<Range<usize>> {
    let (start, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (start, last) {
        ("", suffix) => total.saturating_sub(suffix.parse().ok()?)..total,
        (start, "") => start.parse().ok()?..total,
        (start, last) => start.parse().ok()?..last.parse::<usize>().ok()?.saturating_add(1).min(total),
    };
    (range.start < range.end).then_some(range)
}

fn respond(
    stream: &mut TcpStream,
    status: u16,
    media_type: &str,
    headers: &str,
    body: &[u8],
    length: usize,
) -> io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status} -\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n"
    )?;
    stream.write_all(body)?;
    stream.flush()
}
