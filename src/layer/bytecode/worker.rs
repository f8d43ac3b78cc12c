//! A process that compiles source text, and nothing else.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::BytecodeError;
use crate::oci::Digest;
use crate::sandbox::{
    Confinement, SandboxCommand, SandboxError, SandboxLimits, SandboxTree, SandboxedProcess, TreeAccess,
};
use crate::store::Store;

/// The program that interpreters run, and its name on disk: Python 3.13 needs half its library for one in an argument.
pub(super) const SCRIPT: (&str, &str) = ("worker.py", include_str!("worker.py"));
/// The limits for compiling one file: no output file, and hardly more processes than the one that it is compiled in.
const LIMITS: SandboxLimits =
    SandboxLimits { cpu: 300, address_space: 4 << 30, file_size: 0, open_files: 64, processes: 4 };
/// The time in which an interpreter starts: that of Debian 12 needs 0.04 s.
const LONGEST_START: Duration = Duration::from_secs(10);
/// The time in which a small source is compiled, on a machine with other things to do.
const LONGEST_COMPILATION: Duration = Duration::from_secs(15);
/// The further time for each MiB of source: Python 3.11 needs 0.13 s.
const LONGEST_OF_MEBIBYTE: Duration = Duration::from_secs(60);
/// The bytes of an interpreter's name and version, or of its complaint.
const MAX_GREETING: u64 = 256;
/// The bytes of bytecode that every source may have, and those for each of its own bytes: at most 3.8 in the standard
/// library of Python 3.11.
const MAX_SMALL_ANSWER: u64 = 1 << 20;
const MAX_ANSWER_RATIO: u64 = 64;
/// The directory of the interpreter in a sandbox.
const IN_SANDBOX: &str = "/python";

/// The command line of an interpreter.
#[derive(Debug, Clone)]
pub(super) struct Interpreter {
    /// The program's path on this machine, for people.
    name: PathBuf,
    command: SandboxCommand,
    confinement: Confinement,
}

/// An interpreter that waits for source text.
pub(super) struct Worker(SandboxedProcess);

/// The result of compiling a source text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Compiled {
    /// The content of a `.pyc`.
    Bytecode(Vec<u8>),
    /// The compiler refuses it: it is for another Python, or a template.
    Refused,
}

impl Interpreter {
    /// The interpreter `program` in `tree`, which is run by the loader and with the libraries that lie there.
    pub(super) fn of_base(tree: &Path, loader: &str, program: &str, confinement: Confinement) -> Self {
        let root = match confinement {
            Confinement::Sandboxed => Path::new(IN_SANDBOX),
            Confinement::Unconfined => tree,
        };
        let libraries = root.join("libraries");
        let by_loader: [OsString; 4] = [
            "--inhibit-cache".into(),
            "--library-path".into(),
            libraries.clone().into(),
            root.join(program).into(),
        ];
        let mounted =
            SandboxTree { source: tree.to_owned(), target: IN_SANDBOX.into(), access: TreeAccess::ReadOnly };
        let script = root.join(SCRIPT.0);
        Self {
            name: tree.join("libraries").join(loader),
            command: command(libraries.join(loader), by_loader.into(), &script, vec![mounted]),
            confinement,
        }
    }

