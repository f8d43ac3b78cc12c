//! Bytecode for the modules of a wheel: `.pyc` files that are based on a hash and checked by nobody, so that they are the
//! same on every machine and count where nothing can be written.
//!
//! Source text is compiled by an interpreter of the base's very version: the base's own, run by its own loader in a
//! [sandbox](crate::sandbox), or where that cannot run here, the machine's. It reads text from a pipe and writes bytecode
//! to another; it imports nothing of the wheels, and runs nothing of them. Its answers are checked, and kept for that very
//! interpreter.
//!
//! <https://peps.python.org/pep-0552/>
#![allow(clippy::disallowed_methods, reason = "an interpreter is taken out of layers, and run")]

mod interpreter;
mod worker;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use libdeflater::{CompressionLvl, Compressor};
use rawzip::{CompressionMethod, DataDescriptorOutput, ZipArchiveWriter};
use serde::{Deserialize, Serialize};

use super::wheel::{RefusedWheel, WheelFile};
use crate::cpython::pyc::{self, InvalidPyc};
use crate::failure::Hinted;
use crate::oci::{Architecture, Digest};
use crate::plan::{BYTECODE_FORMAT, BytecodePlan, WheelLayer};
use crate::pool;
use crate::pypa::scheme::InstallScheme;
use crate::sandbox::{Confinement, SandboxError};
use crate::store::{Store, StoreError};

pub use interpreter::BaseInterpreter;
use worker::{Compiled, Interpreter, Worker};

const RECORD: &str = "bytecode";
/// Part of the layers' bytes.
const LEVEL: i32 = 6;
/// The maker of bytecode in the keys of records, where it is not the base's.
const OF_MACHINE: &str = "machine";
/// The bytes of source text that are compiled before the results are written.
const BATCH: u64 = 8 << 20;

/// The reason why modules could not be compiled.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum BytecodeError {
    #[error("nothing here compiles for Python {python} of a base for {architecture}")]
    NoInterpreter { python: String, architecture: Architecture },
    #[error("the base's Python lacks `{path}`, without which it does not run")]
    Lacking { path: String },
    #[error("`{interpreter}` does not run{}{said}", if said.is_empty() { "" } else { ": " })]
    Start { interpreter: PathBuf, said: String, source: io::Error },
    #[error("`{interpreter}` is {found}, where CPython {wanted} is needed")]
    OtherInterpreter { interpreter: PathBuf, found: String, wanted: String },
    #[error("could not keep the base's interpreter at `{path}`")]
    Extract { path: PathBuf, source: io::Error },
    #[error("could not read the base's layer {layer}")]
    Layer { layer: Digest, source: io::Error },
    #[error("could not run the base's Python")]
    Sandbox(#[source] SandboxError),
    #[error(transparent)]
    NotStarted(Arc<BytecodeError>),
    #[error("the interpreter failed while it compiled `{path}`")]
    Ended { path: String, source: io::Error },
    #[error("the interpreter's answer for `{path}` is no bytecode of it")]
    Invalid { path: String, source: InvalidPyc },
    #[error("could not read `{path}`")]
    Read { path: String, source: io::Error },
    #[error("could not keep the bytecode")]
    Write(#[source] io::Error),
    #[error("could not keep the bytecode")]
    Zip(#[from] rawzip::Error),
    #[error("could not read the bytecode that was kept")]
    Kept(#[from] RefusedWheel),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Hinted for BytecodeError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoInterpreter { python, architecture } => format!(
                "build on a machine for {architecture}, put CPython {python} on PATH as `{}`, or leave \
                 `python.bytecode` out",
                called(python)
            ),
            Self::Lacking { .. } | Self::Start { .. } | Self::OtherInterpreter { .. } => {
                "put an interpreter of exactly the base's version on PATH, or leave `python.bytecode` out".into()
            }
            Self::Invalid { .. } => {
                "the base's Python does not do what CPython does: use another base, or leave `python.bytecode` out".into()
            }
            Self::Sandbox(error) => return error.hint(),
            Self::NotStarted(error) => return error.hint(),
            Self::Ended { .. } => {
                "exclude this version with a constraint such as `NAME!=VERSION`, or leave `python.bytecode` out"
                    .into()
            }
            Self::Store(error) => return error.hint(),
            Self::Extract { .. }
            | Self::Layer { .. }
            | Self::Read { .. }
            | Self::Write(_)
            | Self::Zip(_)
            | Self::Kept(_) => return None,
        })
    }
}

