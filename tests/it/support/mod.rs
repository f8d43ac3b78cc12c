//! A small world on loopback: a package index, a Debian archive, a store and a recipe, all of the test's making.

pub mod consistency;
pub mod cost;
pub mod culprit;
pub mod debian;
pub mod docker;
pub mod elf;
#[allow(dead_code, reason = "the crate's own tests use more of it")]
#[path = "../../../src/cuda/gpu_samples.rs"]
pub mod gpu;
pub mod image;
pub mod layout;
pub mod linked;
pub mod record;
pub mod registry;
pub mod resolution;
pub mod schemas;
pub mod sdist;
pub mod server;
pub mod wheel;
pub mod zip;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use imgforge::destination::{self, PublishError, Publishing};
use imgforge::image::Image;
use imgforge::net::engine::{EngineSettings, Engines};
use imgforge::net::http::{Http, HttpSettings};
use imgforge::net::registry::{Registries, RegistrySettings};
use imgforge::oci::{Architecture, Digest};
use imgforge::place::ImagePlace;
use imgforge::source::{self, SourceAccess, SourceError, SourceImage};
use imgforge::store::Store;
use serde_json::{Value, json};
use tempfile::TempDir;

use debian::Archive;
use server::{Resource, Server};
use wheel::{Built, Wheel};

/// A world in which a build needs no network, and has nothing of the user's environment.
pub struct World {
    pub directory: TempDir,
    pub server: Server,
    pub archive: Archive,
    pages: BTreeMap<String, Vec<Value>>,
}

