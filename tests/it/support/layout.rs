//! Images of the test's making: layers from lists of files, as a layout or an archive.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::write::GzEncoder;
use imgforge::oci::Digest;
use serde_json::{Value, json};

use super::elf::library;

/// A layer tar being written, by a writer that holds back nothing: it writes what a hostile one would.
#[derive(Debug, Clone, Default)]
pub struct Tar {
    bytes: Vec<u8>,
}

/// dpkg's paragraphs on the C library of Debian 12.
const LIBC: &str = "Package: libc-bin\nStatus: install ok installed\nVersion: 2.36-9+deb12u10\n\n\
                    Package: libc6\nStatus: install ok installed\nVersion: 2.36-9+deb12u10\n\n";

impl Tar {
    pub fn new() -> Self {
        Self::default()
    }

    /// Debian 12 with Python 3.11, as far as an inventory looks; dpkg knows of the C library and of `packages` besides.
    pub fn debian(packages: &str) -> Self {
        Self::new()
            .file("etc/os-release", "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n")
            .file("usr/bin/python3.11", library("python", b"\x003.11.2\x00"))
            .symlink("usr/bin/python3", "python3.11")
            .file("usr/lib/python3.11/os.py", "")
            .file("usr/lib/python3.11/encodings/__init__.py", "")
            .file("usr/lib/python3.11/ctypes/__init__.py", "")
            .file("usr/bin/sh", "#!/nothing\n")
            .file("etc/passwd", "root:x:0:0::/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\n")
            .file("usr/lib/x86_64-linux-gnu/libc.so.6", library("libc.so.6", b""))
            .file("var/lib/dpkg/status", format!("{LIBC}{packages}"))
    }

    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.entry(b'0', path.as_bytes(), b"", content.as_ref())
    }

    pub fn executable(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let content = content.as_ref();
        let mut block = header(b'0', path.as_bytes(), b"", content.len() as u64);
        block[100..108].copy_from_slice(b"0000755\0");
        self.content(seal(block), content)
    }

    pub fn directory(self, path: &str) -> Self {
        self.entry(b'5', format!("{path}/").as_bytes(), b"", b"")
    }

    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(b'2', path.as_bytes(), target.as_bytes(), b"")
    }

    pub fn hardlink(self, path: &str, target: &str) -> Self {
        self.entry(b'1', path.as_bytes(), target.as_bytes(), b"")
    }

    /// Removes `path` of the layers below.
    pub fn whiteout(self, path: &str) -> Self {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let slash = if directory.is_empty() { "" } else { "/" };
        self.file(&format!("{directory}{slash}.wh.{name}"), "")
    }

    /// Removes everything that the layers below have in `directory`.
    pub fn opaque(self, directory: &str) -> Self {
        self.file(&format!("{directory}/.wh..wh..opq"), "")
    }

    /// An entry of the type `flag`; names too long for ustar are written as GNU tar does.
    pub fn entry(self, flag: u8, path: &[u8], link: &[u8], content: &[u8]) -> Self {
        let long = |tar: Self, flag: u8, name: &[u8]| match name.len() {
            ..=100 => tar,
            _ => tar
                .content(header(flag, b"././@LongLink", b"", name.len() as u64 + 1), &[name, b"\0"].concat()),
        };
        let tar = long(long(self, b'K', link), b'L', path);
        tar.content(header(flag, path, link, content.len() as u64), content)
    }

    /// PAX records for the next entry.
    pub fn pax(self, records: &[(&str, &str)]) -> Self {
        let records: String = records.iter().map(|(key, value)| pax_record(key, value)).collect();
        self.entry(b'x', b"PaxHeaders/0", b"", records.as_bytes())
    }

    /// A header, and content that need not be what it says.
    pub fn content(mut self, header: [u8; 512], content: &[u8]) -> Self {
        self.bytes.extend(header);
        self.bytes.extend(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    /// Bytes as they are.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self
    }

    /// The archive without its end.
    pub fn unfinished(self) -> Vec<u8> {
        self.bytes
    }

    pub fn finish(self) -> Vec<u8> {
        self.raw(&[0; 1024]).bytes
    }
}

