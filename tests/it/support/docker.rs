//! A Docker engine on loopback, which loads and saves archives as the real one does.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use imgforge::oci::Digest;
use serde_json::{Value, json};

use super::server::Acceptor;

/// A running engine. It stops when dropped.
pub struct Docker {
    acceptor: Acceptor,
    pub state: Arc<Mutex<DockerState>>,
}

#[derive(Default)]
pub struct DockerState {
    /// The digests of the layers' tars, by the image's id.
    pub images: BTreeMap<String, Vec<String>>,
    /// The ids of images, by name.
    pub names: BTreeMap<String, String>,
    /// The paths of the files in each archive that was loaded.
    pub loaded: Vec<Vec<String>>,
    /// The number of images that were saved.
    pub saves: usize,
    /// The layers' tars, by diff_id, and the images' configs, by id.
    contents: BTreeMap<String, Vec<u8>>,
    /// True if the images are removed when the next archive has come.
    pub is_forgetful: bool,
    /// The error with which every load ends.
    pub broken: Option<String>,
}

impl Docker {
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(DockerState::default()));
        let shared = Arc::clone(&state);
        let acceptor = Acceptor::start(move |stream| answer(&shared, stream));
        Self { acceptor, state }
    }

    /// `DOCKER_HOST`
    pub fn host(&self) -> String {
        format!("tcp://{}", self.acceptor.address)
    }

    /// The archives since the last call, by the paths in them.
    pub fn take_loaded(&self) -> Vec<Vec<String>> {
        std::mem::take(&mut self.state.lock().unwrap().loaded)
    }
}

fn answer(state: &Mutex<DockerState>, stream: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let [method, target, ..] = &words[..] else { return Ok(()) };
    let mut is_chunked = false;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        is_chunked |= header.to_ascii_lowercase().starts_with("transfer-encoding: chunked");
        if header.trim().is_empty() {
            break;
        }
    }
    let body = if is_chunked { chunked(&mut reader)? } else { Vec::new() };
    let (status, answer) = state.lock().unwrap().answer(method, target, &body);
    let mut stream = stream;
    let head =
        format!("HTTP/1.1 {status} -\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(&answer)
}

fn chunked(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut size = String::new();
        reader.read_line(&mut size)?;
        let size = u64::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
        reader.by_ref().take(size).read_to_end(&mut body)?;
        reader.read_line(&mut String::new())?;
        if size == 0 {
            return Ok(body);
        }
    }
}

impl DockerState {
    fn answer(&mut self, method: &str, target: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query: BTreeMap<String, String> =
            url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let told = |value: Value| (200, value.to_string().into_bytes());
        let missing = || (404, json!({"message": "no such image"}).to_string().into_bytes());
        match (method, path) {
            ("GET", "/info") => told(json!({"DriverStatus": [["Backing Filesystem", "extfs"]]})),
            ("GET", "/images/json") => told(self.images.keys().map(|id| json!({"Id": id})).collect()),
            ("POST", "/images/load") => told(self.load(body)),
            ("GET", _) if path.ends_with("/get") => {
                match self.id(path.trim_start_matches("/images/").trim_end_matches("/get")) {
                    id if self.images.contains_key(&id) => (200, self.save(&id)),
                    _ => missing(),
                }
            }
            ("GET", _) => {
                let id = self.id(path.trim_start_matches("/images/").trim_end_matches("/json"));
                match self.images.get(&id) {
                    Some(layers) => told(json!({"Id": id, "RootFS": {"Type": "layers", "Layers": layers}})),
                    None => missing(),
                }
            }
            ("POST", _) => {
                let id = path.trim_start_matches("/images/").trim_end_matches("/tag").to_owned();
                self.names.insert(format!("{}:{}", query["repo"], query["tag"]), id);
                (201, Vec::new())
            }
            ("DELETE", _) => match self.images.remove(path.trim_start_matches("/images/")) {
                Some(_) => told(json!([])),
                None => missing(),
            },
            _ => (405, Vec::new()),
        }
    }

    /// The id of the image of this name or id.
    fn id(&self, name: &str) -> String {
        let id = || format!("sha256:{}", name.trim_start_matches("sha256:"));
        self.names.get(name).cloned().unwrap_or_else(id)
    }

    /// The archive of an image, as engines before version 25 write it.
    fn save(&mut self, id: &str) -> Vec<u8> {
        self.saves += 1;
        let hex = |digest: &str| digest.trim_start_matches("sha256:").to_owned();
        let layers: Vec<String> =
            self.images[id].iter().map(|diff_id| format!("{}/layer.tar", hex(diff_id))).collect();
        let config = format!("{}.json", hex(id));
        let manifest = json!([{"Config": config, "RepoTags": null, "Layers": layers}]).to_string();
        let mut files: BTreeMap<String, Vec<u8>> = layers
            .iter()
            .zip(&self.images[id])
            .map(|(path, it)| (path.clone(), self.contents[it].clone()))
            .collect();
        files.insert(config, self.contents[id].clone());
        files.insert("manifest.json".into(), manifest.into_bytes());
        let mut tar = tar::Builder::new(Vec::new());
        for (path, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, &*bytes).unwrap();
        }
        tar.into_inner().unwrap()
    }

    /// Loads an archive: a layer that is upon the same ones in another image needs no file.
    fn load(&mut self, body: &[u8]) -> Value {
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(body).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            files.insert(entry.path().unwrap().to_string_lossy().into_owned(), bytes);
        }
        self.loaded.push(files.keys().cloned().collect());
        if let Some(error) = &self.broken {
            return json!({"error": error});
        }
        if std::mem::take(&mut self.is_forgetful) {
            self.images.clear();
        }
        let manifest: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
        let config = &files[manifest[0]["Config"].as_str().unwrap()];
        let described: Value = serde_json::from_slice(config).unwrap();
        let diff_ids: Vec<String> = serde_json::from_value(described["rootfs"]["diff_ids"].clone()).unwrap();
        let there: BTreeSet<&[String]> = self
            .images
            .values()
            .flat_map(|layers| (1..=layers.len()).map(|count| &layers[..count]))
            .collect();
        for (index, path) in manifest[0]["Layers"].as_array().unwrap().iter().enumerate() {
            let path = path.as_str().unwrap();
            let Some(tar) = files.get(path) else {
                match there.contains(&diff_ids[..=index]) {
                    true => continue,
                    false => return json!({"error": format!("open /tmp/{path}: no such file or directory")}),
                }
            };
            assert_eq!(Digest::of(tar).to_string(), diff_ids[index], "the layer is no plain tar");
            self.contents.insert(diff_ids[index].clone(), tar.clone());
        }
        let id = Digest::of(config).to_string();
        for name in manifest[0]["RepoTags"].as_array().unwrap() {
            self.names.insert(name.as_str().unwrap().to_owned(), id.clone());
        }
        self.contents.insert(id.clone(), config.clone());
        self.images.insert(id, diff_ids);
        json!({"stream": "Loaded image"})
    }
}
