//! A process that compiles source text, and nothing else.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::BytecodeError;
use crate::oci::Digest;
use crate::store::Store;

const SCRIPT: &str = include_str!("worker.py");
/// The limits for compiling one file: seconds of a processor, bytes of addresses, and no output file.
const LIMITS: [(Resource, u64); 3] = [(Resource::Cpu, 300), (Resource::As, 4 << 30), (Resource::Fsize, 0)];
/// The largest answer in bytes; no bytecode is nearly that large.
const MAX_ANSWER: usize = 256 << 20;

/// The command line of an interpreter.
#[derive(Debug, Clone)]
pub(super) struct Interpreter {
    pub program: PathBuf,
    /// Before the interpreter's own arguments.
    pub arguments: Vec<OsString>,
    pub script: PathBuf,
}

/// An interpreter that waits for source text.
pub(super) struct Worker {
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
}

/// The result of compiling a source text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Compiled {
    /// The content of a `.pyc`.
    Bytecode(Vec<u8>),
    /// The compiler refuses it: it is for another Python, or a template.
    Refused,
}

impl Interpreter {
    /// Starts it, once it has said that it is CPython of this `version`: `3.11.2`.
    pub fn start(&self, version: &str) -> Result<Worker, BytecodeError> {
        let failed =
            |source| BytecodeError::Start { interpreter: self.program.clone(), said: String::new(), source };
        // Neither `site` nor the user's directories nor the environment have a say, as with `-I`; that would ignore the
        // seed too, without which sets of constants have no order before Python 3.11.
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .args(["-s", "-S", "-B"])
            .arg(&self.script)
            .env_clear()
            .env("PYTHONHASHSEED", "0")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (input, output) = pipes.ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
        let mut worker = Worker { child, input: Some(input), output };
        worker.limit().map_err(failed)?;
        match worker.answer() {
            Ok((b'+', said)) if said == format!("cpython {version}").as_bytes() => Ok(worker),
            Ok((_, said)) => Err(BytecodeError::OtherInterpreter {
                interpreter: self.program.clone(),
                found: String::from_utf8_lossy(&said).into_owned(),
                wanted: version.to_owned(),
            }),
            Err(source) => {
                let said = worker.last_words();
                Err(BytecodeError::Start { interpreter: self.program.clone(), said, source })
            }
        }
    }

    /// The interpreters on the machine's `PATH` that are called `python3.11`.
    pub fn of_machine((major, minor): (u8, u8), script: &Path) -> impl Iterator<Item = Self> + use<'_> {
        let name = format!("python{major}.{minor}");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let directories: Vec<PathBuf> =
            std::env::split_paths(&path).filter(|path| path.is_absolute()).collect();
        let programs = directories.into_iter().map(move |directory| directory.join(&name));
        programs.filter(|program| program.is_file()).map(|program| Self {
            program,
            arguments: Vec::new(),
            script: script.to_owned(),
        })
    }
}

/// The path of the script that interpreters run, on disk because Python 3.13 needs half its library for one in an
/// argument.
pub(super) fn script(store: &Store) -> Result<PathBuf, BytecodeError> {
    const NAME: &str = "worker.py";
    let write = |directory: &Path| {
        let path = directory.join(NAME);
        fs::write(&path, SCRIPT).map_err(|source| BytecodeError::Extract { path, source })
    };
    Ok(store.put_tree(&Digest::of(SCRIPT), write)?.join(NAME))
}

impl Worker {
    /// Compiles `source`, which will be at the absolute `path`.
    pub fn compile(&mut self, path: &str, source: &[u8]) -> io::Result<Compiled> {
        let input = self.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        for length in [path.len(), source.len()] {
            let length = u32::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
            input.write_all(&length.to_le_bytes())?;
        }
        input.write_all(path.as_bytes())?;
        input.write_all(source)?;
        match self.answer()? {
            (b'+', bytecode) => Ok(Compiled::Bytecode(bytecode)),
            _ => Ok(Compiled::Refused),
        }
    }

    fn answer(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.output.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let length = u32::from_le_bytes(length) as usize;
        if length > MAX_ANSWER {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut content = vec![0; length];
        self.output.read_exact(&mut content)?;
        Ok((kind, content))
    }

    /// Its last output on standard error.
    fn last_words(&mut self) -> String {
        const ENOUGH: u64 = 4096;
        let mut said = Vec::new();
        if let Some(errors) = self.child.stderr.take() {
            // Whatever could be read will do.
            errors.take(ENOUGH).read_to_end(&mut said).unwrap_or_default();
        }
        String::from_utf8_lossy(&said).trim().to_owned()
    }

    fn limit(&self) -> io::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        for (resource, most) in LIMITS {
            prlimit(pid, resource, Rlimit { current: Some(most), maximum: Some(most) })?;
        }
        Ok(())
    }
}

impl Drop for Worker {
    /// Without input it ends by itself; one that computes still is not waited for.
    fn drop(&mut self) {
        self.input = None;
        self.child.kill().and_then(|()| self.child.wait()).map(drop).unwrap_or_default();
    }
}
