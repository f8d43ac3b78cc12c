//! A running program, and the thread that starts it.

use std::ffi::CString;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions, geteuid, kill_process, kill_process_group, waitpid};

use super::child::{self, ChildEnds, ExecPointers};
use super::prepared::{Prepared, Walls};
use super::{Confinement, SandboxCommand, SandboxError, SetupStep, TimedPipe, refusal};

/// The time in which a process becomes its program: the kernel makes namespaces in milliseconds.
const SETUP_TIME: Duration = Duration::from_secs(30);
/// The lowest descriptor of a pipe to a process: below it, they are put where the program expects them.
const ABOVE_PROGRAMS: i32 = 10;

/// A running program. It ends, with all the processes that it made, when this is dropped; unconfined, with those of its
/// process group.
#[derive(Debug)]
pub struct SandboxedProcess {
    process: Running,
    /// Its standard input.
    pub input: TimedPipe,
    /// Its standard output.
    pub output: TimedPipe,
    /// Its standard error.
    pub errors: TimedPipe,
}

impl SandboxedProcess {
    /// Ends it and waits until it is gone.
    pub fn end(&mut self) {
        self.process.end();
    }

    /// Ends it, and gives up to `most` bytes of what was left to read of its standard error.
    pub fn last_words(&mut self, most: u64) -> String {
        self.end();
        self.errors.allow(Duration::ZERO);
        let mut said = Vec::new();
        // Whatever could be read will do.
        (&mut self.errors).take(most).read_to_end(&mut said).unwrap_or_default();
        String::from_utf8_lossy(&said).trim().to_owned()
    }
}

/// A process to be ended.
#[derive(Debug)]
struct Running {
    pid: Option<Pid>,
    walls: Walls,
}

impl Running {
    /// Kills it and waits for it: it cannot be another's number, since nobody else waits for it.
    fn end(&mut self) {
        let Some(pid) = self.pid.take() else { return };
        // Those that have ended already need no signal.
        if self.walls == Walls::Absent {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = kill_process(pid, Signal::KILL);
        while waitpid(Some(pid), WaitOptions::empty()).is_err_and(|error| error == rustix::io::Errno::INTR) {}
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts the program of `command` behind the walls that this machine can make.
pub(super) fn start(
    command: &SandboxCommand,
    confinement: Confinement,
) -> Result<SandboxedProcess, SandboxError> {
    let program = &command.program;
    let failed = |source| SandboxError::Process { program: program.clone(), source };
    let prepared = Arc::new(Prepared::new(command).map_err(failed)?);
    let walls: &[Walls] = match confinement {
        Confinement::Unconfined => &[Walls::Absent],
        // Root of a container may have no right to do so, and still that of every user.
        Confinement::Sandboxed if geteuid().is_root() => &[Walls::OfRoot, Walls::OfUser],
        Confinement::Sandboxed => &[Walls::OfUser],
    };
    let mut refused = None;
    for walls in walls {
        match start_behind(&prepared, *walls).map_err(failed)? {
            Ok(process) => return Ok(process),
            Err((SetupStep::Exec, source)) => {
                return Err(SandboxError::Exec { program: program.clone(), source });
            }
            Err(failure) => refused = Some(failure),
        }
    }
    Err(refusal(program, confinement, refused))
}

fn refusal(
    program: &Path,
    confinement: Confinement,
    refused: Option<(SetupStep, io::Error)>,
) -> SandboxError {
    let program = program.to_owned();
    match (refused, confinement) {
        (None, _) => SandboxError::Process { program, source: io::ErrorKind::Unsupported.into() },
        (Some((step, source)), Confinement::Unconfined) => SandboxError::Setup { program, step, source },
        (Some((step, source)), Confinement::Sandboxed) => {
            SandboxError::Refused { step, settings: refusal::settings(), source }
        }
    }
}

/// Clones a process and waits until it is the program, or failed to become it.
pub(super) fn start_behind(
    prepared: &Arc<Prepared>,
    walls: Walls,
) -> io::Result<Result<SandboxedProcess, (SetupStep, io::Error)>> {
    let (input, input_end) = pipe()?;
    let (output_end, output) = pipe()?;
    let (errors_end, errors) = pipe()?;
    let (report_end, report) = pipe()?;
    let ends = ChildEnds { input, output, errors, report };
    let prepared = Arc::clone(prepared);
    let cloned = on_starter(move || clone(&prepared, &ends, walls))?;
    let pid = match cloned {
        Ok(pid) => pid,
        Err(error) => return Ok(Err((SetupStep::Namespaces, in_words(error)))),
    };
    let process = Running { pid: Some(pid), walls };
    let mut report = Vec::new();
    let mut report_end = TimedPipe::new(report_end)?;
    report_end.allow(SETUP_TIME);
    report_end.read_to_end(&mut report)?;
    if !report.is_empty() {
        let broken = || (SetupStep::Files, io::ErrorKind::InvalidData.into());
        return Ok(Err(child::reported(&report).unwrap_or_else(broken)));
    }
    let (input, output) = (TimedPipe::new(input_end)?, TimedPipe::new(output_end)?);
    Ok(Ok(SandboxedProcess { process, input, output, errors: TimedPipe::new(errors_end)? }))
}

/// The error of a clone, in words where the kernel says "no space left on device".
fn in_words(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ENOSPC) => io::Error::new(io::ErrorKind::QuotaExceeded, "no more namespaces are allowed"),
        _ => error,
    }
}

/// The reading and the writing end of a pipe, both above the descriptors of a program.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reading, writing) = pipe_with(PipeFlags::CLOEXEC)?;
    let raised = |end: OwnedFd| fcntl_dupfd_cloexec(end.as_fd(), ABOVE_PROGRAMS);
    Ok((raised(reading)?, raised(writing)?))
}

