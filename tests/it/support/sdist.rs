//! Source distributions with a backend of their own, and a base that can build them: this machine's Python.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::World;
use super::layout::{Layout, Tar, gzip};
use super::wheel::Built;
use super::zip::{self, Member};

const PYTHON: &str = "/usr/bin/python3.11";
const LIBRARY: &str = "/usr/lib/python3.11";
/// Parts of the standard library that no build of a test needs.
const UNUSED: [&str; 8] =
    ["__pycache__", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "tkinter", "unittest"];

/// A backend that makes a pure wheel by hand; `{before}` runs first, and `{content}` is the text of its module.
const BACKEND: &str = r#"
import base64, hashlib, os, sys, zipfile

def get_requires_for_build_wheel(config_settings=None):
    return []

def build_wheel(directory, config_settings=None, metadata_directory=None):
{before}
    info = "demo-1.0.dist-info"
    files = {
        "demo.py": {content},
        info + "/METADATA": "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n",
        info + "/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    def row(path, text):
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        return "%s,sha256=%s,%d\n" % (path, digest, len(text))
    files[info + "/RECORD"] = "".join(row(*item) for item in files.items()) + info + "/RECORD,,\n"
    name = "demo-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        for path, text in files.items():
            wheel.writestr(zipfile.ZipInfo(path), text)
    return name
"#;

/// The source distribution `demo` 1.0.
pub struct Sdist {
    before: String,
    content: String,
    requires: Vec<String>,
    project: String,
    files: Vec<(String, Vec<u8>)>,
    tar: Tar,
}

impl Sdist {
    pub fn new() -> Self {
        Self {
            before: "pass".into(),
            content: "'X = 1\\n'".into(),
            requires: Vec::new(),
            project: String::new(),
            files: Vec::new(),
            tar: Tar::new(),
        }
    }

    /// Python that the backend runs before it makes the wheel.
    pub fn before(self, before: &str) -> Self {
        Self { before: before.into(), ..self }
    }

    /// A Python expression, whose value is the module's text.
    pub fn content(self, content: &str) -> Self {
        Self { content: content.into(), ..self }
    }

    /// A requirement of the build.
    pub fn requires(mut self, requirement: &str) -> Self {
        self.requires.push(format!("'{requirement}'"));
        self
    }

    /// Further text of its `pyproject.toml`.
    pub fn project(self, text: &str) -> Self {
        Self { project: text.into(), ..self }
    }

    pub fn file(mut self, name: &str, content: &str) -> Self {
        self.files.push((format!("demo-1.0/{name}"), content.into()));
        self
    }

    /// Members of its tar that no honest tool writes.
    pub fn members(self, change: impl FnOnce(Tar) -> Tar) -> Self {
        Self { tar: change(self.tar), ..self }
    }

    /// Its files, by their paths below `demo-1.0`.
    pub fn all_files(&self) -> Vec<(String, Vec<u8>)> {
        let before: String = self.before.lines().map(|line| format!("    {line}\n")).collect();
        let backend = BACKEND.replace("{before}", &before).replace("{content}", &self.content);
        let project = format!(
            "[build-system]\nrequires = [{}]\nbuild-backend = 'backend'\nbackend-path = ['.']\n{}",
            self.requires.join(", "),
            self.project
        );
        let own = [("pyproject.toml", project), ("backend.py", backend)];
        let own = own.map(|(name, text)| (format!("demo-1.0/{name}"), text.into_bytes()));
        own.into_iter().chain(self.files.clone()).collect()
    }

    pub fn build(self) -> Built {
        let files = self.all_files();
        let tar = files.iter().fold(self.tar, |tar, (path, content)| tar.file(path, content));
        Built { filename: "demo-1.0.tar.gz".into(), bytes: gzip(&tar.finish()) }
    }

    /// The same as a zip.
    pub fn zip(self) -> Built {
        let files = self.all_files();
        let members: Vec<Member> = files.iter().map(|(path, content)| Member::file(path, content)).collect();
        Built { filename: "demo-1.0.zip".into(), bytes: zip::archive(&members) }
    }
}

/// The libraries that programs are linked with.
fn linked(programs: &[PathBuf]) -> BTreeSet<String> {
    let output = Command::new("ldd").args(programs).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace()
        .filter(|word| word.starts_with("/lib") || word.starts_with("/usr/lib"))
        .map(|word| word.trim_end_matches(':').to_owned())
        .filter(|path| !path.starts_with(LIBRARY))
        .collect()
}

/// The files below a directory of the standard library that builds need.
fn library(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if UNUSED.contains(&name.as_str()) || name.starts_with("config-") {
            continue;
        }
        match path.is_dir() {
            true => library(&path, found),
            false => found.push(path),
        }
    }
}

/// This machine's Python as an image; `None` where it has none of Debian 12.
pub fn base() -> Option<Tar> {
    if !Path::new(PYTHON).exists() {
        return None;
    }
    let mut files = Vec::new();
    library(Path::new(LIBRARY), &mut files);
    let mut programs: Vec<PathBuf> =
        files.iter().filter(|path| path.extension().is_some_and(|it| it == "so")).cloned().collect();
    programs.push(PYTHON.into());
    let mut tar = Tar::debian("").symlink("lib", "usr/lib").symlink("lib64", "usr/lib64");
    tar = tar.executable("usr/bin/python3.11", fs::read(PYTHON).unwrap());
    for path in files {
        tar = tar.file(path.to_str().unwrap().trim_start_matches('/'), fs::read(&path).unwrap());
    }
    for path in linked(&programs) {
        let name = path.rsplit('/').next().unwrap();
        let directory = if name.starts_with("ld-linux") { "usr/lib64" } else { "usr/lib/x86_64-linux-gnu" };
        tar = tar.executable(&format!("{directory}/{name}"), fs::read(&path).unwrap());
    }
    Some(tar)
}

/// A world whose base can build, and that lists this source distribution; `None`, and a word about it, where this machine
/// cannot make one.
pub fn world(sdist: Sdist) -> Option<World> {
    let mut world = World::new();
    let Some(base) = base() else {
        eprintln!("skipped: this machine has no {PYTHON}");
        return None;
    };
    Layout::new().layer(base).write(&world.path("base"));
    world.publish_file("demo", &sdist.build(), |_| {});
    recipe(&world, "packages: [demo]\npython: {build: [demo]}\n");
    Some(world)
}

/// Writes `recipe.yaml` over the base of such a world.
pub fn recipe(world: &World, lines: &str) {
    world.write("recipe.yaml", format!("name: demo\nbase: oci:base\n{lines}"));
}
