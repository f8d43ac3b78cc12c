//! A published image, read back as a container engine would.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::read::{GzDecoder, MultiGzDecoder};
use serde_json::Value;

use super::wheel::base64;

/// The files of an image, layers applied.
#[derive(Debug)]
pub struct Image {
    pub files: BTreeMap<String, File>,
    /// Paths that some layer whites out.
    pub whiteouts: Vec<String>,
    pub config: Value,
    pub manifest: Value,
    pub layers: usize,
}

/// A file of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub mode: u32,
    /// The numbers of the user and the group.
    pub owner: (u64, u64),
    pub kind: tar::EntryType,
    pub content: Vec<u8>,
    /// The target of a link.
    pub target: Option<String>,
}

impl Image {
    /// Reads the only image of the layout at `directory`.
    pub fn read(directory: &Path) -> Self {
        let json = |path: &str| -> Value {
            serde_json::from_slice(&fs::read(directory.join(path)).unwrap()).unwrap()
        };
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().unwrap();
            format!("blobs/sha256/{}", digest.strip_prefix("sha256:").unwrap())
        };
        let manifest = json(&blob(&json("index.json")["manifests"][0]));
        let layers = manifest["layers"].as_array().unwrap().clone();
        let mut image = Self {
            files: BTreeMap::new(),
            whiteouts: Vec::new(),
            config: json(&blob(&manifest["config"])),
            layers: layers.len(),
            manifest,
        };
        for layer in &layers {
            image.apply(&directory.join(blob(layer)), layer);
        }
        image
    }

    fn apply(&mut self, layer: &Path, descriptor: &Value) {
        let blob = fs::File::open(layer).unwrap();
        let is_estargz = descriptor["annotations"].get("containerd.io/snapshot/stargz/toc.digest").is_some();
        let tar: Box<dyn Read> = match descriptor["mediaType"].as_str() {
            Some("application/vnd.oci.image.layer.v1.tar+zstd") => {
                Box::new(zstd::Decoder::new(blob).unwrap())
            }
            _ if is_estargz => Box::new(MultiGzDecoder::new(blob)),
            // What follows the first member is not read.
            _ => Box::new(GzDecoder::new(blob)),
        };
        let mut archive = tar::Archive::new(tar);
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_str().unwrap().trim_end_matches('/').to_owned();
            let (directory, name) = path.rsplit_once('/').unwrap_or(("", &path));
            if let Some(hidden) = name.strip_prefix(".wh.") {
                let hidden = format!("{directory}/{hidden}");
                self.files.remove(&hidden);
                self.whiteouts.push(hidden);
                continue;
            }
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let file = File {
                mode: entry.header().mode().unwrap(),
                owner: (entry.header().uid().unwrap(), entry.header().gid().unwrap()),
                kind: entry.header().entry_type(),
                content,
                target: entry.link_name().unwrap().map(|target| target.to_str().unwrap().to_owned()),
            };
            self.files.insert(path, file);
        }
    }

    #[track_caller]
    pub fn file(&self, path: &str) -> &File {
        self.files.get(path).unwrap_or_else(|| panic!("no `{path}` among {:#?}", self.files.keys()))
    }

    #[track_caller]
    pub fn text(&self, path: &str) -> &str {
        std::str::from_utf8(&self.file(path).content).unwrap()
    }

    /// Holds every row of a RECORD against the file that it names.
    #[track_caller]
    pub fn check_record(&self, dist_info: &str) {
        let (site_packages, _) = dist_info.rsplit_once('/').unwrap();
        let mut hashed = 0;
        for row in self.text(&format!("{dist_info}/RECORD")).lines() {
            let columns: Vec<&str> = row.split(',').collect();
            let file = self.file(&joined(site_packages, columns[0]));
            if let Some(hash) = columns[1].strip_prefix("sha256=") {
                assert_eq!(hash, base64(&sha256(&file.content)), "{row}");
                assert_eq!(columns[2], file.content.len().to_string(), "{row}");
                hashed += 1;
            }
        }
        assert!(hashed > 2, "RECORD of {dist_info} has hashes");
    }
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).to_vec()
}

/// `path`, which may begin with `../`, seen from `directory`.
fn joined(directory: &str, path: &str) -> String {
    let mut parts: Vec<&str> = directory.split('/').collect();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