/// `python3.11` of `3.11.2`.
fn called(python: &str) -> String {
    let numbers: Vec<&str> = python.split('.').take(2).collect();
    format!("python{}", numbers.join("."))
}

/// A module to compile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModuleSource {
    /// Its index among the wheel's members.
    pub member: usize,
    /// Its path, relative to the image's root.
    pub path: String,
}

/// The bytecode of a wheel: an archive whose members are `.pyc` files, deflated as those of wheels are.
#[derive(Debug)]
pub struct Bytecode {
    /// The archive of `.pyc` files, which is read as a wheel is.
    pub file: WheelFile,
    /// The member with the bytecode of each member of the wheel.
    pub by_source: BTreeMap<usize, usize>,
}

/// The store's record of a wheel's bytecode.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    digest: Digest,
    size: u64,
    /// The sources of its members, in order; what the compiler refuses has none.
    sources: Vec<usize>,
}

/// The interpreter that modules are compiled for.
#[derive(Debug, Clone, Copy)]
pub struct CompileTarget<'a> {
    /// The full version: `3.11.2`.
    pub python: &'a str,
    /// The architecture of the interpreter.
    pub architecture: Architecture,
    /// The install scheme of the modules.
    pub scheme: &'a InstallScheme,
}

impl<'a> CompileTarget<'a> {
    /// The interpreter that the modules of `layer` are compiled for, where they are.
    pub fn of(layer: &'a WheelLayer) -> Option<Self> {
        let BytecodePlan { python, architecture, .. } = layer.bytecode.as_ref()?;
        Some(Self { python, architecture: *architecture, scheme: &layer.scheme })
    }
}

/// Compiles wheels, several of their modules at once.
pub struct Compiler<'a> {
    target: CompileTarget<'a>,
    /// The base's own, where it can be told from its layers.
    own: Option<BaseInterpreter>,
    store: &'a Store,
    threads: usize,
    confinement: Confinement,
    chosen: Mutex<Option<ChosenInterpreter>>,
    pool: Mutex<Pool>,
    returned: Condvar,
}

/// The interpreter to try first, and its name in the keys of records.
#[derive(Debug, Clone)]
struct ChosenInterpreter {
    interpreter: Interpreter,
    maker: String,
}

/// Interpreters that run, as many as threads at most.
#[derive(Default)]
struct Pool {
    interpreter: Option<Interpreter>,
    /// The reason why none starts: it is found once, however many threads want one.
    failed: Option<Arc<BytecodeError>>,
    idle: Vec<Worker>,
    busy: usize,
}

impl<'a> Compiler<'a> {
    /// A compiler for `target`. The base's `own` interpreter is started when it is needed; where that cannot run here, the
    /// machine must have one of the same version.
    pub fn new(
        target: CompileTarget<'a>,
        own: Option<BaseInterpreter>,
        store: &'a Store,
        threads: usize,
        confinement: Confinement,
    ) -> Result<Self, BytecodeError> {
        let own = own.filter(|_| Architecture::here() == Some(target.architecture));
        let mut pool = Pool::default();
        let mut chosen = None;
        if own.is_none() {
            let (interpreter, worker) = of_machine(target, store)?;
            chosen = Some(ChosenInterpreter { interpreter: interpreter.clone(), maker: OF_MACHINE.into() });
            pool = Pool { interpreter: Some(interpreter), idle: vec![worker], ..Pool::default() };
        }
        let (pool, chosen, returned) = (Mutex::new(pool), Mutex::new(chosen), Condvar::new());
        Ok(Self { target, own, store, threads, confinement, chosen, pool, returned })
    }

