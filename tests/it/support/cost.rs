//! The cost of a run: its time and its peak of memory.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::{Outcome, World};

/// The outcome of a run, and what it cost.
#[derive(Debug)]
pub struct Measured {
    /// The exit code is negative for a signal.
    pub outcome: Outcome,
    /// The peak of resident memory in MB.
    pub megabytes: u64,
    pub time: Duration,
}

/// Runs a command of `world` to its end; one that takes longer than `limit` is killed.
///
/// The kernel's count for a process that was waited for begins with the memory of the test that started it: the peak is
/// read while the process runs, every millisecond.
pub fn run_measured(world: &World, command: &mut Command, limit: Duration) -> Measured {
    let (stdout, stderr) = (world.path("stdout"), world.path("stderr"));
    let file = |path| fs::File::create(path).unwrap();
    let start = Instant::now();
    let mut child = command.stdout(file(&stdout)).stderr(file(&stderr)).spawn().unwrap();
    let mut megabytes = 0;
    let status = loop {
        megabytes = peak(child.id()).unwrap_or_default().max(megabytes);
        if start.elapsed() > limit {
            child.kill().unwrap();
        }
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None => thread::sleep(Duration::from_millis(1)),
        }
    };
    let text = |path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    let code = status.code().unwrap_or_else(|| -status.signal().unwrap_or_default());
    let outcome = Outcome { code, stdout: text(&stdout), stderr: text(&stderr) };
    Measured { outcome, megabytes, time: start.elapsed() }
}

/// The peak of a process's resident memory in MB; `None` once it is gone.
fn peak(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(peak.trim().strip_suffix(" kB")?.parse::<u64>().ok()? / 1024)
}