fn clone(prepared: &Prepared, ends: &ChildEnds, walls: Walls) -> io::Result<Pid> {
    let pointers = |texts: &[CString]| {
        let texts = texts.iter().map(|text| text.as_ptr());
        texts.chain([std::ptr::null()]).collect()
    };
    let pointers = ExecPointers {
        arguments: pointers(&prepared.arguments),
        environment: pointers(&prepared.environment),
    };
    let flags = libc::SIGCHLD | namespaces(walls);
    // SAFETY: without a stack of its own and without shared memory, this is a fork: the child goes on with a copy of
    // everything, and `become_program` makes system calls only and never returns.
    let pid = unsafe { libc::syscall(libc::SYS_clone, libc::c_long::from(flags), 0, 0, 0, 0) };
    let failed = io::Error::last_os_error;
    match pid {
        0 => child::become_program(prepared, &pointers, ends, walls),
        ..0 => Err(failed()),
        _ => i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(failed),
    }
}

const fn namespaces(walls: Walls) -> libc::c_int {
    const ALL: libc::c_int = libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    match walls {
        Walls::OfRoot => ALL,
        Walls::OfUser => ALL | libc::CLONE_NEWUSER,
        Walls::Absent => 0,
    }
}

type Work = Box<dyn FnOnce() + Send>;

/// The thread that clones: it lasts as long as imgforge, because a process is killed when the thread that made it ends.
static STARTER: LazyLock<io::Result<Sender<Work>>> = LazyLock::new(|| {
    let (sender, receiver) = mpsc::channel::<Work>();
    let run = move || {
        block_signals();
        receiver.into_iter().for_each(|work| work());
    };
    thread::Builder::new().name("sandbox".into()).spawn(run).map(|_| sender)
});

/// Does `work` on the thread that clones.
fn on_starter<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let starter = STARTER.as_ref().map_err(|error| io::Error::from(error.kind()))?;
    let (sender, receiver) = mpsc::sync_channel(1);
    let work = move || drop(sender.send(work()));
    starter.send(Box::new(work)).map_err(|_| io::ErrorKind::BrokenPipe)?;
    receiver.recv().map_err(|_| io::ErrorKind::BrokenPipe.into())
}

/// Blocks every signal in this thread: no handler of imgforge shall run in a process that it clones.
fn block_signals() {
    // SAFETY: the set is made by the call that fills it, and concerns this thread only.
    unsafe {
        let mut all = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, std::ptr::null_mut());
    }
}
