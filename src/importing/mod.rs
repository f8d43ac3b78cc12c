//! Modules of an image, imported as in a container: by the image's own interpreter, over its own files, in a sandbox.
//!
//! The check proves from what files say. What code works out while it is imported (the library that it searches by a name of
//! its making, the version that it compares) shows when it runs, and only then.
#![allow(clippy::disallowed_methods, reason = "an image is unpacked and run")]

mod machine;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::time::Duration;

use crate::failure::Hinted;
use crate::oci::{Architecture, Digest};
use crate::sandbox::{
    Confinement, SandboxCommand, SandboxError, SandboxLimits, SandboxTree, SandboxedProcess, TreeAccess,
};
use crate::sdist::base_tree::{self, BaseTreeError};
use crate::sdist::open_to_all;
use crate::store::{ScratchDirectory, Store, StoreError};

/// The program that imports modules.
const SCRIPT: (&str, &str) = ("imports.py", include_str!("imports.py"));
/// The directory of the program in a sandbox, and its names on this machine.
const WORK: &str = "/imgforge/work";
const PROGRAM: &str = "program";
const ROOT: &str = "root";
const TEMPORARY: &str = "temporary";
/// The limits of the processes that import: frameworks map some 20 GB of libraries, and start a thread for each processor.
const LIMITS: SandboxLimits = SandboxLimits {
    cpu: 30 * 60,
    address_space: 256 << 30,
    file_size: 1 << 30,
    open_files: 4096,
    processes: 8192,
};
/// The time that one import may take: those of the largest frameworks take half a minute on a slow disk.
const LONGEST_IMPORT: Duration = Duration::from_secs(5 * 60);
/// The time that all imports of an image may take.
const LONGEST: Duration = Duration::from_secs(2 * 60 * 60);
/// The modules that are imported of an image: those of 500 distributions, and some.
const MOST_MODULES: usize = 4096;
/// The bytes of an answer, and of what the interpreter says when it does not start.
const LONGEST_ANSWER: u64 = 8 << 10;
const LONGEST_WORDS: u64 = 4 << 10;

/// An interpreter of an image, and the process in which it imports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInterpreter {
    /// The absolute path under which a container starts it.
    pub program: String,
    /// The environment of a container.
    pub environment: BTreeMap<String, String>,
    /// The directory in which a container starts.
    pub directory: String,
}

/// The files of an image, unpacked; they are gone with this value.
pub struct UnpackedImage {
    directory: ScratchDirectory,
}

/// The reason why nothing could be imported.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum ImportError {
    #[error("could not unpack the image to import its distributions")]
    Unpack(#[from] BaseTreeError),
    #[error("could not prepare the imports")]
    Prepare(#[source] io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error("the image is for {}, whose programs this machine does not run", architecture.platform())]
    OtherMachine { architecture: Architecture },
    #[error("distributions are imported in a sandbox, which IMGFORGE_UNCONFINED switches off")]
    Unconfined,
    #[error("`{program}` of the image did not import what it was asked to{}", words(.said))]
    Silent { program: String, said: String },
}

impl Drop for UnpackedImage {
    fn drop(&mut self) {
        // What an import closed to others could not be removed. What fails here fails there, too.
        let _ = open_to_all(&self.directory.path().join(TEMPORARY));
    }
}

fn words(said: &str) -> String {
    let last = said.lines().last().unwrap_or_default();
    if last.is_empty() { String::new() } else { format!(": {last}") }
}

impl Hinted for ImportError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Unpack(error) => error.hint(),
            Self::Prepare(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Sandbox(error) => error.hint_or("check the image without `--import`"),
            Self::OtherMachine { architecture } => Some(format!(
                "check it with `--import` on a machine for {}, or here without",
                architecture.platform()
            )),
            Self::Unconfined => Some("unset IMGFORGE_UNCONFINED".into()),
            Self::Silent { .. } => {
                Some("check the image without `--import`: its findings may say why".into())
            }
        }
    }
}

/// Refuses to import from images whose programs this machine does not run.
pub fn check_machine(architecture: Architecture) -> Result<(), ImportError> {
    match Architecture::here() == Some(architecture) {
        true => Ok(()),
        false => Err(ImportError::OtherMachine { architecture }),
    }
}

