//! A web server for tests: answers from a closure, on this machine only.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use url::Url;

/// A request of a client.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// The path and the query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Asked {
    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The bounds of `Range: bytes=START-END`, both included.
    pub(super) fn range(&self) -> Option<(usize, Option<usize>)> {
        let (start, end) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some((start.parse().ok()?, end.parse().ok()))
    }
}

/// The answer to it.
#[derive(Debug, Clone)]
pub(super) struct Told {
    /// The HTTP status.
    pub status: u16,
    /// The headers beside those of the connection.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The bytes of the body that are sent before the connection breaks, and the silence before that.
    pub broken: Option<(usize, Duration)>,
    /// The time between two bytes of the body.
    pub trickle: Option<Duration>,
}

impl Told {
    /// An answer with this status and body.
    pub(super) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), broken: None, trickle: None }
    }

    /// The same answer with one more header.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The same answer, but the connection is silent and then breaks after so many bytes of the body.
    pub(super) fn broken_after(mut self, bytes: usize, silence: Duration) -> Self {
        self.broken = Some((bytes, silence));
        self
    }

    /// The same answer, byte by byte.
    pub(super) fn trickled(mut self, pause: Duration) -> Self {
        self.trickle = Some(pause);
        self
    }

    /// `body`, or the part of it that was asked for.
    pub(super) fn part(asked: &Asked, body: &[u8]) -> Self {
        let Some((start, end)) = asked.range() else { return Self::new(200, body) };
        if start >= body.len() {
            return Self::new(416, "");
        }
        let end = end.map_or(body.len(), |last| (last + 1).min(body.len()));
        let range = format!("bytes {start}-{}/{}", end - 1, body.len());
        Self::new(206, &body[start..end]).with("content-range", range)
    }
}

/// A server that lives as long as the test process.
pub(super) struct Server {
    /// The server's root.
    pub url: Url,
    log: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Starts a server that answers by `answer`.
    pub(super) fn start(answer: impl Fn(&Asked) -> Told + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (requests, answer) = (log.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (requests, answer) = (requests.clone(), answer.clone());
                std::thread::spawn(move || serve(stream, &requests, &*answer));
            }
        });
        Self { url, log }
    }

    /// The requests so far.
    pub(super) fn log(&self) -> Vec<Asked> {
        self.log.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, log: &Mutex<Vec<Asked>>, answer: &dyn Fn(&Asked) -> Told) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    while let Some(asked) = read_request(&mut reader) {
        log.lock().unwrap().push(asked.clone());
        let told = answer(&asked);
        let mut head = format!("HTTP/1.1 {} -\r\ncontent-length: {}\r\n", told.status, told.body.len());
        for (name, value) in &told.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let body = &told.body[..told.broken.map_or(told.body.len(), |(bytes, _)| bytes)];
        let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(b"\r\n"));
        if sent.and_then(|()| write_body(&mut stream, body, told.trickle)).is_err() {
            return;
        }
        if let Some((_, silence)) = told.broken {
            std::thread::sleep(silence);
            return;
        }
    }
}

fn write_body(stream: &mut TcpStream, body: &[u8], trickle: Option<Duration>) -> std::io::Result<()> {
    let Some(pause) = trickle else { return stream.write_all(body) };
    for byte in body {
        stream.write_all(&[*byte])?;
        std::thread::sleep(pause);
    }
    Ok(())
}

fn read_request(reader: &mut impl BufRead) -> Option<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split_whitespace().nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.to_owned())),
            None => return Some(Asked { path, headers }),
        }
    }
}