    /// The base's own interpreter, once it is out of the base; where it cannot be had, the machine's.
    fn chosen(&self) -> Result<ChosenInterpreter, BytecodeError> {
        let mut chosen = self.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(chosen) = &*chosen {
            return Ok(chosen.clone());
        }
        let of_machine = || {
            let (interpreter, _) = of_machine(self.target, self.store)?;
            Ok(ChosenInterpreter { interpreter, maker: OF_MACHINE.into() })
        };
        let found = match &self.own {
            None => of_machine()?,
            Some(own) => match own.extract(self.store, self.confinement) {
                Ok((interpreter, digest)) => ChosenInterpreter { interpreter, maker: digest.to_string() },
                Err(error) => of_machine().map_err(|_: BytecodeError| error)?,
            },
        };
        Ok(chosen.insert(found).clone())
    }

    /// The bytecode of `sources`, modules of the wheel `digest`, whose content is in `wheel`: made, or made before by the
    /// same interpreter.
    pub fn compile(
        &self,
        digest: &Digest,
        wheel: &WheelFile,
        sources: &[ModuleSource],
    ) -> Result<Bytecode, BytecodeError> {
        let maker = self.chosen()?.maker;
        let key = serde_json::to_vec(&(BYTECODE_FORMAT, self.target.python, maker, digest, sources))
            .map_err(io::Error::from);
        let key = Digest::of(key.map_err(BytecodeError::Write)?);
        let is_whole = |record: &Record| self.store.has_blob(&record.digest, Some(record.size));
        let kept = || self.store.record(RECORD, &key).filter(is_whole);
        let record = match kept() {
            Some(record) => record,
            None => {
                // Another part of the wheel, or another build, may be at it.
                let _making = self.store.claim_patiently(&key);
                match kept() {
                    Some(record) => record,
                    None => {
                        let record = self.write(wheel, sources)?;
                        self.store.put_record(RECORD, &key, &record)?;
                        record
                    }
                }
            }
        };
        let by_source = record.sources.iter().enumerate().map(|(member, source)| (*source, member)).collect();
        Ok(Bytecode { file: WheelFile::open(&self.store.blob_path(&record.digest))?, by_source })
    }

    fn write(&self, wheel: &WheelFile, sources: &[ModuleSource]) -> Result<Record, BytecodeError> {
        let mut archive = ZipArchiveWriter::new(self.store.new_blob()?);
        let mut compressor = Compressor::new(CompressionLvl::new(LEVEL).unwrap_or_default());
        let mut written = Vec::new();
        for batch in batches(sources, |source| wheel.size(source.member)) {
            for (source, compiled) in batch.iter().zip(self.compile_all(wheel, batch)?) {
                if let Compiled::Bytecode(bytecode) = compiled {
                    add(&mut archive, &mut compressor, &source.path, &bytecode)?;
                    written.push(source.member);
                }
            }
        }
        let (digest, size) = archive.finish()?.finish()?;
        Ok(Record { digest, size, sources: written })
    }

    /// Compiles each source of a batch.
    fn compile_all(&self, wheel: &WheelFile, batch: &[ModuleSource]) -> Result<Vec<Compiled>, BytecodeError> {
        pool::run(batch, self.threads, |source| self.compile_one(wheel, source))
    }

    fn compile_one(&self, wheel: &WheelFile, source: &ModuleSource) -> Result<Compiled, BytecodeError> {
        let path = || source.path.clone();
        let mut text = Vec::new();
        wheel
            .checked(source.member)
            .read_to_end(&mut text)
            .map_err(|source| BytecodeError::Read { path: path(), source })?;
        let mut worker = self.take()?;
        let compiled = worker.compile(&format!("/{}", source.path), &text);
        self.give_back(compiled.is_ok().then_some(worker));
        match compiled.map_err(|source| BytecodeError::Ended { path: path(), source })? {
            Compiled::Bytecode(bytecode) => pyc::canonical(&bytecode, &text, self.target.scheme.version)
                .map(Compiled::Bytecode)
                .map_err(|source| BytecodeError::Invalid { path: path(), source }),
            Compiled::Refused => Ok(Compiled::Refused),
        }
    }

