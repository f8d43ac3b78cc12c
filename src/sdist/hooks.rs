//! The hooks of a build backend, called in a sandbox: it has the base's files and the build's environment, both to read,
//! two directories to write into, and no network.
//!
//! <https://peps.python.org/pep-0517/>

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde_json::json;

use super::base_tree;
use super::environment::{BuildPython, IN_SANDBOX as ENVIRONMENT};
use super::fault::BuildFault;
use super::tree::open_to_all;
use crate::beneath::{FileRoot, Outside};
use crate::failure::Hinted;
use crate::pypa::pyproject::BuildSystem;
use crate::sandbox::{Confinement, SandboxCommand, SandboxError, SandboxLimits, SandboxTree, TreeAccess};
use crate::store::ScratchDirectory;

/// The program that calls a hook.
const SCRIPT: (&str, &str) = ("hooks.py", include_str!("hooks.py"));
/// The directories of a build in a sandbox.
const WORK: &str = "/imgforge/work";
/// The names in the directory of a build.
const OUTPUT: &str = "output";
const TEMPORARY: &str = "temporary";
const ANSWER: &str = "answer.json";
const NETWORK: &str = "network";
/// The limits for building one wheel: compilers of the largest C++ files take some GB.
const LIMITS: SandboxLimits = SandboxLimits {
    cpu: 4 * 60 * 60,
    address_space: 16 << 30,
    file_size: 4 << 30,
    open_files: 1024,
    processes: 256,
};
/// The bytes that a build may write in all.
const MOST_WRITTEN: u64 = 16 << 30;
/// The time between two looks at what a build has written.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);
/// The bytes of a backend's answer.
const LONGEST_ANSWER: u64 = 1 << 20;
/// The bytes that are kept of the end of a build's output.
const LONGEST_OUTPUT: usize = 64 << 10;
/// The lines that are shown of it.
const MOST_LINES: usize = 20;
/// The time of everything in a wheel: 1980-01-01, before which zip cannot store years.
const EPOCH: u64 = 315_532_800;

/// A hook that a backend has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Further requirements of the build.
    Requires,
    /// The wheel itself.
    Wheel,
}

impl Hook {
    fn name(self) -> &'static str {
        match self {
            Self::Requires => "get_requires_for_build_wheel",
            Self::Wheel => "build_wheel",
        }
    }
}

/// The files and programs that a build sees.
#[derive(Debug, Clone)]
pub struct BuildRoom {
    /// The base's files on this machine.
    pub base: PathBuf,
    /// The environment on this machine.
    pub environment: PathBuf,
    /// The interpreter.
    pub python: BuildPython,
    /// The directories of `LD_LIBRARY_PATH` in the base's config.
    pub library_path: Vec<String>,
    /// The version, for backends that would ask a repository's history, which is not there.
    pub version: Option<String>,
    /// The time that a hook may take.
    pub longest: Duration,
}

/// The reason why a hook gave no answer.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum HookError {
    #[error("{fault}")]
    Failed { fault: BuildFault, said: Vec<String> },
    #[error("its build gave no answer that can be used: {reason}")]
    Answer { reason: String },
    #[error("could not prepare its build in `{path}`")]
    Prepare { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error("sources are built in a sandbox, which IMGFORGE_UNCONFINED switches off")]
    Unconfined,
}

impl Hinted for HookError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Failed { fault, .. } => Some(fault.hint("build its wheel yourself")),
            Self::Answer { .. } => Some("choose another version, or build its wheel yourself".into()),
            Self::Prepare { source, .. } => source.hint(),
            // Without a sandbox nothing is built.
            Self::Sandbox(error) => error.hint_or("build its wheel yourself"),
            Self::Unconfined => Some("unset IMGFORGE_UNCONFINED, or build its wheel yourself".into()),
        }
    }
}

/// The directory of one build, with its source tree; it is gone with this value.
pub struct BuildDirectory {
    directory: ScratchDirectory,
}

impl Drop for BuildDirectory {
    fn drop(&mut self) {
        // What a build closed to others could not be removed. What fails here fails there, too.
        let _ = open_to_all(self.directory.path());
    }
}

impl BuildDirectory {
    /// An empty one.
    pub fn new(directory: ScratchDirectory) -> io::Result<Self> {
        for name in [OUTPUT, TEMPORARY, "source"] {
            fs::create_dir(directory.path().join(name))?;
        }
        fs::write(directory.path().join(SCRIPT.0), SCRIPT.1)?;
        Ok(Self { directory })
    }

    /// The directory into which the source is unpacked.
    pub fn source(&self) -> PathBuf {
        self.directory.path().join("source")
    }

    /// The files that a hook has written.
    pub fn output(&self) -> io::Result<(FileRoot, PathBuf)> {
        let path = self.directory.path().join(OUTPUT);
        Ok((FileRoot::open(&path, Outside::Refused)?, path))
    }

    /// Calls a hook of the backend of the tree at `source`, and gives its answer.
    pub fn call<T: DeserializeOwned>(
        &self,
        hook: Hook,
        source: &Path,
        system: &BuildSystem,
        room: &BuildRoom,
        confinement: Confinement,
    ) -> Result<T, HookError> {
        if confinement == Confinement::Unconfined {
            return Err(HookError::Unconfined);
        }
        let path = self.directory.path();
        let prepare = |source| HookError::Prepare { path: path.to_owned(), source };
        // An answer is that of this hook, whatever another one left.
        fs::remove_dir_all(path.join(OUTPUT)).map_err(prepare)?;
        fs::create_dir(path.join(OUTPUT)).map_err(prepare)?;
        open_to_all(path).map_err(prepare)?;
        let command = self.command(hook, source, system, room).map_err(prepare)?;
        let output = self.run(&command, room.longest)?;
        self.answer(&output)
    }

