//! The files that make the parts one system: the toolkit's links, the loader's configuration, pip's marker.

use crate::cuda::Toolkit;
use crate::oci::{Entry, EntryKind, Generated};
use crate::resolve::{Resolution, Role};

/// What is decided outside the resolution.
pub struct SystemChoices<'a> {
    /// Seconds since the Unix epoch: the modification time of the files.
    pub mtime: u64,
    /// The path of the interpreter's EXTERNALLY-MANAGED marker where it is to be whited out.
    pub externally_managed: Option<&'a str>,
    /// The working directory, relative to the root: made so that a container can start in it.
    pub workdir: Option<&'a str>,
}

/// The loader's directories that the image adds to its base's, with the file that names them.
pub const LOADER_CONFIGURATION: &str = "etc/ld.so.conf.d/000_cuda.conf";
/// Where NVIDIA's device plugins mount the driver's libraries.
const DRIVER_CONFIGURATION: &str = "etc/ld.so.conf.d/nvidia.conf";
const DRIVER_DIRECTORIES: &str = "/usr/local/nvidia/lib\n/usr/local/nvidia/lib64\n";

/// The generated files, sorted by path; `ld.so.cache` is made from the finished layers and is not among them.
pub fn system_files(resolution: &Resolution, choices: &SystemChoices<'_>) -> Vec<Generated> {
    let make = Maker { mtime: choices.mtime };
    let mut files = Vec::new();
    if let Some(toolkit) = &resolution.toolkit {
        files.extend(toolkit_files(&make, toolkit, resolution));
    }
    if let Some((directory, name)) = choices.externally_managed.and_then(|path| path.rsplit_once('/')) {
        files.push(make.file(&format!("{directory}/.wh.{name}"), String::new()));
    }
    if let Some(workdir) = choices.workdir.filter(|path| !path.is_empty()) {
        files.push(make.directory(workdir));
    }
    files.sort_by(|a, b| a.entry.path.cmp(&b.entry.path));
    files
}

fn toolkit_files(make: &Maker, toolkit: &Toolkit, resolution: &Resolution) -> Vec<Generated> {
    let root = toolkit.root();
    let target = toolkit.machine.target();
    let version = format!("cuda-{toolkit}");
    vec![
        make.directory(&root),
        make.directory(&format!("{root}/bin")),
        make.directory(&format!("{root}/targets")),
        make.directory(&format!("{root}/targets/{target}")),
        make.directory(&format!("{root}/targets/{target}/include")),
        make.directory(&format!("{root}/targets/{target}/lib")),
        make.link(&format!("{root}/include"), &format!("targets/{target}/include")),
        make.link(&format!("{root}/lib64"), &format!("targets/{target}/lib")),
        make.file(&format!("{root}/version.json"), version_json(toolkit, resolution)),
        make.link("usr/local/cuda", &version),
        make.link(&format!("usr/local/cuda-{}", toolkit.version.0), &version),
        make.file(LOADER_CONFIGURATION, format!("/{}\n", toolkit.library_directory())),
        make.file(DRIVER_CONFIGURATION, DRIVER_DIRECTORIES.to_owned()),
    ]
}

/// `version.json` as NVIDIA's packages have it: the toolkit's version and each component's.
fn version_json(toolkit: &Toolkit, resolution: &Resolution) -> String {
    let mut versions = serde_json::Map::new();
    let mut add = |key: &str, name: &str, version: &str| {
        versions.insert(key.to_owned(), serde_json::json!({ "name": name, "version": version }));
    };
    for distribution in &resolution.distributions {
        if let Role::Component { component, .. } = &distribution.role {
            let key = component.name().replace('-', "_");
            let version = distribution.version.to_string();
            if component.is_runtime() {
                add("cuda", "CUDA SDK", &version);
                add("cuda_cudart", "CUDA Runtime (cudart)", &version);
            } else {
                add(&key, component.name(), &version);
            }
        }
    }
    if !versions.contains_key("cuda") {
        versions
            .insert("cuda".into(), serde_json::json!({ "name": "CUDA SDK", "version": toolkit.to_string() }));
    }
    format!("{:#}\n", serde_json::Value::Object(versions))
}

struct Maker {
    mtime: u64,
}

impl Maker {
    fn entry(&self, path: &str, mode: u32, kind: EntryKind) -> Entry {
        Entry { path: path.to_owned(), mode, uid: 0, gid: 0, mtime: self.mtime, kind }
    }

    fn directory(&self, path: &str) -> Generated {
        Generated { entry: self.entry(path, 0o755, EntryKind::Directory), bytes: Vec::new() }
    }

    fn link(&self, path: &str, target: &str) -> Generated {
        let kind = EntryKind::Symlink { target: target.to_owned() };
        Generated { entry: self.entry(path, 0o777, kind), bytes: Vec::new() }
    }

    fn file(&self, path: &str, content: String) -> Generated {
        let kind = EntryKind::File { size: content.len() as u64 };
        Generated { entry: self.entry(path, 0o644, kind), bytes: content.into_bytes() }
    }
}