    /// The interpreters on the machine's `PATH` that are called `python3.11`. They are its owner's, not the base's.
    pub(super) fn of_machine(
        (major, minor): (u8, u8),
        script: &Path,
    ) -> impl Iterator<Item = Self> + use<'_> {
        let name = format!("python{major}.{minor}");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let directories: Vec<PathBuf> =
            std::env::split_paths(&path).filter(|path| path.is_absolute()).collect();
        let programs = directories.into_iter().map(move |directory| directory.join(&name));
        programs.filter(|program| program.is_file()).map(|program| Self {
            name: program.clone(),
            command: command(program, Vec::new(), script, Vec::new()),
            confinement: Confinement::Unconfined,
        })
    }

    /// Starts it, once it has said that it is CPython of this `version`: `3.11.2`.
    pub(super) fn start(&self, version: &str) -> Result<Worker, BytecodeError> {
        let mut worker = Worker(self.command.start(self.confinement).map_err(|error| self.failed(error))?);
        worker.0.output.allow(LONGEST_START);
        match worker.answer(MAX_GREETING) {
            Ok((b'+', said)) if said == format!("cpython {version}").as_bytes() => Ok(worker),
            Ok((_, said)) => Err(BytecodeError::OtherInterpreter {
                interpreter: self.name.clone(),
                found: String::from_utf8_lossy(&said).into_owned(),
                wanted: version.to_owned(),
            }),
            Err(source) => {
                const ENOUGH: u64 = 4096;
                let said = worker.0.last_words(ENOUGH);
                Err(BytecodeError::Start { interpreter: self.name.clone(), said, source: in_words(source) })
            }
        }
    }

    fn failed(&self, error: SandboxError) -> BytecodeError {
        match error {
            SandboxError::Exec { source, .. } => {
                let interpreter = self.name.clone();
                BytecodeError::Start { interpreter, said: String::new(), source }
            }
            other => BytecodeError::Sandbox(other),
        }
    }
}

/// The command by which `program` compiles.
fn command(
    program: PathBuf,
    mut arguments: Vec<OsString>,
    script: &Path,
    trees: Vec<SandboxTree>,
) -> SandboxCommand {
    // Neither `site` nor the user's directories nor the environment have a say, as with `-I`; that would ignore the
    // seed too, without which sets of constants have no order before Python 3.11.
    arguments.extend(["-s", "-S", "-B"].map(OsString::from));
    arguments.push(script.into());
    let environment = vec![("PYTHONHASHSEED".to_owned(), "0".to_owned())];
    SandboxCommand { program, arguments, environment, trees, links: Vec::new(), limits: LIMITS }
}

/// The path of the script for interpreters of the machine.
pub(super) fn script(store: &Store) -> Result<PathBuf, BytecodeError> {
    let (name, text) = SCRIPT;
    let write = |directory: &Path| {
        let path = directory.join(name);
        fs::write(&path, text).map_err(|source| BytecodeError::Extract { path, source })
    };
    Ok(store.put_tree(&Digest::of(text), write)?.join(name))
}

impl Worker {
    /// Compiles `source`, which will be at the absolute `path`.
    pub(super) fn compile(&mut self, path: &str, source: &[u8]) -> io::Result<Compiled> {
        let size = source.len() as u64;
        let patience = LONGEST_COMPILATION + LONGEST_OF_MEBIBYTE.mul_f64(size as f64 / f64::from(1 << 20));
        self.0.input.allow(patience);
        self.0.output.allow(patience);
        self.ask(path, source).map_err(in_words)?;
        match self.answer(MAX_SMALL_ANSWER + MAX_ANSWER_RATIO * size).map_err(in_words)? {
            (b'+', bytecode) => Ok(Compiled::Bytecode(bytecode)),
            (b'-', _) => Ok(Compiled::Refused),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "its answer is neither bytecode nor a refusal",
            )),
        }
    }

    fn ask(&mut self, path: &str, source: &[u8]) -> io::Result<()> {
        let input = &mut self.0.input;
        for length in [path.len(), source.len()] {
            let length = u32::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
            input.write_all(&length.to_le_bytes())?;
        }
        input.write_all(path.as_bytes())?;
        input.write_all(source)
    }

    /// An answer of `most` bytes. Memory is taken for what comes, not for what is promised.
    fn answer(&mut self, most: u64) -> io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.0.output.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let length = u64::from(u32::from_le_bytes(length));
        if length > most {
            let wrong = format!("its answer has {length} bytes, where {most} are the most");
            return Err(io::Error::new(io::ErrorKind::InvalidData, wrong));
        }
        let mut content = Vec::new();
        (&mut self.0.output).take(length).read_to_end(&mut content)?;
        if content.len() as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok((kind, content))
    }
}

/// The error, in words where it is that nothing came.
fn in_words(error: io::Error) -> io::Error {
    let text = match error.kind() {
        io::ErrorKind::TimedOut => "it does not answer",
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => "it ended",
        _ => return error,
    };
    io::Error::new(error.kind(), text)
}