/// A header block of GNU's form; `size` in octal digits, or in base 256 where those do not suffice.
pub fn header(flag: u8, path: &[u8], link: &[u8], size: u64) -> [u8; 512] {
    let mut block = [0; 512];
    let mut put = |at: usize, limit: usize, bytes: &[u8]| {
        let length = bytes.len().min(limit);
        block[at..at + length].copy_from_slice(&bytes[..length]);
    };
    put(0, 100, path);
    put(100, 8, b"0000644\0");
    put(108, 8, b"0000000\0");
    put(116, 8, b"0000000\0");
    match size {
        ..0o100_000_000_000 => put(124, 12, format!("{size:011o}\0").as_bytes()),
        _ => put(124, 12, &[&[0x80, 0, 0, 0][..], &size.to_be_bytes()].concat()),
    }
    put(136, 12, b"00000000000\0");
    put(157, 100, link);
    put(257, 8, b"ustar  \0");
    block[156] = flag;
    seal(block)
}

/// The header with its checksum set.
pub fn seal(mut block: [u8; 512]) -> [u8; 512] {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn pax_record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let length = (rest..).find(|length| length.to_string().len() + rest == *length).unwrap();
    format!("{length} {key}={value}\n")
}

/// The packing of a layer's tar into a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    Plain,
    Gzip,
    /// As many gzip members as it takes with 1,000 bytes in each.
    GzipMembers,
    Zstd,
    /// As many zstd frames as it takes with 1,000 bytes in each.
    ZstdFrames,
}