impl UnpackedImage {
    /// The image of these `layers`, bottom first, which `store` has.
    pub fn new(store: &Store, layers: &[Digest]) -> Result<Self, ImportError> {
        let directory = store.scratch_directory()?;
        for name in [PROGRAM, ROOT, TEMPORARY] {
            fs::create_dir(directory.path().join(name)).map_err(ImportError::Prepare)?;
        }
        open_to_all(&directory.path().join(TEMPORARY)).map_err(ImportError::Prepare)?;
        let image = Self { directory };
        base_tree::unpack(store, layers, &image.root())?;
        let script = image.directory.path().join(PROGRAM).join(SCRIPT.0);
        fs::write(script, SCRIPT.1).map_err(ImportError::Prepare)?;
        machine::copy(image.directory.path()).map_err(ImportError::Prepare)?;
        Ok(image)
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join(ROOT)
    }

    /// Imports each module in a process of its own; gives the errors by the modules' numbers.
    pub fn import(
        &self,
        interpreter: &ImageInterpreter,
        modules: &[String],
        confinement: Confinement,
    ) -> Result<BTreeMap<usize, String>, ImportError> {
        if confinement == Confinement::Unconfined {
            return Err(ImportError::Unconfined);
        }
        let modules = &modules[..modules.len().min(MOST_MODULES)];
        let mut process = self.command(interpreter, modules)?.start(confinement)?;
        let answers = answers(&mut process, modules.len()).unwrap_or_default();
        match answers.len() == modules.len() {
            true => Ok(answers.into_iter().filter_map(|(number, error)| Some((number, error?))).collect()),
            false => Err(ImportError::Silent {
                program: interpreter.program.clone(),
                said: process.last_words(LONGEST_WORDS),
            }),
        }
    }

    fn command(
        &self,
        interpreter: &ImageInterpreter,
        modules: &[String],
    ) -> Result<SandboxCommand, ImportError> {
        let path = self.directory.path();
        let (mut trees, links) = base_tree::top_level(&self.root()).map_err(ImportError::Prepare)?;
        let tree =
            |source: PathBuf, target: &str, access| SandboxTree { source, target: target.into(), access };
        trees.push(tree(path.join(PROGRAM), WORK, TreeAccess::ReadOnly));
        trees.extend(machine::TOPS.map(|top| tree(path.join(top), &format!("/{top}"), TreeAccess::ReadOnly)));
        trees.push(tree(path.join(TEMPORARY), "/tmp", TreeAccess::Scratch));
        let script = format!("{WORK}/{}", SCRIPT.0);
        let own = [script, interpreter.directory.clone(), LONGEST_IMPORT.as_secs().to_string()];
        let mut environment = interpreter.environment.clone();
        // What imports write, they write where it is gone afterwards.
        environment.insert("HOME".into(), "/tmp".into());
        environment.insert("PYTHONDONTWRITEBYTECODE".into(), "1".into());
        Ok(SandboxCommand {
            program: interpreter.program.clone().into(),
            arguments: own.iter().chain(modules).map(OsString::from).collect(),
            environment: environment.into_iter().collect(),
            trees,
            links,
            limits: LIMITS,
        })
    }
}

/// The first answer for each module, by its number, as far as they come.
fn answers(process: &mut SandboxedProcess, count: usize) -> io::Result<BTreeMap<usize, Option<String>>> {
    process.output.allow(LONGEST);
    let mut output = BufReader::new(&mut process.output);
    let mut answers = BTreeMap::new();
    while answers.len() < count {
        let mut line = Vec::new();
        (&mut output).take(LONGEST_ANSWER).read_until(b'\n', &mut line)?;
        let Some((number, error)) = answer(&line).filter(|(number, _)| *number < count) else { break };
        answers.entry(number).or_insert(error);
    }
    Ok(answers)
}

/// A line of `imports.py`: the number of a module, and its error.
fn answer(line: &[u8]) -> Option<(usize, Option<String>)> {
    let (number, error) = std::str::from_utf8(line).ok()?.strip_suffix('\n')?.split_once(' ')?;
    let error = match error {
        "-" => None,
        error => Some(String::from_utf8_lossy(&hex::decode(error).ok()?).into_owned()),
    };
    Some((number.parse().ok()?, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_number_and_perhaps_an_error() {
        assert_eq!(answer(b"3 -\n"), Some((3, None)));
        assert_eq!(answer(b"0 4142\n"), Some((0, Some("AB".to_owned()))));
        for line in ["", "\n", "3 -", "x -\n", "3\n", "3 4\n", "-1 -\n"] {
            assert_eq!(answer(line.as_bytes()), None, "{line:?}");
        }
    }
}
