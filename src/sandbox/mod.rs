//! Programs of strangers, run where they can do no harm: the interpreter of a base, and the backends that build sources.
//!
//! A sandbox has namespaces of its own (users, mounts, processes, network, IPC, host name), a root file system that is
//! empty but for the trees it is given, no capabilities, few system calls, and limits. Its first process is the program
//! itself: when that ends or is killed, the kernel ends all others, and it is killed when imgforge ends in any way.
//!
//! * `prepared`, `child`, `root`: from clone to exec, by system calls alone;
//! * `syscalls`: the system calls that a program may make;
//! * `process`: the running program, and the thread that starts it;
//! * `pipe`: its input and output, which imgforge never waits for without end;
//! * `refusal`: the setting of the machine that forbids a sandbox.
#![allow(clippy::disallowed_methods, reason = "programs are run, and the kernel's settings are read")]

mod child;
mod pipe;
mod prepared;
mod process;
mod refusal;
mod root;
mod syscalls;
#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;

use crate::failure::Hinted;

pub use pipe::TimedPipe;
pub use process::SandboxedProcess;

/// The variable by which the owner of a machine runs programs without a sandbox.
pub const UNCONFINED_VARIABLE: &str = "IMGFORGE_UNCONFINED";

/// The rights of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Confinement {
    /// Those of a sandbox: it reads its trees, computes, and answers.
    #[default]
    Sandboxed,
    /// Those of the user, within limits.
    Unconfined,
}

impl Confinement {
    /// The choice that a value of [`UNCONFINED_VARIABLE`] stands for; `None` for a value that is none.
    pub fn of(value: Option<&OsStr>) -> Option<Self> {
        match value.map(OsStr::as_encoded_bytes) {
            None | Some(b"" | b"0") => Some(Self::Sandboxed),
            Some(b"1") => Some(Self::Unconfined),
            Some(_) => None,
        }
    }
}

/// A program to run, with all that it sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxCommand {
    /// Its absolute path: in a sandbox, below one of the trees.
    pub program: PathBuf,
    /// Its arguments, without its own name.
    pub arguments: Vec<OsString>,
    /// Its whole environment.
    pub environment: Vec<(String, String)>,
    /// The directories of the machine that a sandbox has; unconfined, it has all.
    pub trees: Vec<SandboxTree>,
    /// The symbolic links at a sandbox's root.
    pub links: Vec<SandboxLink>,
    /// The bounds on its resources.
    pub limits: SandboxLimits,
}

/// A directory of the machine in a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxTree {
    /// Its absolute path on the machine.
    pub source: PathBuf,
    /// Its absolute path in the sandbox.
    pub target: PathBuf,
    /// The use of it.
    pub access: TreeAccess,
}

/// A symbolic link in a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxLink {
    /// Its absolute path in the sandbox, in a directory that the sandbox has.
    pub path: PathBuf,
    /// Its target, as written.
    pub target: PathBuf,
}

/// The use of a directory in a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeAccess {
    /// Its files are read and run.
    ReadOnly,
    /// Files are made in it, too.
    Scratch,
}

/// The bounds on the resources of a sandbox; there are no core files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SandboxLimits {
    /// The seconds of a processor, for each process.
    pub cpu: u64,
    /// The bytes of addresses, for each process.
    pub address_space: u64,
    /// The bytes of a file that it writes.
    pub file_size: u64,
    /// The open files, for each process.
    pub open_files: u64,
    /// The processes at once; a program without a sandbox has the user's limit.
    pub processes: u64,
}

impl SandboxCommand {
    /// Starts the program.
    pub fn start(&self, confinement: Confinement) -> Result<SandboxedProcess, SandboxError> {
        process::start(self, confinement)
    }
}

/// A step between clone and exec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetupStep {
    /// Its namespaces.
    Namespaces,
    /// Its pipes, and no other file.
    Files,
    /// The user in its namespace.
    Users,
    /// Its root file system.
    Root,
    /// The trees in it.
    Trees,
    /// Its devices.
    Devices,
    /// The loss of privileges.
    Privileges,
    /// Its session, limits and signals.
    Limits,
    /// The filter of system calls.
    Filter,
    /// The program itself.
    Exec,
}

impl SetupStep {
    const ALL: [(Self, &str); 10] = [
        (Self::Namespaces, "create namespaces"),
        (Self::Files, "arrange its files"),
        (Self::Users, "map its user"),
        (Self::Root, "make its root file system"),
        (Self::Trees, "mount its directories"),
        (Self::Devices, "mount its devices"),
        (Self::Privileges, "drop privileges"),
        (Self::Limits, "set its limits"),
        (Self::Filter, "filter its system calls"),
        (Self::Exec, "start the program"),
    ];

    fn of_number(number: u8) -> Option<Self> {
        Self::ALL.iter().map(|(step, _)| *step).find(|step| *step as u8 == number)
    }
}

impl std::fmt::Display for SetupStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = Self::ALL.iter().find(|(step, _)| step == self).map(|(_, text)| *text);
        f.write_str(text.unwrap_or_default())
    }
}

/// The reason why a program did not start.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum SandboxError {
    #[error("this machine refuses a sandbox: could not {step}")]
    Refused { step: SetupStep, settings: Vec<String>, source: io::Error },
    #[error("could not start `{program}`")]
    Exec { program: PathBuf, source: io::Error },
    #[error("could not run `{program}`: could not {step}")]
    Setup { program: PathBuf, step: SetupStep, source: io::Error },
    #[error("could not run `{program}`")]
    Process { program: PathBuf, source: io::Error },
}

impl SandboxError {
    /// The hint where nothing runs without a sandbox, and `instead` is what else to do.
    pub fn hint_or(&self, instead: &str) -> Option<String> {
        self.settings_or(instead, "; or ")
    }

    fn settings_or(&self, instead: &str, between: &str) -> Option<String> {
        let Self::Refused { settings, .. } = self else { return None };
        let settings = settings.iter().map(String::as_str).chain([instead]);
        Some(settings.collect::<Vec<_>>().join(between))
    }
}

impl Hinted for SandboxError {
    fn hint(&self) -> Option<String> {
        let switch = format!(
            "if you trust the base like a program of your own, set {UNCONFINED_VARIABLE}=1: its interpreter then runs \
             with all your rights"
        );
        self.settings_or(&switch, "; ")
    }
}