    fn command(
        &self,
        hook: Hook,
        source: &Path,
        system: &BuildSystem,
        room: &BuildRoom,
    ) -> io::Result<SandboxCommand> {
        let path = self.directory.path();
        let inside = |below: &Path| Path::new(WORK).join(below.strip_prefix(path).unwrap_or(below));
        let (mut trees, links) = base_tree::top_level(&room.base)?;
        let tree =
            |source: PathBuf, target: &str, access| SandboxTree { source, target: target.into(), access };
        trees.push(tree(room.environment.clone(), ENVIRONMENT, TreeAccess::ReadOnly));
        trees.push(tree(path.to_owned(), WORK, TreeAccess::Scratch));
        trees.push(tree(path.join(TEMPORARY), "/tmp", TreeAccess::Scratch));
        let arguments = vec![
            inside(&path.join(SCRIPT.0)).into(),
            hook.name().into(),
            system.backend.clone().into(),
            json!(system.backend_path).to_string().into(),
            inside(source).into(),
            inside(&path.join(OUTPUT)).into(),
        ];
        let program = PathBuf::from(ENVIRONMENT).join("bin/python");
        Ok(SandboxCommand {
            program,
            arguments,
            environment: environment(room),
            trees,
            links,
            limits: LIMITS,
        })
    }

    /// Runs a command to its end; gives the end of its output.
    fn run(&self, command: &SandboxCommand, longest: Duration) -> Result<String, HookError> {
        let mut process = command.start(Confinement::Sandboxed)?;
        let begin = Instant::now();
        let mut output = Vec::new();
        let mut chunk = vec![0; 1 << 14];
        let mut looked = begin;
        let failed = |fault, output: &[u8]| HookError::Failed { fault, said: last_lines(output) };
        loop {
            process.output.allow(BETWEEN_LOOKS.min(longest));
            match process.output.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => keep_end(&mut output, &chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                Err(_) => break,
            }
            if begin.elapsed() > longest {
                return Err(failed(BuildFault::Time { seconds: longest.as_secs() }, &output));
            }
            if looked.elapsed() > BETWEEN_LOOKS {
                if written(self.directory.path()) > MOST_WRITTEN {
                    return Err(failed(BuildFault::Disk { most: MOST_WRITTEN }, &output));
                }
                looked = Instant::now();
            }
        }
        keep_end(&mut output, process.last_words(LONGEST_OUTPUT as u64).as_bytes());
        Ok(String::from_utf8_lossy(&output).into_owned())
    }

    /// The answer that a hook has written; otherwise the reason why there is none, as its `output` tells.
    fn answer<T: DeserializeOwned>(&self, output: &str) -> Result<T, HookError> {
        let unusable = |reason: String| HookError::Answer { reason };
        let (root, path) = self.output().map_err(|error| unusable(error.to_string()))?;
        let read = |name: &str| root.read_text(&path.join(name), LONGEST_ANSWER).map(|(text, _)| text);
        match read(ANSWER) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| unusable(error.to_string())),
            Err(_) => {
                let said = last_lines(output.as_bytes());
                let fault = match read(NETWORK) {
                    Ok(place) => BuildFault::Network { place: place.chars().take(200).collect() },
                    Err(_) => BuildFault::of_output(output),
                };
                Err(HookError::Failed { fault, said })
            }
        }
    }
}

/// The variables by which backends are told a version that they would otherwise take from version control: setuptools-scm and
/// hatch-vcs, pdm-backend, pbr, poetry-dynamic-versioning.
const VERSION_VARIABLES: [&str; 4] = [
    "SETUPTOOLS_SCM_PRETEND_VERSION",
    "PDM_BUILD_SCM_VERSION",
    "PBR_VERSION",
    "POETRY_DYNAMIC_VERSIONING_BYPASS",
];

/// The environment variables of a build: nothing in them is of this machine.
fn environment(room: &BuildRoom) -> Vec<(String, String)> {
    let home = room.python.program.rsplit_once('/').map_or("", |(home, _)| home);
    let path =
        format!("{ENVIRONMENT}/bin:{home}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let mut variables = vec![
        ("PATH", path),
        ("HOME", "/tmp".into()),
        ("TMPDIR", "/tmp".into()),
        ("LANG", "C.UTF-8".into()),
        ("LC_ALL", "C.UTF-8".into()),
        ("TZ", "UTC".into()),
        ("TERM", "dumb".into()),
        ("SOURCE_DATE_EPOCH", EPOCH.to_string()),
        ("PYTHONHASHSEED", "0".into()),
        ("PYTHONNOUSERSITE", "1".into()),
        ("PYTHONDONTWRITEBYTECODE", "1".into()),
        ("PYTHONUNBUFFERED", "1".into()),
        ("VIRTUAL_ENV", ENVIRONMENT.into()),
    ];
    if let Some(version) = &room.version {
        variables.extend(VERSION_VARIABLES.map(|name| (name, version.clone())));
    }
    if !room.library_path.is_empty() {
        variables.push(("LD_LIBRARY_PATH", room.library_path.join(":")));
    }
    variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The bytes of all files below a directory that is being written to.
fn written(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    if !metadata.is_dir() {
        return metadata.len();
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| written(&entry.path())).sum()
}

fn keep_end(output: &mut Vec<u8>, more: &[u8]) {
    output.extend_from_slice(more);
    if output.len() > 2 * LONGEST_OUTPUT {
        output.drain(..output.len() - LONGEST_OUTPUT);
    }
}

/// The last lines of an output.
fn last_lines(output: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let first = lines.len().saturating_sub(MOST_LINES);
    lines[first..].iter().map(|line| (*line).to_owned()).collect()
}