    /// An interpreter that waits, or one more; not more than threads.
    fn take(&self) -> Result<Worker, BytecodeError> {
        let mut pool = self.lock();
        loop {
            if let Some(worker) = pool.idle.pop() {
                pool.busy += 1;
                return Ok(worker);
            }
            if pool.busy < self.threads {
                break;
            }
            pool = self.returned.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(failed) = &pool.failed {
            return Err(BytecodeError::NotStarted(Arc::clone(failed)));
        }
        // Held on: the first one takes the interpreter out of the base.
        let started = match &pool.interpreter {
            Some(interpreter) => interpreter.start(self.target.python),
            None => self.start_first().map(|(interpreter, worker)| {
                pool.interpreter = Some(interpreter);
                worker
            }),
        };
        let started = started.map_err(|error| {
            let error = Arc::new(error);
            pool.failed = Some(Arc::clone(&error));
            BytecodeError::NotStarted(error)
        });
        let worker = started?;
        pool.busy += 1;
        Ok(worker)
    }

    /// Starts the chosen interpreter, or where that does not run, one of the machine's that fits.
    fn start_first(&self) -> Result<(Interpreter, Worker), BytecodeError> {
        let ChosenInterpreter { interpreter, .. } = self.chosen()?;
        match interpreter.start(self.target.python) {
            Ok(worker) => Ok((interpreter, worker)),
            Err(error) => of_machine(self.target, self.store).map_err(|_| error),
        }
    }

    /// Takes an interpreter back; `None` for one that ended.
    fn give_back(&self, worker: Option<Worker>) {
        let mut pool = self.lock();
        pool.busy -= 1;
        pool.idle.extend(worker);
        self.returned.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refuses a target that nothing here compiles for: it is another machine's, and no interpreter of it is on `PATH`.
pub fn check_machine(target: CompileTarget<'_>, store: &Store) -> Result<(), BytecodeError> {
    match Architecture::here() == Some(target.architecture) {
        true => Ok(()),
        false => of_machine(target, store).map(drop),
    }
}

/// The first interpreter on `PATH` that is what the base has.
fn of_machine(target: CompileTarget<'_>, store: &Store) -> Result<(Interpreter, Worker), BytecodeError> {
    Interpreter::of_machine(target.scheme.version, &worker::script(store)?)
        .find_map(|interpreter| Some((interpreter.clone(), interpreter.start(target.python).ok()?)))
        .ok_or_else(|| BytecodeError::NoInterpreter {
            python: target.python.to_owned(),
            architecture: target.architecture,
        })
}

/// Cuts `sources` where their sizes sum up to [`BATCH`].
fn batches(sources: &[ModuleSource], size: impl Fn(&ModuleSource) -> u64) -> Vec<&[ModuleSource]> {
    let mut batches = Vec::new();
    let mut rest = sources;
    while !rest.is_empty() {
        let mut filled = 0;
        let fits = |source: &&ModuleSource| {
            let fits = filled < BATCH;
            filled += size(source);
            fits
        };
        let (batch, later) = rest.split_at(rest.iter().take_while(fits).count());
        batches.push(batch);
        rest = later;
    }
    batches
}

fn add<W: Write>(
    archive: &mut ZipArchiveWriter<W>,
    compressor: &mut Compressor,
    path: &str,
    content: &[u8],
) -> Result<(), BytecodeError> {
    let mut deflated = vec![0; compressor.deflate_compress_bound(content.len())];
    let size = compressor
        .deflate_compress(content, &mut deflated)
        .map_err(|error| BytecodeError::Write(io::Error::other(error.to_string())))?;
    let (mut entry, _) = archive.new_file(path).compression_method(CompressionMethod::DEFLATE).start()?;
    entry.write_all(&deflated[..size]).map_err(BytecodeError::Write)?;
    entry.finish(DataDescriptorOutput::new(crc32fast::hash(content), content.len() as u64))?;
    Ok(())
}