/// The outcome of a run of the program.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl World {
    /// A world with a base and one project, `wholesome`.
    pub fn new() -> Self {
        let mut world = Self {
            directory: TempDir::new().unwrap(),
            server: Server::start(),
            archive: Archive::small(),
            pages: BTreeMap::new(),
        };
        world.write("archive.asc", world.archive.keyring());
        world.serve_archive();
        world.publish(Wheel::new("wholesome", "1.0").file("wholesome.py", "X = 1\n"));
        world
    }

    /// The same world, in which `debian-bookworm` is its base.
    pub fn with_named_base() -> Self {
        let world = Self::new();
        let base = format!(
            "suites: [bookworm]\nmirror: {}/debian\nsigned-by: [../archive.asc]\npackages: [python3]\n",
            world.server.url()
        );
        fs::create_dir(world.path("images")).unwrap();
        world.write("images/debian-bookworm.yaml", base);
        world
    }

    /// Serves the Debian archive as it is now.
    pub fn serve_archive(&mut self) {
        for (path, bytes) in self.archive.files() {
            self.server.set(&format!("/debian/{path}"), Resource::file(bytes));
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Writes `recipe.yaml`: the base of this world, and `lines`.
    pub fn recipe(&self, lines: &str) -> PathBuf {
        let base = format!(
            "name: demo\nbase:\n  suites: [bookworm]\n  mirror: {}/debian\n  signed-by: [archive.asc]\n  packages: [python3]\n",
            self.server.url()
        );
        self.write("recipe.yaml", base + lines)
    }

    /// Serves a wheel and lists it.
    pub fn publish(&mut self, wheel: Wheel) -> Built {
        self.publish_listed(wheel, |_| {})
    }

    /// Serves a wheel and lists it with `change`d words.
    pub fn publish_listed(&mut self, wheel: Wheel, change: impl FnOnce(&mut Value)) -> Built {
        let name = wheel.name.clone();
        let built = wheel.build();
        self.publish_file(&name, &built, change);
        built
    }

    /// Serves a file of the project `name` and lists it.
    pub fn publish_file(&mut self, name: &str, file: &Built, change: impl FnOnce(&mut Value)) {
        self.server.set(&format!("/files/{}", file.filename), Resource::file(file.bytes.clone()));
        let mut listed = json!({
            "filename": file.filename,
            "url": format!("../../files/{}", file.filename),
            "hashes": {"sha256": Digest::of(&file.bytes).hex()},
            "size": file.bytes.len(),
            "upload-time": "2024-05-06T07:08:09Z",
            "yanked": false,
        });
        change(&mut listed);
        let files = self.pages.entry(name.to_owned()).or_default();
        files.retain(|other| other["filename"] != listed["filename"]);
        files.push(listed);
        let page = json!({"meta": {"api-version": "1.1"}, "name": name, "files": files});
        self.server.set(&format!("/simple/{name}/"), Resource::json(&page));
    }

    /// A command of the program, with an environment of this world only.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_imgforge"));
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env_clear()
            .env("HOME", self.directory.path())
            .env("PATH", "/usr/bin:/bin")
            .env("PIP_CONFIG_FILE", "/dev/null")
            .env("PIP_INDEX_URL", format!("{}/simple/", self.server.url()))
            .env("IMGFORGE_CACHE_DIR", self.store());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Outcome {
        run(&mut self.command(arguments))
    }

    /// Builds `recipe.yaml` into the layout `image`.
    pub fn build(&self) -> Outcome {
        self.run(&["build", "recipe.yaml", "-o", "oci:image"])
    }

    pub fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// The names of the store's blobs, each of which must hash to its name.
    pub fn sound_blobs(&self) -> BTreeSet<String> {
        sound_blobs(&self.store())
    }

    /// Holds a failed run to what every failure owes: one error with a hint on stderr, nothing on stdout, the exit
    /// code, and a sound store. `said` must all be in the message.
    #[track_caller]
    pub fn check_failure(&self, outcome: &Outcome, code: i32, said: &[&str]) {
        outcome.check_failure(code, said);
        self.sound_blobs();
    }

    /// Checks that a build fails as it should, and that a good recipe builds with the same store afterwards.
    #[track_caller]
    pub fn check_bad(&mut self, said: &[&str]) {
        let outcome = self.build();
        self.check_failure(&outcome, 1, said);
        assert!(!self.path("image").exists(), "a failed build published something");
        self.check_good_build();
    }

    /// Builds something simple from an archive that is sound again.
    #[track_caller]
    pub fn check_good_build(&mut self) {
        self.archive = Archive::small();
        self.serve_archive();
        self.write("archive.asc", self.archive.keyring());
        self.recipe("packages: [wholesome]\n");
        self.build().check_success();
        self.sound_blobs();
    }
}

/// The registries of a machine without logins.
pub fn registries(store: &Store) -> Registries {
    let http = Arc::new(Http::new(HttpSettings::default()).unwrap());
    Registries::new(http, store.clone(), RegistrySettings::default())
}

/// The engines of a machine without any.
pub fn engines() -> Engines {
    Engines::new(Arc::new(Http::new(HttpSettings::default()).unwrap()), EngineSettings::default())
}

/// Opens an image where no registry is asked.
pub fn open(place: &str, architecture: Option<Architecture>) -> Result<SourceImage, SourceError> {
    let directory = TempDir::new().unwrap();
    let registries = registries(&Store::open(directory.path()).unwrap());
    let access = SourceAccess { registries: &registries, engines: &engines() };
    source::open(&place.parse().unwrap(), architecture, access)
}

/// Publishes where no registry is asked.
pub fn publish(image: &Image, place: &str, name: &str, store: &Store) -> Result<(), PublishError> {
    let place = ImagePlace::destination(place).unwrap();
    let publishing = Publishing {
        store,
        registries: &registries(store),
        engines: &engines(),
        origins: &[],
        cached: &|_| Ok(()),
        progress: &|_| (),
    };
    destination::publish(&image.clone().into(), &place, name, &publishing)
}

/// Runs a command. What it prints as JSON is [held](schemas::hold) to its schema.
#[track_caller]
pub fn run(command: &mut Command) -> Outcome {
    let output = command.output().unwrap();
    let outcome = Outcome {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    schemas::hold(command, &outcome);
    outcome
}

impl Outcome {
    /// The digest that a successful build prints.
    #[track_caller]
    pub fn check_success(&self) -> Digest {
        assert_eq!(self.code, 0, "{self}");
        self.stdout.trim_end().parse().unwrap()
    }

    #[track_caller]
    pub fn check_failure(&self, code: i32, said: &[&str]) {
        for said in said {
            assert!(self.stderr.contains(said), "`{said}` is not said:\n{self}");
        }
        assert_eq!(self.code, code, "{self}");
        assert_eq!(self.stdout, "", "{self}");
        assert!(self.stderr.contains("error"), "{self}");
        assert!(!self.stderr.contains("panicked"), "{self}");
        let advice = ["hint: ", "help: ", "For more information"];
        assert!(advice.iter().any(|advice| self.stderr.contains(advice)), "no hint:\n{self}");
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit code {}\n-- stdout\n{}\n-- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}

/// The names of the blobs below `root`, a store or a layout, each of which must hash to its name.
#[track_caller]
pub fn sound_blobs(root: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(root.join("blobs/sha256")) else { return BTreeSet::new() };
    let sound = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        assert_eq!(Digest::of(fs::read(&path).unwrap()).hex(), name, "a blob in {}", root.display());
        name
    };
    entries.map(sound).collect()
}