impl Packing {
    pub fn pack(self, tar: &[u8]) -> Vec<u8> {
        match self {
            Self::Plain => tar.to_vec(),
            Self::Gzip => gzip(tar),
            Self::GzipMembers => tar.chunks(1000).flat_map(gzip).collect(),
            Self::Zstd => zstd::encode_all(tar, 1).unwrap(),
            Self::ZstdFrames => {
                tar.chunks(1000).flat_map(|chunk| zstd::encode_all(chunk, 1).unwrap()).collect()
            }
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Plain => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip | Self::GzipMembers => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd | Self::ZstdFrames => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An image: its documents, which a test may change, and its layers.
#[derive(Debug, Clone)]
pub struct Layout {
    layers: Vec<(Vec<u8>, Vec<u8>)>,
    pub config: Value,
    /// The manifest; the config's descriptor is filled in when it is written.
    pub manifest: Value,
    /// The `index.json`; the manifest's descriptor is added when it is written.
    pub index: Value,
}

impl Layout {
    /// An image of amd64 without layers.
    pub fn new() -> Self {
        Self {
            layers: Vec::new(),
            config: json!({
                "created": "2024-01-02T03:04:05Z",
                "architecture": "amd64",
                "os": "linux",
                "config": {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"], "Cmd": ["sh"]},
                "rootfs": {"type": "layers", "diff_ids": []},
                "history": [],
            }),
            manifest: json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {"mediaType": "application/vnd.oci.image.config.v1+json"},
                "layers": [],
            }),
            index: json!({"schemaVersion": 2, "manifests": []}),
        }
    }

    /// Puts a gzip layer on top.
    pub fn layer(self, tar: Tar) -> Self {
        self.packed(&tar.finish(), Packing::Gzip)
    }

    /// Puts a layer on top, packed as told.
    pub fn packed(self, tar: &[u8], packing: Packing) -> Self {
        self.blob(packing.media_type(), tar, packing.pack(tar))
    }

    /// Puts a blob on top that may be anything.
    pub fn blob(mut self, media_type: &str, tar: &[u8], blob: Vec<u8>) -> Self {
        push(&mut self.manifest["layers"], descriptor(media_type, &blob));
        push(&mut self.config["rootfs"]["diff_ids"], json!(Digest::of(tar)));
        push(&mut self.config["history"], json!({"created": "2024-01-02T03:04:05Z", "created_by": "a test"}));
        self.layers.push((tar.to_vec(), blob));
        self
    }

    /// Changes the config, the manifest or the index.
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Every blob: the layers, the config, the manifest.
    fn blobs(&self) -> Vec<Vec<u8>> {
        let config = serde_json::to_vec(&self.config).unwrap();
        let mut manifest = self.manifest.clone();
        let media_type = manifest["config"]["mediaType"].as_str().unwrap().to_owned();
        manifest["config"] = descriptor(&media_type, &config);
        let layers = self.layers.iter().map(|(_, blob)| blob.clone());
        layers.chain([config, serde_json::to_vec(&manifest).unwrap()]).collect()
    }

    /// The files of the layout in which the image is tagged `latest`, by path.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let blobs = self.blobs();
        let media_type = self.manifest["mediaType"].as_str().unwrap();
        let mut manifest = descriptor(media_type, blobs.last().unwrap());
        manifest["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
        let mut index = self.index.clone();
        push(&mut index["manifests"], manifest);
        let mut files = vec![
            ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
            ("index.json".to_owned(), serde_json::to_vec(&index).unwrap()),
        ];
        files.extend(blobs.into_iter().map(|blob| (blob_path(&blob), blob)));
        files
    }

    /// Writes the layout into `directory`, which may have others: their blobs stay, their index goes.
    pub fn write(&self, directory: &Path) {
        fs::create_dir_all(directory.join("blobs/sha256")).unwrap();
        for (path, bytes) in self.files() {
            fs::write(directory.join(path), bytes).unwrap();
        }
    }

    /// Writes the layout as one tar.
    pub fn write_oci_archive(&self, file: &Path) {
        let files = self.files().into_iter();
        fs::write(file, files.fold(Tar::new(), |tar, (path, bytes)| tar.file(&path, bytes)).finish())
            .unwrap();
    }

    /// Writes what `docker save` writes before Docker 25, and gives its bytes: a directory for each layer.
    pub fn write_docker_archive(&self, file: &Path) -> Vec<u8> {
        let config = serde_json::to_vec(&self.config).unwrap();
        let config_path = format!("{}.json", Digest::of(&config).hex());
        let mut tar = Tar::new().file(&config_path, &config);
        let mut layers: Vec<String> = Vec::new();
        for (position, (layer, _)) in self.layers.iter().enumerate() {
            let path = format!("{position:064x}/layer.tar");
            tar = match self.layers[..position].iter().position(|(lower, _)| lower == layer) {
                Some(same) => tar.symlink(&path, &format!("../{same:064x}/layer.tar")),
                None => tar.file(&path, layer),
            };
            layers.push(path);
        }
        let manifest = json!([{"Config": config_path, "RepoTags": ["test:latest"], "Layers": layers}]);
        let bytes = tar.file("manifest.json", manifest.to_string()).finish();
        fs::write(file, &bytes).unwrap();
        bytes
    }

    /// Writes what `docker save` writes since Docker 25: a layout with docker's `manifest.json`.
    pub fn write_new_docker_archive(&self, file: &Path) {
        let config = serde_json::to_vec(&self.config).unwrap();
        let layers: Vec<String> = self.layers.iter().map(|(_, blob)| blob_path(blob)).collect();
        let manifest = json!([{"Config": blob_path(&config), "RepoTags": ["test:latest"], "Layers": layers}]);
        let files = self.files().into_iter();
        let tar = files.fold(Tar::new(), |tar, (path, bytes)| tar.file(&path, bytes));
        fs::write(file, tar.file("manifest.json", manifest.to_string()).finish()).unwrap();
    }
}

/// The path of a blob in a layout.
pub fn blob_path(blob: &[u8]) -> String {
    format!("blobs/sha256/{}", Digest::of(blob).hex())
}

/// The descriptor of a blob.
pub fn descriptor(media_type: &str, blob: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(blob), "size": blob.len()})
}

fn push(list: &mut Value, item: Value) {
    list.as_array_mut().unwrap().push(item);
}
